/*
 * A bulk-loaded B+-tree over sorted rows, as Q6's classical paths use it (Comer: "The Ubiquitous
 * B-Tree", 1979). Leaves hold 64 rows and are the rows' columns themselves, side by side; nodes
 * above hold 16 keys in two cache lines, compared by SIMD. That is the best such a tree can get:
 * full nodes, and no keys between the values that a scan reads.
 */
#ifndef LDB_Q6TREE_H
#define LDB_Q6TREE_H

#include <stdbool.h>

#include "ldb/q6scan.h"
#include "ldb/simd.h"

enum { LDB_Q6_LEAF = 64, LDB_Q6_NODE = 16, LDB_Q6_LEVELS = 8 };

typedef struct {
	uint64_t *keys; /* first key of each leaf, then of each node of a level, padded to nodes */
	size_t count;   /* of keys */
	size_t level[LDB_Q6_LEVELS]; /* where a level begins; 0 is the lowest */
	unsigned levels;
	size_t n; /* rows */
} ldb_q6_tree;

typedef uint64_t ldb_q6_key_fn(const ldb_q6_rows *rows, size_t i);

static inline size_t ldb_q6_tree_bytes(const ldb_q6_tree *t)
{
	return t->count * sizeof *t->keys;
}

static inline void ldb_q6_tree_free(ldb_q6_tree *t)
{
	ldb_free(t->keys, ldb_q6_tree_bytes(t));
}

/* The tree over rows[0..n), whose keys by `key` ascend. False when there is no memory. */
LDB_Q6_INLINE bool ldb_q6_tree_build(ldb_q6_tree *t, ldb_q6_key_fn *key, const ldb_q6_rows *rows,
				     size_t n)
{
	*t = (ldb_q6_tree){.n = n};
	size_t width = n ? (n + LDB_Q6_LEAF - 1) / LDB_Q6_LEAF : 1;
	do {
		width = (width + LDB_Q6_NODE - 1) / LDB_Q6_NODE;
		t->level[t->levels++] = t->count;
		t->count += width * LDB_Q6_NODE;
	} while (width > 1);
	t->keys = (uint64_t *)ldb_alloc(ldb_q6_tree_bytes(t));
	if (!t->keys)
		return false;
	memset(t->keys, 0xff, ldb_q6_tree_bytes(t));
	for (size_t i = 0; i < n; i += LDB_Q6_LEAF)
		t->keys[i / LDB_Q6_LEAF] = key(rows, i);
	for (unsigned l = 1; l < t->levels; l++)
		for (size_t i = t->level[l - 1]; i < t->level[l]; i += LDB_Q6_NODE)
			t->keys[t->level[l] + (i - t->level[l - 1]) / LDB_Q6_NODE] = t->keys[i];
	return true;
}

/* Rank of the first row whose key is >= k. */
LDB_Q6_INLINE size_t ldb_q6_tree_find(const ldb_q6_tree *t, ldb_q6_key_fn *key,
				      const ldb_q6_rows *rows, uint64_t k)
{
	size_t at = 0; /* a node, and at last a leaf: the last one that begins with less than k */
	for (unsigned l = t->levels; l-- > 0;) {
		const uint64_t *node = t->keys + t->level[l] + at * LDB_Q6_NODE;
		const unsigned less = ldb_count_less8(node, k) + ldb_count_less8(node + 8, k);
		at = at * LDB_Q6_NODE + (less ? less - 1 : 0);
	}
	size_t lo = at * LDB_Q6_LEAF, left = t->n - lo < LDB_Q6_LEAF ? t->n - lo : LDB_Q6_LEAF;
	while (left > 1) {
		const size_t half = left / 2;
		lo += half & (0 - (size_t)(key(rows, lo + half - 1) < k));
		left -= half;
	}
	return lo + (left && key(rows, lo) < k);
}

#endif
