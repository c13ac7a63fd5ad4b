/*
 * Nodes under optimistic lock coupling.
 *
 * After Leis, Haubenschild, Neumann: Optimistic Lock Coupling: A Scalable and Efficient
 * General-Purpose Synchronization Method (IEEE Data Engineering Bulletin 42, 2019), and Leis,
 * Scheibner, Kemper, Neumann: The ART of Practical Synchronization (DaMoN 2016).
 *
 * Each node has a version, odd while a writer is in it. A reader writes nothing: it notes a node's
 * version, reads, and looks whether the version is still the same; when not, all it read is void
 * and it starts again. An address is followed only after that. When it has noted the child's
 * version it looks at the parent's once more: so the child was the right one when its version was
 * noted. A writer reads its way down in the same manner and locks only what it changes, by setting
 * the version that it noted to the next odd one; if that fails, someone was faster.
 *
 * Nodes that merge are used again, for whatever; their version goes on. Whoever still holds an
 * address from before finds the node that it came from changed, and turns back. Memory is given
 * back only when the tree is destroyed: so no reader needs to be waited for.
 *
 * Layout and bounds are those of indexes/btree, but with 15 slots: the version stands before the
 * keys, in the same cache line, and behind a leaf's values the next leaf's address.
 */
#ifndef OLC_H
#define OLC_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "ldb/index.h"
#include "ldb/simd.h"

enum {
	FANOUT = 15,
	NEXT = FANOUT, /* a leaf's last word: the address of the next one, 0 where there is none */
	LOW = 5,       /* a deletion that leaves fewer merges nodes or evens them out */
};
#define UNUSED LDB_NONE

typedef struct {
	_Atomic uint64_t version;
	uint64_t key[FANOUT];
	uint64_t word[FANOUT +
		      1]; /* values, or children's addresses, unused ones behind; see NEXT */
} node;

_Static_assert(sizeof(node) == 4 * 64, "whole cache lines");

typedef struct chunk {
	struct chunk *next;
	size_t count; /* nodes that follow, the first one where this node ends */
} chunk;

typedef struct {
	node *root;              /* always the same node: it changes under its own lock */
	_Atomic uint32_t levels; /* of inner nodes; changes under the root's lock */
	uint32_t ahead;          /* operations whose nodes are fetched together */
	atomic_bool updated;     /* since the bulk load */
	pthread_mutex_t memory;  /* guards all that follows */
	chunk *chunks;
	node *free;  /* linked by their last words */
	node *fresh; /* the nodes of the newest chunk that have not been used yet */
	size_t free_count, fresh_count, node_count, bytes;
} btree_olc;

/* --- slots -------------------------------------------------------------------------------------
 */

/*
 * Slots are read while others may write them; what was read counts only if the version says that
 * none did. For that the compiler need only take each word as it is in memory, once.
 * ThreadSanitizer wants to see atomic operations.
 */
static inline uint64_t load(const uint64_t *slot)
{
	return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

static inline void store(uint64_t *slot, uint64_t value)
{
	__atomic_store_n(slot, value, __ATOMIC_RELAXED);
}

/* How many keys are < q: from 0 to FANOUT, even when they change meanwhile. So a wrong word may be
 * read in the end, but nothing outside of the node. */
static inline unsigned count_less(const node *at, ldb_key q)
{
	unsigned count = 0;
#ifdef __SANITIZE_THREAD__
	for (unsigned i = 0; i < FANOUT; i++)
		count += load(&at->key[i]) < q;
#elif defined(__AVX512F__)
	const __m512i x = _mm512_set1_epi64((long long)q);
	const unsigned low = _mm512_mask_cmplt_epu64_mask(0xfe, _mm512_loadu_si512(at), x);
	const unsigned high = _mm512_cmplt_epu64_mask(_mm512_loadu_si512(at->key + 7), x);
	count = (unsigned)__builtin_popcount(low | high << 8);
#else
	count = ldb_count_less8(at->key, q) + ldb_count_less8(at->key + 7, q);
	count -= at->key[7] < q; /* counted twice */
	count = count > FANOUT ? FANOUT : count;
#endif
	return count;
}

static inline node *to_node(uint64_t word)
{
	return (node *)(uintptr_t)word;
}

static inline bool is_full(const node *at)
{
	return load(&at->word[FANOUT - 1]) != UNUSED;
}

static inline bool is_low(const node *at)
{
	return load(&at->word[LOW - 1]) == UNUSED;
}

static inline void fetch_node(const node *at)
{
	__builtin_prefetch(at);
	__builtin_prefetch(at->key + 7);
	__builtin_prefetch(at->word);
	__builtin_prefetch(at->word + 8);
}

/* --- versions ----------------------------------------------------------------------------------
 */

static inline void relax(unsigned *spins)
{
	if (++*spins % 64 == 0)
		sched_yield(); /* who holds the lock may wait for this processor */
#if defined(__x86_64__)
	else
		__builtin_ia32_pause();
#endif
}

/* Notes the version, as soon as no one writes. */
static inline uint64_t note(const node *at)
{
	uint64_t version;
	for (unsigned spins = 0;
	     (version = atomic_load_explicit(&at->version, memory_order_acquire)) & 1;)
		relax(&spins);
	return version;
}

/* Is what was read since then valid? */
static inline bool still(const node *at, uint64_t version)
{
#ifndef __SANITIZE_THREAD__ /* which does not know fences */
	atomic_thread_fence(memory_order_acquire);
#endif
	return atomic_load_explicit(&at->version, memory_order_acquire) == version;
}

/* Locks the node if nothing has changed since its version was noted. */
static inline bool lock(node *at, uint64_t version)
{
	if (!atomic_compare_exchange_strong_explicit(&at->version, &version, version + 1,
						     memory_order_acquire, memory_order_relaxed))
		return false;
#ifndef __SANITIZE_THREAD__
	atomic_thread_fence(memory_order_release); /* no write is seen before the lock */
#endif
	return true;
}

static inline void unlock(node *at)
{
	const uint64_t version = atomic_load_explicit(&at->version, memory_order_relaxed);
	atomic_store_explicit(&at->version, version + 1, memory_order_release);
}

/* --- the descent -------------------------------------------------------------------------------
 */

/* Where a descent has come to: a node, the version noted, and the same of its parent. */
typedef struct {
	node *at, *parent; /* parent: NULL at the root */
	uint64_t version, parent_version;
	unsigned slot;  /* of the parent, that was followed */
	uint32_t level; /* 0: at a leaf */
} place;

static inline place start_at_root(const btree_olc *self)
{
	place p = {.at = self->root, .version = note(self->root)};
	p.level = atomic_load_explicit(&self->levels, memory_order_relaxed);
	return p;
}

/* Goes to the child for q; false: start again. */
static inline bool go_down(place *p, ldb_key q)
{
	const unsigned slot = count_less(p->at, q);
	const uint64_t word = load(&p->at->word[slot]);
	if (!still(p->at, p->version))
		return false;
	p->parent = p->at;
	p->parent_version = p->version;
	p->slot = slot;
	p->at = to_node(word);
	p->version = note(p->at);
	p->level--;
	return still(p->parent, p->parent_version);
}

static inline place find_leaf(const btree_olc *self, ldb_key q)
{
	for (;;) {
		place p = start_at_root(self);
		bool good = true;
		while (good && p.level > 0) {
			__builtin_prefetch(p.at->word);
			__builtin_prefetch(p.at->word + 8);
			good = go_down(&p, q);
		}
		if (good)
			return p;
	}
}

/*
 * Takes descents that have started at the same root one level down, together: each round waits once
 * for memory. A child's version is noted when the lines of all have been asked for. One that would
 * have to start again is lost and goes no further.
 */
static inline void go_down_together(place *p, const ldb_key *q, size_t count, bool *lost)
{
	for (size_t i = 0; i < count; i++) {
		if (lost[i])
			continue;
		const uint64_t word = load(&p[i].at->word[count_less(p[i].at, q[i])]);
		lost[i] = !still(p[i].at, p[i].version);
		if (lost[i])
			continue;
		p[i].parent = p[i].at;
		p[i].parent_version = p[i].version;
		p[i].at = to_node(word);
		fetch_node(p[i].at);
	}
	for (size_t i = 0; i < count; i++) {
		if (lost[i])
			continue;
		p[i].version = note(p[i].at);
		lost[i] = !still(p[i].parent, p[i].parent_version);
	}
}

/* nodes.c: where nodes come from. */

/* One or two nodes, or none: false when there is no memory. */
bool olc_take_nodes(btree_olc *self, node *taken[2], unsigned count);
/* A locked node that nothing leads to any more: unlocks it, too. */
void olc_give_node(btree_olc *self, node *gone);
node *olc_new_chunk(btree_olc *self, size_t count); /* NULL when there is no memory */
bool olc_owns(const btree_olc *self, const node *p);
void olc_free_chunks(btree_olc *self);

/* update.c */
size_t olc_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err);
/* The sum of the values of the next keys from q on, `length` at most; *count: how many they are. */
ldb_val olc_scan(const btree_olc *self, ldb_key q, uint32_t length, uint32_t *count);

/* validate.c */
ldb_status olc_validate(const void *self, ldb_error *err);

#endif
