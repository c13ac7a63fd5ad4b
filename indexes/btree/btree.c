/*
 * btree: a B+-tree for main memory that holds its own copy of keys and values. The general-purpose
 * ordered index: bulk-loaded, with nodes that may be partly filled (parameter `fill`), then open to
 * updates. This file is the plug-in: lookups, the batched descent, build. Nodes and the descent are
 * in btree.h, the bulk load in load.c, updates in update.c.
 *
 * After Bayer and McCreight, Organization and Maintenance of Large Ordered Indices (Acta
 * Informatica 1, 1972); node size and layout after Rao and Ross, Making B+-Trees Cache Conscious in
 * Main Memory (SIGMOD 2000); comparison with all keys of a node at once after Zhou and Ross,
 * Implementing Database Operations Using SIMD Instructions (SIGMOD 2002); groups of queries that
 * descend together after Chen, Ailamaki, Gibbons, Mowry, Improving Hash Join Performance through
 * Prefetching (ICDE 2004), section 4.
 */
#include "btree.h"
#include "ldb/loops.h"

enum { GROUP = 16 }; /* queries that descend together */

enum { PARAM_FILL, PARAM_AHEAD };
static const ldb_param params[] = {
	{"fill", "share of a node's slots that the bulk load fills", .def = 1, .min = 0.5,
	 .max = 1},
	{"ahead", "updates whose nodes are fetched together beforehand; 1: none", .def = 16,
	 .min = 1, .max = 64},
	{0},
};

/* The lower bound where it is not in the leaf that q belongs to. */
__attribute__((noinline)) static ldb_val find_beyond(const btree *self, ldb_key q)
{
	path way;
	find_path(self, q, &way);
	const node *leaf = next_leaf(self, &way);
	return leaf ? leaf->word[0] : LDB_NONE;
}

static inline ldb_val btree_find(const btree *self, ldb_key q)
{
	const node *leaf = find_leaf(self, q);
	fetch_words(leaf);
	const unsigned slot = ldb_count_less16(leaf->key, q);
	if (__builtin_expect(slot < FANOUT && leaf->word[slot] != UNUSED, 1))
		return leaf->word[slot];
	return find_beyond(self, q);
}

LDB_INDEX_LOOPS(btree, btree_find)

/* Each round waits once for memory: all queries go one level down and fetch what they need there.
 */
static inline void find_group(const btree *self, const ldb_key *q, size_t count, ldb_val *out)
{
	const node *at[GROUP];
	unsigned slot[GROUP];
	for (size_t i = 0; i < count; i++)
		at[i] = self->root;
	for (uint32_t level = 0; level < self->levels; level++) {
		const bool above_leaves = level + 1 == self->levels;
		for (size_t i = 0; i < count; i++) {
			at[i] = child_for(at[i], q[i]);
			fetch_keys(at[i]);
			if (!above_leaves)
				fetch_words(at[i]);
		}
	}
	for (size_t i = 0; i < count; i++) {
		slot[i] = ldb_count_less16(at[i]->key, q[i]);
		__builtin_prefetch(&at[i]->word[slot[i] % FANOUT]);
	}
	for (size_t i = 0; i < count; i++) {
		out[i] = slot[i] < FANOUT ? at[i]->word[slot[i]] : UNUSED;
		if (__builtin_expect(out[i] == UNUSED, 0))
			out[i] = find_beyond(self, q[i]);
	}
}

static void btree_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + GROUP <= n; i += GROUP)
		find_group(self, q + i, GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

static void btree_destroy(void *self)
{
	btree *index = self;
	btree_free_chunks(index);
	ldb_free(index, sizeof *index);
}

static ldb_status btree_build(void **self, const ldb_key *keys, size_t n, const double *values,
			      ldb_error *err)
{
	btree *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "btree", sizeof *index);
	*index = (btree){.bytes = sizeof *index, .ahead = (uint32_t)values[PARAM_AHEAD]};
	ldb_status status =
		btree_load(index, keys, n, (size_t)(values[PARAM_FILL] * FANOUT + 0.5), err);
	if (status == LDB_OK)
		*self = index;
	else
		btree_destroy(index);
	return status;
}

static size_t btree_bytes(const void *self)
{
	return ((const btree *)self)->bytes;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree",
	.summary = "B+-tree of 16-way nodes, compared by SIMD",
	.origin = "Bayer, McCreight 1972; Rao, Ross: Making B+-Trees Cache Conscious, SIGMOD 2000",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 40, /* 18 at fill 1, 37 at fill 0.5 */
	.build = btree_build,
	.destroy = btree_destroy,
	.bytes = btree_bytes,
	.validate = btree_validate,
	.lookup = btree_lookup,
	.chase = btree_chase,
	.lookup_batch = btree_lookup_batch,
	.apply = btree_apply,
};
LDB_EXPORT_INDEX(table)
