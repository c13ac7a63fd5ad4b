/*
 * The root of ldx and its parameters, chosen on a sample of the keys: how many segments there are,
 * how many buckets each gets, how wide separators and chunks are. Every combination is judged by
 * what a lookup would cost with it, without building it.
 */
#include <math.h>
#include <string.h>

#include "clock.h"
#include "ldx.h"

/* --- what a lookup costs ---------------------------------------------------------------------- */

/*
 * What counts is how candidates compare. A read is in nanoseconds, roughly, as a chain of lookups
 * sees it: a lookup brings lines of keys into a cache that holds little of a structure as large as
 * it, so reading costs more than the size alone tells. All else is more than it takes a chain, by
 * what it costs where lookups overlap: instructions, and a wrong guess, which ends the overlap.
 */
#define COST_NODE 60.0        /* of finding the child, once the node is there */
#define COST_UNFORESEEN 250.0 /* of a height that the branch predictor did not expect */
#define COST_LINE 60.0        /* of one more line of keys */
#define COST_LOST 1100.0      /* of a chunk too early, because separators did not tell */

/* Where nothing tells more of the keys apart than this leaves, a tree is of no use. */
#define MOST_LOST 0.75

/* Of a read somewhere in so many bytes. */
static double read_cost(double bytes)
{
	static const struct {
		double log2_bytes, ns;
	} seen[] = {{14, 1}, {17, 4}, {18, 8}, {20, 35}, {22, 65}, {26, 110}, {34, 170}};
	const double x = log2(bytes + 1);
	double ns = seen[0].ns;
	for (size_t i = 1; i < sizeof seen / sizeof *seen && x > seen[i - 1].log2_bytes; i++) {
		const double between = (x - seen[i - 1].log2_bytes) /
				       (seen[i].log2_bytes - seen[i - 1].log2_bytes);
		ns = seen[i - 1].ns + (seen[i].ns - seen[i - 1].ns) * fmin(between, 1);
	}
	return ns;
}

/* --- the sample ------------------------------------------------------------------------------- */

enum { STEP = 64, LOST_STEP = 8, MAX_SEGMENTS = 1 << 13, MAX_SIZE = 1 << 12 };

/* The keys' places under the root's current segments, and what buckets make of them. */
typedef struct {
	ldx *self;
	size_t count; /* every STEP-th of the keys that the root shares out */
	ldb_key *keys;
	uint64_t *within;             /* where each lies in its segment, in 2^-64 of that */
	uint32_t *ends;               /* of the segments: the first of the keys behind */
	uint32_t with_size[MAX_SIZE]; /* buckets with so many keys of the sample (the last: or more)
				       */
	/* Of every LOST_STEP-th: from the last key of a chunk to the middle of the next chunk,
	 * which has 1 or 2 lines. */
	float *distance[2];
	/* Share of keys lost by separators of 16, 32 bits, with chunks of 1, 2 lines. */
	double lost[2][2];
} sample;

/* Keys are lost that have the value of the separator before their chunk. */
static void survey_lost(sample *s)
{
	const ldx_root *root = &s->self->root;
	memset(s->lost, 0, sizeof s->lost);
	size_t i = 0;
	for (size_t segment = 0; segment < root->segment_count; segment++) {
		const double buckets_per_key =
			(double)root->scale * 0x1p-64 * root->segments[segment].bucket_count;
		for (; i < s->ends[segment]; i += LOST_STEP) {
			for (int v = 0; v < 2; v++) {
				const double passed =
					s->distance[v][i / LOST_STEP] * buckets_per_key;
				s->lost[0][v] += fmax(0, 1 - passed * 0x1p16);
				s->lost[1][v] += fmax(0, 1 - passed * 0x1p32);
			}
		}
	}
	for (int v = 0; v < 4; v++)
		s->lost[v / 2][v % 2] *= (double)LOST_STEP / (double)s->count;
}

/* Looks at the buckets that the root has now. */
static void survey(sample *s)
{
	const ldx_root *root = &s->self->root;
	memset(s->with_size, 0, sizeof s->with_size);
	size_t i = 0;
	for (size_t segment = 0; segment < root->segment_count; segment++) {
		const uint64_t buckets = root->segments[segment].bucket_count;
		while (i < s->ends[segment]) {
			const size_t start = i;
			uint64_t low;
			const uint64_t bucket = ldx_multiply(s->within[i], buckets, &low);
			while (++i < s->ends[segment] &&
			       ldx_multiply(s->within[i], buckets, &low) == bucket)
				;
			s->with_size[i - start < MAX_SIZE ? i - start : MAX_SIZE - 1]++;
		}
	}
	survey_lost(s);
}

typedef struct {
	double cost, bytes, lost;
	unsigned height; /* of all trees but some higher ones */
} estimate;

/* The trees that the sample's buckets get. */
typedef struct {
	double seen;                      /* how many have keys */
	double share[LDX_MAX_HEIGHT + 1]; /* of the keys in trees of that height */
	double nodes[LDX_MAX_HEIGHT + 1]; /* of that level, the lowest being 1, without top nodes */
} forest;

static forest plant(const sample *s, unsigned lines, double children)
{
	forest f = {0};
	for (size_t size = 1; size < MAX_SIZE; size++) {
		if (!s->with_size[size])
			continue;
		const double buckets = s->with_size[size];
		double level = (double)(size * STEP) / (LDX_LINE * lines) + 1;
		unsigned height = 1;
		for (; level > children; height++) {
			level = level / children + 0.5;
			f.nodes[height] += buckets * level;
		}
		f.share[height] += buckets * (double)size / (double)s->count;
		f.seen += buckets;
	}
	return f;
}

/* What the index would be with such trees, those padded that are lower than `height`. */
static estimate judge_height(const ldx *self, const forest *f, unsigned height)
{
	double uppers = 0, nodes = (double)self->bucket_count, higher = 0, more_steps = 0;
	for (unsigned h = 1; h < LDX_MAX_HEIGHT; h++) {
		const double level =
			h < height ? fmax(f->nodes[h], (double)self->bucket_count) : f->nodes[h];
		uppers += h > 1 ? level : level > 0 ? f->seen : 0;
		nodes += level;
	}
	for (unsigned h = height + 1; h <= LDX_MAX_HEIGHT; h++) {
		higher += f->share[h];
		more_steps += (h - height) * f->share[h];
	}
	const double lowest = nodes - (height > 1 ? (double)self->bucket_count : 0);
	const double step_cost = COST_NODE + read_cost(uppers * sizeof(ldx_node));
	return (estimate){
		.cost = read_cost((double)ldx_segment_bytes(self)) + COST_NODE +
			read_cost(lowest * sizeof(ldx_node)) +
			(height - 1 + more_steps) * step_cost + COST_UNFORESEEN * higher,
		.bytes = (double)ldx_segment_bytes(self) + nodes * sizeof(ldx_node),
		.height = height,
	};
}

/* What the index would be with chunks and separators of that size. */
static estimate judge(const sample *s, unsigned lines, unsigned bits)
{
	const forest f = plant(s, lines, (double)ldx_children(bits));
	estimate best = {.cost = INFINITY};
	for (unsigned h = 1; h <= LDX_MAX_HEIGHT; h++) {
		const estimate e = judge_height(s->self, &f, h);
		if (e.cost < best.cost)
			best = e;
	}
	best.lost = s->lost[bits == 32][lines - 1];
	best.cost += COST_LINE * lines + COST_LOST * best.lost;
	return best;
}

/* --- the root --------------------------------------------------------------------------------- */

/* Shares out the range to so many segments, and finds where in them the sample lies. */
static void set_segments(sample *s, size_t count)
{
	ldx *self = s->self;
	ldx_root *root = &self->root;
	const unsigned __int128 range = (unsigned __int128)root->limit + 1;
	const unsigned __int128 scale = ((unsigned __int128)count << 64) / range;
	root->segment_count = count;
	root->scale = scale > UINT64_MAX ? UINT64_MAX : (uint64_t)scale;
	size_t next = 0;
	for (size_t i = 0; i < s->count; i++) {
		const uint64_t segment =
			ldx_multiply(s->keys[i] - root->base, root->scale, &s->within[i]);
		while (next < segment)
			s->ends[next++] = (uint32_t)i;
	}
	while (next < count)
		s->ends[next++] = (uint32_t)s->count;
}

/* Of the sample's keys [from, to), which are a segment's: how many lie in buckets with more than
 * `most` of them, were it cut into so many. */
static size_t overfull(const sample *s, size_t from, size_t to, uint64_t buckets, size_t most)
{
	size_t keys = 0, start = from;
	uint64_t last = 0, low;
	for (size_t i = from; i <= to; i++) {
		const uint64_t bucket =
			i < to ? ldx_multiply(s->within[i], buckets, &low) : UINT64_MAX;
		if (bucket == last)
			continue;
		keys += i - start > most ? i - start : 0;
		start = i;
		last = bucket;
	}
	return keys;
}

/*
 * Gives each segment buckets of about so many keys: more where its keys are clustered, as long as
 * doubling their number takes enough keys out of overfull ones.
 */
static void share_out(sample *s, double bucket_keys)
{
	ldx_root *root = &s->self->root;
	const size_t most = (size_t)(2 * bucket_keys / STEP);
	size_t from = 0, total = 0;
	for (size_t segment = 0; segment < root->segment_count; segment++) {
		const size_t to = s->ends[segment];
		size_t buckets = (size_t)((double)(to - from) * STEP / bucket_keys) + 1;
		const bool alone = root->segment_count == 1; /* the choice tries all sizes itself */
		size_t over = alone ? 0 : overfull(s, from, to, buckets, most);
		for (int i = 0; i < 3 && over > (to - from) / 8; i++) {
			const size_t less = overfull(s, from, to, 2 * buckets, most);
			if ((double)(over - less) * STEP < 0.25 * (double)buckets * bucket_keys)
				break;
			buckets *= 2;
			over = less;
		}
		root->segments[segment] = (ldx_segment){(uint32_t)total, (uint32_t)buckets};
		total += buckets;
		from = to;
	}
	s->self->bucket_count = total;
}

/* Bytes that the segments may take. */
static size_t segment_room(double budget_bytes)
{
	const double room = fmin(budget_bytes / 2, MAX_SEGMENTS * sizeof(ldx_segment));
	return room < sizeof(ldx_segment) ? sizeof(ldx_segment) : (size_t)room;
}

/* The cheapest of the candidates so far that fit the budget, else the smallest. */
typedef struct {
	estimate is;
	size_t segments;
	double bucket_keys;
	unsigned lines, bits;
} candidate;

/* Judges the root's current buckets with every size of chunks and separators. */
static void judge_all(const sample *s, const ldx_settings *settings, candidate *best,
		      double bucket_keys)
{
	const double budget = settings->budget_bytes - sizeof *s->self;
	for (unsigned v = 0; v < 4; v++) {
		const unsigned lines = v % 2 + 1, bits = v < 2 ? 16 : 32;
		if ((settings->chunk_lines && lines != settings->chunk_lines) ||
		    (settings->bits && bits != settings->bits))
			continue;
		const estimate e = judge(s, lines, bits);
		const bool better = best->is.bytes <= budget
					    ? e.bytes <= budget && e.cost < best->is.cost
					    : e.bytes < best->is.bytes;
		if (better)
			*best = (candidate){e, s->self->root.segment_count, bucket_keys, lines,
					    bits};
	}
}

/* Sets root, buckets, chunks, separators and height; or no tree at all, unless one was asked for.
 */
static void choose(sample *s, const ldx_settings *settings)
{
	static const size_t segment_counts[] = {1, 1 << 10, MAX_SEGMENTS};
	ldx *self = s->self;
	candidate best = {.is = {.cost = INFINITY, .bytes = INFINITY}};
	for (size_t i = 0; i < sizeof segment_counts / sizeof *segment_counts; i++) {
		if (segment_counts[i] * sizeof(ldx_segment) > segment_room(settings->budget_bytes))
			break;
		set_segments(s, segment_counts[i]);
		for (double keys = 3200; keys >= 100; keys /= 2) {
			share_out(s, keys);
			survey(s);
			judge_all(s, settings, &best, keys);
		}
	}
	if (best.is.lost > MOST_LOST && !settings->chunk_lines && !settings->bits) {
		self->root.segment_count = self->bucket_count = 0;
		self->chunk_lines = 0;
		return;
	}
	set_segments(s, best.segments);
	share_out(s, best.bucket_keys);
	self->chunk_lines = best.lines;
	self->bits = best.bits;
	self->min_height = best.is.height;
}

/* --- all -------------------------------------------------------------------------------------- */

static void measure_distances(sample *s)
{
	const ldb_key *keys = s->self->keys;
	for (size_t i = 0; i < s->count; i += LOST_STEP) {
		const size_t line = (s->self->low_rank + i * STEP) / LDX_LINE;
		const size_t start = (line ? line : 1) * LDX_LINE; /* of a chunk */
		for (size_t v = 0; v < 2; v++) {
			const size_t middle = start + LDX_LINE / 2 * (v + 1) - 1;
			s->distance[v][i / LOST_STEP] = (float)(keys[middle] - keys[start - 1]);
		}
	}
}

bool ldx_tune(ldx *self, const ldx_settings *settings)
{
	const uint64_t start_ns = ldb_now_ns();
	const size_t room = segment_room(settings->budget_bytes);
	const size_t end_bytes = room / sizeof(ldx_segment) * sizeof(uint32_t);
	const size_t count = (self->high_rank - self->low_rank) / STEP + 1;
	const size_t lost_count = count / LOST_STEP + 1;
	sample *s = ldb_alloc(sizeof *s);
	ldb_key *keys = ldb_alloc(count * sizeof *keys);
	uint64_t *within = ldb_alloc(count * sizeof *within);
	uint32_t *ends = ldb_alloc(end_bytes);
	ldx_segment *most = ldb_alloc(room);
	float *distances = ldb_alloc(2 * lost_count * sizeof *distances);
	if (s && keys && within && ends && most && distances) {
		*s = (sample){.self = self,
			      .count = count,
			      .keys = keys,
			      .within = within,
			      .ends = ends,
			      .distance = {distances, distances + lost_count}};
		for (size_t i = 0; i < count; i++)
			keys[i] = self->keys[self->low_rank + i * STEP];
		measure_distances(s);
		self->root.segments = most;
		choose(s, settings);
		self->root.segments = ldb_alloc(ldx_segment_bytes(self));
		if (self->root.segments && self->chunk_lines)
			memcpy(self->root.segments, most, ldx_segment_bytes(self));
	}
	ldb_free(distances, 2 * lost_count * sizeof *distances);
	ldb_free(most, room);
	ldb_free(ends, end_bytes);
	ldb_free(within, count * sizeof *within);
	ldb_free(keys, count * sizeof *keys);
	ldb_free(s, sizeof *s);
	self->tune_ns += ldb_now_ns() - start_ns;
	return self->root.segments;
}
