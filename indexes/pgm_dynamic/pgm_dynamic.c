/*
 * The plug-in around the dynamic PGM-index: lookups and operations over all runs, checks. Runs are
 * made and merged in runs.c.
 */
#include <string.h>

#include "ldb/check.h"
#include "ldb/loops.h"
#include "ldb/pgm_build.h"
#include "pgm_dynamic.h"

enum { PARAM_BASE, PARAM_BUFFER, PARAM_EPSILON, PARAM_INDEXED };
static const ldb_param params[] = {
	{"base", "how many times as large a level is as the one below it", .def = 4, .min = 2,
	 .max = 64},
	{"buffer", "entries of the buffer", .def = 256, .min = 16, .max = 4096},
	{"epsilon", "most ranks a line may be off", .def = 15, .min = 1, .max = 65536},
	{"indexed", "keys from which on a run has a model", .def = 8192, .min = 64, .max = 1 << 30},
	{0},
};

/* --- in key order ----------------------------------------------------------------------------- */

/* Where each run is, in a walk over all of them. */
typedef struct {
	const pgm_dynamic *index;
	size_t at[LEVELS_MAX]; /* of the ith active run */
} cursor;

static void seek(cursor *c, const pgm_dynamic *self, ldb_key q)
{
	c->index = self;
	for (size_t i = 0; i < self->active_count; i++)
		c->at[i] = run_rank(&self->level[self->active[i]], q);
}

/* The next entry that no newer one hides and that is not deleted: its value, or LDB_NONE. */
static ldb_val next(cursor *c)
{
	const pgm_dynamic *self = c->index;
	for (;;) {
		const run *first = NULL;
		size_t at = 0;
		for (size_t i = 0; i < self->active_count; i++) { /* newer runs come first */
			const run *r = &self->level[self->active[i]];
			if (c->at[i] < r->count &&
			    (!first || r->keys[c->at[i]] < first->keys[at])) {
				first = r;
				at = c->at[i];
			}
		}
		if (!first)
			return LDB_NONE;
		for (size_t i = 0; i < self->active_count; i++) {
			const run *r = &self->level[self->active[i]];
			c->at[i] += c->at[i] < r->count && r->keys[c->at[i]] == first->keys[at];
		}
		if (first->values[at] != LDB_NONE)
			return first->values[at];
	}
}

/* --- lookup ----------------------------------------------------------------------------------- */

static inline ldb_val pgm_dynamic_find(const pgm_dynamic *self, ldb_key q)
{
	cursor c;
	seek(&c, self, q);
	return next(&c);
}

LDB_INDEX_LOOPS(pgm_dynamic, pgm_dynamic_find)

static inline void run_ranks(const run *r, const ldb_key *q, size_t count, size_t *rank)
{
	if (r->model && r->model->min < LDB_KEY_MAX) {
		ldb_pgm_ranks(r->model, q, count, rank);
		return;
	}
	for (size_t i = 0; i < count; i++)
		rank[i] = run_rank(r, q[i]);
}

/* A group of queries goes through the runs together. Where the first entry >= q is deleted, which
 * is rare, the search begins again. */
static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const pgm_dynamic *self = index;
	ldb_key key[LDB_GROUP];
	const ldb_val *value[LDB_GROUP] = {NULL};
	for (size_t a = 0; a < self->active_count; a++) {
		const run *r = &self->level[self->active[a]];
		size_t rank[LDB_GROUP];
		run_ranks(r, q, count, rank);
		for (size_t i = 0; i < count; i++) {
			if (rank[i] < r->count && (!value[i] || r->keys[rank[i]] < key[i])) {
				key[i] = r->keys[rank[i]];
				value[i] = &r->values[rank[i]];
				ldb_prefetch(value[i], 0);
			}
		}
	}
	for (size_t i = 0; i < count; i++) {
		out[i] = value[i] ? *value[i] : LDB_NONE;
		if (value[i] && out[i] == LDB_NONE)
			out[i] = pgm_dynamic_find(self, q[i]);
	}
}

static void pgm_dynamic_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	ldb_find_groups(self, find_group, q, n, out);
}

/* --- operations ------------------------------------------------------------------------------- */

/* The newest entry says it. All runs' windows are asked for before the first is searched. */
static ldb_val get(const pgm_dynamic *self, ldb_key key)
{
	size_t low[LEVELS_MAX];
	for (size_t i = 0; i < self->active_count; i++) {
		const ldb_pgm *model = self->level[self->active[i]].model;
		if (model) {
			low[i] = ldb_pgm_low(model, key);
			ldb_fixed_prefetch(model->keys, low[i], model->level[0].width);
		}
	}
	for (size_t i = 0; i < self->active_count; i++) {
		const run *r = &self->level[self->active[i]];
		const size_t rank = r->model ? ldb_fixed_search(r->keys, r->count, low[i],
								r->model->level[0].width, key)
					     : ldb_lower_bound(r->keys, r->count, key);
		if (rank < r->count && r->keys[rank] == key)
			return r->values[rank];
	}
	return LDB_NONE;
}

/* Writes an entry, or a tombstone, into the buffer. */
static ldb_status put(pgm_dynamic *self, ldb_key key, ldb_val value, ldb_error *err)
{
	run *buffer = &self->level[0];
	size_t at = ldb_lower_bound(buffer->keys, buffer->count, key);
	if (at < buffer->count && buffer->keys[at] == key) {
		buffer->values[at] = value;
		return LDB_OK;
	}
	if (buffer->count == buffer->room) {
		const ldb_status status = runs_merge(self, err);
		if (status != LDB_OK)
			return status;
		at = 0;
	}
	const size_t behind = (buffer->count - at) * sizeof key;
	memmove(buffer->keys + at + 1, buffer->keys + at, behind);
	memmove(buffer->values + at + 1, buffer->values + at, behind);
	buffer->keys[at] = key;
	buffer->values[at] = value;
	buffer->count++;
	return LDB_OK;
}

static ldb_val scan(const pgm_dynamic *self, ldb_key key, size_t length)
{
	cursor c;
	ldb_val sum = 0, value;
	seek(&c, self, key);
	for (; length && (value = next(&c)) != LDB_NONE; length--)
		sum += value;
	return sum;
}

static size_t pgm_dynamic_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out,
				ldb_error *err)
{
	pgm_dynamic *self = index;
	for (size_t i = 0; i < n; i++) {
		ldb_status status = LDB_OK;
		out[i] = 0;
		switch ((ldb_op_kind)ops[i].kind) {
		case LDB_GET:
			out[i] = get(self, ops[i].key);
			break;
		case LDB_PUT:
			status = put(self, ops[i].key, ops[i].value, err);
			break;
		case LDB_DELETE:
			status = put(self, ops[i].key, LDB_NONE, err);
			break;
		case LDB_SCAN:
			out[i] = scan(self, ops[i].key, ops[i].length);
			break;
		}
		if (status != LDB_OK)
			return i;
	}
	return n;
}

/* --- build ------------------------------------------------------------------------------------ */

static void pgm_dynamic_destroy(void *index)
{
	runs_free(index);
	ldb_free(index, sizeof(pgm_dynamic));
}

static size_t pgm_dynamic_bytes(const void *self)
{
	return ((const pgm_dynamic *)self)->bytes;
}

static ldb_status pgm_dynamic_build(void **out, const ldb_key *keys, size_t n, const double *values,
				    ldb_error *err)
{
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"pgm_dynamic: number of keys", "%zu", n);
	for (size_t i = 1; i < n; i++) {
		if (keys[i] == keys[i - 1])
			return ldb_fail(err, LDB_UNSUPPORTED, "give each key once", "pgm_dynamic",
					"key %llu occurs twice", (unsigned long long)keys[i]);
	}
	pgm_dynamic *self = ldb_alloc(sizeof *self);
	if (!self)
		return ldb_fail_oom(err, "pgm_dynamic", sizeof *self);
	*self = (pgm_dynamic){.base = (size_t)values[PARAM_BASE],
			      .buffer_room = (size_t)values[PARAM_BUFFER],
			      .epsilon = (uint64_t)values[PARAM_EPSILON],
			      .indexed = (size_t)values[PARAM_INDEXED]};
	const ldb_status status = runs_make(self, keys, n, err);
	if (status == LDB_OK)
		*out = self;
	else
		ldb_free(self, sizeof *self);
	return status;
}

/* --- validate --------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, size_t level)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of pgm_dynamic", what, "level %zu",
			level);
}

static void window(const void *model, ldb_key q, size_t *lo, size_t *hi)
{
	const ldb_pgm *self = model;
	*lo = ldb_pgm_low(self, q);
	*hi = *lo + self->level[0].width;
}

static ldb_status check_run(const pgm_dynamic *self, size_t l, ldb_error *err)
{
	const run *r = &self->level[l];
	size_t tombstones = 0;
	if (r->count > r->room || r->count > level_room(self, l))
		return broken(err, "pgm_dynamic: a run too long for its level", l);
	for (size_t i = 0; i < r->count; i++) {
		tombstones += r->values[i] == LDB_NONE;
		if (i > 0 && r->keys[i] <= r->keys[i - 1])
			return broken(err, "pgm_dynamic: order of keys", l);
	}
	if (l > 0 && tombstones != r->tombstones)
		return broken(err, "pgm_dynamic: count of tombstones", l);
	if (l > 0 && tombstones && self->active[self->active_count - 1] == l)
		return broken(err, "pgm_dynamic: a tombstone in the oldest run", l);
	if (!r->model)
		return LDB_OK;
	if (r->model->keys != r->keys || r->model->n != r->count)
		return broken(err, "pgm_dynamic: a model of other keys", l);
	return ldb_check_windows("pgm_dynamic", window, r->model, r->keys, r->count, err);
}

static ldb_status pgm_dynamic_validate(const void *index, ldb_error *err)
{
	const pgm_dynamic *self = index;
	size_t active = 0, bytes = sizeof *self;
	ldb_status status = LDB_OK;
	for (size_t l = 0; l < LEVELS_MAX && status == LDB_OK; l++) {
		const run *r = &self->level[l];
		bytes += r->room * (sizeof *r->keys + sizeof *r->values);
		bytes += r->model ? sizeof *r->model + ldb_pgm_bytes(r->model) : 0;
		if (l > 0 && r->count == 0)
			continue;
		if (active >= self->active_count || self->active[active++] != l)
			return broken(err, "pgm_dynamic: list of runs", l);
		status = check_run(self, l, err);
	}
	if (status == LDB_OK && (active != self->active_count || bytes != self->bytes))
		return broken(err, "pgm_dynamic: runs or bytes in all", active);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "pgm_dynamic",
	.summary = "sorted runs of growing size, each under a PGM-index, updatable",
	.origin = "Ferragina, Vinciguerra: The PGM-index, VLDB 2020, section 3",
	.flags = LDB_ORDERED | LDB_LEARNED | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 32,
	.build = pgm_dynamic_build,
	.destroy = pgm_dynamic_destroy,
	.bytes = pgm_dynamic_bytes,
	.validate = pgm_dynamic_validate,
	.lookup = pgm_dynamic_lookup,
	.chase = pgm_dynamic_chase,
	.lookup_batch = pgm_dynamic_lookup_batch,
	.apply = pgm_dynamic_apply,
};
LDB_EXPORT_INDEX(table)
