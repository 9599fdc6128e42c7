/* A pipeline of asynchronous copies into shared memory, two stages deep, by the primitives of
 * cuda_pipeline.h. */
#include "host.h"

enum { STAGES = 2, TILE = 256 };

#ifdef __CUDACC__
#include <cuda_pipeline.h>

extern "C" __global__ void
sum_tiles(const float *x, int tiles, float *sums)
{
  __shared__ __align__(16) float stage[STAGES][TILE];
  float sum = 0;
  const float *from = x + (size_t)blockIdx.x * (size_t)tiles * TILE;
  for (int t = 0; t < tiles + STAGES - 1; t++) {
    if (t < tiles) /* four floats a thread */
      __pipeline_memcpy_async(&stage[t % STAGES][4 * threadIdx.x],
                              from + t * TILE + 4 * threadIdx.x, 16);
    __pipeline_commit();
    if (t < STAGES - 1)
      continue;
    __pipeline_wait_prior(STAGES - 1);
    __syncthreads();
    for (int i = 0; i < 4; i++) /* what other threads have copied */
      sum += stage[(t - STAGES + 1) % STAGES][(threadIdx.x + 64 * i + 1) % TILE];
    __syncthreads();
  }
  sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
#endif

static void
run(void)
{
  enum { BLOCKS = 3, TILES = 5, THREADS = TILE / 4 };
  static float x[BLOCKS * TILES * TILE], got[BLOCKS * THREADS];
  uint32_t seed = 37;
  int tiles = TILES;
  for (int i = 0; i < BLOCKS * TILES * TILE; i++)
    x[i] = draw_float(&seed);
  float *dx = (float *)device_copy(x, sizeof x), *sums = (float *)device_zeros(sizeof got);
  LAUNCH(sum_tiles, BLOCKS, THREADS, 0, 0, dx, tiles, sums);
  OK(cudaDeviceSynchronize());
  take_back(got, sums, sizeof got);
  OK(cudaFree(dx));
  for (int b = 0; b < BLOCKS; b++)
    for (int t = 0; t < THREADS; t++) {
      float want = 0; /* of multiples of 1/128: exact */
      for (int k = 0; k < TILES; k++)
        for (int i = 0; i < 4; i++)
          want += x[(b * TILES + k) * TILE + (t + 64 * i + 1) % TILE];
      CHECK(got[b * THREADS + t] == want, "block %d, thread %d: %g, not %g", b, t,
            got[b * THREADS + t], want);
    }
}

PROGRAM(pipeline, run)
