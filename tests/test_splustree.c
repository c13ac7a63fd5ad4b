/*
 * What the differential test of all indexes does not reach in splustree: trees whose last node is
 * full to the brim or holds one key, on each level; the read loops for more levels than a test can
 * build, tried on small trees; and whether validate sees a broken tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../indexes/splustree/splustree.c"
#include "rng.h"

static splustree *make_tree(const ldb_key *keys, size_t n, int wide, int copied)
{
	const double values[] = {wide, copied};
	void *self = NULL;
	ldb_error err = {.subject = ""};
	assert_int_equal(splustree_build(&self, keys, n, values, NULL), LDB_OK);
	if (splustree_validate(self, &err) != LDB_OK)
		fail_msg("n = %zu: %s %s", n, err.subject, err.value);
	return self;
}

static ldb_val lower_bound(const ldb_key *keys, size_t n, ldb_key q)
{
	size_t rank = 0;
	for (size_t left = n; left > 0;) {
		size_t half = left / 2;
		if (keys[rank + half] < q)
			rank += half + 1, left -= half + 1;
		else
			left = half;
	}
	return rank < n ? rank : LDB_NONE;
}

/* Sorted, steps of 0 (equal keys), 1 or 2; the last key is UINT64_MAX where asked for. */
static void make_keys(ldb_key *keys, size_t n, int ends_at_max)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, n);
	ldb_key key = 5;
	for (size_t i = 0; i < n; i++)
		keys[i] = key += ldb_rng_below(&rng, 3);
	if (ends_at_max && n)
		keys[n - 1] = LDB_KEY_MAX;
}

enum { QUERIES = 1500 };

/* Queries at both ends and at random, through every read loop that fits the tree. */
static void check_tree(const splustree *tree, const ldb_key *keys, size_t n)
{
	static ldb_key q[QUERIES];
	static ldb_val out[4][QUERIES];
	const int wide = tree->width == 16;
	ldb_rng rng;
	ldb_rng_seed(&rng, n + 1);
	for (size_t i = 0; i < QUERIES; i++) {
		size_t at = i < 200 ? i : i < 400 ? n - 1 - (i - 200) : ldb_rng_below(&rng, n + 1);
		q[i] = at < n ? keys[at] + i % 3 - 1 : LDB_KEY_MAX - i % 2;
	}
	splustree_lookup(tree, q, QUERIES, out[0]);
	lookups[wide][ANY](tree, q, QUERIES, out[1]);
	splustree_lookup_batch(tree, q, QUERIES, out[2]);
	for (size_t i = 0; i < QUERIES; i++) { /* chains of one query, carry taken off again */
		chases[wide][ANY](tree, &(ldb_key){q[i] - ldb_chain_step(7)}, 1, 7, &out[3][i]);
	}
	for (size_t i = 0; i < QUERIES; i++) {
		const ldb_val right = lower_bound(keys, n, q[i]);
		for (int loop = 0; loop < 4; loop++) {
			if (out[loop][i] != right)
				fail_msg("n = %zu, width %u, loop %d: %llu is answered %lld, not "
					 "%lld",
					 n, tree->width, loop, (unsigned long long)q[i],
					 (long long)out[loop][i], (long long)right);
		}
	}
}

/* Sizes around those at which a tree gets one more level, or is full. */
static void test_full_trees(void **state)
{
	(void)state;
	enum { LARGEST = 16 * 17 * 17 * 17 + 16 };
	ldb_key *keys = calloc(LARGEST, sizeof *keys);
	assert_non_null(keys);
	for (int variant = 0; variant < 8; variant++) {
		const int wide = variant & 1, copied = variant >> 1 & 1;
		const size_t width = wide ? 16 : 8;
		size_t levels = 0;
		for (size_t full = width; full < LARGEST; full *= width + 1, levels++) {
			const size_t sizes[] = {full - width, full - 1, full, full + 1,
						full + width};
			for (size_t s = 0; s < 5; s++) {
				const size_t n = sizes[s];
				make_keys(keys, n, variant >> 2);
				splustree *tree = make_tree(keys, n, wide, copied);
				if (n > full - width && n <= full)
					assert_int_equal(tree->levels, levels);
				if (n > full)
					assert_int_equal(tree->levels, levels + 1);
				check_tree(tree, keys, n);
				splustree_destroy(tree);
			}
		}
	}
	free(keys);
}

static void expect_noticed(splustree *tree, void *memory, size_t bytes, const char *what)
{
	unsigned char *p = memory;
	for (size_t i = 0; i < bytes; i++) {
		ldb_error err = {.subject = ""};
		p[i] ^= 0x11;
		if (splustree_validate(tree, &err) != LDB_INVALID || !*err.subject)
			fail_msg("byte %zu of %s changed, validate sees nothing", i, what);
		p[i] ^= 0x11;
	}
	assert_int_equal(splustree_validate(tree, NULL), LDB_OK);
}

static void test_validate(void **state)
{
	(void)state;
	enum { N = 1003 };
	static ldb_key keys[N];
	for (int variant = 0; variant < 4; variant++) {
		make_keys(keys, N, 0);
		splustree *tree = make_tree(keys, N, variant & 1, variant >> 1);
		expect_noticed(tree, tree->inners, tree->inner_bytes, "the inner nodes");
		if (tree->copy)
			expect_noticed(tree, tree->copy, tree->copy_bytes, "the copied leaves");
		expect_noticed(tree, tree->level, (tree->levels + 1) * sizeof *tree->level,
			       "the levels' starts");
		expect_noticed(tree, &tree->last_leaf, sizeof tree->last_leaf, "the last leaf");
		expect_noticed(tree, &tree->levels, sizeof tree->levels, "the number of levels");
		expect_noticed(tree, &tree->width, sizeof tree->width, "the width");
		keys[N / 2] = 1; /* no longer sorted */
		assert_int_equal(splustree_validate(tree, NULL), LDB_INVALID);
		splustree_destroy(tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_full_trees),
					   cmocka_unit_test(test_validate)};
	return cmocka_run_group_tests_name("splustree", tests, NULL, NULL);
}
