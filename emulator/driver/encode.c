/* cuTensorMapEncodeTiled of the emulated driver. */
#include "emulator/driver/work.h"
#include "emulator/async/tensormap.h"

#include <stdio.h>

enum { LEAST_CC = 90 };

CUresult
cuTensorMapEncodeTiled(CUtensorMap *map, CUtensorMapDataType type, uint32_t rank,
                       void *address, const uint64_t *dims, const uint64_t *byte_strides,
                       const uint32_t *box, const uint32_t *element_strides,
                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                       CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill)
{
  const TmaArgs a = {.type = type,
                     .rank = rank,
                     .address = (uint64_t)(uintptr_t)address,
                     .dims = dims,
                     .byte_strides = byte_strides,
                     .box = box,
                     .element_strides = element_strides,
                     .interleave = interleave,
                     .swizzle = swizzle,
                     .promotion = promotion,
                     .fill = fill};
  char why[160] = "the device has no tensor maps", line[240];
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = d->chip->cc < LEAST_CC ? CUDA_ERROR_NOT_SUPPORTED
                             : tma_encode(map, &a, why, sizeof why);
  dev_leave(d);
  if (r) {
    snprintf(line, sizeof line, "ptx:0: error[tensor-map]: cuTensorMapEncodeTiled: %s",
             why);
    report_line(line);
  }
  return r;
}
