/*
 * Does btree's validate see a broken tree? Each byte of the inner nodes, of the values and of the
 * unused slots is changed in turn, and each time the tree must be found wrong. (A key in use may be
 * changed unseen as long as the order holds: no one else knows it. After updates the same is true
 * of bounds and values.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../indexes/btree/btree.c"
#include "../indexes/btree/chunks.c"
#include "../indexes/btree/load.c"
#include "../indexes/btree/update.c"
#include "../indexes/btree/validate.c"

enum { N = 3000 };

static btree *make_tree(ldb_key *keys, double fill)
{
	void *self = NULL;
	const double values[] = {fill, 16};
	for (size_t i = 0; i < N; i++)
		keys[i] = 3 * i + (i > N / 2 ? LDB_KEY_MAX / 2 : 0);
	assert_int_equal(btree_build(&self, keys, N, values, NULL), LDB_OK);
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

/* All that is below a node, at `level`. */
static void break_each(btree *tree, node *at, uint32_t level)
{
	const unsigned count = node_count(at);
	expect_noticed(tree, at->key + count, (FANOUT - count) * sizeof(ldb_key), "unused keys");
	expect_noticed(tree, at->word + count, (FANOUT - count) * sizeof *at->word, "unused words");
	if (!tree->updated || level < tree->levels)
		expect_noticed(tree, at->word, count * sizeof *at->word, "values or child links");
	if (!tree->updated && level < tree->levels)
		expect_noticed(tree, at->key, count * sizeof(ldb_key), "bounds");
	for (unsigned i = 0; level < tree->levels && i < count; i += i ? 7 : 1)
		break_each(tree, child_at(at, i), level + 1);
}

static void test_loaded(void **state)
{
	(void)state;
	static ldb_key keys[N];
	for (int half = 0; half < 2; half++) {
		btree *tree = make_tree(keys, half ? 0.6 : 1);
		assert_true(tree->levels >= 2);
		break_each(tree, tree->root, 0);
		btree_destroy(tree);
	}
}

static void test_updated(void **state)
{
	(void)state;
	static ldb_key keys[N];
	btree *tree = make_tree(keys, 1);
	for (size_t i = 0; i < N; i++) {
		const ldb_op ops[] = {{.key = keys[i] + 1, .value = i, .kind = LDB_PUT},
				      {.key = keys[i * 7 % N], .kind = LDB_DELETE}};
		ldb_val out[2];
		assert_int_equal(btree_apply(tree, ops, 2, out, NULL), 2);
	}
	assert_int_equal(btree_validate(tree, NULL), LDB_OK);
	break_each(tree, tree->root, 0);
	expect_noticed(tree, &tree->n, sizeof tree->n, "the number of entries");
	expect_noticed(tree, &tree->free_count, sizeof tree->free_count,
		       "the number of free nodes");
	btree_destroy(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_loaded),
					   cmocka_unit_test(test_updated)};
	return cmocka_run_group_tests_name("btree", tests, NULL, NULL);
}
