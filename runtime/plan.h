/* plan.h: a kernel loaded on a device.
 *
 * plan_load takes PTX text, or the cubin that an assembler made of it, or both, and a
 * recipe, loads the module into the device's primary
 * context, resolves every entry, allows it its shared memory and forces the code onto the
 * device (cuFuncLoad where the driver has it), so that a launch never loads anything, not
 * even while a stream is captured.  What the driver's compiler said is kept in the plan's
 * JSON: registers, spills, notes, and "diagnostics": its remarks C7500 to C7520, which say
 * that asynchronous matrix instructions were serialised or setmaxnreg ignored.  A kernel
 * that has any is right, and slow.
 *
 * A plan is immutable but for its count of owners; it holds a reference to its driver and
 * to the primary context.  It refuses devices that the kernel was not made for and drivers
 * that are too old for its PTX, with a sentence that says which. */
#ifndef ATTNC_RUNTIME_PLAN_H
#define ATTNC_RUNTIME_PLAN_H

#include "runtime/drv.h"
#include "runtime/launches.h"
#include "runtime/spec_defaults.h"
#include "runtime/recipe.h"
#include "runtime/trace.h"

typedef struct Grid {
  unsigned x, y, z; /* any of them 0: nothing to launch */
} Grid;

/* A launch that is more than a call of cuLaunchKernel. */
typedef attnc_status LaunchHow(const attnc_plan *, int step, const Grid *, CUstream,
                               void **pointers, attnc_error *);

struct attnc_plan {
  int refs; /* atomic */
  int pid;  /* that loaded it: a child gives back memory alone, nothing of a device */
  uint64_t serial; /* never 0, never the same twice: what a launch state remembers */
  const Driver *drv;
  Device device;
  CUcontext context;
  CUmodule module;
  Recipe *recipe;
  CUfunction functions[RECIPE_STEPS]; /* of each step that launches */
  LaunchHow *how[RECIPE_STEPS];       /* NULL: by cuLaunchKernel */
  Trace *trace;                       /* NULL: none */
  uint64_t *launched;                 /* atomic, of `launches`; NULL: nobody counts */
  Launches *launches;
  char *json;
  json_t *diagnostics; /* strings */
  bool from_cubin;     /* machine code was loaded, not PTX */
  bool compiled;       /* the driver's compiler ran, and said so in its log */
};

/* Machine code for this very device.  plan_load asks for it with the device's context
 * current, not on the emulated device, which runs PTX alone. */
typedef struct PlanCubin {
  /* Fills the image and what its assembler said, or NULL; false: there is none. */
  bool (*get)(struct PlanCubin *, const attnc_plan *);
  const void *image;
  const char *log;
  attnc_error
      refused; /* by plan_load: why the driver did not load it; no message: it did */
} PlanCubin;

/* What is loaded, and what the plan's JSON says of where it came from.  A cubin that the
 * device takes is loaded before the PTX, which is there for others, or NULL. */
typedef struct PlanText {
  const char *ptx; /* ends in 0 */
  const void *cubin;
  Trace *trace;       /* of the plan's launches; NULL: none */
  Launches *launches; /* where they are counted; NULL: nowhere */
  PlanCubin *made;    /* asked for where there is no cubin; NULL: nobody has any */
  const char *what;   /* names it in errors; NULL: by the recipe's name */
  const char *json;
  size_t json_n;
  const SpecDefaults
      *defaults;          /* replaces what the recipe says of it; NULL: the recipe's own */
  const char *source;     /* of the schedule: exact, near, model, default, pinned */
  const char *layer;      /* memory, disk, readonly, miss, bundle */
  const char *note;       /* one more remark, or NULL */
  double lookup, compile; /* seconds before the load */
} PlanText;

/* What there is of a kernel. */
typedef struct PlanImages {
  bool ptx, cubin;
} PlanImages;

attnc_status plan_load(const Driver *, const Device *, const PlanText *, attnc_plan **,
                       attnc_error *);

/* Diagnostics of an earlier load of the same text, for a plan that nobody else has yet. */
attnc_status plan_diagnose(attnc_plan *, json_t *strings, attnc_error *);

/* Can the kernel run there?  ATTNC_ERR_UNSUPPORTED says why not. */
attnc_status plan_fits(const Recipe *, const PlanImages *, const Driver *, const Device *,
                       attnc_error *);

#endif
