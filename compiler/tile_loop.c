/* T_FOR_TILES: one loop per span, and what variables and rings are before, in and after.
 *
 * A loop must leave every ring as it found it: as many stages filled and held, and the
 * groups in flight in the same order.  That is what makes the counts of wait_group
 * constants.  Plain copies older than all of them may be outstanding at the entry. */
#include "compiler/tile_prog.h"

typedef struct RingState {
  int filled, held;
} RingState;

/* What a loop found when it opened; kept on the region's builder side. */
typedef struct LoopEntry {
  Region *region;
  RingState *rings;
  VEC(Group) groups;
  struct LoopEntry *outer;
} LoopEntry;

static RingState
ring_state(const Ring *r)
{
  return (RingState){ .filled = r->pushed - r->taken, .held = r->taken - r->released };
}

static LoopEntry *
remember(Tb *t, Region *body)
{
  LoopEntry *e = NEW(t->arena, LoopEntry);
  e->region = body;
  e->rings = NEW_N(t->arena, RingState, t->prog->rings.n + 1);
  for (int i = 0; i < t->prog->rings.n; i++) {
    Ring *r = t->prog->rings.at[i];
    e->rings[i] = ring_state(r);
    r->barrier_released = r->pushed - r->mem.stages; /* nothing is known to be free */
  }
  for (int i = 0; i < t->groups.n; i++)
    *vec_push(t->arena, &e->groups) = t->groups.at[i];
  e->outer = t->loop;
  t->loop = e;
  return e;
}

static int
next_ring_group(const Group *g, int n, int i)
{
  while (i < n && !g[i].ring)
    i++;
  return i;
}

static void
same_groups(Tb *t, const LoopEntry *e)
{
  int a = 0, b = 0;
  for (;;) {
    a = next_ring_group(e->groups.at, e->groups.n, a);
    b = next_ring_group(t->groups.at, t->groups.n, b);
    if (a == e->groups.n && b == t->groups.n)
      return;
    if (a == e->groups.n || b == t->groups.n ||
        e->groups.at[a].ring != t->groups.at[b].ring)
      t_fail(t, "a loop leaves its copies in flight in another order than it found them");
    a++;
    b++;
  }
}

static void
rings_as_found(Tb *t, const LoopEntry *e)
{
  for (int i = 0; i < t->prog->rings.n; i++) {
    const Ring *r = t->prog->rings.at[i];
    RingState now = ring_state(r);
    if (now.filled != e->rings[i].filled || now.held != e->rings[i].held)
      t_fail(t, "a loop leaves ring %s with %d stages filled and %d held, found %d and %d",
             r->mem.name, now.filled, now.held, e->rings[i].filled, e->rings[i].held);
  }
  same_groups(t, e);
}

static void
enter_vars(Tb *t, Region *body)
{
  body->carry = NEW_N(t->arena, Carry, t->vars.n + 1);
  for (int i = 0; i < t->vars.n; i++) {
    Var *v = t->vars.at[i];
    Val *arg = tile_val(t, v->now->rows, v->now->cols, v->now->ty, v->now->lay);
    arg->shares = v->now->shares;
    body->carry[body->n_carry++] = (Carry){ .var = v->id, .init = v->now, .arg = arg };
    v->now = arg;
  }
}

static bool
same_type(const Val *a, const Val *b)
{
  return a->rows == b->rows && a->cols == b->cols && a->ty == b->ty && a->lay == b->lay &&
         a->shares == b->shares;
}

static void
leave_vars(Tb *t, Region *body)
{
  for (int i = 0; i < body->n_carry; i++) {
    Carry *c = &body->carry[i];
    Var *v = t->vars.at[c->var - 1];
    c->yield = v->now;
    if (!same_type(c->yield, c->arg))
      t_fail(t, "variable %d changes its type in a loop", c->var);
    Val *out = tile_val(t, c->arg->rows, c->arg->cols, c->arg->ty, c->arg->lay);
    out->shares = c->arg->shares;
    c->result = out;
    v->now = out;
  }
}

static void
open_span(Tb *t, Visit *j)
{
  const TileSpan *s = &j->walk->span[j->span];
  Op *op = tile_op(t, OP_LOOP);
  Region *body = NEW(t->arena, Region);
  int64_t lo, hi;
  body->id = ++t->prog->n_regions;
  body->parent = t->here;
  body->span = *s;
  body->final = j->span == j->walk->n - 1;
  body->once = i_known(s->lo, &lo) && i_known(s->hi, &hi) && hi == lo + 1;
  op->body = body;
  t->here = body;
  remember(t, body);
  enter_vars(t, body);
  body->var = body->once ? s->lo : tile_loop_var(t, body);
  j->n = body->var;
  j->k0 = i_mul(j->n, j->walk->bn);
  j->is = i_int(1);
  j->masked = s->cls == TILE_PARTIAL;
  j->whole = !j->masked || j->walk->even;
}

Visit
t_tiles_begin(Tb *t, const Walk *w)
{
  Visit j = { .walk = w };
  if (t->here->parent)
    t_fail(t, "tiles inside tiles");
  open_span(t, &j);
  return j;
}

bool
t_tiles_more(const Visit *j)
{
  return j->span < j->walk->n;
}

void
t_tiles_next(Tb *t, Visit *j)
{
  LoopEntry *e = t->loop;
  if (!e || t->here != e->region)
    t_fail(t, "a loop ends that was not begun");
  rings_as_found(t, e);
  t->here = e->region->parent;
  leave_vars(t, e->region);
  t->groups.n = 0;
  for (int i = 0; i < e->groups.n; i++)
    *vec_push(t->arena, &t->groups) = e->groups.at[i];
  t->loop = e->outer;
  if (++j->span < j->walk->n)
    open_span(t, j);
}
