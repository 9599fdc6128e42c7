/* The last block to arrive adds what all blocks have found: one launch, no barrier. */
#include "host.h"

enum { THREADS = 128 };

#ifdef __CUDACC__
__device__ static unsigned arrived;

extern "C" __global__ void
sum_by_last(const int *x, int n, int *parts, int *sum)
{
  __shared__ int shared[THREADS];
  __shared__ bool is_last;
  int part = 0;
  for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += (int)(gridDim.x * blockDim.x))
    part += x[i];
  shared[threadIdx.x] = part;
  for (unsigned d = THREADS / 2; d; d /= 2) {
    __syncthreads();
    if (threadIdx.x < d)
      shared[threadIdx.x] += shared[threadIdx.x + d];
  }
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = shared[0];
    __threadfence();
    is_last = atomicInc(&arrived, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last && threadIdx.x == 0) {
    __threadfence();
    int all = 0;
    for (unsigned b = 0; b < gridDim.x; b++)
      all += ((volatile int *)parts)[b];
    *sum = all;
  }
}
#endif

static void
run(void)
{
  enum { N = 5000, BLOCKS = 9 };
  static int x[N];
  uint32_t seed = 7;
  int n = N, want = 0, got;
  for (int i = 0; i < N; i++)
    want += x[i] = (int)(draw(&seed) % 2001) - 1000;
  int *dx = (int *)device_copy(x, sizeof x), *parts = (int *)device_zeros(4 * BLOCKS);
  for (int again = 0; again < 3; again++) { /* the counter is 0 again behind each */
    int *sum = (int *)device_zeros(sizeof *sum);
    LAUNCH(sum_by_last, BLOCKS, THREADS, 0, 0, dx, n, parts, sum);
    OK(cudaDeviceSynchronize());
    take_back(&got, sum, sizeof got);
    CHECK(got == want, "the sum is %d, not %d", got, want);
  }
  OK(cudaFree(dx));
  OK(cudaFree(parts));
}

PROGRAM(last, run)
