/*
 * Nodes: where they come from, and how they grow and shrink. Each type has a pool of chunks; a node
 * that is given back is used again.
 */
#include "art.h"

static const size_t node_bytes[ART_TYPES] = {sizeof(art_leaf), sizeof(art_node4),
					     sizeof(art_node16), sizeof(art_node48),
					     sizeof(art_node256)};

/* --- memory ------------------------------------------------------------------------------------
 */

enum { HEAD_BYTES = 64, LEAST_CHUNK = 4 << 10, LARGEST_CHUNK = 2 << 20 };

static char *new_chunk(art_dynamic *self, size_t bytes)
{
	art_chunk *chunk = ldb_alloc(bytes);
	if (!chunk)
		return NULL;
	*chunk = (art_chunk){self->chunks, bytes};
	self->chunks = chunk;
	self->bytes += bytes;
	return (char *)chunk + HEAD_BYTES;
}

static void put_by(art_dynamic *self, unsigned type, void *gone)
{
	memcpy(gone, &self->pool[type].free, sizeof(void *));
	self->pool[type].free = gone;
}

/* A chunk's size is an eighth of what the pool has, within limits. */
static bool grow_pool(art_dynamic *self, unsigned type)
{
	size_t bytes = self->pool[type].held * node_bytes[type] / 8;
	bytes = bytes < LEAST_CHUNK ? LEAST_CHUNK : bytes > LARGEST_CHUNK ? LARGEST_CHUNK : bytes;
	char *nodes = new_chunk(self, bytes);
	if (!nodes)
		return false;
	self->pool[type].fresh = nodes;
	self->pool[type].fresh_count = (bytes - HEAD_BYTES) / node_bytes[type];
	self->pool[type].held += self->pool[type].fresh_count;
	return true;
}

void *art_take(art_dynamic *self, unsigned type)
{
	void *taken = self->pool[type].free;
	if (taken) {
		memcpy(&self->pool[type].free, taken, sizeof(void *));
	} else {
		if (self->pool[type].fresh_count == 0 && !grow_pool(self, type))
			return NULL;
		taken = self->pool[type].fresh;
		self->pool[type].fresh += node_bytes[type];
		self->pool[type].fresh_count--;
	}
	self->pool[type].live++;
	return taken;
}

void art_give(art_dynamic *self, unsigned type, void *gone)
{
	put_by(self, type, gone);
	self->pool[type].live--;
}

void art_free_chunks(art_dynamic *self)
{
	for (art_chunk *chunk = self->chunks, *next; chunk; chunk = next) {
		next = chunk->next;
		ldb_free(chunk, chunk->bytes);
	}
}

/* --- children ----------------------------------------------------------------------------------
 */

/* The bytes and children of the two smaller types. */
typedef struct {
	uint32_t *count;
	uint8_t *key;
	art_ref *child;
} small_node;

static small_node get_small(art_ref node)
{
	if (art_type(node) == ART_NODE4) {
		art_node4 *four = art_at(node);
		return (small_node){&four->count, four->key, four->child};
	}
	art_node16 *sixteen = art_at(node);
	return (small_node){&sixteen->count, sixteen->key, sixteen->child};
}

unsigned art_count(art_ref node)
{
	switch (art_type(node)) {
	case ART_NODE48:
		return (unsigned)__builtin_popcountll(((art_node48 *)art_at(node))->used);
	case ART_NODE256:
		return (unsigned)((art_node256 *)art_at(node))->count;
	default:
		return *get_small(node).count;
	}
}

art_ref art_child_from(art_ref node, unsigned *byte)
{
	if (art_type(node) == ART_NODE256) {
		const art_ref *child = ((art_node256 *)art_at(node))->child;
		while (*byte < 256 && child[*byte] == ART_EMPTY)
			++*byte;
		return *byte < 256 ? child[*byte] : ART_EMPTY;
	}
	if (art_type(node) == ART_NODE48) {
		const art_node48 *many = art_at(node);
		while (*byte < 256 && many->place[*byte] == 0)
			++*byte;
		return *byte < 256 ? many->child[many->place[*byte] - 1] : ART_EMPTY;
	}
	const small_node small = get_small(node);
	unsigned i = 0;
	while (i < *small.count && small.key[i] < *byte)
		i++;
	if (i == *small.count)
		return ART_EMPTY;
	*byte = small.key[i];
	return small.child[i];
}

/* Puts a child into a node that has room. */
static void insert(art_ref node, uint8_t byte, art_ref child)
{
	if (art_type(node) == ART_NODE256) {
		art_node256 *all = art_at(node);
		all->child[byte] = child;
		all->count++;
		return;
	}
	if (art_type(node) == ART_NODE48) {
		art_node48 *many = art_at(node);
		const unsigned slot = (unsigned)__builtin_ctzll(~many->used);
		many->used |= (uint64_t)1 << slot;
		many->place[byte] = (uint8_t)(slot + 1);
		many->child[slot] = child;
		return;
	}
	const small_node small = get_small(node);
	unsigned i = (*small.count)++;
	for (; i > 0 && small.key[i - 1] > byte; i--) {
		small.key[i] = small.key[i - 1];
		small.child[i] = small.child[i - 1];
	}
	small.key[i] = byte;
	small.child[i] = child;
}

static void take_out(art_ref node, uint8_t byte)
{
	if (art_type(node) == ART_NODE256) {
		art_node256 *all = art_at(node);
		all->child[byte] = ART_EMPTY;
		all->count--;
		return;
	}
	if (art_type(node) == ART_NODE48) {
		art_node48 *many = art_at(node);
		many->used &= ~((uint64_t)1 << (many->place[byte] - 1));
		many->place[byte] = 0;
		return;
	}
	const small_node small = get_small(node);
	unsigned i = 0;
	while (small.key[i] != byte)
		i++;
	for (--*small.count; i < *small.count; i++) {
		small.key[i] = small.key[i + 1];
		small.child[i] = small.child[i + 1];
	}
}

/* An empty node of a type, on a level. */
static art_ref make_node(void *memory, unsigned type, unsigned level)
{
	memset(memory, 0, node_bytes[type]);
	return art_make_ref(type, level, memory);
}

art_ref art_make_pair(void *node4, unsigned level, ldb_key a, art_ref child_a, ldb_key b,
		      art_ref child_b)
{
	const art_ref node = make_node(node4, ART_NODE4, level);
	insert(node, art_byte(a, level), child_a);
	insert(node, art_byte(b, level), child_b);
	return node;
}

/* Puts another type in a node's place; false when there is no memory. */
static bool change_type(art_dynamic *self, art_ref *node, unsigned type)
{
	void *memory = art_take(self, type);
	if (!memory)
		return false;
	const art_ref old = *node, changed = make_node(memory, type, art_level(old));
	for (unsigned byte = 0; byte < 256; byte++) {
		const art_ref child = art_child_from(old, &byte);
		if (child == ART_EMPTY)
			break;
		insert(changed, (uint8_t)byte, child);
	}
	*node = changed;
	art_give(self, art_type(old), art_at(old));
	return true;
}

bool art_add(art_dynamic *self, art_ref *node, uint8_t byte, art_ref child)
{
	static const unsigned most[ART_TYPES] = {0, 4, 16, 48, 256};
	const unsigned type = art_type(*node);
	if (art_count(*node) == most[type] && !change_type(self, node, type + 1))
		return false;
	insert(*node, byte, child);
	return true;
}

void art_remove(art_dynamic *self, art_ref *node, uint8_t byte)
{
	/* Well below what the smaller type takes: or else a key that comes and goes would change it
	 * each time. */
	static const unsigned small_enough[ART_TYPES] = {0, 0, 3, 12, 36};
	const art_ref old = *node;
	const unsigned type = art_type(old);
	take_out(old, byte);
	const unsigned count = art_count(old);
	if (count == 1) {
		unsigned from = 0;
		*node = art_child_from(old, &from);
		art_give(self, type, art_at(old));
	} else if (count <= small_enough[type]) {
		change_type(self, node, type - 1); /* without memory it stays as it is */
	}
}
