#include "tests/oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool
oracle_sees(const OracleCase *c, int q_idx, int kv_idx)
{
  int position = c->top_left ? q_idx : q_idx + c->sk - c->sq;
  if (c->causal && kv_idx > position)
    return false;
  if (c->left >= 0 && kv_idx < position - c->left)
    return false;
  if (c->right >= 0 && kv_idx > position + c->right)
    return false;
  return true;
}

static long double
score(const OracleCase *c, const double *q, const double *k)
{
  long double sum = 0;
  for (int i = 0; i < c->d; i++)
    sum += (long double)q[i] * k[i];
  return sum * (c->scale != 0 ? c->scale : 1 / sqrtl((long double)c->d));
}

/* -inf where the key is not seen. */
static long double
seen_score(const OracleCase *c, OracleAt at, const double *q, const double *k)
{
  if (!oracle_sees(c, at.q_idx, at.kv_idx) || (c->sees && !c->sees(c->user, at)))
    return -HUGE_VALL;
  long double x = score(c, q, k);
  return c->score ? c->score(c->user, at, x) : x;
}

static void
one_row(const OracleCase *c, OracleAt at, const double *q, const double *k, const double *v,
        double *o, double *lse)
{
  long double most = -HUGE_VALL, total = 0;
  long double *w = calloc((size_t)c->sk + 1, sizeof *w);
  for (int j = 0; j < c->sk; j++) {
    at.kv_idx = j;
    w[j] = seen_score(c, at, q, k + (long)j * c->d);
    most = fmaxl(most, w[j]);
  }
  for (int j = 0; j < c->sk; j++) {
    w[j] = w[j] > -HUGE_VALL ? expl(w[j] - most) : 0;
    total += w[j];
  }
  for (int i = 0; i < c->dv; i++) {
    long double sum = 0;
    for (int j = 0; j < c->sk; j++)
      sum += w[j] * v[(long)j * c->dv + i];
    o[i] = total > 0 ? (double)(sum / total) : 0;
  }
  *lse = total > 0 ? (double)(most + logl(total)) : -HUGE_VAL;
  free(w);
}

void
oracle_attention(const OracleCase *c, const double *q, const double *k, const double *v,
                 double *o, double *lse)
{
  for (int b = 0; b < c->b; b++)
    for (int h = 0; h < c->h; h++) {
      long kv_head = (long)b * c->hk + h / (c->h / c->hk);
      for (int i = 0; i < c->sq; i++) {
        long row = ((long)b * c->h + h) * c->sq + i;
        one_row(c, (OracleAt){b, h, i, 0}, q + row * c->d, k + kv_head * c->sk * c->d,
                v + kv_head * c->sk * c->dv, o + row * c->dv, lse + row);
      }
    }
}

/* ---- element types ---- */

typedef struct Shape {
  int exponent, mantissa; /* bits */
} Shape;
static const Shape shapes[] = {{5, 10}, {8, 7}, {8, 23}};

double
oracle_decode(OracleType t, uint32_t bits)
{
  Shape s = shapes[t];
  int e = (int)(bits >> s.mantissa & ((1u << s.exponent) - 1)),
      bias = (1 << (s.exponent - 1)) - 1;
  double m = ldexp(bits & ((1u << s.mantissa) - 1), -s.mantissa);
  double sign = bits >> (s.exponent + s.mantissa) & 1 ? -1 : 1;
  if (e == (1 << s.exponent) - 1)
    return m != 0 ? NAN : sign * HUGE_VAL;
  return sign * (e ? ldexp(1 + m, e - bias) : ldexp(m, 1 - bias));
}

static uint32_t
float_bits(float f)
{
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

/* Positive numbers are ordered as their bits: a search between the powers of two around the
 * value, then the nearer neighbour. */
uint32_t
oracle_encode(OracleType t, double v)
{
  Shape s = shapes[t];
  uint32_t sign = signbit(v) ? 1u << (s.exponent + s.mantissa) : 0;
  uint32_t infinity = ((1u << s.exponent) - 1) << s.mantissa;
  int e = 0, bias = (1 << (s.exponent - 1)) - 1;
  double a = fabs(v);
  if (t == ORACLE_FP32)
    return float_bits((float)v);
  if (isnan(v))
    return infinity | 1u << (s.mantissa - 1);
  if (a == 0)
    return sign;
  frexp(a, &e); /* a is in [2^(e-1), 2^e) */
  if (isinf(v) || e - 1 > bias)
    return sign | infinity;
  uint32_t low = e - 1 + bias > 0 ? (uint32_t)(e - 1 + bias) << s.mantissa : 0;
  uint32_t high = low + (1u << s.mantissa);
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (oracle_decode(t, middle) <= a)
      low = middle;
    else
      high = middle;
  }
  double below = oracle_decode(t, low);
  double above =
      high == infinity ? 2 * below - oracle_decode(t, low - 1) : oracle_decode(t, high);
  bool up = a - below > above - a || (a - below == above - a && low % 2);
  return sign | (up ? high : low);
}

/* ---- numbers ---- */

/* splitmix64. */
uint64_t
oracle_random(uint64_t *state)
{
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

/* Box and Muller. */
double
oracle_normal(uint64_t *state)
{
  double u = ((double)(oracle_random(state) >> 11) + 0.5) * 0x1p-53;
  double w = (double)(oracle_random(state) >> 11) * 0x1p-53;
  return sqrt(-2 * log(u)) * cos(6.283185307179586 * w);
}
