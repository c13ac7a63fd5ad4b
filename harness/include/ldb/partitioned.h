/*
 * Partitioned hash join: both sides are split into parts so small that the hash table over a part
 * of the build side stays in the second-level cache; then the parts are joined one by one. All
 * memory is written in order, and a probe misses no cache.
 *
 * A key's part is chosen by bits of its hash (radix_join) or by a model of the build keys'
 * distribution (learned_radix_join). Where keys lie in clusters that the model can't tell apart, so
 * that a part would be far larger than the others, the hash takes its place.
 *
 * Balkesen, Teubner, Alonso, Oezsu, Main-Memory Hash Joins on Multi-Core CPUs (ICDE 2013); Schuh,
 * Chen, Dittrich, An Experimental Comparison of Thirteen Relational Equi-Joins in Main Memory
 * (SIGMOD 2016): one pass, software write combining. Threads split equal shares of the rows, each
 * to places of its own, and take the parts from a common queue. With few build rows there is one
 * part, and no split.
 */
#ifndef LDB_PARTITIONED_H
#define LDB_PARTITIONED_H

#include "ldb/parts.h"
#include "ldb/tuple_table.h"

enum {
	LDB_PART_TUPLES = 12288,  /* with table and source about half of a cache of 1 MiB */
	LDB_PART_MAX_BITS = 12,   /* LDB_MAX_PARTS */
	LDB_PART_BUCKETS = 256,   /* of the model, for each part */
	LDB_PART_UNEVEN_BITS = 2, /* a part so many times as large as the mean: not by the model */
};

/* A side, split: tuples of part p are [starts[p], starts[p + 1]). */
typedef struct {
	const ldb_key *keys;
	size_t n;
	uint16_t *part; /* of each row */
	ldb_tuple *tuples;
	uint32_t *starts;
} split_side;

typedef struct {
	const ldb_join_input *input;
	unsigned bits;
	ldb_cdf *cdf; /* chooses a key's part; NULL: its hash does */
	size_t threads;
	split_side build, probe;
	uint32_t *at;          /* for each thread and part: how many tuples, then where they go */
	ldb_tuple_line *lines; /* for each thread and part */
	size_t table_tuples;   /* in the largest part */
	uint64_t *directories; /* one for each thread, and the same for tuples */
	ldb_tuple *tuples;
	atomic_size_t next_part, used;
} radix_join;

typedef struct {
	radix_join *join;
	split_side *side; /* that is being split */
	size_t number;
	ldb_join_result result;
} worker;

/* The parts of `count` keys, up to LDB_GROUP. */
static inline void find_parts(const radix_join *join, const ldb_key *keys, size_t count,
			      uint16_t *part)
{
	size_t bucket[LDB_GROUP];
	if (!join->cdf) {
		for (size_t i = 0; i < count; i++)
			part[i] = (uint16_t)(ldb_hash(keys[i]) >> 32 >> (32 - join->bits));
		return;
	}
	const uint64_t share = ((uint64_t)1 << (32 + join->bits)) / join->cdf->buckets;
	ldb_cdf_buckets(join->cdf, keys, count, bucket);
	for (size_t i = 0; i < count; i++)
		part[i] = (uint16_t)(bucket[i] * share >> 32);
}

static inline size_t share_start(const worker *w, size_t number)
{
	return w->side->n * number / w->join->threads;
}

static void *count_parts(void *argument)
{
	const worker *w = argument;
	const unsigned bits = w->join->bits;
	const split_side *side = w->side;
	uint32_t *count = w->join->at + (w->number << bits);
	memset(count, 0, sizeof *count << bits);
	const size_t end = share_start(w, w->number + 1);
	for (size_t i = share_start(w, w->number); i < end; i += LDB_GROUP) {
		const size_t group = end - i < LDB_GROUP ? end - i : LDB_GROUP;
		find_parts(w->join, side->keys + i, group, side->part + i);
		for (size_t k = i; k < i + group; k++)
			count[side->part[k]]++;
	}
	return NULL;
}

static void *split_share(void *argument)
{
	const worker *w = argument;
	const size_t first = w->number << w->join->bits;
	ldb_split(w->side->keys, share_start(w, w->number), share_start(w, w->number + 1),
		  w->side->part, (size_t)1 << w->join->bits, w->join->at + first,
		  w->join->lines + first, w->side->tuples);
	return NULL;
}

static size_t largest_part(const radix_join *join)
{
	const size_t parts = (size_t)1 << join->bits;
	size_t largest = 0;
	for (size_t p = 0; p < parts; p++) {
		size_t count = 0;
		for (size_t t = 0; t < join->threads; t++)
			count += join->at[t * parts + p];
		largest = count > largest ? count : largest;
	}
	return largest;
}

/* Where each part starts, and each thread's share of it. */
static void place_parts(radix_join *join, split_side *side)
{
	const size_t parts = (size_t)1 << join->bits;
	uint32_t start = 0;
	for (size_t p = 0; p < parts; p++) {
		side->starts[p] = start;
		for (size_t t = 0; t < join->threads; t++) {
			uint32_t *at = &join->at[t * parts + p];
			const uint32_t count = *at;
			*at = start;
			start += count;
		}
	}
	side->starts[parts] = start;
}

static void split(radix_join *join, split_side *side, worker *workers)
{
	for (size_t t = 0; t < join->threads; t++)
		workers[t].side = side;
	ldb_run_parts(count_parts, workers, sizeof *workers, join->threads);
	if (side == &join->build && join->cdf &&
	    largest_part(join) >> LDB_PART_UNEVEN_BITS > side->n >> join->bits) {
		join->cdf = NULL;
		ldb_run_parts(count_parts, workers, sizeof *workers, join->threads);
	}
	place_parts(join, side);
	ldb_run_parts(split_share, workers, sizeof *workers, join->threads);
}

/* A side's part: all of it where there is but one. */
static ldb_side part_side(const split_side *side, size_t part, unsigned bits, size_t *n)
{
	if (!bits) {
		*n = side->n;
		return (ldb_side){side->keys, NULL};
	}
	*n = side->starts[part + 1] - side->starts[part];
	return (ldb_side){NULL, side->tuples + side->starts[part]};
}

static void join_part(radix_join *join, size_t part, ldb_tuple_table *table, ldb_sink *sink,
		      ldb_join_result *result)
{
	size_t build_n, probe_n;
	const ldb_side build = part_side(&join->build, part, join->bits, &build_n);
	const ldb_side probe = part_side(&join->probe, part, join->bits, &probe_n);
	uint64_t time = ldb_phase_start();
	table->slots = ldb_table_slots(build_n);
	ldb_table_build(table, &build, build_n);
	ldb_phase_end(result, LDB_PHASE_BUILD, &time);
	ldb_table_probe(table, &probe, 0, probe_n, true, sink);
	ldb_phase_end(result, LDB_PHASE_PROBE, &time);
}

static void *join_parts(void *argument)
{
	worker *w = argument;
	radix_join *join = w->join;
	ldb_tuple_table table = {
		.directory =
			join->directories + w->number * (ldb_table_slots(join->table_tuples) + 1),
		.tuples = join->tuples + w->number * ldb_tuples_room(join->table_tuples),
	};
	ldb_sink sink;
	ldb_sink_open(&sink, join->input, &join->used);
	for (size_t part; (part = atomic_fetch_add(&join->next_part, 1)) < (size_t)1 << join->bits;)
		join_part(join, part, &table, &sink, &w->result);
	ldb_sink_close(&sink, &w->result);
	return NULL;
}

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct {
	void **place;
	size_t bytes;
} need;

static bool take(const need *needs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!(*needs[i].place = ldb_alloc(needs[i].bytes)))
			return false;
	return true;
}

static void give_back(const need *needs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ldb_free(*needs[i].place, needs[i].bytes);
}

static ldb_status no_memory(const need *needs, size_t count, ldb_error *err)
{
	size_t bytes = 0;
	for (size_t i = 0; i < count; i++)
		bytes += needs[i].bytes;
	return ldb_fail_oom(err, "partitioned join", bytes);
}

static ldb_status join_all(radix_join *join, worker *workers, ldb_join_result *out, ldb_error *err)
{
	const size_t slots = ldb_table_slots(join->table_tuples);
	const need needs[] = {
		{(void **)&join->directories, join->threads * ldb_directory_bytes(slots)},
		{(void **)&join->tuples, join->threads * ldb_tuples_bytes(join->table_tuples)},
	};
	enum { NEEDS = sizeof needs / sizeof *needs };
	const bool enough = take(needs, NEEDS);
	if (enough)
		ldb_run_parts(join_parts, workers, sizeof *workers, join->threads);
	give_back(needs, NEEDS);
	for (size_t t = 0; t < join->threads; t++) {
		out->count += workers[t].result.count;
		out->checksum += workers[t].result.checksum;
		for (int p = 0; p < LDB_PHASES; p++)
			out->phase_ns[p] += workers[t].result.phase_ns[p] / (double)join->threads;
	}
	return enough ? LDB_OK : no_memory(needs, NEEDS, err);
}

static ldb_status split_and_join(radix_join *join, worker *workers, ldb_join_result *out,
				 ldb_error *err)
{
	const size_t parts = (size_t)1 << join->bits, all = parts * join->threads;
	split_side *build = &join->build, *probe = &join->probe;
	const need needs[] = {
		{(void **)&build->part, build->n * sizeof *build->part},
		{(void **)&probe->part, probe->n * sizeof *probe->part},
		{(void **)&build->tuples, ldb_tuples_bytes(build->n)},
		{(void **)&probe->tuples, ldb_tuples_bytes(probe->n)},
		{(void **)&build->starts, (parts + 1) * sizeof *build->starts},
		{(void **)&probe->starts, (parts + 1) * sizeof *probe->starts},
		{(void **)&join->at, all * sizeof *join->at},
		{(void **)&join->lines, all * sizeof *join->lines},
	};
	enum { NEEDS = sizeof needs / sizeof *needs };
	ldb_status status = LDB_OOM;
	uint64_t time = ldb_phase_start();
	if (take(needs, NEEDS)) {
		split(join, build, workers);
		split(join, probe, workers);
		for (size_t p = 0; p < parts; p++) {
			const size_t n = build->starts[p + 1] - build->starts[p];
			join->table_tuples = n > join->table_tuples ? n : join->table_tuples;
		}
		ldb_phase_end(out, LDB_PHASE_PARTITION, &time);
		status = join_all(join, workers, out, err);
	} else {
		no_memory(needs, NEEDS, err);
	}
	give_back(needs, NEEDS);
	return status;
}

/* Joins with 2^bits parts, or, with bits == 0, as many as the build side asks for; `cdf` is room
 * for a model to choose them by, or NULL. */
static ldb_status ldb_partitioned_join(const ldb_join_input *input, int bits, ldb_cdf *cdf,
				       ldb_join_result *out, ldb_error *err)
{
	radix_join join = {
		.input = input,
		.bits = bits > 0 ? (unsigned)bits : 0,
		.threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX,
		.build = {.keys = input->build, .n = input->build_n},
		.probe = {.keys = input->probe, .n = input->probe_n},
	};
	while (bits < 1 && join.bits < LDB_PART_MAX_BITS &&
	       input->build_n >> join.bits > LDB_PART_TUPLES)
		join.bits++;
	worker workers[LDB_PARTS_MAX];
	for (size_t t = 0; t < join.threads; t++)
		workers[t] = (worker){.join = &join, .number = t};
	if (join.bits && cdf) {
		uint64_t time = ldb_phase_start();
		ldb_cdf_train(cdf, input->build, input->build_n, input->build_sorted,
			      (size_t)LDB_PART_BUCKETS << join.bits);
		join.cdf = cdf;
		ldb_phase_end(out, LDB_PHASE_MODEL, &time);
	}
	if (join.bits)
		return split_and_join(&join, workers, out, err);
	join.threads = 1;
	join.table_tuples = input->build_n;
	return join_all(&join, workers, out, err);
}

#endif
