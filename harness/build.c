/* Building a competitor's structure in the worker, and what is known of it then (worker.h). */
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

/* Memory held outside ldb_alloc makes its size unknown: said, and left empty. */
static void report_bytes(size_t claimed, size_t held, size_t mapped, ldb_reply *reply)
{
	size_t foreign = ldb_alloc_foreign();
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

/* What a competitor tells of itself, into the note and the reply. */
static void report_info(const ldb_index_info *info, ldb_reply *reply)
{
	if (info->tune_ns)
		reply->tune_ns = (double)info->tune_ns;
	if (*info->chosen)
		snprintf(reply->note, sizeof reply->note, "chosen=%s", info->chosen);
	for (char *c = reply->note; *c; c++)
		if (*c == ';')
			*c = ' ';
}

static size_t anonymous_kb(void)
{
	return ldb_status_kb("RssAnon:") + ldb_status_kb("HugetlbPages:");
}

ldb_building ldb_build_begin(void)
{
	return (ldb_building){
		.held = ldb_alloc_held(), .anonymous_kb = anonymous_kb(), .start_ns = ldb_now_ns()};
}

bool ldb_build_end(const ldb_building *building, ldb_status status, const ldb_error *err,
		   ldb_reply *reply)
{
	reply->build_ns = (double)(ldb_now_ns() - building->start_ns);
	reply->status = ldb_row_status_of(status);
	if (status != LDB_OK)
		snprintf(reply->note, sizeof reply->note, "%.120s: %.120s (%.120s)", err->subject,
			 err->value, err->remedy);
	return status == LDB_OK;
}

void ldb_build_report(const ldb_building *building, const ldb_index_info *info, size_t claimed,
		      ldb_reply *reply)
{
	const size_t grown_kb = anonymous_kb() - building->anonymous_kb;
	report_info(info, reply);
	if (claimed != SIZE_MAX)
		report_bytes(claimed, ldb_alloc_held() - building->held,
			     (ptrdiff_t)grown_kb > 0 ? grown_kb * 1024 : 0, reply);
	report_pages(reply);
}

void ldb_build_index(const ldb_job *job, const ldb_key *keys, size_t n, bool validate, void **self,
		     ldb_reply *reply)
{
	const ldb_index *index = job->competitor->index;
	ldb_error err = {.subject = ""};
	ldb_index_info info = {.tune_ns = 0};
	const ldb_building building = ldb_build_begin();
	ldb_status status = index->build(self, keys, n, job->competitor->params, &err);
	const bool built = ldb_build_end(&building, status, &err, reply);
	if (built && validate && (status = index->validate(*self, &err)) != LDB_OK) {
		const double build_ns = reply->build_ns;
		index->destroy(*self);
		ldb_build_end(&building, status, &err, reply);
		reply->build_ns = build_ns;
	}
	if (status != LDB_OK) {
		*self = NULL;
		return;
	}
	if (index->info)
		index->info(*self, &info);
	ldb_build_report(&building, &info, index->bytes(*self), reply);
}
