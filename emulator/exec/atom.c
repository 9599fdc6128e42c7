#include "emulator/exec/atom.h"
#include "emulator/exec/steps.h"

#include <string.h>

static uint64_t
extreme(const AtomOp *o, uint64_t a, uint64_t b, bool max)
{
  bool less = !o->sign        ? a < b
              : o->bytes == 8 ? (int64_t)a < (int64_t)b
                              : (int32_t)a < (int32_t)b;
  return less == max ? b : a;
}

/* One lane through the code for 32. */
static uint64_t
through_lanes(const AtomOp *o, uint64_t a, uint64_t b)
{
  uint64_t x[LANES] = {0}, y[LANES] = {0};
  memcpy(x, &a, o->bytes);
  memcpy(y, &b, o->bytes);
  o->op.fn(&o->op, x, x, y, NULL);
  a = 0;
  memcpy(&a, x, o->bytes);
  return a;
}

static uint64_t
apply(const AtomOp *o, uint64_t old, uint64_t b, uint64_t c)
{
  if (o->op.fn)
    return through_lanes(o, old, b);
  switch (o->sub) {
  case A_ADD:
    return old + b;
  case A_MIN:
    return extreme(o, old, b, false);
  case A_MAX:
    return extreme(o, old, b, true);
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
    while (!__atomic_compare_exchange_n(p, &old, (T)apply(o, old, b, c), false,            \
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))               \
      ;                                                                                    \
    return old;                                                                            \
  } while (0)

/* CTAs may run on other host threads. */
uint64_t
atom_update(const AtomOp *o, uint8_t *host, uint64_t b, uint64_t c)
{
  if (o->bytes == 8)
    UPDATE(uint64_t);
  if (o->bytes == 4)
    UPDATE(uint32_t);
  UPDATE(uint16_t);
}

/* ---- many elements: the floating point of 32 at a time ---- */

/* Of a lane where another CTA came between, by itself. */
static void
exchange(const AtomOp *o, uint8_t *host, uint64_t old, uint64_t value, uint64_t b)
{
  uint32_t old4 = (uint32_t)old, new4 = (uint32_t)value;
  uint16_t old2 = (uint16_t)old, new2 = (uint16_t)value;
  bool done = o->bytes == 4
                  ? __atomic_compare_exchange_n((uint32_t *)(void *)host, &old4, new4,
                                                false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
                  : __atomic_compare_exchange_n((uint16_t *)(void *)host, &old2, new2,
                                                false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  if (!done)
    atom_update(o, host, b, 0);
}

static void
float_row(const AtomOp *o, uint8_t *to, const uint8_t *from, uint32_t n)
{
  uint32_t old[LANES] = {0}, add[LANES] = {0}, sum[LANES];
  for (uint32_t l = 0; l < n; l++) {
    memcpy(&old[l], to + l * o->bytes, o->bytes);
    memcpy(&add[l], from + l * o->bytes, o->bytes);
  }
  o->op.fn(&o->op, sum, old, add, NULL);
  for (uint32_t l = 0; l < n; l++)
    exchange(o, to + l * o->bytes, old[l], sum[l], add[l]);
}

void
atom_reduce(const AtomOp *o, uint8_t *to, const uint8_t *from, uint32_t bytes)
{
  uint32_t n = bytes / o->bytes;
  bool row = o->op.fn && o->bytes < 8;
  for (uint32_t at = 0; row && at < n; at += LANES)
    float_row(o, to + at * o->bytes, from + at * o->bytes, n - at < LANES ? n - at : LANES);
  for (uint32_t at = 0; !row && at < n; at++) {
    uint64_t b = 0;
    memcpy(&b, from + at * o->bytes, o->bytes);
    atom_update(o, to + at * o->bytes, b, 0);
  }
}

bool
atom_float(AtomOp *o, int sub, ArType type, bool shared)
{
  /* PTX ISA, atom.add.f32: flushes subnormals on global memory, not on shared. */
  bool ftz = type == AR_F32 && !shared;
  ArMath m = sub == A_ADD ? AR_ADD : sub == A_MIN ? AR_MIN : AR_MAX;
  o->sub = (uint8_t)sub;
  o->bytes = (uint8_t)ar_bytes(type);
  return sub <= A_MAX && ar_math(&o->op, m, type, AR_RN | (ftz ? AR_FTZ : 0));
}
