/* Clusters: addresses in other CTAs, and the barrier of all; grids. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

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
