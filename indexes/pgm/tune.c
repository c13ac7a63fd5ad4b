/*
 * Epsilon when the user gives none: the narrowest windows, from EPSILON_LEAST on, whose segments
 * fit a tenth of the keys' size. Candidates are 2^k - 1, whose windows, of 2 epsilon + 1 ranks,
 * fill whole vectors. Windows of two vectors instead of four, with EPSILON_LEAST 7, cost more in
 * segments that the second cache does not hold than they save in keys, on all but uniform ones.
 */
#include "tune.h"
#include "ldb/pgm_build.h"

#define EPSILON_LEAST (2u * LDB_LINE_KEYS - 1)
#define EPSILON_MOST 4095u
#define BLOCKS 64u
#define BLOCK_KEYS 8192u
/* Less than one byte more for its share of the levels above: a tenth of so many keys' size. */
#define SEGMENT_BYTES (sizeof(ldb_pgm_segment) + 1)
#define KEYS_PER_SEGMENT ((10 * SEGMENT_BYTES + sizeof(ldb_key) - 1) / sizeof(ldb_key))

/* Segments of up to BLOCKS blocks of keys, evenly spread; *seen = how many keys. 0: no memory. */
static size_t segments_of_sample(const ldb_key *keys, size_t n, uint64_t epsilon, size_t *seen)
{
	const size_t blocks = n / BLOCK_KEYS < BLOCKS ? n / BLOCK_KEYS + 1 : BLOCKS;
	size_t count = 0;
	*seen = 0;
	for (size_t b = 0; b < blocks; b++) {
		const size_t start = n / blocks * b, left = n - start;
		const size_t length = left < BLOCK_KEYS ? left : BLOCK_KEYS;
		const size_t segments = ldb_pgm_count_segments(keys + start, length, epsilon);
		if (segments == 0)
			return 0;
		count += segments;
		*seen += length;
	}
	return count;
}

uint64_t pgm_choose_epsilon(const ldb_key *keys, size_t n)
{
	for (uint64_t epsilon = EPSILON_LEAST;; epsilon = 2 * epsilon + 1) {
		size_t seen;
		const size_t segments = segments_of_sample(keys, n, epsilon, &seen);
		if (segments == 0)
			return 0;
		if (epsilon >= EPSILON_MOST || segments * KEYS_PER_SEGMENT <= seen)
			return epsilon;
	}
}
