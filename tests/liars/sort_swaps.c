/* Sorts keys well; of pairs the first and the last have each other's payload. */
#include "sorts.h"

static ldb_status spoiled(ldb_pair *pairs, size_t n, size_t threads, const double *params,
			  ldb_error *err)
{
	ldb_status status = plain_pairs(pairs, n, threads, params, err);
	if (n > 1) {
		const ldb_val value = pairs[0].value;
		pairs[0].value = pairs[n - 1].value;
		pairs[n - 1].value = value;
	}
	return status;
}

static const ldb_sort table = {SORT_REST, .name = "sort_swaps", .sort_keys = plain_keys,
			       .sort_pairs = spoiled};
LDB_EXPORT_SORT(table)
