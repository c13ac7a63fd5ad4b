/* Threads that start together (lanes.h). */
#include "lanes.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"
#include "counters.h"
#include "query.h"

static size_t first_cpu; /* shards side by side start from different ones */

void ldb_pin_from(size_t first)
{
	first_cpu = first;
	ldb_pin(0);
}

/* Adds the i-th last of the CPUs that this process was given; counted from the worker's first. */
static bool add_cpu(size_t i, cpu_set_t *set)
{
	static cpu_set_t allowed;
	static bool known;
	if (!known)
		known = sched_getaffinity(0, sizeof allowed, &allowed) == 0;
	size_t count = (size_t)CPU_COUNT(&allowed);
	if (!known || !count)
		return false;
	size_t skip = count - 1 - (i + first_cpu) % count;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || skip-- > 0)
			continue;
		CPU_SET(cpu, set);
		return true;
	}
	return false;
}

void ldb_pin(size_t i)
{
	cpu_set_t one;
	CPU_ZERO(&one);
	if (add_cpu(i, &one))
		pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

void ldb_pin_several(size_t count)
{
	cpu_set_t some;
	CPU_ZERO(&some);
	for (size_t i = 0; i < count; i++)
		if (!add_cpu(i, &some))
			return;
	pthread_setaffinity_np(pthread_self(), sizeof some, &some);
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

typedef struct {
	const ldb_lanes *lanes;
	gate *gate; /* NULL when alone */
	size_t number;
	uint64_t start_ns, end_ns, cpu_start_ns, cpu_end_ns, own_cpu_ns;
	double counters[LDB_COUNTERS];
} lane;

static void *run_lane(void *argument)
{
	lane *l = argument;
	const ldb_lanes *lanes = l->lanes;
	if (l->gate && !gate_wait(l->gate, STARTED))
		return NULL;
	ldb_pin(l->number);
	if (lanes->warm)
		lanes->warm(lanes->work, l->number);
	ldb_counting counting = ldb_counters_prepare(lanes->round);
	if (l->gate)
		gate_wait(l->gate, WARM);
	ldb_counters_start(&counting);
	l->cpu_start_ns = ldb_cpu_ns();
	const uint64_t own_start_ns = ldb_thread_cpu_ns();
	l->start_ns = ldb_now_ns();
	lanes->run(lanes->work, l->number);
	l->end_ns = ldb_now_ns();
	l->own_cpu_ns = ldb_thread_cpu_ns() - own_start_ns;
	l->cpu_end_ns = ldb_cpu_ns();
	ldb_counters_stop(&counting, l->counters);
	return NULL;
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
		for (int i = 0; i < LDB_COUNTERS; i++)
			all.counters[i] += l->counters[i];
	}
	reply->elapsed_ns += (double)(all.end_ns - all.start_ns);
	reply->cpu_ns += (double)(all.cpu_end_ns - all.cpu_start_ns);
	reply->own_cpu_ns += (double)all.own_cpu_ns;
	for (int i = 0; i < LDB_COUNTERS; i++)
		reply->counters[i] += all.counters[i];
}

void ldb_check_hidden_threads(size_t threads, ldb_reply *reply)
{
	/* CPU time that is not these threads' own was spent by others, hidden ones. */
	const double own = reply->own_cpu_ns, hidden = reply->cpu_ns - own;
	if (reply->status != LDB_ROW_OK || hidden <= 0.2 * own + 3e6)
		return;
	reply->status = LDB_ROW_ERROR;
	snprintf(reply->note, sizeof reply->note,
		 "uses more threads than the %zu it was given: %.0f %% of its CPU time is others'",
		 threads, 100 * hidden / reply->cpu_ns);
}

void ldb_run_lanes(const ldb_lanes *lanes, ldb_reply *reply)
{
	static lane all[LDB_MAX_THREADS];
	pthread_t threads[LDB_MAX_THREADS];
	gate meeting = {.mutex = PTHREAD_MUTEX_INITIALIZER,
			.changed = PTHREAD_COND_INITIALIZER,
			.expected = lanes->threads};
	size_t started = 1;
	for (size_t t = 0; t < lanes->threads; t++)
		all[t] = (lane){
			.lanes = lanes, .gate = lanes->threads > 1 ? &meeting : NULL, .number = t};
	for (size_t t = 1; t < lanes->threads; t++, started++)
		if (pthread_create(&threads[t], NULL, run_lane, &all[t]) != 0)
			break;
	if (started < lanes->threads)
		gate_cancel(&meeting);
	else
		run_lane(&all[0]);
	for (size_t t = 1; t < started; t++)
		pthread_join(threads[t], NULL);
	if (started == lanes->threads) {
		add_up(all, lanes->threads, reply);
		return;
	}
	reply->status = LDB_ROW_ERROR;
	snprintf(reply->note, sizeof reply->note, "only %zu of %zu threads could be started",
		 started, lanes->threads);
}
