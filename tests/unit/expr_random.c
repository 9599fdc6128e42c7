#include "tests/unit/expr_random.h"

#include <math.h>
#include <string.h>

/* splitmix64. */
uint64_t
random_next(Random *r)
{
  uint64_t z = r->seed += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

int
random_below(Random *r, int n)
{
  return (int)(random_next(r) % (uint64_t)n);
}

static const ExprTensor tensors[] = {
    {"doc", EXPR_I32, 2}, {"start", EXPR_I32, 1}, {"table", EXPR_F32, 2}};
static const char *const scalars[] = {"cap", "gain"};
const ExprNames random_names = {tensors, 3, scalars, 2};

/* ---- expressions ---- */

static int32_t
random_int(Random *r)
{
  static const int32_t edges[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX, -1, 0,  1,
                                  1 << 30,   -(1 << 30),    65536,     31, 32, 64};
  if (random_below(r, 4))
    return random_below(r, 24) - 8;
  return edges[random_below(r, (int)(sizeof edges / sizeof *edges))];
}

static float
random_float(Random *r)
{
  static const float edges[] = {0, 1, 0.1f, 1e-38f, 3e38f, 2147483648.0f, INFINITY, 0.5f};
  float f =
      random_below(r, 2) ? (float)random_below(r, 1000) / 8 : edges[random_below(r, 8)];
  return random_below(r, 3) ? f : -f;
}

static const Expr *
random_load(Random *r, ExprGraph *g, int tensor, int depth, bool with_score)
{
  const Expr *index[EXPR_AXES] = {NULL};
  for (int i = 0; i < tensors[tensor].n_axes; i++)
    index[i] = random_expr(r, g, EXPR_I32, depth - 1, with_score);
  return expr_load(g, tensor, index);
}

static const Expr *
random_leaf(Random *r, ExprGraph *g, ExprType type, bool with_score)
{
  if (type == EXPR_BOOL)
    return expr_bool(g, random_below(r, 2));
  if (type == EXPR_I32)
    return random_below(r, 4) ? expr_var(g, (ExprVar)random_below(r, EXPR_SCORE))
                              : expr_int(g, random_int(r));
  if (with_score && random_below(r, 2))
    return expr_var(g, EXPR_SCORE);
  return random_below(r, 2) ? expr_scalar(g, random_below(r, 2))
                            : expr_float(g, random_float(r));
}

static ExprType
operand_type(Random *r, ExprOp op, ExprType type)
{
  if (r->whole && expr_ops[op].rule == WANT_ORDER)
    return EXPR_I32;
  if (r->whole && expr_ops[op].rule == WANT_EQUAL)
    return random_below(r, 4) ? EXPR_I32 : EXPR_BOOL;
  switch (expr_ops[op].rule) {
  case WANT_REAL:
  case WANT_TO_I32:
    return EXPR_F32;
  case WANT_WHOLE:
  case WANT_TO_F32:
    return EXPR_I32;
  case WANT_LOGIC:
    return EXPR_BOOL;
  case WANT_ORDER: /* most of them over i32, where the rules are */
    return random_below(r, 4) ? EXPR_I32 : EXPR_F32;
  case WANT_EQUAL:
    return random_below(r, 4) ? EXPR_I32 : (ExprType)random_below(r, 3);
  default:
    return type;
  }
}

static bool
gives(ExprOp op, ExprType type)
{
  switch (expr_ops[op].rule) {
  case WANT_LEAF:
    return false;
  case WANT_NUMBER:
    return type != EXPR_BOOL;
  case WANT_CHOICE:
    return true;
  case WANT_REAL:
  case WANT_TO_F32:
    return type == EXPR_F32;
  case WANT_WHOLE:
  case WANT_TO_I32:
    return type == EXPR_I32;
  default:
    return type == EXPR_BOOL;
  }
}

const Expr *
random_expr(Random *r, ExprGraph *g, ExprType type, int depth, bool with_score)
{
  if (depth <= 0 || random_below(r, 6) == 0)
    return random_leaf(r, g, type, with_score);
  if (type != EXPR_BOOL && random_below(r, 10) == 0)
    return random_load(r, g, type == EXPR_F32 ? 2 : random_below(r, 2), depth, with_score);
  ExprOp op;
  do
    op = (ExprOp)random_below(r, EXPR_OPS);
  while (!gives(op, type) || (r->whole && expr_ops[op].rule == WANT_TO_I32));
  ExprType of = operand_type(r, op, type);
  const Expr *arg[3] = {NULL};
  for (int i = 0; i < expr_ops[op].n; i++) {
    bool condition = op == EXPR_OP_COND && i == 0;
    arg[i] = random_expr(r, g, condition ? EXPR_BOOL : of, depth - 1, with_score);
  }
  return expr_op(g, op, arg[0], arg[1], arg[2]);
}

static const Expr *
random_sum(Random *r, ExprGraph *g)
{
  static const ExprVar vars[] = {EXPR_Q_IDX, EXPR_Q_IDX,  EXPR_KV_IDX, EXPR_KV_IDX,
                                 EXPR_SQ,    EXPR_KV_IDX, EXPR_SK,     EXPR_H};
  const Expr *sum = expr_var(g, vars[random_below(r, 8)]);
  for (int i = random_below(r, 4); i > 0; i--) {
    const Expr *term = expr_var(g, vars[random_below(r, 8)]);
    if (random_below(r, 6) == 0)
      term = expr_op(g, EXPR_OP_FLOOR_DIV, term, expr_int(g, 1 + random_below(r, 5)), NULL);
    if (random_below(r, 3) == 0)
      term = expr_op(g, EXPR_OP_MUL, term, expr_int(g, random_below(r, 7) - 3), NULL);
    ExprOp op = random_below(r, 2) ? EXPR_OP_ADD : EXPR_OP_SUB;
    sum = expr_op(g, op, sum, random_below(r, 3) ? term : expr_int(g, random_int(r)), NULL);
  }
  return random_below(r, 8) ? sum : expr_op(g, EXPR_OP_ABS, sum, NULL, NULL);
}

const Expr *
random_affine(Random *r, ExprGraph *g, int depth)
{
  static const ExprOp compare[] = {EXPR_OP_LE, EXPR_OP_LT, EXPR_OP_GE, EXPR_OP_GT,
                                   EXPR_OP_EQ, EXPR_OP_LE, EXPR_OP_GE, EXPR_OP_NE};
  static const ExprOp logic[] = {EXPR_OP_AND, EXPR_OP_AND, EXPR_OP_OR, EXPR_OP_NOT,
                                 EXPR_OP_COND};
  const Expr *a, *b, *c = NULL;
  if (depth <= 0 || random_below(r, 4) == 0) {
    a = random_sum(r, g);
    b = random_below(r, 3) ? random_sum(r, g) : expr_int(g, random_below(r, 12) - 4);
    return expr_op(g, compare[random_below(r, 8)], a, b, NULL);
  }
  ExprOp op = logic[random_below(r, 5)];
  a = random_affine(r, g, depth - 1);
  b = random_affine(r, g, depth - 1);
  if (op == EXPR_OP_COND)
    c = random_affine(r, g, depth - 1);
  return expr_op(g, op, a, op == EXPR_OP_NOT ? NULL : b, c);
}

/* ---- inputs ---- */

static ExprValue
element(const void *user, int tensor, const void *data, int64_t at)
{
  (void)user;
  double x = ((const double *)data)[at];
  return tensors[tensor].type == EXPR_F32 ? (ExprValue){.f = x}
                                          : (ExprValue){.i = (int32_t)x};
}

static int32_t
random_size(Random *r)
{
  int kind = random_below(r, 8);
  return kind == 0   ? 1 << 30
         : kind == 1 ? (1 << 30) - random_below(r, 99)
                     : 1 + random_below(r, kind < 5 ? 8 : 5000);
}

static int32_t
random_index(Random *r, int32_t size)
{
  return random_below(r, 3) == 0 ? size - 1 : random_below(r, size);
}

void
random_input(Random *r, RandomInput *to)
{
  memset(to, 0, sizeof *to);
  ExprInput *in = &to->in;
  in->var[EXPR_SQ] = random_size(r);
  in->var[EXPR_SK] = random_below(r, 3) ? random_size(r) : in->var[EXPR_SQ];
  in->var[EXPR_Q_IDX] = random_index(r, in->var[EXPR_SQ]);
  in->var[EXPR_KV_IDX] = random_index(r, in->var[EXPR_SK]);
  for (int v = EXPR_B; v <= EXPR_HK; v++)
    in->var[v] = random_below(r, 9) ? random_below(r, 8) : (1 << 30) - 1;
  in->score = (double)random_float(r);
  for (int i = 0; i < 64; i++)
    to->data[i] = random_below(r, 8) ? random_below(r, 10) : (double)random_int(r);
  for (int t = 0; t < 3; t++)
    for (int a = 0; a < tensors[t].n_axes; a++) {
      to->tables[t].length[a] = random_below(r, 8) ? 1 + random_below(r, 6) : 0;
      to->tables[t].stride[a] = a ? 1 : tensors[t].n_axes == 2 ? 8 : 1;
      to->tables[t].data = to->data;
    }
  for (int i = 0; i < 2; i++)
    to->scalars[i] = (double)random_float(r);
  in->scalars = to->scalars;
  in->tables = to->tables;
  in->element = element;
  in->width = EXPR_NARROW;
}
