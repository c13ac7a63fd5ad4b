/*
 * Counters by PAPI: hardware events where there is a performance monitoring unit, software events
 * always (context switches by getrusage). What does not exist stays NAN.
 *
 * A processor counts few events at once. Events that do not fit together go into groups, and a
 * round measures one group, in turn: no scaling, no guessing.
 */
#ifndef LDB_COUNTERS_H
#define LDB_COUNTERS_H

#include <stdio.h>

#include "samples.h"

/* Starts PAPI and forms the groups; returns their number, at least 1. Call once in a process. */
int ldb_counters_setup(void);
/*
 * Counting in this thread of group `round % groups`: prepared first, which takes system calls, so
 * that start is close to what is counted. stop fills values[] with totals, NAN for what was not
 * counted. Hardware events count this thread's user mode.
 */
typedef struct {
	int set, group;
	long switches;
} ldb_counting;
ldb_counting ldb_counters_prepare(size_t round);
void ldb_counters_start(ldb_counting *c);
void ldb_counters_stop(ldb_counting *c, double values[LDB_COUNTERS]);
/* Which columns are counted, by which event, or why not: for `list counters`. */
void ldb_counters_list(FILE *f);
/* The event of a column, or NULL. */
const char *ldb_counter_event(int column);

#endif
