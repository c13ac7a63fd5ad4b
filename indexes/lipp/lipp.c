/*
 * The plug-in around LIPP: lookups, operations, the batched pipeline, checks. Nodes are made and
 * changed in tree.c.
 */
#include <string.h>

#include "ldb/loops.h"
#include "ldb/window.h"
#include "lipp.h"

enum { PARAM_SLOTS };
static const ldb_param params[] = {
	{"slots", "slots per key of a new node", .def = 2, .min = 1.1, .max = 8},
	{0},
};

/* --- in key order ----------------------------------------------------------------------------- */

/* The values of the next entries are added up. */
typedef struct {
	ldb_val sum, last;
	size_t left; /* entries yet to come */
} tally;

static inline void take(tally *t, ldb_val value)
{
	t->sum += value;
	t->last = value;
	t->left--;
}

/* Takes what is below a node, in key order. */
static void take_all(const lipp_node *node, tally *t)
{
	const size_t end = (size_t)node->last + 1;
	const lipp_slot *slots = lipp_slots(node);
	for (size_t i = lipp_next(node, 0); i < end && t->left; i = lipp_next(node, i + 1)) {
		if (lipp_is_child(&slots[i], i))
			take_all(lipp_child(&slots[i]), t);
		else
			take(t, slots[i].value);
	}
}

/* Takes what is below a node from q on: some of what is in q's slot, and all behind it. */
static void take_from(const lipp_node *node, ldb_key q, tally *t)
{
	const size_t end = (size_t)node->last + 1, slot = lipp_predict(node, q);
	const lipp_slot *slots = lipp_slots(node);
	if (lipp_is_child(&slots[slot], slot))
		take_from(lipp_child(&slots[slot]), q, t);
	else if (lipp_has_entry(&slots[slot], slot) && slots[slot].key >= q && t->left)
		take(t, slots[slot].value);
	for (size_t i = slot + 1; t->left && (i = lipp_next(node, i)) < end; i++) {
		if (lipp_is_child(&slots[i], i))
			take_all(lipp_child(&slots[i]), t);
		else
			take(t, slots[i].value);
	}
}

/* --- lookup ----------------------------------------------------------------------------------- */

static __attribute__((noinline)) ldb_val lower_bound(const lipp *self, ldb_key q)
{
	tally t = {.last = LDB_NONE, .left = 1};
	take_from(self->root, q, &t);
	return t.last;
}

/* The slot in which the search for q ends: its entry, another one, or nothing. */
static inline const lipp_slot *descend(const lipp *self, ldb_key q)
{
	const lipp_node *node = self->root;
	for (;;) {
		const size_t slot = lipp_predict(node, q);
		const lipp_slot *s = &lipp_slots(node)[slot];
		if (!lipp_is_child(s, slot))
			return s;
		node = lipp_child(s);
	}
}

/* No key is equal to the mark of the slot that it is predicted for. */
static inline ldb_val get(const lipp *self, ldb_key q)
{
	const lipp_slot *s = descend(self, q);
	return s->key == q ? s->value : LDB_NONE;
}

static inline ldb_val lipp_find(const lipp *self, ldb_key q)
{
	const lipp_slot *s = descend(self, q);
	return s->key == q ? s->value : lower_bound(self, q);
}

LDB_INDEX_LOOPS(lipp, lipp_find)

/* A group of queries goes down together, one level in each round. */
static inline void find_group(const void *index, const ldb_key *q, size_t count, ldb_val *out)
{
	const lipp *self = index;
	const lipp_node *node[LDB_GROUP];
	const lipp_slot *at[LDB_GROUP];
	unsigned char open[LDB_GROUP + 1];
	size_t left = count;
	for (size_t i = 0; i < count; i++) {
		node[i] = self->root;
		open[i] = (unsigned char)i;
	}
	while (left) {
		size_t still = 0;
		for (size_t k = 0; k < left; k++) {
			const size_t i = open[k];
			at[i] = &lipp_slots(node[i])[lipp_predict(node[i], q[i])];
			ldb_prefetch(at[i], 0);
		}
		for (size_t k = 0; k < left; k++) {
			const size_t i = open[k], slot = (size_t)(at[i] - lipp_slots(node[i]));
			open[still] = (unsigned char)i;
			if (lipp_is_child(at[i], slot)) {
				node[i] = lipp_child(at[i]);
				ldb_prefetch(node[i], 0);
				ldb_prefetch(node[i] + 1, 0);
				still++;
			}
		}
		left = still;
	}
	for (size_t i = 0; i < count; i++)
		out[i] = at[i]->key == q[i] ? at[i]->value : lower_bound(self, q[i]);
}

static void lipp_lookup_batch(const void *self, const ldb_key *q, size_t n, ldb_val *out)
{
	ldb_find_groups(self, find_group, q, n, out);
}

/* --- operations ------------------------------------------------------------------------------- */

static ldb_val scan(const lipp *self, ldb_key key, size_t length)
{
	tally t = {.left = length};
	take_from(self->root, key, &t);
	return t.sum;
}

static size_t lipp_apply(void *index, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	lipp *self = index;
	for (size_t i = 0; i < n; i++) {
		out[i] = 0;
		switch ((ldb_op_kind)ops[i].kind) {
		case LDB_GET:
			out[i] = get(self, ops[i].key);
			break;
		case LDB_PUT:
			if (!lipp_put(self, ops[i].key, ops[i].value)) {
				ldb_fail_oom(err, "lipp: a node of two keys", sizeof(lipp_node));
				return i;
			}
			break;
		case LDB_DELETE:
			lipp_delete(self, ops[i].key);
			break;
		case LDB_SCAN:
			out[i] = scan(self, ops[i].key, ops[i].length);
			break;
		}
	}
	return n;
}

/* --- build ------------------------------------------------------------------------------------ */

static void lipp_destroy(void *index)
{
	lipp *self = index;
	lipp_free(self, self->root);
	ldb_free(self, sizeof *self);
}

static size_t lipp_bytes(const void *self)
{
	return ((const lipp *)self)->bytes;
}

static ldb_status lipp_build(void **out, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	for (size_t i = 1; i < n; i++) {
		if (keys[i] == keys[i - 1])
			return ldb_fail(err, LDB_UNSUPPORTED, "give each key once", "lipp",
					"key %llu occurs twice", (unsigned long long)keys[i]);
	}
	if ((double)n * values[PARAM_SLOTS] >= UINT32_MAX)
		return ldb_fail(err, LDB_UNSUPPORTED, "take fewer keys, or fewer slots per key",
				"lipp", "%zu keys need more than 2^32 slots", n);
	lipp *self = ldb_alloc(sizeof *self);
	if (!self)
		return ldb_fail_oom(err, "lipp", sizeof *self);
	*self = (lipp){.bytes = sizeof *self, .slots_per_key = values[PARAM_SLOTS]};
	self->root = lipp_make(self, keys, NULL, n);
	if (!self->root) {
		ldb_free(self, sizeof *self);
		return ldb_fail_oom(err, "lipp: nodes", n * 2 * sizeof(lipp_slot));
	}
	*out = self;
	return LDB_OK;
}

/* --- validate --------------------------------------------------------------------------------- */

static ldb_status broken(ldb_error *err, const char *what, ldb_key key)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of lipp", what, "at key %llu",
			(unsigned long long)key);
}

/* What has been seen on the way through the tree, in key order. */
typedef struct {
	ldb_key key; /* the largest so far */
	size_t keys, bytes;
	ldb_error *err;
} walk;

static ldb_status check_node(walk *w, const lipp_node *node);

static ldb_status check_slot(walk *w, const lipp_node *node, size_t slot)
{
	const lipp_slot *s = &lipp_slots(node)[slot];
	const size_t block = slot / LIPP_BLOCK;
	if (s->value != LDB_NONE && !(lipp_blocks(node)[block / 64] >> block % 64 & 1))
		return broken(w->err, "lipp: bit of a block with entries", s->key);
	if (lipp_is_child(s, slot)) {
		if (lipp_child(s)->keys < 2)
			return broken(w->err, "lipp: a child with less than two keys", w->key);
		return check_node(w, lipp_child(s));
	}
	if (!lipp_has_entry(s, slot))
		return LDB_OK;
	if (s->value == LDB_NONE || lipp_predict(node, s->key) != slot)
		return broken(w->err, "lipp: a key where it is not predicted", s->key);
	if (w->keys && s->key <= w->key)
		return broken(w->err, "lipp: order of keys", s->key);
	w->key = s->key;
	w->keys++;
	return LDB_OK;
}

static ldb_status check_node(walk *w, const lipp_node *node)
{
	const size_t before = w->keys;
	w->bytes += lipp_node_bytes(node);
	if (lipp_predict(node, LDB_KEY_MAX) == 0)
		return broken(w->err, "lipp: the largest key in slot 0", w->key);
	for (size_t i = 0; i <= node->last; i++) {
		const ldb_status status = check_slot(w, node, i);
		if (status != LDB_OK)
			return status;
	}
	return w->keys - before == node->keys ? LDB_OK
					      : broken(w->err, "lipp: count of keys", w->key);
}

static ldb_status lipp_validate(const void *index, ldb_error *err)
{
	const lipp *self = index;
	walk w = {.bytes = sizeof *self, .err = err};
	const ldb_status status = check_node(&w, self->root);
	if (status != LDB_OK)
		return status;
	return w.bytes == self->bytes ? LDB_OK : broken(err, "lipp: bytes of all nodes", w.key);
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "lipp",
	.summary = "tree of lines with every key exactly where it is predicted, updatable",
	.origin = "Wu et al., Updatable Learned Index with Precise Positions, VLDB 2021",
	.flags = LDB_ORDERED | LDB_LEARNED | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 200,
	.build = lipp_build,
	.destroy = lipp_destroy,
	.bytes = lipp_bytes,
	.validate = lipp_validate,
	.lookup = lipp_lookup,
	.chase = lipp_chase,
	.lookup_batch = lipp_lookup_batch,
	.apply = lipp_apply,
};
LDB_EXPORT_INDEX(table)
