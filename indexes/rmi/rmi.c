/*
 * The plug-in around the recursive model index: parameters, build, the batched pipeline, checks.
 * The model itself is in rmi.h.
 */
#include "clock.h"
#include "ldb/loops.h"
#include "ldb/window.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rmi.h"

static inline ldb_val rmi_find(const rmi *self, ldb_key q)
{
	const uint64_t f = rmi_predict_leaf(&self->root, q);
	size_t lo, hi;
	rmi_leaf_window(&self->leaves[f >> 32], (uint32_t)f, &lo, &hi);
	const size_t rank = ldb_search_window(self->keys, self->n, lo, hi, q);
	return rank < self->n ? rank : LDB_NONE;
}

LDB_INDEX_LOOPS(rmi, rmi_find)

/*
 * A group of queries goes through three stages together: root, leaf, search. Each stage asks for
 * the cache lines of the next one, so the misses of the whole group overlap.
 */
static void rmi_lookup_group(const rmi *self, const ldb_key *q, size_t count, ldb_val *out)
{
	uint64_t f[LDB_GROUP];
	size_t lo[LDB_GROUP], hi[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		f[i] = rmi_predict_leaf(&self->root, q[i]);
		const rmi_leaf *leaf = &self->leaves[f[i] >> 32];
		__builtin_prefetch(leaf);
		__builtin_prefetch(leaf + 1); /* every fourth is on the next line */
	}
	for (size_t i = 0; i < count; i++) {
		rmi_leaf_window(&self->leaves[f[i] >> 32], (uint32_t)f[i], &lo[i], &hi[i]);
		ldb_prefetch_window(self->keys, lo[i], hi[i]);
	}
	ldb_search_windows(self->keys, self->n, q, lo, hi, count, out);
}

static void rmi_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	for (size_t i = 0; i < n; i += LDB_GROUP)
		rmi_lookup_group(self, q + i, n - i < LDB_GROUP ? n - i : LDB_GROUP, out + i);
}

static void rmi_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const rmi *index = self;
	const uint64_t f = rmi_predict_leaf(&index->root, q);
	rmi_leaf_window(&index->leaves[f >> 32], (uint32_t)f, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_LEAVES, PARAM_ROOT };

static const ldb_param params_table[] = {
	{.name = "leaves",
	 .help = "models in the second layer; 0: one for 24 keys",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 28},
	{.name = "root",
	 .help = "model of the first layer",
	 .def = RMI_AUTO,
	 .choices = "auto|linear|robust|cubic|radix"},
	{.name = NULL},
};

static const char *const root_names[] = {"auto", "linear", "robust", "cubic", "radix"};

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
	if (index->leaf_count == 0)
		index->leaf_count = rmi_choose_leaf_count(n);
	index->leaves = ldb_alloc(leaves_bytes(index));
	if (!index->leaves) {
		const size_t bytes = leaves_bytes(index);
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "rmi: leaves", bytes);
	}
	const rmi_root_kind kind = (rmi_root_kind)params[PARAM_ROOT];
	if (kind == RMI_AUTO) {
		const uint64_t start_ns = ldb_now_ns();
		rmi_choose_root(index);
		index->tune_ns = ldb_now_ns() - start_ns;
	} else {
		rmi_train_root(&index->root, kind, keys, n, index->leaf_count);
	}
	rmi_train_leaves(index);
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

static ldb_status check_window(const rmi *index, ldb_key q, size_t rank, ldb_error *err)
{
	size_t lo, hi;
	rmi_window(index, q, &lo, &hi);
	if (lo <= rank && rank <= hi && hi <= index->n)
		return LDB_OK;
	return ldb_fail(err, LDB_INVALID, "report it with the dataset and the parameters",
			"rmi: the window of a query does not hold its rank",
			"query %" PRIu64 ", rank %zu, window [%zu, %zu]", q, rank, lo, hi);
}

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

/* Every key, and both ends of every gap: windows move in one direction between them. */
static ldb_status rmi_validate(const void *self, ldb_error *err)
{
	const rmi *index = self;
	const ldb_key *keys = index->keys;
	const size_t n = index->n;
	ldb_status status = check_leaves(index, err);
	if (status == LDB_OK)
		status = check_window(index, 0, 0, err);
	if (status == LDB_OK && (n == 0 || keys[n - 1] < LDB_KEY_MAX))
		status = check_window(index, LDB_KEY_MAX, n, err);
	for (size_t i = 0; i < n && status == LDB_OK; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		status = check_window(index, keys[i], i, err);
		if (status == LDB_OK && keys[i] > 0 && (i == 0 || keys[i - 1] < keys[i] - 1))
			status = check_window(index, keys[i] - 1, i, err);
		if (status == LDB_OK && i > 0)
			status = check_window(index, keys[i - 1] + 1, i, err);
	}
	return status;
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
	.peak_bytes_per_key = 1, /* 16 bytes for 24 keys; with many leaves asked for it is more */
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
