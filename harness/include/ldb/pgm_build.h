/*
 * Builds the levels of the PGM-index from the keys up (Ferragina, Vinciguerra 2020, section 2), and
 * measures what each segment's windows must be; ldb/pgm.h says why they then hold for every query.
 */
#ifndef LDB_PGM_BUILD_H
#define LDB_PGM_BUILD_H

#include <math.h>
#include <string.h>

#include "ldb/pgm.h"
#include "ldb/pla.h"

/* Segments of all levels in a row, growing. */
typedef struct {
	ldb_pgm_segment *at;
	size_t count, room;
} ldb_pgm_segment_list;

static inline int ldb_pgm_append(ldb_pgm_segment_list *list, ldb_pgm_segment segment)
{
	if (list->count == list->room) {
		const size_t room = list->room ? list->room * 2 : 64;
		ldb_pgm_segment *at = ldb_alloc(room * sizeof *at);
		if (!at)
			return 0;
		if (list->count)
			memcpy(at, list->at, list->count * sizeof *at);
		ldb_free(list->at, list->room * sizeof *at);
		list->at = at;
		list->room = room;
	}
	list->at[list->count++] = segment;
	return 1;
}

/* --- slopes ----------------------------------------------------------------------------------- */

/* Rounds a slope to what ldb_pgm_rise takes, for distances up to `range`: of a distance 40 bits
 * count, so what is dropped is less than 2^-39 of the rise. */
static inline uint32_t ldb_pgm_encode_slope(double slope, uint64_t range)
{
	const int bits = range ? 64 - __builtin_clzll(range) : 0, drop = bits > 40 ? bits - 40 : 0;
	const double largest = (1 << LDB_PGM_SLOPE_BITS) - 1;
	int exponent;
	frexp(slope, &exponent);
	int shift = LDB_PGM_SLOPE_BITS - exponent - drop;
	shift = shift < 0 ? 0 : shift > 63 ? 63 : shift;
	double multiplier = floor(ldexp(slope, drop + shift) + 0.5);
	if (multiplier > largest && shift > 0) { /* rounded up to one bit more */
		multiplier /= 2;
		shift--;
	}
	if (!(multiplier < largest))
		multiplier = largest;
	return (uint32_t)multiplier | (uint32_t)drop << LDB_PGM_SLOPE_BITS | (uint32_t)shift << 26;
}

/* --- measuring -------------------------------------------------------------------------------- */

/* What a segment's windows must reach, in ranks from t(p). */
typedef struct {
	int64_t above; /* max c(s) - t(s) */
	int64_t below; /* max t(s - 1) - c(s - 1); for keys that occur once t(s) stands for it */
} ldb_pgm_reach;

static inline void ldb_pgm_include(ldb_pgm_reach *r, int64_t above, int64_t below)
{
	r->above = above > r->above ? above : r->above;
	r->below = below > r->below ? below : r->below;
}

/* Over `count` distinct keys, `stride` apart, the first with c = c0, the segment's first one. */
static inline ldb_pgm_reach ldb_pgm_measure_distinct(const ldb_key *keys, size_t stride,
						     size_t count, int64_t c0, uint32_t slope)
{
	int64_t most = INT64_MIN, least = INT64_MAX;
	for (size_t i = 0; i < count; i++) {
		const uint64_t t = ldb_pgm_rise(slope, keys[i * stride] - keys[0]);
		const int64_t off = c0 + (int64_t)i - (int64_t)t;
		most = off > most ? off : most;
		least = off < least ? off : least;
	}
	return (ldb_pgm_reach){most, 1 - least};
}

static inline size_t ldb_pgm_end_of_run(const ldb_key *keys, size_t n, size_t first)
{
	size_t end = first + 1;
	while (end < n && keys[end] == keys[first])
		end++;
	return end;
}

/* Has the step at keys[first], the first of its run, a foot: a point (key - 1, first)? */
static inline int ldb_pgm_has_foot(const ldb_key *keys, size_t first, size_t end)
{
	return end - first > 1 && first > 0 && keys[first] - 1 > keys[first - 1];
}

/* Over the points of the runs from rank `begin` to `end`, those in [low, high]. */
static inline ldb_pgm_reach ldb_pgm_measure_runs(const ldb_key *keys, size_t n, size_t begin,
						 size_t end, ldb_key low, ldb_key high,
						 uint32_t slope)
{
	ldb_pgm_reach r = {INT64_MIN, INT64_MIN};
	for (size_t first = begin, next; first < end; first = next) {
		const ldb_key s = keys[first];
		next = ldb_pgm_end_of_run(keys, n, first);
		if (ldb_pgm_has_foot(keys, first, next) && s - 1 >= low && s - 1 <= high) {
			const int64_t t = (int64_t)ldb_pgm_rise(slope, s - 1 - low);
			ldb_pgm_include(&r, (int64_t)first - t, t - (int64_t)first);
		}
		if (s > high)
			break; /* its foot was the segment's last point */
		const int64_t t = (int64_t)ldb_pgm_rise(slope, s - low);
		const int64_t before = next - first > 1 ? (int64_t)next : (int64_t)first;
		ldb_pgm_include(&r, (int64_t)next - t, t - before);
	}
	return r;
}

/* --- one level -------------------------------------------------------------------------------- */

/* The segment that points are added to, and where finished ones go. */
typedef struct {
	ldb_pla pla;
	ldb_pgm_segment_list *list; /* NULL: they are only counted */
	const ldb_key *keys;        /* level 0; else NULL */
	size_t n;
	size_t below; /* other levels: where the level below begins in the list */
	size_t count; /* of finished segments */
	int64_t width;
	int open, distinct;  /* is there an open one; no run of equal keys in it so far */
	ldb_key first, last; /* points */
	uint64_t first_c;
	size_t first_item; /* its rank, or number in the level below */
} ldb_pgm_level_builder;

/* Finishes the open segment, whose keys end before `item`, or whose last point is item's foot. */
static inline int ldb_pgm_close_segment(ldb_pgm_level_builder *b, size_t item)
{
	b->open = 0;
	b->count++;
	if (!b->list)
		return 1;
	const uint32_t slope = ldb_pgm_encode_slope(ldb_pla_slope(&b->pla), b->last - b->first);
	ldb_pgm_reach r;
	if (!b->keys)
		r = ldb_pgm_measure_distinct(&b->list->at[b->below + b->first_item].key,
					     sizeof(ldb_pgm_segment) / sizeof(ldb_key),
					     item - b->first_item, (int64_t)b->first_c, slope);
	else if (b->distinct)
		r = ldb_pgm_measure_distinct(b->keys + b->first_item, 1, item - b->first_item,
					     (int64_t)b->first_c, slope);
	else
		r = ldb_pgm_measure_runs(b->keys, b->n, b->first_item,
					 item < b->n ? item + 1 : item, b->first, b->last, slope);
	if (r.above + r.below > b->width)
		b->width = r.above + r.below;
	return ldb_pgm_append(b->list, (ldb_pgm_segment){b->first, slope, (uint32_t)r.above});
}

/* The point (x, c), which belongs to `item`; single: a key that occurs once. 0: no memory. */
static inline int ldb_pgm_put(ldb_pgm_level_builder *b, ldb_key x, uint64_t c, size_t item,
			      int single)
{
	if (b->open && c - b->first_c <= LDB_PGM_SPAN_MAX) {
		const ldb_pla_result added = ldb_pla_add(&b->pla, x, c);
		if (added == LDB_PLA_ADDED) {
			b->last = x;
			b->distinct &= single;
			return 1;
		}
		if (added == LDB_PLA_OOM)
			return 0;
	}
	if (b->open && !ldb_pgm_close_segment(b, item))
		return 0;
	b->open = 1;
	b->distinct = single;
	b->first = b->last = x;
	b->first_c = c;
	b->first_item = item;
	return ldb_pla_begin(&b->pla, x, c);
}

static inline int ldb_pgm_put_keys(ldb_pgm_level_builder *b)
{
	const ldb_key *keys = b->keys;
	for (size_t i = 0, next; i < b->n; i = next) {
		next = ldb_pgm_end_of_run(keys, b->n, i);
		if (ldb_pgm_has_foot(keys, i, next) && !ldb_pgm_put(b, keys[i] - 1, i, i, 0))
			return 0;
		if (!ldb_pgm_put(b, keys[i], next, i, next - i == 1))
			return 0;
	}
	return b->n == 0 || ldb_pgm_close_segment(b, b->n);
}

static inline int ldb_pgm_put_segments(ldb_pgm_level_builder *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!ldb_pgm_put(b, b->list->at[b->below + i].key, i, i, 1))
			return 0;
	return ldb_pgm_close_segment(b, b->n);
}

/* How many segments keys[0..n) make; 0 when there was no memory for it. */
static inline size_t ldb_pgm_count_segments(const ldb_key *keys, size_t n, uint64_t epsilon)
{
	ldb_pgm_level_builder b = {.keys = keys, .n = n};
	ldb_pla_init(&b.pla, epsilon);
	const int ok = ldb_pgm_put_keys(&b);
	ldb_pla_free(&b.pla);
	return ok ? b.count : 0;
}

/* Appends level number `l` and its padding to the list. */
static inline int ldb_pgm_build_level(ldb_pgm *self, ldb_pgm_segment_list *list, size_t l)
{
	ldb_pgm_level_builder b = {.list = list};
	if (l == 0) {
		b.keys = self->keys;
		b.n = self->n;
	} else {
		b.below = self->level[l - 1].begin;
		b.n = self->level[l - 1].count;
	}
	const size_t begin = list->count;
	ldb_pla_init(&b.pla, l ? self->epsilon_recursive : self->epsilon);
	int ok = l ? ldb_pgm_put_segments(&b) : ldb_pgm_put_keys(&b);
	ldb_pla_free(&b.pla);
	/* c at the end of all: see ldb/pgm.h. */
	const ldb_pgm_segment pad = {LDB_KEY_MAX, 0, (uint32_t)(l ? b.n - 1 : b.n)};
	for (size_t i = 0; i < LDB_PGM_PAD && ok; i++)
		ok = ldb_pgm_append(list, pad);
	/* The windows of ldb/pgm.h are in [0, last c], however small that is. */
	const size_t width = (size_t)b.width < pad.top ? (size_t)b.width : pad.top;
	self->level[l] = (ldb_pgm_level){begin, b.count, width};
	return ok;
}

static inline int ldb_pgm_copy_top(ldb_pgm *self)
{
	const ldb_pgm_level *level = &self->level[self->level_count - 1];
	self->top_count = (level->count + LDB_PGM_NODE - 1) / LDB_PGM_NODE * LDB_PGM_NODE;
	self->top_keys = ldb_alloc(self->top_count * sizeof *self->top_keys);
	if (!self->top_keys)
		return 0;
	for (size_t i = 0; i < self->top_count; i++)
		self->top_keys[i] =
			i < level->count ? self->segments[level->begin + i].key : LDB_KEY_MAX;
	for (size_t i = 0; i < LDB_PGM_NODE * LDB_PGM_NODE; i++)
		self->top_middle[i] = i * LDB_PGM_NODE < self->top_count
					      ? self->top_keys[i * LDB_PGM_NODE]
					      : LDB_KEY_MAX;
	for (size_t i = 0; i < LDB_PGM_NODE; i++)
		self->top_root[i] = self->top_middle[i * LDB_PGM_NODE];
	return 1;
}

static inline void ldb_pgm_free(ldb_pgm *self)
{
	ldb_free(self->segments, self->segment_count * sizeof *self->segments);
	ldb_free(self->top_keys, self->top_count * sizeof *self->top_keys);
}

/* What it holds apart from itself. */
static inline size_t ldb_pgm_bytes(const ldb_pgm *self)
{
	return self->segment_count * sizeof *self->segments +
	       self->top_count * sizeof *self->top_keys;
}

/* The model of keys[0..n), n < 2^32 - 1, which stay the caller's. On failure nothing is held. */
static inline ldb_status ldb_pgm_build(ldb_pgm *self, const ldb_key *keys, size_t n,
				       uint64_t epsilon, uint64_t epsilon_recursive, ldb_error *err)
{
	memset(self, 0, sizeof *self);
	self->keys = keys;
	self->n = n;
	self->min = n ? keys[0] : LDB_KEY_MAX;
	self->epsilon = epsilon;
	self->epsilon_recursive = epsilon_recursive;
	ldb_pgm_segment_list list = {.room = 0};
	int ok = 1;
	if (n == 0)
		return LDB_OK;
	do
		ok = ldb_pgm_build_level(self, &list, self->level_count++);
	while (ok && self->level[self->level_count - 1].count > LDB_PGM_TOP);
	/* The list grew by doubling: what stays is exactly as large as it must be. */
	if (ok) {
		self->segment_count = list.count;
		self->segments = ldb_alloc(list.count * sizeof *list.at);
		ok = self->segments != NULL;
	}
	if (ok) {
		memcpy(self->segments, list.at, list.count * sizeof *list.at);
		ok = ldb_pgm_copy_top(self);
	}
	const size_t bytes = (list.count + 1) * sizeof *list.at;
	ldb_free(list.at, list.room * sizeof *list.at);
	if (ok)
		return LDB_OK;
	ldb_pgm_free(self);
	return ldb_fail_oom(err, "pgm: segments", bytes);
}

#endif
