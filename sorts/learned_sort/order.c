/*
 * Input that is in order already, ascending or descending: a scan that ends at the first element
 * that isn't, and so costs nothing where there is no order.
 */
#include "learned_sort.h"

/* Are the element and the one before it out of order? */
LS_INLINE bool wrong_at(const uint64_t *elements, size_t i, const size_t words, const bool down)
{
	const ldb_key before = elements[(i - 1) * words], key = elements[i * words];
	return down ? before < key : before > key;
}

/* Do the elements ascend (down: descend), equal neighbours included? */
LS_INLINE bool goes(const uint64_t *elements, size_t n, const size_t words, const bool down)
{
	size_t i = 1;
#if LS_AVX512
	enum { STEP = 64 };
	for (; i < n && (uintptr_t)(elements + i - 1) % 64; i++) {
		if (wrong_at(elements, i, words, down))
			return false;
	}
	for (; words == 1 && i + STEP + 8 <= n; i += STEP) {
		const uint64_t *block = elements + i - 1;
		__m512i eight = _mm512_load_si512(block);
		__mmask8 wrong = 0;
		for (size_t k = 8; k <= STEP; k += 8) {
			const __m512i behind = _mm512_load_si512(block + k);
			const __m512i after = _mm512_alignr_epi64(behind, eight, 1);
			__builtin_prefetch(block + k + LS_PAGE_WORDS);
			wrong |= down ? _mm512_cmplt_epu64_mask(eight, after)
				      : _mm512_cmpgt_epu64_mask(eight, after);
			eight = behind;
		}
		if (wrong)
			return false;
	}
#endif
	for (; i < n; i++) {
		if (wrong_at(elements, i, words, down))
			return false;
	}
	return true;
}

static void swap(uint64_t *a, uint64_t *b, size_t words)
{
	for (size_t w = 0; w < words; w++) {
		const uint64_t word = a[w];
		a[w] = b[w];
		b[w] = word;
	}
}

static void reverse(uint64_t *elements, size_t n, size_t words)
{
	size_t i = 0;
#if LS_AVX512
	const __m512i lanes = words == 1 ? _mm512_set_epi64(0, 1, 2, 3, 4, 5, 6, 7)
					 : _mm512_set_epi64(1, 0, 3, 2, 5, 4, 7, 6);
	const size_t step = 8 / words;
	for (; 2 * (i + step) <= n; i += step) {
		uint64_t *low = elements + i * words, *high = elements + (n - step - i) * words;
		const __m512i a = _mm512_loadu_si512(low), b = _mm512_loadu_si512(high);
		_mm512_storeu_si512(low, _mm512_permutexvar_epi64(lanes, b));
		_mm512_storeu_si512(high, _mm512_permutexvar_epi64(lanes, a));
	}
#endif
	for (; i < n / 2; i++)
		swap(elements + i * words, elements + (n - 1 - i) * words, words);
}

/* Equal pairs were reversed with the others: each run of them once more. */
static void restore_runs(uint64_t *pairs, size_t n)
{
	for (size_t i = 0, from = 0; i < n; from = i) {
		while (i < n && pairs[2 * i] == pairs[2 * from])
			i++;
		if (i - from > 1)
			reverse(pairs + 2 * from, i - from, 2);
	}
}

bool ls_in_order(uint64_t *elements, size_t n, size_t words)
{
	const bool ascends = words == 1 ? goes(elements, n, 1, false) : goes(elements, n, 2, false);
	if (ascends)
		return true;
	const bool descends = words == 1 ? goes(elements, n, 1, true) : goes(elements, n, 2, true);
	if (!descends)
		return false;
	reverse(elements, n, words);
	if (words == 2)
		restore_runs(elements, n);
	return true;
}
