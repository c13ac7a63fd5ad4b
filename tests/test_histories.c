/*
 * Histories of updatable indexes that several threads use at once (LDB_CONCURRENT): is each key's a
 * linearizable register? At every level that the processor can run; `make check-tsan` runs it under
 * ThreadSanitizer.
 *
 *   test_histories [PATTERN]   PATTERN selects tests by name: 'btree_olc.v4*'
 *   LDB_TEST_OPS=1000000       operations of each thread, else 50,000
 *
 * Each key is written by one thread, which numbers its writes: versions. A value tells key and
 * version. When a thread starts a write it says so, and when the write has ended it raises the
 * key's floor: no read that begins from then on may see less. A read must give a version from the
 * floor before it began to the last one started before it ended, and raises the floor itself: so no
 * later read may go back behind it. With one writer for each key that is all of linearizability.
 * What a version does, put or delete, follows from its number, so absent answers are checked alike.
 *
 * Some keys are never written. They bound what a lower bound may skip, and a range of them has sums
 * that every scan must give, while all around them comes and goes.
 *
 * A check leaves its finding in the arena and only the tests themselves fail; the first tests plant
 * faults in an index and expect each to be found.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory.h"
#include "test_model.h"

enum {
	MAX_PARAMS = 32,
	THREADS = 4,
	MAX_BATCH = 16,
	QUIET = 100,      /* keys in the range that no one writes */
	STABLE_EVERY = 9, /* elsewhere one in so many */
};

static size_t thread_ops = 50000;

/* What all threads share. */
typedef struct {
	const ldb_index *index;
	void *self;
	test_model m;                 /* universe; what is there at first, and its values */
	size_t *loaded;               /* rank of the i-th key at first */
	size_t quiet;                 /* first rank of the quiet range */
	atomic_uint *started, *floor; /* versions, by rank */
	uint32_t *written;            /* by rank: the last version; each is its writer's own */
	atomic_bool stop;
	pthread_mutex_t mutex; /* guards fault */
	char fault[512];
} arena;

typedef struct {
	arena *a;
	unsigned id;
	size_t ops;
	size_t next; /* of the keys that it writes: the next one's place in its sweep */
	ldb_rng rng;
} worker;

__attribute__((format(printf, 2, 3))) static bool found(arena *a, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	pthread_mutex_lock(&a->mutex);
	if (!*a->fault)
		vsnprintf(a->fault, sizeof a->fault, format, args);
	pthread_mutex_unlock(&a->mutex);
	va_end(args);
	atomic_store(&a->stop, true);
	return false;
}

/* --- versions ----------------------------------------------------------------------------------
 */

static bool is_stable(const arena *a, size_t rank)
{
	return rank % STABLE_EVERY == 0 || (rank >= a->quiet && rank < a->quiet + QUIET);
}

/* By turns most keys go and most come back. */
static bool is_there(const arena *a, size_t rank, uint32_t version)
{
	if (version == 0)
		return test_model_has(&a->m, rank);
	return ldb_mix64(rank << 32 | version) % 8 < (version % 2 ? 2 : 6);
}

static ldb_val value_of(const arena *a, size_t rank, uint32_t version)
{
	if (!is_there(a, rank, version))
		return LDB_NONE;
	return version == 0 ? a->m.value[rank] : (ldb_val)(rank + 1) << 32 | version;
}

/* Which key and version a value is of; false: of none that ever was. */
static bool decode(const arena *a, ldb_val value, size_t *rank, uint32_t *version)
{
	*version = (uint32_t)value;
	*rank = (size_t)(value >> 32) - 1;
	if (value < a->m.count) {
		*version = 0;
		*rank = a->loaded[value];
	}
	return *rank < a->m.n && *version <= atomic_load(&a->started[*rank]) &&
	       value_of(a, *rank, *version) == value;
}

static void raise_floor(arena *a, size_t rank, uint32_t version)
{
	unsigned seen = atomic_load(&a->floor[rank]);
	while (seen < version && !atomic_compare_exchange_weak(&a->floor[rank], &seen, version))
		;
}

/* The answer to a get of a key whose floor was `floor` when it began. */
static bool check_get(arena *a, size_t rank, uint32_t floor, ldb_val value)
{
	const uint32_t started = atomic_load(&a->started[rank]);
	for (uint32_t version = floor; version <= started; version++) {
		if (value_of(a, rank, version) == value) {
			raise_floor(a, rank, version);
			return true;
		}
	}
	return found(a, "get of rank %zu: %#llx is none of the versions %u to %u", rank,
		     (unsigned long long)value, floor, started);
}

/* The lower bound of a key of the universe: some key that was there, and no stable one between. */
static bool check_lower_bound(arena *a, size_t rank, ldb_val value)
{
	size_t answer = 0, stable = rank;
	uint32_t version;
	while (stable < a->m.n && !is_stable(a, stable))
		stable++;
	if (value == LDB_NONE)
		return stable == a->m.n ||
		       found(a, "lower bound of rank %zu: none, where %zu is stable", rank, stable);
	if (!decode(a, value, &answer, &version))
		return found(a, "lower bound of rank %zu: %#llx is the value of no key", rank,
			     (unsigned long long)value);
	return (answer >= rank && answer <= stable) ||
	       found(a, "lower bound of rank %zu is said to be %zu, where %zu is stable", rank,
		     answer, stable);
}

/* --- threads -----------------------------------------------------------------------------------
 */

/* A rank that this thread writes; all of them in turn. */
static size_t next_own(worker *w)
{
	const size_t n = w->a->m.n, own = n / THREADS;
	size_t rank;
	do {
		/* The stride is prime, so it meets all. */
		rank = (w->next++ * 7919 % own) * THREADS + w->id;
	} while (is_stable(w->a, rank));
	return rank;
}

typedef struct {
	ldb_op op;
	size_t rank;
	uint32_t floor, version; /* GET: the floor before; PUT, DELETE: its own version */
	bool exact;              /* GET of an own key: it is at `version` */
} step;

static step make_write(worker *w)
{
	arena *a = w->a;
	step s = {.rank = next_own(w)};
	s.version = ++a->written[s.rank];
	atomic_store(&a->started[s.rank], s.version);
	s.op.key = a->m.keys[s.rank];
	s.op.kind = is_there(a, s.rank, s.version) ? LDB_PUT : LDB_DELETE;
	if (s.op.kind == LDB_PUT)
		s.op.value = value_of(a, s.rank, s.version);
	return s;
}

static step make_get(worker *w)
{
	arena *a = w->a;
	step s = {.rank = ldb_rng_below(&w->rng, a->m.n)};
	if (ldb_rng_below(&w->rng, 2)) /* near to where another thread writes now, or this one */
		s.rank = (w->next * 7919 % (a->m.n / THREADS)) * THREADS +
			 ldb_rng_below(&w->rng, THREADS);
	s.op = (ldb_op){.key = a->m.keys[s.rank], .kind = LDB_GET};
	s.floor = atomic_load(&a->floor[s.rank]);
	s.exact = s.rank % THREADS == w->id;
	s.version = s.exact ? a->written[s.rank] : 0;
	return s;
}

static step make_scan(worker *w)
{
	arena *a = w->a;
	step s = {.rank = ldb_rng_below(&w->rng, a->m.n)};
	s.op.kind = LDB_SCAN;
	s.op.length = 1;
	if (ldb_rng_below(&w->rng, 4)) { /* within the quiet range */
		const size_t from = ldb_rng_below(&w->rng, QUIET);
		s.rank = a->quiet + from;
		s.op.length = (uint32_t)ldb_rng_below(&w->rng, QUIET - from + 1);
	}
	s.op.key = a->m.keys[s.rank];
	return s;
}

static bool check_step(arena *a, const step *s, ldb_val answer)
{
	if (s->op.kind == LDB_PUT || s->op.kind == LDB_DELETE) {
		raise_floor(a, s->rank, s->version);
		return answer == 0 || found(a, "a write's answer is not 0");
	}
	if (s->op.kind == LDB_GET && s->exact)
		return answer == value_of(a, s->rank, s->version) ||
		       found(a, "get of rank %zu, which no one else writes: %#llx at version %u",
			     s->rank, (unsigned long long)answer, s->version);
	if (s->op.kind == LDB_GET)
		return check_get(a, s->rank, s->floor, answer);
	if (!(s->rank >= a->quiet && s->rank + s->op.length <= a->quiet + QUIET))
		return s->rank > a->m.n - STABLE_EVERY || /* 0: the sum of none */
		       check_lower_bound(a, s->rank, answer);
	return answer == test_model_scan(&a->m, s->op.key, s->op.length) ||
	       found(a, "scan of %u in the quiet range, from rank %zu: %llu is wrong", s->op.length,
		     s->rank, (unsigned long long)answer);
}

static bool do_batch(worker *w, size_t count)
{
	arena *a = w->a;
	step steps[MAX_BATCH];
	ldb_op ops[MAX_BATCH];
	ldb_val out[MAX_BATCH];
	ldb_error err = {0};
	for (size_t i = 0; i < count; i++) {
		const uint64_t dice = ldb_rng_below(&w->rng, 8);
		steps[i] = dice < 4 ? make_write(w) : dice < 7 ? make_get(w) : make_scan(w);
		ops[i] = steps[i].op;
	}
	if (a->index->apply(a->self, ops, count, out, &err) != count)
		return found(a, "apply stopped: %s: %s", err.subject, err.value);
	for (size_t i = 0; i < count; i++) {
		if (!check_step(a, &steps[i], out[i]))
			return false;
	}
	return true;
}

/* Lower bounds by the read entry points, or gets where the index is not ordered. */
static bool do_reads(worker *w)
{
	arena *a = w->a;
	const ldb_index *index = a->index;
	ldb_key q[MAX_BATCH];
	ldb_val out[MAX_BATCH];
	size_t rank[MAX_BATCH];
	uint32_t floor[MAX_BATCH];
	const bool batch = index->lookup_batch && ldb_rng_below(&w->rng, 2);
	for (size_t i = 0; i < MAX_BATCH; i++) {
		rank[i] = ldb_rng_below(&w->rng, a->m.n);
		q[i] = a->m.keys[rank[i]];
		floor[i] = atomic_load(&a->floor[rank[i]]);
	}
	(batch ? index->lookup_batch : index->lookup)(a->self, q, MAX_BATCH, out);
	for (size_t i = 0; i < MAX_BATCH; i++) {
		if (!(index->flags & LDB_ORDERED ? check_lower_bound(a, rank[i], out[i])
						 : check_get(a, rank[i], floor[i], out[i])))
			return false;
	}
	return true;
}

static void *work(void *arg)
{
	worker *w = arg;
	arena *a = w->a;
	ldb_error err = {0};
	if (a->index->thread_enter && a->index->thread_enter(a->self, &err) != LDB_OK) {
		found(a, "thread_enter: %s: %s", err.subject, err.value);
		return NULL;
	}
	for (size_t done = 0; done < w->ops && !atomic_load(&a->stop);) {
		const size_t count = 1 + ldb_rng_below(&w->rng, MAX_BATCH);
		if (!(ldb_rng_below(&w->rng, 8) ? do_batch(w, count) : do_reads(w)))
			break;
		done += count;
	}
	if (a->index->thread_leave)
		a->index->thread_leave(a->self);
	return NULL;
}

/* --- a whole history ---------------------------------------------------------------------------
 */

static arena make_arena(const ldb_index *index, int kind, size_t n)
{
	arena a = {.index = index, .m = test_model_make(kind, n)};
	pthread_mutex_init(&a.mutex, NULL);
	a.m.n -= a.m.n % THREADS;
	a.quiet = a.m.n / 2;
	a.loaded = calloc(a.m.n, sizeof *a.loaded);
	a.started = calloc(a.m.n, sizeof *a.started);
	a.floor = calloc(a.m.n, sizeof *a.floor);
	a.written = calloc(a.m.n, sizeof *a.written);
	assert_true(a.loaded && a.started && a.floor && a.written);
	assert_true(a.m.n >= 4 * QUIET);
	for (size_t rank = 0; rank < a.m.n; rank++)
		test_model_set(&a.m, rank, is_stable(&a, rank) || ldb_mix64(rank) % 2);
	for (size_t rank = 0, i = 0; rank < a.m.n; rank++) {
		if (test_model_has(&a.m, rank))
			a.loaded[i++] = rank;
	}
	return a;
}

static void free_arena(arena *a)
{
	test_model_free(&a->m);
	free(a->loaded);
	free(a->started);
	free(a->floor);
	free(a->written);
	pthread_mutex_destroy(&a->mutex);
}

/* Nothing lost, nothing left over, when all is quiet. */
static bool check_end(arena *a, size_t held_before)
{
	const ldb_index *index = a->index;
	ldb_error err = {0};
	if (index->settle)
		index->settle(a->self);
	if (index->validate(a->self, &err) != LDB_OK)
		return found(a, "validate: %s: %s", err.subject, err.value);
	if (index->bytes(a->self) != ldb_alloc_held() - held_before)
		return found(a, "claims %zu bytes, the allocator counts %zu", index->bytes(a->self),
			     ldb_alloc_held() - held_before);
	ldb_val all = 0, out;
	for (size_t rank = 0; rank < a->m.n; rank++) {
		const ldb_op op = {.key = a->m.keys[rank], .kind = LDB_GET};
		const ldb_val expected = value_of(a, rank, a->written[rank]);
		if (index->apply(a->self, &op, 1, &out, &err) != 1 || out != expected)
			return found(a, "at the end rank %zu has %#llx where %#llx is right", rank,
				     (unsigned long long)out, (unsigned long long)expected);
		all += expected == LDB_NONE ? 0 : expected;
	}
	const ldb_op scan = {.kind = LDB_SCAN, .length = (uint32_t)a->m.n + 1};
	if (index->flags & LDB_ORDERED &&
	    (index->apply(a->self, &scan, 1, &out, &err) != 1 || out != all))
		return found(a, "at the end a scan of all keys gives a wrong sum");
	return true;
}

static bool run_threads(arena *a, size_t ops)
{
	pthread_t threads[THREADS];
	worker workers[THREADS];
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (worker){.a = a, .id = i, .ops = ops};
		ldb_rng_seed(&workers[i].rng, i);
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return !*a->fault;
}

/* Builds, lets the threads loose, checks what is left; the fault found is copied to `fault`. */
static bool check_history(const ldb_index *index, const double *values, int kind, size_t n,
			  size_t ops, char *fault)
{
	arena a = make_arena(index, kind, n);
	ldb_error err = {0};
	ldb_key *keys = calloc(a.m.n, sizeof *keys);
	assert_non_null(keys);
	const size_t held = ldb_alloc_held(), count = test_model_load(&a.m, keys);
	if (index->build(&a.self, keys, count, values, &err) != LDB_OK) {
		found(&a, "build: %s: %s", err.subject, err.value);
	} else {
		bool good = run_threads(&a, ops);
		if (index->thread_enter && index->thread_enter(a.self, &err) != LDB_OK)
			good = found(&a, "thread_enter: %s: %s", err.subject, err.value);
		good = good && check_end(&a, held);
		if (index->thread_leave)
			index->thread_leave(a.self);
		index->destroy(a.self);
		if (good && ldb_alloc_held() != held)
			found(&a, "destroy left %zu bytes", ldb_alloc_held() - held);
	}
	snprintf(fault, 1024, "%s (%s, %zu keys): %s", index->name, test_kind_names[kind], a.m.n,
		 a.fault);
	const bool good = !*a.fault;
	free(keys);
	free_arena(&a);
	return good;
}

/* --- tests -------------------------------------------------------------------------------------
 */

static void test_threads(void **state)
{
	const test_plugin *plugin = *state;
	const ldb_index *index = plugin->index;
	double values[MAX_PARAMS];
	char fault[1024];
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	for (size_t i = 0; i < test_param_count(index); i++)
		values[i] = index->params[i].def;
	/* Few keys: all threads meet in the same nodes, which come and go. */
	if (!check_history(index, values, TEST_UNIFORM, 500, thread_ops, fault) ||
	    !check_history(index, values, TEST_DENSE, 500, thread_ops, fault) ||
	    !check_history(index, values, TEST_UNIFORM, 4000, thread_ops, fault) ||
	    !check_history(index, values, TEST_PAIRS, 30000, thread_ops, fault))
		fail_msg("%s", fault);
}

/* --- planted faults ----------------------------------------------------------------------------
 */

/* A right index under one mutex, made wrong in one way at a time. */
enum {
	RIGHT,
	OLD_READ,  /* now and then a read gives the value before the last */
	LOST_PUT,  /* now and then a PUT is left out */
	LATE_PUT,  /* a PUT is seen from the thread's next call on */
	GHOST,     /* a deleted key is still seen, now and then */
	WRONG_KEY, /* a lower bound skips a key, now and then */
	TORN_SCAN, /* a scan leaves out a key, now and then */
	FAULT_COUNT,
};
static int planted;

enum { LIAR_MOST = 1024 };
typedef struct {
	pthread_mutex_t mutex;
	size_t n;
	ldb_key key[LIAR_MOST]; /* all that ever were there: sorted */
	ldb_val value[LIAR_MOST], before[LIAR_MOST];
	uint64_t calls;
} liar;

static _Thread_local ldb_op late; /* length 1: there is one */

static size_t liar_rank(const liar *self, ldb_key q)
{
	const ldb_val rank = test_lower_bound(self->key, self->n, q);
	return rank == LDB_NONE ? self->n : rank;
}

static bool now_and_then(liar *self)
{
	return ++self->calls % 97 == 0;
}

static void liar_set(liar *self, ldb_key key, ldb_val value)
{
	const size_t rank = liar_rank(self, key);
	if (rank == self->n || self->key[rank] != key) {
		memmove(self->key + rank + 1, self->key + rank, (self->n - rank) * sizeof key);
		memmove(self->value + rank + 1, self->value + rank,
			(self->n - rank) * sizeof value);
		memmove(self->before + rank + 1, self->before + rank,
			(self->n - rank) * sizeof value);
		self->n++;
		self->key[rank] = key;
		self->value[rank] = LDB_NONE;
	}
	self->before[rank] = self->value[rank];
	self->value[rank] = value;
}

static ldb_val liar_get(liar *self, ldb_key key)
{
	const size_t rank = liar_rank(self, key);
	if (rank == self->n || self->key[rank] != key)
		return LDB_NONE;
	const bool ghost = planted == GHOST && self->value[rank] == LDB_NONE;
	return (planted == OLD_READ || ghost) && now_and_then(self) ? self->before[rank]
								    : self->value[rank];
}

static ldb_val liar_scan(liar *self, ldb_key key, uint32_t length)
{
	ldb_val sum = 0;
	for (size_t rank = liar_rank(self, key); length && rank < self->n; rank++) {
		if (self->value[rank] == LDB_NONE)
			continue;
		sum += planted == TORN_SCAN && now_and_then(self) ? 0 : self->value[rank];
		length--;
	}
	return sum;
}

static ldb_val liar_do(liar *self, const ldb_op *op)
{
	if (op->kind == LDB_GET)
		return liar_get(self, op->key);
	if (op->kind == LDB_SCAN)
		return liar_scan(self, op->key, op->length);
	if (op->kind == LDB_PUT && planted == LOST_PUT && now_and_then(self))
		return 0;
	if (op->kind == LDB_PUT && planted == LATE_PUT && !late.length) {
		late = *op;
		late.length = 1;
		return 0;
	}
	liar_set(self, op->key, op->kind == LDB_PUT ? op->value : LDB_NONE);
	return 0;
}

static size_t liar_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	liar *index = self;
	(void)err;
	pthread_mutex_lock(&index->mutex);
	if (late.length)
		liar_set(index, late.key, late.value);
	late.length = 0;
	for (size_t i = 0; i < n; i++)
		out[i] = liar_do(index, &ops[i]);
	pthread_mutex_unlock(&index->mutex);
	return n;
}

static void liar_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar *index = (liar *)(uintptr_t)self;
	pthread_mutex_lock(&index->mutex);
	for (size_t i = 0; i < n; i++) {
		size_t rank =
			liar_rank(index, q[i]) + (planted == WRONG_KEY && now_and_then(index));
		while (rank < index->n && index->value[rank] == LDB_NONE)
			rank++;
		out[i] = rank < index->n ? index->value[rank] : LDB_NONE;
	}
	pthread_mutex_unlock(&index->mutex);
}

static ldb_status liar_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	(void)values;
	liar *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "liar", sizeof *index);
	memset(index, 0, sizeof *index);
	pthread_mutex_init(&index->mutex, NULL);
	index->n = n;
	for (size_t i = 0; i < n; i++) {
		index->key[i] = keys[i];
		index->value[i] = index->before[i] = i;
	}
	*self = index;
	return LDB_OK;
}

static void liar_destroy(void *self)
{
	late.length = 0;
	pthread_mutex_destroy(&((liar *)self)->mutex);
	ldb_free(self, sizeof(liar));
}

static size_t liar_bytes(const void *self)
{
	(void)self;
	return sizeof(liar);
}

static ldb_status liar_validate(const void *self, ldb_error *err)
{
	(void)self, (void)err;
	return LDB_OK;
}

static const ldb_index liar_table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "liar",
	.flags = LDB_ORDERED | LDB_CONCURRENT,
	.build = liar_build,
	.destroy = liar_destroy,
	.bytes = liar_bytes,
	.validate = liar_validate,
	.lookup = liar_lookup,
	.apply = liar_apply,
};

static void test_planted_faults(void **state)
{
	(void)state;
	for (planted = RIGHT; planted < FAULT_COUNT; planted++) {
		char fault[1024];
		const bool good =
			check_history(&liar_table, NULL, TEST_UNIFORM, LIAR_MOST, 20000, fault);
		if (good != (planted == RIGHT))
			fail_msg("planted fault %d: %s", planted, good ? "not found" : fault);
	}
	planted = RIGHT;
}

int main(int argc, char **argv)
{
	size_t plugin_count, count = 0;
	test_plugin *plugins = test_plugins(&plugin_count);
	if (getenv("LDB_TEST_OPS"))
		thread_ops = strtoull(getenv("LDB_TEST_OPS"), NULL, 10);
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	struct CMUnitTest *tests = calloc(plugin_count + 1, sizeof *tests);
	if (!plugins || !tests)
		return 1;
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_planted_faults);
	for (size_t p = 0; p < plugin_count; p++) {
		if (plugins[p].index && plugins[p].index->flags & LDB_CONCURRENT)
			tests[count++] = (struct CMUnitTest){.name = plugins[p].label,
							     .test_func = test_threads,
							     .initial_state = &plugins[p]};
	}
	int failed = _cmocka_run_group_tests("histories", tests, count, NULL, NULL);
	free(tests);
	free(plugins);
	return failed;
}
