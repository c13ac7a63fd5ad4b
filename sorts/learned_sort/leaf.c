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

/* Where the next keys below the pivot go, and behind the place of those that aren't. Where asked
 * for, also the greatest key of the ones and the smallest of the others. */
typedef struct {
	ldb_key *low, *high;
#if LS_AVX512
	__m512i greatest, smallest; /* of each lane */
#else
	ldb_key greatest, smallest;
#endif
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

LS_INLINE void note_bounds(cut *c, __m512i key, __mmask8 low, __mmask8 high)
{
	c->greatest = _mm512_mask_max_epu64(c->greatest, low, c->greatest, key);
	c->smallest = _mm512_mask_min_epu64(c->smallest, high, c->smallest, key);
}

/*
 * Eight keys at once: those below the pivot to the front of a vector, the others to its end; then
 * it is written at both ends of the gap. What is wrong in it is overwritten later, or it is the
 * last one, and both places are the same: hence the gap must be a multiple of 8.
 */
LS_INLINE void cut_eight(cut *c, const ldb_key *keys, __m512i pivot, const bool bounds)
{
	const __m512i key = _mm512_loadu_si512(keys);
	const __mmask8 high = _mm512_cmpge_epu64_mask(key, pivot);
	const __m512i lanes = _mm512_cvtepu8_epi64(
		_mm_loadl_epi64((const __m128i *)(const void *)&order.lanes[high]));
	const __m512i both = _mm512_permutexvar_epi64(lanes, key);
	const size_t count = (size_t)__builtin_popcount(high);
	if (bounds)
		note_bounds(c, key, (__mmask8)~high, high);
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
	note_bounds(c, key, lanes & (__mmask8)~high, high);
	_mm512_mask_storeu_epi64(c->low, (__mmask8)((1u << lows) - 1),
				 _mm512_maskz_compress_epi64(lanes & (__mmask8)~high, key));
	c->low += lows;
	c->high -= highs;
	_mm512_mask_storeu_epi64(c->high, (__mmask8)((1u << highs) - 1),
				 _mm512_maskz_compress_epi64(high, key));
}

LS_INLINE void cut_rest(cut *c, const ldb_key *keys, size_t n, ldb_key pivot, const bool bounds)
{
	const __m512i p = _mm512_set1_epi64((long long)pivot);
	for (size_t i = 0; i < n; i += 8)
		cut_eight(c, keys + i, p, bounds);
}

LS_INLINE cut new_cut(ldb_key *out, size_t n)
{
	return (cut){out, out + n, _mm512_setzero_si512(), _mm512_set1_epi64(-1)};
}

LS_INLINE ldb_key greatest_low(const cut *c)
{
	return (ldb_key)_mm512_reduce_max_epu64(c->greatest);
}

LS_INLINE ldb_key smallest_high(const cut *c)
{
	return (ldb_key)_mm512_reduce_min_epu64(c->smallest);
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

LS_INLINE void cut_rest(cut *c, const ldb_key *keys, size_t n, ldb_key pivot, const bool bounds)
{
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = keys[i];
		const bool less = key < pivot;
		*c->low = key;
		c->high[-1] = key;
		c->low += less;
		c->high -= !less;
		if (bounds) {
			c->greatest = less && key > c->greatest ? key : c->greatest;
			c->smallest = !less && key < c->smallest ? key : c->smallest;
		}
	}
}

LS_INLINE cut new_cut(ldb_key *out, size_t n)
{
	return (cut){out, out + n, 0, LDB_KEY_MAX};
}

LS_INLINE ldb_key greatest_low(const cut *c)
{
	return c->greatest;
}

LS_INLINE ldb_key smallest_high(const cut *c)
{
	return c->smallest;
}
#endif

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

/* Asks for the next n words of each. */
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

/* Asking goes on all the time, as evenly as the work: for a twelfth of the keys in each cut, and
 * for half of them when they are in order. */
enum { STRETCH = 384, ASK_IN_CUTS = 12, ASK_IN_ORDER = 2 };

/* Writes the pieces' keys below the pivot to the front of out[0..n), the others to its end, and
 * narrows the bounds of both; how many are below. */
LS_INLINE size_t cut_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key pivot,
			    ldb_key *out, span *left, span *right, const bool bounds,
			    ls_ahead *ahead)
{
	cut c = new_cut(out, n);
	for (size_t p = 0; p < count; p++)
		cut_odd(&c, pieces[p].data, pieces[p].count, pivot);
	for (size_t p = 0; p < count; p++) {
		const size_t odd = odd_keys(pieces[p].count);
		for (size_t i = odd; i < pieces[p].count; i += STRETCH) {
			const size_t rest = pieces[p].count - i;
			ask(ahead, STRETCH / ASK_IN_CUTS);
			cut_rest(&c, pieces[p].data + i, rest < STRETCH ? rest : STRETCH, pivot,
				 bounds);
		}
	}
	left->hi = bounds ? greatest_low(&c) : pivot - 1;
	right->lo = bounds ? smallest_high(&c) : pivot;
	return (size_t)(c.low - out);
}

static size_t cut_at(const ldb_key *keys, size_t n, ldb_key pivot, ldb_key *out, span *left,
		     span *right, ls_ahead *ahead)
{
	const ls_piece piece = {keys, n};
	return cut_pieces(&piece, 1, n, pivot, out, left, right, false, ahead);
}

/* The same with exact bounds. */
static size_t cut_exactly(const ldb_key *keys, size_t n, ldb_key pivot, ldb_key *out, span *left,
			  span *right, ls_ahead *ahead)
{
	const ls_piece piece = {keys, n};
	return cut_pieces(&piece, 1, n, pivot, out, left, right, true, ahead);
}

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

/* What goes along with a quicksort. The last part that the network is to sort waits: it was just
 * written, and reading it at once would wait for the stores. */
typedef struct {
	ls_ahead *ahead;
	const ldb_key *keys;
	size_t n;
	ldb_key lo, *out;
} company;

static void sort_waiting(company *c)
{
	if (c->n)
		sort_small(c->keys, c->n, c->lo, c->out);
	c->n = 0;
}

/* Sorts keys[0..n) to out[0..n) with room for as many; keys or room may be the same as out. */
static void quicksort(ldb_key *keys, size_t n, span s, ldb_key *room, ldb_key *out, company *c)
{
	while (n > 0 && s.lo < s.hi && (n > SMALL || s.hi - s.lo > WIDEST)) {
		const ldb_key pivot = choose(&s, keys, n);
		span left = s, right = s;
		const size_t low =
			s.even ? cut_at(keys, n, pivot, room, &left, &right, c->ahead)
			       : cut_exactly(keys, n, pivot, room, &left, &right, c->ahead);
		left.even = right.even = was_even(&s, pivot, low, n);
		left.samples = right.samples = s.samples - !s.even;
		quicksort(room, low, left, keys, out, c);
		ldb_key *rest = room + low;
		room = keys + low;
		keys = rest;
		out += low;
		n -= low;
		s = right;
	}
	if (n == 0)
		return;
	ask(c->ahead, n / ASK_IN_ORDER);
	if (s.lo == s.hi) {
		fill(out, n, s.lo);
		return;
	}
	sort_waiting(c);
	c->keys = keys;
	c->n = n;
	c->lo = s.lo;
	c->out = out;
}

void ls_leaf(ldb_key *keys, size_t n, ldb_key *room)
{
	if (n == 0)
		return;
	ls_ahead nothing = {0};
	company c = {.ahead = &nothing};
	span s = new_span(n);
	widen(&s, keys, n);
	quicksort(keys, n, s, room, keys, &c);
	sort_waiting(&c);
}

/* The first cut is from the pieces to the room. */
void ls_leaf_pieces(const ls_piece *pieces, size_t count, size_t n, ldb_key *room, ldb_key *out,
		    ls_ahead *ahead)
{
	company c = {.ahead = ahead};
	span s = new_span(n);
	for (size_t p = 0; p < count; p++)
		widen(&s, pieces[p].data, pieces[p].count);
	if (s.lo == s.hi) {
		ask(ahead, n);
		fill(out, n, s.lo);
		return;
	}
	const ldb_key pivot = choose(&s, NULL, n);
	span left = s, right = s;
	const size_t low = cut_pieces(pieces, count, n, pivot, room, &left, &right, true, ahead);
	left.even = right.even = was_even(&s, pivot, low, n);
	quicksort(room, low, left, out, out, &c);
	quicksort(room + low, n - low, right, out + low, out + low, &c);
	sort_waiting(&c);
}
