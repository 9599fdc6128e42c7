/* call.h: the tensors of one case, on the host and on the device, with traps in all memory
 * that no kernel has business with.
 *
 * Every buffer is one allocation: a guard, the tensor (or the packed tensors), a guard.
 * Inputs are random-normal, and what else their names ask for (call.c); gaps between their
 * rows, dead rows behind them, rows that are nobody's (drawn.h) and both guards
 * hold NaN and infinity, so that a value which is read there is seen in the result. Outputs
 * start as a NaN that no arithmetic makes; afterwards every element of somebody's rows must
 * be written, and nothing else: gaps and guards are compared bit by bit, inputs whole.  A
 * Call belongs to one thread; call_free gives everything back, accepts a zeroed Call, and
 * needs no device where nothing was sent. */
#ifndef ATTNC_TESTS_CALL_H
#define ATTNC_TESTS_CALL_H

#include "tests/e2e/asked.h"
#include "tests/e2e/case.h"
#include "tests/e2e/device.h"
#include "tests/e2e/drawn.h"
#include "tests/e2e/facts.h"

typedef struct Buffer {
  unsigned char *host, *sent; /* what is there; what was sent */
  size_t bytes;
  CUdeviceptr at;
} Buffer;

typedef struct Call {
  Case c;
  Facts facts;
  Drawn *drawn; /* NULL: all rows are somebody's, and all numbers are call.c's */
  Buffer buffers[FACTS_SLOTS];
  int n_buffers;
  int home[FACTS_SLOTS];     /* the buffer of a tensor, -1: absent */
  size_t start[FACTS_SLOTS]; /* byte of its first element in the buffer */
  attnc_tensor host[FACTS_SLOTS], device[FACTS_SLOTS];
  attnc_sizes sizes;
  attnc_args host_args, device_args; /* point into the Call */
  double scalars[ATTNC_SCALAR_COUNT];
} Call;

/* Host images and strides, for the spec of the case.  false: out of memory, or the spec is
 * not understood. */
bool call_build(Call *, const Case *, const attnc_spec *);
/* The spec of a case, and its call; false: refused, and why. */
bool call_load(Call *, const Case *, attnc_spec **, char *why, size_t n);
/* The same with sizes and strides alone, for call_problem: its memory has no contents. */
bool call_place(Call *, const Case *, attnc_spec **, char *why, size_t n);
bool call_upload(Call *, const Device *, char *why, size_t n);
bool call_download(Call *, const Device *, char *why, size_t n);
/* What the launch must not have done: elements not written, bytes written that are no
 * element.  false and the first place. */
bool call_intact(const Call *, char *why, size_t n);
void call_free(Call *, const Device *);
/* What a plan is asked for: the sizes and, for `specialize`, the strides. */
void call_problem(const Call *, CallAsked *);

#endif
