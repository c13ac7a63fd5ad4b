/*
 * art, beyond what every index is tested for: nodes of every number of children on every level, the
 * size by the paper's count of nodes, lower bounds beside compressed paths, and broken trees that
 * validate must see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../indexes/art/art.c"
#include "../indexes/art/build.c"
#include "../indexes/art/order.c"
#include "rng.h"

static art *make_tree(const ldb_key *keys, size_t n)
{
	void *self = NULL;
	ldb_error err = {.subject = ""};
	assert_int_equal(art_build(&self, keys, n, NULL, &err), LDB_OK);
	if (art_validate(self, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
	return self;
}

static ldb_val oracle(const ldb_key *keys, size_t n, ldb_key q)
{
	for (size_t i = 0; i < n; i++) {
		if (keys[i] >= q)
			return i;
	}
	return LDB_NONE;
}

/* By all ways: one by one, in a batch, and by the walk alone. */
static void check_queries(const art *tree, const ldb_key *q, size_t count)
{
	ldb_val *out = malloc(count * sizeof *out);
	assert_non_null(out);
	art_lookup_batch(tree, q, count, out);
	for (size_t i = 0; i < count; i++) {
		const ldb_val right = oracle(tree->keys, tree->n, q[i]);
		if (out[i] != right || art_find(tree, q[i]) != right ||
		    art_lower_bound(tree, q[i]) != right)
			fail_msg("%#llx: %lld, %lld, %lld where %lld is right",
				 (unsigned long long)q[i], (long long)out[i],
				 (long long)art_find(tree, q[i]),
				 (long long)art_lower_bound(tree, q[i]), (long long)right);
	}
	free(out);
}

/* One node of each number of children, with all bytes spread, on each level. */
static void test_every_node(void **state)
{
	(void)state;
	for (unsigned level = 0; level < ART_LEVELS; level++) {
		for (unsigned children = 2; children <= 256; children++) {
			ldb_key keys[256], q[3 * 256];
			const ldb_key rest = level ? 0x5a : 0; /* bytes below: skipped by leaves */
			for (unsigned i = 0; i < children; i++)
				keys[i] = (ldb_key)(i * 255 / (children - 1)) << 8 * level | rest;
			for (unsigned i = 0; i < 256; i++) {
				q[3 * i] = (ldb_key)i << 8 * level;
				q[3 * i + 1] = q[3 * i] | rest;
				q[3 * i + 2] = q[3 * i] + rest + 1;
			}
			art *tree = make_tree(keys, children);
			const unsigned type = children <= 4    ? ART_NODE4
					      : children <= 16 ? ART_NODE16
					      : children <= 48 ? ART_NODE48
							       : ART_NODE256;
			assert_int_equal(art_type(tree->root), type);
			assert_int_equal(art_level(tree->root), level);
			check_queries(tree, q, sizeof q / sizeof *q);
			art_destroy(tree);
		}
	}
}

/* Counts the nodes of each type over keys[0..n), by the definition of the tree. */
static void count_nodes(const ldb_key *keys, size_t n, size_t count[ART_TYPES])
{
	if (n == 0 || keys[0] == keys[n - 1])
		return;
	unsigned shift = 56;
	while ((keys[0] ^ keys[n - 1]) >> shift == 0)
		shift -= 8;
	unsigned children = 0;
	for (size_t i = 0, end; i < n; i = end) {
		for (end = i + 1; end < n && keys[end] >> shift == keys[i] >> shift; end++)
			;
		count_nodes(keys + i, end - i, count);
		children++;
	}
	count[(children > 4) + (children > 16) + (children > 48)]++;
}

static int compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

/* Random keys of few different bytes: deep trees with long skipped paths and equal keys. */
static void make_keys(ldb_rng *rng, unsigned values, ldb_key *keys, size_t n)
{
	static const uint8_t byte[] = {0, 255, 1, 128, 127, 254, 2, 64};
	for (size_t i = 0; i < n; i++) {
		keys[i] = 0;
		for (unsigned level = 0; level < ART_LEVELS; level++)
			keys[i] = keys[i] << 8 | byte[ldb_rng_below(rng, values)];
	}
	qsort(keys, n, sizeof *keys, compare_keys);
}

static void test_size(void **state)
{
	(void)state;
	enum { N = 20000 };
	static ldb_key keys[N];
	ldb_rng rng;
	ldb_rng_seed(&rng, 5);
	for (unsigned bits = 12; bits <= 64; bits += 4) {
		for (size_t i = 0; i < N; i++)
			keys[i] = ldb_rng_next(&rng) >> (64 - bits);
		qsort(keys, N, sizeof *keys, compare_keys);
		size_t count[ART_TYPES] = {0};
		count_nodes(keys, N, count);
		art *tree = make_tree(keys, N);
		size_t sum[ART_TYPES] = {0};
		for (unsigned level = 0; level < ART_LEVELS; level++) {
			for (unsigned type = 0; type < ART_TYPES; type++)
				sum[type] += tree->count[level][type];
		}
		for (unsigned type = 0; type < ART_TYPES; type++)
			assert_int_equal(sum[type], count[type]);
		const double formula =
			(double)count[ART_NODE4] * 64 / 3 + (double)count[ART_NODE16] * 80 +
			(double)count[ART_NODE48] * 256 + (double)count[ART_NODE256] * 1024;
		const double bytes = (double)art_bytes(tree) - sizeof *tree;
		assert_true(bytes >= formula - 1 && bytes < formula + ART_LEVELS * 3 * 64);
		art_destroy(tree);
	}
}

/* Queries of the same bytes and beside them: they part from the paths at every depth. */
static void test_beside_paths(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 11);
	for (unsigned round = 0; round < 400; round++) {
		const unsigned values = 2 + round % 7;
		const size_t n = 1 + ldb_rng_below(&rng, 300);
		ldb_key keys[300], q[3 * 200];
		make_keys(&rng, values, keys, n);
		make_keys(&rng, values, q, 200);
		for (size_t i = 0; i < 200; i++) {
			const unsigned shift = 8 * (unsigned)ldb_rng_below(&rng, 8);
			q[200 + i] = q[i] + ((ldb_key)1 << shift);
			q[400 + i] = keys[i % n] - ((ldb_key)1 << shift);
		}
		art *tree = make_tree(keys, n);
		check_queries(tree, q, sizeof q / sizeof *q);
		art_destroy(tree);
	}
}

static void expect_noticed(art *tree, void *memory, size_t bytes, const char *what)
{
	unsigned char *p = memory;
	for (size_t i = 0; i < bytes; i++) {
		ldb_error err = {.subject = ""};
		p[i] ^= 0x11;
		if (art_validate(tree, &err) != LDB_INVALID || !*err.subject)
			fail_msg("byte %zu of %s changed, validate sees nothing", i, what);
		p[i] ^= 0x11;
	}
	assert_int_equal(art_validate(tree, NULL), LDB_OK);
}

static void expect_level_noticed(art *tree, unsigned level)
{
	const uint32_t *count = tree->count[level];
	for (uint32_t i = 0; i < count[ART_NODE4]; i++)
		expect_noticed(tree, art_get4(tree, art_make_ref(ART_NODE4, level, i)),
			       sizeof(art_node4), "Node4");
	for (uint32_t i = 0; i < count[ART_NODE16]; i++)
		expect_noticed(tree, art_get16(tree, art_make_ref(ART_NODE16, level, i)),
			       sizeof(art_node16), "Node16");
	for (uint32_t i = 0; i < count[ART_NODE48]; i++)
		expect_noticed(tree, art_get48(tree, art_make_ref(ART_NODE48, level, i)),
			       offsetof(art_node48, unused), "Node48");
	for (uint32_t i = 0; i < count[ART_NODE256]; i++)
		expect_noticed(tree, art_get256(tree, art_make_ref(ART_NODE256, level, i)),
			       sizeof(art_node256), "Node256");
}

static void test_validate(void **state)
{
	(void)state;
	ldb_key keys[400];
	size_t n = 0;
	/* A Node4 above one node of each type, on different levels, and some equal keys. */
	for (ldb_key i = 0; i < 60; i++)
		keys[n++] = 3 * i << 40;
	for (ldb_key i = 0; i < 30; i++)
		keys[n++] = 1ull << 60 | 5 * i;
	for (ldb_key i = 0; i < 9; i++)
		keys[n++] = 2ull << 60 | 7 * i << 16;
	for (ldb_key i = 0; i < 3; i++)
		keys[n++] = 3ull << 60 | i << 24;
	keys[n] = keys[n - 1];
	n++;
	art *tree = make_tree(keys, n);
	for (unsigned type = 0; type < ART_TYPES; type++) {
		uint32_t sum = 0;
		for (unsigned level = 0; level < ART_LEVELS; level++)
			sum += tree->count[level][type];
		assert_true(sum > 0);
	}
	for (unsigned level = 0; level < ART_LEVELS; level++)
		expect_level_noticed(tree, level);
	expect_noticed(tree, &tree->root, sizeof tree->root, "the root");
	expect_noticed(tree, tree->count, sizeof tree->count, "the counts");
	art_destroy(tree);
}

/* Keys that agree above a node in the right tree, and do not in one over other keys. */
static void test_validate_skipped(void **state)
{
	(void)state;
	ldb_key keys[] = {0x1100, 0x1101, 0x1200, 0x1201};
	art *tree = make_tree(keys, 4);
	keys[3] = 0x1301; /* below the node for 0x12.. */
	assert_int_equal(art_validate(tree, NULL), LDB_INVALID);
	keys[3] = 0x1201;
	keys[1] = 0x1102; /* another byte than leads to it */
	assert_int_equal(art_validate(tree, NULL), LDB_INVALID);
	art_destroy(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_node),       cmocka_unit_test(test_size),
		cmocka_unit_test(test_beside_paths),     cmocka_unit_test(test_validate),
		cmocka_unit_test(test_validate_skipped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
