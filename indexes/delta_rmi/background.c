/*
 * The background thread's life: it merges what is due, and frees what nobody can read any more.
 *
 * Regions that are due stand in a list without a lock; a writer never waits to put one there. What
 * could not be merged, for want of memory, is kept back until there is a new reason to wake.
 *
 * Between two passes the thread rests, so that work gathers. Were it to run for every region that
 * is due, it would take the processor from a writer on the same one thousands of times in a second,
 * and leave it cold caches each time.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "delta_rmi.h"

enum { REST_NS = 5000000 };

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
		sem_post(&self->wake);
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
	const struct timespec rest = {.tv_nsec = REST_NS};
	region *kept = NULL;
	while (!atomic_load_explicit(&self->stop, memory_order_acquire)) {
		const uint64_t asked = atomic_load_explicit(&self->asked, memory_order_acquire);
		const bool urgent =
			asked != atomic_load_explicit(&self->served, memory_order_relaxed);
		kept = merge_list(self, kept, NULL);
		kept = merge_list(self, take_queue(self), kept);
		if (urgent || drmi_has_garbage(self))
			drmi_reclaim(self);
		if (!atomic_load_explicit(&self->queue, memory_order_relaxed)) {
			entries_free(self, &self->gathered);
			atomic_store_explicit(&self->served, asked, memory_order_release);
			sem_wait(&self->wake);
		}
		if (!urgent)
			nanosleep(&rest, NULL);
	}
	/* Nothing is merged any more, but the dead are buried. */
	merge_list(self, kept, NULL);
	merge_list(self, take_queue(self), NULL);
	entries_free(self, &self->gathered);
	return NULL;
}

ldb_status drmi_start(delta_rmi *self, ldb_error *err)
{
	int why = sem_init(&self->wake, 0, 0) ? errno : 0;
	if (!why) {
		why = pthread_create(&self->thread, NULL, work, self);
		self->started = why == 0;
		if (why)
			sem_destroy(&self->wake);
	}
	if (!why)
		return LDB_OK;
	return ldb_fail(err, LDB_OOM, "allow more threads (ulimit -u)",
			"delta_rmi: background thread", "not started: %s", strerror(why));
}

void drmi_stop(delta_rmi *self)
{
	if (!self->started)
		return;
	atomic_store_explicit(&self->stop, true, memory_order_release);
	sem_post(&self->wake);
	pthread_join(self->thread, NULL);
	sem_destroy(&self->wake);
}

/* Waits until the thread has found nothing left to do. */
void drmi_settle(delta_rmi *self)
{
	const struct timespec t = {.tv_nsec = 50000};
	const uint64_t ticket = atomic_fetch_add(&self->asked, 1) + 1;
	sem_post(&self->wake);
	while (atomic_load_explicit(&self->served, memory_order_acquire) < ticket)
		nanosleep(&t, NULL);
}
