/*
 * The interface of a sort: one header, one table of functions.
 *
 * A sort is a shared object that exports `ldb_sort_table` (see LDB_EXPORT_SORT). It sorts 64-bit
 * keys, alone or with 8 bytes of payload each, ascending and in place. Any keys are legal: already
 * sorted, reversed, all equal, n = 0.
 */
#ifndef LDB_SORT_H
#define LDB_SORT_H

#include "ldb/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LDB_SORT_ABI 1

typedef struct {
	ldb_key key;
	ldb_val value;
} ldb_pair;

typedef struct {
	uint32_t abi;      /* LDB_SORT_ABI: must stay the first field */
	uint32_t key_bits; /* LDB_KEY_BITS: must stay the second field */
	const char *name;
	const char *summary; /* one line */
	const char *origin;  /* authors, title or venue, year */
	uint32_t flags;
	const ldb_param *params;   /* ends with a NULL name; NULL: no parameters */
	double peak_bytes_per_key; /* memory it takes at its peak beside the 8 bytes of a key */

	/*
	 * Sorts keys[0..n) by at most `threads` threads (1 without LDB_THREADS). params[i] is the
	 * value of the i-th parameter. Whatever it needs comes from ldb_alloc and is given back.
	 * When it fails the array holds the same keys in some order, and *err says why.
	 */
	ldb_status (*sort_keys)(ldb_key *keys, size_t n, size_t threads, const double *params,
				ldb_error *err);
	/* The same for pairs, by their keys. NULL: sorts keys only. */
	ldb_status (*sort_pairs)(ldb_pair *pairs, size_t n, size_t threads, const double *params,
				 ldb_error *err);
} ldb_sort;

#define LDB_EXPORT_SORT(table) LDB_EXPORT_TABLE(ldb_sort, ldb_sort_table, table)

#ifdef __cplusplus
}
#endif
#endif
