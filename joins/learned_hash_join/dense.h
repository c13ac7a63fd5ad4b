/*
 * The model without error, for a build side whose keys are distinct and fill their range densely:
 * their distribution function itself. A bit for each key of the range says whether it is there,
 * and a count for every 32 how many are before; so a probe gets its rank, or that there is none,
 * from one word of 8 bytes, and no key is read or compared. It takes a quarter of a byte for each
 * key of the range, where an array of rows takes 4.
 *
 * Nothing is trained here: it is a bitmap with counts (Jacobson, Space-Efficient Static Trees and
 * Graphs, FOCS 1989), what a learned model comes down to where there is nothing to approximate.
 */
#ifndef DENSE_H
#define DENSE_H

#include "ldb/match.h"
#include "ldb/window.h"

enum {
	DENSE_SPREAD = 16,      /* most keys of the range for each build key */
	DENSE_FETCH = 512 << 10 /* bytes of words from which on they are asked for before */
};

typedef struct {
	uint32_t bits;   /* which of 32 keys are there */
	uint32_t before; /* how many there are before these */
} dense_word;

typedef struct {
	ldb_key base;
	size_t range, word_count; /* the last word is empty: that of all other keys */
	dense_word *words;
	uint32_t *rows; /* of each rank, and one more; NULL: the rank is the row */
	size_t n;
} dense_model;

static inline size_t dense_word_bytes(const dense_model *model)
{
	return model->word_count * sizeof *model->words;
}

static inline size_t dense_row_bytes(const dense_model *model)
{
	return (model->n + 1) * sizeof *model->rows;
}

static inline void dense_free(dense_model *model)
{
	ldb_free(model->words, dense_word_bytes(model));
	ldb_free(model->rows, dense_row_bytes(model));
}

/* Where a key's bit is; of keys outside of the range the empty word's first. */
static inline size_t dense_place(const dense_model *model, ldb_key key)
{
	const size_t place = (size_t)(key - model->base);
	return place < model->range ? place : (model->word_count - 1) * 32;
}

/* The rank of the key at that place, and in *there whether there is one. */
static inline uint32_t dense_rank(const dense_model *model, size_t place, bool *there)
{
	const dense_word word = model->words[place / 32];
	const uint32_t bit = (uint32_t)1 << place % 32;
	*there = word.bits & bit;
	return word.before + (uint32_t)__builtin_popcount(word.bits & (bit - 1));
}

/* Sets the bits; false when two keys are equal. Sorted keys share a word with their neighbours, so
 * it is kept in a register. */
static inline bool dense_set_bits(dense_model *model, const ldb_key *keys, bool sorted)
{
	uint32_t twice = 0;
	for (size_t i = 0; i < model->n;) {
		const size_t word = (size_t)(keys[i] - model->base) / 32;
		uint32_t bits = model->words[word].bits;
		do {
			const size_t place = (size_t)(keys[i] - model->base);
			const uint32_t bit = (uint32_t)1 << place % 32;
			if (sorted && place / 32 != word)
				break;
			twice |= bits & bit;
			bits |= bit;
			i++;
		} while (sorted && i < model->n);
		model->words[word].bits = bits;
	}
	return !twice;
}

/* False when two keys are equal. */
static inline bool dense_fill(dense_model *model, const ldb_key *keys, bool sorted)
{
	uint32_t before = 0;
	memset(model->words, 0, dense_word_bytes(model));
	if (!dense_set_bits(model, keys, sorted))
		return false;
	for (size_t w = 0; w < model->word_count; w++) {
		model->words[w].before = before;
		before += (uint32_t)__builtin_popcount(model->words[w].bits);
	}
	for (size_t i = 0; model->rows && i < model->n; i++) {
		bool there;
		const size_t place = (size_t)(keys[i] - model->base);
		model->rows[dense_rank(model, place, &there)] = (uint32_t)i;
	}
	return true;
}

/*
 * Makes the model of keys[0..n), n > 0, between `least` and `largest`. *made says whether they are
 * dense and distinct; only then is something to be freed. False when there is no memory.
 */
static inline bool dense_make(dense_model *model, const ldb_key *keys, size_t n, ldb_key least,
			      ldb_key largest, bool sorted, bool *made)
{
	*made = false;
	*model = (dense_model){.base = least, .n = n};
	if (largest - least >= (uint64_t)n * DENSE_SPREAD)
		return true;
	model->range = (size_t)(largest - least) + 1;
	model->word_count = (model->range + 31) / 32 + 1;
	model->words = ldb_alloc(dense_word_bytes(model));
	model->rows = sorted ? NULL : ldb_alloc(dense_row_bytes(model));
	const bool enough = model->words && (sorted || model->rows);
	*made = enough && dense_fill(model, keys, sorted);
	if (!*made)
		dense_free(model);
	return enough;
}

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
static inline void dense_put8(const dense_model *model, const size_t *place, size_t from,
			      ldb_sink *sink)
{
	const __m512i one = _mm512_set1_epi64(1), at = _mm512_loadu_si512(place);
	const __m512i word = _mm512_i64gather_epi64(_mm512_srli_epi64(at, 5), model->words, 8);
	const __m512i bit = _mm512_sllv_epi64(one, _mm512_and_si512(at, _mm512_set1_epi64(31)));
	const __m512i below = _mm512_and_si512(word, _mm512_sub_epi64(bit, one));
	const __m512i rank = _mm512_add_epi64(_mm512_srli_epi64(word, 32), dense_popcount(below));
	const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	const __m512i row = _mm512_add_epi64(lane, _mm512_set1_epi64((long long)from));
	ldb_sink_put8(sink, _mm512_test_epi64_mask(word, bit),
		      _mm512_or_si512(rank, _mm512_slli_epi64(row, 32)));
}
#endif

/* The matches of `count` places, where a key's rank is its row. */
static inline void dense_put_ranks(const dense_model *model, const size_t *place, size_t from,
				   size_t count, ldb_sink *sink)
{
	size_t i = 0;
#if defined(__AVX512F__) && defined(__AVX512BW__)
	for (; i + 8 <= count; i += 8)
		dense_put8(model, place + i, from + i, sink);
#endif
	for (; i < count; i++) {
		bool there;
		const uint32_t rank = dense_rank(model, place[i], &there);
		ldb_sink_put(sink, rank, (uint32_t)(from + i), there);
	}
}

/* The same where rows are looked up by rank. */
static inline void dense_put_rows(const dense_model *model, const size_t *place, size_t from,
				  size_t count, ldb_sink *sink)
{
	uint32_t rank[LDB_SINK_ROOM];
	bool there[LDB_SINK_ROOM];
	for (size_t i = 0; i < count; i++) {
		rank[i] = dense_rank(model, place[i], &there[i]);
		ldb_prefetch(model->rows, rank[i] * sizeof *model->rows);
	}
	for (size_t i = 0; i < count; i++)
		ldb_sink_put(sink, model->rows[rank[i]], (uint32_t)(from + i), there[i]);
}

/* Puts the matches of probes [from, from + count), count <= LDB_SINK_ROOM. */
static inline void dense_probe_group(const dense_model *model, const ldb_key *probe, size_t from,
				     size_t count, ldb_sink *sink)
{
	size_t place[LDB_SINK_ROOM];
	const bool fetch = dense_word_bytes(model) > DENSE_FETCH;
	for (size_t i = 0; i < count; i++)
		place[i] = dense_place(model, probe[from + i]);
	for (size_t i = 0; fetch && i < count; i++)
		ldb_prefetch(model->words, place[i] / 32 * sizeof *model->words);
	if (model->rows)
		dense_put_rows(model, place, from, count, sink);
	else
		dense_put_ranks(model, place, from, count, sink);
	ldb_sink_check(sink);
}

static inline void dense_probe(const dense_model *model, const ldb_key *probe, size_t from,
			       size_t to, ldb_sink *sink)
{
	for (; to - from >= LDB_SINK_ROOM; from += LDB_SINK_ROOM)
		dense_probe_group(model, probe, from, LDB_SINK_ROOM, sink);
	dense_probe_group(model, probe, from, to - from, sink);
}

#endif
