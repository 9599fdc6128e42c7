/* cvt.h: every conversion, one lane at a time; arith.c puts its quick loops before it. */
#ifndef ATTNC_EMULATOR_CVT_H
#define ATTNC_EMULATOR_CVT_H

#include "emulator/exec/arith.h"

bool cvt_is_float(ArType);
bool cvt_is_small(ArType); /* of 4, 6 or 8 bits, or a pair of them */
ArFn cvt_any; /* reads op->to, op->from, op->mods; b as well for two of f32 into a pair, c
                 for AR_RS */

#endif
