/*
 * Workloads: which keys are asked, and the answers an oracle gives.
 *
 * uniform       present keys, each rank alike
 * zipf[:theta]  present keys, the k-th most popular with probability ~ 1/k^theta (default 0.99),
 *               popular keys scattered over the ranks; exact for any n
 * sorted        present keys in ascending order, spread evenly over all ranks
 * hot[:percent] 90 % of queries within a contiguous `percent` of the keys (default 1), the others
 *               uniform
 * absent[:percent]  that share (default 50) of absent keys, each gap alike, the others uniform
 * lower_bound   keys between their neighbours: each rank alike, then uniform in (key[r-1], key[r]]
 *
 * Of a sort, the workload is the order of its input: shuffled, sorted, reversed.
 *
 * Further workloads are mixes of operations that change the index (stream.h), and the sides of
 * joins (sides.h).
 *
 * An ordered index answers lower bound, a hash table get; both kinds of answers are known here.
 */
#ifndef LDB_WORKLOAD_H
#define LDB_WORKLOAD_H

#include <stdbool.h>
#include <stdio.h>

#include "ldb/index.h"
#include "stream.h"

typedef enum {
	LDB_UNIFORM,
	LDB_ZIPF,
	LDB_SORTED,
	LDB_HOT,
	LDB_ABSENT,
	LDB_LOWER_BOUND,
	LDB_SHUFFLED,
	LDB_REVERSED,
	LDB_OPERATIONS, /* a stream of them, by a mix: stream.h */
	LDB_SIDES,      /* of a join, by name: sides.h */
} ldb_workload_kind;

typedef struct {
	ldb_workload_kind kind;
	double value; /* theta, percent or length */
	const ldb_mix *mix;
	char name[32]; /* as it stands in the CSV: "zipf:0.99" */
} ldb_workload;

ldb_status ldb_workload_parse(const char *text, ldb_workload *out, ldb_error *err);
/* Is it one that a sort can have? One that asks for keys? */
bool ldb_workload_is_order(const ldb_workload *w);
bool ldb_workload_is_reads(const ldb_workload *w);
/* One line each, for `ldbench list workloads`. */
void ldb_workloads_list(FILE *to);

/* Fills q[0..count) from keys[0..n), n > 0, and the lower bound rank of each; the same for the same
 * seed. No key is above `largest`: LDB_KEY_MAX, or UINT32_MAX where 32 bits are asked for. */
void ldb_workload_draw(const ldb_workload *w, const ldb_key *keys, size_t n, ldb_key largest,
		       uint64_t seed, ldb_key *q, size_t *rank, size_t count);

/* The oracle: plain binary search, nothing shared with any competitor. */
size_t ldb_oracle_rank(const ldb_key *keys, size_t n, ldb_key q);
/* What must be answered to q, whose lower bound is `rank`: by an ordered index, or by a hash. */
ldb_val ldb_oracle_answer(const ldb_key *keys, size_t n, ldb_key q, size_t rank, bool ordered);

#endif
