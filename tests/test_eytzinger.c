/*
 * What the differential test of all indexes does not reach in eytzinger: every number of keys up to
 * some hundred, every query of each, so that the arithmetic between slots and ranks is tried on all
 * shapes of the last level; and whether validate sees a broken tree.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../indexes/eytzinger/eytzinger.c"

enum { LARGEST = 600 };

static eytzinger *make_tree(const ldb_key *keys, size_t n)
{
	void *self = NULL;
	assert_int_equal(eytzinger_build(&self, keys, n, NULL, NULL), LDB_OK);
	assert_int_equal(eytzinger_validate(self, NULL), LDB_OK);
	return self;
}

/* Keys 10, 20, 30 ... each `run` times. */
static void check_all_queries(const ldb_key *keys, size_t n, size_t run)
{
	static ldb_key q[10 * LARGEST + 40];
	static ldb_val single[10 * LARGEST + 40], batched[10 * LARGEST + 40];
	const size_t queries = 10 * n + 40;
	eytzinger *tree = make_tree(keys, n);
	for (size_t i = 0; i < queries; i++)
		q[i] = i + 1 < queries ? i : LDB_KEY_MAX;
	eytzinger_lookup(tree, q, queries, single);
	eytzinger_lookup_batch(tree, q, queries, batched);
	for (size_t i = 0; i < queries; i++) {
		size_t rank = n;
		if (q[i] <= 10 * n)
			rank = (q[i] + 9) / 10 > 0 ? ((size_t)(q[i] + 9) / 10 - 1) * run : 0;
		const ldb_val right = rank < n ? rank : LDB_NONE;
		if (single[i] != right || batched[i] != right)
			fail_msg("n = %zu, run %zu, query %zu: %lld and %lld, not %lld", n, run, i,
				 (long long)single[i], (long long)batched[i], (long long)right);
	}
	eytzinger_destroy(tree);
}

static void test_all_shapes(void **state)
{
	(void)state;
	static const size_t runs[] = {1, 2, 5};
	static ldb_key keys[LARGEST];
	for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
		for (size_t i = 0; i < LARGEST; i++)
			keys[i] = 10 * (i / runs[r] + 1);
		for (size_t n = 0; n <= LARGEST; n++)
			check_all_queries(keys, n, runs[r]);
	}
}

static void expect_noticed(eytzinger *tree, void *memory, size_t bytes, const char *what)
{
	unsigned char *p = memory;
	for (size_t i = 0; i < bytes; i++) {
		ldb_error err = {.subject = ""};
		p[i] ^= 0x11;
		if (eytzinger_validate(tree, &err) != LDB_INVALID || !*err.subject)
			fail_msg("byte %zu of %s changed, validate sees nothing", i, what);
		p[i] ^= 0x11;
	}
	assert_int_equal(eytzinger_validate(tree, NULL), LDB_OK);
}

static void test_validate(void **state)
{
	(void)state;
	static ldb_key keys[LARGEST];
	for (size_t i = 0; i < LARGEST; i++)
		keys[i] = 7 * i;
	eytzinger *tree = make_tree(keys, LARGEST);
	expect_noticed(tree, tree->slot, slot_bytes(tree), "the slots");
	expect_noticed(tree, &tree->full, sizeof tree->full, "the number of levels");
	expect_noticed(tree, &tree->bottom, sizeof tree->bottom, "the number of bottom keys");
	keys[LARGEST / 2] = 1; /* no longer sorted */
	assert_int_equal(eytzinger_validate(tree, NULL), LDB_INVALID);
	eytzinger_destroy(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_shapes),
					   cmocka_unit_test(test_validate)};
	return cmocka_run_group_tests_name("eytzinger", tests, NULL, NULL);
}
