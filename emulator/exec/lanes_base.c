#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"

#define LANES_TABLE lanes_base
#include "emulator/exec/lanes_body.h"
