/* After the verification it answers only every eighth query and repeats that answer. */
#include "liar.h"

static unsigned calls;

static void skips_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t step = ++calls > 2000 ? 8 : 1;
	for (size_t i = 0; i < n; i++)
		out[i] = i % step ? out[i - 1] : liar_rank((const liar *)self, q[i]);
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "skips",
	.build = liar_build, .lookup = skips_lookup,    .chase = liar_chase};
LDB_EXPORT_INDEX(table)
