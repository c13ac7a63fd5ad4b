/* Drawing of operations and of their answers (stream.h). */
#include "stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rng.h"
#include "zipf.h"

enum { NOWHERE = 0xffffffff };

/* YCSB: Cooper, Silberstein, Tam, Ramakrishnan, Sears: "Benchmarking Cloud Serving Systems with
 * YCSB", SoCC 2010, table 2. */
const ldb_mix ldb_mixes[] = {
	{.name = "read", .about = "gets of present keys, half the keys preloaded", .get = 100},
	{.name = "mix95", .about = "95 % gets, 5 % inserts", .get = 95, .insert = 5},
	{.name = "mix50", .about = "50 % gets, 50 % inserts", .get = 50, .insert = 50},
	{.name = "mix5", .about = "5 % gets, 95 % inserts", .get = 5, .insert = 95},
	{.name = "insert", .about = "inserts in random order", .insert = 100},
	{.name = "append",
	 .about = "inserts of the upper keys, ascending",
	 .insert = 100,
	 .place = LDB_PLACE_APPEND},
	{.name = "insert-hot",
	 .about = "inserts within a tenth of the keys",
	 .insert = 100,
	 .place = LDB_PLACE_HOT},
	{.name = "insert-shift",
	 .about = "inserts of the upper keys, in random order",
	 .insert = 100,
	 .place = LDB_PLACE_SHIFT},
	{.name = "delete", .about = "deletes of present keys in random order", .remove = 100},
	{.name = "churn", .about = "50 % inserts, 50 % deletes", .insert = 50, .remove = 50},
	{.name = "scan",
	 .about = "sums of the next 100 (or so many) keys from a present one on",
	 .scan = 100,
	 .scan_length = 100},
	{.name = "ycsb-a",
	 .about = "50 % gets, 50 % updates, by Zipf",
	 .get = 50,
	 .update = 50,
	 .choice = LDB_CHOOSE_ZIPF},
	{.name = "ycsb-b",
	 .about = "95 % gets, 5 % updates, by Zipf",
	 .get = 95,
	 .update = 5,
	 .choice = LDB_CHOOSE_ZIPF},
	{.name = "ycsb-c", .about = "gets by Zipf", .get = 100, .choice = LDB_CHOOSE_ZIPF},
	{.name = "ycsb-d",
	 .about = "95 % gets of late inserts, 5 % inserts",
	 .get = 95,
	 .insert = 5,
	 .choice = LDB_CHOOSE_LATEST},
	{.name = "ycsb-e",
	 .about = "95 % scans of 1..100 keys by Zipf, 5 % inserts",
	 .insert = 5,
	 .scan = 95,
	 .scan_length = 100,
	 .choice = LDB_CHOOSE_ZIPF},
	{.name = "ycsb-f",
	 .about = "50 % gets, 50 % gets with an update of the same key, by Zipf",
	 .get = 50,
	 .modify = 50,
	 .choice = LDB_CHOOSE_ZIPF},
	{.name = NULL},
};

const ldb_mix ldb_verification_mix = {
	.get = 20,
	.get_absent = 10,
	.update = 10,
	.insert = 25,
	.remove = 20,
	.scan = 10,
	.modify = 5,
	.scan_length = 50,
};

/* One thread's keys: those present, in no order, and those held out, in the order they come in. */
typedef struct {
	uint32_t *live, *pool; /* ranks; pool is a ring of `room` */
	size_t live_n, pool_first, pool_n, room;
} part;

typedef struct ldb_model {
	uint32_t *live, *pool;
	uint32_t *where; /* position of a rank in its part's live; NOWHERE */
} model;

/* Draws one thread's operations. */
typedef struct {
	ldb_stream *s;
	const ldb_mix *mix;
	size_t length, threads;
	part keys;
	ldb_rng rng;
	ldb_zipf zipf;
	size_t multiplier, initial_n;
	ldb_val next_value;
	ldb_op *ops;
	ldb_val *answers;
	size_t count;
} drawer;

static size_t room_for(size_t ops)
{
	return ops + 2 * 256; /* a last operation of each thread may be two */
}

size_t ldb_stream_bytes(size_t n, size_t ops)
{
	return sizeof(ldb_stream) + n * (sizeof(ldb_key) + sizeof(ldb_val)) +
	       room_for(ops) * (sizeof(ldb_op) + sizeof(ldb_val)) + 3 * n * sizeof(uint32_t);
}

static size_t shared_bytes(size_t n, size_t ops)
{
	return ldb_stream_bytes(n, ops) - 3 * n * sizeof(uint32_t);
}

ldb_status ldb_stream_make(const ldb_key *keys, size_t n, size_t ops, ldb_stream **out,
			   ldb_error *err)
{
	model *m = calloc(1, sizeof *m);
	uint32_t *ranks = malloc((3 * n + 1) * sizeof *ranks);
	void *shared = mmap(NULL, shared_bytes(n, ops), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!m || !ranks || shared == MAP_FAILED) {
		free(m);
		free(ranks);
		if (shared != MAP_FAILED)
			munmap(shared, shared_bytes(n, ops));
		return ldb_fail_oom(err, "operations", ldb_stream_bytes(n, ops));
	}
	*m = (model){ranks, ranks + n, ranks + 2 * n};
	ldb_stream *s = shared;
	*s = (ldb_stream){.keys = keys, .n = n, .most_ops = ops, .model = m};
	s->ops = (ldb_op *)(s + 1);
	s->answers = (ldb_val *)(s->ops + room_for(ops));
	s->initial = (ldb_key *)(s->answers + room_for(ops));
	s->at_end = (ldb_val *)(s->initial + n);
	*out = s;
	return LDB_OK;
}

void ldb_stream_free(ldb_stream *s)
{
	if (!s)
		return;
	free(s->model->live);
	free(s->model);
	munmap(s, shared_bytes(s->n, s->most_ops));
}

/* --- which keys are there from the start ------------------------------------------------------ */

/* Of ranks [first, end), `kept` drawn at random are there (all others held out). */
static void keep_some(ldb_stream *s, size_t first, size_t end, size_t kept, ldb_rng *rng)
{
	/* Selection sampling (Knuth, vol. 2, 3.4.2, algorithm S). */
	for (size_t r = first; r < end; r++) {
		const bool take = ldb_rng_below(rng, end - r) < kept;
		kept -= take;
		s->at_end[r] = take ? 0 : LDB_NONE;
	}
}

static void choose_initial(ldb_stream *s, ldb_place place, double preload, ldb_rng *rng)
{
	size_t first = 0, end = s->n;
	if (place == LDB_PLACE_HOT) {
		const size_t width = s->n / 10 + 1 < s->n ? s->n / 10 + 1 : s->n;
		first = ldb_rng_below(rng, s->n - width + 1);
		end = first + width;
	}
	const size_t kept = (size_t)((double)(end - first) * preload + 0.5);
	memset(s->at_end, 0, s->n * sizeof *s->at_end);
	if (place == LDB_PLACE_APPEND || place == LDB_PLACE_SHIFT)
		memset(s->at_end + kept, 0xff, (s->n - kept) * sizeof *s->at_end);
	else
		keep_some(s, first, end, kept, rng);
	s->initial_n = 0;
	for (size_t r = 0; r < s->n; r++) {
		if (s->at_end[r] == LDB_NONE)
			continue;
		s->at_end[r] = s->initial_n;
		s->initial[s->initial_n++] = s->keys[r];
	}
}

static void shuffle(uint32_t *items, size_t count, ldb_rng *rng)
{
	for (size_t i = count; i > 1; i--) {
		const size_t j = ldb_rng_below(rng, i);
		const uint32_t swap = items[i - 1];
		items[i - 1] = items[j];
		items[j] = swap;
	}
}

/* The keys of thread t: every `threads`-th. */
static part take_part(ldb_stream *s, size_t t, size_t threads, bool ascending, ldb_rng *rng)
{
	const size_t share = s->n / threads, more = s->n % threads;
	const size_t start = t * share + (t < more ? t : more);
	part p = {.live = s->model->live + start,
		  .pool = s->model->pool + start,
		  .room = share + (t < more)};
	for (size_t r = t; r < s->n; r += threads) {
		const bool there = s->at_end[r] != LDB_NONE;
		s->model->where[r] = there ? (uint32_t)p.live_n : NOWHERE;
		if (there)
			p.live[p.live_n++] = (uint32_t)r;
		else
			p.pool[p.pool_n++] = (uint32_t)r;
	}
	if (!ascending)
		shuffle(p.pool, p.pool_n, rng);
	return p;
}

/* --- operations --------------------------------------------------------------------------------*/

static size_t choose_live(drawer *d)
{
	const size_t n = d->keys.live_n;
	size_t at = 0;
	if (d->mix->choice == LDB_CHOOSE_UNIFORM) {
		at = ldb_rng_below(&d->rng, n);
	} else {
		const size_t k = ldb_zipf_draw(&d->zipf, &d->rng);
		at = d->mix->choice == LDB_CHOOSE_LATEST
			     ? n - (k < n ? k : n)
			     : (size_t)((unsigned __int128)k * d->multiplier % d->initial_n) % n;
	}
	return d->keys.live[at];
}

static uint32_t *pool_slot(part *p, size_t i)
{
	const size_t at = p->pool_first + i;
	return &p->pool[at < p->room ? at : at - p->room];
}

static void emit(drawer *d, ldb_op_kind kind, size_t rank, ldb_val value, ldb_val answer)
{
	d->ops[d->count] =
		(ldb_op){.key = d->s->keys[rank], .value = value, .kind = kind, .length = 0};
	d->answers[d->count++] = answer;
}

static void draw_put(drawer *d, size_t rank)
{
	const ldb_val value = d->next_value++;
	d->s->at_end[rank] = value;
	emit(d, LDB_PUT, rank, value, 0);
}

static void draw_insert(drawer *d)
{
	part *p = &d->keys;
	const uint32_t rank = *pool_slot(p, 0);
	p->pool_first = p->pool_first + 1 < p->room ? p->pool_first + 1 : 0;
	p->pool_n--;
	d->s->model->where[rank] = (uint32_t)p->live_n;
	p->live[p->live_n++] = rank;
	draw_put(d, rank);
}

static void draw_delete(drawer *d)
{
	part *p = &d->keys;
	const size_t rank = choose_live(d);
	const uint32_t at = d->s->model->where[rank], last = p->live[--p->live_n];
	p->live[at] = last;
	d->s->model->where[last] = at;
	d->s->model->where[rank] = NOWHERE;
	*pool_slot(p, p->pool_n++) = (uint32_t)rank;
	d->s->at_end[rank] = LDB_NONE;
	emit(d, LDB_DELETE, rank, 0, 0);
}

static void draw_scan(drawer *d)
{
	const size_t rank = choose_live(d);
	size_t length = d->length;
	if (d->mix->choice != LDB_CHOOSE_UNIFORM || d->mix == &ldb_verification_mix)
		length = 1 + ldb_rng_below(&d->rng, length);
	ldb_val sum = 0;
	size_t left = d->threads == 1 ? length : 0;
	for (size_t r = rank; left && r < d->s->n; r++) {
		const bool there = d->s->at_end[r] != LDB_NONE;
		sum += there ? d->s->at_end[r] : 0;
		left -= there;
	}
	emit(d, LDB_SCAN, rank, 0, sum);
	d->ops[d->count - 1].length = (uint32_t)length;
}

static void draw_get(drawer *d, size_t rank)
{
	emit(d, LDB_GET, rank, 0, d->s->at_end[rank]);
}

/* One operation; false when there is no key left for it. */
static bool draw_one(drawer *d)
{
	const ldb_mix *m = d->mix;
	part *p = &d->keys;
	unsigned at = (unsigned)ldb_rng_below(&d->rng, 100);
	if (at < m->insert) {
		if (!p->pool_n)
			return false;
		draw_insert(d);
		return true;
	}
	at -= m->insert;
	if (at < m->get_absent && p->pool_n) {
		draw_get(d, *pool_slot(p, ldb_rng_below(&d->rng, p->pool_n)));
		return true;
	}
	if (!p->live_n)
		return false;
	if (at < m->get_absent + m->get)
		draw_get(d, choose_live(d));
	else if ((at -= m->get_absent + m->get) < m->update)
		draw_put(d, choose_live(d));
	else if ((at -= m->update) < m->remove)
		draw_delete(d);
	else if ((at -= m->remove) < m->scan)
		draw_scan(d);
	else {
		const size_t rank = choose_live(d);
		draw_get(d, rank);
		draw_put(d, rank);
	}
	return true;
}

void ldb_stream_draw(ldb_stream *s, const ldb_mix *mix, double length, double preload,
		     size_t threads, size_t ops, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	choose_initial(s, mix->place, preload, &rng);
	s->threads = threads;
	s->room = room_for(ops) / threads;
	for (size_t t = 0; t < threads; t++) {
		drawer d = {.s = s,
			    .mix = mix,
			    .length = (size_t)length,
			    .threads = threads,
			    .next_value = s->n + ((ldb_val)t << 40),
			    .ops = s->ops + t * s->room,
			    .answers = s->answers + t * s->room};
		ldb_rng_seed(&d.rng, ldb_rng_next(&rng));
		d.keys = take_part(s, t, threads, mix->place == LDB_PLACE_APPEND, &d.rng);
		d.initial_n = d.keys.live_n ? d.keys.live_n : 1;
		d.multiplier = ldb_scatter_multiplier(d.initial_n);
		if (mix->choice != LDB_CHOOSE_UNIFORM)
			d.zipf = ldb_zipf_make(d.initial_n, 0.99);
		const size_t quota = ops / threads + (t < ops % threads);
		while (d.count < quota && draw_one(&d))
			;
		s->count[t] = d.count;
		s->sum[t] = ldb_stream_fold(d.ops, d.answers, d.count, threads);
	}
}

uint64_t ldb_stream_fold(const ldb_op *ops, const ldb_val *out, size_t count, size_t threads)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		const bool certain = ops[i].kind != LDB_SCAN || threads == 1;
		sum += certain ? out[i] * (2 * ops[i].key + 1) : 0; /* odd: see ldb_fold */
	}
	return sum;
}
