/*
 * Merging: one region's runs and its frozen delta become new runs with new models. The steps, and
 * why readers and writers need not wait, are described in delta_rmi.h.
 *
 * Locally (a region is one run) a run that has grown to twice the wanted length is split, and one
 * that has shrunk to half of it takes in its right neighbour if that is short as well. Globally
 * (one region) all runs are laid out anew, as in the classic form of a delta with a learned base.
 */
#include <string.h>

#include "delta_rmi.h"

/* Frozen in place of a delta where there is none: from then on the run stays as it is. */
static node nothing;

/* Under the lock. */
static void freeze(region *r)
{
	if (atomic_load_explicit(&r->frozen, memory_order_relaxed))
		return; /* what was left by a merge that had no memory, or by a split */
	node *active = atomic_load_explicit(&r->active, memory_order_relaxed);
	if (active)
		active->owners = 1;
	atomic_store_explicit(&r->frozen, active ? active : &nothing, memory_order_release);
	atomic_store_explicit(&r->active, NULL, memory_order_release);
	r->pending = 0;
}

static void freeze_locked(region *r)
{
	region_lock(r);
	freeze(r);
	region_unlock(r);
}

/* Appends what is alive of a run's entries from..until - 1. */
static void gather_entries(entries *to, const run *r, size_t from, size_t until)
{
	for (size_t rank = from; rank < until; rank++) {
		const ldb_val value = value_load(run_value(r, rank));
		to->key[to->count] = run_key(r, rank);
		to->value[to->count] = value;
		to->count += value != LDB_NONE;
	}
}

/* Appends what is alive in a run and the frozen delta of its region. */
static bool gather(delta_rmi *self, entries *to, const run *r)
{
	delta_cursor c;
	size_t rank = 0;
	if (!entries_reserve(self, to, 2 * r->count)) /* rarely more */
		return false;
	delta_seek(&c, atomic_load_explicit(&r->region->frozen, memory_order_relaxed), r->begin);
	for (; c.leaf && c.key <= r->end; delta_next(&c)) {
		size_t next = rank;
		while (next < r->count && run_key(r, next) < c.key)
			next++;
		if (!entries_reserve(self, to, next - rank + 1))
			return false;
		gather_entries(to, r, rank, next);
		if (c.value != LDB_NONE)
			entries_add(to, c.key, c.value);
		rank = next + (next < r->count && run_key(r, next) == c.key);
	}
	if (!entries_reserve(self, to, r->count - rank))
		return false;
	gather_entries(to, r, rank, r->count);
	return true;
}

/* --- new runs --------------------------------------------------------------------------------- */

typedef struct {
	run **run;
	size_t count, room;
} run_list;

static void free_list(delta_rmi *self, run_list *list)
{
	drmi_give(self, list->run, list->room * sizeof *list->run);
	*list = (run_list){0};
}

static void free_runs(delta_rmi *self, run_list *list)
{
	while (list->count > 0) {
		run *r = list->run[--list->count];
		drmi_give(self, r, run_bytes(r));
	}
	free_list(self, list);
}

static bool add_room(delta_rmi *self, run_list *list, size_t more)
{
	if (list->count + more <= list->room)
		return true;
	run_list larger = {.count = list->count, .room = 2 * list->room + more};
	larger.run = drmi_take(self, larger.room * sizeof *larger.run);
	if (!larger.run)
		return false;
	if (list->count)
		memcpy(larger.run, list->run, list->count * sizeof *list->run);
	free_list(self, list);
	*list = larger;
	return true;
}

/* Lays out all that was gathered, for the keys begin..end: one run, or several of about the wanted
 * length. */
static bool lay_out(delta_rmi *self, run_list *to, ldb_key begin, ldb_key end, region *shared)
{
	const entries *from = &self->gathered;
	const size_t parts = from->count <= 2 * (size_t)self->wanted
				     ? 1
				     : (from->count + self->wanted / 2) / self->wanted;
	if (!add_room(self, to, parts))
		return false;
	for (size_t i = 0, first = 0; i < parts; i++) {
		const size_t next = (size_t)((unsigned __int128)from->count * (i + 1) / parts);
		const ldb_key last = i + 1 < parts ? from->key[next] - 1 : end;
		run *r = run_make(self, from->key + first, from->value + first, next - first, begin,
				  last, shared);
		if (!r)
			return false;
		to->run[to->count++] = r;
		first = next;
		begin = last + 1;
	}
	return true;
}

/* --- local repair ----------------------------------------------------------------------------- */

/* Is there next to nothing in the region but what its run holds? */
static bool is_quiet(const region *r)
{
	return !atomic_load_explicit(&r->active, memory_order_relaxed) &&
	       !atomic_load_explicit(&r->frozen, memory_order_relaxed);
}

/* Freezes and returns the right neighbour in the same piece if that is short and has no deltas. */
static run *take_neighbour(delta_rmi *self, const run *r)
{
	const top *t = atomic_load_explicit(&self->top, memory_order_relaxed);
	const piece *p =
		atomic_load_explicit(&top_pieces(t)[top_find(t, r->end)], memory_order_relaxed);
	const size_t next = piece_find(p, r->end) + 1;
	if (next == p->count)
		return NULL;
	run *neighbour = atomic_load_explicit(&p->run[next], memory_order_relaxed);
	if (neighbour->count > self->wanted / 2)
		return NULL;
	region_lock(&neighbour->own);
	const bool quiet = is_quiet(&neighbour->own);
	if (quiet)
		freeze(&neighbour->own);
	region_unlock(&neighbour->own);
	return quiet ? neighbour : NULL;
}

/* One old run, or two, and what takes their place. */
typedef struct {
	run *old[2];
	size_t old_count;
	run_list parts;
	replacement where;
} repair;

static bool prepare(delta_rmi *self, repair *p, run *r)
{
	*p = (repair){.old = {r}, .old_count = 1};
	freeze_locked(&r->own);
	self->gathered.count = 0;
	if (!gather(self, &self->gathered, r))
		return false;
	run *neighbour = self->gathered.count < self->wanted / 2 ? take_neighbour(self, r) : NULL;
	if (neighbour) {
		p->old[p->old_count++] = neighbour;
		if (!gather(self, &self->gathered, neighbour))
			return false;
	}
	return lay_out(self, &p->parts, r->begin, p->old[p->old_count - 1]->end, NULL) &&
	       directory_prepare(self, r->end, p->old_count, p->parts.run, p->parts.count,
				 &p->where);
}

/* What was written meanwhile goes on as the active delta of the only part, or becomes the frozen
 * one of all of them, who are merged with it at once. */
static void hand_over(repair *p)
{
	region *old = &p->old[0]->own;
	node *active = atomic_load_explicit(&old->active, memory_order_relaxed);
	if (p->parts.count == 1) {
		region *to = &p->parts.run[0]->own;
		atomic_store_explicit(&to->active, active, memory_order_relaxed);
		to->pending = old->pending;
		return;
	}
	if (!active)
		return;
	active->owners = (uint32_t)p->parts.count;
	for (size_t i = 0; i < p->parts.count; i++)
		atomic_store_explicit(&p->parts.run[i]->own.frozen, active, memory_order_relaxed);
}

/* False: a neighbour that was to be taken in has been written to. */
static bool publish(delta_rmi *self, repair *p)
{
	bool overtaken = false;
	for (size_t i = 0; i < p->old_count; i++) {
		region_lock(&p->old[i]->own);
		overtaken = overtaken ||
			    (p->old_count > 1 &&
			     atomic_load_explicit(&p->old[i]->own.active, memory_order_relaxed));
	}
	if (!overtaken) {
		hand_over(p);
		directory_publish(self, &p->where);
	}
	for (size_t i = 0; i < p->old_count; i++) {
		region *old = &p->old[i]->own;
		if (overtaken) { /* both are frozen, and so merged one by one next time */
			old->queued = old->queued && i > 0;
			drmi_queue(self, old, true);
		} else {
			atomic_store_explicit(&old->dead, 1, memory_order_release);
		}
		region_unlock(old);
	}
	return !overtaken;
}

static void retire_delta(delta_rmi *self, node *root)
{
	if (root && root != &nothing && --root->owners == 0)
		drmi_retire(self, GARBAGE_DELTA, &root->link);
}

static void retire_old(delta_rmi *self, repair *p)
{
	for (size_t i = 0; i < p->old_count; i++) {
		run *old = p->old[i];
		retire_delta(self, atomic_load_explicit(&old->own.frozen, memory_order_relaxed));
		if (i == 0 || !old->own.queued) /* else when it comes off the queue */
			drmi_retire(self, GARBAGE_RUN, &old->own.link);
	}
	directory_retire_old(self, &p->where);
}

/* Queues those new runs that have something to merge already. */
static void queue_parts(delta_rmi *self, repair *p)
{
	for (size_t i = 0; i < p->parts.count; i++) {
		region *r = &p->parts.run[i]->own;
		region_lock(r);
		drmi_queue(self, r, atomic_load_explicit(&r->frozen, memory_order_relaxed) != NULL);
		region_unlock(r);
	}
}

static merge_result merge_run(delta_rmi *self, run *r)
{
	repair p;
	if (!prepare(self, &p, r)) {
		free_runs(self, &p.parts);
		if (p.old_count > 1) {
			region *neighbour = &p.old[1]->own;
			region_lock(neighbour);
			drmi_queue(self, neighbour, true);
			region_unlock(neighbour);
		}
		return MERGE_REFUSED;
	}
	if (!publish(self, &p)) {
		directory_cancel(self, &p.where);
		free_runs(self, &p.parts);
		return MERGE_AGAIN;
	}
	queue_parts(self, &p);
	retire_old(self, &p);
	free_list(self, &p.parts);
	return MERGED;
}

/* --- global repair ---------------------------------------------------------------------------- */

/* Calls back with every run in order, as long as that returns true. */
static bool for_runs(delta_rmi *self, const top *t,
		     bool (*call)(delta_rmi *self, run *r, void *context), void *context)
{
	for (size_t i = 0; i < t->count; i++) {
		piece *p = atomic_load_explicit(&top_pieces(t)[i], memory_order_relaxed);
		for (size_t k = 0; k < p->count; k++) {
			if (!call(self, atomic_load_explicit(&p->run[k], memory_order_relaxed),
				  context))
				return false;
		}
	}
	return true;
}

typedef struct {
	run_list runs;
	region *shared;
	ldb_key begin; /* of the next run */
	size_t count;  /* entries laid out */
} rebuild;

static bool rebuild_run(delta_rmi *self, run *r, void *context)
{
	rebuild *b = context;
	if (atomic_load_explicit(&self->stop, memory_order_relaxed) ||
	    !gather(self, &self->gathered, r))
		return false;
	if (self->gathered.count < self->wanted && r->end < LDB_KEY_MAX)
		return true; /* together with the next ones */
	if (!lay_out(self, &b->runs, b->begin, r->end, b->shared))
		return false;
	b->count += self->gathered.count;
	b->begin = r->end + 1;
	self->gathered.count = 0;
	drmi_pace(self);
	return true;
}

static bool retire_run(delta_rmi *self, run *r, void *context)
{
	(void)context;
	drmi_retire(self, GARBAGE_RUN, &r->own.link);
	return true;
}

static void retire_top(delta_rmi *self, top *t)
{
	for (size_t i = 0; i < t->count; i++) {
		piece *p = atomic_load_explicit(&top_pieces(t)[i], memory_order_relaxed);
		drmi_retire(self, GARBAGE_PIECE, &p->link);
	}
	drmi_retire(self, GARBAGE_TOP, &t->link);
}

static void publish_all(delta_rmi *self, region *old, const rebuild *b, top *t)
{
	region_init(self, b->shared, NULL, b->count);
	region_lock(old);
	b->shared->pending = old->pending;
	atomic_store_explicit(&b->shared->active,
			      atomic_load_explicit(&old->active, memory_order_relaxed),
			      memory_order_relaxed);
	atomic_store_explicit(&self->top, t, memory_order_release);
	atomic_store_explicit(&old->dead, 1, memory_order_release);
	region_unlock(old);
}

static merge_result merge_all(delta_rmi *self, region *old)
{
	rebuild b = {.shared = drmi_take(self, sizeof *b.shared)};
	freeze_locked(old);
	self->gathered.count = 0;
	top *const before = atomic_load_explicit(&self->top, memory_order_relaxed);
	top *after = NULL;
	if (b.shared && for_runs(self, before, rebuild_run, &b))
		after = directory_make(self, b.runs.run, b.runs.count);
	if (!after) {
		free_runs(self, &b.runs);
		drmi_give(self, b.shared, sizeof *b.shared);
		return MERGE_REFUSED;
	}
	publish_all(self, old, &b, after);
	self->shared = b.shared;
	for_runs(self, before, retire_run, NULL);
	retire_top(self, before);
	retire_delta(self, atomic_load_explicit(&old->frozen, memory_order_relaxed));
	drmi_retire(self, GARBAGE_REGION, &old->link);
	free_list(self, &b.runs);
	region_lock(b.shared);
	drmi_queue(self, b.shared, false);
	region_unlock(b.shared);
	return MERGED;
}

merge_result drmi_merge(delta_rmi *self, region *r)
{
	return r->run ? merge_run(self, r->run) : merge_all(self, r);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void retire_deltas(delta_rmi *self, region *r)
{
	node *active = atomic_load_explicit(&r->active, memory_order_relaxed);
	if (active)
		drmi_retire(self, GARBAGE_DELTA, &active->link);
	retire_delta(self, atomic_load_explicit(&r->frozen, memory_order_relaxed));
}

static bool retire_with_deltas(delta_rmi *self, run *r, void *context)
{
	retire_deltas(self, &r->own);
	return retire_run(self, r, context);
}

void drmi_retire_all(delta_rmi *self)
{
	top *t = atomic_load(&self->top);
	for_runs(self, t, retire_with_deltas, NULL);
	retire_top(self, t);
	if (self->shared) {
		retire_deltas(self, self->shared);
		drmi_retire(self, GARBAGE_REGION, &self->shared->link);
	}
}
