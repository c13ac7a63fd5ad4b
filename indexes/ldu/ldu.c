/* ldu, the plug-in: building, and the table of functions. See ldu.h. */
#include "ldu.h"
#include "ldb/loops.h"

LDB_INDEX_LOOPS(ldu, ldu_find)

enum { PARAM_FILL };
static const ldb_param params_table[] = {
	{.name = "fill",
	 .help = "entries of a page that a build or a cut fills",
	 .def = 24,
	 .min = LDU_SLOTS / 2,
	 .max = LDU_SLOTS},
	{.name = NULL},
};

static void ldu_destroy(void *index)
{
	ldu *self = index;
	ldu_free_regions(self);
	ldu_free_arena(self, &self->pages);
	ldu_free_arena(self, &self->nodes);
	ldb_free(self, sizeof *self);
}

static ldb_status ldu_build(void **index, const ldb_key *keys, size_t n, const double *params,
			    ldb_error *err)
{
	if (n >= (size_t)1 << 34)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^34 keys",
				"ldu: number of keys", "%zu", n);
	ldu *self = ldb_alloc(sizeof *self);
	if (!self)
		return ldb_fail_oom(err, "ldu", sizeof *self);
	*self = (ldu){.n = n,
		      .held_bytes = sizeof *self,
		      .fill = (unsigned)params[PARAM_FILL],
		      .pages.bytes = sizeof(ldu_page),
		      .nodes.bytes = sizeof(ldu_node)};
	ldu_clear_tree(&self->no_bucket);
	const ldu_source source = {keys, NULL};
	bool good = ldu_reserve(self, &self->pages, 1);
	if (good) {
		ldu_page_at(self, ldu_take(&self->pages))->count = 0; /* LDU_EMPTY */
		good = ldu_build_regions(self, &source, n);
	}
	if (!good) {
		ldu_destroy(self);
		return ldb_fail_oom(err, "ldu: pages and tables", n * 24);
	}
	*index = self;
	return LDB_OK;
}

static size_t ldu_bytes(const void *index)
{
	return ((const ldu *)index)->held_bytes;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "ldu",
	.summary = "updatable: learned tables, one-line nodes, unordered pages with fingerprints",
	.origin = "LearnedDB",
	.flags = LDB_ORDERED | LDB_LEARNED | LDB_THREADS,
	.params = params_table,
	.peak_bytes_per_key = 48,
	.build = ldu_build,
	.destroy = ldu_destroy,
	.bytes = ldu_bytes,
	.validate = ldu_validate,
	.lookup = ldu_lookup,
	.chase = ldu_chase,
	.lookup_batch = ldu_lookup_batch,
	.apply = ldu_apply,
};
LDB_EXPORT_INDEX(table)
