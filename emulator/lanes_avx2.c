#include "emulator/lanes.h"
#include "emulator/simd.h"

SIMD_TARGET_AVX2
#define LANES_TABLE lanes_avx2
#include "emulator/lanes_body.h"
SIMD_TARGET_END
