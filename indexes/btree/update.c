/*
 * Updates: insertion splits a full node, deletion merges a node that is nearly empty with the one
 * beside it or evens the two out (Bayer, McCreight 1972, sections 5 and 6). Where memory is needed,
 * all nodes are got before the first change: a refused operation has no effect.
 *
 * Most of an operation's time is waiting for its nodes. So the nodes of some operations to come are
 * fetched together, as a batch of lookups does it, and then the operations are done one by one.
 */
#include "btree.h"

/* --- one node ----------------------------------------------------------------------------------
 */

/* Moves slots from..14 one up, or from+1..15 one down. */
static inline void shift_up(uint64_t *slots, unsigned from)
{
#ifdef __AVX512F__
	const __m512i low = _mm512_loadu_si512(slots), high = _mm512_loadu_si512(slots + 8);
	const unsigned moved = 0x7fffu & (~0u << from);
	_mm512_mask_storeu_epi64(slots + 1, (__mmask8)moved, low);
	_mm512_mask_storeu_epi64(slots + 9, (__mmask8)(moved >> 8), high);
#else
	memmove(slots + from + 1, slots + from, (FANOUT - 1 - from) * sizeof *slots);
#endif
}

static inline void shift_down(uint64_t *slots, unsigned from)
{
	memmove(slots + from, slots + from + 1, (FANOUT - 1 - from) * sizeof *slots);
}

#if LDB_KEY_BITS == 64
#define shift_keys_up shift_up
#define shift_keys_down shift_down
#else
static inline void shift_keys_up(ldb_key *keys, unsigned from)
{
	memmove(keys + from + 1, keys + from, (FANOUT - 1 - from) * sizeof *keys);
}

static inline void shift_keys_down(ldb_key *keys, unsigned from)
{
	memmove(keys + from, keys + from + 1, (FANOUT - 1 - from) * sizeof *keys);
}
#endif

static inline bool is_full(const node *of)
{
	return of->word[FANOUT - 1] != UNUSED;
}

static inline void node_insert(node *into, unsigned slot, ldb_key key, uint64_t word)
{
	shift_keys_up(into->key, slot);
	shift_up(into->word, slot);
	into->key[slot] = key;
	into->word[slot] = word;
}

static inline void node_remove(node *from, unsigned slot)
{
	shift_keys_down(from->key, slot);
	shift_down(from->word, slot);
	from->key[FANOUT - 1] = LDB_KEY_MAX;
	from->word[FANOUT - 1] = UNUSED;
}

/* The entries of two nodes, or of a full one and one more. */
typedef struct {
	ldb_key key[2 * FANOUT];
	uint64_t word[2 * FANOUT];
} entries;

static void fill_node(node *to, const entries *all, unsigned first, unsigned end)
{
	for (unsigned k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		to->key[k] = used ? all->key[first + k] : LDB_KEY_MAX;
		to->word[k] = used ? all->word[first + k] : UNUSED;
	}
}

static void copy_entries(entries *all, unsigned to, const node *from, unsigned first,
			 unsigned count)
{
	memcpy(all->key + to, from->key + first, count * sizeof(ldb_key));
	memcpy(all->word + to, from->word + first, count * sizeof(uint64_t));
}

/* --- insertion ---------------------------------------------------------------------------------
 */

/* How many nodes an insertion into a full leaf needs: one for each full node on the way up, and one
 * for a new root when it gets there. */
static size_t nodes_to_split(const btree *self, const path *way)
{
	size_t count = 1;
	uint32_t level = self->levels;
	while (level > 0 && is_full(way->at[level - 1]))
		level--, count++;
	return count + (level == 0);
}

/* Where a new entry lies in the tree. */
typedef enum { BETWEEN, FIRST, LAST } edge;

static edge edge_of(const btree *self, const path *way, unsigned slot)
{
	edge is = slot == 0 ? FIRST : slot == FANOUT ? LAST : BETWEEN;
	for (uint32_t level = self->levels; level-- > 0 && is != BETWEEN;) {
		const unsigned at = way->slot[level];
		const bool last = at + 1 == FANOUT || way->at[level]->word[at + 1] == UNUSED;
		if (is == FIRST ? at > 0 : !last)
			is = BETWEEN;
	}
	return is;
}

/*
 * Splits a full node with one more entry at `slot` and returns the new node on its right. In the
 * middle, but at the end where entries come in order: nodes are then left behind nearly full.
 */
static node *split(btree *self, node *left, unsigned slot, ldb_key key, uint64_t word, edge at)
{
	entries all;
	copy_entries(&all, 0, left, 0, slot);
	all.key[slot] = key;
	all.word[slot] = word;
	copy_entries(&all, slot + 1, left, slot, FANOUT - slot);
	const unsigned keep = at == LAST ? FANOUT + 1 - LEAST : at == FIRST ? LEAST : FANOUT / 2;
	node *right = btree_take_node(self);
	fill_node(left, &all, 0, keep);
	fill_node(right, &all, keep, FANOUT + 1);
	return right;
}

static void grow_root(btree *self, ldb_key bound, node *right)
{
	entries two = {{bound, LDB_KEY_MAX}, {(uintptr_t)self->root, (uintptr_t)right}};
	self->root = btree_take_node(self);
	self->levels++;
	fill_node(self->root, &two, 0, 2);
}

/* An insertion into a full leaf: the split goes up as far as nodes are full. */
static bool put_by_split(btree *self, const path *way, node *leaf, unsigned slot, ldb_key key,
			 ldb_val value)
{
	if (!btree_reserve(self, nodes_to_split(self, way)))
		return false;
	const edge at = edge_of(self, way, slot);
	node *left = leaf, *right = split(self, leaf, slot, key, value, at);
	ldb_key bound = left->key[node_count(left) - 1];
	for (uint32_t level = self->levels; level-- > 0;) {
		/* The left node gets a bound of its own, the right one has the old one. */
		node *parent = way->at[level];
		slot = way->slot[level];
		parent->word[slot] = (uintptr_t)right;
		if (!is_full(parent)) {
			node_insert(parent, slot, bound, (uintptr_t)left);
			return true;
		}
		right = split(self, parent, slot, bound, (uintptr_t)left, at);
		left = parent;
		bound = left->key[node_count(left) - 1];
	}
	grow_root(self, bound, right);
	return true;
}

/* False when there is no memory. */
static inline bool put(btree *self, ldb_key key, ldb_val value)
{
	path way;
	node *leaf = find_path(self, key, &way);
	fetch_words(leaf);
	const unsigned slot = ldb_count_less16(leaf->key, key);
	if (slot < FANOUT && leaf->key[slot] == key && leaf->word[slot] != UNUSED) {
		leaf->word[slot] = value;
		return true;
	}
	if (!is_full(leaf))
		node_insert(leaf, slot, key, value);
	else if (!put_by_split(self, &way, leaf, slot, key, value))
		return false;
	self->n++;
	return true;
}

/* --- deletion ----------------------------------------------------------------------------------
 */

static bool is_low(const node *of)
{
	return of->word[LOW - 1] == UNUSED;
}

/* Merges a parent's child at `slot` with the one after it, or evens them out. */
static void merge(btree *self, node *parent, unsigned slot)
{
	node *left = child_at(parent, slot), *right = child_at(parent, slot + 1);
	const unsigned lefts = node_count(left), all_count = lefts + node_count(right);
	entries all;
	copy_entries(&all, 0, left, 0, lefts);
	copy_entries(&all, lefts, right, 0, all_count - lefts);
	if (all_count <= FANOUT) {
		fill_node(left, &all, 0, all_count);
		parent->word[slot + 1] = (uintptr_t)left; /* beside its new bound */
		node_remove(parent, slot);
		btree_give_node(self, right);
	} else {
		fill_node(left, &all, 0, all_count / 2);
		fill_node(right, &all, all_count / 2, all_count);
		parent->key[slot] = all.key[all_count / 2 - 1];
	}
}

/* Goes up from a leaf that a deletion has left low. */
static void mend(btree *self, const path *way, const node *low)
{
	for (uint32_t level = self->levels; level > 0 && is_low(low); level--) {
		node *parent = way->at[level - 1];
		const unsigned slot = way->slot[level - 1];
		merge(self, parent, slot > 0 ? slot - 1 : slot);
		low = parent;
	}
	while (self->levels > 0 && self->root->word[1] == UNUSED) {
		node *gone = self->root;
		self->root = child_at(gone, 0);
		self->levels--;
		btree_give_node(self, gone);
	}
}

static inline void erase(btree *self, ldb_key key)
{
	path way;
	node *leaf = find_path(self, key, &way);
	fetch_words(leaf);
	const unsigned slot = ldb_count_less16(leaf->key, key);
	if (slot == FANOUT || leaf->key[slot] != key || leaf->word[slot] == UNUSED)
		return;
	node_remove(leaf, slot);
	self->n--;
	if (is_low(leaf))
		mend(self, &way, leaf);
}

/* --- reads among updates -----------------------------------------------------------------------
 */

static inline ldb_val get(const btree *self, ldb_key key)
{
	const node *leaf = find_leaf(self, key);
	fetch_words(leaf);
	const unsigned slot = ldb_count_less16(leaf->key, key);
	return slot < FANOUT && leaf->key[slot] == key ? leaf->word[slot] : LDB_NONE;
}

/* Fetches the values of the leaf that comes `distance` leaves after the one of a path, when both
 * have the same parent. */
static inline void fetch_later_leaf(const btree *self, const path *way, unsigned distance)
{
	const node *parent = way->at[self->levels - 1];
	const unsigned slot = way->slot[self->levels - 1] + distance;
	if (slot < FANOUT && parent->word[slot] != UNUSED)
		fetch_words(child_at(parent, slot));
}

static ldb_val scan(const btree *self, ldb_key key, uint32_t length)
{
	enum { DISTANCE = 3 };
	path way;
	ldb_val sum = 0;
	const node *leaf = find_path(self, key, &way);
	unsigned slot = ldb_count_less16(leaf->key, key);
	for (unsigned d = 1; d < DISTANCE && self->levels && d * FANOUT < length + slot; d++)
		fetch_later_leaf(self, &way, d);
	for (; leaf && length > 0; leaf = next_leaf(self, &way), slot = 0) {
		if (self->levels && length > DISTANCE * FANOUT)
			fetch_later_leaf(self, &way, DISTANCE);
		for (; slot < FANOUT && length > 0 && leaf->word[slot] != UNUSED; slot++, length--)
			sum += leaf->word[slot];
	}
	return sum;
}

/* --- streams -----------------------------------------------------------------------------------
 */

enum { MOST_AHEAD = 64 };

/* Takes the keys of operations down the tree together, for nothing but to have their nodes in the
 * cache. */
static inline void fetch_paths(const btree *self, const ldb_op *ops, size_t count)
{
	const node *at[MOST_AHEAD];
	for (size_t i = 0; i < count; i++)
		at[i] = self->root;
	for (uint32_t level = 0; level < self->levels; level++) {
		for (size_t i = 0; i < count; i++) {
			at[i] = child_for(at[i], ops[i].key);
			fetch_node(at[i]);
		}
	}
	/* To gcc a function that only prefetches has no effect, and its call is left out. */
	__asm__ volatile("");
}

size_t btree_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	btree *index = self;
	const size_t ahead = index->ahead;
	for (size_t i = 0; i < n; i++) {
		const ldb_op *op = &ops[i];
		if (ahead > 1 && i % ahead == 0 && n - i > 1)
			fetch_paths(index, op, n - i < ahead ? n - i : ahead);
		out[i] = 0;
		if (op->kind == LDB_GET) {
			out[i] = get(index, op->key);
			continue;
		}
		if (op->kind == LDB_SCAN) {
			out[i] = scan(index, op->key, op->length);
			continue;
		}
		index->updated = true;
		if (op->kind == LDB_DELETE) {
			erase(index, op->key);
		} else if (!put(index, op->key, op->value)) {
			ldb_fail_oom(err, "btree nodes", MAX_LEVELS * sizeof(node));
			return i;
		}
	}
	return n;
}
