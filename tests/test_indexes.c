/*
 * Differential test of every index plug-in that is found, at every level that the processor can
 * run, against a sorted array: answers through all entry points, windows, parameters, memory
 * accounting, every allocation refused in turn, reads beyond the keys, concurrent readers. All
 * levels of a plug-in are compared with the same oracle, so they agree with each other.
 *
 *   test_indexes [PATTERN]     PATTERN selects tests by name: 'btree.v4*'
 *
 * Compiled with LDB_KEY_BITS=32 it is test_indexes32, for the plug-ins of that set.
 *
 * A check returns false and leaves its finding in the run; only the tests themselves fail. So the
 * checks are testable too: the first tests plant faults in an index and expect each to be found.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "memory.h"
#include "test_index.h"

enum {
	MAX_PARAMS = 32,
	MAX_TAIL = 134,      /* batches of 0..134 queries: every tail of a group of up to 128 */
	GUARD_WORDS = 8,     /* on either side of the answers */
	SAMPLED_KEYS = 4097, /* at most so many keys are asked for; all of them up to here */
};
#define GUARD_WORD 0x5afe5afe5afe5afeu
#define CARRY 0x123456789abcdef1u /* a chain's start: nonzero, odd, large */

/* --- cases: keys, queries and their answers ----------------------------------------------------
 */

typedef struct {
	bool made;
	char name[96];
	size_t n, queries;
	test_guarded key_memory, query_memory;
	const ldb_key *keys; /* read-only, end at a guard page */
	const ldb_key *q;    /* likewise */
	ldb_val *lower_bound, *get;
} test_case;

static const size_t sizes[] = {0,  1,  2,   3,   7,   8,    9,    15,   16,   17,    31,
			       32, 33, 255, 256, 257, 1000, 4095, 4096, 4097, 20000, 100000};
enum { SIZE_COUNT = sizeof sizes / sizeof *sizes };
static test_case cases[TEST_KIND_COUNT][SIZE_COUNT][2];

static size_t make_queries(const ldb_key *keys, size_t n, ldb_rng *rng, ldb_key *q)
{
	const ldb_key top = (ldb_key)1 << (LDB_KEY_BITS - 1);
	const ldb_key special[] = {0,
				   1,
				   LDB_KEY_MAX,
				   LDB_KEY_MAX - 1,
				   top,
				   top - 1,
				   ((ldb_key)1 << TEST_MANTISSA) + 1,
				   (ldb_key)1 << LDB_KEY_BITS / 2};
	size_t count = 0;
	const size_t asked = n < SAMPLED_KEYS ? n : SAMPLED_KEYS;
	for (size_t i = 0; i < asked; i++) {
		/* Of many keys: the outermost, and random ones between. */
		size_t k = n == asked || i < 32 ? i
			   : i < 64             ? n - 1 - (i - 32)
						: ldb_rng_below(rng, n);
		ldb_key next = keys[k + 1 < n ? k + 1 : k];
		q[count++] = keys[k];
		q[count++] = keys[k] - 1; /* 0 wraps to LDB_KEY_MAX, which is welcome too */
		q[count++] = keys[k] + 1;
		q[count++] = keys[k] + (next - keys[k]) / 2;
	}
	for (size_t i = 0; i < sizeof special / sizeof *special; i++)
		q[count++] = special[i];
	for (size_t i = 0; i < 64; i++) /* random in all magnitudes */
		q[count++] = test_any_key(rng) >> ldb_rng_below(rng, LDB_KEY_BITS);
	for (size_t i = count; i > 1; i--) { /* shuffled, so that batches mix all kinds */
		size_t other = ldb_rng_below(rng, i);
		ldb_key swap = q[i - 1];
		q[i - 1] = q[other], q[other] = swap;
	}
	return count;
}

static void finish_case(test_case *c, const ldb_key *keys, size_t n)
{
	static ldb_key queries[4 * SAMPLED_KEYS + 128];
	ldb_rng rng;
	ldb_rng_seed(&rng, n + 1);
	c->n = n;
	c->key_memory = test_guarded_alloc(n * sizeof *keys, TEST_GUARD_AFTER);
	if (n)
		memcpy(c->key_memory.data, keys, n * sizeof *keys);
	test_guarded_seal(&c->key_memory);
	c->keys = c->key_memory.data;
	c->queries = make_queries(c->keys, n, &rng, queries);
	c->query_memory = test_guarded_alloc(c->queries * sizeof *queries, TEST_GUARD_AFTER);
	memcpy(c->query_memory.data, queries, c->queries * sizeof *queries);
	test_guarded_seal(&c->query_memory);
	c->q = c->query_memory.data;
	c->lower_bound = calloc(c->queries, sizeof *c->lower_bound);
	c->get = calloc(c->queries, sizeof *c->get);
	assert_true(c->lower_bound && c->get);
	for (size_t i = 0; i < c->queries; i++) {
		c->lower_bound[i] = test_lower_bound(c->keys, n, c->q[i]);
		c->get[i] = test_get(c->keys, n, c->q[i]);
	}
	c->made = true;
}

/* The case of a kind and size, made when first asked for and kept: all plug-ins share it. */
static const test_case *get_case(int kind, size_t size_index, bool distinct)
{
	test_case *c = &cases[kind][size_index][distinct];
	if (c->made)
		return c;
	size_t n = sizes[size_index];
	ldb_key *keys = calloc(n + 1, sizeof *keys);
	assert_non_null(keys);
	test_make_keys(kind, keys, n);
	if (distinct)
		n = test_distinct(keys, n);
	snprintf(c->name, sizeof c->name, "%s, n = %zu%s", test_kind_names[kind], n,
		 distinct ? ", distinct" : "");
	finish_case(c, keys, n);
	free(keys);
	return c;
}

static const test_case *case_of(const ldb_index *index, int kind, size_t n)
{
	size_t i = 0;
	while (i + 1 < SIZE_COUNT && sizes[i] < n)
		i++;
	return get_case(kind, i, !(index->flags & LDB_DUPLICATES));
}

static void free_cases(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof(test_case); i++) {
		test_case *c = &cases[0][0][0] + i;
		if (!c->made)
			continue;
		test_guarded_free(&c->key_memory);
		test_guarded_free(&c->query_memory);
		free(c->lower_bound);
		free(c->get);
	}
}

/* --- checks ------------------------------------------------------------------------------------
 */

/* One index under test with its parameters, and what was found. */
typedef struct {
	const ldb_index *index;
	const test_case *c;
	void *self;
	double values[MAX_PARAMS];
	bool may_refuse; /* extreme parameters may ask for more memory than there is */
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
	snprintf(run->fault + used, sizeof run->fault - (size_t)used, " (%s): %s",
		 run->c ? run->c->name : "no keys", what);
	return false;
}

static const ldb_val *expected_answers(const test_run *run)
{
	return run->index->flags & LDB_ORDERED ? run->c->lower_bound : run->c->get;
}

/* Room for any case's answers, with guard words on both sides. */
static ldb_val *guarded_answers(size_t count)
{
	static ldb_val room[4 * SAMPLED_KEYS + 128 + 2 * GUARD_WORDS];
	for (size_t i = 0; i < count + 2 * GUARD_WORDS; i++)
		room[i] = GUARD_WORD;
	return room + GUARD_WORDS;
}

static bool check_answers(test_run *run, const char *entry, size_t first, size_t count,
			  const ldb_val *out)
{
	const ldb_val *expected = expected_answers(run) + first;
	for (size_t i = 0; i < count; i++) {
		if (out[i] != expected[i])
			return found(run,
				     "%s of %zu: answer %zu, to %#llx, is %lld where %lld is right",
				     entry, count, i, (unsigned long long)run->c->q[first + i],
				     (long long)out[i], (long long)expected[i]);
	}
	for (size_t i = 1; i <= GUARD_WORDS; i++) {
		if (out[-(ptrdiff_t)i] != GUARD_WORD || out[count - 1 + i] != GUARD_WORD)
			return found(run, "%s of %zu wrote outside of its answers", entry, count);
	}
	return true;
}

typedef void lookup_fn(const void *self, const ldb_key *q, size_t n, ldb_val *out);

/* All queries at once, then all short lengths, each ending at the guard page behind the queries. */
static bool check_lookup(test_run *run, const char *entry, lookup_fn *lookup)
{
	const test_case *c = run->c;
	ldb_val *out = guarded_answers(c->queries);
	lookup(run->self, c->q, c->queries, out);
	if (!check_answers(run, entry, 0, c->queries, out))
		return false;
	for (size_t count = 0; count <= MAX_TAIL && count <= c->queries; count++) {
		size_t first = c->queries - count;
		out = guarded_answers(count);
		lookup(run->self, c->q + first, count, out);
		if (!check_answers(run, entry, first, count, out))
			return false;
	}
	return true;
}

/*
 * The queries minus the step of the answer before each: a chain that adds it back asks what the
 * oracle answered; one that is broken asks something else. In two calls, so that the carry counts.
 */
static bool check_chase(test_run *run)
{
	static ldb_key chained[4 * SAMPLED_KEYS + 128];
	const test_case *c = run->c;
	const ldb_val *expected = expected_answers(run);
	for (size_t i = 0; i < c->queries; i++)
		chained[i] = c->q[i] - ldb_chain_step(i ? expected[i - 1] : CARRY);
	const size_t half = c->queries / 2;
	ldb_val *out = guarded_answers(c->queries);
	run->index->chase(run->self, chained, 0, CARRY, out);
	run->index->chase(run->self, chained, half, CARRY, out);
	run->index->chase(run->self, chained + half, c->queries - half, out[half - 1], out + half);
	if (!check_answers(run, "chase", 0, c->queries, out))
		return false;
	chained[0] = c->q[0];
	out = guarded_answers(half);
	run->index->chase(run->self, chained, half, 0, out);
	return check_answers(run, "chase from 0", 0, half, out);
}

static bool check_window(test_run *run)
{
	const test_case *c = run->c;
	for (size_t i = 0; i < c->queries; i++) {
		size_t rank = c->lower_bound[i] == LDB_NONE ? c->n : c->lower_bound[i];
		size_t lo = SIZE_MAX, hi = 0;
		run->index->window(run->self, c->q[i], &lo, &hi);
		if (lo > rank || hi < rank || hi > c->n)
			return found(run, "window of %#llx is [%zu, %zu] where the rank is %zu",
				     (unsigned long long)c->q[i], lo, hi, rank);
	}
	return true;
}

static bool check_built(test_run *run, size_t held_before)
{
	const ldb_index *index = run->index;
	ldb_error err = {0};
	const size_t held = ldb_alloc_held() - held_before, bytes = index->bytes(run->self);
	if (bytes != held)
		return found(run, "claims %zu bytes, the allocator counts %zu", bytes, held);
	if (index->validate(run->self, &err) != LDB_OK)
		return found(run, "validate: %s: %s", err.subject, err.value);
	if (index->info) {
		ldb_index_info info = {0};
		index->info(run->self, &info);
		if (!memchr(info.chosen, 0, sizeof info.chosen))
			return found(run, "info: `chosen` has no end");
	}
	return check_lookup(run, "lookup", index->lookup) && check_chase(run) &&
	       (!index->lookup_batch || check_lookup(run, "lookup_batch", index->lookup_batch)) &&
	       (!index->window || check_window(run)) &&
	       (index->validate(run->self, NULL) == LDB_OK || found(run, "queries changed it"));
}

/* Builds, checks everything, destroys. */
static bool check_case(test_run *run, const test_case *c)
{
	ldb_error err = {0};
	const size_t held_before = ldb_alloc_held();
	run->c = c;
	run->self = NULL;
	ldb_status status = run->index->build(&run->self, c->keys, c->n, run->values, &err);
	if (status == LDB_OOM && run->may_refuse)
		return ldb_alloc_held() == held_before || found(run, "refusal left memory");
	if (status != LDB_OK)
		return found(run, "build: status %d: %s: %s", status, err.subject, err.value);
	bool good = check_built(run, held_before);
	run->index->destroy(run->self);
	if (good && ldb_alloc_held() != held_before)
		return found(run, "destroy left %zu bytes", ldb_alloc_held() - held_before);
	return good;
}

/* Builds with the nth allocation refused. */
static bool check_refusal(test_run *run, uint64_t nth)
{
	const size_t held_before = ldb_alloc_held();
	ldb_error err = {0};
	run->self = NULL;
	ldb_alloc_fail_at(nth);
	ldb_status status =
		run->index->build(&run->self, run->c->keys, run->c->n, run->values, &err);
	ldb_alloc_fail_at(0);
	if (status == LDB_OK)
		run->index->destroy(run->self);
	if (status != LDB_OOM)
		return found(run, "allocation %llu refused: status %d, not LDB_OOM",
			     (unsigned long long)nth, status);
	if (!*err.subject || !*err.value || !*err.remedy)
		return found(run, "allocation %llu refused: the error lacks a field",
			     (unsigned long long)nth);
	if (ldb_alloc_held() != held_before)
		return found(run, "allocation %llu refused: %zu bytes left",
			     (unsigned long long)nth, ldb_alloc_held() - held_before);
	return true;
}

/* Refuses each allocation of a build in turn; of very many, the first, the last and each 7th. */
static bool check_refusals(test_run *run, const test_case *c)
{
	enum { ALL = 600 };
	run->c = c;
	const uint64_t calls_before = ldb_alloc_calls();
	if (!check_case(run, c))
		return false;
	const uint64_t calls = ldb_alloc_calls() - calls_before;
	if (calls == 0)
		return found(run, "build got no memory from ldb_alloc");
	for (uint64_t nth = 1; nth <= calls; nth++) {
		bool skipped = nth > ALL && nth + 20 < calls && nth % 7 != 0;
		if (!skipped && !check_refusal(run, nth))
			return false;
	}
	return check_case(run, c);
}

/* Builds at one size and compares the peak with what the table promises, and looks for memory that
 * did not come from ldb_alloc. */
static bool check_memory(test_run *run, const test_case *c)
{
	const size_t slack = 64 << 10;
	run->c = c;
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	const size_t held = ldb_alloc_held(), foreign = ldb_alloc_foreign();
	ldb_status status = run->index->build(&run->self, c->keys, c->n, run->values, NULL);
	if (status != LDB_OK)
		return found(run, "build: status %d", status);
	const size_t peak = ldb_alloc_peak() - held, foreign_after = ldb_alloc_foreign();
	run->index->destroy(run->self);
	const double promised = run->index->peak_bytes_per_key * (double)c->n;
	if ((double)peak > promised + (double)slack)
		return found(run, "build took %zu bytes where peak_bytes_per_key promises %.0f",
			     peak, promised);
	if (foreign != SIZE_MAX && foreign_after > foreign + slack)
		return found(run, "build took %zu bytes that are not from ldb_alloc",
			     foreign_after - foreign);
	return true;
}

static bool check_params(test_run *run)
{
	const ldb_index *index = run->index;
	if (test_param_count(index) > MAX_PARAMS)
		return found(run, "more than %d parameters", MAX_PARAMS);
	for (const ldb_param *p = index->params; p && p->name; p++) {
		int choices = test_choice_count(p->choices);
		if (!*p->name || !p->help || !*p->help)
			return found(run, "parameter '%s' lacks name or help", p->name);
		if (choices ? p->def < 0 || p->def >= choices : p->def < p->min || p->def > p->max)
			return found(run, "default of '%s' is outside of its limits", p->name);
		for (const ldb_param *other = index->params; other < p; other++) {
			if (strcmp(other->name, p->name) == 0)
				return found(run, "parameter '%s' stands twice", p->name);
		}
	}
	return true;
}

static bool check_table(test_run *run)
{
	const ldb_index *index = run->index;
	if (!index->name || !*index->name || !index->summary || !*index->summary ||
	    !index->origin || !*index->origin)
		return found(run, "name, summary or origin is missing");
	if (!index->build || !index->destroy || !index->bytes || !index->validate ||
	    !index->lookup || !index->chase)
		return found(run, "a function that must be there is missing");
	if (!(index->peak_bytes_per_key > 0))
		return found(run, "peak_bytes_per_key is missing");
	return check_params(run);
}

static void set_defaults(test_run *run)
{
	for (size_t i = 0; i < test_param_count(run->index); i++)
		run->values[i] = run->index->params[i].def;
}

static bool check_with_values(test_run *run)
{
	static const size_t few[] = {0, 1, 2, 17, 257, 4097};
	static const int kinds[] = {TEST_UNIFORM, TEST_RUNS,      TEST_ALL_EQUAL, TEST_ENDS_MANY,
				    TEST_POWERS,  TEST_DENSE_TOP, TEST_OUTLIERS};
	for (size_t s = 0; s < sizeof few / sizeof *few; s++) {
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
			if (few[s] == 0 && k > 0)
				continue;
			if (!check_case(run, case_of(run->index, kinds[k], few[s])))
				return false;
		}
	}
	return true;
}

/* --- tests -------------------------------------------------------------------------------------
 */

/* The index of a plug-in's test, or an end of the test that says why there is none. */
static test_run start(void **state)
{
	const test_plugin *plugin = *state;
	if (plugin->unsupported) {
		print_message("%s: this processor can't run that level\n", plugin->label);
		skip();
	}
	if (!plugin->index)
		fail_msg("%s", plugin->problem);
	test_run run = {.index = plugin->index};
	if (!check_table(&run))
		fail_msg("%s", run.fault);
	if (plugin->index->flags & LDB_REFERENCE_ONLY)
		skip();
	ldb_alloc_setup(LDB_PAGES_4K, 0); /* whatever a test that failed left set */
	set_defaults(&run);
	return run;
}

static void test_answers(void **state)
{
	test_run run = start(state);
	for (size_t s = 0; s < SIZE_COUNT; s++) {
		for (int kind = 0; kind < TEST_KIND_COUNT && (kind == 0 || sizes[s]); kind++) {
			if (!check_case(&run, case_of(run.index, kind, sizes[s])))
				fail_msg("%s", run.fault);
		}
	}
}

static void test_parameters(void **state)
{
	test_run run = start(state);
	const ldb_param *params = run.index->params;
	const size_t count = test_param_count(run.index);
	run.may_refuse = true;
	ldb_alloc_setup(LDB_PAGES_4K, (size_t)64 << 20);
	for (size_t p = 0; p < count; p++) {
		set_defaults(&run);
		for (int v = 0; v < test_value_count(&params[p]); v++) {
			run.values[p] = test_nth_value(&params[p], v);
			if (!check_with_values(&run))
				fail_msg("%s", run.fault);
		}
	}
	ldb_rng rng;
	ldb_rng_seed(&rng, 1);
	for (int mix = 0; mix < 6 && count > 1; mix++) { /* and mixtures of them */
		for (size_t p = 0; p < count; p++)
			run.values[p] = test_nth_value(
				&params[p],
				(int)ldb_rng_below(&rng, (uint64_t)test_value_count(&params[p])));
		if (!check_with_values(&run))
			fail_msg("%s", run.fault);
	}
	ldb_alloc_setup(LDB_PAGES_4K, 0);
}

static void test_refusals(void **state)
{
	test_run run = start(state);
	static const size_t refusal_sizes[] = {0, 1, 1000, 20000};
	for (size_t s = 0; s < sizeof refusal_sizes / sizeof *refusal_sizes; s++) {
		if (!check_refusals(&run, case_of(run.index, TEST_UNIFORM, refusal_sizes[s])) ||
		    !check_refusals(&run, case_of(run.index, TEST_POWERS, refusal_sizes[s])))
			fail_msg("%s", run.fault);
	}
}

static void test_memory(void **state)
{
	test_run run = start(state);
	static const int kinds[] = {TEST_UNIFORM, TEST_POWERS, TEST_RUNS, TEST_STAIRCASE};
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		if (!check_memory(&run, case_of(run.index, kinds[k], 100000)))
			fail_msg("%s", run.fault);
	}
}

/* The cases' keys all end at a guard page. Here they begin at one. */
static void test_guard_before(void **state)
{
	test_run run = start(state);
	for (size_t n = 0; n <= 600; n += n < 40 ? 1 : n < 500 ? 61 : 1) {
		test_case c = {.name = "guard page before the keys", .n = n};
		static ldb_key q[256];
		test_guarded keys = test_guarded_alloc(n * sizeof(ldb_key), TEST_GUARD_BEFORE);
		test_make_keys(TEST_UNIFORM, keys.data, n);
		test_guarded_seal(&keys);
		ldb_val lower_bound[256], get[256];
		for (size_t i = 0; i < 256; i++) {
			ldb_key k = n ? ((ldb_key *)keys.data)[i * n / 256] : (ldb_key)i;
			q[i] = k + (ldb_key)(i % 3) - 1;
			lower_bound[i] = test_lower_bound(keys.data, n, q[i]);
			get[i] = test_get(keys.data, n, q[i]);
		}
		c.keys = keys.data, c.q = q, c.queries = 256;
		c.lower_bound = lower_bound, c.get = get;
		bool good = check_case(&run, &c);
		test_guarded_free(&keys);
		if (!good)
			fail_msg("%s", run.fault);
	}
}

typedef struct {
	const test_run *run;
	bool wrong;
} reader;

static void *read_all(void *arg)
{
	reader *r = arg;
	const test_run *run = r->run;
	const test_case *c = run->c;
	ldb_val *out = calloc(c->queries, sizeof *out);
	for (int round = 0; out && round < 4; round++) {
		lookup_fn *batch = run->index->lookup_batch;
		(round % 2 && batch ? batch : run->index->lookup)(run->self, c->q, c->queries, out);
		if (memcmp(out, expected_answers(run), c->queries * sizeof *out) != 0)
			r->wrong = true;
	}
	free(out);
	return NULL;
}

static void test_readers(void **state)
{
	enum { READERS = 4 };
	test_run run = start(state);
	if (!(run.index->flags & LDB_THREADS))
		skip();
	pthread_t threads[READERS];
	reader readers[READERS];
	run.c = case_of(run.index, TEST_POWERS, 4097);
	assert_int_equal(run.index->build(&run.self, run.c->keys, run.c->n, run.values, NULL),
			 LDB_OK);
	for (int i = 0; i < READERS; i++) {
		readers[i] = (reader){.run = &run};
		assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
	}
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	run.index->destroy(run.self);
	for (int i = 0; i < READERS; i++)
		assert_false(readers[i].wrong);
}

/* --- planted faults ----------------------------------------------------------------------------
 */

/* A right index by scanning, made wrong in one way at a time. */
enum {
	RIGHT,
	LAST_OF_RUN,   /* the last of equal keys */
	N_FOR_NONE,    /* beyond the largest key: n */
	SIGNED,        /* compares as signed numbers */
	COARSE,        /* compares as doubles, keys of 32 bits as floats */
	BROKEN_CHAIN,  /* chase forgets the answer before */
	LOST_CARRY,    /* chase starts at 0 */
	SHORT_TAIL,    /* a batch leaves out what is not a multiple of 4 */
	LONG_TAIL,     /* a batch writes whole groups of 4 */
	NARROW_WINDOW, /* excludes the rank of absent keys */
	LYING_BYTES,
	LEAK,
	LEAK_WHEN_REFUSED,
	WRONG_STATUS,
	GREEDY,  /* takes more while building than its table promises */
	FOREIGN, /* takes memory from malloc */
	FAULT_COUNT,
	READ_BEYOND, /* reads the key after the last: faults */
	WRITE_KEYS,  /* faults */
};
static int planted;
static void *leaked_extra, *leaked_self; /* freed by the test itself, for the leak sanitizer */

typedef struct {
	const ldb_key *keys;
	size_t n;
	void *extra, *foreign;
} liar;

static bool liar_less(ldb_key a, ldb_key b)
{
	const ldb_key sign = (ldb_key)1 << (LDB_KEY_BITS - 1);
	return planted == SIGNED ? (a ^ sign) < (b ^ sign)
	       : planted == COARSE
		       ? (LDB_KEY_BITS == 32 ? (float)a < (float)b : (double)a < (double)b)
		       : a < b;
}

static size_t liar_rank(const liar *self, ldb_key q)
{
	size_t lo = 0, hi = self->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (liar_less(self->keys[mid], q))
			lo = mid + 1;
		else
			hi = mid;
	}
	while (planted == LAST_OF_RUN && lo + 1 < self->n && self->keys[lo] == q &&
	       self->keys[lo + 1] == q)
		lo++;
	return lo;
}

static ldb_val liar_find(const liar *self, ldb_key q)
{
	size_t rank = liar_rank(self, q);
	return rank < self->n || planted == N_FOR_NONE ? rank : LDB_NONE;
}

static void liar_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = liar_find(self, q[i]);
}

static void liar_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry, ldb_val *out)
{
	if (planted == LOST_CARRY)
		carry = 0;
	for (size_t i = 0; i < n; i++)
		out[i] = carry =
			liar_find(self, q[i] + ldb_chain_step(planted == BROKEN_CHAIN ? 0 : carry));
}

static void liar_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	liar_lookup(self, q, planted == SHORT_TAIL ? n / 4 * 4 : n, out);
	for (size_t i = n; planted == LONG_TAIL && i % 4; i++)
		out[i] = 0;
}

static void liar_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	const liar *index = self;
	*lo = *hi = liar_rank(index, q);
	if (planted == NARROW_WINDOW && *hi > 0 && (*hi == index->n || index->keys[*hi] != q))
		*lo = *hi = *hi - 1;
}

static ldb_status liar_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	(void)values;
	liar *index = ldb_alloc(sizeof *index);
	if (!index)
		return planted == WRONG_STATUS ? LDB_INVALID
					       : ldb_fail_oom(err, "liar", sizeof *index);
	*index = (liar){keys, n, ldb_alloc(100), NULL};
	if (!index->extra) {
		if (planted == LEAK_WHEN_REFUSED)
			leaked_self = index;
		else
			ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "liar", 100);
	}
	if (planted == GREEDY)
		ldb_free(ldb_alloc(n * 8), n * 8);
	if (planted == FOREIGN)
		index->foreign = malloc(n * 8);
	if (planted == READ_BEYOND)
		((char *)index->extra)[0] = (char)((const volatile ldb_key *)keys)[n];
	if (planted == WRITE_KEYS)
		((volatile ldb_key *)(uintptr_t)keys)[0] = 0;
	*self = index;
	return LDB_OK;
}

static void liar_destroy(void *self)
{
	free(((liar *)self)->foreign);
	if (planted == LEAK)
		leaked_extra = ((liar *)self)->extra;
	else
		ldb_free(((liar *)self)->extra, 100);
	ldb_free(self, sizeof(liar));
}

static size_t liar_bytes(const void *self)
{
	(void)self;
	return planted == LYING_BYTES ? 8 : sizeof(liar) + 100;
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
	.summary = "wrong in one way at a time",
	.origin = "this test",
	.flags = LDB_ORDERED | LDB_DUPLICATES,
	.peak_bytes_per_key = 1,
	.build = liar_build,
	.destroy = liar_destroy,
	.bytes = liar_bytes,
	.validate = liar_validate,
	.lookup = liar_lookup,
	.chase = liar_chase,
	.lookup_batch = liar_lookup_batch,
	.window = liar_window,
};

/* Is nothing found in the liar, by the checks that each plug-in passes? */
static bool liar_passes(void)
{
	static const int kinds[] = {TEST_UNIFORM, TEST_RUNS, TEST_WIDE};
	test_run run = {.index = &liar_table};
	bool good = check_table(&run);
	for (size_t k = 0; good && k < sizeof kinds / sizeof *kinds; k++)
		good = check_refusals(&run, case_of(&liar_table, kinds[k], 1000));
	return good && check_memory(&run, case_of(&liar_table, TEST_UNIFORM, 100000));
}

static void test_planted_faults(void **state)
{
	(void)state;
	for (planted = RIGHT; planted < FAULT_COUNT; planted++) {
		if (planted == FOREIGN && ldb_alloc_foreign() == SIZE_MAX)
			continue; /* can't be seen in this build */
		bool good = liar_passes();
		if (good != (planted == RIGHT))
			fail_msg("planted fault %d is %s", planted, good ? "not found" : "none");
	}
	planted = RIGHT;
	ldb_free(leaked_extra, 100);
	ldb_free(leaked_self, sizeof(liar));
}

/* Faults that end the process are planted in a child. */
static void test_planted_crashes(void **state)
{
	(void)state;
	for (int fault = READ_BEYOND; fault <= WRITE_KEYS; fault++) {
		const test_case *c = case_of(&liar_table, TEST_UNIFORM, 257);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			signal(SIGSEGV, SIG_DFL);
			if (!freopen("/dev/null", "w", stderr))
				_exit(3);
			test_run run = {.index = &liar_table};
			planted = fault;
			check_case(&run, c);
			_exit(0); /* came through: not seen */
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0);
	}
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
} aspects[] = {
	{"answers", test_answers}, {"parameters", test_parameters}, {"refusals", test_refusals},
	{"memory", test_memory},   {"guard", test_guard_before},    {"readers", test_readers},
};
enum { ASPECT_COUNT = sizeof aspects / sizeof *aspects };

int main(int argc, char **argv)
{
	size_t plugin_count, count = 0;
	test_plugin *plugins = test_plugins(&plugin_count);
	if (plugin_count == 0) {
		fprintf(stderr, "no plug-ins found: run `make`, or set LDB_TEST_PLUGINS\n");
		free(plugins);
		return 1;
	}
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	struct CMUnitTest *tests = calloc(plugin_count * ASPECT_COUNT + 2, sizeof *tests);
	char(*names)[96] = calloc(plugin_count * ASPECT_COUNT, sizeof *names);
	if (!tests || !names)
		return 1;
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_planted_faults);
	tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_planted_crashes);
	for (size_t p = 0; p < plugin_count; p++) {
		for (size_t a = 0; a < ASPECT_COUNT; a++) {
			char *name = names[p * ASPECT_COUNT + a];
			snprintf(name, sizeof *names, "%s: %s", plugins[p].label, aspects[a].name);
			tests[count++] = (struct CMUnitTest){.name = name,
							     .test_func = aspects[a].run,
							     .initial_state = &plugins[p]};
		}
	}
	int failed = _cmocka_run_group_tests("indexes", tests, count, NULL, NULL);
	free_cases();
	free(names);
	free(tests);
	free(plugins);
	return failed;
}
