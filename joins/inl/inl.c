/*
 * inl: index nested loop join. One side, the inner one, is sorted and gets an index; each row of
 * the other is looked up in it, a thousand rows a call, as the index's own batches do it.
 *
 * The index is one of the project's, learned or not, named by the parameter `index` and given by
 * the driver; building it is part of the join. Batching makes the old loop a rival to hash joins:
 * Blanas, Li, Patel, SIGMOD 2011, leave it out, Sabek and Kraska, The Case for Learned In-Memory
 * Joins (VLDB 2023), show it ahead with a learned index where the inner side is sorted anyway.
 *
 * Which side is the inner one? A sorted one, as it needs no sorting; of two sorted ones the larger
 * if it is much larger, since then the few rows of the other are looked up, and the rest is never
 * read. If neither is sorted, the build side is: it is sorted by the plug-in that the parameter
 * `sort` names.
 */
#include "ldb/match.h"
#include "ldb/parts.h"
#include "ldb/sorted_side.h"

enum { BLOCK = 1024, MUCH_LARGER = 4 };

enum { PARAM_INDEX, PARAM_INNER, PARAM_SORT };
enum { INNER_AUTO, INNER_BUILD, INNER_PROBE };
static const ldb_param params[] = {
	{"index", "over the inner side", .def = 0,
	 .choices = "btree|art|robinhood|splustree|rbs|ldx|rmi"},
	{"inner", "side that gets the index; auto: a sorted one, or the much larger of two",
	 .def = INNER_AUTO, .choices = "auto|build|probe"},
	{"sort", "for an inner side that is not sorted", .def = 0,
	 .choices = "radix_sort|vqsort|learned_sort"},
	{0},
};

typedef struct {
	ldb_sorted_side side;
	bool distinct;
	bool is_probe; /* it is the probe side of the join */
	const ldb_index *index;
	void *self;
} inner_side;

typedef struct {
	const ldb_join_input *input;
	const inner_side *inner;
	const ldb_key *outer;
	size_t from, to;
	atomic_size_t *used;
	ldb_join_result result;
} share;

/* --- probe ------------------------------------------------------------------------------------ */

static inline void put(const inner_side *inner, uint32_t rank, uint32_t outer_row, bool is_match,
		       ldb_sink *sink)
{
	ldb_sink_put(sink, inner->is_probe ? outer_row : rank, inner->is_probe ? rank : outer_row,
		     is_match);
}

/* The matches of one outer row: all inner keys equal to it from its rank on. */
static void put_run(const inner_side *inner, size_t rank, ldb_key key, uint32_t outer_row,
		    ldb_sink *sink)
{
	size_t end = rank;
	while (end < inner->side.n && inner->side.keys[end] == key)
		end++;
	for (; rank < end; rank++) {
		put(inner, (uint32_t)rank, outer_row, true, sink);
		ldb_sink_check(sink);
	}
}

static void put_block(const inner_side *inner, const ldb_key *q, const ldb_val *rank, size_t count,
		      uint32_t outer_row, ldb_sink *sink)
{
	for (size_t i = 0; i < count; i++) {
		const bool in = rank[i] != LDB_NONE; /* then there is a key; is it q? */
		const size_t r = in ? rank[i] : 0;
		if (inner->distinct) {
			put(inner, (uint32_t)r, outer_row + (uint32_t)i,
			    in & (inner->side.keys[r] == q[i]), sink);
			ldb_sink_check(sink);
		} else if (in) {
			put_run(inner, r, q[i], outer_row + (uint32_t)i, sink);
		}
	}
}

static void *probe_share(void *argument)
{
	share *s = argument;
	const ldb_index *index = s->inner->index;
	_Alignas(64) ldb_val rank[BLOCK];
	ldb_sink sink;
	ldb_sink_open(&sink, s->input, s->used);
	*(s->inner->is_probe ? &sink.probe_rows : &sink.build_rows) = s->inner->side.rows;
	for (size_t i = s->from; i < s->to; i += BLOCK) {
		const size_t count = s->to - i < BLOCK ? s->to - i : BLOCK;
		(index->lookup_batch ? index->lookup_batch
				     : index->lookup)(s->inner->self, s->outer + i, count, rank);
		put_block(s->inner, s->outer + i, rank, count, (uint32_t)i, &sink);
	}
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void probe(const ldb_join_input *input, const inner_side *inner, ldb_join_result *out)
{
	share shares[LDB_PARTS_MAX];
	atomic_size_t used = 0;
	const bool flipped = inner->is_probe;
	const size_t outer_n = flipped ? input->build_n : input->probe_n;
	size_t threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
	threads = inner->index->flags & LDB_THREADS ? threads : 1;
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.input = input,
				    .inner = inner,
				    .outer = flipped ? input->build : input->probe,
				    .from = outer_n * t / threads,
				    .to = outer_n * (t + 1) / threads,
				    .used = &used};
	ldb_run_parts(probe_share, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
}

/* --- build ------------------------------------------------------------------------------------ */

static bool all_distinct(const ldb_key *keys, size_t n)
{
	bool distinct = true;
	for (size_t i = 1; i < n; i++)
		distinct &= keys[i - 1] != keys[i];
	return distinct;
}

static bool inner_is_probe(const ldb_join_input *input)
{
	const int asked = (int)input->params[PARAM_INNER];
	if (asked != INNER_AUTO)
		return asked == INNER_PROBE;
	if (input->build_sorted && input->probe_sorted)
		return input->probe_n / MUCH_LARGER > input->build_n;
	return input->probe_sorted;
}

/* Joins with the keys of the inner side in order. */
static ldb_status index_and_probe(const ldb_join_input *input, inner_side *inner,
				  ldb_join_result *out, ldb_error *err)
{
	const int phase = inner->index->flags & LDB_LEARNED ? LDB_PHASE_MODEL : LDB_PHASE_BUILD;
	uint64_t time = ldb_phase_start();
	inner->distinct = all_distinct(inner->side.keys, inner->side.n);
	const ldb_status status = inner->index->build(&inner->self, inner->side.keys, inner->side.n,
						      input->index_params, err);
	ldb_phase_end(out, phase, &time);
	if (status != LDB_OK)
		return status;
	probe(input, inner, out);
	inner->index->destroy(inner->self);
	ldb_phase_end(out, LDB_PHASE_PROBE, &time);
	return LDB_OK;
}

static ldb_status inl(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	const bool is_probe = inner_is_probe(input);
	inner_side inner = {.is_probe = is_probe, .index = input->index};
	uint64_t time = ldb_phase_start();
	ldb_status status = is_probe ? ldb_sorted_take(&inner.side, input, input->probe,
						       input->probe_n, input->probe_sorted, err)
				     : ldb_sorted_take(&inner.side, input, input->build,
						       input->build_n, input->build_sorted, err);
	ldb_phase_end(out, LDB_PHASE_PARTITION, &time);
	if (status != LDB_OK)
		return status;
	if (inner.side.n)
		status = index_and_probe(input, &inner, out, err);
	ldb_sorted_free(&inner.side);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "inl",
	.summary = "index nested loop in batches over any of the project's indexes",
	.origin = "Sabek, Kraska: The Case for Learned In-Memory Joins, VLDB 2023",
	.flags = LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 52, /* of the inner side: sorted copy and index */
	.join = inl,
};
LDB_EXPORT_JOIN(table)
