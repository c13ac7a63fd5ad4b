/*
 * delta_rmi, beyond what every updatable index is tested for: the background thread stopped dead
 * at each allocation of a merge, while others read and write; the index destroyed there; merges
 * that fail; readers that must never see a value older than one they have seen; memory after a
 * churn of many times the size; deltas by themselves.
 *
 * The plug-in's sources are compiled into this test, with an allocator that can stop or fail the
 * background thread alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "memory.h"
#include "test_model.h"

static void *hooked_alloc(size_t bytes);
#define ldb_alloc hooked_alloc
#include "../indexes/delta_rmi/background.c"
#include "../indexes/delta_rmi/delta.c"
#include "../indexes/delta_rmi/delta_rmi.c"
#include "../indexes/delta_rmi/directory.c"
#include "../indexes/delta_rmi/merge.c"
#include "../indexes/delta_rmi/reclaim.c"
#include "../indexes/delta_rmi/run.c"
#undef ldb_alloc

/* --- the hook --------------------------------------------------------------------------------- */

typedef enum { GO, STOP, STOP_UNTIL_DESTROYED, FAIL } fate;

static struct {
	_Atomic(delta_rmi *) of; /* whose background thread is meant */
	_Atomic long countdown;  /* its allocations until then; 0: never */
	_Atomic fate fate;
	_Atomic bool stopped; /* it is */
	_Atomic bool released;
} hook;

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static void *hooked_alloc(size_t bytes)
{
	delta_rmi *of = atomic_load(&hook.of);
	if (!of || !of->started || !pthread_equal(pthread_self(), of->thread) ||
	    atomic_load(&hook.countdown) == 0 || atomic_fetch_sub(&hook.countdown, 1) != 1)
		return ldb_alloc(bytes);
	const fate what = atomic_load(&hook.fate);
	if (what == FAIL)
		return NULL;
	atomic_store(&hook.stopped, true);
	while (!atomic_load(&hook.released) &&
	       !(what == STOP_UNTIL_DESTROYED && atomic_load(&of->stop)))
		nap();
	atomic_store(&hook.stopped, false);
	return ldb_alloc(bytes);
}

static void set_hook(delta_rmi *of, fate what, long nth)
{
	atomic_store(&hook.fate, what);
	atomic_store(&hook.released, false);
	atomic_store(&hook.stopped, false);
	atomic_store(&hook.of, of);
	atomic_store(&hook.countdown, nth);
}

static void release_hook(void)
{
	atomic_store(&hook.countdown, 0);
	atomic_store(&hook.released, true);
}

/* --- an index and its model ------------------------------------------------------------------- */

typedef struct {
	delta_rmi *index;
	test_model m;
	ldb_rng rng;
	ldb_key *keys; /* that it was built from */
	size_t held_before;
} pair;

/* Every second key of the universe is there at first. */
static pair make_pair(int global, int run_length, double share, int kind, size_t n)
{
	pair p = {.m = test_model_make(kind, n), .held_before = ldb_alloc_held()};
	void *self = NULL;
	ldb_error err = {.subject = ""};
	for (size_t i = 0; i < p.m.n; i += 2)
		test_model_set(&p.m, i, true);
	p.keys = malloc((p.m.count + 1) * sizeof *p.keys);
	assert_non_null(p.keys);
	const size_t count = test_model_load(&p.m, p.keys);
	const double params[] = {global, run_length, share, 100, 2};
	assert_int_equal(delta_rmi_build(&self, p.keys, count, params, &err), LDB_OK);
	p.index = self;
	ldb_rng_seed(&p.rng, n);
	return p;
}

static void free_pair(pair *p)
{
	delta_rmi_destroy(p->index);
	set_hook(NULL, GO, 0);
	assert_int_equal(ldb_alloc_held(), p->held_before);
	test_model_free(&p->m);
	free(p->keys);
}

static void expect_valid(pair *p)
{
	ldb_error err = {.subject = ""};
	if (delta_rmi_validate(p->index, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
}

static ldb_op random_op(pair *p, size_t rank)
{
	ldb_op op = {.key = p->m.keys[rank]};
	switch (ldb_rng_below(&p->rng, 8)) {
	case 0:
	case 1:
	case 2:
		op.kind = LDB_PUT;
		op.value = ldb_rng_next(&p->rng) >> 1;
		break;
	case 3:
		op.kind = LDB_DELETE;
		break;
	case 4:
		op.kind = LDB_SCAN;
		op.length = (uint32_t)ldb_rng_below(&p->rng, 40);
		break;
	default:
		op.kind = LDB_GET;
	}
	return op;
}

/* Some operations, each checked: on ranks from..from + width of the universe. */
static void do_ops(pair *p, size_t count, size_t from, size_t width)
{
	enum { MOST = 50 };
	for (size_t done = 0; done < count;) {
		ldb_op ops[MOST];
		ldb_val out[MOST];
		ldb_error err = {.subject = ""};
		const size_t n = 1 + ldb_rng_below(&p->rng, MOST);
		for (size_t i = 0; i < n; i++)
			ops[i] = random_op(p, from + ldb_rng_below(&p->rng, width));
		assert_int_equal(delta_rmi_apply(p->index, ops, n, out, &err), n);
		for (size_t i = 0; i < n; i++)
			assert_true(out[i] == test_model_apply(&p->m, &ops[i]));
		done += n;
	}
}

static void expect_all(pair *p)
{
	for (size_t r = 0; r < p->m.n; r++) {
		ldb_val out;
		const ldb_op op = {.key = p->m.keys[r], .kind = LDB_GET};
		assert_int_equal(delta_rmi_apply(p->index, &op, 1, &out, NULL), 1);
		assert_true(out == test_model_get(&p->m, p->m.keys[r]));
		delta_rmi_lookup(p->index, &p->m.keys[r], 1, &out);
		assert_true(out == test_model_lower_bound(&p->m, p->m.keys[r]));
	}
}

/* Writes until the hook has caught the background thread; false: it never does. */
static bool write_until_stopped(pair *p, size_t from, size_t width)
{
	for (int i = 0; i < 400 && !atomic_load(&hook.stopped); i++) {
		do_ops(p, 200, from, width);
		if (i > 100)
			nap();
	}
	return atomic_load(&hook.stopped);
}

/* --- the background thread, stopped ----------------------------------------------------------- */

/* All goes on and stays right, also where many times the region's size is written to what is being
 * merged; and afterwards the thread catches up. */
static void check_stopped(int global, long nth)
{
	enum { N = 6000 };
	pair p = make_pair(global, 256, 10, nth % 2 ? TEST_UNIFORM : TEST_POWERS, N);
	set_hook(p.index, STOP, nth);
	const size_t from = p.m.n / 2, width = p.m.n / 20;
	assert_true(write_until_stopped(&p, from, width));
	do_ops(&p, 10 * width, from, width);
	do_ops(&p, 2 * p.m.n, 0, p.m.n);
	expect_valid(&p);
	expect_all(&p);
	assert_true(atomic_load(&hook.stopped));
	release_hook();
	delta_rmi_settle(p.index);
	assert_false(atomic_load(&hook.stopped));
	expect_valid(&p);
	expect_all(&p);
	assert_int_equal(delta_rmi_bytes(p.index), ldb_alloc_held() - p.held_before);
	free_pair(&p);
}

static void test_stopped(void **state)
{
	(void)state;
	for (long nth = 1; nth <= 12; nth++)
		check_stopped(0, nth);
	for (long nth = 1; nth <= 40; nth += 3)
		check_stopped(1, nth);
}

/* Other threads' reads end while the thread is stopped, and find what is there. */
static void *read_all(void *argument)
{
	pair *p = argument;
	size_t wrong = 0;
	for (size_t r = 0; r < p->m.n; r++) {
		ldb_val out;
		delta_rmi_lookup_batch(p->index, &p->m.keys[r], 1, &out);
		wrong += out != test_model_lower_bound(&p->m, p->m.keys[r]);
	}
	return (void *)(uintptr_t)wrong;
}

static void test_readers_while_stopped(void **state)
{
	(void)state;
	for (int global = 0; global < 2; global++) {
		pair p = make_pair(global, 128, 10, TEST_UNIFORM, 4000);
		set_hook(p.index, STOP, 4);
		assert_true(write_until_stopped(&p, 0, p.m.n));
		pthread_t thread[3];
		for (int t = 0; t < 3; t++)
			assert_int_equal(pthread_create(&thread[t], NULL, read_all, &p), 0);
		for (int t = 0; t < 3; t++) {
			void *wrong;
			pthread_join(thread[t], &wrong);
			assert_null(wrong);
		}
		assert_true(atomic_load(&hook.stopped));
		release_hook();
		free_pair(&p);
	}
}

static void test_destroyed_in_merge(void **state)
{
	(void)state;
	for (int global = 0; global < 2; global++) {
		for (long nth = 1; nth <= 60; nth++) {
			pair p = make_pair(global, 64, 10, TEST_UNIFORM, 3000);
			set_hook(p.index, STOP_UNTIL_DESTROYED, nth);
			assert_true(write_until_stopped(&p, 0, p.m.n));
			free_pair(&p);
		}
	}
}

/* As it comes: with regions waiting, merges under way and memory waiting to be freed. */
static void test_destroyed_at_any_time(void **state)
{
	(void)state;
	set_hook(NULL, GO, 0);
	for (size_t i = 0; i < 200; i++) {
		pair p = make_pair(i % 4 == 3, 64, 1, TEST_UNIFORM, 2000);
		do_ops(&p, 20 * i, 0, p.m.n);
		free_pair(&p);
	}
}

static bool is_frozen(delta_rmi *index)
{
	const top *t = atomic_load(&index->top);
	for (size_t i = 0; i < t->count; i++) {
		const piece *p = atomic_load(&top_pieces(t)[i]);
		for (size_t k = 0; k < p->count; k++)
			if (atomic_load(&atomic_load(&p->run[k])->region->frozen))
				return true;
	}
	return false;
}

static void test_failed_merges(void **state)
{
	(void)state;
	for (int global = 0; global < 2; global++) {
		for (long nth = 1; nth <= 40; nth++) {
			pair p = make_pair(global, 64, 10, TEST_UNIFORM, 1500);
			set_hook(p.index, FAIL, nth);
			for (int i = 0; i < 1000 && atomic_load(&hook.countdown) > 0; i++)
				do_ops(&p, 100, p.m.n / 3, p.m.n / 2);
			assert_int_equal(atomic_load(&hook.countdown), 0);
			expect_valid(&p);
			do_ops(&p, 1000, 0, p.m.n);
			delta_rmi_settle(p.index);
			assert_false(is_frozen(p.index));
			expect_valid(&p);
			expect_all(&p);
			free_pair(&p);
		}
	}
}

/* --- several threads -------------------------------------------------------------------------- */

enum { COUNTED = 64, THREADS = 3 };

/* Writers raise the values of keys of their own, and insert and delete others between them;
 * readers must never see one fall, or gone. */
typedef struct {
	delta_rmi *index;
	size_t number;
	uint64_t rounds;
	_Atomic bool *stop;
	const char *fault;
} rising;

static ldb_key counted_key(size_t i)
{
	return (ldb_key)i << 24 | 7;
}

static void *raise_values(void *argument)
{
	rising *r = argument;
	ldb_rng rng;
	ldb_rng_seed(&rng, r->number);
	for (uint64_t round = 1; round <= r->rounds; round++) {
		ldb_op ops[40];
		ldb_val out[40];
		for (size_t i = 0; i < 40; i++) {
			const size_t k =
				ldb_rng_below(&rng, COUNTED / THREADS) * THREADS + r->number;
			ops[i] = (ldb_op){.key = counted_key(k), .value = round, .kind = LDB_PUT};
			if (i % 4 == 0)
				continue;
			ops[i].key += 1 + ldb_rng_below(&rng, 1 << 12) * THREADS + r->number;
			ops[i].kind = i % 4 == 3 && round % 64 > 32 ? LDB_DELETE : LDB_PUT;
		}
		if (delta_rmi_apply(r->index, ops, 40, out, NULL) != 40)
			r->fault = "apply stopped";
	}
	return NULL;
}

static void *watch_values(void *argument)
{
	rising *r = argument;
	ldb_val seen[COUNTED] = {0};
	while (!atomic_load(r->stop)) {
		for (size_t k = 0; k < COUNTED; k++) {
			const ldb_key key = counted_key(k);
			const ldb_op op = {
				.key = key, .kind = k % 2 ? LDB_GET : LDB_SCAN, .length = 1};
			ldb_val value;
			if (k % 3 == 0)
				delta_rmi_lookup_batch(r->index, &key, 1, &value);
			else
				delta_rmi_apply(r->index, &op, 1, &value, NULL);
			if (value == LDB_NONE || value < seen[k])
				r->fault = value == LDB_NONE ? "a key was gone" : "a value fell";
			seen[k] = value;
			r->rounds++;
		}
	}
	return NULL;
}

static void check_rising(int global, uint64_t rounds)
{
	ldb_key keys[COUNTED];
	void *self = NULL;
	_Atomic bool stop = false;
	pthread_t thread[2 * THREADS];
	rising r[2 * THREADS];
	for (size_t i = 0; i < COUNTED; i++)
		keys[i] = counted_key(i);
	const size_t held_before = ldb_alloc_held();
	const double params[] = {global, 64, 10, 100, 1};
	assert_int_equal(delta_rmi_build(&self, keys, COUNTED, params, NULL), LDB_OK);
	for (size_t i = 0; i < COUNTED; i++) { /* from below all that writers put */
		const ldb_op op = {.key = keys[i], .value = 0, .kind = LDB_PUT};
		ldb_val out;
		assert_int_equal(delta_rmi_apply(self, &op, 1, &out, NULL), 1);
	}
	for (size_t t = 0; t < 2 * THREADS; t++) {
		r[t] = (rising){.index = self, .number = t % THREADS, .stop = &stop};
		r[t].rounds = t < THREADS ? rounds : 0;
		assert_int_equal(pthread_create(&thread[t], NULL,
						t < THREADS ? raise_values : watch_values, &r[t]),
				 0);
	}
	for (size_t t = 0; t < 2 * THREADS; t++) {
		pthread_join(thread[t], NULL);
		if (t == THREADS - 1)
			atomic_store(&stop, true);
	}
	for (size_t t = 0; t < 2 * THREADS; t++) {
		if (r[t].fault)
			fail_msg("%s", r[t].fault);
		assert_true(r[t].rounds > 0);
	}
	ldb_error err = {.subject = ""};
	delta_rmi_settle(self);
	if (delta_rmi_validate(self, &err) != LDB_OK)
		fail_msg("%s: %s", err.subject, err.value);
	delta_rmi_destroy(self);
	assert_int_equal(ldb_alloc_held(), held_before);
}

static void test_rising_values(void **state)
{
	(void)state;
	set_hook(NULL, GO, 0);
	check_rising(0, 4000);
	check_rising(1, 1500);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void put_or_delete_all(pair *p, bool delete_them)
{
	for (size_t i = 0; i < p->m.n; i++) {
		const size_t rank = i * 7919 % p->m.n;
		ldb_val out;
		const ldb_op op = {.key = p->m.keys[rank],
				   .value = i,
				   .kind = delete_them ? LDB_DELETE : LDB_PUT};
		assert_int_equal(delta_rmi_apply(p->index, &op, 1, &out, NULL), 1);
		test_model_apply(&p->m, &op);
	}
}

/* Ten times the initial size is written; what is held follows what is there, down too. */
static void test_churn(void **state)
{
	(void)state;
	set_hook(NULL, GO, 0);
	for (int global = 0; global < 2; global++) {
		pair p = make_pair(global, 256, 12.5, TEST_UNIFORM, 20000);
		for (int round = 0; round < 3; round++) {
			put_or_delete_all(&p, false);
			delta_rmi_settle(p.index);
			expect_valid(&p);
			/* 16 bytes an entry, models, room in lines, deltas below the limit. */
			assert_true(delta_rmi_bytes(p.index) < 24 * p.m.n + 64000);
			put_or_delete_all(&p, true);
			delta_rmi_settle(p.index);
			expect_valid(&p);
			assert_true(delta_rmi_bytes(p.index) < 6 * p.m.n + 64000);
		}
		expect_all(&p);
		free_pair(&p);
	}
}

/* --- deltas ----------------------------------------------------------------------------------- */

static void expect_delta(const node *root, const test_model *m)
{
	delta_cursor c;
	size_t rank = test_model_next(m, 0);
	assert_true(delta_is_valid(root, 0, LDB_KEY_MAX));
	for (delta_seek(&c, root, 0); c.leaf; delta_next(&c)) {
		assert_true(rank < m->n && c.key == m->keys[rank] && c.value == m->value[rank]);
		rank = test_model_next(m, rank + 1);
	}
	assert_int_equal(rank, m->n);
	for (size_t r = 0; r < m->n; r++) {
		_Atomic uint64_t *at = delta_find(root, m->keys[r]);
		assert_true((at != NULL) == test_model_has(m, r));
		const size_t next = test_model_next(m, r);
		delta_seek(&c, root, m->keys[r]);
		assert_true(next < m->n ? c.leaf && c.key == m->keys[next] : !c.leaf);
	}
}

static void test_delta(void **state)
{
	(void)state;
	set_hook(NULL, GO, 0);
	static const int kinds[] = {TEST_UNIFORM, TEST_ENDS_ONCE, TEST_DENSE_TOP, TEST_POWERS};
	for (size_t order = 0; order < 12; order++) {
		static delta_rmi self;
		memset(&self, 0, sizeof self);
		test_model m = test_model_make(kinds[order % 4], 5000);
		_Atomic(node *) root = NULL;
		for (size_t i = 0; i < m.n; i++) {
			const size_t rank = order / 4 == 0   ? i
					    : order / 4 == 1 ? m.n - 1 - i
							     : i * 3989 % m.n;
			if (test_model_has(&m, rank))
				continue;
			assert_true(delta_insert(&self, &root, m.keys[rank], i));
			test_model_set(&m, rank, true);
			m.value[rank] = i;
			if (i < 300 || i % 1000 == 0)
				expect_delta(atomic_load(&root), &m);
		}
		expect_delta(atomic_load(&root), &m);
		/* Appended keys fill their nodes. */
		const size_t bytes = atomic_load(&self.held_bytes);
		drmi_free_garbage(&self);
		if (order / 4 == 0)
			assert_true(atomic_load(&self.held_bytes) < 21 * m.n + 1000);
		assert_true(atomic_load(&self.held_bytes) <= bytes);
		delta_free(&self, atomic_load(&root));
		assert_int_equal(atomic_load(&self.held_bytes), 0);
		test_model_free(&m);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delta),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_readers_while_stopped),
		cmocka_unit_test(test_destroyed_in_merge),
		cmocka_unit_test(test_destroyed_at_any_time),
		cmocka_unit_test(test_failed_merges),
		cmocka_unit_test(test_rising_values),
		cmocka_unit_test(test_churn),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
