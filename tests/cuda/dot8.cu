/* Dot products of bytes, four at a time. */
#include "host.h"

#ifdef __CUDACC__
extern "C" __global__ void
dot8(const int *a, const int *b, int words, int *sums, unsigned *unsigned_sums)
{
  int sum = 0;
  unsigned usum = 0;
  for (int i = 0; i < words; i++) {
    int row = (int)(blockIdx.x * blockDim.x + threadIdx.x) * words;
    sum = __dp4a(a[row + i], b[i], sum);
    usum = __dp4a((unsigned)a[row + i], (unsigned)b[i], usum);
  }
  sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
  unsigned_sums[blockIdx.x * blockDim.x + threadIdx.x] = usum;
}
#endif

static void
run(void)
{
  enum { ROWS = 96, WORDS = 25 };
  static uint32_t a[ROWS * WORDS], b[WORDS];
  static int got[ROWS];
  static unsigned ugot[ROWS];
  uint32_t seed = 17;
  int words = WORDS;
  for (int i = 0; i < ROWS * WORDS; i++)
    a[i] = draw(&seed) << 16 ^ draw(&seed);
  for (int i = 0; i < WORDS; i++)
    b[i] = draw(&seed) << 16 ^ draw(&seed);
  int *da = (int *)device_copy(a, sizeof a), *db = (int *)device_copy(b, sizeof b),
      *sums = (int *)device_zeros(sizeof got);
  unsigned *usums = (unsigned *)device_zeros(sizeof ugot);
  LAUNCH(dot8, 3, 32, 0, 0, da, db, words, sums, usums);
  OK(cudaDeviceSynchronize());
  take_back(got, sums, sizeof got);
  take_back(ugot, usums, sizeof ugot);
  OK(cudaFree(da));
  OK(cudaFree(db));
  for (int r = 0; r < ROWS; r++) {
    int want = 0;
    unsigned uwant = 0;
    for (int i = 0; i < WORDS; i++)
      for (int k = 0; k < 32; k += 8) {
        want += (int8_t)(a[r * WORDS + i] >> k) * (int8_t)(b[i] >> k);
        uwant += (a[r * WORDS + i] >> k & 255) * (b[i] >> k & 255);
      }
    CHECK(got[r] == want && ugot[r] == uwant, "row %d: %d, %u, not %d, %u", r, got[r],
          ugot[r], want, uwant);
  }
}

PROGRAM(dot8, run)
