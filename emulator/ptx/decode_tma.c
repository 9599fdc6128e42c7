/* Copies of boxes of tensors.  a and imm are the address in shared memory, b the tensor
 * map's, c and imm2 the mbarrier's; the list holds the coordinates, then the CTAs of a
 * multicast. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"
#include "emulator/async/tensormap.h"

static int
rank_of(const Mods *m)
{
  for (int i = 0; i < TMA_RANK; i++)
    if (mod_is(m, (Mod)(M_DIM_1 + i)))
      return i + 1;
  return 0;
}

/* The map and where in it; masks: the row of a multicast's CTAs, or ROW_ZERO. */
static void
box_operand(Dec *d, Insn *i, const Res *map, uint32_t masks)
{
  uint32_t row[TMA_RANK + 1];
  bool gathers = mod_is(&d->m, M_GATHER4) || mod_is(&d->m, M_SCATTER4);
  int rank = gathers ? TMA_RANK : rank_of(&d->m); /* a column, and four rows */
  if (!map->wide)
    dec_fail(d, "the address of a tensor map needs a register of 64 bits");
  if (map->o->var && map->o->var->space != SPACE_GLOBAL)
    dec_fail(d, "%s is in another state space", map->o->var->name);
  if (map->o->n != rank)
    dec_fail(d, "expected %d coordinates in the address", rank);
  for (int k = 0; k < rank; k++) {
    const Opnd *o = &map->o->at[k];
    bool is_float = o->kind == O_REG && o->reg->type == T_F32;
    row[k] = dec_source(d, o, is_float ? T_F32 : T_B32, false);
  }
  row[rank] = masks;
  i->b = map->row;
  i->tma.rank = (uint8_t)rank;
  i->tma.gathers = gathers;
  dec_list(d, i, NULL, 0, row, rank + 1);
}

void
build_tma_load(Dec *d)
{
  const Res *r = d->r, *bar = &r[2];
  bool multicast = d->form->arg;
  Insn *i = dec_mem(d, step_tma_load, &r[0], SPACE_SHARED);
  box_operand(d, i, &r[1], multicast ? r[3].row : ROW_ZERO);
  dec_hint(d, &r[multicast ? 4 : 3]);
  if (bar->o->var && bar->o->var->space != SPACE_SHARED)
    dec_fail(d, "%s is in another state space", bar->o->var->name);
  i->c = bar->row;
  i->imm2 = bar->o->off;
  i->tma.mbar64 = bar->wide;
  i->tma.multicast = multicast;
  i->flags |= F_GLOBAL;
}

void
build_tma_store(Dec *d)
{
  static const struct {
    Mod mod;
    uint8_t op;
  } ops[] = {{M_ADD, A_ADD}, {M_MIN, A_MIN}, {M_MAX, A_MAX}, {M_INC, A_INC},
             {M_DEC, A_DEC}, {M_AND, A_AND}, {M_OR, A_OR},   {M_XOR, A_XOR}};
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_tma_store, &r[1], SPACE_SHARED);
  box_operand(d, i, &r[0], ROW_ZERO);
  dec_hint(d, &r[2]);
  i->tma.op = A_OPS;
  d->k->meets |= d->form->arg != 0;
  for (size_t k = 0; d->form->arg && k < sizeof ops / sizeof *ops; k++)
    if (mod_is(&d->m, ops[k].mod))
      i->tma.op = ops[k].op;
  i->flags |= F_GLOBAL;
}

void
build_tma_prefetch(Dec *d)
{
  Insn *i = dec_step(d, step_tma_prefetch);
  box_operand(d, i, &d->r[0], ROW_ZERO);
  dec_hint(d, &d->r[1]);
}

void
build_tma_fence(Dec *d)
{
  const Res *at = &d->r[0];
  if (dec_int(d, d->r[1].o, CUDA_TENSOR_MAP_BYTES) != CUDA_TENSOR_MAP_BYTES)
    dec_fail(d, "a tensor map has 128 bytes");
  if (!at->wide)
    dec_fail(d, "the address of a tensor map needs a register of 64 bits");
  if (at->o->var && at->o->var->space != SPACE_GLOBAL)
    dec_fail(d, "%s is in another state space", at->o->var->name);
  Insn *i = dec_step(d, step_tma_fence);
  i->b = at->row;
  i->imm = at->o->off;
}

/* ---- maps that are changed ---- */

static TmaField
field_of(Dec *d)
{
  static const struct {
    Mod mod;
    TmaField field;
  } table[] = {{M_TM_ADDRESS, TMA_ADDRESS}, {M_TM_RANK, TMA_RANK_LESS_1},
               {M_TM_BOX, TMA_BOX},         {M_TM_DIM, TMA_DIM},
               {M_TM_STRIDE, TMA_STRIDE},   {M_TM_STEP, TMA_STEP},
               {M_TM_TYPE, TMA_TYPE},       {M_TM_INTERLEAVE, TMA_INTERLEAVE},
               {M_TM_SWIZZLE, TMA_SWIZZLE}, {M_TM_FILL, TMA_FILL}};
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (mod_is(&d->m, table[i].mod))
      return table[i].field;
  dec_fail(d, "this field is not emulated");
}

/* Fields whose value is a number of a table. */
static uint64_t
listed_value(Dec *d, TmaField field, const Opnd *o)
{
  uint64_t most = field == TMA_TYPE         ? 15
                  : field == TMA_INTERLEAVE ? 2
                  : field == TMA_SWIZZLE    ? 4
                                            : 1;
  uint64_t v = dec_int(d, o, most);
  if (field == TMA_TYPE && v > 12)
    dec_fail(d, "elements of 4 and 6 bits are not emulated");
  if (field == TMA_SWIZZLE && v == 4)
    dec_fail(d, "swizzles of 96 bytes are not emulated");
  return v;
}

/* [addr] value, [addr] ordinal value, or [addr] and a number.  b: the value's row. */
void
build_tensormap(Dec *d)
{
  const Res *r = d->r;
  if (mod_is(&d->m, M_TM_ATOMICITY)) {
    if (dec_int(d, r[1].o, 3))
      dec_fail(d, "swizzles of other than 16 bytes at once are not emulated");
    dec_step(d, step_nothing)->a = r[0].row;
    return;
  }
  TmaField field = field_of(d);
  Insn *i = dec_mem(d, step_tensormap, &r[0], dec_space(&d->m));
  bool wide = field == TMA_ADDRESS || field == TMA_STRIDE, listed = field >= TMA_TYPE;
  const Res *value = &r[d->n_r - 1];
  i->map.field = (uint8_t)field;
  i->map.wide = wide;
  i->map.ordinal =
      (uint8_t)(d->n_r > 2 ? dec_int(d, r[1].o, field == TMA_STRIDE ? 3 : 4) : 0);
  i->b = listed ? dec_const(d, listed_value(d, field, value->o), false) : value->row;
}

/* [global] [shared] 128 */
void
build_tensormap_copy(Dec *d)
{
  const Res *to = &d->r[0];
  if (dec_int(d, d->r[2].o, CUDA_TENSOR_MAP_BYTES) != CUDA_TENSOR_MAP_BYTES)
    dec_fail(d, "a tensor map has 128 bytes");
  if (!to->wide)
    dec_fail(d, "the address of a tensor map needs a register of 64 bits");
  if (to->o->var && to->o->var->space != SPACE_GLOBAL)
    dec_fail(d, "%s is in another state space", to->o->var->name);
  Insn *i = dec_mem(d, step_tensormap_copy, &d->r[1], SPACE_SHARED);
  i->flags |= F_LEADER | F_GLOBAL;
  i->b = to->row;
  i->imm2 = to->o->off;
}
