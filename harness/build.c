/* Builds a competitor's index in the worker, and what is known of it then (worker.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "worker.h"

ldb_row_status ldb_row_status_of(ldb_status status)
{
	return status == LDB_OK            ? LDB_ROW_OK
	       : status == LDB_UNSUPPORTED ? LDB_ROW_UNSUPPORTED
	       : status == LDB_OOM         ? LDB_ROW_OOM
					   : LDB_ROW_ERROR;
}

/* Memory the index holds outside ldb_alloc makes its size unknown: said, and left empty. */
static void report_bytes(const ldb_index *index, const void *self, size_t held, size_t mapped,
			 ldb_reply *reply)
{
	size_t foreign = ldb_alloc_foreign(), claimed = index->bytes(self);
	size_t length = strlen(reply->note);
	reply->index_bytes = (double)held;
	if (foreign == SIZE_MAX)
		foreign = 0; /* under a sanitizer nobody knows */
	else if (mapped > held + held / 10 + ((size_t)16 << 20) && mapped - held > foreign)
		foreign = mapped - held; /* by mmap, past malloc as well */
	if (foreign > held / 10 + ((size_t)1 << 20)) {
		reply->index_bytes = NAN;
		snprintf(reply->note + length, sizeof reply->note - length,
			 "%shides=%zu bytes outside ldb_alloc", length ? "; " : "", foreign);
	} else if (claimed != held) {
		snprintf(reply->note + length, sizeof reply->note - length, "%sclaims=%zu bytes",
			 length ? "; " : "", claimed);
	}
}

static void report_pages(ldb_reply *reply)
{
	double share = reply->huge_share = ldb_huge_share();
	size_t length = strlen(reply->note);
	if (share >= 0)
		snprintf(reply->note + length, sizeof reply->note - length, "%shuge=%.2f",
			 length ? "; " : "", share);
}

/* What the index tells of itself, into the note and the reply. */
static void report_info(const ldb_index *index, const void *self, ldb_reply *reply)
{
	ldb_index_info info = {.tune_ns = 0};
	if (index->info)
		index->info(self, &info);
	if (info.tune_ns)
		reply->tune_ns = (double)info.tune_ns;
	if (*info.chosen)
		snprintf(reply->note, sizeof reply->note, "chosen=%s", info.chosen);
	for (char *c = reply->note; *c; c++)
		if (*c == ';')
			*c = ' ';
}

void ldb_build_index(const ldb_job *job, const ldb_key *keys, size_t n, bool validate, void **self,
		     ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	ldb_error err = {.subject = ""};
	const size_t held_before = ldb_alloc_held();
	const size_t anonymous_kb = ldb_status_kb("RssAnon:") + ldb_status_kb("HugetlbPages:");
	const uint64_t start = ldb_now_ns();
	ldb_status status = index->build(self, keys, n, job->competitor->params, &err);
	reply->build_ns = (double)(ldb_now_ns() - start);
	if (status == LDB_OK && validate && (status = index->validate(*self, &err)) != LDB_OK) {
		index->destroy(*self);
		*self = NULL;
	}
	reply->status = ldb_row_status_of(status);
	if (status != LDB_OK) {
		*self = NULL;
		snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", err.subject,
			 err.value, err.remedy);
		return;
	}
	report_info(index, *self, reply);
	const size_t grown_kb =
		ldb_status_kb("RssAnon:") + ldb_status_kb("HugetlbPages:") - anonymous_kb;
	report_bytes(index, *self, ldb_alloc_held() - held_before,
		     (ptrdiff_t)grown_kb > 0 ? grown_kb * 1024 : 0, reply);
	report_pages(reply);
}
