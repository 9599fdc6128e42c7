/* Cache policies, and what throws memory away or fills it. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

/* What a policy is made of; the bits of one are the chip's own, and nobody looks at them
 * here.  A whole fraction of evict_first and evict_last gives what CUTLASS writes out. */
static int
priority(const Mods *m, int nth)
{
  static const struct {
    Mod mod;
    int is;
  } table[] = {{M_L2_NORMAL, 0}, {M_L2_FIRST, 2}, {M_L2_LAST, 4}, {M_L2_UNCHANGED, 6}};
  for (int i = 0; i < m->n; i++)
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
      if (m->in_order[i] == table[k].mod && !nth--)
        return table[k].is;
  return 0;
}

void
build_policy(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_step(d, step_policy);
  i->d = r[0].row;
  i->flags |= F_WIDE;
  i->imm = (int64_t)(1ull << 60 | (uint64_t)priority(&d->m, 0) << 56 |
                     (uint64_t)priority(&d->m, 1) << 48);
  i->policy.range = d->form->arg != 0;
  if (d->form->arg) {
    if (!r[1].wide)
      dec_fail(d, "a global address needs a register of 64 bits");
    i->a = r[1].row;
    i->b = r[2].row;
    i->c = r[3].row;
  } else {
    i->b = r[1].o ? r[1].row : dec_const(d, 0x3f800000, false);
  }
}

void
build_discard(Dec *d)
{
  dec_mem(d, step_discard, &d->r[0], dec_space(&d->m));
  if (dec_int(d, d->r[1].o, DISCARDED) != DISCARDED)
    dec_fail(d, "the size is %d bytes", DISCARDED);
}

void
build_st_bulk(Dec *d)
{
  Space space = dec_space(&d->m);
  Insn *i = dec_mem(d, step_st_bulk, &d->r[0], space);
  i->flags = (uint8_t)((i->flags & ~F_GLOBAL) | F_SHARED);
  i->b = d->r[1].row;
  if (dec_int(d, d->r[2].o, 0))
    dec_fail(d, "the value is 0");
}
