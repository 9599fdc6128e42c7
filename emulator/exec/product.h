/* product.h: matrix products of one warp that mma.h's quick way does not have.
 *
 * - whole numbers (u8, s8; m8n8k16, m16n8k16, m16n8k32): exact; C is added to the whole
 * sum, which .satfinite clamps and else wraps.
 * - 8 bits and fewer (e4m3, e5m2, e3m2, e2m3, e2m1; m16n8k16, m16n8k32): mma.h's model with
 *   F and the steps of k by chip (product.c), the narrow types as the e4m3 that they equal.
 * - f64: fma in order of k, in its rounding.
 * - m8n8k4 of f16: four products of 8×8.
 * - wmma: one after another the products of mma.sync that it consists of.
 * No state, any thread.  d may share rows with the sources. */
#ifndef ATTNC_EMULATOR_PRODUCT_H
#define ATTNC_EMULATOR_PRODUCT_H

#include "emulator/exec/mma.h"

/* False: not emulated. */
bool product_form(const MmaForm *);
/* Each of d, a, b, c points to as many rows as fragment.h says: uint32_t[32], of f64
 * uint64_t[32]. */
void product_run(const MmaForm *, int cc, bool fast, uint32_t *const *d,
                 const uint32_t *const *a, const uint32_t *const *b,
                 const uint32_t *const *c);

/* 16 rows of A and n columns of B, each of 32 bytes that are whole numbers, added to
 * accumulators of s32 that lie as those of m16n8 side by side. */
void product_whole(bool signed_a, bool signed_b, bool satfinite, int n, const uint8_t *a,
                   const uint8_t *b, uint32_t *const *cd_rows);

#endif
