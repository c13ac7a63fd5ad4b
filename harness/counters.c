/* PAPI event groups (counters.h). */
#include "counters.h"

#include <math.h>
#include <papi.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>

enum { NAMES = 4, GROUPS = LDB_COUNTERS };

/* For each column the events that count it, best first. */
static const char *const candidates[LDB_COUNTERS][NAMES] = {
	{"PAPI_TOT_INS", "perf::INSTRUCTIONS"},
	{"PAPI_TOT_CYC", "perf::CYCLES"},
	{"PAPI_L1_DCM", "perf::L1-DCACHE-LOAD-MISSES"},
	{"PAPI_L2_DCM", "PAPI_L2_TCM"},
	{"PAPI_L3_TCM", "perf::LLC-LOAD-MISSES", "perf::CACHE-MISSES"},
	{"PAPI_TLB_DM", "perf::DTLB-LOAD-MISSES"},
	{"PAPI_BR_MSP", "perf::BRANCH-MISSES"},
	{"perf::PAGE-FAULTS", "perf::PERF_COUNT_SW_PAGE_FAULTS"},
	{NULL}, /* happen in the kernel, where PAPI may not look as an ordinary user: see getrusage
		 */
};
enum { CONTEXT_SWITCHES = LDB_COUNTERS - 1 };

static struct {
	bool started;
	int codes[LDB_COUNTERS]; /* 0: not available */
	const char *names[LDB_COUNTERS];
	int columns[GROUPS][LDB_COUNTERS], sizes[GROUPS], count;
} state;

/* A set with these events that really starts: an event may exist by name and not by hardware. */
static bool works(const int *columns, int count)
{
	int set = PAPI_NULL;
	if (PAPI_create_eventset(&set) != PAPI_OK)
		return false;
	bool good = true;
	for (int i = 0; i < count && good; i++)
		good = PAPI_add_event(set, state.codes[columns[i]]) == PAPI_OK;
	long long values[LDB_COUNTERS];
	good = good && PAPI_start(set) == PAPI_OK && PAPI_stop(set, values) == PAPI_OK;
	PAPI_cleanup_eventset(set);
	PAPI_destroy_eventset(&set);
	return good;
}

static void find_event(int column)
{
	for (int i = 0; i < NAMES && candidates[column][i]; i++) {
		if (PAPI_event_name_to_code((char *)candidates[column][i], &state.codes[column]) !=
		    PAPI_OK)
			continue;
		if (works(&column, 1)) {
			state.names[column] = candidates[column][i];
			return;
		}
	}
	state.codes[column] = 0;
}

static void form_groups(void)
{
	for (int column = 0; column < LDB_COUNTERS; column++) {
		if (!state.names[column])
			continue;
		int g = 0;
		for (; g < state.count; g++) {
			state.columns[g][state.sizes[g]] = column;
			if (works(state.columns[g], state.sizes[g] + 1))
				break;
		}
		state.columns[g][state.sizes[g]++] = column;
		if (g == state.count)
			state.count++;
	}
}

int ldb_counters_setup(void)
{
	if (!state.started) {
		state.started = true;
		/* PAPI reports on stderr what it can't do; the columns say it. */
		if (PAPI_library_init(PAPI_VER_CURRENT) == PAPI_VER_CURRENT &&
		    PAPI_thread_init(pthread_self) == PAPI_OK) {
			for (int i = 0; i < LDB_COUNTERS; i++)
				find_event(i);
			form_groups();
		}
	}
	return state.count ? state.count : 1;
}

const char *ldb_counter_event(int column)
{
	if (column == CONTEXT_SWITCHES)
		return "getrusage";
	return state.names[column];
}

static void release(ldb_counting *c)
{
	PAPI_cleanup_eventset(c->set);
	PAPI_destroy_eventset(&c->set);
	c->set = PAPI_NULL;
}

static long switches(void)
{
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

ldb_counting ldb_counters_prepare(size_t round)
{
	ldb_counting c = {.set = PAPI_NULL};
	if (!state.count || PAPI_create_eventset(&c.set) != PAPI_OK)
		return c;
	c.group = (int)(round % (size_t)state.count);
	bool good = true;
	for (int i = 0; i < state.sizes[c.group] && good; i++)
		good = PAPI_add_event(c.set, state.codes[state.columns[c.group][i]]) == PAPI_OK;
	if (!good)
		release(&c);
	return c;
}

void ldb_counters_start(ldb_counting *c)
{
	c->switches = switches();
	if (c->set != PAPI_NULL && PAPI_start(c->set) != PAPI_OK)
		release(c);
}

void ldb_counters_stop(ldb_counting *c, double values[LDB_COUNTERS])
{
	long long counts[LDB_COUNTERS];
	for (int i = 0; i < LDB_COUNTERS; i++)
		values[i] = NAN;
	values[CONTEXT_SWITCHES] = (double)(switches() - c->switches);
	if (c->set == PAPI_NULL)
		return;
	if (PAPI_stop(c->set, counts) == PAPI_OK)
		for (int i = 0; i < state.sizes[c->group]; i++)
			values[state.columns[c->group][i]] = (double)counts[i];
	release(c);
}

void ldb_counters_list(FILE *f)
{
	ldb_counters_setup();
	for (int i = 0; i < LDB_COUNTERS; i++) {
		const char *event = ldb_counter_event(i);
		fprintf(f, "%-17s %s\n", ldb_counter_names[i],
			event ? event : "not available on this machine");
	}
}
