/*
 * What plug-ins of every family (indexes, sorts, joins, paths of Q6) have in common: keys and
 * values, flags, parameters.
 *
 * A plug-in is a shared object that exports one const table. Each table begins with the same
 * fields: abi, key_bits, name, summary, origin, flags, params, peak_bytes_per_key.
 *
 * SIMD: on x86-64 each plug-in is compiled for x86-64-v2, -v3 (AVX2) and -v4 (AVX-512), and the
 * best one the processor can run is loaded. Code says `#ifdef __AVX512F__`, the plain branch is the
 * scalar twin, and ldb/simd.h has the common kernels.
 */
#ifndef LDB_PLUGIN_H
#define LDB_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include "ldb/alloc.h"
#include "ldb/status.h"

/*
 * Keys are unsigned integers of 64 bits, or of 32 in a plug-in that is compiled with
 * -DLDB_KEY_BITS=32 (`make bits32`). The driver itself has 64 and hands each what it takes.
 */
#ifndef LDB_KEY_BITS
#define LDB_KEY_BITS 64
#endif
#if LDB_KEY_BITS == 64
typedef uint64_t ldb_key;
#define LDB_KEY_MAX UINT64_MAX
#elif LDB_KEY_BITS == 32
typedef uint32_t ldb_key;
#define LDB_KEY_MAX UINT32_MAX
#else
#error "LDB_KEY_BITS is 64 or 32"
#endif
typedef uint64_t ldb_val;
#define LDB_NONE UINT64_MAX

/* Keys in a cache line: 8, or 16. */
enum { LDB_LINE_KEYS = 64 / (LDB_KEY_BITS / 8) };

enum {
	LDB_ORDERED = 1u << 0,        /* index: answers lower bound (without: get only) */
	LDB_DUPLICATES = 1u << 1,     /* index: takes equal keys; the first one's value is it */
	LDB_LEARNED = 1u << 2,        /* a model of the keys' distribution leads */
	LDB_THREADS = 1u << 3,        /* index: concurrent reads are safe; others: use threads */
	LDB_REFERENCE_ONLY = 1u << 4, /* no competitor: measures the harness itself (null) */
	LDB_CONCURRENT = 1u << 5,     /* index: apply may be called by several threads at once */
	LDB_BACKGROUND = 1u << 6,     /* index: works in threads of its own after apply */
	LDB_STABLE = 1u << 7,         /* sort: equal keys keep their order */
};

/* One parameter. Its values are numbers, or, when `choices` is set, one of the names in it. */
typedef struct {
	const char *name;
	const char *help;
	double def, min, max; /* with choices: def is an index into it; min and max are ignored */
	const char *choices;  /* NULL, or "linear|cubic|radix": the value is 0, 1, 2 */
} ldb_param;

/* Defines the one function that a plug-in exports: the `type` table, by the name `entry`. */
#ifdef __cplusplus
#define LDB_EXPORT_TABLE(type, entry, table)                                                       \
	extern "C" __attribute__((visibility("default"))) const type *entry(void);                 \
	const type *entry(void)                                                                    \
	{                                                                                          \
		return &(table);                                                                   \
	}
#else
#define LDB_EXPORT_TABLE(type, entry, table)                                                       \
	__attribute__((visibility("default"))) const type *entry(void);                            \
	const type *entry(void)                                                                    \
	{                                                                                          \
		return &(table);                                                                   \
	}
#endif

#endif
