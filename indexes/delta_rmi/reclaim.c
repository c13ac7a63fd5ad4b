/*
 * Memory, and when it can be freed. Readers are inside read-side sections of user-space RCU in its
 * "bulletproof" flavour: a thread registers itself when it first reads, so that an index needs not
 * be told of threads, and a section costs a few instructions (where the kernel has membarrier).
 * What was unlinked is put on a list. The background thread takes the lists, waits until every
 * section that was open has been closed, and frees.
 *
 * ThreadSanitizer knows nothing of RCU's order of events and is told.
 */
#include <urcu-bp.h>

#include "delta_rmi.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define BEFORE(p) __tsan_release(p)
#define AFTER(p) __tsan_acquire(p)
#else
#define BEFORE(p) (void)(p)
#define AFTER(p) (void)(p)
#endif

void *drmi_take(delta_rmi *self, size_t bytes)
{
	void *p = ldb_alloc(bytes);
	if (p)
		atomic_fetch_add_explicit(&self->held_bytes, bytes, memory_order_relaxed);
	return p;
}

void drmi_give(delta_rmi *self, void *p, size_t bytes)
{
	if (!p)
		return;
	ldb_free(p, bytes);
	atomic_fetch_sub_explicit(&self->held_bytes, bytes, memory_order_relaxed);
}

void drmi_enter(void)
{
	urcu_bp_read_lock();
}

void drmi_leave(delta_rmi *self)
{
	BEFORE(&self->garbage);
	urcu_bp_read_unlock();
}

/* --- garbage ---------------------------------------------------------------------------------- */

#define CONTAINER(link, type, member)                                                              \
	((type *)(void *)((char *)(link) - __builtin_offsetof(type, member)))

static size_t garbage_size(int kind, garbage *link)
{
	switch (kind) {
	case GARBAGE_RUN:
		return run_bytes(CONTAINER(link, run, own.link));
	case GARBAGE_TOP:
		return top_bytes(CONTAINER(link, top, link));
	case GARBAGE_PIECE:
		return sizeof(piece);
	case GARBAGE_REGION:
		return sizeof(region);
	default: /* of a delta the root alone: what counts is that there is some */
		return sizeof(node);
	}
}

static void free_one(delta_rmi *self, int kind, garbage *link)
{
	const size_t bytes = garbage_size(kind, link);
	switch (kind) {
	case GARBAGE_NODE:
		drmi_give(self, CONTAINER(link, node, link), bytes);
		break;
	case GARBAGE_DELTA:
		delta_free(self, CONTAINER(link, node, link));
		break;
	case GARBAGE_RUN:
		drmi_give(self, CONTAINER(link, run, own.link), bytes);
		break;
	case GARBAGE_PIECE:
		drmi_give(self, CONTAINER(link, piece, link), bytes);
		break;
	case GARBAGE_TOP:
		drmi_give(self, CONTAINER(link, top, link), bytes);
		break;
	default:
		drmi_give(self, CONTAINER(link, region, link), bytes);
	}
}

bool drmi_has_garbage(delta_rmi *self)
{
	const size_t held = atomic_load_explicit(&self->held_bytes, memory_order_relaxed);
	return atomic_load_explicit(&self->garbage_bytes, memory_order_relaxed) >=
	       ((size_t)64 << 10) + held / 64;
}

void drmi_retire(delta_rmi *self, int kind, garbage *link)
{
	const size_t bytes = garbage_size(kind, link);
	garbage *first = atomic_load_explicit(&self->garbage[kind], memory_order_relaxed);
	do {
		link->next = first;
	} while (!atomic_compare_exchange_weak_explicit(
		&self->garbage[kind], &first, link, memory_order_release, memory_order_relaxed));
	atomic_fetch_add_explicit(&self->garbage_bytes, bytes, memory_order_relaxed);
}

/* Takes all lists; is there anything on them? */
static bool take_garbage(delta_rmi *self, garbage *taken[GARBAGE_KINDS])
{
	bool any = false;
	atomic_store_explicit(&self->garbage_bytes, 0, memory_order_relaxed);
	for (int kind = 0; kind < GARBAGE_KINDS; kind++) {
		taken[kind] =
			atomic_exchange_explicit(&self->garbage[kind], NULL, memory_order_acquire);
		any = any || taken[kind];
	}
	return any;
}

static void free_taken(delta_rmi *self, garbage *taken[GARBAGE_KINDS])
{
	for (int kind = 0; kind < GARBAGE_KINDS; kind++) {
		for (garbage *one = taken[kind], *next; one; one = next) {
			next = one->next;
			free_one(self, kind, one);
		}
	}
}

void drmi_free_garbage(delta_rmi *self)
{
	garbage *taken[GARBAGE_KINDS];
	if (take_garbage(self, taken))
		free_taken(self, taken);
}

void drmi_reclaim(delta_rmi *self)
{
	garbage *taken[GARBAGE_KINDS];
	if (!take_garbage(self, taken))
		return;
	urcu_bp_synchronize_rcu();
	AFTER(&self->garbage);
	free_taken(self, taken);
}
