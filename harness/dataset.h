/*
 * Datasets: sorted keys in memory, from a generator, a SOSD file, or a file that scripts/fetch
 * made.
 *
 * A dataset SPEC is a name of the catalog (datasets/catalog.ini), a path to a SOSD file (u64 count,
 * then that many sorted little-endian keys; width by the suffix _uint32 or _uint64, or by
 * key_bits), or tpch:TABLE.COLUMN@SF for a column that scripts/tpch made. NAME_uint32, of a name of
 * the catalog, is its keys shifted right until they fit in 32 bits.
 */
#ifndef LDB_DATASET_H
#define LDB_DATASET_H

#include <stdint.h>
#include <stdio.h>

#include "ldb/index.h"
#include "memory.h"

typedef struct {
	ldb_key *keys; /* sorted ascending, n of them, in an ldb_map of mapped_bytes */
	size_t n;
	size_t source_n; /* keys in the file it was sampled from evenly; == n when whole or
			    generated */
	size_t mapped_bytes;
	uint64_t checksum; /* XXH3-64 of the n keys' bytes */
	uint64_t load_ns;
	char name[128];   /* as it stands in the CSV */
	char source[512]; /* the file's path, or "generated, seed 42" */
} ldb_dataset;

typedef struct {
	ldb_pages pages;
	uint64_t seed; /* for generators */
	int key_bits;  /* 0: by suffix; 32 or 64: width of the keys in a file with neither suffix */
} ldb_dataset_options;

/*
 * Loads the dataset with n keys: a generator makes n, of a file it is every (N/n)-th key, exactly
 * keys[floor(i*N/n)]. n == 0 takes the whole file (a generator's default size: 1M).
 * Errors: unknown name (with the nearest), file not yet fetched (with the command), bad file (with
 * offset and what was expected), n larger than the file (with its size), LDB_OOM.
 */
ldb_status ldb_dataset_load(const char *spec, size_t n, const ldb_dataset_options *options,
			    ldb_dataset *out, ldb_error *err);
void ldb_dataset_free(ldb_dataset *dataset);

/* How many keys the spec can give at most: the file's count; SIZE_MAX for a generator.
 * LDB_IO when the file isn't there yet. Reads only the header. */
ldb_status ldb_dataset_size(const char *spec, const ldb_dataset_options *options, size_t *n,
			    ldb_error *err);

/* Changes when the keys that the spec stands for may have: a hash of the file's path, size and time
 * of change, or of the generator's name. 0 when there is no such dataset. */
uint64_t ldb_dataset_stamp(const char *spec, const ldb_dataset_options *options);

/* Writes n keys as a SOSD file of 64-bit keys (32: when key_bits is 32 and they fit). The file
 * appears whole or not at all. */
ldb_status ldb_dataset_write(const char *path, const ldb_key *keys, size_t n, int key_bits,
			     ldb_error *err);

/* Facts about keys: what `ldbench inspect` prints. */
typedef struct {
	size_t n, distinct, longest_run; /* longest run of equal keys */
	ldb_key min, max;
	double gap_mean, gap_log2_sd; /* over gaps between distinct neighbours */
	ldb_key gap_min, gap_median, gap_max;
	/* PLA segments: local and global hardness (GRE); 0 when there was no memory to find them */
	size_t segments_eps32, segments_eps4096;
	double outlier_share; /* share of the key range that the outermost 0.1 % of keys span */
} ldb_dataset_facts;
void ldb_dataset_inspect(const ldb_key *keys, size_t n, ldb_dataset_facts *out);

/* The catalog, in file order, for `list datasets` and for "did you mean". */
typedef struct {
	const char *name, *kind, *about, *source, *licence;
	const char *fetch; /* NULL, or the command that gets it: "scripts/fetch coast" */
	size_t n;          /* keys in the file; 0 for a generator: any */
	int available;     /* generators, and files that are there */
} ldb_catalog_entry;
/* Reads the catalog once; *count entries, owned by the library. NULL and *err on a broken catalog.
 */
const ldb_catalog_entry *ldb_catalog(size_t *count, ldb_error *err);

/*
 * A generator fills keys[0..n) sorted, the same for the same seed on every machine: integer
 * arithmetic, + - * / and sqrt only (datasets/detmath.h has log and exp made of them).
 */
typedef void (*ldb_generate_fn)(ldb_key *keys, size_t n, uint64_t seed);
typedef struct {
	const char *name;
	ldb_generate_fn generate;
} ldb_generator;
/* All generators (datasets/generators.c); ends with a NULL name. */
extern const ldb_generator ldb_generators[];

#endif
