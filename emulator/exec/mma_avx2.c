#include "emulator/exec/mma_part.h"

SIMD_TARGET_AVX2
#include "emulator/exec/mma_body.h"
#include "emulator/exec/wgmma_body.h"
SIMD_TARGET_END

const MmaCode mma_code_avx2 = {gather, scatter, bit_step, fast_step, wide, wide_fast};
