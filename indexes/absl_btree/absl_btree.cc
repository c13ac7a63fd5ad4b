/*
 * absl_btree: the B-tree of the Abseil C++ library, absl::btree_multimap, bulk-loaded in order.
 * What a C++ programmer would reach for: an ordinary in-memory B-tree (values in inner nodes too,
 * nodes of 256 bytes; Bayer, McCreight 1972), the baseline of many papers on learned indexes.
 *
 * There is no lookup_batch: the container gives no access to its nodes, so nothing can be
 * prefetched.
 *
 * Memory. The container calls our allocator for each node. It is not safe against exceptions thrown
 * there: when a split of the root gets its new root but not the new sibling, the container is left
 * in a state in which its destructor forgets nodes. So the allocator never refuses in the middle of
 * an insertion. When ldb_alloc does, it takes the node from a small reserve and remembers that;
 * build looks after each insertion and gives up in good order. Beyond the reserve it throws
 * std::bad_alloc, which build catches too: no exception crosses the C boundary.
 */
#include <new>
#include <utility>

#include "absl/container/btree_map.h"

#include "ldb/index.h"
#include "ldb/loops.h"

namespace
{

/* Counts what the container holds, and has something put by for one insertion. */
struct pool {
	/* One insertion splits at most one node per level, and makes a root. Levels have fanout 8
	 * at the very least, so 2^64 keys give 22 of them; nodes are 256 to 400 bytes. */
	static constexpr size_t RESERVE_BYTES = 24 * 512;

	size_t held_bytes = 0;
	char *reserve = nullptr;
	size_t reserve_used = 0;
	size_t refused_bytes = 0; /* != 0: ldb_alloc has refused a node of that size */

	bool in_reserve(const void *p) const
	{
		const char *c = static_cast<const char *>(p);
		return reserve && c >= reserve && c < reserve + RESERVE_BYTES;
	}

	void *take(size_t bytes)
	{
		void *p = ldb_alloc(bytes);
		if (p) {
			held_bytes += bytes;
			return p;
		}
		refused_bytes = bytes;
		size_t rounded = (bytes + 63) & ~size_t{63};
		if (!reserve || rounded > RESERVE_BYTES - reserve_used)
			throw std::bad_alloc();
		p = reserve + reserve_used;
		reserve_used += rounded;
		return p;
	}

	void give(void *p, size_t bytes)
	{
		if (in_reserve(p))
			return;
		held_bytes -= bytes;
		ldb_free(p, bytes);
	}

	/* The reserve is only needed while the tree grows. */
	bool open_reserve()
	{
		reserve = static_cast<char *>(ldb_alloc(RESERVE_BYTES));
		return reserve != nullptr;
	}

	void close_reserve()
	{
		ldb_free(reserve, RESERVE_BYTES);
		reserve = nullptr;
	}
};

/* The standard's Allocator over a pool. */
template <typename T> struct pool_allocator {
	using value_type = T;
	pool *from;

	explicit pool_allocator(pool *p) : from(p)
	{
	}
	template <typename U> pool_allocator(const pool_allocator<U> &other) : from(other.from)
	{
	}
	T *allocate(size_t n)
	{
		return static_cast<T *>(from->take(n * sizeof(T)));
	}
	void deallocate(T *p, size_t n)
	{
		from->give(p, n * sizeof(T));
	}
	friend bool operator==(const pool_allocator &a, const pool_allocator &b)
	{
		return a.from == b.from;
	}
	friend bool operator!=(const pool_allocator &a, const pool_allocator &b)
	{
		return a.from != b.from;
	}
};

using entry = std::pair<const ldb_key, ldb_val>;
using tree = absl::btree_multimap<ldb_key, ldb_val, std::less<ldb_key>, pool_allocator<entry>>;

struct absl_btree {
	pool memory; /* first: made before the tree and gone after it */
	tree entries;

	absl_btree() : entries(std::less<ldb_key>(), pool_allocator<entry>(&memory))
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
	index->~absl_btree();
	ldb_free(index, sizeof *index);
}

/* Appends all keys; false when memory ran out. Hinted at its end the container adds in O(1) and
 * leaves full nodes behind. */
bool load(absl_btree *index, const ldb_key *keys, size_t n)
{
	try {
		for (size_t i = 0; i < n && !index->memory.refused_bytes; i++)
			index->entries.insert(index->entries.end(), entry(keys[i], i));
		return !index->memory.refused_bytes;
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
	if (!index->memory.open_reserve()) {
		absl_btree_destroy(index);
		return ldb_fail_oom(err, "absl_btree reserve", pool::RESERVE_BYTES);
	}
	if (!load(index, keys, n)) {
		size_t refused_bytes = index->memory.refused_bytes;
		index->entries.clear(); /* before the reserve: nodes may lie in it */
		index->memory.close_reserve();
		absl_btree_destroy(index);
		return ldb_fail_oom(err, "absl_btree node", refused_bytes);
	}
	index->memory.close_reserve();
	*self = index;
	return LDB_OK;
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
		if (e.second != rank)
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
	return t;
}

const ldb_index table = make_table();

} // namespace

LDB_EXPORT_INDEX(table)
