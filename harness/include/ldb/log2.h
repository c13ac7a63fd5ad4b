/* The logarithm of an integer in fixed point, for models of keys that grow exponentially. */
#ifndef LDB_LOG2_H
#define LDB_LOG2_H

#include <stdint.h>

/* Bits behind the point. */
#define LDB_LOG2_BITS 58

/* log2(x), linear between powers of two, where it is exact; of 0 it is 0. Never decreases as x
 * grows: x loses low bits, if any, and what is left is the number e.mantissa. */
static inline uint64_t ldb_log2(uint64_t x)
{
	const unsigned e = 63u - (unsigned)__builtin_clzll(x | 1);
	const uint64_t mantissa = (x << (63 - e)) << 1; /* without its leading one */
	return (uint64_t)e << LDB_LOG2_BITS | mantissa >> (64 - LDB_LOG2_BITS);
}

#endif
