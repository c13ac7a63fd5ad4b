/*
 * Where nodes come from: chunks, each larger than the last one up to 2 MiB, so that growth moves
 * nothing and the page policy holds. Nodes that merge are used again; chunks stay.
 */
#include "btree.h"

enum { FIRST_CHUNK = 16, LARGEST_CHUNK = (2 << 20) / sizeof(node) }; /* the chunk's head included */

node *btree_new_chunk(btree *self, size_t count)
{
	const size_t bytes = (1 + count) * sizeof(node);
	chunk *head = count < SIZE_MAX / sizeof(node) ? ldb_alloc(bytes) : NULL;
	if (!head)
		return NULL;
	*head = (chunk){self->chunks, count};
	self->chunks = head;
	self->node_count += count;
	self->bytes += bytes;
	return (node *)head + 1;
}

void btree_give_node(btree *self, node *gone)
{
	gone->word[0] = (uintptr_t)self->free;
	self->free = gone;
	self->free_count++;
}

bool btree_reserve(btree *self, size_t count)
{
	if (__builtin_expect(self->free_count + self->fresh_count >= count, 1))
		return true;
	size_t size = self->node_count / 8;
	size = size < FIRST_CHUNK ? FIRST_CHUNK : size > LARGEST_CHUNK ? LARGEST_CHUNK : size;
	size = size - 1 > count ? size - 1 : count;
	node *nodes = btree_new_chunk(self, size);
	if (!nodes)
		return false;
	while (self->fresh_count > 0)
		btree_give_node(self, &self->fresh[--self->fresh_count]);
	self->fresh = nodes;
	self->fresh_count = size;
	return true;
}

node *btree_take_node(btree *self)
{
	node *taken = self->free;
	if (!taken) {
		self->fresh_count--;
		return self->fresh++;
	}
	self->free = child_at(taken, 0);
	self->free_count--;
	return taken;
}

bool btree_owns(const btree *self, const node *p)
{
	for (const chunk *c = self->chunks; c; c = c->next) {
		const uintptr_t offset = (uintptr_t)p - (uintptr_t)c;
		if (offset / sizeof(node) <= c->count)
			return offset > 0 && offset % sizeof(node) == 0;
	}
	return false;
}

void btree_free_chunks(btree *self)
{
	for (chunk *c = self->chunks, *next; c; c = next) {
		next = c->next;
		ldb_free(c, (1 + c->count) * sizeof(node));
	}
}
