/*
 * Heavy keys: those that the sample has so often that they would fill a bucket or more. They need
 * no sorting, only counting. A hash table without chains finds them: one gather for eight keys.
 */
#include "learned_sort.h"

LS_INLINE size_t slot_of(uint64_t multiplier, ldb_key key)
{
	return key * multiplier >> (64 - LS_SLOT_BITS);
}

size_t ls_heavy_slot(const ls_heavy *self, ldb_key key)
{
	return slot_of(self->multiplier, key);
}

/* Lists the keys that the sorted sample has at least `least` times, and returns how many samples
 * they are; SIZE_MAX when there are too many. */
static size_t list_runs(ls_heavy *self, const ldb_key *sample, size_t n, size_t least)
{
	size_t mass = 0;
	self->count = 0;
	for (size_t i = 0, from = 0; i < n; from = i) {
		while (i < n && sample[i] == sample[from])
			i++;
		if (i - from < least)
			continue;
		if (self->count == LS_MOST_HEAVY)
			return SIZE_MAX;
		self->key[self->count++] = sample[from];
		mass += i - from;
	}
	return mass;
}

/* Gives each key its slot and drops those whose slot is taken. Returns how many remain. */
static size_t place(ls_heavy *self, uint64_t multiplier, bool keep)
{
	static const uint32_t FREE = UINT32_MAX;
	size_t kept = 0;
	self->multiplier = multiplier;
	for (size_t s = 0; s < LS_SLOTS; s++)
		self->slot_rank[s] = FREE;
	for (size_t i = 0; i < self->count; i++) {
		const size_t slot = slot_of(multiplier, self->key[i]);
		if (self->slot_rank[slot] != FREE)
			continue;
		self->slot_rank[slot] = (uint32_t)kept;
		self->slot_key[slot] = self->key[i];
		if (keep)
			self->key[kept] = self->key[i];
		kept++;
	}
	if (!keep)
		return kept;
	self->count = kept;
	/* A free slot gets a key that is looked for elsewhere. */
	ldb_key other = self->key[0];
	for (size_t s = 0; s < LS_SLOTS; s++) {
		if (self->slot_rank[s] == FREE)
			self->slot_key[s] = other;
	}
	return kept;
}

/* Takes the listed keys out of the sample. */
static size_t take_out(const ls_heavy *self, ldb_key *sample, size_t n)
{
	size_t left = 0, at = 0;
	for (size_t i = 0; i < n; i++) {
		while (at < self->count && self->key[at] < sample[i])
			at++;
		if (at == self->count || self->key[at] != sample[i])
			sample[left++] = sample[i];
	}
	return left;
}

size_t ls_heavy_find(ls_heavy *self, ldb_key *sample, size_t n, size_t buckets)
{
	static const uint64_t multipliers[] = {0x9e3779b97f4a7c15u, 0xbf58476d1ce4e5b9u,
					       0x94d049bb133111ebu, 0xd6e8feb86659fd93u,
					       0xc2b2ae3d27d4eb4fu, 0xff51afd7ed558ccdu};
	size_t least = n / (2 * buckets) < 4 ? 4 : n / (2 * buckets), mass;
	while ((mass = list_runs(self, sample, n, least)) == SIZE_MAX)
		least *= 2;
	if (mass < n / 16) { /* looking for them would cost more than they do */
		self->count = 0;
		return n;
	}
	size_t best = 0, most = 0;
	for (size_t i = 0; i < sizeof multipliers / sizeof *multipliers; i++) {
		const size_t kept = place(self, multipliers[i], false);
		if (kept > most)
			most = kept, best = i;
	}
	place(self, multipliers[best], true);
	return take_out(self, sample, n);
}

size_t ls_heavy_count(const ls_heavy *self, const ldb_key *keys, size_t n, ldb_key *rest,
		      uint64_t *slot_counts)
{
	uint16_t hit[LS_CHUNK + 8];
	size_t hits = 0, left = 0, i = 0;
#if LS_AVX512
	const __m512i multiplier = _mm512_set1_epi64((long long)self->multiplier);
	for (; i + 8 <= n; i += 8) {
		const __m512i key = _mm512_loadu_si512(keys + i);
		const __m512i slot =
			_mm512_srli_epi64(_mm512_mullo_epi64(key, multiplier), 64 - LS_SLOT_BITS);
		const __mmask8 heavy = _mm512_cmpeq_epi64_mask(
			key, _mm512_i64gather_epi64(slot, self->slot_key, 8));
		const size_t count = (size_t)__builtin_popcount(heavy);
		_mm_storeu_si128((__m128i *)(hit + hits),
				 _mm512_cvtepi64_epi16(_mm512_maskz_compress_epi64(heavy, slot)));
		_mm512_storeu_si512(rest + left,
				    _mm512_maskz_compress_epi64((__mmask8)~heavy, key));
		hits += count;
		left += 8 - count;
	}
#endif
	for (; i < n; i++) {
		const size_t slot = ls_heavy_slot(self, keys[i]);
		const bool heavy = self->slot_key[slot] == keys[i];
		hit[hits] = (uint16_t)slot;
		rest[left] = keys[i];
		hits += heavy;
		left += !heavy;
	}
	for (i = 0; i < hits; i++)
		slot_counts[hit[i]]++;
	return left;
}

void ls_heavy_number(const ls_heavy *self, const uint64_t *pairs, size_t n, size_t first,
		     uint16_t *numbers)
{
	for (size_t i = 0; i < n; i++) {
		const size_t slot = ls_heavy_slot(self, pairs[2 * i]);
		const size_t number = first + self->slot_rank[slot];
		numbers[i] = self->slot_key[slot] == pairs[2 * i] ? (uint16_t)number : numbers[i];
	}
}
