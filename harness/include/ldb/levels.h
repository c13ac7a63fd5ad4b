/*
 * The plan of a B+-tree's bulk load: how many nodes each level has, what lies below each of them,
 * and their bounds. As few nodes as `slots` used ones in each allow; the entries are spread evenly
 * over the nodes of a level.
 */
#ifndef LDB_LEVELS_H
#define LDB_LEVELS_H

#include "ldb/index.h"

enum { LDB_LEVELS_MAX = 64 };

typedef struct {
	const ldb_key *keys;
	size_t n;
	uint32_t levels;                  /* above the leaves, which are level `levels` */
	size_t start[LDB_LEVELS_MAX + 2]; /* nodes before each level, and in all */
} ldb_levels;

/* How many nodes lie on a level. */
static inline size_t ldb_levels_count(const ldb_levels *p, uint32_t level)
{
	return p->start[level + 1] - p->start[level];
}

/* For slots >= 2. With no keys there is one leaf. */
static inline ldb_levels ldb_levels_plan(const ldb_key *keys, size_t n, size_t slots)
{
	ldb_levels p = {.keys = keys, .n = n};
	size_t counts[LDB_LEVELS_MAX + 1]; /* from the leaves up */
	counts[0] = n ? n / slots + (n % slots != 0) : 1;
	for (; counts[p.levels] > 1; p.levels++)
		counts[p.levels + 1] = counts[p.levels] / slots + (counts[p.levels] % slots != 0);
	for (uint32_t level = 0; level <= p.levels; level++)
		p.start[level + 1] = p.start[level] + counts[p.levels - level];
	return p;
}

/* The first of what lies below node i of a level, nodes of the next level or keys; that of node
 * i + 1 is where it ends. */
static inline size_t ldb_levels_first(const ldb_levels *p, uint32_t level, size_t i)
{
	const size_t below = level == p->levels ? p->n : ldb_levels_count(p, level + 1);
	const size_t parts = ldb_levels_count(p, level), larger = below % parts;
	return i * (below / parts) + (i < larger ? i : larger);
}

/* The bound of node i of a level: the largest key below it, on the right edge the largest of all.
 */
static inline ldb_key ldb_levels_bound(const ldb_levels *p, uint32_t level, size_t i)
{
	if (i + 1 == ldb_levels_count(p, level))
		return LDB_KEY_MAX;
	size_t end = i + 1;
	for (; level <= p->levels; level++)
		end = ldb_levels_first(p, level, end);
	return p->keys[end - 1];
}

#endif
