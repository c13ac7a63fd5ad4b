/*
 * Sorting what fits into the cache. A bucket's keys are moved to slots that interpolation gives,
 * and a network of registers sorts slots, together up to 128 keys at once. What is too large for
 * that, or wider than networks can do, is cut between two buffers until it isn't: quicksort.
 *
 * Pivots. Where keys are spread evenly, the pivot that cuts off a given share is found by
 * interpolation between the bounds, costs nothing, and is more exact than any small sample (the
 * error is about half the root of the number of keys). Where a cut came out uneven, pivots are
 * sampled from there on; where those fail too often, cuts halve the range of values, so that there
 * are 64 more at most.
 *
 * The network works on doubles. The distance of a key from a lower bound of all, below 2^62, is the
 * bit pattern of a positive double, and these compare as the integers do; minimum and maximum of
 * doubles take one instruction each on every processor with AVX-512, those of 64-bit integers two
 * on some.
 */
#include "learned_sort.h"

#if LS_AVX512
#include "network.h"
enum { SMALL = 128, SMALL_MEAN = 108, GROUP = 128 };
#else
enum { SMALL = 32, SMALL_MEAN = 16, GROUP = 16 };
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

/*
 * The keys' range is cut into equal slots, some eight keys to each, and keys are counted, then
 * moved, slot by slot. Neighbouring slots are then taken together as long as the network can sort
 * them at once: so it is well filled where keys are spread evenly, and hardly less where they
 * aren't. A slot with more keys than that is sorted by quicksort.
 */
enum { SLOT_MEAN = 8, MOST_SLOTS = LS_LEAF / SLOT_MEAN + 1 };

typedef struct {
	ldb_key lo;
	double scale; /* slots by distance */
	size_t slots;
	uint32_t start[MOST_SLOTS + 1]; /* first counts; then where the next key of a slot goes */
	uint16_t slot[LS_LEAF];         /* of each key */
} spread;

LS_INLINE void find_slots(const spread *s, const ldb_key *keys, size_t n, uint16_t *slot)
{
	size_t i = 0;
#if LS_AVX512
	const __m512i lo = _mm512_set1_epi64((long long)s->lo);
	const __m512d scale = _mm512_set1_pd(s->scale);
	const __m256i last = _mm256_set1_epi32((int)s->slots - 1);
	for (; i + 8 <= n; i += 8) {
		const __m512i distance = _mm512_sub_epi64(_mm512_loadu_si512(keys + i), lo);
		const __m512d place = _mm512_mul_pd(_mm512_cvtepu64_pd(distance), scale);
		const __m256i number = _mm256_min_epu32(_mm512_cvttpd_epu32(place), last);
		_mm_storeu_si128((__m128i *)(void *)(slot + i), _mm256_cvtepi32_epi16(number));
	}
#endif
	for (; i < n; i++) {
		const double place = (double)(keys[i] - s->lo) * s->scale;
		slot[i] = (uint16_t)(place < (double)s->slots ? place : (double)s->slots - 1);
	}
}

/* Moves the pieces' keys to out, by slots; s->start[i] is then where slot i ends. */
static void move_to_slots(spread *s, const ls_piece *pieces, size_t count, ldb_key *out)
{
	memset(s->start, 0, s->slots * sizeof *s->start);
	uint16_t *slot = s->slot;
	for (size_t p = 0; p < count; slot += pieces[p++].count) {
		find_slots(s, pieces[p].data, pieces[p].count, slot);
		for (size_t i = 0; i < pieces[p].count; i++)
			s->start[slot[i]]++;
	}
	for (size_t i = 0, at = 0; i < s->slots; i++) {
		const uint32_t keys = s->start[i];
		s->start[i] = (uint32_t)at;
		at += keys;
	}
	slot = s->slot;
	for (size_t p = 0; p < count; slot += pieces[p++].count) {
		for (size_t i = 0; i < pieces[p].count; i++)
			out[s->start[slot[i]]++] = pieces[p].data[i];
	}
}

static void sort_slots(const spread *s, size_t n, const span *range, ldb_key *keys, ldb_key *out)
{
	size_t from = 0, end = 0; /* keys of slots that are sorted together */
	for (size_t i = 0; i < s->slots; i++) {
		if (s->start[i] - from > GROUP && end > from) {
			sort_small(keys + from, end - from, range->lo, out + from);
			from = end;
		}
		end = s->start[i];
		if (end - from > GROUP) {
			span own = *range;
			own.even = false;
			quicksort(keys + from, end - from, own, out + from, out + from);
			from = end;
		}
	}
	sort_small(keys + from, n - from, range->lo, out + from);
}

void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out)
{
	spread s;
	span range = new_span(n);
	for (size_t p = 0; p < count; p++)
		widen(&range, pieces[p].data, pieces[p].count);
	if (range.lo == range.hi) {
		fill(out, n, range.lo);
		return;
	}
	if (range.hi - range.lo > WIDEST || n <= GROUP) {
		for (size_t p = 0, at = 0; p < count; at += pieces[p++].count)
			memcpy(room + at, pieces[p].data, pieces[p].count * sizeof *room);
		quicksort(room, n, range, out, out);
		return;
	}
	s.lo = range.lo;
	s.slots = n / SLOT_MEAN + 1;
	s.scale = (double)s.slots / ((double)(range.hi - range.lo) + 1);
	move_to_slots(&s, pieces, count, room);
	sort_slots(&s, n, &range, room, out);
}
