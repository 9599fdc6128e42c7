/* cvt.h: every conversion, one lane at a time; arith.c puts its quick loops before it. */
#ifndef ATTNC_EMULATOR_CVT_H
#define ATTNC_EMULATOR_CVT_H

#include "emulator/arith.h"

bool cvt_is_float(ArType);
ArFn cvt_any; /* reads op->to, op->from, op->mods; b as well for the packed forms */

#endif
