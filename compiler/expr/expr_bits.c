/* Bits of packed words, which templates read a word at a time. */
#include "compiler/expr/expr.h"

static bool
is_number(const Expr *e, int32_t i)
{
  return e->op == EXPR_OP_CONST && e->type == EXPR_I32 && e->i == i;
}

static bool
has_key(const Expr *e)
{
  return e->vars >> EXPR_KV_IDX & 1;
}

/* Does it go with kv_idx, one for one? */
static bool
moves_by_one(const Expr *e)
{
  if (e->op == EXPR_OP_VAR)
    return e->i == EXPR_KV_IDX;
  if (e->op == EXPR_OP_ADD && has_key(e->arg[0]) != has_key(e->arg[1]))
    return moves_by_one(e->arg[has_key(e->arg[0]) ? 0 : 1]);
  return e->op == EXPR_OP_SUB && !has_key(e->arg[1]) && moves_by_one(e->arg[0]);
}

/* x of `x op by`, or NULL. */
static const Expr *
left_of(const Expr *e, ExprOp op, int32_t by)
{
  return e->op == op && is_number(e->arg[1], by) ? e->arg[0] : NULL;
}

/* The other operand of one that is a constant, on either side; NULL: it is none. */
static const Expr *
beside(const Expr *e, ExprOp op, int32_t number)
{
  for (int i = 0; e->op == op && i < 2; i++)
    if (is_number(e->arg[i], number))
      return e->arg[1 - i];
  return NULL;
}

static const Expr *
either(const Expr *a, const Expr *b)
{
  return a ? a : b;
}

bool
expr_is_bit(const Expr *e, ExprBit *to)
{
  const Expr *masked = either(beside(e, EXPR_OP_EQ, 1), beside(e, EXPR_OP_NE, 0));
  const Expr *word = masked ? beside(masked, EXPR_OP_BIT_AND, 1) : NULL;
  if (!word || word->op != EXPR_OP_SHR || word->arg[0]->op != EXPR_OP_LOAD)
    return false;
  const Expr *load = word->arg[0], *by = word->arg[1], *last = load->arg[load->n - 1];
  const Expr *x =
      either(left_of(last, EXPR_OP_FLOOR_DIV, 32), left_of(last, EXPR_OP_SHR, 5));
  const Expr *rest = either(left_of(by, EXPR_OP_MOD, 32), beside(by, EXPR_OP_BIT_AND, 31));
  *to = (ExprBit){load, x};
  if (!x || (x != by && x != rest) || !moves_by_one(x) || x->vars >> EXPR_Q_IDX & 1)
    return false;
  for (int i = 0; i < load->n - 1; i++)
    if (has_key(load->arg[i]))
      return false;
  return load->type == EXPR_I32;
}
