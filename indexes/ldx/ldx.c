/* ldx, the plug-in: batched lookup, validation, and the table of functions. See ldx.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ldb/loops.h"
#include "ldb/parts.h"
#include "ldb/window.h"
#include "ldx.h"

/* The loops for each size of chunks and separators, and for keys without a tree. */
#define EMIT_LOOPS(lines, bits)                                                                    \
	typedef ldx ldx##lines##bits;                                                              \
	static inline ldb_val find##lines##bits(const ldx *self, ldb_key q)                        \
	{                                                                                          \
		return ldx_find(self, q, lines, bits);                                             \
	}                                                                                          \
	LDB_INDEX_LOOPS(ldx##lines##bits, find##lines##bits)
EMIT_LOOPS(1, 16)
EMIT_LOOPS(2, 16)
EMIT_LOOPS(1, 32)
EMIT_LOOPS(2, 32)

typedef ldx bare;
static inline ldb_val find_bare(const bare *self, ldb_key q)
{
	const size_t rank = ldb_search_window(self->keys, self->n, 0, self->n, q);
	return rank < self->n ? rank : LDB_NONE;
}
LDB_INDEX_LOOPS(bare, find_bare)

/* Which of the variants; the choice is made once per call. */
enum { BARE, ONE_16, TWO_16, ONE_32, TWO_32 };
static int variant(const ldx *self)
{
	return (int)(self->chunk_lines ? self->chunk_lines + (self->bits == 32 ? 2 : 0) : BARE);
}

static void ldx_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	switch (variant(self)) {
	case BARE:
		bare_lookup(self, q, n, out);
		break;
	case ONE_16:
		ldx116_lookup(self, q, n, out);
		break;
	case TWO_16:
		ldx216_lookup(self, q, n, out);
		break;
	case ONE_32:
		ldx132_lookup(self, q, n, out);
		break;
	case TWO_32:
		ldx232_lookup(self, q, n, out);
		break;
	}
}

static void ldx_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	switch (variant(self)) {
	case BARE:
		bare_chase(self, q, n, carry, out);
		break;
	case ONE_16:
		ldx116_chase(self, q, n, carry, out);
		break;
	case TWO_16:
		ldx216_chase(self, q, n, carry, out);
		break;
	case ONE_32:
		ldx132_chase(self, q, n, carry, out);
		break;
	case TWO_32:
		ldx232_chase(self, q, n, carry, out);
		break;
	}
}

/* --- batch ------------------------------------------------------------------------------------ */

/*
 * A pipeline: groups of 16 queries, each at another of the stages below. A round moves every group
 * one stage on, and each stage fetches what the next one reads, so the lines of several groups are
 * always on their way. What a processor can't overlap with them are instructions, so these are
 * few: no branch asks about a single query. Each stage notes whether any of its group needs more,
 * and then a loop of its own sees to those.
 */
enum { GROUP = 16, STAGES = 5 };

typedef struct {
	const ldx_node *node[GROUP];
	uint32_t fraction[GROUP];
	uint32_t line[GROUP]; /* of keys, where the chunk starts */
	uint32_t late;        /* a bit for each query that is not answered yet */
} group;

static inline void ask_root(const ldx *self, group *g, const ldb_key *q)
{
	g->late = ldx_predict_group(self, q, GROUP, g->node, g->fraction);
	for (size_t i = 0; i < GROUP; i++)
		ldb_prefetch(g->node[i], 0);
}

static inline void ask_top(const ldx *self, group *g, const unsigned bits)
{
	for (unsigned height = self->min_height; height > 1; height--) {
		for (size_t i = 0; i < GROUP; i++) {
			const ldx_node *node = g->node[i];
			g->node[i] = self->nodes + (node->link & ~LDX_TO_NODES) +
				     ldx_count(node, g->fraction[i], bits);
		}
	}
	for (size_t i = 0; i < GROUP; i++)
		ldb_prefetch(g->node[i], 0);
}

/* Where most trees are as high as the lowest, goes down the few others. */
__attribute__((noinline)) static void ask_deeper(const ldx *self, group *g, const unsigned lines,
						 const unsigned bits)
{
	for (size_t i = 0; i < GROUP; i++) {
		const ldx_node *node = g->node[i];
		if (!(node->link & LDX_TO_NODES))
			continue;
		node = ldx_descend(self, node, g->fraction[i], bits);
		g->line[i] = node->link + lines * ldx_count(node, g->fraction[i], bits);
		for (unsigned l = 0; l < lines; l++)
			ldb_prefetch_key(self->keys, (size_t)(g->line[i] + l) * LDX_LINE);
	}
}

static inline void ask_node(const ldx *self, group *g, const unsigned lines, const unsigned bits)
{
	uint32_t links = 0;
	for (size_t i = 0; i < GROUP; i++) {
		const ldx_node *node = g->node[i];
		const uint32_t line = node->link + lines * ldx_count(node, g->fraction[i], bits);
		for (unsigned l = 0; l < lines; l++)
			ldb_prefetch_key(self->keys, (size_t)(line + l) * LDX_LINE);
		links |= node->link;
		g->line[i] = line;
	}
	if (links & LDX_TO_NODES)
		ask_deeper(self, g, lines, bits);
}

static inline void ask_keys(const ldx *self, group *g, const ldb_key *q, ldb_val *out,
			    const unsigned lines)
{
	const size_t chunk = LDX_LINE * lines;
	size_t counts = 0;
	for (size_t i = 0; i < GROUP; i++) {
		const size_t start = (size_t)g->line[i] * LDX_LINE;
		const size_t c = ldx_count_chunk(self->keys + start, q[i], lines);
		counts |= c;
		out[i] = start + c;
	}
	if (counts & chunk) /* of some all are less */
		for (size_t i = 0; i < GROUP; i++)
			if (out[i] == (size_t)g->line[i] * LDX_LINE + chunk) {
				g->late |= 1u << i;
				ldb_prefetch_key(self->keys, out[i]);
			}
}

/* As ldx_go_on and ldx_find_outside, those that may be anywhere together. */
__attribute__((noinline)) static void answer_late(const ldx *self, uint32_t late, const ldb_key *q,
						  ldb_val *out)
{
	size_t lo[GROUP], length[GROUP], count = 0;
	ldb_key far[GROUP];
	unsigned char at[GROUP];
	for (; late; late &= late - 1) {
		const size_t i = (size_t)__builtin_ctz(late), left = self->n - out[i];
		const bool inside = ldx_is_inside(self, q[i]);
		const unsigned c = inside && left >= LDX_LINE
					   ? ldb_count_less_line(self->keys + out[i], q[i])
					   : LDX_LINE;
		if (c < LDX_LINE) {
			out[i] += c;
		} else if (!inside) {
			out[i] = ldx_find_outside(self, q[i]);
		} else {
			at[count] = (unsigned char)i;
			far[count] = q[i];
			lo[count] = out[i];
			length[count++] = left;
		}
	}
	ldb_halve_group(self->keys, 1, LDX_LINE, far, lo, length, count);
	for (size_t k = 0; k < count; k++)
		out[at[k]] =
			ldb_search_narrow(self->keys, self->n, lo[k], lo[k] + length[k], far[k]);
}

static inline __attribute__((always_inline)) void find_groups(const ldx *self, const ldb_key *q,
							      size_t n, ldb_val *out,
							      const unsigned lines,
							      const unsigned bits)
{
	group ring[STAGES];
	const size_t groups = n / GROUP;
	/* Group r is at the first stage in round r; the oldest goes first. */
	for (size_t r = 0; groups && r < groups + STAGES - 1; r++) {
		const uint32_t late = r >= 4 ? ring[(r - 4) % STAGES].late : 0;
		if (late)
			answer_late(self, late, q + (r - 4) * GROUP, out + (r - 4) * GROUP);
		if (r >= 3 && r - 3 < groups)
			ask_keys(self, &ring[(r - 3) % STAGES], q + (r - 3) * GROUP,
				 out + (r - 3) * GROUP, lines);
		if (r >= 2 && r - 2 < groups)
			ask_node(self, &ring[(r - 2) % STAGES], lines, bits);
		if (r >= 1 && r - 1 < groups && self->min_height > 1)
			ask_top(self, &ring[(r - 1) % STAGES], bits);
		if (r < groups)
			ask_root(self, &ring[r % STAGES], q + r * GROUP);
	}
	for (size_t i = groups * GROUP; i < n; i++)
		out[i] = ldx_find(self, q[i], lines, bits);
}

static void ldx_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const ldx *index = self;
	switch (variant(self)) {
	case BARE:
		ldb_search_all(index->keys, index->n, q, n, out);
		break;
	case ONE_16:
		find_groups(self, q, n, out, 1, 16);
		break;
	case TWO_16:
		find_groups(self, q, n, out, 2, 16);
		break;
	case ONE_32:
		find_groups(self, q, n, out, 1, 32);
		break;
	case TWO_32:
		find_groups(self, q, n, out, 2, 32);
		break;
	}
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_BUDGET, PARAM_CHUNK, PARAM_SEPARATOR, PARAM_THREADS };
static const ldb_param params_table[] = {
	{.name = "budget",
	 .help = "percent of the keys' size that table and nodes may take",
	 .def = 10,
	 .min = 1,
	 .max = 100},
	{.name = "chunk",
	 .help = "keys compared at the end: a cache line, or two",
	 .def = 0,
	 .choices = LDB_KEY_BITS == 32 ? "auto|16|32" : "auto|8|16"},
	{.name = "separator", .help = "bits of one in a node", .def = 0, .choices = "auto|16|32"},
	{.name = "build_threads",
	 .help = "threads that build together",
	 .def = 1,
	 .min = 1,
	 .max = LDB_PARTS_MAX},
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
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"ldx: number of keys", "%zu", n);
	ldx *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "ldx", sizeof *index);
	*index = (ldx){.keys = keys, .n = n};
	const ldx_settings settings = {
		.budget_bytes = params[PARAM_BUDGET] / 100 * (double)n * sizeof *keys,
		.chunk_lines = (unsigned)params[PARAM_CHUNK],
		.bits = 16 * (unsigned)params[PARAM_SEPARATOR],
		.threads = (unsigned)params[PARAM_THREADS],
	};
	const ldb_status status = ldx_build_parts(index, &settings, err);
	if (status != LDB_OK) {
		ldb_free(index, sizeof *index);
		return status;
	}
	*self = index;
	return LDB_OK;
}

static size_t ldx_bytes(const void *self)
{
	return ldx_bytes_held(self);
}

static void ldx_info(const void *self, ldb_index_info *out)
{
	const ldx *index = self;
	out->tune_ns = index->tune_ns;
	if (!index->chunk_lines) {
		snprintf(out->chosen, sizeof out->chosen, "tree=none");
		return;
	}
	snprintf(out->chosen, sizeof out->chosen,
		 "segments=%zu;buckets=%zu;nodes=%zu;height=%u-%u;bits=%u;chunk=%u",
		 index->root.segment_count, index->bucket_count, index->node_count,
		 index->min_height, index->max_height, index->bits, index->chunk_lines * LDX_LINE);
}

static ldb_val answer(const ldx *self, ldb_key q)
{
	return self->chunk_lines ? ldx_find(self, q, self->chunk_lines, self->bits)
				 : find_bare(self, q);
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
					"key %" PRIu64 ", rank %zu", (uint64_t)keys[i], i);
	}
	if (index->n && keys[index->n - 1] < LDB_KEY_MAX && answer(index, LDB_KEY_MAX) != LDB_NONE)
		return ldb_fail(err, LDB_INVALID, "report it with the dataset",
				"ldx: a key beyond the last one is found", "key %" PRIu64,
				(uint64_t)LDB_KEY_MAX);
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "ldx",
	.summary = "learned root, one-line nodes of quantised separators, one line of keys",
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
