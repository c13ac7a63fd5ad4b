/* Closes the worker's socket and runs on. */
#include <unistd.h>

#include "liar.h"

static ldb_status hangs_up_build(void **self, const ldb_key *keys, size_t n, const double *params,
				 ldb_error *err)
{
	(void)self, (void)keys, (void)n, (void)params, (void)err;
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	while (pause() != 0)
		;
	return LDB_OK;
}

static const ldb_index table = {LIAR_HONEST,
				.name = "hangs_up",
				.bytes = liar_bytes,
				.validate = liar_validate,
				.build = hangs_up_build,
				.lookup = liar_lookup,
				.chase = liar_chase};
LDB_EXPORT_INDEX(table)
