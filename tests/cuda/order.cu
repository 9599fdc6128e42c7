/* Floats added by atomics, in no order: the sum is right within its rounding, and its bits
 * depend on who was first.  Beside it the same sum of whole numbers, whose bits do not. */
#include "host.h"

#ifdef __CUDACC__
extern "C" __global__ void
sum_in_any_order(const float *x, int n, float *sum, unsigned long long *whole)
{
  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n)
    return;
  atomicAdd(sum, x[i]);
  atomicAdd(whole, (unsigned long long)(long long)(x[i] * 1024.0f));
}
#endif

static void
run(void)
{
  enum { N = 600, THREADS = 64, BLOCKS = (N + THREADS - 1) / THREADS };
  static float x[N];
  uint32_t seed = 53;
  double exact = 0, size = 0;
  float got;
  long long whole = 0, got_whole;
  int n = N;
  for (int i = 0; i < N; i++) {
    x[i] = draw_float(&seed) * (i % 7 ? 1.0f : 1000.0f);
    exact += (double)x[i];
    size += fabs((double)x[i]);
    whole += (long long)(x[i] * 1024.0f);
  }
  float *dx = (float *)device_copy(x, sizeof x), *sum = (float *)device_zeros(sizeof got);
  unsigned long long *w = (unsigned long long *)device_zeros(sizeof got_whole);
  LAUNCH(sum_in_any_order, BLOCKS, THREADS, 0, 0, dx, n, sum, w);
  OK(cudaDeviceSynchronize());
  take_back(&got, sum, sizeof got);
  take_back(&got_whole, w, sizeof got_whole);
  OK(cudaFree(dx));
  CHECK(fabs((double)got - exact) <= N * 0x1p-24 * size, "the sum is %.9g, not %.9g",
        (double)got, exact);
  CHECK(got_whole == whole, "the whole sum is %lld, not %lld", got_whole, whole);
}

PROGRAM(order, run)
