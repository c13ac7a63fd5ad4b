/*
 * Facts about a set of sorted keys: its range, duplicates, gaps, and how hard it is to learn.
 *
 * Hardness is the least number of line segments that approximate the ranks within epsilon: with a
 * small epsilon the local, with a large one the global hardness of Wongkham et al., "Are Updatable
 * Learned Indexes Ready?", VLDB 2022 (GRE). Segments are found by the streaming method of O'Rourke,
 * "An on-line algorithm for fitting straight lines between data ranges", CACM 1981, section 3, as
 * in the PGM-index (Ferragina, Vinciguerra, VLDB 2020, section 2): linear time, and optimal, since
 * a line that fits a range fits every part of it. All slopes are compared as fractions of integers.
 */
#include "inspect.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dataset.h"

/* --- segments --------------------------------------------------------------------------------- */

/*
 * A point is known by its rank i: x = keys[i], y = i. Its tolerance is the vertical range from
 * (x, y - epsilon), its lower end, to (x, y + epsilon), its upper end.
 *
 * The lines that fit all points of a segment lie between two extreme ones. The steepest goes
 * through the lower end of a point and the upper end of a later one, the flattest the other way
 * round. A new point fits when its range reaches into the wedge between them; where an end of it
 * lies inside the wedge, that end becomes the right one of an extreme line, and its left one is
 * the point of tangency at a convex hull: that of the lower ends seen from above, or that of the
 * upper ends seen from below.
 */
typedef struct {
	size_t *rank; /* vertices from left to right: rank[begin..end) */
	size_t begin, end, capacity;
} hull;

typedef struct {
	const ldb_key *keys;
	size_t width;       /* 2 * epsilon */
	hull lower, upper;  /* of lower ends and of upper ends */
	size_t points;      /* in this segment */
	size_t steep_right; /* steepest: lower end of lower.rank[begin] to upper end of this */
	size_t flat_right;  /* flattest: upper end of upper.rank[begin] to lower end of this */
} fit;

/* Slopes dy / dx with dx > 0: dx < 2^64 and |dy| < 2^62, so a product is below 2^126. */
typedef struct {
	ldb_key dx;
	int64_t dy;
} slope;

/* The slope from rank i to the later rank j; `lift` is added to the rise. */
static inline slope slope_of(const fit *f, size_t i, size_t j, int64_t lift)
{
	return (slope){f->keys[j] - f->keys[i], (int64_t)(j - i) + lift};
}

static inline bool less(slope a, slope b)
{
	return (__int128)a.dy * b.dx < (__int128)b.dy * a.dx;
}

static bool hull_add(hull *h, size_t rank)
{
	if (h->end == h->capacity) {
		size_t capacity = h->capacity ? 2 * h->capacity : 1024;
		size_t *grown = realloc(h->rank, capacity * sizeof *grown);
		if (!grown)
			return false;
		h->rank = grown;
		h->capacity = capacity;
	}
	h->rank[h->end++] = rank;
	return true;
}

/* Adds point i on the right of the hull of lower ends: slopes along it fall. */
static bool add_lower(fit *f, size_t i)
{
	hull *h = &f->lower;
	while (h->end - h->begin >= 2) {
		const size_t a = h->rank[h->end - 2], b = h->rank[h->end - 1];
		if (less(slope_of(f, b, i, 0), slope_of(f, a, b, 0)))
			break;
		h->end--;
	}
	return hull_add(h, i);
}

/* The same for the hull of upper ends: slopes along it rise. */
static bool add_upper(fit *f, size_t i)
{
	hull *h = &f->upper;
	while (h->end - h->begin >= 2) {
		const size_t a = h->rank[h->end - 2], b = h->rank[h->end - 1];
		if (less(slope_of(f, a, b, 0), slope_of(f, b, i, 0)))
			break;
		h->end--;
	}
	return hull_add(h, i);
}

static bool fits(const fit *f, size_t i)
{
	const int64_t w = (int64_t)f->width;
	const size_t s = f->lower.rank[f->lower.begin], t = f->upper.rank[f->upper.begin];
	/* The steepest line must reach the point's lower end, the flattest stay below its upper. */
	return !less(slope_of(f, s, f->steep_right, w), slope_of(f, s, i, 0)) &&
	       !less(slope_of(f, t, i, 0), slope_of(f, t, f->flat_right, -w));
}

/* Turns the steepest line down to the upper end of point i, if it passes above that. */
static void lower_steepest(fit *f, size_t i)
{
	const int64_t w = (int64_t)f->width;
	hull *h = &f->lower;
	const size_t s = h->rank[h->begin];
	if (!less(slope_of(f, s, i, w), slope_of(f, s, f->steep_right, w)))
		return;
	f->steep_right = i;
	while (h->end - h->begin >= 2 && !less(slope_of(f, h->rank[h->begin], i, w),
					       slope_of(f, h->rank[h->begin + 1], i, w)))
		h->begin++;
}

/* Turns the flattest line up to the lower end of point i, if it passes below that. */
static void raise_flattest(fit *f, size_t i)
{
	const int64_t w = (int64_t)f->width;
	hull *h = &f->upper;
	const size_t t = h->rank[h->begin];
	if (!less(slope_of(f, t, f->flat_right, -w), slope_of(f, t, i, -w)))
		return;
	f->flat_right = i;
	while (h->end - h->begin >= 2 && !less(slope_of(f, h->rank[h->begin + 1], i, -w),
					       slope_of(f, h->rank[h->begin], i, -w)))
		h->begin++;
}

/* Begins a segment with point i. */
static bool begin_segment(fit *f, size_t i)
{
	f->lower.begin = f->lower.end = f->upper.begin = f->upper.end = 0;
	f->points = 1;
	return hull_add(&f->lower, i) && hull_add(&f->upper, i);
}

/* Adds point i, which fits, to the segment. */
static bool extend_segment(fit *f, size_t i)
{
	if (f->points++ == 1) {
		f->steep_right = f->flat_right = i;
	} else {
		lower_steepest(f, i);
		raise_flattest(f, i);
	}
	return add_lower(f, i) && add_upper(f, i);
}

size_t inspect_segments(const ldb_key *keys, size_t n, uint64_t epsilon, size_t *starts)
{
	fit f = {.keys = keys, .width = 2 * (size_t)epsilon};
	size_t segments = 0;
	bool ok = true;
	for (size_t i = 0; i < n && ok; i++) {
		if (i && keys[i] == keys[i - 1])
			continue;
		if (i && (f.points == 1 || fits(&f, i))) {
			ok = extend_segment(&f, i);
		} else {
			ok = begin_segment(&f, i);
			if (starts)
				starts[segments] = i;
			segments++;
		}
	}
	free(f.lower.rank);
	free(f.upper.rank);
	return ok ? segments : 0;
}

/* --- gaps ------------------------------------------------------------------------------------- */

/* One pass over the keys: everything but the median and the segments. */
static void count_gaps(const ldb_key *keys, size_t n, ldb_dataset_facts *out)
{
	double mean = 0, squares = 0; /* Welford's running mean and squared deviations of log2 */
	size_t gaps = 0, run = 1;
	out->longest_run = 1;
	out->gap_min = LDB_KEY_MAX;
	for (size_t i = 1; i < n; i++) {
		const ldb_key gap = keys[i] - keys[i - 1];
		if (gap == 0) {
			run++;
			if (run > out->longest_run)
				out->longest_run = run;
			continue;
		}
		run = 1;
		gaps++;
		if (gap < out->gap_min)
			out->gap_min = gap;
		if (gap > out->gap_max)
			out->gap_max = gap;
		const double bits = log2((double)gap), delta = bits - mean;
		mean += delta / (double)gaps;
		squares += delta * (bits - mean);
	}
	out->distinct = gaps + 1;
	if (gaps == 0) {
		out->gap_min = 0;
		return;
	}
	out->gap_mean = (double)(out->max - out->min) / (double)gaps;
	out->gap_log2_sd = sqrt(squares / (double)gaps);
}

/*
 * The median gap, exactly and without a copy of the gaps: from the top down, each pass counts one
 * digit of the gaps that share the digits found so far. Of two middle ones it is the lower.
 */
static ldb_key median_gap(const ldb_key *keys, size_t n, size_t gaps, ldb_key largest)
{
	enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };
	size_t rank = (gaps - 1) / 2, count[DIGITS];
	const int bits = 64 - __builtin_clzll(largest);
	ldb_key found = 0; /* the digits so far, all others 0 */
	for (int shift = (bits - 1) / DIGIT_BITS * DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
		memset(count, 0, sizeof count);
		for (size_t i = 1; i < n; i++) {
			const ldb_key gap = keys[i] - keys[i - 1];
			/* (gap - found) >> shift is the digit when gap has the digits so far. */
			const ldb_key digit = (gap - found) >> shift;
			if (gap && gap >= found && digit < DIGITS)
				count[digit]++;
		}
		size_t digit = 0;
		while (rank >= count[digit])
			rank -= count[digit++];
		found += (ldb_key)digit << shift;
	}
	return found;
}

/* How much of the range the outermost 0.1 % of the keys span, half of them at each end. */
static double outlier_share(const ldb_key *keys, size_t n)
{
	const size_t outer = n < 2000 ? 1 : n / 2000;
	const ldb_key range = keys[n - 1] - keys[0];
	if (n < 2 * outer + 1 || range == 0)
		return 0;
	const ldb_key inner = keys[n - 1 - outer] - keys[outer];
	return (double)(range - inner) / (double)range;
}

void ldb_dataset_inspect(const ldb_key *keys, size_t n, ldb_dataset_facts *out)
{
	memset(out, 0, sizeof *out);
	out->n = n;
	if (n == 0)
		return;
	out->min = keys[0];
	out->max = keys[n - 1];
	count_gaps(keys, n, out);
	if (out->distinct > 1)
		out->gap_median = median_gap(keys, n, out->distinct - 1, out->gap_max);
	out->outlier_share = outlier_share(keys, n);
	out->segments_eps32 = inspect_segments(keys, n, 32, NULL);
	out->segments_eps4096 = inspect_segments(keys, n, 4096, NULL);
}
