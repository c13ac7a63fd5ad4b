/*
 * Optimal piecewise linear approximation: the longest run of points that one line passes within
 * epsilon, found while the points stream in, in constant time per point on average.
 *
 * This is the method of O'Rourke, "An on-line algorithm for fitting straight lines between data
 * ranges", CACM 1981, section 3, as used by the PGM-index (Ferragina, Vinciguerra, VLDB 2020,
 * section 2). Taking each run as long as it gets makes the fewest segments, since a line that fits
 * a run fits every part of it. Whatever doubles can't tell is decided in integers, so it is exact.
 *
 * Points come with x strictly ascending and y not descending. The tolerance of a point is the
 * vertical range from (x, y - epsilon), its lower end, to (x, y + epsilon), its upper end. The
 * lines that fit all points of a segment lie between two extreme ones. The steepest goes through
 * the lower end of a point and the upper end of a later one, the flattest the other way round. A
 * new point fits when its range reaches into the wedge between them; where an end of it lies inside
 * the wedge, that end becomes the right one of an extreme line, and its left one is the point of
 * tangency at a convex hull: the upper hull of lower ends, or the lower hull of upper ends. Both
 * are kept as hulls of the points themselves, which are the same, shifted by epsilon.
 *
 * Of a new point only an end inside the wedge can ever be touched by a line that fits: on the right
 * of all points, the lines that fit fill just the wedge, and later there are only fewer of them. So
 * only such ends are added to a hull, and a point whose range spans the wedge, as most do, costs
 * four multiplications.
 */
#ifndef LDB_PLA_H
#define LDB_PLA_H

#include <math.h>
#include <string.h>

#include "ldb/index.h"

typedef __int128 ldb_pla_wide;
typedef unsigned __int128 ldb_pla_uwide;

typedef struct {
	uint64_t x, y;
} ldb_pla_point;

typedef struct {
	ldb_pla_point *vertex; /* [begin, end); what is left of begin can't be touched any more */
	size_t begin, end, capacity;
} ldb_pla_hull;

/* An extreme line, from an end of the left point's range to the other end of the right one's. */
typedef struct {
	ldb_pla_point left, right;
	double slope;
} ldb_pla_line;

typedef struct {
	ldb_pla_line steepest, flattest;
	double width; /* 2 epsilon */
	uint64_t epsilon;
	uint64_t first_y;
	size_t points;      /* of the segment */
	ldb_pla_hull upper; /* of lower ends: left ends of the steepest line */
	ldb_pla_hull lower; /* of upper ends: left ends of the flattest line */
} ldb_pla;

/* epsilon < 2^60; coordinates y below 2^60. Holds no memory until the first point. */
static inline void ldb_pla_init(ldb_pla *p, uint64_t epsilon)
{
	memset(p, 0, sizeof *p);
	p->epsilon = epsilon;
	p->width = 2 * (double)epsilon;
}

static inline void ldb_pla_free(ldb_pla *p)
{
	ldb_free(p->upper.vertex, p->upper.capacity * sizeof *p->upper.vertex);
	ldb_free(p->lower.vertex, p->lower.capacity * sizeof *p->lower.vertex);
}

/* --- hulls ------------------------------------------------------------------------------------ */

/* Makes room for more vertices; 0: no memory. */
__attribute__((noinline, unused)) static int ldb_pla_grow(ldb_pla_hull *h)
{
	const size_t capacity = h->capacity ? 2 * h->capacity : 256;
	ldb_pla_point *vertex = (ldb_pla_point *)ldb_alloc(capacity * sizeof *vertex);
	if (!vertex)
		return 0;
	if (h->end)
		memcpy(vertex, h->vertex, h->end * sizeof *vertex);
	ldb_free(h->vertex, h->capacity * sizeof *vertex);
	h->vertex = vertex;
	h->capacity = capacity;
	return 1;
}

/* Adds q on the right of a hull: along the upper one slopes fall, along the lower one they rise.
 * `is_upper` is a constant wherever this is inlined. 0: no memory. */
static inline int ldb_pla_push(ldb_pla_hull *h, int is_upper, ldb_pla_point q)
{
	while (h->end - h->begin >= 2) {
		const ldb_pla_point a = h->vertex[h->end - 2], b = h->vertex[h->end - 1];
		const ldb_pla_uwide in = (ldb_pla_uwide)(b.y - a.y) * (q.x - b.x),
				    out = (ldb_pla_uwide)(q.y - b.y) * (b.x - a.x);
		if (is_upper ? in > out : in < out)
			break;
		h->end--;
	}
	if (h->end == h->capacity && !ldb_pla_grow(h))
		return 0;
	h->vertex[h->end++] = q;
	return 1;
}

/* --- extreme lines ---------------------------------------------------------------------------- */

static inline double ldb_pla_dx(ldb_pla_point a, ldb_pla_point b)
{
	return (double)(b.x - a.x);
}

static inline double ldb_pla_dy(ldb_pla_point a, ldb_pla_point b)
{
	return (double)(int64_t)(b.y - a.y);
}

/* The rise from a to b, and beyond it by `lift`. */
static inline int64_t ldb_pla_rise(ldb_pla_point a, ldb_pla_point b, int64_t lift)
{
	return (int64_t)(b.y - a.y) + lift;
}

/* Turns an extreme line to an end of q: moves along its hull to the new point of tangency, which is
 * where the next vertex would not turn it further. */
static inline void ldb_pla_turn(ldb_pla_line *line, ldb_pla_hull *h, int is_steepest, int64_t lift,
				ldb_pla_point q)
{
	ldb_pla_point left = h->vertex[h->begin];
	int64_t rise = ldb_pla_rise(left, q, lift);
	while (h->end - h->begin >= 2) {
		const ldb_pla_point next = h->vertex[h->begin + 1];
		const int64_t next_rise = ldb_pla_rise(next, q, lift);
		const ldb_pla_wide next_slope = (ldb_pla_wide)next_rise * (q.x - left.x),
				   slope = (ldb_pla_wide)rise * (q.x - next.x);
		if (is_steepest ? next_slope > slope : next_slope < slope)
			break;
		h->begin++;
		left = next;
		rise = next_rise;
	}
	line->left = left;
	line->right = q;
	line->slope = (double)rise / ldb_pla_dx(left, q);
}

/* How far q is above the line when both are shifted to the line's left point, times its run. */
static inline ldb_pla_wide ldb_pla_above(const ldb_pla_line *line, int64_t lift, ldb_pla_point q)
{
	const uint64_t run = line->right.x - line->left.x;
	return (ldb_pla_wide)((ldb_pla_uwide)(q.y - line->left.y) * run) -
	       (ldb_pla_wide)ldb_pla_rise(line->left, line->right, lift) * (q.x - line->left.x);
}

/* --- points ----------------------------------------------------------------------------------- */

/* Begins a segment with the point (x, y); 0: no memory. */
static inline int ldb_pla_begin(ldb_pla *p, uint64_t x, uint64_t y)
{
	const ldb_pla_point q = {x, y};
	p->points = 1;
	p->first_y = y;
	p->upper.begin = p->upper.end = p->lower.begin = p->lower.end = 0;
	p->steepest.left = p->flattest.left = q;
	/* The second point turns both. */
	p->steepest.slope = INFINITY;
	p->flattest.slope = -INFINITY;
	return ldb_pla_push(&p->upper, 1, q) && ldb_pla_push(&p->lower, 0, q);
}

typedef enum { LDB_PLA_ADDED, LDB_PLA_FULL, LDB_PLA_OOM } ldb_pla_result;

/*
 * What doubles can tell of heights, if the points of a segment are less than LDB_PLA_HIGH above the
 * first one: then all terms are below 2^42 where the outcome is not plain, and have no more than
 * five roundings of a relative 2^-53.
 */
#define LDB_PLA_DOUBT 0x1p-6
#define LDB_PLA_HIGH ((uint64_t)1 << 40)

/* ldb_pla_add for a point that may turn an extreme line, or not fit. */
__attribute__((unused)) static ldb_pla_result ldb_pla_decide(ldb_pla *p, ldb_pla_point q,
							     double over, double under)
{
	const int64_t width = 2 * (int64_t)p->epsilon;
	int fits = over >= 0 && under >= 0, down = over > p->width, up = under > p->width;
	if (p->points == 1) {
		fits = down = up = 1;
	} else if (q.y - p->first_y + p->epsilon >= LDB_PLA_HIGH || fabs(over) <= LDB_PLA_DOUBT ||
		   fabs(over - p->width) <= LDB_PLA_DOUBT || fabs(under) <= LDB_PLA_DOUBT ||
		   fabs(under - p->width) <= LDB_PLA_DOUBT) {
		const ldb_pla_line *s = &p->steepest, *f = &p->flattest;
		const ldb_pla_wide a = ldb_pla_above(s, width, q), b = ldb_pla_above(f, -width, q);
		fits = a <= 0 && b >= 0;
		down = a + (ldb_pla_wide)width * (s->right.x - s->left.x) < 0;
		up = b - (ldb_pla_wide)width * (f->right.x - f->left.x) > 0;
	}
	if (!fits)
		return LDB_PLA_FULL;
	if (down)
		ldb_pla_turn(&p->steepest, &p->upper, 1, width, q);
	if (up)
		ldb_pla_turn(&p->flattest, &p->lower, 0, -width, q);
	if ((down && !ldb_pla_push(&p->lower, 0, q)) || (up && !ldb_pla_push(&p->upper, 1, q)))
		return LDB_PLA_OOM;
	p->points++;
	return LDB_PLA_ADDED;
}

/* Adds the point (x, y) to the segment. LDB_PLA_FULL: it does not fit, and nothing has changed. */
static inline ldb_pla_result ldb_pla_add(ldb_pla *p, uint64_t x, uint64_t y)
{
	const ldb_pla_point q = {x, y};
	const ldb_pla_line *s = &p->steepest, *f = &p->flattest;
	/* How far the lower end is below the steepest line, and the upper one above the flattest:
	 * less than 0, it does not fit; more than the width, that line must turn. */
	const double over = s->slope * ldb_pla_dx(s->left, q) - ldb_pla_dy(s->left, q);
	const double under = ldb_pla_dy(f->left, q) - f->slope * ldb_pla_dx(f->left, q);
	const double least = LDB_PLA_DOUBT, most = p->width - LDB_PLA_DOUBT;
	if (over > least && over < most && under > least && under < most &&
	    y - p->first_y + p->epsilon < LDB_PLA_HIGH) {
		p->points++;
		return LDB_PLA_ADDED;
	}
	return ldb_pla_decide(p, q, over, under);
}

/* A slope from the middle of those that fit all points of the segment; never negative. */
static inline double ldb_pla_slope(const ldb_pla *p)
{
	if (p->points < 2)
		return 0;
	return (p->steepest.slope + (p->flattest.slope > 0 ? p->flattest.slope : 0)) / 2;
}

#endif
