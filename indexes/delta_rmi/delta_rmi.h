/*
 * delta_rmi: learned, immutable runs with a delta for what is written, merged and retrained behind
 * the scenes. After the two-phase compaction of XIndex (Tang, Wang, Dong, Hu, Wang, Wang, Chen:
 * "XIndex: A Scalable Learned Index for Multicore Data Storage", PPoPP 2020) and the local repair
 * of FINEdex (Li, Hua, Jia, Zuo, VLDB 2021), on user-space RCU (Desnoyers, McKenney, Stern,
 * Dagenais, Walpole, IEEE TPDS 2012).
 *
 *	top      ends of pieces, behind a model                  replaced when a piece splits
 *	piece    ends of up to 32 runs                           replaced when a run splits
 *	run      a model and up to some thousand sorted entries  replaced when merged
 *	region   active and frozen delta, lock                   of one run (local), of all (global)
 *
 * Readers go top, piece, run without a lock, and look at three places, the newest first: the active
 * delta, the frozen one, the run. All three are reached through the run they found.
 *
 * Writers of a region take its lock. A key in the active delta, or, while nothing is frozen, in the
 * run, gets its new value in place; a deleted one gets LDB_NONE there. All others are put into the
 * active delta.
 *
 * The background thread merges a region in three steps. It freezes it, under the lock: the active
 * delta becomes the frozen one, and from now on nobody changes that or the run. It lays out new
 * runs from the two, retrains their models, and prepares all that has to be replaced above, with no
 * lock held. Then, under the lock again, for a few stores, it publishes them, with the active delta
 * taken over, and marks the region as dead: a writer that was waiting for the lock starts again
 * from the top. Where it runs out of memory it leaves the region frozen, which is as good as any
 * state, and comes back to it. No step of the other threads waits for this one, but for the lock.
 *
 * Why a reader misses nothing. Within the life of a region there is one freeze: `frozen` is set
 * before `active` is cleared, and read after it. So a reader finds every delta that was there when
 * it started, at least. What it finds of a region that has died meanwhile is what was true when
 * that died, later than the reader's start. Memory is freed when all readers that can hold it have
 * gone (reclaim.c).
 */
#ifndef DELTA_RMI_H
#define DELTA_RMI_H

#include <pthread.h>
#include <semaphore.h>

#include "delta.h"
#include "run.h"

typedef struct delta_rmi delta_rmi;

#define PIECE_RUNS 32

/* Consecutive runs, and the last key that each is for; unused ends are LDB_KEY_MAX. */
typedef struct {
	ldb_key end[PIECE_RUNS];
	_Atomic(run *) run[PIECE_RUNS];
	uint32_t count;
	garbage link;
} piece;

/* All pieces. Its parts lie behind it: cells of the model, lines of ends, links. */
typedef struct {
	model model;
	uint32_t count, lines;
	garbage link;
} top;
#define TOP_HEAD 64 /* bytes before the first of them */
_Static_assert(sizeof(top) <= TOP_HEAD, "the parts begin behind it");

enum { GARBAGE_NODE, GARBAGE_DELTA, GARBAGE_RUN, GARBAGE_PIECE, GARBAGE_TOP, GARBAGE_REGION };
#define GARBAGE_KINDS 6

struct delta_rmi {
	_Atomic(top *) top;
	region *shared;    /* of all runs; NULL: each has its own */
	uint32_t wanted;   /* entries of a run that is laid out */
	uint32_t cells;    /* of a run's model, for each line of entries */
	double share;      /* of a region's entries that may be new before it is merged */
	double duty;       /* share of the time that merging may take */
	uint64_t paced_ns; /* of the background thread: CPU time when it last rested */

	/* background.c */
	_Atomic(region *) queue; /* regions to merge, the last one first */
	pthread_t thread;
	bool started;
	sem_t wake;
	_Atomic bool stop;
	_Atomic uint64_t asked, served; /* times that all work was asked for, and done */

	/* reclaim.c */
	_Atomic size_t held_bytes, garbage_bytes;
	_Atomic(garbage *) garbage[GARBAGE_KINDS];

	/* merge.c: entries gathered for new runs */
	entries gathered;
};

/* --- memory: reclaim.c ------------------------------------------------------------------------ */

void *drmi_take(delta_rmi *self, size_t bytes);
void drmi_give(delta_rmi *self, void *p, size_t bytes);
/* A reader's stay: what it can reach is not freed before it leaves. No call in between waits. */
void drmi_enter(void);
void drmi_leave(delta_rmi *self);
/* Frees what `link` is in when no reader can reach it any more. It is unlinked already. */
void drmi_retire(delta_rmi *self, int kind, garbage *link);
/* Is there so much of it that it is worth waiting for readers? */
bool drmi_has_garbage(delta_rmi *self);
/* Waits until nobody can read what is garbage now, and frees it. */
void drmi_reclaim(delta_rmi *self);
/* Frees all garbage at once; no reader is left. */
void drmi_free_garbage(delta_rmi *self);

/* --- the way to a run: directory.c ------------------------------------------------------------ */

static inline size_t top_cells_bytes(const top *t)
{
	return model_bytes(t->model.cells);
}

static inline const uint16_t *top_cells(const top *t)
{
	return (const uint16_t *)(const void *)((const char *)t + TOP_HEAD);
}

static inline ldb_key *top_ends(const top *t)
{
	return (ldb_key *)(uintptr_t)((const char *)t + TOP_HEAD + top_cells_bytes(t));
}

static inline _Atomic(piece *) *top_pieces(const top *t)
{
	return (_Atomic(piece *) *)(void *)(top_ends(t) + 8 * (size_t)t->lines);
}

/* The number of the piece that q belongs to. */
static inline size_t top_find(const top *t, ldb_key q)
{
	const ldb_key *ends = top_ends(t);
	const size_t first = 8 * model_find_line(&t->model, top_cells(t), ends, 8, q);
	return first + ldb_count_less8(ends + first, q);
}

static inline size_t piece_find(const piece *p, ldb_key q)
{
	size_t rank = 0;
	for (size_t i = 0; i < PIECE_RUNS; i += 8)
		rank += ldb_count_less8(p->end + i, q);
	return rank;
}

/* The run that q belongs to. */
static inline run *drmi_route(const delta_rmi *self, ldb_key q)
{
	const top *t = atomic_load_explicit(&self->top, memory_order_acquire);
	const piece *p = atomic_load_explicit(&top_pieces(t)[top_find(t, q)], memory_order_acquire);
	return atomic_load_explicit(&p->run[piece_find(p, q)], memory_order_acquire);
}

/* Runs in place of others, prepared: nothing is published yet. */
typedef struct {
	top *old_top;
	piece *old_piece;
	size_t at, run_at; /* the piece's place in the top, the first replaced run's in the piece */
	run *only;         /* put into the old piece in the place of one run, */
	piece **pieces;    /* or pieces in the place of the old one, */
	size_t piece_count;
	top *top; /* and if they are not one, a top in the place of the old one */
} replacement;

/* Makes ready to put parts[0..count), count > 0, in the place of `replaced` consecutive runs of one
 * piece, the first of which is for the key `last`. False: no memory. */
bool directory_prepare(delta_rmi *self, ldb_key last, size_t replaced, run **parts, size_t count,
		       replacement *out);
void directory_cancel(delta_rmi *self, replacement *r);
void directory_publish(delta_rmi *self, const replacement *r);
/* After the publication, without any lock. */
void directory_retire_old(delta_rmi *self, replacement *r);
/* A top over runs[0..count); NULL: no memory. */
top *directory_make(delta_rmi *self, run *const *runs, size_t count);
size_t top_bytes(const top *t);
/* Frees a top and its pieces, not the runs. */
void directory_free(delta_rmi *self, top *t);

/* --- merging: merge.c, background.c ----------------------------------------------------------- */

void region_init(const delta_rmi *self, region *r, run *only, size_t count);

typedef enum {
	MERGED,
	MERGE_AGAIN,   /* was overtaken by writers; all is as before */
	MERGE_REFUSED, /* no memory, or the index is being destroyed; the region stays frozen */
} merge_result;
merge_result drmi_merge(delta_rmi *self, region *r);
/* Makes garbage of all that the index has, when nobody uses it any more. */
void drmi_retire_all(delta_rmi *self);

/* Under the region's lock: asks for a merge where enough has been written, or at once. */
void drmi_queue(delta_rmi *self, region *r, bool at_once);
/* By the background thread, between two pieces of work: rests as long as `duty` asks for. */
void drmi_pace(delta_rmi *self);
/* Starts the background thread. */
ldb_status drmi_start(delta_rmi *self, ldb_error *err);
void drmi_stop(delta_rmi *self);
void drmi_settle(delta_rmi *self);

#endif
