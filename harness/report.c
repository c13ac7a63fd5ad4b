/* Medians of a results folder as a table (report.h). Intervals and ratios: scripts/summarize. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "samples.h"

typedef struct {
	char block[512], who[320], status[16];
	size_t n;
	double *ns;
	size_t count;
} entry;

typedef struct {
	entry *entries;
	size_t count;
	bool oom;
} table;

static entry *find_entry(table *t, const char *block, const char *who, size_t n)
{
	for (size_t i = 0; i < t->count; i++) {
		entry *e = &t->entries[i];
		if (e->n == n && strcmp(e->who, who) == 0 && strcmp(e->block, block) == 0)
			return e;
	}
	entry *more = realloc(t->entries, (t->count + 1) * sizeof *more);
	if (!more)
		return NULL;
	t->entries = more;
	entry *e = &more[t->count++];
	*e = (entry){.n = n};
	snprintf(e->block, sizeof e->block, "%s", block);
	snprintf(e->who, sizeof e->who, "%s", who);
	return e;
}

static void add_row(void *user, const ldb_read_row *row)
{
	table *t = user;
	char block[512], who[320];
	const char *payload = ldb_field(row, "payload_bytes"), *threads = ldb_field(row, "threads");
	bool one = strcmp(threads, "1") == 0, none = strcmp(payload, "0") == 0;
	snprintf(block, sizeof block, "%s, %s, %s, %s pages%s%s%s%s%s", ldb_field(row, "dataset"),
		 ldb_field(row, "workload"), ldb_field(row, "mode"), ldb_field(row, "pages"),
		 one ? "" : ", ", one ? "" : threads, one ? "" : " threads",
		 none ? "" : ", payload ", none ? "" : payload);
	const char *params = ldb_field(row, "params");
	snprintf(who, sizeof who, "%s%s%s", ldb_field(row, "name"), *params ? " " : "", params);
	entry *e = find_entry(t, block, who, strtoull(ldb_field(row, "n"), NULL, 10));
	double *more = e ? realloc(e->ns, (e->count + 1) * sizeof *more) : NULL;
	if (!more) {
		t->oom = true;
		return;
	}
	e->ns = more;
	if (strcmp(ldb_field(row, "status"), "ok") == 0)
		e->ns[e->count++] = strtod(ldb_field(row, "ns_per_op"), NULL);
	else
		snprintf(e->status, sizeof e->status, "%s", ldb_field(row, "status"));
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(entry *e)
{
	qsort(e->ns, e->count, sizeof *e->ns, compare_doubles);
	size_t half = e->count / 2;
	return e->count % 2 ? e->ns[half] : (e->ns[half - 1] + e->ns[half]) / 2;
}

static void print_block(FILE *f, table *t, const char *block)
{
	size_t sizes[64], size_count = 0;
	for (size_t i = 0; i < t->count; i++) {
		size_t j = 0;
		if (strcmp(t->entries[i].block, block) != 0)
			continue;
		while (j < size_count && sizes[j] != t->entries[i].n)
			j++;
		if (j == size_count && size_count < 64)
			sizes[size_count++] = t->entries[i].n;
	}
	fprintf(f, "\n%s: ns per lookup, median\n%-36s", block, "keys");
	for (size_t j = 0; j < size_count; j++) {
		char size[32];
		fprintf(f, " %11s", ldb_size_format(sizes[j], size));
	}
	fputc('\n', f);
	for (size_t i = 0; i < t->count; i++) {
		const char *who = t->entries[i].who;
		bool first = strcmp(t->entries[i].block, block) == 0;
		for (size_t k = 0; k < i && first; k++)
			first = strcmp(t->entries[k].who, who) != 0 ||
				strcmp(t->entries[k].block, block) != 0;
		if (!first)
			continue;
		fprintf(f, "%-36.36s", who);
		for (size_t j = 0; j < size_count; j++) {
			entry *e = NULL;
			for (size_t k = i; k < t->count && !e; k++)
				if (t->entries[k].n == sizes[j] &&
				    strcmp(t->entries[k].who, who) == 0 &&
				    strcmp(t->entries[k].block, block) == 0)
					e = &t->entries[k];
			if (e && e->count && !*e->status)
				fprintf(f, " %11.1f", median(e));
			else
				fprintf(f, " %11s", e ? e->status : "");
		}
		fputc('\n', f);
	}
}

ldb_status ldb_report(FILE *f, const char *dir, ldb_error *err)
{
	table t = {.count = 0};
	ldb_status status = ldb_samples_read(dir, add_row, &t, err);
	if (status == LDB_OK && t.oom)
		status = ldb_fail_oom(err, "table", t.count * sizeof *t.entries);
	for (size_t i = 0; i < t.count && status == LDB_OK; i++) {
		bool first = true;
		for (size_t k = 0; k < i && first; k++)
			first = strcmp(t.entries[k].block, t.entries[i].block) != 0;
		if (first)
			print_block(f, &t, t.entries[i].block);
	}
	for (size_t i = 0; i < t.count; i++)
		free(t.entries[i].ns);
	free(t.entries);
	return status;
}
