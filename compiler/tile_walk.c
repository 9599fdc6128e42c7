/* Which key tiles a block of queries sees: the band of the mask, cut by interval
 * arithmetic into spans of one class.
 *
 * Query q sees keys q + shift + lo … q + shift + hi, inclusive, below sk; shift is sk − sq
 * where the mask is aligned bottom-right.  Tiles begin with the first key that row q0, the
 * block's first, sees, and are wanted up to the end that q1, its last, sees; a tile is FULL
 * if its last key is below the end of q0 and its first at or after the start of q1. */
#include "compiler/tile_prog.h"

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

static void
add_span(Walk *w, Idx lo, Idx hi, TileClass cls)
{
  int64_t a, b;
  if (i_known(lo, &a) && i_known(hi, &b) && a >= b)
    return;
  if (lo.node && lo.node == hi.node)
    return;
  w->span[w->n++] = (TileSpan){.lo = lo, .hi = hi, .cls = cls};
}

Walk
w_keys(const Mask *m, Idx q0, int bm, int bn)
{
  int64_t none;
  bool left = m->band.lo != INT_MIN;
  Walk w = {.bn = bn, .cut = m->band.hi != INT_MAX};
  w.even = !left && i_multiple(m->sk, bn) && !(i_known(m->sk, &none) && !none);
  Idx q1 = i_sub(i_min(i_add(q0, bm), m->sq), 1);
  w.start = start_of(m, q0);
  w.end = end_of(m, q1);
  w.lo = i_int(0);
  w.hi = i_max(i_cdiv(from_start(&w, w.end), bn), 1);
  Idx full_hi = i_min(i_div(from_start(&w, end_of(m, q0)), bn), w.hi), full_lo = w.lo;
  if (left)
    full_lo = i_min(i_cdiv(i_sub(start_of(m, q1), w.start), bn), full_hi);
  add_span(&w, full_hi, w.hi, TILE_PARTIAL);
  w.lone = w.n == 1 && !w.cut;
  add_span(&w, full_lo, full_hi, TILE_FULL);
  add_span(&w, w.lo, full_lo, TILE_PARTIAL);
  return w;
}

/* The first key of tile n. */
static Idx
first_key(const Walk *w, Idx n)
{
  return i_add(i_mul(n, w->bn), w->start);
}

/* Only where every tile is FULL is the first one known to be. */
static bool
first_masked(const Walk *w)
{
  return w->n != 1 || w->span[0].cls == TILE_PARTIAL;
}

Visit
w_first(const Walk *w)
{
  Visit v = {.walk = w, .span = 0, .is = i_int(1), .masked = first_masked(w)};
  v.cut = w->cut;
  v.n = i_sub(w->hi, 1);
  v.k0 = first_key(w, v.n);
  v.whole = w->even;
  return v;
}

/* The first tile is the highest one of the first span that has any. */
Walk
w_rest(const Walk *w)
{
  Walk r = *w;
  Idx hi = i_sub(w->hi, 1);
  r.hi = hi;
  r.n = 0;
  r.lone = r.cut = false;
  for (int i = w->lone; i < w->n; i++)
    add_span(&r, w->span[i].lo, i_min(w->span[i].hi, hi), w->span[i].cls);
  return r;
}

Walk
w_plain(const Walk *w)
{
  Walk r = *w;
  r.n = 0;
  add_span(&r, w->lo, w->hi, TILE_FULL);
  return r;
}

/* Tiles are visited from the highest down, so only the first can be the ragged last one:
 * every tile ahead of another is whole. */
Visit
w_ahead(const Walk *w, Visit j, int by)
{
  if (by == 0)
    return j;
  Visit v = {.walk = w, .span = j.span, .masked = true, .whole = true};
  v.cut = by < 0 && w->cut;
  v.n = i_sub(j.n, by);
  v.k0 = first_key(w, v.n);
  v.is = i_le(w->lo, v.n);
  return v;
}

Visit
w_last(const Walk *w)
{
  Visit v = {.walk = w, .span = w->n - 1, .is = i_int(1), .masked = true};
  v.cut = w->cut;
  v.n = w->lo;
  v.k0 = first_key(w, v.n);
  return v;
}

View
w_seen(View v, Visit j)
{
  return j.cut ? v_until(v, j.walk->end) : v;
}
