/*
 * A radix table over sorted keys: for each value of their top bits, where the keys with it start
 * (Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann: "SOSD: A Benchmark for Learned
 * Indexes", 2019, as RBS; "RadixSpline", 2020, over spline points). It is rbs, and the top of
 * radixspline and plex.
 *
 * The bits are those of q - base, so that a common prefix costs nothing. q is clamped to
 * [base, top]: far outliers may be left out of the range, and then share the outermost entries.
 *
 * The keys are `stride` keys apart: 1 for plain keys, 2 where they are the first halves of spline
 * points. It should be a constant, as all is inlined.
 */
#ifndef LDB_RADIX_H
#define LDB_RADIX_H

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "ldb/index.h"
#include "ldb/window.h"

typedef struct {
	uint32_t *table; /* table[p] = number of keys whose prefix is < p */
	size_t count;    /* of entries: one more than there are prefixes */
	ldb_key base, top;
	unsigned shift;
} ldb_radix;

/* Never decreases as q grows; the keys with q's prefix p are those of ranks
 * [table[p], table[p + 1]), and there the first key >= q is, or right behind. */
static inline size_t ldb_radix_prefix(const ldb_radix *self, ldb_key q)
{
	q = q < self->top ? q : self->top;
	return (size_t)((q > self->base ? q - self->base : 0) >> self->shift);
}

static inline size_t ldb_radix_bytes(const ldb_radix *self)
{
	return self->count * sizeof *self->table;
}

/*
 * The range of n > 0 keys without far outliers: what is left when `trim` keys at both ends are
 * taken away, and whatever lies within an eighth of that range beyond it. 2 * trim < n.
 */
static inline void ldb_trim_range(const ldb_key *keys, size_t stride, size_t n, size_t trim,
				  ldb_key *base, ldb_key *top)
{
	const ldb_key low = keys[trim * stride], high = keys[(n - 1 - trim) * stride];
	const ldb_key margin = (high - low) / 8;
	*base = keys[0];
	*top = keys[(n - 1) * stride];
	if (low - *base > margin)
		*base = low - margin;
	if (*top - high > margin)
		*top = high + margin;
}

/* How many bits q - base can have. */
static inline unsigned ldb_radix_range_bits(const ldb_radix *self)
{
	const ldb_key range = self->top - self->base;
	return range ? 64 - (unsigned)__builtin_clzll(range) : 0;
}

/*
 * Makes the table, with base, top and shift already set. Each key writes what the next prefix's
 * entry is if no other key follows, which needs no branch; prefixes without a key take over from
 * the one before. False when there is no memory.
 */
static inline bool ldb_radix_build(ldb_radix *self, const ldb_key *keys, size_t stride, size_t n)
{
	self->count = (size_t)((self->top - self->base) >> self->shift) + 2;
	self->table = ldb_alloc(ldb_radix_bytes(self));
	if (!self->table)
		return false;
	memset(self->table, 0, ldb_radix_bytes(self));
	for (size_t i = 0; i < n; i++)
		self->table[ldb_radix_prefix(self, keys[i * stride]) + 1] = (uint32_t)i + 1;
	uint32_t start = 0;
	for (size_t p = 0; p < self->count; p++) {
		start = self->table[p] > start ? self->table[p] : start;
		self->table[p] = start;
	}
	return true;
}

static inline void ldb_radix_free(ldb_radix *self)
{
	ldb_free(self->table, ldb_radix_bytes(self));
}

/* The least shift with which the table has at most `most` >= 3 entries. */
static inline unsigned ldb_radix_shift_for(ldb_key range, size_t most)
{
	unsigned shift = 0;
	while (shift < LDB_KEY_BITS - 1 && range >> shift > most - 2)
		shift++;
	return shift;
}

/* --- search ----------------------------------------------------------------------------------- */

/* Where the keys with q's prefix are: the rank of the first key >= q is in [*lo, *hi]. */
static inline void ldb_radix_range(const ldb_radix *self, ldb_key q, size_t *lo, size_t *hi)
{
	const uint32_t *entry = self->table + ldb_radix_prefix(self, q);
	*lo = entry[0];
	*hi = entry[1];
}

/* ldb_radix_range for a group: the entries of all are asked for before the first is read. */
static inline void ldb_radix_ranges(const ldb_radix *self, const ldb_key *q, size_t count,
				    size_t *lo, size_t *hi)
{
	for (size_t i = 0; i < count; i++) {
		lo[i] = ldb_radix_prefix(self, q[i]);
		ldb_prefetch(self->table, lo[i] * sizeof *self->table);
		ldb_prefetch(self->table, (lo[i] + 1) * sizeof *self->table);
	}
	for (size_t i = 0; i < count; i++) {
		const uint32_t *entry = self->table + lo[i];
		lo[i] = entry[0];
		hi[i] = entry[1];
	}
}

/* --- what a lookup costs, to choose between settings ------------------------------------------ */

/* Of a step, beside its read. */
#define LDB_STEP_COST 0.7

/*
 * What a random read costs in `bytes` of memory, in about nanoseconds. The numbers are those with
 * which the costs of 200 trees over seven sets of keys came out in their measured order, all modes
 * taken together. Other memory is read as well, so caches seem smaller than they are. Only ratios
 * matter.
 */
static inline double ldb_read_cost(double bytes)
{
	static const struct {
		double log2_bytes, cost;
	} level[] = {{15, 1}, {18, 19}, {20, 36}, {22, 38}, {24, 50}, {28, 90}};
	const size_t last = sizeof level / sizeof *level - 1;
	const double x = bytes > 1 ? log2(bytes) : 0;
	if (x <= level[0].log2_bytes)
		return level[0].cost;
	for (size_t i = 1; i <= last; i++) {
		const double rise = level[i].cost - level[i - 1].cost;
		if (x < level[i].log2_bytes)
			return level[i].cost -
			       rise * (level[i].log2_bytes - x) /
				       (level[i].log2_bytes - level[i - 1].log2_bytes);
	}
	return level[last].cost;
}

/* The cost of finding one of `count` neighbours that are compared at once when there are at most
 * `narrow`, else halved: with each step a read. */
static inline double ldb_search_cost(double count, double narrow, double read_cost)
{
	const double read = 1.3 * read_cost; /* a window seldom begins where a line does */
	return count <= narrow ? read : read + log2(count / narrow) * (0.3 * read_cost + 2);
}

/* The same for ldb_fixed_search, as measured: the halvings of eight lines in a row cost little. */
static inline double ldb_fixed_cost(size_t length, double read_cost)
{
	const size_t line = LDB_LINE_KEYS;
	double cost = 1.3 * read_cost + (length > 4 * line ? 4 : (double)length / (double)line);
	if (length > LDB_FIXED_COUNTED)
		cost += 0.15 * read_cost + 1;
	for (; length > 8 * line; length -= length / 2)
		cost += 0.25 * read_cost + 4;
	return cost;
}

/* The next step of a search outward: doubled until one was too far, then half of what is left. */
static inline size_t ldb_next_step(size_t step, bool bounded, size_t left)
{
	return bounded ? (left + 1) / 2 : step * 2;
}

/* Extends ranks [*lo, *hi), which hold keys of one prefix, to all that have it. Near ends are found
 * at once. */
static inline void ldb_radix_group(const ldb_radix *self, const ldb_key *keys, size_t stride,
				   size_t n, size_t *lo, size_t *hi)
{
	const size_t prefix = ldb_radix_prefix(self, keys[*lo * stride]);
	size_t in = *lo, out = 0, step = 1; /* keys[in] has the prefix, none before `out` */
	for (bool bounded = false; in > out; step = ldb_next_step(step, bounded, in - out)) {
		const size_t at = in - out > step ? in - step : out;
		const bool same = ldb_radix_prefix(self, keys[at * stride]) == prefix;
		bounded |= !same;
		in = same ? at : in;
		out = same ? out : at + 1;
	}
	*lo = in;
	in = *hi, out = n, step = 1; /* keys[in - 1] has the prefix, none from `out` on */
	for (bool bounded = false; in < out; step = ldb_next_step(step, bounded, out - in)) {
		const size_t at = out - in > step ? in + step : out;
		const bool same = ldb_radix_prefix(self, keys[(at - 1) * stride]) == prefix;
		bounded |= !same;
		in = same ? at : in;
		out = same ? out : at - 1;
	}
	*hi = in;
}

/* How many keys to look at when settings are compared: enough to tell them apart, and so few that
 * building takes longer. */
static inline size_t ldb_sample_size(size_t n)
{
	const size_t few = n / 4096;
	return few < 64 ? (n < 64 ? n : 64) : few > 512 ? 512 : few;
}

/* The rank of the ith of `count` samples of n keys, evenly spread. */
static inline size_t ldb_sample_rank(size_t i, size_t count, size_t n)
{
	return (size_t)((2 * (unsigned __int128)i + 1) * n / (2 * count));
}

/* The mean cost of a lookup by a table with this range and shift, which need not be made: how many
 * keys share a prefix is seen in the keys. */
static inline double ldb_radix_cost(const ldb_radix *self, const ldb_key *keys, size_t stride,
				    size_t n, double narrow)
{
	const size_t samples = ldb_sample_size(n);
	const double read = ldb_read_cost((double)n * (double)stride * sizeof *keys);
	double sum = 0;
	for (size_t i = 0; i < samples; i++) {
		size_t lo = ldb_sample_rank(i, samples, n), hi = lo + 1;
		ldb_radix_group(self, keys, stride, n, &lo, &hi);
		sum += ldb_search_cost((double)(hi - lo), narrow, read);
	}
	const double entries = (double)((self->top - self->base) >> self->shift) + 2;
	return LDB_STEP_COST + ldb_read_cost(entries * sizeof *self->table) +
	       (samples ? sum / (double)samples : 0);
}

#endif
