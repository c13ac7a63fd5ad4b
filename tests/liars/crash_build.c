/* Crashes while it builds. */
#include "liar.h"

static ldb_status crash_build(void **self, const ldb_key *keys, size_t n, const double *params,
			      ldb_error *err)
{
	(void)self, (void)keys, (void)n, (void)params, (void)err;
	__builtin_trap();
}

static const ldb_index table = {
	LIAR_HONEST,          .validate = liar_validate, .bytes = liar_bytes, .name = "crash_build",
	.build = crash_build, .lookup = liar_lookup,     .chase = liar_chase};
LDB_EXPORT_INDEX(table)
