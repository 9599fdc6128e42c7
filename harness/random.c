#include "harness/random.h"

#include <math.h>
#include <string.h>

static uint64_t
splitmix(uint64_t *x)
{
  uint64_t z = *x += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static uint64_t
rotl(uint64_t x, int k)
{
  return x << k | x >> (64 - k);
}

void
random_seed(Random *r, uint64_t seed)
{
  for (int i = 0; i < 4; i++)
    r->s[i] = splitmix(&seed);
  r->has_spare = false;
  r->spare = 0;
}

uint64_t
random_bits(Random *r)
{
  uint64_t *s = r->s;
  uint64_t result = rotl(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotl(s[3], 45);
  return result;
}

double
random_normal(Random *r)
{
  if (r->has_spare) {
    r->has_spare = false;
    return r->spare;
  }
  double u = ((double)(random_bits(r) >> 11) + 0.5) * 0x1p-53; /* in (0, 1) */
  double v = (double)(random_bits(r) >> 11) * 0x1p-53;
  double radius = sqrt(-2 * log(u)), angle = 6.283185307179586 * v;
  r->spare = radius * sin(angle);
  r->has_spare = true;
  return radius * cos(angle);
}

static uint32_t
bits_of(float x)
{
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static float
float_of(uint32_t u)
{
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

uint16_t
float_to_bf16(float x)
{
  uint32_t u = bits_of(x);
  if ((u & 0x7fffffffu) > 0x7f800000u)
    return (uint16_t)(u >> 16 | 0x40u); /* NaN stays one */
  return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

float
bf16_to_float(uint16_t h)
{
  return float_of((uint32_t)h << 16);
}

uint16_t
float_to_f16(float x)
{
  uint32_t u = bits_of(x), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
  if (a > 0x7f800000u)
    return (uint16_t)(sign | 0x7e00u);
  if (a >= 0x477ff000u) /* 65520 and above round to infinity */
    return (uint16_t)(sign | 0x7c00u);
  if (a < 0x38800000u) { /* below 2^-14: a multiple of 2^-24 */
    float scaled = float_of(a) * 0x1p24f;
    return (uint16_t)(sign | (uint32_t)nearbyintf(scaled));
  }
  uint32_t rounded = a + 0xfffu + (a >> 13 & 1u);
  return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

float
f16_to_float(uint16_t h)
{
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3ffu;
  if (e == 31)
    return float_of(sign | 0x7f800000u | m << 13);
  if (e == 0) {
    float x = (float)m * 0x1p-24f;
    return sign ? -x : x;
  }
  return float_of(sign | (e + 112) << 23 | m << 13);
}
