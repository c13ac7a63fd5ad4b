/*
 * ldx, beyond what every index is tested for: threads that build the same index; every width of
 * separators and chunks on every generated set; the parts' invariants; the range that the root
 * leaves out; what it does with separators that can't tell keys apart; the byte budget; broken
 * indexes that validate must see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../indexes/ldx/build.c"
#include "../indexes/ldx/ldx.c"
#include "../indexes/ldx/tune.c"
#include "dataset.h"
#include "rng.h"

enum { KEYS = 100000 };

static ldx *make(const ldb_key *keys, size_t n, double budget, int chunk, int bits, int threads)
{
	void *self = NULL;
	ldb_error err = {.subject = ""};
	assert_int_equal(ldx_build(&self, keys, n, (double[]){budget, chunk, bits, threads}, &err),
			 LDB_OK);
	if (ldx_validate(self, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
	return self;
}

static ldb_key *generated(size_t set)
{
	ldb_key *keys = malloc(KEYS * sizeof *keys);
	assert_non_null(keys);
	ldb_generators[set].generate(keys, KEYS, 7);
	return keys;
}

static void expect_same(const ldx *a, const ldx *b)
{
	assert_int_equal(a->node_count, b->node_count);
	assert_int_equal(a->bucket_count, b->bucket_count);
	assert_int_equal(a->max_height, b->max_height);
	assert_int_equal(ldx_segment_bytes(a), ldx_segment_bytes(b));
	if (ldx_segment_bytes(a))
		assert_memory_equal(a->root.segments, b->root.segments, ldx_segment_bytes(a));
	if (a->node_count)
		assert_memory_equal(a->nodes, b->nodes, ldx_node_bytes(a));
}

static void test_threads_build_the_same(void **state)
{
	(void)state;
	static const int threads[] = {2, 3, 7, 64};
	for (size_t set = 0; ldb_generators[set].name; set++) {
		ldb_key *keys = generated(set);
		ldx *one = make(keys, KEYS, 10, 0, 0, 1);
		for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
			ldx *many = make(keys, KEYS, 10, 0, 0, threads[t]);
			expect_same(one, many);
			ldx_destroy(many);
		}
		ldx_destroy(one);
		free(keys);
	}
}

/* All keys, both ends of all gaps (by validate), and queries anywhere, batched and alone. */
static void test_every_width(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 3);
	for (size_t set = 0; ldb_generators[set].name; set++) {
		ldb_key *keys = generated(set);
		for (int v = 0; v < 4; v++) {
			ldx *self = make(keys, KEYS, 10, v % 2 + 1, v / 2 + 1, 1);
			assert_int_equal(self->chunk_lines, v % 2 + 1);
			assert_int_equal(self->bits, v < 2 ? 16 : 32);
			enum { QUERIES = 5000 };
			static ldb_key q[QUERIES];
			static ldb_val alone[QUERIES], batched[QUERIES];
			for (size_t i = 0; i < QUERIES; i++)
				q[i] = i % 2 ? ldb_rng_next(&rng)
					     : keys[ldb_rng_next(&rng) % KEYS] + i % 3 - 1;
			ldx_lookup(self, q, QUERIES, alone);
			ldx_lookup_batch(self, q, QUERIES, batched);
			for (size_t i = 0; i < QUERIES; i++) {
				const size_t rank = ldb_lower_bound(keys, KEYS, q[i]);
				assert_int_equal(alone[i], rank < KEYS ? rank : LDB_NONE);
				assert_int_equal(batched[i], alone[i]);
			}
			ldx_destroy(self);
		}
		free(keys);
	}
}

/* A tree's leaf-level nodes lead to consecutive chunks, in order, and separators never decrease. */
static size_t check_tree(const ldx *self, size_t number, unsigned height, size_t expected)
{
	const ldx_node *node = &self->nodes[number];
	assert_true(number < self->node_count);
	assert_int_equal(height > 1, (node->link & LDX_TO_NODES) != 0);
	const size_t separators = ldx_children(self->bits) - 1;
	size_t used = 0;
	for (size_t i = 0; i < separators; i++) {
		const uint32_t here = self->bits == 16 ? node->narrow[i] : node->wide[i];
		const uint32_t none = self->bits == 16 ? UINT16_MAX : UINT32_MAX;
		if (i > 0)
			assert_true(here >=
				    (self->bits == 16 ? node->narrow[i - 1] : node->wide[i - 1]));
		used += here != none;
	}
	if (height == 1) {
		assert_int_equal(node->link, expected);
		return expected + (used + 1) * self->chunk_lines;
	}
	for (size_t c = 0; c <= used; c++)
		expected = check_tree(self, (node->link & ~LDX_TO_NODES) + c, height - 1, expected);
	return expected;
}

static unsigned height_of(const ldx *self, size_t top)
{
	unsigned height = 1;
	for (const ldx_node *node = &self->nodes[top]; node->link & LDX_TO_NODES; height++)
		node = &self->nodes[node->link & ~LDX_TO_NODES];
	return height;
}

static void test_trees(void **state)
{
	(void)state;
	unsigned highest = 0;
	for (size_t set = 0; ldb_generators[set].name; set++) {
		ldb_key *keys = generated(set);
		for (int bits = 1; bits <= 2; bits++) {
			ldx *self = make(keys, KEYS, 3, 0, bits, 1);
			for (size_t b = 0; b < self->bucket_count; b++) {
				const unsigned height = height_of(self, b);
				assert_true(height >= self->min_height);
				assert_true(height <= self->max_height);
				const ldx_node *node = &self->nodes[b];
				while (node->link & LDX_TO_NODES)
					node = &self->nodes[node->link & ~LDX_TO_NODES];
				check_tree(self, b, height, node->link);
			}
			highest = self->max_height > highest ? self->max_height : highest;
			ldx_destroy(self);
		}
		free(keys);
	}
	assert_true(highest > 2);
}

/* Outliers that would take all buckets are left out of the root's range, and found all the same. */
static void test_outliers(void **state)
{
	(void)state;
	static ldb_key keys[KEYS];
	for (size_t i = 0; i < KEYS; i++)
		keys[i] = ((uint64_t)1 << 40) + 10 * i;
	for (size_t i = 0; i < 20; i++) {
		keys[i] = i;
		keys[KEYS - 1 - i] = UINT64_MAX - i;
	}
	ldx *self = make(keys, KEYS, 10, 0, 0, 1);
	assert_true(self->root.base >= (uint64_t)1 << 40);
	assert_true(self->root.limit < (uint64_t)1 << 30);
	assert_int_equal(self->max_height, self->min_height);
	ldx_destroy(self);
}

/* Runs of equal keys, longer than a node's chunks, and clusters that no fraction tells apart. */
static void test_what_separators_cannot_tell(void **state)
{
	(void)state;
	static ldb_key keys[KEYS];
	for (size_t i = 0; i < KEYS; i++) {
		const uint64_t cluster = i / 1000;
		keys[i] = (cluster << 56) + (i % 1000 < 500 ? 5 : i % 1000);
	}
	for (int bits = 1; bits <= 2; bits++)
		ldx_destroy(make(keys, KEYS, 10, 0, bits, 3));
	for (size_t i = 0; i < KEYS; i++)
		keys[i] = 77;
	ldx_destroy(make(keys, KEYS, 10, 0, 0, 3));
}

static void test_budget(void **state)
{
	(void)state;
	static const double percents[] = {4, 10, 40};
	for (size_t set = 0; ldb_generators[set].name; set++) {
		ldb_key *keys = generated(set);
		for (size_t p = 0; p < sizeof percents / sizeof *percents; p++) {
			ldx *self = make(keys, KEYS, percents[p], 0, 0, 1);
			if ((double)ldx_bytes_held(self) > percents[p] / 100 * KEYS * 8)
				fail_msg("%s: %zu bytes are more than %g %%",
					 ldb_generators[set].name, ldx_bytes_held(self),
					 percents[p]);
			ldx_destroy(self);
		}
		free(keys);
	}
}

static void test_validate_sees(void **state)
{
	(void)state;
	ldb_key *keys = generated(0);
	ldx *self = make(keys, KEYS, 10, 1, 2, 1);
	ldb_error err;
	/* A separator too small sends queries behind their chunk. */
	ldx_node *node = &self->nodes[self->node_count / 2];
	const ldx_node good = *node;
	assert_true(node->wide[1] != UINT32_MAX);
	node->wide[0] = node->wide[1] = 0;
	assert_int_equal(ldx_validate(self, &err), LDB_INVALID);
	*node = good;
	node->link += 2;
	assert_int_equal(ldx_validate(self, &err), LDB_INVALID);
	*node = good;
	self->low_rank += 2; /* two keys that are neither inside nor below */
	self->root.base = keys[self->low_rank];
	self->low_rank -= 2;
	assert_int_equal(ldx_validate(self, &err), LDB_INVALID);
	ldx_destroy(self);
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads_build_the_same),
		cmocka_unit_test(test_every_width),
		cmocka_unit_test(test_trees),
		cmocka_unit_test(test_outliers),
		cmocka_unit_test(test_what_separators_cannot_tell),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_validate_sees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
