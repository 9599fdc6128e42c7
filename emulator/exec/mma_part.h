/* mma_part.h: what mma.c and the three builds of mma_body.h share.
 *
 * One step is one pass of the multiplier array: 16×8 outputs, k products each (4, 8 or 16).
 * The left operand and C are transposed so that the 16 rows are the vector; the right
 * operand stays as its registers hold it and is broadcast (mma_b_at). */
#ifndef ATTNC_EMULATOR_MMA_PART_H
#define ATTNC_EMULATOR_MMA_PART_H

#include "emulator/exec/mma.h"
#include "emulator/exec/simd.h"

enum { MMA_M = 16, MMA_N = 8, MMA_K = 16 };

/* 32-bit patterns: f16 in the low half, bf16 and tf32 as f32. */
typedef struct MmaOperands {
  uint32_t a[MMA_K * MMA_M]; /* row m of product k: k * MMA_M + m */
  uint32_t b[4 * 32];        /* element j of column n: mma_b_at */
  uint32_t c[MMA_N * MMA_M]; /* f32 bits, or f16 in the low half; replaced by the result */
} MmaOperands;

typedef struct MmaStep {
  uint8_t ab, cd; /* MmaType */
  int k0, k;      /* products k0 … k0+k-1 */
  int fraction;   /* F */
} MmaStep;

/* wgmma of one warp: 16 rows and n columns, all k products in one pass.  Elements of 8 bits
 * come as bytes in the low bits (MMA_E4M3), or as f16 (MMA_E5M2, shifted up by 8). */
typedef struct MmaWide {
  uint8_t ta, tb, cd; /* MmaType */
  int n, k;
  int fraction;
  bool zero;         /* C is 0: d is only written */
  bool rows;         /* b holds k rows of n elements, otherwise n columns of 32 bytes */
  bool cut;          /* results keep `fraction` bits, not 23 */
  const uint32_t *a; /* row m of product k: k * MMA_M + m */
  const uint8_t *b;  /* as in memory */
  uint32_t *const *cd_rows; /* registers: C, then the result */
} MmaWide;
enum { WIDE_K = 32 };

typedef struct MmaCode {
  void (*gather)(const MmaForm *, const uint32_t *const *a, const uint32_t *const *b,
                 const uint32_t *const *c, MmaOperands *);
  void (*scatter)(const MmaForm *, const MmaOperands *, uint32_t *const *d);
  void (*bit)(MmaOperands *, const MmaStep *);
  void (*fast)(MmaOperands *, const MmaStep *);
  void (*wide)(const MmaWide *);
  void (*wide_fast)(const MmaWide *);
} MmaCode;

extern const MmaCode mma_code_base, mma_code_avx2, mma_code_avx512;

void mma_wide(const MmaWide *, bool fast);
void mma_step(MmaOperands *, const MmaStep *, bool fast);

/* Lane 4n + t holds, of column n, for 16-bit types elements 2t and 2t+1 of each 8 (rows 0
 * and 1, then 2 and 3), for tf32 element t of each 4. */
static inline int
mma_b_at(bool tf32, int j, int n)
{
  return tf32 ? j / 4 * 32 + j % 4 + 4 * n : (j / 8 * 2 + j % 2) * 32 + j % 8 / 2 + 4 * n;
}

#endif
