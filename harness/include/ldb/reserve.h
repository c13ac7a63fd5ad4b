/*
 * Nodes for containers of others that can't bear a refused allocation in the middle of a change.
 *
 * A block is put by that is enough for any one change. When ldb_alloc refuses a node, it comes from
 * there, and the change is done. Before the next one there must be a whole block again: if none can
 * be had, that change is refused before it has begun. A node may stay in its block for long; a
 * block is freed with the last node in it.
 */
#ifndef LDB_RESERVE_H
#define LDB_RESERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ldb/alloc.h"

typedef struct ldb_reserve_block {
	struct ldb_reserve_block *next;
	size_t used_bytes, nodes;
} ldb_reserve_block;

typedef struct {
	size_t block_bytes;        /* what any one change needs, to be set at the start */
	size_t held_bytes;         /* from ldb_alloc: nodes and blocks */
	ldb_reserve_block *blocks; /* the first one is for the change to come */
} ldb_reserve;

enum { LDB_RESERVE_LINE = 64 }; /* nodes start at a cache line, behind the block's head */

static inline size_t ldb_reserve_block_size(const ldb_reserve *r)
{
	return LDB_RESERVE_LINE + r->block_bytes;
}

/* To be called before each change; when false, it must not be tried. */
static inline bool ldb_reserve_ready(ldb_reserve *r)
{
	if (__builtin_expect(r->blocks && r->blocks->nodes == 0, 1)) {
		r->blocks->used_bytes = 0;
		return true;
	}
	ldb_reserve_block *block = (ldb_reserve_block *)ldb_alloc(ldb_reserve_block_size(r));
	if (!block)
		return false;
	block->next = r->blocks;
	block->used_bytes = block->nodes = 0;
	r->blocks = block;
	r->held_bytes += ldb_reserve_block_size(r);
	return true;
}

/* Has ldb_alloc refused a node of the last change? (A build then gives up in good order.) */
static inline bool ldb_reserve_used(const ldb_reserve *r)
{
	return r->blocks && r->blocks->used_bytes > 0;
}

/* A node of so many bytes; NULL only when one change wants more than block_bytes. */
static inline void *ldb_reserve_take(ldb_reserve *r, size_t bytes)
{
	void *p = ldb_alloc(bytes);
	if (p) {
		r->held_bytes += bytes;
		return p;
	}
	ldb_reserve_block *block = r->blocks;
	const size_t rounded = (bytes + LDB_RESERVE_LINE - 1) / LDB_RESERVE_LINE * LDB_RESERVE_LINE;
	if (!block || rounded > r->block_bytes - block->used_bytes)
		return NULL;
	p = (char *)block + LDB_RESERVE_LINE + block->used_bytes;
	block->used_bytes += rounded;
	block->nodes++;
	return p;
}

/* The link to the block that p lies in; NULL when ldb_alloc gave it. */
static inline ldb_reserve_block **ldb_reserve_find(ldb_reserve *r, const void *p)
{
	for (ldb_reserve_block **at = &r->blocks; *at; at = &(*at)->next) {
		const uintptr_t offset = (uintptr_t)p - (uintptr_t)*at;
		if (offset < ldb_reserve_block_size(r))
			return at;
	}
	return NULL;
}

/* Gives back what ldb_reserve_take(r, bytes) returned. */
static inline void ldb_reserve_give(ldb_reserve *r, void *p, size_t bytes)
{
	ldb_reserve_block **at = ldb_reserve_find(r, p), *block;
	if (__builtin_expect(!at, 1)) {
		r->held_bytes -= bytes;
		ldb_free(p, bytes);
		return;
	}
	block = *at;
	if (--block->nodes > 0 || block == r->blocks)
		return;
	*at = block->next;
	r->held_bytes -= ldb_reserve_block_size(r);
	ldb_free(block, ldb_reserve_block_size(r));
}

/* Frees the blocks, when all nodes have been given back. */
static inline void ldb_reserve_close(ldb_reserve *r)
{
	for (ldb_reserve_block *block = r->blocks, *next; block; block = next) {
		next = block->next;
		ldb_free(block, ldb_reserve_block_size(r));
	}
	r->blocks = NULL;
}

#endif
