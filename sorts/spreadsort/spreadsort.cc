/* spreadsort of Boost.Sort: a radix sort from the top bits that ends in comparisons. */
#include <boost/sort/spreadsort/integer_sort.hpp>

#include "ldb/sort_cxx.h"

/* The bits of a pair's key above the lowest `bits`. */
struct pair_shift {
	ldb_key operator()(const ldb_pair &pair, unsigned bits) const
	{
		return pair.key >> bits;
	}
};

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t, const double *, ldb_error *err)
{
	return ldb_sort_guarded(
		"spreadsort", [=] { boost::sort::spreadsort::integer_sort(keys, keys + n); }, err);
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t, const double *, ldb_error *err)
{
	return ldb_sort_guarded(
		"spreadsort",
		[=] {
			boost::sort::spreadsort::integer_sort(pairs, pairs + n, pair_shift(),
							      ldb_pair_less());
		},
		err);
}

static ldb_sort make_table()
{
	ldb_sort t = ldb_sort_table_of("spreadsort", "radix from the top, then comparisons",
				       "Boost.Sort; Ross, 2002");
	t.peak_bytes_per_key = 0.1;
	t.sort_keys = sort_keys;
	t.sort_pairs = sort_pairs;
	return t;
}

static const ldb_sort table = make_table();

LDB_EXPORT_SORT(table)
