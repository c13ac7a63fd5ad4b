/*
 * ldx: LearnedDB's own static index. A learned root leads to a bucket in one step; what the model
 * has not resolved, nodes of one cache line resolve exactly.
 *
 * Parts
 *
 *   root      a monotone model: F(key) = (T(key) - base) * scale, a 128-bit product. Its high half
 *             is the bucket, the next 32 bits are the key's fraction within the bucket. T is the
 *             identity or a piecewise linear log2, whichever spreads the keys better.
 *   table     4 bytes for each bucket. A bucket whose keys lie in one chunk: that chunk. A fuller
 *             one: the number of its node and the height above the keys.
 *   nodes     64 bytes: 15 separators of 32 bits, in fractions, and a link. Compared all at once,
 *             they lead to one of 16 nodes below or of 16 chunks.
 *   keys      borrowed. A chunk is one cache line of 8 keys, or two where nodes for each line would
 *             not fit the budget; compared at once.
 *
 *          root: F(q) --+--------------- fraction ----------+
 *                    bucket                                 v
 *   table  [ chunk ][ node, height ][ chunk ] --> [ s0 .. s14 | link ] --> chunk: 8 or 16 keys
 *              +-------------------------------------------------------------^
 *
 * What it costs. A query touches a line of the table, one of each node on its way (one for smooth
 * keys, one or two for clustered ones), and one or two of the keys. An S+ tree over the keys takes
 * log17(n/16) nodes of two lines and two lines of keys; here one look at the table stands for all
 * of the upper nodes, and a node is one line because a fraction of 32 bits tells chunks apart.
 *
 * Why the answer is exact for every q. F never decreases: T, the clamp, the subtraction and the
 * product keep order. So all keys of earlier buckets are < q and those of later ones > q. In a
 * node, separator i is the fraction of the last key of child i; a separator below q's fraction
 * belongs to a key < q, so all keys before the chosen chunk are < q. Counting the keys < q in the
 * chunk gives the rank, unless all of them are < q, which only happens where a separator is equal
 * to q's fraction, or behind a bucket's last key: then the next chunk is counted. Buckets with many
 * equal separators in a row (keys that the fraction can't tell apart: duplicates, outliers beyond
 * the root's range, adversarial clusters) are searched by plain binary search instead.
 *
 * Related work: the table is a histogram tree's root (Crotty, "Hist-Tree", CIDR 2021), the nodes
 * are those of a static search tree (Slotin, Algorithmica), cut to a line by quantising keys
 * relative to their bucket; the choice of root and size by a cost model on the data follows CDFShop
 * (Marcus, Zhang, Kraska, SIGMOD 2020).
 */
#ifndef LDX_H
#define LDX_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/simd.h"

enum {
	LDX_LINE = 8,             /* keys of a cache line */
	LDX_LEAST = 2 * LDX_LINE, /* keys below which there is no tree */
	LDX_SEPARATORS = 15,
	LDX_CHILDREN = LDX_SEPARATORS + 1,
	LDX_MAX_HEIGHT = 6, /* 16^6 chunks in a bucket */
};

/* One line. */
typedef struct {
	uint32_t separator[LDX_SEPARATORS]; /* fractions; unused ones UINT32_MAX */
	uint32_t link;                      /* first child's node, or line of the first chunk */
} ldx_node;

/*
 * A bucket: bit 31 clear: line of its chunk. Set: bits 28..30 are the height h, the others a
 * node; h = 7: not a tree, the node's link and its first separator are the ranks to search between.
 */
#define LDX_IS_NODE 0x80000000u
#define LDX_EXACT 7u

typedef struct {
	uint64_t base;  /* T of the first key in the root's range */
	uint64_t limit; /* the largest T - base that it knows; beyond is clamped */
	uint64_t scale;
	bool logarithmic;
} ldx_root;

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldx_root root;
	uint32_t *table; /* bucket_count entries and one more: n */
	size_t bucket_count;
	ldx_node *nodes;
	size_t node_count;
	size_t table_bytes, node_bytes;
	unsigned chunk_lines; /* 1 or 2 */
	unsigned top_height;  /* of the highest tree */
	ldb_key min;          /* keys are taken relative to the smallest one */
	uint64_t tune_ns;
} ldx;

/* Where q is: the bucket, and the 32-bit fraction within it. */
typedef struct {
	uint32_t bucket, fraction;
} ldx_place;

/* log2(x + 1) in fixed point with 58 fractional bits, linear between powers of two: monotone. */
static inline uint64_t ldx_log(uint64_t x)
{
	const unsigned e = 63u - (unsigned)__builtin_clzll(x | 1);
	const uint64_t mantissa = (x << (63 - e)) << 1; /* without its leading one */
	return (uint64_t)e << 58 | mantissa >> 6;
}

static inline ldx_place ldx_predict(const ldx_root *root, ldb_key min, ldb_key q)
{
	uint64_t t = q > min ? q - min : 0;
	if (root->logarithmic)
		t = ldx_log(t);
	t = t > root->base ? t - root->base : 0;
	t = t < root->limit ? t : root->limit;
	const unsigned __int128 f = (unsigned __int128)t * root->scale;
	return (ldx_place){(uint32_t)(f >> 64), (uint32_t)((uint64_t)f >> 32)};
}

/* How many of a node's separators are < fraction. */
static inline unsigned ldx_count(const ldx_node *node, uint32_t fraction)
{
#if defined(__AVX512F__)
	const __m512i s = _mm512_load_si512(node);
	const __mmask16 m = _mm512_cmplt_epu32_mask(s, _mm512_set1_epi32((int)fraction));
	return (unsigned)__builtin_popcount(m & 0x7fffu);
#elif defined(__AVX2__)
	const __m256i flip = _mm256_set1_epi32((int)0x80000000u);
	const __m256i x = _mm256_xor_si256(_mm256_set1_epi32((int)fraction), flip);
	const __m256i *s = (const __m256i *)(const void *)node;
	const __m256i a = _mm256_xor_si256(_mm256_load_si256(s), flip);
	const __m256i b = _mm256_xor_si256(_mm256_load_si256(s + 1), flip);
	const int lo = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(x, a)));
	const int hi = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(x, b)));
	return (unsigned)__builtin_popcount((unsigned)(lo | (hi & 0x7f) << 8));
#else
	unsigned c = 0;
	for (int i = 0; i < LDX_SEPARATORS; i++)
		c += node->separator[i] < fraction;
	return c;
#endif
}

/* The rank of q, given a line with only keys < q before it. n >= LDX_LEAST. */
static inline size_t ldx_finish(const ldx *self, size_t line, ldb_key q, const unsigned lines)
{
	const size_t chunk = LDX_LINE * lines, last = self->n - chunk;
	for (size_t start = line * LDX_LINE;; start += chunk) {
		start = start < last ? start : last;
		const ldb_key *keys = self->keys + start;
		unsigned c = ldb_count_less8(keys, q);
		if (lines == 2)
			c += ldb_count_less8(keys + LDX_LINE, q);
		if (__builtin_expect(c < chunk || start == last, 1))
			return start + c;
	}
}

/* A bucket that is no tree: plain binary search. */
static inline size_t ldx_find_exact(const ldx *self, const ldx_node *node, ldb_key q)
{
	const size_t from = node->link, to = node->separator[0];
	return from + ldb_lower_bound(self->keys + from, to - from, q);
}

/* `lines` is self->chunk_lines, given as a constant. */
static inline ldb_val ldx_find(const ldx *self, ldb_key q, const unsigned lines)
{
	const ldx_place at = ldx_predict(&self->root, self->min, q);
	const uint32_t entry = self->table[at.bucket];
	size_t line = entry, rank;
	if (entry & LDX_IS_NODE) {
		unsigned height = entry >> 28 & 7;
		const ldx_node *node = &self->nodes[entry & 0x0fffffffu];
		if (__builtin_expect(height == LDX_EXACT, 0)) {
			rank = ldx_find_exact(self, node, q);
			return rank < self->n ? rank : LDB_NONE;
		}
		while (--height)
			node = &self->nodes[node->link + ldx_count(node, at.fraction)];
		line = node->link + lines * ldx_count(node, at.fraction);
	}
	rank = ldx_finish(self, line, q, lines);
	return rank < self->n ? rank : LDB_NONE;
}

static inline ldb_val ldx_find1(const ldx *self, ldb_key q)
{
	return ldx_find(self, q, 1);
}

static inline ldb_val ldx_find2(const ldx *self, ldb_key q)
{
	return ldx_find(self, q, 2);
}

/* build.c */
/* Builds table and nodes within the budget, with chunks of so many lines (0: the better one). */
ldb_status ldx_build_all(ldx *self, double budget_bytes, unsigned chunk_lines, ldb_error *err);
void ldx_free_parts(ldx *self);

#endif
