/*
 * A linear spline through the ranks of sorted keys that is never off by more than epsilon: the
 * model of radixspline and plex, with its search and its fit.
 *
 * The fit is the greedy corridor (Neumann, Michel: "Smooth interpolating histograms with error
 * guarantees", BNCOD 2008, algorithm GreedySplineCorridor), in one pass over the keys.
 *
 * What the spline promises, for the step function r(q) = number of keys < q. It is fitted to the
 * points (a, r(a)) of all distinct keys a, and where a occurs more than once and a + 1 is no key
 * also to (a + 1, r(a + 1)), the end of the jump. At each of these the spline v is within epsilon
 * of r, by the corridor, which is computed in exact integers. Let p < q <= s be neighbours among
 * them. Either s = p + 1, then q = s. Or p occurs once or is the end of a jump, and between p and s
 * there is no key, so r(q) = r(s) <= r(p) + 1. As v does not decrease,
 *	v(q) <= v(s) <= r(s) + epsilon  = r(q) + epsilon
 *	v(q) >= v(p) >= r(p) - epsilon >= r(q) - epsilon - 1
 * The interpolation below is v(q) computed in doubles. It makes five roundings of a relative 2^-53
 * and one of the sum with 0.5, all of values <= n <= 2^48, and so errs by less than 1/2; with the
 * rounding to the nearest, its integer i lies less than 1 from v(q). As r is an integer,
 *	i - epsilon <= r(q) <= i + epsilon + 1.
 */
#ifndef LDB_SPLINE_H
#define LDB_SPLINE_H

#include <stdbool.h>
#include <string.h>

#include "ldb/window.h"

/* As wide as a key, so that a point is two of them. */
#if LDB_KEY_BITS == 32
typedef uint32_t ldb_spline_rank;
#else
typedef uint64_t ldb_spline_rank;
#endif

typedef struct {
	ldb_key key;
	ldb_spline_rank rank; /* number of keys < key */
} ldb_spline_point;

/* Points in a cache line. */
enum { LDB_SPLINE_LINE = 64 / sizeof(ldb_spline_point) };

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldb_spline_point *points; /* the first is the first key, the last the last */
	size_t point_count;
	uint64_t epsilon;
	size_t width;       /* of all windows */
	ldb_key min, max;   /* n == 0: 0, 0 */
	ldb_val min_answer; /* to q <= min: 0, or LDB_NONE when there are no keys */
} ldb_spline;

/* Points behind the last one, with key LDB_KEY_MAX: a search may read them. */
#define LDB_SPLINE_PAD (LDB_SPLINE_LINE - 1)

/* --- search ----------------------------------------------------------------------------------- */

/* So few points, a cache line, are compared at once. */
#define LDB_SPLINE_NARROW LDB_SPLINE_LINE

/* How many of a line's points, from p on, have a key < q. */
static inline unsigned ldb_spline_count_less(const ldb_spline_point *p, ldb_key q)
{
#if defined(__AVX512F__) && LDB_KEY_BITS == 32
	return (unsigned)__builtin_popcount(_mm512_mask_cmplt_epu32_mask(
		0x5555, _mm512_loadu_si512(p), _mm512_set1_epi32((int)q)));
#elif defined(__AVX512F__)
	return (unsigned)__builtin_popcount(_mm512_mask_cmplt_epu64_mask(
		0x55, _mm512_loadu_si512(p), _mm512_set1_epi64((long long)q)));
#else
	unsigned c = 0;
	for (int i = 0; i < LDB_SPLINE_LINE; i++)
		c += p[i].key < q;
	return c;
#endif
}

/* Up to so many points are asked for as a whole, as windows of keys are (see LDB_FETCHED). */
#define LDB_SPLINE_FETCHED (16 * LDB_SPLINE_LINE)

/* Index of the first of points [begin, end) with key >= q; end when there is none. Points from end
 * on have keys >= q. */
static inline size_t ldb_spline_search(const ldb_spline *self, size_t begin, size_t end, ldb_key q)
{
	const ldb_spline_point *points = self->points;
	size_t count = end - begin;
	while (count > LDB_SPLINE_FETCHED) { /* both points that may be next are on their way */
		const size_t half = count / 2, next = (count - half) / 2;
		__builtin_prefetch(&points[begin + next - 1]);
		__builtin_prefetch(&points[begin + half + next - 1]);
		begin += half & (0 - (size_t)(points[begin + half - 1].key < q));
		count -= half;
	}
	for (size_t i = LDB_SPLINE_NARROW; i < count; i += LDB_SPLINE_NARROW)
		__builtin_prefetch(&points[begin + i]);
	while (count > LDB_SPLINE_NARROW) {
		const size_t half = count / 2;
		begin += half & (0 - (size_t)(points[begin + half - 1].key < q));
		count -= half;
	}
	return begin + ldb_spline_count_less(points + begin, q);
}

/* The window of q, min < q <= max, begins here: by the segment that ends at point `right`, the
 * first >= q. Its width is the same for all q. */
static inline size_t ldb_spline_low(const ldb_spline *self, size_t right, ldb_key q)
{
	const ldb_spline_point *a = &self->points[right - 1], *b = a + 1;
	const double share = (double)(q - a->key) / (double)(b->key - a->key);
	const double rise = share * (double)(int64_t)(b->rank - a->rank);
	const uint64_t i = a->rank + (uint64_t)(int64_t)(rise + 0.5);
	const size_t low = i > self->epsilon ? i - self->epsilon : 0, last = self->n - self->width;
	return low < last ? low : last;
}

/* What is above the spline; the spline is the first member of `self`. The first point >= q is in
 * [*begin, *end], min < q <= max. */
typedef void ldb_spline_top_fn(const void *self, ldb_key q, size_t *begin, size_t *end);

static inline __attribute__((always_inline)) ldb_val
ldb_spline_find(const ldb_spline *self, ldb_spline_top_fn *top, ldb_key q)
{
	if (q <= self->min)
		return self->min_answer;
	if (q > self->max)
		return LDB_NONE;
	size_t begin, end;
	top(self, q, &begin, &end);
	const size_t lo = ldb_spline_low(self, ldb_spline_search(self, begin, end, q), q);
	return ldb_fixed_search(self->keys, self->n, lo, self->width, q);
}

static inline void ldb_spline_window(const ldb_spline *self, ldb_spline_top_fn *top, ldb_key q,
				     size_t *lo, size_t *hi)
{
	*lo = *hi = q > self->max ? self->n : 0;
	if (q <= self->min || q > self->max)
		return;
	size_t begin, end;
	top(self, q, &begin, &end);
	*lo = ldb_spline_low(self, ldb_spline_search(self, begin, end, q), q);
	*hi = *lo + self->width;
}

/* --- batched lookup --------------------------------------------------------------------------- */

/* ldb_spline_top_fn for a group. */
typedef void ldb_spline_top_group_fn(const void *self, const ldb_key *q, size_t count,
				     size_t *begin, size_t *end);

/*
 * A group of queries goes through its stages together: top, points, interpolation, search. Each
 * asks for the cache lines of the next one, so the misses of the whole group overlap. The stages
 * see queries clamped to (min, max], min < max; those outside get their answer put right.
 */
static inline __attribute__((always_inline)) void
ldb_spline_find_group(const ldb_spline *self, ldb_spline_top_group_fn *top, const ldb_key *q,
		      size_t count, ldb_val *out)
{
	ldb_key c[LDB_GROUP];
	size_t lo[LDB_GROUP], points[LDB_GROUP];
	const size_t bytes = sizeof *self->points;
	for (size_t i = 0; i < count; i++) {
		c[i] = q[i] > self->min ? q[i] : self->min + 1;
		c[i] = c[i] < self->max ? c[i] : self->max;
	}
	top(self, c, count, lo, points);
	for (size_t i = 0; i < count; i++)
		points[i] -= lo[i];
	ldb_halve_group(&self->points->key, 2, LDB_SPLINE_NARROW, c, lo, points, count);
	for (size_t i = 0; i < count; i++) { /* the points left and the one before them */
		ldb_prefetch(self->points, (lo[i] - 1) * bytes);
		ldb_prefetch(self->points, (lo[i] + LDB_SPLINE_NARROW - 1) * bytes);
	}
	for (size_t i = 0; i < count; i++) {
		const size_t less = ldb_spline_count_less(self->points + lo[i], c[i]);
		lo[i] = ldb_spline_low(self, lo[i] + less, c[i]);
		ldb_fixed_prefetch(self->keys, lo[i], self->width);
	}
	ldb_fixed_search_group(self->keys, self->n, c, lo, self->width, count, out);
	for (size_t i = 0; i < count; i++)
		out[i] = q[i] <= self->min ? 0 : q[i] > self->max ? LDB_NONE : out[i];
}

/* --- fit -------------------------------------------------------------------------------------- */

/* Takes the points one by one as the corridor finds them. */
typedef struct ldb_spline_sink ldb_spline_sink;
struct ldb_spline_sink {
	int (*put)(ldb_spline_sink *sink, ldb_spline_point point); /* 0: stop, out of memory */
};

/* From the last spline point: lines of slope within [lower, upper] are within epsilon of all the
 * points since. Slopes are exact fractions dy / dx. */
typedef struct {
	ldb_spline_point start, previous;
	uint64_t upper_dx, lower_dx; /* 0: no limit yet */
	int64_t upper_dy, lower_dy;
	__int128 upper_slack, lower_slack; /* epsilon * dx */
	int64_t epsilon;
	ldb_spline_sink *sink;
} ldb_spline_corridor;

/* Limits the slopes to those that pass (dx, dy) within epsilon; only the upper / lower limit where
 * it becomes narrower. */
static inline void ldb_spline_limit(ldb_spline_corridor *c, uint64_t dx, int64_t dy, int upper,
				    int lower)
{
	if (upper) {
		c->upper_dx = dx;
		c->upper_dy = dy + c->epsilon;
		c->upper_slack = (__int128)c->epsilon * dx;
	}
	if (lower) {
		c->lower_dx = dx;
		c->lower_dy = dy - c->epsilon;
		c->lower_slack = (__int128)c->epsilon * dx;
	}
}

/*
 * Takes the next point. If the line to it leaves the corridor, the point before it becomes a spline
 * point: the line to that one was within. Products are below 2^64 * 2^49.
 */
static inline int ldb_spline_take(ldb_spline_corridor *c, ldb_spline_point next)
{
	uint64_t dx = next.key - c->start.key;
	int64_t dy = (int64_t)(next.rank - c->start.rank);
	if (c->upper_dx == 0) {
		ldb_spline_limit(c, dx, dy, 1, 1);
		c->previous = next;
		return 1;
	}
	const __int128 above = (__int128)dy * c->upper_dx - (__int128)c->upper_dy * dx;
	const __int128 below = (__int128)dy * c->lower_dx - (__int128)c->lower_dy * dx;
	if (above > 0 || below < 0) {
		if (!c->sink->put(c->sink, c->previous))
			return 0;
		c->start = c->previous;
		dx = next.key - c->start.key;
		dy = (int64_t)(next.rank - c->start.rank);
		ldb_spline_limit(c, dx, dy, 1, 1);
	} else {
		const int upper = above + c->upper_slack<0, lower = below> c->lower_slack;
		ldb_spline_limit(c, dx, dy, upper, lower);
	}
	c->previous = next;
	return 1;
}

/* Fits the spline over keys[0..n), n > 0, and puts its points, the first and last key's included,
 * into the sink. 0 when the sink refused one. */
__attribute__((unused)) static int ldb_spline_fit(const ldb_key *keys, size_t n, uint64_t epsilon,
						  ldb_spline_sink *sink)
{
	ldb_spline_corridor c = {.start = {keys[0], 0}, .epsilon = (int64_t)epsilon, .sink = sink};
	c.previous = c.start;
	if (!sink->put(sink, c.start))
		return 0;
	size_t first = 0; /* of the equal keys that keys[i - 1] belongs to */
	for (size_t i = 1; i < n; i++) {
		const ldb_key before = keys[i - 1];
		if (keys[i] == before)
			continue;
		/* Equal keys make a jump of more than one rank: its end is a point of its own. */
		if (i - first > 1 && keys[i] - before > 1)
			if (!ldb_spline_take(&c,
					     (ldb_spline_point){before + 1, (ldb_spline_rank)i}))
				return 0;
		if (!ldb_spline_take(&c, (ldb_spline_point){keys[i], (ldb_spline_rank)i}))
			return 0;
		first = i;
	}
	return c.previous.key == c.start.key || sink->put(sink, c.previous);
}

typedef struct {
	ldb_spline_sink sink;
	ldb_spline_point *points;
	size_t count, room;
} ldb_spline_list;

static inline int ldb_spline_put(ldb_spline_sink *sink, ldb_spline_point point)
{
	ldb_spline_list *list = (ldb_spline_list *)sink;
	if (list->count == list->room) {
		const size_t room = list->room * 2;
		ldb_spline_point *points = ldb_alloc(room * sizeof *points);
		if (!points)
			return 0;
		memcpy(points, list->points, list->count * sizeof *points);
		ldb_free(list->points, list->room * sizeof *points);
		list->points = points;
		list->room = room;
	}
	list->points[list->count++] = point;
	return 1;
}

static inline size_t ldb_spline_bytes(const ldb_spline *self)
{
	return self->n ? (self->point_count + LDB_SPLINE_PAD) * sizeof *self->points : 0;
}

static inline void ldb_spline_free(ldb_spline *self)
{
	ldb_free(self->points, ldb_spline_bytes(self));
	self->points = NULL;
}

/* The spline of keys[0..n), which may be none. When it fails nothing is held. */
__attribute__((unused)) static ldb_status ldb_spline_build(ldb_spline *self, const char *name,
							   const ldb_key *keys, size_t n,
							   uint64_t epsilon, ldb_error *err)
{
	*self = (ldb_spline){.keys = keys, .n = n, .epsilon = epsilon, .min_answer = LDB_NONE};
	if (n == 0)
		return LDB_OK;
	if (n != (ldb_spline_rank)n)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 keys", name,
				"%zu keys of 32 bits", n);
	self->min = keys[0];
	self->max = keys[n - 1];
	self->min_answer = 0;
	self->width = epsilon < n / 2 ? 2 * epsilon + 1 : n;
	ldb_spline_list list = {.sink = {ldb_spline_put}, .room = 64};
	list.points = ldb_alloc(list.room * sizeof *list.points);
	/* The list grows by doubling: what stays is exactly as large as it must be. */
	if (list.points && ldb_spline_fit(keys, n, epsilon, &list.sink))
		self->points = ldb_alloc((list.count + LDB_SPLINE_PAD) * sizeof *self->points);
	self->point_count = list.count;
	if (self->points) {
		memcpy(self->points, list.points, list.count * sizeof *self->points);
		for (size_t i = 0; i < LDB_SPLINE_PAD; i++)
			self->points[list.count + i] =
				(ldb_spline_point){LDB_KEY_MAX, (ldb_spline_rank)n};
	}
	ldb_free(list.points, list.room * sizeof *list.points);
	if (!self->points)
		return ldb_fail_oom(err, name, list.count * sizeof *self->points);
	if (list.count < UINT32_MAX)
		return LDB_OK;
	ldb_spline_free(self);
	return ldb_fail(err, LDB_UNSUPPORTED, "take a larger epsilon", name,
			"2^32 - 1 spline points or more: %zu", list.count);
}

/* Points from the first key to the last one, in order. */
__attribute__((unused)) static ldb_status ldb_spline_check(const ldb_spline *self, const char *name,
							   ldb_error *err)
{
	const ldb_spline_point *p = self->points;
	size_t good = 0; /* points */
	while (good < self->point_count &&
	       (good == 0 ? p[0].key == self->min && p[0].rank == 0
			  : p[good].key > p[good - 1].key && p[good].rank >= p[good - 1].rank))
		good++;
	if (good == self->point_count && (good == 0 || p[good - 1].key == self->max))
		return LDB_OK;
	return ldb_fail(err, LDB_INVALID, "report it with the dataset and the parameters", name,
			"spline point %zu is out of order or range", good);
}

/* --- epsilon ---------------------------------------------------------------------------------- */

enum {
	LDB_SPLINE_BLOCKS = 64,
	LDB_SPLINE_BLOCK_KEYS = 8192,
	LDB_SPLINE_EPSILON_LEAST = 4 * LDB_LINE_KEYS - 1,
	LDB_SPLINE_EPSILON_MOST = 4095,
	/* Two keys' bytes for a point and up to as many for its share of what is above. */
	LDB_SPLINE_KEYS_PER_POINT = 40,
};

typedef struct {
	ldb_spline_sink sink;
	size_t count;
} ldb_spline_counter;

static inline int ldb_spline_count(ldb_spline_sink *sink, ldb_spline_point point)
{
	(void)point;
	((ldb_spline_counter *)sink)->count++;
	return 1;
}

/* Spline points for the keys of up to LDB_SPLINE_BLOCKS blocks, evenly spread, of at most a quarter
 * of many keys; *seen = how many. The point that each block has at its start is not counted. */
static inline size_t ldb_spline_sample(const ldb_key *keys, size_t n, uint64_t epsilon,
				       size_t *seen)
{
	ldb_spline_counter counter = {.sink = {ldb_spline_count}};
	const size_t most = LDB_SPLINE_BLOCK_KEYS, least = most / 8;
	const size_t share = n / (4 * LDB_SPLINE_BLOCKS);
	const size_t block = share < least ? least : share < most ? share : most;
	const size_t blocks = n / block < LDB_SPLINE_BLOCKS ? n / block + 1 : LDB_SPLINE_BLOCKS;
	*seen = 0;
	for (size_t b = 0; b < blocks; b++) {
		const size_t start = n / blocks * b, left = n - start;
		const size_t length = left < block ? left : block;
		ldb_spline_fit(keys + start, length, epsilon, &counter.sink);
		*seen += length;
	}
	return counter.count - blocks;
}

/*
 * The least epsilon whose spline with as much again above it takes a tenth of the keys' size, by a
 * sample of the keys. Of the candidates, 31, 63, 127 ... (from 63 on with keys of 32 bits), windows
 * are halved to two lines without a rest. Smaller ones are no faster on any keys seen: two halvings
 * in neighbouring lines cost less than points that the caches do not hold.
 */
__attribute__((unused)) static uint64_t ldb_spline_choose_epsilon(const ldb_key *keys, size_t n)
{
	uint64_t epsilon = LDB_SPLINE_EPSILON_LEAST;
	size_t seen;
	while (n && epsilon < LDB_SPLINE_EPSILON_MOST &&
	       ldb_spline_sample(keys, n, epsilon, &seen) * LDB_SPLINE_KEYS_PER_POINT > seen)
		epsilon = 2 * epsilon + 1;
	return epsilon;
}

#endif
