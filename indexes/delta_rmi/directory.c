/*
 * The directory: pieces of up to 32 runs, and the top with its model over the ends of pieces. Only
 * the background thread changes it. A piece whose runs split is replaced; when it would be too
 * large, several take its place, and the top is replaced and its model trained anew. Both are small
 * beside the runs: 1 KiB for about 16 of them, and 8 KiB for a million entries.
 */
#include <string.h>

#include "delta_rmi.h"

enum { PIECE_FILL = PIECE_RUNS / 2 }; /* runs of a new piece, about */

/* Where the ith of `parts` nearly equal shares of `total` begins. */
static size_t share_start(size_t total, size_t parts, size_t i)
{
	return (size_t)((unsigned __int128)total * i / parts);
}

static piece *make_piece(delta_rmi *self, run *const *runs, size_t count)
{
	piece *p = drmi_take(self, sizeof *p);
	if (!p)
		return NULL;
	memset(p, 0, sizeof *p);
	p->count = (uint32_t)count;
	for (size_t i = 0; i < PIECE_RUNS; i++) {
		p->end[i] = i < count ? runs[i]->end : LDB_KEY_MAX;
		atomic_init(&p->run[i], i < count ? runs[i] : NULL);
	}
	return p;
}

static void free_pieces(delta_rmi *self, piece **pieces, size_t made, size_t count)
{
	while (made > 0)
		drmi_give(self, pieces[--made], sizeof **pieces);
	drmi_give(self, pieces, count * sizeof *pieces);
}

/* An array of the fewest pieces, or, if there must be several, of half-full ones. */
static piece **make_pieces(delta_rmi *self, run *const *runs, size_t count, size_t *piece_count)
{
	const size_t pieces = count <= PIECE_RUNS ? 1 : (count + PIECE_FILL - 1) / PIECE_FILL;
	piece **made = drmi_take(self, pieces * sizeof *made);
	if (!made)
		return NULL;
	for (size_t i = 0; i < pieces; i++) {
		const size_t first = share_start(count, pieces, i);
		made[i] = make_piece(self, runs + first, share_start(count, pieces, i + 1) - first);
		if (!made[i]) {
			free_pieces(self, made, i, pieces);
			return NULL;
		}
	}
	*piece_count = pieces;
	return made;
}

/* --- top -------------------------------------------------------------------------------------- */

size_t top_bytes(const top *t)
{
	return TOP_HEAD + top_cells_bytes(t) +
	       8 * (size_t)t->lines * (sizeof(ldb_key) + sizeof(piece *));
}

/* A top in which `pieces` have taken the place of the one at `at` of the old one, if there is one.
 */
static top *make_top(delta_rmi *self, const top *old, size_t at, piece *const *pieces, size_t count)
{
	const size_t total = count + (old ? old->count - 1 : 0), lines = (total + 7) / 8;
	if (lines > UINT16_MAX)
		return NULL;
	const top head = {.model.cells = 8 * (uint32_t)lines,
			  .count = (uint32_t)total,
			  .lines = (uint32_t)lines};
	top *t = drmi_take(self, top_bytes(&head));
	if (!t)
		return NULL;
	*t = head;
	ldb_key *ends = top_ends(t);
	_Atomic(piece *) *links = top_pieces(t);
	for (size_t i = 0; i < 8 * lines; i++) {
		piece *p = NULL;
		if (i - at < count)
			p = pieces[i - at];
		else if (i < total)
			p = atomic_load_explicit(&top_pieces(old)[i < at ? i : i - count + 1],
						 memory_order_relaxed);
		ends[i] = p ? p->end[p->count - 1] : LDB_KEY_MAX;
		atomic_init(&links[i], p);
	}
	model_train(&t->model, (uint16_t *)(uintptr_t)top_cells(t), 8 * (uint32_t)lines, ends, 8,
		    total);
	return t;
}

top *directory_make(delta_rmi *self, run *const *runs, size_t count)
{
	size_t piece_count = 0;
	piece **pieces = make_pieces(self, runs, count, &piece_count);
	if (!pieces)
		return NULL;
	top *t = make_top(self, NULL, 0, pieces, piece_count);
	free_pieces(self, pieces, t ? 0 : piece_count, piece_count);
	return t;
}

void directory_free(delta_rmi *self, top *t)
{
	for (size_t i = 0; i < t->count; i++)
		drmi_give(self, atomic_load_explicit(&top_pieces(t)[i], memory_order_relaxed),
			  sizeof(piece));
	drmi_give(self, t, top_bytes(t));
}

/* --- replacement ------------------------------------------------------------------------------ */

/* The runs of the old piece with parts in the place of some. */
static run **list_runs(delta_rmi *self, const replacement *r, size_t replaced, run *const *parts,
		       size_t count, size_t total)
{
	run **runs = drmi_take(self, total * sizeof *runs);
	for (size_t i = 0; runs && i < total; i++) {
		const size_t from = i < r->run_at ? i : i - count + replaced;
		runs[i] = i - r->run_at < count ? parts[i - r->run_at]
						: atomic_load_explicit(&r->old_piece->run[from],
								       memory_order_relaxed);
	}
	return runs;
}

bool directory_prepare(delta_rmi *self, ldb_key last, size_t replaced, run **parts, size_t count,
		       replacement *out)
{
	replacement r = {.old_top = atomic_load_explicit(&self->top, memory_order_relaxed)};
	r.at = top_find(r.old_top, last);
	r.old_piece = atomic_load_explicit(&top_pieces(r.old_top)[r.at], memory_order_relaxed);
	r.run_at = piece_find(r.old_piece, last);
	r.only = replaced == 1 && count == 1 ? parts[0] : NULL;
	*out = r;
	if (r.only)
		return true;
	const size_t total = r.old_piece->count - replaced + count;
	run **runs = list_runs(self, &r, replaced, parts, count, total);
	if (!runs)
		return false;
	r.pieces = make_pieces(self, runs, total, &r.piece_count);
	drmi_give(self, runs, total * sizeof *runs);
	if (!r.pieces)
		return false;
	if (r.piece_count > 1) {
		r.top = make_top(self, r.old_top, r.at, r.pieces, r.piece_count);
		if (!r.top) {
			free_pieces(self, r.pieces, r.piece_count, r.piece_count);
			return false;
		}
	}
	*out = r;
	return true;
}

void directory_cancel(delta_rmi *self, replacement *r)
{
	if (r->top)
		drmi_give(self, r->top, top_bytes(r->top));
	if (r->pieces)
		free_pieces(self, r->pieces, r->piece_count, r->piece_count);
}

void directory_publish(delta_rmi *self, const replacement *r)
{
	if (r->only)
		atomic_store_explicit(&r->old_piece->run[r->run_at], r->only, memory_order_release);
	else if (r->top)
		atomic_store_explicit(&self->top, r->top, memory_order_release);
	else
		atomic_store_explicit(&top_pieces(r->old_top)[r->at], r->pieces[0],
				      memory_order_release);
}

void directory_retire_old(delta_rmi *self, replacement *r)
{
	if (r->only)
		return;
	drmi_retire(self, GARBAGE_PIECE, &r->old_piece->link);
	if (r->top)
		drmi_retire(self, GARBAGE_TOP, &r->old_top->link);
	free_pieces(self, r->pieces, 0, r->piece_count);
}
