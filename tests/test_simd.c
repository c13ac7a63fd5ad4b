/*
 * The kernels of ldb/simd.h and of ldx, in each variant that the processor can run, against plain
 * loops: random and edge keys, all lengths up to 300, duplicates, unaligned blocks, and a guard
 * page on either side, so that a read outside of p[0..n) faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "simd_kernels.h"
#include "test_index.h"

typedef struct {
	const char *suffix; /* of the file: build/tests/simd_kernels<suffix>.so */
	const char *variant;
} level;

#if defined(__x86_64__)
static level levels[] = {{".so", "scalar"}, {".v3.so", "AVX2"}, {".v4.so", "AVX-512"}};
#elif defined(__aarch64__)
static level levels[] = {{".so", "NEON"}};
#else
static level levels[] = {{".so", "scalar"}};
#endif
enum { LEVELS = sizeof levels / sizeof *levels };

/* Keys about which comparisons go wrong: the ends, the sign bit, the end of a double's precision.
 */
static const ldb_key edges[] = {
	0,
	1,
	2,
	((ldb_key)1 << 32) - 1,
	(ldb_key)1 << 32,
	((ldb_key)1 << 53) + 1,
	((ldb_key)1 << 63) - 1,
	(ldb_key)1 << 63,
	((ldb_key)1 << 63) + 1,
	LDB_KEY_MAX - 1,
	LDB_KEY_MAX,
};
enum { EDGES = sizeof edges / sizeof *edges };

/* Loads the kernels of a level, or ends the test and says why. They lie beside the test binary. */
static const simd_kernels *load(void **state)
{
	const level *l = *state;
	char path[4200];
	ssize_t length = readlink("/proc/self/exe", path, 4096);
	assert_true(length > 0);
	path[length] = '\0';
	strcpy(strrchr(path, '/') + 1, "simd_kernels");
	strcat(path, l->suffix);
	if (!test_level_supported(path)) {
		print_message("%s: this processor lacks it\n", l->variant);
		skip();
	}
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		fail_msg("%s", dlerror());
	const simd_kernels *(*get_table)(void);
	*(void **)&get_table = dlsym(handle, "simd_kernels_table");
	assert_non_null(get_table);
	/* Else two levels would be the same code and one of them not tested. */
	assert_string_equal(get_table()->variant, l->variant);
	return get_table();
}

static size_t count_less(const ldb_key *p, size_t n, ldb_key q)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += p[i] < q;
	return count;
}

static ldb_key random_or_edge(ldb_rng *rng)
{
	ldb_key k = ldb_rng_below(rng, 3) ? ldb_rng_next(rng) >> ldb_rng_below(rng, 64)
					  : edges[ldb_rng_below(rng, EDGES)];
	return k + ldb_rng_below(rng, 3) - 1;
}

/* Any eight keys, in any order and at any alignment: it counts, it does not search. */
static void test_count_less8(void **state)
{
	const simd_kernels *kernels = load(state);
	ldb_rng rng;
	ldb_rng_seed(&rng, 8);
	for (int round = 0; round < 20000; round++) {
		test_guarded g = {0};
		char room[8 * sizeof(ldb_key) + 64];
		ldb_key *p = (ldb_key *)(void *)(room + 8 * ldb_rng_below(&rng, 8));
		if (round % 100 < 2) { /* between guard pages: exactly eight are read */
			g = test_guarded_alloc(8 * sizeof *p, round % 100);
			p = g.data;
		}
		for (int i = 0; i < 8; i++)
			p[i] = random_or_edge(&rng);
		for (size_t i = 0; i < EDGES + 8; i++) {
			ldb_key q = i < EDGES ? edges[i] : p[i - EDGES];
			assert_int_equal(kernels->count_less8(p, q), count_less(p, 8, q));
		}
		if (g.map)
			test_guarded_free(&g);
	}
}

static void check_lower_bound(const simd_kernels *kernels, const ldb_key *p, size_t n, ldb_key q)
{
	size_t rank = kernels->lower_bound(p, n, q), expected = count_less(p, n, q);
	if (rank != expected)
		fail_msg("%s: n = %zu, q = %#llx: rank %zu where %zu is right", kernels->variant, n,
			 (unsigned long long)q, rank, expected);
}

/* Sorted keys of each kind and length, with the guard page after them or before them. */
static void test_lower_bound_kernel(void **state)
{
	const simd_kernels *kernels = load(state);
	for (size_t n = 0; n <= 300; n++) {
		for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
			int side = (n + (size_t)kind) % 2 ? TEST_GUARD_BEFORE : TEST_GUARD_AFTER;
			test_guarded g = test_guarded_alloc(n * sizeof(ldb_key), side);
			ldb_key *p = g.data;
			test_make_keys(kind, p, n);
			test_guarded_seal(&g);
			for (size_t i = 0; i < EDGES; i++)
				check_lower_bound(kernels, p, n, edges[i]);
			for (size_t i = 0; i < n; i++) {
				check_lower_bound(kernels, p, n, p[i]);
				check_lower_bound(kernels, p, n, p[i] - 1);
				check_lower_bound(kernels, p, n, p[i] + 1);
			}
			test_guarded_free(&g);
		}
	}
}

static void test_count_separators(void **state)
{
	const simd_kernels *kernels = load(state);
	ldb_rng rng;
	ldb_rng_seed(&rng, 11);
	for (int round = 0; round < 20000; round++) {
		_Alignas(64) ldx_node node;
		uint32_t x = (uint32_t)ldb_rng_next(&rng);
		for (size_t i = 0; i < 15; i++)
			node.wide[i] = (uint32_t)ldb_rng_next(&rng);
		node.link = round % 7 ? (uint32_t)ldb_rng_next(&rng) : 0; /* never counted */
		if (round % 4 == 0)
			x = round % 8 ? UINT32_MAX : 0;
		if (round % 5 == 0)
			node.wide[round % 15] = x;
		unsigned wide = 0, narrow = 0;
		for (int i = 0; i < 15; i++)
			wide += node.wide[i] < x;
		for (int i = 0; i < 30; i++)
			narrow += node.narrow[i] < x >> 16;
		assert_int_equal(kernels->count_wide(&node, x), wide);
		assert_int_equal(kernels->count_narrow(&node, x), narrow);
	}
}

/* Eight at once are what ldx_predict says of each; those outside are reported. */
static void test_predict_group(void **state)
{
	enum { SEGMENTS = 64, QUERIES = 16 };
	const simd_kernels *kernels = load(state);
	ldb_rng rng;
	ldb_rng_seed(&rng, 12);
	for (size_t round = 0; round < 20000; round++) {
		ldx_segment segments[SEGMENTS];
		for (size_t i = 0; i < SEGMENTS; i++)
			segments[i] = (ldx_segment){(uint32_t)ldb_rng_next(&rng) >> round % 32,
						    (uint32_t)ldb_rng_next(&rng) >> round % 31};
		/* Nodes are not read, but the sanitizer wants them somewhere. */
		ldx self = {.nodes = (ldx_node *)(uintptr_t)64,
			    .root = {.base = ldb_rng_next(&rng) >> round % 64,
				     .limit = ldb_rng_next(&rng) >> round % 61,
				     .segments = segments}};
		/* The last key of the range is in the last segment. */
		const unsigned __int128 range = (unsigned __int128)self.root.limit + 1;
		const unsigned __int128 scale = ((unsigned __int128)SEGMENTS << 64) / range;
		self.root.scale = scale > UINT64_MAX ? UINT64_MAX : (uint64_t)scale;
		ldb_key q[QUERIES];
		for (size_t i = 0; i < QUERIES; i++)
			q[i] = self.root.base + (ldb_rng_next(&rng) >> (round + i) % 64);
		q[0] = self.root.base;
		q[1] = self.root.base + self.root.limit;
		q[2] = self.root.base + self.root.limit + 1;
		const ldx_node *node[QUERIES];
		uint32_t fraction[QUERIES];
		const uint32_t outside = kernels->predict_group(&self, q, node, fraction);
		for (size_t i = 0; i < QUERIES; i++) {
			assert_int_equal(outside >> i & 1, !ldx_is_inside(&self, q[i]));
			if (outside >> i & 1)
				continue;
			const ldx_place place = ldx_predict(&self.root, q[i]);
			assert_int_equal((uintptr_t)node[i], 64 + 64 * (uintptr_t)place.bucket);
			assert_int_equal(fraction[i], place.fraction);
		}
	}
}

int main(void)
{
	static const struct {
		const char *name;
		CMUnitTestFunction run;
	} kernels[] = {{"count_less8", test_count_less8},
		       {"lower_bound", test_lower_bound_kernel},
		       {"ldx_count", test_count_separators},
		       {"ldx_predict_group", test_predict_group}};
	enum { KERNELS = sizeof kernels / sizeof *kernels };
	struct CMUnitTest tests[KERNELS * LEVELS];
	char names[KERNELS * LEVELS][64];
	for (size_t i = 0; i < KERNELS * LEVELS; i++) {
		level *l = &levels[i / KERNELS];
		snprintf(names[i], sizeof *names, "%s: %s", l->variant, kernels[i % KERNELS].name);
		tests[i] = (struct CMUnitTest){names[i], kernels[i % KERNELS].run, NULL, NULL, l};
	}
	return _cmocka_run_group_tests("simd", tests, KERNELS * LEVELS, NULL, NULL);
}
