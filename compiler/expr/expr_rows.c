/* What a mask says of whole rows: its keys as one range, and bounds of a band. */
#include "compiler/expr/expr_linear.h"

#define KV (1u << EXPR_KV_IDX)

/* ---- limits of a row ---- */

static const Expr *
either(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  return a && b ? expr_op(n->g, o, a, b, NULL) : NULL;
}

static const Expr *
both(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  return a && b ? expr_op(n->g, o, a, b, NULL) : a ? a : b;
}

static const Expr *
chosen(Norm *n, const Expr *c, const Expr *a, const Expr *b, int32_t open)
{
  if (!a && !b)
    return NULL;
  const Expr *free = expr_int(n->g, open);
  return expr_op(n->g, EXPR_OP_COND, c, a ? a : free, b ? b : free);
}

/* All keys where it holds, else none. */
static void
of_row(Norm *n, const Expr *condition, ExprRows *out)
{
  const Expr *none = expr_int(n->g, -1);
  out->last = chosen(n, condition, NULL, none, INT32_MAX);
}

/* k * kv_idx + rest >= 0; false: the bound may wrap. */
static bool
of_sum(Norm *n, const Linear *l, int64_t k, ExprRows *out)
{
  const Expr *kv = expr_var(n->g, EXPR_KV_IDX);
  Linear bound = linear_without(n, l, kv, k > 0 ? -1 : 1);
  int64_t by = k > 0 ? k : -k;
  bound.c += k > 0 ? by - 1 : 0; /* rounded up */
  if (!linear_is_exact(n, &bound) || by > INT32_MAX)
    return false;
  const Expr *e = linear_node(n, &bound);
  if (by > 1)
    e = expr_op(n->g, EXPR_OP_FLOOR_DIV, e, expr_int(n->g, (int32_t)by), NULL);
  *(k > 0 ? &out->first : &out->last) = e;
  return true;
}

static bool
of_comparison(Norm *n, const Expr *e, ExprRows *out)
{
  bool equal = e->op == EXPR_OP_EQ;
  if ((!equal && e->op != EXPR_OP_LE && e->op != EXPR_OP_GE) || e->arg[0]->type != EXPR_I32)
    return false;
  Linear a = linear_of(n, e->arg[0]), b = linear_of(n, e->arg[1]);
  if (!linear_is_exact(n, &a) || !linear_is_exact(n, &b))
    return false;
  Linear l =
      linear_sum(n, e->op == EXPR_OP_LE ? &b : &a, e->op == EXPR_OP_LE ? &a : &b, -1);
  int64_t k = linear_factor(&l, expr_var(n->g, EXPR_KV_IDX));
  for (int i = 0; i < l.n; i++)
    if (l.at[i].atom->op != EXPR_OP_VAR && l.at[i].atom->vars & KV)
      return false;
  if (!k || !of_sum(n, &l, k, out))
    return false;
  Linear none = {0}, turned = linear_sum(n, &none, &l, -1);
  return !equal || ((k == 1 || k == -1) && of_sum(n, &turned, -k, out));
}

static bool limits(Norm *, const Expr *, ExprRows *);

/* One range of two only where both are open to the same side. */
static bool
of_or(Norm *n, const Expr *e, ExprRows *out)
{
  ExprRows r[2] = {{0}};
  for (int i = 0; i < 2; i++) {
    ExprRows other = {0};
    if (e->arg[i]->vars & KV || !limits(n, e->arg[1 - i], &other))
      continue;
    out->first = chosen(n, e->arg[i], NULL, other.first, INT32_MIN);
    out->last = chosen(n, e->arg[i], NULL, other.last, INT32_MAX);
    return true;
  }
  for (int i = 0; i < 2; i++)
    if (!limits(n, e->arg[i], &r[i]))
      return false;
  out->first = either(n, EXPR_OP_MIN, r[0].first, r[1].first);
  out->last = either(n, EXPR_OP_MAX, r[0].last, r[1].last);
  bool above = !r[0].last && !r[1].last, below = !r[0].first && !r[1].first;
  return above || below;
}

static bool
limits(Norm *n, const Expr *e, ExprRows *out)
{
  ExprRows a = {0}, b = {0};
  if (!(e->vars & KV)) {
    of_row(n, e, out);
    return true;
  }
  switch (e->op) {
  case EXPR_OP_AND:
    if (!limits(n, e->arg[0], &a) || !limits(n, e->arg[1], &b))
      return false;
    out->first = both(n, EXPR_OP_MAX, a.first, b.first);
    out->last = both(n, EXPR_OP_MIN, a.last, b.last);
    return true;
  case EXPR_OP_OR:
    return of_or(n, e, out);
  case EXPR_OP_COND:
    if (e->arg[0]->vars & KV || !limits(n, e->arg[1], &a) || !limits(n, e->arg[2], &b))
      return false;
    out->first = chosen(n, e->arg[0], a.first, b.first, INT32_MIN);
    out->last = chosen(n, e->arg[0], a.last, b.last, INT32_MAX);
    return true;
  default:
    return of_comparison(n, e, out);
  }
}

bool
expr_rows(ExprGraph *g, const Expr *mask, ExprRows *out)
{
  Norm n;
  norm_open(&n, g);
  *out = (ExprRows){0};
  if (mask->op == EXPR_OP_CONST && mask->i)
    return true;
  if (!limits(&n, mask, out))
    return false;
  if (out->first)
    out->first = expr_normal(g, out->first);
  if (out->last)
    out->last = expr_normal(g, out->last);
  return true;
}

/* ---- bounds of a band ---- */

bool
expr_is_bound(ExprGraph *g, const Expr *e, ExprBound *out)
{
  Norm n;
  norm_open(&n, g);
  bool right = e->op == EXPR_OP_LE;
  if ((!right && e->op != EXPR_OP_GE) || e->arg[0] != expr_var(g, EXPR_KV_IDX))
    return false;
  Linear l = linear_of(&n, e->arg[1]);
  bool corner = linear_factor(&l, expr_var(g, EXPR_SK)) == 1 &&
                linear_factor(&l, expr_var(g, EXPR_SQ)) == -1;
  if (linear_factor(&l, expr_var(g, EXPR_Q_IDX)) != 1 || l.n != (corner ? 3 : 1))
    return false;
  *out = (ExprBound){right, corner, right ? l.c : -l.c};
  return out->bound >= 0;
}

const Expr *
expr_of_bound(ExprGraph *g, ExprBound b)
{
  const Expr *sk = expr_var(g, EXPR_SK), *sq = expr_var(g, EXPR_SQ);
  const Expr *at = expr_var(g, EXPR_Q_IDX);
  if (b.bottom_right) {
    const Expr *shift = expr_op(g, EXPR_OP_SUB, sk, sq, NULL);
    at = expr_op(g, EXPR_OP_ADD, at, shift, NULL);
  }
  const Expr *by = expr_int(g, (int32_t)b.bound);
  at = expr_op(g, b.right ? EXPR_OP_ADD : EXPR_OP_SUB, at, by, NULL);
  const Expr *kv = expr_var(g, EXPR_KV_IDX);
  return expr_normal(g, expr_op(g, b.right ? EXPR_OP_LE : EXPR_OP_GE, kv, at, NULL));
}

/* ---- cost ---- */

ExprGrade
expr_grade(const Expr *e)
{
  bool element = e->vars >> EXPR_SCORE & 1;
  bool row = element || (e->vars >> EXPR_Q_IDX & 1);
  bool column = element || (e->vars >> EXPR_KV_IDX & 1);
  return row ? (column ? GRADE_BOTH : GRADE_ROW) : column ? GRADE_COLUMN : GRADE_NEITHER;
}

ExprCost
expr_cost(const ExprGraph *g, const Expr *e)
{
  ExprCost cost = {0};
  ExprList list = expr_list(g, &e, 1, g->arena);
  for (int i = 0; i < list.n; i++) {
    const Expr *node = list.at[i];
    ExprGrade grade = expr_grade(node);
    if (expr_ops[node->op].cost == 0)
      continue;
    cost.nodes[grade]++;
    cost.slots[grade] += expr_ops[node->op].cost;
  }
  return cost;
}
