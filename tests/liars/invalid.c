/* Its validate finds a broken invariant. */
#include "liar.h"

static ldb_status invalid_validate(const void *self, ldb_error *err)
{
	(void)self;
	return ldb_fail(err, LDB_INVALID, "rebuild it", "invalid", "separator 3 out of order");
}

static const ldb_index table = {LIAR_HONEST,
				.name = "invalid",
				.bytes = liar_bytes,
				.build = liar_build,
				.lookup = liar_lookup,
				.chase = liar_chase,
				.validate = invalid_validate};
LDB_EXPORT_INDEX(table)
