/* ldsm.h: data movement of ldmatrix, stmatrix and movmatrix.
 *
 * Of .b16, 8×8, lane l gives the address of row l % 8 of matrix l / 8; lanes from 8·num on
 * are ignored; of .b8 see below. The caller has checked bounds, alignment (16 bytes) and
 * that the warp is converged. off[] are byte offsets into mem.  Rows are uint32_t[32]. */
#ifndef ATTNC_EMULATOR_LDSM_H
#define ATTNC_EMULATOR_LDSM_H

#include <stdbool.h>
#include <stdint.h>

/* num = 1, 2, 4 */
void ldsm_load(int num, bool trans, const uint8_t *mem, const uint32_t *off,
               uint32_t *const *d);
void ldsm_store(int num, bool trans, uint8_t *mem, const uint32_t *off,
                const uint32_t *const *a);
/* Rows of 16 bytes, of whose elements of `bits` (8; 6 and 4, packed, low ones first) each
 * becomes the low bits of a byte.  load_bytes: matrices of 8 rows, row l / 4 of which lane
 * l has four bytes.  load_bytes_trans: matrices of 16 rows in two registers; lane l has of
 * columns l / 4 and l / 4 + 8 the rows 4(l % 4) … 4(l % 4)+3.  store_bytes_trans: matrices
 * of 8 rows, of which lane l has rows 2(l % 4) and 2(l % 4)+1 of column l / 4, then those
 * of column l / 4 + 8.  Row r of matrix q is lane 8q + r's, of 16 rows lane 16q + r's. */
void ldsm_load_bytes(int num, int bits, const uint8_t *mem, const uint32_t *off,
                     uint32_t *const *d);
void ldsm_load_bytes_trans(int num, int bits, const uint8_t *mem, const uint32_t *off,
                           uint32_t *const *d);
void ldsm_store_bytes_trans(int num, uint8_t *mem, const uint32_t *off,
                            const uint32_t *const *a);
void ldsm_move_trans(uint32_t *d,
                     const uint32_t *a); /* movmatrix.sync.aligned.m8n8.trans */

#endif
