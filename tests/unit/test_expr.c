/* Expressions: what each operator means, what is refused and where, that printing and the
 * normal form keep the meaning, that intervals and limits hold.
 *
 *   test_expr [--seed N] [--runs N] */
#include "tests/unit/expr_random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t seed = 1;
static long runs = 20000;

static const Expr *
parsed(ExprGraph *g, const char *text, ExprKind kind)
{
  ExprParse p;
  expr_parse(g, text, kind, &p);
  for (int i = 0; i < p.faults.n; i++)
    fprintf(stderr, "%s: %zu: %s\n", text, p.faults.at[i].at, p.faults.at[i].message);
  assert_int_equal(p.faults.n, 0);
  assert_non_null(p.root);
  return p.root;
}

static const char *
printed(const ExprGraph *g, const Expr *e)
{
  Str s = str_new(g->arena);
  expr_print(g, e, &s);
  return s.p;
}

/* ---- text ---- */

static void
precedence_is_that_of_c(void **state)
{
  static const char *const cases[][2] = {
      {"q_idx+kv_idx*2 >= sk", "q_idx + kv_idx * 2 >= sk"},
      {"q_idx - (kv_idx - sk) < 3", "q_idx - (kv_idx - sk) < 3"},
      {"q_idx - kv_idx - sk < 3", "q_idx - kv_idx - sk < 3"},
      {"q_idx << 1 + 2 == 8", "q_idx << 1 + 2 == 8"},
      {"(q_idx & 3) == 1", "(q_idx & 3) == 1"},
      {"q_idx < 3 & kv_idx < 3", "q_idx < 3 && kv_idx < 3"},
      {"q_idx < 3 | kv_idx < 3 && h == 1", "(q_idx < 3 || kv_idx < 3) && h == 1"},
      {"q_idx < 3 || kv_idx < 3 && h == 1", "q_idx < 3 || kv_idx < 3 && h == 1"},
      {"q_idx < 3 ^ kv_idx < 3", "(q_idx < 3) != (kv_idx < 3)"},
      {"h == 0 ? q_idx < 3 : h == 1 ? true : false",
       "h == 0 ? q_idx < 3 : h == 1 ? true : false"},
      {"(h == 0 ? q_idx : kv_idx) > 2", "(h == 0 ? q_idx : kv_idx) > 2"},
      {"-q_idx < -4", "-q_idx < -4"},
      {"-(4) < q_idx - -4", "-4 < q_idx - -4"},
      {"!(q_idx < 3)", "!(q_idx < 3)"},
      {"~q_idx == 0xffffffff", "~q_idx == -1"},
      {"q_idx // 2 % 3 * 4 == 0", "q_idx // 2 % 3 * 4 == 0"},
      {"q_idx // (2 % 3) == 0", "q_idx // (2 % 3) == 0"},
      {"q_idx / 2 < .5", "f32(q_idx) / 2.0 < 0.5"},
      {"min(q_idx, 1.5) >= 1e1", "min(f32(q_idx), 1.5) >= 10.0"},
      {"i32(f32(q_idx)) == i32(kv_idx)", "i32(f32(q_idx)) == kv_idx"},
      {"doc[b, q_idx] == doc[b,kv_idx]", "doc[b, q_idx] == doc[b, kv_idx]"},
      {"start[-2147483648] != 2147483647", "start[-2147483648] != 2147483647"},
      {"true == (q_idx\n  >= kv_idx)", "true == (q_idx >= kv_idx)"},
      {"cap > 1e-45", "cap > 1e-45"},
      {"cap < inf && cap > -inf", "cap < inf && cap > -inf"},
      {"cap == 0.1 || cap == 16777216.0", "cap == 0.1 || cap == 16777216.0"}};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Expr *e = parsed(g, cases[i][0], EXPR_IS_MASK);
    assert_string_equal(printed(g, e), cases[i][1]);
    assert_ptr_equal(parsed(g, cases[i][1], EXPR_IS_MASK), e);
  }
  arena_free(arena);
}

static void
faults_have_their_place(void **state)
{
  static const struct {
    const char *text;
    ExprKind kind;
    ExprError what;
    size_t at, width;
  } cases[] = {{"", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 0, 1},
               {"q_idx >= kv_idx $ 2", EXPR_IS_MASK, EXPR_ERR_TOKEN, 16, 1},
               {"q_idx = kv_idx", EXPR_IS_MASK, EXPR_ERR_TOKEN, 6, 1},
               {"q_idx ** 2 < 3", EXPR_IS_MASK, EXPR_ERR_TOKEN, 6, 2},
               {"q_idx < 1.5f", EXPR_IS_MASK, EXPR_ERR_TOKEN, 8, 4},
               {"q_idx < 010", EXPR_IS_MASK, EXPR_ERR_TOKEN, 8, 3},
               {"q_idx < 2147483648", EXPR_IS_MASK, EXPR_ERR_NUMBER, 8, 10},
               {"cap < 1e39", EXPR_IS_MASK, EXPR_ERR_NUMBER, 6, 4},
               {"q_idx <", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 7, 1},
               {"(q_idx < 3", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 10, 1},
               {"q_idx < 3)", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 9, 1},
               {"q_idx < 3, true", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 9, 1},
               {"h ? 1 : 2 : 3", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 1},
               {"true ? false", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 12, 1},
               {"q_index < 3", EXPR_IS_MASK, EXPR_ERR_NAME, 0, 7},
               {"seg[q_idx] == 3", EXPR_IS_MASK, EXPR_ERR_NAME, 0, 3},
               {"sin(cap) < 1", EXPR_IS_MASK, EXPR_ERR_NAME, 0, 3},
               {"min(q_idx) < 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 10},
               {"min < 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 3},
               {"doc[b] == 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 6},
               {"start == 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 5},
               {"cap[3] == 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 3},
               {"q_idx(3) == 3", EXPR_IS_MASK, EXPR_ERR_ARITY, 0, 5},
               {"start[cap] == 3", EXPR_IS_MASK, EXPR_ERR_INDEX, 6, 3},
               {"start[h == 1] == 3", EXPR_IS_MASK, EXPR_ERR_INDEX, 6, 6},
               {"score > 0", EXPR_IS_MASK, EXPR_ERR_PLACE, 0, 5},
               {"q_idx", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 5},
               {"q_idx < 3", EXPR_IS_SCORE, EXPR_ERR_TYPE, 0, 9},
               {"q_idx < kv_idx < 3", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 14},
               {"q_idx && true", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 5},
               {"!q_idx", EXPR_IS_MASK, EXPR_ERR_TYPE, 1, 5},
               {"~(h == 1)", EXPR_IS_MASK, EXPR_ERR_TYPE, 1, 8},
               {"cap % 2 == 0", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 3},
               {"q_idx // 2.0 == 0", EXPR_IS_MASK, EXPR_ERR_TYPE, 9, 3},
               {"(h == 1) + 1 == 2", EXPR_IS_MASK, EXPR_ERR_TYPE, 0, 8},
               {"i32(h == 1) == 1", EXPR_IS_MASK, EXPR_ERR_TYPE, 4, 6},
               {"(h == 1) == 1", EXPR_IS_MASK, EXPR_ERR_TYPE, 12, 1},
               {"h == 1 ? 2 : true", EXPR_IS_MASK, EXPR_ERR_TYPE, 13, 4},
               {"exp(h == 1) < 1", EXPR_IS_MASK, EXPR_ERR_TYPE, 4, 6},
               {"+q_idx < 1", EXPR_IS_MASK, EXPR_ERR_SYNTAX, 0, 1}};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ExprParse p;
    expr_parse(g, cases[i].text, cases[i].kind, &p);
    assert_null(p.root);
    assert_true(p.faults.n >= 1);
    const ExprFault *f = &p.faults.at[0];
    if (f->what != cases[i].what || f->at != cases[i].at || f->width != cases[i].width)
      fprintf(stderr, "%s: %d at %zu, %zu wide: %s\n", cases[i].text, (int)f->what, f->at,
              f->width, f->message);
    assert_int_equal(f->what, cases[i].what);
    assert_int_equal(f->at, cases[i].at);
    assert_int_equal(f->width, cases[i].width);
  }
  arena_free(arena);
}

static void
all_faults_of_one_expression_are_told(void **state)
{
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  ExprParse p;
  (void)state;
  expr_parse(g, "q_index < 3 && score > min(1) && start[cap] == ~1.5", EXPR_IS_MASK, &p);
  assert_int_equal(p.faults.n, 5);
  for (int i = 1; i < p.faults.n; i++)
    assert_true(p.faults.at[i].at > p.faults.at[i - 1].at);
  arena_free(arena);
}

static void
long_and_deep_texts_are_refused(void **state)
{
  static char deep[400], wide[20000];
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  ExprParse p;
  (void)state;
  memset(deep, '(', sizeof deep - 1);
  expr_parse(g, deep, EXPR_IS_MASK, &p);
  assert_int_equal(p.faults.at[0].what, EXPR_ERR_SIZE);
  memset(deep, '~', sizeof deep - 1);
  expr_parse(g, deep, EXPR_IS_MASK, &p);
  assert_int_equal(p.faults.at[0].what, EXPR_ERR_SIZE);
  memset(wide, '-', sizeof wide - 1);
  expr_parse(g, wide, EXPR_IS_MASK, &p);
  assert_int_equal(p.faults.at[0].what, EXPR_ERR_SIZE);
  arena_free(arena);
}

/* ---- meaning ---- */

static void
operators_mean_what_the_page_says(void **state)
{
  static const char *const hold[] = {
      "2147483647 + 1 == -2147483648",
      "-2147483648 - 1 == 2147483647",
      "65536 * 65536 == 0",
      "-(-2147483648) == -2147483648",
      "abs(-2147483648) == -2147483648",
      "-7 // 2 == -4 && 7 // -2 == -4 && -7 // -2 == 3 && 7 // 2 == 3",
      "-7 % 2 == 1 && 7 % -2 == -1 && -7 % -2 == -1 && 7 % 2 == 1",
      "7 // 0 == 0 && 7 % 0 == 0 && -2147483648 // -1 == -2147483648",
      "-2147483648 % -1 == 0",
      "1 << 33 == 2 && 1 << -1 == -2147483648 && 3 << 31 == -2147483648",
      "-8 >> 1 == -4 && -1 >> 31 == -1 && 8 >> 34 == 2",
      "(12 & 10) == 8 && (12 | 10) == 14 && (12 ^ 10) == 6 && ~0 == -1",
      "7 / 2 == 3.5 && 1 / 0 == inf && -1 / 0 == -inf",
      "i32(3.9) == 3 && i32(-3.9) == -3 && i32(1e10) == 2147483647",
      "i32(-1e10) == -2147483648 && i32(0 / 0) == 0 && i32(inf) == 2147483647",
      "!(0.0 / 0 < 1) && !(0.0 / 0 >= 1) && !(0.0 / 0 == 0.0 / 0) && 0.0 / 0 != 0.0 / 0",
      "min(0.0 / 0, 3) == 3 && max(3, 0.0 / 0) == 3 && relu(0.0 / 0) == 0",
      "relu(-2) == 0 && relu(2) == 2 && abs(-2.5) == 2.5",
      "floor(-2.5) == -3 && exp2(3) == 8 && log2(8) == 3 && sqrt(9) == 3 && exp(0) == 1",
      "tanh(0) == 0 && sigmoid(0) == 0.5 && tanh(100) == 1 && sigmoid(-1000) == 0",
      "f32(16777217) == 16777216.0",
      "true != false && (true == true) && !false",
      "true ? 1 == 1 : 1 == 2",
      "(false ? 1 : 2.5) == 2.5"};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  const ExprInput in = {.width = EXPR_NARROW};
  (void)state;
  for (size_t i = 0; i < sizeof hold / sizeof *hold; i++) {
    const Expr *e = parsed(g, hold[i], EXPR_IS_MASK);
    bool holds = expr_eval(g, e, &in).i;
    holds = holds && expr_eval(g, expr_normal(g, e), &in).i;
    if (!holds)
      fprintf(stderr, "does not hold: %s\n", hold[i]);
    assert_true(holds);
  }
  arena_free(arena);
}

static ExprValue
double_at(const void *user, int tensor, const void *data, int64_t at)
{
  (void)user;
  double x = ((const double *)data)[at];
  return tensor == 2 ? (ExprValue){.f = x} : (ExprValue){.i = (int32_t)x};
}

static void
indices_out_of_range_read_the_nearest(void **state)
{
  static const double data[6] = {10, 11, 12, 20, 21, 22};
  static const ExprTable tables[3] = {{data, {2, 3}, {3, 1}}, {data, {0}, {1}}, {0}};
  static const char *const hold[] = {
      "doc[0, 1] == 11 && doc[1, 2] == 22", "doc[-1, -5] == 10 && doc[2, 3] == 22",
      "doc[-2147483648, 2147483647] == 12", "start[0] == 0 && start[-1] == 0"};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  const ExprInput in = {.tables = tables, .element = double_at};
  (void)state;
  for (size_t i = 0; i < sizeof hold / sizeof *hold; i++)
    assert_true(expr_eval(g, parsed(g, hold[i], EXPR_IS_MASK), &in).i);
  arena_free(arena);
}

/* The reference's scores are not rounded, what is read is. */
static void
widths_differ_where_they_should(void **state)
{
  static const double scalars[2] = {0.1, 0};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  const Expr *e = parsed(g, "score * 3", EXPR_IS_SCORE);
  ExprInput in = {.score = 0.1, .width = EXPR_WIDE, .scalars = scalars};
  (void)state;
  assert_true(expr_eval(g, e, &in).f == 0.1 * 3);
  in.width = EXPR_NARROW;
  assert_true(expr_eval(g, e, &in).f == (double)(0.1f * 3));
  arena_free(arena);
}

/* ---- normal form ---- */

static void
equal_masks_have_one_normal_form(void **state)
{
  static const char *const cases[][2] = {
      {"q_idx + sk - sq >= kv_idx", "kv_idx <= q_idx + sk - sq"},
      {"!(kv_idx > q_idx - sq + sk)", "kv_idx <= q_idx + sk - sq"},
      {"kv_idx - q_idx <= sk - sq", "kv_idx <= q_idx + sk - sq"},
      {"kv_idx + sq <= q_idx + sk", "kv_idx <= q_idx + sk - sq"},
      {"kv_idx + sq < 1 + q_idx + sk", "kv_idx + sq < q_idx + sk + 1"},
      {"q_idx + sk - sq + 64 >= kv_idx", "kv_idx <= q_idx + sk - sq + 64"},
      {"2 * kv_idx <= 2 * q_idx + 1", "kv_idx <= q_idx"},
      {"abs(q_idx - kv_idx) <= 4", "kv_idx <= q_idx + 4 && kv_idx >= q_idx - 4"},
      {"kv_idx < 4 || q_idx >= 8", "kv_idx <= 3 || q_idx >= 8"},
      {"kv_idx >= 0 && kv_idx < sk && q_idx < sq", "true"},
      {"q_idx < 0", "false"},
      {"2 * q_idx == 2 * kv_idx + 1", "false"},
      {"kv_idx == q_idx && true", "kv_idx == q_idx"},
      {"!(q_idx != kv_idx)", "kv_idx == q_idx"},
      {"(h == 1 ? true : q_idx >= kv_idx)", "h == 1 || kv_idx <= q_idx"},
      {"h == 1 && h == 1", "h == 1"},
      {"start[b] + 1 > kv_idx", "kv_idx < start[b] + 1"},
      {"start[b] > kv_idx", "kv_idx + 1 <= start[b]"},
      {"start[b] >= kv_idx", "kv_idx <= start[b]"},
      {"doc[b, q_idx] == doc[b, kv_idx]", "doc[b, q_idx] == doc[b, kv_idx]"},
      {"doc[b, kv_idx] == doc[b, q_idx]", "doc[b, q_idx] == doc[b, kv_idx]"},
      {"(q_idx // 64) == (kv_idx // 64)", "q_idx // 64 == kv_idx // 64"},
      {"cap > cap && 1.0 + cap < 3.0 * 1.0", "1.0 + cap < 3.0 * 1.0 && cap > cap"},
      {"max(q_idx, -3) > 4", "q_idx >= 5"},
      {"(q_idx & -1) + 0 * h == kv_idx", "kv_idx == q_idx"}};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Expr *e = expr_normal(g, parsed(g, cases[i][0], EXPR_IS_MASK));
    assert_string_equal(printed(g, e), cases[i][1]);
  }
  arena_free(arena);
}

static void
bounds_of_a_band_are_known(void **state)
{
  static const struct {
    const char *text;
    bool is, right, bottom_right;
    int bound;
  } cases[] = {{"q_idx + sk - sq >= kv_idx", true, true, true, 0},
               {"q_idx >= kv_idx", true, true, false, 0},
               {"kv_idx - q_idx <= 7", true, true, false, 7},
               {"kv_idx + 7 >= q_idx + sk - sq", true, false, true, 7},
               {"q_idx > kv_idx", false, false, false, 0},
               {"q_idx + sk >= kv_idx", false, false, false, 0},
               {"q_idx + h >= kv_idx", false, false, false, 0}};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ExprBound b;
    const Expr *e = expr_normal(g, parsed(g, cases[i].text, EXPR_IS_MASK));
    assert_int_equal(expr_is_bound(g, e, &b), cases[i].is);
    if (!cases[i].is)
      continue;
    assert_int_equal(b.right, cases[i].right);
    assert_int_equal(b.bottom_right, cases[i].bottom_right);
    assert_int_equal(b.bound, cases[i].bound);
    assert_ptr_equal(expr_of_bound(g, b), e);
  }
  arena_free(arena);
}

static void
costs_are_by_grade(void **state)
{
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  const Expr *e =
      parsed(g, "score + cap * 2 * f32(q_idx) + f32(kv_idx) * gain", EXPR_IS_SCORE);
  ExprCost c = expr_cost(g, &e, 1);
  assert_int_equal(c.nodes[GRADE_NEITHER], 1);
  assert_int_equal(c.nodes[GRADE_ROW], 2);
  assert_int_equal(c.nodes[GRADE_COLUMN], 2);
  assert_int_equal(c.nodes[GRADE_BOTH], 2);
  arena_free(arena);
}

static void
score_mods_are_applied_in_order(void **state)
{
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  const Expr *first = parsed(g, "score * cap", EXPR_IS_SCORE);
  const Expr *then = parsed(g, "h == 1 ? score + score : 0", EXPR_IS_SCORE);
  assert_string_equal(printed(g, expr_with_score(g, then, first)),
                      "h == 1 ? score * cap + score * cap : 0.0");
  arena_free(arena);
}

/* ---- random expressions ---- */

static bool
equal_values(const Expr *e, ExprValue a, ExprValue b)
{
  if (e->type != EXPR_F32)
    return a.i == b.i;
  return (isnan(a.f) && isnan(b.f)) || memcmp(&a.f, &b.f, sizeof a.f) == 0;
}

static void
refuse(const ExprGraph *g, const Expr *e, const char *what, const char *other)
{
  fprintf(stderr, "%s:\n  %s\n  %s\n", what, printed(g, e), other);
  fail();
}

static void
printing_and_normal_form_keep_the_value(void **state)
{
  Random r = {.seed = seed};
  (void)state;
  printf("seed %llu, %ld runs\n", (unsigned long long)seed, runs);
  for (long i = 0; i < runs; i++) {
    Arena *arena = arena_new(0);
    ExprGraph *g = expr_graph(arena, &random_names), *h = expr_graph(arena, &random_names);
    bool score = random_below(&r, 3) == 0, affine = !score && random_below(&r, 3) == 0;
    ExprKind kind = score ? EXPR_IS_SCORE : EXPR_IS_MASK;
    ExprType type = score ? EXPR_F32 : EXPR_BOOL;
    int depth = 1 + random_below(&r, 5);
    const Expr *e =
        affine ? random_affine(&r, g, depth) : random_expr(&r, g, type, depth, score);
    const char *text = printed(g, e);
    if (parsed(g, text, kind) != e)
      refuse(g, e, "is another node when it is read again", text);
    if (strcmp(printed(h, parsed(h, text, kind)), text) != 0)
      refuse(g, e, "prints in another graph otherwise", text);
    const Expr *n = expr_normal(g, e);
    if (expr_normal(g, n) != n)
      refuse(g, e, "has a normal form that is not normal", printed(g, n));
    const Expr *again = expr_normal(h, parsed(h, text, kind));
    if (strcmp(printed(h, again), printed(g, n)) != 0)
      refuse(g, n, "has another normal form in another graph", printed(h, again));
    for (int k = 0; k < 8; k++) {
      RandomInput in;
      random_input(&r, &in);
      if (!equal_values(e, expr_eval(g, e, &in.in), expr_eval(g, n, &in.in)))
        refuse(g, e, "has another value than its normal form", printed(g, n));
    }
    arena_free(arena);
  }
}

/* All values within a small box. */
static void
intervals_hold_every_value(void **state)
{
  Random r = {.seed = seed + 1};
  long narrow = 0;
  (void)state;
  for (long i = 0; i < runs / 4; i++) {
    Arena *arena = arena_new(0);
    ExprGraph *g = expr_graph(arena, &random_names);
    ExprType type = random_below(&r, 2) ? EXPR_I32 : EXPR_BOOL;
    const Expr *e =
        random_below(&r, 3) ? random_expr(&r, g, type, 4, false) : random_affine(&r, g, 3);
    ExprList list = expr_list(g, &e, 1, arena);
    ExprValue *values = NEW_N(arena, ExprValue, list.n);
    ExprRange *ranges = NEW_N(arena, ExprRange, list.n);
    RandomInput in;
    random_input(&r, &in);
    ExprBox box = {.loads = NULL};
    for (int v = 0; v < EXPR_SCORE; v++)
      box.var[v] = (ExprRange){in.in.var[v], in.in.var[v]};
    int from_q = in.in.var[EXPR_Q_IDX], from_k = in.in.var[EXPR_KV_IDX];
    box.var[EXPR_Q_IDX].hi += random_below(&r, 5);
    box.var[EXPR_KV_IDX].hi += random_below(&r, 5);
    expr_interval_list(&list, &box, ranges);
    narrow += ranges[list.n - 1].lo == ranges[list.n - 1].hi;
    for (int64_t q = from_q; q <= box.var[EXPR_Q_IDX].hi; q++)
      for (int64_t k = from_k; k <= box.var[EXPR_KV_IDX].hi; k++) {
        in.in.var[EXPR_Q_IDX] = (int32_t)q;
        in.in.var[EXPR_KV_IDX] = (int32_t)k;
        expr_eval_list(&list, &in.in, values);
        for (int at = 0; at < list.n; at++)
          if (list.at[at]->type != EXPR_F32 &&
              (values[at].i < ranges[at].lo || values[at].i > ranges[at].hi))
            refuse(g, list.at[at], "leaves its interval", printed(g, e));
      }
    arena_free(arena);
  }
  printf("%ld of %ld settled\n", narrow, runs / 4);
  assert_true(narrow > runs / 40);
}

/* ---- derivatives ---- */

static double
value_at(const ExprGraph *g, const Expr *e, ExprInput *in, double score)
{
  in->score = score;
  return expr_eval(g, e, in).f;
}

/* The slope at a point where it does not change: false where it does, or nearly. */
static bool
slope_at(const ExprGraph *g, const Expr *e, ExprInput *in, double score, double *slope)
{
  double h = 0x1p-14 * fmax(1, fabs(score)), at = value_at(g, e, in, score);
  double after = (value_at(g, e, in, score + h) - at) / h;
  double before = (at - value_at(g, e, in, score - h)) / h;
  double half = (value_at(g, e, in, score + h / 2) - value_at(g, e, in, score - h / 2)) / h;
  *slope = half;
  double room = 1e-3 * fmax(fabs(half), 1e-3);
  return isfinite(half) && fabs(at) * 0x1p-50 / h < 1e-5 * fmax(fabs(half), 1e-3) &&
         fabs(after - before) < room && fabs((after + before) / 2 - half) < room / 16;
}

/* Steps too small to be seen make a slope that is none: 1e-9 * floor(1e9 * score). */
static bool
has_steps(const ExprGraph *g, const Expr *e)
{
  ExprList list = expr_list(g, &e, 1, g->arena);
  for (int i = 0; i < list.n; i++)
    if ((list.at[i]->op == EXPR_OP_FLOOR || list.at[i]->op == EXPR_OP_I32) &&
        list.at[i]->vars & 1u << EXPR_SCORE)
      return true;
  return false;
}

static void
derivatives_are_slopes(void **state)
{
  Random r = {.seed = seed + 3};
  long judged = 0, steep = 0, singular = 0, all = runs / 2;
  (void)state;
  for (long i = 0; i < all; i++) {
    Arena *arena = arena_new(0);
    ExprGraph *g = expr_graph(arena, &random_names);
    const Expr *e = random_expr(&r, g, EXPR_F32, 1 + random_below(&r, 4), true);
    const Expr *d = expr_derive(g, e, expr_var(g, EXPR_SCORE));
    assert_int_equal(d->type, EXPR_F32);
    RandomInput in;
    random_input(&r, &in);
    in.in.width = EXPR_WIDE;
    double score = (double)random_below(&r, 4000) / 512 - 4, slope;
    if (!has_steps(g, e) && slope_at(g, e, &in.in, score, &slope)) {
      double found = value_at(g, d, &in.in, score);
      judged++;
      steep += fabs(slope) > 1e-3;
      singular += isnan(found); /* sqrt, log2 and / where they end */
      if (!isnan(found) && !(fabs(found - slope) <= 2e-3 * fmax(fabs(slope), 1e-3))) {
        fprintf(stderr, "at %g: %g, but the slope is %g\n", score, found, slope);
        refuse(g, e, "has another derivative", printed(g, d));
      }
    }
    arena_free(arena);
  }
  printf("%ld of %ld derivatives judged, %ld of them not 0, %ld NaN\n", judged, all, steep,
         singular);
  assert_true(judged > all / 2 && steep > all / 20 && singular < judged / 100);
}

/* Where a slope changes, and what is not computed because it is known. */
static void
derivatives_of_known_scores(void **state)
{
  static const struct {
    const char *text, *derivative;
    double score, value;
  } cases[] = {
      {"score", "1.0", 3, 1},
      {"score + 0.5 * f32(q_idx)", "1.0", 3, 1},
      {"table[h, 3]", "0.0", 3, 0},
      {"-score", "-1.0", 3, -1},
      {"score * score", "score + score", 3, 6},
      {"2.0 / score", "-(2.0 / score) / score", 4, -0.125},
      {"max(score, 0.0)", "score >= 0.0 || 0.0 != 0.0 ? 1.0 : 0.0", 0, 1},
      {"max(0.0, score)", "0.0 >= score || score != score ? 0.0 : 1.0", 0, 0},
      {"min(score, 1.0)", "score <= 1.0 || 1.0 != 1.0 ? 1.0 : 0.0", 1, 1},
      {"relu(score)", "score > 0.0 ? 1.0 : 0.0", 0, 0},
      {"abs(score)", "score > 0.0 ? 1.0 : score < 0.0 ? -1.0 : 0.0", 0, 0},
      {"abs(score)", "score > 0.0 ? 1.0 : score < 0.0 ? -1.0 : 0.0", -2, -1},
      {"floor(score)", "0.0", 2, 0},
      {"table[i32(score), 0]", "0.0", 2, 0},
      {"score > 1.0 ? score * 3.0 : score", "score > 1.0 ? 3.0 : 1.0", 2, 3},
      {"tanh(score)", "1.0 - tanh(score) * tanh(score)", 0, 1},
      {"sqrt(score)", "1.0 / (sqrt(score) * 2.0)", 4, 0.25},
  };
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Expr *e = parsed(g, cases[i].text, EXPR_IS_SCORE);
    const Expr *d = expr_derive(g, e, expr_var(g, EXPR_SCORE));
    ExprInput in = {.width = EXPR_WIDE};
    assert_string_equal(printed(g, d), cases[i].derivative);
    assert_true(value_at(g, d, &in, cases[i].score) == cases[i].value);
  }
  const Expr *e = parsed(g, "score + cap * table[h, q_idx]", EXPR_IS_SCORE);
  const Expr *load = e->arg[1]->arg[1];
  assert_int_equal(load->op, EXPR_OP_LOAD);
  assert_string_equal(printed(g, expr_derive(g, e, load)), "cap");
  arena_free(arena);
}

static int64_t
limit_of(const ExprGraph *g, const Expr *e, const ExprInput *in, int64_t open)
{
  return e ? expr_eval(g, e, in).i : open;
}

static void
row_limits_are_those_of_the_mask(void **state)
{
  Random r = {.seed = seed + 2};
  long found = 0;
  (void)state;
  for (long i = 0; i < runs / 4; i++) {
    Arena *arena = arena_new(0);
    ExprGraph *g = expr_graph(arena, &random_names);
    const Expr *e =
        expr_normal(g, random_below(&r, 8) ? random_affine(&r, g, random_below(&r, 3))
                                           : random_expr(&r, g, EXPR_BOOL, 3, false));
    ExprRows rows;
    RandomInput in;
    bool known = expr_rows(g, e, &rows);
    found += known;
    random_input(&r, &in);
    in.in.var[EXPR_SQ] = 1 + random_below(&r, 9);
    in.in.var[EXPR_SK] = 1 + random_below(&r, 9);
    for (int q = 0; q < in.in.var[EXPR_SQ]; q++) {
      in.in.var[EXPR_Q_IDX] = q;
      in.in.var[EXPR_KV_IDX] = 0;
      int64_t first = limit_of(g, rows.first, &in.in, 0);
      int64_t last = limit_of(g, rows.last, &in.in, INT32_MAX);
      for (int k = 0; k < in.in.var[EXPR_SK]; k++) {
        in.in.var[EXPR_KV_IDX] = k;
        bool seen = expr_eval(g, e, &in.in).i, within = k >= first && k <= last;
        if (known ? seen != within : seen && !within)
          refuse(g, e, "has other keys than its limits say", "");
      }
    }
    arena_free(arena);
  }
  printf("limits of %ld of %ld masks\n", found, runs / 4);
  assert_true(found > runs / 10);
}

static void
limits_of_known_masks(void **state)
{
  static const char *const cases[][3] = {
      {"q_idx + sk - sq >= kv_idx", NULL, "q_idx + sk - sq"},
      {"q_idx >= kv_idx && q_idx - kv_idx <= 8", "q_idx - 8", "q_idx"},
      {"q_idx >= kv_idx || kv_idx < 10", NULL, "max(q_idx, 9)"},
      {"q_idx >= kv_idx && kv_idx >= start[q_idx]", "start[q_idx]", "q_idx"},
      {"2 * kv_idx <= q_idx", NULL, "q_idx // 2"},
      {"h == 0 || q_idx >= kv_idx", NULL, "h == 0 ? 2147483647 : q_idx"},
      {"q_idx // 64 == kv_idx // 64", "64 * (q_idx // 64)", "64 * (q_idx // 64) + 63"},
      {"kv_idx < start[b]", NULL, "max(start[b], 0) - 1"},
      {"kv_idx > start[b]", "min(start[b], 1073741824) + 1", NULL},
      {"(kv_idx + 5) // 8 <= q_idx // 4", NULL, "8 * (q_idx // 4) + 2"}};
  static const char *const none[] = {"kv_idx < 4 || kv_idx >= q_idx - 8 && kv_idx <= q_idx",
                                     "kv_idx % 2 == 0", "doc[b, q_idx] == doc[b, kv_idx]",
                                     "kv_idx != q_idx", "kv_idx * q_idx < 4"};
  Arena *arena = arena_new(0);
  ExprGraph *g = expr_graph(arena, &random_names);
  ExprRows rows;
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Expr *e = expr_normal(g, parsed(g, cases[i][0], EXPR_IS_MASK));
    if (!expr_rows(g, e, &rows))
      fail_msg("%s", printed(g, e));
    const Expr *limit[2] = {rows.first, rows.last};
    for (int k = 0; k < 2; k++) {
      assert_int_equal(limit[k] != NULL, cases[i][k + 1] != NULL);
      if (limit[k])
        assert_string_equal(printed(g, limit[k]), cases[i][k + 1]);
    }
  }
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_false(expr_rows(g, expr_normal(g, parsed(g, none[i], EXPR_IS_MASK)), &rows));
  assert_false(expr_rows(g, expr_normal(g, parsed(g, none[0], EXPR_IS_MASK)), &rows));
  assert_string_equal(printed(g, rows.last), "max(q_idx, 3)"); /* no key is behind it */
  arena_free(arena);
}

int
main(int argc, char **argv)
{
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seed") == 0)
      seed = strtoull(argv[i + 1], NULL, 10);
    if (strcmp(argv[i], "--runs") == 0)
      runs = atol(argv[i + 1]);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(precedence_is_that_of_c),
      cmocka_unit_test(faults_have_their_place),
      cmocka_unit_test(all_faults_of_one_expression_are_told),
      cmocka_unit_test(long_and_deep_texts_are_refused),
      cmocka_unit_test(operators_mean_what_the_page_says),
      cmocka_unit_test(indices_out_of_range_read_the_nearest),
      cmocka_unit_test(widths_differ_where_they_should),
      cmocka_unit_test(equal_masks_have_one_normal_form),
      cmocka_unit_test(bounds_of_a_band_are_known),
      cmocka_unit_test(costs_are_by_grade),
      cmocka_unit_test(score_mods_are_applied_in_order),
      cmocka_unit_test(printing_and_normal_form_keep_the_value),
      cmocka_unit_test(intervals_hold_every_value),
      cmocka_unit_test(derivatives_are_slopes),
      cmocka_unit_test(derivatives_of_known_scores),
      cmocka_unit_test(row_limits_are_those_of_the_mask),
      cmocka_unit_test(limits_of_known_masks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
