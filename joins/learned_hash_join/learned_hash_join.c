/*
 * learned_hash_join: a hash join whose hash function is a model of the build keys' distribution
 * (ldb/cdf.h). Such a hash keeps the order, and that saves work wherever there is order already:
 *
 *   build side sorted    Its buckets are ranges of it, so it is the table itself, and nothing is
 *                        moved: one pass writes where each bucket starts, 4 bytes for some keys
 *                        where a hash table needs 16 and more for each.
 *   both sides sorted    Neighbouring probes meet in the same cache lines.
 *   probe side sorted    It becomes the table, and the build rows are looked up in it.
 *
 *   build keys dense     The model is exact, and no key is compared: dense.h.
 *
 * If there is no order at all, the build side's tuples are placed as those of hash_join are, in the
 * table of ldb/tuple_table.h. Keys in clusters too tight for the model would crowd in few buckets;
 * then, and there only, the plain hash takes the model's place.
 *
 * After Kraska et al., SIGMOD 2018, section 4 (a model as hash function), and Sabek and Kraska, The
 * Case for Learned In-Memory Joins (VLDB 2023).
 */
#include "dense.h"
#include "ldb/parts.h"
#include "ldb/tuple_table.h"

enum { PARAM_KEYS };
static const ldb_param params[] = {
	{"keys", "of a sorted side that share a bucket, on average", .def = 3, .min = 1, .max = 64},
	{0},
};

enum {
	GROUP = 64,  /* probes that go through the same steps together */
	CROWDED = 8, /* mean number of tuples that a probe meets, from which on the plain hash is
			used */
};

/* The inner side is the one that the model is of: the build side, or a sorted probe side. */
typedef struct {
	const ldb_join_input *input;
	const ldb_key *inner, *outer;
	size_t inner_n, outer_n;
	bool swapped;
	ldb_cdf cdf;
	uint32_t *starts;      /* sorted: first rank in each bucket or a later one */
	ldb_tuple_table table; /* not sorted */
	dense_model dense;
	atomic_size_t used;
} learned_join;

typedef struct {
	learned_join *join;
	size_t from, to;       /* share of the outer side */
	size_t slot, slot_end; /* share of the slots */
	size_t tuples, start;  /* in it, and before it */
	ldb_join_result result;
} share;

/* --- sorted inner side ------------------------------------------------------------------------ */

/* Each key writes where the next bucket starts if no other key follows; buckets without a key take
 * over from the one before. */
static void find_starts(learned_join *join)
{
	const ldb_key *keys = join->inner;
	const size_t n = join->inner_n, buckets = join->cdf.buckets;
	size_t bucket[GROUP];
	memset(join->starts, 0, (buckets + 1) * sizeof *join->starts);
	for (size_t i = 0; i < n; i += GROUP) {
		const size_t count = n - i < GROUP ? n - i : GROUP;
		ldb_cdf_buckets(&join->cdf, keys + i, count, bucket);
		for (size_t k = 0; k < count; k++)
			join->starts[bucket[k] + 1] = (uint32_t)(i + k + 1);
	}
	uint32_t start = 0;
	for (size_t b = 0; b <= buckets; b++) {
		start = join->starts[b] > start ? join->starts[b] : start;
		join->starts[b] = start;
	}
}

static inline void put(size_t inner, size_t outer, bool is_match, const bool swapped,
		       ldb_sink *sink)
{
	ldb_sink_put(sink, (uint32_t)(swapped ? outer : inner), (uint32_t)(swapped ? inner : outer),
		     is_match);
}

/* The matches of q among keys[start..end), any number of them. */
static __attribute__((noinline)) void match_long(const learned_join *join, size_t start, size_t end,
						 ldb_key q, size_t outer, ldb_sink *sink)
{
	const ldb_key *keys = join->inner;
	start += ldb_lower_bound(keys + start, end - start, q);
	for (; start < end && keys[start] == q; start++) {
		put(start, outer, true, join->swapped, sink);
		ldb_sink_check(sink);
	}
}

/*
 * Puts the match of q where keys[start..end) lie in one line or two and at most one is equal to it,
 * as is mostly so; else puts none and returns true, without a branch that depends on it. There are
 * 16 keys or more.
 */
static inline bool match_short(const learned_join *join, size_t start, size_t end, ldb_key q,
			       size_t outer, const bool swapped, ldb_sink *sink)
{
	size_t line = start & ~(size_t)7, next = (end - (end > start)) & ~(size_t)7;
	bool is_long = (next - line > 8) | (line + 16 > join->inner_n);
	line = is_long ? 0 : line;
	next = is_long ? 0 : next;
	const unsigned upper = ldb_equal8(join->inner + next, q) << (next - line);
	const unsigned equal = ldb_equal8(join->inner + line, q) | upper;
	is_long |= (equal & (equal - 1)) != 0;
	put(line + (unsigned)__builtin_ctz(equal | 1u << 16), outer, (equal != 0) & !is_long,
	    swapped, sink);
	return is_long;
}

/* Buckets, then their starts, then their keys: each step asks for the lines of the next. */
static inline void probe_sorted_group(const learned_join *join, size_t from, size_t count,
				      const bool swapped, ldb_sink *sink)
{
	const ldb_key *keys = join->inner, *q = join->outer + from;
	size_t bucket[GROUP];
	uint32_t start[GROUP], end[GROUP];
	ldb_cdf_buckets(&join->cdf, q, count, bucket);
	for (size_t i = 0; i < count; i++)
		ldb_prefetch(join->starts, bucket[i] * sizeof *join->starts);
	for (size_t i = 0; i < count; i++) {
		start[i] = join->starts[bucket[i]];
		end[i] = join->starts[bucket[i] + 1];
		ldb_prefetch_key(keys, start[i]);
		ldb_prefetch_key(keys, end[i] - (size_t)1);
	}
	uint32_t left[GROUP]; /* for a second loop, as they are hard to foretell */
	size_t left_count = 0;
	const bool few = join->inner_n < 16;
	for (size_t i = 0; i < count; i++) {
		left[left_count] = (uint32_t)i;
		left_count +=
			few || match_short(join, start[i], end[i], q[i], from + i, swapped, sink);
	}
	ldb_sink_check(sink);
	for (size_t i = 0; i < left_count; i++)
		match_long(join, start[left[i]], end[left[i]], q[left[i]], from + left[i], sink);
}

static inline void probe_sorted_share(share *s, const bool swapped)
{
	ldb_sink sink;
	ldb_sink_open(&sink, s->join->input, &s->join->used);
	size_t i = s->from;
	for (; s->to - i >= GROUP; i += GROUP)
		probe_sorted_group(s->join, i, GROUP, swapped, &sink);
	probe_sorted_group(s->join, i, s->to - i, swapped, &sink);
	ldb_sink_close(&sink, &s->result);
}

static void *probe_sorted(void *argument)
{
	share *s = argument;
	if (s->join->swapped)
		probe_sorted_share(s, true);
	else
		probe_sorted_share(s, false);
	return NULL;
}

/* --- unsorted inner side ---------------------------------------------------------------------- */

static void *count_share(void *argument)
{
	share *s = argument;
	const ldb_side inner = {s->join->inner, NULL};
	const ldb_tuple_table *table = &s->join->table;
	s->tuples = ldb_table_count(table, &inner, s->join->inner_n, s->slot, s->slot_end);
	return NULL;
}

static void *fill_share(void *argument)
{
	share *s = argument;
	const ldb_side inner = {s->join->inner, NULL};
	ldb_table_fill(&s->join->table, &inner, s->join->inner_n, s->slot, s->slot_end, s->start);
	return NULL;
}

static void *probe_table(void *argument)
{
	share *s = argument;
	const ldb_side outer = {s->join->outer, NULL};
	ldb_sink sink;
	ldb_sink_open(&sink, s->join->input, &s->join->used);
	ldb_table_probe(&s->join->table, &outer, s->from, s->to, false, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

static void count_all(share *shares, size_t threads)
{
	ldb_run_parts(count_share, shares, sizeof *shares, threads);
	for (size_t t = 1; t < threads; t++)
		shares[t].start = shares[t - 1].start + shares[t - 1].tuples;
}

/* Would probes meet too many tuples? A sample of them asks the table, which is counted, not filled:
 * many probes may lie where few build keys do, all in one slot. */
static bool is_crowded(const learned_join *join)
{
	const size_t sample = join->outer_n < LDB_CDF_SAMPLE ? join->outer_n : LDB_CDF_SAMPLE;
	uint64_t tuples = 0;
	for (size_t i = 0; i < sample; i++) {
		const ldb_key q = join->outer[ldb_sample_rank(i, sample, join->outer_n)];
		tuples += join->table.directory[ldb_cdf_bucket(&join->cdf, q) + 1] >> LDB_TAG_BITS;
	}
	return tuples > CROWDED * sample;
}

static void fill_table(learned_join *join, share *shares, size_t threads)
{
	join->table.directory[0] = 0;
	count_all(shares, threads);
	if (is_crowded(join)) {
		join->table.cdf = NULL;
		count_all(shares, threads);
	}
	ldb_run_parts(fill_share, shares, sizeof *shares, threads);
}

/* --- dense build side ------------------------------------------------------------------------- */

static void *probe_dense(void *argument)
{
	share *s = argument;
	const ldb_join_input *input = s->join->input;
	ldb_sink sink;
	ldb_sink_open(&sink, input, &s->join->used);
	dense_probe(&s->join->dense, input->probe, s->from, s->to, &sink);
	ldb_sink_close(&sink, &s->result);
	return NULL;
}

/* --- all -------------------------------------------------------------------------------------- */

static size_t thread_count(const ldb_join_input *input)
{
	return input->threads < LDB_PARTS_MAX ? input->threads : LDB_PARTS_MAX;
}

static void probe_all(learned_join *join, void *(*probe)(void *), share *shares, size_t outer_n,
		      ldb_join_result *out, uint64_t *time)
{
	const size_t threads = thread_count(join->input);
	for (size_t t = 0; t < threads; t++) {
		shares[t].join = join;
		shares[t].from = outer_n * t / threads;
		shares[t].to = outer_n * (t + 1) / threads;
		shares[t].result = (ldb_join_result){0};
	}
	ldb_run_parts(probe, shares, sizeof *shares, threads);
	for (size_t t = 0; t < threads; t++) {
		out->count += shares[t].result.count;
		out->checksum += shares[t].result.checksum;
	}
	ldb_phase_end(out, LDB_PHASE_PROBE, time);
}

static void build_and_probe(learned_join *join, bool sorted, ldb_join_result *out, uint64_t *time)
{
	const size_t threads = thread_count(join->input);
	share shares[LDB_PARTS_MAX];
	for (size_t t = 0; t < threads; t++)
		shares[t] = (share){.join = join,
				    .slot = join->cdf.buckets * t / threads,
				    .slot_end = join->cdf.buckets * (t + 1) / threads};
	if (sorted)
		find_starts(join);
	else
		fill_table(join, shares, threads);
	ldb_phase_end(out, LDB_PHASE_BUILD, time);
	probe_all(join, sorted ? probe_sorted : probe_table, shares, join->outer_n, out, time);
}

static ldb_status join_by_model(learned_join *join, bool sorted, ldb_join_result *out,
				uint64_t *time, ldb_error *err)
{
	const size_t n = join->inner_n;
	ldb_cdf_train(&join->cdf, join->inner, n, sorted,
		      sorted ? (size_t)((double)n / join->input->params[PARAM_KEYS]) + 1
			     : ldb_table_slots(n));
	ldb_phase_end(out, LDB_PHASE_MODEL, time);
	const size_t buckets = join->cdf.buckets;
	const size_t starts_bytes = sorted ? (buckets + 1) * sizeof *join->starts : 0;
	const size_t directory_bytes = sorted ? 0 : ldb_directory_bytes(buckets);
	const size_t tuples_bytes = sorted ? 0 : ldb_tuples_bytes(n);
	join->starts = ldb_alloc(starts_bytes);
	join->table = (ldb_tuple_table){ldb_alloc(directory_bytes), ldb_alloc(tuples_bytes),
					buckets, n, &join->cdf};
	ldb_status status = LDB_OK;
	if (join->starts && join->table.directory && join->table.tuples)
		build_and_probe(join, sorted, out, time);
	else
		status = ldb_fail_oom(err, "learned_hash_join: table",
				      starts_bytes + directory_bytes + tuples_bytes);
	ldb_free(join->starts, starts_bytes);
	ldb_free(join->table.directory, directory_bytes);
	ldb_free(join->table.tuples, tuples_bytes);
	return status;
}

/* Joins by the exact model, where *made comes out true. */
static ldb_status join_dense(learned_join *join, ldb_join_result *out, uint64_t *time, bool *made,
			     ldb_error *err)
{
	const ldb_join_input *input = join->input;
	const ldb_key *keys = input->build;
	const size_t n = input->build_n;
	*made = false;
	if (!n)
		return LDB_OK;
	ldb_key least = keys[0], largest = keys[n - 1];
	for (size_t i = 0; i < n && !input->build_sorted; i++) {
		least = keys[i] < least ? keys[i] : least;
		largest = keys[i] > largest ? keys[i] : largest;
	}
	if (!dense_make(&join->dense, keys, n, least, largest, input->build_sorted, made))
		return ldb_fail_oom(err, "learned_hash_join: exact model",
				    n * (DENSE_SPREAD / 4 + sizeof *join->dense.rows));
	ldb_phase_end(out, LDB_PHASE_MODEL, time);
	if (*made) {
		share shares[LDB_PARTS_MAX];
		probe_all(join, probe_dense, shares, input->probe_n, out, time);
		dense_free(&join->dense);
	}
	return LDB_OK;
}

static ldb_status learned_hash_join(const ldb_join_input *input, ldb_join_result *out,
				    ldb_error *err)
{
	const bool sorted = input->build_sorted || input->probe_sorted;
	const bool swapped = sorted && !input->build_sorted;
	uint64_t time = ldb_phase_start();
	learned_join *join = ldb_alloc(sizeof *join);
	if (!join)
		return ldb_fail_oom(err, "learned_hash_join", sizeof *join);
	*join = (learned_join){.input = input,
			       .inner = swapped ? input->probe : input->build,
			       .outer = swapped ? input->build : input->probe,
			       .inner_n = swapped ? input->probe_n : input->build_n,
			       .outer_n = swapped ? input->build_n : input->probe_n,
			       .swapped = swapped};
	bool dense;
	ldb_status status = join_dense(join, out, &time, &dense, err);
	if (status == LDB_OK && !dense)
		status = join_by_model(join, sorted, out, &time, err);
	ldb_free(join, sizeof *join);
	return status;
}

static const ldb_join table = {
	.abi = LDB_JOIN_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "learned_hash_join",
	.summary = "hash join by a model that keeps the order; a sorted side is its own table",
	.origin = "Kraska et al., SIGMOD 2018; Sabek, Kraska, VLDB 2023",
	.flags = LDB_THREADS | LDB_LEARNED,
	.params = params,
	.peak_bytes_per_key = 26, /* of the build side, unsorted */
	.join = learned_hash_join,
};
LDB_EXPORT_JOIN(table)
