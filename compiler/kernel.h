/* kernel.h: what a compile makes: PTX text and the launch recipe as JSON
 * (schema attnc.kernel/2), with the texts of the stages that were asked for.
 *
 * Owned by its arena; immutable once attnc_compile returned it. */
#ifndef ATTNC_COMPILER_KERNEL_H
#define ATTNC_COMPILER_KERNEL_H

#include "base/call.h"
#include "base/ptx.h"
#include "base/str.h"
#include "compiler/template.h"

#include <attnc/attnc.h>

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

/* The recipe, from the finished program, and what pairs a text with it (base/ptx.h). */
struct Program;
typedef struct Mark {
  char hash[PTX_MARK + 1];
  const char *how;
} Mark;
Mark kernel_mark(Arena *, const GenRequest *, const struct Program *);
const char *kernel_json(Arena *, const GenRequest *, const struct Program *,
                        const char *mark, const char *ptx, size_t ptx_bytes);
/* Does the text have the program's entry with the program's parameters? */
attnc_status kernel_check(Arena *, const struct Program *, const PtxPair *, attnc_error *);

#endif
