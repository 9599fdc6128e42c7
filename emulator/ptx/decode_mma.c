/* Matrices in registers: loads and stores of fragments, products of a warp. */
#include "emulator/ptx/decode.h"
#include "emulator/exec/fragment.h"
#include "emulator/exec/product.h"
#include "emulator/exec/steps.h"

static void
all_lanes(Insn *i)
{
  i->flags |= F_LEADER;
}

/* ---- ldmatrix, stmatrix, movmatrix ---- */

void
build_ldmatrix(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_ldmatrix, &r[1], dec_space(&d->m));
  all_lanes(i);
  i->ldsm.n = (uint8_t)d->form->arg;
  i->ldsm.trans = mod_is(&d->m, M_TRANS);
  dec_list(d, i, r[0].elem, d->form->arg, NULL, 0);
}

void
build_stmatrix(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_stmatrix, &r[0], dec_space(&d->m));
  all_lanes(i);
  i->ldsm.n = (uint8_t)d->form->arg;
  i->ldsm.trans = mod_is(&d->m, M_TRANS);
  dec_list(d, i, NULL, 0, r[1].elem, d->form->arg);
}

/* Transposed: 16 rows. */
void
build_ldmatrix_bytes(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_ldmatrix_bytes, &r[1], dec_space(&d->m));
  all_lanes(i);
  i->ldsm.n = (uint8_t)d->form->arg;
  i->ldsm.bits = mod_is(&d->m, M_B6X16_P32) ? 6 : mod_is(&d->m, M_B4X16_P64) ? 4 : 8;
  i->ldsm.trans = mod_is(&d->m, M_TRANS);
  dec_list(d, i, r[0].elem, r[0].n, NULL, 0);
}

void
build_stmatrix_bytes(Dec *d)
{
  const Res *r = d->r;
  Insn *i = dec_mem(d, step_stmatrix_bytes, &r[0], dec_space(&d->m));
  all_lanes(i);
  i->ldsm.n = (uint8_t)d->form->arg;
  dec_list(d, i, NULL, 0, r[1].elem, r[1].n);
}

void
build_movmatrix(Dec *d)
{
  Insn *i = dec_step(d, step_movmatrix);
  all_lanes(i);
  i->d = d->r[0].row;
  i->a = d->r[1].row;
}

/* ---- what is multiplied ---- */

static void
shape_of(const Mods *m, MmaForm *f)
{
  static const struct {
    Mod mod;
    uint8_t m, n, k;
  } shapes[] = {{M_M8N8K4, 8, 8, 4},       {M_M8N8K16, 8, 8, 16},   {M_M16N8K4, 16, 8, 4},
                {M_M16N8K8, 16, 8, 8},     {M_M16N8K16, 16, 8, 16}, {M_M16N8K32, 16, 8, 32},
                {M_M16N16K16, 16, 16, 16}, {M_M32N8K16, 32, 8, 16}, {M_M8N32K16, 8, 32, 16},
                {M_M16N16K8, 16, 16, 8}};
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    if (mod_is(m, shapes[i].mod)) {
      f->m = shapes[i].m;
      f->n = shapes[i].n;
      f->k = shapes[i].k;
    }
}

/* The types of elements in the order of the modifiers; returns how many. */
static int
types_of(const Mods *m, uint8_t *types)
{
  static const struct {
    int id;
    MmaType type;
  } known[] = {
      {MOD_COUNT + T_F16, MMA_F16},
      {MOD_COUNT + T_BF16, MMA_BF16},
      {MOD_COUNT + T_TF32, MMA_TF32},
      {MOD_COUNT + T_F32, MMA_F32},
      {MOD_COUNT + T_F64, MMA_F64},
      {MOD_COUNT + T_U8, MMA_U8},
      {MOD_COUNT + T_S8, MMA_S8},
      {MOD_COUNT + T_S32, MMA_S32},
      {M_E4M3, MMA_E4M3},
      {M_E5M2, MMA_E5M2},
      {M_E3M2, MMA_E3M2},
      {M_E2M3, MMA_E2M3},
      {M_E2M1, MMA_E2M1},
  };
  int n = 0;
  for (int j = 0; j < m->n; j++)
    for (size_t i = 0; n < FORM_TYPES && i < sizeof known / sizeof *known; i++)
      if (m->in_order[j] == known[i].id)
        types[n++] = (uint8_t)known[i].type;
  return n;
}

/* Layouts in the order of the modifiers; returns how many. */
static int
layouts_of(const Mods *m, bool *is_col)
{
  int n = 0;
  for (int j = 0; j < m->n && n < 2; j++)
    if (m->in_order[j] == M_ROW || m->in_order[j] == M_COL)
      is_col[n++] = m->in_order[j] == M_COL;
  return n;
}

/* d a b c; of wmma with f16 d and c alone. */
static MmaForm
form_of(const Mods *m)
{
  uint8_t t[FORM_TYPES] = {0};
  bool is_col[2] = {false, false};
  bool all = types_of(m, t) == FORM_TYPES;
  MmaForm f = {.d = t[0], .a = MMA_F16, .b = MMA_F16, .c = t[1]};
  if (all) {
    f.a = t[1];
    f.b = t[2];
    f.c = t[3];
  }
  layouts_of(m, is_col);
  f.col_a = is_col[0];
  f.col_b = is_col[1];
  f.satfinite = mod_is(m, M_SATFINITE);
  f.rounding = mod_is(m, M_RZ)   ? AR_RZ
               : mod_is(m, M_RM) ? AR_RM
               : mod_is(m, M_RP) ? AR_RP
                                 : AR_RN;
  shape_of(m, &f);
  return f;
}

/* ---- products ---- */

/* The registers of d, a, b and c. */
static Insn *
product_insn(Dec *d, Step *step, const MmaForm *f)
{
  const Res *r = d->r;
  uint32_t src[24];
  int n = 0;
  for (int k = 1; k < 4; k++)
    for (int j = 0; j < r[k].n; j++)
      src[n++] = r[k].elem[j];
  Insn *i = dec_step(d, step);
  all_lanes(i);
  dec_list(d, i, r[0].elem, r[0].n, src, n);
  i->mma = *f;
  i->regs.a = (uint8_t)r[1].n;
  i->regs.b = (uint8_t)r[2].n;

  return i;
}

void
build_mma(Dec *d)
{
  const Res *r = d->r;
  MmaForm f = form_of(&d->m);
  MmaRegs regs;
  if (!mma_form(&f, d->ptx->sm, &regs))
    dec_fail(d, "this form is not emulated for sm_%d", d->ptx->sm);
  if (regs.d != r[0].n || regs.a != r[1].n || regs.b != r[2].n || regs.c != r[3].n)
    dec_fail(d, "the vectors have the wrong number of registers");
  product_insn(d, step_mma, &f);
}

/* arg: of wmma */
void
build_product(Dec *d)
{
  const Res *r = d->r;
  MmaForm f = form_of(&d->m);
  f.wmma = d->form->arg;
  if (!product_form(&f))
    dec_fail(d, "this form is not emulated");
  for (int k = 0; k < 4; k++) {
    static const FragRole roles[] = {FRAG_D, FRAG_A, FRAG_B, FRAG_C};
    if (r[k].n != frag_registers(&f, roles[k]))
      dec_fail(d, "the vectors have the wrong number of registers");
  }
  Insn *i = product_insn(d, step_product, &f);
  i->flags |= f.d == MMA_F64 ? F_WIDE : 0;
}

/* ---- wmma.load and wmma.store: b stride, or imm2 without one ---- */

static Insn *
fragment_insn(Dec *d, Step *step, const Res *addr, const Res *regs, const Res *stride)
{
  uint8_t type;
  bool is_col = false;
  FragRole role = mod_is(&d->m, M_A) ? FRAG_A : mod_is(&d->m, M_B) ? FRAG_B : FRAG_C;
  types_of(&d->m, &type);
  layouts_of(&d->m, &is_col);
  MmaForm f = {.a = type, .b = type, .c = type, .d = type, .wmma = true};
  shape_of(&d->m, &f);
  if (regs->n != frag_registers(&f, role))
    dec_fail(d, "the vector has the wrong number of registers");
  Insn *i = dec_mem(d, step, addr, dec_space(&d->m));
  all_lanes(i);
  int rows = role == FRAG_B ? f.k : f.m, cols = role == FRAG_A ? f.k : f.n;
  i->mma = f;
  i->flags |= type == MMA_F64 ? F_WIDE : 0;
  i->wmma.role = (uint8_t)role;
  i->wmma.col = is_col;
  i->wmma.strided = stride->o != NULL;
  i->b = stride->o ? stride->row : 0;
  i->imm2 = is_col ? rows : cols;
  return i;
}

void
build_wmma_load(Dec *d)
{
  const Res *r = d->r;
  Insn *i = fragment_insn(d, step_wmma_load, &r[1], &r[0], &r[2]);
  dec_list(d, i, r[0].elem, r[0].n, NULL, 0);
}

void
build_wmma_store(Dec *d)
{
  const Res *r = d->r;
  Insn *i = fragment_insn(d, step_wmma_store, &r[0], &r[1], &r[2]);
  dec_list(d, i, NULL, 0, r[1].elem, r[1].n);
}
