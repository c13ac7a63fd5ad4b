/*
 * Self-tuning, of every index that reports time spent on it, on all generated key sets: what it
 * finds is no worse than settings that do not depend on the keys, stays within the budget of bytes,
 * and, given back as parameters, makes the same index. Judged by the windows that the last-mile
 * search gets, never by time.
 *
 *   test_tuning [PATTERN]     PATTERN selects tests by name: 'rmi*'
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataset.h"
#include "memory.h"
#include "test_index.h"

enum {
	KEYS = 200000,
	SETS_MOST = 32,
	PARAMS_MOST = 32,
	FIXED_MOST = 6,
	/* Of an index that can't be made smaller: its struct and tables of no length. */
	BYTES_LEAST = 2048,
};

typedef struct {
	const char *name;
	const char *open; /* parameters with which it tunes, where not the defaults */
	double budget;    /* percent of the keys' size that it stays within */
	double slack; /* by how much the mean log2 of windows may be worse, as it sees a sample */
	const char *fixed[FIXED_MOST]; /* than with these settings; ends with NULL */
} tuner;

/*
 * Fixed are the settings of the papers and their implementations, and what was the default here.
 * rbs looks at 64 keys and no more, so its estimate is rougher (0.44 on zipf, else 0.2). cht weighs
 * windows against levels of the tree, of which one less may be worth more.
 */
static const tuner tuners[] = {
	{"rmi",
	 "",
	 10,
	 0.1,
	 {"leaves=8333;root=linear", "leaves=8333;root=robust", "leaves=8333;root=cubic",
	  "leaves=8333;root=radix", "leaves=8333;root=loglinear"}},
	{"rmi", "budget=1", 1, 0.1, {"leaves=833;root=linear", "leaves=833;root=robust"}},
	{"rmi", "root=linear", 10, 0.1, {"leaves=9992;root=linear"}},
	{"rmi", "budget=40;root=robust", 40, 0.1, {"leaves=8333;root=robust"}},
	{"radixspline", "epsilon=0", 10, 0.1, {"epsilon=32", "radix_bits=18;epsilon=32"}},
	{"pgm", "", 10, 0.1, {"epsilon=32", "epsilon=64", "epsilon=128"}},
	{"cht",
	 "",
	 10,
	 0.6,
	 {"bins=64;max_error=16", "bins=64;max_error=32", "bins=64;max_error=64"}},
	{"plex", "", 10, 0.1, {"epsilon=32", "epsilon=64", "epsilon=128"}},
	{"rbs", "", 10, 0.5, {"radix_bits=12", "radix_bits=14", "radix_bits=16", "trim=0"}},
};

/* --- key sets --------------------------------------------------------------------------------- */

static ldb_key *sets[SETS_MOST];
static size_t set_count;

static int make_sets(void **state)
{
	(void)state;
	for (; ldb_generators[set_count].name; set_count++) {
		assert_true(set_count < SETS_MOST);
		sets[set_count] = malloc(KEYS * sizeof(ldb_key));
		assert_non_null(sets[set_count]);
		ldb_generators[set_count].generate(sets[set_count], KEYS, 42);
	}
	return 0;
}

static int free_sets(void **state)
{
	(void)state;
	while (set_count)
		free(sets[--set_count]);
	return 0;
}

/* --- parameters ------------------------------------------------------------------------------- */

static double value_of(const ldb_param *param, const char *text)
{
	int number = 0;
	for (const char *choice = param->choices; choice; number++) {
		const size_t length = strcspn(choice, "|");
		if (strlen(text) == length && strncmp(choice, text, length) == 0)
			return number;
		choice = choice[length] ? choice + length + 1 : NULL;
	}
	char *end;
	const double value = strtod(text, &end);
	if (*end || param->choices)
		fail_msg("'%s' is no value of '%s'", text, param->name);
	return value;
}

/* Sets values as "name=value;name=value" says; false when some names are not parameters. */
static bool set_values(const ldb_index *index, const char *text, double *values)
{
	char copy[256];
	bool all = true;
	snprintf(copy, sizeof copy, "%s", text);
	for (char *rest = copy, *one; (one = strsep(&rest, ";"));) {
		char *value = strchr(one, '=');
		if (!value)
			continue;
		*value++ = '\0';
		size_t p = 0;
		while (p < test_param_count(index) && strcmp(index->params[p].name, one) != 0)
			p++;
		if (p < test_param_count(index))
			values[p] = value_of(&index->params[p], value);
		else
			all = false;
	}
	return all;
}

static void set_defaults(const ldb_index *index, double *values)
{
	assert_true(test_param_count(index) <= PARAMS_MOST);
	for (size_t p = 0; p < test_param_count(index); p++)
		values[p] = index->params[p].def;
}

/* --- indexes ---------------------------------------------------------------------------------- */

typedef struct {
	void *self;
	size_t bytes;
	double mean_log2; /* of the windows of all keys */
	ldb_index_info info;
} built;

static built build(const ldb_index *index, const ldb_key *keys, const double *values)
{
	built b = {.self = NULL};
	ldb_error err;
	if (index->build(&b.self, keys, KEYS, values, &err) != LDB_OK)
		fail_msg("%s: %s: %s", index->name, err.subject, err.value);
	b.bytes = index->bytes(b.self);
	if (index->info)
		index->info(b.self, &b.info);
	for (size_t i = 0; index->window && i < KEYS; i++) {
		size_t lo, hi;
		index->window(b.self, keys[i], &lo, &hi);
		b.mean_log2 += log2((double)(hi - lo + 1)) / KEYS;
	}
	return b;
}

/* Keys, and the middles between them. */
static bool same_windows(const ldb_index *index, const void *a, const void *b, const ldb_key *keys)
{
	for (size_t i = 0; index->window && i + 1 < KEYS; i++) {
		const ldb_key q[] = {keys[i], keys[i] + (keys[i + 1] - keys[i]) / 2};
		for (int k = 0; k < 2; k++) {
			size_t lo[2], hi[2];
			index->window(a, q[k], &lo[0], &hi[0]);
			index->window(b, q[k], &lo[1], &hi[1]);
			if (lo[0] != lo[1] || hi[0] != hi[1])
				return false;
		}
	}
	return true;
}

/* --- checks ----------------------------------------------------------------------------------- */

static size_t faults; /* in a test; all are told */

__attribute__((format(printf, 3, 4))) static void fault(const ldb_index *index, size_t set,
							const char *format, ...)
{
	char text[512];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	print_error("%s on %s: %s\n", index->name, ldb_generators[set].name, text);
	faults++;
}

static size_t budget_bytes(double percent)
{
	const size_t bytes = (size_t)(percent / 100 * KEYS * sizeof(ldb_key));
	return bytes > BYTES_LEAST ? bytes : BYTES_LEAST;
}

static void check_fixed(const ldb_index *index, const tuner *t, size_t set, const built *tuned)
{
	for (size_t f = 0; index->window && f < FIXED_MOST && t->fixed[f]; f++) {
		double values[PARAMS_MOST];
		set_defaults(index, values);
		assert_true(set_values(index, t->fixed[f], values));
		built b = build(index, sets[set], values);
		index->destroy(b.self);
		if (b.bytes <= budget_bytes(t->budget) && b.mean_log2 < tuned->mean_log2 - t->slack)
			fault(index, set, "windows of 2^%.2f by %s, 2^%.2f by %s", tuned->mean_log2,
			      tuned->info.chosen, b.mean_log2, t->fixed[f]);
	}
}

/* What was chosen, given as parameters. */
static void check_given_back(const ldb_index *index, const double *open, size_t set,
			     const built *tuned)
{
	double values[PARAMS_MOST];
	memcpy(values, open, sizeof values);
	const bool all = set_values(index, tuned->info.chosen, values);
	built b = build(index, sets[set], values);
	if (b.bytes != tuned->bytes || !same_windows(index, b.self, tuned->self, sets[set]))
		fault(index, set,
		      "not the same when given %s%s: %zu bytes, windows of 2^%.4f, not %zu, 2^%.4f",
		      tuned->info.chosen, all ? "" : " (as far as parameters go)", b.bytes,
		      b.mean_log2, tuned->bytes, tuned->mean_log2);
	index->destroy(b.self);
}

/* --- tests ------------------------------------------------------------------------------------ */

typedef struct {
	const test_plugin *plugin;
	tuner tuner;
	char name[128];
} tuning_test;

static void test_tuner(void **state)
{
	const tuning_test *test = *state;
	const ldb_index *index = test->plugin->index;
	if (!index)
		fail_msg("%s", test->plugin->problem);
	double values[PARAMS_MOST] = {0};
	set_defaults(index, values);
	assert_true(set_values(index, test->tuner.open, values));
	bool tunes = false;
	faults = 0;
	for (size_t set = 0; set < set_count; set++) {
		built tuned = build(index, sets[set], values);
		const size_t budget = budget_bytes(test->tuner.budget);
		tunes |= tuned.info.tune_ns > 0;
		if (tuned.info.tune_ns && tuned.bytes > budget)
			fault(index, set, "%s takes %zu bytes where %zu are granted",
			      tuned.info.chosen, tuned.bytes, budget);
		check_fixed(index, &test->tuner, set, &tuned);
		check_given_back(index, values, set, &tuned);
		index->destroy(tuned.self);
	}
	assert_int_equal(faults, 0);
	if (!tunes) {
		assert_null(test->tuner.fixed[0]);
		skip(); /* there is nothing to tune */
	}
}

/* For an index without a row above: what holds for all, and what its parameter `budget` says. */
static tuner tuner_of(const ldb_index *index)
{
	tuner t = {.name = index->name, .open = "", .budget = INFINITY};
	for (size_t p = 0; p < test_param_count(index); p++)
		if (strcmp(index->params[p].name, "budget") == 0)
			t.budget = index->params[p].def;
	return t;
}

static void add_test(struct CMUnitTest *test, tuning_test *state, const test_plugin *plugin,
		     tuner t)
{
	*state = (tuning_test){.plugin = plugin, .tuner = t};
	snprintf(state->name, sizeof state->name, "%s%s%s", plugin->label, *t.open ? ":" : "",
		 t.open);
	*test = (struct CMUnitTest){
		.name = state->name, .test_func = test_tuner, .initial_state = state};
}

int main(int argc, char **argv)
{
	enum { TUNERS = sizeof tuners / sizeof *tuners };
	size_t plugin_count, count = 0;
	test_plugin *plugins = test_plugins(&plugin_count);
	struct CMUnitTest *tests = calloc(plugin_count + TUNERS, sizeof *tests);
	tuning_test *states = calloc(plugin_count + TUNERS, sizeof *states);
	if (!tests || !states || plugin_count == 0) {
		fprintf(stderr, "no plug-ins found: run `make`, or set LDB_TEST_PLUGINS\n");
		return 1;
	}
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t p = 0; p < plugin_count; p++) {
		const test_plugin *plugin = &plugins[p];
		/* All levels of a plug-in tune alike. */
		if (strchr(plugin->label, '.') || !plugin->index || !plugin->index->info)
			continue; /* without info nothing can be told of tuning */
		const size_t before = count;
		for (size_t t = 0; t < TUNERS; t++)
			if (strcmp(tuners[t].name, plugin->index->name) == 0) {
				add_test(&tests[count], &states[count], plugin, tuners[t]);
				count++;
			}
		if (count == before) {
			add_test(&tests[count], &states[count], plugin, tuner_of(plugin->index));
			count++;
		}
	}
	int failed = _cmocka_run_group_tests("tuning", tests, count, make_sets, free_sets);
	free(states);
	free(tests);
	free(plugins);
	return failed;
}
