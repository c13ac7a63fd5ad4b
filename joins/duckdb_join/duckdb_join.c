/*
 * DuckDB's own join beside the others, as an outside reference: a whole database, in a process of
 * its own (serve.mjs). It gets the keys of both sides, as text in a file in memory, before the
 * clock starts. What is timed is one SELECT from planning to the sum that the checksum is, and the
 * way there and back; what it holds and its processor time are not known here.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "ldb/duckdb.h"
#include "ldb/join.h"

static const ldb_param params_table[] = {
	{"threads", "threads that DuckDB may use; 0: as many as the machine has", 1, 0, 256, NULL},
	{.name = NULL},
};

/* With the sides that were loaded last; it ends with this process. */
static ldb_duckdb running;

static FILE *write_keys(const ldb_key *keys, size_t n)
{
	const int fd = memfd_create("keys", MFD_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (!file) {
		close(fd);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		fprintf(file, "%llu\n", (unsigned long long)keys[i]);
	if (fflush(file) == 0)
		return file;
	fclose(file);
	return NULL;
}

/* Asks for a table of each file, and waits until they are there. */
static bool load_files(FILE *build, FILE *probe, size_t build_n, size_t probe_n)
{
	unsigned long long rows[2];
	fprintf(running.to, "/proc/%ld/fd/%d /proc/%ld/fd/%d\n", (long)getpid(), fileno(build),
		(long)getpid(), fileno(probe));
	fflush(running.to);
	return fscanf(running.from, "%llu %llu", &rows[0], &rows[1]) == 2 && rows[0] == build_n &&
	       rows[1] == probe_n;
}

static ldb_status duckdb_load(const ldb_join_input *input, ldb_error *err)
{
	if (input->matches)
		return ldb_fail(err, LDB_UNSUPPORTED, "use --mode count", "duckdb_join",
				"its matches stay in its own process");
	ldb_duckdb_stop(&running);
	const ldb_status status =
		ldb_duckdb_start(&running, "duckdb_join", "joins/duckdb_join/serve.mjs",
				 (size_t)input->params[0], (const char *const[2]){NULL, NULL}, err);
	if (status != LDB_OK)
		return status;
	FILE *build = write_keys(input->build, input->build_n);
	FILE *probe = write_keys(input->probe, input->probe_n);
	const bool loaded =
		build && probe && load_files(build, probe, input->build_n, input->probe_n);
	if (build)
		fclose(build);
	if (probe)
		fclose(probe);
	return loaded ? LDB_OK
		      : ldb_fail(err, LDB_OOM, "use fewer rows, or a machine with more memory",
				 "duckdb_join", "could not load %zu and %zu keys", input->build_n,
				 input->probe_n);
}

static ldb_status duckdb_join(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	unsigned long long count, checksum;
	(void)input; /* it has them */
	fputc('\n', running.to);
	fflush(running.to);
	if (fscanf(running.from, "%llu %llu", &count, &checksum) != 2)
		return ldb_fail(err, LDB_INVALID, "see what node says above", "duckdb_join",
				"no answer");
	out->count = count;
	out->checksum = checksum;
	return LDB_OK;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "duckdb_join",
	.summary = "DuckDB's join, sides in its own tables: an outside reference",
	.origin = "Raasveldt, Muehleisen, SIGMOD 2019",
	.params = params_table,
	.peak_bytes_per_key = 80, /* in its own process */
	.join = duckdb_join,
	.load = duckdb_load,
};
LDB_EXPORT_JOIN(table)
