/*
 * Zipf over 1..n by rejection-inversion (Hoermann, Derflinger 1996, "Rejection-inversion to
 * generate variates from monotone discrete distributions"): exact for any n in O(1) memory.
 */
#ifndef LDB_ZIPF_H
#define LDB_ZIPF_H

#include <stddef.h>

#include "rng.h"

typedef struct {
	double theta, h_first, h_last, shift;
	size_t n;
} ldb_zipf;

/* n > 0, theta >= 0. */
ldb_zipf ldb_zipf_make(size_t n, double theta);
/* k in 1..n with probability ~ 1/k^theta. */
size_t ldb_zipf_draw(const ldb_zipf *z, ldb_rng *rng);

/* A multiplier that is coprime to n, so that k -> k * m mod n scatters without collisions. */
size_t ldb_scatter_multiplier(size_t n);

#endif
