/*
 * Tests of indexes/pgm beyond what every index is asked in test_indexes.c: every query of small
 * universes, the number of segments, widths of windows, tuning, and whether validate finds damage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../datasets/inspect.h"
#include "ldb/pgm.h"
#include "memory.h"
#include "test_index.h"

static const ldb_index *levels[3]; /* the plug-in for each level of the processor */
static size_t level_count;

static int setup(void **state)
{
	(void)state;
	size_t count;
	test_plugin *plugins = test_plugins(&count);
	for (size_t i = 0; i < count; i++)
		if (plugins[i].index && strcmp(plugins[i].index->name, "pgm") == 0 &&
		    level_count < 3)
			levels[level_count++] = plugins[i].index;
	free(plugins);
	return level_count ? 0 : -1;
}

static ldb_pgm *build(const ldb_index *index, const ldb_key *keys, size_t n, double epsilon,
		      double recursive)
{
	void *self = NULL;
	ldb_error err = {{0}, {0}, {0}};
	const double params[] = {epsilon, recursive};
	if (index->build(&self, keys, n, params, &err) != LDB_OK)
		fail_msg("build: %s: %s", err.subject, err.value);
	return self;
}

static void assert_valid(const ldb_index *index, const ldb_pgm *self)
{
	ldb_error err;
	if (index->validate(self, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
}

/* All three entry points and the window, for queries from..from + count. */
static void check_queries(const ldb_index *index, const ldb_pgm *self, const ldb_key *keys,
			  size_t n, ldb_key from, size_t count)
{
	enum { MOST = 1 << 12 };
	static ldb_key q[MOST], chained[MOST];
	static ldb_val one[MOST], chain[MOST], batch[MOST];
	assert_true(count <= MOST);
	for (size_t i = 0; i < count; i++) {
		q[i] = from + i;
		chained[i] = q[i] - ldb_chain_step(i ? test_lower_bound(keys, n, q[i - 1]) : 0);
	}
	index->lookup(self, q, count, one);
	index->chase(self, chained, count, 0, chain);
	index->lookup_batch(self, q, count, batch);
	for (size_t i = 0; i < count; i++) {
		const ldb_val expected = test_lower_bound(keys, n, q[i]);
		const size_t rank = expected == LDB_NONE ? n : expected;
		size_t lo, hi;
		index->window(self, q[i], &lo, &hi);
		if (lo > rank || hi < rank || hi > n)
			fail_msg("window of %llu is [%zu, %zu], rank %zu of %zu",
				 (unsigned long long)q[i], lo, hi, rank, n);
		assert_int_equal(one[i], expected);
		assert_int_equal(chain[i], expected);
		assert_int_equal(batch[i], expected);
	}
}

/* Every query of small universes: all shapes of steps, feet and gaps, at both ends of the range. */
static void test_small_universes(void **state)
{
	(void)state;
	enum { KEYS = 120 };
	ldb_rng rng;
	ldb_rng_seed(&rng, 1);
	for (int round = 0; round < 4000; round++) {
		ldb_key keys[KEYS];
		const size_t n = 1 + ldb_rng_below(&rng, KEYS);
		const ldb_key span = 1 + ldb_rng_below(&rng, 3 * KEYS),
			      base = round % 3 == 0   ? 0
				     : round % 3 == 1 ? LDB_KEY_MAX - span
						      : ((ldb_key)1 << 53) - KEYS;
		const uint64_t repeat = ldb_rng_below(&rng, 8);
		for (size_t i = 0; i < n; i++)
			keys[i] = i && ldb_rng_below(&rng, 8) < repeat
					  ? keys[i - 1]
					  : base + ldb_rng_below(&rng, span + 1);
		qsort(keys, n, sizeof *keys, test_compare_keys);
		const ldb_index *index = levels[(size_t)round % level_count];
		ldb_pgm *self = build(index, keys, n, 1 + (double)ldb_rng_below(&rng, 4),
				      1 + (double)ldb_rng_below(&rng, 4));
		assert_valid(index, self);
		assert_true(self->level[0].width <= 2 * self->epsilon + 2);
		check_queries(index, self, keys, n, base - (base > 3 ? 3 : base), span + 4);
		index->destroy(self);
	}
}

static ldb_key *make(int kind, size_t n)
{
	ldb_key *keys = malloc((n + 1) * sizeof *keys);
	assert_non_null(keys);
	test_make_keys(kind, keys, n);
	return keys;
}

/* As few as the optimal segmentation, where no cut at LDB_PGM_SPAN_MAX adds one. */
static void test_least_segments(void **state)
{
	(void)state;
	static const double epsilons[] = {1, 3, 7, 16, 100};
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		ldb_key *keys = make(kind, 20000);
		const size_t n = test_distinct(keys, 20000);
		for (size_t e = 0; e < sizeof epsilons / sizeof *epsilons; e++) {
			ldb_pgm *self = build(levels[0], keys, n, epsilons[e], 4);
			assert_int_equal(self->level[0].count,
					 inspect_segments(keys, n, (uint64_t)epsilons[e], NULL));
			levels[0]->destroy(self);
		}
		free(keys);
	}
}

static void test_lines_are_cut(void **state)
{
	(void)state;
	const size_t n = 300000;
	ldb_key *keys = make(TEST_DENSE, n);
	for (uint64_t step = 1; step <= (uint64_t)1 << 40; step <<= 20) {
		for (size_t i = 0; i < n; i++)
			keys[i] = 5 + i * step;
		ldb_pgm *self = build(levels[0], keys, n, 7, 4);
		assert_int_equal(self->level[0].count, n / (LDB_PGM_SPAN_MAX + 1) + 1);
		assert_true(self->level[0].width <= 2); /* they are exact */
		assert_valid(levels[0], self);
		levels[0]->destroy(self);
	}
	free(keys);
}

/* Windows are what epsilon promises, with 1 for the rounding of slopes, on every level. */
static void test_widths(void **state)
{
	(void)state;
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		const size_t n = 100000;
		ldb_key *keys = make(kind, n);
		for (uint64_t epsilon = 1; epsilon <= 256; epsilon *= 4)
			for (uint64_t recursive = 1; recursive <= 8; recursive *= 2) {
				ldb_pgm *self = build(levels[level_count - 1], keys, n,
						      (double)epsilon, (double)recursive);
				assert_true(self->level[0].width <= 2 * epsilon + 2);
				for (size_t l = 1; l < self->level_count; l++)
					assert_true(self->level[l].width <= 2 * recursive + 2);
				const ldb_pgm_level *top = &self->level[self->level_count - 1];
				assert_true(top->count <= LDB_PGM_TOP);
				assert_valid(levels[level_count - 1], self);
				levels[level_count - 1]->destroy(self);
			}
		free(keys);
	}
}

/* Enough segments for three levels, and for a top of one, two and three rounds. */
static void test_levels(void **state)
{
	(void)state;
	static const struct {
		size_t n, levels_least;
	} cases[] = {{100, 1}, {1500, 1}, {20000, 1}, {200000, 2}};
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		const size_t n = cases[c].n;
		ldb_key *keys = make(TEST_UNIFORM, n);
		for (size_t v = 0; v < level_count; v++)
			for (double recursive = 1; recursive <= 16; recursive *= 4) {
				ldb_pgm *self = build(levels[v], keys, n, 1, recursive);
				assert_true(self->level_count >= cases[c].levels_least);
				assert_valid(levels[v], self);
				for (size_t i = 0; i < n; i += n / 100)
					check_queries(levels[v], self, keys, n, keys[i] - 1, 3);
				levels[v]->destroy(self);
			}
		free(keys);
	}
}

static void test_tuning(void **state)
{
	(void)state;
	static const int kinds[] = {TEST_UNIFORM, TEST_RUNS, TEST_POWERS, TEST_PAIRS, TEST_DENSE};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		const size_t n = 300000;
		ldb_key *keys = make(kinds[k], n);
		ldb_pgm *self = build(levels[0], keys, n, 0, 4);
		ldb_index_info info = {0};
		levels[0]->info(self, &info);
		assert_true(info.tune_ns > 0);
		char chosen[64];
		snprintf(chosen, sizeof chosen, "epsilon=%llu", (unsigned long long)self->epsilon);
		assert_string_equal(info.chosen, chosen);
		assert_true(levels[0]->bytes(self) <= n * sizeof *keys / 10 + sizeof *self);
		if (self->epsilon > 15) { /* then the next smaller one costs too much */
			ldb_pgm *finer = build(levels[0], keys, n, (double)(self->epsilon / 2), 4);
			assert_true(levels[0]->bytes(finer) > n * sizeof *keys / 11);
			levels[0]->destroy(finer);
		}
		levels[0]->destroy(self);
		free(keys);
	}
	ldb_key one = 5;
	ldb_pgm *self = build(levels[0], &one, 1, 9, 4);
	ldb_index_info info = {0};
	levels[0]->info(self, &info);
	assert_true(info.tune_ns == 0 && info.chosen[0] == 0);
	levels[0]->destroy(self);
}

static void assert_invalid(const ldb_pgm *self)
{
	ldb_error err = {{0}, {0}, {0}};
	assert_int_equal(levels[0]->validate(self, &err), LDB_INVALID);
	assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
}

static void test_validate_finds_damage(void **state)
{
	(void)state;
	const size_t n = 200000;
	ldb_key *keys = make(TEST_UNIFORM, n);
	ldb_pgm *self = build(levels[0], keys, n, 1, 4);
	assert_true(self->level_count >= 2);
	for (size_t l = 0; l < self->level_count; l++) {
		ldb_pgm_level *level = &self->level[l];
		ldb_pgm_segment *s = self->segments + level->begin;
		ldb_pgm_segment *middle = &s[1]; /* the one that rises most */
		for (size_t i = 1; i + 1 < level->count; i++)
			if (s[i + 1].top - s[i].top > middle[1].top - middle[0].top)
				middle = &s[i];
		const ldb_pgm_segment whole = *middle;
		const ldb_pgm_level whole_level = *level;
		middle->top -= 2;
		assert_invalid(self);
		*middle = whole;
		middle->slope ^= 1u << (LDB_PGM_SLOPE_BITS - 1); /* half of it */
		assert_invalid(self);
		*middle = whole;
		middle->key = middle[1].key;
		assert_invalid(self);
		*middle = whole;
		s[level->count].key = 7;
		assert_invalid(self);
		s[level->count].key = LDB_KEY_MAX;
		s[level->count].top--;
		assert_invalid(self);
		s[level->count].top++;
		level->width--;
		assert_invalid(self);
		level->width = 2 * (l ? self->epsilon_recursive : self->epsilon) + 3;
		assert_invalid(self);
		*level = whole_level;
		assert_valid(levels[0], self);
	}
	ldb_key *const tops[] = {&self->top_keys[17], &self->top_middle[3], &self->top_root[1]};
	for (size_t i = 0; i < 3; i++) {
		(*tops[i])++;
		assert_invalid(self);
		(*tops[i])--;
	}
	assert_valid(levels[0], self);
	levels[0]->destroy(self);
	free(keys);
}

static void test_too_many_keys(void **state)
{
	(void)state;
	ldb_error err = {{0}, {0}, {0}};
	void *self;
	const ldb_key key = 0; /* refused before a key is read */
	assert_int_equal(levels[0]->build(&self, &key, (size_t)1 << 32, (double[]){0, 4}, &err),
			 LDB_UNSUPPORTED);
	assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_universes),
		cmocka_unit_test(test_least_segments),
		cmocka_unit_test(test_lines_are_cut),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_tuning),
		cmocka_unit_test(test_validate_finds_damage),
		cmocka_unit_test(test_too_many_keys),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
