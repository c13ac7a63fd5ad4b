/*
 * Kinds of work. The conductor and the worker know stages, rounds, processes and rows; what is done
 * in a pass is known by one file per kind: reads.c (lookups), mixed.c (streams of operations),
 * sorting.c (sorts), joins.c, q6.c (TPC-H's Q6).
 *
 * A kind makes its inputs once per stage, before workers are forked: they see them, and what is
 * drawn later, through shared memory. It says what a pass must answer, and does the worker's side:
 * build, verify, pass.
 */
#ifndef LDB_KIND_H
#define LDB_KIND_H

#include "dataset.h"
#include "plan.h"
#include "worker.h"

/* One point of a stage: all competitors run it in each round. */
typedef struct {
	const ldb_workload *workload;
	ldb_mode mode;
	size_t threads;
} ldb_point;

typedef struct ldb_inputs {
	const ldb_stage *stage;
	ldb_dataset data;
	bool duplicates; /* in data */
	void *own;       /* the kind's */
} ldb_inputs;

typedef struct ldb_kind {
	/* Bytes that the inputs of a stage take beside its keys. */
	size_t (*bytes)(const ldb_stage *stage);
	/* Rows that a competitor's peak_bytes_per_key counts; NULL: the stage's keys. */
	size_t (*rows)(const ldb_stage *stage);
	/* Makes in->own from what else is in it. Afterwards the verification is drawn. */
	ldb_status (*prepare)(ldb_inputs *in, ldb_error *err);
	void (*release)(ldb_inputs *in);

	/* Why a competitor can't do this by design, or NULL. */
	const char *(*refusal)(const ldb_inputs *in, const ldb_competitor *who,
			       const ldb_point *at);

	/* Draw anew: for a round; for a point of it, which runs next. Either may be NULL. */
	void (*draw_round)(ldb_inputs *in, uint64_t seed);
	void (*draw_point)(ldb_inputs *in, const ldb_point *at, uint64_t seed);
	/* Draws the verification from position `first` of it on, and returns how long it is. */
	size_t (*draw_verification)(ldb_inputs *in, size_t first, bool exhaustive);
	/* How much of it is drawn at a time. */
	size_t verification_chunk;
	const char *verified_name; /* what is counted by it; NULL: queries */

	/* Completes a VERIFY (at->workload NULL) or a PASS. */
	void (*command)(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
			ldb_command *out);
	/* Operations of a pass: 0 when the conductor is to find out how many fill pass_ms. */
	size_t (*pass_ops)(const ldb_inputs *in, const ldb_point *at);
	/* With how many it begins to find out. */
	size_t first_ops;
	/* Each pass begins anew: nothing to calibrate or to warm up. */
	bool builds_anew;
	/* Competitors start their threads themselves, and these may wait for each other. */
	bool threads_of_its_own;
	/* The checksum that a pass must return. */
	uint64_t (*expected)(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply);

	/* Writes what there is to say of a pass besides its row; NULL: nothing. */
	ldb_status (*record)(const ldb_inputs *in, const ldb_row *row, const char *dir,
			     ldb_error *err);

	/* In the worker. *self is NULL until built. */
	void (*build)(const ldb_job *job, bool validate, void **self, ldb_reply *reply);
	void (*verify)(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply);
	void (*pass)(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply);
} ldb_kind;

extern const ldb_kind ldb_reads, ldb_mixed, ldb_sorting, ldb_joins, ldb_selections;

/* The kind of an experiment. */
const ldb_kind *ldb_kind_of(const ldb_experiment *e);

static inline size_t ldb_kind_rows(const ldb_kind *kind, const ldb_stage *stage)
{
	return kind->rows ? kind->rows(stage) : stage->n;
}

#endif
