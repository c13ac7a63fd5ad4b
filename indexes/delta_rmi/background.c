/*
 * The background threads' lives: one merges what is due, one frees what nobody can read any more
 * (reclaim.c).
 *
 * Regions that are due stand in a list without a lock; a writer never waits to put one there. What
 * could not be merged, for want of memory, is kept back until there is a new reason to wake.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "delta_rmi.h"

void drmi_queue(delta_rmi *self, region *r, bool at_once)
{
	if (r->queued || (!at_once && r->pending < r->limit))
		return;
	r->queued = true;
	region *first = atomic_load_explicit(&self->queue, memory_order_relaxed);
	do {
		r->next_queued = first;
	} while (!atomic_compare_exchange_weak_explicit(
		&self->queue, &first, r, memory_order_release, memory_order_relaxed));
	if (!first)
		sem_post(&self->merger.wake);
}

/* The queue's regions, the first one first. */
static region *take_queue(delta_rmi *self)
{
	region *last = atomic_exchange_explicit(&self->queue, NULL, memory_order_acquire);
	region *first = NULL;
	while (last) {
		region *before = last->next_queued;
		last->next_queued = first;
		first = last;
		last = before;
	}
	return first;
}

static uint64_t nanoseconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void drmi_pace(delta_rmi *self)
{
	enum { LEAST_REST_NS = 200000 };
	if (self->duty >= 1)
		return;
	const uint64_t now = nanoseconds(CLOCK_THREAD_CPUTIME_ID);
	const double rest = (double)(now - self->paced_ns) * (1 / self->duty - 1);
	if (rest < LEAST_REST_NS)
		return;
	self->paced_ns = now;
	/* In short rests: there may be a reason to stop. */
	for (double left = rest; left > 0 && !atomic_load(&self->stop); left -= 1e7) {
		const struct timespec t = {.tv_nsec = left < 1e7 ? (long)left : 10000000};
		nanosleep(&t, NULL);
	}
}

/* Merges all regions of a list; what can't be done is put before those kept back. */
static region *merge_list(delta_rmi *self, region *list, region *kept)
{
	for (region *r = list, *next; r; r = next) {
		next = r->next_queued;
		if (atomic_load_explicit(&r->dead, memory_order_relaxed)) {
			drmi_retire(self, GARBAGE_RUN, &r->link);
			continue;
		}
		const merge_result result = atomic_load_explicit(&self->stop, memory_order_relaxed)
						    ? MERGE_REFUSED
						    : drmi_merge(self, r);
		if (result == MERGE_REFUSED) {
			r->next_queued = kept;
			kept = r;
		}
		drmi_pace(self);
	}
	return kept;
}

static void *work(void *argument)
{
	delta_rmi *self = argument;
	region *kept = NULL;
	while (!atomic_load_explicit(&self->stop, memory_order_acquire)) {
		const uint64_t asked =
			atomic_load_explicit(&self->merger.asked, memory_order_acquire);
		kept = merge_list(self, kept, NULL);
		for (region *list; (list = take_queue(self));)
			kept = merge_list(self, list, kept);
		entries_free(self, &self->gathered);
		atomic_store_explicit(&self->merger.served, asked, memory_order_release);
		sem_wait(&self->merger.wake);
	}
	/* Nothing is merged any more, but the dead are buried. */
	merge_list(self, kept, NULL);
	merge_list(self, take_queue(self), NULL);
	return NULL;
}

static bool start_worker(worker *w, void *(*life)(void *), delta_rmi *self)
{
	if (sem_init(&w->wake, 0, 0) != 0)
		return false;
	w->started = pthread_create(&w->thread, NULL, life, self) == 0;
	if (!w->started)
		sem_destroy(&w->wake);
	return w->started;
}

static void join_worker(worker *w)
{
	if (!w->started)
		return;
	sem_post(&w->wake);
	pthread_join(w->thread, NULL);
	sem_destroy(&w->wake);
	w->started = false;
}

ldb_status drmi_start(delta_rmi *self, ldb_error *err)
{
	if (start_worker(&self->reclaimer, drmi_reclaim, self) &&
	    start_worker(&self->merger, work, self))
		return LDB_OK;
	const int why = errno;
	return ldb_fail(err, LDB_OOM, "allow more threads (ulimit -u)",
			"delta_rmi: background thread", "not started: %s", strerror(why));
}

void drmi_stop_merging(delta_rmi *self)
{
	atomic_store_explicit(&self->stop, true, memory_order_release);
	join_worker(&self->merger);
}

void drmi_stop_reclaiming(delta_rmi *self)
{
	join_worker(&self->reclaimer);
	drmi_free_garbage(self);
}

/* Waits until a thread has gone once through all that there was to do. */
static void await(worker *w)
{
	const struct timespec t = {.tv_nsec = 50000};
	const uint64_t ticket = atomic_fetch_add(&w->asked, 1) + 1;
	sem_post(&w->wake);
	while (atomic_load_explicit(&w->served, memory_order_acquire) < ticket)
		nanosleep(&t, NULL);
}

void drmi_settle(delta_rmi *self)
{
	await(&self->merger);
	await(&self->reclaimer);
}
