/* The normal form, `norm: 1`: rules over i32 and bool, each of which keeps the value for
 * every input of a call; f32 is left as it is written.  docs/expressions.md lists them. */
#include "compiler/expr/expr_linear.h"

#include <string.h>

static const Expr *negated(Norm *, const Expr *);

static bool
is_const(const Expr *e)
{
  return e->op == EXPR_OP_CONST;
}

static bool
is_int(const Expr *e, int32_t i)
{
  return is_const(e) && e->type == EXPR_I32 && e->i == i;
}

static bool
is_bool(const Expr *e, bool on)
{
  return is_const(e) && e->type == EXPR_BOOL && (e->i != 0) == on;
}

static const Expr *
op(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  return expr_op(n->g, o, a, b, NULL);
}

/* The same operator, the lesser operand first. */
static const Expr *
sorted(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  return expr_order(a, b) <= 0 ? op(n, o, a, b) : op(n, o, b, a);
}

/* ---- and, or ---- */

static void
flatten(Norm *n, ExprOp o, const Expr *e, ExprSet *to)
{
  if (e->op == o) {
    flatten(n, o, e->arg[0], to);
    flatten(n, o, e->arg[1], to);
    return;
  }
  int at = 0;
  while (at < to->n && expr_order(to->at[at], e) < 0)
    at++;
  if (at < to->n && to->at[at] == e)
    return;
  vec_push(n->g->arena, to);
  memmove(to->at + at + 1, to->at + at, (size_t)(to->n - 1 - at) * sizeof *to->at);
  to->at[at] = e;
}

static bool
has(const ExprSet *s, const Expr *e)
{
  for (int i = 0; i < s->n; i++)
    if (s->at[i] == e)
      return true;
  return false;
}

/* Parts in order, each once, without what changes nothing. */
static const Expr *
joined(Norm *n, ExprOp o, const ExprSet *parts)
{
  bool neutral = o == EXPR_OP_AND;
  const Expr *all = NULL;
  for (int i = 0; i < parts->n; i++) {
    const Expr *e = parts->at[i];
    if (is_bool(e, !neutral) || (e->op == EXPR_OP_NOT && has(parts, e->arg[0])))
      return expr_bool(n->g, !neutral);
    if (!is_bool(e, neutral))
      all = all ? op(n, o, all, e) : e;
  }
  return all ? all : expr_bool(n->g, neutral);
}

static const Expr *
logic(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  ExprSet parts = {0};
  if (o == EXPR_OP_NOT)
    return negated(n, a);
  flatten(n, o, a, &parts);
  flatten(n, o, b, &parts);
  return joined(n, o, &parts);
}

/* ---- comparisons of i32 ---- */

static int64_t
floored(int64_t a, int64_t b)
{
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t
common(int64_t a, int64_t b)
{
  a = a < 0 ? -a : a;
  b = b < 0 ? -b : b;
  while (b) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* What is compared: l >= 0, or l == 0. */
typedef struct Claim {
  Linear l;
  bool equal;
} Claim;

/* The factor that all terms have, away.  false: l == 0 is for no whole numbers. */
static bool
reduce(Claim *c)
{
  int64_t g = 0;
  for (int i = 0; i < c->l.n; i++)
    g = common(g, c->l.at[i].k);
  if (g <= 1)
    return true;
  if (c->equal && c->l.c % g)
    return false;
  for (int i = 0; i < c->l.n; i++)
    c->l.at[i].k /= g;
  c->l.c = floored(c->l.c, g);
  return true;
}

/* kv_idx, else the first atom that stands alone. */
static const Term *
pivot_of(Norm *n, const Linear *l)
{
  const Term *best = NULL;
  for (int i = 0; i < l->n; i++) {
    bool alone = l->at[i].k == 1 || l->at[i].k == -1;
    if (alone && (!best || l->at[i].atom == expr_var(n->g, EXPR_KV_IDX)))
      best = &l->at[i];
  }
  return best;
}

/* pivot against all else; NULL where that would wrap. */
static const Expr *
solved(Norm *n, const Claim *c)
{
  const Term *pivot = pivot_of(n, &c->l);
  if (!pivot)
    return NULL;
  Linear rest = linear_without(n, &c->l, pivot->atom, -pivot->k);
  if (!linear_is_exact(n, &rest))
    return NULL;
  ExprOp o = c->equal ? EXPR_OP_EQ : pivot->k > 0 ? EXPR_OP_GE : EXPR_OP_LE;
  return op(n, o, pivot->atom, linear_node(n, &rest));
}

/* What is subtracted against what is added; NULL where that would wrap. */
static const Expr *
balanced(Norm *n, const Claim *c)
{
  const Linear *l = &c->l;
  Linear side[2];
  bool turn = c->equal && l->n && l->at[0].k > 0;
  for (int s = 0; s < 2; s++) {
    side[s] = (Linear){.at = NEW_N(n->g->arena, Term, l->n + 1)};
    int64_t sign = (s == 1) != turn ? 1 : -1;
    for (int i = 0; i < l->n; i++)
      if (sign * l->at[i].k > 0)
        side[s].at[side[s].n++] = (Term){l->at[i].atom, sign * l->at[i].k};
    side[s].c = sign * l->c > 0 ? sign * l->c : 0;
    if (!linear_is_exact(n, &side[s]))
      return NULL;
  }
  const Expr *a = linear_node(n, &side[0]);
  const Expr *b = linear_node(n, &side[1]);
  return op(n, c->equal ? EXPR_OP_EQ : EXPR_OP_LE, a, b);
}

static const Expr *claimed(Norm *, Claim *);

/* c − |x| >= 0 and |x| − c >= 0, where x does not wrap. */
static const Expr *
of_magnitude(Norm *n, const Claim *c)
{
  const Term *t = c->l.at;
  if (c->equal || c->l.n != 1 || t->atom->op != EXPR_OP_ABS)
    return NULL;
  Linear x = linear_of(n, t->atom->arg[0]), none = {0};
  ExprRange r;
  if (!linear_range(n, &x, &r) || r.lo <= INT32_MIN || r.hi > INT32_MAX)
    return NULL;
  ExprSet parts = {0};
  ExprOp o = t->k < 0 ? EXPR_OP_AND : EXPR_OP_OR;
  for (int sign = -1; sign <= 1; sign += 2) {
    Claim part = {.l = linear_sum(n, &none, &x, sign)};
    part.l.c += c->l.c;
    const Expr *e = claimed(n, &part);
    if (!e)
      return NULL;
    flatten(n, o, e, &parts);
  }
  return joined(n, o, &parts);
}

/* NULL: it is left as it was written. */
static const Expr *
claimed(Norm *n, Claim *c)
{
  ExprRange r;
  if (!reduce(c))
    return expr_bool(n->g, false);
  if (!linear_range(n, &c->l, &r))
    return NULL;
  if (c->equal ? r.lo > 0 || r.hi < 0 : r.hi < 0)
    return expr_bool(n->g, false);
  if (c->equal ? r.lo == 0 && r.hi == 0 : r.lo >= 0)
    return expr_bool(n->g, true);
  const Expr *e = of_magnitude(n, c);
  if (!e)
    e = solved(n, c);
  return e ? e : balanced(n, c);
}

static const Expr *
as_written(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  if (o == EXPR_OP_EQ || o == EXPR_OP_NE)
    return sorted(n, o, a, b);
  if (o == EXPR_OP_GT || o == EXPR_OP_GE)
    return op(n, o == EXPR_OP_GT ? EXPR_OP_LT : EXPR_OP_LE, b, a);
  return op(n, o, a, b);
}

static const Expr *
compare(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  bool equal = o == EXPR_OP_EQ || o == EXPR_OP_NE;
  bool strict = o == EXPR_OP_LT || o == EXPR_OP_GT;
  bool upwards = o == EXPR_OP_LT || o == EXPR_OP_LE;
  if (a == b)
    return expr_bool(n->g, o == EXPR_OP_EQ || (!equal && !strict));
  Linear x = linear_of(n, a), y = linear_of(n, b);
  if (!linear_is_exact(n, &x) || !linear_is_exact(n, &y))
    return as_written(n, o, a, b);
  Claim c = {.l = linear_sum(n, upwards ? &y : &x, upwards ? &x : &y, -1), .equal = equal};
  c.l.c -= strict;
  const Expr *e = claimed(n, &c);
  if (!e)
    return as_written(n, o, a, b);
  return o != EXPR_OP_NE       ? e
         : e->op == EXPR_OP_EQ ? op(n, EXPR_OP_NE, e->arg[0], e->arg[1])
                               : negated(n, e);
}

/* ---- bool ---- */

static ExprOp
opposite(ExprOp o)
{
  switch (o) {
  case EXPR_OP_LT:
    return EXPR_OP_GE;
  case EXPR_OP_LE:
    return EXPR_OP_GT;
  case EXPR_OP_GT:
    return EXPR_OP_LE;
  case EXPR_OP_GE:
    return EXPR_OP_LT;
  case EXPR_OP_EQ:
    return EXPR_OP_NE;
  default: /* NE */
    return EXPR_OP_EQ;
  }
}

static const Expr *
negated(Norm *n, const Expr *e)
{
  bool order = expr_ops[e->op].rule == WANT_ORDER || expr_ops[e->op].rule == WANT_EQUAL;
  if (is_const(e))
    return expr_bool(n->g, !e->i);
  if (e->op == EXPR_OP_NOT)
    return e->arg[0];
  if (e->op == EXPR_OP_AND || e->op == EXPR_OP_OR) {
    const Expr *a = negated(n, e->arg[0]);
    const Expr *b = negated(n, e->arg[1]);
    return logic(n, e->op == EXPR_OP_AND ? EXPR_OP_OR : EXPR_OP_AND, a, b);
  }
  if (order && e->arg[0]->type == EXPR_I32)
    return compare(n, opposite(e->op), e->arg[0], e->arg[1]);
  if (order && e->arg[0]->type == EXPR_BOOL)
    return op(n, opposite(e->op), e->arg[0], e->arg[1]);
  return op(n, EXPR_OP_NOT, e, NULL);
}

/* == and != of bools. */
static const Expr *
alike(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  bool equal = o == EXPR_OP_EQ;
  if (a == b)
    return expr_bool(n->g, equal);
  for (int turn = 0; turn < 2; turn++) {
    const Expr *x = turn ? a : b, *other = turn ? b : a;
    if (is_const(x))
      return (x->i != 0) == equal ? other : negated(n, other);
  }
  return sorted(n, o, a, b);
}

static const Expr *
choice(Norm *n, const Expr *c, const Expr *a, const Expr *b)
{
  if (is_const(c))
    return c->i ? a : b;
  if (a == b)
    return a;
  if (c->op == EXPR_OP_NOT)
    return choice(n, c->arg[0], b, a);
  if (is_bool(a, true))
    return logic(n, EXPR_OP_OR, c, b);
  if (is_bool(b, false))
    return logic(n, EXPR_OP_AND, c, a);
  if (is_bool(a, false))
    return logic(n, EXPR_OP_AND, negated(n, c), b);
  if (is_bool(b, true))
    return logic(n, EXPR_OP_OR, negated(n, c), a);
  return expr_op(n->g, EXPR_OP_COND, c, a, b);
}

/* ---- i32 ---- */

static const Expr *
divided(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  bool rest = o == EXPR_OP_MOD;
  ExprRange r = norm_range(n, a);
  if (is_int(b, 0) || (rest && (is_int(b, 1) || is_int(b, -1))))
    return expr_int(n->g, 0);
  if (is_int(b, 1) || (rest && is_const(b) && r.lo >= 0 && r.hi < b->i))
    return a;
  return op(n, o, a, b);
}

static const Expr *
bits(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  int32_t neutral = o == EXPR_OP_BIT_AND ? -1 : 0;
  if (is_const(a)) {
    const Expr *c = a;
    a = b;
    b = c;
  }
  if (a == b)
    return o == EXPR_OP_BIT_XOR ? expr_int(n->g, 0) : a;
  if (is_int(b, neutral))
    return a;
  if (o != EXPR_OP_BIT_XOR && is_int(b, ~neutral))
    return b;
  return sorted(n, o, a, b);
}

static const Expr *
shifted(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  if (is_const(b) && (b->i & 31) == 0)
    return a;
  if (is_const(b))
    b = expr_int(n->g, b->i & 31);
  return op(n, o, a, b);
}

static const Expr *
extreme(Norm *n, ExprOp o, const Expr *a, const Expr *b)
{
  ExprRange x = norm_range(n, a), y = norm_range(n, b);
  bool least = o == EXPR_OP_MIN;
  if (a == b || x.hi <= y.lo)
    return least ? a : b;
  if (y.hi <= x.lo)
    return least ? b : a;
  return sorted(n, o, a, b);
}

static const Expr *
whole(Norm *n, const Expr *e)
{
  const Expr *a = e->arg[0], *b = e->arg[1];
  Linear l;
  switch (e->op) {
  case EXPR_OP_ADD:
  case EXPR_OP_SUB:
  case EXPR_OP_MUL:
  case EXPR_OP_NEG:
    l = linear_of(n, e);
    return linear_node(n, &l);
  case EXPR_OP_FLOOR_DIV:
  case EXPR_OP_MOD:
    return divided(n, e->op, a, b);
  case EXPR_OP_BIT_AND:
  case EXPR_OP_BIT_OR:
  case EXPR_OP_BIT_XOR:
    return bits(n, e->op, a, b);
  case EXPR_OP_BIT_NOT:
    return a->op == EXPR_OP_BIT_NOT ? a->arg[0] : e;
  case EXPR_OP_SHL:
  case EXPR_OP_SHR:
    return shifted(n, e->op, a, b);
  case EXPR_OP_MIN:
  case EXPR_OP_MAX:
    return extreme(n, e->op, a, b);
  case EXPR_OP_ABS:
    return norm_range(n, a).lo >= 0 ? a : e;
  default:
    return e;
  }
}

/* ---- any node, its operands in normal form ---- */

static bool
all_const(const Expr *e)
{
  for (int i = 0; i < e->n; i++)
    if (!is_const(e->arg[i]) || e->arg[i]->type == EXPR_F32)
      return false;
  return e->n > 0 && e->op != EXPR_OP_LOAD && e->type != EXPR_F32;
}

static const Expr *
folded(Norm *n, const Expr *e)
{
  ExprValue arg[EXPR_AXES] = {{0}};
  for (int i = 0; i < e->n; i++)
    arg[i].i = e->arg[i]->i;
  int32_t v = expr_apply(e->op, e->arg[e->n > 2 ? 1 : 0]->type, arg, EXPR_NARROW).i;
  return e->type == EXPR_BOOL ? expr_bool(n->g, v) : expr_int(n->g, v);
}

static const Expr *
rewritten(Norm *n, const Expr *e)
{
  const Expr *a = e->arg[0], *b = e->arg[1];
  if (all_const(e))
    return folded(n, e);
  if (e->op == EXPR_OP_COND)
    return choice(n, a, b, e->arg[2]);
  if (!e->n || e->op == EXPR_OP_LOAD || e->type == EXPR_F32 || a->type == EXPR_F32)
    return e;
  switch (expr_ops[e->op].rule) {
  case WANT_LOGIC:
    return logic(n, e->op, a, b);
  case WANT_ORDER:
  case WANT_EQUAL:
    return a->type == EXPR_BOOL ? alike(n, e->op, a, b) : compare(n, e->op, a, b);
  default:
    return whole(n, e);
  }
}

/* What can be one value is that. */
static const Expr *
settled(Norm *n, const Expr *e)
{
  if (e->type == EXPR_F32)
    return e;
  ExprRange r = norm_range(n, e);
  if (r.lo != r.hi)
    return e;
  return e->type == EXPR_BOOL ? expr_bool(n->g, r.lo != 0) : expr_int(n->g, (int32_t)r.lo);
}

static const Expr *
once(Norm *n, const Expr *e)
{
  ExprList list = expr_list(n->g, &e, 1, n->g->arena);
  const Expr **now = NEW_N(n->g->arena, const Expr *, list.n);
  for (int i = 0; i < list.n; i++) {
    const Expr *node = list.at[i], *arg[EXPR_AXES] = {NULL};
    for (int k = 0; k < node->n; k++)
      arg[k] = now[list.where[node->arg[k]->id]];
    const Expr *next = rewritten(n, expr_with(n->g, node, arg));
    now[i] = settled(n, next);
  }
  return now[list.n - 1];
}

/* Until nothing changes: a rule's result may be another's operand.  Each rule makes the
 * expression shorter or puts it in order, so the bound is never met. */
const Expr *
expr_normal(ExprGraph *g, const Expr *e)
{
  enum { MOST = 16 };
  Norm n;
  norm_open(&n, g);
  for (int i = 0; i < MOST; i++) {
    const Expr *next = once(&n, e);
    if (next == e)
      break;
    e = next;
  }
  return e;
}

/* ---- conjuncts ---- */

void
expr_conjuncts(ExprGraph *g, const Expr *e, ExprSet *out)
{
  Norm n;
  norm_open(&n, g);
  if (!is_bool(e, true))
    flatten(&n, EXPR_OP_AND, e, out);
}

const Expr *
expr_all(ExprGraph *g, const ExprSet *set)
{
  const Expr *all = expr_bool(g, true);
  for (int i = 0; i < set->n; i++)
    all = expr_op(g, EXPR_OP_AND, all, set->at[i], NULL);
  return expr_normal(g, all);
}
