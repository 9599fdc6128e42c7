#include "emulator/exec/atom.h"
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

/* Parameters and results of functions lie on the stack. */
static Space
parameter_space(Dec *d, const Res *addr)
{
  const Var *v = addr->o->var;
  bool own = v ? v->in_frame : d->function != NULL;
  if (own ? mod_is(&d->m, M_PARAM_ENTRY) : mod_is(&d->m, M_PARAM_FUNC))
    dec_fail(d, "the address is of a parameter %s", own ? "of a function" : "of the entry");
  return own ? SPACE_LOCAL : SPACE_PARAM;
}

Insn *
dec_mem(Dec *d, Step *step, const Res *addr, Space space)
{
  Insn *i = dec_step(d, step);
  i->a = addr->row;
  i->imm = addr->o->off;
  i->mem.addr64 = addr->wide;
  i->mem.space = (uint8_t)space;
  if (!addr->wide &&
      (space == SPACE_GENERIC || space == SPACE_GLOBAL || space == SPACE_CONST))
    dec_fail(d, "a global or generic address needs a register of 64 bits");
  if (addr->o->var && space != SPACE_GENERIC && addr->o->var->space != dec_var_space(space))
    dec_fail(d, "%s is in another state space", addr->o->var->name);
  if (i->mem.space == SPACE_PARAM)
    i->mem.space = (uint8_t)parameter_space(d, addr);
  if (addr->o->var && space == SPACE_GENERIC)
    dec_fail(d, "the instruction needs the state space of %s", addr->o->var->name);
  i->flags |= dec_var_space(space) == SPACE_SHARED              ? F_SHARED
              : space == SPACE_GLOBAL || space == SPACE_GENERIC ? F_GLOBAL
                                                                : 0;
  return i;
}

void
dec_meets(Dec *d, Insn *i, bool reads)
{
  Space space = (Space)i->mem.space;
  if (!(i->flags & F_GLOBAL) || space == SPACE_SHARED || space == SPACE_CLUSTER)
    return;
  d->k->meets = true;
  i->flags |= reads ? F_MEETS : 0;
}

void
dec_hint(Dec *d, const Res *policy)
{
  if ((policy->o != NULL) != mod_is(&d->m, M_L2_HINT))
    dec_fail(d, "a cache policy operand and .L2::cache_hint go together");
}

static void
vector_info(Dec *d, Insn *i, const Res *v)
{
  Type t = (Type)d->m.t[0];
  i->mem.type = (uint8_t)t;
  i->mem.bytes = t == T_B128 ? 8 : type_info[t].bits / 8; /* as two of 64 */
  i->mem.n = (uint8_t)(v->n ? v->n : 1);
  i->ld.sign = type_info[t].class == 's';
  i->flags |= v->wide ? F_WIDE : 0;
  bool global = i->mem.space == SPACE_GLOBAL || i->mem.space == SPACE_GENERIC;
  bool ldu = d->form->arg;
  int most = global && !ldu && d->ptx->sm >= 100 && d->ptx->version >= 88 ? 32 : 16;
  if (i->mem.bytes * i->mem.n > most || (t == T_B128 && v->o->kind == O_VEC))
    dec_fail(d, "more than %d bytes a thread", most);
}

/* Of the destination; a narrow one keeps its upper bits zero. */
static uint8_t
register_bits(const Res *v)
{
  const Opnd *o = v->o;
  for (int k = 0; o->kind == O_VEC && k < v->n; k++)
    if (v->o->at[k].kind == O_REG)
      o = &v->o->at[k];
  return o->kind == O_REG ? type_info[o->reg->type].bits : 32;
}

/* Of ld and st: 0 for a weak one; a volatile one is relaxed, of the widest scope (PTX ISA,
 * "ld"). */
static uint8_t
order_of(const Mods *m)
{
  bool strong = mod_is(m, M_VOLATILE) || mod_is(m, M_RELAXED) || mod_is(m, M_ACQUIRE) ||
                mod_is(m, M_RELEASE);
  return strong ? (uint8_t)(dec_scope(m) | (mod_is(m, M_ACQUIRE) ? SHADOW_ACQUIRE : 0) |
                            (mod_is(m, M_RELEASE) ? SHADOW_RELEASE : 0))
                : SHADOW_WEAK;
}

/* May it be device memory? */
static bool
is_device(Space s)
{
  return s == SPACE_GLOBAL || s == SPACE_GENERIC;
}

static void
reads_strong(Dec *d, const Insn *i)
{
  uint8_t scope = i->mem.order & SHADOW_SCOPE;
  if (is_device((Space)i->mem.space) && scope > d->k->reads_strong)
    d->k->reads_strong = scope;
}

void
build_ld(Dec *d)
{
  const Res *r = d->r;
  Space space = dec_space(&d->m);
  uint8_t order = is_device(space) ? order_of(&d->m) : SHADOW_WEAK;
  Insn *i = dec_mem(d, order ? step_ld_strong : step_ld, &r[1], space);
  i->mem.order = order;
  reads_strong(d, i);
  vector_info(d, i, &r[0]);
  i->ld.keep = register_bits(&r[0]);
  if (d->n_r > 2)
    dec_hint(d, &r[2]);
  if (order)
    dec_meets(d, i, true);
  dec_list(d, i, r[0].n ? r[0].elem : &r[0].row, i->mem.n, NULL, 0);
}

void
build_st(Dec *d)
{
  const Res *r = d->r;
  Space space = dec_space(&d->m);
  uint8_t order = is_device(space) ? order_of(&d->m) : SHADOW_WEAK;
  Insn *i = dec_mem(d, order ? step_st_strong : step_st, &r[0], space);
  i->mem.order = order;
  if (i->mem.space == SPACE_PARAM)
    dec_fail(d, "only parameters and results of functions are written");
  vector_info(d, i, &r[1]);
  if (d->n_r > 2)
    dec_hint(d, &r[2]);
  if (order)
    dec_meets(d, i, false);
  dec_list(d, i, NULL, 0, r[1].n ? r[1].elem : &r[1].row, i->mem.n);
}

void
build_prefetch(Dec *d)
{
  Insn *i = dec_mem(d, step_prefetch, &d->r[0], dec_space(&d->m));
  if (d->form->arg && dec_int(d, d->r[1].o, 128) != 128)
    dec_fail(d, "the size is 128 bytes");
  i->flags &= (uint8_t)~F_GLOBAL;
}

/* red, and atom whose result nobody reads. */
static bool
is_blind(const Dec *d, bool returns)
{
  const Opnd *o = d->r[0].o;
  return !returns || o->kind == O_SINK || (o->kind == O_REG && o->reg->named == 1);
}

static ArOp
atom_math(Dec *d, const Insn *i)
{
  static const int8_t types[TYPE_COUNT] = {
      [T_F16] = AR_F16,       [T_F16X2] = AR_F16X2, [T_BF16] = AR_BF16,
      [T_BF16X2] = AR_BF16X2, [T_F32] = AR_F32,     [T_F64] = AR_F64};
  AtomOp op = {0};
  if (d->form->arg > A_MAX || type_info[i->mem.type].class != 'f')
    return op.op;
  if (!atom_float(&op, d->form->arg, (ArType)types[i->mem.type],
                  dec_var_space((Space)i->mem.space) == SPACE_SHARED))
    dec_fail(d, "this form is not emulated");
  return op.op;
}

/* Operands as lists: of a vector, or the halves of 128 bits; r: behind the destination. */
static void
atom_lists(Dec *d, Insn *i, bool returns)
{
  const Res *r = d->r + returns, *to = &d->r[0];
  if (i->mem.bytes < 16) {
    i->mem.n = (uint8_t)r[1].n;
    dec_list(d, i, to->elem, returns ? to->n : 0, r[1].elem, r[1].n);
    return;
  }
  bool cas = d->form->arg == A_CAS;
  const uint32_t src[4] = {r[1].elem[0], r[1].elem[1], r[2].elem[0], r[2].elem[1]};
  i->flags |= F_WIDE;
  dec_list(d, i, to->elem, 2, src, cas ? 4 : 2);
}

/* The cache hint is behind the sources. */
static void
atom_hint(Dec *d, const Insn *i, bool returns)
{
  bool cas = d->form->arg == A_CAS;
  if (!cas)
    dec_hint(d, &d->r[2 + returns]);
  if (mod_is(&d->m, M_L2_HINT) && dec_var_space((Space)i->mem.space) == SPACE_SHARED)
    dec_fail(d, "a cache hint is for global memory");
}

/* atom: d [a] b (c); red: [a] b */
void
build_atom(Dec *d)
{
  bool returns = d->form->opnds[0] == '=';
  const Res *r = d->r + returns;
  bool whole = d->m.t[0] == T_B128, vector = !whole && r[1].n;
  Insn *i = dec_mem(d,
                    vector  ? step_atom_vector
                    : whole ? step_atom128
                            : step_atom,
                    &r[0], dec_space(&d->m));
  if (!vector && !whole) {
    i->b = r[1].row;
    i->c = d->form->arg == A_CAS ? r[2].row : 0;
    i->d = returns ? d->r[0].row : 0;
  }
  i->atom.op = (uint8_t)d->form->arg;
  i->mem.type = d->m.t[0];
  i->mem.bytes = type_info[i->mem.type].bits / 8;
  i->mem.n = 1;
  bool both = mod_is(&d->m, M_ACQ_REL), blind = is_blind(d, returns);
  i->mem.order = (uint8_t)(dec_scope(&d->m) | (blind ? SHADOW_BLIND : 0) |
                           (both || mod_is(&d->m, M_ACQUIRE) ? SHADOW_ACQUIRE : 0) |
                           (both || mod_is(&d->m, M_RELEASE) ? SHADOW_RELEASE : 0));
  if (!blind)
    reads_strong(d, i);
  i->flags |= i->mem.bytes == 8 ? F_WIDE : 0;
  dec_meets(d, i, returns);
  i->op = atom_math(d, i);
  atom_hint(d, i, returns);
  if (vector || whole)
    atom_lists(d, i, returns);
}

/* ---- cp.async: a destination, b source, c source size or predicate ---- */

static void
copy_limit(Dec *d, Insn *i, const Res *r)
{
  const Opnd *o = r->o;
  if (o->kind == O_REG && o->reg->type == T_PRED) {
    i->ps = (uint16_t)dec_pred(d, o);
    i->ps_not = o->negated;
    i->copy.limit = COPY_UNLESS;
  } else {
    if (o->negated)
      dec_fail(d, "'!' is not allowed on this operand");
    i->c = dec_source(d, o, T_U32, false);
    i->copy.limit = COPY_BYTES;
  }
}

static bool
is_policy(const Res *r)
{
  return r->o && r->o->kind == O_REG && type_info[r->o->reg->type].bits == 64;
}

void
build_cp_async(Dec *d)
{
  Res *r = d->r;
  Insn *i = dec_mem(d, step_cp_async, &r[0], SPACE_SHARED);
  const Res none = {0}, *limit = &r[3], *policy = &r[4];
  if (is_policy(limit) && !policy->o) {
    policy = limit;
    limit = &none;
  }
  if (policy->o)
    dec_source(d, policy->o, T_B64, false);
  dec_hint(d, policy);
  i->mem.bytes = (uint8_t)dec_int(d, r[2].o, 16);
  bool cg = mod_is(&d->m, M_CG);
  if (i->mem.bytes != 16 && (cg || (i->mem.bytes != 4 && i->mem.bytes != 8)))
    dec_fail(d, cg ? "cp.async.cg copies 16 bytes" : "cp.async.ca copies 4, 8 or 16 bytes");
  if (!r[1].wide)
    dec_fail(d, "a global address needs a register of 64 bits");
  i->b = r[1].row;
  i->imm2 = r[1].o->off;
  if (limit->o)
    copy_limit(d, i, limit);
}

void
build_cp_commit(Dec *d)
{
  dec_step(d, step_cp_commit);
}

void
build_cp_wait(Dec *d)
{
  dec_step(d, step_cp_wait)->imm = d->form->arg ? -1 : (int64_t)dec_int(d, d->r[0].o, 1024);
}
