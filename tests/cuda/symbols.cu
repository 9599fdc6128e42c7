/* Variables of the module: constant, device and managed memory, written and read by the host
 * by their names. */
#include "host.h"

enum { N = 33 };

#ifdef __CUDACC__
__constant__ float weights[4];
__constant__ int offset = 5;
__device__ int table[N];
__device__ int *table_end = table + N, length;
__managed__ int total[2] = {100, 200};

extern "C" __global__ void
evaluate(const float *x, float *out, int n)
{
  int i = (int)threadIdx.x;
  if (i < n)
    out[i] = weights[0] + x[i] * (weights[1] + x[i] * (weights[2] + x[i] * weights[3]));
  if (i < N)
    atomicAdd(&total[i & 1], table[i] + offset);
  if (i == 0)
    length = (int)(table_end - table);
}
#endif

static void
run(void)
{
  float w[4] = {1, -2, 0.5f, 0.25f}, x[64], got[64];
  int t[N], back[N], n = 64, sums[2] = {100, 200}, five = 0;
  for (int i = 0; i < n; i++)
    x[i] = (float)(i - 32) / 8.0f;
  for (int i = 0; i < N; i++) {
    t[i] = i * i - 40;
    sums[i & 1] += t[i] + 7;
  }
  float *dx = (float *)device_copy(x, sizeof x), *out = (float *)device_zeros(sizeof got);
  OK(cudaMemcpyFromSymbol(&five, SYMBOL(offset), sizeof five, 0, cudaMemcpyDeviceToHost));
  CHECK(five == 5, "the constant starts as %d", five);
  five = 7;
  OK(cudaMemcpyToSymbol(SYMBOL(offset), &five, sizeof five, 0, cudaMemcpyHostToDevice));
  OK(cudaMemcpyToSymbol(SYMBOL(weights), w, 8, 0, cudaMemcpyHostToDevice));
  OK(cudaMemcpyToSymbol(SYMBOL(weights), w + 2, 8, 8, cudaMemcpyHostToDevice));
  OK(cudaMemcpyToSymbol(SYMBOL(table), t, sizeof t, 0, cudaMemcpyHostToDevice));
  LAUNCH(evaluate, 1, 64, 0, 0, dx, out, n);
  OK(cudaDeviceSynchronize());
  take_back(got, out, sizeof got);
  OK(cudaFree(dx));
  for (int i = 0; i < n; i++) { /* few bits: exact, with or without fused products */
    float want = w[0] + x[i] * (w[1] + x[i] * (w[2] + x[i] * w[3]));
    CHECK(got[i] == want, "%d: %g, not %g", i, got[i], want);
  }
  OK(cudaMemcpyFromSymbol(back, SYMBOL(table), sizeof back, 0, cudaMemcpyDeviceToHost));
  CHECK(!memcmp(back, t, sizeof back), "the table has changed");
  OK(cudaMemcpyFromSymbol(&five, SYMBOL(length), sizeof five, 0, cudaMemcpyDeviceToHost));
  CHECK(five == N, "the table's length is %d", five);
#ifdef __CUDACC__
  const int *managed = total;
#else
  const int *managed = &MANAGED(int, total);
#endif
  CHECK(managed[0] == sums[0] && managed[1] == sums[1], "the sums are %d and %d", managed[0],
        managed[1]);
}

PROGRAM(symbols, run)
