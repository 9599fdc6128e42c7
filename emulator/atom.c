#include "emulator/decode.h"
#include "emulator/steps.h"

#include <string.h>

static uint64_t
extreme(const Insn *i, uint64_t a, uint64_t b, bool max)
{
  bool sign = type_info[i->x.type].class == 's';
  bool less = !sign             ? a < b
              : i->x.bytes == 8 ? (int64_t)a < (int64_t)b
                                : (int32_t)a < (int32_t)b;
  return less == max ? b : a;
}

/* One lane through the code for 32. */
static uint64_t
float_add(const Insn *i, uint64_t a, uint64_t b)
{
  uint64_t x[LANES] = {0}, y[LANES] = {0};
  memcpy(x, &a, i->x.bytes);
  memcpy(y, &b, i->x.bytes);
  i->op.fn(&i->op, x, x, y, NULL);
  a = 0;
  memcpy(&a, x, i->x.bytes);
  return a;
}

static uint64_t
apply(const Insn *i, uint64_t old, uint64_t b, uint64_t c)
{
  switch (i->x.sub) {
  case A_ADD:
    return i->op.fn ? float_add(i, old, b) : old + b;
  case A_MIN:
    return extreme(i, old, b, false);
  case A_MAX:
    return extreme(i, old, b, true);
  case A_AND:
    return old & b;
  case A_OR:
    return old | b;
  case A_XOR:
    return old ^ b;
  case A_INC:
    return (uint32_t)old >= (uint32_t)b ? 0 : old + 1;
  case A_DEC:
    return !old || (uint32_t)old > (uint32_t)b ? b : old - 1;
  case A_CAS:
    return old == b ? c : old;
  default:
    return b;
  }
}

#define UPDATE(T)                                                                          \
  do {                                                                                     \
    T *p = (T *)(void *)host, old = __atomic_load_n(p, __ATOMIC_SEQ_CST);                  \
    while (!__atomic_compare_exchange_n(p, &old, (T)apply(i, old, b, c), false,            \
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))               \
      ;                                                                                    \
    return old;                                                                            \
  } while (0)

/* CTAs may run on other host threads. */
static uint64_t
update(const Insn *i, uint8_t *host, uint64_t b, uint64_t c)
{
  if (i->x.bytes == 8)
    UPDATE(uint64_t);
  if (i->x.bytes == 4)
    UPDATE(uint32_t);
  UPDATE(uint16_t);
}

static uint64_t
operand(const Warp *w, const Insn *i, uint32_t row, int lane)
{
  return i->x.bytes == 8 ? row64(w, row)[lane] : row32(w, row)[lane];
}

/* Lanes in order. */
Stop
step_atom(Exec *x, const Insn *i, uint32_t mask)
{
  Reach r;
  Warp *w = x->warp;
  uint64_t wide[LANES] = {0};
  uint32_t narrow[LANES];
  Stop s = mem_reach(x, i, mask, SHADOW_ATOMIC, i->x.bytes, &r);
  if (s != GO)
    return s;
  for (int l = 0; l < LANES; l++)
    if (mask >> l & 1)
      wide[l] = update(i, r.host[l], operand(w, i, i->b, l), operand(w, i, i->c, l));
  for (int l = 0; l < LANES; l++)
    narrow[l] = (uint32_t)wide[l];
  if (i->x.cond)
    shadow_fence(x->shadow, w->id);
  if (i->d && i->flags & F_WIDE)
    exec_put64(x, i->d, wide, mask);
  else if (i->d)
    exec_put32(x, i->d, narrow, mask);
  return GO;
}
