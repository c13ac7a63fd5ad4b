/* Building of ldx: the root, then the nodes, in parts on several threads. tune.c chooses how. */
#include <string.h>

#include "ldb/parts.h"
#include "ldx.h"

static size_t divide_up(size_t a, size_t b)
{
	return a / b + (a % b != 0);
}

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* --- the range that the root shares out ------------------------------------------------------- */

/* All keys, without far outliers where they would take more than half of it, and without the last
 * chunk, so that nothing behind the keys is read. */
static void set_range(ldx *self)
{
	const ldb_key *keys = self->keys;
	const size_t outer = self->n / 1000, last = self->n - LDX_LINE * LDX_LINES;
	const size_t inner_first = min_size(outer, last);
	const size_t inner_last = last > inner_first + outer ? last - outer : last;
	const uint64_t inner = keys[inner_last] - keys[inner_first];
	const bool trim_low = keys[inner_first] - keys[0] > inner / 2;
	const bool trim_high = keys[last] - keys[inner_last] > inner / 2;
	self->root.base = keys[trim_low ? inner_first : 0];
	self->low_rank =
		ldb_lower_bound(keys, self->n, self->root.base); /* of equal keys the first */
	self->high_rank = trim_high ? inner_last : last;
	self->root.limit = keys[self->high_rank] - self->root.base;
}

/* --- trees ------------------------------------------------------------------------------------ */

/* Chunks that the answers to queries in the bucket [start, end) lie in. */
static size_t chunk_count(const ldx *self, size_t start, size_t end)
{
	const size_t last = min_size(end, self->high_rank), first = min_size(start, last);
	return divide_up(last / LDX_LINE - first / LDX_LINE + 1, self->chunk_lines);
}

static unsigned tree_height(const ldx *self, size_t chunks)
{
	const size_t children = ldx_children(self->bits);
	unsigned height = 1;
	for (size_t covered = children; covered < chunks; covered *= children)
		height++;
	return height > self->min_height ? height : self->min_height;
}

/* Nodes of a tree over so many chunks, without its top node. */
static size_t nodes_below_top(const ldx *self, size_t chunks)
{
	size_t nodes = 0;
	for (unsigned h = tree_height(self, chunks); h > 1; h--) {
		chunks = divide_up(chunks, ldx_children(self->bits));
		nodes += chunks;
	}
	return nodes;
}

/* Fills a node from `line` on whose children are child_lines lines each; its bucket ends before the
 * rank `end`. */
static void fill_node(const ldx *self, ldx_node *node, size_t line, size_t end, size_t child_lines,
		      uint32_t link)
{
	memset(node, 0xff, sizeof *node);
	for (size_t i = 0; i + 1 < ldx_children(self->bits); i++) {
		const size_t behind = (line + (i + 1) * child_lines) * LDX_LINE;
		if (behind > end || behind > self->high_rank)
			break;
		const uint32_t fraction = ldx_predict(&self->root, self->keys[behind - 1]).fraction;
		if (self->bits == 16)
			node->narrow[i] = (uint16_t)(fraction >> 16);
		else
			node->wide[i] = fraction;
	}
	node->link = link;
}

/* Fills the tree of bucket [start, end): its top node, and the others from `next` on, level by
 * level. Returns the number of the node behind the last. */
static size_t fill_tree(const ldx *self, size_t start, size_t end, size_t top, size_t next)
{
	const size_t chunks = chunk_count(self, start, end), children = ldx_children(self->bits);
	const size_t first_line = min_size(start, self->high_rank) / LDX_LINE;
	const unsigned height = tree_height(self, chunks);
	size_t child_chunks = 1, first = top;
	for (unsigned h = 1; h < height; h++)
		child_chunks *= children;
	for (unsigned h = height; h > 0; h--, child_chunks /= children) {
		const size_t node_chunks = child_chunks * children;
		const size_t count = divide_up(chunks, node_chunks);
		for (size_t i = 0; i < count; i++) {
			const size_t line = first_line + i * node_chunks * self->chunk_lines;
			fill_node(self, &self->nodes[first + i], line, end,
				  child_chunks * self->chunk_lines,
				  h > 1 ? LDX_TO_NODES | (uint32_t)(next + i * children)
					: (uint32_t)line);
		}
		first = next;
		next += h > 1 ? divide_up(chunks, child_chunks) : 0;
	}
	return next;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* What one thread does: `number` of `count` equal shares of the keys, then of the buckets. */
typedef struct {
	ldx *self;
	uint32_t *starts; /* of each bucket: rank of its first key or of a later one; and the end */
	size_t number, count;
	size_t nodes; /* below top: how many of them; then the number of the first */
	unsigned max_height;
} part;

static size_t share(size_t whole, size_t number, size_t count)
{
	return (size_t)((unsigned __int128)whole * number / count);
}

static void *find_starts(void *argument)
{
	const part *p = argument;
	const ldx *self = p->self;
	const size_t keys = self->high_rank + 1 - self->low_rank;
	const size_t from = self->low_rank + share(keys, p->number, p->count);
	const size_t to = self->low_rank + share(keys, p->number + 1, p->count);
	size_t next = 0;
	if (p->number > 0)
		next = ldx_predict(&self->root, self->keys[from - 1]).bucket + 1;
	for (size_t i = from; i < to; i++) {
		const size_t bucket = ldx_predict(&self->root, self->keys[i]).bucket;
		while (next <= bucket)
			p->starts[next++] = (uint32_t)i;
	}
	while (p->number + 1 == p->count && next <= self->bucket_count)
		p->starts[next++] = (uint32_t)to;
	return NULL;
}

static void *count_nodes(void *argument)
{
	part *p = argument;
	const ldx *self = p->self;
	const size_t to = share(self->bucket_count, p->number + 1, p->count);
	for (size_t b = share(self->bucket_count, p->number, p->count); b < to; b++) {
		const size_t chunks = chunk_count(self, p->starts[b], p->starts[b + 1]);
		const unsigned height = tree_height(self, chunks);
		p->nodes += nodes_below_top(self, chunks);
		p->max_height = height > p->max_height ? height : p->max_height;
	}
	return NULL;
}

static void *fill_trees(void *argument)
{
	part *p = argument;
	const size_t buckets = p->self->bucket_count, to = share(buckets, p->number + 1, p->count);
	for (size_t b = share(buckets, p->number, p->count); b < to; b++)
		p->nodes = fill_tree(p->self, p->starts[b], p->starts[b + 1], b, p->nodes);
	return NULL;
}

/* Finds where the buckets begin, and counts the nodes of their trees. False: out of memory. */
static bool find_buckets(ldx *self, part *parts, unsigned threads)
{
	uint32_t *starts = ldb_alloc((self->bucket_count + 1) * sizeof *starts);
	if (!starts)
		return false;
	for (size_t i = 0; i < threads; i++)
		parts[i] = (part){.self = self, .starts = starts, .number = i, .count = threads};
	ldb_run_parts(find_starts, parts, sizeof *parts, threads);
	ldb_run_parts(count_nodes, parts, sizeof *parts, threads);
	self->node_count = self->bucket_count;
	self->max_height = 0;
	for (size_t i = 0; i < threads; i++) {
		const size_t nodes = parts[i].nodes;
		parts[i].nodes = self->node_count;
		self->node_count += nodes;
		if (parts[i].max_height > self->max_height)
			self->max_height = parts[i].max_height;
	}
	return true;
}

static void free_starts(const ldx *self, const part *parts)
{
	ldb_free(parts[0].starts, (self->bucket_count + 1) * sizeof *parts[0].starts);
}

void ldx_free_parts(ldx *self)
{
	ldb_free(self->root.segments, ldx_segment_bytes(self));
	ldb_free(self->nodes, ldx_node_bytes(self));
}

static ldb_status no_memory(ldx *self, size_t bytes, ldb_error *err)
{
	self->node_count = 0;
	ldx_free_parts(self);
	return ldb_fail_oom(err, "ldx: root and nodes", bytes);
}

enum { TRIES = 4 };

ldb_status ldx_build_parts(ldx *self, const ldx_settings *settings, ldb_error *err)
{
	if (self->n < LDX_LEAST)
		return LDB_OK;
	set_range(self);
	part parts[LDB_PARTS_MAX];
	ldx_settings granted = *settings;
	for (int i = 0;; i++) { /* the sample may have promised too much */
		if (!ldx_tune(self, &granted))
			return ldb_fail_oom(err, "ldx: root", ldx_segment_bytes(self));
		if (!self->chunk_lines)
			return LDB_OK;
		if (!find_buckets(self, parts, settings->threads))
			return no_memory(self, self->bucket_count * sizeof *parts->starts, err);
		const double bytes = (double)ldx_bytes_held(self);
		if (bytes <= settings->budget_bytes || i == TRIES)
			break;
		granted.budget_bytes *= 0.97 * settings->budget_bytes / bytes;
		free_starts(self, parts);
		ldb_free(self->root.segments, ldx_segment_bytes(self));
		self->root.segments = NULL;
	}
	self->nodes = ldb_alloc(ldx_node_bytes(self));
	if (self->nodes)
		ldb_run_parts(fill_trees, parts, sizeof *parts, settings->threads);
	free_starts(self, parts);
	return self->nodes ? LDB_OK : no_memory(self, ldx_node_bytes(self), err);
}
