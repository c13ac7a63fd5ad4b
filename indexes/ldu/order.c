/*
 * Order in ldu: pages one after the other, and the order of keys within a page, which is found when
 * it is asked for. Only absent keys and scans ask, and the cutting of pages.
 */
#include "ldb/window.h"
#include "ldu.h"

/* --- pages one after the other ---------------------------------------------------------------- */

/* `from` is a position within what is walked, NULL its beginning. */
static bool walk_tree(const ldu *self, const ldu_node *node, const uint64_t *from,
		      ldu_visitor *visit, void *context)
{
	for (unsigned i = from ? ldu_child(node, *from) : 0; i < node->count; i++, from = NULL) {
		const uint32_t link = node->link[i];
		if (i + 1u < node->count && !(node->link[i + 1] & LDU_TO_NODE)) {
			const ldu_page *next = ldu_page_at(self, node->link[i + 1]);
			for (size_t b = 0; b < sizeof *next; b += 64)
				ldb_prefetch(next, b);
		}
		if (link & LDU_TO_NODE
			    ? !walk_tree(self, ldu_node_at(self, link), from, visit, context)
			    : !visit(context, link))
			return false;
	}
	return true;
}

/* The first cell with keys from number i on, or the table's count. */
static uint64_t next_cell(const ldu_entry *table, uint64_t i)
{
	const uint64_t *bits = (const uint64_t *)(const void *)(table->cells + table->count);
	if (i >= table->count)
		return table->count;
	uint64_t word = i / 64, left = bits[word] & UINT64_MAX << i % 64;
	while (!left && ++word < (table->count + 63u) / 64)
		left = bits[word];
	return left ? word * 64 + (uint64_t)__builtin_ctzll(left) : table->count;
}

static bool walk_from(const ldu *self, const ldu_entry *entry, const uint64_t *from,
		      ldu_visitor *visit, void *context);

/* From cell or bucket `i` on, in that one from a position on. */
static bool walk_cells(const ldu *self, const ldu_entry *entry, uint64_t i, const uint64_t *from,
		       ldu_visitor *visit, void *context)
{
	if (entry->pages != LDU_TABLE) {
		for (; i < entry->count; i++, from = NULL) {
			if (!walk_tree(self, &entry->buckets[i], from, visit, context))
				return false;
		}
		return true;
	}
	for (uint64_t c = next_cell(entry, i); c < entry->count; c = next_cell(entry, c + 1)) {
		if (!walk_from(self, &entry->cells[c], c == i ? from : NULL, visit, context))
			return false;
	}
	return true;
}

static bool walk_from(const ldu *self, const ldu_entry *entry, const uint64_t *from,
		      ldu_visitor *visit, void *context)
{
	uint64_t i = 0, within = 0;
	if (from)
		i = ldu_multiply(*from, entry->count, &within);
	return walk_cells(self, entry, i, from ? &within : NULL, visit, context);
}

void ldu_walk(const ldu *self, ldb_key q, ldu_visitor *visit, void *context)
{
	const ldu_region *region = ldu_region_of(self, q);
	uint64_t within;
	const uint64_t cell = ldu_multiply(q - region->base, region->scale, &within);
	bool more = walk_cells(self, &region->table, cell, &within, visit, context);
	while (more && ++region < self->region + LDU_REGIONS)
		more = ldu_walk_entry(self, &region->table, visit, context);
}

bool ldu_walk_entry(const ldu *self, const ldu_entry *entry, ldu_visitor *visit, void *context)
{
	return walk_from(self, entry, NULL, visit, context);
}

/* --- keys of a page --------------------------------------------------------------------------- */

void ldu_rank(const ldu_page *page, uint8_t *rank)
{
#if defined(__AVX512F__)
	const uint32_t used = (1u << page->count) - 1;
	__m512i k[4];
	for (unsigned i = 0; i < 4; i++) { /* unused slots get the largest key */
		const __m256i *low = (const __m256i *)(const void *)page->line[2 * i].key;
		const __m256i *high = i < 3 ? low + 2 : low; /* lines of keys and values */
		const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(*low), *high, 1);
		k[i] = _mm512_mask_mov_epi64(_mm512_set1_epi64(-1), (__mmask8)(used >> 8 * i),
					     both);
	}
	for (unsigned s = 0; s < page->count; s++) {
		const __m512i x =
			_mm512_set1_epi64((long long)page->line[s / LDU_LANES].key[s % LDU_LANES]);
		const uint32_t less = (uint32_t)_mm512_cmplt_epu64_mask(k[0], x) |
				      (uint32_t)_mm512_cmplt_epu64_mask(k[1], x) << 8 |
				      (uint32_t)_mm512_cmplt_epu64_mask(k[2], x) << 16 |
				      (uint32_t)_mm512_cmplt_epu64_mask(k[3], x) << 24;
		rank[s] = (uint8_t)__builtin_popcount(less);
	}
#else
	ldb_key keys[LDU_SLOTS];
	for (unsigned s = 0; s < LDU_SLOTS; s++) {
		const ldb_key key = page->line[s / LDU_LANES].key[s % LDU_LANES];
		keys[s] = s < page->count ? key : LDB_KEY_MAX;
	}
	for (unsigned s = 0; s < page->count; s++) {
		unsigned less = 0;
		for (unsigned t = 0; t < LDU_SLOTS; t++)
			less += keys[t] < keys[s];
		rank[s] = (uint8_t)less;
	}
#endif
}

/* The slot of the smallest key >= q; LDU_SLOTS: there is none. */
static unsigned least_from(const ldu_page *page, ldb_key q)
{
	ldb_key least = LDB_KEY_MAX;
	unsigned slot = LDU_SLOTS;
	for (unsigned s = 0; s < page->count; s++) {
		const ldb_key key = page->line[s / LDU_LANES].key[s % LDU_LANES];
		const bool better = key >= q && key <= least;
		slot = better ? s : slot;
		least = better ? key : least;
	}
	return slot;
}

/* --- lower bound ------------------------------------------------------------------------------ */

typedef struct {
	const ldu *self;
	ldb_key q;
	ldb_val answer;
} seek;

static bool visit_seek(void *context, uint32_t link)
{
	seek *s = context;
	ldu_page *page = ldu_page_at(s->self, link);
	const unsigned slot = least_from(page, s->q);
	if (slot == LDU_SLOTS)
		return true;
	s->answer = *ldu_value(page, slot);
	return false;
}

ldb_val ldu_lower_bound(const ldu *self, const ldu_page *page, ldb_key q)
{
	const unsigned slot = least_from(page, q);
	if (slot < LDU_SLOTS)
		return *ldu_value((ldu_page *)page, slot);
	seek s = {self, q, LDB_NONE};
	ldu_walk(self, q, visit_seek, &s);
	return s.answer;
}

/* --- scan ------------------------------------------------------------------------------------- */

typedef struct {
	const ldu *self;
	ldb_key q;
	uint32_t left;
	bool inside; /* behind the first page all keys are > q */
	ldb_val sum;
} scan;

/* The sum of the values whose keys have rank [from, to) in the page. */
static ldb_val sum_ranks(const ldu_page *page, unsigned from, unsigned to)
{
	uint8_t rank[LDU_SLOTS];
	ldb_val sum = 0;
	ldu_rank(page, rank);
	for (unsigned s = 0; s < page->count; s++) {
		const bool counts = rank[s] >= from && rank[s] < to;
		sum += counts ? page->line[s / LDU_LANES].value[s % LDU_LANES] : 0;
	}
	return sum;
}

static ldb_val sum_all(const ldu_page *page)
{
	ldb_val sum = 0;
	for (unsigned s = 0; s < page->count; s++)
		sum += page->line[s / LDU_LANES].value[s % LDU_LANES];
	return sum;
}

static bool visit_scan(void *context, uint32_t link)
{
	scan *s = context;
	const ldu_page *page = ldu_page_at(s->self, link);
	unsigned less = 0; /* keys before the scan begins */
	for (unsigned i = 0; !s->inside && i < page->count; i++)
		less += page->line[i / LDU_LANES].key[i % LDU_LANES] < s->q;
	const unsigned rest = page->count - less;
	const unsigned taken = rest < s->left ? rest : s->left;
	s->sum += taken == page->count ? sum_all(page) : sum_ranks(page, less, less + taken);
	s->left -= taken;
	s->inside = true;
	return s->left > 0;
}

ldb_val ldu_scan(const ldu *self, ldb_key q, uint32_t length)
{
	scan s = {.self = self, .q = q, .left = length};
	if (length)
		ldu_walk(self, q, visit_scan, &s);
	return s.sum;
}
