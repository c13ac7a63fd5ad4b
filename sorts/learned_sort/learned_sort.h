/*
 * learned_sort: one pass that partitions by a learned model, then SIMD sorting in the cache.
 *
 *   keys ---scan---> in order, or in reverse order: done (order.c)
 *     |
 *     | sample ----> heavy keys (heavy.c), and a model of all others (model.c)
 *     v
 *   chunks of 512
 *     |--- heavy keys: counted (pairs: to a bucket of their own)
 *     |--- all others: the model gives the number of the bucket, for 8 keys at once
 *     v
 *   buckets: chains of 1 KiB blocks, filled line by line past the cache (scatter.c)
 *     |
 *     v
 *   each bucket sorted in the first- or second-level cache, and written to its place (leaf.c)
 *
 * What it costs. Whatever the distribution, a key is read and written twice in main memory: on its
 * way to the bucket, and on its way back. Chains need no histogram of bucket sizes, so there is no
 * third pass. A vectorised quicksort passes over memory once for each bit of n until its parts fit
 * into a cache.
 *
 * Memory. Beside the n keys: n keys in blocks, and for each bucket, one for about 2048 keys, a
 * block that is not full and a line: 1.1 n in all. A bucket that came out too large for the cache
 * is sorted as the whole is, with blocks of its own: once more 1.1 times the size of the largest.
 * Where memory for that is refused, quicksort in the blocks at hand does without.
 *
 * Never quadratic. A bucket that is too large gets a model of its own, LS_MOST_LEVELS times at
 * most. Then, and in every leaf, quicksort cuts the range of values in half when its pivots were
 * bad too often: at most 64 times.
 *
 * Stable for pairs: chains keep the order of arrival, the chains of several threads follow each
 * other as their parts of the input do, and leaves sort by key and position.
 *
 * Related work: partition by a model, then finish in the cache: LearnedSort (Kristo, Vaidya,
 * Cetintemel, Misra, Kraska, SIGMOD 2020). Buckets of heavy keys, blocks: IPS4o (Axtmann, Witt,
 * Ferizovic, Sanders, ESA 2017). Quicksort with SIMD down to networks: vqsort (Blacher, Giesen,
 * Sanders, Wassenberg 2022). Own: the log-linear model for eight keys at once, pivots by
 * interpolation, and networks on doubles.
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

enum {
	LS_CHUNK = 512,       /* elements that get their bucket numbers at a time */
	LS_LINE = 8,          /* elements that go from a bucket's line to its block at once */
	LS_BLOCK_WORDS = 128, /* 1 KiB */
	LS_SLAB_BLOCKS = 640,
	LS_MOST_BUCKETS = 8192,
	LS_MOST_HEAVY = 2048,
	LS_MOST_THREADS = 64,
	LS_MOST_LEVELS = 3,
	LS_LEAF = 32768, /* most elements that are sorted in the second-level cache */
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

/* --- heavy.c: keys that come again and again -------------------------------------------------- */

enum { LS_SLOT_BITS = 13, LS_SLOTS = 1 << LS_SLOT_BITS };

/* The heavy keys in a hash table of one probe: those that collide are left out. */
typedef struct {
	size_t count;
	uint64_t multiplier;
	ldb_key key[LS_MOST_HEAVY];   /* sorted */
	ldb_key slot_key[LS_SLOTS];   /* a key of another slot where there is none */
	uint32_t slot_rank[LS_SLOTS]; /* which of the heavy keys it is */
} ls_heavy;

/* Takes the heavy keys out of the sorted sample, and returns how many are left in it. */
size_t ls_heavy_find(ls_heavy *self, ldb_key *sample, size_t n, size_t buckets);

/* Copies keys that aren't heavy to rest[0..return value), in order, and counts the others by slot.
 * n <= LS_CHUNK; rest has room for 8 more. */
size_t ls_heavy_count(const ls_heavy *self, const ldb_key *keys, size_t n, ldb_key *rest,
		      uint64_t *slot_counts);

size_t ls_heavy_slot(const ls_heavy *self, ldb_key key);

/* Overwrites the bucket numbers of heavy pairs: `first` + rank. */
void ls_heavy_number(const ls_heavy *self, const uint64_t *pairs, size_t n, size_t first,
		     uint16_t *numbers);

/* --- scatter.c: elements to buckets ----------------------------------------------------------- */

typedef struct {
	uint64_t *block;      /* the last of the chain */
	uint32_t first, last; /* numbers of the chain's blocks */
	uint64_t lines;       /* written to the chain, full */
} ls_bucket;

/* What one thread distributes. Blocks are in slabs. */
typedef struct {
	size_t buckets, blocks, used, slabs;
	uint64_t *lines; /* of each bucket LS_LINE elements; the last word of a line that isn't full
			    says how many there are */
	ls_bucket *bucket;
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
/* Heavy pairs go to chains of their own behind the model's; NULL: there are none. */
void ls_chains_add(ls_chains *self, const ls_model *model, const ls_heavy *heavy,
		   const uint64_t *elements, size_t words, size_t n);
/* Writes the lines that aren't full. */
void ls_chains_close(ls_chains *self, size_t words);
size_t ls_chains_count(const ls_chains *self, size_t words, size_t bucket);
/* Asks for the bucket's blocks: they lie apart, and nothing foretells the next one. */
void ls_chains_prefetch(const ls_chains *self, size_t words, size_t bucket);
/* Appends the pieces of a bucket; returns how many. */
size_t ls_chains_pieces(const ls_chains *self, size_t words, size_t bucket, ls_piece *out);

/* --- leaf.c: sorting in the cache ------------------------------------------------------------- */

/* Sorts the pieces' n keys, 0 < n <= LS_LEAF, to out[0..n). Pieces, out, and room for n keys lie
 * apart. */
void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out);
/* Sorts keys[0..n) with room for as many. */
void ls_leaf(ldb_key *keys, size_t n, ldb_key *room);

/* --- pairs.c: the same for pairs -------------------------------------------------------------- */

/* In words. */
size_t ls_pairs_room(size_t n);
/* Sorts the pieces' n > 0 pairs to out, which may be where they are. Stable. */
void ls_pairs_pieces(const ls_piece *pieces, size_t count, size_t n, uint64_t *room, uint64_t *out);

#endif
