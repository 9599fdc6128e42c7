/* signature.h: the tensors and scalars of a spec's call, in the order of their slots: what
 * ATTNC_TENSOR_TABLE and ATTNC_SCALAR_TABLE say, with the spec's types, dims and options,
 * and behind them those that the spec declares.
 *
 * The recipe carries it, so that launches, generated C, command line and bindings know no
 * tensor by heart. */
#ifndef ATTNC_COMPILER_SIGNATURE_H
#define ATTNC_COMPILER_SIGNATURE_H

#include "base/call.h"
#include "base/str.h"
#include "compiler/spec/spec.h"

typedef struct SignatureScalar {
  const char *name;
  int slot;
  double initial; /* where the call gives none; NaN: it must give one */
  RuleBounds bounds;
  bool constant; /* of the kernel, by the spec's `specialize` */
} SignatureScalar;

typedef struct Signature {
  int op;
  CallTensor tensors[CALL_SLOTS];
  SignatureScalar scalars[CALL_SCALARS];
  int n_tensors, n_scalars;
} Signature;

void signature_make(const Spec *, int op, Signature *);
/* `"tensors":[…]` of a recipe; for the spec's own text (not NULL) each has its `shape`
 * besides: its axes in the order of the spec's layout; and a table `longer`,
 * `monotone` where it is, and `mask` where the mask reads it. */
void signature_put_tensors(const Signature *, const Spec *, Str *);
/* `"scalars":[…]`; without `defaults` only those that are constants have theirs. */
void signature_put_scalars(const Signature *, bool defaults, Str *);

#endif
