/*
 * rmi and radixspline, beyond what every index is tested for: windows and answers for present keys,
 * absent keys and both ends of every gap, on data made to break models, for all kinds of
 * parameters; what the papers promise (counts, never times); broken invariants that validate must
 * find; threads that build; an allocation failure at every call. All variants that this processor
 * runs are tested.
 *
 * The plug-ins are loaded from $LDB_BUILD (default "build"), and their structs are read.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../indexes/radixspline/radixspline.h"
#include "../indexes/rmi/rmi.h"
#include "ldb/index.h"
#include "memory.h"
#include "rng.h"

/* --- plug-ins --------------------------------------------------------------------------------- */

#define VARIANTS 3
static const ldb_index *rmis[VARIANTS], *splines[VARIANTS];
static size_t variants;

static int processor_runs(size_t level)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	const int v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		       __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
	const int v4 = v3 && __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
		       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	return level == 0 || (level == 1 && v3) || (level == 2 && v4);
#else
	return level == 0;
#endif
}

static const ldb_index *load(const char *name, const char *suffix)
{
	const char *build = getenv("LDB_BUILD");
	char path[4096];
	snprintf(path, sizeof path, "%s%s/indexes/%s%s.so", build && strchr(build, '/') ? "" : "./",
		 build ? build : "build", name, suffix);
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		fail_msg("%s", dlerror());
	const ldb_index *(*table)(void);
	*(void **)&table = dlsym(object, "ldb_index_table");
	if (!table)
		fail_msg("%s: no ldb_index_table", path);
	return table();
}

static int setup(void **state)
{
	static const char *const suffixes[VARIANTS] = {"", ".v3", ".v4"};
	(void)state;
	for (size_t level = 0; level < VARIANTS && processor_runs(level); level++) {
		rmis[variants] = load("rmi", suffixes[level]);
		splines[variants++] = load("radixspline", suffixes[level]);
	}
	return 0;
}

/* As rmi's table of parameters has them: with a tenth of the keys' size, built by one thread. */
#define RMI_PARAMS(leaves, root) ((const double[]){(double)(leaves), (root), 10, 1})

static void *build(const ldb_index *index, const ldb_key *keys, size_t n, const double *params)
{
	void *self = NULL;
	ldb_error err;
	if (index->build(&self, keys, n, params, &err) != LDB_OK)
		fail_msg("%s: %s: %s", index->name, err.subject, err.value);
	return self;
}

/* --- data ------------------------------------------------------------------------------------- */

static ldb_rng rng;

static int compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

static void dense(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i;
}

static void linear(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = 1000003 * i + 17;
}

static void uniform(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = ldb_rng_next(&rng) >> 12;
}

static void full_range(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i == 0 ? 0 : i == 1 ? LDB_KEY_MAX : ldb_rng_next(&rng);
}

static void lognormal(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double z = -6;
		for (int j = 0; j < 12; j++)
			z += ldb_rng_unit(&rng);
		k[i] = (ldb_key)(exp(2 * z) * 1e9);
	}
}

/* Runs of neighbours with wide gaps between them. */
static void steps(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = (i / 50) * 1000000007u + i % 50;
}

static void outlier_low(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i == 0 ? 5 : (1ull << 63) + (ldb_rng_next(&rng) >> 40);
}

static void outlier_high(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i == 0 ? LDB_KEY_MAX - 3 : ldb_rng_next(&rng) >> 40;
}

/* Like SOSD's fb: all but 21 keys in a small part of the range. */
static void facebook(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i < 21 ? LDB_KEY_MAX - (ldb_rng_next(&rng) >> 2) : ldb_rng_next(&rng) >> 26;
}

static void duplicates(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = ldb_rng_below(&rng, n / 20 + 1) * ldb_rng_below(&rng, 3) * 1000;
}

/* Long runs of equal keys, some followed by the very next key, up to the greatest there is. */
static void jumps(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = LDB_KEY_MAX - (i / 97) * (i / 97 % 2 ? 1 : 1ull << 40);
}

static void all_equal(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = 1ull << 62;
}

static void all_zero(ldb_key *k, size_t n)
{
	memset(k, 0, n * sizeof *k);
}

static void all_greatest(ldb_key *k, size_t n)
{
	memset(k, 0xff, n * sizeof *k);
}

/* Neighbours that a double can't tell apart unless the base is subtracted first. */
static void around_2_53(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = (1ull << 53) - n + 2 * i + (i & 1);
}

static void around_2_63(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = (1ull << 63) - n / 2 + i;
}

/* Two dense clusters at the two ends of the range: neighbours differ, and not even their distance
 * to the base can be told apart in a double. */
static void two_ends(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = i % 2 ? LDB_KEY_MAX - i : i;
}

/* Each gap twice as wide as the one before, then again from the start. */
static void exponential(ldb_key *k, size_t n)
{
	for (size_t i = 0; i < n; i++)
		k[i] = (1ull << i % 60) + (i / 60) * (1ull << 60) / (n / 60 + 1);
}

typedef void (*make_fn)(ldb_key *k, size_t n);
static const struct {
	const char *name;
	make_fn make;
} sets[] = {
	{"dense", dense},
	{"linear", linear},
	{"uniform", uniform},
	{"full_range", full_range},
	{"lognormal", lognormal},
	{"steps", steps},
	{"outlier_low", outlier_low},
	{"outlier_high", outlier_high},
	{"facebook", facebook},
	{"duplicates", duplicates},
	{"jumps", jumps},
	{"all_equal", all_equal},
	{"all_zero", all_zero},
	{"all_greatest", all_greatest},
	{"around_2_53", around_2_53},
	{"around_2_63", around_2_63},
	{"two_ends", two_ends},
	{"exponential", exponential},
};
#define SETS (sizeof sets / sizeof *sets)

static ldb_key *make(make_fn fn, size_t n)
{
	ldb_key *keys = malloc((n + 1) * sizeof *keys);
	assert_non_null(keys);
	ldb_rng_seed(&rng, n);
	fn(keys, n);
	qsort(keys, n, sizeof *keys, compare_keys);
	return keys;
}

/* --- queries with their ranks ----------------------------------------------------------------- */

typedef struct {
	ldb_key *q;
	size_t *rank;
	size_t count;
} queries;

static void ask(queries *out, ldb_key q, size_t rank)
{
	out->q[out->count] = q;
	out->rank[out->count++] = rank;
}

/* Every key, both ends and the middle of every gap between two, and what lies outside. */
static queries make_queries(const ldb_key *keys, size_t n)
{
	queries out = {malloc((4 * n + 8) * sizeof *out.q), malloc((4 * n + 8) * sizeof *out.rank),
		       0};
	assert_non_null(out.q);
	assert_non_null(out.rank);
	ask(&out, 0, 0);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		const ldb_key gap = i ? keys[i] - keys[i - 1] : keys[0];
		if (gap > 1) {
			ask(&out, keys[i] - gap + 1, i);
			ask(&out, keys[i] - gap / 2, i);
			ask(&out, keys[i] - 1, i);
		}
		ask(&out, keys[i], i);
	}
	if (n == 0 || keys[n - 1] < LDB_KEY_MAX) {
		ask(&out, n ? keys[n - 1] + 1 : 1, n);
		ask(&out, n ? keys[n - 1] + (LDB_KEY_MAX - keys[n - 1]) / 2 + 1 : 77, n);
		ask(&out, LDB_KEY_MAX, n);
	}
	for (size_t i = out.count; i > 1; i--) { /* in no order */
		const size_t j = (size_t)ldb_rng_below(&rng, i);
		const ldb_key q = out.q[i - 1];
		const size_t rank = out.rank[i - 1];
		out.q[i - 1] = out.q[j], out.rank[i - 1] = out.rank[j];
		out.q[j] = q, out.rank[j] = rank;
	}
	return out;
}

static void free_queries(queries *q)
{
	free(q->q);
	free(q->rank);
}

/* --- the differential test -------------------------------------------------------------------- */

static char what[256]; /* names the case in a message */

static void check_answers(const queries *asked, size_t n, const ldb_val *out, const char *how)
{
	for (size_t i = 0; i < asked->count; i++) {
		const ldb_val want = asked->rank[i] < n ? asked->rank[i] : LDB_NONE;
		if (out[i] != want)
			fail_msg("%s: %s of %" PRIu64 " is %" PRIu64 ", not %" PRIu64, what, how,
				 asked->q[i], out[i], want);
	}
}

static void check_windows(const ldb_index *index, const void *self, size_t n, const queries *asked)
{
	for (size_t i = 0; i < asked->count; i++) {
		size_t lo, hi;
		index->window(self, asked->q[i], &lo, &hi);
		if (lo > asked->rank[i] || asked->rank[i] > hi || hi > n)
			fail_msg("%s: window of %" PRIu64 " is [%zu, %zu], rank %zu", what,
				 asked->q[i], lo, hi, asked->rank[i]);
	}
}

static void check_lookups(const ldb_index *index, const void *self, size_t n, const queries *asked)
{
	const size_t count = asked->count;
	ldb_val *out = calloc(count, sizeof *out);
	ldb_key *chained = malloc(count * sizeof *chained);
	assert_non_null(out);
	assert_non_null(chained);
	index->lookup(self, asked->q, count, out);
	check_answers(asked, n, out, "lookup");
	/* Batches of every length up to beyond the group, so that all tails are seen. */
	memset(out, 0x55, count * sizeof *out);
	for (size_t i = 0, length = 0; i < count; i += length, length = (length + 1) % 70) {
		length = length < count - i ? length : count - i;
		index->lookup_batch(self, asked->q + i, length, out + i);
	}
	check_answers(asked, n, out, "lookup_batch");
	ldb_val carry = 12345;
	for (size_t i = 0; i < count; i++) {
		chained[i] = asked->q[i] - ldb_chain_step(carry);
		carry = asked->rank[i] < n ? asked->rank[i] : LDB_NONE;
	}
	index->chase(self, chained, count, 12345, out);
	check_answers(asked, n, out, "chase");
	free(chained);
	free(out);
}

static void check_index(const ldb_index *index, const ldb_key *keys, size_t n, const queries *asked,
			const double *params)
{
	const size_t held = ldb_alloc_held();
	ldb_error err;
	void *self = build(index, keys, n, params);
	if (index->bytes(self) != ldb_alloc_held() - held)
		fail_msg("%s: says %zu bytes, holds %zu", what, index->bytes(self),
			 ldb_alloc_held() - held);
	if (index->validate(self, &err) != LDB_OK)
		fail_msg("%s: %s: %s", what, err.subject, err.value);
	check_windows(index, self, n, asked);
	check_lookups(index, self, n, asked);
	index->destroy(self);
	assert_int_equal(ldb_alloc_held(), held);
}

static void check_rmis(const char *name, const ldb_key *keys, size_t n, const queries *asked)
{
	const size_t leaves[] = {0, 1, 2, 3, 64, n / 10 + 1, n + 1, 5 * n};
	for (size_t v = 0; v < variants; v++)
		for (size_t l = 0; l < sizeof leaves / sizeof *leaves; l++)
			for (int root = RMI_AUTO; root <= RMI_LOGLINEAR; root++) {
				snprintf(what, sizeof what, "%s n=%zu rmi leaves=%zu root=%d v%zu",
					 name, n, leaves[l], root, v + 2);
				check_index(rmis[v], keys, n, asked, RMI_PARAMS(leaves[l], root));
			}
}

static void check_splines(const char *name, const ldb_key *keys, size_t n, const queries *asked)
{
	static const double bits[] = {0, 1, 2, 9, 14}, epsilons[] = {0, 1, 2, 3, 32, 1 << 30};
	for (size_t v = 0; v < variants; v++)
		for (size_t b = 0; b < sizeof bits / sizeof *bits; b++)
			for (size_t e = 0; e < sizeof epsilons / sizeof *epsilons; e++) {
				const int full = (b + e) % 2;
				snprintf(what, sizeof what,
					 "%s n=%zu radixspline radix_bits=%g epsilon=%g range=%d "
					 "v%zu",
					 name, n, bits[b], epsilons[e], full, v + 2);
				const double params[] = {bits[b], epsilons[e], full};
				check_index(splines[v], keys, n, asked, params);
			}
}

static void test_every_answer(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 3, 15, 16, 17, 33, 1000};
	(void)state;
	for (size_t s = 0; s < SETS; s++)
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			ldb_key *keys = make(sets[s].make, sizes[i]);
			queries asked = make_queries(keys, sizes[i]);
			check_rmis(sets[s].name, keys, sizes[i], &asked);
			check_splines(sets[s].name, keys, sizes[i], &asked);
			free_queries(&asked);
			free(keys);
		}
}

/* Sizes at which leaves are trained from a sample, and lists of points have grown. */
static void test_large(void **state)
{
	(void)state;
	for (size_t s = 0; s < SETS; s++) {
		const size_t n = 60000;
		ldb_key *keys = make(sets[s].make, n);
		queries asked = make_queries(keys, n);
		snprintf(what, sizeof what, "%s, n=60000", sets[s].name);
		for (int root = RMI_AUTO; root <= RMI_LOGLINEAR; root++) {
			check_index(rmis[variants - 1], keys, n, &asked, RMI_PARAMS(0, root));
			check_index(rmis[variants - 1], keys, n, &asked, RMI_PARAMS(3, root));
		}
		for (int range = 0; range < 2; range++) {
			check_index(splines[variants - 1], keys, n, &asked,
				    (double[]){0, 0, range});
			check_index(splines[variants - 1], keys, n, &asked,
				    (double[]){0, 1, range});
			check_index(splines[variants - 1], keys, n, &asked,
				    (double[]){4, 64, range});
		}
		free_queries(&asked);
		free(keys);
	}
}

/* --- what the models promise ------------------------------------------------------------------ */

static double mean_log2_window(const ldb_index *index, const void *self, const ldb_key *keys,
			       size_t n)
{
	double sum = 0;
	for (size_t i = 0; i < n; i++) {
		size_t lo, hi;
		index->window(self, keys[i], &lo, &hi);
		sum += log2((double)(hi - lo + 1));
	}
	return sum / (double)n;
}

static double rmi_cost(const ldb_key *keys, size_t n, size_t leaves, rmi_root_kind root)
{
	const ldb_index *index = rmis[variants - 1];
	void *self = build(index, keys, n, RMI_PARAMS(leaves, root));
	const double cost = mean_log2_window(index, self, keys, n);
	index->destroy(self);
	return cost;
}

static void test_outliers_need_a_robust_root(void **state)
{
	(void)state;
	const size_t n = 100000;
	ldb_key *keys = make(facebook, n);
	const double by_linear = rmi_cost(keys, n, 0, RMI_LINEAR);
	const double by_robust = rmi_cost(keys, n, 0, RMI_ROBUST);
	const double by_auto = rmi_cost(keys, n, 0, RMI_AUTO);
	assert_true(by_robust < 5 && by_linear > by_robust + 5);
	assert_true(by_auto < by_robust + 0.1);
	free(keys);
}

/* The chosen root is as good as the best one, or nearly. */
static void test_auto_is_near_the_best(void **state)
{
	(void)state;
	const size_t n = 50000;
	for (size_t s = 0; s < SETS; s++) {
		ldb_key *keys = make(sets[s].make, n);
		double best = INFINITY;
		for (int root = RMI_LINEAR; root <= RMI_LOGLINEAR; root++)
			best = fmin(best, rmi_cost(keys, n, 0, (rmi_root_kind)root));
		const double by_auto = rmi_cost(keys, n, 0, RMI_AUTO);
		if (by_auto > best + 0.35)
			fail_msg("%s: auto %.2f, best %.2f", sets[s].name, by_auto, best);
		free(keys);
	}
}

static void test_rmi_windows_are_small(void **state)
{
	(void)state;
	const size_t n = 50000;
	ldb_key *keys = make(uniform, n);
	assert_true(rmi_cost(keys, n, n, RMI_ROBUST) < 1.5);
	assert_true(rmi_cost(keys, n, 0, RMI_AUTO) < 4);
	free(keys);
	/* On a line each leaf is exact: the rank, or with rounding the next one. */
	keys = make(linear, n);
	for (int root = RMI_LINEAR; root <= RMI_LOGLINEAR; root++)
		if (root != RMI_CUBIC && root != RMI_LOGLINEAR)
			assert_true(rmi_cost(keys, n, 100, (rmi_root_kind)root) <= log2(3));
	free(keys);
}

static void test_rmi_size(void **state)
{
	(void)state;
	const size_t n = 50000;
	ldb_key *keys = make(lognormal, n);
	void *self = build(rmis[0], keys, n, RMI_PARAMS(0, RMI_AUTO));
	assert_true(rmis[0]->bytes(self) <= n * sizeof *keys / 10);
	ldb_index_info info = {0};
	rmis[0]->info(self, &info);
	assert_non_null(strstr(info.chosen, "leaves="));
	assert_non_null(strstr(info.chosen, ";root="));
	assert_null(strstr(info.chosen, "auto"));
	assert_true(info.tune_ns > 0);
	rmis[0]->destroy(self);
	free(keys);
}

/* All that is proved of windows rests on this. */
static void test_roots_never_decrease(void **state)
{
	(void)state;
	for (size_t s = 0; s < SETS; s++)
		for (int kind = RMI_LINEAR; kind <= RMI_LOGLINEAR; kind++) {
			const size_t n = 5000, leaves = 1000;
			ldb_key *keys = make(sets[s].make, n);
			rmi *self = build(rmis[0], keys, n, RMI_PARAMS(leaves, kind));
			const ldb_key span = self->root.top - self->root.base;
			for (size_t i = 0; i < 20000; i++) {
				/* Neighbours in the root's eyes, all over the range. */
				const ldb_key step = 1ull << self->root.right;
				const ldb_key x = ldb_rng_next(&rng) % (span ? span : 1);
				const ldb_key a = self->root.base + x;
				const ldb_key b = a <= LDB_KEY_MAX - step ? a + step : LDB_KEY_MAX;
				const uint64_t fa = rmi_predict_leaf(&self->root, a);
				const uint64_t fb = rmi_predict_leaf(&self->root, b);
				if (fa > fb || fb >> 32 >= leaves)
					fail_msg("%s root %d: F(%" PRIu64 ") = %" PRIu64
						 ", F(%" PRIu64 ") = %" PRIu64,
						 sets[s].name, kind, a, fa, b, fb);
			}
			rmis[0]->destroy(self);
			free(keys);
		}
}

static void test_line_is_one_segment(void **state)
{
	(void)state;
	static const make_fn lines[] = {linear, dense, around_2_63};
	for (size_t i = 0; i < 3; i++) {
		ldb_key *keys = make(lines[i], 20000);
		radixspline *self = build(splines[0], keys, 20000, (double[]){0, 1, 0});
		assert_int_equal(self->spline.point_count, 2);
		splines[0]->destroy(self);
		free(keys);
	}
}

static void test_epsilon_is_kept(void **state)
{
	(void)state;
	for (size_t s = 0; s < SETS; s++) {
		const size_t n = 5000;
		ldb_key *keys = make(sets[s].make, n);
		size_t points = SIZE_MAX;
		for (uint64_t epsilon = 1; epsilon <= 1024; epsilon *= 4) {
			radixspline *self =
				build(splines[0], keys, n, (double[]){0, (double)epsilon, 0});
			for (size_t i = 0; i < n; i++) {
				size_t lo, hi;
				splines[0]->window(self, keys[i], &lo, &hi);
				assert_true(hi - lo <= 2 * epsilon + 1);
			}
			/* Not a law of the greedy corridor, but far from it something is wrong. */
			assert_true(self->spline.point_count <= points + points / 4);
			points = self->spline.point_count;
			splines[0]->destroy(self);
		}
		free(keys);
	}
}

/* The most points behind one entry of the table. */
static size_t largest_bucket(const radixspline *self)
{
	size_t most = 0;
	for (size_t i = 0; i + 1 < self->radix.count; i++)
		if (self->radix.table[i + 1] - self->radix.table[i] > most)
			most = self->radix.table[i + 1] - self->radix.table[i];
	return most;
}

static void test_outliers_need_a_trimmed_table(void **state)
{
	(void)state;
	const size_t n = 100000;
	ldb_key *keys = make(facebook, n);
	radixspline *trimmed = build(splines[0], keys, n, (double[]){0, 4, 0});
	radixspline *full = build(splines[0], keys, n, (double[]){0, 4, 1});
	assert_true(full->spline.point_count > 1000);
	assert_true(largest_bucket(full) > full->spline.point_count * 9 / 10);
	assert_true(largest_bucket(trimmed) < 60);
	splines[0]->destroy(trimmed);
	splines[0]->destroy(full);
	free(keys);
}

static void test_chosen_epsilon_keeps_it_small(void **state)
{
	(void)state;
	static const make_fn makes[] = {uniform, lognormal, facebook, full_range};
	for (size_t i = 0; i < 4; i++) {
		const size_t n = 50000;
		ldb_key *keys = make(makes[i], n);
		void *self = build(splines[0], keys, n, (double[]){0, 0, 0});
		assert_true(splines[0]->bytes(self) <= n * sizeof *keys / 8);
		ldb_index_info info = {0};
		splines[0]->info(self, &info);
		assert_true(info.tune_ns > 0);
		assert_non_null(strstr(info.chosen, "epsilon="));
		splines[0]->destroy(self);
		free(keys);
	}
}

/* --- threads ---------------------------------------------------------------------------------- */

static int threads_started, threads_allowed = INT_MAX;

typedef int create_fn(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
		      void *arg);

/* Stands before the C library's, for the plug-ins too: refuses what is not allowed. */
LDB_API int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			   void *(*run)(void *), void *arg)
{
	create_fn *create;
	*(void **)&create = dlsym(RTLD_NEXT, "pthread_create");
	if (threads_started == threads_allowed)
		return EAGAIN;
	threads_started++;
	return create(thread, attributes, run, arg);
}

/* Builds by `threads` threads where only `allowed` can be started; it must not differ from `one`.
 */
static void check_threads(const rmi *one, const ldb_key *keys, size_t n, rmi_root_kind root,
			  int threads, int allowed)
{
	const ldb_index *index = rmis[variants - 1];
	threads_started = 0;
	threads_allowed = allowed;
	rmi *self = build(index, keys, n, (double[]){0, root, 10, threads});
	threads_allowed = INT_MAX;
	if (self->leaf_count != one->leaf_count ||
	    memcmp(self->root.c, one->root.c, sizeof one->root.c) != 0 ||
	    memcmp(self->leaves, one->leaves, (one->leaf_count + 1) * sizeof *one->leaves) != 0)
		fail_msg("%s: root %d by %d threads, %d allowed: not as by one", what, root,
			 threads, allowed);
	/* The calling thread takes part, and a thread has a few thousand keys or is not worth it.
	 */
	const int most = (int)(n / 8192);
	const int wanted = threads - 1 < most ? threads - 1 : most;
	assert_int_equal(threads_started, wanted < allowed ? wanted : allowed);
	index->destroy(self);
}

static void test_threads_build_the_same(void **state)
{
	(void)state;
	const size_t n = 60000;
	for (size_t s = 0; s < SETS; s++) {
		ldb_key *keys = make(sets[s].make, n);
		snprintf(what, sizeof what, "%s", sets[s].name);
		for (int root = RMI_AUTO; root <= RMI_LOGLINEAR; root++) {
			rmi *one = build(rmis[variants - 1], keys, n, RMI_PARAMS(0, root));
			static const int threads[] = {1, 2, 3, 7, 64};
			for (size_t t = 0; t < sizeof threads / sizeof *threads; t++)
				check_threads(one, keys, n, (rmi_root_kind)root, threads[t],
					      INT_MAX);
			check_threads(one, keys, n, (rmi_root_kind)root, 7, 0);
			check_threads(one, keys, n, (rmi_root_kind)root, 7, 3);
			rmis[variants - 1]->destroy(one);
		}
		free(keys);
	}
}

/* --- faults ----------------------------------------------------------------------------------- */

static void assert_invalid(const ldb_index *index, const void *self)
{
	ldb_error err = {{0}, {0}, {0}};
	assert_int_equal(index->validate(self, &err), LDB_INVALID);
	assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
}

static void test_validate_finds_damage(void **state)
{
	(void)state;
	const size_t n = 5000;
	ldb_error err;
	ldb_key *keys = make(uniform, n);
	rmi *model = build(rmis[0], keys, n, RMI_PARAMS(50, RMI_ROBUST));
	rmi_leaf *leaf = &model->leaves[20];
	const rmi_leaf whole = *leaf;
	leaf->width--;
	assert_invalid(rmis[0], model);
	*leaf = whole;
	leaf->y0 -= leaf->y0 < 1u << 28 ? leaf->y0 : 1u << 28;
	leaf->slope *= 1.25f;
	assert_invalid(rmis[0], model);
	*leaf = whole;
	leaf->start++;
	assert_invalid(rmis[0], model);
	*leaf = whole;
	assert_int_equal(rmis[0]->validate(model, &err), LDB_OK);
	rmis[0]->destroy(model);

	radixspline *index = build(splines[0], keys, n, (double[]){0, 8, 0});
	assert_true(index->spline.point_count > 10);
	ldb_spline_point *point = &index->spline.points[5];
	point->rank += 30;
	assert_invalid(splines[0], index);
	point->rank -= 30;
	const ldb_key key = point->key;
	point->key = point[1].key;
	assert_invalid(splines[0], index);
	point->key = key;
	index->radix.table[index->radix.count / 2]++;
	assert_invalid(splines[0], index);
	index->radix.table[index->radix.count / 2]--;
	index->spline.epsilon = 1;
	assert_invalid(splines[0], index);
	index->spline.epsilon = 8;
	assert_int_equal(splines[0]->validate(index, &err), LDB_OK);
	splines[0]->destroy(index);
	free(keys);
}

/* Fails the 1st, 2nd, ... allocation until build gets through; returns how many failed. */
static size_t survive_failures(const ldb_index *index, const ldb_key *keys, size_t n,
			       const double *params)
{
	const size_t held = ldb_alloc_held();
	for (uint64_t nth = 1;; nth++) {
		void *self = NULL;
		ldb_error err = {{0}, {0}, {0}};
		ldb_alloc_fail_at(nth);
		const ldb_status status = index->build(&self, keys, n, params, &err);
		ldb_alloc_fail_at(0);
		if (status == LDB_OK) {
			index->destroy(self);
			assert_int_equal(ldb_alloc_held(), held);
			return nth - 1;
		}
		assert_int_equal(status, LDB_OOM);
		assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
		assert_int_equal(ldb_alloc_held(), held);
	}
}

static void test_allocation_failures(void **state)
{
	(void)state;
	const size_t n = 5000;
	ldb_key *keys = make(uniform, n);
	for (size_t v = 0; v < variants; v++) {
		assert_int_equal(survive_failures(rmis[v], keys, n, RMI_PARAMS(0, 0)), 2);
		assert_int_equal(survive_failures(rmis[v], keys, 0, RMI_PARAMS(9, 0)), 2);
		/* The struct, a list that grows at least twice, its exact copy, the table. */
		assert_true(survive_failures(splines[v], keys, n, (double[]){0, 1, 0}) >= 6);
		assert_int_equal(survive_failures(splines[v], keys, 0, (double[]){0, 1, 0}), 1);
	}
	free(keys);
}

static void test_too_many_keys(void **state)
{
	(void)state;
	ldb_error err = {{0}, {0}, {0}};
	void *self;
	/* Refused before a key is read. */
	const ldb_key key = 0;
	assert_int_equal(rmis[0]->build(&self, &key, (size_t)1 << 32, RMI_PARAMS(0, 0), &err),
			 LDB_UNSUPPORTED);
	assert_true(err.subject[0] && err.value[0] && err.remedy[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_answer),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_outliers_need_a_robust_root),
		cmocka_unit_test(test_auto_is_near_the_best),
		cmocka_unit_test(test_rmi_windows_are_small),
		cmocka_unit_test(test_rmi_size),
		cmocka_unit_test(test_roots_never_decrease),
		cmocka_unit_test(test_line_is_one_segment),
		cmocka_unit_test(test_epsilon_is_kept),
		cmocka_unit_test(test_outliers_need_a_trimmed_table),
		cmocka_unit_test(test_chosen_epsilon_keeps_it_small),
		cmocka_unit_test(test_threads_build_the_same),
		cmocka_unit_test(test_validate_finds_damage),
		cmocka_unit_test(test_allocation_failures),
		cmocka_unit_test(test_too_many_keys),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
