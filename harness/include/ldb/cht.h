/*
 * A compact histogram tree over sorted keys: the read-only form of the Hist-Tree (Crotty:
 * "Hist-Tree: Those Who Ignore It Are Doomed to Learn", CIDR 2021), as it is used by PLEX (Stoian,
 * Kipf, Marcus, Kraska: "Towards Practical Learned Indexing", AIDB 2021). It is cht, and one of the
 * two tops of plex.
 *
 * A node cuts its range of keys into `fanout` equal parts, by the next few bits of
 * x = (q - base) << lead. The entry of a part says where its keys start; a part with more than
 * max_error keys is a node of its own, and its entry says where that node is instead. Entries are
 * 32 bits wide, and a tree is one array of them:
 *
 *	x:      |  bits  |  bits  |  bits  | ...
 *	             |        +------------------------+
 *	             v                                 v
 *	root   [ 0 | 12 | node | 40 | ... ]    node [ 14 | 14 | 15 | 31 | ... ]
 *
 * Where the next entry, when it is on the same cache line, is a rank too, it is the window's end.
 * Else the end is max_error keys away: so many at most has a leaf, but for one case. Keys that are
 * equal can't be told apart by more bits, so they stay in one leaf however many they are. Nor can
 * far outliers, which count as equal to the ends of [base, top]. When there are such long leaves
 * (and only then) the keys at the ends of a window of max_error keys or more are looked at, and it
 * is made shorter or moved on.
 *
 * Costs a cache miss for each level. The keys are `stride` words apart, as in ldb/radix.h.
 */
#ifndef LDB_CHT_H
#define LDB_CHT_H

#include "ldb/radix.h"
#include "ldb/window.h"

#define LDB_CHT_NODE (1u << 31) /* flag of an entry: the rest is where a node starts */
#define LDB_CHT_BITS_MAX 20

typedef struct {
	uint32_t *table;
	size_t entries;
	ldb_key base, top;
	unsigned lead; /* x uses the first bit: no level is spent on a common prefix */
	unsigned bits; /* log2 of the fanout */
	uint32_t max_error;
	uint32_t line_mask; /* entries of one cache line and node, less one */
	size_t n;
	bool long_leaves; /* some leaf has more than max_error keys */
} ldb_cht;

static inline uint64_t ldb_cht_spread(const ldb_cht *self, ldb_key q)
{
	q = q < self->top ? q : self->top;
	return (uint64_t)(q > self->base ? q - self->base : 0) << self->lead;
}

/* The part of a node that x belongs to; x shifted by the bits that lead to the node. */
static inline size_t ldb_cht_part(const ldb_cht *self, uint64_t x)
{
	return x >> (64 - self->bits);
}

static inline size_t ldb_cht_bytes(const ldb_cht *self)
{
	return self->entries * sizeof *self->table;
}

/*
 * The window in what may be a long leaf. Its keys are mostly all equal, so the answer is mostly at
 * one end of it. One that ends too soon is moved on by doubling steps.
 */
static inline void ldb_cht_extend(const ldb_cht *self, const ldb_key *keys, size_t stride,
				  ldb_key q, size_t *lo, size_t *hi)
{
	if (*hi - *lo < self->max_error)
		return;
	if (keys[*lo * stride] >= q) {
		*hi = *lo;
		return;
	}
	if (keys[(*hi - 1) * stride] < q)
		*lo = *hi;
	for (size_t step = self->max_error; *hi < self->n && keys[*hi * stride] < q; step *= 2) {
		*lo = *hi + 1;
		*hi = self->n - *lo > step ? *lo + step : self->n;
	}
}

/* The window of q at the leaf table[at]. */
static inline void ldb_cht_leaf(const ldb_cht *self, const ldb_key *keys, size_t stride, size_t at,
				ldb_key q, size_t *lo, size_t *hi)
{
	const uint32_t start = self->table[at], next = self->table[at + 1];
	const bool known = ((at + 1) & self->line_mask) && !(next & LDB_CHT_NODE);
	const size_t most = (size_t)start + self->max_error;
	const size_t end = known ? next : most;
	*lo = start;
	*hi = end < self->n ? end : self->n;
	if (self->long_leaves)
		ldb_cht_extend(self, keys, stride, q, lo, hi);
}

/* Goes down to the leaf of q: table[at]. */
static inline size_t ldb_cht_descend(const ldb_cht *self, ldb_key q)
{
	uint64_t x = ldb_cht_spread(self, q);
	size_t at = ldb_cht_part(self, x);
	for (uint32_t entry; (entry = self->table[at]) & LDB_CHT_NODE;) {
		x <<= self->bits;
		at = (entry & ~LDB_CHT_NODE) + ldb_cht_part(self, x);
	}
	return at;
}

/* The rank of the first key >= q is in [*lo, *hi]. */
static inline void ldb_cht_window(const ldb_cht *self, const ldb_key *keys, size_t stride,
				  ldb_key q, size_t *lo, size_t *hi)
{
	ldb_cht_leaf(self, keys, stride, ldb_cht_descend(self, q), q, lo, hi);
}

#ifdef __AVX512F__

/* One step down for eight queries; says which of them have not been in a leaf. */
static inline __mmask8 ldb_cht_step8(const ldb_cht *self, __m512i *x, __m512i *at)
{
	const __m256i entry = _mm512_i64gather_epi32(*at, self->table, 4);
	const __mmask8 node = _mm256_movepi32_mask(entry); /* by LDB_CHT_NODE, the top bit */
	const __m256i flag = _mm256_set1_epi32((int)LDB_CHT_NODE);
	const __m512i child = _mm512_cvtepu32_epi64(_mm256_andnot_si256(flag, entry));
	*x = _mm512_sll_epi64(*x, _mm_cvtsi32_si128((int)self->bits));
	const __m512i part = _mm512_srl_epi64(*x, _mm_cvtsi32_si128(64 - (int)self->bits));
	*at = _mm512_mask_add_epi64(*at, node, child, part);
	return node;
}

/* ldb_cht_descend for a group of at most LDB_GROUP queries. The reads of a round, one for each
 * query, do not wait for each other, so nothing is prefetched. */
static inline void ldb_cht_descend_group(const ldb_cht *self, const ldb_key *q, size_t count,
					 size_t *at)
{
	uint64_t x[LDB_GROUP] = {0};
	__m512i x8[LDB_GROUP / 8], at8[LDB_GROUP / 8];
	for (size_t i = 0; i < count; i++)
		x[i] = ldb_cht_spread(self, q[i]);
	const __m128i rest = _mm_cvtsi32_si128(64 - (int)self->bits);
	for (size_t v = 0; v < LDB_GROUP / 8; v++) {
		x8[v] = _mm512_loadu_si512(x + 8 * v);
		at8[v] = _mm512_srl_epi64(x8[v], rest);
	}
	for (unsigned inner = 1; inner;) {
		inner = 0;
		for (size_t v = 0; v < LDB_GROUP / 8; v++)
			inner |= ldb_cht_step8(self, &x8[v], &at8[v]);
	}
	for (size_t v = 0; v < LDB_GROUP / 8; v++)
		_mm512_storeu_si512(x + 8 * v, at8[v]);
	memcpy(at, x, count * sizeof *at);
}

#else

/* ldb_cht_descend for a group of at most LDB_GROUP queries: each round takes one step for those
 * that are not in a leaf yet, and prefetches the next. No branch depends on a single query. */
static inline void ldb_cht_descend_group(const ldb_cht *self, const ldb_key *q, size_t count,
					 size_t *at)
{
	uint64_t x[LDB_GROUP];
	unsigned char inner[LDB_GROUP + 1];
	for (size_t i = 0; i < count; i++) {
		x[i] = ldb_cht_spread(self, q[i]);
		at[i] = ldb_cht_part(self, x[i]);
		inner[i] = (unsigned char)i;
		ldb_prefetch(self->table, at[i] * sizeof *self->table);
	}
	for (size_t left = count, next; left; left = next) {
		next = 0;
		for (size_t k = 0; k < left; k++) {
			const size_t i = inner[k];
			const uint32_t entry = self->table[at[i]];
			const size_t node = entry >> 31;
			x[i] <<= self->bits;
			const size_t below = (entry & ~LDB_CHT_NODE) + ldb_cht_part(self, x[i]);
			at[i] += (below - at[i]) & (0 - node);
			ldb_prefetch(self->table, at[i] * sizeof *self->table);
			inner[next] = (unsigned char)i;
			next += node;
		}
	}
}

#endif

/* --- build ------------------------------------------------------------------------------------ */

typedef enum {
	LDB_CHT_BUILT,
	LDB_CHT_NO_MEMORY,
	LDB_CHT_TOO_LARGE, /* more entries than were allowed */
} ldb_cht_result;

typedef struct {
	ldb_cht *tree;
	const ldb_key *keys;
	size_t stride, room, most;
	ldb_cht_result result;
} ldb_cht_builder;

/* Makes room for `count` more entries, in a table of `most` at most. */
static inline bool ldb_cht_grow(ldb_cht_builder *b, size_t count)
{
	ldb_cht *tree = b->tree;
	const size_t needed = tree->entries + count;
	if (needed <= b->room)
		return true;
	b->result = needed > b->most ? LDB_CHT_TOO_LARGE : LDB_CHT_NO_MEMORY;
	if (needed > b->most)
		return false;
	size_t room = b->room * 2 > needed ? b->room * 2 : needed;
	room = room < b->most ? room : b->most;
	uint32_t *table = ldb_alloc(room * sizeof *table);
	if (!table)
		return false;
	if (b->room)
		memcpy(table, tree->table, tree->entries * sizeof *table);
	ldb_free(tree->table, b->room * sizeof *table);
	tree->table = table;
	b->room = room;
	b->result = LDB_CHT_BUILT;
	return true;
}

/* The part of key i in a node that `used` bits lead to. */
static inline size_t ldb_cht_part_of(const ldb_cht_builder *b, size_t i, unsigned used)
{
	return ldb_cht_part(b->tree, ldb_cht_spread(b->tree, b->keys[i * b->stride]) << used);
}

/* Rank of the first key of [begin, end) in this part or a later one, from begin on by doubling
 * steps, then by halving. */
static inline size_t ldb_cht_part_start(const ldb_cht_builder *b, size_t begin, size_t end,
					unsigned used, size_t part)
{
	size_t step = 1;
	while (begin + step < end && ldb_cht_part_of(b, begin + step, used) < part) {
		begin += step;
		step *= 2;
	}
	end = begin + step < end ? begin + step : end;
	while (begin < end) {
		const size_t middle = begin + (end - begin) / 2;
		if (ldb_cht_part_of(b, middle, used) < part)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

/* Fills `parts` entries with the starts of their keys, of [begin, end): in one pass over the keys,
 * or, where a part has many keys, by a search for each. */
static inline void ldb_cht_starts(const ldb_cht_builder *b, uint32_t *entry, size_t parts,
				  size_t begin, size_t end, unsigned used)
{
	size_t next = 0;
	if ((end - begin) / 64 > parts) {
		for (size_t start = begin; next < parts; entry[next++] = (uint32_t)start)
			start = ldb_cht_part_start(b, start, end, used, next);
		return;
	}
	for (size_t i = begin; i < end; i++)
		for (const size_t part = ldb_cht_part_of(b, i, used); next <= part;)
			entry[next++] = (uint32_t)i;
	while (next < parts)
		entry[next++] = (uint32_t)end;
}

/* Adds a node with `parts` parts for the keys [begin, end), and, part by part, the nodes below it.
 * As deep as x has bits, at most. */
__attribute__((unused)) static bool ldb_cht_add(ldb_cht_builder *b, size_t parts, size_t begin,
						size_t end, unsigned used)
{
	ldb_cht *tree = b->tree;
	const size_t node = tree->entries;
	if (!ldb_cht_grow(b, parts))
		return false;
	tree->entries += parts;
	ldb_cht_starts(b, tree->table + node, parts, begin, end, used);
	for (size_t part = 0; part < parts; part++) {
		const size_t from = tree->table[node + part];
		const size_t to = part + 1 < parts ? tree->table[node + part + 1] : end;
		if (to - from <= tree->max_error)
			continue;
		if (ldb_cht_spread(tree, b->keys[from * b->stride]) ==
		    ldb_cht_spread(tree, b->keys[(to - 1) * b->stride])) {
			tree->long_leaves = true;
			continue;
		}
		const size_t child = tree->entries;
		if (!ldb_cht_add(b, (size_t)1 << tree->bits, from, to, used + tree->bits))
			return false;
		tree->table[node + part] = LDB_CHT_NODE | (uint32_t)child;
	}
	return true;
}

/* Up to this many keys: ranks and places of nodes must fit in 31 bits. */
#define LDB_CHT_KEYS_MAX ((size_t)LDB_CHT_NODE - 1)

/* Sets the range of n keys, without far outliers or (as published) all of it. */
static inline void ldb_cht_set_range(ldb_cht *self, const ldb_key *keys, size_t stride, size_t n,
				     bool trimmed)
{
	self->n = n;
	self->base = self->top = 0;
	if (n == 0)
		return;
	ldb_trim_range(keys, stride, n,
		       !trimmed      ? 0
		       : n / 16 < 32 ? n / 16
				     : 32,
		       &self->base, &self->top);
	const ldb_key range = self->top - self->base;
	self->lead = range ? (unsigned)__builtin_clzll(range) : 0;
}

/*
 * Builds the tree, whose range, bits and max_error are set, in at most `most` entries; `expected`
 * says how many there will be, about. When it fails nothing is held. The root has only the parts
 * that keys can be in. One entry more than is used, so that there is a next one to each.
 */
__attribute__((unused)) static ldb_cht_result
ldb_cht_build(ldb_cht *self, const ldb_key *keys, size_t stride, size_t expected, size_t most)
{
	ldb_cht_builder b = {.tree = self, .keys = keys, .stride = stride};
	const size_t fanout = (size_t)1 << self->bits;
	self->line_mask = (uint32_t)(fanout < 16 ? fanout : 16) - 1;
	const size_t used = ldb_cht_part(self, ldb_cht_spread(self, self->top)) + 1;
	const size_t parts = (used + self->line_mask) & ~(size_t)self->line_mask;
	b.most = most < LDB_CHT_NODE - fanout ? most : LDB_CHT_NODE - fanout;
	b.most = b.most > parts + 1 ? b.most : parts + 1; /* there is always a root */
	self->table = NULL;
	self->entries = 0;
	self->long_leaves = false;
	bool good = ldb_cht_grow(&b, expected > parts && expected < b.most ? expected : parts) &&
		    ldb_cht_add(&b, parts, 0, self->n, 0) && ldb_cht_grow(&b, 1);
	uint32_t *exact = NULL;
	if (good) {
		self->table[self->entries++] = (uint32_t)self->n;
		b.result = LDB_CHT_NO_MEMORY;
		exact = ldb_alloc(ldb_cht_bytes(self));
	}
	if (exact) {
		memcpy(exact, self->table, ldb_cht_bytes(self));
		b.result = LDB_CHT_BUILT;
	}
	ldb_free(self->table, b.room * sizeof *exact);
	self->table = exact;
	return b.result;
}

static inline void ldb_cht_free(ldb_cht *self)
{
	ldb_free(self->table, self->table ? ldb_cht_bytes(self) : 0);
}

/* Checks the way of each key: nodes inside the table, and a leaf that starts at the key or before,
 * and is short or has only keys that x can't tell apart. */
__attribute__((unused)) static bool ldb_cht_sound(const ldb_cht *self, const ldb_key *keys,
						  size_t stride)
{
	for (size_t i = 0; i < self->n; i++) {
		uint64_t x = ldb_cht_spread(self, keys[i * stride]);
		size_t at = ldb_cht_part(self, x);
		for (unsigned used = self->bits; self->table[at] & LDB_CHT_NODE;) {
			x <<= self->bits;
			at = (self->table[at] & ~LDB_CHT_NODE) + ldb_cht_part(self, x);
			used += self->bits;
			if (used >= 64 + self->bits || at + 1 >= self->entries)
				return false;
		}
		const size_t start = self->table[at];
		if (start > i || ldb_cht_spread(self, keys[start * stride]) >
					 ldb_cht_spread(self, keys[i * stride]))
			return false;
		if (i - start >= self->max_error &&
		    (!self->long_leaves || ldb_cht_spread(self, keys[start * stride]) !=
						   ldb_cht_spread(self, keys[i * stride])))
			return false;
	}
	return true;
}

/* --- tuning ----------------------------------------------------------------------------------- */

enum { LDB_CHT_ERRORS = 32 };

/* max_error number e: 4, 6, 8, 12, 16, 24 ... */
static inline size_t ldb_cht_error(size_t e)
{
	return (size_t)(e % 2 ? 6 : 4) << e / 2;
}

/* What each setting would cost, estimated. */
typedef struct {
	double cost[LDB_CHT_BITS_MAX + 1][LDB_CHT_ERRORS];    /* of a lookup, as ldb_read_cost */
	double entries[LDB_CHT_BITS_MAX + 1][LDB_CHT_ERRORS]; /* of the table */
} ldb_cht_estimate;

/* What the tuner looks for. */
typedef struct {
	const ldb_key *keys;
	size_t stride;
	double narrow; /* a window of so many keys is searched at once */
	size_t most;   /* entries */
	double fixed;  /* share of lookups by ldb_fixed_search, in windows of max_error */
} ldb_cht_task;

/* For one key: how many keys share the first l bits of its x; 0 from where all of those are equal.
 */
static inline void ldb_cht_groups(const ldb_cht *self, const ldb_cht_task *task, size_t rank,
				  uint32_t shared[65], uint32_t *equal)
{
	ldb_radix prefix = {.base = self->base, .top = self->top};
	size_t lo = rank, hi = rank + 1;
	for (unsigned l = 64; l <= 64; l--) { /* down to 0, where it wraps */
		/* The prefix of l bits of x is that of a table with this shift. */
		const unsigned shift = 64 - l;
		if (shift < self->lead) {
			shared[l] = 0;
			continue;
		}
		prefix.shift = shift - self->lead;
		if (prefix.shift >= LDB_KEY_BITS)
			lo = 0, hi = self->n;
		else if (lo > 0 || hi < self->n)
			ldb_radix_group(&prefix, task->keys, task->stride, self->n, &lo, &hi);
		const bool same = ldb_cht_spread(self, task->keys[lo * task->stride]) ==
				  ldb_cht_spread(self, task->keys[(hi - 1) * task->stride]);
		shared[l] = same ? 0 : (uint32_t)(hi - lo);
		if (same)
			*equal = (uint32_t)(hi - lo);
	}
}

/*
 * Adds to the estimates what one key says, which stands for `weight` keys. A node with c keys is
 * counted by each of its keys as the cth part of a node (Horvitz, Thompson: "A Generalization of
 * Sampling Without Replacement", JASA 1952), so a sample of keys gives the number of nodes.
 */
static inline void ldb_cht_add_key(const ldb_cht *self, const ldb_cht_task *task, double weight,
				   const uint32_t shared[65], uint32_t equal, ldb_cht_estimate *out)
{
	const double n = (double)self->n;
	const double read = ldb_read_cost(n * (double)task->stride * sizeof(ldb_key));
	double fixed[LDB_CHT_ERRORS] = {0};
	for (size_t e = 0; e < LDB_CHT_ERRORS && task->fixed > 0; e++)
		fixed[e] = task->fixed * ldb_fixed_cost(ldb_cht_error(e), read);
	for (unsigned bits = 1; bits <= LDB_CHT_BITS_MAX; bits++) {
		const double node_entries = (double)(1u << bits);
		double way = 0; /* cost of the nodes so far */
		size_t e = LDB_CHT_ERRORS;
		for (unsigned used = 0; e; used += bits) {
			const uint32_t here = used <= 64 ? shared[used] : 0;
			const uint32_t below = used + bits <= 64 ? shared[used + bits] : 0;
			way += LDB_STEP_COST +
			       ldb_read_cost(n / (here ? here : n) * node_entries * 4);
			const double leaf = below ? below : equal;
			const double found =
				(1 - task->fixed) * ldb_search_cost(leaf, task->narrow, read);
			/* With a max_error of `below` and more this part is a leaf. */
			for (; e && ldb_cht_error(e - 1) >= below; e--)
				out->cost[bits][e - 1] += weight / n * (way + found + fixed[e - 1]);
			for (size_t k = 0; k < e; k++)
				out->entries[bits][k] += weight / below * node_entries;
		}
	}
}

/* Estimates all settings by a sample of keys. */
__attribute__((unused)) static void
ldb_cht_estimate_all(const ldb_cht *self, const ldb_cht_task *task, ldb_cht_estimate *out)
{
	const size_t samples = ldb_sample_size(self->n);
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < samples; i++) {
		uint32_t shared[65], equal = 1;
		ldb_cht_groups(self, task, ldb_sample_rank(i, samples, self->n), shared, &equal);
		ldb_cht_add_key(self, task, (double)self->n / (double)samples, shared, equal, out);
	}
	for (unsigned bits = 1; bits <= LDB_CHT_BITS_MAX; bits++)
		for (size_t e = 0; e < LDB_CHT_ERRORS; e++)
			out->entries[bits][e] += 1 + (double)((size_t)1 << bits); /* the root */
}

/* Strikes out a setting that took more than estimated, and those that take even more. */
static inline void ldb_cht_refuse(const ldb_cht *self, ldb_cht_estimate *all)
{
	for (size_t e = 0; e < LDB_CHT_ERRORS && ldb_cht_error(e) <= self->max_error; e++)
		all->entries[self->bits][e] = INFINITY;
}

/* Sets bits and max_error to the cheapest setting that fits, and returns its cost. With none left:
 * two parts, and windows of all keys. */
__attribute__((unused)) static double ldb_cht_choose(ldb_cht *self, const ldb_cht_estimate *all,
						     const ldb_cht_task *task, size_t *expected)
{
	double best = INFINITY;
	self->bits = 1;
	self->max_error = (uint32_t)(self->n ? self->n : 1);
	*expected = 3;
	for (unsigned bits = 1; bits <= LDB_CHT_BITS_MAX; bits++) {
		for (size_t e = 0; e < LDB_CHT_ERRORS; e++) {
			if (all->entries[bits][e] > 0.9 * (double)task->most ||
			    all->cost[bits][e] >= best)
				continue;
			best = all->cost[bits][e];
			self->bits = bits;
			self->max_error = (uint32_t)ldb_cht_error(e);
			*expected = (size_t)(all->entries[bits][e] * 1.1);
		}
	}
	return best;
}

#endif
