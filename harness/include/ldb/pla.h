/*
 * Optimal piecewise linear approximation: the longest run of points that one line passes within
 * epsilon, found while the points stream in, in constant time per point on average.
 *
 * This is the method of O'Rourke, "An on-line algorithm for fitting straight lines between data
 * ranges", CACM 1981, section 3, as used by the PGM-index (Ferragina, Vinciguerra, VLDB 2020,
 * section 2). Taking each run as long as it gets makes the fewest segments, since a line that fits
 * a run fits every part of it. All comparisons are of integers and exact.
 *
 * Points come with x strictly ascending and y not descending. The tolerance of a point is the
 * vertical range from (x, y - epsilon), its lower end, to (x, y + epsilon), its upper end. The
 * lines that fit all points of a segment lie between two extreme ones. The steepest goes through
 * the lower end of a point and the upper end of a later one, the flattest the other way round. A
 * new point fits when its range reaches into the wedge between them; where an end of it lies inside
 * the wedge, that end becomes the right one of an extreme line, and its left one is the point of
 * tangency at a convex hull: the upper hull of all lower ends, or the lower hull of all upper ends.
 * Both are hulls of the points themselves, shifted by epsilon.
 *
 * Most points change nothing: both extreme lines pass through their ranges. That test is made in
 * doubles, and whatever is near the edge of a range is left to the exact one. Such points are only
 * noted, and added to a hull when its extreme line next moves. By then their neighbours are known:
 * a point below the line from its left to its right neighbour is no vertex of the upper hull. This
 * is asked of all of them without a branch, and spares the hull, where each is one hard to predict,
 * three of four points.
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
	size_t taken; /* how many of the recent points have been added */
} ldb_pla_hull;

/* A line through the end of a range; by its right one: */
typedef struct {
	ldb_pla_point left;
	uint64_t dx; /* slope dy / dx */
	int64_t dy;
	double slope;  /* the same, rounded */
	double middle; /* its height at the segment's first point, whose y is 0 here */
} ldb_pla_line;

enum { LDB_PLA_UPPER, LDB_PLA_LOWER };
enum { LDB_PLA_RECENT = 128 };

typedef struct {
	ldb_pla_point first;  /* of the segment */
	ldb_pla_line line[2]; /* steepest, flattest; valid from two points on */
	double near;          /* surely in the range: a little less than epsilon from the point */
	size_t points;        /* of the segment */
	size_t recent_count;
	uint64_t epsilon;
	ldb_pla_hull hull[2];
	ldb_pla_point recent[LDB_PLA_RECENT]; /* the newest points, in order */
} ldb_pla;

/* epsilon < 2^60; coordinates y below 2^60. Holds no memory until the first point. */
static inline void ldb_pla_init(ldb_pla *p, uint64_t epsilon)
{
	memset(p, 0, sizeof *p);
	p->epsilon = epsilon;
	/* Doubles err by less than this while heights are below LDB_PLA_HIGH; see ldb_pla_add. */
	p->near = (double)epsilon - 0x1p-6;
}

static inline void ldb_pla_free(ldb_pla *p)
{
	for (int h = 0; h < 2; h++)
		ldb_free(p->hull[h].vertex, p->hull[h].capacity * sizeof *p->hull[h].vertex);
}

/* --- hulls ------------------------------------------------------------------------------------ */

/* Is b above the line from a to c? For the lower hull: below it? */
static inline int ldb_pla_corner(int which, ldb_pla_point a, ldb_pla_point b, ldb_pla_point c)
{
	const ldb_pla_uwide in = (ldb_pla_uwide)(b.y - a.y) * (c.x - b.x),
			    out = (ldb_pla_uwide)(c.y - b.y) * (b.x - a.x);
	return which == LDB_PLA_UPPER ? in > out : in < out;
}

/* Makes room for `more` vertices; 0: no memory. */
__attribute__((noinline, unused)) static int ldb_pla_grow(ldb_pla_hull *h, size_t more)
{
	size_t capacity = h->capacity ? 2 * h->capacity : 2 * LDB_PLA_RECENT;
	while (capacity < h->end + more)
		capacity *= 2;
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

/* Keeps of p[0..count) the last one and those that are corners among their neighbours; `left` is
 * some point before them. Returns how many. */
static inline size_t ldb_pla_filter(int which, ldb_pla_point left, const ldb_pla_point *p,
				    size_t count, ldb_pla_point *kept)
{
	size_t k = 0;
	ldb_pla_point here = p[0];
	for (size_t i = 1; i < count; i++) {
		const ldb_pla_point right = p[i];
		kept[k] = here;
		k += (size_t)ldb_pla_corner(which, left, here, right);
		left = here;
		here = right;
	}
	kept[k++] = here;
	return k;
}

/* Adds the recent points that a hull does not have yet; 0: no memory. */
static inline int ldb_pla_extend(ldb_pla *p, int which)
{
	ldb_pla_hull *h = &p->hull[which];
	ldb_pla_point few[LDB_PLA_RECENT];
	size_t count = p->recent_count - h->taken;
	if (count == 0)
		return 1;
	if (h->end + count > h->capacity && !ldb_pla_grow(h, count))
		return 0;
	ldb_pla_point *const first = h->vertex + h->begin, *end = h->vertex + h->end;
	const ldb_pla_point *add = p->recent + h->taken;
	if (count > 1 && end > first) {
		count = ldb_pla_filter(which, end[-1], add, count, few);
		if (count > 4)
			count = ldb_pla_filter(which, end[-1], few, count, few);
		add = few;
	}
	for (size_t i = 0; i < count; i++) {
		while (end - first >= 2 && !ldb_pla_corner(which, end[-2], end[-1], add[i]))
			end--;
		*end++ = add[i];
	}
	h->end = (size_t)(end - h->vertex);
	h->taken = p->recent_count;
	return 1;
}

/* Adds all to both hulls; 0: no memory. */
__attribute__((noinline, unused)) static int ldb_pla_settle(ldb_pla *p)
{
	if (!ldb_pla_extend(p, LDB_PLA_UPPER) || !ldb_pla_extend(p, LDB_PLA_LOWER))
		return 0;
	p->recent_count = p->hull[0].taken = p->hull[1].taken = 0;
	return 1;
}

/* --- extreme lines ---------------------------------------------------------------------------- */

/* The rise of an extreme line beyond that of the points it belongs to. */
static inline int64_t ldb_pla_lift(const ldb_pla *p, int which)
{
	return which == LDB_PLA_UPPER ? 2 * (int64_t)p->epsilon : -2 * (int64_t)p->epsilon;
}

/* Sets an extreme line: from the left point's end to the right one's other end. */
static inline void ldb_pla_draw(const ldb_pla *p, int which, ldb_pla_line *line, ldb_pla_point left,
				ldb_pla_point right)
{
	line->left = left;
	line->dx = right.x - left.x;
	line->dy = (int64_t)(right.y - left.y) + ldb_pla_lift(p, which);
}

/* And what is derived from it. */
static inline void ldb_pla_round(const ldb_pla *p, int which, ldb_pla_line *line)
{
	line->slope = (double)line->dy / (double)line->dx;
	line->middle = (double)(int64_t)(line->left.y - p->first.y) -
		       (double)ldb_pla_lift(p, which) / 2 -
		       line->slope * (double)(line->left.x - p->first.x);
}

/* Turns an extreme line to the end of q that lies inside the wedge: finds the new point of tangency
 * on its hull. The loop ends where the next vertex would not turn the line further. */
static inline int ldb_pla_turn(ldb_pla *p, int which, ldb_pla_point q)
{
	ldb_pla_hull *h = &p->hull[which];
	if (!ldb_pla_extend(p, which))
		return 0;
	ldb_pla_line line, next;
	ldb_pla_draw(p, which, &line, h->vertex[h->begin], q);
	for (; h->end - h->begin >= 2; h->begin++) {
		ldb_pla_draw(p, which, &next, h->vertex[h->begin + 1], q);
		const ldb_pla_wide a = (ldb_pla_wide)next.dy * line.dx,
				   b = (ldb_pla_wide)line.dy * next.dx;
		if (which == LDB_PLA_UPPER ? a > b : a < b)
			break;
		line = next;
	}
	ldb_pla_round(p, which, &line);
	p->line[which] = line;
	return 1;
}

/* How far q is above the line when both are shifted to the line's left point, times dx. */
static inline ldb_pla_wide ldb_pla_above(const ldb_pla_line *line, ldb_pla_point q)
{
	return (ldb_pla_wide)((ldb_pla_uwide)(q.y - line->left.y) * line->dx) -
	       (ldb_pla_wide)line->dy * (q.x - line->left.x);
}

typedef enum { LDB_PLA_ADDED, LDB_PLA_FULL, LDB_PLA_OOM } ldb_pla_result;

/* The exact test of q, and the turns it needs. */
__attribute__((noinline, unused)) static ldb_pla_result ldb_pla_decide(ldb_pla *p, ldb_pla_point q)
{
	if (p->points == 1) {
		for (int which = 0; which < 2; which++) {
			ldb_pla_draw(p, which, &p->line[which], p->first, q);
			ldb_pla_round(p, which, &p->line[which]);
		}
		return LDB_PLA_ADDED;
	}
	const ldb_pla_line *steepest = &p->line[LDB_PLA_UPPER], *flattest = &p->line[LDB_PLA_LOWER];
	const ldb_pla_wide over = ldb_pla_above(steepest, q), under = ldb_pla_above(flattest, q);
	const ldb_pla_wide w = 2 * (ldb_pla_wide)p->epsilon;
	/* The lower end above the steepest line, or the upper end below the flattest. */
	if (over > 0 || under < 0)
		return LDB_PLA_FULL;
	/* The upper end below the steepest line; the lower end above the flattest. */
	if (over + w * steepest->dx < 0 && !ldb_pla_turn(p, LDB_PLA_UPPER, q))
		return LDB_PLA_OOM;
	if (under - w * flattest->dx > 0 && !ldb_pla_turn(p, LDB_PLA_LOWER, q))
		return LDB_PLA_OOM;
	return LDB_PLA_ADDED;
}

/* --- points ----------------------------------------------------------------------------------- */

/* Begins a segment with the point (x, y). */
static inline void ldb_pla_begin(ldb_pla *p, uint64_t x, uint64_t y)
{
	p->first = p->recent[0] = (ldb_pla_point){x, y};
	p->recent_count = p->points = 1;
	for (int h = 0; h < 2; h++)
		p->hull[h].begin = p->hull[h].end = p->hull[h].taken = 0;
}

/* Heights above the first point for which the doubles of ldb_pla_add are good enough. */
#define LDB_PLA_HIGH ((uint64_t)1 << 40)

/*
 * Adds the point (x, y) to the segment. LDB_PLA_FULL: it does not fit, and nothing has changed.
 *
 * A point that is less than epsilon from both extreme lines changes nothing. Where the doubles say
 * so, all their terms are below 2^42 (heights, and an extreme line is within epsilon at the first
 * point), and their roundings together less than 8 * 2^42 * 2^-53 < 2^-6.
 */
static inline ldb_pla_result ldb_pla_add(ldb_pla *p, uint64_t x, uint64_t y)
{
	const ldb_pla_point q = {x, y};
	const double dx = (double)(x - p->first.x), dy = (double)(int64_t)(y - p->first.y);
	const ldb_pla_line *line = p->line;
	const int inside = fabs(dy - (line[0].middle + line[0].slope * dx)) < p->near &&
			   fabs(dy - (line[1].middle + line[1].slope * dx)) < p->near;
	if (!(inside && p->points > 1 && y - p->first.y + p->epsilon < LDB_PLA_HIGH)) {
		const ldb_pla_result result = ldb_pla_decide(p, q);
		if (result != LDB_PLA_ADDED)
			return result;
	}
	if (p->recent_count == LDB_PLA_RECENT && !ldb_pla_settle(p))
		return LDB_PLA_OOM;
	p->recent[p->recent_count++] = q;
	p->points++;
	return LDB_PLA_ADDED;
}

/* A slope from the middle of those that fit all points of the segment; never negative. */
static inline double ldb_pla_slope(const ldb_pla *p)
{
	if (p->points < 2)
		return 0;
	const double least = p->line[LDB_PLA_LOWER].slope;
	return (p->line[LDB_PLA_UPPER].slope + (least > 0 ? least : 0)) / 2;
}

#endif
