/*
 * splustree: a static B+-tree without pointers, full nodes in an array per level (an "S+ tree").
 * Nothing in it depends on how the keys are distributed: what a learned index has to beat.
 *
 * After Slotin, Algorithms for Modern Hardware (algorithmica.org, 2022), "Static B-Trees", and
 * Groot Koerkamp, Static Search Trees: 40x Faster than Binary Search (curiouscoding.nl, 2024), here
 * for 64-bit keys, too; children found by arithmetic after Rao and Ross, Cache Conscious Indexing
 * for Decision-Support in Main Memory (VLDB 1999).
 *
 * The sorted keys, cut into blocks of WIDTH, are the leaves. They are the caller's own array, or a
 * padded copy (parameter `leaves`). Above them an inner node has WIDTH separators and WIDTH + 1
 * children: child c of node k is node k * (WIDTH + 1) + c of the level below, so a step is one
 * compare-and-count over the node, one multiplication and one addition. Answers are ranks, so no
 * values are stored.
 *
 * Separator j is the largest key below child j, or LDB_KEY_MAX where nothing comes after child j.
 * The number of separators < q is then the child that holds the first key >= q itself, duplicates
 * or not, and never a child that does not exist. A query beyond all keys ends in the last leaf and
 * counts all its keys.
 *
 * Cache lines per query, of 8 keys each (16 of 32 bits, with nodes of 16 and 32), where n keys have
 * L = ceil(log(n / WIDTH) / log(WIDTH + 1)) inner levels:
 *
 *   node=8     L + 1, one per level. At 10M keys 8, of which about 3 are outside of a 1 MiB cache:
 *              the leaf (80 MB), and the two lowest inner levels (8.9 and 1.0 MB).
 *   node=16    2L + 2, the two of a node side by side and loaded at once. At 10M keys 12, of which
 *              4 are outside: the leaf's two, and the lowest inner level's two (4.7 MB).
 *
 * lookup_batch is a pipeline. Queries go down in groups of 16, and at any time there is one group
 * on each level. A round moves every group one level down and prefetches what it will read in the
 * next round. So each line has a whole round, that is (L + 1) * 16 steps of other queries, to
 * arrive, and the slow lower levels overlap with work in the fast upper ones. A group that goes all
 * the way down alone, level by level, waits on the lower levels and fetches nothing on the upper
 * ones. Interleaving groups on different levels is from Groot Koerkamp, section "Interleave".
 */
#include <string.h>

#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/window.h"

enum {
	GROUP = 16, /* queries that move together */
	LINE = LDB_LINE_KEYS,
	MAX_LEVELS = 20, /* inner levels: 8 * 9^20 > 2^64 */
	ANY = 11,        /* fewer levels have read loops of their own: up to 8 * 9^10 keys */
};

enum { PARAM_NODE, PARAM_LEAVES };
enum { LEAVES_BORROWED, LEAVES_COPIED };
static const ldb_param params[] = {
	{"node", "keys in a node: one cache line, or two", .def = 0,
	 .choices = LDB_KEY_BITS == 32 ? "16|32" : "8|16"},
	{"leaves", "the caller's sorted keys, or a copy", .def = LEAVES_BORROWED,
	 .choices = "borrowed|copied"},
	{0},
};

typedef struct {
	const ldb_key *level[MAX_LEVELS + 1]; /* level[0] is the root, level[levels] the leaves */
	size_t levels;                        /* of inner nodes */
	size_t n;
	size_t last_leaf;    /* the last WIDTH keys of the leaves begin here */
	const ldb_key *keys; /* borrowed */
	unsigned width;      /* keys in a node: LINE or twice that */
	ldb_key *inners;     /* level by level, the root first */
	size_t inner_bytes;
	ldb_key *copy; /* the leaves when they are not `keys`; else NULL */
	size_t copy_bytes;
} splustree;

/* All functions with a width are inlined where it is a constant. */
#define FORCE_INLINE static inline __attribute__((always_inline))

/* How many of the `width` keys at p are < q. */
FORCE_INLINE size_t count_less(const ldb_key *p, ldb_key q, unsigned width)
{
	size_t count = ldb_count_less_line(p, q);
	return width == LINE ? count : count + ldb_count_less_line(p + LINE, q);
}

/* The child of node k to which q descends. */
FORCE_INLINE size_t child(const ldb_key *level, size_t k, ldb_key q, unsigned width)
{
	return k * (width + 1) + count_less(level + k * width, q, width);
}

/*
 * The answer to q in leaf k. The array's last leaf may be shorter than the others; the block then
 * slides back over keys of the leaf before, which are < q and so counted as they should be.
 */
FORCE_INLINE ldb_val answer(const splustree *self, const ldb_key *leaves, size_t k, ldb_key q,
			    unsigned width)
{
	const size_t start = k * width < self->last_leaf ? k * width : self->last_leaf;
	const size_t rank = start + count_less(leaves + start, q, width);
	return rank < self->n ? rank : LDB_NONE;
}

/* `fixed`: the number of inner levels where it is a constant, or ANY. */
FORCE_INLINE ldb_val find(const splustree *self, ldb_key q, unsigned width, unsigned fixed)
{
	const size_t levels = fixed == ANY ? self->levels : fixed;
	size_t k = 0;
	for (size_t level = 0; level < levels; level++)
		k = child(self->level[level], k, q, width);
	return answer(self, self->level[levels], k, q, width);
}

/* Moves queries from the nodes `from` of a level down to the nodes `to`, and fetches those. */
FORCE_INLINE void descend(const splustree *self, size_t level, const ldb_key *q, size_t count,
			  const size_t *from, size_t *to, unsigned width)
{
	const ldb_key *here = self->level[level], *below = self->level[level + 1];
	for (size_t i = 0; i < count; i++) {
		to[i] = child(here, from[i], q[i], width);
		ldb_prefetch_key(below, to[i] * width);
		if (width > LINE)
			ldb_prefetch_key(below, to[i] * width + LINE);
	}
}

FORCE_INLINE void answer_group(const splustree *self, const ldb_key *q, size_t count,
			       const size_t *leaf, ldb_val *out, unsigned width)
{
	const ldb_key *leaves = self->level[self->levels];
	for (size_t i = 0; i < count; i++)
		out[i] = answer(self, leaves, leaf[i], q[i], width);
}

FORCE_INLINE void find_batch(const splustree *self, const ldb_key *q, size_t n, ldb_val *out,
			     unsigned width)
{
	const size_t levels = self->levels, groups = n / GROUP, rest = n % GROUP;
	size_t node[MAX_LEVELS + 1][GROUP]; /* where the group on each level stands */
	memset(node[0], 0, sizeof node[0]); /* and stays so: all begin at the root */
	/* In round r group r - level is on that level; bottom up, so that each level is left before
	 * the next group comes. */
	for (size_t round = 0; round < groups + levels; round++) {
		if (round >= levels) {
			const size_t first = (round - levels) * GROUP;
			answer_group(self, q + first, GROUP, node[levels], out + first, width);
		}
		for (size_t level = levels; level-- > 0;) {
			if (level <= round && round - level < groups)
				descend(self, level, q + (round - level) * GROUP, GROUP,
					node[level], node[level + 1], width);
		}
	}
	q += groups * GROUP;
	out += groups * GROUP;
	for (size_t level = 0; level < levels; level++)
		descend(self, level, q, rest, node[level], node[level + 1], width);
	answer_group(self, q, rest, node[levels], out, width);
}

/* --- the read loops --------------------------------------------------------------------------- */

/*
 * lookup and chase are emitted for each width and number of levels. Unrolled, a query takes so few
 * instructions that the processor's window holds several, and overlaps them. The pipeline does its
 * own overlapping and gains nothing by it.
 */
#define EMIT(lines, levels)                                                                        \
	typedef splustree node##lines##_##levels;                                                  \
	static inline ldb_val node##lines##_##levels##_find(const splustree *self, ldb_key q)      \
	{                                                                                          \
		return find(self, q, LINE * lines, levels);                                        \
	}                                                                                          \
	LDB_INDEX_LOOPS(node##lines##_##levels, node##lines##_##levels##_find)
#define FOR_ALL_LEVELS(X, lines)                                                                   \
	X(lines, 0)                                                                                \
	X(lines, 1)                                                                                \
	X(lines, 2)                                                                                \
	X(lines, 3)                                                                                \
	X(lines, 4)                                                                                \
	X(lines, 5)                                                                                \
	X(lines, 6)                                                                                \
	X(lines, 7)                                                                                \
	X(lines, 8)                                                                                \
	X(lines, 9)                                                                                \
	X(lines, 10)                                                                               \
	X(lines, ANY)
FOR_ALL_LEVELS(EMIT, 1)
FOR_ALL_LEVELS(EMIT, 2)

typedef void lookup_loop(const void *self, const ldb_key *q, size_t n, ldb_val *out);
typedef void chase_loop(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out);

#define LOOKUP(lines, levels) node##lines##_##levels##_lookup,
#define CHASE(lines, levels) node##lines##_##levels##_chase,
static lookup_loop *const lookups[2][ANY + 1] = {{FOR_ALL_LEVELS(LOOKUP, 1)},
						 {FOR_ALL_LEVELS(LOOKUP, 2)}};
static chase_loop *const chases[2][ANY + 1] = {{FOR_ALL_LEVELS(CHASE, 1)},
					       {FOR_ALL_LEVELS(CHASE, 2)}};

static void splustree_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const splustree *tree = self;
	lookups[tree->width > LINE][tree->levels < ANY ? tree->levels : ANY](self, q, n, out);
}

static void splustree_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry,
			    ldb_val *out)
{
	const splustree *tree = self;
	chases[tree->width > LINE][tree->levels < ANY ? tree->levels : ANY](self, q, n, carry, out);
}

static void splustree_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const splustree *)self)->width == LINE)
		find_batch(self, q, n, out, LINE);
	else
		find_batch(self, q, n, out, 2 * LINE);
}

/* --- build ------------------------------------------------------------------------------------ */

/* Of leaves; also without keys there is one. */
static size_t leaf_count(const splustree *self)
{
	return self->n ? (self->n - 1) / self->width + 1 : 1;
}

/* The separator that ends child `number` of a level, when each child there spans `span` keys. */
static ldb_key separator(const splustree *self, size_t number, size_t span)
{
	/* Is there a key after the child? Asked so that nothing can overflow. */
	return number < (self->n - 1) / span ? self->keys[(number + 1) * span - 1] : LDB_KEY_MAX;
}

/* Sets the number of levels and where each starts, relative to `inners`; fills in inner_bytes. */
static void lay_out(splustree *self, size_t nodes[MAX_LEVELS])
{
	size_t upward[MAX_LEVELS], total = 0;
	for (size_t count = leaf_count(self); count > 1; self->levels++) {
		count = (count - 1) / (self->width + 1) + 1;
		upward[self->levels] = count;
		total += count;
	}
	for (size_t level = 0; level < self->levels; level++)
		nodes[level] = upward[self->levels - 1 - level];
	self->inner_bytes = total * self->width * sizeof(ldb_key);
}

static void fill_inners(splustree *self, const size_t nodes[MAX_LEVELS])
{
	ldb_key *end = self->inners + self->inner_bytes / sizeof(ldb_key);
	size_t span = self->width; /* keys below a child */
	for (size_t level = self->levels; level-- > 0; span *= self->width + 1) {
		ldb_key *slot = end -= nodes[level] * self->width;
		self->level[level] = end;
		for (size_t k = 0; k < nodes[level]; k++) {
			for (size_t c = 0; c < self->width; c++)
				*slot++ = separator(self, k * (self->width + 1) + c, span);
		}
	}
}

/* Leaves of our own: whole blocks, padded with a key that is less than no query. */
static void fill_copy(splustree *self)
{
	const size_t slots = self->copy_bytes / sizeof(ldb_key);
	if (self->n)
		memcpy(self->copy, self->keys, self->n * sizeof(ldb_key));
	for (size_t i = self->n; i < slots; i++)
		self->copy[i] = LDB_KEY_MAX;
}

static void splustree_destroy(void *self)
{
	splustree *tree = self;
	ldb_free(tree->inners, tree->inner_bytes);
	ldb_free(tree->copy, tree->copy_bytes);
	ldb_free(tree, sizeof *tree);
}

static ldb_status splustree_build(void **self, const ldb_key *keys, size_t n, const double *values,
				  ldb_error *err)
{
	size_t nodes[MAX_LEVELS];
	splustree *tree = ldb_alloc(sizeof *tree);
	if (!tree)
		return ldb_fail_oom(err, "splustree", sizeof *tree);
	*tree = (splustree){
		.keys = keys, .n = n, .width = values[PARAM_NODE] > 0 ? 2 * LINE : LINE};
	lay_out(tree, nodes);
	/* A block must not reach over the end of the caller's array. */
	if ((int)values[PARAM_LEAVES] == LEAVES_COPIED || n < tree->width)
		tree->copy_bytes = leaf_count(tree) * tree->width * sizeof(ldb_key);
	tree->inners = ldb_alloc(tree->inner_bytes);
	tree->copy = tree->copy_bytes ? ldb_alloc(tree->copy_bytes) : NULL;
	if (!tree->inners || (tree->copy_bytes && !tree->copy)) {
		const size_t bytes = tree->inner_bytes + tree->copy_bytes;
		splustree_destroy(tree);
		return ldb_fail_oom(err, "splustree: nodes", bytes);
	}
	fill_inners(tree, nodes);
	if (tree->copy)
		fill_copy(tree);
	tree->level[tree->levels] = tree->copy ? tree->copy : keys;
	tree->last_leaf = (tree->copy ? tree->copy_bytes / sizeof(ldb_key) : n) - tree->width;
	*self = tree;
	return LDB_OK;
}

static size_t splustree_bytes(const void *self)
{
	const splustree *tree = self;
	return sizeof *tree + tree->inner_bytes + tree->copy_bytes;
}

/* --- validate --------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, size_t at)
{
	return ldb_fail(err, LDB_INVALID, "report it with the keys it was built from", what,
			"at %zu", at);
}

/* The leaves are the keys in order, and then padding. */
static ldb_status validate_leaves(const splustree *self, ldb_error *err)
{
	const ldb_key *leaves = self->level[self->levels];
	const size_t slots = self->copy ? self->copy_bytes / sizeof(ldb_key) : self->n;
	if (leaves != (self->copy ? self->copy : self->keys) || slots < self->width ||
	    slots < self->n || self->last_leaf != slots - self->width)
		return broken(err, "splustree: extent of the leaves", slots);
	for (size_t i = 0; i < slots; i++) {
		if (leaves[i] != (i < self->n ? self->keys[i] : LDB_KEY_MAX))
			return broken(err, "splustree: key in a leaf", i);
		if (i > 0 && leaves[i - 1] > leaves[i])
			return broken(err, "splustree: order of the keys", i);
	}
	return LDB_OK;
}

/* Bottom up: enough nodes for the level below, each separator the largest key before the next
 * child, and the levels side by side in `inners`. */
static ldb_status splustree_validate(const void *self, ldb_error *err)
{
	const splustree *tree = self;
	const size_t fanout = tree->width + 1;
	if (tree->levels > MAX_LEVELS || (tree->width != LINE && tree->width != 2 * LINE))
		return broken(err, "splustree: number of levels", tree->levels);
	ldb_status status = validate_leaves(tree, err);
	const ldb_key *end = tree->inners + tree->inner_bytes / sizeof(ldb_key);
	size_t below = leaf_count(tree), span = tree->width;
	for (size_t level = tree->levels; status == LDB_OK && level-- > 0; span *= fanout) {
		const size_t nodes = (below - 1) / fanout + 1, slots = nodes * tree->width;
		if (tree->level[level] != end - slots)
			return broken(err, "splustree: start of a level", level);
		end -= slots;
		for (size_t i = 0; i < slots; i++) {
			const size_t number = i / tree->width * fanout + i % tree->width;
			if (end[i] != separator(tree, number, span))
				return broken(err, "splustree: separator",
					      (size_t)(end - tree->inners) + i);
		}
		below = nodes;
	}
	if (status == LDB_OK && (below != 1 || end != tree->inners))
		return broken(err, "splustree: root", below);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "splustree",
	.summary = "static B+-tree without pointers, batches pipelined over its levels",
	.origin = "Slotin: Algorithms for Modern Hardware, 2022; "
		  "Groot Koerkamp: Static Search Trees, 2024",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 10, /* 1.2 with borrowed leaves, 9.2 with copied ones */
	.build = splustree_build,
	.destroy = splustree_destroy,
	.bytes = splustree_bytes,
	.validate = splustree_validate,
	.lookup = splustree_lookup,
	.chase = splustree_chase,
	.lookup_batch = splustree_lookup_batch,
};
LDB_EXPORT_INDEX(table)
