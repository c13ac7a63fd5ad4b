/* The whole: from the sample to buckets written back (see learned_sort.h). */
#include <stdatomic.h>
#include <stdlib.h>

#include "ldb/parts.h"
#include "model.h"
#include "rng.h"

enum {
	LEAST = 1 << 16,    /* fewer elements are a leaf from the start */
	BUCKET_MEAN = 2048, /* elements */
	SAMPLES_PER_BUCKET = 8,
};

typedef struct job job;

/* What one thread does. */
typedef struct {
	job *job;
	size_t from, to; /* its part of the input */
	ls_chains chains;
	uint64_t *slot_counts; /* of heavy keys */
	uint64_t *room;        /* for leaves */
	ls_piece *pieces;
} worker;

/* One level: elements that are distributed to buckets, and these sorted. */
struct job {
	uint64_t *elements;
	size_t words, n, threads;
	int level;
	size_t buckets;
	ls_model model;
	ls_heavy *heavy;
	size_t *start;       /* of each bucket in the output; heavy keys are with a bucket */
	size_t *heavy_start; /* of each bucket among the heavy keys */
	size_t largest;      /* bucket that isn't of a heavy key */
	atomic_size_t next_bucket;
	worker worker[LS_MOST_THREADS];
};

static size_t share(size_t n, size_t i, size_t count)
{
	return (size_t)((unsigned __int128)n * i / count);
}

/* --- learning --------------------------------------------------------------------------------- */

static bool learn(job *j)
{
	size_t samples = j->buckets * SAMPLES_PER_BUCKET;
	const size_t bytes = samples * sizeof(ldb_key);
	ldb_key *sample = ldb_alloc(2 * bytes);
	j->heavy = ldb_alloc(sizeof *j->heavy);
	if (!sample || !j->heavy) {
		ldb_free(sample, 2 * bytes);
		return false;
	}
	ldb_rng rng;
	ldb_rng_seed(&rng, j->n);
	for (size_t i = 0; i < samples; i++) {
		const size_t from = share(j->n, i, samples), to = share(j->n, i + 1, samples);
		sample[i] = j->elements[(from + ldb_rng_below(&rng, to - from)) * j->words];
	}
	ls_leaf(sample, samples, sample + samples);
	const size_t left = ls_heavy_find(j->heavy, sample, samples, j->buckets);
	bool good = ls_model_learn(&j->model, left ? sample : j->heavy->key, left ? left : 1,
				   j->buckets);
	ldb_free(sample, 2 * bytes);
	return good;
}

/* --- distributing ----------------------------------------------------------------------------- */

static void *distribute(void *argument)
{
	worker *w = argument;
	const job *j = w->job;
	const uint64_t *part = j->elements + w->from * j->words;
	const size_t n = w->to - w->from;
	if (j->heavy->count == 0 || j->words == 2) {
		const ls_heavy *heavy = j->heavy->count ? j->heavy : NULL;
		ls_chains_add(&w->chains, &j->model, heavy, part, j->words, n);
	} else {
		ldb_key rest[LS_CHUNK + 8];
		for (size_t i = 0; i < n; i += LS_CHUNK) {
			const size_t left = ls_heavy_count(j->heavy, part + i,
							   n - i < LS_CHUNK ? n - i : LS_CHUNK,
							   rest, w->slot_counts);
			ls_chains_add(&w->chains, &j->model, NULL, rest, 1, left);
		}
	}
	ls_chains_close(&w->chains, j->words);
	return NULL;
}

static size_t bucket_count(const job *j, size_t bucket)
{
	size_t count = 0;
	for (size_t t = 0; t < j->threads; t++)
		count += ls_chains_count(&j->worker[t].chains, j->words, bucket);
	return count;
}

static size_t heavy_count(const job *j, size_t rank)
{
	if (j->words == 2)
		return bucket_count(j, j->buckets + rank);
	size_t count = 0;
	const size_t slot = ls_heavy_slot(j->heavy, j->heavy->key[rank]);
	for (size_t t = 0; t < j->threads; t++)
		count += j->worker[t].slot_counts[slot];
	return count;
}

/* Where each bucket, with the heavy keys that belong to it, goes. */
static void lay_out(job *j)
{
	size_t at = 0, heavy = 0;
	for (size_t b = 0; b < j->buckets; b++) {
		const size_t count = bucket_count(j, b);
		j->start[b] = at;
		j->heavy_start[b] = heavy;
		j->largest = count > j->largest ? count : j->largest;
		at += count;
		for (; heavy < j->heavy->count; heavy++) {
			if (ls_bucket_of(&j->model, j->heavy->key[heavy]) != b)
				break;
			at += heavy_count(j, heavy);
		}
	}
	j->start[j->buckets] = at;
	j->heavy_start[j->buckets] = heavy;
}

/* --- sorting buckets -------------------------------------------------------------------------- */

static bool sort_level(uint64_t *elements, size_t words, size_t n, size_t threads, int level,
		       uint64_t *room);

static size_t gather_pieces(const job *j, size_t bucket, ls_piece *pieces)
{
	size_t count = 0;
	for (size_t t = 0; t < j->threads; t++)
		count += ls_chains_pieces(&j->worker[t].chains, j->words, bucket, pieces + count);
	return count;
}

static void prefetch_bucket(const job *j, size_t bucket)
{
	for (size_t t = 0; t < j->threads; t++)
		ls_chains_prefetch(&j->worker[t].chains, j->words, bucket);
}

static void copy_pieces(const ls_piece *pieces, size_t count, size_t words, uint64_t *out)
{
	for (size_t p = 0; p < count; p++) {
		memcpy(out, pieces[p].data, pieces[p].count * words * sizeof *out);
		out += pieces[p].count * words;
	}
}

/* Copies keys to where they stay, past the cache: reading what they overwrite would take as long.
 */
static void write_keys(ldb_key *out, const ldb_key *keys, size_t n)
{
	size_t i = 0;
#if LS_AVX512
	for (; i < n && (uintptr_t)(out + i) % 64; i++)
		out[i] = keys[i];
	for (; i + 8 <= n; i += 8)
		_mm512_stream_si512((void *)(out + i), _mm512_loadu_si512(keys + i));
#endif
	for (; i < n; i++)
		out[i] = keys[i];
}

static void sort_leaf(const job *j, const ls_piece *pieces, size_t count, size_t n, uint64_t *room,
		      uint64_t *out)
{
	if (j->words == 1) {
		ls_leaf_pieces(pieces, count, n, room, room + n);
		write_keys(out, room + n, n);
	} else {
		ls_pairs_pieces(pieces, count, n, room, out);
	}
}

/* Sorts in place what is too large for the cache, without memory of its own. */
static void sort_without(const job *j, uint64_t *elements, size_t n, uint64_t *room)
{
	const ls_piece piece = {elements, n};
	if (j->words == 1)
		ls_leaf(elements, n, room);
	else
		ls_pairs_pieces(&piece, 1, n, room, elements);
}

/* Sorts what a bucket's chains hold to out[0..n). */
static void sort_chains(worker *w, size_t bucket, size_t n, uint64_t *out)
{
	const job *j = w->job;
	if (n == 0)
		return;
	const size_t count = gather_pieces(j, bucket, w->pieces);
	if (n <= LS_LEAF) {
		sort_leaf(j, w->pieces, count, n, w->room, out);
		return;
	}
	copy_pieces(w->pieces, count, j->words, out);
	if (j->level + 1 == LS_MOST_LEVELS ||
	    !sort_level(out, j->words, n, 1, j->level + 1, w->room))
		sort_without(j, out, n, w->room);
}

static size_t lower_bound(const uint64_t *elements, size_t words, size_t n, ldb_key key)
{
	size_t lo = 0;
	while (lo < n) {
		const size_t mid = lo + (n - lo) / 2;
		if (elements[mid * words] < key)
			lo = mid + 1;
		else
			n = mid;
	}
	return lo;
}

static void write_run(ldb_key *out, size_t n, ldb_key key)
{
	size_t i = 0;
#if LS_AVX512
	const __m512i eight = _mm512_set1_epi64((long long)key);
	for (; i < n && (uintptr_t)(out + i) % 64; i++)
		out[i] = key;
	for (; i + 8 <= n; i += 8)
		_mm512_stream_si512((void *)(out + i), eight);
#endif
	for (; i < n; i++)
		out[i] = key;
}

/* Writes the elements with a heavy key. */
static void write_heavy(worker *w, size_t rank, size_t count, uint64_t *out)
{
	const job *j = w->job;
	if (j->words == 1)
		write_run(out, count, j->heavy->key[rank]);
	else
		copy_pieces(w->pieces, gather_pieces(j, j->buckets + rank, w->pieces), 2, out);
}

/* Puts the bucket's heavy keys between its n sorted elements: from the last to the first, so that
 * these move up at most once. */
static void merge_heavy(worker *w, size_t bucket, size_t n, uint64_t *out)
{
	const job *j = w->job;
	size_t end = j->start[bucket + 1] - j->start[bucket];
	for (size_t h = j->heavy_start[bucket + 1]; h > j->heavy_start[bucket]; h--) {
		const size_t below = lower_bound(out, j->words, n, j->heavy->key[h - 1]);
		const size_t count = heavy_count(j, h - 1);
		end -= n - below;
		memmove(out + end * j->words, out + below * j->words,
			(n - below) * j->words * sizeof *out);
		end -= count;
		write_heavy(w, h - 1, count, out + end * j->words);
		n = below;
	}
}

static void *sort_buckets(void *argument)
{
	worker *w = argument;
	job *j = w->job;
	enum { AT_ONCE = 8 };
	for (size_t b; (b = atomic_fetch_add(&j->next_bucket, AT_ONCE)) < j->buckets;) {
		for (size_t end = b + AT_ONCE; b < end && b < j->buckets; b++) {
			uint64_t *out = j->elements + j->start[b] * j->words;
			const size_t n = bucket_count(j, b);
			if (b + 1 < j->buckets && bucket_count(j, b + 1) <= LS_LEAF)
				prefetch_bucket(j, b + 1);
			sort_chains(w, b, n, out);
			if (j->heavy_start[b] < j->heavy_start[b + 1])
				merge_heavy(w, b, n, out);
		}
	}
	return NULL;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* What a thread needs to sort n elements of a bucket, in words. */
static size_t room_words(size_t n, size_t words)
{
	const size_t leaf = n < LS_LEAF ? n : LS_LEAF;
	if (words == 2)
		return ls_pairs_room(n);
	return n > 2 * leaf ? n : 2 * leaf;
}

static size_t room_bytes(const job *j)
{
	return room_words(j->largest, j->words) * sizeof(uint64_t);
}

/* For the pieces of any bucket, those of heavy pairs included. */
static size_t piece_bytes(const job *j)
{
	return (j->n * j->words / LS_BLOCK_WORDS + 1 + j->threads) * sizeof(ls_piece);
}

static bool make_chains(job *j)
{
	const size_t chains = j->buckets + (j->words == 2 ? j->heavy->count : 0);
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		if (!ls_chains_make(&w->chains, w->to - w->from, j->words, chains))
			return false;
		if (j->heavy->count == 0 || j->words == 2)
			continue;
		w->slot_counts = ldb_alloc(LS_SLOTS * sizeof *w->slot_counts);
		if (!w->slot_counts)
			return false;
		memset(w->slot_counts, 0, LS_SLOTS * sizeof *w->slot_counts);
	}
	return true;
}

static bool make_rooms(job *j, uint64_t *room)
{
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		w->room = room ? room : ldb_alloc(room_bytes(j));
		w->pieces = ldb_alloc(piece_bytes(j));
		if (!w->room || !w->pieces)
			return false;
	}
	return true;
}

static void release(job *j, const uint64_t *room)
{
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		ls_chains_free(&w->chains);
		if (w->slot_counts)
			ldb_free(w->slot_counts, LS_SLOTS * sizeof *w->slot_counts);
		if (!room)
			ldb_free(w->room, room_bytes(j));
		ldb_free(w->pieces, piece_bytes(j));
	}
	ls_model_free(&j->model);
	ldb_free(j->heavy, sizeof *j->heavy);
	ldb_free(j->start, 2 * (j->buckets + 1) * sizeof *j->start);
}

static bool run(job *j, uint64_t *room)
{
	j->start = ldb_alloc(2 * (j->buckets + 1) * sizeof *j->start);
	if (!j->start || !learn(j) || !make_chains(j))
		return false;
	j->heavy_start = j->start + j->buckets + 1;
	ldb_run_parts(distribute, j->worker, sizeof *j->worker, j->threads);
	lay_out(j);
	if (!make_rooms(j, room))
		return false;
	ldb_run_parts(sort_buckets, j->worker, sizeof *j->worker, j->threads);
	return true;
}

/* False, with the elements untouched, when there is no memory. `room`: NULL, or for n elements. */
static bool sort_level(uint64_t *elements, size_t words, size_t n, size_t threads, int level,
		       uint64_t *room)
{
	job *j = ldb_alloc(sizeof *j);
	if (!j)
		return false;
	memset(j, 0, sizeof *j);
	j->elements = elements;
	j->words = words;
	j->n = n;
	j->threads = threads;
	j->level = level;
	j->buckets = n / BUCKET_MEAN < LS_MOST_BUCKETS ? n / BUCKET_MEAN : LS_MOST_BUCKETS;
	for (size_t t = 0; t < threads; t++) {
		j->worker[t].job = j;
		j->worker[t].from = share(n, t, threads);
		j->worker[t].to = share(n, t + 1, threads);
	}
	const bool good = run(j, room);
	release(j, room);
	ldb_free(j, sizeof *j);
	return good;
}

/* --- the plug-in ------------------------------------------------------------------------------ */

static bool sort_few(uint64_t *elements, size_t n, size_t words)
{
	const size_t bytes = room_words(n, words) * sizeof *elements;
	uint64_t *room = ldb_alloc(bytes);
	if (!room)
		return false;
	const job j = {.words = words};
	sort_without(&j, elements, n, room);
	ldb_free(room, bytes);
	return true;
}

static ldb_status sort(uint64_t *elements, size_t n, size_t words, size_t threads, ldb_error *err)
{
	if (n < 2 || ls_in_order(elements, n, words))
		return LDB_OK;
	if (threads > LS_MOST_THREADS)
		threads = LS_MOST_THREADS;
	if (n < LEAST ? sort_few(elements, n, words)
		      : sort_level(elements, words, n, threads, 0, NULL))
		return LDB_OK;
	return ldb_fail_oom(err, "learned_sort: buckets", n * words * sizeof *elements);
}

static ldb_status sort_keys(ldb_key *keys, size_t n, size_t threads, const double *params,
			    ldb_error *err)
{
	(void)params;
	return sort(keys, n, 1, threads, err);
}

static ldb_status sort_pairs(ldb_pair *pairs, size_t n, size_t threads, const double *params,
			     ldb_error *err)
{
	(void)params;
	return sort((uint64_t *)pairs, n, 2, threads, err);
}

static const ldb_sort table = {
	.abi = LDB_SORT_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "learned_sort",
	.summary = "partition by a learned model, finish with SIMD in the cache",
	.origin = "this project; Kristo et al., SIGMOD 2020; Blacher et al. 2022",
	.flags = LDB_LEARNED | LDB_THREADS | LDB_STABLE,
	.peak_bytes_per_key = 10,
	.sort_keys = sort_keys,
	.sort_pairs = sort_pairs,
};

LDB_EXPORT_SORT(table)
