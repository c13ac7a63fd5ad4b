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
 * Memory. libjudy takes all of it through JudyMalloc and JudyFree, given in words, and allows a
 * program to bring its own. A plug-in is loaded privately, so its functions would not be seen by a
 * shared libJudy.so; the static library is linked in instead and finds those below. They serve
 * ldb_alloc under the run's page policy and count. Which array a call is for is not said, but calls
 * come only from the thread that builds or destroys: it counts for itself.
 *
 * libjudy survives a refused allocation, but forgets nodes that it had already taken for the same
 * insertion. So none is refused in the middle of one: when ldb_alloc does, the node comes from a
 * small reserve, which is remembered, and build gives up in good order after the insertion.
 */
#include <Judy.h>
#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/loops.h"

_Static_assert(sizeof(Word_t) == sizeof(ldb_key), "a key is a word");

typedef struct {
	Pvoid_t array;
	const ldb_key *keys; /* borrowed; only validate reads them */
	size_t n;
	size_t array_bytes;
} judy;

/* --- memory for libjudy -------------------------------------------------------------------- */

enum { RESERVE_BYTES = 32 << 10 }; /* an insertion takes a few nodes, the largest of 4 KiB */

/* What this thread's calls below took, and what is put by for one insertion. */
static _Thread_local struct {
	size_t held_bytes;
	char *reserve; /* NULL except during build */
	size_t reserve_used;
	size_t refused_bytes; /* != 0: ldb_alloc has refused a node of that size */
} memory;

static bool in_reserve(const void *p)
{
	const uintptr_t at = (uintptr_t)p, start = (uintptr_t)memory.reserve;
	return start && at >= start && at < start + RESERVE_BYTES;
}

Word_t JudyMalloc(Word_t words)
{
	const size_t bytes = words * sizeof(Word_t);
	void *p = ldb_alloc(bytes);
	if (p) {
		memory.held_bytes += bytes;
		return (Word_t)p;
	}
	memory.refused_bytes = bytes;
	const size_t rounded = (bytes + 15) & ~(size_t)15;
	if (!memory.reserve || rounded > RESERVE_BYTES - memory.reserve_used)
		return 0;
	p = memory.reserve + memory.reserve_used;
	memory.reserve_used += rounded;
	return (Word_t)p;
}

void JudyFree(Pvoid_t p, Word_t words)
{
	const size_t bytes = words * sizeof(Word_t);
	if (!p || in_reserve(p))
		return;
	memory.held_bytes -= bytes;
	ldb_free(p, bytes);
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
	JudyLFreeArray(&index->array, PJE0);
	ldb_free(index, sizeof *index);
}

/* Inserts the first key of each run of equal ones. */
static ldb_status load(judy *index, ldb_error *err)
{
	for (size_t i = 0; i < index->n; i++) {
		if (i && index->keys[i] == index->keys[i - 1])
			continue;
		JError_t error;
		PPvoid_t value = JudyLIns(&index->array, index->keys[i], &error);
		if (memory.refused_bytes)
			return ldb_fail_oom(err, "judy node", memory.refused_bytes);
		if (value == PPJERR)
			return ldb_fail(err, LDB_INVALID, "report it as a fault of libjudy",
					"judy: insertion", "error %d at key %zu",
					(int)JU_ERRNO(&error), i);
		*value = (Pvoid_t)i;
	}
	return LDB_OK;
}

static ldb_status judy_build(void **self, const ldb_key *keys, size_t n, const double *values,
			     ldb_error *err)
{
	(void)values;
	judy *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "judy", sizeof *index);
	*index = (judy){.keys = keys, .n = n};
	memory.refused_bytes = memory.reserve_used = 0;
	memory.reserve = ldb_alloc(RESERVE_BYTES);
	if (!memory.reserve) {
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "judy reserve", RESERVE_BYTES);
	}
	const size_t before = memory.held_bytes;
	ldb_status status = load(index, err);
	index->array_bytes = memory.held_bytes - before;
	if (status == LDB_OK)
		*self = index;
	else
		judy_destroy(index); /* before the reserve goes: nodes may lie in it */
	ldb_free(memory.reserve, RESERVE_BYTES);
	memory.reserve = NULL;
	return status;
}

static size_t judy_bytes(const void *self)
{
	const judy *index = self;
	return sizeof *index + index->array_bytes;
}

static ldb_status broken(ldb_error *err, const char *what, size_t rank)
{
	return ldb_fail(err, LDB_INVALID, "report it as a fault of judy", what, "at rank %zu",
			rank);
}

/* Walks the array from the first entry to the last beside the keys, and has libjudy count. */
static ldb_status judy_validate(const void *self, ldb_error *err)
{
	const judy *index = self;
	Word_t key = 0, distinct = 0;
	PPvoid_t value = JudyLFirst(index->array, &key, PJE0);
	for (size_t i = 0; i < index->n; i++) {
		if (i && index->keys[i] == index->keys[i - 1])
			continue;
		if (!value || key != index->keys[i])
			return broken(err, "judy: order of the entries", i);
		if ((ldb_val)*value != i)
			return broken(err, "judy: value of an entry", i);
		value = JudyLNext(index->array, &key, PJE0);
		distinct++;
	}
	if (value)
		return broken(err, "judy: an entry after the last key", index->n);
	if (JudyLCount(index->array, 0, LDB_KEY_MAX, PJE0) != distinct)
		return broken(err, "judy: count of the entries", index->n);
	return LDB_OK;
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
};
LDB_EXPORT_INDEX(table)
