/* Dealing of blocks: the same as dealing them one by one, and how evenly the kernels' own
 * order comes out. */
#include "templates/deal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 4096 };

/* All blocks in ticket order, one by one; how many there are. */
static int
listed(const Tickets *t, double *weight)
{
  int n = 0;
  for (int64_t first = 0; first < t->heads; first += t->section)
    for (int64_t i = 0; i < t->blocks; i++)
      for (int64_t h = first; h < first + t->section && h < t->heads; h++) {
        int64_t block = t->last_first ? t->blocks - 1 - i : i;
        weight[n++] = t->weight[block / t->step];
      }
  return n;
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
  static double weight[MOST];
  double free_first[64] = {0}, stride[64] = {0}, sum = 0;
  int32_t owner[MOST];
  int n = listed(t, weight);
  deal_owners(t, workers, owner);
  for (int i = 0; i < n; i++) {
    int to = 0;
    for (int k = 1; k < workers; k++)
      to = free_first[k] < free_first[to] ? k : to;
    assert_int_equal(owner[i], to);
    free_first[to] += weight[i];
    stride[i % workers] += weight[i];
    sum += weight[i];
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

/* 16 k tokens, heads x head_dim 2048, tiles as the kernels for sm_90a have them.  A block
 * weighs its key tiles and, of beginning and ending it, 1.5. */
typedef struct Tiling {
  int d, bm, bn;
  double free_first; /* mean over busiest of every problem at least, */
  double stride;     /* and by a stride at the worst, causal on 132 */
} Tiling;

/* At head_dim 256 two kinds of problem are below 0.97: a window of 4096 at 16 k, where
 * sections are of two heads, and 1 k on 108, where a worker has nine blocks. */
static const Tiling tilings[] = {
    {64, 128, 192, 0.99, 0.96}, {128, 128, 128, 0.98, 0.86}, {256, 128, 80, 0.96, 0.70}};

static int64_t
least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* Keys that a block sees begin `window` before its first row, and end with its last. */
static Tickets
problem(const Tiling *x, int s, int window, double *weight)
{
  int64_t heads = 2048 / x->d * (16384 / s), fit = (32 << 20) / (4 * x->d * s);
  Tickets t = {.heads = heads, .blocks = s / x->bm, .step = 1, .weight = weight};
  t.last_first = true;
  t.section = least(fit < 1 ? 1 : fit, heads);
  for (int64_t i = 0; i < t.blocks; i++) {
    int64_t from = window && i * x->bm > window ? i * x->bm - window : 0;
    int64_t keys = (i + 1) * x->bm - from;
    weight[i] = (double)((keys + x->bn - 1) / x->bn) + 1.5;
  }
  return t;
}

static void
test_even(void **state)
{
  (void)state;
  double weight[128];
  for (size_t i = 0; i < sizeof tilings / sizeof *tilings; i++) {
    double worst = 1;
    for (int at = 0; at < 20; at++) {
      int s = 1024 << at % 5, window = at / 5 % 2 ? 4096 : 0, workers = at < 10 ? 132 : 108;
      Tickets t = problem(&tilings[i], s, window, weight);
      Dealt first = deal_first_free(&t, workers), by = deal_stride(&t, workers);
      double even = first.mean / first.busiest, stride = by.mean / by.busiest;
      printf("head_dim %-3d %s s %-5d on %d: %.3f, by a stride %.3f\n", tilings[i].d,
             window ? "window 4096" : "causal     ", s, workers, even, stride);
      if (even < tilings[i].free_first)
        fail_msg("mean / busiest is %.3f, %.2f at least", even, tilings[i].free_first);
      if (workers == 132 && !window && stride < worst)
        worst = stride;
    }
    assert_true(worst >= tilings[i].stride && worst < tilings[i].stride + 0.02);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_by_one),
      cmocka_unit_test(test_many),
      cmocka_unit_test(test_even),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
