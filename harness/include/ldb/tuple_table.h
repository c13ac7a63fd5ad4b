/*
 * The hash table of the hash joins: a directory whose entries say where the tuples of a slot lie in
 * one array, and which of them can't be there (a Bloom filter of 16 bits for each slot, in the same
 * word). Any duplicates are legal, and lie side by side.
 *
 * After Birler, Schmidt, Fent, Neumann, Simple, Efficient, and Robust Hash Tables for Join
 * Processing (DaMoN 2024). A probe without a match mostly costs one cache miss, that of the
 * directory; one with a match two.
 *
 *      directory   | start, tags | start, tags | start, tags | ..
 *                        |             |
 *                        v             v
 *      tuples      | k7 k2 | k1 | k9 k9 k4 | ..
 *
 * It is filled by counting: how many tuples each slot has, then where they start, then the tuples.
 * Threads share the slots out between them, so none of them needs an atomic operation.
 */
#ifndef LDB_TUPLE_TABLE_H
#define LDB_TUPLE_TABLE_H

#include "ldb/cdf.h"
#include "ldb/match.h"
#include "ldb/tuples.h"
#include "ldb/window.h"

enum { LDB_TAG_BITS = 16 };

typedef struct {
	/* [slot + 1] = where the slot's tuples end << LDB_TAG_BITS | tags; [0] = 0 */
	uint64_t *directory;
	ldb_tuple *tuples; /* whole lines; what is behind the last one is read, but not used */
	size_t slots, count;
	const ldb_cdf *cdf; /* chooses the slot of a key; NULL: its hash does */
} ldb_tuple_table;

/* One side of a join: keys in the order of their rows, or, where keys is NULL, tuples. */
typedef struct {
	const ldb_key *keys;
	const ldb_tuple *tuples;
} ldb_side;

static inline ldb_tuple ldb_side_at(const ldb_side *side, size_t i)
{
	return side->keys ? (ldb_tuple){side->keys[i], i} : side->tuples[i];
}

static inline size_t ldb_table_slots(size_t count)
{
	const size_t slots = count + count / 4 + 1;
	return slots < UINT32_MAX ? slots : UINT32_MAX;
}

static inline size_t ldb_table_slot(const ldb_tuple_table *table, ldb_key key, uint64_t hash)
{
	if (table->cdf)
		return ldb_cdf_bucket(table->cdf, key);
	return (hash & UINT32_MAX) * table->slots >> 32;
}

static inline uint64_t ldb_table_tag(uint64_t hash)
{
	return (uint64_t)1 << (hash >> 32) % LDB_TAG_BITS;
}

static inline size_t ldb_directory_bytes(size_t slots)
{
	return (slots + 1) * sizeof(uint64_t);
}

/* Room for so many tuples in whole lines. */
static inline size_t ldb_tuples_room(size_t count)
{
	return (count + LDB_LINE_TUPLES - 1) & ~(size_t)(LDB_LINE_TUPLES - 1);
}

static inline size_t ldb_tuples_bytes(size_t count)
{
	return ldb_tuples_room(count) * sizeof(ldb_tuple);
}

/* --- build ------------------------------------------------------------------------------------ */

/* Up to LDB_GROUP tuples with their entries of the directory, which have been asked for. */
typedef struct {
	ldb_tuple tuple[LDB_GROUP];
	uint64_t *entry[LDB_GROUP];
	uint64_t tag[LDB_GROUP];
	size_t count;
} ldb_tuple_group;

/* Takes the tuples of side[from..to) whose slots are in [slot, end). */
static inline void ldb_group_take(ldb_tuple_group *group, const ldb_tuple_table *table,
				  const ldb_side *side, size_t from, size_t to, size_t slot,
				  size_t end)
{
	size_t count = 0;
	for (size_t i = from; i < to; i++) {
		const ldb_tuple tuple = ldb_side_at(side, i);
		const uint64_t hash = ldb_hash(tuple.key);
		const size_t s = ldb_table_slot(table, tuple.key, hash);
		group->tuple[count] = tuple;
		group->entry[count] = &table->directory[s + 1];
		group->tag[count] = ldb_table_tag(hash);
		ldb_prefetch(group->entry[count], 0);
		count += s - slot < end - slot;
	}
	group->count = count;
}

/* Counts the tuples of slots [slot, end) in their entries; returns how many there are. */
static inline size_t ldb_table_count(const ldb_tuple_table *table, const ldb_side *side, size_t n,
				     size_t slot, size_t end)
{
	memset(table->directory + slot + 1, 0, (end - slot) * sizeof *table->directory);
	size_t sum = 0;
	ldb_tuple_group group;
	for (size_t i = 0; i < n; i += LDB_GROUP) {
		ldb_group_take(&group, table, side, i, n - i < LDB_GROUP ? n : i + LDB_GROUP, slot,
			       end);
		for (size_t k = 0; k < group.count; k++) {
			*group.entry[k] += (uint64_t)1 << LDB_TAG_BITS;
			*group.entry[k] |= group.tag[k];
		}
		sum += group.count;
	}
	return sum;
}

/* Puts the counted tuples of slots [slot, end) into the array from `start` on. */
static inline void ldb_table_fill(const ldb_tuple_table *table, const ldb_side *side, size_t n,
				  size_t slot, size_t end, size_t start)
{
	const uint64_t tags = ((uint64_t)1 << LDB_TAG_BITS) - 1;
	for (size_t s = slot + 1; s <= end; s++) {
		const uint64_t entry = table->directory[s];
		table->directory[s] = (uint64_t)start << LDB_TAG_BITS | (entry & tags);
		start += (size_t)(entry >> LDB_TAG_BITS);
	}
	ldb_tuple_group group;
	for (size_t i = 0; i < n; i += LDB_GROUP) {
		ldb_group_take(&group, table, side, i, n - i < LDB_GROUP ? n : i + LDB_GROUP, slot,
			       end);
		ldb_tuple *to[LDB_GROUP];
		for (size_t k = 0; k < group.count; k++) {
			to[k] = &table->tuples[*group.entry[k] >> LDB_TAG_BITS];
			*group.entry[k] += (uint64_t)1 << LDB_TAG_BITS;
			ldb_prefetch(to[k], 0);
		}
		for (size_t k = 0; k < group.count; k++)
			*to[k] = group.tuple[k];
	}
}

/* Builds a table over the n tuples of a side by one thread; directory, tuples and slots are set. */
static inline void ldb_table_build(ldb_tuple_table *table, const ldb_side *side, size_t n)
{
	table->count = n;
	table->directory[0] = 0;
	ldb_table_count(table, side, n, 0, table->slots);
	ldb_table_fill(table, side, n, 0, table->slots, 0);
}

/* --- probe ------------------------------------------------------------------------------------ */

/*
 * The matches of a probe among tuples[start..end). From a table in the cache four tuples are read
 * wherever they begin, so that hardly ever a second step follows, and no branch is in doubt; from
 * one that is not, those of a line, as another line would not have been asked for.
 */
static inline void ldb_table_match(const ldb_tuple_table *table, size_t start, size_t end,
				   ldb_tuple probe, const bool in_cache, ldb_sink *sink)
{
	const uint32_t row = (uint32_t)probe.row;
#if defined(__AVX512F__)
	const __m512i key = _mm512_set1_epi64((long long)probe.key);
	const __m512i upper = _mm512_set1_epi64((long long)((uint64_t)row << 32));
	for (;;) { /* keys in the even lanes, rows in the odd ones */
		const size_t at = in_cache ? start : start - start % LDB_LINE_TUPLES;
		const size_t next = at + LDB_LINE_TUPLES;
		const unsigned from = 0xffu << 2 * (start - at);
		const unsigned lanes = end < next ? ~(0xffu << 2 * (end - at)) & from : from;
		const __m512i tuples =
			in_cache ? _mm512_maskz_loadu_epi64((__mmask8)lanes, table->tuples + at)
				 : _mm512_load_si512(table->tuples + at);
		const unsigned equal = _mm512_cmpeq_epi64_mask(tuples, key) & 0x55 & lanes;
		ldb_sink_put8(sink, (__mmask8)(equal << 1), _mm512_or_si512(tuples, upper));
		if (__builtin_expect(end <= next, 1))
			break;
		ldb_sink_check(sink);
		start = next;
	}
#else
	(void)in_cache;
	for (; start < end; start++) {
		const ldb_tuple tuple = table->tuples[start];
		ldb_sink_put(sink, (uint32_t)tuple.row, row, tuple.key == probe.key);
		ldb_sink_check(sink);
	}
#endif
}

/*
 * Finds the matches of side[from..to), `count` <= LDB_GROUP: all entries of the directory are asked
 * for before the first is read, and so are all tuples that the tags don't exclude.
 */
static inline void ldb_table_probe_group(const ldb_tuple_table *table, const ldb_side *side,
					 size_t from, size_t count, const bool in_cache,
					 ldb_sink *sink)
{
	const uint64_t *entry[LDB_GROUP];
	uint64_t tag[LDB_GROUP];
	size_t start[LDB_GROUP], end[LDB_GROUP], found = 0;
	uint32_t which[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		const ldb_key key = ldb_side_at(side, from + i).key;
		const uint64_t hash = ldb_hash(key);
		entry[i] = &table->directory[ldb_table_slot(table, key, hash)];
		tag[i] = ldb_table_tag(hash);
		if (!in_cache)
			ldb_prefetch(entry[i], sizeof *entry[i]);
	}
	for (size_t i = 0; i < count; i++) {
		which[found] = (uint32_t)i;
		start[found] = (size_t)(entry[i][0] >> LDB_TAG_BITS);
		end[found] = (size_t)(entry[i][1] >> LDB_TAG_BITS);
		if (!in_cache) {
			ldb_prefetch(table->tuples, start[found] * sizeof *table->tuples);
			ldb_prefetch(table->tuples, end[found] * sizeof *table->tuples - 1);
		}
		found += (entry[i][1] & tag[i]) != 0;
	}
	for (size_t i = 0; i < found; i++) {
		ldb_table_match(table, start[i], end[i], ldb_side_at(side, from + which[i]),
				in_cache, sink);
		ldb_sink_check(sink);
	}
}

/* Probes with side[from..to); in_cache is a constant: whether the table is in the second level. */
static inline void ldb_table_probe(const ldb_tuple_table *table, const ldb_side *side, size_t from,
				   size_t to, const bool in_cache, ldb_sink *sink)
{
	for (; to - from >= LDB_GROUP; from += LDB_GROUP)
		ldb_table_probe_group(table, side, from, LDB_GROUP, in_cache, sink);
	ldb_table_probe_group(table, side, from, to - from, in_cache, sink);
}

#endif
