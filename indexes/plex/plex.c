/*
 * plex: a linear spline within epsilon of the ranks, and on top of its points whichever finds them
 * at less cost, a radix table or a compact histogram tree. One parameter says all: epsilon.
 *
 * After Stoian, Kipf, Marcus, Kraska, Towards Practical Learned Indexing (AIDB 2021): the spline of
 * RadixSpline, and the choice by a cost model within a budget of the spline's own size. Here the
 * model weighs reads by the level of cache that the memory is in, instead of counting steps, and
 * looks at a sample of points. The parameter `layer` is for experiments.
 *
 * Cache lines. Table: one; tree: one for each level, the first ones cached. Then the points around
 * q, one or two neighbouring lines, and the window of 2 * epsilon + 1 keys: up to 40 neighbours at
 * once; with epsilon 31 two halvings, whose lines overlap, and two or three neighbouring lines.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "ldb/check.h"
#include "ldb/cht.h"
#include "ldb/loops.h"
#include "ldb/spline.h"
#include "ldb/window.h"

enum { LAYER_AUTO, LAYER_TABLE, LAYER_TREE };
enum { PARAM_EPSILON, PARAM_LAYER };

static const ldb_param params_table[] = {
	{.name = "epsilon",
	 .help = "most ranks the spline may be off; 0: the least that keeps the index small",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 30},
	{.name = "layer",
	 .help = "what finds the spline's points: the cheaper one, a radix table, a tree",
	 .def = LAYER_AUTO,
	 .choices = "auto|table|tree"},
	{.name = NULL},
};

typedef struct {
	ldb_spline spline;
	int layer; /* which of the two there is */
	ldb_radix radix;
	ldb_cht tree;
	uint64_t tune_ns;
} plex;

/* The loops are emitted once for each layer; these names are what LDB_INDEX_LOOPS wants. */
typedef plex by_table;
typedef plex by_tree;

/* The points' keys, as an array of every other word. */
#define STRIDE (sizeof(ldb_spline_point) / sizeof(ldb_key))
_Static_assert(STRIDE == 2 && offsetof(ldb_spline_point, key) == 0, "a key, then a rank");

static inline const ldb_key *point_keys(const plex *self)
{
	return &self->spline.points->key;
}

static inline void table_points(const void *self, ldb_key q, size_t *begin, size_t *end)
{
	ldb_radix_range(&((const plex *)self)->radix, q, begin, end);
}

static inline void tree_points(const void *self, ldb_key q, size_t *begin, size_t *end)
{
	const plex *index = self;
	ldb_cht_window(&index->tree, point_keys(index), STRIDE, q, begin, end);
}

static inline ldb_val by_table_find(const by_table *self, ldb_key q)
{
	return ldb_spline_find(&self->spline, table_points, q);
}

static inline ldb_val by_tree_find(const by_tree *self, ldb_key q)
{
	return ldb_spline_find(&self->spline, tree_points, q);
}

LDB_INDEX_LOOPS(by_table, by_table_find)
LDB_INDEX_LOOPS(by_tree, by_tree_find)

static void plex_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const plex *)self)->layer == LAYER_TREE)
		by_tree_lookup(self, q, n, out);
	else
		by_table_lookup(self, q, n, out);
}

static void plex_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	if (((const plex *)self)->layer == LAYER_TREE)
		by_tree_chase(self, q, n, carry, out);
	else
		by_table_chase(self, q, n, carry, out);
}

/* --- batched lookup --------------------------------------------------------------------------- */

static inline void table_points_group(const void *self, const ldb_key *q, size_t count,
				      size_t *begin, size_t *end)
{
	ldb_radix_ranges(&((const plex *)self)->radix, q, count, begin, end);
}

static inline void tree_points_group(const void *self, const ldb_key *q, size_t count,
				     size_t *begin, size_t *end)
{
	const plex *index = self;
	size_t at[LDB_GROUP];
	ldb_cht_descend_group(&index->tree, q, count, at);
	for (size_t i = 0; i < count; i++)
		ldb_cht_leaf(&index->tree, point_keys(index), STRIDE, at[i], q[i], &begin[i],
			     &end[i]);
}

static inline void by_table_group(const void *self, const ldb_key *q, size_t count, ldb_val *out)
{
	ldb_spline_find_group(self, table_points_group, q, count, out);
}

static inline void by_tree_group(const void *self, const ldb_key *q, size_t count, ldb_val *out)
{
	ldb_spline_find_group(self, tree_points_group, q, count, out);
}

static void plex_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const plex *index = self;
	if (index->spline.min == index->spline.max) /* no segment, and nothing to wait for */
		plex_lookup(self, q, n, out);
	else if (index->layer == LAYER_TREE)
		ldb_find_groups(self, by_tree_group, q, n, out);
	else
		ldb_find_groups(self, by_table_group, q, n, out);
}

static void plex_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const bool tree = ((const plex *)self)->layer == LAYER_TREE;
	ldb_spline_window(self, tree ? tree_points : table_points, q, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

/* The layer may take as much as the spline: 16 bytes for a point, so 4 entries, or half of that
 * with keys of 32 bits. */
static size_t entries_budget(const plex *index)
{
	const size_t entries = index->spline.point_count * sizeof(ldb_spline_point) / 4;
	return entries > 256 ? entries : 256;
}

/* Sets the table's range and shift to the cheapest within the budget, and returns the cost. */
static double plan_table(plex *index)
{
	const size_t m = index->spline.point_count, few = m / 16 < 32 ? m / 16 : 32;
	const size_t trims[] = {0, few, m / 1000 + few, m / 64, m / 16};
	double best = INFINITY;
	for (size_t i = 0; i < sizeof trims / sizeof *trims; i++) {
		ldb_radix radix = {0};
		ldb_trim_range(point_keys(index), STRIDE, m, trims[i], &radix.base, &radix.top);
		radix.shift = ldb_radix_shift_for(radix.top - radix.base, entries_budget(index));
		for (int coarser = 0; coarser < 4; coarser++) {
			const double cost = ldb_radix_cost(&radix, point_keys(index), STRIDE, m,
							   LDB_SPLINE_NARROW);
			if (cost < 0.99 * best) {
				best = cost;
				index->radix = radix;
			}
			radix.shift += radix.shift < LDB_KEY_BITS - 1;
		}
	}
	return best;
}

/* Builds the tree that is cheapest by estimate, if that is less than `limit`; *built says. Those
 * that take more than estimated are given up. */
static ldb_cht_result plan_tree(plex *index, double limit, bool *built)
{
	const ldb_cht_task task = {.keys = point_keys(index),
				   .stride = STRIDE,
				   .narrow = LDB_SPLINE_NARROW,
				   .most = entries_budget(index)};
	ldb_cht_estimate all;
	ldb_cht_set_range(&index->tree, task.keys, STRIDE, index->spline.point_count, true);
	ldb_cht_estimate_all(&index->tree, &task, &all);
	for (;;) {
		size_t expected;
		*built = ldb_cht_choose(&index->tree, &all, &task, &expected) < limit ||
			 limit == INFINITY;
		if (!*built)
			return LDB_CHT_BUILT;
		const ldb_cht_result result =
			ldb_cht_build(&index->tree, task.keys, STRIDE, expected, task.most);
		if (result != LDB_CHT_TOO_LARGE)
			return result;
		ldb_cht_refuse(&index->tree, &all);
	}
}

/* Chooses and builds the layer. */
static ldb_status build_layer(plex *index, int layer, ldb_error *err)
{
	const uint64_t start_ns = ldb_now_ns();
	const double table_cost = layer == LAYER_TREE ? INFINITY : plan_table(index);
	bool built = false;
	if (layer != LAYER_TABLE && index->spline.point_count <= LDB_CHT_KEYS_MAX &&
	    plan_tree(index, table_cost, &built) != LDB_CHT_BUILT)
		return ldb_fail_oom(err, "plex: tree", index->tree.entries * sizeof(uint32_t));
	index->tune_ns += ldb_now_ns() - start_ns;
	index->layer = built ? LAYER_TREE : LAYER_TABLE;
	if (!built &&
	    !ldb_radix_build(&index->radix, point_keys(index), STRIDE, index->spline.point_count))
		return ldb_fail_oom(err, "plex: radix table", ldb_radix_bytes(&index->radix));
	return LDB_OK;
}

static void plex_destroy(void *self)
{
	plex *index = self;
	ldb_spline_free(&index->spline);
	ldb_radix_free(&index->radix);
	ldb_cht_free(&index->tree);
	ldb_free(index, sizeof *index);
}

/* The spline, and, where there are keys, the layer over its points. */
static ldb_status build_model(plex *index, const ldb_key *keys, size_t n, const double *values,
			      ldb_error *err)
{
	uint64_t epsilon = (uint64_t)values[PARAM_EPSILON];
	if (epsilon == 0) {
		const uint64_t start_ns = ldb_now_ns();
		epsilon = ldb_spline_choose_epsilon(keys, n);
		index->tune_ns = ldb_now_ns() - start_ns;
	}
	const ldb_status status = ldb_spline_build(&index->spline, "plex", keys, n, epsilon, err);
	return status == LDB_OK && n ? build_layer(index, (int)values[PARAM_LAYER], err) : status;
}

static ldb_status plex_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	plex *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "plex", sizeof *index);
	memset(index, 0, sizeof *index);
	const ldb_status status = build_model(index, keys, n, values, err);
	if (status != LDB_OK) {
		index->radix.count = 0; /* planned, not built */
		plex_destroy(index);
		return status;
	}
	*self = index;
	return LDB_OK;
}

static size_t plex_bytes(const void *self)
{
	const plex *index = self;
	return sizeof *index + ldb_spline_bytes(&index->spline) + ldb_radix_bytes(&index->radix) +
	       ldb_cht_bytes(&index->tree);
}

static void plex_info(const void *self, ldb_index_info *out)
{
	const plex *index = self;
	out->tune_ns = index->tune_ns;
	if (index->layer == LAYER_TREE)
		snprintf(out->chosen, sizeof out->chosen,
			 "epsilon=%" PRIu64 ";layer=tree;bins=%u;max_error=%" PRIu32,
			 index->spline.epsilon, 1u << index->tree.bits, index->tree.max_error);
	else
		snprintf(out->chosen, sizeof out->chosen,
			 "epsilon=%" PRIu64 ";layer=table;entries=%zu", index->spline.epsilon,
			 index->radix.count);
}

/* --- validate --------------------------------------------------------------------------------- */

/* The layer leads each point to itself. */
static ldb_status check_layer(const plex *index, ldb_error *err)
{
	ldb_spline_top_fn *points = index->layer == LAYER_TREE ? tree_points : table_points;
	for (size_t i = 0; i < index->spline.point_count; i++) {
		size_t begin, end;
		points(index, index->spline.points[i].key, &begin, &end);
		if (begin > i || end < i)
			return ldb_fail(err, LDB_INVALID,
					"report it with the dataset and the parameters",
					"plex: the layer misses a spline point",
					"point %zu is not in [%zu, %zu]", i, begin, end);
	}
	return LDB_OK;
}

static ldb_status plex_validate(const void *self, ldb_error *err)
{
	const plex *index = self;
	const ldb_spline *spline = &index->spline;
	ldb_status status = ldb_spline_check(spline, "plex", err);
	if (status == LDB_OK)
		status = check_layer(index, err);
	return status == LDB_OK
		       ? ldb_check_windows("plex", plex_window, index, spline->keys, spline->n, err)
		       : status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "plex",
	.summary = "linear spline within epsilon of the ranks, self-tuned radix table or tree",
	.origin = "Stoian, Kipf, Marcus, Kraska: Towards Practical Learned Indexing, AIDB 2021",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	/* Points for a twentieth of the keys' size, three times that while their list grows, and
	 * the layer; small epsilons take more. */
	.peak_bytes_per_key = 4,
	.build = plex_build,
	.destroy = plex_destroy,
	.bytes = plex_bytes,
	.validate = plex_validate,
	.lookup = plex_lookup,
	.chase = plex_chase,
	.lookup_batch = plex_lookup_batch,
	.window = plex_window,
	.info = plex_info,
};
LDB_EXPORT_INDEX(table)
