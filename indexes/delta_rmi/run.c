/* Laying out runs and training their models. */
#include <string.h>

#include "delta_rmi.h"

void model_train(model *m, uint16_t *line_of, uint32_t cells, const ldb_key *keys, size_t stride,
		 size_t n)
{
	const ldb_key first = keys[0];
	const ldb_key range = n ? keys[(n - 1) / 8 * stride + (n - 1) % 8] - first : 0;
	const unsigned __int128 whole = (unsigned __int128)cells << 64;
	const unsigned __int128 scale = whole / ((unsigned __int128)range + 1);
	*m = (model){first, scale < UINT64_MAX ? (uint64_t)scale : UINT64_MAX, cells};
	/* The first key of a cell is in the first line whose last key is of it or a later one. */
	size_t next = 0;
	for (size_t l = 0; 8 * l < n; l++) {
		const size_t last = 8 * l + 8 < n ? 7 : n - 8 * l - 1;
		const size_t cell = model_cell(m, keys[l * stride + last]);
		while (next <= cell)
			line_of[next++] = (uint16_t)l;
	}
	while (next <= cells)
		line_of[next++] = (uint16_t)(n ? (n - 1) / 8 : 0);
}

/* When a region of so many entries is to be merged. */
static uint32_t pending_limit(const delta_rmi *self, size_t count)
{
	const double limit = self->share * (double)count;
	if (limit < NODE_SLOTS)
		return NODE_SLOTS;
	return limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
}

void region_init(const delta_rmi *self, region *r, run *only, size_t count)
{
	memset(r, 0, sizeof *r);
	r->run = only;
	r->limit = pending_limit(self, count);
}

/* A line of the next `left` entries, or the first eight of them. */
static inline void fill_line(line *to, const ldb_key *keys, const ldb_val *values, size_t left)
{
	const size_t used = left < 8 ? left : 8;
	for (size_t i = 0; i < used; i++) {
		to->key[i] = keys[i];
		atomic_init(&to->value[i], values[i]);
	}
	for (size_t i = used; i < 8; i++) {
		to->key[i] = LDB_KEY_MAX;
		atomic_init(&to->value[i], LDB_NONE);
	}
}

run *run_make(delta_rmi *self, const ldb_key *keys, const ldb_val *values, size_t count,
	      ldb_key begin, ldb_key end, region *shared)
{
	const uint32_t lines = count ? (uint32_t)((count + 7) / 8) : 1, cells = lines * self->cells;
	run *r = drmi_take(self, sizeof *r + model_bytes(cells) + lines * sizeof(line));
	if (!r)
		return NULL;
	*r = (run){.lines = lines, .count = count, .begin = begin, .end = end};
	r->model.cells = cells;
	r->region = shared ? shared : &r->own;
	region_init(self, &r->own, r, count);
	line *to = run_lines(r);
	for (size_t l = 0; l < lines; l++)
		fill_line(&to[l], keys + 8 * l, values + 8 * l, count - 8 * l);
	model_train(&r->model, (uint16_t *)(uintptr_t)run_cells(r), cells, to->key,
		    sizeof(line) / sizeof(ldb_key), count);
	return r;
}

void entries_free(delta_rmi *self, entries *e)
{
	drmi_give(self, e->key, e->room * sizeof *e->key);
	drmi_give(self, e->value, e->room * sizeof *e->value);
	*e = (entries){0};
}

bool entries_reserve(delta_rmi *self, entries *e, size_t more)
{
	if (e->count + more <= e->room)
		return true;
	entries larger = {.count = e->count, .room = 2 * e->room + more};
	larger.key = drmi_take(self, larger.room * sizeof *larger.key);
	larger.value = drmi_take(self, larger.room * sizeof *larger.value);
	if (!larger.key || !larger.value) {
		entries_free(self, &larger);
		return false;
	}
	if (e->count) {
		memcpy(larger.key, e->key, e->count * sizeof *e->key);
		memcpy(larger.value, e->value, e->count * sizeof *e->value);
	}
	entries_free(self, e);
	*e = larger;
	return true;
}
