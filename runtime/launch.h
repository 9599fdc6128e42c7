/* launch.h: what a launch keeps from one call to the next.
 *
 * Packing checks the caller's sizes, tensors and scalars against the recipe and writes
 * parameters and grids; a launch state remembers all of it together with what it was made
 * from, so that a call with the same arguments goes straight to the driver. */
#ifndef ATTNC_RUNTIME_LAUNCH_H
#define ATTNC_RUNTIME_LAUNCH_H

#include "runtime/plan.h"

/* One parameter: eight bytes of which the driver reads as many as its type has. */
typedef union Value {
  CUdeviceptr ptr;
  int64_t i64;
  int32_t i32;
  float f32;
} Value;

typedef struct Grid {
  unsigned x, y, z; /* any of them 0: nothing to launch */
} Grid;

typedef struct Packed {
  Value values[RECIPE_PARAMS];
  Grid grids[RECIPE_STEPS];
  CUdeviceptr memset_at[RECIPE_STEPS];
  size_t memset_bytes[RECIPE_STEPS];
} Packed;

struct attnc_launch_state {
  uint64_t serial; /* of the plan that packed; 0: nothing packed */
  int64_t sizes[SIZE_COUNT];
  attnc_tensor tensors[RECIPE_SLOTS];
  float scalars[RECIPE_SCALARS];
  void *workspace;
  size_t workspace_bytes;
  uint32_t n_tensors, n_scalars;
  Packed packed;
};

#endif
