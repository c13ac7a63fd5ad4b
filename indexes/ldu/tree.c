/*
 * The tree of a bucket: filling it, room for one more key, joining what became small.
 *
 * A page that is full is cut between two keys whose digits differ, near the median. If all its keys
 * have the same digit d, its slot is first narrowed to d by separators d - 1 and d, with empty
 * pages on both sides, and then a node that looks at the next 32 bits takes its place. Distinct
 * keys differ in one of the two digits. Where keys come in ascending order a full page stays full,
 * and the next key begins a new one.
 *
 * Nodes with eight children are cut on the way down, so what is cut has room above it (as in a
 * B-tree with preemptive splits). The top of a bucket or of a next digit's tree grows upwards: two
 * nodes take its children, and it becomes the node above them.
 */
#include <string.h>

#include "ldu.h"

/* --- nodes ------------------------------------------------------------------------------------ */

void ldu_clear_tree(ldu_node *top)
{
	*top = (ldu_node){.count = 1, .link = {LDU_EMPTY}};
	memset(top->separator, 0xff, sizeof top->separator);
}

/* Child i's keys above the separator become those of a new child behind it. */
static void insert_child(ldu_node *node, unsigned i, uint32_t separator, uint32_t before,
			 uint32_t behind)
{
	const unsigned moved = node->count - 1u - i;
	memmove(&node->link[i + 2], &node->link[i + 1], moved * sizeof *node->link);
	if (moved)
		memmove(&node->separator[i + 1], &node->separator[i],
			moved * sizeof *node->separator);
	node->separator[i] = separator;
	node->link[i] = before;
	node->link[i + 1] = behind;
	node->count++;
}

/* Takes child i out; its keys' digits become child i + 1's, or, `to_left`, child i - 1's. */
static void remove_child(ldu_node *node, unsigned i, bool to_left)
{
	const unsigned separator = to_left ? i - 1 : i, moved = node->count - 1u - i;
	memmove(&node->link[i], &node->link[i + 1], moved * sizeof *node->link);
	memmove(&node->separator[separator], &node->separator[separator + 1],
		(LDU_CHILDREN - 2 - separator) * sizeof *node->separator);
	node->separator[LDU_CHILDREN - 2] = UINT32_MAX;
	node->count--;
}

/* Moves children [from, count) of a node to an empty one. */
static void move_children(ldu_node *to, ldu_node *node, unsigned from)
{
	ldu_clear_tree(to);
	to->shift = node->shift;
	to->count = (uint8_t)(node->count - from);
	memcpy(to->link, node->link + from, to->count * sizeof *to->link);
	memcpy(to->separator, node->separator + from, (to->count - 1u) * sizeof *to->separator);
	for (unsigned i = from ? from - 1 : 0; i < LDU_CHILDREN - 1; i++)
		node->separator[i] = UINT32_MAX;
	node->count = (uint8_t)from;
}

/* Cuts the full child i in two. */
static void split_node(ldu *self, ldu_node *node, unsigned i)
{
	self->changes++;
	ldu_node *child = ldu_node_at(self, node->link[i]);
	const uint32_t number = ldu_take(&self->nodes);
	const uint32_t separator = child->separator[LDU_CHILDREN / 2 - 1];
	move_children(ldu_node_at(self, number), child, LDU_CHILDREN / 2);
	insert_child(node, i, separator, node->link[i], number | LDU_TO_NODE);
}

/* Two new nodes take the children of a full one. */
static void raise_node(ldu *self, ldu_node *node)
{
	self->changes++;
	const uint32_t left = ldu_take(&self->nodes), right = ldu_take(&self->nodes);
	const uint32_t separator = node->separator[LDU_CHILDREN / 2 - 1];
	move_children(ldu_node_at(self, right), node, LDU_CHILDREN / 2);
	move_children(ldu_node_at(self, left), node, 0);
	node->count = 2;
	node->separator[0] = separator;
	node->link[0] = left | LDU_TO_NODE;
	node->link[1] = right | LDU_TO_NODE;
}

/* --- pages ------------------------------------------------------------------------------------ */

static void append(ldu_page *page, ldb_key key, ldb_val value)
{
	const unsigned slot = page->count++;
	page->print[slot] = ldu_print(key);
	*ldu_key(page, slot) = key;
	*ldu_value(page, slot) = value;
}

static uint32_t take_page(ldu *self)
{
	const uint32_t link = ldu_take(&self->pages);
	ldu_page *page = ldu_page_at(self, link);
	page->count = 0;
	page->unused = 0;
	return link;
}

/* A full page, about to be cut. */
typedef struct {
	ldu_page *page;
	uint8_t rank[LDU_SLOTS];
	ldb_key sorted[LDU_SLOTS];
} full_page;

static void look_at(full_page *full, ldu_page *page)
{
	full->page = page;
	ldu_rank(page, full->rank);
	for (unsigned s = 0; s < LDU_SLOTS; s++)
		full->sorted[full->rank[s]] = *ldu_key(page, s);
}

/* Did the last keys come in ascending order, and is this one still larger? */
static bool is_ascending(const full_page *full, ldb_key key)
{
	const uint8_t *rank = full->rank;
	for (unsigned s = LDU_SLOTS - 4; s < LDU_SLOTS; s++) {
		if (rank[s] != s)
			return false;
	}
	return key > full->sorted[LDU_SLOTS - 1];
}

static uint32_t digit_of(const ldu_path *path, const ldu_node *node, ldb_key key)
{
	return ldu_digit(ldu_position(path, key), node->shift);
}

/* How many keys the first half gets: the number nearest to 14 with different digits on both sides;
 * 0: all digits are the same. */
static unsigned find_cut(const full_page *full, const ldu_path *path, const ldu_node *node)
{
	const unsigned middle = LDU_SLOTS / 2;
	for (unsigned off = 0; off < middle; off++) {
		for (unsigned cut = middle - off; cut <= middle + off; cut += off ? 2 * off : 1) {
			if (digit_of(path, node, full->sorted[cut - 1]) !=
			    digit_of(path, node, full->sorted[cut]))
				return cut;
		}
	}
	return 0;
}

/* Moves the keys from rank `cut` on to another page. */
static void move_upper(ldu_page *to, const full_page *full, unsigned cut)
{
	ldu_page *page = full->page;
	page->count = 0;
	for (unsigned s = 0; s < LDU_SLOTS; s++) {
		const ldb_key key = *ldu_key(page, s);
		append(full->rank[s] < cut ? page : to, key, *ldu_value(page, s));
	}
}

/* Child i, whose keys all have the same digit, gets a node for the next one in its place; or, while
 * the child is for other digits as well, a neighbour for those. */
static void deepen(ldu *self, ldu_node *node, unsigned i, uint32_t digit)
{
	self->changes++;
	const uint32_t link = node->link[i];
	const bool first = i == 0, last = i + 1u == node->count;
	if (digit < (last ? UINT32_MAX : node->separator[i])) {
		insert_child(node, i, digit, link, LDU_EMPTY);
	} else if (digit > (first ? 0 : node->separator[i - 1] + 1)) {
		insert_child(node, i, digit - 1, LDU_EMPTY, link);
	} else {
		const uint32_t number = ldu_take(&self->nodes);
		ldu_node *next = ldu_node_at(self, number);
		ldu_clear_tree(next);
		next->shift = (uint8_t)(node->shift + 32);
		next->link[0] = link;
		node->link[i] = number | LDU_TO_NODE;
	}
}

/* Cuts child i, a full page, or does what must be done before that. */
static void cut_page(ldu *self, const ldu_path *path, ldu_node *node, unsigned i, ldb_key key)
{
	full_page full;
	look_at(&full, ldu_page_at(self, node->link[i]));
	unsigned cut = LDU_SLOTS;
	uint32_t separator = digit_of(path, node, full.sorted[cut - 1]);
	const bool kept = is_ascending(&full, key) && digit_of(path, node, key) != separator;
	if (!kept) {
		cut = find_cut(&full, path, node);
		if (!cut) {
			deepen(self, node, i, separator);
			return;
		}
		separator = digit_of(path, node, full.sorted[cut - 1]);
	}
	const uint32_t link = kept ? LDU_EMPTY : take_page(self);
	insert_child(node, i, separator, node->link[i], link);
	if (kept) {
		self->changes++;
	} else {
		self->cut = full.page;
		move_upper(ldu_page_at(self, link), &full, cut);
	}
}

/* --- insertion -------------------------------------------------------------------------------- */

enum {
	RESERVED_NODES = 64, /* more than two for each level that a tree can have */
};

/* The node above the key's page, with room for one more child; *child is the page's place in it. */
static ldu_node *open_way(ldu *self, ldu_node *top, uint64_t position, unsigned *child)
{
	ldu_node *node = top;
	if (node->count == LDU_CHILDREN)
		raise_node(self, node);
	for (;;) {
		*child = ldu_child(node, position);
		if (!(node->link[*child] & LDU_TO_NODE))
			return node;
		ldu_node *below = ldu_node_at(self, node->link[*child]);
		if (below->count == LDU_CHILDREN) {
			if (below->shift != node->shift) {
				raise_node(self, below);
			} else {
				split_node(self, node, *child);
				*child = ldu_child(node, position);
				below = ldu_node_at(self, node->link[*child]);
			}
		}
		node = below;
	}
}

bool ldu_tree_insert(ldu *self, const ldu_path *path, ldu_node *top, ldb_key key, ldb_val value)
{
	const uint64_t position = ldu_position(path, key);
	for (;;) {
		ldu_page *page = ldu_descend(self, (ldu_place){top, position});
		if (page->count > 0 && page->count < LDU_SLOTS) {
			append(page, key, value);
			return true;
		}
		if (!ldu_reserve(self, &self->pages, 1) ||
		    !ldu_reserve(self, &self->nodes, RESERVED_NODES))
			return false;
		unsigned i;
		ldu_node *node = open_way(self, top, position, &i);
		if (node->link[i] == LDU_EMPTY) {
			self->changes++;
			node->link[i] = take_page(self);
			append(ldu_page_at(self, node->link[i]), key, value);
			return true;
		}
		cut_page(self, path, node, i, key);
	}
}

/* --- filling ---------------------------------------------------------------------------------- */

/* A part of the source that goes to a tree. */
typedef struct {
	ldu *self;
	const ldu_path *path;
	const ldu_source *source;
} filling;

static uint32_t fill_page(const filling *f, size_t from, size_t to)
{
	const uint32_t link = take_page(f->self);
	ldu_page *page = ldu_page_at(f->self, link);
	for (size_t i = from; i < to; i++)
		append(page, f->source->keys[i], ldu_source_value(f->source, i));
	return link;
}

/* Fills a cleared node with keys [from, to). False: too many of them have the same digit. */
static bool fill_node(const filling *f, ldu_node *node, size_t from, size_t to)
{
	const size_t keys = to - from, pages = (keys + f->self->fill - 1) / f->self->fill;
	size_t parts = pages, start = from;
	if (pages > LDU_CHILDREN)
		parts = pages > 6 * LDU_CHILDREN ? LDU_CHILDREN : (pages + 5) / 6;
	node->count = 0;
	for (size_t i = 0; i < parts && start < to; i++) {
		size_t end = from + keys * (i + 1) / parts;
		end = end > start ? end : start + 1;
		uint32_t last = digit_of(f->path, node, f->source->keys[end - 1]);
		while (end < to && last == digit_of(f->path, node, f->source->keys[end]))
			end++;
		if (pages <= LDU_CHILDREN ? end - start > LDU_SLOTS : end - start == keys)
			return false;
		if (node->count)
			node->separator[node->count - 1] =
				digit_of(f->path, node, f->source->keys[start - 1]);
		uint32_t link;
		if (pages > LDU_CHILDREN) {
			link = ldu_take(&f->self->nodes) | LDU_TO_NODE;
			ldu_clear_tree(ldu_node_at(f->self, link));
			node->link[node->count++] = link;
			if (!fill_node(f, ldu_node_at(f->self, link), start, end))
				return false;
		} else {
			link = fill_page(f, start, end);
			node->link[node->count++] = link;
		}
		start = end;
	}
	return true;
}

bool ldu_fill_tree(ldu *self, const ldu_path *path, ldu_node *top, const ldu_source *source,
		   size_t from, size_t to)
{
	if (from == to)
		return true;
	const uint32_t pages = (uint32_t)((to - from + self->fill - 1) / self->fill);
	if (!ldu_reserve(self, &self->pages, 2 * pages) ||
	    !ldu_reserve(self, &self->nodes, 2 * pages))
		return false;
	const filling f = {self, path, source};
	if (fill_node(&f, top, from, to))
		return true;
	/* Digits do not tell enough of them apart: one by one, trees go deeper where they must. */
	ldu_recycle_tree(self, top);
	ldu_clear_tree(top);
	for (size_t i = from; i < to; i++) {
		if (!ldu_tree_insert(self, path, top, source->keys[i], ldu_source_value(source, i)))
			return false;
	}
	return true;
}

void ldu_recycle_tree(ldu *self, ldu_node *top)
{
	for (unsigned i = 0; i < top->count; i++) {
		const uint32_t link = top->link[i];
		if (link & LDU_TO_NODE) {
			ldu_recycle_tree(self, ldu_node_at(self, link));
			ldu_give(&self->nodes, link & ~LDU_TO_NODE);
		} else if (link != LDU_EMPTY) {
			ldu_give(&self->pages, link);
		}
	}
}

/* --- shrinking -------------------------------------------------------------------------------- */

enum {
	SMALL = LDU_SLOTS / 4,      /* entries of a page that looks for a neighbour */
	JOINED = LDU_SLOTS * 3 / 4, /* most entries of two pages that are joined */
};

/* May child i have the keys of digits next to its own? Not where it, or the last child of nodes
 * below it, looks at the next digit. */
static bool may_widen(const ldu_node *node, unsigned i)
{
	return !(node->link[i] & LDU_TO_NODE);
}

static bool may_join(const ldu *self, const ldu_node *node, unsigned i, const ldu_page *page)
{
	const uint32_t link = node->link[i];
	return !(link & LDU_TO_NODE) && link != LDU_EMPTY &&
	       ldu_page_at(self, link)->count + page->count <= JOINED;
}

static void join(ldu *self, ldu_node *node, unsigned i, unsigned other)
{
	ldu_page *page = ldu_page_at(self, node->link[i]);
	ldu_page *to = ldu_page_at(self, node->link[other]);
	for (unsigned s = 0; s < page->count; s++)
		append(to, *ldu_key(page, s), *ldu_value(page, s));
	ldu_give(&self->pages, node->link[i]);
	remove_child(node, i, other < i);
}

static void shrink_page(ldu *self, ldu_node *node, unsigned i)
{
	ldu_page *page = ldu_page_at(self, node->link[i]);
	const bool has_left = i > 0, has_right = i + 1u < node->count;
	if (page->count == 0) {
		if (node->link[i] != LDU_EMPTY)
			ldu_give(&self->pages, node->link[i]);
		node->link[i] = LDU_EMPTY;
		if (has_left && may_widen(node, i - 1))
			remove_child(node, i, true);
		else if (has_right && may_widen(node, i + 1))
			remove_child(node, i, false);
	} else if (page->count <= SMALL) {
		if (has_left && may_join(self, node, i - 1, page))
			join(self, node, i, i - 1);
		else if (has_right && may_join(self, node, i + 1, page))
			join(self, node, i, i + 1);
	}
}

void ldu_tree_shrink(ldu *self, ldu_node *top, uint64_t position)
{
	self->changes++;
	const unsigned i = ldu_child(top, position);
	const uint32_t link = top->link[i];
	if (!(link & LDU_TO_NODE)) {
		shrink_page(self, top, i);
		return;
	}
	ldu_node *below = ldu_node_at(self, link);
	ldu_tree_shrink(self, below, position);
	if (below->count > 1)
		return;
	const uint32_t only = below->link[0];
	if (top->count == 1 && below->shift == top->shift) {
		const uint16_t most_pages = top->most_pages;
		*top = *below;
		top->most_pages = most_pages;
	} else {
		top->link[i] = only;
		if (only == LDU_EMPTY)
			shrink_page(self, top, i);
	}
	ldu_give(&self->nodes, link & ~LDU_TO_NODE);
}
