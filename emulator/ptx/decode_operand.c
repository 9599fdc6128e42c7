/* Operands: rows of registers and numbers, addresses of variables and functions, labels. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/lanes.h"
#include "emulator/exec/steps.h"

#include <string.h>

/* ---- registers and numbers ---- */

uint64_t
dec_function_address(Dec *d, const Ast *a)
{
  a = dec_aliased(a);
  if (!a->has_body)
    dec_fail(d, "%s is in another module: there is no linker", a->name);
  return FUNCTION_BASE + (uint64_t)a->number * FUNCTION_STEP;
}

/* 128 bits are two rows of 64, the lower half first. */
uint32_t
dec_reg(Dec *d, Reg *r)
{
  if (r->row < 0) {
    r->row = (int)dec_row(d, type_info[r->type].bits >= 64, r->name);
    if (type_info[r->type].bits == 128)
      dec_row(d, true, r->name);
  }
  return (uint32_t)r->row;
}

static void
check_plain(Dec *d, const Opnd *o)
{
  if ((o->select || o->minus) && !d->selects)
    dec_fail(d, "a sign or selector is not allowed on this operand");
}

uint32_t
dec_pred(Dec *d, const Opnd *o)
{
  if (o->kind == O_SINK)
    return PRED_SINK;
  if (o->kind == O_INT)
    return o->bits ? PRED_TRUE : PRED_FALSE;
  if (o->kind == O_SPECIAL && o->special == SR_IS_EXPLICIT_CLUSTER) {
    dec_special(d, SR_IS_EXPLICIT_CLUSTER);
    return PRED_CLUSTER;
  }
  if (o->kind != O_REG || o->reg->type != T_PRED)
    dec_fail(d, "expected a predicate as operand");
  check_plain(d, o);
  if (o->reg->row < 0) {
    o->reg->row = (int)d->preds++;
    *vec_push(d->ptx->arena, &d->pred_names) = o->reg->name;
  }
  return (uint32_t)o->reg->row;
}

/* PTX ISA, "Operand type checking": bits fit all, signed and unsigned each other. */
static bool
fits(Type reg, Type want, bool wider)
{
  const TypeInfo *r = &type_info[reg], *w = &type_info[want];
  if (r->class == 'p' || w->class == 'p')
    return r->class == w->class;
  bool integer = r->class != 'f';
  if (r->bits == 128 && w->bits != 128)
    return false;
  if (wider && integer ? r->bits < w->bits : r->bits != w->bits)
    return false;
  if (r->class == 'b' || w->class == 'b')
    return true;
  if (want == T_TF32)
    return reg == T_F32;
  return r->class == 'f' || w->class == 'f' ? reg == want : true;
}

static void
check_reg(Dec *d, const Opnd *o, Type want, bool wider)
{
  check_plain(d, o);
  if (!fits(o->reg->type, want, wider))
    dec_fail(d, "%s is .%s, the instruction needs .%s here", o->reg->name,
             type_info[o->reg->type].name, type_info[want].name);
}

static uint64_t
narrow_double(Type want, uint64_t bits)
{
  double x;
  memcpy(&x, &bits, sizeof x);
  float f = (float)x;
  uint32_t u;
  memcpy(&u, &f, sizeof u);
  return want == T_F32 ? u : bits;
}

static uint64_t
number_bits(Dec *d, const Opnd *o, Type want)
{
  const TypeInfo *w = &type_info[want];
  if (w->bits > 64)
    dec_fail(d, "expected a register of 128 bits as operand");
  uint64_t keep = w->bits == 64 ? UINT64_MAX : (1ull << w->bits) - 1;
  if (o->kind == O_FLOAT32 && (want == T_F32 || want == T_B32))
    return o->bits;
  if (o->kind == O_FLOAT64 && (want == T_F64 || want == T_B64 || want == T_F32))
    return narrow_double(want, o->bits);
  if (o->kind != O_INT || w->class == 'f')
    dec_fail(d, "the number is not of type .%s", w->name);
  int64_t s = (int64_t)o->bits;
  if (o->bits > keep && !(s < 0 && s >= -(int64_t)(keep / 2 + 1)))
    dec_fail(d, "the number does not fit .%s", w->name);
  return o->bits & keep;
}

uint32_t
dec_source(Dec *d, const Opnd *o, Type want, bool wider)
{
  int bits = type_info[want].bits;
  switch (o->kind) {
  case O_REG:
    check_reg(d, o, want, wider);
    return dec_reg(d, o->reg);
  case O_INT:
  case O_FLOAT32:
  case O_FLOAT64:
    return dec_const(d, number_bits(d, o, want), bits == 64);
  case O_SPECIAL:
    if (special_info[o->special].bits != bits || type_info[want].class == 'f')
      dec_fail(d, "%s does not fit .%s", special_info[o->special].name,
               type_info[want].name);
    if (o->special >= SR_CLOCK)
      dec_fail(d, "%s is only read by mov", special_info[o->special].name);
    return dec_special(d, (Special)o->special);
  case O_LABEL:
    dec_fail(d, "%s is not declared", o->label);
  case O_FUNC:
    if (bits < 32 || type_info[want].class == 'f')
      dec_fail(d, "the address of a function is not of type .%s", type_info[want].name);
    return dec_const(d, dec_function_address(d, o->func), bits == 64);
  default:
    dec_fail(d, "expected a register or number of type .%s as operand",
             type_info[want].name);
  }
}

uint32_t
dec_dest(Dec *d, const Opnd *o, Type want, bool wider)
{
  if (o->kind == O_SINK)
    return ROW_SINK;
  if (o->kind != O_REG)
    dec_fail(d, "expected a register as destination");
  check_reg(d, o, want, wider);
  return dec_reg(d, o->reg);
}

uint64_t
dec_int(Dec *d, const Opnd *o, uint64_t max)
{
  if (o->kind != O_INT)
    dec_fail(d, "expected an integer as operand");
  if (o->bits > max)
    dec_fail(d, "%llu is more than %llu", (unsigned long long)o->bits,
             (unsigned long long)max);
  return o->bits;
}

/* ---- addresses and labels ---- */

uint32_t
dec_in_frame(Dec *d, uint64_t at, bool wide)
{
  uint32_t row = dec_temp(d, true);
  dec_lane(d, L_ADD, T_U64, row, true, d->function->base, dec_const(d, at, true));
  if (wide)
    return row;
  uint32_t low = dec_temp(d, false);
  dec_lane(d, L_NARROW, T_U64, low, false, row, 0);
  return low;
}

/* A shared address has the CTA's rank in it. */
uint32_t
dec_address_of(Dec *d, const Var *v, uint64_t more, bool wide)
{
  if (v->space == SPACE_SHARED)
    return dec_fill(d, SHARED_BASE + v->offset + more, wide, FILL_SHARED);
  if (d->function && (v->space == SPACE_LOCAL || v->in_frame))
    return dec_in_frame(d, v->offset + more, wide);
  if (!wide && v->offset + more > UINT32_MAX)
    dec_fail(d, "the address of %s does not fit 32 bits", v->name);
  return dec_const(d, v->offset + more, wide);
}

int
dec_target(Dec *d, const char *label)
{
  for (int scope = d->st->scope;; scope = d->ast->scopes.at[scope]) {
    const Label *l = ptx_label(d->ast, label, scope);
    if (l)
      return l->stmt;
    if (!scope)
      dec_fail(d, "the label %s is not there", label);
  }
}

/* ---- modifiers ---- */

Type
dec_unsigned(int bits)
{
  return bits == 64 ? T_U64 : bits == 32 ? T_U32 : bits == 16 ? T_U16 : T_U8;
}

Space
dec_space(const Mods *m)
{
  static const struct {
    Mod mod;
    Space space;
  } table[] = {
      {M_GLOBAL, SPACE_GLOBAL},     {M_SHARED, SPACE_SHARED},
      {M_SHARED_CTA, SPACE_SHARED}, {M_LOCAL, SPACE_LOCAL},
      {M_CONST, SPACE_CONST},       {M_PARAM, SPACE_PARAM},
      {M_PARAM_ENTRY, SPACE_PARAM}, {M_SHARED_CLUSTER, SPACE_CLUSTER},
      {M_PARAM_FUNC, SPACE_PARAM},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (mod_is(m, table[i].mod))
      return table[i].space;
  return SPACE_GENERIC;
}
