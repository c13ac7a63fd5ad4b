/*
 * The timeline of a pass: operations, CPU time and memory in each slot of 100 ms, so that merges
 * and retraining are seen. Written by a worker's threads into memory that the conductor sees, and
 * by it to timeline.csv.
 */
#ifndef LDB_TIMELINE_H
#define LDB_TIMELINE_H

#include <stdint.h>

#include "samples.h"

enum { LDB_SLOTS = 8192 };
#define LDB_SLOT_NS UINT64_C(100000000)

typedef struct {
	uint64_t start_ns; /* 0: not started */
	uint64_t last;     /* slot that has been reached */
	uint64_t cpu_start_ns;
	uint64_t ops[LDB_SLOTS];
	uint64_t cpu_ns[LDB_SLOTS]; /* of the whole process, until the slot's end */
	uint64_t held_bytes[LDB_SLOTS];
} ldb_timeline;

/* Empties it; the next operation starts it. */
void ldb_timeline_reset(ldb_timeline *t);
/* `ops` operations have ended at now_ns, the pass having begun at start_ns. Thread-safe. */
void ldb_timeline_add(ldb_timeline *t, uint64_t start_ns, uint64_t now_ns, uint64_t ops);

/* Appends its slots to DIR/timeline.csv, as those of that row's pass. Fewer than three slots say
 * nothing that the row doesn't, and are left out. */
ldb_status ldb_timeline_write(const ldb_timeline *t, const char *dir, const ldb_row *row,
			      ldb_error *err);

#endif
