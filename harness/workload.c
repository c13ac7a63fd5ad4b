/* Drawing of queries (workload.h). */
#include "workload.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "rng.h"

static const struct {
	const char *name;
	const char *unit; /* NULL: takes no value */
	double def, min, max;
} kinds[] = {
	[LDB_UNIFORM] = {"uniform", NULL, 0, 0, 0},
	[LDB_ZIPF] = {"zipf", "theta", 0.99, 0, 5},
	[LDB_SORTED] = {"sorted", NULL, 0, 0, 0},
	[LDB_HOT] = {"hot", "percent", 1, 0, 100},
	[LDB_ABSENT] = {"absent", "percent", 50, 0, 100},
	[LDB_LOWER_BOUND] = {"lower_bound", NULL, 0, 0, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

ldb_status ldb_workload_parse(const char *text, ldb_workload *out, ldb_error *err)
{
	const char *colon = strchr(text, ':');
	size_t length = colon ? (size_t)(colon - text) : strlen(text);
	int k = 0;
	while (k < KINDS &&
	       (strlen(kinds[k].name) != length || strncmp(kinds[k].name, text, length) != 0))
		k++;
	if (k == KINDS) {
		const char *names[KINDS];
		for (int i = 0; i < KINDS; i++)
			names[i] = kinds[i].name;
		char word[32], remedy[160];
		snprintf(word, sizeof word, "%.*s", length < 31 ? (int)length : 31, text);
		const char *near = ldb_nearest(word, names, KINDS);
		snprintf(remedy, sizeof remedy,
			 "%s%s%sknown: uniform, zipf, sorted, hot, absent, lower_bound",
			 near ? "did you mean " : "", near ? near : "", near ? "? " : "");
		return ldb_fail(err, LDB_INVALID, remedy, "--workload", "unknown workload '%s'",
				text);
	}
	out->kind = (ldb_workload_kind)k;
	out->value = kinds[k].def;
	if (colon) {
		char *end, remedy[96];
		out->value = strtod(colon + 1, &end);
		snprintf(remedy, sizeof remedy,
			 kinds[k].unit ? "write %s:%s with a %s from %g to %g" : "write just %s",
			 kinds[k].name, kinds[k].unit, kinds[k].unit, kinds[k].min, kinds[k].max);
		if (!kinds[k].unit || end == colon + 1 || *end || !(out->value >= kinds[k].min) ||
		    !(out->value <= kinds[k].max))
			return ldb_fail(err, LDB_INVALID, remedy, "--workload", "'%s'", text);
	}
	if (kinds[k].unit)
		snprintf(out->name, sizeof out->name, "%s:%g", kinds[k].name, out->value);
	else
		snprintf(out->name, sizeof out->name, "%s", kinds[k].name);
	return LDB_OK;
}

/*
 * Zipf over 1..n by rejection-inversion (Hoermann, Derflinger 1996, "Rejection-inversion to
 * generate variates from monotone discrete distributions"): exact for any n in O(1) memory.
 */
typedef struct {
	double theta, h_first, h_last, shift;
	size_t n;
} zipf;

/* (e^x - 1) / x and log(1 + x) / x, both 1 at 0: they make theta = 1 no special case. */
static double expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

/* Antiderivative of x^-theta, and its inverse. */
static double zipf_h(const zipf *z, double x)
{
	double log_x = log(x);
	return expm1_over((1 - z->theta) * log_x) * log_x;
}

static double zipf_h_inverse(const zipf *z, double y)
{
	double t = y * (1 - z->theta);
	return exp(log1p_over(t < -1 ? -1 : t) * y);
}

static zipf zipf_make(size_t n, double theta)
{
	zipf z = {.theta = theta, .n = n};
	z.h_first = zipf_h(&z, 1.5) - 1;
	z.h_last = zipf_h(&z, (double)n + 0.5);
	z.shift = 2 - zipf_h_inverse(&z, zipf_h(&z, 2.5) - exp(-theta * log(2)));
	return z;
}

static size_t zipf_draw(const zipf *z, ldb_rng *rng)
{
	for (;;) {
		double u = z->h_last + ldb_rng_unit(rng) * (z->h_first - z->h_last);
		double x = zipf_h_inverse(z, u);
		double rounded = floor(x + 0.5);
		size_t k = rounded < 1 ? 1 : rounded > (double)z->n ? z->n : (size_t)rounded;
		if ((double)k - x <= z->shift ||
		    u >= zipf_h(z, (double)k + 0.5) - exp(-z->theta * log((double)k)))
			return k;
	}
}

/* A multiplier that is coprime to n, so that k -> k * m mod n scatters without collisions. */
static size_t scatter_multiplier(size_t n)
{
	size_t m = (size_t)(0.6180339887498949 * (double)n) | 1;
	for (;; m++) {
		size_t a = n, b = m % n;
		while (b) {
			size_t r = a % b;
			a = b;
			b = r;
		}
		if (a == 1)
			return m;
	}
}

/* The lowest rank with a gap above it that is not behind the last key; n - 1 where there is none.
 */
static size_t find_gap(const ldb_key *keys, size_t n)
{
	size_t r = 0;
	while (r + 1 < n && keys[r + 1] - keys[r] <= 1)
		r++;
	return r;
}

/*
 * An absent key from the gap above a random rank; any present key where there is no gap at all.
 * *gap keeps what find_gap says; SIZE_MAX: not asked yet.
 */
static ldb_key draw_absent(const ldb_key *keys, size_t n, ldb_rng *rng, size_t *gap, size_t *rank)
{
	for (int tries = 0; tries < 64; tries++) {
		size_t r = ldb_rng_below(rng, n);
		*rank = r + 1;
		ldb_key above = r + 1 < n ? keys[r + 1] : LDB_KEY_MAX;
		if (above - keys[r] > 1)
			return keys[r] + 1 + ldb_rng_below(rng, above - keys[r] - 1);
	}
	/* Dense keys: outside their range, or else in the first of the few gaps. */
	if (keys[n - 1] < LDB_KEY_MAX)
		return keys[n - 1] + 1 + ldb_rng_below(rng, LDB_KEY_MAX - keys[n - 1]);
	if (keys[0])
		return ldb_rng_below(rng, keys[0]);
	if (*gap == SIZE_MAX)
		*gap = find_gap(keys, n);
	*rank = *gap + 1;
	if (*rank < n)
		return keys[*gap] + 1 + ldb_rng_below(rng, keys[*rank] - keys[*gap] - 1);
	return keys[ldb_rng_below(rng, n)];
}

static ldb_key draw_between(const ldb_key *keys, size_t n, ldb_rng *rng, size_t *rank)
{
	size_t r = *rank = ldb_rng_below(rng, n);
	if (r == 0)
		return keys[0] == LDB_KEY_MAX ? ldb_rng_next(rng) : ldb_rng_below(rng, keys[0] + 1);
	ldb_key gap = keys[r] - keys[r - 1];
	return gap ? keys[r] - ldb_rng_below(rng, gap) : keys[r];
}

/* The rank whose key a workload of present keys asks for. */
typedef struct {
	const ldb_workload *w;
	size_t n, count, hot_start, hot_n, multiplier, gap;
	zipf z;
	ldb_rng rng;
} drawer;

static size_t draw_rank(drawer *d, size_t i)
{
	switch (d->w->kind) {
	case LDB_ZIPF:
		return (size_t)((unsigned __int128)zipf_draw(&d->z, &d->rng) * d->multiplier %
				d->n);
	case LDB_SORTED: {
		double at = ((double)i + ldb_rng_unit(&d->rng) - 0x1p-53) / (double)d->count;
		size_t r = (size_t)(at * (double)d->n);
		return r < d->n ? r : d->n - 1;
	}
	case LDB_HOT:
		if (ldb_rng_below(&d->rng, 10))
			return d->hot_start + ldb_rng_below(&d->rng, d->hot_n);
		return ldb_rng_below(&d->rng, d->n);
	default:
		return ldb_rng_below(&d->rng, d->n);
	}
}

void ldb_workload_draw(const ldb_workload *w, const ldb_key *keys, size_t n, uint64_t seed,
		       ldb_key *q, size_t *rank, size_t count)
{
	drawer d = {.w = w, .n = n, .count = count, .multiplier = 1, .gap = SIZE_MAX};
	ldb_rng_seed(&d.rng, seed);
	if (w->kind == LDB_ZIPF) {
		d.z = zipf_make(n, w->value);
		d.multiplier = scatter_multiplier(n);
	} else if (w->kind == LDB_HOT) {
		size_t share = (size_t)(w->value / 100 * (double)n);
		d.hot_n = share < 1 ? 1 : share;
		d.hot_start = ldb_rng_below(&d.rng, n - d.hot_n + 1);
	}
	for (size_t i = 0; i < count; i++) {
		if (w->kind == LDB_LOWER_BOUND) {
			q[i] = draw_between(keys, n, &d.rng, &rank[i]);
		} else if (w->kind == LDB_ABSENT && ldb_rng_unit(&d.rng) * 100 <= w->value) {
			q[i] = draw_absent(keys, n, &d.rng, &d.gap, &rank[i]);
		} else {
			rank[i] = draw_rank(&d, i);
			q[i] = keys[rank[i]];
		}
		/* Duplicates and outside keys aside, the rank is known: prove it by its neighbours.
		 */
		size_t r = rank[i];
		if ((r > 0 && keys[r - 1] >= q[i]) || (r < n && keys[r] < q[i]))
			rank[i] = ldb_oracle_rank(keys, n, q[i]);
	}
}

size_t ldb_oracle_rank(const ldb_key *keys, size_t n, ldb_key q)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (keys[mid] < q)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

ldb_val ldb_oracle_answer(const ldb_key *keys, size_t n, ldb_key q, size_t rank, bool ordered)
{
	if (rank == n || (!ordered && keys[rank] != q))
		return LDB_NONE;
	return rank;
}
