/*
 * The model: from keys to bucket numbers (see ls_model).
 *
 * A double's exponent and leading mantissa are a logarithm, linear between powers of two; so
 * segments are narrow where keys are near the base and wide far out, as those of lognormal keys
 * should be. Uniform keys don't mind: half of them are in the last octave, a quarter in the one
 * before. Within a segment the model is linear.
 */
#include <math.h>

#include "model.h"

enum { MOST_SEGMENTS = 1 << 16 };

/* --- learning --------------------------------------------------------------------------------- */

/* Fills the table from every `step`th key of the sample. */
static void fill(ls_model *self, const ldb_key *sample, size_t n, size_t step, size_t buckets)
{
	const size_t used = (n + step - 1) / step;
	uint64_t start = 0;
	size_t i = 0, rank = 0;
	for (size_t s = 0; s < self->segments; s++) {
		for (; i < n && ls_segment_of(self, ls_distance_bits(self, sample[i])) <= s;
		     i += step)
			rank++;
		const uint64_t end = ((uint64_t)buckets << LS_POINT) * rank / used;
		self->table[s] = start << 32 | (end - start);
		start = end;
	}
}

/* How uneven buckets are, as the mean over keys of log2(size / mean size), by the keys of the
 * sample that the table was not made from. */
static double unevenness(const ls_model *self, const ldb_key *sample, size_t n, size_t buckets)
{
	double sum = 0;
	for (size_t i = 1, from = 1; i < n; from = i) {
		const uint32_t bucket = ls_bucket_of(self, sample[i]);
		for (; i < n && ls_bucket_of(self, sample[i]) == bucket; i += 2)
			;
		const double size = (double)(i - from) / 2;
		sum += size * log2(size * (double)buckets / ((double)n / 2));
	}
	return sum / ((double)n / 2);
}

/* Sets the range of segments; false when there would be too many. */
static bool set_segments(ls_model *self, unsigned mantissa_bits)
{
	self->mantissa_bits = mantissa_bits;
	self->first_segment = 0;
	self->first_segment = ls_segment_of(self, ls_bits_of(self->nearest));
	self->segments = ls_segment_of(self, ls_bits_of(self->farthest)) + 1;
	return self->segments <= MOST_SEGMENTS;
}

bool ls_model_learn(ls_model *self, const ldb_key *sample, size_t n, size_t buckets)
{
	/* What lies nearer to the base than this is less than a bucket. */
	const size_t near = n / (2 * buckets);
	*self = (ls_model){.base = sample[0], .buckets = buckets};
	self->farthest = (double)(sample[n - 1] - sample[0]);
	self->nearest = (double)(sample[near] - sample[0]);
	if (self->nearest < 1)
		self->nearest = 1;
	if (self->farthest < self->nearest)
		self->farthest = self->nearest;
	self->table = ldb_alloc(MOST_SEGMENTS * sizeof *self->table);
	if (!self->table)
		return false;
	/* More segments fit clustered keys better, but take more of the cache. */
	static const unsigned tried[] = {6, 9, 11};
	unsigned best = tried[0];
	double least = HUGE_VAL;
	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		if (!set_segments(self, tried[i]))
			break;
		fill(self, sample, n, 2, buckets);
		const double cost = unevenness(self, sample, n, buckets);
		if (cost < least - 0.3) {
			least = cost;
			best = tried[i];
		}
	}
	while (!set_segments(self, best))
		best--;
	fill(self, sample, n, 1, buckets);
	return true;
}

void ls_model_free(ls_model *self)
{
	ldb_free(self->table, MOST_SEGMENTS * sizeof *self->table);
	self->table = NULL;
}
