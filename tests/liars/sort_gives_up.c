/* Says that there is no memory. */
#include "sorts.h"

static ldb_status spoiled(ldb_key *keys, size_t n, size_t threads, const double *params,
			  ldb_error *err)
{
	(void)keys, (void)threads, (void)params;
	return ldb_fail_oom(err, "sort_gives_up", 8 * n);
}

static const ldb_sort table = {SORT_REST, .name = "sort_gives_up", .sort_keys = spoiled};
LDB_EXPORT_SORT(table)
