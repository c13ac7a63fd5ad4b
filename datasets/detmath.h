/*
 * Logarithm, exponential and normal quantile that give the same bits on every machine.
 *
 * libm's log, exp and pow differ in the last bit from one C library to the next, and a dataset
 * whose keys depend on them has another checksum there. These use only IEEE + - * / and sqrt, which
 * the standard rounds exactly, and integer operations on the bits of a double. They must be
 * compiled without contraction to fused multiply-adds (-ffp-contract=off) and without -ffast-math.
 *
 * Errors against the true value, in units in the last place, found by tests/test_generators.c over
 * the arguments that the generators use: log and exp below 1, normal quantile below 7.
 */
#ifndef DETMATH_H
#define DETMATH_H

#include <stdint.h>
#include <string.h>

#include "rng.h"

#ifdef __FAST_MATH__
#error "datasets need exact IEEE arithmetic: compile without -ffast-math"
#endif

/* ln 2 in two parts: the first has 33 bits, so its product with an exponent is exact. */
#define DET_LN2_HIGH 0x1.62e42feep-1
#define DET_LN2_LOW 0x1.a39ef35793c76p-33

static inline uint64_t det_bits(double x)
{
	uint64_t bits;
	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static inline double det_from_bits(uint64_t bits)
{
	double x;
	memcpy(&x, &bits, sizeof(x));
	return x;
}

/*
 * Natural logarithm of a positive normal number (not of 0, subnormals, infinity or NaN).
 *
 * x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m - 1 (exact), s = f / (2 + f); then
 * ln m = 2 atanh(s) = 2s + 2s^3/3 + 2s^5/5 + ... = f - s (f - p), where p holds the terms after
 * the first, divided by s. The second form keeps f whole: only a small correction is rounded.
 */
static inline double det_log(double x)
{
	const uint64_t sqrt_half = 0x3fe6a09e667f3bcd;
	uint64_t from_half = det_bits(x) - sqrt_half;
	int64_t k = (int64_t)from_half >> 52;
	double f = det_from_bits(det_bits(x) - ((uint64_t)k << 52)) - 1.0;
	double s = f / (2.0 + f);
	double z = s * s;
	double even = 2.0 / 21;
	/* z < 0.0295: the first term left out is below 2^-57 of the sum. */
	even = even * z + 2.0 / 19;
	even = even * z + 2.0 / 17;
	even = even * z + 2.0 / 15;
	even = even * z + 2.0 / 13;
	even = even * z + 2.0 / 11;
	even = even * z + 2.0 / 9;
	even = even * z + 2.0 / 7;
	even = even * z + 2.0 / 5;
	even = even * z + 2.0 / 3;
	double p = even * z;
	double kd = (double)k;
	return kd * DET_LN2_HIGH + (f - (s * (f - p) - kd * DET_LN2_LOW));
}

/* e^x for |x| <= 700. x = k ln 2 + r with |r| <= ln(2)/2, and Taylor's series for e^r. */
static inline double det_exp(double x)
{
	int64_t k = (int64_t)(x * 0x1.71547652b82fep+0 + (x < 0 ? -0.5 : 0.5));
	double kd = (double)k;
	double r = (x - kd * DET_LN2_HIGH) - kd * DET_LN2_LOW;
	/* 1/14! r^12 is below 2^-55 of 1/2: terms up to r^13 will do. */
	double tail = 1.0 / 6227020800.0;
	tail = tail * r + 1.0 / 479001600;
	tail = tail * r + 1.0 / 39916800;
	tail = tail * r + 1.0 / 3628800;
	tail = tail * r + 1.0 / 362880;
	tail = tail * r + 1.0 / 40320;
	tail = tail * r + 1.0 / 5040;
	tail = tail * r + 1.0 / 720;
	tail = tail * r + 1.0 / 120;
	tail = tail * r + 1.0 / 24;
	tail = tail * r + 1.0 / 6;
	tail = tail * r + 0.5;
	double er = 1.0 + (r + r * r * tail);
	return er * det_from_bits((uint64_t)(k + 1023) << 52);
}

/* The polynomial c[0] + c[1] r + ... + c[7] r^7. */
static inline double det_poly7(const double c[8], double r)
{
	double sum = c[7];
	for (int i = 6; i >= 0; i--)
		sum = sum * r + c[i];
	return sum;
}

/*
 * The z that a standard normal variable stays below with probability p; q = 1 - p is given too, so
 * that neither tail loses bits. 0 < p, q < 1.
 *
 * M. J. Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution", Applied
 * Statistics 37 (1988): three rational functions of degree 7, routine PPND16.
 */
static inline double det_normal_quantile(double p, double q)
{
	static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
				    1.9715909503065514427e+3, 1.3731693765509461125e+4,
				    4.5921953931549871457e+4, 6.7265770927008700853e+4,
				    3.3430575583588128105e+4, 2.5090809287301226727e+3};
	static const double b[8] = {1.0,
				    4.2313330701600911252e+1,
				    6.8718700749205790830e+2,
				    5.3941960214247511077e+3,
				    2.1213794301586595867e+4,
				    3.9307895800092710610e+4,
				    2.8729085735721942674e+4,
				    5.2264952788528545610e+3};
	static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
				    5.76949722146069140550e0,  3.64784832476320460504e0,
				    1.27045825245236838258e0,  2.41780725177450611770e-1,
				    2.27238449892691845833e-2, 7.74545014278341407640e-4};
	static const double d[8] = {1.0,
				    2.05319162663775882187e0,
				    1.67638483018380384940e0,
				    6.89767334985100004550e-1,
				    1.48103976427480074590e-1,
				    1.51986665636164571966e-2,
				    5.47593808499534494600e-4,
				    1.05075007164441684324e-9};
	static const double e[8] = {6.65790464350110377720e0,  5.46378491116411436990e0,
				    1.78482653991729133580e0,  2.96560571828504891230e-1,
				    2.65321895265761230930e-2, 1.24266094738807843860e-3,
				    2.71155556874348757815e-5, 2.01033439929228813265e-7};
	static const double f[8] = {1.0,
				    5.99832206555887937690e-1,
				    1.36929880922735805310e-1,
				    1.48753612908506148525e-2,
				    7.86869131145613259100e-4,
				    1.84631831751005468180e-5,
				    1.42151175831644588870e-7,
				    2.04426310338993978564e-15};
	double center = (p - q) * 0.5;
	if (center > -0.425 && center < 0.425) {
		double r = 0.180625 - center * center;
		return center * det_poly7(a, r) / det_poly7(b, r);
	}
	double r = __builtin_sqrt(-det_log(p < q ? p : q));
	double z = r <= 5.0 ? det_poly7(c, r - 1.6) / det_poly7(d, r - 1.6)
			    : det_poly7(e, r - 5.0) / det_poly7(f, r - 5.0);
	return p < q ? -z : z;
}

/* Exponential variable of mean 1: in [0, 36.75], since the uniform one is at least 2^-53. */
static inline double det_exponential(ldb_rng *rng)
{
	return -det_log(ldb_rng_unit(rng));
}

/* Standard normal variable, |z| < 8.3. With 52 bits and a half, both p and 1 - p are exact. */
static inline double det_normal(ldb_rng *rng)
{
	double p = ((double)(ldb_rng_next(rng) >> 12) + 0.5) * 0x1p-52;
	return det_normal_quantile(p, 1.0 - p);
}

#endif
