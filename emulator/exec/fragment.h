/* fragment.h: where the elements of a warp's matrices lie in registers.
 *
 * Lane l's register r of operand A, B or C (D lies as C) holds as many elements as its type
 * leaves room for, and frag_at says where each stands in its matrix, by the formulae of the
 * PTX ISA ("Matrix fragments for mma.m…"), which are all here.  Of wmma the ISA says
 * nothing: its matrices are pieces of 16 rows or 8 columns, each a fragment of mma.m16n8,
 * in order; eight rows alone are the first half of such a piece; what registers are left
 * over hold the first ones again.  A layout .row or .col is how wmma.load reads memory, not
 * where elements lie.
 *
 * mma.m8n8k4 of f16 is four products: lanes 4q … 4q+3 and 4q+16 … 4q+19 have the q-th. */
#ifndef ATTNC_EMULATOR_FRAGMENT_H
#define ATTNC_EMULATOR_FRAGMENT_H

#include "emulator/exec/mma.h"

typedef enum FragRole { FRAG_A, FRAG_B, FRAG_C, FRAG_D } FragRole;

typedef struct FragAt {
  uint8_t row, col; /* A: of m and k; B: of k and n; C and D: of m and n */
} FragAt;

/* Registers of a lane: of 64 bits for f64, else of 32. */
int frag_registers(const MmaForm *, FragRole);
/* Elements in one of them, low bits first. */
int frag_elements(const MmaForm *, FragRole);
/* Which of the products of m8n8k4 of f16 a lane has a part in; of others 0. */
int frag_product(const MmaForm *, int lane);
FragAt frag_at(const MmaForm *, FragRole, int reg, int lane, int element);
/* Of wmma: registers from this one on hold what others hold as well. */
int frag_distinct(const MmaForm *, FragRole);
uint8_t frag_type(const MmaForm *, FragRole); /* MmaType */
int mma_type_bits(uint8_t type);              /* that an element takes in a register */

#endif
