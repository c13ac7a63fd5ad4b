/*
 * One cell under callgrind, for scripts/perf-counts: builds an index, then collects events only
 * while a fixed number of operations runs. Without valgrind it does the same and counts nothing.
 *
 *   count_operations INDEX DATASET N independent|chained|batched|MIX OPS
 *
 * MIX is a workload of operations (mix50, ..): half the keys are there before, the others come in.
 * Answers are checked as they are in a run: a wrong one ends it with exit code 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

#include "dataset.h"
#include "names.h"
#include "plan.h"
#include "query.h"
#include "registry.h"
#include "stream.h"

enum { BLOCK = 256 };

static int complain(const ldb_error *err)
{
	fprintf(stderr, "count_operations: %s: %s; %s\n", err->subject, err->value, err->remedy);
	return 2;
}

/* Answers of lookups, compared with the oracle. */
static bool count_lookups(const ldb_competitor *c, const ldb_dataset *data, const char *mode,
			  size_t ops, ldb_error *err)
{
	ldb_key *q = malloc(ops * sizeof *q);
	ldb_val *out = malloc(ops * sizeof *out);
	size_t *rank = malloc(ops * sizeof *rank);
	const ldb_workload uniform = {.kind = LDB_UNIFORM};
	void *self = NULL;
	bool good = q && out && rank &&
		    c->index->build(&self, data->keys, data->n, c->params, err) == LDB_OK;
	if (good) {
		ldb_workload_draw(&uniform, data->keys, data->n, LDB_KEY_MAX, 1, q, rank, ops);
		const bool chained = strcmp(mode, "chained") == 0;
		for (size_t i = ops; chained && i-- > 1;)
			q[i] -= ldb_chain_step(rank[i - 1]);
		CALLGRIND_TOGGLE_COLLECT;
		for (size_t at = 0; at < ops; at += BLOCK) {
			const size_t count = ops - at < BLOCK ? ops - at : BLOCK;
			if (chained)
				c->index->chase(self, q + at, count, at ? out[at - 1] : 0,
						out + at);
			else if (strcmp(mode, "batched") == 0 && c->index->lookup_batch)
				c->index->lookup_batch(self, q + at, count, out + at);
			else
				c->index->lookup(self, q + at, count, out + at);
		}
		CALLGRIND_TOGGLE_COLLECT;
		for (size_t i = 0; i < ops; i++)
			good = good && out[i] == rank[i];
		c->index->destroy(self);
	}
	free(q);
	free(out);
	free(rank);
	return good;
}

static bool count_mix(const ldb_competitor *c, const ldb_dataset *data, const ldb_mix *mix,
		      size_t ops, ldb_error *err)
{
	ldb_stream *s;
	void *self = NULL;
	ldb_val out[BLOCK];
	uint64_t sum = 0;
	if (!c->index->apply || ldb_stream_make(data->keys, data->n, ops, &s, err) != LDB_OK)
		return false;
	ldb_stream_draw(s, mix, mix->scan_length, 0.5, 1, ops, 1);
	bool good = c->index->build(&self, s->initial, s->initial_n, c->params, err) == LDB_OK;
	for (size_t at = 0; good && at < s->count[0]; at += BLOCK) {
		const size_t left = s->count[0] - at, count = left < BLOCK ? left : BLOCK;
		CALLGRIND_TOGGLE_COLLECT;
		good = c->index->apply(self, s->ops + at, count, out, err) == count;
		CALLGRIND_TOGGLE_COLLECT;
		sum += ldb_stream_fold(s->ops + at, out, count, 1);
	}
	good = good && sum == s->sum[0];
	if (self)
		c->index->destroy(self);
	ldb_stream_free(s);
	return good;
}

int main(int argc, char **argv)
{
	size_t n, ops;
	if (argc != 6 || !ldb_size_parse(argv[3], &n) || !ldb_size_parse(argv[5], &ops)) {
		fprintf(stderr, "usage: count_operations INDEX DATASET N MODE|MIX OPS\n");
		return 2;
	}
	ldb_competitor c;
	ldb_dataset data;
	ldb_error err = {.subject = "count_operations", .value = "no memory, or a wrong answer"};
	const ldb_dataset_options options = {.pages = LDB_PAGES_4K, .seed = 42};
	if (ldb_competitor_open(LDB_INDEX, argv[1], &c, &err) != LDB_OK ||
	    ldb_dataset_load(argv[2], n, &options, &data, &err) != LDB_OK)
		return complain(&err);
	const ldb_mix *mix = ldb_mixes;
	while (mix->name && strcmp(mix->name, argv[4]) != 0)
		mix++;
	const bool good = mix->name ? count_mix(&c, &data, mix, ops, &err)
				    : count_lookups(&c, &data, argv[4], ops, &err);
	ldb_dataset_free(&data);
	return good ? 0 : (complain(&err), 1);
}
