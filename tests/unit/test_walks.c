/* Walks of masks of every kind against brute force over the masks' definitions: the classes
 * that the kernel's own index expressions give, and the same on the CPU. */
#include "compiler/spec/mask_class.h"
#include "compiler/tile/tile_prog.h"

#include "tests/unit/expr_random.h"
#include "tests/unit/mask_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
  const KitMask *kit;
  Spec *spec;
  KitTables tables;
  KitCall call;
  MaskProblem host;
  int64_t sq, sk, block, tile;
  int bm, bn;
  bool turned; /* blocks are of keys, tiles of queries */
} Bench;

enum { BATCHES = 2, HEADS = 2 };

static void
bench_open(Bench *b, const KitMask *kit, int64_t sq, int64_t sk, bool known)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->kit = kit;
  b->spec = kit_spec(kit);
  b->tables =
      kit_tables(b->spec, BATCHES, HEADS, sq, sk, (uint64_t)(sq + 3 * sk), b->arena);
  b->call = kit_call(b->spec, &b->tables, sq, sk, b->arena);
  b->host = mask_problem(b->spec, sq, sk, b->arena);
  b->host.tables = b->tables.at;
  b->sq = sq;
  b->sk = sk;
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find("sm_80"), 4);
  if (setjmp(b->fail))
    fail_msg("%s: %s", kit->name, b->err.message);
  if (known) {
    b->t->known[SIZE_SQ] = sq;
    b->t->known[SIZE_SK] = sk;
  }
}

static void
bench_close(Bench *b)
{
  attnc_spec_release(b->spec);
  arena_free(b->arena);
}

static int64_t
leaf(void *user, const Node *n)
{
  const Bench *b = user;
  if (n->kind == NODE_ELEMENT && n->c.node && !idx_eval(n->c, leaf, user))
    return 0;
  if (n->kind == NODE_ELEMENT) {
    int64_t at = idx_eval(n->a, leaf, user);
    assert_in_range(at, 0, b->tables.count[n->n] - 1);
    return ((const int32_t *)b->tables.at[n->n].data)[at];
  }
  if (n->kind == NODE_LOOP)
    return b->tile;
  if (n->kind == NODE_CTA)
    return n->n == 0 ? b->block : n->n == 1 ? b->call.h : b->call.b;
  return b->t->prog->params.at[n->n].slot == SIZE_SQ ? b->sq : b->sk;
}

static int64_t
value(const Bench *b, Idx x)
{
  return idx_eval(x, leaf, (void *)(uintptr_t)b);
}

/* The class that the walk gives tile n: -1 is not visited. */
static int
class_of(const Bench *b, const Walk *w, const TileIter *j)
{
  const TileSpan *s = &w->tiles;
  if (b->tile < value(b, s->lo) || b->tile >= value(b, s->hi))
    return -1;
  if (w->test && value(b, w_empty(w, j->n)))
    return -1;
  Idx partial = w->test ? w_partial(w, j->n) : j->partial;
  return value(b, partial) ? 1 : 2;
}

/* What blocks are of, and what tiles. */
static int64_t
rows_of(const Bench *b)
{
  return b->turned ? b->sk : b->sq;
}

static int64_t
columns_of(const Bench *b)
{
  return b->turned ? b->sq : b->sk;
}

static int
seen(const Bench *b, ExprRange rows, ExprRange columns)
{
  return b->turned ? kit_class(&b->call, columns, rows)
                   : kit_class(&b->call, rows, columns);
}

/* Limits that mask_mod has for a query's keys are not asked of a key's queries. */
static bool
is_exact(const Bench *b)
{
  return b->kit->exact && !(b->turned && b->spec->mask_mod.n);
}

static void
check_tile(const Bench *b, const Walk *w, const TileIter *j, int got)
{
  int64_t rows = rows_of(b), columns = columns_of(b);
  int64_t q1 = (b->block + 1) * b->bm < rows ? (b->block + 1) * b->bm : rows;
  int64_t k0 = value(b, w->start) + b->tile * b->bn, k1 = k0 + b->bn;
  ExprRange q = {b->block * b->bm, q1 - 1}, k = {k0, (k1 < columns ? k1 : columns) - 1};
  int want = k0 >= columns ? 0 : seen(b, q, k);
  bool proved = is_exact(b);
  if (want == 2 && k1 > columns)
    want = 1; /* there are columns that nobody may see */
  if (got == want || (want == 0 && got == -1))
    return;
  if (got == -1 || got == 2 || (proved && want == 2))
    fail_msg("%s %s, sq %d, sk %d: tile %d of block %d is %d, not %d", b->kit->name,
             b->kit->yaml, (int)b->sq, (int)b->sk, (int)b->tile, (int)b->block, want, got);
  (void)j;
}

static void
check_block(Bench *b, const Walk *w, const TileIter *j)
{
  int64_t start = value(b, w->start), end = value(b, w->end);
  int64_t lo = value(b, w->tiles.lo), hi = value(b, w->tiles.hi), wasted = 0;
  assert_true(start >= 0 && lo >= 0 && hi > lo);
  int64_t rows = rows_of(b), columns = columns_of(b);
  for (b->tile = -(start + b->bn - 1) / b->bn; b->tile * b->bn + start < columns;
       b->tile++) {
    int got = class_of(b, w, j);
    int64_t k0 = b->tile * b->bn + start;
    if (k0 < 0) { /* nothing before the first tile is seen */
      ExprRange q = {b->block * b->bm, b->block * b->bm}, k = {0, k0 + b->bn - 1};
      assert_int_equal(seen(b, q, k), 0);
      continue;
    }
    check_tile(b, w, j, got);
    ExprRange q = {b->block * b->bm, (b->block + 1) * b->bm - 1}, k = {k0, k0 + b->bn - 1};
    q.hi = q.hi < rows ? q.hi : rows - 1;
    k.hi = k.hi < columns ? k.hi : columns - 1;
    wasted += got == 1 && seen(b, q, k) == 0;
  }
  if (is_exact(b) && wasted > (end <= start || hi == lo + 1))
    fail_msg("%s, sq %d, sk %d: block %d visits %d EMPTY tiles", b->kit->name, (int)b->sq,
             (int)b->sk, (int)b->block, (int)wasted);
}

static Lookup
lookup(Bench *b, int i)
{
  const ExprTable *x = &b->tables.at[i];
  Lookup to = {.name = "t", .slot = i, .n_axes = b->spec->tables.at[i].axes.n};
  for (int a = 0; a < to.n_axes; a++) {
    to.length[a] = i_int(x->length[a]);
    to.stride[a] = i_int(x->stride[a]);
  }
  return to;
}

/* turned: walks over the queries that blocks of bm keys see. */
static void
check(const KitMask *kit, bool turned, int64_t sq, int64_t sk, int bm, int bn, bool known)
{
  Bench b;
  bench_open(&b, kit, sq, sk, known);
  b.turned = turned;
  b.bm = bm;
  b.bn = bn;
  Lookup tables[SPEC_TABLES];
  for (int i = 0; i < b.spec->tables.n; i++)
    tables[i] = lookup(&b, i);
  Mods mods = {.spec = b.spec, .tables = tables};
  Mask m = {.band = spec_band(b.spec)};
  m.sq = mods.sq = tile_size(b.t, SIZE_SQ);
  m.sk = mods.sk = tile_size(b.t, SIZE_SK);
  m.mods = b.spec->mask_mod.n ? &mods : NULL;
  WalkRows rows = {.q0 = i_mul(i_cta(b.t, 0), bm), .n = bm};
  rows.h = rows.hk = i_cta(b.t, 1);
  rows.b = i_cta(b.t, 2);
  Mask other = mask_turned(&m);
  Walk w = turned ? w_queries(b.t, &other, &rows, bn) : w_keys(b.t, &m, &rows, bn);
  if (!turned && kit->name[0] && (w.test == NULL) != kit->one_range)
    fail_msg("%s: %s test", kit->name, w.test ? "a" : "no");
  Walk ready = t_walk(b.t, &w, 0);
  TileIter visit = {0};
  T_FOR_TILES (b.t, j, &ready)
    visit = j;
  for (int head = 0; head < HEADS; head++) {
    b.call.h = b.call.hk = b.call.b = head;
    for (b.block = 0; b.block * bm < rows_of(&b); b.block++)
      check_block(&b, &w, &visit);
  }
  bench_close(&b);
}

static void
walks_visit_what_is_seen(void **state)
{
  static const int sizes[][2] = {{192, 160}, {110, 150}, {70, 40}, {1, 129}, {3, 0}};
  (void)state;
  for (int i = 0; i < kit_masks_n; i++)
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
      check(&kit_masks[i], false, sizes[n][0], sizes[n][1], 64, 32, n % 2);
      check(&kit_masks[i], false, sizes[n][0], sizes[n][1], 32, 64, !(n % 2));
    }
}

static void
walks_over_queries_visit_who_sees(void **state)
{
  static const int sizes[][2] = {{192, 160}, {110, 150}, {70, 40}, {1, 129}, {129, 1}};
  (void)state;
  for (int i = 0; i < kit_masks_n; i++)
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
      check(&kit_masks[i], true, sizes[n][0], sizes[n][1], n % 2 ? 64 : 32, n % 2 ? 32 : 64,
            n % 3 == 0);
}

/* Random masks of comparisons: no tile is left out that is seen, none is FULL that is not.
 */
static void
random_masks_are_walked_soundly(void **state)
{
  Random r = {.seed = 11};
  (void)state;
  for (int n = 0; n < 150; n++) {
    Arena *arena = arena_new(0);
    ExprGraph *g = expr_graph(arena, &random_names);
    Str text = str_new(arena);
    expr_print(g, random_affine(&r, g, random_below(&r, 3)), &text);
    const char *yaml = arena_printf(arena, "mask_mod: \"%s\"\n", text.p);
    KitMask m = {.name = "", .yaml = yaml};
    check(&m, n % 3 == 1, 1 + random_below(&r, 70), random_below(&r, 90), 16, 32, n % 2);
    arena_free(arena);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(walks_visit_what_is_seen),
                                     cmocka_unit_test(walks_over_queries_visit_who_sees),
                                     cmocka_unit_test(random_masks_are_walked_soundly)};
  return cmocka_run_group_tests_name("walks", tests, NULL, NULL);
}
