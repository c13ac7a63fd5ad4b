/*
 * The plug-in around the RadixSpline: parameters, build, the batched pipeline, checks. The model
 * itself is in radixspline.h.
 */
#include "clock.h"
#include "ldb/check.h"
#include "ldb/loops.h"
#include "ldb/window.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "radixspline.h"

/* A point with a smaller prefix is < q, one with a larger prefix > q. */
static inline void find_points(const void *self, ldb_key q, size_t *begin, size_t *end)
{
	ldb_radix_range(&((const radixspline *)self)->radix, q, begin, end);
}

static inline ldb_val radixspline_find(const radixspline *self, ldb_key q)
{
	return ldb_spline_find(&self->spline, find_points, q);
}

LDB_INDEX_LOOPS(radixspline, radixspline_find)

static inline void find_points_group(const void *self, const ldb_key *q, size_t count,
				     size_t *begin, size_t *end)
{
	ldb_radix_ranges(&((const radixspline *)self)->radix, q, count, begin, end);
}

static inline void find_group(const void *self, const ldb_key *q, size_t count, ldb_val *out)
{
	ldb_spline_find_group(self, find_points_group, q, count, out);
}

static void radixspline_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const ldb_spline *spline = self;
	if (spline->min == spline->max) /* no segment to interpolate on, nothing to wait for */
		radixspline_lookup(self, q, n, out);
	else
		ldb_find_groups(self, find_group, q, n, out);
}

static void radixspline_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	ldb_spline_window(self, find_points, q, lo, hi);
}

/* --- build ------------------------------------------------------------------------------------ */

#define RADIX_BITS_MAX 28

enum { PARAM_RADIX_BITS, PARAM_EPSILON, PARAM_RANGE };

static const ldb_param params_table[] = {
	{.name = "radix_bits",
	 .help = "the radix table has 2^radix_bits entries; 0: two to four for each spline point",
	 .def = 0,
	 .min = 0,
	 .max = RADIX_BITS_MAX},
	{.name = "epsilon",
	 .help = "most ranks the spline may be off; 0: the least that keeps the index small",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 30},
	{.name = "range",
	 .help = "keys that the radix table covers: without far outliers, or (as published) all",
	 .def = 0,
	 .choices = "trimmed|full"},
	{.name = NULL},
};

static void radixspline_destroy(void *self)
{
	radixspline *index = self;
	ldb_spline_free(&index->spline);
	ldb_radix_free(&index->radix);
	ldb_free(index, sizeof *index);
}

/* Two to four table entries for each point: the table takes about as much as the points. */
static unsigned choose_radix_bits(size_t point_count)
{
	unsigned bits = 1;
	while (bits < RADIX_BITS_MAX && ((size_t)1 << bits) < point_count * 2)
		bits++;
	return bits;
}

/*
 * Builds the table over the points, and sets radix_bits to the bits it uses: no more than its range
 * has. The paper's table covers all keys, and a single far outlier then leaves all points in one
 * entry (seen on SOSD's fb). Trimmed, it leaves out the outermost 0.1 % at both ends.
 */
static ldb_status build_table(radixspline *index, bool trimmed, ldb_error *err)
{
	ldb_radix *radix = &index->radix;
	const ldb_key *keys = &index->spline.points->key; /* every other word */
	const size_t m = index->spline.point_count, few = m / 16 < 32 ? m / 16 : 32;
	ldb_trim_range(keys, 2, m, trimmed ? m / 1000 + few : 0, &radix->base, &radix->top);
	const unsigned bits = ldb_radix_range_bits(radix);
	if (index->radix_bits > bits)
		index->radix_bits = bits;
	radix->shift = bits - index->radix_bits;
	if (ldb_radix_build(radix, keys, 2, m))
		return LDB_OK;
	const size_t bytes = ldb_radix_bytes(radix);
	radix->count = 0; /* nothing is held */
	return ldb_fail_oom(err, "radixspline: radix table", bytes);
}

/* The spline, and, where there are keys, the table over its points. */
static ldb_status build_model(radixspline *index, const ldb_key *keys, size_t n,
			      const double *params, ldb_error *err)
{
	uint64_t epsilon = (uint64_t)params[PARAM_EPSILON];
	if (epsilon == 0) {
		const uint64_t start_ns = ldb_now_ns();
		epsilon = ldb_spline_choose_epsilon(keys, n);
		index->tune_ns = ldb_now_ns() - start_ns;
	}
	const ldb_status status =
		ldb_spline_build(&index->spline, "radixspline", keys, n, epsilon, err);
	if (status != LDB_OK || n == 0)
		return status;
	index->radix_bits = (unsigned)params[PARAM_RADIX_BITS];
	if (index->radix_bits == 0)
		index->radix_bits = choose_radix_bits(index->spline.point_count);
	return build_table(index, params[PARAM_RANGE] == 0, err);
}

static ldb_status radixspline_build(void **self, const ldb_key *keys, size_t n,
				    const double *params, ldb_error *err)
{
	radixspline *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "radixspline", sizeof *index);
	memset(index, 0, sizeof *index);
	const ldb_status status = build_model(index, keys, n, params, err);
	if (status != LDB_OK) {
		radixspline_destroy(index);
		return status;
	}
	*self = index;
	return LDB_OK;
}

static size_t radixspline_bytes(const void *self)
{
	const radixspline *index = self;
	return sizeof *index + ldb_spline_bytes(&index->spline) + ldb_radix_bytes(&index->radix);
}

static void radixspline_info(const void *self, ldb_index_info *out)
{
	const radixspline *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "radix_bits=%u;epsilon=%" PRIu64,
		 index->radix_bits, index->spline.epsilon);
}

/* --- validate --------------------------------------------------------------------------------- */

/* table[p] counts the points with a smaller prefix, so all points from there on have p or more. */
static ldb_status check_table(const radixspline *index, ldb_error *err)
{
	const ldb_radix *radix = &index->radix;
	const ldb_spline *spline = &index->spline;
	size_t point = 0;
	for (size_t p = 0; p < radix->count; p++) {
		while (point < spline->point_count &&
		       ldb_radix_prefix(radix, spline->points[point].key) < p)
			point++;
		if (radix->table[p] != point)
			return ldb_fail(err, LDB_INVALID,
					"report it with the dataset and the parameters",
					"radixspline: wrong entry in the radix table",
					"entry %zu is %u, not %zu", p, radix->table[p], point);
	}
	return LDB_OK;
}

static ldb_status radixspline_validate(const void *self, ldb_error *err)
{
	const radixspline *index = self;
	const ldb_spline *spline = &index->spline;
	ldb_status status = ldb_spline_check(spline, "radixspline", err);
	if (status == LDB_OK)
		status = check_table(index, err);
	return status == LDB_OK ? ldb_check_windows("radixspline", radixspline_window, index,
						    spline->keys, spline->n, err)
				: status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "radixspline",
	.summary = "linear spline within epsilon of the ranks, radix table over its points",
	.origin = "Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann, aiDM 2020",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	/* At most about two points for epsilon keys: with 32, 1 byte for a key, and 2 or 3 while
	 * the list grows; small epsilons take more. */
	.peak_bytes_per_key = 4,
	.build = radixspline_build,
	.destroy = radixspline_destroy,
	.bytes = radixspline_bytes,
	.validate = radixspline_validate,
	.lookup = radixspline_lookup,
	.chase = radixspline_chase,
	.lookup_batch = radixspline_lookup_batch,
	.window = radixspline_window,
	.info = radixspline_info,
};
LDB_EXPORT_INDEX(table)
