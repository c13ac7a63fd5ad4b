/*
 * Distributing elements to buckets: each bucket has a line in the cache, and a full line goes to
 * the bucket's block in memory with a store that doesn't read it first (write combining).
 *
 * How many elements a line holds is written in its own last word, which is the last to be filled:
 * so an element touches one line of the cache and no other (as in the radix joins of Balkesen,
 * Teubner, Alonso, Ozsu, ICDE 2013).
 *
 * Blocks come in slabs that are small enough for the allocator's pool, which keeps them: large
 * mappings would be given back to the system, and filled with zeros anew for the next sort.
 */
#include "model.h"

static const size_t SLAB_BYTES = LS_SLAB_BLOCKS * LS_BLOCK_WORDS * sizeof(uint64_t);

enum { BLOCK_LINES = LS_BLOCK_WORDS / 8 };

static size_t block_elements(size_t words)
{
	return LS_BLOCK_WORDS / words;
}

static bool make_slabs(ls_chains *self)
{
	const size_t slabs = (self->blocks + LS_SLAB_BLOCKS - 1) / LS_SLAB_BLOCKS;
	for (; self->slabs < slabs; self->slabs++) {
		self->slab[self->slabs] = ldb_alloc(SLAB_BYTES);
		if (!self->slab[self->slabs])
			return false;
	}
	return true;
}

bool ls_chains_make(ls_chains *self, size_t n, size_t words, size_t buckets)
{
	*self = (ls_chains){.buckets = buckets, .blocks = n / block_elements(words) + buckets};
	const size_t line_bytes = ls_round(buckets * LS_LINE * words * sizeof *self->lines),
		     bucket_bytes = ls_round(buckets * sizeof *self->bucket),
		     next_bytes = ls_round(self->blocks * sizeof *self->next);
	self->bytes = line_bytes + bucket_bytes + next_bytes +
		      (self->blocks / LS_SLAB_BLOCKS + 1) * sizeof *self->slab;
	char *all = self->all = ldb_alloc(self->bytes);
	if (!all)
		return false;
	self->lines = self->all;
	self->bucket = (ls_bucket *)(void *)(all + line_bytes);
	self->next = (uint32_t *)(void *)(all + line_bytes + bucket_bytes);
	self->slab = (uint64_t **)(void *)(all + line_bytes + bucket_bytes + next_bytes);
	for (size_t b = 0; b < buckets; b++) {
		self->bucket[b] = (ls_bucket){0};
		self->lines[(b + 1) * LS_LINE * words - 1] = 0;
	}
	return make_slabs(self);
}

void ls_chains_free(ls_chains *self)
{
	for (size_t s = 0; s < self->slabs; s++)
		ldb_free(self->slab[s], SLAB_BYTES);
	ldb_free(self->all, self->bytes);
	*self = (ls_chains){0};
}

static uint64_t *block_of(const ls_chains *self, uint32_t number)
{
	return self->slab[number / LS_SLAB_BLOCKS] + number % LS_SLAB_BLOCKS * LS_BLOCK_WORDS;
}

static void add_block(ls_chains *self, ls_bucket *bucket)
{
	const uint32_t number = (uint32_t)self->used++;
	if (bucket->lines)
		self->next[bucket->last] = number;
	else
		bucket->first = number;
	bucket->last = number;
	bucket->block = block_of(self, number);
}

LS_INLINE void write_line(ls_chains *self, const uint64_t *line, size_t words, size_t number)
{
	ls_bucket *bucket = self->bucket + number;
	const size_t at = bucket->lines * LS_LINE * words % LS_BLOCK_WORDS;
	if (at == 0)
		add_block(self, bucket);
	bucket->lines++;
#if LS_AVX512
	for (size_t w = 0; w < words; w++)
		_mm512_stream_si512((void *)(bucket->block + at + w * LS_LINE),
				    _mm512_load_si512(line + w * LS_LINE));
#else
	memcpy(bucket->block + at, line, LS_LINE * words * sizeof *line);
#endif
}

LS_INLINE void add(ls_chains *self, const uint64_t *elements, const size_t words, size_t n,
		   const uint16_t *numbers)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t *line = self->lines + numbers[i] * LS_LINE * words;
		uint64_t *held = line + LS_LINE * words - 1;
		const uint64_t at = *held;
		*held = at + 1;
		for (size_t w = 0; w < words; w++)
			line[at * words + w] = elements[i * words + w];
		if (at == LS_LINE - 1) {
			write_line(self, line, words, numbers[i]);
			*held = 0;
		}
	}
}

LS_INLINE void number(const ls_model *model, const ls_heavy *heavy, const uint64_t *elements,
		      const size_t words, size_t n, uint16_t *numbers)
{
	ls_model_apply(model, elements, words, n, numbers);
	if (heavy)
		ls_heavy_number(heavy, elements, n, model->buckets, numbers);
}

/* The bucket numbers of the next elements are found while those before are distributed: whether a
 * line is full can't be foretold, and the model fills the time that a wrong guess costs. */
LS_INLINE void distribute(ls_chains *self, const ls_model *model, const ls_heavy *heavy,
			  const uint64_t *elements, const size_t words, size_t n)
{
	enum { GROUP = 16 };
	uint16_t numbers[2][GROUP];
	const ls_model m = *model;
	const size_t whole = n / GROUP * GROUP;
	if (whole)
		number(&m, heavy, elements, words, GROUP, numbers[0]);
	for (size_t i = 0; i < whole; i += GROUP) {
		const uint64_t *next = elements + (i + GROUP) * words;
		if (i + GROUP < whole)
			number(&m, heavy, next, words, GROUP, numbers[(i / GROUP + 1) % 2]);
		add(self, elements + i * words, words, GROUP, numbers[i / GROUP % 2]);
	}
	number(&m, heavy, elements + whole * words, words, n - whole, numbers[0]);
	add(self, elements + whole * words, words, n - whole, numbers[0]);
}

void ls_chains_add(ls_chains *self, const ls_model *model, const ls_heavy *heavy,
		   const uint64_t *elements, size_t words, size_t n)
{
	if (words == 1)
		distribute(self, model, NULL, elements, 1, n);
	else
		distribute(self, model, heavy, elements, 2, n);
}

/* How many elements are in the line of a bucket. Before the chains are closed. */
static size_t held(const ls_chains *self, size_t words, size_t bucket)
{
	return self->lines[(bucket + 1) * LS_LINE * words - 1];
}

void ls_chains_close(ls_chains *self, size_t words)
{
	for (size_t b = 0; b < self->buckets; b++) {
		if (!held(self, words, b))
			continue;
		write_line(self, self->lines + b * LS_LINE * words, words, b);
		self->bucket[b].lines--; /* counts full lines */
	}
#if LS_AVX512
	_mm_sfence(); /* other threads read the blocks */
#endif
}

size_t ls_chains_count(const ls_chains *self, size_t words, size_t bucket)
{
	return self->bucket[bucket].lines * LS_LINE + held(self, words, bucket);
}

size_t ls_chains_pieces(const ls_chains *self, size_t words, size_t bucket, ls_piece *out)
{
	const size_t most = block_elements(words);
	size_t left = ls_chains_count(self, words, bucket), pieces = 0;
	for (uint32_t block = self->bucket[bucket].first; left; block = self->next[block]) {
		const size_t count = left < most ? left : most;
		out[pieces++] = (ls_piece){block_of(self, block), count};
		left -= count;
	}
	return pieces;
}

void ls_chains_prefetch(const ls_chains *self, size_t words, size_t bucket)
{
	const size_t count = ls_chains_count(self, words, bucket);
	size_t left = (count + LS_LINE - 1) / LS_LINE * words; /* lines of memory */
	for (uint32_t block = self->bucket[bucket].first; left; block = self->next[block]) {
		const uint64_t *at = block_of(self, block);
		const size_t lines = left < BLOCK_LINES ? left : BLOCK_LINES;
		for (size_t i = 0; i < lines; i++)
			__builtin_prefetch(at + i * 8, 0, 2);
		left -= lines;
	}
}
