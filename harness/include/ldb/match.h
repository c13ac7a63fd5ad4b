/*
 * The output of a join, the same for all: matches go into a buffer that stays in the L1 cache; when
 * it is full they are counted, added to the checksum, and copied out where the caller wants them.
 * So a match costs every join one store, no branch depends on whether there is one, and both output
 * modes run the same code.
 *
 * Each thread has a sink of its own, on its stack. Copies out go to a part of the output that a
 * thread reserves for itself by one addition.
 */
#ifndef LDB_MATCH_H
#define LDB_MATCH_H

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "ldb/join.h"
#include "ldb/simd.h"

enum {
	LDB_SINK_HELD = 1024, /* matches in the buffer when it is flushed */
	LDB_SINK_ROOM = 64,   /* matches that have room after ldb_sink_check */
};

typedef struct {
	ldb_match *out;      /* of the whole join; NULL: matches are not kept */
	atomic_size_t *used; /* how many of `out` are taken, by all threads */
	/* What is put are ranks in a sorted copy of a side, and these are its rows; NULL: rows. */
	const uint32_t *build_rows, *probe_rows;
	uint64_t count, checksum;
	size_t held;
	_Alignas(64) ldb_match buffer[LDB_SINK_HELD + LDB_SINK_ROOM];
} ldb_sink;

static inline void ldb_sink_open(ldb_sink *sink, const ldb_join_input *input, atomic_size_t *used)
{
	sink->out = input->matches;
	sink->used = used;
	sink->build_rows = sink->probe_rows = NULL;
	sink->count = sink->checksum = 0;
	sink->held = 0;
}

static inline void ldb_sink_flush(ldb_sink *sink)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < sink->held && sink->build_rows; i++)
		sink->buffer[i].build_row = sink->build_rows[sink->buffer[i].build_row];
	for (size_t i = 0; i < sink->held && sink->probe_rows; i++)
		sink->buffer[i].probe_row = sink->probe_rows[sink->buffer[i].probe_row];
	for (size_t i = 0; i < sink->held; i++)
		sum += ldb_match_hash(sink->buffer[i].build_row, sink->buffer[i].probe_row);
	sink->checksum += sum;
	sink->count += sink->held;
	if (sink->out && sink->held) {
		const size_t at =
			atomic_fetch_add_explicit(sink->used, sink->held, memory_order_relaxed);
		memcpy(sink->out + at, sink->buffer, sink->held * sizeof *sink->buffer);
	}
	sink->held = 0;
}

/* Makes room for LDB_SINK_ROOM matches more. */
static inline void ldb_sink_check(ldb_sink *sink)
{
	if (sink->held >= LDB_SINK_HELD)
		ldb_sink_flush(sink);
}

/* Puts a match where there is one; there must be room. */
static inline void ldb_sink_put(ldb_sink *sink, uint32_t build_row, uint32_t probe_row,
				bool is_match)
{
	sink->buffer[sink->held] = (ldb_match){build_row, probe_row};
	sink->held += is_match;
}

/* The same for any number of matches one after the other. */
static inline void ldb_sink_add(ldb_sink *sink, uint32_t build_row, uint32_t probe_row)
{
	ldb_sink_put(sink, build_row, probe_row, true);
	ldb_sink_check(sink);
}

#if defined(__AVX512F__)
/* Puts up to eight matches: those of the lanes in `mask`, each a build row with its probe row in
 * the upper half. There must be room for eight. (Compressing in a register and storing all of it
 * is as fast on every processor, compressing into memory is not.) */
static inline void ldb_sink_put8(ldb_sink *sink, __mmask8 mask, __m512i matches)
{
	_mm512_storeu_si512(sink->buffer + sink->held, _mm512_maskz_compress_epi64(mask, matches));
	sink->held += (unsigned)__builtin_popcount(mask);
}
#endif

/* Adds what a thread found to the result, which no other thread may change meanwhile. */
static inline void ldb_sink_close(ldb_sink *sink, ldb_join_result *result)
{
	ldb_sink_flush(sink);
	result->count += sink->count;
	result->checksum += sink->checksum;
}

/* --- phases ----------------------------------------------------------------------------------- */

static inline uint64_t ldb_phase_start(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Books the time since *start to a phase and starts the next one. */
static inline void ldb_phase_end(ldb_join_result *result, int phase, uint64_t *start)
{
	const uint64_t now = ldb_phase_start();
	result->phase_ns[phase] += (double)(now - *start);
	*start = now;
}

#endif
