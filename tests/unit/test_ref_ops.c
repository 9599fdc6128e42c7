/* The reference of ops append and merge against numbers that are known by heart, and what
 * attnc_verify makes of results that are wrong: an element, a row that was forgotten, one
 * that should have stayed as it was. */
#include "base/call.h"

#include <attnc/attnc.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { B = 2, HK = 2, D = 8, NEW = 3, ROWS = 10, PAGES = 7, SIZE = 4, MOST_PAGES = 3 };

static attnc_spec *
spec_of(const char *fields)
{
  char text[512];
  attnc_spec *s = NULL;
  snprintf(text, sizeof text,
           "attnc: 1\nname: x\ndtype: fp32\nhead_dim: %d\nlayout: bhsd\n%s", D, fields);
  assert_int_equal(attnc_spec_load(text, strlen(text), "t", &s, NULL), ATTNC_OK);
  return s;
}

/* ---- append ---- */

typedef struct Cache {
  attnc_spec *spec;
  attnc_sizes n;
  attnc_tensor t[ATTNC_SLOT_COUNT];
  attnc_args args;
  float k[PAGES * HK * SIZE * D], v[PAGES * HK * SIZE * D];
  float old_k[PAGES * HK * SIZE * D], old_v[PAGES * HK * SIZE * D];
  float k_new[B * HK * NEW * D], v_new[B * HK * NEW * D];
  float cos[ROWS * 2], sin[ROWS * 2]; /* of four elements a head */
  int32_t at[B], table[B * MOST_PAGES];
  bool paged;
} Cache;

static attnc_tensor
heads_of(float *data, int rows)
{
  return (attnc_tensor){data, {(int64_t)HK * rows * D, (int64_t)rows * D, D, 1}};
}

static void
open_cache(Cache *c, bool paged, const char *rope)
{
  char fields[256];
  *c = (Cache){.paged = paged, .at = {1, 7}, .table = {5, -1, 99, -7, 2, 6}};
  snprintf(fields, sizeof fields, "%s%s", paged ? "page_table: true\n" : "", rope);
  c->spec = spec_of(fields);
  c->n = (attnc_sizes){
      .size = sizeof c->n, .b = B, .h = HK, .hk = HK, .sk = ROWS, .s_new = NEW};
  if (paged) {
    c->n.pages = PAGES;
    c->n.page_size = SIZE;
    c->n.max_pages = MOST_PAGES;
  }
  c->n.rotary_len = *rope ? ROWS : 0;
  int held = paged ? PAGES * HK * SIZE * D : B * HK * ROWS * D;
  for (int i = 0; i < held; i++) {
    c->k[i] = (float)i;
    c->v[i] = (float)-i;
  }
  for (int i = 0; i < B * HK * NEW * D; i++) {
    c->k_new[i] = (float)(1000 + i);
    c->v_new[i] = (float)(2000 + i);
  }
  for (int i = 0; i < ROWS * 2; i++) { /* the turn of position p, pair i: p + i quarters */
    int quarter = (i / 2 + i % 2) % 4;
    c->cos[i] = (float)(quarter == 0) - (float)(quarter == 2);
    c->sin[i] = (float)(quarter == 1) - (float)(quarter == 3);
  }
  c->t[ATTNC_K] = heads_of(c->k, paged ? SIZE : ROWS);
  c->t[ATTNC_V] = heads_of(c->v, paged ? SIZE : ROWS);
  c->t[ATTNC_K_NEW] = heads_of(c->k_new, NEW);
  c->t[ATTNC_V_NEW] = heads_of(c->v_new, NEW);
  c->t[ATTNC_APPEND_AT] = (attnc_tensor){c->at, {1}};
  c->t[ATTNC_PAGE_TABLE] = (attnc_tensor){c->table, {MOST_PAGES, 1}};
  c->t[ATTNC_ROTARY_COS] = (attnc_tensor){c->cos, {2, 1}};
  c->t[ATTNC_ROTARY_SIN] = (attnc_tensor){c->sin, {2, 1}};
  c->args = (attnc_args){.size = sizeof c->args,
                         .sizes = &c->n,
                         .tensors = c->t,
                         .tensor_size = sizeof *c->t,
                         .n_tensors = ATTNC_SLOT_COUNT};
  memcpy(c->old_k, c->k, sizeof c->k);
  memcpy(c->old_v, c->v, sizeof c->v);
}

/* Where element d of new row i goes; -1: behind the end of the cache. */
static int
place(const Cache *c, int b, int h, int i, int d)
{
  int row = c->at[b] + i, size = c->paged ? SIZE : ROWS;
  int batch = c->paged ? c->table[b * MOST_PAGES + row / SIZE] : b;
  return row >= ROWS ? -1
                     : ((batch * HK + h) * size + (c->paged ? row % SIZE : row)) * D + d;
}

static float *
new_at(float *of, int b, int h, int i, int d)
{
  return &of[((b * HK + h) * NEW + i) * D + d];
}

/* Quarters of turns: what a pair (x, y) becomes is known without arithmetic. */
static float
turned(Cache *c, bool pairs, int b, int h, int i, int d)
{
  if (d >= 4)
    return *new_at(c->k_new, b, h, i, d);
  int pair = pairs ? d / 2 : d % 2, low = pairs ? d % 2 == 0 : d < 2;
  float x = *new_at(c->k_new, b, h, i, pairs ? pair * 2 : pair);
  float y = *new_at(c->k_new, b, h, i, pairs ? pair * 2 + 1 : pair + 2);
  switch ((c->at[b] + i + pair) % 4) {
  case 0:
    return low ? x : y;
  case 1:
    return low ? -y : x;
  case 2:
    return low ? -x : -y;
  default:
    return low ? y : -x;
  }
}

/* kind 0: no embedding, 1: halves, 2: pairs. */
static float
right_key(Cache *c, int kind, int b, int h, int i, int d)
{
  return kind ? turned(c, kind == 2, b, h, i, d) : *new_at(c->k_new, b, h, i, d);
}

static void
write_right(Cache *c, int kind)
{
  for (int n = 0; n < B * HK * NEW * D; n++) {
    int d = n % D, i = n / D % NEW, h = n / D / NEW % HK, b = n / D / NEW / HK;
    int to = place(c, b, h, i, d);
    if (to < 0)
      continue;
    c->k[to] = right_key(c, kind, b, h, i, d);
    c->v[to] = *new_at(c->v_new, b, h, i, d);
  }
}

static attnc_verdict
judge(Cache *c)
{
  static const void *before[ATTNC_SLOT_COUNT];
  attnc_verdict v = {.size = sizeof v, .before = before, .n_before = ATTNC_SLOT_COUNT};
  before[ATTNC_K] = c->old_k;
  before[ATTNC_V] = c->old_v;
  assert_int_equal(attnc_verify(c->spec, ATTNC_OP_APPEND, &c->args, &v, NULL), ATTNC_OK);
  return v;
}

static const char *const ropes[] = {"", "rope: {dim: 4}\n",
                                    "rope: {dim: 4, interleaved: true}\n"};

/* The second sequence has no room for its last row: it is left out. */
static void
appended_rows_are_right(void **state)
{
  (void)state;
  for (int n = 0; n < 6; n++) {
    static double k[PAGES * HK * SIZE * D], v[PAGES * HK * SIZE * D];
    double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_K] = k, [ATTNC_V] = v};
    Cache c;
    open_cache(&c, n % 2, ropes[n / 2]);
    c.at[1] = 8;
    assert_int_equal(attnc_reference(c.spec, ATTNC_OP_APPEND, &c.args, NULL, 0, outputs,
                                     ATTNC_SLOT_COUNT, NULL),
                     ATTNC_OK);
    write_right(&c, n / 2);
    int held = c.paged ? PAGES * HK * SIZE * D : B * HK * ROWS * D;
    for (int i = 0; i < held; i++) {
      assert_true(fabs(k[i] - (double)c.k[i]) < 1e-9);
      assert_true(fabs(v[i] - (double)c.v[i]) < 1e-9);
    }
    attnc_verdict said = judge(&c);
    assert_true(said.pass);
    assert_int_equal(said.rows, (NEW + NEW - 1) * HK);
    attnc_spec_release(c.spec);
  }
}

static void
is_wrong(Cache *c, float *at, int slot, int64_t b, int64_t h, int64_t q)
{
  float was = *at;
  *at = was + 1;
  attnc_verdict v = judge(c);
  assert_false(v.pass);
  assert_int_equal(v.bad_rows, 1);
  assert_int_equal(v.slot, slot);
  assert_int_equal(v.b, b);
  assert_int_equal(v.h, h);
  assert_int_equal(v.q, q);
  *at = was;
}

static void
what_changed_is_found(void **state)
{
  (void)state;
  for (int paged = 0; paged < 2; paged++) {
    Cache c;
    open_cache(&c, paged, ropes[1]);
    assert_false(judge(&c).pass); /* nothing was written */
    write_right(&c, 1);
    assert_true(judge(&c).pass);
    is_wrong(&c, &c.k[place(&c, 0, 1, 2, 3)], ATTNC_K, 0, 1, 2);
    is_wrong(&c, &c.v[place(&c, 1, 0, 0, 7)], ATTNC_V, 1, 0, 0);
    int size = paged ? SIZE : ROWS, old = paged ? 3 : 1; /* a page, a batch: row 0 */
    is_wrong(&c, &c.k[(old * HK + 1) * size * D + 5], ATTNC_K, old, 1, 0);
    is_wrong(&c, &c.v[(old * HK + 1) * size * D + 5], ATTNC_V, old, 1, 0);
    attnc_spec_release(c.spec);
  }
}

static void
refused(Cache *c, const char *why)
{
  attnc_error e;
  assert_int_equal(
      attnc_reference(c->spec, ATTNC_OP_APPEND, &c->args, NULL, 0, NULL, 0, &e),
      ATTNC_ERR_SHAPE);
  assert_string_equal(e.message, why);
}

static void
bad_numbers_are_named(void **state)
{
  Cache c;
  (void)state;
  open_cache(&c, true, ropes[1]);
  c.at[1] = -1;
  refused(&c, "reference: append_at[1] is -1, not from 0 to 10");
  c.at[1] = 3; /* its first page is none */
  refused(&c, "reference: the table of k has at [1, 0] -7, not from 0 to 6");
  c.at[1] = 7;
  c.n.rotary_len = ROWS - 1;
  refused(&c, "reference: rows of sequence 1 stand at 7 to 9, and rotary_cos has positions "
              "to 8");
  c.n.rotary_len = ROWS;
  c.table[4] = 5; /* where the first sequence writes */
  c.at[1] = 5;
  attnc_verdict v = {.size = sizeof v};
  attnc_error e;
  assert_int_equal(attnc_verify(c.spec, ATTNC_OP_APPEND, &c.args, &v, &e), ATTNC_ERR_SHAPE);
  assert_string_equal(e.message, "reference: new row 0 of sequence 1 goes where another "
                                 "goes, to row 1 of 5 of k");
  attnc_spec_release(c.spec);
}

/* The forward pass with new keys, of the cache as it was, is that of turned queries over
 * the cache with them in it. */
static void
attention_sees_new_keys(void **state)
{
  (void)state;
  for (int n = 0; n < 6; n++) {
    static double o[B * HK * NEW * D], want[B * HK * NEW * D];
    double *outputs[] = {[ATTNC_O] = o}, *wanted[] = {[ATTNC_O] = want};
    float q[B * HK * NEW * D];
    int32_t used[B];
    char fields[256];
    Cache c;
    open_cache(&c, n % 2, ropes[n / 2]);
    attnc_spec_release(c.spec);
    snprintf(fields, sizeof fields, "causal: true\nappend: true\n%s%s",
             c.paged ? "page_table: true\n" : "", ropes[n / 2]);
    c.spec = spec_of(fields);
    c.n.sq = NEW;
    c.table[MOST_PAGES] = 0; /* its old keys are read now */
    for (int i = 0; i < B * HK * NEW * D; i++) {
      c.k_new[i] = (float)(i % 7) / 4;
      q[i] = (float)(i % 5) / 4 - 0.5f;
    }
    c.t[ATTNC_Q] = heads_of(q, NEW);
    assert_int_equal(
        attnc_reference(c.spec, ATTNC_OP_FWD, &c.args, NULL, 0, outputs, ATTNC_O + 1, NULL),
        ATTNC_OK);
    write_right(&c, n / 2);
    memcpy(c.k_new, q, sizeof q); /* queries turn as keys of their places do */
    for (int i = 0; i < B * HK * NEW * D; i++)
      q[i] = right_key(&c, n / 2, i / D / NEW / HK, i / D / NEW % HK, i / D % NEW, i % D);
    for (int b = 0; b < B; b++)
      used[b] = c.at[b] + NEW < ROWS ? c.at[b] + NEW : ROWS;
    attnc_spec_release(c.spec);
    snprintf(fields, sizeof fields, "causal: true\nseqlens: [seqused_k]\n%s",
             c.paged ? "page_table: true\n" : "");
    c.spec = spec_of(fields);
    c.n.s_new = c.n.rotary_len = 0;
    c.t[ATTNC_SEQUSED_K] = (attnc_tensor){used, {1}};
    assert_int_equal(
        attnc_reference(c.spec, ATTNC_OP_FWD, &c.args, NULL, 0, wanted, ATTNC_O + 1, NULL),
        ATTNC_OK);
    for (int i = 0; i < B * HK * NEW * D; i++)
      assert_true(fabs(o[i] - want[i]) <= 1e-9 * (1 + fabs(want[i])));
    attnc_spec_release(c.spec);
  }
}

/* ---- merge ---- */

enum { H = 1, SQ = 4, PARTS = 3 };

typedef struct States {
  attnc_spec *spec;
  attnc_sizes n;
  attnc_tensor t[ATTNC_SLOT_COUNT];
  attnc_args args;
  float o_parts[PARTS * SQ * D], lse_parts[PARTS * SQ], o[SQ * D], lse[SQ];
} States;

/* Rows: of equal weights; of one part alone, the others' outputs NaN; of no key; of weights
 * that are 1 : 3. */
static void
open_states(States *s, bool base_2)
{
  const float none = -INFINITY, log3 = base_2 ? log2f(3) : logf(3);
  const float lse[PARTS][SQ] = {
      {1, none, none, 0}, {1, 5, INFINITY, log3}, {1, none, none, none}};
  *s = (States){
      .spec = spec_of(base_2 ? "return_lse: true\nlse_base: 2\n" : "return_lse: true\n")};
  s->n =
      (attnc_sizes){.size = sizeof s->n, .b = 1, .h = H, .hk = H, .sq = SQ, .parts = PARTS};
  memcpy(s->lse_parts, lse, sizeof lse);
  for (int i = 0; i < PARTS * SQ * D; i++) {
    bool seen = isfinite(s->lse_parts[i / D]);
    s->o_parts[i] = seen ? (float)(i / (SQ * D) + 1) : NAN;
  }
  s->t[ATTNC_O_PARTS] = (attnc_tensor){s->o_parts, {SQ * D, SQ * D, SQ * D, D, 1}};
  s->t[ATTNC_LSE_PARTS] = (attnc_tensor){s->lse_parts, {SQ, SQ, SQ, 1}};
  s->t[ATTNC_O] = (attnc_tensor){s->o, {SQ * D, SQ * D, D, 1}};
  s->t[ATTNC_LSE] = (attnc_tensor){s->lse, {0}};
  s->args = (attnc_args){.size = sizeof s->args,
                         .sizes = &s->n,
                         .tensors = s->t,
                         .tensor_size = sizeof *s->t,
                         .n_tensors = ATTNC_SLOT_COUNT};
}

static void
merged_states_are_right(void **state)
{
  (void)state;
  for (int base_2 = 0; base_2 < 2; base_2++) {
    static double o[SQ * D], lse[SQ];
    double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
    const double want[SQ] = {2, 2, 0, 1.75};
    const double log3 = base_2 ? log2(3) : log(3), log4 = base_2 ? 2 : log(4);
    const double want_lse[SQ] = {1 + log3, 5, -INFINITY, log4};
    States s;
    open_states(&s, base_2);
    assert_int_equal(attnc_reference(s.spec, ATTNC_OP_MERGE, &s.args, NULL, 0, outputs,
                                     ATTNC_SLOT_COUNT, NULL),
                     ATTNC_OK);
    for (int i = 0; i < SQ; i++) {
      for (int d = 0; d < D; d++)
        assert_true(fabs(o[i * D + d] - want[i]) < 1e-6);
      assert_true(lse[i] == want_lse[i] || fabs(lse[i] - want_lse[i]) < 1e-6);
    }
    attnc_spec_release(s.spec);
  }
}

static bool
passes(States *s)
{
  attnc_verdict v = {.size = sizeof v};
  assert_int_equal(attnc_verify(s->spec, ATTNC_OP_MERGE, &s->args, &v, NULL), ATTNC_OK);
  return v.pass;
}

static void
wrong_states_are_found(void **state)
{
  States s;
  double o[SQ * D], lse[SQ];
  double *outputs[ATTNC_SLOT_COUNT] = {[ATTNC_O] = o, [ATTNC_LSE] = lse};
  (void)state;
  open_states(&s, false);
  attnc_reference(s.spec, ATTNC_OP_MERGE, &s.args, NULL, 0, outputs, ATTNC_SLOT_COUNT,
                  NULL);
  for (int i = 0; i < SQ * D; i++)
    s.o[i] = (float)o[i];
  for (int i = 0; i < SQ; i++)
    s.lse[i] = (float)lse[i];
  assert_true(passes(&s));
  s.o[3 * D + 2] += 1e-4f;
  assert_false(passes(&s));
  s.o[3 * D + 2] = (float)o[3 * D + 2];
  s.o[2 * D] = 1e-30f; /* of no key */
  assert_false(passes(&s));
  s.o[2 * D] = 0;
  s.lse[2] = -1e30f;
  assert_false(passes(&s));
  s.lse[2] = -INFINITY;
  s.lse[0] += 1e-4f;
  assert_false(passes(&s));
  attnc_spec_release(s.spec);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(appended_rows_are_right), cmocka_unit_test(what_changed_is_found),
      cmocka_unit_test(bad_numbers_are_named),   cmocka_unit_test(attention_sees_new_keys),
      cmocka_unit_test(merged_states_are_right), cmocka_unit_test(wrong_states_are_found),
  };
  return cmocka_run_group_tests_name("ref_ops", tests, NULL, NULL);
}
