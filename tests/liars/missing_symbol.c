/* Needs a function that nobody has. */
#include "liar.h"

ldb_val a_function_that_nobody_has(ldb_key q);

static void missing_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, n, out);
	out[0] = a_function_that_nobody_has(q[0]);
}

static const ldb_index table = {LIAR_HONEST,         .name = "missing_symbol",
				.bytes = liar_bytes, .validate = liar_validate,
				.build = liar_build, .lookup = missing_lookup,
				.chase = liar_chase};
LDB_EXPORT_INDEX(table)
