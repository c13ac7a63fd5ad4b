/*
 * Does btree's validate see a broken tree? Each byte of the inner nodes, of the leaf links, of the
 * values and of the unused key slots is changed in turn, and each time the tree must be found
 * wrong. (A key in use may be changed unseen as long as the order holds: no one else knows it.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../indexes/btree/btree.c"

enum { N = 3000 };

static btree *make_tree(ldb_key *keys, double fill)
{
	void *self = NULL;
	for (size_t i = 0; i < N; i++)
		keys[i] = 3 * i + (i > N / 2 ? LDB_KEY_MAX / 2 : 0);
	assert_int_equal(btree_build(&self, keys, N, &fill, NULL), LDB_OK);
	assert_int_equal(btree_validate(self, NULL), LDB_OK);
	return self;
}

static void expect_noticed(btree *tree, void *memory, size_t bytes, const char *what)
{
	unsigned char *p = memory;
	for (size_t i = 0; i < bytes; i++) {
		ldb_error err = {.subject = ""};
		p[i] ^= 0x11;
		if (btree_validate(tree, &err) != LDB_INVALID || !*err.subject)
			fail_msg("byte %zu of %s changed, validate sees nothing", i, what);
		p[i] ^= 0x11;
	}
	assert_int_equal(btree_validate(tree, NULL), LDB_OK);
}

static void test_validate(void **state)
{
	(void)state;
	static ldb_key keys[N];
	for (int half = 0; half < 2; half++) {
		btree *tree = make_tree(keys, half ? 0.6 : 1);
		assert_true(tree->levels >= 2);
		expect_noticed(tree, tree->inners, inner_bytes(tree), "the inner nodes");
		expect_noticed(tree, tree->links, tree->leaf_count * sizeof *tree->links,
			       "the leaf links");
		for (uint32_t i = 0; i < tree->leaf_count; i += 17) {
			leaf_node *leaf = &tree->leaves[i];
			uint32_t count = tree->links[i].count;
			expect_noticed(tree, leaf->value, sizeof leaf->value, "a leaf's values");
			expect_noticed(tree, leaf->key + count, (FANOUT - count) * sizeof(ldb_key),
				       "a leaf's unused keys");
		}
		expect_noticed(tree, &tree->max, sizeof tree->max, "the largest key");
		btree_destroy(tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_validate)};
	return cmocka_run_group_tests_name("btree", tests, NULL, NULL);
}
