/*
 * The adaptive radix tree: nodes, references to them, and the descent.
 *
 * After Leis, Kemper, Neumann: The Adaptive Radix Tree: ARTful Indexing for Main-Memory Databases,
 * ICDE 2013 (section III: node types, path compression, lazy expansion; here keys are integers of
 * 64 or 32 bits whose bytes are taken from the most significant one on). What is different is told
 * where it is: leaves, references and levels, cache lines.
 */
#ifndef ART_H
#define ART_H

#include <string.h>

#include "ldb/index.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/*
 * A reference to a node or a leaf, in 32 bits where the paper has a pointer:
 *
 *   1 rank:31            leaf: the rank of a key in the sorted array, as the paper's tagged tuple
 *                        identifiers. Its bytes that are not on the path are read there.
 *   01 level:3 index:27  Node4        Each type has one array of nodes for each level; this is the
 *   001 level:3 index:26 Node16       place in it. Nodes of few children are more, so they have
 *   0001 level:3 index:25 Node48      more bits.
 *   0000 level:3 index:25 Node256
 *
 * The level says which byte of the key the node branches on, 7 for the most significant. All keys
 * below a node agree in the bytes above its level: path compression. As the level lies in the
 * reference and not in the node, the byte to follow is known before the node is loaded.
 *
 * Which bytes the path leaves out is not stored: the descent skips them and the leaf's key tells
 * whether they were right (the paper's optimistic path compression). Every node has a leaf below
 * it, so the bytes can be had from there when needed.
 */
typedef uint32_t art_ref;

#define ART_LEAF ((art_ref)1 << 31)
#define ART_EMPTY UINT32_MAX /* no child; no key has this rank */
#define ART_MAX_KEYS ((size_t)ART_LEAF - 1)

enum { ART_NODE4, ART_NODE16, ART_NODE48, ART_NODE256, ART_TYPES, ART_LEVELS = sizeof(ldb_key) };
enum { ART_NODE4_BITS = 27, ART_NODE16_BITS = 26, ART_NODE48_BITS = 25, ART_NODE256_BITS = 25 };
#define ART_TAG4 ((art_ref)1 << 30)
#define ART_TAG16 ((art_ref)1 << 29)
#define ART_TAG48 ((art_ref)1 << 28)

/* In the three smaller nodes key bytes ascend; unused slots repeat the last byte and have no child.
 */
typedef struct {
	uint8_t key[4];
	art_ref child[4];
} art_node4;

/* Three to a cache line, and none across two. */
typedef struct {
	art_node4 node[3];
	uint32_t unused;
} art_line4;

typedef struct {
	uint8_t key[16];
	art_ref child[16];
} art_node16;

/*
 * The paper has an array of 256 bytes here that leads from a key byte to its child's place. Sorted
 * bytes that SIMD compares all at once need fewer lines: one for the bytes and one for the child,
 * and 256 bytes rather than 448 in all.
 */
typedef struct {
	uint8_t key[48];
	art_ref child[48];
	uint8_t unused[16];
} art_node48;

typedef struct {
	art_ref child[256];
} art_node256;

_Static_assert(sizeof(art_line4) == 64 && sizeof(art_node16) == 80 && sizeof(art_node48) == 256,
	       "nodes fill their lines");

typedef struct {
	const ldb_key *keys; /* borrowed */
	size_t n;
	art_ref root;
	/* Where the arrays of each level start: start[0] is keys, for leaves; then a row for each
	 * type. */
	void *start[1 + ART_TYPES][ART_LEVELS];
	uint32_t count[ART_LEVELS][ART_TYPES];
	void *nodes; /* the memory of all arrays */
	size_t nodes_bytes;
} art;

static inline unsigned art_type(art_ref node)
{
	return node >= ART_TAG4    ? ART_NODE4
	       : node >= ART_TAG16 ? ART_NODE16
	       : node >= ART_TAG48 ? ART_NODE48
				   : ART_NODE256;
}

static inline unsigned art_bits(unsigned type)
{
	static const unsigned char bits[ART_TYPES] = {ART_NODE4_BITS, ART_NODE16_BITS,
						      ART_NODE48_BITS, ART_NODE256_BITS};
	return bits[type];
}

static inline art_ref art_make_ref(unsigned type, unsigned level, uint32_t index)
{
	static const art_ref tags[ART_TYPES] = {ART_TAG4, ART_TAG16, ART_TAG48, 0};
	return tags[type] | (art_ref)level << art_bits(type) | index;
}

static inline unsigned art_level_of(art_ref node, unsigned bits)
{
	return node >> bits & 7;
}

static inline unsigned art_level(art_ref node)
{
	return art_level_of(node, art_bits(art_type(node)));
}

static inline uint32_t art_place(art_ref node, unsigned bits)
{
	return node & (((art_ref)1 << bits) - 1);
}

static inline uint8_t art_byte(ldb_key key, unsigned level)
{
	return (uint8_t)(key >> 8 * level);
}

static inline art_node4 *art_get4(const art *self, art_ref node)
{
	const uint32_t i = art_place(node, ART_NODE4_BITS);
	return &((art_line4 *)self->start[1 + ART_NODE4][art_level_of(node, ART_NODE4_BITS)])[i / 3]
			.node[i % 3];
}

static inline art_node16 *art_get16(const art *self, art_ref node)
{
	return (art_node16 *)self->start[1 + ART_NODE16][art_level_of(node, ART_NODE16_BITS)] +
	       art_place(node, ART_NODE16_BITS);
}

static inline art_node48 *art_get48(const art *self, art_ref node)
{
	return (art_node48 *)self->start[1 + ART_NODE48][art_level_of(node, ART_NODE48_BITS)] +
	       art_place(node, ART_NODE48_BITS);
}

static inline art_node256 *art_get256(const art *self, art_ref node)
{
	return (art_node256 *)self->start[1 + ART_NODE256][art_level_of(node, ART_NODE256_BITS)] +
	       art_place(node, ART_NODE256_BITS);
}

/* --- the child for a byte ------------------------------------------------------------------- */

/* What a search points to that finds no child. */
static const art_ref art_none = ART_EMPTY;

/* The lowest byte of the difference that is 0 is found by the borrow that it makes. */
static inline const art_ref *art_find4(const art_node4 *node, uint8_t byte)
{
	uint32_t keys;
	memcpy(&keys, node->key, sizeof keys);
	const uint32_t differ = keys ^ byte * 0x01010101u;
	const uint32_t zero = (differ - 0x01010101u) & ~differ & 0x80808080u;
	return zero ? &node->child[__builtin_ctz(zero) / 8] : &art_none;
}

/* Which of 16 bytes are equal to one: ART_BITS bits for each. */
#if defined(__aarch64__)
#define ART_BITS 4
#else
#define ART_BITS 1
#endif
static inline uint64_t art_equal16(const uint8_t *keys, uint8_t byte)
{
#if defined(__x86_64__)
	const __m128i load = _mm_load_si128((const __m128i *)keys);
	return (uint64_t)_mm_movemask_epi8(_mm_cmpeq_epi8(load, _mm_set1_epi8((char)byte)));
#elif defined(__aarch64__)
	const uint16x8_t equal = vreinterpretq_u16_u8(vceqq_u8(vld1q_u8(keys), vdupq_n_u8(byte)));
	return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(equal, 4)), 0);
#else
	uint64_t hits = 0;
	for (unsigned i = 0; i < 16; i++)
		hits |= (uint64_t)(keys[i] == byte) << i;
	return hits;
#endif
}

static inline const art_ref *art_find16(const art_node16 *node, uint8_t byte)
{
	const uint64_t hits = art_equal16(node->key, byte);
	return hits ? &node->child[__builtin_ctzll(hits) / ART_BITS] : &art_none;
}

static inline const art_ref *art_find48(const art_node48 *node, uint8_t byte)
{
#if ART_BITS == 1
	const uint64_t hits = art_equal16(node->key, byte) |
			      art_equal16(node->key + 16, byte) << 16 |
			      art_equal16(node->key + 32, byte) << 32;
	return hits ? &node->child[__builtin_ctzll(hits)] : &art_none;
#else
	for (unsigned i = 0; i < 48; i += 16) {
		const uint64_t hits = art_equal16(node->key + i, byte);
		if (hits)
			return &node->child[i + (unsigned)__builtin_ctzll(hits) / ART_BITS];
	}
	return &art_none;
#endif
}

static inline const art_ref *art_find256(const art_node256 *node, uint8_t byte)
{
	return &node->child[byte];
}

/* The byte of q that a node branches on. */
static inline uint8_t art_byte_at(ldb_key q, art_ref node, unsigned bits)
{
	return art_byte(q, art_level_of(node, bits));
}

/* The child of an inner node that q leads to; ART_EMPTY when there is none. */
static inline art_ref art_child(const art *self, art_ref node, ldb_key q)
{
	if (node < ART_TAG48)
		return *art_find256(art_get256(self, node), art_byte_at(q, node, ART_NODE256_BITS));
	if (node >= ART_TAG4)
		return *art_find4(art_get4(self, node), art_byte_at(q, node, ART_NODE4_BITS));
	if (node >= ART_TAG16)
		return *art_find16(art_get16(self, node), art_byte_at(q, node, ART_NODE16_BITS));
	return *art_find48(art_get48(self, node), art_byte_at(q, node, ART_NODE48_BITS));
}

/* build.c: lays the nodes out over keys[0..n); ART's own fields keys and n are set. */
ldb_status art_load(art *self, ldb_error *err);

/* order.c: what needs the order of the children. */

/* The child with the least byte that is >= `byte`, which may be 256; ART_EMPTY: there is none. */
art_ref art_child_from(const art *self, art_ref node, unsigned byte);

/* Where a descent goes on that found no child, and the bytes that it follows from there. */
typedef struct {
	art_ref ref;
	ldb_key path;
} art_turn;

/* To the least key of the next child; where there is none, to the largest key of the last. */
art_turn art_sidestep(const art *self, art_ref node, ldb_key path);

/* Lower bound of any q, however it lies to the tree. */
ldb_val art_lower_bound(const art *self, ldb_key q);

#endif
