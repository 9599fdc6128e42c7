/* Device functions that are called: by name and by pointer, recursive ones, printf, an assert
 * that holds. */
#include "host.h"

#ifdef __CUDACC__
#include <assert.h>

typedef int Step(int, int);

__device__ __noinline__ int
add(int a, int b)
{
  return a + b;
}

__device__ __noinline__ int
subtract(int a, int b)
{
  return a - b;
}

__device__ __noinline__ int
exclusive(int a, int b)
{
  return a ^ b;
}

__device__ Step *const steps[] = {add, subtract, exclusive};

__device__ __noinline__ int
depth(int n)
{
  return n < 2 ? 1 : depth(n / 2) + depth(n - 2);
}

/* A struct goes there and comes back through memory. */
struct Pair {
  int sum, product;
};

__device__ __noinline__ Pair
both(int a, int b)
{
  Pair p = {a + b, a * b};
  return p;
}

extern "C" __global__ void
walk(const int *program, int n, int *out)
{
  int v = (int)threadIdx.x;
  for (int i = 0; i < n; i++)
    v = steps[(program[i] + (int)threadIdx.x) % 3](v, i); /* lanes part */
  Pair p = both(v, n);
  assert(p.sum == v + n);
  out[threadIdx.x] = p.sum + p.product + depth((int)threadIdx.x % 12);
  if (threadIdx.x == 5)
    printf("thread %d of %u: %.3f %s\n", 5, blockDim.x, 0.125, "text");
}
#endif

static int
host_depth(int n)
{
  return n < 2 ? 1 : host_depth(n / 2) + host_depth(n - 2);
}

static void
run(void)
{
  enum { N = 20, THREADS = 64 };
  int program[N], got[THREADS], n = N;
  uint32_t seed = 5;
  for (int i = 0; i < N; i++)
    program[i] = (int)(draw(&seed) % 3);
  int *dp = (int *)device_copy(program, sizeof program),
      *out = (int *)device_zeros(sizeof got);
  LAUNCH(walk, 1, THREADS, 0, 0, dp, n, out);
  OK(cudaDeviceSynchronize());
  take_back(got, out, sizeof got);
  OK(cudaFree(dp));
  for (int t = 0; t < THREADS; t++) {
    int v = t;
    for (int i = 0; i < N; i++) {
      int s = (program[i] + t) % 3;
      v = s == 0 ? v + i : s == 1 ? v - i : v ^ i;
    }
    int want = v + N + v * N + host_depth(t % 12);
    CHECK(got[t] == want, "thread %d has %d, not %d", t, got[t], want);
  }
}

PROGRAM(calls, run)
