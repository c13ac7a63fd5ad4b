/*
 * The two sides of a join, as workloads name them, and what must come out.
 *
 *   xR:OO[:zipf|:half]       The build side is the dataset; R probe keys for each of its keys are
 *                            drawn from it: uniform, by Zipf's law (0.99), or half of them anywhere
 *                            in its range. OO says of each side, build first, whether it is sorted
 *                            (s) or in random order (u): x4:su
 *   COLUMN[:dated][:shuffled]   The dataset is a key column of TPC-H, and the probe side the column
 * of another table that refers to it, both in the order of their tables: l_orderkey. dated: only
 * orders before 1995-03-15; shuffled: the probe side in random order
 *
 * Sides are drawn by the conductor into memory that all workers see, with the number of matches and
 * their checksum by an oracle that shares nothing with any join.
 */
#ifndef LDB_SIDES_H
#define LDB_SIDES_H

#include <stdio.h>

#include "dataset.h"
#include "ldb/join.h"

typedef enum { LDB_DRAW_UNIFORM, LDB_DRAW_ZIPF, LDB_DRAW_HALF } ldb_draw;

typedef struct {
	size_t ratio; /* probe keys for each build key; 0: a column of TPC-H */
	bool build_sorted, probe_sorted;
	ldb_draw draw;
	char column[16];
	bool dated, shuffled;
} ldb_sides_spec;

/* False when the text is no workload of joins. */
bool ldb_sides_parse(const char *text, ldb_sides_spec *out);
/* One line each, for `ldbench list workloads`. */
void ldb_sides_list(FILE *to);

typedef struct {
	size_t build_most, probe_most; /* room */
	size_t build_n, probe_n;
	bool build_sorted, probe_sorted;
	uint64_t count, checksum; /* of the matches */
	ldb_key *build, *probe;   /* in the same shared memory */
} ldb_sides;

/* Rows of the probe side, for planning: of a dataset of n keys. Columns of TPC-H: at most 8 n. */
size_t ldb_sides_probe_rows(const ldb_sides_spec *spec, size_t n);
size_t ldb_sides_bytes(size_t build_most, size_t probe_most);
ldb_status ldb_sides_make(size_t build_most, size_t probe_most, ldb_sides **out, ldb_error *err);
void ldb_sides_free(ldb_sides *sides);

/* Can these sides be made from this dataset? Loads nothing. */
ldb_status ldb_sides_check(const ldb_sides_spec *spec, const char *dataset, ldb_error *err);
/* Draws both sides anew; `dataset` is what `data` was loaded from. LDB_IO: a column isn't there. */
ldb_status ldb_sides_draw(ldb_sides *sides, const ldb_sides_spec *spec, const char *dataset,
			  const ldb_dataset *data, uint64_t seed, ldb_error *err);

#endif
