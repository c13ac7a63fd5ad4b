/* Answers one key in the middle one too high. */
#include "liar.h"

static inline ldb_val wrong_find(const liar *self, ldb_key q)
{
	ldb_val rank = liar_rank(self, q);
	return self->n && rank == self->n / 2 ? rank + 1 : rank;
}

static void wrong_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = wrong_find((const liar *)self, q[i]);
}

static const ldb_index table = {
	LIAR_HONEST,         .validate = liar_validate, .bytes = liar_bytes, .name = "wrong",
	.build = liar_build, .lookup = wrong_lookup,    .chase = liar_chase};
LDB_EXPORT_INDEX(table)
