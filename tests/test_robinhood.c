/*
 * robinhood, beyond what every index is tested for: key sets made against its hash, the keys whose
 * hashes look like free slots, the bound on probes, the load, and broken tables that validate must
 * see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../indexes/robinhood/robinhood.c"
#include "rng.h"

/* The key that has a hash under seed 0: each round of hash_of undone. */
static ldb_key key_of(uint64_t h)
{
	h *= 0x9cb4b2f8129337dbu; /* inverse of the multiplier modulo 2^64 */
	h ^= h >> 33;
	h *= 0x4f74430c22a54005u;
	h ^= h >> 33;
	return h;
}

static int compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

static robinhood *make_table(const ldb_key *keys, size_t n, double load, double probe)
{
	void *self = NULL;
	ldb_error err = {.subject = ""};
	assert_int_equal(robinhood_build(&self, keys, n, (double[]){load, probe}, &err), LDB_OK);
	if (robinhood_validate(self, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
	return self;
}

static void expect_all(const robinhood *hashed, const ldb_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(robinhood_find(hashed, keys[i]), i);
}

static void test_inverse(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 1);
	for (int i = 0; i < 1000; i++) {
		const uint64_t h = ldb_rng_next(&rng);
		assert_true(hash_of(key_of(h), 0) == h);
	}
}

/* Thousands of keys with the same home under the first seed: another seed is taken. */
static void test_against_hash(void **state)
{
	(void)state;
	enum { N = 5000 };
	static ldb_key keys[N];
	for (int high = 0; high < 2; high++) {
		for (size_t i = 0; i < N; i++)
			keys[i] = key_of(high ? NO_HASH - i : i);
		qsort(keys, N, sizeof *keys, compare_keys);
		robinhood *hashed = make_table(keys, N, 0.7, 64);
		assert_int_equal(hashed->attempts, 2);
		assert_true(hashed->longest <= 64);
		expect_all(hashed, keys, N);
		assert_true(robinhood_find(hashed, key_of(NO_HASH / 2)) == LDB_NONE);
		robinhood_destroy(hashed);
	}
}

/* Hashes 0 and NO_HASH, present and absent, alone and among others of the last home. */
static void test_extreme_hashes(void **state)
{
	(void)state;
	for (size_t others = 0; others < 40; others++) {
		for (int present = 0; present < 4; present++) {
			ldb_key keys[42];
			size_t n = 0;
			for (; n < others; n++)
				keys[n] = key_of(NO_HASH - 1 - n);
			if (present & 1)
				keys[n++] = key_of(NO_HASH);
			if (present & 2)
				keys[n++] = key_of(0);
			qsort(keys, n, sizeof *keys, compare_keys);
			robinhood *hashed = make_table(keys, n, 0.7, 64);
			assert_int_equal(hashed->seed, 0);
			expect_all(hashed, keys, n);
			if (!(present & 1))
				assert_true(robinhood_find(hashed, key_of(NO_HASH)) == LDB_NONE);
			if (!(present & 2))
				assert_true(robinhood_find(hashed, key_of(0)) == LDB_NONE);
			robinhood_destroy(hashed);
		}
	}
}

/* The bound holds where it can; where it can't, the table is right all the same. */
static void test_bound(void **state)
{
	(void)state;
	enum { N = 30000 };
	static ldb_key keys[N];
	ldb_rng rng;
	ldb_rng_seed(&rng, 9);
	for (size_t i = 0; i < N; i++)
		keys[i] = ldb_rng_next(&rng);
	qsort(keys, N, sizeof *keys, compare_keys);
	static const double loads[] = {0.1, 0.5, 0.7, 0.95};
	for (size_t l = 0; l < sizeof loads / sizeof *loads; l++) {
		robinhood *hashed = make_table(keys, N, loads[l], 64);
		assert_true(hashed->longest <= 64);
		assert_int_equal(hashed->attempts, 1);
		/* Load and size are what was asked for: 64 bytes for 5 * load keys. */
		const double bytes = N * 64 / (5 * loads[l]);
		assert_true((double)robinhood_bytes(hashed) > bytes &&
			    (double)robinhood_bytes(hashed) < bytes + 67 * 64 + sizeof(robinhood));
		expect_all(hashed, keys, N);
		robinhood_destroy(hashed);
	}
	robinhood *hashed = make_table(keys, N, 0.95, 1);
	assert_true(hashed->attempts > 4 && hashed->longest > 1);
	expect_all(hashed, keys, N);
	robinhood_destroy(hashed);
}

static void expect_noticed(robinhood *hashed, void *memory, size_t bytes, const char *what)
{
	unsigned char *p = memory;
	for (size_t i = 0; i < bytes; i++) {
		ldb_error err = {.subject = ""};
		p[i] ^= 0x11;
		if (robinhood_validate(hashed, &err) != LDB_INVALID || !*err.subject)
			fail_msg("byte %zu of %s changed, validate sees nothing", i, what);
		p[i] ^= 0x11;
	}
	assert_int_equal(robinhood_validate(hashed, NULL), LDB_OK);
}

static void test_validate(void **state)
{
	(void)state;
	enum { N = 600 };
	ldb_key keys[N];
	for (size_t i = 0; i < N; i++)
		keys[i] = i / 2 * 12345; /* pairs of equal keys */
	robinhood *hashed = make_table(keys, N, 0.9, 64);
	assert_true(hashed->longest > 0);
	expect_noticed(hashed, hashed->buckets, buckets_bytes(hashed), "the table");
	expect_noticed(hashed, &hashed->distinct, sizeof hashed->distinct, "the number of entries");
	expect_noticed(hashed, &hashed->longest, sizeof hashed->longest, "the largest distance");
	robinhood_destroy(hashed);
}

/* An entry behind a line with free slots is not found. */
static void test_validate_gap(void **state)
{
	(void)state;
	enum { N = 600 };
	ldb_key keys[N];
	for (size_t i = 0; i < N; i++)
		keys[i] = i * 12345;
	robinhood *hashed = make_table(keys, N, 0.2, 64);
	size_t moved = 0;
	for (size_t line = 0; line + 1 < hashed->lines; line++) {
		bucket *b = &hashed->buckets[line];
		if (b->rank[0] == NO_RANK || b->rank[1] != NO_RANK || b[1].rank[0] != NO_RANK)
			continue;
		const bucket empty = b[1];
		b[1] = *b, *b = empty;
		assert_int_equal(robinhood_validate(hashed, NULL), LDB_INVALID);
		*b = b[1], b[1] = empty;
		moved++;
	}
	assert_true(moved > 0);
	assert_int_equal(robinhood_validate(hashed, NULL), LDB_OK);
	robinhood_destroy(hashed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inverse),        cmocka_unit_test(test_against_hash),
		cmocka_unit_test(test_extreme_hashes), cmocka_unit_test(test_bound),
		cmocka_unit_test(test_validate),       cmocka_unit_test(test_validate_gap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
