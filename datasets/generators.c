/*
 * The table of generators, the order statistics they rest on, and the synthetic sets of SOSD.
 *
 * A. Kipf, R. Marcus, A. van Renen, M. Stoian, A. Kemper, T. Kraska, T. Neumann, "SOSD: A Benchmark
 * for Learned Indexes", NeurIPS ML for Systems 2019. SOSD's own sets are drawn and then sorted
 * (uniform) or are the quantile function at evenly spaced points, without any noise (normal,
 * lognormal). Here all are random samples, made sorted: see generators.h.
 */
#include "generators.h"

#include "detmath.h"

int gen_fraction_bits(size_t n, int gap_bits)
{
	int count_bits = n ? 64 - __builtin_clzll(n) : 0; /* n + 1 <= 2^count_bits */
	int bits = GEN_SUM_LIMIT_BITS - 1 - gap_bits - count_bits;
	return bits < 1 ? 1 : bits;
}

uint64_t gen_exponential_sums(uint64_t *sums, size_t n, ldb_rng *rng)
{
	const double one = (double)(1ull << gen_fraction_bits(n, 6)); /* 36.75 < 2^6 */
	uint64_t sum = 0;
	for (size_t i = 0; i < n; i++) {
		sum += 1 + (uint64_t)(det_exponential(rng) * one);
		sums[i] = sum;
	}
	return sum + 1 + (uint64_t)(det_exponential(rng) * one);
}

void gen_scale(ldb_key *keys, size_t n, uint64_t total, ldb_key base, uint64_t span, ldb_rng *rng)
{
	/* With the divisor's top bit at 63, x / divisor * 2^64 is one multiplication:
	 * x < divisor, so x * reciprocal < 2^127. */
	const int shift = __builtin_clzll(total);
	const uint64_t divisor = total << shift;
	const uint64_t reciprocal =
		(uint64_t)((((unsigned __int128)1 << 127) - 1) / (unsigned __int128)divisor);
	const unsigned __int128 width = (unsigned __int128)span + 1;

	for (size_t i = 0; i < n; i++) {
		uint64_t x = keys[i] << shift | ldb_rng_next(rng) >> (64 - shift);
		uint64_t share = (uint64_t)((unsigned __int128)x * reciprocal >> 63);
		keys[i] = base + (uint64_t)(share * width >> 64);
	}
}

void gen_uniform(ldb_key *keys, size_t n, ldb_key base, uint64_t span, ldb_rng *rng)
{
	uint64_t total = gen_exponential_sums(keys, n, rng);
	gen_scale(keys, n, total, base, span, rng);
}

/* SOSD's dense uniform set: each key is its own rank. No seed can change it. */
static void uniform_dense(ldb_key *keys, size_t n, uint64_t seed)
{
	(void)seed;
	for (size_t i = 0; i < n; i++)
		keys[i] = i;
}

/* SOSD's sparse uniform set: uniform over all of the 64-bit keys. */
static void uniform_sparse(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	gen_uniform(keys, n, 0, UINT64_MAX, &rng);
}

/*
 * x >= 0 as an integer, at most `limit`. A double has 53 bits; what is left of a larger number's
 * bits is filled at random, so that no sort finds its low digits constant.
 */
static uint64_t whole(double x, uint64_t limit, ldb_rng *rng)
{
	if (x >= 0x1p63)
		return limit;
	uint64_t k = (uint64_t)x;
	if (k >> 53) {
		int missing = 11 - __builtin_clzll(k);
		k |= ldb_rng_next(rng) >> (64 - missing);
	}
	return k < limit ? k : limit;
}

/* The quantile functions are monotone up to rounding: where that swaps two neighbours, they become
 * equal. */
static inline uint64_t ascending(uint64_t key, uint64_t *previous)
{
	if (key < *previous)
		key = *previous;
	*previous = key;
	return key;
}

/* SOSD's normal set: mean 2^63, standard deviation 2^60, so that eight of them fit on either side.
 */
static void normal(ldb_key *keys, size_t n, uint64_t seed)
{
	const uint64_t middle = 1ull << 63;
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	const uint64_t total = gen_exponential_sums(keys, n, &rng);
	const double scale = 1.0 / (double)total;
	uint64_t previous = 0;
	for (size_t i = 0; i < n; i++) {
		double p = (double)keys[i] * scale;
		double q = (double)(total - keys[i]) * scale;
		double z = det_normal_quantile(p, q);
		uint64_t away = whole((z < 0 ? -z : z) * 0x1p60, middle - 1, &rng);
		keys[i] = ascending(z < 0 ? middle - 1 - away : middle + away, &previous);
	}
}

/*
 * SOSD's lognormal set: the logarithm has standard deviation 2. The median is 2^43; the largest of
 * a billion keys is then near 2^61, and the densest part, around the median / e^4, still has room
 * for 100M keys with hardly a duplicate.
 */
static void lognormal(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	const uint64_t total = gen_exponential_sums(keys, n, &rng);
	const double scale = 1.0 / (double)total;
	uint64_t previous = 0;
	for (size_t i = 0; i < n; i++) {
		double p = (double)keys[i] * scale;
		double q = (double)(total - keys[i]) * scale;
		double x = det_exp(2.0 * det_normal_quantile(p, q)) * 0x1p43;
		keys[i] = ascending(whole(x, INT64_MAX, &rng), &previous);
	}
}

const ldb_generator ldb_generators[] = {
	{"uniform_dense", uniform_dense},
	{"uniform_sparse", uniform_sparse},
	{"normal", normal},
	{"lognormal", lognormal},
	{"books_like", gen_books_like},
	{"fb_like", gen_fb_like},
	{"osm_like", gen_osm_like},
	{"wiki_like", gen_wiki_like},
	{"zipf", gen_zipf},
	{"thousand_keys", gen_thousand_keys},
	{"all_equal", gen_all_equal},
	{"two_keys", gen_two_keys},
	{"outlier_low", gen_outlier_low},
	{"outlier_high", gen_outlier_high},
	{"staircase", gen_staircase},
	{"dense_gap", gen_dense_gap},
	{NULL, NULL},
};
