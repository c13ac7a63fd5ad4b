/*
 * Joins as a kind of work (kind.h): a pass joins the two sides of its workload (sides.h) from the
 * keys to the last match, again and again until it is long enough. One operation is a row of either
 * side. Modes: `count` adds up the matches and their checksum, `pairs` also writes them down.
 *
 * The first join of a pass is not timed: it leaves its memory to those that follow, so that no page
 * fault is in their time, as a database has its work memory, and the caches as warm for all.
 *
 * Sides are drawn by the conductor for each round into shared memory; a worker copies them into
 * memory under the run's page policy before it starts the clock, as shared memory has no huge
 * pages.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kind.h"
#include "lanes.h"
#include "sides.h"

enum { MOST_REPEATS = 1000 };

typedef struct {
	ldb_sides *sides;
	ldb_error
		problem; /* of the last draw; in shared memory it is not, so it fails the passes */
	bool failed;
} joins;

/* --- the conductor's side --------------------------------------------------------------------- */

static ldb_sides_spec spec_of(const ldb_workload *workload)
{
	ldb_sides_spec spec;
	ldb_sides_parse(workload->name, &spec);
	return spec;
}

/* The most rows that any workload of the experiment has on its probe side. */
static size_t most_probes(const ldb_stage *s)
{
	size_t most = 0;
	for (size_t i = 0; i < s->experiment->workload_count; i++) {
		const ldb_sides_spec spec = spec_of(&s->experiment->workloads[i]);
		const size_t rows = ldb_sides_probe_rows(&spec, s->n);
		most = rows > most ? rows : most;
	}
	return most;
}

/* Shared, and the scratch to draw them; a worker's copy counts as its own. */
static size_t joins_bytes(const ldb_stage *s)
{
	return 2 * ldb_sides_bytes(s->n, most_probes(s));
}

static size_t joins_rows(const ldb_stage *s)
{
	return s->n + most_probes(s);
}

static void joins_release(ldb_inputs *in)
{
	joins *j = in->own;
	if (!j)
		return;
	ldb_sides_free(j->sides);
	free(j);
	in->own = NULL;
}

static ldb_status joins_prepare(ldb_inputs *in, ldb_error *err)
{
	const ldb_experiment *e = in->stage->experiment;
	joins *j = calloc(1, sizeof *j);
	if (!j)
		return ldb_fail_oom(err, "sides of a join", sizeof *j);
	in->own = j;
	for (size_t i = 0; i < e->workload_count; i++) {
		const ldb_sides_spec spec = spec_of(&e->workloads[i]);
		const ldb_status status = ldb_sides_check(&spec, in->stage->dataset, err);
		if (status != LDB_OK)
			return status;
	}
	return ldb_sides_make(in->stage->n, most_probes(in->stage), &j->sides, err);
}

static const char *joins_refusal(const ldb_inputs *in, const ldb_competitor *who,
				 const ldb_point *at)
{
	(void)in;
	return at->threads > 1 && !(who->flags & LDB_THREADS) ? "joins by one thread only" : NULL;
}

static void draw(ldb_inputs *in, const ldb_workload *workload, uint64_t seed)
{
	joins *j = in->own;
	const ldb_sides_spec spec = spec_of(workload);
	if (ldb_sides_draw(j->sides, &spec, in->stage->dataset, &in->data, seed, &j->problem) !=
	    LDB_OK)
		j->sides->build_n = j->sides->probe_n = 0; /* a pass over nothing is refused */
}

static void joins_draw_point(ldb_inputs *in, const ldb_point *at, uint64_t seed)
{
	draw(in, at->workload, seed);
}

/* Its positions are the workloads. */
static size_t joins_draw_verification(ldb_inputs *in, size_t first, bool exhaustive)
{
	const ldb_experiment *e = in->stage->experiment;
	(void)exhaustive;
	draw(in, &e->workloads[first], e->seed);
	return e->workload_count;
}

static void joins_command(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
			  ldb_command *out)
{
	(void)in, (void)who;
	out->threads = at->threads;
}

static size_t joins_pass_ops(const ldb_inputs *in, const ldb_point *at)
{
	(void)at;
	return in->stage->n;
}

static uint64_t joins_expected(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply)
{
	const joins *j = in->own;
	(void)c, (void)reply;
	return j->sides->checksum;
}

/* --- in the worker ---------------------------------------------------------------------------- */

/* A pass's own copy of the sides, and room for the matches where they are asked for. */
typedef struct {
	ldb_key *build, *probe;
	ldb_match *matches;
	size_t build_bytes, probe_bytes, match_bytes;
} copies;

static void drop_copies(copies *own)
{
	ldb_unmap(own->build, own->build_bytes);
	ldb_unmap(own->probe, own->probe_bytes);
	ldb_unmap(own->matches, own->match_bytes);
}

static bool take_copies(const ldb_job *job, const ldb_sides *s, bool pairs, copies *own)
{
	*own = (copies){.build_bytes = s->build_n * sizeof *own->build,
			.probe_bytes = s->probe_n * sizeof *own->probe,
			.match_bytes = pairs ? s->count * sizeof *own->matches : 0};
	own->build = ldb_map(own->build_bytes, job->pages, NULL);
	own->probe = ldb_map(own->probe_bytes, job->pages, NULL);
	if (pairs)
		own->matches = ldb_map(own->match_bytes, job->pages, NULL);
	if (!own->build || !own->probe || (pairs && !own->matches)) {
		drop_copies(own);
		return false;
	}
	memcpy(own->build, s->build, own->build_bytes);
	memcpy(own->probe, s->probe, own->probe_bytes);
	if (pairs) /* no page faults in the timed part */
		memset(own->matches, 0xff, own->match_bytes);
	return true;
}

typedef struct {
	const ldb_job *job;
	ldb_join_input input;
	ldb_join_result result;
	ldb_status status;
	ldb_error err;
} work;

static void warm_join(void *argument, size_t lane)
{
	const work *w = argument;
	(void)lane;
	ldb_pin_several(w->input.threads); /* those that the join starts inherit it */
}

static void join_once(void *argument, size_t lane)
{
	work *w = argument;
	(void)lane;
	w->result = (ldb_join_result){0};
	w->status = w->job->competitor->join->join(&w->input, &w->result, &w->err);
}

/* What is wrong with a join that came back, into the reply. */
static void check(const work *w, const ldb_sides *s, ldb_reply *reply)
{
	uint64_t sum = 0;
	for (size_t i = 0; w->input.matches && i < s->count && w->status == LDB_OK; i++)
		sum += ldb_match_hash(w->input.matches[i].build_row, w->input.matches[i].probe_row);
	if (w->status != LDB_OK) {
		reply->status = ldb_row_status_of(w->status);
		snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", w->err.subject,
			 w->err.value, w->err.remedy);
	} else if (w->result.count != s->count) {
		reply->status = LDB_ROW_WRONG;
		snprintf(reply->note, sizeof reply->note, "%llu matches, expected %llu",
			 (unsigned long long)w->result.count, (unsigned long long)s->count);
	} else if (w->input.matches && sum != s->checksum) {
		reply->status = LDB_ROW_WRONG;
		snprintf(reply->note, sizeof reply->note, "not the matches that it counted");
	}
	reply->checksum = w->result.checksum;
}

static ldb_join_input input_of(const ldb_job *job, const ldb_sides *s, const copies *own,
			       size_t threads)
{
	const ldb_competitor *c = job->competitor;
	return (ldb_join_input){.build = own->build,
				.probe = own->probe,
				.build_n = s->build_n,
				.probe_n = s->probe_n,
				.build_sorted = s->build_sorted,
				.probe_sorted = s->probe_sorted,
				.threads = threads,
				.params = c->params,
				.matches = own->matches,
				.index = c->used_index,
				.sort = c->used_sort,
				.index_params = c->used_params[LDB_INDEX],
				.sort_params = c->used_params[LDB_SORT]};
}

/* The phases' mean time, in ns for each row: model, partition, build, probe. */
static void note_phases(const double *phase_ns, double rows, ldb_reply *reply)
{
	const size_t length = strlen(reply->note);
	snprintf(reply->note + length, sizeof reply->note - length, "%sphases=%.4g/%.4g/%.4g/%.4g",
		 length ? "; " : "", phase_ns[LDB_PHASE_MODEL] / rows,
		 phase_ns[LDB_PHASE_PARTITION] / rows, phase_ns[LDB_PHASE_BUILD] / rows,
		 phase_ns[LDB_PHASE_PROBE] / rows);
}

static void run_joins(work *w, const ldb_command *c, ldb_reply *reply)
{
	const ldb_sides *s = ((const joins *)w->job->inputs->own)->sides;
	const double least_ns = w->job->inputs->stage->experiment->pass_ms * 1e6;
	const double rows = (double)(s->build_n + s->probe_n);
	const ldb_lanes lanes = {
		.warm = warm_join, .run = join_once, .work = w, .threads = 1, .round = c->round};
	double phase_ns[LDB_PHASES] = {0};
	reply->build_ns = 0;
	const ldb_join *join = w->job->competitor->join;
	warm_join(w, 0);
	w->status = join->load ? join->load(&w->input, &w->err) : LDB_OK;
	if (w->status == LDB_OK)
		join_once(w, 0);
	check(w, s, reply);
	while (reply->status == LDB_ROW_OK && c->kind == LDB_PASS && reply->elapsed_ns < least_ns &&
	       reply->repeats < MOST_REPEATS) {
		ldb_run_lanes(&lanes, reply);
		check(w, s, reply);
		reply->ops += rows;
		reply->repeats++;
		for (int p = 0; p < LDB_PHASES; p++)
			phase_ns[p] += w->result.phase_ns[p];
	}
	ldb_pin_several(1);
	if (reply->status != LDB_ROW_OK || !reply->repeats)
		return;
	if (join->load) { /* another process works while this one waits; phases are not known */
		reply->build_ns = reply->index_bytes = NAN;
		reply->own_cpu_ns = reply->elapsed_ns;
		return;
	}
	reply->build_ns = (phase_ns[LDB_PHASE_MODEL] + phase_ns[LDB_PHASE_PARTITION] +
			   phase_ns[LDB_PHASE_BUILD]) /
			  (double)reply->repeats;
	reply->index_bytes = (double)(ldb_alloc_peak() - w->job->held_before);
	if (c->threads == 1)
		ldb_check_hidden_threads(1, reply);
	note_phases(phase_ns, reply->ops, reply);
}

static void joins_pass(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const ldb_sides *s = ((const joins *)job->inputs->own)->sides;
	copies own;
	(void)self;
	if (!s->build_n && !s->probe_n) {
		reply->status = LDB_ROW_ERROR;
		snprintf(reply->note, sizeof reply->note,
			 "its sides could not be made; is there memory, and scripts/tpch run?");
		return;
	}
	if (!take_copies(job, s, c->mode == LDB_PAIRS, &own)) {
		reply->status = LDB_ROW_OOM;
		snprintf(reply->note, sizeof reply->note, "no memory for its sides and matches");
		return;
	}
	ldb_alloc_reset_peak();
	work w = {.job = job, .input = input_of(job, s, &own, c->threads)};
	ldb_alloc_keep(true);
	run_joins(&w, c, reply);
	ldb_alloc_keep(false);
	drop_copies(&own);
}

/* There is nothing to keep between passes: built means it is there. */
static void joins_build(const ldb_job *job, bool validate, void **self, ldb_reply *reply)
{
	(void)job, (void)validate, (void)self;
	reply->index_bytes = 0;
	reply->build_ns = 0;
	reply->floor_ns = 0;
}

/* Each pass is checked as a whole; here one join by each number of threads, without timing. */
static void joins_verify(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const ldb_experiment *e = job->inputs->stage->experiment;
	const ldb_sides *s = ((const joins *)job->inputs->own)->sides;
	ldb_command once = *c;
	for (size_t t = 0; t < e->thread_count && reply->status == LDB_ROW_OK; t++) {
		once.threads = e->threads[t];
		if (once.threads == 1 || job->competitor->flags & LDB_THREADS)
			joins_pass(job, self, &once, reply);
	}
	if (reply->status == LDB_ROW_OK && reply->checksum != s->checksum) {
		reply->status = LDB_ROW_WRONG;
		snprintf(reply->note, sizeof reply->note, "checksum %016llx, expected %016llx",
			 (unsigned long long)reply->checksum, (unsigned long long)s->checksum);
	}
}

const ldb_kind ldb_joins = {
	.bytes = joins_bytes,
	.rows = joins_rows,
	.prepare = joins_prepare,
	.release = joins_release,
	.refusal = joins_refusal,
	.draw_point = joins_draw_point,
	.draw_verification = joins_draw_verification,
	.verification_chunk = 1,
	.verified_name = "joins",
	.command = joins_command,
	.pass_ops = joins_pass_ops,
	.builds_anew = true,
	.threads_of_its_own = true,
	.expected = joins_expected,
	.build = joins_build,
	.verify = joins_verify,
	.pass = joins_pass,
};
