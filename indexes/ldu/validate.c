/* The invariants of ldu, checked from the regions down to the keys. */
#include <inttypes.h>

#include "ldu.h"

typedef struct {
	const ldu *self;
	ldb_error *err;
	size_t n;
	uint32_t pages, nodes;
	bool any;
	ldb_key last; /* the largest key of the pages before */
	ldb_status status;
} check;

static bool wrong(check *c, const char *what, uint64_t value)
{
	c->status = ldb_fail(c->err, LDB_INVALID, "report it with the operations before", what,
			     "%" PRIu64, value);
	return false;
}

static bool check_page(check *c, uint32_t link)
{
	const ldu *self = c->self;
	ldu_page *page = ldu_page_at(self, link);
	if (link == LDU_EMPTY)
		return page->count == 0 || wrong(c, "ldu: the empty page's entries", page->count);
	c->pages++;
	if (page->count == 0 || page->count > LDU_SLOTS)
		return wrong(c, "ldu: entries of a page", page->count);
	ldb_key most = 0;
	for (unsigned s = 0; s < page->count; s++) {
		const ldb_key key = *ldu_key(page, s);
		most = key > most ? key : most;
		if (page->print[s] != ldu_print(key))
			return wrong(c, "ldu: fingerprint of a key", key);
		if (ldu_slot(page, key) != s)
			return wrong(c, "ldu: a key is in a page twice", key);
		if (c->any && key <= c->last)
			return wrong(c, "ldu: a key is not larger than all of earlier pages", key);
		if (ldu_find_page(self, key) != page)
			return wrong(c, "ldu: a key is looked for in another page", key);
	}
	c->last = most;
	c->any = true;
	c->n += page->count;
	return true;
}

static bool check_tree(check *c, const ldu_node *node)
{
	if (node->count == 0 || node->count > LDU_CHILDREN || node->shift % 32 || node->shift > 32)
		return wrong(c, "ldu: children of a node", node->count);
	for (unsigned i = 0; i + 1 < LDU_CHILDREN; i++) {
		const uint32_t s = node->separator[i];
		if (i + 1u < node->count ? i > 0 && s <= node->separator[i - 1] : s != UINT32_MAX)
			return wrong(c, "ldu: separators of a node", s);
	}
	for (unsigned i = 0; i < node->count; i++) {
		const uint32_t link = node->link[i];
		c->nodes += (link & LDU_TO_NODE) != 0;
		if (link & LDU_TO_NODE ? !check_tree(c, ldu_node_at(c->self, link))
				       : !check_page(c, link))
			return false;
	}
	return true;
}

static bool check_entry(check *c, const ldu_entry *entry)
{
	if (entry->pages == LDU_TABLE) {
		for (uint32_t i = 0; i < entry->count; i++) {
			const size_t n = c->n;
			if (!check_entry(c, &entry->cells[i]))
				return false;
			if (c->n > n && !ldu_cell_has_keys(entry, i))
				return wrong(c, "ldu: keys in a cell that says it has none", i);
		}
		return true;
	}
	const uint32_t pages = c->pages;
	for (uint32_t i = 0; i < entry->count; i++) {
		if (!check_tree(c, &entry->buckets[i]))
			return false;
	}
	if (entry->buckets == &c->self->no_bucket && (entry->count != 1 || c->pages != pages))
		return wrong(c, "ldu: pages of a segment without keys", c->pages - pages);
	return c->pages - pages == entry->pages ||
	       wrong(c, "ldu: pages of a segment are not as many as it counts", entry->pages);
}

/* Is everything in use, or on the list? */
static bool check_arena(check *c, const ldu_arena *arena, uint32_t in_use)
{
	size_t things = 0;
	uint32_t listed = 0;
	for (uint32_t i = 0; i < arena->chunk_count; i++)
		things += ldu_chunk_things(i);
	for (uint32_t number = arena->free_head; listed < arena->free_count; listed++)
		number = *(const uint32_t *)ldu_thing(arena, number);
	if (arena->used != in_use)
		return wrong(c, "ldu: pages or nodes in use", arena->used);
	if (things != (size_t)arena->used + arena->free_count + (arena->end - arena->next))
		return wrong(c, "ldu: pages or nodes that are lost", things);
	return true;
}

ldb_status ldu_validate(const void *index, ldb_error *err)
{
	const ldu *self = index;
	check c = {.self = self, .err = err, .status = LDB_OK};
	for (int i = 0; i < LDU_REGIONS; i++) {
		if (!check_entry(&c, &self->region[i].table))
			return c.status;
	}
	if (c.n != self->n)
		wrong(&c, "ldu: number of keys", self->n);
	else if (check_arena(&c, &self->pages, c.pages + 1)) /* the empty one */
		check_arena(&c, &self->nodes, c.nodes);
	return c.status;
}
