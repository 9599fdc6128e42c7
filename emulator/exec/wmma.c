/* wmma.load and wmma.store: matrices between memory and fragments, element by element where
 * fragment.h says. */
#include "emulator/exec/fragment.h"
#include "emulator/exec/steps.h"

#include <string.h>

typedef struct Access { /* one register of all lanes, some of its elements */
  int reg, element, bytes;
} Access;

/* The stride in elements, or the base: the same in all lanes. */
static Stop
same_in_all(Exec *x, Warp *w, const Insn *i, const char *what, const uint64_t *lanes)
{
  for (int l = 1; l < LANES; l++)
    if (lanes[l] != lanes[0])
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "wmma-address", l,
                          "the lanes of a warp have different %s", what);
  return GO;
}

static Stop
stride_of(Exec *x, Warp *w, const Insn *i, uint64_t *stride)
{
  uint64_t lanes[LANES];
  for (int l = 0; l < LANES; l++)
    lanes[l] = i->wmma.strided ? row32(w, i->b)[l] : (uint64_t)i->imm2;
  *stride = lanes[0];
  return same_in_all(x, w, i, "strides", lanes);
}

/* Elements of a register stand side by side in memory. */
static bool
side_by_side(const Insn *i)
{
  return (i->wmma.role == FRAG_B) == i->wmma.col;
}

static Stop
reach(Exec *x, Warp *w, const Insn *i, ShadowOp op, const Access *a, uint64_t base,
      uint64_t stride, Reach *r)
{
  const MmaForm *f = &i->mma;
  FragRole role = (FragRole)i->wmma.role;
  uint64_t size = (uint64_t)mma_type_bits(frag_type(f, role)) / 8;
  for (int l = 0; l < LANES; l++) {
    FragAt at = frag_at(f, role, a->reg, l, a->element);
    uint64_t outer = i->wmma.col ? at.col : at.row, inner = i->wmma.col ? at.row : at.col;
    r->addr[l] = base + (outer * stride + inner) * size;
  }
  return mem_reach_at(x, w, i, FULL, op, a->bytes, r);
}

typedef void Move(void *reg, uint8_t *host, size_t bytes);

static void
from_memory(void *reg, uint8_t *host, size_t bytes)
{
  memcpy(reg, host, bytes);
}

static void
to_memory(void *reg, uint8_t *host, size_t bytes)
{
  memcpy(host, reg, bytes);
}

static Stop
move(Exec *x, Warp *w, const Insn *i, ShadowOp op, Move *how)
{
  const MmaForm *f = &i->mma;
  FragRole role = (FragRole)i->wmma.role;
  int per = frag_elements(f, role), step = side_by_side(i) ? per : 1;
  int size = mma_type_bits(frag_type(f, role)) / 8, of_reg = per * size;
  uint64_t stride, base[LANES];
  Reach r;
  mem_addresses(w, i, base);
  Stop s = same_in_all(x, w, i, "addresses", base);
  if (s == GO)
    s = stride_of(x, w, i, &stride);
  for (int reg = 0; s == GO && reg < frag_distinct(f, role); reg++) {
    uint8_t *row = (uint8_t *)row32(w, x->kernel->lists[i->list + (uint32_t)reg]);
    for (int e = 0; s == GO && e < per; e += step) {
      Access a = {reg, e, step * size};
      s = reach(x, w, i, op, &a, base[0], stride, &r);
      for (int l = 0; s == GO && l < LANES; l++)
        how(row + l * of_reg + e * size, r.host[l], (size_t)a.bytes);
    }
  }
  return s;
}

Stop
step_wmma_load(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *list = x->kernel->lists + i->list;
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    s = move(x, w, i, SHADOW_READ, from_memory);
  int distinct = frag_distinct(&i->mma, (FragRole)i->wmma.role);
  for (int r = distinct; s == GO && r < i->n_d; r++)
    memcpy(row32(w, list[r]), row32(w, list[r % distinct]), LANES * 4);
  return s;
}

Stop
step_wmma_store(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = warp_gather_all(x, w, i, mask);
  return s == GO ? move(x, w, i, SHADOW_WRITE, to_memory) : s;
}
