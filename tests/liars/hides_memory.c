/* Takes 64 MB by malloc, past the allocator that counts. */
#include <stdlib.h>
#include <string.h>

#include "liar.h"

static void *hidden;

static ldb_status hides_build(void **self, const ldb_key *keys, size_t n, const double *params,
			      ldb_error *err)
{
	hidden = malloc(64 << 20);
	if (hidden)
		memset(hidden, 1, 64 << 20);
	return liar_build(self, keys, n, params, err);
}

static const ldb_index table = {LIAR_HONEST,          .validate = liar_validate,
				.bytes = liar_bytes,  .name = "hides_memory",
				.build = hides_build, .lookup = liar_lookup,
				.chase = liar_chase};
LDB_EXPORT_INDEX(table)
