/*
 * The interface of a join: one header, one table of functions.
 *
 * A join is a shared object that exports `ldb_join_table` (see LDB_EXPORT_JOIN). It finds all pairs
 * of rows of a build side and a probe side with equal keys. A row's number is its position. Any
 * keys are legal on both sides: duplicates, none at all, either side empty.
 */
#ifndef LDB_JOIN_H
#define LDB_JOIN_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/sort.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LDB_JOIN_ABI 2

typedef struct {
	uint32_t build_row, probe_row;
} ldb_match;

typedef struct {
	const ldb_key *build, *probe;
	size_t build_n, probe_n; /* below 2^32 */
	bool build_sorted, probe_sorted;
	size_t threads;       /* at most; 1 without LDB_THREADS */
	const double *params; /* params[i] is the value of the i-th parameter */
	ldb_match *matches;   /* room for all, filled in any order; NULL: count and checksum only */
	/* Plug-ins that the join works with: those that its parameters `index` and `sort` name
	 * (with choices), at their default parameters. NULL where it has no such parameter. */
	const ldb_index *index;
	const ldb_sort *sort;
	const double *index_params, *sort_params;
} ldb_join_input;

/* Phases that are timed apart; what a join doesn't have stays 0. */
enum { LDB_PHASE_MODEL, LDB_PHASE_PARTITION, LDB_PHASE_BUILD, LDB_PHASE_PROBE, LDB_PHASES };

typedef struct {
	uint64_t count;    /* of matches */
	uint64_t checksum; /* sum of ldb_match_hash over all matches (mod 2^64) */
	double phase_ns[LDB_PHASES];
} ldb_join_result;

/* What a match adds to the checksum: cheap, and different for rows that swap partners. */
static inline uint64_t ldb_match_hash(uint32_t build_row, uint32_t probe_row)
{
	return ((uint64_t)build_row + 1) * (2 * (uint64_t)probe_row + 1);
}

typedef struct {
	uint32_t abi;      /* LDB_JOIN_ABI: must stay the first field */
	uint32_t key_bits; /* LDB_KEY_BITS: must stay the second field */
	const char *name;
	const char *summary; /* one line */
	const char *origin;  /* authors, title or venue, year */
	uint32_t flags;
	const ldb_param *params;   /* ends with a NULL name; NULL: no parameters */
	double peak_bytes_per_key; /* memory it takes at its peak, for each row of both sides */

	/* Joins; whatever it needs comes from ldb_alloc and is given back. */
	ldb_status (*join)(const ldb_join_input *input, ldb_join_result *out, ldb_error *err);
	/* Only for an outside reference, which joins in another process: brings the sides there,
	 * without timing. Joins of the same input follow, until the next load. NULL: none is. */
	ldb_status (*load)(const ldb_join_input *input, ldb_error *err);
} ldb_join;

#define LDB_EXPORT_JOIN(table) LDB_EXPORT_TABLE(ldb_join, ldb_join_table, table)

#ifdef __cplusplus
}
#endif
#endif
