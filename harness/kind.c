/* Which kind of work an experiment is (kind.h). */
#include "kind.h"

const ldb_kind *ldb_kind_of(const ldb_experiment *e)
{
	if (e->family == LDB_Q6)
		return &ldb_selections;
	if (e->family == LDB_SORT)
		return &ldb_sorting;
	if (e->family == LDB_JOIN)
		return &ldb_joins;
	return e->workloads[0].kind == LDB_OPERATIONS ? &ldb_mixed : &ldb_reads;
}
