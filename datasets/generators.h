/*
 * What the generators share: uniform order statistics, and the list of all generators.
 *
 * A sorted sample needs no sorting: if E_1 ... E_(n+1) are independent exponential variables and
 * S_i = E_1 + ... + E_i, then S_1/S_(n+1) ... S_n/S_(n+1) are distributed as n sorted uniform
 * variables (Devroye, "Non-Uniform Random Variate Generation", 1986, chapter V.3). So keys come out
 * sorted in O(n), one after the other, and a quantile function turns them into any distribution.
 *
 * The sums are kept in fixed point: a running sum of doubles would lose the low bits of each gap as
 * it grows, and the last keys of 100M would be coarse.
 */
#ifndef GENERATORS_H
#define GENERATORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataset.h"
#include "rng.h"

/* A running sum of n + 1 gaps must stay below this, so that gen_scale has room. */
#define GEN_SUM_LIMIT_BITS 63

/*
 * How many fraction bits n + 1 gaps can have, if none is longer than 2^gap_bits: at least 1 up to
 * n = 2^(62 - gap_bits).
 */
int gen_fraction_bits(size_t n, int gap_bits);

/* Fills sums[0..n) with S_1 ... S_n and returns S_(n+1): strictly ascending, below 2^63. */
uint64_t gen_exponential_sums(uint64_t *sums, size_t n, ldb_rng *rng);

/*
 * In place, strictly ascending sums below `total` become sorted keys in [base, base + span], in
 * proportion. The bits that a sum does not have are filled at random. total < 2^63.
 */
void gen_scale(ldb_key *keys, size_t n, uint64_t total, ldb_key base, uint64_t span, ldb_rng *rng);

/* n sorted uniform keys in [base, base + span]. */
void gen_uniform(ldb_key *keys, size_t n, ldb_key base, uint64_t span, ldb_rng *rng);

/* surrogates.c */
void gen_books_like(ldb_key *keys, size_t n, uint64_t seed);
void gen_fb_like(ldb_key *keys, size_t n, uint64_t seed);
void gen_osm_like(ldb_key *keys, size_t n, uint64_t seed);
void gen_wiki_like(ldb_key *keys, size_t n, uint64_t seed);

/* repeated.c */
void gen_zipf(ldb_key *keys, size_t n, uint64_t seed);
/* The kth most frequent value with probability ~ k^-theta; gen_zipf has theta 1. */
void gen_zipf_theta(ldb_key *keys, size_t n, uint64_t seed, double theta);
void gen_thousand_keys(ldb_key *keys, size_t n, uint64_t seed);

/* adversarial.c */
void gen_all_equal(ldb_key *keys, size_t n, uint64_t seed);
void gen_two_keys(ldb_key *keys, size_t n, uint64_t seed);
void gen_outlier_low(ldb_key *keys, size_t n, uint64_t seed);
void gen_outlier_high(ldb_key *keys, size_t n, uint64_t seed);
void gen_staircase(ldb_key *keys, size_t n, uint64_t seed);
void gen_dense_gap(ldb_key *keys, size_t n, uint64_t seed);

#endif
