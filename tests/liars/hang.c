/* Never comes back from a lookup. */
#include <unistd.h>

#include "liar.h"

static void hang_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, n, out);
	for (;;)
		pause();
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "hang",
	.build = liar_build, .lookup = hang_lookup,     .chase = liar_chase};
LDB_EXPORT_INDEX(table)
