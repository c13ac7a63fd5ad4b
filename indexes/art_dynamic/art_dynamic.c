/*
 * art_dynamic: the adaptive radix tree of Leis, Kemper, Neumann (ICDE 2013) under updates. This
 * file is the plug-in: lookups and build. The tree is in art.h, nodes that grow and shrink in
 * nodes.c, updates in update.c, what needs the order of keys in order.c.
 *
 * There is no lookup_batch: for reads alone there is indexes/art, which has one.
 */
#include "art.h"
#include "ldb/loops.h"

enum { PARAM_AHEAD };
static const ldb_param params[] = {
	{"ahead", "updates whose nodes are fetched together beforehand; 1: none", .def = 16,
	 .min = 1, .max = 64},
	{0},
};

__attribute__((noinline)) static ldb_val find_beside(const art_dynamic *self, ldb_key q)
{
	uint32_t count;
	const ldb_val value = art_scan(self, q, 1, &count);
	return count ? value : LDB_NONE;
}

static inline ldb_val art_dynamic_find(const art_dynamic *self, ldb_key q)
{
	art_ref at = self->root;
	while (at != ART_EMPTY && !art_is_leaf(at)) {
		const art_ref *child = art_find_child(at, q);
		at = child ? *child : ART_EMPTY;
	}
	if (__builtin_expect(at != ART_EMPTY && art_get_leaf(at)->key == q, 1))
		return art_get_leaf(at)->value;
	return find_beside(self, q);
}

LDB_INDEX_LOOPS(art_dynamic, art_dynamic_find)

static void art_dynamic_destroy(void *self)
{
	art_dynamic *index = self;
	art_free_chunks(index);
	ldb_free(index, sizeof *index);
}

static ldb_status art_dynamic_build(void **self, const ldb_key *keys, size_t n,
				    const double *values, ldb_error *err)
{
	art_dynamic *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "art_dynamic", sizeof *index);
	memset(index, 0, sizeof *index);
	index->bytes = sizeof *index;
	index->ahead = (uint32_t)values[PARAM_AHEAD];
	/* In order: the path to each key is in the cache, and leaves come to lie side by side. */
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue; /* the value of equal keys is the first one's */
		if (!art_put(index, keys[i], i)) {
			art_dynamic_destroy(index);
			return ldb_fail_oom(err, "art_dynamic nodes", sizeof(art_node256));
		}
	}
	*self = index;
	return LDB_OK;
}

static size_t art_dynamic_bytes(const void *self)
{
	return ((const art_dynamic *)self)->bytes;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "art_dynamic",
	.summary = "adaptive radix tree with nodes that grow and shrink",
	.origin = "Leis, Kemper, Neumann: The Adaptive Radix Tree, ICDE 2013",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key =
		80, /* a leaf; Node256 with 49 children; nodes left when others grew */
	.build = art_dynamic_build,
	.destroy = art_dynamic_destroy,
	.bytes = art_dynamic_bytes,
	.validate = art_validate,
	.lookup = art_dynamic_lookup,
	.chase = art_dynamic_chase,
	.apply = art_apply,
};
LDB_EXPORT_INDEX(table)
