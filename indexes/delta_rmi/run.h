/*
 * A run: sorted entries with a model of where their keys lie, laid out once and never moved. Its
 * keys do not change; a value may (see delta_rmi.h).
 *
 * Eight keys fill a cache line, and their eight values are the next one, so that a lookup ends in
 * two lines side by side. The model is a histogram (Crotty, "Hist-Tree", CIDR 2021, one level of
 * it): the range of the keys is cut into equal cells, and for each the first line with a key of it
 * or a later one is noted. It is trained, not searched: one multiplication gives the cell, whose
 * entry and the next one's bound the lines that the answer can be in. Runs are short, so that their
 * keys lie nearly evenly even where those of the whole set do not, and most cells are one line.
 */
#ifndef DELTA_RMI_RUN_H
#define DELTA_RMI_RUN_H

#include <sched.h>

#include "delta.h"

/* --- model ------------------------------------------------------------------------------------ */

typedef struct {
	ldb_key first;
	uint64_t scale; /* cells per key, times 2^64 */
	uint32_t cells;
} model;

static inline size_t model_bytes(uint32_t cells)
{
	return ((cells + 1) * sizeof(uint16_t) + 63) & ~(size_t)63;
}

/* Never decreases as q grows: what training notes for keys holds for all q between them. */
static inline size_t model_cell(const model *m, ldb_key q)
{
	const uint64_t x = q > m->first ? q - m->first : 0;
	const uint64_t cell = (uint64_t)(((unsigned __int128)x * m->scale) >> 64);
	return cell < m->cells ? (size_t)cell : m->cells - 1;
}

/* The first line whose last key is >= q, or the last line. `stride`: keys from line to line. */
static inline size_t model_find_line(const model *m, const uint16_t *line_of, const ldb_key *keys,
				     size_t stride, ldb_key q)
{
	const size_t cell = model_cell(m, q);
	size_t lo = line_of[cell], hi = line_of[cell + 1];
	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		const bool less = keys[mid * stride + 7] < q;
		lo = less ? mid + 1 : lo;
		hi = less ? hi : mid;
	}
	return lo;
}

/* Sets *m and its cells for n keys in lines. */
void model_train(model *m, uint16_t *line_of, uint32_t cells, const ldb_key *keys, size_t stride,
		 size_t n);

/* --- region ----------------------------------------------------------------------------------- */

/* What is written to, merged and replaced together. */
typedef struct region region;
struct region {
	_Atomic(node *) active, frozen;
	struct run *run;     /* the only one of the region; NULL: all runs share it */
	region *next_queued; /* in the queue of regions to merge */
	garbage link;
	_Atomic uint32_t lock;
	_Atomic uint32_t dead; /* replaced: whoever has locked it starts again from the top */
	/* Under the lock: */
	uint32_t pending; /* entries in active, and tombstones in the run */
	uint32_t limit;   /* a merge is due from so many on */
	bool queued;
};

static inline void region_lock(region *r)
{
	for (unsigned spins = 1; atomic_exchange_explicit(&r->lock, 1, memory_order_acquire);) {
		while (atomic_load_explicit(&r->lock, memory_order_relaxed)) {
			if (spins++ % 64 == 0)
				sched_yield(); /* its holder may wait for our processor */
		}
	}
}

static inline void region_unlock(region *r)
{
	atomic_store_explicit(&r->lock, 0, memory_order_release);
}

/* --- run -------------------------------------------------------------------------------------- */

typedef struct {
	ldb_key key[8];
	_Atomic ldb_val value[8]; /* LDB_NONE: deleted since, or unused */
} line;

typedef struct run run;
struct run {
	model model;
	uint32_t lines;
	uint64_t count; /* entries; unused ones of the last line have LDB_KEY_MAX as their key */
	ldb_key begin, end; /* the keys that the run is for */
	region *region;     /* own, or that of all runs */
	region own;
	/* Behind it: cells of the model, lines. */
};
_Static_assert(sizeof(run) == 2 * 64, "what never changes, and what does, on lines of their own");

static inline const uint16_t *run_cells(const run *r)
{
	return (const uint16_t *)(const void *)((const char *)r + sizeof(run));
}

static inline line *run_lines(const run *r)
{
	return (line *)((uintptr_t)run_cells(r) + model_bytes(r->model.cells));
}

static inline size_t run_bytes(const run *r)
{
	return sizeof *r + model_bytes(r->model.cells) + r->lines * sizeof(line);
}

static inline size_t run_line(const run *r, ldb_key q)
{
	return model_find_line(&r->model, run_cells(r), run_lines(r)->key,
			       sizeof(line) / sizeof(ldb_key), q);
}

/* The rank of the first key >= q; count or more: none. */
static inline size_t run_rank(const run *r, ldb_key q)
{
	const size_t l = run_line(r, q);
	return 8 * l + ldb_count_less8(run_lines(r)[l].key, q);
}

static inline ldb_key run_key(const run *r, size_t rank)
{
	return run_lines(r)[rank / 8].key[rank % 8];
}

static inline _Atomic ldb_val *run_value(const run *r, size_t rank)
{
	return &run_lines(r)[rank / 8].value[rank % 8];
}

/* Where the value of q is; NULL: q is not in the run. */
static inline _Atomic ldb_val *run_find(const run *r, ldb_key q)
{
	const size_t rank = run_rank(r, q);
	return rank < r->count && run_key(r, rank) == q ? run_value(r, rank) : NULL;
}

static inline ldb_val value_load(const _Atomic ldb_val *at)
{
	return atomic_load_explicit(at, memory_order_acquire);
}

static inline void value_store(_Atomic ldb_val *at, ldb_val value)
{
	atomic_store_explicit(at, value, memory_order_release);
}

/* Entries on their way from old runs to new ones. */
typedef struct {
	ldb_key *key;
	ldb_val *value;
	size_t count, room;
} entries;

struct delta_rmi;
/* Makes room for `more` of them; false: no memory. */
bool entries_reserve(struct delta_rmi *self, entries *e, size_t more);

static inline void entries_add(entries *to, ldb_key key, ldb_val value)
{
	to->key[to->count] = key;
	to->value[to->count++] = value;
}

void entries_free(struct delta_rmi *self, entries *e);
/* A run for the keys begin..end of count entries; `shared` NULL: with a region of its own. NULL: no
 * memory. */
run *run_make(struct delta_rmi *self, const ldb_key *keys, const ldb_val *values, size_t count,
	      ldb_key begin, ldb_key end, region *shared);

#endif
