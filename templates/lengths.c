#include "templates/lengths.h"

#include <math.h>

/* The exponent p of lengths whose mean is this; 0, all alike, where a size has no lengths.
 */
static double
exponent(bool own, int64_t mean, int64_t longest)
{
  enum { QUARTER = 3 };
  if (!own)
    return 0;
  if (mean <= 0)
    return QUARTER;
  return mean < longest ? (double)longest / (double)mean - 1 : 0;
}

static int64_t
length(int64_t longest, double share, double p)
{
  double x = ceil((double)longest * pow(share, p));
  return x < 1 ? 1 : (int64_t)x;
}

static int
divisor(int a, int b)
{
  return b ? divisor(b, a % b) : a;
}

/* A step through n that comes by all of them, a little below the half. */
static int
mixing(int n)
{
  int step = n * 7 / 16 > 1 ? n * 7 / 16 : 1;
  while (divisor(n, step) > 1)
    step--;
  return step;
}

Lengths
lengths_assumed(const Case *c)
{
  const Spec *s = c->spec;
  bool q = spec_has_tensor(s, ATTNC_CU_SEQLENS_Q) || spec_has_tensor(s, ATTNC_SEQUSED_Q);
  bool k = spec_has_tensor(s, ATTNC_CU_SEQLENS_K) || spec_has_tensor(s, ATTNC_SEQUSED_K) ||
           spec_has_tensor(s, ATTNC_LEFTPAD_K);
  double of_q = exponent(q, c->mean_q, c->sq), of_k = exponent(k, c->mean_k, c->sk);
  Lengths x = {.n = c->b < LENGTHS_MOST ? (int)c->b : LENGTHS_MOST};
  int step = mixing(x.n);
  x.each = (double)c->b / x.n;
  for (int i = 0; i < x.n; i++) {
    double share = (2.0 * (i * step % x.n) + 1) / (2.0 * x.n);
    x.of[i].q = length(c->sq, share, of_q);
    x.of[i].k = length(c->sk, share, of_k);
  }
  return x;
}
