/*
 * merge_join: sort-merge join. Sides that are not sorted are sorted by one of the project's sorts
 * (parameter `sort`; with learned_sort it is the learned sort-merge join of Sabek and Kraska, The
 * Case for Learned In-Memory Joins, VLDB 2023); then both are read once, in order.
 *
 * The merge takes eight probe keys a step and compares them with eight build keys, each with each:
 * no branch depends on which are equal, and only the way on in the build side waits for an
 * outcome. All-to-all comparison is that of Inoue, Ohara, Taura, Faster Set Intersection with SIMD
 * Instructions by Reducing Branch Mispredictions (VLDB 2015). Blocks with equal build keys, and
 * all of them without AVX-512, are merged one key at a time.
 *
 * Threads merge equal shares of the probe side, each from the build key where its share begins.
 */
#include "ldb/match.h"
#include "ldb/parts.h"
#include "ldb/sorted_side.h"

enum { PARAM_SORT };
static const ldb_param params[] = {
	{"sort", "for sides that are not sorted", .def = 0,
	 .choices = "radix_sort|vqsort|learned_sort"},
	{0},
};

typedef struct {
	const ldb_join_input *input;
	const ldb_sorted_side *build, *probe;
	size_t from, to; /* share of the probe side */
	atomic_size_t *used;
	ldb_join_result result;
} share;

/* Merges probe keys [from, to), none of which is less than build key `at` - 1; returns the rank of
 * the last one among the build keys. */
static inline size_t merge_plain(const ldb_sorted_side *build, size_t at, const ldb_key *probe,
				 size_t from, size_t to, ldb_sink *sink)
{
	const ldb_key *keys = build->keys;
	const size_t n = build->n;
	for (size_t p = from; p < to && at < n; p++) {
		const ldb_key q = probe[p];
		at += keys[at] < q; /* mostly one step is enough, and then no branch is in doubt */
		while (at < n && keys[at] < q)
			at++;
		if (at == n)
			break;
		ldb_sink_put(sink, (uint32_t)at, (uint32_t)p, keys[at] == q);
		ldb_sink_check(sink);
		for (size_t same = at + 1; same < n && keys[same] == q; same++)
			ldb_sink_add(sink, (uint32_t)same, (uint32_t)p);
	}
	return at;
}

#if defined(__AVX512F__)
enum { BLOCK = 8 };

/* Writes into `ranks` which of keys[at..at + 8) the probe keys are equal to, if any. */
static inline __m512i compare_all(const ldb_key *keys, size_t at, __m512i probe, __m512i ranks)
{
	__m512i which = _mm512_set1_epi64(-1);
	for (size_t i = 0; i < BLOCK; i++) {
		const __m512i key = _mm512_set1_epi64((long long)keys[at + i]);
		const __m512i number = _mm512_set1_epi64((long long)i);
		which = _mm512_mask_mov_epi64(which, _mm512_cmpeq_epi64_mask(probe, key), number);
	}
	const __mmask8 found = _mm512_movepi64_mask(which); /* the others are negative */
	return _mm512_mask_add_epi64(ranks, (__mmask8)~found, which,
				     _mm512_set1_epi64((long long)at));
}

/* Merges probe keys [p, p + 8); there are more than 8 build keys from `at` on. */
static inline size_t merge_block(const ldb_sorted_side *build, size_t at, const ldb_key *probe,
				 size_t p, ldb_sink *sink)
{
	const ldb_key *keys = build->keys, last = probe[p + BLOCK - 1];
	const __m512i q = _mm512_loadu_si512(probe + p), none = _mm512_set1_epi64(-1);
	const size_t start = at;
	__m512i ranks = none;
	for (;;) {
		const __m512i some = _mm512_loadu_si512(keys + at);
		if (__builtin_expect(
			    _mm512_cmpeq_epi64_mask(some, _mm512_loadu_si512(keys + at + 1)), 0))
			return merge_plain(build, start, probe, p, p + BLOCK, sink);
		ranks = compare_all(keys, at, q, ranks);
		const size_t less = ldb_count_less8(keys + at, last);
		at += less;
		if (less < BLOCK)
			break;
		if (build->n - at <= BLOCK)
			return merge_plain(build, start, probe, p, p + BLOCK, sink);
	}
	const __m512i lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
	const __m512i rows = _mm512_add_epi64(lane, _mm512_set1_epi64((long long)p));
	ldb_sink_put8(sink, _mm512_cmpneq_epi64_mask(ranks, none),
		      _mm512_or_si512(ranks, _mm512_slli_epi64(rows, 32)));
	ldb_sink_check(sink);
	return at;
}
#endif

static void *merge_share(void *argument)
{
	share *s = argument;
	const ldb_key *probe = s->probe->keys;
	ldb_sink sink;
	ldb_sink_open(&sink, s->input, s->used);
	sink.build_rows = s->build->rows;
	sink.probe_rows = s->probe->rows;
	size_t p = s->from, at = 0;
	if (p < s->to)
		at = ldb_lower_bound(s->build->keys, s->build->n, probe[p]);
#if defined(__AVX512F__)
	for (; s->to - p >= BLOCK && s->build->n - at > BLOCK; p += BLOCK)
		at = merge_block(s->build, at, probe, p, &sink);
#endif
	merge_plain(s->build, at, probe, p, s->to, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void merge(const ldb_join_input *input, const ldb_sorted_side *build,
		  const ldb_sorted_side *probe, ldb_join_result *out)
{
	share shares[LDB_PARTS_MAX];
	atomic_size_t used = 0;
	const size_t threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.input = input,
				    .build = build,
				    .probe = probe,
				    .from = probe->n * t / threads,
				    .to = probe->n * (t + 1) / threads,
				    .used = &used};
	ldb_run_parts(merge_share, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
}

static ldb_status merge_join(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	ldb_sorted_side build, probe;
	uint64_t time = ldb_phase_start();
	ldb_status status = ldb_sorted_take(&build, input, input->build, input->build_n,
					    input->build_sorted, err);
	if (status != LDB_OK)
		return status;
	status = ldb_sorted_take(&probe, input, input->probe, input->probe_n, input->probe_sorted,
				 err);
	ldb_phase_end(out, LDB_PHASE_PARTITION, &time);
	if (status == LDB_OK) {
		merge(input, &build, &probe, out);
		ldb_phase_end(out, LDB_PHASE_PROBE, &time);
		ldb_sorted_free(&probe);
	}
	ldb_sorted_free(&build);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "merge_join",
	.summary = "sort-merge join; blocks of eight keys compared all with all",
	.origin = "Inoue, Ohara, Taura, VLDB 2015; Balkesen, Alonso, Teubner, Oezsu, VLDB 2013",
	.flags = LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 36, /* of a side that has to be sorted, and what the sort needs */
	.join = merge_join,
};
LDB_EXPORT_JOIN(table)
