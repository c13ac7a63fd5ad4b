/* Leaves the first and the last key in each other's place. */
#include "sorts.h"

static ldb_status spoiled(ldb_key *keys, size_t n, size_t threads, const double *params,
			  ldb_error *err)
{
	ldb_status status = plain_keys(keys, n, threads, params, err);
	if (n > 1 && keys[0] != keys[n - 1]) {
		const ldb_key key = keys[0];
		keys[0] = keys[n - 1];
		keys[n - 1] = key;
	}
	return status;
}

static const ldb_sort table = {SORT_REST, .name = "sort_ends", .sort_keys = spoiled};
LDB_EXPORT_SORT(table)
