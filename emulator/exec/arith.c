#include "emulator/exec/arith.h"

#include "emulator/exec/arith_part.h"
#include "emulator/exec/cvt.h"
#include "emulator/exec/round64.h"
#include "emulator/exec/simd.h"

/* Modifiers beside the rounding that a form may have; ROUNDS: any rounding, else AR_RN. */
enum { NO = 1 << 30, ROUNDS = 1 << 29, MIN_MAX = AR_NAN | AR_XORSIGN };
#define PAIR (ROUNDS | AR_FTZ)

/* f32, f16 and f16x2, bf16 and bf16x2, f64, f32x2 */
static const uint32_t legal[AR_MATHS][KINDS] = {
    [AR_ADD] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, ROUNDS, PAIR},
    [AR_SUB] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, ROUNDS, PAIR},
    [AR_MUL] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT, 0, ROUNDS, PAIR},
    [AR_FMA] = {ROUNDS | AR_FTZ | AR_SAT, AR_FTZ | AR_SAT | AR_RELU | AR_OOB,
                AR_RELU | AR_OOB, ROUNDS, PAIR},
    [AR_MIN] = {MIN_MAX | AR_FTZ | AR_MAGNITUDE, MIN_MAX | AR_FTZ, MIN_MAX, 0, NO},
    [AR_MAX] = {MIN_MAX | AR_FTZ | AR_MAGNITUDE, MIN_MAX | AR_FTZ, MIN_MAX, 0, NO},
    [AR_DIV] = {ROUNDS | AR_FTZ | AR_APPROX | AR_FULL, NO, NO, ROUNDS, NO},
    [AR_RCP] = {ROUNDS | AR_FTZ | AR_APPROX, NO, NO, ROUNDS | AR_FTZ | AR_APPROX, NO},
    [AR_SQRT] = {ROUNDS | AR_FTZ | AR_APPROX, NO, NO, ROUNDS, NO},
    [AR_RSQRT] = {AR_FTZ | AR_APPROX, NO, NO, AR_FTZ | AR_APPROX, NO},
    [AR_EX2] = {AR_FTZ | AR_APPROX, AR_APPROX, AR_FTZ | AR_APPROX, NO, NO},
    [AR_LG2] = {AR_FTZ | AR_APPROX, NO, NO, NO, NO},
    [AR_SIN] = {AR_FTZ | AR_APPROX, NO, NO, NO, NO},
    [AR_COS] = {AR_FTZ | AR_APPROX, NO, NO, NO, NO},
    [AR_TANH] = {AR_APPROX, AR_APPROX, AR_APPROX, NO, NO},
    [AR_NEG] = {AR_FTZ, AR_FTZ, 0, 0, NO},
    [AR_ABS] = {AR_FTZ, AR_FTZ, 0, 0, NO},
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
  case AR_F32X2:
    return KIND_F32X2;
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
  if (m == AR_RCP && kind == KIND_F64 && !(flags & AR_FTZ) != !(flags & AR_APPROX))
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
    fn = kind == KIND_F64 ? round64_find(m) : with->directed[kind == KIND_F32X2][m];
  if (mods & AR_OOB)
    fn = with->fma_oob;
  if (kind == KIND_F64 && (mods & AR_FTZ))
    fn = m == AR_RCP ? with->rcp_ftz64 : with->rsqrt_ftz64;
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

/* PTX ISA, cvt: pairs of small elements come of two f32 or an f16 pair, saturated, and
 * become an f16 pair; those of scales come of two f32 or a bf16 pair, rounded to a power of
 * two. */
static bool
cvt_small_legal(ArType to, ArType from, unsigned mods)
{
  unsigned mode = mods & AR_ROUND, rest = mods & ~(unsigned)AR_RELU;
  if (to == AR_UE8M0X2)
    return (from == AR_F32 || from == AR_BF16X2) && (mode == AR_RZ || mode == AR_RP) &&
           !(mods & ~(unsigned)(AR_ROUND | AR_SATFINITE));
  if (from == AR_UE8M0X2)
    return to == AR_BF16X2 && mods == AR_RN;
  if (from >= AR_E4M3X2 && from < AR_UE8M0X2)
    return to == AR_F16X2 && rest == AR_RN;
  if (to < AR_E4M3X2 || to > AR_UE8M0X2)
    return false;
  bool six = to == AR_E2M3X2 || to == AR_E3M2X2;
  return (from == AR_F32 && rest == (AR_RS | AR_SATFINITE)) ||
         ((from == AR_F32 || (from == AR_F16X2 && !six)) && rest == (AR_RN | AR_SATFINITE));
}

static bool
cvt_mode_legal(ArType to, ArType from, unsigned mode)
{
  bool half_pair = to == AR_F16X2 || to == AR_BF16X2;
  switch (mode) {
  case AR_RNA:
    return to == AR_TF32;
  case AR_RS:
    return half_pair && from == AR_F32;
  default:
    return mode < AR_RNA;
  }
}

/* What the ISA's text on cvt forbids, beyond what a decoder's table of types says. */
static bool
cvt_legal(ArType to, ArType from, unsigned mods)
{
  bool half = to == AR_F16 || to == AR_BF16 || to == AR_F16X2 || to == AR_BF16X2;
  unsigned mode = mods & AR_ROUND;
  if (cvt_is_small(to) || cvt_is_small(from))
    return cvt_small_legal(to, from, mods);
  if (from == AR_F16X2 || from == AR_BF16X2 || from == AR_TF32)
    return false;
  if ((to == AR_F16X2 || to == AR_BF16X2 || to == AR_TF32) && from != AR_F32)
    return false;
  if (!cvt_mode_legal(to, from, mode))
    return false;
  if ((mods & (AR_RELU | AR_SATFINITE)) && !((half || to == AR_TF32) && from == AR_F32))
    return false;
  if ((mods & AR_INTEGRAL) && (to != from || !cvt_is_float(to)))
    return false;
  if ((mods & AR_FTZ) && to != AR_F32 && from != AR_F32)
    return false;
  bool narrow = from == AR_BF16; /* exact, whatever the rounding */
  if (to == AR_F64 && mode != AR_RN && !(mods & AR_INTEGRAL) && cvt_is_float(from) &&
      !narrow)
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
