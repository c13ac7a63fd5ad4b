/*
 * pdqsort of Boost.Sort: quicksort without branches on comparisons, that sees patterns in its
 * input. Keys use the branchless variant, which Boost chooses for numbers compared by std::less.
 */
#include <boost/sort/pdqsort/pdqsort.hpp>

#include "ldb/sort_cxx.h"

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t, const double *, ldb_error *)
{
	boost::sort::pdqsort(keys, keys + n);
	return LDB_OK;
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t, const double *, ldb_error *)
{
	boost::sort::pdqsort_branchless(pairs, pairs + n, ldb_pair_less());
	return LDB_OK;
}

static ldb_sort make_table()
{
	ldb_sort t = ldb_sort_table_of("pdqsort", "pattern-defeating quicksort, branchless",
				       "Boost.Sort; Peters, arXiv 2021");
	t.sort_keys = sort_keys;
	t.sort_pairs = sort_pairs;
	return t;
}

static const ldb_sort table = make_table();

LDB_EXPORT_SORT(table)
