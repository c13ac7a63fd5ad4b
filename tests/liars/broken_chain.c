/* Its chase leaves the chain out: the next query does not wait for the last answer. */
#include "liar.h"

static void broken_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	(void)carry;
	liar_lookup(self, q, n, out);
}

static const ldb_index table = {LIAR_HONEST,          .validate = liar_validate,
				.bytes = liar_bytes,  .name = "broken_chain",
				.build = liar_build,  .lookup = liar_lookup,
				.chase = broken_chase};
LDB_EXPORT_INDEX(table)
