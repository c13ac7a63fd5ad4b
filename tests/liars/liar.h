/*
 * A right and plain index for the tests' liars to spoil: each liar is one file that changes one
 * thing, and the harness must notice it.
 */
#ifndef LIAR_H
#define LIAR_H

#include "ldb/index.h"
#include "ldb/loops.h"

typedef struct {
	const ldb_key *keys;
	size_t n;
} liar;

static inline ldb_val liar_rank(const liar *self, ldb_key q)
{
	size_t lo = 0, hi = self->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (self->keys[mid] < q)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < self->n ? lo : LDB_NONE;
}

LDB_INDEX_LOOPS(liar, liar_rank)

static inline ldb_status liar_build(void **self, const ldb_key *keys, size_t n,
				    const double *params, ldb_error *err)
{
	(void)params;
	liar *index = (liar *)ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "liar", sizeof *index);
	index->keys = keys;
	index->n = n;
	*self = index;
	return LDB_OK;
}

static inline void liar_destroy(void *self)
{
	ldb_free(self, sizeof(liar));
}

static inline size_t liar_bytes(const void *self)
{
	(void)self;
	return sizeof(liar);
}

static inline ldb_status liar_validate(const void *self, ldb_error *err)
{
	(void)self, (void)err;
	return LDB_OK;
}

/* The honest fields; a liar adds the rest of its table. */
#define LIAR_REST                                                                                  \
	.summary = "planted fault", .flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,           \
	.destroy = liar_destroy
#define LIAR_HONEST LIAR_REST, .abi = LDB_INDEX_ABI, .key_bits = LDB_KEY_BITS

#endif
