/*
 * DuckDB beside the others, as an outside reference: a whole database, reached through a process
 * of its own (serve.mjs) that has the columns in memory. What is timed includes the way there and
 * back, planning, and the sum; what it holds and its processor time are not known here.
 */
#include <unistd.h>

#include "ldb/duckdb.h"
#include "ldb/q6.h"

static const ldb_param params_table[] = {
	{"threads", "threads that DuckDB may use; 0: as many as the machine has", 1, 0, 256, NULL},
	{"order", "of its rows: as generated, or sorted by ship date, so that it can skip", 0, 0, 0,
	 "rows|l_shipdate"},
	{.name = NULL},
};

static void duckdb_destroy(void *self)
{
	ldb_duckdb_stop(self);
	ldb_free(self, sizeof(ldb_duckdb));
}

static ldb_status duckdb_build(void **self, const ldb_q6_input *input, const double *params,
			       ldb_error *err)
{
	char database[4096];
	snprintf(database, sizeof database, "%s/tpch.duckdb", input->folder);
	if (access(database, R_OK) != 0)
		return ldb_fail(err, LDB_UNSUPPORTED, "run scripts/tpch without --tbl", "duckdb",
				"there is no %.200s", database);
	ldb_duckdb *d = ldb_alloc(sizeof *d);
	if (!d)
		return ldb_fail_oom(err, "duckdb", sizeof *d);
	const char *const more[2] = {database, params[1] > 0 ? "l_shipdate" : "rows"};
	const ldb_status status =
		ldb_duckdb_start(d, "duckdb", "q6/duckdb/serve.mjs", (size_t)params[0], more, err);
	if (status == LDB_OK)
		*self = d;
	else
		ldb_free(d, sizeof *d);
	return status;
}

static void duckdb_answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	const ldb_duckdb *d = self;
	for (size_t i = 0; i < n; i++)
		fprintf(d->to, "%s%u %u %u %u %u", i ? " " : "", q[i].from, q[i].to, q[i].low,
			q[i].high, q[i].below);
	fputc('\n', d->to);
	fflush(d->to);
	for (size_t i = 0; i < n; i++) {
		unsigned long long value;
		revenue[i] = fscanf(d->from, "%llu", &value) == 1 ? value : LDB_NONE;
	}
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "duckdb",
	.summary = "DuckDB, columns in memory: an outside reference",
	.origin = "Raasveldt, Muehleisen, \"DuckDB: an Embeddable Analytical Database\", SIGMOD "
		  "2019",
	.params = params_table,
	.peak_bytes_per_key = 60, /* in its own process */
	.build = duckdb_build,
	.destroy = duckdb_destroy,
	.answer = duckdb_answer,
};
LDB_EXPORT_Q6(table)
