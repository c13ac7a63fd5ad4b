/* Building the grid and answering from it (grid.h). */
#include "grid.h"

#include <stdio.h>

#include "clock.h"

enum { GROUP = 32 }; /* cells whose ranges are found together, before they are read */

typedef struct {
	ldb_q6_rows rows;
	size_t n;
	grid_layout layout;
	grid_axis discount, other;
	ldb_q6_models models;
	uint32_t *begin;      /* of each cell's rows */
	uint32_t *first_knot; /* of each cell's model */
	size_t cells;
	uint64_t *sums; /* NULL: none */
	uint64_t tune_ns;
} grid;

static const ldb_param params_table[] = {
	{"sort", "dimension that rows of a cell are sorted by", SORT_AUTO, 0, 0,
	 "auto|shipdate|quantity"},
	{"discount_columns", "columns over discount; 0: by the sample queries", 0, 0, 256, NULL},
	{"other_columns", "columns over the other dimension; 0: by the sample queries", 0, 0, 256,
	 NULL},
	{"epsilon", "most rows that a cell's model is off", 32, 1, 65536, NULL},
	{"sums", "running sums of price x discount", 0, 0, 0, "no|yes"},
	{.name = NULL},
};

/* --- build ------------------------------------------------------------------------------------ */

static void grid_destroy(void *self)
{
	grid *g = self;
	ldb_q6_rows_free(&g->rows, g->n);
	grid_axis_free(&g->discount);
	grid_axis_free(&g->other);
	ldb_q6_models_free(&g->models);
	ldb_free(g->begin, (g->cells + 1) * sizeof *g->begin);
	ldb_free(g->first_knot, (g->cells + 1) * sizeof *g->first_knot);
	ldb_free(g->sums, (g->n + 1) * sizeof *g->sums);
	ldb_free(g, sizeof *g);
}

static size_t grid_bytes(const void *self)
{
	const grid *g = self;
	return sizeof *g + ldb_q6_rows_bytes(&g->rows, g->n) + grid_axis_bytes(&g->discount) +
	       grid_axis_bytes(&g->other) + ldb_q6_models_bytes(&g->models) +
	       (g->cells + 1) * (sizeof *g->begin + sizeof *g->first_knot) +
	       (g->sums ? (g->n + 1) * sizeof *g->sums : 0);
}

static bool make_axes(grid *g, const ldb_q6_input *in)
{
	const size_t bytes = LDB_Q6_VALUES * sizeof(uint32_t);
	uint32_t *count = ldb_alloc(bytes);
	if (!count)
		return false;
	grid_count_discount(in, count);
	bool good = grid_axis_make(&g->discount, count, g->layout.discount_columns);
	grid_count_other(in, g->layout.sort, count);
	good = good && grid_axis_make(&g->other, count, g->layout.other_columns);
	ldb_free(count, bytes);
	return good;
}

static uint16_t cell_of(const grid *g, const ldb_q6_input *in, size_t row)
{
	const size_t a = g->discount.column_of[in->discount[row]];
	const size_t b = g->other.column_of[grid_other_value(in, g->layout.sort, row)];
	return (uint16_t)(a * g->other.count + b);
}

/* Copies the rows cell by cell, each cell's by the sort dimension, and counts where cells begin. */
static bool place_rows(grid *g, const ldb_q6_input *in)
{
	const size_t bytes = g->n * sizeof(uint16_t);
	uint16_t *cell = ldb_alloc(bytes);
	ldb_q6_order order;
	if (!cell || !ldb_q6_order_make(&order, g->n)) {
		ldb_free(cell, bytes);
		return false;
	}
	memset(g->begin, 0, (g->cells + 1) * sizeof *g->begin);
	for (size_t i = 0; i < g->n; i++) {
		cell[i] = cell_of(g, in, i);
		g->begin[cell[i] + 1u]++;
	}
	for (size_t c = 0; c < g->cells; c++)
		g->begin[c + 1] += g->begin[c];
	ldb_q6_order_by(&order, ldb_q6_value16,
			g->layout.sort == SORT_SHIPDATE ? in->shipdate : in->quantity);
	ldb_q6_order_by(&order, ldb_q6_value16, cell);
	const bool copied = ldb_q6_rows_copy(&g->rows, in, &order);
	ldb_q6_order_free(&order);
	ldb_free(cell, bytes);
	return copied;
}

static const uint16_t *sort_values(const grid *g)
{
	return g->layout.sort == SORT_SHIPDATE ? g->rows.shipdate : g->rows.quantity;
}

static bool train_models(grid *g)
{
	for (size_t c = 0; c < g->cells; c++) {
		g->first_knot[c] = (uint32_t)g->models.count;
		if (g->begin[c] < g->begin[c + 1] &&
		    !ldb_q6_add_model(&g->models, sort_values(g), g->begin[c], g->begin[c + 1]))
			return false;
	}
	g->first_knot[g->cells] = (uint32_t)g->models.count;
	return ldb_q6_models_resize(&g->models, g->models.count);
}

static bool fill(grid *g, const ldb_q6_input *in)
{
	if (!make_axes(g, in))
		return false;
	g->cells = g->discount.count * g->other.count;
	g->begin = ldb_alloc((g->cells + 1) * sizeof *g->begin);
	g->first_knot = ldb_alloc((g->cells + 1) * sizeof *g->first_knot);
	if (!g->begin || !g->first_knot || !place_rows(g, in) || !train_models(g))
		return false;
	if (g->layout.sums)
		g->sums = ldb_q6_running_sums(&g->rows, g->n);
	return !g->layout.sums || g->sums;
}

static ldb_status grid_build(void **self, const ldb_q6_input *input, const double *params,
			     ldb_error *err)
{
	grid *g = ldb_alloc(sizeof *g);
	if (!g)
		return ldb_fail_oom(err, "grid", sizeof *g);
	*g = (grid){.n = input->n,
		    .layout = {(grid_sort)params[0], (size_t)params[1], (size_t)params[2],
			       params[4] > 0},
		    .models.epsilon = (uint32_t)params[3]};
	const uint64_t start_ns = ldb_now_ns();
	ldb_status status = grid_choose_layout(input, &g->layout, err);
	g->tune_ns = ldb_now_ns() - start_ns;
	if (status == LDB_OK && !fill(g, input))
		status = ldb_fail_oom(err, "grid", 9 * (unsigned long long)input->n);
	if (status == LDB_OK)
		*self = g;
	else
		grid_destroy(g);
	return status;
}

static void grid_info(const void *self, ldb_index_info *out)
{
	const grid *g = self;
	out->tune_ns = g->tune_ns;
	snprintf(out->chosen, sizeof out->chosen,
		 "sort=%s,discount_columns=%zu,other_columns=%zu,knots=%zu",
		 g->layout.sort == SORT_SHIPDATE ? "shipdate" : "quantity", g->discount.count,
		 g->other.count, g->models.count);
}

/* --- answer ----------------------------------------------------------------------------------- */

/* A piece of a cell that must be read, and what is left to compare in it. */
typedef struct {
	size_t begin, end;
	unsigned filters;
	uint16_t discount; /* with LDB_Q6_PRICE: of all its rows */
} piece;

static uint64_t sum_piece(const grid *g, const piece *p, const ldb_q6_query *q)
{
	const ldb_q6_rows *rows = &g->rows;
	if (g->sums && !(p->filters & (LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY | LDB_Q6_DATE)))
		return g->sums[p->end] - g->sums[p->begin];
#define SUM(filters) ldb_q6_sum(rows, p->begin, p->end, q, filters)
	switch (p->filters) {
	case LDB_Q6_PRICE:
		return p->discount * SUM(LDB_Q6_PRICE);
	case LDB_Q6_PRICE | LDB_Q6_QUANTITY:
		return p->discount * SUM(LDB_Q6_PRICE | LDB_Q6_QUANTITY);
	case LDB_Q6_PRICE | LDB_Q6_DATE:
		return p->discount * SUM(LDB_Q6_PRICE | LDB_Q6_DATE);
	case 0:
		return SUM(0);
	case LDB_Q6_QUANTITY:
		return SUM(LDB_Q6_QUANTITY);
	case LDB_Q6_DATE:
		return SUM(LDB_Q6_DATE);
	case LDB_Q6_DISCOUNT:
		return SUM(LDB_Q6_DISCOUNT);
	case LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY:
		return SUM(LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY);
	default:
		return SUM(LDB_Q6_DISCOUNT | LDB_Q6_DATE);
	}
#undef SUM
}

static bool is_whole(const grid_axis *axis, size_t column, uint16_t first, uint16_t last)
{
	return axis->low[column] >= first && axis->high[column] <= last;
}

/* The rows of a cell within the sort dimension's range, asked for ahead. */
static void find_range(const grid *g, size_t cell, uint16_t from, uint16_t to, piece *p)
{
	const size_t first = g->first_knot[cell], last = g->first_knot[cell + 1];
	p->begin = p->end = 0;
	if (first == last)
		return;
	p->begin = ldb_q6_model_find(&g->models, first, last, sort_values(g), from);
	p->end = ldb_q6_model_find(&g->models, first, last, sort_values(g), to);
	if (g->sums) {
		__builtin_prefetch(g->sums + p->begin);
		__builtin_prefetch(g->sums + p->end);
	}
	__builtin_prefetch(g->rows.price + p->begin);
	__builtin_prefetch(g->rows.price + p->begin + 16);
}

static uint64_t answer_one(const grid *g, const ldb_q6_query *q)
{
	const grid_sort sort = g->layout.sort;
	const unsigned other_filter = sort == SORT_SHIPDATE ? LDB_Q6_QUANTITY : LDB_Q6_DATE;
	uint16_t first, last, from, to;
	grid_other_range(q, sort, &first, &last);
	grid_sort_range(q, sort, &from, &to);
	size_t a_first, a_last, b_first, b_last;
	if (!grid_axis_columns(&g->discount, q->low, q->high, &a_first, &a_last) ||
	    !grid_axis_columns(&g->other, first, last, &b_first, &b_last))
		return 0;
	piece pieces[GROUP];
	size_t count = 0;
	uint64_t sum = 0;
	for (size_t a = a_first; a <= a_last; a++) {
		const bool whole = is_whole(&g->discount, a, q->low, q->high);
		const bool one = whole && g->discount.low[a] == g->discount.high[a];
		for (size_t b = b_first; b <= b_last; b++) {
			piece *p = &pieces[count++];
			p->filters = one ? LDB_Q6_PRICE : whole ? 0 : LDB_Q6_DISCOUNT;
			p->filters |= is_whole(&g->other, b, first, last) ? 0 : other_filter;
			p->discount = g->discount.low[a];
			find_range(g, a * g->other.count + b, from, to, p);
			if (count < GROUP && (a < a_last || b < b_last))
				continue;
			for (size_t i = 0; i < count; i++)
				sum += sum_piece(g, &pieces[i], q);
			count = 0;
		}
	}
	return sum;
}

static void grid_answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	const grid *g = self;
	for (size_t i = 0; i < n; i++)
		revenue[i] = ldb_q6_is_empty(&q[i]) || g->n == 0 ? 0 : answer_one(g, &q[i]);
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "grid",
	.summary = "learned grid over discount, shipdate and quantity, layout by cost model",
	.origin = "Nathan, Ding, Alizadeh, Kraska, \"Learning Multi-dimensional Indexes\" (Flood), "
		  "SIGMOD 2020",
	.flags = LDB_LEARNED,
	.params = params_table,
	.peak_bytes_per_key = 19,
	.build = grid_build,
	.destroy = grid_destroy,
	.bytes = grid_bytes,
	.info = grid_info,
	.answer = grid_answer,
};
LDB_EXPORT_Q6(table)
