/*
 * Streams of operations: drawn ones are done again by a plain sorted array, which must come to the
 * same answers, the same end and the same checksum; and each mix must be what it says.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "liars/map.h"
#include "rng.h"
#include "stream.h"
#include "timeline.h"

enum { MOST_KEYS = 20000, OPS = 30000 };
static ldb_key keys[MOST_KEYS];

/* Distinct keys with 0 and UINT64_MAX among them. */
static void make_keys(size_t n)
{
	for (size_t i = 0; i < n; i++)
		keys[i] = i * (UINT64_MAX / MOST_KEYS) + ldb_mix64(i) % 1000;
	if (n)
		keys[0] = 0;
	if (n > 1)
		keys[n - 1] = LDB_KEY_MAX;
}

static ldb_stream *make_stream(size_t n, size_t ops)
{
	ldb_stream *s;
	make_keys(n);
	assert_int_equal(ldb_stream_make(keys, n, ops, &s, NULL), LDB_OK);
	return s;
}

static map *build_map(const ldb_key *initial, size_t n)
{
	void *self = NULL;
	assert_int_equal(map_build(&self, initial, n, NULL, NULL), LDB_OK);
	return self;
}

/* Does all threads' operations in turns on one map; their order between threads must not matter. */
static void replay(const ldb_stream *s)
{
	map *model = build_map(s->initial, s->initial_n);
	uint64_t sum[4] = {0};
	size_t done[4] = {0}, left = 1;
	for (size_t i = 0; i < s->initial_n; i++)
		assert_true(i == 0 || s->initial[i - 1] < s->initial[i]);
	while (left) {
		left = 0;
		for (size_t t = 0; t < s->threads; t++) {
			const ldb_op *op = s->ops + t * s->room + done[t];
			ldb_val out;
			if (done[t] == s->count[t])
				continue;
			assert_int_equal(map_apply(model, op, 1, &out, NULL), 1);
			const bool certain = op->kind != LDB_SCAN || s->threads == 1;
			if (certain && out != s->answers[t * s->room + done[t]])
				fail_msg("operation %zu of thread %zu", done[t], t);
			sum[t] += ldb_stream_fold(op, &out, 1, s->threads);
			done[t]++;
			left++;
		}
	}
	for (size_t t = 0; t < s->threads; t++)
		assert_int_equal(sum[t], s->sum[t]);
	for (size_t r = 0; r < s->n; r++)
		assert_int_equal(map_get(model, s->keys[r]), s->at_end[r]);
	map_destroy(model);
}

static void test_answers(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 2, 3, 10, 257, 5000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		ldb_stream *s = make_stream(sizes[i], OPS);
		for (size_t threads = 1; threads <= 4; threads++) {
			for (const ldb_mix *m = ldb_mixes; m->name; m++) {
				ldb_stream_draw(s, m, m->scan_length, 0.5, threads, OPS, i);
				replay(s);
			}
			ldb_stream_draw(s, &ldb_verification_mix, 50, 0.5, threads, OPS, i);
			replay(s);
		}
		ldb_stream_free(s);
	}
}

static void test_preload(void **state)
{
	(void)state;
	ldb_stream *s = make_stream(1000, OPS);
	static const double share[] = {0.001, 0.1, 0.5, 0.909, 1};
	for (const ldb_mix *m = ldb_mixes; m->name; m++)
		for (size_t i = 0; i < 5; i++) {
			ldb_stream_draw(s, m, m->scan_length, share[i], 1, OPS, 7);
			replay(s);
			const size_t part = m->place == LDB_PLACE_HOT ? 101 : 1000;
			const size_t held_out = part - (size_t)((double)part * share[i] + 0.5);
			assert_int_equal(s->initial_n, 1000 - held_out);
			if (m->insert == 100)
				assert_int_equal(s->count[0], held_out);
			if (m->remove == 100)
				assert_int_equal(s->count[0], s->initial_n);
		}
	ldb_stream_free(s);
}

/* Shares of operations within 5 standard deviations. */
static void test_shares(void **state)
{
	(void)state;
	ldb_stream *s = make_stream(MOST_KEYS, OPS);
	for (const ldb_mix *m = ldb_mixes; m->name; m++) {
		size_t kind[4] = {0};
		ldb_stream_draw(s, m, m->scan_length, 0.5, 1, OPS, 3);
		const size_t n = s->count[0];
		assert_true(n > 900);
		for (size_t i = 0; i < n; i++)
			kind[s->ops[i].kind]++;
		const double steps = (double)n / (1 + m->modify / 100.0);
		const double want[] = {(m->get + m->modify) / 100.0,
				       (m->update + m->insert + m->modify) / 100.0,
				       m->remove / 100.0, m->scan / 100.0};
		for (int k = 0; k < 4; k++) {
			const double expected = want[k] * steps;
			assert_true(fabs((double)kind[k] - expected) <= 5 * sqrt(expected) + 2);
		}
	}
	ldb_stream_free(s);
}

static const ldb_mix *find_mix(const char *name)
{
	const ldb_mix *m = ldb_mixes;
	while (m->name && strcmp(m->name, name) != 0)
		m++;
	assert_non_null(m->name);
	return m;
}

static size_t rank_of(const ldb_stream *s, ldb_key key)
{
	size_t r = 0;
	while (s->keys[r] != key)
		r++;
	return r;
}

static void test_places(void **state)
{
	(void)state;
	ldb_stream *s = make_stream(2000, OPS);
	ldb_stream_draw(s, find_mix("append"), 0, 0.5, 1, OPS, 1);
	assert_int_equal(s->count[0], 1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(s->ops[i].key, s->keys[1000 + i]);

	ldb_stream_draw(s, find_mix("insert-shift"), 0, 0.5, 1, OPS, 1);
	size_t descents = 0;
	for (size_t i = 0; i < s->count[0]; i++) {
		assert_true(s->ops[i].key >= s->keys[1000]);
		descents += i && s->ops[i].key < s->ops[i - 1].key;
	}
	assert_true(descents > 300);

	ldb_stream_draw(s, find_mix("insert-hot"), 0, 0.5, 1, OPS, 1);
	size_t low = SIZE_MAX, high = 0;
	for (size_t i = 0; i < s->count[0]; i++) {
		const size_t r = rank_of(s, s->ops[i].key);
		low = r < low ? r : low;
		high = r > high ? r : high;
	}
	assert_true(s->count[0] == 100 && high - low <= 200);

	/* Random inserts lie everywhere, and another seed draws others. */
	ldb_stream_draw(s, find_mix("insert"), 0, 0.5, 1, OPS, 1);
	const ldb_key first = s->ops[0].key;
	size_t lower = 0;
	for (size_t i = 0; i < s->count[0]; i++)
		lower += s->ops[i].key < s->keys[1000];
	assert_true(lower > 400 && lower < 600);
	ldb_stream_draw(s, find_mix("insert"), 0, 0.5, 1, OPS, 2);
	assert_true(s->ops[0].key != first);
	ldb_stream_draw(s, find_mix("insert"), 0, 0.5, 1, OPS, 1);
	assert_int_equal(s->ops[0].key, first);
	ldb_stream_free(s);
}

/* A thread writes and gets only its own keys. */
static void test_threads_keep_apart(void **state)
{
	(void)state;
	ldb_stream *s = make_stream(1000, OPS);
	ldb_stream_draw(s, find_mix("mix50"), 0, 0.5, 3, 600, 1);
	for (size_t t = 0; t < 3; t++) {
		assert_true(s->count[t] > 100);
		for (size_t i = 0; i < s->count[t]; i++)
			assert_int_equal(rank_of(s, s->ops[t * s->room + i].key) % 3, t);
	}
	ldb_stream_free(s);
}

/* Popular keys of ycsb-c, and late ones of ycsb-d. */
static void test_skew(void **state)
{
	(void)state;
	static size_t hits[MOST_KEYS];
	ldb_stream *s = make_stream(MOST_KEYS, OPS);
	ldb_stream_draw(s, find_mix("ycsb-c"), 0, 0.5, 1, OPS, 1);
	size_t most = 0;
	for (size_t i = 0; i < s->count[0]; i++) {
		const size_t r = rank_of(s, s->ops[i].key);
		most = ++hits[r] > most ? hits[r] : most;
	}
	/* 1 / (sum of k^-0.99 to 10,000) is 0.097. */
	assert_true((double)most > OPS * 0.085 && (double)most < OPS * 0.11);

	ldb_stream_draw(s, find_mix("ycsb-d"), 0, 0.5, 1, OPS, 1);
	size_t recent = 0, gets = 0;
	ldb_key last = 0;
	for (size_t i = 0; i < s->count[0]; i++) {
		if (s->ops[i].kind == LDB_PUT)
			last = s->ops[i].key;
		gets += s->ops[i].kind == LDB_GET;
		recent += s->ops[i].kind == LDB_GET && s->ops[i].key == last;
	}
	assert_true((double)recent > 0.085 * (double)gets);
	ldb_stream_free(s);
}

/* The checksum sees a wrong answer, and one that swaps places with another. */
static void test_checksum(void **state)
{
	(void)state;
	ldb_op ops[2] = {{.key = 10, .kind = LDB_GET}, {.key = 20, .kind = LDB_GET}};
	const ldb_val right[] = {1, 2}, swapped[] = {2, 1}, wrong[] = {1, 3};
	const uint64_t sum = ldb_stream_fold(ops, right, 2, 1);
	assert_true(sum != ldb_stream_fold(ops, swapped, 2, 1));
	assert_true(sum != ldb_stream_fold(ops, wrong, 2, 1));
	/* A scan counts where no other thread is at work. */
	ops[1].kind = LDB_SCAN;
	assert_true(ldb_stream_fold(ops, right, 2, 1) != ldb_stream_fold(ops, wrong, 2, 1));
	assert_int_equal(ldb_stream_fold(ops, right, 2, 2), ldb_stream_fold(ops, wrong, 2, 2));
	/* What a PUT answers counts: it must be 0. */
	ops[1].kind = LDB_PUT;
	assert_true(ldb_stream_fold(ops, right, 2, 2) != ldb_stream_fold(ops, wrong, 2, 2));
}

static void test_timeline(void **state)
{
	(void)state;
	static ldb_timeline t;
	ldb_timeline_reset(&t);
	const uint64_t start = 12345;
	for (uint64_t ms = 0; ms < 550; ms++)
		if (ms < 200 || ms >= 300) /* a stall of one slot */
			ldb_timeline_add(&t, start, start + ms * 1000000, 64);
	assert_int_equal(t.last, 5);
	static const uint64_t want[] = {6400, 6400, 0, 6400, 6400, 3200};
	for (int i = 0; i < 6; i++)
		assert_int_equal(t.ops[i], want[i]);
	for (int i = 1; i < 5; i++)
		assert_true(t.cpu_ns[i] >= t.cpu_ns[i - 1]);
	ldb_timeline_add(&t, start, start + 10 * LDB_SLOTS * LDB_SLOT_NS, 1); /* beyond the end */
	assert_int_equal(t.last, LDB_SLOTS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_preload),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_threads_keep_apart),
		cmocka_unit_test(test_skew),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_timeline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
