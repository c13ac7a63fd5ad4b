/*
 * bsearch: binary search over the sorted keys themselves. Needs no memory, so it is what every
 * index is compared with.
 *
 * The ways to search (parameter `search`) are those of Khuong and Morin, Array Layouts for
 * Comparison-Based Searching (ACM JEA 22, 2017), section 3:
 *
 *   branchy      the textbook loop. The processor guesses each branch, wrongly every other time,
 *                and so also loads ahead, rightly every other time.
 *   branchless   halves without a branch. Nothing is guessed and nothing loaded ahead: quick while
 *                the keys are in cache, one full miss per step beyond.
 *   prefetch     branchless, and both possible next probes are prefetched: a miss per step is
 *                overlapped with the next, for twice the memory traffic.
 *
 * lookup_batch is branchless search of many queries in lock step (ldb_search_all): the misses of a
 * whole group overlap (interleaving; Psaropoulos et al., Interleaving with Coroutines, PVLDB 11,
 * 2017, which calls this simple form group prefetching after Chen et al., 2004).
 */
#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/window.h"

enum { SEARCH_BRANCHY, SEARCH_BRANCHLESS, SEARCH_PREFETCH };
enum { LINE = LDB_LINE_KEYS };
enum { PARAM_SEARCH };
static const ldb_param params[] = {
	{"search", "how a single query is searched", .def = SEARCH_PREFETCH,
	 .choices = "branchy|branchless|prefetch"},
	{0},
};

typedef struct {
	const ldb_key *keys; /* borrowed */
	size_t n;
	int search;
} sorted_keys;

/* The loops are emitted once for each way to search; these names are what LDB_INDEX_LOOPS wants. */
typedef sorted_keys branchy;
typedef sorted_keys branchless;
typedef sorted_keys prefetch;

static inline ldb_val answer(const sorted_keys *self, size_t rank)
{
	return rank < self->n ? rank : LDB_NONE;
}

/* One halving step. The mask, unlike `?:`, can't be turned into a branch by any compiler. */
static inline const ldb_key *halve(const ldb_key *base, size_t half, ldb_key q)
{
	return base + (half & (0 - (size_t)(base[half - 1] < q)));
}

static inline ldb_val branchy_find(const sorted_keys *self, ldb_key q)
{
	return answer(self, ldb_search_binary(self->keys, 0, self->n, q));
}

/* The keys, as many as a cache line has, in which a search ends that has come down to at most so
 * many from base on. Keys before base are < q and keys after those few are not, so at the array's
 * end the block may slide back. Needs n >= LINE. */
static inline const ldb_key *last_block(const sorted_keys *self, const ldb_key *base)
{
	const ldb_key *last = self->keys + (self->n - LINE);
	return base < last ? base : last;
}

/* Rank of q, when it is known to lie in base[0..left] and left <= LINE. */
static inline size_t finish(const sorted_keys *self, const ldb_key *base, size_t left, ldb_key q)
{
	if (self->n >= LINE) {
		const ldb_key *block = last_block(self, base);
		return (size_t)(block - self->keys) + ldb_count_less_line(block, q);
	}
	size_t rank = (size_t)(base - self->keys);
	for (size_t i = 0; i < left; i++)
		rank += base[i] < q;
	return rank;
}

static inline ldb_val branchless_find(const sorted_keys *self, ldb_key q)
{
	const ldb_key *base = self->keys;
	size_t left = self->n;
	while (left > LINE) {
		size_t half = left / 2;
		base = halve(base, half, q);
		left -= half;
	}
	return answer(self, finish(self, base, left, q));
}

static inline ldb_val prefetch_find(const sorted_keys *self, ldb_key q)
{
	const ldb_key *base = self->keys;
	size_t left = self->n;
	while (left > LINE) {
		size_t half = left / 2, next = (left - half) / 2; /* next >= 2 */
		__builtin_prefetch(base + next - 1);
		__builtin_prefetch(base + half + next - 1);
		base = halve(base, half, q);
		left -= half;
	}
	return answer(self, finish(self, base, left, q));
}

LDB_INDEX_LOOPS(branchy, branchy_find)
LDB_INDEX_LOOPS(branchless, branchless_find)
LDB_INDEX_LOOPS(prefetch, prefetch_find)

static void bsearch_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	switch (((const sorted_keys *)self)->search) {
	case SEARCH_BRANCHY:
		branchy_lookup(self, q, n, out);
		break;
	case SEARCH_BRANCHLESS:
		branchless_lookup(self, q, n, out);
		break;
	default:
		prefetch_lookup(self, q, n, out);
		break;
	}
}

static void bsearch_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	switch (((const sorted_keys *)self)->search) {
	case SEARCH_BRANCHY:
		branchy_chase(self, q, n, carry, out);
		break;
	case SEARCH_BRANCHLESS:
		branchless_chase(self, q, n, carry, out);
		break;
	default:
		prefetch_chase(self, q, n, carry, out);
		break;
	}
}

static void bsearch_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	const sorted_keys *index = self;
	ldb_search_all(index->keys, index->n, q, n, out);
}

static ldb_status bsearch_build(void **self, const ldb_key *keys, size_t n, const double *values,
				ldb_error *err)
{
	sorted_keys *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "bsearch", sizeof *index);
	*index = (sorted_keys){.keys = keys, .n = n, .search = (int)values[PARAM_SEARCH]};
	*self = index;
	return LDB_OK;
}

static void bsearch_destroy(void *self)
{
	ldb_free(self, sizeof(sorted_keys));
}

static size_t bsearch_bytes(const void *self)
{
	(void)self;
	return sizeof(sorted_keys);
}

/* The only invariant is the caller's: sorted keys. */
static ldb_status bsearch_validate(const void *self, ldb_error *err)
{
	const sorted_keys *index = self;
	for (size_t i = 1; i < index->n; i++) {
		if (index->keys[i - 1] > index->keys[i])
			return ldb_fail(err, LDB_INVALID, "sort the keys before building",
					"bsearch", "key %zu is less than the one before it", i);
	}
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "bsearch",
	.summary = "binary search over the sorted keys",
	.origin = "Khuong, Morin: Array Layouts for Comparison-Based Searching, JEA 2017",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 1, /* none per key */
	.build = bsearch_build,
	.destroy = bsearch_destroy,
	.bytes = bsearch_bytes,
	.validate = bsearch_validate,
	.lookup = bsearch_lookup,
	.chase = bsearch_chase,
	.lookup_batch = bsearch_lookup_batch,
};
LDB_EXPORT_INDEX(table)
