/*
 * Memory under a page policy: whole mappings for datasets and queries, and the settings of the
 * allocator that competitors use (ldb/alloc.h).
 */
#ifndef LDB_MEMORY_H
#define LDB_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ldb/alloc.h"
#include "ldb/status.h"

typedef enum {
	LDB_PAGES_4K,   /* small pages only (MADV_NOHUGEPAGE) */
	LDB_PAGES_THP,  /* transparent huge pages (MADV_HUGEPAGE) */
	LDB_PAGES_HUGE, /* reserved huge pages (MAP_HUGETLB); fails where none are reserved */
} ldb_pages;

#define LDB_HUGE_PAGE ((size_t)2 << 20)

/* "4k", "thp", "huge" */
const char *ldb_pages_name(ldb_pages pages);
bool ldb_pages_parse(const char *text, ldb_pages *out);

/*
 * Maps `bytes` of zeroed private memory, aligned to 2 MiB and rounded up to it. NULL and *err when
 * there is none (LDB_PAGES_HUGE: with the sysctl that reserves enough). Unmap with the same size.
 */
void *ldb_map(size_t bytes, ldb_pages pages, ldb_error *err);
void ldb_unmap(void *p, size_t bytes);

/* Gives the page policy of all further ldb_alloc and the most bytes it may hold (0: no limit). */
void ldb_alloc_setup(ldb_pages pages, size_t limit_bytes);
/* Bytes requested and not yet freed; the most there ever were since setup. */
size_t ldb_alloc_held(void);
size_t ldb_alloc_peak(void);
/* From now on the peak counts from what is held. */
void ldb_alloc_reset_peak(void);
/* Bytes that this process got by malloc and not by ldb_alloc; SIZE_MAX where unknown. */
size_t ldb_alloc_foreign(void);
/* The nth ldb_alloc from now (1 = the next) fails, once; 0: none does. */
void ldb_alloc_fail_at(uint64_t nth);
/* How many ldb_alloc calls there were since setup. */
uint64_t ldb_alloc_calls(void);

/*
 * From now on large blocks that are freed are kept for the next ones of their size, with pages that
 * are there already; or no longer, and those kept are given back.
 */
void ldb_alloc_keep(bool keep);

/* Share of the process's large anonymous mappings that huge pages back, 0..1, by smaps; <0 unknown.
 */
double ldb_huge_share(void);

#endif
