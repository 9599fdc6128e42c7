/* The graph: tables, and nodes that are made once. */
#include "compiler/expr/expr.h"

#include <string.h>

const char *const expr_type_names[] = {"bool", "i32", "f32"};

const ExprOpInfo expr_ops[EXPR_OPS] = {
#define EXPR_OP(id, text, form, precedence, n, rule, cost)                                 \
  {text, FORM_##form, precedence, n, WANT_##rule, cost},
#include "compiler/expr/expr_ops.def"
#undef EXPR_OP
};

const ExprVarInfo expr_vars[EXPR_VARS] = {
#define EXPR_VAR(id, name, type, most, what) {name, EXPR_##type, most},
#include "compiler/expr/expr_ops.def"
#undef EXPR_VAR
};

ExprGraph *
expr_graph(Arena *arena, const ExprNames *names)
{
  static const ExprNames none;
  ExprGraph *g = NEW(arena, ExprGraph);
  g->arena = arena;
  g->names = names ? names : &none;
  return g;
}

/* ---- nodes that are made once ---- */

static uint32_t
mix(uint32_t h, uint32_t x)
{
  h = (h ^ x) * 0x9e3779b1u;
  return h ^ h >> 15;
}

static uint32_t
float_bits(float f)
{
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return u;
}

static uint32_t
hash_of(const Expr *e)
{
  uint32_t h = mix((uint32_t)e->op, (uint32_t)e->type);
  h = mix(h, (uint32_t)e->i);
  h = mix(h, float_bits(e->f));
  for (int i = 0; i < e->n; i++)
    h = mix(h, (uint32_t)e->arg[i]->id);
  return h;
}

static bool
same(const Expr *a, const Expr *b)
{
  if (a->op != b->op || a->type != b->type || a->n != b->n || a->i != b->i ||
      float_bits(a->f) != float_bits(b->f))
    return false;
  for (int i = 0; i < a->n; i++)
    if (a->arg[i] != b->arg[i])
      return false;
  return true;
}

/* Where the node stands, or would. */
static int *
slot_of(const ExprGraph *g, const Expr *e)
{
  uint32_t mask = (uint32_t)g->n_slots - 1, at = hash_of(e) & mask;
  while (g->slots[at] >= 0 && !same(g->nodes.at[g->slots[at]], e))
    at = (at + 1) & mask;
  return &g->slots[at];
}

static void
grow(ExprGraph *g)
{
  g->n_slots = g->n_slots ? g->n_slots * 2 : 64;
  g->slots = NEW_N(g->arena, int, g->n_slots);
  memset(g->slots, 0xff, (size_t)g->n_slots * sizeof *g->slots);
  for (int i = 0; i < g->nodes.n; i++)
    *slot_of(g, g->nodes.at[i]) = i;
}

static const Expr *
share(ExprGraph *g, const Expr *want)
{
  if (g->nodes.n * 2 >= g->n_slots)
    grow(g);
  int *slot = slot_of(g, want);
  if (*slot >= 0)
    return g->nodes.at[*slot];
  Expr *e = NEW(g->arena, Expr);
  *e = *want;
  e->id = *slot = g->nodes.n;
  for (int i = 0; i < e->n; i++)
    e->vars |= e->arg[i]->vars;
  *vec_push(g->arena, &g->nodes) = e;
  return e;
}

/* ---- leaves ---- */

const Expr *
expr_bool(ExprGraph *g, bool on)
{
  return share(g, &(Expr){.op = EXPR_OP_CONST, .type = EXPR_BOOL, .i = on});
}

const Expr *
expr_int(ExprGraph *g, int32_t i)
{
  return share(g, &(Expr){.op = EXPR_OP_CONST, .type = EXPR_I32, .i = i});
}

const Expr *
expr_float(ExprGraph *g, float f)
{
  return share(g, &(Expr){.op = EXPR_OP_CONST, .type = EXPR_F32, .f = f});
}

const Expr *
expr_var(ExprGraph *g, ExprVar v)
{
  const Expr e = {
      .op = EXPR_OP_VAR, .type = expr_vars[v].type, .i = (int32_t)v, .vars = 1u << v};
  return share(g, &e);
}

const Expr *
expr_scalar(ExprGraph *g, int scalar)
{
  return share(g, &(Expr){.op = EXPR_OP_SCALAR, .type = EXPR_F32, .i = scalar});
}

const Expr *
expr_load(ExprGraph *g, int tensor, const Expr *const *index)
{
  const ExprTensor *t = &g->names->tensors[tensor];
  Expr e = {.op = EXPR_OP_LOAD, .type = t->type, .i = tensor, .n = t->n_axes};
  for (int i = 0; i < e.n; i++)
    e.arg[i] = index[i];
  return share(g, &e);
}

/* ---- operators ---- */

static ExprType
result_type(ExprOp op, const Expr *a, const Expr *b)
{
  switch (expr_ops[op].rule) {
  case WANT_NUMBER:
    return a->type;
  case WANT_CHOICE:
    return b->type;
  case WANT_REAL:
  case WANT_TO_F32:
    return EXPR_F32;
  case WANT_WHOLE:
  case WANT_TO_I32:
    return EXPR_I32;
  default:
    return EXPR_BOOL;
  }
}

const Expr *
expr_op(ExprGraph *g, ExprOp op, const Expr *a, const Expr *b, const Expr *c)
{
  if (a->op == EXPR_OP_CONST && op == EXPR_OP_NEG)
    return a->type == EXPR_F32 ? expr_float(g, -a->f)
                               : expr_int(g, (int32_t)(0u - (uint32_t)a->i));
  if (a->op == EXPR_OP_CONST && op == EXPR_OP_F32)
    return expr_float(g, (float)a->i);
  const Expr e = {
      .op = op, .type = result_type(op, a, b), .n = expr_ops[op].n, .arg = {a, b, c}};
  return share(g, &e);
}

const Expr *
expr_with(ExprGraph *g, const Expr *e, const Expr *const *arg)
{
  if (e->op == EXPR_OP_LOAD)
    return expr_load(g, e->i, arg);
  return e->n
             ? expr_op(g, e->op, arg[0], e->n > 1 ? arg[1] : NULL, e->n > 2 ? arg[2] : NULL)
             : e;
}

ExprList
expr_list(const ExprGraph *g, const Expr *const *roots, int n, Arena *arena)
{
  int *where = NEW_N(arena, int, g->nodes.n + 1), count = 0;
  for (int i = 0; i < n; i++)
    where[roots[i]->id] = 1;
  for (int id = g->nodes.n - 1; id >= 0; id--)
    for (int k = 0; where[id] && k < g->nodes.at[id]->n; k++)
      where[g->nodes.at[id]->arg[k]->id] = 1;
  for (int id = 0; id < g->nodes.n; id++)
    count += where[id];
  const Expr **at = NEW_N(arena, const Expr *, count + 1);
  ExprList list = {.at = at, .where = where};
  for (int id = 0; id < g->nodes.n; id++) {
    bool in = where[id];
    where[id] = in ? list.n : -1;
    if (in)
      at[list.n++] = g->nodes.at[id];
  }
  return list;
}

const Expr *
expr_with_score(ExprGraph *g, const Expr *e, const Expr *what)
{
  ExprList list = expr_list(g, &e, 1, g->arena);
  const Expr **now = NEW_N(g->arena, const Expr *, list.n);
  for (int i = 0; i < list.n; i++) {
    const Expr *node = list.at[i], *arg[EXPR_AXES] = {NULL};
    for (int k = 0; k < node->n; k++)
      arg[k] = now[list.where[node->arg[k]->id]];
    bool score = node->op == EXPR_OP_VAR && node->i == EXPR_SCORE;
    now[i] = score ? what : expr_with(g, node, arg);
  }
  return now[list.n - 1];
}
