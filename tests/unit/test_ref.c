/* attnc_reference against the oracle of tests/, and attnc_verify against results that are
 * right, wrong by a little, and wrong in each way that a kernel can be. */
#include "compiler/spec/spec.h"
#include "tests/oracle.h"

#include <attnc/attnc.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a problem with its tensors ---- */

/* A case with no mask and no score of a spec's own: the members before. */
#define ORACLE(...)                                                                        \
  {                                                                                        \
    __VA_ARGS__, .sees = NULL                                                              \
  }

typedef struct Problem {
  OracleCase c;
  OracleType type; /* of all four */
  bool bhsd;       /* else bshd */
  int pad;         /* elements more between rows */
  attnc_spec *spec;
  double *q, *k, *v, *o, *lse; /* contiguous; o, lse: what the oracle says */
  attnc_tensor t[ATTNC_SLOT_COUNT];
  attnc_sizes sizes;
  attnc_args args;
} Problem;

static const char *const type_names[] = {"fp16", "bf16", "fp32"};

static attnc_spec *
load(const char *text)
{
  attnc_spec *s = NULL;
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  return s;
}

static void
load_spec(Problem *p, const char *more)
{
  char text[1024], scale[64] = "";
  if (p->c.scale != 0)
    snprintf(scale, sizeof scale, "softmax_scale: %g\n", p->c.scale);
  snprintf(text, sizeof text,
           "attnc: 1\nname: t\ndtype: %s\nhead_dim: %d\nhead_dim_v: %d\ncausal: %s\n"
           "align: %s\nwindow: [%d, %d]\n%s%s",
           type_names[p->type], p->c.d, p->c.dv, p->c.causal ? "true" : "false",
           p->c.top_left ? "top_left" : "bottom_right", p->c.left, p->c.right, scale, more);
  p->spec = load(text);
}

static size_t
bytes_of(OracleType t)
{
  return t == ORACLE_FP32 ? 4 : 2;
}

static void
put(const attnc_tensor *t, OracleType type, int64_t i, double v)
{
  uint32_t bits = oracle_encode(type, v);
  memcpy((char *)t->data + (size_t)i * bytes_of(type), &bits, bytes_of(type));
}

static int64_t
at(const attnc_tensor *t, int b, int h, int s, int d)
{
  return b * t->stride[0] + h * t->stride[1] + s * t->stride[2] + d;
}

/* Room for [b, h, s, d] in the problem's layout, filled with 0xff: NaN where not written.
 */
static attnc_tensor
tensor_new(const Problem *p, int h, int s, int d)
{
  int64_t row = d + p->pad, n = (int64_t)p->c.b * h * s * row;
  attnc_tensor t = {
      .stride = {h * s * row, p->bhsd ? s * row : row, p->bhsd ? row : h * row, 1}};
  t.data = malloc((size_t)n * 4 + 16);
  memset(t.data, 0xff, (size_t)n * 4 + 16);
  return t;
}

/* Random normal numbers, rounded to the type; *flat has what they are. */
static attnc_tensor
tensor_random(const Problem *p, int h, int s, int d, uint64_t *seed, double **flat)
{
  attnc_tensor t = tensor_new(p, h, s, d);
  double *f = *flat =
      calloc((size_t)p->c.b * (size_t)h * (size_t)s * (size_t)d + 1, sizeof *f);
  for (int b = 0; b < p->c.b; b++)
    for (int i = 0; i < h; i++)
      for (int j = 0; j < s; j++)
        for (int e = 0; e < d; e++) {
          double v = oracle_normal(seed);
          put(&t, p->type, at(&t, b, i, j, e), v);
          *f++ = oracle_decode(p->type, oracle_encode(p->type, v));
        }
  return t;
}

static void
set_output(Problem *p, int b, int h, int s, int d, double v)
{
  put(&p->t[ATTNC_O], p->type, at(&p->t[ATTNC_O], b, h, s, d), v);
}

static float *
lse_at(Problem *p, int b, int h, int s)
{
  return (float *)p->t[ATTNC_LSE].data + ((long)b * p->c.h + h) * p->c.sq + s;
}

/* The best that any kernel can write: the oracle's result, rounded once. */
static void
write_right_outputs(Problem *p)
{
  const OracleCase *c = &p->c;
  const double *o = p->o, *lse = p->lse;
  for (int b = 0; b < c->b; b++)
    for (int h = 0; h < c->h; h++)
      for (int i = 0; i < c->sq; i++, lse++) {
        for (int e = 0; e < c->dv; e++)
          set_output(p, b, h, i, e, *o++);
        *lse_at(p, b, h, i) = (float)*lse;
      }
}

static void
problem_open(Problem *p, uint64_t seed, const char *more)
{
  const OracleCase *c = &p->c;
  size_t rows = (size_t)c->b * (size_t)c->h * (size_t)c->sq;
  load_spec(p, more);
  p->t[ATTNC_Q] = tensor_random(p, c->h, c->sq, c->d, &seed, &p->q);
  p->t[ATTNC_K] = tensor_random(p, c->hk, c->sk, c->d, &seed, &p->k);
  p->t[ATTNC_V] = tensor_random(p, c->hk, c->sk, c->dv, &seed, &p->v);
  p->t[ATTNC_O] = tensor_new(p, c->h, c->sq, c->dv);
  p->t[ATTNC_LSE].data = calloc(rows + 1, sizeof(float));
  p->o = calloc(rows * (size_t)c->dv + 1, sizeof *p->o);
  p->lse = calloc(rows + 1, sizeof *p->lse);
  p->sizes = (attnc_sizes){sizeof p->sizes, c->b, c->h, c->hk, c->sq, c->sk};
  p->args = (attnc_args){.size = sizeof p->args,
                         .sizes = &p->sizes,
                         .tensors = p->t,
                         .tensor_size = sizeof *p->t,
                         .n_tensors = ATTNC_SLOT_COUNT};
}

static void
problem_solve(Problem *p)
{
  oracle_attention(&p->c, p->q, p->k, p->v, p->o, p->lse);
  write_right_outputs(p);
}

static void
problem_close(Problem *p)
{
  attnc_spec_release(p->spec);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    free(p->t[i].data);
  free(p->q);
  free(p->k);
  free(p->v);
  free(p->o);
  free(p->lse);
}

/* attnc_verify's answer, of o and the LSE. */
typedef struct Found {
  int pass, slot;
  double max_error, bound, lse_error;
  int64_t rows, bad_rows, b, h, q;
} Found;

static attnc_status
judge(const attnc_spec *spec, const attnc_args *args, Found *f, attnc_error *e)
{
  attnc_output_verdict of[ATTNC_SLOT_COUNT];
  attnc_verdict v = {.size = sizeof v,
                     .outputs = of,
                     .output_size = sizeof *of,
                     .n_outputs = ATTNC_SLOT_COUNT};
  attnc_status status = attnc_verify(spec, ATTNC_OP_FWD, args, &v, e);
  if (status == ATTNC_OK)
    *f = (Found){v.pass,
                 v.slot,
                 of[ATTNC_O].max_error,
                 of[ATTNC_O].bound,
                 of[ATTNC_LSE].max_error,
                 v.rows,
                 v.bad_rows,
                 v.b,
                 v.h,
                 v.q};
  return status;
}

static Found
verify(Problem *p)
{
  Found v;
  attnc_error e;
  assert_int_equal(judge(p->spec, &p->args, &v, &e), ATTNC_OK);
  assert_int_equal(v.pass, v.bad_rows == 0);
  return v;
}

static attnc_status
solve(const Problem *p, const int64_t *rows, size_t n, double *o, double *lse)
{
  double *const outputs[] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
  return attnc_reference(p->spec, ATTNC_OP_FWD, &p->args, rows, n, outputs, ATTNC_LSE + 1,
                         NULL);
}

/* ---- the reference ---- */

static void
check_close(double got, double want, double tolerance)
{
  bool same = got == want || fabs(got - want) <= tolerance;
  if (!same)
    fprintf(stderr, "%.17g is not %.17g\n", got, want);
  assert_true(same);
}

static void
check_reference(Problem *p)
{
  const OracleCase *c = &p->c;
  size_t rows = (size_t)c->b * (size_t)c->h * (size_t)c->sq;
  double *o = calloc(rows * (size_t)c->dv + 1, sizeof *o),
         *lse = calloc(rows + 1, sizeof *lse);
  assert_int_equal(solve(p, NULL, 0, o, lse), ATTNC_OK);
  for (size_t i = 0; i < rows * (size_t)c->dv; i++)
    check_close(o[i], p->o[i], 1e-12);
  for (size_t i = 0; i < rows; i++)
    check_close(lse[i], p->lse[i], 1e-12);
  free(o);
  free(lse);
}

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

/* Strides of `bias` by b, h, q, kv; 0: it has not that axis. */
typedef struct Mods {
  OracleCase c;
  bool per_batch;    /* slopes */
  double cap;        /* 0: none */
  int64_t stride[4]; /* all 0: no bias */
  bool alibi, prefix;
  int chunk; /* 0: none */
  bool top_left;
} Mods;

static bool
mod_sees(const void *user, OracleAt a)
{
  const Mods *m = user;
  int at = a.q_idx + (m->top_left ? 0 : m->c.sk - m->c.sq);
  if (m->prefix && !(a.kv_idx <= at || a.kv_idx < prefixes[a.b]))
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
    x = (long double)(float)m->cap * tanhl(x / (long double)(float)m->cap); /* an fp32 */
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
  problem_solve(&p);
  check_reference(&p);
  assert_true(verify(&p).pass);
  p.t[ATTNC_ALIBI_SLOPES].data = p.t[ATTNC_BIAS].data = p.t[ATTNC_PREFIX_LEN].data = NULL;
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
      cmocka_unit_test(expressions_are_the_oracles),
      cmocka_unit_test(fields_are_the_oracles),
      cmocka_unit_test(hidden_keys_have_no_value),
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
