/*
 * Data nodes of ALEX: gapped arrays (Ding et al. 2020, sections 3.3.1 and 4.2). A key is placed
 * where the model predicts it, or as close as the keys before it allow.
 */
#include <math.h>
#include <string.h>

#include "alex.h"

static inline ldb_key *keys_of(alex_data *node)
{
	return (ldb_key *)(node + 1);
}

/* Keys differ, so a slot that equals its neighbour is a gap. */
unsigned alex_used8(const ldb_key *keys, size_t slot)
{
	const ldb_key *p = keys + slot;
#if defined(__AVX512F__)
	return _mm512_cmpneq_epu64_mask(_mm512_loadu_si512(p), _mm512_loadu_si512(p - 1));
#else
	unsigned used = 0;
	for (unsigned i = 0; i < 8; i++)
		used |= (unsigned)(p[i] != p[(int)i - 1]) << i;
	return used;
#endif
}

/* By doubling steps away from the window, then by halving. */
__attribute__((noinline)) size_t alex_search_far(const ldb_key *keys, size_t capacity, size_t from,
						 ldb_key q)
{
	if (keys[from] < q)
		return ldb_search_up(keys, capacity, from + ALEX_WINDOW - 1, ALEX_WINDOW, q);
	size_t hi = from, step = ALEX_WINDOW, lo = hi > step ? hi - step : 0;
	while (lo > 0 && keys[lo] >= q) {
		hi = lo;
		step *= 2;
		lo = hi > step ? hi - step : 0;
	}
	return ldb_search_window(keys, capacity, lo, hi, q);
}

/* --- models ----------------------------------------------------------------------------------- */

/* Least squares over (key - first key, rank). */
static void regress(alex_run run, double *slope, double *intercept)
{
	const double mean_y = (double)(run.count - 1) / 2;
	double mean_x = 0, covariance = 0, variance = 0;
	for (size_t i = 0; i < run.count; i++)
		mean_x += (double)(run.keys[i] - run.keys[0]);
	mean_x /= (double)run.count;
	for (size_t i = 0; i < run.count; i++) {
		const double dx = (double)(run.keys[i] - run.keys[0]) - mean_x;
		covariance += dx * ((double)i - mean_y);
		variance += dx * dx;
	}
	*slope = covariance / variance;
	*intercept = mean_y - *slope * mean_x;
}

void alex_set_slope(alex_link *link, double slope)
{
	int exponent;
	const double fraction = frexp(slope, &exponent);
	link->shift = (uint8_t)(exponent < 0 ? -exponent : 0);
	link->slope = slope < 1 ? (uint64_t)ldexp(fraction, 64) : UINT64_MAX;
}

/* Where a search begins, and where the key will stand. */
static double steps_beyond_window(size_t predicted, size_t slot, size_t capacity)
{
	const size_t from = alex_window(predicted, capacity);
	if (slot >= from && slot < from + ALEX_WINDOW)
		return 0;
	const size_t distance = slot < from ? from - slot : slot - from - ALEX_WINDOW + 1;
	return 1 + log2((double)(distance + ALEX_WINDOW) / ALEX_WINDOW);
}

/* The slot of the ith key, when the one before it has the slot before `least`. */
static inline size_t place(const alex_link *link, alex_run run, size_t i, size_t least)
{
	const size_t predicted = alex_predict(link, run.keys[i]);
	const size_t most = link->last + 1 - (run.count - i); /* the others need room, too */
	const size_t slot = predicted > least ? predicted : least;
	return i == 0 ? 0 : slot < most ? slot : most;
}

double alex_fit(alex_link *link, alex_run run, double density)
{
	size_t capacity = (size_t)((double)run.count / density) + 1;
	capacity = capacity < ALEX_WINDOW ? ALEX_WINDOW : (capacity + 7) & ~(size_t)7;
	*link = (alex_link){.last = (uint32_t)capacity - 1, .is_data = true};
	if (run.count < 2) {
		link->base = run.count ? run.keys[0] : 0;
		return 0;
	}
	double slope, intercept;
	regress(run, &slope, &intercept);
	const double scale = (double)capacity / (double)run.count;
	const double back = intercept / slope; /* how far the line's zero is before the first key */
	link->base = run.keys[0];
	if (back > 0 && back < (double)link->base)
		link->base -= (uint64_t)back;
	else if (back < 0)
		link->base += (uint64_t)-back;
	alex_set_slope(link, slope * scale);
	double steps = 0;
	for (size_t i = 0, least = 0; i < run.count; i++) {
		const size_t slot = place(link, run, i, least);
		steps += steps_beyond_window(alex_predict(link, run.keys[i]), slot, capacity);
		least = slot + 1;
	}
	return steps / (double)run.count;
}

/* --- whole nodes ------------------------------------------------------------------------------ */

/* Sets slots [from, to) to `key`. */
static inline void fill(ldb_key *keys, size_t from, size_t to, ldb_key key)
{
	for (size_t i = from; i < to; i++)
		keys[i] = key;
}

/* No key is less than 0, and the value says that there is nothing at all. */
static void make_empty(alex_data *node)
{
	node->count = 0;
	fill(keys_of(node), 0, node->capacity, 0);
	alex_values(node)[0] = LDB_NONE;
}

alex_data *alex_data_make(const alex_link *link, alex_run run)
{
	const size_t capacity = link->last + 1;
	alex_data *node = ldb_alloc(alex_data_bytes(capacity));
	if (!node)
		return NULL;
	*node = (alex_data){.capacity = (uint32_t)capacity,
			    .count = (uint32_t)run.count,
			    .loaded = (uint32_t)run.count};
	ldb_key *keys = keys_of(node);
	ldb_val *values = alex_values(node);
	make_empty(node);
	node->count = (uint32_t)run.count;
	size_t least = 0;
	for (size_t i = 0; i < run.count; i++) {
		const size_t slot = place(link, run, i, least);
		if (i)
			fill(keys, least, slot, run.keys[i - 1]);
		keys[slot] = run.keys[i];
		values[slot] = run.values ? run.values[i] : run.first_value + i;
		least = slot + 1;
	}
	if (run.count)
		fill(keys, least, capacity, run.keys[run.count - 1]);
	return node;
}

size_t alex_data_collect(const alex_data *node, ldb_key *keys, ldb_val *values)
{
	const ldb_key *from = alex_keys(node);
	const ldb_val *from_values = alex_values(node);
	size_t count = 0;
	for (size_t i = 0; count < node->count; i++) {
		if (i > 0 && from[i] == from[i - 1])
			continue;
		keys[count] = from[i];
		values[count++] = from_values[i];
	}
	return count;
}

/* --- changes ---------------------------------------------------------------------------------- */

static inline bool is_gap(const ldb_key *keys, size_t slot)
{
	return slot > 0 && keys[slot] == keys[slot - 1];
}

/* The gaps next to `slot` on both sides, whichever is closer; capacity where there is none. */
static size_t closest_gap(const ldb_key *keys, size_t capacity, size_t slot)
{
	for (size_t distance = 1; distance <= capacity; distance++) {
		if (slot + distance < capacity && is_gap(keys, slot + distance))
			return slot + distance;
		if (distance < slot && is_gap(keys, slot - distance))
			return slot - distance;
	}
	return capacity;
}

/* Moves entries [from, from + count) by one slot, up or down. */
static inline void move(alex_data *node, size_t to, size_t from, size_t count)
{
	ldb_key *keys = keys_of(node);
	ldb_val *values = alex_values(node);
	memmove(keys + to, keys + from, count * sizeof *keys);
	memmove(values + to, values + from, count * sizeof *values);
}

bool alex_data_insert(alex_data *node, size_t slot, size_t predicted, ldb_key key, ldb_val value)
{
	ldb_key *keys = keys_of(node);
	size_t at = slot;
	if (node->count == 0) {
		fill(keys, 0, node->capacity, key);
		at = 0;
	} else if (slot > 1 && is_gap(keys, slot - 1)) {
		/* As far to the left as the gaps go, but not beyond the predicted slot. */
		keys[--at] = key;
		while (at > predicted && is_gap(keys, at - 1))
			keys[--at] = key;
	} else {
		const size_t gap = closest_gap(keys, node->capacity, slot);
		if (gap == node->capacity)
			return false;
		if (gap > slot) {
			move(node, slot + 1, slot, gap - slot);
			node->work += gap - slot;
		} else {
			at = slot - 1;
			move(node, gap, gap + 1, at - gap);
			node->work += at - gap;
		}
		keys[at] = key;
	}
	alex_values(node)[at] = value;
	node->count++;
	node->inserts++;
	return true;
}

void alex_data_delete(alex_data *node, size_t slot)
{
	ldb_key *keys = keys_of(node);
	size_t end = slot + 1;
	while (end < node->capacity && is_gap(keys, end))
		end++;
	if (slot > 0) {
		fill(keys, slot, end, keys[slot - 1]);
	} else if (end < node->capacity) { /* slot 0 must be in use: the next key moves there */
		fill(keys, 0, end, keys[end]);
		alex_values(node)[0] = alex_values(node)[end];
	} else {
		make_empty(node);
		return;
	}
	node->count--;
}

ldb_val alex_data_sum(const alex_data *node, size_t slot, size_t *left)
{
	const ldb_key *keys = alex_keys(node);
	const ldb_val *values = alex_values(node);
	ldb_val sum = 0;
	if (node->count == 0)
		return 0;
	for (; slot < node->capacity && *left; slot++) {
		const bool used = slot == 0 || keys[slot] != keys[slot - 1];
		sum += values[slot] & (0 - (ldb_val)used);
		*left -= used;
	}
	return sum;
}
