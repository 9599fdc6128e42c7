/* Arithmetic of 16 bits, and conversions to and from 8: half, bfloat16, e4m3, e5m2. */
#include "host.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

/* Every pair of lanes' values, as bits: eight results a thread. */
extern "C" __global__ void
small_floats(const float *x, int n, unsigned *out)
{
  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= n)
    return;
  float a = x[i], b = x[(i + 7) % n];
  __half ha = __float2half_rn(a), hb = __float2half_rn(b);
  __half2 h2 = __hfma2(__floats2half2_rn(a, b), __half2half2(hb), __half2half2(ha));
  __nv_bfloat16 ba = __float2bfloat16_rn(a), bb = __float2bfloat16_rn(b);
  unsigned *o = out + 8 * i;
  o[0] = __half_as_ushort(__hadd(ha, hb)) | (unsigned)__half_as_ushort(__hmul(ha, hb)) << 16;
  o[1] = *(unsigned *)&h2;
  o[2] = __bfloat16_as_ushort(__hadd(ba, bb)) |
         (unsigned)__bfloat16_as_ushort(__hfma(ba, bb, ba)) << 16;
  o[3] = (unsigned)__hlt(ha, hb) | (unsigned)__heq(ba, ba) << 1 |
         (unsigned)__half_as_ushort(__hmax(ha, hb)) << 16;
  o[4] = __nv_cvt_float_to_fp8(a, __NV_SATFINITE, __NV_E4M3) |
         (unsigned)__nv_cvt_float_to_fp8(a, __NV_SATFINITE, __NV_E5M2) << 8;
  __half2_raw back = __nv_cvt_fp8x2_to_halfraw2((__nv_fp8x2_storage_t)(o[4] & 255) |
                                                    (__nv_fp8x2_storage_t)(i % 128 << 8),
                                                __NV_E4M3);
  o[5] = back.x | (unsigned)back.y << 16;
  o[6] = (unsigned)__half2int_rz(ha) & 0xffff;
  o[7] = __half_as_ushort(__int2half_rn(i * 37)) |
         (unsigned)__half_as_ushort(__float2half_rz(a)) << 16;
}
#endif

/* A small float: bits of its exponent and fraction; `finite` where it has no infinity. */
typedef struct Format {
  int exponent, fraction, finite;
} Format;

/* To nearest, ties to even, by plain arithmetic on doubles; too large is infinite, or the
 * largest where it is `finite` or `saturate`. */
static unsigned
round_to(double x, Format f, int saturate)
{
  int bias = (1 << (f.exponent - 1)) - 1, e;
  unsigned sign = signbit(x) ? 1u << (f.exponent + f.fraction) : 0;
  unsigned infinite = ((1u << f.exponent) - 1) << f.fraction;
  unsigned most = f.finite ? (1u << (f.exponent + f.fraction)) - 2 : infinite - 1;
  if (x == 0)
    return sign;
  frexp(x, &e);
  e = e - 1 < 1 - bias ? 1 - bias : e - 1;
  double units = nearbyint(ldexp(fabs(x), f.fraction - e));
  unsigned bits = (unsigned)units + ((unsigned)(e + bias - 1) << f.fraction);
  if (bits > most)
    bits = saturate || f.finite ? most : infinite;
  return sign | bits;
}

static double
value_of(unsigned bits, Format f)
{
  int bias = (1 << (f.exponent - 1)) - 1;
  int e = (int)(bits >> f.fraction & ((1u << f.exponent) - 1));
  double m = bits & ((1u << f.fraction) - 1);
  double v = e ? ldexp(m + (1 << f.fraction), e - bias - f.fraction)
               : ldexp(m, 1 - bias - f.fraction);
  return bits >> (f.exponent + f.fraction) ? -v : v;
}

static const Format half_format = {5, 10, 0}, bfloat_format = {8, 7, 0},
                    e4m3 = {4, 3, 1}, e5m2 = {5, 2, 0};

static unsigned
truncate(double x)
{
  unsigned up = round_to(x, half_format, 0);
  return fabs(value_of(up, half_format)) > fabs(x) ? up - 1 : up;
}

static unsigned
half_bits(double x)
{
  return round_to(x, half_format, 0);
}

static void
check_one(const float *x, int n, int i, const unsigned *got)
{
  double a = (double)x[i], b = (double)x[(i + 7) % n];
  double ha = value_of(half_bits(a), half_format), hb = value_of(half_bits(b), half_format);
  double ba = value_of(round_to(a, bfloat_format, 0), bfloat_format),
         bb = value_of(round_to(b, bfloat_format, 0), bfloat_format);
  unsigned small = round_to(a, e4m3, 1), code = (unsigned)(i % 128);
  const unsigned want[8] = {
      half_bits(ha + hb) | half_bits(ha * hb) << 16,
      half_bits(ha * hb + ha) | half_bits(hb * hb + ha) << 16,
      round_to(ba + bb, bfloat_format, 0) | round_to(ba * bb + ba, bfloat_format, 0) << 16,
      (unsigned)(ha < hb) | 2 | half_bits(ha > hb ? ha : hb) << 16,
      small | round_to(a, e5m2, 1) << 8,
      half_bits(value_of(small, e4m3)) |
          (code == 127 ? 0x7fff : half_bits(value_of(code, e4m3))) << 16,
      (unsigned)(int)ha & 0xffff,
      half_bits(i * 37) | truncate(a) << 16};
  for (int k = 0; k < 8; k++)
    CHECK(got[k] == want[k], "%d, %g and %g, value %d: %08x, not %08x", i, a, b, k, got[k],
          want[k]);
}

static void
run(void)
{
  enum { N = 512 };
  static float x[N];
  static unsigned got[8 * N];
  uint32_t seed = 43;
  int n = N;
  for (int i = 0; i < N; i++) /* from 2^-9 to 2^8, of either sign, never 0 */
    x[i] = ldexpf((float)(draw(&seed) % 4096 + 1) / 4096.0f, (int)(draw(&seed) % 14) - 5) *
           (draw(&seed) & 1 ? 1.0f : -1.0f);
  float *dx = (float *)device_copy(x, sizeof x);
  unsigned *out = (unsigned *)device_zeros(sizeof got);
  LAUNCH(small_floats, N / 64, 64, 0, 0, dx, n, out);
  OK(cudaDeviceSynchronize());
  take_back(got, out, sizeof got);
  OK(cudaFree(dx));
  for (int i = 0; i < N; i++)
    check_one(x, n, i, got + 8 * i);
}

PROGRAM(half, run)
