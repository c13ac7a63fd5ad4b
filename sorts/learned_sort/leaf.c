/*
 * Sorting what fits into the cache: quicksort between two buffers, until a network of registers can
 * sort up to 128 keys at once.
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
enum { SMALL = 128, SMALL_MEAN = 114 };
#else
enum { SMALL = 32, SMALL_MEAN = 24 };
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

/* So many keys go ahead of the others, one cut for all pieces. */
LS_INLINE size_t odd_keys(size_t n)
{
	return n % 8;
}

/* The first n % 8 keys, without a branch. */
LS_INLINE void cut_odd(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
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
}

LS_INLINE void cut_rest(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	const __m512i p = _mm512_set1_epi64((long long)pivot);
	for (size_t i = 0; i < n; i += 8)
		cut_eight(c, keys + i, p);
}
#else
LS_INLINE size_t odd_keys(size_t n)
{
	(void)n;
	return 0;
}

LS_INLINE void cut_odd(cut *c, const ldb_key *keys, size_t n, ldb_key pivot)
{
	(void)c, (void)keys, (void)n, (void)pivot;
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

/* Writes the pieces' keys below the pivot to the front of out[0..n), the others to its end; how
 * many are below. */
LS_INLINE size_t cut_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key pivot,
			    ldb_key *out)
{
	cut c = {out, out + n};
	for (size_t p = 0; p < count; p++)
		cut_odd(&c, pieces[p].data, pieces[p].count, pivot);
	for (size_t p = 0; p < count; p++) {
		const size_t odd = odd_keys(pieces[p].count);
		cut_rest(&c, pieces[p].data + odd, pieces[p].count - odd, pivot);
	}
	return (size_t)(c.low - out);
}

static size_t cut_at(const ldb_key *keys, size_t n, ldb_key pivot, ldb_key *out)
{
	const ls_piece piece = {keys, n};
	return cut_pieces(&piece, 1, n, pivot, out);
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

static ldb_key choose(const span *s, const ldb_key *keys, size_t n)
{
	if (n <= SMALL || (!s->even && s->samples <= 0))
		return interpolate(s->lo, s->hi, 1, 2);
	if (s->even) {
		const size_t parts = (n + SMALL_MEAN - 1) / SMALL_MEAN;
		return interpolate(s->lo, s->hi, parts / 2, parts);
	}
	const ldb_key pivot = sample_median(keys, n);
	return pivot > s->lo ? pivot : s->lo + 1;
}

/* Were the keys spread evenly, as far as a cut tells that left `low` of n below the pivot? */
static bool was_even(const span *s, ldb_key pivot, size_t low, size_t n)
{
	const double share = (double)(pivot - s->lo) / (double)(s->hi - s->lo);
	const double off = (double)low - (double)n * share;
	return off <= (double)n / 8 && off >= (double)n / -8;
}

static span new_span(size_t n)
{
	return (span){LDB_KEY_MAX, 0, true, 2 * (64 - __builtin_clzll(n | 1))};
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

/* Asks for the next n words of each: spread over the sorting of a bucket, this costs nothing. */
static LS_PREFETCHES void ask(ls_ahead *ahead, size_t n)
{
	for (size_t i = 0; i < n && ahead->out < ahead->out_end; i += 8, ahead->out += 8)
		__builtin_prefetch(ahead->out, 1, 2);
	for (size_t i = 0; i < n && ahead->count; i += 8) {
		__builtin_prefetch(ahead->pieces->data + ahead->at, 0, 2);
		ahead->at += 8;
		if (ahead->at >= ahead->pieces->count) {
			ahead->at = 0;
			ahead->pieces++;
			ahead->count--;
		}
	}
}

/* Sorts keys[0..n) to out[0..n) with room for as many; keys or room may be the same as out. */
static void quicksort(ldb_key *keys, size_t n, span s, ldb_key *room, ldb_key *out, ls_ahead *ahead)
{
	while (s.lo < s.hi && (n > SMALL || s.hi - s.lo > WIDEST)) {
		const ldb_key pivot = choose(&s, keys, n);
		const size_t low = cut_at(keys, n, pivot, room);
		s.samples -= !s.even;
		s.even = was_even(&s, pivot, low, n);
		ldb_key *parts = room;
		room = keys;
		keys = parts;
		if (low == 0 || low == n) { /* the bounds are too wide: perhaps it is one key */
			s = (span){LDB_KEY_MAX, 0, true, s.samples};
			widen(&s, keys, n);
			continue;
		}
		span left = s;
		left.hi = pivot - 1;
		quicksort(keys, low, left, room, out, ahead);
		s.lo = pivot;
		keys += low;
		room += low;
		out += low;
		n -= low;
	}
	ask(ahead, n);
	if (s.lo == s.hi)
		fill(out, n, s.lo);
	else
		sort_small(keys, n, s.lo, out);
}

void ls_leaf(ldb_key *keys, size_t n, ldb_key *room)
{
	if (n == 0)
		return;
	ls_ahead nothing = {0};
	span s = new_span(n);
	widen(&s, keys, n);
	quicksort(keys, n, s, room, keys, &nothing);
}

/* The first cut is from the pieces to the room. */
void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out,
		    ls_ahead *ahead)
{
	span s = new_span(n);
	for (size_t p = 0; p < count; p++)
		widen(&s, pieces[p].data, pieces[p].count);
	if (s.lo == s.hi) {
		ask(ahead, n);
		fill(out, n, s.lo);
		return;
	}
	const ldb_key pivot = choose(&s, NULL, n);
	const size_t low = cut_pieces(pieces, count, n, pivot, room);
	s.even = was_even(&s, pivot, low, n);
	span left = s, right = s;
	left.hi = pivot - 1;
	right.lo = pivot;
	quicksort(room, low, left, out, out, ahead);
	quicksort(room + low, n - low, right, out + low, out + low, ahead);
}
