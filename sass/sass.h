/* sass.h: what is in a kernel's machine code: how often each instruction stands in it, and
 * in each of its loops.
 *
 * There is no disassembler here, and none is needed: an instruction is 16 bytes, its opcode
 * the low 12 bits, and sass_ops.def names those that our kernels use.  A code that the
 * table does not have is counted under its number ("0x1a3"), never left out. Loops are the
 * natural loops of the control flow: a branch back to a block that dominates it.  So the
 * retry path of a wait, which the assembler puts behind the kernel's end, makes no loop of
 * all that is between.  A loop is a *main* loop if tensor-core instructions stand in it and
 * in none inside it.  Loops come in the order of their first block, and that is the order
 * of the program.  Counts are of the code: what runs is the loop's code times its trips,
 * but for what branches lead around.  The shortest way through a loop is what a trip
 * executes at least: a tile that needs no mask, whose waits do not try twice. */
#ifndef ATTNC_CLI_SASS_H
#define ATTNC_CLI_SASS_H

#include "sass/cubin.h"

#include <stdbool.h>

/* What an instruction is for: the columns of the issue model. */
#define SASS_CLASS_TABLE(X)                                                                \
  X(TENSOR, "tensor")                                                                      \
  X(MUFU, "mufu")                                                                          \
  X(FLOAT, "float")                                                                        \
  X(CONVERT, "convert")                                                                    \
  X(INTEGER, "integer")                                                                    \
  X(MOVE, "move")                                                                          \
  X(UNIFORM, "uniform")                                                                    \
  X(MEMORY, "memory")                                                                      \
  X(SYNC, "sync") X(CONTROL, "control") X(NONE, "none") X(UNKNOWN, "unknown")
typedef enum SassClass {
#define X(id, name) SASS_##id,
  SASS_CLASS_TABLE(X)
#undef X
      SASS_CLASSES
} SassClass;
extern const char *const sass_class_names[SASS_CLASSES];

/* A row of sass_ops.def. */
typedef struct SassOp {
  const char *name;
  SassClass class;
  uint64_t mask_lo, lo, mask_hi, hi; /* an instruction is this one if its words masked so
                                        are equal to these; the first row that fits wins */
  int sm_least, sm_most;             /* on these architectures */
  const char *target, *probe;        /* PTX that makes it appear, for the test; "": it is
                                        in every kernel */
} SassOp;
extern const SassOp sass_ops[];
extern const int n_sass_ops;

/* Index of an instruction in SassCounts: the first row of its name, or n_sass_ops +
 * opcode. */
enum { SASS_OPS_MAX = 256, SASS_KINDS = SASS_OPS_MAX + 4096 };
int sass_find(Instruction, int sm);
/* "MUFU.EX2", "0x1a3"; in the arena. */
const char *sass_name(int kind, Arena *);
SassClass sass_class(int kind);

typedef struct SassCounts {
  int n[SASS_KINDS];
  int total;
} SassCounts;
int sass_class_total(const SassCounts *, SassClass);
/* Of the kind with this name and of those whose name goes on with a dot. */
int sass_total(const SassCounts *, const char *name);

typedef struct SassLoop {
  int first, last; /* instructions: its head, and its last branch back */
  int depth;       /* 1: in no other loop */
  bool main;
  SassCounts counts; /* without … */
  int aside;         /* … what a vote of the warp leads around */
  SassCounts path;   /* of the shortest way through it */
} SassLoop;

typedef struct Sass {
  const char *name;
  SassCounts counts; /* of the whole kernel, without the padding */
  SassLoop *loops;
  int n_loops, n_main;
  /* The fewest instructions from the kernel's start to its end, on a way by tensor-core
   * instructions and on one by tensor copies (UTMALDG), 0: there is none.  Of a kernel that
   * walks over blocks of work: what a warp executes outside its main loop for one. */
  int by_products, by_copies;
} Sass;

/* All in the arena.  ATTNC_ERR_INTERNAL: code whose branches are not understood. */
attnc_status sass_read(const CubinKernel *, int sm, Arena *, Sass *, attnc_error *);

/* The kinds that occur at all, by class and in the table's order; returns how many, at most
 * SASS_KINDS. */
int sass_kinds(const Sass *, int *kinds);

#endif
