/*
 * samples.csv: one row per repetition, appended whole and synced, so that nothing measured is lost.
 * A number that is not available is NAN here and an empty field there, never 0.
 */
#ifndef LDB_SAMPLES_H
#define LDB_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ldb/status.h"

typedef enum {
	LDB_ROW_OK,
	LDB_ROW_UNSUPPORTED,
	LDB_ROW_WRONG,
	LDB_ROW_CRASHED,
	LDB_ROW_TIMEOUT,
	LDB_ROW_OOM,
	LDB_ROW_ERROR,
} ldb_row_status;
const char *ldb_row_status_name(ldb_row_status status);

enum { LDB_COUNTERS = 9 }; /* the last nine columns, in their order */
extern const char *const ldb_counter_names[LDB_COUNTERS];

typedef struct {
	const char *experiment, *family, *name, *params, *dataset, *workload, *mode, *pages;
	size_t n, key_bits, threads, payload_bytes;
	size_t rep; /* from 1 */
	double ops, elapsed_ns, ns_per_op, build_ns, tune_ns, index_bytes, peak_rss_bytes;
	double p50_ns, p99_ns, p999_ns, max_ns; /* latency of sampled operations */
	double err_log2_mean, err_max;
	uint64_t checksum;
	bool has_checksum;
	ldb_row_status status;
	const char *note;
	double counters[LDB_COUNTERS]; /* per operation */
} ldb_row;

/* `text` as a field of a CSV line, quoted where need be, cut at `size`; returns out. */
char *ldb_csv_field(const char *text, char *out, size_t size);

/* A row with every number not available. */
ldb_row ldb_row_empty(void);

typedef struct {
	int fd;
	char path[4096];
} ldb_samples;

/* Opens DIR/samples.csv for appending, with its header when new. */
ldb_status ldb_samples_open(const char *dir, ldb_samples *out, ldb_error *err);
ldb_status ldb_samples_append(ldb_samples *s, const ldb_row *row, ldb_error *err);
void ldb_samples_close(ldb_samples *s);

/*
 * A row as read back: fields by column name, quotes undone. The pointers live until the next row.
 * ldb_samples_read calls `use` for every whole row; a last line cut by a kill is left out.
 */
typedef struct {
	char *fields[48];
	size_t count;
	char **columns;
	size_t column_count;
	const char *line; /* as in the file, without its newline */
} ldb_read_row;
const char *ldb_field(const ldb_read_row *row, const char *column); /* "" when there is none */
/* The value of `key` in a note "a=1; b=2" into buf; false when there is none. */
bool ldb_note_get(const char *note, const char *key, char *buf, size_t size);
ldb_status ldb_samples_read(const char *dir, void (*use)(void *, const ldb_read_row *), void *user,
			    ldb_error *err);

/* Keeps the rows for which keep() says so; the others move to DIR/superseded.csv. */
ldb_status ldb_samples_retain(const char *dir, bool (*keep)(void *, const ldb_read_row *),
			      void *user, ldb_error *err);

#endif
