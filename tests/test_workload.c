/*
 * Unit tests of the queries: what each workload draws (harness/workload.c), and the sets, chains,
 * checksums and verification lists made of it (harness/query.c).
 *
 * Draws are compared with naive counterparts on key sets that are hard on ranks, and their
 * frequencies with exact probabilities by Pearson's chi-square. Seeds are fixed, so a test passes
 * always or never; the bounds lie where a right generator ends up once in millions of seeds.
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

#include "query.h"
#include "rng.h"
#include "workload.h"

enum { MOST_KEYS = 4096 };

/* --- key sets ----------------------------------------------------------------------------------
 */

typedef struct {
	const char *name;
	size_t n;
	ldb_key keys[MOST_KEYS];
} key_set;

static key_set sets[32];
static size_t set_count;

static int compare_keys(const void *a, const void *b)
{
	ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

static key_set *new_set(const char *name, size_t n)
{
	assert_true(set_count < sizeof sets / sizeof *sets && n <= MOST_KEYS);
	key_set *s = &sets[set_count++];
	s->name = name;
	s->n = n;
	return s;
}

static void few_keys(const char *name, size_t n, ldb_key a, ldb_key b, ldb_key c)
{
	key_set *s = new_set(name, n);
	const ldb_key keys[] = {a, b, c};
	memcpy(s->keys, keys, n * sizeof *keys);
}

/* n keys: from, from + step, .. each `copies` times. */
static void even_keys(const char *name, size_t n, ldb_key from, ldb_key step, size_t copies)
{
	key_set *s = new_set(name, n);
	for (size_t i = 0; i < n; i++)
		s->keys[i] = from + i / copies * step;
}

static int make_sets(void **state)
{
	(void)state;
	few_keys("1 key, 0", 1, 0, 0, 0);
	few_keys("1 key, 5", 1, 5, 0, 0);
	few_keys("1 key, max", 1, LDB_KEY_MAX, 0, 0);
	few_keys("2 keys, 0 and max", 2, 0, LDB_KEY_MAX, 0);
	few_keys("2 keys, both 0", 2, 0, 0, 0);
	few_keys("2 keys, both max", 2, LDB_KEY_MAX, LDB_KEY_MAX, 0);
	few_keys("2 keys, neighbours", 2, 3, 4, 0);
	few_keys("3 keys, 0 1 max", 3, 0, 1, LDB_KEY_MAX);
	few_keys("3 keys, 7 7 9", 3, 7, 7, 9);
	even_keys("dense from 0", 1000, 0, 1, 1);
	even_keys("dense from 5000", 1000, 5000, 1, 1);
	even_keys("dense up to max", 1000, LDB_KEY_MAX - 999, 1, 1);
	even_keys("all 0", 500, 0, 0, 1);
	even_keys("all equal", 500, (ldb_key)1 << 60, 0, 1);
	even_keys("all max", 500, LDB_KEY_MAX, 0, 1);
	even_keys("each seven times", 1001, 0, 3, 7);
	even_keys("wide even gaps", 1000, 1, LDB_KEY_MAX / 1000, 1);
	/* One gap only, in the middle, and both ends of the range taken. */
	key_set *s = new_set("two blocks", 2000);
	for (size_t i = 0; i < 1000; i++) {
		s->keys[i] = i;
		s->keys[1999 - i] = LDB_KEY_MAX - i;
	}
	ldb_rng rng;
	ldb_rng_seed(&rng, 7);
	s = new_set("random, 0 and max", MOST_KEYS);
	for (size_t i = 0; i < s->n; i++)
		s->keys[i] = ldb_rng_next(&rng) >> ldb_rng_below(&rng, 64);
	s->keys[0] = 0;
	s->keys[1] = LDB_KEY_MAX;
	qsort(s->keys, s->n, sizeof *s->keys, compare_keys);
	return 0;
}

static size_t naive_rank(const ldb_key *keys, size_t n, ldb_key q)
{
	size_t rank = 0;
	for (size_t i = 0; i < n; i++)
		rank += keys[i] < q;
	return rank;
}

static bool has_inner_or_outer_gap(const key_set *s)
{
	for (size_t i = 1; i < s->n; i++)
		if (s->keys[i] - s->keys[i - 1] > 1)
			return true;
	return s->keys[0] != 0 || s->keys[s->n - 1] != LDB_KEY_MAX;
}

/* --- drawing -----------------------------------------------------------------------------------
 */

typedef struct {
	ldb_workload w;
	size_t count;
	ldb_key *q;
	size_t *rank;
} draw;

static draw draw_queries(const char *workload, const ldb_key *keys, size_t n, uint64_t seed,
			 size_t count)
{
	draw d = {.count = count};
	ldb_error err = {.subject = ""};
	if (ldb_workload_parse(workload, &d.w, &err) != LDB_OK)
		fail_msg("%s: %s: %s", err.subject, err.value, err.remedy);
	d.q = malloc(count * sizeof *d.q);
	d.rank = malloc(count * sizeof *d.rank);
	assert_non_null(d.q);
	assert_non_null(d.rank);
	ldb_workload_draw(&d.w, keys, n, LDB_KEY_MAX, seed, d.q, d.rank, count);
	return d;
}

static void draw_free(draw *d)
{
	free(d->q);
	free(d->rank);
}

/* Pearson's chi-square; cells that expect less than 5 are put together. */
static double chi_square(const size_t *seen, const double *share, size_t cells, size_t count,
			 size_t *freedom)
{
	double chi = 0, pooled_seen = 0, pooled = 0;
	size_t used = 0;
	for (size_t i = 0; i < cells; i++) {
		double expected = share[i] * (double)count, off = (double)seen[i] - expected;
		if (expected < 5) {
			pooled_seen += (double)seen[i];
			pooled += expected;
			continue;
		}
		chi += off * off / expected;
		used++;
	}
	if (pooled >= 5) {
		chi += (pooled_seen - pooled) * (pooled_seen - pooled) / pooled;
		used++;
	} else if (pooled_seen > 25) {
		chi = INFINITY; /* hardly expected, seen often */
	}
	*freedom = used ? used - 1 : 0;
	return chi;
}

/* The chi-square of that many degrees that lies 5 standard deviations out (Wilson, Hilferty 1931).
 */
static double chi_limit(size_t freedom)
{
	double v = 2.0 / (9.0 * (double)freedom), root = 1 - v + 5 * sqrt(v);
	return (double)freedom * root * root * root;
}

static void assert_shares(const char *what, const size_t *seen, const double *share, size_t cells,
			  size_t count)
{
	size_t freedom;
	double chi = chi_square(seen, share, cells, count, &freedom);
	if (freedom ? chi > chi_limit(freedom) : chi > 0)
		fail_msg("%s: chi-square %.1f with %zu degrees of freedom, at most %.1f", what, chi,
			 freedom, freedom ? chi_limit(freedom) : 0);
}

static void assert_even(const char *what, const size_t *seen, size_t cells, size_t count)
{
	double *share = malloc(cells * sizeof *share);
	assert_non_null(share);
	for (size_t i = 0; i < cells; i++)
		share[i] = 1 / (double)cells;
	assert_shares(what, seen, share, cells, count);
	free(share);
}

/* A count of `trials` at probability p, within 5 standard deviations; exact at 0 and 1. */
static void assert_binomial(const char *what, size_t seen, size_t trials, double p)
{
	double mean = p * (double)trials, sd = sqrt(mean * (1 - p));
	if (fabs((double)seen - mean) > 5 * sd)
		fail_msg("%s: %zu of %zu, expected %.1f +- %.1f", what, seen, trials, mean, 5 * sd);
}

/* The checks themselves can fail. */
static void test_checks_can_fail(void **state)
{
	(void)state;
	const size_t even[] = {1000, 1030, 980, 990}, skewed[] = {1200, 950, 930, 920};
	const double quarter[] = {.25, .25, .25, .25};
	size_t freedom;
	assert_true(chi_square(even, quarter, 4, 4000, &freedom) < chi_limit(3));
	assert_int_equal(freedom, 3);
	assert_true(chi_square(skewed, quarter, 4, 4000, &freedom) > chi_limit(3));
	const double never[] = {1, 0};
	const size_t often[] = {900, 100};
	assert_true(isinf(chi_square(often, never, 2, 1000, &freedom)));
	/* 5 standard deviations, one-sided: 37.6 and 1273 by tables; the approximation is near. */
	assert_true(fabs(chi_limit(3) - 34.6) < 3);
	assert_true(fabs(chi_limit(1000) - 1240) < 10);
}

static const char *const all_workloads[] = {
	"uniform", "zipf:0",   "zipf",     "zipf:1",     "zipf:3",
	"sorted",  "hot",      "hot:0",    "hot:33.3",   "hot:100",
	"absent",  "absent:0", "absent:7", "absent:100", "lower_bound",
};
enum { WORKLOADS = sizeof all_workloads / sizeof *all_workloads };

/* On every key set, for every workload: ranks are the oracle's, keys are of the promised kind. */
static void test_ranks_are_right(void **state)
{
	(void)state;
	for (size_t i = 0; i < set_count; i++) {
		const key_set *s = &sets[i];
		for (size_t w = 0; w < WORKLOADS; w++) {
			draw d = draw_queries(all_workloads[w], s->keys, s->n, 100 + w, 3000);
			const bool present = d.w.kind != LDB_ABSENT && d.w.kind != LDB_LOWER_BOUND;
			for (size_t j = 0; j < d.count; j++) {
				const size_t rank = naive_rank(s->keys, s->n, d.q[j]);
				const bool hit = rank < s->n && s->keys[rank] == d.q[j];
				if (d.rank[j] != rank)
					fail_msg("%s, %s: rank of %llu is %zu, not %zu", s->name,
						 d.w.name, (unsigned long long)d.q[j], rank,
						 d.rank[j]);
				if (present && !hit)
					fail_msg("%s, %s: %llu is not there", s->name, d.w.name,
						 (unsigned long long)d.q[j]);
				/* Absent at 0 percent asks present keys only. */
				if (d.w.kind == LDB_ABSENT && d.w.value == 0)
					assert_true(hit);
				if (d.w.kind == LDB_ABSENT && d.w.value == 100 &&
				    has_inner_or_outer_gap(s) && hit)
					fail_msg("%s: %llu is there, but was drawn as absent",
						 s->name, (unsigned long long)d.q[j]);
				/* Between the neighbours: none lies above all keys. */
				if (d.w.kind == LDB_LOWER_BOUND && s->keys[s->n - 1] != LDB_KEY_MAX)
					assert_true(rank < s->n);
			}
			draw_free(&d);
		}
	}
}

static void test_oracle(void **state)
{
	(void)state;
	for (size_t i = 0; i < set_count; i++) {
		const key_set *s = &sets[i];
		for (size_t n = 0; n <= s->n; n = n < 40 || n == s->n ? n + 1 : s->n)
			for (size_t k = 0; k < s->n; k += s->n / 20 + 1)
				for (int off = -1; off <= 1; off++) {
					ldb_key q = s->keys[k] + (ldb_key)off;
					size_t rank = naive_rank(s->keys, n, q);
					assert_int_equal(ldb_oracle_rank(s->keys, n, q), rank);
					bool hit = rank < n && s->keys[rank] == q;
					ldb_val get = hit ? rank : LDB_NONE;
					ldb_val lower = rank < n ? rank : LDB_NONE;
					assert_true(ldb_oracle_answer(s->keys, n, q, rank, false) ==
						    get);
					assert_true(ldb_oracle_answer(s->keys, n, q, rank, true) ==
						    lower);
				}
	}
}

static const key_set *find_set(const char *name)
{
	for (size_t i = 0; i < set_count; i++)
		if (strcmp(sets[i].name, name) == 0)
			return &sets[i];
	fail_msg("no key set '%s'", name);
	return NULL;
}

static void count_ranks(const draw *d, size_t n, size_t *seen)
{
	memset(seen, 0, n * sizeof *seen);
	for (size_t i = 0; i < d->count; i++) {
		assert_true(d->rank[i] < n);
		seen[d->rank[i]]++;
	}
}

static void test_uniform_is_even(void **state)
{
	(void)state;
	const key_set *s = find_set("wide even gaps");
	size_t seen[1000];
	draw d = draw_queries("uniform", s->keys, s->n, 1, 200000);
	count_ranks(&d, s->n, seen);
	assert_even("uniform", seen, s->n, d.count);
	draw_free(&d);
}

static void test_absent_share(void **state)
{
	(void)state;
	const char *const texts[] = {"absent:0",  "absent:0.5",  "absent:10", "absent",
				     "absent:90", "absent:99.5", "absent:100"};
	const char *const names[] = {"wide even gaps", "each seven times", "dense from 0",
				     "two blocks"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
			const key_set *s = find_set(names[i]);
			draw d = draw_queries(texts[t], s->keys, s->n, 11 + t, 20000);
			size_t absent = 0;
			for (size_t j = 0; j < d.count; j++)
				absent += d.rank[j] == s->n || s->keys[d.rank[j]] != d.q[j];
			assert_binomial(texts[t], absent, d.count, d.w.value / 100);
			draw_free(&d);
		}
}

/* Each gap alike, whatever its width; within a wide one, each tenth alike. */
static void test_absent_gaps(void **state)
{
	(void)state;
	ldb_key keys[60];
	ldb_key key = 3;
	for (size_t i = 0; i < 60; i++) {
		keys[i] = key;
		key += (ldb_key)2 << (i % 50);
	}
	draw d = draw_queries("absent:100", keys, 60, 5, 120000);
	size_t seen[60] = {0}, tenths[10] = {0}, in_widest = 0;
	for (size_t i = 0; i < d.count; i++) {
		assert_in_range(d.rank[i], 1, 60);
		seen[d.rank[i] - 1]++;
		if (d.rank[i] == 50) { /* between keys[49] and keys[50]: 2^50 - 1 absent keys */
			in_widest++;
			tenths[(d.q[i] - keys[49] - 1) / ((((ldb_key)2 << 49) + 8) / 10)]++;
		}
	}
	assert_even("gaps", seen, 60, d.count);
	assert_even("within a gap", tenths, 10, in_widest);
	draw_free(&d);
}

static void test_lower_bound_between(void **state)
{
	(void)state;
	const key_set *s = find_set("wide even gaps");
	draw d = draw_queries("lower_bound", s->keys, s->n, 9, 200000);
	size_t seen[1000], tenths[10] = {0}, counted = 0;
	count_ranks(&d, s->n, seen);
	assert_even("ranks", seen, s->n, d.count);
	for (size_t i = 0; i < d.count; i++) {
		size_t r = d.rank[i];
		assert_true(d.q[i] <= s->keys[r] && (r == 0 || d.q[i] > s->keys[r - 1]));
		if (r == 0)
			continue;
		ldb_key gap = s->keys[r] - s->keys[r - 1];
		tenths[(s->keys[r] - d.q[i]) / (gap / 10 + 1)]++;
		counted++;
	}
	assert_even("within gaps", tenths, 10, counted);
	draw_free(&d);
	/* A narrow gap: both of its keys are asked, and never the neighbour below. */
	const ldb_key narrow[] = {10, 12};
	d = draw_queries("lower_bound", narrow, 2, 9, 10000);
	size_t eleven = 0, twelve = 0;
	for (size_t i = 0; i < d.count; i++) {
		eleven += d.q[i] == 11;
		twelve += d.q[i] == 12;
		assert_true(d.q[i] <= 12);
	}
	assert_binomial("11", eleven, d.count, .25);
	assert_binomial("12", twelve, d.count, .25);
	draw_free(&d);
}

static size_t greatest_common_divisor(size_t a, size_t b)
{
	return b ? greatest_common_divisor(b, a % b) : a;
}

/*
 * Exact probabilities: the k-th most popular is drawn with 1/k^theta over their sum. Popularity k
 * sits at rank k * r mod n, r being where the most popular one is; a bijection when r and n have no
 * common factor.
 */
static void check_zipf(size_t n, double theta, size_t count)
{
	char text[32];
	ldb_key *keys = malloc(n * sizeof *keys);
	size_t *seen = calloc(n, sizeof *seen);
	double *share = malloc(n * sizeof *share), total = 0;
	assert_true(keys && seen && share);
	for (size_t i = 0; i < n; i++)
		keys[i] = 3 * i;
	snprintf(text, sizeof text, "zipf:%g", theta);
	draw d = draw_queries(text, keys, n, n + 17, count);
	count_ranks(&d, n, seen);
	size_t top = 0;
	for (size_t i = 0; i < n; i++)
		top = seen[i] > seen[top] ? i : top;
	if (theta > 0)
		assert_int_equal(greatest_common_divisor(n, top), 1);
	else
		top = 1; /* all alike: any order is right */
	for (size_t k = 1; k <= n; k++)
		total += pow((double)k, -theta);
	for (size_t k = 1; k <= n; k++)
		share[k * top % n] = pow((double)k, -theta) / total;
	snprintf(text, sizeof text, "zipf:%g, n=%zu", theta, n);
	assert_shares(text, seen, share, n, count);
	draw_free(&d);
	free(keys);
	free(seen);
	free(share);
}

static void test_zipf_is_exact(void **state)
{
	(void)state;
	const size_t sizes[] = {1, 2, 3, 4, 10, 64, 100, 997, 1000};
	const double thetas[] = {0, 0.5, 0.99, 1, 1.5, 5};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
		for (size_t t = 0; t < sizeof thetas / sizeof *thetas; t++)
			check_zipf(sizes[i], thetas[t], 200000);
	/* Large n, where an approximation of the sum would be off in the tail. */
	check_zipf(1 << 18, 0.99, 2000000);
	check_zipf(1 << 18, 1.2, 2000000);
}

/* 90 % in a contiguous range of that share of the keys, and 10 % anywhere. */
static void check_hot(double percent, size_t n, uint64_t seed, size_t *start)
{
	char text[32];
	const size_t count = 100000, hot = (size_t)(percent / 100 * (double)n) < 1
						   ? 1
						   : (size_t)(percent / 100 * (double)n);
	ldb_key *keys = malloc(n * sizeof *keys);
	size_t *seen = malloc(n * sizeof *seen), inside = 0, best = 0, zones[10] = {0};
	assert_true(keys && seen);
	for (size_t i = 0; i < n; i++)
		keys[i] = 10 * i + 5;
	snprintf(text, sizeof text, "hot:%g", percent);
	draw d = draw_queries(text, keys, n, seed, count);
	count_ranks(&d, n, seen);
	*start = 0;
	for (size_t i = 0; i < n; i++) {
		inside += seen[i];
		inside -= i >= hot ? seen[i - hot] : 0;
		if (inside > best) {
			best = inside;
			*start = i + 1 > hot ? i + 1 - hot : 0;
		}
	}
	const double share = (double)hot / (double)n;
	assert_binomial(text, best, count, .9 + .1 * share);
	size_t hits = 0, outside = 0;
	for (size_t i = 0; i < n; i++) {
		bool in = i >= *start && i < *start + hot;
		hits += in ? seen[i] : 0;
		outside += in ? 0 : seen[i];
		if (in && hot % 10 == 0)
			zones[(i - *start) * 10 / hot] += seen[i];
	}
	assert_binomial("outside", outside, count, .1 * (1 - share));
	if (hot % 10 == 0)
		assert_even("within the hot range", zones, 10, hits);
	draw_free(&d);
	free(keys);
	free(seen);
}

static void test_hot_range(void **state)
{
	(void)state;
	size_t first, other;
	check_hot(1, 10000, 1, &first);
	check_hot(1, 10000, 2, &other);
	assert_int_not_equal(first, other); /* it lies elsewhere with another seed */
	check_hot(0, 10000, 3, &first);     /* one key at least */
	check_hot(0.001, 10000, 3, &first);
	check_hot(10, 1000, 4, &first);
	check_hot(50, 1000, 5, &first);
	check_hot(99, 1000, 6, &first);
	check_hot(100, 1000, 7, &first);
	check_hot(1, 7, 8, &first);
}

/* Ascending, and evenly over all ranks: query i within the i-th of `count` equal shares. */
static void test_sorted_spans_all(void **state)
{
	(void)state;
	const key_set *s = find_set("wide even gaps");
	const size_t counts[] = {1, 2, 3, 10, 999, 1000, 1001, 12345};
	for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
		draw d = draw_queries("sorted", s->keys, s->n, c, counts[c]);
		for (size_t i = 0; i < d.count; i++) {
			assert_true(i == 0 || d.q[i] >= d.q[i - 1]);
			assert_in_range(d.rank[i], i * s->n / d.count,
					((i + 1) * s->n - 1) / d.count);
		}
		draw_free(&d);
	}
}

static void test_seeds(void **state)
{
	(void)state;
	const key_set *s = find_set("wide even gaps");
	for (size_t w = 0; w < WORKLOADS; w++) {
		draw a = draw_queries(all_workloads[w], s->keys, s->n, 42, 500);
		draw b = draw_queries(all_workloads[w], s->keys, s->n, 42, 500);
		draw c = draw_queries(all_workloads[w], s->keys, s->n, 43, 500);
		assert_memory_equal(a.q, b.q, a.count * sizeof *a.q);
		assert_memory_equal(a.rank, b.rank, a.count * sizeof *a.rank);
		size_t other = 0;
		for (size_t i = 0; i < a.count; i++)
			other += a.q[i] != c.q[i];
		/* zipf:3 asks the same key with 5 of 6 queries. */
		if (other < a.count / 20)
			fail_msg("%s: only %zu of %zu queries differ between two seeds", a.w.name,
				 other, a.count);
		draw_free(&a);
		draw_free(&b);
		draw_free(&c);
	}
}

static void test_parse(void **state)
{
	(void)state;
	const struct {
		const char *text, *name;
		ldb_workload_kind kind;
		double value;
	} good[] = {
		{"uniform", "uniform", LDB_UNIFORM, 0},
		{"zipf", "zipf:0.99", LDB_ZIPF, 0.99},
		{"zipf:0.99", "zipf:0.99", LDB_ZIPF, 0.99},
		{"zipf:0", "zipf:0", LDB_ZIPF, 0},
		{"zipf:1.0", "zipf:1", LDB_ZIPF, 1},
		{"zipf:5", "zipf:5", LDB_ZIPF, 5},
		{"sorted", "sorted", LDB_SORTED, 0},
		{"hot", "hot:1", LDB_HOT, 1},
		{"hot:0.5", "hot:0.5", LDB_HOT, 0.5},
		{"absent", "absent:50", LDB_ABSENT, 50},
		{"absent:100", "absent:100", LDB_ABSENT, 100},
		{"lower_bound", "lower_bound", LDB_LOWER_BOUND, 0},
		{"mix50", "mix50", LDB_OPERATIONS, 0},
		{"ycsb-e", "ycsb-e", LDB_OPERATIONS, 100},
		{"scan", "scan:100", LDB_OPERATIONS, 100},
		{"scan:1000", "scan:1000", LDB_OPERATIONS, 1000},
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		ldb_workload w;
		assert_int_equal(ldb_workload_parse(good[i].text, &w, NULL), LDB_OK);
		assert_string_equal(w.name, good[i].name);
		assert_int_equal(w.kind, good[i].kind);
		if (good[i].value > 0)
			assert_true(w.value == good[i].value);
		ldb_workload again; /* the name in the CSV is a workload, too */
		assert_int_equal(ldb_workload_parse(w.name, &again, NULL), LDB_OK);
		assert_string_equal(again.name, w.name);
	}
	const struct {
		const char *text, *remedy;
	} wrong[] = {
		{"", "list workloads"},
		{":", "list workloads"},
		{":0.5", "list workloads"},
		{"zip", "did you mean zipf?"},
		{"zipff:0.99", "did you mean zipf?"},
		{"unifrom", "did you mean uniform?"},
		{"bound", "did you mean lower_bound?"},
		{"xyzzy", "list workloads"},
		{" zipf", "did you mean zipf?"},
		{"uniform:1", "write just uniform"},
		{"sorted:", "write just sorted"},
		{"lower_bound:2", "write just lower_bound"},
		{"zipf:", "from 0 to 5"},
		{"zipf:x", "from 0 to 5"},
		{"zipf:1x", "from 0 to 5"},
		{"zipf:0.9:1", "from 0 to 5"},
		{"zipf:-0.1", "from 0 to 5"},
		{"zipf:5.1", "from 0 to 5"},
		{"zipf:nan", "from 0 to 5"},
		{"zipf:inf", "from 0 to 5"},
		{"hot:100.1", "from 0 to 100"},
		{"hot:1%", "from 0 to 100"},
		{"absent:-1", "from 0 to 100"},
		{"absent:1e9", "from 0 to 100"},
		{"mix55", "did you mean mix95"},
		{"mix50:1", "write just mix50"},
		{"ycsb-e:10", "write just ycsb-e"},
		{"scan:0", "from 1 to 1e+06"},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		ldb_workload w;
		ldb_error err = {.subject = ""};
		assert_int_equal(ldb_workload_parse(wrong[i].text, &w, &err), LDB_INVALID);
		assert_string_equal(err.subject, "--workload");
		char quoted[64];
		snprintf(quoted, sizeof quoted, "'%s'", wrong[i].text);
		if (!strstr(err.value, quoted) || !strstr(err.remedy, wrong[i].remedy))
			fail_msg("%s: %s; %s", wrong[i].text, err.value, err.remedy);
		assert_int_equal(ldb_workload_parse(wrong[i].text, &w, NULL), LDB_INVALID);
	}
}

/* --- query sets --------------------------------------------------------------------------------
 */

static const ldb_index ordered_index = {.name = "ordered", .flags = LDB_ORDERED};
static const ldb_index hash_index = {.name = "hash"};
static ldb_competitor both[] = {{.flags = LDB_ORDERED, .index = &ordered_index},
				{.index = &hash_index}};

/* An experiment that needs all kinds of sets. */
static ldb_experiment all_kinds(const char *const *workloads, size_t count, size_t ops)
{
	ldb_experiment e = {
		.competitors = both,
		.competitor_count = 2,
		.modes = {LDB_INDEPENDENT, LDB_CHAINED, LDB_BATCHED},
		.mode_count = 3,
		.threads = {1, 3, 2},
		.thread_count = 3,
		.ops = ops,
		.workload_count = count,
	};
	for (size_t i = 0; i < count; i++)
		assert_int_equal(ldb_workload_parse(workloads[i], &e.workloads[i], NULL), LDB_OK);
	return e;
}

static ldb_dataset dataset_of(const key_set *s)
{
	return (ldb_dataset){.keys = (ldb_key *)(uintptr_t)s->keys, .n = s->n};
}

static ldb_val naive_answer(const ldb_dataset *data, ldb_key q, bool ordered)
{
	size_t rank = ldb_oracle_rank(data->keys, data->n, q); /* checked above */
	if (rank == data->n || (!ordered && data->keys[rank] != q))
		return LDB_NONE;
	return rank;
}

/* The key that query i of a set asks for. */
static ldb_key asked_key(const ldb_query_set *s, size_t i)
{
	return s->chained ? s->q[i] + ldb_chain_step(s->answer[i ? i - 1 : s->count - 1]) : s->q[i];
}

/* A pass as a worker does it, one query at a time, with its own chain. */
static uint64_t naive_pass(const ldb_query_set *s, const ldb_dataset *data,
			   const ldb_payload *payload, size_t start, size_t ops)
{
	ldb_val carry = s->answer[start ? start - 1 : s->count - 1];
	uint64_t sum = 0;
	for (size_t done = 0, at = start; done < ops; done++, at = (at + 1) % s->count) {
		ldb_key key = s->chained ? s->q[at] + ldb_chain_step(carry) : s->q[at];
		carry = naive_answer(data, key, s->ordered);
		sum += ldb_fold(&s->q[at], &carry, 1, payload);
	}
	return sum;
}

static void check_passes(const ldb_queries *queries, const ldb_dataset *data,
			 const ldb_payload *payload)
{
	for (size_t i = 0; i < queries->set_count; i++) {
		const ldb_query_set *s = &queries->sets[i];
		const size_t c = s->count;
		if (!s->workload)
			continue;
		const size_t starts[] = {0, c / 300, c / 3, c - 1};
		const size_t ops[] = {0,        1, 2, c - 1, c, c + 1, 2 * c, 2 * c + c / 2 + 1,
				      5 * c - 1};
		for (size_t a = 0; a < sizeof starts / sizeof *starts; a++)
			for (size_t b = 0; b < sizeof ops / sizeof *ops; b++)
				if (ldb_query_sum(s, starts[a], ops[b]) !=
				    naive_pass(s, data, payload, starts[a], ops[b]))
					fail_msg("%s, ordered %d, chained %d, %zu words: the sum "
						 "of %zu from %zu is off",
						 s->workload->name, s->ordered, s->chained,
						 payload->words_per_record, ops[b], starts[a]);
	}
}

static void test_sums_of_passes(void **state)
{
	(void)state;
	const char *const workloads[] = {"uniform", "absent:30", "lower_bound", "sorted"};
	const char *const names[] = {"1 key, max", "2 keys, 0 and max", "each seven times",
				     "random, 0 and max", "all equal"};
	const size_t payloads[] = {0, 8, 64};
	ldb_experiment e = all_kinds(workloads, 4, 300);
	ldb_queries queries;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		for (size_t p = 0; p < 3; p++) {
			ldb_dataset data = dataset_of(find_set(names[i]));
			ldb_payload payload;
			assert_int_equal(
				ldb_payload_make(data.n, payloads[p], LDB_PAGES_4K, &payload, NULL),
				LDB_OK);
			ldb_queries_draw(&queries, &data, &payload, 42 + i);
			check_passes(&queries, &data, &payload);
			ldb_payload_free(&payload);
			assert_null(payload.words);
		}
	ldb_queries_free(&queries);
}

/* Every combination is there, in the right size, and decodes to the same keys. */
static void test_sets(void **state)
{
	(void)state;
	const char *const workloads[] = {"uniform", "absent"};
	ldb_experiment e = all_kinds(workloads, 2, 1000);
	ldb_dataset data = dataset_of(find_set("random, 0 and max"));
	const ldb_payload none = {0};
	ldb_queries queries;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	assert_int_equal(queries.set_count, 12);
	ldb_queries_draw(&queries, &data, &none, 1);
	for (size_t w = 0; w < 2; w++) {
		const ldb_query_set *plain =
			ldb_query_find(&queries, &e.workloads[w], true, false, 64);
		for (int kind = 0; kind < 4; kind++) {
			const bool ordered = kind & 1, chained = kind & 2;
			const ldb_query_set *s =
				ldb_query_find(&queries, &e.workloads[w], ordered, chained, 64);
			assert_non_null(s);
			assert_int_equal(s->count, 3000); /* ops of the most threads */
			assert_true((uintptr_t)s->q % 64 == 0);
			for (size_t i = 0; i < s->count; i++) {
				assert_true(asked_key(s, i) == plain->q[i]);
				assert_true(s->answer[i] ==
					    naive_answer(&data, plain->q[i], ordered));
			}
			for (size_t threads = 1; threads <= 7; threads++)
				for (size_t t = 0; t < threads; t++)
					assert_in_range(ldb_query_start(s, t, threads), 0,
							s->count - 1);
		}
	}
	/* Other queries in the next round, the same again for the same seed. */
	const ldb_query_set *s = ldb_query_find(&queries, &e.workloads[0], true, true, 64);
	const uint64_t first = s->sum[s->count];
	ldb_queries_draw(&queries, &data, &none, 2);
	assert_true(s->sum[s->count] != first);
	ldb_queries_draw(&queries, &data, &none, 1);
	assert_true(s->sum[s->count] == first);
	ldb_queries_free(&queries);
	assert_null(queries.shared);
}

/* Only what is needed is made; the bytes asked for in planning are enough. */
static void test_sets_needed(void **state)
{
	(void)state;
	const char *const workloads[] = {"uniform"};
	ldb_queries queries;
	ldb_experiment e = all_kinds(workloads, 1, 0);
	e.competitor_count = 1; /* ordered only */
	e.mode_count = 1;       /* independent only */
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	assert_int_equal(queries.set_count, 2);
	assert_non_null(ldb_query_find(&queries, &e.workloads[0], true, false, 64));
	assert_non_null(ldb_query_find(&queries, NULL, true, false, 64));
	assert_null(ldb_query_find(&queries, &e.workloads[0], false, false, 64));
	assert_null(ldb_query_find(&queries, &e.workloads[0], true, true, 64));
	/* Without a number of operations, and with a large one: a million at most. */
	assert_int_equal(queries.sets[0].count, 1 << 20);
	assert_true(queries.shared_bytes <= ldb_query_bytes(&e));
	ldb_queries_free(&queries);
	e.ops = (size_t)1 << 52;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	assert_int_equal(queries.sets[0].count, 1 << 20);
	ldb_queries_free(&queries);
	e.ops = 1;
	e.thread_count = 1;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	assert_int_equal(queries.sets[0].count, 1);
	/* A chain of one asks with its own answer. */
	ldb_queries_free(&queries);
	e.mode_count = 2;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	ldb_dataset data = dataset_of(find_set("random, 0 and max"));
	const ldb_payload none = {0};
	ldb_queries_draw(&queries, &data, &none, 3);
	check_passes(&queries, &data, &none);
	ldb_queries_free(&queries);
}

/* --- verification ------------------------------------------------------------------------------
 */

/* Which of a rank's four queries have been seen: key, key + 1, key - 1. */
enum { SEEN_KEY = 1, SEEN_ABOVE = 2, SEEN_BELOW = 4, SEEN_ALL = 7 };

/* Marks the first `count` queries of a set; checks each answer. */
/* Sets of 32-bit keys ask what those of 64 bits ask, and no key is too wide for them. */
static void test_narrow_queries(void **state)
{
	(void)state;
	static const char *const workloads[] = {"uniform", "zipf", "absent:90", "lower_bound"};
	static ldb_key keys[1000];
	ldb_experiment e = all_kinds(workloads, 4, 3000);
	ldb_queries queries;
	const ldb_payload none = {0};
	e.key_bits = 32 | 64;
	for (int dense = 0; dense < 2; dense++) { /* up to the largest, or far below */
		for (size_t i = 0; i < 1000; i++)
			keys[i] = dense ? 7 + i : i * 4299266 + (i == 999 ? 561 : 0);
		assert_true(dense || keys[999] == UINT32_MAX);
		const ldb_dataset data = {.keys = keys, .n = 1000};
		assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
		queries.largest = UINT32_MAX;
		ldb_queries_draw(&queries, &data, &none, 5);
		ldb_queries_draw_verification(&queries, &data, 0, false);
		size_t found = 0;
		for (size_t s = 0; s < queries.set_count; s++) {
			const ldb_query_set *wide = &queries.sets[s];
			if (wide->key_bits == 32)
				continue;
			const ldb_query_set *narrow = ldb_query_find(
				&queries, wide->workload, wide->ordered, wide->chained, 32);
			assert_true(narrow && narrow->key_bits == 32 && !narrow->q);
			assert_ptr_equal(ldb_query_at(narrow, 5), narrow->q32 + 5);
			assert_int_equal(narrow->count, wide->count);
			uint64_t sum = 0;
			for (size_t i = 0; i < wide->count; i++) {
				const size_t before = i ? i - 1 : wide->count - 1;
				uint32_t q = narrow->q32[i];
				if (narrow->chained)
					q += (uint32_t)ldb_chain_step(narrow->answer[before]);
				assert_true(q == asked_key(wide, i));
				assert_true(narrow->answer[i] ==
					    naive_answer(&data, q, narrow->ordered));
				sum += narrow->answer[i] * (2 * (uint64_t)narrow->q32[i] + 1);
			}
			assert_true(ldb_query_sum(narrow, 0, narrow->count) == sum);
			found++;
		}
		assert_int_equal(found, queries.set_count / 2);
		ldb_queries_free(&queries);
	}
}

static void mark_seen(const ldb_query_set *s, size_t count, const ldb_dataset *data,
		      unsigned char *seen, unsigned *edges)
{
	const ldb_key first = data->keys[0], last = data->keys[data->n - 1];
	const ldb_key wanted[] = {0,         1,     LDB_KEY_MAX, LDB_KEY_MAX - 1,
				  first - 1, first, last + 1,    last};
	for (size_t i = 0; i < s->count; i++) {
		const ldb_key key = asked_key(s, i);
		assert_true(s->answer[i] == naive_answer(data, key, s->ordered));
		if (i >= count)
			continue;
		for (int off = -1; off <= 1; off++) {
			size_t rank = ldb_oracle_rank(data->keys, data->n, key + (ldb_key)off);
			if (rank < data->n && data->keys[rank] == key + (ldb_key)off)
				seen[rank] |= off == 0  ? SEEN_KEY
					      : off < 0 ? SEEN_ABOVE
							: SEEN_BELOW;
		}
		for (unsigned j = 0; j < 8; j++)
			if (key == wanted[j])
				*edges |= 1u << j;
	}
}

/* The whole list, chunk by chunk: every key with its two neighbours, and all edges. */
static void check_exhaustive(const ldb_dataset *data, bool ordered, bool chained)
{
	const char *const workloads[] = {"uniform"};
	ldb_experiment e = all_kinds(workloads, 1, 1);
	ldb_queries queries;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	const ldb_query_set *s = ldb_query_find(&queries, NULL, ordered, chained, 64);
	assert_non_null(s);
	unsigned char *seen = calloc(data->n, 1);
	assert_non_null(seen);
	unsigned edges = 0;
	size_t total = 1;
	for (size_t first = 0; first < total; first += s->count) {
		total = ldb_queries_draw_verification(&queries, data, first, true);
		size_t left = total - first;
		mark_seen(s, left < s->count ? left : s->count, data, seen, &edges);
		/* What the pass over it must return, as for any other set. */
		const ldb_payload none = {0};
		assert_true(ldb_query_sum(s, 0, s->count) ==
			    naive_pass(s, data, &none, 0, s->count));
	}
	assert_int_equal(total, 4 * data->n + 8);
	assert_int_equal(edges, 0xff);
	for (size_t i = 0; i < data->n; i++)
		if (i == 0 || data->keys[i] != data->keys[i - 1]) /* duplicates: the first one */
			assert_int_equal(seen[i], SEEN_ALL);
	free(seen);
	ldb_queries_free(&queries);
}

static void test_verification_is_exhaustive(void **state)
{
	(void)state;
	for (size_t i = 0; i < set_count; i++) {
		ldb_dataset data = dataset_of(&sets[i]);
		check_exhaustive(&data, i & 1, i & 2);
	}
	/* More than one chunk, the last one not full. */
	ldb_dataset data = {.n = 120001};
	data.keys = malloc(data.n * sizeof *data.keys);
	assert_non_null(data.keys);
	for (size_t i = 0; i < data.n; i++)
		data.keys[i] = 1000 * i + i % 7;
	check_exhaustive(&data, true, false);
	check_exhaustive(&data, false, true);
	free(data.keys);
}

/* Not exhaustive: one chunk, spread over all ranks, with all edges. */
static void test_verification_sample(void **state)
{
	(void)state;
	const char *const workloads[] = {"uniform"};
	ldb_experiment e = all_kinds(workloads, 1, 1);
	ldb_queries queries;
	assert_int_equal(ldb_queries_make(&e, &queries, NULL), LDB_OK);
	ldb_dataset data = {.n = 1000003};
	data.keys = malloc(data.n * sizeof *data.keys);
	unsigned char *seen = calloc(data.n, 1);
	assert_true(data.keys && seen);
	for (size_t i = 0; i < data.n; i++)
		data.keys[i] = 1000 * i + 5;
	const ldb_query_set *s = ldb_query_find(&queries, NULL, true, false, 64);
	size_t total = ldb_queries_draw_verification(&queries, &data, 0, false);
	assert_in_range(total, s->count - 4, s->count);
	unsigned edges = 0;
	mark_seen(s, s->count, &data, seen, &edges);
	assert_int_equal(edges, 0xff);
	size_t complete = 0, longest = 0, last = 0;
	for (size_t i = 0; i < data.n; i++)
		if (seen[i] == SEEN_ALL) {
			complete++;
			longest = i - last > longest ? i - last : longest;
			last = i;
		}
	longest = data.n - last > longest ? data.n - last : longest;
	assert_true(complete >= (total - 8) / 4);
	assert_true(longest <= data.n / ((total - 8) / 4) + 1);
	free(data.keys);
	free(seen);
	ldb_queries_free(&queries);
}

/* --- checksum ----------------------------------------------------------------------------------
 */

static void test_payload(void **state)
{
	(void)state;
	ldb_payload payload;
	const size_t sizes[] = {8, 64};
	for (size_t p = 0; p < 2; p++) {
		const size_t n = 1000, words = sizes[p] / 8;
		assert_int_equal(ldb_payload_make(n, sizes[p], LDB_PAGES_THP, &payload, NULL),
				 LDB_OK);
		assert_int_equal(payload.count, n);
		assert_int_equal(payload.words_per_record, words);
		assert_int_equal((uintptr_t)payload.words % 64, 0);
		const ldb_payload none = {0};
		for (ldb_val v = 0; v < n; v++) {
			uint64_t record = 0;
			for (size_t w = 0; w < words; w++)
				record += payload.words[v * words + w];
			const ldb_key q = v * 77;
			assert_true(ldb_fold(&q, &v, 1, &payload) - ldb_fold(&q, &v, 1, &none) ==
				    record);
			/* Records differ, so that a wrong one would show. */
			assert_true(v == 0 ||
				    payload.words[v * words] != payload.words[(v - 1) * words]);
		}
		/* Nothing is read for what is not there, nor behind the end. */
		const ldb_key q = 5;
		const ldb_val beyond[] = {n, n + 1, LDB_NONE};
		for (size_t i = 0; i < 3; i++)
			assert_true(ldb_fold(&q, &beyond[i], 1, &payload) ==
				    ldb_fold(&q, &beyond[i], 1, &none));
		ldb_payload_free(&payload);
	}
	/* Nor is the first word behind the last record. */
	const uint64_t words[] = {5, 7, 99};
	const ldb_payload two = {.words = words, .count = 2, .words_per_record = 1};
	const ldb_payload none = {0};
	const ldb_key q = 3;
	for (ldb_val v = 0; v < 3; v++)
		assert_int_equal(ldb_fold(&q, &v, 1, &two) - ldb_fold(&q, &v, 1, &none),
				 v < 2 ? words[v] : 0);
	assert_int_equal(ldb_payload_make(1000, 0, LDB_PAGES_THP, &payload, NULL), LDB_OK);
	assert_null(payload.words);
	ldb_payload_free(&payload);
	ldb_error err = {.subject = ""};
	assert_int_equal(ldb_payload_make((size_t)1 << 58, 8, LDB_PAGES_4K, &payload, &err),
			 LDB_OOM);
	assert_true(*err.subject && *err.value && *err.remedy);
}

/* Any one wrong answer shows; so do answers that are shifted, reversed, or (nearly always) swapped.
 */
static void test_fold_sees_wrong_answers(void **state)
{
	(void)state;
	enum { COUNT = 1000 };
	const ldb_payload none = {0};
	const key_set *s = find_set("random, 0 and max");
	draw d = draw_queries("uniform", s->keys, s->n, 3, COUNT);
	ldb_val right[COUNT], wrong[COUNT];
	ldb_rng rng;
	ldb_rng_seed(&rng, 4);
	for (size_t i = 0; i < COUNT; i++)
		right[i] = d.rank[i];
	const uint64_t sum = ldb_fold(d.q, right, COUNT, &none);
	uint64_t parts = 0;
	for (size_t i = 0; i < COUNT; i++)
		parts += ldb_fold(&d.q[i], &right[i], 1, &none);
	assert_true(parts == sum); /* blocks of a pass add up */
	for (size_t i = 0; i < COUNT; i++) {
		const ldb_val wrongs[] = {right[i] + 1, right[i] - 1, LDB_NONE, 0, right[i] << 32};
		for (size_t j = 0; j < sizeof wrongs / sizeof *wrongs; j++) {
			memcpy(wrong, right, sizeof wrong);
			wrong[i] = wrongs[j];
			assert_true(wrong[i] == right[i] ||
				    ldb_fold(d.q, wrong, COUNT, &none) != sum);
		}
	}
	for (size_t i = 0; i < COUNT; i++)
		wrong[i] = right[(i + 1) % COUNT];
	assert_true(ldb_fold(d.q, wrong, COUNT, &none) != sum);
	for (size_t i = 0; i < COUNT; i++)
		wrong[i] = right[COUNT - 1 - i];
	assert_true(ldb_fold(d.q, wrong, COUNT, &none) != sum);
	size_t swapped = 0, missed = 0;
	for (int tries = 0; tries < 2000; tries++) {
		size_t i = ldb_rng_below(&rng, COUNT), j = ldb_rng_below(&rng, COUNT);
		if (right[i] == right[j])
			continue;
		memcpy(wrong, right, sizeof wrong);
		wrong[i] = right[j];
		wrong[j] = right[i];
		swapped++;
		missed += ldb_fold(d.q, wrong, COUNT, &none) == sum;
	}
	assert_true(swapped > 1000);
	if (missed)
		fail_msg("%zu of %zu swapped pairs of answers are not seen", missed, swapped);
	draw_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checks_can_fail),
		cmocka_unit_test(test_oracle),
		cmocka_unit_test(test_ranks_are_right),
		cmocka_unit_test(test_uniform_is_even),
		cmocka_unit_test(test_absent_share),
		cmocka_unit_test(test_absent_gaps),
		cmocka_unit_test(test_lower_bound_between),
		cmocka_unit_test(test_zipf_is_exact),
		cmocka_unit_test(test_hot_range),
		cmocka_unit_test(test_sorted_spans_all),
		cmocka_unit_test(test_seeds),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_sums_of_passes),
		cmocka_unit_test(test_sets),
		cmocka_unit_test(test_sets_needed),
		cmocka_unit_test(test_narrow_queries),
		cmocka_unit_test(test_verification_is_exhaustive),
		cmocka_unit_test(test_verification_sample),
		cmocka_unit_test(test_payload),
		cmocka_unit_test(test_fold_sees_wrong_answers),
	};
	return cmocka_run_group_tests_name("workload", tests, make_sets, NULL);
}
