/* decode_emit.h: emits instructions that are functions over whole rows. */
#ifndef ATTNC_EMULATOR_DECODE_EMIT_H
#define ATTNC_EMULATOR_DECODE_EMIT_H

#include "emulator/ptx/decode.h"
#include "emulator/exec/lanes.h"

Insn *emit_fn(Dec *, ArFn *, uint32_t dst, bool wide, uint32_t a, uint32_t b, uint32_t c);
/* The code of the operation for the type; an error if it has none. */
Insn *emit_lane(Dec *, LaneOp, Type, uint32_t dst, bool wide, uint32_t a, uint32_t b,
                uint32_t c);

#endif
