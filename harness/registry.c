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

char **ldb_plugin_names(const char *family, size_t *count)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof folder, "%s/%s", build_folder(), family);
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

static ldb_status unknown_index(const char *name, ldb_error *err)
{
	size_t count;
	char **names = ldb_plugin_names("indexes", &count);
	const char *near = ldb_nearest(name, (const char *const *)names, count);
	char remedy[200];
	if (near)
		snprintf(remedy, sizeof remedy, "did you mean %s? `ldbench list indexes` has all",
			 near);
	else
		snprintf(remedy, sizeof remedy,
			 "`ldbench list indexes` names those that are built");
	ldb_names_free(names, count);
	return ldb_fail(err, LDB_INVALID, remedy, "--index", "unknown index '%s'", name);
}

/* Path of the best variant of a plug-in given by name; false when there is none. */
static bool find_plugin(const char *name, char path[PATH_MAX])
{
	const char *level = ldb_isa_level();
	if (*level) {
		snprintf(path, PATH_MAX, "%s/indexes/%.100s.%s.so", build_folder(), name, level);
		if (access(path, F_OK) == 0)
			return true;
	}
	snprintf(path, PATH_MAX, "%s/indexes/%.100s.so", build_folder(), name);
	return access(path, F_OK) == 0;
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

static const char *missing_function(const ldb_index *t)
{
	return !t->name       ? "name"
	       : !t->build    ? "build"
	       : !t->destroy  ? "destroy"
	       : !t->bytes    ? "bytes"
	       : !t->validate ? "validate"
	       : !t->lookup   ? "lookup"
	       : !t->chase    ? "chase"
			      : NULL;
}

/* A damaged file can kill whoever loads it: a child tries first. */
static ldb_status probe(const char *path, ldb_error *err)
{
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		const struct rlimit no_core = {0, 0};
		setrlimit(RLIMIT_CORE, &no_core);
		void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		const ldb_index *(*entry)(void);
		*(void **)&entry = handle ? dlsym(handle, "ldb_index_table") : NULL;
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

static ldb_status load(const char *path, const ldb_index **out, ldb_error *err)
{
	if (probe(path, err) != LDB_OK)
		return LDB_INVALID;
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		const char *why = dlerror();
		const bool symbol = strstr(why, "undefined symbol");
		return ldb_fail(err, LDB_INVALID,
				symbol ? "link the plug-in against what it uses; `nm -D "
					 "--undefined-only` lists it"
				       : "name a shared object built for this machine",
				path, "can't be loaded: %s", why);
	}
	const ldb_index *(*entry)(void);
	*(void **)&entry = dlsym(handle, "ldb_index_table");
	const ldb_index *t = entry ? entry() : NULL;
	ldb_status status = LDB_OK;
	if (!t)
		status = ldb_fail(err, LDB_INVALID, "export its table with LDB_EXPORT_INDEX", path,
				  "not an index plug-in: it has no ldb_index_table");
	else if (t->abi != LDB_INDEX_ABI)
		status = ldb_fail(err, LDB_INVALID, "rebuild it against this version's ldb/index.h",
				  path, "built for ABI version %u, this driver has version %u",
				  t->abi, LDB_INDEX_ABI);
	else if (t->key_bits != LDB_KEY_BITS)
		status = ldb_fail(err, LDB_INVALID, "rebuild it with the driver's key width", path,
				  "built for %u-bit keys, this driver has %u-bit keys", t->key_bits,
				  LDB_KEY_BITS);
	else if (missing_function(t))
		status = ldb_fail(err, LDB_INVALID,
				  "fill the field; only lookup_batch, window and "
				  "info may be NULL",
				  path, "its table has no %s", missing_function(t));
	if (status != LDB_OK)
		dlclose(handle);
	else
		*out = t;
	return status;
}

static size_t param_count(const ldb_index *index)
{
	size_t count = 0;
	while (index->params && index->params[count].name && count < LDB_MAX_PARAMS)
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
	const ldb_index *index = c->index;
	const char *names[LDB_MAX_PARAMS];
	size_t count = param_count(index), i = 0;
	char subject[128], remedy[200];
	for (i = 0; i < count && strcmp(index->params[i].name, name) != 0; i++)
		names[i] = index->params[i].name;
	if (i == count) {
		const char *near = ldb_nearest(name, names, count);
		snprintf(remedy, sizeof remedy, "%s%s%s`ldbench list indexes` shows its parameters",
			 near ? "did you mean " : "", near ? near : "", near ? "? " : "");
		snprintf(subject, sizeof subject, "--index %s", index->name);
		return ldb_fail(err, LDB_INVALID, remedy, subject, "unknown parameter '%s'", name);
	}
	const ldb_param *p = &index->params[i];
	snprintf(subject, sizeof subject, "--index %s:%s", index->name, name);
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

static void describe_params(ldb_competitor *c)
{
	size_t at = 0, size = sizeof c->params_text;
	c->params_text[0] = '\0';
	for (size_t i = 0; i < param_count(c->index) && at < size; i++) {
		const ldb_param *p = &c->index->params[i];
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

ldb_status ldb_competitor_open(const char *spec, ldb_competitor *out, ldb_error *err)
{
	memset(out, 0, sizeof *out);
	char text[PATH_MAX];
	if (strlen(spec) >= sizeof text)
		return ldb_fail(err, LDB_INVALID, "shorten it", "--index", "text too long");
	strcpy(text, spec);
	char *colon = strchr(text, ':');
	if (colon)
		*colon = '\0';
	if (strchr(text, '/')) {
		snprintf(out->path, sizeof out->path, "%s", text);
		if (access(text, R_OK) != 0)
			return ldb_fail(err, LDB_INVALID, "check the path", "--index",
					"no readable file '%s'", text);
	} else if (!find_plugin(text, out->path)) {
		return unknown_index(text, err);
	}
	ldb_status status = load(out->path, &out->index, err);
	for (size_t i = 0; status == LDB_OK && i < param_count(out->index); i++)
		out->params[i] = out->index->params[i].def;
	for (char *item = colon ? colon + 1 : NULL; status == LDB_OK && item;) {
		char *next = strchr(item, ':');
		if (next)
			*next++ = '\0';
		char *equals = strchr(item, '=');
		if (!equals)
			return ldb_fail(err, LDB_INVALID, "write name:parameter=value", "--index",
					"'%s' in '%s' has no '='", item, spec);
		*equals = '\0';
		status = set_param(out, item, equals + 1, err);
		item = next;
	}
	if (status == LDB_OK) {
		describe_params(out);
		snprintf(out->label, sizeof out->label, "%s", out->index->name);
		out->code_hash = hash_file(out->path);
	}
	return status;
}
