/*
 * The worker: a forked process that holds one competitor, and the words it exchanges with the
 * conductor over a socket. It builds once, answers the verification, then runs passes on demand. It
 * may crash, hang or run out of memory: the conductor sees that and goes on.
 */
#ifndef LDB_WORKER_H
#define LDB_WORKER_H

#include "query.h"
#include "samples.h"

typedef enum { LDB_BUILD, LDB_VERIFY, LDB_PASS } ldb_command_kind;

typedef struct {
	ldb_command_kind kind;
	ldb_mode mode;       /* VERIFY, PASS */
	size_t set;          /* VERIFY, PASS: number of the query set */
	size_t threads, ops; /* PASS: ops per thread */
	size_t warm_ops;     /* PASS: untimed lookups of each thread before */
	size_t round;        /* PASS: chooses the counter group */
	bool validate;       /* BUILD: check the invariants too, however long that takes */
} ldb_command;

typedef struct {
	ldb_row_status status;
	char note[384];
	/* BUILD */
	double build_ns, tune_ns, index_bytes, err_log2_mean, err_max;
	double huge_share; /* of large mappings; < 0: not known */
	double floor_ns;   /* what the harness itself costs per lookup */
	/* PASS */
	double elapsed_ns, cpu_ns, own_cpu_ns, peak_rss_bytes; /* index_bytes too: it may grow */
	uint64_t checksum;
	double counters[LDB_COUNTERS]; /* totals */
} ldb_reply;

typedef struct {
	const ldb_competitor *competitor;
	const ldb_dataset *data;
	const ldb_payload *payload;
	const ldb_queries *queries;
	ldb_pages pages;
	size_t memory_bytes; /* most that ldb_alloc may hold, not 0 */
	size_t first_cpu;    /* threads are pinned from this one on, counted from the last down */
} ldb_job;

/* Serves commands from the socket until it closes. Never returns. */
void ldb_worker_main(int socket, const ldb_job *job) __attribute__((noreturn));

/* Pins this thread to the i-th last of the CPUs it may use. */
void ldb_pin(size_t i);

#endif
