/* The results folder: run.json, and what of an earlier session is already complete. */
#ifndef LDB_RESULTS_H
#define LDB_RESULTS_H

#include <jansson.h>

#include "dataset.h"
#include "plan.h"

/* Makes DIR; NULL chooses ROOT/results/<date>-<machine>, with -2, -3 .. when there is one. */
ldb_status ldb_results_folder(const char *dir, char out[PATH_MAX], ldb_error *err);
/* Makes this process the only one to write in DIR, for as long as it runs. */
ldb_status ldb_results_lock(const char *dir, ldb_error *err);
/* Are there samples in DIR? */
bool ldb_results_exist(const char *dir);

/* run.json of a new session; on resume it takes the old file's sessions along. */
typedef struct {
	json_t *root;
	json_t *session; /* the current one, within root */
	char path[PATH_MAX];
	size_t number;
} ldb_run_json;
ldb_status ldb_run_json_start(const char *dir, const ldb_plan *plan, int argc, char **argv,
			      bool resume, ldb_run_json *out, ldb_error *err);
/* Notes a dataset that was loaded: n, checksum, source. user is an ldb_run_json. */
void ldb_run_json_dataset(void *user, const ldb_dataset *data);
ldb_status ldb_run_json_end(ldb_run_json *run, const char *how, ldb_error *err);

/*
 * For --resume: hashes of the cells that have all their rounds, ok, and no other row, sorted;
 * free(). The rows of other cells move to superseded.csv, since they will be measured anew.
 */
ldb_status ldb_results_complete(const char *dir, uint64_t **hashes, size_t *count, ldb_error *err);

#endif
