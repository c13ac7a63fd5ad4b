/* Bulk load: all nodes in one chunk, level by level from the root to the leaves (ldb/levels.h). */
#include "ldb/levels.h"

#include "btree.h"

static void fill_inner(const ldb_levels *p, node *nodes, uint32_t level, size_t i)
{
	node *inner = &nodes[p->start[level] + i];
	const size_t first = ldb_levels_first(p, level, i), end = ldb_levels_first(p, level, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		inner->key[k] = used ? ldb_levels_bound(p, level + 1, first + k) : LDB_KEY_MAX;
		inner->word[k] = used ? (uintptr_t)&nodes[p->start[level + 1] + first + k] : UNUSED;
	}
}

static void fill_leaf(const ldb_levels *p, node *nodes, size_t i)
{
	node *leaf = &nodes[p->start[p->levels] + i];
	const size_t first = ldb_levels_first(p, p->levels, i);
	const size_t end = ldb_levels_first(p, p->levels, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		leaf->key[k] = used ? p->keys[first + k] : LDB_KEY_MAX;
		leaf->word[k] = used ? first + k : UNUSED;
	}
}

ldb_status btree_load(btree *self, const ldb_key *keys, size_t n, size_t slots, ldb_error *err)
{
	const ldb_levels p = ldb_levels_plan(keys, n, slots);
	const size_t count = p.start[p.levels + 1];
	node *nodes = btree_new_chunk(self, count);
	if (!nodes)
		return ldb_fail_oom(err, "btree nodes", count * sizeof(node));
	for (size_t i = 0; i < ldb_levels_count(&p, p.levels); i++)
		fill_leaf(&p, nodes, i);
	for (uint32_t level = p.levels; level-- > 0;) {
		for (size_t i = 0; i < ldb_levels_count(&p, level); i++)
			fill_inner(&p, nodes, level, i);
	}
	self->root = nodes;
	self->levels = p.levels;
	self->n = n;
	return LDB_OK;
}
