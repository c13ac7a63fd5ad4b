/*
 * The interface of an access path for TPC-H's Q6: one header, one table of functions.
 *
 *   SELECT sum(l_extendedprice * l_discount) FROM lineitem
 *   WHERE l_shipdate >= from AND l_shipdate < to
 *     AND l_discount BETWEEN low AND high AND l_quantity < below
 *
 * A path is a shared object that exports `ldb_q6_table` (see LDB_EXPORT_Q6). It gets the table's
 * columns in the order of rows, which it may borrow until destroy, and queries like those to come.
 * It is asked with parameters that it has not seen, and must answer any of them exactly: columns
 * and parameters are integers (docs/tpch.md), and so is the sum.
 */
#ifndef LDB_Q6_H
#define LDB_Q6_H

#include "ldb/index.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LDB_Q6_ABI 2

/* Rows with from <= shipdate < to, low <= discount <= high and quantity < below: none where a range
 * is empty. */
typedef struct {
	uint16_t from, to;
	uint8_t low, high;
	uint16_t below;
} ldb_q6_query;

typedef struct {
	size_t n;                 /* below 2^32 */
	const uint16_t *shipdate; /* days */
	const uint8_t *discount;  /* hundredths */
	const uint16_t *quantity; /* hundredths */
	const uint32_t *price;    /* cents */
	const ldb_q6_query *sample;
	size_t sample_count;
	const char *folder; /* that the columns come from */
} ldb_q6_input;

typedef struct {
	uint32_t abi;      /* LDB_Q6_ABI: must stay the first field */
	uint32_t key_bits; /* LDB_KEY_BITS: must stay the second field */
	const char *name;
	const char *summary; /* one line */
	const char *origin;  /* authors, title or venue, year */
	uint32_t flags;
	const ldb_param *params;   /* ends with a NULL name; NULL: no parameters */
	double peak_bytes_per_key; /* memory that build takes at its peak, for each row */

	/* On LDB_OK *self is set; else nothing is held and *err says why. */
	ldb_status (*build)(void **self, const ldb_q6_input *input, const double *params,
			    ldb_error *err);
	void (*destroy)(void *self);
	/* Bytes held, borrowed columns not included. NULL: outside this process, not known. */
	size_t (*bytes)(const void *self);
	/* What it chose by the look of data and sample. NULL where there is nothing to tell. */
	void (*info)(const void *self, ldb_index_info *out);
	/* revenue[i] = the sum for q[i], in cents times hundredths (mod 2^64). */
	void (*answer)(const void *self, const ldb_q6_query *q, size_t n, uint64_t *revenue);
} ldb_q6;

#define LDB_EXPORT_Q6(table) LDB_EXPORT_TABLE(ldb_q6, ldb_q6_table, table)

#ifdef __cplusplus
}
#endif
#endif
