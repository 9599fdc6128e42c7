/* A product of matrices of bytes on the tensor cores: m16n8k32. */
#include "host.h"

enum { M = 32, N = 24, K = 96 };

#ifdef __CUDACC__
/* One warp a tile of 16 x 8; fragments as the PTX ISA lays them out. */
extern "C" __global__ void
product8(const int8_t *a, const int8_t *b, int *c)
{
  int group = (int)threadIdx.x / 4, member = (int)threadIdx.x % 4;
  int row = (int)blockIdx.x / (N / 8) * 16, column = (int)blockIdx.x % (N / 8) * 8;
  int d[4] = {0, 0, 0, 0};
  for (int k = 0; k < K; k += 32) {
    const int8_t *pa = a + (row + group) * K + k + 4 * member;
    const int8_t *pb = b + (column + group) * K + k + 4 * member; /* b is by columns */
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
        : "r"(*(const int *)pa), "r"(*(const int *)(pa + 8 * K)),
          "r"(*(const int *)(pa + 16)), "r"(*(const int *)(pa + 8 * K + 16)),
          "r"(*(const int *)pb), "r"(*(const int *)(pb + 16)));
  }
  for (int i = 0; i < 4; i++)
    c[(row + group + i / 2 * 8) * N + column + 2 * member + i % 2] = d[i];
}
#endif

static void
run(void)
{
  static int8_t a[M * K], b[N * K];
  static int got[M * N];
  uint32_t seed = 23;
  for (int i = 0; i < M * K; i++)
    a[i] = (int8_t)draw(&seed);
  for (int i = 0; i < N * K; i++)
    b[i] = (int8_t)draw(&seed);
  int8_t *da = (int8_t *)device_copy(a, sizeof a), *db = (int8_t *)device_copy(b, sizeof b);
  int *c = (int *)device_zeros(sizeof got);
  LAUNCH(product8, M / 16 * (N / 8), 32, 0, 0, da, db, c);
  OK(cudaDeviceSynchronize());
  take_back(got, c, sizeof got);
  OK(cudaFree(da));
  OK(cudaFree(db));
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      int want = 0;
      for (int k = 0; k < K; k++)
        want += a[i * K + k] * b[j * K + k];
      CHECK(got[i * N + j] == want, "[%d, %d] is %d, not %d", i, j, got[i * N + j], want);
    }
}

PROGRAM(mma8, run)
