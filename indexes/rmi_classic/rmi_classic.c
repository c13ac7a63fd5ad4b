/* The plug-in around the published recursive model index (rmi_classic.h). */
#include "rmi_classic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ldb/loops.h"

static inline __attribute__((always_inline)) ldb_val find(const rmi_classic *self,
							  root_formula formula, leaf_layout layout,
							  search_kind search, ldb_key q)
{
	const prediction p = predict(self, formula, layout, q);
	size_t rank = search_window(self, search, p, q);
	if (__builtin_expect(is_beyond(self, p, rank, q), 0))
		rank = find_beyond(self, rank, q);
	return rank < self->n ? rank : LDB_NONE;
}

/* --- a loop for each root, layout and search, so that none of them is asked for per query -------
 */

typedef struct {
	void (*lookup)(const void *self, const ldb_key *q, size_t n, ldb_val *out);
	void (*chase)(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out);
} loops;

#define LOOPS_OF(name, formula, layout, search)                                                    \
	typedef rmi_classic name;                                                                  \
	static inline ldb_val name##_find(const name *self, ldb_key q)                             \
	{                                                                                          \
		return find(self, formula, layout, search, q);                                     \
	}                                                                                          \
	LDB_INDEX_LOOPS(name, name##_find)

/* `with` is called with (formula, layout, search) in the short form that names are made of. */
#define FOR_SEARCHES(with, formula, layout)                                                        \
	with(formula, layout, BINARY) with(formula, layout, MODEL_BINARY)                          \
		with(formula, layout, LINEAR) with(formula, layout, MODEL_LINEAR)                  \
			with(formula, layout, EXPONENTIAL)                                         \
				with(formula, layout, MODEL_EXPONENTIAL)                           \
					with(formula, layout, INTERPOLATION)                       \
						with(formula, layout, SIMD)
#define FOR_LAYOUTS(with, formula)                                                                 \
	FOR_SEARCHES(with, formula, NOTHING)                                                       \
	FOR_SEARCHES(with, formula, ONE_BOUND)                                                     \
	FOR_SEARCHES(with, formula, TWO_BOUNDS)
#define FOR_ALL(with)                                                                              \
	FOR_LAYOUTS(with, LINE)                                                                    \
	FOR_LAYOUTS(with, CUBIC)                                                                   \
	FOR_LAYOUTS(with, RADIX)

#define DEFINE(formula, layout, search)                                                            \
	LOOPS_OF(formula##_##layout##_##search, FORMULA_##formula, WITH_##layout, SEARCH_##search)
FOR_ALL(DEFINE)

#define ENTRY(formula, layout, search)                                                             \
	[FORMULA_##formula][WITH_##layout][SEARCH_##search] = {                                    \
		formula##_##layout##_##search##_lookup, formula##_##layout##_##search##_chase},
static const loops loops_of[FORMULAS][LAYOUTS][SEARCHES] = {FOR_ALL(ENTRY)};

static const loops *own_loops(const rmi_classic *self)
{
	return &loops_of[self->formula][self->layout][self->search];
}

static void rmi_classic_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	own_loops(self)->lookup(self, q, n, out);
}

static void rmi_classic_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry,
			      ldb_val *out)
{
	own_loops(self)->chase(self, q, n, carry, out);
}

/* The rank, by the plainest search. */
static size_t rank_of(const rmi_classic *self, prediction p, ldb_key q)
{
	const size_t rank = ldb_search_binary(self->keys, p.lo, p.hi, q);
	return is_beyond(self, p, rank, q) ? find_beyond(self, rank, q) : rank;
}

/* The window, and where the rank is beyond it what is looked at then, too. */
static void rmi_classic_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const rmi_classic *index = self;
	const prediction p = predict(index, index->formula, index->layout, q);
	const size_t rank = rank_of(index, p, q);
	*lo = rank < p.lo ? rank : p.lo;
	*hi = rank > p.hi ? rank : p.hi;
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_LEAVES, PARAM_ROOT, PARAM_LEAF, PARAM_BOUNDS, PARAM_SEARCH };
enum { KEYS_PER_LEAF = 64 };

static const ldb_param params_table[] = {
	{.name = "leaves",
	 .help = "models in the second layer; 0: one for every 64 keys",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 28},
	{.name = "root",
	 .help = "model of the first layer",
	 .def = ROOT_LINEAR_SPLINE,
	 .choices = "linear|linear_spline|cubic_spline|radix"},
	{.name = "leaf",
	 .help = "models of the second layer",
	 .def = LEAF_LINEAR,
	 .choices = "linear|linear_spline"},
	{.name = "bounds",
	 .help = "what is stored of the models' errors",
	 .def = BOUNDS_LOCAL_INDIVIDUAL,
	 .choices = "local_individual|local_absolute|global_individual|global_absolute|none"},
	{.name = "search",
	 .help = "of the last mile; model_*: from the predicted rank",
	 .def = SEARCH_BINARY,
	 .choices = "binary|model_binary|linear|model_linear|exponential|model_exponential|"
		    "interpolation|simd"},
	{.name = NULL},
};

static size_t leaves_bytes(const rmi_classic *index)
{
	return index->leaf_count * leaf_bytes(index->layout);
}

static void rmi_classic_destroy(void *self)
{
	rmi_classic *index = self;
	ldb_free(index->leaves, leaves_bytes(index));
	ldb_free(index, sizeof *index);
}

static ldb_status rmi_classic_build(void **self, const ldb_key *keys, size_t n,
				    const double *params, ldb_error *err)
{
	static const root_formula formulas[] = {FORMULA_LINE, FORMULA_LINE, FORMULA_CUBIC,
						FORMULA_RADIX};
	static const leaf_layout layouts[] = {WITH_TWO_BOUNDS, WITH_ONE_BOUND, WITH_NOTHING,
					      WITH_NOTHING, WITH_NOTHING};
	const root_kind root = (root_kind)params[PARAM_ROOT];
	const bounds_kind bounds = (bounds_kind)params[PARAM_BOUNDS];
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"rmi_classic: number of keys", "%zu", n);
	rmi_classic *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "rmi_classic", sizeof *index);
	const size_t leaves = (size_t)params[PARAM_LEAVES];
	*index = (rmi_classic){
		.keys = keys,
		.n = n,
		.base = n ? keys[0] : 0,
		.top = n ? keys[n - 1] : 0,
		.formula = formulas[root],
		.layout = layouts[bounds],
		.search = (search_kind)params[PARAM_SEARCH],
		.leaf_count = leaves ? leaves : n / KEYS_PER_LEAF + 1,
		.last_rank = n ? (double)(n - 1) : 0,
	};
	index->last_leaf = (double)(index->leaf_count - 1);
	index->leaves = ldb_alloc(leaves_bytes(index));
	if (!index->leaves) {
		const size_t bytes = leaves_bytes(index);
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "rmi_classic: leaves", bytes);
	}
	train(index, root, (leaf_kind)params[PARAM_LEAF]);
	measure_bounds(index, bounds);
	*self = index;
	return LDB_OK;
}

static size_t rmi_classic_bytes(const void *self)
{
	return sizeof(rmi_classic) + leaves_bytes(self);
}

/* --- what the critical analysis plots --------------------------------------------------------- */

enum { ERRORS_MOST = 1 << 14 };

static int compare_errors(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

/* Errors are those of keys spread evenly over the ranks. */
static void rmi_classic_info(const void *self, ldb_index_info *out)
{
	const rmi_classic *index = self;
	uint32_t errors[ERRORS_MOST];
	const size_t count = index->n < ERRORS_MOST ? index->n : ERRORS_MOST;
	double sum = 0;
	for (size_t i = 0; i < count; i++) {
		const ldb_key q = index->keys[(unsigned __int128)i * index->n / count];
		const prediction p = predict(index, index->formula, index->layout, q);
		const size_t rank = rank_of(index, p, q);
		errors[i] = (uint32_t)(rank > p.at ? rank - p.at : p.at - rank);
		sum += errors[i];
	}
	qsort(errors, count, sizeof *errors, compare_errors);
	int length =
		snprintf(out->chosen, sizeof out->chosen, "leaves=%zu;empty=%.4f;largest=%zu",
			 index->leaf_count, (double)index->empty_leaves / (double)index->leaf_count,
			 index->largest_leaf);
	if (count)
		snprintf(out->chosen + length, sizeof out->chosen - (size_t)length,
			 ";mean_error=%.4g;median_error=%u", sum / (double)count,
			 errors[count / 2]);
}

/* --- validate --------------------------------------------------------------------------------- */

/* Answers are right whatever the windows are; those of the keys must hold by themselves. */
static ldb_status rmi_classic_validate(const void *self, ldb_error *err)
{
	const rmi_classic *index = self;
	for (size_t i = 0; i < index->n; i++) {
		if (i > 0 && index->keys[i] == index->keys[i - 1])
			continue;
		const prediction p = predict(index, index->formula, index->layout, index->keys[i]);
		if (i < p.lo || i > p.hi)
			return ldb_fail(err, LDB_INVALID,
					"report it with the dataset and the parameters",
					"rmi_classic", "the window of key %zu is [%zu, %zu]", i,
					p.lo, p.hi);
	}
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "rmi_classic",
	.summary = "recursive model index as published: models, bounds and searches to choose",
	.origin = "Kraska, Beutel, Chi, Dean, Polyzotis, SIGMOD 2018; variants: Maltry, Dittrich, "
		  "VLDB 2022",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	.peak_bytes_per_key = 1, /* 24 bytes for 64 keys; with many leaves asked for it is more */
	.build = rmi_classic_build,
	.destroy = rmi_classic_destroy,
	.bytes = rmi_classic_bytes,
	.validate = rmi_classic_validate,
	.lookup = rmi_classic_lookup,
	.chase = rmi_classic_chase,
	.window = rmi_classic_window,
	.info = rmi_classic_info,
};
LDB_EXPORT_INDEX(table)
