/* arith_num.h: one number at a time, between the narrow formats and double.
 *
 * Every value of f16, bf16, tf32, f32 and of integers up to 32 bits is a double exactly.
 * num_round takes a double to the nearest (or other) value of a format, subnormals and
 * overflow included; num_encode packs it.  A sum that may not fit a double is rounded to
 * odd (num_add), after which rounding again to a narrower format is exact. */
#ifndef ATTNC_EMULATOR_ARITH_NUM_H
#define ATTNC_EMULATOR_ARITH_NUM_H

#include "emulator/exec/arith.h"
#include "emulator/exec/simd.h"

#include <math.h>

/* Bits of the fraction, exponents of the least and the largest normal. */
typedef struct NumFormat {
  int fraction, least, largest;
} NumFormat;

static const NumFormat num_f16 = {10, -14, 15}, num_bf16 = {7, -126, 127},
                       num_tf32 = {10, -126, 127}, num_f32 = {23, -126, 127};

static inline double
num_abs(double x)
{
  return double_of(bits_of_d(x) & 0x7fffffffffffffff);
}

static inline double
num_sign_of(double mag, double x)
{
  return double_of(bits_of_d(mag) | (bits_of_d(x) & 0x8000000000000000));
}

static inline double
num_pow2(int e)
{
  return double_of((uint64_t)(e + 1023) << 52);
}

/* a + b, exact or with an odd last bit (Boldo and Melquiond, "When double rounding is
 * odd"): the error of the sum, by Knuth's two-sum, says to which side the exact value lies.
 */
static inline double
num_add(double a, double b)
{
  double s = a + b, bb = s - a, err = (a - (s - bb)) + (b - bb);
  uint64_t u = bits_of_d(s);
  bool odd = u & 1, inexact = err < 0 || err > 0;
  uint64_t up = (uint64_t)((err > 0) == (s > 0)) * 2 - 1; /* +1 or -1 in magnitude */
  return double_of(inexact && !odd ? u + up : u);
}

/* mode: AR_RN … AR_RNA; a constant at most call sites. */
static inline double
num_round(double x, NumFormat f, unsigned mode, bool satfinite)
{
  double mag = num_abs(x);
  int64_t e = (int64_t)(bits_of_d(mag) >> 52) - 1023;
  e = e < f.least ? f.least : e;
  double lsb = double_of((uint64_t)(e - f.fraction + 1023) << 52);
  double big = double_of((uint64_t)(e - f.fraction + 52 + 1023) << 52);
  double near = mag + big - big; /* to nearest even, in units of lsb */
  double down = near > mag ? near - lsb : near;
  double up = down < mag ? down + lsb : down;
  bool neg = bits_of_d(x) >> 63;
  double r = mode == AR_RN            ? near
             : mode == AR_RNA         ? (mag - down >= lsb * 0.5 ? down + lsb : down)
             : mode == AR_RZ          ? down
             : (mode == AR_RP) != neg ? up
                                      : down;
  double over = num_pow2(f.largest) * 2;
  double most = over - num_pow2(f.largest - f.fraction);
  bool to_inf =
      mode == AR_RN || mode == AR_RNA || (mode != AR_RZ && (mode == AR_RP) != neg);
  double beyond =
      satfinite || (!to_inf && mag < (double)INFINITY) ? most : (double)INFINITY;
  r = r >= over || mag >= over ? beyond : r;
  return x != x ? x : num_sign_of(r, x);
}

/* A value of the format (or NaN) to its bits. */
static inline uint32_t
num_encode_f16(double r)
{
  double mag = num_abs(r);
  uint32_t normal = (bits_of((float)mag) - 0x38000000) >> 13;
  uint32_t tiny = (uint32_t)(int32_t)(mag < 0x1p-14 ? mag * 0x1p24 : 0);
  uint32_t h = mag < 0x1p-14 ? tiny : mag >= 0x1p16 ? 0x7c00 : normal;
  return r != r ? 0x7fff : h | (uint32_t)(bits_of_d(r) >> 48 & 0x8000);
}

static inline uint32_t
num_encode_f32(double r)
{
  return r != r ? 0x7fffffff : bits_of((float)r);
}

static inline uint32_t
num_encode_bf16(double r)
{
  return num_encode_f32(r) >> 16;
}

static inline double
num_f16_value(uint32_t h)
{
  uint32_t m = h & 0x3ff;
  float normal = float_of(((h & 0x7fff) << 13) + 0x38000000);
  float tiny = float_of(0x38800000 | m << 13) - 0x1p-14f;
  float special = float_of(0x7f800000 | m << 13);
  float mag = (h & 0x7c00) == 0 ? tiny : (h & 0x7c00) == 0x7c00 ? special : normal;
  return (double)float_of(bits_of(mag) | (h & 0x8000) << 16);
}

static inline double
num_bf16_value(uint32_t h)
{
  return (double)float_of(h << 16);
}

/* keep = 0x80000000 flushes subnormals to a zero of their sign, 0xffffffff does not. */
static inline uint32_t
num_flush32(uint32_t u, uint32_t keep)
{
  return (u & 0x7f800000) ? u : u & keep;
}

static inline uint32_t
num_keep32(unsigned mods)
{
  return mods & AR_FTZ ? 0x80000000 : 0xffffffff;
}

#endif
