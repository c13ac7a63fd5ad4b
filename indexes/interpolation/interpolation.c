/*
 * interpolation: three-point interpolation search over the sorted keys themselves. Needs no memory
 * beyond five remembered keys.
 *
 * After Van Sandt, Chronis, Patel, Efficiently Searching In-Memory Sorted Arrays: Revenge of the
 * Interpolation Search? (SIGMOD 2019), there called TIP: the ranks of three keys around q are
 * joined by a hyperbola instead of a line, x(y) = (a + b y) / (1 + c y), which bends with the
 * density of the keys. Steps on uniform keys: O(log log n), Perl, Itai, Avni, Interpolation Search:
 * A log log N Search (CACM 21, 1978).
 *
 * What is different here. A probe looks at a block of eight keys at once, so the search ends as
 * soon as an estimate is off by less than four, without the paper's sequential search. The first
 * three points are not the smallest, middle and largest key but also those that leave a thousandth
 * out at both ends, as a single far outlier would spoil the first estimates.
 *
 * And there is a guard, where plain interpolation search takes up to n probes on keys made to
 * mislead it: after `steps` estimates the search starts anew by halving, over all keys, as the
 * first keys that this looks at are the same for all queries and so in cache. How many steps are
 * worth it is found at build by searching for a sample of the keys; none at all is one of the
 * answers.
 *
 * Cache lines. One or two neighbouring lines for a probe; uniform keys take about three probes at
 * 10M keys, the first of which are nowhere near each other, so nothing of it stays in cache.
 *
 * Arithmetic. Keys are subtracted from q as integers, so that doubles see differences only; their
 * rounding can only worsen an estimate, never the answer, and an estimate that is not inside of the
 * bracket (or no number) is replaced by the middle.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "clock.h"
#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/window.h"

enum { PARAM_STEPS };
static const ldb_param params[] = {
	{"steps", "estimates before the search falls back on halving; 0: as many as pay", .def = 0,
	 .min = 0, .max = 64},
	{0},
};

enum {
	BLOCK = LDB_LINE_KEYS, /* keys that a probe looks at */
	PIVOTS = 5,            /* remembered keys */
	SMALL = 64,            /* fewer keys are searched by halving alone */
	NARROW = 1024,         /* so few are halved where they are, without starting anew */
	STEPS_MOST = 8,        /* that are chosen */
	SAMPLES = 256,
};

typedef struct {
	const ldb_key *keys; /* borrowed */
	size_t n;
	unsigned steps;
	size_t rank[PIVOTS]; /* ascending, the first is 0, the last n - 1; not set below SMALL keys
			      */
	ldb_key key[PIVOTS];
	uint64_t tune_ns;
} interpolation;

/*
 * A search under way: keys[left] < q <= keys[right], so the answer is in (left, right]. `third` is
 * a rank outside of that, the last one that was. The y are key - q.
 */
typedef struct {
	size_t left, right, third;
	double y_left, y_right, y_third;
} bracket;

/* key - q; the difference is taken before it is rounded. */
static inline double distance(ldb_key key, ldb_key q)
{
	return key < q ? -(double)(q - key) : (double)(key - q);
}

/* The pivots around q, keys[0] < q <= keys[n - 1]. The third point is the neighbour that is nearer
 * in rank to the bracket's middle. */
static inline void start(const interpolation *self, ldb_key q, bracket *b)
{
	size_t r = 1;
	for (size_t p = 1; p < PIVOTS - 1; p++)
		r += self->key[p] < q;
	const size_t third = r == 1 ? 2 : r == PIVOTS - 1 ? PIVOTS - 3 : r == 2 ? 3 : 1;
	b->left = self->rank[r - 1];
	b->right = self->rank[r];
	b->third = self->rank[third];
	b->y_left = distance(self->key[r - 1], q);
	b->y_right = distance(self->key[r], q);
	b->y_third = distance(self->key[third], q);
}

/*
 * The rank where the hyperbola through the three points meets y = 0. It keeps the cross ratio,
 *	(x - l)(t - r) / ((x - r)(t - l)) = (0 - yl)(yt - yr) / ((0 - yr)(yt - yl)),
 * which solved for x needs one division. Where the three are on a line, so is it.
 */
static inline size_t estimate(const bracket *b)
{
	const double l = (double)(int64_t)b->left, width = (double)(int64_t)(b->right - b->left);
	const double t = (double)(int64_t)b->third - l; /* ranks counted from left */
	const double near = b->y_left * (b->y_third - b->y_right) * t;
	const double far = b->y_right * (b->y_third - b->y_left) * (t - width);
	const double x = near * width / (near - far);
	/* Also false for what is no number. */
	return b->left + (x >= 0 && x <= width ? (size_t)(int64_t)x : (b->right - b->left) / 2);
}

/* The keys around a rank; n >= BLOCK. */
static inline size_t block_of(const interpolation *self, size_t rank)
{
	const size_t from = rank > BLOCK / 2 ? rank - BLOCK / 2 : 0, last = self->n - BLOCK;
	return from < last ? from : last;
}

/* Looks at the keys of a block. True when the answer is there: it is b->right. Each probe that does
 * not find it moves an end of the bracket by at least BLOCK / 2 - 1. */
static inline bool probe(const interpolation *self, ldb_key q, size_t block, bracket *b)
{
	const ldb_key *keys = self->keys + block;
	const unsigned less = ldb_count_less_line(keys, q);
	if (less == 0) {
		b->third = b->right, b->y_third = b->y_right;
		b->right = block, b->y_right = distance(keys[0], q);
	} else if (less == BLOCK) {
		b->third = b->left, b->y_third = b->y_left;
		b->left = block + BLOCK - 1, b->y_left = distance(keys[BLOCK - 1], q);
	} else {
		b->right = block + less;
		b->left = b->right - 1;
	}
	return b->right - b->left == 1;
}

/* What is left when the estimates are used up: the bracket, or all keys if it is wide. */
static inline void remaining(const interpolation *self, const bracket *b, size_t *lo, size_t *hi)
{
	const bool narrow = b->right - b->left <= NARROW;
	*lo = narrow ? b->left + 1 : 0;
	*hi = narrow ? b->right : self->n;
}

static inline ldb_val interpolation_find(const interpolation *self, ldb_key q)
{
	const size_t n = self->n;
	if (n < SMALL) {
		const size_t rank = ldb_lower_bound(self->keys, n, q);
		return rank < n ? rank : LDB_NONE;
	}
	if (q <= self->key[0])
		return 0;
	if (q > self->key[PIVOTS - 1])
		return LDB_NONE;
	size_t lo = 0, hi = n;
	if (self->steps) {
		bracket b;
		start(self, q, &b);
		for (unsigned step = 0; step < self->steps; step++)
			if (probe(self, q, block_of(self, estimate(&b)), &b))
				return b.right;
		remaining(self, &b, &lo, &hi);
	}
	return ldb_search_window(self->keys, n, lo, hi, q);
}

LDB_INDEX_LOOPS(interpolation, interpolation_find)

/* --- batched lookup --------------------------------------------------------------------------- */

/* Takes the searches in `open` one probe further: first all next blocks are worked out and fetched,
 * then looked at. Returns how many of them are still open. */
static inline size_t probe_group(const interpolation *self, const ldb_key *q, bracket *b,
				 unsigned char *open, size_t count)
{
	size_t block[LDB_GROUP], left = 0;
	for (size_t k = 0; k < count; k++) {
		block[k] = block_of(self, estimate(&b[open[k]]));
		ldb_prefetch_key(self->keys, block[k]);
		ldb_prefetch_key(self->keys, block[k] + BLOCK - 1);
	}
	for (size_t k = 0; k < count; k++) {
		const unsigned char i = open[k];
		open[left] = i;
		left += !probe(self, q[i], block[k], &b[i]);
	}
	return left;
}

/* The searches still open after all probes: by halving, in lock step over all keys, each step
 * fetching the next. n >= LDB_NARROW. */
static inline void halve_group(const interpolation *self, const ldb_key *q,
			       const unsigned char *open, size_t count, ldb_val *out)
{
	size_t lo[LDB_GROUP] = {0}, length = self->n;
	while (length > LDB_NARROW) {
		const size_t half = length / 2;
		length -= half;
		for (size_t k = 0; k < count; k++) {
			const bool right = self->keys[lo[k] + half - 1] < q[open[k]];
			lo[k] += half & (0 - (size_t)right);
			ldb_prefetch_key(self->keys, lo[k] + length / 2 - 1);
		}
	}
	for (size_t k = 0; k < count; k++)
		ldb_prefetch_window(self->keys, lo[k], lo[k] + length);
	for (size_t k = 0; k < count; k++)
		out[open[k]] =
			ldb_search_narrow(self->keys, self->n, lo[k], lo[k] + length, q[open[k]]);
}

static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const interpolation *self = index;
	bracket b[LDB_GROUP];
	unsigned char open[LDB_GROUP + 1];
	size_t left = 0;
	for (size_t i = 0; i < count; i++) {
		const bool inside = q[i] > self->key[0] && q[i] <= self->key[PIVOTS - 1];
		if (self->steps)
			start(self, inside ? q[i] : self->key[PIVOTS - 1], &b[i]);
		else
			b[i] = (bracket){.right = self->n};
		open[left] = (unsigned char)i;
		left += inside;
	}
	for (unsigned step = 0; step < self->steps && left; step++)
		left = probe_group(self, q, b, open, left);
	for (size_t i = 0; i < count; i++)
		out[i] = q[i] <= self->key[0]           ? 0
			 : q[i] > self->key[PIVOTS - 1] ? LDB_NONE
							: b[i].right;
	halve_group(self, q, open, left, out);
}

static void interpolation_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	if (((const interpolation *)self)->n < SMALL)
		interpolation_lookup(self, q, n, out);
	else
		ldb_find_groups(self, find_group, q, n, out);
}

/* --- build ------------------------------------------------------------------------------------ */

/*
 * How many estimates to make before halving, for the least cost over a sample of the keys, in
 * probes. As measured, halving costs as much as two probes at a million keys, as most of what it
 * reads is in cache, and with each doubling of the keys three quarters of a probe more.
 */
static unsigned choose_steps(const interpolation *self)
{
	size_t found_at[STEPS_MOST + 1] = {0}; /* [s]: samples found by the sth probe */
	const size_t n = self->n;
	const ldb_key max = self->key[PIVOTS - 1];
	for (size_t i = 0; i < SAMPLES; i++) {
		const ldb_key key = self->keys[(2 * i + 1) * (n / (2 * SAMPLES))];
		const ldb_key q = key > self->key[0] ? key : self->key[0] + (self->key[0] < max);
		bracket b;
		start(self, q, &b);
		for (unsigned step = 1; self->key[0] < max && step <= STEPS_MOST; step++) {
			if (probe(self, q, block_of(self, estimate(&b)), &b)) {
				found_at[step]++;
				break;
			}
		}
	}
	const double halving = fmax(1.5, 2 + 0.75 * log2((double)n / 1e6));
	unsigned best = 0;
	double least = halving, probes = 0, open = 1; /* share of the samples not found yet */
	for (unsigned step = 1; step <= STEPS_MOST; step++) {
		probes += open;
		open -= (double)found_at[step] / SAMPLES;
		if (probes + open * halving < least) {
			least = probes + open * halving;
			best = step;
		}
	}
	return best;
}

static ldb_status interpolation_build(void **self, const ldb_key *keys, size_t n,
				      const double *values, ldb_error *err)
{
	interpolation *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "interpolation", sizeof *index);
	*index = (interpolation){.keys = keys, .n = n, .steps = (unsigned)values[PARAM_STEPS]};
	const size_t trim = n / 1024 + 1; /* < n / 2 from SMALL keys on */
	for (size_t p = 0; n >= SMALL && p < PIVOTS; p++) {
		const size_t ranks[PIVOTS] = {0, trim, n / 2, n - 1 - trim, n - 1};
		index->rank[p] = ranks[p];
		index->key[p] = keys[ranks[p]];
	}
	if (index->steps == 0 && n >= SMALL) {
		const uint64_t start_ns = ldb_now_ns();
		index->steps = choose_steps(index);
		index->tune_ns = ldb_now_ns() - start_ns;
	}
	*self = index;
	return LDB_OK;
}

static void interpolation_destroy(void *self)
{
	ldb_free(self, sizeof(interpolation));
}

static size_t interpolation_bytes(const void *self)
{
	(void)self;
	return sizeof(interpolation);
}

static void interpolation_info(const void *self, ldb_index_info *out)
{
	const interpolation *index = self;
	out->tune_ns = index->tune_ns;
	snprintf(out->chosen, sizeof out->chosen, "steps=%u", index->steps);
}

static ldb_status interpolation_validate(const void *self, ldb_error *err)
{
	const interpolation *index = self;
	for (size_t p = 0; index->n >= SMALL && p < PIVOTS; p++) {
		if (index->rank[p] >= index->n || index->key[p] != index->keys[index->rank[p]] ||
		    (p > 0 && index->rank[p] <= index->rank[p - 1]))
			return ldb_fail(err, LDB_INVALID,
					"report it as a fault of interpolation's build",
					"interpolation: remembered keys", "number %zu", p);
	}
	for (size_t i = 1; i < index->n; i++) {
		if (index->keys[i - 1] > index->keys[i])
			return ldb_fail(err, LDB_INVALID, "sort the keys before building",
					"interpolation", "key %zu is less than the one before it",
					i);
	}
	return LDB_OK;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "interpolation",
	.summary = "three-point interpolation search, guarded by binary search",
	.origin = "Van Sandt, Chronis, Patel, SIGMOD 2019",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 1, /* none per key */
	.build = interpolation_build,
	.destroy = interpolation_destroy,
	.bytes = interpolation_bytes,
	.validate = interpolation_validate,
	.lookup = interpolation_lookup,
	.chase = interpolation_chase,
	.lookup_batch = interpolation_lookup_batch,
	.info = interpolation_info,
};
LDB_EXPORT_INDEX(table)
