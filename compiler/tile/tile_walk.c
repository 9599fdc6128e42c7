/* Which key tiles a block of queries sees, and which of them whole: the band of the mask,
 * by interval arithmetic.
 *
 * Query q sees keys q + shift + lo … q + shift + hi, inclusive, below sk; shift is sk − sq
 * where the mask is aligned bottom-right.  Tiles begin with the first key that row q0, the
 * block's first, sees, and are wanted up to the end that q1, its last, sees; a tile is FULL
 * if its last key is below the end of q0 and its first at or after the start of q1. */
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
Idx
span_partial(const TileSpan *s, Idx n)
{
  Idx above = i_lt(i_sub(s->full_hi, 1), n), below = i_lt(n, s->full_lo);
  if (s->lo.node == s->full_lo.node && s->lo.k == s->full_lo.k)
    return above;
  return i_or(above, below);
}

Walk
w_keys(const Mask *m, Idx q0, int bm, int bn)
{
  int64_t none;
  bool left = m->band.lo != INT_MIN;
  Walk w = {.bn = bn, .cut = m->band.hi != INT_MAX};
  w.even_k = !left && i_multiple(m->sk, bn) && !(i_known(m->sk, &none) && !none);
  Idx q1 = i_sub(i_min(i_add(q0, bm), m->sq), 1);
  w.start = start_of(m, q0);
  w.end = end_of(m, q1);
  TileSpan *s = &w.tiles;
  s->lo = i_int(0);
  s->hi = i_max(i_cdiv(from_start(&w, w.end), bn), 1);
  s->full_hi = i_min(i_div(from_start(&w, end_of(m, q0)), bn), s->hi);
  s->full_lo = s->lo;
  if (left)
    s->full_lo = i_min(i_cdiv(i_sub(start_of(m, q1), w.start), bn), s->full_hi);
  w.single_ragged = some(s->full_hi, s->hi) && !w.cut;
  return w;
}

/* The first key of tile n. */
static Idx
first_key(const Walk *w, Idx n)
{
  return i_add(i_mul(n, w->bn), w->start);
}

/* Only where every tile is FULL is the first one known to be. */
TileIter
w_first(const Walk *w)
{
  TileIter v = {.walk = w, .is = i_int(1), .masked = span_has(&w->tiles, TILE_PARTIAL)};
  v.partial = i_int(v.masked);
  v.cut = w->cut;
  v.n = i_sub(w->tiles.hi, 1);
  v.k0 = first_key(w, v.n);
  v.in_bounds = w->even_k;
  return v;
}

Walk
w_rest(const Walk *w)
{
  Walk r = *w;
  TileSpan *s = &r.tiles;
  bool above = some(s->full_hi, s->hi) && !w->single_ragged;
  s->hi = i_sub(s->hi, 1);
  s->full_hi = above ? i_min(s->full_hi, s->hi) : s->hi;
  s->full_lo = some(s->lo, s->full_lo) ? i_min(s->full_lo, s->full_hi) : s->lo;
  r.single_ragged = r.cut = false;
  return r;
}

Walk
w_plain(const Walk *w)
{
  Walk r = *w;
  r.tiles.full_lo = r.tiles.lo;
  r.tiles.full_hi = r.tiles.hi;
  return r;
}

/* Tiles are visited from the highest down, so only the first can be the ragged last one:
 * every tile ahead of another is whole. */
TileIter
w_ahead(const Walk *w, TileIter j, int by)
{
  if (by == 0)
    return j;
  TileIter v = {.walk = w, .partial = i_int(1), .masked = true, .in_bounds = true};
  v.cut = by < 0 && w->cut;
  v.n = i_sub(j.n, by);
  v.k0 = first_key(w, v.n);
  v.is = i_le(w->tiles.lo, v.n);
  return v;
}

TileIter
w_last(const Walk *w)
{
  TileIter v = {.walk = w, .is = i_int(1), .partial = i_int(1), .masked = true};
  v.cut = w->cut;
  v.n = w->tiles.lo;
  v.k0 = first_key(w, v.n);
  return v;
}

View
w_seen(View v, TileIter j)
{
  return j.cut ? v_until(v, j.walk->end) : v;
}
