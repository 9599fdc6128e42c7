/* extremes.h: the larger and the smaller of two counts. */
#ifndef ATTNC_TEMPLATES_EXTREMES_H
#define ATTNC_TEMPLATES_EXTREMES_H

static inline int
largest(int a, int b)
{
  return a > b ? a : b;
}

static inline int
least(int a, int b)
{
  return a < b ? a : b;
}

#endif
