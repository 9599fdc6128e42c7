#include "compiler/tile/tile_expr.h"

#include "compiler/tile/tile_prog.h"

#include <math.h>

typedef struct Steps {
  Tb *t;
  ExprSteps *out;
  const Spec *spec;
  int *step;            /* of a node, by its id: −1 none yet */
  const ExprList *list; /* being added */
  const ExprRange *range;
  int score;                    /* the step that `score` stands for; −1: none yet */
  bool words;                   /* tiles begin where packed words of 32 keys do */
  unsigned of_rows, of_columns; /* variables that differ from row to row, … */
  bool turned;                  /* rows are keys */
  const Expr *beside;
} Steps;

static const unsigned OF_SCORE = 1u << EXPR_SCORE;

static Steps
open_steps(Tb *t, const Mods *m, const At *at)
{
  Steps s = {.t = t, .out = NEW(t->arena, ExprSteps), .spec = m->spec, .score = -1};
  int n = m->spec->graph->nodes.n;
  s.step = NEW_N(t->arena, int, n + 1);
  for (int i = 0; i < n; i++)
    s.step[i] = -1;
  s.turned = at->turned;
  s.of_rows = 1u << (at->turned ? EXPR_KV_IDX : EXPR_Q_IDX);
  s.of_columns = 1u << (at->turned ? EXPR_Q_IDX : EXPR_KV_IDX);
  s.of_rows |= at->pack > 1 ? 1u << EXPR_H : 0;
  s.words = i_multiple(at->k, 32);
  s.out->mods = m;
  for (int i = 0; i < EXPR_ROOTS; i++)
    s.out->root[i] = -1;
  return s;
}

static int
add(Steps *s, ExprStep step)
{
  *vec_push(s->t->arena, &s->out->step) = step;
  return s->out->step.n - 1;
}

/* ---- grades ---- */

/* expr_grade, but that packed rows are of several heads. */
static ExprGrade
grade_of(const Steps *s, const Expr *e)
{
  bool row = e->vars & (s->of_rows | OF_SCORE);
  bool column = e->vars & (s->of_columns | OF_SCORE);
  return row ? (column ? GRADE_BOTH : GRADE_ROW) : column ? GRADE_COLUMN : GRADE_NEITHER;
}

static ExprGrade
of_both(ExprGrade a, ExprGrade b)
{
  return a == b || b == GRADE_NEITHER ? a : a == GRADE_NEITHER ? b : GRADE_BOTH;
}

/* ---- loads ---- */

/* Of batches, heads and queries there is one at least, or no kernel runs. */
static unsigned
may_be_empty(const Steps *s, int table)
{
  const SpecAxes *axes = &s->spec->tables.at[table].axes;
  unsigned bits = 0;
  for (int i = 0; i < axes->n; i++) {
    const SpecAxis *a = &axes->at[i];
    bool some = a->name ? a->size == SIZE_B || a->size == SIZE_H || a->size == SIZE_HK ||
                              a->size == SIZE_SQ
                        : a->n > 0;
    bits |= some ? 0 : 1u << i;
  }
  return bits;
}

/* The index of the batch or a head, of the axis that has as many elements; a constant. */
static bool
is_inside(const Expr *index, const SpecTable *table, int axis)
{
  static const struct {
    ExprVar var;
    SizeId size;
  } same[] = {{EXPR_B, SIZE_B}, {EXPR_H, SIZE_H}, {EXPR_HK, SIZE_HK}};
  const SpecAxis *a = &table->axes.at[axis];
  if (index->op == EXPR_OP_CONST)
    return !a->name && index->i >= 0 && index->i < a->n;
  for (size_t i = 0; a->name && !a->by && i < sizeof same / sizeof *same; i++)
    if (index->op == EXPR_OP_VAR && index->i == (int)same[i].var && a->size == same[i].size)
      return true;
  return false;
}

static int
add_term(Steps *s, const Expr *e, int axis)
{
  int index = s->step[e->arg[axis]->id];
  ExprStep term = {.kind = STEP_TERM, .e = e, .axis = axis, .arg = {index}};
  term.grade = s->out->step.at[index].grade;
  term.nonneg = s->out->step.at[index].nonneg;
  term.inside = is_inside(e->arg[axis], &s->spec->tables.at[e->i], axis);
  return add(s, term);
}

/* By the indices of the first n axes. */
static int
add_address(Steps *s, const Expr *e, int n)
{
  int at = add(s, (ExprStep){.kind = STEP_BASE, .e = e, .grade = GRADE_NEITHER});
  for (ExprGrade g = GRADE_NEITHER; g < GRADES; g++)
    for (int axis = 0; axis < n; axis++) {
      int index = s->step[e->arg[axis]->id];
      if (s->out->step.at[index].grade != g)
        continue;
      ExprStep sum = {.kind = STEP_SUM, .e = e};
      sum.grade = of_both(s->out->step.at[at].grade, g);
      sum.arg[0] = at;
      sum.arg[1] = add_term(s, e, axis);
      at = add(s, sum);
    }
  return at;
}

static int
add_load(Steps *s, const Expr *e)
{
  int at = add_address(s, e, e->n);
  ExprStep load = {.e = e, .arg = {at}, .grade = s->out->step.at[at].grade};
  load.may_be_empty = may_be_empty(s, e->i);
  return add(s, load);
}

static const ExprStep *
step_at(const Steps *s, int step)
{
  return &s->out->step.at[step];
}

/* −1: it is none, or its index may wrap. */
static int
bit_of(Steps *s, const Expr *e)
{
  ExprBit bit;
  if (!expr_is_bit(e, &bit))
    return -1;
  ExprRange at = s->range[s->list->where[bit.at->id]];
  if (at.lo <= INT32_MIN || grade_of(s, bit.at) != GRADE_COLUMN)
    return -1;
  ExprStep step = {.kind = STEP_BIT, .e = bit.load, .axis = bit.load->n - 1};
  step.arg[0] = add_address(s, bit.load, step.axis);
  step.arg[1] = s->step[bit.at->id];
  step.grade = of_both(step_at(s, step.arg[0])->grade, GRADE_COLUMN);
  step.nonneg = at.lo >= 0;
  step.whole = bit.at->op == EXPR_OP_VAR && s->words;
  step.may_be_empty = may_be_empty(s, bit.load->i);
  return add(s, step);
}

/* ---- products ---- */

static int
number(Steps *s, double k)
{
  return add(s, (ExprStep){.kind = STEP_NUMBER, .k = k, .grade = GRADE_NEITHER});
}

static int
product(Steps *s, int a, int b)
{
  ExprStep step = {.kind = STEP_PRODUCT, .arg = {a, b}};
  step.grade = of_both(step_at(s, a)->grade, step_at(s, b)->grade);
  step.small = step_at(s, a)->small || step_at(s, b)->small;
  return add(s, step);
}

static int
inverse(Steps *s, int a)
{
  const ExprStep *of = step_at(s, a);
  bool constant = of->kind == STEP_NODE && of->e->op == EXPR_OP_CONST;
  double k = constant ? (double)of->e->f : 0;
  if (fabs(k) >= 0x1p-126 && fabs(k) <= 0x1p126)
    return number(s, 1 / k);
  ExprStep step = {.kind = STEP_INVERSE, .arg = {a}, .grade = of->grade, .small = true};
  return add(s, step);
}

static int
scale(Steps *s)
{
  if (isnan(s->t->prog->scalar[ATTNC_SOFTMAX_SCALE]))
    tile_param(s->t, PARAM_SCALAR, ATTNC_SOFTMAX_SCALE, 0);
  return add(s, (ExprStep){.kind = STEP_SCALE, .grade = GRADE_NEITHER});
}

static int
raw(Steps *s)
{
  return add(s, (ExprStep){.kind = STEP_RAW, .grade = GRADE_BOTH});
}

/* The score that no mod has changed yet. */
static int
scaled(Steps *s)
{
  int x = raw(s);
  return product(s, x, scale(s));
}

/* Which operand of a product, or divisor of a quotient, is computed less often than it; −1:
 * none. */
static int
factor_of(const Steps *s, const Expr *e)
{
  bool quotient = e->op == EXPR_OP_DIV;
  if (s->out->mods->near || (!quotient && e->op != EXPR_OP_MUL) || e->type != EXPR_F32)
    return -1;
  for (int i = 1; i >= quotient; i--)
    if (step_at(s, s->step[e->arg[i]->id])->grade != grade_of(s, e))
      return i;
  return -1;
}

/* tanh of an expression: its factors, and 2 log2 e, as one product. */
static int
tanh_of(Steps *s, const Expr *e)
{
  static const double TWICE_LOG2E = 2.8853900817779268;
  int by = number(s, TWICE_LOG2E), i = factor_of(s, e);
  if (i >= 0) {
    int factor = s->step[e->arg[i]->id];
    by = product(s, by, e->op == EXPR_OP_DIV ? inverse(s, factor) : factor);
    e = e->arg[1 - i];
  }
  bool first = e->op == EXPR_OP_VAR && e->i == EXPR_SCORE && s->score < 0;
  int x = first ? raw(s) : s->step[e->id];
  if (first)
    by = product(s, by, scale(s));
  ExprStep part = {.kind = STEP_TANH_PART, .arg = {product(s, x, by)}};
  part.grade = step_at(s, part.arg[0])->grade;
  ExprStep step = {.kind = STEP_TANH, .grade = part.grade};
  step.arg[0] = add(s, part);
  step.arg[1] = number(s, -2);
  step.arg[2] = number(s, 1);
  return add(s, step);
}

/* It may have a factor already: that of the mod before. */
static int
times_tanh(Steps *s, int factor, int tanh)
{
  ExprStep step = *step_at(s, tanh);
  bool plain = step_at(s, step.arg[2])->kind == STEP_NUMBER;
  step.arg[1] = product(s, factor, step.arg[1]);
  step.arg[2] = plain ? factor : product(s, factor, step.arg[2]);
  return add(s, step);
}

/* By how much a sum grows with each column; 0: it does not, or is no sum of the column's
 * index and what has nothing to do with it. */
static int
growth(const Steps *s, const Expr *e)
{
  int of[2] = {0, 0};
  if (e->op == EXPR_OP_VAR)
    return 1u << e->i == s->of_columns;
  if (e->op != EXPR_OP_ADD && e->op != EXPR_OP_SUB && e->op != EXPR_OP_NEG)
    return 0;
  for (int i = 0; i < e->n; i++) {
    of[i] = growth(s, e->arg[i]);
    if (!of[i] && e->arg[i]->vars & (s->of_columns | OF_SCORE))
      return 0;
  }
  return e->op == EXPR_OP_ADD   ? of[0] + of[1]
         : e->op == EXPR_OP_SUB ? of[0] - of[1]
                                : -of[0];
}

/* Of an element's sum that grows with the keys, converted at the row's first key of the
 * tile and so far on: a sum each instead of a conversion.  Exact up to 2^24 − 256, since no
 * tile has more than 256 keys; above it two roundings instead of one, each of half an ulp.
 * −1: it is something else, or may wrap. */
static int
along_of(Steps *s, const Expr *x)
{
  int by = growth(s, x);
  if (!by || grade_of(s, x) != GRADE_BOTH ||
      s->range[s->list->where[x->id]].lo <= INT32_MIN)
    return -1;
  ExprStep step = {.kind = STEP_ALONG, .k = by, .grade = GRADE_BOTH};
  step.arg[0] = s->step[x->id];
  return add(s, step);
}

/* f32(abs(x)) is abs(f32(x)), and that of an operand costs nothing; −1: it is something
 * else, or what is abs(x) may be −2^31. */
static int
size_of(Steps *s, const Expr *e)
{
  const Expr *x = e->arg[0];
  if (x->op != EXPR_OP_ABS || !step_at(s, s->step[x->id])->nonneg)
    return -1;
  int of = along_of(s, x->arg[0]);
  of = of < 0 ? s->step[x->arg[0]->id] : of;
  return add(s, (ExprStep){.kind = STEP_SIZE, .arg = {of}, .grade = step_at(s, of)->grade});
}

/* Of an operation that has a better form than its own; −1: it has none. */
static int
add_better(Steps *s, const Expr *e)
{
  if (e->op == EXPR_OP_F32) {
    int size = size_of(s, e);
    return size < 0 ? along_of(s, e->arg[0]) : size;
  }
  if (e->type == EXPR_BOOL)
    return bit_of(s, e);
  if (e->op == EXPR_OP_TANH && !s->out->mods->near)
    return tanh_of(s, e->arg[0]);
  int i = factor_of(s, e);
  if (i < 0)
    return -1;
  int factor = s->step[e->arg[i]->id], x = s->step[e->arg[1 - i]->id];
  if (e->op == EXPR_OP_DIV)
    return product(s, x, inverse(s, factor));
  return step_at(s, x)->kind == STEP_TANH ? times_tanh(s, factor, x) : -1;
}

/* ---- nodes ---- */

static void
declare_scalar(Steps *s, const Expr *e)
{
  int slot = s->spec->numbers.at[e->i].slot;
  if (isnan(s->t->prog->scalar[slot]))
    tile_param(s->t, PARAM_SCALAR, slot, 0);
}

static int
add_node(Steps *s, const Expr *e, const ExprRange *range)
{
  if (e->op == EXPR_OP_VAR && e->i == EXPR_SCORE)
    return s->score >= 0 ? s->score : scaled(s);
  if (e == s->beside)
    return add(s, (ExprStep){.kind = STEP_TILE, .e = e, .grade = GRADE_BOTH});
  if (e->op == EXPR_OP_LOAD)
    return add_load(s, e);
  int better = add_better(s, e);
  if (better >= 0)
    return better;
  if (e->op == EXPR_OP_SCALAR)
    declare_scalar(s, e);
  ExprStep step = {.e = e, .grade = grade_of(s, e), .nonneg = range->lo >= 0};
  for (int i = 0; i < e->n; i++)
    step.arg[i] = s->step[e->arg[i]->id];
  return add(s, step);
}

/* The step of the list's last node. */
static int
add_list(Steps *s, const ExprList *list)
{
  ExprBox box = expr_any_box();
  ExprRange *ranges = NEW_N(s->t->arena, ExprRange, list->n);
  expr_interval_list(list, &box, ranges);
  s->list = list;
  s->range = ranges;
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    if (s->step[e->id] < 0 || e->vars & OF_SCORE)
      s->step[e->id] = add_node(s, e, &ranges[i]);
  }
  return s->step[list->at[list->n - 1]->id];
}

static int
n_args(const ExprStep *s)
{
  static const int args[] = {
      [STEP_TERM] = 1,      [STEP_SUM] = 2,  [STEP_PRODUCT] = 2, [STEP_INVERSE] = 1,
      [STEP_TANH_PART] = 1, [STEP_TANH] = 3, [STEP_SIZE] = 1,    [STEP_TILE] = 0,
      [STEP_PLUS] = 2,      [STEP_BIT] = 2,  [STEP_ALONG] = 1,
  };
  if (s->kind != STEP_NODE)
    return args[s->kind];
  return s->e->op == EXPR_OP_LOAD ? 1 : s->e->n;
}

static void
mark_used(ExprSteps *s)
{
  for (int i = 0; i < EXPR_ROOTS; i++)
    if (s->root[i] >= 0)
      s->step.at[s->root[i]].used = true;
  for (int i = s->step.n - 1; i >= 0; i--)
    for (int k = 0; s->step.at[i].used && k < n_args(&s->step.at[i]); k++)
      s->step.at[s->step.at[i].arg[k]].used = true;
}

const ExprSteps *
tile_score_steps(Tb *t, const Mods *m, const At *at, const Expr *beside)
{
  const SpecExprs *mods = &m->spec->score_mod;
  Steps s = open_steps(t, m, at);
  s.beside = beside;
  for (int i = 0; i < mods->n; i++)
    s.score = add_list(&s, &mods->lists[i]);
  s.out->root[ROOT_SCORE] = s.score;
  mark_used(s.out);
  return s.out;
}

static bool
is_one(const Expr *e)
{
  return e->op == EXPR_OP_CONST && e->f == 1;
}

/* A product of those of all mods, each where the one before left the score. */
const ExprSteps *
tile_slope_steps(Tb *t, const Mods *m, const At *at)
{
  const SpecExprs *mods = &m->spec->score_mod, *slopes = &m->spec->score_slope;
  Steps s = open_steps(t, m, at);
  int whole = -1;
  for (int i = 0; i < mods->n; i++) {
    add_list(&s, &slopes->lists[i]);
    int slope = s.step[slopes->at[i]->id];
    s.score = s.step[mods->at[i]->id];
    if (!is_one(slopes->at[i]))
      whole = whole < 0 ? slope : product(&s, whole, slope);
  }
  s.out->root[ROOT_SCORE] = whole < 0 ? number(&s, 1) : whole;
  mark_used(s.out);
  return s.out;
}

static bool
is_zero(const Expr *e)
{
  return e->op == EXPR_OP_CONST && e->f == 0;
}

static int
sum(Steps *s, int a, int b)
{
  ExprStep step = {.kind = STEP_PLUS, .arg = {a, b}};
  step.grade = of_both(step_at(s, a)->grade, step_at(s, b)->grade);
  return add(s, step);
}

/* Behind each mod what the ones before made of the element, times its slope, and what it
 * makes of it itself. */
const ExprSteps *
tile_slope_by_steps(Tb *t, const Mods *m, const At *at, int grad)
{
  const SpecExprs *mods = &m->spec->score_mod, *slopes = &m->spec->score_slope;
  const SpecGrad *g = &m->spec->grads.at[grad];
  Steps s = open_steps(t, m, at);
  int whole = -1;
  for (int i = 0; i < mods->n; i++) {
    add_list(&s, &g->lists[i]);
    int slope = s.step[slopes->at[i]->id], own = s.step[g->by[i]->id];
    s.score = s.step[mods->at[i]->id];
    if (whole >= 0 && !is_one(slopes->at[i]))
      whole = product(&s, whole, slope);
    if (!is_zero(g->by[i]))
      whole = whole < 0 ? own : sum(&s, whole, own);
  }
  s.out->root[ROOT_SCORE] = whole < 0 ? number(&s, 0) : whole;
  mark_used(s.out);
  return s.out;
}

const ExprSteps *
tile_sink_steps(Tb *t, const Mods *m, const At *at)
{
  Steps s = open_steps(t, m, at);
  s.out->root[ROOT_SCORE] = add_list(&s, &m->spec->sink_logit.lists[0]);
  mark_used(s.out);
  return s.out;
}

/* Limits are of a query's keys: where rows are keys, each element is asked for all. */
const ExprSteps *
tile_mask_steps(Tb *t, const Mods *m, const At *at)
{
  const SpecMask *mask = &m->spec->mask;
  const Expr *const part[] = {mask->first, mask->last, mask->rest};
  if (!m->spec->mask_mod.n)
    return NULL;
  Steps s = open_steps(t, m, at);
  if (s.turned) {
    s.out->root[ROOT_REST] = add_list(&s, &m->spec->mask_mod.lists[0]);
    mark_used(s.out);
    return s.out;
  }
  for (int i = 0; i < 3; i++) {
    if (!part[i])
      continue;
    ExprList list = expr_list(m->spec->graph, &part[i], 1, t->arena);
    s.out->root[ROOT_FIRST + i] = add_list(&s, &list);
  }
  mark_used(s.out);
  return s.out;
}
