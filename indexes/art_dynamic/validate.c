/* The invariants of the tree, walked in key order. Until the first update values are ranks, or, of
 * equal keys, that of the first one. */
#include "art.h"

typedef struct {
	const art_dynamic *tree;
	ldb_error *err;
	size_t live[ART_TYPES]; /* nodes so far */
	ldb_key last;           /* key and value of the last leaf */
	ldb_val last_value;
} walk;

static ldb_status broken(const walk *w, const char *what)
{
	return ldb_fail(w->err, LDB_INVALID, "report it as a fault of art_dynamic", what,
			"after %zu keys", w->live[ART_LEAF]);
}

static ldb_status validate_leaf(walk *w, const art_leaf *leaf)
{
	if (w->live[ART_LEAF]++ > 0) {
		if (leaf->key <= w->last)
			return broken(w, "art_dynamic: order of the keys");
		if (!w->tree->updated && leaf->value <= w->last_value)
			return broken(w, "art_dynamic: value of a key");
	}
	w->last = leaf->key;
	w->last_value = leaf->value;
	return LDB_OK;
}

static ldb_status validate_node(walk *w, art_ref ref, unsigned levels, ldb_key above);

/* Each key below the child for a byte has that byte on the node's level and agrees with all others
 * above it: `above` is what they have there. */
static ldb_status validate_children(walk *w, art_ref ref, unsigned *count)
{
	const unsigned level = art_level(ref);
	const ldb_key first = art_least(ref)->key;
	const ldb_key above = level < 7 ? first >> 8 * (level + 1) << 8 * (level + 1) : 0;
	for (unsigned byte = 0; byte < 256; byte++) {
		const art_ref child = art_child_from(ref, &byte);
		if (child == ART_EMPTY)
			break;
		++*count;
		const ldb_status status =
			validate_node(w, child, level, above | (ldb_key)byte << 8 * level);
		if (status != LDB_OK)
			return status;
	}
	return LDB_OK;
}

/* All keys below a reference begin with the bytes of `above` from level `levels` on. */
static ldb_status validate_node(walk *w, art_ref ref, unsigned levels, ldb_key above)
{
	static const unsigned least[ART_TYPES] = {0, 2, 4, 13, 37};
	const ldb_key first = art_least(ref)->key;
	if (levels < ART_LEVELS && (first ^ above) >> 8 * levels)
		return broken(w, "art_dynamic: a key that its path does not lead to");
	if (art_is_leaf(ref))
		return validate_leaf(w, art_get_leaf(ref));
	const unsigned type = art_type(ref);
	unsigned count = 0;
	if (type >= ART_TYPES || art_level(ref) >= levels)
		return broken(w, "art_dynamic: a child's type or level");
	w->live[type]++;
	const ldb_status status = validate_children(w, ref, &count);
	if (status != LDB_OK)
		return status;
	if (count != art_count(ref))
		return broken(w, "art_dynamic: a node's number of children");
	/* A node that could not shrink for want of memory may have fewer. */
	return count >= (w->tree->updated ? 2 : least[type])
		       ? LDB_OK
		       : broken(w, "art_dynamic: too few children for the node's type");
}

ldb_status art_validate(const void *self, ldb_error *err)
{
	const art_dynamic *tree = self;
	walk w = {.tree = tree, .err = err};
	ldb_status status = LDB_OK;
	if (tree->root != ART_EMPTY)
		status = validate_node(&w, tree->root, ART_LEVELS, 0);
	if (status != LDB_OK)
		return status;
	for (unsigned type = 0; type < ART_TYPES; type++) {
		size_t idle = tree->pool[type].fresh_count;
		const size_t most = tree->pool[type].held - tree->pool[type].live;
		for (const void *f = tree->pool[type].free; f && idle <= most; idle++)
			memcpy(&f, f, sizeof f);
		if (w.live[type] != tree->pool[type].live || idle != most)
			return broken(&w, "art_dynamic: number of nodes in a pool");
	}
	if (w.live[ART_LEAF] != tree->n)
		return broken(&w, "art_dynamic: number of keys");
	return LDB_OK;
}
