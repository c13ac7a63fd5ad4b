/* Loading of plug-ins (registry.h). */
#include "registry.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "names.h"

const char *const ldb_family_names[LDB_FAMILIES] = {"index", "sort", "join", "q6"};

/* What a family's plug-ins lie in, export, and are built against. */
static const struct {
	const char *folder, *entry, *header, *macro, *optional;
	uint32_t abi;
} families[LDB_FAMILIES] = {
	{"indexes", "ldb_index_table", "ldb/index.h", "LDB_EXPORT_INDEX",
	 "only lookup_batch, window, info and what updates need may be NULL", LDB_INDEX_ABI},
	{"sorts", "ldb_sort_table", "ldb/sort.h", "LDB_EXPORT_SORT", "only sort_pairs may be NULL",
	 LDB_SORT_ABI},
	{"joins", "ldb_join_table", "ldb/join.h", "LDB_EXPORT_JOIN", "only load may be NULL",
	 LDB_JOIN_ABI},
	{"q6", "ldb_q6_table", "ldb/q6.h", "LDB_EXPORT_Q6", "only bytes and info may be NULL",
	 LDB_Q6_ABI},
};

/* The folder with indexes/: $LDB_BUILD, or the nearest one above the running binary. */
static const char *build_folder(void)
{
	static char folder[PATH_MAX - 300];
	if (folder[0])
		return folder;
	const char *set = getenv("LDB_BUILD");
	if (set && *set) {
		snprintf(folder, sizeof folder, "%s", set);
		return folder;
	}
	ssize_t length = readlink("/proc/self/exe", folder, sizeof folder - 1);
	folder[length > 0 ? length : 0] = '\0';
	for (char *slash; (slash = strrchr(folder, '/')) && slash > folder;) {
		char plugins[PATH_MAX];
		*slash = '\0';
		snprintf(plugins, sizeof plugins, "%s/indexes/null.so", folder);
		if (access(plugins, F_OK) == 0)
			return folder;
	}
	snprintf(folder, sizeof folder, "build");
	return folder;
}

const char *ldb_isa_level(void)
{
	const char *set = getenv("LDB_ISA");
	int most = set && strcmp(set, "v2") == 0 ? 2 : set && strcmp(set, "v3") == 0 ? 3 : 4;
#if defined(__x86_64__)
	__builtin_cpu_init();
	bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		  __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
	bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
		  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
		  __builtin_cpu_supports("avx512vl");
	return v4 && most >= 4 ? "v4" : v3 && most >= 3 ? "v3" : "";
#else
	(void)most;
	return "";
#endif
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char **ldb_plugin_names(ldb_family family, size_t *count)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof folder, "%s/%s", build_folder(), families[family].folder);
	char **names = NULL;
	*count = 0;
	DIR *dir = opendir(folder);
	if (!dir)
		return NULL;
	for (struct dirent *entry; (entry = readdir(dir));) {
		const char *dot = strchr(entry->d_name, '.');
		if (!dot || dot == entry->d_name || strcmp(dot, ".so") != 0)
			continue;
		char **more = realloc(names, (*count + 1) * sizeof *names);
		char *name = strndup(entry->d_name, (size_t)(dot - entry->d_name));
		if (more)
			names = more;
		if (!more || !name) {
			free(name);
			break;
		}
		names[(*count)++] = name;
	}
	closedir(dir);
	if (*count)
		qsort(names, *count, sizeof *names, compare_names);
	return names;
}

void ldb_names_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}

static ldb_status unknown_name(ldb_family family, const char *name, ldb_error *err)
{
	size_t count;
	char **names = ldb_plugin_names(family, &count);
	const char *near = ldb_nearest(name, (const char *const *)names, count);
	char remedy[200], subject[16];
	if (near)
		snprintf(remedy, sizeof remedy, "did you mean %s? `ldbench list %s` has all", near,
			 families[family].folder);
	else
		snprintf(remedy, sizeof remedy, "`ldbench list %s` names those that are built",
			 families[family].folder);
	ldb_names_free(names, count);
	snprintf(subject, sizeof subject, "--%s", ldb_family_names[family]);
	return ldb_fail(err, LDB_INVALID, remedy, subject, "unknown %s '%s'",
			ldb_family_names[family], name);
}

/* Path of the best variant of a plug-in given by name; false when there is none. Those for keys of
 * 32 bits lie in a folder of their own: indexes32. */
static bool find_plugin(ldb_family family, const char *name, uint32_t key_bits, char path[PATH_MAX])
{
	const char *level = ldb_isa_level();
	char folder[16];
	snprintf(folder, sizeof folder, "%s%s", families[family].folder,
		 key_bits == 32 ? "32" : "");
	if (*level) {
		snprintf(path, PATH_MAX, "%s/%s/%.100s.%s.so", build_folder(), folder, name, level);
		if (access(path, F_OK) == 0)
			return true;
	}
	snprintf(path, PATH_MAX, "%s/%s/%.100s.so", build_folder(), folder, name);
	return access(path, F_OK) == 0;
}

static ldb_status no_plugin(ldb_family family, const char *name, uint32_t key_bits, ldb_error *err)
{
	char path[PATH_MAX];
	if (key_bits == 64 || !find_plugin(family, name, 64, path))
		return unknown_name(family, name, err);
	return ldb_fail(err, LDB_INVALID,
			"`make bits32` builds those there are (docs/indexes.md), or leave it out",
			"--key-bits 32", "%s has no build for keys of 32 bits", name);
}

static uint64_t hash_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return 0;
	XXH3_state_t *hash = XXH3_createState();
	char buf[1 << 16];
	XXH3_64bits_reset(hash);
	for (size_t got; (got = fread(buf, 1, sizeof buf, f));)
		XXH3_64bits_update(hash, buf, got);
	uint64_t h = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	fclose(f);
	return h;
}

uint64_t ldb_driver_hash(void)
{
	static uint64_t hash;
	if (!hash)
		hash = hash_file("/proc/self/exe");
	return hash;
}

/* The first thing that a table lacks, or NULL. */
static const char *missing_in_index(const ldb_index *t)
{
	return !t->name                                    ? "name"
	       : !t->build                                 ? "build"
	       : !t->destroy                               ? "destroy"
	       : !t->bytes                                 ? "bytes"
	       : !t->validate                              ? "validate"
	       : !t->lookup                                ? "lookup"
	       : !t->chase                                 ? "chase"
	       : !t->settle && (t->flags & LDB_BACKGROUND) ? "settle"
							   : NULL;
}

static const char *missing_in_q6(const ldb_q6 *t)
{
	return !t->name      ? "name"
	       : !t->build   ? "build"
	       : !t->destroy ? "destroy"
	       : !t->answer  ? "answer"
			     : NULL;
}

static const char *missing_function(const ldb_competitor *c)
{
	if (c->family == LDB_INDEX)
		return missing_in_index(c->index);
	if (c->family == LDB_Q6)
		return missing_in_q6(c->q6);
	if (c->family == LDB_SORT)
		return !c->sort->name ? "name" : !c->sort->sort_keys ? "sort_keys" : NULL;
	return !c->join->name ? "name" : !c->join->join ? "join" : NULL;
}

/* A damaged file can kill whoever loads it: a child tries first. */
static ldb_status probe(ldb_family family, const char *path, ldb_error *err)
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit no_core = {0, 0};
		setrlimit(RLIMIT_CORE, &no_core);
		void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		const void *(*entry)(void);
		*(void **)&entry = handle ? dlsym(handle, families[family].entry) : NULL;
		if (entry)
			entry();
		_exit(0);
	}
	int status = 0;
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (child > 0 && status != 0)
		return ldb_fail(err, LDB_INVALID, "build it anew; the file may be cut or damaged",
				path, "loading it ends a process: %s",
				WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it exits");
	return LDB_OK;
}

/* Takes what every table begins with. */
#define TAKE_TABLE(c, table)                                                                       \
	do {                                                                                       \
		(c)->name = (table)->name;                                                         \
		(c)->summary = (table)->summary ? (table)->summary : "";                           \
		(c)->origin = (table)->origin ? (table)->origin : "";                              \
		(c)->flags = (table)->flags;                                                       \
		(c)->param_table = (table)->params;                                                \
		(c)->peak_bytes_per_key = (table)->peak_bytes_per_key;                             \
	} while (0)

/* `table` points to abi and key_bits: those are the first fields of all. */
static ldb_status take_table(ldb_competitor *c, const void *table, ldb_error *err)
{
	const uint32_t *first = table;
	const char *header = families[c->family].header;
	char remedy[200];
	if (!table) {
		snprintf(remedy, sizeof remedy, "export its table with %s",
			 families[c->family].macro);
		return ldb_fail(err, LDB_INVALID, remedy, c->path, "no %s plug-in: it has no %s",
				ldb_family_names[c->family], families[c->family].entry);
	}
	snprintf(remedy, sizeof remedy, "rebuild it against this version's %s", header);
	if (first[0] != families[c->family].abi)
		return ldb_fail(err, LDB_INVALID, remedy, c->path,
				"built for ABI version %u, this driver has version %u", first[0],
				families[c->family].abi);
	if (!c->key_bits && (first[1] == 32 || first[1] == 64))
		c->key_bits = first[1];
	if (first[1] != c->key_bits)
		return ldb_fail(err, LDB_INVALID,
				"name its width with --key-bits, or rebuild it for that one",
				c->path, "built for %u-bit keys, this run has %u-bit keys",
				first[1], c->key_bits ? c->key_bits : 64);
	c->index = table; /* or sort, or join: all members of the union are pointers */
	if (missing_function(c)) {
		snprintf(remedy, sizeof remedy, "fill the field; %s", families[c->family].optional);
		return ldb_fail(err, LDB_INVALID, remedy, c->path, "its table has no %s",
				missing_function(c));
	}
	if (c->family == LDB_INDEX)
		TAKE_TABLE(c, c->index);
	else if (c->family == LDB_SORT)
		TAKE_TABLE(c, c->sort);
	else if (c->family == LDB_JOIN)
		TAKE_TABLE(c, c->join);
	else
		TAKE_TABLE(c, c->q6);
	return LDB_OK;
}

static ldb_status load(ldb_competitor *c, ldb_error *err)
{
	if (probe(c->family, c->path, err) != LDB_OK)
		return LDB_INVALID;
	void *handle = dlopen(c->path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		const char *why = dlerror();
		const bool symbol = strstr(why, "undefined symbol");
		return ldb_fail(err, LDB_INVALID,
				symbol ? "link the plug-in against what it uses; `nm -D "
					 "--undefined-only` lists it"
				       : "name a shared object built for this machine",
				c->path, "can't be loaded: %s", why);
	}
	const void *(*entry)(void);
	*(void **)&entry = dlsym(handle, families[c->family].entry);
	ldb_status status = take_table(c, entry ? entry() : NULL, err);
	if (status != LDB_OK)
		dlclose(handle);
	return status;
}

static size_t param_count(const ldb_competitor *c)
{
	size_t count = 0;
	while (c->param_table && c->param_table[count].name && count < LDB_MAX_PARAMS)
		count++;
	return count;
}

/* The position of `text` in "a|b|c", or -1. */
static int choice_number(const char *choices, const char *text)
{
	size_t length = strlen(text);
	for (int i = 0;; i++) {
		size_t word = strcspn(choices, "|");
		if (word == length && strncmp(choices, text, length) == 0)
			return i;
		if (!choices[word])
			return -1;
		choices += word + 1;
	}
}

static ldb_status set_param(ldb_competitor *c, const char *name, const char *text, ldb_error *err)
{
	const char *names[LDB_MAX_PARAMS], *family = ldb_family_names[c->family];
	size_t count = param_count(c), i = 0;
	char subject[128], remedy[200];
	for (i = 0; i < count && strcmp(c->param_table[i].name, name) != 0; i++)
		names[i] = c->param_table[i].name;
	if (i == count) {
		const char *near = ldb_nearest(name, names, count);
		snprintf(remedy, sizeof remedy, "%s%s%s`ldbench list %s` shows its parameters",
			 near ? "did you mean " : "", near ? near : "", near ? "? " : "",
			 families[c->family].folder);
		snprintf(subject, sizeof subject, "--%s %s", family, c->name);
		return ldb_fail(err, LDB_INVALID, remedy, subject, "unknown parameter '%s'", name);
	}
	const ldb_param *p = &c->param_table[i];
	snprintf(subject, sizeof subject, "--%s %s:%s", family, c->name, name);
	if (p->choices) {
		int choice = choice_number(p->choices, text);
		if (choice < 0) {
			snprintf(remedy, sizeof remedy, "one of %s", p->choices);
			return ldb_fail(err, LDB_INVALID, remedy, subject, "unknown value '%s'",
					text);
		}
		c->params[i] = choice;
		return LDB_OK;
	}
	size_t size;
	char *end = NULL;
	double value = ldb_size_parse(text, &size) ? (double)size : strtod(text, &end);
	snprintf(remedy, sizeof remedy, "a number from %.17g to %.17g", p->min, p->max);
	if (end && (end == text || *end))
		return ldb_fail(err, LDB_INVALID, remedy, subject, "'%s' is no number", text);
	if (!(value >= p->min && value <= p->max))
		return ldb_fail(err, LDB_INVALID, remedy, subject, "%s is outside its limits",
				text);
	c->params[i] = value;
	return LDB_OK;
}

/* The name chosen for a parameter with choices; false when the plug-in has none of that name. */
static bool choice_text(const ldb_competitor *c, const char *param, char *text, size_t size)
{
	for (size_t i = 0; i < param_count(c); i++) {
		const char *word = c->param_table[i].choices;
		if (!word || strcmp(c->param_table[i].name, param) != 0)
			continue;
		for (int skip = (int)c->params[i]; skip > 0; skip--)
			word += strcspn(word, "|") + 1;
		snprintf(text, size, "%.*s", (int)strcspn(word, "|"), word);
		return true;
	}
	return false;
}

static void describe_params(ldb_competitor *c)
{
	size_t at = 0, size = sizeof c->params_text;
	c->params_text[0] = '\0';
	for (size_t i = 0; i < param_count(c) && at < size; i++) {
		const ldb_param *p = &c->param_table[i];
		const char *sep = i ? ";" : "", *word = p->choices;
		if (!word) {
			at += (size_t)snprintf(c->params_text + at, size - at, "%s%s=%.10g", sep,
					       p->name, c->params[i]);
			continue;
		}
		for (int skip = (int)c->params[i]; skip > 0; skip--)
			word += strcspn(word, "|") + 1;
		at += (size_t)snprintf(c->params_text + at, size - at, "%s%s=%.*s", sep, p->name,
				       (int)strcspn(word, "|"), word);
	}
}

/* Opens the plug-in that the parameter named like the family names; it is part of what runs. */
static ldb_status open_used(ldb_competitor *join, ldb_family family, ldb_error *err)
{
	char name[64];
	ldb_competitor used;
	if (!choice_text(join, ldb_family_names[family], name, sizeof name))
		return LDB_OK;
	const ldb_status status = ldb_competitor_open(family, name, &used, err);
	if (status != LDB_OK)
		return status;
	if (family == LDB_INDEX)
		join->used_index = used.index;
	else
		join->used_sort = used.sort;
	memcpy(join->used_params[family], used.params, sizeof used.params);
	join->flags |= used.flags & LDB_LEARNED;
	join->code_hash ^= used.code_hash;
	return LDB_OK;
}

ldb_status ldb_competitor_open(ldb_family family, const char *spec, ldb_competitor *out,
			       ldb_error *err)
{
	return ldb_competitor_open_for(64, family, spec, out, err);
}

ldb_status ldb_competitor_open_for(uint32_t key_bits, ldb_family family, const char *spec,
				   ldb_competitor *out, ldb_error *err)
{
	memset(out, 0, sizeof *out);
	out->family = family;
	out->key_bits = key_bits;
	char text[PATH_MAX], option[16];
	snprintf(option, sizeof option, "--%s", ldb_family_names[family]);
	if (strlen(spec) >= sizeof text)
		return ldb_fail(err, LDB_INVALID, "shorten it", option, "text too long");
	strcpy(text, spec);
	char *colon = strchr(text, ':');
	if (colon)
		*colon = '\0';
	out->named_by_path = strchr(text, '/');
	if (out->named_by_path) {
		snprintf(out->path, sizeof out->path, "%s", text);
		if (access(text, R_OK) != 0)
			return ldb_fail(err, LDB_INVALID, "check the path", option,
					"no readable file '%s'", text);
	} else if (!find_plugin(family, text, key_bits, out->path)) {
		return no_plugin(family, text, key_bits, err);
	}
	ldb_status status = load(out, err);
	for (size_t i = 0; status == LDB_OK && i < param_count(out); i++)
		out->params[i] = out->param_table[i].def;
	for (char *item = colon ? colon + 1 : NULL; status == LDB_OK && item;) {
		char *next = strchr(item, ':');
		if (next)
			*next++ = '\0';
		char *equals = strchr(item, '=');
		if (!equals)
			return ldb_fail(err, LDB_INVALID, "write name:parameter=value", option,
					"'%s' in '%s' has no '='", item, spec);
		*equals = '\0';
		status = set_param(out, item, equals + 1, err);
		item = next;
	}
	if (status == LDB_OK) {
		describe_params(out);
		snprintf(out->label, sizeof out->label, "%s", out->name);
		out->code_hash = hash_file(out->path);
	}
	for (ldb_family used = LDB_INDEX; status == LDB_OK && used < family; used++)
		if (family == LDB_JOIN)
			status = open_used(out, used, err);
	return status;
}
