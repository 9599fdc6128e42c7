/* mma_num.h: numbers and registers of the tensor cores, for the bodies that are built once
 * per kind of CPU (mma_body.h, wgmma_body.h).
 *
 * Registers of fragments to columns and back; a number split into a significand, a float of
 * magnitude below 2 with its sign, and an exponent; rounding of exact sums.  Everything is
 * inline and without state. */
#ifndef ATTNC_EMULATOR_MMA_NUM_H
#define ATTNC_EMULATOR_MMA_NUM_H

#include "emulator/exec/mma_part.h"

enum { EXP_SHIFT = 22 }; /* of exponents that are added and compared */

typedef uint32_t V8 __attribute__((vector_size(32)));

/* Vectors travel by pointer: by value their ABI depends on the CPU. */
static inline void
load8(const uint32_t *p, V8 *v)
{
  memcpy(v, p, sizeof *v);
}

static inline void
store8(const V8 *v, uint32_t *p)
{
  memcpy(p, v, sizeof *v);
}

/* The element that half h of a register holds, as MmaOperands wants it. */
static inline void
store_half(uint8_t type, int h, const V8 *v, uint32_t *p)
{
  V8 x = *v;
  if (type == MMA_TF32)
    x &= 0xffffe000;
  else if (type == MMA_BF16)
    x = h ? x & 0xffff0000 : x << 16;
  else if (type == MMA_F16)
    x = h ? x >> 16 : x & 0xffff;
  store8(&x, p);
}

/* Four vectors, each two rows of four, to and from four columns of eight. */
static inline void
transpose4(V8 *v)
{
  V8 x0 = __builtin_shufflevector(v[0], v[1], 0, 8, 1, 9, 4, 12, 5, 13);
  V8 x1 = __builtin_shufflevector(v[0], v[1], 2, 10, 3, 11, 6, 14, 7, 15);
  V8 y0 = __builtin_shufflevector(v[2], v[3], 0, 8, 1, 9, 4, 12, 5, 13);
  V8 y1 = __builtin_shufflevector(v[2], v[3], 2, 10, 3, 11, 6, 14, 7, 15);
  v[0] = __builtin_shufflevector(x0, y0, 0, 1, 8, 9, 4, 5, 12, 13);
  v[1] = __builtin_shufflevector(x0, y0, 2, 3, 10, 11, 6, 7, 14, 15);
  v[2] = __builtin_shufflevector(x1, y1, 0, 1, 8, 9, 4, 5, 12, 13);
  v[3] = __builtin_shufflevector(x1, y1, 2, 3, 10, 11, 6, 7, 14, 15);
}

/* A register: lane 4g + t.  out[t] = the eight g. */
static inline void
lanes_to_columns(const uint32_t *reg, V8 *out)
{
  V8 v[4];
  for (int i = 0; i < 4; i++)
    load8(reg + 8 * i, &v[i]);
  out[0] = __builtin_shufflevector(v[0], v[2], 0, 1, 2, 3, 8, 9, 10, 11);
  out[1] = __builtin_shufflevector(v[0], v[2], 4, 5, 6, 7, 12, 13, 14, 15);
  out[2] = __builtin_shufflevector(v[1], v[3], 0, 1, 2, 3, 8, 9, 10, 11);
  out[3] = __builtin_shufflevector(v[1], v[3], 4, 5, 6, 7, 12, 13, 14, 15);
  transpose4(out);
}

static inline void
columns_to_lanes(V8 *in, uint32_t *reg)
{
  transpose4(in);
  V8 v[4];
  v[0] = __builtin_shufflevector(in[0], in[1], 0, 1, 2, 3, 8, 9, 10, 11);
  v[1] = __builtin_shufflevector(in[2], in[3], 0, 1, 2, 3, 8, 9, 10, 11);
  v[2] = __builtin_shufflevector(in[0], in[1], 4, 5, 6, 7, 12, 13, 14, 15);
  v[3] = __builtin_shufflevector(in[2], in[3], 4, 5, 6, 7, 12, 13, 14, 15);
  for (int i = 0; i < 4; i++)
    store8(&v[i], reg + 8 * i);
}

static inline void
split_f16(uint32_t h, float *sig, int32_t *exp)
{
  uint32_t e = h >> 10 & 31, m = h & 0x3ff;
  float one = float_of(0x3f800000 | m << 13) - (e ? 0.0f : 1.0f);
  *sig = float_of(bits_of(one) | (h & 0x8000) << 16);
  int32_t normal = e ? (int32_t)e - 15 : -14;
  *exp = ((h & 0x7fff) ? normal : -126) * (1 << EXP_SHIFT);
}

static inline void
split_f32(uint32_t u, float *sig, int32_t *exp)
{
  uint32_t e = u >> 23 & 255;
  float one = float_of(0x3f800000 | (u & 0x7fffff)) - (e ? 0.0f : 1.0f);
  *sig = float_of(bits_of(one) | (u & 0x80000000));
  *exp = (e ? (int32_t)e - 127 : -126) * (1 << EXP_SHIFT);
}

static inline void
split(uint8_t type, int n, const uint32_t *u, float *sig, int32_t *exp)
{
  if (type == MMA_F16)
    for (int i = 0; i < n; i++)
      split_f16(u[i], &sig[i], &exp[i]);
  else
    for (int i = 0; i < n; i++)
      split_f32(u[i], &sig[i], &exp[i]);
}

static inline float
f16_value(uint32_t h)
{
  uint32_t normal = ((h & 0x7fff) << 13) + 0x38000000;
  float tiny = float_of(0x38800000 | (h & 0x3ff) << 13) - 0x1p-14f;
  uint32_t u = (h & 0x7c00) ? normal : bits_of(tiny);
  u = (h & 0x7c00) == 0x7c00 ? u + 0x38000000 : u;
  return float_of(u | (h & 0x8000) << 16);
}

/* Nearest even, of a value that is no NaN; a zero is +0.  Adding a power of two puts the
 * last bit of f16 at the last bit of the double. */
static inline uint32_t
f16_of_double(double x)
{
  double mag = double_of(bits_of_d(x) & 0x7fffffffffffffff);
  uint64_t e = bits_of_d(mag) >> 52;
  e = e < 1023 - 14 ? 1023 - 14 : e;
  double ulp = double_of((e + 42) << 52);
  double r = mag + ulp - ulp;
  uint32_t normal = (bits_of((float)r) - 0x38000000) >> 13;
  uint32_t tiny = (uint32_t)(int32_t)(r < 0x1p-14 ? r * 0x1p24 : 0);
  uint32_t h = r < 0x1p-14 ? tiny : normal;
  h = r >= 65520.0 ? 0x7c00 : h;
  return h | (h ? (uint32_t)(bits_of_d(x) >> 48 & 0x8000) : 0);
}

/* Toward zero; what is below the least subnormal is +0.  Only bits that f32 has are left
 * before the conversion, which is then exact where the result is normal. */
static inline void
round_f32(int n, const double *d, uint32_t *out)
{
  uint64_t tiny = 0;
  for (int i = 0; i < n; i++) {
    uint64_t u = bits_of_d(d[i]);
    out[i] = bits_of((float)double_of(u & 0xffffffffe0000000));
    /* 0 < |d| < 2^-126: the subtraction borrows */
    tiny |= ((u & 0x7fffffffffffffff) - 1) - (bits_of_d(0x1p-126) - 1);
  }
  if (!(tiny >> 63))
    return;
  for (int i = 0; i < n; i++) {
    double mag = double_of(bits_of_d(d[i]) & 0x7fffffffffffffff);
    if (mag < 0x1p-126) {
      uint32_t m = (uint32_t)(mag * 0x1p126 * 0x1p23);
      out[i] = m | (m && d[i] < 0 ? 0x80000000 : 0);
    }
  }
}

static inline uint32_t
worst(uint8_t type, int n, const uint32_t *u)
{
  uint32_t mask = type == MMA_F16 ? 0x7c00 : 0x7f800000, bad = 0;
  for (int i = 0; i < n; i++)
    bad |= (u[i] & mask) == mask ? 1 : 0;
  return bad;
}

/* OCP 8-bit floating point: 4 bits of exponent, bias 7; NaN is 0x7f alone. */
static inline float
e4m3_value(uint32_t h)
{
  uint32_t normal = ((h & 0x7f) << 20) + 0x3c000000;
  float tiny = (float)(h & 7) * 0x1p-9f;
  uint32_t u = (h & 0x78) ? normal : bits_of(tiny);
  u = (h & 0x7f) == 0x7f ? 0x7fc00000 : u;
  return float_of(u | (h & 0x80) << 24);
}

#endif
