/* Drawing of queries (workload.h). */
#include "workload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "rng.h"
#include "sides.h"
#include "zipf.h"

static const struct {
	const char *name;
	const char *unit; /* NULL: takes no value */
	double def, min, max;
	const char *about;
} kinds[] = {
	[LDB_UNIFORM] = {"uniform", NULL, 0, 0, 0, "present keys, each rank alike"},
	[LDB_ZIPF] = {"zipf", "theta", 0.99, 0, 5,
		      "present keys by Zipf's law (0.99), popular ones scattered"},
	[LDB_SORTED] = {"sorted", NULL, 0, 0, 0,
			"present keys in ascending order; sorts: input in order"},
	[LDB_HOT] = {"hot", "percent", 1, 0, 100,
		     "90 % of lookups in that contiguous percent of the keys (1)"},
	[LDB_ABSENT] = {"absent", "percent", 50, 0, 100,
			"that share of absent keys (50), each gap alike"},
	[LDB_LOWER_BOUND] = {"lower_bound", NULL, 0, 0, 0, "keys between their neighbours"},
	[LDB_SHUFFLED] = {"shuffled", NULL, 0, 0, 0, "sorts: input in random order"},
	[LDB_REVERSED] = {"reversed", NULL, 0, 0, 0, "sorts: input in descending order"},
};
enum { KINDS = sizeof kinds / sizeof *kinds, MOST_NAMES = 64 };

/* Names of all workloads; returns how many. */
static size_t workload_names(const char *names[MOST_NAMES])
{
	size_t count = 0;
	for (int i = 0; i < KINDS; i++)
		names[count++] = kinds[i].name;
	for (const ldb_mix *m = ldb_mixes; m->name && count < MOST_NAMES; m++)
		names[count++] = m->name;
	return count;
}

static ldb_status unknown_workload(const char *text, size_t length, ldb_error *err)
{
	const char *names[MOST_NAMES];
	char word[32], remedy[160];
	snprintf(word, sizeof word, "%.*s", length < 31 ? (int)length : 31, text);
	const char *near = ldb_nearest(word, names, workload_names(names));
	snprintf(remedy, sizeof remedy, "%s%s%s`ldbench list workloads` shows all",
		 near ? "did you mean " : "", near ? near : "", near ? "? " : "");
	return ldb_fail(err, LDB_INVALID, remedy, "--workload", "unknown workload '%s'", text);
}

static bool is_word(const char *name, const char *text, size_t length)
{
	return strlen(name) == length && strncmp(name, text, length) == 0;
}

ldb_status ldb_workload_parse(const char *text, ldb_workload *out, ldb_error *err)
{
	ldb_sides_spec sides;
	if (strlen(text) < sizeof out->name && ldb_sides_parse(text, &sides)) {
		out->kind = LDB_SIDES;
		snprintf(out->name, sizeof out->name, "%s", text);
		return LDB_OK;
	}
	const char *colon = strchr(text, ':');
	const size_t length = colon ? (size_t)(colon - text) : strlen(text);
	int k = 0;
	while (k < KINDS && !is_word(kinds[k].name, text, length))
		k++;
	const ldb_mix *mix = ldb_mixes;
	while (mix->name && !is_word(mix->name, text, length))
		mix++;
	if (k == KINDS && !mix->name)
		return unknown_workload(text, length, err);
	const bool reads = k < KINDS;
	const char *name = reads ? kinds[k].name : mix->name;
	const char *unit = reads ? kinds[k].unit : mix->scan ? "length" : NULL;
	const double min = reads ? kinds[k].min : 1, max = reads ? kinds[k].max : 1e6;
	out->kind = reads ? (ldb_workload_kind)k : LDB_OPERATIONS;
	out->mix = reads ? NULL : mix;
	out->value = reads ? kinds[k].def : mix->scan_length;
	if (!reads && mix->choice != LDB_CHOOSE_UNIFORM)
		unit = NULL; /* as published */
	if (colon) {
		char *end, remedy[96];
		out->value = strtod(colon + 1, &end);
		snprintf(remedy, sizeof remedy,
			 unit ? "write %s:%s with a %s from %g to %g" : "write just %s", name, unit,
			 unit, min, max);
		if (!unit || end == colon + 1 || *end || !(out->value >= min) ||
		    !(out->value <= max))
			return ldb_fail(err, LDB_INVALID, remedy, "--workload", "'%s'", text);
	}
	if (unit)
		snprintf(out->name, sizeof out->name, "%s:%g", name, out->value);
	else
		snprintf(out->name, sizeof out->name, "%s", name);
	return LDB_OK;
}

bool ldb_workload_is_order(const ldb_workload *w)
{
	return w->kind == LDB_SHUFFLED || w->kind == LDB_SORTED || w->kind == LDB_REVERSED;
}

bool ldb_workload_is_reads(const ldb_workload *w)
{
	return w->kind < LDB_SHUFFLED;
}

void ldb_workloads_list(FILE *to)
{
	char word[40];
	for (int i = 0; i < KINDS; i++) {
		snprintf(word, sizeof word, kinds[i].unit ? "%s[:%s]" : "%s", kinds[i].name,
			 kinds[i].unit);
		fprintf(to, "%-16s %s\n", word, kinds[i].about);
	}
	for (const ldb_mix *m = ldb_mixes; m->name; m++) {
		snprintf(word, sizeof word,
			 m->scan && m->choice == LDB_CHOOSE_UNIFORM ? "%s[:length]" : "%s",
			 m->name);
		fprintf(to, "%-16s %s\n", word, m->about);
	}
	ldb_sides_list(to);
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
static ldb_key draw_absent(const ldb_key *keys, size_t n, ldb_key largest, ldb_rng *rng,
			   size_t *gap, size_t *rank)
{
	for (int tries = 0; tries < 64; tries++) {
		size_t r = ldb_rng_below(rng, n);
		*rank = r + 1;
		ldb_key above = r + 1 < n ? keys[r + 1] : largest;
		if (above - keys[r] > 1)
			return keys[r] + 1 + ldb_rng_below(rng, above - keys[r] - 1);
	}
	/* Dense keys: outside their range, or else in the first of the few gaps. */
	if (keys[n - 1] < largest)
		return keys[n - 1] + 1 + ldb_rng_below(rng, largest - keys[n - 1]);
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
	ldb_zipf z;
	ldb_rng rng;
} drawer;

static size_t draw_rank(drawer *d, size_t i)
{
	switch (d->w->kind) {
	case LDB_ZIPF:
		return (size_t)((unsigned __int128)ldb_zipf_draw(&d->z, &d->rng) * d->multiplier %
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

void ldb_workload_draw(const ldb_workload *w, const ldb_key *keys, size_t n, ldb_key largest,
		       uint64_t seed, ldb_key *q, size_t *rank, size_t count)
{
	drawer d = {.w = w, .n = n, .count = count, .multiplier = 1, .gap = SIZE_MAX};
	ldb_rng_seed(&d.rng, seed);
	if (w->kind == LDB_ZIPF) {
		d.z = ldb_zipf_make(n, w->value);
		d.multiplier = ldb_scatter_multiplier(n);
	} else if (w->kind == LDB_HOT) {
		size_t share = (size_t)(w->value / 100 * (double)n);
		d.hot_n = share < 1 ? 1 : share;
		d.hot_start = ldb_rng_below(&d.rng, n - d.hot_n + 1);
	}
	for (size_t i = 0; i < count; i++) {
		if (w->kind == LDB_LOWER_BOUND) {
			q[i] = draw_between(keys, n, &d.rng, &rank[i]);
		} else if (w->kind == LDB_ABSENT && ldb_rng_unit(&d.rng) * 100 <= w->value) {
			q[i] = draw_absent(keys, n, largest, &d.rng, &d.gap, &rank[i]);
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
