/* What tests/simd_kernels.c exports to tests/test_simd.c. */
#ifndef LDB_TEST_SIMD_KERNELS_H
#define LDB_TEST_SIMD_KERNELS_H

#include "../indexes/ldx/ldx.h"

typedef struct {
	const char *variant; /* the branch of ldb/simd.h that was compiled */
	unsigned (*count_less8)(const ldb_key *p, ldb_key q);
	size_t (*lower_bound)(const ldb_key *p, size_t n, ldb_key q);
	/* ldx_count for separators of 16 and of 32 bits. */
	unsigned (*count_narrow)(const ldx_node *node, uint32_t fraction);
	unsigned (*count_wide)(const ldx_node *node, uint32_t fraction);
	/* ldx_predict_group for 16 queries. */
	uint32_t (*predict_group)(const ldx *self, const ldb_key *q, const ldx_node **node,
				  uint32_t *fraction);
} simd_kernels;

const simd_kernels *simd_kernels_table(void);

#endif
