/*
 * Keys that come many times, scattered over all 64-bit numbers: what sorts and joins meet in
 * columns of categories.
 *
 * Sorted uniform variates (gen_uniform) are walked along the cumulated weights of the values, which
 * tells how often each is drawn, without drawing: n + VALUES steps.
 */
#include <stdlib.h>

#include "detmath.h"
#include "generators.h"

enum { VALUES = 1 << 20, FEW = 1000 };

typedef struct {
	ldb_key key;
	double weight; /* this value's and those of all before, in order of popularity */
	size_t count;
} value;

static int compare_values(const void *a, const void *b)
{
	const ldb_key x = ((const value *)a)->key, y = ((const value *)b)->key;
	return (x > y) - (x < y);
}

/* k^-theta, the same on every machine. */
static double weight(size_t k, double theta)
{
	return theta == 1 ? 1 / (double)k : theta == 0 ? 1 : det_exp(-theta * det_log((double)k));
}

/* Values 1 to `count`, the kth with weight k^-theta. */
static void draw(ldb_key *keys, size_t n, uint64_t seed, size_t count, double theta)
{
	static value values[VALUES];
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	double sum = 0;
	for (size_t k = 0; k < count; k++) {
		sum += weight(k + 1, theta);
		values[k] = (value){.key = ldb_mix64(seed + k), .weight = sum};
	}
	gen_uniform(keys, n, 0, UINT64_MAX, &rng);
	for (size_t i = 0, k = 0; i < n; i++) {
		const double at = (double)keys[i] * 0x1p-64 * sum;
		while (k + 1 < count && values[k].weight <= at)
			k++;
		values[k].count++;
	}
	size_t drawn = 0;
	for (size_t k = 0; k < count; k++) {
		if (values[k].count)
			values[drawn++] = values[k];
	}
	qsort(values, drawn, sizeof *values, compare_values);
	for (size_t k = 0, i = 0; k < drawn; k++) {
		for (size_t end = i + values[k].count; i < end; i++)
			keys[i] = values[k].key;
	}
}

void gen_zipf_theta(ldb_key *keys, size_t n, uint64_t seed, double theta)
{
	draw(keys, n, seed, VALUES, theta);
}

void gen_zipf(ldb_key *keys, size_t n, uint64_t seed)
{
	gen_zipf_theta(keys, n, seed, 1);
}

void gen_thousand_keys(ldb_key *keys, size_t n, uint64_t seed)
{
	draw(keys, n, seed, FEW, 0);
}
