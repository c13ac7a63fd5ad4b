/*
 * The model without error, for a build side whose keys are distinct and fill their range densely:
 * their distribution function itself. A probe gets its rank, or that there is none, and no key is
 * read or compared.
 *
 *   place    A key's place in the range. Bits in the midst of the keys that are the same in all of
 *            them are taken out: TPC-H's order keys use 8 values of each 32, and so lie as densely
 *            as if they were counted through. Which bits, a sample says; that it holds for all keys
 *            is checked while they are entered.
 *   full     If a key is at every place, the place is the rank: sorted keys need no memory, others
 *            an array of rows.
 *   words    If not: a bit for each place says whether there is a key, and a count for every 32 how
 *            many are before. That is a quarter of a byte a place, where an array of rows takes 4.
 *
 * The words are a bitmap with counts (Jacobson, Space-Efficient Static Trees and Graphs, FOCS
 * 1989), what a learned model comes down to where there is nothing to approximate.
 */
#ifndef DENSE_H
#define DENSE_H

#include "ldb/cdf.h"
#include "ldb/match.h"
#include "ldb/window.h"

enum {
	DENSE_SPREAD = 16,      /* most places for each build key */
	DENSE_SAMPLE = 1024,    /* keys that show which bits are the same in all */
	DENSE_FETCH = 512 << 10 /* bytes of words from which on they are asked for before */
};

typedef struct {
	uint32_t bits;   /* which of 32 keys are there */
	uint32_t before; /* how many there are before these */
} dense_word;

typedef struct {
	/* Place: the key without the `gap` bits above those of `low`, which all keys share. */
	ldb_key low, gap_mask, gap_bits, base;
	unsigned gap;
	size_t range; /* of places; this is that of all other keys */
	bool full;    /* then there are no words */
	dense_word *words;
	uint32_t *rows; /* of each rank, and one more; NULL: the rank is the row */
	size_t n;
} dense_model;

static inline size_t dense_word_bytes(const dense_model *model)
{
	return (model->range / 32 + 1) * sizeof *model->words;
}

static inline size_t dense_row_bytes(const dense_model *model)
{
	return (model->n + 1) * sizeof *model->rows;
}

static inline void dense_free(dense_model *model)
{
	ldb_free(model->words, dense_word_bytes(model));
	ldb_free(model->rows, dense_row_bytes(model));
	model->words = NULL;
	model->rows = NULL;
}

/* --- places ----------------------------------------------------------------------------------- */

static inline ldb_key dense_squeeze(const dense_model *model, ldb_key key)
{
	return (key & model->low) | (key >> model->gap & ~model->low);
}

static inline size_t dense_place(const dense_model *model, ldb_key key)
{
	const size_t place = (size_t)(dense_squeeze(model, key) - model->base);
	return place < model->range && (key & model->gap_mask) == model->gap_bits ? place
										  : model->range;
}

#if defined(__AVX512F__)
static inline __m512i dense_place8(const dense_model *model, const ldb_key *keys)
{
	const __m512i key = _mm512_loadu_si512(keys);
	const __m512i low = _mm512_set1_epi64((long long)model->low);
	const __m512i gap = _mm512_set1_epi64((long long)model->gap_mask);
	const __m512i bits = _mm512_set1_epi64((long long)model->gap_bits);
	const __m512i range = _mm512_set1_epi64((long long)model->range);
	const __m512i high = _mm512_srl_epi64(key, _mm_cvtsi32_si128((int)model->gap));
	const __m512i squeezed =
		_mm512_ternarylogic_epi64(low, key, high, 0xca); /* low ? key : high */
	const __m512i base = _mm512_set1_epi64((long long)model->base);
	const __mmask8 fits = _mm512_cmpeq_epi64_mask(_mm512_and_si512(key, gap), bits);
	const __m512i place = _mm512_min_epu64(_mm512_sub_epi64(squeezed, base), range);
	return _mm512_mask_mov_epi64(range, fits, place);
}
#endif

/* Where the longest run of zeros below the top bit is: *at, and how long. */
static inline unsigned dense_widest_gap(ldb_key varying, unsigned *at)
{
	unsigned widest = 0, run = 0;
	*at = 0;
	for (unsigned bit = 0; bit < 64 && varying >> bit; bit++) {
		run = varying >> bit & 1 ? 0 : run + 1;
		if (run > widest) {
			widest = run;
			*at = bit + 1 - run;
		}
	}
	return widest;
}

/* Sets the places of keys between `least` and `largest`, with a gap in them or without. */
static inline void dense_set_places(dense_model *model, const ldb_key *keys, ldb_key least,
				    ldb_key largest, bool with_gap)
{
	unsigned at = 0;
	ldb_key varying = least ^ largest;
	const size_t sample = model->n < DENSE_SAMPLE ? model->n : DENSE_SAMPLE;
	for (size_t i = 0; i < sample; i++)
		varying |= keys[ldb_sample_rank(i, sample, model->n)] ^ least;
	model->gap = with_gap ? dense_widest_gap(varying, &at) : 0;
	model->low = ((ldb_key)1 << at) - 1;
	model->gap_mask = (((ldb_key)1 << model->gap) - 1) << at;
	model->gap_bits = least & model->gap_mask;
	model->base = dense_squeeze(model, least);
	model->range = (size_t)(dense_squeeze(model, largest) - model->base) + 1;
}

/* --- building --------------------------------------------------------------------------------- */

/* Is the place of each of the sorted keys its rank? */
static inline bool dense_is_full(const dense_model *model, const ldb_key *keys)
{
	size_t i = 0;
	bool full = true;
#if defined(__AVX512F__)
	__m512i rank = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	__mmask8 wrong = 0;
	for (; i + 8 <= model->n && !wrong; i += 8) {
		wrong = _mm512_cmpneq_epi64_mask(dense_place8(model, keys + i), rank);
		rank = _mm512_add_epi64(rank, _mm512_set1_epi64(8));
	}
	full = !wrong;
#endif
	for (; i < model->n && full; i++)
		full = dense_place(model, keys[i]) == i;
	return full;
}

/* Sets the bits; false when two keys are equal or one has no place. Sorted keys share a word with
 * their neighbours, so it is kept in a register. */
static inline bool dense_set_bits(dense_model *model, const ldb_key *keys, bool sorted)
{
	bool bad = false;
	for (size_t i = 0; i < model->n && !bad;) {
		size_t place = dense_place(model, keys[i]);
		const size_t word = place / 32;
		uint32_t bits = model->words[word].bits;
		do {
			const uint32_t bit = (uint32_t)1 << place % 32;
			bad |= place == model->range || (bits & bit);
			bits |= bit;
			if (++i == model->n || !sorted)
				break;
			place = dense_place(model, keys[i]);
		} while (place / 32 == word);
		model->words[word].bits = bits;
	}
	return !bad;
}

/* The rank of the key at that place, and in *there whether there is one. */
static inline uint32_t dense_rank(const dense_model *model, size_t place, bool *there)
{
	if (model->full) {
		*there = place < model->range;
		return (uint32_t)place;
	}
	const dense_word word = model->words[place / 32];
	const uint32_t bit = (uint32_t)1 << place % 32;
	*there = word.bits & bit;
	return word.before + (uint32_t)__builtin_popcount(word.bits & (bit - 1));
}

/* False when two keys are equal or one has no place. */
static inline bool dense_fill(dense_model *model, const ldb_key *keys, bool sorted)
{
	uint32_t before = 0;
	memset(model->words, 0, dense_word_bytes(model));
	if (!dense_set_bits(model, keys, sorted))
		return false;
	for (size_t w = 0; w <= model->range / 32; w++) {
		model->words[w].before = before;
		before += (uint32_t)__builtin_popcount(model->words[w].bits);
	}
	for (size_t i = 0; model->rows && i < model->n; i++) {
		bool there;
		model->rows[dense_rank(model, dense_place(model, keys[i]), &there)] = (uint32_t)i;
	}
	return true;
}

/* As many places as keys: rows are entered by place; false when two keys are equal, or one has no
 * place. */
static inline bool dense_fill_rows(dense_model *model, const ldb_key *keys)
{
	const uint32_t none = UINT32_MAX;
	bool bad = false;
	memset(model->rows, 0xff, dense_row_bytes(model));
	for (size_t i = 0; i < model->n; i++) {
		uint32_t *row = &model->rows[dense_place(model, keys[i])];
		bad |= *row != none;
		*row = (uint32_t)i;
	}
	model->full = !bad && model->rows[model->range] == none;
	return model->full;
}

/* Makes the model with its places set. */
static inline bool dense_enter(dense_model *model, const ldb_key *keys, bool sorted, bool *made)
{
	*made = false;
	if (model->range > (uint64_t)model->n * DENSE_SPREAD || !model->range)
		return true;
	model->full = sorted && model->n == model->range && dense_is_full(model, keys);
	if (model->full) {
		*made = true;
		return true;
	}
	const bool by_place = !sorted && model->n == model->range;
	model->words = by_place ? NULL : ldb_alloc(dense_word_bytes(model));
	model->rows = sorted ? NULL : ldb_alloc(dense_row_bytes(model));
	const bool enough = (by_place || model->words) && (sorted || model->rows);
	if (enough)
		*made = by_place ? dense_fill_rows(model, keys) : dense_fill(model, keys, sorted);
	if (!*made)
		dense_free(model);
	return enough;
}

/*
 * Makes the model of keys[0..n), n > 0, between `least` and `largest`. *made says whether they are
 * dense and distinct; only then is something to be freed. False when there is no memory.
 */
static inline bool dense_make(dense_model *model, const ldb_key *keys, size_t n, ldb_key least,
			      ldb_key largest, bool sorted, bool *made)
{
	*model = (dense_model){.n = n};
	dense_set_places(model, keys, least, largest, true);
	const bool enough = dense_enter(model, keys, sorted, made);
	if (!enough || *made || !model->gap)
		return enough;
	dense_set_places(model, keys, least, largest, false);
	return dense_enter(model, keys, sorted, made);
}

/* --- probing ---------------------------------------------------------------------------------- */

#if defined(__AVX512F__) && defined(__AVX512BW__)
/* How many bits of the lower halves of the lanes are set: by nibbles (Mula, Kurz, Lemire, Faster
 * Population Counts Using AVX2 Instructions, Computer Journal 61, 2018). */
static inline __m512i dense_popcount(__m512i bits)
{
	const __m512i of_nibble = _mm512_broadcast_i32x4(
		_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
	const __m512i nibble = _mm512_set1_epi8(15);
	const __m512i low = _mm512_and_si512(bits, nibble);
	const __m512i high = _mm512_and_si512(_mm512_srli_epi16(bits, 4), nibble);
	const __m512i counts = _mm512_add_epi8(_mm512_shuffle_epi8(of_nibble, low),
					       _mm512_shuffle_epi8(of_nibble, high));
	return _mm512_sad_epu8(counts, _mm512_setzero_si512());
}

/* Eight places at a time, where a key's rank is its row. */
static inline void dense_put8(const dense_model *model, const ldb_key *probe, size_t from,
			      ldb_sink *sink)
{
	const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	const __m512i row = _mm512_add_epi64(lane, _mm512_set1_epi64((long long)from));
	const __m512i probe_row = _mm512_slli_epi64(row, 32);
	const __m512i at = dense_place8(model, probe + from);
	if (model->full) {
		const __m512i range = _mm512_set1_epi64((long long)model->range);
		ldb_sink_put8(sink, _mm512_cmplt_epu64_mask(at, range),
			      _mm512_or_si512(at, probe_row));
		return;
	}
	const __m512i one = _mm512_set1_epi64(1);
	const __m512i word = _mm512_i64gather_epi64(_mm512_srli_epi64(at, 5), model->words, 8);
	const __m512i bit = _mm512_sllv_epi64(one, _mm512_and_si512(at, _mm512_set1_epi64(31)));
	const __m512i below = _mm512_and_si512(word, _mm512_sub_epi64(bit, one));
	const __m512i rank = _mm512_add_epi64(_mm512_srli_epi64(word, 32), dense_popcount(below));
	ldb_sink_put8(sink, _mm512_test_epi64_mask(word, bit), _mm512_or_si512(rank, probe_row));
}
#endif

/* The matches of probes [from, from + count), where a key's rank is its row. */
static inline void dense_put_ranks(const dense_model *model, const ldb_key *probe, size_t from,
				   size_t count, ldb_sink *sink)
{
	size_t i = from;
	if (!model->full && dense_word_bytes(model) > DENSE_FETCH)
		for (size_t k = from; k < from + count; k++)
			ldb_prefetch(model->words,
				     dense_place(model, probe[k]) / 32 * sizeof *model->words);
#if defined(__AVX512F__) && defined(__AVX512BW__)
	for (; i + 8 <= from + count; i += 8)
		dense_put8(model, probe, i, sink);
#endif
	for (; i < from + count; i++) {
		bool there;
		const uint32_t rank = dense_rank(model, dense_place(model, probe[i]), &there);
		ldb_sink_put(sink, rank, (uint32_t)i, there);
	}
}

/* The same where rows are looked up by rank; count <= LDB_SINK_ROOM. */
static inline void dense_put_rows(const dense_model *model, const ldb_key *probe, size_t from,
				  size_t count, ldb_sink *sink)
{
	size_t place[LDB_SINK_ROOM];
	uint32_t rank[LDB_SINK_ROOM];
	bool there[LDB_SINK_ROOM];
	for (size_t i = 0; i < count; i++) {
		place[i] = dense_place(model, probe[from + i]);
		if (!model->full)
			ldb_prefetch(model->words, place[i] / 32 * sizeof *model->words);
	}
	for (size_t i = 0; i < count; i++) {
		rank[i] = dense_rank(model, place[i], &there[i]);
		ldb_prefetch(model->rows, rank[i] * sizeof *model->rows);
	}
	for (size_t i = 0; i < count; i++)
		ldb_sink_put(sink, model->rows[rank[i]], (uint32_t)(from + i), there[i]);
}

static inline void dense_probe(const dense_model *model, const ldb_key *probe, size_t from,
			       size_t to, ldb_sink *sink)
{
	while (from < to) {
		const size_t count = to - from < LDB_SINK_ROOM ? to - from : LDB_SINK_ROOM;
		if (model->rows)
			dense_put_rows(model, probe, from, count, sink);
		else
			dense_put_ranks(model, probe, from, count, sink);
		ldb_sink_check(sink);
		from += count;
	}
}

#endif
