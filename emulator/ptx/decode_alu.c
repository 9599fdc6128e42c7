#include "emulator/ptx/decode_emit.h"
#include "emulator/exec/steps.h"

void
build_lane(Dec *d)
{
  const Res *r = d->r;
  emit_lane(d, (LaneOp)d->form->arg, (Type)d->m.t[0], r[0].row, r[0].wide, r[1].row,
            r[2].row, r[3].row);
}

/* The carry of mad is that of the sum alone (PTX ISA, mad.cc). */
void
build_carry(Dec *d)
{
  const Res *r = d->r;
  Type t = (Type)d->m.t[0];
  int op = d->form->arg;
  bool takes = op >= C_ADD_IN, gives = mod_is(&d->m, M_CC);
  uint32_t a = r[1].row, b = r[2].row;
  if (op == C_MAD || op == C_MAD_IN) {
    a = dec_temp(d, r[0].wide);
    emit_lane(d, mod_is(&d->m, M_HI) ? L_MUL_HI : L_MUL_LO, t, a, r[0].wide, r[1].row,
              r[2].row, 0);
    b = r[3].row;
  }
  Insn *i = dec_step(d, step_carry);
  i->d = r[0].row;
  i->a = a;
  i->b = b;
  i->pt = takes ? PRED_CARRY : PRED_FALSE;
  i->pd = gives ? PRED_CARRY : PRED_SINK;
  i->carries.subtracts = op == C_SUB || op == C_SUB_IN;
  i->flags |= r[0].wide ? F_WIDE : 0;
}

void
build_bfi(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_step(d, step_bfi);
  i->d = r[0].row;
  i->a = r[1].row;
  i->b = r[2].row;
  i->c = r[3].row;
  i->flags |= r[0].wide ? F_WIDE : 0;
  dec_list(d, i, NULL, 0, &r[4].row, 1);
}

/* ---- predicates ---- */

static Insn *
emit_pred(Dec *d, int op, uint32_t dst, uint32_t a, uint32_t b)
{
  Insn *i = dec_step(d, step_pred);
  i->pd = (uint16_t)dst;
  i->ps = (uint16_t)a;
  i->pt = (uint16_t)b;
  i->pred.op = (uint8_t)op;
  return i;
}

void
build_pred(Dec *d)
{
  emit_pred(d, d->form->arg, d->r[0].row, d->r[1].row, d->n_r > 2 ? d->r[2].row : 0);
}

static Compare
compare_of(const Mods *m)
{
  static const struct {
    Mod mod;
    Compare compare;
  } table[] = {
      {M_EQ, C_EQ},   {M_NE, C_NE},   {M_LT, C_LT},   {M_LE, C_LE},   {M_GT, C_GT},
      {M_GE, C_GE},   {M_LO, C_LT},   {M_LS, C_LE},   {M_HI, C_GT},   {M_HS, C_GE},
      {M_EQU, C_EQU}, {M_NEU, C_NEU}, {M_LTU, C_LTU}, {M_LEU, C_LEU}, {M_GTU, C_GTU},
      {M_GEU, C_GEU}, {M_NUM, C_NUM}, {M_NAN, C_NAN},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (mod_is(m, table[i].mod))
      return table[i].compare;
  return C_EQ; /* every form with a comparison has one of them */
}

static CompareType
compare_type(Type t, bool ftz, bool high)
{
  bool sign = type_info[t].class == 's';
  switch (t) {
  case T_F32:
    return ftz ? CT_F32_FTZ : CT_F32;
  case T_F64:
    return CT_F64;
  case T_F16:
  case T_F16X2:
    return high ? (ftz ? CT_F16_HIGH_FTZ : CT_F16_HIGH) : ftz ? CT_F16_FTZ : CT_F16;
  case T_BF16:
  case T_BF16X2:
    return high ? CT_BF16_HIGH : CT_BF16;
  default:
    break;
  }
  int size = type_info[t].bits == 64 ? CT_U64 : type_info[t].bits == 32 ? CT_U32 : CT_U16;
  return (CompareType)(size + sign);
}

static uint8_t
bool_of(const Mods *m)
{
  return mod_is(m, M_AND)   ? COMBINE_AND
         : mod_is(m, M_OR)  ? COMBINE_OR
         : mod_is(m, M_XOR) ? COMBINE_XOR
                            : COMBINE_NONE;
}

/* pd = a cmp b, pq = its opposite, each combined with the predicate r[3] if there is one.
 */
static Insn *
emit_compare(Dec *d, Type t, bool high, uint32_t pd, uint32_t pq)
{
  const Res *r = d->r;
  Insn *i = dec_emit(d, K_COMPARE);
  i->compare =
      lanes_code()->compare[compare_of(&d->m)][compare_type(t, mod_is(&d->m, M_FTZ), high)];
  i->a = r[1].row;
  i->b = r[2].row;
  i->pd = (uint16_t)pd;
  i->pq = (uint16_t)pq;
  if (d->form->arg) {
    i->cmp.combine = bool_of(&d->m);
    i->ps = (uint16_t)r[3].row;
    i->ps_not = r[3].negated;
  }
  return i;
}

/* PTX ISA, lop3: with a Boolean operation p = (d != 0) op q as well. */
void
build_lop3(Dec *d)
{
  const Res *r = d->r;
  bool tests = d->form->arg;
  if (tests && (!r[0].o->second || r[0].o->kind == O_SINK))
    dec_fail(d, "lop3 with .and or .or has two results, d|p");
  uint32_t row = tests ? dec_temp(d, false) : r[0].row;
  emit_lane(d, L_LOP3, T_B32, row, false, r[1].row, r[2].row, r[3].row)->op.mods =
      (uint16_t)dec_int(d, r[4].o, 255);
  if (!tests) {
    if (r[0].o->second)
      dec_fail(d, "'|' is not allowed behind this operand");
    return;
  }
  emit_lane(d, L_MOV, T_B32, r[0].row, false, row, 0, 0);
  Insn *i = dec_emit(d, K_COMPARE);
  i->compare = lanes_code()->compare[C_NE][CT_U32];
  i->a = row;
  i->b = ROW_ZERO;
  i->pd = (uint16_t)r[0].second;
  i->cmp.combine = bool_of(&d->m);
  i->ps = (uint16_t)r[5].row;
}

/* Two results of two halves: the first must not change what the second reads. */
static void
setp_pair(Dec *d, Type t)
{
  uint32_t low = dec_temp_pred(d), high = dec_temp_pred(d);
  if (!d->r[0].o->second)
    dec_fail(d, "a comparison of pairs has two results, p|q");
  emit_compare(d, t, false, low, PRED_SINK);
  emit_compare(d, t, true, high, PRED_SINK);
  if (d->guard != d->r[0].row) {
    emit_pred(d, P_MOV, d->r[0].row, low, 0);
    emit_pred(d, P_MOV, d->r[0].second, high, 0);
  } else {
    emit_pred(d, P_MOV, d->r[0].second, high, 0);
    emit_pred(d, P_MOV, d->r[0].row, low, 0);
  }
}

void
build_setp(Dec *d)
{
  Type t = (Type)d->m.t[0];
  if (t == T_F16X2 || t == T_BF16X2)
    setp_pair(d, t);
  else
    emit_compare(d, t, false, d->r[0].row, d->r[0].second);
}

static void
emit_select(Dec *d, uint32_t dst, bool wide, uint32_t a, uint32_t b, uint32_t pred)
{
  Insn *i = dec_step(d, step_select);
  i->d = dst;
  i->a = a;
  i->b = b;
  i->ps = (uint16_t)pred;
  i->flags |= wide ? F_WIDE : 0;
}

/* What set gives where the comparison holds: 1.0, or all bits of 16 for each half or of the
 * result. */
static uint32_t
set_value(Type to, Type from)
{
  switch (to) {
  case T_F32:
    return 0x3f800000;
  case T_F16:
  case T_F16X2:
    return 0x3c00;
  case T_BF16:
  case T_BF16X2:
    return 0x3f80;
  default:
    return type_info[to].bits == 16 || from == T_F16X2 || from == T_BF16X2 ? 0xffff : FULL;
  }
}

void
build_set(Dec *d)
{
  Type to = (Type)d->m.t[0], from = (Type)d->m.t[1];
  uint32_t value = set_value(to, from), p = dec_temp_pred(d),
           yes = dec_const(d, value, false);
  emit_compare(d, from, false, p, PRED_SINK);
  if (from != T_F16X2 && from != T_BF16X2) {
    emit_select(d, d->r[0].row, false, yes, ROW_ZERO, p);
    return;
  }
  uint32_t q = dec_temp_pred(d), low = dec_temp(d, false), high = dec_temp(d, false);
  emit_compare(d, from, true, q, PRED_SINK);
  emit_select(d, low, false, yes, ROW_ZERO, p);
  emit_select(d, high, false, dec_const(d, value << 16, false), ROW_ZERO, q);
  emit_lane(d, L_OR, T_B32, d->r[0].row, false, low, high, 0);
}

void
build_selp(Dec *d)
{
  const Res *r = d->r;
  emit_select(d, r[0].row, r[0].wide, r[1].row, r[2].row, r[3].row);
}

void
build_slct(Dec *d)
{
  const Res *r = d->r;
  Type t = (Type)d->m.t[1];
  uint32_t p = dec_temp_pred(d);
  Insn *i = dec_emit(d, K_COMPARE);
  i->compare = lanes_code()->compare[C_GE][compare_type(t, mod_is(&d->m, M_FTZ), false)];
  i->a = r[3].row;
  i->b = ROW_ZERO;
  i->pd = (uint16_t)p;
  emit_select(d, r[0].row, r[0].wide, r[1].row, r[2].row, p);
}

void
build_testp(Dec *d)
{
  static const struct {
    Mod mod;
    Test test;
  } table[TESTS] = {{M_FINITE, TEST_FINITE}, {M_INFINITE, TEST_INFINITE},
                    {M_NUMBER, TEST_NUMBER}, {M_NOTANUMBER, TEST_NAN},
                    {M_NORMAL, TEST_NORMAL}, {M_SUBNORMAL, TEST_SUBNORMAL}};
  Insn *i = dec_emit(d, K_COMPARE);
  for (int j = 0; j < TESTS; j++)
    if (mod_is(&d->m, table[j].mod))
      i->compare = lanes_code()->test[table[j].test][d->m.t[0] == T_F64];
  i->a = d->r[1].row;
  i->pd = (uint16_t)d->r[0].row;
}

/* ---- moves ---- */

static int
element_bits(Dec *d, const Opnd *v, int bits)
{
  int each = bits / v->n;
  if (each * v->n != bits || each < 8 || v->n > 4)
    dec_fail(d, "%d elements do not make %d bits", v->n, bits);
  return each;
}

static Type
bits_of(int bits)
{
  return bits == 64 ? T_B64 : bits == 32 ? T_B32 : bits == 16 ? T_B16 : T_B8;
}

/* dst becomes e[0] and above it e[1].  Of bytes the rows have 0 above them. */
static void
pack_pair(Dec *d, uint32_t dst, int each, const uint32_t *e)
{
  if (each == 64) {
    emit_lane(d, L_MOV, T_B64, dst, true, e[0], 0, 0);
    emit_lane(d, L_MOV, T_B64, dst + 2, true, e[1], 0, 0);
  } else if (each == 8) {
    emit_lane(d, L_PRMT, T_B32, dst, false, e[0], e[1], dec_const(d, 0x1140, false));
  } else {
    emit_lane(d, L_PACK, bits_of(2 * each), dst, each == 32, e[0], e[1], 0);
  }
}

static void
mov_pack(Dec *d, Type t)
{
  int bits = type_info[t].bits, each;
  const Opnd *v = d->r[1].o;
  uint32_t e[4], dst = dec_dest(d, d->r[0].o, t, false);
  each = element_bits(d, v, bits);
  for (int i = 0; i < v->n; i++)
    e[i] = dec_source(d, &v->at[i], bits_of(each), false);
  if (v->n == 2) {
    pack_pair(d, dst, each, e);
    return;
  }
  uint32_t half[2] = {dec_temp(d, each == 32), dec_temp(d, each == 32)};
  pack_pair(d, half[0], each, e);
  pack_pair(d, half[1], each, e + 2);
  pack_pair(d, dst, 2 * each, half);
}

/* Element i of `each` bits of a row of t, which is of at most 64. */
static void
unpack_one(Dec *d, Type t, uint32_t dst, int each, uint32_t src, int i)
{
  static const LaneOp part[4] = {L_PART0, L_PART1, L_PART2, L_PART3};
  if (each == 64)
    emit_lane(d, L_MOV, T_B64, dst, true, src, 0, 0);
  else if (each == 8)
    emit_lane(d, L_BFE, T_U32, dst, false, src, dec_const(d, 8 * (uint64_t)i, false),
              dec_const(d, 8, false));
  else
    emit_lane(d, each == 16 ? part[i] : i ? L_HIGH : L_NARROW, t, dst, false, src, 0, 0);
}

static void
mov_unpack(Dec *d, Type t)
{
  const Opnd *v = d->r[0].o;
  uint32_t src = dec_source(d, d->r[1].o, t, false);
  int each = element_bits(d, v, type_info[t].bits), half = 64 / each;
  for (int i = 0; i < v->n; i++) {
    uint32_t dst = dec_dest(d, &v->at[i], bits_of(each), false);
    if (v->at[i].kind == O_SINK)
      continue;
    if (t == T_B128)
      unpack_one(d, T_B64, dst, each, src + 2 * (uint32_t)(i / half), i % half);
    else
      unpack_one(d, t, dst, each, src, i);
  }
}

static void
mov_time(Dec *d, Type t, uint32_t dst)
{
  Insn *i = dec_step(d, step_time);
  i->d = dst;
  i->clock.special = (uint8_t)d->r[1].o->special;
  if (special_info[i->clock.special].bits != type_info[t].bits)
    dec_fail(d, "%s does not fit .%s", special_info[i->clock.special].name,
             type_info[t].name);
  i->flags |= type_info[t].bits == 64 ? F_WIDE : 0;
}

uint32_t
dec_address_row(Dec *d, const Opnd *o, Type t)
{
  if (type_info[t].class == 'f' || type_info[t].bits < 32)
    dec_fail(d, "the address of %s does not fit .%s", o->var->name, type_info[t].name);
  return dec_address_of(d, o->var, (uint64_t)o->off, type_info[t].bits == 64);
}

/* A vector of one element is the element. */
static const Opnd *
sole(const Opnd *o, Type t)
{
  return o->kind == O_VEC && o->n == 1 && type_info[t].class == 'b' ? &o->at[0] : o;
}

void
build_mov(Dec *d)
{
  Type t = (Type)d->m.t[0];
  d->r[0].o = sole(d->r[0].o, t);
  d->r[1].o = sole(d->r[1].o, t);
  const Opnd *to = d->r[0].o, *from = d->r[1].o;
  if (to->kind == O_VEC && type_info[t].class == 'b') {
    mov_unpack(d, t);
    return;
  }
  if (from->kind == O_VEC && type_info[t].class == 'b') {
    mov_pack(d, t);
    return;
  }
  bool wide = type_info[t].bits == 64;
  uint32_t dst = dec_dest(d, to, t, false);
  if (t == T_B128) {
    uint32_t src = dec_source(d, from, t, false);
    pack_pair(d, dst, 64, (uint32_t[]){src, src + 2});
    return;
  }
  if (from->kind == O_SPECIAL && from->special >= SR_CLOCK)
    mov_time(d, t, dst);
  else if (from->kind == O_VAR)
    emit_lane(d, L_MOV, t, dst, wide, dec_address_row(d, from, t), 0, 0);
  else
    emit_lane(d, L_MOV, t, dst, wide, dec_source(d, from, t, false), 0, 0);
}

static uint64_t
window(Space s)
{
  return s == SPACE_SHARED || s == SPACE_CLUSTER ? WINDOW_SHARED
         : s == SPACE_LOCAL                      ? WINDOW_LOCAL
         : s == SPACE_PARAM                      ? WINDOW_PARAM
                                                 : 0;
}

void
build_cvta(Dec *d)
{
  Space space = dec_space(&d->m);
  const Opnd *o = d->r[1].o;
  uint32_t src =
      o->kind == O_VAR ? dec_address_row(d, o, T_U64) : dec_source(d, o, T_U64, false);
  if (o->kind == O_VAR && o->var->space != dec_var_space(space))
    dec_fail(d, "%s is in another state space", o->var->name);
  emit_lane(d, mod_is(&d->m, M_TO) ? L_SUB : L_ADD, T_U64, d->r[0].row, true, src,
            dec_const(d, window(space), true), 0);
}

void
build_isspacep(Dec *d)
{
  Insn *i = dec_step(d, step_isspacep);
  i->a = d->r[1].row;
  i->pd = (uint16_t)d->r[0].row;
  i->mem.space = (uint8_t)dec_space(&d->m);
}
