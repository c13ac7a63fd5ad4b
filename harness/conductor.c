/*
 * Stages, workers and rounds (conductor.h).
 *
 * The way of a stage: load keys, draw the verification queries, then for each group of workers that
 * fit into memory together: build and verify one after the other, calibrate, run the rounds.
 */
#include "conductor.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "clock.h"
#include "kind.h"
#include "machine.h"
#include "names.h"
#include "progress.h"
#include "rng.h"
#include "samples.h"

enum { VALIDATE_MOST = 1000000 }; /* keys; beyond, only `verify` checks an index's invariants */

typedef struct {
	uint64_t hash;
	bool wanted; /* not complete from an earlier session */
	bool ended;  /* failed: no more passes */
	bool failed;
	size_t ops; /* per thread and pass, calibrated */
} cell;

typedef struct {
	const ldb_competitor *competitor;
	bool reference;
	pid_t pid; /* 0: not running */
	int socket;
	ldb_reply built;
	cell *cells;  /* one for each point */
	bool refused; /* what it can not do has been said */
} worker;

typedef struct {
	const ldb_conduct_options *options;
	const ldb_stage *stage;
	const ldb_kind *kind;
	ldb_inputs in;
	ldb_samples samples;
	ldb_point *points;
	size_t point_count;
	worker *workers; /* all competitors of the experiment, in its order */
	size_t worker_count;
	size_t group, used_bytes, budget_bytes;
	ldb_outcome *outcome;
	double done_s, total_s; /* estimated seconds of work, for the progress bar */
	ldb_status status;      /* of writing rows */
	ldb_error *err;
} conduct;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

/* --- rows ----------------------------------------------------------------------------------- */

static void add_note(char *note, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void add_note(char *note, size_t size, const char *format, ...)
{
	size_t length = strlen(note);
	if (length && length + 2 < size) {
		strcpy(note + length, "; ");
		length += 2;
	}
	va_list args;
	va_start(args, format);
	vsnprintf(note + length, size - length, format, args);
	va_end(args);
}

static ldb_row make_row(const conduct *c, const worker *w, size_t p, size_t rep)
{
	const ldb_point *at = &c->points[p];
	ldb_row row = ldb_row_empty();
	row.experiment = c->stage->experiment->experiment;
	row.family = ldb_family_names[w->competitor->family];
	row.name = w->competitor->label;
	row.params = w->competitor->params_text;
	row.dataset = *c->in.data.name ? c->in.data.name : c->stage->dataset;
	row.n = c->stage->n;
	row.key_bits = w->competitor->key_bits;
	row.workload = at->workload->name;
	row.mode = ldb_mode_name(at->mode);
	row.threads = at->threads;
	row.pages = ldb_pages_name(c->stage->pages);
	row.payload_bytes = c->stage->payload_bytes;
	row.rep = rep;
	return row;
}

/* Notes that every row of a cell carries. */
static void common_notes(const conduct *c, const worker *w, const cell *k, const ldb_point *at,
			 char *note, size_t size)
{
	if (c->options->session > 1)
		add_note(note, size, "session=%zu", c->options->session);
	if (c->group > 1)
		add_note(note, size, "group=%zu", c->group);
	if (w->reference)
		add_note(note, size, "reference=1");
	if (w->competitor->flags & LDB_LEARNED)
		add_note(note, size, "learned=1");
	if (at->mode == LDB_BATCHED && !w->competitor->index->lookup_batch)
		add_note(note, size, "batch=lookup");
	if (c->in.data.source_n > c->in.data.n && c->in.data.keys)
		add_note(note, size, "sample=%zu/%zu", c->in.data.n, c->in.data.source_n);
	if (strcmp(c->stage->experiment->numa, "local") != 0)
		add_note(note, size, "numa=%s", c->stage->experiment->numa);
	add_note(note, size, "cell=%016llx/%zu", (unsigned long long)k->hash,
		 c->stage->experiment->reps);
}

static void append(conduct *c, const ldb_row *row)
{
	if (c->status == LDB_OK && c->options->dir)
		c->status = ldb_samples_append(&c->samples, row, c->err);
}

/* One cell fails: its row, and a line on the screen. */
static void fail_cell(conduct *c, worker *w, size_t p, size_t rep, ldb_row_status status,
		      const char *why)
{
	cell *k = &w->cells[p];
	if (k->ended)
		return;
	k->ended = k->failed = true;
	if (!k->wanted)
		return;
	char note[1024] = "";
	snprintf(note, sizeof note, "%s", why);
	for (char *s = note; *s; s++)
		if (*s == ';')
			*s = ','; /* ';' parts the notes */
	common_notes(c, w, k, &c->points[p], note, sizeof note);
	ldb_row row = make_row(c, w, p, rep);
	row.status = status;
	row.note = note;
	if (status == LDB_ROW_UNSUPPORTED) {
		c->outcome->cells_unsupported++;
		if (c->options->exhaustive_only && !w->refused)
			ldb_say("unsupported: %s on %s: %s", row.name, row.dataset, why);
		w->refused = true;
	} else {
		ldb_say("%s: %s on %s, %s, %s: %s", ldb_row_status_name(status), row.name,
			row.dataset, row.workload, row.mode, why);
		c->outcome->cells_bad++;
	}
	append(c, &row);
}

static void fail_worker(conduct *c, worker *w, size_t rep, ldb_row_status status, const char *why)
{
	for (size_t p = 0; p < c->point_count; p++)
		fail_cell(c, w, p, rep, status, why);
}

/* --- talking to workers --------------------------------------------------------------------- */

/* Waits `patience_ms` for the worker's end, then kills it; returns its wait status. */
static int reap(worker *w, int patience_ms)
{
	int status = 0;
	close(w->socket); /* a healthy worker sees that and exits */
	for (int waited_ms = 0; waited_ms < patience_ms; waited_ms++) {
		if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
			w->pid = 0;
			return status;
		}
		usleep(1000);
	}
	kill(w->pid, SIGKILL);
	while (waitpid(w->pid, &status, 0) < 0 && errno == EINTR)
		;
	w->pid = 0;
	return status;
}

static void kill_worker(worker *w)
{
	if (w->pid)
		reap(w, 0);
}

static void stop_worker(worker *w)
{
	if (w->pid)
		reap(w, 2000);
}

/* The worker's socket has closed: how did it end? */
static ldb_row_status bury(worker *w, char *why, size_t size)
{
	const uint64_t start_ns = ldb_now_ns();
	const int status = reap(w, 1000);
	if (ldb_now_ns() - start_ns > 900000000) {
		snprintf(why, size, "closed its socket and went on running");
		return LDB_ROW_CRASHED;
	}
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
		snprintf(why, size, "killed, as the kernel does when memory runs out");
		return LDB_ROW_OOM;
	}
	if (WIFSIGNALED(status))
		snprintf(why, size, "killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(why, size, "exited with status %d", WEXITSTATUS(status));
	return LDB_ROW_CRASHED;
}

/*
 * Sends a command and waits for its reply. When the worker dies or takes too long its remaining
 * cells fail and false comes back; also when the run was interrupted.
 */
static bool exchange(conduct *c, worker *w, const ldb_command *command, size_t rep,
		     ldb_reply *reply)
{
	char why[512] = "";
	ssize_t got = send(w->socket, command, sizeof *command, MSG_NOSIGNAL);
	const double timeout_s = c->stage->experiment->timeout_s;
	const uint64_t deadline = ldb_now_ns() + (uint64_t)(timeout_s * 1e9);
	while (got == (ssize_t)sizeof *command) {
		struct pollfd fd = {.fd = w->socket, .events = POLLIN};
		uint64_t now = ldb_now_ns();
		int ready = now < deadline ? poll(&fd, 1, 200) : 0;
		if (interrupted) {
			kill_worker(w);
			return false;
		}
		if (ready > 0) {
			got = recv(w->socket, reply, sizeof *reply, 0);
			if (got == (ssize_t)sizeof *reply)
				return true;
			break;
		}
		if (now >= deadline) {
			static const char *const doing[] = {"build", "verification", "pass"};
			kill_worker(w);
			snprintf(why, sizeof why, "%s took longer than %g s (--timeout)",
				 doing[command->kind], timeout_s);
			fail_worker(c, w, rep, LDB_ROW_TIMEOUT, why);
			return false;
		}
	}
	ldb_row_status status = bury(w, why, sizeof why);
	fail_worker(c, w, rep, status, why);
	return false;
}

/* --- starting a worker ---------------------------------------------------------------------- */

static bool start_process(conduct *c, worker *w)
{
	int sockets[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
		return false;
	const ldb_job job = {.competitor = w->competitor,
			     .kind = c->kind,
			     .inputs = &c->in,
			     .pages = c->stage->pages,
			     .memory_bytes = c->budget_bytes > c->used_bytes
						     ? c->budget_bytes - c->used_bytes
						     : 1,
			     .first_cpu = c->options->shard - 1};
	fflush(NULL);
	w->pid = fork();
	if (w->pid == 0) {
		close(sockets[0]);
		for (size_t i = 0; i < c->worker_count; i++)
			if (&c->workers[i] != w && c->workers[i].pid)
				close(c->workers[i].socket);
		ldb_worker_main(sockets[1], &job);
	}
	close(sockets[1]);
	w->socket = sockets[0];
	if (w->pid > 0)
		return true;
	close(sockets[0]);
	w->pid = 0;
	return false;
}

/* Cells that this competitor can't do by design. */
static void refuse_unsupported(conduct *c, worker *w)
{
	for (size_t p = 0; p < c->point_count; p++) {
		const char *why = c->kind->refusal(&c->in, w->competitor, &c->points[p]);
		if (why)
			fail_cell(c, w, p, 1, LDB_ROW_UNSUPPORTED, why);
	}
}

/* Passes to run: its own, or those that others are compared with. */
static bool has_passes(const conduct *c, const worker *w)
{
	for (size_t p = 0; p < c->point_count; p++)
		if (!w->cells[p].ended)
			return true;
	return false;
}

static bool is_open(const conduct *c, size_t p)
{
	for (size_t i = 0; i < c->worker_count; i++)
		if (c->workers[i].cells[p].wanted && !c->workers[i].cells[p].ended)
			return true;
	return false;
}

static bool stage_is_open(const conduct *c)
{
	for (size_t p = 0; p < c->point_count; p++)
		if (is_open(c, p))
			return true;
	return false;
}

/* The reference runs along wherever another one is still to be measured, again if need be. */
static void wake_reference(conduct *c, worker *w)
{
	for (size_t p = 0; p < c->point_count; p++)
		if (!w->cells[p].failed && is_open(c, p))
			w->cells[p].ended = false;
}

/* False when the worker is gone; a wrong answer ends the cells of that mode. */
static bool verify_mode(conduct *c, worker *w, ldb_mode mode)
{
	ldb_command command = {.kind = LDB_VERIFY, .mode = mode};
	c->kind->command(&c->in, w->competitor, &(ldb_point){NULL, mode, 1}, &command);
	ldb_reply reply;
	if (!exchange(c, w, &command, 1, &reply))
		return false;
	for (size_t p = 0; p < c->point_count && reply.status != LDB_ROW_OK; p++)
		if (c->points[p].mode == mode)
			fail_cell(c, w, p, 1, reply.status, reply.note);
	return true;
}

/* Forks, builds and verifies; failures become rows. */
static void start_worker(conduct *c, worker *w)
{
	const ldb_experiment *e = c->stage->experiment;
	const ldb_command build = {.kind = LDB_BUILD,
				   .validate = c->options->exhaustive_only ||
					       c->stage->n <= VALIDATE_MOST};
	if (!start_process(c, w)) {
		fail_worker(c, w, 1, LDB_ROW_ERROR, "no process could be started for it");
		return;
	}
	if (!exchange(c, w, &build, 1, &w->built))
		return;
	if (w->built.status != LDB_ROW_OK) {
		fail_worker(c, w, 1, w->built.status, w->built.note);
		stop_worker(w);
		return;
	}
	for (size_t m = 0; m < e->mode_count && !c->options->exhaustive_only; m++)
		if (!verify_mode(c, w, e->modes[m]))
			return;
}

/* Bytes that a competitor needs to build. */
static size_t need_bytes(const conduct *c, const worker *w)
{
	double bytes = w->competitor->peak_bytes_per_key * (double)ldb_kind_rows(c->kind, c->stage);
	return (size_t)bytes + LDB_WORKER_BYTES;
}

/* --- passes --------------------------------------------------------------------------------- */

static ldb_command pass_command(const conduct *c, const worker *w, size_t p, size_t ops,
				size_t round)
{
	const ldb_point *at = &c->points[p];
	ldb_command command = {.kind = LDB_PASS,
			       .mode = at->mode,
			       .threads = at->threads,
			       .ops = ops,
			       .round = round};
	c->kind->command(&c->in, w->competitor, at, &command);
	return command;
}

/* Finds how many lookups fill a pass; also warms the worker up. */
static void calibrate(conduct *c, worker *w, size_t p)
{
	const ldb_experiment *e = c->stage->experiment;
	cell *k = &w->cells[p];
	const double target_ns = e->pass_ms * 1e6;
	const size_t fixed = c->kind->pass_ops(&c->in, &c->points[p]);
	if (c->kind->builds_anew) {
		k->ops = fixed;
		return;
	}
	for (size_t ops = fixed ? fixed : c->kind->first_ops;;) {
		const ldb_command command = pass_command(c, w, p, ops, 0);
		ldb_reply reply;
		if (!exchange(c, w, &command, 1, &reply))
			return;
		if (reply.status != LDB_ROW_OK) {
			fail_cell(c, w, p, 1, reply.status, reply.note);
			return;
		}
		k->ops = ops;
		double factor = target_ns / (reply.elapsed_ns > 1 ? reply.elapsed_ns : 1);
		if (fixed || ops > (size_t)1 << 36)
			return;
		if (factor <= 2) {
			/* A little above, for a pass must not fall short. */
			if (factor > 0.87)
				k->ops = (size_t)((double)ops * factor * 1.15) + 1;
			return;
		}
		ops = (size_t)((double)ops * (factor > 64 ? 64 : factor));
	}
}

/* What is wrong with a pass that came back, or NULL. */
static const char *judge(const conduct *c, const worker *w, size_t p, const ldb_command *command,
			 const ldb_reply *reply, ldb_row_status *status, char *why, size_t size)
{
	const bool real = !(w->competitor->flags & LDB_REFERENCE_ONLY);
	*status = LDB_ROW_WRONG;
	if (reply->status != LDB_ROW_OK) {
		*status = reply->status;
		return reply->note;
	}
	const uint64_t want = c->kind->expected(&c->in, command, reply);
	if (real && reply->checksum != want) {
		snprintf(why, size, "checksum %016llx, expected %016llx",
			 (unsigned long long)reply->checksum, (unsigned long long)want);
		return why;
	}
	const double ns = reply->elapsed_ns / reply->ops,
		     floor_ns = w->built.floor_ns / (double)c->points[p].threads;
	if (real && ns < 0.5 * floor_ns) {
		snprintf(why, size,
			 "%.3f ns per operation is less than copying the answers takes (%.3f)", ns,
			 floor_ns);
		return why;
	}
	return NULL;
}

/* Passes that had to share their CPUs are rows like others, but they say so. */
static void note_disturbance(conduct *c, const ldb_point *at, const ldb_reply *reply, char *note,
			     size_t size)
{
	const long cpus = ldb_cpu_count();
	if (at->threads > (size_t)cpus)
		add_note(note, size, "cpus=%ld", cpus);
	if (at->threads > (size_t)cpus || (at->threads > 1 && c->kind->threads_of_its_own) ||
	    c->stage->experiment->rate > 0) /* which sleeps between operations */
		return;
	const double share = reply->own_cpu_ns / (reply->elapsed_ns * (double)at->threads);
	if (share < 0.9) {
		add_note(note, size, "stolen=%.0f%%", 100 * (1 - share));
		c->outcome->passes_disturbed++;
	}
	c->outcome->passes++;
}

static void record(conduct *c, worker *w, size_t p, size_t rep, const ldb_reply *reply)
{
	const ldb_experiment *e = c->stage->experiment;
	char note[1024] = "";
	common_notes(c, w, &w->cells[p], &c->points[p], note, sizeof note);
	const bool anew = c->kind->builds_anew;
	if (*w->built.note && !anew)
		add_note(note, sizeof note, "%s", w->built.note);
	if (*reply->note)
		add_note(note, sizeof note, "%s", reply->note);
	if (!isnan(reply->cpu_ns))
		add_note(note, sizeof note, "cpu_ns=%.0f", reply->cpu_ns);
	note_disturbance(c, &c->points[p], reply, note, sizeof note);
	if (reply->elapsed_ns < 100e6)
		add_note(note, sizeof note, "short=%.0f ms (%s)", reply->elapsed_ns / 1e6,
			 e->ops                          ? "--ops"
			 : c->points[p].mode == LDB_COLD ? "caches are filled before each lookup"
			 : e->pass_ms < 100              ? "--pass-ms"
							 : "faster than when calibrated");
	ldb_row row = make_row(c, w, p, rep);
	row.ops = reply->ops;
	row.elapsed_ns = reply->elapsed_ns;
	row.ns_per_op = reply->elapsed_ns / reply->ops;
	row.build_ns = anew ? reply->build_ns : w->built.build_ns;
	row.tune_ns = anew ? reply->tune_ns : w->built.tune_ns;
	row.index_bytes = anew ? reply->index_bytes : w->built.index_bytes;
	row.p50_ns = reply->p50_ns;
	row.p99_ns = reply->p99_ns;
	row.p999_ns = reply->p999_ns;
	row.max_ns = reply->max_ns;
	if (!anew && reply->index_bytes > 1.1 * w->built.index_bytes + 1e6) {
		row.index_bytes = NAN; /* it was not finished when build came back */
		add_note(note, sizeof note, "grows=%.0f bytes", reply->index_bytes);
	}
	row.peak_rss_bytes = reply->peak_rss_bytes;
	row.err_log2_mean = w->built.err_log2_mean;
	row.err_max = w->built.err_max;
	row.checksum = reply->checksum;
	row.has_checksum = true;
	row.status = LDB_ROW_OK;
	row.note = note;
	for (int i = 0; i < LDB_COUNTERS; i++)
		row.counters[i] = reply->counters[i] / reply->ops;
	append(c, &row);
	if (c->kind->record && c->options->dir && c->status == LDB_OK)
		c->status = c->kind->record(&c->in, &row, c->options->dir, c->err);
}

static void run_pass(conduct *c, worker *w, size_t p, size_t rep)
{
	cell *k = &w->cells[p];
	const ldb_command command = pass_command(c, w, p, k->ops, rep - 1);
	ldb_reply reply;
	char why[256];
	ldb_row_status status;
	if (!exchange(c, w, &command, rep, &reply))
		return;
	const char *wrong = judge(c, w, p, &command, &reply, &status, why, sizeof why);
	if (wrong)
		fail_cell(c, w, p, rep, status, wrong);
	else
		record(c, w, p, rep, &reply);
}

static double pass_seconds(const ldb_experiment *e)
{
	return (e->ops ? 0.05 : e->pass_ms * 1.25e-3) + 0.002;
}

static void show(conduct *c, double more_s, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void show(conduct *c, double more_s, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	ldb_progress(c->done_s, text);
	c->done_s += more_s;
}

static bool stopped(const conduct *c)
{
	return interrupted || c->status != LDB_OK;
}

static void draw_round(conduct *c, uint64_t seed)
{
	if (c->kind->draw_round)
		c->kind->draw_round(&c->in, seed);
}

static void draw_point(conduct *c, size_t p, uint64_t seed)
{
	if (c->kind->draw_point && is_open(c, p) && !stopped(c))
		c->kind->draw_point(&c->in, &c->points[p], seed);
}

/* One pass of every worker at every point, workers shuffled at each. */
static void run_round(conduct *c, worker **group, size_t count, size_t rep)
{
	const ldb_experiment *e = c->stage->experiment;
	ldb_rng rng;
	ldb_rng_seed(&rng, e->seed ^ ldb_mix64(rep * 1000003 + c->stage->n));
	draw_round(c, ldb_rng_next(&rng));
	for (size_t p = 0; p < c->point_count; p++) {
		draw_point(c, p, e->seed + rep);
		for (size_t i = count; i > 1; i--) {
			size_t j = ldb_rng_below(&rng, i);
			worker *swap = group[i - 1];
			group[i - 1] = group[j];
			group[j] = swap;
		}
		for (size_t i = 0; i < count && !stopped(c); i++) {
			worker *w = group[i];
			char size[32];
			show(c, pass_seconds(e), "%s %s %s %s, round %zu of %zu", c->in.data.name,
			     ldb_size_format(c->in.data.n, size), w->competitor->name,
			     ldb_mode_name(c->points[p].mode), rep, e->reps);
			if (w->pid && !w->cells[p].ended)
				run_pass(c, w, p, rep);
		}
	}
}

static double build_seconds(const ldb_stage *s)
{
	return 0.05 + (double)s->n * 250e-9;
}

/*
 * Builds as many of the remaining workers as fit into memory together, the reference first and
 * always, and one more at least. Returns how many are in the group.
 */
static size_t build_group(conduct *c, worker **group)
{
	size_t count = 0;
	const size_t base_bytes = c->used_bytes;
	size_t references = 0;
	for (size_t i = 0; i < c->worker_count; i++) {
		if (c->workers[i].reference)
			wake_reference(c, &c->workers[i]);
		references += c->workers[i].reference;
	}
	for (size_t i = 0; i < 2 * c->worker_count && !stopped(c); i++) {
		worker *w = &c->workers[i % c->worker_count];
		if (w->reference != (i < c->worker_count) || !has_passes(c, w))
			continue;
		/* For the next group, where it comes right after the reference at the latest. */
		const bool must = count < references + (c->group > 1);
		if (!must && c->used_bytes + need_bytes(c, w) > c->budget_bytes)
			continue;
		char size[32];
		show(c, build_seconds(c->stage), "%s %s %s, building", c->in.data.name,
		     ldb_size_format(c->in.data.n, size), w->competitor->name);
		start_worker(c, w);
		if (!w->pid)
			continue;
		group[count++] = w;
		c->used_bytes += isnan(w->built.index_bytes) ? need_bytes(c, w)
							     : (size_t)w->built.index_bytes;
	}
	c->used_bytes = base_bytes;
	return count;
}

static void run_group(conduct *c, worker **group, size_t count)
{
	const ldb_experiment *e = c->stage->experiment;
	draw_round(c, e->seed);
	for (size_t p = 0; p < c->point_count; p++) {
		draw_point(c, p, e->seed);
		for (size_t i = 0; i < count && !stopped(c); i++) {
			show(c, 2 * pass_seconds(e), "%s %s, calibrating", c->in.data.name,
			     group[i]->competitor->name);
			if (group[i]->pid && !group[i]->cells[p].ended)
				calibrate(c, group[i], p);
		}
	}
	for (size_t rep = 1; rep <= e->reps && !stopped(c); rep++)
		run_round(c, group, count, rep);
	for (size_t i = 0; i < count && !stopped(c); i++)
		for (size_t p = 0; p < c->point_count; p++)
			group[i]->cells[p].ended = true;
}

/* The whole list of verification queries, in chunks of a set's size, in every mode. */
static void run_exhaustive(conduct *c, worker **group, size_t count)
{
	const ldb_experiment *e = c->stage->experiment;
	const size_t chunk = c->kind->verification_chunk;
	size_t total = 1;
	for (size_t first = 0; first < total && !stopped(c); first += chunk) {
		total = c->kind->draw_verification(&c->in, first, true);
		show(c, build_seconds(c->stage) * (double)chunk / (double)total * (double)count,
		     "%s, %zu of %zu queries", c->in.data.name, first, total);
		for (size_t i = 0; i < count; i++)
			for (size_t m = 0; m < e->mode_count && group[i]->pid; m++)
				verify_mode(c, group[i], e->modes[m]);
	}
	for (size_t i = 0; i < count && !stopped(c); i++) {
		char size[32];
		bool good = group[i]->pid != 0;
		for (size_t p = 0; p < c->point_count; p++)
			good = good && !group[i]->cells[p].failed;
		if (good && !(group[i]->competitor->flags & LDB_REFERENCE_ONLY))
			printf("ok    %-14s %-16s %8s  %zu %s in %zu mode(s)\n",
			       group[i]->competitor->name, c->in.data.name,
			       ldb_size_format(c->in.data.n, size), total,
			       c->kind->verified_name ? c->kind->verified_name : "queries",
			       e->mode_count);
		for (size_t p = 0; p < c->point_count; p++)
			group[i]->cells[p].ended = true;
	}
	fflush(stdout);
}

/* --- a stage -------------------------------------------------------------------------------- */

static uint64_t cell_hash(const conduct *c, const ldb_competitor *competitor, const ldb_point *at)
{
	const ldb_experiment *e = c->stage->experiment;
	const ldb_dataset_options options = {.seed = e->seed, .key_bits = ldb_file_key_bits(e)};
	char text[2048];
	int length = snprintf(
		text, sizeof text,
		"%llx|%s|%s|%s|%llx|%s|%llx|%zu|%u|%d|%s|%s|%zu|%s|%zu|%llu|%zu|%g|%s|%g|%g",
		(unsigned long long)ldb_driver_hash(), e->experiment, competitor->label,
		competitor->params_text, (unsigned long long)competitor->code_hash,
		c->stage->dataset,
		(unsigned long long)ldb_dataset_stamp(c->stage->dataset, &options), c->stage->n,
		competitor->key_bits, e->key_bits, at->workload->name, ldb_mode_name(at->mode),
		at->threads, ldb_pages_name(c->stage->pages), c->stage->payload_bytes,
		(unsigned long long)e->seed, e->ops, e->pass_ms, e->numa, e->preload, e->rate);
	return XXH3_64bits(text, (size_t)length);
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Points and workers of the stage, and which cells are still wanted. */
static bool lay_out(conduct *c)
{
	const ldb_experiment *e = c->stage->experiment;
	c->point_count = e->workload_count * e->mode_count * e->thread_count;
	c->worker_count = e->competitor_count;
	c->points = calloc(c->point_count, sizeof *c->points);
	c->workers = calloc(c->worker_count, sizeof *c->workers);
	if (!c->points || !c->workers)
		return false;
	ldb_point *at = c->points;
	for (size_t w = 0; w < e->workload_count; w++)
		for (size_t m = 0; m < e->mode_count; m++)
			for (size_t t = 0; t < e->thread_count; t++)
				*at++ = (ldb_point){&e->workloads[w], e->modes[m], e->threads[t]};
	for (size_t i = 0; i < c->worker_count; i++) {
		worker *w = &c->workers[i];
		w->competitor = &e->competitors[i];
		w->reference = ldb_is_reference(e, i);
		w->cells = calloc(c->point_count, sizeof *w->cells);
		if (!w->cells)
			return false;
		for (size_t p = 0; p < c->point_count; p++) {
			cell *k = &w->cells[p];
			k->hash = cell_hash(c, w->competitor, &c->points[p]);
			k->wanted =
				!c->options->complete_count ||
				!bsearch(&k->hash, c->options->complete, c->options->complete_count,
					 sizeof k->hash, compare_hashes);
			k->ended = !k->wanted;
			c->outcome->cells_skipped += !k->wanted;
		}
	}
	return true;
}

static void clear_stage(conduct *c)
{
	for (size_t i = 0; c->workers && i < c->worker_count; i++) {
		stop_worker(&c->workers[i]);
		free(c->workers[i].cells);
	}
	free(c->workers);
	free(c->points);
	c->kind->release(&c->in);
	ldb_dataset_free(&c->in.data);
	c->workers = NULL;
	c->points = NULL;
}

static bool find_duplicates(const ldb_dataset *data)
{
	for (size_t i = 1; i < data->n; i++)
		if (data->keys[i] == data->keys[i - 1])
			return true;
	return false;
}

/* Keys, payload and queries into memory; when that fails all cells of the stage do. */
static bool load_stage(conduct *c)
{
	const ldb_stage *s = c->stage;
	const ldb_experiment *e = s->experiment;
	const ldb_dataset_options options = {
		.pages = s->pages, .seed = e->seed, .key_bits = ldb_file_key_bits(e)};
	ldb_error err;
	c->budget_bytes = ldb_memory_budget(e);
	ldb_numa_place(e->numa);
	ldb_status status = ldb_dataset_load(s->dataset, s->n, &options, &c->in.data, &err);
	if (status == LDB_OK) {
		c->in.duplicates = find_duplicates(&c->in.data);
		status = c->kind->prepare(&c->in, &err);
	}
	if (status == LDB_OK) {
		if (c->options->on_dataset)
			c->options->on_dataset(c->options->user, &c->in.data);
		c->used_bytes = s->n * sizeof(ldb_key) + c->kind->bytes(s);
		if (c->budget_bytes > c->used_bytes + LDB_WORKER_BYTES)
			return true;
		status = ldb_fail(&err, LDB_OOM, "free some, or use a smaller size", s->dataset,
				  "%zu MB may be used now, keys and queries take %zu",
				  c->budget_bytes / 1000000, c->used_bytes / 1000000);
	}
	char why[800];
	snprintf(why, sizeof why, "%s: %s (%s)", err.subject, err.value, err.remedy);
	ldb_row_status row = status != LDB_OOM            ? LDB_ROW_ERROR
			     : s->pages == LDB_PAGES_HUGE ? LDB_ROW_UNSUPPORTED
							  : LDB_ROW_OOM;
	if (row == LDB_ROW_UNSUPPORTED)
		ldb_say("unsupported: %s", why);
	for (size_t i = 0; i < c->worker_count; i++)
		fail_worker(c, &c->workers[i], 1, row, why);
	return false;
}

static double stage_seconds(const ldb_stage *s)
{
	const ldb_experiment *e = s->experiment;
	double points = (double)(e->workload_count * e->mode_count * e->thread_count);
	double passes = points * (double)(e->reps + 2);
	return (double)e->competitor_count * (build_seconds(s) + passes * pass_seconds(e)) +
	       (double)s->n * 30e-9;
}

static void run_stage(conduct *c)
{
	const double start_s = c->done_s;
	worker **group = calloc(c->stage->experiment->competitor_count, sizeof *group);
	if (!group || !lay_out(c)) {
		c->status = ldb_fail_oom(c->err, "stage", sizeof *group);
		free(group);
		clear_stage(c);
		return;
	}
	const bool work = stage_is_open(c);
	if (work) {
		char size[32];
		show(c, (double)c->stage->n * 30e-9, "loading %s %s", c->stage->dataset,
		     ldb_size_format(c->stage->n, size));
	}
	if (work && load_stage(c)) {
		for (size_t i = 0; i < c->worker_count; i++)
			refuse_unsupported(c, &c->workers[i]);
		for (c->group = 1; !stopped(c) && stage_is_open(c); c->group++) {
			c->kind->draw_verification(&c->in, 0, false);
			size_t count = build_group(c, group);
			if (c->options->exhaustive_only)
				run_exhaustive(c, group, count);
			else
				run_group(c, group, count);
			for (size_t i = 0; i < count; i++)
				stop_worker(group[i]);
		}
	}
	for (size_t i = 0; i < c->worker_count; i++) {
		if (interrupted)
			kill_worker(&c->workers[i]);
		for (size_t p = 0; p < c->point_count; p++) {
			const cell *k = &c->workers[i].cells[p];
			c->outcome->cells_ok += k->wanted && k->ended && !k->failed;
		}
	}
	free(group);
	clear_stage(c);
	c->done_s = start_s + stage_seconds(c->stage);
}

ldb_status ldb_conduct(const ldb_plan *plan, const ldb_conduct_options *options, ldb_outcome *out,
		       ldb_error *err)
{
	*out = (ldb_outcome){0};
	size_t count;
	ldb_stage *stages = ldb_plan_stages(plan, &count);
	if (!stages)
		return ldb_fail_oom(err, "plan", sizeof *stages);
	conduct c = {.options = options, .outcome = out, .err = err, .samples = {.fd = -1}};
	ldb_status status = LDB_OK;
	if (options->dir)
		status = ldb_samples_open(options->dir, &c.samples, err);
	struct sigaction old_int, old_term, action = {.sa_handler = on_interrupt};
	sigaction(SIGINT, &action, &old_int);
	sigaction(SIGTERM, &action, &old_term);
	interrupted = 0;
	for (size_t i = 0; i < count; i++)
		if (i % options->shards == options->shard - 1)
			c.total_s += stage_seconds(&stages[i]);
	ldb_progress_start(c.total_s);
	for (size_t i = 0; i < count && status == LDB_OK && !interrupted; i++) {
		if (i % options->shards != options->shard - 1)
			continue;
		c.stage = c.in.stage = &stages[i];
		c.kind = ldb_kind_of(c.stage->experiment);
		run_stage(&c);
		status = c.status;
	}
	ldb_progress_end();
	sigaction(SIGINT, &old_int, NULL);
	sigaction(SIGTERM, &old_term, NULL);
	out->interrupted = interrupted;
	ldb_samples_close(&c.samples);
	free(stages);
	return status;
}
