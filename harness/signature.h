/* signature.h: the tensors and numbers of a spec's call, from attnc_spec_signature: what
 * files, random inputs and outputs are made from. */
#ifndef ATTNC_HARNESS_SIGNATURE_H
#define ATTNC_HARNESS_SIGNATURE_H

#include "base/arena.h"
#include "base/call.h"

typedef struct ShapedTensor {
  CallTensor t;                 /* without a name: no tensor of the call */
  CallAxis shape[CALL_STRIDES]; /* its axes in the order of files */
  bool monotone;                /* along its last axis elements do not decrease */
  bool of_mask;                 /* the mask reads it */
} ShapedTensor;

typedef struct CallNumber {
  const char *name; /* NULL: no number of the call */
  double initial;   /* NaN: the call must give it */
} CallNumber;

typedef struct CallInfo {
  int op;
  ShapedTensor at[CALL_SLOTS]; /* by slot */
  int n_slots;                 /* one past the last */
  CallNumber numbers[CALL_SCALARS];
} CallInfo;

/* Texts are in the arena. */
attnc_status signature_read(const attnc_spec *, int op, Arena *, CallInfo *, attnc_error *);
/* Elements from one row of the last axis to the next, in memory of ours: those of the axis,
 * but of a table whose rows must be aligned so many more that they are. */
int64_t signature_row(const ShapedTensor *, const attnc_sizes *);
/* Strides in the order of the tensor's axes, packed as its shape says but for that. */
void signature_pack(const ShapedTensor *, const attnc_sizes *,
                    int64_t stride[CALL_STRIDES]);
/* "q, k, v": the names of those that are read (ACCESS_IN) or written. */
const char *signature_names(const CallInfo *, Access, Arena *);

#endif
