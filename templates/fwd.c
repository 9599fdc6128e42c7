#include "templates/fwd.h"

#include <limits.h>
#include <math.h>

Tile
fwd_scores(Tb *t, const Call *p, Tile x, At at, TileIter j)
{
  if (!spec_score_is_plain(p->spec)) {
    Tile scale = t_scalar(t, ATTNC_SOFTMAX_SCALE, 1);
    x = t_mul(t, x, scale);
    x = t_score(t, &p->mods, x, at);
  }
  if (!j.masked)
    return x;
  Tile *seen = t_var(t, x);
  T_PARTIAL (t, j)
    *seen = t_mask(t, &p->mask, *seen, at);
  return *seen;
}

bool
fwd_may_hide(const Call *p, TileIter j)
{
  return j.masked || !spec_score_is_plain(p->spec);
}

Idx
fwd_group(const Call *p)
{
  int group = p->spec->group_size;
  return group ? i_int(group) : i_div(p->h, p->hk);
}

bool
fwd_refuse_keys(const Spec *p, int bn, int stages, Why *why)
{
  int step = dtype_in(p->dtype[ATTNC_V], STEP_BYTES); /* of depth, in P V */
  int of = step > 16 ? step : 16;                     /* columns of S come in pairs of 8 */
  if (bn < of || bn % of || bn > 256)
    return refused(why, "block_n %d is not a multiple of %d up to 256", bn, of);
  if (stages < 1 || stages > 4)
    return refused(why, "num_stages %d is not in 1 … 4", stages);
  return false;
}

int
fwd_left_regs(Dtype ty, int blocks, int cols)
{
  int step = dtype_in(ty, STEP_BYTES), steps = (cols + step - 1) / step;
  return blocks * steps * 16 * STEP_BYTES / (32 * 4); /* bytes over the lanes of a warp */
}

bool
fwd_refuse_shared(const Case *c, int bytes, Why *why)
{
  const Target *g = c->target;
  if (bytes <= g->smem_block)
    return false;
  return refused(why, "needs %d bytes of shared memory, %s has %d a block", bytes, g->name,
                 g->smem_block);
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
