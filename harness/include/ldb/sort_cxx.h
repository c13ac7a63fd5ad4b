/*
 * Adapters to sorts of C++ libraries: from the interface's C functions to templates that sort a
 * range, with no exception crossing into C.
 */
#ifndef LDB_SORT_CXX_H
#define LDB_SORT_CXX_H

#include <exception>
#include <new>

#include "ldb/sort.h"

/* The order of pairs. */
struct ldb_pair_less {
	bool operator()(const ldb_pair &a, const ldb_pair &b) const
	{
		return a.key < b.key;
	}
};

/* Runs a sort that may throw. It leaves its elements in some order when it does. */
template <typename Sort> ldb_status ldb_sort_guarded(const char *name, Sort sort, ldb_error *err)
{
	try {
		sort();
		return LDB_OK;
	} catch (const std::bad_alloc &) {
		return ldb_fail(err, LDB_OOM, "give it more memory", name, "memory was refused");
	} catch (const std::exception &e) {
		return ldb_fail(err, LDB_INVALID, "report it with the keys", name, "%s", e.what());
	}
}

/* A table with what all of them have. */
inline ldb_sort ldb_sort_table_of(const char *name, const char *summary, const char *origin)
{
	ldb_sort t = {};
	t.abi = LDB_SORT_ABI;
	t.key_bits = LDB_KEY_BITS;
	t.name = name;
	t.summary = summary;
	t.origin = origin;
	return t;
}

#endif
