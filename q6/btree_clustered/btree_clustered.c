/*
 * Clustered B+-tree on l_shipdate: the rows themselves lie in its leaves, so the range of dates is
 * one piece, and only discount and quantity are left to compare.
 */
#include "ldb/q6tree.h"

typedef struct {
	ldb_q6_rows rows;
	size_t n;
	ldb_q6_tree tree;
} btree_clustered;

static inline uint64_t date_key(const ldb_q6_rows *rows, size_t i)
{
	return rows->shipdate[i];
}

static void btree_clustered_destroy(void *self)
{
	btree_clustered *t = self;
	ldb_q6_rows_free(&t->rows, t->n);
	ldb_q6_tree_free(&t->tree);
	ldb_free(t, sizeof *t);
}

static size_t btree_clustered_bytes(const void *self)
{
	const btree_clustered *t = self;
	return sizeof *t + ldb_q6_rows_bytes(&t->rows, t->n) + ldb_q6_tree_bytes(&t->tree);
}

static ldb_status btree_clustered_build(void **self, const ldb_q6_input *input,
					const double *params, ldb_error *err)
{
	(void)params;
	btree_clustered *t = ldb_alloc(sizeof *t);
	if (!t)
		return ldb_fail_oom(err, "btree_clustered", sizeof *t);
	*t = (btree_clustered){.n = input->n};
	if (!ldb_q6_cluster_by_date(&t->rows, input)) {
		ldb_free(t, sizeof *t);
		return ldb_fail_oom(err, "btree_clustered", 9 * (unsigned long long)input->n);
	}
	if (!ldb_q6_tree_build(&t->tree, date_key, &t->rows, t->n)) {
		ldb_q6_rows_free(&t->rows, t->n);
		ldb_free(t, sizeof *t);
		return ldb_fail_oom(err, "btree_clustered", input->n / LDB_Q6_LEAF * 8);
	}
	*self = t;
	return LDB_OK;
}

static void btree_clustered_answer(const void *self, const ldb_q6_query *q, size_t n,
				   uint64_t *revenue)
{
	const btree_clustered *t = self;
	for (size_t i = 0; i < n; i++) {
		revenue[i] = 0;
		if (ldb_q6_is_empty(&q[i]))
			continue;
		const size_t begin = ldb_q6_tree_find(&t->tree, date_key, &t->rows, q[i].from);
		const size_t end = ldb_q6_tree_find(&t->tree, date_key, &t->rows, q[i].to);
		revenue[i] =
			ldb_q6_sum(&t->rows, begin, end, &q[i], LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY);
	}
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "btree_clustered",
	.summary = "clustered B+-tree on l_shipdate",
	.origin = "Comer, \"The Ubiquitous B-Tree\", 1979",
	.peak_bytes_per_key = 17,
	.build = btree_clustered_build,
	.destroy = btree_clustered_destroy,
	.bytes = btree_clustered_bytes,
	.answer = btree_clustered_answer,
};
LDB_EXPORT_Q6(table)
