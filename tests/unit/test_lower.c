/* From a tile program to LLVM IR: what could be lowered wrongly without a word is told
 * apart or refused. */
#include "compiler/backend.h"
#include "compiler/tile/tile_prog.h"
#include "templates/partition.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct Bench {
  Arena *arena;
  jmp_buf fail;
  attnc_error err;
  Tb *t;
  Tensor k, lse;
} Bench;

static Tensor
tensor(Tb *t, const char *name, int slot, Dtype ty, int cols)
{
  Tensor x = {.name = name, .slot = slot, .ty = ty, .cols = cols};
  x.rows = tile_size(t, SIZE_SK);
  tile_param(t, PARAM_TENSOR, slot, 0);
  for (int i = 0; i < 3; i++)
    x.stride[i] = tile_stride(t, slot, i);
  return x;
}

static void
bench_open(Bench *b)
{
  memset(b, 0, sizeof *b);
  b->arena = arena_new(0);
  b->t = tile_new(b->arena, &b->fail, &b->err, target_find("sm_80"), 4);
  b->t->prog->entry = "kernel";
  b->k = tensor(b->t, "k", ATTNC_K, DT_F16, 64);
  b->lse = tensor(b->t, "lse", ATTNC_LSE, DT_F32, 1);
}

/* The status of the lowering, and its IR: the caller frees it. */
static attnc_status
lower(Bench *b, char **ll)
{
  const LlvmModule *m;
  const Program *prog = b->t->prog;
  LlvmRequest q = {.progs = &prog,
                   .n = 1,
                   .target = b->t->prog->target,
                   .ptx = 70,
                   .level = 2,
                   .passes = "function(early-cse)",
                   .keep_ll = true};
  LlvmResult r;
  assert_int_equal(backend_open(&m, &b->err), ATTNC_OK);
  attnc_status s = m->compile(&q, &r, &b->err);
  *ll = s == ATTNC_OK ? strdup(r.ll) : NULL;
  if (s == ATTNC_OK)
    m->release(&r);
  return s;
}

static int
times(const char *text, const char *what)
{
  int n = 0;
  for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
    n++;
  return n;
}

static View
row_of(const Tensor *x, Idx b, Idx h)
{
  return v_rows(x, b, h, i_int(0), 4);
}

/* Loads a row a warp of two views, and stores their product. */
static void
two_loads(Bench *b, View x, View y, char **ll)
{
  Tile a = t_load(b->t, x);
  Tile c = t_load(b->t, y);
  Tile dot = t_row_dot(b->t, a, c);
  t_store_rows(b->t, row_of(&b->lse, i_int(0), i_int(0)), dot);
  assert_int_equal(lower(b, ll), ATTNC_OK);
}

/* Heads and batches that are constants have addresses of their own. */
static void
test_constants(void **state)
{
  (void)state;
  for (int batch = 0; batch < 2; batch++) {
    Bench b;
    char *ll;
    bench_open(&b);
    Idx two = i_int(2), three = i_int(3);
    View x = row_of(&b.k, batch ? two : i_int(0), batch ? i_int(0) : two);
    View y = row_of(&b.k, batch ? three : i_int(0), batch ? i_int(0) : three);
    two_loads(&b, x, y, &ll);
    assert_int_equal(times(ll, "mul i64 2, "), 1);
    assert_int_equal(times(ll, "mul i64 3, "), 1);
    free(ll);
    arena_free(b.arena);
  }
}

/* The same head is another address where it counts groups of packed heads. */
static void
test_packed(void **state)
{
  (void)state;
  Bench b;
  char *ll;
  bench_open(&b);
  View plain = row_of(&b.k, i_int(0), i_cta(b.t, 1)), packed = plain;
  packed.pack = 24;
  two_loads(&b, plain, packed, &ll);
  assert_int_equal(times(ll, ", 24\n"), 4); /* the head; twice row / 24, row % 24 */
  free(ll);
  arena_free(b.arena);
}

/* One address is computed once. */
static void
test_remembered(void **state)
{
  (void)state;
  Bench b;
  char *ll;
  bench_open(&b);
  View x = row_of(&b.k, i_int(0), i_int(2));
  two_loads(&b, x, x, &ll);
  assert_int_equal(times(ll, "mul i64 2, "), 1);
  free(ll);
  arena_free(b.arena);
}

enum { RINGS = 150 };

/* Every ring's position is carried round a loop, however many there are. */
static void
test_many_rings(void **state)
{
  (void)state;
  Bench b;
  char *ll;
  bench_open(&b);
  if (setjmp(b.fail))
    fail_msg("%s", b.err.message);
  Tb *t = b.t;
  Ring *r[RINGS];
  for (int i = 0; i < RINGS; i++) {
    r[i] = t_ring(t, .name = "k", .ty = DT_F16, .rows = 16, .cols = 64, .stages = 2);
    t_producer_load(t, r[i], .src = v_rows(&b.k, i_int(0), i_int(0), i_int(0), 16));
  }
  Mask m = {.band = {INT_MIN, INT_MAX, true},
            .sq = tile_size(t, SIZE_SQ),
            .sk = tile_size(t, SIZE_SK)};
  Walk w = w_keys(t, &m, &(WalkRows){.n = 64}, 16), all = w_plain(&w);
  T_FOR_TILES (t, j, &all)
    for (int i = 0; i < RINGS; i++) {
      Slot s = t_consumer_wait(t, r[i]);
      t_producer_load(t, r[i], .src = v_rows(&b.k, i_int(0), i_int(0), j.k0, 16));
      t_consumer_release(t, s);
    }
  if (lower(&b, &ll) != ATTNC_OK)
    fail_msg("%s", b.err.message);
  assert_true(times(ll, "= phi i32") >= 2 * RINGS); /* in the loop and behind it */
  free(ll);
  arena_free(b.arena);
}

/* What has no row in the table of lowerings is an error and names the operation. */
static void
test_no_lowering(void **state)
{
  (void)state;
  Bench b;
  char *ll;
  bench_open(&b);
  Tile one = t_const(b.t, 1);
  t_add(b.t, one, one);
  b.t->prog->top->last->kind = OP_COUNT;
  assert_int_equal(lower(&b, &ll), ATTNC_ERR_INTERNAL);
  assert_non_null(strstr(b.err.message, "kernel: operation"));
  assert_non_null(strstr(b.err.message, "has no lowering"));
  arena_free(b.arena);
}

/* An lpt schedule of sizes that the compile does not know deals out no blocks. */
static void
test_not_constant(void **state)
{
  (void)state;
  Bench b;
  attnc_spec *spec;
  static const char text[] = "attnc: 1\nname: t\ndtype: fp16\nhead_dim: 64\n";
  bench_open(&b);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &spec, NULL), ATTNC_OK);
  Call f = {.tb = b.t, .spec = spec, .d = 64, .dv = 64, .dt = DT_F16};
  f.h = tile_size(b.t, SIZE_H);
  f.hk = tile_size(b.t, SIZE_HK);
  f.sq = tile_size(b.t, SIZE_SQ);
  f.sk = tile_size(b.t, SIZE_SK);
  f.mask = (Mask){.band = spec_band(spec), .sq = f.sq, .sk = f.sk};
  Partition p = {
      .call = &f, .bm = 128, .bn = 64, .pack = 1, .cluster = 1, .scheduler = SCHED_LPT};
  if (setjmp(b.fail) == 0) {
    partition_scheduler(b.t, &p);
    fail_msg("an lpt schedule of unknown sizes was made");
  }
  assert_int_equal(b.err.status, ATTNC_ERR_INTERNAL);
  assert_non_null(strstr(b.err.message, "not constants"));
  attnc_spec_release(spec);
  arena_free(b.arena);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_constants),   cmocka_unit_test(test_packed),
      cmocka_unit_test(test_remembered),  cmocka_unit_test(test_many_rings),
      cmocka_unit_test(test_no_lowering), cmocka_unit_test(test_not_constant),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
