/*
 * art: the adaptive radix tree of Leis, Kemper, Neumann (ICDE 2013) as a static index over the
 * sorted keys. This file is the plug-in: lookups, the batched descent, checks. The tree is in
 * art.h, its bulk load in build.c, what needs the order of the children in order.c.
 *
 * Cache lines. A Node4 costs one, a Node16 or Node48 two (the key bytes, then the child), a Node256
 * one (the child; what byte to follow is in the reference), the leaf's key one more. Ten million
 * random keys have three levels of Node256, of which the first two stay in cache, then leaves or
 * Node4: two to three misses, one after the other.
 */
#include <stdbool.h>

#include "art.h"
#include "ldb/loops.h"

/*
 * The end of the descent. What was skipped on the way is checked now: when the leaf's key is q, so
 * is all of the path. When it is not, the leaf is nearly always beside q's place, and its neighbour
 * in the sorted array, mostly in the same cache line, proves that. Else q parts from the path
 * within bytes that were skipped, or equal keys lie between.
 */
static inline ldb_val finish(const art *self, art_ref leaf, ldb_key q)
{
	const size_t rank = leaf & ~ART_LEAF;
	if (leaf == ART_EMPTY) /* there are no keys */
		return LDB_NONE;
	const ldb_key key = self->keys[rank];
	if (key == q)
		return rank;
	if (key > q && (rank == 0 || self->keys[rank - 1] < q))
		return rank;
	if (key < q && rank + 1 < self->n && self->keys[rank + 1] >= q)
		return rank + 1;
	return art_lower_bound(self, q);
}

/* The descent of a q that comes to a node without a child for it, and goes on beside its place.
 * Apart from the other, which then needs fewer registers. */
__attribute__((noinline)) static ldb_val find_beside(const art *self, ldb_key q)
{
	art_turn at = {self->root, q};
	while (!(at.ref & ART_LEAF)) {
		const art_ref next = art_child(self, at.ref, at.path);
		if (next != ART_EMPTY)
			at.ref = next;
		else
			at = art_sidestep(self, at.ref, at.path);
	}
	return finish(self, at.ref, q);
}

static inline ldb_val art_find(const art *self, ldb_key q)
{
	art_ref ref = self->root;
	while (!(ref & ART_LEAF))
		ref = art_child(self, ref, q);
	return __builtin_expect(ref != ART_EMPTY, 1) ? finish(self, ref, q) : find_beside(self, q);
}

LDB_INDEX_LOOPS(art, art_find)

/* --- batch ---------------------------------------------------------------------------------- */

/* Each round waits once for memory, and a descent has few rounds: so more queries share them than
 * elsewhere. */
enum { GROUP = 64 };

/* A group of queries on their way down, sorted by the type of the node that each has come to. */
typedef struct {
	art_ref ref[GROUP];
	ldb_key path[GROUP];                   /* the bytes to follow */
	const art_ref *slot[GROUP];            /* where the next reference is */
	uint8_t active[GROUP + 1];             /* the queries that are not yet at a leaf */
	uint8_t of_type[1 + ART_TYPES][GROUP]; /* by what they are at: leaf, then types */
	size_t actives, count[1 + ART_TYPES];
} group;

/* 0 for a leaf, else 1 + art_type, without a branch: the zeros before the tag. */
static inline unsigned kind_of(art_ref ref)
{
	return (unsigned)__builtin_clz(ref | 1u << 27);
}

/*
 * Asks for the line that is read first of what a reference leads to, without a branch on what that
 * is: of a leaf its key, of Node256 the byte's child, of others the key bytes.
 */
static inline void prefetch(const art *self, unsigned kind, art_ref ref, ldb_key q)
{
	static const unsigned char bits[] = {31, ART_NODE4_BITS, ART_NODE16_BITS, ART_NODE48_BITS,
					     ART_NODE256_BITS};
	static const unsigned short stride[] = {sizeof(ldb_key), 20, 80, 256, 1024};
	static const unsigned char per_three[] = {0, 4, 0, 0, 0}, per_byte[] = {0, 0, 0, 0, 4};
	const unsigned level = ref >> bits[kind] & 7;
	const size_t place = ref & ((1u << bits[kind]) - 1);
	const uintptr_t at = (uintptr_t)self->start[kind][level] + place * stride[kind] +
			     place / 3 * per_three[kind] +
			     (size_t)art_byte(q, level) * per_byte[kind];
	__builtin_prefetch((const void *)at);
}

/* Finds in each node the slot of the child, type by type, and asks for its line. */
static inline void find_slots(const art *self, group *g)
{
	for (size_t a = 0; a < g->count[1 + ART_NODE16]; a++) {
		const size_t i = g->of_type[1 + ART_NODE16][a];
		g->slot[i] = art_find16(art_get16(self, g->ref[i]),
					art_byte_at(g->path[i], g->ref[i], ART_NODE16_BITS));
		__builtin_prefetch(g->slot[i]);
	}
	for (size_t a = 0; a < g->count[1 + ART_NODE48]; a++) {
		const size_t i = g->of_type[1 + ART_NODE48][a];
		g->slot[i] = art_find48(art_get48(self, g->ref[i]),
					art_byte_at(g->path[i], g->ref[i], ART_NODE48_BITS));
		__builtin_prefetch(g->slot[i]);
	}
	for (size_t a = 0; a < g->count[1 + ART_NODE256]; a++) {
		const size_t i = g->of_type[1 + ART_NODE256][a];
		g->slot[i] = art_find256(art_get256(self, g->ref[i]),
					 art_byte_at(g->path[i], g->ref[i], ART_NODE256_BITS));
	}
	for (size_t a = 0; a < g->count[1 + ART_NODE4]; a++) {
		const size_t i = g->of_type[1 + ART_NODE4][a];
		g->slot[i] = art_find4(art_get4(self, g->ref[i]),
				       art_byte_at(g->path[i], g->ref[i], ART_NODE4_BITS));
	}
}

/* Follows the slots and sorts the queries anew. */
static inline void follow_slots(const art *self, group *g)
{
	size_t left = 0;
	memset(g->count, 0, sizeof g->count);
	for (size_t a = 0; a < g->actives; a++) {
		const size_t i = g->active[a];
		art_turn to = {*g->slot[i], g->path[i]};
		if (__builtin_expect(to.ref == ART_EMPTY && self->n, 0))
			to = art_sidestep(self, g->ref[i], g->path[i]);
		const unsigned kind = kind_of(to.ref);
		prefetch(self, kind, to.ref, to.path);
		g->ref[i] = to.ref;
		g->path[i] = to.path;
		g->of_type[kind][g->count[kind]++] = (uint8_t)i;
		g->active[left] = (uint8_t)i;
		left += !(to.ref & ART_LEAF);
	}
	g->actives = left;
}

/*
 * A group descends in lock step, one node in each round, until all are at a leaf. Which type of
 * node comes next can't be foretold; so the queries are sorted by it, and each type has its loop.
 */
static inline void find_group(const art *self, const ldb_key *q, size_t count, ldb_val *out)
{
	group g;
	for (size_t i = 0; i < count; i++) {
		g.slot[i] = &self->root;
		g.path[i] = q[i];
		g.active[i] = (uint8_t)i;
	}
	g.actives = count;
	for (follow_slots(self, &g); g.actives; follow_slots(self, &g))
		find_slots(self, &g);
	for (size_t i = 0; i < count; i++)
		out[i] = finish(self, g.ref[i], q[i]);
}

static void art_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + GROUP <= n; i += GROUP)
		find_group(self, q + i, GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

/* --- build ---------------------------------------------------------------------------------- */

static void art_destroy(void *self)
{
	art *index = self;
	ldb_free(index->nodes, index->nodes_bytes);
	ldb_free(index, sizeof *index);
}

static ldb_status art_build(void **self, const ldb_key *keys, size_t n, const double *values,
			    ldb_error *err)
{
	(void)values;
	if (n > ART_MAX_KEYS)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^31 keys", "art",
				"%zu keys", n);
	art *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "art", sizeof *index);
	memset(index, 0, sizeof *index);
	index->keys = keys;
	index->n = n;
	ldb_status status = art_load(index, err);
	if (status == LDB_OK)
		*self = index;
	else
		art_destroy(index);
	return status;
}

static size_t art_bytes(const void *self)
{
	const art *index = self;
	return sizeof *index + index->nodes_bytes;
}

/* --- validate ------------------------------------------------------------------------------- */

/* The walk in key order: what it has seen so far. */
typedef struct {
	const art *self;
	ldb_error *err;
	size_t next; /* rank of the leaf that must come next */
	uint32_t seen[ART_LEVELS][ART_TYPES];
} walk;

static ldb_status broken(walk *w, const char *what, art_ref ref)
{
	return ldb_fail(w->err, LDB_INVALID, "report it as a fault of art", what,
			"reference %#x, before rank %zu", ref, w->next);
}

/* Keys ascend; unused slots stand at the end, repeat the last key and have no child. */
static bool small_in_order(const uint8_t *keys, const art_ref *children, unsigned slots)
{
	for (unsigned i = 1; i < slots; i++) {
		const bool used = children[i] != ART_EMPTY;
		if (used ? children[i - 1] == ART_EMPTY || keys[i - 1] >= keys[i]
			 : keys[i] != keys[i - 1])
			return false;
	}
	return children[0] != ART_EMPTY;
}

static bool in_order(const art *self, art_ref ref)
{
	switch (art_type(ref)) {
	case ART_NODE4:
		return small_in_order(art_get4(self, ref)->key, art_get4(self, ref)->child, 4);
	case ART_NODE16:
		return small_in_order(art_get16(self, ref)->key, art_get16(self, ref)->child, 16);
	case ART_NODE48:
		return small_in_order(art_get48(self, ref)->key, art_get48(self, ref)->child, 48);
	default:
		return true;
	}
}

static ldb_status validate_leaf(walk *w, art_ref leaf)
{
	const art *self = w->self;
	if ((leaf & ~ART_LEAF) != w->next)
		return broken(w, "art: a leaf is not the next distinct key", leaf);
	const ldb_key key = self->keys[w->next];
	while (w->next < self->n && self->keys[w->next] == key)
		w->next++;
	return LDB_OK;
}

static ldb_status validate_node(walk *w, art_ref ref, unsigned levels);

/* Each key below the child for a byte has that byte on the node's level, and as the first and the
 * last key of the node agree above it, so do all. */
static ldb_status validate_children(walk *w, art_ref ref, unsigned level, unsigned *count)
{
	const art *self = w->self;
	for (unsigned byte = 0; byte < 256; byte++) {
		const art_ref child = art_child(self, ref, (ldb_key)byte << 8 * level);
		if (child == ART_EMPTY)
			continue;
		const size_t first = w->next;
		const ldb_status status = validate_node(w, child, level);
		if (status != LDB_OK)
			return status;
		if (art_byte(self->keys[first], level) != byte ||
		    art_byte(self->keys[w->next - 1], level) != byte)
			return broken(w, "art: the byte that leads to a child", child);
		(*count)++;
	}
	return LDB_OK;
}

/* A reference below a node of level `levels`. */
static ldb_status validate_node(walk *w, art_ref ref, unsigned levels)
{
	static const unsigned least_children[ART_TYPES] = {2, 5, 17, 49};
	const art *self = w->self;
	if (ref & ART_LEAF)
		return validate_leaf(w, ref);
	const unsigned type = art_type(ref), level = art_level(ref);
	/* A level's nodes are numbered in key order. */
	if (level >= levels || art_place(ref, art_bits(type)) != w->seen[level][type] ||
	    w->seen[level][type]++ >= self->count[level][type])
		return broken(w, "art: a child's level or number", ref);
	if (!in_order(self, ref))
		return broken(w, "art: order of the children in a node", ref);
	const size_t first = w->next;
	unsigned count = 0;
	ldb_status status = validate_children(w, ref, level, &count);
	if (status != LDB_OK)
		return status;
	if (count < least_children[type])
		return broken(w, "art: too few children for the node's type", ref);
	if (level + 1 < ART_LEVELS &&
	    (self->keys[first] ^ self->keys[w->next - 1]) >> 8 * (level + 1))
		return broken(w, "art: keys below a node differ above its level", ref);
	return LDB_OK;
}

static ldb_status art_validate(const void *self, ldb_error *err)
{
	const art *index = self;
	walk w = {.self = index, .err = err};
	if (index->n == 0)
		return index->root == ART_EMPTY ? LDB_OK : broken(&w, "art: root", index->root);
	ldb_status status = validate_node(&w, index->root, ART_LEVELS);
	if (status == LDB_OK && w.next != index->n)
		return broken(&w, "art: keys are missing", index->root);
	if (status == LDB_OK && memcmp(w.seen, index->count, sizeof w.seen) != 0)
		return broken(&w, "art: nodes are not linked", index->root);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "art",
	.summary = "adaptive radix tree over the bytes of the keys",
	.origin = "Leis, Kemper, Neumann: The Adaptive Radix Tree, ICDE 2013",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.peak_bytes_per_key =
		28, /* at worst: Node48 with 17 children, 448 bytes for 16 more keys */
	.build = art_build,
	.destroy = art_destroy,
	.bytes = art_bytes,
	.validate = art_validate,
	.lookup = art_lookup,
	.chase = art_chase,
	.lookup_batch = art_lookup_batch,
};
LDB_EXPORT_INDEX(table)
