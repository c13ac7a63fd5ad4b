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

/*
 * Bit i: slot + i is a gap; slot is a multiple of 8. Keys differ, so a slot that equals its
 * neighbour is one. Slot 0 is none; what is compared with there is a word of the node's head.
 */
static inline unsigned gaps8(const ldb_key *keys, size_t slot)
{
	const ldb_key *p = keys + slot;
	unsigned gaps = 0;
#if defined(__AVX512F__)
	gaps = _mm512_cmpeq_epu64_mask(_mm512_loadu_si512(p), _mm512_loadu_si512(p - 1));
#else
	for (int i = 0; i < 8; i++)
		gaps |= (unsigned)(p[i] == p[i - 1]) << i;
#endif
	return slot ? gaps : gaps & ~1u;
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

/* Steps that the search for a key takes beyond the window: it doubles them. */
static size_t steps_beyond_window(size_t predicted, size_t slot, size_t capacity)
{
	const size_t from = alex_window(predicted, capacity);
	if (slot >= from && slot < from + ALEX_WINDOW)
		return 0;
	const size_t distance = slot < from ? from - slot : slot - from - ALEX_WINDOW + 1;
	return 64 - (size_t)__builtin_clzll(distance / ALEX_WINDOW + 1);
}

/* Where the keys of a new node go. */
typedef struct {
	const alex_link *link;
	size_t left;       /* keys yet to be placed */
	size_t least;      /* the first free slot */
	double even, step; /* where the next key would be with even gaps, and the one after it */
	size_t slack;
} placing;

static placing begin_placing(const alex_link *link, size_t count)
{
	const size_t capacity = (size_t)link->last + 1;
	return (placing){.link = link,
			 .left = count,
			 .step = (double)capacity / (double)count,
			 .slack = capacity / 16};
}

/*
 * The slot of the next key: the predicted one, but close to where even gaps would put it. So also
 * where the model fails, no long stretch of slots is without gaps.
 */
static inline size_t next_slot(placing *p, ldb_key key)
{
	const size_t predicted = alex_predict(p->link, key), even = (size_t)p->even;
	const size_t low = even > p->slack ? even - p->slack : 0, high = even + p->slack;
	const size_t most = p->link->last + 1 - p->left--; /* the others need room, too */
	size_t slot = predicted < high ? predicted : high;
	slot = slot > low ? slot : low;
	slot = slot > p->least ? slot : p->least;
	slot = slot < most ? slot : most;
	slot = p->least ? slot : 0; /* slot 0 is always in use */
	p->even += p->step;
	p->least = slot + 1;
	return slot;
}

static size_t capacity_for(size_t count, double density)
{
	const size_t capacity = (size_t)((double)count / density) + 1;
	return capacity < ALEX_WINDOW ? ALEX_WINDOW : (capacity + 7) & ~(size_t)7;
}

double alex_fit(alex_link *link, alex_run run, double density)
{
	const size_t capacity = capacity_for(run.count, density);
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
	link->slope = ldb_line_slope(slope * scale, &link->shift);
	if (capacity == ALEX_WINDOW)
		return 0;
	placing p = begin_placing(link, run.count);
	size_t steps = 0;
	for (size_t i = 0; i < run.count; i++) {
		const size_t predicted = alex_predict(link, run.keys[i]);
		steps += steps_beyond_window(predicted, next_slot(&p, run.keys[i]), capacity);
	}
	return (double)steps / (double)run.count;
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

/* Each gap, 0 so far, gets the key on its left: the largest one up to there. */
static void fill_gaps(ldb_key *keys, size_t capacity)
{
	ldb_key key = 0;
	for (size_t i = 0; i < capacity; i++)
		keys[i] = key = keys[i] > key ? keys[i] : key;
}

static alex_data *new_node(size_t capacity, size_t count)
{
	alex_data *node = ldb_alloc(alex_data_bytes(capacity));
	if (!node)
		return NULL;
	*node = (alex_data){.capacity = (uint32_t)capacity};
	make_empty(node);
	node->count = node->loaded = (uint32_t)count;
	return node;
}

alex_data *alex_data_make(const alex_link *link, alex_run run)
{
	alex_data *node = new_node((size_t)link->last + 1, run.count);
	if (!node)
		return NULL;
	ldb_key *keys = keys_of(node);
	ldb_val *values = alex_values(node);
	placing p = begin_placing(link, run.count);
	for (size_t i = 0; i < run.count; i++) {
		const size_t slot = next_slot(&p, run.keys[i]);
		keys[slot] = run.keys[i];
		values[slot] = run.values ? run.values[i] : run.first_value + i;
	}
	fill_gaps(keys, node->capacity);
	return node;
}

bool alex_data_expand(const alex_link *from, alex_link *to, double density)
{
	const alex_data *old = from->node;
	const size_t capacity = capacity_for(old->count, density);
	const double slope = ldexp((double)from->slope, -64 - from->shift);
	alex_data *node = new_node(capacity, old->count);
	if (!node)
		return false;
	*to = (alex_link){
		.node = node, .base = from->base, .last = (uint32_t)capacity - 1, .is_data = true};
	to->slope = ldb_line_slope(slope * (double)capacity / (double)old->capacity, &to->shift);
	const ldb_key *old_keys = alex_keys(old);
	const ldb_val *old_values = alex_values(old);
	ldb_key *keys = keys_of(node);
	ldb_val *values = alex_values(node);
	placing p = begin_placing(to, old->count);
	for (size_t i = 0; i < old->capacity; i += 8) {
		for (unsigned used = ~gaps8(old_keys, i) & 0xff; used; used &= used - 1) {
			const size_t at = i + (unsigned)__builtin_ctz(used);
			const size_t slot = next_slot(&p, old_keys[at]);
			keys[slot] = old_keys[at];
			values[slot] = old_values[at];
		}
	}
	fill_gaps(keys, capacity);
	return true;
}

size_t alex_data_collect(const alex_data *node, ldb_key *keys, ldb_val *values)
{
	const ldb_key *from = alex_keys(node);
	const ldb_val *from_values = alex_values(node);
	size_t count = 0;
	if (node->count == 0)
		return 0;
	for (size_t i = 0; i < node->capacity; i++) {
		keys[count] = from[i]; /* of a gap: until the next entry takes its place */
		values[count] = from_values[i];
		count += i == 0 || from[i] != from[i - 1];
	}
	return count;
}

/* --- changes ---------------------------------------------------------------------------------- */

static inline bool is_gap(const ldb_key *keys, size_t slot)
{
	return slot > 0 && keys[slot] == keys[slot - 1];
}

/* Moves entries [from, from + count) to `to`, one slot up or down. */
static inline void move(alex_data *node, size_t to, size_t from, size_t count)
{
	ldb_key *keys = keys_of(node);
	ldb_val *values = alex_values(node);
	node->moved += count;
#if defined(__AVX512F__)
	if (__builtin_expect(count <= 8, 1)) { /* without a branch on the length */
		const __mmask8 mask = (__mmask8)((1u << count) - 1);
		const __m512i k = _mm512_maskz_loadu_epi64(mask, keys + from);
		const __m512i v = _mm512_maskz_loadu_epi64(mask, values + from);
		_mm512_mask_storeu_epi64(keys + to, mask, k);
		_mm512_mask_storeu_epi64(values + to, mask, v);
		return;
	}
#endif
	memmove(keys + to, keys + from, count * sizeof *keys);
	memmove(values + to, values + from, count * sizeof *values);
}

/* gaps8 but for slot itself, so that the cache line before it is not needed. */
static inline unsigned gaps7(const ldb_key *keys, size_t slot)
{
	const ldb_key *p = keys + slot;
#if defined(__AVX512F__)
	const __m512i k = _mm512_loadu_si512(p);
	const __m512i left = _mm512_alignr_epi64(k, k, 7);
	return _mm512_cmpeq_epu64_mask(k, left) & ~1u;
#else
	unsigned gaps = 0;
	for (unsigned i = 1; i < 8; i++)
		gaps |= (unsigned)(p[i] == p[i - 1]) << i;
	return gaps;
#endif
}

/* Gaps among the 24 slots around the group of 8 that starts at `group`; bit 8 is its first slot. */
static inline unsigned gaps_around(const ldb_key *keys, size_t capacity, size_t group)
{
	unsigned gaps = gaps8(keys, group) << 8;
	if (group > 0)
		gaps |= gaps7(keys, group - 8);
	if (group + 8 < capacity)
		gaps |= gaps8(keys, group + 8) << 16;
	return gaps;
}

/* The closest gap to `slot`, for nodes that are almost full there; capacity: there is none. */
static __attribute__((noinline)) size_t search_gap(const ldb_key *keys, size_t capacity,
						   size_t slot)
{
	for (size_t distance = 1; distance <= capacity; distance++) {
		if (slot >= distance && is_gap(keys, slot - distance))
			return slot - distance;
		if (slot + distance < capacity && is_gap(keys, slot + distance))
			return slot + distance;
	}
	return capacity;
}

/* Makes room for a key whose lower bound is `slot`; returns where, or capacity: there is no gap. */
static inline size_t make_room(alex_data *node, size_t slot, size_t predicted)
{
	const ldb_key *keys = alex_keys(node);
	const size_t capacity = node->capacity;
	const size_t group = (slot < capacity ? slot : capacity - 1) & ~(size_t)7;
	const unsigned gaps = gaps_around(keys, capacity, group);
	const unsigned bit = (unsigned)(slot - group) + 8;
	const unsigned below = gaps & ((1u << bit) - 1), above = gaps >> bit;
	const unsigned left = below ? (unsigned)__builtin_clz(below) - (32 - bit) : 32;
	const unsigned right = above ? (unsigned)__builtin_ctz(above) : 32;
	if (left == 0) {
		/* As far down as the gaps go, but not below the predicted slot. */
		const size_t first = slot - (unsigned)__builtin_clz(~(below << (32 - bit)));
		const size_t at = predicted < slot ? predicted : slot - 1;
		return at > first ? at : first;
	}
	size_t gap = left < right ? slot - 1 - left : slot + right;
	if (__builtin_expect(!gaps, 0))
		gap = search_gap(keys, capacity, slot);
	if (gap == capacity)
		return capacity;
	if (gap > slot) {
		move(node, slot + 1, slot, gap - slot);
		return slot;
	}
	move(node, gap, gap + 1, slot - 1 - gap);
	return slot - 1;
}

bool alex_data_insert(alex_data *node, size_t slot, size_t predicted, ldb_key key, ldb_val value)
{
	const size_t from = alex_window(predicted, node->capacity);
	size_t at = 0, end = node->capacity;
	if (node->count) {
		at = make_room(node, slot, predicted);
		if (at == node->capacity)
			return false;
		end = slot > at ? slot : at + 1;
	}
	fill(keys_of(node), at, end, key); /* with the gaps behind it */
	alex_values(node)[at] = value;
	node->count++;
	node->inserts++;
	node->far += slot < from || slot >= from + ALEX_WINDOW;
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
