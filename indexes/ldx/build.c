/*
 * Building of ldx: the choice of root and number of buckets by a cost model, then the table and the
 * nodes in one pass each.
 */
#include <string.h>

#include "clock.h"
#include "ldx.h"

/* Relative costs of a lookup's parts. What counts is how far apart the candidates are. */
#define COST_TABLE 1.0
#define COST_NODE 0.8       /* mostly in the last-level cache */
#define COST_LINE 1.0       /* of keys: mostly in memory */
#define COST_UNFORESEEN 2.0 /* a height the branch predictor did not expect */
/* Most chunks in a row whose separators are equal before a bucket is no tree. */
enum { EQUAL_CHUNKS = 4 };

static size_t divide_up(size_t a, size_t b)
{
	return a / b + (a % b != 0);
}

/* Chunks that the keys of ranks [start, end) lie in; 1 where there are none. */
static size_t chunk_count(size_t start, size_t end, unsigned lines)
{
	return end > start ? divide_up((end - 1) / LDX_LINE - start / LDX_LINE + 1, lines) : 1;
}

/* Height of the tree over so many chunks: 0 for one. */
static unsigned tree_height(size_t chunks)
{
	unsigned height = 0;
	for (size_t covered = 1; covered < chunks; covered *= LDX_CHILDREN)
		height++;
	return height;
}

static size_t tree_nodes(size_t chunks)
{
	size_t nodes = 0;
	while (chunks > 1) {
		chunks = divide_up(chunks, LDX_CHILDREN);
		nodes += chunks;
	}
	return nodes;
}

/* --- the root --------------------------------------------------------------------------------- */

static uint64_t transform(const ldx *self, bool logarithmic, size_t rank)
{
	const uint64_t t = self->keys[rank] - self->min;
	return logarithmic ? ldx_log(t) : t;
}

static void set_scale(ldx_root *root, size_t bucket_count)
{
	unsigned __int128 scale = (unsigned __int128)bucket_count << 64;
	scale = root->limit == UINT64_MAX ? (unsigned __int128)bucket_count
					  : scale / (root->limit + 1);
	root->scale = scale > UINT64_MAX ? UINT64_MAX : (uint64_t)scale;
}

/* The range of T that the buckets share: all of it, without far outliers where they would take more
 * than half. */
static ldx_root make_root(const ldx *self, bool logarithmic)
{
	const size_t n = self->n, outer = n / 1000;
	uint64_t low = transform(self, logarithmic, 0);
	uint64_t high = transform(self, logarithmic, n - 1);
	const uint64_t inner_low = transform(self, logarithmic, outer);
	const uint64_t inner_high = transform(self, logarithmic, n - 1 - outer);
	const uint64_t inner = inner_high - inner_low;
	if (inner_low - low > inner / 2)
		low = inner_low;
	if (high - inner_high > inner / 2)
		high = inner_high;
	return (ldx_root){.base = low, .limit = high - low, .logarithmic = logarithmic};
}

/* starts[b] = rank of the first key of bucket b or a later one; starts[count] = n. */
static void find_starts(const ldx *self, const ldx_root *root, uint32_t *starts, size_t count)
{
	size_t next = 0;
	for (size_t i = 0; i < self->n; i++) {
		const size_t bucket = ldx_predict(root, self->min, self->keys[i]).bucket;
		while (next <= bucket)
			starts[next++] = (uint32_t)i;
	}
	while (next <= count)
		starts[next++] = (uint32_t)self->n;
}

typedef struct {
	double cost; /* of a mean lookup */
	size_t bytes;
} estimate;

/* What the index would be with `step` of these buckets made one and chunks of so many lines. */
static estimate judge(const uint32_t *starts, size_t count, size_t step, unsigned lines)
{
	double at_height[LDX_MAX_HEIGHT + 2] = {0}, most = 0, levels = 0;
	size_t nodes = 0;
	const double n = starts[count];
	for (size_t b = 0; b < count; b += step) {
		const size_t end = b + step < count ? b + step : count;
		const size_t chunks = chunk_count(starts[b], starts[end], lines);
		const unsigned height = tree_height(chunks);
		at_height[height <= LDX_MAX_HEIGHT ? height : LDX_MAX_HEIGHT + 1] +=
			(starts[end] - starts[b]) / n;
		nodes += tree_nodes(chunks);
	}
	for (unsigned h = 0; h <= LDX_MAX_HEIGHT + 1; h++) {
		levels += h * at_height[h];
		most = at_height[h] > most ? at_height[h] : most;
	}
	return (estimate){.cost = COST_TABLE + COST_LINE * lines + COST_NODE * levels +
				  COST_UNFORESEEN * (1 - most),
			  .bytes = divide_up(count, step) * sizeof *starts +
				   nodes * sizeof(ldx_node)};
}

/* Chooses root and bucket count: the cheapest that fits the budget, else the smallest. */
static ldb_status choose(ldx *self, double budget_bytes, unsigned chunk_lines, ldb_error *err)
{
	size_t finest = (size_t)(budget_bytes / sizeof(uint32_t) / 2);
	finest = finest < 16 ? 16 : finest > (1u << 30) ? (1u << 30) : finest;
	const size_t bytes = (finest + 1) * sizeof(uint32_t);
	uint32_t *starts = ldb_alloc(bytes);
	if (!starts)
		return ldb_fail_oom(err, "ldx: search for parameters", bytes);
	estimate best = {.cost = 1e300, .bytes = SIZE_MAX};
	for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
		ldx_root root = make_root(self, logarithmic);
		set_scale(&root, finest);
		find_starts(self, &root, starts, finest);
		for (size_t i = 0; finest >> (i / 8) > 0; i++) {
			/* Steps of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12 ..; chunks of one and two lines.
			 */
			const size_t step = ((i / 2 % 4 + 4) << (i / 8)) / 4;
			const unsigned lines = (unsigned)(i % 2) + 1;
			if (chunk_lines && lines != chunk_lines)
				continue;
			const estimate e = judge(starts, finest, step, lines);
			const bool fits = (double)e.bytes <= budget_bytes;
			const bool better = (double)best.bytes <= budget_bytes
						    ? fits && e.cost < best.cost * 0.99
						    : e.bytes < best.bytes;
			if (!better)
				continue;
			best = e;
			self->root = root;
			self->bucket_count = divide_up(finest, step);
			self->chunk_lines = lines;
		}
	}
	ldb_free(starts, bytes);
	set_scale(&self->root, self->bucket_count);
	return LDB_OK;
}

/* --- table and nodes -------------------------------------------------------------------------- */

static uint32_t fraction_of(const ldx *self, size_t rank)
{
	return ldx_predict(&self->root, self->min, self->keys[rank]).fraction;
}

/* May the bucket [start, end) be a tree, or can fractions not tell its chunks apart? */
static bool is_tree(const ldx *self, size_t start, size_t end)
{
	unsigned equal = 0;
	const size_t chunk = self->chunk_lines * LDX_LINE;
	if (tree_height(chunk_count(start, end, self->chunk_lines)) > LDX_MAX_HEIGHT)
		return false;
	uint32_t last = fraction_of(self, start);
	for (size_t i = start / LDX_LINE * LDX_LINE + chunk - 1; i < end; i += chunk) {
		const uint32_t fraction = fraction_of(self, i);
		equal = fraction == last ? equal + 1 : 0;
		if (equal > EQUAL_CHUNKS)
			return false;
		last = fraction;
	}
	return true;
}

static size_t bucket_nodes(const ldx *self, size_t start, size_t end)
{
	if (self->n < LDX_LEAST)
		return 1; /* too few keys to compare with: binary search */
	const size_t chunks = chunk_count(start, end, self->chunk_lines);
	return chunks > 1 && !is_tree(self, start, end) ? 1 : tree_nodes(chunks);
}

/* Fills a node from `line` on whose children are `child_lines` lines each, the last up to `end`. */
static void fill_node(const ldx *self, ldx_node *node, size_t line, size_t end, size_t child_lines,
		      size_t link)
{
	for (size_t i = 0; i < LDX_SEPARATORS; i++) {
		const size_t next = (line + (i + 1) * child_lines) * LDX_LINE;
		node->separator[i] = next < end ? fraction_of(self, next - 1) : UINT32_MAX;
	}
	node->link = (uint32_t)link;
}

/* Lays out the tree of a bucket from node `first` on, top level first; returns its table entry. */
static uint32_t fill_tree(ldx *self, size_t start, size_t end, size_t first)
{
	const size_t chunks = chunk_count(start, end, self->chunk_lines);
	const unsigned height = tree_height(chunks);
	size_t child_chunks = 1, node = first;
	self->top_height = height > self->top_height ? height : self->top_height;
	for (unsigned h = 1; h < height; h++)
		child_chunks *= LDX_CHILDREN;
	for (unsigned h = height; h > 0; h--, child_chunks /= LDX_CHILDREN) {
		const size_t node_chunks = child_chunks * LDX_CHILDREN;
		const size_t count = divide_up(chunks, node_chunks);
		for (size_t i = 0; i < count; i++) {
			const size_t line = start / LDX_LINE + i * node_chunks * self->chunk_lines;
			fill_node(self, &self->nodes[node + i], line, end,
				  child_chunks * self->chunk_lines,
				  h > 1 ? node + count + i * LDX_CHILDREN : line);
		}
		node += count;
	}
	return LDX_IS_NODE | height << 28 | (uint32_t)first;
}

static uint32_t fill_bucket(ldx *self, size_t start, size_t end, size_t *next_node)
{
	const size_t nodes = bucket_nodes(self, start, end), first = *next_node;
	*next_node += nodes;
	if (!nodes)
		return (uint32_t)(start / LDX_LINE);
	if (self->n >= LDX_LEAST && is_tree(self, start, end))
		return fill_tree(self, start, end, first);
	self->nodes[first] = (ldx_node){.separator = {(uint32_t)end}, .link = (uint32_t)start};
	return LDX_IS_NODE | LDX_EXACT << 28 | (uint32_t)first;
}

void ldx_free_parts(ldx *self)
{
	ldb_free(self->table, self->table_bytes);
	ldb_free(self->nodes, self->node_bytes);
}

ldb_status ldx_build_all(ldx *self, double budget_bytes, unsigned chunk_lines, ldb_error *err)
{
	const size_t n = self->n;
	self->min = n ? self->keys[0] : 0;
	self->bucket_count = self->chunk_lines = 1;
	if (n >= LDX_LEAST) {
		const uint64_t start_ns = ldb_now_ns();
		ldb_status status = choose(self, budget_bytes, chunk_lines, err);
		self->tune_ns = ldb_now_ns() - start_ns;
		if (status != LDB_OK)
			return status;
	}
	self->table_bytes = (self->bucket_count + 1) * sizeof *self->table;
	self->table = ldb_alloc(self->table_bytes);
	if (!self->table)
		return ldb_fail_oom(err, "ldx: table", self->table_bytes);
	find_starts(self, &self->root, self->table, self->bucket_count);
	for (size_t b = 0; b < self->bucket_count; b++)
		self->node_count += bucket_nodes(self, self->table[b], self->table[b + 1]);
	self->node_bytes = self->node_count * sizeof *self->nodes;
	self->nodes = ldb_alloc(self->node_bytes);
	if (!self->nodes) {
		ldb_free(self->table, self->table_bytes);
		return ldb_fail_oom(err, "ldx: nodes", self->node_bytes);
	}
	size_t next_node = 0;
	for (size_t b = 0; b < self->bucket_count; b++) /* entry b + 1 is still a rank */
		self->table[b] = fill_bucket(self, self->table[b], self->table[b + 1], &next_node);
	return LDB_OK;
}
