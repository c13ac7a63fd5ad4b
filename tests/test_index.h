/*
 * Shared by the tests of indexes: finding and loading plug-ins, key sets that are hard on indexes,
 * the oracle, and memory with a guard page on either side.
 *
 * The plug-ins come from $LDB_TEST_PLUGINS (folders, files or glob patterns, separated by colons),
 * else from the folder `indexes` (with keys of 32 bits `indexes32`) of the build that the test
 * binary lies in.
 */
#ifndef LDB_TEST_INDEX_H
#define LDB_TEST_INDEX_H

#include <dlfcn.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ldb/index.h"
#include "rng.h"

/* --- plug-ins --------------------------------------------------------------------------------- */

typedef struct {
	char path[512];
	char label[64];         /* file name without .so: "btree.v3" */
	const ldb_index *index; /* NULL: see problem */
	bool unsupported;       /* the processor can't run this level */
	char problem[512];
} test_plugin;

/* Can this processor run code of the level in the file's name (x.v3.so, x.v4.so, x.so)? */
static inline bool test_level_supported(const char *path)
{
#if defined(__x86_64__)
	if (strstr(path, ".v3.so"))
		return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
	if (strstr(path, ".v4.so"))
		return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		       __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
		       __builtin_cpu_supports("avx512vl");
	return true;
#else
	return !strstr(path, ".v3.so") && !strstr(path, ".v4.so");
#endif
}

static inline void test_plugin_open(test_plugin *plugin, const char *path)
{
	memset(plugin, 0, sizeof *plugin);
	snprintf(plugin->path, sizeof plugin->path, "%s", path);
	const char *name = strrchr(path, '/');
	snprintf(plugin->label, sizeof plugin->label, "%s", name ? name + 1 : path);
	char *suffix = strstr(plugin->label, ".so");
	if (suffix)
		*suffix = '\0';
	if (!test_level_supported(path)) {
		plugin->unsupported = true;
		return;
	}
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		snprintf(plugin->problem, sizeof plugin->problem, "%s", dlerror());
		return;
	}
	const ldb_index *(*get_table)(void);
	*(void **)&get_table = dlsym(handle, "ldb_index_table");
	if (!get_table) {
		snprintf(plugin->problem, sizeof plugin->problem, "%s has no ldb_index_table",
			 path);
		return;
	}
	const ldb_index *index = get_table();
	if (index->abi != LDB_INDEX_ABI || index->key_bits != LDB_KEY_BITS)
		snprintf(plugin->problem, sizeof plugin->problem,
			 "%s: ABI %u and %u-bit keys where %d and %d are needed", path, index->abi,
			 index->key_bits, LDB_INDEX_ABI, LDB_KEY_BITS);
	else
		plugin->index = index;
}

/* Loads all plug-ins that are found; *count of them, to be freed by the caller. */
static inline test_plugin *test_plugins(size_t *count)
{
	char patterns[4096];
	const char *given = getenv("LDB_TEST_PLUGINS");
	if (given) {
		snprintf(patterns, sizeof patterns, "%s", given);
	} else {
		char exe[2048];
		ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
		exe[length > 0 ? length : 0] = '\0';
		char *slash = strrchr(exe, '/');
		if (slash)
			*slash = '\0';
		snprintf(patterns, sizeof patterns, "%s/../indexes%s", exe,
			 LDB_KEY_BITS == 32 ? "32" : "");
	}
	glob_t found = {0};
	for (char *rest = patterns, *one; (one = strsep(&rest, ":"));) {
		char pattern[4200];
		struct stat st;
		bool folder = stat(one, &st) == 0 && S_ISDIR(st.st_mode);
		snprintf(pattern, sizeof pattern, folder ? "%s/*.so" : "%s", one);
		glob(pattern, found.gl_pathc ? GLOB_APPEND : 0, NULL, &found);
	}
	test_plugin *plugins = calloc(found.gl_pathc + 1, sizeof *plugins);
	for (size_t i = 0; plugins && i < found.gl_pathc; i++)
		test_plugin_open(&plugins[i], found.gl_pathv[i]);
	*count = plugins ? found.gl_pathc : 0;
	globfree(&found);
	return plugins;
}

/* How many names "a|b|c" holds; 0 for NULL. */
static inline int test_choice_count(const char *choices)
{
	int count = choices != NULL;
	for (const char *c = choices; c && *c; c++)
		count += *c == '|';
	return count;
}

static inline size_t test_param_count(const ldb_index *index)
{
	size_t count = 0;
	while (index->params && index->params[count].name)
		count++;
	return count;
}

/* The values worth testing of a parameter: each choice, or smallest, default, a thousand, largest.
 */
static inline int test_value_count(const ldb_param *p)
{
	return p->choices ? test_choice_count(p->choices) : 4;
}

static inline double test_nth_value(const ldb_param *p, int i)
{
	const double thousand = p->max < 1000 ? p->max : p->min > 1000 ? p->min : 1000;
	return p->choices ? i : i == 0 ? p->min : i == 1 ? p->def : i == 2 ? thousand : p->max;
}

/* --- guarded memory --------------------------------------------------------------------------- */

/* `bytes` of memory whose neighbour page, on the side asked for, can't be read. */
typedef struct {
	void *data;
	size_t bytes;
	char *map;
	size_t map_bytes;
} test_guarded;

enum { TEST_GUARD_BEFORE, TEST_GUARD_AFTER };

static inline test_guarded test_guarded_alloc(size_t bytes, int side)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t inner = (bytes + page - 1) / page * page;
	test_guarded g = {.bytes = bytes, .map_bytes = inner + 2 * page};
	g.map = mmap(NULL, g.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g.map == MAP_FAILED ||
	    (inner && mprotect(g.map + page, inner, PROT_READ | PROT_WRITE))) {
		perror("guarded memory");
		exit(2);
	}
	g.data = g.map + page + (side == TEST_GUARD_AFTER ? inner - bytes : 0);
	return g;
}

/* From now on a write faults too. */
static inline void test_guarded_seal(test_guarded *g)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (g->map_bytes > 2 * page)
		mprotect(g->map + page, g->map_bytes - 2 * page, PROT_READ);
}

static inline void test_guarded_free(test_guarded *g)
{
	munmap(g->map, g->map_bytes);
	memset(g, 0, sizeof *g);
}

/* --- key sets ----------------------------------------------------------------------------------
 */

#define TEST_KINDS(X)                                                                              \
	X(UNIFORM, "uniform")                                                                      \
	X(DENSE, "dense")                                                                          \
	X(DENSE_TOP, "dense up to the largest")                                                    \
	X(ADJACENT, "dense around the sign bit")                                                   \
	X(ALL_EQUAL, "all equal")                                                                  \
	X(ALL_ZERO, "all 0")                                                                       \
	X(ALL_MAX, "all the largest")                                                              \
	X(TWO_KEYS, "two keys")                                                                    \
	X(FEW_DISTINCT, "few distinct")                                                            \
	X(RUNS, "random runs")                                                                     \
	X(ENDS_ONCE, "0 and the largest once")                                                     \
	X(ENDS_MANY, "0 and the largest many times")                                               \
	X(OUTLIERS, "one outlier at each end")                                                     \
	X(OUTLIER_HIGH, "one outlier above")                                                       \
	X(STAIRCASE, "gaps that grow exponentially")                                               \
	X(POWERS, "clusters around powers of two")                                                 \
	X(WIDE, "differences beyond a mantissa")                                                   \
	X(PAIRS, "pairs k, k+1")

#define TEST_KIND_ENUM(id, name) TEST_##id,
#define TEST_KIND_NAME(id, name) name,
enum { TEST_KINDS(TEST_KIND_ENUM) TEST_KIND_COUNT };
static const char *const test_kind_names[] = {TEST_KINDS(TEST_KIND_NAME)};

static inline int test_compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

/* The bits of a mantissa: a double's, of 32-bit keys a float's. */
enum { TEST_MANTISSA = LDB_KEY_BITS == 32 ? 24 : 53 };

static inline ldb_key test_any_key(ldb_rng *rng)
{
	return (ldb_key)(ldb_rng_next(rng) >> (64 - LDB_KEY_BITS));
}

static inline ldb_key test_key_below(ldb_rng *rng, uint64_t bound)
{
	return (ldb_key)ldb_rng_below(rng, bound);
}

static inline ldb_key test_random_key(int kind, ldb_rng *rng, size_t i, size_t n)
{
	const ldb_key top = (ldb_key)1 << (LDB_KEY_BITS - 1), at = (ldb_key)i, all = (ldb_key)n;
	switch (kind) {
	case TEST_DENSE:
		return 1000 + at;
	case TEST_DENSE_TOP:
		return LDB_KEY_MAX - at;
	case TEST_ADJACENT:
		return top - all / 2 + at;
	case TEST_ALL_EQUAL:
		return (ldb_key)0x2a00000007;
	case TEST_ALL_ZERO:
		return 0;
	case TEST_ALL_MAX:
		return LDB_KEY_MAX;
	case TEST_TWO_KEYS:
		return i < n / 3 ? 5 : (top >> 3) + 1;
	case TEST_FEW_DISTINCT: /* runs of about 40 */
		return test_key_below(rng, n / 40 + 1) * 1000003 + 17;
	case TEST_ENDS_ONCE:
		return i == 0 ? 0 : i == n - 1 ? LDB_KEY_MAX : test_any_key(rng);
	case TEST_ENDS_MANY:
		return i < n / 3 ? 0 : i < n - n / 3 ? test_any_key(rng) : LDB_KEY_MAX;
	case TEST_OUTLIERS:
		return i == 0 ? 3
		       : i == n - 1
			       ? LDB_KEY_MAX - 4
			       : ((ldb_key)1 << (LDB_KEY_BITS - 24)) + test_key_below(rng, 1 << 24);
	case TEST_OUTLIER_HIGH:
		return i == n - 1 ? top + 12345
				  : test_key_below(rng, (ldb_key)1 << LDB_KEY_BITS / 2);
	case TEST_POWERS:
		return ((ldb_key)1 << ldb_rng_below(rng, LDB_KEY_BITS)) +
		       test_key_below(rng, n / 16 + 9) - (all / 32 + 4);
	case TEST_WIDE: /* odd numbers; beyond the mantissa they look like their neighbours */
		return (i % 3 == 0   ? 0
			: i % 3 == 1 ? (ldb_key)1 << TEST_MANTISSA
				     : top >> 1) +
		       2 * (at / 3) + 1;
	case TEST_PAIRS:
		return (ldb_key)ldb_mix64(n + i / 2) + at % 2;
	default:
		return test_any_key(rng);
	}
}

/* Fills keys[0..n), sorted; the same on every call. */
static inline void test_make_keys(int kind, ldb_key *keys, size_t n)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, (uint64_t)kind * 1000003 + n);
	const uint64_t step = LDB_KEY_BITS == 32 ? 1 << 14 : 1 << 30;
	int bits = 0; /* of n */
	while (n >> bits)
		bits++;
	ldb_key previous = 77;
	for (size_t i = 0; i < n; i++) {
		if (kind == TEST_RUNS) /* 1 to some 30 equal keys, then a step */
			previous += ldb_rng_below(&rng, 8) ? 0 : test_key_below(&rng, step) + 1;
		else if (kind == TEST_STAIRCASE)
			previous += (ldb_key)1 << (i * (size_t)(LDB_KEY_BITS - 1 - bits) / n);
		else
			previous = test_random_key(kind, &rng, i, n);
		keys[i] = previous;
	}
	if (n)
		qsort(keys, n, sizeof *keys, test_compare_keys);
}

/* Drops equal keys; returns how many are left. */
static inline size_t test_distinct(ldb_key *keys, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || keys[i] != keys[kept - 1])
			keys[kept++] = keys[i];
	}
	return kept;
}

/* --- the oracle ---------------------------------------------------------------------------------
 */

static inline ldb_val test_lower_bound(const ldb_key *keys, size_t n, ldb_key q)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (keys[mid] < q)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n ? lo : LDB_NONE;
}

static inline ldb_val test_get(const ldb_key *keys, size_t n, ldb_key q)
{
	ldb_val rank = test_lower_bound(keys, n, q);
	return rank != LDB_NONE && keys[rank] == q ? rank : LDB_NONE;
}

#endif
