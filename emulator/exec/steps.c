#include "emulator/exec/steps.h"
#include "emulator/exec/lanes.h"

Stop
step_pred(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t a = w->pred[i->ps], b = w->pred[i->pt], r = a;
  (void)x;
  switch (i->pred.op) {
  case P_AND:
    r = a & b;
    break;
  case P_OR:
    r = a | b;
    break;
  case P_XOR:
    r = a ^ b;
    break;
  case P_NOT:
    r = ~a;
    break;
  default:
    break;
  }
  w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (r & mask);
  return GO;
}

Stop
step_select(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t k[LANES];
  x->code->expand(k, w->pred[i->ps]);
  _Alignas(64) uint64_t wide[LANES];
  if (i->flags & F_WIDE) {
    x->code->select64(wide, row64(w, i->a), row64(w, i->b), k);
    exec_put64(x, w, i->d, wide, mask);
  } else {
    uint32_t *r = (uint32_t *)(void *)wide;
    x->code->select32(r, row32(w, i->a), row32(w, i->b), k);
    exec_put32(x, w, i->d, r, mask);
  }
  return GO;
}

/* PTX ISA, bfi: len bits of a go to bit pos of b. */
static uint64_t
insert(uint64_t a, uint64_t b, uint32_t pos, uint32_t len, uint32_t bits)
{
  pos &= 255;
  len &= 255;
  if (pos >= bits || !len)
    return b;
  len = len < bits - pos ? len : bits - pos;
  uint64_t field = (len < 64 ? (1ull << len) - 1 : ~0ull) << pos;
  return (b & ~field) | (a << pos & field);
}

Stop
step_bfi(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *pos = row32(w, i->c), *len = row32(w, x->kernel->lists[i->list]);
  uint64_t wide[LANES];
  uint32_t narrow[LANES];
  for (int l = 0; l < LANES; l++) {
    if (i->flags & F_WIDE)
      wide[l] = insert(row64(w, i->a)[l], row64(w, i->b)[l], pos[l], len[l], 64);
    else
      narrow[l] =
          (uint32_t)insert(row32(w, i->a)[l], row32(w, i->b)[l], pos[l], len[l], 32);
  }
  if (i->flags & F_WIDE)
    exec_put64(x, w, i->d, wide, mask);
  else
    exec_put32(x, w, i->d, narrow, mask);
  return GO;
}

/* PTX ISA, "Extended-precision integer arithmetic instructions": a + b + CC.CF or
 * a - (b + CC.CF), and what is carried or borrowed.  pt: CC.CF or false; pd: CC.CF or sink.
 */
static bool
carried(uint64_t a, uint64_t b, bool in, bool minus, int bits, uint64_t *r)
{
  uint64_t keep = bits == 64 ? UINT64_MAX : UINT32_MAX;
  *r = (minus ? a - b - in : a + b + in) & keep;
  return minus ? a < b || (in && a == b) : *r < a || (in && *r == a);
}

Stop
step_carry(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t in = w->pred[i->pt], out = 0, narrow[LANES];
  uint64_t wide[LANES];
  bool is_wide = i->flags & F_WIDE;
  for (int l = 0; l < LANES; l++) {
    uint64_t a = is_wide ? row64(w, i->a)[l] : row32(w, i->a)[l];
    uint64_t b = is_wide ? row64(w, i->b)[l] : row32(w, i->b)[l];
    bool c = carried(a, b, in >> l & 1, i->carries.subtracts, is_wide ? 64 : 32, &wide[l]);
    out |= (uint32_t)c << l;
    narrow[l] = (uint32_t)wide[l];
  }
  if (is_wide)
    exec_put64(x, w, i->d, wide, mask);
  else
    exec_put32(x, w, i->d, narrow, mask);
  w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (out & mask);
  return GO;
}

/* Clocks count instructions of the warp: never time. */
Stop
step_time(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t t = w->executed, wide[LANES];
  uint32_t narrow[LANES];
  bool high = i->clock.special == SR_CLOCK_HI || i->clock.special == SR_GLOBALTIMER_HI;
  for (int l = 0; l < LANES; l++) {
    wide[l] = t;
    narrow[l] = (uint32_t)(high ? t >> 32 : t);
  }
  if (i->flags & F_WIDE)
    exec_put64(x, w, i->d, wide, mask);
  else
    exec_put32(x, w, i->d, narrow, mask);
  return GO;
}

Stop
step_isspacep(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint64_t *a = row64(w, i->a);
  uint32_t r = 0;
  (void)x;
  for (int l = 0; l < LANES; l++) {
    uint64_t window = a[l] & ~(WINDOW_SIZE - 1);
    bool own = (a[l] & (WINDOW_SIZE - 1)) >> RANK_SHIFT == (uint64_t)w->cta->rank;
    bool is = i->mem.space == SPACE_SHARED    ? window == WINDOW_SHARED && own
              : i->mem.space == SPACE_CLUSTER ? window == WINDOW_SHARED
              : i->mem.space == SPACE_LOCAL   ? window == WINDOW_LOCAL
              : i->mem.space == SPACE_PARAM   ? window == WINDOW_PARAM
                                              : a[l] >= GLOBAL_BASE && a[l] < WINDOW_SHARED;
    r |= (uint32_t)is << l;
  }
  w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (r & mask);
  return GO;
}

/* Ends the turn: who sleeps waits for others. */
Stop
step_sleep(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)w;
  (void)i;
  (void)mask;
  x->slice = 1;
  return GO;
}

Stop
step_nothing(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)w;
  (void)x;
  (void)i;
  (void)mask;
  return GO;
}
