/* `ldbench list` and `ldbench machine`. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "counters.h"
#include "dataset.h"
#include "machine.h"
#include "names.h"
#include "registry.h"
#include "workload.h"

static void list_params(const ldb_param *params)
{
	for (const ldb_param *p = params; p && p->name; p++) {
		char what[160];
		if (p->choices) {
			const char *word = p->choices;
			for (int skip = (int)p->def; skip > 0; skip--)
				word += strcspn(word, "|") + 1;
			snprintf(what, sizeof what, "%s (%.*s)", p->choices,
				 (int)strcspn(word, "|"), word);
		} else {
			snprintf(what, sizeof what, "%.10g..%.10g (%.10g)", p->min, p->max, p->def);
		}
		printf("    :%s=%s  %s\n", p->name, what, p->help ? p->help : "");
	}
}

/* What the flags of a competitor promise, in words. */
static void list_abilities(const ldb_competitor *c)
{
	const uint32_t flags = c->flags;
	printf("    %s", flags & LDB_LEARNED ? "learned" : "not learned");
	if (c->family == LDB_INDEX)
		printf("%s%s", flags & LDB_ORDERED ? ", lower bound" : ", get only",
		       flags & LDB_DUPLICATES ? ", duplicates" : ", distinct keys");
	printf("%s", flags & LDB_THREADS ? ", threads" : "");
	if (c->family == LDB_INDEX)
		printf("%s%s%s", c->index->lookup_batch ? ", batch" : "",
		       c->index->apply ? ", updates" : "",
		       flags & LDB_CONCURRENT ? " by threads" : "");
	if (c->family == LDB_SORT)
		printf("%s%s", flags & LDB_STABLE ? ", stable" : "",
		       c->sort->sort_pairs ? ", pairs" : ", keys only");
	printf("; %s\n", c->origin);
}

static int list_family(ldb_family family)
{
	size_t count;
	char **names = ldb_plugin_names(family, &count);
	int code = LDB_EXIT_OK;
	for (size_t i = 0; i < count; i++) {
		ldb_competitor c;
		ldb_error err;
		if (ldb_competitor_open(family, names[i], &c, &err) != LDB_OK) {
			code = ldb_complain(&err);
			continue;
		}
		printf("%-14s %s\n", c.name, c.summary);
		list_abilities(&c);
		list_params(c.param_table);
	}
	if (!count)
		printf("no %s plug-ins in this build\n", ldb_family_names[family]);
	ldb_names_free(names, count);
	return code;
}

static int list_datasets(void)
{
	size_t count;
	ldb_error err;
	const ldb_catalog_entry *entries = ldb_catalog(&count, &err);
	if (!entries)
		return ldb_complain(&err);
	for (size_t i = 0; i < count; i++) {
		char size[32] = "any n";
		if (entries[i].n)
			ldb_size_format(entries[i].n, size);
		printf("%-24s %-10s %9s  %s%s%s%s\n", entries[i].name, entries[i].kind, size,
		       entries[i].about ? entries[i].about : "",
		       entries[i].available ? "" : "  [not here: ",
		       entries[i].available ? ""
		       : entries[i].fetch   ? entries[i].fetch
					    : "no source",
		       entries[i].available ? "" : "]");
	}
	return LDB_EXIT_OK;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int list_configs(void)
{
	char folder[PATH_MAX];
	struct dirent **entries;
	snprintf(folder, sizeof folder, "%.4000s/configs", ldb_root());
	int count = scandir(folder, &entries, NULL, by_name);
	for (int i = 0; i < count; i++) {
		const char *dot = strrchr(entries[i]->d_name, '.');
		if (dot && strcmp(dot, ".ini") == 0) {
			char path[PATH_MAX + 300], line[256] = "";
			snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
			FILE *f = fopen(path, "r");
			if (f && !fgets(line, sizeof line, f))
				line[0] = '\0';
			if (f)
				fclose(f);
			line[strcspn(line, "\n")] = '\0';
			printf("%-26s %s\n", entries[i]->d_name, line + strspn(line, ";# "));
		}
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return LDB_EXIT_OK;
}

static int list_workloads(void)
{
	ldb_workloads_list(stdout);
	return LDB_EXIT_OK;
}

static int list_counters(void)
{
	ldb_counters_list(stdout);
	return LDB_EXIT_OK;
}

static int list_indexes(void)
{
	return list_family(LDB_INDEX);
}

static int list_sorts(void)
{
	return list_family(LDB_SORT);
}

static int list_joins(void)
{
	return list_family(LDB_JOIN);
}

static int list_q6(void)
{
	return list_family(LDB_Q6);
}

int ldb_command_list(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*list)(void);
	} lists[] = {
		{"indexes", list_indexes},   {"sorts", list_sorts},
		{"joins", list_joins},       {"q6", list_q6},
		{"datasets", list_datasets}, {"workloads", list_workloads},
		{"counters", list_counters}, {"configs", list_configs},
	};
	enum { LISTS = sizeof lists / sizeof *lists };
	static const char help[] =
		"Usage: ldbench list [indexes|sorts|joins|q6|datasets|workloads|counters|configs]\n"
		"Without a word: all of them.\n";
	const char *names[LISTS];
	int code = LDB_EXIT_OK;
	for (int i = 0; i < LISTS; i++)
		names[i] = lists[i].name;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-?") == 0) {
			fputs(help, stdout);
			return LDB_EXIT_OK;
		}
		int l = 0;
		while (l < LISTS && strcmp(lists[l].name, argv[i]) != 0)
			l++;
		if (l == LISTS) {
			const char *near = ldb_nearest(argv[i], names, LISTS);
			fprintf(stderr, "ldbench list: unknown list '%s'%s%s%s\n%s", argv[i],
				near ? "; did you mean " : "", near ? near : "", near ? "?" : "",
				help);
			return LDB_EXIT_USAGE;
		}
		int one = lists[l].list();
		code = one ? one : code;
	}
	for (int l = 0; l < LISTS && argc == 1; l++) {
		printf("%s== %s\n", l ? "\n" : "", lists[l].name);
		int one = lists[l].list();
		code = one ? one : code;
	}
	return code;
}

int ldb_command_machine(int argc, char **argv)
{
	if (argc > 1) {
		bool help = strcmp(argv[1], "--help") == 0;
		fputs("Usage: ldbench machine\nPrints as JSON what run.json says of machine and "
		      "build.\n",
		      help ? stdout : stderr);
		return help ? LDB_EXIT_OK : LDB_EXIT_USAGE;
	}
	json_t *machine = ldb_machine_json();
	if (!machine || json_dumpf(machine, stdout, JSON_INDENT(2)) != 0) {
		json_decref(machine);
		fputs("ldbench machine: out of memory\n", stderr);
		return LDB_EXIT_USAGE;
	}
	putchar('\n');
	json_decref(machine);
	return LDB_EXIT_OK;
}
