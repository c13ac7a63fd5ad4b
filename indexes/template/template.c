/*
 * template: a small, complete index, there to be copied.
 *
 *   cp -r indexes/template indexes/mine && mv indexes/mine/template.c indexes/mine/mine.c
 *   sed -i 's/template/mine/g' indexes/mine/mine.c
 *   make test-quick && build/ldbench run --index mine,bsearch --dataset coast --size 1M
 *
 * That is all: no list to edit, no other file to touch. Folders whose sources end in .cc are
 * compiled as C++; a flags.mk beside them may set LIBS_mine, the link flags of a library.
 *
 * What it does, so that there is something to read: every stride-th key is copied into a directory.
 * A query is searched in the directory first, which leaves `stride` keys to search in the data.
 * This is the sparse index of any textbook (for instance Garcia-Molina, Ullman, Widom: Database
 * Systems, section 14.1), and the frame of most learned indexes, whose model only takes the place
 * of the directory.
 */
#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/simd.h"

/* The parameters in the order in which build gets them. Give each a help text and honest limits:
 * the tests build with the smallest and the largest value. */
enum { PARAM_STRIDE };
static const ldb_param params[] = {
	{"stride", "keys between two entries of the directory", .def = 64, .min = 1, .max = 65536},
	{0},
};

/* All that a query needs, small enough for one cache line. */
typedef struct {
	const ldb_key *keys; /* borrowed: valid and unchanged until destroy */
	size_t n;
	size_t stride;
	ldb_key *directory; /* keys[0], keys[stride], keys[2 * stride], ... */
	size_t entries;
} template;

/*
 * Where the answer must be: the rank of the first key >= q is in [*lo, *hi]. This must hold for
 * every q, present or not, also among duplicates. Here: the first directory entry >= q is no later
 * than the answer's, and the entry before it is < q.
 */
static inline void template_bound(const template *self, ldb_key q, size_t *lo, size_t *hi)
{
	size_t entry = ldb_lower_bound(self->directory, self->entries, q);
	*lo = entry ? (entry - 1) * self->stride + 1 : 0;
	*hi = entry < self->entries ? entry * self->stride : self->n;
}

/*
 * The one function that answers: the value of the first key >= q, or LDB_NONE. It is inlined into
 * the loops below. The value of keys[i] is i, so here the rank is the answer. An index that keeps
 * values of its own returns those.
 */
static inline ldb_val template_find(const template *self, ldb_key q)
{
	size_t lo, hi;
	template_bound(self, q, &lo, &hi);
	size_t rank = lo + ldb_lower_bound(self->keys + lo, hi - lo, q);
	return rank < self->n ? rank : LDB_NONE;
}

/* Emits template_lookup (independent queries) and template_chase (a chain) around template_find. */
LDB_INDEX_LOOPS(template, template_find)

static void template_destroy(void *self)
{
	template *index = self;
	/* Frees are sized: keep what is needed to know how much was asked for. */
	ldb_free(index->directory, index->entries * sizeof *index->directory);
	ldb_free(index, sizeof *index);
}

/*
 * Everything that takes time is done here: training, tuning, copying. n may be 0, keys may be all
 * equal, or hold 0 and UINT64_MAX. Any ldb_alloc may fail (the tests make each one fail in turn):
 * then give back what was taken and say so in *err.
 */
static ldb_status template_build(void **self, const ldb_key *keys, size_t n, const double *values,
				 ldb_error *err)
{
	template *index = ldb_alloc(sizeof *index);
	if (!index)
		return ldb_fail_oom(err, "template", sizeof *index);
	*index = (template){.keys = keys, .n = n, .stride = (size_t)values[PARAM_STRIDE]};
	index->entries = n / index->stride + (n % index->stride != 0);
	size_t bytes = index->entries * sizeof *index->directory;
	index->directory = ldb_alloc(bytes);
	if (!index->directory) {
		ldb_free(index, sizeof *index);
		return ldb_fail_oom(err, "template directory", bytes);
	}
	for (size_t i = 0; i < index->entries; i++)
		index->directory[i] = keys[i * index->stride];
	*self = index;
	return LDB_OK;
}

/* What this index holds; the tests compare it with the allocator's count. Borrowed keys don't
 * count. */
static size_t template_bytes(const void *self)
{
	const template *index = self;
	return sizeof *index + index->entries * sizeof *index->directory;
}

/*
 * Checks what must be true of the finished index and names the first thing that is not. Tests and
 * `ldbench verify` call it, measurements up to a million keys: it may be slow.
 */
static ldb_status template_validate(const void *self, ldb_error *err)
{
	const template *index = self;
	for (size_t i = 0; i < index->entries; i++) {
		if (index->directory[i] != index->keys[i * index->stride])
			return ldb_fail(err, LDB_INVALID,
					"report it as a fault of template's build",
					"template directory", "entry %zu is not key %zu", i,
					i * index->stride);
	}
	return LDB_OK;
}

/* Optional: lets the harness report how long the last-mile search is. NULL where there is none. */
static void template_window(const void *self, ldb_key q, size_t *lo, size_t *hi)
{
	template_bound(self, q, lo, hi);
}

/*
 * The table is all that the driver sees. Left out here, so NULL, because they are optional:
 * .lookup_batch (the harness then calls lookup and labels the mode so; see indexes/bsearch for
 * one), .info (what an auto-tuning build chose) and .apply with what belongs to it (updates). Flags
 * are promises that the tests check: without LDB_ORDERED the answers are those of get, without
 * LDB_DUPLICATES no equal keys are given.
 */
static const ldb_index table = {
	.abi = LDB_INDEX_ABI,
	.key_bits = LDB_KEY_BITS,
	.name = "template",
	.summary = "directory of every stride-th key: the example to copy",
	.origin = "textbook sparse index",
	.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS,
	.params = params,
	.peak_bytes_per_key = 8, /* the directory, for the smallest stride */
	.build = template_build,
	.destroy = template_destroy,
	.bytes = template_bytes,
	.validate = template_validate,
	.lookup = template_lookup,
	.chase = template_chase,
	.window = template_window,
};
LDB_EXPORT_INDEX(table)
