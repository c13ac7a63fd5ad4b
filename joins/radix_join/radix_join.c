/*
 * radix_join: partitioned hash join; bits of the keys' hashes choose the parts (ldb/partitioned.h).
 */
#include "ldb/partitioned.h"

enum { PARAM_BITS };
static const ldb_param params[] = {
	{"bits", "of the hash that choose a part; 0: by the size of the build side", .def = 0,
	 .min = 0, .max = LDB_PART_MAX_BITS},
	{0},
};

static ldb_status radix(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	return ldb_partitioned_join(input, (int)input->params[PARAM_BITS], NULL, out, err);
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "radix_join",
	.summary = "radix-partitioned hash join, one pass with software write combining",
	.origin = "Balkesen, Teubner, Alonso, Oezsu, ICDE 2013; Schuh, Chen, Dittrich, SIGMOD 2016",
	.flags = LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 18,
	.join = radix,
};
LDB_EXPORT_JOIN(table)
