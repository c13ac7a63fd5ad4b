/* Evaluating the model: for one key, and for eight at once with the same answers. */
#ifndef LS_MODEL_H
#define LS_MODEL_H

#include "learned_sort.h"

enum { LS_MANTISSA = 52 };

LS_INLINE uint64_t ls_bits_of(double x)
{
	uint64_t bits;
	memcpy(&bits, &x, sizeof bits);
	return bits;
}

LS_INLINE uint64_t ls_distance_bits(const ls_model *self, ldb_key key)
{
	double d = (double)(key > self->base ? key - self->base : 0);
	d = d > self->nearest ? d : self->nearest;
	d = d < self->farthest ? d : self->farthest;
	return ls_bits_of(d);
}

LS_INLINE size_t ls_segment_of(const ls_model *self, uint64_t bits)
{
	return (bits >> (LS_MANTISSA - self->mantissa_bits)) - self->first_segment;
}

LS_INLINE uint32_t ls_bucket_of(const ls_model *self, ldb_key key)
{
	const uint64_t bits = ls_distance_bits(self, key);
	const uint64_t entry = self->table[ls_segment_of(self, bits)];
	const uint64_t fraction = bits << (64 - LS_MANTISSA + self->mantissa_bits) >> 32;
	return (uint32_t)(((entry >> 32) + (fraction * (uint32_t)entry >> 32)) >> LS_POINT);
}

#if LS_AVX512
/* The keys of eight elements. */
LS_INLINE __m512i ls_load_keys(const uint64_t *elements, const size_t words)
{
	const __m512i first = _mm512_loadu_si512(elements);
	if (words == 1)
		return first;
	const __m512i even = _mm512_set_epi64(14, 12, 10, 8, 6, 4, 2, 0);
	return _mm512_permutex2var_epi64(first, even, _mm512_loadu_si512(elements + 8));
}

LS_INLINE size_t ls_apply_eights(const ls_model *self, const uint64_t *elements, const size_t words,
				 size_t n, uint16_t *numbers)
{
	const __m512i base = _mm512_set1_epi64((long long)self->base);
	const __m512d nearest = _mm512_set1_pd(self->nearest);
	const __m512d farthest = _mm512_set1_pd(self->farthest);
	const __m512i segment_shift = _mm512_set1_epi64(LS_MANTISSA - self->mantissa_bits);
	const __m512i fraction_shift = _mm512_set1_epi64(64 - LS_MANTISSA + self->mantissa_bits);
	const __m512i first = _mm512_set1_epi64((long long)self->first_segment);
	size_t i = 0;
	for (; i + 8 <= n; i += 8) {
		const __m512i key = ls_load_keys(elements + i * words, words);
		const __m512i distance = _mm512_sub_epi64(_mm512_max_epu64(key, base), base);
		const __m512d d = _mm512_max_pd(_mm512_cvtepu64_pd(distance), nearest);
		const __m512i bits = _mm512_castpd_si512(_mm512_min_pd(d, farthest));
		const __m512i segment =
			_mm512_sub_epi64(_mm512_srlv_epi64(bits, segment_shift), first);
		const __m512i entry = _mm512_i64gather_epi64(segment, self->table, 8);
		const __m512i fraction =
			_mm512_srli_epi64(_mm512_sllv_epi64(bits, fraction_shift), 32);
		const __m512i place =
			_mm512_add_epi64(_mm512_srli_epi64(entry, 32),
					 _mm512_srli_epi64(_mm512_mul_epu32(fraction, entry), 32));
		_mm_storeu_si128((__m128i *)(numbers + i),
				 _mm512_cvtepi64_epi16(_mm512_srli_epi64(place, LS_POINT)));
	}
	return i;
}
#endif

/* The bucket numbers of n elements. */
LS_INLINE void ls_model_apply(const ls_model *self, const uint64_t *elements, const size_t words,
			      size_t n, uint16_t *numbers)
{
	size_t i = 0;
#if LS_AVX512
	i = ls_apply_eights(self, elements, words, n, numbers);
#endif
	for (; i < n; i++)
		numbers[i] = (uint16_t)ls_bucket_of(self, elements[i * words]);
}

#endif
