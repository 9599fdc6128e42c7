/* ldsm.h: data movement of ldmatrix, stmatrix and movmatrix (.b16, 8×8).
 *
 * Lane l gives the address of row l % 8 of matrix l / 8; lanes from 8·num on are ignored.
 * The caller has checked bounds, alignment (16 bytes) and that the warp is converged.
 * off[] are byte offsets into mem.  Rows are uint32_t[32]. */
#ifndef ATTNC_EMULATOR_LDSM_H
#define ATTNC_EMULATOR_LDSM_H

#include <stdbool.h>
#include <stdint.h>

/* num = 1, 2, 4 */
void ldsm_load(int num, bool trans, const uint8_t *mem, const uint32_t *off,
               uint32_t *const *d);
void ldsm_store(int num, bool trans, uint8_t *mem, const uint32_t *off,
                const uint32_t *const *a);
void ldsm_move_trans(uint32_t *d,
                     const uint32_t *a); /* movmatrix.sync.aligned.m8n8.trans */

#endif
