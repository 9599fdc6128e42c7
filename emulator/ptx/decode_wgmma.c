/* Products of a warpgroup.  a: row of A's descriptor, b: of B's; the list holds the
 * accumulators, then the four registers of A; ps is scale-d. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/steps.h"

static Insn *
warpgroup_step(Dec *d, Step *step)
{
  Insn *i = dec_step(d, step);
  i->flags |= F_LEADER;
  d->k->wgmma = true;
  return i;
}

void
build_wgmma_group(Dec *d)
{
  static Step *const steps[] = {step_wgmma_fence, step_wgmma_commit, step_wgmma_wait};
  Insn *i = warpgroup_step(d, steps[d->form->arg]);
  if (d->form->arg == W_WAIT)
    i->imm = (int64_t)dec_int(d, d->r[0].o, INT32_MAX);
}

/* The first two types of 8 bits, or the second and the third type. */
static void
types_of(const Dec *d, WgmmaForm *f)
{
  static const uint8_t by_type[TYPE_COUNT] = {
      [T_F16] = MMA_F16, [T_BF16] = MMA_BF16, [T_TF32] = MMA_TF32, [T_F32] = MMA_F32,
      [T_U8] = MMA_U8,   [T_S8] = MMA_S8,     [T_S32] = MMA_S32};
  const Mods *m = &d->m;
  uint8_t *to[2] = {&f->a, &f->b};
  int n = 0;
  f->d = by_type[m->t[0]];
  f->a = by_type[m->t[1]];
  f->b = by_type[m->t[2]];
  for (int j = 0; j < m->n; j++)
    if (m->in_order[j] == M_E4M3 || m->in_order[j] == M_E5M2)
      *to[n++] = m->in_order[j] == M_E4M3 ? MMA_E4M3 : MMA_E5M2;
}

/* Numbers of registers that a vector holds, resolved behind `rows`. */
static int
registers(Dec *d, const Opnd *o, bool written, Type type, int due, uint32_t *rows)
{
  if (o->kind != O_VEC || o->n != due)
    dec_fail(d, "expected a vector of %d registers as operand", due);
  for (int j = 0; j < due; j++) {
    if (written && o->at[j].kind != O_REG)
      dec_fail(d, "expected a register in the vector");
    rows[j] = written ? dec_dest(d, &o->at[j], type, false)
                      : dec_source(d, &o->at[j], type, false);
    for (int k = 0; written && k < j; k++)
      if (rows[k] == rows[j])
        dec_fail(d, "the vector has %s twice", o->at[j].reg->name);
  }
  return due;
}

static bool
minus_one(Dec *d, const Opnd *o)
{
  if (o->kind != O_INT || (o->bits != 1 && o->bits != UINT64_MAX))
    dec_fail(d, "expected a scale of 1 or -1 as operand");
  return o->bits != 1;
}

/* imm-scale-a, imm-scale-b, and for elements of 16 bits imm-trans-a (of a descriptor alone)
 * and imm-trans-b. */
static void
flags_of(Dec *d, WgmmaForm *f)
{
  const Res *r = d->r + 4;
  if (f->d == MMA_S32)
    return;
  bool b = minus_one(d, r[1].o);
  f->negate = minus_one(d, r[0].o) != b;
  if (f->k != 16)
    return;
  if (f->a_regs != !r[3].o)
    dec_fail(d, f->a_regs ? "A in registers cannot be transposed"
                          : "expected trans-a and trans-b as operands");
  f->trans_a = !f->a_regs && dec_int(d, r[2].o, 1);
  f->trans_b = dec_int(d, r[f->a_regs ? 2 : 3].o, 1);
}

/* PTX ISA, "wgmma.mma_async", shapes of whole numbers: above 32 columns steps of 16. */
static void
check_columns(Dec *d, const WgmmaForm *f)
{
  if (f->d == MMA_S32 && f->n % 16 && f->n != 8 && f->n != 24)
    dec_fail(d, "integers have no product of %d columns", f->n);
}

void
build_wgmma(Dec *d)
{
  const Res *r = d->r;
  WgmmaForm f = {.k = (uint8_t)d->form->arg, .n = d->m.n_of_shape};
  uint32_t rows[128 + 4];
  types_of(d, &f);
  check_columns(d, &f);
  f.satfinite = mod_is(&d->m, M_SATFINITE);
  f.regs = (uint8_t)(f.d == MMA_F16 ? f.n / 4 : f.n / 2);
  f.a_regs = r[1].o->kind == O_VEC;
  flags_of(d, &f);
  Insn *i = warpgroup_step(d, step_wgmma);
  int n = registers(d, r[0].o, true, f.d == MMA_F32 ? T_F32 : T_B32, f.regs, rows);
  if (f.a_regs)
    n += registers(d, r[1].o, false, T_B32, 4, rows + n);
  else
    i->a = dec_source(d, r[1].o, T_B64, false);
  i->b = r[2].row;
  i->ps = (uint16_t)r[3].row;
  i->ps_not = r[3].negated;
  i->wgmma = f;
  i->flags |= F_SHARED;
  dec_list(d, i, rows, n, NULL, 0);
  i->n_d = 0; /* the step itself knows which registers are touched when */
}
