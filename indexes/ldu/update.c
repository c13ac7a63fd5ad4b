/*
 * Operations of ldu, in order, with the lines of the next ones on their way.
 *
 * A batch is a pipeline: while operation i is done, i + AHEAD looks for its entry, i + 2 AHEAD for
 * its page, and i + 3 AHEAD for its bucket, and each fetches what the next step reads. What a step
 * ahead found is only a hint of what to fetch, since operations before it may change all but two
 * things: pages and nodes below the top are never unmapped, and buckets not before `cuts` says so.
 */
#include "ldb/window.h"
#include "ldu.h"

enum {
	AHEAD = 8,
	RING = 4 * AHEAD,
	ALONE = 3, /* so few operations have nothing to overlap with */
};

typedef struct {
	ldu_place place;
	const ldu_page *page;
	size_t cuts; /* the place is good while no segment got other buckets */
} flight;

static void take_off(const ldu *self, flight *f, ldb_key key)
{
	f->place = ldu_predict(self, key);
	f->cuts = self->cuts;
	ldb_prefetch(f->place.top, 0);
}

static ldu_page *land(const ldu *self, flight *f, ldb_key key)
{
	if (__builtin_expect(f->cuts != self->cuts, 0)) {
		f->place = ldu_predict(self, key);
		f->cuts = self->cuts;
	}
	return ldu_descend(self, f->place);
}

static void fetch_page(const ldu *self, flight *f, ldb_key key)
{
	f->page = land(self, f, key);
	ldb_prefetch(f->page, 0);
}

/* The line that has the key, or the one where it would go. */
static void fetch_entry(const flight *f, ldb_key key)
{
	const ldu_page *page = f->page;
	const uint32_t match = ldu_match(page, ldu_print(key));
	const unsigned slot = match ? (unsigned)__builtin_ctz(match) : page->count;
	ldb_prefetch(page->line, slot / LDU_LANES * sizeof *page->line);
}

/* All lines of the pages that a scan will read, as far as they are the same node's. */
static void fetch_range(const ldu *self, flight *f, const ldb_op *op)
{
	f->page = land(self, f, op->key);
	const ldu_node *node = f->place.top;
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
	const bool good = ldu_tree_insert(self, &path, place.top, key, value);
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
	ldu_tree_shrink(self, place.top, place.position);
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

size_t ldu_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	ldu *self = index;
	if (n <= ALONE)
		return apply_alone(self, ops, n, out, err);
	flight ring[RING];
	for (size_t i = 0; i < n + 3 * AHEAD; i++) {
		if (i < n)
			take_off(self, &ring[i % RING], ops[i].key);
		if (i >= AHEAD && i - AHEAD < n)
			fetch_for(self, &ring[(i - AHEAD) % RING], &ops[i - AHEAD]);
		if (i >= 2 * AHEAD && i - 2 * AHEAD < n)
			fetch_entry(&ring[(i - 2 * AHEAD) % RING], ops[i - 2 * AHEAD].key);
		if (i < 3 * AHEAD)
			continue;
		const size_t done = i - 3 * AHEAD;
		ldu_page *page = land(self, &ring[done % RING], ops[done].key);
		if (!operate(self, page, &ops[done], &out[done])) {
			no_memory(err);
			return done;
		}
	}
	return n;
}

void ldu_lookup_batch(const void *index, const ldb_key *q, size_t n, ldb_val *out)
{
	const ldu *self = index;
	flight ring[RING];
	for (size_t i = 0; i < n + 3 * AHEAD; i++) {
		if (i < n)
			take_off(self, &ring[i % RING], q[i]);
		if (i >= AHEAD && i - AHEAD < n)
			fetch_page(self, &ring[(i - AHEAD) % RING], q[i - AHEAD]);
		if (i >= 2 * AHEAD && i - 2 * AHEAD < n)
			fetch_entry(&ring[(i - 2 * AHEAD) % RING], q[i - 2 * AHEAD]);
		if (i >= 3 * AHEAD) {
			const size_t done = i - 3 * AHEAD;
			out[done] = ldu_answer(self, ring[done % RING].page, q[done]);
		}
	}
}
