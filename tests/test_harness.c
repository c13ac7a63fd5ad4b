/*
 * Unit tests of the harness's tools: names and sizes (harness/names.c), memory and page policies
 * (memory.c), plug-ins (registry.c), samples.csv (samples.c), results folders and run.json
 * (results.c). Workloads and queries are in test_workload.c, the plan in test_plan.c.
 *
 * Takes the plug-ins of the build that this binary lies in.
 */
#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory.h"
#include "names.h"
#include "registry.h"
#include "results.h"
#include "rng.h"
#include "samples.h"

static char folder[64]; /* for the files of these tests */

static const char *in_folder(const char *name)
{
	static char path[4][256];
	static unsigned turn;
	char *p = path[turn++ % 4];
	snprintf(p, sizeof *path, "%s/%s", folder, name);
	return p;
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/ldb-harness-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static int remove_folder(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	assert_non_null(f);
	char *text = calloc(1 << 22, 1);
	assert_non_null(text);
	assert_true(fread(text, 1, (1 << 22) - 1, f) < (1 << 22) - 1);
	fclose(f);
	return text;
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void assert_told(const ldb_error *err)
{
	assert_true(*err->subject && *err->value && *err->remedy);
}

/* --- names -------------------------------------------------------------------------------------
 */

static void test_size_parse(void **state)
{
	(void)state;
	const struct {
		const char *text;
		size_t n;
	} good[] = {
		{"0", 0},
		{"1", 1},
		{"1000", 1000},
		{"007", 7},
		{"1K", 1000},
		{"1k", 1000},
		{"10M", 10000000},
		{"3m", 3000000},
		{"20G", 20000000000},
		{"2.5M", 2500000},
		{"0.5K", 500},
		{"2.01M", 2010000},
		{"1.001K", 1001},
		{"1e6", 1000000},
		{"1E6", 1000000},
		{"1.5e3", 1500},
		{"1e3K", 1000000},
		{"4294967296", (size_t)1 << 32},
		{"9007199254740992", (size_t)1 << 53},
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		size_t n = 77;
		if (!ldb_size_parse(good[i].text, &n) || n != good[i].n)
			fail_msg("'%s' is %zu, not %zu", good[i].text, good[i].n, n);
	}
	const char *const bad[] = {"",     "-1",      "+1",
				   "1.5",  "0.0005K", "1e99",
				   "1e-1", "10Q",     "1KK",
				   "1K ",  " 5",      "5 ",
				   "inf",  "nan",     "INF",
				   "0x10", "0X10",    "0x1K",
				   ".5K",  "K",       "1,000",
				   "1..2", "1e",      "--1",
				   "1M5",  "1e16",    "9007199254740993000"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		size_t n = 77;
		if (ldb_size_parse(bad[i], &n))
			fail_msg("'%s' was taken for %zu", bad[i], n);
		assert_int_equal(n, 77); /* untouched */
	}
	/* Every decimal fraction that makes a whole number of keys is taken, and no other. */
	for (size_t i = 0; i < 100000; i++) {
		char text[32];
		size_t n;
		snprintf(text, sizeof text, "%zu.%03zuK", i / 1000, i % 1000);
		assert_true(ldb_size_parse(text, &n) && n == i);
		snprintf(text, sizeof text, "%zu.%04zuM", i / 10000, i % 10000);
		assert_true(ldb_size_parse(text, &n) && n == 100 * i);
		snprintf(text, sizeof text, "%zu.%04zuK", i / 10000, i % 10000);
		assert_int_equal(ldb_size_parse(text, &n), i % 10 == 0);
	}
}

static void test_size_format(void **state)
{
	(void)state;
	const struct {
		size_t n;
		const char *text;
	} pairs[] = {
		{0, "0"},
		{1, "1"},
		{999, "999"},
		{1000, "1K"},
		{1500, "1500"},
		{100000, "100K"},
		{999000, "999K"},
		{1000000, "1M"},
		{1001000, "1001000"},
		{2500000, "2500000"},
		{7138872, "7138872"},
		{100000000, "100M"},
		{1000000000, "1000M"},
		{SIZE_MAX, "18446744073709551615"},
	};
	char buf[32];
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
		assert_string_equal(ldb_size_format(pairs[i].n, buf), pairs[i].text);
	/* What is written can be read. */
	ldb_rng rng;
	ldb_rng_seed(&rng, 1);
	for (int i = 0; i < 20000; i++) {
		size_t n = ldb_rng_next(&rng) >> (11 + ldb_rng_below(&rng, 53)), back;
		n = ldb_rng_below(&rng, 2) ? n / 1000 * 1000 : n;
		assert_true(ldb_size_parse(ldb_size_format(n, buf), &back) && back == n);
	}
}

/* By the definition: all ways to edit. */
static size_t naive_distance(const char *a, const char *b)
{
	if (!*a || !*b)
		return strlen(a) + strlen(b);
	size_t change = naive_distance(a + 1, b + 1) + (*a != *b);
	size_t drop = naive_distance(a + 1, b) + 1, add = naive_distance(a, b + 1) + 1;
	size_t edit = drop < add ? drop : add;
	return change < edit ? change : edit;
}

static void random_word(ldb_rng *rng, size_t most, char *word)
{
	size_t length = ldb_rng_below(rng, most + 1);
	for (size_t i = 0; i < length; i++)
		word[i] = (char)('a' + ldb_rng_below(rng, 3));
	word[length] = '\0';
}

static void test_edit_distance(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 2);
	for (int i = 0; i < 3000; i++) {
		char a[8], b[8];
		random_word(&rng, 6, a);
		random_word(&rng, 6, b);
		assert_int_equal(ldb_edit_distance(a, b), naive_distance(a, b));
	}
	/* Long ones are compared by their beginnings, and read no further than they go. */
	for (size_t n = 60; n < 70; n++) {
		char *a = malloc(n + 1), *b = malloc(n + 1);
		assert_true(a && b);
		memset(a, 'x', n);
		memset(b, 'x', n);
		a[n] = b[n] = '\0';
		assert_int_equal(ldb_edit_distance(a, b), 0);
		assert_int_equal(ldb_edit_distance(a, ""), n < 64 ? n : 64);
		assert_int_equal(ldb_edit_distance("", b), n < 64 ? n : 64);
		free(a);
		free(b);
	}
}

static void test_nearest(void **state)
{
	(void)state;
	const char *const names[] = {"btree",       "absl_btree", "rmi",
				     "radixspline", "bsearch",    "null"};
	const struct {
		const char *word, *near;
	} pairs[] = {
		{"btree", "btree"},
		{"btre", "btree"},
		{"bteer", "btree"},
		{"rim", "rmi"},
		{"radix", "radixspline"},
		{"spline", "radixspline"},
		{"absl", "absl_btree"},
		{"serch", "bsearch"},
		{"nul", "null"},
		{"xyzzy", NULL},
		{"", NULL},
		{"q", NULL},
		{"hashtable", NULL},
	};
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		const char *near = ldb_nearest(pairs[i].word, names, 6);
		if (pairs[i].near ? !near || strcmp(near, pairs[i].near) != 0 : near != NULL)
			fail_msg("nearest to '%s' is %s", pairs[i].word, near ? near : "none");
	}
	assert_null(ldb_nearest("btree", NULL, 0));
	/* Random words: the first of the least distance, or none when many letters differ. */
	ldb_rng rng;
	ldb_rng_seed(&rng, 3);
	for (int i = 0; i < 2000; i++) {
		char words[5][8];
		const char *list[4], *best = NULL;
		for (int j = 0; j < 5; j++)
			random_word(&rng, 6, words[j]);
		const char *word = words[4], *near;
		size_t least = SIZE_MAX;
		bool part = false;
		for (int j = 0; j < 4; j++) {
			list[j] = words[j];
			part |= strstr(words[j], word) != NULL;
			size_t d = naive_distance(word, words[j]);
			best = d < least ? words[j] : best;
			least = d < least ? d : least;
		}
		if (part)
			continue; /* a part of a name is another rule, tested above */
		near = ldb_nearest(word, list, 4);
		assert_true(near == best || (!near && least > strlen(word) / 3));
		assert_true(!near || least <= strlen(word) / 2 + 1);
	}
}

/* --- memory ------------------------------------------------------------------------------------
 */

static const size_t block_sizes[] = {0,       1,
				     15,      16,
				     17,      63,
				     64,      65,
				     1000,    4095,
				     4096,    4097,
				     1 << 16, (1 << 20) - 1,
				     1 << 20, (1 << 20) + 1,
				     2 << 20, (2 << 20) + 1,
				     5 << 20};
enum { BLOCK_SIZES = sizeof block_sizes / sizeof *block_sizes };

static void test_alloc(void **state)
{
	(void)state;
	for (ldb_pages pages = LDB_PAGES_4K; pages <= LDB_PAGES_THP; pages++) {
		ldb_alloc_setup(pages, 0);
		assert_int_equal(ldb_alloc_held(), 0);
		assert_int_equal(ldb_alloc_calls(), 0);
		unsigned char *blocks[BLOCK_SIZES];
		size_t held = 0;
		for (size_t i = 0; i < BLOCK_SIZES; i++) {
			const size_t size = block_sizes[i];
			blocks[i] = ldb_alloc(size);
			assert_non_null(blocks[i]);
			assert_int_equal((uintptr_t)blocks[i] % (size >= 64 ? 64 : 16), 0);
			memset(blocks[i], (int)i, size);
			held += size;
			assert_int_equal(ldb_alloc_held(), held);
			assert_int_equal(ldb_alloc_peak(), held);
			assert_int_equal(ldb_alloc_calls(), i + 1);
		}
		for (size_t i = 0; i < BLOCK_SIZES; i++) {
			for (size_t j = 0; j < block_sizes[i]; j++)
				if (blocks[i][j] != i)
					fail_msg("block %zu is overwritten at %zu", i, j);
			ldb_free(blocks[i], block_sizes[i]);
			held -= block_sizes[i];
			assert_int_equal(ldb_alloc_held(), held);
		}
		assert_true(ldb_alloc_peak() > held);
		ldb_free(NULL, 0);
		ldb_free(NULL, 12345);
		assert_int_equal(ldb_alloc_held(), 0);
	}
	/* Alignment is no luck of the first block of its kind. */
	for (size_t size = 1; size < 20000; size += size < 600 ? 1 : 777) {
		void *several[5];
		for (int i = 0; i < 5; i++) {
			several[i] = ldb_alloc(size);
			assert_non_null(several[i]);
			assert_int_equal((uintptr_t)several[i] % (size >= 64 ? 64 : 16), 0);
		}
		for (int i = 0; i < 5; i++)
			ldb_free(several[i], size);
	}
	/* Setup begins anew with what is held now. */
	void *p = ldb_alloc(100);
	ldb_alloc_setup(LDB_PAGES_THP, 0);
	assert_int_equal(ldb_alloc_peak(), 100);
	assert_int_equal(ldb_alloc_calls(), 0);
	ldb_free(p, 100);
}

static void test_alloc_limit(void **state)
{
	(void)state;
	const size_t limit = 3 << 20;
	ldb_alloc_setup(LDB_PAGES_THP, limit);
	void *a = ldb_alloc(limit - 100), *b = ldb_alloc(100);
	assert_true(a && b);
	assert_int_equal(ldb_alloc_held(), limit);
	assert_null(ldb_alloc(1));
	assert_null(ldb_alloc(SIZE_MAX)); /* would wrap around */
	assert_null(ldb_alloc(SIZE_MAX - limit + 1));
	assert_int_equal(ldb_alloc_held(), limit);
	assert_int_equal(ldb_alloc_peak(), limit);
	ldb_free(b, 100);
	assert_null(ldb_alloc(101));
	b = ldb_alloc(99);
	assert_non_null(b);
	ldb_free(a, limit - 100);
	ldb_free(b, 99);
	assert_int_equal(ldb_alloc_held(), 0);
#ifndef LDB_NO_JEMALLOC
	/* No limit: what cannot be mapped is refused, and counted no more. */
	ldb_alloc_setup(LDB_PAGES_THP, 0);
	const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - (2 << 20), (size_t)1 << 60};
	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++)
		assert_null(ldb_alloc(absurd[i]));
	assert_int_equal(ldb_alloc_held(), 0);
#endif
	ldb_alloc_setup(LDB_PAGES_THP, 0);
}

static void test_alloc_fail_at(void **state)
{
	(void)state;
	ldb_alloc_setup(LDB_PAGES_THP, 0);
	for (uint64_t nth = 1; nth <= 5; nth++) {
		ldb_alloc_fail_at(nth);
		for (uint64_t call = 1; call <= 8; call++) { /* once, small or large */
			const size_t size = call % 2 ? 10 : 2 << 20;
			void *p = ldb_alloc(size);
			assert_true((p == NULL) == (call == nth));
			ldb_free(p, size);
		}
		assert_int_equal(ldb_alloc_held(), 0);
	}
	ldb_alloc_fail_at(2);
	ldb_alloc_fail_at(0); /* called off */
	for (int i = 0; i < 4; i++) {
		void *p = ldb_alloc(8);
		assert_non_null(p);
		ldb_free(p, 8);
	}
	ldb_alloc_fail_at(1);
	ldb_alloc_setup(LDB_PAGES_THP, 0); /* called off, too */
	void *p = ldb_alloc(8);
	assert_non_null(p);
	ldb_free(p, 8);
}

/* Blocks come and go in random order, each filled with its own pattern. */
static void *churn(void *user)
{
	enum { BLOCKS = 200, STEPS = 20000 };
	static const size_t most[] = {64, 1000, 70000, 3 << 20};
	struct {
		unsigned char *p;
		size_t size;
	} blocks[BLOCKS] = {{NULL, 0}};
	ldb_rng rng;
	const uint64_t seed = (uint64_t)(uintptr_t)user;
	ldb_rng_seed(&rng, seed);
	for (int i = 0; i < STEPS + BLOCKS; i++) {
		const size_t b = i < STEPS ? ldb_rng_below(&rng, BLOCKS) : (size_t)(i - STEPS);
		const unsigned char mark = (unsigned char)(seed * 64 + b);
		unsigned char *p = blocks[b].p;
		if (p) {
			const size_t last = blocks[b].size - 1;
			if (p[0] != mark || p[last / 2] != mark || p[last] != mark)
				return "a block was overwritten";
			ldb_free(p, blocks[b].size);
			blocks[b].p = NULL;
			continue;
		}
		if (i >= STEPS)
			continue;
		/* Large ones are rare, so that four threads need not zero gigabytes. */
		const size_t kind = i % 64 ? ldb_rng_below(&rng, 3) : 3;
		blocks[b].size = 1 + ldb_rng_below(&rng, most[kind]);
		p = blocks[b].p = ldb_alloc(blocks[b].size);
		if (!p)
			return "no memory";
		p[0] = p[(blocks[b].size - 1) / 2] = p[blocks[b].size - 1] = mark;
	}
	return NULL;
}

static void test_alloc_threads(void **state)
{
	(void)state;
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	ldb_alloc_setup(LDB_PAGES_4K, 0);
	for (uintptr_t t = 0; t < THREADS; t++)
		assert_int_equal(pthread_create(&threads[t], NULL, churn, (void *)t), 0);
	for (int t = 0; t < THREADS; t++) {
		void *problem = "";
		assert_int_equal(pthread_join(threads[t], &problem), 0);
		if (problem)
			fail_msg("%s", (const char *)problem);
	}
	assert_int_equal(ldb_alloc_held(), 0);
	assert_true(ldb_alloc_calls() > THREADS * 5000);
	assert_true(ldb_alloc_peak() > 0);
}

static void test_alloc_foreign(void **state)
{
	(void)state;
	ldb_alloc_setup(LDB_PAGES_THP, 0);
	if (ldb_alloc_foreign() == SIZE_MAX)
		skip(); /* built without jemalloc: nothing counts */
	const size_t slack = 256 << 10, hidden = 8 << 20;
	assert_true(ldb_alloc_foreign() < slack);
	char *p = malloc(hidden);
	assert_non_null(p);
	memset(p, 1, hidden);
	assert_in_range(ldb_alloc_foreign(), hidden, hidden + slack + hidden / 4);
	/* Many small blocks by malloc show as well. */
	enum { SMALL = 20000 };
	void **small = calloc(SMALL, sizeof *small);
	assert_non_null(small);
	for (int i = 0; i < SMALL; i++)
		small[i] = malloc(100);
	assert_true(ldb_alloc_foreign() > hidden + SMALL * (100 + sizeof *small));
	for (int i = 0; i < SMALL; i++)
		free(small[i]);
	free(p);
	assert_true(ldb_alloc_foreign() < slack + SMALL * sizeof *small);
	/* Ours are never taken for foreign ones. */
	for (int i = 0; i < SMALL; i++) {
		small[i] = ldb_alloc(100);
		assert_non_null(small[i]);
	}
	void *large = ldb_alloc(hidden);
	assert_true(ldb_alloc_foreign() < slack + SMALL * sizeof *small);
	for (int i = 0; i < SMALL; i++)
		ldb_free(small[i], 100);
	ldb_free(large, hidden);
	assert_true(ldb_alloc_foreign() < slack + SMALL * sizeof *small);
	free(small);
	assert_true(ldb_alloc_foreign() < slack);
}

/* The flag among smaps' VmFlags of the mapping that holds p: "hg", "nh"; false where unknown. */
static bool has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], word[8];
	bool here = false, found = false;
	snprintf(word, sizeof word, " %s", flag);
	while (f && fgets(line, sizeof line, f)) {
		unsigned long from, to;
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			found |= strstr(line, word) != NULL;
	}
	if (f)
		fclose(f);
	return found;
}

static bool kernel_has_thp(void)
{
	return access("/sys/kernel/mm/transparent_hugepage/enabled", R_OK) == 0 &&
	       access("/proc/self/smaps", R_OK) == 0;
}

static void test_map(void **state)
{
	(void)state;
	for (ldb_pages pages = LDB_PAGES_4K; pages <= LDB_PAGES_THP; pages++)
		for (size_t i = 0; i < BLOCK_SIZES; i++) {
			const size_t size = block_sizes[i], room = size ? size : 1;
			unsigned char *p = ldb_map(size, pages, NULL);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % LDB_HUGE_PAGE, 0);
			for (size_t j = 0; j < room; j += 509)
				assert_int_equal(p[j], 0);
			p[0] = p[room - 1] = 1;
			if (kernel_has_thp()) {
				const bool thp = pages == LDB_PAGES_THP;
				assert_int_equal(has_flag(p, "hg"), thp);
				assert_int_equal(has_flag(p, "nh"), !thp);
				assert_int_equal(has_flag(p + room - 1, "hg"), thp);
			}
			ldb_unmap(p, size);
		}
	ldb_unmap(NULL, 0);
	ldb_unmap(NULL, 1000);
	const size_t absurd[] = {SIZE_MAX, SIZE_MAX - LDB_HUGE_PAGE, SIZE_MAX / 2};
	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
		ldb_error err = {.subject = ""};
		assert_null(ldb_map(absurd[i], LDB_PAGES_4K, &err));
		assert_told(&err);
		assert_null(ldb_map(absurd[i], LDB_PAGES_THP, NULL));
	}
}

/* What an unmap of one leaves alone: its neighbours. */
static void test_unmap_is_exact(void **state)
{
	(void)state;
	enum { COUNT = 64 };
	unsigned char *maps[COUNT];
	for (size_t i = 0; i < COUNT; i++) {
		maps[i] = ldb_map((1 << 20) + i, LDB_PAGES_4K, NULL);
		assert_non_null(maps[i]);
		maps[i][0] = (unsigned char)i;
		maps[i][LDB_HUGE_PAGE - 1] = (unsigned char)i;
	}
	for (size_t i = 0; i < COUNT; i += 2)
		ldb_unmap(maps[i], (1 << 20) + i);
	for (size_t i = 1; i < COUNT; i += 2) {
		assert_int_equal(maps[i][0], i);
		assert_int_equal(maps[i][LDB_HUGE_PAGE - 1], i);
		ldb_unmap(maps[i], (1 << 20) + i);
	}
}

/* The policy holds for a competitor's small and large blocks alike. */
static void test_alloc_pages(void **state)
{
	(void)state;
	enum { COUNT = 2000, SMALL = 20000 };
#ifdef LDB_NO_JEMALLOC
	skip();
#endif
	if (!kernel_has_thp())
		skip();
	for (ldb_pages pages = LDB_PAGES_4K; pages <= LDB_PAGES_THP; pages++) {
		pid_t child = fork(); /* as a worker: one policy for one process */
		assert_true(child >= 0);
		if (child == 0) {
			const char *flag = pages == LDB_PAGES_THP ? "hg" : "nh";
			ldb_alloc_setup(pages, 0);
			void *large = ldb_alloc(4 << 20);
			size_t right = 0, asked = 0;
			for (int i = 0; i < COUNT; i++) {
				void *p = ldb_alloc(SMALL);
				if (!p)
					_exit(2);
				if (i % 50 == 0) {
					asked++;
					right += has_flag(p, flag);
				}
			}
			/* Some first ones may lie in what was there before. */
			_exit(!large || !has_flag(large, flag) ? 3
			      : right * 10 < asked * 9         ? 4
							       : 0);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("--pages %s: child ended with %x", ldb_pages_name(pages),
				 (unsigned)status);
	}
}

static void test_huge_pages(void **state)
{
	(void)state;
	/* A tebibyte of huge pages is reserved nowhere. */
	const size_t bytes = (size_t)1 << 40;
	ldb_error err = {.subject = ""};
	assert_null(ldb_map(bytes, LDB_PAGES_HUGE, &err));
	assert_non_null(strstr(err.subject, "--pages huge"));
	assert_non_null(strstr(err.value, "524288 of 2 MiB"));
	assert_non_null(strstr(err.remedy, "sysctl vm.nr_hugepages"));
	assert_non_null(strstr(err.remedy, "--pages thp"));
	assert_null(ldb_map(bytes, LDB_PAGES_HUGE, NULL));
	/* Where some are reserved, they are used; where none are, a small map fails alike. */
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	size_t free_pages = 0;
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "HugePages_Free: %zu", &free_pages);
	if (f)
		fclose(f);
	unsigned char *p = ldb_map(1, LDB_PAGES_HUGE, &err);
	if (!free_pages) {
		assert_null(p);
		assert_non_null(strstr(err.value, "1 of 2 MiB"));
	} else if (p) {
		p[LDB_HUGE_PAGE - 1] = 1;
		ldb_unmap(p, 1);
	}
	ldb_alloc_setup(LDB_PAGES_HUGE, 0);
#ifndef LDB_NO_JEMALLOC
	assert_null(ldb_alloc(bytes));
	assert_int_equal(ldb_alloc_held(), 0);
#endif
	ldb_alloc_setup(LDB_PAGES_THP, 0);
}

static void test_page_names(void **state)
{
	(void)state;
	for (ldb_pages pages = LDB_PAGES_4K; pages <= LDB_PAGES_HUGE; pages++) {
		ldb_pages back;
		assert_true(ldb_pages_parse(ldb_pages_name(pages), &back));
		assert_int_equal(back, pages);
	}
	ldb_pages untouched = LDB_PAGES_HUGE;
	const char *const bad[] = {"", "4K", "2m", "THP", "thp ", "hug", "huge2"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(ldb_pages_parse(bad[i], &untouched));
	assert_int_equal(untouched, LDB_PAGES_HUGE);
	double share = ldb_huge_share();
	assert_true(share <= 1);
}

/* --- plug-ins ----------------------------------------------------------------------------------
 */

static ldb_competitor open_good(const char *spec)
{
	ldb_competitor c;
	ldb_error err = {.subject = ""};
	if (ldb_competitor_open(LDB_INDEX, spec, &c, &err) != LDB_OK)
		fail_msg("%s: %s; %s", err.subject, err.value, err.remedy);
	return c;
}

static void assert_refused(const char *spec, const char *subject, const char *value,
			   const char *remedy)
{
	ldb_competitor c;
	ldb_error err = {.subject = ""};
	ldb_status status = ldb_competitor_open(LDB_INDEX, spec, &c, &err);
	if (status != LDB_INVALID || !strstr(err.subject, subject) || !strstr(err.value, value) ||
	    !strstr(err.remedy, remedy))
		fail_msg("'%s': status %d, [%s] [%s] [%s]", spec, (int)status, err.subject,
			 err.value, err.remedy);
	assert_told(&err);
	assert_int_equal(ldb_competitor_open(LDB_INDEX, spec, &c, NULL), LDB_INVALID);
}

static void test_plugin_names(void **state)
{
	(void)state;
	size_t count;
	char **names = ldb_plugin_names(LDB_INDEX, &count);
	assert_true(count >= 5);
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || strcmp(names[i - 1], names[i]) < 0);
		assert_null(strchr(names[i], '.')); /* one entry for all levels */
	}
	const char *const known[] = {"btree", "null", "radixspline", "rmi"};
	for (size_t k = 0; k < 4; k++) {
		size_t found = 0;
		for (size_t i = 0; i < count; i++)
			found += strcmp(names[i], known[k]) == 0;
		assert_int_equal(found, 1);
	}
	ldb_names_free(names, count);
	ldb_names_free(NULL, 0);
}

static void test_params(void **state)
{
	(void)state;
	ldb_competitor c = open_good("rmi");
	assert_string_equal(c.index->name, "rmi");
	assert_string_equal(c.params_text, "leaves=0;root=auto;budget=10;build_threads=1");
	assert_true(c.code_hash != 0);
	c = open_good("rmi:leaves=1K:root=cubic");
	assert_string_equal(c.params_text, "leaves=1000;root=cubic;budget=10;build_threads=1");
	assert_true(c.params[0] == 1000);
	assert_string_equal(open_good("rmi:root=linear").params_text,
			    "leaves=0;root=linear;budget=10;build_threads=1");
	assert_true(open_good("rmi").code_hash != open_good("radixspline").code_hash);

	/* Limits are inclusive. */
	assert_true(open_good("rmi:leaves=268435456").params[0] == 268435456);
	assert_refused("rmi:leaves=268435457", "--index rmi:leaves", "outside", "to 268435456");
	assert_refused("rmi:leafs=3", "--index rmi", "'leafs'", "did you mean leaves?");
	assert_refused("rmi:leaves=-1", "--index rmi:leaves", "-1 is outside", "from 0 to");
	assert_refused("rmi:leaves=1e99", "--index rmi:leaves", "outside", "from 0 to");
	assert_refused("rmi:leaves=nan", "--index rmi:leaves", "outside", "from 0 to");
	assert_refused("rmi:leaves=inf", "--index rmi:leaves", "outside", "from 0 to");
	assert_refused("rmi:leaves=many", "--index rmi:leaves", "no number", "from 0 to");
	assert_refused("rmi:leaves=", "--index rmi:leaves", "no number", "from 0 to");
	assert_refused("rmi:leaves=5x", "--index rmi:leaves", "no number", "from 0 to");
	assert_refused("rmi:root=cubik", "--index rmi:root", "'cubik'", "cubic");
	assert_refused("rmi:root=", "--index rmi:root", "''", "linear");
	assert_refused("rmi:root=1", "--index rmi:root", "'1'", "linear");
	assert_refused("rmi:root=lin", "--index rmi:root", "'lin'", "linear");
	assert_refused("rmi:root=auto|linear", "--index rmi:root", "'auto|linear'", "linear");
	assert_refused("rmi:leaves", "--index", "'leaves' in 'rmi:leaves' has no '='",
		       "name:parameter=value");
	assert_refused("rmi:", "--index", "has no '='", "name:parameter=value");
	assert_refused("rmi:leaves=1::root=auto", "--index", "has no '='", "parameter=value");
	assert_refused("rmi:=3", "--index rmi", "unknown parameter ''", "list indexes");
	assert_refused("btree:x=1", "--index btree", "unknown parameter 'x'", "list indexes");
}

/* For every plug-in: limits are inclusive, every choice is taken, and what is told can be said. */
static void check_params_of(const char *name)
{
	ldb_competitor c = open_good(name);
	assert_string_equal(c.index->name, name);
	for (size_t i = 0; c.index->params && c.index->params[i].name; i++) {
		const ldb_param *p = &c.index->params[i];
		char spec[400], *colon;
		for (const char *word = p->choices; word && *word;) {
			size_t length = strcspn(word, "|");
			snprintf(spec, sizeof spec, "%s:%s=%.*s", name, p->name, (int)length, word);
			ldb_competitor chosen = open_good(spec);
			snprintf(spec, sizeof spec, "%s=%.*s", p->name, (int)length, word);
			assert_non_null(strstr(chosen.params_text, spec));
			/* The text of the CSV, as a spec again, gives the same. */
			snprintf(spec, sizeof spec, "%s:%s", name, chosen.params_text);
			while ((colon = strchr(spec, ';')))
				*colon = ':';
			ldb_competitor again = open_good(spec);
			assert_string_equal(again.params_text, chosen.params_text);
			assert_memory_equal(again.params, chosen.params, sizeof chosen.params);
			word += length + (word[length] == '|');
		}
		if (p->choices)
			continue;
		assert_true(p->def >= p->min && p->def <= p->max);
		const double good[] = {p->min, p->max, p->def};
		for (size_t j = 0; j < 3; j++) {
			snprintf(spec, sizeof spec, "%s:%s=%.17g", name, p->name, good[j]);
			assert_true(open_good(spec).params[i] == good[j]);
		}
		snprintf(spec, sizeof spec, "%s:%s=%.17g", name, p->name, p->max + 1);
		assert_refused(spec, "--index", "outside its limits", "a number from");
		snprintf(spec, sizeof spec, "%s:%s=%.17g", name, p->name, p->min - 1);
		assert_refused(spec, "--index", "outside its limits", "a number from");
	}
}

static void test_params_of_all(void **state)
{
	(void)state;
	size_t count;
	char **names = ldb_plugin_names(LDB_INDEX, &count);
	for (size_t i = 0; i < count; i++)
		check_params_of(names[i]);
	ldb_names_free(names, count);
}

static void test_unknown_plugins(void **state)
{
	(void)state;
	assert_refused("rmu", "--index", "unknown index 'rmu'", "did you mean rmi?");
	assert_refused("radix", "--index", "'radix'", "did you mean radixspline?");
	assert_refused("qqqqqqqq", "--index", "'qqqqqqqq'", "list indexes");
	assert_refused("", "--index", "unknown index ''", "list indexes");
	assert_refused(":leaves=1", "--index", "unknown index ''", "list indexes");
	assert_refused("..", "--index", "unknown index '..'", "list indexes");
	assert_refused("./not_there.so", "--index", "no readable file './not_there.so'", "path");
	assert_refused("/", "/", "can't be loaded", "shared object");
	write_file(in_folder("text.so"), "no shared object\n");
	assert_refused(in_folder("text.so"), "text.so", "can't be loaded", "shared object");
	char text[2 * PATH_MAX];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	assert_refused(text, "--index", "too long", "shorten");
	text[1000] = '\0';
	assert_refused(text, "--index", "unknown index", "list indexes");
	text[0] = '/';
	assert_refused(text, "--index", "no readable file", "path");
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);
	return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* The best variant is loaded, $LDB_ISA lowers it, and a path names just one. */
static void test_levels(void **state)
{
	(void)state;
	const char *const levels[] = {"", "v3", "v4"};
	const char *const limits[] = {"v2", "v3", "v4"};
	size_t most = 3;
	unsetenv("LDB_ISA");
	for (size_t i = 0; i < 3; i++)
		if (strcmp(ldb_isa_level(), levels[i]) == 0)
			most = i;
	assert_true(most < 3);
	for (size_t i = 0; i < 3; i++) {
		setenv("LDB_ISA", limits[i], 1);
		const size_t expected = i < most ? i : most; /* lowered, and never raised */
		assert_string_equal(ldb_isa_level(), levels[expected]);
		char end[32];
		snprintf(end, sizeof end, *levels[expected] ? "/btree.%s.so" : "/btree%s.so",
			 levels[expected]);
		ldb_competitor by_name = open_good("btree");
		if (!ends_with(by_name.path, end))
			fail_msg("LDB_ISA=%s loads %s, not %s", limits[i], by_name.path, end);
		ldb_competitor by_path = open_good(by_name.path);
		assert_ptr_equal(by_path.index, by_name.index);
		assert_true(by_path.code_hash == by_name.code_hash);
		assert_string_equal(by_path.params_text, by_name.params_text);
	}
	setenv("LDB_ISA", "v2", 1);
	char spec[PATH_MAX + 32];
	snprintf(spec, sizeof spec, "%s:leaves=8", open_good("rmi").path);
	assert_string_equal(open_good(spec).params_text,
			    "leaves=8;root=auto;budget=10;build_threads=1");
	unsetenv("LDB_ISA");
}

/* --- samples.csv -------------------------------------------------------------------------------
 */

#define HEADER                                                                                     \
	"experiment,family,name,params,dataset,n,key_bits,workload,mode,threads,pages,"            \
	"payload_bytes,rep,ops,elapsed_ns,ns_per_op,build_ns,tune_ns,index_bytes,"                 \
	"peak_rss_bytes,p50_ns,p99_ns,p999_ns,max_ns,err_log2_mean,err_max,checksum,status,note,"  \
	"instructions,cycles,l1d_misses,l2_misses,llc_misses,dtlb_misses,branch_misses,"           \
	"page_faults,context_switches\n"

static ldb_samples open_samples(const char *name)
{
	mkdir(in_folder(name), 0777);
	ldb_samples s;
	assert_int_equal(ldb_samples_open(in_folder(name), &s, NULL), LDB_OK);
	return s;
}

typedef struct {
	size_t count;
	char notes[64][256];
	char lines[64][512];
} collected;

static void collect(void *user, const ldb_read_row *row)
{
	collected *c = user;
	assert_true(c->count < 64);
	snprintf(c->notes[c->count], sizeof *c->notes, "%s", ldb_field(row, "note"));
	snprintf(c->lines[c->count], sizeof *c->lines, "%.511s", row->line);
	c->count++;
}

static void test_row_text(void **state)
{
	(void)state;
	ldb_samples s = open_samples("text");
	ldb_row row = ldb_row_empty();
	assert_int_equal(ldb_samples_append(&s, &row, NULL), LDB_OK);
	row.experiment = "e";
	row.name = "rmi";
	row.params = "leaves=0;root=auto";
	row.dataset = "coast";
	row.workload = "zipf:0.99";
	row.mode = "chained";
	row.pages = "thp";
	row.n = 7138872;
	row.threads = 2;
	row.payload_bytes = 8;
	row.rep = 3;
	row.ops = 1e6;
	row.elapsed_ns = 123456789012;
	row.ns_per_op = 123.4567891;
	row.build_ns = 0; /* known to be 0 is not unknown */
	row.tune_ns = NAN;
	row.index_bytes = 0x1p40;
	row.peak_rss_bytes = INFINITY;
	row.err_log2_mean = 3.25;
	row.err_max = 1e300;
	row.checksum = 0xab;
	row.has_checksum = true;
	row.status = LDB_ROW_WRONG;
	row.note = "a, \"b\"\nc";
	row.counters[1] = 0.001;
	assert_int_equal(ldb_samples_append(&s, &row, NULL), LDB_OK);
	ldb_samples_close(&s);
	ldb_samples_close(&s);    /* once more does nothing */
	s = open_samples("text"); /* no second header */
	ldb_samples_close(&s);
	char *text = read_file(in_folder("text/samples.csv"));
	assert_string_equal(
		text, HEADER
		",index,,,,0,64,,,0,,0,0,,,,,,,,,,,,,,,ok,,,,,,,,,,\n"
		"e,index,rmi,leaves=0;root=auto,coast,7138872,64,zipf:0.99,chained,2,thp,8,3,"
		"1000000,123456789012,123.457,0,,1099511627776,,,,,,3.25,1e+300,"
		"00000000000000ab,wrong,\"a, \"\"b\"\" c\",,0.001,,,,,,,\n");
	free(text);
}

/* What goes in comes out, whatever is in the texts. */
static void read_back(void *user, const ldb_read_row *row)
{
	const ldb_row *wrote = user;
	const struct {
		const char *column, *text;
	} texts[] = {
		{"experiment", wrote->experiment},
		{"name", wrote->name},
		{"params", wrote->params},
		{"dataset", wrote->dataset},
		{"workload", wrote->workload},
		{"mode", wrote->mode},
		{"pages", wrote->pages},
		{"note", wrote->note},
		{"status", ldb_row_status_name(wrote->status)},
	};
	assert_int_equal(row->count, row->column_count);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		char expected[256];
		snprintf(expected, sizeof expected, "%s", texts[i].text);
		for (char *c = expected; *c; c++) /* a row is a line */
			*c = *c == '\n' || *c == '\r' ? ' ' : *c;
		assert_string_equal(ldb_field(row, texts[i].column), expected);
	}
	assert_string_equal(ldb_field(row, "family"), "index");
	assert_string_equal(ldb_field(row, "elapsed_ns"), "");
	assert_string_equal(ldb_field(row, "no such column"), "");
	assert_int_equal(strtoull(ldb_field(row, "checksum"), NULL, 16), wrote->checksum);
	assert_int_equal(strtoull(ldb_field(row, "ops"), NULL, 10), (uint64_t)wrote->ops);
}

static void test_row_round_trip(void **state)
{
	(void)state;
	static const char alphabet[] = "ab,\"\";= \n\r\t'\\\xc3\xa9";
	ldb_rng rng;
	ldb_rng_seed(&rng, 5);
	for (int i = 0; i < 300; i++) {
		char texts[8][24];
		for (int t = 0; t < 8; t++) {
			size_t length = ldb_rng_below(&rng, 20);
			for (size_t j = 0; j < length; j++)
				texts[t][j] = alphabet[ldb_rng_below(&rng, sizeof alphabet - 1)];
			texts[t][length] = '\0';
		}
		unlink(in_folder("trip/samples.csv"));
		ldb_samples s = open_samples("trip");
		ldb_row row = ldb_row_empty();
		row.experiment = texts[0];
		row.name = texts[1];
		row.params = texts[2];
		row.dataset = texts[3];
		row.workload = texts[4];
		row.mode = texts[5];
		row.pages = texts[6];
		row.note = texts[7];
		row.checksum = ldb_rng_next(&rng);
		row.has_checksum = true;
		row.ops = (double)(ldb_rng_next(&rng) >> 20);
		row.status = (ldb_row_status)ldb_rng_below(&rng, LDB_ROW_ERROR + 1);
		assert_int_equal(ldb_samples_append(&s, &row, NULL), LDB_OK);
		ldb_samples_close(&s);
		assert_int_equal(ldb_samples_read(in_folder("trip"), read_back, &row, NULL),
				 LDB_OK);
	}
}

/* A row too long is refused whole; one that just fits is a line like any other. */
static void test_row_length(void **state)
{
	(void)state;
	ldb_samples s = open_samples("long");
	static char text[9000];
	size_t taken = 0, refused = 0;
	for (size_t length = 7900; length < 8300; length++) {
		memset(text, 'x', length);
		text[length] = '\0';
		ldb_row row = ldb_row_empty();
		ldb_error err = {.subject = ""};
		row.note = text;
		if (ldb_samples_append(&s, &row, &err) == LDB_OK) {
			assert_int_equal(refused, 0);
			taken++;
		} else {
			assert_told(&err);
			refused++;
		}
	}
	ldb_samples_close(&s);
	assert_true(taken && refused);
	char *got = read_file(in_folder("long/samples.csv"));
	size_t lines = 0;
	for (char *c = got; *c; c++)
		lines += *c == '\n';
	free(got);
	if (lines != taken + 1)
		fail_msg("%zu rows were taken, %zu lines written", taken, lines - 1);
}

static void test_samples_cut(void **state)
{
	(void)state;
	collected c = {0};
	mkdir(in_folder("cut"), 0777);
	/* Other columns, in another order, as another version may write them. */
	write_file(in_folder("cut/samples.csv"),
		   "name,note,extra\na,one,1\nb,two\nc,three,3,4\n\"d\",\"fo,ur\",\"\"\ne,five,");
	assert_int_equal(ldb_samples_read(in_folder("cut"), collect, &c, NULL), LDB_OK);
	assert_int_equal(c.count, 2); /* neither short nor long nor cut ones */
	assert_string_equal(c.notes[0], "one");
	assert_string_equal(c.notes[1], "fo,ur");
	assert_string_equal(c.lines[1], "\"d\",\"fo,ur\",\"\"");
	const char *const nothing[] = {"", "name,no", "name,note\n", "\n", "\n\n\n", "\"\n\"\"\n"};
	for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
		c.count = 0;
		write_file(in_folder("cut/samples.csv"), nothing[i]);
		assert_int_equal(ldb_samples_read(in_folder("cut"), collect, &c, NULL), LDB_OK);
		assert_true(c.count == 0 || !*c.notes[0]);
	}
	ldb_error err = {.subject = ""};
	assert_int_equal(ldb_samples_read(in_folder("nowhere"), collect, &c, &err), LDB_IO);
	assert_told(&err);
	ldb_samples s;
	assert_int_equal(ldb_samples_open(in_folder("nowhere"), &s, &err), LDB_IO);
	/* A folder in the file's place can be opened, but not read. */
	mkdir(in_folder("odd"), 0777);
	mkdir(in_folder("odd/samples.csv"), 0777);
	assert_int_equal(ldb_samples_read(in_folder("odd"), collect, &c, &err), LDB_IO);
}

static void test_note_get(void **state)
{
	(void)state;
	char buf[16];
	const char *note = "cell=12ab; claims=77 bytes;x=; cellar=9;  spaced=1 ; last=z";
	const struct {
		const char *key, *value;
	} good[] = {{"cell", "12ab"}, {"claims", "77 bytes"}, {"x", ""},
		    {"cellar", "9"},  {"spaced", "1 "},       {"last", "z"}};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(ldb_note_get(note, good[i].key, buf, sizeof buf));
		assert_string_equal(buf, good[i].value);
	}
	const char *const missing[] = {"ell", "cel", "cella", "bytes", "z", "laster", "12ab"};
	for (size_t i = 0; i < sizeof missing / sizeof *missing; i++)
		assert_false(ldb_note_get(note, missing[i], buf, sizeof buf));
	assert_false(ldb_note_get("", "cell", buf, sizeof buf));
	assert_false(ldb_note_get(";;; ;", "cell", buf, sizeof buf));
	assert_false(ldb_note_get("cell", "cell", buf, sizeof buf));
	assert_true(ldb_note_get("a=0123456789", "a", buf, 4)); /* cut to its room */
	assert_string_equal(buf, "012");
}

static bool keep_marked(void *user, const ldb_read_row *row)
{
	(void)user;
	return strchr(ldb_field(row, "note"), 'k') != NULL;
}

static void append_note(ldb_samples *s, const char *note, ldb_row_status status)
{
	ldb_row row = ldb_row_empty();
	row.note = note;
	row.status = status;
	assert_int_equal(ldb_samples_append(s, &row, NULL), LDB_OK);
}

static void test_retain(void **state)
{
	(void)state;
	ldb_samples s = open_samples("retain");
	const char *const notes[] = {"k1", "2", "\"k\",3", "4, \"x\"", "k5"};
	for (size_t i = 0; i < 5; i++)
		append_note(&s, notes[i], LDB_ROW_OK);
	ldb_samples_close(&s);
	FILE *f = fopen(in_folder("retain/samples.csv"), "a");
	assert_non_null(f);
	fputs("cut,by,a,kill", f);
	fclose(f);
	for (int again = 0; again < 2; again++) { /* the second time changes nothing */
		assert_int_equal(ldb_samples_retain(in_folder("retain"), keep_marked, NULL, NULL),
				 LDB_OK);
		collected c = {0};
		assert_int_equal(ldb_samples_read(in_folder("retain"), collect, &c, NULL), LDB_OK);
		assert_int_equal(c.count, 3);
		assert_string_equal(c.notes[0], "k1");
		assert_string_equal(c.notes[1], "\"k\",3");
		assert_string_equal(c.notes[2], "k5");
		char *moved = read_file(in_folder("retain/superseded.csv"));
		assert_int_equal(strncmp(moved, HEADER, strlen(HEADER)), 0);
		const char *rows = moved + strlen(HEADER);
		assert_string_equal(rows, ",index,,,,0,64,,,0,,0,0,,,,,,,,,,,,,,,ok,2,,,,,,,,,\n"
					  ",index,,,,0,64,,,0,,0,0,,,,,,,,,,,,,,,ok,"
					  "\"4, \"\"x\"\"\",,,,,,,,,\n");
		free(moved);
		assert_int_not_equal(access(in_folder("retain/samples.csv.new"), F_OK), 0);
	}
	/* The file goes on after the last kept row. */
	s = open_samples("retain");
	append_note(&s, "k6", LDB_ROW_OK);
	ldb_samples_close(&s);
	collected c = {0};
	assert_int_equal(ldb_samples_read(in_folder("retain"), collect, &c, NULL), LDB_OK);
	assert_int_equal(c.count, 4);
	assert_string_equal(c.notes[3], "k6");
	ldb_error err = {.subject = ""};
	assert_int_equal(ldb_samples_retain(in_folder("nowhere"), keep_marked, NULL, &err), LDB_IO);
	assert_told(&err);
}

static void test_status_names(void **state)
{
	(void)state;
	const char *const names[] = {"ok",      "unsupported", "wrong", "crashed",
				     "timeout", "oom",         "error"};
	for (ldb_row_status s = LDB_ROW_OK; s <= LDB_ROW_ERROR; s++)
		assert_string_equal(ldb_row_status_name(s), names[s]);
}

/* --- results -----------------------------------------------------------------------------------
 */

static size_t count_lines(const char *path)
{
	char *text = read_file(path);
	size_t lines = 0;
	for (char *at = text; *at; at++)
		lines += *at == '\n';
	free(text);
	return lines;
}

/* Complete is what has all the rounds that its rows say it was to have, and nothing but ok. */
static void test_complete_cells(void **state)
{
	(void)state;
	ldb_samples s = open_samples("cells");
	const struct {
		const char *note;
		size_t ok, wrong;
	} cells[] = {
		{"cell=00000000000000ff/3; x=1", 3, 0},
		{"cell=fedcba9876543210/3", 4, 0},
		{"cell=1/3", 2, 0},
		{"a=b; cell=00000000000000aa/1", 1, 0},
		{"cell=2/3", 3, 1},
		{"cell=3/3", 0, 2},
		{"no cell", 3, 0},
		{"cell=0/3", 3, 0},
		{"cell=5", 3, 0},
	};
	enum { CELLS = sizeof cells / sizeof *cells };
	/* Rounds of all cells, as a run writes them; those without further rows drop out. */
	for (size_t round = 0; round < 5; round++)
		for (size_t i = 0; i < CELLS; i++) {
			if (round < cells[i].ok)
				append_note(&s, cells[i].note, LDB_ROW_OK);
			else if (round < cells[i].ok + cells[i].wrong)
				append_note(&s, cells[i].note, LDB_ROW_WRONG);
		}
	ldb_samples_close(&s);
	const uint64_t complete[] = {0xaa, 0xff, 0xfedcba9876543210};
	for (int again = 0; again < 2; again++) { /* the second time changes nothing */
		uint64_t *hashes;
		size_t count;
		ldb_status status = ldb_results_complete(in_folder("cells"), &hashes, &count, NULL);
		assert_int_equal(status, LDB_OK);
		assert_int_equal(count, 3);
		for (size_t i = 0; i < 3; i++)
			assert_true(hashes[i] == complete[i]);
		free(hashes);
		assert_int_equal(count_lines(in_folder("cells/samples.csv")), 1 + 3 + 4 + 1);
		assert_int_equal(count_lines(in_folder("cells/superseded.csv")),
				 1 + 2 + 4 + 2 + 3 + 3 + 3);
	}
}

static void test_results_folder(void **state)
{
	(void)state;
	char out[PATH_MAX];
	struct stat st;
	assert_int_equal(ldb_results_folder(in_folder("a/b/c"), out, NULL), LDB_OK);
	assert_string_equal(out, in_folder("a/b/c"));
	assert_true(stat(out, &st) == 0 && S_ISDIR(st.st_mode));
	assert_int_equal(ldb_results_folder(in_folder("a/b"), out, NULL),
			 LDB_OK); /* there already */
	assert_false(ldb_results_exist(in_folder("a/b/c")));
	write_file(in_folder("a/b/c/samples.csv"), "");
	assert_false(ldb_results_exist(in_folder("a/b/c"))); /* nothing in it */
	write_file(in_folder("a/b/c/samples.csv"), "x");
	assert_true(ldb_results_exist(in_folder("a/b/c")));
	ldb_error err = {.subject = ""};
	assert_int_equal(ldb_results_folder(in_folder("a/b/c/samples.csv"), out, &err), LDB_IO);
	assert_told(&err);
	assert_int_equal(ldb_results_folder(in_folder("a/b/c/samples.csv/d"), out, &err), LDB_IO);
	char text[PATH_MAX + 1];
	memset(text, 'x', sizeof text);
	text[PATH_MAX] = '\0';
	assert_int_equal(ldb_results_folder(text, out, &err), LDB_INVALID);
	assert_told(&err);
}

/* Without --out: date and machine, and a number when that is taken. Runs first, in a child, as the
 * root of the project is found once in a process. */
static void test_results_folder_of_its_own(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char first[PATH_MAX], second[PATH_MAX], third[PATH_MAX], expected[PATH_MAX + 8];
		setenv("LDB_ROOT", folder, 1);
		if (ldb_results_folder(NULL, first, NULL) != LDB_OK ||
		    ldb_results_folder(NULL, second, NULL) != LDB_OK ||
		    ldb_results_folder(NULL, third, NULL) != LDB_OK)
			_exit(2);
		int year, month, day, length = 0;
		const char *name = first + strlen(folder);
		if (strncmp(first, folder, strlen(folder)) != 0 ||
		    sscanf(name, "/results/%4d-%2d-%2d-%n", &year, &month, &day, &length) != 3 ||
		    !length || !name[length])
			_exit(3);
		snprintf(expected, sizeof expected, "%s-2", first);
		if (strcmp(second, expected) != 0)
			_exit(4);
		snprintf(expected, sizeof expected, "%s-3", first);
		_exit(strcmp(third, expected) != 0 ? 5 : access(third, W_OK) != 0 ? 6 : 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static json_t *load_run(const char *dir)
{
	char path[512];
	snprintf(path, sizeof path, "%s/run.json", dir);
	json_t *run = json_load_file(path, 0, NULL);
	assert_non_null(run);
	return run;
}

static const char *string_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static void test_run_json(void **state)
{
	(void)state;
	mkdir(in_folder("run"), 0777);
	const char *dir = in_folder("run");
	write_file(in_folder("x.ini"), "index = rmi, btree\ndataset = uniform_sparse\nsize = 1K\n"
				       "memory = 1e12\nseed = 9\n[one]\nreps = 2\n");
	ldb_plan plan;
	assert_int_equal(ldb_plan_make(in_folder("x.ini"), NULL, 0, &plan, NULL), LDB_OK);
	char program[] = "ldbench", command[] = "run";
	char *argv[] = {program, command};
	const ldb_dataset data = {.n = 1000,
				  .source_n = 5000,
				  .checksum = 0xabc,
				  .name = "uniform_sparse",
				  .source = "generated, seed 9"};
	/* Two sessions, then one that does not go on with them, then one after a broken file. */
	const size_t sessions[] = {1, 2, 1, 1};
	for (size_t i = 0; i < 4; i++) {
		ldb_run_json run;
		if (i == 3)
			write_file(in_folder("run/run.json"), "{\"sessions\": [");
		assert_int_equal(ldb_run_json_start(dir, &plan, 2, argv, i % 2 == 1, &run, NULL),
				 LDB_OK);
		assert_int_equal(run.number, sessions[i]);
		json_t *now = load_run(dir); /* written at once: a kill leaves it so */
		json_t *session = json_array_get(json_object_get(now, "sessions"), sessions[i] - 1);
		assert_string_equal(string_of(session, "status"), "running");
		assert_true(json_is_null(json_object_get(session, "ended")));
		json_decref(now);
		ldb_run_json_dataset(&run, &data);
		assert_int_equal(ldb_run_json_end(&run, i ? "complete" : "interrupted", NULL),
				 LDB_OK);
	}
	json_t *run = load_run(dir);
	assert_string_equal(string_of(run, "reference"), "btree");
	assert_string_equal(string_of(run, "config"), plan.config_text);
	assert_int_equal(json_integer_value(json_object_get(run, "seed")), 9);
	json_t *experiment = json_array_get(json_object_get(run, "experiments"), 0);
	assert_string_equal(string_of(experiment, "name"), "one");
	assert_int_equal(json_integer_value(json_object_get(experiment, "reps")), 2);
	json_t *competitors = json_object_get(run, "competitors");
	assert_int_equal(json_array_size(competitors), 2);
	assert_string_equal(string_of(json_array_get(competitors, 0), "name"), "rmi");
	assert_true(json_is_true(json_object_get(json_array_get(competitors, 0), "learned")));
	assert_true(json_is_false(json_object_get(json_array_get(competitors, 0), "reference")));
	assert_true(json_is_true(json_object_get(json_array_get(competitors, 1), "reference")));
	json_t *set = json_object_get(json_object_get(run, "datasets"), "uniform_sparse/1000");
	assert_string_equal(string_of(set, "xxh3"), "0000000000000abc");
	assert_int_equal(json_integer_value(json_object_get(set, "sampled_from")), 5000);
	json_t *session = json_array_get(json_object_get(run, "sessions"), 0);
	assert_string_equal(string_of(session, "status"), "complete");
	assert_true(strlen(string_of(session, "ended")) == strlen("2026-01-01T00:00:00Z"));
	assert_string_equal(
		json_string_value(json_array_get(json_object_get(session, "command"), 1)), "run");
	json_decref(run);
	ldb_run_json broken;
	ldb_error err = {.subject = ""};
	assert_int_equal(
		ldb_run_json_start(in_folder("nowhere"), &plan, 2, argv, false, &broken, &err),
		LDB_IO);
	assert_told(&err);
	json_decref(broken.session);
	json_decref(broken.root);
	ldb_plan_free(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results_folder_of_its_own), /* must be the first */
		cmocka_unit_test(test_alloc_pages), /* before other policies leave blocks behind */
		cmocka_unit_test(test_size_parse),
		cmocka_unit_test(test_size_format),
		cmocka_unit_test(test_edit_distance),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_alloc_limit),
		cmocka_unit_test(test_alloc_fail_at),
		cmocka_unit_test(test_alloc_threads),
		cmocka_unit_test(test_alloc_foreign),
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_unmap_is_exact),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_page_names),
		cmocka_unit_test(test_plugin_names),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_params_of_all),
		cmocka_unit_test(test_unknown_plugins),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_row_text),
		cmocka_unit_test(test_row_round_trip),
		cmocka_unit_test(test_row_length),
		cmocka_unit_test(test_samples_cut),
		cmocka_unit_test(test_note_get),
		cmocka_unit_test(test_retain),
		cmocka_unit_test(test_status_names),
		cmocka_unit_test(test_complete_cells),
		cmocka_unit_test(test_results_folder),
		cmocka_unit_test(test_run_json),
	};
	return cmocka_run_group_tests_name("harness", tests, make_folder, remove_folder);
}
