/* Derivatives, symbolically: of f32 by one of its leaves.  The rules are those of
 * docs/expressions.md; what a rule says at a tie is decided there once for all.
 *
 * A derivative of 0 is NULL while it is made, and what is multiplied by it is left out:
 * 0 · inf would be NaN where the mathematics has 0.  At the end of a function's domain it
 * is NaN, as others have it: sqrt(relu(x)) left of 0. */
#include "compiler/expr/expr.h"

#include <stddef.h>

typedef const Expr *Rule(ExprGraph *, const Expr *e, const Expr *const *d);

/* ---- sums and products without zeros and ones ---- */

static bool
is_one(const Expr *e)
{
  return e->op == EXPR_OP_CONST && e->f == 1;
}

static const Expr *
times(ExprGraph *g, const Expr *d, const Expr *by)
{
  if (!d || is_one(by))
    return d;
  return is_one(d) ? by : expr_op(g, EXPR_OP_MUL, d, by, NULL);
}

static const Expr *
plus(ExprGraph *g, const Expr *a, const Expr *b)
{
  return !a ? b : !b ? a : expr_op(g, EXPR_OP_ADD, a, b, NULL);
}

static const Expr *
negative(ExprGraph *g, const Expr *d)
{
  return d ? expr_op(g, EXPR_OP_NEG, d, NULL, NULL) : NULL;
}

static const Expr *
choice(ExprGraph *g, const Expr *when, const Expr *a, const Expr *b)
{
  const Expr *zero = expr_float(g, 0);
  return a == b ? a : expr_op(g, EXPR_OP_COND, when, a ? a : zero, b ? b : zero);
}

static const Expr *
compare(ExprGraph *g, ExprOp op, const Expr *a, const Expr *b)
{
  return expr_op(g, op, a, b, NULL);
}

/* 1 − e². */
static const Expr *
one_less_square(ExprGraph *g, const Expr *e)
{
  return expr_op(g, EXPR_OP_SUB, expr_float(g, 1), expr_op(g, EXPR_OP_MUL, e, e, NULL),
                 NULL);
}

/* ---- the rules ---- */

static const Expr *
derive_add(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  (void)e;
  return plus(g, d[0], d[1]);
}

static const Expr *
derive_sub(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  (void)e;
  if (d[0] == d[1])
    return NULL;
  return !d[0]   ? negative(g, d[1])
         : !d[1] ? d[0]
                 : expr_op(g, EXPR_OP_SUB, d[0], d[1], NULL);
}

static const Expr *
derive_neg(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  (void)e;
  return negative(g, d[0]);
}

static const Expr *
derive_mul(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return plus(g, times(g, d[0], e->arg[1]), times(g, d[1], e->arg[0]));
}

/* (a / b)' = (a' − (a / b) b') / b */
static const Expr *
derive_div(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *top = plus(g, d[0], negative(g, times(g, d[1], e)));
  return top ? expr_op(g, EXPR_OP_DIV, top, e->arg[1], NULL) : NULL;
}

/* The left operand's at a tie, and that of the other one where an operand is NaN. */
static const Expr *
derive_extreme(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *a = e->arg[0], *b = e->arg[1];
  const Expr *left = compare(g, e->op == EXPR_OP_MIN ? EXPR_OP_LE : EXPR_OP_GE, a, b);
  left = expr_op(g, EXPR_OP_OR, left, compare(g, EXPR_OP_NE, b, b), NULL);
  return choice(g, left, d[0], d[1]);
}

static const Expr *
derive_cond(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return choice(g, e->arg[0], d[1], d[2]);
}

static const Expr *
derive_relu(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return choice(g, compare(g, EXPR_OP_GT, e->arg[0], expr_float(g, 0)), d[0], NULL);
}

static const Expr *
derive_abs(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *zero = expr_float(g, 0);
  const Expr *below =
      choice(g, compare(g, EXPR_OP_LT, e->arg[0], zero), negative(g, d[0]), NULL);
  return choice(g, compare(g, EXPR_OP_GT, e->arg[0], zero), d[0], below);
}

static const Expr *
derive_exp(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return times(g, d[0], e);
}

static const float LN_2 = 0.693147180559945309f;

static const Expr *
derive_exp2(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return times(g, times(g, d[0], e), expr_float(g, LN_2));
}

static const Expr *
derive_log2(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *by = expr_op(g, EXPR_OP_MUL, e->arg[0], expr_float(g, LN_2), NULL);
  return d[0] ? expr_op(g, EXPR_OP_DIV, d[0], by, NULL) : NULL;
}

static const Expr *
derive_tanh(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  return times(g, d[0], one_less_square(g, e));
}

static const Expr *
derive_sigmoid(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *other = expr_op(g, EXPR_OP_SUB, expr_float(g, 1), e, NULL);
  return times(g, times(g, d[0], e), other);
}

static const Expr *
derive_sqrt(ExprGraph *g, const Expr *e, const Expr *const *d)
{
  const Expr *twice = expr_op(g, EXPR_OP_MUL, e, expr_float(g, 2), NULL);
  return d[0] ? expr_op(g, EXPR_OP_DIV, d[0], twice, NULL) : NULL;
}

/* What has no row has no derivative: leaves, floor, casts, i32 and bool. */
static Rule *const rules[EXPR_OPS] = {
    [EXPR_OP_ADD] = derive_add,         [EXPR_OP_SUB] = derive_sub,
    [EXPR_OP_NEG] = derive_neg,         [EXPR_OP_MUL] = derive_mul,
    [EXPR_OP_DIV] = derive_div,         [EXPR_OP_MIN] = derive_extreme,
    [EXPR_OP_MAX] = derive_extreme,     [EXPR_OP_COND] = derive_cond,
    [EXPR_OP_RELU] = derive_relu,       [EXPR_OP_ABS] = derive_abs,
    [EXPR_OP_EXP] = derive_exp,         [EXPR_OP_EXP2] = derive_exp2,
    [EXPR_OP_LOG2] = derive_log2,       [EXPR_OP_TANH] = derive_tanh,
    [EXPR_OP_SIGMOID] = derive_sigmoid, [EXPR_OP_SQRT] = derive_sqrt,
};

const Expr *
expr_derive(ExprGraph *g, const Expr *e, const Expr *by)
{
  ExprList list = expr_list(g, &e, 1, g->arena);
  const Expr **now = NEW_N(g->arena, const Expr *, list.n);
  for (int i = 0; i < list.n; i++) {
    const Expr *node = list.at[i], *d[EXPR_AXES] = {NULL};
    bool any = false;
    for (int k = 0; k < node->n; k++) {
      d[k] = now[list.where[node->arg[k]->id]];
      any = any || d[k];
    }
    if (node == by)
      now[i] = expr_float(g, 1);
    else if (any && node->type == EXPR_F32 && rules[node->op])
      now[i] = rules[node->op](g, node, d);
  }
  const Expr *whole = now[list.n - 1];
  return whole ? whole : expr_float(g, 0);
}
