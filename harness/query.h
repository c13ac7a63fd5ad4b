/*
 * The queries of a round, drawn once by the conductor into memory that all workers see, with the
 * answers an oracle gives. So every competitor of a round is asked the same, and every pass has a
 * checksum that must come out.
 */
#ifndef LDB_QUERY_H
#define LDB_QUERY_H

#include <stdbool.h>

#include "dataset.h"
#include "plan.h"

/* Queries of the verification that are drawn at a time. */
enum { LDB_VERIFY_QUERIES = 200000 };

/* Records of payload_bytes each, read after a hit: words of 8 bytes, the record of value v first.
 */
typedef struct {
	const uint64_t *words; /* NULL without a payload */
	size_t count, words_per_record;
	size_t mapped_bytes;
} ldb_payload;

/*
 * count queries, asked again from the start when a pass is longer. In a chained set q[i] is the key
 * minus ldb_chain_step of the answer before it (mod 2^64 or 2^32, cyclic), so that only who has
 * that answer knows the key.
 */
typedef struct {
	size_t count;
	uint32_t key_bits;
	ldb_key *q;    /* of a set of 64-bit keys; else NULL */
	uint32_t *q32; /* of a set of 32-bit keys */
	ldb_val *answer;
	uint64_t *sum;                /* sum[i]: checksum of the first i; count + 1 of them */
	const ldb_workload *workload; /* NULL: the verification set */
	bool ordered, chained;
} ldb_query_set;

typedef struct {
	ldb_query_set *sets;
	size_t set_count;
	void *shared;
	size_t shared_bytes;
	ldb_key largest; /* of all keys that can be asked */
	size_t *rank;    /* the conductor's own scratch */
	ldb_key *key;
} ldb_queries;

/* Bytes that the query sets of an experiment take. */
size_t ldb_query_bytes(const ldb_experiment *e);

/* Makes the sets that the experiment's workloads, modes and competitors need. */
ldb_status ldb_queries_make(const ldb_experiment *e, ldb_queries *out, ldb_error *err);
void ldb_queries_free(ldb_queries *queries);

/* The set for a workload (NULL: verification); it exists when the experiment needs it. */
const ldb_query_set *ldb_query_find(const ldb_queries *queries, const ldb_workload *workload,
				    bool ordered, bool chained, uint32_t key_bits);
/* The queries from `at` on, as a plug-in of that width takes them. */
static inline const ldb_key *ldb_query_at(const ldb_query_set *set, size_t at)
{
	return set->key_bits == 32 ? (const ldb_key *)(const void *)(set->q32 + at) : set->q + at;
}

/* One of them, of either width. */
static inline ldb_key ldb_query_number(const ldb_query_set *set, size_t i)
{
	return set->key_bits == 32 ? set->q32[i] : set->q[i];
}

/* Draws all workload sets anew. */
void ldb_queries_draw(ldb_queries *queries, const ldb_dataset *data, const ldb_payload *payload,
		      uint64_t seed);
/*
 * Fills the verification sets with the queries first.. of a fixed list: 0, the largest and the
 * like, then for ranks spread evenly each key, its neighbours below and above, and a random key.
 * Returns how many the list has: 4 n + 8 when exhaustive, else at most the set's size.
 */
size_t ldb_queries_draw_verification(ldb_queries *queries, const ldb_dataset *data, size_t first,
				     bool exhaustive);

/* Checksum of answers to queries, as workers and conductor compute it; and to those of a set from
 * `at` on. */
uint64_t ldb_fold(const ldb_key *q, const ldb_val *out, size_t count, const ldb_payload *payload);
uint64_t ldb_query_fold(const ldb_query_set *set, size_t at, const ldb_val *out, size_t count,
			const ldb_payload *payload);
/* What a pass of ops queries from `start` on must return. */
uint64_t ldb_query_sum(const ldb_query_set *set, size_t start, size_t ops);
/* Where thread t of `threads` starts. */
static inline size_t ldb_query_start(const ldb_query_set *set, size_t t, size_t threads)
{
	return set->count / threads * t;
}

ldb_status ldb_payload_make(size_t n, size_t payload_bytes, ldb_pages pages, ldb_payload *out,
			    ldb_error *err);
void ldb_payload_free(ldb_payload *payload);

#endif
