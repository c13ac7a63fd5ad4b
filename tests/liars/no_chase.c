/* Leaves a required function out of its table. */
#include "liar.h"

static const ldb_index table = {LIAR_HONEST,         .name = "no_chase",
				.bytes = liar_bytes, .validate = liar_validate,
				.build = liar_build, .lookup = liar_lookup};
LDB_EXPORT_INDEX(table)
