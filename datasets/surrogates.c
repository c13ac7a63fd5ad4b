/*
 * Surrogates: generated stand-ins for SOSD's four real sets, for machines that cannot fetch 1.6 to
 * 6.4 GB, and for any n. They are labelled "_like" because they imitate a mechanism, not the data:
 * a result on one is no result on the original.
 *
 * The originals: R. Marcus, A. Kipf, A. van Renen, M. Stoian, S. Misra, A. Kemper, T. Neumann,
 * T. Kraska, "Benchmarking Learned Indexes", PVLDB 14 (2020). How hardness is measured:
 * C. Wongkham, B. Lu, C. Liu, Z. Zhong, E. Lo, T. Wang, "Are Updatable Learned Indexes Ready?",
 * PVLDB 15 (2022): segments of a piecewise linear approximation with error bound 32 (local) and
 * 4096 (global). The aim here: osm the hardest in both; locally then fb, books, wiki, and uniform
 * keys by far the easiest. tests/test_generators.c counts the segments.
 */
#include "detmath.h"
#include "generators.h"

/*
 * books: popularity of books at Amazon. Like all sales it is skewed: most books sell a few copies,
 * a few sell thousands. Keys are the running sum of such counts, one book after another.
 *
 * The counts are Pareto with exponent 8/7: E. Brynjolfsson, Y. Hu, M. Smith, "Consumer Surplus in
 * the Digital Economy", Management Science 49 (2003), found sales proportional to rank^-0.871 at
 * Amazon, and rank^-7/8 needs only square roots. They are cut at 2^12, so that the sum is smooth at
 * large scale and rough locally (standard deviation of a gap: about 7 times its mean). The mean
 * itself changes slowly, over 4096 blocks: that bends the curve. One unit of count is 2^8 in keys,
 * so that the level shows in the smallest gaps too.
 */
void gen_books_like(ldb_key *keys, size_t n, uint64_t seed)
{
	const size_t block = n / 4096 < 64 ? 64 : n / 4096;
	const double keep = 1.0 - 1.0 / 256; /* correlation of neighbouring blocks */
	const double renew = __builtin_sqrt(1.0 - keep * keep);
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	double walk = det_normal(&rng), level = 0;
	ldb_key key = 0;
	for (size_t i = 0; i < n; i++) {
		if (i % block == 0) {
			walk = keep * walk + renew * det_normal(&rng);
			level = 0x1p8 * det_exp(0.5 * walk);
		}
		double half = __builtin_sqrt(ldb_rng_unit(&rng));
		double quarter = __builtin_sqrt(half);
		double count = 1.0 / (half * quarter * __builtin_sqrt(quarter));
		key += 1 + (uint64_t)((count < 0x1p12 ? count : 0x1p12) * level);
		keys[i] = key;
	}
}

/* The density of fb_like's ids: two levels multiplied, each constant over a run of keys. */
typedef struct {
	size_t fine_left, coarse_left; /* keys until the run ends */
	double fine, coarse;           /* logarithms */
	double gap;                    /* mean gap, 1 in the middle */
} fb_level;

static inline double fb_next(fb_level *l, ldb_rng *rng)
{
	if (l->fine_left == 0 || l->coarse_left == 0) {
		if (l->fine_left == 0) {
			l->fine_left = 1 + ldb_rng_below(rng, 63);
			l->fine = 1.3 * det_normal(rng);
		}
		if (l->coarse_left == 0) {
			l->coarse_left = 1 + ldb_rng_below(rng, 2047);
			l->coarse = 0.7 * det_normal(rng);
		}
		double sum = l->fine + l->coarse;
		l->gap = det_exp(sum < 6.9 ? sum : 6.9); /* < 2^10 */
	}
	l->fine_left--;
	l->coarse_left--;
	return l->gap;
}

/* n sorted distinct ids below 2^38. */
static void fb_ids(ldb_key *keys, size_t n, ldb_rng *rng)
{
	const uint64_t limit = 1ull << 38;
	const double one = (double)(1ull << gen_fraction_bits(n, 16)); /* 36.75 * 2^10 < 2^16 */
	fb_level level = {0};
	uint64_t sum = 0;
	for (size_t i = 0; i <= n; i++) {
		/* Two statements: C leaves open which of two calls in one comes first. */
		double mean = fb_next(&level, rng) * one;
		sum += 1 + (uint64_t)(det_exponential(rng) * mean);
		if (i < n)
			keys[i] = sum;
	}
	/* Scaled to what n ids leave of the range, then one more for each id before: distinct. */
	uint64_t free_ids = n < limit / 2 ? limit - n : limit / 2;
	gen_scale(keys, n, sum, 0, free_ids - 1, rng);
	for (size_t i = 0; i < n; i++)
		keys[i] += i;
}

/*
 * fb: user ids of Facebook, sampled at random and upsampled. All but 21 keys lie close
 * together, nearly uniform at large scale but uneven locally, since ids were handed out in blocks
 * that filled to different degrees; the other 21 are larger by many orders of magnitude and ruin
 * any model that minds them (M. Maltry, J. Dittrich, "A Critical Analysis of Recursive Model
 * Indexes", PVLDB 15 (2022)).
 *
 * Here: distinct ids below 2^38, with exponential gaps whose mean is lognormal, drawn anew every
 * 32 keys on average, and times a second one drawn every 1024; then 21 keys (a twentieth, when n is
 * small) of which the logarithm is uniform between 2^48 and 2^64, the last one above 2^63.
 */
void gen_fb_like(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	const size_t outliers = n < 420 ? n / 20 : 21;
	const size_t ids = n - outliers;
	fb_ids(keys, ids, &rng);

	/* Stratified: the k-th of m outliers has its exponent in the k-th m-th of [48, 64). */
	for (size_t k = 0; k < outliers; k++) {
		double at = ((double)k + ldb_rng_unit(&rng)) / (double)outliers;
		double log2_key =
			k + 1 == outliers ? 63.0 + 0.999 * ldb_rng_unit(&rng) : 48.0 + 15.0 * at;
		keys[ids + k] = (uint64_t)det_exp(log2_key * 0x1.62e42fefa39efp-1);
	}
}

/*
 * osm: cells of a space-filling curve (S2) that hold points of OpenStreetMap. Points cluster at
 * every scale, from continents down to house corners, and a curve cuts the clusters up: hard
 * locally and globally.
 *
 * Here: a random cascade down the bits of a 62-bit id, two bits for each of the 31 levels of a
 * quadtree. The density is a random measure that splits each cell's mass between its halves by a
 * share uniform in [0, 1] (L. Dubins, D. Freedman, "Random distribution functions", 5th Berkeley
 * Symposium 1967). If n points are drawn from it, then the count in the lower half of a cell of c
 * points is uniform over 0 ... c, so counts can be split directly, without the measure: exact, in
 * integers, sorted by construction, about 2n splits. In the upper 11 levels one cell half in eight
 * is sea and stays empty. A cell at the lowest level may get several points: the few duplicates.
 */
static void osm_cell(ldb_key *keys, size_t n, ldb_key prefix, int bits_left, ldb_rng *rng)
{
	while (n > 1 && bits_left > 0) {
		uint64_t random = ldb_rng_next(rng);
		size_t lower = (size_t)((unsigned __int128)random * ((uint64_t)n + 1) >> 64);
		if (bits_left > 40 && (random & 7) == 0)
			lower = random & 8 ? n : 0;
		bits_left--;
		prefix <<= 1;
		osm_cell(keys, lower, prefix, bits_left, rng);
		keys += lower;
		n -= lower;
		prefix |= 1;
	}
	if (n == 1 && bits_left > 0)
		prefix = prefix << bits_left | ldb_rng_next(rng) >> (64 - bits_left);
	for (size_t i = 0; i < n; i++)
		keys[i] = prefix;
}

void gen_osm_like(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	osm_cell(keys, n, 0, 62, &rng);
}

/* The rate of edits, hour by hour; the same seed gives the same hours again. */
typedef struct {
	ldb_rng rng;
	uint64_t hour, hours;
	double burst;
} wiki_clock;

static void wiki_clock_set(wiki_clock *clock, uint64_t seed, uint64_t hours)
{
	ldb_rng_seed(&clock->rng, ~seed);
	clock->hour = 0;
	clock->hours = hours;
	clock->burst = 0;
}

/* Relative rate of the next hour: growth x time of day x day of the week x noise x burst.
 * Between 1 and 2^17. */
static uint64_t wiki_next_rate(wiki_clock *clock)
{
	/* By hour of the day in UTC: editors live mostly in Europe and America. */
	static const uint8_t daily[24] = {82, 74,  66,  58,  54,  54,  58,  66,  74,  82,  88,  92,
					  96, 100, 104, 106, 108, 108, 108, 110, 110, 108, 102, 92};
	static const uint8_t weekly[7] = {104, 104, 103, 101, 97, 92, 99};
	uint64_t t = clock->hour++;
	/* Quadratic growth in the first 40 % of the time, then a slow decline. */
	double age = (double)t / (double)clock->hours;
	double growth = age < 0.4 ? 0.04 + 6.0 * age * age : 1.0 - 0.35 * (age - 0.4);
	double noise = 0.9 + 0.2 * ldb_rng_unit(&clock->rng);
	/* A bot's run or an event: one hour in 200, up to 20 times the rate, gone in some hours. */
	clock->burst *= 0.7;
	if (ldb_rng_below(&clock->rng, 200) == 0) {
		double size = 0.5 / __builtin_sqrt(ldb_rng_unit(&clock->rng));
		clock->burst += size < 20.0 ? size : 20.0;
	}
	double rate = growth * noise * (1.0 + clock->burst);
	return 1 + (uint64_t)(rate * (double)(daily[t % 24] * weekly[t / 24 % 7]) * 0.1);
}

/*
 * wiki: timestamps of edits in Wikipedia. A Poisson process whose rate has daily and weekly waves,
 * growth over years, and bursts; several edits fall into one second: duplicates.
 *
 * Here: exponential gaps, scaled to the integral of an hourly rate and mapped back to time, which
 * makes a non-homogeneous Poisson process given its count. To keep duplicates near 7 % and the
 * waves visible for any n, time is counted in ticks, 9 for each key on average, and the span is n
 * / 64 hours, between 4 weeks and 16 years (from 9M keys on). The first hour is 2001-01-15 00:00
 * UTC, a Monday.
 */
void gen_wiki_like(ldb_key *keys, size_t n, uint64_t seed)
{
	const uint64_t first_hour = 272088; /* since 1970 */
	uint64_t hours = n / 64;
	hours = hours < 672 ? 672 : hours > 140256 ? 140256 : hours;
	const uint64_t ticks = (uint64_t)n * 9 / hours + 1; /* per hour */

	wiki_clock clock;
	uint64_t integral = 0;
	wiki_clock_set(&clock, seed, hours);
	for (uint64_t h = 0; h < hours; h++)
		integral += wiki_next_rate(&clock);
	/* 20 bits of fraction: 2^18 hours x a rate of 2^17 x 2^20 is far below 2^64. */
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	gen_uniform(keys, n, 0, (integral << 20) - 1, &rng);

	wiki_clock_set(&clock, seed, hours);
	uint64_t from = 0, width = wiki_next_rate(&clock) << 20, hour = first_hour;
	for (size_t i = 0; i < n; i++) {
		while (keys[i] - from >= width) {
			from += width;
			width = wiki_next_rate(&clock) << 20;
			hour++;
		}
		uint64_t tick =
			(uint64_t)((double)(keys[i] - from) / (double)width * (double)ticks);
		keys[i] = hour * ticks + (tick < ticks ? tick : ticks - 1);
	}
}
