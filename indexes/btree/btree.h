/*
 * The B+-tree: its nodes, where they come from, and the descent.
 *
 * All nodes have the same form: 16 keys, two cache lines (one with keys of 32 bits) that are
 * compared in full (no branch, no dependent load; two lines side by side cost one latency), and 16
 * words in two more, of which a query touches one. In a leaf a word is the key's value, in an inner
 * node the child's address. Unused slots stand at the end; they hold the key LDB_KEY_MAX, which is
 * less than no query, and the word UNUSED, which is neither a value nor an address. So a node needs
 * no count, and all that changes nodes is the same for leaves and inner nodes.
 *
 * Key i of an inner node is a bound: all keys below child i are <= it, all below child i+1 are
 * greater (or equal, where a bulk load has equal keys). So the first bound >= q leads to the leaf
 * where q is or belongs. The last bound of a node is the one that leads to it, on the right edge of
 * the tree LDB_KEY_MAX: there is such a bound for every q. A bulk load makes bounds the largest
 * keys themselves, and then the lower bound of q is in that leaf. After updates it may be the first
 * key of the next leaf.
 */
#ifndef BTREE_H
#define BTREE_H

#include <stdbool.h>
#include <string.h>

#include "ldb/index.h"
#include "ldb/simd.h"

enum {
	FANOUT = 16,     /* children of an inner node, entries of a leaf */
	LEAST = 2,       /* slots used in any node but the root */
	LOW = 5,         /* a deletion that leaves fewer merges nodes or evens them out */
	MAX_LEVELS = 40, /* of inner nodes: LEAST^40 leaves */
};
#define UNUSED LDB_NONE

typedef struct {
	ldb_key key[FANOUT];
	uint64_t word[FANOUT];
} node;

_Static_assert(sizeof(node) % 64 == 0, "whole cache lines");

/* Nodes are taken from ever larger chunks, which are kept until the tree is destroyed. */
typedef struct chunk {
	struct chunk *next;
	size_t count; /* nodes that follow, the first one where this node ends */
} chunk;

typedef struct {
	node *root;
	uint32_t levels; /* of inner nodes; with none the root is a leaf */
	uint32_t ahead;  /* operations whose nodes are fetched together */
	bool updated;    /* since the bulk load: bounds may be loose, values are no ranks */
	size_t n;
	chunk *chunks;
	node *free; /* linked by word[0] */
	size_t free_count;
	node *fresh; /* the nodes of the newest chunk that have not been used yet */
	size_t fresh_count;
	size_t node_count; /* in all chunks */
	size_t bytes;
} btree;

/* The way from the root to a leaf: on each level the node and the slot that was followed. */
typedef struct {
	node *at[MAX_LEVELS];
	unsigned slot[MAX_LEVELS];
} path;

/* How many slots are used. */
static inline unsigned node_count(const node *of)
{
	return ldb_count_less16_64(of->word, UNUSED);
}

static inline node *child_at(const node *inner, unsigned slot)
{
	return (node *)(uintptr_t)inner->word[slot];
}

static inline node *child_for(const node *inner, ldb_key q)
{
	return child_at(inner, ldb_count_less16(inner->key, q));
}

/* A node's words are fetched beside its keys, before it is known which is needed. */
static inline void fetch_words(const node *of)
{
	__builtin_prefetch(of->word);
	__builtin_prefetch(of->word + 8);
}

static inline void fetch_keys(const node *of)
{
	for (unsigned k = 0; k < FANOUT; k += LDB_LINE_KEYS)
		__builtin_prefetch(of->key + k);
}

static inline void fetch_node(const node *of)
{
	fetch_keys(of);
	fetch_words(of);
}

/* The leaf where q is or belongs. */
static inline node *find_leaf(const btree *self, ldb_key q)
{
	node *at = self->root;
	for (uint32_t level = self->levels; level > 0; level--) {
		fetch_words(at);
		at = child_for(at, q);
	}
	return at;
}

static inline node *find_path(const btree *self, ldb_key q, path *way)
{
	node *at = self->root;
	for (uint32_t level = 0; level < self->levels; level++) {
		fetch_words(at);
		way->at[level] = at;
		way->slot[level] = ldb_count_less16(at->key, q);
		at = child_at(at, way->slot[level]);
	}
	return at;
}

/* The leaf after the one that a path leads to, which then leads there; NULL: there is none. */
static inline node *next_leaf(const btree *self, path *way)
{
	uint32_t level = self->levels;
	while (level > 0 && (way->slot[level - 1] + 1 == FANOUT ||
			     way->at[level - 1]->word[way->slot[level - 1] + 1] == UNUSED))
		level--;
	if (level == 0)
		return NULL;
	node *at = child_at(way->at[level - 1], ++way->slot[level - 1]);
	for (; level < self->levels; level++) {
		way->at[level] = at;
		way->slot[level] = 0;
		at = child_at(at, 0);
	}
	return at;
}

/* chunks.c: where nodes come from. */

/* Makes `count` nodes free at least; false when there is no memory. */
bool btree_reserve(btree *self, size_t count);
node *btree_take_node(btree *self); /* one of those */
void btree_give_node(btree *self, node *gone);
/* A new chunk of exactly so many nodes, none of which is free; NULL when there is no memory. */
node *btree_new_chunk(btree *self, size_t count);
bool btree_owns(const btree *self, const node *p);
void btree_free_chunks(btree *self);

/* load.c: fills the empty tree from sorted keys, `slots` of each node. */
ldb_status btree_load(btree *self, const ldb_key *keys, size_t n, size_t slots, ldb_error *err);

/* update.c */
size_t btree_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err);

/* validate.c */
ldb_status btree_validate(const void *self, ldb_error *err);

#endif
