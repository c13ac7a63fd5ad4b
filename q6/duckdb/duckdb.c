/*
 * DuckDB beside the others, as an outside reference: a whole database, reached through a process
 * of its own (serve.mjs) that has the columns in memory. What is timed includes the way there and
 * back, planning, and the sum; what it holds and its processor time are not known here.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ldb/q6.h"

typedef struct {
	pid_t process;
	FILE *to, *from;
} duckdb;

static const ldb_param params_table[] = {
	{"threads", "threads that DuckDB may use; 0: as many as the machine has", 1, 0, 256, NULL},
	{"order", "of its rows: as generated, or sorted by ship date, so that it can skip", 0, 0, 0,
	 "rows|l_shipdate"},
	{.name = NULL},
};

extern char **environ;

static void duckdb_destroy(void *self)
{
	duckdb *d = self;
	if (d->to)
		fclose(d->to); /* it sees that and ends */
	if (d->from)
		fclose(d->from);
	if (d->process > 0)
		while (waitpid(d->process, NULL, 0) < 0 && errno == EINTR)
			;
	ldb_free(d, sizeof *d);
}

/* Starts `argv` with pipes at its standard input and output. */
static bool start(duckdb *d, char *const argv[])
{
	int in[2] = {-1, -1}, out[2] = {-1, -1};
	posix_spawn_file_actions_t actions;
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 ||
	    posix_spawn_file_actions_init(&actions) != 0) {
		for (int i = 0; i < 2; i++) {
			close(in[i]);
			close(out[i]);
		}
		return false;
	}
	posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	if (posix_spawnp(&d->process, argv[0], &actions, NULL, argv, environ) != 0)
		d->process = 0;
	posix_spawn_file_actions_destroy(&actions);
	close(in[0]);
	close(out[1]);
	d->to = fdopen(in[1], "w");
	d->from = fdopen(out[0], "r");
	return d->process > 0 && d->to && d->from;
}

/* Lets the process have all processors when it is to have many threads: this one is pinned. */
static bool start_on(duckdb *d, bool all_processors, char *const argv[])
{
	cpu_set_t own, all;
	memset(&all, 0xff, sizeof all);
	const bool moved = all_processors && sched_getaffinity(0, sizeof own, &own) == 0 &&
			   sched_setaffinity(0, sizeof all, &all) == 0;
	const bool started = start(d, argv);
	if (moved)
		sched_setaffinity(0, sizeof own, &own);
	return started;
}

static ldb_status duckdb_build(void **self, const ldb_q6_input *input, const double *params,
			       ldb_error *err)
{
	char script[4096], database[4096], threads[16], line[16] = "";
	snprintf(script, sizeof script, "%s/q6/duckdb/serve.mjs", input->root);
	snprintf(database, sizeof database, "%s/tpch.duckdb", input->folder);
	const long processors = sysconf(_SC_NPROCESSORS_ONLN);
	snprintf(threads, sizeof threads, "%ld", params[0] > 0 ? (long)params[0] : processors);
	if (access(database, R_OK) != 0)
		return ldb_fail(err, LDB_UNSUPPORTED, "run scripts/tpch without --tbl", "duckdb",
				"there is no %.200s", database);
	duckdb *d = ldb_alloc(sizeof *d);
	if (!d)
		return ldb_fail_oom(err, "duckdb", sizeof *d);
	*d = (duckdb){.process = 0};
	char *order = params[1] > 0 ? "l_shipdate" : "rows";
	char *const argv[] = {"node", script, (char *)input->packages, database, threads,
			      order,  NULL};
	if (start_on(d, params[0] != 1, argv) && fgets(line, sizeof line, d->from) &&
	    strcmp(line, "ready\n") == 0) {
		*self = d;
		return LDB_OK;
	}
	duckdb_destroy(d);
	return ldb_fail(err, LDB_UNSUPPORTED, "run scripts/tpch, which gets it", "duckdb",
			"node could not start it");
}

static void duckdb_answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	const duckdb *d = self;
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
