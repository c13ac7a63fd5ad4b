/*
 * Tests of the paths of Q6: every one that is built, at every level of the processor, against a
 * plain loop over random tables and queries; ranges at their edges; and with each allocation
 * failing. DuckDB's path is tested by tests/test_tpch.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"
#include "registry.h"
#include "rng.h"

enum { SAMPLES = 8, QUERIES = 100 };

/* A table of its own size in memory, so that a sanitizer sees reads outside. */
typedef struct {
	ldb_q6_input in;
	ldb_q6_query sample[SAMPLES];
} table;

typedef struct {
	const char *name;
	unsigned first_day, days, discounts, quantities, quantity_step;
	uint32_t price_max;
} shape;

static const shape shapes[] = {
	{"as TPC-H", 8036, 2526, 11, 50, 100, 10500000},
	{"few values", 0, 2, 2, 2, 1, 100},
	{"one value", 65535, 1, 1, 1, 1, UINT32_MAX},
	{"all values", 0, 65536, 256, 65536, 1, UINT32_MAX},
	{"gaps", 3, 1000, 256, 9, 7000, 1000},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void make_table(table *t, const shape *s, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	uint16_t *date = malloc(n * sizeof *date + 1), *quantity = malloc(n * sizeof *quantity + 1);
	uint8_t *discount = malloc(n + 1);
	uint32_t *price = malloc(n * sizeof *price + 1);
	assert_true(date && quantity && discount && price);
	for (size_t i = 0; i < n; i++) {
		/* Skewed: half of the rows in a tenth of the days. */
		const uint64_t range = ldb_rng_below(&rng, 2) ? s->days : s->days / 10 + 1;
		date[i] = (uint16_t)(s->first_day + ldb_rng_below(&rng, range));
		quantity[i] = (uint16_t)(s->quantity_step * ldb_rng_below(&rng, s->quantities) + 1);
		discount[i] = (uint8_t)ldb_rng_below(&rng, s->discounts);
		price[i] = (uint32_t)ldb_rng_below(&rng, (uint64_t)s->price_max + 1);
	}
	*t = (table){.in = {.n = n,
			    .shipdate = date,
			    .discount = discount,
			    .quantity = quantity,
			    .price = price,
			    .sample_count = SAMPLES}};
}

static void free_table(table *t)
{
	free((void *)t->in.shipdate);
	free((void *)t->in.discount);
	free((void *)t->in.quantity);
	free((void *)t->in.price);
}

/* A bound at, below or above a value of the table, or at an end of all. */
static unsigned near_value(ldb_rng *rng, unsigned value, unsigned most)
{
	const unsigned choice = (unsigned)ldb_rng_below(rng, 8);
	const unsigned near = choice == 0   ? 0
			      : choice == 1 ? most
					    : value + (unsigned)ldb_rng_below(rng, 3) - 1;
	return near > most ? 0 : near;
}

static ldb_q6_query random_query(const table *t, ldb_rng *rng)
{
	const size_t n = t->in.n;
	const size_t a = n ? ldb_rng_below(rng, n) : 0, b = n ? ldb_rng_below(rng, n) : 0;
	unsigned from = near_value(rng, n ? t->in.shipdate[a] : 5, 65535);
	unsigned to = near_value(rng, n ? t->in.shipdate[b] : 7, 65535);
	unsigned low = near_value(rng, n ? t->in.discount[a] : 1, 255);
	unsigned high = near_value(rng, n ? t->in.discount[b] : 2, 255);
	/* One in eight stays the wrong way round: an empty range. */
	if (from > to && ldb_rng_below(rng, 8)) {
		const unsigned swap = from;
		from = to;
		to = swap;
	}
	if (low > high && ldb_rng_below(rng, 8)) {
		const unsigned swap = low;
		low = high;
		high = swap;
	}
	return (ldb_q6_query){(uint16_t)from, (uint16_t)to, (uint8_t)low, (uint8_t)high,
			      (uint16_t)near_value(rng, n ? t->in.quantity[b] : 3, 65535)};
}

static uint64_t plain_answer(const ldb_q6_input *in, const ldb_q6_query *q)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < in->n; i++)
		if (in->shipdate[i] >= q->from && in->shipdate[i] < q->to &&
		    in->discount[i] >= q->low && in->discount[i] <= q->high &&
		    in->quantity[i] < q->below)
			sum += (uint64_t)in->price[i] * in->discount[i];
	return sum;
}

/* Ranges at the ends of everything, and empty ones. */
static const ldb_q6_query edges[] = {
	{0, 65535, 0, 255, 65535}, {0, 65535, 0, 255, 0},   {0, 0, 0, 255, 65535},
	{65535, 65535, 0, 255, 9}, {0, 1, 0, 0, 1},         {65534, 65535, 255, 255, 65535},
	{1, 0, 0, 255, 65535},     {0, 65535, 1, 0, 5},     {0, 65535, 255, 255, 65535},
	{8036, 8037, 0, 255, 101}, {0, 65535, 0, 0, 65535},
};
enum { EDGES = sizeof edges / sizeof *edges };

/* --- all paths ------------------------------------------------------------------------------- */

/* Each path with each of its settings worth a test. */
static const char *const settings[] = {
	"scan",
	"btree_fetch",
	"btree_clustered",
	"btree_composite",
	"btree_composite:order=dqs",
	"btree_composite:order=dqs:sums=yes",
	"learned_clustered",
	"learned_clustered:epsilon=1",
	"grid",
	"grid:epsilon=1",
	"grid:sort=shipdate:discount_columns=1:other_columns=1",
	"grid:sort=shipdate:discount_columns=3:other_columns=7:epsilon=2",
	"grid:sort=shipdate:discount_columns=256:other_columns=256",
	"grid:sort=quantity:discount_columns=11:other_columns=30",
	"grid:sums=yes",
	"grid:sort=shipdate:discount_columns=5:other_columns=50:sums=yes",
	"grid:sort=quantity:discount_columns=2:other_columns=256:epsilon=65536",
};
enum { SETTINGS = sizeof settings / sizeof *settings, LEVELS = 3 };

static ldb_competitor paths[SETTINGS * LEVELS];
enum { PATHS = SETTINGS * LEVELS };

static int open_paths(void **state)
{
	(void)state;
	static const char *const levels[LEVELS] = {"v2", "v3", "v4"};
	for (size_t i = 0; i < PATHS; i++) {
		ldb_error err;
		setenv("LDB_ISA", levels[i / SETTINGS], 1);
		if (ldb_competitor_open(LDB_Q6, settings[i % SETTINGS], &paths[i], &err) !=
		    LDB_OK) {
			print_error("%s: %s: %s\n", settings[i % SETTINGS], err.subject, err.value);
			return -1;
		}
	}
	unsetenv("LDB_ISA");
	return 0;
}

static void test_no_path_is_left_out(void **state)
{
	(void)state;
	size_t count;
	char **names = ldb_plugin_names(LDB_Q6, &count);
	assert_true(count >= 7);
	for (size_t i = 0; i < count; i++) {
		bool known = strcmp(names[i], "duckdb") == 0;
		for (size_t s = 0; s < SETTINGS; s++)
			known |= strcmp(settings[s], names[i]) == 0;
		if (!known)
			fail_msg("path %s is not tested", names[i]);
	}
	ldb_names_free(names, count);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void check_path(const ldb_competitor *c, const table *t, const char *what,
		       const ldb_q6_query *q, const uint64_t *want)
{
	void *self = NULL;
	ldb_error err;
	uint64_t answer[QUERIES];
	const size_t held = ldb_alloc_held();
	if (c->q6->build(&self, &t->in, c->params, &err) != LDB_OK)
		fail_msg("%s:%s on %s: %s: %s", c->name, c->params_text, what, err.subject,
			 err.value);
	assert_int_equal(c->q6->bytes(self), ldb_alloc_held() - held);
	c->q6->answer(self, q, QUERIES, answer);
	for (size_t i = 0; i < QUERIES; i++)
		if (answer[i] != want[i])
			fail_msg("%s:%s of %s on %s, %zu rows: dates [%u, %u), discount [%u, %u], "
				 "quantity < %u gives %llu, expected %llu",
				 c->name, c->params_text, c->path, what, t->in.n, q[i].from,
				 q[i].to, q[i].low, q[i].high, q[i].below,
				 (unsigned long long)answer[i], (unsigned long long)want[i]);
	c->q6->answer(self, q, 0, NULL);
	c->q6->destroy(self);
	assert_int_equal(ldb_alloc_held(), held);
}

/* All paths on one table. */
static void check_table(table *t, const char *what, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	ldb_q6_query q[QUERIES];
	uint64_t want[QUERIES];
	for (size_t i = 0; i < QUERIES; i++) {
		q[i] = i < EDGES ? edges[i] : random_query(t, &rng);
		want[i] = plain_answer(&t->in, &q[i]);
	}
	t->in.sample = t->sample;
	for (size_t i = 0; i < PATHS; i++)
		check_path(&paths[i], t, what, q, want);
}

static void test_small_tables(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 1025};
	for (size_t s = 0; s < SHAPES; s++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			table t;
			make_table(&t, &shapes[s], sizes[i], 1000 * s + i);
			ldb_rng rng;
			ldb_rng_seed(&rng, i);
			for (size_t k = 0; k < SAMPLES; k++)
				t.sample[k] = random_query(&t, &rng);
			check_table(&t, shapes[s].name, s + 77 * i);
			free_table(&t);
		}
}

static void test_large_tables(void **state)
{
	(void)state;
	for (size_t s = 0; s < SHAPES; s++) {
		table t;
		make_table(&t, &shapes[s], 40000, s);
		for (size_t k = 0; k < SAMPLES; k++)
			t.sample[k] = (ldb_q6_query){8401, 8766, 5, 7, 2400};
		check_table(&t, shapes[s].name, s);
		free_table(&t);
	}
}

static void test_no_sample_queries(void **state)
{
	(void)state;
	table t;
	make_table(&t, &shapes[0], 500, 9);
	t.in.sample_count = 0;
	check_table(&t, "no sample", 3);
	free_table(&t);
}

/* --- failing allocations ---------------------------------------------------------------------- */

static void fail_each_allocation(const ldb_competitor *c, const table *t)
{
	const size_t held = ldb_alloc_held();
	for (uint64_t nth = 1;; nth++) {
		void *self = NULL;
		ldb_error err = {.subject = ""};
		ldb_alloc_fail_at(nth);
		const ldb_status status = c->q6->build(&self, &t->in, c->params, &err);
		ldb_alloc_fail_at(0);
		if (status == LDB_OK) {
			assert_true(nth > 1);
			c->q6->destroy(self);
			break;
		}
		assert_int_equal(status, LDB_OOM);
		assert_true(*err.subject && *err.remedy);
		assert_int_equal(ldb_alloc_held(), held);
	}
	assert_int_equal(ldb_alloc_held(), held);
}

static void test_failing_allocations(void **state)
{
	(void)state;
	table t;
	make_table(&t, &shapes[0], 300, 4);
	for (size_t k = 0; k < SAMPLES; k++)
		t.sample[k] = edges[k];
	t.in.sample = t.sample;
	for (size_t i = 0; i < PATHS; i++)
		fail_each_allocation(&paths[i], &t);
	free_table(&t);
}

/* --- the grid's layout ------------------------------------------------------------------------ */

/* The layout follows the queries: what they narrow most gets the columns. */
static void test_layout_follows_the_sample(void **state)
{
	(void)state;
	ldb_competitor c;
	assert_int_equal(ldb_competitor_open(LDB_Q6, "grid", &c, NULL), LDB_OK);
	table t;
	make_table(&t, &shapes[0], 200000, 5);
	ldb_index_info info[2];
	const ldb_q6_query narrow[2] = {{0, 65535, 5, 5, 200}, {8401, 8403, 0, 255, 65535}};
	for (size_t i = 0; i < 2; i++) {
		for (size_t k = 0; k < SAMPLES; k++)
			t.sample[k] = narrow[i];
		t.in.sample = t.sample;
		void *self;
		assert_int_equal(c.q6->build(&self, &t.in, c.params, NULL), LDB_OK);
		c.q6->info(self, &info[i]);
		c.q6->destroy(self);
	}
	assert_null(strstr(info[0].chosen, "discount_columns=1,"));
	assert_non_null(
		strstr(info[1].chosen, "sort=shipdate,discount_columns=1,other_columns=1,"));
	free_table(&t);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_path_is_left_out),
		cmocka_unit_test(test_small_tables),
		cmocka_unit_test(test_large_tables),
		cmocka_unit_test(test_no_sample_queries),
		cmocka_unit_test(test_failing_allocations),
		cmocka_unit_test(test_layout_follows_the_sample),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, open_paths, NULL);
}
