/* Clusters: addresses in other CTAs, and the barrier of all; grids. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

#include <string.h>

/* A shared address in a register or by its variable; else a generic one. */
static uint32_t
address(Dec *d, const Res *r)
{
  Type t = d->form->arg ? (Type)d->m.t[0] : T_U64;
  const Opnd *o = r->o;
  if (!d->form->arg || o->kind != O_VAR)
    return dec_source(d, o, t, false);
  if (o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", o->var->name);
  return dec_address_row(d, o, t);
}

void
build_mapa(Dec *d)
{
  Insn *i = dec_step(d, step_mapa);
  i->a = address(d, &d->r[1]);
  i->b = d->r[2].row;
  i->d = d->r[0].row;
  i->mem.space = d->form->arg ? SPACE_CLUSTER : SPACE_GENERIC;
  i->flags |= d->m.t[0] == T_U64 ? F_WIDE : 0;
}

void
build_ctarank(Dec *d)
{
  Insn *i = dec_step(d, step_ctarank);
  i->a = address(d, &d->r[1]);
  i->d = d->r[0].row;
  i->mem.space = d->form->arg ? SPACE_CLUSTER : SPACE_GENERIC;
  i->mem.addr64 = d->m.t[0] == T_U64;
}

static Insn *
emit_barrier(Dec *d, Step *step)
{
  Insn *i = dec_step(d, step);
  i->flags |= F_LEADER;
  i->cluster.aligned = mod_is(&d->m, M_ALIGNED);
  return i;
}

void
build_cluster_arrive(Dec *d)
{
  emit_barrier(d, step_cluster_arrive)->cluster.relaxed = mod_is(&d->m, M_RELAXED);
}

void
build_grid(Dec *d)
{
  dec_step(d, step_grid)->grid.trigger = (uint8_t)d->form->arg;
}

void
build_cluster_wait(Dec *d)
{
  emit_barrier(d, step_cluster_wait);
}

/* ---- clusterlaunchcontrol ---- */

/* Operands: the place of the answer, the mbarrier. */
void
build_clc_cancel(Dec *d)
{
  const Res *r = d->r;
  bool named = mod_is(&d->m, M_SHARED_CTA);
  Insn *i = dec_mem(d, step_clc_cancel, &r[0], named ? SPACE_SHARED : SPACE_GENERIC);
  i->flags = (uint8_t)((i->flags & ~F_GLOBAL) | F_SHARED);
  i->bulk.multicast = d->form->arg != 0;
  if (r[1].o->var && r[1].o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", r[1].o->var->name);
  uint32_t rows[2] = {r[1].row, dec_const(d, (uint64_t)r[1].o->off, true)};
  i->bulk.mbar64 = r[1].wide;
  dec_list(d, i, NULL, 0, rows, 2);
}

/* arg: 0 is there one, 1 all of its first CTA, 2 3 4 x, y or z. */
void
build_clc_query(Dec *d)
{
  const Res *r = d->r;
  static const uint32_t none[4] = {ROW_SINK, ROW_SINK, ROW_SINK, ROW_SINK};
  uint32_t to[4];
  memcpy(to, none, sizeof to);
  Insn *i = dec_step(d, step_clc_query);
  i->a = r[1].elem[0];
  i->b = r[1].elem[1];
  i->clc.part = (uint8_t)d->form->arg;
  if (!d->form->arg) {
    i->pd = (uint16_t)r[0].row;
    return;
  }
  if (d->form->arg == 1)
    memcpy(to, r[0].elem, sizeof to);
  else
    to[d->form->arg - 2] = r[0].row;
  dec_list(d, i, to, 4, NULL, 0);
}
