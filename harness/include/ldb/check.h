/*
 * What validate does for every index that has a window: asks it for each key and for both ends of
 * each gap. Where windows move in one direction between two keys, these are all that can fail.
 */
#ifndef LDB_CHECK_H
#define LDB_CHECK_H

#include "ldb/index.h"

typedef void ldb_window_fn(const void *self, ldb_key q, size_t *lo, size_t *hi);

typedef struct {
	const char *name; /* of the index */
	ldb_window_fn *window;
	const void *self;
	size_t n;
} ldb_window_check;

static inline ldb_status ldb_check_window(const ldb_window_check *check, ldb_key q, size_t rank,
					  ldb_error *err)
{
	size_t lo, hi;
	check->window(check->self, q, &lo, &hi);
	if (lo <= rank && rank <= hi && hi <= check->n)
		return LDB_OK;
	return ldb_fail(err, LDB_INVALID, "report it with the dataset and the parameters",
			check->name, "the window of query %llu is [%zu, %zu] where the rank is %zu",
			(unsigned long long)q, lo, hi, rank);
}

static inline ldb_status ldb_check_windows(const char *name, ldb_window_fn *window,
					   const void *self, const ldb_key *keys, size_t n,
					   ldb_error *err)
{
	const ldb_window_check check = {name, window, self, n};
	ldb_status status = ldb_check_window(&check, 0, 0, err);
	if (status == LDB_OK && (n == 0 || keys[n - 1] < LDB_KEY_MAX))
		status = ldb_check_window(&check, LDB_KEY_MAX, n, err);
	for (size_t i = 0; i < n && status == LDB_OK; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		status = ldb_check_window(&check, keys[i], i, err);
		if (status == LDB_OK && keys[i] > 0 && (i == 0 || keys[i - 1] < keys[i] - 1))
			status = ldb_check_window(&check, keys[i] - 1, i, err);
		if (status == LDB_OK && i > 0)
			status = ldb_check_window(&check, keys[i - 1] + 1, i, err);
	}
	return status;
}

#endif
