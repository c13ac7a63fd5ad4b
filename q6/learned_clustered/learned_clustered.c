/*
 * Clustered learned index on l_shipdate: rows in the order of dates as in btree_clustered, with a
 * spline that says where a date begins in place of the tree.
 */
#include "ldb/q6model.h"

typedef struct {
	ldb_q6_rows rows;
	size_t n;
	ldb_q6_models model;
} learned_clustered;

static const ldb_param params_table[] = {
	{"epsilon", "most rows that the model is off", 64, 1, 65536, NULL},
	{.name = NULL},
};

static void learned_clustered_destroy(void *self)
{
	learned_clustered *t = self;
	ldb_q6_rows_free(&t->rows, t->n);
	ldb_q6_models_free(&t->model);
	ldb_free(t, sizeof *t);
}

static size_t learned_clustered_bytes(const void *self)
{
	const learned_clustered *t = self;
	return sizeof *t + ldb_q6_rows_bytes(&t->rows, t->n) + ldb_q6_models_bytes(&t->model);
}

static ldb_status learned_clustered_build(void **self, const ldb_q6_input *input,
					  const double *params, ldb_error *err)
{
	learned_clustered *t = ldb_alloc(sizeof *t);
	if (!t)
		return ldb_fail_oom(err, "learned_clustered", sizeof *t);
	*t = (learned_clustered){.n = input->n, .model.epsilon = (uint32_t)params[0]};
	if (!ldb_q6_cluster_by_date(&t->rows, input)) {
		ldb_free(t, sizeof *t);
		return ldb_fail_oom(err, "learned_clustered", 9 * (unsigned long long)input->n);
	}
	if (t->n && (!ldb_q6_add_model(&t->model, t->rows.shipdate, 0, t->n) ||
		     !ldb_q6_models_resize(&t->model, t->model.count))) {
		learned_clustered_destroy(t);
		return ldb_fail_oom(err, "learned_clustered", sizeof(ldb_q6_knot));
	}
	*self = t;
	return LDB_OK;
}

static void learned_clustered_answer(const void *self, const ldb_q6_query *q, size_t n,
				     uint64_t *revenue)
{
	const learned_clustered *t = self;
	for (size_t i = 0; i < n; i++) {
		revenue[i] = 0;
		if (ldb_q6_is_empty(&q[i]) || t->n == 0)
			continue;
		const size_t knots = t->model.count;
		const uint16_t *dates = t->rows.shipdate;
		const size_t begin = ldb_q6_model_find(&t->model, 0, knots, dates, q[i].from);
		const size_t end = ldb_q6_model_find(&t->model, 0, knots, dates, q[i].to);
		revenue[i] =
			ldb_q6_sum(&t->rows, begin, end, &q[i], LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY);
	}
}

static const ldb_q6 table = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "learned_clustered",
	.summary = "clustered learned index on l_shipdate: a spline",
	.origin =
		"Kraska, Beutel, Chi, Dean, Polyzotis, \"The Case for Learned Index Structures\", "
		"SIGMOD 2018; spline of RadixSpline, 2020",
	.flags = LDB_LEARNED,
	.params = params_table,
	.peak_bytes_per_key = 17,
	.build = learned_clustered_build,
	.destroy = learned_clustered_destroy,
	.bytes = learned_clustered_bytes,
	.answer = learned_clustered_answer,
};
LDB_EXPORT_Q6(table)
