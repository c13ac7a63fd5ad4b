/* Loses a key: what comes out is in order, but has another key twice. */
#include "sorts.h"

static ldb_status spoiled(ldb_key *keys, size_t n, size_t threads, const double *params,
			  ldb_error *err)
{
	ldb_status status = plain_keys(keys, n, threads, params, err);
	for (size_t i = n; i > 1; i--) {
		if (keys[i - 1] != keys[i - 2]) {
			keys[i - 1] = keys[i - 2];
			break;
		}
	}
	return status;
}

static const ldb_sort table = {SORT_REST, .name = "sort_repeats", .sort_keys = spoiled};
LDB_EXPORT_SORT(table)
