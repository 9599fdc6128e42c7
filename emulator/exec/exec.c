#include "emulator/exec/calls.h"
#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <string.h>

/* ---- groups of lanes ---- */

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
