/*
 * rbs: a radix table and a search in the bucket it leads to. The strongest simple baseline: on
 * three of four real sets of SOSD it was faster than the learned indexes of its time.
 *
 * After Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann, SOSD: A Benchmark for Learned
 * Indexes (NeurIPS ML for Systems, 2019) and Marcus et al., Benchmarking Learned Indexes (PVLDB 14,
 * 2020). What is added here: base subtraction, a range without far outliers (a single one leaves
 * all keys in one bucket otherwise), parameters chosen on the data at hand, a last mile that
 * compares 8 or 16 keys at once.
 *
 * Cache lines. The entries of a prefix and of the next one lie side by side: one line, seldom two.
 * A bucket of up to 16 keys is one to three neighbouring lines, so two misses in all; a bucket of b
 * keys costs log2(b / 16) more. With radix_bits = 0 the table has up to n / 5 entries of 4 bytes, a
 * tenth of the keys' size, and uniform keys have 5 to 10 in a bucket.
 */
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "ldb/check.h"
#include "ldb/loops.h"
#include "ldb/radix.h"
#include "ldb/window.h"

enum { PARAM_RADIX_BITS, PARAM_TRIM };

static const ldb_param params_table[] = {
	{.name = "radix_bits",
	 .help = "the table has up to 2^radix_bits entries; 0: up to a tenth of the keys' size",
	 .def = 0,
	 .min = 0,
	 .max = 28},
	{.name = "trim",
	 .help = "keys at each end that may lie outside of the table's range; -1: chosen; 0: as "
		 "published",
	 .def = -1,
	 .min = -1,
	 .max = 1 << 30},
	{.name = NULL},
};

typedef struct {
	ldb_radix radix;
	const ldb_key *keys;
	size_t n;
	unsigned radix_bits; /* of the prefixes, with radix_bits = 0 as chosen */
	size_t trim;         /* keys at both ends that may lie outside of the table's range */
	uint64_t tune_ns;
} rbs;

static inline ldb_val rbs_find(const rbs *self, ldb_key q)
{
	size_t lo, hi;
	ldb_radix_range(&self->radix, q, &lo, &hi);
	const size_t rank = ldb_search_window(self->keys, self->n, lo, hi, q);
	return rank < self->n ? rank : LDB_NONE;
}

LDB_INDEX_LOOPS(rbs, rbs_find)

/* A group goes through three stages together, each of which fetches the lines of the next. */
static inline void find_group(const rbs *self, const ldb_key *q, size_t count, ldb_val *out)
{
	size_t lo[LDB_GROUP], hi[LDB_GROUP];
	ldb_radix_ranges(&self->radix, q, count, lo, hi);
	for (size_t i = 0; i < count; i++)
		ldb_prefetch_window(self->keys, lo[i], hi[i]);
	ldb_search_windows(self->keys, self->n, q, lo, hi, count, out);
}

static void rbs_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + LDB_GROUP <= n; i += LDB_GROUP)
		find_group(self, q + i, LDB_GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

static void rbs_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const rbs *index = self;
	ldb_radix_range(&index->radix, q, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

#define NARROW ((double)LDB_LINE_KEYS) /* keys in a bucket that cost no more than one */

/* A tenth of the keys' size: an entry for 5 keys, or for 10 of 32 bits. */
static size_t entries_budget(size_t n)
{
	const size_t entries = n / (10 * sizeof(uint32_t) / sizeof(ldb_key));
	return entries > 64 ? entries : 64;
}

/* Range and shift for radix_bits, or for the budget where these are 0. */
static void set_range(rbs *index, ldb_radix *radix, size_t trim)
{
	ldb_trim_range(index->keys, 1, index->n, trim, &radix->base, &radix->top);
	const unsigned bits = ldb_radix_range_bits(radix);
	if (index->radix_bits)
		radix->shift = bits > index->radix_bits ? bits - index->radix_bits : 0;
	else
		radix->shift =
			ldb_radix_shift_for(radix->top - radix->base, entries_budget(index->n));
}

/*
 * Chooses the range, where trim is -1, and without radix_bits also the shift, that cost least by a
 * sample of the keys. The more keys are left out at the ends, the narrower are the buckets of all
 * others.
 */
static void tune(rbs *index, double trim)
{
	const size_t n = index->n, most = (n - 1) / 2;
	const size_t few = n / 16 < 32 ? n / 16 : 32;
	size_t trims[] = {0, few, n / 1000 + few, n / 256 + few, n / 64, n / 16, n / 6};
	size_t count = sizeof trims / sizeof *trims;
	if (trim >= 0) {
		trims[0] = trim < (double)most ? (size_t)trim : most;
		count = 1;
	}
	double best = INFINITY;
	for (size_t i = 0; i < count; i++) {
		ldb_radix radix = {0};
		set_range(index, &radix, trims[i]);
		const double cost = ldb_radix_cost(&radix, index->keys, 1, n, NARROW);
		if (cost < 0.98 * best) {
			best = cost;
			index->radix = radix;
			index->trim = trims[i];
		}
	}
	for (unsigned coarser = 1; index->radix_bits == 0 && coarser <= 6; coarser++) {
		ldb_radix radix = index->radix;
		radix.shift += radix.shift < LDB_KEY_BITS - 1;
		const double cost = ldb_radix_cost(&radix, index->keys, 1, n, NARROW);
		if (cost > 1.01 * best)
			break;
		best = cost < best ? cost : best;
		index->radix = radix;
	}
}

static ldb_status rbs_build(void **self, const ldb_key *keys, size_t n, const double *values,
			    ldb_error *err)
{
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"rbs: number of keys", "%zu", n);
	rbs *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "rbs", sizeof *index);
	*index = (rbs){.keys = keys, .n = n, .radix_bits = (unsigned)values[PARAM_RADIX_BITS]};
	if (n > 0) {
		const uint64_t start_ns = ldb_now_ns();
		tune(index, values[PARAM_TRIM]);
		index->tune_ns = ldb_now_ns() - start_ns;
	}
	const unsigned bits = ldb_radix_range_bits(&index->radix);
	index->radix_bits = bits > index->radix.shift ? bits - index->radix.shift : 0;
	if (!ldb_radix_build(&index->radix, keys, 1, n)) {
		const size_t bytes = ldb_radix_bytes(&index->radix);
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "rbs: radix table", bytes);
	}
	*self = index;
	return LDB_OK;
}

static void rbs_destroy(void *self)
{
	rbs *index = self;
	ldb_radix_free(&index->radix);
	ldb_free(index, sizeof *index);
}

static size_t rbs_bytes(const void *self)
{
	const rbs *index = self;
	return sizeof *index + ldb_radix_bytes(&index->radix);
}

static void rbs_info(const void *self, ldb_index_info *out)
{
	const rbs *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "radix_bits=%u;trim=%zu", index->radix_bits,
		 index->trim);
}

/* --- validate --------------------------------------------------------------------------------- */

/* table[p] counts the keys with a smaller prefix. */
static ldb_status check_table(const rbs *index, ldb_error *err)
{
	size_t rank = 0;
	for (size_t p = 0; p < index->radix.count; p++) {
		while (rank < index->n && ldb_radix_prefix(&index->radix, index->keys[rank]) < p)
			rank++;
		if (index->radix.table[p] != rank)
			return ldb_fail(err, LDB_INVALID,
					"report it with the dataset and the parameters",
					"rbs: wrong entry in the radix table",
					"entry %zu is %" PRIu32 ", not %zu", p,
					index->radix.table[p], rank);
	}
	return LDB_OK;
}

static ldb_status rbs_validate(const void *self, ldb_error *err)
{
	const rbs *index = self;
	const ldb_status status = check_table(index, err);
	return status == LDB_OK
		       ? ldb_check_windows("rbs", rbs_window, index, index->keys, index->n, err)
		       : status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "rbs",
	.summary = "radix table over the top bits, SIMD search in the bucket",
	.origin = "Kipf et al., SOSD, NeurIPS ML for Systems 2019; Marcus et al., PVLDB 2020",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params_table,
	.peak_bytes_per_key = 0.8, /* 4 bytes for 5 keys; with many radix_bits it is more */
	.build = rbs_build,
	.destroy = rbs_destroy,
	.bytes = rbs_bytes,
	.validate = rbs_validate,
	.lookup = rbs_lookup,
	.chase = rbs_chase,
	.lookup_batch = rbs_lookup_batch,
	.window = rbs_window,
	.info = rbs_info,
};
LDB_EXPORT_INDEX(table)
