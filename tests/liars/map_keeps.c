/* Keeps every 100th key that is deleted. */
#include "map.h"

static size_t deletes;

static size_t spoiled_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind == LDB_DELETE && ++deletes % 100 == 0)
			out[i] = 0;
		else if (map_apply(self, ops + i, 1, out + i, err) != 1)
			return i;
	}
	return n;
}

static const ldb_index table = {MAP_REST, .name = "map_keeps", .apply = spoiled_apply};
LDB_EXPORT_INDEX(table)
