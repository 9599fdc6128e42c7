#include "emulator/arith.h"

#include "emulator/arith_part.h"
#include "emulator/cvt.h"
#include "emulator/simd.h"

/* Modifiers beside the rounding that a form may have; ROUNDS: any rounding, else AR_RN. */
enum { NO = 1 << 30, ROUNDS = 1 << 29, MIN_MAX = AR_NAN | AR_XORSIGN };

/* f32, f16 and f16x2, bf16 and bf16x2, f64 */
static const uint32_t legal[AR_MATHS][KINDS] = {
    [AR_ADD] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, 0},
    [AR_SUB] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, 0},
    [AR_MUL] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, 0},
    [AR_FMA] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT | AR_RELU, AR_RELU, 0},
    [AR_MIN] = {MIN_MAX | AR_FTZ, MIN_MAX | AR_FTZ, MIN_MAX, 0},
    [AR_MAX] = {MIN_MAX | AR_FTZ, MIN_MAX | AR_FTZ, MIN_MAX, 0},
    [AR_DIV] = {ROUNDS | AR_FTZ | AR_APPROX | AR_FULL, NO, NO, 0},
    [AR_RCP] = {ROUNDS | AR_FTZ | AR_APPROX, NO, NO, 0},
    [AR_SQRT] = {ROUNDS | AR_FTZ | AR_APPROX, NO, NO, 0},
    [AR_RSQRT] = {AR_FTZ | AR_APPROX, NO, NO, AR_APPROX},
    [AR_EX2] = {AR_FTZ | AR_APPROX, AR_APPROX, AR_FTZ | AR_APPROX, NO},
    [AR_LG2] = {AR_FTZ | AR_APPROX, NO, NO, NO},
    [AR_SIN] = {AR_FTZ | AR_APPROX, NO, NO, NO},
    [AR_COS] = {AR_FTZ | AR_APPROX, NO, NO, NO},
    [AR_TANH] = {AR_APPROX, AR_APPROX, AR_APPROX, NO},
    [AR_NEG] = {AR_FTZ, AR_FTZ, 0, 0},
    [AR_ABS] = {AR_FTZ, AR_FTZ, 0, 0},
};

static const ArCode *
code(void)
{
  switch (simd_current()) {
  case SIMD_AVX512:
    return &ar_code_avx512;
  case SIMD_AVX2:
    return &ar_code_avx2;
  default:
    return &ar_code_base;
  }
}

static int
kind_of(ArType t)
{
  switch (t) {
  case AR_F32:
    return KIND_F32;
  case AR_F16:
  case AR_F16X2:
    return KIND_F16;
  case AR_BF16:
  case AR_BF16X2:
    return KIND_BF16;
  case AR_F64:
    return KIND_F64;
  default:
    return -1;
  }
}

static bool
math_legal(ArMath m, int kind, unsigned mods)
{
  uint32_t may = legal[m][kind], mode = mods & AR_ROUND, flags = mods & ~(unsigned)AR_ROUND;
  if ((may & NO) || (flags & ~may) || mode > AR_RP || (mode != AR_RN && !(may & ROUNDS)))
    return false;
  if ((flags & AR_FULL) && !(flags & AR_APPROX))
    return false;
  return !(mode != AR_RN && (flags & AR_APPROX));
}

bool
ar_math(ArOp *op, ArMath m, ArType t, unsigned mods)
{
  int kind = kind_of(t);
  if (kind < 0 || !math_legal(m, kind, mods))
    return false;
  const ArCode *with = code();
  ArFn *fn = with->math[m][kind];
  if (mods & AR_ROUND)
    fn = with->directed[m];
  if (m == AR_DIV && (mods & AR_APPROX) && !(mods & AR_FULL))
    fn = with->div_approx;
  *op = (ArOp){.fn = fn, .to = (uint8_t)t, .from = (uint8_t)t, .mods = (uint16_t)mods};
  return fn != NULL;
}

/* to, from, modifiers that must all be there, modifiers that may be; which loop */
typedef struct QuickRow {
  uint8_t to, from;
  uint16_t mode, may;
  ArQuick quick;
} QuickRow;

static const QuickRow quicks[] = {
    {AR_BF16X2, AR_F32, AR_RN, AR_RELU | AR_SATFINITE, QUICK_BF16X2},
    {AR_F16X2, AR_F32, AR_RN, AR_RELU | AR_SATFINITE, QUICK_F16X2},
    {AR_BF16, AR_F32, AR_RN, AR_RELU | AR_SATFINITE, QUICK_BF16},
    {AR_F16, AR_F32, AR_RN, AR_RELU | AR_SATFINITE | AR_FTZ, QUICK_F16},
    {AR_F32, AR_BF16, AR_RN, AR_FTZ | AR_SAT, QUICK_F32_BF16},
    {AR_F32, AR_F16, AR_RN, AR_FTZ | AR_SAT, QUICK_F32_F16},
    {AR_F32, AR_S32, AR_RN, AR_FTZ, QUICK_F32_S32},
    {AR_F32, AR_U32, AR_RN, AR_FTZ, QUICK_F32_U32},
    {AR_S32, AR_F32, AR_RZ, AR_FTZ | AR_SAT, QUICK_S32_F32},
    {AR_S32, AR_F32, AR_RN, AR_FTZ | AR_SAT, QUICK_S32_F32},
};

/* PTX ISA, cvt: f8 pairs come of two f32 or an f16 pair, saturated, and become an f16 pair.
 */
static bool
cvt_f8_legal(ArType to, ArType from, unsigned mods)
{
  bool up = (from == AR_E4M3X2 || from == AR_E5M2X2) && to == AR_F16X2;
  bool down = (to == AR_E4M3X2 || to == AR_E5M2X2) && (from == AR_F32 || from == AR_F16X2);
  unsigned rest = mods & ~(unsigned)AR_RELU;
  return (up && rest == AR_RN) || (down && rest == (AR_RN | AR_SATFINITE));
}

/* What the ISA's text on cvt forbids, beyond what a decoder's table of types says. */
static bool
cvt_legal(ArType to, ArType from, unsigned mods)
{
  bool half = to == AR_F16 || to == AR_BF16 || to == AR_F16X2 || to == AR_BF16X2;
  unsigned mode = mods & AR_ROUND;
  if (cvt_is_f8(to) || cvt_is_f8(from))
    return cvt_f8_legal(to, from, mods);
  if (from == AR_F16X2 || from == AR_BF16X2 || from == AR_TF32)
    return false;
  if ((to == AR_F16X2 || to == AR_BF16X2 || to == AR_TF32) && from != AR_F32)
    return false;
  if (mode > AR_RNA || (mode == AR_RNA && to != AR_TF32))
    return false;
  if ((mods & (AR_RELU | AR_SATFINITE)) && !((half || to == AR_TF32) && from == AR_F32))
    return false;
  if ((mods & AR_INTEGRAL) && (to != from || !cvt_is_float(to)))
    return false;
  if ((mods & AR_FTZ) && to != AR_F32 && from != AR_F32)
    return false;
  if (to == AR_F64 && mode != AR_RN && !(mods & AR_INTEGRAL))
    return false;
  return !(mods &
           ~(unsigned)(AR_ROUND | AR_FTZ | AR_SAT | AR_RELU | AR_SATFINITE | AR_INTEGRAL));
}

bool
ar_cvt(ArOp *op, ArType to, ArType from, unsigned mods)
{
  if (to >= AR_TYPES || from >= AR_TYPES || !cvt_legal(to, from, mods))
    return false;
  *op = (ArOp){
      .fn = cvt_any, .to = (uint8_t)to, .from = (uint8_t)from, .mods = (uint16_t)mods};
  for (size_t i = 0; i < sizeof quicks / sizeof *quicks; i++) {
    const QuickRow *q = &quicks[i];
    if (q->to == to && q->from == from && q->mode == (mods & AR_ROUND) &&
        !(mods & ~(unsigned)(AR_ROUND | q->may)))
      op->fn = code()->quick[q->quick];
  }
  return true;
}
