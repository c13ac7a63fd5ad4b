/*
 * LIPP, an updatable learned index in which every key is at exactly the place its model predicts:
 * Wu, Zhang, Chen, Chen, Wang, Xing, "Updatable Learned Index with Precise Positions", VLDB 2021.
 *
 * A node is a line from keys to slots. A slot is empty, or has one entry, or leads to a child that
 * has all keys whose predictions fall on it. So a query reads one slot per level and searches
 * nowhere. Keys of a child lie in key order between those of the slots around it.
 *
 *     line   [ . | 3 a | . | child | 9 d | . | 12 e | . ]
 *                              |
 *                      line  [ . | 5 b | . | 6 c ]
 *
 * What a slot is needs no bits of its own. Its key field has either a key that is predicted to be
 * there, or one that never is: 0, in slot 0 the largest key. Such a slot is empty if its value is
 * LDB_NONE, which no entry has; else the value is the child's address.
 *
 * The paper's lines are computed in doubles; here they are in integers (ldb/line.h), so that any
 * two keys, however close, can be told apart.
 */
#ifndef LDB_LIPP_H
#define LDB_LIPP_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/line.h"

/* Slots of a block: nodes have a bit for each block that may have entries, to pass over the rest.
 */
enum { LIPP_BLOCK = 64 };

typedef struct {
	ldb_key key;
	ldb_val value;
} lipp_slot;

typedef struct {
	ldb_key base;
	uint64_t slope;
	uint32_t last; /* slot */
	uint8_t shift;
	size_t keys;      /* here and below */
	size_t built;     /* keys when it was made */
	size_t conflicts; /* inserts since then that had to make a child, here or below */
} __attribute__((aligned(64))) lipp_node;

typedef struct {
	lipp_node *root;
	size_t bytes;
	double slots_per_key;
} lipp;

static inline lipp_slot *lipp_slots(const lipp_node *node)
{
	return (lipp_slot *)(node + 1);
}

static inline size_t lipp_predict(const lipp_node *node, ldb_key q)
{
	return ldb_line_slot(q, node->base, node->slope, node->shift, node->last);
}

/* The key that is never predicted to be in a slot: 0 is always in slot 0, the largest key never. */
static inline ldb_key lipp_mark(size_t slot)
{
	return slot ? 0 : LDB_KEY_MAX;
}

static inline bool lipp_has_entry(const lipp_slot *s, size_t slot)
{
	return s->key != lipp_mark(slot);
}

static inline bool lipp_is_child(const lipp_slot *s, size_t slot)
{
	return s->key == lipp_mark(slot) && s->value != LDB_NONE;
}

static inline lipp_node *lipp_child(const lipp_slot *s)
{
	return (lipp_node *)(uintptr_t)s->value;
}

static inline uint64_t *lipp_blocks(const lipp_node *node)
{
	return (uint64_t *)(lipp_slots(node) + node->last + 1);
}

static inline size_t lipp_block_words(size_t slots)
{
	return slots / (LIPP_BLOCK * 64) + 1;
}

static inline size_t lipp_node_bytes(const lipp_node *node)
{
	const size_t slots = (size_t)node->last + 1;
	return sizeof *node + slots * sizeof(lipp_slot) + lipp_block_words(slots) * 8;
}

/* --- tree.c ----------------------------------------------------------------------------------- */

/* A node over sorted distinct keys; without values they are 0, 1, 2 ... NULL: no memory. */
lipp_node *lipp_make(lipp *self, const ldb_key *keys, const ldb_val *values, size_t n);
void lipp_free(lipp *self, lipp_node *node);
/* The first slot from `slot` on that isn't empty; last + 1 where there is none. */
size_t lipp_next(const lipp_node *node, size_t slot);

/* false: no memory, and nothing has changed. */
bool lipp_put(lipp *self, ldb_key key, ldb_val value);
void lipp_delete(lipp *self, ldb_key key);

#endif
