/*
 * eytzinger: the keys as a complete binary search tree in breadth-first order, children of slot k
 * in the slots 2k and 2k + 1 (the layout of a binary heap, and of Eytzinger's family trees of
 * 1590).
 *
 * After Khuong and Morin, Array Layouts for Comparison-Based Searching (ACM JEA 22, 2017):
 * branchless descent with prefetch, the fastest search of their study for larger n.
 *
 * Slot 8k begins a cache line of eight keys, and they are the eight great-grandchildren of slot k.
 * So one prefetch, three levels ahead, brings whatever the search will need there. (With keys of 32
 * bits slot 16k does, and it is four levels.)
 *
 * A rank needs no table. The tree has `full` levels without gaps, together 2^full - 1 keys, and
 * below them the `bottom` keys of the last level, pushed to the left. After `full` steps the query
 * stands at k = 2^full + j, where j is the number of full-level keys < q. In order, each bottom key
 * comes right before a key of the full levels: min(j, bottom) of them come before one of those j
 * and so are < q too, and the one at j itself, if there is one, is compared. So
 *
 *	rank = j + min(j, bottom) + (j < bottom and slot[k] < q)
 *
 * which counts the keys < q and is therefore the rank of the first key >= q, duplicates or not.
 *
 * Cache lines per query: one per level, log2 n in all, the first 17 of them in a 1 MiB cache. At
 * 10M keys that leaves 7 of 24, of which prefetching overlaps three.
 *
 * lookup_batch is a pipeline of stages, AHEAD levels each. At any time there is one group of 16
 * queries in each stage, and a round moves each group on by a stage. What a query reads in a stage
 * was asked for in the stage before, so a whole round ago, and the misses of the lower stages
 * overlap with work in the upper ones.
 */
#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/loops.h"

enum {
	LINE = LDB_LINE_KEYS,
	AHEAD = LINE == 8 ? 3 : 4, /* levels from a slot to the line of all below it: log2 LINE */
	GROUP = 16,                /* queries that move together */
	MAX_STAGES = 64 / AHEAD,
};

typedef struct {
	ldb_key *slot;       /* slot[1..n] is the tree, slot[0] UINT64_MAX: less than no query */
	const ldb_key *keys; /* borrowed, for validate alone */
	size_t n;
	unsigned full; /* levels without gaps */
	size_t bottom; /* keys of the level below those */
} eytzinger;

static inline size_t step(const eytzinger *self, size_t k, ldb_key q)
{
	return 2 * k + (self->slot[k] < q);
}

/* The answer to q, which stands at slot k below the full levels. */
static inline ldb_val answer(const eytzinger *self, size_t k, ldb_key q)
{
	const size_t j = k - ((size_t)1 << self->full);
	const size_t last = self->slot[j < self->bottom ? k : 0] < q;
	const size_t rank = j + (j < self->bottom ? j : self->bottom) + last;
	return rank < self->n ? rank : LDB_NONE;
}

/* The first levels, so many that whole stages are left. They are in cache. */
static inline size_t enter(const eytzinger *self, ldb_key q)
{
	size_t k = 1;
	for (unsigned level = self->full % AHEAD; level > 0; level--)
		k = step(self, k, q);
	return k;
}

/* A stage: AHEAD levels down, each step prefetching what the same step of the next stage reads. */
static inline size_t descend(const eytzinger *self, size_t k, ldb_key q)
{
	for (unsigned s = 0; s < AHEAD; s++) {
		__builtin_prefetch(&self->slot[k * LINE]);
		k = step(self, k, q);
	}
	return k;
}

/* The last stage. There may be a bottom key below it, or none. */
static inline size_t descend_last(const eytzinger *self, size_t k, ldb_key q)
{
	__builtin_prefetch(&self->slot[k * LINE <= self->n ? k * LINE : 0]);
	for (unsigned s = 0; s < AHEAD; s++)
		k = step(self, k, q);
	return k;
}

static inline ldb_val eytzinger_find(const eytzinger *self, ldb_key q)
{
	const unsigned stages = self->full / AHEAD;
	size_t k = enter(self, q);
	for (unsigned stage = 1; stage < stages; stage++)
		k = descend(self, k, q);
	if (stages)
		k = descend_last(self, k, q);
	return answer(self, k, q);
}

LDB_INDEX_LOOPS(eytzinger, eytzinger_find)

/* Takes a group through a stage. */
static inline void descend_group(const eytzinger *self, const ldb_key *q, size_t count, bool last,
				 const size_t *from, size_t *to)
{
	for (size_t i = 0; i < count; i++)
		to[i] = last ? descend_last(self, from[i], q[i]) : descend(self, from[i], q[i]);
}

static inline void enter_group(const eytzinger *self, const ldb_key *q, size_t count, size_t *k)
{
	for (size_t i = 0; i < count; i++)
		k[i] = enter(self, q[i]);
}

static inline void answer_group(const eytzinger *self, const ldb_key *q, size_t count,
				const size_t *k, ldb_val *out)
{
	for (size_t i = 0; i < count; i++)
		out[i] = answer(self, k[i], q[i]);
}

static void eytzinger_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const eytzinger *tree = self;
	const size_t stages = tree->full / AHEAD, groups = n / GROUP, rest = n % GROUP;
	size_t k[MAX_STAGES + 1][GROUP]; /* k[s]: where the group stands that has s stages done */
	/* Group g enters in round g and is in stage s in round g + 1 + s; the last stage comes
	 * first, so that each is left before the next group gets there. */
	for (size_t round = 0; round < groups + stages + 1; round++) {
		if (round > stages) {
			const size_t first = (round - stages - 1) * GROUP;
			answer_group(tree, q + first, GROUP, k[stages], out + first);
		}
		for (size_t s = stages; s-- > 0;) {
			if (s < round && round - 1 - s < groups)
				descend_group(tree, q + (round - 1 - s) * GROUP, GROUP,
					      s + 1 == stages, k[s], k[s + 1]);
		}
		if (round < groups)
			enter_group(tree, q + round * GROUP, GROUP, k[0]);
	}
	q += groups * GROUP;
	out += groups * GROUP;
	enter_group(tree, q, rest, k[0]);
	for (size_t s = 0; s < stages; s++)
		descend_group(tree, q, rest, s + 1 == stages, k[s], k[s + 1]);
	answer_group(tree, q, rest, k[stages], out);
}

/*
 * The rank of slot j of a level. Between the full-level keys there is one place each for a bottom
 * key: place j before the jth of them, and one after the last.
 */
static size_t rank_of(const eytzinger *self, unsigned level, size_t j)
{
	if (level == self->full)
		return 2 * j;
	const size_t above = ((2 * j + 1) << (self->full - 1 - level)) - 1; /* of the full levels */
	return above + (above + 1 < self->bottom ? above + 1 : self->bottom);
}

/* How many keys there are on a level. */
static size_t level_keys(const eytzinger *self, unsigned level)
{
	return level < self->full ? (size_t)1 << level : self->bottom;
}

static size_t slot_bytes(const eytzinger *self)
{
	return (self->n / LINE + 1) * LINE * sizeof(ldb_key); /* whole lines */
}

static void eytzinger_destroy(void *self)
{
	eytzinger *tree = self;
	ldb_free(tree->slot, slot_bytes(tree));
	ldb_free(tree, sizeof *tree);
}

static void fill(eytzinger *self)
{
	ldb_key *slot = self->slot;
	*slot++ = LDB_KEY_MAX;
	for (unsigned level = 0; level <= self->full; level++) {
		for (size_t j = 0; j < level_keys(self, level); j++)
			*slot++ = self->keys[rank_of(self, level, j)];
	}
	for (const ldb_key *end = self->slot + slot_bytes(self) / sizeof *end; slot < end;)
		*slot++ = LDB_KEY_MAX;
}

static ldb_status eytzinger_build(void **self, const ldb_key *keys, size_t n, const double *values,
				  ldb_error *err)
{
	(void)values;
	eytzinger *tree = ldb_alloc(sizeof *tree);
	if (!tree)
		return ldb_fail_oom(err, "eytzinger", sizeof *tree);
	*tree = (eytzinger){.keys = keys, .n = n};
	while ((n + 1) >> (tree->full + 1)) /* full = floor(log2(n + 1)) */
		tree->full++;
	tree->bottom = n + 1 - ((size_t)1 << tree->full);
	tree->slot = ldb_alloc(slot_bytes(tree));
	if (!tree->slot) {
		const size_t bytes = slot_bytes(tree);
		ldb_free(tree, sizeof *tree);
		return ldb_fail_oom(err, "eytzinger: keys", bytes);
	}
	fill(tree);
	*self = tree;
	return LDB_OK;
}

static size_t eytzinger_bytes(const void *self)
{
	return sizeof(eytzinger) + slot_bytes(self);
}

static ldb_status broken(ldb_error *err, const char *what, size_t at)
{
	return ldb_fail(err, LDB_INVALID, "report it with the keys it was built from", what,
			"at %zu", at);
}

/* The levels together are all keys, each slot holds the key of its rank, and the keys are sorted.
 */
static ldb_status eytzinger_validate(const void *self, ldb_error *err)
{
	const eytzinger *tree = self;
	const size_t slots = slot_bytes(tree) / sizeof(ldb_key);
	size_t at = 1;
	if (tree->full >= 64 || tree->bottom > (size_t)1 << tree->full ||
	    tree->n + 1 != ((size_t)1 << tree->full) + tree->bottom)
		return broken(err, "eytzinger: number of levels", tree->full);
	if (tree->slot[0] != LDB_KEY_MAX)
		return broken(err, "eytzinger: sentinel", 0);
	for (unsigned level = 0; level <= tree->full; level++) {
		for (size_t j = 0; j < level_keys(tree, level); j++, at++) {
			if (tree->slot[at] != tree->keys[rank_of(tree, level, j)])
				return broken(err, "eytzinger: key in a slot", at);
		}
	}
	for (; at < slots; at++) {
		if (tree->slot[at] != LDB_KEY_MAX)
			return broken(err, "eytzinger: unused slot", at);
	}
	for (size_t i = 1; i < tree->n; i++) {
		if (tree->keys[i - 1] > tree->keys[i])
			return broken(err, "eytzinger: order of the keys", i);
	}
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "eytzinger",
	.summary = "binary search tree in breadth-first order, prefetched",
	.origin = "Khuong, Morin: Array Layouts for Comparison-Based Searching, JEA 2017",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.peak_bytes_per_key = 9, /* a copy of the keys */
	.build = eytzinger_build,
	.destroy = eytzinger_destroy,
	.bytes = eytzinger_bytes,
	.validate = eytzinger_validate,
	.lookup = eytzinger_lookup,
	.chase = eytzinger_chase,
	.lookup_batch = eytzinger_lookup_batch,
};
LDB_EXPORT_INDEX(table)
