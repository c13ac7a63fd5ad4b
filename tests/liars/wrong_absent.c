/* Right for present keys, wrong for absent ones (as bounds that hold only for trained keys are). */
#include "liar.h"

static void absent_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const liar *index = (const liar *)self;
	for (size_t i = 0; i < n; i++) {
		out[i] = liar_rank(index, q[i]);
		if (out[i] != LDB_NONE && out[i] > 0 && index->keys[out[i]] != q[i])
			out[i]--;
	}
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "wrong_absent",
	.build = liar_build, .lookup = absent_lookup,   .chase = liar_chase};
LDB_EXPORT_INDEX(table)
