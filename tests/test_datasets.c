/*
 * Tests of datasets/: catalog, SOSD files, loading, writing, inspection.
 *
 * Everything is compared with something simpler: loaded keys with the bytes that were written, a
 * file's verdict with a few lines that judge the same bytes, segments with the optimum that dynamic
 * programming finds over all pairs of points. The loader and the catalog's parser are also fed
 * mutated files (seeded, so a failure repeats).
 *
 * The tests run in a project folder of their own below /tmp, with a catalog of their own; the real
 * catalog is read by its path.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <ini.h>
#include <xxhash.h>

#include "../datasets/catalog.h"
#include "../datasets/inspect.h"
#include "../datasets/sosd.h"
#include "../datasets/tpch.h"
#include "dataset.h"
#include "rng.h"

#define CHUNK ((size_t)1 << 17) /* keys that the reader takes at once */
#define MAX_POINTS 64           /* of a set that is tried by brute force */

static char root[PATH_MAX / 8];         /* of the tests */
static char project[PATH_MAX / 2];      /* of the repository */
static const ldb_dataset_options plain; /* 4k pages, seed 0, width by suffix */

/* --- tools ------------------------------------------------------------------------------------ */

/* A path below the tests' folder; good until four more were made. */
static const char *at_root(const char *name)
{
	static char paths[4][PATH_MAX];
	static int next;
	char *path = paths[next++ % 4];
	snprintf(path, PATH_MAX, "%s/%s", root, name);
	return path;
}

static void put_file(const char *path, const void *data, size_t bytes)
{
	unlink(path); /* some file systems write a file to disk that was cut and written anew */
	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, bytes, f), bytes);
	assert_int_equal(fclose(f), 0);
}

/* A SOSD file as its definition says: no code shared with the writer under test. */
static size_t make_image(char *out, uint64_t count, const ldb_key *keys, size_t n, int bits)
{
	memcpy(out, &count, 8);
	for (size_t i = 0; i < n; i++)
		memcpy(out + 8 + i * (size_t)(bits / 8), &keys[i], (size_t)(bits / 8));
	return 8 + n * (size_t)(bits / 8);
}

static void put_sosd(const char *path, const ldb_key *keys, size_t n, int bits)
{
	char *image = malloc(8 + n * 8);
	assert_non_null(image);
	put_file(path, image, make_image(image, n, keys, n, bits));
	free(image);
}

static int compare_keys(const void *a, const void *b)
{
	const ldb_key x = *(const ldb_key *)a, y = *(const ldb_key *)b;
	return (x > y) - (x < y);
}

/* Sorted keys below 2^bits, with both ends of that range and some duplicates where n allows. */
static ldb_key *make_keys(size_t n, int bits, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	ldb_key *keys = malloc((n ? n : 1) * sizeof *keys);
	assert_non_null(keys);
	const ldb_key max = UINT64_MAX >> (64 - bits);
	for (size_t i = 0; i < n; i++)
		keys[i] =
			i && ldb_rng_below(&rng, 10) == 0 ? keys[i - 1] : ldb_rng_next(&rng) & max;
	if (n > 1)
		keys[0] = 0;
	if (n > 2)
		keys[1] = max;
	qsort(keys, n, sizeof *keys, compare_keys);
	return keys;
}

static void assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("expected \"%s\" in \"%s\"", part, text);
}

/* Checks status and error; a NULL text is not looked at, but no field may be empty. */
static void assert_fails(ldb_status got, ldb_status expected, const ldb_error *err,
			 const char *subject, const char *value, const char *remedy)
{
	if (got != expected)
		fail_msg("status %d, expected %d; error: %s: %s; %s", (int)got, (int)expected,
			 err->subject, err->value, err->remedy);
	assert_true(err->subject[0] && err->value[0] && err->remedy[0]);
	if (subject)
		assert_contains(err->subject, subject);
	if (value)
		assert_contains(err->value, value);
	if (remedy)
		assert_contains(err->remedy, remedy);
}

static void load_ok(const char *spec, size_t n, const ldb_dataset_options *options, ldb_dataset *d)
{
	ldb_error err = {0};
	if (ldb_dataset_load(spec, n, options, d, &err) != LDB_OK)
		fail_msg("%s: %s: %s; %s", spec, err.subject, err.value, err.remedy);
}

static void load_fails(const char *spec, size_t n, const ldb_dataset_options *options,
		       ldb_status expected, const char *subject, const char *value,
		       const char *remedy)
{
	ldb_error err = {0};
	ldb_dataset d;
	memset(&d, 0xff, sizeof d);
	ldb_status got = ldb_dataset_load(spec, n, options, &d, &err);
	assert_fails(got, expected, &err, subject, value, remedy);
	assert_null(d.keys); /* nothing is left to free */
	assert_int_equal(d.n, 0);
}

/* --- SOSD files: reading ---------------------------------------------------------------------- */

static void test_width_by_name(void **state)
{
	(void)state;
	assert_int_equal(sosd_key_bits_of_name("books_200M_uint32"), 32);
	assert_int_equal(sosd_key_bits_of_name("/a/b/books_200M_uint64"), 64);
	assert_int_equal(sosd_key_bits_of_name("x_uint64.bin"), 64);
	assert_int_equal(sosd_key_bits_of_name("x_uint32.sosd"), 32);
	assert_int_equal(sosd_key_bits_of_name("x_uint32.v2_uint64"), 64);
	assert_int_equal(sosd_key_bits_of_name("x_uint64/keys"), 0);
	assert_int_equal(sosd_key_bits_of_name("x_uint64.d/keys"), 0);
	assert_int_equal(sosd_key_bits_of_name("x_uint648"), 0);
	assert_int_equal(sosd_key_bits_of_name("uint64"), 0);
	assert_int_equal(sosd_key_bits_of_name(""), 0);
	assert_int_equal(sosd_key_bits_of_name("."), 0);
}

static void check_whole(size_t n, int bits, ldb_pages pages)
{
	const char *path = at_root(bits == 64 ? "whole_uint64" : "whole_uint32");
	ldb_key *keys = make_keys(n, bits, n);
	put_sosd(path, keys, n, bits);
	ldb_dataset_options options = {.pages = pages};
	for (int given = 0; given < 2; given++) {
		ldb_dataset d;
		load_ok(path, given ? n : 0, &options, &d);
		assert_int_equal(d.n, n);
		assert_int_equal(d.source_n, n);
		assert_int_equal(d.mapped_bytes, n * 8);
		assert_memory_equal(d.keys, keys, n * 8);
		assert_int_equal(d.checksum, XXH3_64bits(keys, n * 8));
		assert_string_equal(d.source, path);
		assert_string_equal(d.name, strrchr(path, '/') + 1);
		assert_true(d.load_ns > 0);
		ldb_dataset_free(&d);
		assert_null(d.keys);
	}
	free(keys);
}

static void test_whole(void **state)
{
	(void)state;
	static const size_t sizes[] = {1,         2,     3,         7,         1000,
				       CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 77};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_whole(sizes[i], 64, LDB_PAGES_4K);
		check_whole(sizes[i], 64, LDB_PAGES_THP);
		check_whole(sizes[i], 32, LDB_PAGES_THP);
	}
}

static void test_key_bits_option(void **state)
{
	(void)state;
	const ldb_key keys[] = {1, 5, 9, 4000000000};
	const ldb_dataset_options bits32 = {.key_bits = 32}, bits64 = {.key_bits = 64},
				  bits16 = {.key_bits = 16};
	ldb_dataset d;
	put_sosd(at_root("narrow"), keys, 4, 32);
	load_fails(at_root("narrow"), 0, &plain, LDB_INVALID, "narrow", "width", "--key-bits");
	load_fails(at_root("narrow"), 0, &bits16, LDB_INVALID, "narrow", "16", "--key-bits");
	load_fails(at_root("narrow"), 0, &bits64, LDB_INVALID, "narrow", "holds only 2",
		   "--key-bits 32");
	load_ok(at_root("narrow"), 0, &bits32, &d);
	assert_memory_equal(d.keys, keys, sizeof keys);
	ldb_dataset_free(&d);
	/* A suffix decides, whatever the option says. */
	put_sosd(at_root("wide_uint64"), keys, 4, 64);
	load_ok(at_root("wide_uint64"), 0, &bits32, &d);
	assert_memory_equal(d.keys, keys, sizeof keys);
	ldb_dataset_free(&d);
}

/* NAME_uint32: the same keys, shifted right until they fit. */
static void test_narrowed(void **state)
{
	(void)state;
	const size_t sizes[] = {5000, 1};
	for (size_t i = 0; i < 2; i++) {
		const size_t n = sizes[i];
		ldb_dataset wide, narrow;
		unsigned shift = 0;
		load_ok("uniform_sparse", n, &plain, &wide);
		load_ok("uniform_sparse_uint32", n, &plain, &narrow);
		assert_string_equal(narrow.name, "uniform_sparse_uint32");
		while (wide.keys[n - 1] >> shift > UINT32_MAX)
			shift++;
		assert_true(shift > 0);
		for (size_t k = 0; k < n; k++)
			assert_true(narrow.keys[k] == wide.keys[k] >> shift);
		assert_true(narrow.checksum != wide.checksum);
		assert_contains(narrow.source, "shifted right");
		ldb_dataset_free(&wide);
		ldb_dataset_free(&narrow);
	}
	assert_true(ldb_dataset_stamp("uniform_sparse_uint32", &plain) !=
		    ldb_dataset_stamp("uniform_sparse", &plain));
	load_fails("uniform_spare_uint32", 10, &plain, LDB_INVALID, "dataset", "unknown name", "");
}

static void check_bad_image(const char *name, const void *image, size_t bytes, ldb_status expected,
			    const char *value, const char *remedy)
{
	const char *path = at_root(name);
	put_file(path, image, bytes);
	load_fails(path, 0, &plain, expected, path, value, remedy);
	size_t n = 1;
	ldb_error err = {0};
	if (!strstr(value, "unsorted")) { /* what the header tells, ldb_dataset_size tells too */
		assert_fails(ldb_dataset_size(path, &plain, &n, &err), expected, &err, path, value,
			     remedy);
		assert_int_equal(n, 0);
	}
}

static void test_bad_headers(void **state)
{
	(void)state;
	const ldb_key keys[] = {10, 20, 30, 40};
	char image[64], text[64];
	for (size_t bytes = 0; bytes < 8; bytes++) {
		snprintf(text, sizeof text, "offset 0: %zu bytes, expected", bytes);
		check_bad_image("short_uint64", "abcdefgh", bytes, LDB_INVALID, text, "count");
	}
	size_t bytes = make_image(image, 0, keys, 4, 64);
	check_bad_image("zero_uint64", image, bytes, LDB_INVALID, "count is 0", NULL);
	check_bad_image("zero_uint64", image, 8, LDB_INVALID, "count is 0", NULL);
	bytes = make_image(image, 5, keys, 4, 64);
	check_bad_image("cut_uint64", image, bytes, LDB_INVALID,
			"count is 5, but the file holds only 4", NULL);
	check_bad_image("cut_uint64", image, bytes - 1, LDB_INVALID, "holds only 3", NULL);
	check_bad_image("cut_uint32", image, bytes - 17, LDB_INVALID, "holds only 3 keys of 32",
			NULL);
	bytes = make_image(image, UINT64_MAX, keys, 4, 64);
	check_bad_image("huge_uint64", image, bytes, LDB_INVALID, "holds only 4", NULL);
	/* Counts whose size in bytes overflows to just what the file has. */
	bytes = make_image(image, ((uint64_t)1 << 61) + 4, keys, 4, 64);
	check_bad_image("wrap_uint64", image, bytes, LDB_INVALID, "holds only 4", NULL);
	bytes = make_image(image, ((uint64_t)1 << 62) + 8, keys, 4, 64);
	check_bad_image("wrap_uint32", image, bytes, LDB_INVALID, "holds only 8", NULL);
	bytes = make_image(image, 3, keys, 4, 64);
	check_bad_image("tail_uint64", image, bytes, LDB_INVALID, "offset 32: 8 bytes follow",
			NULL);
	check_bad_image("tail_uint64", image, bytes - 7, LDB_INVALID, "offset 32: 1 bytes follow",
			NULL);
	bytes = make_image(image, 4, keys, 4, 32);
	check_bad_image("swapped_uint64", image, bytes, LDB_INVALID, "holds only 2", "_uint32");
	bytes = make_image(image, 4, keys, 4, 64);
	check_bad_image("swapped_uint32", image, bytes, LDB_INVALID, "offset 24: 16 bytes follow",
			"_uint64");
}

static void test_not_files(void **state)
{
	(void)state;
	load_fails(at_root("nowhere_uint64"), 0, &plain, LDB_IO, "nowhere_uint64", "No such file",
		   "path");
	assert_int_equal(mkdir(at_root("folder_uint64"), 0777), 0);
	load_fails(at_root("folder_uint64"), 0, &plain, LDB_INVALID, "folder_uint64", "folder",
		   "SOSD file");
	assert_int_equal(mkfifo(at_root("pipe_uint64"), 0666), 0);
	load_fails(at_root("pipe_uint64"), 0, &plain, LDB_INVALID, "pipe_uint64", "regular file",
		   "SOSD file"); /* and does not wait for a writer */
	load_fails("/dev/null", 0, &plain, LDB_INVALID, "/dev/null", "regular file", NULL);
	char longest[2 * PATH_MAX];
	memset(longest, 'a', sizeof longest - 1);
	longest[0] = '/';
	longest[sizeof longest - 1] = '\0';
	load_fails(longest, 0, &plain, LDB_INVALID, NULL, "path", "shorter");
	const ldb_key key = 1;
	put_sosd(at_root("secret_uint64"), &key, 1, 64);
	assert_int_equal(chmod(at_root("secret_uint64"), 0), 0);
	if (geteuid() != 0) /* root may read anything */
		load_fails(at_root("secret_uint64"), 0, &plain, LDB_IO, "secret_uint64",
			   "Permission denied", "right");
}

static void check_unsorted(size_t n, int bits, size_t at, size_t at_too)
{
	ldb_key *keys = malloc(n * sizeof *keys);
	assert_non_null(keys);
	for (size_t i = 0; i < n; i++)
		keys[i] = 5 + i;
	keys[at] = 3;
	if (at_too)
		keys[at_too] = 2;
	char name[32], value[160];
	snprintf(name, sizeof name, "unsorted_uint%d", bits);
	put_sosd(at_root(name), keys, n, bits);
	snprintf(value, sizeof value, "unsorted: key %zu at offset %zu is 3, expected at least %zu",
		 at, 8 + at * (size_t)bits / 8, at + 4);
	load_fails(at_root(name), 0, &plain, LDB_INVALID, name, value, "ascending");
	free(keys);
}

static void test_unsorted(void **state)
{
	(void)state;
	check_unsorted(2, 64, 1, 0);
	check_unsorted(2, 32, 1, 0);
	check_unsorted(5000, 64, 4097, 0);
	/* Within chunks, at their edges, and of several the first in the file. */
	const size_t n = 5 * CHUNK;
	static const size_t places[] = {1,         CHUNK - 1,     CHUNK,        CHUNK + 1,
					2 * CHUNK, 3 * CHUNK - 1, 5 * CHUNK - 1};
	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		check_unsorted(n, 64, places[i], 0);
		check_unsorted(n, 32, places[i], 0);
		if (places[i] + 1 < n) {
			check_unsorted(n, 64, places[i], places[i] + 1);
			check_unsorted(n, 64, places[i], n - 1);
		}
	}
}

/* A file that is cut after it was opened gives an error, whichever chunk is missed. */
static void test_shrinking_file(void **state)
{
	(void)state;
	const size_t n = 3 * CHUNK;
	ldb_key *keys = make_keys(n, 64, 1);
	put_sosd(at_root("shrinks_uint64"), keys, n, 64);
	sosd_file file;
	ldb_error err = {0};
	uint64_t checksum;
	assert_int_equal(sosd_open(at_root("shrinks_uint64"), 0, &file, &err), LDB_OK);
	assert_int_equal(truncate(at_root("shrinks_uint64"), (off_t)(8 + CHUNK * 12)), 0);
	assert_fails(sosd_read(&file, keys, &checksum, &err), LDB_IO, &err, "shrinks_uint64",
		     "offset 1572872: the file shrank", NULL);
	assert_fails(sosd_read(&file, NULL, &checksum, &err), LDB_IO, &err, "shrinks_uint64",
		     "offset 1572872: the file shrank", NULL);
	sosd_close(&file);
	free(keys);
}

static void test_verify_without_keeping(void **state)
{
	(void)state;
	for (int bits = 32; bits <= 64; bits += 32) {
		const size_t n = 3 * CHUNK + 5;
		ldb_key *keys = make_keys(n, bits, 4);
		put_sosd(at_root("checked"), keys, n, bits);
		sosd_file file;
		ldb_error err = {0};
		uint64_t checksum = 0;
		assert_int_equal(sosd_open(at_root("checked"), bits, &file, &err), LDB_OK);
		assert_int_equal(sosd_read(&file, NULL, &checksum, &err), LDB_OK);
		assert_int_equal(checksum, XXH3_64bits(keys, n * 8));
		sosd_close(&file);
		free(keys);
	}
}

/* --- sampling --------------------------------------------------------------------------------- */

static void check_sample(const char *path, const ldb_key *keys, size_t file_n, size_t n)
{
	ldb_dataset d;
	load_ok(path, n, &plain, &d);
	assert_int_equal(d.n, n);
	assert_int_equal(d.source_n, file_n);
	for (size_t i = 0; i < n; i++)
		if (d.keys[i] != keys[(size_t)((unsigned __int128)i * file_n / n)])
			fail_msg("%s: key %zu of %zu is wrong", path, i, n);
	assert_int_equal(d.checksum, XXH3_64bits(d.keys, n * 8));
	assert_string_equal(d.name, strrchr(path, '/') + 1);
	ldb_dataset_free(&d);
}

static void test_sample(void **state)
{
	(void)state;
	for (int bits = 32; bits <= 64; bits += 32) {
		const char *name = bits == 64 ? "sample_uint64" : "sample_uint32";
		static const size_t file_sizes[] = {1, 2, 3, 17, 1000, 200003};
		for (size_t f = 0; f < sizeof file_sizes / sizeof *file_sizes; f++) {
			const size_t file_n = file_sizes[f];
			ldb_key *keys = make_keys(file_n, bits, file_n);
			put_sosd(at_root(name), keys, file_n, bits);
			for (size_t n = 1; n <= file_n; n = n < 20 ? n + 1 : n * 3 / 2 + 1)
				check_sample(at_root(name), keys, file_n, n);
			check_sample(at_root(name), keys, file_n, file_n);
			if (file_n > 1)
				check_sample(at_root(name), keys, file_n, file_n - 1);
			free(keys);
		}
	}
}

static void test_sample_errors(void **state)
{
	(void)state;
	ldb_key keys[1000];
	for (size_t i = 0; i < 1000; i++)
		keys[i] = i;
	keys[500] = 1;
	put_sosd(at_root("rough_uint64"), keys, 1000, 64);
	/* 1000 / 300: 499 is taken as the 150th, then 503; 500 is not seen. */
	ldb_dataset d;
	load_ok(at_root("rough_uint64"), 301, &plain, &d);
	ldb_dataset_free(&d);
	/* Every second key: 500 is seen, after 498. */
	load_fails(at_root("rough_uint64"), 500, &plain, LDB_INVALID, "rough_uint64",
		   "unsorted: key 500 at offset 4008 is 1, expected at least 498 as key 498 is",
		   "ascending");
	load_fails(at_root("rough_uint64"), 1001, &plain, LDB_INVALID, "rough_uint64",
		   "holds 1000 keys, 1001 asked", "use --size 1000 or less, or max");
	load_fails(at_root("rough_uint64"), SIZE_MAX, &plain, LDB_INVALID, "rough_uint64",
		   "holds 1000 keys", "1000 or less");
}

/* --- names, catalog sets, generators ---------------------------------------------------------- */

static void test_unknown_names(void **state)
{
	(void)state;
	load_fails("uniform_spars", 0, &plain, LDB_INVALID, "dataset", "'uniform_spars'",
		   "did you mean 'uniform_sparse'?");
	load_fails("qqqqqqqqqqqq", 0, &plain, LDB_INVALID, "dataset", "'qqqqqqqqqqqq'",
		   "ldbench list datasets");
	load_fails("", 0, &plain, LDB_INVALID, "dataset", "''", "ldbench list datasets");
	size_t n = 1;
	ldb_error err = {0};
	assert_fails(ldb_dataset_size("uniform_spars", &plain, &n, &err), LDB_INVALID, &err,
		     "dataset", NULL, "uniform_sparse");
	assert_int_equal(n, 0);
	/* A file in the current folder needs no slash, but a name of the catalog comes first. */
	const ldb_key key = 77;
	char before[PATH_MAX];
	assert_non_null(getcwd(before, sizeof before));
	assert_int_equal(chdir(root), 0);
	put_sosd("here_uint64", &key, 1, 64);
	put_sosd("uniform_sparse", &key, 1, 64);
	ldb_dataset d;
	load_ok("here_uint64", 0, &plain, &d);
	assert_int_equal(d.keys[0], 77);
	ldb_dataset_free(&d);
	load_ok("uniform_sparse", 0, &plain, &d);
	assert_int_equal(d.n, 1234);
	ldb_dataset_free(&d);
	assert_int_equal(unlink("uniform_sparse"), 0);
	assert_int_equal(chdir(before), 0);
}

static void test_generated(void **state)
{
	(void)state;
	ldb_dataset a, b, c;
	const ldb_dataset_options seed1 = {.seed = 1}, seed2 = {.seed = 2};
	load_ok("uniform_sparse", 0, &seed1, &a);
	assert_int_equal(a.n, 1234); /* the default of the catalog */
	assert_int_equal(a.source_n, 1234);
	assert_string_equal(a.name, "uniform_sparse");
	assert_string_equal(a.source, "generated, seed 1");
	assert_int_equal(a.checksum, XXH3_64bits(a.keys, a.n * 8));
	assert_int_equal(sosd_first_unsorted(a.keys, a.n), a.n);
	load_ok("uniform_sparse", 1234, &seed1, &b);
	load_ok("uniform_sparse", 1234, &seed2, &c);
	assert_memory_equal(a.keys, b.keys, a.n * 8);
	assert_int_not_equal(a.checksum, c.checksum);
	ldb_dataset_free(&a);
	ldb_dataset_free(&b);
	ldb_dataset_free(&c);
	size_t n = 0;
	ldb_error err = {0};
	assert_int_equal(ldb_dataset_size("uniform_sparse", &plain, &n, &err), LDB_OK);
	assert_true(n == SIZE_MAX);
	load_fails("orphan", 10, &plain, LDB_INVALID, "orphan", "'no_such_generator'",
		   "datasets/generators.c");
	load_fails("uniform_sparse", SIZE_MAX, &plain, LDB_OOM, "uniform_sparse", "keys need",
		   "smaller");
	load_fails("uniform_sparse", SIZE_MAX / 8 + 2, &plain, LDB_OOM, NULL, "keys need", NULL);
}

static void test_zipf_of_any_skew(void **state)
{
	(void)state;
	ldb_dataset d;
	load_ok("zipf:1.5", 1000, &plain, &d);
	assert_string_equal(d.name, "zipf:1.5");
	assert_int_equal(d.n, 1000);
	ldb_dataset_free(&d);
	for (const char *const *spec = (const char *const[]){"zipf:", "zipf:0", "zipf:x", "zipf:1x",
							     "zipf:nan", "zipf:11", NULL};
	     *spec; spec++)
		load_fails(*spec, 10, &plain, LDB_INVALID, "dataset", *spec, "zipf:0.75");
}

/* Each generator, at small sizes: sorted, and taken by the loader's own check. */
static void test_all_generators(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 2, 3, 100, 5000};
	for (const ldb_generator *g = ldb_generators; g->name; g++) {
		for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			ldb_key *keys = malloc(sizes[i] * sizeof *keys);
			assert_non_null(keys);
			g->generate(keys, sizes[i], 42);
			if (sosd_first_unsorted(keys, sizes[i]) != sizes[i])
				fail_msg("%s: %zu keys not sorted", g->name, sizes[i]);
			free(keys);
		}
	}
}

static void test_catalog_file(void **state)
{
	(void)state;
	/* The tests' catalog has [tiny]: 4 keys with a checksum. */
	const ldb_key keys[] = {0, 7, 7, UINT64_MAX}, other[] = {0, 7, 8, UINT64_MAX};
	const char *path = at_root("data/tiny_uint64");
	ldb_dataset d;
	unlink(path);
	load_fails("tiny", 0, &plain, LDB_IO, "tiny", path, "run scripts/fetch tiny");
	put_sosd(path, keys, 4, 64);
	load_ok("tiny", 0, &plain, &d);
	assert_string_equal(d.name, "tiny");
	assert_string_equal(d.source, path);
	assert_memory_equal(d.keys, keys, sizeof keys);
	ldb_dataset_free(&d);
	load_ok("tiny", 2, &plain, &d); /* verified on the way */
	assert_int_equal(d.keys[1], 7);
	assert_int_equal(d.source_n, 4);
	ldb_dataset_free(&d);
	load_fails("tiny", 5, &plain, LDB_INVALID, "tiny", "holds 4 keys, 5 asked",
		   "use --size 4 or less, or max");
	size_t n = 0;
	ldb_error err = {0};
	assert_int_equal(ldb_dataset_size("tiny", &plain, &n, &err), LDB_OK);
	assert_int_equal(n, 4);
	/* Another file in its place: refused, whole and sampled, though the first was verified. */
	unlink(path);
	put_sosd(path, other, 4, 64);
	load_fails("tiny", 0, &plain, LDB_INVALID, "tiny_uint64", "XXH3-64",
		   "delete it and run scripts/fetch tiny");
	load_fails("tiny", 2, &plain, LDB_INVALID, "tiny_uint64", "XXH3-64", "scripts/fetch tiny");
	put_sosd(path, keys, 3, 64);
	load_fails("tiny", 2, &plain, LDB_INVALID, "tiny_uint64",
		   "holds 3 keys, the catalog says 4", "scripts/fetch tiny");
	assert_fails(ldb_dataset_size("tiny", &plain, &n, &err), LDB_INVALID, &err, "tiny_uint64",
		     "the catalog says 4", NULL);
	unlink(path);
	/* Without a command to fetch it, the source is named. The second name leads to the first.
	 */
	load_fails("lo", 0, &plain, LDB_IO, "loose", "data/loose_uint32", "a shelf");
	put_sosd(at_root("data/loose_uint32"), keys, 3, 32);
	load_ok("loose", 0, &plain, &d);
	assert_int_equal(d.n, 3);
	ldb_dataset_free(&d);
	unlink(at_root("data/loose_uint32"));
}

static void test_data_folder(void **state)
{
	(void)state;
	const ldb_key keys[] = {1, 2, 3};
	assert_int_equal(mkdir(at_root("elsewhere"), 0777), 0);
	put_sosd(at_root("elsewhere/loose_uint32"), keys, 3, 32);
	load_fails("loose", 0, &plain, LDB_IO, "loose", NULL, NULL);
	setenv("LDB_DATA", at_root("elsewhere"), 1);
	ldb_dataset d;
	load_ok("loose", 0, &plain, &d);
	assert_string_equal(d.source, at_root("elsewhere/loose_uint32"));
	ldb_dataset_free(&d);
	setenv("LDB_DATA", "", 1);
	load_fails("loose", 0, &plain, LDB_IO, "loose", NULL, NULL);
	unsetenv("LDB_DATA");
}

static void test_catalog_list(void **state)
{
	(void)state;
	size_t count = 0;
	ldb_error err = {0};
	const ldb_catalog_entry *e = ldb_catalog(&count, &err);
	assert_non_null(e);
	assert_int_equal(count, 5);
	assert_string_equal(e[0].name, "uniform_sparse");
	assert_string_equal(e[0].kind, "generated");
	assert_int_equal(e[0].n, 0);
	assert_int_equal(e[0].available, 1);
	assert_null(e[0].fetch);
	assert_string_equal(e[2].name, "tiny");
	assert_string_equal(e[2].kind, "file");
	assert_string_equal(e[2].about, "four keys");
	assert_string_equal(e[2].licence, "none");
	assert_string_equal(e[2].fetch, "scripts/fetch tiny");
	assert_int_equal(e[2].n, 4);
	assert_int_equal(e[2].available, 0);
	put_file(at_root("data/tiny_uint64"), "x", 1);
	assert_int_equal(ldb_catalog(&count, &err)[2].available, 1);
	unlink(at_root("data/tiny_uint64"));
	assert_int_equal(ldb_catalog(&count, &err)[2].available, 0);
}

static void test_tpch(void **state)
{
	(void)state;
	static const char *const malformed[] = {
		"tpch:",
		"tpch:lineitem",
		"tpch:lineitem.l_orderkey",
		"tpch:lineitem@1",
		"tpch:.l_orderkey@1",
		"tpch:lineitem.@1",
		"tpch:lineitem.l_orderkey@",
		"tpch:lineitem.l_orderkey@x",
		"tpch:lineitem.l_orderkey@0",
		"tpch:lineitem.l_orderkey@1/../2",
		"tpch:lineitem.l_orderkey@..",
		"tpch:lineitem./etc/x@1",
		"tpch:lineitem.l_orderkey@11111111111111111",
		"tpch:lineitem.l_orderkey_that_is_far_too_long_for_the_name_of_any_column_at_all@1",
	};
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
		load_fails(malformed[i], 0, &plain, LDB_INVALID, "dataset", malformed[i],
			   "tpch:lineitem.l_orderkey@1");
	load_fails("tpch:lineitm.l_orderkey@1", 0, &plain, LDB_INVALID, "dataset", "'lineitm'",
		   "did you mean 'lineitem'?");
	load_fails("tpch:lineitem.l_orderkey@0.1", 0, &plain, LDB_IO,
		   "tpch:lineitem.l_orderkey@0.1", "data/tpch/sf0.1/lineitem.l_orderkey_uint64",
		   "run scripts/tpch 0.1");
	const ldb_key keys[] = {1, 1, 2};
	assert_int_equal(mkdir(at_root("data/tpch"), 0777), 0);
	assert_int_equal(mkdir(at_root("data/tpch/sf0.1"), 0777), 0);
	put_sosd(at_root("data/tpch/sf0.1/lineitem.l_orderkey_uint64"), keys, 3, 64);
	ldb_dataset d;
	load_ok("tpch:LINEITEM.L_ORDERKEY@0.1", 0, &plain, &d);
	assert_memory_equal(d.keys, keys, sizeof keys);
	assert_string_equal(d.name, "tpch:LINEITEM.L_ORDERKEY@0.1");
	ldb_dataset_free(&d);
}

static void column_fails(const char *spec, ldb_status want, const char *value, const char *remedy)
{
	ldb_column column;
	ldb_error err;
	assert_int_equal(ldb_column_load(spec, LDB_PAGES_4K, &column, &err), want);
	assert_non_null(strstr(err.value, value));
	assert_non_null(strstr(err.remedy, remedy));
	assert_null(column.values);
}

/* Columns of each width, whole and in part; bad files are refused. */
static void test_tpch_columns(void **state)
{
	(void)state;
	enum { N = 1000 };
	mkdir(at_root("data/tpch"), 0777);
	mkdir(at_root("data/tpch/sf2"), 0777);
	mkdir(at_root("data/tpch/sf2/tables"), 0777);
	column_fails("tpch:orders.o_key@2", LDB_IO, "no such column", "run scripts/tpch 2");
	column_fails("tpch:order.o_key@2", LDB_INVALID, "'order'", "did you mean 'orders'?");
	static unsigned char file[8 + 8 * N];
	static ldb_key keys[N];
	for (unsigned width = 1; width <= 8; width *= 2) {
		char path[64];
		snprintf(path, sizeof path, "data/tpch/sf2/tables/orders.o_key.u%u", 8 * width);
		const uint64_t count = N, most = UINT64_MAX >> (64 - 8 * width);
		memcpy(file, &count, 8);
		for (uint64_t i = 0; i < N; i++) {
			const uint64_t value = most - i * 12345 % 251;
			memcpy(file + 8 + i * width, &value, width);
		}
		put_file(at_root(path), file, 8 + (size_t)width * N);
		ldb_column column;
		assert_int_equal(
			ldb_column_load("tpch:orders.o_key@2", LDB_PAGES_4K, &column, NULL),
			LDB_OK);
		assert_int_equal(column.n, N);
		assert_int_equal(column.width, width);
		ldb_column_keys(&column, 7, N - 7, keys);
		for (uint64_t i = 7; i < N; i++)
			assert_int_equal(keys[i - 7], most - i * 12345 % 251);
		ldb_column_free(&column);
		for (size_t cut = 1; cut < 40; cut += 4) {
			put_file(at_root(path), file, 8 + (size_t)width * N - cut);
			column_fails("tpch:orders.o_key@2", LDB_INVALID, "count is 1000",
				     "run scripts/tpch 2");
		}
		put_file(at_root(path), file, 5);
		column_fails("tpch:orders.o_key@2", LDB_IO, "no count", "run scripts/tpch 2");
		memset(file, 0, 8);
		put_file(at_root(path), file, 8);
		assert_int_equal(
			ldb_column_load("tpch:orders.o_key@2", LDB_PAGES_4K, &column, NULL),
			LDB_OK);
		assert_int_equal(column.n, 0);
		ldb_column_free(&column);
		unlink(at_root(path));
	}
}

/* --- writing ---------------------------------------------------------------------------------- */

/* How many entries of the tests' folder begin so; an unfinished file must not stay. */
static int files_like(const char *prefix)
{
	char command[PATH_MAX + 64];
	snprintf(command, sizeof command, "ls -A '%s' | grep -c '^%s'", root, prefix);
	FILE *p = popen(command, "r");
	int count = -1;
	assert_non_null(p);
	assert_int_equal(fscanf(p, "%d", &count), 1);
	pclose(p);
	return count;
}

static void test_write(void **state)
{
	(void)state;
	static const size_t sizes[] = {1, 2, 3, 4095, 4096, 4097, 100000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		for (int bits = 32; bits <= 64; bits += 32) {
			const size_t n = sizes[i];
			const char *path = at_root(bits == 64 ? "out_uint64" : "out_uint32");
			ldb_key *keys = make_keys(n, bits, n);
			char *image = malloc(8 + n * 8), *read_back = malloc(8 + n * 8 + 1);
			assert_true(image && read_back);
			ldb_error err = {0};
			assert_int_equal(ldb_dataset_write(path, keys, n, bits, &err), LDB_OK);
			FILE *f = fopen(path, "rb");
			assert_non_null(f);
			const size_t bytes = make_image(image, n, keys, n, bits);
			assert_int_equal(fread(read_back, 1, 8 + n * 8 + 1, f), bytes);
			fclose(f);
			assert_memory_equal(image, read_back, bytes);
			ldb_dataset d;
			load_ok(path, 0, &plain, &d);
			assert_memory_equal(d.keys, keys, n * 8);
			ldb_dataset_free(&d);
			free(image);
			free(read_back);
			free(keys);
		}
	}
	assert_int_equal(files_like("out_"), 2);
	struct stat made;
	const mode_t mask = umask(0);
	umask(mask);
	assert_int_equal(stat(at_root("out_uint64"), &made), 0);
	assert_int_equal(made.st_mode & 0777, 0666 & ~mask);
}

static void write_fails(const char *name, const ldb_key *keys, size_t n, int bits,
			ldb_status expected, const char *value, const char *remedy)
{
	ldb_error err = {0};
	assert_fails(ldb_dataset_write(at_root(name), keys, n, bits, &err), expected, &err, name,
		     value, remedy);
}

static void test_write_errors(void **state)
{
	(void)state;
	const ldb_key large[] = {1, UINT32_MAX, (ldb_key)UINT32_MAX + 1, UINT64_MAX};
	const ldb_key unsorted[] = {1, 3, 2};
	write_fails("no_uint32", large, 4, 32, LDB_INVALID,
		    "key 2 is 4294967296, which does not fit in 32 bits", "--key-bits 64");
	write_fails("no", large, 4, 16, LDB_INVALID, "16 bits", "--key-bits");
	write_fails("no_uint32", large, 2, 64, LDB_INVALID, "the name says keys of 32", "_uint64");
	write_fails("no_uint64", large, 2, 32, LDB_INVALID, "the name says keys of 64", "_uint32");
	write_fails("no_uint64", large, 0, 64, LDB_INVALID, "no keys", "size");
	write_fails("no_uint64", unsorted, 3, 64, LDB_INVALID, "key 2 is 2, less than 3",
		    "ascending");
	write_fails("nofolder/no_uint64", large, 4, 64, LDB_IO, "No such file", "path");
	assert_int_equal(files_like("no_"), 0);
	assert_int_equal(mkdir(at_root("nodir_uint64"), 0777), 0);
	write_fails("nodir_uint64", large, 4, 64, LDB_INVALID, "not a regular file", "path");
	assert_int_equal(files_like("nodir"), 1);
}

/* When the disk takes no more, the file that was there stays as it was. */
static void test_write_whole_or_not(void **state)
{
	(void)state;
	const size_t n = 100000;
	ldb_key *keys = make_keys(n, 64, 5);
	ldb_error err = {0};
	assert_int_equal(ldb_dataset_write(at_root("full_uint64"), keys, 10, 64, &err), LDB_OK);
	struct rlimit before, small;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 100000;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	ldb_status status = ldb_dataset_write(at_root("full_uint64"), keys, n, 64, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_fails(status, LDB_IO, &err, "full_uint64", "writing", NULL);
	assert_int_equal(files_like("full_"), 1);
	ldb_dataset d;
	load_ok(at_root("full_uint64"), 0, &plain, &d);
	assert_int_equal(d.n, 10);
	assert_memory_equal(d.keys, keys, 80);
	ldb_dataset_free(&d);
	free(keys);
}

/* --- inspection ------------------------------------------------------------------------------- */

/* The facts by their definitions, with sorting and copies. */
static void expected_facts(const ldb_key *keys, size_t n, ldb_dataset_facts *f)
{
	ldb_key gaps[4096];
	size_t count = 0, run = 0;
	memset(f, 0, sizeof *f);
	f->n = n;
	for (size_t i = 0; i < n; i++) {
		run = i && keys[i] == keys[i - 1] ? run + 1 : 1;
		if (run > f->longest_run)
			f->longest_run = run;
		if (run == 1)
			f->distinct++;
		if (i && run == 1)
			gaps[count++] = keys[i] - keys[i - 1];
	}
	if (n) {
		f->min = keys[0];
		f->max = keys[n - 1];
	}
	if (count == 0)
		return;
	double sum = 0, squares = 0, mean_log2 = 0;
	for (size_t i = 0; i < count; i++) {
		sum += (double)gaps[i];
		mean_log2 += log2((double)gaps[i]) / (double)count;
	}
	for (size_t i = 0; i < count; i++)
		squares += pow(log2((double)gaps[i]) - mean_log2, 2);
	qsort(gaps, count, sizeof *gaps, compare_keys);
	f->gap_mean = sum / (double)count;
	f->gap_log2_sd = sqrt(squares / (double)count);
	f->gap_min = gaps[0];
	f->gap_median = gaps[(count - 1) / 2];
	f->gap_max = gaps[count - 1];
}

static void assert_near(double got, double expected)
{
	if (fabs(got - expected) > 1e-9 * (1 + fabs(expected)))
		fail_msg("%.17g, expected %.17g", got, expected);
}

static void check_facts(const ldb_key *keys, size_t n)
{
	ldb_dataset_facts got, expected;
	ldb_dataset_inspect(keys, n, &got);
	expected_facts(keys, n, &expected);
	assert_int_equal(got.n, expected.n);
	assert_int_equal(got.distinct, expected.distinct);
	assert_int_equal(got.longest_run, expected.longest_run);
	assert_int_equal(got.min, expected.min);
	assert_int_equal(got.max, expected.max);
	assert_int_equal(got.gap_min, expected.gap_min);
	assert_int_equal(got.gap_median, expected.gap_median);
	assert_int_equal(got.gap_max, expected.gap_max);
	assert_near(got.gap_mean, expected.gap_mean);
	assert_near(got.gap_log2_sd, expected.gap_log2_sd);
	assert_int_equal(got.segments_eps32, inspect_segments(keys, n, 32, NULL));
	assert_int_equal(got.segments_eps4096, inspect_segments(keys, n, 4096, NULL));
	assert_true(got.outlier_share >= 0 && got.outlier_share <= 1);
}

static void test_facts(void **state)
{
	(void)state;
	static const ldb_key edges[][3] = {
		{0, 0, 0},          {UINT64_MAX, UINT64_MAX, UINT64_MAX},
		{0, 0, UINT64_MAX}, {0, UINT64_MAX, UINT64_MAX},
		{0, 1, UINT64_MAX}, {0, UINT64_MAX - 1, UINT64_MAX},
		{5, 6, 8},
	};
	for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
		for (size_t n = 0; n <= 3; n++)
			check_facts(edges[i], n);
	ldb_rng rng;
	ldb_rng_seed(&rng, 11);
	for (int round = 0; round < 600; round++) {
		const size_t n = ldb_rng_below(&rng, round % 10 ? 60 : 4000);
		ldb_key *keys = make_keys(n, 1 + (int)ldb_rng_below(&rng, 64), (uint64_t)round);
		check_facts(keys, n);
		free(keys);
	}
}

static void test_outlier_share(void **state)
{
	(void)state;
	enum { N = 10000 };
	static ldb_key keys[N];
	ldb_dataset_facts f;
	for (size_t i = 0; i < N; i++)
		keys[i] = i;
	ldb_dataset_inspect(keys, N, &f);
	assert_near(f.outlier_share, 10.0 / (N - 1)); /* 5 keys at each end */
	assert_int_equal(f.segments_eps32, 1);
	for (size_t i = 0; i < 5; i++)
		keys[N - 5 + i] = UINT64_MAX - 4 + i;
	ldb_dataset_inspect(keys, N, &f);
	assert_true(f.outlier_share > 0.999999);
	for (size_t i = 0; i < 5; i++)
		keys[N - 11 + i] = UINT64_MAX - 10 + i; /* more than 0.05 % of them: no outliers */
	for (size_t i = 0; i < 6; i++)
		keys[N - 6 + i] = UINT64_MAX - 5 + i;
	ldb_dataset_inspect(keys, N, &f);
	assert_true(f.outlier_share < 0.000001);
}

/*
 * The slopes s that lines through a set of points may have: for each pair j < k both
 * s * (x_k - x_j) <= y_k - y_j + 2 eps and >= y_k - y_j - 2 eps. One line fits all points when the
 * largest lower bound is not above the least upper one. Fractions are compared exactly.
 */
typedef struct {
	__int128 upper_dy, upper_dx, lower_dy, lower_dx;
} slopes;

static const slopes any_slope = {1, 0, -1, 0}; /* +-infinity */

static void limit_slopes(slopes *s, const ldb_key *x, const size_t *y, size_t j, size_t k,
			 uint64_t eps)
{
	const __int128 dx = (__int128)x[k] - x[j], w = 2 * (__int128)eps;
	const __int128 dy = (__int128)y[k] - (__int128)y[j];
	if ((dy + w) * s->upper_dx < s->upper_dy * dx)
		s->upper_dy = dy + w, s->upper_dx = dx;
	if ((dy - w) * s->lower_dx > s->lower_dy * dx)
		s->lower_dy = dy - w, s->lower_dx = dx;
}

static bool one_line_fits(const slopes *s)
{
	return s->upper_dx == 0 || s->lower_dy * s->upper_dx <= s->upper_dy * s->lower_dx;
}

/* The least number of segments for points 0..count, by dynamic programming over the last one. */
static size_t least_segments(const ldb_key *x, const size_t *y, size_t count, uint64_t eps)
{
	size_t least[MAX_POINTS + 1] = {0};
	for (size_t to = 1; to <= count; to++) {
		slopes s = any_slope;
		least[to] = SIZE_MAX;
		for (size_t from = to; from-- > 0;) {
			for (size_t k = from + 1; k < to; k++)
				limit_slopes(&s, x, y, from, k, eps);
			if (!one_line_fits(&s))
				break; /* nor does any longer range */
			if (least[from] + 1 < least[to])
				least[to] = least[from] + 1;
		}
	}
	return least[count];
}

/* Checks the segments of keys against the least number, and each for a line. */
static void check_segments(const ldb_key *keys, size_t n, uint64_t eps)
{
	ldb_key x[MAX_POINTS];
	size_t y[MAX_POINTS], points = 0, starts[MAX_POINTS];
	assert_true(n <= MAX_POINTS);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || keys[i] != keys[i - 1]) {
			x[points] = keys[i];
			y[points++] = i;
		}
	}
	const size_t segments = inspect_segments(keys, n, eps, starts);
	const size_t least = least_segments(x, y, points, eps);
	if (segments != least)
		fail_msg("%zu segments of %zu points at eps %" PRIu64 ", the least are %zu",
			 segments, points, eps, least);
	for (size_t s = 0, from = 0, to; s < segments; s++, from = to) {
		const size_t next = s + 1 < segments ? starts[s + 1] : SIZE_MAX;
		slopes allowed = any_slope;
		assert_int_equal(y[from], starts[s]);
		for (to = from; to < points && y[to] < next; to++)
			for (size_t k = from; k < to; k++)
				limit_slopes(&allowed, x, y, k, to, eps);
		assert_true(one_line_fits(&allowed));
	}
}

static void test_segments(void **state)
{
	(void)state;
	ldb_rng rng;
	ldb_rng_seed(&rng, 3);
	for (int round = 0; round < 3000; round++) {
		const size_t n = ldb_rng_below(&rng, MAX_POINTS + 1);
		ldb_key *keys = make_keys(n, 1 + (int)ldb_rng_below(&rng, 64), (uint64_t)round);
		check_segments(keys, n, ldb_rng_below(&rng, 6));
		free(keys);
	}
	/* Gaps that grow, shrink or repeat: long hulls, many ties. */
	for (int round = 0; round < 1000; round++) {
		ldb_key keys[MAX_POINTS], step = 1 + ldb_rng_below(&rng, 4),
					  key = ldb_rng_below(&rng, 9);
		const uint64_t bend = ldb_rng_below(&rng, 4),
			       flip = 1 + ldb_rng_below(&rng, MAX_POINTS);
		for (size_t i = 0; i < MAX_POINTS; i++) {
			keys[i] = key;
			step = i < flip ? step + bend : step > bend ? step - bend : 1;
			key += ldb_rng_below(&rng, 8) ? step : 0;
		}
		check_segments(keys, MAX_POINTS, ldb_rng_below(&rng, 4));
		for (size_t i = 0; i < MAX_POINTS; i++)
			keys[i] += UINT64_MAX - key; /* the same at the far end */
		check_segments(keys, MAX_POINTS, ldb_rng_below(&rng, 4));
	}
}

/* Points that are off a line by one key in 2^57: what a double can't tell. */
static void test_segments_exact(void **state)
{
	(void)state;
	const ldb_key line[] = {0, (ldb_key)1 << 62, (ldb_key)1 << 63};
	const ldb_key bent[] = {0, (ldb_key)1 << 62, ((ldb_key)1 << 63) + 1};
	assert_int_equal(inspect_segments(line, 3, 0, NULL), 1);
	assert_int_equal(inspect_segments(bent, 3, 0, NULL), 2);
	ldb_rng rng;
	ldb_rng_seed(&rng, 19);
	for (int round = 0; round < 1000; round++) {
		ldb_key keys[MAX_POINTS];
		const uint64_t rough = ldb_rng_below(&rng, 64);
		for (size_t i = 0; i < MAX_POINTS; i++) {
			keys[i] = ((ldb_key)i << 57) + 1;
			if (ldb_rng_below(&rng, 64) < rough)
				keys[i] += ldb_rng_below(&rng, 3) - 1;
		}
		check_segments(keys, MAX_POINTS, 0);
		keys[MAX_POINTS / 2] += (ldb_key)1
					<< 57; /* equal, or just above or below the next */
		qsort(keys, MAX_POINTS, sizeof *keys, compare_keys);
		check_segments(keys, MAX_POINTS, ldb_rng_below(&rng, 2));
	}
}

static void test_segments_shapes(void **state)
{
	(void)state;
	enum { N = 100000 };
	static ldb_key keys[N];
	assert_int_equal(inspect_segments(keys, 0, 32, NULL), 0);
	assert_int_equal(inspect_segments(keys, N, 0, NULL), 1); /* all equal */
	for (size_t i = 0; i < N; i++)
		keys[i] = i * 184467440737095; /* a line over all 64 bits */
	assert_int_equal(inspect_segments(keys, N, 0, NULL), 1);
	/* Parabola: strictly convex, so every point is a vertex of the hulls, which must grow. */
	for (size_t i = 0; i < N; i++)
		keys[i] = ((ldb_key)1 << 20) * i + i * i;
	assert_int_equal(inspect_segments(keys, N, 4096, NULL), 1);
	assert_true(inspect_segments(keys, N, 32, NULL) > 1);
	for (size_t i = 0; i < N; i++)
		keys[i] = i < N / 2 ? i : UINT64_MAX - (N - 1 - i);
	size_t starts[4];
	assert_int_equal(inspect_segments(keys, N, 32, starts), 2);
	assert_int_equal(starts[0], 0);
	assert_in_range(starts[1], N / 2, N / 2 + 64);
}

/* --- the project's own catalog ---------------------------------------------------------------- */

static void read_project_catalog(catalog *c)
{
	char path[PATH_MAX];
	ldb_error err = {0};
	snprintf(path, sizeof path, "%s/datasets/catalog.ini", project);
	if (catalog_read(path, c, &err) != LDB_OK)
		fail_msg("%s: %s; %s", err.subject, err.value, err.remedy);
}

static void test_project_catalog(void **state)
{
	(void)state;
	static const char *const names[] = {
		"uniform_dense", "uniform_sparse", "normal",         "lognormal", "books_like",
		"fb_like",       "osm_like",       "wiki_like",      "all_equal", "two_keys",
		"outlier_low",   "outlier_high",   "staircase",      "dense_gap", "coast",
		"npm_downloads", "ipv4",           "fb_200M_uint64",
	};
	catalog c;
	read_project_catalog(&c);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!catalog_find(&c, names[i]))
			fail_msg("[%s] is missing", names[i]);
	assert_int_equal(catalog_find(&c, "coast")->n, 7138872);
	/* Generators and their entries, each way. */
	for (const ldb_generator *g = ldb_generators; g->name; g++)
		if (!catalog_find(&c, g->name))
			fail_msg("generator %s is not in the catalog", g->name);
	for (size_t i = 0; i < c.count; i++) {
		const ldb_generator *g = ldb_generators;
		while (c.items[i].generated && g->name &&
		       strcmp(g->name, c.items[i].text[KEY_GENERATOR]) != 0)
			g++;
		if (c.items[i].generated && !g->name)
			fail_msg("[%s] names no generator", c.items[i].name);
		if (!c.items[i].generated)
			assert_true(sosd_key_bits_of_name(c.items[i].text[KEY_PATH]) != 0);
	}
	catalog_free(&c);
}

typedef struct {
	const catalog *c;
	size_t seen;
} sources;

/* One key of sources.ini, which scripts/fetch reads: the catalog must say the same. */
static int check_source(void *user, const char *section, const char *name, const char *value)
{
	sources *s = user;
	const catalog_item *item = catalog_find(s->c, section);
	char text[PATH_MAX];
	if (!item)
		fail_msg("sources.ini has [%s], the catalog has not", section);
	if (strcmp(name, "file") == 0) {
		snprintf(text, sizeof text, "data/%s", value);
		assert_string_equal(item->text[KEY_PATH], text);
		snprintf(text, sizeof text, "scripts/fetch %s", section);
		assert_string_equal(item->text[KEY_FETCH], text);
		s->seen++;
	} else if (strcmp(name, "keys") == 0) {
		assert_int_equal(item->n, strtoull(value, NULL, 10));
	} else if (strcmp(name, "key_bits") == 0) {
		assert_int_equal(sosd_key_bits_of_name(item->text[KEY_PATH]), atoi(value));
	} else if (strcmp(name, "md5") == 0) {
		assert_string_equal(item->text[KEY_MD5], value);
	} else if (strcmp(name, "also") == 0) {
		assert_string_equal(item->text[KEY_ALSO], value);
	}
	return 1;
}

static void test_catalog_agrees_with_sources(void **state)
{
	(void)state;
	catalog c;
	read_project_catalog(&c);
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/datasets/sources.ini", project);
	sources s = {.c = &c};
	assert_int_equal(ini_parse(path, check_source, &s), 0);
	size_t files = 0;
	for (size_t i = 0; i < c.count; i++)
		files += !c.items[i].generated;
	assert_int_equal(s.seen, files);
	catalog_free(&c);
}

/* Whatever real keys are there must be what the catalog says. */
static void test_fetched_files(void **state)
{
	(void)state;
	catalog c;
	read_project_catalog(&c);
	const char *data = getenv("LDB_TEST_DATA");
	for (size_t i = 0; i < c.count; i++) {
		char path[PATH_MAX];
		ldb_error err = {0};
		uint64_t checksum;
		sosd_file file;
		if (c.items[i].generated || !c.items[i].has_checksum)
			continue;
		snprintf(path, sizeof path, "%s/%s", data ? data : project,
			 c.items[i].text[KEY_PATH] + (data ? strlen("data/") : 0));
		if (access(path, R_OK) != 0) {
			print_message("           %s is not there, not checked\n", path);
			continue;
		}
		assert_int_equal(sosd_open(path, 0, &file, &err), LDB_OK);
		assert_int_equal(file.n, c.items[i].n);
		assert_int_equal(sosd_read(&file, NULL, &checksum, &err), LDB_OK);
		assert_int_equal(checksum, c.items[i].checksum);
		sosd_close(&file);
	}
	catalog_free(&c);
}

/* --- the catalog's parser --------------------------------------------------------------------- */

#define HEAD "[a]\nkind = generated\nabout = x\nsource = y\nlicence = z\n"
#define GOOD HEAD "generator = g\nn = 1M\n"
#define FILE_HEAD "[b]\nkind = file\nabout = x\nsource = y\nlicence = z\n"
#define MD5 "0123456789abcdef0123456789abcdef"

static void test_catalog_parse(void **state)
{
	(void)state;
	const char text[] =
		"# comment\n\n" GOOD FILE_HEAD "path = data/b_uint64\n"
		"checksum = 00ff00ff00ff00ff\nmd5 = " MD5 "\nfetch = scripts/fetch b\nalso = bee\n";
	catalog c;
	ldb_error err = {0};
	assert_int_equal(catalog_parse("c.ini", text, strlen(text), &c, &err), LDB_OK);
	assert_int_equal(c.count, 2);
	assert_true(c.items[0].generated);
	assert_int_equal(c.items[0].n, 1000000);
	assert_int_equal(c.entries[0].n, 0);
	assert_false(c.items[0].has_checksum);
	assert_false(c.items[1].generated);
	assert_true(c.items[1].has_checksum);
	assert_int_equal(c.items[1].checksum, 0x00ff00ff00ff00ff);
	assert_string_equal(c.entries[1].fetch, "scripts/fetch b");
	assert_ptr_equal(catalog_find(&c, "b"), &c.items[1]);
	assert_ptr_equal(catalog_find(&c, "bee"), &c.items[1]);
	assert_null(catalog_find(&c, "c"));
	catalog_free(&c);
	assert_int_equal(catalog_parse("c.ini", "", 0, &c, &err), LDB_OK);
	assert_int_equal(c.count, 0);
	catalog_free(&c);
	/* Windows line ends and a missing last newline do no harm. */
	const char dos[] = "[a]\r\nkind = generated\r\nabout = x\r\nsource = y\r\nlicence = z\r\n"
			   "generator = g\r\nn = 5";
	assert_int_equal(catalog_parse("c.ini", dos, strlen(dos), &c, &err), LDB_OK);
	assert_string_equal(c.items[0].text[KEY_GENERATOR], "g");
	assert_int_equal(c.items[0].n, 5);
	catalog_free(&c);
}

static void test_catalog_errors(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int line;
		const char *value, *remedy;
	} cases[] = {
		{GOOD "licences = z\n", 8, "unknown key 'licences' in [a]",
		 "did you mean 'licence'?"},
		{GOOD "zzzzzzzzz = z\n", 8, "unknown key 'zzzzzzzzz'", "the keys are kind, about"},
		{"kind = file\n", 1, "'' is not the name of a dataset", "letters"},
		{"[a/b]\nkind = file\n", 2, "'a/b' is not the name", "letters"},
		{"[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nkind = file\n", 2,
		 "is not the name", "48"},
		{GOOD "kind = file\n", 8, "'kind' of [a] given a second time", "once"},
		{HEAD " more\n", 6, "'licence' of [a] given a second time", "not indented"},
		{GOOD FILE_HEAD "path = data/b_uint64\n" GOOD, 15, "second section [a]",
		 "one section"},
		{GOOD "nonsense\n", 8, "neither a key", "key = value"},
		{GOOD "[b\n", 8, "neither a key", "[name]"},
		{"[a]\nkind = files\n", 2, "'files' is not a valid kind", "generated or file"},
		{"[a]\nabout =\n", 2, "'' is not a valid about", "text"},
		{HEAD "generator = g\nn = 0\n", 7, "'0' is not a valid n", "size"},
		{HEAD "generator = g\nn = -5\n", 7, "'-5' is not a valid n", "size"},
		{HEAD "generator = g\nn = lots\n", 7, "'lots' is not a valid n", "size"},
		{HEAD "n = 5\n", 2, "[a] has no 'generator'", "generators.c"},
		{HEAD "generator = g\n", 2, "[a] has no 'n'", "size"},
		{"[a]\nabout = x\n", 2, "[a] has no 'kind'", "generated or file"},
		{GOOD "path = data/x\n", 8, "'path' of [a], which is of kind generated", "kind"},
		{FILE_HEAD, 2, "[b] has no 'path'", "data/NAME"},
		{FILE_HEAD "generator = g\npath = data/b\n", 6, "'generator' of [b]", "kind"},
		{FILE_HEAD "path = /etc/passwd\n", 6, "is not a valid path", "data/NAME"},
		{FILE_HEAD "path = data/../x\n", 6, "is not a valid path", "without .."},
		{FILE_HEAD "path = data/\n", 6, "is not a valid path", "data/NAME"},
		{FILE_HEAD "checksum = 123\n", 6, "'123' is not a valid checksum", "16 digits"},
		{FILE_HEAD "checksum = 00FF00FF00FF00FF\n", 6, "is not a valid checksum", "a-f"},
		{GOOD FILE_HEAD "path = data/b\nalso = a\n", 14, "'a' of [b] names another",
		 "choose"},
		{FILE_HEAD "path = data/b\nalso = x y\n", 7, "'x y' is not a valid also", "name"},
		{FILE_HEAD "md5 = 00ff00ff00ff00ff\n", 6, "is not a valid md5", "32 digits"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		catalog c;
		ldb_error err = {0};
		char subject[64];
		snprintf(subject, sizeof subject, "c.ini line %d", cases[i].line);
		assert_fails(catalog_parse("c.ini", cases[i].text, strlen(cases[i].text), &c, &err),
			     LDB_INVALID, &err, subject, cases[i].value, cases[i].remedy);
		assert_string_equal(err.subject, subject);
		assert_null(c.items);
		assert_null(c.entries);
	}
}

static void test_catalog_odd_texts(void **state)
{
	(void)state;
	catalog c;
	ldb_error err = {0};
	char line[512] = "[a]\nabout = ";
	memset(line + strlen(line), 'x', 300);
	assert_fails(catalog_parse("c.ini", line, strlen(line), &c, &err), LDB_INVALID, &err,
		     "c.ini line 2", "308 characters", "shorter");
	assert_fails(catalog_parse("c.ini", "[a]\nki\0nd = file\n", 17, &c, &err), LDB_INVALID,
		     &err, "c.ini line 2", "byte 0", "text");
	assert_fails(catalog_read(at_root("nowhere.ini"), &c, &err), LDB_IO, &err, "nowhere.ini",
		     "No such file", "LDB_ROOT");
	assert_fails(catalog_read(root, &c, &err), LDB_IO, &err, root, "reading", "LDB_ROOT");
}

/* --- mutated files ---------------------------------------------------------------------------- */

/* Changes a few bytes, cuts or lengthens data[0..bytes), of which there is room for `room`. */
static size_t mutate(unsigned char *data, size_t bytes, size_t room, ldb_rng *rng)
{
	static const uint64_t counts[] = {0,
					  1,
					  2,
					  UINT32_MAX,
					  (uint64_t)1 << 32,
					  ((uint64_t)1 << 61) + 1,
					  ((uint64_t)1 << 62) + 1,
					  (uint64_t)1 << 63,
					  UINT64_MAX};
	for (uint64_t times = ldb_rng_below(rng, 3) + 1; times; times--) {
		const size_t at = bytes ? ldb_rng_below(rng, bytes) : 0;
		switch (ldb_rng_below(rng, 7)) {
		case 0:
			bytes = at;
			break;
		case 1:
			while (bytes < room && ldb_rng_below(rng, 9))
				data[bytes++] = (unsigned char)ldb_rng_next(rng);
			break;
		case 2:
			if (bytes >= 8)
				memcpy(data, &counts[ldb_rng_below(rng, 9)], 8);
			break;
		case 3:
			if (bytes)
				data[at] ^= (unsigned char)(1u << ldb_rng_below(rng, 8));
			break;
		case 4:
			if (bytes)
				data[at] = (unsigned char)ldb_rng_next(rng);
			break;
		case 5: /* a piece moves over another */
			if (bytes > 16)
				memmove(data + ldb_rng_below(rng, bytes - 16),
					data + ldb_rng_below(rng, bytes - 16), 16);
			break;
		default: /* the count one more or less */
			if (bytes)
				data[0] = (unsigned char)(data[0] + 1 - 2 * ldb_rng_below(rng, 2));
			break;
		}
	}
	return bytes;
}

/* What a loader must say of these bytes, judged anew: the keys of a sample of n, or NULL. */
static ldb_key *judge(const unsigned char *data, size_t bytes, size_t width, size_t n,
		      size_t *out_n)
{
	uint64_t count;
	if (bytes < 8)
		return NULL;
	memcpy(&count, data, 8);
	if (count == 0 || count > (bytes - 8) / width || 8 + count * width != bytes || n > count)
		return NULL;
	*out_n = n ? n : count;
	ldb_key *keys = calloc(*out_n, sizeof *keys);
	assert_non_null(keys);
	for (size_t i = 0; i < *out_n; i++) {
		memcpy(&keys[i], data + 8 + i * count / *out_n * width, width);
		if (i && keys[i] < keys[i - 1]) {
			free(keys);
			return NULL;
		}
	}
	return keys;
}

static void fuzz_one_file(const unsigned char *data, size_t bytes, int bits, size_t n)
{
	const char *path = at_root(bits == 64 ? "fuzz_uint64" : "fuzz_uint32");
	put_file(path, data, bytes);
	size_t expected_n = 0;
	ldb_key *expected = judge(data, bytes, (size_t)bits / 8, n, &expected_n);
	ldb_dataset d;
	ldb_error err = {0};
	ldb_status status = ldb_dataset_load(path, n, &plain, &d, &err);
	if (expected) {
		assert_int_equal(status, LDB_OK);
		assert_int_equal(d.n, expected_n);
		assert_memory_equal(d.keys, expected, expected_n * sizeof *expected);
		assert_int_equal(d.checksum, XXH3_64bits(expected, expected_n * sizeof *expected));
		ldb_dataset_free(&d);
	} else {
		assert_fails(status, LDB_INVALID, &err, path + strlen(root) + 1, NULL, NULL);
	}
	free(expected);
}

static void test_fuzz_files(void **state)
{
	(void)state;
	enum { ROOM = 1024 };
	ldb_rng rng;
	ldb_rng_seed(&rng, 2024);
	int good = 0;
	for (int round = 0; round < 4000; round++) {
		unsigned char data[ROOM] = {0};
		const int bits = round % 2 ? 64 : 32;
		const size_t n = 1 + ldb_rng_below(&rng, MAX_POINTS);
		ldb_key *keys = make_keys(n, bits, (uint64_t)round);
		size_t bytes = make_image((char *)data, n, keys, n, bits), unused;
		free(keys);
		bytes = mutate(data, bytes, ROOM, &rng);
		const size_t asked = ldb_rng_below(&rng, 3) ? 0 : ldb_rng_below(&rng, n + 2);
		ldb_key *judged = judge(data, bytes, (size_t)bits / 8, asked, &unused);
		good += judged != NULL;
		free(judged);
		fuzz_one_file(data, bytes, bits, asked);
	}
	/* Both verdicts must have been put to the test. */
	assert_in_range(good, 200, 3800);
}

static void check_parsed(const catalog *c)
{
	for (size_t i = 0; i < c->count; i++) {
		const ldb_catalog_entry *e = &c->entries[i];
		assert_true(e->name && e->kind && e->about && e->source && e->licence);
		assert_true(c->items[i].generated
				    ? c->items[i].n > 0 && c->items[i].text[KEY_GENERATOR] != NULL
				    : c->items[i].text[KEY_PATH] != NULL);
		assert_ptr_equal(catalog_find(c, e->name), &c->items[i]);
	}
}

static void test_fuzz_catalog(void **state)
{
	(void)state;
	static const char text[] = GOOD "# comment\n" FILE_HEAD
					"path = data/b_uint64\nn = 5\nchecksum = 00ff00ff00ff00ff\n"
					"md5 = " MD5 "\nfetch = scripts/fetch b\n";
	enum { ROOM = 1024 };
	ldb_rng rng;
	ldb_rng_seed(&rng, 7);
	int good = 0, bad = 0;
	for (int round = 0; round < 20000; round++) {
		unsigned char data[ROOM];
		memcpy(data, text, sizeof text - 1);
		size_t bytes = mutate(data, sizeof text - 1, ROOM, &rng);
		/* A copy of just these bytes, so that the sanitizers see any byte read beyond. */
		char *exact = malloc(bytes ? bytes : 1);
		assert_non_null(exact);
		memcpy(exact, data, bytes);
		catalog c;
		ldb_error err = {0};
		ldb_status status = catalog_parse("c.ini", exact, bytes, &c, &err);
		if (status == LDB_OK) {
			check_parsed(&c);
			catalog_free(&c);
			good++;
		} else {
			assert_fails(status, LDB_INVALID, &err, "c.ini line ", NULL, NULL);
			bad++;
		}
		free(exact);
	}
	assert_true(good > 500 && bad > 500);
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* The repository: the nearest folder above the binary, or above here, that has a catalog. */
static bool find_project(void)
{
	char path[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", project, sizeof project - 1);
	project[length > 0 ? length : 0] = '\0';
	for (char *slash; (slash = strrchr(project, '/'));) {
		*slash = '\0';
		snprintf(path, sizeof path, "%s/datasets/catalog.ini", project);
		if (access(path, R_OK) == 0)
			return true;
	}
	return getcwd(project, sizeof project) && access("datasets/catalog.ini", R_OK) == 0;
}

static int set_up(void **state)
{
	(void)state;
	static const ldb_key tiny[] = {0, 7, 7, UINT64_MAX};
	char text[1024];
	const char *tmp = getenv("TMPDIR");
	snprintf(root, sizeof root, "%s/ldb-test-datasets-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!find_project() || !mkdtemp(root))
		return -1;
	mkdir(at_root("datasets"), 0777);
	mkdir(at_root("data"), 0777);
	int length = snprintf(
		text, sizeof text,
		"[uniform_sparse]\nkind = generated\nabout = a\nsource = b\nlicence = none\n"
		"generator = uniform_sparse\nn = 1234\n"
		"[orphan]\nkind = generated\nabout = a\nsource = b\nlicence = none\n"
		"generator = no_such_generator\nn = 10\n"
		"[tiny]\nkind = file\nabout = four keys\nsource = b\nlicence = none\n"
		"path = data/tiny_uint64\nn = 4\nchecksum = %016" PRIx64 "\n"
		"fetch = scripts/fetch tiny\n"
		"[loose]\nkind = file\nabout = a\nsource = a shelf\nlicence = none\n"
		"path = data/loose_uint32\nalso = lo\n"
		"[zipf]\nkind = generated\nabout = a\nsource = b\nlicence = none\n"
		"generator = zipf\nn = 10\n",
		XXH3_64bits(tiny, sizeof tiny));
	put_file(at_root("datasets/catalog.ini"), text, (size_t)length);
	setenv("LDB_ROOT", root, 1);
	unsetenv("LDB_DATA");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	char command[PATH_MAX];
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_width_by_name),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_key_bits_option),
		cmocka_unit_test(test_narrowed),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_not_files),
		cmocka_unit_test(test_unsorted),
		cmocka_unit_test(test_shrinking_file),
		cmocka_unit_test(test_verify_without_keeping),
		cmocka_unit_test(test_sample),
		cmocka_unit_test(test_sample_errors),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_generated),
		cmocka_unit_test(test_all_generators),
		cmocka_unit_test(test_zipf_of_any_skew),
		cmocka_unit_test(test_catalog_file),
		cmocka_unit_test(test_data_folder),
		cmocka_unit_test(test_catalog_list),
		cmocka_unit_test(test_tpch),
		cmocka_unit_test(test_tpch_columns),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_errors),
		cmocka_unit_test(test_write_whole_or_not),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_outlier_share),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_segments_exact),
		cmocka_unit_test(test_segments_shapes),
		cmocka_unit_test(test_project_catalog),
		cmocka_unit_test(test_catalog_agrees_with_sources),
		cmocka_unit_test(test_fetched_files),
		cmocka_unit_test(test_catalog_parse),
		cmocka_unit_test(test_catalog_errors),
		cmocka_unit_test(test_catalog_odd_texts),
		cmocka_unit_test(test_fuzz_files),
		cmocka_unit_test(test_fuzz_catalog),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
