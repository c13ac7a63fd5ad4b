/*
 * Reading of datasets/catalog.ini (catalog.h) with inih.
 *
 * inih hands out lines that we feed it, so the line at hand is known for errors, and lines that it
 * would cut silently are refused. What a section may and must hold stands in one table.
 */
#include "catalog.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <ini.h>

#include "names.h"

/* inih keeps 49 characters of a section's or a key's name. */
#define MAX_NAME 48
#define MAX_CATALOG_BYTES (1 << 20)

/* --- the forms of values ---------------------------------------------------------------------- */

static bool is_kind(const char *text)
{
	return strcmp(text, "generated") == 0 || strcmp(text, "file") == 0;
}

static bool is_text(const char *text)
{
	return *text != '\0';
}

/* Letters, digits and _ - . only: a name must stand in a list, in a path and in a CSV. */
static bool is_name(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.";
	size_t length = strlen(text);
	return length > 0 && length <= MAX_NAME && text[0] != '.' && text[0] != '-' &&
	       strspn(text, allowed) == length;
}

static bool is_size(const char *text)
{
	size_t n;
	return ldb_size_parse(text, &n) && n > 0;
}

static bool is_data_path(const char *text)
{
	return strncmp(text, "data/", 5) == 0 && text[5] && !strstr(text, "..");
}

static bool is_hex(const char *text, size_t digits)
{
	return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

static bool is_xxh3(const char *text)
{
	return is_hex(text, 16);
}

static bool is_md5(const char *text)
{
	return is_hex(text, 32);
}

enum { IN_GENERATED = 1, IN_FILE = 2, IN_BOTH = 3 };

static const struct {
	const char *name;
	unsigned allowed, required; /* in sections of which kind */
	bool (*valid)(const char *text);
	const char *form;
} rules[CATALOG_KEYS] = {
	[KEY_KIND] = {"kind", IN_BOTH, IN_BOTH, is_kind, "generated or file"},
	[KEY_ABOUT] = {"about", IN_BOTH, IN_BOTH, is_text, "one line of text"},
	[KEY_SOURCE] = {"source", IN_BOTH, IN_BOTH, is_text, "one line of text"},
	[KEY_LICENCE] = {"licence", IN_BOTH, IN_BOTH, is_text, "one line of text"},
	[KEY_GENERATOR] = {"generator", IN_GENERATED, IN_GENERATED, is_name,
			   "the name of a generator (datasets/generators.c)"},
	[KEY_N] = {"n", IN_BOTH, IN_GENERATED, is_size, "a size of at least 1, as 1000 or 1M"},
	[KEY_PATH] = {"path", IN_FILE, IN_FILE, is_data_path, "data/NAME, without .. in it"},
	[KEY_CHECKSUM] = {"checksum", IN_FILE, 0, is_xxh3,
			  "XXH3-64 of the keys: 16 digits 0-9 and a-f"},
	[KEY_MD5] = {"md5", IN_FILE, 0, is_md5, "md5 of the file: 32 digits 0-9 and a-f"},
	[KEY_FETCH] = {"fetch", IN_FILE, 0, is_text, "a command, as scripts/fetch NAME"},
	[KEY_ALSO] = {"also", IN_FILE, 0, is_name, "a second, shorter name"},
};

static int find_key(const char *name)
{
	for (int k = 0; k < CATALOG_KEYS; k++)
		if (strcmp(rules[k].name, name) == 0)
			return k;
	return -1;
}

/* --- parsing ---------------------------------------------------------------------------------- */

typedef struct {
	const char *path;
	const char *at, *end; /* text not yet read */
	int line;             /* of the line read last */
	catalog *out;
	size_t capacity;
	ldb_status status;
	ldb_error *err;
} parser;

/* Fails at a line; the first failure is the one that counts, and ends the parsing. */
#define FAIL_AT(p, at_line, remedy, ...)                                                           \
	do {                                                                                       \
		char fail_subject[256];                                                            \
		snprintf(fail_subject, sizeof fail_subject, "%.200s line %d", (p)->path, at_line); \
		(p)->status = ldb_fail((p)->err, LDB_INVALID, remedy, fail_subject, __VA_ARGS__);  \
	} while (0)

/* Gives inih the next line; NULL at the end or after an error. */
static char *next_line(char *buffer, int size, void *user)
{
	parser *p = user;
	if (p->status != LDB_OK || p->at == p->end)
		return NULL;
	const char *newline = memchr(p->at, '\n', (size_t)(p->end - p->at));
	const size_t length = (size_t)((newline ? newline : p->end) - p->at);
	p->line++;
	if (length + 2 > (size_t)size) {
		FAIL_AT(p, p->line, "make it shorter", "%zu characters, at most %d are read",
			length, size - 2);
		return NULL;
	}
	if (memchr(p->at, '\0', length)) {
		FAIL_AT(p, p->line, "the catalog is a text file", "a byte 0 in the line");
		return NULL;
	}
	memcpy(buffer, p->at, length);
	buffer[length] = '\0';
	p->at += length + (newline != NULL);
	return buffer;
}

static const catalog_item *find_named(const catalog *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->items[i].name, name) == 0)
			return &c->items[i];
	return NULL;
}

/* The item of this section: the last one, or a new one. NULL on failure. */
static catalog_item *section_item(parser *p, const char *section)
{
	catalog *c = p->out;
	if (c->count && strcmp(c->items[c->count - 1].name, section) == 0)
		return &c->items[c->count - 1];
	if (!is_name(section)) {
		FAIL_AT(p, p->line, "use letters, digits and _ - . only, at most 48 of them",
			"'%s' is not the name of a dataset", section);
		return NULL;
	}
	if (find_named(c, section)) {
		FAIL_AT(p, p->line, "give each dataset one section", "second section [%s]",
			section);
		return NULL;
	}
	if (c->count == p->capacity) {
		size_t capacity = p->capacity ? 2 * p->capacity : 32;
		catalog_item *grown = realloc(c->items, capacity * sizeof *grown);
		if (!grown) {
			p->status = ldb_fail_oom(p->err, p->path, capacity * sizeof *grown);
			return NULL;
		}
		c->items = grown;
		p->capacity = capacity;
	}
	catalog_item *item = &c->items[c->count];
	memset(item, 0, sizeof *item);
	item->name = strdup(section);
	if (!item->name) {
		p->status = ldb_fail_oom(p->err, p->path, strlen(section) + 1);
		return NULL;
	}
	c->count++;
	return item;
}

static void fail_unknown_key(parser *p, const char *section, const char *key)
{
	const char *names[CATALOG_KEYS];
	for (int k = 0; k < CATALOG_KEYS; k++)
		names[k] = rules[k].name;
	const char *near = ldb_nearest(key, names, CATALOG_KEYS);
	char remedy[256] = "", list[192] = "";
	for (int k = 0; k < CATALOG_KEYS; k++) {
		strcat(list, k ? ", " : "");
		strcat(list, names[k]);
	}
	snprintf(remedy, sizeof remedy,
		 near ? "did you mean '%s'? the keys are %s" : "%sthe keys are %s",
		 near ? near : "", list);
	FAIL_AT(p, p->line, remedy, "unknown key '%s' in [%s]", key, section);
}

/* inih's handler: one key of one section. 0 = failed. */
static int take_key(void *user, const char *section, const char *name, const char *value)
{
	parser *p = user;
	if (p->status != LDB_OK)
		return 0;
	catalog_item *item = section_item(p, section);
	if (!item)
		return 0;
	const int k = find_key(name);
	if (k < 0) {
		fail_unknown_key(p, section, name);
		return 0;
	}
	if (item->text[k]) {
		/* Also what inih makes of an indented line: a continuation of the key before. */
		FAIL_AT(p, p->line, "give each key once, in one line that is not indented",
			"'%s' of [%s] given a second time", name, section);
		return 0;
	}
	if (!rules[k].valid(value)) {
		FAIL_AT(p, p->line, rules[k].form, "'%s' is not a valid %s of [%s]", value, name,
			section);
		return 0;
	}
	item->line[k] = p->line;
	item->text[k] = strdup(value);
	if (!item->text[k])
		p->status = ldb_fail_oom(p->err, p->path, strlen(value) + 1);
	return item->text[k] != NULL;
}

/* Checks that an item has the keys that its kind needs and no others, and reads its numbers. */
static void finish_item(parser *p, catalog_item *item)
{
	int first_line = 0; /* of the section: its first key */
	for (int k = 0; k < CATALOG_KEYS; k++)
		if (item->line[k] && (!first_line || item->line[k] < first_line))
			first_line = item->line[k];
	item->generated = item->text[KEY_KIND] && strcmp(item->text[KEY_KIND], "generated") == 0;
	const unsigned kind = item->generated ? IN_GENERATED : IN_FILE;
	for (int k = 0; k < CATALOG_KEYS && p->status == LDB_OK; k++) {
		if (!item->text[k] && (rules[k].required & kind))
			FAIL_AT(p, first_line, rules[k].form, "[%s] has no '%s'", item->name,
				rules[k].name);
		else if (item->text[k] && !(rules[k].allowed & kind))
			FAIL_AT(p, item->line[k], "take it out, or correct the kind",
				"'%s' of [%s], which is of kind %s", rules[k].name, item->name,
				item->text[KEY_KIND]);
	}
	/* The item itself is the first that a name may lead to. */
	if (p->status == LDB_OK && item->text[KEY_ALSO] &&
	    catalog_find(p->out, item->text[KEY_ALSO]) != item)
		FAIL_AT(p, item->line[KEY_ALSO], "choose another",
			"'%s' of [%s] names another dataset", item->text[KEY_ALSO], item->name);
	if (item->text[KEY_N])
		ldb_size_parse(item->text[KEY_N], &item->n);
	item->has_checksum = item->text[KEY_CHECKSUM] != NULL;
	if (item->has_checksum)
		item->checksum = strtoull(item->text[KEY_CHECKSUM], NULL, 16);
}

/* Makes the public entries; items no longer move. */
static void make_entries(parser *p)
{
	catalog *c = p->out;
	c->entries = calloc(c->count ? c->count : 1, sizeof *c->entries);
	if (!c->entries) {
		p->status = ldb_fail_oom(p->err, p->path, c->count * sizeof *c->entries);
		return;
	}
	for (size_t i = 0; i < c->count; i++) {
		const catalog_item *item = &c->items[i];
		c->entries[i] = (ldb_catalog_entry){.name = item->name,
						    .kind = item->text[KEY_KIND],
						    .about = item->text[KEY_ABOUT],
						    .source = item->text[KEY_SOURCE],
						    .licence = item->text[KEY_LICENCE],
						    .fetch = item->text[KEY_FETCH],
						    .n = item->generated ? 0 : item->n};
	}
}

ldb_status catalog_parse(const char *path, const char *text, size_t length, catalog *out,
			 ldb_error *err)
{
	memset(out, 0, sizeof *out);
	parser p = {.path = path, .at = text, .end = text + length, .out = out, .err = err};
	const int bad_line = ini_parse_stream(next_line, &p, take_key, &p);
	if (p.status == LDB_OK && bad_line > 0)
		FAIL_AT(&p, bad_line, "write 'key = value' or '[name]'",
			"neither a key with a value nor a section");
	for (size_t i = 0; i < out->count && p.status == LDB_OK; i++)
		finish_item(&p, &out->items[i]);
	if (p.status == LDB_OK)
		make_entries(&p);
	if (p.status != LDB_OK)
		catalog_free(out);
	return p.status;
}

ldb_status catalog_read(const char *path, catalog *out, ldb_error *err)
{
	static const char remedy[] = "set LDB_ROOT to the folder that holds datasets/catalog.ini";
	memset(out, 0, sizeof *out);
	FILE *file = fopen(path, "re");
	if (!file)
		return ldb_fail(err, LDB_IO, remedy, path, "opening: %s", strerror(errno));
	char *text = malloc(MAX_CATALOG_BYTES);
	if (!text) {
		fclose(file);
		return ldb_fail_oom(err, path, MAX_CATALOG_BYTES);
	}
	const size_t length = fread(text, 1, MAX_CATALOG_BYTES, file);
	ldb_status status;
	if (ferror(file))
		status = ldb_fail(err, LDB_IO, remedy, path, "reading: %s", strerror(errno));
	else if (length == MAX_CATALOG_BYTES)
		status = ldb_fail(err, LDB_INVALID, remedy, path, "larger than 1 MiB");
	else
		status = catalog_parse(path, text, length, out, err);
	fclose(file);
	free(text);
	return status;
}

void catalog_free(catalog *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->items[i].name);
		for (int k = 0; k < CATALOG_KEYS; k++)
			free(c->items[i].text[k]);
	}
	free(c->items);
	free(c->entries);
	memset(c, 0, sizeof *c);
}

/* --- the project's catalog -------------------------------------------------------------------- */

const catalog_item *catalog_find(const catalog *c, const char *name)
{
	const catalog_item *item = find_named(c, name);
	for (size_t i = 0; i < c->count && !item; i++)
		if (c->items[i].text[KEY_ALSO] && strcmp(c->items[i].text[KEY_ALSO], name) == 0)
			item = &c->items[i];
	return item;
}

ldb_status catalog_get(const catalog **out, ldb_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static catalog project;
	static bool done;
	ldb_status status = LDB_OK;
	pthread_mutex_lock(&lock);
	if (!done) {
		char path[PATH_MAX];
		int length = snprintf(path, sizeof path, "%s/datasets/catalog.ini", ldb_root());
		if ((size_t)length >= sizeof path)
			status = ldb_fail(err, LDB_IO, "use a shorter path", path, "path too long");
		else
			status = catalog_read(path, &project, err);
		done = status == LDB_OK;
	}
	pthread_mutex_unlock(&lock);
	*out = &project;
	return status;
}

bool catalog_data_path(const char *path, char out[PATH_MAX])
{
	const char *data = getenv("LDB_DATA");
	int length = data && *data ? snprintf(out, PATH_MAX, "%s/%s", data, path + strlen("data/"))
				   : snprintf(out, PATH_MAX, "%s/%s", ldb_root(), path);
	return length < PATH_MAX;
}

static bool is_there(const catalog_item *item)
{
	char path[PATH_MAX];
	struct stat found;
	return item->generated || (catalog_data_path(item->text[KEY_PATH], path) &&
				   stat(path, &found) == 0 && S_ISREG(found.st_mode));
}

const ldb_catalog_entry *ldb_catalog(size_t *count, ldb_error *err)
{
	*count = 0;
	const catalog *c;
	if (catalog_get(&c, err) != LDB_OK)
		return NULL;
	/* Looked up anew each time: a file may have been fetched meanwhile. */
	for (size_t i = 0; i < c->count; i++)
		c->entries[i].available = is_there(&c->items[i]);
	*count = c->count;
	return c->entries;
}
