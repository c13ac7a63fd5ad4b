/*
 * robinhood: a hash table with linear probing and Robin Hood displacement. It answers get, not
 * lower bound: what an index can win that gives up the order.
 *
 * Linear probing where of two entries that want a place the one farther from home gets it (Celis:
 * Robin Hood Hashing, PhD thesis, Waterloo, 1986). So displacements are as even as can be, and the
 * entries of the table stand in the order of their homes. Here they stand in the order of their
 * whole hashes, as in the ordered tables of Amble and Knuth (Ordered Hash Tables, Computer Journal
 * 17, 1974): a search ends at the first hash that is not less than its own, found or not, and no
 * displacement need be stored.
 *
 * Hash. Two rounds of xor-shift and multiplication, as in the finalizer of Murmur3 (Appleby). Each
 * round can be undone, so different keys have different hashes and the table keeps the hash in
 * place of the key. A home is the upper half of hash * lines (Lemire: Fast Random Integer
 * Generation in an Interval, 2019): any number of lines, and in the order of the hashes.
 *
 * Layout. A bucket is a cache line: 5 hashes in ascending order, their 5 ranks in 32 bits, and a
 * sixth rank that says "none". Free slots hold the largest hash and no rank.
 *
 *       line 17                                                       line 18
 *      +----+----+----+----+----+----+----+----+----+----+------+    +----+----
 *      | h0 | h1 | h2 | h3 | h4 | r0 | r1 | r2 | r3 | r4 | none |    | h0 | ...
 *      +----+----+----+----+----+----+----+----+----+----+------+    +----+----
 *       entries whose home is line 17, or an earlier one that is full
 *
 * A query compares its hash with all five; it goes on to the next line only if all are less, which
 * at the default load is so for few. So a lookup costs one cache miss, absent keys as well, and 64
 * / (5 * load) bytes per distinct key.
 *
 * Probes are bounded. Where an entry would have to stand more than `probe` lines from its home, the
 * table is built anew with another seed, so that no key set is bad by bad luck or by design. If no
 * seed helps (a bound too tight for the load), the last one is taken without bound.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "ldb/index.h"
#include "ldb/loops.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { SLOTS = 5, GROUP = 32 };
#define NO_RANK UINT32_MAX
#define NO_HASH UINT64_MAX

enum { PARAM_LOAD, PARAM_PROBE };
static const ldb_param params[] = {
	{"load", "share of the slots that are used", .def = 0.7, .min = 0.1, .max = 0.95},
	{"probe", "most lines that an entry may stand from its home", .def = 64, .min = 1,
	 .max = 65536},
	{0},
};

typedef struct {
	uint64_t hash[SLOTS];
	uint32_t rank[SLOTS + 1]; /* the last is NO_RANK: what a search reads that finds nothing */
} bucket;

_Static_assert(sizeof(bucket) == 64, "a bucket is a cache line");

typedef struct {
	bucket *buckets;
	uint64_t homes; /* lines that a hash may be at home in; a few more follow for overflow */
	uint64_t seed;
	size_t lines;
	const ldb_key *keys; /* borrowed; only validate reads them */
	size_t n, distinct;
	unsigned attempts;
	size_t longest; /* the largest distance from home, in lines */
} robinhood;

/* --- hash ----------------------------------------------------------------------------------- */

/* The multipliers are those of Murmur3's 64-bit finalizer. Only the upper bits choose a home, and
 * they depend on all of the key after the second multiplication. */
static inline uint64_t hash_of(ldb_key key, uint64_t seed)
{
	uint64_t h = key ^ seed;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return h;
}

static inline size_t home_of(uint64_t hash, uint64_t homes)
{
	return (size_t)((unsigned __int128)hash * homes >> 64);
}

/* --- lookup --------------------------------------------------------------------------------- */

/* The slot of a hash in a bucket; SLOTS when it is not there. */
static inline unsigned slot_of(const bucket *b, uint64_t hash)
{
#if defined(__AVX512F__)
	const __mmask8 equal =
		_mm512_cmpeq_epi64_mask(_mm512_loadu_si512(b), _mm512_set1_epi64((long long)hash));
	const unsigned hits = equal;
#elif defined(__AVX2__)
	const __m256i low = _mm256_loadu_si256((const __m256i *)b->hash);
	const __m256i equal = _mm256_cmpeq_epi64(low, _mm256_set1_epi64x((long long)hash));
	const unsigned hits = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(equal)) |
			      (unsigned)(b->hash[4] == hash) << 4;
#else
	unsigned hits = 0;
	for (unsigned i = 0; i < SLOTS; i++)
		hits |= (unsigned)(b->hash[i] == hash) << i;
#endif
	/* Ranks that look like a hash are above the fifth bit; the sixth stops the count. */
	return (unsigned)__builtin_ctz(hits | 1u << SLOTS);
}

/* The answer for a hash, looked for from its home on. */
static inline ldb_val search(const robinhood *self, size_t line, uint64_t hash)
{
	const bucket *b = &self->buckets[line];
	while (__builtin_expect(b->hash[SLOTS - 1] < hash, 0))
		b++;
	const uint32_t rank = b->rank[slot_of(b, hash)];
	return rank == NO_RANK ? LDB_NONE : rank;
}

static inline ldb_val robinhood_find(const robinhood *self, ldb_key q)
{
	const uint64_t hash = hash_of(q, self->seed);
	return search(self, home_of(hash, self->homes), hash);
}

LDB_INDEX_LOOPS(robinhood, robinhood_find)

/* All homes of a group are fetched before the first is searched. */
static inline void find_group(const robinhood *self, const ldb_key *q, size_t count, ldb_val *out)
{
	uint64_t hash[GROUP];
	size_t home[GROUP];
	for (size_t i = 0; i < count; i++) {
		hash[i] = hash_of(q[i], self->seed);
		home[i] = home_of(hash[i], self->homes);
		__builtin_prefetch(&self->buckets[home[i]]);
	}
	for (size_t i = 0; i < count; i++)
		out[i] = search(self, home[i], hash[i]);
}

static void robinhood_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	size_t i = 0;
	for (; i + GROUP <= n; i += GROUP)
		find_group(self, q + i, GROUP, out + i); /* inlined with a constant count */
	find_group(self, q + i, n - i, out + i);
}

/* --- build ---------------------------------------------------------------------------------- */

static size_t buckets_bytes(const robinhood *self)
{
	return self->lines * sizeof *self->buckets;
}

static void clear(robinhood *self)
{
	bucket empty;
	memset(&empty, 0xff, sizeof empty); /* NO_HASH, NO_RANK */
	for (size_t line = 0; line < self->lines; line++)
		self->buckets[line] = empty;
}

/* Puts an entry into a line, in order. Returns the hash that had to leave for it, with its rank in
 * *rank; that is NO_RANK where a slot was free. */
static inline uint64_t put(bucket *b, uint64_t hash, uint32_t *rank)
{
	const uint64_t last_hash = b->hash[SLOTS - 1];
	const uint32_t last_rank = b->rank[SLOTS - 1];
	unsigned slot = SLOTS - 1;
	for (; slot > 0 && b->hash[slot - 1] >= hash; slot--) {
		b->hash[slot] = b->hash[slot - 1];
		b->rank[slot] = b->rank[slot - 1];
	}
	b->hash[slot] = hash;
	b->rank[slot] = *rank;
	*rank = last_rank;
	return last_hash;
}

/* Inserts a new hash at its place in the order. What leaves a full line goes to the front of the
 * next. False when an entry would be more than `bound` lines from its home. */
static bool insert(robinhood *self, uint64_t hash, uint32_t rank, size_t bound)
{
	size_t line = home_of(hash, self->homes);
	const size_t home = line;
	while (self->buckets[line].hash[SLOTS - 1] < hash && line - home <= bound)
		line++;
	for (; rank != NO_RANK; line++) {
		const size_t distance = line - home_of(hash, self->homes);
		if (distance > bound)
			return false;
		self->longest = distance > self->longest ? distance : self->longest;
		hash = put(&self->buckets[line], hash, &rank);
	}
	return true;
}

/* Inserts the first key of each run of equal ones. The homes of a group are fetched ahead. */
static bool insert_all(robinhood *self, size_t bound)
{
	uint64_t hash[GROUP];
	uint32_t rank[GROUP];
	for (size_t next = 0; next < self->n;) {
		size_t count = 0;
		for (; next < self->n && count < GROUP; next++) {
			if (next && self->keys[next] == self->keys[next - 1])
				continue;
			rank[count] = (uint32_t)next;
			hash[count] = hash_of(self->keys[next], self->seed);
			__builtin_prefetch(&self->buckets[home_of(hash[count], self->homes)], 1);
			count++;
		}
		for (size_t i = 0; i < count; i++) {
			if (!insert(self, hash[i], rank[i], bound))
				return false;
		}
	}
	return true;
}

static size_t count_distinct(const ldb_key *keys, size_t n)
{
	size_t distinct = n > 0;
	for (size_t i = 1; i < n; i++)
		distinct += keys[i] != keys[i - 1];
	return distinct;
}

/*
 * Fills a table whose entries are at most `bound` lines from home; LDB_INVALID when the seed does
 * not allow that. The last line stays empty and ends every search.
 */
static ldb_status try_table(robinhood *self, size_t bound, ldb_error *err)
{
	self->lines = (size_t)self->homes + bound + 1;
	self->longest = 0;
	self->attempts++;
	self->buckets = ldb_alloc(buckets_bytes(self));
	if (!self->buckets)
		return ldb_fail_oom(err, "robinhood table", buckets_bytes(self));
	clear(self);
	if (insert_all(self, bound))
		return LDB_OK;
	ldb_free(self->buckets, buckets_bytes(self));
	self->buckets = NULL;
	return LDB_INVALID;
}

/* Tries some seeds under the bound; if none helps, some under one four times as wide, and so on.
 * With room for all entries behind the last home none fails. */
static ldb_status fill_table(robinhood *self, size_t bound, ldb_error *err)
{
	enum { SEEDS = 4 };
	const size_t enough = self->distinct / SLOTS + 1;
	for (;; bound *= 4) {
		bound = bound < enough ? bound : enough;
		for (unsigned i = 0; i < SEEDS; i++) {
			self->seed = self->attempts * 0x9e3779b97f4a7c15u; /* the first is 0 */
			const ldb_status status = try_table(self, bound, err);
			if (status != LDB_INVALID)
				return status;
		}
	}
}

static void robinhood_destroy(void *self)
{
	robinhood *index = self;
	ldb_free(index->buckets, buckets_bytes(index));
	ldb_free(index, sizeof *index);
}

static ldb_status robinhood_build(void **self, const ldb_key *keys, size_t n, const double *values,
				  ldb_error *err)
{
	if (n >= NO_RANK)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys", "robinhood",
				"%zu keys", n);
	robinhood *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "robinhood", sizeof *index);
	*index = (robinhood){.keys = keys, .n = n, .distinct = count_distinct(keys, n)};
	index->homes = (uint64_t)((double)index->distinct / (SLOTS * values[PARAM_LOAD])) + 1;
	ldb_status status = fill_table(index, (size_t)values[PARAM_PROBE], err);
	if (status == LDB_OK)
		*self = index;
	else
		ldb_free(index, sizeof *index);
	return status;
}

static size_t robinhood_bytes(const void *self)
{
	return sizeof(robinhood) + buckets_bytes(self);
}

static void robinhood_info(const void *self, ldb_index_info *out)
{
	const robinhood *index = self;
	snprintf(out->chosen, sizeof out->chosen, "longest=%zu;tries=%u", index->longest,
		 index->attempts);
}

/* --- validate ------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, size_t line)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of robinhood", what, "line %zu",
			line);
}

/* What the walk over all lines has seen. */
typedef struct {
	uint64_t last;     /* hash */
	size_t entries;    /* before this line */
	size_t full_since; /* all lines from here to the one before this are full */
	size_t longest;
} walk;

static ldb_status validate_entry(const robinhood *self, walk *w, size_t line, uint64_t hash,
				 uint32_t rank, ldb_error *err)
{
	if (rank >= self->n || (rank && self->keys[rank] == self->keys[rank - 1]))
		return broken(err, "robinhood: a rank that no first key has", line);
	if (hash != hash_of(self->keys[rank], self->seed))
		return broken(err, "robinhood: hash of a key", line);
	if (w->entries && hash <= w->last)
		return broken(err, "robinhood: order of the hashes", line);
	const size_t home = home_of(hash, self->homes);
	if (home > line || home < w->full_since)
		return broken(err, "robinhood: an entry that is not found from its home", line);
	w->longest = line - home > w->longest ? line - home : w->longest;
	w->last = hash;
	w->entries++;
	return LDB_OK;
}

static ldb_status validate_line(const robinhood *self, walk *w, size_t line, ldb_error *err)
{
	const bucket *b = &self->buckets[line];
	bool free_seen = false;
	for (unsigned i = 0; i < SLOTS; i++) {
		const bool used = b->rank[i] != NO_RANK;
		if (used ? free_seen : b->hash[i] != NO_HASH)
			return broken(err, "robinhood: a free slot", line);
		free_seen = !used;
		ldb_status status =
			used ? validate_entry(self, w, line, b->hash[i], b->rank[i], err) : LDB_OK;
		if (status != LDB_OK)
			return status;
	}
	if (b->rank[SLOTS] != NO_RANK)
		return broken(err, "robinhood: the rank that stands for none", line);
	w->full_since = free_seen ? line + 1 : w->full_since;
	return LDB_OK;
}

static ldb_status robinhood_validate(const void *self, ldb_error *err)
{
	const robinhood *index = self;
	walk w = {0};
	for (size_t line = 0; line < index->lines; line++) {
		ldb_status status = validate_line(index, &w, line, err);
		if (status != LDB_OK)
			return status;
	}
	if (w.full_since != index->lines)
		return broken(err, "robinhood: the last line, which ends a search", index->lines);
	if (w.entries != index->distinct ||
	    index->distinct != count_distinct(index->keys, index->n))
		return broken(err, "robinhood: number of entries", index->lines);
	if (w.longest != index->longest)
		return broken(err, "robinhood: the largest distance from home", index->lines);
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "robinhood",
	.summary = "hash table of cache-line buckets in the order of the hashes; get only",
	.origin = "Celis: Robin Hood Hashing, 1986; Amble, Knuth: Ordered Hash Tables, 1974",
	.flags = LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 19, /* 64 / (5 * load) */
	.build = robinhood_build,
	.destroy = robinhood_destroy,
	.bytes = robinhood_bytes,
	.validate = robinhood_validate,
	.lookup = robinhood_lookup,
	.chase = robinhood_chase,
	.lookup_batch = robinhood_lookup_batch,
	.info = robinhood_info,
};
LDB_EXPORT_INDEX(table)
