/* Where nodes come from: chunks as in indexes/btree, under one lock. Few operations need a node. */
#include "olc.h"

enum { FIRST_CHUNK = 16, LARGEST_CHUNK = (2 << 20) / sizeof(node) }; /* the chunk's head included */

node *olc_new_chunk(btree_olc *self, size_t count)
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

static void put_by(btree_olc *self, node *gone)
{
	store(&gone->word[NEXT], (uintptr_t)self->free);
	self->free = gone;
	self->free_count++;
}

void olc_give_node(btree_olc *self, node *gone)
{
	pthread_mutex_lock(&self->memory);
	put_by(self, gone);
	pthread_mutex_unlock(&self->memory);
	unlock(gone);
}

/* With self->memory locked. */
static bool grow(btree_olc *self)
{
	size_t size = self->node_count / 8;
	size = size < FIRST_CHUNK ? FIRST_CHUNK : size > LARGEST_CHUNK ? LARGEST_CHUNK : size;
	node *nodes = olc_new_chunk(self, size - 1);
	if (!nodes)
		return false;
	while (self->fresh_count > 0) {
		node *left = &self->fresh[--self->fresh_count];
		atomic_init(&left->version, 0);
		put_by(self, left);
	}
	self->fresh = nodes;
	self->fresh_count = size - 1;
	return true;
}

static node *take(btree_olc *self)
{
	node *taken = self->free;
	if (!taken) {
		taken = self->fresh++;
		self->fresh_count--;
		atomic_init(&taken->version, 0);
		return taken;
	}
	self->free = to_node(load(&taken->word[NEXT]));
	self->free_count--;
	return taken;
}

bool olc_take_nodes(btree_olc *self, node *taken[2], unsigned count)
{
	pthread_mutex_lock(&self->memory);
	const bool good = self->free_count + self->fresh_count >= count || grow(self);
	for (unsigned i = 0; good && i < count; i++)
		taken[i] = take(self);
	pthread_mutex_unlock(&self->memory);
	return good;
}

bool olc_owns(const btree_olc *self, const node *p)
{
	for (const chunk *c = self->chunks; c; c = c->next) {
		const uintptr_t offset = (uintptr_t)p - (uintptr_t)c;
		if (offset / sizeof(node) <= c->count)
			return offset > 0 && offset % sizeof(node) == 0;
	}
	return false;
}

void olc_free_chunks(btree_olc *self)
{
	for (chunk *c = self->chunks, *next; c; c = next) {
		next = c->next;
		ldb_free(c, (1 + c->count) * sizeof(node));
	}
}
