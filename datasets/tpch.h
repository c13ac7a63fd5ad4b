/*
 * TPC-H's columns by name: tpch:TABLE.COLUMN@SF, and the columns that scripts/tpch made.
 *
 * A column file holds a u64 count, then that many little-endian unsigned integers in the order of
 * the table's rows. The integers keep the order of what they stand for (docs/tpch.md); the file's
 * suffix is their width.
 */
#ifndef DATASETS_TPCH_H
#define DATASETS_TPCH_H

#include "ldb/index.h"
#include "memory.h"

typedef struct {
	char table[32], column[64], scale[17];
} tpch_name;

/* Takes tpch:TABLE.COLUMN@SF apart; table and column in lower case, the table one of TPC-H's. */
ldb_status tpch_parse(const char *spec, tpch_name *out, ldb_error *err);

typedef struct {
	void *values; /* in an ldb_map of mapped_bytes; NULL when n is 0 */
	size_t n, mapped_bytes;
	unsigned width; /* bytes of a value: 1, 2, 4 or 8 */
} ldb_column;

/* Loads the column in the order of the table's rows. LDB_IO, with the command that makes it, when
 * it isn't there. */
ldb_status ldb_column_load(const char *spec, ldb_pages pages, ldb_column *out, ldb_error *err);
void ldb_column_free(ldb_column *column);

/* keys[i] = the ith value of [first, first + count). */
void ldb_column_keys(const ldb_column *column, size_t first, size_t count, ldb_key *keys);

#endif
