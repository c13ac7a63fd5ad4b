/*
 * Differential test of every join plug-in that is found, at every level that the processor can run
 * and with every choice of its parameters, against a sort and a scan: count, checksum, and the
 * matches themselves as a set; both sides sorted or not, threads beyond the cores, every allocation
 * refused in turn, reads beyond the keys, writes beyond the matches.
 *
 * duckdb_join joins in another process, and is tested by tests/test_tpch.py.
 *
 *   test_joins [PATTERN]     PATTERN selects tests by name: 'hash_join.v4*'
 *
 * A check returns false and leaves its finding; only the tests fail. So the checks are testable
 * too: the first tests plant faults in a join and expect each to be found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory.h"
#include "registry.h"
#include "test_index.h"

/* --- cases ------------------------------------------------------------------------------------ */

typedef struct {
	ldb_key key;
	uint32_t row;
} keyed_row;

/* Both sides in read-only memory with a guard page behind; matches by an oracle, sorted. */
typedef struct {
	char name[160];
	size_t build_n, probe_n;
	bool build_sorted, probe_sorted;
	test_guarded build, probe;
	ldb_match *matches;
	size_t count;
	uint64_t checksum;
} test_case;

static int compare_keyed(const void *a, const void *b)
{
	const keyed_row *x = a, *y = b;
	return x->key != y->key ? (x->key > y->key) - (x->key < y->key)
				: (x->row > y->row) - (x->row < y->row);
}

static int compare_matches(const void *a, const void *b)
{
	const ldb_match *x = a, *y = b;
	return x->build_row != y->build_row
		       ? (x->build_row > y->build_row) - (x->build_row < y->build_row)
		       : (x->probe_row > y->probe_row) - (x->probe_row < y->probe_row);
}

static keyed_row *sorted_rows(const ldb_key *keys, size_t n)
{
	keyed_row *rows = malloc((n + 1) * sizeof *rows);
	assert_non_null(rows);
	for (size_t i = 0; i < n; i++)
		rows[i] = (keyed_row){keys[i], (uint32_t)i};
	qsort(rows, n, sizeof *rows, compare_keyed);
	return rows;
}

/* The oracle: sorts both sides by key and puts together what is equal. */
static void find_matches(test_case *c)
{
	keyed_row *build = sorted_rows(c->build.data, c->build_n);
	keyed_row *probe = sorted_rows(c->probe.data, c->probe_n);
	size_t room = 0;
	for (int pass = 0; pass < 2; pass++) {
		room = c->count;
		c->count = c->checksum = 0;
		for (size_t b = 0, p = 0; b < c->build_n; b++) {
			while (p < c->probe_n && probe[p].key < build[b].key)
				p++;
			for (size_t e = p; e < c->probe_n && probe[e].key == build[b].key; e++) {
				if (pass)
					c->matches[c->count] =
						(ldb_match){build[b].row, probe[e].row};
				c->checksum += ldb_match_hash(build[b].row, probe[e].row);
				c->count++;
			}
		}
		if (!pass)
			assert_non_null(c->matches = malloc((c->count + 1) * sizeof *c->matches));
	}
	assert_int_equal(room, c->count);
	qsort(c->matches, c->count, sizeof *c->matches, compare_matches);
	free(build);
	free(probe);
}

static void shuffle(ldb_key *keys, size_t n, ldb_rng *rng)
{
	for (size_t i = n; i > 1; i--) {
		const size_t j = ldb_rng_below(rng, i);
		const ldb_key key = keys[i - 1];
		keys[i - 1] = keys[j];
		keys[j] = key;
	}
}

static test_guarded guarded_side(ldb_key *keys, size_t n, bool sorted, ldb_rng *rng)
{
	test_guarded side = test_guarded_alloc(n * sizeof *keys, TEST_GUARD_AFTER);
	if (sorted)
		qsort(keys, n, sizeof *keys, test_compare_keys);
	else
		shuffle(keys, n, rng);
	if (n)
		memcpy(side.data, keys, n * sizeof *keys);
	test_guarded_seal(&side);
	return side;
}

/* How the probe side comes from the build side. */
enum { FOREIGN, SKEWED, MIXED, ABSENT, PROBES };
static const char *const probe_names[] = {"foreign keys", "skewed", "near and far", "absent"};

static ldb_key probe_key(const ldb_key *build, size_t n, int how, ldb_rng *rng)
{
	ldb_key near = n ? build[ldb_rng_below(rng, n)] : 5;
	switch (how) {
	case FOREIGN:
		return near;
	case SKEWED: /* half of them the same few */
		return n && ldb_rng_below(rng, 2) ? build[ldb_rng_below(rng, n / 100 + 1)] : near;
	case ABSENT:
		return near ^ ((ldb_key)1 << ldb_rng_below(rng, 64));
	default:
		switch (ldb_rng_below(rng, 8)) {
		case 0:
			return 0;
		case 1:
			return LDB_KEY_MAX;
		case 2:
			return ldb_rng_next(rng);
		case 3:
			return near + 1;
		case 4:
			return near - 1;
		default:
			return near;
		}
	}
}

/* At most so many matches, so that joins of equal keys end. */
static size_t bounded(const ldb_key *build, size_t build_n, size_t probe_n)
{
	size_t most = 1, run = 1;
	for (size_t i = 1; i < build_n; i++) {
		run = build[i] == build[i - 1] ? run + 1 : 1;
		most = run > most ? run : most;
	}
	const size_t limit = 400000 / most + 1;
	return probe_n < limit ? probe_n : limit;
}

/* Keys with bits in their midst that all share: 8 of each 32 values as TPC-H's order keys, counted
 * through, or with some left out, one twice, or one, seldom seen, that has other bits. */
enum { GAP_FULL, GAP_HOLES, GAP_TWICE, GAP_STRANGER, GAPS };
static const char *const gap_names[] = {"order keys", "order keys with holes",
					"order keys, one twice", "order keys, one strange"};

static void make_gaps(int gap, ldb_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const size_t rank = 1 + (gap == GAP_HOLES ? i + i / 5 * 3 : i);
		keys[i] = rank / 8 * 32 + rank % 8;
	}
	if (gap == GAP_TWICE)
		keys[n / 2 + 1] = keys[n / 2];
	if (gap == GAP_STRANGER)
		keys[n / 8 * 8 / 2 + 3] += 8;
}

/* Of build keys of a kind, or from TEST_KIND_COUNT on those with gaps. */
static void make_case(test_case *c, int kind, int how, size_t build_n, size_t probe_n, int order)
{
	memset(c, 0, sizeof *c);
	ldb_rng rng;
	ldb_rng_seed(&rng, (uint64_t)kind * 977 + (uint64_t)how * 31 + build_n + probe_n);
	ldb_key *build = malloc((build_n + 1) * sizeof *build);
	assert_non_null(build);
	if (kind < TEST_KIND_COUNT)
		test_make_keys(kind, build, build_n);
	else
		make_gaps(kind - TEST_KIND_COUNT, build, build_n);
	probe_n = bounded(build, build_n, probe_n);
	ldb_key *probe = malloc((probe_n + 1) * sizeof *probe);
	assert_non_null(probe);
	for (size_t i = 0; i < probe_n; i++)
		probe[i] = probe_key(build, build_n, how, &rng);
	c->build_n = build_n;
	c->probe_n = probe_n;
	c->build_sorted = order & 1;
	c->probe_sorted = order & 2;
	c->build = guarded_side(build, build_n, c->build_sorted, &rng);
	c->probe = guarded_side(probe, probe_n, c->probe_sorted, &rng);
	snprintf(c->name, sizeof c->name, "%s, %s, %zu %s with %zu %s",
		 kind < TEST_KIND_COUNT ? test_kind_names[kind] : gap_names[kind - TEST_KIND_COUNT],
		 probe_names[how], build_n, order & 1 ? "sorted" : "unsorted", probe_n,
		 order & 2 ? "sorted" : "unsorted");
	find_matches(c);
	free(build);
	free(probe);
}

static void free_case(test_case *c)
{
	test_guarded_free(&c->build);
	test_guarded_free(&c->probe);
	free(c->matches);
}

/* --- checks ----------------------------------------------------------------------------------- */

static char finding[1200];

static bool found(const test_case *c, const char *join, const char *format, ...)
{
	char what[400];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	snprintf(finding, sizeof finding, "%.200s: %.160s: %s", join, c->name, what);
	return false;
}

static ldb_join_input input_of(const test_case *c, const ldb_competitor *join, size_t threads,
			       ldb_match *matches)
{
	return (ldb_join_input){.build = c->build.data,
				.probe = c->probe.data,
				.build_n = c->build_n,
				.probe_n = c->probe_n,
				.build_sorted = c->build_sorted,
				.probe_sorted = c->probe_sorted,
				.threads = join->flags & LDB_THREADS ? threads : 1,
				.params = join->params,
				.matches = matches,
				.index = join->used_index,
				.sort = join->used_sort,
				.index_params = join->used_params[LDB_INDEX],
				.sort_params = join->used_params[LDB_SORT]};
}

static bool check_matches(const test_case *c, const char *name, ldb_match *matches)
{
	qsort(matches, c->count, sizeof *matches, compare_matches);
	for (size_t i = 0; i < c->count; i++) {
		if (compare_matches(&matches[i], &c->matches[i]) != 0)
			return found(c, name, "match %zu is (%u, %u), expected (%u, %u)", i,
				     matches[i].build_row, matches[i].probe_row,
				     c->matches[i].build_row, c->matches[i].probe_row);
	}
	return true;
}

/* Is it legal that the join refuses this input? Only that of array_join, by its own rule. */
static bool may_refuse(const test_case *c, const ldb_competitor *join)
{
	if (strcmp(join->name, "array_join") != 0 || !c->build_n)
		return false;
	const ldb_key *keys = c->build.data;
	ldb_key least = keys[0], largest = keys[0];
	for (size_t i = 1; i < c->build_n; i++) {
		least = keys[i] < least ? keys[i] : least;
		largest = keys[i] > largest ? keys[i] : largest;
	}
	return (double)(largest - least) + 1 > join->params[0] * (double)c->build_n;
}

/* Joins once, with the matches kept or not. */
static bool check_once(const test_case *c, const ldb_competitor *join, size_t threads, bool keep)
{
	char name[200];
	snprintf(name, sizeof name, "%.30s:%.100s, %zu threads, %s", join->label, join->params_text,
		 threads, keep ? "matches kept" : "counted");
	/* One page of memory ends at the guard even if there is no match. */
	test_guarded room = test_guarded_alloc(c->count * sizeof *c->matches, TEST_GUARD_AFTER);
	const ldb_join_input input = input_of(c, join, threads, keep ? room.data : NULL);
	const size_t held_before = ldb_alloc_held();
	ldb_join_result result = {0};
	ldb_error err = {.subject = ""};
	const ldb_status status = join->join->join(&input, &result, &err);
	bool good = true;
	if (status == LDB_UNSUPPORTED && may_refuse(c, join))
		good = *err.remedy || found(c, name, "refuses without a remedy");
	else if (status != LDB_OK)
		good = found(c, name, "status %d: %s: %s", (int)status, err.subject, err.value);
	else if (result.count != c->count)
		good = found(c, name, "%llu matches, expected %zu",
			     (unsigned long long)result.count, c->count);
	else if (result.checksum != c->checksum)
		good = found(c, name, "checksum");
	else if (keep)
		good = check_matches(c, name, room.data);
	if (good && ldb_alloc_held() != held_before)
		good = found(c, name, "keeps %zu bytes", ldb_alloc_held() - held_before);
	test_guarded_free(&room);
	return good;
}

/* Every allocation is refused in turn, until none is. */
static bool check_refused(const test_case *c, const ldb_competitor *join)
{
	const ldb_join_input input = input_of(c, join, 2, NULL);
	for (uint64_t nth = 1;; nth++) {
		ldb_join_result result = {0};
		ldb_error err = {.subject = ""};
		const size_t held_before = ldb_alloc_held();
		ldb_alloc_fail_at(nth);
		const uint64_t calls_before = ldb_alloc_calls();
		const ldb_status status = join->join->join(&input, &result, &err);
		ldb_alloc_fail_at(0);
		const bool refused = ldb_alloc_calls() - calls_before >= nth;
		if (ldb_alloc_held() != held_before)
			return found(c, join->params_text, "refused call %llu leaves %zu bytes",
				     (unsigned long long)nth, ldb_alloc_held() - held_before);
		if (!refused && status == LDB_UNSUPPORTED && may_refuse(c, join))
			return true;
		if (!refused)
			return (status == LDB_OK && result.count == c->count &&
				result.checksum == c->checksum) ||
			       found(c, join->params_text, "wrong after refused calls");
		if (status == LDB_OK && result.count == c->count && result.checksum == c->checksum)
			continue; /* it could do without */
		if (status != LDB_OOM || !*err.subject || !*err.remedy)
			return found(c, join->params_text, "refused call %llu: status %d, '%s'",
				     (unsigned long long)nth, (int)status, err.subject);
	}
}

/* --- planted faults --------------------------------------------------------------------------- */

enum { NO_FAULT, LOSES, DOUBLES, SWAPS, WRONG_CHECKSUM, WRONG_ROW, LEAKS, GIVES_UP };
static int planted;
static void *leaked; /* kept, so that only the harness misses it */

static ldb_status faulty(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	for (size_t b = 0; b < input->build_n; b++) {
		for (size_t p = 0; p < input->probe_n; p++) {
			if (input->build[b] != input->probe[p])
				continue;
			if (input->matches)
				input->matches[out->count] = (ldb_match){(uint32_t)b, (uint32_t)p};
			out->checksum += ldb_match_hash((uint32_t)b, (uint32_t)p);
			out->count++;
		}
	}
	out->checksum += planted == WRONG_CHECKSUM;
	out->count -= planted == LOSES;
	out->count += planted == DOUBLES;
	if (planted == WRONG_ROW && input->matches)
		input->matches[0].build_row ^= 1;
	if (planted == SWAPS && input->matches) {
		const uint32_t row = input->matches[0].probe_row;
		input->matches[0].probe_row = input->matches[1].probe_row;
		input->matches[1].probe_row = row;
	}
	if (planted == LEAKS && !(leaked = ldb_alloc(16)))
		return LDB_OOM;
	return planted == GIVES_UP ? ldb_fail(err, LDB_INVALID, "x", "x", "x") : LDB_OK;
}

static void test_planted_faults(void **state)
{
	(void)state;
	static const ldb_join table = {.name = "faulty", .join = faulty};
	const ldb_competitor join = {.family = LDB_JOIN, .name = "faulty", .join = &table};
	test_case c;
	make_case(&c, TEST_UNIFORM, FOREIGN, 100, 200, 0);
	for (planted = NO_FAULT; planted <= GIVES_UP; planted++) {
		const bool good = check_once(&c, &join, 1, true);
		assert_int_equal(good, planted == NO_FAULT);
		if (planted == LOSES || planted == DOUBLES || planted == WRONG_CHECKSUM)
			assert_false(check_once(&c, &join, 1, false));
	}
	ldb_free(leaked, 16);
	planted = NO_FAULT;
	free_case(&c);
}

/* --- the tests of a plug-in ------------------------------------------------------------------- */

enum { MAX_VARIANTS = 40 };

typedef struct {
	char path[600], name[80];
	ldb_competitor variants[MAX_VARIANTS];
	size_t count;
} test_join;

/* The defaults, each choice of each parameter, and both ends of each number. */
static void open_variants(test_join *plugin)
{
	ldb_error err;
	char spec[800];
	ldb_competitor *v = plugin->variants;
	if (ldb_competitor_open(LDB_JOIN, plugin->path, &v[plugin->count++], &err) != LDB_OK)
		fail_msg("%s: %s: %s", plugin->path, err.subject, err.value);
	for (const ldb_param *p = v[0].param_table; p && p->name; p++) {
		const char *choices = p->choices;
		for (int i = 0; choices ? *choices != '\0' : i < 2; i++) {
			const size_t word = choices ? strcspn(choices, "|") : 0;
			if (choices)
				snprintf(spec, sizeof spec, "%s:%s=%.*s", plugin->path, p->name,
					 (int)word, choices);
			else
				snprintf(spec, sizeof spec, "%s:%s=%.10g", plugin->path, p->name,
					 i ? p->max : p->min);
			assert_true(plugin->count < MAX_VARIANTS);
			if (ldb_competitor_open(LDB_JOIN, spec, &v[plugin->count++], &err) !=
			    LDB_OK)
				fail_msg("%s: %s: %s", spec, err.subject, err.value);
			if (choices)
				choices += word + (choices[word] == '|');
		}
	}
}

static const size_t small_sizes[] = {0, 1, 2, 63, 64, 65, 1000};
enum { SMALL_SIZES = sizeof small_sizes / sizeof *small_sizes };

/* Both outputs by default parameters, either of them by others. */
static void check_all_variants(const test_join *plugin, const test_case *c, size_t threads)
{
	for (size_t v = 0; v < plugin->count; v++)
		for (int keep = 0; keep < 2; keep++)
			if (v == 0 || keep == (int)((v + c->probe_n + threads) % 2))
				if (!check_once(c, &plugin->variants[v], threads, keep))
					fail_msg("%s", finding);
}

/* All kinds of keys and probes at small sizes, in all orders, with all parameters. */
static void test_small(void **state)
{
	const test_join *plugin = *state;
	for (int kind = 0; kind < TEST_KIND_COUNT; kind++) {
		for (size_t s = 0; s < SMALL_SIZES; s++) {
			const size_t build_n = small_sizes[s];
			const size_t probe_n = small_sizes[(s * 3 + (size_t)kind) % SMALL_SIZES];
			test_case c;
			make_case(&c, kind, (kind + (int)s) % PROBES, build_n, probe_n,
				  (int)((s + (size_t)kind) % 4));
			check_all_variants(plugin, &c, 1 + s % 3);
			free_case(&c);
		}
		for (int how = kind % 2; how < PROBES; how += 2) {
			test_case c;
			make_case(&c, kind, how, 1000, 1000, (how + kind + 1) % 4);
			check_all_variants(plugin, &c, 1);
			free_case(&c);
		}
	}
}

/* Enough rows for groups, parts and full buffers, by default parameters and many threads. */
static void test_large(void **state)
{
	static const int kinds[] = {TEST_UNIFORM,   TEST_DENSE,  TEST_FEW_DISTINCT,
				    TEST_RUNS,      TEST_POWERS, TEST_OUTLIERS,
				    TEST_ENDS_MANY, TEST_PAIRS,  TEST_DENSE};
	const test_join *plugin = *state;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		test_case c;
		const int how = (int)k % 3;
		make_case(&c, kinds[k], how, 100000, k % 2 ? 100000 : 30000, (int)(k * 3 + 2) % 4);
		for (size_t threads = 1; threads < 100; threads = threads * 3 + 4)
			if (!check_once(&c, &plugin->variants[0], threads, threads != 7))
				fail_msg("%s", finding);
		free_case(&c);
	}
	test_case million;
	make_case(&million, TEST_UNIFORM, MIXED, 200000, 1000000, 0);
	if (!check_once(&million, &plugin->variants[0], 3, true))
		fail_msg("%s", finding);
	free_case(&million);
}

/* Keys whose range is dense but for bits that they share, in all orders. */
static void test_gaps(void **state)
{
	const test_join *plugin = *state;
	for (int gap = 0; gap < GAPS; gap++) {
		for (int order = 0; order < 4; order++) {
			test_case c;
			make_case(&c, TEST_KIND_COUNT + gap, (order + gap) % PROBES, 5000, 9000,
				  order);
			if (!check_once(&c, &plugin->variants[0], 1 + (size_t)order % 2, true))
				fail_msg("%s", finding);
			free_case(&c);
		}
	}
}

static void test_refused(void **state)
{
	const test_join *plugin = *state;
	for (int order = 0; order < 4; order++) {
		test_case c;
		make_case(&c, order & 1 ? TEST_DENSE : TEST_UNIFORM, MIXED, 3000, 5000, order);
		for (size_t v = 0; v < plugin->count; v++)
			if (!check_refused(&c, &plugin->variants[v]))
				fail_msg("%s: %s", plugin->name, finding);
		free_case(&c);
	}
}

static size_t find_plugins(test_join *plugins, size_t most)
{
	char exe[300] = "", pattern[400];
	const ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[length > 0 ? length : 0] = '\0';
	char *slash = strrchr(exe, '/');
	if (slash)
		*slash = '\0';
	snprintf(pattern, sizeof pattern, "%s/../joins/*.so", exe);
	glob_t files = {0};
	size_t count = 0;
	glob(pattern, 0, NULL, &files);
	for (size_t i = 0; i < files.gl_pathc && count < most; i++) {
		if (!test_level_supported(files.gl_pathv[i]) ||
		    strstr(files.gl_pathv[i], "/duckdb_join."))
			continue;
		test_join *plugin = &plugins[count++];
		snprintf(plugin->path, sizeof plugin->path, "%s", files.gl_pathv[i]);
		snprintf(plugin->name, sizeof plugin->name, "%s", strrchr(plugin->path, '/') + 1);
		open_variants(plugin);
	}
	globfree(&files);
	return count;
}

int main(int argc, char **argv)
{
	enum { MOST = 60, EACH = 4 };
	static test_join plugins[MOST];
	static char names[MOST * EACH][120];
	static struct CMUnitTest tests[1 + MOST * EACH];
	static const struct {
		const char *name;
		CMUnitTestFunction function;
	} each[EACH] = {{"small", test_small},
			{"large", test_large},
			{"gaps", test_gaps},
			{"refused", test_refused}};
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	const size_t count = find_plugins(plugins, MOST);
	if (!count) {
		fprintf(stderr, "test_joins: no joins beside this test; make plugins\n");
		return 1;
	}
	size_t made = 0;
	tests[made++] = (struct CMUnitTest)cmocka_unit_test(test_planted_faults);
	for (size_t i = 0; i < count * EACH; i++) {
		const test_join *plugin = &plugins[i / EACH];
		snprintf(names[i], sizeof names[i], "%s %s", plugin->name, each[i % EACH].name);
		tests[made++] = (struct CMUnitTest){names[i], each[i % EACH].function, NULL, NULL,
						    (void *)(uintptr_t)plugin};
	}
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return _cmocka_run_group_tests("joins", tests, made, NULL, NULL);
}
