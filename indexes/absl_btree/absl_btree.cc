/*
 * absl_btree: the B-tree of the Abseil C++ library, absl::btree_multimap, bulk-loaded in order.
 * What a C++ programmer would reach for: an ordinary in-memory B-tree (values in inner nodes too,
 * nodes of 256 bytes; Bayer, McCreight 1972), the baseline of many papers on learned indexes.
 *
 * There is no lookup_batch: the container gives no access to its nodes, so nothing can be
 * prefetched. Each update descends once: a PUT's lower bound is the hint of its insertion, a
 * DELETE's is what it erases.
 *
 * Memory. The container calls our allocator for each node. It is not safe against exceptions thrown
 * there: when a split of the root gets its new root but not the new sibling, the container is left
 * in a state in which its destructor forgets nodes. So the allocator never refuses in the middle of
 * an insertion, but has a block in reserve (ldb/reserve.h). Were that not enough for once, it would
 * throw std::bad_alloc, which is caught here: no exception crosses the C boundary.
 */
#include <new>
#include <utility>

#include "absl/container/btree_map.h"

#include "ldb/index.h"
#include "ldb/loops.h"
#include "ldb/reserve.h"

namespace
{

/* One insertion splits at most one node per level, and makes a root. Levels have fanout 8 at the
 * very least, so 2^64 keys give 22 of them; nodes are 256 to 400 bytes. */
constexpr size_t RESERVE_BYTES = 24 * 512;

/* The standard's Allocator over a reserve. */
template <typename T> struct node_allocator {
	using value_type = T;
	ldb_reserve *from;

	explicit node_allocator(ldb_reserve *r) : from(r)
	{
	}
	template <typename U> node_allocator(const node_allocator<U> &other) : from(other.from)
	{
	}
	T *allocate(size_t n)
	{
		void *p = ldb_reserve_take(from, n * sizeof(T));
		if (!p)
			throw std::bad_alloc();
		return static_cast<T *>(p);
	}
	void deallocate(T *p, size_t n)
	{
		ldb_reserve_give(from, p, n * sizeof(T));
	}
	friend bool operator==(const node_allocator &a, const node_allocator &b)
	{
		return a.from == b.from;
	}
	friend bool operator!=(const node_allocator &a, const node_allocator &b)
	{
		return a.from != b.from;
	}
};

using entry = std::pair<const ldb_key, ldb_val>;
using tree = absl::btree_multimap<ldb_key, ldb_val, std::less<ldb_key>, node_allocator<entry>>;

struct absl_btree {
	ldb_reserve memory = {RESERVE_BYTES, 0, nullptr};
	tree entries;
	bool updated = false; /* values are no longer ranks */

	absl_btree() : entries(std::less<ldb_key>(), node_allocator<entry>(&memory))
	{
	}
};

inline ldb_val absl_btree_find(const absl_btree *self, ldb_key q)
{
	auto it = self->entries.lower_bound(q);
	return it == self->entries.end() ? LDB_NONE : it->second;
}

LDB_INDEX_LOOPS(absl_btree, absl_btree_find)

void absl_btree_destroy(void *self)
{
	absl_btree *index = static_cast<absl_btree *>(self);
	ldb_reserve *memory = &index->memory;
	index->entries.clear();
	ldb_reserve_close(memory);
	index->~absl_btree();
	ldb_free(index, sizeof *index);
}

/* Adds an entry beside a place; false when there is no memory. Hinted right the container adds in
 * O(1), and at its end it leaves full nodes behind. */
bool insert(absl_btree *index, tree::const_iterator hint, ldb_key key, ldb_val value)
{
	if (!ldb_reserve_ready(&index->memory))
		return false;
	try {
		index->entries.emplace_hint(hint, key, value);
		return true;
	} catch (const std::bad_alloc &) {
		return false;
	}
}

ldb_status absl_btree_build(void **self, const ldb_key *keys, size_t n, const double *values,
			    ldb_error *err)
{
	(void)values;
	void *place = ldb_alloc(sizeof(absl_btree));
	if (!place)
		return ldb_fail_oom(err, "absl_btree", sizeof(absl_btree));
	absl_btree *index = new (place) absl_btree;
	for (size_t i = 0; i < n; i++) {
		if (!insert(index, index->entries.end(), keys[i], i) ||
		    ldb_reserve_used(&index->memory)) {
			absl_btree_destroy(index);
			return ldb_fail_oom(err, "absl_btree: nodes", RESERVE_BYTES);
		}
	}
	*self = index;
	return LDB_OK;
}

bool put(absl_btree *index, ldb_key key, ldb_val value)
{
	auto it = index->entries.lower_bound(key);
	if (it == index->entries.end() || it->first != key)
		return insert(index, it, key, value);
	it->second = value;
	return true;
}

void erase(absl_btree *index, ldb_key key)
{
	auto it = index->entries.lower_bound(key);
	if (it != index->entries.end() && it->first == key)
		index->entries.erase(it);
}

ldb_val get(const absl_btree *index, ldb_key key)
{
	auto it = index->entries.lower_bound(key);
	return it != index->entries.end() && it->first == key ? it->second : LDB_NONE;
}

ldb_val scan(const absl_btree *index, ldb_key key, uint32_t length)
{
	ldb_val sum = 0;
	auto it = index->entries.lower_bound(key);
	for (; length > 0 && it != index->entries.end(); length--, ++it)
		sum += it->second;
	return sum;
}

size_t absl_btree_apply(void *self, const ldb_op *ops, size_t n, ldb_val *out, ldb_error *err)
{
	absl_btree *index = static_cast<absl_btree *>(self);
	for (size_t i = 0; i < n; i++) {
		const ldb_op &op = ops[i];
		out[i] = 0;
		if (op.kind == LDB_GET) {
			out[i] = get(index, op.key);
		} else if (op.kind == LDB_SCAN) {
			out[i] = scan(index, op.key, op.length);
		} else if (op.kind == LDB_DELETE) {
			erase(index, op.key);
		} else if (!put(index, op.key, op.value)) {
			ldb_fail_oom(err, "absl_btree: nodes", RESERVE_BYTES);
			return i;
		}
		index->updated |= op.kind == LDB_PUT || op.kind == LDB_DELETE;
	}
	return n;
}

size_t absl_btree_bytes(const void *self)
{
	const absl_btree *index = static_cast<const absl_btree *>(self);
	return sizeof *index + index->memory.held_bytes;
}

ldb_status absl_btree_validate(const void *self, ldb_error *err)
{
	const absl_btree *index = static_cast<const absl_btree *>(self);
	static const char remedy[] = "report it as a fault of absl_btree";
	size_t rank = 0;
	ldb_key last = 0;
	for (const auto &e : index->entries) {
		if (e.first < last)
			return ldb_fail(err, LDB_INVALID, remedy, "order of absl_btree's entries",
					"entry %zu is less than the one before it", rank);
		if (!index->updated && e.second != rank)
			return ldb_fail(err, LDB_INVALID, remedy, "values of absl_btree",
					"entry %zu has value %llu", rank,
					static_cast<unsigned long long>(e.second));
		last = e.first;
		rank++;
	}
	if (rank != index->entries.size())
		return ldb_fail(err, LDB_INVALID, remedy, "count of absl_btree's entries",
				"%zu found where %zu are counted", rank, index->entries.size());
	return LDB_OK;
}

ldb_index make_table()
{
	ldb_index t = {};
	t.abi = LDB_INDEX_ABI;
	t.key_bits = LDB_KEY_BITS;
	t.name = "absl_btree";
	t.summary = "absl::btree_multimap, bulk-loaded in order";
	t.origin = "Abseil C++ library; B-tree: Bayer, McCreight, Acta Informatica 1972";
	t.flags = LDB_ORDERED | LDB_DUPLICATES | LDB_THREADS;
	t.peak_bytes_per_key = 24;
	t.build = absl_btree_build;
	t.destroy = absl_btree_destroy;
	t.bytes = absl_btree_bytes;
	t.validate = absl_btree_validate;
	t.lookup = absl_btree_lookup;
	t.chase = absl_btree_chase;
	t.apply = absl_btree_apply;
	return t;
}

const ldb_index table = make_table();

} // namespace

LDB_EXPORT_INDEX(table)
