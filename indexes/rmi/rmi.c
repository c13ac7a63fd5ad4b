/*
 * The plug-in around the recursive model index: parameters, build, the batched pipeline, checks.
 * The model itself is in rmi.h.
 */
#include "ldb/check.h"
#include "ldb/loops.h"
#include "ldb/parts.h"
#include "ldb/window.h"

#include <stdio.h>
#include <string.h>

#include "rmi.h"

static inline ldb_val find(const rmi *self, rmi_root_kind kind, ldb_key q)
{
	const uint64_t f = rmi_predict_as(&self->root, kind, q);
	size_t lo, hi;
	rmi_leaf_window(&self->leaves[f >> 32], (uint32_t)f, &lo, &hi);
	const size_t rank = ldb_search_window(self->keys, self->n, lo, hi, q);
	return rank < self->n ? rank : LDB_NONE;
}

/*
 * A group of queries goes through three stages together: root, leaf, search. Each stage asks for
 * the cache lines of the next one, so the misses of the whole group overlap.
 */
static inline void find_group(const rmi *self, rmi_root_kind kind, const ldb_key *q, size_t count,
			      ldb_val *out)
{
	uint64_t f[LDB_GROUP];
	size_t lo[LDB_GROUP], hi[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		f[i] = rmi_predict_as(&self->root, kind, q[i]);
		const size_t leaf = (size_t)(f[i] >> 32);
		ldb_prefetch(self->leaves, leaf * sizeof *self->leaves);
		/* Every fourth leaf's successor is on the next line. */
		ldb_prefetch(self->leaves, (leaf + 1) * sizeof *self->leaves);
	}
	for (size_t i = 0; i < count; i++) {
		rmi_leaf_window(&self->leaves[f[i] >> 32], (uint32_t)f[i], &lo[i], &hi[i]);
		ldb_prefetch_window(self->keys, lo[i], hi[i]);
	}
	ldb_search_windows(self->keys, self->n, q, lo, hi, count, out);
}

/* The loops are made once for each kind of formula, so that they need not ask for it. */
#define LOOPS_FOR(name, kind)                                                                      \
	typedef rmi name;                                                                          \
	static inline ldb_val name##_find(const name *self, ldb_key q)                             \
	{                                                                                          \
		return find(self, kind, q);                                                        \
	}                                                                                          \
	LDB_INDEX_LOOPS(name, name##_find)                                                         \
	static inline void name##_group(const void *self, const ldb_key *q, size_t count,          \
					ldb_val *out)                                              \
	{                                                                                          \
		find_group(self, kind, q, count, out);                                             \
	}                                                                                          \
	static void name##_lookup_batch(const void *self, const ldb_key *q, size_t n,              \
					ldb_val *out)                                              \
	{                                                                                          \
		ldb_find_groups(self, name##_group, q, n, out);                                    \
	}
LOOPS_FOR(line, RMI_LINEAR)
LOOPS_FOR(cubic, RMI_CUBIC)
LOOPS_FOR(radix, RMI_RADIX)
LOOPS_FOR(loglinear, RMI_LOGLINEAR)

static const struct {
	void (*lookup)(const void *self, const ldb_key *q, size_t n, ldb_val *out);
	void (*chase)(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out);
	void (*lookup_batch)(const void *self, const ldb_key *q, size_t n, ldb_val *out);
} loops[] = {
	[RMI_LINEAR] = {line_lookup, line_chase, line_lookup_batch},
	[RMI_ROBUST] = {line_lookup, line_chase, line_lookup_batch},
	[RMI_CUBIC] = {cubic_lookup, cubic_chase, cubic_lookup_batch},
	[RMI_RADIX] = {radix_lookup, radix_chase, radix_lookup_batch},
	[RMI_LOGLINEAR] = {loglinear_lookup, loglinear_chase, loglinear_lookup_batch},
};

static void rmi_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	loops[((const rmi *)self)->root.kind].lookup(self, q, n, out);
}

static void rmi_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	loops[((const rmi *)self)->root.kind].chase(self, q, n, carry, out);
}

static void rmi_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	loops[((const rmi *)self)->root.kind].lookup_batch(self, q, n, out);
}

static void rmi_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const rmi *index = self;
	const uint64_t f = rmi_predict_leaf(&index->root, q);
	rmi_leaf_window(&index->leaves[f >> 32], (uint32_t)f, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_LEAVES, PARAM_ROOT, PARAM_BUDGET, PARAM_BUILD_THREADS };

static const ldb_param params_table[] = {
	{.name = "leaves",
	 .help = "models in the second layer; 0: as many as pay within the budget",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 28},
	{.name = "root",
	 .help = "model of the first layer",
	 .def = RMI_AUTO,
	 .choices = "auto|linear|robust|cubic|radix|loglinear"},
	{.name = "budget",
	 .help = "percent of the keys' size that the index may take where leaves is 0",
	 .def = 10,
	 .min = 1,
	 .max = 100},
	{.name = "build_threads",
	 .help = "threads that train the leaves",
	 .def = 1,
	 .min = 1,
	 .max = LDB_PARTS_MAX},
	{.name = NULL},
};

static const char *const root_names[] = {"auto", "linear", "robust", "cubic", "radix", "loglinear"};

static size_t leaves_bytes(const rmi *index)
{
	return (index->leaf_count + 1) * sizeof *index->leaves;
}

static void rmi_destroy(void *self)
{
	rmi *index = self;
	ldb_free(index->leaves, leaves_bytes(index));
	ldb_free(index, sizeof *index);
}

static ldb_status rmi_build(void **self, const ldb_key *keys, size_t n, const double *params,
			    ldb_error *err)
{
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"rmi: number of keys", "%zu", n);
	rmi *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "rmi", sizeof *index);
	memset(index, 0, sizeof *index);
	index->keys = keys;
	index->n = n;
	index->leaf_count = (size_t)params[PARAM_LEAVES];
	rmi_tune(index, (rmi_root_kind)params[PARAM_ROOT],
		 params[PARAM_BUDGET] / 100 * (double)n * sizeof *keys);
	index->leaves = ldb_alloc(leaves_bytes(index));
	if (!index->leaves) {
		const size_t bytes = leaves_bytes(index);
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "rmi: leaves", bytes);
	}
	rmi_train_leaves(index, (size_t)params[PARAM_BUILD_THREADS]);
	*self = index;
	return LDB_OK;
}

static size_t rmi_bytes(const void *self)
{
	return sizeof(rmi) + leaves_bytes(self);
}

static void rmi_info(const void *self, ldb_index_info *out)
{
	const rmi *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "leaves=%zu;root=%s", index->leaf_count,
		 root_names[index->root.kind]);
}

/* --- validate --------------------------------------------------------------------------------- */

/* The leaves' starts must be what the root says: no key of a leaf before it. */
static ldb_status check_leaves(const rmi *index, ldb_error *err)
{
	for (size_t i = 0; i <= index->leaf_count; i++) {
		const size_t start = index->leaves[i].start;
		const size_t least = i ? index->leaves[i - 1].start : 0;
		const int ordered = start >= least && start <= index->n;
		if (!ordered ||
		    (start < index->n &&
		     rmi_predict_leaf(&index->root, index->keys[start]) >> 32 < i) ||
		    (start > 0 &&
		     rmi_predict_leaf(&index->root, index->keys[start - 1]) >> 32 >= i))
			return ldb_fail(err, LDB_INVALID, "report it with the dataset",
					"rmi: a leaf starts at the wrong rank",
					"leaf %zu, start %zu", i, start);
	}
	return LDB_OK;
}

static ldb_status rmi_validate(const void *self, ldb_error *err)
{
	const rmi *index = self;
	const ldb_status status = check_leaves(index, err);
	return status == LDB_OK
		       ? ldb_check_windows("rmi", rmi_window, index, index->keys, index->n, err)
		       : status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "rmi",
	.summary = "recursive model index: two layers, bounds per leaf, root chosen by sample",
	.origin = "Kraska, Beutel, Chi, Dean, Polyzotis, SIGMOD 2018; "
		  "robust root: Maltry, Dittrich, VLDB 2022",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	.peak_bytes_per_key = 1, /* a tenth of 8 bytes; with many leaves asked for it is more */
	.build = rmi_build,
	.destroy = rmi_destroy,
	.bytes = rmi_bytes,
	.validate = rmi_validate,
	.lookup = rmi_lookup,
	.chase = rmi_chase,
	.lookup_batch = rmi_lookup_batch,
	.window = rmi_window,
	.info = rmi_info,
};
LDB_EXPORT_INDEX(table)
