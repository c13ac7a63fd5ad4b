/*
 * gapped_rmi_join: index nested loop over a gapped array that a recursive model index fills. Each
 * build key stands where the model says, or as near behind as there is room, with gaps left over;
 * so a probe goes to where the model puts its key, and mostly finds it in that line or not at all.
 *
 * The gapped RMI join of Sabek and Kraska, The Case for Learned In-Memory Joins (VLDB 2023), with
 * the array of Ding et al., ALEX (SIGMOD 2020), in cache lines: a line holds five keys with their
 * rows, so a probe costs one miss. A build side that is not sorted is sorted before.
 *
 *       line 17                                                        line 18
 *      +----+----+----+----+----+----+----+----+----+----+-------+    +----+----
 *      | k0 | k1 | k2 |    |    | r0 | r1 | r2 |    |    | count |    | k0 | ...
 *      +----+----+----+----+----+----+----+----+----+----+-------+    +----+----
 *
 * Keys stand in order over all lines. A key can stand behind its own line only if all lines from
 * there on are full, so a search ends at the first line that is not, or whose last key is larger.
 * Where keys are in clusters too tight for the model such a way is long, and is taken in doubling
 * steps.
 */
#include "ldb/cdf.h"
#include "ldb/match.h"
#include "ldb/parts.h"
#include "ldb/sorted_side.h"

enum { SLOTS = 5, GROUP = 32 };

enum { PARAM_FILL, PARAM_SORT };
static const ldb_param params[] = {
	{"fill", "share of the slots that are used", .def = 0.6, .min = 0.1, .max = 1},
	{"sort", "for a build side that is not sorted", .def = 0,
	 .choices = "radix_sort|vqsort|learned_sort"},
	{0},
};

typedef struct {
	ldb_key key[SLOTS]; /* unused ones repeat the last, or are 0 */
	uint32_t rank[SLOTS];
	uint32_t count;
} line;
_Static_assert(sizeof(line) == 64, "a line is a cache line");

typedef struct {
	const ldb_join_input *input;
	ldb_sorted_side build;
	ldb_cdf cdf;
	line *lines; /* the last one is empty */
	size_t line_count;
	atomic_size_t used;
} gapped;

typedef struct {
	gapped *join;
	size_t from, to; /* share of the probe side */
	ldb_join_result result;
} share;

/* --- build ------------------------------------------------------------------------------------ */

/* Puts all keys where the model says, or behind. Without lines it only counts those it needs. */
static size_t place_keys(const gapped *join, line *lines)
{
	const ldb_key *keys = join->build.keys;
	size_t bucket[GROUP], at = 0, held = 0;
	for (size_t i = 0; i < join->build.n; i += GROUP) {
		const size_t count = join->build.n - i < GROUP ? join->build.n - i : GROUP;
		ldb_cdf_buckets(&join->cdf, keys + i, count, bucket);
		for (size_t k = 0; k < count; k++) {
			const size_t behind = at + (held == SLOTS); /* the first that has room */
			const size_t next = bucket[k] > behind ? bucket[k] : behind;
			held = next == at ? held : 0;
			at = next;
			if (lines) {
				lines[at].key[held] = keys[i + k];
				lines[at].rank[held] = (uint32_t)(i + k);
				lines[at].count = (uint32_t)held + 1;
			}
			held++;
		}
	}
	return (at > join->cdf.buckets ? at : join->cdf.buckets) + 2;
}

/* --- probe ------------------------------------------------------------------------------------ */

/* May keys equal to q, or less, stand behind this line? */
static inline bool goes_on(const line *l, ldb_key q)
{
	return l->count == SLOTS && l->key[SLOTS - 1] <= q;
}

/* Does the search for q go on behind this line, whose keys are all less? */
static inline bool is_before(const line *l, ldb_key q)
{
	return l->count == SLOTS && l->key[SLOTS - 1] < q;
}

/* All matches of q from a line on that is before it: first in doubling steps over lines that are
 * before it as well, then in order. */
static __attribute__((noinline)) void match_behind(const gapped *join, const line *l, ldb_key q,
						   uint32_t probe_row, ldb_sink *sink)
{
	const line *end = join->lines + join->line_count;
	for (size_t step = 1; step;) {
		if ((size_t)(end - l) > step && is_before(&l[step], q)) {
			l += step;
			step *= 2;
		} else {
			step /= 2;
		}
	}
	do {
		for (uint32_t i = 0; i < l->count; i++) {
			ldb_sink_put(sink, l->rank[i], probe_row, l->key[i] == q);
			ldb_sink_check(sink);
		}
	} while (goes_on(l++, q));
}

/* Which of a line's keys are equal to q. */
static inline unsigned equal_in(const line *l, ldb_key q)
{
#if defined(__AVX512F__) || defined(__AVX2__)
	return ldb_equal8(l->key, q) & ((1u << l->count) - 1); /* reads ranks, too */
#else
	unsigned equal = 0;
	for (unsigned i = 0; i < SLOTS; i++)
		equal |= (unsigned)(l->key[i] == q) << i;
	return equal & ((1u << l->count) - 1);
#endif
}

static inline void probe_group(const gapped *join, size_t from, size_t count, ldb_sink *sink)
{
	const ldb_key *q = join->input->probe + from;
	size_t bucket[GROUP];
	ldb_cdf_buckets(&join->cdf, q, count, bucket);
	for (size_t i = 0; i < count; i++)
		ldb_prefetch(join->lines, bucket[i] * sizeof *join->lines);
	for (size_t i = 0; i < count; i++) {
		const line *l = &join->lines[bucket[i]];
		const unsigned equal = equal_in(l, q[i]);
		if (__builtin_expect(goes_on(l, q[i]) || (equal & (equal - 1)), 0)) {
			match_behind(join, l, q[i], (uint32_t)(from + i), sink);
			continue;
		}
		ldb_sink_put(sink, l->rank[__builtin_ctz(equal | 1u << (SLOTS - 1))],
			     (uint32_t)(from + i), equal != 0);
	}
	ldb_sink_check(sink);
}

static void *probe_share(void *argument)
{
	share *s = argument;
	ldb_sink sink;
	ldb_sink_open(&sink, s->join->input, &s->join->used);
	sink.build_rows = s->join->build.rows;
	size_t i = s->from;
	for (; s->to - i >= GROUP; i += GROUP)
		probe_group(s->join, i, GROUP, &sink);
	probe_group(s->join, i, s->to - i, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void probe_all(gapped *join, ldb_join_result *out)
{
	const ldb_join_input *input = join->input;
	share shares[LDB_PARTS_MAX];
	const size_t threads = input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.join = join,
				    .from = input->probe_n * t / threads,
				    .to = input->probe_n * (t + 1) / threads};
	ldb_run_parts(probe_share, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
}

static ldb_status build_and_probe(gapped *join, ldb_join_result *out, ldb_error *err)
{
	const size_t n = join->build.n;
	uint64_t time = ldb_phase_start();
	ldb_cdf_train(&join->cdf, join->build.keys, n, true,
		      (size_t)((double)n / (SLOTS * join->input->params[PARAM_FILL])) + 1);
	ldb_phase_end(out, LDB_PHASE_MODEL, &time);
	join->line_count = place_keys(join, NULL);
	const size_t bytes = join->line_count * sizeof *join->lines;
	join->lines = ldb_alloc(bytes);
	if (!join->lines)
		return ldb_fail_oom(err, "gapped_rmi_join: array", bytes);
	memset(join->lines, 0, bytes);
	place_keys(join, join->lines);
	ldb_phase_end(out, LDB_PHASE_BUILD, &time);
	probe_all(join, out);
	ldb_phase_end(out, LDB_PHASE_PROBE, &time);
	ldb_free(join->lines, bytes);
	return LDB_OK;
}

static ldb_status gapped_rmi_join(const ldb_join_input *input, ldb_join_result *out, ldb_error *err)
{
	gapped *join = ldb_alloc(sizeof *join);
	if (!join)
		return ldb_fail_oom(err, "gapped_rmi_join", sizeof *join);
	*join = (gapped){.input = input};
	uint64_t time = ldb_phase_start();
	ldb_status status = ldb_sorted_take(&join->build, input, input->build, input->build_n,
					    input->build_sorted, err);
	ldb_phase_end(out, LDB_PHASE_PARTITION, &time);
	if (status == LDB_OK) {
		status = build_and_probe(join, out, err);
		ldb_sorted_free(&join->build);
	}
	ldb_free(join, sizeof *join);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "gapped_rmi_join",
	.summary = "index nested loop over a gapped array filled by a model, one line a probe",
	.origin = "Sabek, Kraska, VLDB 2023; Ding et al., SIGMOD 2020",
	.flags = LDB_THREADS | LDB_LEARNED,
	.params = params,
	.peak_bytes_per_key = 60, /* of the build side */
	.join = gapped_rmi_join,
};
LDB_EXPORT_JOIN(table)
