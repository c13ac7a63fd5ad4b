/*
 * The plug-in around ALEX: lookups, operations, the batched pipeline, checks. The tree is in
 * tree.c, its data nodes are in data.c.
 */
#include "ldb/loops.h"

#include "alex.h"

enum { PARAM_DENSITY, PARAM_MOST_KEYS, PARAM_AHEAD };
static const ldb_param params[] = {
	{"density", "share of the slots of a new data node that are in use", .def = 0.7, .min = 0.3,
	 .max = 0.8},
	{"most_keys", "keys that a new data node has at most", .def = 1024, .min = 64,
	 .max = 65536},
	{"ahead", "operations that a stream is looked ahead, to fetch what they will need",
	 .def = 8, .min = 0, .max = 32},
	{0},
};

/* --- lookup ----------------------------------------------------------------------------------- */

/* The value of the first entry behind a node. */
static __attribute__((noinline)) ldb_val first_behind(const alex_data *node)
{
	do
		node = node->next;
	while (node && node->count == 0);
	return node ? alex_values(node)[0] : LDB_NONE;
}

/* The lines of values that are most likely wanted are asked for together with those of the keys. */
static inline void prefetch_values(const ldb_val *values, size_t from)
{
	__builtin_prefetch(values + from + 8);
	__builtin_prefetch(values + from + 16);
}

static inline ldb_val alex_find(const alex *self, ldb_key q)
{
	const alex_link *link = alex_descend(self, q);
	const alex_data *node = link->node;
	const size_t capacity = (size_t)link->last + 1;
	const ldb_key *keys = alex_keys(node);
	const ldb_val *values = keys + capacity;
	const size_t from = alex_window(alex_predict(link, q), capacity);
	prefetch_values(values, from);
	const size_t slot = alex_search(keys, capacity, from, q);
	if (slot < capacity && values[slot] != LDB_NONE) /* the value of an empty node */
		return values[slot];
	return first_behind(node);
}

LDB_INDEX_LOOPS(alex, alex_find)

static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const alex *self = index;
	const alex_link *link[LDB_GROUP];
	size_t from[LDB_GROUP], slot[LDB_GROUP];
	for (size_t i = 0; i < count; i++)
		link[i] = &self->root;
	for (bool below = !self->root.is_data; below;) {
		below = false;
		for (size_t i = 0; i < count; i++) {
			if (link[i]->is_data)
				continue;
			link[i] = alex_links(link[i]) + alex_predict(link[i], q[i]);
			ldb_prefetch(link[i], 0);
			below = true;
		}
	}
	for (size_t i = 0; i < count; i++) {
		const ldb_key *keys = alex_keys(link[i]->node);
		from[i] = alex_window(alex_predict(link[i], q[i]), (size_t)link[i]->last + 1);
		for (size_t k = 0; k < ALEX_WINDOW; k += 8)
			ldb_prefetch_key(keys, from[i] + k);
	}
	for (size_t i = 0; i < count; i++) {
		const ldb_key *keys = alex_keys(link[i]->node);
		const size_t capacity = (size_t)link[i]->last + 1;
		slot[i] = alex_search(keys, capacity, from[i], q[i]);
		ldb_prefetch_key(keys, capacity + slot[i]);
	}
	for (size_t i = 0; i < count; i++) {
		const size_t capacity = (size_t)link[i]->last + 1;
		const ldb_val *values = alex_keys(link[i]->node) + capacity;
		const ldb_val value = slot[i] < capacity ? values[slot[i]] : LDB_NONE;
		out[i] = value != LDB_NONE ? value : first_behind(link[i]->node);
	}
}

static void alex_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	ldb_find_groups(self, find_group, q, n, out);
}

/* --- operations ------------------------------------------------------------------------------- */

/* Where a key is, or belongs. */
typedef struct {
	alex_data *node;
	ldb_key *keys;
	ldb_val *values;
	size_t capacity, predicted, slot;
	bool present;
} place;

static inline place locate(const alex *self, ldb_key key, bool to_change)
{
	const alex_link *link = alex_descend(self, key);
	place p = {.node = link->node, .capacity = (size_t)link->last + 1};
	if (to_change)
		__builtin_prefetch(p.node, 1);
	p.keys = (ldb_key *)(p.node + 1);
	p.values = p.keys + p.capacity;
	p.predicted = alex_predict(link, key);
	const size_t from = alex_window(p.predicted, p.capacity);
	prefetch_values(p.values, from);
	p.slot = alex_search(p.keys, p.capacity, from, key);
	p.present = p.slot < p.capacity && p.keys[p.slot] == key;
	return p;
}

/* It is as full as it should get, or inserts cost more than making the node anew would. */
static inline bool wants_restructure(const alex_data *node)
{
	const uint32_t spare = node->capacity <= 64 ? 2 : node->capacity / 6;
	return node->count >= node->capacity - spare ||
	       (node->moved > 32 * (uint64_t)node->inserts && node->inserts > 16 &&
		node->inserts > node->loaded / 8);
}

static bool put(alex *self, ldb_key key, ldb_val value)
{
	place p = locate(self, key, true);
	if (p.present && p.node->count) {
		p.values[p.slot] = value;
		return true;
	}
	/* Without memory for larger nodes there may yet be a gap. */
	if (wants_restructure(p.node) && alex_restructure(self, key))
		p = locate(self, key, true);
	return alex_data_insert(p.node, p.slot, p.predicted, key, value);
}

static void delete (alex *self, ldb_key key)
{
	const place p = locate(self, key, true);
	if (!p.present || !p.node->count)
		return;
	alex_data_delete(p.node, p.slot);
	if (p.node->count == 0 || (p.capacity > ALEX_WINDOW && p.node->count < p.capacity / 8))
		alex_restructure(self, key); /* it may fail: the node is right as it is */
}

static ldb_val scan(const alex *self, ldb_key key, size_t length)
{
	const place p = locate(self, key, false);
	ldb_val sum = alex_data_sum(p.node, p.slot, &length);
	for (const alex_data *node = p.node->next; node && length; node = node->next)
		sum += alex_data_sum(node, 0, &length);
	return sum;
}

/*
 * Looks ahead in a stream of operations and asks for what they will need: of one the link that the
 * root leads it to, of one sooner to come the keys around its predicted slot. Nothing is kept, so
 * it doesn't matter what the operations before it change.
 */
static inline void look_ahead(const alex *self, const ldb_op *ops, size_t n, size_t distance)
{
	if (2 * distance < n && !self->root.is_data) {
		const ldb_key key = ops[2 * distance].key;
		ldb_prefetch(alex_links(&self->root) + alex_predict(&self->root, key), 0);
	}
	if (distance < n) {
		const ldb_key key = ops[distance].key;
		const alex_link *link = alex_descend(self, key);
		const size_t capacity = (size_t)link->last + 1;
		const size_t from = alex_window(alex_predict(link, key), capacity);
		const ldb_key *keys = alex_keys(link->node);
		for (size_t i = 0; i < ALEX_WINDOW; i += 8)
			ldb_prefetch_key(keys, from + i);
		ldb_prefetch_key(keys, capacity + from + 8);
		ldb_prefetch_key(keys, capacity + from + 16);
		if (ops[distance].kind == LDB_PUT)
			ldb_prefetch(link->node, 0);
	}
}

static size_t alex_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	alex *self = index;
	for (size_t i = 0; i < n; i++) {
		const ldb_key key = ops[i].key;
		if (self->ahead)
			look_ahead(self, ops + i, n - i, self->ahead);
		out[i] = 0;
		switch ((ldb_op_kind)ops[i].kind) {
		case LDB_GET: {
			const place p = locate(self, key, false);
			out[i] = p.present ? p.values[p.slot] : LDB_NONE;
			break;
		}
		case LDB_PUT:
			if (!put(self, key, ops[i].value)) {
				ldb_fail_oom(err, "alex: a larger data node",
					     alex_data_bytes(locate(self, key, false).capacity));
				return i;
			}
			break;
		case LDB_DELETE:
			delete (self, key);
			break;
		case LDB_SCAN:
			out[i] = scan(self, key, ops[i].length);
			break;
		}
	}
	return n;
}

/* --- build ------------------------------------------------------------------------------------ */

static size_t scratch_bytes(const alex *self)
{
	return (self->most_keys + 1) * sizeof(ldb_key);
}

static void alex_destroy(void *index)
{
	alex *self = index;
	const size_t bytes = scratch_bytes(self);
	alex_free(self);
	ldb_free(self->scratch_keys, bytes);
	ldb_free(self->scratch_values, bytes);
	ldb_free(self, sizeof *self);
}

static size_t alex_bytes(const void *self)
{
	return ((const alex *)self)->bytes;
}

static ldb_status alex_build(void **out, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	for (size_t i = 1; i < n; i++) {
		if (keys[i] == keys[i - 1])
			return ldb_fail(err, LDB_UNSUPPORTED, "give each key once", "alex",
					"key %llu occurs twice", (unsigned long long)keys[i]);
	}
	alex *self = ldb_alloc(sizeof *self);
	if (!self)
		return ldb_fail_oom(err, "alex", sizeof *self);
	*self = (alex){.bytes = sizeof *self,
		       .density = values[PARAM_DENSITY],
		       .most_keys = (size_t)values[PARAM_MOST_KEYS],
		       .ahead = (size_t)values[PARAM_AHEAD]};
	self->scratch_keys = ldb_alloc(scratch_bytes(self));
	self->scratch_values = ldb_alloc(scratch_bytes(self));
	self->bytes += 2 * scratch_bytes(self);
	if (!self->scratch_keys || !self->scratch_values ||
	    !alex_load(self, (alex_run){.keys = keys, .count = n})) {
		alex_destroy(self);
		return ldb_fail_oom(err, "alex: nodes", n * (sizeof *keys + sizeof *values));
	}
	*out = self;
	return LDB_OK;
}

/* --- validate --------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, ldb_key key)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of alex", what, "at key %llu",
			(unsigned long long)key);
}

/* What has been seen on the way through the tree, in key order. */
typedef struct {
	const alex *self;
	const alex_data *last;
	ldb_key key; /* the largest so far */
	bool any;
	size_t bytes;
	ldb_error *err;
} walk;

static ldb_status check_data(walk *w, const alex_link *link)
{
	const alex_data *node = link->node;
	const ldb_key *keys = alex_keys(node);
	if (node->capacity != link->last + 1u || node->capacity % 8 || node->capacity < ALEX_WINDOW)
		return broken(w->err, "alex: capacity of a data node", keys[0]);
	if (node->previous != w->last || (w->last && w->last->next != node))
		return broken(w->err, "alex: chain of data nodes", keys[0]);
	w->last = node;
	w->bytes += alex_data_bytes(node->capacity);
	if (node->count == 0)
		return keys[0] == 0 && keys[node->capacity - 1] == 0 &&
				       alex_values(node)[0] == LDB_NONE
			       ? LDB_OK
			       : broken(w->err, "alex: an empty data node", keys[0]);
	size_t used = 0;
	for (size_t i = 0; i < node->capacity; i++) {
		if (i > 0 && keys[i] == keys[i - 1])
			continue;
		used++;
		if (w->any && keys[i] <= w->key)
			return broken(w->err, "alex: order of keys", keys[i]);
		if (alex_descend(w->self, keys[i])->node != node)
			return broken(w->err, "alex: a key in a node it does not lead to", keys[i]);
		w->any = true;
		w->key = keys[i];
	}
	return used == node->count ? LDB_OK : broken(w->err, "alex: count of a node", keys[0]);
}

static bool same_link(const alex_link *a, const alex_link *b)
{
	return a->node == b->node && a->base == b->base && a->slope == b->slope &&
	       a->last == b->last && a->shift == b->shift && a->is_data == b->is_data;
}

static ldb_status check_link(walk *w, const alex_link *link, size_t *counted)
{
	if (link->is_data) {
		*counted += ((const alex_data *)link->node)->loaded;
		return check_data(w, link);
	}
	const alex_link *links = alex_links(link);
	size_t keys = 0;
	w->bytes += sizeof(alex_inner) + ((size_t)link->last + 1) * sizeof *links;
	for (size_t i = 0; i <= link->last; i++) {
		if (i > 0 && links[i].node == links[i - 1].node) {
			if (!same_link(&links[i], &links[i - 1]))
				return broken(w->err, "alex: links of a run differ", links[i].base);
			continue;
		}
		const ldb_status status = check_link(w, &links[i], &keys);
		if (status != LDB_OK)
			return status;
	}
	*counted += keys;
	return keys == alex_inner_of(link)->keys
		       ? LDB_OK
		       : broken(w->err, "alex: count of keys below an inner node", link->base);
}

static ldb_status alex_validate(const void *index, ldb_error *err)
{
	const alex *self = index;
	walk w = {.self = self, .bytes = sizeof *self + 2 * scratch_bytes(self), .err = err};
	size_t counted = 0;
	const ldb_status status = check_link(&w, &self->root, &counted);
	if (status != LDB_OK)
		return status;
	if (w.last->next)
		return broken(err, "alex: chain goes on behind the last data node", w.key);
	return w.bytes == self->bytes ? LDB_OK : broken(err, "alex: bytes of all nodes", w.key);
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "alex",
	.summary = "tree of linear models over gapped arrays, updatable",
	.origin = "Ding et al., ALEX: An Updatable Adaptive Learned Index, SIGMOD 2020",
	.flags = LDB_ORDERED | LDB_LEARNED | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 100,
	.build = alex_build,
	.destroy = alex_destroy,
	.bytes = alex_bytes,
	.validate = alex_validate,
	.lookup = alex_lookup,
	.chase = alex_chase,
	.lookup_batch = alex_lookup_batch,
	.apply = alex_apply,
};
LDB_EXPORT_INDEX(table)
