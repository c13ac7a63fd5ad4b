/*
 * The last mile: the search for q in the window of the sorted keys that a model has left over, for
 * one query, and for a group of queries at once so that their cache misses overlap (group
 * prefetching after Chen, Ailamaki, Gibbons, Mowry: "Improving Hash Join Performance through
 * Prefetching", 2004; here for binary search).
 *
 * A window [lo, hi] says that the rank of the first key >= q is at least lo and at most hi <= n.
 */
#ifndef LDB_WINDOW_H
#define LDB_WINDOW_H

#include "ldb/simd.h"

/* How many queries lookup_batch takes through its stages together. */
#define LDB_GROUP 32

/*
 * The end of the search, once at most 16 keys are left. It counts in the 8 or 16 keys from lo on
 * (moved down where the array ends): keys of the window and then keys that are >= q anyway, or,
 * where it moved, keys before lo, which are < q and so counted as they should be. No branch depends
 * on where in the window q is.
 */
static inline size_t ldb_search_narrow(const ldb_key *keys, size_t n, size_t lo, size_t hi,
				       ldb_key q)
{
	if (n < 16)
		return ldb_lower_bound(keys, n, q);
	if (hi - lo <= 8) {
		size_t from = lo < n - 8 ? lo : n - 8;
		return from + ldb_count_less8(keys + from, q);
	}
	size_t from = lo < n - 16 ? lo : n - 16;
	return from + ldb_count_less8(keys + from, q) + ldb_count_less8(keys + from + 8, q);
}

/* Asks for the cache line of keys[i]; i may lie behind the end, as nothing is read. */
static inline void ldb_prefetch_key(const ldb_key *keys, size_t i)
{
	__builtin_prefetch((const void *)((uintptr_t)keys + i * sizeof *keys));
}

/* ldb_search_window for windows of hundreds of keys: both keys that may be next are prefetched, so
 * that the miss of a step overlaps with the next one's. */
static inline size_t ldb_search_wide(const ldb_key *keys, size_t n, size_t lo, size_t hi, ldb_key q)
{
	const ldb_key *base = keys + lo;
	size_t length = hi - lo;
	while (length > 16) {
		const size_t half = length / 2, next = (length - half) / 2; /* next >= 4 */
		__builtin_prefetch(base + next - 1);
		__builtin_prefetch(base + half + next - 1);
		/* The mask, unlike `?:`, can't be turned into a branch. */
		base += half & (0 - (size_t)(base[half - 1] < q));
		length -= half;
	}
	lo = (size_t)(base - keys);
	return ldb_search_narrow(keys, n, lo, lo + length, q);
}

/* Rank of the first key >= q in keys[0..n), known to be in [lo, hi]. */
static inline size_t ldb_search_window(const ldb_key *keys, size_t n, size_t lo, size_t hi,
				       ldb_key q)
{
	size_t length = hi - lo;
	while (length > 16) {
		size_t half = length / 2;
		lo += keys[lo + half - 1] < q ? half : 0;
		length -= half;
	}
	return ldb_search_narrow(keys, n, lo, lo + length, q);
}

/* Fetches what the search will read first: the whole of a narrow window, the middle of a wide one.
 */
static inline void ldb_prefetch_window(const ldb_key *keys, size_t lo, size_t hi)
{
	size_t length = hi - lo;
	if (length > 16) {
		ldb_prefetch_key(keys, lo + length / 2 - 1);
		return;
	}
	ldb_prefetch_key(keys, lo);
	ldb_prefetch_key(keys, lo + 7);
	if (length > 8)
		ldb_prefetch_key(keys, lo + 15);
}

/*
 * ldb_search_window for `count` <= LDB_GROUP queries whose windows have been prefetched. Wide
 * windows are halved in rounds, one step for each per round. lo and hi are overwritten;
 * out[i] = rank, or LDB_NONE where it is n.
 */
static inline void ldb_search_windows(const ldb_key *keys, size_t n, const ldb_key *q, size_t *lo,
				      size_t *hi, size_t count, ldb_val *out)
{
	unsigned char wide[LDB_GROUP + 1];
	size_t wides = 0;
	for (size_t i = 0; i < count; i++) {
		wide[wides] = (unsigned char)i;
		wides += hi[i] - lo[i] > 16;
	}
	while (wides) {
		size_t left = 0;
		for (size_t w = 0; w < wides; w++) {
			const size_t i = wide[w], half = (hi[i] - lo[i]) / 2;
			const int right = keys[lo[i] + half - 1] < q[i];
			hi[i] = right ? hi[i] : lo[i] + half - 1;
			lo[i] = right ? lo[i] + half : lo[i];
			ldb_prefetch_window(keys, lo[i], hi[i]);
			wide[left] = (unsigned char)i;
			left += hi[i] - lo[i] > 16;
		}
		wides = left;
	}
	for (size_t i = 0; i < count; i++) {
		size_t rank = ldb_search_narrow(keys, n, lo[i], hi[i], q[i]);
		out[i] = rank < n ? rank : LDB_NONE;
	}
}

#endif
