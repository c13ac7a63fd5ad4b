/*
 * What the user leaves open: how many leaves there are, within a budget of bytes, and which root
 * they have. CDFShop (Marcus, Zhang, Kraska 2020) trains whole models to compare them; here only
 * those leaves are trained that a few hundred keys fall into, and a large one on some of its keys.
 */
#include <math.h>
#include <stdbool.h>

#include "clock.h"
#include "ldb/radix.h"
#include "rmi.h"

#define LEAF_SAMPLE 512u

/* How many keys to ask for: enough to tell roots apart, and so few that training takes longer. */
static size_t probe_count(size_t n)
{
	const size_t few = n / 4096;
	return few > 1024 ? 1024 : few > 256 ? few : n < 256 ? n : 256;
}

/* The leaf that a probe falls into. */
typedef struct {
	size_t start, end; /* of its keys */
	size_t step;       /* it is trained on each `step`th of them */
	rmi_leaf trained[2];
} trial;

static void train_trial(trial *t, const rmi_root *root, const ldb_key *keys, size_t number)
{
	ldb_key some[LEAF_SAMPLE];
	size_t count = 0;
	t->step = (t->end - t->start - 1) / LEAF_SAMPLE + 1;
	for (size_t i = t->start; i < t->end; i += t->step)
		some[count++] = keys[i];
	rmi_train_leaf(&t->trained[0], root, some, count, number, 0);
	t->trained[1].start = (uint32_t)count;
}

/*
 * Mean of log2(hi - lo + 1) over the windows of keys evenly spread over the ranks: the number of
 * steps that binary search would need. INFINITY when it is not below `limit`.
 */
static double mean_log2_window(const rmi_root *root, const ldb_key *keys, size_t n, double limit)
{
	const size_t probes = probe_count(n);
	trial t = {.end = 0};
	double sum = 0;
	for (size_t i = 0; i < probes; i++) {
		const size_t rank = ldb_sample_rank(i, probes, n);
		const uint64_t f = rmi_predict_leaf(root, keys[rank]), number = f >> 32;
		if (rank >= t.end) { /* else it is the probe's before */
			t.start = rmi_first_of_leaf(root, keys, t.end, rank, number);
			t.end = rmi_first_of_leaf(root, keys, rank, n, number + 1);
			train_trial(&t, root, keys, number);
		}
		size_t lo, hi;
		rmi_leaf_window(t.trained, (uint32_t)f, &lo, &hi);
		sum += log2((double)((hi - lo + 1) * t.step));
		if (sum >= limit * (double)probes)
			return INFINITY;
	}
	return sum / (double)probes;
}

/* Trains a root and takes it if its windows' mean is below `limit`. Returns that mean, or INFINITY.
 */
static double try_root(rmi *index, rmi_root_kind kind, size_t leaf_count, double limit)
{
	rmi_root root;
	rmi_train_root(&root, kind, index->keys, index->n, leaf_count);
	const double mean = mean_log2_window(&root, index->keys, index->n, limit);
	if (mean < INFINITY) {
		index->root = root;
		index->leaf_count = leaf_count;
	}
	return mean;
}

/* Of roots that differ by less than this the one that comes first, which is the cheaper, is taken.
 */
#define WORTH_LOG2 0.05
/* Windows of a key or two, as on a line: leaves that get them may be fewer, if these are no wider
 * than by EQUAL_LOG2. */
#define EXACT_LOG2 1.5
#define EQUAL_LOG2 0.01

void rmi_tune(rmi *index, rmi_root_kind kind, double budget_bytes)
{
	static const rmi_root_kind candidates[] = {RMI_ROBUST, RMI_LINEAR, RMI_RADIX, RMI_LOGLINEAR,
						   RMI_CUBIC};
	const bool open = index->leaf_count == 0;
	const double room = (budget_bytes - sizeof *index) / sizeof(rmi_leaf);
	if (open) /* there is one more at the end */
		index->leaf_count = room < 2 ? 1 : (size_t)room - 1;
	if (index->n == 0 || (!open && kind != RMI_AUTO)) {
		kind = kind == RMI_AUTO ? candidates[0] : kind;
		rmi_train_root(&index->root, kind, index->keys, index->n, index->leaf_count);
		return;
	}
	const uint64_t start_ns = ldb_now_ns();
	double best = INFINITY;
	for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
		if (kind == RMI_AUTO || kind == candidates[i])
			best = fmin(best, try_root(index, candidates[i], index->leaf_count,
						   best - WORTH_LOG2));
	/* Where a few leaves do as well as many, they stay in cache. */
	kind = index->root.kind;
	size_t fewer = best < EXACT_LOG2 && open ? index->leaf_count / 4 : 0;
	while (fewer && try_root(index, kind, fewer, best + EQUAL_LOG2) < INFINITY)
		fewer /= 4;
	index->tune_ns = ldb_now_ns() - start_ns;
}
