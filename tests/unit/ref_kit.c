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

static const char *const type_names[] = {"fp16", "bf16", "fp32"};

attnc_spec *
load(const char *text)
{
  attnc_spec *s = NULL;
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  return s;
}

void
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

void
put(const attnc_tensor *t, OracleType type, int64_t i, double v)
{
  uint32_t bits = oracle_encode(type, v);
  memcpy((char *)t->data + (size_t)i * bytes_of(type), &bits, bytes_of(type));
}

int64_t
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

void
set_output(Problem *p, int b, int h, int s, int d, double v)
{
  put(&p->t[ATTNC_O], p->type, at(&p->t[ATTNC_O], b, h, s, d), v);
}

float *
lse_at(Problem *p, int b, int h, int s)
{
  return (float *)p->t[ATTNC_LSE].data + ((long)b * p->c.h + h) * p->c.sq + s;
}

/* The best that any kernel can write: the oracle's result, rounded once. */
void
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

void
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
  p->sizes = (attnc_sizes){
      .size = sizeof p->sizes, .b = c->b, .h = c->h, .hk = c->hk, .sq = c->sq, .sk = c->sk};
  p->args = (attnc_args){.size = sizeof p->args,
                         .sizes = &p->sizes,
                         .tensors = p->t,
                         .tensor_size = sizeof *p->t,
                         .n_tensors = ATTNC_SLOT_COUNT};
}

void
problem_solve(Problem *p)
{
  oracle_attention(&p->c, p->q, p->k, p->v, p->o, p->lse);
  write_right_outputs(p);
}

void
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

attnc_status
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

Found
verify(Problem *p)
{
  Found v;
  attnc_error e;
  assert_int_equal(judge(p->spec, &p->args, &v, &e), ATTNC_OK);
  assert_int_equal(v.pass, v.bad_rows == 0);
  return v;
}

attnc_status
solve(const Problem *p, const int64_t *rows, size_t n, double *o, double *lse)
{
  double *const outputs[] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
  return attnc_reference(p->spec, ATTNC_OP_FWD, &p->args, rows, n, outputs, ATTNC_LSE + 1,
                         NULL);
}

/* ---- the reference ---- */

void
check_close(double got, double want, double tolerance)
{
  bool same = got == want || fabs(got - want) <= tolerance;
  if (!same)
    fprintf(stderr, "%.17g is not %.17g\n", got, want);
  assert_true(same);
}

void
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
