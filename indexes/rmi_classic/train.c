/*
 * Training, top down (Kraska et al. 2018, section 3.2): the root on all keys, each leaf on the keys
 * that the root sends there, the bounds on what root and leaf predict for every key.
 */
#include "rmi_classic.h"

#include <math.h>

/* Keys [first, end) as points: x = key - keys[first], y = rank of the first of equal keys. */
typedef struct {
	const ldb_key *keys;
	size_t first, end;
} run;

static double x_of(const run *r, size_t i)
{
	return (double)(r->keys[i] - r->keys[r->first]);
}

/* The rank of the key at i, where y is that of the one before. */
static size_t next_y(const run *r, size_t i, size_t y)
{
	return i > r->first && r->keys[i] == r->keys[i - 1] ? y : i;
}

/* The line y = slope * x + *at_0 of least squares, from sums about the means. */
static double fit_least_squares(const run *r, double *at_0)
{
	const double count = (double)(r->end - r->first);
	double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
	size_t y = r->first;
	for (size_t i = r->first; i < r->end; i++) {
		y = next_y(r, i, y);
		mean_x += x_of(r, i);
		mean_y += (double)y;
	}
	mean_x /= count;
	mean_y /= count;
	for (size_t i = r->first; i < r->end; i++) {
		const double dx = x_of(r, i) - mean_x;
		y = next_y(r, i, y);
		xx += dx * dx;
		xy += dx * ((double)y - mean_y);
	}
	const double slope = xx > 0 ? xy / xx : 0;
	*at_0 = mean_y - slope * mean_x;
	return slope;
}

/* Rank of the first key that equals the last one of the run. */
static size_t last_y(const run *r)
{
	size_t y = r->end - 1;
	while (y > r->first && r->keys[y - 1] == r->keys[y])
		y--;
	return y;
}

/* The line through the first and the last point. */
static double fit_ends(const run *r, double *at_0)
{
	const double span = x_of(r, r->end - 1);
	*at_0 = (double)r->first;
	return span > 0 ? (double)(last_y(r) - r->first) / span : 0;
}

static leaf_model fit_line(const run *r, bool least_squares, ldb_key base)
{
	double at_0;
	const double slope = least_squares ? fit_least_squares(r, &at_0) : fit_ends(r, &at_0);
	return (leaf_model){slope, at_0 - slope * (double)(r->keys[r->first] - base)};
}

/* --- root ------------------------------------------------------------------------------------- */

/*
 * The cubic from the first key to the last, with the slopes that the keys have at both ends: those
 * of the first two and of the last two that differ. In the unit square it does not decrease where
 * the slopes lie within a circle of radius 3 (Fritsch, Carlson: "Monotone piecewise cubic
 * interpolation", 1980), so they are scaled to that.
 */
static void fit_cubic(rmi_classic *self, double leaves_per_rank)
{
	const run all = {self->keys, 0, self->n};
	const double span = x_of(&all, self->n - 1), height = (double)last_y(&all);
	if (span <= 0)
		return;
	size_t second = 1, before = last_y(&all) - 1;
	while (self->keys[second] == self->keys[0])
		second++;
	double m0 = (double)second / height * (span / x_of(&all, second));
	const run but_last = {self->keys, 0, before + 1};
	double m1 = (height - (double)last_y(&but_last)) / height *
		    (span / (double)(self->top - self->keys[before]));
	const double radius = sqrt(m0 * m0 + m1 * m1);
	if (radius > 3) {
		m0 *= 3 / radius;
		m1 *= 3 / radius;
	}
	const double leaves = height * leaves_per_rank;
	self->scale = 1 / span;
	self->c[1] = m0 * leaves;
	self->c[2] = (3 - 2 * m0 - m1) * leaves;
	self->c[3] = (m0 + m1 - 2) * leaves;
}

/* The bits behind the common prefix, as many as there are leaves for: where their number is no
 * power of two, those above it stay empty. */
static void fit_radix(rmi_classic *self)
{
	const unsigned bits = 63 - (unsigned)__builtin_clzll((unsigned long long)self->leaf_count);
	const bool differ = self->base != self->top;
	self->prefix = differ ? (unsigned)__builtin_clzll(self->base ^ self->top) : 0;
	self->discard = 63 - (differ ? bits : 0);
}

static void train_root(rmi_classic *self, root_kind root)
{
	const run all = {self->keys, 0, self->n};
	const double leaves_per_rank = (double)self->leaf_count / (double)self->n;
	if (root == ROOT_RADIX) {
		fit_radix(self);
	} else if (root == ROOT_CUBIC_SPLINE) {
		fit_cubic(self, leaves_per_rank);
	} else {
		const leaf_model line = fit_line(&all, root == ROOT_LINEAR, self->base);
		self->c[1] = line.slope * leaves_per_rank;
		self->c[0] = line.intercept * leaves_per_rank;
	}
}

/* --- leaves ----------------------------------------------------------------------------------- */

void train(rmi_classic *self, root_kind root, leaf_kind leaf_is)
{
	size_t start = 0;
	if (self->n)
		train_root(self, root);
	for (size_t leaf = 0; leaf < self->leaf_count; leaf++) {
		size_t end = start;
		/* Less than `leaf` only where the cubic's rounding breaks the order. */
		while (end < self->n && predict_leaf(self, self->formula, self->keys[end]) <= leaf)
			end++;
		const run own = {self->keys, start, end};
		/* An empty leaf predicts what lies behind it. */
		leaf_model model = {0, (double)start};
		if (end > start)
			model = fit_line(&own, leaf_is == LEAF_LINEAR, self->base);
		memcpy(model_at(self, self->layout, leaf), &model, sizeof model);
		self->empty_leaves += end == start;
		if (end - start > self->largest_leaf)
			self->largest_leaf = end - start;
		start = end;
	}
}

static uint32_t larger(uint32_t a, size_t b)
{
	return a > b ? a : (uint32_t)b;
}

static void store_bounds(rmi_classic *self, size_t leaf, leaf_bounds bounds)
{
	if (self->layout == WITH_NOTHING)
		self->global = bounds;
	else
		memcpy(bounds_at(self, self->layout, leaf), &bounds,
		       self->layout * sizeof(uint32_t));
}

void measure_bounds(rmi_classic *self, bounds_kind kind)
{
	if (kind == BOUNDS_NONE) {
		self->global = (leaf_bounds){(uint32_t)self->n, (uint32_t)self->n};
		return;
	}
	const bool absolute = kind == BOUNDS_LOCAL_ABSOLUTE || kind == BOUNDS_GLOBAL_ABSOLUTE;
	for (size_t leaf = 0; leaf < self->leaf_count; leaf++)
		store_bounds(self, leaf, (leaf_bounds){0, 0});
	for (size_t i = 0; i < self->n; i++) {
		if (i > 0 && self->keys[i] == self->keys[i - 1])
			continue;
		const size_t leaf = predict_leaf(self, self->formula, self->keys[i]);
		const size_t at = predict_rank(self, self->layout, leaf, self->keys[i]);
		leaf_bounds bounds = load_bounds(self, self->layout, leaf);
		if (at > i)
			bounds.below = larger(bounds.below, at - i);
		if (at < i)
			bounds.above = larger(bounds.above, i - at);
		if (absolute)
			bounds.below = bounds.above = larger(bounds.below, bounds.above);
		store_bounds(self, leaf, bounds);
	}
}
