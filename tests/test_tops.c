/*
 * Radix tables, histogram trees and what is built on them (rbs, cht, plex, interpolation), beyond
 * what every index is tested for: the shared parts against plain counting, promised sizes of
 * windows and of memory, what tuning chooses on data made for one answer, damage that validate must
 * find. No time is a pass mark.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ldb/check.h"
#include "ldb/cht.h"
#include "memory.h"
#include "test_index.h"

enum { N = 50000 };
static ldb_key keys[N];

/* Like SOSD's fb: all keys but 21 in a small part of the range. */
static void make_facebook(size_t n)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, n);
	for (size_t i = 0; i < n; i++)
		keys[i] =
			i < 21 ? LDB_KEY_MAX - (ldb_rng_next(&rng) >> 2) : ldb_rng_next(&rng) >> 26;
	qsort(keys, n, sizeof *keys, test_compare_keys);
}

static test_plugin *plugins;
static size_t plugin_count;

static const ldb_index *find_index(const char *label)
{
	for (size_t i = 0; i < plugin_count; i++)
		if (strcmp(plugins[i].label, label) == 0 && plugins[i].index)
			return plugins[i].index;
	fail_msg("no plug-in %s", label);
	return NULL;
}

static void *build(const ldb_index *index, size_t n, const double *values)
{
	double defaults[8];
	for (size_t i = 0; i < test_param_count(index); i++)
		defaults[i] = index->params[i].def;
	void *self = NULL;
	ldb_error err = {0};
	if (index->build(&self, keys, n, values ? values : defaults, &err) != LDB_OK)
		fail_msg("%s: %s: %s", index->name, err.subject, err.value);
	return self;
}

/* --- radix table ------------------------------------------------------------------------------ */

static void test_groups_are_those_counted(void **state)
{
	(void)state;
	const size_t n = 3000;
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		test_make_keys(kind, keys, n);
		for (int trimmed = 0; trimmed < 2; trimmed++) {
			ldb_radix radix = {0};
			ldb_trim_range(keys, 1, n, trimmed ? 40 : 0, &radix.base, &radix.top);
			assert_true(trimmed || (radix.base == keys[0] && radix.top == keys[n - 1]));
			const unsigned bits = ldb_radix_range_bits(&radix);
			for (radix.shift = 0; radix.shift < bits; radix.shift += 5) {
				size_t first = 0;
				for (size_t i = 0; i < n; i++) {
					const size_t p = ldb_radix_prefix(&radix, keys[i]);
					if (i && ldb_radix_prefix(&radix, keys[i - 1]) != p)
						first = i;
					size_t lo = i, hi = i + 1;
					ldb_radix_group(&radix, keys, 1, n, &lo, &hi);
					assert_int_equal(lo, first);
					assert_int_equal(ldb_radix_prefix(&radix, keys[hi - 1]), p);
					assert_true(hi == n ||
						    ldb_radix_prefix(&radix, keys[hi]) > p);
				}
			}
		}
	}
}

static void test_table_counts(void **state)
{
	(void)state;
	const size_t n = 3000;
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		test_make_keys(kind, keys, n);
		ldb_radix radix = {.base = keys[0], .top = keys[n - 1]};
		const ldb_key range = radix.top - radix.base;
		radix.shift = ldb_radix_shift_for(range, 500);
		assert_true(ldb_radix_build(&radix, keys, 1, n));
		assert_true(radix.count <= 500);
		/* The least such shift. */
		assert_true(radix.shift == 0 || (range >> (radix.shift - 1)) + 2 > 500);
		for (size_t p = 0, less = 0; p < radix.count; p++) {
			while (less < n && ldb_radix_prefix(&radix, keys[less]) < p)
				less++;
			assert_int_equal(radix.table[p], less);
		}
		ldb_radix_free(&radix);
	}
}

static void test_dearer_memory_costs_more(void **state)
{
	(void)state;
	double before = 0;
	for (double bytes = 1; bytes < 1e12; bytes *= 1.5) {
		const double cost = ldb_read_cost(bytes);
		assert_true(cost >= before && cost >= 1 && cost <= 90);
		before = cost;
	}
	assert_true(ldb_search_cost(8, 8, 20) == ldb_search_cost(1, 8, 20));
	assert_true(ldb_search_cost(16, 8, 20) > ldb_search_cost(8, 8, 20));
}

/* --- histogram tree --------------------------------------------------------------------------- */

/* A tree's windows are no longer than max_error where no keys are equal and none is left out. */
static void test_max_error_holds(void **state)
{
	(void)state;
	const ldb_index *cht = find_index("cht");
	static const int kinds[] = {TEST_UNIFORM, TEST_DENSE,     TEST_DENSE_TOP, TEST_OUTLIERS,
				    TEST_WIDE,    TEST_STAIRCASE, TEST_PAIRS};
	static const double bins[] = {2, 16, 64, 1024}, errors[] = {1, 3, 16, 200};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		test_make_keys(kinds[k], keys, 5000);
		const size_t n = test_distinct(keys, 5000);
		for (int s = 0; s < 16; s++) {
			void *self = build(cht, n, (double[]){bins[s / 4], errors[s % 4], 1});
			for (size_t i = 0; i < n; i++) {
				size_t lo, hi;
				cht->window(self, keys[i] - i % 2, &lo, &hi);
				assert_true(hi - lo <= (size_t)errors[s % 4]);
			}
			cht->destroy(self);
		}
	}
}

/* Entries as estimated from a sample, against those of the built tree. */
static void test_estimates_are_near(void **state)
{
	(void)state;
	static const int kinds[] = {TEST_UNIFORM, TEST_OUTLIERS, TEST_POWERS, TEST_RUNS};
	static ldb_cht_estimate all;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		test_make_keys(kinds[k], keys, N);
		ldb_cht tree = {0};
		ldb_cht_set_range(&tree, keys, 1, N, true);
		const ldb_cht_task task = {
			.keys = keys, .stride = 1, .narrow = 8, .most = SIZE_MAX};
		ldb_cht_estimate_all(&tree, &task, &all);
		for (unsigned bits = 2; bits <= 8; bits += 3) {
			for (size_t e = 4; e < 10; e += 2) {
				tree.bits = bits;
				tree.max_error = (uint32_t)ldb_cht_error(e);
				assert_int_equal(ldb_cht_build(&tree, keys, 1, 0, SIZE_MAX),
						 LDB_CHT_BUILT);
				const double real = (double)tree.entries;
				const double guess = all.entries[bits][e];
				if (guess < 0.5 * real - 256 || guess > 2 * real + 256)
					fail_msg(
						"%s, bits %u, max_error %u: %.0f, not %.0f entries",
						test_kind_names[kinds[k]], bits, tree.max_error,
						real, guess);
				ldb_cht_free(&tree);
			}
		}
	}
}

static void test_limit_is_kept(void **state)
{
	(void)state;
	test_make_keys(TEST_UNIFORM, keys, N);
	ldb_cht tree = {.bits = 6, .max_error = 16};
	ldb_cht_set_range(&tree, keys, 1, N, false);
	const size_t held = ldb_alloc_held();
	assert_int_equal(ldb_cht_build(&tree, keys, 1, 0, SIZE_MAX), LDB_CHT_BUILT);
	const size_t entries = tree.entries;
	ldb_cht_free(&tree);
	assert_int_equal(ldb_cht_build(&tree, keys, 1, 0, entries - 1), LDB_CHT_TOO_LARGE);
	assert_int_equal(ldb_alloc_held(), held);
	assert_int_equal(ldb_cht_build(&tree, keys, 1, entries / 3, entries), LDB_CHT_BUILT);
	assert_int_equal(tree.entries, entries);
	ldb_cht_free(&tree);
	assert_int_equal(ldb_alloc_held(), held);
}

/* --- the indexes ------------------------------------------------------------------------------ */

/* Without parameters each stays within a tenth of the keys' size, on any keys. */
static void test_budget_is_kept(void **state)
{
	(void)state;
	static const char *const names[] = {"rbs", "cht", "plex", "interpolation"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const ldb_index *index = find_index(names[i]);
		for (int kind = 0; kind <= TEST_KIND_COUNT; kind++) {
			if (kind < TEST_KIND_COUNT)
				test_make_keys(kind, keys, N);
			else
				make_facebook(N);
			void *self = build(index, N, NULL);
			if (index->bytes(self) > N * sizeof *keys / 10 + 1024)
				fail_msg("%s: %zu bytes for %s", names[i], index->bytes(self),
					 kind < TEST_KIND_COUNT ? test_kind_names[kind]
								: "facebook");
			index->destroy(self);
		}
	}
}

static double mean_window(const ldb_index *index, const void *self)
{
	double sum = 0;
	for (size_t i = 0; i < N; i++) {
		size_t lo, hi;
		index->window(self, keys[i], &lo, &hi);
		sum += (double)(hi - lo);
	}
	return sum / N;
}

/* A few outliers must not spoil it, as they do with the range of all keys. */
static void test_outliers_are_left_out(void **state)
{
	(void)state;
	const ldb_index *rbs = find_index("rbs"), *cht = find_index("cht");
	make_facebook(N);
	void *trimmed = build(rbs, N, (double[]){0, -1}), *full = build(rbs, N, (double[]){0, 0});
	assert_true(mean_window(rbs, trimmed) < 32);
	assert_true(mean_window(rbs, full) > N / 2);
	rbs->destroy(trimmed);
	rbs->destroy(full);
	void *tree = build(cht, N, NULL);
	assert_true(mean_window(cht, tree) < 32);
	cht->destroy(tree);
}

/* Equal keys beyond any max_error: the tree still leads to one end of the run. */
static void test_long_runs_cost_nothing(void **state)
{
	(void)state;
	const ldb_index *cht = find_index("cht");
	for (size_t i = 0; i < N; i++)
		keys[i] = i / 5000 * 1000;
	void *self = build(cht, N, NULL);
	assert_true(mean_window(cht, self) == 0);
	assert_true(cht->bytes(self) < 4096);
	cht->destroy(self);
}

static void assert_chosen(const char *name, const char *text)
{
	const ldb_index *index = find_index(name);
	ldb_index_info info = {0};
	void *self = build(index, N, NULL);
	index->info(self, &info);
	index->destroy(self);
	if (!strstr(info.chosen, text))
		fail_msg("%s chose %s, not %s", name, info.chosen, text);
}

static void test_choices(void **state)
{
	(void)state;
	/* One estimate finds a rank among consecutive keys, none among exponential ones. */
	test_make_keys(TEST_DENSE, keys, N);
	assert_chosen("interpolation", "steps=1");
	test_make_keys(TEST_STAIRCASE, keys, N);
	assert_chosen("interpolation", "steps=0");
	/* Points spread evenly call for a table; clusters at every power of two for a tree. */
	test_make_keys(TEST_UNIFORM, keys, N);
	assert_chosen("plex", "layer=table");
	test_make_keys(TEST_POWERS, keys, N);
	assert_chosen("plex", "layer=tree");
}

static void assert_invalid(const ldb_index *index, const void *self)
{
	ldb_error err = {0};
	assert_int_equal(index->validate(self, &err), LDB_INVALID);
	assert_true(*err.subject && *err.value && *err.remedy);
}

static void test_validate_finds_damage(void **state)
{
	(void)state;
	test_make_keys(TEST_UNIFORM, keys, N);
	const ldb_index *rbs = find_index("rbs"), *cht = find_index("cht");
	ldb_radix *radix = build(rbs, N, NULL); /* the first member of both structs */
	radix->table[radix->count / 2]++;
	assert_invalid(rbs, radix);
	radix->table[radix->count / 2]--;
	assert_int_equal(rbs->validate(radix, NULL), LDB_OK);
	rbs->destroy(radix);

	ldb_cht *tree = build(cht, N, (double[]){16, 16, 0});
	size_t leaf = tree->entries / 2;
	while (tree->table[leaf] & LDB_CHT_NODE || tree->table[leaf] == tree->table[leaf + 1])
		leaf++;
	tree->table[leaf] += 2;
	assert_invalid(cht, tree);
	tree->table[leaf] -= 2;
	const uint32_t root = tree->table[0];
	tree->table[0] = LDB_CHT_NODE | (uint32_t)tree->entries;
	assert_invalid(cht, tree);
	tree->table[0] = root;
	tree->max_error = 4;
	assert_invalid(cht, tree);
	tree->max_error = 16;
	assert_int_equal(cht->validate(tree, NULL), LDB_OK);
	cht->destroy(tree);
}

/* Refused before a key is read. */
static void test_too_many_keys(void **state)
{
	(void)state;
	static const char *const names[] = {"rbs", "cht"};
	for (size_t i = 0; i < 2; i++) {
		const ldb_index *index = find_index(names[i]);
		const double values[4] = {0};
		ldb_error err = {0};
		void *self;
		assert_int_equal(index->build(&self, keys, (size_t)1 << 32, values, &err),
				 LDB_UNSUPPORTED);
		assert_true(*err.subject && *err.value && *err.remedy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups_are_those_counted),
		cmocka_unit_test(test_table_counts),
		cmocka_unit_test(test_dearer_memory_costs_more),
		cmocka_unit_test(test_max_error_holds),
		cmocka_unit_test(test_estimates_are_near),
		cmocka_unit_test(test_limit_is_kept),
		cmocka_unit_test(test_budget_is_kept),
		cmocka_unit_test(test_outliers_are_left_out),
		cmocka_unit_test(test_long_runs_cost_nothing),
		cmocka_unit_test(test_choices),
		cmocka_unit_test(test_validate_finds_damage),
		cmocka_unit_test(test_too_many_keys),
	};
	plugins = test_plugins(&plugin_count);
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	const int failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(plugins);
	return failed;
}
