/*
 * radixspline: a linear spline through the keys' ranks and a radix table over the spline's points
 * (Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann: "RadixSpline: a single-pass learned
 * index", aiDM 2020). This header is the model and its lookup; spline and table are those of
 * ldb/spline.h and ldb/radix.h, radixspline.c is the plug-in around them.
 *
 * A lookup takes the radix table's entry for the top bits of q - base, which gives a short range of
 * spline points; finds there the two points around q; interpolates between them; and searches the
 * keys within epsilon of the result.
 */
#ifndef RADIXSPLINE_H
#define RADIXSPLINE_H

#include "ldb/radix.h"
#include "ldb/spline.h"

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldb_spline_point
		*points; /* ascending in key; the first is the first key, the last the last */
	size_t point_count;
	ldb_radix radix; /* over the points */
	unsigned radix_bits;
	uint64_t epsilon;
	ldb_key min, max;   /* n == 0: 0, 0 */
	ldb_val min_answer; /* 0, or LDB_NONE when there are no keys */
	uint64_t tune_ns;
} radixspline;

/* The window of q, min < q <= max. */
static inline void rs_find_window(const radixspline *self, ldb_key q, size_t *lo, size_t *hi)
{
	/* A point with a smaller prefix is < q, one with a larger prefix > q. */
	const size_t prefix = ldb_radix_prefix(&self->radix, q);
	const size_t begin = self->radix.table[prefix], end = self->radix.table[prefix + 1];
	const size_t right = ldb_spline_search(self->points, begin, end, q);
	ldb_spline_window(self->points, right, q, self->epsilon, lo, hi);
}

#endif
