/*
 * vqsort of the Highway library: quicksort whose partition and last steps are SIMD code. It chooses
 * its instruction set by itself, whatever level this adapter is compiled for.
 *
 * It sorts pairs as numbers of 128 bits of which only the upper half, the key, counts; so the
 * halves change places before and after. Version 1.0.3 pads with the greatest key, and may exchange
 * a pair that has it for its padding: such pairs are kept out, behind the others.
 */
#include <algorithm>

#include <hwy/contrib/sort/vqsort.h>

#include "ldb/sort_cxx.h"

/* A Sorter has a few KiB that come from the library's own allocator: one for each thread. */
static hwy::Sorter &sorter()
{
	static thread_local hwy::Sorter kept;
	return kept;
}

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t, const double *, ldb_error *)
{
	sorter()(keys, n, hwy::SortAscending());
	return LDB_OK;
}

static void swap_halves(ldb_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = pairs[i].key;
		pairs[i].key = pairs[i].value;
		pairs[i].value = key;
	}
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t, const double *, ldb_error *)
{
	ldb_pair *end = std::partition(pairs, pairs + n,
				       [](const ldb_pair &p) { return p.key != LDB_KEY_MAX; });
	n = static_cast<size_t>(end - pairs);
	swap_halves(pairs, n);
	sorter()(reinterpret_cast<hwy::K64V64 *>(pairs), n, hwy::SortAscending());
	swap_halves(pairs, n);
	return LDB_OK;
}

static ldb_sort make_table()
{
	ldb_sort t = ldb_sort_table_of("vqsort", "quicksort with SIMD partition and networks",
				       "Highway 1.0.3; Blacher, Giesen, Sanders, Wassenberg 2022");
	t.sort_keys = sort_keys;
	t.sort_pairs = sort_pairs;
	return t;
}

static const ldb_sort table = make_table();

LDB_EXPORT_SORT(table)
