/*
 * Facts about a set of sorted keys: its range, duplicates, gaps, and how hard it is to learn.
 *
 * Hardness is the least number of line segments that approximate the ranks within epsilon: with a
 * small epsilon the local, with a large one the global hardness of Wongkham et al., "Are Updatable
 * Learned Indexes Ready?", VLDB 2022 (GRE). Segments are found by the optimal streaming method of
 * ldb/pla.h.
 */
#include "inspect.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "dataset.h"
#include "ldb/pla.h"

/* --- segments --------------------------------------------------------------------------------- */

size_t inspect_segments(const ldb_key *keys, size_t n, uint64_t epsilon, size_t *starts)
{
	ldb_pla pla;
	size_t segments = 0;
	bool ok = true;
	ldb_pla_init(&pla, epsilon);
	for (size_t i = 0; i < n && ok; i++) {
		if (i && keys[i] == keys[i - 1])
			continue;
		const ldb_pla_result added = i ? ldb_pla_add(&pla, keys[i], i) : LDB_PLA_FULL;
		ok = added != LDB_PLA_OOM;
		if (added != LDB_PLA_FULL)
			continue;
		ok = ldb_pla_begin(&pla, keys[i], i);
		if (starts)
			starts[segments] = i;
		segments++;
	}
	ldb_pla_free(&pla);
	return ok ? segments : 0;
}

/* --- gaps ------------------------------------------------------------------------------------- */

/* One pass over the keys: everything but the median and the segments. */
static void count_gaps(const ldb_key *keys, size_t n, ldb_dataset_facts *out)
{
	double mean = 0, squares = 0; /* Welford's running mean and squared deviations of log2 */
	size_t gaps = 0, run = 1;
	out->longest_run = 1;
	out->gap_min = LDB_KEY_MAX;
	for (size_t i = 1; i < n; i++) {
		const ldb_key gap = keys[i] - keys[i - 1];
		if (gap == 0) {
			run++;
			if (run > out->longest_run)
				out->longest_run = run;
			continue;
		}
		run = 1;
		gaps++;
		if (gap < out->gap_min)
			out->gap_min = gap;
		if (gap > out->gap_max)
			out->gap_max = gap;
		const double bits = log2((double)gap), delta = bits - mean;
		mean += delta / (double)gaps;
		squares += delta * (bits - mean);
	}
	out->distinct = gaps + 1;
	if (gaps == 0) {
		out->gap_min = 0;
		return;
	}
	out->gap_mean = (double)(out->max - out->min) / (double)gaps;
	out->gap_log2_sd = sqrt(squares / (double)gaps);
}

/*
 * The median gap, exactly and without a copy of the gaps: from the top down, each pass counts one
 * digit of the gaps that share the digits found so far. Of two middle ones it is the lower.
 */
static ldb_key median_gap(const ldb_key *keys, size_t n, size_t gaps, ldb_key largest)
{
	enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };
	size_t rank = (gaps - 1) / 2, count[DIGITS];
	const int bits = 64 - __builtin_clzll(largest);
	ldb_key found = 0; /* the digits so far, all others 0 */
	for (int shift = (bits - 1) / DIGIT_BITS * DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
		memset(count, 0, sizeof count);
		for (size_t i = 1; i < n; i++) {
			const ldb_key gap = keys[i] - keys[i - 1];
			/* (gap - found) >> shift is the digit when gap has the digits so far. */
			const ldb_key digit = (gap - found) >> shift;
			if (gap && gap >= found && digit < DIGITS)
				count[digit]++;
		}
		size_t digit = 0;
		while (rank >= count[digit])
			rank -= count[digit++];
		found += (ldb_key)digit << shift;
	}
	return found;
}

/* How much of the range the outermost 0.1 % of the keys span, half of them at each end. */
static double outlier_share(const ldb_key *keys, size_t n)
{
	const size_t outer = n < 2000 ? 1 : n / 2000;
	const ldb_key range = keys[n - 1] - keys[0];
	if (n < 2 * outer + 1 || range == 0)
		return 0;
	const ldb_key inner = keys[n - 1 - outer] - keys[outer];
	return (double)(range - inner) / (double)range;
}

void ldb_dataset_inspect(const ldb_key *keys, size_t n, ldb_dataset_facts *out)
{
	memset(out, 0, sizeof *out);
	out->n = n;
	if (n == 0)
		return;
	out->min = keys[0];
	out->max = keys[n - 1];
	count_gaps(keys, n, out);
	if (out->distinct > 1)
		out->gap_median = median_gap(keys, n, out->distinct - 1, out->gap_max);
	out->outlier_share = outlier_share(keys, n);
	out->segments_eps32 = inspect_segments(keys, n, 32, NULL);
	out->segments_eps4096 = inspect_segments(keys, n, 4096, NULL);
}
