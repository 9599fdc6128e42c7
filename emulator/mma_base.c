#include "emulator/mma_part.h"

#include "emulator/mma_body.h"
#include "emulator/wgmma_body.h"

const MmaCode mma_code_base = {gather, scatter, bit_step, fast_step, wide, wide_fast};
