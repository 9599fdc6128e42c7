#include "emulator/driver/jit.h"

#include "emulator/driver/work.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static bool
read_one(Jit *j, CUjit_option option, void **value)
{
  uintptr_t v = (uintptr_t)*value;
  switch (option) {
  case CU_JIT_INFO_LOG_BUFFER:
  case CU_JIT_ERROR_LOG_BUFFER:
    j->buffer[option == CU_JIT_ERROR_LOG_BUFFER] = *value;
    return true;
  case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
  case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
    j->size[option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES] = (size_t)(unsigned)v;
    j->size_out[option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES] = value;
    return true;
  case CU_JIT_MAX_REGISTERS:
  case CU_JIT_THREADS_PER_BLOCK:
  case CU_JIT_WALL_TIME:
  case CU_JIT_OPTIMIZATION_LEVEL:
  case CU_JIT_TARGET_FROM_CUCONTEXT:
  case CU_JIT_GENERATE_DEBUG_INFO:
  case CU_JIT_LOG_VERBOSE:
  case CU_JIT_GENERATE_LINE_INFO:
  case CU_JIT_CACHE_MODE:
    return true;
  case CU_JIT_TARGET: /* of the device that there is, and no other */
    return false;
  }
  return false;
}

bool
jit_read(Jit *j, unsigned n, const CUjit_option *options, void **values)
{
  *j = (Jit){0};
  if (n && (!options || !values))
    return false;
  for (unsigned i = 0; i < n; i++)
    if (!read_one(j, options[i], &values[i]))
      return false;
  return true;
}

static void
tell(const char *error)
{
  char line[JIT_LOG + 40];
  int n = (int)strcspn(error, "\n");
  if (n)
    snprintf(line, sizeof line, "ptx:0: error[load]: %.*s", n, error);
  if (n)
    report_line(line);
}

void
jit_write(Jit *j, const char *error)
{
  for (int i = 0; i < 2; i++) {
    int n = 0;
    if (j->buffer[i] && j->size[i])
      n = snprintf(j->buffer[i], j->size[i], "%s", i ? error : "");
    if ((size_t)n >= j->size[i])
      n = j->size[i] ? (int)j->size[i] - 1 : 0;
    if (j->size_out[i])
      *j->size_out[i] = (void *)(uintptr_t)n;
  }
  if (!j->buffer[1] || !j->size[1])
    tell(error);
}
