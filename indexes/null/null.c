/*
 * null: answers every query with the query itself. Not an index: what it costs is what the harness
 * costs, so it is the floor under which no measurement is believed. Its answers are not checked.
 */
#include "ldb/index.h"
#include "ldb/loops.h"

typedef struct {
	size_t n;
} null;

static inline ldb_val null_find(const null *self, ldb_key q)
{
	(void)self;
	return q;
}

LDB_INDEX_LOOPS(null, null_find)

static ldb_status null_build(void **self, const ldb_key *keys, size_t n, const double *params,
			     ldb_error *err)
{
	(void)keys, (void)params;
	null *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "null", sizeof *index);
	index->n = n;
	*self = index;
	return LDB_OK;
}

static void null_destroy(void *self)
{
	ldb_free(self, sizeof(null));
}

static size_t null_bytes(const void *self)
{
	(void)self;
	return sizeof(null);
}

static ldb_status null_validate(const void *self, ldb_error *err)
{
	(void)self, (void)err;
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "null",
	.summary = "no index: the harness's own cost per query",
	.origin = "after fio's null engine",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS | LDB_REFERENCE_ONLY,
	.peak_bytes_per_key = 1,
	.build = null_build,
	.destroy = null_destroy,
	.bytes = null_bytes,
	.validate = null_validate,
	.lookup = null_lookup,
	.chase = null_chase,
	.lookup_batch = null_lookup,
};
LDB_EXPORT_INDEX(table)
