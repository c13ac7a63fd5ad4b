/* Writing and reading back of samples.csv (samples.h). */
#include "samples.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ldb/index.h"

static const char header[] =
	"experiment,family,name,params,dataset,n,key_bits,workload,mode,threads,pages,"
	"payload_bytes,rep,ops,elapsed_ns,ns_per_op,build_ns,tune_ns,index_bytes,peak_rss_bytes,"
	"p50_ns,p99_ns,p999_ns,max_ns,err_log2_mean,err_max,checksum,status,note,instructions,"
	"cycles,l1d_misses,l2_misses,llc_misses,dtlb_misses,branch_misses,page_faults,"
	"context_switches";

const char *const ldb_counter_names[LDB_COUNTERS] = {
	"instructions", "cycles",        "l1d_misses",  "l2_misses",        "llc_misses",
	"dtlb_misses",  "branch_misses", "page_faults", "context_switches",
};

const char *ldb_row_status_name(ldb_row_status status)
{
	static const char *const names[] = {"ok",      "unsupported", "wrong", "crashed",
					    "timeout", "oom",         "error"};
	return names[status];
}

ldb_row ldb_row_empty(void)
{
	ldb_row row = {.experiment = "",
		       .family = "index",
		       .name = "",
		       .params = "",
		       .dataset = "",
		       .workload = "",
		       .mode = "",
		       .pages = "",
		       .note = "",
		       .key_bits = 64,
		       .ops = NAN,
		       .elapsed_ns = NAN,
		       .ns_per_op = NAN,
		       .build_ns = NAN,
		       .tune_ns = NAN,
		       .index_bytes = NAN,
		       .peak_rss_bytes = NAN,
		       .p50_ns = NAN,
		       .p99_ns = NAN,
		       .p999_ns = NAN,
		       .max_ns = NAN,
		       .err_log2_mean = NAN,
		       .err_max = NAN};
	for (int i = 0; i < LDB_COUNTERS; i++)
		row.counters[i] = NAN;
	return row;
}

/* A line being put together; what does not fit is noticed, not cut silently. */
typedef struct {
	char text[8192];
	size_t length;
	bool full, started;
} line;

static void put_raw(line *l, const char *text)
{
	size_t length = strlen(text);
	if (l->length + length + 2 > sizeof l->text) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->length, text, length);
	l->length += length;
}

char *ldb_csv_field(const char *text, char *out, size_t size)
{
	const bool quoted = text[strcspn(text, ",\"\r\n")];
	size_t length = 0;
	if (quoted)
		out[length++] = '"';
	for (; *text && length + 4 <= size; text++) {
		if (*text == '"')
			out[length++] = '"';
		out[length++] = *text == '\n' || *text == '\r' ? ' ' : *text;
	}
	if (quoted)
		out[length++] = '"';
	out[length] = '\0';
	return out;
}

static void put_text(line *l, const char *text)
{
	char field[2 * sizeof l->text];
	if (l->started)
		put_raw(l, ",");
	l->started = true;
	if (strlen(text) > sizeof l->text)
		l->full = true;
	put_raw(l, ldb_csv_field(text, field, sizeof field));
}

static void put_number(line *l, double value)
{
	char text[32] = "";
	if (isfinite(value))
		snprintf(text, sizeof text,
			 value == floor(value) && fabs(value) < 1e15 ? "%.0f" : "%.6g", value);
	put_text(l, text);
}

static ldb_status write_all(int fd, const char *text, size_t length, const char *path,
			    ldb_error *err)
{
	while (length) {
		ssize_t n = write(fd, text, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ldb_fail(err, LDB_IO, "free some space, then go on with --resume",
					path, "can't be written: %s", strerror(errno));
		text += n;
		length -= (size_t)n;
	}
	return LDB_OK;
}

ldb_status ldb_samples_open(const char *dir, ldb_samples *out, ldb_error *err)
{
	snprintf(out->path, sizeof out->path, "%s/samples.csv", dir);
	out->fd = open(out->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (out->fd < 0)
		return ldb_fail(err, LDB_IO, "choose a folder you may write to with --out",
				out->path, "can't be opened: %s", strerror(errno));
	if (lseek(out->fd, 0, SEEK_END) > 0)
		return LDB_OK;
	char text[sizeof header + 1];
	int length = snprintf(text, sizeof text, "%s\n", header);
	ldb_status status = write_all(out->fd, text, (size_t)length, out->path, err);
	if (status != LDB_OK)
		ldb_samples_close(out);
	return status;
}

ldb_status ldb_samples_append(ldb_samples *s, const ldb_row *row, ldb_error *err)
{
	line l = {.length = 0};
	put_text(&l, row->experiment);
	put_text(&l, row->family);
	put_text(&l, row->name);
	put_text(&l, row->params);
	put_text(&l, row->dataset);
	put_number(&l, (double)row->n);
	put_number(&l, (double)row->key_bits);
	put_text(&l, row->workload);
	put_text(&l, row->mode);
	put_number(&l, (double)row->threads);
	put_text(&l, row->pages);
	put_number(&l, (double)row->payload_bytes);
	put_number(&l, (double)row->rep);
	put_number(&l, row->ops);
	put_number(&l, row->elapsed_ns);
	put_number(&l, row->ns_per_op);
	put_number(&l, row->build_ns);
	put_number(&l, row->tune_ns);
	put_number(&l, row->index_bytes);
	put_number(&l, row->peak_rss_bytes);
	put_number(&l, row->p50_ns);
	put_number(&l, row->p99_ns);
	put_number(&l, row->p999_ns);
	put_number(&l, row->max_ns);
	put_number(&l, row->err_log2_mean);
	put_number(&l, row->err_max);
	char checksum[24] = "";
	if (row->has_checksum)
		snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)row->checksum);
	put_text(&l, checksum);
	put_text(&l, ldb_row_status_name(row->status));
	put_text(&l, row->note);
	for (int i = 0; i < LDB_COUNTERS; i++)
		put_number(&l, row->counters[i]);
	put_raw(&l, "\n");
	if (l.full)
		return ldb_fail(err, LDB_INVALID, "shorten names, paths and parameters", s->path,
				"a row of more than %zu characters", sizeof l.text);
	ldb_status status = write_all(s->fd, l.text, l.length, s->path, err);
	if (status == LDB_OK)
		fdatasync(s->fd);
	return status;
}

void ldb_samples_close(ldb_samples *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Splits a line in place. */
static size_t split(char *text, char **fields, size_t most)
{
	size_t count = 0;
	for (char *at = text; count < most;) {
		char *to = at;
		fields[count++] = at;
		bool quoted = *at == '"';
		for (at += quoted; *at && (quoted || *at != ','); at++) {
			if (quoted && *at == '"') {
				if (at[1] != '"') {
					quoted = false;
					continue;
				}
				at++;
			}
			*to++ = *at;
		}
		bool last = !*at;
		*to = '\0';
		if (last)
			break;
		at++;
	}
	return count;
}

const char *ldb_field(const ldb_read_row *row, const char *column)
{
	for (size_t i = 0; i < row->column_count && i < row->count; i++)
		if (strcmp(row->columns[i], column) == 0)
			return row->fields[i];
	return "";
}

bool ldb_note_get(const char *note, const char *key, char *buf, size_t size)
{
	size_t length = strlen(key);
	for (const char *at = note; at && *at;) {
		at += strspn(at, "; ");
		if (strncmp(at, key, length) == 0 && at[length] == '=') {
			snprintf(buf, size, "%.*s", (int)strcspn(at + length + 1, ";"),
				 at + length + 1);
			return true;
		}
		at = strchr(at, ';');
	}
	return false;
}

ldb_status ldb_samples_read(const char *dir, void (*use)(void *, const ldb_read_row *), void *user,
			    ldb_error *err)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/samples.csv", dir);
	FILE *f = fopen(path, "r");
	if (!f)
		return ldb_fail(err, LDB_IO, "check the folder", path, "can't be read: %s",
				strerror(errno));
	char *text = NULL, *head = NULL, *copy = NULL, *columns[48];
	size_t room = 0;
	ldb_read_row row = {.columns = columns};
	ldb_status status = LDB_OK;
	for (ssize_t length; (length = getline(&text, &room, f)) > 0;) {
		if (text[length - 1] != '\n')
			break; /* cut by a kill */
		text[length - 1] = '\0';
		if (!head) {
			head = strdup(text);
			if (!head) {
				status = ldb_fail_oom(err, path, (unsigned long long)length);
				break;
			}
			row.column_count = split(head, columns, 48);
			continue;
		}
		free(copy);
		copy = strdup(text);
		if (!copy) {
			status = ldb_fail_oom(err, path, (unsigned long long)length);
			break;
		}
		row.line = text;
		row.count = split(copy, row.fields, 48);
		if (row.count == row.column_count)
			use(user, &row);
	}
	/* Half a table must not pass for the whole: a resume would lose rows. */
	if (status == LDB_OK && ferror(f))
		status = ldb_fail(err, LDB_IO, "check the disk", path, "can't be read: %s",
				  strerror(errno));
	free(text);
	free(head);
	free(copy);
	fclose(f);
	return status;
}

typedef struct {
	bool (*keep)(void *, const ldb_read_row *);
	void *user;
	FILE *kept, *superseded;
} retention;

static void retain_row(void *user, const ldb_read_row *row)
{
	retention *r = user;
	fprintf(r->keep(r->user, row) ? r->kept : r->superseded, "%s\n", row->line);
}

ldb_status ldb_samples_retain(const char *dir, bool (*keep)(void *, const ldb_read_row *),
			      void *user, ldb_error *err)
{
	char path[4096], fresh[4096], old[4096];
	snprintf(path, sizeof path, "%s/samples.csv", dir);
	snprintf(fresh, sizeof fresh, "%s/samples.csv.new", dir);
	snprintf(old, sizeof old, "%s/superseded.csv", dir);
	retention r = {.keep = keep, .user = user};
	r.kept = fopen(fresh, "w");
	r.superseded = fopen(old, "a");
	ldb_status status = LDB_OK;
	if (!r.kept || !r.superseded)
		status = ldb_fail(err, LDB_IO, "choose a folder you may write to", dir,
				  "can't be written: %s", strerror(errno));
	if (status == LDB_OK) {
		fprintf(r.kept, "%s\n", header);
		if (ftell(r.superseded) == 0)
			fprintf(r.superseded, "%s\n", header);
		status = ldb_samples_read(dir, retain_row, &r, err);
	}
	bool written = r.kept && r.superseded && !ferror(r.kept) && !ferror(r.superseded) &&
		       fflush(r.superseded) == 0 && fsync(fileno(r.superseded)) == 0 &&
		       fflush(r.kept) == 0 && fsync(fileno(r.kept)) == 0;
	if (r.kept)
		fclose(r.kept);
	if (r.superseded)
		fclose(r.superseded);
	if (status == LDB_OK && (!written || rename(fresh, path) != 0))
		status = ldb_fail(err, LDB_IO, "free some space", path, "can't be rewritten: %s",
				  strerror(errno));
	return status;
}
