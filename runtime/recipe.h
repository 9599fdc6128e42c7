/* recipe.h: the launch recipe of a kernel, read from its JSON (schema attnc.kernel/3).
 *
 * A recipe is data: which tensors and scalars a call has, what it requires of them, how
 * much workspace it needs, and an ordered list of steps: launches (entry, parameters, grid
 * axes, block, shared memory) and memsets of workspace.  JIT, bundles and bindings all
 * launch from it, so it is checked strictly here and trusted afterwards: slots, dimensions
 * and counts are in range, every axis can be evaluated.
 *
 * Unknown keys are ignored at top level, where later versions may add what a launch does
 * not need, and refused in tensors, scalars, requirements, workspace and steps, where
 * ignoring one would mean a wrong launch.
 *
 * A recipe owns all that it points to; recipe_free gives everything back. */
#ifndef ATTNC_RUNTIME_RECIPE_H
#define ATTNC_RUNTIME_RECIPE_H

#include "base/arena.h"
#include "base/call.h"

#include <attnc/attnc_rt.h>

#include <jansson.h>
#include <stdbool.h>

enum {
  RECIPE_SLOTS = CALL_SLOTS, /* tensors of a call */
  RECIPE_SCALARS = CALL_SCALARS,
  RECIPE_PARAMS = 256, /* over all steps */
  RECIPE_MAPS = 16,    /* tensor maps, over all steps */
  RECIPE_STEPS = CALL_STEPS,
  RECIPE_REGIONS = CALL_REGIONS,
  RECIPE_AXES = 256,  /* that differ */
  RECIPE_ENTRY = 128, /* bytes of an entry's name, with the 0 */
};

/* ---- axes: products of terms ---- */

typedef enum TermKind {
  TERM_CONST,
  TERM_SIZE,
  TERM_CEIL_DIV,
  TERM_QUOTIENT, /* of two axes, rounded up; by 0 it is the first */
  TERM_MIN,
  TERM_ADD,
  TERM_SMS,
  TERM_ASIDE, /* of two axes the first where both fit a grid's y and z, else 1 */
  TERM_ALONG, /* of two sizes 1 there, else their product */
  TERM_OR     /* the size where it is not 0, else the axis */
} TermKind;
enum { ASIDE_MOST = 65535 }; /* blocks along y and z */
typedef struct Term {
  TermKind kind;
  SizeId size;   /* SIZE, CEIL_DIV, ALONG, OR */
  SizeId other;  /* ALONG */
  int64_t value; /* CONST; the divisor of CEIL_DIV, at least 1; what SMS is rounded down to
                    a multiple of, at least 1 */
  struct Axis *of; /* MIN, ADD; QUOTIENT, ASIDE: two; OR: one */
  int n_of;
} Term;
typedef struct Axis {
  Term *terms;
  int n;
  int id; /* axes that are equal have one, below RECIPE_AXES */
} Axis;
/* Of one recipe, for one call: each axis that differs is evaluated once, however often it
 * stands in others.  Kernels of nested quotients name the same parts many times. */
typedef struct AxisValues {
  const attnc_sizes *sizes;
  int sms;
  uint64_t known[RECIPE_AXES / 64];
  int64_t at[RECIPE_AXES];
} AxisValues;
AxisValues axis_values(const attnc_sizes *, int sms); /* none yet; the sizes stay */
/* False when the product leaves int64. */
bool axis_value(AxisValues *, const Axis *, int64_t *);
/* The first product in it, also of those that a minimum leaves out, that is above `most`;
 * NULL: none.  Kernels count the work that a smaller grid shares in as many bits. */
const Axis *axis_above(AxisValues *, const Axis *, int64_t most);
/* "ceil(sq 1000 / 64) * h 8", cut to n bytes. */
void axis_text(AxisValues *, const Axis *, char *, size_t n);

/* ---- steps ---- */

/* How a kernel sees a tensor through cuTensorMapEncodeTiled: up to five dimensions, the
 * innermost first.  That one's elements are adjacent; each other is a stride of the tensor,
 * times a factor: rows that are packed from 4 heads are {4, stride 1} and {hk, stride 1,
 * times 4}.  Elements are of the tensor's dtype, out of bounds reads as zeros.
 *
 * A recipe's dimension over which a box of n elements slides is two here, both of its
 * stride: {n}, and {size, before n}, whose coordinates are counted from n elements before
 * the tensor.  A box at (i, x) is the elements from i + x - n on, of which the last i are
 * out of bounds: a box may end anywhere, not only where the tensor does.
 *
 * Along a dimension of a size that the map fits, boxes, and what they slide over, have no
 * more elements than the largest power of 2 that divides that size. */
enum { MAP_DIMS = 5 };
typedef struct MapDim {
  int64_t n; /* the count, at least 1; 0: that of `size` */
  SizeId size;
  int stride;     /* index into the tensor's strides; -1: the innermost dimension */
  int64_t times;  /* at least 1 */
  int64_t before; /* elements before the tensor's first, counted on top */
  bool slides;    /* over the next dimension, and steps where that does */
  bool fits;      /* its boxes, and `before`, or `n` of one that slides */
} MapDim;
typedef struct TensorMap {
  int slot, n_dims;
  MapDim dim[MAP_DIMS];
  unsigned box[MAP_DIMS]; /* elements that one copy takes, 1 to 256 */
  int swizzle;            /* bytes: 0, 32, 64, 128; at least box[0]'s unless 0 */
  int l2;                 /* bytes that L2 fetches at once: 0, 64, 128, 256 */
} TensorMap;

typedef enum ParamType {
  PARAM_PTR,
  PARAM_I64,
  PARAM_I32,
  PARAM_F32,
  PARAM_BYTES /* by value: 128 bytes, 64-byte aligned */
} ParamType;
typedef enum ParamKind {
  PARAM_TENSOR,    /* ptr: slot */
  PARAM_WORKSPACE, /* ptr: region */
  PARAM_STRIDE,    /* i64, i32: slot, dim; in elements */
  PARAM_SIZE,      /* i64, i32 */
  PARAM_SCALAR,    /* f32: slot */
  PARAM_MAP        /* bytes: map, index among the recipe's maps */
} ParamKind;
typedef struct Param {
  ParamType type;
  ParamKind kind;
  int slot, dim;
  SizeId size;
  int region;           /* of workspace */
  const TensorMap *map; /* NULL: not a map */
  int index;
} Param;

typedef struct Launch {
  const char *entry;
  const Param *params;
  int n_params;
  Axis grid[3], grid_without[3]; /* the latter: of a launch without workspace, … */
  bool runs_without;             /* … where there is one */
  unsigned block[3];
  unsigned cluster[3]; /* blocks; divides the grid */
  unsigned shared;     /* bytes of dynamic shared memory */
  bool serialization;  /* programmatic: may begin before the kernel ahead of it ends */
  bool extended;       /* needs cuLaunchKernelEx: a cluster or serialization */
} Launch;

typedef struct Memset {
  int region;
  Axis bytes; /* from its start, at most its own */
  unsigned char value;
} Memset;

typedef struct Step {
  bool is_launch;
  Launch launch;
  Memset memset;
} Step;

/* ---- workspace ---- */

/* Memory of the caller's between the steps.  Regions follow each other, each from the next
 * multiple of REGION_ALIGN on.  None gets smaller where a size of the call grows. */
enum { REGION_ALIGN = CALL_REGION_ALIGN };
typedef struct RecipeRegion {
  const char *name;
  Axis bytes;
  /* All bytes are 0 before a launch and after it: the caller makes them so once.  Such
   * regions have a constant size and are the first ones. */
  bool zero;
} RecipeRegion;

/* ---- the whole ---- */

typedef struct RecipeScalar {
  const char *name;  /* NULL: not an argument of this kernel */
  double initial;    /* NaN: the call must give it */
  bool fixed;        /* a constant of the kernel, equal to `initial` */
  RuleBounds bounds; /* outside of them the result has no meaning */
} RecipeScalar;

typedef struct Recipe {
  Arena *arena;
  json_t *json; /* the whole text, for attnc_plan_json */
  const char *name, *op, *target, *ptx_sha256;
  const char *mark;                 /* of the PTX (base/ptx.h) */
  const char *cubin_sha256;         /* NULL: it was made with none */
  int cubin_driver;                 /* cuDriverGetVersion, at least */
  bool exact;                       /* runs on the target's own capability only */
  int cc;                           /* of the target: 80 */
  int min_driver;                   /* cuDriverGetVersion */
  CallTensor tensors[RECIPE_SLOTS]; /* by slot; those that are not have no name */
  RecipeScalar scalars[RECIPE_SCALARS];
  int n_slots;               /* one past the last tensor */
  int align;                 /* bytes, of the workspace */
  int64_t group_size;        /* h / hk; 0: any */
  int64_t sizes[SIZE_COUNT]; /* specialised; -1: any */
  bool reads[SIZE_COUNT];    /* in steps and workspace */
  int64_t max_size;          /* of any size; INT64_MAX: any */
  bool has_strides[RECIPE_SLOTS];
  int64_t strides[RECIPE_SLOTS][CALL_STRIDES]; /* specialised */
  const RecipeRegion *regions;
  int n_regions;
  bool runs_without; /* a launch may be given no workspace though there are regions */
  Step *steps;
  int n_steps, n_params, n_maps; /* params and maps: over all steps */
} Recipe;

/* ATTNC_ERR_SPEC never: a recipe is attnc's own file, so a bad one is ATTNC_ERR_IO, a
 * recipe of a later schema ATTNC_ERR_UNSUPPORTED.  The message names the place. */
attnc_status recipe_parse(const char *text, size_t n, Recipe **, attnc_error *);
void recipe_free(Recipe *); /* NULL is fine */

#endif
