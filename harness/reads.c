/*
 * Reads: lookups of a built index, in five modes, as a kind of work (kind.h). Queries and what
 * must be answered are drawn by the conductor (query.h); this asks them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "fence.h"
#include "kind.h"
#include "lanes.h"
#include "progress.h"
#include "query.h"

enum {
	BLOCK = 1024,      /* queries per call of a competitor: queries and answers fit in L1 */
	COLD_LOOKUPS = 64, /* of a pass: filling the caches takes thousands of times as long */
};

typedef struct {
	ldb_payload payload;
	ldb_queries queries;
	uint32_t *keys32; /* the keys again, for plug-ins of that width; NULL: none, or they don't
			     fit */
} reads;

/* --- the conductor's side --------------------------------------------------------------------- */

static size_t reads_bytes(const ldb_stage *s)
{
	const size_t copy_bytes = ldb_has_key_bits(s->experiment, 32) ? s->n * sizeof(uint32_t) : 0;
	return s->n * s->payload_bytes + copy_bytes + ldb_query_bytes(s->experiment);
}

static void reads_release(ldb_inputs *in)
{
	reads *r = in->own;
	if (!r)
		return;
	ldb_queries_free(&r->queries);
	ldb_payload_free(&r->payload);
	ldb_unmap(r->keys32, in->data.n * sizeof *r->keys32);
	free(r);
	in->own = NULL;
}

/* Then all queries are of 32 bits, too: every competitor is asked the same. */
static ldb_status copy_keys32(reads *r, const ldb_inputs *in, ldb_error *err)
{
	const ldb_dataset *data = &in->data;
	if (data->n && data->keys[data->n - 1] > UINT32_MAX) {
		ldb_say("unsupported: %s has keys of more than 32 bits; %s_uint32 is the same "
			"keys, cut to fit",
			data->name, data->name);
		return LDB_OK;
	}
	r->keys32 = ldb_map(data->n * sizeof *r->keys32, in->stage->pages, err);
	if (!r->keys32)
		return LDB_OOM;
	for (size_t i = 0; i < data->n; i++)
		r->keys32[i] = (uint32_t)data->keys[i];
	r->queries.largest = UINT32_MAX;
	return LDB_OK;
}

static ldb_status reads_prepare(ldb_inputs *in, ldb_error *err)
{
	const ldb_stage *s = in->stage;
	reads *r = calloc(1, sizeof *r);
	if (!r)
		return ldb_fail_oom(err, "queries", sizeof *r);
	in->own = r;
	ldb_status status = ldb_payload_make(s->n, s->payload_bytes, s->pages, &r->payload, err);
	if (status == LDB_OK)
		status = ldb_queries_make(s->experiment, &r->queries, err);
	if (status == LDB_OK && ldb_has_key_bits(s->experiment, 32))
		status = copy_keys32(r, in, err);
	return status;
}

static const char *reads_refusal(const ldb_inputs *in, const ldb_competitor *who,
				 const ldb_point *at)
{
	if (who->key_bits == 32 && !((const reads *)in->own)->keys32)
		return "keys of more than 32 bits";
	if (in->duplicates && !(who->flags & LDB_DUPLICATES))
		return "takes no duplicate keys";
	if (at->workload->kind == LDB_LOWER_BOUND && !(who->flags & LDB_ORDERED))
		return "answers get, not lower bound";
	if (at->threads > 1 && !(who->flags & LDB_THREADS))
		return "reads by one thread only";
	if (at->threads > 1 && at->mode == LDB_COLD)
		return "cold lookups are timed one by one, by one thread";
	return NULL;
}

static void reads_draw_round(ldb_inputs *in, uint64_t seed)
{
	reads *r = in->own;
	ldb_queries_draw(&r->queries, &in->data, &r->payload, seed);
}

static size_t reads_draw_verification(ldb_inputs *in, size_t first, bool exhaustive)
{
	reads *r = in->own;
	return ldb_queries_draw_verification(&r->queries, &in->data, first, exhaustive);
}

static void reads_command(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
			  ldb_command *out)
{
	const reads *r = in->own;
	const bool ordered = who->flags & LDB_ORDERED;
	out->set = (size_t)(ldb_query_find(&r->queries, at->workload, ordered,
					   at->mode == LDB_CHAINED, who->key_bits) -
			    r->queries.sets);
	out->warm_ops = at->mode == LDB_COLD ? 0 : out->ops / 10;
}

static size_t reads_pass_ops(const ldb_inputs *in, const ldb_point *at)
{
	const size_t ops = in->stage->experiment->ops;
	return ops || at->mode != LDB_COLD ? ops : COLD_LOOKUPS;
}

static uint64_t reads_expected(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply)
{
	const reads *r = in->own;
	const ldb_query_set *set = &r->queries.sets[c->set];
	uint64_t want = 0;
	(void)reply;
	for (size_t t = 0; t < c->threads; t++)
		want += ldb_query_sum(set, ldb_query_start(set, t, c->threads), c->ops);
	return want;
}

/* --- in the worker ---------------------------------------------------------------------------- */

/* One lookup a call, and none begins before the last has ended. */
static void ask_fenced(const ldb_index *index, const void *self, const ldb_query_set *set,
		       size_t at, size_t n, ldb_val *out)
{
	for (size_t i = 0; i < n; i++) {
		index->lookup(self, ldb_query_at(set, at + i), 1, out + i);
		ldb_fence();
	}
}

/*
 * The same from empty caches; adds the time of the lookups alone, that of the clock taken off: the
 * least that it cost, as an interrupt between two readings would make the lookups' time negative.
 */
static void ask_cold(const ldb_index *index, const void *self, const ldb_query_set *set, size_t at,
		     size_t n, ldb_val *out, const ldb_filler *filler, double *timed_ns)
{
	void (*const lookup)(const void *, const ldb_key *, size_t, ldb_val *) = index->lookup;
	uint64_t least = UINT64_MAX;
	for (size_t i = 0; i < n; i++) {
		const ldb_key *q = ldb_query_at(set, at + i);
		ldb_fill_caches(filler);
		/* Query, answer, table and clock are the harness's: they are there. */
		out[i] = ldb_query_number(set, at + i);
		ldb_now_ns();
		ldb_fence();
		const uint64_t start = ldb_now_ns();
		ldb_fence();
		const uint64_t empty = ldb_now_ns();
		ldb_fence();
		lookup(self, q, 1, out + i);
		ldb_fence();
		const uint64_t end = ldb_now_ns();
		*timed_ns += (double)(end - empty);
		if (empty - start < least)
			least = empty - start;
	}
	*timed_ns -= n ? (double)n * (double)least : 0;
}

/* Asks `ops` queries of the set from `start` on, cyclic; returns the checksum of the answers. */
static uint64_t ask(const ldb_job *job, const void *self, const ldb_query_set *set, ldb_mode mode,
		    size_t start, size_t ops, double *cold_ns)
{
	const ldb_index *index = job->competitor->index;
	const reads *r = job->inputs->own;
	_Alignas(64) ldb_val out[BLOCK];
	ldb_val carry = set->answer[start ? start - 1 : set->count - 1];
	void (*lookup)(const void *, const ldb_key *, size_t, ldb_val *) = index->lookup;
	if (mode == LDB_BATCHED && index->lookup_batch)
		lookup = index->lookup_batch;
	uint64_t sum = 0;
	for (size_t done = 0, at = start; done < ops;) {
		size_t length = ops - done < BLOCK ? ops - done : BLOCK;
		if (length > set->count - at)
			length = set->count - at;
		if (mode == LDB_CHAINED) {
			index->chase(self, ldb_query_at(set, at), length, carry, out);
			carry = out[length - 1];
		} else if (mode == LDB_FENCED) {
			ask_fenced(index, self, set, at, length, out);
		} else if (mode == LDB_COLD) {
			ask_cold(index, self, set, at, length, out, ldb_filler_get(), cold_ns);
		} else {
			lookup(self, ldb_query_at(set, at), length, out);
		}
		sum += ldb_query_fold(set, at, out, length, &r->payload);
		done += length;
		at += length;
		if (at == set->count)
			at = 0;
	}
	return sum;
}

/* A pass: what its lanes ask, and what was answered. */
typedef struct {
	const ldb_job *job;
	const void *self;
	const ldb_command *command;
	const ldb_query_set *set;
	double cold_ns; /* of the lookups alone */
	struct {
		_Alignas(64) uint64_t checksum;
	} lane[LDB_MAX_THREADS];
} asking;

static void warm_lane(void *work, size_t lane)
{
	const asking *a = work;
	const size_t start = ldb_query_start(a->set, lane, a->command->threads);
	/* Half the set away, so that the timed queries are not those just asked. */
	ask(a->job, a->self, a->set, a->command->mode, (start + a->set->count / 2) % a->set->count,
	    a->command->warm_ops, NULL);
}

static void ask_lane(void *work, size_t lane)
{
	asking *a = work;
	const size_t start = ldb_query_start(a->set, lane, a->command->threads);
	a->lane[lane].checksum =
		ask(a->job, a->self, a->set, a->command->mode, start, a->command->ops, &a->cold_ns);
}

/* Of a cold pass only the lookups' time is known: all else was spent on filling the caches, too. */
static void keep_lookups_only(double cold_ns, ldb_reply *reply)
{
	reply->elapsed_ns = cold_ns > 1 ? cold_ns : 1;
	reply->cpu_ns = reply->own_cpu_ns = NAN;
	for (int i = 0; i < LDB_COUNTERS; i++)
		reply->counters[i] = NAN;
}

static void reads_pass(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	static asking a;
	const reads *r = job->inputs->own;
	a = (asking){.job = job, .self = *self, .command = c, .set = &r->queries.sets[c->set]};
	const ldb_lanes lanes = {.warm = warm_lane,
				 .run = ask_lane,
				 .work = &a,
				 .threads = c->threads,
				 .round = c->round};
	if (c->mode == LDB_COLD && !ldb_filler_get()) {
		reply->status = LDB_ROW_OOM;
		snprintf(reply->note, sizeof reply->note, "no memory to fill the caches with");
		return;
	}
	ldb_run_lanes(&lanes, reply);
	for (size_t t = 0; t < c->threads; t++)
		reply->checksum += a.lane[t].checksum;
	ldb_check_hidden_threads(c->threads, reply);
	if (c->mode == LDB_COLD)
		keep_lookups_only(a.cold_ns, reply);
	reply->ops = (double)c->ops * (double)c->threads;
	reply->index_bytes = (double)(ldb_alloc_held() - job->held_before);
}

/* What copying and folding cost: no index can be faster. */
static double measure_floor(const ldb_job *job)
{
	const reads *r = job->inputs->own;
	const ldb_query_set *set = &r->queries.sets[0];
	_Alignas(64) ldb_val out[BLOCK];
	double best = INFINITY;
	volatile uint64_t sink = 0;
	size_t length = set->count < BLOCK ? set->count : BLOCK;
	for (int i = 0; i < 64; i++) {
		uint64_t start = ldb_now_ns();
		for (int j = 0; j < 8; j++) {
			memcpy(out, set->answer, length * sizeof *out);
			sink = sink + ldb_query_fold(set, 0, out, length, &r->payload);
		}
		double ns = (double)(ldb_now_ns() - start) / (double)(8 * length);
		best = ns < best ? ns : best;
	}
	return best;
}

/* Mean log2 and maximum of the last-mile window's size, over at most a million keys spread evenly.
 */
static void measure_windows(const ldb_job *job, const void *self, ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	void (*window32)(const void *, uint32_t, size_t *, size_t *) =
		(void (*)(const void *, uint32_t, size_t *, size_t *))(void (*)(void))index->window;
	const size_t n = job->inputs->data.n, most = 1000000, count = n < most ? n : most;
	if (!index->window || !count)
		return;
	double sum = 0;
	size_t max = 0;
	for (size_t i = 0; i < count; i++) {
		size_t lo = 0, hi = 0;
		size_t rank = (size_t)((unsigned __int128)i * n / count);
		const ldb_key key = job->inputs->data.keys[rank];
		if (job->competitor->key_bits == 32)
			window32(self, (uint32_t)key, &lo, &hi);
		else
			index->window(self, key, &lo, &hi);
		size_t size = hi - lo + 1;
		sum += log2((double)size);
		max = size > max ? size : max;
	}
	reply->err_log2_mean = sum / (double)count;
	reply->err_max = (double)max;
}

static void reads_build(const ldb_job *job, bool validate, void **self, ldb_reply *reply)
{
	const ldb_dataset *data = &job->inputs->data;
	const reads *r = job->inputs->own;
	const void *keys = job->competitor->key_bits == 32 ? (void *)r->keys32 : data->keys;
	ldb_build_index(job, keys, data->n, validate, self, reply);
	if (reply->status != LDB_ROW_OK)
		return;
	measure_windows(job, *self, reply);
	reply->floor_ns = measure_floor(job);
}

/* Every answer of the set in that mode; the first wrong one into the note. */
static void reads_verify(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	const reads *r = job->inputs->own;
	const ldb_query_set *set = &r->queries.sets[c->set];
	if (index->flags & LDB_REFERENCE_ONLY)
		return;
	_Alignas(64) ldb_val out[BLOCK];
	ldb_val carry = set->answer[set->count - 1];
	for (size_t at = 0; at < set->count; at += BLOCK) {
		size_t length = set->count - at < BLOCK ? set->count - at : BLOCK;
		const ldb_key *q = ldb_query_at(set, at);
		memset(out, 0xa5, sizeof out);
		if (c->mode == LDB_CHAINED)
			index->chase(*self, q, length, carry, out);
		else if (c->mode == LDB_BATCHED && index->lookup_batch)
			index->lookup_batch(*self, q, length, out);
		else if (c->mode == LDB_FENCED || c->mode == LDB_COLD)
			ask_fenced(index, *self, set, at, length, out);
		else
			index->lookup(*self, q, length, out);
		for (size_t i = 0; i < length; i++) {
			ldb_val want = set->answer[at + i];
			if (out[i] == want)
				continue;
			ldb_key key = ldb_query_number(set, at + i);
			if (set->chained)
				key += ldb_chain_step(
					set->answer[at + i ? at + i - 1 : set->count - 1]);
			key &= r->queries.largest;
			char answered[24], expected[24];
			snprintf(answered, sizeof answered, "%llu", (unsigned long long)out[i]);
			snprintf(expected, sizeof expected, "%llu", (unsigned long long)want);
			reply->status = LDB_ROW_WRONG;
			snprintf(reply->note, sizeof reply->note,
				 "%s: key %llu answered %s, expected %s", ldb_mode_name(c->mode),
				 (unsigned long long)key, out[i] == LDB_NONE ? "none" : answered,
				 want == LDB_NONE ? "none" : expected);
			return;
		}
		carry = out[length - 1];
	}
}

const ldb_kind ldb_reads = {
	.bytes = reads_bytes,
	.prepare = reads_prepare,
	.release = reads_release,
	.refusal = reads_refusal,
	.draw_round = reads_draw_round,
	.draw_verification = reads_draw_verification,
	.verification_chunk = LDB_VERIFY_QUERIES,
	.command = reads_command,
	.pass_ops = reads_pass_ops,
	.first_ops = 1024,
	.expected = reads_expected,
	.build = reads_build,
	.verify = reads_verify,
	.pass = reads_pass,
};
