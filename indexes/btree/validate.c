/*
 * The invariants of the tree, walked in key order. As long as it is as it was loaded, bounds are
 * the largest keys and values are ranks.
 */
#include "btree.h"

typedef struct {
	const btree *tree;
	ldb_error *err;
	size_t rank; /* entries so far */
	size_t nodes, leaves;
	ldb_key last; /* the last entry's key */
	ldb_key low;  /* the bound of the last leaf */
} walk;

static ldb_status broken(const walk *w, const char *what)
{
	return ldb_fail(w->err, LDB_INVALID, "report it as a fault of btree", what,
			"after %zu entries, in node %zu", w->rank, w->nodes);
}

/* Used slots first, then unused ones; how many is in *count. */
static ldb_status validate_slots(walk *w, const node *at, bool root, unsigned *count)
{
	unsigned used = 0;
	while (used < FANOUT && at->word[used] != UNUSED)
		used++;
	for (unsigned k = used; k < FANOUT; k++) {
		if (at->key[k] != LDB_KEY_MAX || at->word[k] != UNUSED)
			return broken(w, "btree: an unused slot");
	}
	if (!root && used < LEAST)
		return broken(w, "btree: a node with too few slots in use");
	*count = used;
	return LDB_OK;
}

static ldb_status validate_leaf(walk *w, const node *leaf, unsigned count)
{
	const bool updated = w->tree->updated;
	for (unsigned k = 0; k < count; k++) {
		const ldb_key key = leaf->key[k];
		if (w->rank > 0 && (key < w->last || (updated && key == w->last)))
			return broken(w, "btree: order of keys");
		if (w->leaves > 0 && (key < w->low || (updated && key == w->low)))
			return broken(w, "btree: a key below its leaf's range");
		if (!updated && leaf->word[k] != w->rank)
			return broken(w, "btree: value of a key");
		w->last = key;
		w->rank++;
	}
	return LDB_OK;
}

/* A node, its bound and all below it. */
static ldb_status validate_node(walk *w, const node *at, uint32_t level, ldb_key bound)
{
	const btree *tree = w->tree;
	unsigned count = 0;
	if (!btree_owns(tree, at))
		return broken(w, "btree: child link");
	ldb_status status = validate_slots(w, at, level == 0, &count);
	w->nodes++;
	if (status != LDB_OK)
		return status;
	if (level == tree->levels) {
		status = validate_leaf(w, at, count);
		w->low = bound;
		w->leaves++;
	} else {
		if (count < LEAST || at->key[count - 1] != bound)
			return broken(w, "btree: the last bound of a node");
		for (unsigned k = 0; k < count && status == LDB_OK; k++)
			status = validate_node(w, child_at(at, k), level + 1, at->key[k]);
	}
	if (status != LDB_OK)
		return status;
	const bool exact = !tree->updated && w->rank < tree->n;
	if (w->rank > 0 && (w->last > bound || (exact && w->last != bound)))
		return broken(w, "btree: bound of a node");
	return LDB_OK;
}

ldb_status btree_validate(const void *self, ldb_error *err)
{
	const btree *tree = self;
	walk w = {.tree = tree, .err = err};
	size_t free_count = 0;
	ldb_status status = validate_node(&w, tree->root, 0, LDB_KEY_MAX);
	if (status != LDB_OK)
		return status;
	if (w.rank != tree->n)
		return broken(&w, "btree: number of entries");
	for (const node *f = tree->free; f && free_count < tree->free_count; f = child_at(f, 0))
		free_count++;
	if (free_count != tree->free_count ||
	    w.nodes + free_count + tree->fresh_count != tree->node_count)
		return broken(&w, "btree: number of nodes");
	return LDB_OK;
}
