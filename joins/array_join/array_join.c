/*
 * array_join: for dense build keys. An array has an entry for each key from the least to the
 * largest one: the row that has it. No hash, no key to compare, one read a probe.
 *
 * The array join of Schuh, Chen, Dittrich, An Experimental Comparison of Thirteen Relational
 * Equi-Joins in Main Memory (SIGMOD 2016). Further rows with the same key are chained. Where the
 * build keys' range is more than `spread` times their number it is not for them, and says so.
 *
 * One thread fills the array (threads would need atomic operations), all of them probe it.
 */
#include "ldb/match.h"
#include "ldb/parts.h"
#include "ldb/window.h"

#define NO_ROW UINT32_MAX

enum { PARAM_SPREAD };
static const ldb_param params[] = {
	{"spread", "largest range of the build keys, as a multiple of their number", .def = 16,
	 .min = 1, .max = 1024},
	{0},
};

typedef struct {
	ldb_key base;
	size_t range;   /* entries; one more says NO_ROW to all that lie outside */
	uint32_t *head; /* of each key: its last row */
	uint32_t *next; /* of each row: one before it with the same key */
	bool distinct;  /* then next is not read */
} array;

typedef struct {
	const ldb_join_input *input;
	const array *array;
	size_t from, to;
	atomic_size_t *used;
	ldb_join_result result;
} share;

static void fill(array *a, const ldb_key *keys, size_t n)
{
	uint32_t chained = NO_ROW; /* stays that only if no row has another before it */
	memset(a->head, 0xff, (a->range + 1) * sizeof *a->head);
	for (size_t i = 0; i < n; i++) {
		uint32_t *head = &a->head[keys[i] - a->base];
		a->next[i] = *head;
		chained &= *head;
		*head = (uint32_t)i;
	}
	a->distinct = chained == NO_ROW;
}

static inline size_t place_of(const array *a, ldb_key key)
{
	const size_t place = (size_t)(key - a->base);
	return place < a->range ? place : a->range;
}

/* Up to LDB_SINK_ROOM probes, whose entries are asked for before the first is read. */
static inline void probe_group(const array *a, const ldb_key *keys, size_t from, size_t count,
			       ldb_sink *sink)
{
	size_t place[LDB_SINK_ROOM];
	for (size_t i = 0; i < count; i++) {
		place[i] = place_of(a, keys[from + i]);
		ldb_prefetch(a->head, place[i] * sizeof *a->head);
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t row = a->head[place[i]];
		ldb_sink_put(sink, row, (uint32_t)(from + i), row != NO_ROW);
	}
	ldb_sink_check(sink);
	for (size_t i = 0; i < count && !a->distinct; i++) {
		uint32_t row = a->head[place[i]];
		while (row != NO_ROW && (row = a->next[row]) != NO_ROW)
			ldb_sink_add(sink, row, (uint32_t)(from + i));
	}
}

static void *probe_share(void *argument)
{
	share *s = argument;
	const ldb_key *keys = s->input->probe;
	ldb_sink sink;
	ldb_sink_open(&sink, s->input, s->used);
	size_t i = s->from;
	for (; s->to - i >= LDB_SINK_ROOM; i += LDB_SINK_ROOM)
		probe_group(s->array, keys, i, LDB_SINK_ROOM, &sink);
	probe_group(s->array, keys, i, s->to - i, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void build_and_probe(const ldb_join_input *input, array *a, ldb_join_result *out)
{
	share shares[LDB_PARTS_MAX];
	atomic_size_t used = 0;
	const size_t threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
	uint64_t time = ldb_phase_start();
	fill(a, input->build, input->build_n);
	ldb_phase_end(out, LDB_PHASE_BUILD, &time);
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.input = input,
				    .array = a,
				    .from = input->probe_n * t / threads,
				    .to = input->probe_n * (t + 1) / threads,
				    .used = &used};
	ldb_run_parts(probe_share, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
	ldb_phase_end(out, LDB_PHASE_PROBE, &time);
}

/* The least and the largest key of n > 0. */
static void range_of(const ldb_join_input *input, ldb_key *least, ldb_key *largest)
{
	const ldb_key *keys = input->build;
	*least = keys[0];
	*largest = keys[input->build_n - 1];
	if (input->build_sorted)
		return;
	for (size_t i = 0; i < input->build_n; i++) {
		*least = keys[i] < *least ? keys[i] : *least;
		*largest = keys[i] > *largest ? keys[i] : *largest;
	}
}

static ldb_status array_join(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	const size_t n = input->build_n;
	if (!n || !input->probe_n)
		return LDB_OK;
	ldb_key least, largest;
	range_of(input, &least, &largest);
	if ((double)(largest - least) + 1 > input->params[PARAM_SPREAD] * (double)n)
		return ldb_fail(err, LDB_UNSUPPORTED, "use a hash join, or a larger spread",
				"array_join: range of the build keys", "%.3g times their number",
				((double)(largest - least) + 1) / (double)n);
	array a = {.base = least, .range = (size_t)(largest - least) + 1};
	const size_t head_bytes = (a.range + 1) * sizeof *a.head, next_bytes = n * sizeof *a.next;
	a.head = ldb_alloc(head_bytes);
	a.next = ldb_alloc(next_bytes);
	ldb_status status = LDB_OK;
	if (a.head && a.next)
		build_and_probe(input, &a, out);
	else
		status = ldb_fail_oom(err, "array_join", head_bytes + next_bytes);
	ldb_free(a.head, head_bytes);
	ldb_free(a.next, next_bytes);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "array_join",
	.summary = "an array of rows, one entry for each possible build key; dense keys only",
	.origin = "Schuh, Chen, Dittrich, SIGMOD 2016",
	.flags = LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 68, /* of the build side, at the default spread */
	.join = array_join,
};
LDB_EXPORT_JOIN(table)
