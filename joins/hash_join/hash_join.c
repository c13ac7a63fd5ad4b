/*
 * hash_join: one hash table over the whole build side, probed by all rows of the other, with a
 * Bloom filter before each slot. No partitions: the fair default, as a partitioned join is ahead of
 * it only where both sides are large and most rows match (Bandle, Giceva, Neumann, To Partition, or
 * Not to Partition, That is the Join Question in a Real System, SIGMOD 2021).
 *
 * The table is that of ldb/tuple_table.h. Cache misses are overlapped by groups of rows that go
 * through the same steps together (Chen, Ailamaki, Gibbons, Mowry, ICDE 2004). Each thread fills
 * its share of the slots, for which it looks at all build rows, and then probes its share of the
 * probe side.
 */
#include "ldb/parts.h"
#include "ldb/tuple_table.h"

typedef struct {
	const ldb_join_input *input;
	ldb_tuple_table *table;
	size_t slot, slot_end; /* share of the slots */
	size_t tuples, start;  /* in it, and before it */
	size_t from, to;       /* share of the probe side */
	atomic_size_t *used;
	ldb_join_result result;
} share;

static void *count_share(void *argument)
{
	share *s = argument;
	const ldb_side build = {s->input->build, NULL};
	s->tuples = ldb_table_count(s->table, &build, s->input->build_n, s->slot, s->slot_end);
	return NULL;
}

static void *fill_share(void *argument)
{
	share *s = argument;
	const ldb_side build = {s->input->build, NULL};
	ldb_table_fill(s->table, &build, s->input->build_n, s->slot, s->slot_end, s->start);
	return NULL;
}

static void *probe_share(void *argument)
{
	share *s = argument;
	const ldb_side probe = {s->input->probe, NULL};
	ldb_sink sink;
	ldb_sink_open(&sink, s->input, s->used);
	ldb_table_probe(s->table, &probe, s->from, s->to, false, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void build_and_probe(const ldb_join_input *input, ldb_tuple_table *table,
			    ldb_join_result *out)
{
	share shares[LDB_PARTS_MAX];
	atomic_size_t used = 0;
	const size_t threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
	uint64_t time = ldb_phase_start();
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.input = input,
				    .table = table,
				    .slot = table->slots * t / threads,
				    .slot_end = table->slots * (t + 1) / threads,
				    .from = input->probe_n * t / threads,
				    .to = input->probe_n * (t + 1) / threads,
				    .used = &used};
	table->directory[0] = 0;
	ldb_run_parts(count_share, shares, sizeof *shares, threads);
	for (size_t t = 1; t < threads; t++)
		shares[t].start = shares[t - 1].start + shares[t - 1].tuples;
	ldb_run_parts(fill_share, shares, sizeof *shares, threads);
	ldb_phase_end(out, LDB_PHASE_BUILD, &time);
	ldb_run_parts(probe_share, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
	ldb_phase_end(out, LDB_PHASE_PROBE, &time);
}

static ldb_status hash_join(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	const size_t n = input->build_n, slots = ldb_table_slots(n);
	ldb_tuple_table table = {.slots = slots, .count = n};
	table.directory = ldb_alloc(ldb_directory_bytes(slots));
	table.tuples = ldb_alloc(ldb_tuples_bytes(n));
	ldb_status status = LDB_OK;
	if (table.directory && table.tuples)
		build_and_probe(input, &table, out);
	else
		status = ldb_fail_oom(err, "hash_join: table",
				      ldb_directory_bytes(slots) + ldb_tuples_bytes(n));
	ldb_free(table.directory, ldb_directory_bytes(slots));
	ldb_free(table.tuples, ldb_tuples_bytes(n));
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "hash_join",
	.summary = "one hash table with a Bloom filter in its directory, probed in groups",
	.origin = "Birler, Schmidt, Fent, Neumann, DaMoN 2024; Chen et al., ICDE 2004",
	.flags = LDB_THREADS,
	.peak_bytes_per_key = 26, /* of the build side */
	.join = hash_join,
};
LDB_EXPORT_JOIN(table)
