#include "emulator/check/counters.h"
#include "emulator/exec/atom.h"
#include "emulator/exec/steps.h"

#include <stdio.h>
#include <string.h>

static uint64_t
operand(const Warp *w, const Insn *i, uint32_t row, int lane)
{
  return i->mem.bytes == 8 ? row64(w, row)[lane] : row32(w, row)[lane];
}

/* A cas that finds another value has only read. */
static uint64_t
update_lane(Exec *x, Warp *w, const Insn *i, const AtomOp *op, const Reach *r, int lane)
{
  uint64_t b = operand(w, i, i->b, lane), c = operand(w, i, i->c, lane);
  StrongLane held = strong_hold(x, w, r, lane);
  uint64_t old = atom_update(op, r->host[lane], b, c);
  strong_tell(x, w, i, &held, op->sub == A_CAS && old != b ? SHADOW_READ : SHADOW_ATOMIC);
  return old;
}

/* What counts, and does not add up results. */
static bool
counts(const AtomOp *op)
{
  return !op->op.fn && op->bytes >= 4 &&
         (op->sub == A_ADD || op->sub == A_INC || op->sub == A_DEC || op->sub == A_EXCH ||
          op->sub == A_CAS);
}

static void
note_counters(const Exec *x, const Insn *i, const AtomOp *op, const Reach *r, uint32_t mask)
{
  Counter c = {.bytes = op->bytes, .line = i->line};
  snprintf(c.kernel, sizeof c.kernel, "%s", x->kernel->name);
  for (uint32_t m = mask; m; m &= m - 1) {
    c.address = r->addr[__builtin_ctz(m)];
    if (c.address >= GLOBAL_BASE && c.address < WINDOW_SHARED)
      counters_note(&c);
  }
}

/* Lanes in order. */
Stop
step_atom(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  uint64_t wide[LANES] = {0};
  uint32_t narrow[LANES];
  const AtomOp op = {.op = i->op,
                     .sub = i->atom.op,
                     .bytes = i->mem.bytes,
                     .sign = type_info[i->mem.type].class == 's'};
  Stop s = mem_reach(x, w, i, mask, SHADOW_ATOMIC, i->mem.bytes, &r);
  if (s != GO)
    return s;
  for (int l = 0; l < LANES; l++)
    if (mask >> l & 1)
      wide[l] = update_lane(x, w, i, &op, &r, l);
  if (x->launch->set.counters && counts(&op))
    note_counters(x, i, &op, &r, mask);
  for (int l = 0; l < LANES; l++)
    narrow[l] = (uint32_t)wide[l];
  if (i->d && i->flags & F_WIDE)
    exec_put64(x, w, i->d, wide, mask);
  else if (i->d)
    exec_put32(x, w, i->d, narrow, mask);
  if (i->flags & F_MEETS)
    crowd_meet(x, w, i, mask);
  return GO;
}

/* PTX ISA, atom: of a vector each element is an atomic operation by itself. */
Stop
step_atom_vector(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  uint32_t old[8][LANES] = {{0}};
  const uint32_t *to = x->kernel->lists + i->list, *from = to + i->n_d;
  const AtomOp op = {.op = i->op, .sub = i->atom.op, .bytes = i->mem.bytes};
  Stop s = mem_reach(x, w, i, mask, SHADOW_ATOMIC, i->mem.bytes * i->mem.n, &r);
  if (s != GO)
    return s;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    StrongLane held = strong_hold(x, w, &r, l);
    for (int e = 0; e < i->mem.n; e++)
      old[e][l] =
          (uint32_t)atom_update(&op, r.host[l] + e * i->mem.bytes, row32(w, from[e])[l], 0);
    strong_tell(x, w, i, &held, SHADOW_ATOMIC);
  }
  for (int e = 0; e < i->n_d; e++)
    exec_put32(x, w, to[e], old[e], mask);
  if (i->flags & F_MEETS)
    crowd_meet(x, w, i, mask);
  return GO;
}

/* CTAs may run on other host threads: one 128-bit operation at a time. */
static pthread_mutex_t whole = PTHREAD_MUTEX_INITIALIZER;

/* exch and cas; old: what was there, false: cas found another value. */
static bool
exchange128(const Insn *i, uint8_t *host, const uint64_t *first, const uint64_t *second,
            uint64_t *old)
{
  pthread_mutex_lock(&whole);
  memcpy(old, host, 16);
  bool swaps = i->atom.op == A_EXCH || !memcmp(old, first, 16);
  if (swaps)
    memcpy(host, i->atom.op == A_EXCH ? first : second, 16);
  pthread_mutex_unlock(&whole);
  return swaps;
}

Stop
step_atom128(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Reach r;
  uint64_t half[2][LANES] = {{0}};
  const uint32_t *to = x->kernel->lists + i->list, *from = to + i->n_d;
  Stop s = mem_reach(x, w, i, mask, SHADOW_ATOMIC, 16, &r);
  if (s != GO)
    return s;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint64_t in[4] = {0}, old[2];
    for (int k = 0; k < i->n_s; k++)
      in[k] = row64(w, from[k])[l];
    StrongLane held = strong_hold(x, w, &r, l);
    bool swaps = exchange128(i, r.host[l], in, in + 2, old);
    strong_tell(x, w, i, &held, swaps ? SHADOW_ATOMIC : SHADOW_READ);
    half[0][l] = old[0];
    half[1][l] = old[1];
  }
  for (int k = 0; k < 2; k++)
    exec_put64(x, w, to[k], half[k], mask);
  if (i->flags & F_MEETS)
    crowd_meet(x, w, i, mask);
  return GO;
}
