/*
 * Bulk load: as few nodes as `slots` used ones in each allow, all in one chunk, level by level from
 * the root to the leaves, and the entries spread evenly over the nodes of a level.
 */
#include "btree.h"

typedef struct {
	node *nodes;
	const ldb_key *keys;
	size_t n;
	uint32_t levels;              /* of inner nodes */
	size_t start[MAX_LEVELS + 2]; /* nodes before each level, and in all */
} plan;

/* How many nodes lie on a level; plan->levels is that of the leaves. */
static size_t level_count(const plan *p, uint32_t level)
{
	return p->start[level + 1] - p->start[level];
}

/* Where the ith of `parts` shares of `total` things starts, all shares as equal as can be. */
static inline size_t share_start(size_t total, size_t parts, size_t i)
{
	const size_t larger = total % parts;
	return i * (total / parts) + (i < larger ? i : larger);
}

/* What lies below node i of a level: first..end of the next level, or of the keys. */
static size_t first_below(const plan *p, uint32_t level, size_t i)
{
	const size_t below = level == p->levels ? p->n : level_count(p, level + 1);
	return share_start(below, level_count(p, level), i);
}

/* The bound of node i of a level: the largest key below it, on the right edge the largest of all.
 */
static ldb_key bound_of(const plan *p, uint32_t level, size_t i)
{
	if (i + 1 == level_count(p, level))
		return LDB_KEY_MAX;
	size_t end = i + 1;
	for (; level <= p->levels; level++)
		end = first_below(p, level, end);
	return p->keys[end - 1];
}

static void fill_inner(const plan *p, uint32_t level, size_t i)
{
	node *inner = &p->nodes[p->start[level] + i];
	const size_t first = first_below(p, level, i), end = first_below(p, level, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		inner->key[k] = used ? bound_of(p, level + 1, first + k) : LDB_KEY_MAX;
		inner->word[k] =
			used ? (uintptr_t)&p->nodes[p->start[level + 1] + first + k] : UNUSED;
	}
}

static void fill_leaf(const plan *p, size_t i)
{
	node *leaf = &p->nodes[p->start[p->levels] + i];
	const size_t first = first_below(p, p->levels, i), end = first_below(p, p->levels, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		leaf->key[k] = used ? p->keys[first + k] : LDB_KEY_MAX;
		leaf->word[k] = used ? first + k : UNUSED;
	}
}

/* Fixes how many nodes each level has. */
static void plan_levels(plan *p, size_t slots)
{
	size_t counts[MAX_LEVELS + 1]; /* from the leaves up */
	counts[0] = p->n ? p->n / slots + (p->n % slots != 0) : 1;
	for (; counts[p->levels] > 1; p->levels++)
		counts[p->levels + 1] =
			counts[p->levels] / slots + (counts[p->levels] % slots != 0);
	for (uint32_t level = 0; level <= p->levels; level++)
		p->start[level + 1] = p->start[level] + counts[p->levels - level];
}

ldb_status btree_load(btree *self, const ldb_key *keys, size_t n, size_t slots, ldb_error *err)
{
	plan p = {.keys = keys, .n = n};
	plan_levels(&p, slots);
	const size_t count = p.start[p.levels + 1];
	p.nodes = btree_new_chunk(self, count);
	if (!p.nodes)
		return ldb_fail_oom(err, "btree nodes", count * sizeof(node));
	for (size_t i = 0; i < level_count(&p, p.levels); i++)
		fill_leaf(&p, i);
	for (uint32_t level = p.levels; level-- > 0;) {
		for (size_t i = 0; i < level_count(&p, level); i++)
			fill_inner(&p, level, i);
	}
	self->root = p.nodes;
	self->levels = p.levels;
	self->n = n;
	return LDB_OK;
}
