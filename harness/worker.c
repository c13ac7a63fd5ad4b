/* The worker's process: a forked competitor that serves the conductor (worker.h). */
#include "worker.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "counters.h"
#include "kind.h"
#include "lanes.h"

size_t ldb_status_kb(const char *field)
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
	ldb_pin_from(job->first_cpu);
	ldb_counters_setup();
	ldb_alloc_setup(job->pages, job->memory_bytes);
	ldb_job own = *job;
	own.held_before = ldb_alloc_held();
	void *self = NULL;
	ldb_command c;
	while (recv(socket, &c, sizeof c, 0) == (ssize_t)sizeof c) {
		ldb_reply reply = {.tune_ns = NAN,
				   .index_bytes = NAN,
				   .err_log2_mean = NAN,
				   .err_max = NAN,
				   .p50_ns = NAN,
				   .p99_ns = NAN,
				   .p999_ns = NAN,
				   .max_ns = NAN};
		if (c.kind == LDB_BUILD)
			job->kind->build(&own, c.validate, &self, &reply);
		else if (c.kind == LDB_VERIFY)
			job->kind->verify(&own, &self, &c, &reply);
		else
			job->kind->pass(&own, &self, &c, &reply);
		reply.peak_rss_bytes = (double)ldb_status_kb("VmHWM:") * 1024;
		if (send(socket, &reply, sizeof reply, 0) != (ssize_t)sizeof reply)
			break;
	}
	_exit(0);
}
