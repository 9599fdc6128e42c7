/* A product of half precision matrices by nvcuda::wmma, 16 x 16 x 16. */
#include "host.h"

enum { M = 32, N = 48, K = 64 };

#ifdef __CUDACC__
#include <cuda_fp16.h>
#include <mma.h>

/* One warp a tile; halves come as their bits. */
extern "C" __global__ void
product16(const __half *a, const __half *b, float *c)
{
  using namespace nvcuda;
  int row = (int)blockIdx.x / (N / 16) * 16, column = (int)blockIdx.x % (N / 16) * 16;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, __half, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, __half, wmma::col_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
  wmma::fill_fragment(fc, 0.0f);
  for (int k = 0; k < K; k += 16) {
    wmma::load_matrix_sync(fa, a + row * K + k, K);
    wmma::load_matrix_sync(fb, b + column * K + k, K);
    wmma::mma_sync(fc, fa, fb, fc);
  }
  wmma::store_matrix_sync(c + row * N + column, fc, N, wmma::mem_row_major);
}
#endif

/* Of a multiple of 1/8 from -8 to 8, which a half holds. */
static uint16_t
half_of(float x)
{
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (!(bits << 1))
    return 0;
  return (uint16_t)(bits >> 16 & 0x8000) |
         (uint16_t)(((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 0x3ff));
}

static void
run(void)
{
  static float a[M * K], b[N * K], got[M * N];
  static uint16_t ha[M * K], hb[N * K];
  uint32_t seed = 29;
  for (int i = 0; i < M * K; i++)
    ha[i] = half_of(a[i] = (float)((int)(draw(&seed) % 65) - 32) / 8.0f);
  for (int i = 0; i < N * K; i++)
    hb[i] = half_of(b[i] = (float)((int)(draw(&seed) % 65) - 32) / 8.0f);
  void *da = device_copy(ha, sizeof ha), *db = device_copy(hb, sizeof hb);
  float *c = (float *)device_zeros(sizeof got);
#ifdef __CUDACC__
  product16<<<M / 16 * (N / 16), 32>>>((const __half *)da, (const __half *)db, c);
#else
  LAUNCH(product16, M / 16 * (N / 16), 32, 0, 0, da, db, c);
#endif
  OK(cudaDeviceSynchronize());
  take_back(got, c, sizeof got);
  OK(cudaFree(da));
  OK(cudaFree(db));
  for (int i = 0; i < M; i++)
    for (int j = 0; j < N; j++) {
      float want = 0; /* sums of multiples of 1/64: exact */
      for (int k = 0; k < K; k++)
        want += a[i * K + k] * b[j * K + k];
      CHECK(got[i * N + j] == want, "[%d, %d] is %g, not %g", i, j, got[i * N + j], want);
    }
}

PROGRAM(wmma, run)
