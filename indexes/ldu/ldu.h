/*
 * ldu: LearnedDB's own updatable index, the sister of ldx. A model of the keys' distribution leads
 * in a few multiplications to a node of one cache line, the node to a page of up to 28 entries, and
 * the page's first line to the line with the key and its value.
 *
 *         q
 *         |  tables: cell = position * cells, what is left over is the position in the cell
 *         v
 *   table [ cell | cell | cell | .. ]          a cell: a table again, or a segment of buckets
 *                   |
 *   nodes [ 7 separators | 8 links ][ .. ]     one line for each bucket of a segment
 *                              |
 *   page  [ 28 fingerprints, count | 4 keys, 4 values | .. 7 such lines ]
 *
 * Parts
 *
 *   position  A key's distance from the start of its region, times a constant, is a number of 128
 *             bits: the upper half is the cell, the lower half the position within, a fraction of
 *             64 bits. Each further table multiplies that fraction by its number of cells, and so
 *             does a segment by its number of buckets. Products are never rounded: of two keys the
 *             larger one has the later cell, or the same cell and the larger position. A region is
 *             what was the range of keys at build, or all below it, or all above.
 *   segment   About 64 to 128 keys a bucket. When it has grown it is cut anew, into more buckets,
 *             or, from some thousands of keys on, into a table of smaller segments. Nothing larger
 *             than a segment is ever rebuilt, so no operation takes longer than that (some tens
 *             of microseconds), whatever the keys do: rows of appended keys, a range that becomes
 *             hot, a distribution that moves are new tables at their places.
 *   node      Each bucket is the top of a small B-tree whose separators are 32-bit digits of the
 *             position. Mostly it is this one node. Where more than a page of keys agree in a digit
 *             there is a tree below for the next 32 bits; with them all keys differ.
 *   page      Entries in the order in which they came: to insert is to write one line, and nothing
 *             moves. Fingerprints of 16 bits (a hash of the key), compared all at once, say which
 *             line may have the key. A page that is full is cut at the median of its keys.
 *
 * What it costs. Three lines that may be missing in the cache, for a get as for a put: node, head
 * of the page, entry. Where keys cluster at all scales a cell of a lower table and a node below the
 * bucket's are added, and that is as much as a B-tree's levels outside of the cache: there a btree
 * whose operations are fetched together was 0.75 to 1.1 of ldu (seen while building). Tables take
 * about 16 bytes for 150 to 500 keys, nodes 64 for 64 to 128. A page is split once in 10 to 14
 * insertions, and each key is moved about once while the number of keys doubles. On any
 * distribution pages are 60 to 85 % full, because the model only has to find the bucket: separators
 * are chosen by the keys themselves. The price of pages without order is paid by a lower bound of
 * an absent key, which looks at all keys of a page, and by a scan, at the two pages where it begins
 * and ends.
 *
 * What was tried and left. Ratios were seen while building, on a noisy machine, and not in a
 * committed run.
 *   - Equal buckets that are pages themselves, without nodes: a line less, but on clustered keys
 *     45 to 55 bytes a key, and still 40 to 70 % of the keys in overfull buckets (counted).
 *   - Steps of the pipeline for tables and lower nodes on every index: 1.25 on uniform keys, so
 *     they are there only where there are such.
 *   - Steps without branches in the plain loop, too: 1.2 to 1.5, as a processor that guesses the
 *     branch runs ahead into the next lookup. In the pipeline they give 0.9 on clustered keys.
 *   - Segments of up to 8192 keys: 1.04 to 1.13 in insertions; buckets of 100 keys with them: 1.33.
 *     Cells of 128 keys: the same as 256, and a byte a key more.
 *   - 12 operations between steps of the pipeline instead of 8: no difference.
 *   - A scan that fetches only the next page as it goes: up to 4 times as long as one whose pages
 *     are fetched ahead with the operations.
 *
 * Related work: tables are a histogram tree (Crotty, "Hist-Tree", CIDR 2021) with any number of
 * cells; a model that leads to small sorted nodes of a B-tree instead of an error-prone search is
 * ldx's; unordered leaves with fingerprints are those of Oukid et al., "FPTree" (SIGMOD 2016);
 * cutting anew the part that grew, and only that, follows ALEX (Ding et al., SIGMOD 2020).
 */
#ifndef LDU_H
#define LDU_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/simd.h"

enum {
	LDU_SLOTS = 28,   /* entries of a page */
	LDU_LANES = 4,    /* of a line */
	LDU_CHILDREN = 8, /* of a node */
	LDU_DEPTH = 12,   /* most tables between region and segment */
	LDU_FANS = LDU_DEPTH + 1,
};

/* --- pages ------------------------------------------------------------------------------------ */

typedef struct {
	ldb_key key[LDU_LANES];
	ldb_val value[LDU_LANES];
} ldu_line;

/* Slots [0, count) are in use, in no order. */
typedef struct {
	uint16_t print[LDU_SLOTS];
	uint32_t count;
	uint32_t unused;
	ldu_line line[LDU_SLOTS / LDU_LANES];
} ldu_page;
_Static_assert(sizeof(ldu_page) == 512, "eight cache lines");

static inline ldb_key *ldu_key(ldu_page *page, unsigned slot)
{
	return &page->line[slot / LDU_LANES].key[slot % LDU_LANES];
}

static inline ldb_val *ldu_value(ldu_page *page, unsigned slot)
{
	return &page->line[slot / LDU_LANES].value[slot % LDU_LANES];
}

static inline uint16_t ldu_print(ldb_key key)
{
	return (uint16_t)(key * 0x9e3779b97f4a7c15u >> 48);
}

/* The slots, one bit each, whose fingerprint is `print`. */
static inline uint32_t ldu_match(const ldu_page *page, uint16_t print)
{
	const uint32_t used = (uint32_t)(((uint64_t)1 << page->count) - 1);
#if defined(__AVX512BW__)
	const __m512i head = _mm512_load_si512(page);
	return _mm512_cmpeq_epi16_mask(head, _mm512_set1_epi16((short)print)) & used;
#elif defined(__AVX2__)
	const __m256i *head = (const __m256i *)(const void *)page;
	const __m256i x = _mm256_set1_epi16((short)print);
	const __m256i low = _mm256_cmpeq_epi16(_mm256_load_si256(head), x);
	const __m256i high = _mm256_cmpeq_epi16(_mm256_load_si256(head + 1), x);
	/* To bytes, which leaves the four quarters in the order 0 2 1 3. */
	const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
	return (uint32_t)_mm256_movemask_epi8(bytes) & used;
#else
	uint32_t mask = 0;
	for (unsigned i = 0; i < LDU_SLOTS; i++)
		mask |= (uint32_t)(page->print[i] == print) << i;
	return mask & used;
#endif
}

/* The slot of the key; LDU_SLOTS: it is not in the page. */
static inline unsigned ldu_slot(const ldu_page *page, ldb_key key)
{
	for (uint32_t match = ldu_match(page, ldu_print(key)); match; match &= match - 1) {
		const unsigned slot = (unsigned)__builtin_ctz(match);
		if (__builtin_expect(*ldu_key((ldu_page *)page, slot) == key, 1))
			return slot;
	}
	return LDU_SLOTS;
}

/* --- nodes ------------------------------------------------------------------------------------ */

/*
 * Child i has the keys whose digit is > separator i - 1 and <= separator i; unused separators have
 * all bits set. The digit is the 32 bits of the position behind its first `shift` (0 or 32).
 */
typedef struct {
	uint32_t separator[LDU_CHILDREN - 1];
	uint8_t count, shift;
	uint16_t most_pages; /* in a segment's first bucket: see ldu_tend */
	uint32_t link[LDU_CHILDREN];
} ldu_node;
_Static_assert(sizeof(ldu_node) == 64, "a node is a cache line");

/* A link is the number of a page, or with this bit that of a node. */
#define LDU_TO_NODE 0x80000000u
/* The page that stands where there is none: always without entries, and never written to. */
#define LDU_EMPTY 0u

static inline uint32_t ldu_digit(uint64_t position, unsigned shift)
{
	return (uint32_t)(position << shift >> 32);
}

/* Which child of the node. */
static inline unsigned ldu_child(const ldu_node *node, uint64_t position)
{
	const uint32_t digit = ldu_digit(position, node->shift);
#if defined(__AVX512VL__)
	const __m256i s = _mm256_load_si256((const __m256i *)(const void *)node);
	const __m256i x = _mm256_set1_epi32((int)digit);
	return (unsigned)__builtin_popcount(_mm256_mask_cmplt_epu32_mask(0x7f, s, x));
#elif defined(__AVX2__)
	/* There is no unsigned compare: s >= x where the larger of both is s. */
	const __m256i s = _mm256_load_si256((const __m256i *)(const void *)node);
	const __m256i x = _mm256_set1_epi32((int)digit);
	const __m256i not_less = _mm256_cmpeq_epi32(_mm256_max_epu32(s, x), s);
	const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(not_less));
	return (unsigned)__builtin_popcount(~mask & 0x7f);
#else
	unsigned c = 0;
	for (int i = 0; i < LDU_CHILDREN - 1; i++)
		c += node->separator[i] < digit;
	return c;
#endif
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Shares the positions it is given evenly among its cells, or its buckets. */
typedef struct ldu_entry {
	union {
		struct ldu_entry *cells; /* of a table; behind them a bit for each: has it keys? */
		ldu_node *buckets;       /* of a segment: the top node of each */
	};
	uint32_t count;
	uint32_t pages; /* in a segment; LDU_TABLE */
} ldu_entry;
#define LDU_TABLE UINT32_MAX

typedef struct {
	ldb_key base;   /* the first key in the region */
	uint64_t limit; /* distance from it to the last one */
	uint64_t scale;
	ldu_entry table;
} ldu_region;

/* --- all -------------------------------------------------------------------------------------- */

enum { LDU_CHUNK = 256 }; /* things in a chunk, but for the first few */

/* Pages or nodes, by number. Chunks are never given back, so what is free can still be read. */
typedef struct {
	char **chunks;
	uint32_t chunk_count, chunk_room;
	uint32_t next, end;             /* never used: numbers [next, end) of the last chunk */
	uint32_t free_head, free_count; /* used and free again: a list */
	uint32_t used;
	uint32_t bytes; /* of a thing */
} ldu_arena;

enum { LDU_BELOW, LDU_INSIDE, LDU_ABOVE, LDU_REGIONS };

typedef struct {
	ldu_node no_bucket; /* of segments without keys */
	ldu_region region[LDU_REGIONS];
	ldu_arena pages, nodes;
	size_t n;
	size_t held_bytes;
	uint64_t changes;    /* how often more changed than one page was cut */
	const ldu_page *cut; /* the page that was cut last, until apply has noted it */
	size_t tables;       /* those of the regions counted */
	unsigned fill;       /* entries of a page that is filled by a build or a cut */
} ldu;

static inline void *ldu_thing(const ldu_arena *arena, uint32_t number)
{
	return arena->chunks[number / LDU_CHUNK] + (size_t)(number % LDU_CHUNK) * arena->bytes;
}

static inline ldu_page *ldu_page_at(const ldu *self, uint32_t link)
{
	return (ldu_page *)(void *)(self->pages.chunks[link / LDU_CHUNK] +
				    (size_t)(link % LDU_CHUNK) * sizeof(ldu_page));
}

static inline ldu_node *ldu_node_at(const ldu *self, uint32_t link)
{
	return ldu_thing(&self->nodes, link & ~LDU_TO_NODE);
}

/* a * b, as two halves. */
static inline uint64_t ldu_multiply(uint64_t a, uint64_t b, uint64_t *low)
{
#ifdef __BMI2__
	unsigned long long high;
	*low = _mulx_u64(a, b, &high);
	return high;
#else
	const unsigned __int128 product = (unsigned __int128)a * b;
	*low = (uint64_t)product;
	return (uint64_t)(product >> 64);
#endif
}

/* A node, at first the top of a bucket, and the position in the bucket. */
typedef struct {
	ldu_node *node;
	uint64_t position;
} ldu_place;

static inline const ldu_region *ldu_region_of(const ldu *self, ldb_key q)
{
	const ldu_region *inside = &self->region[LDU_INSIDE];
	if (__builtin_expect(q - inside->base <= inside->limit, 1))
		return inside;
	return &self->region[q < inside->base ? LDU_BELOW : LDU_ABOVE];
}

/* The cell of the first table; the position becomes that in the cell. */
static inline const ldu_entry *ldu_first_cell(const ldu *self, ldb_key q, uint64_t *position)
{
	const ldu_region *region = ldu_region_of(self, q);
	return &region->table.cells[ldu_multiply(q - region->base, region->scale, position)];
}

/* The bucket below a cell. */
static inline ldu_place ldu_bucket(const ldu_entry *e, uint64_t position)
{
	while (e->pages == LDU_TABLE)
		e = &e->cells[ldu_multiply(position, e->count, &position)];
	const uint64_t bucket = ldu_multiply(position, e->count, &position);
	return (ldu_place){e->buckets + bucket, position};
}

/* The model: which bucket q belongs to. */
static inline ldu_place ldu_predict(const ldu *self, ldb_key q)
{
	uint64_t position;
	const ldu_entry *cell = ldu_first_cell(self, q, &position);
	return ldu_bucket(cell, position);
}

static inline ldu_page *ldu_descend(const ldu *self, ldu_place at)
{
	const ldu_node *node = at.node;
	for (;;) {
		const uint32_t link = node->link[ldu_child(node, at.position)];
		if (__builtin_expect(!(link & LDU_TO_NODE), 1))
			return ldu_page_at(self, link);
		node = ldu_node_at(self, link);
	}
}

/* The page that q belongs to. */
static inline ldu_page *ldu_find_page(const ldu *self, ldb_key q)
{
	return ldu_descend(self, ldu_predict(self, q));
}

/* --- order.c: pages in the order of their keys ------------------------------------------------ */

typedef bool ldu_visitor(void *context, uint32_t link); /* false: no further */

/* Visits the pages from that of q on, also those without entries. */
void ldu_walk(const ldu *self, ldb_key q, ldu_visitor *visit, void *context);
/* Visits the pages of an entry. */
bool ldu_walk_entry(const ldu *self, const ldu_entry *entry, ldu_visitor *visit, void *context);

/* rank[s] = how many keys of the page are less than that of slot s. */
void ldu_rank(const ldu_page *page, uint8_t *rank);

/* The value of the first key >= q, which is not in its own page; LDB_NONE. */
ldb_val ldu_lower_bound(const ldu *self, const ldu_page *page, ldb_key q);
/* The sum of the values of the first `length` keys >= q. */
ldb_val ldu_scan(const ldu *self, ldb_key q, uint32_t length);

/* The value of the first key >= q, LDB_NONE where there is none; `page` is q's. */
static inline ldb_val ldu_answer(const ldu *self, const ldu_page *page, ldb_key q)
{
	const unsigned slot = ldu_slot(page, q);
	if (__builtin_expect(slot < LDU_SLOTS, 1))
		return *ldu_value((ldu_page *)page, slot);
	return ldu_lower_bound(self, page, q);
}

static inline ldb_val ldu_find(const ldu *self, ldb_key q)
{
	return ldu_answer(self, ldu_find_page(self, q), q);
}

/* --- memory.c --------------------------------------------------------------------------------- */

void *ldu_alloc(ldu *self, size_t bytes);
void ldu_free(ldu *self, void *p, size_t bytes);

/* Makes sure that so many things can be taken. */
bool ldu_reserve(ldu *self, ldu_arena *arena, uint32_t count);
/* A thing that was reserved; its number. */
uint32_t ldu_take(ldu_arena *arena);
void ldu_give(ldu_arena *arena, uint32_t number);
void ldu_free_arena(ldu *self, ldu_arena *arena);
size_t ldu_chunk_things(uint32_t chunk);

/* --- tree.c: the small tree of a bucket ------------------------------------------------------- */

/* The multiplications that make positions of keys. */
typedef struct {
	const ldu_region *region;
	uint32_t fans[LDU_FANS];
	unsigned count;
} ldu_path;

static inline uint64_t ldu_position(const ldu_path *path, ldb_key key)
{
	uint64_t x;
	ldu_multiply(key - path->region->base, path->region->scale, &x);
	for (unsigned i = 0; i < path->count; i++)
		ldu_multiply(x, path->fans[i], &x);
	return x;
}

/* Keys with their values, sorted. */
typedef struct {
	const ldb_key *keys;
	const ldb_val *values; /* NULL: each key's value is its place in keys */
} ldu_source;

static inline ldb_val ldu_source_value(const ldu_source *s, size_t i)
{
	return s->values ? s->values[i] : i;
}

/* A tree without keys. */
void ldu_clear_tree(ldu_node *top);
/* Fills a cleared tree with keys [from, to) of the source; false: no memory, and the tree may have
 * some of them. */
bool ldu_fill_tree(ldu *self, const ldu_path *path, ldu_node *top, const ldu_source *source,
		   size_t from, size_t to);
/* Gives back all pages and nodes below the top. */
void ldu_recycle_tree(ldu *self, ldu_node *top);
/* Inserts a key that is not there. False: no memory; the tree has the keys it had. */
bool ldu_tree_insert(ldu *self, const ldu_path *path, ldu_node *top, ldb_key key, ldb_val value);
/* Joins the key's page with a neighbour, or drops it, when it has become small. */
void ldu_tree_shrink(ldu *self, ldu_node *top, uint64_t position);

/* --- table.c: tables and segments ------------------------------------------------------------- */

/* Builds all over the source's n keys. False: no memory; what is held is to be freed. */
bool ldu_build_regions(ldu *self, const ldu_source *source, size_t n);
void ldu_free_regions(ldu *self);
/* The segment of a key; *path ends with its number of buckets. `mark`: note in all tables on the
 * way that there are keys. */
ldu_entry *ldu_segment_of(ldu *self, ldb_key key, ldu_path *path, bool mark);
/* Cuts a segment anew if it has become too large or too small for its buckets. Where there is no
 * memory for that it stays as it is. */
void ldu_tend(ldu *self, ldu_entry *segment, ldu_path *path);
/* Gives a segment without keys a bucket of its own; false: no memory. */
bool ldu_open_segment(ldu *self, ldu_entry *segment);
static inline bool ldu_cell_has_keys(const ldu_entry *table, size_t cell)
{
	const uint64_t *bits = (const uint64_t *)(const void *)(table->cells + table->count);
	return bits[cell / 64] >> cell % 64 & 1;
}
static inline size_t ldu_table_bytes(uint32_t count)
{
	return count * sizeof(ldu_entry) + (count + 63u) / 64 * sizeof(uint64_t);
}

/* --- update.c --------------------------------------------------------------------------------- */

size_t ldu_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err);
void ldu_lookup_batch(const void *index, const ldb_key *q, size_t n, ldb_val *out);

/* --- validate.c ------------------------------------------------------------------------------- */

ldb_status ldu_validate(const void *index, ldb_error *err);

#endif
