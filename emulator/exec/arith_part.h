/* arith_part.h: what arith.c and the three builds of arith_body.h share. */
#ifndef ATTNC_EMULATOR_ARITH_PART_H
#define ATTNC_EMULATOR_ARITH_PART_H

#include "emulator/exec/arith.h"

/* A float type's column in the function tables; the packed ones are unpacked in place. */
typedef enum ArKind { KIND_F32, KIND_F16, KIND_BF16, KIND_F64, KIND_F32X2, KINDS } ArKind;

/* Conversions worth a loop of their own. */
typedef enum ArQuick {
  QUICK_BF16X2, /* from f32, nearest even */
  QUICK_F16X2,
  QUICK_BF16,
  QUICK_F16,
  QUICK_F32_BF16, /* f32 from bf16 … */
  QUICK_F32_F16,
  QUICK_F32_S32,
  QUICK_F32_U32,
  QUICK_S32_F32, /* toward zero, or to nearest even with AR_RN */
  QUICK_COUNT
} ArQuick;

typedef struct ArCode {
  ArFn *math[AR_MATHS][KINDS]; /* NULL: none */
  ArFn *directed[2][AR_MATHS]; /* f32, f32x2: rounding other than AR_RN */
  ArFn *div_approx, *fma_oob, *rcp_ftz64, *rsqrt_ftz64;
  ArFn *quick[QUICK_COUNT];
} ArCode;

extern const ArCode ar_code_base, ar_code_avx2, ar_code_avx512;

#endif
