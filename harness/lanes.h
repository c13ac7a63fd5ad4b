/*
 * Lanes: the threads of a timed pass. Each is pinned, warms up, waits for the others, and runs;
 * what they took together goes from the first start to the last end.
 */
#ifndef LDB_LANES_H
#define LDB_LANES_H

#include <stddef.h>

#include "worker.h"

typedef struct {
	void (*warm)(void *work, size_t lane); /* untimed; NULL: nothing to warm */
	void (*run)(void *work, size_t lane);
	void *work;
	size_t threads, round; /* the round chooses the counter group */
} ldb_lanes;

/*
 * Runs all lanes, the first in the calling thread. Fills the reply's elapsed_ns, cpu_ns,
 * own_cpu_ns, start_ns and counters; when not all threads can be started nothing runs, and its
 * status says so.
 */
void ldb_run_lanes(const ldb_lanes *lanes, ldb_reply *reply);

/* Fails the reply where threads were at work that the pass was not given. */
void ldb_check_hidden_threads(size_t threads, ldb_reply *reply);

/* Pins this thread to the i-th last of the CPUs it may use, counted from the worker's first. */
void ldb_pin(size_t i);
/* Lets this thread, and those it starts, have the first `count` of these CPUs. */
void ldb_pin_several(size_t count);
void ldb_pin_from(size_t first_cpu);

#endif
