/*
 * The last mile: the search for q in the window of the sorted keys that a model has left over, for
 * one query, and for a group of queries at once so that their cache misses overlap (group
 * prefetching after Chen, Ailamaki, Gibbons, Mowry: "Improving Hash Join Performance through
 * Prefetching", 2004; here for binary search).
 *
 * A window [lo, hi] says that the rank of the first key >= q is at least lo and at most hi <= n.
 */
#ifndef LDB_WINDOW_H
#define LDB_WINDOW_H

#include <stdbool.h>

#include "ldb/simd.h"

/* How many queries lookup_batch takes through its stages together: several times the misses that a
 * core can have under way, as the last rounds of a search are those of a few queries only. */
#define LDB_GROUP 128

/* The textbook's binary search: rank of the first key >= q, if that is in [lo, hi], else the nearer
 * end. */
static inline size_t ldb_search_binary(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	while (lo < hi) {
		const size_t middle = lo + (hi - lo) / 2;
		if (keys[middle] < q)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* So few keys are compared at once: as many as two cache lines have. */
enum { LDB_NARROW = 2 * LDB_LINE_KEYS };

/*
 * The end of the search, once at most LDB_NARROW keys are left. It counts in the keys of one line
 * or two, from lo on (moved down where the array ends): keys of the window and then keys that are
 * not less than q anyway, or, where it moved, keys before lo, which are < q and so counted as they
 * should be. No branch depends on where in the window q is.
 */
static inline size_t ldb_search_narrow(const ldb_key *keys, size_t n, size_t lo, size_t hi,
				       ldb_key q)
{
	if (n < LDB_NARROW)
		return ldb_lower_bound(keys, n, q);
	if (hi - lo <= LDB_LINE_KEYS) {
		size_t from = lo < n - LDB_LINE_KEYS ? lo : n - LDB_LINE_KEYS;
		return from + ldb_count_less_line(keys + from, q);
	}
	size_t from = lo < n - LDB_NARROW ? lo : n - LDB_NARROW;
	return from + ldb_count_less_line(keys + from, q) +
	       ldb_count_less_line(keys + from + LDB_LINE_KEYS, q);
}

/* Asks for a cache line, also behind the end of an array: nothing is read. Into the second level:
 * on Zen 4 twice as many such requests are under way at once as of those into the first. gcc 12
 * vectorizes loops with __builtin_prefetch in them by leaving it out; not those with an asm
 * statement. */
static inline void ldb_prefetch(const void *base, size_t offset)
{
	__builtin_prefetch((const void *)((uintptr_t)base + offset), 0, 2);
	__asm__ volatile("");
}

static inline void ldb_prefetch_key(const ldb_key *keys, size_t i)
{
	ldb_prefetch(keys, i * sizeof *keys);
}

/*
 * A window of up to so many keys is asked for as a whole: its lines lie side by side, mostly in one
 * page, and their misses overlap, where the steps of a search would wait for one after the other.
 * (A search that branches on each key has such overlap, too, by running ahead on a guess.)
 */
#define LDB_FETCHED (17 * LDB_LINE_KEYS)

/* Halves [lo, lo + *length] down to at most `last` keys; returns the new lo. The masks, unlike
 * `?:`, can't be turned into a branch. */
static inline size_t ldb_halve(const ldb_key *keys, size_t lo, size_t *length, size_t last,
			       ldb_key q)
{
	size_t left = *length;
	while (left > LDB_FETCHED) { /* both keys that may be next are on their way */
		const size_t half = left / 2, next = (left - half) / 2;
		__builtin_prefetch(keys + lo + next - 1);
		__builtin_prefetch(keys + lo + half + next - 1);
		lo += half & (0 - (size_t)(keys[lo + half - 1] < q));
		left -= half;
	}
	for (size_t i = 0; i < left; i += LDB_LINE_KEYS)
		__builtin_prefetch(keys + lo + i);
	__builtin_prefetch(keys + lo + left - 1);
	while (left > last) {
		const size_t half = left / 2;
		lo += half & (0 - (size_t)(keys[lo + half - 1] < q));
		left -= half;
	}
	*length = left;
	return lo;
}

/* Rank of the first key >= q in keys[0..n), known to be in [lo, hi]. */
static inline size_t ldb_search_window(const ldb_key *keys, size_t n, size_t lo, size_t hi,
				       ldb_key q)
{
	size_t length = hi - lo;
	if (length > LDB_NARROW)
		lo = ldb_halve(keys, lo, &length, LDB_NARROW, q);
	return ldb_search_narrow(keys, n, lo, lo + length, q);
}

/* Rank of the first key >= q, known to be more than lo: by doubling steps, the first of `step`
 * keys, then by halving. */
static __attribute__((noinline, unused)) size_t ldb_search_up(const ldb_key *keys, size_t n,
							      size_t lo, size_t step, ldb_key q)
{
	size_t hi = lo;
	for (; hi < n && keys[hi] < q; step *= 2) {
		lo = hi + 1;
		hi = n - lo > step ? lo + step : n;
	}
	return ldb_search_window(keys, n, lo, hi, q);
}

/* Asks for what the search of a group reads first: the middle. */
static inline void ldb_prefetch_window(const ldb_key *keys, size_t lo, size_t hi)
{
	ldb_prefetch_key(keys, lo + (hi - lo) / 2 - 1);
}

#ifdef __AVX512F__
/* Eight queries, and which of the keys at base[at] are less than theirs, of the lanes in a mask. */
#if LDB_KEY_BITS == 32
typedef __m256i ldb_lanes8;
static inline ldb_lanes8 ldb_load_lanes8(__mmask8 mask, const ldb_key *q)
{
	return _mm256_maskz_loadu_epi32(mask, q);
}
static inline __mmask8 ldb_gather_less8(__mmask8 mask, const ldb_key *base, __m512i at,
					ldb_lanes8 q)
{
	const __m256i key = _mm512_mask_i64gather_epi32(q, mask, at, base, 4);
	return _mm256_mask_cmplt_epu32_mask(mask, key, q);
}
#else
typedef __m512i ldb_lanes8;
static inline ldb_lanes8 ldb_load_lanes8(__mmask8 mask, const ldb_key *q)
{
	return _mm512_maskz_loadu_epi64(mask, q);
}
static inline __mmask8 ldb_gather_less8(__mmask8 mask, const ldb_key *base, __m512i at,
					ldb_lanes8 q)
{
	const __m512i key = _mm512_mask_i64gather_epi64(q, mask, at, base, 8);
	return _mm512_mask_cmplt_epu64_mask(mask, key, q);
}
#endif
#endif

/*
 * Halves the ranges [lo, lo + length) of `count` <= LDB_GROUP queries until none is longer than
 * `last`, in rounds of one step for each. The keys are `stride` keys apart, 1 or 2. No branch
 * depends on a single query.
 */
#ifdef __AVX512F__

static inline void ldb_halve_group(const ldb_key *words, const unsigned stride, size_t last,
				   const ldb_key *q, size_t *lo, size_t *length, size_t count)
{
	/* The reads of a round do not wait for each other, so nothing is prefetched. */
	const __m512i most = _mm512_set1_epi64((long long)last);
	for (unsigned wides = 1; wides;) {
		wides = 0;
		for (size_t i = 0; i < count; i += 8) {
			const __mmask8 all =
				(__mmask8)(count - i < 8 ? (1u << (count - i)) - 1 : 255);
			const ldb_lanes8 x = ldb_load_lanes8(all, q + i);
			const __m512i l = _mm512_maskz_loadu_epi64(all, lo + i);
			const __m512i n = _mm512_maskz_loadu_epi64(all, length + i);
			const __mmask8 wide = _mm512_cmpgt_epu64_mask(n, most);
			const __m512i half = _mm512_srli_epi64(n, 1),
				      next = _mm512_add_epi64(l, half);
			const __m512i at = stride == 2 ? _mm512_slli_epi64(next, 1) : next;
			const __mmask8 right = ldb_gather_less8(wide, words - stride, at, x);
			_mm512_mask_storeu_epi64(lo + i, right, next);
			_mm512_mask_storeu_epi64(length + i, wide, _mm512_sub_epi64(n, half));
			wides |= wide;
		}
	}
}

#else

static inline void ldb_halve_group(const ldb_key *words, const unsigned stride, size_t last,
				   const ldb_key *q, size_t *lo, size_t *length, size_t count)
{
	unsigned char wide[LDB_GROUP + 1];
	size_t wides = 0;
	for (size_t i = 0; i < count; i++) {
		ldb_prefetch_key(words, (lo[i] + length[i] / 2 - 1) * stride);
		wide[wides] = (unsigned char)i;
		wides += length[i] > last;
	}
	while (wides) {
		size_t left = 0;
		for (size_t w = 0; w < wides; w++) {
			const size_t i = wide[w], half = length[i] / 2;
			const bool right = words[(lo[i] + half - 1) * stride] < q[i];
			lo[i] += half & (0 - (size_t)right);
			length[i] -= half;
			ldb_prefetch_key(words, (lo[i] + length[i] / 2 - 1) * stride);
			wide[left] = (unsigned char)i;
			left += length[i] > last;
		}
		wides = left;
	}
}

#endif

/*
 * ldb_search_window for `count` <= LDB_GROUP queries. lo and hi are overwritten; out[i] = rank, or
 * LDB_NONE where it is n.
 */
static inline void ldb_search_windows(const ldb_key *keys, size_t n, const ldb_key *q, size_t *lo,
				      size_t *hi, size_t count, ldb_val *out)
{
	for (size_t i = 0; i < count; i++)
		hi[i] -= lo[i];
	ldb_halve_group(keys, 1, LDB_NARROW, q, lo, hi, count);
	for (size_t i = 0; i < count; i++) {
		ldb_prefetch_key(keys, lo[i]);
		ldb_prefetch_key(keys, lo[i] + LDB_LINE_KEYS);
		ldb_prefetch_key(keys, lo[i] + LDB_NARROW - 1);
	}
	for (size_t i = 0; i < count; i++) {
		const size_t rank = ldb_search_narrow(keys, n, lo[i], lo[i] + LDB_NARROW, q[i]);
		out[i] = rank < n ? rank : LDB_NONE;
	}
}

/* The same for any number of queries, with all keys as their window. */
static inline void ldb_search_all(const ldb_key *keys, size_t n, const ldb_key *q, size_t queries,
				  ldb_val *out)
{
	size_t lo[LDB_GROUP], hi[LDB_GROUP];
	for (size_t at = 0; at < queries; at += LDB_GROUP) {
		const size_t count = queries - at < LDB_GROUP ? queries - at : LDB_GROUP;
		for (size_t i = 0; i < count; i++) {
			lo[i] = 0;
			hi[i] = n;
		}
		ldb_search_windows(keys, n, q + at, lo, hi, count, out + at);
	}
}

/* --- windows that are all of one length ------------------------------------------------------- */

/*
 * Where a model is off by no more than a number known at build, each window [lo, lo + length] gets
 * the same length, lo + length <= n. Then no branch of the search depends on the query, and none is
 * guessed wrong while its line is still on the way: a long window is halved a fixed number of
 * times, and of a short one all keys are compared, whose lines come at once.
 */

/* Up to so many keys are all compared. Of a group, whose misses overlap anyway, and of windows that
 * have to be halved, fewer. */
#define LDB_FIXED_COUNTED (5 * LDB_LINE_KEYS)
#define LDB_FIXED_LAST (3 * LDB_LINE_KEYS)

static inline size_t ldb_fixed_halve(const ldb_key *keys, size_t lo, size_t half, ldb_key q)
{
	/* The mask, unlike `?:`, can't be turned into a branch. */
	return lo + (half & (0 - (size_t)(keys[lo + half - 1] < q)));
}

/* Compares all keys of a short window, in whole vectors: keys behind it are >= q, and where the
 * array ends the vectors begin before it, with keys < q. */
static inline size_t ldb_fixed_count(const ldb_key *keys, size_t n, size_t lo, size_t length,
				     ldb_key q)
{
	const size_t width = LDB_LINE_KEYS;
	const size_t span = length > width ? (length + width - 1) & ~(width - 1) : width;
	if (n < span)
		return ldb_lower_bound(keys, n, q);
	size_t rank = lo < n - span ? lo : n - span;
	const ldb_key *p = keys + rank;
	rank += ldb_count_less_line(p, q);
	if (span <= width)
		return rank;
	rank += ldb_count_less_line(p + width, q);
	for (size_t i = 2 * width; i < span; i += width)
		rank += ldb_count_less_line(p + i, q);
	return rank;
}

/* Rank of the first key >= q in keys[0..n), known to be in [lo, lo + length]. */
static inline size_t ldb_fixed_search(const ldb_key *keys, size_t n, size_t lo, size_t length,
				      ldb_key q)
{
	if (length > LDB_FIXED_COUNTED)
		lo = ldb_halve(keys, lo, &length, LDB_FIXED_LAST, q);
	return ldb_fixed_count(keys, n, lo, length, q);
}

/* Asks for the keys of a short window, or for the middle of a long one. */
static inline void ldb_fixed_prefetch(const ldb_key *keys, size_t lo, size_t length)
{
	if (length > LDB_FIXED_LAST) {
		ldb_prefetch_key(keys, lo + length / 2 - 1);
		return;
	}
	for (size_t i = 0; i < length; i += LDB_LINE_KEYS)
		ldb_prefetch_key(keys, lo + i);
	ldb_prefetch_key(keys, lo + length - 1);
}

/* ldb_fixed_search for `count` <= LDB_GROUP queries whose windows have been prefetched. lo is
 * overwritten; out[i] = rank. */
static inline void ldb_fixed_search_group(const ldb_key *keys, size_t n, const ldb_key *q,
					  size_t *lo, size_t length, size_t count, ldb_val *out)
{
	const bool wide = length > LDB_FIXED_LAST;
	while (length > LDB_FIXED_LAST) {
		const size_t half = length / 2;
		length -= half;
		for (size_t i = 0; i < count; i++) {
			lo[i] = ldb_fixed_halve(keys, lo[i], half, q[i]);
			ldb_prefetch_key(keys, lo[i] + length / 2 - 1);
		}
	}
	for (size_t i = 0; i < count && wide; i++)
		ldb_fixed_prefetch(keys, lo[i], length);
	for (size_t i = 0; i < count; i++)
		out[i] = ldb_fixed_count(keys, n, lo[i], length, q[i]);
}

/* --- batches ---------------------------------------------------------------------------------- */

typedef void ldb_group_fn(const void *self, const ldb_key *q, size_t count, ldb_val *out);

/* lookup_batch by groups; find_group is inlined, once with a constant count. */
static inline __attribute__((always_inline)) void ldb_find_groups(const void *self,
								  ldb_group_fn *find_group,
								  const ldb_key *q, size_t n,
								  ldb_val *out)
{
	size_t i = 0;
	for (; i + LDB_GROUP <= n; i += LDB_GROUP)
		find_group(self, q + i, LDB_GROUP, out + i);
	if (i < n)
		find_group(self, q + i, n - i, out + i);
}

#endif
