/* Gradients of the reference against differences of its forward pass, and what attnc_verify
 * makes of gradients that are wrong.
 *
 * L = Σ do · o + Σ dlse · lse is a number that the forward pass gives in fp64.  Inputs are
 * multiples of 2^-10, so that fp32 holds them moved by a step of 2^-10 or two; what the
 * five points miss of a slope is of fourth order. */
#include "harness/seqlens.h"
#include "harness/tensors.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double STEP = 0x1p-10, GRID = 0x1p10, CLOSE = 1e-7;

static const attnc_sizes dense = {
    .size = sizeof dense, .b = 2, .h = 2, .hk = 1, .sq = 4, .sk = 5};

static const char *const cases[] = {
    "",
    "causal: true\n",
    "causal: true\ngrad: [lse]\n",
    "grad: [lse]\nlse_base: 2\nhead_dim_v: 16\n",
    "window: [1, 0]\nalign: top_left\n",
    "mask_mod: q_idx % 2 == 0 && kv_idx != 1\ngrad: [lse]\n",
    "softcap: 0.7\nalibi_slopes: bh\nbias: {axes: [h, q, kv], dtype: fp32}\n",
    "sink: fp32\ngrad: [lse]\n",
    "score_mod: [\"score * (1.0 + f32(h)) + tanh(score * score)\", \"exp(-score) / (2.0 + "
    "sigmoid(score)) + sqrt(1.0 + score * score) + log2(3.0 + abs(score))\"]\n",
    "dropout: true\ncausal: true\ngrad: [lse]\n",
    "seqlens: [cu_seqlens_q, cu_seqlens_k]\ncausal: true\n",
    "seqlens: [seqused_q, seqused_k, leftpad_k]\nsoftcap: 2.0\n",
    "seqlens: [cu_seqlens_k, leftpad_k]\n",
    "block_list: {block: [16, 16]}\n",
    "alibi_slopes: bh\nbias: {axes: [h, q, kv], dtype: fp32}\nsink: fp32\nsoftcap: 3.0\n"
    "grad: [alibi_slopes, bias, sink, lse]\n",
    "tensors: {rel: {dtype: fp32, axes: [hk, kv]}, far: {dtype: fp32, axes: [b, q]}}\n"
    "score_mod: [\"score * rel[hk, kv_idx] + far[b, q_idx]\", \"tanh(score) * rel[hk, "
    "kv_idx] + "
    "score\"]\ngrad: [rel, far]\ndropout: true\n",
    "seqlens: [cu_seqlens_q, cu_seqlens_k, leftpad_k]\ntensors: {row: {dtype: fp32, axes: "
    "[h, "
    "tq]}, key: {dtype: fp32, axes: [tk]}}\n"
    "score_mod: \"score + row[h, q_idx] * key[kv_idx]\"\ngrad: [row, key]\n",
};

/* The forward pass and the backward one of a spec, of the same inputs. */
typedef struct Both {
  Arena *arena;
  attnc_spec *spec;
  Tensors fwd, bwd;
  double *o, *lse;
} Both;

static size_t
elements(const Tensors *t, int slot)
{
  const CallTensor *x = &t->call.at[slot].t;
  size_t n = t->host[slot].name != NULL;
  for (int i = 0; i < x->n_axes; i++)
    n *= (size_t)axis_length(&x->axes[i], &t->sizes);
  return n;
}

static float *
data_of(const Tensors *t, int slot)
{
  return t->host[slot].data;
}

static double *
room(const Tensors *t, int slot)
{
  return calloc(elements(t, slot) + 1, sizeof(double));
}

/* Element i in the order of the axes, as the reference numbers them. */
static float *
element(const Tensors *t, int slot, size_t i)
{
  const CallTensor *x = &t->call.at[slot].t;
  int64_t at = 0, rest = (int64_t)i;
  for (int a = x->n_axes - 1; a >= 0; a--) {
    int64_t n = axis_length(&x->axes[a], &t->sizes);
    at += rest % n * t->view[slot].stride[a];
    rest /= n;
  }
  return data_of(t, slot) + at;
}

static void
take_tensors(Both *c, int op, const attnc_sizes *n, Tensors *to)
{
  CallInfo call;
  attnc_sizes own = *n;
  assert_int_equal(signature_read(c->spec, op, c->arena, &call, NULL), ATTNC_OK);
  seqlens_sizes(&call, NULL, &own);
  assert_int_equal(tensors_new(&call, &own, to, NULL), ATTNC_OK);
  assert_int_equal(tensors_random(to, 5, NULL), ATTNC_OK);
  to->scalars[ATTNC_DROPOUT_P] = 0.25;
}

static void
open_case(Both *c, const char *fields, const attnc_sizes *n)
{
  char text[1024];
  *c = (Both){.arena = arena_new(0)};
  snprintf(text, sizeof text,
           "attnc: 1\nname: x\ndtype: fp32\nhead_dim: 8\nlayout: bhsd\nreturn_lse: "
           "true\nsoftmax_scale: 0.6\n%s",
           fields);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &c->spec, NULL), ATTNC_OK);
  take_tensors(c, ATTNC_OP_FWD, n, &c->fwd);
  take_tensors(c, ATTNC_OP_BWD, n, &c->bwd);
  for (int slot = 0; slot < CALL_SLOTS; slot++) {
    for (size_t i = 0; i < elements(&c->bwd, slot) && c->bwd.host[slot].dtype == DT_F32;
         i++) {
      float *x = element(&c->bwd, slot, i);
      *x = (float)(rint((double)*x * GRID) / GRID);
    }
    if (c->fwd.host[slot].name && c->bwd.host[slot].name)
      memcpy(c->fwd.host[slot].data, c->bwd.host[slot].data, c->fwd.host[slot].bytes);
  }
  c->o = room(&c->fwd, ATTNC_O);
  c->lse = room(&c->fwd, ATTNC_LSE);
}

static void
close_case(Both *c)
{
  free(c->o);
  free(c->lse);
  tensors_free(&c->fwd);
  tensors_free(&c->bwd);
  attnc_spec_release(c->spec);
  arena_free(c->arena);
}

/* Of rows of no sequence and LSEs of none nothing comes. */
static double
weighed(const double *of, const Tensors *by, int slot)
{
  double sum = 0;
  for (size_t i = 0; i < elements(by, slot); i++) {
    double weight = (double)*element(by, slot, i);
    if (isfinite(of[i]) && isfinite(weight))
      sum += of[i] * weight;
  }
  return sum;
}

static double
loss(Both *c)
{
  double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_O] = c->o, [ATTNC_LSE] = c->lse};
  const attnc_args args = tensors_args(&c->fwd);
  assert_int_equal(attnc_reference(c->spec, ATTNC_OP_FWD, &args, NULL, 0, outputs,
                                   ATTNC_SLOT_COUNT, NULL),
                   ATTNC_OK);
  return weighed(c->o, &c->bwd, ATTNC_DO) + weighed(c->lse, &c->bwd, ATTNC_DLSE);
}

static double
loss_at(Both *c, float *x, double by)
{
  float was = *x;
  *x = (float)((double)was + by);
  assert_true((double)*x == (double)was + by);
  double sum = loss(c);
  *x = was;
  return sum;
}

static double
slope(Both *c, float *x)
{
  double near = loss_at(c, x, STEP) - loss_at(c, x, -STEP);
  double far = loss_at(c, x, 2 * STEP) - loss_at(c, x, -2 * STEP);
  return (8 * near - far) / (12 * STEP);
}

/* Of a tensor and its gradient. */
static int
compare(Both *c, int slot, const double *gradient, const char *fields)
{
  int compared = 0;
  for (size_t i = 0; i < elements(&c->fwd, slot); i++) {
    float *x = element(&c->fwd, slot, i);
    if (!isfinite(*x))
      continue; /* of no sequence */
    double want = slope(c, x), error = fabs(gradient[i] - want);
    compared++;
    if (!(error <= CLOSE * (1 + fabs(want))))
      fail_msg("d%s[%zu] is %.9g, and differences say %.9g: %s", c->fwd.host[slot].name, i,
               gradient[i], want, fields);
  }
  return compared;
}

static void
gradients(Both *c, double *outputs[CALL_SLOTS])
{
  const attnc_args args = tensors_args(&c->bwd);
  for (int i = 0; i < c->bwd.call.n_slots; i++)
    if (c->bwd.call.at[i].t.access == ACCESS_OUT)
      outputs[i] = room(&c->bwd, i);
  assert_int_equal(
      attnc_reference(c->spec, ATTNC_OP_BWD, &args, NULL, 0, outputs, CALL_SLOTS, NULL),
      ATTNC_OK);
}

static void
free_all(double *outputs[CALL_SLOTS])
{
  for (int i = 0; i < CALL_SLOTS; i++)
    free(outputs[i]);
}

/* Of the tensors whose gradient has a name besides q, k and v. */
static void
compare_tables(Both *c, double *outputs[CALL_SLOTS], const char *fields)
{
  for (int i = ATTNC_DALIBI_SLOPES; i < c->bwd.call.n_slots; i++) {
    const char *name = c->bwd.call.at[i].t.name;
    for (int slot = 0; outputs[i] && slot < c->fwd.call.n_slots; slot++)
      if (c->fwd.host[slot].name && !strcmp(c->fwd.host[slot].name, name + 1))
        assert_true(compare(c, slot, outputs[i], fields) > 0);
  }
}

static void
test_differences(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Both c;
    double *outputs[CALL_SLOTS] = {NULL};
    open_case(&c, cases[i], &dense);
    gradients(&c, outputs);
    int n = compare(&c, ATTNC_Q, outputs[ATTNC_DQ], cases[i]);
    assert_true(n >= 64);
    compare(&c, ATTNC_K, outputs[ATTNC_DK], cases[i]);
    compare(&c, ATTNC_V, outputs[ATTNC_DV], cases[i]);
    compare_tables(&c, outputs, cases[i]);
    free_all(outputs);
    close_case(&c);
  }
}

/* ---- verdicts ---- */

static attnc_verdict
verdict(Both *c)
{
  attnc_verdict v = {.size = sizeof v};
  const attnc_args args = tensors_args(&c->bwd);
  assert_int_equal(attnc_verify(c->spec, ATTNC_OP_BWD, &args, &v, NULL), ATTNC_OK);
  return v;
}

/* The reference's own, rounded, are right; a wrong element, or one that is no number, of
 * each of them is found and named. */
static void
test_verdicts(void **state)
{
  static const int slots[] = {ATTNC_DQ, ATTNC_DK, ATTNC_DV};
  Both c;
  double *outputs[CALL_SLOTS] = {NULL};
  (void)state;
  open_case(&c, "causal: true\nwindow: [2, 0]\n", &dense);
  gradients(&c, outputs);
  for (size_t s = 0; s < 3; s++)
    for (size_t i = 0; i < elements(&c.bwd, slots[s]); i++)
      data_of(&c.bwd, slots[s])[i] = (float)outputs[slots[s]][i];
  attnc_verdict v = verdict(&c);
  assert_true(v.pass);
  assert_int_equal(v.rows, 2 * (2 * 4 + 2 * 5));
  for (size_t s = 0; s < 3; s++)
    for (size_t i = 0; i < elements(&c.bwd, slots[s]); i += 7) {
      float *x = &data_of(&c.bwd, slots[s])[i], was = *x;
      *x = i % 2 ? was + 1e-4f : NAN;
      v = verdict(&c);
      assert_false(v.pass);
      assert_int_equal(v.slot, slots[s]);
      assert_int_equal(v.bad_rows, 1);
      *x = was;
    }
  free_all(outputs);
  close_case(&c);
}

static void
test_refused(void **state)
{
  static const char *const fields[] = {"page_table: true\n", "seqlens: [cache_batch_idx]\n",
                                       "rope: {dim: 8}\n"};
  (void)state;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    char text[256];
    attnc_spec *s;
    attnc_error e;
    attnc_args args = {.size = sizeof args, .sizes = &dense};
    snprintf(text, sizeof text, "attnc: 1\nname: x\ndtype: fp32\nhead_dim: 8\n%s",
             fields[i]);
    assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
    attnc_status st =
        attnc_reference(s, ATTNC_OP_BWD, &args, NULL, 0, NULL, ATTNC_SLOT_COUNT, &e);
    assert_true(st == ATTNC_ERR_UNSUPPORTED || st == ATTNC_ERR_USAGE ||
                st == ATTNC_ERR_SHAPE);
    attnc_spec_release(s);
  }
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_differences),
      cmocka_unit_test(test_verdicts),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
