/*
 * learned_radix_join: partitioned hash join whose parts are quantiles of the build keys, as a model
 * of their distribution tells (ldb/cdf.h, ldb/partitioned.h): a learned-partition hash join. A part
 * has about as many build keys as another, however they are distributed, and neighbours stay
 * together, so that sorted sides are split as they lie.
 */
#include "ldb/partitioned.h"

enum { PARAM_BITS };
static const ldb_param params[] = {
	{"bits", "log2 of the number of parts; 0: by the size of the build side", .def = 0,
	 .min = 0, .max = LDB_PART_MAX_BITS},
	{0},
};

static ldb_status learned_radix(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	ldb_cdf *cdf = ldb_alloc(sizeof *cdf);
	if (!cdf)
		return ldb_fail_oom(err, "learned_radix_join: model", sizeof *cdf);
	const ldb_status status =
		ldb_partitioned_join(input, (int)input->params[PARAM_BITS], cdf, out, err);
	ldb_free(cdf, sizeof *cdf);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "learned_radix_join",
	.summary = "partitioned hash join; a model cuts the build keys into equal parts",
	.origin = "Kraska et al., SIGMOD 2018; Sabek, Kraska, VLDB 2023",
	.flags = LDB_THREADS | LDB_LEARNED,
	.params = params,
	.peak_bytes_per_key = 18,
	.join = learned_radix,
};
LDB_EXPORT_JOIN(table)
