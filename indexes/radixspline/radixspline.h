/*
 * radixspline: a linear spline through the keys' ranks and a radix table over the spline's points
 * (Kipf, Marcus, van Renen, Stoian, Kemper, Kraska, Neumann: "RadixSpline: a single-pass learned
 * index", aiDM 2020). This header is the model and its lookup; spline and table are those of
 * ldb/spline.h and ldb/radix.h, radixspline.c is the plug-in around them.
 *
 * A lookup takes the radix table's entry for the top bits of q - base, which gives a short range of
 * spline points; finds there the two points around q; interpolates between them; and searches the
 * keys within epsilon of the result.
 */
#ifndef RADIXSPLINE_H
#define RADIXSPLINE_H

#include "ldb/radix.h"
#include "ldb/spline.h"

typedef struct {
	ldb_spline spline;
	ldb_radix radix; /* over the points */
	unsigned radix_bits;
	uint64_t tune_ns;
} radixspline;

#endif
