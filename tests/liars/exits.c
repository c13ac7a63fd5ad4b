/* Exits in the middle of a lookup, as no competitor may. */
#include <stdlib.h>

#include "liar.h"

static void exits_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, n, out);
	exit(0);
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "exits",
	.build = liar_build, .lookup = exits_lookup,    .chase = liar_chase};
LDB_EXPORT_INDEX(table)
