/*
 * rmi_classic: the two-layer recursive model index as it was published, with its choices as
 * parameters, to repeat what the papers measured. The one to use is `rmi`.
 *
 *   Kraska, Beutel, Chi, Dean, Polyzotis: "The Case for Learned Index Structures", SIGMOD 2018
 *   Marcus, Kipf, van Renen, Stoian, Misra, Kemper, Neumann, Kraska: "Benchmarking Learned
 *     Indexes", PVLDB 14(1), 2020: last-mile search
 *   Maltry, Dittrich: "A Critical Analysis of Recursive Model Indexes", PVLDB 15(5), 2022: model
 *     types, error bounds and searches, by the names they have here
 *
 * The root maps a key to a leaf, the leaf maps it to a rank, both in doubles. Bounds say how far
 * from the predicted rank the keys of the set were found:
 *
 *   individual   the most below and the most above      absolute   the larger of the two
 *   local        of each leaf                           global     of all leaves
 *   none         not stored: the search begins at the prediction and may go anywhere
 *
 * Bounds are those of keys in the set. Between two keys of a leaf the prediction lies between
 * theirs, so one more rank above is enough; but a query between two leaves, or where rounding or a
 * cubic's turn spoils the order, may have its rank elsewhere. So the answer is checked: a search
 * that ends inside its window has seen the keys on both sides of it, and one that ends at an edge
 * looks at the key beyond and goes on from there if need be (find_beyond). Answers are exact, and
 * the window of a key in the set is the papers'.
 *
 * This header is the model, its window and the searches; train.c trains it, rmi_classic.c is the
 * plug-in.
 */
#ifndef RMI_CLASSIC_H
#define RMI_CLASSIC_H

#include <string.h>

#include "ldb/window.h"

typedef enum { ROOT_LINEAR, ROOT_LINEAR_SPLINE, ROOT_CUBIC_SPLINE, ROOT_RADIX } root_kind;
typedef enum { LEAF_LINEAR, LEAF_LINEAR_SPLINE } leaf_kind;
typedef enum {
	BOUNDS_LOCAL_INDIVIDUAL,
	BOUNDS_LOCAL_ABSOLUTE,
	BOUNDS_GLOBAL_INDIVIDUAL,
	BOUNDS_GLOBAL_ABSOLUTE,
	BOUNDS_NONE
} bounds_kind;
typedef enum {
	SEARCH_BINARY,
	SEARCH_MODEL_BINARY,
	SEARCH_LINEAR,
	SEARCH_MODEL_LINEAR,
	SEARCH_EXPONENTIAL,
	SEARCH_MODEL_EXPONENTIAL,
	SEARCH_INTERPOLATION,
	SEARCH_SIMD,
	SEARCHES
} search_kind;

/* What differs in the code of a lookup: the root's formula, and what is stored with a leaf. */
typedef enum { FORMULA_LINE, FORMULA_CUBIC, FORMULA_RADIX, FORMULAS } root_formula;
typedef enum { WITH_NOTHING, WITH_ONE_BOUND, WITH_TWO_BOUNDS, LAYOUTS } leaf_layout;

typedef struct {
	double slope, intercept; /* rank = slope * (q - base) + intercept */
} leaf_model;

typedef struct {
	uint32_t below, above; /* most ranks that a key is below, above its prediction */
} leaf_bounds;

typedef struct {
	const ldb_key *keys;
	size_t n;
	ldb_key base, top; /* the first and the last key: queries are clamped to them */
	root_formula formula;
	double c[4];  /* leaf = c[0] + c[1] x + c[2] x^2 + c[3] x^3, x = q - base */
	double scale; /* cubic: x = (q - base) * scale, in [0, 1] */
	unsigned prefix,
		discard; /* radix: bits that all keys share; bits behind those taken, - 1 */
	double last_leaf, last_rank;
	leaf_layout layout;
	search_kind search;
	leaf_bounds global;    /* with WITH_NOTHING */
	unsigned char *leaves; /* leaf_count of leaf_bytes(layout): a model, then its bounds */
	size_t leaf_count;
	size_t empty_leaves, largest_leaf; /* of the training */
} rmi_classic;

/* --- model ------------------------------------------------------------------------------------ */

/* A single bound is both. With it a leaf has 20 bytes, so leaves are read by memcpy. */
static inline size_t leaf_bytes(leaf_layout layout)
{
	return sizeof(leaf_model) + layout * sizeof(uint32_t);
}

static inline unsigned char *model_at(const rmi_classic *self, leaf_layout layout, size_t leaf)
{
	return self->leaves + leaf * leaf_bytes(layout);
}

static inline unsigned char *bounds_at(const rmi_classic *self, leaf_layout layout, size_t leaf)
{
	return model_at(self, layout, leaf) + sizeof(leaf_model);
}

static inline ldb_key clamp_key(const rmi_classic *self, ldb_key q)
{
	q = q > self->base ? q : self->base;
	return q < self->top ? q : self->top;
}

/* q must be clamped. */
static inline size_t predict_leaf(const rmi_classic *self, root_formula formula, ldb_key q)
{
	if (formula == FORMULA_RADIX)
		return (size_t)((uint64_t)q << self->prefix >> 1 >> self->discard);
	const double *c = self->c, d = (double)(q - self->base), x = d * self->scale;
	double leaf = formula == FORMULA_CUBIC ? ((c[3] * x + c[2]) * x + c[1]) * x + c[0]
					       : c[1] * d + c[0];
	leaf = leaf > 0 ? leaf : 0;
	leaf = leaf < self->last_leaf ? leaf : self->last_leaf;
	return (size_t)(int64_t)leaf;
}

/* The rank that a leaf predicts; q must be clamped. */
static inline size_t predict_rank(const rmi_classic *self, leaf_layout layout, size_t leaf,
				  ldb_key q)
{
	leaf_model model;
	memcpy(&model, model_at(self, layout, leaf), sizeof model);
	double rank = model.slope * (double)(q - self->base) + model.intercept;
	rank = rank > 0 ? rank : 0;
	rank = rank < self->last_rank ? rank : self->last_rank;
	return (size_t)(int64_t)rank;
}

static inline leaf_bounds load_bounds(const rmi_classic *self, leaf_layout layout, size_t leaf)
{
	leaf_bounds bounds = self->global;
	if (layout != WITH_NOTHING)
		memcpy(&bounds, bounds_at(self, layout, leaf), layout * sizeof(uint32_t));
	if (layout == WITH_ONE_BOUND)
		bounds.above = bounds.below;
	return bounds;
}

/* The predicted rank of q, and the window around it. */
typedef struct {
	size_t lo, at, hi;
} prediction;

static inline prediction predict(const rmi_classic *self, root_formula formula, leaf_layout layout,
				 ldb_key q)
{
	q = clamp_key(self, q);
	const size_t leaf = predict_leaf(self, formula, q);
	const size_t at = predict_rank(self, layout, leaf, q);
	const leaf_bounds bounds = load_bounds(self, layout, leaf);
	const size_t hi = at + bounds.above + 1;
	return (prediction){
		.lo = at > bounds.below ? at - bounds.below : 0,
		.at = at,
		.hi = hi < self->n ? hi : self->n,
	};
}

/* --- last mile: the rank of the first key >= q, if that is in [lo, hi], else the nearer end -----
 */

enum {
	/* Steps of a linear search; behind them it gallops, so that no window takes forever. */
	LINEAR_MOST = 4096,
	/* Estimates of an interpolation search, and how few keys are halved instead. */
	ESTIMATES_MOST = 8,
	ESTIMATED_LEAST = 16,
};

/* By doubling steps upwards from lo. */
static inline size_t gallop_up(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	size_t next = lo;
	for (size_t step = 1; next < hi && keys[next] < q; step *= 2) {
		lo = next + 1;
		next = hi - lo > step ? lo + step : hi;
	}
	return ldb_search_binary(keys, lo, next, q);
}

/* By doubling steps downwards from hi. */
static inline size_t gallop_down(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	for (size_t step = 1; hi > lo; step *= 2) {
		const size_t next = hi - lo > step ? hi - step : lo;
		if (keys[next] < q)
			return ldb_search_binary(keys, next + 1, hi, q);
		hi = next;
	}
	return hi;
}

static inline size_t walk_up(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	const size_t end = hi - lo > LINEAR_MOST ? lo + LINEAR_MOST : hi;
	while (lo < end && keys[lo] < q)
		lo++;
	return lo == end ? gallop_up(keys, lo, hi, q) : lo;
}

static inline size_t walk_down(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	const size_t end = hi - lo > LINEAR_MOST ? hi - LINEAR_MOST : lo;
	while (hi > end && keys[hi - 1] >= q)
		hi--;
	return hi == end ? gallop_down(keys, lo, hi, q) : hi;
}

static inline size_t search_interpolation(const ldb_key *keys, size_t lo, size_t hi, ldb_key q)
{
	for (int i = 0; i < ESTIMATES_MOST && hi - lo > ESTIMATED_LEAST; i++) {
		const ldb_key first = keys[lo], last = keys[hi - 1];
		if (q <= first)
			return lo;
		if (q > last)
			return hi;
		const double share = (double)(q - first) / (double)(last - first);
		const size_t at = lo + (size_t)(int64_t)(share * (double)(hi - 1 - lo));
		if (keys[at] < q)
			lo = at + 1;
		else
			hi = at;
	}
	return ldb_search_binary(keys, lo, hi, q);
}

static inline size_t search_simd(const ldb_key *keys, size_t n, size_t lo, size_t hi, ldb_key q)
{
	const size_t rank = ldb_search_window(keys, n, lo, hi, q); /* counts in whole vectors */
	return rank < lo ? lo : rank < hi ? rank : hi;
}

/* Those named after the model begin at the prediction, the others anywhere in the window. */
static inline __attribute__((always_inline)) size_t
search_window(const rmi_classic *self, search_kind search, prediction p, ldb_key q)
{
	const ldb_key *keys = self->keys;
	const bool above = p.at < p.hi && keys[p.at] < q; /* read where a case uses it */
	switch (search) {
	case SEARCH_MODEL_BINARY:
		return above ? ldb_search_binary(keys, p.at + 1, p.hi, q)
			     : ldb_search_binary(keys, p.lo, p.at, q);
	case SEARCH_LINEAR:
		return walk_up(keys, p.lo, p.hi, q);
	case SEARCH_MODEL_LINEAR:
		return above ? walk_up(keys, p.at + 1, p.hi, q) : walk_down(keys, p.lo, p.at, q);
	case SEARCH_EXPONENTIAL:
		return gallop_up(keys, p.lo, p.hi, q);
	case SEARCH_MODEL_EXPONENTIAL:
		return above ? gallop_up(keys, p.at + 1, p.hi, q)
			     : gallop_down(keys, p.lo, p.at, q);
	case SEARCH_INTERPOLATION:
		return search_interpolation(keys, p.lo, p.hi, q);
	case SEARCH_SIMD:
		return search_simd(keys, self->n, p.lo, p.hi, q);
	default:
		return ldb_search_binary(keys, p.lo, p.hi, q);
	}
}

/* The rank, which is beyond an end of the window at which a search has ended. */
static __attribute__((noinline, unused)) size_t find_beyond(const rmi_classic *self, size_t end,
							    ldb_key q)
{
	if (end > 0 && self->keys[end - 1] >= q)
		return gallop_down(self->keys, 0, end - 1, q);
	return ldb_search_up(self->keys, self->n, end, 16, q);
}

/* No search that ends inside its window has left a key unseen that would change the rank. */
static inline bool is_beyond(const rmi_classic *self, prediction p, size_t rank, ldb_key q)
{
	return (rank == p.lo && rank > 0 && self->keys[rank - 1] >= q) ||
	       (rank == p.hi && rank < self->n && self->keys[rank] < q);
}

/* train.c */
/* Trains root and leaves. Everything else but bounds must be set. */
void train(rmi_classic *self, root_kind root, leaf_kind leaf);
/* Measures the bounds on all keys. */
void measure_bounds(rmi_classic *self, bounds_kind bounds);

#endif
