/*
 * Leaves of pairs: sorted as keys are, without moving payloads until the end.
 *
 * A word takes the place of each pair: the distance of its key from the smallest, cut to the bits
 * there are, and behind it the pair's position. The words are sorted by the same code as keys, and
 * each pair is then copied once. Equal keys keep their order, because positions ascend. Keys that
 * were cut to equal words are sorted again, run by run; they have at most half of the bits left.
 */
#include "learned_sort.h"

enum { WORD_BITS = 62, FEW = 24 };

/* The parts of the room: pairs in order of arrival, words, sorted words, room to sort them. */
size_t ls_pairs_room(size_t n)
{
	return 5 * n;
}

static void insertion_sort(ldb_pair *pairs, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		const ldb_pair pair = pairs[i];
		size_t at = i;
		for (; at > 0 && pairs[at - 1].key > pair.key; at--)
			pairs[at] = pairs[at - 1];
		pairs[at] = pair;
	}
}

static unsigned bits_of(uint64_t x)
{
	return x ? 64 - (unsigned)__builtin_clzll(x) : 0;
}

/* Sorts n words of n < 2^position_bits pairs; where they are then. */
static const uint64_t *sort_words(const ldb_pair *pairs, size_t n, ldb_key lo, unsigned shift,
				  unsigned position_bits, uint64_t *room)
{
	uint64_t *words = room, *sorted = room + n, *rest = room + 2 * n;
	for (size_t i = 0; i < n; i++)
		words[i] = (pairs[i].key - lo) >> shift << position_bits | i;
	const ls_piece piece = {words, n};
	ls_ahead nothing = {0};
	ls_leaf_pieces(&piece, 1, n, rest, sorted, &nothing);
	return sorted;
}

static void sort_run(ldb_pair *pairs, size_t n, uint64_t *room)
{
	const ls_piece piece = {(const uint64_t *)pairs, n};
	if (n <= FEW)
		insertion_sort(pairs, n);
	else
		ls_pairs_pieces(&piece, 1, n, room, (uint64_t *)pairs);
}

void ls_pairs_pieces(const ls_piece *pieces, size_t count, size_t n, uint64_t *room, uint64_t *out)
{
	ldb_pair *pairs = (ldb_pair *)(void *)room, *to = (ldb_pair *)(void *)out;
	ldb_key lo = LDB_KEY_MAX, hi = 0;
	for (size_t p = 0, at = 0; p < count; at += pieces[p++].count) {
		memcpy(pairs + at, pieces[p].data, pieces[p].count * sizeof *pairs);
		for (size_t i = at; i < at + pieces[p].count; i++) {
			lo = pairs[i].key < lo ? pairs[i].key : lo;
			hi = pairs[i].key > hi ? pairs[i].key : hi;
		}
	}
	const unsigned position_bits = bits_of(n), range_bits = bits_of(hi - lo);
	const unsigned shift =
		range_bits + position_bits > WORD_BITS ? range_bits + position_bits - WORD_BITS : 0;
	const uint64_t *sorted = sort_words(pairs, n, lo, shift, position_bits, room + 2 * n);
	const uint64_t mask = ((uint64_t)1 << position_bits) - 1;
	for (size_t i = 0; i < n; i++)
		to[i] = pairs[sorted[i] & mask];
	if (shift == 0)
		return;
	for (size_t i = 0, end; i < n; i = end) {
		const uint64_t word = (to[i].key - lo) >> shift;
		for (end = i + 1; end < n && (to[end].key - lo) >> shift == word; end++)
			;
		if (end - i > 1)
			sort_run(to + i, end - i, room);
	}
}
