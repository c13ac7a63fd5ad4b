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

#include <string.h>

#include "ldb/window.h"

typedef struct {
	ldb_key key;
	uint64_t rank; /* number of keys < key */
} ldb_spline_point;

/* --- search ----------------------------------------------------------------------------------- */

/* Index of the first of points [begin, end) with key >= q; end when there is none. */
static inline size_t ldb_spline_search(const ldb_spline_point *points, size_t begin, size_t end,
				       ldb_key q)
{
	size_t count = end - begin;
	while (count > 0) {
		const size_t half = (count + 1) / 2;
		begin += points[begin + half - 1].key < q ? half : 0;
		count -= half;
	}
	return begin;
}

/* The window of q, first key < q <= last key, by the segment that ends at point `right`, the first
 * >= q. */
static inline void ldb_spline_window(const ldb_spline_point *points, size_t right, ldb_key q,
				     uint64_t epsilon, size_t *lo, size_t *hi)
{
	const ldb_spline_point *a = &points[right - 1], *b = a + 1;
	const double share = (double)(q - a->key) / (double)(b->key - a->key);
	const double rise = share * (double)(int64_t)(b->rank - a->rank);
	const uint64_t i = a->rank + (uint64_t)(int64_t)(rise + 0.5);
	/* r(q) also lies between the segment's ends. */
	const uint64_t low = i > epsilon ? i - epsilon : 0, high = i + epsilon + 1;
	*lo = low > a->rank ? low : a->rank;
	*hi = high < b->rank ? high : b->rank;
}

/* Four points to a cache line: so few are searched without further prefetching. */
#define LDB_SPLINE_NARROW 4

static inline void ldb_spline_prefetch(const ldb_spline_point *points, size_t begin, size_t end)
{
	const size_t count = end - begin;
	if (count > LDB_SPLINE_NARROW) {
		__builtin_prefetch(&points[begin + count / 2 - 1]);
		return;
	}
	/* The point found and the one before it: points[begin - 1] up to points[end]. */
	__builtin_prefetch(&points[begin ? begin - 1 : 0]);
	__builtin_prefetch(&points[end]);
}

/* Halves the ranges of those of `count` <= LDB_GROUP queries that have more than
 * LDB_SPLINE_NARROW points left, in rounds, one step for each per round. */
static inline void ldb_spline_narrow(const ldb_spline_point *points, const ldb_key *q,
				     size_t *begin, size_t *end, size_t count)
{
	unsigned char wide[LDB_GROUP + 1];
	size_t wides = 0;
	for (size_t i = 0; i < count; i++) {
		wide[wides] = (unsigned char)i;
		wides += end[i] - begin[i] > LDB_SPLINE_NARROW;
	}
	while (wides) {
		size_t left = 0;
		for (size_t w = 0; w < wides; w++) {
			const size_t i = wide[w], half = (end[i] - begin[i]) / 2;
			const int right = points[begin[i] + half - 1].key < q[i];
			end[i] = right ? end[i] : begin[i] + half - 1;
			begin[i] = right ? begin[i] + half : begin[i];
			ldb_spline_prefetch(points, begin[i], end[i]);
			wide[left] = (unsigned char)i;
			left += end[i] - begin[i] > LDB_SPLINE_NARROW;
		}
		wides = left;
	}
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
			if (!ldb_spline_take(&c, (ldb_spline_point){before + 1, i}))
				return 0;
		if (!ldb_spline_take(&c, (ldb_spline_point){keys[i], i}))
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

/* The spline's points in memory of their own, exactly *count of them, to be freed by the caller;
 * NULL when there is no memory. n > 0. */
__attribute__((unused)) static ldb_spline_point *ldb_spline_build(const ldb_key *keys, size_t n,
								  uint64_t epsilon, size_t *count)
{
	ldb_spline_list list = {.sink = {ldb_spline_put}, .room = 64};
	ldb_spline_point *points = NULL;
	list.points = ldb_alloc(list.room * sizeof *list.points);
	/* The list grows by doubling: what stays is exactly as large as it must be. */
	if (list.points && ldb_spline_fit(keys, n, epsilon, &list.sink))
		points = ldb_alloc(list.count * sizeof *points);
	if (points)
		memcpy(points, list.points, list.count * sizeof *points);
	ldb_free(list.points, list.room * sizeof *list.points);
	*count = list.count;
	return points;
}

/* --- epsilon ---------------------------------------------------------------------------------- */

enum {
	LDB_SPLINE_BLOCKS = 64,
	LDB_SPLINE_BLOCK_KEYS = 8192,
	LDB_SPLINE_EPSILON_LEAST = 4,
	LDB_SPLINE_EPSILON_MOST = 4096,
	/* 16 bytes for a point and up to 16 for its share of what is above, of 8 for a key. */
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

/* Spline points for the keys of up to LDB_SPLINE_BLOCKS blocks, evenly spread; *seen = how many
 * keys. The point that each block has at its start is not counted. */
static inline size_t ldb_spline_sample(const ldb_key *keys, size_t n, uint64_t epsilon,
				       size_t *seen)
{
	ldb_spline_counter counter = {.sink = {ldb_spline_count}};
	const size_t most = LDB_SPLINE_BLOCKS, block = LDB_SPLINE_BLOCK_KEYS;
	const size_t blocks = n / block < most ? n / block + 1 : most;
	*seen = 0;
	for (size_t b = 0; b < blocks; b++) {
		const size_t start = n / blocks * b, left = n - start;
		const size_t length = left < block ? left : block;
		ldb_spline_fit(keys + start, length, epsilon, &counter.sink);
		*seen += length;
	}
	return counter.count - blocks;
}

/* The least epsilon, of powers of two, whose spline with as much again above it takes a tenth of
 * the keys' size, by a sample of the keys. */
__attribute__((unused)) static uint64_t ldb_spline_choose_epsilon(const ldb_key *keys, size_t n)
{
	uint64_t epsilon = LDB_SPLINE_EPSILON_LEAST;
	size_t seen;
	while (n && epsilon < LDB_SPLINE_EPSILON_MOST &&
	       ldb_spline_sample(keys, n, epsilon, &seen) * LDB_SPLINE_KEYS_PER_POINT > seen)
		epsilon *= 2;
	return epsilon;
}

#endif
