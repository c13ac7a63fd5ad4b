/*
 * How LIPP's nodes are made and changed (Wu et al. 2021, sections 3.2 to 4).
 *
 * Depth. Whatever line a node has, its smallest and its largest key at build are in different
 * slots, so each child has fewer keys, and where all else fails the keys are spread from the
 * smallest to the largest, which makes children's ranges narrower by the number of slots. When a
 * subtree has grown to a multiple of what it was made for, and much of that by conflicts, it is
 * made anew. So of two nodes below each other that grew by inserts, the lower one has at most three
 * quarters of the keys of the upper one.
 */
#include <string.h>

#include "lipp.h"

enum {
	FEWEST_SLOTS = 4,
	GROWTH = 4,     /* a subtree that has grown so many times ... */
	SPARE = 8,      /* ... and by so many keys */
	CONFLICTS = 10, /* ... one in so many of them by a conflict, is made anew */
};

/* --- lines ------------------------------------------------------------------------------------ */

static void set_line(lipp_node *node, ldb_key base, double slots_per_key)
{
	node->base = base;
	node->slope = ldb_line_slope(slots_per_key, &node->shift);
}

/*
 * The fastest minimum conflict degree algorithm (paper, section 3.2): looks for the least d such
 * that no slot gets more than d keys, when the keys but the outermost d on both sides are spread
 * over all slots: then any d + 1 keys in a row must be a slot's width apart. Returns d, and that
 * width; 0 when there is none up to a third of the keys.
 */
static size_t least_conflicts(const ldb_key *keys, size_t n, size_t slots, uint64_t *width)
{
	size_t d = 1, i = 0;
	*width = (keys[n - 1 - d] - keys[d]) / (slots - 2);
	while (i + d < n) {
		if (keys[i + d] - keys[i] >= *width) {
			i++;
			continue;
		}
		if (++d * 3 > n)
			return 0;
		*width = (keys[n - 1 - d] - keys[d]) / (slots - 2);
	}
	return *width ? d : 0;
}

static void choose_line(lipp_node *node, const ldb_key *keys, size_t n)
{
	const size_t slots = (size_t)node->last + 1;
	uint64_t width;
	const size_t d = n > 3 ? least_conflicts(keys, n, slots, &width) : 0;
	if (d) {
		/* The middle of what is spread comes to the middle of the slots. */
		const ldb_key low = keys[d], middle = low + (keys[n - 1 - d] - low) / 2;
		const unsigned __int128 half = (unsigned __int128)width * (slots / 2);
		set_line(node, half < middle ? middle - (ldb_key)half : 0, 1 / (double)width);
		if (lipp_predict(node, keys[0]) != lipp_predict(node, keys[n - 1]))
			return;
	}
	const ldb_key first = n > 1 ? keys[0] : 0;
	const double span = n > 1 ? (double)(keys[n - 1] - first) : 1;
	set_line(node, first, (double)node->last / span);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static void clear(lipp_slot *s, size_t slot)
{
	*s = (lipp_slot){lipp_mark(slot), LDB_NONE};
}

static void occupy(lipp_node *node, size_t slot, ldb_key key, ldb_val value)
{
	lipp_slots(node)[slot] = (lipp_slot){key, value};
	const size_t block = slot / LIPP_BLOCK;
	lipp_blocks(node)[block / 64] |= 1ull << block % 64;
}

static void lead_to(lipp_node *node, size_t slot, const lipp_node *child)
{
	occupy(node, slot, lipp_mark(slot), (uintptr_t)child);
}

static lipp_node *make_empty(lipp *self, size_t n)
{
	const double wanted = (double)n * self->slots_per_key;
	const size_t slots = wanted > FEWEST_SLOTS ? (size_t)wanted : FEWEST_SLOTS;
	const lipp_node head = {.last = (uint32_t)slots - 1, .keys = n, .built = n};
	lipp_node *node = ldb_alloc(lipp_node_bytes(&head));
	if (!node)
		return NULL;
	*node = head;
	self->bytes += lipp_node_bytes(node);
	memset(lipp_blocks(node), 0, lipp_block_words(slots) * 8);
	for (size_t i = 0; i < slots; i++)
		clear(&lipp_slots(node)[i], i);
	return node;
}

void lipp_free(lipp *self, lipp_node *node)
{
	if (!node)
		return;
	const size_t end = (size_t)node->last + 1;
	const lipp_slot *slots = lipp_slots(node);
	for (size_t i = lipp_next(node, 0); i < end; i = lipp_next(node, i + 1)) {
		if (lipp_is_child(&slots[i], i))
			lipp_free(self, lipp_child(&slots[i]));
	}
	self->bytes -= lipp_node_bytes(node);
	ldb_free(node, lipp_node_bytes(node));
}

static lipp_node *make(lipp *self, const ldb_key *keys, const ldb_val *values, ldb_val first,
		       size_t n)
{
	lipp_node *node = make_empty(self, n);
	if (!node)
		return NULL;
	choose_line(node, keys, n);
	for (size_t i = 0, end; i < n; i = end) {
		const size_t slot = lipp_predict(node, keys[i]);
		end = i + 1;
		while (end < n && lipp_predict(node, keys[end]) == slot)
			end++;
		if (end == i + 1) {
			occupy(node, slot, keys[i], values ? values[i] : first + i);
			continue;
		}
		const lipp_node *child =
			make(self, keys + i, values ? values + i : NULL, first + i, end - i);
		if (!child) {
			lipp_free(self, node);
			return NULL;
		}
		lead_to(node, slot, child);
	}
	return node;
}

lipp_node *lipp_make(lipp *self, const ldb_key *keys, const ldb_val *values, size_t n)
{
	return make(self, keys, values, 0, n);
}

size_t lipp_next(const lipp_node *node, size_t slot)
{
	const size_t end = (size_t)node->last + 1;
	const lipp_slot *slots = lipp_slots(node);
	const uint64_t *blocks = lipp_blocks(node);
	while (slot < end) {
		const size_t block = slot / LIPP_BLOCK;
		const uint64_t left = blocks[block / 64] >> block % 64;
		if (!left) { /* 64 blocks at once */
			slot = (block / 64 + 1) * 64 * LIPP_BLOCK;
			continue;
		}
		if (!(left & 1)) {
			slot = (block + (unsigned)__builtin_ctzll(left)) * LIPP_BLOCK;
			continue;
		}
		const size_t stop = (block + 1) * LIPP_BLOCK < end ? (block + 1) * LIPP_BLOCK : end;
		for (; slot < stop; slot++) {
			if (slots[slot].value != LDB_NONE)
				return slot;
		}
	}
	return end;
}

/* --- subtrees made anew ----------------------------------------------------------------------- */

static size_t collect(const lipp_node *node, ldb_key *keys, ldb_val *values)
{
	const size_t end = (size_t)node->last + 1;
	const lipp_slot *slots = lipp_slots(node);
	size_t count = 0;
	for (size_t i = lipp_next(node, 0); i < end; i = lipp_next(node, i + 1)) {
		if (lipp_is_child(&slots[i], i)) {
			count += collect(lipp_child(&slots[i]), keys + count, values + count);
		} else {
			keys[count] = slots[i].key;
			values[count++] = slots[i].value;
		}
	}
	return count;
}

/* The same entries in new nodes; NULL: no memory, and the old ones stay. */
static lipp_node *remake(lipp *self, lipp_node *node)
{
	const size_t bytes = node->keys * sizeof(ldb_key);
	ldb_key *keys = ldb_alloc(bytes);
	ldb_val *values = ldb_alloc(bytes);
	lipp_node *made = NULL;
	if (keys && values)
		made = lipp_make(self, keys, values, collect(node, keys, values));
	ldb_free(keys, bytes);
	ldb_free(values, bytes);
	if (made)
		lipp_free(self, node);
	return made;
}

static bool unbalanced(const lipp_node *node)
{
	const size_t grown = node->keys - node->built;
	if (node->keys < node->built)
		return node->keys < node->built / GROWTH;
	return node->keys > GROWTH * node->built + SPARE && node->conflicts >= grown / CONFLICTS;
}

/* Makes the highest node on the way to `key` anew that needs it. Without memory it stays. */
static void balance(lipp *self, ldb_key key)
{
	lipp_node *parent = NULL, *node = self->root;
	size_t slot = 0;
	while (!unbalanced(node)) {
		parent = node;
		slot = lipp_predict(node, key);
		if (!lipp_is_child(&lipp_slots(node)[slot], slot))
			return;
		node = lipp_child(&lipp_slots(node)[slot]);
	}
	lipp_node *made = remake(self, node);
	if (made && parent)
		lead_to(parent, slot, made);
	else if (made)
		self->root = made;
}

/* --- operations ------------------------------------------------------------------------------- */

/* The node in which the search for a key ends, and the slot there. */
static lipp_node *find(const lipp *self, ldb_key key, size_t *slot)
{
	for (lipp_node *node = self->root;; node = lipp_child(&lipp_slots(node)[*slot])) {
		*slot = lipp_predict(node, key);
		if (!lipp_is_child(&lipp_slots(node)[*slot], *slot))
			return node;
	}
}

bool lipp_put(lipp *self, ldb_key key, ldb_val value)
{
	size_t slot;
	lipp_node *node = find(self, key, &slot);
	lipp_slot *s = &lipp_slots(node)[slot];
	const bool conflict = lipp_has_entry(s, slot);
	if (conflict && s->key == key) {
		s->value = value;
		return true;
	}
	if (conflict) {
		const bool less = s->key < key;
		const ldb_key keys[] = {less ? s->key : key, less ? key : s->key};
		const ldb_val values[] = {less ? s->value : value, less ? value : s->value};
		const lipp_node *child = lipp_make(self, keys, values, 2);
		if (!child)
			return false;
		lead_to(node, slot, child);
	} else {
		occupy(node, slot, key, value);
	}
	bool balanced = true;
	for (lipp_node *on_way = self->root;; on_way = lipp_child(&lipp_slots(on_way)[slot])) {
		on_way->keys++;
		on_way->conflicts += conflict;
		balanced &= !unbalanced(on_way);
		slot = lipp_predict(on_way, key);
		if (on_way == node)
			break;
	}
	if (!balanced)
		balance(self, key);
	return true;
}

/* Puts the last key of a child into its parent's slot. */
static void dissolve(lipp *self, lipp_node *parent, size_t slot)
{
	lipp_node *child = lipp_child(&lipp_slots(parent)[slot]);
	ldb_key key = 0;
	ldb_val value = 0;
	collect(child, &key, &value);
	occupy(parent, slot, key, value);
	lipp_free(self, child);
}

void lipp_delete(lipp *self, ldb_key key)
{
	size_t slot;
	lipp_node *node = find(self, key, &slot);
	if (lipp_slots(node)[slot].key != key || !lipp_has_entry(&lipp_slots(node)[slot], slot))
		return;
	clear(&lipp_slots(node)[slot], slot);
	bool balanced = true;
	for (lipp_node *on_way = self->root;; on_way = lipp_child(&lipp_slots(on_way)[slot])) {
		on_way->keys--;
		balanced &= !unbalanced(on_way);
		slot = lipp_predict(on_way, key);
		if (on_way == node)
			break;
		if (lipp_child(&lipp_slots(on_way)[slot])->keys == 2) { /* one of them is gone */
			dissolve(self, on_way, slot);
			break;
		}
	}
	if (!balanced)
		balance(self, key);
}
