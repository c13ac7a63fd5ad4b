/*
 * btree_olc: a B+-tree that many threads read and write at once, by optimistic lock coupling. This
 * file is the plug-in: lookups, the batched descent, the bulk load. How nodes are read and locked
 * is in olc.h, updates in update.c.
 */
#include "ldb/levels.h"
#include "ldb/loops.h"
#include "olc.h"

enum { GROUP = 16 }; /* queries that descend together */

enum { PARAM_FILL, PARAM_AHEAD };
static const ldb_param params[] = {
	{"fill", "share of a node's slots that the bulk load fills", .def = 1, .min = 0.5,
	 .max = 1},
	{"ahead", "updates whose nodes are fetched together beforehand; 1: none", .def = 16,
	 .min = 1, .max = 64},
	{0},
};

/* The lower bound by the walk that waits for writers and goes on to the next leaf. */
__attribute__((noinline)) static ldb_val find_slowly(const btree_olc *self, ldb_key q)
{
	uint32_t count;
	const ldb_val value = olc_scan(self, q, 1, &count);
	return count ? value : LDB_NONE;
}

static inline ldb_val btree_olc_find(const btree_olc *self, ldb_key q)
{
	const place p = find_leaf(self, q);
	__builtin_prefetch(p.at->word);
	__builtin_prefetch(p.at->word + 8);
	const unsigned slot = count_less(p.at, q);
	const ldb_val value = load(&p.at->word[slot]);
	if (__builtin_expect(slot < FANOUT && value != UNUSED && still(p.at, p.version), 1))
		return value;
	return find_slowly(self, q);
}

LDB_INDEX_LOOPS(btree_olc, btree_olc_find)

static inline void find_group(const btree_olc *self, const ldb_key *q, size_t count, ldb_val *out)
{
	place p[GROUP];
	bool lost[GROUP] = {false};
	const place root = start_at_root(self);
	for (size_t i = 0; i < count; i++)
		p[i] = root;
	for (uint32_t level = 0; level < root.level; level++)
		go_down_together(p, q, count, lost);
	for (size_t i = 0; i < count; i++) {
		const unsigned slot = lost[i] ? FANOUT : count_less(p[i].at, q[i]);
		out[i] = slot < FANOUT ? load(&p[i].at->word[slot]) : UNUSED;
		if (out[i] == UNUSED || !still(p[i].at, p[i].version))
			out[i] = find_slowly(self, q[i]);
	}
}

static void btree_olc_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + GROUP <= n; i += GROUP)
		find_group(self, q + i, GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

/* --- build -------------------------------------------------------------------------------------
 */

static void fill_inner(const ldb_levels *p, node *nodes, uint32_t level, size_t i)
{
	node *inner = &nodes[p->start[level] + i];
	const size_t first = ldb_levels_first(p, level, i), end = ldb_levels_first(p, level, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		inner->key[k] = used ? ldb_levels_bound(p, level + 1, first + k) : LDB_KEY_MAX;
		inner->word[k] = used ? (uintptr_t)&nodes[p->start[level + 1] + first + k] : UNUSED;
	}
	inner->word[NEXT] = 0;
	atomic_init(&inner->version, 0);
}

static void fill_leaf(const ldb_levels *p, node *nodes, size_t i)
{
	node *leaf = &nodes[p->start[p->levels] + i];
	const size_t first = ldb_levels_first(p, p->levels, i);
	const size_t end = ldb_levels_first(p, p->levels, i + 1);
	for (size_t k = 0; k < FANOUT; k++) {
		const bool used = first + k < end;
		leaf->key[k] = used ? p->keys[first + k] : LDB_KEY_MAX;
		leaf->word[k] = used ? first + k : UNUSED;
	}
	atomic_init(&leaf->version, 0);
	leaf->word[NEXT] = i + 1 < ldb_levels_count(p, p->levels) ? (uintptr_t)(leaf + 1) : 0;
}

static void btree_olc_destroy(void *self)
{
	btree_olc *index = self;
	olc_free_chunks(index);
	pthread_mutex_destroy(&index->memory);
	ldb_free(index, sizeof *index);
}

static ldb_status btree_olc_build(void **self, const ldb_key *keys, size_t n, const double *values,
				  ldb_error *err)
{
	btree_olc *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "btree_olc", sizeof *index);
	memset(index, 0, sizeof *index);
	index->bytes = sizeof *index;
	index->ahead = (uint32_t)values[PARAM_AHEAD];
	pthread_mutex_init(&index->memory, NULL);
	const ldb_levels p = ldb_levels_plan(keys, n, (size_t)(values[PARAM_FILL] * FANOUT + 0.5));
	const size_t count = p.start[p.levels + 1];
	node *nodes = olc_new_chunk(index, count);
	if (!nodes) {
		btree_olc_destroy(index);
		return ldb_fail_oom(err, "btree_olc nodes", count * sizeof(node));
	}
	for (size_t i = 0; i < ldb_levels_count(&p, p.levels); i++)
		fill_leaf(&p, nodes, i);
	for (uint32_t level = p.levels; level-- > 0;) {
		for (size_t i = 0; i < ldb_levels_count(&p, level); i++)
			fill_inner(&p, nodes, level, i);
	}
	index->root = nodes;
	atomic_init(&index->levels, p.levels);
	*self = index;
	return LDB_OK;
}

static size_t btree_olc_bytes(const void *self)
{
	btree_olc *index = (btree_olc *)(uintptr_t)self;
	pthread_mutex_lock(&index->memory);
	const size_t bytes = index->bytes;
	pthread_mutex_unlock(&index->memory);
	return bytes;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree_olc",
	.summary = "B+-tree for many threads, by optimistic lock coupling",
	.origin = "Leis, Haubenschild, Neumann: Optimistic Lock Coupling, IEEE DEBull 2019",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS | LDB_CONCURRENT,
	.params = params,
	.peak_bytes_per_key = 44, /* 19 at fill 1, 39 at fill 0.5 */
	.build = btree_olc_build,
	.destroy = btree_olc_destroy,
	.bytes = btree_olc_bytes,
	.validate = olc_validate,
	.lookup = btree_olc_lookup,
	.chase = btree_olc_chase,
	.lookup_batch = btree_olc_lookup_batch,
	.apply = olc_apply,
};
LDB_EXPORT_INDEX(table)
