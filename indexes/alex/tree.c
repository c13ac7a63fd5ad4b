/*
 * The tree of ALEX: bulk load, and what happens when a data node is too full, too empty or costs
 * too much (Ding et al. 2020, sections 4.3 to 4.6).
 *
 * There is one way to make nodes, whether for all keys or for those of one data node that must be
 * split: fill() gives a range of slots to one data node where a model fits it well, and halves the
 * range where not (the paper's fanout tree). A single slot whose keys are still too many, or too
 * irregular, gets an inner node of its own. So splitting sideways is filling a run of slots again,
 * and splitting down is filling a run of one.
 *
 * Depth. An inner node spreads its keys over slots that are much narrower than its range, so keys
 * loaded at once are some levels deep at most, however they lie. When a subtree has grown to a
 * multiple of the keys that it was made for, it is made anew. So of two subtrees below each other
 * that have both grown by splits, the lower one has less than half of the keys of the upper one.
 */
#include <math.h>
#include <string.h>

#include "alex.h"

enum {
	FEW_KEYS = 22,   /* of a data node that is not worth halving */
	HEAVY_KEYS = 64, /* in one slot of an inner node: more need a node below, likely */
	GRANULES = 6,    /* numbers of slots tried: 1/8 of the keys, 1/16 ... */
	MANY_KEYS = 65536,
	SAMPLE = 64,
	GROWTH = 4,   /* a subtree that has grown so many times is made anew */
	HEADROOM = 4, /* by so much is the range of an inner node extended for appended keys */
};

/* In nanoseconds, as seen where this was tuned; only what they are to each other matters. */
static const double level_ns = 60;   /* one level more */
static const double doubling_ns = 7; /* twice the slots to keep in the caches */
static const double step_ns = 50;    /* a step of a search beyond the window */
/* What two nodes cost more than one does, in room. */
static const double halving_ns = 2;

/* What is being built: a chain of data nodes. */
typedef struct {
	alex *self;
	alex_data *head, *tail;
	bool appending; /* the newest keys are beyond all others */
} builder;

/* --- inner nodes ------------------------------------------------------------------------------ */

/* What to pay for `count` keys in one slot. */
static inline double slot_cost(size_t count)
{
	if (count <= HEAVY_KEYS)
		return 0;
	const int doublings = 63 - __builtin_clzll(count / HEAVY_KEYS);
	return (double)count * level_ns * (1 + doublings / 8.0);
}

/*
 * The cost per key of spreading the keys over `slots`, slots / 2, slots / 4 ... , by `link` for
 * `slots`. All in one pass: slots of the coarser grids are pairs of slots of the finer ones.
 */
static void grid_costs(const alex_link *link, alex_run run, double cost[GRANULES])
{
	size_t at[GRANULES] = {0}, start[GRANULES] = {0};
	memset(cost, 0, GRANULES * sizeof *cost);
	for (size_t i = 0; i < run.count; i++) {
		const size_t slot = alex_predict(link, run.keys[i]);
		for (int g = 0; g < GRANULES && slot >> g != at[g]; g++) {
			cost[g] += slot_cost(i - start[g]);
			at[g] = slot >> g;
			start[g] = i;
		}
	}
	for (int g = 0; g < GRANULES; g++) {
		cost[g] = (cost[g] + slot_cost(run.count - start[g])) / (double)run.count;
		cost[g] += doubling_ns * log2((double)(link->last + 1)) - doubling_ns * g;
	}
}

/* The model that spreads the keys but the outermost `trim` on both sides over `slots`. */
static void spread(alex_link *link, alex_run run, size_t trim, double slots, bool appending)
{
	link->base = run.keys[trim];
	double span = (double)(run.keys[run.count - 1 - trim] - link->base) + 1;
	if (appending) {
		const double most = (double)(LDB_KEY_MAX - link->base) + 1;
		const double wider = HEADROOM * span < most ? HEADROOM * span : most;
		slots *= wider / span;
		span = wider;
	}
	slots = slots < span ? slots : span;
	slots = slots < 2 ? 2 : slots;
	link->slope = ldb_line_slope(slots / span, &link->shift);
	link->last = (uint32_t)slots - 1;
	link->is_data = false;
}

static size_t inner_bytes(const alex_link *link)
{
	return sizeof(alex_inner) + ((size_t)link->last + 1) * sizeof(alex_link);
}

/* --- freeing ---------------------------------------------------------------------------------- */

static void free_link(alex *self, alex_link *link);

/* Frees what a range of links leads to, each child once. */
static void free_links(alex *self, alex_link *links, size_t count)
{
	const void *freed = NULL;
	for (size_t i = 0; i < count; i++) {
		void *node = links[i].node;
		if (node && node != freed)
			free_link(self, &links[i]);
		freed = node;
	}
}

static void free_link(alex *self, alex_link *link)
{
	size_t bytes;
	if (link->is_data) {
		bytes = alex_data_bytes(link->last + 1);
		ldb_free(link->node, bytes);
	} else {
		bytes = inner_bytes(link);
		free_links(self, link->node, link->last + 1);
		ldb_free(alex_inner_of(link), bytes);
	}
	self->bytes -= bytes;
}

void alex_free(alex *self)
{
	if (self->root.node)
		free_link(self, &self->root);
}

/* --- filling ---------------------------------------------------------------------------------- */

static alex_run part(alex_run run, size_t from, size_t to)
{
	return (alex_run){run.keys + from, run.values ? run.values + from : NULL, to - from,
			  run.first_value + from};
}

/* How many keys belong before a slot. */
static size_t keys_before(const alex_link *parent, alex_run run, size_t slot)
{
	size_t lo = 0, hi = run.count;
	while (lo < hi) {
		const size_t middle = lo + (hi - lo) / 2;
		if (alex_predict(parent, run.keys[middle]) < slot)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

/* Makes the data node that a model has been fitted for, and appends it to the chain. */
static bool make_data(builder *b, alex_link *link, alex_run run)
{
	alex_data *node = alex_data_make(link, run);
	if (!node)
		return false;
	link->node = node;
	b->self->bytes += alex_data_bytes(node->capacity);
	node->previous = b->tail;
	*(b->tail ? &b->tail->next : &b->head) = node;
	b->tail = node;
	return true;
}

/* Is one data node for the keys better than halves of them (or, of one slot, than an inner node)?
 */
static bool fits(const builder *b, alex_link *link, alex_run run, bool single)
{
	if (run.count > b->self->most_keys)
		return false;
	const double cost_ns = alex_fit(link, run, b->self->density) * step_ns;
	return run.count <= FEW_KEYS || cost_ns <= (single ? level_ns : halving_ns);
}

/* Do about all slots have keys that one data node is right for, with room to grow? By a sample. */
static bool slots_fit(const builder *b, const alex_link *link, alex_run run)
{
	size_t bad = 0;
	for (size_t i = 0; i < SAMPLE; i++) {
		alex_link child;
		const size_t slot = alex_predict(link, run.keys[run.count / SAMPLE * i]);
		const size_t from = keys_before(link, run, slot);
		const alex_run keys = part(run, from, keys_before(link, run, slot + 1));
		bad += keys.count > b->self->most_keys / 2 || !fits(b, &child, keys, false);
	}
	return bad <= SAMPLE / 32;
}

/* Where keys are smooth, fewer slots do as well, and they take less of the caches. */
static double coarsen(const builder *b, alex_run run, size_t trim, double slots)
{
	for (double coarser = slots / 8; coarser < slots; coarser *= 2) {
		alex_link link;
		spread(&link, run, trim, coarser, false);
		if (slots_fit(b, &link, run))
			return coarser;
	}
	return slots;
}

/* Chooses how many slots an inner node gets, and how many keys at the ends stay out of its range.
 */
static void choose_spread(const builder *b, alex_link *link, alex_run run)
{
	const size_t trims[] = {0, run.count / 1024, run.count / 16};
	double most = (double)run.count / 8, least_cost = INFINITY;
	most = most < (1 << GRANULES) ? 1 << GRANULES : most;
	size_t trim = 0;
	int granule = 0;
	for (size_t t = 0; t < sizeof trims / sizeof *trims; t++) {
		double cost[GRANULES];
		if (t > 0 && trims[t] == trims[t - 1])
			continue;
		spread(link, run, trims[t], most, false);
		grid_costs(link, run, cost);
		for (int g = 0; g < GRANULES; g++) {
			if (cost[g] < least_cost) {
				least_cost = cost[g];
				trim = trims[t];
				granule = g;
			}
		}
	}
	double slots = most / (1 << granule);
	if (run.count >= MANY_KEYS)
		slots = coarsen(b, run, trim, slots);
	spread(link, run, trim, slots, b->appending);
}

static bool make_inner(builder *b, alex_link *link, alex_run run);

/*
 * Makes the nodes of slots [first, end) of an inner node; out[0] is the first of them. Slots
 * without keys are left without a node. `parent` is not needed for one slot.
 */
static bool fill(builder *b, const alex_link *parent, size_t first, size_t end, alex_link *out,
		 alex_run run)
{
	const size_t slots = end - first;
	alex_link link;
	if (run.count == 0)
		return true;
	if (fits(b, &link, run, slots == 1)) {
		if (!make_data(b, &link, run))
			return false;
		for (size_t i = 0; i < slots; i++)
			out[i] = link;
		return true;
	}
	if (slots == 1)
		return make_inner(b, out, run);
	const size_t middle = first + slots / 2, keys = keys_before(parent, run, middle);
	return fill(b, parent, first, middle, out, part(run, 0, keys)) &&
	       fill(b, parent, middle, end, out + slots / 2, part(run, keys, run.count));
}

/* Slots without a node join the run on their left, or, at the start, on their right. There a key
 * comes to an end of the node's range, as it should. */
static void join_empty(alex_link *links, size_t count)
{
	size_t first = 0;
	while (!links[first].node)
		first++;
	for (size_t i = 0; i < first; i++)
		links[i] = links[first];
	for (size_t i = first + 1; i < count; i++) {
		if (!links[i].node)
			links[i] = links[i - 1];
	}
}

/* fill() for keys that may be none; every slot gets a node. On failure nothing is held. */
static bool fill_all(builder *b, const alex_link *parent, size_t first, size_t end,
		     alex_link *links, alex_run run)
{
	const size_t slots = end - first;
	memset(links, 0, slots * sizeof *links);
	bool ok = fill(b, parent, first, end, links, run);
	if (ok && run.count == 0) {
		alex_fit(&links[0], run, b->self->density);
		ok = make_data(b, &links[0], run);
		links[0].node = ok ? links[0].node : NULL;
	}
	if (ok)
		join_empty(links, slots);
	else
		free_links(b->self, links, slots);
	return ok;
}

static bool make_inner(builder *b, alex_link *out, alex_run run)
{
	alex_link link = {.node = NULL};
	choose_spread(b, &link, run);
	const size_t bytes = inner_bytes(&link);
	alex_inner *inner = ldb_alloc(bytes);
	if (!inner)
		return false;
	*inner = (alex_inner){.loaded = run.count, .keys = run.count};
	link.node = inner + 1;
	if (!fill_all(b, &link, 0, link.last + 1, link.node, run)) {
		ldb_free(inner, bytes);
		return false;
	}
	b->self->bytes += bytes;
	*out = link;
	return true;
}

bool alex_load(alex *self, alex_run run)
{
	builder b = {.self = self};
	return fill_all(&b, NULL, 0, 1, &self->root, run);
}

/* --- restructuring ---------------------------------------------------------------------------- */

/* A range of an inner node's slots, or the root. */
typedef struct {
	alex_link *parent; /* NULL: the root */
	alex_link *links;  /* of the parent's node, or the root */
	size_t first, end;
} range;

static bool unbalanced(const alex_inner *inner)
{
	return inner->keys / GROWTH > inner->loaded || inner->keys < inner->loaded / GROWTH;
}

/* The run that q leads to: of its data node, or of the highest inner node that is unbalanced. */
static range find_range(alex *self, ldb_key q)
{
	range r = {NULL, &self->root, 0, 1};
	size_t at = 0;
	while (!r.links[at].is_data && !unbalanced(alex_inner_of(&r.links[at]))) {
		r.parent = &r.links[at];
		r.links = alex_links(r.parent);
		at = alex_predict(r.parent, q);
		r.end = (size_t)r.parent->last + 1;
	}
	const void *node = r.links[at].node;
	const size_t slots = r.end;
	for (r.first = at; r.first > 0 && r.links[r.first - 1].node == node;)
		r.first--;
	for (r.end = at + 1; r.end < slots && r.links[r.end].node == node;)
		r.end++;
	return r;
}

static size_t entries_of(const alex_link *link)
{
	return link->is_data ? ((const alex_data *)link->node)->count : SIZE_MAX / 2;
}

/* Adds the runs beside a node that is almost empty, if theirs are data nodes with few keys. */
static void widen(const alex *self, range *r)
{
	const size_t most = self->most_keys / 4;
	size_t keys = entries_of(&r->links[r->first]);
	if (!r->parent || keys > most)
		return;
	const size_t slots = (size_t)r->parent->last + 1;
	if (r->end < slots && keys + entries_of(&r->links[r->end]) <= most) {
		const void *node = r->links[r->end].node;
		keys += entries_of(&r->links[r->end]);
		while (r->end < slots && r->links[r->end].node == node)
			r->end++;
	}
	if (r->first > 0 && keys + entries_of(&r->links[r->first - 1]) <= most) {
		const void *node = r->links[r->first - 1].node;
		while (r->first > 0 && r->links[r->first - 1].node == node)
			r->first--;
	}
}

/* The data node at an end of what a link leads to. */
static alex_data *outermost(const alex_link *link, bool rightmost)
{
	while (!link->is_data)
		link = alex_links(link) + (rightmost ? link->last : 0);
	return link->node;
}

/* How many keys the counts of the inner nodes above have of what is in the range. */
static size_t counted_keys(const range *r)
{
	size_t keys = 0;
	for (size_t i = r->first; i < r->end; i++) {
		if (i > r->first && r->links[i].node == r->links[i - 1].node)
			continue;
		const alex_link *link = &r->links[i];
		keys += link->is_data ? ((const alex_data *)link->node)->loaded
				      : alex_inner_of(link)->keys;
	}
	return keys;
}

/* Puts new nodes in the place of the old ones. */
static void replace(alex *self, const range *r, alex_link *links, const builder *b, alex_data *head,
		    alex_data *tail)
{
	b->head->previous = head->previous;
	b->tail->next = tail->next;
	if (head->previous)
		head->previous->next = b->head;
	if (tail->next)
		tail->next->previous = b->tail;
	free_links(self, r->links + r->first, r->end - r->first);
	memcpy(r->links + r->first, links, (r->end - r->first) * sizeof *links);
}

/* Does a full node still do what its model promised? Then it needs room only. */
static bool needs_only_room(const alex *self, const range *r)
{
	const alex_link *link = &r->links[r->first];
	const alex_data *node = link->node;
	return link->is_data && node->count <= self->most_keys &&
	       node->count > node->capacity / 2 && node->far <= node->inserts / 16 &&
	       node->moved <= 8 * (uint64_t)node->inserts;
}

static bool expand(builder *b, const range *r, alex_link *links)
{
	alex_link link;
	if (!alex_data_expand(&r->links[r->first], &link, b->self->density))
		return false;
	b->head = b->tail = link.node;
	b->self->bytes += alex_data_bytes((size_t)link.last + 1);
	for (size_t i = 0; i < r->end - r->first; i++)
		links[i] = link;
	return true;
}

/* Makes all nodes of a range anew from the `count` entries between head and tail. */
static bool remake(builder *b, const range *r, alex_link *links, const alex_data *head,
		   const alex_data *tail, size_t count, ldb_key newest)
{
	const alex *self = b->self;
	const bool large = count > self->most_keys;
	const size_t bytes = (count + 1) * sizeof(ldb_key);
	ldb_key *keys = large ? ldb_alloc(bytes) : self->scratch_keys;
	ldb_val *values = large ? ldb_alloc(bytes) : self->scratch_values;
	bool ok = keys && values;
	if (ok) {
		size_t collected = 0;
		for (const alex_data *node = head; node != tail->next; node = node->next)
			collected += alex_data_collect(node, keys + collected, values + collected);
		b->appending = !tail->next && count && newest > keys[count - 1];
		ok = fill_all(b, r->parent, r->first, r->end, links,
			      (alex_run){.keys = keys, .values = values, .count = count});
	}
	ldb_free(large ? keys : NULL, bytes);
	ldb_free(large ? values : NULL, bytes);
	return ok;
}

/* Adds to the counts of the inner nodes from the root to `last`, which lead to q. */
static void count_keys(alex *self, ldb_key q, const alex_link *last, size_t more)
{
	alex_link *link = &self->root;
	for (alex_inner_of(link)->keys += more; link != last; alex_inner_of(link)->keys += more)
		link = alex_links(link) + alex_predict(link, q);
}

bool alex_restructure(alex *self, ldb_key q)
{
	range r = find_range(self, q);
	if (r.links[r.first].is_data)
		widen(self, &r);
	alex_data *head = outermost(&r.links[r.first], false);
	alex_data *tail = outermost(&r.links[r.end - 1], true);
	size_t count = 0;
	for (const alex_data *node = head; node != tail->next; node = node->next)
		count += node->count;
	alex_link few[64];
	const size_t slots = r.end - r.first, links_bytes = slots * sizeof *few;
	const bool many = slots > sizeof few / sizeof *few;
	alex_link *links = many ? ldb_alloc(links_bytes) : few;
	if (!links)
		return false;
	builder b = {.self = self};
	const bool ok = head == tail && needs_only_room(self, &r)
				? expand(&b, &r, links)
				: remake(&b, &r, links, head, tail, count, q);
	if (ok) {
		if (r.parent)
			count_keys(self, q, r.parent, count - counted_keys(&r));
		replace(self, &r, links, &b, head, tail);
	}
	ldb_free(many ? links : NULL, links_bytes);
	return ok;
}
