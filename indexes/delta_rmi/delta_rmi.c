/*
 * The plug-in: reads, writes, the loops over many of both, build, checks. How the parts work
 * together, and why readers never wait, is described in delta_rmi.h.
 */
#include <string.h>

#include "ldb/window.h"

#include "delta_rmi.h"

/* --- reads ------------------------------------------------------------------------------------ */

/* Looks for q where it would be newest; *found: there is an entry for it, maybe a tombstone. */
static inline ldb_val newest(const run *r, ldb_key q, bool *found)
{
	const node *active = atomic_load_explicit(&r->region->active, memory_order_acquire);
	_Atomic ldb_val *at = active ? delta_find(active, q) : NULL;
	if (!at) {
		/* After active: what is cleared there has been set here. */
		const node *frozen = atomic_load_explicit(&r->region->frozen, memory_order_acquire);
		at = frozen ? delta_find(frozen, q) : NULL;
	}
	if (!at)
		at = run_find(r, q);
	*found = at != NULL;
	return at ? value_load(at) : LDB_NONE;
}

static inline ldb_val get(const run *r, ldb_key q)
{
	bool found;
	return newest(r, q, &found);
}

/* Goes over what is alive in a run and its deltas. */
typedef struct {
	const run *run;
	delta_cursor active, frozen;
	size_t rank;
} cursor;

static void seek(cursor *c, const run *r, ldb_key q)
{
	c->run = r;
	delta_seek(&c->active, atomic_load_explicit(&r->region->active, memory_order_acquire), q);
	delta_seek(&c->frozen, atomic_load_explicit(&r->region->frozen, memory_order_acquire), q);
	c->rank = run_rank(r, q);
}

/* The value of the next entry that is alive; LDB_NONE: there is none. */
static ldb_val next_alive(cursor *c)
{
	const run *r = c->run;
	for (;;) {
		delta_cursor *newer = &c->active;
		if (!newer->leaf || (c->frozen.leaf && c->frozen.key < newer->key))
			newer = &c->frozen;
		const bool in_run = c->rank < r->count;
		ldb_val value;
		if (newer->leaf && newer->key <= r->end &&
		    (!in_run || newer->key <= run_key(r, c->rank))) {
			const ldb_key key = newer->key;
			value = newer->value;
			c->rank += in_run && run_key(r, c->rank) == key;
			if (newer == &c->active && c->frozen.leaf && c->frozen.key == key)
				delta_next(&c->frozen);
			delta_next(newer);
		} else if (in_run) {
			value = value_load(run_value(r, c->rank++));
		} else {
			return LDB_NONE;
		}
		if (value != LDB_NONE)
			return value;
	}
}

static ldb_val scan(delta_rmi *self, const run *r, ldb_key q, uint32_t length)
{
	ldb_val sum = 0;
	cursor c;
	seek(&c, r, q);
	while (length > 0) {
		const ldb_val value = next_alive(&c);
		if (value != LDB_NONE) {
			sum += value;
			length--;
		} else if (c.run->end == LDB_KEY_MAX) {
			break;
		} else {
			const ldb_key next = c.run->end + 1;
			seek(&c, drmi_route(self, next), next);
		}
	}
	return sum;
}

/* The value of the first key >= q. */
static inline ldb_val lower_bound(delta_rmi *self, const run *r, ldb_key q)
{
	bool found;
	ldb_val value = newest(r, q, &found);
	if (value != LDB_NONE)
		return value;
	cursor c;
	seek(&c, r, q);
	while ((value = next_alive(&c)) == LDB_NONE && c.run->end < LDB_KEY_MAX) {
		const ldb_key next = c.run->end + 1;
		seek(&c, drmi_route(self, next), next);
	}
	return value;
}

/* --- writes ----------------------------------------------------------------------------------- */

/* Locks the region of the run that key belongs to, which is r unless that has been replaced. */
static run *lock_run(delta_rmi *self, run *r, ldb_key key)
{
	for (;; r = drmi_route(self, key)) {
		region_lock(r->region);
		if (!atomic_load_explicit(&r->region->dead, memory_order_relaxed))
			return r;
		region_unlock(r->region);
	}
}

/* Where the value of the key can be changed in place; NULL: nowhere. Under the lock. */
static _Atomic ldb_val *find_in_place(const run *r, ldb_key key)
{
	const node *active = atomic_load_explicit(&r->region->active, memory_order_relaxed);
	_Atomic ldb_val *at = active ? delta_find(active, key) : NULL;
	if (at || atomic_load_explicit(&r->region->frozen, memory_order_relaxed))
		return at;
	return run_find(r, key);
}

static bool insert(delta_rmi *self, region *g, ldb_key key, ldb_val value)
{
	if (!delta_insert(self, &g->active, key, value))
		return false;
	g->pending++;
	drmi_queue(self, g, false);
	return true;
}

static bool put(delta_rmi *self, run *r, ldb_key key, ldb_val value)
{
	bool done = true;
	r = lock_run(self, r, key);
	_Atomic ldb_val *at = find_in_place(r, key);
	if (at)
		value_store(at, value);
	else
		done = insert(self, r->region, key, value);
	region_unlock(r->region);
	return done;
}

static bool delete (delta_rmi *self, run *r, ldb_key key)
{
	bool done = true;
	r = lock_run(self, r, key);
	_Atomic ldb_val *at = find_in_place(r, key);
	if (at && value_load(at) != LDB_NONE) {
		value_store(at, LDB_NONE);
		r->region->pending++;
		drmi_queue(self, r->region, false);
	} else if (!at && get(r, key) != LDB_NONE) { /* in what is frozen */
		done = insert(self, r->region, key, LDB_NONE);
	}
	region_unlock(r->region);
	return done;
}

static inline bool do_op(delta_rmi *self, run *r, const ldb_op *op, ldb_val *out)
{
	*out = 0;
	switch (op->kind) {
	case LDB_GET:
		*out = get(r, op->key);
		return true;
	case LDB_PUT:
		return put(self, r, op->key, op->value);
	case LDB_DELETE:
		return delete (self, r, op->key);
	default:
		*out = scan(self, r, op->key, op->length);
		return true;
	}
}

/* --- groups: what several operations need is fetched for all of them at once ------------------ */

static inline ldb_key nth_key(const ldb_key *first, size_t stride, size_t i)
{
	return *(const ldb_key *)(const void *)((const char *)first + i * stride);
}

/*
 * Three stages: the run, its model and the delta's root, the lines of keys and the delta's leaf.
 * They only fetch: a run may be replaced before its turn comes, by whatever is done in between.
 * Key i is at `first` + i * `stride` bytes.
 */
static inline void fetch_group(delta_rmi *self, const ldb_key *first, size_t stride, size_t count,
			       run **r)
{
	const node *active[LDB_GROUP];
	size_t cell[LDB_GROUP];
	for (size_t i = 0; i < count; i++) {
		r[i] = drmi_route(self, nth_key(first, stride, i));
		ldb_prefetch(r[i], 0);
		ldb_prefetch(&r[i]->own, 0);
	}
	for (size_t i = 0; i < count; i++) {
		cell[i] = model_cell(&r[i]->model, nth_key(first, stride, i));
		ldb_prefetch(run_cells(r[i]), cell[i] * sizeof(uint16_t));
		active[i] = atomic_load_explicit(&r[i]->region->active, memory_order_acquire);
		for (size_t l = 0; active[i] && l < sizeof(node); l += 64)
			ldb_prefetch(active[i], l);
	}
	for (size_t i = 0; i < count; i++) {
		const uint16_t *line_of = run_cells(r[i]) + cell[i];
		ldb_prefetch(&run_lines(r[i])[line_of[0]], 0);
		ldb_prefetch(&run_lines(r[i])[line_of[0]], 64);
		ldb_prefetch(&run_lines(r[i])[line_of[1]], 0);
		if (!active[i] || !active[i]->level)
			continue;
		const node *below = node_step(active[i], nth_key(first, stride, i), NULL);
		ldb_prefetch(below, 0);
		ldb_prefetch(below, 64);
	}
}

/* The run that was found for a key some time ago, or its successor. */
static inline run *current(delta_rmi *self, run *r, ldb_key key)
{
	if (__builtin_expect(atomic_load_explicit(&r->region->dead, memory_order_acquire), 0))
		return drmi_route(self, key);
	return r;
}

static size_t apply_group(delta_rmi *self, const ldb_op *ops, size_t count, ldb_val *out)
{
	run *r[LDB_GROUP];
	if (count == 1)
		return do_op(self, drmi_route(self, ops->key), ops, out);
	fetch_group(self, &ops->key, sizeof *ops, count, r);
	for (size_t i = 0; i < count; i++) {
		if (!do_op(self, current(self, r[i], ops[i].key), &ops[i], &out[i]))
			return i;
	}
	return count;
}

static size_t delta_rmi_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	for (size_t i = 0; i < n;) {
		const size_t count = n - i < LDB_GROUP ? n - i : LDB_GROUP;
		drmi_enter();
		const size_t done = apply_group(self, ops + i, count, out + i);
		drmi_leave(self);
		i += done;
		if (done < count) {
			ldb_fail_oom(err, "delta_rmi: nodes of a delta", sizeof(node));
			return i;
		}
	}
	return n;
}

/* Reads change nothing but what the reclamation of memory knows of its readers. */
static inline delta_rmi *readable(const void *self)
{
	return (delta_rmi *)(uintptr_t)self;
}

static void delta_rmi_lookup(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	delta_rmi *index = readable(self);
	for (size_t i = 0; i < n; i++) {
		if (i % LDB_GROUP == 0)
			drmi_enter();
		out[i] = lower_bound(index, drmi_route(index, q[i]), q[i]);
		if (i % LDB_GROUP == LDB_GROUP - 1 || i + 1 == n)
			drmi_leave(index);
	}
}

static void delta_rmi_chase(const void *self, const ldb_key *q, size_t n, ldb_val carry,
			    ldb_val *out)
{
	delta_rmi *index = readable(self);
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = q[i] + ldb_chain_step(carry);
		if (i % LDB_GROUP == 0)
			drmi_enter();
		out[i] = carry = lower_bound(index, drmi_route(index, key), key);
		if (i % LDB_GROUP == LDB_GROUP - 1 || i + 1 == n)
			drmi_leave(index);
	}
}

static void lookup_group(const void *self, const ldb_key *q, size_t count, ldb_val *out)
{
	delta_rmi *index = readable(self);
	run *r[LDB_GROUP];
	drmi_enter();
	fetch_group(index, q, sizeof *q, count, r);
	for (size_t i = 0; i < count; i++)
		out[i] = lower_bound(index, current(index, r[i], q[i]), q[i]);
	drmi_leave(index);
}

static void delta_rmi_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	ldb_find_groups(self, lookup_group, q, n, out);
}

/* --- build ------------------------------------------------------------------------------------ */

enum { PARAM_REPAIR, PARAM_RUN, PARAM_SHARE, PARAM_CPU, PARAM_CELLS };

static const ldb_param params_table[] = {
	{.name = "repair",
	 .help = "what a merge lays out anew: the run that was written to, or, the classic form, "
		 "all",
	 .def = 0,
	 .choices = "local|global"},
	{.name = "run",
	 .help = "entries of a run that is laid out; it is split at twice as many",
	 .def = 960, /* 16 KB with its model */
	 .min = 64,
	 .max = 1 << 17},
	{.name = "share",
	 .help = "a merge is due when so many percent of the entries are new or deleted",
	 .def = 12.5,
	 .min = 0.1,
	 .max = 1000},
	{.name = "cpu",
	 .help = "percent of a processor's time that merging may take",
	 .def = 100,
	 .min = 1,
	 .max = 100},
	{.name = "cells",
	 .help = "cells of a run's model, for each eight entries",
	 .def = 2,
	 .min = 1,
	 .max = 64},
	{.name = NULL},
};

/* Run `number` of `parts` over all keys; the value of keys[i] is i. */
static run *build_run(delta_rmi *self, const ldb_key *keys, size_t n, size_t number, size_t parts)
{
	const size_t first = (size_t)((unsigned __int128)n * number / parts);
	const size_t next = (size_t)((unsigned __int128)n * (number + 1) / parts);
	self->gathered.count = 0;
	if (!entries_reserve(self, &self->gathered, next - first))
		return NULL;
	for (size_t i = first; i < next; i++)
		entries_add(&self->gathered, keys[i], i);
	run *r = run_make(self, self->gathered.key, self->gathered.value, next - first,
			  number > 0 ? keys[first] : 0,
			  number + 1 < parts ? keys[next] - 1 : LDB_KEY_MAX, self->shared);
	/* First merges are spread: even writes would else make all regions due at the same time. */
	const uint32_t turn = (uint32_t)number * 0x9e3779b9u; /* multiples of the golden ratio */
	if (r)
		r->own.limit -= (uint32_t)((uint64_t)(r->own.limit - NODE_SLOTS) * turn >> 32);
	return r;
}

/* All runs, and the directory over them. */
static bool build_parts(delta_rmi *self, const ldb_key *keys, size_t n)
{
	const size_t parts = n / self->wanted + (n % self->wanted != 0 || n == 0);
	run **runs = drmi_take(self, parts * sizeof *runs);
	size_t made = 0;
	if (!runs)
		return false;
	while (made < parts && (runs[made] = build_run(self, keys, n, made, parts)))
		made++;
	top *t = made == parts ? directory_make(self, runs, parts) : NULL;
	while (!t && made > 0) {
		made--;
		drmi_give(self, runs[made], run_bytes(runs[made]));
	}
	drmi_give(self, runs, parts * sizeof *runs);
	entries_free(self, &self->gathered);
	atomic_store(&self->top, t);
	return t != NULL;
}

/* Of a built index or a part of one. */
static void delta_rmi_destroy(void *self)
{
	delta_rmi *index = self;
	drmi_stop(index);
	if (atomic_load(&index->top))
		drmi_retire_all(index);
	else
		drmi_give(index, index->shared, sizeof *index->shared);
	drmi_free_garbage(index);
	ldb_free(index, sizeof *index);
}

static ldb_status delta_rmi_build(void **self, const ldb_key *keys, size_t n, const double *params,
				  ldb_error *err)
{
	if (n >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer than 2^32 - 1 keys",
				"delta_rmi: number of keys", "%zu", n);
	delta_rmi *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "delta_rmi", sizeof *index);
	memset(index, 0, sizeof *index);
	atomic_store(&index->held_bytes, sizeof *index);
	index->wanted = (uint32_t)params[PARAM_RUN];
	index->cells = (uint32_t)params[PARAM_CELLS];
	index->share = params[PARAM_SHARE] / 100;
	index->duty = params[PARAM_CPU] / 100;
	bool built = true;
	if (params[PARAM_REPAIR] > 0) {
		index->shared = drmi_take(index, sizeof *index->shared);
		built = index->shared != NULL;
		if (built)
			region_init(index, index->shared, NULL, n);
	}
	if (!built || !build_parts(index, keys, n)) {
		delta_rmi_destroy(index);
		return ldb_fail_oom(err, "delta_rmi: runs", n * 2 * sizeof *keys);
	}
	const ldb_status status = drmi_start(index, err);
	if (status == LDB_OK)
		*self = index;
	else
		delta_rmi_destroy(index);
	return status;
}

static size_t delta_rmi_bytes(const void *self)
{
	return atomic_load(&((const delta_rmi *)self)->held_bytes);
}

static void delta_rmi_settle(void *self)
{
	drmi_settle(self);
}

/* --- validate --------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, ldb_key key)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of delta_rmi", what,
			"in the run that ends with key %llu", (unsigned long long)key);
}

static ldb_status validate_run(const run *r, ldb_error *err)
{
	for (size_t i = 0; i < 8 * (size_t)r->lines; i++) {
		const ldb_key key = run_key(r, i);
		if (i >= r->count) {
			if (key != LDB_KEY_MAX || value_load(run_value(r, i)) != LDB_NONE)
				return broken(err, "delta_rmi: an unused entry", r->end);
			continue;
		}
		if (key < r->begin || key > r->end || (i > 0 && key <= run_key(r, i - 1)))
			return broken(err, "delta_rmi: order of keys", r->end);
		if (run_rank(r, key) != i ||
		    (key > r->begin &&
		     run_rank(r, key - 1) != (i > 0 && run_key(r, i - 1) == key - 1 ? i - 1 : i)))
			return broken(err, "delta_rmi: what the model says of a key", r->end);
	}
	/* A frozen delta may be that of a run that has been split: its keys go beyond this one's.
	 */
	const region *g = r->region;
	const node *active = atomic_load_explicit(&g->active, memory_order_acquire);
	const node *frozen = atomic_load_explicit(&g->frozen, memory_order_acquire);
	const bool own = g == &r->own;
	if (active && !delta_is_valid(active, own ? r->begin : 0, own ? r->end : LDB_KEY_MAX))
		return broken(err, "delta_rmi: order of the active delta", r->end);
	if (frozen && !delta_is_valid(frozen, 0, LDB_KEY_MAX))
		return broken(err, "delta_rmi: order of the frozen delta", r->end);
	return LDB_OK;
}

static ldb_status validate_piece(const piece *p, ldb_key end, ldb_key *next, ldb_error *err)
{
	for (size_t i = 0; i < p->count; i++) {
		const run *r = atomic_load_explicit(&p->run[i], memory_order_acquire);
		if (r->begin != *next || r->end != p->end[i])
			return broken(err, "delta_rmi: a run has another place than its piece says",
				      r->end);
		const ldb_status status = validate_run(r, err);
		if (status != LDB_OK)
			return status;
		*next = r->end + 1;
	}
	return p->count > 0 && p->end[p->count - 1] == end
		       ? LDB_OK
		       : broken(err, "delta_rmi: a piece ends elsewhere than the top says", end);
}

static ldb_status delta_rmi_validate(const void *self, ldb_error *err)
{
	delta_rmi *index = readable(self);
	ldb_status status = LDB_OK;
	ldb_key next = 0;
	drmi_enter();
	const top *t = atomic_load_explicit(&index->top, memory_order_acquire);
	for (size_t i = 0; i < t->count && status == LDB_OK; i++) {
		const ldb_key end = top_ends(t)[i];
		if (top_find(t, end) != i || top_find(t, next) != i)
			status = broken(err, "delta_rmi: what the model says of a piece", end);
		else
			status = validate_piece(
				atomic_load_explicit(&top_pieces(t)[i], memory_order_acquire), end,
				&next, err);
	}
	drmi_leave(index);
	if (status == LDB_OK && next != 0)
		status = broken(err, "delta_rmi: no run for the largest keys", next);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "delta_rmi",
	.summary = "learned runs with deltas, merged and retrained by a background thread",
	.origin = "XIndex: Tang et al., PPoPP 2020; FINEdex: Li, Hua, Jia, Zuo, VLDB 2021",
	.flags = LDB_ORDERED | LDB_LEARNED | LDB_THREADS | LDB_CONCURRENT | LDB_BACKGROUND,
	.params = params_table,
	.peak_bytes_per_key = 40, /* 17; twice that where all is laid out anew, and deltas */
	.build = delta_rmi_build,
	.destroy = delta_rmi_destroy,
	.bytes = delta_rmi_bytes,
	.validate = delta_rmi_validate,
	.lookup = delta_rmi_lookup,
	.chase = delta_rmi_chase,
	.lookup_batch = delta_rmi_lookup_batch,
	.apply = delta_rmi_apply,
	.settle = delta_rmi_settle,
};
LDB_EXPORT_INDEX(table)
