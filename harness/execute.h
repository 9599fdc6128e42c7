/* execute.h: launching a plan on a device: once, and many times against the clock.
 *
 * Times are of CUDA events around each launch, after warm-up launches, with what the launch
 * before left in the caches, or nothing of it in L2.  The emulator's clock means nothing,
 * so it is never timed: it has est_cycles. */
#ifndef ATTNC_HARNESS_EXECUTE_H
#define ATTNC_HARNESS_EXECUTE_H

#include "harness/tensors.h"
#include "harness/timing.h"

typedef struct Execution {
  const Device *device;
  attnc_plan *plan; /* the caller's */
  attnc_args args;  /* of the device */
  attnc_launch_state *state;
  CUdeviceptr workspace; /* 0: the plan needs none */
} Execution;

/* With a workspace of its own for the sizes of `args`. */
attnc_status execution_new(const Device *, attnc_plan *, const attnc_args *, Execution *,
                           attnc_error *);
void execution_free(Execution *);
/* Launch and wait. */
attnc_status execute(Execution *, attnc_error *);
/* warm_up launches, then `repeat` measured ones.  cold: before each of these other memory
 * is written, twice as many bytes as the L2 cache has. */
attnc_status execute_timed(Execution *, int warm_up, int repeat, bool cold, Timing *,
                           attnc_error *);

#endif
