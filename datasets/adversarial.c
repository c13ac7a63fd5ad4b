/*
 * Key sets made to break learned indexes: shapes on which published ones crashed, lost keys or fell
 * behind binary search. Several hold the keys 0 and UINT64_MAX, which some take for sentinels.
 */
#include "generators.h"

/* One key, n times: no slope, no distinct splitting key, the longest run of duplicates there is. */
void gen_all_equal(ldb_key *keys, size_t n, uint64_t seed)
{
	ldb_key key = ldb_mix64(seed);
	for (size_t i = 0; i < n; i++)
		keys[i] = key;
}

/* The two ends of the key space, half of the keys each: everything between is absent, and the key
 * range does not fit a signed or a 53-bit number. */
void gen_two_keys(ldb_key *keys, size_t n, uint64_t seed)
{
	(void)seed;
	for (size_t i = 0; i < n; i++)
		keys[i] = i < n / 2 ? 0 : UINT64_MAX;
}

/*
 * One key far below the others, which are uniform in the top 2^40: a model trained on the whole
 * range puts all of them into its last leaf. M. Maltry, J. Dittrich, "A Critical Analysis of
 * Recursive Model Indexes", PVLDB 15 (2022), show what outliers do to an RMI's root.
 */
void gen_outlier_low(ldb_key *keys, size_t n, uint64_t seed)
{
	if (n == 0)
		return;
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	keys[0] = 0;
	gen_uniform(keys + 1, n - 1, UINT64_MAX - ((1ull << 40) - 1), (1ull << 40) - 1, &rng);
}

/* The mirror image: all keys uniform in the lowest 2^40, and UINT64_MAX. */
void gen_outlier_high(ldb_key *keys, size_t n, uint64_t seed)
{
	if (n == 0)
		return;
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	gen_uniform(keys, n - 1, 0, (1ull << 40) - 1, &rng);
	keys[n - 1] = UINT64_MAX;
}

/*
 * 48 runs of consecutive keys; the gap after run r = 0, 1 ... is between 2^(13+r) and 2^(14+r).
 * Each run needs a segment of its own, the slope is 1 or nearly 0, and on any linear scale all runs
 * but the last few fall onto one point: an equal-width histogram or a linear root sees nothing.
 */
void gen_staircase(ldb_key *keys, size_t n, uint64_t seed)
{
	const size_t runs = 48;
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	ldb_key next = 0;
	size_t i = 0;
	for (size_t r = 0; r < runs; r++) {
		size_t end = (size_t)((unsigned __int128)n * (r + 1) / runs);
		for (; i < end; i++)
			keys[i] = next++;
		uint64_t step = 1ull << (13 + r);
		next += step + ldb_rng_below(&rng, step);
	}
}

/* Half of the keys are 0, 1, 2 ..., the other half end with UINT64_MAX: two perfect lines with the
 * widest possible gap between them, and a mean gap that describes neither. */
void gen_dense_gap(ldb_key *keys, size_t n, uint64_t seed)
{
	(void)seed;
	for (size_t i = 0; i < n; i++)
		keys[i] = i < n / 2 ? i : UINT64_MAX - (n - 1 - i);
}
