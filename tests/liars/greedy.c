/* Asks the allocator for more than there is. */
#include "liar.h"

static ldb_status greedy_build(void **self, const ldb_key *keys, size_t n, const double *params,
			       ldb_error *err)
{
	const size_t bytes = (size_t)1 << 44;
	void *p = ldb_alloc(bytes);
	if (!p)
		return ldb_fail_oom(err, "greedy", bytes);
	ldb_free(p, bytes);
	return liar_build(self, keys, n, params, err);
}

static const ldb_index table = {
	LIAR_HONEST,           .validate = liar_validate, .name = "greedy",   .bytes = liar_bytes,
	.build = greedy_build, .lookup = liar_lookup,     .chase = liar_chase};
LDB_EXPORT_INDEX(table)
