/*
 * The one allocator of all competitors.
 *
 * Memory comes under the run's page policy (4 KiB pages, transparent or explicit huge pages) and
 * NUMA policy, is counted to the byte as requested, and can be made to fail at the nth call, which
 * is how the tests show that a competitor survives an allocation failure anywhere.
 *
 * The size is given back on free, as in C++'s sized deallocation: no header, exact accounting.
 */
#ifndef LDB_ALLOC_H
#define LDB_ALLOC_H

#include <stddef.h>

#include "ldb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Returns `bytes` of memory, not zeroed, or NULL when there is none. Aligned to 64 bytes (a cache
 * line) from 64 bytes up, to 16 below. bytes == 0 gives a valid pointer that must be freed too.
 * Thread-safe.
 */
LDB_API void *ldb_alloc(size_t bytes);

/* Gives back what ldb_alloc(bytes) returned; `bytes` must be the same. p == NULL does nothing. */
LDB_API void ldb_free(void *p, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
