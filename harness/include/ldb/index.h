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
 *
 * SIMD: on x86-64 each plug-in is compiled for x86-64-v2, -v3 (AVX2) and -v4 (AVX-512), and the
 * best one the processor can run is loaded. Code says `#ifdef __AVX512F__`, the plain branch is the
 * scalar twin, and ldb/simd.h has the common kernels.
 */
#ifndef LDB_INDEX_H
#define LDB_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "ldb/alloc.h"
#include "ldb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LDB_INDEX_ABI 1

typedef uint64_t ldb_key;
typedef uint64_t ldb_val;
#define LDB_KEY_BITS 64
#define LDB_KEY_MAX UINT64_MAX
#define LDB_NONE UINT64_MAX

enum {
	LDB_ORDERED = 1u << 0,        /* answers lower bound (without: get only) */
	LDB_DUPLICATES = 1u << 1,     /* takes equal keys; the first one's value is the answer */
	LDB_LEARNED = 1u << 2,        /* a model of the keys' distribution leads the search */
	LDB_THREADS = 1u << 3,        /* concurrent reads are safe */
	LDB_REFERENCE_ONLY = 1u << 4, /* not an index: measures the harness itself (null) */
};

/*
 * What an answer adds to the next key of a chain. Spread over all bits: were it the answer itself,
 * a processor that guesses a branch of the search wrong would go on with a key close by, and so
 * fetch the next query's lines before this one's answer is known. That is no chain.
 */
static inline ldb_key ldb_chain_step(ldb_val answer)
{
	return (ldb_key)(answer * 0x9e3779b97f4a7c15u);
}

/* One parameter. Its values are numbers, or, when `choices` is set, one of the names in it. */
typedef struct {
	const char *name;
	const char *help;
	double def, min, max; /* with choices: def is an index into it; min and max are ignored */
	const char *choices;  /* NULL, or "linear|cubic|radix": the value is 0, 1, 2 */
} ldb_param;

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
} ldb_index;

#if defined(__cplusplus)
#define LDB_EXPORT_INDEX(table)                                                                    \
	extern "C" __attribute__((visibility("default"))) const ldb_index *ldb_index_table(void);  \
	const ldb_index *ldb_index_table(void)                                                     \
	{                                                                                          \
		return &(table);                                                                   \
	}
#else
#define LDB_EXPORT_INDEX(table)                                                                    \
	__attribute__((visibility("default"))) const ldb_index *ldb_index_table(void);             \
	const ldb_index *ldb_index_table(void)                                                     \
	{                                                                                          \
		return &(table);                                                                   \
	}
#endif

#ifdef __cplusplus
}
#endif
#endif
