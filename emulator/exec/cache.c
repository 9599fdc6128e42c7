/* Cache policies, and what throws memory away or fills it: createpolicy, discard, st.bulk.
 */
#include "emulator/exec/lanes.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"

#include <string.h>

/* ---- policies ---- */

/* Of a range: in units of 128 bytes. */
Stop
step_policy(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t policy[LANES];
  const uint32_t *b = row32(w, i->b), *c = row32(w, i->c);
  for (int l = 0; l < LANES; l++) {
    float fraction;
    memcpy(&fraction, &b[l], sizeof fraction);
    int sixteenths = 16;
    while (sixteenths > 1 && !((float)(sixteenths - 1) / 16 < fraction))
      sixteenths--;
    policy[l] = (uint64_t)i->imm;
    policy[l] |= i->policy.range ? 1ull << 61 | (uint64_t)(b[l] >> 7 & 0xffff) << 16 |
                                       (c[l] >> 7 & 0xffff)
                                 : (uint64_t)(sixteenths - 1) << 52;
  }
  exec_put64(x, w, i->d, policy, mask);
  return GO;
}

/* ---- discard ---- */

static uint64_t
address(const Warp *w, const Insn *i, int lane)
{
  uint64_t base = i->mem.addr64 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
  return base + (uint64_t)i->imm;
}

/* PTX ISA, discard: the bytes hold nothing that anybody may rely on; NaN, here. */
Stop
step_discard(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  for (uint32_t m = mask; m; m &= m - 1) {
    int lane = __builtin_ctz(m);
    uint8_t *host;
    uint64_t addr = address(w, i, lane);
    if (addr % DISCARDED)
      return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                          "address 0x%llx is no multiple of %d", (unsigned long long)addr,
                          DISCARDED);
    Stop s = mem_span(x, w, i, lane, addr, DISCARDED, SHADOW_WRITE, &host);
    if (s != GO)
      return s;
    memset(host, 0xff, DISCARDED);
  }
  return GO;
}

/* ---- st.bulk ---- */

/* PTX ISA, st.bulk: addresses and sizes are multiples of 8. */
static Stop
fill_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  enum { UNIT = 8 };
  uint64_t addr = address(w, i, lane), n = row64(w, i->b)[lane];
  Stop s;
  uint32_t off;
  addr -= i->mem.space == SPACE_GENERIC ? WINDOW_SHARED : 0;
  if (addr % UNIT || n % UNIT)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "address and size of st.bulk are multiples of %d", UNIT);
  if (!n)
    return GO;
  if (!cluster_find(x, w, i, lane, addr, false, n, &off, &s))
    return s;
  for (uint64_t k = 0; k < n; k += UNIT) {
    uint32_t at[LANES] = {0};
    at[lane] = off + (uint32_t)k;
    ShadowAccess a = {.insn = (int)(i - x->kernel->code),
                      .warp = w->id,
                      .mask = 1u << lane,
                      .op = SHADOW_WRITE,
                      .bytes = UNIT};
    shadow_shared(w->cta->shadow, &a, at);
  }
  memset(w->cta->shared + off, 0, n);
  layout_set(w->cta, off, (uint32_t)n, LAYOUT_UNKNOWN);
  return GO;
}

Stop
step_st_bulk(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = fill_lane(x, w, i, __builtin_ctz(m));
  return s;
}
