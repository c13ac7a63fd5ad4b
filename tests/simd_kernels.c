/*
 * The kernels of ldb/simd.h and of ldx behind ordinary functions. Compiled once for each level of
 * the processor, as plug-ins are, into shared objects that test_simd loads.
 */
#include "simd_kernels.h"

static unsigned count_less8(const ldb_key *p, ldb_key q)
{
	return ldb_count_less8(p, q);
}

static size_t lower_bound(const ldb_key *p, size_t n, ldb_key q)
{
	return ldb_lower_bound(p, n, q);
}

static unsigned count_narrow(const ldx_node *node, uint32_t fraction)
{
	return ldx_count(node, fraction, 16);
}

static unsigned count_wide(const ldx_node *node, uint32_t fraction)
{
	return ldx_count(node, fraction, 32);
}

static uint32_t predict_group(const ldx *self, const ldb_key *q, const ldx_node **node,
			      uint32_t *fraction)
{
	return ldx_predict_group(self, q, 16, node, fraction);
}

static const simd_kernels table = {
#if defined(__AVX512F__)
	.variant = "AVX-512",
#elif defined(__AVX2__)
	.variant = "AVX2",
#elif defined(__aarch64__)
	.variant = "NEON",
#else
	.variant = "scalar",
#endif
	.count_less8 = count_less8,
	.lower_bound = lower_bound,
	.count_narrow = count_narrow,
	.count_wide = count_wide,
	.predict_group = predict_group,
};

__attribute__((visibility("default"))) const simd_kernels *simd_kernels_table(void)
{
	return &table;
}
