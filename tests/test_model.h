/*
 * The oracle of updatable indexes: a sorted array of all keys that may ever be there, and for each
 * a value and whether it is there now. Simple enough to be right, and a lower bound costs a binary
 * search and a walk over a bitmap, so that a million operations take a second.
 */
#ifndef LDB_TEST_MODEL_H
#define LDB_TEST_MODEL_H

#include "test_index.h"

typedef struct {
	ldb_key *keys; /* sorted, distinct */
	size_t n;
	ldb_val *value;
	uint64_t *present; /* a bit for each key */
	size_t count;      /* keys that are there */
} test_model;

/* The universe of a kind (see TEST_KINDS) of at most n keys, none of which is there. */
static inline test_model test_model_make(int kind, size_t n)
{
	test_model m = {.keys = calloc(n + 1, sizeof(ldb_key))};
	m.value = calloc(n + 1, sizeof *m.value);
	m.present = calloc(n / 64 + 1, sizeof *m.present);
	if (!m.keys || !m.value || !m.present) {
		perror("model");
		exit(2);
	}
	test_make_keys(kind, m.keys, n);
	m.n = test_distinct(m.keys, n);
	return m;
}

static inline void test_model_free(test_model *m)
{
	free(m->keys);
	free(m->value);
	free(m->present);
}

static inline bool test_model_has(const test_model *m, size_t rank)
{
	return m->present[rank / 64] >> rank % 64 & 1;
}

static inline void test_model_set(test_model *m, size_t rank, bool there)
{
	m->count += (size_t)there - (size_t)test_model_has(m, rank);
	m->present[rank / 64] &= ~((uint64_t)1 << rank % 64);
	m->present[rank / 64] |= (uint64_t)there << rank % 64;
}

/* The first rank >= `rank` whose key is there; n when there is none. */
static inline size_t test_model_next(const test_model *m, size_t rank)
{
	if (rank >= m->n)
		return m->n;
	size_t word = rank / 64;
	uint64_t bits = m->present[word] >> rank % 64 << rank % 64;
	while (!bits && word < m->n / 64)
		bits = m->present[++word];
	return bits ? 64 * word + (size_t)__builtin_ctzll(bits) : m->n;
}

/* The rank of the universe's first key >= q, there or not; n when there is none. */
static inline size_t test_model_rank(const test_model *m, ldb_key q)
{
	const ldb_val rank = test_lower_bound(m->keys, m->n, q);
	return rank == LDB_NONE ? m->n : rank;
}

static inline ldb_val test_model_lower_bound(const test_model *m, ldb_key q)
{
	const size_t rank = test_model_next(m, test_model_rank(m, q));
	return rank < m->n ? m->value[rank] : LDB_NONE;
}

static inline ldb_val test_model_get(const test_model *m, ldb_key q)
{
	const size_t rank = test_model_rank(m, q);
	return rank < m->n && m->keys[rank] == q && test_model_has(m, rank) ? m->value[rank]
									    : LDB_NONE;
}

static inline ldb_val test_model_scan(const test_model *m, ldb_key q, uint32_t length)
{
	ldb_val sum = 0;
	size_t rank = test_model_next(m, test_model_rank(m, q));
	for (; length > 0 && rank < m->n; length--) {
		sum += m->value[rank];
		rank = test_model_next(m, rank + 1);
	}
	return sum;
}

/* Does an operation and returns the answer to it. A PUT's key must be of the universe. */
static inline ldb_val test_model_apply(test_model *m, const ldb_op *op)
{
	const size_t rank = test_model_rank(m, op->key);
	const bool known = rank < m->n && m->keys[rank] == op->key;
	switch (op->kind) {
	case LDB_GET:
		return test_model_get(m, op->key);
	case LDB_SCAN:
		return test_model_scan(m, op->key, op->length);
	case LDB_PUT:
		m->value[rank] = op->value;
		test_model_set(m, rank, true);
		return 0;
	default:
		if (known)
			test_model_set(m, rank, false);
		return 0;
	}
}

/* Copies the keys that are there to `out`, gives each its place as value, as a build does, and
 * returns how many they are. */
static inline size_t test_model_load(test_model *m, ldb_key *out)
{
	size_t count = 0;
	for (size_t r = test_model_next(m, 0); r < m->n; r = test_model_next(m, r + 1)) {
		m->value[r] = count;
		out[count++] = m->keys[r];
	}
	return count;
}

#endif
