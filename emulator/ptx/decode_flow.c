#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

#include <string.h>

void
build_bra(Dec *d)
{
  Insn *i = dec_step(d, step_bra);
  const Opnd *o = d->r[0].o;
  if (o->kind != O_LABEL)
    dec_fail(d, "expected a label as operand");
  i->target = dec_target(d, o->label);
  i->bra.uni = mod_is(&d->m, M_UNI);
}

static const Branches *
find_branches(Dec *d, const char *name)
{
  for (int scope = d->st->scope;; scope = d->ast->scopes.at[scope]) {
    for (int i = 0; i < d->ast->branches.n; i++) {
      const Branches *b = &d->ast->branches.at[i];
      if (b->scope == scope && !strcmp(b->name, name))
        return b;
    }
    if (!scope)
      dec_fail(d, "the list of branch targets %s is not there", name);
  }
}

void
build_brx(Dec *d)
{
  Insn *i = dec_step(d, step_brx);
  const Opnd *o = d->r[1].o;
  if (o->kind != O_LABEL)
    dec_fail(d, "expected a list of branch targets as operand");
  const Branches *b = find_branches(d, o->label);
  uint32_t *to = NEW_N(d->ptx->arena, uint32_t, b->n);
  for (int j = 0; j < b->n; j++)
    to[j] = (uint32_t)dec_target(d, b->labels[j]);
  i->a = d->r[0].row;
  dec_list(d, i, to, b->n, NULL, 0);
}

void
build_exit(Dec *d)
{
  dec_step(d, step_exit);
}

void
build_trap(Dec *d)
{
  dec_step(d, step_trap)->trap.breakpoint = (uint8_t)d->form->arg;
}

void
build_nothing(Dec *d)
{
  if (d->form->arg)
    dec_int(d, d->r[0].o, (uint64_t)d->form->arg);
  dec_step(d, step_nothing)->a = d->n_r ? d->r[0].row : 0;
}

void
build_sleep(Dec *d)
{
  Insn *i = dec_step(d, step_sleep);
  i->a = d->r[0].row;
  i->flags |= F_LEADER; /* the other lanes of the warp go on meanwhile */
}

/* PTX ISA, setmaxnreg: 24 to 256, a multiple of 8. */
void
build_setmaxnreg(Dec *d)
{
  Insn *i = dec_step(d, step_setmaxnreg);
  uint64_t n = dec_int(d, d->r[0].o, 256);
  if (n < 24 || n % 8)
    dec_fail(d, "setmaxnreg takes a multiple of 8 from 24 to 256");
  i->imm = (int64_t)n;
  i->maxnreg.inc = mod_is(&d->m, M_INC);
  i->flags |= F_LEADER;
}

/* ---- barriers ---- */

static Insn *
emit_bar(Dec *d, Step *step, const Res *id, const Res *threads)
{
  Insn *i = dec_step(d, step);
  i->flags |= F_LEADER;
  i->a = id->row;
  i->b = threads->row;
  i->bar.counted = threads->o != NULL;
  return i;
}

void
build_bar(Dec *d)
{
  emit_bar(d, step_bar, &d->r[0], &d->r[1])->bar.mode = (uint8_t)d->form->arg;
}

void
build_bar_red(Dec *d)
{
  Insn *i = emit_bar(d, step_bar_red, &d->r[1], &d->r[2]);
  i->bar.red = (uint8_t)d->form->arg;
  i->ps = (uint16_t)d->r[3].row;
  i->ps_not = d->r[3].negated;
  if (d->form->arg == R_POPC)
    i->d = d->r[0].row;
  else
    i->pd = (uint16_t)d->r[0].row;
}

void
build_warp_sync(Dec *d)
{
  Insn *i = dec_step(d, step_warp_sync);
  i->flags |= F_LEADER;
  i->c = d->r[0].row;
}

void
build_fence(Dec *d)
{
  int way = mod_is(&d->m, M_ACQUIRE)   ? SHADOW_ACQUIRE
            : mod_is(&d->m, M_RELEASE) ? SHADOW_RELEASE
                                       : SHADOW_ACQUIRE | SHADOW_RELEASE;
  dec_step(d, step_fence)->mem.order = (uint8_t)(dec_scope(&d->m) | way);
}

/* ---- lanes with each other: c is the row of member masks ---- */

static Insn *
emit_lanes(Dec *d, Step *step, uint32_t members)
{
  Insn *i = dec_step(d, step);
  i->flags |= F_LEADER;
  i->c = members;
  return i;
}

void
build_shfl(Dec *d)
{
  const Res *r = d->r;
  Insn *i = emit_lanes(d, step_shfl, r[4].row);
  i->d = r[0].row;
  i->pd = (uint16_t)r[0].second;
  i->a = r[1].row;
  i->b = r[2].row;
  dec_list(d, i, NULL, 0, &r[3].row, 1);
  i->shfl.mode = mod_is(&d->m, M_UP)     ? SHFL_UP
                 : mod_is(&d->m, M_DOWN) ? SHFL_DOWN
                 : mod_is(&d->m, M_BFLY) ? SHFL_BFLY
                                         : SHFL_IDX;
}

void
build_vote(Dec *d)
{
  const Res *r = d->r;
  Insn *i = emit_lanes(d, step_vote, r[2].row);
  i->ps = (uint16_t)r[1].row;
  i->ps_not = r[1].negated;
  if (d->form->arg)
    i->d = r[0].row;
  else
    i->pd = (uint16_t)r[0].row;
  i->vote.mode = d->form->arg           ? VOTE_BALLOT
                 : mod_is(&d->m, M_ALL) ? VOTE_ALL
                 : mod_is(&d->m, M_ANY) ? VOTE_ANY
                                        : VOTE_UNI;
}

void
build_match(Dec *d)
{
  const Res *r = d->r;
  Insn *i = emit_lanes(d, step_match, r[2].row);
  i->d = r[0].row;
  i->pd = (uint16_t)r[0].second;
  i->a = r[1].row;
  i->match.all = (uint8_t)d->form->arg;
  i->match.bytes = type_info[d->m.t[0]].bits / 8;
}

void
build_redux(Dec *d)
{
  const Res *r = d->r;
  Insn *i = emit_lanes(d, step_redux, r[2].row);
  i->d = r[0].row;
  i->a = r[1].row;
  i->redux.op = (uint8_t)d->form->arg;
  i->redux.sign = d->m.t[0] == T_S32;
  if (d->m.t[0] != T_F32)
    return;
  unsigned mods =
      (mod_is(&d->m, M_NAN_) ? AR_NAN : 0) | (mod_is(&d->m, M_ABS) ? AR_MAGNITUDE : 0);
  if (!ar_math(&i->op, d->form->arg == A_MIN ? AR_MIN : AR_MAX, AR_F32, mods))
    dec_fail(d, "this form is not emulated");
}

void
build_activemask(Dec *d)
{
  dec_step(d, step_activemask)->d = d->r[0].row;
}

void
build_elect(Dec *d)
{
  if (!d->r[0].o->second)
    dec_fail(d, "expected a predicate behind the elected lane");
  Insn *i = emit_lanes(d, step_elect, d->r[1].row);
  i->d = d->r[0].row;
  i->pd = (uint16_t)d->r[0].second;
}
