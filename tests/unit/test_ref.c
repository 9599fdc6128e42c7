/* attnc_reference against the oracle of tests/, and attnc_verify against results that are
 * right, wrong by a little, and wrong in each way that a kernel can be. */
#include "tests/unit/ref_kit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the reference ---- */

/* Masks × lengths × alignments, with types, groups and layouts in turn. */
static void
reference_is_the_oracles(void **state)
{
  static const int lengths[][2] = {{1, 1},   {1, 70},   {70, 1},   {64, 64}, {65, 63},
                                   {63, 65}, {130, 67}, {67, 130}, {3, 5},   {5, 0}};
  static const struct {
    bool causal;
    int left, right;
  } masks[] = {{false, -1, -1}, {true, -1, -1}, {false, 0, 0},  {false, 3, 2},
               {true, 3, -1},   {true, 3, 5},   {false, -1, 4}, {false, 7, -1},
               {true, 1000, 0}, {false, 0, 64}};
  int n = 0, bad = 0;
  (void)state;
  for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++)
    for (size_t m = 0; m < sizeof masks / sizeof *masks; m++)
      for (int align = 0; align < 2; align++, n++) {
        int hk = 1 + n % 2, group = 1 + n % 3;
        Problem p = {.c = {.b = 1 + n % 2,
                           .h = hk * group,
                           .hk = hk,
                           .sq = lengths[l][0],
                           .sk = lengths[l][1],
                           .d = 16 + 8 * (n % 3),
                           .dv = 16 + 8 * (n % 2),
                           .causal = masks[m].causal,
                           .top_left = align,
                           .left = masks[m].left,
                           .right = masks[m].right,
                           .scale = n % 4 ? 0 : 0.3},
                     .type = (OracleType)(n % 3),
                     .bhsd = n % 2,
                     .pad = n % 5};
        problem_open(&p, (uint64_t)n, "return_lse: true\n");
        problem_solve(&p);
        check_reference(&p);
        bad += !verify(&p).pass;
        problem_close(&p);
      }
  printf("%d problems\n", n);
  assert_int_equal(bad, 0);
}

/* Two keys, by hand: scores 2 and 0 (scale 1/4, head_dim 16). */
static void
reference_by_hand(void **state)
{
  Problem p = {.c = ORACLE(1, 1, 1, 1, 2, 16, 16, false, false, -1, -1, 0),
               .type = ORACLE_FP32};
  double o[16], lse;
  (void)state;
  problem_open(&p, 1, "");
  for (int i = 0; i < 16; i++) {
    put(&p.t[ATTNC_Q], ORACLE_FP32, i, 1);
    put(&p.t[ATTNC_K], ORACLE_FP32, i, 0.5);
    put(&p.t[ATTNC_K], ORACLE_FP32, 16 + i, 0);
    put(&p.t[ATTNC_V], ORACLE_FP32, i, 1);
    put(&p.t[ATTNC_V], ORACLE_FP32, 16 + i, -1);
  }
  assert_int_equal(solve(&p, NULL, 0, o, &lse), ATTNC_OK);
  check_close(o[0], 0.76159415595576485, 1e-15); /* tanh(1) */
  check_close(lse, 2.1269280110429727, 1e-15);   /* ln(e^2 + 1) */
  double scale = 0.5;
  p.args.scalars = &scale;
  p.args.n_scalars = 1;
  assert_int_equal(solve(&p, NULL, 0, o, &lse), ATTNC_OK);
  check_close(lse, 4.0181499279178094, 1e-15); /* ln(e^4 + 1) */
  scale = NAN;
  assert_int_equal(solve(&p, NULL, 0, o, &lse), ATTNC_OK);
  check_close(lse, 2.1269280110429727, 1e-15);
  problem_close(&p);
}

static void
reference_of_rows(void **state)
{
  static const int64_t rows[] = {6, 0, 6, 2};
  Problem p = {.c = ORACLE(2, 2, 1, 7, 9, 16, 24, true, false, -1, -1, 0),
               .type = ORACLE_BF16};
  double o[2 * 2 * 4 * 24], lse[2 * 2 * 4];
  (void)state;
  problem_open(&p, 5, "");
  problem_solve(&p);
  assert_int_equal(solve(&p, rows, 4, o, lse), ATTNC_OK);
  for (int head = 0; head < 4; head++)
    for (int i = 0; i < 4; i++) {
      check_close(lse[head * 4 + i], p.lse[head * 7 + rows[i]], 1e-12);
      check_close(o[(head * 4 + i) * 24 + 23], p.o[(head * 7 + rows[i]) * 24 + 23], 1e-12);
    }
  assert_int_equal(solve(&p, rows, 4, NULL, NULL), ATTNC_OK);
  assert_int_equal(solve(&p, (int64_t[]){7}, 1, o, lse), ATTNC_ERR_USAGE);
  problem_close(&p);
}

/* With one key o is v: every 16-bit pattern is read right. */
static void
every_16_bit_value(void **state)
{
  (void)state;
  for (OracleType type = ORACLE_FP16; type <= ORACLE_BF16; type++) {
    Problem p = {.c = ORACLE(1, 2048, 2048, 1, 1, 16, 32, false, false, -1, -1, 0),
                 .type = type};
    double *o = calloc(65536, sizeof *o);
    problem_open(&p, 1, "");
    uint16_t *v = p.t[ATTNC_V].data;
    for (uint32_t i = 0; i < 65536; i++)
      v[i] = (uint16_t)i;
    assert_int_equal(solve(&p, NULL, 0, o, NULL), ATTNC_OK);
    for (uint32_t i = 0; i < 65536; i++) {
      double want = oracle_decode(type, i);
      assert_true(isnan(want) ? isnan(o[i]) : o[i] == want);
    }
    problem_close(&p);
    free(o);
  }
}

/* ---- the contract ---- */

static void
open_small(Problem *p, OracleType type)
{
  *p =
      (Problem){.c = ORACLE(2, 4, 2, 70, 50, 32, 32, true, false, -1, -1, 0), .type = type};
  problem_open(p, 11, "return_lse: true\n");
  problem_solve(p);
}

static void
right_results_pass(void **state)
{
  (void)state;
  for (OracleType type = ORACLE_FP16; type <= ORACLE_FP32; type++) {
    Problem p;
    open_small(&p, type);
    Found v = verify(&p);
    /* Rounding P and O each cost half an ulp of numbers around 1. */
    double unit = ldexp(1, type == ORACLE_FP16 ? -11 : type == ORACLE_BF16 ? -8 : -24);
    assert_int_equal(v.pass, 1);
    assert_int_equal(v.rows, 2 * 4 * 70);
    assert_true(v.max_error <= v.bound / 2);
    assert_true(v.bound > unit / 4 && v.bound < 40 * unit);
    assert_true(v.lse_error < 1e-5);
    problem_close(&p);
  }
}

static void
expect_bad_row(Problem *p, int b, int h, int q)
{
  Found v = verify(p);
  assert_int_equal(v.pass, 0);
  assert_int_equal(v.bad_rows, 1);
  assert_int_equal(v.b, b);
  assert_int_equal(v.h, h);
  assert_int_equal(v.q, q);
  write_right_outputs(p);
  assert_int_equal(verify(p).pass, 1);
}

static void
one_wrong_element_fails(void **state)
{
  Problem p;
  open_small(&p, ORACLE_BF16);
  double bound = verify(&p).bound;
  (void)state;
  double right = p.o[((0 * 4 + 3) * 70 + 60) * 32 + 31];
  set_output(&p, 0, 3, 60, 31, right + 4 * bound);
  expect_bad_row(&p, 0, 3, 60);
  set_output(&p, 1, 0, 69, 0, NAN);
  expect_bad_row(&p, 1, 0, 69);
  set_output(&p, 1, 0, 69, 0, HUGE_VAL);
  expect_bad_row(&p, 1, 0, 69);
  set_output(&p, 0, 0, 0, 5, 0x1p-133); /* an empty row: anything but 0 is wrong */
  expect_bad_row(&p, 0, 0, 0);
  set_output(&p, 0, 0, 19, 5, NAN);
  expect_bad_row(&p, 0, 0, 19);
  set_output(&p, 0, 0, 19, 5, -0.0);
  assert_int_equal(verify(&p).pass, 1);
  problem_close(&p);
}

/* What no finite number is: of a row that must be NaN, of one whose V is infinite, of one
 * beside which others see NaN, and of a key that nobody sees. */
static void
what_is_not_finite(void **state)
{
  Problem p = {.c = ORACLE(1, 1, 1, 4, 4, 16, 16, true, false, -1, -1, 0),
               .type = ORACLE_BF16};
  (void)state;
  problem_open(&p, 1, "return_lse: true\n");
  problem_solve(&p);
  uint16_t *q = p.t[ATTNC_Q].data, *v = p.t[ATTNC_V].data;
  const uint16_t nan = 0x7fc0, infinity = 0x7f80, was = q[0];
  int stride = (int)p.t[ATTNC_V].stride[2];
  q[0] = nan; /* row 0 */
  assert_int_equal(verify(&p).pass, 0);
  for (int i = 0; i < 16; i++)
    set_output(&p, 0, 0, 0, i, NAN);
  assert_int_equal(verify(&p).pass, 0);
  *lse_at(&p, 0, 0, 0) = NAN;
  assert_int_equal(verify(&p).pass, 1);
  set_output(&p, 0, 0, 0, 7, HUGE_VAL);
  assert_int_equal(verify(&p).pass, 0);
  q[0] = was;
  for (int i = 0; i < 16; i++)
    set_output(&p, 0, 0, 0, i, p.o[i]);
  *lse_at(&p, 0, 0, 0) = (float)p.lse[0];
  assert_int_equal(verify(&p).pass, 1);
  v[2 * stride + 2] = infinity; /* rows 2 and 3 see it */
  assert_int_equal(verify(&p).bad_rows, 2);
  set_output(&p, 0, 0, 2, 2, HUGE_VAL);
  set_output(&p, 0, 0, 3, 2, NAN);
  assert_int_equal(verify(&p).pass, 1);
  set_output(&p, 0, 0, 3, 2, -HUGE_VAL);
  assert_int_equal(verify(&p).bad_rows, 1);
  set_output(&p, 0, 0, 3, 2, NAN);
  set_output(&p, 0, 0, 1, 2, NAN); /* a row of the same block, and … */
  assert_int_equal(verify(&p).pass, 1);
  set_output(&p, 0, 0, 1, 3, NAN); /* … another column */
  assert_int_equal(verify(&p).pass, 0);
  problem_close(&p);
}

/* A NaN of V reaches rows that do not see it as far as a block of them may. */
static void
what_a_block_sees(void **state)
{
  enum { N = 1100, KEY = 1050, COLUMN = 2 };
  Problem p = {.c = ORACLE(1, 1, 1, N, N, 16, 16, true, false, -1, -1, 0),
               .type = ORACLE_BF16};
  (void)state;
  problem_open(&p, 1, "return_lse: true\n");
  problem_solve(&p);
  uint16_t *v = p.t[ATTNC_V].data;
  v[KEY * p.t[ATTNC_V].stride[2] + COLUMN] = 0x7fc0;
  for (int q = KEY; q < N; q++)
    set_output(&p, 0, 0, q, COLUMN, NAN);
  assert_int_equal(verify(&p).pass, 1);
  set_output(&p, 0, 0, KEY - 1023, COLUMN, NAN);
  assert_int_equal(verify(&p).pass, 1);
  set_output(&p, 0, 0, KEY - 1024, COLUMN, NAN);
  assert_int_equal(verify(&p).bad_rows, 1);
  problem_close(&p);
}

/* Scores beyond fp32 weigh nothing; large ones have an LSE as near as fp32 can say it. */
static void
scores_of_any_size(void **state)
{
  static const struct {
    float q, k[2];
    double lse;
    bool first; /* o is v of the first key, else of the second */
  } of[] = {{1e20f, {-1e20f, 0}, 0, false},
            {1e20f, {-1e20f, -1e20f}, -INFINITY, false},
            {1e4f, {8.8f, 8.7f}, 8.8e4, true},
            {-3e4f, {1e5f, 1.1e5f}, -3e9, true}};
  (void)state;
  for (size_t n = 0; n < sizeof of / sizeof of[0]; n++) {
    Problem p = {.c = ORACLE(1, 1, 1, 1, 2, 16, 16, false, false, -1, -1, 1),
                 .type = ORACLE_FP32};
    double o[16], lse;
    bool none = isinf(of[n].lse);
    problem_open(&p, 1, "return_lse: true\n");
    for (int i = 0; i < 16; i++) {
      put(&p.t[ATTNC_Q], ORACLE_FP32, i, i ? 0 : of[n].q);
      for (int j = 0; j < 2; j++)
        put(&p.t[ATTNC_K], ORACLE_FP32, j * (int)p.t[ATTNC_K].stride[2] + i,
            i ? 0 : of[n].k[j]);
    }
    assert_int_equal(solve(&p, NULL, 0, o, &lse), ATTNC_OK);
    assert_true(none ? lse == of[n].lse : fabs(lse - of[n].lse) <= 1e-6 * fabs(lse));
    for (int i = 0; i < 16; i++) {
      assert_true(o[i] == (none ? 0 : p.v[of[n].first ? i : 16 + i]));
      set_output(&p, 0, 0, 0, i, o[i]);
    }
    *lse_at(&p, 0, 0, 0) = (float)lse;
    assert_int_equal(verify(&p).pass, 1);
    *lse_at(&p, 0, 0, 0) = (float)(lse * (1 + 1e-6) + 2e-3);
    assert_int_equal(verify(&p).pass, none);
    problem_close(&p);
  }
}

/* Terms of a score that cancel: what tensor cores lose of them is relative to the terms. */
static void
terms_that_cancel(void **state)
{
  const double term = 1e6, sum = 64 * term, lost = 64 / 8 * 0x1p-23 * sum; /* about 61 */
  Problem p = {.c = ORACLE(1, 1, 1, 1, 1, 64, 16, false, false, -1, -1, 1),
               .type = ORACLE_BF16};
  double o[16], lse;
  (void)state;
  problem_open(&p, 1, "return_lse: true\n");
  for (int i = 0; i < 64; i++) {
    put(&p.t[ATTNC_Q], ORACLE_BF16, i, 1000);
    put(&p.t[ATTNC_K], ORACLE_BF16, i, i % 2 ? -1000 : 1000);
  }
  assert_int_equal(solve(&p, NULL, 0, o, &lse), ATTNC_OK);
  assert_true(lse == 0);
  for (int i = 0; i < 16; i++)
    set_output(&p, 0, 0, 0, i, o[i]);
  *lse_at(&p, 0, 0, 0) = (float)(lost / 2);
  assert_int_equal(verify(&p).pass, 1);
  *lse_at(&p, 0, 0, 0) = (float)(lost * 1.1);
  assert_int_equal(verify(&p).bad_rows, 1);
  problem_close(&p);
}

static void
wrong_lse_fails(void **state)
{
  Problem p;
  open_small(&p, ORACLE_FP16);
  (void)state;
  *lse_at(&p, 1, 2, 40) += 2e-3f;
  expect_bad_row(&p, 1, 2, 40);
  *lse_at(&p, 1, 2, 40) = NAN;
  expect_bad_row(&p, 1, 2, 40);
  *lse_at(&p, 1, 2, 40) = -INFINITY;
  expect_bad_row(&p, 1, 2, 40);
  *lse_at(&p, 0, 1, 3) = -1e30f; /* an empty row */
  expect_bad_row(&p, 0, 1, 3);
  *lse_at(&p, 0, 1, 3) = NAN;
  expect_bad_row(&p, 0, 1, 3);
  *lse_at(&p, 1, 2, 40) += 5e-4f;
  Found v = verify(&p);
  assert_int_equal(v.pass, 1);
  assert_true(v.lse_error > 4e-4 && v.lse_error < 6e-4);
  problem_close(&p);
}

/* A mask that is off by one, the other alignment, a scale a little off: all seen. */
static void
wrong_computations_fail(void **state)
{
  OracleCase right = {.b = 1,
                      .h = 2,
                      .hk = 1,
                      .sq = 96,
                      .sk = 80,
                      .d = 32,
                      .dv = 32,
                      .causal = true,
                      .left = 20,
                      .right = -1};
  OracleCase wrong[5];
  (void)state;
  for (int i = 0; i < 5; i++)
    wrong[i] = right;
  wrong[0].left = 19;
  wrong[1].left = 21;
  wrong[2].top_left = true;
  wrong[3].causal = false;
  wrong[4].scale = 1.05 / sqrt(32);
  for (int i = 0; i < 5; i++) {
    Problem p = {.c = right, .type = ORACLE_BF16};
    problem_open(&p, 3, "");
    p.c = wrong[i];
    problem_solve(&p);
    Found v = verify(&p);
    assert_int_equal(v.pass, 0);
    assert_true(v.bad_rows > 20);
    problem_close(&p);
  }
}

/* ---- a kernel as kernels are ---- */

/* Attention in tiles of 16 keys with a running maximum, in fp32, P and O rounded to bf16;
 * sloppy: O is kept in bf16 between tiles. */
typedef struct Online {
  float m, l, o[32];
} Online;

static float
to_bf16(float v)
{
  return (float)oracle_decode(ORACLE_BF16, oracle_encode(ORACLE_BF16, v));
}

static float
fp32_score(const Problem *p, const double *q, const double *k)
{
  float s = 0;
  for (int i = 0; i < p->c.d; i++)
    s += (float)q[i] * (float)k[i];
  return s * 1.44269504f / sqrtf((float)p->c.d);
}

static void
online_tile(const Problem *p, Online *x, int row, int from, const double *q, bool sloppy)
{
  float s[16], m = x->m;
  for (int j = 0; j < 16; j++) {
    bool seen = from + j < p->c.sk && oracle_sees(&p->c, row, from + j);
    s[j] = seen ? fp32_score(p, q, p->k + (long)(from + j) * p->c.d) : -INFINITY;
    m = fmaxf(m, s[j]);
  }
  if (m == -INFINITY)
    return;
  float scale = exp2f(x->m - m);
  x->m = m;
  x->l *= scale;
  for (int e = 0; e < p->c.dv; e++)
    x->o[e] *= scale;
  for (int j = 0; j < 16 && from + j < p->c.sk; j++) {
    float w = exp2f(s[j] - m), rounded = to_bf16(w);
    x->l += w;
    for (int e = 0; e < p->c.dv; e++)
      x->o[e] += rounded * (float)p->v[(long)(from + j) * p->c.dv + e];
  }
  for (int e = 0; e < p->c.dv && sloppy; e++)
    x->o[e] = to_bf16(x->o[e]);
}

static void
write_online(Problem *p, bool sloppy)
{
  for (int i = 0; i < p->c.sq; i++) {
    Online x = {.m = -INFINITY};
    for (int from = 0; from < p->c.sk; from += 16)
      online_tile(p, &x, i, from, p->q + (long)i * p->c.d, sloppy);
    for (int e = 0; e < p->c.dv; e++)
      set_output(p, 0, 0, i, e, x.l > 0 ? x.o[e] / x.l : 0);
    *lse_at(p, 0, 0, i) = x.l > 0 ? (x.m + log2f(x.l)) * 0.693147181f : -INFINITY;
  }
}

static void
tiled_kernels_pass_and_sloppy_ones_fail(void **state)
{
  (void)state;
  for (uint64_t seed = 0; seed < 4; seed++) {
    Problem p = {.c = ORACLE(1, 1, 1, 40, 3000, 32, 32, seed % 2, false, -1, -1, 0),
                 .type = ORACLE_BF16};
    problem_open(&p, seed, "return_lse: true\n");
    write_online(&p, false);
    Found v = verify(&p);
    assert_int_equal(v.pass, 1);
    assert_true(v.max_error > v.bound / 20); /* a bound that means something */
    write_online(&p, true);
    assert_int_equal(verify(&p).pass, 0);
    printf("tiled: error %.2g, bound %.2g; sloppy: error %.2g\n", v.max_error, v.bound,
           verify(&p).max_error);
    problem_close(&p);
  }
}

/* Results beyond the output type are infinite, and only then. */
static void
output_overflow(void **state)
{
  Problem p = {.c = ORACLE(1, 1, 1, 1, 1, 16, 16, false, false, -1, -1, 0),
               .type = ORACLE_BF16};
  (void)state;
  problem_open(&p, 1, "");
  attnc_spec_release(p.spec);
  p.spec = load(
      "attnc: 1\nname: t\nhead_dim: 16\ndtype: {q: bf16, k: bf16, v: bf16, o: fp16}\n");
  for (int i = 0; i < 16; i++) {
    put(&p.t[ATTNC_V], ORACLE_BF16, i, i % 2 ? 1e6 : 2);
    put(&p.t[ATTNC_O], ORACLE_FP16, i, i % 2 ? HUGE_VAL : 2);
  }
  assert_int_equal(verify(&p).pass, 1);
  put(&p.t[ATTNC_O], ORACLE_FP16, 1, -HUGE_VAL);
  assert_int_equal(verify(&p).pass, 0);
  put(&p.t[ATTNC_O], ORACLE_FP16, 1, 65504);
  assert_int_equal(verify(&p).pass, 0);
  put(&p.t[ATTNC_O], ORACLE_FP16, 1, HUGE_VAL);
  put(&p.t[ATTNC_O], ORACLE_FP16, 0, HUGE_VAL);
  assert_int_equal(verify(&p).pass, 0);
  problem_close(&p);
}

/* Above 2^30 multiply-adds 256 rows a head are looked at, the edges among them. */
static void
large_problems_are_sampled(void **state)
{
  static const int edges[] = {0, 2047, 63, 64, 65, 1984};
  Problem p = {.c = ORACLE(1, 1, 1, 2048, 1025, 256, 256, false, false, 40, 0, 0),
               .type = ORACLE_BF16};
  int unseen = 0;
  (void)state;
  problem_open(&p, 2, "");
  problem_solve(&p);
  Found v = verify(&p);
  assert_int_equal(v.pass, 1);
  assert_int_equal(v.rows, 256);
  for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
    set_output(&p, 0, 0, edges[i], 3, NAN);
    expect_bad_row(&p, 0, 0, edges[i]);
  }
  for (int q = 1200; q < 1300; q++) {
    set_output(&p, 0, 0, q, 3, NAN);
    unseen += verify(&p).pass;
    set_output(&p, 0, 0, q, 3, p.o[q * 256 + 3]);
  }
  assert_true(unseen > 80 && unseen < 100);
  p.sizes.sk = 1024; /* exactly 2^30: all rows */
  assert_int_equal(verify(&p).rows, 2048);
  problem_close(&p);
}

static void
empty_problems(void **state)
{
  static const int sizes[][4] = {{0, 2, 3, 3}, {1, 0, 3, 3}, {1, 2, 0, 3}, {1, 2, 3, 0}};
  (void)state;
  for (int i = 0; i < 4; i++) {
    Problem p = {.c = ORACLE(sizes[i][0], sizes[i][1], sizes[i][1] / 2, sizes[i][2],
                             sizes[i][3], 16, 16, true, false, -1, -1, 0)};
    problem_open(&p, 1, "return_lse: true\n");
    problem_solve(&p);
    Found v = verify(&p);
    assert_int_equal(v.pass, 1);
    assert_int_equal(v.rows, i == 3 ? 6 : 0);
    problem_close(&p);
  }
}

/* ---- misuse ---- */

static void
expect_refusal(const Problem *p, attnc_status want)
{
  Found v;
  attnc_error e = {0};
  assert_int_equal(judge(p->spec, &p->args, &v, &e), want);
  assert_int_equal(e.status, want);
  assert_true(e.message[0] != 0);
}

static void
misuse(void **state)
{
  Problem p;
  open_small(&p, ORACLE_BF16);
  attnc_args good = p.args;
  const attnc_sizes good_sizes = p.sizes;
  attnc_verdict v = {0};
  double scale = 0.25;
  (void)state;
  assert_int_equal(attnc_verify(p.spec, ATTNC_OP_FWD, &p.args, &v, NULL), ATTNC_ERR_USAGE);
  assert_int_equal(attnc_verify(p.spec, ATTNC_OP_FWD, &p.args, NULL, NULL),
                   ATTNC_ERR_USAGE);
  p.args.size = 0;
  expect_refusal(&p, ATTNC_ERR_USAGE);
  p.args = good;
  p.sizes = good_sizes;
  p.sizes.hk = 3;
  expect_refusal(&p, ATTNC_ERR_SHAPE);
  p.sizes.hk = 0;
  expect_refusal(&p, ATTNC_ERR_SHAPE);
  p.args = good;
  p.sizes = good_sizes;
  p.sizes.sq = -1;
  expect_refusal(&p, ATTNC_ERR_SHAPE);
  p.sizes.sq = INT64_MAX;
  expect_refusal(&p, ATTNC_ERR_SHAPE);
  p.args = good;
  p.sizes = good_sizes;
  p.args.n_tensors = ATTNC_O; /* no output, no LSE */
  expect_refusal(&p, ATTNC_ERR_USAGE);
  p.args = good;
  p.sizes = good_sizes;
  attnc_spec_release(p.spec);
  load_spec(&p, "group_size: 4\n");
  expect_refusal(&p, ATTNC_ERR_SHAPE);
  attnc_spec_release(p.spec);
  load_spec(&p, "specialize: [softmax_scale]\nsoftmax_scale: 0.125\n");
  p.args.scalars = &scale;
  p.args.n_scalars = 1;
  expect_refusal(&p, ATTNC_ERR_USAGE);
  problem_close(&p);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reference_is_the_oracles),
      cmocka_unit_test(reference_by_hand),
      cmocka_unit_test(reference_of_rows),
      cmocka_unit_test(every_16_bit_value),
      cmocka_unit_test(right_results_pass),
      cmocka_unit_test(one_wrong_element_fails),
      cmocka_unit_test(what_is_not_finite),
      cmocka_unit_test(what_a_block_sees),
      cmocka_unit_test(scores_of_any_size),
      cmocka_unit_test(terms_that_cancel),
      cmocka_unit_test(wrong_lse_fails),
      cmocka_unit_test(wrong_computations_fail),
      cmocka_unit_test(tiled_kernels_pass_and_sloppy_ones_fail),
      cmocka_unit_test(output_overflow),
      cmocka_unit_test(large_problems_are_sampled),
      cmocka_unit_test(empty_problems),
      cmocka_unit_test(misuse),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
