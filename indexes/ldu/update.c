/*
 * Operations of ldu, in order, with the lines of the next ones on their way.
 *
 * A batch is a pipeline: while operation i is done, others, each AHEAD behind the one before, look
 * for their entry, page, node below the bucket's, bucket, and cell of a table, and fetch what their
 * next step reads. Where keys cluster it can't be foreseen how many tables and nodes there are on
 * the way, so there are steps without a branch. Operations that come before it may change what a
 * step found. Mostly a page was cut: those on the way to that page forget it. After any other
 * change all begin anew, by the count of `changes`. What a step found can still be read then, but
 * for cells and buckets: pages and nodes below the top are never unmapped.
 */
#include "ldb/window.h"
#include "ldu.h"

enum {
	AHEAD = 8,
	RING = 6 * AHEAD,
	ALONE = 3,        /* so few operations have nothing to overlap with */
	MANY_NODES = 512, /* below the top; fewer stay in the cache */
	MANY_TABLES = 16,
};

/* b where the mask has all bits, a where it has none: a choice that is never a branch. */
static inline uint64_t choose(uint64_t mask, uint64_t a, uint64_t b)
{
	return a ^ ((a ^ b) & mask);
}

/* From a table to the cell of a position, which becomes that in the cell. A segment stays. */
static inline const ldu_entry *step(const ldu_entry *e, uint64_t *position)
{
	uint64_t within;
	const uint64_t cell = ldu_multiply(*position, e->count, &within);
	const uint64_t mask = 0 - (uint64_t)(e->pages == LDU_TABLE);
	*position = choose(mask, *position, within);
	return (const ldu_entry *)choose(mask, (uintptr_t)e, (uintptr_t)(e->cells + cell));
}

/* From a node to the node of a position below it. The last one above the page stays. */
static inline const ldu_node *node_step(const ldu *self, const ldu_node *node, uint64_t position)
{
	const uint32_t link = node->link[ldu_child(node, position)];
	const uint64_t mask = 0 - (uint64_t)(link >> 31);
	/* Of a page the number is looked up as if it were that of a node, but in a chunk there is.
	 */
	const uint32_t number = link & (uint32_t)mask & ~LDU_TO_NODE;
	return (const ldu_node *)choose(mask, (uintptr_t)node,
					(uintptr_t)ldu_thing(&self->nodes, number));
}

typedef struct {
	const ldu_entry *cell;
	ldu_place place;  /* until there is a node the position in the cell */
	ldu_page *page;   /* NULL: not known */
	uint64_t changes; /* of the index when all these were found */
} flight;

static inline void fetch_cell(const ldu *self, flight *f, ldb_key key, bool tables)
{
	f->changes = self->changes;
	f->page = NULL;
	f->cell = ldu_first_cell(self, key, &f->place.position);
	if (tables) {
		f->cell = step(f->cell, &f->place.position);
		ldb_prefetch(f->cell, 0);
	}
}

/* False: the index has changed, so all was found anew. */
static inline bool renew(const ldu *self, flight *f, ldb_key key)
{
	if (__builtin_expect(f->changes == self->changes, 1))
		return true;
	f->place = ldu_predict(self, key);
	f->changes = self->changes;
	f->page = NULL;
	return false;
}

static inline void fetch_node(const ldu *self, flight *f, ldb_key key, bool tables)
{
	if (renew(self, f, key)) {
		if (tables)
			f->cell = step(f->cell, &f->place.position);
		f->place = ldu_bucket(f->cell, f->place.position);
	}
	ldb_prefetch(f->place.node, 0);
}

static inline void fetch_lower(const ldu *self, flight *f, ldb_key key)
{
	renew(self, f, key);
	f->place.node = (ldu_node *)node_step(self, f->place.node, f->place.position);
	ldb_prefetch(f->place.node, 0);
}

static inline void find_page(const ldu *self, flight *f, ldb_key key)
{
	renew(self, f, key);
	if (!f->page)
		f->page = ldu_descend(self, f->place);
}

static inline void fetch_page(const ldu *self, flight *f, ldb_key key)
{
	find_page(self, f, key);
	ldb_prefetch(f->page, 0);
}

/* The line that has the key, or the one where it would go. */
static void fetch_entry(const flight *f, ldb_key key)
{
	const ldu_page *page = f->page;
	if (!page)
		return;
	const uint32_t match = ldu_match(page, ldu_print(key));
	const unsigned slot = match ? (unsigned)__builtin_ctz(match) : page->count;
	ldb_prefetch(page->line, slot / LDU_LANES * sizeof *page->line);
}

/* All lines of the pages that a scan will read, as far as they are the same node's. */
static void fetch_range(const ldu *self, flight *f, const ldb_op *op)
{
	find_page(self, f, op->key);
	const ldu_node *node = f->place.node;
	unsigned i = ldu_child(node, f->place.position);
	while (node->link[i] & LDU_TO_NODE) {
		node = ldu_node_at(self, node->link[i]);
		i = ldu_child(node, f->place.position);
	}
	const unsigned end = i + op->length / (LDU_SLOTS / 2) + 2;
	for (; i < end && i < node->count && !(node->link[i] & LDU_TO_NODE); i++) {
		const ldu_page *page = ldu_page_at(self, node->link[i]);
		for (size_t b = 0; b < sizeof *page; b += 64)
			ldb_prefetch(page, b);
	}
}

static inline void fetch_for(const ldu *self, flight *f, const ldb_op *op)
{
	if (op->kind == LDB_SCAN)
		fetch_range(self, f, op);
	else
		fetch_page(self, f, op->key);
}

/* --- one operation ---------------------------------------------------------------------------- */

__attribute__((noinline)) static bool put_slowly(ldu *self, ldb_key key, ldb_val value)
{
	ldu_path path;
	ldu_entry *segment = ldu_segment_of(self, key, &path, true);
	if (!ldu_open_segment(self, segment))
		return false;
	const ldu_place place = ldu_predict(self, key);
	const uint32_t pages_before = self->pages.used;
	const bool good = ldu_tree_insert(self, &path, place.node, key, value);
	segment->pages += self->pages.used - pages_before;
	if (!good)
		return false;
	self->n++;
	ldu_tend(self, segment, &path);
	return true;
}

static inline bool put(ldu *self, ldu_page *page, ldb_key key, ldb_val value)
{
	const unsigned slot = ldu_slot(page, key);
	if (slot < LDU_SLOTS) {
		*ldu_value(page, slot) = value;
		return true;
	}
	const unsigned count = page->count;
	if (__builtin_expect(count - 1 >= LDU_SLOTS - 1, 0)) /* full, or without entries */
		return put_slowly(self, key, value);
	page->print[count] = ldu_print(key);
	*ldu_key(page, count) = key;
	*ldu_value(page, count) = value;
	page->count = count + 1;
	self->n++;
	return true;
}

__attribute__((noinline)) static void shrink(ldu *self, ldb_key key)
{
	ldu_path path;
	ldu_entry *segment = ldu_segment_of(self, key, &path, false);
	const ldu_place place = ldu_predict(self, key);
	const uint32_t pages_before = self->pages.used;
	ldu_tree_shrink(self, place.node, place.position);
	segment->pages -= pages_before - self->pages.used;
	ldu_tend(self, segment, &path);
}

static inline void delete (ldu *self, ldu_page *page, ldb_key key)
{
	const unsigned slot = ldu_slot(page, key);
	if (slot == LDU_SLOTS)
		return;
	const unsigned last = --page->count;
	page->print[slot] = page->print[last];
	*ldu_key(page, slot) = *ldu_key(page, last);
	*ldu_value(page, slot) = *ldu_value(page, last);
	self->n--;
	if (page->count % 4 == 0 && page->count <= LDU_SLOTS / 4)
		shrink(self, key);
}

/* False: no memory. */
static inline bool operate(ldu *self, ldu_page *page, const ldb_op *op, ldb_val *out)
{
	unsigned slot;
	*out = 0;
	switch (op->kind) {
	case LDB_GET:
		slot = ldu_slot(page, op->key);
		*out = slot < LDU_SLOTS ? *ldu_value(page, slot) : LDB_NONE;
		return true;
	case LDB_PUT:
		return put(self, page, op->key, op->value);
	case LDB_DELETE:
		delete (self, page, op->key);
		return true;
	default:
		*out = ldu_scan(self, op->key, op->length);
		return true;
	}
}

/* --- batches ---------------------------------------------------------------------------------- */

static void no_memory(ldb_error *err)
{
	ldb_fail_oom(err, "ldu: a page, a node or a bucket", sizeof(ldu_page));
}

static size_t apply_alone(ldu *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (!operate(self, ldu_find_page(self, ops[i].key), &ops[i], &out[i])) {
			no_memory(err);
			return i;
		}
	}
	return n;
}

/* How many operations behind the first step each further one is. */
typedef struct {
	size_t node, lower, page, entry, last;
	bool tables;
} stages;

/* Without many tables or lower nodes their steps cost more than they give. */
static stages stages_of(const ldu *self)
{
	stages s = {.tables = self->tables > MANY_TABLES};
	s.node = s.tables ? AHEAD : 0;
	s.lower = self->nodes.used > MANY_NODES ? s.node + AHEAD : 0;
	s.page = (s.lower ? s.lower : s.node) + AHEAD;
	s.entry = s.page + AHEAD;
	s.last = s.entry + AHEAD;
	return s;
}

/* Is the operation `behind` steps behind the i-th one of a batch of n? */
static inline bool is_in(size_t i, size_t behind, size_t n)
{
	return i - behind < n; /* wraps around before the first */
}

/* A page was cut: who is on the way to it has to look again. */
static void forget(ldu *self, flight *ring)
{
	for (size_t i = 0; i < RING; i++)
		ring[i].page = ring[i].page == self->cut ? NULL : ring[i].page;
	self->cut = NULL;
}

size_t ldu_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	ldu *self = index;
	self->cut = NULL;
	if (n <= ALONE)
		return apply_alone(self, ops, n, out, err);
	flight ring[RING] = {{.page = NULL}};
	const stages s = stages_of(self);
	for (size_t i = 0; i < n + s.last; i++) {
		if (i < n)
			fetch_cell(self, &ring[i % RING], ops[i].key, s.tables);
		if (is_in(i, s.node, n))
			fetch_node(self, &ring[(i - s.node) % RING], ops[i - s.node].key, s.tables);
		if (s.lower && is_in(i, s.lower, n))
			fetch_lower(self, &ring[(i - s.lower) % RING], ops[i - s.lower].key);
		if (is_in(i, s.page, n))
			fetch_for(self, &ring[(i - s.page) % RING], &ops[i - s.page]);
		if (is_in(i, s.entry, n))
			fetch_entry(&ring[(i - s.entry) % RING], ops[i - s.entry].key);
		if (i < s.last)
			continue;
		const size_t done = i - s.last;
		flight *f = &ring[done % RING];
		find_page(self, f, ops[done].key);
		if (!operate(self, f->page, &ops[done], &out[done])) {
			no_memory(err);
			return done;
		}
		if (self->cut)
			forget(self, ring);
	}
	return n;
}

void ldu_lookup_batch(const void *index, const ldb_key *q, size_t n, ldb_val *out)
{
	const ldu *self = index;
	flight ring[RING];
	const stages s = stages_of(self);
	for (size_t i = 0; i < n + s.last; i++) {
		if (i < n)
			fetch_cell(self, &ring[i % RING], q[i], s.tables);
		if (is_in(i, s.node, n))
			fetch_node(self, &ring[(i - s.node) % RING], q[i - s.node], s.tables);
		if (s.lower && is_in(i, s.lower, n))
			fetch_lower(self, &ring[(i - s.lower) % RING], q[i - s.lower]);
		if (is_in(i, s.page, n))
			fetch_page(self, &ring[(i - s.page) % RING], q[i - s.page]);
		if (is_in(i, s.entry, n))
			fetch_entry(&ring[(i - s.entry) % RING], q[i - s.entry]);
		if (i >= s.last) {
			const size_t done = i - s.last;
			out[done] = ldu_answer(self, ring[done % RING].page, q[done]);
		}
	}
}
