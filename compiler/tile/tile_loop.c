/* Regions: roles, loops, branches: what variables, rings and products in flight are before,
 * in and after.
 *
 * A loop must leave every ring as it found it: as many stages held, and where the threads
 * themselves copy (FILL_COPY), as many filled and the groups in flight in the same order.
 * That is what makes the counts of wait_group constants.  Plain copies older than all of
 * them may be outstanding at the entry.  No product is in flight where a region ends: what
 * is carried around a loop would be copied, and every wgmma with it serialised
 * (docs/templates.md). */
#include "compiler/tile/tile_prog.h"

typedef struct RingState {
  int filled, held;
} RingState;

/* What a region found when it opened. */
typedef struct Entry {
  Region *region;
  RingState *rings;
  VEC(Group) groups;
  int n_vars, in_flight;
  struct Entry *outer;
} Entry;

static RingState
ring_state(const Ring *r)
{
  int filled = r->fill == FILL_COPY ? r->produced - r->consumed : 0;
  return (RingState){.filled = filled, .held = r->consumed - r->released};
}

static Entry *
remember(Tb *t, Region *body)
{
  Entry *e = NEW(t->arena, Entry);
  e->region = body;
  e->rings = NEW_N(t->arena, RingState, t->prog->rings.n + 1);
  for (int i = 0; i < t->prog->rings.n; i++)
    e->rings[i] = ring_state(t->prog->rings.at[i]);
  for (int i = 0; i < t->groups.n; i++)
    *vec_push(t->arena, &e->groups) = t->groups.at[i];
  e->n_vars = t->vars.n;
  e->in_flight = t->in_flight.n;
  e->outer = t->entry;
  t->entry = e;
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
same_groups(Tb *t, const Entry *e)
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
rings_as_found(Tb *t, const Entry *e)
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

/* ---- variables ---- */

static Val *
like(Tb *t, const Val *v)
{
  Val *x = tile_val(t, v->rows, v->cols, v->ty, v->lay);
  x->per_thread = v->per_thread;
  x->warps_n = v->warps_n;
  x->narrow = v->narrow;
  return x;
}

static void
enter_vars(Tb *t, Region *body)
{
  body->carry = NEW_N(t->arena, Carry, t->vars.n + 1);
  for (int i = 0; i < t->vars.n; i++) {
    Var *v = t->vars.at[i];
    Val *arg = like(t, v->now);
    body->carry[body->n_carry++] = (Carry){.var = v->id, .init = v->now, .arg = arg};
    if (body->kind != OP_IF)
      v->now = arg;
    else
      body->carry[i].arg = v->now; /* what comes in is what was there */
  }
}

static bool
same_type(const Val *a, const Val *b)
{
  return a->rows == b->rows && a->cols == b->cols && a->ty == b->ty && a->lay == b->lay &&
         a->warps_n == b->warps_n && a->narrow == b->narrow &&
         a->per_thread == b->per_thread && a->in_flight == b->in_flight;
}

static void
leave_vars(Tb *t, Region *body)
{
  for (int i = 0; i < body->n_carry; i++) {
    Carry *c = &body->carry[i];
    Var *v = t->vars.at[i];
    c->yield = v->now;
    if (!same_type(c->yield, c->arg))
      t_fail(t, "variable %d changes its type in a %s", c->var, op_names[body->kind]);
    c->result = c->yield == c->init ? c->init : like(t, c->arg);
    v->now = c->result;
  }
}

/* ---- open and close ---- */

static Region *
open_region(Tb *t, OpKind kind)
{
  Op *op = tile_op(t, kind);
  Region *body = NEW(t->arena, Region);
  body->id = ++t->prog->n_regions;
  body->parent = t->here;
  body->kind = kind;
  body->role = t->here->role;
  op->body = body;
  t->here = body;
  remember(t, body);
  enter_vars(t, body);
  return body;
}

static Entry *
close_region(Tb *t)
{
  Entry *e = t->entry;
  if (!e || t->here != e->region)
    t_fail(t, "a region ends that was not begun");
  if (t->in_flight.n != e->in_flight)
    t_fail(t, "a product is in flight at the end of a %s", op_names[e->region->kind]);
  t->here = e->region->parent;
  leave_vars(t, e->region);
  t->vars.n = e->n_vars;
  t->entry = e->outer;
  return e;
}

/* Copies in flight are those that the region found. */
static void
groups_as_found(Tb *t, const Entry *e)
{
  t->groups.n = 0;
  for (int i = 0; i < e->groups.n; i++)
    *vec_push(t->arena, &t->groups) = e->groups.at[i];
}

static void
close_loop(Tb *t)
{
  rings_as_found(t, t->entry);
  groups_as_found(t, close_region(t));
}

/* A block of work may leave stages filled, as a kernel may that ends with it: nobody fills
 * or empties those rings behind it. */
static void
close_work(Tb *t)
{
  for (int i = 0; i < t->prog->rings.n; i++) {
    Ring *r = t->prog->rings.at[i];
    RingState now = ring_state(r), found = t->entry->rings[i];
    if (now.held != found.held)
      t_fail(t, "a block of work leaves ring %s with %d stages held, found %d", r->mem.name,
             now.held, found.held);
    r->closed = r->closed || now.filled != found.filled;
  }
  groups_as_found(t, close_region(t));
}

static void
nothing_flies(Tb *t, const char *what)
{
  if (t->in_flight.n)
    t_fail(t, "a product is in flight at the start of a %s", what);
}

/* Inside a loop no stage is known to be free, nor what was exchanged to have been read,
 * until a barrier has been passed.  Warps that have keys of their own, and teams of roles,
 * exchange nothing in a loop over tiles. */
static void
forget_barriers(Tb *t, const Region *loop)
{
  bool none = (t->prog->by_keys || tile_role(t)) && loop->kind == OP_LOOP;
  for (int i = 0; i < EXCHANGE_PARTS && !none; i++)
    t->exchanged[i] = t->exchange.mem != NULL;
  for (int i = 0; i < t->prog->rings.n; i++) {
    Ring *r = t->prog->rings.at[i];
    r->barrier_released = r->produced - r->mem.stages;
  }
}

/* ---- tiles ---- */

/* Of lists: what the place has. */
static void
seek_lists(Tb *t, const Walk *w, Region *r)
{
  ListTile at = list_tile(w->listed, r->var);
  r->listed = true;
  r->tile = at.tile;
  r->has_whole = w_has_whole(w);
  r->is_whole = at.whole;
  r->none = i_cdiv(w->listed->sk, w->bn);
  if (r->has_whole)
    r->first_whole = tile_found(t, true);
}

/* Of a list of tiles. */
static void
seek_places(const Walk *w, Region *r)
{
  r->listed = true;
  r->tile = i_div(place_word(w->places, r->var), LISTED_WORD);
  r->none = w->places->least;
}

/* The search of a walk with a test.  What a tile is comes with it, and is asked once. */
static const Region *
seek(Tb *t, const Walk *w, int n)
{
  Op *op = tile_op(t, OP_SEEK);
  Region *r = op->body = NEW(t->arena, Region);
  *r = (Region){.id = ++t->prog->n_regions, .parent = t->here, .kind = OP_SEEK};
  r->role = t->here->role;
  r->span.lo = w->tiles.lo;
  r->span.hi = i_sub(w->tiles.hi, 1);
  r->var = tile_loop_var(t, r);
  r->cond = w_empty(w, r->var);
  r->is_partial = w_partial(w, r->var);
  r->n_found = n;
  if (w->listed)
    seek_lists(t, w, r);
  if (w->places)
    seek_places(w, r);
  for (int i = 0; i < n; i++) /* but the first may be below every tile: there is none */
    r->found[i] = tile_found(t, i == 0);
  return r;
}

Walk
t_walk(Tb *t, const Walk *w, int ahead)
{
  Walk r = *w;
  if (!w->test)
    return r;
  if (ahead > WALK_AHEAD)
    t_fail(t, "a walk is known %d tiles ahead at most", WALK_AHEAD);
  r.ahead = ahead;
  r.seek = seek(t, w, ahead + 1);
  return r;
}

/* Of a walk with a test: which tiles are visited is found on the way, or told. */
static void
listed(Tb *t, const Walk *w, Region *body)
{
  body->told = w->told;
  body->entered = w->more;
  if (w->told)
    return;
  if (!w->seek)
    t_fail(t, "a walk with a test that t_walk has not made ready");
  body->visited = tile_found(t, true);
  walk_loop(w, body);
  body->seek = w->seek;
  body->skip = w->skip;
  body->ahead = w->ahead;
}

static void
open_tiles(Tb *t, const Walk *w, TileIter *j)
{
  const TileSpan *s = &w->tiles;
  int64_t lo, hi;
  nothing_flies(t, "loop");
  Region *body = open_region(t, OP_LOOP);
  forget_barriers(t, body);
  body->span = *s;
  body->once = !w->test && i_known(s->lo, &lo) && i_known(s->hi, &hi) && hi == lo + 1;
  body->var = body->once ? s->lo : tile_loop_var(t, body);
  if (w->test)
    listed(t, w, body);
  j->loop = body;
  j->open = true;
  j->n = body->var;
  j->k0 = walk_first_key(w, j->n);
  j->is = i_int(1);
  j->masked = w_has(w, TILE_PARTIAL);
  j->partial = body->seek ? tile_ahead(body, 0, TILE_IS_PARTIAL) : w_partial(w, j->n);
  if (body->seek && w_has_whole(w))
    j->whole = tile_ahead(body, 0, TILE_IS_WHOLE);
  j->cut = j->masked && w->cut; /* a FULL one ends before `end` */
  j->in_bounds = !j->masked || w->even_k;
}

TileIter
t_tiles_begin(Tb *t, const Walk *w)
{
  TileIter j = {.walk = w};
  if (tile_in(t, OP_LOOP))
    t_fail(t, "tiles inside tiles");
  if (w_has(w, TILE_FULL) || w_has(w, TILE_PARTIAL))
    open_tiles(t, w, &j);
  return j;
}

void
tile_more(Tb *t, Walk *w, const Region *loop, Idx more)
{
  if (loop && (loop != t->here || t->here->has_more))
    t_fail(t, "a tile is told in its own loop, once");
  if (!loop) {
    w->more = more;
    return;
  }
  t->here->more = more;
  t->here->has_more = true;
}

void
t_tiles_end(Tb *t, TileIter *j)
{
  if (t->here->told && !t->here->has_more)
    t_fail(t, "a loop over tiles that are told asks for none");
  close_loop(t);
  j->open = false;
}

/* ---- roles ---- */

static int
warps_taken(const Program *p)
{
  if (!p->roles.n)
    return 0;
  const Role *r = p->roles.at[p->roles.n - 1];
  return r->first + r->teams * r->warps;
}

/* Or in the block of work that the whole kernel is. */
static bool
at_top(const Tb *t)
{
  const Region *top = t->prog->top;
  return t->here == top || (t->here->work && t->here->parent == top);
}

bool
t_role_begin(Tb *t, const RoleArgs *a)
{
  Role *r = NEW(t->arena, Role);
  if (!at_top(t) || t->vars.n)
    t_fail(t, "role %s: roles stand at the top, and share no variables", a->name);
  if (t->prog->warps_n > 1)
    t_fail(t, "role %s: warps share rows in a kernel without roles alone", a->name);
  *r = (Role){.name = a->name,
              .first = warps_taken(t->prog),
              .teams = a->teams,
              .warps = a->warps,
              .regs = a->regs};
  const ProductInfo *p = target_product(t->prog->target, true);
  if (r->first + a->teams * a->warps > t->prog->warps || r->first % p->warps)
    t_fail(t, "role %s: warps %d … %d of %d", a->name, r->first,
           r->first + a->teams * a->warps - 1, t->prog->warps);
  if (r->regs && (r->regs % 8 || r->regs < 24 || r->regs > 256 || a->warps != 4))
    t_fail(t, "role %s: %d registers", a->name, r->regs);
  r->bar = tile_bars(t, a->teams + (a->teams > 1));
  *vec_push(t->arena, &t->prog->roles) = r;
  open_region(t, OP_ROLE)->role = r;
  return true;
}

static Region *
open_warp(Tb *t, int warp)
{
  const Role *r = tile_role(t);
  if (!r || r->teams != 1 || warp < 0 || warp >= r->warps)
    t_fail(t, "warp %d is none of a role with one team", warp);
  Region *own = open_region(t, OP_WARP);
  own->warp = warp;
  return own;
}

bool
t_warp_begin(Tb *t, int warp)
{
  open_warp(t, warp);
  return true;
}

bool
t_whole_warp_begin(Tb *t, int warp)
{
  open_warp(t, warp)->whole = true;
  return true;
}

/* Of a role or warp: where it ends nothing is held, and its variables end with it. */
bool
t_region_end(Tb *t)
{
  const Entry *e = t->entry;
  if (!e || (e->region->kind != OP_ROLE && e->region->kind != OP_WARP))
    t_fail(t, "a role or warp ends inside another region");
  rings_as_found(t, e);
  close_region(t);
  return false;
}

/* ---- branches ---- */

enum { IF_PLAIN = 1, IF_REGION };

int
t_if_begin(Tb *t, Idx cond)
{
  int64_t k;
  if (i_known(cond, &k))
    return k ? IF_PLAIN : 0;
  open_region(t, OP_IF)->cond = cond;
  return IF_REGION;
}

int
t_rare_begin(Tb *t, Idx cond)
{
  int how = t_if_begin(t, cond);
  if (how == IF_REGION)
    t->here->rare = true;
  return how;
}

int
t_work_begin(Tb *t, Idx cond)
{
  if (tile_in(t, OP_LOOP))
    t_fail(t, "a block of work inside tiles");
  int how = t_if_begin(t, cond);
  if (how == IF_REGION)
    t->here->work = true;
  return how;
}

int
t_partial_begin(Tb *t, TileIter j)
{
  int how = t_if_begin(t, j.partial);
  if (how == IF_REGION)
    t->here->partial = true;
  return how;
}

int
t_if_end(Tb *t, int how)
{
  if (how != IF_REGION)
    return 0;
  if (t->here->work) {
    close_work(t);
    return 0;
  }
  rings_as_found(t, t->entry);
  close_region(t);
  return 0;
}

/* ---- counted loops ---- */

ForState
t_for_begin(Tb *t, Span s)
{
  int64_t trips;
  ForState f = {.open = true, .fresh = true};
  if (i_known(i_sub(s.hi, s.lo), &trips) && i_known(s.step, &(int64_t){0}) && trips == 1) {
    f.i = s.lo;
    return f;
  }
  nothing_flies(t, "loop");
  Region *body = open_region(t, OP_FOR);
  forget_barriers(t, body);
  body->loop = s;
  body->var = tile_loop_var(t, body);
  f.i = body->var;
  f.region = true;
  return f;
}

static bool
asks_for_next(const Region *r)
{
  int64_t step;
  return r->kind == OP_FOR && i_known(r->loop.step, &step) && step == 0;
}

void
t_for_next(Tb *t, Idx next)
{
  if (!asks_for_next(t->here) || t->here->has_next)
    t_fail(t, "for_next: no loop that asks for it is open here");
  t->here->next = next;
  t->here->has_next = true;
}

void
t_for_end(Tb *t, ForState *f)
{
  if (f->region && asks_for_next(t->here) && !t->here->has_next)
    t_fail(t, "a loop of step 0 does not say what comes next");
  if (f->region)
    close_loop(t);
  f->open = false;
}
