/*
 * rmi: the two-layer recursive model index (Kraska, Beutel, Chi, Dean, Polyzotis: "The Case for
 * Learned Index Structures", SIGMOD 2018, section 3), with a choice of roots as in CDFShop (Marcus,
 * Zhang, Kraska, SIGMOD 2020) and a trimmed root and bounds per leaf as in "A Critical Analysis of
 * Recursive Model Indexes" (Maltry, Dittrich, VLDB 2022). This header is the model and its lookup;
 * train.c trains it, tune.c chooses the root, rmi.c is the plug-in around it.
 *
 * The root maps a key to F = leaf * 2^32 + y: which leaf predicts it, and where in the leaf's share
 * of the root's range it lies, as a 32-bit fraction y. A leaf is linear in y:
 *
 *	t(y) = floor(slope * max(y - y0, 0))		ranks past the leaf's first
 *	lo = start + min(t, count)			window of the lower bound's rank
 *	hi = start + min(t + width, count)
 *
 * where the leaf holds `count` keys, the first of rank `start`. Predicting from y and not from the
 * key costs no precision (F has 53 bits) and makes a leaf 16 bytes, four to a cache line.
 *
 * Why the window holds for every q. F never decreases as q grows: keys are clamped to [base, top]
 * and subtracted as integers; the logarithm, where the root takes it, is one of integers and never
 * decreases (ldb/log2.h); and every later step (conversion to double, times a coefficient >= 0,
 *plus a constant, clamp, truncation) keeps order even when it rounds; for the cubic see train.c. So
 *does t, for the same reason. Let r be the number of keys < q, b = keys[r] the first key >= q, a =
 *keys[r - 1] the last key < q, and let q's leaf hold the ranks [start, end).
 *   - Keys of earlier leaves are < q and keys of later ones > q: start <= r <= end.
 *   - lo <= r: if b is in the leaf, t(q) <= t(b), and training sees to t(b) <= r - start. If not,
 *     r = end, and lo <= end by the clamp.
 *   - hi >= r: if a is in the leaf, t(q) >= t(a), and training sees to t(a) + width >= r - start.
 *     If not, r = start, and hi >= start.
 * Nothing here asks q to be a key, to lie between the first and the last one, or keys to differ, or
 * a leaf not to be empty. Both conditions on t are checked in training for every key, by the very
 * functions below.
 */
#ifndef RMI_H
#define RMI_H

#include "ldb/index.h"
#include "ldb/log2.h"

typedef enum {
	RMI_AUTO,      /* whichever of the others promises the narrowest windows */
	RMI_LINEAR,    /* least squares over all keys */
	RMI_ROBUST,    /* line through the ends of what is left without outliers */
	RMI_CUBIC,     /* monotone cubic over what is left without outliers */
	RMI_RADIX,     /* the key's top bits behind the common prefix */
	RMI_LOGLINEAR, /* as robust, over log2(key - base) */
} rmi_root_kind;

typedef struct {
	ldb_key base, top; /* keys are clamped to [base, top] */
	rmi_root_kind kind;
	unsigned right, left; /* x = (key - base) >> right, or its log2; radix: F = x << left */
	double c[4];          /* F = c[0] + c[1] x + c[2] x^2 + c[3] x^3 */
	double limit;         /* the largest double below leaves * 2^32 */
} rmi_root;

typedef struct {
	uint32_t start; /* rank of the first key in this leaf or a later one */
	uint32_t y0;    /* where the model leaves rank `start` */
	float slope;    /* ranks per unit of y; at most RMI_SLOPE_MAX */
	uint32_t width; /* most ranks between the prediction and the lower bound */
} rmi_leaf;

#define RMI_SLOPE_MAX 0x1p30f /* so that slope * y stays below 2^63 */

typedef struct {
	const ldb_key *keys;
	size_t n;
	rmi_leaf *leaves; /* leaf_count and one more, whose start is n */
	size_t leaf_count;
	rmi_root root;
	uint64_t tune_ns;
} rmi;

/* What the root computes with: x. `kind` is root->kind, a constant in loops made for one kind. */
static inline uint64_t rmi_root_input(const rmi_root *root, rmi_root_kind kind, ldb_key q)
{
	q = q < root->top ? q : root->top;
	const uint64_t x = (q > root->base ? q - root->base : 0) >> root->right;
	return kind == RMI_LOGLINEAR ? ldb_log2(x) >> 1 : x;
}

/* The root model: F of q, 32.32 fixed point. */
static inline uint64_t rmi_predict_as(const rmi_root *root, rmi_root_kind kind, ldb_key q)
{
	const uint64_t x = rmi_root_input(root, kind, q);
	if (kind == RMI_RADIX)
		return x << root->left;
	/* x < 2^63, and a signed conversion is one instruction everywhere. */
	const double d = (double)(int64_t)x;
	double f = root->c[1] * d + root->c[0];
	if (kind == RMI_CUBIC)
		f = ((root->c[3] * d + root->c[2]) * d + root->c[1]) * d + root->c[0];
	f = f > 0 ? f : 0;
	f = f < root->limit ? f : root->limit;
	return (uint64_t)(int64_t)f;
}

static inline uint64_t rmi_predict_leaf(const rmi_root *root, ldb_key q)
{
	return rmi_predict_as(root, root->kind, q);
}

/* The leaf model: t(y), not yet clamped. */
static inline uint64_t rmi_predict_rank(const rmi_leaf *leaf, uint32_t y)
{
	const uint32_t dy = y > leaf->y0 ? y - leaf->y0 : 0;
	return (uint64_t)(int64_t)(leaf->slope * (float)(int64_t)dy);
}

static inline void rmi_leaf_window(const rmi_leaf *leaf, uint32_t y, size_t *lo, size_t *hi)
{
	const uint64_t start = leaf[0].start, count = leaf[1].start - start;
	const uint64_t first = rmi_predict_rank(leaf, y), last = first + leaf->width;
	*lo = start + (first < count ? first : count);
	*hi = start + (last < count ? last : count);
}

/* train.c */
/* Trains a root, of any kind but RMI_AUTO, that spreads the keys over leaf_count leaves. */
void rmi_train_root(rmi_root *root, rmi_root_kind kind, const ldb_key *keys, size_t n,
		    size_t leaf_count);
/* Rank of the first key in [low, high) whose leaf is not before `leaf`; high when there is none. */
size_t rmi_first_of_leaf(const rmi_root *root, const ldb_key *keys, size_t low, size_t high,
			 uint64_t leaf);
/* Trains leaf `number`, whose keys begin at rank `start` of keys[0..n); returns the rank behind
 * them, which is `start` for an empty leaf. */
size_t rmi_train_leaf(rmi_leaf *leaf, const rmi_root *root, const ldb_key *keys, size_t n,
		      size_t number, size_t start);
/* Trains all leaves below the index's root, by up to `threads` threads: the same ones by any
 * number of them. */
void rmi_train_leaves(rmi *index, size_t threads);

/* tune.c */
/* Chooses what the user left open: with leaf_count 0 how many leaves there are, within
 * budget_bytes; with RMI_AUTO the kind of the root. Trains the root. */
void rmi_tune(rmi *index, rmi_root_kind kind, double budget_bytes);

#endif
