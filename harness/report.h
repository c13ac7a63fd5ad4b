/* The table at the end of a run: medians read back from samples.csv. */
#ifndef LDB_REPORT_H
#define LDB_REPORT_H

#include <stdio.h>

#include "ldb/status.h"

/* One block for each dataset x workload x mode x threads x pages x payload: a row per competitor, a
 * column per size, ns per lookup (median over the rounds); failed cells by their status. */
ldb_status ldb_report(FILE *f, const char *dir, ldb_error *err);

#endif
