/* Walks over the blocks that a call lists, in the order of its lists: which tile is at a
 * place, and how much of it the mask hides.
 *
 * A row of blocks has two lists: of blocks that are seen whole, and of those in which the
 * masks of the spec decide.  A place is a tile of a block of one of them: blocks seen whole
 * have the lowest places, so that the walk, from the highest down, ends with them.  What
 * the lists hold is the caller's: entries behind the length that is given are not looked
 * at; a length past the number of blocks is that number, both lists together; a block that
 * there is not is none, and no place leads past the keys. */
#include "compiler/tile/tile_prog.h"

#include <limits.h>

Mask
mask_of_end(const Mask *m)
{
  return (Mask){.band = {.lo = INT_MIN, .hi = INT_MAX}, .sq = m->sq, .sk = m->sk};
}

static bool
has_masks(const Mask *m)
{
  return m->band.lo != INT_MIN || m->band.hi != INT_MAX || m->mods;
}

/* Its length, at most so many. */
static Idx
length(const ListRow *x, ListKind kind, Idx most)
{
  Idx n = i_element(x->t, &x->lists->n[kind], x->at);
  return i_max(0, i_min(n, most));
}

Walk
walk_lists(Tb *t, const Mask *m, const WalkRows *r, const Walk *by_masks)
{
  int bn = by_masks->bn;
  const BlockLists *l = m->lists;
  ListRow *x = NEW(t->arena, ListRow);
  *x = (ListRow){.t = t, .lists = l, .sk = m->sk, .bn = bn, .each = l->keys / bn};
  x->by_masks = *by_masks;
  if (r->n > l->rows || l->rows % r->n || l->keys % bn || r->heads > 1)
    t_fail(t, "blocks of %d x %d in tiles of %d x %d of %d heads", l->rows, l->keys, r->n,
           bn, r->heads);
  x->masks = has_masks(m);
  x->blocks = i_cdiv(m->sk, l->keys);
  x->at[0] = r->b;
  x->at[1] = r->h;
  x->at[2] = i_div(r->q0, l->rows);
  x->full = length(x, LIST_FULL, x->blocks);
  Idx partial = length(x, LIST_PARTIAL, i_sub(x->blocks, x->full));
  Walk w = {.bn = bn, .start = i_int(0), .end = m->sk, .listed = x};
  w.test = NEW(t->arena, struct WalkTest);
  *w.test = (struct WalkTest){.t = t, .sk = m->sk};
  w.tiles.hi = w.tiles.full_hi = i_mul(i_add(x->full, partial), x->each);
  return w;
}

/* Places are numbers of words, and the walk begins with the last. */
Walk
w_listed(Tb *t, const Walk *w, const Lookup *words, Idx n)
{
  if (!w->test || w->listed)
    t_fail(t, "a list of tiles for a walk that asks no mask");
  TileList *x = NEW(t->arena, TileList);
  *x = (TileList){.t = t, .words = words, .least = w->tiles.lo};
  Walk r = *w;
  r.places = x;
  r.tiles = (TileSpan){.hi = n, .full_hi = n};
  return r;
}

Idx
place_word(const TileList *x, Idx n)
{
  return i_length(x->t, x->words, n);
}

/* Entry i of both lists, one behind the other: where i is of the other list the entry is
 * not looked at, and is its nearest. */
static Idx
entry(const ListRow *x, Idx i, Idx whole)
{
  Idx at[EXPR_AXES] = {x->at[0], x->at[1], x->at[2], i};
  Idx full = i_element(x->t, &x->lists->at[LIST_FULL], at);
  at[3] = i_sub(i, x->full);
  Idx partial = i_element(x->t, &x->lists->at[LIST_PARTIAL], at);
  return i_select(whole, full, partial);
}

ListTile
list_tile(const ListRow *x, Idx n)
{
  Idx i = i_div(n, x->each), within = i_mod(n, x->each), whole = i_lt(i, x->full);
  Idx block = entry(x, i, whole), most = i_sub(x->blocks, 1);
  Idx there = i_max(0, i_min(block, most)), before = i_lt(block, 0);
  Idx none = i_or(before, i_lt(most, block));
  Idx tile = i_add(i_mul(there, x->each), within), first = i_mul(tile, x->bn);
  Idx ragged = i_lt(x->sk, i_add(first, x->bn));
  return (ListTile){.tile = tile,
                    .empty = i_or(none, i_le(x->sk, first)),
                    .partial = ragged,
                    .whole = whole};
}
