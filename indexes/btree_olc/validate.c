/*
 * The invariants of the tree, walked in key order while no one writes. As long as it is as it was
 * loaded, bounds are the largest keys and values are ranks.
 */
#include "olc.h"

typedef struct {
	const btree_olc *tree;
	ldb_error *err;
	bool updated;
	uint32_t levels;
	size_t rank, nodes, leaves; /* so far */
	ldb_key last;               /* the last entry's key */
	ldb_key low;                /* the bound of the last leaf */
	uint64_t next;              /* the last leaf's link */
} walk;

static ldb_status broken(const walk *w, const char *what)
{
	return ldb_fail(w->err, LDB_INVALID, "report it as a fault of btree_olc", what,
			"after %zu entries, in node %zu", w->rank, w->nodes);
}

/* Used slots first, then unused ones; how many is in *count. */
static ldb_status validate_slots(walk *w, const node *at, unsigned *count)
{
	unsigned used = 0;
	while (used < FANOUT && load(&at->word[used]) != UNUSED)
		used++;
	for (unsigned k = used; k < FANOUT; k++) {
		if (load(&at->key[k]) != LDB_KEY_MAX || load(&at->word[k]) != UNUSED)
			return broken(w, "btree_olc: an unused slot");
	}
	if (atomic_load(&at->version) & 1)
		return broken(w, "btree_olc: a node is locked");
	*count = used;
	return LDB_OK;
}

static ldb_status validate_leaf(walk *w, const node *leaf, unsigned count, ldb_key bound)
{
	if (w->leaves > 0 && w->next != (uintptr_t)leaf)
		return broken(w, "btree_olc: link to the next leaf");
	for (unsigned k = 0; k < count; k++) {
		const ldb_key key = load(&leaf->key[k]);
		if (w->rank > 0 && (key < w->last || (w->updated && key == w->last)))
			return broken(w, "btree_olc: order of keys");
		if (w->leaves > 0 && (key < w->low || (w->updated && key == w->low)))
			return broken(w, "btree_olc: a key below its leaf's range");
		if (!w->updated && load(&leaf->word[k]) != w->rank)
			return broken(w, "btree_olc: value of a key");
		w->last = key;
		w->rank++;
	}
	w->low = bound;
	w->next = load(&leaf->word[NEXT]);
	w->leaves++;
	return LDB_OK;
}

/* A node, its bound and all below it. */
static ldb_status validate_node(walk *w, const node *at, uint32_t level, ldb_key bound)
{
	unsigned count = 0;
	if (!olc_owns(w->tree, at))
		return broken(w, "btree_olc: child link");
	ldb_status status = validate_slots(w, at, &count);
	w->nodes++;
	if (status != LDB_OK)
		return status;
	if (level == w->levels) {
		status = validate_leaf(w, at, count, bound);
	} else {
		if (count == 0 || load(&at->key[count - 1]) != bound)
			return broken(w, "btree_olc: the last bound of a node");
		for (unsigned k = 0; k < count && status == LDB_OK; k++)
			status = validate_node(w, to_node(load(&at->word[k])), level + 1,
					       load(&at->key[k]));
	}
	if (status == LDB_OK && w->rank > 0 &&
	    (w->last > bound || (!w->updated && bound != LDB_KEY_MAX && w->last != bound)))
		return broken(w, "btree_olc: bound of a node");
	return status;
}

ldb_status olc_validate(const void *self, ldb_error *err)
{
	const btree_olc *tree = self;
	walk w = {.tree = tree,
		  .err = err,
		  .updated = atomic_load(&tree->updated),
		  .levels = atomic_load(&tree->levels)};
	size_t free_count = 0;
	ldb_status status = validate_node(&w, tree->root, 0, LDB_KEY_MAX);
	if (status != LDB_OK)
		return status;
	if (w.next != 0)
		return broken(&w, "btree_olc: a leaf after the last one");
	for (const node *f = tree->free; f && free_count < tree->free_count;)
		f = to_node(load(&f->word[NEXT])), free_count++;
	if (free_count != tree->free_count ||
	    w.nodes + free_count + tree->fresh_count != tree->node_count)
		return broken(&w, "btree_olc: number of nodes");
	return LDB_OK;
}
