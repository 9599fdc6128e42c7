#include "templates/cost.h"

#include "compiler/spec/mask_class.h"
#include "templates/classes.h"
#include "templates/lengths.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

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
  k.guessed = c->sq <= 0;
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

/* ---- the tiles of a block under a mask_mod ---- */

/* Blocks of a head, parts of their keys and then tiles that are classified, at most: a
 * class is asked of the mask's intervals, as in kernels, and a search has some forty cuts
 * into tiles. */
enum { MASK_GROUPS = 16, MASK_KEYS = 32 };
/* Of an expression of more nodes a quarter as many, or asking would be a fifth of a
 * compile. */
enum { LONG_MASK = 64 };

static int
of_mask(const Spec *s, int most)
{
  return s->mask_mod.n && s->mask_mod.lists[0].n > LONG_MASK ? most / 4 : most;
}

/* Of one cut: rows of a block, keys of a tile; of[] by intervals, and as they are. */
typedef struct MaskCount {
  double rows;
  int bn;
  Tiles of[MASK_GROUPS], exact[MASK_GROUPS];
  struct MaskCount *next;
} MaskCount;

static bool
counts_mask(const Case *c)
{
  return c->memo && c->spec->mask_mod.n && !spec_has_lists(c->spec) &&
         c->sq <= SIZE_LIMIT && c->sk <= SIZE_LIMIT;
}

/* One of each of MASK_KEYS equal parts, spread within them by the golden ratio, so that a
 * period of the mask is not met at one phase alone. */
static int64_t
sampled(int64_t i, int64_t some, int64_t n)
{
  double within = n > some ? fmod((double)i * 0.6180339887, 1) : 0;
  return (int64_t)(((double)i + within) * (double)n / (double)some);
}

/* Key tiles first … first + n - 1 of rows q. */
static ExprRange
keys_of(const MaskProblem *x, int bn, int64_t first, int64_t n)
{
  return (ExprRange){first * bn, least((first + n) * bn, x->sk) - 1};
}

static MaskClass
class_of(const MaskProblem *x, int bn, ExprRange q, int64_t first, int64_t n)
{
  return mask_tile_class(x, q, keys_of(x, bn, first, n));
}

/* Of those that are sampled so many are looked at more closely, at some of their elements;
 * and of tiles of which tables that are not known decide a share is taken to be EMPTY:
 * none where the lengths are not known either, as those may be the call's few last keys. */
enum { CLOSER = 2, POINTS = 16 };
static const double UNKNOWN_EMPTY = 0.5;

/* Shares by class of what was looked at. */
typedef struct Closer {
  double of[3], unknown_empty;
} Closer;

static ExprRange
point_of(ExprRange r, double at)
{
  int64_t x = r.lo + (int64_t)(at * (double)(r.hi - r.lo + 1));
  return (ExprRange){x, x};
}

/* What of a PARTIAL tile is one when all of its elements are asked: of[] gets shares. */
static void
look_closer(const MaskProblem *x, ExprRange q, ExprRange k, Closer *to)
{
  bool is[3] = {false};
  for (int i = 0; i < POINTS && !(is[MASK_EMPTY] && is[MASK_FULL]); i++) {
    ExprRange row = point_of(q, (i + 0.5) / POINTS);
    ExprRange key = point_of(k, fmod(i * 0.6180339887 + 0.5, 1));
    is[mask_tile_class(x, row, key)] = true;
  }
  double empty = is[MASK_FULL] ? 0 : is[MASK_PARTIAL] ? to->unknown_empty : 1;
  double full = is[MASK_EMPTY] || is[MASK_PARTIAL] ? 0 : is[MASK_FULL];
  to->of[MASK_EMPTY] += empty;
  to->of[MASK_FULL] += full;
  to->of[MASK_PARTIAL] += 1 - empty - full;
}

/* By class: parts of the keys that are of one as a whole, and of the others' tiles a
 * sample. */
static void
count_classes(const MaskProblem *x, int bn, ExprRange q, double of[3], Closer *closer)
{
  int64_t keys = of_mask(x->spec, MASK_KEYS), n = (x->sk + bn - 1) / bn, open = 0;
  int64_t part = (n + keys - 1) / keys;
  int64_t first[MASK_KEYS];
  int parts = 0;
  for (int64_t j = 0; j < n; j += part) {
    int64_t here = least(part, n - j);
    MaskClass its = part > 1 ? class_of(x, bn, q, j, here) : MASK_PARTIAL;
    if (its != MASK_PARTIAL) {
      of[its] += (double)here;
      continue;
    }
    first[parts++] = j;
    open += here; /* all but the last part are whole */
  }
  int64_t some = least(open, keys), each = some / CLOSER + 1;
  for (int64_t i = 0; i < some; i++) {
    int64_t at = sampled(i, some, open), tile = first[at / part] + at % part;
    MaskClass its = class_of(x, bn, q, tile, 1);
    of[its] += (double)open / (double)some;
    if (closer && its == MASK_PARTIAL && i % each == each / 2)
      look_closer(x, q, keys_of(x, bn, tile, 1), closer);
  }
}

/* Shares of the PARTIAL ones are others. */
static void
share(double of[3], const double closer[3])
{
  double all = closer[MASK_EMPTY] + closer[MASK_PARTIAL] + closer[MASK_FULL];
  double partial = of[MASK_PARTIAL];
  if (!all)
    return;
  of[MASK_PARTIAL] = partial * closer[MASK_PARTIAL] / all;
  of[MASK_EMPTY] += partial * closer[MASK_EMPTY] / all;
  of[MASK_FULL] += partial * closer[MASK_FULL] / all;
}

static Tiles
tiles_by_class(const MaskProblem *x, int bn, const double of[3])
{
  double seen = of[MASK_FULL] + of[MASK_PARTIAL];
  double partial = seen < 1 ? 1 - of[MASK_FULL] : of[MASK_PARTIAL]; /* one at least */
  return (Tiles){of[MASK_FULL], partial, fmin(seen * bn, (double)x->sk)};
}

/* By intervals, and where a first step may look at elements, as they are. */
static void
tiles_of_mask(const MaskProblem *x, int bn, ExprRange q, bool guessed, Tiles *decided,
              Tiles *exact)
{
  double of[] = {[MASK_EMPTY] = 0, [MASK_PARTIAL] = 0, [MASK_FULL] = 0};
  Closer closer = {.unknown_empty = guessed ? 0 : UNKNOWN_EMPTY};
  count_classes(x, bn, q, of, classes_are_open(x->spec) ? &closer : NULL);
  *decided = tiles_by_class(x, bn, of);
  share(of, closer.of);
  *exact = tiles_by_class(x, bn, of);
}

/* ---- the tiles of a block whose lists the call has ---- */

/* What lists hold is not known: a share of all blocks, of which one of a row is masked
 * where the spec has masks. */
static const double LISTED = 0.25;

static Tiles
tiles_of_lists(const Case *c, int bn)
{
  double all = ceil((double)c->sk / bn), seen = fmax(1, LISTED * all);
  bool masked = mask_hides_in_blocks(c->spec);
  double partial = masked ? fmin(seen, (double)c->spec->block_list.rows[1] / bn) : 0;
  return (Tiles){seen - partial, partial, fmin(seen * bn, (double)c->sk)};
}

/* ---- the blocks of a problem ---- */

typedef struct Blocks {
  Tickets order; /* without weights */
  int n;         /* groups */
  Tiles of[GROUPS];
} Blocks;

/* The block in the middle of a group: its rows that there are, and the case as its sequence
 * has it. */
typedef struct Middle {
  Case c;
  ExprRange rows;
} Middle;

static int64_t
blocks_in(const Lengths *l, int i, double rows)
{
  return (int64_t)ceil(ceil((double)l->of[i].q / rows) * l->each);
}

/* Of sequences one behind the other. */
static Middle
middle_of(const Case *c, const Lengths *l, const Tickets *t, int i, double rows)
{
  int64_t first = i * t->step, at = first + least(t->step, t->blocks - first) / 2;
  Middle m = {.c = *c};
  int s = 0;
  for (; s < l->n - 1 && at >= blocks_in(l, s, rows); s++)
    at -= blocks_in(l, s, rows);
  m.c.sq = l->of[s].q;
  m.c.sk = l->of[s].k;
  at %= (int64_t)fmax(1, ceil((double)m.c.sq / rows));
  int64_t q0 = (int64_t)((double)at * rows), q1 = (int64_t)((double)(at + 1) * rows);
  m.rows = (ExprRange){q0, least(q1, m.c.sq) - 1};
  return m;
}

/* Each group is that of another head, in turn: what differs by head comes in its share. */
static const MaskCount *
mask_count(const Case *c, const Lengths *l, const Tickets *t, int n, double rows, int bn)
{
  for (const MaskCount *m = c->memo->counts; m; m = m->next)
    if (m->rows == rows && m->bn == bn)
      return m;
  Arena *a = c->memo->arena;
  MaskCount *m = NEW(a, MaskCount);
  *m = (MaskCount){.rows = rows, .bn = bn, .next = c->memo->counts};
  for (int i = 0; i < n; i++) {
    Middle of = middle_of(c, l, t, i, rows);
    MaskProblem x = mask_problem(c->spec, of.c.sq, of.c.sk, a);
    int64_t h = i % c->h, hk = h / (c->h / c->hk);
    x.h = (ExprRange){h, h};
    x.hk = (ExprRange){hk, hk};
    tiles_of_mask(&x, bn, of.rows, c->guessed, &m->of[i], &m->exact[i]);
  }
  c->memo->counts = m;
  return m;
}

static int64_t
groups_of(int64_t blocks, int64_t step)
{
  return (blocks + step - 1) / step;
}

/* Steps are odd: the middle block is the mean. */
static int64_t
step_of(int64_t blocks, int groups)
{
  int64_t step = (blocks + groups - 1) / groups;
  return step + (step % 2 == 0);
}

/* Where sequences have lengths of their own a head's blocks are those of all of them, one
 * behind the other, and what the lists of items.h sort. */
static void
order_by_lengths(const Lengths *l, const Partition *p, double rows, Tickets *t, int64_t b)
{
  t->heads /= b;
  t->section = p->listed ? t->heads : 1;
  t->last_first = t->last_first && !p->listed;
  t->blocks = 0;
  for (int i = 0; i < l->n; i++)
    t->blocks += blocks_in(l, i, rows);
}

static int
most_tiles_first(const void *a, const void *b)
{
  const Tiles *x = a, *y = b;
  double of_x = x->full + x->partial, of_y = y->full + y->partial;
  return (of_x < of_y) - (of_x > of_y);
}

static void
blocks_of(const Case *c, const Partition *p, Blocks *x)
{
  Band band = spec_band(c->spec);
  bool own = spec_has_lengths(c->spec), lists = spec_has_lists(c->spec);
  bool alike = (mask_is_full(c->spec) || lists) && !own;
  double rows = (double)p->bm / p->pack * p->cluster;
  Tickets *t = &x->order;
  Lengths l = own ? lengths_assumed(c)
                  : (Lengths){.n = 1, .each = 1, .of = {{.q = c->sq, .k = c->sk}}};
  *t = partition_order(c, p);
  if (own)
    order_by_lengths(&l, p, rows, t, c->b);
  t->step =
      alike ? t->blocks
            : step_of(t->blocks, counts_mask(c) ? of_mask(c->spec, MASK_GROUPS) : GROUPS);
  x->n = (int)groups_of(t->blocks, t->step);
  if (x->n == 1) /* whoever comes first: all weigh the same */
    t->section = t->heads;
  const MaskCount *m = counts_mask(c) ? mask_count(c, &l, t, x->n, rows, p->bn) : NULL;
  for (int i = 0; i < x->n; i++) {
    Middle of = middle_of(c, &l, t, i, rows);
    x->of[i] = m && p->by_step ? m->exact[i]
               : m             ? m->of[i]
               : lists
                   ? tiles_of_lists(c, p->bn)
                   : tiles_of(&of.c, &band, p->bn, (double)of.rows.lo, (double)of.rows.hi);
  }
  if (p->listed)
    qsort(x->of, (size_t)x->n, sizeof *x->of, most_tiles_first);
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

int
cost_resident(const Case *c, const Partition *p, int fit)
{
  if (!partition_one_each(p))
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

/* Of a grid that has blocks for the longest of all sequences, or where they are packed one
 * more for each, those that are nobody's. */
static double
empty_blocks(const Case *c, const Partition *p, const Tickets *t)
{
  double rows = (double)p->bm / p->pack * p->cluster;
  if (spec_has_tensor(c->spec, ATTNC_CU_SEQLENS_Q))
    return (double)t->heads * (double)c->b / 2;
  double all = ceil((double)c->sq / rows) * (double)c->b;
  return (double)t->heads * fmax(0, all - (double)t->blocks);
}

/* The launch that lists blocks looks at 256 of a head at once, and at each twice. */
static double
lists_clocks(const Case *c, const Partition *p)
{
  double rows = (double)p->bm / p->pack * p->cluster;
  double slots = ceil((double)c->sq / rows) * (double)c->b;
  return COST_ITEMS + COST_ITEMS_MORE * floor(slots / 256);
}

/* The launches that list a mask's tiles: of those that intervals leave open each element.
 */
static double
classes_clocks(const Case *c, const Partition *p)
{
  Partition plain = *p;
  plain.by_step = false;
  double open = cost_tiles(c, &plain) / ((double)c->b * (double)c->h);
  double each = (double)p->bm * p->bn;
  double slots = c->spec->mask_cost.slots[GRADE_BOTH] + COST_CLASSES_EACH;
  double all = ceil((double)c->sq / p->bm) * ceil((double)c->sk / p->bn);
  double masks =
      (spec_mask_asks(c->spec, EXPR_B) ? (double)c->b : 1) *
      (spec_mask_asks(c->spec, EXPR_H) || spec_mask_asks(c->spec, EXPR_HK) ? (double)c->h
                                                                           : 1);
  double work = masks * (open * each * slots + all * COST_CLASSES_TILE);
  return COST_CLASSES + work / ((double)c->target->fp32_clk * c->sms);
}

/* What sequences of lengths of their own cost besides. */
static double
lengths_clocks(const Case *c, const Partition *p, const Tickets *t, const BlockClocks *k,
               int workers)
{
  if (!spec_has_lengths(c->spec))
    return 0;
  return p->listed ? lists_clocks(c, p) : empty_blocks(c, p, t) * k->empty / workers;
}

/* The busiest has at least the mean: is that more than a search takes, give or take what
 * sums are rounded by?  Dealing is most of what a model costs the host. */
static bool
beyond(const Case *c, double least)
{
  return c->memo && c->memo->enough > 0 && least * (1 - 1e-9) > c->memo->enough;
}

/* A multiprocessor of several CTAs is one worker: they share what it does. */
double
cost_clocks(const Case *c, const Partition *p, const BlockClocks *k)
{
  Blocks x;
  double weight[GROUPS], once = partition_one_each(p) ? 0 : k->start;
  blocks_of(c, p, &x);
  for (int i = 0; i < x.n; i++)
    weight[i] = tiles_clocks(&x.of[i], k) + k->block + k->start - once;
  x.order.weight = weight;
  int workers = c->sms < p->cluster ? 1 : c->sms / p->cluster;
  bool strides = p->scheduler == SCHED_PERSISTENT;
  once += lengths_clocks(c, p, &x.order, k, workers);
  once += p->by_step ? classes_clocks(c, p) : 0;
  if (beyond(c, once + deal_mean(&x.order, workers)))
    return once + deal_mean(&x.order, workers);
  Dealt d = strides ? deal_stride(&x.order, workers) : deal_first_free(&x.order, workers);
  return once + d.busiest;
}
