/*
 * The adaptive radix tree under updates: references, nodes, and the child for a byte.
 *
 * After Leis, Kemper, Neumann: The Adaptive Radix Tree: ARTful Indexing for Main-Memory Databases
 * (ICDE 2013). indexes/art is the same tree packed for keys that never change; here nodes are
 * linked by addresses and can be replaced one by one.
 *
 * A reference is an address with the node's type and level in its upper bits, which user space does
 * not need. The level says which byte of the key the node branches on, 7 for the most significant:
 * so the byte to follow is known before the node is loaded. All keys below a node agree in the
 * bytes above its level (path compression). These are not stored: a descent skips them, and the
 * leaf's key tells whether they were right (the paper's optimistic variant).
 */
#ifndef ART_H
#define ART_H

#include <stdbool.h>
#include <string.h>

#include "ldb/index.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef uint64_t art_ref;
#define ART_EMPTY ((art_ref)0)

/* Types, and the pools that they come from. */
enum { ART_LEAF, ART_NODE4, ART_NODE16, ART_NODE48, ART_NODE256, ART_TYPES };
enum { ART_LEVELS = 8, ART_TYPE_SHIFT = 60, ART_LEVEL_SHIFT = 57 };

typedef struct {
	ldb_key key;
	ldb_val value;
} art_leaf;

/* In the two smaller nodes key bytes ascend; those behind `count` mean nothing. */
typedef struct {
	uint32_t count;
	uint8_t key[4];
	art_ref child[4];
} art_node4;

typedef struct {
	uint32_t count, unused;
	uint8_t key[16];
	art_ref child[16];
} art_node16;

typedef struct {
	uint64_t used;      /* a bit for each child's slot */
	uint8_t place[256]; /* of the byte's child, from 1 on; 0: there is none */
	art_ref child[48];
} art_node48;

typedef struct {
	uint64_t count;
	art_ref child[256];
} art_node256;

typedef struct art_chunk {
	struct art_chunk *next;
	size_t bytes;
} art_chunk;

typedef struct {
	art_ref root;
	uint32_t ahead; /* operations whose nodes are fetched together */
	bool updated;   /* since the build: values are no ranks */
	size_t n, bytes;
	art_chunk *chunks;
	struct {
		void *free;         /* linked by their first words */
		char *fresh;        /* the nodes of the newest chunk not used yet, */
		size_t fresh_count; /* and how many they are */
		size_t held, live;  /* nodes: in chunks, in the tree */
	} pool[ART_TYPES];
} art_dynamic;

/* --- references --------------------------------------------------------------------------------
 */

static inline art_ref art_make_ref(unsigned type, unsigned level, const void *at)
{
	return (art_ref)(uintptr_t)at | (art_ref)type << ART_TYPE_SHIFT |
	       (art_ref)level << ART_LEVEL_SHIFT;
}

static inline unsigned art_type(art_ref ref)
{
	return (unsigned)(ref >> ART_TYPE_SHIFT);
}

static inline bool art_is_leaf(art_ref ref)
{
	return ref >> ART_TYPE_SHIFT == ART_LEAF;
}

static inline unsigned art_level(art_ref node)
{
	return node >> ART_LEVEL_SHIFT & 7;
}

static inline void *art_at(art_ref ref)
{
	return (void *)(uintptr_t)(ref & (((art_ref)1 << ART_LEVEL_SHIFT) - 1));
}

static inline art_leaf *art_get_leaf(art_ref ref)
{
	return art_at(ref);
}

static inline uint8_t art_byte(ldb_key key, unsigned level)
{
	return (uint8_t)(key >> 8 * level);
}

/* The level of the first byte in which two keys differ. */
static inline unsigned art_differ(ldb_key a, ldb_key b)
{
	return (63u - (unsigned)__builtin_clzll(a ^ b)) / 8;
}

/* --- the child for a byte ----------------------------------------------------------------------
 */

static inline art_ref *art_find4(art_node4 *node, uint8_t byte)
{
	for (unsigned i = 0; i < node->count; i++) {
		if (node->key[i] == byte)
			return &node->child[i];
	}
	return NULL;
}

static inline art_ref *art_find16(art_node16 *node, uint8_t byte)
{
#if defined(__x86_64__)
	const __m128i keys = _mm_loadu_si128((const __m128i *)node->key);
	const __m128i equal = _mm_cmpeq_epi8(keys, _mm_set1_epi8((char)byte));
	const unsigned hits = (unsigned)_mm_movemask_epi8(equal) & ((1u << node->count) - 1);
	return hits ? &node->child[__builtin_ctz(hits)] : NULL;
#else
	for (unsigned i = 0; i < node->count; i++) {
		if (node->key[i] == byte)
			return &node->child[i];
	}
	return NULL;
#endif
}

static inline art_ref *art_find48(art_node48 *node, uint8_t byte)
{
	return node->place[byte] ? &node->child[node->place[byte] - 1] : NULL;
}

static inline art_ref *art_find256(art_node256 *node, uint8_t byte)
{
	return node->child[byte] != ART_EMPTY ? &node->child[byte] : NULL;
}

/* Where the reference to a node's child for q is; NULL: it has none. */
static inline art_ref *art_find_child(art_ref node, ldb_key q)
{
	const uint8_t byte = art_byte(q, art_level(node));
	switch (art_type(node)) {
	case ART_NODE4:
		return art_find4(art_at(node), byte);
	case ART_NODE16:
		return art_find16(art_at(node), byte);
	case ART_NODE48:
		return art_find48(art_at(node), byte);
	default:
		return art_find256(art_at(node), byte);
	}
}

/* nodes.c: nodes that grow and shrink */

/* NULL when there is no memory. */
void *art_take(art_dynamic *self, unsigned type);
void art_give(art_dynamic *self, unsigned type, void *gone);
void art_free_chunks(art_dynamic *self);
unsigned art_count(art_ref node);
/* A node of two children. */
art_ref art_make_pair(void *node4, unsigned level, ldb_key a, art_ref child_a, ldb_key b,
		      art_ref child_b);
/* Adds a child that the node does not have, in a larger one if need be; false: no memory. */
bool art_add(art_dynamic *self, art_ref *node, uint8_t byte, art_ref child);
/* Takes a child away; the node may become a smaller one, or its only child that is left. */
void art_remove(art_dynamic *self, art_ref *node, uint8_t byte);
/* The child with the least byte >= *byte, which is set to it; ART_EMPTY: there is none. */
art_ref art_child_from(art_ref node, unsigned *byte);

/* order.c */

/* The sum of the values of the next keys from q on, `length` at most; *count: how many they are. */
ldb_val art_scan(const art_dynamic *self, ldb_key q, uint32_t length, uint32_t *count);
art_leaf *art_least(art_ref ref);

/* update.c */
bool art_put(art_dynamic *self, ldb_key key, ldb_val value);
size_t art_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err);

/* validate.c */
ldb_status art_validate(const void *self, ldb_error *err);

#endif
