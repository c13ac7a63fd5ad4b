/* A right and plain sort, for the tests' liars to spoil: the harness must notice it. */
#ifndef SORTS_H
#define SORTS_H

#include <stdlib.h>

#include "ldb/sort.h"

static inline int compare_first(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

static inline ldb_status plain_keys(ldb_key *keys, size_t n, size_t threads, const double *params,
				    ldb_error *err)
{
	(void)threads, (void)params, (void)err;
	qsort(keys, n, sizeof *keys, compare_first);
	return LDB_OK;
}

static inline ldb_status plain_pairs(ldb_pair *pairs, size_t n, size_t threads,
				     const double *params, ldb_error *err)
{
	(void)threads, (void)params, (void)err;
	qsort(pairs, n, sizeof *pairs, compare_first);
	return LDB_OK;
}

#define SORT_REST                                                                                  \
	.abi = LDB_SORT_ABI, .key_bits = LDB_KEY_BITS, .summary = "a liar", .origin = "tests/liars"

#endif
