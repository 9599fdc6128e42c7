#include "emulator/exec/simd.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static Simd best, current;

static void
detect(void)
{
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    best = SIMD_AVX2;
  if (best == SIMD_AVX2 && __builtin_cpu_supports("avx512f") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    best = SIMD_AVX512;
#endif
  current = best;
}

Simd
simd_best(void)
{
  pthread_once(&once, detect);
  return best;
}

Simd
simd_current(void)
{
  pthread_once(&once, detect);
  return current;
}

bool
simd_force(Simd s)
{
  if (s > simd_best())
    return false;
  current = s;
  return true;
}

const char *
simd_name(Simd s)
{
  static const char *const names[SIMD_COUNT] = {"baseline", "avx2", "avx512"};
  return names[s];
}
