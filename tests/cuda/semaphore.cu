/* A sum whose bits do not depend on who is first: blocks add their parts in the order of their
 * numbers, each waiting until a semaphore says that it is its turn. */
#include "host.h"

#ifdef __CUDACC__
__device__ static unsigned
turn_of(const unsigned *semaphore)
{
  unsigned v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(semaphore) : "memory");
  return v;
}

__device__ static void
set_turn(unsigned *semaphore, unsigned v)
{
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(semaphore), "r"(v) : "memory");
}

extern "C" __global__ void
sum_in_order(const float *x, int n, float *sums, int columns, unsigned *semaphore)
{
  int column = (int)threadIdx.x;
  int rows = (n + (int)gridDim.x - 1) / (int)gridDim.x, first = (int)blockIdx.x * rows;
  float part = 0;
  for (int r = first; r < first + rows && r < n; r++)
    part += x[r * columns + column];
  if (threadIdx.x == 0)
    while (turn_of(semaphore) != blockIdx.x)
      __nanosleep(20);
  __syncthreads();
  sums[column] = blockIdx.x ? sums[column] + part : part;
  __syncthreads();
  if (threadIdx.x == 0)
    set_turn(semaphore, blockIdx.x + 1);
}
#endif

static void
run(void)
{
  enum { ROWS = 37, COLUMNS = 64, BLOCKS = 6 };
  static float x[ROWS * COLUMNS], got[COLUMNS];
  uint32_t seed = 1;
  int n = ROWS, columns = COLUMNS;
  for (int i = 0; i < ROWS * COLUMNS; i++)
    x[i] = draw_float(&seed) / 3.0f;
  float *dx = (float *)device_copy(x, sizeof x), *sums = (float *)device_zeros(sizeof got);
  unsigned *semaphore = (unsigned *)device_zeros(sizeof *semaphore);
  LAUNCH(sum_in_order, BLOCKS, COLUMNS, 0, 0, dx, n, sums, columns, semaphore);
  OK(cudaDeviceSynchronize());
  take_back(got, sums, sizeof got);
  OK(cudaFree(dx));
  OK(cudaFree(semaphore));
  for (int c = 0; c < COLUMNS; c++) {
    volatile float sum = 0; /* in the same order: the same bits */
    for (int b = 0, rows = (ROWS + BLOCKS - 1) / BLOCKS; b < BLOCKS; b++) {
      volatile float part = 0;
      for (int r = b * rows; r < (b + 1) * rows && r < ROWS; r++)
        part += x[r * COLUMNS + c];
      sum = b ? sum + part : part;
    }
    CHECK(got[c] == sum, "column %d is %.9g, not %.9g", c, got[c], sum);
  }
}

PROGRAM(semaphore, run)
