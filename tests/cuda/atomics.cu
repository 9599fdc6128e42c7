/* Atomic additions of vectors: four floats at once (sm_90), two halves, two bfloat16s. */
#include "host.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>

extern "C" __global__ void
add_vectors(float4 *f, __half2 *h, __nv_bfloat162 *b, float2 *g, int slots)
{
  int slot = (int)(blockIdx.x * blockDim.x + threadIdx.x) % slots;
  float t = (float)(threadIdx.x % 4);
  atomicAdd(&f[slot], make_float4(1.0f, t, -t, 0.5f));
  float2 before = atomicAdd(&g[slot], make_float2(0.25f, t));
  (void)before;
  atomicAdd(&h[slot], __floats2half2_rn(1.0f, t));
  atomicAdd(&b[slot], __floats2bfloat162_rn(t, 1.0f));
}
#endif

/* The value of bits of a half (10 bits of fraction) or a bfloat16 (7), positive. */
static float
small_float(unsigned bits, int fraction, int bias)
{
  return bits ? ldexpf((float)(bits & ((1u << fraction) - 1)) + (float)(1 << fraction),
                       (int)(bits >> fraction) - bias - fraction)
              : 0.0f;
}

static void
run(void)
{
  enum { SLOTS = 5, BLOCKS = 4, THREADS = 40, MOST = 128 };
  float f[SLOTS][4], g[SLOTS][2];
  uint16_t h[SLOTS][2], b[SLOTS][2];
  int slots = SLOTS;
  void *df = device_zeros(sizeof f), *dg = device_zeros(sizeof g), *dh = device_zeros(sizeof h),
       *db = device_zeros(sizeof b);
#ifdef __CUDACC__
  add_vectors<<<BLOCKS, THREADS>>>((float4 *)df, (__half2 *)dh, (__nv_bfloat162 *)db,
                                   (float2 *)dg, slots);
#else
  LAUNCH(add_vectors, BLOCKS, THREADS, 0, 0, df, dh, db, dg, slots);
#endif
  OK(cudaDeviceSynchronize());
  take_back(f, df, sizeof f);
  take_back(g, dg, sizeof g);
  take_back(h, dh, sizeof h);
  take_back(b, db, sizeof b);
  for (int s = 0; s < SLOTS; s++) {
    float n = 0, t = 0; /* sums of small whole numbers: exact in every format */
    for (int i = s; i < BLOCKS * THREADS; i += SLOTS) {
      n += 1;
      t += (float)(i % THREADS % 4);
    }
    CHECK(f[s][0] == n && f[s][1] == t && f[s][2] == -t && f[s][3] == n / 2,
          "floats %d: %g %g %g %g", s, f[s][0], f[s][1], f[s][2], f[s][3]);
    CHECK(g[s][0] == n / 4 && g[s][1] == t, "pair %d: %g %g", s, g[s][0], g[s][1]);
    CHECK(small_float(h[s][0], 10, 15) == n && small_float(h[s][1], 10, 15) == t,
          "halves %d: %x %x", s, h[s][0], h[s][1]);
    CHECK(small_float(b[s][0], 7, 127) == t && small_float(b[s][1], 7, 127) == n,
          "bfloat16s %d: %x %x", s, b[s][0], b[s][1]);
  }
}

PROGRAM(atomics, run)
