/* Doubles under every rounding: sums, products, quotients, roots, fused products. */
#include "host.h"

#ifdef __CUDACC__
extern "C" __global__ void
rounded(const double *x, int n, double *out)
{
  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n)
    return;
  double a = x[i], b = x[(i + 11) % n], c = x[(i + 29) % n], r = fabs(a);
  double *o = out + 20 * i;
  o[0] = __dadd_rn(a, b), o[1] = __dadd_rz(a, b), o[2] = __dadd_rd(a, b),
  o[3] = __dadd_ru(a, b);
  o[4] = __dmul_rn(a, b), o[5] = __dmul_rz(a, b), o[6] = __dmul_rd(a, b),
  o[7] = __dmul_ru(a, b);
  o[8] = __ddiv_rn(a, b), o[9] = __ddiv_rz(a, b), o[10] = __ddiv_rd(a, b),
  o[11] = __ddiv_ru(a, b);
  o[12] = __dsqrt_rn(r), o[13] = __dsqrt_rz(r), o[14] = __dsqrt_rd(r),
  o[15] = __dsqrt_ru(r);
  o[16] = __fma_rn(a, b, c), o[17] = __fma_rz(a, b, c), o[18] = __fma_rd(a, b, c),
  o[19] = __fma_ru(a, b, c);
}
#else
#include <fenv.h>
#endif

#ifdef __CUDACC__
#include <cfenv>
#endif

/* The host's own arithmetic under the same rounding; volatile keeps it where it stands. */
static double
host(int operation, double a, double b, double c)
{
  volatile double x = a, y = b, z = c, v;
  switch (operation) {
  case 0:
    v = x + y;
    break;
  case 1:
    v = x * y;
    break;
  case 2:
    v = x / y;
    break;
  case 3:
    v = sqrt(fabs(x));
    break;
  default:
    v = fma(x, y, z);
  }
  return v;
}

static void
run(void)
{
  enum { N = 300 };
  static const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  static double x[N], got[20 * N];
  uint32_t seed = 47;
  int n = N;
  for (int i = 0; i < N; i++)
    x[i] = ldexp((double)draw(&seed) * 16777216.0 + (double)draw(&seed) + 1.0,
                 (int)(draw(&seed) % 12) - 54) *
           (draw(&seed) & 1 ? 1 : -1);
  double *dx = (double *)device_copy(x, sizeof x), *out = (double *)device_zeros(sizeof got);
  LAUNCH(rounded, (N + 63) / 64, 64, 0, 0, dx, n, out);
  OK(cudaDeviceSynchronize());
  take_back(got, out, sizeof got);
  OK(cudaFree(dx));
  for (int i = 0; i < N; i++)
    for (int k = 0; k < 20; k++) {
      fesetround(modes[k % 4]);
      double want = host(k / 4, x[i], x[(i + 11) % N], x[(i + 29) % N]);
      fesetround(FE_TONEAREST);
      CHECK(got[20 * i + k] == want, "%d, operation %d: %.17g, not %.17g", i, k,
            got[20 * i + k], want);
    }
}

PROGRAM(rounding, run)
