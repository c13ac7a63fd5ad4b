/*
 * TPC-H's Q6 as a kind of work (kind.h): sums over lineitem by whatever path (ldb/q6.h). An
 * operation is a query.
 *
 * Queries have the standard's substitution parameters (TPC-H, revision 3, section 2.4.6.3): a year
 * of 1993..1997, a discount of 0.02..0.09 more or less 0.01, a quantity below 24 or 25; every round
 * asks all 80 in an order of its own. Verification asks them too, and random ranges. What must be
 * answered is found by a plain loop over the rows, and is compared with DuckDB's answers where
 * scripts/tpch left them.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../datasets/catalog.h"
#include "../datasets/tpch.h"
#include "clock.h"
#include "kind.h"
#include "lanes.h"
#include "rng.h"

enum {
	STANDARD = 80, /* queries */
	RANDOM = 24,
	ALL = STANDARD + RANDOM,
	SAMPLE = 16,
};

/* Queries and what must be answered: all of them to verify, the standard's for a pass. */
typedef struct {
	ldb_q6_query q[ALL];
	uint64_t answer[ALL];
} query_set;

typedef struct {
	ldb_column shipdate, discount, quantity, price;
	ldb_q6_input input;
	ldb_q6_query sample[SAMPLE];
	char folder[PATH_MAX];
	query_set known;   /* as first drawn */
	query_set *shared; /* known, and the round's; seen by the workers */
} selections;

enum { VERIFICATION, ROUND, SETS };

/* --- queries and their answers ---------------------------------------------------------------- */

/* Days since 1970 of January 1st. */
static uint16_t new_year(unsigned year)
{
	return (uint16_t)(365 * (year - 1970) + (year - 1969) / 4);
}

static ldb_q6_query standard_query(size_t i)
{
	const unsigned year = 1993 + (unsigned)(i / 16), discount = 2 + (unsigned)(i / 2 % 8);
	return (ldb_q6_query){.from = new_year(year),
			      .to = new_year(year + 1),
			      .low = (uint8_t)(discount - 1),
			      .high = (uint8_t)(discount + 1),
			      .below = (uint16_t)(100 * (24 + i % 2))};
}

/* Ranges between the values of rows; one in eight is left as wide as it can be. */
static ldb_q6_query random_query(const ldb_q6_input *in, ldb_rng *rng)
{
	const size_t a = ldb_rng_below(rng, in->n), b = ldb_rng_below(rng, in->n);
	const bool days = in->shipdate[a] < in->shipdate[b];
	const bool rates = in->discount[a] < in->discount[b];
	ldb_q6_query q = {.from = in->shipdate[days ? a : b],
			  .to = in->shipdate[days ? b : a],
			  .low = in->discount[rates ? a : b],
			  .high = in->discount[rates ? b : a],
			  .below = in->quantity[a]};
	if (ldb_rng_below(rng, 8) == 0)
		q.from = 0, q.to = UINT16_MAX;
	if (ldb_rng_below(rng, 8) == 0)
		q.low = 0, q.high = UINT8_MAX;
	if (ldb_rng_below(rng, 8) == 0)
		q.below = UINT16_MAX;
	return q;
}

/* The oracle: one loop, nothing shared with any path. */
static uint64_t plain_answer(const ldb_q6_input *in, const ldb_q6_query *q)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < in->n; i++)
		if (in->shipdate[i] >= q->from && in->shipdate[i] < q->to &&
		    in->discount[i] >= q->low && in->discount[i] <= q->high &&
		    in->quantity[i] < q->below)
			sum += (uint64_t)in->price[i] * in->discount[i];
	return sum;
}

static void make_queries(selections *s, uint64_t seed)
{
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	for (size_t i = 0; i < ALL; i++) {
		s->known.q[i] = i < STANDARD ? standard_query(i) : random_query(&s->input, &rng);
		s->known.answer[i] = plain_answer(&s->input, &s->known.q[i]);
	}
	for (size_t i = 0; i < SAMPLE; i++)
		s->sample[i] = standard_query(ldb_rng_below(&rng, STANDARD));
	s->input.sample = s->sample;
	s->input.sample_count = SAMPLE;
}

/* DuckDB's answers must be ours; without its file, ours stand alone. */
static ldb_status check_oracle(const selections *s, ldb_error *err)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof path, "%s/oracle.json", s->folder);
	json_t *oracle = json_load_file(path, 0, NULL), *list = json_object_get(oracle, "q6");
	ldb_status status = LDB_OK;
	for (size_t i = 0; oracle && i < STANDARD && status == LDB_OK; i++) {
		const json_t *entry = json_array_get(list, i);
		const json_int_t want = json_integer_value(json_object_get(entry, "revenue"));
		if (!entry || (uint64_t)want != s->known.answer[i])
			status = ldb_fail(err, LDB_INVALID, "delete the folder, run scripts/tpch",
					  path, "revenue %zu is %lld, the columns give %llu", i,
					  (long long)want, (unsigned long long)s->known.answer[i]);
	}
	json_decref(oracle);
	return status;
}

/* --- the conductor's side --------------------------------------------------------------------- */

static size_t q6_bytes(const ldb_stage *stage)
{
	return stage->n * 9 + sizeof(selections);
}

static void q6_release(ldb_inputs *in)
{
	selections *s = in->own;
	if (!s)
		return;
	ldb_column_free(&s->shipdate);
	ldb_column_free(&s->discount);
	ldb_column_free(&s->quantity);
	ldb_column_free(&s->price);
	if (s->shared)
		munmap(s->shared, SETS * sizeof *s->shared);
	free(s);
	in->own = NULL;
}

static ldb_status load_column(const ldb_inputs *in, const char *name, unsigned width,
			      ldb_column *out, ldb_error *err)
{
	char spec[sizeof in->data.name + 64];
	snprintf(spec, sizeof spec, "tpch:lineitem.%s%s", name, strchr(in->data.name, '@'));
	ldb_status status = ldb_column_load(spec, in->stage->pages, out, err);
	if (status == LDB_OK && (out->width != width || out->n != in->data.n))
		status = ldb_fail(err, LDB_INVALID, "make the folder anew by scripts/tpch", spec,
				  "%zu values of %u bytes, expected %zu of %u", out->n, out->width,
				  in->data.n, width);
	return status;
}

static ldb_status load_columns(selections *s, const ldb_inputs *in, ldb_error *err)
{
	ldb_status status = load_column(in, "l_shipdate", 2, &s->shipdate, err);
	if (status == LDB_OK)
		status = load_column(in, "l_discount", 1, &s->discount, err);
	if (status == LDB_OK)
		status = load_column(in, "l_quantity", 2, &s->quantity, err);
	if (status == LDB_OK)
		status = load_column(in, "l_extendedprice", 4, &s->price, err);
	s->input = (ldb_q6_input){.n = s->shipdate.n,
				  .shipdate = s->shipdate.values,
				  .discount = s->discount.values,
				  .quantity = s->quantity.values,
				  .price = s->price.values,
				  .folder = s->folder};
	return status;
}

static ldb_status q6_prepare(ldb_inputs *in, ldb_error *err)
{
	tpch_name name;
	char folder[64];
	if (tpch_parse(in->data.name, &name, NULL) != LDB_OK ||
	    strcmp(name.table, "lineitem") != 0 || in->data.n != in->data.source_n)
		return ldb_fail(err, LDB_INVALID,
				"use --dataset tpch:lineitem.l_shipdate@1 with --size max",
				in->data.name, "Q6 asks all rows of lineitem");
	selections *s = in->own = calloc(1, sizeof *s);
	if (!s)
		return ldb_fail_oom(err, "queries", sizeof *s);
	snprintf(folder, sizeof folder, "data/tpch/sf%s", name.scale);
	if (!catalog_data_path(folder, s->folder))
		return ldb_fail(err, LDB_INVALID, "use a shorter LDB_DATA", in->data.name,
				"path too long");
	ldb_status status = load_columns(s, in, err);
	if (status != LDB_OK)
		return status;
	make_queries(s, in->stage->experiment->seed);
	status = check_oracle(s, err);
	if (status != LDB_OK)
		return status;
	void *shared = mmap(NULL, SETS * sizeof *s->shared, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return ldb_fail_oom(err, "queries", SETS * sizeof *s->shared);
	s->shared = shared;
	s->shared[VERIFICATION] = s->shared[ROUND] = s->known;
	return LDB_OK;
}

static const char *q6_refusal(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at)
{
	if (at->workload->kind != LDB_UNIFORM)
		return "Q6's parameters are the standard's: use --workload uniform";
	if (at->mode != LDB_INDEPENDENT)
		return "Q6's queries are independent: use --mode independent";
	if (in->stage->payload_bytes)
		return "Q6 has no payload: use --payload 0";
	if (at->threads > 1 && !(who->flags & LDB_THREADS))
		return "answers by one thread only";
	return NULL;
}

static void q6_draw_round(ldb_inputs *in, uint64_t seed)
{
	selections *s = in->own;
	query_set *round = &s->shared[ROUND];
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	*round = s->known;
	for (size_t i = STANDARD; i > 1; i--) {
		const size_t j = ldb_rng_below(&rng, i);
		const ldb_q6_query q = round->q[j];
		const uint64_t answer = round->answer[j];
		round->q[j] = round->q[i - 1];
		round->answer[j] = round->answer[i - 1];
		round->q[i - 1] = q;
		round->answer[i - 1] = answer;
	}
}

static size_t q6_draw_verification(ldb_inputs *in, size_t first, bool exhaustive)
{
	(void)in;
	(void)first;
	(void)exhaustive;
	return ALL;
}

static void q6_command(const ldb_inputs *in, const ldb_competitor *who, const ldb_point *at,
		       ldb_command *out)
{
	(void)in;
	(void)who;
	out->set = at->workload ? ROUND : VERIFICATION;
	out->warm_ops = (out->ops + 9) / 10;
}

static size_t q6_pass_ops(const ldb_inputs *in, const ldb_point *at)
{
	(void)at;
	return in->stage->experiment->ops;
}

static uint64_t q6_expected(const ldb_inputs *in, const ldb_command *c, const ldb_reply *reply)
{
	const selections *s = in->own;
	(void)reply;
	uint64_t sum = 0;
	for (size_t i = 0; i < STANDARD; i++) /* asked in a circle: so often each */
		sum += s->shared[ROUND].answer[i] * ((c->ops + STANDARD - 1 - i) / STANDARD);
	return sum;
}

/* --- in the worker ---------------------------------------------------------------------------- */

static void q6_build(const ldb_job *job, bool validate, void **self, ldb_reply *reply)
{
	const ldb_q6 *path = job->competitor->q6;
	const selections *s = job->inputs->own;
	ldb_index_info info = {.tune_ns = 0};
	ldb_error err = {.subject = ""};
	(void)validate;
	const ldb_building building = ldb_build_begin();
	ldb_status status = path->build(self, &s->input, job->competitor->params, &err);
	if (!ldb_build_end(&building, status, &err, reply)) {
		*self = NULL;
		return;
	}
	if (path->info)
		path->info(*self, &info);
	ldb_build_report(&building, &info, path->bytes ? path->bytes(*self) : SIZE_MAX, reply);
}

/* Asks `ops` queries of the round in a circle; returns the sum of the answers. */
static uint64_t ask(const ldb_job *job, const void *self, size_t ops)
{
	const selections *s = job->inputs->own;
	uint64_t answer[STANDARD], sum = 0;
	for (size_t done = 0; done < ops;) {
		const size_t count = ops - done < STANDARD ? ops - done : STANDARD;
		job->competitor->q6->answer(self, s->shared[ROUND].q, count, answer);
		for (size_t i = 0; i < count; i++)
			sum += answer[i];
		done += count;
	}
	return sum;
}

typedef struct {
	const ldb_job *job;
	const void *self;
	const ldb_command *command;
	uint64_t checksum;
} asking;

static void warm_lane(void *work, size_t lane)
{
	const asking *a = work;
	(void)lane;
	ask(a->job, a->self, a->command->warm_ops);
}

static void ask_lane(void *work, size_t lane)
{
	asking *a = work;
	(void)lane;
	a->checksum = ask(a->job, a->self, a->command->ops);
}

static void q6_pass(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	asking a = {.job = job, .self = *self, .command = c};
	const ldb_lanes lanes = {
		.warm = warm_lane, .run = ask_lane, .work = &a, .threads = 1, .round = c->round};
	ldb_run_lanes(&lanes, reply);
	ldb_check_hidden_threads(1, reply);
	reply->checksum = a.checksum;
	reply->ops = (double)c->ops;
	reply->index_bytes = (double)(ldb_alloc_held() - job->held_before);
	if (!job->competitor->q6->bytes) /* another process works while this one waits */
		reply->own_cpu_ns = reply->elapsed_ns;
}

/* Every answer of the verification; the first wrong one into the note. */
static void q6_verify(const ldb_job *job, void **self, const ldb_command *c, ldb_reply *reply)
{
	const selections *s = job->inputs->own;
	const query_set *set = &s->shared[VERIFICATION];
	uint64_t answer[ALL];
	(void)c;
	memset(answer, 0xa5, sizeof answer);
	job->competitor->q6->answer(*self, set->q, ALL, answer);
	for (size_t i = 0; i < ALL; i++) {
		const ldb_q6_query *q = &set->q[i];
		if (answer[i] == set->answer[i])
			continue;
		reply->status = LDB_ROW_WRONG;
		snprintf(reply->note, sizeof reply->note,
			 "days [%u, %u), discount [%u, %u], quantity < %u: answered %llu, expected "
			 "%llu",
			 q->from, q->to, q->low, q->high, q->below, (unsigned long long)answer[i],
			 (unsigned long long)set->answer[i]);
		return;
	}
}

const ldb_kind ldb_selections = {
	.bytes = q6_bytes,
	.prepare = q6_prepare,
	.release = q6_release,
	.refusal = q6_refusal,
	.draw_round = q6_draw_round,
	.draw_verification = q6_draw_verification,
	.verification_chunk = ALL,
	.command = q6_command,
	.pass_ops = q6_pass_ops,
	.first_ops = 1,
	.expected = q6_expected,
	.build = q6_build,
	.verify = q6_verify,
	.pass = q6_pass,
};
