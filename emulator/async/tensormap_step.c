/* Tensor maps that a kernel changes: tensormap.replace, and tensormap.cp_fenceproxy, which
 * brings one from shared to global memory. */
#include "emulator/exec/steps.h"
#include "emulator/async/tensormap.h"

#include <string.h>

enum { PIECE = 16 };

/* Where a lane's map is in shared memory: all of it is read or written. */
static Stop
shared_map(Exec *x, Warp *w, const Insn *i, int lane, ShadowOp op, uint8_t **host)
{
  uint32_t off[LANES], first = 0;
  for (int at = 0; at < CUDA_TENSOR_MAP_BYTES; at += PIECE) {
    Stop s = mem_shared_at(x, w, i, 1u << lane, op, at, PIECE, off);
    if (s != GO)
      return s;
    first = at ? first : off[lane];
  }
  *host = w->cta->shared + first;
  return GO;
}

static uint64_t
address(const Warp *w, const Insn *i, int lane)
{
  uint64_t base = i->mem.addr64 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
  return base + (uint64_t)i->imm;
}

static Stop
map_of(Exec *x, Warp *w, const Insn *i, int lane, ShadowOp op, uint8_t **host)
{
  uint64_t addr = address(w, i, lane);
  bool in_window = i->mem.space == SPACE_GENERIC && addr - WINDOW_SHARED < WINDOW_SIZE;
  if (addr % CUDA_TENSOR_MAP_ALIGN)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "the tensor map's address 0x%llx is no multiple of %d",
                        (unsigned long long)addr, CUDA_TENSOR_MAP_ALIGN);
  if (i->mem.space == SPACE_SHARED || in_window)
    return shared_map(x, w, i, lane, op, host);
  return mem_span(x, w, i, lane, addr, CUDA_TENSOR_MAP_BYTES, op, host);
}

static Stop
replace(Exec *x, Warp *w, const Insn *i, int lane)
{
  uint8_t *host;
  uint64_t v = i->map.wide ? row64(w, i->b)[lane] : row32(w, i->b)[lane];
  Stop s = map_of(x, w, i, lane, SHADOW_READ, &host);
  s = s == GO ? map_of(x, w, i, lane, SHADOW_WRITE, &host) : s;
  if (s != GO)
    return s;
  if (tma_replace(host, (TmaField)i->map.field, i->map.ordinal, v))
    return GO;
  return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "tensor-map", lane,
                      "the tensor map at 0x%llx is none: cuTensorMapEncodeTiled did not "
                      "write these bytes",
                      (unsigned long long)address(w, i, lane));
}

Stop
step_tensormap(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = replace(x, w, i, __builtin_ctz(m));
  return s;
}

/* One copy, for all lanes of the warp. */
Stop
step_tensormap_copy(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint8_t *from, *to;
  Stop s = warp_gather_all(x, w, i, mask);
  if (s != GO)
    return s;
  int lane = __builtin_ctz(mask);
  const uint64_t *b = row64(w, i->b);
  uint64_t addr = b[lane] + (uint64_t)i->imm2;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    if (b[l] != b[lane] || address(w, i, l) != address(w, i, lane))
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "tensor-map", l,
                          "the lanes of the warp name different tensor maps");
  }
  if (addr % CUDA_TENSOR_MAP_ALIGN)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "the tensor map's address 0x%llx is no multiple of %d",
                        (unsigned long long)addr, CUDA_TENSOR_MAP_ALIGN);
  s = map_of(x, w, i, lane, SHADOW_READ, &from);
  s = s == GO ? mem_span(x, w, i, lane, addr, CUDA_TENSOR_MAP_BYTES, SHADOW_WRITE, &to) : s;
  if (s == GO)
    memcpy(to, from, CUDA_TENSOR_MAP_BYTES);
  return s;
}
