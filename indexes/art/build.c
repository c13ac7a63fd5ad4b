/*
 * Bulk load from sorted keys, in O(n): once to count the nodes of each type and level, once to lay
 * them out in arrays of exactly that size.
 *
 * The tree follows from the first byte in which each key differs from the next. Say it is on level
 * d. Then the two keys part at a node on level d, and all nodes that are open on lower levels end
 * with the first of the two. There is at most one open node for each level. (The same
 * idea, one bit at a time, builds Patricia trees and Cartesian trees in linear time.)
 */
#include <stdbool.h>

#include "art.h"

/* The children of the open nodes so far. */
typedef struct {
	unsigned open; /* bit d: a node is open on level d */
	unsigned children[ART_LEVELS];
	uint8_t byte[ART_LEVELS][256];
	art_ref child[ART_LEVELS][256];
} open_nodes;

static unsigned type_for(unsigned children)
{
	return children <= 4    ? ART_NODE4
	       : children <= 16 ? ART_NODE16
	       : children <= 48 ? ART_NODE48
				: ART_NODE256;
}

static void fill_small(uint8_t *keys, art_ref *refs, unsigned slots, const uint8_t *bytes,
		       const art_ref *children, unsigned count)
{
	for (unsigned i = 0; i < slots; i++) {
		keys[i] = bytes[i < count ? i : count - 1];
		refs[i] = i < count ? children[i] : ART_EMPTY;
	}
}

static void fill256(art_node256 *node, const uint8_t *bytes, const art_ref *children,
		    unsigned count)
{
	memset(node->child, 0xff, sizeof node->child);
	for (unsigned i = 0; i < count; i++)
		node->child[bytes[i]] = children[i];
}

/* Ends the node on a level; counts it and, when `fill`, writes it. Returns its reference. */
static inline art_ref close_node(art *self, open_nodes *nodes, unsigned level, bool fill)
{
	const unsigned count = nodes->children[level], type = type_for(count);
	const art_ref ref = art_make_ref(type, level, self->count[level][type]++);
	nodes->children[level] = 0;
	nodes->open &= ~(1u << level);
	if (!fill)
		return ref;
	const uint8_t *bytes = nodes->byte[level];
	const art_ref *children = nodes->child[level];
	if (type == ART_NODE4)
		fill_small(art_get4(self, ref)->key, art_get4(self, ref)->child, 4, bytes, children,
			   count);
	else if (type == ART_NODE16)
		fill_small(art_get16(self, ref)->key, art_get16(self, ref)->child, 16, bytes,
			   children, count);
	else if (type == ART_NODE48)
		fill_small(art_get48(self, ref)->key, art_get48(self, ref)->child, 48, bytes,
			   children, count);
	else
		fill256(art_get256(self, ref), bytes, children, count);
	return ref;
}

static inline void add_child(open_nodes *nodes, unsigned level, ldb_key key, art_ref child)
{
	const unsigned i = nodes->children[level]++;
	nodes->open |= 1u << level;
	nodes->byte[level][i] = art_byte(key, level);
	nodes->child[level][i] = child;
}

/* Ends all open nodes below a level, from the lowest on. `ref` is below them, and key in it. */
static inline art_ref close_below(art *self, open_nodes *nodes, unsigned level, ldb_key key,
				  art_ref ref, bool fill)
{
	for (unsigned below; (below = nodes->open & ((1u << level) - 1)) != 0;) {
		const unsigned lowest = (unsigned)__builtin_ctz(below);
		add_child(nodes, lowest, key, ref);
		ref = close_node(self, nodes, lowest, fill);
	}
	return ref;
}

/* One pass over the keys; returns the root. */
static inline art_ref pass(art *self, open_nodes *nodes, bool fill)
{
	const ldb_key *keys = self->keys;
	art_ref leaf = ART_LEAF | 0;
	memset(self->count, 0, sizeof self->count);
	nodes->open = 0;
	memset(nodes->children, 0, sizeof nodes->children);
	for (size_t i = 1; i < self->n; i++) {
		const ldb_key differ = keys[i - 1] ^ keys[i];
		if (differ == 0)
			continue; /* the leaf is the first of equal keys */
		const unsigned level = (63u - (unsigned)__builtin_clzll(differ)) / 8;
		const ldb_key key = keys[i - 1];
		add_child(nodes, level, key, close_below(self, nodes, level, key, leaf, fill));
		leaf = ART_LEAF | (art_ref)i;
	}
	return close_below(self, nodes, ART_LEVELS, keys[self->n - 1], leaf, fill);
}

static size_t lines(size_t bytes)
{
	return (bytes + 63) / 64 * 64;
}

/* The arrays of a level one after the other, each from a new cache line on; returns their end.
 * With base NULL only the size counts. */
static size_t place_level(art *self, unsigned level, char *base, size_t at)
{
	const uint32_t *count = self->count[level];
	const size_t bytes[ART_TYPES] = {
		(count[ART_NODE4] + (size_t)2) / 3 * sizeof(art_line4),
		count[ART_NODE16] * sizeof(art_node16),
		count[ART_NODE48] * sizeof(art_node48),
		count[ART_NODE256] * sizeof(art_node256),
	};
	for (unsigned type = ART_TYPES; type-- > 0; at += lines(bytes[type]))
		self->start[1 + type][level] = base ? base + at : NULL;
	return at;
}

/* All arrays, the highest level first, as it is used most. */
static size_t place_all(art *self, char *base)
{
	size_t at = 0;
	for (unsigned level = ART_LEVELS; level-- > 0;) {
		self->start[0][level] = (void *)(uintptr_t)self->keys;
		at = place_level(self, level, base, at);
	}
	return at;
}

static bool references_suffice(const art *self)
{
	for (unsigned level = 0; level < ART_LEVELS; level++) {
		for (unsigned type = 0; type < ART_TYPES; type++) {
			if (self->count[level][type] >> art_bits(type))
				return false;
		}
	}
	return true;
}

ldb_status art_load(art *self, ldb_error *err)
{
	self->root = ART_EMPTY;
	if (self->n == 0)
		return LDB_OK;
	open_nodes *nodes = ldb_alloc(sizeof *nodes);
	if (!nodes)
		return ldb_fail_oom(err, "art: open nodes", sizeof *nodes);
	pass(self, nodes, false);
	ldb_status status = LDB_OK;
	self->nodes_bytes = place_all(self, NULL);
	if (!references_suffice(self))
		status = ldb_fail(err, LDB_UNSUPPORTED, "use a smaller size", "art",
				  "%zu keys need more nodes than a reference can number", self->n);
	else if (self->nodes_bytes && !(self->nodes = ldb_alloc(self->nodes_bytes)))
		status = ldb_fail_oom(err, "art nodes", self->nodes_bytes);
	if (status == LDB_OK) {
		place_all(self, self->nodes);
		self->root = pass(self, nodes, true);
	}
	ldb_free(nodes, sizeof *nodes);
	return status;
}
