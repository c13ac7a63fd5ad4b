/*
 * judy: a Judy array, JudyL of Debian's libjudy, which maps words to words.
 *
 * A Judy array is a radix tree over the bytes of a key, with 256-way branches that come in three
 * compressed forms (a linear list of up to 7, a bitmap, the plain array), leaves that hold only
 * the bytes not yet decoded, runs of them in bitmaps, and shortcuts over bytes that all keys of a
 * subtree share. Each form is sized in cache lines, and each node changes its form as it grows
 * (Baskins: A 10-Minute Description of How Judy Arrays Work, 2002; Silverstein: Judy IV Shop
 * Manual, 2002). It is the older relative of ART (indexes/art), which keeps the idea of adaptive
 * nodes and drops most of the forms.
 *
 * Lower bound is JudyLFirst: it looks the key up and, when it is absent, goes on to the next one.
 * Of equal keys the rank of the first is kept. A lookup touches a line or two per level, at most
 * 8 levels, each only known when the last has come: nothing can be fetched ahead from outside, so
 * there is no lookup_batch.
 *
 * Updates are libjudy's own: JudyLIns finds or makes a key's value, JudyLDel deletes. A scan goes
 * from key to key by JudyLNext, which descends anew for each.
 *
 * Memory. libjudy takes all of it through JudyMalloc and JudyFree, given in words, and allows a
 * program to bring its own. A plug-in is loaded privately, so its functions would not be seen by a
 * shared libJudy.so; the static library is linked in instead and finds those below. They serve
 * ldb_alloc under the run's page policy and count. Which array a call is for is not said, but calls
 * come only from the thread that changes it: it says beforehand which one that is.
 *
 * libjudy survives a refused allocation, but forgets nodes that it had already taken for the same
 * change. So none is refused in the middle of one: there is a block in reserve (ldb/reserve.h).
 */
#include <Judy.h>
#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/reserve.h"

_Static_assert(sizeof(Word_t) == sizeof(ldb_key), "a key is a word");

/* A change takes a few nodes, the largest of 4 KiB. */
enum { RESERVE_BYTES = 32 << 10 };

typedef struct {
	Pvoid_t array;
	const ldb_key *keys; /* borrowed; only validate reads them */
	size_t n;            /* of these */
	bool updated;        /* keys and ranks are no longer what the array holds */
	ldb_reserve memory;
} judy;

/* --- memory for libjudy -------------------------------------------------------------------- */

/* Of the array that this thread changes. */
static _Thread_local ldb_reserve *memory;

Word_t JudyMalloc(Word_t words)
{
	return (Word_t)ldb_reserve_take(memory, words * sizeof(Word_t));
}

void JudyFree(Pvoid_t p, Word_t words)
{
	if (p)
		ldb_reserve_give(memory, p, words * sizeof(Word_t));
}

/* For nodes that may be paged out: the same here. */
Word_t JudyMallocVirtual(Word_t words)
{
	return JudyMalloc(words);
}

void JudyFreeVirtual(Pvoid_t p, Word_t words)
{
	JudyFree(p, words);
}

/* --- lookup -------------------------------------------------------------------------------- */

static inline ldb_val judy_find(const judy *self, ldb_key q)
{
	Word_t key = q;
	PPvoid_t value = JudyLFirst(self->array, &key, PJE0);
	return value ? (ldb_val)*value : LDB_NONE;
}

LDB_INDEX_LOOPS(judy, judy_find)

/* --- build --------------------------------------------------------------------------------- */

static void judy_destroy(void *self)
{
	judy *index = self;
	memory = &index->memory;
	JudyLFreeArray(&index->array, PJE0);
	ldb_reserve_close(memory);
	ldb_free(index, sizeof *index);
}

static ldb_status broken_change(ldb_error *err, const char *what, const JError_t *error)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of libjudy", what, "error %d",
			(int)JU_ERRNO(error));
}

static ldb_status judy_put(judy *index, ldb_key key, ldb_val new_value, ldb_error *err)
{
	JError_t error;
	if (!ldb_reserve_ready(&index->memory))
		return ldb_fail_oom(err, "judy: nodes", RESERVE_BYTES);
	PPvoid_t value = JudyLIns(&index->array, key, &error);
	if (value == PPJERR)
		return broken_change(err, "judy: insertion", &error);
	*value = (Pvoid_t)new_value;
	return LDB_OK;
}

/* Gives the first key of each run of equal ones its rank. */
static ldb_status load(judy *index, ldb_error *err)
{
	ldb_status status = LDB_OK;
	for (size_t i = 0; i < index->n && status == LDB_OK; i++) {
		if (i == 0 || index->keys[i] != index->keys[i - 1])
			status = judy_put(index, index->keys[i], i, err);
		if (status == LDB_OK && ldb_reserve_used(&index->memory))
			status = ldb_fail_oom(err, "judy: nodes", RESERVE_BYTES);
	}
	return status;
}

static ldb_status judy_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	(void)values;
	judy *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "judy", sizeof *index);
	*index = (judy){.keys = keys, .n = n, .memory.block_bytes = RESERVE_BYTES};
	memory = &index->memory;
	ldb_status status = load(index, err);
	if (status == LDB_OK)
		*self = index;
	else
		judy_destroy(index);
	return status;
}

/* --- updates ------------------------------------------------------------------------------- */

/* Nodes change their form as they shrink, too, so a deletion takes memory. */
static ldb_status judy_delete(judy *index, ldb_key key, ldb_error *err)
{
	JError_t error;
	if (!ldb_reserve_ready(&index->memory))
		return ldb_fail_oom(err, "judy: nodes", RESERVE_BYTES);
	if (JudyLDel(&index->array, key, &error) == JERR)
		return broken_change(err, "judy: deletion", &error);
	return LDB_OK;
}

static ldb_val judy_get(const judy *index, ldb_key key)
{
	PPvoid_t value = JudyLGet(index->array, key, PJE0);
	return value ? (ldb_val)*value : LDB_NONE;
}

static ldb_val judy_scan(const judy *index, ldb_key from, uint32_t length)
{
	ldb_val sum = 0;
	Word_t key = from;
	PPvoid_t value = length ? JudyLFirst(index->array, &key, PJE0) : NULL;
	for (; value; value = --length ? JudyLNext(index->array, &key, PJE0) : NULL)
		sum += (ldb_val)*value;
	return sum;
}

static size_t judy_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	judy *index = self;
	memory = &index->memory;
	for (size_t i = 0; i < n; i++) {
		const ldb_op *op = &ops[i];
		ldb_status status = LDB_OK;
		out[i] = 0;
		if (op->kind == LDB_GET)
			out[i] = judy_get(index, op->key);
		else if (op->kind == LDB_SCAN)
			out[i] = judy_scan(index, op->key, op->length);
		else if (op->kind == LDB_PUT)
			status = judy_put(index, op->key, op->value, err);
		else
			status = judy_delete(index, op->key, err);
		if (status != LDB_OK)
			return i;
		index->updated |= op->kind == LDB_PUT || op->kind == LDB_DELETE;
	}
	return n;
}

static size_t judy_bytes(const void *self)
{
	const judy *index = self;
	return sizeof *index + index->memory.held_bytes;
}

static ldb_status broken(ldb_error *err, const char *what, size_t rank)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of judy", what, "at rank %zu",
			rank);
}

/* The entries beside the keys that they were built from; gives their number. */
static ldb_status validate_loaded(const judy *index, Word_t *entries, ldb_error *err)
{
	Word_t key = 0;
	PPvoid_t value = JudyLFirst(index->array, &key, PJE0);
	for (size_t i = 0; i < index->n; i++) {
		if (i && index->keys[i] == index->keys[i - 1])
			continue;
		if (!value || key != index->keys[i])
			return broken(err, "judy: order of the entries", i);
		if ((ldb_val)*value != i)
			return broken(err, "judy: value of an entry", i);
		value = JudyLNext(index->array, &key, PJE0);
		++*entries;
	}
	return value ? broken(err, "judy: an entry after the last key", index->n) : LDB_OK;
}

static ldb_status validate_updated(const judy *index, Word_t *entries, ldb_error *err)
{
	Word_t key = 0;
	PPvoid_t value = JudyLFirst(index->array, &key, PJE0);
	for (Word_t last; value; ++*entries) {
		last = key;
		value = JudyLNext(index->array, &key, PJE0);
		if (value && key <= last)
			return broken(err, "judy: order of the entries", *entries);
	}
	return LDB_OK;
}

/* Walks the array from the first entry to the last, and has libjudy count. */
static ldb_status judy_validate(const void *self, ldb_error *err)
{
	const judy *index = self;
	Word_t entries = 0;
	ldb_status status = index->updated ? validate_updated(index, &entries, err)
					   : validate_loaded(index, &entries, err);
	if (status == LDB_OK && JudyLCount(index->array, 0, LDB_KEY_MAX, PJE0) != entries)
		return broken(err, "judy: count of the entries", entries);
	return status;
}

static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "judy",
	.summary = "JudyL of libjudy: a radix tree with compressed nodes of many forms",
	.origin = "Baskins: Judy arrays, 2000; Silverstein: Judy IV Shop Manual, 2002",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.peak_bytes_per_key = 40,
	.build = judy_build,
	.destroy = judy_destroy,
	.bytes = judy_bytes,
	.validate = judy_validate,
	.lookup = judy_lookup,
	.chase = judy_chase,
	.apply = judy_apply,
};
LDB_EXPORT_INDEX(table)
