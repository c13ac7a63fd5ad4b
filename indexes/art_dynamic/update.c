/*
 * Updates (the paper's section III.D). Where memory is needed, all is got before the first change:
 * a refused operation has no effect.
 */
#include "art.h"

/* Puts a new leaf beside what `slot` leads to, of which `near` is some key. */
static bool put_above(art_dynamic *self, art_ref *slot, ldb_key near, art_leaf *leaf)
{
	void *node4 = art_take(self, ART_NODE4);
	if (!node4)
		return false;
	*slot = art_make_pair(node4, art_differ(near, leaf->key), near, *slot, leaf->key,
			      art_make_ref(ART_LEAF, 0, leaf));
	return true;
}

/* Finds the place of a leaf whose key is not there: on q's path, the first slot that leads below
 * the byte in which it differs from the keys there. */
static bool put_leaf(art_dynamic *self, ldb_key near, art_leaf *leaf)
{
	const unsigned differ = art_differ(near, leaf->key);
	art_ref *slot = &self->root;
	while (!art_is_leaf(*slot) && art_level(*slot) > differ)
		slot = art_find_child(*slot, leaf->key);
	if (!art_is_leaf(*slot) && art_level(*slot) == differ)
		return art_add(self, slot, art_byte(leaf->key, differ),
			       art_make_ref(ART_LEAF, 0, leaf));
	return put_above(self, slot, near, leaf);
}

bool art_put(art_dynamic *self, ldb_key key, ldb_val value)
{
	art_ref at = self->root;
	art_leaf *near = NULL;
	while (at != ART_EMPTY && !art_is_leaf(at)) {
		const art_ref *child = art_find_child(at, key);
		if (!child)
			break;
		at = *child;
	}
	if (at != ART_EMPTY)
		near = art_least(at);
	if (near && near->key == key) {
		near->value = value;
		return true;
	}
	art_leaf *leaf = art_take(self, ART_LEAF);
	if (!leaf)
		return false;
	*leaf = (art_leaf){key, value};
	if (!near) {
		self->root = art_make_ref(ART_LEAF, 0, leaf);
	} else if (!put_leaf(self, near->key, leaf)) {
		art_give(self, ART_LEAF, leaf);
		return false;
	}
	self->n++;
	return true;
}

static void erase(art_dynamic *self, ldb_key key)
{
	art_ref *slot = &self->root, *parent = NULL;
	while (*slot != ART_EMPTY && !art_is_leaf(*slot)) {
		parent = slot;
		slot = art_find_child(*slot, key);
		if (!slot)
			return;
	}
	if (*slot == ART_EMPTY || art_get_leaf(*slot)->key != key)
		return;
	art_give(self, ART_LEAF, art_get_leaf(*slot));
	self->n--;
	if (parent)
		art_remove(self, parent, art_byte(key, art_level(*parent)));
	else
		self->root = ART_EMPTY;
}

static inline ldb_val get(const art_dynamic *self, ldb_key key)
{
	art_ref at = self->root;
	if (at == ART_EMPTY)
		return LDB_NONE;
	while (!art_is_leaf(at)) {
		const art_ref *child = art_find_child(at, key);
		if (!child)
			return LDB_NONE;
		at = *child;
	}
	return art_get_leaf(at)->key == key ? art_get_leaf(at)->value : LDB_NONE;
}

enum { MOST_AHEAD = 64 };

/* Asks for the lines that are read first of what a reference leads to. */
static inline void fetch(art_ref ref, ldb_key q)
{
	const char *at = art_at(ref);
	const unsigned byte = art_byte(q, art_level(ref));
	switch (art_type(ref)) {
	case ART_NODE256:
		__builtin_prefetch(&((const art_node256 *)at)->child[byte]);
		break;
	case ART_NODE48:
		__builtin_prefetch(at); /* read by insertions */
		__builtin_prefetch(&((const art_node48 *)at)->place[byte]);
		break;
	case ART_NODE16:
		__builtin_prefetch(at + 64);
		__builtin_prefetch(at + 128);
		__builtin_prefetch(at);
		break;
	default:
		__builtin_prefetch(at);
	}
}

/* Takes the keys of operations down the tree together, for nothing but to have their nodes in the
 * cache. */
static void fetch_paths(const art_dynamic *self, const ldb_op *ops, size_t count)
{
	art_ref at[MOST_AHEAD];
	size_t going = self->root != ART_EMPTY && !art_is_leaf(self->root) ? count : 0;
	for (size_t i = 0; i < count; i++)
		at[i] = self->root;
	while (going > 0) {
		going = 0;
		for (size_t i = 0; i < count; i++) {
			if (at[i] == ART_EMPTY || art_is_leaf(at[i]))
				continue;
			const art_ref *child = art_find_child(at[i], ops[i].key);
			at[i] = child ? *child : ART_EMPTY;
			if (child)
				fetch(at[i], ops[i].key);
			going++;
		}
	}
	/* To gcc a function that only prefetches has no effect, and its call is left out. */
	__asm__ volatile("");
}

size_t art_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	art_dynamic *index = self;
	const size_t ahead = index->ahead;
	uint32_t count;
	for (size_t i = 0; i < n; i++) {
		const ldb_op *op = &ops[i];
		if (ahead > 1 && i % ahead == 0 && n - i > 1)
			fetch_paths(index, op, n - i < ahead ? n - i : ahead);
		out[i] = 0;
		if (op->kind == LDB_GET) {
			out[i] = get(index, op->key);
			continue;
		}
		if (op->kind == LDB_SCAN) {
			out[i] = art_scan(index, op->key, op->length, &count);
			continue;
		}
		index->updated = true;
		if (op->kind == LDB_DELETE) {
			erase(index, op->key);
		} else if (!art_put(index, op->key, op->value)) {
			ldb_fail_oom(err, "art_dynamic nodes", sizeof(art_node256));
			return i;
		}
	}
	return n;
}
