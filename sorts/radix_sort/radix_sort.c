/*
 * radix_sort: by digits of 8 bits from the lowest up, between the array and a second one (Seward
 * 1954; Knuth vol. 3, 5.2.5), with full lines written past the cache (software write combining:
 * Satish et al., SIGMOD 2010; Balkesen, Teubner, Alonso, Ozsu, ICDE 2013).
 *
 * One pass over the keys counts all digits. A digit that all keys share needs no pass, so that
 * narrow keys cost what they should. Stable; 8 bytes a key (16 a pair) and 150 KiB beside the
 * input.
 *
 * Elements are `words` words long, key first; that is a constant where functions are inlined.
 */
#include <stdbool.h>
#include <string.h>

#include "ldb/sort.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { DIGITS = 8, VALUES = 256, LINE_WORDS = 8 };

typedef struct {
	size_t count[DIGITS][VALUES];
	size_t next[VALUES]; /* element that the next one with this digit becomes */
	/* The last elements of each value, at their place in a line. */
	uint64_t line[VALUES][LINE_WORDS] __attribute__((aligned(64)));
} state;

INLINE size_t digit_of(uint64_t key, unsigned digit)
{
	return key >> (8 * digit) & (VALUES - 1);
}

INLINE void count_digits(state *s, const uint64_t *elements, const size_t words, size_t n)
{
	memset(s->count, 0, sizeof s->count);
	for (size_t i = 0; i < n; i++) {
		for (unsigned d = 0; d < DIGITS; d++)
			s->count[d][digit_of(elements[i * words], d)]++;
	}
}

/* Elements [first, end) of one line, to their places. */
INLINE void copy_range(const uint64_t *line, uint64_t *to, const size_t words, size_t first,
		       size_t end)
{
	const size_t at = first * words % LINE_WORDS;
	if (first < end)
		memcpy(to + first * words, line + at, (end - first) * words * sizeof *to);
}

/* A whole line to where it belongs; without reading that first, where lines of memory are meant. */
INLINE void write_line(uint64_t *to, const uint64_t *line, bool aligned)
{
#if defined(__AVX512F__)
	if (aligned) {
		_mm512_stream_si512((void *)to, _mm512_load_si512(line));
		return;
	}
#elif defined(__SSE2__)
	for (size_t w = 0; aligned && w < LINE_WORDS; w += 2)
		_mm_stream_si128((__m128i *)(void *)(to + w),
				 _mm_load_si128((const __m128i *)(const void *)(line + w)));
	if (aligned)
		return;
#endif
	(void)aligned;
	memcpy(to, line, LINE_WORDS * sizeof *to);
}

INLINE void distribute(state *s, const uint64_t *from, uint64_t *to, const size_t words, size_t n,
		       unsigned digit)
{
	const bool aligned = (uintptr_t)to % sizeof *s->line == 0;
	const size_t mask = LINE_WORDS / words - 1; /* of an element in its line */
	size_t start[VALUES];
	for (size_t v = 0, at = 0; v < VALUES; v++) {
		start[v] = s->next[v] = at;
		at += s->count[digit][v];
	}
	for (size_t i = 0; i < n; i++) {
		const size_t v = digit_of(from[i * words], digit), at = s->next[v]++;
		for (size_t w = 0; w < words; w++)
			s->line[v][(at & mask) * words + w] = from[i * words + w];
		if ((at & mask) == mask) {
			const size_t first = at - mask;
			if (first >= start[v])
				write_line(to + first * words, s->line[v], aligned);
			else /* the line begins with another digit's last elements */
				copy_range(s->line[v], to, words, start[v], at + 1);
		}
	}
	for (size_t v = 0; v < VALUES; v++) { /* lines that didn't become full */
		const size_t line = s->next[v] & ~mask;
		copy_range(s->line[v], to, words, line > start[v] ? line : start[v], s->next[v]);
	}
}

INLINE bool shared_by_all(const state *s, const uint64_t *elements, size_t n, unsigned digit)
{
	return s->count[digit][digit_of(elements[0], digit)] == n;
}

INLINE void sort_words(state *s, uint64_t *elements, uint64_t *room, const size_t words, size_t n)
{
	uint64_t *from = elements, *to = room;
	count_digits(s, elements, words, n);
	for (unsigned d = 0; d < DIGITS; d++) {
		if (shared_by_all(s, from, n, d))
			continue;
		distribute(s, from, to, words, n, d);
		uint64_t *const swap = from;
		from = to;
		to = swap;
	}
	if (from != elements)
		memcpy(elements, from, n * words * sizeof *elements);
}

static ldb_status sort(uint64_t *elements, size_t words, size_t n, ldb_error *err)
{
	const size_t bytes = n * words * sizeof *elements;
	if (n < 2)
		return LDB_OK;
	state *s = ldb_alloc(sizeof *s);
	uint64_t *room = ldb_alloc(bytes);
	if (s && room) {
		if (words == 1)
			sort_words(s, elements, room, 1, n);
		else
			sort_words(s, elements, room, 2, n);
	}
	const bool good = s && room;
	ldb_free(s, sizeof *s);
	ldb_free(room, bytes);
	return good ? LDB_OK : ldb_fail_oom(err, "radix_sort: second array", bytes);
}

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t threads, const double *params,
			    ldb_error *err)
{
	(void)threads, (void)params;
	return sort(keys, 1, n, err);
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t threads, const double *params,
			     ldb_error *err)
{
	(void)threads, (void)params;
	return sort((uint64_t *)pairs, 2, n, err);
}

static const ldb_sort table = {
	.abi = LDB_SORT_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "radix_sort",
	.summary = "LSD radix sort with write combining, without digits that all keys share",
	.origin = "Seward 1954; Satish et al., SIGMOD 2010",
	.flags = LDB_STABLE,
	.peak_bytes_per_key = 8,
	.sort_keys = sort_keys,
	.sort_pairs = sort_pairs,
};

LDB_EXPORT_SORT(table)
