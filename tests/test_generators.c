/*
 * Generators: the same bytes everywhere, sorted for any n, distributed as they claim.
 *
 * The golden checksums are those of little-endian machines. They were the same from gcc and clang,
 * at -O0 and at -O3 -march=native. When a generator changes on purpose, its checksum changes with
 * it, and so do the datasets of every earlier result: say so in the commit.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <xxhash.h>

#include "../datasets/detmath.h"
#include "../datasets/generators.h"

#define SAMPLE 100000
#define GUARD 0xdeadbeefcafef00du

static ldb_generate_fn find(const char *name)
{
	for (const ldb_generator *g = ldb_generators; g->name; g++)
		if (strcmp(g->name, name) == 0)
			return g->generate;
	fail_msg("no generator %s", name);
	return NULL;
}

/* The caller frees. */
static ldb_key *make(const char *name, size_t n, uint64_t seed)
{
	ldb_key *keys = malloc((n + 1) * sizeof(*keys));
	assert_non_null(keys);
	find(name)(keys, n, seed);
	return keys;
}

/* --- detmath ---------------------------------------------------------------------------------- */

static double ulp(double x)
{
	return nextafter(fabs(x), INFINITY) - fabs(x);
}

static void test_log_accuracy(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 1);
	double worst = 0;
	for (int i = 0; i < 300000; i++) {
		double x = ldb_rng_unit(&rng);
		if (i % 3 == 1)
			x = ldexp(x, (int)(ldb_rng_below(&rng, 1000)) - 500);
		if (i % 3 == 2)
			x = 1.0 + (x - 0.5) * 0x1p-20; /* near the zero */
		double y = det_log(x);
		double error = (double)fabsl((long double)y - logl((long double)x)) / ulp(y);
		worst = error > worst ? error : worst;
	}
	assert_true(worst < 1.0);
	assert_true(worst > 0.3); /* a comparison with itself would be exact */
	assert_true(det_log(1.0) == 0.0);
}

static void test_exp_accuracy(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 2);
	double worst = 0;
	for (int i = 0; i < 300000; i++) {
		double x = (ldb_rng_unit(&rng) - 0.5) * (i % 2 ? 2.0 : 1400.0);
		double y = det_exp(x);
		double error = (double)fabsl((long double)y - expl((long double)x)) / ulp(y);
		worst = error > worst ? error : worst;
	}
	assert_true(worst < 1.0);
	assert_true(worst > 0.3);
	assert_true(det_exp(0.0) == 1.0);
}

/* The error of z is that of its probability, divided by the density; erf and erfc of long double
 * have bits to spare. */
static double quantile_error(double p, double q)
{
	const long double root2 = sqrtl(2.0L), pi = acosl(-1.0L);
	double z = det_normal_quantile(p, q);
	long double density = expl(-(long double)z * z / 2) / sqrtl(2 * pi);
	long double off = fabs(z) < 1 ? erfl(z / root2) / 2 - ((long double)p - (long double)q) / 2
			  : z < 0     ? erfcl(-z / root2) / 2 - p
				      : q - erfcl(z / root2) / 2;
	return (double)fabsl(off / density) / ulp(z);
}

static void test_quantile_accuracy(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 3);
	double worst = 0;
	for (int i = 0; i < 300000; i++) {
		double p = (double)(1 + ldb_rng_below(&rng, (1ull << 52) - 1)) * 0x1p-53;
		if (i % 2) /* far into the tail; there q is rounded, but only p counts */
			p = ldexp(p, -4 - (int)ldb_rng_below(&rng, 60));
		double q = 1.0 - p;
		double error = quantile_error(p, q);
		double mirrored = quantile_error(q, p);
		worst = error > worst ? error : worst;
		worst = mirrored > worst ? mirrored : worst;
	}
	assert_true(worst < 7.0);
	assert_true(worst > 0.3);
}

static void test_detmath_golden(void **state)
{
	(void)state;
	static const struct {
		double x;
		uint64_t log, exp, quantile; /* quantile of min(x, 1/x) / 2 */
	} golden[] = {
		{0x1p-53, 0xc0425e4f7b2737fa, 0x3ff0000000000000, 0xc02095b059d67c4c},
		{0x1.b7cdfd9d7bdbbp-34, 0xc037069e2aa2aa5b, 0x3ff000000006df38, 0xc019de286d021e5e},
		{0x1.0624dd2f1a9fcp-10, 0xc01ba18a998fffa0, 0x3ff0041919b7ee34, 0xc00a52ffadd2f8c0},
		{0x1.999999999999ap-4, 0xc0026bb1bbb55515, 0x3ff1aec7b35a00d4, 0xbffa515209676abd},
		{0x1p-2, 0xbff62e42fefa39ef, 0x3ff48b5e3c3e8186, 0xbff267d4c07b0566},
		{0x1p-1, 0xbfe62e42fefa39ef, 0x3ffa61298e1e069c, 0xbfe5956b87528a49},
		{0x1.6a0902de00d1bp-1, 0xbfd62e6b3842a25e, 0x4000398d2310dab5, 0xbfd80c594fe2fd69},
		{0x1.fffffca501acbp-1, 0xbe7ad7f2b1049b9f, 0x4005bf0a6698658d, 0xbe80d25ac5c8ce7e},
		{0x1p+0, 0x0000000000000000, 0x4005bf0a8b14576a, 0x0000000000000000},
		{0x1.000001ad7f29bp+0, 0x3e7ad7f2847b6492, 0x4005bf0aaf904984, 0xbe80d25aaa0e090c},
		{0x1.8p+0, 0x3fd9f323ecbf984c, 0x4011ed3fe64fc541, 0xbfdb91093bfdfa2b},
		{0x1.5bf0a8b04919bp+1, 0x3fefffffffe8ca4c, 0x402e4efb75a890fd, 0xbfecd081f6b4fde8},
		{0x1.4p+3, 0x40026bb1bbb55516, 0x40d5829dcf950560, 0xbffa515209676abd},
		{0x1.edd2f1a9fbe77p+6, 0x401343774f3e2362, 0x4b11428e1cbc0143, 0xc0052ed6caa47225},
		{0x1.5dcp+9, 0x401a3393173a14d6, 0x7f01f0df6d72215e, 0xc0098245455b91d7},
	};
	for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
		double x = golden[i].x, p = (x < 1 ? x : 1 / x) / 2;
		assert_int_equal(det_bits(det_log(x)), golden[i].log);
		assert_int_equal(det_bits(det_exp(x)), golden[i].exp);
		assert_int_equal(det_bits(det_normal_quantile(p, 1 - p)), golden[i].quantile);
	}
}

/* --- any n, any seed -------------------------------------------------------------------------- */

static void test_names(void **state)
{
	(void)state;
	static const char *const names[] = {
		"uniform_dense", "uniform_sparse", "normal",    "lognormal",
		"books_like",    "fb_like",        "osm_like",  "wiki_like",
		"zipf",          "thousand_keys",  "all_equal", "two_keys",
		"outlier_low",   "outlier_high",   "staircase", "dense_gap",
	};
	size_t count = 0;
	while (ldb_generators[count].name)
		count++;
	assert_int_equal(count, sizeof(names) / sizeof(names[0]));
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(ldb_generators[i].name, names[i]);
		assert_non_null(ldb_generators[i].generate);
	}
}

/* Sorted, the same twice, and not a byte outside keys[0..n) written: a guard stands on both sides.
 */
static void check_sorted(const ldb_generator *g, size_t n, uint64_t seed)
{
	ldb_key *first = malloc((n + 2) * sizeof(*first));
	ldb_key *second = malloc((n + 1) * sizeof(*second));
	assert_non_null(first);
	assert_non_null(second);
	for (size_t i = 0; i < n + 2; i++)
		first[i] = GUARD;
	g->generate(first + 1, n, seed);
	g->generate(second, n, seed);
	if (first[0] != GUARD || first[n + 1] != GUARD)
		fail_msg("%s, n %zu, seed %lu: wrote outside", g->name, n, (unsigned long)seed);
	if (n > 0 && memcmp(first + 1, second, n * sizeof(*first)) != 0)
		fail_msg("%s, n %zu, seed %lu: two runs differ", g->name, n, (unsigned long)seed);
	for (size_t i = 1; i < n; i++)
		if (second[i - 1] > second[i])
			fail_msg("%s, n %zu, seed %lu: keys %zu and %zu out of order", g->name, n,
				 (unsigned long)seed, i - 1, i);
	free(first);
	free(second);
}

static void test_sorted(void **state)
{
	(void)state;
	static const size_t sizes[] = {0,    1,    2,    3,     4,     5,     7,      15,
				       19,   20,   21,   40,    47,    48,    49,     63,
				       64,   65,   100,  419,   420,   421,   1000,   4095,
				       4096, 4097, 9999, 43007, 43008, 43009, 100003, 300000};
	static const uint64_t seeds[] = {0, 1, 42, UINT64_MAX};
	for (const ldb_generator *g = ldb_generators; g->name; g++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			for (size_t j = 0; j < 4; j++)
				check_sorted(g, sizes[i], seeds[j]);
	/* Many small ones: the shapes' corner cases are there. */
	for (const ldb_generator *g = ldb_generators; g->name; g++)
		for (size_t n = 0; n < 300; n++)
			check_sorted(g, n, 1000 + n);
}

/* The seed matters for all but the sets that are one fixed shape. */
static void test_seed(void **state)
{
	(void)state;
	for (const ldb_generator *g = ldb_generators; g->name; g++) {
		bool fixed = strcmp(g->name, "uniform_dense") == 0 ||
			     strcmp(g->name, "two_keys") == 0 || strcmp(g->name, "dense_gap") == 0;
		ldb_key *a = make(g->name, 5000, 1), *b = make(g->name, 5000, 2);
		bool same = memcmp(a, b, 5000 * sizeof(*a)) == 0;
		if (same != fixed)
			fail_msg("%s: seeds 1 and 2 give %s keys", g->name,
				 same ? "the same" : "different");
		free(a);
		free(b);
	}
}

/* XXH3-64 of the keys at n = 1000 and n = 100003 with seed 42. */
static void test_golden(void **state)
{
	(void)state;
	static const struct {
		const char *name;
		uint64_t n1000, n100003;
	} golden[] = {
		{"uniform_dense", 0x29462356e2d9061a, 0x44ff11a359fcdee4},
		{"uniform_sparse", 0xfd92337250ad101c, 0x94d05e76cc1ea441},
		{"normal", 0x8c8a96121fa41317, 0xae918b6053adb117},
		{"lognormal", 0x812376c691b6bfae, 0xe35ab70892fa3863},
		{"books_like", 0xa40ecea6bc0ead4e, 0x517012df5477d2d8},
		{"fb_like", 0x74864213f8bb7de9, 0x9fa6982965804670},
		{"osm_like", 0xcf0314554a42873b, 0x25a9bbe56c672ae6},
		{"wiki_like", 0x69c8e083fc6d8ad1, 0xafb304c296d941a5},
		{"zipf", 0xabfee082aa455cff, 0x29941aa8f7789ddd},
		{"thousand_keys", 0x72c693657ccec882, 0xd939dcaf99af12c9},
		{"all_equal", 0xcc0730ebc854359f, 0xdc5fd5652c715a13},
		{"two_keys", 0x50cb0b8b5c546b24, 0x6e10275e3ba6131d},
		{"outlier_low", 0x5f2c41ea10fccda8, 0xc86a1ba2d498dc27},
		{"outlier_high", 0xac9fde93d7cf2c58, 0x3f7e0de1f642bdfb},
		{"staircase", 0xeb645e076b3cec70, 0x72d7aa3d06857d46},
		{"dense_gap", 0xed5e09b7f5e68a54, 0x4be834fa5c4dfcfd},
	};
	for (const ldb_generator *g = ldb_generators; g->name; g++) {
		uint64_t sums[2];
		for (int i = 0; i < 2; i++) {
			size_t n = i ? 100003 : 1000;
			ldb_key *keys = make(g->name, n, 42);
			sums[i] = XXH3_64bits(keys, n * sizeof(*keys));
			free(keys);
		}
		size_t row = (size_t)(g - ldb_generators);
		assert_true(row < sizeof(golden) / sizeof(golden[0]));
		assert_string_equal(golden[row].name, g->name);
		if (sums[0] != golden[row].n1000 || sums[1] != golden[row].n100003)
			fail_msg("bytes changed; now {\"%s\", 0x%016lx, 0x%016lx},", g->name,
				 (unsigned long)sums[0], (unsigned long)sums[1]);
	}
}

/* The sum of n + 1 longest gaps stays below 2^63, and the shortest mean gap keeps some bits. */
static void test_fixed_point(void **state)
{
	(void)state;
	for (int gap_bits = 6; gap_bits <= 16; gap_bits += 10) {
		for (int k = 0; k <= 40; k++) {
			for (int64_t d = -1; d <= 1; d++) {
				size_t n = (size_t)((int64_t)(1ull << k) + d);
				int bits = gen_fraction_bits(n, gap_bits);
				unsigned __int128 gap =
					((unsigned __int128)1 << (gap_bits + bits)) + 1;
				assert_true(bits >= 5);
				assert_true((n + (unsigned __int128)1) * gap >> 63 == 0);
			}
		}
	}
}

static void test_scale_ends(void **state)
{
	(void)state;
	static const uint64_t totals[] = {
		2, 3, 1000, 1ull << 62, (1ull << 62) + 1, (1ull << 63) - 1};
	ldb_rng rng;
	ldb_rng_seed(&rng, 5);
	for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++) {
		/* The first and the last n-th of the whole: close to the ends, never past them. */
		ldb_key keys[2] = {1, totals[i] - 1};
		gen_scale(keys, 2, totals[i], 0, UINT64_MAX, &rng);
		double first = (double)keys[0] * 0x1p-64 * (double)totals[i];
		double last = (double)(UINT64_MAX - keys[1]) * 0x1p-64 * (double)totals[i];
		assert_true(first > 0.99 && first < 2.01);
		assert_true(last >= 0 && last < 1.01);
		ldb_key narrow[2] = {1, totals[i] - 1};
		gen_scale(narrow, 2, totals[i], 100, 0, &rng);
		assert_int_equal(narrow[0], 100);
		assert_int_equal(narrow[1], 100);
	}
}

/* --- distributions ---------------------------------------------------------------------------- */

static double uniform_cdf(ldb_key key)
{
	return (double)key * 0x1p-64;
}

static double normal_cdf(ldb_key key)
{
	double z = ((double)key - 0x1p63) / 0x1p60;
	return erfc(-z / sqrt(2.0)) / 2;
}

static double lognormal_cdf(ldb_key key)
{
	double z = log((double)key / 0x1p43) / 2.0;
	return erfc(-z / sqrt(2.0)) / 2;
}

/* Kolmogorov and Smirnov: the largest distance between the sample's and the theory's CDF. */
static double ks_distance(const ldb_key *keys, size_t n, double (*cdf)(ldb_key))
{
	double worst = 0;
	for (size_t i = 0; i < n; i++) {
		double f = cdf(keys[i]);
		double above = (double)(i + 1) / (double)n - f, below = f - (double)i / (double)n;
		worst = above > worst ? above : worst;
		worst = below > worst ? below : worst;
	}
	return worst;
}

/* Below the 0.1 % critical value; and above a tenth of the mean, which evenly spaced quantiles, as
 * SOSD has them, would not reach: these are random samples. */
static void check_ks(const char *name, double (*cdf)(ldb_key))
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		ldb_key *keys = make(name, SAMPLE, seed);
		double d = ks_distance(keys, SAMPLE, cdf) * sqrt((double)SAMPLE);
		if (d > 1.9495 || d < 0.087)
			fail_msg("%s, seed %d: distance %g / sqrt(n)", name, (int)seed, d);
		free(keys);
	}
}

static void test_ks(void **state)
{
	(void)state;
	check_ks("uniform_sparse", uniform_cdf);
	check_ks("normal", normal_cdf);
	check_ks("lognormal", lognormal_cdf);
}

/* Chi-square of a byte's 256 values: 255 degrees of freedom, two-sided 0.2 %. */
static void test_low_bytes(void **state)
{
	(void)state;
	static const char *const names[] = {"uniform_sparse", "normal", "lognormal", "osm_like",
					    "fb_like"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ldb_key *keys = make(names[i], SAMPLE, 42);
		double count[256] = {0}, chi2 = 0;
		for (size_t k = 0; k < SAMPLE; k++)
			count[keys[k] & 255]++;
		for (int b = 0; b < 256; b++) {
			double off = count[b] - SAMPLE / 256.0;
			chi2 += off * off / (SAMPLE / 256.0);
		}
		if (chi2 < 190.9 || chi2 > 330.5)
			fail_msg("%s: chi-square %g of the low byte", names[i], chi2);
		free(keys);
	}
}

static size_t duplicates(const ldb_key *keys, size_t n)
{
	size_t count = 0;
	for (size_t i = 1; i < n; i++)
		count += keys[i] == keys[i - 1];
	return count;
}

static void test_fb_outliers(void **state)
{
	(void)state;
	static const size_t sizes[] = {1000, SAMPLE, 1000000};
	for (int i = 0; i < 3; i++) {
		ldb_key *keys = make("fb_like", sizes[i], 42);
		size_t outliers = 0, ids = 0;
		for (size_t k = 0; k < sizes[i]; k++) {
			outliers += keys[k] > 1ull << 40;
			ids += keys[k] < 1ull << 38;
		}
		assert_in_range(outliers, 5, 50);
		assert_int_equal(ids + outliers, sizes[i]);
		assert_true(keys[sizes[i] - 1] >= 1ull << 63);
		assert_int_equal(duplicates(keys, sizes[i]), 0);
		/* Without them the ids are nearly uniform: median and quartiles near their places.
		 */
		for (size_t quarter = 1; quarter <= 3; quarter++) {
			double share = (double)keys[ids * quarter / 4] * 0x1p-38;
			if (sizes[i] >= SAMPLE)
				assert_true(fabs(share - 0.25 * (double)quarter) < 0.05);
		}
		free(keys);
	}
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Skewed like sales: the hundredth of the books that sell best make a large part of all sales (a
 * third to two thirds), yet no single one is seen at large scale. */
static void test_books_skew(void **state)
{
	(void)state;
	const size_t n = 1000000;
	ldb_key *keys = make("books_like", n, 42);
	assert_int_equal(duplicates(keys, n), 0);
	uint64_t range = keys[n - 1];
	for (size_t i = n - 1; i > 0; i--)
		keys[i] -= keys[i - 1];
	qsort(keys, n, sizeof(*keys), by_size);
	uint64_t top = 0;
	for (size_t i = n - n / 100; i < n; i++)
		top += keys[i];
	assert_in_range(top, range / 3, range / 3 * 2);
	assert_true(keys[n - 1] < range / 200);
	assert_true(keys[n - 1] > 1000 * keys[n / 2]);
	free(keys);
}

static void test_wiki_duplicates(void **state)
{
	(void)state;
	static const size_t sizes[] = {10000, SAMPLE, 1000000, 3000000};
	for (int i = 0; i < 4; i++) {
		ldb_key *keys = make("wiki_like", sizes[i], 42);
		double share = (double)duplicates(keys, sizes[i]) / (double)sizes[i];
		if (share < 0.05 || share > 0.10)
			fail_msg("n %zu: %g duplicates", sizes[i], share);
		free(keys);
	}
}

/* Share of the edits in each hour of the day: the wave must be there, in the right phase. */
static void test_wiki_waves(void **state)
{
	(void)state;
	const size_t n = 1000000;
	const uint64_t ticks = n * 9 / (n / 64) + 1; /* per hour, as gen_wiki_like has it */
	ldb_key *keys = make("wiki_like", n, 42);
	double day[24] = {0}, week[7] = {0};
	for (size_t i = 0; i < n; i++) {
		uint64_t hour = keys[i] / ticks - 272088;
		assert_true(hour < n / 64);
		day[hour % 24]++;
		week[hour / 24 % 7]++;
	}
	assert_true(day[19] > 1.5 * day[4]);
	assert_true(week[1] > 1.05 * week[5]);
	assert_true(day[4] > 0.3 * (double)n / 24);
	free(keys);
}

/* Variance of the counts in 2^16 cells of equal width over the keys' range, over its mean: 1 for a
 * Poisson process. */
static double dispersion(const ldb_key *keys, size_t n)
{
	const size_t cells = 1u << 16;
	double *count = calloc(cells, sizeof(*count));
	assert_non_null(count);
	double range = (double)(keys[n - 1] - keys[0]) + 1;
	for (size_t i = 0; i < n; i++) {
		size_t cell = (size_t)((double)(keys[i] - keys[0]) / range * (double)cells);
		count[cell < cells ? cell : cells - 1]++;
	}
	double mean = (double)n / (double)cells, squares = 0;
	for (size_t i = 0; i < cells; i++)
		squares += (count[i] - mean) * (count[i] - mean);
	free(count);
	return squares / (double)cells / mean;
}

static void test_osm_roughness(void **state)
{
	(void)state;
	const size_t n = 1000000;
	ldb_key *osm = make("osm_like", n, 42), *uniform = make("uniform_sparse", n, 42);
	double flat = dispersion(uniform, n), rough = dispersion(osm, n);
	assert_true(flat > 0.9 && flat < 1.1);
	assert_true(rough > 100 * flat);
	assert_true(osm[n - 1] < 1ull << 62);
	assert_true(duplicates(osm, n) < n / 500);
	free(osm);
	free(uniform);
}

/* Segments of a greedy corridor (A. Galakatos et al., FITing-Tree, SIGMOD 2019, section 3): a new
 * one starts when no line from its first key keeps all ranks within epsilon. */
static size_t segments(const ldb_key *keys, size_t n, double epsilon)
{
	size_t count = 0, first = 0;
	while (first < n) {
		double low = 0, high = INFINITY;
		size_t i = first + 1;
		for (; i < n; i++) {
			double dx = (double)(keys[i] - keys[first]), dy = (double)(i - first);
			if (dx == 0)
				continue;
			if (dy / dx < low || dy / dx > high)
				break;
			low = fmax(low, (dy - epsilon) / dx);
			high = fmin(high, (dy + epsilon) / dx);
		}
		count++;
		first = i;
	}
	return count;
}

static void test_hardness(void **state)
{
	(void)state;
	const size_t n = 1000000;
	static const char *const order[] = {"osm_like", "fb_like", "books_like", "wiki_like",
					    "uniform_sparse"};
	size_t local[5], global[5];
	for (int i = 0; i < 5; i++) {
		ldb_key *keys = make(order[i], n, 42);
		local[i] = segments(keys, n, 32);
		global[i] = segments(keys, n, 4096);
		free(keys);
	}
	for (int i = 1; i < 5; i++) {
		if (10 * local[i] > 9 * local[i - 1])
			fail_msg("eps 32: %s %zu segments, %s %zu", order[i - 1], local[i - 1],
				 order[i], local[i]);
		if (2 * global[i] > global[0])
			fail_msg("eps 4096: %s %zu segments, %s %zu", order[0], global[0], order[i],
				 global[i]);
	}
	assert_true(global[4] == 1);
}

/* --- shapes ----------------------------------------------------------------------------------- */

static void test_dense(void **state)
{
	(void)state;
	ldb_key *keys = make("uniform_dense", 1000, 42);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(keys[i], i);
	free(keys);
}

static void test_equal_and_two(void **state)
{
	(void)state;
	for (size_t n = 1; n < 50; n++) {
		ldb_key *equal = make("all_equal", n, n);
		ldb_key *two = make("two_keys", n, n);
		assert_int_equal(equal[0], equal[n - 1]);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(two[i], i < n / 2 ? 0 : UINT64_MAX);
		free(equal);
		free(two);
	}
}

static void test_outliers(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 10000; n = n * 3 + 1) {
		ldb_key *low = make("outlier_low", n, 42), *high = make("outlier_high", n, 42);
		assert_int_equal(low[0], 0);
		assert_int_equal(high[n - 1], UINT64_MAX);
		if (n > 1) {
			assert_true(low[1] >= UINT64_MAX - ((1ull << 40) - 1));
			assert_true(high[n - 2] < 1ull << 40);
		}
		if (n > 1000) { /* the rest uses its range */
			assert_true(low[n - 1] - low[1] > 98 * (1ull << 40) / 100);
			assert_true(high[n - 2] - high[0] > 98 * (1ull << 40) / 100);
		}
		free(low);
		free(high);
	}
}

static void test_staircase(void **state)
{
	(void)state;
	const size_t n = 10000;
	ldb_key *keys = make("staircase", n, 42);
	assert_int_equal(keys[0], 0);
	assert_int_equal(duplicates(keys, n), 0);
	size_t runs = 1;
	for (size_t i = 1; i < n; i++) {
		uint64_t gap = keys[i] - keys[i - 1];
		if (gap == 1)
			continue;
		/* The gap after run r = runs - 1. */
		assert_in_range(gap, 1ull << (12 + runs), (1ull << (13 + runs)));
		runs++;
	}
	assert_int_equal(runs, 48);
	assert_true(keys[n - 1] > 1ull << 59);
	free(keys);
}

static void test_dense_gap(void **state)
{
	(void)state;
	for (size_t n = 2; n < 2000; n = n * 2 + 1) {
		ldb_key *keys = make("dense_gap", n, 42);
		size_t jumps = 0;
		for (size_t i = 1; i < n; i++)
			jumps += keys[i] - keys[i - 1] != 1;
		assert_int_equal(keys[0], 0);
		assert_int_equal(keys[n - 1], UINT64_MAX);
		assert_int_equal(jumps, 1);
		assert_int_equal(keys[n / 2 - 1], n / 2 - 1);
		free(keys);
	}
}

/* Counts of the values in sorted keys; returns how many there are, and the greatest count. */
static size_t count_values(const ldb_key *keys, size_t n, size_t *greatest)
{
	size_t values = 0;
	*greatest = 0;
	for (size_t i = 0, from = 0; i < n; from = i, values++) {
		while (i < n && keys[i] == keys[from])
			i++;
		*greatest = i - from > *greatest ? i - from : *greatest;
	}
	return values;
}

static void test_repeated(void **state)
{
	(void)state;
	enum { N = 1000000 };
	size_t greatest;
	ldb_key *keys = make("thousand_keys", N, 1);
	assert_int_equal(count_values(keys, N, &greatest), 1000);
	assert_in_range(greatest, 1000, 1200); /* four deviations are 126 */
	free(keys);
	keys = make("zipf", N, 1);
	/* The most frequent value has a share of one by the 2^20th harmonic number, 14.44. */
	count_values(keys, N, &greatest);
	assert_in_range(greatest, 0.98 * N / 14.44, 1.02 * N / 14.44);
	/* Other skews: the sums of k^-0.5 and of k^-1.5 up to 2^20 are 2046.5 and 2.610. */
	gen_zipf_theta(keys, N, 1, 0.5);
	count_values(keys, N, &greatest);
	assert_in_range(greatest, N / 2046.5 - 100, N / 2046.5 + 100);
	gen_zipf_theta(keys, N, 1, 1.5);
	count_values(keys, N, &greatest);
	assert_in_range(greatest, 0.98 * N / 2.610, 1.02 * N / 2.610);
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_repeated),       cmocka_unit_test(test_log_accuracy),
		cmocka_unit_test(test_exp_accuracy),   cmocka_unit_test(test_quantile_accuracy),
		cmocka_unit_test(test_detmath_golden), cmocka_unit_test(test_names),
		cmocka_unit_test(test_sorted),         cmocka_unit_test(test_seed),
		cmocka_unit_test(test_golden),         cmocka_unit_test(test_fixed_point),
		cmocka_unit_test(test_scale_ends),     cmocka_unit_test(test_ks),
		cmocka_unit_test(test_low_bytes),      cmocka_unit_test(test_fb_outliers),
		cmocka_unit_test(test_books_skew),     cmocka_unit_test(test_wiki_duplicates),
		cmocka_unit_test(test_wiki_waves),     cmocka_unit_test(test_osm_roughness),
		cmocka_unit_test(test_hardness),       cmocka_unit_test(test_dense),
		cmocka_unit_test(test_equal_and_two),  cmocka_unit_test(test_outliers),
		cmocka_unit_test(test_staircase),      cmocka_unit_test(test_dense_gap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
