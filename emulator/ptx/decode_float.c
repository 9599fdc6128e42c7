/* Forms of arith.h: arithmetic and conversions of floating point. */
#include "emulator/ptx/decode_emit.h"
#include "emulator/check/undefined.h"

static const int8_t ar_types[TYPE_COUNT] = {
    [T_PRED] = -1,
    [T_B8] = AR_U8,
    [T_B16] = AR_U16,
    [T_B32] = AR_U32,
    [T_B64] = AR_U64,
    [T_U8] = AR_U8,
    [T_U16] = AR_U16,
    [T_U32] = AR_U32,
    [T_U64] = AR_U64,
    [T_S8] = AR_S8,
    [T_S16] = AR_S16,
    [T_S32] = AR_S32,
    [T_S64] = AR_S64,
    [T_F16] = AR_F16,
    [T_F16X2] = AR_F16X2,
    [T_BF16] = AR_BF16,
    [T_E4M3X2] = AR_E4M3X2,
    [T_E5M2X2] = AR_E5M2X2,
    [T_E2M3X2] = AR_E2M3X2,
    [T_E3M2X2] = AR_E3M2X2,
    [T_E2M1X2] = AR_E2M1X2,
    [T_UE8M0X2] = AR_UE8M0X2,
    /* four: two pairs */
    [T_E4M3X4] = AR_E4M3X2,
    [T_E5M2X4] = AR_E5M2X2,
    [T_E2M3X4] = AR_E2M3X2,
    [T_E3M2X4] = AR_E3M2X2,
    [T_E2M1X4] = AR_E2M1X2,
    [T_BF16X2] = AR_BF16X2,
    [T_TF32] = AR_TF32,
    [T_F32] = AR_F32,
    [T_F32X2] = AR_F32X2,
    [T_F64] = AR_F64,
};

static unsigned
ar_mods(const Mods *m)
{
  static const struct {
    Mod mod;
    unsigned ar;
  } table[] = {
      {M_RN, AR_RN},         {M_RZ, AR_RZ},           {M_RM, AR_RM},
      {M_RP, AR_RP},         {M_RNI, AR_RN},          {M_RZI, AR_RZ},
      {M_RMI, AR_RM},        {M_RPI, AR_RP},          {M_RNA, AR_RNA},
      {M_RS, AR_RS},         {M_FTZ, AR_FTZ},         {M_SAT, AR_SAT},
      {M_RELU, AR_RELU},     {M_NAN_, AR_NAN},        {M_FULL_, AR_APPROX},
      {M_APPROX, AR_APPROX}, {M_XORSIGN, AR_XORSIGN}, {M_SATFINITE, AR_SATFINITE},
      {M_OOB, AR_OOB},
  };
  unsigned all = 0;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    all |= mod_is(m, table[i].mod) ? table[i].ar : 0;
  return all;
}

void
build_math(Dec *d)
{
  const Res *r = d->r;
  ArOp op;
  Type t = (Type)d->m.t[0];
  if (!ar_math(&op, (ArMath)d->form->arg, (ArType)ar_types[t], ar_mods(&d->m)))
    dec_fail(d, "this form is not emulated");
  Insn *i = emit_fn(d, op.fn, r[0].row, r[0].wide, r[1].row, r[2].row, r[3].row);
  i->op = op;
  i->unit = ar_mods(&d->m) & AR_APPROX ? UNIT_MUFU : UNIT_ALU;
  i->carry = t == T_F16X2 || t == T_BF16X2 || t == T_F32X2 ? CARRY_HALVES : CARRY_WHOLE;
}

/* min, max of f32: .abs alone has three operands, others two or three; the third is taken
 * with the result of the first two, which is the same whatever the order. */
void
build_minmax(Dec *d)
{
  const Res *r = d->r;
  ArOp op;
  bool three = r[3].o != NULL;
  unsigned mods = ar_mods(&d->m);
  if (mod_is(&d->m, M_ABS) && !mod_is(&d->m, M_XORSIGN))
    mods |= AR_MAGNITUDE;
  if (three)
    dec_need(d, "with three operands", 100, 88);
  if (!ar_math(&op, (ArMath)d->form->arg, AR_F32, mods))
    dec_fail(d, "this form is not emulated");
  uint32_t row = three ? dec_temp(d, false) : r[0].row;
  emit_fn(d, op.fn, row, false, r[1].row, r[2].row, 0)->op = op;
  if (three)
    emit_fn(d, op.fn, r[0].row, false, row, r[3].row, 0)->op = op;
}

/* PTX ISA, "Mixed Precision Floating Point Instructions": what is of the narrow type
 * becomes f32, which is exact, and the result is rounded once. */
void
build_mixed(Dec *d)
{
  Res *r = d->r;
  ArOp op;
  int narrow = d->form->arg == AR_FMA ? 2 : 1;
  if (!ar_cvt(&op, AR_F32, (ArType)ar_types[d->m.t[1]], AR_RN))
    dec_fail(d, "this form is not emulated");
  for (int i = 1; i <= narrow; i++) {
    uint32_t row = dec_temp(d, false);
    emit_fn(d, op.fn, row, false, r[i].row, 0, 0)->op = op;
    r[i].row = row;
  }
  build_math(d);
}

/* The row of a conversion's source, narrowed if the register is wider than the type. */
static uint32_t
cvt_source(Dec *d, const Res *r, Type t)
{
  if (!r->wide || type_info[t].bits == 64)
    return r->row;
  uint32_t low = dec_temp(d, false);
  emit_lane(d, L_NARROW, T_U64, low, false, r->row, 0, 0);
  return low;
}

/* A signed result fills the register with its sign, another with zeros. */
static void
cvt_extend(Dec *d, const Res *r, Type t, uint32_t row)
{
  int bits = type_info[t].bits;
  bool sign = type_info[t].class == 's';
  if (type_info[r->type].bits == 8)
    return;
  Type reg = r->wide ? T_B32 : type_info[r->type].bits == 16 ? T_B16 : T_B32;
  if (sign && bits < type_info[reg].bits && bits < 32)
    emit_lane(d, bits == 8 ? L_SEXT8 : L_SEXT16, reg, row, false, row, 0, 0);
  if (r->wide && bits < 64)
    emit_lane(d, L_WIDEN, sign ? T_S32 : T_U32, r->row, true, row, 0, 0);
}

/* Every value of `from` is one of `to`: then .sat is not legal. */
static bool
covers(Type to, Type from)
{
  const TypeInfo *t = &type_info[to], *f = &type_info[from];
  if (t->class == 'f' || f->class == 'f')
    return false;
  if (t->class == f->class)
    return t->bits >= f->bits;
  return t->class == 's' && t->bits > f->bits;
}

/* .rni … between equal float types: to a whole number. */
static bool
to_integral(const Mods *m)
{
  bool whole = mod_is(m, M_RNI) || mod_is(m, M_RZI) || mod_is(m, M_RMI) || mod_is(m, M_RPI);
  return whole && m->t[0] == m->t[1];
}

/* Between whole numbers it moves bits. */
static uint8_t
cvt_carry(const Mods *m)
{
  const TypeInfo *to = &type_info[m->t[0]], *from = &type_info[m->t[1]];
  if (to->class == 'f' || from->class == 'f' || mod_is(m, M_SAT))
    return CARRY_WHOLE;
  return (uint8_t)(CARRY_MOVE | (from->bits == 64 ? CARRY_FROM_WIDE : 0));
}

static void
emit_pair(Dec *d, const ArOp *op, uint32_t dst, uint32_t high, uint32_t low,
          uint32_t random)
{
  Insn *i = emit_fn(d, op->fn, dst, false, high, low, random);
  i->op = *op;
  i->carry =
      d->form->arg == CVT_TWO && type_info[d->m.t[0]].bits == 32 ? CARRY_PAIR : CARRY_WHOLE;
}

/* PTX ISA, cvt.rs: of the random bits the upper 16 are for the first two values and the
 * lower 16 for the others; with .e2m1x4 the upper 8 of both halves, and the lower 8. */
static void
cvt_four(Dec *d, const ArOp *op)
{
  const Res *r = d->r;
  bool four = d->m.t[0] == T_E2M1X4;
  uint32_t high = dec_temp(d, false), low = dec_temp(d, false),
           random[2] = {dec_temp(d, false), dec_temp(d, false)};
  for (int k = 0; k < 2; k++)
    emit_lane(d, L_PRMT, T_B32, random[k], false, r[2].row, ROW_ZERO,
              dec_const(d,
                        four ? (k ? 0x4431 : 0x4420)
                        : k  ? 0x4432
                             : 0x4410,
                        false));
  emit_pair(d, op, high, r[1].elem[0], r[1].elem[1], random[1]);
  emit_pair(d, op, low, r[1].elem[2], r[1].elem[3], random[0]);
  emit_lane(d, L_PRMT, T_B32, r[0].row, false, low, high,
            dec_const(d, four ? 0x5540 : 0x5410, false));
}

/* Two values into one, a pair into a pair, two or four and random bits. */
static void
cvt_packed(Dec *d, const ArOp *op)
{
  const Res *r = d->r;
  switch (d->form->arg) {
  case CVT_FOUR:
    cvt_four(d, op);
    return;
  case CVT_PAIR:
    emit_pair(d, op, r[0].row, r[1].row, r[1].row, 0);
    return;
  default:
    emit_pair(d, op, r[0].row, r[1].row, r[2].row, r[3].row);
  }
}

void
build_cvt(Dec *d)
{
  Res *r = d->r;
  Type to = (Type)d->m.t[0], from = (Type)d->m.t[1];
  ArOp op;
  if (mod_is(&d->m, M_SAT) && covers(to, from))
    dec_fail(d, ".sat does nothing here");
  unsigned mods = ar_mods(&d->m) | (to_integral(&d->m) ? AR_INTEGRAL : 0);
  if (!ar_cvt(&op, (ArType)ar_types[to], (ArType)ar_types[from], mods))
    dec_fail(d, "this conversion is not emulated");
  if (d->form->arg) {
    cvt_packed(d, &op);
    return;
  }
  bool temp = r[0].wide && type_info[to].bits < 64;
  uint32_t src = cvt_source(d, &r[1], from);
  uint32_t dst = temp ? dec_temp(d, false) : r[0].row;
  Insn *i = emit_fn(d, op.fn, dst, r[0].wide && !temp, src, 0, 0);
  i->op = op;
  i->carry = cvt_carry(&d->m);
  cvt_extend(d, &r[0], to, dst);
}

/* PTX ISA, cvt.pack: elements of 16, 8, 4 or 2 bits. */
void
build_cvt_pack(Dec *d)
{
  static const struct {
    Mod mod;
    uint8_t bits;
    bool sign;
  } small[] = {{M_U4, 4, false}, {M_S4, 4, true}, {M_U2, 2, false}, {M_S2, 2, true}};
  const Res *r = d->r;
  const TypeInfo *t = &type_info[d->m.t[0]];
  unsigned bits = t->bits, sign = t->class == 's';
  for (size_t i = 0; i < sizeof small / sizeof *small; i++)
    if (mod_is(&d->m, small[i].mod)) {
      bits = small[i].bits;
      sign = small[i].sign;
    }
  emit_lane(d, L_CVT_PACK, T_B32, r[0].row, false, r[1].row, r[2].row, r[3].row)->op.mods =
      (uint16_t)(bits | sign << 8);
}
