/*
 * Networks that sort up to 128 keys in sixteen AVX-512 registers, or up to 64 in eight.
 *
 * The keys are the rows of a matrix with eight columns. Comparing whole registers sorts all columns
 * at once (Batcher's odd-even merge). Then neighbouring columns merge, as pairs, fours and eights,
 * each time bitonically: the first step compares one run with the other in reverse, the next ones
 * compare columns, the last ones rows again, where no lane moves. The matrix then reads in order
 * down its columns, and is transposed.
 */
#ifndef NETWORK_H
#define NETWORK_H

#include "learned_sort.h"

#define UNROLL _Pragma("GCC unroll 16")

LS_INLINE void compare(__m512d *a, __m512d *b)
{
	const __m512d low = _mm512_min_pd(*a, *b);
	*b = _mm512_max_pd(*a, *b);
	*a = low;
}

/* Sorts the columns of 8 rows, with 19 comparisons. */
LS_INLINE void sort_columns_8(__m512d *v)
{
	static const uint8_t pairs[][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}, {0, 2}, {1, 3}, {4, 6},
					   {5, 7}, {1, 2}, {5, 6}, {0, 4}, {1, 5}, {2, 6}, {3, 7},
					   {2, 4}, {3, 5}, {1, 2}, {3, 4}, {5, 6}};
	UNROLL for (size_t i = 0; i < 16; i++) compare(&v[pairs[i][0]], &v[pairs[i][1]]);
	UNROLL for (size_t i = 16; i < 19; i++) compare(&v[pairs[i][0]], &v[pairs[i][1]]);
}

/* Merges the sorted columns of rows 0 to 7 with those of rows 8 to 15. */
LS_INLINE void merge_columns_16(__m512d *v)
{
	UNROLL for (size_t i = 0; i < 8; i++) compare(&v[i], &v[i + 8]);
	UNROLL for (size_t i = 4; i < 8; i++) compare(&v[i], &v[i + 4]);
	UNROLL for (size_t i = 2; i < 12; i += 4)
	{
		compare(&v[i], &v[i + 2]);
		compare(&v[i + 1], &v[i + 3]);
	}
	UNROLL for (size_t i = 1; i < 15; i += 2) compare(&v[i], &v[i + 1]);
}

/* Sorts bitonic columns. */
LS_INLINE void clean_columns(__m512d *v, const size_t rows)
{
	if (rows == 16) {
		UNROLL for (size_t i = 0; i < 8; i++) compare(&v[i], &v[i + 8]);
	}
	UNROLL for (size_t i = 0; i < rows; i++)
	{
		if (i % 8 < 4)
			compare(&v[i], &v[i + 4]);
	}
	UNROLL for (size_t i = 0; i < rows; i++)
	{
		if (i % 4 < 2)
			compare(&v[i], &v[i + 2]);
	}
	UNROLL for (size_t i = 0; i < rows; i += 2) compare(&v[i], &v[i + 1]);
}

/* How lanes change places: each is its own inverse. */
enum { NEIGHBOURS, PAIRS, REVERSE_4, REVERSE_8 };

LS_INLINE __m512d move_lanes(__m512d v, const int how)
{
	switch (how) {
	case NEIGHBOURS:
		return _mm512_permute_pd(v, 0x55);
	case PAIRS:
		return _mm512_permutex_pd(v, 0x4e);
	case REVERSE_4:
		return _mm512_permutex_pd(v, 0x1b);
	default:
		return _mm512_permutexvar_pd(_mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7), v);
	}
}

/* The smaller keys, but in the lanes of `greater` the greater ones. */
LS_INLINE __m512d choose_lanes(__m512d a, __m512d b, const __mmask8 greater)
{
	return _mm512_mask_max_pd(_mm512_min_pd(a, b), greater, a, b);
}

/* Compares each run of columns with its neighbour in reverse order. */
LS_INLINE void fold(__m512d *v, const size_t rows, const int how, const __mmask8 greater)
{
	UNROLL for (size_t i = 0; i < rows / 2; i++)
	{
		const size_t j = rows - 1 - i;
		const __m512d a = move_lanes(v[j], how), b = move_lanes(v[i], how);
		v[i] = choose_lanes(v[i], a, greater);
		v[j] = choose_lanes(v[j], b, greater);
	}
}

/* Compares columns of the same run. */
LS_INLINE void clean_lanes(__m512d *v, const size_t rows, const int how, const __mmask8 greater)
{
	UNROLL for (size_t i = 0; i < rows; i++) v[i] =
		choose_lanes(v[i], move_lanes(v[i], how), greater);
}

LS_INLINE void transpose_8(__m512d *v)
{
	__m512d a[8], b[8];
	UNROLL for (size_t i = 0; i < 8; i += 2)
	{
		a[i] = _mm512_unpacklo_pd(v[i], v[i + 1]);
		a[i + 1] = _mm512_unpackhi_pd(v[i], v[i + 1]);
	}
	UNROLL for (size_t i = 0; i < 8; i++)
	{
		const size_t from = i / 4 * 4 + i % 2;
		b[i] = i % 4 < 2 ? _mm512_shuffle_f64x2(a[from], a[from + 2], 0x88)
				 : _mm512_shuffle_f64x2(a[from], a[from + 2], 0xdd);
	}
	UNROLL for (size_t i = 0; i < 4; i++)
	{
		v[i] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0x88);
		v[i + 4] = _mm512_shuffle_f64x2(b[i], b[i + 4], 0xdd);
	}
}

/* Lanes of the eight keys from `at` on that are among the n. */
LS_INLINE __mmask8 lanes_of(size_t n, size_t at)
{
	return (__mmask8)(n >= at + 8 ? 0xffu : n <= at ? 0 : 0xffu >> (8 - (n - at)));
}

LS_INLINE void network(const ldb_key *keys, size_t n, ldb_key lo, ldb_key *out, const size_t rows)
{
	__m512d v[16];
	const __m512i base = _mm512_set1_epi64((long long)lo);
	const __m512i infinity = _mm512_set1_epi64(0x7ff0000000000000);
	UNROLL for (size_t i = 0; i < rows; i++)
	{
		const __mmask8 lanes = lanes_of(n, 8 * i);
		const __m512i key = _mm512_maskz_loadu_epi64(lanes, keys + 8 * i);
		v[i] = _mm512_castsi512_pd(_mm512_mask_sub_epi64(infinity, lanes, key, base));
	}
	sort_columns_8(v);
	if (rows == 16) {
		sort_columns_8(v + 8);
		merge_columns_16(v);
	}
	fold(v, rows, NEIGHBOURS, 0xaa);
	clean_columns(v, rows);
	fold(v, rows, REVERSE_4, 0xcc);
	clean_lanes(v, rows, NEIGHBOURS, 0xaa);
	clean_columns(v, rows);
	fold(v, rows, REVERSE_8, 0xf0);
	clean_lanes(v, rows, PAIRS, 0xcc);
	clean_lanes(v, rows, NEIGHBOURS, 0xaa);
	clean_columns(v, rows);
	transpose_8(v);
	if (rows == 16)
		transpose_8(v + 8);
	UNROLL for (size_t i = 0; i < rows; i++)
	{
		/* Of sixteen rows, the upper eight hold the lower half of each column. */
		const size_t at = rows == 16 ? 16 * (i % 8) + 8 * (i / 8) : 8 * i;
		const __m512i key = _mm512_add_epi64(_mm512_castpd_si512(v[i]), base);
		_mm512_mask_storeu_epi64(out + at, lanes_of(n, at), key);
	}
}

static __attribute__((noinline)) void network_64(const ldb_key *keys, size_t n, ldb_key lo,
						 ldb_key *out)
{
	network(keys, n, lo, out, 8);
}

static __attribute__((noinline)) void network_128(const ldb_key *keys, size_t n, ldb_key lo,
						  ldb_key *out)
{
	network(keys, n, lo, out, 16);
}

#endif
