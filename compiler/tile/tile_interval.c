#include "compiler/tile/tile_interval.h"

static IdxBounds
range(Idx lo, Idx hi)
{
  IdxBounds r = {.lo = lo, .hi = hi};
  r.point = lo.node == hi.node && lo.k == hi.k;
  return r;
}

typedef Idx Binary(Idx, Idx);

/* [a op b, c op d]. */
static IdxBounds
ends(Binary *op, Idx a, Idx b, Idx c, Idx d)
{
  Idx lo = op(a, b), hi = op(c, d);
  return range(lo, hi);
}

static IdxBounds
truth(Idx yes, Idx no, bool point)
{
  return (IdxBounds){.yes = yes, .no = no, .point = point};
}

/* ---- i32 ---- */

static bool
never_negative(ExprRange r)
{
  return r.lo >= 0;
}

/* What of an operator's operands is known. */
typedef struct Operands {
  const Expr *e;
  const IdxBounds *x;     /* by operand */
  const ExprRange *known; /* for whatever a call has */
  ExprRange whole;        /* the same of the result */
} Operands;

static IdxBounds
constants(ExprRange r)
{
  return range(i_int(r.lo), i_int(r.hi));
}

static IdxBounds
times(IdxBounds a, int64_t k)
{
  Idx lo = i_mul(a.lo, k), hi = i_mul(a.hi, k);
  return k < 0 ? range(hi, lo) : range(lo, hi);
}

static IdxBounds
over(IdxBounds a, int64_t k)
{
  return ends(idx_div, a.lo, i_int(k), a.hi, i_int(k));
}

static bool
constant(ExprRange r)
{
  return r.lo == r.hi;
}

static IdxBounds
product(const Operands *o)
{
  const IdxBounds *x = o->x;
  if (constant(o->known[0]))
    return times(x[1], o->known[0].lo);
  if (constant(o->known[1]))
    return times(x[0], o->known[1].lo);
  if (never_negative(o->known[0]) && never_negative(o->known[1]))
    return ends(idx_mul, x[0].lo, x[1].lo, x[0].hi, x[1].hi);
  IdxBounds a = ends(idx_mul, x[0].lo, x[1].lo, x[0].lo, x[1].hi);
  IdxBounds b = ends(idx_mul, x[0].hi, x[1].lo, x[0].hi, x[1].hi);
  IdxBounds low = ends(idx_min, a.lo, a.hi, b.lo, b.hi);
  IdxBounds high = ends(idx_max, a.lo, a.hi, b.lo, b.hi);
  Idx lo = i_min(low.lo, low.hi), hi = i_max(high.lo, high.hi);
  return range(lo, hi);
}

static IdxBounds
quotient(const Operands *o)
{
  const IdxBounds *x = o->x;
  if (constant(o->known[1]) && o->known[1].lo > 0)
    return over(x[0], o->known[1].lo);
  if (never_negative(o->known[0]) && o->known[1].lo > 0)
    return ends(idx_div, x[0].lo, x[1].hi, x[0].hi, x[1].lo);
  return constants(o->whole);
}

static IdxBounds
select_range(Idx c, IdxBounds a, IdxBounds b)
{
  Idx lo = i_select(c, a.lo, b.lo), hi = i_select(c, a.hi, b.hi);
  return range(lo, hi);
}

/* Within one period it follows the dividend. */
static IdxBounds
rest_of(IdxBounds a, int64_t period)
{
  IdxBounds at = over(a, period), down = times(at, period);
  IdxBounds in = ends(idx_sub, a.lo, down.lo, a.hi, down.hi);
  if (a.point)
    return in;
  Idx cross = i_lt(at.lo, at.hi);
  return select_range(cross, range(i_int(0), i_int(period - 1)), in);
}

static IdxBounds
rest(const Operands *o)
{
  if (constant(o->known[1]) && o->known[1].lo > 0)
    return rest_of(o->x[0], o->known[1].lo);
  return constants(o->whole);
}

static IdxBounds
bits(const Operands *o)
{
  bool both = never_negative(o->known[0]) && never_negative(o->known[1]);
  for (int i = 0; i < 2 && both && o->e->op == EXPR_OP_BIT_AND; i++) {
    int64_t m = o->known[i].lo;
    if (constant(o->known[i]) && (m & (m + 1)) == 0)
      return rest_of(o->x[1 - i], m + 1);
  }
  if (o->e->op == EXPR_OP_BIT_AND && both)
    return range(i_int(0), i_min(o->x[0].hi, o->x[1].hi));
  return constants(o->whole);
}

static IdxBounds
shifted(const Operands *o)
{
  int64_t by = o->known[1].lo;
  if (!constant(o->known[1]) || by < 0 || by > 30)
    return constants(o->whole);
  if (o->e->op == EXPR_OP_SHL)
    return times(o->x[0], (int64_t)1 << by);
  return over(o->x[0], (int64_t)1 << by);
}

static IdxBounds
magnitude(const Operands *o)
{
  IdxBounds a = o->x[0], b = times(a, -1);
  if (never_negative(o->known[0]))
    return a;
  IdxBounds most = ends(idx_max, a.lo, b.lo, a.hi, b.hi);
  return a.point ? range(most.hi, most.hi) : range(i_max(0, most.lo), most.hi);
}

/* One of two where the condition is settled, else either. */
static IdxBounds
chosen(const IdxBounds *x)
{
  if (x[0].point)
    return select_range(x[0].yes, x[1], x[2]);
  Idx lo = i_min(x[1].lo, x[2].lo), hi = i_max(x[1].hi, x[2].hi);
  IdxBounds either = select_range(x[0].no, x[2], range(lo, hi));
  return select_range(x[0].yes, x[1], either);
}

static IdxBounds
number(const Operands *o)
{
  const IdxBounds *x = o->x;
  switch (o->e->op) {
  case EXPR_OP_COND:
    return chosen(x);
  case EXPR_OP_ADD:
    return ends(idx_add, x[0].lo, x[1].lo, x[0].hi, x[1].hi);
  case EXPR_OP_SUB:
    return ends(idx_sub, x[0].lo, x[1].hi, x[0].hi, x[1].lo);
  case EXPR_OP_MIN:
    return ends(idx_min, x[0].lo, x[1].lo, x[0].hi, x[1].hi);
  case EXPR_OP_MAX:
    return ends(idx_max, x[0].lo, x[1].lo, x[0].hi, x[1].hi);
  case EXPR_OP_NEG:
    return times(x[0], -1);
  case EXPR_OP_BIT_NOT:
    return ends(idx_sub, i_int(-1), x[0].hi, i_int(-1), x[0].lo);
  case EXPR_OP_ABS:
    return magnitude(o);
  case EXPR_OP_MUL:
    return product(o);
  case EXPR_OP_FLOOR_DIV:
    return quotient(o);
  case EXPR_OP_MOD:
    return rest(o);
  case EXPR_OP_SHL:
  case EXPR_OP_SHR:
    return shifted(o);
  case EXPR_OP_BIT_AND:
  case EXPR_OP_BIT_OR:
  case EXPR_OP_BIT_XOR:
    return bits(o);
  default:
    return constants(o->whole);
  }
}

/* ---- bool ---- */

/* a <= b, where b + 1 may wrap. */
static Idx
at_most(Idx a, Idx b)
{
  return i_not(i_lt(b, a));
}

static IdxBounds
turned(IdxBounds a)
{
  return truth(a.no, a.yes, a.point);
}

/* Does all of b lie between two numbers of which a is one? */
static Idx
within_ends(IdxBounds a, IdxBounds b)
{
  if (!a.ends.node)
    return i_int(0);
  IdxBounds inside = ends(idx_lt, a.lo, b.lo, b.hi, a.hi);
  return i_and(a.ends, i_and(inside.lo, inside.hi));
}

/* Of ranges a.lo <= a.hi, so that both ends of both are equal where these two are. */
static IdxBounds
equal(IdxBounds a, IdxBounds b, bool point)
{
  IdxBounds apart = ends(idx_lt, a.hi, b.lo, b.hi, a.lo);
  Idx no = i_or(apart.lo, apart.hi), between = within_ends(a, b);
  no = i_or(no, between);
  between = within_ends(b, a);
  no = i_or(no, between);
  if (point)
    return truth(i_not(no), no, true);
  IdxBounds within = ends(at_most, a.hi, b.lo, b.hi, a.lo);
  return truth(i_and(within.lo, within.hi), no, false);
}

static IdxBounds
below(IdxBounds a, IdxBounds b, bool point)
{
  Idx yes = i_lt(a.hi, b.lo);
  return truth(yes, point ? i_not(yes) : at_most(b.hi, a.lo), point);
}

static IdxBounds
conjunction(IdxBounds a, IdxBounds b)
{
  bool point = a.point && b.point;
  Idx yes = i_and(a.yes, b.yes);
  return truth(yes, point ? i_not(yes) : i_or(a.no, b.no), point);
}

static IdxBounds
choice(const IdxBounds *x)
{
  bool point = x[0].point && x[1].point && x[2].point;
  IdxBounds a = conjunction(x[0], x[1]), b = conjunction(turned(x[0]), x[2]);
  Idx yes = i_or(a.yes, b.yes);
  if (point)
    return truth(yes, i_not(yes), true);
  IdxBounds both = ends(idx_and, x[1].yes, x[2].yes, x[1].no, x[2].no);
  IdxBounds one = ends(idx_and, x[0].yes, x[1].no, x[0].no, x[2].no);
  Idx no = i_or(one.lo, one.hi);
  IdxBounds all = ends(idx_or, yes, both.lo, no, both.hi);
  return truth(all.lo, all.hi, false);
}

static IdxBounds
compared(const Operands *o)
{
  IdxBounds a = o->x[0], b = o->x[1];
  bool point = a.point && b.point;
  if (o->e->arg[0]->type == EXPR_F32)
    return truth(i_int(0), i_int(0), false);
  if (o->e->arg[0]->type == EXPR_BOOL) {
    IdxBounds same = choice((const IdxBounds[]){a, b, turned(b)});
    return o->e->op == EXPR_OP_EQ ? same : turned(same);
  }
  switch (o->e->op) {
  case EXPR_OP_LT:
    return below(a, b, point);
  case EXPR_OP_GT:
    return below(b, a, point);
  case EXPR_OP_LE:
    return turned(below(b, a, point));
  case EXPR_OP_GE:
    return turned(below(a, b, point));
  case EXPR_OP_EQ:
    return equal(a, b, point);
  default:
    return turned(equal(a, b, point));
  }
}

static IdxBounds
logic(const Operands *o)
{
  const IdxBounds *x = o->x;
  switch (expr_ops[o->e->op].rule) {
  case WANT_ORDER:
  case WANT_EQUAL:
    return compared(o);
  case WANT_CHOICE:
    return choice(x);
  default:
    break;
  }
  if (o->e->op == EXPR_OP_NOT)
    return turned(x[0]);
  if (o->e->op == EXPR_OP_AND)
    return conjunction(x[0], x[1]);
  return turned(conjunction(turned(x[0]), turned(x[1])));
}

/* ---- nodes ---- */

static bool
anything(ExprRange r)
{
  return r.lo == INT32_MIN && r.hi == INT32_MAX;
}

/* How an axis is indexed, where its index is not one number: ends of a monotone row, blocks
 * of which a tile may have one, what another table holds, which may be two neighbours. */
typedef enum Indexed { BY_ANY, BY_POINT, BY_ENDS, BY_BLOCK, BY_ELEMENT } Indexed;

static Indexed
indexed(const Operands *o, const SpecTable *x, int i)
{
  bool last = i == o->e->n - 1;
  if (o->x[i].point)
    return BY_POINT;
  if (last && x->monotone)
    return BY_ENDS;
  if (spec_index_is_block(o->e->arg[i]))
    return BY_BLOCK;
  return last && o->e->arg[i]->op == EXPR_OP_LOAD ? BY_ELEMENT : BY_ANY;
}

/* A monotone row of a table lies between its end points; of blocks of which a tile has one,
 * and of two neighbours, as the kernel finds, the elements are known; of any other element,
 * and of rows that differ, nothing is. */
static IdxBounds
element(Tb *t, const Operands *o, const IdxBox *box)
{
  const Expr *e = o->e;
  const SpecTable *x = &box->spec->tables.at[e->i];
  Idx first[EXPR_AXES], last[EXPR_AXES], one = i_int(1);
  bool points = true, either = false, asked = false;
  for (int i = 0; i < e->n; i++) {
    Indexed how = indexed(o, x, i);
    if (!box->tables || how == BY_ANY)
      return constants(o->whole);
    points = points && (how == BY_POINT || how == BY_BLOCK);
    first[i] = o->x[i].lo;
    last[i] = o->x[i].hi;
    if (how == BY_BLOCK)
      one = i_and(one, at_most(last[i], first[i]));
    if (how == BY_ELEMENT) /* an index below 0 reads the first */
      one = i_and(one, i_lt(i_sub(last[i], i_max(first[i], 0)), 2));
    either = either || how == BY_ELEMENT;
    asked = asked || how == BY_BLOCK || how == BY_ELEMENT;
  }
  Idx lo = i_element(t, &box->tables[e->i], first);
  Idx hi = points ? lo : i_element(t, &box->tables[e->i], last);
  IdxBounds is = range(lo, hi);
  if (either) {
    is.lo = i_min(lo, hi);
    is.hi = i_max(lo, hi);
  }
  if (asked)
    is = select_range(one, is, constants(o->whole));
  if (either)
    is.ends = one;
  return is;
}

static IdxBounds
bounds_of(Tb *t, const Operands *o, const IdxBox *box)
{
  const Expr *e = o->e;
  if (e->op == EXPR_OP_LOAD && e->type == EXPR_I32)
    return element(t, o, box);
  if (e->type == EXPR_BOOL && constant(o->whole))
    return truth(i_int(o->whole.lo), i_int(!o->whole.lo), true);
  if (e->type == EXPR_BOOL)
    return e->n ? logic(o) : truth(i_int(0), i_int(0), false);
  if (e->op == EXPR_OP_VAR && e->type == EXPR_I32)
    return range(box->var[e->i].lo, box->var[e->i].hi);
  if (e->type == EXPR_F32 || !e->n || anything(o->whole) || constant(o->whole))
    return constants(o->whole);
  return number(o);
}

IdxBounds
i_bounds(Tb *t, const ExprList *list, const IdxBox *box)
{
  IdxBounds *x = NEW_N(t_arena(t), IdxBounds, list->n);
  for (int i = 0; i < list->n; i++) {
    const Expr *e = list->at[i];
    IdxBounds in[EXPR_AXES];
    ExprRange of[EXPR_AXES];
    for (int k = 0; k < e->n; k++) {
      in[k] = x[list->where[e->arg[k]->id]];
      of[k] = list->known[list->where[e->arg[k]->id]];
    }
    Operands o = {.e = e, .x = in, .known = of, .whole = list->known[i]};
    x[i] = bounds_of(t, &o, box);
  }
  return x[list->n - 1];
}
