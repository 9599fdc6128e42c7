/* What a mask says of whole rows: its keys as one range, and bounds of a band. */
#include "compiler/expr/expr_linear.h"

#define KV (1u << EXPR_KV_IDX)

enum { MOST_FACTOR = 1 << 24 }; /* of a sum that is bounded: far from 2^63 */

/* ---- sums that do not wrap ---- */

void
expr_known_ranges(ExprGraph *g, ExprList *list)
{
  Norm n;
  ExprRange *out = NEW_N(g->arena, ExprRange, list->n + 1);
  norm_open(&n, g);
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    ExprRange arg[EXPR_AXES] = {{0, 0}}, sum;
    for (int k = 0; k < e->n; k++)
      arg[k] = out[list->where[e->arg[k]->id]];
    out[i] = expr_range_of(e, &n.box, arg);
    if (e->type != EXPR_I32)
      continue;
    Linear l = linear_of(&n, e);
    if (!linear_is_exact(&n, &l) || !linear_range(&n, &l, &sum))
      continue;
    out[i].lo = sum.lo > out[i].lo ? sum.lo : out[i].lo;
    out[i].hi = sum.hi < out[i].hi ? sum.hi : out[i].hi;
  }
  list->known = out;
}

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

/* As linear_is_exact, where a quotient is bounded by what its dividend can be as a sum. */
static bool
fits(Norm *n, const Linear *l)
{
  int64_t lo = l->c, hi = l->c;
  for (int i = 0; i < l->n; i++) {
    const Expr *x = l->at[i].atom;
    ExprRange r = norm_range(n, x), sum;
    int64_t k = l->at[i].k;
    if (k > MOST_FACTOR || k < -MOST_FACTOR)
      return false;
    if (x->op == EXPR_OP_FLOOR_DIV) {
      Linear in = linear_of(n, x->arg[0]);
      ExprRange arg[2] = {norm_range(n, x->arg[0]), norm_range(n, x->arg[1])};
      if (linear_is_exact(n, &in) && linear_range(n, &in, &sum))
        arg[0] = sum;
      r = expr_range_of(x, &n->box, arg);
    }
    lo += k * (k > 0 ? r.lo : r.hi);
    hi += k * (k > 0 ? r.hi : r.lo);
  }
  return linear_is_exact(n, l) || (lo >= INT32_MIN && hi <= INT32_MAX);
}

enum { NO_KEY = 1 << 30 }; /* is one of an index as large */

/* atom + c where that may wrap: a bound of keys is the same for any atom below 0 if c is
 * negative, and above every key if c is positive.  NULL: it is another sum. */
static const Expr *
clamped(Norm *n, const Linear *l)
{
  bool less = l->c < 0;
  if (l->n != 1 || l->at[0].k != 1 || l->c >= NO_KEY || l->c <= -NO_KEY)
    return NULL;
  const Expr *edge = expr_int(n->g, less ? 0 : NO_KEY), *c = expr_int(n->g, (int32_t)l->c);
  ExprOp op = less ? EXPR_OP_MAX : EXPR_OP_MIN;
  const Expr *atom = expr_op(n->g, op, l->at[0].atom, edge, NULL);
  return expr_op(n->g, EXPR_OP_ADD, atom, c, NULL);
}

/* The node of a bound, divided by `by`, rounded down; NULL: the sum may wrap. */
static const Expr *
limit_node(Norm *n, const Linear *l, int64_t by)
{
  if (by > INT32_MAX)
    return NULL;
  if (by == 1)
    return fits(n, l) ? linear_node(n, l) : clamped(n, l);
  const Expr *e = fits(n, l) ? linear_node(n, l) : NULL, *k = expr_int(n->g, (int32_t)by);
  return e ? expr_op(n->g, EXPR_OP_FLOOR_DIV, e, k, NULL) : NULL;
}

/* k * kv_idx + rest >= 0; false: the bound may wrap. */
static bool
of_sum(Norm *n, const Linear *l, int64_t k, ExprRows *out)
{
  Linear bound = linear_without(n, l, expr_var(n->g, EXPR_KV_IDX), k > 0 ? -1 : 1);
  int64_t by = k > 0 ? k : -k;
  bound.c += k > 0 ? by - 1 : 0; /* rounded up */
  const Expr *e = limit_node(n, &bound, by);
  *(k > 0 ? &out->first : &out->last) = e;
  return e;
}

/* kv_idx + offset, divided by a constant; NULL: it is not that. */
static const Expr *
key_block(Norm *n, const Expr *atom, Linear *offset, int64_t *by)
{
  if (atom->op != EXPR_OP_FLOOR_DIV || atom->arg[1]->op != EXPR_OP_CONST ||
      atom->arg[1]->i < 1)
    return NULL;
  Linear in = linear_of(n, atom->arg[0]);
  const Expr *kv = expr_var(n->g, EXPR_KV_IDX);
  *by = atom->arg[1]->i;
  *offset = linear_without(n, &in, kv, 1);
  for (int i = 0; i < offset->n; i++)
    if (offset->at[i].atom->vars & KV)
      return NULL;
  return linear_factor(&in, kv) == 1 && linear_is_exact(n, &in) ? atom : NULL;
}

/* k * (kv_idx + offset) // by + rest >= 0, of k = 1 or -1. */
static bool
of_block(Norm *n, const Linear *l, const Expr *block, int64_t k, ExprRows *out)
{
  Linear offset, none = {0}, bound = linear_without(n, l, block, k > 0 ? -1 : 1);
  int64_t by;
  key_block(n, block, &offset, &by);
  bound = linear_sum(n, &none, &bound, by);
  if (k < 0)
    bound.c += by - 1; /* the block's last key */
  bound = linear_sum(n, &bound, &offset, -1);
  const Expr *e = limit_node(n, &bound, 1);
  *(k > 0 ? &out->first : &out->last) = e;
  return e;
}

/* l >= 0, where `block` is NULL or the only atom that has the key in it, k times. */
static bool
of_bound(Norm *n, const Linear *l, const Expr *block, int64_t k, ExprRows *out)
{
  return block ? (k == 1 || k == -1) && of_block(n, l, block, k, out)
               : of_sum(n, l, k, out);
}

/* The atom that has the key in it: *block is NULL where it is kv_idx itself.  Returns its
 * factor; 0: there is none, or several. */
static int64_t
key_factor(Norm *n, const Linear *l, const Expr **block)
{
  int64_t k = 0;
  *block = NULL;
  for (int i = 0; i < l->n; i++) {
    const Expr *atom = l->at[i].atom;
    Linear offset;
    int64_t by;
    if (!(atom->vars & KV))
      continue;
    if (k || (atom->op != EXPR_OP_VAR && !key_block(n, atom, &offset, &by)))
      return 0;
    *block = atom->op == EXPR_OP_VAR ? NULL : atom;
    k = l->at[i].k;
  }
  return k;
}

static bool
of_comparison(Norm *n, const Expr *e, ExprRows *out)
{
  bool equal = e->op == EXPR_OP_EQ, strict = e->op == EXPR_OP_LT || e->op == EXPR_OP_GT;
  bool up = e->op == EXPR_OP_LE || e->op == EXPR_OP_LT;
  if (!(equal || strict || up || e->op == EXPR_OP_GE) || e->arg[0]->type != EXPR_I32)
    return false;
  Linear a = linear_of(n, e->arg[0]), b = linear_of(n, e->arg[1]);
  if (!linear_is_exact(n, &a) || !linear_is_exact(n, &b))
    return false;
  Linear l = linear_sum(n, up ? &b : &a, up ? &a : &b, -1);
  l.c -= strict;
  const Expr *block;
  int64_t k = key_factor(n, &l, &block);
  if (!k || !of_bound(n, &l, block, k, out))
    return false;
  Linear none = {0}, turned = linear_sum(n, &none, &l, -1);
  return !equal || (of_bound(n, &turned, block, -k, out) && (k == 1 || k == -1));
}

static bool limits(Norm *, const Expr *, ExprRows *);

/* One range of two only where both are open to the same side. */
static bool
of_or(Norm *n, const Expr *e, ExprRows *out)
{
  ExprRows r[2] = {{0}};
  bool known = true;
  for (int i = 0; i < 2; i++) {
    ExprRows other = {0};
    if (e->arg[i]->vars & KV)
      continue;
    known = limits(n, e->arg[1 - i], &other);
    out->first = chosen(n, e->arg[i], NULL, other.first, INT32_MIN);
    out->last = chosen(n, e->arg[i], NULL, other.last, INT32_MAX);
    return known;
  }
  for (int i = 0; i < 2; i++)
    known = limits(n, e->arg[i], &r[i]) && known;
  out->first = either(n, EXPR_OP_MIN, r[0].first, r[1].first);
  out->last = either(n, EXPR_OP_MAX, r[0].last, r[1].last);
  bool above = !r[0].last && !r[1].last, below = !r[0].first && !r[1].first;
  return known && (above || below);
}

/* Of a choice by the key: no key outside both. */
static bool
of_choice(Norm *n, const Expr *e, ExprRows *out)
{
  ExprRows a = {0}, b = {0};
  bool known = limits(n, e->arg[1], &a);
  known = limits(n, e->arg[2], &b) && known;
  if (e->arg[0]->vars & KV) {
    out->first = either(n, EXPR_OP_MIN, a.first, b.first);
    out->last = either(n, EXPR_OP_MAX, a.last, b.last);
    return false;
  }
  out->first = chosen(n, e->arg[0], a.first, b.first, INT32_MIN);
  out->last = chosen(n, e->arg[0], a.last, b.last, INT32_MAX);
  return known;
}

/* No key outside them is seen; true: every key between them is. */
static bool
limits(Norm *n, const Expr *e, ExprRows *out)
{
  ExprRows a = {0}, b = {0};
  if (!(e->vars & KV)) {
    of_row(n, e, out);
    return true;
  }
  switch (e->op) {
  case EXPR_OP_AND: {
    bool known = limits(n, e->arg[0], &a);
    known = limits(n, e->arg[1], &b) && known;
    out->first = both(n, EXPR_OP_MAX, a.first, b.first);
    out->last = both(n, EXPR_OP_MIN, a.last, b.last);
    return known;
  }
  case EXPR_OP_OR:
    return of_or(n, e, out);
  case EXPR_OP_COND:
    return of_choice(n, e, out);
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
  bool known = limits(&n, mask, out);
  if (out->first)
    out->first = expr_normal(g, out->first);
  if (out->last)
    out->last = expr_normal(g, out->last);
  return known;
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

enum { ADDRESS_REGS = 2 };

/* What of its operands e keeps while it is computed again and again.  Of a load that is one
 * address for all indices of a grade. */
static void
keep_operands(const ExprList *list, const Expr *e, bool *kept, ExprCost *cost)
{
  bool address[GRADES] = {false};
  for (int i = 0; i < e->n; i++) {
    const Expr *x = e->arg[i];
    ExprGrade grade = expr_grade(x);
    bool *had = e->op == EXPR_OP_LOAD ? &address[grade] : &kept[list->where[x->id]];
    bool often = grade == GRADE_COLUMN || grade == GRADE_BOTH;
    if (often || *had || x->op == EXPR_OP_CONST)
      continue;
    *had = true;
    cost->kept[grade] += e->op == EXPR_OP_LOAD ? ADDRESS_REGS : 1;
  }
}

/* Whether a load for each column or element is below e, itself included. */
static bool
loads_below(const Expr *e)
{
  ExprGrade grade = expr_grade(e);
  bool found = e->op == EXPR_OP_LOAD && (grade == GRADE_COLUMN || grade == GRADE_BOTH);
  for (int i = 0; i < e->n && !found; i++)
    found = loads_below(e->arg[i]);
  return found;
}

static bool
is_chained(const Expr *e)
{
  bool found = false;
  for (int i = 0; i < e->n && e->op == EXPR_OP_LOAD && !found; i++)
    found = loads_below(e->arg[i]);
  return found;
}

/* Nodes that are no instructions of their own, as a word is loaded for many elements. */
static bool *
inside_bits(const ExprGraph *g, const ExprList *list)
{
  bool *inside = NEW_N(g->arena, bool, list->n + 1);
  ExprBit bit;
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    if (!expr_is_bit(e, &bit))
      continue;
    inside[list->where[bit.load->id]] = true;
    inside[list->where[bit.load->arg[bit.load->n - 1]->id]] = true;
    for (const Expr *x = e->arg[e->arg[0]->op == EXPR_OP_CONST]; x != bit.load;
         x = x->arg[x->arg[0]->op == EXPR_OP_CONST])
      inside[list->where[x->id]] = true;
  }
  return inside;
}

ExprCost
expr_cost(const ExprGraph *g, const Expr *const *roots, int n)
{
  ExprCost cost = {0};
  ExprList list = expr_list(g, roots, n, g->arena);
  bool *kept = NEW_N(g->arena, bool, list.n + 1), *inside = inside_bits(g, &list);
  for (int i = 0; i < list.n; i++) {
    const Expr *node = list.at[i];
    ExprGrade grade = expr_grade(node);
    if (grade == GRADE_COLUMN || grade == GRADE_BOTH) {
      keep_operands(&list, node, kept, &cost);
      cost.loads += node->op == EXPR_OP_LOAD;
      cost.chained += is_chained(node);
    }
    if (expr_ops[node->op].cost == 0 || inside[i])
      continue;
    cost.nodes[grade]++;
    cost.slots[grade] += expr_ops[node->op].cost;
  }
  return cost;
}
