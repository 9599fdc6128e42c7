#include "templates/cost.h"

#include <limits.h>
#include <math.h>

/* Blocks of a head are taken in groups, so many at most; a group's middle one counts for
 * all of it. */
enum { GROUPS = 32 };

static int64_t
least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* A size of a problem: the default where it is unknown, and what a launch may have. */
static int64_t
assumed(int64_t hint, int64_t otherwise)
{
  return hint > 0 ? least(hint, INT_MAX) : otherwise;
}

Case
cost_assume(const Case *c)
{
  Case k = *c;
  k.b = assumed(c->b, 2);
  k.h = assumed(c->h, 16);
  k.hk = assumed(c->hk, k.h);
  k.sq = assumed(c->sq, 2048);
  k.sk = assumed(c->sk, k.sq);
  k.sms = c->sms ? c->sms : 108;
  return k;
}

/* ---- the tiles of a block ---- */

typedef struct Tiles {
  double full, partial, keys; /* keys: of those that there are */
} Tiles;

static double
clamp(double x, double lo, double hi)
{
  return x < lo ? lo : x > hi ? hi : x;
}

/* Those of rows q0 … q1 by the bounds of w_keys (tile_walk.c), in doubles: a hint may be
 * near 2^31. */
static Tiles
tiles_of(const Case *c, const Band *band, int bn, double q0, double q1)
{
  double shift = band->bottom_right ? (double)c->sk - (double)c->sq : 0, sk = (double)c->sk;
  bool left = band->lo != INT_MIN, right = band->hi != INT_MAX;
  double first = left ? fmax(0, q0 + shift + band->lo) : 0;
  double last_first = left ? fmax(0, q1 + shift + band->lo) : 0;
  double end = right ? clamp(q1 + shift + band->hi + 1, 0, sk) : sk;
  double first_end = right ? clamp(q0 + shift + band->hi + 1, 0, sk) : sk;
  double all = fmax(1, ceil((end - first) / bn));
  double full_end = fmin(all, floor(fmax(0, first_end - first) / bn));
  double full = full_end - fmin(full_end, ceil((last_first - first) / bn));
  return (Tiles){full, all - full, clamp(sk - first, 0, all * bn)};
}

/* ---- the blocks of a problem ---- */

typedef struct Blocks {
  Tickets order; /* without weights */
  int n;         /* groups */
  Tiles of[GROUPS];
} Blocks;

static int64_t
groups_of(int64_t blocks, int64_t step)
{
  return (blocks + step - 1) / step;
}

/* Steps are odd: the middle block is the mean. */
static int64_t
step_of(int64_t blocks)
{
  int64_t step = (blocks + GROUPS - 1) / GROUPS;
  return step + (step % 2 == 0);
}

static void
blocks_of(const Case *c, const Partition *p, Blocks *x)
{
  Band band = spec_band(c->spec);
  bool alike = mask_is_full(c->spec);
  Tickets *t = &x->order;
  *t = partition_order(c, p);
  t->step = alike ? t->blocks : step_of(t->blocks);
  x->n = (int)groups_of(t->blocks, t->step);
  if (x->n == 1) /* whoever comes first: all weigh the same */
    t->section = t->heads;
  double rows = (double)p->bm / p->pack * p->cluster;
  for (int i = 0; i < x->n; i++) {
    int64_t first = i * t->step, at = first + least(t->step, t->blocks - first) / 2;
    double q0 = (double)at * rows, q1 = fmin(q0 + rows, (double)c->sq) - 1;
    x->of[i] = tiles_of(c, &band, p->bn, q0, q1);
  }
}

double
cost_tiles(const Case *c, const Partition *p)
{
  Blocks x;
  double tiles = 0;
  blocks_of(c, p, &x);
  const Tickets *t = &x.order;
  for (int i = 0; i < x.n; i++) {
    double alike = (double)least(t->step, t->blocks - i * t->step);
    tiles += (x.of[i].full + x.of[i].partial) * alike;
  }
  return tiles * (double)t->heads * p->cluster;
}

/* ---- dealt ---- */

static bool
one_block_each(const Partition *p)
{
  return p->scheduler == SCHED_GRID || p->scheduler == SCHED_ASIDE;
}

int
cost_resident(const Case *c, const Partition *p, int fit)
{
  if (!one_block_each(p))
    return 1;
  Tickets t = partition_order(c, p);
  double each = ceil((double)t.heads * (double)t.blocks * p->cluster / c->sms);
  return each < fit ? (int)each : fit;
}

/* Of two that are fetched in the same time the one that computes less. */
static const double HIDDEN_COUNTS = 0.02;

static double
tiles_clocks(const Tiles *x, const BlockClocks *k)
{
  double computed = x->full * k->full + x->partial * k->partial, fetched = x->keys * k->key;
  return fmax(computed, fetched) + HIDDEN_COUNTS * fmin(computed, fetched);
}

/* A multiprocessor of several CTAs is one worker: they share what it does. */
double
cost_clocks(const Case *c, const Partition *p, const BlockClocks *k)
{
  Blocks x;
  double weight[GROUPS], once = one_block_each(p) ? 0 : k->start;
  blocks_of(c, p, &x);
  for (int i = 0; i < x.n; i++)
    weight[i] = tiles_clocks(&x.of[i], k) + k->block + k->start - once;
  x.order.weight = weight;
  int workers = c->sms < p->cluster ? 1 : c->sms / p->cluster;
  bool strides = p->scheduler == SCHED_PERSISTENT;
  Dealt d = strides ? deal_stride(&x.order, workers) : deal_first_free(&x.order, workers);
  return once + d.busiest;
}
