/* atom.h: read, change, write back, while CTAs on other host threads do the same.
 *
 * What atom and red do to one element, and the reductions of bulk copies to many; each
 * element by itself is atomic, as the PTX ISA says of both. */
#ifndef ATTNC_EMULATOR_ATOM_H
#define ATTNC_EMULATOR_ATOM_H

#include "emulator/exec/arith.h"

typedef struct AtomOp {
  ArOp op;            /* floating point; fn NULL: whole numbers, by sub */
  uint8_t sub, bytes; /* A_ADD …; 2, 4 or 8 */
  bool sign;          /* A_MIN, A_MAX of signed ones */
} AtomOp;

/* A_ADD, A_MIN or A_MAX of a floating point type; false: there is no such form. */
bool atom_float(AtomOp *, int sub, ArType, bool shared);
/* The old value; c: A_CAS alone. */
uint64_t atom_update(const AtomOp *, uint8_t *host, uint64_t b, uint64_t c);
/* to[k] = op(to[k], from[k]) of so many bytes. */
void atom_reduce(const AtomOp *, uint8_t *to, const uint8_t *from, uint32_t bytes);

#endif
