/* A path of Q6 that is right for so many calls and then one off: at once, it fails the
 * verification; later, a pass. */
#include "ldb/q6.h"

typedef struct {
	ldb_q6_input in;
	double honest_calls;
} liar;

static const ldb_param params_table[] = {
	{"honest", "calls that are answered rightly", 0, 0, 1000, NULL},
	{.name = NULL},
};

static ldb_status build(void **self, const ldb_q6_input *input, const double *params,
			ldb_error *err)
{
	liar *l = ldb_alloc(sizeof *l);
	if (!l)
		return ldb_fail_oom(err, "liar", sizeof *l);
	*l = (liar){*input, params[0]};
	*self = l;
	return LDB_OK;
}

static void destroy(void *self)
{
	ldb_free(self, sizeof(liar));
}

static size_t bytes(const void *self)
{
	(void)self;
	return sizeof(liar);
}

static void answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	static double calls;
	const liar *l = self;
	const uint64_t lie = calls++ >= l->honest_calls;
	for (size_t i = 0; i < n; i++) {
		revenue[i] = lie;
		for (size_t r = 0; r < l->in.n; r++)
			if (l->in.shipdate[r] >= q[i].from && l->in.shipdate[r] < q[i].to &&
			    l->in.discount[r] >= q[i].low && l->in.discount[r] <= q[i].high &&
			    l->in.quantity[r] < q[i].below)
				revenue[i] += (uint64_t)l->in.price[r] * l->in.discount[r];
	}
}

static const ldb_q6 table = {.abi = LDB_Q6_ABI,
			     .key_bits = LDB_KEY_BITS,
			     .name = "q6_liar",
			     .summary = "planted fault",
			     .params = params_table,
			     .build = build,
			     .destroy = destroy,
			     .bytes = bytes,
			     .answer = answer};
LDB_EXPORT_Q6(table)
