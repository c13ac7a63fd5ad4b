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

static inline ldb_val radixspline_find(const radixspline *self, ldb_key q)
{
	if (q <= self->min)
		return self->min_answer;
	if (q > self->max)
		return LDB_NONE;
	size_t lo, hi;
	rs_find_window(self, q, &lo, &hi);
	return ldb_search_window(self->keys, self->n, lo, hi, q);
}

LDB_INDEX_LOOPS(radixspline, radixspline_find)

/* --- batched lookup --------------------------------------------------------------------------- */

/*
 * A group of queries goes through four stages together: table, points, interpolation, search. Each
 * stage asks for the cache lines of the next one, so the misses of the whole group overlap. The
 * model sees queries clamped to (min, max]; those outside get their window put right.
 */
static void radixspline_lookup_group(const radixspline *self, const ldb_key *q, size_t count,
				     ldb_val *out)
{
	ldb_key c[LDB_GROUP];
	size_t prefix[LDB_GROUP], begin[LDB_GROUP], end[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		c[i] = q[i] > self->min ? q[i] : self->min + 1;
		c[i] = c[i] < self->max ? c[i] : self->max;
		prefix[i] = ldb_radix_prefix(&self->radix, c[i]);
		__builtin_prefetch(&self->radix.table[prefix[i]]);
	}
	for (size_t i = 0; i < count; i++) {
		begin[i] = self->radix.table[prefix[i]];
		end[i] = self->radix.table[prefix[i] + 1];
		ldb_spline_prefetch(self->points, begin[i], end[i]);
	}
	ldb_spline_narrow(self->points, c, begin, end, count);
	size_t *lo = begin, *hi = end;
	for (size_t i = 0; i < count; i++) {
		const size_t right = ldb_spline_search(self->points, begin[i], end[i], c[i]);
		ldb_spline_window(self->points, right, c[i], self->epsilon, &lo[i], &hi[i]);
		lo[i] = q[i] <= self->min ? 0 : q[i] > self->max ? self->n : lo[i];
		hi[i] = q[i] <= self->min ? 0 : q[i] > self->max ? self->n : hi[i];
		ldb_prefetch_window(self->keys, lo[i], hi[i]);
	}
	ldb_search_windows(self->keys, self->n, q, lo, hi, count, out);
}

static void radixspline_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const radixspline *index = self;
	if (index->min == index->max) { /* no segment to interpolate on, and nothing to wait for */
		radixspline_lookup(self, q, n, out);
		return;
	}
	for (size_t i = 0; i < n; i += LDB_GROUP)
		radixspline_lookup_group(index, q + i, n - i < LDB_GROUP ? n - i : LDB_GROUP,
					 out + i);
}

static void radixspline_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const radixspline *index = self;
	*lo = *hi = q > index->max ? index->n : 0;
	if (q > index->min && q <= index->max)
		rs_find_window(index, q, lo, hi);
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
	 .def = 32,
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
	ldb_free(index->points, index->point_count * sizeof *index->points);
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
	const ldb_key *keys = &index->points->key; /* every other word */
	const size_t m = index->point_count, few = m / 16 < 32 ? m / 16 : 32;
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

/* All but the empty index: points, then the table over them. */
static ldb_status build_model(radixspline *index, const double *params, ldb_error *err)
{
	index->epsilon = (uint64_t)params[PARAM_EPSILON];
	index->radix_bits = (unsigned)params[PARAM_RADIX_BITS];
	if (index->epsilon == 0) {
		const uint64_t start_ns = ldb_now_ns();
		index->epsilon = ldb_spline_choose_epsilon(index->keys, index->n);
		index->tune_ns = ldb_now_ns() - start_ns;
	}
	size_t count;
	index->points = ldb_spline_build(index->keys, index->n, index->epsilon, &count);
	if (!index->points)
		return ldb_fail_oom(err, "radixspline: spline points",
				    count * sizeof *index->points);
	index->point_count = count;
	if (count >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take a larger epsilon",
				"radixspline: more than 2^32 - 2 spline points", "%zu", count);
	if (index->radix_bits == 0)
		index->radix_bits = choose_radix_bits(count);
	return build_table(index, params[PARAM_RANGE] == 0, err);
}

static ldb_status radixspline_build(void **self, const ldb_key *keys, size_t n,
				    const double *params, ldb_error *err)
{
	radixspline *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "radixspline", sizeof *index);
	memset(index, 0, sizeof *index);
	index->keys = keys;
	index->n = n;
	index->min_answer = LDB_NONE;
	if (n > 0) {
		index->min = keys[0];
		index->max = keys[n - 1];
		index->min_answer = 0;
		const ldb_status status = build_model(index, params, err);
		if (status != LDB_OK) {
			radixspline_destroy(index);
			return status;
		}
	}
	*self = index;
	return LDB_OK;
}

static size_t radixspline_bytes(const void *self)
{
	const radixspline *index = self;
	return sizeof *index + index->point_count * sizeof *index->points +
	       ldb_radix_bytes(&index->radix);
}

static void radixspline_info(const void *self, ldb_index_info *out)
{
	const radixspline *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "radix_bits=%u;epsilon=%" PRIu64,
		 index->radix_bits, index->epsilon);
}

/* --- validate --------------------------------------------------------------------------------- */

#define REMEDY "report it with the dataset and the parameters"

static ldb_status check_points(const radixspline *index, ldb_error *err)
{
	const ldb_spline_point *points = index->points;
	const size_t m = index->point_count;
	if (points[0].key != index->min || points[m - 1].key != index->max)
		return ldb_fail(err, LDB_INVALID, REMEDY,
				"radixspline: the spline does not span all keys",
				"%" PRIu64 " to %" PRIu64, points[0].key, points[m - 1].key);
	for (size_t i = 1; i < m; i++)
		if (points[i].key <= points[i - 1].key || points[i].rank < points[i - 1].rank)
			return ldb_fail(err, LDB_INVALID, REMEDY,
					"radixspline: spline points do not increase", "point %zu",
					i);
	return LDB_OK;
}

/* table[p] counts the points with a smaller prefix, so all points from there on have p or more. */
static ldb_status check_table(const radixspline *index, ldb_error *err)
{
	const ldb_radix *radix = &index->radix;
	size_t point = 0;
	for (size_t p = 0; p < radix->count; p++) {
		while (point < index->point_count &&
		       ldb_radix_prefix(radix, index->points[point].key) < p)
			point++;
		if (radix->table[p] != point)
			return ldb_fail(err, LDB_INVALID, REMEDY,
					"radixspline: wrong entry in the radix table",
					"entry %zu is %u, not %zu", p, radix->table[p], point);
	}
	return LDB_OK;
}

static ldb_status radixspline_validate(const void *self, ldb_error *err)
{
	const radixspline *index = self;
	if (index->n == 0)
		return LDB_OK;
	ldb_status status = check_points(index, err);
	if (status == LDB_OK)
		status = check_table(index, err);
	return status == LDB_OK ? ldb_check_windows("radixspline", radixspline_window, index,
						    index->keys, index->n, err)
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
