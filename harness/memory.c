/*
 * Page policies and the competitors' allocator.
 *
 * Blocks of 1 MiB and more are mapped one by one. Smaller ones come from jemalloc, whose only arena
 * gets its extents, 2 MiB at a time, from the same mapping function, so the page policy holds for a
 * million small tree nodes as it does for one large array. Under sanitizers malloc stands in for
 * both, so that every overrun is seen.
 */
#include "memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifndef LDB_NO_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#define LARGE_BYTES ((size_t)1 << 20)

static struct {
	ldb_pages pages;
	size_t limit;
	atomic_size_t held, peak;
	atomic_size_t small_usable; /* what jemalloc sees of our small blocks */
	size_t foreign_at_setup;
	_Atomic uint64_t calls, fail_at;
} state = {.pages = LDB_PAGES_THP};

static const char *const page_names[] = {"4k", "thp", "huge"};

const char *ldb_pages_name(ldb_pages pages)
{
	return page_names[pages];
}

bool ldb_pages_parse(const char *text, ldb_pages *out)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(text, page_names[i]) == 0) {
			*out = (ldb_pages)i;
			return true;
		}
	}
	return false;
}

static size_t round_huge(size_t bytes)
{
	return (bytes + LDB_HUGE_PAGE - 1) & ~(LDB_HUGE_PAGE - 1);
}

/* Maps size bytes (a multiple of 4 KiB) aligned to `alignment` (a power of two >= 2 MiB). */
static void *map_aligned(size_t size, size_t alignment, ldb_pages pages)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	if (pages == LDB_PAGES_HUGE && alignment == LDB_HUGE_PAGE && size % LDB_HUGE_PAGE == 0) {
		/* No MAP_NORESERVE: a missing huge page must be told now, not by SIGBUS later. */
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
		return p == MAP_FAILED ? NULL : p;
	}
	if (pages == LDB_PAGES_HUGE)
		return NULL;
	if (size > SIZE_MAX - alignment)
		return NULL;
	char *raw = mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (raw == MAP_FAILED)
		return NULL;
	char *p = (char *)(((uintptr_t)raw + alignment - 1) & ~(uintptr_t)(alignment - 1));
	if (p > raw)
		munmap(raw, (size_t)(p - raw));
	if (raw + alignment > p)
		munmap(p + size, (size_t)(raw + alignment - p));
	madvise(p, size, pages == LDB_PAGES_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

void *ldb_map(size_t bytes, ldb_pages pages, ldb_error *err)
{
	size_t size = round_huge(bytes ? bytes : 1);
	void *p = size < bytes ? NULL : map_aligned(size, LDB_HUGE_PAGE, pages);
	if (p)
		return p;
	if (pages == LDB_PAGES_HUGE) {
		char remedy[128];
		snprintf(remedy, sizeof remedy,
			 "reserve more: sysctl vm.nr_hugepages=N with N >= %zu, or use --pages thp",
			 2 * size / LDB_HUGE_PAGE);
		ldb_fail(err, LDB_OOM, remedy, "explicit huge pages (--pages huge)",
			 "%zu of 2 MiB could not be had", size / LDB_HUGE_PAGE);
	} else {
		ldb_fail_oom(err, "memory", bytes);
	}
	return NULL;
}

void ldb_unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, round_huge(bytes ? bytes : 1));
}

#ifndef LDB_NO_JEMALLOC
const char *malloc_conf = "narenas:1"; /* read by jemalloc: one arena, the one with our hooks */

static void *extent_alloc(extent_hooks_t *hooks, void *new_addr, size_t size, size_t alignment,
			  bool *zero, bool *commit, unsigned arena)
{
	(void)hooks, (void)arena;
	if (new_addr)
		return NULL;
	void *p = map_aligned(size, alignment < LDB_HUGE_PAGE ? LDB_HUGE_PAGE : alignment,
			      state.pages);
	*zero = *commit = p != NULL;
	return p;
}

static bool extent_keep(extent_hooks_t *hooks, void *addr, size_t size, bool committed,
			unsigned arena)
{
	(void)hooks, (void)addr, (void)size, (void)committed, (void)arena;
	return true; /* refused: jemalloc keeps the extent for later use */
}

static bool extent_split(extent_hooks_t *hooks, void *addr, size_t size, size_t size_a,
			 size_t size_b, bool committed, unsigned arena)
{
	(void)hooks, (void)addr, (void)size, (void)size_a, (void)size_b, (void)committed;
	(void)arena;
	return false;
}

static bool extent_merge(extent_hooks_t *hooks, void *addr_a, size_t size_a, void *addr_b,
			 size_t size_b, bool committed, unsigned arena)
{
	(void)hooks, (void)addr_a, (void)size_a, (void)addr_b, (void)size_b, (void)committed;
	(void)arena;
	return false;
}

static extent_hooks_t hooks = {
	.alloc = extent_alloc,
	.dalloc = extent_keep,
	.split = extent_split,
	.merge = extent_merge,
};

static void install_hooks(void)
{
	extent_hooks_t *ours = &hooks;
	size_t grow = LDB_HUGE_PAGE;
	mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
	mallctl("arena.0.purge", NULL, NULL, NULL, 0);
	mallctl("arena.0.extent_hooks", NULL, NULL, &ours, sizeof ours);
	mallctl("arena.0.retain_grow_limit", NULL, NULL, &grow, sizeof grow);
}

static size_t malloced(void)
{
	uint64_t epoch = 1;
	size_t bytes = 0, cached = 0, length = sizeof bytes;
	mallctl("thread.tcache.flush", NULL, NULL, NULL, 0); /* before the statistics are taken */
	mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
	mallctl("stats.allocated", &bytes, &length, NULL, 0);
	/* What other threads have freed and keep for themselves counts as allocated. */
	mallctl("stats.arenas.0.tcache_bytes", &cached, &length, NULL, 0);
	return bytes - cached;
}

/* Large blocks kept for the next ones of their size (ldb_alloc_keep). */
static struct {
	pthread_mutex_t mutex;
	bool on;
	size_t count;
	struct {
		void *p;
		size_t bytes; /* rounded to huge pages */
	} block[64];
} kept = {.mutex = PTHREAD_MUTEX_INITIALIZER};

enum { KEPT_MOST = sizeof kept.block / sizeof *kept.block };

static void *take_kept(size_t bytes)
{
	void *p = NULL;
	pthread_mutex_lock(&kept.mutex);
	for (size_t i = kept.count; i-- > 0 && !p;) {
		if (kept.block[i].bytes != round_huge(bytes))
			continue;
		p = kept.block[i].p;
		kept.block[i] = kept.block[--kept.count];
	}
	pthread_mutex_unlock(&kept.mutex);
	return p;
}

static bool keep_block(void *p, size_t bytes)
{
	pthread_mutex_lock(&kept.mutex);
	const bool keep = kept.on && kept.count < KEPT_MOST;
	if (keep) {
		kept.block[kept.count].p = p;
		kept.block[kept.count++].bytes = round_huge(bytes);
	}
	pthread_mutex_unlock(&kept.mutex);
	return keep;
}

void ldb_alloc_keep(bool keep)
{
	pthread_mutex_lock(&kept.mutex);
	kept.on = keep;
	while (!keep && kept.count) {
		kept.count--;
		ldb_unmap(kept.block[kept.count].p, kept.block[kept.count].bytes);
	}
	pthread_mutex_unlock(&kept.mutex);
}

static void *raw_alloc(size_t bytes)
{
	if (bytes >= LARGE_BYTES) {
		void *p = take_kept(bytes);
		return p ? p : ldb_map(bytes, state.pages, NULL);
	}
	const int flags = MALLOCX_ALIGN(bytes >= 64 ? 64 : 16);
	void *p = mallocx(bytes ? bytes : 1, flags);
	if (p)
		atomic_fetch_add_explicit(&state.small_usable, sallocx(p, 0), memory_order_relaxed);
	return p;
}

static void raw_free(void *p, size_t bytes)
{
	if (bytes >= LARGE_BYTES) {
		if (!keep_block(p, bytes))
			ldb_unmap(p, bytes);
		return;
	}
	atomic_fetch_sub_explicit(&state.small_usable, sallocx(p, 0), memory_order_relaxed);
	dallocx(p, 0);
}

size_t ldb_alloc_foreign(void)
{
	size_t all = malloced() - atomic_load(&state.small_usable);
	return all > state.foreign_at_setup ? all - state.foreign_at_setup : 0;
}
#else
void ldb_alloc_keep(bool keep)
{
	(void)keep; /* every overrun is to be seen, and every use after free */
}

static void install_hooks(void)
{
}

static size_t malloced(void)
{
	return 0;
}

static void *raw_alloc(size_t bytes)
{
	void *p;
	return posix_memalign(&p, bytes >= 64 ? 64 : 16, bytes) == 0 ? p : NULL;
}

static void raw_free(void *p, size_t bytes)
{
	(void)bytes;
	free(p);
}

size_t ldb_alloc_foreign(void)
{
	return SIZE_MAX;
}
#endif

void ldb_alloc_setup(ldb_pages pages, size_t limit_bytes)
{
	state.pages = pages;
	state.limit = limit_bytes;
	atomic_store(&state.peak, atomic_load(&state.held));
	atomic_store(&state.calls, 0);
	atomic_store(&state.fail_at, 0);
	install_hooks();
	state.foreign_at_setup = malloced() - atomic_load(&state.small_usable);
}

size_t ldb_alloc_held(void)
{
	return atomic_load(&state.held);
}

size_t ldb_alloc_peak(void)
{
	return atomic_load(&state.peak);
}

void ldb_alloc_reset_peak(void)
{
	atomic_store(&state.peak, atomic_load(&state.held));
}

uint64_t ldb_alloc_calls(void)
{
	return atomic_load(&state.calls);
}

void ldb_alloc_fail_at(uint64_t nth)
{
	atomic_store(&state.fail_at, nth ? atomic_load(&state.calls) + nth : 0);
}

void *ldb_alloc(size_t bytes)
{
	uint64_t call = atomic_fetch_add_explicit(&state.calls, 1, memory_order_relaxed) + 1;
	if (call == atomic_load_explicit(&state.fail_at, memory_order_relaxed))
		return NULL;
	size_t held = atomic_fetch_add(&state.held, bytes) + bytes;
	if (held < bytes || (state.limit && held > state.limit)) {
		atomic_fetch_sub(&state.held, bytes);
		return NULL;
	}
	void *p = raw_alloc(bytes);
	if (!p) {
		atomic_fetch_sub(&state.held, bytes);
		return NULL;
	}
	size_t peak = atomic_load_explicit(&state.peak, memory_order_relaxed);
	while (held > peak && !atomic_compare_exchange_weak(&state.peak, &peak, held))
		;
	return p;
}

void ldb_free(void *p, size_t bytes)
{
	if (!p)
		return;
	raw_free(p, bytes);
	atomic_fetch_sub(&state.held, bytes);
}

/* Is this line of smaps the head of a mapping (an address range)? Then *size is its length. */
static bool smaps_head(const char *line, size_t *size, bool *anonymous)
{
	unsigned long from, to, inode;
	char path[2] = "";
	int fields = sscanf(line, "%lx-%lx %*s %*s %*s %lu %1s", &from, &to, &inode, path);
	if (fields < 3)
		return false;
	*size = to - from;
	*anonymous = inode == 0 || strstr(line, "hugepage");
	return true;
}

double ldb_huge_share(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	if (!f)
		return -1;
	char line[512];
	size_t size = 0, resident_kb = 0, huge_kb = 0, kb;
	bool anonymous = false;
	while (fgets(line, sizeof line, f)) {
		if (smaps_head(line, &size, &anonymous))
			continue;
		if (!anonymous || size < LDB_HUGE_PAGE)
			continue;
		if (sscanf(line, "Rss: %zu kB", &kb) == 1) {
			resident_kb += kb;
		} else if (sscanf(line, "AnonHugePages: %zu kB", &kb) == 1) {
			huge_kb += kb;
		} else if (sscanf(line, "Private_Hugetlb: %zu kB", &kb) == 1) {
			huge_kb += kb;
			resident_kb += kb; /* Rss leaves these out */
		}
	}
	fclose(f);
	return resident_kb ? (double)huge_kb / (double)resident_kb : -1;
}
