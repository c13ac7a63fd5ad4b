/*
 * Tables and segments of ldu: building them, and cutting a segment anew when it has changed.
 *
 * A part of the keys with up to SEGMENT_MOST of them becomes a segment, with a bucket for each
 * BUCKET_KEYS. More become a table with a cell for each CELL_KEYS, or for fewer where most of them
 * would fall into one cell. A segment remembers how many pages it may have before it is cut: at
 * least twice as many as it got, so that cutting costs O(1) for each key that came.
 */
#include <string.h>

#include "ldu.h"

enum {
	LEAST = 64,          /* keys below which the range of keys tells nothing */
	ROOT_KEYS = 512,     /* in a cell of the first table, on average */
	SEGMENT_MOST = 2048, /* keys; beyond it becomes a table */
	CELL_KEYS = 256,     /* in a cell of such a table, on average */
	MAX_FAN = 1 << 16,
	BUCKET_KEYS = 64,
	MOST_UNIT = 4, /* ldu_node.most_pages is in units of so many */
};

static size_t max_size(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* --- giving back ------------------------------------------------------------------------------ */

static void make_empty(ldu *self, ldu_entry *entry)
{
	*entry = (ldu_entry){.buckets = &self->no_bucket, .count = 1};
}

/* Frees what the entry holds; `recycle`: its pages and nodes, too. */
static void free_entry(ldu *self, ldu_entry *entry, bool recycle)
{
	if (entry->pages == LDU_TABLE) {
		for (uint32_t i = 0; i < entry->count; i++)
			free_entry(self, &entry->cells[i], recycle);
		ldu_free(self, entry->cells, ldu_table_bytes(entry->count));
		self->tables--;
	} else if (entry->buckets != &self->no_bucket) {
		for (uint32_t i = 0; recycle && i < entry->count; i++)
			ldu_recycle_tree(self, &entry->buckets[i]);
		ldu_free(self, entry->buckets, entry->count * sizeof *entry->buckets);
	}
	make_empty(self, entry);
}

/* --- building --------------------------------------------------------------------------------- */

/* Which of the last fan's cells has the key; without fans, which cell of the region. */
static uint64_t cell_of(const ldu_path *path, ldb_key key)
{
	uint64_t x, cell = ldu_multiply(key - path->region->base, path->region->scale, &x);
	for (unsigned i = 0; i < path->count; i++)
		cell = ldu_multiply(x, path->fans[i], &x);
	return cell;
}

/* The end of the run of keys from `from` on that are in the same cell. */
static size_t end_of_cell(const ldu_path *path, const ldu_source *source, size_t from, size_t to,
			  uint64_t *cell)
{
	size_t end = from + 1;
	*cell = cell_of(path, source->keys[from]);
	while (end < to && cell_of(path, source->keys[end]) == *cell)
		end++;
	return end;
}

static bool make_cells(ldu *self, ldu_entry *entry, uint32_t count)
{
	ldu_entry *cells = ldu_alloc(self, ldu_table_bytes(count));
	if (!cells)
		return false;
	memset(cells, 0, ldu_table_bytes(count));
	for (uint32_t i = 0; i < count; i++)
		make_empty(self, &cells[i]);
	*entry = (ldu_entry){.cells = cells, .count = count, .pages = LDU_TABLE};
	self->tables++;
	return true;
}

static bool make_buckets(ldu *self, ldu_entry *entry, size_t count)
{
	ldu_node *buckets = ldu_alloc(self, count * sizeof *buckets);
	if (!buckets)
		return false;
	for (size_t i = 0; i < count; i++)
		ldu_clear_tree(&buckets[i]);
	*entry = (ldu_entry){.buckets = buckets, .count = (uint32_t)count};
	return true;
}

/* Sets how many pages a segment may have before it is cut anew. */
static void set_most_pages(ldu_entry *segment)
{
	const size_t most = max_size((size_t)segment->count * 13 / 2, 2 * (size_t)segment->pages);
	const size_t units = most / MOST_UNIT + 1;
	segment->buckets->most_pages = (uint16_t)(units < UINT16_MAX ? units : UINT16_MAX);
}

bool ldu_open_segment(ldu *self, ldu_entry *segment)
{
	if (segment->buckets != &self->no_bucket)
		return true;
	if (!make_buckets(self, segment, 1))
		return false;
	set_most_pages(segment);
	self->changes++;
	return true;
}

static bool build_segment(ldu *self, ldu_path *path, ldu_entry *entry, const ldu_source *source,
			  size_t from, size_t to)
{
	if (!make_buckets(self, entry, (to - from) / BUCKET_KEYS + 1))
		return false;
	const uint32_t pages_before = self->pages.used;
	bool good = true;
	path->fans[path->count++] = entry->count;
	for (size_t end; good && from < to; from = end) {
		uint64_t bucket;
		end = end_of_cell(path, source, from, to, &bucket);
		good = ldu_fill_tree(self, path, &entry->buckets[bucket], source, from, end);
	}
	path->count--;
	entry->pages = self->pages.used - pages_before;
	set_most_pages(entry);
	return good;
}

static bool build_entry(ldu *self, ldu_path *path, ldu_entry *entry, const ldu_source *source,
			size_t from, size_t to);

/* Fills the cells of a table; the path ends with their number, or is that of a region. */
static bool fill_cells(ldu *self, ldu_path *path, ldu_entry *table, const ldu_source *source,
		       size_t from, size_t to)
{
	uint64_t *bits = (uint64_t *)(void *)(table->cells + table->count);
	for (size_t end; from < to; from = end) {
		uint64_t cell;
		end = end_of_cell(path, source, from, to, &cell);
		bits[cell / 64] |= (uint64_t)1 << cell % 64;
		if (!build_entry(self, path, &table->cells[cell], source, from, end))
			return false;
	}
	return true;
}

/* Sets the last fan of the path: the number of cells for these keys. */
static void choose_fan(ldu_path *path, const ldu_source *source, size_t from, size_t to)
{
	const size_t n = to - from, most = n / 4 < MAX_FAN ? n / 4 : MAX_FAN;
	uint32_t *fan = &path->fans[path->count - 1];
	*fan = (uint32_t)(n / CELL_KEYS + 1 < most ? n / CELL_KEYS + 1 : most);
	while (*fan < most && cell_of(path, source->keys[from + n / 8]) ==
				      cell_of(path, source->keys[to - 1 - n / 8]))
		*fan = (uint32_t)(*fan * (size_t)8 < most ? *fan * (size_t)8 : most);
}

static bool build_entry(ldu *self, ldu_path *path, ldu_entry *entry, const ldu_source *source,
			size_t from, size_t to)
{
	if (to - from <= SEGMENT_MOST || path->count == LDU_DEPTH)
		return build_segment(self, path, entry, source, from, to);
	path->count++;
	choose_fan(path, source, from, to);
	const bool good = make_cells(self, entry, path->fans[path->count - 1]) &&
			  fill_cells(self, path, entry, source, from, to);
	path->count--;
	return good;
}

/* --- regions ---------------------------------------------------------------------------------- */

static bool make_region(ldu *self, ldu_region *region, ldb_key first, ldb_key last, size_t cells)
{
	const unsigned __int128 range = (unsigned __int128)(last - first) + 1;
	const unsigned __int128 scale = ((unsigned __int128)cells << 64) / range;
	region->base = first;
	region->limit = last - first;
	region->scale = scale > UINT64_MAX ? UINT64_MAX : (uint64_t)scale;
	return make_cells(self, &region->table, (uint32_t)cells);
}

/* The range of all keys, without far outliers where they would take more than half of it. */
static void find_range(const ldu_source *source, size_t n, ldb_key *first, ldb_key *last)
{
	const ldb_key *keys = source->keys;
	*first = 0;
	*last = LDB_KEY_MAX;
	if (n < LEAST)
		return;
	const size_t outer = n / 1000;
	const ldb_key low = keys[outer], high = keys[n - 1 - outer];
	*first = low - keys[0] > (high - low) / 2 ? low : keys[0];
	*last = keys[n - 1] - high > (high - low) / 2 ? high : keys[n - 1];
}

bool ldu_build_regions(ldu *self, const ldu_source *source, size_t n)
{
	ldb_key first, last;
	find_range(source, n, &first, &last);
	ldu_region *region = self->region;
	/* A region that no key belongs to is there all the same. */
	if (!make_region(self, &region[LDU_BELOW], 0, first ? first - 1 : 0, 1) ||
	    !make_region(self, &region[LDU_INSIDE], first, last, n / ROOT_KEYS + 1) ||
	    !make_region(self, &region[LDU_ABOVE], last < LDB_KEY_MAX ? last + 1 : last,
			 LDB_KEY_MAX, 1))
		return false;
	for (size_t from = 0, to; from < n; from = to) {
		ldu_path path = {.region = ldu_region_of(self, source->keys[from])};
		ldu_region *here = &self->region[path.region - self->region];
		const ldb_key end = here->base + here->limit;
		to = from + ldb_lower_bound(source->keys + from, n - from, end);
		to += to < n && source->keys[to] == end;
		if (!fill_cells(self, &path, &here->table, source, from, to))
			return false;
	}
	return true;
}

void ldu_free_regions(ldu *self)
{
	for (int i = 0; i < LDU_REGIONS; i++) {
		if (self->region[i].table.cells)
			free_entry(self, &self->region[i].table, false);
	}
}

/* --- segments that change --------------------------------------------------------------------- */

ldu_entry *ldu_segment_of(ldu *self, ldb_key key, ldu_path *path, bool mark)
{
	ldu_region *region = &self->region[ldu_region_of(self, key) - self->region];
	ldu_entry *entry = &region->table;
	uint64_t x, cell = ldu_multiply(key - region->base, region->scale, &x);
	*path = (ldu_path){.region = region};
	for (;;) {
		if (mark) {
			uint64_t *bits = (uint64_t *)(void *)(entry->cells + entry->count);
			bits[cell / 64] |= (uint64_t)1 << cell % 64;
		}
		entry = &entry->cells[cell];
		path->fans[path->count++] = entry->count;
		if (entry->pages != LDU_TABLE)
			return entry;
		cell = ldu_multiply(x, entry->count, &x);
	}
}

typedef struct {
	const ldu *self;
	ldb_key *keys;
	ldb_val *values;
	size_t n;
} gathered;

static bool gather(void *context, uint32_t link)
{
	gathered *g = context;
	const ldu_page *page = ldu_page_at(g->self, link);
	uint8_t rank[LDU_SLOTS];
	ldu_rank(page, rank);
	for (unsigned s = 0; s < page->count; s++) {
		g->keys[g->n + rank[s]] = page->line[s / LDU_LANES].key[s % LDU_LANES];
		g->values[g->n + rank[s]] = page->line[s / LDU_LANES].value[s % LDU_LANES];
	}
	g->n += page->count;
	return true;
}

static void cut_anew(ldu *self, ldu_entry *segment, ldu_path *path)
{
	const size_t room = (size_t)segment->pages * LDU_SLOTS + 1;
	gathered g = {.self = self,
		      .keys = ldu_alloc(self, room * sizeof *g.keys),
		      .values = ldu_alloc(self, room * sizeof *g.values)};
	if (g.keys && g.values) {
		ldu_entry anew;
		make_empty(self, &anew);
		ldu_walk_entry(self, segment, gather, &g);
		const ldu_source source = {g.keys, g.values};
		if (g.n == 0 || build_entry(self, path, &anew, &source, 0, g.n)) {
			free_entry(self, segment, true);
			*segment = anew;
			self->changes++;
		} else {
			free_entry(self, &anew, true);
		}
	}
	ldu_free(self, g.keys, room * sizeof *g.keys);
	ldu_free(self, g.values, room * sizeof *g.values);
}

void ldu_tend(ldu *self, ldu_entry *segment, ldu_path *path)
{
	const uint32_t most = segment->buckets->most_pages;
	const bool large = segment->pages > most * MOST_UNIT && most < UINT16_MAX;
	const bool small = segment->count > 1 && segment->pages < segment->count / 2;
	if (!large && !small)
		return;
	path->count--; /* without the number of buckets */
	cut_anew(self, segment, path);
}
