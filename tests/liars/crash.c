/* Crashes in its timed passes, after the verification has gone well. */
#include "liar.h"

static unsigned calls;

static void crash_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, n, out);
	if (++calls > 2000)
		__builtin_trap();
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "crash",
	.build = liar_build, .lookup = crash_lookup,    .chase = liar_chase};
LDB_EXPORT_INDEX(table)
