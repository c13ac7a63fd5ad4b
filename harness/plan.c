/* Settings, INI files, and their spreading into stages (plan.h). */
#include "plan.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kind.h"
#include "machine.h"
#include "names.h"
#include "progress.h"

static const char *const mode_names[] = {"independent", "chained", "batched", "fenced", "cold",
					 "mixed",       "keys",    "pairs",   "count"};

const char *ldb_mode_name(ldb_mode mode)
{
	return mode_names[mode];
}

const ldb_setting_doc ldb_setting_docs[] = {
	{"index", "A,B:param=v,./x.so", "indexes that compete", false},
	{"dataset", "D,..", "catalog names, SOSD files, tpch:TABLE.COLUMN@SF", false},
	{"size", "N,..", "keys: 1K, 10M, 1e6, 1K..100M (decades), max (all of a file)", false},
	{"workload", "W,..",
	 "uniform, zipf:0.99, mix50, ycsb-a, .. (`ldbench list workloads`; default uniform; "
	 "sorts: shuffled, joins: x4:su)",
	 true},
	{"mode", "M,..",
	 "independent, chained, batched, fenced, cold; operations are always mixed; sorts: keys, "
	 "pairs; joins: count, pairs",
	 false},
	{"pages", "P,..", "4k, thp, huge", false},
	{"threads", "N,..", "threads that look up at the same time; sorts, joins: threads of one",
	 true},
	{"payload", "B,..", "bytes of a record read after each hit: 0, 8, 64", true},
	{"reps", "N", "rounds; every competitor runs one pass in each (default 10)", true},
	{"ops", "N",
	 "lookups per pass and thread (default: as many as fill pass-ms); mixed: operations in all "
	 "(default: as many as there are keys, 4M at most)",
	 true},
	{"preload", "PERCENT", "share of the keys that are there before updates (default 50)",
	 true},
	{"rate", "N", "operations per second of all threads, mixed only (default: full speed)",
	 true},
	{"pass-ms", "MS", "least length of a timed pass (default 100)", true},
	{"seed", "N", "seed of generators, queries and shuffles (default 42)", false},
	{"timeout", "S", "limit of a build or a pass before it is killed (default 600)", false},
	{"memory", "BYTES", "most memory the run may take: 20G (default: 90 % of what is free)",
	 false},
	{"numa", "WHERE", "local, interleave, or the number of a node (default local)", false},
	{"reference", "NAME",
	 "competitor that ratios refer to (default: the first non-learned one "
	 "of btree, ..)",
	 true},
	{"key-bits", "64,32",
	 "width of keys: plug-ins of that width, or of both side by side (default 64); also that "
	 "of files whose name has no _uint32 or _uint64",
	 false},
	{"optional", "yes|no", "leave the experiment out where its data isn't there (default no)",
	 true},
	{"sort", "A,..", "sorts that compete (`ldbench list sorts`)", false},
	{"join", "A,..", "joins that compete (`ldbench list joins`)", true},
	{"q6", "A,..", "paths of TPC-H's Q6 that compete (`ldbench list q6`)", true},
	{"experiment", "NAME", "name in the CSV (default: the section's)", true},
	{NULL, NULL, NULL, false},
};

/* Where a setting stands, for messages: "--size" or "x.ini:12: size". */
typedef struct {
	const char *file;
	int line;
} place;

static ldb_status bad(const place *at, const char *name, const char *value, const char *remedy,
		      ldb_error *err)
{
	char subject[512];
	if (at->file)
		snprintf(subject, sizeof subject, "%s:%d: %s", at->file, at->line, name);
	else
		snprintf(subject, sizeof subject, "--%s", name);
	return ldb_fail(err, LDB_INVALID, remedy, subject, "'%s'", value);
}

/* Cuts the next comma-separated word off *rest into word, blanks trimmed; false at the end. */
static bool next_word(const char **rest, char *word, size_t size)
{
	const char *s = *rest;
	if (!s)
		return false;
	const char *comma = strchr(s, ',');
	size_t length = comma ? (size_t)(comma - s) : strlen(s);
	*rest = comma ? comma + 1 : NULL;
	while (length && isspace((unsigned char)*s))
		s++, length--;
	while (length && isspace((unsigned char)s[length - 1]))
		length--;
	if (length >= size)
		length = size - 1;
	memcpy(word, s, length);
	word[length] = '\0';
	return true;
}

/* Counts in the item behind the list's last one, unless the list has it already. */
static void add_once(const void *list, size_t item_bytes, size_t *count)
{
	const char *items = list, *item = items + *count * item_bytes;
	for (size_t i = 0; i < *count; i++)
		if (memcmp(items + i * item_bytes, item, item_bytes) == 0)
			return;
	++*count;
}

/* Adds the sizes of "1K..10M": decades from the first to the last, both included. */
static bool add_sizes(ldb_experiment *e, const char *word)
{
	char text[64];
	size_t first, last;
	const char *dots = strstr(word, "..");
	if (strcmp(word, "max") == 0) {
		first = last = 0;
	} else if (dots) {
		snprintf(text, sizeof text, "%.*s", (int)(dots - word), word);
		if (!ldb_size_parse(text, &first) || !ldb_size_parse(dots + 2, &last) ||
		    first > last || !first)
			return false;
	} else {
		if (!ldb_size_parse(word, &first) || !first)
			return false;
		last = first;
	}
	for (size_t n = first; e->size_count<LDB_MAX_LIST; n = n> last / 10 ? last : n * 10) {
		e->sizes[e->size_count] = n;
		add_once(e->sizes, sizeof e->sizes[0], &e->size_count);
		if (n == last)
			return true;
	}
	return false;
}

static bool parse_number(const char *text, double min, double max, double *out)
{
	char *end;
	*out = strtod(text, &end);
	return end != text && !*end && *out >= min && *out <= max;
}

/* "32", "64", or both. */
static bool parse_key_bits(const char *text, int *out)
{
	char word[8];
	int bits = 0;
	while (next_word(&text, word, sizeof word)) {
		if (strcmp(word, "32") != 0 && strcmp(word, "64") != 0)
			return false;
		bits |= atoi(word);
	}
	*out = bits;
	return true;
}

/* Scalars: one value, not a list. Returns false when `name` is none of them. */
static bool set_scalar(ldb_experiment *e, const char *name, const char *value, bool *good)
{
	size_t n = 0;
	double number;
	*good = true;
	if (strcmp(name, "reps") == 0) {
		if ((*good = ldb_size_parse(value, &n) && n >= 1 && n <= 100000))
			e->reps = n;
	} else if (strcmp(name, "ops") == 0) {
		if ((*good = ldb_size_parse(value, &n) && n >= 1))
			e->ops = n;
	} else if (strcmp(name, "seed") == 0) {
		char *end;
		errno = 0;
		e->seed = strtoull(value, &end, strncmp(value, "0x", 2) == 0 ? 16 : 10);
		*good = isdigit((unsigned char)*value) && !*end && errno == 0;
	} else if (strcmp(name, "pass-ms") == 0) {
		if ((*good = parse_number(value, 0.001, 1e6, &number)))
			e->pass_ms = number;
	} else if (strcmp(name, "preload") == 0) {
		if ((*good = parse_number(value, 0.001, 100, &number)))
			e->preload = number;
	} else if (strcmp(name, "rate") == 0) {
		if ((*good = ldb_size_parse(value, &n) && n <= 1000000000))
			e->rate = (double)n;
	} else if (strcmp(name, "timeout") == 0) {
		if ((*good = parse_number(value, 0.01, 1e6, &number)))
			e->timeout_s = number;
	} else if (strcmp(name, "memory") == 0) {
		if ((*good = ldb_size_parse(value, &n) && n > 0))
			e->memory_bytes = n;
	} else if (strcmp(name, "key-bits") == 0) {
		*good = parse_key_bits(value, &e->key_bits);
	} else if (strcmp(name, "numa") == 0) {
		*good = strcmp(value, "local") == 0 || strcmp(value, "interleave") == 0 ||
			(ldb_size_parse(value, &n) && n < 1024);
		snprintf(e->numa, sizeof e->numa, "%s", value);
	} else if (strcmp(name, "optional") == 0) {
		*good = strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
		e->optional = *good && *value == 'y';
	} else if (strcmp(name, "reference") == 0) {
		snprintf(e->reference, sizeof e->reference, "%s", value);
	} else if (strcmp(name, "experiment") == 0) {
		*good = *value && strlen(value) < sizeof e->experiment;
		snprintf(e->experiment, sizeof e->experiment, "%s", value);
	} else {
		return false;
	}
	return true;
}

/* The length of the list of that name; NULL when there is none. */
static size_t *list_count(ldb_experiment *e, const char *name)
{
	const struct {
		const char *name;
		size_t *count;
	} lists[] = {
		{"index", &e->competitor_count},  {"sort", &e->competitor_count},
		{"q6", &e->competitor_count},     {"join", &e->competitor_count},
		{"dataset", &e->dataset_count},   {"size", &e->size_count},
		{"workload", &e->workload_count}, {"mode", &e->mode_count},
		{"pages", &e->page_count},        {"threads", &e->thread_count},
		{"payload", &e->payload_count},
	};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (strcmp(lists[i].name, name) == 0)
			return lists[i].count;
	return NULL;
}

static const char *mode_remedy(const char *word)
{
	static char text[128];
	const char *near = ldb_nearest(word, mode_names, LDB_MODES);
	snprintf(text, sizeof text,
		 "%s%s%sknown: independent, chained, batched, fenced, cold, mixed, keys, pairs, "
		 "count",
		 near ? "did you mean " : "", near ? near : "", near ? "? " : "");
	return text;
}

/* The family whose competitors a setting names; LDB_FAMILIES: none. */
static ldb_family family_of(const char *setting)
{
	ldb_family family = 0;
	while (family < LDB_FAMILIES && strcmp(ldb_family_names[family], setting) != 0)
		family++;
	return family;
}

/* Adds one word to the list of that name; NULL when good, else the remedy. */
static const char *add_to_list(ldb_experiment *e, const char *name, const char *word,
			       ldb_error *err)
{
	static const char full[] = "at most 64 in a list", too_long[] = "shorten it";
	size_t n;
	const ldb_family family = family_of(name);
	if (family < LDB_FAMILIES) {
		e->family = family;
		if (e->competitor_count == LDB_MAX_LIST)
			return full;
		if (strlen(word) >= sizeof e->competitors_text[0])
			return too_long;
		strcpy(e->competitors_text[e->competitor_count++],
		       word); /* repeats: see is_taken */
	} else if (strcmp(name, "dataset") == 0) {
		if (e->dataset_count == LDB_MAX_LIST)
			return full;
		if (strlen(word) >= sizeof e->datasets[0])
			return too_long;
		strncpy(e->datasets[e->dataset_count], word, sizeof e->datasets[0]);
		add_once(e->datasets, sizeof e->datasets[0], &e->dataset_count);
	} else if (strcmp(name, "size") == 0) {
		if (!add_sizes(e, word))
			return e->size_count == LDB_MAX_LIST
				       ? full
				       : "write 1000, 1K, 10M, 1e6, 1K..100M or max";
	} else if (strcmp(name, "workload") == 0) {
		if (e->workload_count == LDB_MAX_LIST)
			return full;
		memset(&e->workloads[e->workload_count], 0, sizeof e->workloads[0]);
		if (ldb_workload_parse(word, &e->workloads[e->workload_count], err) != LDB_OK)
			return err->remedy;
		add_once(e->workloads, sizeof e->workloads[0], &e->workload_count);
	} else if (strcmp(name, "mode") == 0) {
		int m = 0;
		while (m < LDB_MODES && strcmp(word, mode_names[m]) != 0)
			m++;
		if (m == LDB_MODES)
			return mode_remedy(word);
		e->modes[e->mode_count] = (ldb_mode)m;
		add_once(e->modes, sizeof e->modes[0], &e->mode_count);
	} else if (strcmp(name, "pages") == 0) {
		if (!ldb_pages_parse(word, &e->pages[e->page_count]))
			return "known: 4k, thp, huge";
		add_once(e->pages, sizeof e->pages[0], &e->page_count);
	} else if (strcmp(name, "threads") == 0) {
		if (e->thread_count == LDB_MAX_LIST || !ldb_size_parse(word, &n) || n < 1 ||
		    n > LDB_MAX_THREADS)
			return "a number from 1 to 256";
		e->threads[e->thread_count] = n;
		add_once(e->threads, sizeof e->threads[0], &e->thread_count);
	} else {
		if (!ldb_size_parse(word, &n) || (n && n != 8 && n != 64))
			return "0, 8 or 64 bytes";
		e->payloads[e->payload_count] = n;
		add_once(e->payloads, sizeof e->payloads[0], &e->payload_count);
	}
	return NULL;
}

static ldb_status unknown_setting(const place *at, const char *name, ldb_error *err)
{
	const char *names[32];
	size_t count = 0;
	for (; ldb_setting_docs[count].name; count++)
		names[count] = ldb_setting_docs[count].name;
	const char *near = ldb_nearest(name, names, count);
	char remedy[160], subject[512];
	snprintf(remedy, sizeof remedy, "%s%s%s`ldbench run --help` lists the settings",
		 near ? "did you mean " : "", near ? near : "", near ? "? " : "");
	snprintf(subject, sizeof subject, "%s:%d", at->file ? at->file : "command line", at->line);
	return ldb_fail(err, LDB_INVALID, remedy, subject, "unknown setting '%s'", name);
}

/* `more`: goes on with the list of the line before instead of replacing it. */
static ldb_status apply(ldb_experiment *e, const place *at, const char *name, const char *value,
			bool more, ldb_error *err)
{
	bool good;
	if (!more && set_scalar(e, name, value, &good))
		return good ? LDB_OK
			    : bad(at, name, value,
				  "out of range or not of that kind; see "
				  "`ldbench run --help`",
				  err);
	size_t *count = list_count(e, name);
	if (!count && more)
		return bad(at, name, value, "only a list goes on on an indented line", err);
	if (!count)
		return unknown_setting(at, name, err);
	if (!more)
		*count = 0; /* a later setting replaces an earlier one */
	char word[1024];
	ldb_error inner = {.remedy = ""};
	for (const char *rest = value; next_word(&rest, word, sizeof word);) {
		if (!*word && !rest && *value && at->file)
			break; /* a comma at the end of a line that goes on below */
		const char *remedy =
			*word ? add_to_list(e, name, word, &inner) : "remove the stray comma";
		if (remedy)
			return bad(at, name, *word ? word : value, remedy, err);
	}
	return LDB_OK;
}

static const ldb_experiment defaults = {
	.experiment = "run",
	.pages = {LDB_PAGES_THP},
	.page_count = 1,
	.threads = {1},
	.thread_count = 1,
	.payloads = {0},
	.payload_count = 1,
	.reps = 10,
	.seed = 42,
	.pass_ms = 100,
	.preload = 50,
	.timeout_s = 600,
	.numa = "local",
};

typedef struct {
	ldb_plan *plan;
	ldb_experiment common;
	const char *file;
	char *text;
	const char *next; /* the next line to read */
	int line;
	bool open;                /* a setting of this section is behind us: it may go on */
	bool indented;            /* this line: it goes on with the value of the one before */
	int header;               /* line of a [section] without a setting so far; 0: none */
	int empty_from, empty_to; /* lines of the first section that has none at all */
	char section[64];
	ldb_status status;
	ldb_error *err;
} ini_state;

/* A section that says nothing would vanish: inih tells only of settings. */
static void check_header(ini_state *s)
{
	char subject[PATH_MAX + 16];
	if (!s->header || s->status != LDB_OK)
		return;
	snprintf(subject, sizeof subject, "%s:%d", s->file, s->header);
	s->status = ldb_fail(s->err, LDB_INVALID, "give it one, or remove it", subject,
			     "a section without a setting");
	s->empty_from = s->header;
	s->empty_to = s->line;
}

static char *ini_line(char *buf, int size, void *stream)
{
	ini_state *s = stream;
	if (!*s->next) {
		check_header(s);
		return NULL;
	}
	size_t length = strcspn(s->next, "\n");
	if (length + 2 > (size_t)size && s->status == LDB_OK) {
		char subject[PATH_MAX + 16];
		snprintf(subject, sizeof subject, "%s:%d", s->file, s->line + 1);
		s->status = ldb_fail(s->err, LDB_INVALID, "go on with the list on an indented line",
				     subject, "a line of %zu characters", length);
		return NULL;
	}
	s->line++;
	/* As inih sees it: the first setting of a section may be indented and yet be one. */
	s->indented = s->open && isspace((unsigned char)*s->next);
	const size_t blanks = strspn(s->next, " \t");
	if (!s->indented && s->next[blanks] == '[' && memchr(s->next, ']', length)) {
		check_header(s);
		s->header = s->line;
		s->open = false;
	}
	snprintf(buf, (size_t)size, "%.*s\n", (int)length, s->next);
	/* inih takes a comment off a setting's own line, but not off one that goes on. */
	char *comment = s->indented ? strstr(buf, " ;") : NULL;
	if (comment)
		strcpy(comment, "\n");
	s->next += length + (s->next[length] == '\n');
	return buf;
}

static ldb_experiment *add_experiment(ldb_plan *plan, const ldb_experiment *from, const char *name)
{
	ldb_experiment *more =
		realloc(plan->experiments, (plan->count + 1) * sizeof *plan->experiments);
	if (!more)
		return NULL;
	plan->experiments = more;
	ldb_experiment *e = &more[plan->count++];
	*e = *from;
	if (name)
		snprintf(e->experiment, sizeof e->experiment, "%s", name);
	return e;
}

/* inih's handler: 1 to go on, 0 to stop. */
static int ini_setting(void *user, const char *section, const char *name, const char *value)
{
	ini_state *s = user;
	const place at = {s->file, s->line};
	if (s->status != LDB_OK)
		return 0;
	s->open = true;
	ldb_experiment *e = &s->common;
	if (*section) {
		s->header = 0;
		bool named = strcmp(s->common.experiment, defaults.experiment) != 0;
		bool same = s->plan->count && strcmp(section, s->section) == 0;
		e = same ? &s->plan->experiments[s->plan->count - 1]
			 : add_experiment(s->plan, &s->common, named ? NULL : section);
		snprintf(s->section, sizeof s->section, "%s", section);
	}
	s->status = e ? apply(e, &at, name, value, s->indented, s->err)
		      : ldb_fail_oom(s->err, s->file, sizeof *e);
	return s->status == LDB_OK;
}

static char *read_text(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return NULL;
	size_t size = 0, room = 1 << 16;
	char *text = malloc(room + 1);
	while (text && (size += fread(text + size, 1, room - size, f)) == room) {
		char *more = realloc(text, (room *= 2) + 1);
		if (!more)
			free(text);
		text = more;
	}
	if (text)
		text[size] = '\0';
	bool failed = ferror(f);
	fclose(f);
	if (failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* The file as given, or a name in configs/, with or without .ini. */
static char *find_config(const char *config, char path[PATH_MAX])
{
	for (int i = 0; i < 4; i++) {
		char name[PATH_MAX - 300];
		snprintf(name, sizeof name, i % 2 ? "%s.ini" : "%s", config);
		if (i < 2)
			snprintf(path, PATH_MAX, "%s", name);
		else
			snprintf(path, PATH_MAX, "%s/configs/%s", ldb_root(), name);
		char *text = access(path, R_OK) == 0 ? read_text(path) : NULL;
		if (text)
			return text;
	}
	return NULL;
}

static ldb_status read_config(const char *config, ldb_plan *plan, ldb_error *err)
{
	char path[PATH_MAX];
	char *text = find_config(config, path);
	if (!text)
		return ldb_fail(err, LDB_INVALID, "`ldbench list configs` names those there are",
				config, "no such config file");
	plan->config_text = text;
	json_t *as_json = json_string(text); /* run.json will hold it */
	if (!as_json)
		return ldb_fail(err, LDB_INVALID, "save it as UTF-8", path, "it is not UTF-8 text");
	json_decref(as_json);
	/* inih would skip a byte order mark, but ini_line looks at lines, too. */
	const char *start = text + (strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
	ini_state s = {.plan = plan, .common = defaults, .file = path, .next = start, .err = err};
	int line = ini_parse_stream(ini_line, &s, ini_setting, &s);
	/* A section may be empty because its one line is no setting. */
	const bool unreadable = line > s.empty_from && line <= s.empty_to;
	if (s.status != LDB_OK && !unreadable)
		return s.status;
	if (line > 0) {
		char subject[PATH_MAX + 16];
		snprintf(subject, sizeof subject, "%s:%d", path, line);
		return ldb_fail(err, LDB_INVALID, "write [experiment] or name = value", subject,
				"this line is neither");
	}
	if (!plan->count && !add_experiment(plan, &s.common, NULL))
		return ldb_fail_oom(err, config, sizeof s.common);
	return LDB_OK;
}

/* The reference among the competitors of one width of keys. */
static size_t reference_of(const ldb_experiment *e, uint32_t key_bits)
{
	size_t first = e->competitor_count;
	for (size_t i = 0; i < e->competitor_count; i++) {
		if (e->competitors[i].key_bits != key_bits)
			continue;
		first = i < first ? i : first;
		if (*e->reference && strcmp(e->competitors[i].name, e->reference) == 0)
			return i;
	}
	/* Without a wish: the family's usual one, then any non-learned one, then the first. */
	static const char *const usual[LDB_FAMILIES] = {
		[LDB_INDEX] = "btree", [LDB_SORT] = "vqsort"};
	for (size_t i = first; i < e->competitor_count && usual[e->family]; i++)
		if (e->competitors[i].key_bits == key_bits &&
		    strcmp(e->competitors[i].name, usual[e->family]) == 0)
			return i;
	for (size_t i = first; i < e->competitor_count; i++)
		if (e->competitors[i].key_bits == key_bits &&
		    !(e->competitors[i].flags & (LDB_LEARNED | LDB_REFERENCE_ONLY)))
			return i;
	return first;
}

size_t ldb_reference(const ldb_experiment *e)
{
	return reference_of(e, e->competitors[0].key_bits);
}

bool ldb_is_reference(const ldb_experiment *e, size_t competitor)
{
	return competitor == reference_of(e, e->competitors[competitor].key_bits);
}

/* The competitor before the i-th that goes by the same name and parameters, or i. */
static size_t find_twin(const ldb_experiment *e, size_t i)
{
	const ldb_competitor *c = &e->competitors[i];
	for (size_t j = 0; j < i; j++)
		if (c->key_bits == e->competitors[j].key_bits &&
		    strcmp(c->label, e->competitors[j].label) == 0 &&
		    strcmp(c->params_text, e->competitors[j].params_text) == 0)
			return j;
	return i;
}

static bool has_other_build(const ldb_experiment *e, size_t i)
{
	const ldb_competitor *c = &e->competitors[i];
	for (size_t j = 0; j < e->competitor_count; j++)
		if (c->key_bits == e->competitors[j].key_bits &&
		    strcmp(c->name, e->competitors[j].name) == 0 &&
		    strcmp(c->path, e->competitors[j].path) != 0)
			return true;
	return false;
}

/* Of several builds of an index each is told by its path, where it was named by one. */
static void label_builds(ldb_experiment *e)
{
	for (size_t i = 0; i < e->competitor_count; i++) {
		ldb_competitor *c = &e->competitors[i];
		const size_t length = strlen(c->path);
		if (c->named_by_path && has_other_build(e, i))
			snprintf(c->label, sizeof c->label, "%.40s@%.80s", c->name,
				 length > 80 ? c->path + length - 80 : c->path);
	}
}

/* Adds the competitors that a text stands for: one for each width of keys. What is named by its
 * path has a width of its own. */
static ldb_status open_widths(ldb_experiment *e, const char *text, ldb_error *err)
{
	const bool both = ldb_has_key_bits(e, 32) && ldb_has_key_bits(e, 64);
	ldb_status status = LDB_OK;
	if (both && memchr(text, '/', strcspn(text, ":")))
		return ldb_competitor_open_for(0, e->family, text,
					       &e->competitors[e->competitor_count++], err);
	for (uint32_t bits = 64; bits >= 32 && status == LDB_OK; bits /= 2)
		if (ldb_has_key_bits(e, (int)bits))
			status = ldb_competitor_open_for(
				bits, e->family, text, &e->competitors[e->competitor_count++], err);
	return status;
}

static ldb_status open_competitors(ldb_experiment *e, ldb_error *err)
{
	if (!e->competitor_count)
		return ldb_fail(err, LDB_INVALID, "name at least one, like --index btree,rmi",
				e->experiment, "no --index, --sort or --join given");
	const size_t named = e->competitor_count;
	e->competitors = calloc(2 * named, sizeof *e->competitors);
	if (!e->competitors)
		return ldb_fail_oom(err, "plan", sizeof *e->competitors);
	e->competitor_count = 0;
	size_t text_of[2 * LDB_MAX_LIST];
	char option[16];
	snprintf(option, sizeof option, "--%s", ldb_family_names[e->family]);
	ldb_status status = LDB_OK;
	for (size_t i = 0; i < named && status == LDB_OK; i++) {
		const size_t first = e->competitor_count;
		status = open_widths(e, e->competitors_text[i], err);
		for (size_t j = first; j < e->competitor_count; j++)
			text_of[j] = i;
	}
	if (status == LDB_OK)
		label_builds(e);
	for (size_t i = 0; i < e->competitor_count && status == LDB_OK; i++)
		if (find_twin(e, i) < i)
			status = ldb_fail(err, LDB_INVALID, "name it once", option,
					  "'%s' twice with the same parameters",
					  e->competitors_text[text_of[i]]);
	if (status != LDB_OK || !*e->reference)
		return status;
	for (size_t i = 0; i < e->competitor_count; i++)
		if (strcmp(e->competitors[i].name, e->reference) == 0)
			return LDB_OK;
	return ldb_fail(err, LDB_INVALID, "add it to the indexes, or name another by --reference",
			"reference", "'%s' is not among the competitors", e->reference);
}

/* What the workloads and modes of a family are. */
typedef struct {
	const char *who, *default_workload, *workload_remedy, *mode_remedy;
	ldb_mode modes[2]; /* of sorts and joins: all they have, the default first */
} habits;

static const habits *habits_of(ldb_family family)
{
	static const habits sorts = {"a sort",
				     "shuffled",
				     "use shuffled, sorted or reversed",
				     "use keys or pairs",
				     {LDB_KEYS, LDB_PAIRS}},
			    joins = {"a join",
				     "x4:su",
				     "`ldbench list workloads` says what each is for",
				     "use count or pairs",
				     {LDB_COUNT, LDB_PAIRS}},
			    others = {"an index",
				      "uniform",
				      "`ldbench list workloads` says what each is for",
				      "use independent, chained, batched, fenced or cold",
				      {LDB_INDEPENDENT, LDB_MIXED}};
	return family == LDB_SORT ? &sorts : family == LDB_JOIN ? &joins : &others;
}

/* The workload and the mode that are meant where none is given. */
static void fill_in(ldb_experiment *e)
{
	const habits *h = habits_of(e->family);
	if (!e->workload_count)
		ldb_workload_parse(h->default_workload, &e->workloads[e->workload_count++], NULL);
	if (!e->mode_count)
		e->modes[e->mode_count++] = h->modes[e->workloads[0].kind == LDB_OPERATIONS];
}

static bool workload_fits(ldb_family family, const ldb_workload *w)
{
	return family == LDB_SORT   ? ldb_workload_is_order(w)
	       : family == LDB_JOIN ? w->kind == LDB_SIDES
				    : ldb_workload_is_reads(w) || w->kind == LDB_OPERATIONS;
}

static bool mode_fits(ldb_family family, ldb_mode mode)
{
	const habits *h = habits_of(family);
	if (family == LDB_SORT || family == LDB_JOIN)
		return mode == h->modes[0] || mode == h->modes[1];
	return mode <= LDB_MIXED;
}

/* Sorts and joins have workloads and modes of their own. */
static ldb_status check_family(const ldb_experiment *e, ldb_error *err)
{
	const habits *h = habits_of(e->family);
	for (size_t i = 0; i < e->workload_count; i++)
		if (!workload_fits(e->family, &e->workloads[i]))
			return ldb_fail(err, LDB_INVALID, h->workload_remedy, "--workload",
					"'%s' is none of %s", e->workloads[i].name, h->who);
	for (size_t i = 0; i < e->mode_count; i++)
		if (!mode_fits(e->family, e->modes[i]))
			return ldb_fail(err, LDB_INVALID, h->mode_remedy, "--mode",
					"'%s' is none of %s", ldb_mode_name(e->modes[i]), h->who);
	return LDB_OK;
}

/* Operations are one mode, lookups all others; an experiment has either. */
static ldb_status settle_modes(ldb_experiment *e, ldb_error *err)
{
	fill_in(e);
	if (check_family(e, err) != LDB_OK)
		return LDB_INVALID;
	const bool mixed = e->workloads[0].kind == LDB_OPERATIONS;
	for (size_t i = 1; i < e->workload_count; i++)
		if ((e->workloads[i].kind == LDB_OPERATIONS) != mixed)
			return ldb_fail(err, LDB_INVALID, "give each an experiment of its own",
					e->experiment, "'%s' changes the index, '%s' only reads it",
					e->workloads[mixed ? 0 : i].name,
					e->workloads[mixed ? i : 0].name);
	for (size_t i = 0; i < e->mode_count; i++)
		if ((e->modes[i] == LDB_MIXED) != mixed)
			return ldb_fail(err, LDB_INVALID,
					mixed ? "leave out --mode" : "use a workload like mix50",
					"--mode", "'%s' doesn't go with workload '%s'",
					ldb_mode_name(e->modes[i]), e->workloads[0].name);
	if (ldb_has_key_bits(e, 32) && (mixed || e->family != LDB_INDEX))
		return ldb_fail(err, LDB_INVALID, "leave it out", "--key-bits 32",
				"only lookups of indexes have plug-ins for keys of 32 bits");
	if (e->rate > 0 && !mixed)
		return ldb_fail(err, LDB_INVALID, "use a workload like mix50, or leave it out",
				"--rate", "workload '%s' runs at full speed", e->workloads[0].name);
	return LDB_OK;
}

static ldb_status check_sizes(ldb_experiment *e, ldb_error *err)
{
	if (!e->dataset_count)
		return ldb_fail(err, LDB_INVALID,
				"name at least one, like --dataset uniform_sparse", e->experiment,
				"no --dataset given");
	const ldb_dataset_options options = {.key_bits = ldb_file_key_bits(e), .seed = e->seed};
	const bool any_size = e->size_count == 0;
	if (any_size)
		e->sizes[e->size_count++] = 0; /* all of a file; 1M of a generator */
	for (size_t d = 0; d < e->dataset_count; d++) {
		size_t most;
		ldb_status status = ldb_dataset_size(e->datasets[d], &options, &most, err);
		if (status != LDB_OK)
			return status;
		for (size_t i = 0; i < e->size_count; i++) {
			char remedy[128];
			snprintf(remedy, sizeof remedy, "use --size %zu or less, or max", most);
			if (e->sizes[i] > most)
				return ldb_fail(err, LDB_INVALID, remedy, e->datasets[d],
						"it holds %zu keys, %zu asked", most, e->sizes[i]);
			if (!e->sizes[i] && most == SIZE_MAX && !any_size)
				return ldb_fail(err, LDB_INVALID, "give a number", e->datasets[d],
						"a generated dataset has no --size max");
		}
	}
	return LDB_OK;
}

static size_t key_count(const ldb_experiment *e, const char *dataset, size_t size)
{
	const ldb_dataset_options options = {.key_bits = ldb_file_key_bits(e), .seed = e->seed};
	size_t n = size;
	if (!size)
		ldb_dataset_size(dataset, &options, &n, NULL);
	return n == SIZE_MAX ? 1000000 : n; /* of a generator */
}

static bool same_stage(const ldb_stage *a, const ldb_stage *b)
{
	return a->experiment == b->experiment && a->dataset == b->dataset && a->n == b->n &&
	       a->pages == b->pages && a->payload_bytes == b->payload_bytes;
}

ldb_stage *ldb_plan_stages(const ldb_plan *plan, size_t *count)
{
	size_t room = 0;
	for (size_t i = 0; i < plan->count; i++) {
		const ldb_experiment *e = &plan->experiments[i];
		room += e->dataset_count * e->size_count * e->page_count * e->payload_count;
	}
	ldb_stage *stages = calloc(room ? room : 1, sizeof *stages), *s = stages;
	if (!stages)
		return NULL;
	for (const ldb_experiment *e = plan->experiments; e < plan->experiments + plan->count; e++)
		for (size_t d = 0; d < e->dataset_count; d++)
			for (size_t i = 0; i < e->size_count; i++)
				for (size_t p = 0; p < e->page_count * e->payload_count; p++)
					*s++ = (ldb_stage){
						.experiment = e,
						.dataset = e->datasets[d],
						.n = key_count(e, e->datasets[d], e->sizes[i]),
						.pages = e->pages[p / e->payload_count],
						.payload_bytes = e->payloads[p % e->payload_count],
					};
	*count = 0; /* 1K..1M,max of a file of 1M names a size twice */
	for (size_t i = 0; i < (size_t)(s - stages); i++) {
		size_t j = 0;
		while (j < *count && !same_stage(&stages[j], &stages[i]))
			j++;
		if (j == *count)
			stages[(*count)++] = stages[i];
	}
	return stages;
}

size_t ldb_stage_bytes(const ldb_stage *stage)
{
	const ldb_experiment *e = stage->experiment;
	/* The reference is in every group, with one other at least. */
	double most = 0, references = 0;
	size_t workers = 1;
	for (size_t i = 0; i < e->competitor_count; i++) {
		const double bytes = e->competitors[i].peak_bytes_per_key;
		if (ldb_is_reference(e, i)) {
			references += bytes;
			workers++;
		} else if (bytes > most) {
			most = bytes;
		}
	}
	most += references;
	double keys = (double)stage->n * (double)sizeof(ldb_key);
	const double rows = (double)ldb_kind_rows(ldb_kind_of(e), stage);
	return (size_t)(keys + rows * most) + ldb_kind_of(e)->bytes(stage) +
	       workers * LDB_WORKER_BYTES;
}

size_t ldb_memory_budget(const ldb_experiment *e)
{
	return e->memory_bytes ? e->memory_bytes : ldb_free_memory() / 10 * 9;
}

static ldb_status check_memory(const ldb_plan *plan, ldb_error *err)
{
	size_t count;
	ldb_stage *stages = ldb_plan_stages(plan, &count);
	if (!stages)
		return ldb_fail_oom(err, "plan", sizeof *stages);
	ldb_status status = LDB_OK;
	for (size_t i = 0; i < count && status == LDB_OK; i++) {
		size_t need = ldb_stage_bytes(&stages[i]);
		size_t have = ldb_memory_budget(stages[i].experiment);
		char subject[600], size[32];
		snprintf(subject, sizeof subject, "%s at %s keys", stages[i].dataset,
			 ldb_size_format(stages[i].n, size));
		if (need > have)
			status = ldb_fail(
				err, LDB_OOM,
				"use a smaller --size, leave out the largest index, or raise "
				"--memory",
				subject, "needs %zu MB, %zu MB may be used", need / 1000000 + 1,
				have / 1000000);
	}
	free(stages);
	return status;
}

ldb_status ldb_plan_make(const char *config, const ldb_setting *settings, size_t setting_count,
			 ldb_plan *out, ldb_error *err)
{
	*out = (ldb_plan){0};
	ldb_status status = LDB_OK;
	if (config)
		status = read_config(config, out, err);
	else if (!add_experiment(out, &defaults, NULL))
		status = ldb_fail_oom(err, "plan", sizeof defaults);
	const place command_line = {NULL, 0};
	for (size_t i = 0; i < setting_count && status == LDB_OK; i++)
		for (size_t j = 0; j < out->count && status == LDB_OK; j++)
			status = apply(&out->experiments[j], &command_line, settings[i].name,
				       settings[i].value, false, err);
	for (size_t j = 0; j < out->count && status == LDB_OK; j++) {
		ldb_experiment *e = &out->experiments[j];
		status = settle_modes(e, err);
		if (status == LDB_OK)
			status = open_competitors(e, err);
		if (status == LDB_OK)
			status = check_sizes(e, err);
		if (status == LDB_IO && e->optional && out->count > 1) {
			ldb_say("note: experiment left out: %s: %s; %s", err->subject, err->value,
				err->remedy);
			free(e->competitors);
			memmove(e, e + 1, (--out->count - j--) * sizeof *e);
			status = LDB_OK;
		}
	}
	if (status == LDB_OK)
		status = check_memory(out, err);
	if (status != LDB_OK)
		ldb_plan_free(out);
	return status;
}

void ldb_plan_free(ldb_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		free(plan->experiments[i].competitors);
	free(plan->experiments);
	free(plan->config_text);
	*plan = (ldb_plan){0};
}
