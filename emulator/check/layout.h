/* layout.h: who laid out shared memory how.
 *
 * A tensor copy leaves the swizzle with which it wrote on each line of 128 bytes; any other
 * write takes it off again, as do copies without a tensor.  What reads through a descriptor
 * that names a swizzle asks here whether the producer used the same. */
#ifndef ATTNC_EMULATOR_LAYOUT_H
#define ATTNC_EMULATOR_LAYOUT_H

#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

enum { LAYOUT_LINE = 128, LAYOUT_UNKNOWN = -1 };

static inline size_t
layout_lines(uint32_t shared_bytes)
{
  return shared_bytes / LAYOUT_LINE + 1;
}

/* swizzle: CUtensorMapSwizzle, or LAYOUT_UNKNOWN; off and bytes as in a Cta's memory. */
static inline void
layout_set(Cta *c, uint32_t off, uint32_t bytes, int swizzle)
{
  for (uint32_t line = off / LAYOUT_LINE; line * LAYOUT_LINE < off + bytes; line++)
    c->layout[line] = (uint8_t)(swizzle + 1);
  c->laid_out |= swizzle != LAYOUT_UNKNOWN;
}

static inline int
layout_at(const Cta *c, uint32_t off)
{
  return c->layout[off / LAYOUT_LINE] - 1;
}

#endif
