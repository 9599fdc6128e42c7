/* What expressions mean, on values. */
#include "compiler/expr/expr.h"

#include <math.h>

/* ---- i32 ---- */

static int32_t
wrapped(int64_t x)
{
  return (int32_t)(uint32_t)(uint64_t)x;
}

/* Towards −inf; by 0 it is 0. */
static int64_t
floor_div(int64_t a, int64_t b)
{
  if (b == 0)
    return 0;
  int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

/* The sign of b; by 0 it is 0. */
static int64_t
floor_mod(int64_t a, int64_t b)
{
  return b == 0 ? 0 : a - floor_div(a, b) * b;
}

/* Towards 0, saturating, NaN 0. */
static int32_t
whole(double x)
{
  if (isnan(x))
    return 0;
  return x >= 2147483647.0 ? INT32_MAX : x <= -2147483648.0 ? INT32_MIN : (int32_t)x;
}

static int32_t
apply_whole(ExprOp op, int32_t a, int32_t b)
{
  uint32_t u = (uint32_t)a;
  switch (op) {
  case EXPR_OP_ADD:
    return wrapped((int64_t)a + b);
  case EXPR_OP_SUB:
    return wrapped((int64_t)a - b);
  case EXPR_OP_MUL:
    return wrapped((int64_t)a * b);
  case EXPR_OP_FLOOR_DIV:
    return wrapped(floor_div(a, b));
  case EXPR_OP_MOD:
    return wrapped(floor_mod(a, b));
  case EXPR_OP_BIT_AND:
    return a & b;
  case EXPR_OP_BIT_OR:
    return a | b;
  case EXPR_OP_BIT_XOR:
    return a ^ b;
  case EXPR_OP_BIT_NOT:
    return ~a;
  case EXPR_OP_SHL:
    return (int32_t)(u << (b & 31));
  case EXPR_OP_SHR:
    return (int32_t)(a < 0 ? ~(~u >> (b & 31)) : u >> (b & 31));
  case EXPR_OP_NEG:
    return wrapped(-(int64_t)a);
  case EXPR_OP_ABS:
    return a < 0 ? wrapped(-(int64_t)a) : a;
  case EXPR_OP_MIN:
    return a < b ? a : b;
  default: /* MAX */
    return a > b ? a : b;
  }
}

/* ---- f32 ---- */

static double
apply_real(ExprOp op, double a, double b)
{
  switch (op) {
  case EXPR_OP_ADD:
    return a + b;
  case EXPR_OP_SUB:
    return a - b;
  case EXPR_OP_MUL:
    return a * b;
  case EXPR_OP_DIV:
    return a / b;
  case EXPR_OP_NEG:
    return -a;
  case EXPR_OP_ABS:
    return fabs(a);
  case EXPR_OP_MIN: /* of NaN and a number the number */
    return fmin(a, b);
  case EXPR_OP_MAX:
    return fmax(a, b);
  case EXPR_OP_FLOOR:
    return floor(a);
  case EXPR_OP_EXP:
    return exp(a);
  case EXPR_OP_EXP2:
    return exp2(a);
  case EXPR_OP_LOG2:
    return log2(a);
  case EXPR_OP_TANH:
    return tanh(a);
  case EXPR_OP_SIGMOID:
    return 1 / (1 + exp(-a));
  case EXPR_OP_RELU:
    return fmax(a, 0);
  default: /* SQRT */
    return sqrt(a);
  }
}

/* ---- bool ---- */

/* With NaN only != holds; an i32 is a double without loss. */
static bool
compare(ExprOp op, double a, double b)
{
  switch (op) {
  case EXPR_OP_EQ:
    return a == b;
  case EXPR_OP_NE:
    return a != b;
  case EXPR_OP_LT:
    return a < b;
  case EXPR_OP_LE:
    return a <= b;
  case EXPR_OP_GT:
    return a > b;
  default: /* GE */
    return a >= b;
  }
}

/* ---- any of them ---- */

static double
as_wide(double x, ExprWidth width)
{
  return width == EXPR_NARROW ? (double)(float)x : x;
}

ExprValue
expr_apply(ExprOp op, ExprType type, const ExprValue *v, ExprWidth width)
{
  bool real = type == EXPR_F32, two = expr_ops[op].n > 1;
  int32_t b = two ? v[1].i : 0;
  switch (expr_ops[op].rule) {
  case WANT_ORDER:
  case WANT_EQUAL:
    return (ExprValue){.i = real ? compare(op, v[0].f, v[1].f) : compare(op, v[0].i, b)};
  case WANT_LOGIC:
    return (ExprValue){.i = op == EXPR_OP_NOT  ? !v[0].i
                            : op == EXPR_OP_OR ? v[0].i | b
                                               : v[0].i & b};
  case WANT_CHOICE:
    return v[0].i ? v[1] : v[2];
  case WANT_TO_I32:
    return (ExprValue){.i = whole(v[0].f)};
  case WANT_TO_F32:
    return (ExprValue){.f = (double)(float)v[0].i};
  default:
    if (real || expr_ops[op].rule == WANT_REAL)
      return (ExprValue){.f = as_wide(apply_real(op, v[0].f, two ? v[1].f : 0), width)};
    return (ExprValue){.i = apply_whole(op, v[0].i, b)};
  }
}

/* ---- whole expressions ---- */

int64_t
expr_nearest(int64_t index, int64_t length)
{
  return index >= length ? length - 1 : index < 0 ? 0 : index;
}

static ExprValue
load(const Expr *e, const ExprInput *in, const ExprValue *index)
{
  const ExprTable *t = &in->tables[e->i];
  int64_t at = 0;
  for (int i = 0; i < e->n; i++) {
    if (t->length[i] <= 0)
      return (ExprValue){0};
    at += expr_nearest(index[i].i, t->length[i]) * t->stride[i];
  }
  return in->element(in->user, e->i, t->data, at);
}

static ExprValue
leaf(const Expr *e, const ExprInput *in)
{
  switch (e->op) {
  case EXPR_OP_CONST:
    return (ExprValue){.i = e->i, .f = (double)e->f};
  case EXPR_OP_SCALAR:
    return (ExprValue){.f = as_wide(in->scalars[e->i], in->width)};
  default: /* VAR */
    if (e->i == EXPR_SCORE)
      return (ExprValue){.f = as_wide(in->score, in->width)};
    return (ExprValue){.i = in->var[e->i]};
  }
}

void
expr_eval_list(const ExprList *list, const ExprInput *in, ExprValue *values)
{
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    ExprValue arg[EXPR_AXES];
    for (int k = 0; k < e->n; k++)
      arg[k] = values[list->where[e->arg[k]->id]];
    if (e->op == EXPR_OP_LOAD)
      values[i] = load(e, in, arg);
    else if (!e->n)
      values[i] = leaf(e, in);
    else
      values[i] = expr_apply(e->op, e->arg[e->n > 2 ? 1 : 0]->type, arg, in->width);
  }
}

ExprValue
expr_eval(const ExprGraph *g, const Expr *e, const ExprInput *in)
{
  ExprList list = expr_list(g, &e, 1, g->arena);
  ExprValue *values = NEW_N(g->arena, ExprValue, list.n);
  expr_eval_list(&list, in, values);
  return values[list.n - 1];
}
