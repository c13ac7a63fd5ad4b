/* Not a liar: what the others are compared with. */
#include "liar.h"

static const ldb_index table = {LIAR_HONEST,         .validate = liar_validate,
				.bytes = liar_bytes, .name = "honest",
				.build = liar_build, .lookup = liar_lookup,
				.chase = liar_chase, .lookup_batch = liar_lookup};
LDB_EXPORT_INDEX(table)
