/* mma.h: mma.sync of one warp, over registers as arrays of 32 lanes.
 *
 * What is multiplied is an MmaForm; how its matrices lie in registers says fragment.h. This
 * is the quick way for m16n8k8 and m16n8k16 (row × col) of f16 and bf16, m16n8k4 and
 * m16n8k8 of tf32; product.h has the others.  Two ways to compute:
 * - fast: each product exact, sums in f32 in order of k, for tests that only look at
 * results;
 * - bit-level: the tensor core as the MMA-Sim paper (arXiv 2511.10909) describes it: exact
 *   products; products and C aligned to the largest exponent and truncated to F fraction
 *   bits; exact sum; rounded to f32 toward zero (f16: to nearest even).  Turing, Ampere and
 *   Ada: F = 24, eight f16/bf16 (four tf32) products at a time, chained; Hopper and
 *   Blackwell: F = 25, sixteen (eight).  A zero operand has exponent -126, a result too
 *   large is Inf, a zero result +0.  None of it was compared with a chip by us.
 * No state, any thread.  d may share rows with c, and with a or b. */
#ifndef ATTNC_EMULATOR_MMA_H
#define ATTNC_EMULATOR_MMA_H

#include <stdbool.h>
#include <stdint.h>

typedef enum MmaType {
  MMA_F16,
  MMA_BF16,
  MMA_TF32,
  MMA_F32,
  MMA_E4M3,
  MMA_E5M2,
  MMA_E3M2, /* in the low six bits of a byte */
  MMA_E2M3,
  MMA_E2M1, /* in bits 2 to 5 of a byte */
  MMA_U8,
  MMA_S8,
  MMA_S32,
  MMA_F64,
} MmaType;

typedef struct MmaForm {
  uint8_t a, b, c, d; /* MmaType */
  uint8_t m, n, k;
  uint8_t rounding;  /* of f64: AR_RN … */
  bool col_a, col_b; /* of m8n8k4 of f16: layout .col */
  bool satfinite;    /* of s32 */
  bool wmma;
} MmaForm;

/* Registers (32-bit) each thread gives for an operand. */
typedef struct MmaRegs {
  int a, b, c, d;
} MmaRegs;

/* False: not of the quick ones, or the compute capability (80, 86, 89, 90, 120 …; 75 has
 * f16 m16n8k8 alone) lacks it.  regs may be NULL. */
bool mma_form(const MmaForm *, int cc, MmaRegs *regs);

/* Runs a form that mma_form accepted.  Each of d, a, b, c points to as many rows as MmaRegs
 * says; a row is uint32_t[32], one value a lane. */
void mma_run(const MmaForm *, int cc, bool fast, uint32_t *const *d,
             const uint32_t *const *a, const uint32_t *const *b, const uint32_t *const *c);

#endif
