/*
 * Parameters of radixspline when the user gives none. Both follow from a budget, as in the tuner of
 * PLEX (Stoian, Kipf, Marcus, Kraska: "Towards Practical Learned Indexing", 2021): the narrowest
 * windows whose spline and table fit a tenth of the keys' size.
 */
#include "radixspline.h"

#define BLOCKS 64u
#define BLOCK_KEYS 8192u
#define EPSILON_LEAST 4u
#define EPSILON_MOST 4096u
/* 16 bytes for a point and up to 16 for its share of the table, of 8 bytes for a key. */
#define KEYS_PER_POINT 40u

typedef struct {
	rs_sink sink;
	size_t count;
} point_counter;

static int count_point(rs_sink *sink, rs_point point)
{
	(void)point;
	((point_counter *)sink)->count++;
	return 1;
}

/* Spline points for the keys of up to BLOCKS blocks, evenly spread; *seen = how many keys. The
 * point that each block has at its start is not counted. */
static size_t points_of_sample(const ldb_key *keys, size_t n, uint64_t epsilon, size_t *seen)
{
	point_counter counter = {.sink = {count_point}};
	const size_t blocks = n / BLOCK_KEYS < BLOCKS ? n / BLOCK_KEYS + 1 : BLOCKS;
	*seen = 0;
	for (size_t b = 0; b < blocks; b++) {
		const size_t start = n / blocks * b, left = n - start;
		const size_t length = left < BLOCK_KEYS ? left : BLOCK_KEYS;
		rs_fit_spline(keys + start, length, epsilon, &counter.sink);
		*seen += length;
	}
	return counter.count - blocks;
}

uint64_t rs_choose_epsilon(const ldb_key *keys, size_t n)
{
	uint64_t epsilon = EPSILON_LEAST;
	size_t seen;
	while (n && epsilon < EPSILON_MOST &&
	       points_of_sample(keys, n, epsilon, &seen) * KEYS_PER_POINT > seen)
		epsilon *= 2;
	return epsilon;
}

/* Two to four table entries for each point: the table takes about as much as the points. */
unsigned rs_choose_radix_bits(size_t point_count)
{
	unsigned bits = 1;
	while (bits < RS_RADIX_BITS_MAX && ((size_t)1 << bits) < point_count * 2)
		bits++;
	return bits;
}
