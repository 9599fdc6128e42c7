#include "tests/e2e/number.h"

#include <math.h>
#include <string.h>

static uint32_t
bits_of(float x)
{
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}

static float
of_bits(uint32_t u)
{
  float x;
  memcpy(&x, &u, 4);
  return x;
}

uint16_t
bf16_of(float x)
{
  uint32_t u = bits_of(x);
  if ((u & 0x7fffffffu) > 0x7f800000u)
    return 0x7fff;
  return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

float
f32_of_bf16(uint16_t h)
{
  return of_bits((uint32_t)h << 16);
}

/* Scaled so that one unit in the last place of the result is 1, then rounded by rint, whose
 * mode is nearest even. */
uint16_t
f16_of(float x)
{
  uint16_t sign = (uint16_t)(bits_of(x) >> 16 & 0x8000u);
  double a = fabs((double)x);
  int e;
  if (isnan(x))
    return 0x7fff;
  if (a == 0)
    return sign;
  if (a >= 65520.0)
    return sign | 0x7c00;
  frexp(a, &e);                  /* a = f * 2^e, f in [1/2, 1) */
  e = e - 1 < -14 ? -14 : e - 1; /* subnormals share the exponent -14 */
  uint32_t m = (uint32_t)rint(ldexp(a, 10 - e));
  return (uint16_t)(sign | ((uint32_t)(e + 14) * 1024u + m));
}

float
f32_of_f16(uint16_t h)
{
  int e = h >> 10 & 31, m = h & 1023;
  float a = e == 31 ? (m ? NAN : INFINITY)
            : e     ? ldexpf((float)(1024 + m), e - 25)
                    : ldexpf((float)m, -24);
  return h & 0x8000 ? -a : a;
}

uint64_t
number_bits(Random *r)
{
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

uint32_t
number_below(Random *r, uint32_t n)
{
  return (uint32_t)((number_bits(r) >> 32) * n >> 32);
}

float
number_normal(Random *r)
{
  double u = ((double)(number_bits(r) >> 11) + 1) * 0x1p-53;
  double v = (double)(number_bits(r) >> 11) * 0x1p-53;
  return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
