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
	size_t next = 0;
	for (size_t i = 0; i < n; i++) {
		const size_t cell = model_cell(m, keys[i / 8 * stride + i % 8]);
		while (next <= cell)
			line_of[next++] = (uint16_t)(i / 8);
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
	for (size_t i = 0; i < 8 * (size_t)lines; i++) {
		to[i / 8].key[i % 8] = i < count ? keys[i] : LDB_KEY_MAX;
		atomic_init(&to[i / 8].value[i % 8], i < count ? values[i] : LDB_NONE);
	}
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

bool entries_add(delta_rmi *self, entries *to, ldb_key key, ldb_val value)
{
	if (to->count == to->room) {
		const size_t room = to->room ? 2 * to->room : 4096;
		entries larger = {.count = to->count, .room = room};
		larger.key = drmi_take(self, room * sizeof *larger.key);
		larger.value = drmi_take(self, room * sizeof *larger.value);
		if (!larger.key || !larger.value) {
			entries_free(self, &larger);
			return false;
		}
		if (to->count) {
			memcpy(larger.key, to->key, to->count * sizeof *to->key);
			memcpy(larger.value, to->value, to->count * sizeof *to->value);
		}
		entries_free(self, to);
		*to = larger;
	}
	to->key[to->count] = key;
	to->value[to->count++] = value;
	return true;
}
