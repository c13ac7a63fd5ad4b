/*
 * The interface of an index: one header, one table of functions.
 *
 * An index is a shared object that exports `ldb_index_table` (see LDB_EXPORT_INDEX). It gets n
 * sorted keys, which it may borrow until destroy, and answers queries about them. Semantics, the
 * same for all:
 *
 *   lower bound   the value of the first key >= q, or LDB_NONE when there is none
 *   get           the value of the first key == q, or LDB_NONE when there is none
 *
 * An index with LDB_ORDERED answers lower bound from its three read entry points, one without it
 * answers get. The value of keys[i] is i, so an ordered static index answers ranks. Duplicates are
 * legal input; an index that can't take them leaves out LDB_DUPLICATES and is then not asked to.
 * n may be 0.
 *
 * The read entry points are called for about a thousand keys at a time, so the indirect call costs
 * nothing. Usually an author writes one `static inline` find and lets ldb/loops.h emit them.
 */
#ifndef LDB_INDEX_H
#define LDB_INDEX_H

#include "ldb/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LDB_INDEX_ABI 2

/*
 * What an answer adds to the next key of a chain. Spread over all bits: were it the answer itself,
 * a processor that guesses a branch of the search wrong would go on with a key close by, and so
 * fetch the next query's lines before this one's answer is known. That is no chain.
 */
static inline ldb_key ldb_chain_step(ldb_val answer)
{
	return (ldb_key)(answer * 0x9e3779b97f4a7c15u);
}

/*
 * An operation of an updatable index. A PUT inserts the key, or gives it a new value; a DELETE of a
 * key that isn't there does nothing. Answers: GET the key's value or LDB_NONE, SCAN the sum (mod
 * 2^64) of the values of the next `length` keys from the lower bound on, fewer where the keys end;
 * PUT and DELETE 0, so that an index need not look whether the key was there.
 */
typedef enum { LDB_GET, LDB_PUT, LDB_DELETE, LDB_SCAN } ldb_op_kind;

typedef struct {
	ldb_key key;
	ldb_val value;   /* PUT: not LDB_NONE */
	uint32_t kind;   /* ldb_op_kind */
	uint32_t length; /* SCAN */
} ldb_op;

/* What an index can tell of itself after build. What it does not know stays as it was: unknown. */
typedef struct {
	uint64_t tune_ns; /* time spent on searching for parameters, part of build; 0: none */
	char chosen[128]; /* parameters found by tuning: "leaves=65536;root=cubic"; "" : none */
} ldb_index_info;

typedef struct {
	uint32_t abi;      /* LDB_INDEX_ABI: must stay the first field */
	uint32_t key_bits; /* LDB_KEY_BITS: must stay the second field */
	const char *name;
	const char *summary; /* one line */
	const char *origin;  /* authors, title or venue, year */
	uint32_t flags;
	const ldb_param *params;   /* ends with a NULL name; NULL: no parameters */
	double peak_bytes_per_key; /* memory that build takes at its peak, for planning a run */

	/*
	 * Builds an index over keys[0..n), sorted ascending, valid and unchanged until destroy.
	 * params[i] is the value of the i-th parameter, within its limits. On LDB_OK *self is set;
	 * else nothing is held and *err says why. All training and tuning happens here.
	 */
	ldb_status (*build)(void **self, const ldb_key *keys, size_t n, const double *params,
			    ldb_error *err);
	void (*destroy)(void *self);
	/* Bytes held, keys not included where they are borrowed. Compared with the allocator's
	 * count. */
	size_t (*bytes)(const void *self);
	/* Checks the invariants; LDB_INVALID and *err name the first that fails. */
	ldb_status (*validate)(const void *self, ldb_error *err);

	/* out[i] = answer to q[i]; queries are independent of each other. */
	void (*lookup)(const void *self, const ldb_key *q, size_t n, ldb_val *out);
	/* A chain: out[i] = answer to the key q[i] + ldb_chain_step(out[i-1]) (mod 2^64), with
	 * out[-1] = carry. */
	void (*chase)(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out);
	/* As lookup, but the index interleaves and prefetches over the n queries. May be NULL. */
	void (*lookup_batch)(const void *self, const ldb_key *q, size_t n, ldb_val *out);

	/* The window that the last-mile search gets for q: the lower bound's rank is in [*lo, *hi].
	 * Must hold for every q. NULL where there is no such window. */
	void (*window)(const void *self, ldb_key q, size_t *lo, size_t *hi);
	/* Fills what it knows; NULL where there is nothing to tell. */
	void (*info)(const void *self, ldb_index_info *out);

	/* --- updatable indexes; NULL in static ones. Their keys are distinct. --- */

	/*
	 * Does ops[0..n) in their order; out[i] = answer to ops[i]. Returns how many were done:
	 * fewer than n only when the next one could not be (no memory), and *err says why. That one
	 * then had no effect, and the index goes on as before. All read entry points see the
	 * changes.
	 */
	size_t (*apply)(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err);
	/* Each thread that will call apply or a read entry point next to others' apply says so
	 * before its first call, and leaves after its last. NULL: needs not be told. */
	ldb_status (*thread_enter)(void *self, ldb_error *err);
	void (*thread_leave)(void *self);
	/* Waits until no background work is left to do. With LDB_BACKGROUND only. */
	void (*settle)(void *self);
} ldb_index;

#define LDB_EXPORT_INDEX(table) LDB_EXPORT_TABLE(ldb_index, ldb_index_table, table)

#ifdef __cplusplus
}
#endif
#endif
