/* ldx, the plug-in: batched lookup, validation, and the table of functions. See ldx.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "ldb/loops.h"
#include "ldb/window.h"
#include "ldx.h"

/* The loops for chunks of one line and of two, and the choice between them once per call. */
typedef ldx ldx1;
typedef ldx ldx2;
LDB_INDEX_LOOPS(ldx1, ldx_find1)
LDB_INDEX_LOOPS(ldx2, ldx_find2)

static void ldx_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const ldx *)self)->chunk_lines == 1)
		ldx1_lookup(self, q, n, out);
	else
		ldx2_lookup(self, q, n, out);
}

static void ldx_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	if (((const ldx *)self)->chunk_lines == 1)
		ldx1_chase(self, q, n, carry, out);
	else
		ldx2_chase(self, q, n, carry, out);
}

/* --- batch ------------------------------------------------------------------------------------ */

/*
 * A pipeline: groups of 16 queries, each at another stage (root, table, nodes from the highest
 * level down, keys). A round moves every group one stage on, and each stage fetches what the next
 * one reads, so the lines of several groups are always on their way. A query whose bucket is lower
 * than the highest waits, by a select and not by a branch.
 */
enum { GROUP = 16, STAGES = LDX_MAX_HEIGHT + 3, RING = 16 };
_Static_assert(STAGES <= RING, "a group must be done before its place is taken again");

typedef struct {
	uint32_t bucket[GROUP];
	uint32_t fraction[GROUP];
	uint32_t where[GROUP];  /* node while height > 0, then line of the chunk */
	uint32_t height[GROUP]; /* LDX_EXACT: no tree */
} group;

static inline void ask_root(const ldx *self, group *g, const ldb_key *q, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const ldx_place at = ldx_predict(&self->root, self->min, q[i]);
		g->bucket[i] = at.bucket;
		g->fraction[i] = at.fraction;
		__builtin_prefetch(&self->table[at.bucket]);
	}
}

static inline const void *key_line(const ldx *self, size_t line)
{
	return (const void *)((uintptr_t)self->keys + line * LDX_LINE * sizeof(ldb_key));
}

static inline void ask_table(const ldx *self, group *g, size_t count, const unsigned lines)
{
	for (size_t i = 0; i < count; i++) {
		const uint32_t entry = self->table[g->bucket[i]];
		const bool is_node = entry & LDX_IS_NODE;
		g->height[i] = is_node ? entry >> 28 & 7 : 0;
		g->where[i] = is_node ? entry & 0x0fffffffu : entry;
		const void *chunk = key_line(self, entry);
		const void *node = &self->nodes[entry & 0x0fffffffu];
		__builtin_prefetch(is_node ? node : chunk);
		if (lines == 2 && !is_node)
			__builtin_prefetch(key_line(self, entry + 1));
	}
}

static inline void ask_nodes(const ldx *self, group *g, uint32_t height, size_t count,
			     const unsigned lines)
{
	for (size_t i = 0; i < count; i++) {
		const bool here = g->height[i] == height;
		const ldx_node *node = &self->nodes[here ? g->where[i] : 0];
		const uint32_t c = ldx_count(node, g->fraction[i]);
		const uint32_t next = node->link + (height == 1 ? c * lines : c);
		g->where[i] = here ? next : g->where[i];
		g->height[i] = here ? height - 1 : g->height[i];
		__builtin_prefetch(height == 1 ? key_line(self, next) : &self->nodes[next]);
		if (height == 1 && lines == 2)
			__builtin_prefetch(key_line(self, (size_t)next + 1));
	}
}

static inline void ask_keys(const ldx *self, const group *g, const ldb_key *q, size_t count,
			    ldb_val *out, const unsigned lines)
{
	for (size_t i = 0; i < count; i++) {
		size_t rank;
		if (__builtin_expect(g->height[i] == 0, 1))
			rank = ldx_finish(self, g->where[i], q[i], lines);
		else
			rank = ldx_find_exact(self, &self->nodes[g->where[i]], q[i]);
		out[i] = rank < self->n ? rank : LDB_NONE;
	}
}

static inline void find_groups(const ldx *self, const ldb_key *q, size_t n, ldb_val *out,
			       const unsigned lines)
{
	group ring[RING];
	const size_t groups = n / GROUP, top = self->top_height, stages = top + 3;
	for (size_t round = 0; round < groups + stages - 1 && groups; round++) {
		for (size_t stage = stages; stage-- > 0;) { /* the oldest group first */
			const size_t g = round - stage;
			if (g >= groups) /* not begun (then it is huge), or done */
				continue;
			group *here = &ring[g % RING];
			if (stage == 0)
				ask_root(self, here, q + g * GROUP, GROUP);
			else if (stage == 1)
				ask_table(self, here, GROUP, lines);
			else if (stage == stages - 1)
				ask_keys(self, here, q + g * GROUP, GROUP, out + g * GROUP, lines);
			else if (stage == stages - 2)
				ask_nodes(self, here, 1, GROUP, lines);
			else
				ask_nodes(self, here, (uint32_t)(stages - 1 - stage), GROUP, lines);
		}
	}
	for (size_t i = groups * GROUP; i < n; i++)
		out[i] = ldx_find(self, q[i], lines);
}

static void ldx_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const ldx *index = self;
	if (index->n < LDX_LEAST)
		ldx1_lookup(index, q, n, out);
	else if (index->chunk_lines == 1)
		find_groups(index, q, n, out, 1);
	else
		find_groups(index, q, n, out, 2);
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_BUDGET, PARAM_CHUNK };
static const ldb_param params_table[] = {
	{.name = "budget",
	 .help = "percent of the keys' size that table and nodes may take",
	 .def = 10,
	 .min = 1,
	 .max = 100},
	{.name = "chunk", .help = "keys compared at the end", .def = 0, .choices = "auto|8|16"},
	{.name = NULL},
};

static void ldx_destroy(void *self)
{
	ldx_free_parts(self);
	ldb_free(self, sizeof(ldx));
}

static ldb_status ldx_build(void **self, const ldb_key *keys, size_t n, const double *params,
			    ldb_error *err)
{
	if (n >= LDX_IS_NODE)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^31 keys",
				"ldx: number of keys", "%zu", n);
	ldx *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "ldx", sizeof *index);
	*index = (ldx){.keys = keys, .n = n};
	const double budget_bytes = params[PARAM_BUDGET] / 100 * (double)n * sizeof *keys;
	ldb_status status = ldx_build_all(index, budget_bytes, (unsigned)params[PARAM_CHUNK], err);
	if (status != LDB_OK) {
		ldb_free(index, sizeof *index);
		return status;
	}
	*self = index;
	return LDB_OK;
}

static size_t ldx_bytes(const void *self)
{
	const ldx *index = self;
	return sizeof *index + index->table_bytes + index->node_bytes;
}

static void ldx_info(const void *self, ldb_index_info *out)
{
	const ldx *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "root=%s;buckets=%zu;nodes=%zu;chunk=%u",
		 index->root.logarithmic ? "log" : "linear", index->bucket_count, index->node_count,
		 index->chunk_lines * LDX_LINE);
}

static ldb_val answer(const ldx *self, ldb_key q)
{
	return ldx_find(self, q, self->chunk_lines);
}

/* Every key, and both ends of every gap. */
static ldb_status ldx_validate(const void *self, ldb_error *err)
{
	const ldx *index = self;
	const ldb_key *keys = index->keys;
	for (size_t i = 0; i < index->n; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		const ldb_key below = i > 0 ? keys[i - 1] + 1 : 0;
		if (answer(index, keys[i]) != i || answer(index, below) != i)
			return ldb_fail(err, LDB_INVALID, "report it with the dataset",
					"ldx: a key is not found at its rank",
					"key %" PRIu64 ", rank %zu", keys[i], i);
	}
	if (index->n && keys[index->n - 1] < LDB_KEY_MAX && answer(index, LDB_KEY_MAX) != LDB_NONE)
		return ldb_fail(err, LDB_INVALID, "report it with the dataset",
				"ldx: a key beyond the last one is found", "key %" PRIu64,
				LDB_KEY_MAX);
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "ldx",
	.summary = "learned root, 4-byte buckets, quantised one-line nodes where keys cluster",
	.origin = "LearnedDB",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	.peak_bytes_per_key = 4,
	.build = ldx_build,
	.destroy = ldx_destroy,
	.bytes = ldx_bytes,
	.validate = ldx_validate,
	.lookup = ldx_lookup,
	.chase = ldx_chase,
	.lookup_batch = ldx_lookup_batch,
	.info = ldx_info,
};
LDB_EXPORT_INDEX(table)
