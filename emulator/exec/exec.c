#include "emulator/exec/calls.h"
#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <string.h>

/* Regroupings without a merge after which groups take turns: a lane that waits for another
 * of its warp in a loop would keep it from ever coming. */
enum { SPINS = 4096 };

const uint32_t *
exec_expand(Exec *x, uint32_t mask)
{
  if (x->blend_mask != mask) {
    x->code->expand(x->blend, mask);
    x->blend_mask = mask;
  }
  return x->blend;
}

void
exec_put32(Exec *x, Warp *w, uint32_t row, const uint32_t *lanes, uint32_t mask)
{
  uint32_t *d = row32(w, row);
  if (mask == FULL)
    memcpy(d, lanes, LANES * sizeof *d);
  else
    x->code->blend32(d, lanes, exec_expand(x, mask));
}

void
exec_put64(Exec *x, Warp *w, uint32_t row, const uint64_t *lanes, uint32_t mask)
{
  uint64_t *d = row64(w, row);
  if (mask == FULL)
    memcpy(d, lanes, LANES * sizeof *d);
  else
    x->code->blend64(d, lanes, exec_expand(x, mask));
}

/* ---- waiting ---- */

void
exec_wake(Exec *x, Cta *c)
{
  x->asked = 0;
  for (int j = 0; j < c->n_warps; j++) {
    c->warp[j].stalled = false;
    c->warp[j].failed = 0;
  }
}

/* ---- groups of lanes ---- */

static void
park_in(Warp *w, Frame *frame, int pc, uint32_t mask, bool waiting)
{
  for (int i = 0; i < w->n_parked; i++)
    if (w->parked[i].pc == pc && w->parked[i].frame == frame) {
      w->parked[i].mask |= mask;
      w->parked[i].waiting = w->parked[i].tried = false;
      w->spins = 0;
      return;
    }
  w->parked[w->n_parked++] =
      (Group){pc, mask, waiting, w->mixed && waiting, frame, w->executed};
}

/* Each with those of its own frame. */
void
exec_park(Warp *w, int pc, uint32_t mask, bool waiting)
{
  while (w->mixed && mask) {
    uint32_t own;
    Frame *frame = calls_frame(w, mask, &own);
    park_in(w, frame, pc, own, waiting);
    mask &= ~own;
  }
  if (mask)
    park_in(w, w->frame, pc, mask, waiting);
}

/* The one that is least far, as if calls were the text of what they call; in turns, who has
 * not run for longest; -1: all wait. */
static int
choose(const Warp *w)
{
  int best = -1;
  bool turns = w->spins > SPINS;
  for (int i = 0; i < w->n_parked; i++) {
    const Group *g = &w->parked[i], *b = &w->parked[best < 0 ? i : best];
    bool before = g->frame == b->frame ? g->pc < b->pc : calls_before(g, b);
    if (!g->waiting && (best < 0 || (turns ? g->since < b->since : before)))
      best = i;
  }
  return best;
}

static void
take(Warp *w, int i)
{
  w->pc = w->parked[i].pc;
  w->active = w->parked[i].mask;
  w->frame = w->parked[i].frame;
  w->mixed = false;
  w->parked[i] = w->parked[--w->n_parked];
}

bool
exec_take(Warp *w)
{
  int i = w->n_parked ? choose(w) : -1;
  if (i >= 0)
    take(w, i);
  return i >= 0;
}

/* The current group joins the others, and one is taken to run; false: none can. */
static bool
regroup(Warp *w, bool waiting)
{
  exec_park(w, w->pc, w->active, waiting);
  w->active = 0;
  w->spins++;
  return exec_take(w);
}

static Stop
stuck(Exec *x, Warp *w)
{
  const Group *g = &w->parked[0];
  for (int i = 1; i < w->n_parked; i++)
    if (w->parked[i].pc < g->pc)
      g = &w->parked[i];
  const Insn *i = &x->kernel->code[g->pc];
  int other = 0;
  for (int j = 0; j < w->n_parked; j++)
    if (&w->parked[j] != g)
      other = x->kernel->code[w->parked[j].pc].line;
  if (other)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "partial-warp", -1,
                        "lanes %08x wait here for others of their warp, which wait at "
                        "line %d",
                        g->mask, other);
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "partial-warp", -1,
                      "lanes %08x wait here for others of their warp, which have exited",
                      g->mask);
}

Stop
exec_block(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t waits_for)
{
  ShadowCount *count = &shadow_counts(w->cta->shadow)[i - x->kernel->code];
  count->count--;
  count->threads -= (uint32_t)__builtin_popcount(mask);
  w->stalled = true;
  w->stalled_line = i->line;
  w->waits_for = waits_for;
  return BLOCK;
}

/* ---- undefined registers ---- */

/* Where all sources are defined the destinations are, from now on. */
static inline void
track(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t *def = w->def, *pdef = w->pdef;
  uint32_t ok = def[i->a] & def[i->b] & def[i->c] & pdef[i->ps] & pdef[i->pt];
  const uint32_t *list = x->kernel->lists + i->list;
  for (int j = i->n_d; j < i->n_d + i->n_s; j++)
    ok &= def[list[j]];
  if ((mask & ~ok) | (w->active & ~pdef[i->guard])) {
    undefined_step(x, w, i, mask);
    return;
  }
  def[i->d] |= mask;
  pdef[i->pd] |= mask;
  pdef[i->pq] |= mask;
  for (int j = 0; j < i->n_d; j++)
    def[list[j]] |= mask;
}

/* ---- the loop ---- */

static inline void
run_lane(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const void *a = row32(w, i->a), *b = row32(w, i->b), *c = row32(w, i->c);
  if (mask == FULL) {
    i->op.fn(&i->op, row32(w, i->d), a, b, c);
    return;
  }
  _Alignas(64) uint64_t result[LANES];
  i->op.fn(&i->op, result, a, b, c);
  const uint32_t *k = exec_expand(x, mask);
  if (i->flags & F_WIDE)
    x->code->blend64(row64(w, i->d), result, k);
  else
    x->code->blend32(row32(w, i->d), (const uint32_t *)(const void *)result, k);
}

static inline uint32_t
combine(uint8_t how, uint32_t p, uint32_t q)
{
  return how == COMBINE_AND ? p & q : how == COMBINE_OR ? p | q : p ^ q;
}

static inline void
run_compare(Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t p = i->compare(row32(w, i->a), row32(w, i->b)), q = ~p;
  if (i->cmp.combine) {
    uint32_t s = w->pred[i->ps] ^ (i->ps_not ? FULL : 0);
    p = combine(i->cmp.combine, p, s);
    q = combine(i->cmp.combine, q, s);
  }
  w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (p & mask);
  w->pred[i->pq] = (w->pred[i->pq] & ~mask) | (q & mask);
}

static inline Stop
run_one(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  switch ((InsnKind)i->kind) {
  case K_LANE:
    run_lane(x, w, i, mask);
    return GO;
  case K_COMPARE:
    run_compare(w, i, mask);
    return GO;
  case K_STEP:
    break;
  }
  return i->step(x, w, i, mask);
}

static inline uint32_t
lanes_in(uint32_t mask)
{
  return mask == FULL ? LANES : (uint32_t)__builtin_popcount(mask);
}

Stop
exec_warp(Exec *x, Warp *w)
{
  const Insn *code = x->kernel->code;
  ShadowCount *counts = shadow_counts(w->cta->shadow);
  for (; x->slice; x->slice--) {
    const Insn *i = &code[w->pc];
    if ((i->flags & F_LEADER) && w->n_parked && !calls_met(w)) {
      if (!regroup(w, false) && !calls_meet(w))
        return stuck(x, w);
      i = &code[w->pc];
    }
    uint32_t guard = w->pred[i->guard] ^ (i->flags & F_GUARD_NOT ? FULL : 0);
    uint32_t mask = w->active & guard;
    ShadowCount *count = &counts[i - code];
    count->count++;
    count->threads += lanes_in(mask);
    w->executed++;
    track(x, w, i, mask);
    if (w->wgmma && mask)
      wgmma_touch(x, w, i);
    Stop stop = mask ? run_one(x, w, i, mask) : GO;
    if (stop == GO) {
      w->pc++;
    } else if (stop == PARK) {
      count->count--;
      count->threads -= lanes_in(mask);
      if (!regroup(w, true) && !calls_meet(w))
        return stuck(x, w);
    } else if (stop != JUMPED) {
      return stop;
    }
  }
  return SLICE;
}
