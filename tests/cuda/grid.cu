/* A barrier of the whole grid, by cooperative groups: rounds of a stencil in one launch. */
#include "host.h"

#ifdef __CUDACC__
#include <cooperative_groups.h>

extern "C" __global__ void
smooth(int *a, int *b, int n, int rounds)
{
  cooperative_groups::grid_group grid = cooperative_groups::this_grid();
  int i = (int)grid.thread_rank();
  for (int r = 0; r < rounds; r++) {
    const int *from = r & 1 ? b : a;
    int *to = r & 1 ? a : b;
    if (i < n)
      to[i] = 2 * from[i] + from[i ? i - 1 : n - 1] - from[i + 1 < n ? i + 1 : 0];
    grid.sync();
  }
}
#endif

static void
run(void)
{
  enum { BLOCKS = 5, THREADS = 64, N = 300, ROUNDS = 6 };
  static int x[2][N], got[N];
  uint32_t seed = 3;
  int n = N, rounds = ROUNDS;
  for (int i = 0; i < N; i++)
    x[0][i] = (int)(draw(&seed) % 100);
  int *a = (int *)device_copy(x[0], sizeof x[0]), *b = (int *)device_zeros(sizeof x[0]);
  void *arguments[] = {&a, &b, &n, &rounds};
  dim3 blocks = {BLOCKS, 1, 1}, threads = {THREADS, 1, 1};
  for (int again = 0; again < 2; again++) {
    OK(cudaLaunchCooperativeKernel(KERNEL(smooth), blocks, threads, arguments, 0, 0));
    OK(cudaDeviceSynchronize());
  }
  for (int r = 0; r < 2 * ROUNDS; r++)
    for (int i = 0; i < N; i++) {
      const int *from = x[r & 1];
      x[!(r & 1)][i] = 2 * from[i] + from[i ? i - 1 : N - 1] - from[i + 1 < N ? i + 1 : 0];
    }
  take_back(got, a, sizeof got);
  OK(cudaFree(b));
  for (int i = 0; i < N; i++)
    CHECK(got[i] == x[0][i], "%d is %d, not %d", i, got[i], x[0][i]);
}

PROGRAM(grid, run)
