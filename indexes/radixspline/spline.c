/*
 * The spline by the greedy corridor (Neumann, Michel: "Smooth interpolating histograms with error
 * guarantees", BNCOD 2008, algorithm GreedySplineCorridor), in one pass over the keys, and the
 * radix table over its points (Kipf et al. 2020).
 */
#include <string.h>

#include "radixspline.h"

typedef __int128 wide;

/* --- greedy corridor -------------------------------------------------------------------------- */

/* From the last spline point: lines of slope within [lower, upper] are within epsilon of all the
 * points since. Slopes are exact fractions dy / dx. */
typedef struct {
	rs_point start, previous;
	uint64_t upper_dx, lower_dx; /* 0: no limit yet */
	int64_t upper_dy, lower_dy;
	wide upper_slack, lower_slack; /* epsilon * dx */
	int64_t epsilon;
	rs_sink *sink;
} corridor;

/* Limits the slopes to those that pass (dx, dy) within epsilon; only the upper / lower limit where
 * it becomes narrower. */
static inline void narrow(corridor *c, uint64_t dx, int64_t dy, int upper, int lower)
{
	if (upper) {
		c->upper_dx = dx;
		c->upper_dy = dy + c->epsilon;
		c->upper_slack = (wide)c->epsilon * dx;
	}
	if (lower) {
		c->lower_dx = dx;
		c->lower_dy = dy - c->epsilon;
		c->lower_slack = (wide)c->epsilon * dx;
	}
}

/*
 * Takes the next point. If the line to it leaves the corridor, the point before it becomes a spline
 * point: the line to that one was within. Products are below 2^64 * 2^49.
 */
static inline int take(corridor *c, rs_point next)
{
	uint64_t dx = next.key - c->start.key;
	int64_t dy = (int64_t)(next.rank - c->start.rank);
	if (c->upper_dx == 0) {
		narrow(c, dx, dy, 1, 1);
		c->previous = next;
		return 1;
	}
	const wide above = (wide)dy * c->upper_dx - (wide)c->upper_dy * dx;
	const wide below = (wide)dy * c->lower_dx - (wide)c->lower_dy * dx;
	if (above > 0 || below < 0) {
		if (!c->sink->put(c->sink, c->previous))
			return 0;
		c->start = c->previous;
		dx = next.key - c->start.key;
		dy = (int64_t)(next.rank - c->start.rank);
		narrow(c, dx, dy, 1, 1);
	} else {
		narrow(c, dx, dy, above + c->upper_slack<0, below - c->lower_slack> 0);
	}
	c->previous = next;
	return 1;
}

/* Fits the spline over keys[0..n), n > 0, and puts its points, the first and last key's included,
 * into the sink. 0 when the sink refused one. */
int rs_fit_spline(const ldb_key *keys, size_t n, uint64_t epsilon, rs_sink *sink)
{
	corridor c = {.start = {keys[0], 0}, .epsilon = (int64_t)epsilon, .sink = sink};
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
			if (!take(&c, (rs_point){before + 1, i}))
				return 0;
		if (!take(&c, (rs_point){keys[i], i}))
			return 0;
		first = i;
	}
	return c.previous.key == c.start.key || sink->put(sink, c.previous);
}

/* --- spline points in memory ------------------------------------------------------------------ */

typedef struct {
	rs_sink sink;
	rs_point *points;
	size_t count, room;
} point_list;

static int put_point(rs_sink *sink, rs_point point)
{
	point_list *list = (point_list *)sink;
	if (list->count == list->room) {
		const size_t room = list->room * 2;
		rs_point *points = ldb_alloc(room * sizeof *points);
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

/* Sets points and point_count by epsilon; n > 0. */
ldb_status rs_build_spline(radixspline *index, ldb_error *err)
{
	point_list list = {.sink = {put_point}, .room = 64};
	list.points = ldb_alloc(list.room * sizeof *list.points);
	int ok = list.points && rs_fit_spline(index->keys, index->n, index->epsilon, &list.sink);
	/* The list grew by doubling: what stays is exactly as large as it must be. */
	if (ok) {
		index->point_count = list.count;
		index->points = ldb_alloc(list.count * sizeof *list.points);
		ok = index->points != NULL;
	}
	if (ok)
		memcpy(index->points, list.points, list.count * sizeof *list.points);
	ldb_free(list.points, list.room * sizeof *list.points);
	return ok ? LDB_OK
		  : ldb_fail_oom(err, "radixspline: spline points",
				 (list.count + 1) * sizeof *list.points);
}

/* --- radix table ------------------------------------------------------------------------------ */

/*
 * Sets the range that the table covers. The paper's covers all keys, and a single far outlier then
 * leaves all points in one entry (seen on SOSD's fb). Trimmed, the table covers the points without
 * the outermost 0.1 % at both ends, and whatever lies within an eighth of that range beyond it.
 */
static void choose_table_range(radixspline *index, int trimmed)
{
	const rs_point *points = index->points;
	const size_t m = index->point_count;
	index->base = points[0].key;
	index->top = points[m - 1].key;
	if (!trimmed)
		return;
	const size_t few = m / 16 < 32 ? m / 16 : 32, trim = m / 1000 + few;
	const ldb_key low = points[trim].key, high = points[m - 1 - trim].key;
	const ldb_key margin = (high - low) / 8;
	if (low - index->base > margin)
		index->base = low - margin;
	if (index->top - high > margin)
		index->top = high + margin;
}

/* Sets the table over the points, and radix_bits to the bits it uses: no more than the range has.
 */
ldb_status rs_build_table(radixspline *index, int trimmed, ldb_error *err)
{
	choose_table_range(index, trimmed);
	const ldb_key range = index->top - index->base;
	const unsigned bits = range ? 64 - (unsigned)__builtin_clzll(range) : 0;
	if (index->radix_bits > bits)
		index->radix_bits = bits;
	index->shift = bits > index->radix_bits ? bits - index->radix_bits : 0;
	index->table_count = (size_t)(range >> index->shift) + 2;
	index->table = ldb_alloc(index->table_count * sizeof *index->table);
	if (!index->table)
		return ldb_fail_oom(err, "radixspline: radix table",
				    index->table_count * sizeof *index->table);
	size_t next = 0;
	for (size_t i = 0; i < index->point_count; i++)
		for (const size_t prefix = rs_prefix(index, index->points[i].key); next <= prefix;)
			index->table[next++] = (uint32_t)i;
	while (next < index->table_count)
		index->table[next++] = (uint32_t)index->point_count;
	return LDB_OK;
}
