/*
 * The catalog of datasets as it stands in datasets/catalog.ini: one section per dataset.
 *
 * Everything is checked when the file is read: an unknown or missing key, or a value of the wrong
 * form, is an error that names the line. The rest of datasets/ need not ask again.
 */
#ifndef DATASETS_CATALOG_H
#define DATASETS_CATALOG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataset.h"

enum {
	KEY_KIND,
	KEY_ABOUT,
	KEY_SOURCE,
	KEY_LICENCE,
	KEY_GENERATOR,
	KEY_N,
	KEY_PATH,
	KEY_CHECKSUM,
	KEY_MD5,
	KEY_FETCH,
	KEY_ALSO,
	CATALOG_KEYS
};

typedef struct {
	char *name;
	char *text[CATALOG_KEYS]; /* as written; NULL: not given */
	int line[CATALOG_KEYS];   /* where */
	bool generated;
	size_t n; /* generated: default size; file: keys in it, 0: not said */
	bool has_checksum;
	uint64_t checksum; /* XXH3-64 of all keys of the file, as 64-bit numbers */
} catalog_item;

typedef struct {
	catalog_item *items;
	ldb_catalog_entry *entries; /* what ldb_catalog gives; entries[i] points into items[i] */
	size_t count;
} catalog;

/* Reads a catalog; on LDB_OK the caller frees it with catalog_free. */
ldb_status catalog_read(const char *path, catalog *out, ldb_error *err);
/* The same from text[0..length), which `path` is named for in errors. */
ldb_status catalog_parse(const char *path, const char *text, size_t length, catalog *out,
			 ldb_error *err);
void catalog_free(catalog *c);

/* The project's own catalog, read once; it stays the library's. */
ldb_status catalog_get(const catalog **out, ldb_error *err);
/* The item of that name, or that is also called so; NULL when there is none. */
const catalog_item *catalog_find(const catalog *c, const char *name);

/* The path of a file below data/: "data/coast_uint64" is in $LDB_DATA where that is set, else in
 * the project's folder data. False when the path is too long. */
bool catalog_data_path(const char *path, char out[PATH_MAX]);

#endif
