/*
 * The PGM-index made dynamic by the logarithmic method: Ferragina, Vinciguerra, "The PGM-index",
 * VLDB 2020, section 3; the method after Bentley, Saxe, "Decomposable Searching Problems I",
 * Journal of Algorithms 1, 1980, and Overmars, "The Design of Dynamic Data Structures", 1983.
 *
 * Entries are in sorted runs, at most one on each level, a level `base` times as large as the one
 * below it. Level 0 is a small buffer, in which all changes are made. When it is full, it is merged
 * with the runs of the next levels into the first level that can hold them all. Each large run has
 * a static PGM-index over its keys (ldb/pgm.h).
 *
 *     level 0   [ 4 x | 9 b' ]                   the newest: an entry here hides those below
 *     level 1   [ 2 a | 4 d | 7 e ]              x: a tombstone, 4 is deleted
 *     level 3   [ 1 .. 4 .. 9 b .. 60 ]          the oldest run, without tombstones
 *
 * A delete is an entry with the value LDB_NONE, a tombstone. It is dropped when it comes to the
 * oldest run; when many have gathered before that, all runs are merged into one.
 */
#ifndef LDB_PGM_DYNAMIC_H
#define LDB_PGM_DYNAMIC_H

#include <stdbool.h>

#include "ldb/pgm.h"

enum { LEVELS_MAX = 40 };

typedef struct {
	ldb_key *keys;
	ldb_val *values; /* LDB_NONE: a tombstone */
	size_t count, room;
	size_t tombstones; /* not counted in the buffer */
	ldb_pgm *model;    /* NULL: the keys are few, and are searched by halving */
} run;

typedef struct {
	run level[LEVELS_MAX]; /* those without a run have count 0; level 0 is the buffer */
	size_t active[LEVELS_MAX], active_count; /* the buffer, and levels that have a run */
	size_t buffer_room, base;
	uint64_t epsilon;
	size_t indexed; /* keys from which on a run has a model */
	size_t bytes;
} pgm_dynamic;

/* Rank of the first key >= q. */
static inline size_t run_rank(const run *r, ldb_key q)
{
	return r->model ? ldb_pgm_rank(r->model, q) : ldb_lower_bound(r->keys, r->count, q);
}

/* --- runs.c ----------------------------------------------------------------------------------- */

/* How many entries the run of a level may have. */
size_t level_room(const pgm_dynamic *self, size_t level);
/* The empty index, and then its only run: value i for keys[i]. */
ldb_status runs_make(pgm_dynamic *self, const ldb_key *keys, size_t n, ldb_error *err);
void runs_free(pgm_dynamic *self);
/* Makes room in the buffer, which is full. On failure nothing has changed. */
ldb_status runs_merge(pgm_dynamic *self, ldb_error *err);

#endif
