/*
 * The plug-in around the PGM-index: parameters, lookups, the batched pipeline, checks. The model
 * itself is in ldb/pgm.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "clock.h"
#include "ldb/check.h"
#include "ldb/loops.h"
#include "ldb/pgm_build.h"
#include "tune.h"

typedef ldb_pgm pgm;

static inline ldb_val pgm_find(const pgm *self, ldb_key q)
{
	const size_t rank = ldb_pgm_rank(self, q);
	return rank < self->n ? rank : LDB_NONE;
}

LDB_INDEX_LOOPS(pgm, pgm_find)

static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const pgm *self = index;
	ldb_pgm_ranks(self, q, count, out);
	for (size_t i = 0; i < count; i++)
		out[i] = out[i] < self->n ? out[i] : LDB_NONE;
}

static void pgm_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const pgm *)self)->min == LDB_KEY_MAX) /* no query is above it: nothing to search */
		pgm_lookup(self, q, n, out);
	else
		ldb_find_groups(self, find_group, q, n, out);
}

static void pgm_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const pgm *index = self;
	*lo = *hi = 0;
	if (q > index->min) {
		*hi = ldb_pgm_predict(ldb_pgm_descend(index, q), q);
		*lo = ldb_pgm_window_low(*hi, index->level[0].width);
	}
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_EPSILON, PARAM_EPSILON_RECURSIVE };

static const ldb_param params_table[] = {
	{.name = "epsilon",
	 .help = "most ranks a line may be off; 0: the least that keeps the index small",
	 .def = 0,
	 .min = 0,
	 .max = 1 << 16},
	{.name = "epsilon_recursive",
	 .help = "the same for the levels above, in segments of the level below",
	 .def = LDB_PGM_EPSILON_RECURSIVE,
	 .min = 1,
	 .max = 1 << 16},
	{.name = NULL},
};

static void pgm_destroy(void *self)
{
	ldb_pgm_free(self);
	ldb_free(self, sizeof(pgm));
}

static ldb_status build_model(pgm *index, const ldb_key *keys, size_t n, const double *params,
			      ldb_error *err)
{
	uint64_t epsilon = (uint64_t)params[PARAM_EPSILON], tune_ns = 0;
	if (epsilon == 0 && n > 0) {
		const uint64_t start_ns = ldb_now_ns();
		epsilon = pgm_choose_epsilon(keys, n);
		tune_ns = ldb_now_ns() - start_ns;
		if (epsilon == 0)
			return ldb_fail_oom(err, "pgm: hulls", sizeof(ldb_key));
	}
	const ldb_status status = ldb_pgm_build(index, keys, n, epsilon,
						(uint64_t)params[PARAM_EPSILON_RECURSIVE], err);
	index->tune_ns = tune_ns;
	return status;
}

static ldb_status pgm_build(void **self, const ldb_key *keys, size_t n, const double *params,
			    ldb_error *err)
{
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"pgm: number of keys", "%zu", n);
	pgm *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "pgm", sizeof *index);
	const ldb_status status = build_model(index, keys, n, params, err);
	if (status != LDB_OK) {
		ldb_free(index, sizeof *index);
		return status;
	}
	*self = index;
	return LDB_OK;
}

static size_t pgm_bytes(const void *self)
{
	return sizeof(pgm) + ldb_pgm_bytes(self);
}

static void pgm_info(const void *self, ldb_index_info *out)
{
	const pgm *index = self;
	out->tune_ns = index->tune_ns;
	if (index->tune_ns)
		snprintf(out->chosen, sizeof out->chosen, "epsilon=%" PRIu64, index->epsilon);
}

/* --- validate --------------------------------------------------------------------------------- */

#define REMEDY "report it with the dataset and the parameters"

static ldb_status check_level(const pgm *index, size_t l, ldb_error *err)
{
	const ldb_pgm_level *level = &index->level[l];
	const ldb_pgm_segment *s = index->segments + level->begin;
	const size_t last = l ? index->level[l - 1].count - 1 : index->n;
	const size_t epsilon = l ? index->epsilon_recursive : index->epsilon;
	if (s[0].key != index->min)
		return ldb_fail(err, LDB_INVALID, REMEDY,
				"pgm: a level does not begin with the first key",
				"level %zu: %" PRIu64, l, (uint64_t)s[0].key);
	if (level->width > 2 * epsilon + 2)
		return ldb_fail(err, LDB_INVALID, REMEDY, "pgm: windows are wider than epsilon",
				"level %zu: %zu", l, level->width);
	for (size_t i = 1; i < level->count; i++)
		if (s[i].key <= s[i - 1].key || s[i].top > last)
			return ldb_fail(err, LDB_INVALID, REMEDY,
					"pgm: segments out of order or range",
					"level %zu, segment %zu", l, i);
	for (size_t i = level->count; i < level->count + LDB_PGM_PAD; i++)
		if (s[i].key != LDB_KEY_MAX || s[i].top != last)
			return ldb_fail(err, LDB_INVALID, REMEDY, "pgm: wrong padding", "level %zu",
					l);
	return LDB_OK;
}

/* From the model of each level: is the right segment of the level below in its window? */
static ldb_status check_descent(const pgm *index, size_t l, ldb_error *err)
{
	const ldb_pgm_level *upper = &index->level[l], *lower = &index->level[l - 1];
	const ldb_pgm_segment *s = index->segments + lower->begin, *model = index->segments;
	model += upper->begin;
	for (size_t i = 0; i < lower->count; i++) {
		/* The first query and the last one that belong to segment i. */
		for (int end = 0; end < 2 && s[i].key < LDB_KEY_MAX; end++) {
			const ldb_key q = end ? s[i + 1].key : s[i].key + 1;
			while (model[1].key < q)
				model++;
			const size_t hi = ldb_pgm_predict(model, q),
				     lo = ldb_pgm_window_low(hi, upper->width);
			if (i < lo || i > hi)
				return ldb_fail(err, LDB_INVALID, REMEDY,
						"pgm: a segment is outside of its window",
						"level %zu, segment %zu, window [%zu, %zu]", l - 1,
						i, lo, hi);
		}
	}
	return LDB_OK;
}

static ldb_status check_top(const pgm *index, ldb_error *err)
{
	const ldb_pgm_level *top = &index->level[index->level_count - 1];
	const ldb_pgm_segment *s = index->segments + top->begin;
	int good = top->count <= index->top_count && index->top_count <= LDB_PGM_TOP;
	for (size_t i = 0; i < index->top_count && good; i++)
		good = index->top_keys[i] == (i < top->count ? s[i].key : LDB_KEY_MAX);
	for (size_t i = 0; i < LDB_PGM_NODE * LDB_PGM_NODE && good; i++)
		good = index->top_middle[i] == (i * LDB_PGM_NODE < index->top_count
							? index->top_keys[i * LDB_PGM_NODE]
							: LDB_KEY_MAX) &&
		       index->top_root[i / LDB_PGM_NODE] == index->top_middle[i - i % LDB_PGM_NODE];
	return good ? LDB_OK
		    : ldb_fail(err, LDB_INVALID, REMEDY,
			       "pgm: the top is not that of the highest level", "%zu segments",
			       top->count);
}

static ldb_status pgm_validate(const void *self, ldb_error *err)
{
	const pgm *index = self;
	if (index->n == 0)
		return LDB_OK;
	ldb_status status = check_top(index, err);
	for (size_t l = 0; l < index->level_count && status == LDB_OK; l++)
		status = check_level(index, l, err);
	for (size_t l = 1; l < index->level_count && status == LDB_OK; l++)
		status = check_descent(index, l, err);
	return status == LDB_OK
		       ? ldb_check_windows("pgm", pgm_window, index, index->keys, index->n, err)
		       : status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "pgm",
	.summary = "PGM-index: recursive levels of optimal line segments within epsilon",
	.origin = "Ferragina, Vinciguerra, VLDB 2020",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	/* A tenth of the keys' size, three times while the list grows; hulls are small. */
	.peak_bytes_per_key = 4,
	.build = pgm_build,
	.destroy = pgm_destroy,
	.bytes = pgm_bytes,
	.validate = pgm_validate,
	.lookup = pgm_lookup,
	.chase = pgm_chase,
	.lookup_batch = pgm_lookup_batch,
	.window = pgm_window,
	.info = pgm_info,
};
LDB_EXPORT_INDEX(table)
