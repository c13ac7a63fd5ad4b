/* What is known of this machine and build: for run.json and `ldbench machine`. */
#ifndef LDB_MACHINE_H
#define LDB_MACHINE_H

#include <jansson.h>

/* CPU, caches, cores, NUMA nodes, memory, kernel, pages, governor, clock, counters, compiler and
 * source revision. New reference; unknown things are null. NULL when out of memory. */
json_t *ldb_machine_json(void);

/* Short name for folders: "amd-epyc-2c". Returns buf. */
const char *ldb_machine_slug(char buf[64]);

/* NUMA nodes with memory; 1 where there is no NUMA. */
int ldb_numa_nodes(void);

/* Where memory of this process and of those it forks comes from: "local", "interleave" or a node's
 * number (below ldb_numa_nodes()). */
void ldb_numa_place(const char *where);

/* Bytes that may still be taken: by the machine's count and by those of the cgroups this process is
 * in (v2); page cache that can be dropped counts as free. */
size_t ldb_free_memory(void);

/* Bytes of the last-level cache; 0: not known. */
size_t ldb_last_cache_bytes(void);

/* CPUs this process may use. */
long ldb_cpu_count(void);

#endif
