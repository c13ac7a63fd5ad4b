/*
 * ldx: LearnedDB's own static index. A learned root leads in one step to a node of one cache line,
 * and the node to the one or two lines of keys that hold the answer.
 *
 * Parts
 *
 *   root      a two-stage monotone model: the keys' range is cut into equal segments, and each
 *             segment into equal buckets, as many as its keys ask for. Two multiplications give the
 *             bucket of a key and, as a fraction of 32 bits, where in the bucket it lies.
 *   nodes     64 bytes: 30 separators of 16 bits, or 15 of 32, and a link. Separators are such
 *             fractions; compared all at once, they lead to one of 31 (16) chunks of keys, or
 *             of as many nodes below. The number of a bucket is that of its top node.
 *   keys      borrowed. A chunk is one cache line of keys, 8 or (of 32 bits) 16, or two.
 *
 *                q
 *                |  segment, then bucket and fraction
 *                v
 *   nodes  [ s0 .. s29 | link ][ s0 .. s29 | link ] ..  --> chunk: 8 or 16 keys
 *            top nodes, one for each bucket                  (or a node below, then a chunk)
 *
 * What it costs. Smooth keys have all trees of height 1: a query misses its node (0.16 to 0.7
 * bytes a key in all) and its keys, nothing else, with about 45 instructions. Clustered keys need
 * height 2 or 3; the nodes above nodes are few, and mostly stay in the cache. An S+ tree over the
 * keys has as many misses in its two lowest levels, and 7 steps instead of 1 to 3. No branch waits
 * for a line of keys, so a processor runs ahead into the next queries; what is in flight there is
 * bounded by instructions, which is why a node needs no arithmetic of its own: subtracting a base
 * and shifting in each node made smaller nodes possible, and lookups slower.
 *
 * Why the answer is exact for every q. The root never decreases: subtraction and both products keep
 * order. So all keys of earlier buckets are < q and those of later ones > q. In a node, a separator
 * below q's fraction is the last key of a child and < q, so all keys before the chosen child are
 * < q. Hence counting the keys < q in the chosen chunk gives the rank, unless all of them are < q.
 * That happens only where q and a separator have the same fraction; the search then goes on to the
 * right (ldx_go_on). Keys that fractions can't tell apart (duplicates, adversarial clusters) only
 * make that a binary search; where they are most of all keys, there is no tree, and a lookup is one
 * binary search. Keys outside of the root's range are searched for plainly.
 *
 * What was tried and left. Ratios are to the S+ tree on 10M uniform keys, seen while building and
 * not in a committed run; in the same rounds this design had 0.48 independent and 0.63 chained.
 *   - A table of 4-byte entries before the nodes, shared by neighbouring buckets: smaller nodes
 *     in all, but one more miss, as a table of 400 KiB does not stay in a cache of 1 MiB that
 *     every query brings lines of keys into. 0.75 to 0.79 chained.
 *   - Nodes with a base and a shift of their own (26 separators of 16 bits): a step takes 20
 *     instructions instead of 8. 0.62 to 0.77 independent.
 *   - A logarithmic root beside the linear one: two stages do the same for lognormal keys, and
 *     help clustered ones too.
 *   - Three stages, shares before segments, so that clustered keys need a height of 2 only: as fast
 *     as two stages and a height of 3, with more memory.
 *   - 27 separators of 16 bits relative to the node's first one, on clustered keys: 7 instructions
 *     more a step, and batches of about 1.3 to 1.6 times the time that separators of 32 bits take.
 *   - A table of ranks straight to the keys, 8 to a bucket, no nodes: 0.47 independent, 0.67
 *     chained, but 0.5 bytes a key, and no good on clustered keys.
 *
 * What did most for batches: fetching into the second-level cache only (see ldb_prefetch), which
 * made the S+ tree faster by a fifth as well; then half as many instructions, by the root's
 * model for eight keys at once and no branch that asks about a single query (0.95 to 0.8 of the
 * S+ tree's batch); then chunks of 8 keys rather than 16 (0.63), and trees that have nearly all the
 * same height.
 *
 * Related work: segments and buckets are a histogram tree's two upper levels (Crotty, "Hist-Tree",
 * CIDR 2021) or the two stages of an RMI (Kraska et al., SIGMOD 2018) without its errors; the nodes
 * are those of a static search tree (Slotin, Algorithmica) with truncated keys as in FAST (Kim et
 * al., SIGMOD 2010); the choice of sizes by a cost model on the data follows CDFShop (Marcus,
 * Zhang, Kraska, SIGMOD 2020).
 */
#ifndef LDX_H
#define LDX_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/window.h"

enum {
	LDX_LINE = LDB_LINE_KEYS,
	LDX_LINES = 2,      /* most lines of a chunk */
	LDX_LEAST = 64,     /* fewer keys get no tree */
	LDX_MAX_HEIGHT = 8, /* 16^8 chunks in a bucket */
};

/*
 * One line: 15 separators of 32 bits, or 30 of 16 bits; unused ones have all bits set. The link is
 * the first child: a node where LDX_TO_NODES is set, else the line of the first chunk.
 */
typedef struct {
	union {
		uint32_t wide[15];
		uint16_t narrow[30];
	};
	uint32_t link;
} ldx_node;
_Static_assert(sizeof(ldx_node) == 64, "a node is a cache line");

/* Children of a node whose separators have so many bits. */
static inline size_t ldx_children(unsigned bits)
{
	return bits == 16 ? 31 : 16;
}

#define LDX_TO_NODES 0x80000000u

/* An equal share of the keys' range, itself cut into equal buckets. */
typedef struct {
	uint32_t first_bucket, bucket_count;
} ldx_segment;

typedef struct {
	ldb_key base;   /* the first key in the range */
	uint64_t limit; /* distance from it to the last one */
	uint64_t scale;
	ldx_segment *segments;
	size_t segment_count;
} ldx_root;

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldx_root root;
	size_t low_rank, high_rank; /* of the root's base and of its last key */
	ldx_node *nodes;            /* first the top node of each bucket, then those below */
	size_t bucket_count, node_count;
	unsigned chunk_lines; /* 1 or 2; 0: no tree, the keys are halved */
	unsigned bits;        /* of a separator: 16 or 32 */
	unsigned min_height, max_height;
	uint64_t tune_ns;
} ldx;

/* Where q is: the bucket, and the 32-bit fraction within it. */
typedef struct {
	uint32_t bucket, fraction;
} ldx_place;

/* Is q in the range that the buckets share? All others are searched for plainly. */
static inline bool ldx_is_inside(const ldx *self, ldb_key q)
{
	return __builtin_expect(q - self->root.base <= self->root.limit, 1);
}

/* a * b, as two halves. */
static inline uint64_t ldx_multiply(uint64_t a, uint64_t b, uint64_t *low)
{
#ifdef __BMI2__
	unsigned long long high;
	*low = _mulx_u64(a, b, &high);
	return high;
#else
	const unsigned __int128 product = (unsigned __int128)a * b;
	*low = (uint64_t)product;
	return (uint64_t)(product >> 64);
#endif
}

/* The root's model; q is inside. */
static inline ldx_place ldx_predict(const ldx_root *root, ldb_key q)
{
	uint64_t in_segment, in_bucket;
	const ldx_segment segment =
		root->segments[ldx_multiply(q - root->base, root->scale, &in_segment)];
	const uint64_t bucket = ldx_multiply(in_segment, segment.bucket_count, &in_bucket);
	return (ldx_place){segment.first_bucket + (uint32_t)bucket, (uint32_t)(in_bucket >> 32)};
}

#ifdef __AVX512F__

/* a * b of eight, as two halves, from products of 32 bits. */
static inline __m512i ldx_multiply8(__m512i a, __m512i b, __m512i *low)
{
	const __m512i half = _mm512_set1_epi64(0xffffffff);
	const __m512i a1 = _mm512_srli_epi64(a, 32), b1 = _mm512_srli_epi64(b, 32);
	const __m512i p00 = _mm512_mul_epu32(a, b), p01 = _mm512_mul_epu32(a, b1);
	const __m512i p10 = _mm512_mul_epu32(a1, b), p11 = _mm512_mul_epu32(a1, b1);
	const __m512i middle = _mm512_add_epi64(p10, _mm512_srli_epi64(p00, 32));
	const __m512i other = _mm512_add_epi64(p01, _mm512_and_si512(middle, half));
	*low = _mm512_mask_blend_epi32(0xaaaa, p00, _mm512_slli_epi64(other, 32));
	return _mm512_add_epi64(
		p11, _mm512_add_epi64(_mm512_srli_epi64(middle, 32), _mm512_srli_epi64(other, 32)));
}

/* How far eight keys are from the base, modulo 2^LDB_KEY_BITS. */
static inline __m512i ldx_offset8(const ldb_key *q, ldb_key base)
{
#if LDB_KEY_BITS == 32
	const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)q);
	return _mm512_cvtepu32_epi64(_mm256_sub_epi32(x, _mm256_set1_epi32((int)base)));
#else
	return _mm512_sub_epi64(_mm512_loadu_si512(q), _mm512_set1_epi64((long long)base));
#endif
}

/* ldx_predict of eight keys; place = bucket * 2^32 + fraction. */
static inline __m512i ldx_predict8(const ldx_root *root, __m512i offset)
{
	__m512i in_segment;
	const __m512i at =
		ldx_multiply8(offset, _mm512_set1_epi64((long long)root->scale), &in_segment);
	const __m512i segment = _mm512_i64gather_epi64(at, root->segments, 8);
	const __m512i first = _mm512_slli_epi64(segment, 32),
		      count = _mm512_srli_epi64(segment, 32);
	const __m512i low = _mm512_mul_epu32(in_segment, count);
	const __m512i high = _mm512_mul_epu32(_mm512_srli_epi64(in_segment, 32), count);
	return _mm512_add_epi64(first, _mm512_add_epi64(high, _mm512_srli_epi64(low, 32)));
}

#endif

/* The top nodes and fractions of `count` keys, a multiple of 8, at most 32. Those outside of the
 * root's range get any, and a bit in what is returned. */
static inline uint32_t ldx_predict_group(const ldx *self, const ldb_key *q, size_t count,
					 const ldx_node **node, uint32_t *fraction)
{
	uint32_t outside = 0;
#ifdef __AVX512F__
	const ldb_key base = self->root.base;
	const __m512i limit = _mm512_set1_epi64((long long)self->root.limit);
	const __m512i nodes = _mm512_set1_epi64((long long)(uintptr_t)self->nodes);
	for (size_t i = 0; i < count; i += 8) {
		const __m512i offset = ldx_offset8(q + i, base);
		outside |= (uint32_t)_mm512_cmpgt_epu64_mask(offset, limit) << i;
		const __m512i place = ldx_predict8(&self->root, _mm512_min_epu64(offset, limit));
		const __m512i bytes = _mm512_slli_epi64(_mm512_srli_epi64(place, 32), 6);
		_mm512_storeu_si512(node + i, _mm512_add_epi64(nodes, bytes));
		_mm256_storeu_si256((__m256i *)(void *)(fraction + i),
				    _mm512_cvtepi64_epi32(place));
	}
#else
	for (size_t i = 0; i < count; i++) {
		const bool inside = ldx_is_inside(self, q[i]);
		const ldx_place place = ldx_predict(&self->root, inside ? q[i] : self->root.base);
		node[i] = &self->nodes[place.bucket];
		fraction[i] = place.fraction;
		outside |= (uint32_t)!inside << i;
	}
#endif
	return outside;
}

/* How many of a node's separators are < fraction. `bits` is a constant wherever this is inlined. */
static inline unsigned ldx_count(const ldx_node *node, uint32_t fraction, const unsigned bits)
{
#if defined(__AVX512BW__)
	const __m512i s = _mm512_load_si512(node);
	if (bits == 16) {
		const __m512i x = _mm512_set1_epi16((short)(fraction >> 16));
		return (unsigned)__builtin_popcount(_mm512_mask_cmpgt_epu16_mask(0x3fffffff, x, s));
	}
	const __m512i x = _mm512_set1_epi32((int)fraction);
	return (unsigned)__builtin_popcount(_mm512_mask_cmpgt_epu32_mask(0x7fff, x, s));
#elif defined(__AVX2__)
	/* There is no unsigned compare: s >= x where the larger of both is s. */
	const __m256i *s = (const __m256i *)(const void *)node;
	const __m256i a = _mm256_load_si256(s), b = _mm256_load_si256(s + 1);
	__m256i lo, hi;
	if (bits == 16) {
		const __m256i x = _mm256_set1_epi16((short)(fraction >> 16));
		lo = _mm256_cmpeq_epi16(_mm256_max_epu16(a, x), a);
		hi = _mm256_cmpeq_epi16(_mm256_max_epu16(b, x), b);
	} else {
		const __m256i x = _mm256_set1_epi32((int)fraction);
		lo = _mm256_cmpeq_epi32(_mm256_max_epu32(a, x), a);
		hi = _mm256_cmpeq_epi32(_mm256_max_epu32(b, x), b);
	}
	const uint64_t not_less = (uint64_t)(uint32_t)_mm256_movemask_epi8(hi) << 32 |
				  (uint32_t)_mm256_movemask_epi8(lo);
	/* As many bits as a separator has bytes; the link has the last four. */
	return (unsigned)__builtin_popcountll(~not_less << 4) / (bits / 8);
#else
	unsigned c = 0;
	if (bits == 16) {
		for (int i = 0; i < 30; i++)
			c += node->narrow[i] < fraction >> 16;
		return c;
	}
	for (int i = 0; i < 15; i++)
		c += node->wide[i] < fraction;
	return c;
#endif
}

/* Rank of the first key >= q, which is inside, given that keys[0..rank) are all < q: mostly in the
 * next line, else, where no fraction tells keys apart, anywhere. */
__attribute__((noinline, cold)) static size_t ldx_go_on(const ldx *self, size_t rank, ldb_key q)
{
	const unsigned c =
		rank + LDX_LINE <= self->n ? ldb_count_less_line(self->keys + rank, q) : LDX_LINE;
	return c < LDX_LINE ? rank + c : ldb_search_window(self->keys, self->n, rank, self->n, q);
}

/* The answer for a q that is not inside. */
__attribute__((noinline, cold)) static ldb_val ldx_find_outside(const ldx *self, ldb_key q)
{
	const bool below = q < self->root.base;
	const size_t from = below ? 0 : self->high_rank, to = below ? self->low_rank : self->n;
	const size_t rank = from + ldb_lower_bound(self->keys + from, to - from, q);
	return rank < self->n ? rank : LDB_NONE;
}

/* How many keys of a chunk are < q. */
static inline size_t ldx_count_chunk(const ldb_key *chunk, ldb_key q, const unsigned lines)
{
	size_t c = ldb_count_less_line(chunk, q);
	return lines == 1 ? c : c + ldb_count_less_line(chunk + LDX_LINE, q);
}

/* The rank of q, given a line with only keys < q before it. `lines` is self->chunk_lines, a
 * constant wherever this is inlined. */
static inline size_t ldx_finish(const ldx *self, size_t line, ldb_key q, const unsigned lines)
{
	const size_t start = line * LDX_LINE;
	const size_t c = ldx_count_chunk(self->keys + start, q, lines);
	if (__builtin_expect(c == LDX_LINE * lines, 0))
		return ldx_go_on(self, start + c, q);
	return start + c;
}

/* From a bucket's top node to the node above the keys. */
static inline const ldx_node *ldx_descend(const ldx *self, const ldx_node *node, uint32_t fraction,
					  const unsigned bits)
{
	while (node->link & LDX_TO_NODES)
		node = &self->nodes[(node->link & ~LDX_TO_NODES) + ldx_count(node, fraction, bits)];
	return node;
}

static inline ldb_val ldx_find(const ldx *self, ldb_key q, const unsigned lines,
			       const unsigned bits)
{
	if (!ldx_is_inside(self, q))
		return ldx_find_outside(self, q);
	const ldx_place at = ldx_predict(&self->root, q);
	const ldx_node *node = ldx_descend(self, &self->nodes[at.bucket], at.fraction, bits);
	return ldx_finish(self, node->link + lines * ldx_count(node, at.fraction, bits), q, lines);
}

typedef struct {
	double budget_bytes; /* for all parts; where even the smallest needs more, that one is built
			      */
	unsigned chunk_lines; /* 0: whichever is best */
	unsigned bits;        /* 0: whichever is best */
	unsigned threads;
} ldx_settings;

/* build.c */
/* Builds the root and the nodes; fewer than LDX_LEAST keys get none, nor do keys that separators
 * can't tell apart. LDB_OOM: nothing is held. */
ldb_status ldx_build_parts(ldx *self, const ldx_settings *settings, ldb_error *err);
void ldx_free_parts(ldx *self);

/* tune.c */
/* Sets the root, whose range is known, and all parameters; chunk_lines 0 where no tree would tell
 * the keys apart. False: out of memory. */
bool ldx_tune(ldx *self, const ldx_settings *settings);

static inline size_t ldx_segment_bytes(const ldx *self)
{
	return self->root.segment_count * sizeof *self->root.segments;
}

static inline size_t ldx_node_bytes(const ldx *self)
{
	return self->node_count * sizeof *self->nodes;
}

static inline size_t ldx_bytes_held(const ldx *self)
{
	return sizeof *self + ldx_segment_bytes(self) + ldx_node_bytes(self);
}

#endif
