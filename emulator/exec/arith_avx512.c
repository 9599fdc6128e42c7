#include "emulator/exec/arith_num.h"
#include "emulator/exec/arith_part.h"

SIMD_TARGET_AVX512
#include "emulator/exec/arith_body.h"
SIMD_TARGET_END

const ArCode ar_code_avx512 = AR_CODE;
