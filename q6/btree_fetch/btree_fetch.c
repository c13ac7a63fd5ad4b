/*
 * Secondary B+-tree on l_shipdate: its leaves hold row numbers, and each row in the range of dates
 * is fetched from the table, where rows of a day lie scattered.
 *
 * The table's rows are packed to the 8 bytes that Q6 needs, so a fetch is one cache line, and lines
 * are asked for ahead: a real row, of some 130 bytes, is no cheaper to get.
 */
#include "ldb/q6tree.h"

enum { AHEAD = 24 }; /* rows asked for before they are needed */

typedef struct {
	uint32_t price;
	uint16_t quantity;
	uint8_t discount, unused;
} row;

typedef struct {
	ldb_q6_rows leaves; /* of them, only dates */
	uint32_t *number;
	row *table;
	size_t n;
	ldb_q6_tree tree;
} btree_fetch;

static inline uint64_t date_key(const ldb_q6_rows *rows, size_t i)
{
	return rows->shipdate[i];
}

static void btree_fetch_destroy(void *self)
{
	btree_fetch *t = self;
	ldb_free(t->leaves.shipdate, t->n * sizeof *t->leaves.shipdate);
	ldb_free(t->number, t->n * sizeof *t->number);
	ldb_free(t->table, t->n * sizeof *t->table);
	ldb_q6_tree_free(&t->tree);
	ldb_free(t, sizeof *t);
}

static size_t btree_fetch_bytes(const void *self)
{
	const btree_fetch *t = self;
	return sizeof *t +
	       t->n * (sizeof *t->leaves.shipdate + sizeof *t->number + sizeof *t->table) +
	       ldb_q6_tree_bytes(&t->tree);
}

/* Leaves in the order of dates, and the packed table. False when there is no memory. */
static bool fill(btree_fetch *t, const ldb_q6_input *in)
{
	const size_t n = t->n = in->n;
	t->leaves.shipdate = ldb_alloc(n * sizeof *t->leaves.shipdate);
	t->number = ldb_alloc(n * sizeof *t->number);
	t->table = ldb_alloc(n * sizeof *t->table);
	ldb_q6_order order;
	if (!t->leaves.shipdate || !t->number || !t->table || !ldb_q6_order_make(&order, n))
		return false;
	ldb_q6_order_by(&order, ldb_q6_value16, in->shipdate);
	for (size_t i = 0; i < n; i++) {
		t->number[i] = order.row[i];
		t->leaves.shipdate[i] = in->shipdate[order.row[i]];
		t->table[i] = (row){in->price[i], in->quantity[i], in->discount[i], 0};
	}
	ldb_q6_order_free(&order);
	return ldb_q6_tree_build(&t->tree, date_key, &t->leaves, n);
}

static ldb_status btree_fetch_build(void **self, const ldb_q6_input *input, const double *params,
				    ldb_error *err)
{
	(void)params;
	btree_fetch *t = ldb_alloc(sizeof *t);
	if (!t)
		return ldb_fail_oom(err, "btree_fetch", sizeof *t);
	*t = (btree_fetch){.n = 0};
	if (!fill(t, input)) {
		btree_fetch_destroy(t);
		return ldb_fail_oom(err, "btree_fetch", 14 * (unsigned long long)input->n);
	}
	*self = t;
	return LDB_OK;
}

static uint64_t sum_fetched(const btree_fetch *t, size_t begin, size_t end, const ldb_q6_query *q)
{
	const uint8_t rates = (uint8_t)(q->high - q->low);
	uint64_t sum = 0;
	for (size_t i = begin; i < end; i++) {
		if (i + AHEAD < end)
			__builtin_prefetch(&t->table[t->number[i + AHEAD]]);
		const row r = t->table[t->number[i]];
		const bool match =
			((uint8_t)(r.discount - q->low) <= rates) & (r.quantity < q->below);
		sum += ((uint64_t)r.price * r.discount) & -(uint64_t)match;
	}
	return sum;
}

static void btree_fetch_answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	const btree_fetch *t = self;
	for (size_t i = 0; i < n; i++) {
		revenue[i] = 0;
		if (ldb_q6_is_empty(&q[i]))
			continue;
		const size_t begin = ldb_q6_tree_find(&t->tree, date_key, &t->leaves, q[i].from);
		const size_t end = ldb_q6_tree_find(&t->tree, date_key, &t->leaves, q[i].to);
		revenue[i] = sum_fetched(t, begin, end, &q[i]);
	}
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree_fetch",
	.summary = "B+-tree on l_shipdate, rows fetched by number",
	.origin = "Comer, \"The Ubiquitous B-Tree\", 1979",
	.peak_bytes_per_key = 24,
	.build = btree_fetch_build,
	.destroy = btree_fetch_destroy,
	.bytes = btree_fetch_bytes,
	.answer = btree_fetch_answer,
};
LDB_EXPORT_Q6(table)
