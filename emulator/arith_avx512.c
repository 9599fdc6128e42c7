#include "emulator/arith_num.h"
#include "emulator/arith_part.h"

SIMD_TARGET_AVX512
#include "emulator/arith_body.h"
SIMD_TARGET_END

const ArCode ar_code_avx512 = AR_CODE;
