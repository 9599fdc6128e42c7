#include "templates/softmax.h"

#include <attnc/attnc_rt.h>

#include <float.h>

static const double LAZY = 8;           /* a lazy reference is this much too low at most */
static const double USUAL = 0x1p22;     /* |b| of a usual row at most */
static const double NOTHING = -FLT_MAX; /* b where no key was seen */

/* What scores are still to be multiplied by, times k. */
static Tile
scale_times(Tb *t, const Softmax *s, double k)
{
  return s->scaled ? t_const(t, k) : t_scalar(t, ATTNC_SOFTMAX_SCALE, k);
}

Softmax
softmax_new(Tb *t, int rows, bool scaled)
{
  Softmax s = {.scaled = scaled};
  s.c = scale_times(t, &s, 1.4426950408889634); /* log2 e */
  Tile b = t_rows(t, rows, NOTHING);
  s.b = t_var(t, b);
  Tile g = t_rows(t, rows, 0);
  s.g = t_var(t, g);
  Tile most = t_const(t, USUAL);
  s.most = t_var(t, most);
  Tile l = t_thread_sums(t, rows);
  s.l = t_var(t, l);
  s.lost = t_var(t, l);
  return s;
}

/* What a tile of scores makes of the rows' references: weights are 2^(c·x − b), earlier
 * sums shrink by 2^by. */
typedef struct Step {
  Tile high, ch; /* highest score; c·high rounded */
  Tile *x, *b, *by;
} Step;

static Step
usual_step(Tb *t, const Softmax *s, Tile x)
{
  Step n = {.high = t_row_max(t, x)};
  n.ch = t_mul(t, n.high, s->c);
  Tile fall = t_sub(t, *s->b, n.ch), none = t_const(t, 0);
  Tile by = s->lazy ? t_select_gt(t, fall, none, fall, -LAZY) : t_min(t, fall, none);
  Tile b = s->lazy ? t_select_gt(t, fall, *s->b, n.ch, -LAZY) : t_max(t, *s->b, n.ch);
  n.x = t_var(t, x);
  n.b = t_var(t, b);
  n.by = t_var(t, by);
  return n;
}

/* What of c·high its rounding left out, where that may matter beside b. */
static Tile
left_out(Tb *t, const Softmax *s, const Step *n, Tile g)
{
  Tile none = t_const(t, 0);
  Tile left = t_fms(t, n->high, s->c, n->ch);
  left = t_select_abs_gt(t, n->ch, none, left, 4 * USUAL);
  return t_select_abs_gt(t, g, left, none, 0);
}

/* The same with rows beyond USUAL, from here to the end of the block of work: such a row
 * has g = its highest score and b = 0.  What b was is not at hand: 0 in a far row, and in
 * the others `by` tells how far it was from its new value. */
static void
far_step(Tb *t, Softmax *s, const Step *n)
{
  double least = s->lazy ? -LAZY : -FLT_MIN;
  Tile none = t_const(t, 0), was = *s->g;
  Tile down = t_sub(t, was, n->high);
  down = t_mul(t, down, s->c);
  Tile fall = t_select_abs_gt(t, was, down, *n->by, 0);
  double usual = s->near ? -1 : USUAL;
  Tile g = t_select_abs_gt(t, n->ch, n->high, none, usual);
  g = t_select_gt(t, fall, was, g, least);
  Tile stay = t_select_abs_gt(t, was, none, *n->b, 0);
  Tile nil = t_sub(t, n->high, n->high); /* 0, and NaN of a score of +inf */
  Tile b = t_select_abs_gt(t, n->ch, nil, n->ch, usual);
  b = t_select_gt(t, fall, stay, b, least);
  Tile left = left_out(t, s, n, g);
  Tile near = t_sub(t, *n->by, left);
  down = t_sub(t, was, g);
  Tile far = t_fms(t, down, s->c, b);
  *n->by = t_select_abs_gt(t, was, far, near, 0);
  *n->x = t_sub(t, *n->x, g);
  *n->b = b;
  *s->g = g;
  *s->most = t_const(t, -1);
}

/* 2^(c·x), b being 0 or the row's weights all 0.  What the product's rounding left out, and
 * c's, is ·ln 2 of the weight: a few ulp of fp32. */
static Tile
near_weights(Tb *t, const Softmax *s, Tile x, Tile e)
{
  const double log2e = 1.4426950408889634, high = (float)log2e;
  Tile scale = scale_times(t, s, 1), none = t_const(t, 0);
  Tile k = t_const(t, high);
  Tile rest = t_const(t, log2e - high);
  Tile low = t_fms(t, scale, k, s->c);
  low = t_fma(t, scale, rest, low);
  Tile left = t_fms(t, x, s->c, e);
  left = t_fma(t, x, low, left);
  left = t_select_gt(t, e, left, none, -200); /* x may be −inf */
  Tile ln2 = t_const(t, 0.6931471805599453);
  left = t_mul(t, left, ln2);
  Tile w = t_exp2_near(t, e);
  return t_fma(t, w, left, w);
}

Tile
softmax_add(Tb *t, Tile sum, Tile x, Tile *lost)
{
  Tile s = t_add(t, sum, x);
  Tile part = t_sub(t, s, sum);
  Tile back = t_sub(t, s, part);
  Tile of_sum = t_sub(t, sum, back);
  Tile of_x = t_sub(t, x, part);
  of_x = t_add(t, of_sum, of_x);
  *lost = t_add(t, *lost, of_x);
  return s;
}

static void
add_up(Tb *t, Softmax *s, Tile correction, Tile sum)
{
  if (!s->near) {
    *s->l = t_fma(t, *s->l, correction, sum);
    return;
  }
  Tile l = t_mul(t, *s->l, correction);
  *s->lost = t_mul(t, *s->lost, correction);
  *s->l = softmax_add(t, l, sum, s->lost);
}

/* A row that has seen no key looks far in the first vote, and is not: that is asked behind
 * it, since tiles that need no mask have none.  Of halves, or LLVM would make one absolute
 * value of both votes' and compute it on every tile. */
static Idx
any_far(Tb *t, const Softmax *s, const Step *n)
{
  Tile none = t_const(t, 0), half = t_const(t, 0.5);
  Tile b = t_mul(t, *n->b, half), most = t_mul(t, *s->most, half);
  return t_any_abs_gt(t, t_select_gt(t, *n->b, b, none, NOTHING), most);
}

Tile
softmax_step(Tb *t, Softmax *s, Tile x, bool masked, Tile *correction)
{
  Step n = usual_step(t, s, x);
  T_RARE (t, s->near ? i_int(1) : t_any_abs_gt(t, *n.b, *s->most))
    T_IF (t, masked && !s->near ? any_far(t, s, &n) : i_int(1))
      far_step(t, s, &n);
  *correction = s->near ? t_exp2_near(t, *n.by) : t_exp2(t, *n.by);
  Tile e = t_fms(t, *n.x, s->c, *n.b);
  Tile w = s->near ? near_weights(t, s, *n.x, e) : t_exp2_mixed(t, e, s->poly);
  Tile sum = t_row_thread_sum(t, w);
  add_up(t, s, *correction, sum);
  *s->b = *n.b;
  return w;
}

/* 1 / l, to an ulp where weights are near; of 0, 0. */
static Tile
reciprocal(Tb *t, const Softmax *s, Tile l)
{
  Tile r = t_rcp(t, l);
  if (s->near) { /* a step of Newton's */
    Tile one = t_const(t, 1);
    Tile off = t_fms(t, l, r, one);
    off = t_mul(t, off, r);
    r = t_sub(t, r, off);
  }
  return t_select_nonzero(t, l, r);
}

static Tile
power(Tb *t, const Softmax *s, Tile x)
{
  return s->near ? t_exp2_near(t, x) : t_exp2(t, x);
}

/* ---- of warps that have keys of their own ---- */

/* In log2, how far x's reference is above that of y.  The differences first, or what they
 * have in common would round what they have not. */
static Tile
above(Tb *t, const Softmax *s, const SoftmaxPart *x, const SoftmaxPart *y)
{
  Tile g = t_sub(t, x->g, y->g);
  Tile b = t_sub(t, x->b, y->b);
  return t_fma(t, g, s->c, b);
}

static SoftmaxPart
peer(Tb *t, const SharedRows *all, int warp)
{
  SoftmaxPart x = {.g = t_peer_rows(t, all, 0, warp)};
  x.b = t_peer_rows(t, all, 1, warp);
  x.l = t_peer_rows(t, all, 2, warp);
  return x;
}

/* The higher reference of the two, and the sum of both; what sums relative to each are
 * multiplied by.  One that saw no key, whose l is 0, has a reference that means nothing,
 * and is not asked. */
static SoftmaxPart
both(Tb *t, const Softmax *s, const SoftmaxPart *x, const SoftmaxPart *y, Tile *of_x,
     Tile *of_y)
{
  SoftmaxPart r;
  Tile none = t_const(t, 0);
  Tile one = t_const(t, 1);
  Tile up = above(t, s, y, x);
  up = t_select_gt(t, x->l, up, one, 0);
  up = t_select_gt(t, y->l, up, none, 0);
  r.g = t_select_gt(t, up, y->g, x->g, 0);
  r.b = t_select_gt(t, up, y->b, x->b, 0);
  Tile down = t_sub(t, none, up);
  down = t_min(t, down, none);
  up = t_min(t, up, none);
  *of_x = t_exp2(t, down);
  *of_y = t_exp2(t, up);
  Tile l = t_mul(t, y->l, *of_y);
  r.l = t_fma(t, x->l, *of_x, l);
  return r;
}

static void
keep(Softmax *s, const SoftmaxPart *x)
{
  *s->g = x->g;
  *s->b = x->b;
  *s->l = x->l;
}

void
softmax_add_part(Tb *t, Softmax *s, const SoftmaxPart *x, Tile *own, Tile *its)
{
  SoftmaxPart was = {*s->g, *s->b, *s->l}, sum = both(t, s, &was, x, own, its);
  keep(s, &sum);
}

void
softmax_reduce(Tb *t, Softmax *s)
{
  *s->l = t_row_allreduce(t, *s->l);
}

Tile
softmax_merge(Tb *t, Softmax *s, int warps)
{
  SoftmaxPart own = {.g = *s->g, .b = *s->b, .l = t_row_allreduce(t, *s->l)};
  SharedRows all = {.n = 3, .of = {own.g, own.b, own.l}};
  t_share_rows(t, &all);
  SoftmaxPart sum = peer(t, &all, 0);
  for (int w = 1; w < warps; w++) {
    Tile of_sum, of_next;
    SoftmaxPart next = peer(t, &all, w);
    sum = both(t, s, &sum, &next, &of_sum, &of_next);
  }
  Tile none = t_const(t, 0);
  Tile by = above(t, s, &own, &sum);
  by = t_select_gt(t, own.l, by, none, 0);
  keep(s, &sum);
  return t_exp2(t, by);
}

/* The row with its sink: its reference is the higher one of what it was and the sink's
 * logit, so that l and O shrink to it and nothing overflows. */
typedef struct WithSink {
  Tile l, shrink;
  Tile above; /* how far what it was is above the sink, in log2 */
} WithSink;

static WithSink
with_sink(Tb *t, const Softmax *s, Tile l, Tile sink)
{
  WithSink n;
  Tile scale = scale_times(t, s, 1), none = t_const(t, 0);
  Tile log2e = t_const(t, 1.4426950408889634);
  Tile over = t_fms(t, *s->g, scale, sink); /* the difference, then its rounding */
  n.above = t_fma(t, over, log2e, *s->b);
  Tile below = t_sub(t, none, n.above);
  Tile own = t_min(t, n.above, none), its = t_min(t, below, none);
  n.shrink = power(t, s, own);
  Tile weight = power(t, s, its);
  n.l = t_fma(t, l, n.shrink, weight);
  return n;
}

Tile
softmax_end(Tb *t, Softmax *s, const SoftmaxEnd *e, Tile *lse)
{
  const double unit = e->base_2 ? 1 : 0.6931471805599453; /* of log2 */
  const double natural = e->base_2 ? 1.4426950408889634 : 1;
  Tile l = s->near ? t_add(t, *s->l, *s->lost) : *s->l;
  l = t_row_allreduce(t, l);
  WithSink n = {.l = l};
  if (e->sink)
    n = with_sink(t, s, l, e->sink);
  Tile inv = reciprocal(t, s, n.l);
  Tile log_l = t_log2(t, n.l);
  Tile log = t_add(t, log_l, *s->b);
  Tile k = t_const(t, unit);
  log = t_mul(t, log, k);
  Tile scale = scale_times(t, s, natural);
  *lse = t_fma(t, *s->g, scale, log);
  if (!e->sink)
    return inv;
  Tile of_sink = t_const(t, natural);
  of_sink = t_mul(t, e->sink, of_sink);
  of_sink = t_fma(t, log_l, k, of_sink);
  *lse = t_select_gt(t, n.above, *lse, of_sink, 0);
  return t_mul(t, inv, n.shrink);
}
