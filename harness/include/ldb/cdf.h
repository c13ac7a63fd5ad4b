/*
 * A model of how keys are distributed, learned from a sample: a recursive model index of two stages
 * (Kraska, Beutel, Chi, Dean, Polyzotis, SIGMOD 2018, section 3) in integers. The root cuts the
 * keys' range into equal segments, by the top bits of the distance from the least key; each segment
 * is a line, by which it shares out buckets in proportion to the keys that the sample has in it.
 *
 *      q - base    | segment | fraction of 32 bits | rest |
 *      bucket      segments[segment].first + (fraction * segments[segment].count >> 32)
 *
 * It never decreases as q grows, for every q: used as a hash function it keeps the order (the hash
 * model of section 4), so that buckets of sorted keys are ranges of them, and neighbouring keys
 * meet in the cache. Buckets come out about equal if the segments are nearly uniform within; where
 * keys lie in clusters that the segments can't tell apart they don't, so users must live with that.
 */
#ifndef LDB_CDF_H
#define LDB_CDF_H

#include <stdbool.h>
#include <string.h>

#include "ldb/radix.h"

enum {
	LDB_CDF_SEGMENTS = 4096, /* at most, and one more */
	LDB_CDF_SAMPLE = 1024,   /* keys by which the range is chosen */
};

typedef struct {
	uint32_t first, count; /* buckets */
} ldb_cdf_segment;

typedef struct {
	ldb_key base, limit; /* the range is [base, base + limit] */
	unsigned shift;      /* a segment is 2^shift keys wide */
	size_t buckets;      /* below 2^32 */
	ldb_cdf_segment segments[LDB_CDF_SEGMENTS + 1];
} ldb_cdf;

/* The bucket of a key, below cdf->buckets. */
static inline size_t ldb_cdf_bucket(const ldb_cdf *cdf, ldb_key q)
{
	ldb_key d = q > cdf->base ? q - cdf->base : 0;
	d = d < cdf->limit ? d : cdf->limit;
	const ldb_cdf_segment segment = cdf->segments[d >> cdf->shift];
	const uint64_t fraction = d << (63 - cdf->shift) << 1 >> 32;
	return segment.first + (size_t)(fraction * segment.count >> 32);
}

/* The buckets of `count` keys. */
static inline void ldb_cdf_buckets(const ldb_cdf *cdf, const ldb_key *q, size_t count, size_t *out)
{
	size_t i = 0;
#if defined(__AVX512F__)
	const __m512i base = _mm512_set1_epi64((long long)cdf->base);
	const __m512i limit = _mm512_set1_epi64((long long)cdf->limit);
	const __m128i shift = _mm_cvtsi32_si128((int)cdf->shift);
	const __m128i up = _mm_cvtsi32_si128((int)(64 - cdf->shift));
	for (; i + 8 <= count; i += 8) {
		const __m512i key = _mm512_max_epu64(_mm512_loadu_si512(q + i), base);
		const __m512i d = _mm512_min_epu64(_mm512_sub_epi64(key, base), limit);
		const __m512i segment =
			_mm512_i64gather_epi64(_mm512_srl_epi64(d, shift), cdf->segments, 8);
		const __m512i fraction = _mm512_srli_epi64(_mm512_sll_epi64(d, up), 32);
		const __m512i within = _mm512_mul_epu32(fraction, _mm512_srli_epi64(segment, 32));
		const __m512i first = _mm512_and_si512(segment, _mm512_set1_epi64(UINT32_MAX));
		_mm512_storeu_si512(out + i,
				    _mm512_add_epi64(first, _mm512_srli_epi64(within, 32)));
	}
#endif
	for (; i < count; i++)
		out[i] = ldb_cdf_bucket(cdf, q[i]);
}

/* --- training --------------------------------------------------------------------------------- */

/* Few keys, by Shell's sort with the gaps of Ciura, 2001. */
static inline void ldb_cdf_sort(ldb_key *keys, size_t n)
{
	static const size_t gaps[] = {301, 132, 57, 23, 10, 4, 1};
	for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
		for (size_t i = gaps[g]; i < n; i++) {
			const ldb_key key = keys[i];
			size_t at = i;
			for (; at >= gaps[g] && keys[at - gaps[g]] > key; at -= gaps[g])
				keys[at] = keys[at - gaps[g]];
			keys[at] = key;
		}
	}
}

/* The range of n > 0 keys in any order, without far outliers. */
static inline void ldb_cdf_range(ldb_cdf *cdf, const ldb_key *keys, size_t n, bool sorted)
{
	ldb_key sample[LDB_CDF_SAMPLE], least = keys[0], largest = keys[n - 1], top;
	const size_t count = n < LDB_CDF_SAMPLE ? n : LDB_CDF_SAMPLE;
	for (size_t i = 0; i < n && !sorted; i++) {
		least = keys[i] < least ? keys[i] : least;
		largest = keys[i] > largest ? keys[i] : largest;
	}
	for (size_t i = 0; i < count; i++)
		sample[i] = keys[ldb_sample_rank(i, count, n)];
	if (!sorted)
		ldb_cdf_sort(sample, count);
	sample[0] = least;
	sample[count - 1] = largest;
	ldb_trim_range(sample, 1, count, count / 256, &cdf->base, &top);
	cdf->limit = top - cdf->base;
}

/*
 * Trains a model of n keys, in any order or sorted, that shares them out to about `buckets` > 0
 * buckets.
 */
static inline void ldb_cdf_train(ldb_cdf *cdf, const ldb_key *keys, size_t n, bool sorted,
				 size_t buckets)
{
	size_t segments = 64; /* about 64 keys or more for each, and 16 of them in the sample */
	while (segments < LDB_CDF_SEGMENTS && segments * 64 < n)
		segments *= 2;
	memset(cdf, 0, sizeof *cdf);
	if (n)
		ldb_cdf_range(cdf, keys, n, sorted);
	cdf->shift = ldb_radix_shift_for(cdf->limit, segments + 1);
	const size_t used = (size_t)(cdf->limit >> cdf->shift) + 1;
	const size_t sample = n < 16 * segments ? n : 16 * segments;
	for (size_t i = 0; i < sample; i++) {
		const ldb_key q = keys[ldb_sample_rank(i, sample, n)];
		ldb_key d = q > cdf->base ? q - cdf->base : 0;
		d = d < cdf->limit ? d : cdf->limit;
		cdf->segments[d >> cdf->shift].count++;
	}
	for (size_t s = 0; s < used; s++) { /* one bucket more: none is without */
		ldb_cdf_segment *segment = &cdf->segments[s];
		const uint64_t share = sample ? (uint64_t)segment->count * buckets / sample : 0;
		*segment = (ldb_cdf_segment){(uint32_t)cdf->buckets, (uint32_t)share + 1};
		cdf->buckets += segment->count;
	}
}

#endif
