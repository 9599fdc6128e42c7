#include "emulator/arith_num.h"
#include "emulator/arith_part.h"

SIMD_TARGET_AVX2
#include "emulator/arith_body.h"
SIMD_TARGET_END

const ArCode ar_code_avx2 = AR_CODE;
