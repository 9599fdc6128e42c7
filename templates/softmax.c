#include "templates/softmax.h"

#include <attnc/attnc_rt.h>

#include <math.h>

Softmax
softmax_new(Tb *t, int rows)
{
  Softmax s = {.lazy = false};
  s.c = t_scalar(t, ATTNC_SOFTMAX_SCALE, 1.4426950408889634); /* log2 e */
  Tile m = t_rows(t, rows, -INFINITY);
  s.m = t_var(t, m);
  Tile l = t_shares(t, rows);
  s.l = t_var(t, l);
  return s;
}

Tile
softmax_step(Tb *t, Softmax *s, Tile x, bool masked, Tile *shrink)
{
  Tile high = t_row_max(t, x);
  Tile m = t_max(t, *s->m, high);
  if (s->lazy) {
    Tile up = t_sub(t, m, *s->m);
    Tile by = t_mul(t, up, s->c);
    m = t_sel_gt(t, by, m, *s->m, 8);
  }
  Tile safe = masked ? t_finite(t, m) : m;
  Tile cm = t_mul(t, safe, s->c);
  Tile down = t_fms(t, *s->m, s->c, cm);
  *shrink = t_exp2(t, down);
  Tile e = t_fms(t, x, s->c, cm);
  Tile w = t_exp2_mixed(t, e, s->poly);
  Tile sum = t_row_part(t, w);
  *s->l = t_fma(t, *s->l, *shrink, sum);
  *s->m = m;
  return w;
}

Tile
softmax_end(Tb *t, Softmax *s, Tile *lse)
{
  Tile l = t_row_join(t, *s->l);
  Tile r = t_rcp(t, l);
  Tile inv = t_sel0(t, l, r);
  Tile log = t_log2(t, l);
  Tile both = t_fma(t, *s->m, s->c, log);
  Tile ln2 = t_const(t, 0.6931471805599453);
  *lse = t_mul(t, both, ln2);
  return inv;
}
