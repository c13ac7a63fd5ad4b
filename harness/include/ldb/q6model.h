/*
 * A model of where each value begins in sorted 16-bit values: a spline through some of the points
 * (value, rank), chosen so that every point is within epsilon of it (greedy corridor of Neumann,
 * Michel: "Smooth Interpolating Histograms with Error Guarantees", 2008). Flood has a model for
 * each cell of its grid (Nathan, Ding, Alizadeh, Kraska: "Learning Multi-dimensional Indexes",
 * SIGMOD 2020, section 5.2); here the knots of all models lie in one array.
 */
#ifndef LDB_Q6MODEL_H
#define LDB_Q6MODEL_H

#include "ldb/q6scan.h"

/* The value begins at the rank; at the last knot, one above the greatest value, the rows end. */
typedef struct {
	uint32_t value, rank;
} ldb_q6_knot;

typedef struct {
	ldb_q6_knot *knot;
	size_t count, capacity;
	uint32_t epsilon;
	/* The corridor that the next points must lie in, from the last knot on. */
	ldb_q6_knot last;
	bool open;
	struct {
		int64_t rise, run;
	} low, high;
} ldb_q6_models;

static inline size_t ldb_q6_models_bytes(const ldb_q6_models *m)
{
	return m->capacity * sizeof *m->knot;
}

static inline void ldb_q6_models_free(ldb_q6_models *m)
{
	ldb_free(m->knot, ldb_q6_models_bytes(m));
}

/* Moves the knots to where there is room for `capacity`. False when there is no memory. */
static inline bool ldb_q6_models_resize(ldb_q6_models *m, size_t capacity)
{
	ldb_q6_knot *fresh = (ldb_q6_knot *)ldb_alloc(capacity * sizeof *fresh);
	if (!fresh)
		return false;
	if (m->count)
		memcpy(fresh, m->knot, m->count * sizeof *fresh);
	ldb_q6_models_free(m);
	m->knot = fresh;
	m->capacity = capacity;
	return true;
}

static inline bool ldb_q6_add_knot(ldb_q6_models *m, ldb_q6_knot k)
{
	if (m->count == m->capacity && !ldb_q6_models_resize(m, 2 * m->capacity + 64))
		return false;
	m->knot[m->count++] = k;
	m->open = false;
	return true;
}

/* The next point: it narrows the corridor, or, where it lies outside, the one before becomes a
 * knot and a new corridor begins there. False: no memory. */
static inline bool ldb_q6_add_point(ldb_q6_models *m, uint32_t value, size_t rank)
{
	const ldb_q6_knot p = {value, (uint32_t)rank};
	const ldb_q6_knot *k = &m->knot[m->count - 1];
	int64_t run = (int64_t)value - k->value, rise = (int64_t)p.rank - k->rank;
	if (m->open &&
	    (rise * m->low.run < m->low.rise * run || rise * m->high.run > m->high.rise * run)) {
		if (!ldb_q6_add_knot(m, m->last))
			return false;
		run = (int64_t)value - m->last.value;
		rise = (int64_t)p.rank - m->last.rank;
	}
	const int64_t low = rise - m->epsilon, high = rise + m->epsilon;
	if (!m->open || low * m->low.run > m->low.rise * run) {
		m->low.rise = low;
		m->low.run = run;
	}
	if (!m->open || high * m->high.run < m->high.rise * run) {
		m->high.rise = high;
		m->high.run = run;
	}
	m->open = true;
	m->last = p;
	return true;
}

/*
 * Adds the model of values[begin..end), sorted and not empty. All v between two values have the
 * rank of the upper one, which the point right above the lower one says. False: no memory.
 */
static inline bool ldb_q6_add_model(ldb_q6_models *m, const uint16_t *values, size_t begin,
				    size_t end)
{
	bool good = ldb_q6_add_knot(m, (ldb_q6_knot){values[begin], (uint32_t)begin});
	for (size_t i = begin + 1; i < end && good; i++) {
		if (values[i] == values[i - 1])
			continue;
		if (values[i] > values[i - 1] + 1)
			good = ldb_q6_add_point(m, values[i - 1] + 1u, i);
		good = good && ldb_q6_add_point(m, values[i], i);
	}
	return good && ldb_q6_add_point(m, values[end - 1] + 1u, end) &&
	       ldb_q6_add_knot(m, m->last);
}

/* Rank of the first value >= v by the model with the knots [first, last). */
static inline size_t ldb_q6_model_find(const ldb_q6_models *m, size_t first, size_t last,
				       const uint16_t *values, uint16_t v)
{
	const ldb_q6_knot *lower = &m->knot[first], *upper = &m->knot[last - 1];
	if (v <= lower->value)
		return lower->rank;
	if (v >= upper->value)
		return upper->rank;
	for (size_t count = last - first; count > 2;) { /* lower->value < v <= upper->value */
		const size_t half = count / 2;
		const bool right = lower[half].value < v;
		lower = right ? lower + half : lower;
		count = right ? count - half : half + 1;
		upper = lower + count - 1;
	}
	const uint64_t run = upper->value - lower->value;
	const uint64_t rise = upper->rank - lower->rank;
	const size_t rank = lower->rank + (size_t)((v - lower->value) * rise / run);
	const size_t error = m->epsilon + 1;
	const size_t lo = rank - lower->rank > error ? rank - error : lower->rank;
	const size_t hi = upper->rank - rank > error ? rank + error : upper->rank;
	return ldb_q6_lower_bound(values, lo, hi, v);
}

#endif
