/* Memory of ldu: pages and nodes by number, in chunks that are never moved. */
#include <string.h>

#include "ldu.h"

void *ldu_alloc(ldu *self, size_t bytes)
{
	void *p = ldb_alloc(bytes);
	if (p)
		self->held_bytes += bytes;
	return p;
}

void ldu_free(ldu *self, void *p, size_t bytes)
{
	if (!p)
		return;
	self->held_bytes -= bytes;
	ldb_free(p, bytes);
}

/* The first chunks are small, for the sake of small indexes. */
size_t ldu_chunk_things(uint32_t chunk)
{
	return chunk < 6 ? (size_t)4 << chunk : LDU_CHUNK;
}

static bool make_chunk_room(ldu *self, ldu_arena *arena)
{
	if (arena->chunk_count < arena->chunk_room)
		return true;
	const uint32_t room = arena->chunk_room ? 2 * arena->chunk_room : 8;
	char **chunks = ldu_alloc(self, room * sizeof *chunks);
	if (!chunks)
		return false;
	if (arena->chunk_count)
		memcpy(chunks, arena->chunks, arena->chunk_count * sizeof *chunks);
	ldu_free(self, arena->chunks, arena->chunk_room * sizeof *chunks);
	arena->chunks = chunks;
	arena->chunk_room = room;
	return true;
}

bool ldu_reserve(ldu *self, ldu_arena *arena, uint32_t count)
{
	while (arena->free_count + (arena->end - arena->next) < count) {
		const size_t things = ldu_chunk_things(arena->chunk_count);
		if (arena->chunk_count >= (LDU_TO_NODE - 1) / LDU_CHUNK ||
		    !make_chunk_room(self, arena))
			return false;
		char *chunk = ldu_alloc(self, things * arena->bytes);
		if (!chunk)
			return false;
		arena->chunks[arena->chunk_count] = chunk;
		/* What is left of the last chunk goes to the list. */
		arena->used += arena->end - arena->next;
		while (arena->next < arena->end)
			ldu_give(arena, arena->next++);
		arena->next = arena->chunk_count++ * LDU_CHUNK;
		arena->end = arena->next + (uint32_t)things;
	}
	return true;
}

uint32_t ldu_take(ldu_arena *arena)
{
	arena->used++;
	if (!arena->free_count)
		return arena->next++;
	const uint32_t number = arena->free_head;
	memcpy(&arena->free_head, ldu_thing(arena, number), sizeof arena->free_head);
	arena->free_count--;
	return number;
}

void ldu_give(ldu_arena *arena, uint32_t number)
{
	memcpy(ldu_thing(arena, number), &arena->free_head, sizeof arena->free_head);
	arena->free_head = number;
	arena->free_count++;
	arena->used--;
}

void ldu_free_arena(ldu *self, ldu_arena *arena)
{
	for (uint32_t i = 0; i < arena->chunk_count; i++)
		ldu_free(self, arena->chunks[i], ldu_chunk_things(i) * arena->bytes);
	ldu_free(self, arena->chunks, arena->chunk_room * sizeof *arena->chunks);
}
