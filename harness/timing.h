/* timing.h: what is told of several measurements. */
#ifndef ATTNC_HARNESS_TIMING_H
#define ATTNC_HARNESS_TIMING_H

typedef struct Timing {
  int n;
  double median, least, most; /* milliseconds */
  double spread;              /* median absolute deviation */
} Timing;

/* The median and the median absolute deviation; sorts v.  n is at least 1. */
double median_of(double *v, int n);
void timing_of(double *ms, int n, Timing *);

#endif
