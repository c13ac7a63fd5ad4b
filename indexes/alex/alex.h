/*
 * ALEX, an updatable adaptive learned index: Ding, Minhas, Yu, Wang, Do, Li, Zhang, Chandramouli,
 * Gehrke, Kossmann, Lomet, Kraska, "ALEX: An Updatable Adaptive Learned Index", SIGMOD 2020.
 *
 * A tree of linear models. A link holds the model of the node that it leads to: an inner node is an
 * array of links, a data node a gapped array of keys and, apart from them, values. The model says
 * which slot of the node a key belongs to. Neighbouring slots of an inner node may lead to the same
 * child (a run): so a child that has grown is split without changing its parent's model.
 *
 *     link of the root            inner node                       data node
 *     [model | node] --> [ link 0 | link 1 | ... | link F-1 ] --> | 3 3 7 7 7 8 9 9 | keys
 *                            \______/  a run of two               | a   b     c d   | values
 *
 * Models work in integers (ldb/line.h): exact, and never decreasing as keys grow. So a key
 * leads to one data node only, and all smaller keys to that node or to one before it.
 *
 * Gaps. A key that has no slot of its own to stand in could not be told from a gap by looking; so
 * each gap holds the key on its left again (the paper takes that on its right). The slots stay
 * sorted, the first slot >= q is never a gap, and a gap is known by being equal to its neighbour:
 * there is no bitmap. Slot 0 of a node that is not empty is in use.
 */
#ifndef LDB_ALEX_H
#define LDB_ALEX_H

#include <stdbool.h>

#include "ldb/index.h"
#include "ldb/line.h"
#include "ldb/window.h"

/* The slots that a query compares at once: four cache lines around the predicted one. */
enum { ALEX_WINDOW = 32 };

typedef struct {
	void *node; /* alex_link[last + 1], or alex_data */
	ldb_key base;
	uint64_t slope; /* of 2^64, shifted right by `shift` */
	uint32_t last;  /* the last slot */
	uint8_t shift;
	bool is_data;
} alex_link;

/* In front of an inner node's links; padded to a cache line. */
typedef struct {
	size_t loaded; /* keys below when it was made */
	size_t keys;   /* keys below when one of its data nodes was last made anew */
} __attribute__((aligned(64))) alex_inner;

/* In front of a data node's keys, which its values follow; capacity is a multiple of 8. */
typedef struct alex_data alex_data;
struct alex_data {
	alex_data *previous, *next; /* in key order, through the whole tree */
	uint32_t capacity, count;
	uint32_t loaded; /* count when it was made */
	/* Since then: */
	uint32_t inserts;
	uint32_t far;   /* inserts whose place was not in the window */
	uint64_t moved; /* slots */
} __attribute__((aligned(64)));

typedef struct {
	alex_link root;
	size_t bytes;
	double density;   /* of a new data node */
	size_t most_keys; /* of a data node */
	size_t ahead;     /* operations that apply looks ahead */
	/* Where a node's entries are while it is made anew: most_keys + 1 of each. */
	ldb_key *scratch_keys;
	ldb_val *scratch_values;
} alex;

/* Distinct sorted keys with values; without values they are first_value, first_value + 1 ... */
typedef struct {
	const ldb_key *keys;
	const ldb_val *values;
	size_t count;
	ldb_val first_value;
} alex_run;

/* --- models ----------------------------------------------------------------------------------- */

static inline size_t alex_predict(const alex_link *link, ldb_key q)
{
	return ldb_line_slot(q, link->base, link->slope, link->shift, link->last);
}

static inline alex_link *alex_links(const alex_link *link)
{
	return link->node;
}

static inline alex_inner *alex_inner_of(const alex_link *link)
{
	return (alex_inner *)link->node - 1;
}

/* --- search ----------------------------------------------------------------------------------- */

static inline const ldb_key *alex_keys(const alex_data *node)
{
	return (const ldb_key *)(node + 1);
}

/* The link to the data node of q. */
static inline const alex_link *alex_descend(const alex *self, ldb_key q)
{
	const alex_link *link = &self->root;
	while (!link->is_data)
		link = alex_links(link) + alex_predict(link, q);
	return link;
}

/* Where the window for a predicted slot begins: at a cache line. */
static inline size_t alex_window(size_t predicted, size_t capacity)
{
	const size_t from =
		(predicted < ALEX_WINDOW / 4 ? 0 : predicted - ALEX_WINDOW / 4) & ~(size_t)7;
	return from < capacity - ALEX_WINDOW ? from : capacity - ALEX_WINDOW;
}

/* data.c: when none, or all, of the window at `from` is less than q. */
size_t alex_search_far(const ldb_key *keys, size_t capacity, size_t from, ldb_key q);

/* The first slot >= q of a data node; its capacity where there is none. */
static inline size_t alex_search(const ldb_key *keys, size_t capacity, size_t from, ldb_key q)
{
	unsigned less = 0;
	for (size_t i = 0; i < ALEX_WINDOW; i += 8)
		less += ldb_count_less8(keys + from + i, q);
	const bool found =
		(less > 0 || from == 0) && (less < ALEX_WINDOW || from + ALEX_WINDOW == capacity);
	return __builtin_expect(found, 1) ? from + less : alex_search_far(keys, capacity, from, q);
}

/* --- data.c ----------------------------------------------------------------------------------- */

#define ALEX_CAPACITY_MOST ((size_t)1 << 24)

static inline ldb_val *alex_values(const alex_data *node)
{
	return (ldb_val *)(alex_keys(node) + node->capacity);
}

static inline size_t alex_data_bytes(size_t capacity)
{
	return sizeof(alex_data) + capacity * (sizeof(ldb_key) + sizeof(ldb_val));
}

/* Fills in the model of a data node over `run`; returns how many steps beyond the window a search
 * for one of its keys would take, on average. */
double alex_fit(alex_link *link, alex_run run, double density);
/* A node for a link with a model; NULL: no memory. */
alex_data *alex_data_make(const alex_link *link, alex_run run);
/* The same entries in a larger node, by the same model, scaled; false: no memory. */
bool alex_data_expand(const alex_link *from, alex_link *to, double density);
/* Copies all entries of a node; returns how many. There is room for one more. */
size_t alex_data_collect(const alex_data *node, ldb_key *keys, ldb_val *values);

/* Puts a key that is not there where `slot` is its lower bound; false when there is no gap. */
bool alex_data_insert(alex_data *node, size_t slot, size_t predicted, ldb_key key, ldb_val value);
void alex_data_delete(alex_data *node, size_t slot);
/* The sum of the values of *left entries from a slot on; *left becomes what the node lacks. */
ldb_val alex_data_sum(const alex_data *node, size_t slot, size_t *left);

/* --- tree.c ----------------------------------------------------------------------------------- */

/* Builds the tree; false: no memory, and nothing is held. */
bool alex_load(alex *self, alex_run run);
void alex_free(alex *self);
/* Makes the data node of q anew, larger, smaller, or in parts; where more is out of balance, also
 * what is around it. false: no memory, and nothing has changed. */
bool alex_restructure(alex *self, ldb_key q);

#endif
