/*
 * Kernels that search few sorted keys: AVX-512, AVX2, NEON or scalar, whatever this file is
 * compiled for. All variants give the same answers (tests/test_simd.c).
 */
#ifndef LDB_SIMD_H
#define LDB_SIMD_H

#include <stddef.h>

#include "ldb/index.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* How many of the eight numbers at p are < q. */
static inline unsigned ldb_count_less8_64(const uint64_t *p, uint64_t q)
{
#if defined(__AVX512F__)
	/* In this order the compiler compares with memory, in one instruction. */
	const __mmask8 m =
		_mm512_cmpgt_epu64_mask(_mm512_set1_epi64((long long)q), _mm512_loadu_si512(p));
	return (unsigned)__builtin_popcount(m);
#elif defined(__AVX2__)
	/* AVX2 compares signed: flip the top bit of both sides. */
	const __m256i flip = _mm256_set1_epi64x((long long)(1ull << 63));
	const __m256i x = _mm256_xor_si256(_mm256_set1_epi64x((long long)q), flip);
	const __m256i a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), flip);
	const __m256i b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(p + 4)), flip);
	int lo = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(x, a)));
	int hi = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(x, b)));
	return (unsigned)__builtin_popcount((unsigned)(lo | hi << 4));
#elif defined(__aarch64__)
	const uint64x2_t x = vdupq_n_u64(q);
	uint64x2_t c = vcltq_u64(vld1q_u64(p), x);
	c = vaddq_u64(c, vcltq_u64(vld1q_u64(p + 2), x));
	c = vaddq_u64(c, vcltq_u64(vld1q_u64(p + 4), x));
	c = vaddq_u64(c, vcltq_u64(vld1q_u64(p + 6), x));
	return (unsigned)(0 - vaddvq_u64(c)); /* each hit counted -1 */
#else
	unsigned c = 0;
	for (int i = 0; i < 8; i++)
		c += p[i] < q;
	return c;
#endif
}

/* How many of the eight numbers at p are < q. */
static inline unsigned ldb_count_less8_32(const uint32_t *p, uint32_t q)
{
#if defined(__AVX512VL__)
	const __mmask8 m = _mm256_cmpgt_epu32_mask(_mm256_set1_epi32((int)q),
						   _mm256_loadu_si256((const __m256i *)p));
	return (unsigned)__builtin_popcount(m);
#elif defined(__AVX2__)
	const __m256i flip = _mm256_set1_epi32(INT32_MIN);
	const __m256i x = _mm256_xor_si256(_mm256_set1_epi32((int)q), flip);
	const __m256i a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), flip);
	const int less = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(x, a)));
	return (unsigned)__builtin_popcount((unsigned)less);
#elif defined(__aarch64__)
	const uint32x4_t x = vdupq_n_u32(q);
	const uint32x4_t a = vcltq_u32(vld1q_u32(p), x), b = vcltq_u32(vld1q_u32(p + 4), x);
	return 0u - vaddvq_u32(vaddq_u32(a, b)); /* each hit counted -1 */
#else
	unsigned c = 0;
	for (int i = 0; i < 8; i++)
		c += p[i] < q;
	return c;
#endif
}

/* How many of the 16 numbers at p are < q. */
static inline unsigned ldb_count_less16_64(const uint64_t *p, uint64_t q)
{
	return ldb_count_less8_64(p, q) + ldb_count_less8_64(p + 8, q);
}

/* How many of the 16 numbers at p are < q. */
static inline unsigned ldb_count_less16_32(const uint32_t *p, uint32_t q)
{
#if defined(__AVX512F__)
	const __mmask16 m =
		_mm512_cmpgt_epu32_mask(_mm512_set1_epi32((int)q), _mm512_loadu_si512(p));
	return (unsigned)__builtin_popcount(m);
#else
	return ldb_count_less8_32(p, q) + ldb_count_less8_32(p + 8, q);
#endif
}

/* The same of 8 keys, of 16, and of as many as a cache line has. */
#if LDB_KEY_BITS == 32
#define ldb_count_less8 ldb_count_less8_32
#define ldb_count_less16 ldb_count_less16_32
#define ldb_count_less_line ldb_count_less16_32
#else
#define ldb_count_less8 ldb_count_less8_64
#define ldb_count_less16 ldb_count_less16_64
#define ldb_count_less_line ldb_count_less8_64
#endif

/* Which of the eight numbers at p are equal to q: bit i for p[i]. */
static inline unsigned ldb_equal8(const uint64_t *p, uint64_t q)
{
#if defined(__AVX512F__)
	return _mm512_cmpeq_epi64_mask(_mm512_loadu_si512(p), _mm512_set1_epi64((long long)q));
#elif defined(__AVX2__)
	const __m256i x = _mm256_set1_epi64x((long long)q);
	const __m256i a = _mm256_cmpeq_epi64(_mm256_loadu_si256((const __m256i *)p), x);
	const __m256i b = _mm256_cmpeq_epi64(_mm256_loadu_si256((const __m256i *)(p + 4)), x);
	return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(a)) |
	       (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(b)) << 4;
#else
	unsigned equal = 0;
	for (unsigned i = 0; i < 8; i++)
		equal |= (unsigned)(p[i] == q) << i;
	return equal;
#endif
}

/*
 * Rank of the first key >= q in the sorted keys p[0..n): branchless halving down to a window of at
 * most 16 keys, then compare and count. Reads nothing outside p[0..n).
 */
static inline size_t ldb_lower_bound(const ldb_key *p, size_t n, ldb_key q)
{
	const ldb_key *base = p;
	while (n > 16) {
		size_t half = n / 2;
		base += base[half - 1] < q ? half : 0;
		n -= half;
	}
	size_t rank = (size_t)(base - p);
	if (n >= 8) {
		unsigned c = ldb_count_less8(base, q);
		if (c < 8)
			return rank + c;
		/* The last eight keys overlap the first eight; those in the overlap are all < q. */
		return rank + n - 8 + ldb_count_less8(base + n - 8, q);
	}
	for (size_t i = 0; i < n; i++)
		rank += base[i] < q;
	return rank;
}

#endif
