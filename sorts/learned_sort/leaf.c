/*
 * Sorting what fits into the cache: quicksort between two buffers, down to at most 128 keys, which
 * a network of registers sorts.
 *
 * Pivots. Within a bucket keys are often spread evenly: then the pivot that cuts off a given share
 * is found by interpolation between the bounds, costs nothing, and is more exact than any small
 * sample (the error is about half the root of the number of keys). The share is chosen so that the
 * last parts come out a little less than 128. Where a cut came out uneven, pivots are sampled from
 * there on; where those fail too often, cuts halve the range of values, so that there are 64 more
 * at most.
 *
 * The network works on doubles. The distance of a key from a lower bound of all, below 2^62, is the
 * bit pattern of a positive double, and these compare as the integers do; minimum and maximum of
 * doubles take one instruction each on every processor with AVX-512, those of 64-bit integers two
 * on some.
 */
#include "learned_sort.h"

#if LS_AVX512
#include "network.h"
enum { SMALL = 128, SMALL_MEAN = 108, SLOT = 192, ODD = 8 };
#else
enum { SMALL = 32, SMALL_MEAN = 16, SLOT = 32, ODD = 1 };
#endif

/* --- cutting ---------------------------------------------------------------------------------- */

/* Where the next keys below the pivot go, and behind the place of those that aren't. */
typedef struct {
	ldb_key *low, *high;
} cut;

#if LS_AVX512
/* For each mask of lanes a permutation, as bytes: lanes not in the mask first. */
static struct {
	uint64_t lanes[256];
} order;

__attribute__((constructor)) static void fill_order(void)
{
	for (unsigned mask = 0; mask < 256; mask++) {
		unsigned at = 0;
		for (unsigned in = 0; in < 2; in++) {
			for (unsigned lane = 0; lane < 8; lane++) {
				if ((mask >> lane & 1) == in)
					order.lanes[mask] |= (uint64_t)lane << (8 * at++);
			}
		}
	}
}

/*
 * Eight keys at once: those below the pivot to the front of a vector, the others to its end; then
 * it is written at both ends of the gap. What is wrong in it is overwritten later, or it is the
 * last one, and both places are the same: hence the gap must be a multiple of 8.
 */
LS_INLINE void cut_eight(cut *c, const ldb_key *keys, __m512i pivot)
{
	const __m512i key = _mm512_loadu_si512(keys);
	const __mmask8 high = _mm512_cmpge_epu64_mask(key, pivot);
	const __m512i lanes = _mm512_cvtepu8_epi64(
		_mm_loadl_epi64((const __m128i *)(const void *)&order.lanes[high]));
	const __m512i both = _mm512_permutexvar_epi64(lanes, key);
	const size_t count = (size_t)__builtin_popcount(high);
	_mm512_storeu_si512(c->low, both);
	_mm512_storeu_si512(c->high - 8, both);
	c->low += 8 - count;
	c->high -= count;
}

/* The first n % 8 keys, without a branch. */
LS_INLINE size_t cut_odd(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	const __mmask8 lanes = (__mmask8)((1u << n % 8) - 1);
	const __m512i key = _mm512_maskz_loadu_epi64(lanes, keys);
	const __mmask8 high =
		_mm512_mask_cmpge_epu64_mask(lanes, key, _mm512_set1_epi64((long long)pivot));
	const size_t highs = (size_t)__builtin_popcount(high), lows = n % 8 - highs;
	_mm512_mask_storeu_epi64(c->low, (__mmask8)((1u << lows) - 1),
				 _mm512_maskz_compress_epi64(lanes & (__mmask8)~high, key));
	c->low += lows;
	c->high -= highs;
	_mm512_mask_storeu_epi64(c->high, (__mmask8)((1u << highs) - 1),
				 _mm512_maskz_compress_epi64(high, key));
	return n % 8;
}

LS_INLINE void cut_rest(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	const __m512i p = _mm512_set1_epi64((long long)pivot);
	for (size_t i = 0; i < n; i += 8)
		cut_eight(c, keys + i, p);
}
#else
LS_INLINE size_t cut_odd(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	(void)c, (void)keys, (void)n, (void)pivot;
	return 0;
}

LS_INLINE void cut_rest(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	for (size_t i = 0; i < n; i++) {
		const bool less = keys[i] < pivot;
		*c->low = keys[i];
		c->high[-1] = keys[i];
		c->low += less;
		c->high -= !less;
	}
}
#endif

/* Writes keys below the pivot to the front of out[0..n), the others to its end; how many are below.
 */
static size_t cut_at(const ldb_key *keys, size_t n, ldb_key pivot, ldb_key *out)
{
	cut c = {out, out + n};
	const size_t odd = cut_odd(&c, keys, n, pivot);
	cut_rest(&c, keys + odd, n - odd, pivot);
	return (size_t)(c.low - out);
}

/* The same for keys in pieces. */
static size_t cut_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key pivot,
			 ldb_key *out)
{
	cut c = {out, out + n};
	for (size_t p = 0; p < count; p++)
		cut_odd(&c, pieces[p].data, pieces[p].count, pivot);
	for (size_t p = 0; p < count; p++) {
		const size_t odd = pieces[p].count % ODD;
		cut_rest(&c, pieces[p].data + odd, pieces[p].count - odd, pivot);
	}
	return (size_t)(c.low - out);
}

/* --- pivots ----------------------------------------------------------------------------------- */

/* The pivot that cuts evenly spread keys in [lo, hi], lo < hi, into `low` parts of `all`. */
static ldb_key interpolate(ldb_key lo, ldb_key hi, size_t low, size_t all)
{
	const ldb_key step = (ldb_key)((double)(hi - lo) * ((double)low / (double)all));
	return step < hi - lo ? lo + step + 1 : hi;
}

static ldb_key median3(ldb_key a, ldb_key b, ldb_key c)
{
	const ldb_key low = a < b ? a : b, high = a < b ? b : a;
	const ldb_key rest = high < c ? high : c;
	return low > rest ? low : rest;
}

/* A median of medians of 27 keys out of n; the first one of few. */
static ldb_key sample_median(const ldb_key *keys, size_t n)
{
	const size_t step = n / 27;
	ldb_key ninth[9], third[3];
	for (size_t i = 0; i < 9; i++)
		ninth[i] = median3(keys[i * step], keys[(9 + i) * step], keys[(18 + i) * step]);
	for (size_t i = 0; i < 3; i++)
		third[i] = median3(ninth[i], ninth[3 + i], ninth[6 + i]);
	return median3(third[0], third[1], third[2]);
}

/* --- quicksort -------------------------------------------------------------------------------- */

static void fill(ldb_key *out, size_t n, ldb_key key)
{
	for (size_t i = 0; i < n; i++)
		out[i] = key;
}

#if LS_AVX512
/* Distances that are doubles: all below infinity. */
#define WIDEST 0x7fefffffffffffffu

static void sort_small(const ldb_key *keys, size_t n, ldb_key lo, ldb_key *out)
{
	if (n <= 64)
		network_64(keys, n, lo, out);
	else
		network_128(keys, n, lo, out);
}
#else
#define WIDEST UINT64_MAX

static void sort_small(const ldb_key *keys, size_t n, ldb_key lo, ldb_key *out)
{
	(void)lo;
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = keys[i];
		size_t at = i;
		for (; at > 0 && out[at - 1] > key; at--)
			out[at] = out[at - 1];
		out[at] = key;
	}
}
#endif

typedef struct {
	ldb_key lo, hi; /* of the keys, or beyond them */
	bool even;      /* spread evenly, as far as is known */
	int samples;    /* more sampled pivots */
} span;

static ldb_key choose(const span *s, const ldb_key *keys, size_t n, size_t *expected)
{
	const size_t parts = (n + SMALL_MEAN - 1) / SMALL_MEAN;
	if (s->even && n > SMALL) {
		*expected = n * (parts / 2) / parts;
		return interpolate(s->lo, s->hi, parts / 2, parts);
	}
	*expected = n / 2;
	if (n <= SMALL || s->samples <= 0)
		return interpolate(s->lo, s->hi, 1, 2);
	const ldb_key pivot = sample_median(keys, n);
	return pivot > s->lo ? pivot : s->lo + 1;
}

static size_t apart(size_t a, size_t b)
{
	return a > b ? a - b : b - a;
}

/* Sorts keys[0..n) to out[0..n) with room for as many; keys or room may be the same as out. */
static void quicksort(ldb_key *keys, size_t n, span s, ldb_key *room, ldb_key *out)
{
	while (s.lo < s.hi && (n > SMALL || s.hi - s.lo > WIDEST)) {
		size_t expected;
		const ldb_key pivot = choose(&s, keys, n, &expected);
		const size_t low = cut_at(keys, n, pivot, room);
		s.samples -= !s.even;
		s.even &= apart(low, expected) <= n / 8;
		span left = s;
		left.hi = pivot - 1;
		quicksort(room, low, left, keys, out);
		ldb_key *rest = room + low;
		room = keys + low;
		keys = rest;
		out += low;
		n -= low;
		s.lo = pivot;
	}
	if (s.lo == s.hi)
		fill(out, n, s.lo);
	else
		sort_small(keys, n, s.lo, out);
}

static void widen(span *s, const ldb_key *keys, size_t n)
{
	ldb_key lo = s->lo, hi = s->hi;
	for (size_t i = 0; i < n; i++) {
		lo = keys[i] < lo ? keys[i] : lo;
		hi = keys[i] > hi ? keys[i] : hi;
	}
	s->lo = lo;
	s->hi = hi;
}

static span new_span(size_t n)
{
	return (span){LDB_KEY_MAX, 0, true, 2 * (64 - __builtin_clzll(n | 1))};
}

void ls_leaf(ldb_key *keys, size_t n, ldb_key *room)
{
	if (n == 0)
		return;
	span s = new_span(n);
	widen(&s, keys, n);
	quicksort(keys, n, s, room, keys);
}

/* --- spreading -------------------------------------------------------------------------------- */

enum { MOST_SLOTS = LS_LEAF / SMALL_MEAN + 1, AT_ONCE = LS_BLOCK_WORDS };

/* Evenly spread keys to `slots` parts of their range; `scale` is parts by distance. */
typedef struct {
	ldb_key lo;
	double scale;
	size_t slots;
} spread;

LS_INLINE void slots_of(const spread *s, const ldb_key *keys, size_t n, uint32_t *slot)
{
	size_t i = 0;
#if LS_AVX512
	const __m512i lo = _mm512_set1_epi64((long long)s->lo);
	const __m512d scale = _mm512_set1_pd(s->scale);
	const __m256i last = _mm256_set1_epi32((int)s->slots - 1);
	for (; i + 8 <= n; i += 8) {
		const __m512i distance = _mm512_sub_epi64(_mm512_loadu_si512(keys + i), lo);
		const __m512d place = _mm512_mul_pd(_mm512_cvtepu64_pd(distance), scale);
		_mm256_storeu_si256((__m256i *)(void *)(slot + i),
				    _mm256_min_epu32(_mm512_cvttpd_epu32(place), last));
	}
#endif
	for (; i < n; i++) {
		const double place = (double)(keys[i] - s->lo) * s->scale;
		slot[i] = place < (double)s->slots ? (uint32_t)place : (uint32_t)s->slots - 1;
	}
}

LS_INLINE void add_to_slots(const spread *s, const ldb_key *keys, size_t n, uint32_t *fill,
			    ldb_key *room)
{
	uint32_t slot[AT_ONCE];
	slots_of(s, keys, n, slot);
	for (size_t i = 0; i < n; i++) {
		const uint32_t at = fill[slot[i]];
		room[slot[i] * (size_t)SLOT + at] = keys[i];
		fill[slot[i]] = at < SLOT - 1 ? at + 1 : SLOT - 1;
	}
}

/*
 * Sorts evenly spread pieces: each key to its slot, each slot by itself. False when a slot is full,
 * which shows only at the end: until then its last place is overwritten.
 */
static bool sort_spread(const ls_piece *pieces, size_t count, size_t n, const span *range,
			ldb_key *room, ldb_key *out)
{
	uint32_t fill[MOST_SLOTS];
	spread s = {range->lo, 0, n / SMALL_MEAN + 1};
	s.scale = (double)s.slots / ((double)(range->hi - range->lo) + 1);
	memset(fill, 0, s.slots * sizeof *fill);
	for (size_t p = 0; p < count; p++) {
		for (size_t i = 0; i < pieces[p].count; i += AT_ONCE) {
			const size_t left = pieces[p].count - i;
			add_to_slots(&s, pieces[p].data + i, left < AT_ONCE ? left : AT_ONCE, fill,
				     room);
		}
	}
	for (size_t i = 0; i < s.slots; i++) {
		if (fill[i] == SLOT - 1)
			return false;
	}
	for (size_t i = 0; i < s.slots; i++) {
		ldb_key *keys = room + i * SLOT;
		if (fill[i] <= SMALL)
			sort_small(keys, fill[i], range->lo, out);
		else
			quicksort(keys, fill[i], *range, out, out);
		out += fill[i];
	}
	return true;
}

size_t ls_leaf_room(size_t n)
{
	return (n / SMALL_MEAN + 1) * SLOT;
}

/* sort_spread, unless it failed of late: then only after ever longer pauses. */
static bool try_spread(const ls_piece *pieces, size_t count, size_t n, const span *range,
		       ldb_key *room, ldb_key *out, ls_luck *luck)
{
	if (range->hi - range->lo > WIDEST)
		return false;
	if (luck->wait) {
		luck->wait--;
		return false;
	}
	if (sort_spread(pieces, count, n, range, room, out)) {
		luck->pause /= 2;
		return true;
	}
	luck->pause = luck->pause < 32 ? luck->pause * 2 + 1 : luck->pause;
	luck->wait = luck->pause;
	return false;
}

void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out,
		    ls_luck *luck)
{
	span s = new_span(n);
	for (size_t p = 0; p < count; p++)
		widen(&s, pieces[p].data, pieces[p].count);
	if (s.lo == s.hi) {
		fill(out, n, s.lo);
		return;
	}
	if (try_spread(pieces, count, n, &s, room, out, luck))
		return;
	s.even = false;
	const ldb_key some = sample_median(pieces[0].data, pieces[0].count);
	const ldb_key pivot = some > s.lo ? some : s.lo + 1;
	const size_t low = cut_pieces(pieces, count, n, pivot, room);
	span left = s, right = s;
	left.hi = pivot - 1;
	right.lo = pivot;
	quicksort(room, low, left, out, out);
	quicksort(room + low, n - low, right, out + low, out + low);
}
