/*
 * A right and plain updatable index, a sorted array, for the tests' liars to spoil: each spoils one
 * operation, and the harness must notice it.
 */
#ifndef MAP_H
#define MAP_H

#include <stdbool.h>
#include <string.h>

#include "ldb/index.h"
#include "ldb/loops.h"

typedef struct {
	ldb_op *entry; /* key and value */
	size_t n, room;
} map;

static inline size_t map_rank(const map *self, ldb_key q)
{
	size_t lo = 0, hi = self->n;
	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		if (self->entry[mid].key < q)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static inline ldb_val map_find(const map *self, ldb_key q)
{
	const size_t rank = map_rank(self, q);
	return rank < self->n ? self->entry[rank].value : LDB_NONE;
}

LDB_INDEX_LOOPS(map, map_find)

static inline bool map_grow(map *self)
{
	if (self->n < self->room)
		return true;
	const size_t room = 2 * self->room + 64;
	ldb_op *entry = (ldb_op *)ldb_alloc(room * sizeof *entry);
	if (!entry)
		return false;
	if (self->n)
		memcpy(entry, self->entry, self->n * sizeof *entry);
	ldb_free(self->entry, self->room * sizeof *entry);
	self->entry = entry;
	self->room = room;
	return true;
}

static inline bool map_put(map *self, ldb_key key, ldb_val value)
{
	const size_t rank = map_rank(self, key);
	if (rank < self->n && self->entry[rank].key == key) {
		self->entry[rank].value = value;
		return true;
	}
	if (!map_grow(self))
		return false;
	memmove(self->entry + rank + 1, self->entry + rank, (self->n - rank) * sizeof *self->entry);
	self->entry[rank] = (ldb_op){.key = key, .value = value};
	self->n++;
	return true;
}

static inline void map_delete(map *self, ldb_key key)
{
	const size_t rank = map_rank(self, key);
	if (rank == self->n || self->entry[rank].key != key)
		return;
	self->n--;
	memmove(self->entry + rank, self->entry + rank + 1, (self->n - rank) * sizeof *self->entry);
}

static inline ldb_val map_get(const map *self, ldb_key key)
{
	const size_t rank = map_rank(self, key);
	return rank < self->n && self->entry[rank].key == key ? self->entry[rank].value : LDB_NONE;
}

static inline ldb_val map_scan(const map *self, ldb_key key, size_t length)
{
	ldb_val sum = 0;
	for (size_t r = map_rank(self, key); r < self->n && length; r++, length--)
		sum += self->entry[r].value;
	return sum;
}

static inline size_t map_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out,
			       ldb_error *err)
{
	map *index = (map *)self;
	for (size_t i = 0; i < n; i++) {
		out[i] = 0;
		if (ops[i].kind == LDB_GET)
			out[i] = map_get(index, ops[i].key);
		else if (ops[i].kind == LDB_SCAN)
			out[i] = map_scan(index, ops[i].key, ops[i].length);
		else if (ops[i].kind == LDB_DELETE)
			map_delete(index, ops[i].key);
		else if (!map_put(index, ops[i].key, ops[i].value)) {
			ldb_fail_oom(err, "map", index->room * 2 * sizeof(ldb_op));
			return i;
		}
	}
	return n;
}

static inline void map_destroy(void *self)
{
	map *index = (map *)self;
	ldb_free(index->entry, index->room * sizeof *index->entry);
	ldb_free(index, sizeof *index);
}

static inline ldb_status map_build(void **self, const ldb_key *keys, size_t n, const double *params,
				   ldb_error *err)
{
	(void)params;
	map *index = (map *)ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "map", sizeof *index);
	memset(index, 0, sizeof *index);
	for (size_t i = 0; i < n; i++) {
		if (map_put(index, keys[i], i))
			continue;
		map_destroy(index);
		return ldb_fail_oom(err, "map", n * sizeof(ldb_op));
	}
	*self = index;
	return LDB_OK;
}

static inline size_t map_bytes(const void *self)
{
	const map *index = (const map *)self;
	return sizeof *index + index->room * sizeof *index->entry;
}

static inline ldb_status map_validate(const void *self, ldb_error *err)
{
	const map *index = (const map *)self;
	for (size_t i = 1; i < index->n; i++)
		if (index->entry[i - 1].key >= index->entry[i].key)
			return ldb_fail(err, LDB_INVALID, "none", "map", "order at %zu", i);
	return LDB_OK;
}

/* The honest fields but apply and name, which a liar adds. */
#define MAP_REST                                                                                   \
	.abi = LDB_INDEX_ABI, .key_bits = LDB_KEY_BITS, .summary = "planted fault",                \
	.flags = LDB_ORDERED | LDB_THREADS, .peak_bytes_per_key = 72, .build = map_build,          \
	.destroy = map_destroy, .bytes = map_bytes, .validate = map_validate,                      \
	.lookup = map_lookup, .chase = map_chase

#endif
