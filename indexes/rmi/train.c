/*
 * Training of the two layers (rmi.h): the root from an even sample of the keys, then each leaf from
 * all of its keys, top down, in one pass over the keys (Kraska et al. 2018, section 3).
 */
#include <math.h>

#include "ldb/parts.h"
#include "ldb/radix.h"
#include "rmi.h"

#define FIXED_ONE 0x1p32
#define SAMPLE_MAX 16384u

static unsigned bit_length(uint64_t x)
{
	return x ? 64 - (unsigned)__builtin_clzll(x) : 0;
}

/* --- root ------------------------------------------------------------------------------------- */

/* Keys whose ranks are evenly spread. */
typedef struct {
	const ldb_key *keys;
	size_t n, count;
} sample;

static size_t sample_rank(const sample *s, size_t i)
{
	return ldb_sample_rank(i, s->count, s->n);
}

/* A key as the root's polynomial sees it. */
static double root_input(const rmi_root *root, ldb_key key)
{
	return (double)(int64_t)rmi_root_input(root, root->kind, key);
}

/* Maltry, Dittrich 2022: trim 0.01 % of the ranks at both ends; here a few more where keys are few.
 */
static size_t trimmed_keys(size_t n)
{
	return n / 10000 + (n / 100 < 64 ? n / 100 : 64);
}

/* Least squares of rank over key. */
static void fit_linear(rmi_root *root, const sample *s, double leaves_per_rank)
{
	double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
	for (size_t i = 0; i < s->count; i++) {
		mean_x += root_input(root, s->keys[sample_rank(s, i)]);
		mean_y += (double)sample_rank(s, i);
	}
	mean_x /= (double)s->count;
	mean_y /= (double)s->count;
	for (size_t i = 0; i < s->count; i++) {
		const double dx = root_input(root, s->keys[sample_rank(s, i)]) - mean_x;
		xx += dx * dx;
		xy += dx * ((double)sample_rank(s, i) - mean_y);
	}
	const double slope = xx > 0 && xy > 0 ? xy / xx : 0;
	root->c[1] = slope * leaves_per_rank * FIXED_ONE;
	root->c[0] = (mean_y - slope * mean_x) * leaves_per_rank * FIXED_ONE;
}

static double clamp(double x, double low, double high)
{
	return x < low ? low : x > high ? high : x;
}

/*
 * The cubic from (0, 0) to (1, 1) whose slopes m0, m1 at the ends fit the sample best. It must not
 * decrease anywhere, not even by rounding. Both slopes within [0, 3] make it monotone (Fritsch,
 * Carlson: "Monotone piecewise cubic interpolation", 1980), and a share of FLAT of the diagonal
 * makes its slope at least FLAT. The input has at most 30 bits, so neighbouring inputs are at least
 * FLAT * 2^-30 = 2^-38 apart in the result; Horner's rule in doubles errs by less than
 * 7 * 2^-53 * sum |c[i]| <= 7 * 13 * 2^-53 < 2^-46 on each of the two. So order is kept.
 */
#define FLAT 0x1p-8
static void fit_cubic(rmi_root *root, const sample *s, double span, double leaf_count)
{
	/* Residual y - (3 x^2 - 2 x^3) over the basis a = x^3 - 2 x^2 + x, b = x^3 - x^2. */
	double aa = 0, ab = 0, bb = 0, ay = 0, by = 0;
	for (size_t i = 0; i < s->count; i++) {
		const double x = root_input(root, s->keys[sample_rank(s, i)]) / span;
		const double y = (double)sample_rank(s, i) / (double)s->n;
		const double a = x * (x - 1) * (x - 1), b = x * x * (x - 1);
		const double rest = y - x * x * (3 - 2 * x);
		aa += a * a, ab += a * b, bb += b * b, ay += a * rest, by += b * rest;
	}
	double m0 = 1, m1 = 1;
	/* A convex problem in a box: descent along one slope, then the other, finds its minimum. */
	for (int i = 0; i < 64 && aa > 0 && bb > 0; i++) {
		m0 = clamp((ay - m1 * ab) / aa, 0, 3);
		m1 = clamp((by - m0 * ab) / bb, 0, 3);
	}
	const double scale = leaf_count * FIXED_ONE;
	root->c[1] = (m0 * (1 - FLAT) + FLAT) * scale / span;
	root->c[2] = (3 - 2 * m0 - m1) * (1 - FLAT) * scale / span / span;
	root->c[3] = (m0 + m1 - 2) * (1 - FLAT) * scale / span / span / span;
}

/* ldb_trim_range of four logarithms, the outer ones of all keys, the inner ones without trimmed. */
static void trim_logs(const uint64_t logs[4], uint64_t *low, uint64_t *high)
{
	const uint64_t margin = (logs[2] - logs[1]) / 8;
	*low = logs[1] - logs[0] > margin ? logs[1] - margin : logs[0];
	*high = logs[3] - logs[2] > margin ? logs[2] + margin : logs[3];
}

/* A line in the logarithms, whose ends are those of the logarithms without outliers. */
static void fit_loglinear(rmi_root *root, const ldb_key *keys, size_t n, double leaf_count)
{
	const size_t trim = trimmed_keys(n), ranks[] = {0, trim, n - 1 - trim, n - 1};
	uint64_t logs[4], low, high;
	root->base -= root->base > 0; /* so that 0 is the logarithm of the first key only */
	for (size_t i = 0; i < 4; i++)
		logs[i] = rmi_root_input(root, RMI_LOGLINEAR, keys[ranks[i]]);
	trim_logs(logs, &low, &high);
	if (high == low)
		return;
	root->c[1] = leaf_count * FIXED_ONE / (double)(int64_t)(high - low);
	root->c[0] = -(double)(int64_t)low * root->c[1];
}

void rmi_train_root(rmi_root *root, rmi_root_kind kind, const ldb_key *keys, size_t n,
		    size_t leaf_count)
{
	*root = (rmi_root){.kind = kind};
	root->limit = nextafter((double)leaf_count * FIXED_ONE, 0);
	if (n == 0)
		return;
	root->base = keys[0];
	root->top = keys[n - 1];
	if (kind == RMI_LOGLINEAR) {
		fit_loglinear(root, keys, n, (double)leaf_count);
		return;
	}
	if (kind == RMI_ROBUST || kind == RMI_CUBIC)
		ldb_trim_range(keys, 1, n, trimmed_keys(n), &root->base, &root->top);
	const unsigned bits = bit_length(root->top - root->base);
	if (kind == RMI_RADIX) {
		const unsigned wanted = 32 + bit_length(leaf_count) - 1;
		root->right = bits > wanted ? bits - wanted : 0;
		root->left = bits < wanted ? wanted - bits : 0;
		return;
	}
	const unsigned most = kind == RMI_CUBIC ? 30 : 63;
	root->right = bits > most ? bits - most : 0;
	const double span = root_input(root, root->top);
	if (span == 0)
		return;
	const sample s = {keys, n, n < SAMPLE_MAX ? n : SAMPLE_MAX};
	if (kind == RMI_LINEAR)
		fit_linear(root, &s, (double)leaf_count / (double)n);
	else if (kind == RMI_CUBIC)
		fit_cubic(root, &s, span, (double)leaf_count);
	else
		root->c[1] = (double)leaf_count * FIXED_ONE / span;
}

/* --- leaves ----------------------------------------------------------------------------------- */

#define CHUNK 1024

/* The keys of one leaf as (y, rank past the leaf's first), a chunk at a time. */
typedef struct {
	const rmi_root *root;
	const ldb_key *keys; /* the leaf's first */
	size_t count;
	size_t loaded; /* where the chunk in y begins; SIZE_MAX: none is in */
	uint32_t y[CHUNK];
} leaf_points;

static size_t load_chunk(leaf_points *p, size_t from)
{
	const size_t length = p->count - from < CHUNK ? p->count - from : CHUNK;
	if (p->loaded != from)
		for (size_t i = 0; i < length; i++)
			p->y[i] = (uint32_t)rmi_predict_leaf(p->root, p->keys[from + i]);
	p->loaded = from;
	return length;
}

/* > 0: o, a, b turn left. Coordinates are y < 2^32 and index < CHUNK. */
static int64_t cross(const uint32_t *y, unsigned o, unsigned a, unsigned b)
{
	return ((int64_t)y[a] - y[o]) * ((int64_t)b - o) -
	       ((int64_t)a - o) * ((int64_t)y[b] - y[o]);
}

/* Upper (sign +1) or lower (-1) convex hull of the points (y[i], i), left to right. */
static unsigned hull(const uint32_t *y, unsigned count, int sign, unsigned *out)
{
	unsigned size = 0;
	for (unsigned i = 0; i < count; i++) {
		if (size > 0 && y[out[size - 1]] == y[i]) {
			if (sign < 0)
				continue;
			size--;
		}
		while (size > 1 && sign * cross(y, out[size - 2], out[size - 1], i) >= 0)
			size--;
		out[size++] = i;
	}
	return size;
}

/*
 * Slope of the line whose largest distance to the points (y[i], i), up and down, is the smallest.
 * That distance is convex in the slope and changes its course at the slopes of the hulls' edges.
 * Seen from above with a steep line, the first point of the upper hull and the last one of the
 * lower hull are the outermost; the line is turned from edge to edge until they pass each other.
 */
static double minimax_slope(const uint32_t *y, unsigned count)
{
	unsigned upper[CHUNK], lower[CHUNK];
	const unsigned uppers = hull(y, count, 1, upper), lowers = hull(y, count, -1, lower);
	unsigned u = 0, l = lowers - 1;
	double slope = 0;
	while (y[upper[u]] < y[lower[l]]) {
		/* Both hulls span all y, so each has an edge left. */
		const double su = u + 1 < uppers ? ((double)upper[u + 1] - upper[u]) /
							   ((double)y[upper[u + 1]] - y[upper[u]])
						 : 0;
		const double sl = l > 0 ? ((double)lower[l] - lower[l - 1]) /
						  ((double)y[lower[l]] - y[lower[l - 1]])
					: 0;
		slope = su >= sl ? su : sl;
		if (su >= sl)
			u++;
		else
			l--;
	}
	return slope;
}

static double leaf_slope(leaf_points *p)
{
	if (p->count <= CHUNK)
		return minimax_slope(p->y, (unsigned)load_chunk(p, 0));
	/* Many keys: a sample gives the slope; the bounds will come from all of them. */
	p->loaded = SIZE_MAX;
	for (size_t i = 0; i < CHUNK; i++) {
		const size_t at = i * (p->count - 1) / (CHUNK - 1);
		p->y[i] = (uint32_t)rmi_predict_leaf(p->root, p->keys[at]);
	}
	return minimax_slope(p->y, CHUNK) * (double)(p->count - 1) / (CHUNK - 1);
}

/* How far above the line slope * y the lowest point is: min of rank - slope * y. */
static double lowest_offset(leaf_points *p, double slope)
{
	double lowest = 0;
	for (size_t from = 0; from < p->count; from += CHUNK) {
		const size_t length = load_chunk(p, from);
		for (size_t i = 0; i < length; i++) {
			const double offset = (double)(from + i) - slope * p->y[i];
			lowest = offset < lowest ? offset : lowest;
		}
	}
	return lowest;
}

/* Checks t(y) <= rank for every key and sets the width that t(y) + width > rank needs: the two
 * conditions of rmi.h. */
static int bound_leaf(leaf_points *p, rmi_leaf *leaf)
{
	int64_t least = 0, most = 0;
	for (size_t from = 0; from < p->count; from += CHUNK) {
		const size_t length = load_chunk(p, from);
		for (size_t i = 0; i < length; i++) {
			const int64_t rest =
				(int64_t)(from + i) - (int64_t)rmi_predict_rank(leaf, p->y[i]);
			least = rest < least ? rest : least;
			most = rest > most ? rest : most;
		}
	}
	leaf->width = (uint32_t)(most + 1);
	return least >= 0;
}

static void fit_leaf(leaf_points *p, rmi_leaf *leaf)
{
	const double slope = leaf_slope(p);
	if (slope > 0) {
		leaf->slope = (float)(slope < RMI_SLOPE_MAX ? slope : RMI_SLOPE_MAX);
		const double offset = lowest_offset(p, leaf->slope);
		/* t rounds down, so the line may run up to one rank above the lowest key. How close
		 * to one is a matter of rounding: tried, checked, and tried with less. */
		for (double lift = 0.9375; lift >= -1; lift -= 0.625) {
			const double y0 = ceil((-offset - lift) / (double)leaf->slope);
			leaf->y0 = (uint32_t)clamp(y0, 0, UINT32_MAX);
			if (bound_leaf(p, leaf))
				return;
		}
	}
	leaf->slope = 0;
	leaf->y0 = 0;
	leaf->width = (uint32_t)p->count;
}

size_t rmi_train_leaf(rmi_leaf *leaf, const rmi_root *root, const ldb_key *keys, size_t n,
		      size_t number, size_t start)
{
	leaf_points p; /* field by field: y needs no zeroes */
	size_t count = 0;
	for (; start + count < n; count++) {
		const uint64_t f = rmi_predict_leaf(root, keys[start + count]);
		if (f >> 32 != number)
			break;
		if (count < CHUNK)
			p.y[count] = (uint32_t)f;
	}
	*leaf = (rmi_leaf){.start = (uint32_t)start};
	if (count > 0) {
		p.root = root;
		p.keys = keys + start;
		p.count = count;
		p.loaded = 0;
		fit_leaf(&p, leaf);
	}
	return start + count;
}

size_t rmi_first_of_leaf(const rmi_root *root, const ldb_key *keys, size_t low, size_t high,
			 uint64_t leaf)
{
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (rmi_predict_leaf(root, keys[middle]) >> 32 < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* --- all leaves ------------------------------------------------------------------------------- */

#define PART_KEYS_MIN 8192 /* fewer are trained before a thread has started */

/* The leaves [first, end), one thread's work. */
typedef struct {
	rmi *index;
	size_t first, end;
} leaf_range;

static void *train_range(void *part)
{
	const leaf_range *range = part;
	const rmi *index = range->index;
	size_t start = rmi_first_of_leaf(&index->root, index->keys, 0, index->n, range->first);
	for (size_t i = range->first; i < range->end; i++)
		start = rmi_train_leaf(&index->leaves[i], &index->root, index->keys, index->n, i,
				       start);
	return NULL;
}

/* Each part begins with the leaf of a key, and these are evenly spread. What a leaf becomes does
 * not depend on where parts begin. */
void rmi_train_leaves(rmi *index, size_t threads)
{
	leaf_range parts[LDB_PARTS_MAX];
	const size_t n = index->n, most = n / PART_KEYS_MIN + 1;
	const size_t count = threads < most ? threads : most;
	for (size_t i = 0; i < count; i++) {
		const ldb_key *key = &index->keys[n / count * i];
		parts[i].index = index;
		parts[i].first = i ? rmi_predict_leaf(&index->root, *key) >> 32 : 0;
		parts[i].end = index->leaf_count;
		if (i)
			parts[i - 1].end = parts[i].first;
	}
	ldb_run_parts(train_range, parts, sizeof *parts, count);
	index->leaves[index->leaf_count] = (rmi_leaf){.start = (uint32_t)n};
}
