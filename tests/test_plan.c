/*
 * Unit tests of the plan (harness/plan.c): lists, ranges, sections, lines that go on, what the
 * command line overrides, where errors point to, memory, the order of stages; and a fuzzer that
 * feeds mutated INI files and settings to ldb_plan_make, which must take them or say why not.
 *
 * Takes the plug-ins of the build that this binary lies in, and generated key sets.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dataset.h"
#include "names.h"
#include "plan.h"
#include "query.h"
#include "rng.h"

static char folder[64]; /* for the files of these tests */
static char ini_path[96], keys_path[96];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/ldb-plan-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(ini_path, sizeof ini_path, "%s/x.ini", folder);
	snprintf(keys_path, sizeof keys_path, "%s/keys_uint64", folder);
	ldb_key keys[12345];
	for (size_t i = 0; i < 12345; i++)
		keys[i] = 10 * i;
	return ldb_dataset_write(keys_path, keys, 12345, 64, NULL) == LDB_OK ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(ini_path);
	unlink(keys_path);
	return rmdir(folder);
}

static void write_ini(const char *text, size_t length)
{
	FILE *f = fopen(ini_path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
}

#define SETTINGS(...)                                                                              \
	(const ldb_setting[])                                                                      \
	{                                                                                          \
		__VA_ARGS__,                                                                       \
		{                                                                                  \
			NULL, NULL                                                                 \
		}                                                                                  \
	}

static ldb_status make(const char *ini, const ldb_setting *settings, ldb_plan *plan, ldb_error *err)
{
	size_t count = 0;
	while (settings && settings[count].name)
		count++;
	*err = (ldb_error){.subject = ""};
	if (ini)
		write_ini(ini, strlen(ini));
	return ldb_plan_make(ini ? ini_path : NULL, settings, count, plan, err);
}

static ldb_plan make_good(const char *ini, const ldb_setting *settings)
{
	ldb_plan plan;
	ldb_error err;
	if (make(ini, settings, &plan, &err) != LDB_OK)
		fail_msg("%s: %s; %s", err.subject, err.value, err.remedy);
	return plan;
}

/* It must fail so, each field with that part in it. */
static void assert_bad(const char *ini, const ldb_setting *settings, ldb_status status,
		       const char *subject, const char *value, const char *remedy)
{
	ldb_plan plan;
	ldb_error err;
	ldb_status got = make(ini, settings, &plan, &err);
	if (got != status || !strstr(err.subject, subject) || !strstr(err.value, value) ||
	    !strstr(err.remedy, remedy))
		fail_msg("for '%s' expected [%s] [%s] [%s], got status %d [%s] [%s] [%s]",
			 ini ? ini : settings[0].value, subject, value, remedy, (int)got,
			 err.subject, err.value, err.remedy);
	assert_null(plan.experiments);
	assert_int_equal(plan.count, 0);
}

#define ENOUGH                                                                                     \
	{"index", "btree"}, {"dataset", "uniform_sparse"},                                         \
	{                                                                                          \
		"memory", "1e12"                                                                   \
	}
#define HEAD "index = btree\ndataset = uniform_sparse\nmemory = 1e12\n"

static void assert_sizes(const ldb_experiment *e, const size_t *sizes, size_t count)
{
	assert_int_equal(e->size_count, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(e->sizes[i], sizes[i]);
}

/* --- settings ----------------------------------------------------------------------------------
 */

static void test_defaults(void **state)
{
	(void)state;
	ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH));
	assert_int_equal(plan.count, 1);
	assert_null(plan.config_text);
	const ldb_experiment *e = plan.experiments;
	assert_string_equal(e->experiment, "run");
	size_t count;
	ldb_stage *stages = ldb_plan_stages(&plan, &count);
	assert_int_equal(count, 1);
	assert_int_equal(stages[0].n, 1000000);
	free(stages);
	assert_int_equal(e->workload_count, 1);
	assert_string_equal(e->workloads[0].name, "uniform");
	assert_int_equal(e->mode_count, 1);
	assert_int_equal(e->modes[0], LDB_INDEPENDENT);
	assert_int_equal(e->page_count, 1);
	assert_int_equal(e->pages[0], LDB_PAGES_THP);
	assert_int_equal(e->thread_count, 1);
	assert_int_equal(e->threads[0], 1);
	assert_int_equal(e->payload_count, 1);
	assert_int_equal(e->payloads[0], 0);
	assert_int_equal(e->reps, 10);
	assert_int_equal(e->ops, 0);
	assert_int_equal(e->seed, 42);
	assert_false(e->optional);
	ldb_plan_free(&plan);
	ldb_plan_free(&plan); /* an empty one may be freed again */
}

static void test_sizes(void **state)
{
	(void)state;
	const struct {
		const char *text;
		size_t sizes[9], count;
	} good[] = {
		{"1000", {1000}, 1},
		{"1K, 2.5M ,1e6", {1000, 2500000, 1000000}, 3},
		{"1K..10M", {1000, 10000, 100000, 1000000, 10000000}, 5},
		{"5K..2M", {5000, 50000, 500000, 2000000}, 4},
		{"1K..9999", {1000, 9999}, 2},
		{"1K..10001", {1000, 10000, 10001}, 3},
		{"1K..1K", {1000}, 1},
		{"7..8", {7, 8}, 2},
		{"1..1000", {1, 10, 100, 1000}, 4},
		{"1K..10K,3K,20K..200K", {1000, 10000, 3000, 20000, 200000}, 5},
		{"2.01M", {2010000}, 1},
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH, {"size", good[i].text}));
		assert_sizes(plan.experiments, good[i].sizes, good[i].count);
		ldb_plan_free(&plan);
	}
	const char *const bad[] = {"0",     "-1",       "1.5",        "0..10", "10K..1K", "1K..",
				   "..1K",  "1K...10K", "1K..2K..3K", "many",  "1K-10K",  "0x10",
				   "1K 2K", "..",       "1..max",     "nan"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_bad(NULL, SETTINGS(ENOUGH, {"size", bad[i]}), LDB_INVALID, "--size", bad[i],
			   "1K..100M or max");
	/* What is named twice is measured once. */
	ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH, {"size", "1K,1..1K,1000"}));
	assert_sizes(plan.experiments, (size_t[]){1000, 1, 10, 100}, 4);
	ldb_plan_free(&plan);
	/* 64 fit, 65 do not; neither by a range. */
	char list[300] = "101", more[320];
	for (int i = 102; i < 101 + 64; i++)
		snprintf(list + strlen(list), 16, ",%d", i);
	plan = make_good(NULL, SETTINGS(ENOUGH, {"size", list}));
	assert_int_equal(plan.experiments->size_count, 64);
	ldb_plan_free(&plan);
	snprintf(more, sizeof more, "%s,7", list);
	assert_bad(NULL, SETTINGS(ENOUGH, {"size", more}), LDB_INVALID, "--size", "7",
		   "at most 64");
	snprintf(more, sizeof more, "%.*s,1..10", 4 * 63 - 1, list);
	assert_bad(NULL, SETTINGS(ENOUGH, {"size", more}), LDB_INVALID, "--size", "1..10",
		   "at most 64");
}

/* Sizes against what a file holds. */
static void test_sizes_of_files(void **state)
{
	(void)state;
	const ldb_setting file = {"dataset", keys_path};
	ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH, file, {"size", "1K..10K,max,12345"}));
	size_t count;
	ldb_stage *stages = ldb_plan_stages(&plan, &count);
	assert_int_equal(count, 3); /* all of the file is one stage, by either name */
	assert_int_equal(stages[2].n, 12345);
	free(stages);
	ldb_plan_free(&plan);
	/* Without a size: all of a file, a million of a generator, in either order. */
	for (int first = 0; first < 2; first++) {
		char both[128];
		snprintf(both, sizeof both, first ? "%s,uniform_sparse" : "uniform_sparse,%s",
			 keys_path);
		plan = make_good(
			NULL, SETTINGS({"index", "btree"}, {"dataset", both}, {"memory", "1e12"}));
		stages = ldb_plan_stages(&plan, &count);
		assert_int_equal(count, 2);
		assert_int_equal(stages[!first].n, 12345);
		assert_int_equal(stages[first].n, 1000000);
		free(stages);
		ldb_plan_free(&plan);
	}
	assert_bad(NULL, SETTINGS(ENOUGH, file, {"size", "12346"}), LDB_INVALID, keys_path,
		   "it holds 12345 keys, 12346 asked", "--size 12345");
	assert_bad(NULL, SETTINGS(ENOUGH, {"size", "max"}), LDB_INVALID, "uniform_sparse",
		   "no --size max", "give a number");
}

static void test_every_setting(void **state)
{
	(void)state;
	ldb_plan plan = make_good(
		NULL, SETTINGS({"index", "btree,rmi:leaves=64:root=linear"},
			       {"dataset", "uniform_sparse, uniform_dense"}, {"size", "1K"},
			       {"workload", "zipf:0.5,absent"}, {"mode", "chained,batched"},
			       {"pages", "4k,huge"}, {"threads", "2,256"}, {"payload", "64,0,8"},
			       {"reps", "3"}, {"ops", "1e5"}, {"pass-ms", "2.5"},
			       {"seed", "18446744073709551615"}, {"timeout", "1.5"},
			       {"memory", "1e12"}, {"numa", "interleave"}, {"reference", "rmi"},
			       {"key-bits", "64"}, {"optional", "yes"}, {"experiment", "mine"}));
	const ldb_experiment *e = plan.experiments;
	assert_int_equal(e->competitor_count, 2);
	assert_string_equal(e->competitors[1].params_text,
			    "leaves=64;root=linear;budget=10;build_threads=1");
	assert_string_equal(e->datasets[1], "uniform_dense");
	assert_string_equal(e->workloads[0].name, "zipf:0.5");
	assert_string_equal(e->workloads[1].name, "absent:50");
	assert_int_equal(e->modes[0], LDB_CHAINED);
	assert_int_equal(e->modes[1], LDB_BATCHED);
	assert_int_equal(e->pages[0], LDB_PAGES_4K);
	assert_int_equal(e->pages[1], LDB_PAGES_HUGE);
	assert_int_equal(e->threads[1], 256);
	assert_int_equal(e->payloads[0], 64);
	assert_int_equal(e->payloads[2], 8);
	assert_int_equal(e->reps, 3);
	assert_int_equal(e->ops, 100000);
	assert_true(e->pass_ms == 2.5);
	assert_true(e->seed == UINT64_MAX);
	assert_true(e->timeout_s == 1.5);
	assert_true(e->memory_bytes == 1000000000000u);
	assert_true(ldb_memory_budget(e) == 1000000000000u);
	assert_string_equal(e->numa, "interleave");
	assert_int_equal(ldb_reference(e), 1);
	assert_int_equal(e->key_bits, 64);
	assert_true(e->optional);
	assert_string_equal(e->experiment, "mine");
	ldb_plan_free(&plan);
	/* The last of several wins; a list is replaced, not added to. */
	plan = make_good(NULL, SETTINGS(ENOUGH, {"reps", "3"}, {"size", "1K,2K"}, {"reps", "5"},
					{"size", "7"}));
	assert_int_equal(plan.experiments->reps, 5);
	assert_sizes(plan.experiments, (size_t[]){7}, 1);
	ldb_plan_free(&plan);
	/* Lists of few possible words take repeats for one. */
	plan = make_good(NULL,
			 SETTINGS(ENOUGH, {"mode", "batched,chained,batched,independent,chained"},
				  {"pages", "4k,thp,4k,huge,huge"}, {"payload", "8,0,8,64,0"},
				  {"threads", "2,1,2"}, {"workload", "zipf,zipf:0.99,hot"},
				  {"dataset", "uniform_dense,uniform_dense"}));
	assert_int_equal(plan.experiments->mode_count, 3);
	assert_int_equal(plan.experiments->page_count, 3);
	assert_int_equal(plan.experiments->payload_count, 3);
	assert_int_equal(plan.experiments->thread_count, 2);
	assert_int_equal(plan.experiments->workload_count, 2);
	assert_int_equal(plan.experiments->dataset_count, 1);
	assert_int_equal(plan.experiments->modes[0], LDB_BATCHED);
	assert_int_equal(plan.experiments->payloads[0], 8);
	ldb_plan_free(&plan);
	plan = make_good(NULL, SETTINGS(ENOUGH, {"seed", "0x10"}));
	assert_int_equal(plan.experiments->seed, 16);
	ldb_plan_free(&plan);
	plan = make_good(NULL, SETTINGS(ENOUGH, {"seed", "010"})); /* not octal */
	assert_int_equal(plan.experiments->seed, 10);
	ldb_plan_free(&plan);
}

static void test_bad_values(void **state)
{
	(void)state;
	const struct {
		const char *name, *value, *remedy;
	} bad[] = {
		{"reps", "0", "out of range"},
		{"reps", "-1", "out of range"},
		{"reps", "100001", "out of range"},
		{"reps", "", "out of range"},
		{"reps", "1,2", "out of range"},
		{"ops", "0", "out of range"},
		{"ops", "1.5", "out of range"},
		{"seed", "-1", "out of range"},
		{"seed", "", "out of range"},
		{"seed", "1x", "out of range"},
		{"seed", "0x", "out of range"},
		{"seed", "18446744073709551616", "out of range"},
		{"pass-ms", "0", "out of range"},
		{"pass-ms", "nan", "out of range"},
		{"pass-ms", "1e7", "out of range"},
		{"timeout", "inf", "out of range"},
		{"timeout", "0", "out of range"},
		{"memory", "0", "out of range"},
		{"memory", "lots", "out of range"},
		{"key-bits", "16", "out of range"},
		{"numa", "everywhere", "out of range"},
		{"numa", "1024", "out of range"},
		{"numa", "-1", "out of range"},
		{"optional", "true", "out of range"},
		{"experiment", "", "out of range"},
		{"experiment", "0123456789012345678901234567890123456789012345678901234567890123",
		 "out of range"},
		{"workload", "unifrom", "did you mean uniform?"},
		{"mode", "chain", "did you mean chained?"},
		{"pages", "2m", "known: 4k, thp, huge"},
		{"threads", "0", "from 1 to 256"},
		{"threads", "257", "from 1 to 256"},
		{"payload", "16", "0, 8 or 64"},
		{"size", "", "stray comma"},
		{"size", "1K,", "stray comma"},
		{"size", ",1K", "stray comma"},
		{"size", "1K,,2K", "stray comma"},
		{"index", " ", "stray comma"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char subject[64];
		snprintf(subject, sizeof subject, "--%s", bad[i].name);
		assert_bad(NULL, SETTINGS(ENOUGH, {bad[i].name, bad[i].value}), LDB_INVALID,
			   subject, "'", bad[i].remedy);
	}
	assert_bad(NULL, SETTINGS(ENOUGH, {"sizes", "1K"}), LDB_INVALID, "command line",
		   "unknown setting 'sizes'", "did you mean size?");
	/* Longer than the longest name of a file: said, not cut. */
	char text[2000];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	for (size_t length = 250; length < 2000; length += 250) {
		text[length] = '\0';
		assert_bad(NULL, SETTINGS(ENOUGH, {"dataset", text}), LDB_INVALID, "",
			   length < 512 ? "unknown" : "'xxx", length < 512 ? "" : "shorten");
		text[length] = 'x';
	}
}

static void test_competitors(void **state)
{
	(void)state;
	assert_bad(NULL, SETTINGS({"dataset", "uniform_sparse"}), LDB_INVALID, "run", "no --index",
		   "name at least one");
	assert_bad(NULL, SETTINGS({"index", "btree"}), LDB_INVALID, "run", "no --dataset",
		   "name at least one");
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "btree,btree"}), LDB_INVALID, "--index",
		   "'btree' twice", "once");
	/* The same by its default parameters; others are another competitor. */
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "rmi,rmi:leaves=0"}), LDB_INVALID, "--index",
		   "'rmi:leaves=0' twice", "once");
	assert_bad(NULL, SETTINGS(ENOUGH, {"reference", "rmi"}), LDB_INVALID, "reference", "'rmi'",
		   "add it to");
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "btree,btrie"}), LDB_INVALID, "--index",
		   "'btrie'", "did you mean btree?");
	assert_bad(NULL, SETTINGS(ENOUGH, {"dataset", "uniform_spare"}), LDB_INVALID, "",
		   "uniform_spare", "uniform_sparse");
	ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH, {"index", "rmi,rmi:leaves=7"}));
	assert_int_equal(plan.experiments->competitor_count, 2);
	ldb_plan_free(&plan);
	/* The reference: as wished; else the B-tree; else one that is not learned; else the first.
	 */
	const struct {
		const char *index, *reference;
		size_t number;
	} references[] = {
		{"rmi,bsearch,btree", "rmi", 0}, {"rmi,bsearch,btree", "bsearch", 1},
		{"rmi,bsearch,btree", "", 2},    {"null,rmi,bsearch", "", 2},
		{"radixspline,rmi", "", 0},      {"null", "", 0},
	};
	for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
		plan = make_good(NULL, SETTINGS(ENOUGH, {"index", references[i].index},
						{"reference", references[i].reference}));
		assert_int_equal(ldb_reference(plan.experiments), references[i].number);
		ldb_plan_free(&plan);
	}
}

/* Plug-ins of both widths side by side; those for keys of 32 bits need not be built. */
static void test_key_bits(void **state)
{
	(void)state;
	const int widths[] = {64, 32, 64, 32, 64, 32};
	ldb_competitor narrow;
	assert_bad(NULL, SETTINGS(ENOUGH, {"key-bits", "32,16"}), LDB_INVALID, "--key-bits",
		   "32,16", "");
	assert_bad(
		NULL,
		SETTINGS({"sort", "radix_sort"}, {"dataset", "uniform_sparse"}, {"key-bits", "32"}),
		LDB_INVALID, "--key-bits 32", "only lookups", "leave it out");
	assert_bad(NULL, SETTINGS(ENOUGH, {"workload", "mix50"}, {"key-bits", "32,64"}),
		   LDB_INVALID, "--key-bits 32", "only lookups", "leave it out");
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "lipp"}, {"key-bits", "32"}), LDB_INVALID,
		   "--key-bits 32", "lipp has no build", "make bits32");
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "bserch"}, {"key-bits", "32"}), LDB_INVALID,
		   "--index", "'bserch'", "did you mean bsearch?");
	if (ldb_competitor_open_for(32, LDB_INDEX, "bsearch", &narrow, NULL) != LDB_OK)
		skip();
	ldb_plan plan = make_good(
		NULL, SETTINGS(ENOUGH, {"index", "rmi,btree,bsearch"}, {"key-bits", "32,64"}));
	const ldb_experiment *e = plan.experiments;
	assert_int_equal(e->competitor_count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(e->competitors[i].key_bits, widths[i]);
		assert_int_equal(ldb_is_reference(e, i), i == 2 || i == 3); /* btree of each */
	}
	assert_int_equal(ldb_reference(e), 2);
	assert_int_equal(ldb_file_key_bits(e), 0);
	ldb_plan_free(&plan);
	plan = make_good(NULL, SETTINGS(ENOUGH, {"index", "rmi,bsearch"}, {"key-bits", "32"}));
	e = plan.experiments;
	assert_int_equal(e->competitor_count, 2);
	assert_int_equal(e->competitors[1].key_bits, 32);
	assert_int_equal(ldb_reference(e), 1);
	assert_int_equal(ldb_file_key_bits(e), 32);
	ldb_plan_free(&plan);
	assert_bad(NULL, SETTINGS(ENOUGH, {"index", "rmi,rmi"}, {"key-bits", "32,64"}), LDB_INVALID,
		   "--index", "twice", "once");
}

/* --- INI files ---------------------------------------------------------------------------------
 */

static void test_sections(void **state)
{
	(void)state;
	ldb_plan plan = make_good("index = btree, bsearch\n"
				  "dataset = uniform_sparse\n"
				  "size = 1K, 2K\n"
				  "reps = 4\n"
				  "memory = 1e12\n"
				  "[small]\n"
				  "size = 10\n"
				  "mode = chained\n"
				  "[other]\n"
				  "reps = 9\n"
				  "index = rmi\n",
				  NULL);
	assert_int_equal(plan.count, 2);
	assert_non_null(strstr(plan.config_text, "[other]\nreps = 9"));
	const ldb_experiment *small = &plan.experiments[0], *other = &plan.experiments[1];
	assert_string_equal(small->experiment, "small");
	assert_sizes(small, (size_t[]){10}, 1);
	assert_int_equal(small->reps, 4);
	assert_int_equal(small->competitor_count, 2);
	assert_int_equal(small->modes[0], LDB_CHAINED);
	/* What a section says holds for it alone. */
	assert_string_equal(other->experiment, "other");
	assert_sizes(other, (size_t[]){1000, 2000}, 2);
	assert_int_equal(other->reps, 9);
	assert_int_equal(other->competitor_count, 1);
	assert_string_equal(other->competitors[0].index->name, "rmi");
	assert_int_equal(other->modes[0], LDB_INDEPENDENT);
	ldb_plan_free(&plan);
	/* A common name of the experiment holds; a section's own is stronger. */
	plan = make_good(HEAD "experiment = all\n[a]\nsize = 1\n[b]\nexperiment = mine\n", NULL);
	assert_string_equal(plan.experiments[0].experiment, "all");
	assert_string_equal(plan.experiments[1].experiment, "mine");
	ldb_plan_free(&plan);
	/* The command line overrides all sections. */
	plan = make_good(HEAD "[a]\nsize = 1\n[b]\nsize = 2\nreps = 7\n",
			 SETTINGS({"size", "5"}, {"reps", "2"}));
	for (size_t i = 0; i < 2; i++) {
		assert_sizes(&plan.experiments[i], (size_t[]){5}, 1);
		assert_int_equal(plan.experiments[i].reps, 2);
	}
	ldb_plan_free(&plan);
	plan = make_good(HEAD, NULL); /* no section: one experiment */
	assert_int_equal(plan.count, 1);
	assert_string_equal(plan.experiments->experiment, "run");
	ldb_plan_free(&plan);
	plan = make_good("", SETTINGS(ENOUGH)); /* an empty file: the command line says it all */
	assert_int_equal(plan.count, 1);
	ldb_plan_free(&plan);
}

static void test_lines(void **state)
{
	(void)state;
	/* A list goes on on indented lines, comments between, with or without a comma. */
	ldb_plan plan = make_good(HEAD "size = 1K,\n"
				       "  2K, 3K,\n"
				       "; a comment\n"
				       "\t4K ; another\n"
				       "\n"
				       "   # and a third\n"
				       "   5K\n"
				       "reps = 3\n",
				  NULL);
	assert_sizes(plan.experiments, (size_t[]){1000, 2000, 3000, 4000, 5000}, 5);
	assert_int_equal(plan.experiments->reps, 3);
	ldb_plan_free(&plan);
	/* Line ends of Windows, a byte order mark, no newline at the end, no blanks, ':' for '='.
	 */
	plan = make_good("\xef\xbb\xbfindex=btree\r\n"
			 "dataset:uniform_sparse\r\n"
			 "memory =1e12\r\n"
			 "[ab c]\r\n"
			 "size= 1K,\r\n"
			 "\t2K\r\n"
			 "reps =   8   ",
			 NULL);
	assert_string_equal(plan.experiments->experiment, "ab c");
	assert_sizes(plan.experiments, (size_t[]){1000, 2000}, 2);
	assert_int_equal(plan.experiments->reps, 8);
	ldb_plan_free(&plan);
	plan = make_good("\xef\xbb\xbf[only]\n" HEAD, NULL);
	assert_string_equal(plan.experiments->experiment, "only");
	ldb_plan_free(&plan);
	/* The first setting of a section may be indented: it replaces, and does not go on. */
	plan = make_good(HEAD "[a]\n  size = 5\n[b]\n\tsize = 6\n", NULL);
	assert_sizes(&plan.experiments[0], (size_t[]){5}, 1);
	assert_sizes(&plan.experiments[1], (size_t[]){6}, 1);
	ldb_plan_free(&plan);
	assert_bad(HEAD "[a]\n  foo = 8\n", NULL, LDB_INVALID, "x.ini:5", "'foo'", "run --help");
	/* The longest line that inih takes, and one more. */
	char text[600] = HEAD "; ";
	const size_t head = strlen(HEAD);
	memset(text + head + 1, 'x', 400);
	text[head + 198] = '\0';
	plan = make_good(text, NULL);
	ldb_plan_free(&plan);
	text[head + 198] = 'x';
	text[head + 199] = '\0';
	assert_bad(text, NULL, LDB_INVALID, "x.ini:4", "199 characters", "indented line");
}

static void test_errors_of_files(void **state)
{
	(void)state;
	const struct {
		const char *ini, *subject, *value, *remedy;
	} bad[] = {
		{HEAD "sise = 1K\n", "x.ini:4", "'sise'", "did you mean size?"},
		{HEAD "\n; c\nsize = 1Q\n", "x.ini:6: size", "'1Q'", "1K..100M"},
		{HEAD "[a]\r\n\r\nmode = fast\r\n", "x.ini:6: mode", "'fast'",
		 "known: independent"},
		{HEAD "size = 1K,\n  2K,\n  bad\nreps = 1\n", "x.ini:6: size", "'bad'", "1K..100M"},
		{HEAD "size = 1K,,2K\n", "x.ini:4: size", "'1K,,2K'", "stray comma"},
		{HEAD "size = ,\n", "x.ini:4: size", "','", "stray comma"},
		{HEAD "size =\n", "x.ini:4: size", "''", "stray comma"},
		{HEAD "reps = 3\n  4\n", "x.ini:5: reps", "'4'", "only a list"},
		{HEAD "reps = 0\nsize = bad\n", "x.ini:4: reps", "'0'", "out of range"},
		{HEAD "nonsense\n", "x.ini:4", "neither", "name = value"},
		{HEAD "[open\nsize = 1K\n", "x.ini:4", "neither", "name = value"},
		{HEAD "= 5\n", "x.ini:4", "unknown setting ''", "lists the settings"},
		{HEAD "[gone]\n[b]\nsize = 1K\n", "x.ini:4", "without a setting", "remove it"},
		{HEAD "[b]\nsize = 1K\n[gone]\n; end\n", "x.ini:6", "without a setting",
		 "remove it"},
		{"index = btree\n[a]\nsize = 1K\n", "a", "no --dataset", "name at least one"},
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_bad(bad[i].ini, NULL, LDB_INVALID, bad[i].subject, bad[i].value,
			   bad[i].remedy);
	ldb_plan plan;
	ldb_error err;
	assert_int_equal(ldb_plan_make("no/such/config", NULL, 0, &plan, &err), LDB_INVALID);
	assert_string_equal(err.subject, "no/such/config");
	assert_int_equal(ldb_plan_make(folder, NULL, 0, &plan, &err), LDB_INVALID);
	assert_int_equal(ldb_plan_make("no/such/config", NULL, 0, &plan, NULL), LDB_INVALID);
}

/* Of several experiments, an optional one whose data is not there is left out, and no other. */
static void test_optional(void **state)
{
	(void)state;
	setenv("LDB_DATA", folder, 1); /* empty of what the catalog knows */
	ldb_plan plan = make_good(HEAD "size = 1K\n"
				       "[a]\ndataset = coast\noptional = yes\n"
				       "[b]\nreps = 2\n"
				       "[c]\ndataset = coast\noptional = yes\n"
				       "[d]\nreps = 4\n",
				  NULL);
	assert_int_equal(plan.count, 2);
	assert_string_equal(plan.experiments[0].experiment, "b");
	assert_string_equal(plan.experiments[1].experiment, "d");
	assert_int_equal(plan.experiments[1].reps, 4);
	assert_string_equal(plan.experiments[1].competitors[0].index->name, "btree");
	ldb_plan_free(&plan);
	assert_bad(HEAD "[a]\ndataset = coast\noptional = no\n[b]\nreps = 2\n", NULL, LDB_IO,
		   "coast", "", "scripts/fetch coast");
	/* Nothing would be left: that is an error. */
	assert_bad(HEAD "[a]\ndataset = coast\noptional = yes\n[b]\ndataset = coast\n"
			"optional = yes\n",
		   NULL, LDB_IO, "coast", "", "scripts/fetch coast");
	/* A wrong name is no missing file. */
	assert_bad(HEAD "[a]\ndataset = coats\noptional = yes\n[b]\nreps = 2\n", NULL, LDB_INVALID,
		   "", "coats", "coast");
	unsetenv("LDB_DATA");
}

/* The experiments that come with the project can be planned. */
static void test_configs(void **state)
{
	(void)state;
	const char *const names[] = {"smoke",      "smoke.ini", "demo",  "bench",
				     "bench-full", "field",     "pareto"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		ldb_plan plan;
		ldb_error err;
		const ldb_setting memory = {"memory", "1e12"};
		if (ldb_plan_make(names[i], &memory, 1, &plan, &err) != LDB_OK)
			fail_msg("%s: %s: %s; %s", names[i], err.subject, err.value, err.remedy);
		assert_true(plan.count >= 1);
		ldb_plan_free(&plan);
	}
}

/* --- memory and stages -------------------------------------------------------------------------
 */

static void test_memory(void **state)
{
	(void)state;
	assert_bad(NULL, SETTINGS(ENOUGH, {"memory", "1M"}), LDB_OOM, "uniform_sparse at 1M keys",
		   "1 MB may be used", "--memory");
	/* The bound is the one that is told: just enough is taken, one byte less is refused. */
	ldb_plan plan = make_good(NULL, SETTINGS(ENOUGH, {"size", "10M"}, {"payload", "8"},
						 {"index", "btree,rmi,radixspline"}));
	size_t count;
	ldb_stage *stages = ldb_plan_stages(&plan, &count);
	assert_int_equal(count, 1);
	const size_t need = ldb_stage_bytes(stages);
	double btree = 0, most = 0;
	const ldb_competitor *c = plan.experiments->competitors;
	for (size_t i = 0; i < 3; i++) {
		double peak = c[i].index->peak_bytes_per_key;
		if (i == 0)
			btree = peak;
		else
			most = peak > most ? peak : most;
	}
	/* Keys, records, the reference and the most demanding other, queries. */
	assert_true(need >= (size_t)(1e7 * (8 + 8 + btree + most)));
	assert_true(need <= (size_t)(1e7 * (8 + 8 + btree + most)) + ((size_t)1 << 29));
	free(stages);
	ldb_plan_free(&plan);
	char bytes[32];
	snprintf(bytes, sizeof bytes, "%zu", need);
	plan = make_good(NULL,
			 SETTINGS({"index", "btree,rmi,radixspline"}, {"dataset", "uniform_sparse"},
				  {"size", "10M"}, {"payload", "8"}, {"memory", bytes}));
	ldb_plan_free(&plan);
	snprintf(bytes, sizeof bytes, "%zu", need - 1);
	assert_bad(NULL,
		   SETTINGS({"index", "btree,rmi,radixspline"}, {"dataset", "uniform_sparse"},
			    {"size", "10M"}, {"payload", "8"}, {"memory", bytes}),
		   LDB_OOM, "uniform_sparse at 10M keys", "MB may be used", "--memory");
	/* Absurd sizes overflow nothing. */
	assert_bad(NULL, SETTINGS(ENOUGH, {"size", "9007199254740992"}, {"payload", "64"}), LDB_OOM,
		   "keys", "MB", "smaller --size");
	/* Without a limit: some share of what the machine has. */
	plan = make_good(NULL, SETTINGS(ENOUGH));
	plan.experiments->memory_bytes = 0;
	size_t budget = ldb_memory_budget(plan.experiments);
	assert_true(budget > 1000000 && budget < (size_t)1 << 46);
	ldb_plan_free(&plan);
}

static void test_stages(void **state)
{
	(void)state;
	ldb_plan plan =
		make_good("index = btree\nmemory = 1e12\n"
			  "dataset = uniform_sparse, uniform_dense\n"
			  "size = 30, 20\n"
			  "pages = thp, 4k\n"
			  "payload = 0, 64, 8\n"
			  "[first]\nreps = 1\n"
			  "[second]\ndataset = lognormal\nsize = 7\npages = 4k\npayload = 8\n",
			  NULL);
	size_t count, at = 0;
	ldb_stage *stages = ldb_plan_stages(&plan, &count);
	assert_int_equal(count, 2 * 2 * 2 * 3 + 1);
	const char *const datasets[] = {"uniform_sparse", "uniform_dense"};
	const size_t sizes[] = {30, 20}, payloads[] = {0, 64, 8};
	const ldb_pages pages[] = {LDB_PAGES_THP, LDB_PAGES_4K};
	for (size_t d = 0; d < 2; d++)
		for (size_t s = 0; s < 2; s++)
			for (size_t p = 0; p < 2; p++)
				for (size_t b = 0; b < 3; b++, at++) {
					const ldb_stage *one = &stages[at];
					assert_ptr_equal(one->experiment, &plan.experiments[0]);
					assert_string_equal(one->dataset, datasets[d]);
					assert_int_equal(one->n, sizes[s]);
					assert_int_equal(one->pages, pages[p]);
					assert_int_equal(one->payload_bytes, payloads[b]);
				}
	assert_ptr_equal(stages[at].experiment, &plan.experiments[1]);
	assert_string_equal(stages[at].dataset, "lognormal");
	assert_int_equal(stages[at].n, 7);
	free(stages);
	ldb_plan_free(&plan);
}

/* --- fuzzing -----------------------------------------------------------------------------------
 */

/* What a good plan may rely on. */
static void check_plan(const ldb_plan *plan)
{
	assert_true(plan->count >= 1);
	for (size_t i = 0; i < plan->count; i++) {
		const ldb_experiment *e = &plan->experiments[i];
		assert_in_range(e->competitor_count, 1, LDB_MAX_LIST);
		assert_in_range(e->dataset_count, 1, LDB_MAX_LIST);
		assert_in_range(e->size_count, 1, LDB_MAX_LIST);
		assert_in_range(e->workload_count, 1, LDB_MAX_LIST);
		assert_in_range(e->mode_count, 1, 3);
		assert_in_range(e->page_count, 1, 3);
		assert_in_range(e->thread_count, 1, LDB_MAX_LIST);
		assert_in_range(e->payload_count, 1, 3);
		assert_in_range(e->reps, 1, 100000);
		assert_true(e->pass_ms > 0 && e->timeout_s > 0);
		assert_non_null(memchr(e->experiment, '\0', sizeof e->experiment));
		assert_non_null(memchr(e->numa, '\0', sizeof e->numa));
		assert_true(ldb_reference(e) < e->competitor_count);
		for (size_t j = 0; j < e->competitor_count; j++)
			assert_non_null(e->competitors[j].index);
		for (size_t j = 0; j < e->thread_count; j++)
			assert_in_range(e->threads[j], 1, LDB_MAX_THREADS);
	}
	size_t count;
	ldb_stage *stages = ldb_plan_stages(plan, &count);
	assert_non_null(stages);
	assert_true(count >= 1);
	for (size_t i = 0; i < count; i++) {
		assert_true(stages[i].n >= 1);
		assert_true(ldb_stage_bytes(&stages[i]) <= ldb_memory_budget(stages[i].experiment));
	}
	free(stages);
}

static const char *const seeds[] = {
	(HEAD "size = 1K..10M, 7\n[a]\nmode = chained, batched\nreps = 3\n[b]\npages = 4k, thp\n"),
	("; comment\nindex = btree, rmi:leaves=64:root=cubic,\n  radixspline:epsilon=16\n"
	 "dataset = uniform_dense\nworkload = uniform, zipf:1.1, hot:5,\n\tabsent, lower_bound\n"
	 "[x]\nsize = 1K\nseed = 7\nops = 1e5\npayload = 0, 8, 64\nthreads = 1, 2\n"),
	("\xef\xbb\xbfindex=bsearch\r\ndataset=lognormal\r\nmemory=5G\r\ntimeout=5\r\nnuma="
	 "local\r\n"
	 "reference=bsearch\r\nkey-bits=64\r\nexperiment=e\r\npass-ms=10\r\noptional=no\r\n"),
};
static const char *const tokens[] = {
	"index",
	"dataset",
	"size",
	"workload",
	"mode",
	"pages",
	"threads",
	"payload",
	"reps",
	"ops",
	"pass-ms",
	"seed",
	"timeout",
	"memory",
	"numa",
	"reference",
	"key-bits",
	"optional",
	"btree",
	"rmi",
	"null",
	"uniform_sparse",
	"fb_like",
	"coast",
	"max",
	"1K..100M",
	"..",
	"0",
	"-1",
	"1e308",
	"nan",
	"99999999999999999999",
	",",
	":",
	"=",
	"\n",
	"\r\n",
	"\n ",
	"\n\t",
	"[",
	"]",
	"\n[s]\n",
	";",
	" ;",
	"#",
	"\"",
	"%s%n",
	"\xff",
	"\xef\xbb\xbf",
	"huge",
	"chained",
	"zipf:",
	"rmi:leaves=",
	"./",
	"/",
};

static size_t insert(char *text, size_t length, size_t room, size_t at, const char *more, size_t n)
{
	if (length + n > room)
		return length;
	memmove(text + at + n, text + at, length - at);
	memcpy(text + at, more, n);
	return length + n;
}

static size_t mutate(char *text, size_t length, size_t room, ldb_rng *rng)
{
	size_t at = ldb_rng_below(rng, length + 1), n;
	switch (ldb_rng_below(rng, 7)) {
	case 0: /* another byte, any but 0 */
		if (at < length)
			text[at] = (char)(1 + ldb_rng_below(rng, 255));
		return length;
	case 1: { /* a range leaves */
		n = ldb_rng_below(rng, 12);
		n = n < length - at ? n : length - at;
		memmove(text + at, text + at + n, length - at - n);
		return length - n;
	}
	case 2: { /* a range comes twice, or many times */
		char copy[64];
		n = 1 + ldb_rng_below(rng, sizeof copy);
		n = n < length - at ? n : length - at;
		memcpy(copy, text + at, n);
		for (size_t i = ldb_rng_below(rng, 8) ? 1 : 80; i > 0; i--)
			length = insert(text, length, room, at, copy, n);
		return length;
	}
	case 3: { /* a very long word */
		char copy[1500];
		n = 1 + ldb_rng_below(rng, sizeof copy);
		memset(copy, (int)('0' + ldb_rng_below(rng, 75)), n);
		return ldb_rng_below(rng, 4) ? length : insert(text, length, room, at, copy, n);
	}
	default: {
		const char *token = tokens[ldb_rng_below(rng, sizeof tokens / sizeof *tokens)];
		return insert(text, length, room, at, token, strlen(token));
	}
	}
}

/* Opening plug-ins forks, which takes long under a sanitizer. */
#ifdef LDB_NO_JEMALLOC
enum { ROUNDS = 800 };
#else
enum { ROUNDS = 3000 };
#endif

static void try_plan(const char *config, const ldb_setting *settings, size_t count, size_t *good)
{
	ldb_plan plan;
	ldb_error err = {.subject = ""};
	if (ldb_plan_make(config, settings, count, &plan, &err) == LDB_OK) {
		++*good;
		check_plan(&plan);
	} else if (!*err.subject || !*err.value || !*err.remedy) {
		fail_msg("an error that says too little: [%s] [%s] [%s]", err.subject, err.value,
			 err.remedy);
	}
	ldb_plan_free(&plan);
}

static void test_fuzz_files(void **state)
{
	(void)state;
	enum { ROOM = 16384 };
	static char text[ROOM];
	const ldb_setting memory = {"memory", "1e12"};
	size_t good = 0;
	ldb_rng rng;
	ldb_rng_seed(&rng, 2026);
	for (int i = 0; i < ROUNDS; i++) {
		const char *seed = seeds[ldb_rng_below(&rng, sizeof seeds / sizeof *seeds)];
		size_t length = strlen(seed);
		memcpy(text, seed, length);
		for (size_t m = ldb_rng_below(&rng, 6) + 1; m > 0; m--)
			length = mutate(text, length, ROOM, &rng);
		write_ini(text, length);
		try_plan(ini_path, &memory, 1, &good);
	}
	/* Both ways are taken often. */
	assert_in_range(good, ROUNDS / 50, ROUNDS - ROUNDS / 4);
}

static void test_fuzz_settings(void **state)
{
	(void)state;
	enum { ROOM = 4096 };
	static char values[4][ROOM + 1];
	static const ldb_setting start[] = {
		{"index", "btree,rmi:leaves=64"},
		{"size", "1K..1M,7"},
		{"workload", "zipf:0.5,hot"},
		{"threads", "1,2,256"},
		{"seed", "123"},
		{"payload", "0,8,64"},
		{"mode", "chained,batched"},
		{"pages", "4k,thp"},
		{"numa", "interleave"},
		{"dataset", "uniform_dense"},
		{"reps", "12"},
		{"reference", "btree"},
		{"experiment", "x"},
		{"ops", "1e6"},
		{"timeout", "2.5"},
		{"key-bits", "64"},
		{"memory", "1e12"},
		{"optional", "yes"},
		{"pass-ms", "33"},
	};
	size_t good = 0;
	ldb_rng rng;
	ldb_rng_seed(&rng, 2027);
	for (int i = 0; i < ROUNDS; i++) {
		ldb_setting settings[7] = {ENOUGH};
		size_t count = 3;
		for (int j = 0; j < 4; j++) {
			const ldb_setting *from =
				&start[ldb_rng_below(&rng, sizeof start / sizeof *start)];
			size_t length = strlen(from->value);
			memcpy(values[j], from->value, length);
			for (size_t m = ldb_rng_below(&rng, 3); m > 0; m--)
				length = mutate(values[j], length, ROOM, &rng);
			values[j][length] = '\0';
			settings[count++] = (ldb_setting){from->name, values[j]};
		}
		try_plan(NULL, settings, count, &good);
	}
	assert_in_range(good, ROUNDS / 50, ROUNDS - ROUNDS / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),       cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sizes_of_files), cmocka_unit_test(test_every_setting),
		cmocka_unit_test(test_bad_values),     cmocka_unit_test(test_competitors),
		cmocka_unit_test(test_key_bits),       cmocka_unit_test(test_sections),
		cmocka_unit_test(test_lines),          cmocka_unit_test(test_errors_of_files),
		cmocka_unit_test(test_optional),       cmocka_unit_test(test_configs),
		cmocka_unit_test(test_memory),         cmocka_unit_test(test_stages),
		cmocka_unit_test(test_fuzz_files),     cmocka_unit_test(test_fuzz_settings),
	};
	return cmocka_run_group_tests_name("plan", tests, make_folder, remove_folder);
}
