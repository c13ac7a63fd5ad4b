/*
 * Mixed: streams of gets, puts, deletes and scans on updatable indexes, as a kind of work (kind.h).
 *
 * A pass builds the index anew from the keys that are there at first, does the stream, waits for
 * background work, and then asks for the keys of the universe, present and gone, whether each has
 * what the model says (stream.h). Small streams are done again and again, each time on a new index,
 * until the pass is long enough. Only the operations are timed; build and settling are reported.
 *
 * Latencies are those of every SAMPLED-th operation, done alone between two readings of the clock.
 * At a given rate every operation is, from the time it was due: what waits behind a slow one is
 * late too.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "clock.h"
#include "kind.h"
#include "lanes.h"
#include "rng.h"
#include "timeline.h"

enum {
	SAMPLED = 64,
	MOST_OPS = 4 << 20,      /* of a pass, unless told otherwise */
	VERIFY_OPS = 200000,     /* of the verification */
	VALIDATE_MOST = 1000000, /* keys: beyond, invariants are not checked after a pass */
	CHECKED_KEYS = 1000000,  /* at most so many are asked for after a pass */
	MOST_SAMPLES = 1 << 22,  /* latencies that are kept */
	MOST_REPEATS = 1000000,  /* of a small stream */
	SPIN_NS = 60000,         /* before an operation is due the thread no longer sleeps */
};

typedef struct {
	const ldb_key *keys; /* distinct ones */
	size_t n, mapped_bytes;
	ldb_stream *stream;
	ldb_timeline *timeline; /* shared, as the stream is */
} mixed;

/* --- the conductor's side --------------------------------------------------------------------- */

static size_t most_ops(const ldb_stage *s)
{
	const size_t most = s->n < MOST_OPS ? s->n : MOST_OPS;
	return s->experiment->ops ? s->experiment->ops : most;
}

static size_t stream_ops(const ldb_stage *s)
{
	return most_ops(s) > VERIFY_OPS ? most_ops(s) : VERIFY_OPS;
}

static size_t mixed_bytes(const ldb_stage *s)
{
	return ldb_stream_bytes(s->n, stream_ops(s)) + sizeof(ldb_timeline) +
	       s->n * sizeof(ldb_key);
}

static void mixed_release(ldb_inputs *in)
{
	mixed *m = in->own;
	if (!m)
		return;
	ldb_stream_free(m->stream);
	if (m->timeline)
		munmap(m->timeline, sizeof *m->timeline);
	if (m->mapped_bytes)
		ldb_unmap((void *)(uintptr_t)m->keys, m->mapped_bytes);
	free(m);
	in->own = NULL;
}

/* The keys, each once: an updatable index is a map. */
static ldb_status take_distinct(mixed *m, const ldb_inputs *in, ldb_error *err)
{
	m->keys = in->data.keys;
	m->n = in->data.n;
	if (!in->duplicates)
		return LDB_OK;
	ldb_key *keys = ldb_map(in->data.n * sizeof *keys, LDB_PAGES_THP, err);
	if (!keys)
		return LDB_OOM;
	m->n = 0;
	for (size_t i = 0; i < in->data.n; i++)
		if (i == 0 || in->data.keys[i] != in->data.keys[i - 1])
			keys[m->n++] = in->data.keys[i];
	m->keys = keys;
	m->mapped_bytes = in->data.n * sizeof *keys;
	return LDB_OK;
}

static ldb_status mixed_prepare(ldb_inputs *in, ldb_error *err)
{
	mixed *m = calloc(1, sizeof *m);
	if (!m)
		return ldb_fail_oom(err, "operations", sizeof *m);
	in->own = m;
	ldb_status status = take_distinct(m, in, err);
	if (status == LDB_OK)
		status = ldb_stream_make(m->keys, m->n, stream_ops(in->stage), &m->stream, err);
	if (status != LDB_OK)
		return status;
	void *shared = mmap(NULL, sizeof *m->timeline, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return ldb_fail_oom(err, "timeline", sizeof *m->timeline);
	m->timeline = shared;
	return LDB_OK;
}

static const char *mixed_refusal(const ldb_inputs *in, const ldb_competitor *who,
				 const ldb_point *at)
{
	const ldb_mix *mix = at->workload->mix;
	const bool writes = mix->update || mix->insert || mix->remove || mix->modify;
	(void)in;
	if (!who->index->apply)
		return "takes no updates";
	if (at->threads > 1 && writes && !(who->flags & LDB_CONCURRENT))
		return "is written by one thread only";
	if (at->threads > 1 && !(who->flags & (LDB_THREADS | LDB_CONCURRENT)))
		return "is read by one thread only";
	return NULL;
}

static void mixed_draw_point(ldb_inputs *in, const ldb_point *at, uint64_t seed)
{
	const mixed *m = in->own;
	ldb_stream_draw(m->stream, at->workload->mix, at->workload->value,
			in->stage->experiment->preload / 100, at->threads, most_ops(in->stage),
			seed);
}

static size_t mixed_draw_verification(ldb_inputs *in, size_t first, bool exhaustive)
{
	const mixed *m = in->own;
	(void)first, (void)exhaustive;
	ldb_stream_draw(m->stream, &ldb_verification_mix, ldb_verification_mix.scan_length, 0.5, 1,
			VERIFY_OPS, in->stage->experiment->seed);
	return VERIFY_OPS;
}

static void mixed_command(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
			  ldb_command *out)
{
	(void)in, (void)who, (void)at, (void)out;
}

static size_t mixed_pass_ops(const ldb_inputs *in, const ldb_point *at)
{
	(void)at;
	return most_ops(in->stage);
}

static uint64_t mixed_expected(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply)
{
	const mixed *m = in->own;
	uint64_t sum = 0;
	for (size_t t = 0; t < c->threads; t++)
		sum += m->stream->sum[t];
	return sum * reply->repeats;
}

static ldb_status mixed_record(const ldb_inputs *in, const ldb_row *row, const char *dir,
			       ldb_error *err)
{
	const mixed *m = in->own;
	return ldb_timeline_write(m->timeline, dir, row, err);
}

/* --- in the worker: checks -------------------------------------------------------------------- */

static void fail_pass(ldb_reply *reply, ldb_status status, const ldb_error *err)
{
	if (reply->status != LDB_ROW_OK)
		return;
	reply->status = status == LDB_INVALID ? LDB_ROW_WRONG : ldb_row_status_of(status);
	snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", err->subject,
		 err->value, err->remedy);
}

static void wrong_answer(ldb_reply *reply, const char *when, const ldb_op *op, ldb_val got,
			 ldb_val want)
{
	static const char *const kinds[] = {"get", "put", "delete", "scan"};
	if (reply->status != LDB_ROW_OK)
		return;
	reply->status = LDB_ROW_WRONG;
	snprintf(reply->note, sizeof reply->note,
		 "%s: %s of key %llu answered %lld, expected %lld (-1: none)", when,
		 kinds[op->kind], (unsigned long long)op->key, (long long)got, (long long)want);
}

/* Asks for keys of the universe, spread evenly: those that are gone must be gone. */
static void check_end(const ldb_job *job, void *self, ldb_reply *reply)
{
	const mixed *m = job->inputs->own;
	const ldb_stream *s = m->stream;
	const ldb_index *index = job->competitor->index;
	const size_t count = s->n < CHECKED_KEYS ? s->n : CHECKED_KEYS;
	ldb_op ops[SAMPLED];
	ldb_val out[SAMPLED];
	ldb_error err = {.subject = ""};
	for (size_t done = 0; done < count && reply->status == LDB_ROW_OK;) {
		size_t block = 0, rank[SAMPLED];
		for (; block < SAMPLED && done < count; block++, done++) {
			rank[block] = (size_t)((unsigned __int128)done * s->n / count);
			ops[block] = (ldb_op){.key = s->keys[rank[block]], .kind = LDB_GET};
		}
		if (index->apply(self, ops, block, out, &err) != block)
			fail_pass(reply, LDB_OOM, &err);
		for (size_t i = 0; i < block; i++)
			if (out[i] != s->at_end[rank[i]])
				wrong_answer(reply, "at the end", &ops[i], out[i],
					     s->at_end[rank[i]]);
	}
}

/* The read entry point sees what was changed. */
static void check_lookups(const ldb_job *job, void *self, ldb_reply *reply)
{
	const mixed *m = job->inputs->own;
	const ldb_stream *s = m->stream;
	const bool ordered = job->competitor->flags & LDB_ORDERED;
	const size_t step = s->n / 10000 + 1;
	ldb_val next = LDB_NONE;
	for (size_t r = s->n; r-- > 0 && reply->status == LDB_ROW_OK;) {
		const ldb_val here = s->at_end[r];
		next = here == LDB_NONE && ordered ? next : here;
		if (r % step)
			continue;
		ldb_val out;
		job->competitor->index->lookup(self, &s->keys[r], 1, &out);
		const ldb_op op = {.key = s->keys[r], .kind = LDB_GET};
		if (out != next)
			wrong_answer(reply, "lookup at the end", &op, out, next);
	}
}

static void validate(const ldb_job *job, void *self, ldb_reply *reply)
{
	ldb_error err = {.subject = ""};
	const ldb_status status = job->competitor->index->validate(self, &err);
	if (status != LDB_OK)
		fail_pass(reply, status, &err);
}

static double settle(const ldb_job *job, void *self)
{
	const uint64_t start = ldb_now_ns();
	if (job->competitor->index->settle)
		job->competitor->index->settle(self);
	return (double)(ldb_now_ns() - start);
}

/* This thread joins or leaves those that use the index; false: *reply says why not. */
static bool enter(const ldb_job *job, void *self, ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	ldb_error err = {.subject = ""};
	const ldb_status status = index->thread_enter ? index->thread_enter(self, &err) : LDB_OK;
	if (status != LDB_OK)
		fail_pass(reply, status, &err);
	return status == LDB_OK;
}

static void leave(const ldb_job *job, void *self)
{
	if (job->competitor->index->thread_leave)
		job->competitor->index->thread_leave(self);
}

static void check_all(const ldb_job *job, void *self, ldb_reply *reply)
{
	const mixed *m = job->inputs->own;
	if (!enter(job, self, reply))
		return;
	check_end(job, self, reply);
	leave(job, self);
	if (m->n <= VALIDATE_MOST && reply->status == LDB_ROW_OK)
		validate(job, self, reply);
}

static void mixed_build(const ldb_job *job, bool check, void **self, ldb_reply *reply)
{
	const mixed *m = job->inputs->own;
	ldb_build_index(job, m->stream->initial, m->stream->initial_n, check, self, reply);
}

/* All kinds of operations, answer by answer; then the index is not needed any more. */
static void mixed_verify(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const mixed *m = job->inputs->own;
	const ldb_stream *s = m->stream;
	const ldb_index *index = job->competitor->index;
	ldb_error err = {.subject = ""};
	ldb_val out[SAMPLED];
	(void)c;
	if (enter(job, *self, reply)) {
		for (size_t done = 0; done < s->count[0] && reply->status == LDB_ROW_OK;) {
			const size_t left = s->count[0] - done;
			const size_t block = left < SAMPLED ? left : SAMPLED;
			if (index->apply(*self, s->ops + done, block, out, &err) != block)
				fail_pass(reply, LDB_OOM, &err);
			for (size_t i = 0; i < block; i++)
				if (out[i] != s->answers[done + i])
					wrong_answer(reply, "verification", &s->ops[done + i],
						     out[i], s->answers[done + i]);
			done += block;
		}
		if (reply->status == LDB_ROW_OK)
			check_lookups(job, *self, reply);
		leave(job, *self);
	}
	settle(job, *self);
	check_all(job, *self, reply);
	index->destroy(*self);
	*self = NULL;
}

/* --- in the worker: passes -------------------------------------------------------------------- */

/* Latencies in ns by kind of operation. */
typedef struct {
	uint64_t *ns; /* the kind in the two lowest bits */
	size_t count, most;
} samples;

typedef struct {
	const ldb_job *job;
	void *self;
	const ldb_stream *stream;
	ldb_timeline *timeline;
	double interval_ns; /* between a lane's operations; 0: at full speed */
	struct {
		_Alignas(64) uint64_t checksum;
		uint64_t longest_ns; /* of a block between two samples */
		samples latency;
		ldb_reply reply; /* status and note */
	} lane[LDB_MAX_THREADS];
} work;

static void keep(samples *s, const ldb_op *op, uint64_t ns)
{
	if (s->count < s->most)
		s->ns[s->count++] = ns << 2 | op->kind;
}

/* Does a block of operations; false when the index gave up. */
static bool apply(work *w, size_t lane, const ldb_op *ops, size_t count)
{
	ldb_val out[SAMPLED];
	ldb_error err = {.subject = ""};
	if (w->job->competitor->index->apply(w->self, ops, count, out, &err) != count) {
		fail_pass(&w->lane[lane].reply, LDB_OOM, &err);
		return false;
	}
	w->lane[lane].checksum += ldb_stream_fold(ops, out, count, w->stream->threads);
	return true;
}

static void run_at_full_speed(work *w, size_t lane)
{
	const ldb_stream *s = w->stream;
	const ldb_op *ops = s->ops + lane * s->room;
	const size_t count = s->count[lane];
	const uint64_t start = ldb_now_ns();
	uint64_t last = start;
	for (size_t done = 0; done < count;) {
		const size_t left = count - done;
		const size_t block = left < SAMPLED ? left : SAMPLED;
		if (!apply(w, lane, ops + done, block - 1))
			return;
		const uint64_t before = ldb_now_ns();
		if (!apply(w, lane, ops + done + block - 1, 1))
			return;
		const uint64_t now = ldb_now_ns();
		keep(&w->lane[lane].latency, &ops[done + block - 1], now - before);
		if (now - last > w->lane[lane].longest_ns)
			w->lane[lane].longest_ns = now - last;
		ldb_timeline_add(w->timeline, start, now, block);
		last = now;
		done += block;
	}
}

static void wait_until(uint64_t due)
{
	for (uint64_t now; (now = ldb_now_ns()) < due;) {
		if (due - now < SPIN_NS)
			continue;
		const uint64_t wake = due - SPIN_NS;
		const struct timespec t = {(time_t)(wake / 1000000000), (long)(wake % 1000000000)};
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	}
}

static void run_at_rate(work *w, size_t lane)
{
	const ldb_stream *s = w->stream;
	const ldb_op *ops = s->ops + lane * s->room;
	const uint64_t start = ldb_now_ns();
	prctl(PR_SET_TIMERSLACK, 1);
	for (size_t i = 0; i < s->count[lane]; i++) {
		/* Threads take turns. */
		const double turn = (double)i + (double)lane / (double)s->threads;
		const uint64_t due = start + (uint64_t)(turn * w->interval_ns);
		wait_until(due);
		if (!apply(w, lane, &ops[i], 1))
			return;
		const uint64_t now = ldb_now_ns();
		keep(&w->lane[lane].latency, &ops[i], now - due);
		ldb_timeline_add(w->timeline, start, now, 1);
	}
}

static void enter_lane(void *argument, size_t lane)
{
	work *w = argument;
	enter(w->job, w->self, &w->lane[lane].reply);
}

static void run_lane(void *argument, size_t lane)
{
	work *w = argument;
	if (w->lane[lane].reply.status != LDB_ROW_OK)
		return;
	if (w->interval_ns > 0)
		run_at_rate(w, lane);
	else
		run_at_full_speed(w, lane);
	leave(w->job, w->self);
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Percentile `p` of sorted samples, by nearest rank; NAN where there are too few to tell. */
static double percentile(const uint64_t *ns, size_t count, double p)
{
	if (!count || (double)count * (1 - p) < 1)
		return NAN;
	const size_t rank = (size_t)ceil(p * (double)count);
	return (double)ns[rank ? rank - 1 : 0];
}

/* "get_ns=p50/p99/p99.9/max" of one kind. */
static void note_kind(const char *name, const uint64_t *ns, size_t count, ldb_reply *reply)
{
	const size_t length = strlen(reply->note);
	if (!count)
		return;
	const double p[] = {percentile(ns, count, 0.5), percentile(ns, count, 0.99),
			    percentile(ns, count, 0.999)};
	char text[3][24] = {"", "", ""};
	for (int i = 0; i < 3; i++)
		if (!isnan(p[i]))
			snprintf(text[i], sizeof text[i], "%.0f", p[i]);
	snprintf(reply->note + length, sizeof reply->note - length, "%s%s_ns=%s/%s/%s/%llu",
		 length ? "; " : "", name, text[0], text[1], text[2],
		 (unsigned long long)ns[count - 1]);
}

/* Percentiles over all lanes' samples, together and by kind. */
static void report_latency(work *w, size_t threads, uint64_t *scratch, ldb_reply *reply)
{
	static const char *const names[] = {"get", "put", "delete", "scan"};
	size_t all = 0;
	for (int kind = -1; kind < 4; kind++) {
		size_t count = 0;
		for (size_t t = 0; t < threads; t++)
			for (size_t i = 0; i < w->lane[t].latency.count; i++) {
				const uint64_t one = w->lane[t].latency.ns[i];
				if (kind < 0 || (int)(one & 3) == kind)
					scratch[count++] = one >> 2;
			}
		qsort(scratch, count, sizeof *scratch, compare_numbers);
		if (kind >= 0) {
			if (count < all) /* not those of all over again */
				note_kind(names[kind], scratch, count, reply);
			continue;
		}
		all = count;
		reply->p50_ns = percentile(scratch, count, 0.5);
		reply->p99_ns = percentile(scratch, count, 0.99);
		reply->p999_ns = percentile(scratch, count, 0.999);
		reply->max_ns = count ? (double)scratch[count - 1] : NAN;
	}
}

static void add_number(ldb_reply *reply, const char *name, double value)
{
	const size_t length = strlen(reply->note);
	snprintf(reply->note + length, sizeof reply->note - length, "%s%s=%.4g", length ? "; " : "",
		 name, value);
}

/* What reading the clock takes: it is part of each sample, and twice part of SAMPLED operations. */
static double clock_cost_ns(void)
{
	const uint64_t start = ldb_now_ns();
	uint64_t now = start;
	for (int i = 0; i < 1000; i++)
		now = ldb_now_ns();
	return (double)(now - start) / 1000;
}

/* Builds, does the stream, settles, checks, destroys. */
static void run_once(work *w, const ldb_command *c, ldb_reply *reply, double *settle_ns)
{
	const ldb_job *job = w->job;
	const ldb_index *index = job->competitor->index;
	ldb_reply built = {.tune_ns = NAN, .index_bytes = NAN};
	const bool first = reply->repeats == 0;
	if (first) {
		ldb_build_index(job, w->stream->initial, w->stream->initial_n, false, &w->self,
				&built);
		reply->build_ns = built.build_ns;
		reply->tune_ns = built.tune_ns;
		memcpy(reply->note, built.note, sizeof reply->note);
	} else {
		ldb_error err = {.subject = ""};
		const ldb_status status =
			index->build(&w->self, w->stream->initial, w->stream->initial_n,
				     job->competitor->params, &err);
		if (status != LDB_OK)
			fail_pass(&built, status, &err);
	}
	if (built.status != LDB_ROW_OK) {
		reply->status = built.status;
		memcpy(reply->note, built.note, sizeof reply->note);
		return;
	}
	const ldb_lanes lanes = {.warm = enter_lane,
				 .run = run_lane,
				 .work = w,
				 .threads = c->threads,
				 .round = c->round};
	ldb_timeline_reset(w->timeline);
	ldb_run_lanes(&lanes, reply);
	*settle_ns += settle(job, w->self);
	for (size_t t = 0; t < c->threads; t++)
		if (w->lane[t].reply.status != LDB_ROW_OK && reply->status == LDB_ROW_OK) {
			reply->status = w->lane[t].reply.status;
			memcpy(reply->note, w->lane[t].reply.note, sizeof reply->note);
		}
	reply->index_bytes = (double)(ldb_alloc_held() - job->held_before);
	if (reply->status == LDB_ROW_OK && (first || job->inputs->stage->n < 10000))
		check_all(job, w->self, reply);
	index->destroy(w->self);
	w->self = NULL;
	reply->repeats++;
}

static void report(work *w, const ldb_command *c, uint64_t *scratch, double settle_ns,
		   ldb_reply *reply)
{
	uint64_t longest = 0;
	for (size_t t = 0; t < c->threads; t++) {
		reply->checksum += w->lane[t].checksum;
		reply->ops += (double)w->stream->count[t] * (double)reply->repeats;
		if (w->lane[t].longest_ns > longest)
			longest = w->lane[t].longest_ns;
	}
	report_latency(w, c->threads, scratch, reply);
	add_number(reply, "clock_ns", clock_cost_ns());
	if (w->interval_ns > 0)
		add_number(reply, "rate", w->job->inputs->stage->experiment->rate);
	else
		add_number(reply, "longest64_ns", (double)longest);
	if (reply->repeats > 1)
		add_number(reply, "repeats", (double)reply->repeats);
	if (w->job->competitor->flags & LDB_BACKGROUND) {
		add_number(reply, "background_ns", reply->cpu_ns - reply->own_cpu_ns);
		add_number(reply, "settle_ns", settle_ns);
	}
}

/* Room for every lane's samples and one more for all together; mapped, so that it is not taken for
 * the index's memory. */
static uint64_t *map_samples(work *w, size_t threads, size_t *bytes)
{
	const size_t most = MOST_SAMPLES / threads;
	*bytes = 2 * most * threads * sizeof(uint64_t);
	uint64_t *at =
		mmap(NULL, *bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	for (size_t t = 0; t < threads; t++)
		w->lane[t].latency = (samples){.ns = at + t * most, .most = most};
	return at;
}

static void mixed_pass(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	static work w;
	const mixed *m = job->inputs->own;
	const ldb_experiment *e = job->inputs->stage->experiment;
	size_t bytes;
	double settle_ns = 0;
	(void)self;
	memset(&w, 0, sizeof w);
	w.job = job;
	w.stream = m->stream;
	w.timeline = m->timeline;
	w.interval_ns = e->rate > 0 ? 1e9 / e->rate * (double)c->threads : 0;
	uint64_t *space = map_samples(&w, c->threads, &bytes);
	if (!space) {
		reply->status = LDB_ROW_OOM;
		snprintf(reply->note, sizeof reply->note, "no memory for its latencies");
		return;
	}
	do
		run_once(&w, c, reply, &settle_ns);
	while (reply->status == LDB_ROW_OK && !e->ops && reply->elapsed_ns < e->pass_ms * 1e6 &&
	       reply->repeats < MOST_REPEATS);
	if (reply->status == LDB_ROW_OK)
		report(&w, c, space + bytes / sizeof *space / 2, settle_ns, reply);
	if (!(job->competitor->flags & LDB_BACKGROUND))
		ldb_check_hidden_threads(c->threads, reply);
	munmap(space, bytes);
}

const ldb_kind ldb_mixed = {
	.bytes = mixed_bytes,
	.prepare = mixed_prepare,
	.release = mixed_release,
	.refusal = mixed_refusal,
	.draw_point = mixed_draw_point,
	.draw_verification = mixed_draw_verification,
	.verification_chunk = VERIFY_OPS,
	.command = mixed_command,
	.pass_ops = mixed_pass_ops,
	.builds_anew = true,
	.expected = mixed_expected,
	.record = mixed_record,
	.build = mixed_build,
	.verify = mixed_verify,
	.pass = mixed_pass,
};
