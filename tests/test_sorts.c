/*
 * Differential test of every sort plug-in that is found, at every level that the processor can run:
 * keys and pairs of all kinds in all orders, thread counts beyond the cores, every allocation
 * refused in turn, memory that ends at a page that can't be touched.
 *
 *   test_sorts [PATTERN]     PATTERN selects tests by name: 'learned_sort.v4*'
 *
 * A check returns false and leaves its finding in the run; only the tests themselves fail. So the
 * checks are testable too: the first tests plant faults in a sort and expect each to be found.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "ldb/sort.h"
#include "memory.h"
#include "test_index.h"

/* --- plug-ins --------------------------------------------------------------------------------- */

typedef struct {
	char label[64];
	const ldb_sort *sort; /* NULL: see problem */
	bool unsupported;
	char problem[600];
} plugin;

static void open_plugin(plugin *p, const char *path)
{
	const char *name = strrchr(path, '/');
	memset(p, 0, sizeof *p);
	snprintf(p->label, sizeof p->label, "%s", name ? name + 1 : path);
	*strstr(p->label, ".so") = '\0';
	p->unsupported = !test_level_supported(path);
	if (p->unsupported)
		return;
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	const ldb_sort *(*get_table)(void) = NULL;
	if (handle)
		*(void **)&get_table = dlsym(handle, "ldb_sort_table");
	if (!get_table) {
		snprintf(p->problem, sizeof p->problem, "%s", dlerror());
		return;
	}
	p->sort = get_table();
	if (p->sort->abi != LDB_SORT_ABI || p->sort->key_bits != LDB_KEY_BITS)
		snprintf(p->problem, sizeof p->problem, "%s: another ABI or key width", path);
}

/* All of the folder `sorts` beside the test's own, or what $LDB_TEST_PLUGINS matches. */
static plugin *open_plugins(size_t *count)
{
	char pattern[2200], exe[2048];
	ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[length > 0 ? length : 0] = '\0';
	*strrchr(exe, '/') = '\0';
	snprintf(pattern, sizeof pattern, "%s/../sorts/*.so", exe);
	const char *given = getenv("LDB_TEST_PLUGINS");
	glob_t found = {0};
	glob(given ? given : pattern, 0, NULL, &found);
	plugin *plugins = calloc(found.gl_pathc + 1, sizeof *plugins);
	for (size_t i = 0; plugins && i < found.gl_pathc; i++)
		open_plugin(&plugins[i], found.gl_pathv[i]);
	*count = plugins ? found.gl_pathc : 0;
	globfree(&found);
	return plugins;
}

/* --- inputs ----------------------------------------------------------------------------------- */

enum { SORTED, REVERSED, SHUFFLED, ORGAN_PIPE, SAWTOOTH, ALMOST_SORTED, ORDER_COUNT };
static const char *const order_names[] = {"sorted",     "reversed", "shuffled",
					  "organ pipe", "sawtooth", "almost sorted"};

/* Kinds of keys beyond those of indexes. */
enum { LOGNORMAL_LIKE = TEST_KIND_COUNT, ZIPF_LIKE, THOUSAND, TOP_HEAVY, CLUSTERS, KIND_COUNT };

static const char *kind_name(int kind)
{
	static const char *const more[] = {"log-uniform", "like Zipf", "1000 distinct",
					   "ever denser to the top", "clusters in clusters"};
	return kind < TEST_KIND_COUNT ? test_kind_names[kind] : more[kind - TEST_KIND_COUNT];
}

static ldb_key random_key(int kind, ldb_rng *rng)
{
	switch (kind) {
	case LOGNORMAL_LIKE:
		return ldb_rng_next(rng) >> ldb_rng_below(rng, 64);
	case ZIPF_LIKE:
		return ldb_mix64((ldb_key)(1 / ldb_rng_unit(rng)));
	case THOUSAND:
		return ldb_mix64(ldb_rng_below(rng, 1000));
	case TOP_HEAVY:
		return LDB_KEY_MAX - (ldb_rng_next(rng) >> ldb_rng_below(rng, 64));
	default: /* four random bits in each quarter of a key */
		return ldb_rng_next(rng) & 0x800f0000f00f1u & (ldb_rng_next(rng) | 0xfff);
	}
}

static void make_keys(int kind, ldb_key *keys, size_t n)
{
	if (kind < TEST_KIND_COUNT) {
		test_make_keys(kind, keys, n);
		return;
	}
	ldb_rng rng;
	ldb_rng_seed(&rng, (uint64_t)kind + n);
	for (size_t i = 0; i < n; i++)
		keys[i] = random_key(kind, &rng);
	if (n)
		qsort(keys, n, sizeof *keys, test_compare_keys);
}

/* The position in the input of the ith smallest key. */
static size_t position(int order, size_t i, size_t n)
{
	switch (order) {
	case REVERSED:
		return n - 1 - i;
	case ORGAN_PIPE:
		return i % 2 ? n - 1 - i / 2 : i / 2;
	case SAWTOOTH: { /* about root(n) teeth: every so manyth key */
		size_t teeth = 1;
		while (teeth * teeth < n)
			teeth++;
		const size_t whole = n / teeth * teeth, length = n / teeth;
		return i < whole ? i % teeth * length + i / teeth : i;
	}
	default:
		return i;
	}
}

static void swap_keys(ldb_key *keys, size_t a, size_t b)
{
	const ldb_key key = keys[a];
	keys[a] = keys[b];
	keys[b] = key;
}

static void arrange(int order, const ldb_key *sorted, size_t n, ldb_key *out)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, n);
	for (size_t i = 0; i < n; i++)
		out[position(order, i, n)] = sorted[i];
	for (size_t i = n; order == SHUFFLED && i > 1; i--)
		swap_keys(out, i - 1, ldb_rng_below(&rng, i));
	for (size_t i = 0; order == ALMOST_SORTED && n && i <= n / 100; i++)
		swap_keys(out, ldb_rng_below(&rng, n), ldb_rng_below(&rng, n));
}

/* --- checks ----------------------------------------------------------------------------------- */

typedef struct {
	const ldb_sort *sort;
	int kind, order;
	size_t n, threads;
	const ldb_key *sorted, *input;
	char fault[600];
} test_run;

__attribute__((format(printf, 2, 3))) static bool found(test_run *run, const char *format, ...)
{
	char what[300];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	snprintf(run->fault, sizeof run->fault, "%s (%s, %s, n = %zu, %zu threads): %s",
		 run->sort->name, kind_name(run->kind), order_names[run->order], run->n,
		 run->threads, what);
	return false;
}

static void defaults(const ldb_sort *sort, double *values)
{
	for (size_t i = 0; sort->params && sort->params[i].name; i++)
		values[i] = sort->params[i].def;
}

/* The same keys in some order? */
static bool is_permutation(const test_run *run, const ldb_key *keys)
{
	ldb_key *copy = malloc((run->n + 1) * sizeof *copy);
	assert_non_null(copy);
	memcpy(copy, keys, run->n * sizeof *copy);
	qsort(copy, run->n, sizeof *copy, test_compare_keys);
	const bool same = memcmp(copy, run->sorted, run->n * sizeof *copy) == 0;
	free(copy);
	return same;
}

static bool judge(test_run *run, ldb_status status, const ldb_error *err, bool refused,
		  const ldb_key *keys, size_t held_before)
{
	if (ldb_alloc_held() != held_before)
		return found(run, "%zu bytes are left", ldb_alloc_held() - held_before);
	if (refused && status == LDB_OOM) {
		if (!*err->subject || !*err->value || !*err->remedy)
			return found(run, "the error lacks a field");
		return is_permutation(run, keys) || found(run, "keys are lost after a refusal");
	}
	if (status != LDB_OK)
		return found(run, "status %d: %s: %s", status, err->subject, err->value);
	for (size_t i = 0; i < run->n; i++) {
		if (keys[i] != run->sorted[i])
			return found(run, "key %zu is %#llx, not %#llx", i,
				     (unsigned long long)keys[i],
				     (unsigned long long)run->sorted[i]);
	}
	return true;
}

/* Sorts keys; the nth allocation is refused (0: none). */
static bool check_keys(test_run *run, uint64_t nth)
{
	double values[32];
	ldb_error err = {.subject = ""};
	const size_t held_before = ldb_alloc_held();
	test_guarded memory = test_guarded_alloc(run->n * sizeof(ldb_key),
						 run->n % 2 ? TEST_GUARD_BEFORE : TEST_GUARD_AFTER);
	defaults(run->sort, values);
	if (run->n)
		memcpy(memory.data, run->input, run->n * sizeof(ldb_key));
	ldb_alloc_fail_at(nth);
	ldb_status status = run->sort->sort_keys(memory.data, run->n, run->threads, values, &err);
	ldb_alloc_fail_at(0);
	const bool good = judge(run, status, &err, nth != 0, memory.data, held_before);
	test_guarded_free(&memory);
	return good;
}

/* Each payload is the position of its pair in the input. */
static bool check_payloads(test_run *run, const ldb_pair *pairs, bool sorted)
{
	bool *seen = calloc(run->n + 1, sizeof *seen), good = true;
	assert_non_null(seen);
	for (size_t i = 0; i < run->n && good; i++) {
		const ldb_val v = pairs[i].value;
		if (v >= run->n || seen[v] || run->input[v] != pairs[i].key)
			good = found(run, "payload %zu isn't its key's", i);
		else if (sorted && i && (run->sort->flags & LDB_STABLE) &&
			 pairs[i - 1].key == pairs[i].key && pairs[i - 1].value > v)
			good = found(run, "pair %zu is before one it should follow", i - 1);
		else
			seen[v] = true;
	}
	free(seen);
	return good;
}

static bool check_pairs(test_run *run, uint64_t nth)
{
	double values[32];
	ldb_error err = {.subject = ""};
	const size_t held_before = ldb_alloc_held();
	test_guarded memory = test_guarded_alloc(run->n * sizeof(ldb_pair),
						 run->n % 2 ? TEST_GUARD_BEFORE : TEST_GUARD_AFTER);
	ldb_pair *pairs = memory.data;
	defaults(run->sort, values);
	for (size_t i = 0; i < run->n; i++)
		pairs[i] = (ldb_pair){run->input[i], i};
	ldb_alloc_fail_at(nth);
	ldb_status status = run->sort->sort_pairs(pairs, run->n, run->threads, values, &err);
	ldb_alloc_fail_at(0);
	ldb_key *keys = malloc((run->n + 1) * sizeof *keys);
	assert_non_null(keys);
	for (size_t i = 0; i < run->n; i++)
		keys[i] = pairs[i].key;
	const bool good = judge(run, status, &err, nth != 0, keys, held_before) &&
			  check_payloads(run, pairs, status == LDB_OK);
	free(keys);
	test_guarded_free(&memory);
	return good;
}

typedef bool check_fn(test_run *run, uint64_t nth);

/* One input through a check. */
static bool check_input(test_run *run, int kind, int order, size_t n, size_t threads,
			check_fn *check, uint64_t nth)
{
	static ldb_key *sorted, *input;
	static int made_kind = -1;
	static size_t made_n;
	if (kind != made_kind || n != made_n) {
		free(sorted);
		free(input);
		sorted = malloc((n + 1) * sizeof *sorted);
		input = malloc((n + 1) * sizeof *input);
		assert_true(sorted && input);
		make_keys(kind, sorted, n);
		made_kind = kind;
		made_n = n;
	}
	arrange(order, sorted, n, input);
	run->kind = kind;
	run->order = order;
	run->n = n;
	run->threads = threads;
	run->sorted = sorted;
	run->input = input;
	return check(run, nth);
}

static const size_t small_sizes[] = {0, 1, 2, 3, 63, 64, 65, 1000, 4097};
enum { SMALL_SIZES = sizeof small_sizes / sizeof *small_sizes };

static bool check_all(test_run *run, check_fn *check)
{
	bool good = true;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		for (size_t i = 0; i < SMALL_SIZES && good; i++) {
			for (int order = 0; order < ORDER_COUNT && good; order++)
				good = check_input(run, kind, order, small_sizes[i], 1, check, 0);
		}
		good = good && check_input(run, kind, SHUFFLED, 70001, 1, check, 0) &&
		       (kind % 3 || check_input(run, kind, ORGAN_PIPE, 70001, 1, check, 0));
	}
	static const int large[] = {TEST_UNIFORM, ZIPF_LIKE};
	for (size_t k = 0; good && k < sizeof large / sizeof *large; k++)
		good = check_input(run, large[k], SHUFFLED, 1000000, 1, check, 0);
	return good;
}

static bool check_threads(test_run *run)
{
	static const int kinds[] = {TEST_UNIFORM, TEST_RUNS, TEST_OUTLIERS, THOUSAND, ZIPF_LIKE};
	bool good = true;
	for (size_t threads = 2; threads <= 7 && good; threads += threads == 2 ? 1 : 4) {
		for (size_t k = 0; good && k < sizeof kinds / sizeof *kinds; k++) {
			for (size_t n = 3; good && n <= 300000; n = n * 100 + 7) {
				good = check_input(run, kinds[k], SHUFFLED, n, threads, check_keys,
						   0) &&
				       (!run->sort->sort_pairs ||
					check_input(run, kinds[k], SHUFFLED, n, threads,
						    check_pairs, 0));
			}
		}
	}
	return good && check_input(run, TEST_UNIFORM, SORTED, 200000, 3, check_keys, 0);
}

/* Every allocation refused in turn, in inputs that take all ways through an algorithm. */
static bool check_refusals(test_run *run)
{
	static const struct {
		int kind;
		size_t n, threads;
	} inputs[] = {{TEST_UNIFORM, 1000, 1},
		      {TEST_UNIFORM, 150000, 1},
		      {ZIPF_LIKE, 150000, 2},
		      {TOP_HEAVY, 300000, 1}};
	for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
		for (int pairs = 0; pairs <= (run->sort->sort_pairs != NULL); pairs++) {
			check_fn *check = pairs ? check_pairs : check_keys;
			const uint64_t before = ldb_alloc_calls();
			if (!check_input(run, inputs[i].kind, SHUFFLED, inputs[i].n,
					 inputs[i].threads, check, 0))
				return false;
			const uint64_t calls = ldb_alloc_calls() - before;
			for (uint64_t nth = 1; nth <= calls; nth++) {
				if (!check(run, nth))
					return false;
			}
		}
	}
	return true;
}

/* Does it take more memory than its table says? */
static bool check_memory(test_run *run)
{
	enum { N = 1000000, SLACK = 1 << 20 };
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	if (!check_input(run, TEST_UNIFORM, SHUFFLED, N, 1, check_keys, 0))
		return false;
	const double most = run->sort->peak_bytes_per_key * N + SLACK;
	return (double)ldb_alloc_peak() <= most ||
	       found(run, "takes %zu bytes, where its table says %.0f", ldb_alloc_peak(), most);
}

/* --- tests of plug-ins ------------------------------------------------------------------------ */

static void begin(void **state, test_run *run)
{
	const plugin *p = *state;
	if (p->unsupported)
		skip();
	if (*p->problem)
		fail_msg("%s", p->problem);
	*run = (test_run){.sort = p->sort};
}

static void end(const test_run *run, bool good)
{
	if (!good)
		fail_msg("%s", run->fault);
}

static void test_keys(void **state)
{
	test_run run;
	begin(state, &run);
	end(&run, check_all(&run, check_keys));
}

static void test_pairs(void **state)
{
	test_run run;
	begin(state, &run);
	if (run.sort->sort_pairs)
		end(&run, check_all(&run, check_pairs));
}

static void test_threads(void **state)
{
	test_run run;
	begin(state, &run);
	end(&run, check_threads(&run));
}

static void test_refusals(void **state)
{
	test_run run;
	begin(state, &run);
	end(&run, check_refusals(&run));
}

static void test_memory(void **state)
{
	test_run run;
	begin(state, &run);
	end(&run, check_memory(&run));
}

/* --- the checks themselves -------------------------------------------------------------------- */

enum {
	RIGHT,
	LAST_OUT_OF_ORDER,
	KEY_LOST,
	PAYLOADS_SWAPPED,
	NOT_STABLE,
	LEAK,
	WRONG_STATUS,
	LOST_WHEN_REFUSED,
	GREEDY,
	FAULT_COUNT,
	WRITE_BEHIND = FAULT_COUNT,
	READ_BEFORE,
};
static int planted;
static void *leaked[1000];
static size_t leaks;

static int compare_pairs(const void *a, const void *b)
{
	const ldb_pair *x = a, *y = b;
	const int keys = (x->key > y->key) - (x->key < y->key);
	const int values = (x->value > y->value) - (x->value < y->value);
	return keys ? keys : planted == NOT_STABLE ? -values : values;
}

static ldb_status liar_refused(ldb_key *first, ldb_error *err)
{
	if (planted == LOST_WHEN_REFUSED && first)
		*first ^= 1;
	if (planted == WRONG_STATUS)
		return ldb_fail(err, LDB_INVALID, "none", "liar", "refused");
	return ldb_fail_oom(err, "liar", 100);
}

static void liar_faults(ldb_key *keys, size_t n)
{
	if (planted == LAST_OUT_OF_ORDER && n > 1)
		swap_keys(keys, n - 1, n - 2);
	if (planted == KEY_LOST && n > 1)
		keys[0] = keys[1];
	if (planted == GREEDY)
		ldb_free(ldb_alloc(40 * n), 40 * n);
	if (planted == WRITE_BEHIND)
		((volatile ldb_key *)keys)[n] = 1;
	if (planted == READ_BEFORE)
		(void)((volatile ldb_key *)keys)[-1];
}

static ldb_status liar_keys(ldb_key *keys, size_t n, size_t threads, const double *params,
			    ldb_error *err)
{
	(void)threads, (void)params;
	void *memory = ldb_alloc(100);
	if (!memory)
		return liar_refused(n ? keys : NULL, err);
	if (n)
		qsort(keys, n, sizeof *keys, test_compare_keys);
	liar_faults(keys, n);
	if (planted == LEAK && leaks < 1000)
		leaked[leaks++] = memory;
	else
		ldb_free(memory, 100);
	return LDB_OK;
}

static ldb_status liar_pairs(ldb_pair *pairs, size_t n, size_t threads, const double *params,
			     ldb_error *err)
{
	(void)threads, (void)params, (void)err;
	if (n)
		qsort(pairs, n, sizeof *pairs, compare_pairs);
	if (planted == PAYLOADS_SWAPPED && n > 1) {
		pairs[0].value ^= pairs[n - 1].value;
		pairs[n - 1].value ^= pairs[0].value;
		pairs[0].value ^= pairs[n - 1].value;
	}
	return LDB_OK;
}

static const ldb_sort liar_table = {
	.abi = LDB_SORT_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "liar",
	.summary = "wrong in one way at a time",
	.origin = "this test",
	.flags = LDB_STABLE,
	.sort_keys = liar_keys,
	.sort_pairs = liar_pairs,
};

static bool liar_passes(void)
{
	test_run run = {.sort = &liar_table};
	bool good = true;
	for (int kind = TEST_UNIFORM; good && kind <= TEST_RUNS; kind += TEST_RUNS) {
		good = check_input(&run, kind, SHUFFLED, 1001, 1, check_keys, 0) &&
		       check_input(&run, kind, SHUFFLED, 1000, 1, check_keys, 1) &&
		       check_input(&run, kind, SHUFFLED, 1000, 1, check_pairs, 0);
	}
	return good && check_memory(&run);
}

static void test_planted_faults(void **state)
{
	(void)state;
	for (planted = RIGHT; planted < FAULT_COUNT; planted++) {
		const bool good = liar_passes();
		if (good != (planted == RIGHT))
			fail_msg("planted fault %d is %s", planted, good ? "not found" : "none");
	}
	planted = RIGHT;
	while (leaks)
		ldb_free(leaked[--leaks], 100);
}

/* Faults that end the process are planted in a child. */
static void test_planted_crashes(void **state)
{
	(void)state;
	for (int fault = WRITE_BEHIND; fault <= READ_BEFORE; fault++) {
		/* 512 keys fill a page: one guard is before them, and for even n one behind. */
		const size_t n = fault == WRITE_BEHIND ? 512 : 511;
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			signal(SIGSEGV, SIG_DFL);
			if (!freopen("/dev/null", "w", stderr))
				_exit(3);
			test_run run = {.sort = &liar_table};
			planted = fault;
			check_input(&run, TEST_UNIFORM, SHUFFLED, n, 1, check_keys, 0);
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
	{"keys", test_keys},         {"pairs", test_pairs},   {"threads", test_threads},
	{"refusals", test_refusals}, {"memory", test_memory},
};
enum { ASPECT_COUNT = sizeof aspects / sizeof *aspects };

int main(int argc, char **argv)
{
	size_t plugin_count, count = 0;
	plugin *plugins = open_plugins(&plugin_count);
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
	int failed = _cmocka_run_group_tests("sorts", tests, count, NULL, NULL);
	free(names);
	free(tests);
	free(plugins);
	return failed;
}
