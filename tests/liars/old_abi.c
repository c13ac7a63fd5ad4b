/* Built for another version of the interface. */
#include "liar.h"

static const ldb_index table = {LIAR_REST,
				.abi = 0,
				.key_bits = LDB_KEY_BITS,
				.name = "old_abi",
				.validate = liar_validate,
				.bytes = liar_bytes,
				.build = liar_build,
				.lookup = liar_lookup,
				.chase = liar_chase};
LDB_EXPORT_INDEX(table)
