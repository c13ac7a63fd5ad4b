/*
 * tbb_sort: parallel_sort of oneAPI Threading Building Blocks, a parallel quicksort whose parts are
 * sorted by std::sort. Its threads belong to an arena that lives as long as the call.
 */
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_sort.h>
#include <oneapi/tbb/task_arena.h>

#include "ldb/sort_cxx.h"

template <typename Element, typename Less>
static ldb_status sort(Element *elements, size_t n, size_t threads, Less less, ldb_error *err)
{
	return ldb_sort_guarded(
		"tbb_sort",
		[=] {
			/* More threads than processors only when it is told so. */
			tbb::global_control most(tbb::global_control::max_allowed_parallelism,
						 threads);
			tbb::task_arena arena(static_cast<int>(threads));
			arena.execute([=] { tbb::parallel_sort(elements, elements + n, less); });
		},
		err);
}

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t threads, const double *, ldb_error *err)
{
	return sort(keys, n, threads, std::less<ldb_key>(), err);
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t threads, const double *,
			     ldb_error *err)
{
	return sort(pairs, n, threads, ldb_pair_less(), err);
}

static ldb_sort make_table()
{
	ldb_sort t = ldb_sort_table_of("tbb_sort", "tbb::parallel_sort, a parallel quicksort",
				       "oneAPI Threading Building Blocks");
	t.flags = LDB_THREADS;
	t.sort_keys = sort_keys;
	t.sort_pairs = sort_pairs;
	return t;
}

static const ldb_sort table = make_table();

LDB_EXPORT_SORT(table)
