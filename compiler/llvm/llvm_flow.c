/* Loops, roles and branches: blocks and phis, from what the regions carry. */
#include "compiler/llvm/llvm_lower.h"

/* What is computed from here on is hoisted to here; quotients stay. */
static void
hoist_anew(Lo *lo)
{
  LLVMBasicBlockRef next = new_block(lo, "");
  V br = LLVMBuildBr(lo->b, next);
  lo->hoist_at = br;
  LLVMPositionBuilderBefore(lo->hb, br);
  LLVMPositionBuilderAtEnd(lo->b, next);
  lo->epoch++;
  lo->late++;
  lo->n_memo = 0;
}

void
hoist_here(Lo *lo)
{
  hoist_anew(lo);
  lo->quotients = lo->epoch;
}

/* ---- what of the rings a region moves ---- */

typedef struct Moves {
  V **at; /* the lowering's own variables */
  int n;
} Moves;

static bool
region_has(const Region *r, OpKind kind, const Ring *ring)
{
  for (const Op *op = r->first; op; op = op->next)
    if ((op->kind == kind && op->ring == ring) ||
        (op->body && region_has(op->body, kind, ring)))
      return true;
  return false;
}

/* Stage and parity of where it is filled, and of where it is read. */
enum { MOVES_OF_A_RING = 4 };

static void
add_move(Moves *m, V *v)
{
  if (*v)
    m->at[m->n++] = v;
}

static Moves
moves(Lo *lo, const Region *r)
{
  int most = 0;
  for (int i = 0; i < lo->p->rings.n; i++)
    most += MOVES_OF_A_RING + lo->staged[lo->p->rings.at[i]->id].n;
  Moves m = {.at = NEW_N(lo->arena, V *, most)};
  for (int i = 0; i < lo->p->rings.n; i++) {
    const Ring *ring = lo->p->rings.at[i];
    const Staged *staged = &lo->staged[ring->id];
    RingPos *pos[2] = {&lo->produce[ring->id], &lo->consume[ring->id]};
    bool used[2] = {region_has(r, OP_PRODUCER_LOAD, ring) ||
                        region_has(r, OP_PRODUCER_LEND, ring),
                    region_has(r, OP_CONSUMER_WAIT, ring)};
    if (ring->fill == FILL_COPY && ring->mem.stages > 1)
      add_move(&m, &lo->ring[ring->id]);
    for (int j = 0; (used[0] || used[1]) && j < staged->n; j++)
      add_move(&m, &staged->reg[j]);
    for (int k = 0; k < 2 && fill_is_guarded(ring->fill); k++) {
      if (!used[k])
        continue;
      add_move(&m, &pos[k]->stage);
      add_move(&m, &pos[k]->parity);
    }
  }
  return m;
}

/* ---- loops ---- */

typedef struct Loop {
  const Region *r;
  LLVMBasicBlockRef pre, body, exit;
  Moves moves;
  V *before, *phi; /* of the moves */
  V **carry;       /* phis of what the region carries; NULL: an alias */
  V n_phi;
} Loop;

static void
body_phis(Lo *lo, Loop *l)
{
  l->carry = NEW_N(lo->arena, V *, l->r->n_carry);
  for (int i = 0; i < l->r->n_carry; i++) {
    const Carry *c = &l->r->carry[i];
    int n;
    V *init = lo->vals[c->init->id];
    if (c->yield == c->arg) { /* never assigned: an alias */
      lo->vals[c->arg->id] = lo->vals[c->result->id] = init;
      continue;
    }
    V *arg = l->carry[i] = lower_regs(lo, c->arg, &n);
    for (int j = 0; j < n; j++)
      arg[j] = phi_of(lo, LLVMTypeOf(init[j]), init[j], l->pre);
  }
  l->moves = moves(lo, l->r);
  l->before = NEW_N(lo->arena, V, l->moves.n);
  l->phi = NEW_N(lo->arena, V, l->moves.n);
  for (int i = 0; i < l->moves.n; i++) {
    V *v = l->moves.at[i];
    l->before[i] = *v;
    *v = l->phi[i] = phi_of(lo, lo->i32, *v, l->pre);
  }
}

/* What each phi gets over the back edge, and what leaves the loop. */
static void
close_carry(Lo *lo, const Loop *l, int i, LLVMBasicBlockRef latch)
{
  int n;
  const Carry *c = &l->r->carry[i];
  V *arg = l->carry[i], *yield = lo->vals[c->yield->id];
  if (!arg)
    return;
  V *init = lo->vals[c->init->id], *out = lower_regs(lo, c->result, &n);
  for (int j = 0; j < n; j++) {
    LLVMAddIncoming(arg[j], &yield[j], &latch, 1);
    out[j] = phi_of(lo, LLVMTypeOf(init[j]), init[j], l->pre);
    LLVMAddIncoming(out[j], &yield[j], &latch, 1);
  }
}

static void
close_moves(Lo *lo, const Loop *l, LLVMBasicBlockRef latch)
{
  for (int i = 0; i < l->moves.n; i++) {
    V *v = l->moves.at[i], now = *v;
    LLVMAddIncoming(l->phi[i], &now, &latch, 1);
    *v = phi_of(lo, lo->i32, l->before[i], l->pre);
    LLVMAddIncoming(*v, &now, &latch, 1);
  }
}

/* Opens: a trip is made while `more`; the counter starts at `start`. */
static void
open_loop(Lo *lo, Loop *l, V more, V start)
{
  l->body = new_block(lo, "loop");
  l->exit = new_block(lo, "done");
  LLVMBuildCondBr(lo->b, more, l->body, l->exit);
  l->pre = LLVMGetInsertBlock(lo->b);
  LLVMPositionBuilderAtEnd(lo->b, l->body);
  l->n_phi = phi_of(lo, lo->i32, start, l->pre);
  lo->loop_var[l->r->id] = l->n_phi;
  body_phis(lo, l);
  lo->late++;
}

static void
close_loop(Lo *lo, Loop *l, V next, V more)
{
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
  LLVMAddIncoming(l->n_phi, &next, &latch, 1);
  no_unrolling(lo, LLVMBuildCondBr(lo->b, more, l->body, l->exit));
  LLVMPositionBuilderAtEnd(lo->b, l->exit);
  for (int i = 0; i < l->r->n_carry; i++)
    close_carry(lo, l, i, latch);
  close_moves(lo, l, latch);
  lo->late++;
}

/* Tiles are visited from the highest down. */
static void
lower_tiles(Lo *lo, const Region *r)
{
  Loop l = {.r = r};
  V from = idx_value(lo, r->span.lo), to = idx_value(lo, r->span.hi);
  V last = LLVMBuildSub(lo->b, to, k32(lo, 1), "");
  V any = LLVMBuildICmp(lo->b, LLVMIntSLT, from, to, "");
  open_loop(lo, &l, any, last);
  int outer = lo->loop_id;
  lo->loop_id = r->id;
  lower_region(lo, r);
  lo->loop_id = outer;
  V next = LLVMBuildSub(lo->b, l.n_phi, k32(lo, 1), "");
  V more = LLVMBuildICmp(lo->b, LLVMIntSGE, next, from, "");
  close_loop(lo, &l, next, more);
}

/* What of a search its loop carries. */
static void
carry_search(Lo *lo, Seek *from, V *phi, LLVMBasicBlockRef pre)
{
  for (int i = 0; i < seek_state(from); i++)
    phi[i] = from->state[i] = phi_of(lo, lo->i32, from->state[i], pre);
}

/* Words of the tiles that are known, from that of the last trip on. */
static void
carry_words(Lo *lo, const Region *r, const Loop *l)
{
  Seek *mine = &lo->seek[r->id], *from = &lo->seek[r->seek->id];
  V *word = mine->word + 1, before = from->found[r->skip ? r->skip - 1 : 0];
  word[-1] = phi_of(lo, lo->i32, before, l->pre);
  word[0] = l->n_phi;
  for (int i = 1; i <= r->ahead; i++)
    word[i] = phi_of(lo, lo->i32, from->found[r->skip + i], l->pre);
}

/* Tiles that a search finds, `ahead` of them known in advance. */
static void
lower_listed(Lo *lo, const Region *r)
{
  Loop l = {.r = r};
  Seek *mine = &lo->seek[r->id], *from = &lo->seek[r->seek->id];
  V *word = mine->word + 1, phi[SEEK_STATE], first = from->found[r->skip];
  mine->end = seek_end(lo, r->seek);
  mine->of = r->seek;
  V any = LLVMBuildICmp(lo->b, LLVMIntSLE, mine->end, first, "");
  open_loop(lo, &l, any, first);
  carry_words(lo, r, &l);
  carry_search(lo, from, phi, l.pre);
  lo->loop_var[r->id] = seek_tile(lo, r->seek, l.n_phi);
  int outer = lo->loop_id;
  lo->loop_id = r->id;
  lower_region(lo, r);
  lo->loop_id = outer;
  V after = seek_next(lo, r->seek);
  LLVMBasicBlockRef latch = LLVMGetInsertBlock(lo->b);
  V now = r->ahead ? word[1] : after;
  for (int i = 1; i <= r->ahead; i++)
    LLVMAddIncoming(word[i], i < r->ahead ? &word[i + 1] : &after, &latch, 1);
  LLVMAddIncoming(word[-1], &l.n_phi, &latch, 1);
  for (int i = 0; i < seek_state(from); i++)
    LLVMAddIncoming(phi[i], &from->state[i], &latch, 1);
  V more = LLVMBuildICmp(lo->b, LLVMIntSLE, mine->end, now, "");
  V before = from->found[r->skip ? r->skip - 1 : 0];
  close_loop(lo, &l, now, more);
  V visited = phi_of(lo, lo->i32, before, l.pre);
  LLVMAddIncoming(visited, &l.n_phi, &latch, 1);
  lo->found[r->visited.node->n] = seek_tile(lo, r->seek, visited);
}

/* Tiles that another role chooses. */
static void
lower_told(Lo *lo, const Region *r)
{
  Loop l = {.r = r};
  V first = as_bit(lo, idx_value(lo, r->entered));
  open_loop(lo, &l, first, k32(lo, 0));
  int outer = lo->loop_id;
  lo->loop_id = r->id;
  lower_region(lo, r);
  V more = as_bit(lo, idx_value(lo, r->more));
  lo->loop_id = outer;
  close_loop(lo, &l, k32(lo, 0), more);
}

/* Scores that one block of work leaves to the next stay whole: a mask known at compile time
 * would have LLVM drop the columns that it hides, and a product that is kept in part
 * serialises all of them (C7511). */
static void
keep_whole(Lo *lo, const Region *r)
{
  for (int i = 0; i < r->n_carry; i++) {
    const Carry *c = &r->carry[i];
    if (c->yield != c->arg && c->arg->ty == DT_F32 && c->arg->lay == LAY_FRAG)
      lower_tie(lo, c->arg);
  }
}

/* From 0 or more, upwards: what comes after the last may be past 2^31, and is compared as
 * what it is then. */
static bool
counts_up(const Span *s)
{
  return idx_nonneg(s->lo) && idx_nonneg(s->hi) && idx_nonneg(s->step);
}

/* What comes behind i, and where the loop ends. */
static V
behind(Lo *lo, const Region *r, V i, V *end)
{
  V step = r->has_next ? NULL : idx_value(lo, r->loop.step);
  *end = idx_value(lo, r->loop.hi);
  return step ? LLVMBuildAdd(lo->b, i, step, "") : idx_value(lo, r->next);
}

/* A block of work a trip: what it needs is computed at its start, and not kept. */
static void
lower_for(Lo *lo, const Region *r)
{
  Loop l = {.r = r};
  V from = idx_value(lo, r->loop.lo), to = idx_value(lo, r->loop.hi);
  V any = LLVMBuildICmp(lo->b, LLVMIntSLT, from, to, "");
  open_loop(lo, &l, any, from);
  hoist_here(lo);
  keep_whole(lo, r);
  lower_region(lo, r);
  hoist_here(lo);
  V end, next = behind(lo, r, l.n_phi, &end);
  V more =
      LLVMBuildICmp(lo->b, counts_up(&r->loop) ? LLVMIntULT : LLVMIntSLT, next, end, "");
  close_loop(lo, &l, next, more);
  hoist_here(lo);
}

static void
lower_once(Lo *lo, const Region *r)
{
  for (int i = 0; i < r->n_carry; i++)
    lo->vals[r->carry[i].arg->id] = lo->vals[r->carry[i].init->id];
  lower_region(lo, r);
  for (int i = 0; i < r->n_carry; i++)
    lo->vals[r->carry[i].result->id] = lo->vals[r->carry[i].yield->id];
}

/* ---- branches ---- */

static void
merge_carry(Lo *lo, const Carry *c, LLVMBasicBlockRef before, LLVMBasicBlockRef after)
{
  int n;
  if (c->yield == c->init)
    return;
  V *init = lo->vals[c->init->id], *yield = lo->vals[c->yield->id];
  V *out = lower_regs(lo, c->result, &n);
  for (int j = 0; j < n; j++) {
    out[j] = phi_of(lo, LLVMTypeOf(init[j]), init[j], before);
    LLVMAddIncoming(out[j], &yield[j], &after, 1);
  }
}

static void
lower_if(Lo *lo, const Region *r)
{
  LLVMBasicBlockRef yes = new_block(lo, "then"), on = new_block(lo, "on");
  V c = as_bit(lo, idx_value(lo, r->cond));
  V branch = LLVMBuildCondBr(lo->b, c, yes, on);
  if (r->rare)
    hardly_ever(lo, branch);
  LLVMBasicBlockRef before = LLVMGetInsertBlock(lo->b);
  LLVMPositionBuilderAtEnd(lo->b, yes);
  if (r->work)
    hoist_here(lo);
  Moves m = moves(lo, r); /* a branch may produce and consume: the positions are merged */
  V *was = NEW_N(lo->arena, V, m.n);
  for (int i = 0; i < m.n; i++)
    was[i] = *m.at[i];
  lower_region(lo, r);
  LLVMBasicBlockRef after = LLVMGetInsertBlock(lo->b);
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  for (int i = 0; i < r->n_carry; i++)
    merge_carry(lo, &r->carry[i], before, after);
  for (int i = 0; i < m.n; i++) {
    V now = *m.at[i];
    *m.at[i] = phi_of(lo, lo->i32, was[i], before);
    LLVMAddIncoming(*m.at[i], &now, &after, 1);
  }
  lo->late++;
  if (r->work)
    hoist_here(lo);
}

/* ---- roles ---- */

/* Positions of a role in rings that others fill or empty: a fresh empty barrier lets the
 * first load of each stage pass, which is parity 1. */
static void
reset_rings(Lo *lo)
{
  for (int i = 0; i < lo->p->rings.n; i++) {
    const Ring *r = lo->p->rings.at[i];
    V stage = r->mem.stages > 1 ? k32(lo, 0) : NULL;
    lo->produce[r->id] = (RingPos){.stage = stage, .parity = k32(lo, 1)};
    lo->consume[r->id] = (RingPos){.stage = stage, .parity = k32(lo, 0)};
  }
}

static void
set_registers(Lo *lo, const Role *r)
{
  int before = tile_entry_regs(lo->p);
  if (!r->regs)
    return;
  const char *text = arena_printf(lo->arena, "setmaxnreg.%s.sync.aligned.u32 %d;",
                                  r->regs > before ? "inc" : "dec", r->regs);
  asm_call(lo, ASM_MEMORY, text, "", NULL, 0, lo->none, NULL, 0);
}

/* What is divided once for all of a role is divided here. */
static void
role_begins(Lo *lo)
{
  lo->role_at = lo->hoist_at;
  lo->role_epoch = lo->epoch;
  for (int i = 0; i <= lo->p->idx.nodes.n; i++)
    lo->reciprocal[i] = lo->quotient[i] = NULL;
}

/* if (warp is one of mine) { body } and on: the roles stand one behind the other. */
static void
lower_role(Lo *lo, const Region *r)
{
  const Role *role = r->role;
  lower_setup(lo);
  LLVMBasicBlockRef mine = new_block(lo, role->name), on = new_block(lo, "on");
  V warp = lane_value(lo, LANE_WARPS);
  V at = LLVMBuildSub(lo->b, warp, k32(lo, role->first), "");
  V is = LLVMBuildICmp(lo->b, LLVMIntULT, at, k32(lo, role->teams * role->warps), "");
  LLVMBuildCondBr(lo->b, is, mine, on);
  LLVMPositionBuilderAtEnd(lo->b, mine);
  lo->role = role;
  reset_rings(lo);
  set_registers(lo, role);
  hoist_here(lo);
  role_begins(lo);
  lower_region(lo, r);
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  lo->role = NULL;
  hoist_here(lo);
}

static V
elect(Lo *lo)
{
  V elected =
      asm_1(lo, ASM_EFFECT, "{ .reg .pred p; elect.sync _|p, -1; selp.b32 $0, 1, 0, p; }",
            "=r", lo->i32, NULL, 0);
  return LLVMBuildICmp(lo->b, LLVMIntNE, elected, k32(lo, 0), "");
}

/* All lanes: what one does stands behind lo->one. */
static void
lower_whole_warp(Lo *lo, const Region *r)
{
  LLVMBasicBlockRef mine = new_block(lo, "warp"), on = new_block(lo, "on");
  V warp = lane_value(lo, LANE_WARPS);
  V is = LLVMBuildICmp(lo->b, LLVMIntEQ, warp, k32(lo, lo->role->first + r->warp), "");
  LLVMBuildCondBr(lo->b, is, mine, on);
  LLVMPositionBuilderAtEnd(lo->b, mine);
  lo->one = elect(lo);
  hoist_here(lo);
  lower_region(lo, r);
  lo->one = NULL;
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  hoist_here(lo);
}

static void
lower_warp(Lo *lo, const Region *r)
{
  LLVMBasicBlockRef ask = new_block(lo, "warp"), mine = new_block(lo, "lane"),
                    on = new_block(lo, "on");
  V warp = lane_value(lo, LANE_WARPS);
  V is = LLVMBuildICmp(lo->b, LLVMIntEQ, warp, k32(lo, lo->role->first + r->warp), "");
  LLVMBuildCondBr(lo->b, is, ask, on);
  LLVMPositionBuilderAtEnd(lo->b, ask);
  LLVMBuildCondBr(lo->b, elect(lo), mine, on);
  LLVMPositionBuilderAtEnd(lo->b, mine);
  hoist_here(lo);
  lower_region(lo, r);
  LLVMBuildBr(lo->b, on);
  LLVMPositionBuilderAtEnd(lo->b, on);
  hoist_here(lo);
}

void
lower_flow(Lo *lo, const Region *r)
{
  switch (r->kind) {
  case OP_FOR:
    lower_for(lo, r);
    break;
  case OP_ROLE:
    lower_role(lo, r);
    break;
  case OP_WARP:
    (r->whole ? lower_whole_warp : lower_warp)(lo, r);
    break;
  case OP_IF:
    lower_if(lo, r);
    break;
  case OP_SEEK:
    lower_seek(lo, r);
    break;
  case OP_LOOP:
    if (r->once)
      lower_once(lo, r);
    else if (r->told)
      lower_told(lo, r);
    else if (r->seek)
      lower_listed(lo, r);
    else
      lower_tiles(lo, r);
    hoist_anew(lo);
    break;
  default:
    lower_fail(lo, "operation %d opens no region", (int)r->kind);
  }
}
