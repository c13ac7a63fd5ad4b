/*
 * samplesort: in the manner of IPS4o (Axtmann, Witt, Ferizovic, Sanders, "In-place Parallel Super
 * Scalar Samplesort", ESA 2017; TOPC 2022), for one thread.
 *
 * A sorted sample gives splitters, which lie as a search tree in an array: an element walks down
 * without branches, eight elements side by side. Each bucket collects a block of elements; full
 * blocks go back to the front of the array, where elements have been read already. Then blocks are
 * permuted, so that those of a bucket are neighbours, and moved to where their bucket begins; what
 * was in buckets' last blocks follows. Keys equal to a splitter have buckets of their own, which
 * need no sorting. Buckets are sorted in the same way, few elements by insertion.
 *
 * Other than in IPS4o all blocks move once more, from the last to the first, which saves the
 * bookkeeping for blocks that straddle two buckets.
 *
 * Memory: 256 KiB of blocks (keys), two bytes for each block in the array, no second array.
 * Elements are `words` words long, key first; that is a constant where functions are inlined.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ldb/sort.h"
#include "rng.h"

#define INLINE static inline __attribute__((always_inline))

enum {
	MOST_SPLITTERS = 255,
	MOST_BUCKETS = 2 * (MOST_SPLITTERS + 1), /* even: between splitters, odd: equal to one */
	BLOCK = 64,                              /* elements */
	FEW = 32,
	LEAF_MEAN = 16,
	OVERSAMPLING = 8,
	SIDE_BY_SIDE = 8,
};

typedef struct {
	ldb_rng rng;
	uint64_t tree[MOST_SPLITTERS + 1]; /* from 1 on; children of i: 2i and 2i + 1 */
	uint64_t splitter[MOST_SPLITTERS + 1];
	unsigned levels;
	size_t buckets;
	size_t held[MOST_BUCKETS]; /* elements in a bucket's block */
	uint64_t *block;           /* of all buckets */
	uint16_t *owner;           /* of each full block in the array */
	uint64_t *sample;
} state;

INLINE void insertion_sort(uint64_t *elements, const size_t words, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t element[2];
		memcpy(element, elements + i * words, words * sizeof *element);
		size_t at = i;
		for (; at > 0 && elements[(at - 1) * words] > element[0]; at--)
			memcpy(elements + at * words, elements + (at - 1) * words,
			       words * sizeof *element);
		memcpy(elements + at * words, element, words * sizeof *element);
	}
}

static int compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

/* Splitters [from, to) in order of the tree below `node`. */
static void fill_tree(state *s, size_t node, size_t from, size_t to)
{
	const size_t mid = from + (to - from) / 2;
	if (from == to)
		return;
	s->tree[node] = s->splitter[mid];
	fill_tree(s, 2 * node, from, mid);
	fill_tree(s, 2 * node + 1, mid + 1, to);
}

/* Draws splitters for n elements, one less than a power of two. */
static void choose_splitters(state *s, const uint64_t *elements, size_t words, size_t n)
{
	s->levels = 1;
	while (s->levels < 8 && n >> (s->levels + 1) >= LEAF_MEAN)
		s->levels++;
	const size_t splitters = ((size_t)1 << s->levels) - 1;
	s->buckets = 2 * (splitters + 1);
	const size_t samples = (splitters + 1) * OVERSAMPLING;
	for (size_t i = 0; i < samples; i++)
		s->sample[i] = elements[ldb_rng_below(&s->rng, n) * words];
	qsort(s->sample, samples, sizeof *s->sample, compare_keys);
	for (size_t i = 0; i < splitters; i++)
		s->splitter[i] = s->sample[(i + 1) * OVERSAMPLING - 1];
	s->splitter[splitters] = s->splitter[splitters - 1];
	fill_tree(s, 1, 0, splitters);
}

/* Buckets of SIDE_BY_SIDE elements: how many splitters are smaller, doubled; one more where the
 * next one is equal. The last has no next one, but a larger element than all. */
INLINE void classify(const state *s, const uint64_t *elements, const size_t words,
		     const size_t count, size_t *bucket)
{
	const size_t leaves = (size_t)1 << s->levels;
	for (size_t i = 0; i < count; i++)
		bucket[i] = 1;
	for (unsigned level = 0; level < s->levels; level++) {
		for (size_t i = 0; i < count; i++)
			bucket[i] = 2 * bucket[i] + (s->tree[bucket[i]] < elements[i * words]);
	}
	for (size_t i = 0; i < count; i++) {
		const size_t smaller = bucket[i] - leaves;
		bucket[i] = 2 * smaller + (s->splitter[smaller] == elements[i * words]);
	}
}

/* Adds an element to its bucket's block; a full one goes to the array. Returns the number of full
 * blocks there. */
INLINE size_t add(state *s, uint64_t *elements, const uint64_t *element, const size_t words,
		  size_t bucket, size_t blocks)
{
	uint64_t *block = s->block + bucket * BLOCK * words;
	memcpy(block + s->held[bucket] * words, element, words * sizeof *element);
	if (++s->held[bucket] < BLOCK)
		return blocks;
	memcpy(elements + blocks * BLOCK * words, block, BLOCK * words * sizeof *block);
	s->owner[blocks] = (uint16_t)bucket;
	s->held[bucket] = 0;
	return blocks + 1;
}

INLINE size_t collect(state *s, uint64_t *elements, const size_t words, size_t n)
{
	size_t blocks = 0, bucket[SIDE_BY_SIDE], i = 0;
	memset(s->held, 0, s->buckets * sizeof *s->held);
	for (; i + SIDE_BY_SIDE <= n; i += SIDE_BY_SIDE) {
		classify(s, elements + i * words, words, SIDE_BY_SIDE, bucket);
		/* A block may overwrite the elements from i on: no more than one can be written,
		 * and these are read before. */
		uint64_t eight[SIDE_BY_SIDE * 2];
		memcpy(eight, elements + i * words, SIDE_BY_SIDE * words * sizeof *eight);
		for (size_t k = 0; k < SIDE_BY_SIDE; k++)
			blocks = add(s, elements, eight + k * words, words, bucket[k], blocks);
	}
	for (; i < n; i++) {
		uint64_t one[2];
		memcpy(one, elements + i * words, words * sizeof *one);
		classify(s, one, words, 1, bucket);
		blocks = add(s, elements, one, words, bucket[0], blocks);
	}
	return blocks;
}

/* Permutes full blocks so that those of each bucket, from first[bucket] on, are neighbours. */
INLINE void permute(state *s, uint64_t *elements, const size_t words, const size_t *first)
{
	enum { WORDS = 2 * BLOCK };
	size_t next[MOST_BUCKETS];
	memcpy(next, first, s->buckets * sizeof *next);
	for (size_t b = 0; b + 1 < s->buckets; b++) { /* then those of the last are, too */
		const size_t end = first[b + 1];
		while (next[b] < end) {
			const size_t at = next[b], owner = s->owner[at];
			if (owner == b) {
				next[b]++;
				continue;
			}
			const size_t to = next[owner]++;
			uint64_t swap[WORDS], *x = elements + at * BLOCK * words,
					      *y = elements + to * BLOCK * words;
			memcpy(swap, x, BLOCK * words * sizeof *swap);
			memcpy(x, y, BLOCK * words * sizeof *swap);
			memcpy(y, swap, BLOCK * words * sizeof *swap);
			s->owner[at] = s->owner[to];
			s->owner[to] = (uint16_t)owner;
		}
	}
}

/* Distributes; bucket b then is elements [start[b], start[b + 1]). How many buckets there are. */
INLINE size_t partition(state *s, uint64_t *elements, const size_t words, size_t n, size_t *start)
{
	size_t first[MOST_BUCKETS], full[MOST_BUCKETS];
	choose_splitters(s, elements, words, n);
	memset(full, 0, s->buckets * sizeof *full);
	const size_t blocks = collect(s, elements, words, n);
	for (size_t i = 0; i < blocks; i++)
		full[s->owner[i]]++;
	start[0] = 0;
	for (size_t b = 0, at = 0; b < s->buckets; b++) {
		first[b] = at;
		at += full[b];
		start[b + 1] = start[b] + full[b] * BLOCK + s->held[b];
	}
	permute(s, elements, words, first);
	for (size_t b = s->buckets; b-- > 0;) { /* never to the left: what is there has moved */
		uint64_t *to = elements + start[b] * words;
		memmove(to, elements + first[b] * BLOCK * words,
			full[b] * BLOCK * words * sizeof *to);
		memcpy(to + full[b] * BLOCK * words, s->block + b * BLOCK * words,
		       s->held[b] * words * sizeof *to);
	}
	return s->buckets;
}

INLINE void sort_words(state *s, uint64_t *elements, const size_t words, size_t n);

static __attribute__((noinline)) void sort_key_words(state *s, uint64_t *elements, size_t n)
{
	sort_words(s, elements, 1, n);
}

static __attribute__((noinline)) void sort_pair_words(state *s, uint64_t *elements, size_t n)
{
	sort_words(s, elements, 2, n);
}

INLINE void sort_words(state *s, uint64_t *elements, const size_t words, size_t n)
{
	if (n <= FEW) {
		insertion_sort(elements, words, n);
		return;
	}
	size_t start[MOST_BUCKETS + 1];
	const size_t buckets = partition(s, elements, words, n, start);
	/* A splitter is an element, so its bucket isn't empty and all others are smaller than n. */
	for (size_t b = 0; b < buckets; b += 2) {
		uint64_t *bucket = elements + start[b] * words;
		if (words == 1)
			sort_key_words(s, bucket, start[b + 1] - start[b]);
		else
			sort_pair_words(s, bucket, start[b + 1] - start[b]);
	}
}

static ldb_status sort(uint64_t *elements, size_t words, size_t n, ldb_error *err)
{
	const size_t block_bytes = (size_t)MOST_BUCKETS * BLOCK * words * sizeof(uint64_t);
	const size_t sample_bytes = (size_t)(MOST_SPLITTERS + 1) * OVERSAMPLING * sizeof(uint64_t);
	const size_t owner_bytes = n / BLOCK * sizeof(uint16_t);
	const size_t bytes = sizeof(state) + block_bytes + sample_bytes + owner_bytes;
	if (n < 2)
		return LDB_OK;
	char *all = ldb_alloc(bytes);
	if (!all)
		return ldb_fail_oom(err, "samplesort: blocks", bytes);
	state *s = (state *)(void *)all;
	s->block = (uint64_t *)(void *)(all + sizeof *s);
	s->sample = (uint64_t *)(void *)(all + sizeof *s + block_bytes);
	s->owner = (uint16_t *)(void *)(all + sizeof *s + block_bytes + sample_bytes);
	ldb_rng_seed(&s->rng, n);
	if (words == 1)
		sort_key_words(s, elements, n);
	else
		sort_pair_words(s, elements, n);
	ldb_free(all, bytes);
	return LDB_OK;
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
	.name = "samplesort",
	.summary = "branchless samplesort in blocks within the array",
	.origin = "Axtmann, Witt, Ferizovic, Sanders, ESA 2017",
	.peak_bytes_per_key = 0.1,
	.sort_keys = sort_keys,
	.sort_pairs = sort_pairs,
};

LDB_EXPORT_SORT(table)
