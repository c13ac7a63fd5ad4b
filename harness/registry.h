/*
 * Finding and loading plug-ins: build/<family>/<name>.so, in the best variant for this processor.
 */
#ifndef LDB_REGISTRY_H
#define LDB_REGISTRY_H

#include <limits.h>
#include <stdint.h>

#include "ldb/index.h"
#include "ldb/join.h"
#include "ldb/q6.h"
#include "ldb/sort.h"

#define LDB_MAX_PARAMS 16

typedef enum { LDB_INDEX, LDB_SORT, LDB_JOIN, LDB_Q6, LDB_FAMILIES } ldb_family;
/* "index", "sort", "join", "q6": as in the CSV, and as the setting that names its competitors. */
extern const char *const ldb_family_names[LDB_FAMILIES];

/* A competitor: a plug-in with a value for each of its parameters. */
typedef struct {
	ldb_family family;
	/* What its table says, whatever the family. */
	const char *name, *summary, *origin;
	uint32_t flags, key_bits; /* 64, or 32: what its functions are handed is of that width */
	const ldb_param *param_table; /* may be NULL */
	double peak_bytes_per_key;
	/* The table itself: one of them, by family. */
	union {
		const ldb_index *index;
		const ldb_sort *sort;
		const ldb_join *join;
		const ldb_q6 *q6;
	};
	double params[LDB_MAX_PARAMS];
	char label[128];       /* name in the CSV: its own, or name@path for a second build */
	char params_text[256]; /* "leaves=0;root=auto": all of them, as the CSV has it */
	bool named_by_path;
	char path[PATH_MAX]; /* the shared object */
	uint64_t code_hash;  /* XXH3-64 of it: part of what defines a cell */
	/* A join's own plug-ins, named by its parameters `index` and `sort`; NULL: it has none. */
	const ldb_index *used_index;
	const ldb_sort *used_sort;
	double used_params[LDB_FAMILIES][LDB_MAX_PARAMS]; /* [LDB_INDEX], [LDB_SORT]: theirs */
} ldb_competitor;

/*
 * Opens "name", "name:param=value:param=value" or "./path.so[:param=value..]", for keys of 64 bits.
 * The shared object stays loaded. Errors: unknown name or parameter (with the nearest known one), a
 * value outside its limits, not a plug-in of that family, missing symbols, another ABI version.
 */
ldb_status ldb_competitor_open(ldb_family family, const char *spec, ldb_competitor *out,
			       ldb_error *err);
/* The same for keys of 64 or 32 bits: by name from that set; 0: of a path, what it was built for.
 */
ldb_status ldb_competitor_open_for(uint32_t key_bits, ldb_family family, const char *spec,
				   ldb_competitor *out, ldb_error *err);

/* XXH3-64 of the running driver: part of what defines a cell. */
uint64_t ldb_driver_hash(void);

/* Names of the plug-ins of a family, sorted; free with ldb_names_free. *count = 0 and NULL when
 * there are none. */
char **ldb_plugin_names(ldb_family family, size_t *count);
void ldb_names_free(char **names, size_t count);

/* The level whose plug-ins are loaded: "v4" (AVX-512), "v3" (AVX2), "" (baseline). $LDB_ISA lowers
 * it: v2, v3 or v4. */
const char *ldb_isa_level(void);

#endif
