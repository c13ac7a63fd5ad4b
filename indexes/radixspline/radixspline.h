/*
 * radixspline: a linear spline through the keys' ranks and a radix table over the spline's points
 * (Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann: "RadixSpline: a single-pass learned
 * index", aiDM 2020). This header is the model and its lookup; spline.c builds it, tune.c chooses
 * epsilon and the table's size, radixspline.c is the plug-in around it.
 *
 * A lookup takes the radix table's entry for the top bits of q - base, which gives a short range of
 * spline points; finds there the two points around q; interpolates between them; and searches the
 * keys within epsilon of the result.
 *
 * What the spline promises, for the step function r(q) = number of keys < q. It is fitted to the
 * points (a, r(a)) of all distinct keys a, and where a occurs more than once and a + 1 is no key
 * also to (a + 1, r(a + 1)), the end of the jump. At each of these the spline v is within epsilon
 *of r, by the greedy corridor, which is computed in exact integers. Let p < q <= s be neighbours
 *among them. Either s = p + 1, then q = s. Or p occurs once or is the end of a jump, and between p
 *and s there is no key, so r(q) = r(s) <= r(p) + 1. As v does not decrease, v(q) <= v(s) <= r(s) +
 *epsilon      = r(q) + epsilon v(q) >= v(p) >= r(p) - epsilon     >= r(q) - epsilon - 1 The
 *interpolation below is v(q) computed in doubles. It makes five roundings of a relative 2^-53 and
 *one of the sum with 0.5, all of values <= n <= 2^48, and so errs by less than 1/2; with the
 * rounding to the nearest, its integer i lies less than 1 from v(q). As r is an integer,
 *	i - epsilon <= r(q) <= i + epsilon + 1.
 */
#ifndef RADIXSPLINE_H
#define RADIXSPLINE_H

#include "ldb/index.h"

typedef struct {
	ldb_key key;
	uint64_t rank; /* number of keys < key */
} rs_point;

typedef struct {
	const ldb_key *keys;
	size_t n;
	rs_point *points; /* ascending in key; the first is the first key, the last the last */
	size_t point_count;
	uint32_t *table; /* table[p] = number of points whose prefix is < p */
	size_t table_count;
	ldb_key base, top; /* the table's range: prefix(q) = (q clamped to it - base) >> shift */
	unsigned shift;
	unsigned radix_bits;
	uint64_t epsilon;
	ldb_key min, max;   /* n == 0: 0, 0 */
	ldb_val min_answer; /* 0, or LDB_NONE when there are no keys */
	uint64_t tune_ns;
} radixspline;

#define RS_RADIX_BITS_MAX 28

/* Index into the radix table; never decreases as q grows. */
static inline size_t rs_prefix(const radixspline *self, ldb_key q)
{
	q = q < self->top ? q : self->top;
	return (size_t)((q > self->base ? q - self->base : 0) >> self->shift);
}

/* Index of the first of points [begin, end) with key >= q; end when there is none. */
static inline size_t rs_search_points(const rs_point *points, size_t begin, size_t end, ldb_key q)
{
	size_t count = end - begin;
	while (count > 0) {
		const size_t half = (count + 1) / 2;
		begin += points[begin + half - 1].key < q ? half : 0;
		count -= half;
	}
	return begin;
}

/* The window of q, min < q <= max, by the segment that ends at point `right`, the first >= q. */
static inline void rs_interpolate(const radixspline *self, size_t right, ldb_key q, size_t *lo,
				  size_t *hi)
{
	const rs_point *a = &self->points[right - 1], *b = a + 1;
	const double share = (double)(q - a->key) / (double)(b->key - a->key);
	const double rise = share * (double)(int64_t)(b->rank - a->rank);
	const uint64_t i = a->rank + (uint64_t)(int64_t)(rise + 0.5);
	/* r(q) also lies between the segment's ends. */
	const uint64_t low = i > self->epsilon ? i - self->epsilon : 0,
		       high = i + self->epsilon + 1;
	*lo = low > a->rank ? low : a->rank;
	*hi = high < b->rank ? high : b->rank;
}

static inline void rs_find_window(const radixspline *self, ldb_key q, size_t *lo, size_t *hi)
{
	/* A point with a smaller prefix is < q, one with a larger prefix > q. */
	const size_t prefix = rs_prefix(self, q);
	const size_t begin = self->table[prefix], end = self->table[prefix + 1];
	rs_interpolate(self, rs_search_points(self->points, begin, end, q), q, lo, hi);
}

/* spline.c */
/* Takes the points one by one as the corridor finds them. */
typedef struct rs_sink rs_sink;
struct rs_sink {
	int (*put)(rs_sink *sink, rs_point point); /* 0: stop, out of memory */
};
int rs_fit_spline(const ldb_key *keys, size_t n, uint64_t epsilon, rs_sink *sink);
ldb_status rs_build_spline(radixspline *index, ldb_error *err);
ldb_status rs_build_table(radixspline *index, int trimmed, ldb_error *err);

/* tune.c */
uint64_t rs_choose_epsilon(const ldb_key *keys, size_t n);
unsigned rs_choose_radix_bits(size_t point_count);

#endif
