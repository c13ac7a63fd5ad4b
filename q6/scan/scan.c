/*
 * Full scan of four columns in the order of rows: no index, every row is looked at. Compares 32
 * rows at once with AVX-512, 16 with AVX2, and reads prices only where one of them matches.
 */
#include "ldb/q6scan.h"

static ldb_status scan_build(void **self, const ldb_q6_input *input, const double *params,
			     ldb_error *err)
{
	(void)params;
	ldb_q6_input *own = ldb_alloc(sizeof *own);
	if (!own)
		return ldb_fail_oom(err, "scan", sizeof *own);
	*own = *input;
	*self = own;
	return LDB_OK;
}

static void scan_destroy(void *self)
{
	ldb_free(self, sizeof(ldb_q6_input));
}

static size_t scan_bytes(const void *self)
{
	(void)self;
	return sizeof(ldb_q6_input);
}

static void scan_answer(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue)
{
	const ldb_q6_input *in = self;
	const ldb_q6_rows rows = {(uint16_t *)in->shipdate, (uint8_t *)in->discount,
				  (uint16_t *)in->quantity, (uint32_t *)in->price};
	for (size_t i = 0; i < n; i++)
		revenue[i] = ldb_q6_is_empty(&q[i])
				     ? 0
				     : ldb_q6_sum(&rows, 0, in->n, &q[i],
						  LDB_Q6_DATE | LDB_Q6_DISCOUNT | LDB_Q6_QUANTITY |
							  LDB_Q6_RARE);
}

static const ldb_q6 scan = {
	.abi = LDB_Q6_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "scan",
	.summary = "full scan of the columns, SIMD",
	.origin = "textbook; predicates by SIMD after Willhalm et al., \"SIMD-Scan\", VLDB 2009",
	.peak_bytes_per_key = 0,
	.build = scan_build,
	.destroy = scan_destroy,
	.bytes = scan_bytes,
	.answer = scan_answer,
};
LDB_EXPORT_Q6(scan)
