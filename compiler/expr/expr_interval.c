/* Intervals: what an expression can be where its variables are in ranges.  Whatever may
 * wrap is any i32. */
#include "compiler/expr/expr.h"

#include <string.h>

static const ExprRange ANY_BOOL = {0, 1};

ExprBox
expr_any_box(void)
{
  ExprBox box = {.loads = NULL};
  for (int i = 0; i < EXPR_VARS; i++)
    box.var[i] = (ExprRange){0, expr_vars[i].most};
  return box;
}

static int64_t
least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t
most(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

static ExprRange
fitting(int64_t lo, int64_t hi)
{
  return lo < INT32_MIN || hi > INT32_MAX ? EXPR_ANY : (ExprRange){lo, hi};
}

static ExprRange
joined(ExprRange a, ExprRange b)
{
  return (ExprRange){least(a.lo, b.lo), most(a.hi, b.hi)};
}

/* ---- arithmetic ---- */

static ExprRange
product(ExprRange a, ExprRange b)
{
  int64_t x[] = {a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi};
  return fitting(least(least(x[0], x[1]), least(x[2], x[3])),
                 most(most(x[0], x[1]), most(x[2], x[3])));
}

static int64_t
floor_div(int64_t a, int64_t b)
{
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Of divisors of one sign a quotient is monotone in both, so it is extreme at corners. */
static ExprRange
quotients(ExprRange a, ExprRange b)
{
  int64_t x[] = {floor_div(a.lo, b.lo), floor_div(a.lo, b.hi), floor_div(a.hi, b.lo),
                 floor_div(a.hi, b.hi)};
  return (ExprRange){least(least(x[0], x[1]), least(x[2], x[3])),
                     most(most(x[0], x[1]), most(x[2], x[3]))};
}

static ExprRange
quotient(ExprRange a, ExprRange b)
{
  bool zero = b.lo <= 0 && b.hi >= 0, any = false;
  ExprRange r = {0, 0};
  if (b.lo < 0) {
    r = quotients(a, (ExprRange){b.lo, least(b.hi, -1)});
    any = true;
  }
  if (b.hi > 0) {
    ExprRange above = quotients(a, (ExprRange){most(b.lo, 1), b.hi});
    r = any ? joined(r, above) : above;
  }
  if (zero)
    r = joined(r, (ExprRange){0, 0});
  return fitting(r.lo, r.hi);
}

/* Within one period of a constant it follows the dividend; else it is between 0 and the
 * divisor. */
static ExprRange
remainder_of(ExprRange a, ExprRange b)
{
  int64_t m = b.lo;
  if (b.lo == b.hi && m && floor_div(a.lo, m) == floor_div(a.hi, m)) {
    int64_t down = floor_div(a.lo, m) * m;
    return (ExprRange){a.lo - down, a.hi - down};
  }
  ExprRange r = {b.lo < 0 ? b.lo + 1 : 0, b.hi > 0 ? b.hi - 1 : 0};
  if (a.lo >= 0 && b.lo >= 0)
    r.hi = least(r.hi, a.hi);
  return r;
}

/* ---- bits ---- */

/* The least 2^n − 1 that is not below x, for x >= 0. */
static int64_t
ones(int64_t x)
{
  int64_t m = 0;
  while (m < x)
    m = m * 2 + 1;
  return m;
}

static ExprRange
bits(ExprOp op, ExprRange a, ExprRange b)
{
  bool both = a.lo >= 0 && b.lo >= 0;
  if (op == EXPR_OP_BIT_AND && both)
    return (ExprRange){0, least(a.hi, b.hi)};
  if (op == EXPR_OP_BIT_AND && (a.lo >= 0 || b.lo >= 0))
    return (ExprRange){0, a.lo >= 0 ? a.hi : b.hi};
  if (op == EXPR_OP_BIT_OR && both)
    return (ExprRange){most(a.lo, b.lo), ones(most(a.hi, b.hi))};
  if (op == EXPR_OP_BIT_XOR && both)
    return (ExprRange){0, ones(most(a.hi, b.hi))};
  return EXPR_ANY;
}

static ExprRange
shifted(ExprOp op, ExprRange a, ExprRange by)
{
  if (by.lo < 0 || by.hi > 31) {
    if (op == EXPR_OP_SHL)
      return EXPR_ANY;
    by = (ExprRange){0, 31};
  }
  if (op == EXPR_OP_SHL)
    return product(a, (ExprRange){(int64_t)1 << by.lo, (int64_t)1 << by.hi});
  return quotients(a, (ExprRange){(int64_t)1 << by.lo, (int64_t)1 << by.hi});
}

/* ---- bool ---- */

static ExprRange
truth(bool surely, bool possibly)
{
  return (ExprRange){surely, possibly};
}

static ExprRange
negated(ExprRange a)
{
  return (ExprRange){1 - a.hi, 1 - a.lo};
}

static ExprRange
compared(ExprOp op, ExprRange a, ExprRange b)
{
  switch (op) {
  case EXPR_OP_LT:
    return truth(a.hi < b.lo, a.lo < b.hi);
  case EXPR_OP_LE:
    return truth(a.hi <= b.lo, a.lo <= b.hi);
  case EXPR_OP_GT:
    return truth(a.lo > b.hi, a.hi > b.lo);
  case EXPR_OP_GE:
    return truth(a.lo >= b.hi, a.hi >= b.lo);
  case EXPR_OP_EQ:
    return truth(a.lo == a.hi && b.lo == b.hi && a.lo == b.lo,
                 a.lo <= b.hi && b.lo <= a.hi);
  default: /* NE */
    return negated(compared(EXPR_OP_EQ, a, b));
  }
}

/* Is a one of two numbers, between which all of b lies? */
static bool
within_ends(const Expr *e, const ExprBox *box, ExprRange a, ExprRange b)
{
  bool known = e->op == EXPR_OP_LOAD && (a.lo != INT32_MIN || a.hi != INT32_MAX);
  return known && box->ends && a.lo < b.lo && b.hi < a.hi && box->ends(box->user, e->i);
}

static ExprRange
alike(const Expr *e, const ExprBox *box, const ExprRange *v)
{
  bool apart =
      within_ends(e->arg[0], box, v[0], v[1]) || within_ends(e->arg[1], box, v[1], v[0]);
  if (apart)
    return e->op == EXPR_OP_EQ ? (ExprRange){0, 0} : (ExprRange){1, 1};
  return compared(e->op, v[0], v[1]);
}

/* ---- nodes ---- */

static ExprRange
magnitude(ExprRange a)
{
  if (a.lo >= 0)
    return a;
  return fitting(a.hi > 0 ? 0 : -a.hi, most(-a.lo, a.hi));
}

static ExprRange
whole(ExprOp op, ExprRange a, ExprRange b)
{
  switch (op) {
  case EXPR_OP_ADD:
    return fitting(a.lo + b.lo, a.hi + b.hi);
  case EXPR_OP_SUB:
    return fitting(a.lo - b.hi, a.hi - b.lo);
  case EXPR_OP_MUL:
    return product(a, b);
  case EXPR_OP_FLOOR_DIV:
    return quotient(a, b);
  case EXPR_OP_MOD:
    return remainder_of(a, b);
  case EXPR_OP_BIT_NOT:
    return (ExprRange){-1 - a.hi, -1 - a.lo};
  case EXPR_OP_SHL:
  case EXPR_OP_SHR:
    return shifted(op, a, b);
  case EXPR_OP_NEG:
    return fitting(-a.hi, -a.lo);
  case EXPR_OP_ABS:
    return magnitude(a);
  case EXPR_OP_MIN:
    return (ExprRange){least(a.lo, b.lo), least(a.hi, b.hi)};
  case EXPR_OP_MAX:
    return (ExprRange){most(a.lo, b.lo), most(a.hi, b.hi)};
  default:
    return bits(op, a, b);
  }
}

static ExprRange
logic(ExprOp op, ExprRange a, ExprRange b)
{
  if (op == EXPR_OP_NOT)
    return negated(a);
  if (op == EXPR_OP_AND)
    return (ExprRange){a.lo & b.lo, a.hi & b.hi};
  return (ExprRange){a.lo | b.lo, a.hi | b.hi};
}

static ExprRange
leaf(const Expr *e, const ExprBox *box, const ExprRange *arg)
{
  if (e->op == EXPR_OP_CONST)
    return (ExprRange){e->i, e->i};
  if (e->op == EXPR_OP_VAR)
    return box->var[e->i];
  return box->loads ? box->loads(box->user, e->i, arg) : EXPR_ANY;
}

ExprRange
expr_range_of(const Expr *e, const ExprBox *box, const ExprRange *v)
{
  bool real = e->n && e->arg[e->n > 2 ? 1 : 0]->type == EXPR_F32;
  if (e->type == EXPR_F32)
    return EXPR_ANY;
  switch (expr_ops[e->op].rule) {
  case WANT_LEAF:
    return leaf(e, box, v);
  case WANT_CHOICE:
    return v[0].lo ? v[1] : !v[0].hi ? v[2] : joined(v[1], v[2]);
  case WANT_LOGIC:
    return logic(e->op, v[0], v[1]);
  case WANT_ORDER:
    return real ? ANY_BOOL : compared(e->op, v[0], v[1]);
  case WANT_EQUAL:
    return real ? ANY_BOOL : alike(e, box, v);
  case WANT_TO_I32:
    return EXPR_ANY;
  default:
    return whole(e->op, v[0], v[1]);
  }
}

void
expr_interval_list(const ExprList *list, const ExprBox *box, ExprRange *ranges)
{
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    ExprRange arg[EXPR_AXES] = {{0, 0}};
    for (int k = 0; k < e->n; k++)
      arg[k] = ranges[list->where[e->arg[k]->id]];
    ranges[i] = expr_range_of(e, box, arg);
  }
}

ExprRange
expr_interval(const ExprGraph *g, const Expr *e, const ExprBox *box)
{
  ExprList list = expr_list(g, &e, 1, g->arena);
  ExprRange *ranges = NEW_N(g->arena, ExprRange, list.n);
  expr_interval_list(&list, box, ranges);
  return ranges[list.n - 1];
}
