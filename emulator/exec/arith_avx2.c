#include "emulator/exec/arith_num.h"
#include "emulator/exec/arith_part.h"

SIMD_TARGET_AVX2
#include "emulator/exec/arith_body.h"
SIMD_TARGET_END

const ArCode ar_code_avx2 = AR_CODE;
