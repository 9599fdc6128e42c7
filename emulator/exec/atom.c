#include "emulator/exec/atom.h"
#include "emulator/ptx/decode.h"
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

/* ---- the instruction ---- */

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
