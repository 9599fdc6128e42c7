/* kernel.h: what a compile makes: PTX text and the launch recipe as JSON
 * (schema attnc.kernel/3), with the texts of the stages that were asked for.
 *
 * Owned by its arena; immutable once attnc_compile returned it. */
#ifndef ATTNC_COMPILER_KERNEL_H
#define ATTNC_COMPILER_KERNEL_H

#include "base/arena.h"
#include "base/call.h"
#include "base/ptx.h"
#include "base/str.h"
#include "compiler/template.h"

#include <attnc/attnc.h>

#include <setjmp.h>

/* Stages of a compile that can be dumped, in order. */
#define DUMP_TABLE(X)                                                                      \
  X(SPEC, "spec", "canonical text of the spec")                                            \
  X(SPANS, "spans", "key tiles of a block, in spans of one class")                         \
  X(SCHED, "sched", "the schedule and its cost")                                           \
  X(TILE, "tile", "the tile program")                                                      \
  X(LL, "ll", "LLVM IR as lowered")                                                        \
  X(OPT, "opt", "LLVM IR after the passes")                                                \
  X(PTX, "ptx", "PTX")
typedef enum Dump {
#define X(id, name, text) DUMP_##id,
  DUMP_TABLE(X)
#undef X
      DUMP_COUNT
} Dump;
extern const char *const dump_names[DUMP_COUNT];

/* Times of a compile, in seconds. */
#define TIME_TABLE(X)                                                                      \
  X(FRONT, "front")                                                                        \
  X(TILE, "tile")                                                                          \
  X(LOWER, "lower")                                                                        \
  X(PASSES, "passes") X(CODEGEN, "codegen") X(LOAD, "load") X(TOTAL, "total")
typedef enum TimeId {
#define X(id, name) TIME_##id,
  TIME_TABLE(X)
#undef X
      TIME_COUNT
} TimeId;

struct attnc_kernel {
  Arena *arena;
  const char *ptx, *json;
  size_t ptx_bytes;
  const char *dump[DUMP_COUNT];
  double seconds[TIME_COUNT];
};

/* What gen.c makes a kernel from; everything resolved. */
typedef struct GenRequest {
  const Spec *spec;
  const ProblemCopy *problem; /* NULL: nothing is specialised */
  const Target *target;
  Sched sched;
  int ptx;
  unsigned dumps; /* bits 1u << Dump */
  const char *from_ll, *from_ptx;
  double front; /* seconds spent before */
} GenRequest;

attnc_status gen_kernel(const GenRequest *, attnc_kernel **, attnc_error *);

/* ---- what templates build, for the stages behind them ---- */

struct Program;
struct WorkRegion {
  RegionArgs args;
  int number; /* in the recipe */
  Idx bytes;  /* of the host */
};
typedef struct KernelStep {
  const struct Program *launch; /* NULL: a memset */
  const WorkRegion *region;
  int byte;
} KernelStep;
typedef struct Kernel {
  VEC(Tb *) entries; /* one LLVM module, in this order */
  VEC(KernelStep) steps;
  VEC(WorkRegion *) regions;
} Kernel;

typedef struct BuildArgs {
  Arena *arena;
  jmp_buf *fail; /* where t_fail goes */
  attnc_error *err;
  const char *name; /* of the template, in the symbols of the entries */
  const Target *target;
  const Spec *spec;
  int op;
  const ProblemCopy *problem; /* NULL: nothing is specialised */
} BuildArgs;
struct Build {
  BuildArgs args;
  Tb *host; /* whose graph holds the expressions that a launch evaluates */
  const Call *call;
  Tb *open;                 /* the entry that is being built */
  const WorkRegion *turned; /* q as entries from now on see it; NULL: the caller's */
  OtherCall other;          /* the call that entries compute; no change: the caller's */
  const Call *other_host;   /* by the host's expressions */
  bool several;             /* it is one of several */
  Kernel kernel;
};
Build *build_new(const BuildArgs *);
const Kernel *build_kernel(Build *); /* finished and checked */

/* ---- the recipe, and what pairs a text with it (base/ptx.h) ---- */

typedef struct Mark {
  char hash[PTX_MARK + 1];
  const char *how;
} Mark;
Mark kernel_mark(Arena *, const GenRequest *, const Kernel *);
const char *kernel_json(Arena *, const GenRequest *, const Kernel *, const char *mark,
                        const char *ptx, size_t ptx_bytes);
/* Does the text have the kernel's entries with their parameters? */
attnc_status kernel_check(Arena *, const Kernel *, const PtxPair *, attnc_error *);

/* An expression of the host as an axis of a recipe: {"mul":[…]}. */
void recipe_axis(Str *, Idx);

#endif
