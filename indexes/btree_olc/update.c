/*
 * Updates and scans of btree_olc. A full node is split on the way down before it is entered, one
 * that is nearly empty is merged or evened out, so each change locks one parent and at most two of
 * its children, and takes at most two nodes. After a change of the form the operation starts again.
 */
#include "olc.h"

/* --- locked nodes ------------------------------------------------------------------------------
 */

/* Slots of a locked node; readers may look on. */
static inline void move_slots(uint64_t *slots, unsigned to, unsigned from, unsigned count)
{
#ifdef __SANITIZE_THREAD__
	for (unsigned k = 0; k < count; k++) {
		const unsigned i = to > from ? count - 1 - k : k;
		store(&slots[to + i], load(&slots[from + i]));
	}
#else
	memmove(slots + to, slots + from, count * sizeof *slots);
#endif
}

static inline void node_insert(node *into, unsigned slot, ldb_key key, uint64_t word)
{
	move_slots(into->key, slot + 1, slot, FANOUT - 1 - slot);
	move_slots(into->word, slot + 1, slot, FANOUT - 1 - slot);
	store(&into->key[slot], key);
	store(&into->word[slot], word);
}

static inline void node_remove(node *from, unsigned slot)
{
	move_slots(from->key, slot, slot + 1, FANOUT - 1 - slot);
	move_slots(from->word, slot, slot + 1, FANOUT - 1 - slot);
	store(&from->key[FANOUT - 1], LDB_KEY_MAX);
	store(&from->word[FANOUT - 1], UNUSED);
}

typedef struct {
	uint64_t key[2 * FANOUT], word[2 * FANOUT];
} entries;

static unsigned add_entries(entries *all, unsigned count, const node *from)
{
	for (unsigned k = 0; k < FANOUT && load(&from->word[k]) != UNUSED; k++, count++) {
		all->key[count] = load(&from->key[k]);
		all->word[count] = load(&from->word[k]);
	}
	return count;
}

static void fill_node(node *to, const entries *all, unsigned first, unsigned end)
{
	for (unsigned k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		store(&to->key[k], used ? all->key[first + k] : LDB_KEY_MAX);
		store(&to->word[k], used ? all->word[first + k] : UNUSED);
	}
}

/* --- splits ------------------------------------------------------------------------------------
 */

typedef enum { DONE, AGAIN, NO_MEMORY } outcome;

/* How many entries of a full node stay when a key is coming: half, but nearly all where keys come
 * in order. (On the right edge of the tree the last bound is the largest key.) */
static unsigned keep_of(const node *full, ldb_key coming)
{
	const ldb_key last = load(&full->key[FANOUT - 1]);
	const bool edge = last == LDB_KEY_MAX && load(&full->word[NEXT]) == 0;
	const bool at_end = coming > (edge ? load(&full->key[FANOUT - 2]) : last);
	return at_end ? FANOUT - 2 : FANOUT / 2;
}

/* The root stays where it is: its entries go to two new nodes below it. */
static outcome split_root(btree_olc *self, const place *p, ldb_key coming)
{
	node *child[2], *root = p->at;
	if (!olc_take_nodes(self, child, 2))
		return NO_MEMORY;
	if (!lock(root, p->version)) {
		for (int i = 0; i < 2; i++) {
			lock(child[i], note(child[i]));
			olc_give_node(self, child[i]);
		}
		return AGAIN;
	}
	entries all, two;
	const unsigned count = add_entries(&all, 0, root), keep = keep_of(root, coming);
	fill_node(child[0], &all, 0, keep);
	fill_node(child[1], &all, keep, count);
	store(&child[0]->word[NEXT], p->level == 0 ? (uintptr_t)child[1] : 0);
	store(&child[1]->word[NEXT], 0);
	two.key[0] = all.key[keep - 1];
	two.key[1] = LDB_KEY_MAX;
	two.word[0] = (uintptr_t)child[0];
	two.word[1] = (uintptr_t)child[1];
	fill_node(root, &two, 0, 2);
	atomic_store_explicit(&self->levels, p->level + 1, memory_order_relaxed);
	unlock(root);
	return AGAIN;
}

/* Splits a full node whose parent is not full. */
static outcome split(btree_olc *self, const place *p, ldb_key coming)
{
	node *left = p->at, *right, *taken[2];
	if (!p->parent)
		return split_root(self, p, coming);
	if (!lock(p->parent, p->parent_version))
		return AGAIN;
	if (!lock(left, p->version)) {
		unlock(p->parent);
		return AGAIN;
	}
	if (!olc_take_nodes(self, taken, 1)) {
		unlock(left);
		unlock(p->parent);
		return NO_MEMORY;
	}
	right = taken[0];
	entries all;
	const unsigned count = add_entries(&all, 0, left), keep = keep_of(left, coming);
	fill_node(right, &all, keep, count);
	store(&right->word[NEXT], load(&left->word[NEXT]));
	fill_node(left, &all, 0, keep);
	store(&left->word[NEXT], p->level == 0 ? (uintptr_t)right : 0);
	/* The left node gets a bound of its own, the right one has the old one. */
	store(&p->parent->word[p->slot], (uintptr_t)right);
	node_insert(p->parent, p->slot, all.key[keep - 1], (uintptr_t)left);
	unlock(left);
	unlock(p->parent);
	return AGAIN;
}

/* --- merges ------------------------------------------------------------------------------------
 */

/* Of two locked neighbours below a locked parent; gives back the right one when both fit into one
 * node, else unlocks it. */
static void merge_locked(btree_olc *self, node *parent, unsigned slot, node *left, node *right)
{
	entries all;
	const unsigned lefts = add_entries(&all, 0, left), count = add_entries(&all, lefts, right);
	if (count <= FANOUT) {
		fill_node(left, &all, 0, count);
		store(&left->word[NEXT], load(&right->word[NEXT]));
		store(&parent->word[slot + 1], (uintptr_t)left); /* beside its new bound */
		node_remove(parent, slot);
		olc_give_node(self, right);
	} else {
		fill_node(left, &all, 0, count / 2);
		fill_node(right, &all, count / 2, count);
		store(&parent->key[slot], all.key[count / 2 - 1]);
		unlock(right);
	}
	unlock(left);
}

/* Merges a node that is low with the one beside it below the same parent. False when there is none,
 * or someone else is busy there: the next deletion will see to it. */
static bool merge(btree_olc *self, const place *p)
{
	if (!p->parent || !lock(p->parent, p->parent_version))
		return false;
	const unsigned slot = p->slot > 0 ? p->slot - 1 : 0;
	const uint64_t second = load(&p->parent->word[slot + 1]);
	bool good = second != UNUSED;
	if (good) {
		/* No one can lock them in the other order: that needs the parent. */
		node *left = to_node(load(&p->parent->word[slot])), *right = to_node(second);
		node *other = left == p->at ? right : left;
		good = lock(p->at, p->version);
		if (good && !lock(other, note(other))) {
			unlock(p->at);
			good = false;
		}
		if (good)
			merge_locked(self, p->parent, slot, left, right);
	}
	unlock(p->parent);
	return good;
}

/* An inner root with one child becomes what that child is. */
static bool shrink_root(btree_olc *self, const place *p)
{
	node *root = p->at;
	if (!lock(root, p->version))
		return false;
	node *child = to_node(load(&root->word[0]));
	if (!lock(child, note(child))) {
		unlock(root);
		return false;
	}
	entries all;
	fill_node(root, &all, 0, add_entries(&all, 0, child));
	store(&root->word[NEXT], 0);
	atomic_store_explicit(&self->levels, p->level - 1, memory_order_relaxed);
	olc_give_node(self, child);
	unlock(root);
	return true;
}

/* --- operations --------------------------------------------------------------------------------
 */

static outcome try_put(btree_olc *self, ldb_key key, ldb_val value)
{
	place p = start_at_root(self);
	while (p.level > 0) {
		if (__builtin_expect(is_full(p.at), 0))
			return split(self, &p, key);
		if (!go_down(&p, key))
			return AGAIN;
	}
	const unsigned slot = count_less(p.at, key);
	const bool there =
		slot < FANOUT && load(&p.at->key[slot]) == key && load(&p.at->word[slot]) != UNUSED;
	if (!there && is_full(p.at))
		return split(self, &p, key);
	if (!lock(p.at, p.version)) /* or else all that was read is right */
		return AGAIN;
	if (there)
		store(&p.at->word[slot], value);
	else
		node_insert(p.at, slot, key, value);
	unlock(p.at);
	return DONE;
}

static outcome try_erase(btree_olc *self, ldb_key key)
{
	place p = start_at_root(self);
	while (p.level > 0) {
		if (!p.parent && load(&p.at->word[1]) == UNUSED && shrink_root(self, &p))
			return AGAIN;
		if (p.parent && __builtin_expect(is_low(p.at), 0) && merge(self, &p))
			return AGAIN;
		if (!go_down(&p, key))
			return AGAIN;
	}
	const unsigned slot = count_less(p.at, key);
	if (slot == FANOUT || load(&p.at->key[slot]) != key || load(&p.at->word[slot]) == UNUSED)
		return still(p.at, p.version) ? DONE : AGAIN;
	if (!lock(p.at, p.version))
		return AGAIN;
	node_remove(p.at, slot);
	p.version += 2;
	unlock(p.at);
	if (is_low(p.at))
		merge(self, &p);
	return DONE;
}

static ldb_val get(const btree_olc *self, ldb_key key)
{
	for (;;) {
		const place p = find_leaf(self, key);
		const unsigned slot = count_less(p.at, key);
		const bool there = slot < FANOUT && load(&p.at->key[slot]) == key;
		const ldb_val value = there ? load(&p.at->word[slot]) : LDB_NONE;
		if (still(p.at, p.version))
			return value;
	}
}

/* What one leaf adds to a scan: counts only if the leaf has not changed. */
typedef struct {
	ldb_val sum;
	uint32_t count;
	ldb_key last;
} part;

static inline part read_leaf(const node *leaf, ldb_key from, uint32_t length)
{
	part p = {0};
	for (unsigned slot = count_less(leaf, from); slot < FANOUT && p.count < length; slot++) {
		const ldb_val value = load(&leaf->word[slot]);
		if (value == UNUSED)
			break;
		p.sum += value;
		p.last = load(&leaf->key[slot]);
		p.count++;
	}
	return p;
}

/* From leaf to leaf; where a leaf has changed, down again from the root to the key it had come to.
 * What each leaf adds was so at one moment; the whole need not have been. */
ldb_val olc_scan(const btree_olc *self, ldb_key q, uint32_t length, uint32_t *count)
{
	ldb_val sum = 0;
	uint32_t left = length;
	while (left > 0) {
		place p = find_leaf(self, q);
		bool good = true;
		while (good && left > 0) {
			const node *next = to_node(load(&p.at->word[NEXT]));
			const part read = read_leaf(p.at, q, left);
			if (!still(p.at, p.version))
				break;
			sum += read.sum;
			left -= read.count;
			if (left == 0 || !next || (read.count && read.last == LDB_KEY_MAX))
				goto end;
			q = read.count ? read.last + 1 : q;
			const uint64_t version = note(next);
			good = still(p.at, p.version);
			p.at = (node *)(uintptr_t)next;
			p.version = version;
		}
	}
end:
	*count = length - left;
	return sum;
}

/* --- streams -----------------------------------------------------------------------------------
 */

enum { MOST_AHEAD = 64 };

/* Takes the keys of operations down the tree together, for nothing but to have their nodes in the
 * cache. */
static void fetch_paths(const btree_olc *self, const ldb_op *ops, size_t count)
{
	place p[MOST_AHEAD];
	ldb_key q[MOST_AHEAD];
	bool lost[MOST_AHEAD] = {false};
	const place root = start_at_root(self);
	for (size_t i = 0; i < count; i++) {
		p[i] = root;
		q[i] = ops[i].key;
	}
	for (uint32_t level = root.level; level > 0; level--)
		go_down_together(p, q, count, lost);
}

size_t olc_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	btree_olc *index = self;
	const size_t ahead = index->ahead;
	uint32_t count;
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
			out[i] = olc_scan(index, op->key, op->length, &count);
			continue;
		}
		if (!atomic_load_explicit(&index->updated, memory_order_relaxed))
			atomic_store_explicit(&index->updated, true, memory_order_relaxed);
		outcome done;
		do {
			done = op->kind == LDB_PUT ? try_put(index, op->key, op->value)
						   : try_erase(index, op->key);
		} while (done == AGAIN);
		if (done == NO_MEMORY) {
			ldb_fail_oom(err, "btree_olc nodes", 2 * sizeof(node));
			return i;
		}
	}
	return n;
}
