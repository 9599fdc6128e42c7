#include "emulator/lanes.h"
#include "emulator/simd.h"

SIMD_TARGET_AVX512
#define LANES_TABLE lanes_avx512
#include "emulator/lanes_body.h"
SIMD_TARGET_END
