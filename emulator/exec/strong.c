/* Strong loads and stores of device memory (PTX ISA, "Memory consistency model"): one lane
 * after another, each told to the shadow as it happens, so that what they order goes the
 * way of the values, whatever other host threads do. */
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <string.h>

StrongLane
strong_hold(Exec *x, Warp *w, const Reach *r, int lane)
{
  StrongLane at = {.lane = lane, .addr = r->addr[lane]};
  bool device =
      r->space == SPACE_GLOBAL ||
      (r->space == SPACE_GENERIC && at.addr >= GLOBAL_BASE && at.addr < WINDOW_SHARED);
  if (!device || !shadow_orders(w->cta->shadow))
    return at;
  const Alloc *m = mem_alloc(x, at.addr);
  at.off = at.addr - m->base;
  at.held = m->shadow ? shadow_hold(w->cta->shadow, m->shadow, at.off) : NULL;
  return at;
}

void
strong_tell(Exec *x, Warp *w, const Insn *i, const StrongLane *at, ShadowOp op)
{
  if (!at->held)
    return;
  int bytes = i->mem.bytes * i->mem.n;
  ShadowAccess a = mem_access(x, w, i, 1u << at->lane, op, bytes < 16 ? bytes : 16);
  shadow_notify(w->cta->shadow, at->held, &a, at->lane, at->addr, at->off);
  if (bytes <= 16)
    return;
  const ShadowMem *m = mem_alloc(x, at->addr)->shadow; /* the other 16 bytes */
  ShadowHeld *held = shadow_hold(w->cta->shadow, m, at->off + 16);
  if (held)
    shadow_notify(w->cta->shadow, held, &a, at->lane, at->addr + 16, at->off + 16);
}

Stop
step_ld_strong(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  uint8_t copy[LANES][32];
  Stop s = mem_reach(x, w, i, mask, SHADOW_READ, i->mem.bytes * i->mem.n, &r);
  if (s != GO)
    return s;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    StrongLane at = strong_hold(x, w, &r, l);
    memcpy(copy[l], r.host[l], (size_t)i->mem.bytes * i->mem.n);
    strong_tell(x, w, i, &at, SHADOW_READ);
    r.host[l] = copy[l];
  }
  mem_load(x, w, i, mask, &r);
  if (i->flags & F_MEETS)
    crowd_meet(x, w, i, mask);
  return GO;
}

Stop
step_st_strong(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  Stop s = mem_reach(x, w, i, mask, SHADOW_WRITE, i->mem.bytes * i->mem.n, &r);
  if (s != GO)
    return s;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    StrongLane at = strong_hold(x, w, &r, l);
    mem_store_lane(x, w, i, &r, l);
    strong_tell(x, w, i, &at, SHADOW_WRITE);
  }
  if (x->carries)
    undefined_store(x, w, i, mask, r.host);
  return GO;
}
