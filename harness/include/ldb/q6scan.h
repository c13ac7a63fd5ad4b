/*
 * What all paths of Q6 share: sums over a range of rows, with some of the filters left to apply,
 * and the sorting of rows. AVX-512, AVX2 or scalar, with the same answers (tests/test_q6.c).
 */
#ifndef LDB_Q6SCAN_H
#define LDB_Q6SCAN_H

#include <stdbool.h>
#include <string.h>

#include "ldb/q6.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Columns of rows in some order; NULL: not held, and no filter asks for it. */
typedef struct {
	uint16_t *shipdate;
	uint8_t *discount;
	uint16_t *quantity;
	uint32_t *price;
} ldb_q6_rows;

/* What is left to be done with each row; always a constant. */
enum {
	LDB_Q6_DATE = 1,
	LDB_Q6_DISCOUNT = 2,
	LDB_Q6_QUANTITY = 4,
	LDB_Q6_PRICE = 8, /* sum prices alone: all rows have the same discount */
	LDB_Q6_RARE = 16, /* few rows match: look before reading prices */
};

static inline bool ldb_q6_is_empty(const ldb_q6_query *q)
{
	return q->from >= q->to || q->low > q->high || q->below == 0;
}

#define LDB_Q6_INLINE static inline __attribute__((always_inline, unused))

/* The sum one row at a time. */
LDB_Q6_INLINE uint64_t ldb_q6_sum_scalar(const ldb_q6_rows *r, size_t begin, size_t end,
					 const ldb_q6_query *q, unsigned filters)
{
	const uint16_t days = (uint16_t)(q->to - 1 - q->from);
	const uint8_t rates = (uint8_t)(q->high - q->low);
	uint64_t sum = 0;
	for (size_t i = begin; i < end; i++) {
		uint64_t keep = ~(uint64_t)0;
		if (filters & LDB_Q6_DATE)
			keep &= -(uint64_t)((uint16_t)(r->shipdate[i] - q->from) <= days);
		if (filters & LDB_Q6_DISCOUNT)
			keep &= -(uint64_t)((uint8_t)(r->discount[i] - q->low) <= rates);
		if (filters & LDB_Q6_QUANTITY)
			keep &= -(uint64_t)(r->quantity[i] < q->below);
		sum += (filters & LDB_Q6_PRICE ? r->price[i]
					       : (uint64_t)r->price[i] * r->discount[i]) &
		       keep;
	}
	return sum;
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)

/* Which of 32 rows match, of those that are `live`. */
LDB_Q6_INLINE __mmask32 ldb_q6_match(const ldb_q6_rows *r, size_t i, __mmask32 live,
				     const ldb_q6_query *q, unsigned filters)
{
	const __m512i from = _mm512_set1_epi16((short)q->from);
	const __m512i days = _mm512_set1_epi16((short)(q->to - 1 - q->from));
	const __m256i low = _mm256_set1_epi8((char)q->low);
	const __m256i rates = _mm256_set1_epi8((char)(q->high - q->low));
	const __m512i below = _mm512_set1_epi16((short)q->below);
	__mmask32 m = live;
	if (filters & LDB_Q6_DATE) {
		const __m512i date = _mm512_maskz_loadu_epi16(live, r->shipdate + i);
		m = _mm512_mask_cmple_epu16_mask(m, _mm512_sub_epi16(date, from), days);
	}
	if (filters & LDB_Q6_DISCOUNT) {
		const __m256i discount = _mm256_maskz_loadu_epi8(live, r->discount + i);
		m = _mm256_mask_cmple_epu8_mask(m, _mm256_sub_epi8(discount, low), rates);
	}
	if (filters & LDB_Q6_QUANTITY) {
		const __m512i quantity = _mm512_maskz_loadu_epi16(live, r->quantity + i);
		m = _mm512_mask_cmplt_epu16_mask(m, quantity, below);
	}
	return m;
}

/* What 16 rows add to each of 8 sums. */
LDB_Q6_INLINE __m512i ldb_q6_add16(const ldb_q6_rows *r, size_t i, __mmask16 m, unsigned filters)
{
	const __m512i price = _mm512_maskz_loadu_epi32(m, r->price + i);
	const __m512i odd = _mm512_srli_epi64(price, 32);
	if (filters & LDB_Q6_PRICE)
		return _mm512_add_epi64(_mm512_and_si512(price, _mm512_set1_epi64(0xffffffff)),
					odd);
	const __m512i rate = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m, r->discount + i));
	return _mm512_add_epi64(_mm512_mul_epu32(price, rate),
				_mm512_mul_epu32(odd, _mm512_srli_epi64(rate, 32)));
}

LDB_Q6_INLINE uint64_t ldb_q6_sum(const ldb_q6_rows *r, size_t begin, size_t end,
				  const ldb_q6_query *q, unsigned filters)
{
	__m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
	for (size_t i = begin; i < end; i += 32) {
		const size_t left = end - i;
		const __mmask32 live = left < 32 ? (1u << left) - 1 : ~0u;
		const __mmask32 m = ldb_q6_match(r, i, live, q, filters);
		if ((filters & LDB_Q6_RARE) && !m)
			continue;
		sum[0] = _mm512_add_epi64(sum[0], ldb_q6_add16(r, i, (__mmask16)m, filters));
		sum[1] = _mm512_add_epi64(sum[1],
					  ldb_q6_add16(r, i + 16, (__mmask16)(m >> 16), filters));
	}
	return (uint64_t)_mm512_reduce_add_epi64(_mm512_add_epi64(sum[0], sum[1]));
}

#elif defined(__AVX2__)

/* 16 lanes of 16 bits, all ones where the row matches. AVX2 has no unsigned comparison: x <= y when
 * the lesser of both is x. */
LDB_Q6_INLINE __m256i ldb_q6_match(const ldb_q6_rows *r, size_t i, const ldb_q6_query *q,
				   unsigned filters)
{
	const __m256i from = _mm256_set1_epi16((short)q->from);
	const __m256i days = _mm256_set1_epi16((short)(q->to - 1 - q->from));
	const __m128i low = _mm_set1_epi8((char)q->low);
	const __m128i rates = _mm_set1_epi8((char)(q->high - q->low));
	const __m256i most = _mm256_set1_epi16((short)(q->below - 1));
	__m256i m = _mm256_set1_epi16(-1);
	if (filters & LDB_Q6_DATE) {
		const __m256i date = _mm256_loadu_si256((const __m256i *)(r->shipdate + i));
		const __m256i x = _mm256_sub_epi16(date, from);
		m = _mm256_cmpeq_epi16(_mm256_min_epu16(x, days), x);
	}
	if (filters & LDB_Q6_DISCOUNT) {
		const __m128i discount = _mm_loadu_si128((const __m128i *)(r->discount + i));
		const __m128i x = _mm_sub_epi8(discount, low);
		const __m128i in = _mm_cmpeq_epi8(_mm_min_epu8(x, rates), x);
		m = _mm256_and_si256(m, _mm256_cvtepi8_epi16(in));
	}
	if (filters & LDB_Q6_QUANTITY) {
		const __m256i x = _mm256_loadu_si256((const __m256i *)(r->quantity + i));
		m = _mm256_and_si256(m, _mm256_cmpeq_epi16(_mm256_min_epu16(x, most), x));
	}
	return m;
}

/* What 8 rows add to each of 4 sums. */
LDB_Q6_INLINE __m256i ldb_q6_add8(const ldb_q6_rows *r, size_t i, __m128i m, unsigned filters)
{
	__m256i price = _mm256_loadu_si256((const __m256i *)(r->price + i));
	price = _mm256_and_si256(price, _mm256_cvtepi16_epi32(m));
	const __m256i odd = _mm256_srli_epi64(price, 32);
	if (filters & LDB_Q6_PRICE)
		return _mm256_add_epi64(_mm256_and_si256(price, _mm256_set1_epi64x(0xffffffff)),
					odd);
	const __m128i bytes = _mm_loadl_epi64((const __m128i *)(r->discount + i));
	const __m256i rate = _mm256_cvtepu8_epi32(bytes);
	return _mm256_add_epi64(_mm256_mul_epu32(price, rate),
				_mm256_mul_epu32(odd, _mm256_srli_epi64(rate, 32)));
}

LDB_Q6_INLINE uint64_t ldb_q6_sum(const ldb_q6_rows *r, size_t begin, size_t end,
				  const ldb_q6_query *q, unsigned filters)
{
	__m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
	size_t i = begin;
	for (; i + 16 <= end; i += 16) {
		const __m256i m = ldb_q6_match(r, i, q, filters);
		if ((filters & LDB_Q6_RARE) && _mm256_testz_si256(m, m))
			continue;
		const __m128i first = _mm256_castsi256_si128(m);
		const __m128i second = _mm256_extracti128_si256(m, 1);
		sum[0] = _mm256_add_epi64(sum[0], ldb_q6_add8(r, i, first, filters));
		sum[1] = _mm256_add_epi64(sum[1], ldb_q6_add8(r, i + 8, second, filters));
	}
	uint64_t lanes[4];
	_mm256_storeu_si256((__m256i *)lanes, _mm256_add_epi64(sum[0], sum[1]));
	return lanes[0] + lanes[1] + lanes[2] + lanes[3] + ldb_q6_sum_scalar(r, i, end, q, filters);
}

#else

LDB_Q6_INLINE uint64_t ldb_q6_sum(const ldb_q6_rows *r, size_t begin, size_t end,
				  const ldb_q6_query *q, unsigned filters)
{
	return ldb_q6_sum_scalar(r, begin, end, q, filters);
}

#endif

/* --- rows in another order -------------------------------------------------------------------- */

/* Row numbers while they are sorted, and room for the next pass. */
typedef struct {
	uint32_t *row, *spare;
	uint32_t *begins; /* of each value, 65,537 */
	size_t n;
} ldb_q6_order;

#define LDB_Q6_VALUES ((size_t)65536)

static inline void ldb_q6_order_free(ldb_q6_order *o)
{
	ldb_free(o->row, o->n * sizeof *o->row);
	ldb_free(o->spare, o->n * sizeof *o->spare);
	ldb_free(o->begins, (LDB_Q6_VALUES + 1) * sizeof *o->begins);
}

/* All rows in their order. False when there is no memory. */
static inline bool ldb_q6_order_make(ldb_q6_order *o, size_t n)
{
	*o = (ldb_q6_order){.n = n};
	o->row = (uint32_t *)ldb_alloc(n * sizeof *o->row);
	o->spare = (uint32_t *)ldb_alloc(n * sizeof *o->spare);
	o->begins = (uint32_t *)ldb_alloc((LDB_Q6_VALUES + 1) * sizeof *o->begins);
	if (!o->row || !o->spare || !o->begins) {
		ldb_q6_order_free(o);
		return false;
	}
	for (size_t i = 0; i < n; i++)
		o->row[i] = (uint32_t)i;
	return true;
}

/* Sorts by value(from, row), by counting; equal ones keep their order. */
LDB_Q6_INLINE void ldb_q6_order_by(ldb_q6_order *o, uint16_t (*value)(const void *, size_t),
				   const void *from)
{
	memset(o->begins, 0, (LDB_Q6_VALUES + 1) * sizeof *o->begins);
	for (size_t i = 0; i < o->n; i++)
		o->begins[(size_t)value(from, i) + 1]++;
	for (size_t v = 0; v < LDB_Q6_VALUES; v++)
		o->begins[v + 1] += o->begins[v];
	for (size_t i = 0; i < o->n; i++)
		o->spare[o->begins[value(from, o->row[i])]++] = o->row[i];
	uint32_t *swap = o->row;
	o->row = o->spare;
	o->spare = swap;
}

static inline uint16_t ldb_q6_value16(const void *column, size_t row)
{
	return ((const uint16_t *)column)[row];
}

static inline uint16_t ldb_q6_value8(const void *column, size_t row)
{
	return ((const uint8_t *)column)[row];
}

static inline void ldb_q6_rows_free(ldb_q6_rows *r, size_t n)
{
	ldb_free(r->shipdate, n * sizeof *r->shipdate);
	ldb_free(r->discount, n * sizeof *r->discount);
	ldb_free(r->quantity, n * sizeof *r->quantity);
	ldb_free(r->price, n * sizeof *r->price);
	memset(r, 0, sizeof *r);
}

static inline size_t ldb_q6_rows_bytes(const ldb_q6_rows *r, size_t n)
{
	return n * ((r->shipdate ? 2u : 0) + (r->discount ? 1u : 0) + (r->quantity ? 2u : 0) +
		    (r->price ? 4u : 0));
}

/* Copies all columns in that order. False when there is no memory: then nothing is held. */
static inline bool ldb_q6_rows_copy(ldb_q6_rows *r, const ldb_q6_input *in, const ldb_q6_order *o)
{
	const size_t n = in->n;
	r->shipdate = (uint16_t *)ldb_alloc(n * sizeof *r->shipdate);
	r->discount = (uint8_t *)ldb_alloc(n * sizeof *r->discount);
	r->quantity = (uint16_t *)ldb_alloc(n * sizeof *r->quantity);
	r->price = (uint32_t *)ldb_alloc(n * sizeof *r->price);
	if (!r->shipdate || !r->discount || !r->quantity || !r->price) {
		ldb_q6_rows_free(r, n);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		const size_t row = o->row[i];
		r->shipdate[i] = in->shipdate[row];
		r->discount[i] = in->discount[row];
		r->quantity[i] = in->quantity[row];
		r->price[i] = in->price[row];
	}
	return true;
}

/*
 * Running sums: sums[i] is what the rows before i add up to. Of rows that all match, the answer is
 * then a difference of two, however many they are (as in Flood, for ranges that need no
 * comparison). NULL when there is no memory.
 */
static inline uint64_t *ldb_q6_running_sums(const ldb_q6_rows *r, size_t n)
{
	uint64_t *sums = (uint64_t *)ldb_alloc((n + 1) * sizeof *sums), sum = 0;
	for (size_t i = 0; sums && i <= n; i++) {
		sums[i] = sum;
		sum += i < n ? (uint64_t)r->price[i] * r->discount[i] : 0;
	}
	return sums;
}

/* The rows sorted by ship date. False when there is no memory. */
static inline bool ldb_q6_cluster_by_date(ldb_q6_rows *r, const ldb_q6_input *in)
{
	ldb_q6_order order;
	if (!ldb_q6_order_make(&order, in->n))
		return false;
	ldb_q6_order_by(&order, ldb_q6_value16, in->shipdate);
	const bool copied = ldb_q6_rows_copy(r, in, &order);
	ldb_q6_order_free(&order);
	return copied;
}

/* How many of values[lo..lo + n) are < v; n <= 32. */
static inline size_t ldb_q6_count_less(const uint16_t *values, size_t lo, size_t n, uint16_t v)
{
#if defined(__AVX512BW__)
	const __mmask32 live = (__mmask32)((1ull << n) - 1);
	const __m512i x = _mm512_maskz_loadu_epi16(live, values + lo);
	return (size_t)__builtin_popcount(
		_mm512_mask_cmplt_epu16_mask(live, x, _mm512_set1_epi16((short)v)));
#else
	size_t less = 0;
	for (size_t i = 0; i < n; i++)
		less += values[lo + i] < v;
	return less;
#endif
}

/* Rank of the first of the sorted values[lo..hi) that is >= v: halving, then a count. */
static inline size_t ldb_q6_lower_bound(const uint16_t *values, size_t lo, size_t hi, uint16_t v)
{
	size_t n = hi - lo;
	while (n > 32) {
		const size_t half = n / 2;
		lo += half & (0 - (size_t)(values[lo + half - 1] < v));
		n -= half;
	}
	return lo + ldb_q6_count_less(values, lo, n, v);
}

#endif
