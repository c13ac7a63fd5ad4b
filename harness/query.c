/* Query sets and their checksums (query.h). */
#include "query.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rng.h"

enum { MOST_QUERIES = 1 << 20, VERIFY_QUERIES = LDB_VERIFY_QUERIES };

static size_t queries_per_set(const ldb_experiment *e)
{
	size_t ops = e->ops * e->threads[0];
	for (size_t i = 1; i < e->thread_count; i++)
		if (e->ops * e->threads[i] > ops)
			ops = e->ops * e->threads[i];
	return ops && ops < MOST_QUERIES ? ops : MOST_QUERIES;
}

static bool has_mode(const ldb_experiment *e, bool chained)
{
	for (size_t i = 0; i < e->mode_count; i++)
		if ((e->modes[i] == LDB_CHAINED) == chained)
			return true;
	return false;
}

static bool has_order(const ldb_experiment *e, bool ordered)
{
	for (size_t i = 0; i < e->competitor_count; i++)
		if (((e->competitors[i].flags & LDB_ORDERED) != 0) == ordered)
			return true;
	return false;
}

/* Of the queries alone, and of all of a set: whole cache lines. */
static size_t query_bytes(size_t count, uint32_t key_bits)
{
	return (count * (key_bits / 8) + 63) & ~(size_t)63;
}

static size_t set_bytes(size_t count, uint32_t key_bits)
{
	return query_bytes(count, key_bits) +
	       ((count * sizeof(ldb_val) + (count + 1) * sizeof(uint64_t) + 63) & ~(size_t)63);
}

/* Calls for each set that e needs; with sets == NULL it only counts. */
static size_t list_sets(const ldb_experiment *e, ldb_query_set *sets)
{
	size_t count = 0;
	for (size_t w = 0; w <= e->workload_count; w++)
		for (int kind = 0; kind < 8; kind++) {
			const bool ordered = kind & 1, chained = kind & 2;
			const int key_bits = kind & 4 ? 32 : 64;
			if (!has_order(e, ordered) || !has_mode(e, chained) ||
			    !ldb_has_key_bits(e, key_bits))
				continue;
			if (sets)
				sets[count] = (ldb_query_set){
					.count = w < e->workload_count ? queries_per_set(e)
								       : VERIFY_QUERIES,
					.workload = w < e->workload_count ? &e->workloads[w] : NULL,
					.key_bits = (uint32_t)key_bits,
					.ordered = ordered,
					.chained = chained,
				};
			count++;
		}
	return count;
}

size_t ldb_query_bytes(const ldb_experiment *e)
{
	return list_sets(e, NULL) * set_bytes(MOST_QUERIES, 64) + 2 * MOST_QUERIES * sizeof(size_t);
}

ldb_status ldb_queries_make(const ldb_experiment *e, ldb_queries *out, ldb_error *err)
{
	*out = (ldb_queries){.largest = LDB_KEY_MAX};
	out->set_count = list_sets(e, NULL);
	out->sets = calloc(out->set_count + 1, sizeof *out->sets);
	size_t scratch = queries_per_set(e) > VERIFY_QUERIES ? queries_per_set(e) : VERIFY_QUERIES;
	out->rank = malloc(scratch * sizeof *out->rank);
	out->key = malloc(scratch * sizeof *out->key);
	if (out->sets && out->rank && out->key) {
		list_sets(e, out->sets);
		for (size_t i = 0; i < out->set_count; i++)
			out->shared_bytes += set_bytes(out->sets[i].count, out->sets[i].key_bits);
		out->shared = mmap(NULL, out->shared_bytes, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (out->shared == MAP_FAILED)
			out->shared = NULL;
	}
	if (!out->shared) {
		ldb_queries_free(out);
		return ldb_fail_oom(err, "queries", ldb_query_bytes(e));
	}
	char *at = out->shared;
	for (size_t i = 0; i < out->set_count; i++) {
		ldb_query_set *s = &out->sets[i];
		if (s->key_bits == 32)
			s->q32 = (uint32_t *)at;
		else
			s->q = (ldb_key *)at;
		s->answer = (ldb_val *)(at + query_bytes(s->count, s->key_bits));
		s->sum = (uint64_t *)(s->answer + s->count);
		at += set_bytes(s->count, s->key_bits);
	}
	return LDB_OK;
}

void ldb_queries_free(ldb_queries *queries)
{
	if (queries->shared)
		munmap(queries->shared, queries->shared_bytes);
	free(queries->sets);
	free(queries->rank);
	free(queries->key);
	*queries = (ldb_queries){0};
}

const ldb_query_set *ldb_query_find(const ldb_queries *queries, const ldb_workload *workload,
				    bool ordered, bool chained, uint32_t key_bits)
{
	for (size_t i = 0; i < queries->set_count; i++) {
		const ldb_query_set *s = &queries->sets[i];
		if (s->workload == workload && s->ordered == ordered && s->chained == chained &&
		    s->key_bits == key_bits)
			return s;
	}
	return NULL;
}

/* What was read of the payload. */
static uint64_t fold_payload(const ldb_val *out, size_t count, const ldb_payload *payload)
{
	uint64_t sum = 0;
	const size_t words = payload->words ? payload->words_per_record : 0;
	for (size_t i = 0; words && i < count; i++) {
		if (out[i] >= payload->count)
			continue; /* LDB_NONE; or a wrong answer, which the sum gives away */
		const uint64_t *record = payload->words + out[i] * words;
		for (size_t w = 0; w < words; w++)
			sum += record[w];
	}
	return sum;
}

uint64_t ldb_fold(const ldb_key *q, const ldb_val *out, size_t count, const ldb_payload *payload)
{
	/* Bound to its query, so that answers that swap places show. */
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += out[i] * (2 * q[i] + 1); /* odd: no single wrong answer gets lost */
	return sum + fold_payload(out, count, payload);
}

uint64_t ldb_query_fold(const ldb_query_set *set, size_t at, const ldb_val *out, size_t count,
			const ldb_payload *payload)
{
	if (set->key_bits == 64)
		return ldb_fold(set->q + at, out, count, payload);
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += out[i] * (2 * (uint64_t)set->q32[at + i] + 1);
	return sum + fold_payload(out, count, payload);
}

/* Answers, chain and sums of a set from queries->key and queries->rank. */
static void complete_set(ldb_query_set *s, const ldb_queries *queries, const ldb_dataset *data,
			 const ldb_payload *payload)
{
	for (size_t i = 0; i < s->count; i++)
		s->answer[i] = ldb_oracle_answer(data->keys, data->n, queries->key[i],
						 queries->rank[i], s->ordered);
	for (size_t i = 0; i < s->count; i++) {
		ldb_key q = queries->key[i];
		if (s->chained)
			q -= ldb_chain_step(s->answer[i ? i - 1 : s->count - 1]);
		if (s->key_bits == 32)
			s->q32[i] = (uint32_t)q; /* the chain's step is cut off alike */
		else
			s->q[i] = q;
	}
	s->sum[0] = 0;
	for (size_t i = 0; i < s->count; i++)
		s->sum[i + 1] = s->sum[i] + ldb_query_fold(s, i, &s->answer[i], 1, payload);
}

void ldb_queries_draw(ldb_queries *queries, const ldb_dataset *data, const ldb_payload *payload,
		      uint64_t seed)
{
	const ldb_workload *drawn = NULL;
	for (size_t i = 0; i < queries->set_count; i++) {
		ldb_query_set *s = &queries->sets[i];
		if (!s->workload)
			continue;
		if (s->workload != drawn)
			ldb_workload_draw(s->workload, data->keys, data->n, queries->largest, seed,
					  queries->key, queries->rank, s->count);
		drawn = s->workload;
		complete_set(s, queries, data, payload);
	}
}

/* Query i of the verification list, for `ranks` ranks spread over the keys. */
static ldb_key verification_key(const ldb_dataset *data, size_t i, size_t ranks)
{
	const ldb_key first = data->keys[0], last = data->keys[data->n - 1];
	const ldb_key edges[] = {0,         1,     LDB_KEY_MAX, LDB_KEY_MAX - 1,
				 first - 1, first, last + 1,    last};
	if (i < 8)
		return edges[i];
	size_t step = (i - 8) / 4;
	ldb_key key = data->keys[(size_t)((unsigned __int128)step * data->n / ranks)];
	switch (i % 4) {
	case 0:
		return key;
	case 1:
		return key + 1;
	case 2:
		return key - 1;
	default:
		return ldb_mix64(i);
	}
}

size_t ldb_queries_draw_verification(ldb_queries *queries, const ldb_dataset *data, size_t first,
				     bool exhaustive)
{
	const ldb_payload none = {0};
	size_t ranks = data->n;
	if (!exhaustive && ranks > (VERIFY_QUERIES - 8) / 4)
		ranks = (VERIFY_QUERIES - 8) / 4;
	const size_t total = 4 * ranks + 8;
	for (size_t i = 0; i < VERIFY_QUERIES; i++) {
		queries->key[i] =
			verification_key(data, (first + i) % total, ranks) & queries->largest;
		queries->rank[i] = ldb_oracle_rank(data->keys, data->n, queries->key[i]);
	}
	for (size_t i = 0; i < queries->set_count; i++)
		if (!queries->sets[i].workload)
			complete_set(&queries->sets[i], queries, data, &none);
	return total;
}

uint64_t ldb_query_sum(const ldb_query_set *set, size_t start, size_t ops)
{
	/* Whole rounds through the set, then the rest, which may wrap. */
	uint64_t sum = set->sum[set->count] * (ops / set->count);
	size_t rest = ops % set->count, to_end = set->count - start;
	if (rest <= to_end)
		return sum + set->sum[start + rest] - set->sum[start];
	return sum + set->sum[set->count] - set->sum[start] + set->sum[rest - to_end];
}

ldb_status ldb_payload_make(size_t n, size_t payload_bytes, ldb_pages pages, ldb_payload *out,
			    ldb_error *err)
{
	*out = (ldb_payload){0};
	if (!payload_bytes)
		return LDB_OK;
	uint64_t *words = ldb_map(n * payload_bytes, pages, err);
	if (!words)
		return LDB_OOM;
	out->count = n;
	out->words_per_record = payload_bytes / sizeof *words;
	out->mapped_bytes = n * payload_bytes;
	for (size_t i = 0; i < n * out->words_per_record; i++)
		words[i] = ldb_mix64(i);
	out->words = words;
	return LDB_OK;
}

void ldb_payload_free(ldb_payload *payload)
{
	ldb_unmap((void *)(uintptr_t)payload->words, payload->mapped_bytes);
	*payload = (ldb_payload){0};
}
