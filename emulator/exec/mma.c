#include "emulator/exec/mma.h"

#include "emulator/exec/mma_part.h"

/* ab, cd, k, least compute capability, registers of a b c d */
typedef struct FormRow {
  uint8_t ab, cd, k;
  int cc;
  MmaRegs regs;
} FormRow;

static const FormRow forms[] = {
    {MMA_F16, MMA_F32, 8, 75, {2, 1, 4, 4}},  {MMA_F16, MMA_F16, 8, 75, {2, 1, 2, 2}},
    {MMA_F16, MMA_F32, 16, 80, {4, 2, 4, 4}}, {MMA_F16, MMA_F16, 16, 80, {4, 2, 2, 2}},
    {MMA_BF16, MMA_F32, 8, 80, {2, 1, 4, 4}}, {MMA_BF16, MMA_F32, 16, 80, {4, 2, 4, 4}},
    {MMA_TF32, MMA_F32, 4, 80, {2, 1, 4, 4}}, {MMA_TF32, MMA_F32, 8, 80, {4, 2, 4, 4}},
};

bool
mma_form(const MmaForm *f, int cc, MmaRegs *regs)
{
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
    const FormRow *r = &forms[i];
    if (r->ab != f->a || r->ab != f->b || r->cd != f->c || r->cd != f->d)
      continue;
    if (f->m != MMA_M || f->n != MMA_N || r->k != f->k || cc < r->cc || f->wmma)
      continue;
    if (regs)
      *regs = r->regs;
    return true;
  }
  return false;
}

/* How many products the array takes at once, and F (mma.h's essay). */
static MmaStep
first_step(const MmaForm *f, int cc)
{
  int width = cc < 90 ? (f->a == MMA_TF32 ? 4 : 8) : 16;
  return (MmaStep){.ab = f->a,
                   .cd = f->d,
                   .k = f->k < width ? f->k : width,
                   .fraction = cc < 90 ? 24 : 25};
}

static const MmaCode *
code(void)
{
  switch (simd_current()) {
  case SIMD_AVX512:
    return &mma_code_avx512;
  case SIMD_AVX2:
    return &mma_code_avx2;
  default:
    return &mma_code_base;
  }
}

void
mma_wide(const MmaWide *w, bool fast)
{
  (fast ? code()->wide_fast : code()->wide)(w);
}

void
mma_step(MmaOperands *o, const MmaStep *s, bool fast)
{
  (fast ? code()->fast : code()->bit)(o, s);
}

void
mma_run(const MmaForm *f, int cc, bool fast, uint32_t *const *d, const uint32_t *const *a,
        const uint32_t *const *b, const uint32_t *const *c)
{
  MmaOperands o;
  const MmaCode *with = code();
  MmaStep s = first_step(f, cc);
  with->gather(f, a, b, c, &o);
  if (fast) {
    s.k = f->k;
    with->fast(&o, &s);
  } else {
    for (; s.k0 < f->k; s.k0 += s.k)
      with->bit(&o, &s);
  }
  with->scatter(f, &o, d);
}
