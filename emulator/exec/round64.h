/* round64.h: arithmetic of f64 in the roundings that a CPU's own arithmetic does not have
 * at hand, one lane at a time, in whole numbers: a magnitude of up to 126 bits and an
 * exponent, exact but for its last bit, which holds whether anything lies below; then it is
 * rounded once. */
#ifndef ATTNC_EMULATOR_ROUND64_H
#define ATTNC_EMULATOR_ROUND64_H

#include "emulator/exec/arith.h"

/* NULL: the operation has no such form.  op->mods: AR_RN … AR_RP. */
ArFn *round64_find(ArMath);
/* The whole number mag, negative or not, as f64. */
uint64_t round64_int(bool minus, uint64_t mag, unsigned mode);

#endif
