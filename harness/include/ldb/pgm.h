/*
 * The PGM-index (Ferragina, Vinciguerra: "The PGM-index: a fully-dynamic compressed learned
 * index with provable worst-case bounds", VLDB 2020), static. This header is the model and
 * its lookup; ldb/pgm_build.h makes it.
 *
 * Level 0 approximates the keys' ranks within epsilon by the fewest line segments (ldb/pla.h; they
 * are cut at LDB_PGM_SPAN_MAX ranks). Level 1 approximates likewise, within epsilon_recursive,
 *which segment of level 0 a key falls into, and so on up, until at most LDB_PGM_TOP segments are
 *left, whose keys are searched by compare-and-count in up to three rounds. A lookup walks down:
 *each level says in which few entries of the one below the next segment is, and level 0 in which
 *few ranks the answer is.
 *
 * A segment takes 16 bytes (12 with keys of 32 bits), four to a cache line: its first key, its
 *slope, and `top`, the end of the window that it gives for this key. For a query q > keys[0] the
 *levels see p = q - 1, of which they tell c(p), the number of keys <= p: the lower bound's rank.
 *Let j be the last segment with first key <= p, that is < q. Then
 *
 *	t(p) = rise of segment j from its first key to p, an integer
 *	hi   = min(top_j + t(p), top_{j+1})
 *	lo   = max(hi - width, 0)			`width` is one number for a level
 *
 * Why c(p) is in [lo, hi] for every p >= keys[0]. Neither c nor t ever decreases in a segment, and
 * t is computed in integers, so it is the same wherever it is computed. The points of a level are
 * (s, c(s)) for all distinct keys s, and for keys that occur more than once also the foot of the
 * step, (s - 1, c(s - 1)), where s - 1 is no key. Between two neighbouring points c is constant. A
 * segment begins at a point. When it is closed, ldb/pgm_build.h computes t at all its points and
 *sets
 *
 *	top_j = max (c(s) - t(s)) over its points s
 *	width = max (top_j + t(s) - c(s)) over its points s, and for keys s that occur once
 *	        max (top_j + t(s) - c(s - 1)); over all segments
 *
 * Let s be the last point <= p; it is in segment j.
 *   - c(p) = c(s) <= top_j + t(s) <= top_j + t(p), and c(s) <= c(key_{j+1}) <= top_{j+1}, as t is 0
 *     there. So c(p) <= hi.
 *   - If p = s, c(p) >= top_j + t(s) - width >= hi - width. Else the next point s' > p is a foot or
 *     a key that occurs once (before another key is its foot, or s), and c(p) = c(s' - 1), which is
 *     >= top + t(s') - width in the segment of s'. If that is j, t(s') >= t(p); if it is j + 1,
 *     t(s') = 0 and the bound is top_{j+1} - width. Either is >= hi - width.
 * Behind the last segment stands one whose key is UINT64_MAX, never < q, and whose top is n: there
 * c(p) = n. Nothing here depends on how well the lines fit. That only makes width small: a line
 * within epsilon of the points gives 2 epsilon + 1. Its slope is rounded to 20 bits, a relative
 * 2^-20 of at most 2^16 ranks, so at times it is one more.
 *
 * On a level above, keys are the first keys of the segments below, and c(p) - 1, the number of the
 * segment that p falls into, takes the place of c(p).
 *
 * Cache misses of a lookup with epsilon 15 on 10M uniform keys: the segments (0.2 MB) stay in the
 * second cache, the keys do not: four or five neighbouring lines of them. All lines of a window are
 * known at once and fetched together, so it is one miss after level 0. With more segments than the
 * caches hold there is one more, of two or three lines.
 */
#ifndef LDB_PGM_H
#define LDB_PGM_H

#include "ldb/window.h"

typedef struct {
	ldb_key key;    /* the first point's */
	uint32_t slope; /* see ldb_pgm_rise */
	uint32_t top;
} ldb_pgm_segment;

#define LDB_PGM_EPSILON_RECURSIVE 4          /* as in the paper */
#define LDB_PGM_SPAN_MAX ((uint64_t)1 << 16) /* ranks from a segment's first point to its last */
#define LDB_PGM_LEVELS_MAX 32
#define LDB_PGM_PAD                                                                                \
	16 /* segments with key UINT64_MAX behind each level: searches may read them               \
	    */
#define LDB_PGM_NODE 16
#define LDB_PGM_TOP (LDB_PGM_NODE * LDB_PGM_NODE * LDB_PGM_NODE)

typedef struct {
	size_t begin; /* in segments */
	size_t count;
	size_t width; /* of the windows it gives, in ranks or segments of the level below */
} ldb_pgm_level;

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldb_key min;               /* n == 0: UINT64_MAX */
	ldb_pgm_segment *segments; /* of all levels, with their padding */
	size_t segment_count;
	size_t level_count;
	ldb_pgm_level level[LDB_PGM_LEVELS_MAX]; /* level[0] is over the keys */
	/* The keys of the highest level, up to a multiple of LDB_PGM_NODE filled with UINT64_MAX;
	 * every LDB_PGM_NODE-th of them; and every LDB_PGM_NODE-th of those. */
	ldb_key *top_keys;
	size_t top_count;
	ldb_key top_middle[LDB_PGM_NODE * LDB_PGM_NODE], top_root[LDB_PGM_NODE];
	uint64_t epsilon, epsilon_recursive;
	uint64_t tune_ns; /* the plug-in's: time spent on choosing epsilon */
} ldb_pgm;

/* --- models ----------------------------------------------------------------------------------- */

/*
 * How far a line rises over a distance: the distance's high bits times a number of 20 bits, shifted
 * down. slope = multiplier | drop << 20 | shift << 26. Integers, as these few steps take half the
 * time of the way through floating point, and are exact.
 */
#define LDB_PGM_SLOPE_BITS 20
#define LDB_PGM_DISTANCE_MAX (((uint64_t)1 << 44) - 1)

static inline uint64_t ldb_pgm_rise(uint32_t slope, uint64_t distance)
{
	const uint64_t high = distance >> (slope >> LDB_PGM_SLOPE_BITS & 63);
	const uint64_t multiplier = slope & ((1u << LDB_PGM_SLOPE_BITS) - 1);
	return (high < LDB_PGM_DISTANCE_MAX ? high : LDB_PGM_DISTANCE_MAX) * multiplier >>
	       (slope >> 26);
}

/* The end of the window that segment[0] gives to q; segment[0].key < q. */
static inline size_t ldb_pgm_predict(const ldb_pgm_segment *segment, ldb_key q)
{
	const uint64_t hi = segment[0].top + ldb_pgm_rise(segment[0].slope, q - 1 - segment[0].key);
	const uint64_t next = segment[1].top;
	return hi < next ? hi : next;
}

static inline size_t ldb_pgm_window_low(size_t hi, size_t width)
{
	return hi > width ? hi - width : 0;
}

/* --- search of segments ----------------------------------------------------------------------- */

/* How many of the eight segments at s have a first key < q. */
static inline unsigned ldb_pgm_count_less8(const ldb_pgm_segment *s, ldb_key q)
{
#if LDB_KEY_BITS == 32 && defined(__AVX512VL__)
	/* All 24 words are compared, of which every third is a key. */
	const unsigned low = _mm512_mask_cmplt_epu32_mask(0x9249, _mm512_loadu_si512(s),
							  _mm512_set1_epi32((int)q));
	const unsigned high = _mm256_mask_cmplt_epu32_mask(
		0x24, _mm256_loadu_si256((const __m256i *)s + 2), _mm256_set1_epi32((int)q));
	return (unsigned)__builtin_popcount(low | high << 16);
#elif LDB_KEY_BITS == 32 && defined(__AVX2__)
	const __m256i flip = _mm256_set1_epi32(INT32_MIN);
	const __m256i x = _mm256_xor_si256(_mm256_set1_epi32((int)q), flip);
	static const unsigned keys[] = {0x49, 0x92, 0x24}; /* of the eight words each */
	unsigned c = 0;
	for (int v = 0; v < 3; v++) {
		const __m256i a = _mm256_loadu_si256((const __m256i *)s + v);
		const __m256i less = _mm256_cmpgt_epi32(x, _mm256_xor_si256(a, flip));
		c += (unsigned)__builtin_popcount(
			(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(less)) & keys[v]);
	}
	return c;
#elif LDB_KEY_BITS == 64 && defined(__AVX512F__)
	/* Only their number counts, so the order in which the keys are put together does not. */
	const __m512i a = _mm512_unpacklo_epi64(_mm512_loadu_si512(s), _mm512_loadu_si512(s + 4));
	return (unsigned)__builtin_popcount(
		_mm512_cmplt_epu64_mask(a, _mm512_set1_epi64((long long)q)));
#elif LDB_KEY_BITS == 64 && defined(__AVX2__)
	const __m256i flip = _mm256_set1_epi64x((long long)(1ull << 63));
	const __m256i x = _mm256_xor_si256(_mm256_set1_epi64x((long long)q), flip);
	const __m256i *p = (const __m256i *)s;
	const __m256i a = _mm256_unpacklo_epi64(_mm256_loadu_si256(p), _mm256_loadu_si256(p + 1));
	const __m256i b =
		_mm256_unpacklo_epi64(_mm256_loadu_si256(p + 2), _mm256_loadu_si256(p + 3));
	const __m256i below_a = _mm256_cmpgt_epi64(x, _mm256_xor_si256(a, flip));
	const __m256i below_b = _mm256_cmpgt_epi64(x, _mm256_xor_si256(b, flip));
	const int bits = _mm256_movemask_pd(_mm256_castsi256_pd(below_a)) |
			 _mm256_movemask_pd(_mm256_castsi256_pd(below_b)) << 4;
	return (unsigned)__builtin_popcount((unsigned)bits);
#elif LDB_KEY_BITS == 64 && defined(__aarch64__)
	const uint64_t *p = (const uint64_t *)s;
	const uint64x2_t x = vdupq_n_u64(q);
	uint64x2_t c = vcltq_u64(vld2q_u64(p).val[0], x);
	c = vaddq_u64(c, vcltq_u64(vld2q_u64(p + 4).val[0], x));
	c = vaddq_u64(c, vcltq_u64(vld2q_u64(p + 8).val[0], x));
	c = vaddq_u64(c, vcltq_u64(vld2q_u64(p + 12).val[0], x));
	return (unsigned)(0 - vaddvq_u64(c)); /* each hit counted -1 */
#else
	unsigned c = 0;
	for (int i = 0; i < 8; i++)
		c += s[i].key < q;
	return c;
#endif
}

/*
 * The last segment with first key < q, known to be one of low[0..width], low[0].key < q. What
 * follows low[width] in its level has keys >= q.
 */
static inline const ldb_pgm_segment *ldb_pgm_search_segments(const ldb_pgm_segment *low,
							     size_t width, ldb_key q)
{
	while (width > 16) {
		const size_t half = width / 2;
		low += low[half].key < q ? half : 0;
		width -= half;
	}
	const ldb_pgm_segment *found = low + ldb_pgm_count_less8(low + 1, q);
	if (width > 8)
		found += ldb_pgm_count_less8(low + 9, q);
	return found;
}

/* The segment of q on the highest level; q > min, so each count is at least 1. */
static inline const ldb_pgm_segment *ldb_pgm_search_top(const ldb_pgm *self, ldb_key q)
{
	const ldb_pgm_level *level = &self->level[self->level_count - 1];
	size_t node = 0;
	if (level->count > LDB_PGM_NODE * LDB_PGM_NODE)
		node = LDB_PGM_NODE * (ldb_count_less16(self->top_root, q) - 1);
	if (level->count > LDB_PGM_NODE)
		node = LDB_PGM_NODE * (node + ldb_count_less16(self->top_middle + node, q) - 1);
	return self->segments + level->begin + node + ldb_count_less16(self->top_keys + node, q) -
	       1;
}

/* The segment of q on level 0; q > min. */
static inline const ldb_pgm_segment *ldb_pgm_descend(const ldb_pgm *self, ldb_key q)
{
	const ldb_pgm_segment *segment = ldb_pgm_search_top(self, q);
	for (size_t l = self->level_count - 1; l > 0; l--) {
		const size_t width = self->level[l].width;
		const size_t low = ldb_pgm_window_low(ldb_pgm_predict(segment, q), width);
		segment = ldb_pgm_search_segments(self->segments + self->level[l - 1].begin + low,
						  width, q);
	}
	return segment;
}

/* Where the window of q begins; it is level[0].width long. */
static inline size_t ldb_pgm_low(const ldb_pgm *self, ldb_key q)
{
	if (q <= self->min)
		return 0;
	return ldb_pgm_window_low(ldb_pgm_predict(ldb_pgm_descend(self, q), q),
				  self->level[0].width);
}

/* Rank of the first key >= q. */
static inline size_t ldb_pgm_rank(const ldb_pgm *self, ldb_key q)
{
	return ldb_fixed_search(self->keys, self->n, ldb_pgm_low(self, q), self->level[0].width, q);
}

/* --- many at once ----------------------------------------------------------------------------- */

/* Asks for low[0..width + 1], or the middle of what will be halved first. */
static inline void ldb_pgm_prefetch_segments(const ldb_pgm_segment *low, size_t width)
{
	if (width > 16) {
		ldb_prefetch(low, width / 2 * sizeof *low);
		return;
	}
	for (size_t i = 0; i <= width; i += 64 / sizeof *low)
		ldb_prefetch(low, i * sizeof *low);
	ldb_prefetch(low, (width + 1) * sizeof *low);
}

/*
 * A group of queries goes down the levels together: each stage asks for the cache lines of the next
 * one, so the misses of the whole group overlap. The levels see queries clamped to above min, which
 * is not the largest key there is.
 */
static inline void ldb_pgm_ranks(const ldb_pgm *self, const ldb_key *q, size_t count, ldb_val *out)
{
	const ldb_pgm_segment *segment[LDB_GROUP];
	ldb_key c[LDB_GROUP];
	size_t lo[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		c[i] = q[i] > self->min ? q[i] : self->min + 1;
		segment[i] = ldb_pgm_search_top(self, c[i]);
		ldb_prefetch(segment[i], 0);
		ldb_prefetch(segment[i] + 1, 0);
	}
	for (size_t l = self->level_count - 1; l > 0; l--) {
		const size_t width = self->level[l].width;
		const ldb_pgm_segment *below = self->segments + self->level[l - 1].begin;
		for (size_t i = 0; i < count; i++) {
			segment[i] = below +
				     ldb_pgm_window_low(ldb_pgm_predict(segment[i], c[i]), width);
			ldb_pgm_prefetch_segments(segment[i], width);
		}
		for (size_t i = 0; i < count; i++)
			segment[i] = ldb_pgm_search_segments(segment[i], width, c[i]);
	}
	const size_t width = self->level[0].width;
	for (size_t i = 0; i < count; i++) {
		lo[i] = ldb_pgm_window_low(ldb_pgm_predict(segment[i], c[i]), width);
		ldb_fixed_prefetch(self->keys, lo[i], width);
	}
	ldb_fixed_search_group(self->keys, self->n, q, lo, width, count, out);
	for (size_t i = 0; i < count; i++)
		out[i] = q[i] <= self->min ? 0 : out[i];
}

#endif
