/* mbarriers, bulk copies without a tensor, their groups and fences. */
#include "emulator/exec/atom.h"
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

/* ---- mbarriers: a and imm the address, b the operand ---- */

static Insn *
mbar(Dec *d, Step *step, const Res *at, uint32_t operand)
{
  Insn *i = dec_mem(d, step, at, dec_space(&d->m));
  i->b = operand;
  i->flags = (uint8_t)((i->flags & ~F_GLOBAL) | F_SHARED);
  return i;
}

void
build_mbar_init(Dec *d)
{
  mbar(d, step_mbar_init, &d->r[0], d->r[1].row);
}

void
build_mbar_inval(Dec *d)
{
  mbar(d, step_mbar_inval, &d->r[0], ROW_ZERO);
}

/* The state and the count may be left out. */
void
build_mbar_arrive(Dec *d)
{
  bool returns = d->form->opnds[0] == '=';
  const Res *r = d->r + returns;
  if (returns && mod_is(&d->m, M_SHARED_CLUSTER) && d->r[0].o->kind != O_SINK)
    dec_fail(d, "an arrival in another CTA returns no state: expected '_'");
  Insn *i = mbar(d, step_mbar_arrive, &r[0], r[1].o ? r[1].row : ROW_ZERO);
  i->mbar.op = (uint8_t)d->form->arg;
  i->mbar.counted = r[1].o != NULL;
  if (i->mbar.op == MB_ARRIVE && i->mbar.counted &&
      (d->ptx->sm < 90 || d->ptx->version < 78))
    dec_fail(d, "a count without .noComplete needs .target sm_90 and .version 7.8");
  i->mbar.drops = mod_is(&d->m, M_ARRIVE_DROP);
  i->mbar.relaxed = mod_is(&d->m, M_RELAXED);
  if (returns && d->r[0].o->kind != O_SINK) {
    i->d = d->r[0].row;
    i->flags |= F_WIDE;
  }
}

void
build_mbar_wait(Dec *d)
{
  const Res *r = d->r;
  Insn *i = mbar(d, step_mbar_wait, &r[1], r[2].row);
  i->pd = (uint16_t)r[0].row;
  i->mbar.parity = d->form->arg != 0;
  i->mbar.relaxed = mod_is(&d->m, M_RELAXED);
  i->flags |= F_LEADER; /* lanes that wait let the others of their warp go on */
}

void
build_mbar_count(Dec *d)
{
  Insn *i = dec_step(d, step_mbar_count);
  i->d = d->r[0].row;
  i->a = d->r[1].row;
}

void
build_copy_arrive(Dec *d)
{
  mbar(d, step_copy_arrive, &d->r[0], ROW_ZERO)->mbar.noinc = mod_is(&d->m, M_NOINC);
}

/* ---- bulk copies: a and imm in shared memory, b and imm2 in global memory, c the size
 * ---- */

static void
global_side(Dec *d, Insn *i, const Res *at)
{
  if (!at->wide)
    dec_fail(d, "a global address needs a register of 64 bits");
  if (at->o->var && at->o->var->space != SPACE_GLOBAL)
    dec_fail(d, "%s is in another state space", at->o->var->name);
  i->b = at->row;
  i->imm2 = at->o->off;
  i->flags |= F_GLOBAL;
}

/* The mbarrier's address and the CTAs of a multicast, or ROW_ZERO. */
static void
list_mbar(Dec *d, Insn *i, const Res *bar, uint32_t ctas)
{
  if (bar->o->var && bar->o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", bar->o->var->name);
  uint32_t rows[3] = {bar->row, dec_const(d, (uint64_t)bar->o->off, true), ctas};
  i->bulk.mbar64 = bar->wide;
  dec_list(d, i, NULL, 0, rows, 3);
}

/* arg: multicast */
void
build_bulk_load(Dec *d)
{
  const Res *r = d->r;
  bool far = mod_is(&d->m, M_SHARED_CLUSTER);
  Insn *i = dec_mem(d, step_bulk_load, &r[0], far ? SPACE_CLUSTER : SPACE_SHARED);
  global_side(d, i, &r[1]);
  i->c = r[2].row;
  i->bulk.multicast = d->form->arg != 0;
  list_mbar(d, i, &r[3], d->form->arg ? r[4].row : ROW_ZERO);
  dec_hint(d, &r[d->form->arg ? 5 : 4]);
}

/* Of whole numbers, the form's argument; A_OPS: it is a copy. */
static void
reduction(Dec *d, Insn *i)
{
  i->bulk.op = (uint8_t)(d->m.nt && d->form->opnds[3] == 'v' ? A_OPS : d->form->arg);
  if (i->bulk.op == A_OPS)
    return;
  i->bulk.element = type_info[d->m.t[0]].bits / 8;
  i->bulk.sign = type_info[d->m.t[0]].class == 's';
}

void
build_bulk_send(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_bulk_send, &r[0], SPACE_CLUSTER);
  if (r[1].o->var && r[1].o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", r[1].o->var->name);
  i->b = r[1].row;
  i->imm2 = r[1].o->off;
  i->bulk.from64 = r[1].wide;
  i->c = r[2].row;
  reduction(d, i);
  list_mbar(d, i, &r[3], ROW_ZERO);
}

/* One value of a lane, or a vector: their rows behind those of the mbarrier. */
void
build_st_async(Dec *d)
{
  const Res *r = d->r;
  Type t = (Type)d->m.t[0];
  bool named = mod_is(&d->m, M_SHARED_CLUSTER);
  Insn *i = dec_mem(d, step_st_async, &r[0], named ? SPACE_CLUSTER : SPACE_GENERIC);
  i->flags = (uint8_t)((i->flags & ~F_GLOBAL) | F_SHARED);
  reduction(d, i);
  i->mem.bytes = type_info[t].bits / 8;
  i->mem.n = (uint8_t)(r[1].n ? r[1].n : 1);
  i->flags |= r[1].wide ? F_WIDE : 0;
  if (i->mem.bytes * i->mem.n > 16)
    dec_fail(d, "more than 16 bytes a thread");
  if (r[2].o->var && r[2].o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", r[2].o->var->name);
  uint32_t rows[6] = {r[2].row, dec_const(d, (uint64_t)r[2].o->off, true)};
  for (int k = 0; k < i->mem.n; k++)
    rows[2 + k] = r[1].n ? r[1].elem[k] : r[1].row;
  i->bulk.mbar64 = r[2].wide;
  dec_list(d, i, NULL, 0, rows, 2 + i->mem.n);
}

/* A hint: nothing happens. */
void
build_bulk_prefetch(Dec *d)
{
  Insn *i = dec_mem(d, step_prefetch, &d->r[0], SPACE_GLOBAL);
  i->b = d->r[1].row;
  i->flags &= (uint8_t)~F_GLOBAL;
  dec_hint(d, &d->r[2]);
}

void
build_bulk_store(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_bulk_store, &r[1], SPACE_SHARED);
  global_side(d, i, &r[0]);
  i->c = r[2].row;
  i->bulk.op = (uint8_t)d->form->arg;
  dec_hint(d, &r[3]);
  if (d->form->arg == A_OPS)
    return;
  d->k->meets = true;
  static const int8_t floats[TYPE_COUNT] = {
      [T_F16] = AR_F16, [T_BF16] = AR_BF16, [T_F32] = AR_F32, [T_F64] = AR_F64};
  Type t = (Type)d->m.t[0];
  AtomOp op = {0};
  i->mem.bytes = type_info[t].bits / 8;
  i->bulk.sign = type_info[t].class == 's';
  if (type_info[t].class == 'f' && !atom_float(&op, d->form->arg, (ArType)floats[t], false))
    dec_fail(d, "this form is not emulated");
  i->op = op.op;
}

void
build_bulk_commit(Dec *d)
{
  dec_step(d, step_bulk_commit);
}

void
build_bulk_wait(Dec *d)
{
  Insn *i = dec_step(d, step_bulk_wait);
  i->imm = (int64_t)dec_int(d, d->r[0].o, 1 << 16);
  i->group.read = mod_is(&d->m, M_READ);
}

void
build_fence_proxy(Dec *d)
{
  Insn *i = dec_step(d, step_fence_proxy);
  i->proxy.mbar_init = d->form->arg != 0;
  i->mem.space = (uint8_t)dec_space(&d->m);
}
