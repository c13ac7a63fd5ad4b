/*
 * A line from keys to the slots of an array, in integers: slot = (key - base) * slope, cut off at
 * both ends. It is exact for all 64-bit keys, the same on every machine, and never decreases as
 * keys grow.
 *
 * The slope is `slope` / 2^(64 + shift) slots per key, at most about 1: an array needs no more
 * slots than there are keys that could be in it. Slots are rounded, so that with the steepest slope
 * each key of a dense range still has a slot of its own.
 */
#ifndef LDB_LINE_H
#define LDB_LINE_H

#include <math.h>

#include "ldb/plugin.h"

static inline size_t ldb_line_slot(ldb_key key, ldb_key base, uint64_t slope, unsigned shift,
				   size_t last)
{
	const uint64_t distance = key > base ? key - base : 0;
	const unsigned __int128 product = (unsigned __int128)distance * slope + (1ull << 63);
	const uint64_t slot = (uint64_t)(product >> 64) >> shift;
	return slot < last ? slot : last;
}

/* The slope that is closest to a number of slots per key, which must be positive. */
static inline uint64_t ldb_line_slope(double slots_per_key, uint8_t *shift)
{
	int exponent;
	const double fraction = frexp(slots_per_key, &exponent);
	const int down = exponent < 0 ? (exponent < -63 ? 63 : -exponent) : 0;
	*shift = (uint8_t)down;
	return slots_per_key < 1 ? (uint64_t)ldexp(fraction, 64) : UINT64_MAX;
}

#endif
