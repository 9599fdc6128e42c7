#include "harness/timing.h"

#include <math.h>
#include <stdlib.h>

static int
ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

double
median_of(double *v, int n)
{
  qsort(v, (size_t)n, sizeof *v, ascending);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

void
timing_of(double *ms, int n, Timing *t)
{
  t->n = n;
  t->median = median_of(ms, n);
  t->least = ms[0];
  t->most = ms[n - 1];
  for (int i = 0; i < n; i++)
    ms[i] = fabs(ms[i] - t->median);
  t->spread = median_of(ms, n);
}
