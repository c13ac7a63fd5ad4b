/*
 * Distributing elements to buckets: a bucket is a chain of blocks, and an element is stored where
 * the last block of its bucket ends, without a copy in between. The cache combines these writes:
 * each store asks for the line behind it, so that no store waits for memory, and there are so few
 * buckets that two lines of each fit into the second-level cache.
 *
 * Chains begin at different places of their blocks: buckets fill at the same pace, and their ends
 * would otherwise be in the same few sets of the cache.
 *
 * Blocks come in slabs that are small enough for the allocator's pool, which keeps them: large
 * mappings would be given back to the system, and filled with zeros anew for the next sort.
 */
#include "model.h"

/* With one block more than is used: blocks are aligned to their size. */
enum { SLAB_BYTES = 112 * LS_BLOCK_BYTES, SLAB_BLOCKS = 111 };
enum { BLOCK_WORDS = LS_BLOCK_BYTES / 8, LINE_WORDS = 8, NEXT_LINE = 4 };

static bool make_slabs(ls_chains *self)
{
	const size_t slabs = (self->blocks + SLAB_BLOCKS - 1) / SLAB_BLOCKS;
	for (; self->slabs < slabs; self->slabs++) {
		self->slab[self->slabs] = ldb_alloc(SLAB_BYTES);
		if (!self->slab[self->slabs])
			return false;
	}
	return true;
}

static uint64_t *block_of(const ls_chains *self, size_t number)
{
	const uintptr_t slab = (uintptr_t)self->slab[number / SLAB_BLOCKS];
	const uintptr_t first = (slab + LS_BLOCK_BYTES - 1) & ~(uintptr_t)(LS_BLOCK_BYTES - 1);
	return (uint64_t *)(first + number % SLAB_BLOCKS * LS_BLOCK_BYTES);
}

/* Where in its first block a chain begins. */
static size_t stagger(size_t bucket)
{
	return bucket * 5 * LINE_WORDS % BLOCK_WORDS;
}

bool ls_chains_make(ls_chains *self, size_t n, size_t words, size_t buckets)
{
	*self = (ls_chains){.buckets = buckets, .blocks = n * words / BLOCK_WORDS + 2 * buckets};
	const size_t end_bytes = ls_round(buckets * sizeof *self->end),
		     chain_bytes = ls_round(buckets * sizeof *self->chain),
		     next_bytes = ls_round(self->blocks * sizeof *self->next);
	self->bytes = end_bytes + chain_bytes + next_bytes +
		      (self->blocks / SLAB_BLOCKS + 1) * sizeof *self->slab;
	char *all = self->all = ldb_alloc(self->bytes);
	if (!all)
		return false;
	self->end = (uint64_t **)(void *)all;
	self->chain = (ls_chain *)(void *)(all + end_bytes);
	self->next = (uint32_t *)(void *)(all + end_bytes + chain_bytes);
	self->slab = (uint64_t **)(void *)(all + end_bytes + chain_bytes + next_bytes);
	if (!make_slabs(self))
		return false;
	for (size_t b = 0; b < buckets; b++) {
		self->chain[b] = (ls_chain){(uint32_t)b, (uint32_t)b, 1};
		self->end[b] = block_of(self, b) + stagger(b);
	}
	self->used = buckets;
	return true;
}

void ls_chains_free(ls_chains *self)
{
	for (size_t s = 0; s < self->slabs; s++)
		ldb_free(self->slab[s], SLAB_BYTES);
	ldb_free(self->all, self->bytes);
	*self = (ls_chains){0};
}

static __attribute__((noinline)) uint64_t *add_block(ls_chains *self, size_t bucket)
{
	ls_chain *chain = self->chain + bucket;
	const uint32_t number = (uint32_t)self->used++;
	self->next[chain->last] = number;
	chain->last = number;
	chain->blocks++;
	return block_of(self, number);
}

LS_INLINE void add(ls_chains *self, const uint64_t *elements, const size_t words, size_t n,
		   const uint16_t *numbers)
{
	uint64_t **ends = self->end;
	for (size_t i = 0; i < n; i++) {
		uint64_t *end = ends[numbers[i]];
		for (size_t w = 0; w < words; w++)
			end[w] = elements[i * words + w];
		end += words;
		__builtin_prefetch(end + NEXT_LINE, 1, 3);
		if (__builtin_expect((uintptr_t)end % LS_BLOCK_BYTES == 0, 0))
			end = add_block(self, numbers[i]);
		ends[numbers[i]] = end;
	}
}

LS_INLINE void distribute(ls_chains *self, const ls_model *model, const uint64_t *elements,
			  const size_t words, size_t n)
{
	enum { GROUP = 128 };
	uint16_t numbers[GROUP];
	const ls_model m = *model;
	for (size_t i = 0; i < n; i += GROUP) {
		const size_t count = n - i < GROUP ? n - i : GROUP;
		for (size_t k = 0; k < GROUP * words; k += LINE_WORDS)
			__builtin_prefetch(elements + i * words + k + LS_PAGE_WORDS);
		ls_model_apply(&m, elements + i * words, words, count, numbers);
		add(self, elements + i * words, words, count, numbers);
	}
}

LS_PREFETCHES void ls_chains_add(ls_chains *self, const ls_model *model, const uint64_t *elements,
				 size_t words, size_t n)
{
	if (words == 1)
		distribute(self, model, elements, 1, n);
	else
		distribute(self, model, elements, 2, n);
}

size_t ls_chains_count(const ls_chains *self, size_t words, size_t bucket)
{
	const ls_chain *chain = self->chain + bucket;
	const size_t last = (size_t)(self->end[bucket] - block_of(self, chain->last));
	return ((chain->blocks - 1) * BLOCK_WORDS + last - stagger(bucket)) / words;
}

size_t ls_chains_pieces(const ls_chains *self, size_t words, size_t bucket, ls_piece *out)
{
	const ls_chain *chain = self->chain + bucket;
	size_t pieces = 0, from = stagger(bucket);
	for (uint32_t block = chain->first; block != chain->last; block = self->next[block]) {
		out[pieces++] =
			(ls_piece){block_of(self, block) + from, (BLOCK_WORDS - from) / words};
		from = 0;
	}
	const uint64_t *last = block_of(self, chain->last) + from;
	out[pieces++] = (ls_piece){last, (size_t)(self->end[bucket] - last) / words};
	return pieces;
}
