#include "emulator/lanes.h"
#include "emulator/simd.h"

#define LANES_TABLE lanes_base
#include "emulator/lanes_body.h"
