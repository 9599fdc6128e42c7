#include "emulator/exec/calls.h"
#include "emulator/exec/steps.h"

/* ---- branches ---- */

/* The side with the lower pc runs on. */
Stop
step_bra(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  int next = w->pc + 1;
  uint32_t rest = w->active & ~mask;
  if (rest && i->bra.uni)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "divergent-uni", -1,
                        "bra.uni is taken by lanes %08x of %08x", mask, w->active);
  if (!rest) {
    w->pc = i->target;
  } else if (i->target < next) {
    exec_park(w, next, rest, false);
    w->pc = i->target;
    w->active = mask;
  } else {
    exec_park(w, i->target, mask, false);
    w->pc = next;
    w->active = rest;
  }
  return JUMPED;
}

Stop
step_brx(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *index = row32(w, i->a);
  const uint32_t *to = x->kernel->lists + i->list;
  for (int l = 0; l < LANES; l++) {
    if (!(mask >> l & 1))
      continue;
    if (index[l] >= i->n_d)
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "branch-index", l,
                          "index %u of %u branch targets", index[l], i->n_d);
    exec_park(w, (int)to[index[l]], 1u << l, false);
  }
  /* The lanes whose guard is false, if any, are the group that runs on; the loop takes the
   * lowest at the next leader, which pc + 1 is. */
  w->active &= ~mask;
  if (w->active)
    w->pc++;
  else
    exec_take(w);
  return JUMPED;
}

static void
wake_groups(Warp *w)
{
  for (int j = 0; j < w->n_parked; j++)
    w->parked[j].waiting = w->parked[j].tried = false;
}

Stop
step_exit(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)i;
  w->live &= ~mask;
  w->active &= ~mask;
  if (w->calls)
    calls_exit(w, mask);
  cluster_exit(x);
  if (!w->live)
    return DONE;
  wake_groups(w);
  if (w->active)
    return GO;
  exec_take(w);
  return JUMPED;
}

Stop
step_trap(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  if (i->trap.breakpoint)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "breakpoint",
                        __builtin_ctz(mask), "the kernel stopped for a debugger");
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "trap", __builtin_ctz(mask),
                      "the kernel trapped");
}

/* ---- barriers ---- */

static Stop
misuse(Exec *x, Warp *w, const Insn *i, const char *what, uint32_t value)
{
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "barrier-misuse", -1, "%s (%u)",
                      what, value);
}

/* PTX ISA, bar: .aligned needs all threads of the warp.  Exited ones are tolerated by
 * chips; the finding tells. */
static Stop
whole_warp(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  if (mask != w->live)
    return w->active != w->live
               ? PARK
               : report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "partial-warp", -1,
                              "only lanes %08x of %08x come to the barrier", mask, w->live);
  if (w->live != w->born)
    report_error(x, w, i, "barrier-divergence", -1,
                 "lanes %08x have exited before this barrier", w->born & ~w->live);
  return GO;
}

static bool
uniform(const uint32_t *row, uint32_t mask, uint32_t *value)
{
  *value = row[__builtin_ctz(mask)];
  for (int l = 0; l < LANES; l++)
    if ((mask >> l & 1) && row[l] != *value)
      return false;
  return true;
}

/* The barrier and how many threads it waits for. */
static Stop
find_barrier(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t *id,
             uint32_t *threads)
{
  if (!uniform(row32(w, i->a), mask, id) || !uniform(row32(w, i->b), mask, threads))
    return misuse(x, w, i, "the barrier's operands differ between lanes; warp",
                  (uint32_t)w->id);
  if (*id >= MAX_BARRIERS)
    return misuse(x, w, i, "there are 16 barriers; the number is", *id);
  if (!i->bar.counted)
    *threads = (uint32_t)w->cta->n_warps * LANES;
  if (!*threads || *threads % LANES || *threads > (uint32_t)w->cta->n_warps * LANES)
    return misuse(x, w, i, "a barrier of an impossible number of threads", *threads);
  return GO;
}

/* A barrier counts, and what a warp arrived for earlier counts when it waits too: so does
 * the last warp of CUTLASS's epilogues, and so FlashAttention-3's first warpgroup takes its
 * first turn.  Two bar.arrive of a warp in one phase are taken for a mistake: who waits has
 * missed the first. */
static Stop
arrive(Exec *x, Warp *w, const Insn *i, uint32_t id, uint32_t threads, bool waits)
{
  Barrier *b = &w->cta->barrier[id];
  uint32_t me = 1u << w->id;
  if (!b->arrived) {
    b->expected = threads;
    b->line = i->line;
  } else if (b->expected != threads) {
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "barrier-misuse", -1,
                        "barrier %u is awaited by %u threads here and by %u at line %d", id,
                        threads, b->expected, b->line);
  }
  if (b->members & me && !waits)
    return misuse(x, w, i, "the warp arrives twice before barrier is complete", id);
  b->members |= me;
  b->arrived += LANES;
  x->barriers++;
  shadow_arrive(w->cta->shadow, w->id, (int)id);
  return GO;
}

/* The result of bar.red, written into a warp that waits (its pc is past it) or just came.
 */
static void
give_result(Exec *x, Warp *w, const Insn *i, const Barrier *b)
{
  uint32_t lanes[LANES], mask = w->active;
  bool holds = i->bar.red == R_AND ? b->votes == b->voters : b->votes != 0;
  for (int l = 0; l < LANES; l++)
    lanes[l] = b->votes;
  if (i->bar.red == R_POPC)
    exec_put32(x, w, i->d, lanes, mask);
  else
    w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (holds ? mask : 0);
}

static void
complete(Exec *x, Cta *c, uint32_t id, uint32_t synced)
{
  Barrier *b = &c->barrier[id];
  shadow_release(c->shadow, (int)id, b->waiting | synced);
  for (int j = 0; j < c->n_warps; j++)
    if (b->waiting >> j & 1) {
      Warp *w = &c->warp[j];
      const Insn *at = &x->kernel->code[w->pc - 1];
      w->barrier = -1;
      if (at->step == step_bar_red)
        give_result(x, w, at, b);
    }
  *b = (Barrier){0};
}

static Stop
sync(Exec *x, Warp *w, const Insn *i, uint32_t id, bool waits)
{
  Barrier *b = &w->cta->barrier[id];
  if (b->arrived == b->expected) {
    if (i->step == step_bar_red)
      give_result(x, w, i, b);
    complete(x, w->cta, id, waits ? 1u << w->id : 0);
    return GO;
  }
  if (!waits)
    return GO;
  b->waiting |= 1u << w->id;
  w->barrier = (int)id;
  w->pc++;
  return BLOCK;
}

Stop
step_bar(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t id, threads;
  Stop s = whole_warp(x, w, i, mask);
  if (s == GO)
    s = find_barrier(x, w, i, mask, &id, &threads);
  if (s == GO)
    s = arrive(x, w, i, id, threads, i->bar.mode == B_SYNC);
  return s == GO ? sync(x, w, i, id, i->bar.mode == B_SYNC) : s;
}

Stop
step_bar_red(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t id, threads;
  Stop s = whole_warp(x, w, i, mask);
  if (s == GO)
    s = find_barrier(x, w, i, mask, &id, &threads);
  if (s == GO)
    s = arrive(x, w, i, id, threads, true);
  if (s != GO)
    return s;
  uint32_t p = w->pred[i->ps] ^ (i->ps_not ? FULL : 0);
  w->cta->barrier[id].votes += (uint32_t)__builtin_popcount(p & mask);
  w->cta->barrier[id].voters += (uint32_t)__builtin_popcount(mask);
  return sync(x, w, i, id, true);
}

Stop
step_fence(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)x;
  (void)mask;
  atomic_thread_fence(memory_order_seq_cst);
  shadow_lanes_met(w->cta->shadow, w->id, 0, true);
  shadow_fence(w->cta->shadow, w->id, i->mem.order);
  return GO;
}
