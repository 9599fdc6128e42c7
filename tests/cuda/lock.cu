/* A lock between CTAs: each thread block takes it, changes what it guards with ordinary loads
 * and stores, and gives it back. */
#include "host.h"

enum { WORDS = 8 };

#ifdef __CUDACC__
extern "C" __global__ void
count_under_lock(int *lock, unsigned *guarded, int times)
{
  for (int i = 0; i < times; i++) {
    if (threadIdx.x == 0) {
      while (atomicCAS(lock, 0, 1))
        ;
      __threadfence();
    }
    __syncthreads();
    if (threadIdx.x < WORDS)
      guarded[threadIdx.x] = guarded[threadIdx.x] * 3 + threadIdx.x;
    __syncthreads();
    if (threadIdx.x == 0) {
      __threadfence();
      atomicExch(lock, 0);
    }
  }
}
#endif

static void
run(void)
{
  enum { BLOCKS = 12, THREADS = 64, TIMES = 3 };
  unsigned got[WORDS], want[WORDS];
  int times = TIMES;
  int *lock = (int *)device_zeros(sizeof *lock);
  unsigned *guarded = (unsigned *)device_zeros(sizeof got);
  LAUNCH(count_under_lock, BLOCKS, THREADS, 0, 0, lock, guarded, times);
  OK(cudaDeviceSynchronize());
  take_back(got, guarded, sizeof got);
  OK(cudaFree(lock));
  for (unsigned w = 0; w < WORDS; w++) {
    want[w] = 0;
    for (int i = 0; i < BLOCKS * TIMES; i++)
      want[w] = want[w] * 3 + w;
    CHECK(got[w] == want[w], "word %u is %u, not %u", w, got[w], want[w]);
  }
}

PROGRAM(lock, run)
