/* attnc_reference against the oracle of tests/ where expressions, and fields that are sugar
 * over them, change masks and scores. */
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

/* ---- masks and scores as expressions ---- */

enum { EXPR_BATCHES = 2, EXPR_MOST_KEYS = 41, EXPR_TABLE = 5 };
static int32_t documents[EXPR_BATCHES * EXPR_MOST_KEYS];
static uint16_t table_bits[4 * EXPR_TABLE];

static bool
same_document(const void *user, OracleAt a)
{
  const OracleCase *c = user;
  int q = a.q_idx < c->sk ? a.q_idx : c->sk - 1; /* the nearest */
  return documents[a.b * c->sk + q] == documents[a.b * c->sk + a.kv_idx];
}

static bool
global_or_near(const void *user, OracleAt a)
{
  const OracleCase *c = user;
  int at = a.q_idx + c->sk - c->sq;
  return a.kv_idx < 3 || (at - a.kv_idx <= 6 && a.kv_idx <= at);
}

static bool
no_key_of_odd_rows(const void *user, OracleAt a)
{
  (void)user;
  return a.q_idx % 2 == 0;
}

static long double
capped(const void *user, OracleAt a, long double x)
{
  (void)user, (void)a;
  return 2.5L * tanhl(x / 2.5L);
}

static long double
from_table(const void *user, OracleAt a, long double x)
{
  (void)user;
  int i = a.kv_idx - a.q_idx, at = i < 0 ? 0 : i >= EXPR_TABLE ? EXPR_TABLE - 1 : i;
  double t = oracle_decode(ORACLE_FP16, table_bits[a.h * EXPR_TABLE + at]);
  return (x + (long double)t) * 0.5L - (long double)(a.h * abs(a.q_idx - a.kv_idx)) * 0.25L;
}

static const struct {
  const char *spec;
  bool (*sees)(const void *, OracleAt);
  long double (*score)(const void *, OracleAt, long double);
  bool causal;
} expr_cases[] = {
    {"mask_mod: doc[b, q_idx] == doc[b, kv_idx]\n", same_document, NULL, true},
    {"mask_mod: \"kv_idx < 3 || abs(q_idx + sk - sq - kv_idx) <= 6 && q_idx + sk - sq >= "
     "kv_idx\"\n",
     global_or_near, NULL, false},
    {"mask_mod: q_idx % 2 == 0\n", no_key_of_odd_rows, NULL, false},
    {"score_mod: cap * tanh(score / cap)\n", NULL, capped, true},
    {"score_mod: [\"score + table[h, kv_idx - q_idx]\", \"score * gain - 0.25 * (h * "
     "abs(q_idx "
     "- kv_idx))\"]\n",
     NULL, from_table, false},
    {"mask_mod: doc[b, q_idx] == doc[b, kv_idx]\nscore_mod: [cap * tanh(score / cap)]\n",
     same_document, capped, false}};

static void
fill_tables(uint64_t seed)
{
  for (int i = 0; i < EXPR_BATCHES * EXPR_MOST_KEYS; i++)
    documents[i] = (int32_t)(oracle_random(&seed) % 3);
  for (int i = 0; i < 4 * EXPR_TABLE; i++)
    table_bits[i] = (uint16_t)oracle_encode(ORACLE_FP16, oracle_normal(&seed));
}

static void
check_expr_case(size_t i, int sq, int sk, OracleType type)
{
  attnc_tensor tensors[ATTNC_SLOT_COUNT + 2] = {{0}};
  double scalars[ATTNC_SCALAR_COUNT + 2];
  char more[768];
  Problem p = {.c = ORACLE(EXPR_BATCHES, 4, 2, sq, sk, 32, 16, false, false, -1, -1, 0),
               .type = type};
  p.c.causal = expr_cases[i].causal;
  p.c.sees = expr_cases[i].sees;
  p.c.score = expr_cases[i].score;
  p.c.user = &p.c;
  fill_tables(i);
  snprintf(more, sizeof more,
           "return_lse: true\ntensors: {doc: {dtype: i32, axes: [b, kv]}, "
           "table: {dtype: fp16, axes: [h, %d]}}\nscalars: {cap: run_time, gain: 0.5}\n%s",
           EXPR_TABLE, expr_cases[i].spec);
  problem_open(&p, i, more);
  memcpy(tensors, p.t, sizeof p.t);
  tensors[ATTNC_SLOT_COUNT] = (attnc_tensor){.data = documents, .stride = {sk, 1}};
  tensors[ATTNC_SLOT_COUNT + 1] =
      (attnc_tensor){.data = table_bits, .stride = {EXPR_TABLE, 1}};
  for (int k = 0; k < ATTNC_SCALAR_COUNT + 2; k++)
    scalars[k] = k == ATTNC_SCALAR_COUNT ? 2.5 : NAN;
  p.args.tensors = tensors;
  p.args.n_tensors = ATTNC_SLOT_COUNT + 2;
  p.args.scalars = scalars;
  p.args.n_scalars = ATTNC_SCALAR_COUNT + 2;
  problem_solve(&p);
  check_reference(&p);
  assert_true(verify(&p).pass);
  p.args.n_scalars = ATTNC_SCALAR_COUNT; /* cap has no default */
  assert_int_equal(solve(&p, NULL, 0, NULL, NULL), ATTNC_ERR_USAGE);
  p.args.n_scalars = ATTNC_SCALAR_COUNT + 2;
  p.args.n_tensors = ATTNC_SLOT_COUNT + 1; /* nor has table */
  assert_int_equal(solve(&p, NULL, 0, NULL, NULL), ATTNC_ERR_USAGE);
  problem_close(&p);
}

static void
expressions_are_the_oracles(void **state)
{
  static const int lengths[][2] = {{33, 41}, {41, 33}, {1, 41}, {40, 40}};
  (void)state;
  for (size_t i = 0; i < 4 * sizeof expr_cases / sizeof *expr_cases; i++)
    check_expr_case(i / 4, lengths[i % 4][0], lengths[i % 4][1], (OracleType)(i % 3));
}

/* ---- fields that change scores and masks ---- */

enum { MOD_B = 2, MOD_H = 4, MOD_MOST = 41 };
static float slopes[MOD_B * MOD_H], biases[MOD_B * MOD_H * MOD_MOST * 48];
static int32_t prefixes[MOD_B];
enum { MOD_WORDS = 3 }; /* of a row, one more than is read */
static uint32_t bits[MOD_B * MOD_MOST * MOD_WORDS];

/* Strides of `bias` by b, h, q, kv; 0: it has not that axis. */
typedef struct Mods {
  OracleCase c;
  bool per_batch;    /* slopes */
  double cap;        /* 0: none */
  double off;        /* of the cap's tanh: what it is wrong by, relative to it */
  int64_t stride[4]; /* all 0: no bias */
  bool alibi, prefix;
  int chunk; /* 0: none */
  bool top_left;
  enum { NO_BITS, ALL_BITS, NEW_BITS } bits;
} Mods;

static bool
bit_is_set(const Mods *m, OracleAt a)
{
  int at = a.kv_idx - (m->bits == NEW_BITS ? m->c.sk - m->c.sq : 0);
  const uint32_t *row = &bits[(a.b * MOD_MOST + a.q_idx) * MOD_WORDS];
  return at < 0 || row[at / 32] >> at % 32 & 1;
}

static bool
mod_sees(const void *user, OracleAt a)
{
  const Mods *m = user;
  int at = a.q_idx + (m->top_left ? 0 : m->c.sk - m->c.sq);
  if (m->prefix && !(a.kv_idx <= at || a.kv_idx < prefixes[a.b]))
    return false;
  if (m->bits && !bit_is_set(m, a))
    return false;
  double chunk = m->chunk ? floor((double)at / m->chunk) : 0;
  return !m->chunk || (int)chunk == a.kv_idx / m->chunk;
}

static long double
mod_score(const void *user, OracleAt a, long double x)
{
  const Mods *m = user;
  const int64_t *st = m->stride;
  if (m->cap > 0)
    x = (long double)(float)m->cap * tanhl(x / (long double)(float)m->cap) /* an fp32 */
        * (1 + (long double)(a.kv_idx % 2 ? m->off : -m->off));
  if (m->alibi)
    x -= (long double)slopes[(m->per_batch ? a.b * MOD_H : 0) + a.h] *
         abs(a.q_idx + m->c.sk - m->c.sq - a.kv_idx);
  if (st[0] || st[1] || st[2] || st[3])
    x +=
        (long double)biases[a.b * st[0] + a.h * st[1] + a.q_idx * st[2] + a.kv_idx * st[3]];
  return x;
}

/* A plane of `bias` is 48 x MOD_MOST elements, a row 48. */
static const struct {
  const char *spec;
  Mods m;
  bool causal;
} mod_cases[] = {
    {"softcap: 1.5\n", {.cap = 1.5}, true},
    {"softcap: 1e-3\n", {.cap = 1e-3}, false}, /* all scores at its bounds */
    {"alibi_slopes: h\n", {.alibi = true}, true},
    {"alibi_slopes: bh\nsoftcap: 2\n", {.alibi = true, .per_batch = true, .cap = 2}, false},
    {"bias: {axes: [b, h, q, kv], dtype: fp32}\n",
     {.stride = {MOD_H * MOD_MOST * 48, MOD_MOST * 48, 48, 1}},
     true},
    {"bias: {axes: [h, kv], dtype: fp32}\nalibi_slopes: h\n",
     {.stride = {0, 48, 0, 1}, .alibi = true},
     false},
    {"bias: {axes: [q], dtype: fp32}\nsoftcap: 3\n",
     {.stride = {0, 0, 1, 0}, .cap = 3},
     true},
    {"attention_chunk: 8\n", {.chunk = 8}, false},
    {"attention_chunk: 5\n", {.chunk = 5, .top_left = true}, true},
    {"mask_bits: true\n", {.bits = ALL_BITS}, false},
    {"mask_bits: true\nattention_chunk: 9\n", {.bits = ALL_BITS, .chunk = 9}, true},
    {"mask_bits: new\n", {.bits = NEW_BITS}, false},
    {"mask_bits: new\nprefix_len: true\n", {.bits = NEW_BITS, .prefix = true}, true},
    {"prefix_len: true\n", {.prefix = true}, true},
    {"prefix_len: true\nattention_chunk: 16\nsoftcap: 2.5\n"
     "alibi_slopes: h\nbias: {axes: [b, q, kv], dtype: fp32}\n",
     {.prefix = true,
      .top_left = true,
      .chunk = 16,
      .cap = 2.5,
      .alibi = true,
      .stride = {MOD_MOST * 48, 0, 48, 1}},
     true},
};

/* Strides of the axes that it has, the last of which is 1. */
static attnc_tensor
bias_tensor(const int64_t stride[4])
{
  attnc_tensor t = {.data = biases};
  for (int i = 0, n = 0; i < 4; i++)
    if (stride[i])
      t.stride[n++] = stride[i];
  return t;
}

static void
fill_mods(uint64_t seed, int sk)
{
  for (int i = 0; i < MOD_B * MOD_H; i++)
    slopes[i] = (float)oracle_normal(&seed) / 8;
  for (size_t i = 0; i < sizeof biases / sizeof *biases; i++)
    biases[i] = oracle_random(&seed) % 16 ? (float)oracle_normal(&seed) : -INFINITY;
  for (int i = 0; i < MOD_B; i++)
    prefixes[i] = i ? sk + 3 : 7;
  for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
    bits[i] = (uint32_t)oracle_random(&seed);
}

static void
check_mod_case(size_t i, int sq, int sk, OracleType type)
{
  Mods m = mod_cases[i].m;
  char more[512];
  Problem p = {.c = ORACLE(MOD_B, MOD_H, 2, sq, sk, 32, 16, false, false, -1, -1, 0),
               .type = type};
  p.c.top_left = m.top_left;
  p.c.causal = mod_cases[i].causal;
  m.c = p.c;
  fill_mods(i, sk);
  snprintf(more, sizeof more, "return_lse: true\n%s", mod_cases[i].spec);
  problem_open(&p, i, more);
  p.c.causal = p.c.causal && !m.prefix;
  p.c.sees = mod_sees;
  p.c.score = mod_score;
  p.c.user = &m;
  p.t[ATTNC_ALIBI_SLOPES] = (attnc_tensor){
      .data = slopes, .stride = {m.per_batch ? MOD_H : 1, m.per_batch ? 1 : 0}};
  p.t[ATTNC_BIAS] = bias_tensor(m.stride);
  p.t[ATTNC_PREFIX_LEN] = (attnc_tensor){.data = prefixes, .stride = {1}};
  p.t[ATTNC_MASK_BITS] =
      (attnc_tensor){.data = bits, .stride = {MOD_MOST * MOD_WORDS, MOD_WORDS, 1}};
  problem_solve(&p);
  check_reference(&p);
  assert_true(verify(&p).pass);
  p.t[ATTNC_ALIBI_SLOPES].data = p.t[ATTNC_BIAS].data = p.t[ATTNC_PREFIX_LEN].data = NULL;
  p.t[ATTNC_MASK_BITS].data = NULL;
  problem_close(&p);
}

static void
fields_are_the_oracles(void **state)
{
  static const int lengths[][2] = {{33, 41}, {41, 33}, {1, 41}};
  (void)state;
  for (size_t i = 0; i < 3 * sizeof mod_cases / sizeof *mod_cases; i++)
    check_mod_case(i / 3, lengths[i % 3][0], lengths[i % 3][1], (OracleType)(i % 3));
}

/* ---- what functions may be off by ---- */

/* Outputs of scores whose tanh is off by so much, judged. */
static Found
judge_off(double off, OracleType type)
{
  Mods m = {.cap = 1.5, .off = off};
  Problem p = {.c = ORACLE(MOD_B, MOD_H, 2, 33, 41, 32, 16, true, false, -1, -1, 0),
               .type = type};
  m.c = p.c;
  problem_open(&p, 1, "return_lse: true\nsoftcap: 1.5\n");
  p.c.score = mod_score;
  p.c.user = &m;
  problem_solve(&p);
  Found f = verify(&p);
  problem_close(&p);
  return f;
}

/* What docs/expressions.md allows a tanh of fp32 is 2^-21 of it. */
static void
functions_have_what_they_are_allowed(void **state)
{
  (void)state;
  Found right = judge_off(0, ORACLE_FP32), allowed = judge_off(0x1p-21, ORACLE_FP32);
  assert_true(right.pass && allowed.pass);
  assert_false(judge_off(0x1p-17, ORACLE_FP32).pass);
  assert_true(judge_off(0x1p-21, ORACLE_BF16).pass);
}

/* ---- a sink, and the base of the LSE ---- */

static float sinks[MOD_H];

/* What a sink makes of the oracle's rows. */
static void
add_sinks(Problem *p, bool base_2)
{
  const OracleCase *c = &p->c;
  double *o = p->o, *lse = p->lse;
  for (int b = 0; b < c->b; b++)
    for (int h = 0; h < c->h; h++)
      for (int i = 0; i < c->sq; i++, lse++) {
        long double with = (long double)sinks[h], was = (long double)*lse;
        long double top = was > with ? was : with;
        long double sum =
            top == -INFINITY ? top : top + logl(expl(was - top) + expl(with - top));
        long double part = sum == -INFINITY ? 0 : expl(was - sum);
        for (int e = 0; e < c->dv; e++, o++)
          *o = (double)((long double)*o * part);
        *lse = (double)(base_2 ? sum / logl(2) : sum);
      }
  write_right_outputs(p);
}

static void
check_sinks(const float values[MOD_H], bool causal, bool base_2, OracleType type)
{
  Problem p = {.c = ORACLE(MOD_B, MOD_H, 2, 41, 33, 32, 16, causal, false, -1, -1, 0),
               .type = type};
  problem_open(&p, type,
               base_2 ? "return_lse: true\nsink: fp32\nlse_base: 2\n"
                      : "return_lse: true\nsink: fp32\n");
  memcpy(sinks, values, sizeof sinks);
  p.t[ATTNC_SINK] = (attnc_tensor){.data = sinks, .stride = {1}};
  problem_solve(&p);
  add_sinks(&p, base_2);
  check_reference(&p);
  assert_true(verify(&p).pass);
  *lse_at(&p, 1, 1, 40) += 1;
  set_output(&p, 0, 0, 40, 3, 2);
  assert_int_equal(verify(&p).bad_rows, 2);
  p.t[ATTNC_SINK].data = NULL;
  problem_close(&p);
}

/* Rows 0 to 7 of a causal problem see no key: of them the LSE is the sink. */
static void
sinks_are_one_more_logit(void **state)
{
  static const float usual[MOD_H] = {0.5f, -3, 2.25f, 0};
  static const float extreme[MOD_H] = {-INFINITY, 90, -90, 1e-30f};
  (void)state;
  for (int i = 0; i < 6; i++) {
    check_sinks(usual, i % 2, i % 3 == 1, (OracleType)(i % 3));
    check_sinks(extreme, i % 2, i % 3 == 2, (OracleType)(i % 3));
  }
}

/* A sink that is no number makes its rows none. */
static void
sinks_may_be_no_numbers(void **state)
{
  Problem p = {.c = ORACLE(1, 2, 2, 5, 5, 16, 16, true, false, -1, -1, 0)};
  float values[] = {NAN, INFINITY};
  double o[2 * 5 * 16], lse[2 * 5];
  (void)state;
  problem_open(&p, 9, "return_lse: true\nsink: fp32\n");
  p.t[ATTNC_SINK] = (attnc_tensor){.data = values, .stride = {1}};
  assert_int_equal(solve(&p, NULL, 0, o, lse), ATTNC_OK);
  for (int i = 0; i < 2 * 5 * 16; i++)
    assert_true(isnan(o[i]));
  for (int i = 0; i < 2 * 5; i++)
    assert_true(isnan(lse[i]));
  p.t[ATTNC_SINK].data = NULL;
  problem_close(&p);
}

/* What a mask hides is not read: not even NaN reaches a row. */
static void
hidden_keys_have_no_value(void **state)
{
  Problem p = {.c = ORACLE(1, 1, 1, 8, 8, 16, 16, false, false, -1, -1, 0),
               .type = ORACLE_FP32};
  double o[8 * 16], lse[8];
  (void)state;
  problem_open(&p, 3, "mask_mod: kv_idx != 5\n");
  for (int e = 0; e < 16; e++) {
    put(&p.t[ATTNC_K], ORACLE_FP32, at(&p.t[ATTNC_K], 0, 0, 5, e), NAN);
    put(&p.t[ATTNC_V], ORACLE_FP32, at(&p.t[ATTNC_V], 0, 0, 5, e), NAN);
  }
  assert_int_equal(solve(&p, NULL, 0, o, lse), ATTNC_OK);
  for (int i = 0; i < 8 * 16; i++)
    assert_true(isfinite(o[i]) && isfinite(lse[i / 16]));
  problem_close(&p);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(expressions_are_the_oracles),
      cmocka_unit_test(fields_are_the_oracles),
      cmocka_unit_test(sinks_are_one_more_logit),
      cmocka_unit_test(sinks_may_be_no_numbers),
      cmocka_unit_test(hidden_keys_have_no_value),
      cmocka_unit_test(functions_have_what_they_are_allowed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
