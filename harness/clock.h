/* The one clock: monotonic nanoseconds. */
#ifndef LDB_CLOCK_H
#define LDB_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t ldb_timespec_ns(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t ldb_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return ldb_timespec_ns(t);
}

/* CPU time of all threads of this process. */
static inline uint64_t ldb_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return ldb_timespec_ns(t);
}

/* CPU time of this thread. */
static inline uint64_t ldb_thread_cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return ldb_timespec_ns(t);
}

#endif
