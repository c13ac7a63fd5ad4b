/*
 * rmi_classic: every combination of its parameters, which the tests of all indexes only sample,
 * against a sorted array; windows that don't hold for absent keys, which the answers must survive;
 * what it says of its leaves and errors, counted anew; what the papers say of bounds and roots.
 *
 * The plug-ins are loaded from $LDB_BUILD (default "build"), and their structs are read.
 */
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../indexes/rmi_classic/rmi_classic.h"
#include "memory.h"
#include "rng.h"
#include "test_index.h"

enum { ROOTS = 4, LEAF_KINDS = 2, BOUNDS = 5, KEYS = 600, QUERIES = 3 * KEYS + 4 };

static const ldb_index *plain; /* the plainest code; the others are compared by test_indexes */
static const ldb_index *widest;

static const ldb_index *load(const char *suffix)
{
	const char *build = getenv("LDB_BUILD");
	char path[4096];
	snprintf(path, sizeof path, "%s%s/indexes/rmi_classic%s.so",
		 build && strchr(build, '/') ? "" : "./", build ? build : "build", suffix);
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		fail_msg("%s", dlerror());
	const ldb_index *(*table)(void);
	*(void **)&table = dlsym(object, "ldb_index_table");
	assert_non_null(table);
	return table();
}

static int setup(void **state)
{
	(void)state;
	plain = widest = load("");
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
	    __builtin_cpu_supports("avx512vl"))
		widest = load(".v4");
#endif
	return 0;
}

static rmi_classic *build(const ldb_index *index, const ldb_key *keys, size_t n, double leaves,
			  int root, int leaf, int bounds, int search)
{
	void *self = NULL;
	ldb_error err;
	const double params[] = {leaves, root, leaf, bounds, search};
	if (index->build(&self, keys, n, params, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
	return self;
}

/* Each key and its neighbours, and both ends. */
static void make_queries(const ldb_key *keys, ldb_key *q)
{
	size_t count = 0;
	for (size_t i = 0; i < KEYS; i++) {
		q[count++] = keys[i];
		q[count++] = keys[i] - 1;
		q[count++] = keys[i] + 1;
	}
	q[count++] = 0;
	q[count++] = 1;
	q[count++] = LDB_KEY_MAX;
	q[count++] = LDB_KEY_MAX - 1;
}

static void check_answers(const ldb_index *index, const rmi_classic *self, const ldb_key *q,
			  const ldb_val *want)
{
	ldb_val out[QUERIES];
	index->lookup(self, q, QUERIES, out);
	for (size_t i = 0; i < QUERIES; i++) {
		size_t lo, hi;
		const size_t rank = want[i] == LDB_NONE ? KEYS : want[i];
		index->window(self, q[i], &lo, &hi);
		if (out[i] != want[i] || lo > rank || hi < rank || hi > KEYS)
			fail_msg("query %zu answered %zu, not %zu, in [%zu, %zu]; formula %d, "
				 "layout %d, search %d, %zu leaves",
				 (size_t)q[i], (size_t)out[i], (size_t)want[i], lo, hi,
				 self->formula, self->layout, self->search, self->leaf_count);
	}
	ldb_key chained[QUERIES];
	for (size_t i = 0; i < QUERIES; i++)
		chained[i] = q[i] - ldb_chain_step(i ? want[i - 1] : 5);
	index->chase(self, chained, QUERIES, 5, out);
	assert_memory_equal(out, want, sizeof out);
}

/* How many queries have their rank below, above the window that the model gives. */
static size_t outside[2];

static void count_outside(const rmi_classic *self, const ldb_key *q, const ldb_val *want)
{
	for (size_t i = 0; i < QUERIES; i++) {
		const size_t rank = want[i] == LDB_NONE ? KEYS : want[i];
		const prediction p = predict(self, self->formula, self->layout, q[i]);
		outside[0] += rank < p.lo;
		outside[1] += rank > p.hi;
	}
}

static void test_every_combination(void **state)
{
	(void)state;
	static const double leaf_counts[] = {1, 7, 64, 1500};
	ldb_key keys[KEYS], q[QUERIES];
	ldb_val want[QUERIES];
	ldb_error err;
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		test_make_keys(kind, keys, KEYS);
		make_queries(keys, q);
		for (size_t i = 0; i < QUERIES; i++)
			want[i] = test_lower_bound(keys, KEYS, q[i]);
		for (int c = 0; c < ROOTS * LEAF_KINDS * BOUNDS * SEARCHES; c++) {
			const int search = c % SEARCHES, bounds = c / SEARCHES % BOUNDS,
				  leaf = c / SEARCHES / BOUNDS % LEAF_KINDS,
				  root = c / SEARCHES / BOUNDS / LEAF_KINDS;
			const ldb_index *index = c % 3 ? widest : plain;
			rmi_classic *self = build(index, keys, KEYS, leaf_counts[(c + kind) % 4],
						  root, leaf, bounds, search);
			assert_int_equal(index->validate(self, &err), LDB_OK);
			check_answers(index, self, q, want);
			count_outside(self, q, want);
			index->destroy(self);
		}
	}
	/* What the check of each answer is for did happen. */
	assert_true(outside[0] > 0);
	assert_true(outside[1] > 0);
}

static size_t size_of(const ldb_key *keys, int bounds)
{
	rmi_classic *self = build(plain, keys, KEYS, 10, 0, 0, bounds, 0);
	const size_t bytes = plain->bytes(self) - sizeof *self;
	plain->destroy(self);
	return bytes;
}

static double mean_log2_window(const ldb_key *keys, int bounds)
{
	rmi_classic *self = build(plain, keys, KEYS, 20, 1, 0, bounds, 0);
	double sum = 0;
	for (size_t i = 0; i < KEYS; i++) {
		size_t lo, hi;
		plain->window(self, keys[i], &lo, &hi);
		sum += log2((double)(hi - lo + 1));
	}
	plain->destroy(self);
	return sum / KEYS;
}

/* Each sort of bounds is at most as wide as the coarser one, and costs what it stores. */
static void test_bounds(void **state)
{
	(void)state;
	ldb_key keys[KEYS];
	test_make_keys(TEST_UNIFORM, keys, KEYS);
	assert_int_equal(size_of(keys, BOUNDS_LOCAL_INDIVIDUAL), 10 * 24);
	assert_int_equal(size_of(keys, BOUNDS_LOCAL_ABSOLUTE), 10 * 20);
	assert_int_equal(size_of(keys, BOUNDS_GLOBAL_INDIVIDUAL), 10 * 16);
	assert_int_equal(size_of(keys, BOUNDS_GLOBAL_ABSOLUTE), 10 * 16);
	assert_int_equal(size_of(keys, BOUNDS_NONE), 10 * 16);
	double window[BOUNDS];
	for (int bounds = 0; bounds < BOUNDS; bounds++)
		window[bounds] = mean_log2_window(keys, bounds);
	assert_true(window[BOUNDS_LOCAL_INDIVIDUAL] < window[BOUNDS_LOCAL_ABSOLUTE]);
	assert_true(window[BOUNDS_LOCAL_ABSOLUTE] < window[BOUNDS_GLOBAL_ABSOLUTE]);
	assert_true(window[BOUNDS_LOCAL_INDIVIDUAL] < window[BOUNDS_GLOBAL_INDIVIDUAL]);
	assert_true(window[BOUNDS_GLOBAL_INDIVIDUAL] <= window[BOUNDS_GLOBAL_ABSOLUTE]);
	assert_true(fabs(window[BOUNDS_NONE] - log2(KEYS + 1)) < 1e-9);
}

static double fact(const ldb_index_info *info, const char *name)
{
	const char *at = strstr(info->chosen, name);
	if (!at || at[strlen(name)] != '=')
		fail_msg("%s is not in '%s'", name, info->chosen);
	return strtod(at + strlen(name) + 1, NULL);
}

/* A key in its leaf and its error, by the model read from outside. */
static void test_facts(void **state)
{
	(void)state;
	enum { LEAVES = 100 };
	ldb_key keys[KEYS];
	for (int root = 0; root < ROOTS; root++) {
		test_make_keys(TEST_POWERS, keys, KEYS);
		rmi_classic *self = build(plain, keys, KEYS, LEAVES, root, 0, 0, 0);
		size_t held[LEAVES] = {0}, empty = 0, largest = 0;
		double error = 0;
		for (size_t i = 0; i < KEYS; i++) {
			const size_t rank = test_lower_bound(keys, KEYS, keys[i]);
			const prediction p = predict(self, self->formula, self->layout, keys[i]);
			held[predict_leaf(self, self->formula, keys[i])]++;
			error += fabs((double)p.at - (double)rank);
		}
		for (size_t i = 0; i < LEAVES; i++) {
			empty += held[i] == 0;
			largest = held[i] > largest ? held[i] : largest;
		}
		ldb_index_info info = {.chosen = ""};
		plain->info(self, &info);
		assert_int_equal(fact(&info, "leaves"), LEAVES);
		assert_true(fabs(fact(&info, "empty") - (double)empty / LEAVES) < 1e-3);
		assert_int_equal(fact(&info, "largest"), largest);
		assert_true(fabs(fact(&info, "mean_error") - error / KEYS) <
			    1e-3 * (1 + error / KEYS));
		assert_true(fact(&info, "median_error") <= KEYS);
		plain->destroy(self);
	}
}

static ldb_index_info facts_of(const ldb_key *keys, size_t n, int root)
{
	ldb_index_info info = {.chosen = ""};
	rmi_classic *self = build(plain, keys, n, 100, root, 0, 0, 0);
	plain->info(self, &info);
	plain->destroy(self);
	return info;
}

/* Maltry, Dittrich: an outlier makes a spline send nearly all keys to one leaf; equal gaps fill
 * all leaves. */
static void test_roots_divide_as_published(void **state)
{
	(void)state;
	ldb_key keys[KEYS];
	test_make_keys(TEST_DENSE, keys, KEYS);
	for (int root = ROOT_LINEAR; root <= ROOT_CUBIC_SPLINE; root++) {
		const ldb_index_info even = facts_of(keys, KEYS, root);
		assert_true(fact(&even, "empty") == 0);
		assert_in_range(fact(&even, "largest"), 6, 8);
		assert_true(fact(&even, "mean_error") <= 1);
	}
	test_make_keys(TEST_OUTLIER_HIGH, keys, KEYS);
	const ldb_index_info odd = facts_of(keys, KEYS, ROOT_LINEAR_SPLINE);
	assert_int_equal(fact(&odd, "largest"), KEYS - 1);
	assert_true(fact(&odd, "empty") >= 0.97);
}

static void test_validate_finds_damage(void **state)
{
	(void)state;
	ldb_key keys[KEYS];
	ldb_error err = {{0}, {0}, {0}};
	test_make_keys(TEST_UNIFORM, keys, KEYS);
	rmi_classic *self = build(plain, keys, KEYS, 10, 0, 0, 0, 0);
	leaf_bounds bounds = load_bounds(self, WITH_TWO_BOUNDS, 5);
	assert_true(bounds.above > 0);
	bounds.above = 0;
	memcpy(bounds_at(self, WITH_TWO_BOUNDS, 5), &bounds, sizeof bounds);
	leaf_model model;
	memcpy(&model, model_at(self, WITH_TWO_BOUNDS, 5), sizeof model);
	model.intercept -= 2;
	memcpy(model_at(self, WITH_TWO_BOUNDS, 5), &model, sizeof model);
	assert_int_equal(plain->validate(self, &err), LDB_INVALID);
	assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
	plain->destroy(self);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_combination),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_roots_divide_as_published),
		cmocka_unit_test(test_validate_finds_damage),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
