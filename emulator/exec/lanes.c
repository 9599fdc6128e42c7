#include "emulator/exec/lanes.h"
#include "emulator/exec/simd.h"

const LaneCode *
lanes_code(void)
{
  static const LaneCode *const code[SIMD_COUNT] = {&lanes_base, &lanes_avx2, &lanes_avx512};
  return code[simd_current()];
}

ArFn *
lanes_find(LaneOp op, Type t)
{
  int size = type_info[t].bits <= 16 ? 0 : type_info[t].bits == 32 ? 2 : 4;
  return lanes_code()->fn[op][size + (type_info[t].class == 's')];
}
