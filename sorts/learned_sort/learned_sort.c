/* The whole: from the sample to buckets written back (see learned_sort.h). */
#include <stdatomic.h>
#include <stdlib.h>

#include "ldb/parts.h"
#include "model.h"
#include "rng.h"

enum {
	LEAST = 1 << 16,      /* fewer elements are a leaf from the start */
	BUCKET_WORDS = 10000, /* mean */
	SAMPLES_PER_BUCKET = 16,
};

typedef struct job job;

/* What one thread does. */
typedef struct {
	job *job;
	size_t from, to; /* its part of the input */
	ls_chains chains;
	uint64_t *room;   /* for leaves */
	ls_piece *pieces; /* of two buckets */
} worker;

struct job {
	uint64_t *elements;
	size_t words, n, threads;
	size_t buckets;
	ls_model model;
	size_t *start;  /* of each bucket in the output */
	size_t largest; /* bucket */
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
	const size_t samples = j->buckets * SAMPLES_PER_BUCKET, bytes = samples * sizeof(ldb_key);
	ldb_key *sample = ldb_alloc(2 * bytes);
	if (!sample)
		return false;
	ldb_rng rng;
	ldb_rng_seed(&rng, j->n);
	for (size_t i = 0; i < samples; i++) {
		const size_t from = share(j->n, i, samples), to = share(j->n, i + 1, samples);
		sample[i] = j->elements[(from + ldb_rng_below(&rng, to - from)) * j->words];
	}
	ls_leaf(sample, samples, sample + samples);
	const bool good = ls_model_learn(&j->model, sample, samples, j->buckets);
	ldb_free(sample, 2 * bytes);
	return good;
}

/* --- distributing ----------------------------------------------------------------------------- */

static void *distribute(void *argument)
{
	worker *w = argument;
	const job *j = w->job;
	ls_chains_add(&w->chains, &j->model, j->elements + w->from * j->words, j->words,
		      w->to - w->from);
	return NULL;
}

/* Where each bucket goes. */
static void lay_out(job *j)
{
	size_t at = 0;
	for (size_t b = 0; b < j->buckets; b++) {
		size_t count = 0;
		for (size_t t = 0; t < j->threads; t++)
			count += ls_chains_count(&j->worker[t].chains, j->words, b);
		j->start[b] = at;
		j->largest = count > j->largest ? count : j->largest;
		at += count;
	}
	j->start[j->buckets] = at;
}

/* --- sorting buckets -------------------------------------------------------------------------- */

/* Most pieces of a bucket. */
static size_t piece_count(const job *j)
{
	size_t most = 0;
	for (size_t t = 0; t < j->threads; t++)
		most += j->worker[t].chains.blocks - j->buckets + 1;
	return most;
}

/* A bucket that a thread has taken. */
typedef struct {
	const ls_piece *pieces;
	size_t count, n;
	uint64_t *out;
} taken;

/* The next bucket; count is 0 when there is none. */
static taken take(const worker *w, ls_piece *pieces)
{
	job *j = w->job;
	const size_t b = atomic_fetch_add(&j->next_bucket, 1);
	taken t = {.pieces = pieces};
	if (b >= j->buckets)
		return t;
	for (size_t i = 0; i < j->threads; i++)
		t.count += ls_chains_pieces(&j->worker[i].chains, j->words, b, pieces + t.count);
	t.n = j->start[b + 1] - j->start[b];
	t.out = j->elements + j->start[b] * j->words;
	return t;
}

static void *sort_buckets(void *argument)
{
	const worker *w = argument;
	const job *j = w->job;
	ls_piece *pieces = w->pieces, *others = w->pieces + piece_count(j);
	taken now = take(w, pieces);
	while (now.count) {
		const taken next = take(w, others);
		ls_ahead ahead = {next.pieces, next.count, 0, next.out, next.out + next.n};
		if (now.n && j->words == 1)
			ls_leaf_pieces(now.pieces, now.count, now.n, w->room, now.out, &ahead);
		else if (now.n)
			ls_pairs_pieces(now.pieces, now.count, now.n, w->room, now.out);
		now = next;
		others = pieces;
		pieces = (ls_piece *)now.pieces;
	}
	return NULL;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* What a thread needs to sort n elements of a bucket, in bytes. */
static size_t room_bytes(size_t n, size_t words)
{
	return (words == 1 ? n : ls_pairs_room(n)) * sizeof(uint64_t);
}

static size_t piece_bytes(const job *j)
{
	return 2 * piece_count(j) * sizeof(ls_piece);
}

static bool make_chains(job *j)
{
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		if (!ls_chains_make(&w->chains, w->to - w->from, j->words, j->buckets))
			return false;
	}
	return true;
}

static bool make_rooms(job *j)
{
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		w->room = ldb_alloc(room_bytes(j->largest, j->words));
		w->pieces = ldb_alloc(piece_bytes(j));
		if (!w->room || !w->pieces)
			return false;
	}
	return true;
}

static void release(job *j)
{
	for (size_t t = 0; t < j->threads; t++) {
		worker *w = &j->worker[t];
		ldb_free(w->room, room_bytes(j->largest, j->words));
		ldb_free(w->pieces, piece_bytes(j));
	}
	for (size_t t = 0; t < j->threads; t++)
		ls_chains_free(&j->worker[t].chains);
	ls_model_free(&j->model);
	ldb_free(j->start, (j->buckets + 1) * sizeof *j->start);
}

static bool run(job *j)
{
	j->start = ldb_alloc((j->buckets + 1) * sizeof *j->start);
	if (!j->start || !learn(j) || !make_chains(j))
		return false;
	ldb_run_parts(distribute, j->worker, sizeof *j->worker, j->threads);
	lay_out(j);
	if (!make_rooms(j))
		return false;
	ldb_run_parts(sort_buckets, j->worker, sizeof *j->worker, j->threads);
	return true;
}

/* False, with the elements untouched, when there is no memory. */
static bool sort_many(uint64_t *elements, size_t n, size_t words, size_t threads)
{
	job *j = ldb_alloc(sizeof *j);
	if (!j)
		return false;
	memset(j, 0, sizeof *j);
	j->elements = elements;
	j->words = words;
	j->n = n;
	j->threads = threads;
	j->buckets = n * words / BUCKET_WORDS;
	if (j->buckets > LS_MOST_BUCKETS)
		j->buckets = LS_MOST_BUCKETS;
	for (size_t t = 0; t < threads; t++) {
		j->worker[t].job = j;
		j->worker[t].from = share(n, t, threads);
		j->worker[t].to = share(n, t + 1, threads);
	}
	const bool good = run(j);
	release(j);
	ldb_free(j, sizeof *j);
	return good;
}

static bool sort_few(uint64_t *elements, size_t n, size_t words)
{
	const ls_piece piece = {elements, n};
	uint64_t *room = ldb_alloc(room_bytes(n, words));
	if (!room)
		return false;
	if (words == 1)
		ls_leaf(elements, n, room);
	else
		ls_pairs_pieces(&piece, 1, n, room, elements);
	ldb_free(room, room_bytes(n, words));
	return true;
}

/* --- the plug-in ------------------------------------------------------------------------------ */

static ldb_status sort(uint64_t *elements, size_t n, size_t words, size_t threads, ldb_error *err)
{
	if (n < 2 || ls_in_order(elements, n, words))
		return LDB_OK;
	if (threads > LS_MOST_THREADS)
		threads = LS_MOST_THREADS;
	if (n < LEAST ? sort_few(elements, n, words) : sort_many(elements, n, words, threads))
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
	.peak_bytes_per_key = 17,
	.sort_keys = sort_keys,
	.sort_pairs = sort_pairs,
};

LDB_EXPORT_SORT(table)
