/* A build's work in parts, each on a thread of its own. */
#ifndef LDB_PARTS_H
#define LDB_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { LDB_PARTS_MAX = 64 };

/*
 * Calls work(part) for each of `count` <= LDB_PARTS_MAX parts, which lie `bytes` apart, and returns
 * when all are done. The first part is the calling thread's, and so are those for which no thread
 * can be started.
 */
static inline void ldb_run_parts(void *(*work)(void *part), void *parts, size_t bytes, size_t count)
{
	pthread_t thread[LDB_PARTS_MAX];
	bool started[LDB_PARTS_MAX];
	for (size_t i = 1; i < count; i++)
		started[i] = pthread_create(&thread[i], NULL, work, (char *)parts + i * bytes) == 0;
	if (count)
		work(parts);
	for (size_t i = 1; i < count; i++) {
		if (started[i])
			pthread_join(thread[i], NULL);
		else
			work((char *)parts + i * bytes);
	}
}

#endif
