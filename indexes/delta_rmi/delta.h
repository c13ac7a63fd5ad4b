/*
 * A delta: what was written to a region since its runs were laid out. A B+-tree that one writer at
 * a time changes under the region's lock, while any number of readers go down it without one.
 *
 * Nodes are never reordered. Entries stay in their slots in the order in which they came, and one
 * word, `order`, says how many they are and how they sort (the permutation of Mao, Kohler, Morris:
 * "Cache Craftiness for Fast Multicore Key-Value Storage", EuroSys 2012, section 4.6.2). Storing
 * that word adds an entry; a reader that has loaded it sees a node that no longer changes, but for
 * values and children, which are words of their own. A full node is replaced by two new ones and
 * freed when no reader can be in it.
 *
 * An entry whose value is LDB_NONE is a tombstone: the key was deleted.
 */
#ifndef DELTA_RMI_DELTA_H
#define DELTA_RMI_DELTA_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/simd.h"

/* What waits to be freed; the first word of the list that it is in. */
typedef struct garbage {
	struct garbage *next;
} garbage;

#define NODE_SLOTS 14

typedef struct node node;
struct node {
	ldb_key key[NODE_SLOTS]; /* by slot; an inner node's least key stands for anything less */
	_Atomic uint64_t order;  /* bits 0..3: how many; then 4 bits for the slot of each rank */
	garbage link;
	_Atomic uint64_t slot[NODE_SLOTS]; /* values; in an inner node its children */
	uint32_t level;                    /* 0: entries */
	uint32_t owners; /* of a root: regions that have this delta as their frozen one */
	uint64_t unused;
};
_Static_assert(sizeof(node) == 4 * 64, "four cache lines, the first two for the search");

static inline unsigned order_count(uint64_t order)
{
	return (unsigned)(order & 15);
}

static inline unsigned order_slot(uint64_t order, unsigned rank)
{
	return (unsigned)(order >> (4 + 4 * rank)) & 15;
}

/* Slots 0..count-1 of the node in which keys are less than q, or equal to it, as a bit each. Slots
 * that a writer may be filling are not read. */
static inline unsigned node_less(const node *n, unsigned count, ldb_key q)
{
#if defined(__AVX512F__)
	const unsigned valid = (1u << count) - 1;
	const __m512i x = _mm512_set1_epi64((long long)q);
	const __mmask8 low = (__mmask8)valid, high = (__mmask8)(valid >> 8);
	const __m512i a = _mm512_maskz_loadu_epi64(low, n->key);
	const __m512i b = _mm512_maskz_loadu_epi64(high, n->key + 8);
	return (unsigned)_mm512_mask_cmplt_epu64_mask(low, a, x) |
	       (unsigned)_mm512_mask_cmplt_epu64_mask(high, b, x) << 8;
#else
	unsigned bits = 0;
	for (unsigned i = 0; i < count; i++)
		bits |= (unsigned)(n->key[i] < q) << i;
	return bits;
#endif
}

static inline unsigned node_equal(const node *n, unsigned count, ldb_key q)
{
#if defined(__AVX512F__)
	const unsigned valid = (1u << count) - 1;
	const __m512i x = _mm512_set1_epi64((long long)q);
	const __mmask8 low = (__mmask8)valid, high = (__mmask8)(valid >> 8);
	const __m512i a = _mm512_maskz_loadu_epi64(low, n->key);
	const __m512i b = _mm512_maskz_loadu_epi64(high, n->key + 8);
	return (unsigned)_mm512_mask_cmpeq_epu64_mask(low, a, x) |
	       (unsigned)_mm512_mask_cmpeq_epu64_mask(high, b, x) << 8;
#else
	unsigned bits = 0;
	for (unsigned i = 0; i < count; i++)
		bits |= (unsigned)(n->key[i] == q) << i;
	return bits;
#endif
}

/* The rank of the child that q belongs to. */
static inline unsigned node_child_rank(const node *n, uint64_t order, ldb_key q)
{
	const unsigned count = order_count(order);
	if (q == LDB_KEY_MAX)
		return count - 1;
	const unsigned at_most = (unsigned)__builtin_popcount(node_less(n, count, q + 1));
	return at_most ? at_most - 1 : 0;
}

static inline node *node_child(const node *n, uint64_t order, unsigned rank)
{
	return (node *)(uintptr_t)atomic_load_explicit(&n->slot[order_slot(order, rank)],
						       memory_order_acquire);
}

/*
 * One step down; *bound, where asked for, becomes the last key that the child is for. A split first
 * adds the new right node to `order` and then puts the new left one in the old one's place. Whoever
 * finds the latter must know of the former: an `order` that has changed is read again. So this
 * never waits for a writer, it only follows one that has gone on.
 */
static inline const node *node_step(const node *n, ldb_key q, ldb_key *bound)
{
	uint64_t order = atomic_load_explicit(&n->order, memory_order_acquire);
	for (;;) {
		const unsigned rank = node_child_rank(n, order, q);
		const node *child = node_child(n, order, rank);
		const uint64_t again = atomic_load_explicit(&n->order, memory_order_acquire);
		if (again == order) {
			if (bound && rank + 1 < order_count(order))
				*bound = n->key[order_slot(order, rank + 1)] - 1;
			return child;
		}
		order = again;
	}
}

/* Where the value of q is; NULL: not in the delta, whose root is not NULL. */
static inline _Atomic uint64_t *delta_find(const node *root, ldb_key q)
{
	const node *leaf = root;
	while (leaf->level)
		leaf = node_step(leaf, q, NULL);
	const uint64_t order = atomic_load_explicit(&leaf->order, memory_order_acquire);
	const unsigned found = node_equal(leaf, order_count(order), q);
	return found ? (_Atomic uint64_t *)&leaf->slot[__builtin_ctz(found)] : NULL;
}

/* Goes over a delta in order. */
typedef struct {
	const node *root, *leaf; /* leaf NULL: at the end */
	uint64_t order;          /* of the leaf, as it was when it was reached */
	unsigned rank;
	ldb_key bound; /* the last key that the leaf is for */
	ldb_key key;   /* where the cursor is, and its value */
	ldb_val value;
} delta_cursor;

/* To the first entry >= q; root NULL: at the end. */
void delta_seek(delta_cursor *cursor, const node *root, ldb_key q);
void delta_next(delta_cursor *cursor);

struct delta_rmi;
/* Adds a key that the delta, which may be empty, does not have. Under the region's lock. False: no
 * memory, and nothing has changed. */
bool delta_insert(struct delta_rmi *self, _Atomic(node *) *root, ldb_key key, ldb_val value);
/* Frees all nodes below and with the root, which no reader can have. */
void delta_free(struct delta_rmi *self, node *root);
/* Is every node in order, and within [from, last]? */
bool delta_is_valid(const node *root, ldb_key from, ldb_key last);

#endif
