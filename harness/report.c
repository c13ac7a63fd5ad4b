/* Medians of a results folder as a table (report.h). Intervals and ratios: scripts/summarize. */
#include "report.h"

#include <math.h>
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

static entry *find_cell(table *t, const char *block, const char *who, size_t n)
{
	for (size_t i = 0; i < t->count; i++) {
		entry *e = &t->entries[i];
		if (e->n == n && strcmp(e->who, who) == 0 && strcmp(e->block, block) == 0)
			return e;
	}
	return NULL;
}

static entry *find_entry(table *t, const char *block, const char *who, size_t n)
{
	entry *known = find_cell(t, block, who, n);
	if (known)
		return known;
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
	const char *bits = ldb_field(row, "key_bits");
	snprintf(block, sizeof block, "%s, %s, %s, %s pages%s%s%s%s%s", ldb_field(row, "dataset"),
		 ldb_field(row, "workload"), ldb_field(row, "mode"), ldb_field(row, "pages"),
		 one ? "" : ", ", one ? "" : threads, one ? "" : " threads",
		 none ? "" : ", payload ", none ? "" : payload);
	snprintf(who, sizeof who, "%s%s %s", ldb_field(row, "name"),
		 strcmp(bits, "32") == 0 ? "/32" : "", ldb_field(row, "params"));
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

/* A competitor's line in a block, and its median at the largest size to sort by. */
typedef struct {
	const char *who;
	double last;
} contender;

static int compare_contenders(const void *a, const void *b)
{
	return compare_doubles(&((const contender *)a)->last, &((const contender *)b)->last);
}

static int compare_sizes(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;
	return (x > y) - (x < y);
}

/* The name alone where it says enough, with all parameters where it comes more than once. */
static void print_label(FILE *f, const contender *all, size_t count, const char *who)
{
	size_t name = strcspn(who, " "), same = 0;
	for (size_t i = 0; i < count; i++)
		same += strncmp(all[i].who, who, name + 1) == 0;
	fprintf(f, "%-32.*s", same > 1 ? 60 : (int)name, who);
}

static bool print_block(FILE *f, table *t, const char *block)
{
	size_t *sizes = calloc(t->count, sizeof *sizes), size_count = 0;
	contender *all = calloc(t->count, sizeof *all);
	size_t count = 0;
	for (size_t i = 0; sizes && all && i < t->count; i++) {
		size_t j = 0, k = 0;
		entry *e = &t->entries[i];
		if (strcmp(e->block, block) != 0)
			continue;
		while (j < size_count && sizes[j] != e->n)
			j++;
		if (j == size_count)
			sizes[size_count++] = e->n;
		while (k < count && strcmp(all[k].who, e->who) != 0)
			k++;
		if (k == count)
			all[count++] = (contender){e->who, INFINITY};
	}
	if (size_count) {
		qsort(sizes, size_count, sizeof *sizes, compare_sizes);
		for (size_t i = 0; i < count; i++) {
			entry *e = find_cell(t, block, all[i].who, sizes[size_count - 1]);
			if (e && e->count && !*e->status)
				all[i].last = median(e);
		}
		qsort(all, count, sizeof *all, compare_contenders);
	}
	fprintf(f, "\n%s: ns per operation, median of the rounds\n%-32s", block, "keys");
	for (size_t j = 0; j < size_count; j++) {
		char size[32];
		fprintf(f, " %9s", ldb_size_format(sizes[j], size));
	}
	fputc('\n', f);
	for (size_t i = 0; i < count; i++) {
		print_label(f, all, count, all[i].who);
		for (size_t j = 0; j < size_count; j++) {
			entry *e = find_cell(t, block, all[i].who, sizes[j]);
			if (e && e->count && !*e->status)
				fprintf(f, " %9.1f", median(e));
			else
				fprintf(f, " %9s", e ? e->status : "");
		}
		fputc('\n', f);
	}
	bool good = sizes && all;
	free(sizes);
	free(all);
	return good;
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
		if (first && !print_block(f, &t, t.entries[i].block))
			status = ldb_fail_oom(err, "table", t.count * sizeof(contender));
	}
	for (size_t i = 0; i < t.count; i++)
		free(t.entries[i].ns);
	free(t.entries);
	return status;
}
