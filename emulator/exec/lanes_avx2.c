#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"

SIMD_TARGET_AVX2
#define LANES_TABLE lanes_avx2
#include "emulator/exec/lanes_body.h"
SIMD_TARGET_END
