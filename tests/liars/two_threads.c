/* Has a second thread work for it, though it was given one. */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "liar.h"

static void *busy(void *stop)
{
	cpu_set_t all;
	memset(&all, 0xff, sizeof all); /* away from the CPU that its caller is pinned to */
	pthread_setaffinity_np(pthread_self(), sizeof all, &all);
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED))
		;
	return NULL;
}

static void threads_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	int stop = 0;
	pthread_t thread;
	int started = pthread_create(&thread, NULL, busy, &stop) == 0;
	for (int again = 0; again < 200; again++)
		liar_lookup(self, q, n, out);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	if (started)
		pthread_join(thread, NULL);
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "two_threads",
	.build = liar_build, .lookup = threads_lookup,  .chase = liar_chase};
LDB_EXPORT_INDEX(table)
