/* Sums of i32 atoms. */
#include "compiler/expr/expr_linear.h"

#include <string.h>

/* ---- order ---- */

static int
rank(const Expr *e)
{
  return e->op == EXPR_OP_CONST ? EXPR_OPS : (int)e->op;
}

static int
sign_of(int64_t x)
{
  return x > 0 ? 1 : x < 0 ? -1 : 0;
}

int
expr_order(const Expr *a, const Expr *b)
{
  while (a != b) {
    uint32_t x, y;
    memcpy(&x, &a->f, sizeof x);
    memcpy(&y, &b->f, sizeof y);
    if (a->op != b->op)
      return sign_of(rank(a) - rank(b));
    if (a->type != b->type || a->i != b->i || x != y)
      return a->type != b->type ? sign_of((int)a->type - (int)b->type)
             : a->i != b->i     ? (a->i > b->i ? 1 : -1)
                                : (x > y ? 1 : -1);
    int i = 0; /* the same operator: they differ in an operand */
    while (a->arg[i] == b->arg[i])
      i++;
    const Expr *next = a->arg[i];
    b = b->arg[i];
    a = next;
  }
  return 0;
}

/* ---- ranges ---- */

void
norm_open(Norm *n, ExprGraph *g)
{
  *n = (Norm){.g = g, .box = expr_any_box()};
}

ExprRange
norm_range(Norm *n, const Expr *e)
{
  while (n->ranges.n <= e->id) {
    const Expr *node = n->g->nodes.at[n->ranges.n];
    ExprRange arg[EXPR_AXES] = {{0, 0}};
    for (int k = 0; k < node->n; k++)
      arg[k] = n->ranges.at[node->arg[k]->id];
    ExprRange r = expr_range_of(node, &n->box, arg);
    *vec_push(n->g->arena, &n->ranges) = r;
  }
  return n->ranges.at[e->id];
}

/* ---- sums ---- */

static int64_t
wrapped(int64_t x)
{
  return (int32_t)(uint32_t)(uint64_t)x;
}

int64_t
linear_factor(const Linear *l, const Expr *atom)
{
  for (int i = 0; i < l->n; i++)
    if (l->at[i].atom == atom)
      return l->at[i].k;
  return 0;
}

static void
put_term(Linear *l, const Expr *atom, int64_t k)
{
  if (k)
    l->at[l->n++] = (Term){atom, k};
}

Linear
linear_sum(Norm *n, const Linear *a, const Linear *b, int64_t times)
{
  Linear s = {.at = NEW_N(n->g->arena, Term, a->n + b->n + 1)};
  int i = 0, j = 0;
  while (i < a->n || j < b->n) {
    int order = i == a->n ? 1 : j == b->n ? -1 : expr_order(a->at[i].atom, b->at[j].atom);
    int64_t k = order <= 0 ? a->at[i].k : 0;
    k += order >= 0 ? times * b->at[j].k : 0;
    put_term(&s, order <= 0 ? a->at[i].atom : b->at[j].atom, k);
    i += order <= 0;
    j += order >= 0;
  }
  s.c = a->c + times * b->c;
  return s;
}

Linear
linear_without(Norm *n, const Linear *l, const Expr *atom, int64_t k)
{
  Linear s = {.at = NEW_N(n->g->arena, Term, l->n + 1), .c = k * l->c};
  for (int i = 0; i < l->n; i++)
    if (l->at[i].atom != atom)
      put_term(&s, l->at[i].atom, k * l->at[i].k);
  return s;
}

/* Modulo 2^32. */
static Linear
scaled(Norm *n, const Linear *l, int64_t k)
{
  Linear s = {.at = NEW_N(n->g->arena, Term, l->n + 1), .c = wrapped(wrapped(k) * l->c)};
  for (int i = 0; i < l->n; i++)
    put_term(&s, l->at[i].atom, wrapped(wrapped(k) * l->at[i].k));
  return s;
}

static Linear
atom_of(Norm *n, const Expr *e)
{
  Linear s = {.at = NEW_N(n->g->arena, Term, 1)};
  put_term(&s, e, 1);
  return s;
}

/* ---- products ---- */

typedef VEC(const Expr *) Factors;

static void
add_factors(Norm *n, const Expr *e, Factors *to)
{
  if (e->op != EXPR_OP_MUL) {
    *vec_push(n->g->arena, to) = e;
    for (int i = to->n - 1; i > 0 && expr_order(to->at[i - 1], to->at[i]) > 0; i--) {
      const Expr *before = to->at[i - 1];
      to->at[i - 1] = to->at[i];
      to->at[i] = before;
    }
    return;
  }
  add_factors(n, e->arg[0], to);
  add_factors(n, e->arg[1], to);
}

/* The factor of a single term is taken out; a sum is one factor. */
static const Expr *
as_factor(const Linear *l, const Expr *e, int64_t *k)
{
  if (l->n != 1 || l->c)
    return e;
  *k = wrapped(*k * l->at[0].k);
  return l->at[0].atom;
}

static Linear
product_of(Norm *n, const Expr *e)
{
  Linear a = linear_of(n, e->arg[0]), b = linear_of(n, e->arg[1]);
  if (!a.n || !b.n)
    return scaled(n, a.n ? &a : &b, a.n ? b.c : a.c);
  int64_t k = 1;
  Factors f = {0};
  add_factors(n, as_factor(&a, e->arg[0], &k), &f);
  add_factors(n, as_factor(&b, e->arg[1], &k), &f);
  const Expr *all = f.at[0];
  for (int i = 1; i < f.n; i++)
    all = expr_op(n->g, EXPR_OP_MUL, all, f.at[i], NULL);
  Linear one = atom_of(n, all);
  return scaled(n, &one, k);
}

Linear
linear_of(Norm *n, const Expr *e)
{
  Linear a, b;
  switch (e->op) {
  case EXPR_OP_CONST:
    return (Linear){.c = e->i};
  case EXPR_OP_NEG:
    a = linear_of(n, e->arg[0]);
    return scaled(n, &a, -1);
  case EXPR_OP_ADD:
  case EXPR_OP_SUB:
    a = linear_of(n, e->arg[0]);
    b = linear_of(n, e->arg[1]);
    a = linear_sum(n, &a, &b, e->op == EXPR_OP_ADD ? 1 : -1);
    return scaled(n, &a, 1);
  case EXPR_OP_MUL:
    return product_of(n, e);
  default:
    return atom_of(n, e);
  }
}

/* ---- exactness ---- */

/* Beyond these sums are not bounded: what is within is far from 2^63. */
enum { MOST_FACTOR = 1 << 24, MOST_TERMS = 64 };

static void
add_range(ExprRange *sum, int64_t k, int64_t lo, int64_t hi)
{
  sum->lo += k * (k > 0 ? lo : hi);
  sum->hi += k * (k > 0 ? hi : lo);
}

/* An index is below its size: their difference says more than each alone. */
static void
add_pair(Norm *n, ExprVar index, ExprVar size, int64_t *k, const Linear *l, ExprRange *sum)
{
  int at[2] = {-1, -1};
  for (int i = 0; i < l->n; i++)
    for (int v = 0; v < 2; v++)
      if (l->at[i].atom == expr_var(n->g, v ? size : index))
        at[v] = i;
  if (at[0] < 0 || at[1] < 0 || (k[at[0]] < 0) == (k[at[1]] < 0))
    return;
  int64_t a = k[at[0]], b = -k[at[1]], both = (a < 0 ? a > b : a < b) ? a : b;
  add_range(sum, both, -(int64_t)expr_vars[size].most, -1);
  k[at[0]] -= both;
  k[at[1]] += both;
}

bool
linear_range(Norm *n, const Linear *l, ExprRange *out)
{
  int64_t k[MOST_TERMS];
  *out = (ExprRange){l->c, l->c};
  if (l->n > MOST_TERMS)
    return false;
  for (int i = 0; i < l->n; i++) {
    k[i] = l->at[i].k;
    if (k[i] > MOST_FACTOR || k[i] < -MOST_FACTOR)
      return false;
  }
  add_pair(n, EXPR_Q_IDX, EXPR_SQ, k, l, out);
  add_pair(n, EXPR_KV_IDX, EXPR_SK, k, l, out);
  for (int i = 0; i < l->n; i++) {
    ExprRange r = norm_range(n, l->at[i].atom);
    add_range(out, k[i], r.lo, r.hi);
  }
  return true;
}

bool
linear_is_exact(Norm *n, const Linear *l)
{
  ExprRange r;
  return linear_range(n, l, &r) && r.lo >= INT32_MIN && r.hi <= INT32_MAX;
}

/* ---- nodes ---- */

static const Expr *
plus(ExprGraph *g, const Expr *sum, const Expr *atom, int64_t k)
{
  bool minus = k < 0 && k > INT32_MIN;
  int64_t times = minus ? -k : k;
  const Expr *part = atom;
  if (!sum)
    times = k;
  if (times == -1 && !sum)
    return expr_op(g, EXPR_OP_NEG, atom, NULL, NULL);
  if (times != 1)
    part = expr_op(g, EXPR_OP_MUL, expr_int(g, (int32_t)times), atom, NULL);
  return sum ? expr_op(g, minus ? EXPR_OP_SUB : EXPR_OP_ADD, sum, part, NULL) : part;
}

static const Expr *
plus_constant(ExprGraph *g, const Expr *sum, int64_t c)
{
  bool minus = c < 0 && c > INT32_MIN;
  if (!sum || c == 0)
    return sum ? sum : expr_int(g, (int32_t)c);
  return expr_op(g, minus ? EXPR_OP_SUB : EXPR_OP_ADD, sum,
                 expr_int(g, (int32_t)(minus ? -c : c)), NULL);
}

/* Terms that are added, then those that are subtracted, then the constant, which comes
 * first where nothing is added. */
const Expr *
linear_node(Norm *n, const Linear *l)
{
  const Expr *sum = NULL;
  int64_t c = wrapped(l->c);
  for (int i = 0; i < l->n; i++)
    if (l->at[i].k > 0)
      sum = plus(n->g, sum, l->at[i].atom, l->at[i].k);
  bool first = !sum && c != 0;
  if (first)
    sum = expr_int(n->g, (int32_t)c);
  for (int i = 0; i < l->n; i++)
    if (l->at[i].k < 0)
      sum = plus(n->g, sum, l->at[i].atom, l->at[i].k);
  return plus_constant(n->g, sum, first ? 0 : c);
}
