/* Columns of a dimension, and the choice of the layout by what sample queries cost (grid.h). */
#include "grid.h"

/* --- columns ---------------------------------------------------------------------------------- */

size_t grid_axis_bytes(const grid_axis *axis)
{
	return axis->capacity * (sizeof *axis->low + sizeof *axis->high) +
	       LDB_Q6_VALUES * sizeof *axis->column_of;
}

void grid_axis_free(grid_axis *axis)
{
	ldb_free(axis->low, axis->capacity * sizeof *axis->low);
	ldb_free(axis->high, axis->capacity * sizeof *axis->high);
	ldb_free(axis->column_of, LDB_Q6_VALUES * sizeof *axis->column_of);
	memset(axis, 0, sizeof *axis);
}

bool grid_axis_make(grid_axis *axis, const uint32_t *count, size_t columns)
{
	*axis = (grid_axis){.capacity = columns};
	axis->low = ldb_alloc(columns * sizeof *axis->low);
	axis->high = ldb_alloc(columns * sizeof *axis->high);
	axis->column_of = ldb_alloc(LDB_Q6_VALUES * sizeof *axis->column_of);
	if (!axis->low || !axis->high || !axis->column_of) {
		grid_axis_free(axis);
		return false;
	}
	size_t total = 0, distinct = 0;
	for (size_t v = 0; v < LDB_Q6_VALUES; v++) {
		total += count[v];
		distinct += count[v] > 0;
	}
	/* A column ends with the value at which its share of the rows is reached; when there are
	 * columns enough, with each value. */
	size_t below = 0, in_column = 0;
	for (size_t v = 0; v < LDB_Q6_VALUES; v++) {
		if (count[v] && in_column == 0)
			axis->low[axis->count] = (uint16_t)v;
		axis->column_of[v] = (uint16_t)axis->count;
		below += count[v];
		in_column += count[v];
		const bool full = distinct <= columns
					  ? in_column > 0
					  : below * columns >= (axis->count + 1) * total;
		if (count[v])
			axis->high[axis->count] = (uint16_t)v;
		if (in_column && full && axis->count + 1 < columns && below < total) {
			axis->count++;
			in_column = 0;
		}
	}
	axis->count++;
	return true;
}

bool grid_axis_columns(const grid_axis *axis, uint16_t first, uint16_t last, size_t *begin,
		       size_t *end)
{
	*begin = axis->column_of[first];
	*end = axis->column_of[last];
	if (axis->high[*begin] < first)
		return false; /* above all values */
	if (axis->low[*end] <= last)
		return true;
	/* A value in the gap between two columns is mapped to the upper one. */
	return *end > *begin && (*end)--;
}

void grid_count_discount(const ldb_q6_input *in, uint32_t *count)
{
	memset(count, 0, LDB_Q6_VALUES * sizeof *count);
	for (size_t i = 0; i < in->n; i++)
		count[in->discount[i]]++;
}

void grid_count_other(const ldb_q6_input *in, grid_sort sort, uint32_t *count)
{
	memset(count, 0, LDB_Q6_VALUES * sizeof *count);
	for (size_t i = 0; i < in->n; i++)
		count[grid_other_value(in, sort, i)]++;
}

/* --- costs ------------------------------------------------------------------------------------ */

/* About nanoseconds: to find where a cell's rows begin and end, to add up a row, and to compare it
 * first. A range that begins with the least value needs but one search. Only ratios matter. */
#define CELL_COST 60.0
#define SEARCH_COST 50.0
#define ROW_COST 0.25
#define FILTER_COST 0.1

enum { SAMPLE_ROWS = 10000, SAMPLE_QUERIES = 8, MOST_COLUMNS = 1024 };

/* Rows spread evenly over the table, so that no layout need be made to know what it costs. */
typedef struct {
	uint16_t sort[SAMPLE_ROWS], other[SAMPLE_ROWS];
	uint8_t discount[SAMPLE_ROWS];
	size_t count;
	double weight; /* rows of the table that each stands for */
} row_sample;

static void draw_rows(row_sample *s, const ldb_q6_input *in, grid_sort sort)
{
	s->count = in->n < SAMPLE_ROWS ? in->n : SAMPLE_ROWS;
	s->weight = s->count ? (double)in->n / (double)s->count : 0;
	for (size_t i = 0; i < s->count; i++) {
		const size_t row = i * in->n / s->count;
		s->sort[i] = grid_sort_value(in, sort, row);
		s->other[i] = grid_other_value(in, sort, row);
		s->discount[i] = in->discount[row];
	}
}

/* A query's columns in one dimension, and whether the outermost ones are whole within its range. */
typedef struct {
	size_t first, last;
	bool first_whole, last_whole;
} span;

static span columns_of(const grid_axis *axis, uint16_t first, uint16_t last)
{
	span s = {0};
	if (!grid_axis_columns(axis, first, last, &s.first, &s.last))
		return (span){.first = 1, .last = 0};
	s.first_whole = axis->low[s.first] >= first && axis->high[s.first] <= last;
	s.last_whole = axis->low[s.last] >= first && axis->high[s.last] <= last;
	return s;
}

/* 0: the row's column is not read; 1: it is, and rows are compared; 2: all its rows match. */
static int reads(span s, size_t column)
{
	if (column < s.first || column > s.last)
		return 0;
	return (column > s.first || s.first_whole) && (column < s.last || s.last_whole) ? 2 : 1;
}

static double query_cost(const row_sample *rows, const ldb_q6_query *q, const grid_layout *layout,
			 const grid_axis *discount, const grid_axis *other)
{
	uint16_t first, last, from, to;
	grid_other_range(q, layout->sort, &first, &last);
	grid_sort_range(q, layout->sort, &from, &to);
	const span a = columns_of(discount, q->low, q->high), b = columns_of(other, first, last);
	double read = 0;
	for (size_t i = 0; i < rows->count; i++) {
		if (rows->sort[i] < from || rows->sort[i] >= to)
			continue;
		const int x = reads(a, discount->column_of[rows->discount[i]]);
		const int y = reads(b, other->column_of[rows->other[i]]);
		if (x && y && !(layout->sums && x + y == 4))
			read += ROW_COST + FILTER_COST * ((x == 1) + (y == 1));
	}
	const double cells = (double)((a.last - a.first + 1) * (b.last - b.first + 1));
	return cells * (CELL_COST + (from ? SEARCH_COST : 0)) + read * rows->weight;
}

static double layout_cost(const ldb_q6_input *in, const row_sample *rows, const grid_layout *layout,
			  const grid_axis *discount, const grid_axis *other)
{
	double cost = 0;
	for (size_t i = 0; i < in->sample_count && i < SAMPLE_QUERIES; i++)
		if (!ldb_q6_is_empty(&in->sample[i]))
			cost += query_cost(rows, &in->sample[i], layout, discount, other);
	return cost;
}

/* --- the choice ------------------------------------------------------------------------------- */

static size_t distinct_values(const uint32_t *count)
{
	size_t distinct = 0;
	for (size_t v = 0; v < LDB_Q6_VALUES; v++)
		distinct += count[v] > 0;
	return distinct;
}

/* The next number of columns to try: doubled, and at last one for each value. 0: that was all. */
static size_t more_columns(size_t columns, size_t distinct)
{
	const size_t most = distinct < MOST_COLUMNS ? distinct : MOST_COLUMNS;
	return columns >= most ? 0 : 2 * columns < most ? 2 * columns : most;
}

/* What a layout with one sort dimension is judged by: rows of each value in both dimensions of the
 * grid, and some rows. */
typedef struct {
	const uint32_t *discount, *other;
	const row_sample *rows;
	size_t distinct_discount, distinct_other;
} counts;

/* Tries all numbers of columns that the layout leaves open; keeps the best. */
static bool try_columns(const ldb_q6_input *in, const counts *c, grid_sort sort,
			const grid_layout *asked, grid_layout *best, double *least)
{
	size_t a = asked->discount_columns ? asked->discount_columns : 1;
	for (; a; a = asked->discount_columns ? 0 : more_columns(a, c->distinct_discount)) {
		grid_axis discount;
		if (!grid_axis_make(&discount, c->discount, a))
			return false;
		size_t b = asked->other_columns ? asked->other_columns : 1;
		for (; b; b = asked->other_columns ? 0 : more_columns(b, c->distinct_other)) {
			grid_axis other;
			const size_t most = in->n / 64 < LDB_Q6_VALUES ? in->n / 64 : LDB_Q6_VALUES;
			if (b > 1 && a * b > most && !asked->other_columns)
				break;
			if (!grid_axis_make(&other, c->other, b)) {
				grid_axis_free(&discount);
				return false;
			}
			const grid_layout tried = {sort, a, b, asked->sums};
			const double cost = layout_cost(in, c->rows, &tried, &discount, &other);
			grid_axis_free(&other);
			if (best->sort == SORT_AUTO || cost < *least) {
				*least = cost;
				*best = tried;
			}
		}
		grid_axis_free(&discount);
	}
	return true;
}

ldb_status grid_choose_layout(const ldb_q6_input *in, grid_layout *layout, ldb_error *err)
{
	const size_t bytes = LDB_Q6_VALUES * sizeof(uint32_t);
	uint32_t *discount = ldb_alloc(bytes), *other = ldb_alloc(bytes);
	row_sample *rows = ldb_alloc(sizeof *rows);
	grid_layout best = {.sort = SORT_AUTO};
	double least = 0;
	bool good = discount && other && rows;
	if (good)
		grid_count_discount(in, discount);
	for (grid_sort sort = SORT_SHIPDATE; sort <= SORT_QUANTITY && good; sort++) {
		if (layout->sort != SORT_AUTO && layout->sort != sort)
			continue;
		grid_count_other(in, sort, other);
		draw_rows(rows, in, sort);
		const counts c = {discount, other, rows, distinct_values(discount),
				  distinct_values(other)};
		good = try_columns(in, &c, sort, layout, &best, &least);
	}
	ldb_free(discount, bytes);
	ldb_free(other, bytes);
	ldb_free(rows, sizeof *rows);
	*layout = best;
	return good ? LDB_OK : ldb_fail_oom(err, "grid", bytes);
}
