/* Scans one key too few. */
#include "map.h"

static size_t spoiled_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n; i++) {
		ldb_op op = ops[i];
		op.length -= op.length > 1;
		if (map_apply(self, &op, 1, out + i, err) != 1)
			return i;
	}
	return n;
}

static const ldb_index table = {MAP_REST, .name = "map_scans_short", .apply = spoiled_apply};
LDB_EXPORT_INDEX(table)
