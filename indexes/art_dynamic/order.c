/*
 * What needs the order of the keys: scans and lower bounds of absent keys.
 *
 * The descent follows q's bytes, some of which may be left out of the path, to a leaf or to a node
 * that has no child for q. Any key below the end of the path agrees with q in all bytes that were
 * followed. So the first byte in which such a key and q differ tells where q leaves the tree:
 * beside a path that was skipped, or at that node.
 */
#include "art.h"

art_leaf *art_least(art_ref ref)
{
	while (!art_is_leaf(ref)) {
		unsigned byte = 0;
		ref = art_child_from(ref, &byte);
	}
	return art_get_leaf(ref);
}

typedef struct {
	ldb_val sum;
	uint32_t left; /* keys to go */
} walk;

/* Adds what is below a reference, in order. */
static void visit(walk *w, art_ref ref)
{
	if (art_is_leaf(ref)) {
		w->sum += art_get_leaf(ref)->value;
		w->left--;
		return;
	}
	for (unsigned byte = 0; w->left > 0; byte++) {
		const art_ref child = art_child_from(ref, &byte);
		if (child == ART_EMPTY)
			return;
		visit(w, child);
	}
}

/* Adds what lies after q below the first `depth` nodes of its path. */
static void visit_after(walk *w, const art_ref *path, unsigned depth, ldb_key q)
{
	while (depth-- > 0) {
		unsigned byte = art_byte(q, art_level(path[depth])) + 1u;
		for (; w->left > 0; byte++) {
			const art_ref child = art_child_from(path[depth], &byte);
			if (child == ART_EMPTY)
				break;
			visit(w, child);
		}
	}
}

ldb_val art_scan(const art_dynamic *self, ldb_key q, uint32_t length, uint32_t *count)
{
	walk w = {.left = length};
	art_ref path[ART_LEVELS + 1]; /* nodes, and the leaf at the end */
	unsigned depth = 0, above = 0;
	*count = 0;
	if (self->root == ART_EMPTY || length == 0)
		return 0;
	path[0] = self->root;
	while (!art_is_leaf(path[depth])) {
		const art_ref *child = art_find_child(path[depth], q);
		if (!child)
			break;
		path[++depth] = *child;
	}
	const ldb_key near = art_least(path[depth])->key; /* some key there */
	if (near == q) {
		visit(&w, path[depth]);
		visit_after(&w, path, depth, q);
	} else {
		const unsigned differ = art_differ(near, q);
		while (above < depth + !art_is_leaf(path[depth]) && art_level(path[above]) > differ)
			above++;
		if (!art_is_leaf(path[above]) && art_level(path[above]) == differ)
			above++;   /* q would be a child of it */
		else if (near > q) /* q comes before all that is there */
			visit(&w, path[above]);
		visit_after(&w, path, above, q);
	}
	*count = length - w.left;
	return w.sum;
}
