/*
 * What needs the order of the children: steps beside the path of an absent key, and its lower bound
 * where that is not enough. Present keys never come here (art.c).
 */
#include <stdbool.h>

#include "art.h"

/* The key bytes and children of the smaller nodes. */
typedef struct {
	const uint8_t *key;
	const art_ref *child;
	unsigned slots;
} small_node;

static small_node get_small(const art *self, art_ref node)
{
	switch (art_type(node)) {
	case ART_NODE4:
		return (small_node){art_get4(self, node)->key, art_get4(self, node)->child, 4};
	case ART_NODE16:
		return (small_node){art_get16(self, node)->key, art_get16(self, node)->child, 16};
	default:
		return (small_node){art_get48(self, node)->key, art_get48(self, node)->child, 48};
	}
}

art_ref art_child_from(const art *self, art_ref node, unsigned byte)
{
	if (art_type(node) == ART_NODE256) {
		const art_ref *child = art_get256(self, node)->child;
		while (byte < 256 && child[byte] == ART_EMPTY)
			byte++;
		return byte < 256 ? child[byte] : ART_EMPTY;
	}
	const small_node small = get_small(self, node);
	unsigned less = 0;
	for (unsigned i = 0; i < small.slots; i++)
		less += small.key[i] < byte;
	return less < small.slots ? small.child[less] : ART_EMPTY;
}

static art_ref last_child(const art *self, art_ref node)
{
	if (art_type(node) == ART_NODE256) {
		unsigned byte = 255;
		while (art_get256(self, node)->child[byte] == ART_EMPTY)
			byte--;
		return art_get256(self, node)->child[byte];
	}
	const small_node small = get_small(self, node);
	unsigned last = small.slots - 1;
	while (small.child[last] == ART_EMPTY)
		last--;
	return small.child[last];
}

art_turn art_sidestep(const art *self, art_ref node, ldb_key path)
{
	const art_ref next = art_child_from(self, node, art_byte(path, art_level(node)) + 1u);
	if (next != ART_EMPTY)
		return (art_turn){next, 0};
	return (art_turn){last_child(self, node), LDB_KEY_MAX};
}

/* The rank of the least key at or below a reference. */
static ldb_val least(const art *self, art_ref ref)
{
	while (!(ref & ART_LEAF))
		ref = art_child_from(self, ref, 0);
	return ref & ~ART_LEAF;
}

/*
 * The descent follows q's bytes, some of which may be left out of the path, to a leaf or to a node
 * that has no child for q. Any key below the end of the path agrees with q in all bytes that were
 * followed. So the first byte in which such a key and q differ tells where q leaves the tree:
 * beside a path that was skipped, or at that node.
 */
ldb_val art_lower_bound(const art *self, ldb_key q)
{
	if (self->n == 0 || q > self->keys[self->n - 1])
		return LDB_NONE;
	art_ref path[ART_LEVELS + 1];
	unsigned depth = 0;
	path[0] = self->root;
	while (!(path[depth] & ART_LEAF)) {
		path[depth + 1] = art_child(self, path[depth], q);
		depth++;
	}
	const ldb_val rank =
		path[depth] == ART_EMPTY ? least(self, path[depth - 1]) : path[depth] & ~ART_LEAF;
	const ldb_key key = self->keys[rank];
	if (key == q)
		return rank;
	const unsigned differ = (63u - (unsigned)__builtin_clzll(key ^ q)) / 8;
	unsigned above = 0; /* how many nodes of the path branch on that byte or one before it */
	while (above < depth && art_level(path[above]) >= differ)
		above++;
	const bool at_node = above && art_level(path[above - 1]) == differ;
	if (!at_node && key > q) /* q comes before all that is below the skipped path */
		return least(self, path[above]);
	while (above-- > 0) {
		const unsigned byte = art_byte(q, art_level(path[above]));
		const art_ref next = art_child_from(self, path[above], byte + 1);
		if (next != ART_EMPTY)
			return least(self, next);
	}
	return LDB_NONE;
}
