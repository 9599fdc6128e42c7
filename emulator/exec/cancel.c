/* clusterlaunchcontrol: a CTA takes over a cluster that has not started.  PTX ISA, "Cluster
 * Launch Control".  The answer of 16 bytes is opaque: whether there was one, and x, y and z
 * of its first CTA. */
#include "emulator/async/bulk_part.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"

#include <string.h>

enum { ANSWER = 16 };

typedef struct Answer {
  uint32_t off;
  uint8_t bytes[ANSWER];
} Answer;

static void
land_answer(Exec *x, Cta *to, const void *data)
{
  const Answer *a = data;
  (void)x;
  memcpy(to->shared + a->off, a->bytes, ANSWER);
  layout_set(to, a->off, ANSWER, LAYOUT_UNKNOWN);
}

static void
ask(Exec *x, Answer *a)
{
  uint64_t cluster;
  uint32_t words[4] = {0};
  const Launch *l = x->launch;
  if (launch_cancel(x->launch, &cluster)) {
    words[0] = 1;
    for (int k = 0; k < 3; k++) {
      uint32_t clusters = l->grid[k] / l->cluster[k];
      words[1 + k] = (uint32_t)(cluster % clusters) * l->cluster[k];
      cluster /= clusters;
    }
  }
  memcpy(a->bytes, words, ANSWER);
}

static Stop
cancel_lane(Exec *x, Warp *w, const Insn *i, int lane)
{
  Stop s;
  Answer a;
  uint64_t to = mbar_address(w, i, lane), mbar = bulk_listed_mbar(x, w, i, lane);
  mbar -= i->mem.space == SPACE_GENERIC ? WINDOW_SHARED : 0;
  if (to % ANSWER)
    return report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", lane,
                        "address 0x%llx is no multiple of %d", (unsigned long long)to,
                        ANSWER);
  if (!cluster_find(x, w, i, lane, to, false, ANSWER, &a.off, &s))
    return s;
  ask(x, &a);
  BulkCopy copy = {.insn = i,
                   .lane = lane,
                   .off = a.off,
                   .bytes = ANSWER,
                   .land = land_answer,
                   .data = &a,
                   .data_bytes = sizeof a};
  if (i->bulk.multicast)
    return bulk_multicast(x, w, &copy, mbar, (1u << x->n_ctas) - 1);
  return bulk_load_at(x, w, &copy, to, false, mbar);
}

Stop
step_clc_cancel(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = cancel_lane(x, w, i, __builtin_ctz(m));
  return s;
}

Stop
step_clc_query(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const uint64_t *low = row64(w, i->a), *high = row64(w, i->b);
  uint32_t v[4][LANES] = {{0}}, there = 0;
  for (int l = 0; l < LANES; l++) {
    there |= (uint32_t)(low[l] & 1) << l;
    v[0][l] = (uint32_t)(low[l] >> 32);
    v[1][l] = (uint32_t)high[l];
    v[2][l] = (uint32_t)(high[l] >> 32);
  }
  if (!i->clc.part) {
    w->pred[i->pd] = (w->pred[i->pd] & ~mask) | (there & mask);
    return GO;
  }
  if (mask & ~there)
    report_error(x, w, i, "not-cancelled", __builtin_ctz(mask & ~there),
                 "no cluster was cancelled: nothing says which CTA is its first");
  const uint32_t *to = x->kernel->lists + i->list;
  for (int k = 0; k < 4; k++)
    if (to[k] != ROW_SINK)
      exec_put32(x, w, to[k], v[k], mask);
  return GO;
}
