/*
 * Lookups one at a time: a fence that no later instruction overtakes, and memory that pushes
 * everything else out of the caches.
 */
#ifndef LDB_FENCE_H
#define LDB_FENCE_H

#include <stddef.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* What comes after begins when all before has ended, loads and stores too. */
static inline void ldb_fence(void)
{
#if defined(__x86_64__)
	_mm_mfence();
	_mm_lfence(); /* mfence alone lets what is no load or store run ahead */
#elif defined(__aarch64__)
	__asm__ volatile("dsb sy\n\tisb" ::: "memory");
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Twice the last-level cache, as the machine states it, in small pages. NULL: no memory. Each
 * process has its own, from the first call on. */
typedef struct {
	unsigned char *bytes;
	size_t size;
} ldb_filler;
const ldb_filler *ldb_filler_get(void);

/* Reads a word of each line of it, twice, as a cache may keep what was used before from data that
 * is seen for the first time: then caches and TLB hold nothing else. */
void ldb_fill_caches(const ldb_filler *filler);

#endif
