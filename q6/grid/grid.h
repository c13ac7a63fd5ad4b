/*
 * A learned grid over (discount, shipdate, quantity) in the manner of Flood (Nathan, Ding,
 * Alizadeh, Kraska: "Learning Multi-dimensional Indexes", SIGMOD 2020).
 *
 * One dimension is sorted by, the others make the grid: each is cut into columns that hold about
 * the same number of rows, by its distribution (Flood's flattening, section 5.1). Rows lie cell by
 * cell, in each by the sort dimension, with a model that says where a value begins (section 5.2).
 * Which dimension is sorted by and how many columns there are comes from the data and from sample
 * queries, by a model of costs (section 4; layout.c).
 *
 * Discount has eleven values, so it is always a dimension of the grid; the sort dimension is
 * shipdate or quantity, and the other of these two is the grid's second.
 */
#ifndef GRID_H
#define GRID_H

#include "ldb/q6model.h"

/* One dimension's columns: of values low[c] .. high[c], without gaps in what they hold. */
typedef struct {
	uint16_t *low, *high;
	size_t count, capacity;
	uint16_t *column_of; /* each of 65,536 values */
} grid_axis;

typedef enum { SORT_AUTO, SORT_SHIPDATE, SORT_QUANTITY } grid_sort;

typedef struct {
	grid_sort sort;
	size_t discount_columns, other_columns;
	bool sums; /* rows that all match cost nothing */
} grid_layout;

/* Cuts a dimension with `count[v]` rows of each value v into about `columns` columns. False: no
 * memory, and nothing is held. */
bool grid_axis_make(grid_axis *axis, const uint32_t *count, size_t columns);
void grid_axis_free(grid_axis *axis);
size_t grid_axis_bytes(const grid_axis *axis);
/* The columns *begin .. *end that hold values in first .. last; false when none does. */
bool grid_axis_columns(const grid_axis *axis, uint16_t first, uint16_t last, size_t *begin,
		       size_t *end);

/* The values of a row in the two dimensions that are not discount. */
static inline uint16_t grid_sort_value(const ldb_q6_input *in, grid_sort sort, size_t row)
{
	return sort == SORT_SHIPDATE ? in->shipdate[row] : in->quantity[row];
}

static inline uint16_t grid_other_value(const ldb_q6_input *in, grid_sort sort, size_t row)
{
	return sort == SORT_SHIPDATE ? in->quantity[row] : in->shipdate[row];
}

/* Values of the second dimension that a query asks for: *first .. *last. */
static inline void grid_other_range(const ldb_q6_query *q, grid_sort sort, uint16_t *first,
				    uint16_t *last)
{
	*first = sort == SORT_SHIPDATE ? 0 : q->from;
	*last = (uint16_t)((sort == SORT_SHIPDATE ? q->below : q->to) - 1);
}

/* Values of the sort dimension that a query asks for: *from <= value < *to. */
static inline void grid_sort_range(const ldb_q6_query *q, grid_sort sort, uint16_t *from,
				   uint16_t *to)
{
	*from = sort == SORT_SHIPDATE ? q->from : 0;
	*to = sort == SORT_SHIPDATE ? q->to : q->below;
}

/* Fills what the layout leaves open (SORT_AUTO, 0 columns) with what the sample queries would cost
 * least with. LDB_OOM when there is no memory. */
ldb_status grid_choose_layout(const ldb_q6_input *in, grid_layout *layout, ldb_error *err);

/* Rows of each value. */
void grid_count_discount(const ldb_q6_input *in, uint32_t *count);
void grid_count_other(const ldb_q6_input *in, grid_sort sort, uint32_t *count);

#endif
