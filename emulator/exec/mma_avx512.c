#include "emulator/exec/mma_part.h"

SIMD_TARGET_AVX512
#include "emulator/exec/mma_body.h"
#include "emulator/exec/wgmma_body.h"
SIMD_TARGET_END

const MmaCode mma_code_avx512 = {gather, scatter, bit_step, fast_step, wide, wide_fast};
