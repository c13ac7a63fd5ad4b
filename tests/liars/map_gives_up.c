/* Has no memory for one more key after a while: a planted allocation failure. */
#include "map.h"

static size_t put_count;

static size_t spoiled_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (ops[i].kind == LDB_PUT && ++put_count > 100) {
			ldb_fail_oom(err, "map_gives_up", 64);
			return i;
		}
		if (map_apply(self, ops + i, 1, out + i, err) != 1)
			return i;
	}
	return n;
}

static const ldb_index table = {MAP_REST, .name = "map_gives_up", .apply = spoiled_apply};
LDB_EXPORT_INDEX(table)
