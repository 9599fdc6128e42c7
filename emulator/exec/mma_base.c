#include "emulator/exec/mma_part.h"

#include "emulator/exec/mma_body.h"
#include "emulator/exec/wgmma_body.h"

const MmaCode mma_code_base = {gather, scatter, bit_step, fast_step, wide, wide_fast};
