/*
 * DuckDB as an outside reference: node runs a script of the project in a process of its own, with
 * the npm package that scripts/tpch gets, and both talk by lines.
 */
#ifndef LDB_DUCKDB_H
#define LDB_DUCKDB_H

#include <stdio.h>
#include <sys/types.h>

#include "ldb/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
	pid_t process;
	FILE *to, *from;
} ldb_duckdb;

/*
 * Runs `script`, a path from the project's root, with the packages' folder, the number of threads
 * (0: as many as the machine has) and two more arguments, either may be NULL; on LDB_OK it has said
 * "ready". `who` is the subject of an error.
 */
LDB_API ldb_status ldb_duckdb_start(ldb_duckdb *d, const char *who, const char *script,
				    size_t threads, const char *const more[2], ldb_error *err);
/* Ends what was started, if anything, and waits for that. */
LDB_API void ldb_duckdb_stop(ldb_duckdb *d);

#ifdef __cplusplus
}
#endif
#endif
