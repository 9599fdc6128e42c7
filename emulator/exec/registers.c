/* setmaxnreg: PTX ISA, "Miscellaneous instructions".  Registers go back and forth between
 * warps and a pool of the CTA; how many a warp has at its start is what an assembler takes
 * for a kernel that moves them: all that the directives allow. */
#include "emulator/exec/steps.h"

#include <stdio.h>

enum { GRAIN = 8, MOST = 256, GROUP = 4 };

static uint32_t
product(const uint32_t n[3])
{
  return n[0] * n[1] * n[2];
}

uint32_t
registers_at_entry(const Launch *l)
{
  const Ast *a = l->kernel->ast;
  uint32_t threads = product(product(a->reqntid) ? a->reqntid : a->maxntid);
  uint32_t n = l->set.regs ? l->set.regs : a->maxnreg;
  if (!n && threads)
    n = (uint32_t)l->chip->regs_sm / (threads * (a->minnctapersm ? a->minnctapersm : 1)) /
        GRAIN * GRAIN;
  n = (n + GRAIN - 1) / GRAIN * GRAIN;
  return n < MOST ? n : MOST;
}

void
registers_start(Cta *c, const Launch *l)
{
  uint32_t n = registers_at_entry(l);
  c->pool = 0;
  for (int i = 0; i < c->n_warps; i++)
    c->warp[i].registers = n;
  for (int i = 0; i < MAX_WARPS / GROUP; i++)
    c->setting[i] = (Setting){0};
}

int
registers_describe(const Exec *x, const Warp *w, char *text, size_t n)
{
  const Insn *i = &x->kernel->code[w->pc];
  return snprintf(text, n,
                  "; warp %d waits at line %d for %u more registers, the pool of the CTA "
                  "has %u",
                  w->id, i->line, ((uint32_t)i->imm - w->registers) * LANES, w->cta->pool);
}

/* All warps of the warpgroup execute the same one, each once. */
static Stop
together(Exec *x, Warp *w, const Insn *i)
{
  Cta *c = w->cta;
  int group = w->id / GROUP, last = c->n_warps - group * GROUP;
  Setting *s = &c->setting[group];
  uint32_t all = last < GROUP ? (1u << last) - 1 : (1u << GROUP) - 1;
  uint32_t me = 1u << w->id % GROUP;
  if (s->came && s->insn != i)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "setmaxnreg-misuse", -1,
                        "other warps of the warpgroup execute the one of line %d",
                        s->insn->line);
  if (s->came & me)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "setmaxnreg-misuse", -1,
                        "the warp executes it again before its warpgroup is through");
  s->insn = i;
  s->came |= me;
  if (s->came == all)
    *s = (Setting){0};
  return GO;
}

static Stop
take(Exec *x, Warp *w, const Insn *i, uint32_t want)
{
  uint32_t more = (want - w->registers) * LANES;
  if (w->cta->pool < more)
    return exec_block(x, w, i, FULL, WAITS_REGISTERS);
  Stop s = together(x, w, i);
  w->cta->pool -= more;
  w->registers = want;
  return s;
}

static Stop
give(Exec *x, Warp *w, const Insn *i, uint32_t want)
{
  Stop s = together(x, w, i);
  w->cta->pool += (w->registers - want) * LANES;
  w->registers = want;
  exec_wake(x, w->cta);
  return s;
}

Stop
step_setmaxnreg(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t want = (uint32_t)i->imm, has = w->registers;
  Stop s = warp_gather_all(x, w, i, mask);
  if (s != GO)
    return s;
  if (!has) {
    report_error(x, w, i, "setmaxnreg-ignored", -1,
                 "no .reqntid, .maxntid or .maxnreg says how many registers a warp has at "
                 "its start: an assembler ignores this");
    return GO;
  }
  if (i->maxnreg.inc ? want < has : want > has)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "setmaxnreg-misuse", -1,
                        "the warp has %u registers a thread, which this cannot make %u",
                        has, want);
  return i->maxnreg.inc ? take(x, w, i, want) : give(x, w, i, want);
}

/* At the end of the CTA. */
void
registers_end(Exec *x, Cta *c)
{
  for (int g = 0; g * GROUP < c->n_warps; g++) {
    const Setting *s = &c->setting[g];
    if (!s->came)
      continue;
    report_error(x, &c->warp[g * GROUP + __builtin_ctz(s->came)], s->insn,
                 "setmaxnreg-misuse", -1,
                 "warps of the warpgroup have ended without executing it");
  }
}
