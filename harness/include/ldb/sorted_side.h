/*
 * A side of a join in the order of its keys: borrowed where it is sorted, else a copy that is
 * sorted by one of the project's sorts, with the rows.
 */
#ifndef LDB_SORTED_SIDE_H
#define LDB_SORTED_SIDE_H

#include <string.h>

#include "ldb/join.h"

typedef struct {
	const ldb_key *keys;
	size_t n;
	uint32_t *rows;  /* of keys[i]; NULL: i */
	ldb_key *sorted; /* NULL: keys are borrowed */
} ldb_sorted_side;

static inline void ldb_sorted_free(ldb_sorted_side *side)
{
	ldb_free(side->sorted, side->n * sizeof *side->sorted);
	ldb_free(side->rows, side->n * sizeof *side->rows);
}

/* Takes keys[0..n); to be freed by ldb_sorted_free. When it fails nothing is held. */
static inline ldb_status ldb_sorted_take(ldb_sorted_side *side, const ldb_join_input *input,
					 const ldb_key *keys, size_t n, bool sorted, ldb_error *err)
{
	*side = (ldb_sorted_side){.keys = keys, .n = n};
	if (sorted || n < 2)
		return LDB_OK;
	ldb_pair *pairs = ldb_alloc(n * sizeof *pairs);
	side->sorted = ldb_alloc(n * sizeof *side->sorted);
	side->rows = ldb_alloc(n * sizeof *side->rows);
	ldb_status status = LDB_OK;
	if (pairs && side->sorted && side->rows) {
		for (size_t i = 0; i < n; i++)
			pairs[i] = (ldb_pair){keys[i], i};
		const size_t threads = input->sort->flags & LDB_THREADS ? input->threads : 1;
		status = input->sort->sort_pairs(pairs, n, threads, input->sort_params, err);
		for (size_t i = 0; i < n; i++) {
			side->sorted[i] = pairs[i].key;
			side->rows[i] = (uint32_t)pairs[i].value;
		}
		side->keys = side->sorted;
	} else {
		status = ldb_fail_oom(err, "sorted side of a join", n * (sizeof *pairs + 12));
	}
	ldb_free(pairs, n * sizeof *pairs);
	if (status != LDB_OK)
		ldb_sorted_free(side);
	return status;
}

#endif
