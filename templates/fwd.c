#include "templates/fwd.h"

#include <limits.h>
#include <math.h>

Work
fwd_work(Tb *t, const Call *p, int bm)
{
  Idx blocks = i_cdiv(p->sq, bm), i = i_cta(t, 0);
  Idx head = i_div_rare(i, blocks), block = i_mod_rare(i, blocks);
  Idx batch = i_div_rare(head, p->h), rest = i_mod_rare(head, p->h);
  if (p->mask.band.hi != INT_MAX)
    block = i_sub(i_sub(blocks, 1), block);
  Work w = {.b = i_add(batch, i_cta(t, 2))}; /* one of the two is 0 */
  w.h = i_add(rest, i_cta(t, 1));
  w.hk = i_div(w.h, fwd_group(p));
  w.q0 = i_mul(block, bm);
  const Call *g = p->host;
  Idx batches = call_size(g, SIZE_B), each = i_cdiv(g->sq, bm);
  Idx x = i_mul(each, i_along(g->h, batches)), y = i_aside(g->h, batches);
  t_grid(t, x, y, i_aside(batches, g->h));
  return w;
}

Tile
fwd_mask(Tb *t, const Mask *m, Tile x, At at, Visit j)
{
  if (!j.masked)
    return x;
  Tile *seen = t_var(t, x);
  T_PARTIAL (t, j)
    *seen = t_mask(t, m, *seen, at);
  return *seen;
}

Idx
fwd_group(const Call *p)
{
  int group = p->spec->group_size;
  return group ? i_int(group) : i_div(p->h, p->hk);
}

int
fwd_row_bytes(Dtype ty, int cols)
{
  return s_bytes(ty, 8, cols) / 8;
}

Case
fwd_assume(const Case *c)
{
  Case k = *c;
  k.b = c->b ? c->b : 2;
  k.h = c->h ? c->h : 16;
  k.hk = c->hk ? c->hk : k.h;
  k.sq = c->sq ? c->sq : 2048;
  k.sk = c->sk ? c->sk : k.sq;
  k.sms = c->sms ? c->sms : 108;
  return k;
}

static double
clamp(double x, double lo, double hi)
{
  return x < lo ? lo : x > hi ? hi : x;
}

/* Per block of queries by the same bounds as w_keys (tile_walk.c), in doubles. */
FwdTiles
fwd_tiles(const Case *c, int bm, int bn)
{
  FwdTiles n = {0};
  Band band = spec_band(c->spec);
  double shift = band.bottom_right ? (double)c->sk - (double)c->sq : 0, sk = (double)c->sk;
  double sq = (double)c->sq, weight = floor(sq / bm / 16) + 1; /* a sample is enough */
  for (double q0 = 0; q0 < sq; q0 += weight * bm) {
    double q1 = q0 + bm - 1;
    double hi1 = band.hi == INT_MAX ? sk : clamp(q1 + shift + band.hi + 1, 0, sk);
    double hi0 = band.hi == INT_MAX ? sk : clamp(q0 + shift + band.hi + 1, 0, sk);
    double lo0 = band.lo == INT_MIN ? 0 : clamp(q0 + shift + band.lo, 0, sk);
    double lo1 = band.lo == INT_MIN ? 0 : clamp(q1 + shift + band.lo, 0, sk);
    double seen = (hi1 - lo0) / bn, full = (hi0 - lo1) / bn;
    seen = clamp(seen + 0.5, 1, sk / bn + 1);
    full = clamp(full - 0.5, 0, seen);
    n.full += weight * full;
    n.partial += weight * (seen - full);
    n.blocks += weight;
  }
  double heads = (double)c->b * (double)c->h;
  n.full *= heads;
  n.partial *= heads;
  n.blocks *= heads;
  return n;
}
