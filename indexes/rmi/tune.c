/*
 * Parameters of rmi when the user gives none: how many leaves, and which root. CDFShop (Marcus,
 * Zhang, Kraska 2020) trains whole models to compare them; here only those leaves are trained that
 * a sample of the keys falls into, which takes milliseconds at any n.
 */
#include <math.h>

#include "rmi.h"

#define PROBES 1024u
#define LEAF_KEYS_MAX 4096u

/* 24 keys to a leaf: 16 bytes for 192 bytes of keys, 8.3 %. */
size_t rmi_choose_leaf_count(size_t n)
{
	return n / 24 ? n / 24 : 1;
}

/* Rank of the first key in [low, high) whose leaf is not before `leaf`; high when there is none. */
static size_t first_of_leaf(const rmi_root *root, const ldb_key *keys, size_t low, size_t high,
			    uint64_t leaf)
{
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if (rmi_predict_leaf(root, keys[middle]) >> 32 < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Mean of log2(hi - lo + 1) over the windows of PROBES keys evenly spread over the ranks: the
 * number of steps that binary search would need. A huge leaf is not trained: it counts as a window
 * of all its keys.
 */
static double mean_log2_window(const rmi_root *root, const ldb_key *keys, size_t n)
{
	const size_t probes = n < PROBES ? n : PROBES;
	rmi_leaf trained[2] = {{.start = 0}, {.start = 0}};
	size_t start = 0, end = 0; /* of the probe's leaf */
	double sum = 0;
	for (size_t i = 0; i < probes; i++) {
		const size_t rank = (2 * i + 1) * n / (2 * probes);
		const uint64_t f = rmi_predict_leaf(root, keys[rank]), number = f >> 32;
		if (rank >= end) { /* else it is the probe's before */
			start = first_of_leaf(root, keys, end, rank, number);
			end = first_of_leaf(root, keys, rank, n, number + 1);
			if (end - start <= LEAF_KEYS_MAX)
				rmi_train_leaf(&trained[0], root, keys, end, number, start);
			trained[1].start = (uint32_t)end;
		}
		size_t lo = start, hi = end;
		if (end - start <= LEAF_KEYS_MAX)
			rmi_leaf_window(trained, (uint32_t)f, &lo, &hi);
		sum += log2((double)(hi - lo + 1));
	}
	return sum / (double)probes;
}

/* Of roots that differ by less than this the one that comes first, which is the cheaper, is taken.
 */
#define WORTH_LOG2 0.05

void rmi_choose_root(rmi *index)
{
	static const rmi_root_kind candidates[] = {RMI_ROBUST, RMI_LINEAR, RMI_RADIX, RMI_CUBIC};
	double best = INFINITY;
	rmi_train_root(&index->root, RMI_ROBUST, index->keys, index->n, index->leaf_count);
	for (size_t i = 0; index->n && i < sizeof candidates / sizeof *candidates; i++) {
		rmi_root root;
		rmi_train_root(&root, candidates[i], index->keys, index->n, index->leaf_count);
		const double cost = mean_log2_window(&root, index->keys, index->n);
		if (cost < best - WORTH_LOG2) {
			best = cost;
			index->root = root;
		}
	}
}
