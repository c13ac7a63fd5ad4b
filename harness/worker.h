/*
 * The worker: a forked process that holds one competitor, and the words it exchanges with the
 * conductor over a socket. It builds once, answers the verification, then runs passes on demand. It
 * may crash, hang or run out of memory: the conductor sees that and goes on.
 */
#ifndef LDB_WORKER_H
#define LDB_WORKER_H

#include "memory.h"
#include "plan.h"
#include "samples.h"

typedef enum { LDB_BUILD, LDB_VERIFY, LDB_PASS } ldb_command_kind;

typedef struct {
	ldb_command_kind kind;
	ldb_mode mode;           /* VERIFY, PASS */
	size_t set;              /* VERIFY, PASS: reads: number of the query set */
	ldb_workload_kind order; /* VERIFY, PASS: sorts: of the input */
	size_t threads, ops;     /* PASS: ops per thread */
	size_t warm_ops;         /* PASS: untimed lookups of each thread before */
	size_t round;            /* PASS: chooses the counter group */
	bool validate;           /* BUILD: check the invariants too, however long that takes */
} ldb_command;

typedef struct {
	ldb_row_status status;
	char note[384];
	/* BUILD */
	double build_ns, tune_ns, index_bytes, err_log2_mean, err_max;
	double huge_share; /* of large mappings; < 0: not known */
	double floor_ns;   /* what the harness itself costs per lookup */
	double peak_rss_bytes;
	/* PASS; build_ns and index_bytes too, where it builds anew or grows */
	double ops, elapsed_ns, cpu_ns, own_cpu_ns;
	size_t repeats;                         /* of a stream that is shorter than a pass */
	double p50_ns, p99_ns, p999_ns, max_ns; /* of sampled operations */
	uint64_t checksum;
	double counters[LDB_COUNTERS]; /* totals */
} ldb_reply;

struct ldb_kind;
struct ldb_inputs;

typedef struct {
	const ldb_competitor *competitor;
	const struct ldb_kind *kind;
	const struct ldb_inputs *inputs;
	ldb_pages pages;
	size_t memory_bytes; /* most that ldb_alloc may hold, not 0 */
	size_t first_cpu;    /* threads are pinned from this one on, counted from the last down */
	size_t held_before;  /* by ldb_alloc, before anything was built; set in the worker */
} ldb_job;

/* Serves commands from the socket until it closes. Never returns. */
void ldb_worker_main(int socket, const ldb_job *job) __attribute__((noreturn));

/*
 * What is known of a competitor once it has built: begin before, end after (false, and the reply
 * says why, when it failed), then report what it tells of itself and what it holds. `claimed` is
 * what it says that is; SIZE_MAX: it holds it in another process, so that is unknown.
 */
typedef struct {
	size_t held, anonymous_kb;
	uint64_t start_ns;
} ldb_building;
ldb_building ldb_build_begin(void);
bool ldb_build_end(const ldb_building *building, ldb_status status, const ldb_error *err,
		   ldb_reply *reply);
void ldb_build_report(const ldb_building *building, const ldb_index_info *info, size_t claimed,
		      ldb_reply *reply);

/*
 * Builds the competitor's index over keys[0..n) and fills what is known then: status, note,
 * build_ns, tune_ns, index_bytes, huge_share. *self is NULL when it failed.
 */
void ldb_build_index(const ldb_job *job, const ldb_key *keys, size_t n, bool validate, void **self,
		     ldb_reply *reply);

ldb_row_status ldb_row_status_of(ldb_status status);

/* A field of /proc/self/status: "VmHWM:" in kB; 0 where there is none. */
size_t ldb_status_kb(const char *field);

#endif
