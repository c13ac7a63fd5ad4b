/*
 * From a dataset SPEC to keys in memory (dataset.h): finds out what the SPEC names, then generates,
 * reads or samples, and checks. What is loaded is sorted, or it is not loaded.
 */
#include "dataset.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "catalog.h"
#include "clock.h"
#include "generators.h"
#include "names.h"
#include "sosd.h"
#include "tpch.h"

/* --- what a SPEC names ------------------------------------------------------------------------ */

typedef struct {
	char name[128];
	const catalog_item *item; /* NULL: not in the catalog */
	bool generated;
	double theta;        /* of zipf:THETA; 0: as the catalog has it */
	bool narrowed;       /* to 32 bits */
	char path[PATH_MAX]; /* of a file */
	char fetch[32];      /* the command that makes it; "": none, or the catalog's */
} target;

/* Copies a text, cut to what there is room for. */
static void copy_text(char *out, size_t size, const char *text)
{
	const size_t length = strnlen(text, size - 1);
	memcpy(out, text, length);
	out[length] = '\0';
}

/* The command that makes the target's file, or NULL. */
static const char *fetch_command(const target *t)
{
	return t->item ? t->item->text[KEY_FETCH] : *t->fetch ? t->fetch : NULL;
}

static ldb_status fail_missing(const target *t, ldb_error *err)
{
	char remedy[256];
	const char *fetch = fetch_command(t);
	if (fetch)
		snprintf(remedy, sizeof remedy, "run %s", fetch);
	else
		snprintf(remedy, sizeof remedy, "put the file there; where it comes from: %.190s",
			 t->item->text[KEY_SOURCE]);
	return ldb_fail(err, LDB_IO, remedy, t->name, "expected as the file %s, which isn't there",
			t->path);
}

static ldb_status fail_unknown(const char *spec, const catalog *c, ldb_error *err)
{
	const char **names = calloc(2 * c->count + 1, sizeof *names);
	size_t count = 0;
	for (size_t i = 0; names && i < c->count; i++) {
		names[count++] = c->items[i].name;
		if (c->items[i].text[KEY_ALSO])
			names[count++] = c->items[i].text[KEY_ALSO];
	}
	const char *near = names ? ldb_nearest(spec, names, count) : NULL;
	char remedy[256];
	snprintf(remedy, sizeof remedy,
		 "%s%s%s`ldbench list datasets` shows all; a file needs its path",
		 near ? "did you mean '" : "", near ? near : "", near ? "'? " : "");
	free(names);
	return ldb_fail(err, LDB_INVALID, remedy, "dataset", "unknown name '%s'", spec);
}

/* tpch:TABLE.COLUMN@SF -> data/tpch/sf<SF>/<table>.<column>_uint64 */
static ldb_status resolve_tpch(const char *spec, target *t, ldb_error *err)
{
	tpch_name name;
	char path[256];
	ldb_status status = tpch_parse(spec, &name, err);
	if (status != LDB_OK)
		return status;
	copy_text(t->name, sizeof t->name, spec);
	snprintf(t->fetch, sizeof t->fetch, "scripts/tpch %s", name.scale);
	snprintf(path, sizeof path, "data/tpch/sf%s/%s.%s_uint64", name.scale, name.table,
		 name.column);
	if (!catalog_data_path(path, t->path))
		return ldb_fail(err, LDB_INVALID, "use a shorter LDB_DATA", "dataset",
				"path of '%s' too long", spec);
	return access(t->path, F_OK) == 0 ? LDB_OK : fail_missing(t, err);
}

static ldb_status resolve_path(const char *spec, target *t, ldb_error *err)
{
	const char *slash = strrchr(spec, '/');
	if (strlen(spec) >= sizeof t->path)
		return ldb_fail(err, LDB_INVALID, "use a shorter path", "dataset",
				"path of %zu bytes", strlen(spec));
	strcpy(t->path, spec);
	copy_text(t->name, sizeof t->name, slash && slash[1] ? slash + 1 : spec);
	return LDB_OK;
}

/* zipf:THETA -> the generator zipf with another skew */
static ldb_status resolve_zipf(const char *spec, target *t, ldb_error *err)
{
	const char *text = strchr(spec, ':') + 1;
	const catalog *c;
	char *end;
	t->theta = strtod(text, &end);
	if (end == text || *end || !(t->theta > 0 && t->theta <= 10))
		return ldb_fail(err, LDB_INVALID,
				"write zipf:0.75, with a skew above 0, at most 10", "dataset",
				"'%s'", spec);
	ldb_status status = catalog_get(&c, err);
	if (status != LDB_OK)
		return status;
	t->item = catalog_find(c, "zipf");
	if (!t->item)
		return fail_unknown("zipf", c, err);
	copy_text(t->name, sizeof t->name, spec);
	t->generated = true;
	return LDB_OK;
}

/* NAME_uint32 stands for the keys of NAME, narrowed; NULL when there is no such name. */
static const catalog_item *find_narrowed(const catalog *c, const char *spec, bool *narrowed)
{
	static const char suffix[] = "_uint32";
	char name[128];
	const size_t length = strlen(spec), cut = sizeof suffix - 1;
	*narrowed =
		length > cut && length < sizeof name && strcmp(spec + length - cut, suffix) == 0;
	if (!*narrowed)
		return NULL;
	copy_text(name, length - cut + 1, spec);
	return catalog_find(c, name);
}

static ldb_status resolve(const char *spec, target *t, ldb_error *err)
{
	memset(t, 0, sizeof *t);
	if (strncmp(spec, "tpch:", 5) == 0)
		return resolve_tpch(spec, t, err);
	if (strncmp(spec, "zipf:", 5) == 0)
		return resolve_zipf(spec, t, err);
	if (strchr(spec, '/'))
		return resolve_path(spec, t, err); /* needs no catalog */
	const catalog *c;
	ldb_status status = catalog_get(&c, err);
	if (status != LDB_OK)
		return status;
	t->item = catalog_find(c, spec);
	if (!t->item)
		t->item = find_narrowed(c, spec, &t->narrowed);
	if (!t->item)
		return access(spec, F_OK) == 0 ? resolve_path(spec, t, err)
					       : fail_unknown(spec, c, err);
	snprintf(t->name, sizeof t->name, "%.100s%s", t->item->name, t->narrowed ? "_uint32" : "");
	t->generated = t->item->generated;
	if (t->generated)
		return LDB_OK;
	if (!catalog_data_path(t->item->text[KEY_PATH], t->path))
		return ldb_fail(err, LDB_INVALID, "use a shorter LDB_DATA", "dataset",
				"path of '%s' too long", spec);
	return access(t->path, F_OK) == 0 ? LDB_OK : fail_missing(t, err);
}

/* --- files ------------------------------------------------------------------------------------ */

/* How to get a good copy of the target's file. */
static void write_renewal(const target *t, char remedy[256])
{
	const char *fetch = fetch_command(t);
	if (fetch)
		snprintf(remedy, 256, "delete it and run %s", fetch);
	else
		snprintf(remedy, 256, "get the file again, or correct datasets/catalog.ini");
}

static ldb_status open_target(const target *t, const ldb_dataset_options *options, sosd_file *file,
			      ldb_error *err)
{
	ldb_status status = sosd_open(t->path, options->key_bits, file, err);
	if (status != LDB_OK || !t->item || !t->item->n || t->item->n == file->n)
		return status;
	sosd_close(file);
	char remedy[256];
	write_renewal(t, remedy);
	return ldb_fail(err, LDB_INVALID, remedy, t->path, "holds %zu keys, the catalog says %zu",
			file->n, t->item->n);
}

static ldb_status check_checksum(const target *t, uint64_t checksum, ldb_error *err)
{
	if (!t->item || !t->item->has_checksum || t->item->checksum == checksum)
		return LDB_OK;
	char remedy[256];
	write_renewal(t, remedy);
	return ldb_fail(err, LDB_INVALID, remedy, t->path,
			"XXH3-64 of its keys is %016" PRIx64 ", the catalog says %016" PRIx64,
			checksum, t->item->checksum);
}

/* The files that this process found to have the catalog's checksum; the oldest is forgotten. */
static struct {
	pthread_mutex_t lock;
	struct stat files[16];
	size_t count;
} verified = {.lock = PTHREAD_MUTEX_INITIALIZER};
#define VERIFIED_FILES (sizeof verified.files / sizeof *verified.files)

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool is_verified(const sosd_file *file)
{
	bool found = false;
	pthread_mutex_lock(&verified.lock);
	for (size_t i = 0; i < verified.count && i < VERIFIED_FILES; i++)
		found |= is_same_file(&verified.files[i], &file->stat);
	pthread_mutex_unlock(&verified.lock);
	return found;
}

static void remember_verified(const sosd_file *file)
{
	pthread_mutex_lock(&verified.lock);
	verified.files[verified.count++ % VERIFIED_FILES] = file->stat;
	pthread_mutex_unlock(&verified.lock);
}

/*
 * A sample's keys can't tell whether the file is the right one, so the whole file is hashed before
 * the first sample that a process takes of it: about 0.1 s for 100M keys in the page cache.
 */
static ldb_status verify_whole(const target *t, const sosd_file *file, ldb_error *err)
{
	if (!t->item || !t->item->has_checksum || is_verified(file))
		return LDB_OK;
	uint64_t checksum;
	ldb_status status = sosd_read(file, NULL, &checksum, err);
	if (status == LDB_OK)
		status = check_checksum(t, checksum, err);
	if (status == LDB_OK)
		remember_verified(file);
	return status;
}

/* --- loading ---------------------------------------------------------------------------------- */

/*
 * Maps room for n keys. Mappings are promised without being backed, so a size that no memory of
 * this machine can hold is refused here and not by the kernel's killer later.
 */
static ldb_status map_keys(ldb_dataset *d, size_t n, ldb_pages pages, ldb_error *err)
{
	const size_t memory_pages = (size_t)sysconf(_SC_PHYS_PAGES);
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	if (n / (page_bytes / sizeof *d->keys) >= memory_pages)
		return ldb_fail(err, LDB_OOM, "use a smaller size", d->name,
				"%zu keys need %zu MiB, this machine has %zu MiB", n,
				n / ((1 << 20) / sizeof *d->keys),
				memory_pages / ((1 << 20) / page_bytes));
	d->keys = ldb_map(n * sizeof *d->keys, pages, err);
	if (!d->keys)
		return LDB_OOM;
	d->n = n;
	d->mapped_bytes = n * sizeof *d->keys;
	return LDB_OK;
}

static const ldb_generator *find_generator(const char *name)
{
	const ldb_generator *g = ldb_generators;
	while (g->name && strcmp(g->name, name) != 0)
		g++;
	return g->name ? g : NULL;
}

static ldb_status generate(const target *t, size_t n, const ldb_dataset_options *options,
			   ldb_dataset *d, ldb_error *err)
{
	const ldb_generator *g = find_generator(t->item->text[KEY_GENERATOR]);
	if (!g)
		return ldb_fail(err, LDB_INVALID,
				"correct its generator in datasets/catalog.ini, or add it to "
				"datasets/generators.c",
				t->name, "generator '%s' does not exist",
				t->item->text[KEY_GENERATOR]);
	ldb_status status = map_keys(d, n ? n : t->item->n, options->pages, err);
	if (status != LDB_OK)
		return status;
	if (t->theta > 0)
		gen_zipf_theta(d->keys, d->n, options->seed, t->theta);
	else
		g->generate(d->keys, d->n, options->seed);
	d->source_n = d->n;
	snprintf(d->source, sizeof d->source, "generated, seed %" PRIu64, options->seed);
	const size_t i = sosd_first_unsorted(d->keys, d->n);
	if (i < d->n)
		return ldb_fail(err, LDB_INVALID, "correct datasets/generators.c", t->name,
				"generated key %zu is %" PRIu64 ", less than %" PRIu64 " before it",
				i, d->keys[i], d->keys[i - 1]);
	d->checksum = XXH3_64bits(d->keys, d->n * sizeof *d->keys);
	return LDB_OK;
}

static ldb_status load_whole(const target *t, const sosd_file *file, ldb_dataset *d, ldb_error *err)
{
	ldb_status status = sosd_read(file, d->keys, &d->checksum, err);
	return status == LDB_OK ? check_checksum(t, d->checksum, err) : status;
}

static ldb_status load_sample(const target *t, const sosd_file *file, ldb_dataset *d,
			      ldb_error *err)
{
	ldb_status status = verify_whole(t, file, err);
	if (status == LDB_OK)
		status = sosd_sample(file, d->keys, d->n, err);
	if (status == LDB_OK)
		d->checksum = XXH3_64bits(d->keys, d->n * sizeof *d->keys);
	return status;
}

static ldb_status load_file(const target *t, size_t n, const ldb_dataset_options *options,
			    ldb_dataset *d, ldb_error *err)
{
	sosd_file file;
	ldb_status status = open_target(t, options, &file, err);
	if (status != LDB_OK)
		return status;
	if (n > file.n) {
		char remedy[64];
		snprintf(remedy, sizeof remedy, "use --size %zu or less, or max", file.n);
		status = ldb_fail(err, LDB_INVALID, remedy, t->name, "holds %zu keys, %zu asked",
				  file.n, n);
	} else {
		status = map_keys(d, n ? n : file.n, options->pages, err);
	}
	if (status == LDB_OK)
		status = d->n == file.n ? load_whole(t, &file, d, err)
					: load_sample(t, &file, d, err);
	d->source_n = file.n;
	copy_text(d->source, sizeof d->source, t->path);
	sosd_close(&file);
	return status;
}

/* Shifts all keys right until the largest fits in 32 bits: order and shape stay, neighbours may
 * become equal. */
static void narrow(ldb_dataset *d)
{
	unsigned shift = 0;
	while (d->n && d->keys[d->n - 1] >> shift > UINT32_MAX)
		shift++;
	for (size_t i = 0; i < d->n; i++)
		d->keys[i] >>= shift;
	d->checksum = XXH3_64bits(d->keys, d->n * sizeof *d->keys);
	const size_t length = strlen(d->source);
	snprintf(d->source + length, sizeof d->source - length, ", shifted right by %u bits",
		 shift);
}

ldb_status ldb_dataset_load(const char *spec, size_t n, const ldb_dataset_options *options,
			    ldb_dataset *out, ldb_error *err)
{
	const uint64_t begin_ns = ldb_now_ns();
	memset(out, 0, sizeof *out);
	target t;
	ldb_status status = resolve(spec, &t, err);
	if (status != LDB_OK)
		return status;
	copy_text(out->name, sizeof out->name, t.name);
	status = t.generated ? generate(&t, n, options, out, err)
			     : load_file(&t, n, options, out, err);
	if (status == LDB_OK && t.narrowed)
		narrow(out);
	if (status != LDB_OK)
		ldb_dataset_free(out);
	out->load_ns = status == LDB_OK ? ldb_now_ns() - begin_ns : 0;
	return status;
}

void ldb_dataset_free(ldb_dataset *dataset)
{
	if (dataset->keys)
		ldb_unmap(dataset->keys, dataset->mapped_bytes);
	memset(dataset, 0, sizeof *dataset);
}

ldb_status ldb_dataset_size(const char *spec, const ldb_dataset_options *options, size_t *n,
			    ldb_error *err)
{
	*n = 0;
	target t;
	ldb_status status = resolve(spec, &t, err);
	if (status != LDB_OK)
		return status;
	if (t.generated) {
		*n = SIZE_MAX;
		return LDB_OK;
	}
	sosd_file file;
	status = open_target(&t, options, &file, err);
	if (status != LDB_OK)
		return status;
	*n = file.n;
	sosd_close(&file);
	return LDB_OK;
}

uint64_t ldb_dataset_stamp(const char *spec, const ldb_dataset_options *options)
{
	target t;
	struct stat st = {.st_size = 0};
	char text[PATH_MAX + 128];
	if (resolve(spec, &t, NULL) != LDB_OK)
		return 0;
	if (!t.generated && stat(t.path, &st) != 0)
		return 0;
	int length = snprintf(text, sizeof text, "%s|%s|%lld|%lld|%lld|%d", t.name,
			      t.generated ? "generated" : t.path, (long long)st.st_size,
			      (long long)st.st_mtim.tv_sec, (long long)st.st_mtim.tv_nsec,
			      options->key_bits);
	return XXH3_64bits(text, (size_t)length);
}
