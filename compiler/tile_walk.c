/* Which key tiles a block of queries sees: the band of the mask, cut by interval
 * arithmetic into spans of one class.
 *
 * Query q sees keys q + shift + lo … q + shift + hi, inclusive, below sk; shift is sk − sq
 * where the mask is aligned bottom-right.  For rows q0 … q1 of the block, a tile is wanted
 * if its first key is below the end that q1 sees and its last not below the start that q0
 * sees; it is FULL if its last key is below the end of q0 and its first at or after the
 * start of q1. */
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
  Walk w = {.bn = bn, .even = i_multiple(m->sk, bn) && !(i_known(m->sk, &none) && !none)};
  Idx q1 = i_sub(i_min(i_add(q0, bm), m->sq), 1);
  w.start = start_of(m, q0);
  w.end = end_of(m, q1);
  w.lo = i_div(w.start, bn);
  if (m->band.lo != INT_MIN && !m->band.bottom_right) /* may start past the last key */
    w.lo = i_min(w.lo, i_max(0, i_sub(i_cdiv(m->sk, bn), 1)));
  Idx one = i_add(w.lo, 1);
  w.hi = i_max(i_cdiv(w.end, bn), one);
  Idx full_hi = i_max(w.lo, i_min(i_div(end_of(m, q0), bn), w.hi));
  Idx full_lo = i_max(w.lo, i_min(i_cdiv(start_of(m, q1), bn), full_hi));
  if (m->band.lo == INT_MIN)
    full_lo = w.lo;
  add_span(&w, full_hi, w.hi, TILE_PARTIAL);
  w.lone = w.n == 1 && m->band.hi == INT_MAX;
  add_span(&w, full_lo, full_hi, TILE_FULL);
  add_span(&w, w.lo, full_lo, TILE_PARTIAL);
  return w;
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
  v.n = i_sub(w->hi, 1);
  v.k0 = i_mul(v.n, w->bn);
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
  r.lone = false;
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
  v.n = i_sub(j.n, by);
  v.k0 = i_mul(v.n, w->bn);
  v.is = i_le(w->lo, v.n);
  return v;
}

Visit
w_last(const Walk *w)
{
  Visit v = {.walk = w, .span = w->n - 1, .is = i_int(1), .masked = true};
  v.n = w->lo;
  v.k0 = i_mul(v.n, w->bn);
  return v;
}
