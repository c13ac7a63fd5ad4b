/* Sleeps 1 us in every lookup: its time must show. */
#include <time.h>

#include "liar.h"

static void sleeps_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const struct timespec microsecond = {.tv_nsec = 1000};
	for (size_t i = 0; i < n; i++) {
		out[i] = liar_rank((const liar *)self, q[i]);
		nanosleep(&microsecond, NULL);
	}
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "sleeps",
	.build = liar_build, .lookup = sleeps_lookup,   .chase = liar_chase};
LDB_EXPORT_INDEX(table)
