/*
 * cht: the compact histogram tree over the keys themselves. The tree, its search, its build and
 * the estimate of its parameters are in ldb/cht.h, which plex shares; this is the plug-in around
 * it.
 *
 * After Crotty, Hist-Tree: Those Who Ignore It Are Doomed to Learn (CIDR 2021), in the compact
 * read-only form of Stoian, Kipf, Marcus, Kraska, Towards Practical Learned Indexing (2021). What
 * is added here: exact ends of windows from the next entry, leaves of equal keys however many, a
 * range without far outliers, parameters chosen on the data at hand.
 *
 * Cache lines. One for each level, of which the first ones stay in cache: uniform keys take one to
 * three levels, clustered ones more. Then the keys of the leaf: two or three neighbouring lines up
 * to 16 keys, log2(keys / 16) more beyond, of which every other overlaps with the one before.
 */
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "ldb/check.h"
#include "ldb/cht.h"
#include "ldb/loops.h"
#include "ldb/window.h"

enum { PARAM_BINS, PARAM_MAX_ERROR, PARAM_RANGE };

static const ldb_param params_table[] = {
	{.name = "bins",
	 .help = "parts of a node, rounded up to a power of two; 0: chosen",
	 .def = 0,
	 .min = 0,
	 .max = 1 << LDB_CHT_BITS_MAX},
	{.name = "max_error",
	 .help = "most keys of a leaf that are not equal; 0: the least that keeps the index small",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 30},
	{.name = "range",
	 .help = "keys that the tree covers: without far outliers, or (as published) all",
	 .def = 0,
	 .choices = "trimmed|full"},
	{.name = NULL},
};

typedef struct {
	ldb_cht tree;
	const ldb_key *keys;
	size_t width; /* of all windows: max_error, or n */
	uint64_t tune_ns;
} cht;

/* One query is searched for in its leaf, however long that is: what the number of halvings depends
 * on is in the table, so a branch guessed wrong does not wait for keys. */
static inline ldb_val cht_find(const cht *self, ldb_key q)
{
	const size_t n = self->tree.n;
	size_t lo, hi;
	ldb_cht_window(&self->tree, self->keys, 1, q, &lo, &hi);
	const size_t rank = ldb_search_window(self->keys, n, lo, hi, q);
	return rank < n ? rank : LDB_NONE;
}

LDB_INDEX_LOOPS(cht, cht_find)

/*
 * A group goes down the tree together, level by level, then searches windows of one length: they
 * begin with the leaf, or, at the array's end, before it. In a long leaf the answer may be behind.
 */
static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const cht *self = index;
	const size_t n = self->tree.n, last = n - self->width;
	size_t lo[LDB_GROUP], hi[LDB_GROUP];
	ldb_cht_descend_group(&self->tree, q, count, lo);
	for (size_t i = 0; i < count; i++) {
		const size_t start = self->tree.table[lo[i]];
		lo[i] = start < last ? start : last;
		hi[i] = lo[i] + self->width;
		ldb_fixed_prefetch(self->keys, lo[i], self->width);
	}
	ldb_fixed_search_group(self->keys, n, q, lo, self->width, count, out);
	for (size_t i = 0; i < count; i++) {
		size_t rank = out[i];
		if (self->tree.long_leaves && rank >= hi[i] && rank < n && self->keys[rank] < q[i])
			rank = ldb_search_up(self->keys, n, rank, self->width, q[i]);
		out[i] = rank < n ? rank : LDB_NONE;
	}
}

static void cht_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	ldb_find_groups(self, find_group, q, n, out);
}

static void cht_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const cht *index = self;
	ldb_cht_window(&index->tree, index->keys, 1, q, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

/* log2, rounded up. */
static unsigned bits_for(size_t bins)
{
	unsigned bits = 1;
	while (((size_t)1 << bits) < bins)
		bits++;
	return bits;
}

/* Leaves only those settings that the user's parameters allow. */
static void restrict_to(ldb_cht_estimate *all, unsigned bits, size_t max_error)
{
	for (unsigned b = 1; b <= LDB_CHT_BITS_MAX; b++)
		for (size_t e = 0; e < LDB_CHT_ERRORS; e++)
			if ((bits && b != bits) || (max_error && ldb_cht_error(e) != max_error))
				all->entries[b][e] = INFINITY;
}

/*
 * Builds with the cheapest setting by estimate that takes a tenth of the keys' size: 4 bytes for 5
 * keys, or for 10 of 32 bits. Where that takes more than estimated, it is given up for the next.
 * What it took counts as tuning.
 */
static ldb_cht_result build_tuned(cht *index, unsigned bits)
{
	const size_t n = index->tree.n, most = n / (10 * sizeof(uint32_t) / sizeof(ldb_key));
	const ldb_cht_task task = {.keys = index->keys,
				   .stride = 1,
				   .narrow = LDB_LINE_KEYS,
				   .fixed = 1. / 3,
				   .most = most > 256 ? most : 256};
	const uint64_t start_ns = ldb_now_ns();
	ldb_cht_estimate all;
	ldb_cht_estimate_all(&index->tree, &task, &all);
	restrict_to(&all, bits, 0);
	ldb_cht_result result;
	do {
		size_t expected;
		ldb_cht_choose(&index->tree, &all, &task, &expected);
		index->tune_ns = ldb_now_ns() - start_ns;
		result = ldb_cht_build(&index->tree, index->keys, 1, expected, task.most);
		ldb_cht_refuse(&index->tree, &all);
	} while (result == LDB_CHT_TOO_LARGE);
	return result;
}

static ldb_cht_result build_tree(cht *index, size_t bins, size_t max_error)
{
	ldb_cht *tree = &index->tree;
	const unsigned bits = bins ? bits_for(bins) : 0;
	if (max_error == 0)
		return build_tuned(index, bits);
	tree->bits = bits ? bits : 6; /* 64 parts, as published */
	tree->max_error = (uint32_t)max_error;
	return ldb_cht_build(tree, index->keys, 1, 0, SIZE_MAX);
}

static ldb_status cht_build(void **self, const ldb_key *keys, size_t n, const double *values,
			    ldb_error *err)
{
	if (n > LDB_CHT_KEYS_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^31 keys",
				"cht: number of keys", "%zu", n);
	cht *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "cht", sizeof *index);
	*index = (cht){.keys = keys};
	ldb_cht_set_range(&index->tree, keys, 1, n, values[PARAM_RANGE] == 0);
	const ldb_cht_result result =
		build_tree(index, (size_t)values[PARAM_BINS], (size_t)values[PARAM_MAX_ERROR]);
	if (result == LDB_CHT_BUILT) {
		index->width = index->tree.max_error < n ? index->tree.max_error : n;
		*self = index;
		return LDB_OK;
	}
	const size_t bytes = (index->tree.entries + 1) * sizeof *index->tree.table;
	ldb_free(index, sizeof *index);
	if (result == LDB_CHT_NO_MEMORY)
		return ldb_fail_oom(err, "cht: tree", bytes);
	return ldb_fail(err, LDB_UNSUPPORTED, "take a larger max_error or fewer bins",
			"cht: more than 2^31 entries", "%zu keys", n);
}

static void cht_destroy(void *self)
{
	cht *index = self;
	ldb_cht_free(&index->tree);
	ldb_free(index, sizeof *index);
}

static size_t cht_bytes(const void *self)
{
	const cht *index = self;
	return sizeof *index + ldb_cht_bytes(&index->tree);
}

static void cht_info(const void *self, ldb_index_info *out)
{
	const cht *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "bins=%u;max_error=%" PRIu32,
		 1u << index->tree.bits, index->tree.max_error);
}

static ldb_status cht_validate(const void *self, ldb_error *err)
{
	const cht *index = self;
	if (!ldb_cht_sound(&index->tree, index->keys, 1))
		return ldb_fail(err, LDB_INVALID, "report it with the dataset and the parameters",
				"cht: the way of a key does not end in its leaf", "%zu keys",
				index->tree.n);
	return ldb_check_windows("cht", cht_window, index, index->keys, index->tree.n, err);
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "cht",
	.summary = "compact histogram tree: nodes of equal parts by the next few bits",
	.origin = "Crotty, Hist-Tree, CIDR 2021; Stoian, Kipf, Marcus, Kraska, 2021",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	/* The tree and its exact copy, 4 bytes for 5 keys each; a small max_error takes more. */
	.peak_bytes_per_key = 1.6,
	.build = cht_build,
	.destroy = cht_destroy,
	.bytes = cht_bytes,
	.validate = cht_validate,
	.lookup = cht_lookup,
	.chase = cht_chase,
	.lookup_batch = cht_lookup_batch,
	.window = cht_window,
	.info = cht_info,
};
LDB_EXPORT_INDEX(table)
