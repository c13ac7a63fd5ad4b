/* The runs of the dynamic PGM-index: how they are made, merged and freed. */
#include <string.h>

#include "ldb/pgm_build.h"
#include "pgm_dynamic.h"

/* When one entry in so many is a tombstone, all runs are merged. */
enum { TOMBSTONE_SHARE = 4 };

size_t level_room(const pgm_dynamic *self, size_t level)
{
	size_t room = self->buffer_room;
	for (size_t l = 0; l < level && room <= UINT32_MAX; l++)
		room *= self->base;
	return room;
}

/* The lowest level that n entries fit into. */
static size_t level_for(const pgm_dynamic *self, size_t n)
{
	size_t level = 1;
	while (level_room(self, level) < n)
		level++;
	return level;
}

static size_t run_bytes(const run *r)
{
	const size_t arrays = r->room * (sizeof *r->keys + sizeof *r->values);
	return arrays + (r->model ? sizeof *r->model + ldb_pgm_bytes(r->model) : 0);
}

static void free_run(run *r)
{
	if (r->model) {
		ldb_pgm_free(r->model);
		ldb_free(r->model, sizeof *r->model);
	}
	ldb_free(r->keys, r->room * sizeof *r->keys);
	ldb_free(r->values, r->room * sizeof *r->values);
	*r = (run){.count = 0};
}

static ldb_status make_run(run *r, size_t room, ldb_error *err)
{
	*r = (run){.room = room};
	r->keys = ldb_alloc(room * sizeof *r->keys);
	r->values = ldb_alloc(room * sizeof *r->values);
	if (r->keys && r->values)
		return LDB_OK;
	free_run(r);
	return ldb_fail_oom(err, "pgm_dynamic: a run", room * 2 * sizeof(ldb_key));
}

static ldb_status make_model(const pgm_dynamic *self, run *r, ldb_error *err)
{
	if (r->count < self->indexed)
		return LDB_OK;
	ldb_pgm *model = ldb_alloc(sizeof *model);
	if (!model)
		return ldb_fail_oom(err, "pgm_dynamic: a model", sizeof *model);
	const ldb_status status = ldb_pgm_build(model, r->keys, r->count, self->epsilon,
						LDB_PGM_EPSILON_RECURSIVE, err);
	if (status == LDB_OK)
		r->model = model;
	else
		ldb_free(model, sizeof *model);
	return status;
}

/* Counts bytes and levels anew after runs have come and gone. */
static void take_stock(pgm_dynamic *self)
{
	self->bytes = sizeof *self;
	self->active_count = 0;
	for (size_t l = 0; l < LEVELS_MAX; l++) {
		self->bytes += run_bytes(&self->level[l]);
		if (l == 0 || self->level[l].count)
			self->active[self->active_count++] = l;
	}
}

ldb_status runs_make(pgm_dynamic *self, const ldb_key *keys, size_t n, ldb_error *err)
{
	run r = {.count = 0};
	ldb_status status = make_run(&self->level[0], self->buffer_room, err);
	if (status == LDB_OK && n > 0)
		status = make_run(&r, n, err);
	if (status == LDB_OK && n > 0) {
		memcpy(r.keys, keys, n * sizeof *keys);
		for (size_t i = 0; i < n; i++)
			r.values[i] = i;
		r.count = n;
		status = make_model(self, &r, err);
	}
	if (status != LDB_OK) {
		free_run(&r);
		free_run(&self->level[0]);
		return status;
	}
	if (n > 0)
		self->level[level_for(self, n)] = r;
	take_stock(self);
	return LDB_OK;
}

void runs_free(pgm_dynamic *self)
{
	for (size_t l = 0; l < LEVELS_MAX; l++)
		free_run(&self->level[l]);
}

/* --- merging ---------------------------------------------------------------------------------- */

/* Both runs in one; of equal keys the newer entry stays. No branch depends on the keys. */
static void merge(run *out, const run *newer, const run *older)
{
	size_t i = 0, j = 0, count = 0;
	while (i < newer->count && j < older->count) {
		const ldb_key a = newer->keys[i], b = older->keys[j];
		const bool from_newer = a <= b;
		out->keys[count] = from_newer ? a : b;
		out->values[count++] = *(from_newer ? &newer->values[i] : &older->values[j]);
		i += from_newer;
		j += b <= a;
	}
	const run *rest = i < newer->count ? newer : older;
	const size_t from = i < newer->count ? i : j, left = rest->count - from;
	memcpy(out->keys + count, rest->keys + from, left * sizeof *out->keys);
	memcpy(out->values + count, rest->values + from, left * sizeof *out->values);
	out->count = count + left;
}

/* Counts the tombstones of a run, or drops them. */
static void settle_tombstones(run *r, bool drop)
{
	size_t kept = 0, tombstones = 0;
	for (size_t i = 0; i < r->count; i++) {
		const bool tombstone = r->values[i] == LDB_NONE;
		tombstones += tombstone;
		r->keys[kept] = r->keys[i];
		r->values[kept] = r->values[i];
		kept += !(drop && tombstone);
	}
	r->count = kept;
	r->tombstones = drop ? 0 : tombstones;
}

/* The runs of levels 0 to `last` in *out. What they make together without the last one, which is
 * little beside it, goes back and forth between two runs. */
static ldb_status merge_levels(const pgm_dynamic *self, size_t last, run *out, ldb_error *err)
{
	size_t room = 0;
	for (size_t l = 0; l < last; l++)
		room += self->level[l].count;
	run parts[2] = {{.count = 0}, {.count = 0}};
	ldb_status status = make_run(&parts[0], room, err);
	if (status == LDB_OK)
		status = make_run(&parts[1], room, err);
	if (status == LDB_OK)
		status = make_run(out, room + self->level[last].count, err);
	if (status == LDB_OK) {
		const run *merged = &self->level[0];
		int next = 0;
		for (size_t l = 1; l < last; l++) {
			if (!self->level[l].count)
				continue;
			merge(&parts[next], merged, &self->level[l]);
			merged = &parts[next];
			next = !next;
		}
		merge(out, merged, &self->level[last]);
	}
	free_run(&parts[0]);
	free_run(&parts[1]);
	return status;
}

/* The level to merge into: the first one that holds its own and all newer entries. */
static size_t choose_level(const pgm_dynamic *self)
{
	size_t entries = self->buffer_room, tombstones = 0, all = 0, oldest = 1;
	for (size_t l = 0; l < LEVELS_MAX; l++) {
		all += self->level[l].count;
		tombstones += self->level[l].tombstones;
		oldest = self->level[l].count && l ? l : oldest;
	}
	if (tombstones > all / TOMBSTONE_SHARE)
		return oldest;
	size_t level = 1;
	while ((entries += self->level[level].count) > level_room(self, level))
		level++;
	return level;
}

ldb_status runs_merge(pgm_dynamic *self, ldb_error *err)
{
	size_t entries = 0;
	for (size_t l = 0; l < LEVELS_MAX; l++)
		entries += self->level[l].count;
	if (entries >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"pgm_dynamic: number of entries", "%zu", entries);
	const size_t last = choose_level(self);
	const bool oldest = last >= self->active[self->active_count - 1];
	run made = {.count = 0};
	ldb_status status = merge_levels(self, last, &made, err);
	if (status == LDB_OK) {
		settle_tombstones(&made, oldest);
		status = make_model(self, &made, err);
	}
	if (status != LDB_OK) {
		free_run(&made);
		return status;
	}
	for (size_t l = 1; l <= last; l++)
		free_run(&self->level[l]);
	self->level[0].count = 0;
	if (made.count)
		self->level[oldest ? level_for(self, made.count) : last] = made;
	else
		free_run(&made);
	take_stock(self);
	return LDB_OK;
}
