/*
 * A planted slow-down, for tests/perf_check_selftest.py: it puts this file in the place of
 * LDB_EXPORT_INDEX(table) in a copy of an index. Every call then takes a tenth longer: it waits, on
 * the processor, for a tenth of what it took.
 */
#include <time.h>

static double slowed_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static void slowed_wait(double start_ns, size_t n)
{
	static double usual_ns; /* per query: creeps towards the median of the calls */
	double took_ns = slowed_now_ns() - start_ns;
	if (usual_ns == 0)
		usual_ns = took_ns / (double)n;
	usual_ns *= took_ns > usual_ns * (double)n ? 1.05 : 1 / 1.05;
	/* Longer, and others had the processor meanwhile: their time is not to be paid for. */
	if (took_ns > 1.1 * usual_ns * (double)n)
		took_ns = 1.1 * usual_ns * (double)n;
	for (const double end_ns = slowed_now_ns() + took_ns / 10; slowed_now_ns() < end_ns;)
		;
}

static void slowed_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const double start_ns = slowed_now_ns();
	table.lookup(self, q, n, out);
	slowed_wait(start_ns, n);
}

static void slowed_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const double start_ns = slowed_now_ns();
	table.lookup_batch(self, q, n, out);
	slowed_wait(start_ns, n);
}

static void slowed_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	const double start_ns = slowed_now_ns();
	table.chase(self, q, n, carry, out);
	slowed_wait(start_ns, n);
}

__attribute__((visibility("default"))) const ldb_index *ldb_index_table(void);
const ldb_index *ldb_index_table(void)
{
	static ldb_index changed;
	changed = table;
	changed.lookup = slowed_lookup;
	changed.chase = slowed_chase;
	if (table.lookup_batch)
		changed.lookup_batch = slowed_lookup_batch;
	return &changed;
}
