/*
 * Finding and loading plug-ins: build/<family>/<name>.so, in the best variant for this processor.
 */
#ifndef LDB_REGISTRY_H
#define LDB_REGISTRY_H

#include <limits.h>
#include <stdint.h>

#include "ldb/index.h"

#define LDB_MAX_PARAMS 16

/* A competitor: an index with a value for each of its parameters. */
typedef struct {
	const ldb_index *index;
	double params[LDB_MAX_PARAMS];
	char label[128];       /* name in the CSV: the index's, or name@path for a second build */
	char params_text[256]; /* "leaves=0;root=auto": all of them, as the CSV has it */
	char path[PATH_MAX];   /* the shared object */
	uint64_t code_hash;    /* XXH3-64 of it: part of what defines a cell */
} ldb_competitor;

/*
 * Opens "name", "name:param=value:param=value" or "./path.so[:param=value..]". The shared object
 * stays loaded. Errors: unknown name or parameter (with the nearest known one), a value outside its
 * limits, not a plug-in, missing symbols, another ABI version.
 */
ldb_status ldb_competitor_open(const char *spec, ldb_competitor *out, ldb_error *err);

/* XXH3-64 of the running driver: part of what defines a cell. */
uint64_t ldb_driver_hash(void);

/* Names of the plug-ins of a family ("indexes", "sorts", "joins"), sorted; free with
 * ldb_names_free. *count = 0 and NULL when there are none. */
char **ldb_plugin_names(const char *family, size_t *count);
void ldb_names_free(char **names, size_t count);

/* The level whose plug-ins are loaded: "v4" (AVX-512), "v3" (AVX2), "" (baseline). $LDB_ISA lowers
 * it: v2, v3 or v4. */
const char *ldb_isa_level(void);

#endif
