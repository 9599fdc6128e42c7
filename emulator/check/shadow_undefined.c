/* Values that nobody has written: where they are in shared memory, and what is said of
 * them.  Bytes that were never written are known by Shadow.init; those that were written
 * with undefined values by Carried, which is there once a CTA has stored one. */
#include "emulator/check/shadow_part.h"

#include <stdlib.h>
#include <string.h>

void
shadow_undefined(Shadow *s, int insn, int warp, uint32_t lanes, const ShadowOrigin *from,
                 const char *verb)
{
  if (!s->checks || !lanes)
    return;
  bool here = from->insn == insn;
  int line = shadow_line(s, from->insn);
  Report r = {from->reg ? SHADOW_UNINIT_REG : SHADOW_UNINIT_SHARED,
              insn,
              here ? -1 : from->insn,
              warp,
              -1,
              __builtin_ctz(lanes),
              -1,
              from->reg ? 0 : from->at};
  if (here && from->reg)
    shadow_report(s, &r, "reads register %s, which this thread has never written",
                  from->reg);
  else if (here)
    shadow_report(s, &r, "reads shared memory at byte %u, which nobody has written",
                  from->at);
  else if (from->reg)
    shadow_report(s, &r,
                  "%s a value that comes from register %s: line %d reads it, and this "
                  "thread had never written it",
                  verb, from->reg, line);
  else
    shadow_report(s, &r,
                  "%s a value that comes from shared memory at byte %u: line %d reads it, "
                  "and nobody had written it",
                  verb, from->at, line);
}

uint32_t
shadow_unwritten(const Shadow *s, uint32_t off, int bytes)
{
  uint32_t chunk = off / 16, defined = s->init[chunk];
  if (s->carries)
    defined &= ~s->carried[chunk].bytes;
  return ~defined >> off % 16 & ((1u << bytes) - 1);
}

ShadowOrigin
shadow_origin(const Shadow *s, int insn, uint32_t off, uint32_t bytes)
{
  uint32_t first = off + (bytes ? (uint32_t)__builtin_ctz(bytes) : 0);
  if (s->carries && s->carried[off / 16].bytes & (bytes << off % 16))
    return s->carried[off / 16].from;
  return (ShadowOrigin){.insn = insn, .at = first};
}

void
shadow_carry(Shadow *s, uint32_t off, uint32_t bytes, ShadowOrigin from)
{
  if (!s->checks)
    return;
  size_t n = (size_t)s->n_chunks + 1;
  if (!s->carried && !(s->carried = malloc(n * sizeof *s->carried))) {
    shadow_out_of_memory(s);
    return;
  }
  if (!s->carries)
    memset(s->carried, 0, n * sizeof *s->carried);
  s->carries = true;
  s->carried[off / 16].bytes |= bytes << off % 16;
  s->carried[off / 16].from = from;
}

uint32_t
shadow_carried_touch(Shadow *s, const ShadowAccess *a, int lane, uint32_t off)
{
  Carried *c = &s->carried[off / 16];
  uint32_t bytes = c->bytes & ((1u << a->bytes) - 1) << off % 16;
  if (a->op == SHADOW_WRITE || a->op == SHADOW_COPY)
    c->bytes &= ~bytes;
  else if (bytes)
    return 1u << lane;
  return 0;
}

void
shadow_carried_end(Shadow *s, uint32_t chunk)
{
  if (s->carries)
    s->carried[chunk].bytes = 0;
}
