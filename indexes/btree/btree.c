/*
 * btree: a B+-tree for main memory, bulk-loaded, that holds its own copy of keys and values. The
 * general-purpose ordered index: explicit child links, leaves linked to the next, nodes that may be
 * partly filled (parameter `fill`).
 *
 * After Bayer and McCreight, Organization and Maintenance of Large Ordered Indices (Acta
 * Informatica 1, 1972); node size and layout after Rao and Ross, Making B+-Trees Cache Conscious in
 * Main Memory (SIGMOD 2000); comparison with all keys of a node at once after Zhou and Ross,
 * Implementing Database Operations Using SIMD Instructions (SIGMOD 2002); groups of queries that
 * descend together after Chen, Ailamaki, Gibbons, Mowry, Improving Hash Join Performance through
 * Prefetching (ICDE 2004), section 4.
 *
 * Cache lines. A node's 16 keys are two lines that are compared in full: no branch, no dependent
 * load, and two lines side by side cost one latency. An inner node has its 16 child links (32-bit
 * node numbers) in a third line; a leaf its 16 values in two more, of which a query touches one. So
 * a query costs three lines per level. Counts and leaf links are not needed to search and lie
 * apart.
 *
 * Slot i of an inner node is the largest key below child i. So the first slot >= q leads to the
 * leaf of the lower bound itself, never to its neighbour, duplicates or not, and no link need be
 * followed. There is such a slot in each node if there is one in the root: queries beyond the
 * largest key descend as if they asked for it, and are told LDB_NONE at the end. Unused slots hold
 * UINT64_MAX, which is less than no query.
 */
#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/simd.h"

enum {
	FANOUT = 16,     /* children of an inner node, entries of a leaf */
	MAX_LEVELS = 11, /* inner levels: at least 8 children each, fewer than 2^32 leaves */
	GROUP = 16,      /* queries that descend together */
};
#define NO_NODE UINT32_MAX

enum { PARAM_FILL };
static const ldb_param params[] = {
	{"fill", "share of a node's slots that the bulk load fills", .def = 1, .min = 0.5,
	 .max = 1},
	{0},
};

typedef struct {
	ldb_key last[FANOUT]; /* last[i]: largest key below child[i] */
	uint32_t child[FANOUT];
} inner_node;

typedef struct {
	ldb_key key[FANOUT];
	ldb_val value[FANOUT];
} leaf_node;

typedef struct {
	uint32_t count;
	uint32_t next; /* NO_NODE after the last leaf */
} leaf_link;

_Static_assert(sizeof(inner_node) == 3 * 64 && sizeof(leaf_node) == 4 * 64, "whole cache lines");

typedef struct {
	inner_node *inners; /* level by level, the root first */
	leaf_node *leaves;  /* in key order */
	ldb_key max;        /* the largest key; 0 when there is none */
	uint32_t levels;    /* of inner nodes; with none the only leaf is the root */
	uint32_t leaf_count;
	leaf_link *links; /* of leaves[i] */
	size_t n;
	uint32_t level_start[MAX_LEVELS + 1]; /* inner nodes before each level, and in all */
} btree;

static inline unsigned count_less(const ldb_key *keys, ldb_key q)
{
	return ldb_count_less8(keys, q) + ldb_count_less8(keys + 8, q);
}

static inline ldb_val btree_find(const btree *self, ldb_key q)
{
	const ldb_key sought = q < self->max ? q : self->max;
	uint32_t node = 0;
	for (uint32_t level = self->levels; level > 0; level--) {
		const inner_node *inner = &self->inners[node];
		__builtin_prefetch(inner->child);
		node = inner->child[count_less(inner->last, sought)];
	}
	const leaf_node *leaf = &self->leaves[node];
	__builtin_prefetch(leaf->value);
	__builtin_prefetch(leaf->value + 8);
	const ldb_val value = leaf->value[count_less(leaf->key, sought)];
	return q > self->max ? LDB_NONE : value;
}

LDB_INDEX_LOOPS(btree, btree_find)

/* Takes `count` queries one level down and fetches the lines that they need there. */
static inline void descend(const btree *self, uint32_t level, const ldb_key *sought, size_t count,
			   uint32_t *node)
{
	for (size_t i = 0; i < count; i++) {
		const inner_node *inner = &self->inners[node[i]];
		node[i] = inner->child[count_less(inner->last, sought[i])];
		if (level + 1 < self->levels) {
			const inner_node *below = &self->inners[node[i]];
			__builtin_prefetch(below->last);
			__builtin_prefetch(below->last + 8);
			__builtin_prefetch(below->child);
		} else {
			const leaf_node *below = &self->leaves[node[i]];
			__builtin_prefetch(below->key);
			__builtin_prefetch(below->key + 8);
		}
	}
}

static inline void find_group(const btree *self, const ldb_key *q, size_t count, ldb_val *out)
{
	uint32_t node[GROUP];
	ldb_key sought[GROUP];
	const ldb_val *value[GROUP];
	for (size_t i = 0; i < count; i++) {
		node[i] = 0;
		sought[i] = q[i] < self->max ? q[i] : self->max;
	}
	for (uint32_t level = 0; level < self->levels; level++)
		descend(self, level, sought, count, node);
	for (size_t i = 0; i < count; i++) {
		const leaf_node *leaf = &self->leaves[node[i]];
		value[i] = &leaf->value[count_less(leaf->key, sought[i])];
		__builtin_prefetch(value[i]);
	}
	for (size_t i = 0; i < count; i++)
		out[i] = q[i] > self->max ? LDB_NONE : *value[i];
}

static void btree_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + GROUP <= n; i += GROUP)
		find_group(self, q + i, GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

/* Where the ith of `parts` shares of `total` things starts, all shares as equal as can be. */
static inline size_t share_start(size_t total, size_t parts, size_t i)
{
	size_t larger = total % parts;
	return i * (total / parts) + (i < larger ? i : larger);
}

static void fill_leaves(btree *self, const ldb_key *keys)
{
	for (uint32_t i = 0; i < self->leaf_count; i++) {
		leaf_node *leaf = &self->leaves[i];
		size_t start = share_start(self->n, self->leaf_count, i);
		size_t count = share_start(self->n, self->leaf_count, i + 1u) - start;
		for (size_t k = 0; k < FANOUT; k++) {
			leaf->key[k] = k < count ? keys[start + k] : LDB_KEY_MAX;
			leaf->value[k] = k < count ? start + k : LDB_NONE;
		}
		self->links[i] = (leaf_link){(uint32_t)count, i + 1};
	}
	self->links[self->leaf_count - 1].next = NO_NODE;
}

/* How many nodes lie on a level; self->levels is that of the leaves. */
static uint32_t level_count(const btree *self, uint32_t level)
{
	if (level == self->levels)
		return self->leaf_count;
	return self->level_start[level + 1] - self->level_start[level];
}

/* The children of node i of an inner level are nodes first..end of the level below. */
static void children_of(const btree *self, uint32_t level, uint32_t i, uint32_t *first,
			uint32_t *end)
{
	uint32_t nodes = level_count(self, level), below = level_count(self, level + 1);
	*first = (uint32_t)share_start(below, nodes, i);
	*end = (uint32_t)share_start(below, nodes, i + 1u);
}

/* The largest key below node i of a level, found down the right edge of its subtree. */
static ldb_key largest_below(const btree *self, uint32_t level, uint32_t i)
{
	for (uint32_t first, end; level < self->levels; level++) {
		children_of(self, level, i, &first, &end);
		i = end - 1;
	}
	return self->leaves[i].key[self->links[i].count - 1];
}

static void fill_level(btree *self, uint32_t level)
{
	uint32_t below_start = level + 1 < self->levels ? self->level_start[level + 1] : 0;
	for (uint32_t i = 0; i < level_count(self, level); i++) {
		inner_node *inner = &self->inners[self->level_start[level] + i];
		uint32_t first, end;
		children_of(self, level, i, &first, &end);
		for (uint32_t k = 0; k < FANOUT; k++) {
			bool used = k < end - first;
			inner->last[k] =
				used ? largest_below(self, level + 1, first + k) : LDB_KEY_MAX;
			inner->child[k] = used ? below_start + first + k : NO_NODE;
		}
	}
}

/* Fixes how many nodes each level has, for `slots` entries or children in each node. */
static void plan_levels(btree *self, uint32_t slots)
{
	uint32_t counts[MAX_LEVELS], nodes = self->leaf_count;
	while (nodes > 1) { /* counts: from the lowest inner level up */
		nodes = nodes / slots + (nodes % slots != 0);
		counts[self->levels++] = nodes;
	}
	self->level_start[0] = 0;
	for (uint32_t level = 0; level < self->levels; level++)
		self->level_start[level + 1] =
			self->level_start[level] + counts[self->levels - 1 - level];
}

static size_t inner_bytes(const btree *self)
{
	return self->level_start[self->levels] * sizeof *self->inners;
}

static size_t btree_bytes(const void *self)
{
	const btree *index = self;
	return sizeof *index + inner_bytes(index) +
	       index->leaf_count * (sizeof *index->leaves + sizeof *index->links);
}

static void btree_destroy(void *self)
{
	btree *index = self;
	ldb_free(index->inners, inner_bytes(index));
	ldb_free(index->leaves, index->leaf_count * sizeof *index->leaves);
	ldb_free(index->links, index->leaf_count * sizeof *index->links);
	ldb_free(index, sizeof *index);
}

static ldb_status btree_build(void **self, const ldb_key *keys, size_t n, const double *values,
			      ldb_error *err)
{
	const size_t slots = (size_t)(values[PARAM_FILL] * FANOUT + 0.5);
	const size_t leaf_count = n ? n / slots + (n % slots != 0) : 1;
	if (leaf_count >= NO_NODE)
		return ldb_fail(err, LDB_UNSUPPORTED, "use a smaller size", "btree",
				"%zu keys need more leaves than 32 bits can number", n);
	btree *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "btree", sizeof *index);
	*index = (btree){.n = n, .max = n ? keys[n - 1] : 0, .leaf_count = (uint32_t)leaf_count};
	plan_levels(index, (uint32_t)slots);
	index->inners = ldb_alloc(inner_bytes(index));
	index->leaves = ldb_alloc(leaf_count * sizeof *index->leaves);
	index->links = ldb_alloc(leaf_count * sizeof *index->links);
	if (!index->inners || !index->leaves || !index->links) {
		size_t bytes = btree_bytes(index);
		btree_destroy(index);
		return ldb_fail_oom(err, "btree nodes", bytes);
	}
	fill_leaves(index, keys);
	for (uint32_t level = index->levels; level-- > 0;)
		fill_level(index, level);
	*self = index;
	return LDB_OK;
}

static ldb_status broken(ldb_error *err, const char *what, size_t node)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of btree", what, "node %zu", node);
}

static ldb_status validate_leaves(const btree *self, ldb_error *err)
{
	size_t rank = 0;
	ldb_key last = 0;
	for (uint32_t i = 0; i < self->leaf_count; i++) {
		const leaf_node *leaf = &self->leaves[i];
		const uint32_t count = self->links[i].count;
		if (count > FANOUT || (count == 0 && self->n))
			return broken(err, "btree: count of a leaf", i);
		if (self->links[i].next != (i + 1 < self->leaf_count ? i + 1 : NO_NODE))
			return broken(err, "btree: link to the next leaf", i);
		for (uint32_t k = 0; k < FANOUT; k++) {
			if (leaf->key[k] < last || (k >= count && leaf->key[k] != LDB_KEY_MAX))
				return broken(err, "btree: order of keys in a leaf", i);
			if (leaf->value[k] != (k < count ? rank++ : LDB_NONE))
				return broken(err, "btree: values of a leaf", i);
			if (k < count)
				last = leaf->key[k];
		}
	}
	if (rank != self->n)
		return broken(err, "btree: number of entries in all leaves", self->leaf_count);
	if (last != self->max)
		return broken(err, "btree: the largest key", self->leaf_count);
	return LDB_OK;
}

/* The largest key in a node of `level`, by its own slots. */
static ldb_key largest_in(const btree *self, uint32_t level, uint32_t node)
{
	if (level == self->levels)
		return self->leaves[node].key[self->links[node].count - 1];
	uint32_t used = 1;
	while (used < FANOUT && self->inners[node].child[used] != NO_NODE)
		used++;
	return self->inners[node].last[used - 1];
}

/* A level's children are all nodes of the next, each once and in order. */
static ldb_status validate_level(const btree *self, uint32_t level, ldb_error *err)
{
	const bool above_leaves = level + 1 == self->levels;
	uint32_t expected = above_leaves ? 0 : self->level_start[level + 1];
	const uint32_t end = expected + level_count(self, level + 1);
	for (uint32_t i = self->level_start[level]; i < self->level_start[level + 1]; i++) {
		const inner_node *inner = &self->inners[i];
		bool used = true;
		for (uint32_t k = 0; k < FANOUT; k++) {
			used = used && inner->child[k] != NO_NODE;
			if (!used && (inner->child[k] != NO_NODE || inner->last[k] != LDB_KEY_MAX))
				return broken(err, "btree: unused slot of an inner node", i);
			if (used && (expected >= end || inner->child[k] != expected++))
				return broken(err, "btree: child link", i);
			if (used && inner->last[k] != largest_in(self, level + 1, inner->child[k]))
				return broken(err, "btree: largest key below a child", i);
		}
	}
	return expected == end
		       ? LDB_OK
		       : broken(err, "btree: a node without parent on the level below", end);
}

static ldb_status btree_validate(const void *self, ldb_error *err)
{
	const btree *index = self;
	ldb_status status = validate_leaves(index, err);
	for (uint32_t level = index->levels; status == LDB_OK && level-- > 0;)
		status = validate_level(index, level, err);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree",
	.summary = "B+-tree of 16-way nodes, compared by SIMD",
	.origin = "Bayer, McCreight 1972; Rao, Ross: Making B+-Trees Cache Conscious, SIGMOD 2000",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 40, /* 18 at fill 1, 36 at fill 0.5 */
	.build = btree_build,
	.destroy = btree_destroy,
	.bytes = btree_bytes,
	.validate = btree_validate,
	.lookup = btree_lookup,
	.chase = btree_chase,
	.lookup_batch = btree_lookup_batch,
};
LDB_EXPORT_INDEX(table)
