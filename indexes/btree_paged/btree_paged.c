/*
 * btree_paged: a read-only B+-tree of any page size, the baseline of "The Case for Learned Index
 * Structures" (Kraska, Beutel, Chi, Dean, Polyzotis, SIGMOD 2018, table of page sizes 32 to 512).
 * Its leaves are the sorted keys themselves, cut into pages; each level above holds the largest key
 * of every page below it, cut into pages in turn, up to one page. Where a page's children are
 * follows from its number, so there are no addresses (Rao, Ross: "Cache Conscious Indexing for
 * Decision-Support in Main Memory", VLDB 1999). That is the textbook's tree when nothing is ever
 * inserted: Bayer, McCreight, Acta Informatica 1, 1972.
 *
 * The first bound >= q leads to the page whose keys reach q for the first time, so the lower bound
 * is in that page, also among equal keys.
 */
#include "ldb/loops.h"
#include "ldb/window.h"

enum { PARAM_PAGE, PARAM_SEARCH };
enum { SEARCH_BINARY, SEARCH_SIMD };
enum { LEVELS_MAX = 64 };

static const ldb_param params[] = {
	{"page", "keys in a page", .def = 128, .min = 2, .max = 65536},
	{"search", "within a page; simd: halving, the last 16 keys compared at once",
	 .def = SEARCH_BINARY, .choices = "binary|simd"},
	{0},
};

typedef struct {
	const ldb_key *keys; /* borrowed */
	size_t n, page;
	ldb_key *bounds; /* all levels, the lowest first */
	size_t bound_count;
	int search;
	unsigned levels;          /* above the leaves */
	size_t start[LEVELS_MAX]; /* of each level in bounds, the lowest first */
	size_t count[LEVELS_MAX]; /* bounds of each */
} btree_paged;

/* The first key >= q of the page that begins at `lo`, where there are `count` keys in all. */
static inline size_t search_page(const btree_paged *self, int search, const ldb_key *keys,
				 size_t lo, size_t count, ldb_key q)
{
	const size_t hi = count - lo > self->page ? lo + self->page : count;
	if (search == SEARCH_SIMD)
		return lo + ldb_lower_bound(keys + lo, hi - lo, q);
	return ldb_search_binary(keys, lo, hi, q);
}

/* Where the leaf page begins that has the lower bound of q; n when no key is >= q. */
static inline size_t find_page(const btree_paged *self, int search, ldb_key q)
{
	size_t at = 0;
	for (unsigned level = self->levels; level-- > 0;) {
		at = search_page(self, search, self->bounds + self->start[level], at,
				 self->count[level], q);
		if (at == self->count[level]) /* in the top level only */
			return self->n;
		at *= self->page;
	}
	return at;
}

static inline ldb_val find(const btree_paged *self, int search, ldb_key q)
{
	const size_t page = find_page(self, search, q);
	const size_t rank = search_page(self, search, self->keys, page, self->n, q);
	return rank < self->n ? rank : LDB_NONE;
}

/* The loops are made once for each search. */
typedef btree_paged binary;
typedef btree_paged simd;

static inline ldb_val binary_find(const binary *self, ldb_key q)
{
	return find(self, SEARCH_BINARY, q);
}

static inline ldb_val simd_find(const simd *self, ldb_key q)
{
	return find(self, SEARCH_SIMD, q);
}

LDB_INDEX_LOOPS(binary, binary_find)
LDB_INDEX_LOOPS(simd, simd_find)

static void btree_paged_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const btree_paged *)self)->search == SEARCH_SIMD)
		simd_lookup(self, q, n, out);
	else
		binary_lookup(self, q, n, out);
}

static void btree_paged_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry,
			      ldb_val *out)
{
	if (((const btree_paged *)self)->search == SEARCH_SIMD)
		simd_chase(self, q, n, carry, out);
	else
		binary_chase(self, q, n, carry, out);
}

static void btree_paged_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const btree_paged *index = self;
	*lo = find_page(index, SEARCH_BINARY, q);
	*hi = index->n - *lo > index->page ? *lo + index->page : index->n;
}

/* --- build ------------------------------------------------------------------------------------ */

static size_t bounds_bytes(const btree_paged *index)
{
	return index->bound_count * sizeof *index->bounds;
}

static void btree_paged_destroy(void *self)
{
	btree_paged *index = self;
	ldb_free(index->bounds, bounds_bytes(index));
	ldb_free(index, sizeof *index);
}

/* How many levels there are until one page is left, and where they begin. */
static void plan_levels(btree_paged *index)
{
	for (size_t below = index->n; below > index->page;) {
		below = below / index->page + (below % index->page != 0);
		index->start[index->levels] = index->bound_count;
		index->count[index->levels++] = below;
		index->bound_count += below;
	}
}

/* The largest key of page i, of `page` keys, where there are `count` in all. */
static ldb_key page_bound(const ldb_key *keys, size_t count, size_t page, size_t i)
{
	return keys[count - i * page > page ? (i + 1) * page - 1 : count - 1];
}

static ldb_status btree_paged_build(void **self, const ldb_key *keys, size_t n,
				    const double *values, ldb_error *err)
{
	btree_paged *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "btree_paged", sizeof *index);
	*index = (btree_paged){.keys = keys,
			       .n = n,
			       .page = (size_t)values[PARAM_PAGE],
			       .search = (int)values[PARAM_SEARCH]};
	plan_levels(index);
	index->bounds = ldb_alloc(bounds_bytes(index));
	if (!index->bounds) {
		const size_t bytes = bounds_bytes(index);
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "btree_paged: bounds", bytes);
	}
	const ldb_key *below = keys;
	size_t below_count = n;
	for (unsigned level = 0; level < index->levels; level++) {
		ldb_key *bounds = index->bounds + index->start[level];
		for (size_t i = 0; i < index->count[level]; i++)
			bounds[i] = page_bound(below, below_count, index->page, i);
		below = bounds;
		below_count = index->count[level];
	}
	*self = index;
	return LDB_OK;
}

static size_t btree_paged_bytes(const void *self)
{
	return sizeof(btree_paged) + bounds_bytes(self);
}

static ldb_status btree_paged_validate(const void *self, ldb_error *err)
{
	const btree_paged *index = self;
	const ldb_key *below = index->keys;
	size_t below_count = index->n;
	for (unsigned level = 0; level < index->levels; level++) {
		const ldb_key *bounds = index->bounds + index->start[level];
		for (size_t i = 0; i < index->count[level]; i++)
			if (bounds[i] != page_bound(below, below_count, index->page, i))
				return ldb_fail(err, LDB_INVALID,
						"report it as a fault of btree_paged's build",
						"btree_paged", "bound %zu of level %u is wrong", i,
						level);
		below = bounds;
		below_count = index->count[level];
	}
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree_paged",
	.summary = "read-only B+-tree over the sorted keys, pages of any size",
	.origin =
		"Bayer, McCreight, 1972; without addresses: Rao, Ross, VLDB 1999; as the baseline "
		"of Kraska and others, SIGMOD 2018",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 8, /* with pages of two; 8 / page otherwise */
	.build = btree_paged_build,
	.destroy = btree_paged_destroy,
	.bytes = btree_paged_bytes,
	.validate = btree_paged_validate,
	.lookup = btree_paged_lookup,
	.chase = btree_paged_chase,
	.window = btree_paged_window,
};
LDB_EXPORT_INDEX(table)
