/* mma_kit.h: the sums of tensor cores once more, slowly, in integers of 128 bits: exact
 * products, everything aligned to the largest exponent and cut to F bits, an exact sum. */
#ifndef ATTNC_TESTS_MMA_KIT_H
#define ATTNC_TESTS_MMA_KIT_H

#include "emulator/exec/mma.h"

#include <stdbool.h>
#include <stdint.h>

__extension__ typedef __int128 Big;
__extension__ typedef unsigned __int128 Ubig;

/* value = mag * 2^lsb; exp as the model has it */
typedef struct Num {
  int neg, lsb, exp, inf, nan;
  uint32_t mag;
} Num;

/* Bits of a field, from the top: sign, exponent, fraction; `low` bits below are not there.
 */
typedef struct Format {
  int exponent, fraction, low;
} Format;

static inline Format
format_of(uint8_t type)
{
  switch (type) {
  case MMA_F16:
    return (Format){5, 10, 0};
  case MMA_E4M3:
    return (Format){4, 3, 0};
  case MMA_E5M2:
    return (Format){5, 2, 0};
  case MMA_E3M2:
    return (Format){3, 2, 0};
  case MMA_E2M3:
    return (Format){2, 3, 0};
  case MMA_E2M1:
    return (Format){2, 1, 2};
  case MMA_BF16:
    return (Format){8, 7, 0};
  case MMA_TF32:
    return (Format){8, 10, 13};
  default:
    return (Format){8, 23, 0};
  }
}

/* Types of fewer than eight bits: exponents as if they had more below. */
static inline bool
is_narrow(uint8_t type)
{
  return type == MMA_E3M2 || type == MMA_E2M3 || type == MMA_E2M1;
}

static inline Num
normalised(Num x)
{
  for (int top = 1 << 23; x.mag && x.mag < (uint32_t)top; x.lsb--)
    x.mag <<= 1;
  x.exp = x.mag ? x.lsb + 23 : -126;
  return x;
}

static inline Num
number(uint8_t type, uint32_t u)
{
  Format f = format_of(type);
  int ones = (1 << f.exponent) - 1, bias = ones / 2;
  u >>= f.low;
  int e = (int)(u >> f.fraction) & ones;
  uint32_t m = u & ((1u << f.fraction) - 1);
  Num x = {.neg = (int)(u >> (f.exponent + f.fraction)) & 1};
  x.exp = (e ? e : 1) - bias;
  x.lsb = x.exp - f.fraction;
  x.mag = m | (e ? 1u << f.fraction : 0);
  if (!x.mag)
    x.exp = -126;
  if (is_narrow(type))
    return normalised(x);
  if (type == MMA_E4M3)
    x.nan = e == ones && m == 7;
  else if (e == ones)
    x.nan = m != 0, x.inf = m == 0;
  return x;
}

static inline Big
term(int neg, Big mag, int lsb, int unit)
{
  int s = lsb - unit;
  if (s >= 0)
    mag <<= s;
  else
    mag = s < -120 ? 0 : mag >> -s;
  return neg ? -mag : mag;
}

/* sum * 2^unit to the format: toward zero for f32, nearest even for f16. */
static inline uint32_t
rounded(Big sum, int unit, bool half)
{
  int width = half ? 10 : 23, bias = half ? 15 : 127, top = half ? 31 : 255;
  uint32_t sign = sum < 0 ? (half ? 0x8000u : 0x80000000u) : 0;
  Ubig m = sum < 0 ? (Ubig)-sum : (Ubig)sum;
  if (!m)
    return 0;
  int bits = 0;
  while (m >> bits)
    bits++;
  int e = bits - 1 + unit;
  int lsb = (e < 1 - bias ? 1 - bias : e) - width, cut = lsb - unit;
  Ubig q;
  if (cut <= 0) {
    q = m << -cut;
  } else if (cut > 120) {
    q = 0;
  } else {
    q = m >> cut;
    Ubig rest = m - (q << cut), tie = (Ubig)1 << (cut - 1);
    if (half && (rest > tie || (rest == tie && (q & 1))))
      q++;
  }
  if (!q)
    return 0;
  int field = lsb + width + bias; /* exponent field if the leading bit is there */
  uint64_t u = (uint64_t)q + ((uint64_t)(field - 1) << width);
  if (u >> width >= (uint64_t)top)
    u = (uint64_t)top << width;
  return (uint32_t)u | sign;
}

/* c and k products to f32 or f16; an f32 result keeps `fraction` bits where they are fewer
 * than it has. */
static inline uint32_t
kit_dot(const Num *a, const Num *b, int k, Num c, int fraction, bool half)
{
  int top = c.exp, nan = c.nan, pos = c.inf && !c.neg, neg = c.inf && c.neg;
  for (int j = 0; j < k; j++) {
    top = a[j].exp + b[j].exp > top ? a[j].exp + b[j].exp : top;
    nan |= a[j].nan || b[j].nan || (a[j].inf && !b[j].inf && !b[j].mag) ||
           (b[j].inf && !a[j].inf && !a[j].mag);
    pos |= (a[j].inf || b[j].inf) && a[j].neg == b[j].neg;
    neg |= (a[j].inf || b[j].inf) && a[j].neg != b[j].neg;
  }
  if (nan || (pos && neg))
    return half ? 0x7fff : 0x7fffffff;
  if (pos || neg)
    return (half ? 0x7c00u : 0x7f800000u) | (neg ? (half ? 0x8000u : 0x80000000u) : 0);
  int unit = top - fraction;
  Big sum = term(c.neg, c.mag, c.lsb, unit);
  for (int j = 0; j < k; j++)
    sum += term(a[j].neg ^ b[j].neg, (Big)a[j].mag * b[j].mag, a[j].lsb + b[j].lsb, unit);
  uint32_t u = rounded(sum, unit, half);
  if (!half && fraction < 23)
    u &= ~0u << (23 - fraction);
  return u & 0x7fffffff ? u : 0;
}

#endif
