#include "tests/unit/mask_kit.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOC "tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}}\n"
#define TWO                                                                                \
  "tensors: {doc: {dtype: i32, axes: [b, kv], monotone: true}, other: {dtype: i32, "       \
  "axes: [9]}}\n"
#define ANY "tensors: {doc: {dtype: i32, axes: [b, kv]}}\n"

const KitMask kit_masks[] = {
    {"full", "", true, true},
    {"causal", "causal: true\n", true, true},
    {"top_left", "causal: true\nalign: top_left\n", true, true},
    {"window", "window: [70, 20]\n", true, true},
    {"prefix", "mask_mod: q_idx >= kv_idx || kv_idx < 77\n", true, true},
    {"prefix_h", "mask_mod: q_idx >= kv_idx || kv_idx < 40 + h\n", true, true},
    {"prefix_of_b",
     "tensors: {prefix: {dtype: i32, axes: [b]}}\n"
     "mask_mod: \"q_idx >= kv_idx || kv_idx < prefix[b]\"\n",
     true, true},
    {"chunk", "causal: true\nmask_mod: (q_idx + sk - sq) // 96 == kv_idx // 96\n", true,
     true},
    {"chunk64", "mask_mod: q_idx // 64 == kv_idx // 64\n", true, true},
    {"chunks_back",
     "mask_mod: q_idx // 64 - kv_idx // 64 <= 2 && q_idx // 64 >= kv_idx // 64\n", true,
     true},
    {"half", "mask_mod: 2 * kv_idx <= q_idx + 9\n", true, true},
    {"steps", "mask_mod: kv_idx <= q_idx // 32 * 32 + 31\n", true, true},
    {"least", "mask_mod: kv_idx <= min(q_idx + 40, 130) && kv_idx >= max(q_idx - 60, 10)\n",
     true, true},
    {"by_head", "mask_mod: \"h % 2 == 0 ? kv_idx <= q_idx : kv_idx >= q_idx\"\n", true,
     true},
    {"never", "mask_mod: q_idx + 1000 < kv_idx - 1000\n", true, true},
    {"global_rows", "mask_mod: q_idx < 10 || kv_idx <= q_idx\n", true, true},
    {"sinks", "causal: true\nmask_mod: kv_idx < 4 || q_idx + sk - sq - kv_idx <= 60\n",
     true, false},
    {"longformer", "mask_mod: kv_idx < 5 || q_idx < 5 || abs(q_idx - kv_idx) <= 40\n", true,
     false},
    {"blocks", "mask_mod: q_idx // 64 % 2 == kv_idx // 64 % 2\n", true, false},
    {"dilated", "mask_mod: kv_idx // 64 % 3 == 0 && kv_idx <= q_idx\n", true, false},
    {"diffusion",
     "mask_mod: (q_idx // 64 == kv_idx // 64) || (kv_idx // 64 < q_idx // 64 && kv_idx >= "
     "64)\n",
     true, false},
    {"not_here", "mask_mod: kv_idx // 64 != q_idx // 64\n", true, false},
    {"documents", DOC "mask_mod: \"doc[b, q_idx] == doc[b, kv_idx]\"\n", true, false},
    {"packed",
     DOC "causal: true\nalign: top_left\nmask_mod: \"doc[b, q_idx] == doc[b, kv_idx]\"\n",
     true, false},
    {"shared",
     DOC
     "mask_mod: \"q_idx >= kv_idx && (doc[b, q_idx] == doc[b, kv_idx] || kv_idx < 64)\"\n",
     true, false},
    {"unsorted", ANY "mask_mod: \"doc[b, q_idx] == doc[b, kv_idx]\"\n", false, false},
    {"kinds",
     "tensors: {kind: {dtype: i32, axes: [b, h, q/64, kv/64]}}\nmask_mod: \"kind[b, h, "
     "q_idx // 64, kv_idx // 64] >= 3 || kind[b, h, q_idx // 64, kv_idx // 64] >= 1 && "
     "q_idx >= kv_idx\"\n",
     false, false},
    {"of_two", TWO "mask_mod: \"other[doc[b, q_idx]] == doc[b, kv_idx]\"\n", false, false},
    {"not_of_two", TWO "mask_mod: \"doc[b, kv_idx] != other[doc[b, q_idx]]\"\n", false,
     false},
    {"odd_keys", "mask_mod: kv_idx % 2 == 1\n", false, false},
    {"products", "mask_mod: q_idx * kv_idx < 5000\n", false, false},
    {"bits", "mask_mod: (q_idx & kv_idx) == 0\n", false, false},
    {"rows_2d",
     "mask_mod: abs(q_idx // 16 - kv_idx // 16) <= 2 && abs(q_idx % 16 - kv_idx % 16) "
     "<= 3\n",
     false, false},
};
const int kit_masks_n = sizeof kit_masks / sizeof *kit_masks;

Spec *
kit_spec(const KitMask *m)
{
  char text[4096];
  attnc_spec *s = NULL;
  snprintf(text, sizeof text,
           "attnc: 1\nname: m%s\ndtype: fp16\nhead_dim: 64\ngroup_size: 1\n%s", m->name,
           m->yaml);
  if (attnc_spec_load(text, strlen(text), m->name, &s, NULL) != ATTNC_OK)
    fail_msg("%s", text);
  return s;
}

/* ---- tables ---- */

static int64_t
kit_axis(const SpecAxis *a, const int64_t n[SIZE_COUNT])
{
  int64_t by = a->by > 1 ? a->by : 1;
  return a->name ? (n[a->size] + by - 1) / by : a->n;
}

/* Runs of equal elements, as documents are. */
static int32_t *
elements(int64_t count, int64_t row, bool sorted, uint64_t *seed, Arena *arena)
{
  int32_t *x = NEW_N(arena, int32_t, count + 1), now = 0;
  for (int64_t i = 0; i < count; i++) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    unsigned draw = (unsigned)(*seed >> 40);
    if (i % row == 0)
      now = 0;
    if (draw % 37 == 0)
      now = sorted ? now + 1 : (int32_t)(draw / 37 % 5);
    x[i] = now;
  }
  return x;
}

KitTables
kit_tables(const Spec *s, int64_t b, int64_t h, int64_t sq, int64_t sk, uint64_t seed,
           Arena *arena)
{
  KitTables t = {0};
  int64_t n[SIZE_COUNT] = {[SIZE_B] = b, [SIZE_H] = h, [SIZE_HK] = h};
  n[SIZE_SQ] = sq;
  n[SIZE_SK] = sk;
  for (int i = 0; i < s->tables.n; i++) {
    const SpecAxes *axes = &s->tables.at[i].axes;
    ExprTable *x = &t.at[i];
    int64_t all = 1;
    for (int a = axes->n - 1; a >= 0; a--) {
      x->length[a] = kit_axis(&axes->at[a], n);
      x->stride[a] = all;
      all *= x->length[a];
    }
    int64_t row = x->length[axes->n - 1];
    t.count[i] = all;
    x->data = elements(all, row ? row : 1, s->tables.at[i].monotone, &seed, arena);
  }
  return t;
}

/* ---- meaning ---- */

KitCall
kit_call(const Spec *s, const KitTables *tables, int64_t sq, int64_t sk, Arena *arena)
{
  int most = s->mask_mod.n ? s->mask_mod.lists[0].n : 0;
  return (KitCall){.spec = s,
                   .tables = tables,
                   .sq = (int32_t)sq,
                   .sk = (int32_t)sk,
                   .values = NEW_N(arena, ExprValue, most + 1)};
}

static ExprValue
element(const void *user, int tensor, const void *data, int64_t at)
{
  (void)user;
  (void)tensor;
  return (ExprValue){.i = ((const int32_t *)data)[at]};
}

bool
kit_sees(const KitCall *c, int64_t q, int64_t k)
{
  Band b = spec_band(c->spec);
  int64_t rel = k - (q + (b.bottom_right ? c->sk - c->sq : 0));
  if ((b.hi != INT_MAX && rel > b.hi) || (b.lo != INT_MIN && rel < b.lo))
    return false;
  if (!c->spec->mask_mod.n)
    return true;
  ExprInput in = {.tables = c->tables ? c->tables->at : NULL, .element = element};
  in.var[EXPR_Q_IDX] = (int32_t)q;
  in.var[EXPR_KV_IDX] = (int32_t)k;
  in.var[EXPR_SQ] = c->sq;
  in.var[EXPR_SK] = c->sk;
  in.var[EXPR_B] = c->b;
  in.var[EXPR_H] = c->h;
  in.var[EXPR_HK] = c->hk;
  const ExprList *list = &c->spec->mask_mod.lists[0];
  expr_eval_list(list, &in, c->values);
  return c->values[list->n - 1].i;
}

int
kit_class(const KitCall *c, ExprRange q, ExprRange k)
{
  int64_t seen = 0, all = 0;
  for (int64_t i = q.lo; i <= q.hi; i++)
    for (int64_t j = k.lo; j <= k.hi; j++, all++)
      seen += kit_sees(c, i, j);
  return seen == 0 ? 0 : seen == all ? 2 : 1;
}
