/* Build, verification and timed passes of one competitor (worker.h). */
#include "worker.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "counters.h"

static size_t held_before_build; /* by this process, of ldb_alloc */

enum { BLOCK = 1024 }; /* queries per call of a competitor: queries and answers fit in L1 */

static size_t first_cpu; /* shards side by side start from different ones */

void ldb_pin(size_t i)
{
	static cpu_set_t allowed;
	static bool known;
	if (!known)
		known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
	size_t count = (size_t)CPU_COUNT(&allowed);
	if (!known || !count)
		return;
	size_t skip = count - 1 - (i + first_cpu) % count;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
			continue;
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(pthread_self(), sizeof one, &one);
		return;
	}
}

/* Asks `ops` queries of the set from `start` on, cyclic; returns the checksum of the answers. */
static uint64_t ask(const ldb_job *job, const void *self, const ldb_query_set *set, ldb_mode mode,
		    size_t start, size_t ops)
{
	const ldb_index *index = job->competitor->index;
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
			index->chase(self, set->q + at, length, carry, out);
			carry = out[length - 1];
		} else {
			lookup(self, set->q + at, length, out);
		}
		sum += ldb_fold(set->q + at, out, length, job->payload);
		done += length;
		at += length;
		if (at == set->count)
			at = 0;
	}
	return sum;
}

/* Where the threads of a pass wait: first until each has been started (or sent home, when one
   could not be), before any of them allocates; then until each is warm. */
typedef struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	size_t waiting, expected;
	bool cancelled;
} gate;

enum { STARTED = 1, WARM };

/* True: go. False: the pass is off. */
static bool gate_wait(gate *g, size_t meeting)
{
	pthread_mutex_lock(&g->mutex);
	if (++g->waiting == meeting * g->expected)
		pthread_cond_broadcast(&g->changed);
	while (g->waiting < meeting * g->expected && !g->cancelled)
		pthread_cond_wait(&g->changed, &g->mutex);
	bool go = !g->cancelled;
	pthread_mutex_unlock(&g->mutex);
	return go;
}

static void gate_cancel(gate *g)
{
	pthread_mutex_lock(&g->mutex);
	g->cancelled = true;
	pthread_cond_broadcast(&g->changed);
	pthread_mutex_unlock(&g->mutex);
}

/* One thread of a pass. */
typedef struct {
	const ldb_job *job;
	const void *self;
	const ldb_command *command;
	const ldb_query_set *set;
	gate *gate; /* NULL when alone */
	size_t number;
	uint64_t start_ns, end_ns, cpu_start_ns, cpu_end_ns, own_cpu_ns, checksum;
	double counters[LDB_COUNTERS];
} lane;

static void *run_lane(void *argument)
{
	lane *l = argument;
	const ldb_command *c = l->command;
	const size_t start = ldb_query_start(l->set, l->number, c->threads);
	if (l->gate && !gate_wait(l->gate, STARTED))
		return NULL;
	ldb_pin(l->number);
	/* Half the set away, so that the timed queries are not those just asked. */
	ask(l->job, l->self, l->set, c->mode, (start + l->set->count / 2) % l->set->count,
	    c->warm_ops);
	ldb_counting counting = ldb_counters_prepare(c->round);
	if (l->gate)
		gate_wait(l->gate, WARM);
	ldb_counters_start(&counting);
	l->cpu_start_ns = ldb_cpu_ns();
	const uint64_t own_start_ns = ldb_thread_cpu_ns();
	l->start_ns = ldb_now_ns();
	l->checksum = ask(l->job, l->self, l->set, c->mode, start, c->ops);
	l->end_ns = ldb_now_ns();
	l->own_cpu_ns = ldb_thread_cpu_ns() - own_start_ns;
	l->cpu_end_ns = ldb_cpu_ns();
	ldb_counters_stop(&counting, l->counters);
	return NULL;
}

static size_t status_kb(const char *field)
{
	char line[256];
	size_t kb = 0, length = strlen(field);
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, field, length) == 0)
			sscanf(line + length, " %zu", &kb);
	if (f)
		fclose(f);
	return kb;
}

/* What the threads saw together: from the first start to the last end. */
static void add_up(const lane *lanes, size_t threads, ldb_reply *reply)
{
	lane all = lanes[0];
	for (size_t t = 1; t < threads; t++) {
		const lane *l = &lanes[t];
		all.start_ns = l->start_ns < all.start_ns ? l->start_ns : all.start_ns;
		all.end_ns = l->end_ns > all.end_ns ? l->end_ns : all.end_ns;
		all.cpu_start_ns =
			l->cpu_start_ns < all.cpu_start_ns ? l->cpu_start_ns : all.cpu_start_ns;
		all.cpu_end_ns = l->cpu_end_ns > all.cpu_end_ns ? l->cpu_end_ns : all.cpu_end_ns;
		all.own_cpu_ns += l->own_cpu_ns;
		all.checksum += l->checksum;
		for (int i = 0; i < LDB_COUNTERS; i++)
			all.counters[i] += l->counters[i];
	}
	reply->elapsed_ns = (double)(all.end_ns - all.start_ns);
	reply->cpu_ns = (double)(all.cpu_end_ns - all.cpu_start_ns);
	reply->checksum = all.checksum;
	memcpy(reply->counters, all.counters, sizeof all.counters);
	reply->own_cpu_ns = (double)all.own_cpu_ns;
	reply->index_bytes = (double)(ldb_alloc_held() - held_before_build);
	reply->peak_rss_bytes = (double)status_kb("VmHWM:") * 1024;
	/* CPU time that is not these threads' own was spent by others, hidden ones. */
	double own = (double)all.own_cpu_ns, hidden = reply->cpu_ns - own;
	if (hidden > 0.2 * own + 3e6) {
		reply->status = LDB_ROW_ERROR;
		snprintf(reply->note, sizeof reply->note,
			 "uses more threads than the %zu it was given: %.0f %% of its CPU time is "
			 "others'",
			 threads, 100 * hidden / reply->cpu_ns);
	}
}

/* Starts the threads, the first in this one, and adds up what they saw. */
static void pass(const ldb_job *job, const void *self, const ldb_command *c, ldb_reply *reply)
{
	static lane lanes[LDB_MAX_THREADS];
	pthread_t threads[LDB_MAX_THREADS];
	gate meeting = {.mutex = PTHREAD_MUTEX_INITIALIZER,
			.changed = PTHREAD_COND_INITIALIZER,
			.expected = c->threads};
	size_t started = 1;
	for (size_t t = 0; t < c->threads; t++)
		lanes[t] = (lane){.job = job,
				  .self = self,
				  .command = c,
				  .set = &job->queries->sets[c->set],
				  .gate = c->threads > 1 ? &meeting : NULL,
				  .number = t};
	for (size_t t = 1; t < c->threads; t++, started++)
		if (pthread_create(&threads[t], NULL, run_lane, &lanes[t]) != 0)
			break;
	if (started < c->threads)
		gate_cancel(&meeting);
	else
		run_lane(&lanes[0]);
	for (size_t t = 1; t < started; t++)
		pthread_join(threads[t], NULL);
	if (started == c->threads) {
		add_up(lanes, c->threads, reply);
		return;
	}
	reply->status = LDB_ROW_ERROR;
	snprintf(reply->note, sizeof reply->note, "only %zu of %zu threads could be started",
		 started, c->threads);
}

/* What copying and folding cost: no index can be faster. */
static double measure_floor(const ldb_job *job)
{
	const ldb_query_set *set = &job->queries->sets[0];
	_Alignas(64) ldb_val out[BLOCK];
	double best = INFINITY;
	volatile uint64_t sink = 0;
	size_t length = set->count < BLOCK ? set->count : BLOCK;
	for (int i = 0; i < 64; i++) {
		uint64_t start = ldb_now_ns();
		for (int j = 0; j < 8; j++) {
			memcpy(out, set->q, length * sizeof *out);
			sink = sink + ldb_fold(set->q, out, length, job->payload);
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
	const size_t n = job->data->n, most = 1000000, count = n < most ? n : most;
	if (!index->window || !count)
		return;
	double sum = 0;
	size_t max = 0;
	for (size_t i = 0; i < count; i++) {
		size_t lo = 0, hi = 0;
		size_t rank = (size_t)((unsigned __int128)i * n / count);
		index->window(self, job->data->keys[rank], &lo, &hi);
		size_t size = hi - lo + 1;
		sum += log2((double)size);
		max = size > max ? size : max;
	}
	reply->err_log2_mean = sum / (double)count;
	reply->err_max = (double)max;
}

static ldb_row_status row_status(ldb_status status)
{
	return status == LDB_OK            ? LDB_ROW_OK
	       : status == LDB_UNSUPPORTED ? LDB_ROW_UNSUPPORTED
	       : status == LDB_OOM         ? LDB_ROW_OOM
					   : LDB_ROW_ERROR;
}

/* Memory the index holds outside ldb_alloc makes its size unknown: said, and left empty. */
static void report_bytes(const ldb_job *job, const void *self, size_t held, size_t mapped,
			 ldb_reply *reply)
{
	size_t foreign = ldb_alloc_foreign(), claimed = job->competitor->index->bytes(self);
	size_t length = strlen(reply->note);
	reply->index_bytes = (double)held;
	if (foreign == SIZE_MAX)
		foreign = 0; /* under a sanitizer nobody knows */
	else if (mapped > held + held / 10 + ((size_t)16 << 20) && mapped - held > foreign)
		foreign = mapped - held; /* by mmap, past malloc as well */
	if (foreign > held / 10 + ((size_t)1 << 20)) {
		reply->index_bytes = NAN;
		snprintf(reply->note + length, sizeof reply->note - length,
			 "%shides=%zu bytes outside ldb_alloc", length ? "; " : "", foreign);
	} else if (claimed != held) {
		snprintf(reply->note + length, sizeof reply->note - length, "%sclaims=%zu bytes",
			 length ? "; " : "", claimed);
	}
}

static void report_pages(ldb_reply *reply)
{
	double share = reply->huge_share = ldb_huge_share();
	size_t length = strlen(reply->note);
	if (share >= 0)
		snprintf(reply->note + length, sizeof reply->note - length, "%shuge=%.2f",
			 length ? "; " : "", share);
}

static void build(const ldb_job *job, bool validate, void **self, ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	ldb_error err = {.subject = ""};
	ldb_alloc_setup(job->pages, job->memory_bytes);
	held_before_build = ldb_alloc_held();
	const size_t anonymous_kb = status_kb("RssAnon:") + status_kb("HugetlbPages:");
	uint64_t start = ldb_now_ns();
	ldb_status status =
		index->build(self, job->data->keys, job->data->n, job->competitor->params, &err);
	reply->build_ns = (double)(ldb_now_ns() - start);
	if (status == LDB_OK && validate)
		status = index->validate(*self, &err);
	reply->status = row_status(status);
	if (status != LDB_OK) {
		snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", err.subject,
			 err.value, err.remedy);
		return;
	}
	ldb_index_info info = {.tune_ns = 0};
	if (index->info)
		index->info(*self, &info);
	if (info.tune_ns)
		reply->tune_ns = (double)info.tune_ns;
	if (*info.chosen)
		snprintf(reply->note, sizeof reply->note, "chosen=%s", info.chosen);
	for (char *c = reply->note; *c; c++)
		if (*c == ';')
			*c = ' ';
	const size_t grown_kb = status_kb("RssAnon:") + status_kb("HugetlbPages:") - anonymous_kb;
	report_bytes(job, *self, ldb_alloc_held() - held_before_build,
		     (ptrdiff_t)grown_kb > 0 ? grown_kb * 1024 : 0, reply);
	report_pages(reply);
	measure_windows(job, *self, reply);
	reply->floor_ns = measure_floor(job);
}

/* Every answer of the set in that mode; the first wrong one into the note. */
static void verify(const ldb_job *job, const void *self, const ldb_command *c, ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	const ldb_query_set *set = &job->queries->sets[c->set];
	if (index->flags & LDB_REFERENCE_ONLY)
		return;
	_Alignas(64) ldb_val out[BLOCK];
	ldb_val carry = set->answer[set->count - 1];
	for (size_t at = 0; at < set->count; at += BLOCK) {
		size_t length = set->count - at < BLOCK ? set->count - at : BLOCK;
		const ldb_key *q = set->q + at;
		memset(out, 0xa5, sizeof out);
		if (c->mode == LDB_CHAINED)
			index->chase(self, q, length, carry, out);
		else if (c->mode == LDB_BATCHED && index->lookup_batch)
			index->lookup_batch(self, q, length, out);
		else
			index->lookup(self, q, length, out);
		for (size_t i = 0; i < length; i++) {
			ldb_val want = set->answer[at + i];
			if (out[i] == want)
				continue;
			ldb_key key = q[i];
			if (set->chained)
				key += ldb_chain_step(
					set->answer[at + i ? at + i - 1 : set->count - 1]);
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

/* Competitors don't print: what they say on stdout must not mix with ours. */
static void silence_stdout(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null >= 0)
		dup2(null, STDOUT_FILENO);
}

void ldb_worker_main(int socket, const ldb_job *job)
{
	const struct rlimit no_core = {0, 0};
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* the conductor's end is ours, even by kill -9 */
	signal(SIGINT, SIG_IGN);          /* Ctrl-C is for the conductor to handle */
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	setrlimit(RLIMIT_CORE, &no_core);
	silence_stdout();
	FILE *oom = fopen("/proc/self/oom_score_adj", "w");
	if (oom) {
		fputs("1000",
		      oom); /* out of memory: the kernel takes the worker, not the results */
		fclose(oom);
	}
	first_cpu = job->first_cpu;
	ldb_pin(0);
	ldb_counters_setup();
	void *self = NULL;
	ldb_command c;
	while (recv(socket, &c, sizeof c, 0) == (ssize_t)sizeof c) {
		ldb_reply reply = {
			.tune_ns = NAN, .index_bytes = NAN, .err_log2_mean = NAN, .err_max = NAN};
		if (c.kind == LDB_BUILD)
			build(job, c.validate, &self, &reply);
		else if (c.kind == LDB_VERIFY)
			verify(job, self, &c, &reply);
		else
			pass(job, self, &c, &reply);
		if (send(socket, &reply, sizeof reply, 0) != (ssize_t)sizeof reply)
			break;
	}
	_exit(0);
}
