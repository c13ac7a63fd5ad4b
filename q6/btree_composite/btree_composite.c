/*
 * Covering B+-tree on three columns. Rows are in the order of (discount, shipdate, quantity), or,
 * with order=dqs, of (discount, quantity, shipdate).
 *
 * For each value of what stands before the date, the range of dates is one piece. These values are
 * found by skipping from one to the next (a loose index scan), two or three descents for each. What
 * stands behind the date is compared row by row: the quantity, or nothing at all.
 */
#include "ldb/q6tree.h"

typedef enum { DSQ, DQS } column_order;

typedef struct {
	ldb_q6_rows rows;
	size_t n;
	ldb_q6_tree tree;
	column_order order;
	uint64_t *sums; /* NULL: none */
} btree_composite;

static const ldb_param params_table[] = {
	{"order", "columns: d discount, s shipdate, q quantity", DSQ, 0, 0, "dsq|dqs"},
	{"sums", "running sums of price x discount, for order=dqs", 0, 0, 0, "no|yes"},
	{.name = NULL},
};

static inline uint64_t dsq_key(const ldb_q6_rows *r, size_t i)
{
	return (uint64_t)r->discount[i] << 32 | (uint64_t)r->shipdate[i] << 16 | r->quantity[i];
}

static inline uint64_t dqs_key(const ldb_q6_rows *r, size_t i)
{
	return (uint64_t)r->discount[i] << 32 | (uint64_t)r->quantity[i] << 16 | r->shipdate[i];
}

static void btree_composite_destroy(void *self)
{
	btree_composite *t = self;
	ldb_q6_rows_free(&t->rows, t->n);
	ldb_q6_tree_free(&t->tree);
	ldb_free(t->sums, (t->n + 1) * sizeof *t->sums);
	ldb_free(t, sizeof *t);
}

static size_t btree_composite_bytes(const void *self)
{
	const btree_composite *t = self;
	return sizeof *t + ldb_q6_rows_bytes(&t->rows, t->n) + ldb_q6_tree_bytes(&t->tree) +
	       (t->sums ? (t->n + 1) * sizeof *t->sums : 0);
}

static bool copy_sorted(btree_composite *t, const ldb_q6_input *in)
{
	ldb_q6_order order;
	if (!ldb_q6_order_make(&order, in->n))
		return false;
	const bool dsq = t->order == DSQ;
	ldb_q6_order_by(&order, ldb_q6_value16, dsq ? in->quantity : in->shipdate);
	ldb_q6_order_by(&order, ldb_q6_value16, dsq ? in->shipdate : in->quantity);
	ldb_q6_order_by(&order, ldb_q6_value8, in->discount);
	const bool copied = ldb_q6_rows_copy(&t->rows, in, &order);
	ldb_q6_order_free(&order);
	return copied;
}

static bool fill(btree_composite *t, const ldb_q6_input *in, bool with_sums)
{
	if (!copy_sorted(t, in) ||
	    !ldb_q6_tree_build(&t->tree, t->order == DSQ ? dsq_key : dqs_key, &t->rows, t->n))
		return false;
	if (with_sums)
		t->sums = ldb_q6_running_sums(&t->rows, t->n);
	return !with_sums || t->sums;
}

static ldb_status btree_composite_build(void **self, const ldb_q6_input *input,
					const double *params, ldb_error *err)
{
	btree_composite *t = ldb_alloc(sizeof *t);
	if (!t)
		return ldb_fail_oom(err, "btree_composite", sizeof *t);
	*t = (btree_composite){.n = input->n, .order = (column_order)params[0]};
	if (!fill(t, input, t->order == DQS && params[1] > 0)) {
		btree_composite_destroy(t);
		return ldb_fail_oom(err, "btree_composite", 9 * (unsigned long long)input->n);
	}
	*self = t;
	return LDB_OK;
}

static uint64_t answer_dsq(const btree_composite *t, const ldb_q6_query *q)
{
	uint64_t sum = 0;
	for (uint64_t discount = q->low; discount <= q->high; discount++) {
		const uint64_t from = discount << 32 | (uint64_t)q->from << 16;
		const uint64_t to = discount << 32 | (uint64_t)q->to << 16;
		const size_t begin = ldb_q6_tree_find(&t->tree, dsq_key, &t->rows, from);
		if (begin == t->n)
			break;
		if (t->rows.discount[begin] > discount) { /* no more of these: skip to the next */
			discount = t->rows.discount[begin] - 1u;
			continue;
		}
		const size_t end = ldb_q6_tree_find(&t->tree, dsq_key, &t->rows, to);
		sum += discount *
		       ldb_q6_sum(&t->rows, begin, end, q, LDB_Q6_QUANTITY | LDB_Q6_PRICE);
	}
	return sum;
}

static uint64_t answer_dqs(const btree_composite *t, const ldb_q6_query *q)
{
	uint64_t sum = 0, discount = q->low, quantity = 0;
	while (discount <= q->high) {
		const uint64_t prefix = discount << 32 | quantity << 16;
		const size_t begin =
			ldb_q6_tree_find(&t->tree, dqs_key, &t->rows, prefix | q->from);
		if (begin == t->n)
			break;
		if (t->rows.discount[begin] == discount && t->rows.quantity[begin] == quantity) {
			const size_t end =
				ldb_q6_tree_find(&t->tree, dqs_key, &t->rows, prefix | q->to);
			sum += t->sums ? t->sums[end] - t->sums[begin]
				       : discount *
						 ldb_q6_sum(&t->rows, begin, end, q, LDB_Q6_PRICE);
			quantity++;
		} else { /* none of this pair: skip to the next */
			discount = t->rows.discount[begin];
			quantity = t->rows.quantity[begin];
		}
		if (quantity >= q->below) {
			discount++;
			quantity = 0;
		}
	}
	return sum;
}

static void btree_composite_answer(const void *self, const ldb_q6_query *q, size_t n,
				   uint64_t *revenue)
{
	const btree_composite *t = self;
	for (size_t i = 0; i < n; i++)
		revenue[i] = ldb_q6_is_empty(&q[i]) ? 0
			     : t->order == DSQ      ? answer_dsq(t, &q[i])
						    : answer_dqs(t, &q[i]);
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree_composite",
	.summary = "covering B+-tree on discount, shipdate and quantity, loose scan",
	.origin = "Comer, \"The Ubiquitous B-Tree\", 1979; Leslie et al., \"Efficient Search of "
		  "Multidimensional B-Trees\", VLDB 1995",
	.params = params_table,
	.peak_bytes_per_key = 17, /* with sums as well: the order of rows is gone by then */
	.build = btree_composite_build,
	.destroy = btree_composite_destroy,
	.bytes = btree_composite_bytes,
	.answer = btree_composite_answer,
};
LDB_EXPORT_Q6(table)
