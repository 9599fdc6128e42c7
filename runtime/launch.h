/* launch.h: what a launch keeps from one call to the next.
 *
 * Packing checks the caller's sizes, tensors and scalars against the recipe and writes
 * parameters, tensor maps and grids; a launch state remembers all of it together with what
 * it was made from, so that a call with the same arguments goes straight to the driver, and
 * one with other arguments encodes only the tensor maps that they change. */
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

/* What a tensor map was encoded from, beside the recipe; no padding, for memcmp. */
typedef struct MapShape {
  void *address;                                  /* NULL: nothing is encoded */
  uint64_t count[MAP_DIMS], stride[MAP_DIMS - 1]; /* elements, bytes */
  uint32_t box[MAP_DIMS];
} MapShape;

typedef struct Packed {
  CUtensorMap maps[RECIPE_MAPS]; /* first: 64-byte aligned, as the whole is */
  MapShape shapes[RECIPE_MAPS];
  Value values[RECIPE_PARAMS]; /* that of a map is not used */
  Grid grids[RECIPE_STEPS];
  CUdeviceptr memset_at[RECIPE_STEPS];
  size_t memset_bytes[RECIPE_STEPS];
} Packed;

/* The arguments of a call, taken out of the caller's structs; those past n_ are not set. */
typedef struct LaunchArgs {
  attnc_sizes sizes;
  void *workspace;
  size_t workspace_bytes;
  uint32_t n_tensors, n_scalars;
  attnc_tensor tensors[RECIPE_SLOTS];
  double scalars[RECIPE_SCALARS];
} LaunchArgs;

struct attnc_launch_state {
  Packed packed;
  uint64_t encoder; /* serial of the plan that the maps are of; 0: none */
  uint64_t serial;  /* of the plan that packed; 0: nothing packed */
  LaunchArgs args;  /* that were packed */
};

/* How a step of the plan is launched, once the plan has its trace; NULL: by cuLaunchKernel.
 */
LaunchHow *launch_how(const attnc_plan *, int step);

/* The tensor map of a parameter of that kind, encoded unless the one that is there was made
 * from the same. */
attnc_status launch_map(const attnc_plan *, const Param *, const LaunchArgs *, Packed *,
                        attnc_error *);

#endif
