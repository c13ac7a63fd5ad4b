/*
 * Sorts, as a kind of work (kind.h). A pass copies the stage's keys, in the order that the workload
 * says, then sorts the copy, which alone is timed, and compares the result with the dataset, key by
 * key. Payloads are positions: each must still be with its key. What is too quick for a pass is
 * done again, with a new copy.
 *
 * The shuffled order is drawn once per stage: all rounds and competitors sort the same array.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kind.h"
#include "lanes.h"
#include "rng.h"

enum { MOST_REPEATS = 1000 };

typedef struct {
	ldb_key *shuffled;
} sorting;

/* --- the conductor's side --------------------------------------------------------------------- */

/* The shuffled keys, and the copy of the one worker that is at work. */
static size_t sorting_bytes(const ldb_stage *s)
{
	return s->n * (sizeof(ldb_key) + sizeof(ldb_pair));
}

static void shuffle(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	for (size_t i = n; i > 1; i--) {
		const size_t other = ldb_rng_below(&rng, i);
		const ldb_key key = keys[i - 1];
		keys[i - 1] = keys[other];
		keys[other] = key;
	}
}

static ldb_status sorting_prepare(ldb_inputs *in, ldb_error *err)
{
	const ldb_stage *s = in->stage;
	sorting *o = calloc(1, sizeof *o);
	if (!o)
		return ldb_fail_oom(err, "sorts", sizeof *o);
	in->own = o;
	o->shuffled = ldb_map(s->n * sizeof *o->shuffled, s->pages, err);
	if (!o->shuffled)
		return LDB_OOM;
	memcpy(o->shuffled, in->data.keys, s->n * sizeof *o->shuffled);
	shuffle(o->shuffled, s->n, s->experiment->seed);
	return LDB_OK;
}

static void sorting_release(ldb_inputs *in)
{
	sorting *o = in->own;
	if (!o)
		return;
	ldb_unmap(o->shuffled, in->stage->n * sizeof *o->shuffled);
	free(o);
	in->own = NULL;
}

static const char *sorting_refusal(const ldb_inputs *in, const ldb_competitor *who,
				   const ldb_point *at)
{
	(void)in;
	if (at->mode == LDB_PAIRS && !who->sort->sort_pairs)
		return "sorts keys only";
	if (at->threads > 1 && !(who->flags & LDB_THREADS))
		return "sorts by one thread only";
	return NULL;
}

/* A verification sorts everything, in every order. */
static size_t sorting_draw_verification(ldb_inputs *in, size_t first, bool exhaustive)
{
	(void)first, (void)exhaustive;
	return in->data.n;
}

static void sorting_command(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
			    ldb_command *out)
{
	(void)in, (void)who;
	out->order = at->workload ? at->workload->kind : LDB_SHUFFLED;
}

static size_t sorting_pass_ops(const ldb_inputs *in, const ldb_point *at)
{
	(void)at;
	return in->data.n;
}

static uint64_t sorting_expected(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply)
{
	(void)c, (void)reply;
	return in->data.checksum;
}

/* --- in the worker ---------------------------------------------------------------------------- */

/* One array to sort, and how. */
typedef struct {
	const ldb_job *job;
	ldb_mode mode;
	ldb_workload_kind order;
	size_t n, threads;
	void *elements; /* keys or pairs */
	ldb_status status;
	ldb_error err;
} task;

static size_t task_bytes(const task *t)
{
	return t->n * (t->mode == LDB_PAIRS ? sizeof(ldb_pair) : sizeof(ldb_key));
}

/* The key at a position of the input. */
static ldb_key input_key(const task *t, size_t i)
{
	const ldb_inputs *in = t->job->inputs;
	const sorting *o = in->own;
	return t->order == LDB_SHUFFLED ? o->shuffled[i]
	       : t->order == LDB_SORTED ? in->data.keys[i]
					: in->data.keys[t->n - 1 - i];
}

static void copy_input(const task *t)
{
	ldb_key *keys = t->elements;
	ldb_pair *pairs = t->elements;
	for (size_t i = 0; i < t->n; i++) {
		if (t->mode == LDB_PAIRS)
			pairs[i] = (ldb_pair){input_key(t, i), i};
		else
			keys[i] = input_key(t, i);
	}
}

static void warm_sort(void *work, size_t lane)
{
	const task *t = work;
	(void)lane;
	ldb_pin_several(t->threads); /* those that the sort starts inherit it */
}

static void run_sort(void *work, size_t lane)
{
	task *t = work;
	const ldb_competitor *who = t->job->competitor;
	(void)lane;
	t->status =
		t->mode == LDB_PAIRS
			? who->sort->sort_pairs(t->elements, t->n, t->threads, who->params, &t->err)
			: who->sort->sort_keys(t->elements, t->n, t->threads, who->params, &t->err);
}

static void wrong(ldb_reply *reply, const task *t, size_t at, const char *what)
{
	reply->status = LDB_ROW_WRONG;
	snprintf(reply->note, sizeof reply->note, "%s: %s at position %zu of %zu",
		 ldb_mode_name(t->mode), what, at, t->n);
}

static bool check_keys(const task *t, ldb_reply *reply)
{
	const ldb_key *want = t->job->inputs->data.keys, *got = t->elements;
	for (size_t i = 0; i < t->n; i++) {
		if (got[i] != want[i]) {
			wrong(reply, t, i, "another key than there should be");
			return false;
		}
	}
	return true;
}

/* Each payload is the position of its key in the input; together they are all positions. */
static bool check_pairs(const task *t, ldb_reply *reply)
{
	const ldb_key *want = t->job->inputs->data.keys;
	const ldb_pair *got = t->elements;
	const bool stable = t->job->competitor->flags & LDB_STABLE;
	uint64_t sum = 0, want_sum = 0;
	for (size_t i = 0; i < t->n; i++) {
		const ldb_val v = got[i].value;
		const char *what = NULL;
		if (got[i].key != want[i])
			what = "another key than there should be";
		else if (v >= t->n || input_key(t, v) != want[i])
			what = "another key's payload";
		else if (stable && i && want[i - 1] == want[i] && got[i - 1].value > v)
			what = "equal keys in another order than they came, though it is stable,";
		if (what) {
			wrong(reply, t, i, what);
			return false;
		}
		sum += ldb_mix64(v);
		want_sum += ldb_mix64(i);
	}
	if (sum != want_sum)
		wrong(reply, t, 0, "a payload twice, counted from what is");
	return sum == want_sum;
}

/* Copies, sorts, checks. Adds to what the reply says of times. */
static void sort_once(task *t, size_t round, ldb_reply *reply)
{
	const ldb_lanes lanes = {
		.warm = warm_sort, .run = run_sort, .work = t, .threads = 1, .round = round};
	copy_input(t);
	ldb_alloc_reset_peak();
	const size_t held = ldb_alloc_held();
	ldb_run_lanes(&lanes, reply);
	ldb_pin_several(1);
	if (t->status != LDB_OK) {
		reply->status = ldb_row_status_of(t->status);
		snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", t->err.subject,
			 t->err.value, t->err.remedy);
		return;
	}
	reply->index_bytes = (double)(ldb_alloc_peak() - held);
	if (t->mode == LDB_PAIRS ? check_pairs(t, reply) : check_keys(t, reply))
		reply->checksum = t->job->inputs->data.checksum;
	reply->repeats++;
}

static bool make_task(const ldb_job *job, const ldb_command *c, task *t, ldb_reply *reply)
{
	ldb_error err;
	*t = (task){.job = job,
		    .mode = c->mode,
		    .order = c->order,
		    .n = job->inputs->data.n,
		    .threads = c->threads ? c->threads : 1};
	t->elements = ldb_map(task_bytes(t), job->pages, &err);
	if (t->elements)
		return true;
	reply->status = LDB_ROW_OOM;
	snprintf(reply->note, sizeof reply->note, "no memory for the keys to sort");
	return false;
}

static void sorting_build(const ldb_job *job, bool validate, void **self, ldb_reply *reply)
{
	(void)job, (void)validate, (void)self;
	reply->status = LDB_ROW_OK;
	reply->build_ns = NAN;
}

static void sorting_verify(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	static const ldb_workload_kind orders[] = {LDB_SHUFFLED, LDB_SORTED, LDB_REVERSED};
	task t;
	(void)self;
	if (c->mode == LDB_PAIRS && !job->competitor->sort->sort_pairs)
		return; /* refused already */
	if (!make_task(job, c, &t, reply))
		return;
	for (size_t i = 0; i < 3 && reply->status == LDB_ROW_OK; i++) {
		t.order = orders[i];
		sort_once(&t, 0, reply);
	}
	ldb_unmap(t.elements, task_bytes(&t));
}

static void sorting_pass(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const ldb_experiment *e = job->inputs->stage->experiment;
	task t;
	(void)self;
	if (!make_task(job, c, &t, reply))
		return;
	do
		sort_once(&t, c->round, reply);
	while (reply->status == LDB_ROW_OK && reply->elapsed_ns < e->pass_ms * 1e6 &&
	       reply->repeats < MOST_REPEATS);
	ldb_unmap(t.elements, task_bytes(&t));
	reply->build_ns = NAN;
	reply->ops = (double)t.n * (double)reply->repeats;
	if (c->threads == 1)
		ldb_check_hidden_threads(1, reply);
}

const ldb_kind ldb_sorting = {
	.bytes = sorting_bytes,
	.prepare = sorting_prepare,
	.release = sorting_release,
	.refusal = sorting_refusal,
	.draw_verification = sorting_draw_verification,
	.verification_chunk = (size_t)1 << 60,
	.command = sorting_command,
	.pass_ops = sorting_pass_ops,
	.builds_anew = true,
	.threads_of_its_own = true,
	.expected = sorting_expected,
	.build = sorting_build,
	.verify = sorting_verify,
	.pass = sorting_pass,
};
