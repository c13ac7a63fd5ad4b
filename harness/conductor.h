/*
 * The conductor: loads each dataset once, forks a worker for each competitor, and runs their passes
 * in rounds, in an order shuffled anew in each, so that a drifting machine hits all alike.
 */
#ifndef LDB_CONDUCTOR_H
#define LDB_CONDUCTOR_H

#include "dataset.h"
#include "plan.h"

typedef struct {
	const char *dir;      /* of results; NULL: write nothing (verify) */
	size_t shard, shards; /* this process does stages shard-1, shard-1+shards, .. */
	size_t session;       /* 1, and one more with each resume */
	/* Hashes of cells already complete, sorted; from a run that is resumed. */
	const uint64_t *complete;
	size_t complete_count;
	bool exhaustive_only; /* verify every query, time nothing */
	void (*on_dataset)(void *user, const ldb_dataset *data); /* each one loaded; may be NULL */
	void *user;
} ldb_conduct_options;

typedef struct {
	size_t cells_ok, cells_bad, cells_unsupported, cells_skipped;
	size_t passes, passes_disturbed; /* disturbed: more than 10 % of the CPU went to others */
	bool interrupted;
} ldb_outcome;

/* Runs all stages of the plan. Failing cells become rows; an error means that nothing more could be
 * done (output folder, memory). */
ldb_status ldb_conduct(const ldb_plan *plan, const ldb_conduct_options *options, ldb_outcome *out,
		       ldb_error *err);

#endif
