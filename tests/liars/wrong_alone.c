/* Right in blocks, wrong when it is asked a single query. */
#include "liar.h"

static void spoiled_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, n, out);
	if (n == 1)
		out[0] ^= 1;
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "wrong_alone",
	.build = liar_build, .lookup = spoiled_lookup,  .chase = liar_chase};
LDB_EXPORT_INDEX(table)
