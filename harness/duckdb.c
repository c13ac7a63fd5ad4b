/* A process that runs DuckDB (ldb/duckdb.h). */
#include "ldb/duckdb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../datasets/catalog.h"
#include "names.h"

extern char **environ;

void ldb_duckdb_stop(ldb_duckdb *d)
{
	if (d->to)
		fclose(d->to); /* it sees that and ends */
	if (d->from)
		fclose(d->from);
	if (d->process > 0)
		while (waitpid(d->process, NULL, 0) < 0 && errno == EINTR)
			;
	*d = (ldb_duckdb){.process = 0};
}

/* Starts `argv` with pipes at its standard input and output. */
static bool start(ldb_duckdb *d, char *const argv[])
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
static bool start_on(ldb_duckdb *d, bool all_processors, char *const argv[])
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

ldb_status ldb_duckdb_start(ldb_duckdb *d, const char *who, const char *script, size_t threads,
			    const char *const more[2], ldb_error *err)
{
	char path[PATH_MAX + 64], packages[PATH_MAX], count[24], line[16] = "";
	*d = (ldb_duckdb){.process = 0};
	if (!catalog_data_path("data/duckdb", packages))
		return ldb_fail(err, LDB_INVALID, "use a shorter LDB_DATA", who, "path too long");
	snprintf(path, sizeof path, "%s/%s", ldb_root(), script);
	snprintf(count, sizeof count, "%ld",
		 threads ? (long)threads : sysconf(_SC_NPROCESSORS_ONLN));
	char *const argv[] = {"node",          path, packages, count, (char *)more[0],
			      (char *)more[1], NULL};
	if (start_on(d, threads != 1, argv) && fgets(line, sizeof line, d->from) &&
	    strcmp(line, "ready\n") == 0)
		return LDB_OK;
	ldb_duckdb_stop(d);
	return ldb_fail(err, LDB_UNSUPPORTED, "run scripts/tpch, which gets DuckDB", who,
			"node could not start it");
}
