/* Deltas: cursor, insertion, freeing. The tree and its search are described in delta.h. */
#include <string.h>

#include "delta_rmi.h"

/* --- cursor ----------------------------------------------------------------------------------- */

static void load_entry(delta_cursor *c)
{
	const unsigned slot = order_slot(c->order, c->rank);
	c->key = c->leaf->key[slot];
	c->value = atomic_load_explicit(&c->leaf->slot[slot], memory_order_acquire);
}

void delta_seek(delta_cursor *c, const node *root, ldb_key q)
{
	c->root = root;
	c->leaf = NULL;
	while (root) {
		const node *leaf = root;
		c->bound = LDB_KEY_MAX;
		while (leaf->level)
			leaf = node_step(leaf, q, &c->bound);
		c->order = atomic_load_explicit(&leaf->order, memory_order_acquire);
		const unsigned count = order_count(c->order);
		c->rank = (unsigned)__builtin_popcount(node_less(leaf, count, q));
		/* Behind the bound are keys that have gone to a new node. */
		if (c->rank < count && leaf->key[order_slot(c->order, c->rank)] <= c->bound) {
			c->leaf = leaf;
			load_entry(c);
			return;
		}
		if (c->bound == LDB_KEY_MAX)
			return;
		q = c->bound + 1;
	}
}

void delta_next(delta_cursor *c)
{
	c->rank++;
	if (c->rank < order_count(c->order) &&
	    c->leaf->key[order_slot(c->order, c->rank)] <= c->bound)
		load_entry(c);
	else if (c->bound < LDB_KEY_MAX)
		delta_seek(c, c->root, c->bound + 1);
	else
		c->leaf = NULL;
}

/* --- insertion -------------------------------------------------------------------------------- */

enum { MAX_LEVELS = 24 }; /* halves of full nodes: at least 7 entries each, of 2^64 */

static node *new_node(delta_rmi *self, uint32_t level)
{
	node *n = drmi_take(self, sizeof *n);
	if (n) {
		memset(n, 0, sizeof *n);
		n->level = level;
	}
	return n;
}

/* Adds an entry, or a child, as the one of that rank; there is a free slot. */
static void node_add(node *n, unsigned rank, ldb_key key, uint64_t what)
{
	const uint64_t order = atomic_load_explicit(&n->order, memory_order_relaxed);
	const unsigned slot = order_count(order), shift = 4 + 4 * rank;
	const uint64_t below = order & (((uint64_t)1 << shift) - 1);
	const uint64_t above = rank < slot ? order >> shift << (shift + 4) : 0;
	n->key[slot] = key;
	atomic_store_explicit(&n->slot[slot], what, memory_order_relaxed);
	atomic_store_explicit(&n->order, (below | (uint64_t)slot << shift | above) + 1,
			      memory_order_release);
}

/* What a split hands up: two nodes in place of one, and the least key of the right one. */
typedef struct {
	node *left, *right;
	ldb_key separator;
} division;

/*
 * Divides the full node n, with one entry more at `rank`; in an inner node the child before that
 * rank becomes `child` (NULL: stays). An entry that comes last gets a node of its own, and n stays
 * as it is: appended keys so fill their nodes. Takes its nodes from *spare on.
 */
static division divide(node *n, unsigned rank, ldb_key key, uint64_t what, const node *child,
		       node ***spare)
{
	node *left = n, *right = *(*spare)++;
	right->level = n->level;
	if (rank == NODE_SLOTS && !child) {
		node_add(right, 0, key, what);
		return (division){n, right, key};
	}
	left = *(*spare)++;
	left->level = n->level;
	const uint64_t order = atomic_load_explicit(&n->order, memory_order_relaxed);
	for (unsigned i = 0, from = 0; i <= NODE_SLOTS; i++) {
		node *to = i <= NODE_SLOTS / 2 ? left : right;
		const unsigned at =
			order_count(atomic_load_explicit(&to->order, memory_order_relaxed));
		if (i == rank) {
			node_add(to, at, key, what);
			continue;
		}
		const unsigned slot = order_slot(order, from++);
		const uint64_t old = atomic_load_explicit(&n->slot[slot], memory_order_relaxed);
		node_add(to, at, n->key[slot], child && i + 1 == rank ? (uintptr_t)child : old);
	}
	return (division){left, right, right->key[0]};
}

/* The way from the root down to a leaf. */
typedef struct {
	node *at[MAX_LEVELS];
	unsigned rank[MAX_LEVELS];
	unsigned depth; /* inner nodes; at[depth] is the leaf */
} path;

static void find_path(path *p, node *root, ldb_key key)
{
	p->depth = 0;
	node *n = root;
	for (; n->level; p->depth++) {
		const uint64_t order = atomic_load_explicit(&n->order, memory_order_relaxed);
		p->at[p->depth] = n;
		p->rank[p->depth] = node_child_rank(n, order, key);
		n = node_child(n, order, p->rank[p->depth]);
	}
	const unsigned count = order_count(atomic_load_explicit(&n->order, memory_order_relaxed));
	p->at[p->depth] = n;
	p->rank[p->depth] = (unsigned)__builtin_popcount(node_less(n, count, key));
}

static bool is_full(const node *n)
{
	return order_count(atomic_load_explicit(&n->order, memory_order_relaxed)) == NODE_SLOTS;
}

/* As many new nodes as an insertion along the path may need; how many, or 0 without memory. */
static unsigned take_spares(delta_rmi *self, const path *p, node **spare)
{
	unsigned full = 1, count = 0;
	while (full <= p->depth && is_full(p->at[p->depth - full]))
		full++;
	const unsigned wanted = 2 * full + (full > p->depth);
	while (count < wanted) {
		spare[count] = new_node(self, 0);
		if (!spare[count]) {
			while (count > 0)
				drmi_give(self, spare[--count], sizeof(node));
			return 0;
		}
		count++;
	}
	return count;
}

/* Puts the two nodes of a division into the inner node above, which has room, in place of the child
 * of that rank. See node_step for the order of the two stores. */
static void hand_up(node *above, unsigned rank, const division *d, bool replaced)
{
	node_add(above, rank + 1, d->separator, (uintptr_t)d->right);
	const uint64_t order = atomic_load_explicit(&above->order, memory_order_relaxed);
	if (replaced)
		atomic_store_explicit(&above->slot[order_slot(order, rank)], (uintptr_t)d->left,
				      memory_order_release);
}

static void grow(_Atomic(node *) *root, node *above, const division *d)
{
	above->level = d->left->level + 1;
	node_add(above, 0, 0, (uintptr_t)d->left);
	node_add(above, 1, d->separator, (uintptr_t)d->right);
	atomic_store_explicit(root, above, memory_order_release);
}

/* Splits the full leaf at the path's end, and what is full above it. Nothing of the tree changes
 * until the uppermost new node is linked; only then is what it replaced garbage. */
static bool split(delta_rmi *self, _Atomic(node *) *root, const path *p, ldb_key key, ldb_val value)
{
	node *spares[2 * MAX_LEVELS + 1], **spare = spares, *old[MAX_LEVELS];
	const unsigned taken = take_spares(self, p, spares);
	unsigned at = p->depth, olds = 0;
	if (!taken)
		return false;
	division d = divide(p->at[at], p->rank[at], key, value, NULL, &spare);
	bool replaced = d.left != p->at[at];
	for (;; at--) {
		if (replaced)
			old[olds++] = p->at[at];
		if (at == 0 || !is_full(p->at[at - 1]))
			break;
		d = divide(p->at[at - 1], p->rank[at - 1] + 1, d.separator, (uintptr_t)d.right,
			   replaced ? d.left : NULL, &spare);
		replaced = d.left != p->at[at - 1];
	}
	if (at == 0)
		grow(root, *spare++, &d);
	else
		hand_up(p->at[at - 1], p->rank[at - 1], &d, replaced);
	while (olds > 0)
		drmi_retire(self, GARBAGE_NODE, &old[--olds]->link);
	while (spare < spares + taken)
		drmi_give(self, *spare++, sizeof(node));
	return true;
}

bool delta_insert(delta_rmi *self, _Atomic(node *) *root, ldb_key key, ldb_val value)
{
	node *n = atomic_load_explicit(root, memory_order_relaxed);
	if (!n) {
		n = new_node(self, 0);
		if (!n)
			return false;
		node_add(n, 0, key, value);
		atomic_store_explicit(root, n, memory_order_release);
		return true;
	}
	path p;
	find_path(&p, n, key);
	if (is_full(p.at[p.depth]))
		return split(self, root, &p, key, value);
	node_add(p.at[p.depth], p.rank[p.depth], key, value);
	return true;
}

/* --- the rest --------------------------------------------------------------------------------- */

void delta_free(delta_rmi *self, node *root)
{
	const uint64_t order = atomic_load_explicit(&root->order, memory_order_relaxed);
	for (unsigned i = 0; root->level && i < order_count(order); i++)
		delta_free(self, node_child(root, order, i));
	drmi_give(self, root, sizeof *root);
}

bool delta_is_valid(const node *n, ldb_key from, ldb_key last)
{
	const uint64_t order = atomic_load_explicit(&n->order, memory_order_acquire);
	const unsigned count = order_count(order);
	unsigned used = 0;
	if ((count == 0 && n->level) || count > NODE_SLOTS)
		return false;
	for (unsigned i = 0; i < count; i++) {
		const unsigned slot = order_slot(order, i);
		const ldb_key key = n->key[slot];
		const ldb_key next = i + 1 < count ? n->key[order_slot(order, i + 1)] : 0;
		used |= 1u << slot;
		if (i + 1 < count && next <= key)
			return false;
		if (n->level == 0 && (key < from || key > last))
			return false;
		if (n->level && !delta_is_valid(node_child(n, order, i), key > from ? key : from,
						i + 1 < count && next - 1 < last ? next - 1 : last))
			return false;
	}
	return used == (1u << count) - 1;
}
