/*
 * The one random number generator: xoshiro256++ (Blackman, Vigna 2021), seeded by splitmix64.
 * Integers only, so the same seed gives the same numbers on every machine.
 */
#ifndef LDB_RNG_H
#define LDB_RNG_H

#include <stdint.h>

typedef struct {
	uint64_t s[4];
} ldb_rng;

/* One step of splitmix64: also a good mixing of a 64-bit number. */
static inline uint64_t ldb_mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline void ldb_rng_seed(ldb_rng *r, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		r->s[i] = ldb_mix64(seed + (uint64_t)i * 0x9e3779b97f4a7c15u);
}

static inline uint64_t ldb_rotl(uint64_t x, int k)
{
	return x << k | x >> (64 - k);
}

static inline uint64_t ldb_rng_next(ldb_rng *r)
{
	uint64_t *s = r->s;
	const uint64_t result = ldb_rotl(s[0] + s[3], 23) + s[0];
	const uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = ldb_rotl(s[3], 45);
	return result;
}

/* Uniform in [0, bound) for bound > 0 by multiply-shift; bias below 2^-64 * bound. */
static inline uint64_t ldb_rng_below(ldb_rng *r, uint64_t bound)
{
	return (uint64_t)(((unsigned __int128)ldb_rng_next(r) * bound) >> 64);
}

/* Uniform in (0, 1], 53 bits. */
static inline double ldb_rng_unit(ldb_rng *r)
{
	return (double)((ldb_rng_next(r) >> 11) + 1) * 0x1p-53;
}

#endif
