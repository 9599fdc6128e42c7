/* loop: seconds of n launches from C, for python -m attnc.overhead to compare with: the
 * same plan and driver, two sets of addresses in turn, so that each call packs as a
 * caller's that has new tensors would. */
#include <attnc/attnc_rt.h>

#include <stdint.h>
#include <time.h>

typedef attnc_status Launcher(const attnc_plan *, const attnc_args *, void *stream,
                              attnc_launch_state *, attnc_error *);

ATTNC_API double attnc_loop(Launcher *, const attnc_plan *, attnc_args *,
                            attnc_launch_state *, attnc_error *, long n);

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* -1 if a launch failed. */
double
attnc_loop(Launcher *launch, const attnc_plan *plan, attnc_args *args,
           attnc_launch_state *state, attnc_error *error, long n)
{
  attnc_tensor *tensors = (attnc_tensor *)(uintptr_t)args->tensors; /* the caller's own */
  double start = now();
  for (long i = 0; i < n; i++) {
    ptrdiff_t step = i & 1 ? 0x10000 : -0x10000;
    for (uint32_t j = 0; j < args->n_tensors; j++)
      tensors[j].data = (char *)tensors[j].data + step;
    if (launch(plan, args, NULL, state, error) != ATTNC_OK)
      return -1;
  }
  return now() - start;
}
