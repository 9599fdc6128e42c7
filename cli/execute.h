/* execute.h: launching a plan on a device: once, and many times against the clock.
 *
 * Times are of CUDA events around each launch, after warm-up launches, with whatever the
 * launches before left in the caches.  The emulator's clock means nothing, so it is never
 * timed: it has est_cycles. */
#ifndef ATTNC_CLI_EXECUTE_H
#define ATTNC_CLI_EXECUTE_H

#include "cli/tensors.h"

typedef struct Execution {
  const Device *device;
  attnc_plan *plan; /* the caller's */
  attnc_args args;  /* of the device */
  attnc_launch_state *state;
  CUdeviceptr workspace; /* 0: the plan needs none */
} Execution;

typedef struct Timing {
  int n;
  double median, least, most; /* milliseconds */
  double spread;              /* median absolute deviation */
} Timing;

/* With a workspace of its own for the sizes of `args`. */
attnc_status execution_new(const Device *, attnc_plan *, const attnc_args *, Execution *,
                           attnc_error *);
void execution_free(Execution *);
/* Launch and wait. */
attnc_status execute(Execution *, attnc_error *);
/* warm_up launches, then `repeat` measured ones. */
attnc_status execute_timed(Execution *, int warm_up, int repeat, Timing *, attnc_error *);
/* The median and the median absolute deviation; sorts v.  n is at least 1. */
double median_of(double *v, int n);
void timing_of(double *ms, int n, Timing *);

#endif
