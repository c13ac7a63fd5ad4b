/* Holds 1 MB by the allocator and claims to hold nothing. */
#include "liar.h"

static ldb_status claims_build(void **self, const ldb_key *keys, size_t n, const double *params,
			       ldb_error *err)
{
	return ldb_alloc(1000000) ? liar_build(self, keys, n, params, err)
				  : ldb_fail_oom(err, "claims_less", 1000000);
}

static size_t claims_bytes(const void *self)
{
	(void)self;
	return 0;
}

static const ldb_index table = {LIAR_HONEST,           .validate = liar_validate,
				.name = "claims_less", .bytes = claims_bytes,
				.build = claims_build, .lookup = liar_lookup,
				.chase = liar_chase};
LDB_EXPORT_INDEX(table)
