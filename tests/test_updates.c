/*
 * Differential test of every updatable index plug-in that is found, at every level that the
 * processor can run, against a sorted model: streams of GET, PUT, DELETE and SCAN in several
 * patterns over hard keys, the read entry points between them, parameters, memory accounting,
 * space over many fillings and drainings, every allocation refused in turn.
 *
 *   test_updates [PATTERN]     PATTERN selects tests by name: 'btree.v4*'
 *   LDB_TEST_OPS=1000000       operations of each stream (`make test-long`), else 10,000
 *   LDB_TEST_SEED=7            another seed, else 1
 *
 * As in test_indexes a check returns false and leaves its finding in the run, and the first tests
 * plant faults in an index and expect each to be found. Several threads: test_histories.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory.h"
#include "test_model.h"

enum {
	MAX_PARAMS = 32,
	MAX_BATCH = 1000,
	MAX_QUERIES = 256,
	SLACK_BYTES = 64 << 10, /* what may come from elsewhere than ldb_alloc */
};
#define GUARD_WORD 0x5afe5afe5afe5afeu
#define CARRY 0x123456789abcdef1u

static size_t stream_ops = 10000;
static uint64_t seed = 1;

/* --- streams of operations ---------------------------------------------------------------------
 */

/*
 * A pattern says which keys are there at first and where the stream puts and deletes. Sweeps go
 * over all keys in steps, putting each, then deleting each, and so on.
 */
typedef enum {
	RANDOM,     /* all over; by turns mostly PUT and mostly DELETE */
	HOT,        /* in a narrow range that moves */
	ASCENDING,  /* sweeps from the least key to the largest: appends */
	DESCENDING, /* the other way */
	SCATTERED,  /* sweeps in no order */
	QUEUE,      /* puts the next key and deletes the one that is the oldest */
	PATTERN_COUNT
} op_pattern;

static const char *const pattern_names[] = {"random",     "hot range", "ascending",
					    "descending", "scattered", "queue"};

typedef struct {
	const test_model *m;
	const ldb_index *index;
	op_pattern pattern;
	ldb_rng rng;
	size_t step, at;    /* of a sweep: ranks at, at + step, ... (mod n) */
	size_t left;        /* of the sweep */
	bool deleting;      /* the sweep, or the turn */
	uint64_t made, hot; /* operations so far; the start of the hot range */
} stream;

static size_t common_divisor(size_t a, size_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

static stream make_stream(const test_model *m, const ldb_index *index, op_pattern pattern)
{
	const size_t n = m->n;
	stream s = {.m = m, .index = index, .pattern = pattern, .step = 1, .left = n};
	ldb_rng_seed(&s.rng, seed * 1000 + pattern);
	if (pattern == DESCENDING) {
		s.at = s.step = n - 1;
	} else if (pattern == SCATTERED) {
		s.step = n * 5 / 8 + 1;
		while (common_divisor(s.step, n) > 1)
			s.step++;
	}
	s.deleting = pattern != RANDOM && m->count > m->n / 2;
	return s;
}

static size_t next_of_sweep(stream *s)
{
	const size_t rank = s->at;
	s->at = (s->at + s->step) % s->m->n;
	if (--s->left == 0) {
		s->left = s->m->n;
		s->deleting = !s->deleting;
	}
	return rank;
}

/* A rank to read at, or, but in sweeps, to write at. */
static size_t random_rank(stream *s)
{
	const size_t n = s->m->n, width = n / 16 + 1;
	if (s->made % (2 * width) == 0)
		s->hot = ldb_rng_below(&s->rng, n);
	if (s->pattern == HOT && ldb_rng_below(&s->rng, 8))
		return (s->hot + ldb_rng_below(&s->rng, width)) % n;
	return ldb_rng_below(&s->rng, n);
}

/* A key to read or delete: nearly always of the universe, else beside one or anywhere. */
static ldb_key random_key(stream *s)
{
	const ldb_key key = s->m->keys[random_rank(s)];
	switch (ldb_rng_below(&s->rng, 16)) {
	case 0:
		return key + 1;
	case 1:
		return key - 1;
	case 2:
		return ldb_rng_next(&s->rng) >> ldb_rng_below(&s->rng, 64);
	case 3:
		return ldb_rng_below(&s->rng, 2) ? LDB_KEY_MAX : 0;
	default:
		return key;
	}
}

static ldb_val random_value(stream *s)
{
	const ldb_val value = ldb_rng_next(&s->rng) >> ldb_rng_below(&s->rng, 64);
	return value == LDB_NONE ? 0 : value;
}

static ldb_op read_op(stream *s)
{
	static const uint32_t lengths[] = {0, 1, 2, 10, 100, 1000};
	ldb_op op = {.key = random_key(s), .kind = LDB_GET};
	/* SCAN answers by the lower bound; long ones are rare, or they take all the time. */
	if (s->index->flags & LDB_ORDERED && ldb_rng_below(&s->rng, 2)) {
		op.kind = LDB_SCAN;
		op.length = lengths[ldb_rng_below(&s->rng, ldb_rng_below(&s->rng, 8) ? 4 : 6)];
	}
	return op;
}

static ldb_op write_op(stream *s, bool deleting, size_t rank)
{
	ldb_op op = {.key = s->m->keys[rank], .kind = deleting ? LDB_DELETE : LDB_PUT};
	if (!deleting)
		op.value = random_value(s);
	return op;
}

static ldb_op next_op(stream *s)
{
	const bool sweeps = s->pattern != RANDOM && s->pattern != HOT;
	const uint64_t dice = ldb_rng_below(&s->rng, 16);
	s->made++;
	if (dice < 4)
		return read_op(s);
	if (dice == 4) /* of an absent key, too */
		return (ldb_op){.key = random_key(s), .kind = LDB_DELETE};
	if (s->pattern == QUEUE) {
		const size_t rank = dice % 2 ? s->at : next_of_sweep(s), n = s->m->n;
		return write_op(s, dice % 2, dice % 2 ? (rank + n - n / 3) % n : rank);
	}
	if (sweeps && (s->deleting || dice > 5))
		return write_op(s, s->deleting, next_of_sweep(s));
	if (s->made % (s->m->n * 2) == 0)
		s->deleting = !s->deleting;
	return write_op(s, (dice < 13) == s->deleting, random_rank(s));
}

/* --- checks ------------------------------------------------------------------------------------
 */

/* One index under test with its parameters and the model of it, and what was found. */
typedef struct {
	const ldb_index *index;
	double values[MAX_PARAMS];
	bool may_refuse; /* extreme parameters may ask for more memory than there is */
	void *self;
	test_model *m;
	test_guarded keys; /* that it was built from */
	size_t held_before, foreign_before;
	uint64_t done; /* operations since the build */
	char what[128];
	char fault[1024];
} test_run;

__attribute__((format(printf, 2, 3))) static bool found(test_run *run, const char *format, ...)
{
	char what[512];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	int used = snprintf(run->fault, sizeof run->fault, "%s", run->index->name);
	for (size_t i = 0; i < test_param_count(run->index); i++)
		used += snprintf(run->fault + used, sizeof run->fault - (size_t)used, "%c%s=%g",
				 i ? ',' : ':', run->index->params[i].name, run->values[i]);
	snprintf(run->fault + used, sizeof run->fault - (size_t)used,
		 " (%s, %zu keys, seed %llu, after %llu operations): %s", run->what,
		 run->m ? run->m->count : 0, (unsigned long long)seed,
		 (unsigned long long)run->done, what);
	return false;
}

static bool check_error(test_run *run, const ldb_error *err)
{
	return (*err->subject && *err->value && *err->remedy) ||
	       found(run, "the error lacks a field: '%s', '%s', '%s'", err->subject, err->value,
		     err->remedy);
}

/* Queries about the model's keys, and all that is around them. */
static size_t make_queries(const test_model *m, ldb_rng *rng, ldb_key *q)
{
	size_t count = 0;
	q[count++] = 0;
	q[count++] = LDB_KEY_MAX;
	q[count++] = LDB_KEY_MAX - 1;
	q[count++] = ldb_rng_next(rng) >> ldb_rng_below(rng, 64);
	while (count + 4 <= MAX_QUERIES && count < 4 * m->n + 8) {
		const size_t rank = ldb_rng_below(rng, m->n), next = test_model_next(m, rank);
		const ldb_key key = m->keys[next < m->n ? next : rank];
		q[count++] = key;
		q[count++] = key + 1;
		q[count++] = key - 1;
		q[count++] = m->keys[rank];
	}
	return count;
}

static bool check_answers(test_run *run, const char *entry, const ldb_key *q, size_t count,
			  const ldb_val *expected, const ldb_val *out)
{
	for (size_t i = 0; i < count; i++) {
		if (out[i] != expected[i])
			return found(run, "%s: answer %zu, to %#llx, is %lld where %lld is right",
				     entry, i, (unsigned long long)q[i], (long long)out[i],
				     (long long)expected[i]);
	}
	return out[count] == GUARD_WORD || found(run, "%s wrote outside of its answers", entry);
}

static bool check_reads(test_run *run, ldb_rng *rng)
{
	const ldb_index *index = run->index;
	ldb_key q[MAX_QUERIES], chained[MAX_QUERIES];
	ldb_val expected[MAX_QUERIES], out[MAX_QUERIES + 1];
	const size_t count = make_queries(run->m, rng, q);
	for (size_t i = 0; i < count; i++) {
		expected[i] = index->flags & LDB_ORDERED ? test_model_lower_bound(run->m, q[i])
							 : test_model_get(run->m, q[i]);
		chained[i] = q[i] - ldb_chain_step(i ? expected[i - 1] : CARRY);
	}
	out[count] = GUARD_WORD;
	index->lookup(run->self, q, count, out);
	if (!check_answers(run, "lookup", q, count, expected, out))
		return false;
	index->chase(run->self, chained, count, CARRY, out);
	if (!check_answers(run, "chase", q, count, expected, out))
		return false;
	if (!index->lookup_batch)
		return true;
	index->lookup_batch(run->self, q, count, out);
	return check_answers(run, "lookup_batch", q, count, expected, out);
}

/* Invariants, memory and reads, when no work is going on behind. */
static bool check_settled(test_run *run, ldb_rng *rng)
{
	const ldb_index *index = run->index;
	ldb_error err = {0};
	if (index->settle)
		index->settle(run->self);
	if (index->validate(run->self, &err) != LDB_OK)
		return found(run, "validate: %s: %s", err.subject, err.value);
	const size_t held = ldb_alloc_held() - run->held_before, bytes = index->bytes(run->self);
	if (bytes != held)
		return found(run, "claims %zu bytes, the allocator counts %zu", bytes, held);
	return check_reads(run, rng);
}

/* Applies a batch to index and model. *done < count only when the index says that it could not. */
static bool apply_some(test_run *run, const ldb_op *ops, size_t count, size_t *done, ldb_error *err)
{
	static const char *const names[] = {"GET", "PUT", "DELETE", "SCAN"};
	ldb_val out[MAX_BATCH + 1];
	for (size_t i = 0; i <= count; i++)
		out[i] = GUARD_WORD;
	*done = run->index->apply(run->self, ops, count, out, err);
	if (*done > count)
		return found(run, "apply did %zu of %zu operations", *done, count);
	for (size_t i = 0; i < *done; i++, run->done++) {
		const ldb_op *op = &ops[i];
		const ldb_val expected = test_model_apply(run->m, op);
		if (out[i] != expected)
			return found(run, "%s of %#llx, length %u: %lld where %lld is right",
				     names[op->kind], (unsigned long long)op->key, op->length,
				     (long long)out[i], (long long)expected);
	}
	return out[count] == GUARD_WORD || found(run, "apply wrote outside of its answers");
}

static bool apply_all(test_run *run, const ldb_op *ops, size_t count)
{
	ldb_error err = {0};
	size_t done;
	if (!apply_some(run, ops, count, &done, &err))
		return false;
	return done == count ||
	       found(run, "apply stopped: %s: %s (%s)", err.subject, err.value, err.remedy);
}

/* --- the life of an index ----------------------------------------------------------------------
 */

/* Marks a share of the model's keys: the first ones in the order in which the pattern sweeps. */
static void preload(test_model *m, op_pattern pattern, double share)
{
	const size_t count = (size_t)(share * (double)m->n + 0.5);
	stream s = make_stream(m, NULL, pattern == RANDOM || pattern == HOT ? SCATTERED : pattern);
	for (size_t i = 0; i < count; i++)
		test_model_set(m, next_of_sweep(&s), true);
}

/* Builds from the keys that the model has. False with no fault: refused, as it may be. */
static bool begin(test_run *run, test_model *m)
{
	ldb_error err = {0};
	run->m = m;
	run->done = 0;
	run->self = NULL;
	run->keys = test_guarded_alloc(m->count * sizeof(ldb_key), TEST_GUARD_AFTER);
	const size_t n = test_model_load(m, run->keys.data);
	test_guarded_seal(&run->keys);
	run->held_before = ldb_alloc_held();
	run->foreign_before = ldb_alloc_foreign();
	ldb_status status = run->index->build(&run->self, run->keys.data, n, run->values, &err);
	if (status == LDB_OK && run->index->thread_enter &&
	    run->index->thread_enter(run->self, &err) != LDB_OK) {
		run->index->destroy(run->self);
		return found(run, "thread_enter: %s: %s", err.subject, err.value);
	}
	if (status == LDB_OK)
		return true;
	test_guarded_free(&run->keys);
	return (status == LDB_OOM && run->may_refuse)
		       ? false
		       : found(run, "build: status %d: %s: %s", status, err.subject, err.value);
}

/* Destroys the index; passes on whether all was good until now. */
static bool finish(test_run *run, bool good)
{
	const size_t foreign = ldb_alloc_foreign();
	if (run->index->thread_leave)
		run->index->thread_leave(run->self);
	run->index->destroy(run->self);
	test_guarded_free(&run->keys);
	if (good && ldb_alloc_held() != run->held_before)
		return found(run, "destroy left %zu bytes", ldb_alloc_held() - run->held_before);
	if (good && foreign != SIZE_MAX && foreign > run->foreign_before + SLACK_BYTES)
		return found(run, "%zu bytes are not from ldb_alloc",
			     foreign - run->foreign_before);
	return good;
}

/* A batch's length: mostly a few, now and then as many as the harness hands over. */
static size_t batch_length(ldb_rng *rng, size_t left)
{
	const uint64_t dice = ldb_rng_below(rng, 16);
	const size_t length = dice == 0  ? MAX_BATCH
			      : dice < 8 ? ldb_rng_below(rng, 8)
					 : ldb_rng_below(rng, 200);
	return length < left ? length : left;
}

/* Streams so many operations, and looks at the whole index after every so many. */
static bool run_stream(test_run *run, stream *s, size_t ops, size_t check_every)
{
	ldb_op batch[MAX_BATCH];
	size_t unchecked = 0;
	for (size_t made = 0; made < ops;) {
		const size_t count = batch_length(&s->rng, ops - made);
		for (size_t i = 0; i < count; i++)
			batch[i] = next_op(s);
		if (!apply_all(run, batch, count))
			return false;
		made += count;
		unchecked += count;
		if (unchecked < check_every && made < ops)
			continue;
		unchecked = 0;
		/* With work going on behind, then with none. */
		if (!check_reads(run, &s->rng) || !check_settled(run, &s->rng))
			return false;
	}
	return true;
}

/* Builds from a share of the keys of a kind, streams, checks as it goes, destroys. */
static bool check_stream(test_run *run, int kind, size_t n, double share, op_pattern pattern,
			 size_t ops, size_t check_every)
{
	test_model m = test_model_make(kind, n);
	preload(&m, pattern, share);
	snprintf(run->what, sizeof run->what, "%s; %s, %zu of %zu at first", pattern_names[pattern],
		 test_kind_names[kind], m.count, m.n);
	bool good = begin(run, &m);
	if (good) {
		stream s = make_stream(&m, run->index, pattern);
		good = check_settled(run, &s.rng) && run_stream(run, &s, ops, check_every);
		good = finish(run, good);
	}
	test_model_free(&m);
	return good || !*run->fault;
}

/* --- memory that runs out ----------------------------------------------------------------------
 */

enum { REFUSAL_KEYS = 700, REFUSAL_OPS = 1600 };

/* Applies the stream with the nth allocation from its start refused; *reached: there was one. */
static bool stream_with_refusal(test_run *run, stream *s, uint64_t nth, bool *reached)
{
	ldb_op batch[MAX_BATCH];
	size_t stops = 0;
	const uint64_t last = ldb_alloc_calls() + nth;
	ldb_alloc_fail_at(nth);
	for (size_t made = 0; made < REFUSAL_OPS;) {
		size_t count = batch_length(&s->rng, REFUSAL_OPS - made);
		for (size_t i = 0; i < count; i++)
			batch[i] = next_op(s);
		made += count;
		for (size_t first = 0, done; first < count; first += done) {
			ldb_error err = {0};
			if (!apply_some(run, batch + first, count - first, &done, &err))
				return false;
			if (first + done == count)
				break;
			if (!check_error(run, &err))
				return false;
			if (++stops > 1)
				return found(run, "apply stopped again: %s: %s", err.subject,
					     err.value);
			if (!check_settled(run, &s->rng))
				return false;
		}
	}
	*reached = ldb_alloc_calls() >= last;
	ldb_alloc_fail_at(0);
	return check_settled(run, &s->rng);
}

/* Refuses each allocation of a stream in turn; of very many, the first ones and some later. */
static bool check_refusals(test_run *run, int kind, double share, op_pattern pattern)
{
	enum { ALL = 150 };
	bool reached = true;
	for (uint64_t nth = 1; reached; nth += nth < ALL ? 1 : nth / 16) {
		test_model m = test_model_make(kind, REFUSAL_KEYS);
		preload(&m, pattern, share);
		snprintf(run->what, sizeof run->what,
			 "%s; %s, %zu of %zu at first, allocation %llu "
			 "refused",
			 pattern_names[pattern], test_kind_names[kind], m.count, m.n,
			 (unsigned long long)nth);
		bool good = begin(run, &m);
		if (good) {
			stream s = make_stream(&m, run->index, pattern);
			good = finish(run, stream_with_refusal(run, &s, nth, &reached));
		}
		ldb_alloc_fail_at(0);
		test_model_free(&m);
		if (!good)
			return false;
	}
	return true;
}

/* No memory at all for a while: what is there can still be read, and then it goes on. */
static bool stream_without_memory(test_run *run, stream *s)
{
	bool stopped = false;
	if (run->index->settle)
		run->index->settle(run->self);
	ldb_alloc_setup(LDB_PAGES_4K, ldb_alloc_held());
	for (int i = 0; i < 400; i++) {
		ldb_op batch[8];
		ldb_error err = {0};
		size_t done;
		for (int k = 0; k < 8; k++)
			batch[k] = next_op(s);
		if (!apply_some(run, batch, 8, &done, &err))
			return false;
		if (done < 8) {
			stopped = true;
			if (batch[done].kind == LDB_GET || batch[done].kind == LDB_SCAN)
				return found(run, "a read needs memory: %s", err.subject);
			if (!check_error(run, &err) || !check_reads(run, &s->rng))
				return false;
		}
	}
	if (stopped && !check_settled(run, &s->rng))
		return false;
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	return run_stream(run, s, 3000, 500);
}

static bool check_without_memory(test_run *run, int kind, op_pattern pattern)
{
	test_model m = test_model_make(kind, 1500);
	preload(&m, pattern, 0.5);
	snprintf(run->what, sizeof run->what, "%s; %s, no memory for a while",
		 pattern_names[pattern], test_kind_names[kind]);
	bool good = begin(run, &m);
	if (good) {
		stream s = make_stream(&m, run->index, pattern);
		good = finish(run, stream_without_memory(run, &s));
	}
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	test_model_free(&m);
	return good;
}

/* Full and empty again, many times: what is held when full must not grow. */
static bool check_space(test_run *run, int kind, op_pattern pattern)
{
	enum { ROUNDS = 12, KEYS = 4000 };
	test_model m = test_model_make(kind, KEYS);
	preload(&m, pattern, 1);
	snprintf(run->what, sizeof run->what, "%s; %s, filled and drained", pattern_names[pattern],
		 test_kind_names[kind]);
	bool good = begin(run, &m);
	size_t first = 0;
	if (good) {
		stream s = make_stream(&m, run->index, pattern);
		for (int round = 0; good && round < ROUNDS; round++) {
			for (size_t i = 0; good && i < 2 * m.n; i++) {
				const bool deleting = s.deleting;
				ldb_op op = write_op(&s, deleting, next_of_sweep(&s));
				good = apply_all(run, &op, 1);
			}
			good = good && check_settled(run, &s.rng);
			const size_t bytes = run->index->bytes(run->self);
			if (round == 1)
				first = bytes;
			if (good && round > 1 && bytes > first + first / 2 + SLACK_BYTES)
				good = found(run, "%zu bytes when full, %zu some rounds later",
					     first, bytes);
		}
		good = finish(run, good);
	}
	test_model_free(&m);
	return good;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void set_defaults(test_run *run)
{
	for (size_t i = 0; i < test_param_count(run->index); i++)
		run->values[i] = run->index->params[i].def;
}

/* The index of a plug-in's test, or an end of the test that says why there is none. */
static test_run start(void **state)
{
	const test_plugin *plugin = *state;
	test_run run = {.index = plugin->index};
	ldb_alloc_setup(LDB_PAGES_4K, 0); /* whatever a test that failed left set */
	if (test_param_count(run.index) > MAX_PARAMS)
		fail_msg("more than %d parameters", MAX_PARAMS);
	set_defaults(&run);
	return run;
}

/* From nothing, one key, two, ...: all is looked at after each batch. */
static void test_small(void **state)
{
	test_run run = start(state);
	static const size_t sizes[] = {1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 70, 150};
	static const int kinds[] = {TEST_UNIFORM, TEST_DENSE_TOP, TEST_ENDS_ONCE, TEST_POWERS};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		for (int p = 0; p < 4 * PATTERN_COUNT; p++) {
			const double share = (p + (int)i) % 3 * 0.5;
			if (!check_stream(&run, kinds[p / PATTERN_COUNT], sizes[i], share,
					  (op_pattern)(p % PATTERN_COUNT), 400, 1))
				fail_msg("%s", run.fault);
		}
	}
}

/* The patterns over all kinds of keys; where streams are long, each pattern over some of them. */
static void test_streams(void **state)
{
	test_run run = start(state);
	const bool is_long = stream_ops > 100000;
	for (int p = 0; p < PATTERN_COUNT; p++) {
		for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
			const double share = (p + kind) % 3 * 0.5;
			if (is_long && (p + kind) % 6)
				continue;
			if (!check_stream(&run, kind, stream_ops / 3, share, (op_pattern)p,
					  stream_ops, stream_ops / 16))
				fail_msg("%s", run.fault);
		}
	}
}

static void test_parameters(void **state)
{
	test_run run = start(state);
	const ldb_param *params = run.index->params;
	run.may_refuse = true;
	ldb_alloc_setup(LDB_PAGES_4K, (size_t)64 << 20);
	for (size_t p = 0; p < test_param_count(run.index); p++) {
		set_defaults(&run);
		for (int v = 0; v < test_value_count(&params[p]); v++) {
			run.values[p] = test_nth_value(&params[p], v);
			if (!check_stream(&run, TEST_UNIFORM, 2000, v % 3 * 0.5, RANDOM, 6000,
					  1000) ||
			    !check_stream(&run, TEST_POWERS, 2000, 0, ASCENDING, 6000, 1000))
				fail_msg("%s", run.fault);
		}
	}
	ldb_alloc_setup(LDB_PAGES_4K, 0);
}

static void test_refusals(void **state)
{
	test_run run = start(state);
	if (!check_refusals(&run, TEST_UNIFORM, 0, RANDOM) ||
	    !check_refusals(&run, TEST_POWERS, 0.5, RANDOM) ||
	    !check_refusals(&run, TEST_UNIFORM, 0.5, ASCENDING) ||
	    !check_refusals(&run, TEST_WIDE, 1, SCATTERED) ||
	    !check_without_memory(&run, TEST_UNIFORM, RANDOM) ||
	    !check_without_memory(&run, TEST_DENSE, ASCENDING))
		fail_msg("%s", run.fault);
}

static void test_space(void **state)
{
	test_run run = start(state);
	if (!check_space(&run, TEST_UNIFORM, SCATTERED) ||
	    !check_space(&run, TEST_POWERS, ASCENDING) ||
	    !check_space(&run, TEST_UNIFORM, DESCENDING))
		fail_msg("%s", run.fault);
}

/* --- planted faults ----------------------------------------------------------------------------
 */

/* A right index, a sorted array, made wrong in one way at a time. */
enum {
	RIGHT,
	PUT_KEEPS_OLD,     /* a second PUT does nothing */
	PUT_TWICE,         /* a second PUT adds the key again */
	PUT_ANSWERS,       /* and tells whether the key was there */
	DELETE_NEXT,       /* of an absent key: the next one goes */
	DELETE_FIRST_KEPT, /* the least key stays */
	GET_LOWER_BOUND,   /* of an absent key: the next one's value */
	SCAN_SHORT,        /* one key fewer */
	SCAN_AFTER,        /* a present key is left out */
	SCAN_ZERO,         /* length 0 counts one */
	LOOKUP_STALE,      /* as things were when built */
	BATCH_STALE,
	CHASE_STALE,
	MAX_LOST,         /* UINT64_MAX can't be put */
	SIGNED,           /* compares as signed numbers */
	ZERO_VALUE_LOST,  /* a value of 0 is taken for none */
	LYING_BYTES,      /* does not count what it grew by */
	INVALID,          /* after many operations */
	LEAK,             /* what it had before it grew */
	FOREIGN,          /* takes memory from malloc */
	GROWS,            /* ever, while keys come and go */
	STOPS,            /* for no reason */
	REFUSED_WORKS,    /* an operation that is said to have failed was done */
	REFUSED_SILENT,   /* done without effect, and said to be done */
	REFUSED_NO_ERROR, /* fewer done and no error */
	REFUSED_FOR_GOOD, /* stops at every operation from then on */
	READ_ALLOCATES,   /* GET needs memory */
	FAULT_COUNT,
};
static int planted;
static struct {
	void *p;
	size_t bytes;
} leaked[64];
static size_t leaks; /* freed by the test itself, for the leak sanitizer */

typedef struct {
	ldb_key key;
	ldb_val value;
} liar_entry;

typedef struct {
	liar_entry *entry;
	size_t n, room, built_room, extra;
	const ldb_key *built;
	size_t built_n;
	uint64_t changes;
	bool refused;
	void *foreign, *grown[4096];
	size_t growths;
} liar;

static bool liar_less(ldb_key a, ldb_key b)
{
	return planted == SIGNED ? (int64_t)a < (int64_t)b : a < b;
}

static size_t liar_rank(const liar *self, ldb_key q)
{
	size_t lo = 0, hi = self->n;
	while (lo < hi) {
		const size_t mid = (lo + hi) / 2;
		if (liar_less(self->entry[mid].key, q))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static ldb_val liar_find(const liar *self, ldb_key q)
{
	const size_t rank = liar_rank(self, q);
	return rank < self->n ? self->entry[rank].value : LDB_NONE;
}

static void liar_lookup_or(const liar *self, bool stale, const ldb_key *q, size_t n, ldb_val *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = stale ? test_lower_bound(self->built, self->built_n, q[i])
			       : liar_find(self, q[i]);
}

static void liar_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup_or(self, planted == LOOKUP_STALE, q, n, out);
}

static void liar_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup_or(self, planted == BATCH_STALE, q, n, out);
}

static void liar_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = q[i] + ldb_chain_step(carry);
		liar_lookup_or(self, planted == CHASE_STALE, &key, 1, &out[i]);
		carry = out[i];
	}
}

static bool liar_grow(liar *self)
{
	const size_t room = 2 * self->room;
	liar_entry *entry = ldb_alloc(room * sizeof *entry);
	if (!entry)
		return false;
	memcpy(entry, self->entry, self->n * sizeof *entry);
	if (planted == LEAK) {
		leaked[leaks].p = self->entry;
		leaked[leaks++].bytes = self->room * sizeof *entry;
	} else {
		ldb_free(self->entry, self->room * sizeof *entry);
	}
	self->entry = entry;
	self->room = room;
	if (planted == FOREIGN) {
		free(self->foreign);
		self->foreign = malloc(room * 256);
	}
	return true;
}

static void liar_insert(liar *self, size_t rank, ldb_key key, ldb_val value)
{
	memmove(self->entry + rank + 1, self->entry + rank, (self->n - rank) * sizeof *self->entry);
	self->entry[rank] = (liar_entry){key, value};
	self->n++;
	if (planted == GROWS && self->growths < 4096 && self->changes % 8 == 0) {
		self->grown[self->growths] = ldb_alloc(1000);
		self->growths++;
	}
}

/* False when there is no memory. */
static bool liar_put(liar *self, ldb_key key, ldb_val value, ldb_val *out)
{
	const size_t rank = liar_rank(self, key);
	const bool there = rank < self->n && self->entry[rank].key == key;
	*out = planted == PUT_ANSWERS ? there : 0;
	if (planted == MAX_LOST && key == LDB_KEY_MAX)
		return true;
	if (there && planted != PUT_TWICE) {
		if (planted != PUT_KEEPS_OLD)
			self->entry[rank].value = value;
		return true;
	}
	if (self->n == self->room && !liar_grow(self)) {
		self->refused = true;
		if (planted == REFUSED_SILENT)
			return true;
		if (planted == REFUSED_WORKS && self->n)
			self->entry[rank < self->n ? rank : 0].value = value;
		return false;
	}
	liar_insert(self, rank, key, value);
	return true;
}

static void liar_delete(liar *self, ldb_key key)
{
	const size_t rank = liar_rank(self, key);
	const bool there = rank < self->n && self->entry[rank].key == key;
	if (planted == DELETE_FIRST_KEPT && rank == 0)
		return;
	if (!there && !(planted == DELETE_NEXT && rank < self->n))
		return;
	self->n--;
	memmove(self->entry + rank, self->entry + rank + 1, (self->n - rank) * sizeof *self->entry);
}

static ldb_val liar_scan(const liar *self, ldb_key key, uint32_t length)
{
	ldb_val sum = 0;
	size_t rank = liar_rank(self, key);
	if (planted == SCAN_AFTER && rank < self->n && self->entry[rank].key == key)
		rank++;
	if (planted == SCAN_SHORT && length > 0)
		length--;
	if (planted == SCAN_ZERO && length == 0)
		length = 1;
	for (uint32_t i = 0; i < length && rank < self->n; i++)
		sum += self->entry[rank++].value;
	return sum;
}

static ldb_val liar_get(const liar *self, ldb_key key)
{
	const size_t rank = liar_rank(self, key);
	if (rank == self->n || (self->entry[rank].key != key && planted != GET_LOWER_BOUND))
		return LDB_NONE;
	const ldb_val value = self->entry[rank].value;
	return planted == ZERO_VALUE_LOST && value == 0 ? LDB_NONE : value;
}

/* False when it could not be done. */
static bool liar_do(liar *self, const ldb_op *op, ldb_val *out)
{
	self->changes++;
	*out = 0;
	if ((planted == STOPS && self->changes % 5000 == 0) ||
	    (planted == REFUSED_FOR_GOOD && self->refused))
		return false;
	switch (op->kind) {
	case LDB_GET:
		*out = liar_get(self, op->key);
		if (planted == READ_ALLOCATES) {
			void *p = ldb_alloc(100);
			ldb_free(p, 100);
			return p != NULL;
		}
		return true;
	case LDB_PUT:
		return liar_put(self, op->key, op->value, out);
	case LDB_DELETE:
		liar_delete(self, op->key);
		return true;
	default:
		*out = liar_scan(self, op->key, op->length);
		return true;
	}
}

static size_t liar_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n; i++) {
		if (liar_do(self, &ops[i], &out[i]))
			continue;
		if (planted != REFUSED_NO_ERROR)
			ldb_fail_oom(err, "liar", 1);
		return i;
	}
	return n;
}

static ldb_status liar_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	(void)values;
	liar *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "liar", sizeof *index);
	*index = (liar){.n = n, .room = n + 8, .built = keys, .built_n = n, .built_room = n + 8};
	index->entry = ldb_alloc(index->room * sizeof *index->entry);
	if (!index->entry) {
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "liar", n);
	}
	for (size_t i = 0; i < n; i++)
		index->entry[i] = (liar_entry){keys[i], i};
	*self = index;
	return LDB_OK;
}

static void liar_destroy(void *self)
{
	liar *index = self;
	for (size_t i = 0; i < index->growths; i++)
		ldb_free(index->grown[i], 1000);
	free(index->foreign);
	ldb_free(index->entry, index->room * sizeof *index->entry);
	ldb_free(index, sizeof *index);
}

static size_t liar_bytes(const void *self)
{
	const liar *index = self;
	const size_t room = planted == LYING_BYTES ? index->built_room : index->room;
	return sizeof *index + room * sizeof *index->entry + index->growths * 1000;
}

static ldb_status liar_validate(const void *self, ldb_error *err)
{
	const liar *index = self;
	if (planted == INVALID && index->changes > 3000)
		return ldb_fail(err, LDB_INVALID, "none", "liar", "as planted");
	return LDB_OK;
}

static const ldb_index liar_table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "liar",
	.summary = "wrong in one way at a time",
	.origin = "this test",
	.flags = LDB_ORDERED,
	.peak_bytes_per_key = 1,
	.build = liar_build,
	.destroy = liar_destroy,
	.bytes = liar_bytes,
	.validate = liar_validate,
	.lookup = liar_lookup,
	.chase = liar_chase,
	.lookup_batch = liar_lookup_batch,
	.apply = liar_apply,
};

/* Is nothing found in the liar, by the checks that each plug-in passes? */
static bool liar_passes(void)
{
	test_run run = {.index = &liar_table};
	return check_stream(&run, TEST_ENDS_ONCE, 100, 0.5, RANDOM, 1000, 1) &&
	       check_stream(&run, TEST_ENDS_ONCE, 3000, 0.5, RANDOM, 10000, 1000) &&
	       check_stream(&run, TEST_DENSE, 3000, 0, ASCENDING, 10000, 1000) &&
	       check_refusals(&run, TEST_UNIFORM, 0, RANDOM) &&
	       check_without_memory(&run, TEST_UNIFORM, RANDOM) &&
	       check_space(&run, TEST_UNIFORM, SCATTERED);
}

static void test_planted_faults(void **state)
{
	(void)state;
	for (planted = RIGHT; planted < FAULT_COUNT; planted++) {
		if (planted == FOREIGN && ldb_alloc_foreign() == SIZE_MAX)
			continue; /* can't be seen in this build */
		ldb_alloc_setup(LDB_PAGES_4K, 0);
		const bool good = liar_passes();
		while (leaks)
			leaks--, ldb_free(leaked[leaks].p, leaked[leaks].bytes);
		if (good != (planted == RIGHT))
			fail_msg("planted fault %d is %s", planted, good ? "not found" : "none");
	}
	planted = RIGHT;
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
} aspects[] = {
	{"small", test_small},       {"streams", test_streams}, {"parameters", test_parameters},
	{"refusals", test_refusals}, {"space", test_space},
};
enum { ASPECT_COUNT = sizeof aspects / sizeof *aspects };

int main(int argc, char **argv)
{
	size_t plugin_count, count = 0;
	test_plugin *plugins = test_plugins(&plugin_count);
	if (getenv("LDB_TEST_OPS"))
		stream_ops = strtoull(getenv("LDB_TEST_OPS"), NULL, 10);
	if (getenv("LDB_TEST_SEED"))
		seed = strtoull(getenv("LDB_TEST_SEED"), NULL, 10);
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	struct CMUnitTest *tests = calloc(plugin_count * ASPECT_COUNT + 1, sizeof *tests);
	char(*names)[96] = calloc(plugin_count * ASPECT_COUNT + 1, sizeof *names);
	if (!plugins || !tests || !names || stream_ops < 100) {
		fprintf(stderr, "test_updates: no memory, or LDB_TEST_OPS is less than 100\n");
		return 1;
	}
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_planted_faults);
	for (size_t p = 0; p < plugin_count; p++) {
		/* That a plug-in can be loaded at all is test_indexes' concern. */
		if (!plugins[p].index || !plugins[p].index->apply)
			continue;
		for (size_t a = 0; a < ASPECT_COUNT; a++) {
			snprintf(names[count], sizeof *names, "%s: %s", plugins[p].label,
				 aspects[a].name);
			tests[count] = (struct CMUnitTest){.name = names[count],
							   .test_func = aspects[a].run,
							   .initial_state = &plugins[p]};
			count++;
		}
	}
	int failed = _cmocka_run_group_tests("updates", tests, count, NULL, NULL);
	free(names);
	free(tests);
	free(plugins);
	return failed;
}
