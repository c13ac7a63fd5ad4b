/*
 * learned_sort: one pass that partitions by a learned model, then SIMD quicksort in the cache.
 *
 *   keys ---scan---> in order, or in reverse order: done (order.c)
 *     |
 *     | sample ----> a model of the keys' distribution (model.c)
 *     v
 *   the model gives the number of the bucket, for 8 keys at once
 *     |
 *     v
 *   buckets: chains of 8 KiB blocks (scatter.c)
 *     |
 *     v
 *   each bucket sorted in the second-level cache, to its place (leaf.c)
 *
 * What it costs. Whatever the distribution, a key is read and written twice in main memory: on its
 * way to the bucket, and on its way back. Chains need no histogram of bucket sizes, so there is no
 * third pass. A vectorised quicksort passes over memory once for each bit of n until its parts fit
 * into a cache; once they do, nothing is faster, for it moves eight keys in a few cycles.
 *
 * Keys that come again and again need no care of their own: where the bounds of a part meet, it is
 * one key, and filled.
 *
 * Memory. Beside the n elements: n in blocks, for each bucket and thread up to two blocks that
 * aren't full, and for each thread room for the largest bucket (of pairs: 2.5 times that).
 *
 * Never quadratic. Quicksort cuts the range of values in half when its pivots were bad too often:
 * at most 64 times.
 *
 * Stable for pairs: chains keep the order of arrival, the chains of several threads follow each
 * other as their parts of the input do, and leaves sort by key and position.
 *
 * Related work: partition by a model, then finish in the cache: LearnedSort (Kristo, Vaidya,
 * Cetintemel, Misra, Kraska, SIGMOD 2020). Blocks: IPS4o (Axtmann, Witt, Ferizovic, Sanders, ESA
 * 2017). Quicksort with SIMD down to networks: vqsort (Blacher, Giesen, Sanders, Wassenberg 2022).
 * Own: the log-linear model for eight keys at once, pivots by interpolation, and networks on
 * doubles.
 */
#ifndef LEARNED_SORT_H
#define LEARNED_SORT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ldb/sort.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define LS_AVX512 1
#else
#define LS_AVX512 0
#endif

/* An element is `words` words long, its key first: 1 for keys, 2 for pairs. `words` is a constant
 * wherever functions that take it are inlined. */
#define LS_INLINE static inline __attribute__((always_inline))

/* Functions that ask for lines in order to write them. */
#ifdef __x86_64__
#define LS_PREFETCHES __attribute__((target("prfchw")))
#else
#define LS_PREFETCHES
#endif

enum {
	LS_PAGE_WORDS = 512, /* the processor's own prefetching stops at the end of a page */
	LS_BLOCK_BYTES = 8192,
	LS_MOST_BUCKETS = 2048,
	LS_MOST_THREADS = 64,
};

/* Any number of bytes, as a multiple of a cache line. */
static inline size_t ls_round(size_t bytes)
{
	return (bytes + 63) & ~(size_t)63;
}

/* --- order.c: input that is in order already -------------------------------------------------- */

/* True, and the elements ascend, where they ascended or descended before. Stable. */
bool ls_in_order(uint64_t *elements, size_t n, size_t words);

/* --- model.c: from keys to buckets ------------------------------------------------------------ */

/*
 * A monotone map. The distance of a key from `base`, as a double, is cut behind its exponent and
 * the first bits of its mantissa: that is the segment, of which each octave has as many. The bits
 * that follow say how far in the segment the key lies. A segment is as many buckets wide as the
 * sample had keys in it.
 */
typedef struct {
	ldb_key base;             /* keys below are taken for it */
	double nearest, farthest; /* distances beyond likewise */
	unsigned mantissa_bits;   /* of the segment */
	uint64_t first_segment;
	uint64_t *table; /* of a segment: where it starts (upper half) and how wide it is (lower),
			    in buckets with LS_POINT bits behind the point */
	size_t segments, buckets;
} ls_model;

#define LS_POINT 16

/* Learns from the sorted keys sample[0..n), n > 0. False when there is no memory. */
bool ls_model_learn(ls_model *self, const ldb_key *sample, size_t n, size_t buckets);
void ls_model_free(ls_model *self);

/* --- scatter.c: elements to buckets ----------------------------------------------------------- */

/* The blocks of a bucket, by their numbers. */
typedef struct {
	uint32_t first, last, blocks;
} ls_chain;

/* What one thread distributes. Blocks are in slabs. */
typedef struct {
	size_t buckets, blocks, used, slabs;
	uint64_t **end; /* of each bucket: where its next element goes */
	ls_chain *chain;
	uint32_t *next;  /* block of a chain */
	uint64_t **slab; /* the blocks */
	void *all;       /* but the slabs */
	size_t bytes;
} ls_chains;

/* A run of elements in memory. */
typedef struct {
	const uint64_t *data;
	size_t count;
} ls_piece;

/* Room for n elements in so many buckets. False when there is no memory. */
bool ls_chains_make(ls_chains *self, size_t n, size_t words, size_t buckets);
void ls_chains_free(ls_chains *self);
void ls_chains_add(ls_chains *self, const ls_model *model, const uint64_t *elements, size_t words,
		   size_t n);
size_t ls_chains_count(const ls_chains *self, size_t words, size_t bucket);
/* Lists the pieces of a bucket, of which one may be empty; returns how many. */
size_t ls_chains_pieces(const ls_chains *self, size_t words, size_t bucket, ls_piece *out);

/* --- leaf.c: sorting in the cache ------------------------------------------------------------- */

/* Lines that are asked for while something else is sorted: pieces to read, a run to write. */
typedef struct {
	const ls_piece *pieces;
	size_t count, at; /* pieces that are left, words that the first of them is ahead */
	uint64_t *out, *out_end;
} ls_ahead;

/* Sorts the pieces' n > 0 keys to out[0..n). Pieces, out, and room for n keys lie apart. */
void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out,
		    ls_ahead *ahead);
/* Sorts keys[0..n) with room for as many. */
void ls_leaf(ldb_key *keys, size_t n, ldb_key *room);

/* --- pairs.c: the same for pairs -------------------------------------------------------------- */

/* In words. */
size_t ls_pairs_room(size_t n);
/* Sorts the pieces' n > 0 pairs to out, which may be where they are. Stable. */
void ls_pairs_pieces(const ls_piece *pieces, size_t count, size_t n, uint64_t *room, uint64_t *out);

#endif
