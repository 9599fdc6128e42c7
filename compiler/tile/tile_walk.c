/* Which key tiles a block of queries sees, and which of them whole: the band of the mask,
 * by interval arithmetic.
 *
 * Query q sees keys q + shift + lo … q + shift + hi, inclusive, below sk; shift is sk − sq
 * where the mask is aligned bottom-right.  Tiles begin with the first key that row q0, the
 * block's first, sees, and are wanted up to the end that q1, its last, sees; a tile is FULL
 * if its last key is below the end of q0 and its first at or after the start of q1. */
#include "compiler/tile/tile_interval.h"
#include "compiler/tile/tile_prog.h"

#include <limits.h>

/* Row `q`'s first key, or one past its last; `add` is a bound of the band. */
static Idx
edge(const Mask *m, Idx q, int64_t add)
{
  Idx shift = m->band.bottom_right ? i_sub(m->sk, m->sq) : i_int(0);
  return i_add(i_add(q, shift), i_int(add));
}

/* One past the last key of row q, at least 0, at most sk. */
static Idx
end_of(const Mask *m, Idx q)
{
  if (m->band.hi == INT_MAX)
    return m->sk;
  return i_max(0, i_min(m->sk, edge(m, q, (int64_t)m->band.hi + 1)));
}

Idx
w_end(const Mask *m, Idx q)
{
  return end_of(m, q);
}

static Idx
start_of(const Mask *m, Idx q)
{
  if (m->band.lo == INT_MIN)
    return i_int(0);
  return i_max(0, edge(m, q, m->band.lo));
}

/* Keys from the walk's first one on, up to `end`. */
static Idx
from_start(const Walk *w, Idx end)
{
  return i_max(0, i_sub(end, w->start));
}

/* Not known to be empty. */
static bool
some(Idx lo, Idx hi)
{
  int64_t a, b;
  if (i_known(lo, &a) && i_known(hi, &b))
    return a < b;
  return !lo.node || lo.node != hi.node;
}

bool
span_has(const TileSpan *s, TileClass cls)
{
  if (cls == TILE_FULL)
    return some(s->full_lo, s->full_hi);
  return some(s->lo, s->full_lo) || some(s->full_hi, s->hi);
}

/* Plain compares: what is computed of them instead costs each tile more. */
static Idx
span_partial(const TileSpan *s, Idx n)
{
  Idx above = i_lt(i_sub(s->full_hi, 1), n), below = i_lt(n, s->full_lo);
  if (s->lo.node == s->full_lo.node && s->lo.k == s->full_lo.k)
    return above;
  return i_or(above, below);
}

Mask
mask_turned(const Mask *m)
{
  Mask r = *m;
  r.sq = m->sk;
  r.sk = m->sq;
  r.band.lo = m->band.hi == INT_MAX ? INT_MIN : -m->band.hi;
  r.band.hi = m->band.lo == INT_MIN ? INT_MAX : -m->band.lo;
  r.turned = !m->turned;
  r.cut = false; /* views of queries know their end */
  return r;
}

/* ---- what mask_mod adds ---- */

/* Limits of all rows of the block by mask_mod, where it has them. */
typedef struct Cuts {
  bool left, right;
  IdxBounds first, last;
} Cuts;

static IdxRange
one(Idx x)
{
  return (IdxRange){x, x};
}

static IdxBox
box_of(const Mask *m, const WalkRows *r, Idx q1)
{
  IdxBox box = {.spec = NULL};
  box.var[m->turned ? EXPR_KV_IDX : EXPR_Q_IDX] = (IdxRange){r->q0, q1};
  box.var[EXPR_SQ] = one(m->turned ? m->sk : m->sq);
  box.var[EXPR_SK] = one(m->turned ? m->sq : m->sk);
  box.var[EXPR_B] = one(r->b);
  box.var[EXPR_H] = one(r->h);
  if (r->heads > 1)
    box.var[EXPR_H].hi = i_add(r->h, r->heads - 1);
  box.var[EXPR_HK] = one(r->hk);
  if (m->mods) {
    box.spec = m->mods->spec;
    box.tables = m->mods->tables;
  }
  return box;
}

static Cuts
cuts_of(Tb *t, const Mask *m, const IdxBox *box)
{
  Cuts c = {.left = false};
  const SpecKeys *keys = m->mods && !m->turned ? &m->mods->spec->keys : NULL;
  if (keys && keys->first) {
    c.left = true;
    c.first = i_bounds(t, &keys->of_first, box);
  }
  if (keys && keys->last) {
    c.right = true;
    c.last = i_bounds(t, &keys->of_last, box);
  }
  return c;
}

/* The first key of a row: by the band, or where mask_mod has a limit, by that. */
static Idx
first_of(const Mask *m, const Cuts *c, Idx q, Idx limit)
{
  Idx start = start_of(m, q);
  return c->left ? i_min(i_max(start, limit), m->sk) : start;
}

/* One past the last key; what is behind `limit` may be 2^31. */
static Idx
behind(const Mask *m, const Cuts *c, Idx q, Idx limit)
{
  Idx end = end_of(m, q);
  return c->right ? i_max(0, i_add(i_min(i_sub(end, 1), limit), 1)) : end;
}

static struct WalkTest *
test_of(Tb *t, const Mask *m, const IdxBox *box)
{
  struct WalkTest *x = NEW(t->arena, struct WalkTest);
  *x = (struct WalkTest){.t = t, .spec = m->mods->spec, .box = *box, .sk = m->sk};
  x->along = m->turned ? EXPR_Q_IDX : EXPR_KV_IDX;
  return x;
}

/* ---- the walk ---- */

Walk
w_keys(Tb *t, const Mask *m, const WalkRows *r, int bn)
{
  int64_t none;
  bool left = m->band.lo != INT_MIN;
  Walk w = {.bn = bn, .cut = m->cut || m->band.hi != INT_MAX};
  Idx q1 = i_sub(i_min(i_add(r->q0, r->n), m->sq), 1);
  IdxBox box = box_of(m, r, q1);
  Cuts c = cuts_of(t, m, &box);
  if (m->mods && (m->turned || !m->mods->spec->keys.one_range))
    w.test = test_of(t, m, &box);
  w.cut = w.cut || c.right;
  left = left || c.left;
  bool from_0 = w.test || m->lists || m->aligned;
  w.even_k =
      (!left || from_0) && i_multiple(m->sk, bn) && !(i_known(m->sk, &none) && !none);
  w.start = first_of(m, &c, r->q0, c.first.lo);
  if (from_0 && w.even_k) /* a block behind all keys visits a tile that there is */
    w.start = i_min(w.start, i_sub(m->sk, 1));
  Idx first = from_0 ? i_div(w.start, bn) : i_int(0);
  if (from_0)
    w.start = i_int(0);
  else if (m->step)
    w.start = i_mul(i_div(w.start, m->step), m->step);
  w.end = behind(m, &c, q1, c.last.hi);
  TileSpan *s = &w.tiles;
  s->lo = first;
  Idx tiles = i_cdiv(from_start(&w, w.end), bn);
  s->hi = i_max(tiles, i_add(first, 1));
  s->full_hi = i_min(i_div(from_start(&w, behind(m, &c, r->q0, c.last.lo)), bn), s->hi);
  s->full_lo = s->lo;
  if (left) {
    Idx from = i_sub(first_of(m, &c, q1, c.first.hi), w.start);
    s->full_lo = i_min(i_cdiv(from, bn), s->full_hi);
  }
  bool ends = m->rows_end && !i_multiple(m->sq, r->n);
  if (ends) { /* no FULL one */
    Idx full = i_sub(s->full_hi, s->full_lo), whole = i_le(i_add(r->q0, r->n), m->sq);
    s->full_hi = i_add(s->full_lo, i_mul(full, whole));
  }
  w.single_ragged = some(s->full_hi, s->hi) && !w.cut && !w.test && !ends;
  return m->lists ? walk_lists(t, m, r, &w) : w;
}

Walk
w_queries(Tb *t, const Mask *m, const WalkRows *keys, int bm)
{
  if (!m->turned || m->lists)
    t_fail(t, "a walk over queries is of a mask that is turned, without lists");
  return w_keys(t, m, keys, bm);
}

Idx
walk_first_key(const Walk *w, Idx n)
{
  return i_add(i_mul(n, w->bn), w->start);
}

static IdxBounds
tested(const Walk *w, Idx n)
{
  const struct WalkTest *x = w->test;
  IdxBox box = x->box;
  Idx k0 = walk_first_key(w, n), end = i_add(k0, w->bn - 1), last = i_sub(x->sk, 1);
  box.var[x->along] = (IdxRange){k0, i_min(end, last)};
  return i_bounds(x->t, &x->spec->mask_mod.lists[0], &box);
}

bool
w_has(const Walk *w, TileClass cls)
{
  return w->test || span_has(&w->tiles, cls);
}

/* Of a place in lists: masks hold in blocks that are not seen whole. */
static Idx
listed_partial(const ListRow *x, Idx n)
{
  ListTile at = list_tile(x, n);
  if (!x->masks)
    return at.partial;
  Idx masked = w_partial(&x->by_masks, at.tile);
  masked = i_and(masked, i_not(at.whole));
  return i_or(at.partial, masked);
}

static Idx
listed_empty(const ListRow *x, Idx n)
{
  ListTile at = list_tile(x, n);
  const Walk *w = &x->by_masks;
  if (!x->masks)
    return at.empty;
  Idx below = i_lt(at.tile, w->tiles.lo), first = i_mul(at.tile, w->bn);
  Idx out = i_or(below, i_le(w->end, first)), hidden = i_or(out, w_empty(w, at.tile));
  return i_or(at.empty, i_and(hidden, i_not(at.whole)));
}

Idx
w_partial(const Walk *w, Idx n)
{
  if (w->listed)
    return listed_partial(w->listed, n);
  if (w->places)
    return i_lt(0, i_mod(place_word(w->places, n), LISTED_WORD));
  bool partial = span_has(&w->tiles, TILE_PARTIAL);
  if (!span_has(&w->tiles, TILE_FULL))
    return i_int(1);
  Idx by_span = partial ? span_partial(&w->tiles, n) : i_int(0);
  return w->test ? i_or(by_span, i_not(tested(w, n).yes)) : by_span;
}

Idx
w_empty(const Walk *w, Idx n)
{
  if (w->places)
    return i_int(0);
  if (w->listed)
    return listed_empty(w->listed, n);
  return w->test ? tested(w, n).no : i_int(0);
}

bool
w_has_whole(const Walk *w)
{
  return w->listed && w->listed->masks;
}

/* Under a diagonal hardly a block's first tile is FULL; elsewhere that is for the sizes to
 * say. */
TileIter
w_first(const Walk *w)
{
  TileIter v = {.walk = w, .is = i_int(1), .masked = w_has(w, TILE_PARTIAL)};
  bool known = w->cut || w->test || !v.masked;
  v.cut = w->cut;
  v.n = w->seek ? w->seek->found[w->skip] : i_sub(w->tiles.hi, 1);
  v.partial = known ? i_int(v.masked) : span_partial(&w->tiles, v.n);
  v.k0 = walk_first_key(w, v.n);
  if (w->seek && !w->skip)
    v.whole = w->seek->first_whole;
  v.in_bounds = w->even_k;
  return v;
}

Walk
w_rest(const Walk *w)
{
  Walk r = *w;
  TileSpan *s = &r.tiles;
  r.ahead = w->ahead - 1;
  r.skip = w->skip + 1;
  bool above = some(s->full_hi, s->hi) && !w->single_ragged;
  s->hi = i_sub(s->hi, 1);
  s->full_hi = above ? i_min(s->full_hi, s->hi) : s->hi;
  s->full_lo = some(s->lo, s->full_lo) ? i_min(s->full_lo, s->full_hi) : s->lo;
  r.single_ragged = r.cut = false;
  return r;
}

/* Tiles of each class are where they were. */
Walk
w_between(const Walk *w, Idx lo, Idx hi)
{
  Walk r = *w;
  const TileSpan *s = &w->tiles;
  bool no_left = s->lo.node == s->full_lo.node && s->lo.k == s->full_lo.k;
  r.tiles.lo = lo;
  r.tiles.hi = hi;
  r.tiles.full_lo = no_left ? lo : s->full_lo;
  r.single_ragged = false;
  return r;
}

Walk
w_plain(const Walk *w)
{
  Walk r = *w;
  r.tiles.full_lo = r.tiles.lo;
  r.tiles.full_hi = r.tiles.hi;
  r.test = NULL;
  r.listed = NULL;
  r.places = NULL;
  return r;
}

/* Tiles are visited from the highest down, so only the first can be the ragged last one:
 * every tile ahead of another is whole; but lists have any order. */
TileIter
w_ahead(const Walk *w, TileIter j, int by)
{
  if (by == 0)
    return j;
  TileIter v = {.walk = w, .partial = i_int(1), .masked = true, .in_bounds = !w->listed};
  v.cut = by < 0 && w->cut;
  v.n = !w->test ? i_sub(j.n, by)
        : j.loop ? tile_ahead(j.loop, by, TILE_NUMBER)
                 : w->seek->found[w->skip + by];
  v.k0 = walk_first_key(w, v.n);
  v.is = w->test && j.loop ? tile_ahead(j.loop, by, TILE_IS_THERE) : i_le(w->tiles.lo, v.n);
  return v;
}

TileIter
w_last(const Walk *w)
{
  TileIter v = {.walk = w, .is = i_int(1), .partial = i_int(1), .masked = true};
  v.cut = w->cut;
  v.n = w->test ? tile_visited(w->test->loop) : w->tiles.lo;
  v.k0 = walk_first_key(w, v.n);
  return v;
}

void
walk_loop(const Walk *w, const struct Region *loop)
{
  if (w->test)
    w->test->loop = loop;
}

View
w_tile(View v, TileIter j)
{
  return j.in_bounds ? v_in_bounds(v) : j.walk->listed ? v_predicated(v) : v;
}

View
w_seen(View v, TileIter j)
{
  return j.cut ? v_until(v, j.walk->end) : v;
}
