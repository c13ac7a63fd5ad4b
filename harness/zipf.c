/* Zipf by rejection-inversion (zipf.h). */
#include "zipf.h"

#include <math.h>

/* (e^x - 1) / x and log(1 + x) / x, both 1 at 0: they make theta = 1 no special case. */
static double expm1_over(double x)
{
	return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x)
{
	return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

/* Antiderivative of x^-theta, and its inverse. */
static double zipf_h(const ldb_zipf *z, double x)
{
	double log_x = log(x);
	return expm1_over((1 - z->theta) * log_x) * log_x;
}

static double zipf_h_inverse(const ldb_zipf *z, double y)
{
	double t = y * (1 - z->theta);
	return exp(log1p_over(t < -1 ? -1 : t) * y);
}

ldb_zipf ldb_zipf_make(size_t n, double theta)
{
	ldb_zipf z = {.theta = theta, .n = n};
	z.h_first = zipf_h(&z, 1.5) - 1;
	z.h_last = zipf_h(&z, (double)n + 0.5);
	z.shift = 2 - zipf_h_inverse(&z, zipf_h(&z, 2.5) - exp(-theta * log(2)));
	return z;
}

size_t ldb_zipf_draw(const ldb_zipf *z, ldb_rng *rng)
{
	for (;;) {
		double u = z->h_last + ldb_rng_unit(rng) * (z->h_first - z->h_last);
		double x = zipf_h_inverse(z, u);
		double rounded = floor(x + 0.5);
		size_t k = rounded < 1 ? 1 : rounded > (double)z->n ? z->n : (size_t)rounded;
		if ((double)k - x <= z->shift ||
		    u >= zipf_h(z, (double)k + 0.5) - exp(-z->theta * log((double)k)))
			return k;
	}
}

size_t ldb_scatter_multiplier(size_t n)
{
	size_t m = (size_t)(0.6180339887498949 * (double)n) | 1;
	for (;; m++) {
		size_t a = n, b = m % n;
		while (b) {
			size_t r = a % b;
			a = b;
			b = r;
		}
		if (a == 1)
			return m;
	}
}
