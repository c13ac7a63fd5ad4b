/*
 * Streams of operations (gets, puts, deletes, scans) for updatable indexes, drawn with their
 * answers.
 *
 * The keys of a dataset are the universe. Some are there from the start, the others are held out
 * and come in by inserts. While a stream is drawn, a model keeps the value of each key of the
 * universe: an array indexed by rank, which needs nothing of any competitor. So each answer is
 * known, and so is what every key must have at the end.
 *
 * Each thread has a stream of its own. It writes, and gets, only the keys whose rank is its number
 * modulo the threads', so that answers do not depend on how threads interleave, while nodes and
 * leaves of an index are shared by all. Scans cross into others' keys: with several threads their
 * answers are not checked, all others are.
 */
#ifndef LDB_STREAM_H
#define LDB_STREAM_H

#include <stdbool.h>

#include "ldb/index.h"

enum { LDB_MAX_THREADS = 256 };

/* Which present key an operation is about. */
typedef enum {
	LDB_CHOOSE_UNIFORM,
	LDB_CHOOSE_ZIPF,   /* theta 0.99, popular keys scattered */
	LDB_CHOOSE_LATEST, /* the k-th latest insert by Zipf */
} ldb_choice;

/* Which keys are held out, and in which order they come in. */
typedef enum {
	LDB_PLACE_RANDOM, /* any, in random order */
	LDB_PLACE_APPEND, /* the upper ones, ascending */
	LDB_PLACE_HOT,    /* any within a tenth of the ranks, in random order */
	LDB_PLACE_SHIFT,  /* the upper ones, in random order */
} ldb_place;

/* Shares of operations in percent. */
typedef struct {
	const char *name, *about;
	unsigned get, get_absent, update, insert, remove, scan, modify; /* modify: get, then put */
	ldb_choice choice;
	ldb_place place;
	double scan_length; /* of YCSB's: uniform in 1..that, else exact */
} ldb_mix;

/* All mixes, ends with a NULL name; and the one that verification uses: everything in it. */
extern const ldb_mix ldb_mixes[];
extern const ldb_mix ldb_verification_mix;

typedef struct {
	/* Of all threads, in memory that workers see. */
	const ldb_key *keys; /* the universe: distinct, ascending */
	size_t n;
	ldb_key *initial; /* those that are there from the start; value[i] = i */
	size_t initial_n;
	ldb_val *at_end; /* of each key of the universe; LDB_NONE: not there */
	ldb_op *ops;     /* thread t has ops[t * room .. + count[t]) */
	ldb_val *answers;
	size_t room, most_ops;
	size_t threads, count[LDB_MAX_THREADS];
	uint64_t sum[LDB_MAX_THREADS]; /* checksum of each thread's answers */
	struct ldb_model *model;       /* the conductor's own */
} ldb_stream;

/* Bytes of a stream over n keys with at most `ops` operations of all threads together. */
size_t ldb_stream_bytes(size_t n, size_t ops);
/* `keys` stay the caller's. */
ldb_status ldb_stream_make(const ldb_key *keys, size_t n, size_t ops, ldb_stream **out,
			   ldb_error *err);
void ldb_stream_free(ldb_stream *s);

/*
 * Draws streams for `threads` threads, `ops` operations in all or fewer where a mix runs out of
 * keys to insert or delete. `preload` in (0, 1] is the share of keys that is there from the start,
 * `length` that of scans. The same for the same seed.
 */
void ldb_stream_draw(ldb_stream *s, const ldb_mix *mix, double length, double preload,
		     size_t threads, size_t ops, uint64_t seed);

/* What operation and answer add to the checksum: a scan only where it is certain. */
uint64_t ldb_stream_fold(const ldb_op *ops, const ldb_val *out, size_t count, size_t threads);

#endif
