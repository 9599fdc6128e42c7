/* Dealing of blocks: the same as dealing them one by one, how evenly the kernels' own order
 * comes out, and that kernels take their blocks in the order in which the host lists them.
 */
#include "compiler/tile/tile_prog.h"
#include "templates/cost.h"
#include "templates/partition.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 4096 };

typedef struct Item {
  int64_t head, block;
} Item;

/* All blocks in ticket order, one by one; how many there are. */
static int
listed(const Tickets *t, Item *item)
{
  int64_t over = t->heads % t->section, first = 0, n = 0;
  int64_t here = t->short_first && over ? over : t->section;
  for (; first < t->heads; first += here, here = t->section)
    for (int64_t i = 0; i < t->blocks; i++)
      for (int64_t h = first; h < first + here && h < t->heads; h++) {
        assert_true(n < MOST);
        item[n++] = (Item){h, t->last_first ? t->blocks - 1 - i : i};
      }
  return (int)n;
}

static double
largest(const double *load, int n)
{
  double most = 0;
  for (int i = 0; i < n; i++)
    most = load[i] > most ? load[i] : most;
  return most;
}

static void
check_same(const Tickets *t, int workers)
{
  static Item item[MOST];
  double free_first[64] = {0}, stride[64] = {0}, sum = 0;
  int32_t owner[MOST];
  int n = listed(t, item);
  deal_owners(t, workers, owner);
  for (int i = 0; i < n; i++) {
    int to = 0;
    double weight = t->weight[item[i].block / t->step];
    for (int k = 1; k < workers; k++)
      to = free_first[k] < free_first[to] ? k : to;
    assert_int_equal(owner[i], to);
    free_first[to] += weight;
    stride[i % workers] += weight;
    sum += weight;
  }
  Dealt first = deal_first_free(t, workers), by = deal_stride(t, workers);
  assert_true(first.busiest == largest(free_first, workers));
  assert_true(by.busiest == largest(stride, workers));
  assert_true(first.mean == sum / workers && by.mean == sum / workers);
}

/* Weights are whole numbers: sums are exact in any order. */
static void
test_one_by_one(void **state)
{
  (void)state;
  double weight[16];
  srand(1);
  for (int turn = 0; turn < 3000; turn++) {
    Tickets t = {.heads = 1 + rand() % 24, .blocks = 1 + rand() % 16, .weight = weight};
    t.section = (t.heads + 1) / 2 + rand() % 3; /* two sections: none is left out */
    t.short_first = rand() % 2;
    t.step = 1 + rand() % 3;
    t.last_first = rand() % 2;
    for (int i = 0; i < 16; i++)
      weight[i] = turn % 3 ? 1 + rand() % 9 : i + 2;
    check_same(&t, 4 * (1 << turn % 5)); /* by a power of two: shares are exact */
  }
}

/* Many sections: those before the last ones come out even, and a sample shows the rest. */
static void
test_many(void **state)
{
  (void)state;
  double weight[32];
  for (int i = 0; i < 32; i++)
    weight[i] = i + 2;
  Tickets t = {.heads = 64000, .section = 64, .blocks = 32, .step = 1, .weight = weight};
  t.last_first = true;
  Dealt first = deal_first_free(&t, 132), by = deal_stride(&t, 132);
  assert_true(first.mean == 64000 * (2 + 33) * 16 / 132.0);
  assert_true(first.busiest >= first.mean && first.busiest < first.mean + 33);
  assert_true(by.mean == first.mean && by.busiest >= by.mean);
}

/* 16 k tokens, heads x head_dim 2048, tiles as the kernels have them.  A block weighs its
 * key tiles and one more, as partition_tickets has it. */
typedef struct Tiling {
  const char *template;
  int d, bm, bn;
  Scheduler scheduler;
  double free_first; /* mean over busiest of every problem at least, */
  double stride;     /* and by a stride at the worst, causal on 132; 0: it has none */
  double aside;      /* or head after head, of every problem; 0: it has none */
} Tiling;

static const Tiling tilings[] = {{"fwd_wgmma", 64, 128, 192, SCHED_DYNAMIC, 0.99, 0.96, 0},
                                 {"fwd_wgmma", 128, 128, 128, SCHED_DYNAMIC, 0.98, 0.86, 0},
                                 {"fwd_wgmma", 256, 128, 80, SCHED_DYNAMIC, 0.97, 0.70, 0},
                                 {"fwd_mma", 64, 128, 96, SCHED_SECTIONS, 0.99, 0, 0.96},
                                 {"fwd_mma", 64, 128, 64, SCHED_SECTIONS, 0.99, 0, 0.96},
                                 {"fwd_mma", 128, 128, 32, SCHED_SECTIONS, 0.99, 0, 0.93},
                                 {"fwd_mma", 128, 128, 128, SCHED_SECTIONS, 0.98, 0, 0.93},
                                 {"fwd_mma", 256, 128, 64, SCHED_SECTIONS, 0.97, 0, 0.87},
                                 {"fwd_mma", 256, 64, 32, SCHED_SECTIONS, 0.99, 0, 0.93}};

/* Keys that a block sees begin `window` before its first row, and end with its last. */
static Tickets
problem(const Tiling *x, Scheduler scheduler, int s, int window, double *weight)
{
  Spec spec = {.head_dim = x->d, .head_dim_v = x->d, .causal = true};
  spec.dtype[ATTNC_K] = DT_F16;
  spec.window[0] = window - 1;
  spec.window[1] = -1;
  int heads = 2048 / x->d;
  Case c = {.spec = &spec, .b = 16384 / s, .h = heads, .hk = heads, .sq = s, .sk = s};
  Partition p = {.bm = x->bm, .bn = x->bn, .pack = 1, .cluster = 1, .scheduler = scheduler};
  Tickets t = partition_order(&c, &p);
  t.weight = weight;
  for (int64_t i = 0; i < t.blocks; i++) {
    int64_t from = window && i * x->bm > window ? i * x->bm - window : 0;
    int64_t keys = (i + 1) * x->bm - from;
    weight[i] = (double)((keys + x->bn - 1) / x->bn) + 1;
  }
  return t;
}

static double
least(double a, double b)
{
  return a < b ? a : b;
}

static double
evenness(Dealt d)
{
  return d.mean / d.busiest;
}

/* Is it as even as it ought to be, and no worse than what is beside it? */
static void
check_even(const Tiling *x)
{
  double weight[256], first = 1, stride = 1, aside = 1;
  for (int at = 0; at < 20; at++) {
    int s = 1024 << at % 5, window = at / 5 % 2 ? 4096 : 0, workers = at < 10 ? 132 : 108;
    Tickets t = problem(x, x->scheduler, s, window, weight);
    double here = evenness(deal_first_free(&t, workers));
    double by = evenness(deal_stride(&t, workers));
    t = problem(x, SCHED_ASIDE, s, window, weight);
    double heads = evenness(deal_first_free(&t, workers));
    printf("%-9s %-3d %3dx%-3d %s s %-5d on %d: %.3f, by a stride %.3f, by heads %.3f\n",
           x->template, x->d, x->bm, x->bn, window ? "window" : "causal", s, workers, here,
           by, heads);
    first = least(first, here);
    stride = workers == 132 && !window ? least(stride, by) : stride;
    aside = least(aside, heads);
  }
  if (first < x->free_first)
    fail_msg("mean / busiest is %.4f, %.2f at least", first, x->free_first);
  if (x->stride > 0)
    assert_true(stride >= x->stride && stride < x->stride + 0.02);
  if (x->aside > 0)
    assert_true(aside >= x->aside && aside < x->aside + 0.02);
}

static void
test_even(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof tilings / sizeof *tilings; i++)
    check_even(&tilings[i]);
}

/* Mean over busiest where each worker draws its next block when `rest` of the weight of its
 * own is left, as who loads is ahead of who computes. */
static double
drawn_ahead(const Tickets *t, int workers, double rest)
{
  static Item item[MOST];
  double load[132] = {0}, draws[132] = {0}, sum = 0;
  int n = listed(t, item);
  for (int i = 0; i < n; i++) {
    int to = 0;
    double weight = t->weight[item[i].block / t->step];
    for (int k = 1; k < workers; k++)
      to = draws[k] < draws[to] ? k : to;
    load[to] += weight;
    draws[to] = load[to] - (rest < weight ? rest : weight);
    sum += weight;
  }
  return sum / workers / largest(load, workers);
}

/* Tickets drawn two tiles before a block ends, as fwd_wgmma's are, cost nothing; a block
 * ahead, the longest wait behind each other. */
static void
test_drawn_ahead(void **state)
{
  (void)state;
  double weight[128], worst = 1, worst_late = 1;
  for (int at = 0; at < 10; at++) {
    Tickets t = problem(&tilings[2], SCHED_DYNAMIC, 1024 << at % 5, 0, weight);
    double late = drawn_ahead(&t, at < 5 ? 132 : 108, 3);
    double early = drawn_ahead(&t, at < 5 ? 132 : 108, 1e9);
    worst_late = late < worst_late ? late : worst_late;
    worst = early < worst ? early : worst;
  }
  printf("head_dim 256 causal: %.3f, drawn a block ahead %.3f\n", worst_late, worst);
  assert_true(worst_late >= 0.96 && worst < 0.93);
}

/* ---- the order of the kernels, against the host's ---- */

typedef struct Shape {
  int64_t size[SIZE_COUNT];
  Band band;
  int d, bm, pack, cluster;
  bool group_size; /* the spec pins it */
} Shape;

typedef struct Side {
  Tb *tb;
  Spec spec;
  Call call;
  Partition p;
} Side;

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Side host, kernel; /* sizes are constants; parameters */
} Bench;

static void
side(Bench *b, const Shape *s, bool constants, Side *x)
{
  const int64_t *n = s->size;
  Tb *t = x->tb = tile_new(b->arena, &b->fail, &b->err, target_find("sm_90a"), 4);
  for (int i = 0; i < SIZE_COUNT && constants; i++)
    t->known[i] = n[i];
  x->spec.group_size = s->group_size ? (int)(n[SIZE_H] / n[SIZE_HK]) : 0;
  x->spec.head_dim = x->spec.head_dim_v = s->d;
  x->spec.dtype[ATTNC_K] = DT_F16;
  x->spec.align = s->band.bottom_right ? ALIGN_BOTTOM_RIGHT : ALIGN_TOP_LEFT;
  x->spec.window[0] = s->band.lo == INT_MIN ? -1 : -s->band.lo;
  x->spec.window[1] = s->band.hi == INT_MAX ? -1 : s->band.hi;
  Call *c = &x->call;
  *c = (Call){.host = c, .tb = t, .spec = &x->spec, .d = s->d, .dv = s->d, .dt = DT_F16};
  c->h = tile_size(t, SIZE_H);
  c->hk = tile_size(t, SIZE_HK);
  c->sq = tile_size(t, SIZE_SQ);
  c->sk = tile_size(t, SIZE_SK);
  c->mask = (Mask){.band = s->band, .sq = c->sq, .sk = c->sk};
  x->p = (Partition){.call = c,
                     .bm = s->bm,
                     .bn = 64,
                     .pack = s->pack,
                     .cluster = s->cluster,
                     .scheduler = constants ? SCHED_LPT : SCHED_GRID};
}

static Shape
random_shape(int turn)
{
  static const Band bands[] = {
      {INT_MIN, INT_MAX, true}, {INT_MIN, 0, true}, {-20000, 0, false}, {-300, 200, true}};
  bool few = turn % 25 == 0; /* heads, of many blocks */
  int group = 1 << rand() % 4, hk = few ? 1 : 1 + rand() % 5;
  int queries = few ? 2100 + rand() % 4000 : 1 + rand() % 1500;
  int keys = rand() % 60000; /* 32 MB: 131,072 keys of head_dim 64, 32,768 of 256 */
  Shape s = {.band = bands[turn % 4], .d = 64 << rand() % 3, .bm = 64 << rand() % 2};
  s.pack = rand() % 2 ? group : 1;
  s.cluster = 1 + rand() % 2;
  s.group_size = s.pack > 1 || rand() % 2;
  s.size[SIZE_B] = few ? 1 : 1 + rand() % 3;
  s.size[SIZE_H] = (int64_t)hk * group;
  s.size[SIZE_HK] = hk;
  s.size[SIZE_SQ] = s.pack > 1 ? queries / group + 1 : queries;
  s.size[SIZE_SK] = turn % 3 ? keys : keys / 16;
  return s;
}

typedef struct Where {
  const Program *prog;
  const int64_t *size;
  int64_t cta[3], ctas[3];
} Where;

static int64_t
leaf(void *user, const Node *n)
{
  const Where *at = user;
  if (n->kind == NODE_CTA || n->kind == NODE_CTAS)
    return n->kind == NODE_CTA ? at->cta[n->n] : at->ctas[n->n];
  assert_int_equal(n->kind, NODE_PARAM);
  assert_int_equal(at->prog->params.at[n->n].kind, PARAM_SIZE);
  return at->size[at->prog->params.at[n->n].slot];
}

/* CTA after CTA: the blocks of the list, each cluster the next one. */
static void
check_kernel(Side *x, const Shape *s, const Item *item, int n)
{
  TileScheduler all = partition_scheduler(x->tb, &x->p);
  WorkTile w = partition_work_tile(x->tb, &x->p, &all, all.span.lo);
  Where at = {.prog = x->tb->prog, .size = s->size};
  int64_t group = s->size[SIZE_H] / s->size[SIZE_HK], heads = s->size[SIZE_H];
  heads = s->pack > 1 ? s->size[SIZE_HK] : heads;
  assert_int_equal(idx_eval(x->tb->prog->grid[0], leaf, &at), n * s->cluster);
  for (; at.cta[0] < n * s->cluster; at.cta[0]++) {
    Item want = item[at.cta[0] / s->cluster];
    int64_t first = want.block * (s->bm / s->pack) * s->cluster, h = want.head % heads;
    assert_int_equal(idx_eval(w.b, leaf, &at), want.head / heads);
    assert_int_equal(idx_eval(w.h, leaf, &at), h);
    assert_int_equal(idx_eval(w.hk, leaf, &at), s->pack > 1 ? h : h / group);
    assert_int_equal(idx_eval(w.all, leaf, &at), first);
    first += at.cta[0] % s->cluster * (s->bm / s->pack);
    assert_int_equal(idx_eval(w.q0, leaf, &at), first);
  }
}

static void
find_grid(const Side *x, Where *at)
{
  for (int i = 0; i < 3; i++) {
    at->ctas[i] = idx_eval(x->tb->prog->grid[i], leaf, at);
    assert_in_range(at->ctas[i], 1, i ? GRID_ASIDE : INT32_MAX);
  }
}

/* The next CTA of the grid, in the order in which they begin; is there one? */
static bool
next_cta(Where *at)
{
  for (int i = 0; i < 3; i++) {
    if (++at->cta[i] < at->ctas[i])
      return true;
    at->cta[i] = 0;
  }
  return false;
}

/* One CTA each, by the axes of the grid: those that have a block have the list's. */
static int64_t
check_sections(Side *x, const Shape *s)
{
  static Item item[MOST];
  const int64_t *size = s->size;
  Case c = {.spec = &x->spec,
            .b = size[SIZE_B],
            .h = size[SIZE_H],
            .hk = size[SIZE_HK],
            .sq = size[SIZE_SQ],
            .sk = size[SIZE_SK]};
  Partition p = x->p;
  p.scheduler = SCHED_SECTIONS;
  Tickets t = partition_order(&c, &p);
  int n = listed(&t, item), found = 0, none = 0;
  WorkTile w = partition_alone(x->tb, &p);
  Where at = {.prog = x->tb->prog, .size = size};
  find_grid(x, &at);
  do {
    if (!idx_eval(w.is, leaf, &at)) {
      none++;
      continue;
    }
    assert_true(found < n);
    Item want = item[found++];
    assert_int_equal(idx_eval(w.b, leaf, &at), want.head / c.h);
    assert_int_equal(idx_eval(w.h, leaf, &at), want.head % c.h);
    assert_int_equal(idx_eval(w.hk, leaf, &at), want.head % c.h / (c.h / c.hk));
    assert_int_equal(idx_eval(w.q0, leaf, &at), want.block * s->bm);
  } while (next_cta(&at));
  assert_int_equal(found, n);
  assert_int_equal(at.ctas[0], t.section);
  assert_true(none <= (at.ctas[2] - 1) * at.ctas[1]); /* less than a head of each section */
  return at.ctas[2];
}

/* The shares of an lpt schedule: each worker's blocks, in the order of the list. */
static void
check_dealt(Side *x, const Tickets *t, const Item *item, int n)
{
  int32_t owner[MOST];
  TileScheduler all = partition_scheduler(x->tb, &x->p);
  const int32_t *list = all.list->at, *at = list + all.first;
  int workers = all.first - 1;
  deal_owners(t, workers, owner);
  assert_int_equal(list[0], 0);
  assert_int_equal(list[workers], n);
  for (int w = 0; w < workers; w++) {
    assert_ptr_equal(at, list + all.first + 2 * list[w]);
    for (int i = 0; i < n; i++)
      if (owner[i] == w) {
        assert_int_equal(*at++, item[i].head);
        assert_int_equal(*at++, item[i].block);
      }
  }
}

/* Every block of every head once. */
static void
check_all(const Tickets *t, const Item *item, int n)
{
  bool seen[MOST] = {false};
  assert_int_equal(n, t->heads * t->blocks);
  for (int i = 0; i < n; i++) {
    int64_t at = item[i].head * t->blocks + item[i].block;
    assert_in_range(at, 0, n - 1);
    assert_false(seen[at]);
    seen[at] = true;
  }
}

/* What cost models deal: the same blocks in the same order, of as many tiles; of many
 * blocks a head a sample. */
static void
check_case(const Side *x, const Shape *s, const Tickets *t)
{
  const int64_t *n = s->size;
  Case c = {.spec = &x->spec,
            .b = n[SIZE_B],
            .h = n[SIZE_H],
            .hk = n[SIZE_HK],
            .sq = n[SIZE_SQ],
            .sk = n[SIZE_SK]};
  Tickets own = partition_order(&c, &x->p);
  assert_int_equal(own.heads, t->heads);
  assert_int_equal(own.section, t->section);
  assert_int_equal(own.blocks, t->blocks);
  assert_int_equal(own.last_first, t->last_first);
  double tiles = 0, counted = cost_tiles(&c, &x->p);
  for (int64_t i = 0; i < t->blocks; i++)
    tiles += (t->weight[i] - 1) * (double)t->heads * s->cluster;
  double off = t->blocks > 32 ? tiles / 20 : 0;
  if (counted < tiles - off || counted > tiles + off)
    fail_msg("%g tiles instead of %g in %d blocks", counted, tiles, (int)t->blocks);
}

/* How many kinds of section were met: one for all heads, several of several heads, of one
 * head each. */
typedef struct Met {
  int whole, parted, alone;
} Met;

static void
check_order(const Shape *s, Met *met)
{
  static Item item[MOST];
  Bench b = {.arena = arena_new(0)};
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  side(&b, s, true, &b.host);
  side(&b, s, false, &b.kernel);
  Tickets t = partition_tickets(b.host.tb, &b.host.p);
  int n = listed(&t, item);
  check_all(&t, item, n);
  check_case(&b.host, s, &t);
  check_kernel(&b.kernel, s, item, n);
  check_dealt(&b.host, &t, item, n);
  if (t.last_first) {
    met->whole += t.section >= t.heads;
    met->parted += t.section > 1 && t.section < t.heads;
    met->alone += t.section == 1 && t.heads > 1;
  }
  arena_free(b.arena);
}

static void
test_same_order(void **state)
{
  (void)state;
  Met met = {0};
  srand(2);
  for (int turn = 0; turn < 700; turn++) {
    Shape s = random_shape(turn);
    check_order(&s, &met);
  }
  printf("sections: one %d, several %d, of a head %d\n", met.whole, met.parted, met.alone);
  assert_true(met.whole > 20 && met.parted > 20 && met.alone > 20);
}

/* How many sections it has. */
static int64_t
check_grid(int turn)
{
  Bench b = {.arena = arena_new(0)};
  Shape s = random_shape(turn);
  s.pack = s.cluster = 1;
  s.band.hi = s.band.hi == INT_MAX ? 0 : s.band.hi;
  s.size[SIZE_SQ] = 1 + s.size[SIZE_SQ] % 2000;
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  side(&b, &s, false, &b.kernel);
  int64_t sections = check_sections(&b.kernel, &s);
  arena_free(b.arena);
  return sections;
}

/* The same by the axes of a grid, for masks that it is made for. */
static void
test_sections(void **state)
{
  (void)state;
  int several = 0;
  srand(3);
  for (int turn = 0; turn < 300; turn++)
    several += check_grid(turn) > 1;
  printf("%d of 300 grids have several sections\n", several);
  assert_in_range(several, 50, 250);
}

/* More blocks than y takes, and more heads than z does: each block once. */
static void
check_parted(int64_t b, int64_t h, int64_t sq, int64_t sk, const int64_t grid[3])
{
  Bench x = {.arena = arena_new(0)};
  Shape s = {.band = {INT_MIN, 0, true}, .d = 64, .bm = 64, .pack = 1, .cluster = 1};
  s.size[SIZE_B] = b;
  s.size[SIZE_H] = s.size[SIZE_HK] = h;
  s.size[SIZE_SQ] = sq;
  s.size[SIZE_SK] = sk;
  if (setjmp(x.fail))
    fail_msg("%s", x.err.message);
  side(&x, &s, false, &x.kernel);
  Partition p = x.kernel.p;
  p.scheduler = SCHED_SECTIONS;
  WorkTile w = partition_alone(x.kernel.tb, &p);
  Where at = {.prog = x.kernel.tb->prog, .size = s.size};
  find_grid(&x.kernel, &at);
  for (int i = 0; i < 3; i++)
    assert_int_equal(at.ctas[i], grid[i]);
  int64_t blocks = (sq + 63) / 64;
  unsigned char *seen = calloc((size_t)(b * h * blocks), 1);
  assert_non_null(seen);
  do {
    if (!idx_eval(w.is, leaf, &at))
      continue;
    int64_t head = idx_eval(w.b, leaf, &at) * h + idx_eval(w.h, leaf, &at);
    int64_t q0 = idx_eval(w.q0, leaf, &at), n = head * blocks + q0 / 64;
    assert_true(head >= 0 && head < b * h && q0 >= 0 && q0 < sq && q0 % 64 == 0);
    assert_int_equal(seen[n]++, 0);
  } while (next_cta(&at));
  for (int64_t i = 0; i < b * h * blocks; i++)
    assert_int_equal(seen[i], 1);
  free(seen);
  arena_free(x.arena);
}

static void
test_parted(void **state)
{
  (void)state;
  check_parted(1, 3, 65535 * 64, 100, (int64_t[]){3, 65535, 1});
  check_parted(1, 3, 65535 * 64 + 1, 100, (int64_t[]){2, 32768, 3});
  check_parted(1, 1, 131071 * 64, 100, (int64_t[]){3, 43691, 1});
  check_parted(5, 20000, 1, 1, (int64_t[]){65535, 1, 2});
  check_parted(3, 40000, 1, 1 << 20, (int64_t[]){2, 1, 60000});
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_by_one), cmocka_unit_test(test_many),
      cmocka_unit_test(test_even),       cmocka_unit_test(test_drawn_ahead),
      cmocka_unit_test(test_same_order), cmocka_unit_test(test_sections),
      cmocka_unit_test(test_parted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
