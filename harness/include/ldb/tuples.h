/*
 * Tuples of a join (a key and its row), their hash, and how they are split into parts with software
 * write combining.
 *
 * A part's tuples are gathered in a cache line of its own and written out when it is full. So a
 * split into thousands of parts writes whole lines, and the lines it gathers in stay in the cache,
 * with few entries of the TLB (Satish et al., Fast Sort on CPUs and GPUs, SIGMOD 2010; Balkesen,
 * Teubner, Alonso, Oezsu, Main-Memory Hash Joins on Multi-Core CPUs, ICDE 2013; Schuh, Chen,
 * Dittrich, An Experimental Comparison of Thirteen Relational Equi-Joins, SIGMOD 2016).
 */
#ifndef LDB_TUPLES_H
#define LDB_TUPLES_H

#include <string.h>

#include "ldb/simd.h"

typedef struct {
	ldb_key key;
	uint64_t row; /* below 2^32 */
} ldb_tuple;

/*
 * One multiplication and a fold on either side. The upper half chooses a part, the lower half a
 * slot in the part's table; they may be taken from one hash, as both depend on all of the key.
 */
static inline uint64_t ldb_hash(ldb_key key)
{
	uint64_t h = key ^ key >> 32;
	h *= 0x9e3779b97f4a7c15u; /* 2^64 divided by the golden ratio: Knuth, vol. 3, 6.4 */
	return h ^ h >> 32;
}

/* --- splitting -------------------------------------------------------------------------------- */

enum { LDB_LINE_TUPLES = 4, LDB_MAX_PARTS = 4096 };

typedef struct {
	_Alignas(64) ldb_tuple tuple[LDB_LINE_TUPLES];
} ldb_tuple_line;

/* Writes a whole line past the caches, without reading what was there. */
static inline void ldb_stream_line(ldb_tuple *to, const ldb_tuple_line *line)
{
#if defined(__AVX512F__)
	_mm512_stream_si512((void *)to, _mm512_load_si512(line));
#elif defined(__SSE2__)
	for (size_t i = 0; i < LDB_LINE_TUPLES; i++)
		_mm_stream_si128((__m128i *)(to + i),
				 _mm_load_si128((const __m128i *)&line->tuple[i]));
#else
	memcpy(to, line, sizeof *line);
#endif
}

/*
 * Writes the tuples of keys[from..to) to their parts. part[i] says which one keys[i] goes to, and
 * at[part] where in `out` (64-byte aligned) the next tuple of it goes; it is moved on. Lines has
 * one line for each part. Ranges of different threads may share lines of `out`.
 */
static inline void ldb_split(const ldb_key *keys, size_t from, size_t to, const uint16_t *part,
			     size_t parts, uint32_t *at, ldb_tuple_line *lines, ldb_tuple *out)
{
	uint32_t first[LDB_MAX_PARTS];
	memcpy(first, at, parts * sizeof *at);
	for (size_t i = from; i < to; i++) {
		const size_t p = part[i], end = at[p] + 1;
		lines[p].tuple[at[p] % LDB_LINE_TUPLES] = (ldb_tuple){keys[i], i};
		at[p] = (uint32_t)end;
		if (end % LDB_LINE_TUPLES)
			continue;
		if (end - first[p] >= LDB_LINE_TUPLES)
			ldb_stream_line(out + end - LDB_LINE_TUPLES, &lines[p]);
		else /* the line begins with tuples of another part */
			for (size_t k = first[p]; k < end; k++)
				out[k] = lines[p].tuple[k % LDB_LINE_TUPLES];
	}
	for (size_t p = 0; p < parts; p++) {
		size_t k = at[p] - at[p] % LDB_LINE_TUPLES;
		for (k = k < first[p] ? first[p] : k; k < at[p]; k++)
			out[k] = lines[p].tuple[k % LDB_LINE_TUPLES];
	}
#if defined(__SSE2__)
	_mm_sfence(); /* before another thread is told of them */
#endif
}

#endif
