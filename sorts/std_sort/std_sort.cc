/* std_sort: what a C++ programmer would call (an introsort in libstdc++: Musser 1997). */
#include <algorithm>

#include "ldb/sort_cxx.h"

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t, const double *, ldb_error *)
{
	std::sort(keys, keys + n);
	return LDB_OK;
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t, const double *, ldb_error *)
{
	std::sort(pairs, pairs + n, ldb_pair_less());
	return LDB_OK;
}

static ldb_sort make_table()
{
	ldb_sort t = ldb_sort_table_of("std_sort", "std::sort of the C++ library",
				       "libstdc++; introsort: Musser, 1997");
	t.sort_keys = sort_keys;
	t.sort_pairs = sort_pairs;
	return t;
}

static const ldb_sort table = make_table();

LDB_EXPORT_SORT(table)
