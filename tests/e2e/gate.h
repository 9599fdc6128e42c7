/* gate.h: what an assembler makes of our kernels: jobs, their results, the baselines.
 *
 * A job is one spec on one target with one schedule; a result says what ptxas thinks of it,
 * as plain data, so that it can lie in memory that several processes share.  gate_spec.c
 * loads the specs; gate_job.c compiles, assembles and counts; gate_pool.c does many jobs on
 * a few processors; gate_base.c reads, writes and compares tests/baseline.txt and
 * tests/opcodes.txt; gate.c chooses the jobs and judges. */
#ifndef ATTNC_TESTS_GATE_H
#define ATTNC_TESTS_GATE_H

#include "sass/sass.h"
#include "tests/e2e/asked.h"

#include <attnc/attnc.h>

#include <stdbool.h>

enum { PARTS_MAX = 8, SPECS_MAX = 256 };

/* name, how many instructions of a part it counts (an expression over `c`) */
#define COLUMN_TABLE(X)                                                                    \
  X(tensor, sass_class_total(c, SASS_TENSOR))                                              \
  X(mufu, sass_class_total(c, SASS_MUFU))                                                  \
  X(float, sass_class_total(c, SASS_FLOAT))                                                \
  X(convert, sass_class_total(c, SASS_CONVERT))                                            \
  X(integer, sass_class_total(c, SASS_INTEGER))                                            \
  X(move, sass_class_total(c, SASS_MOVE))                                                  \
  X(uniform, sass_class_total(c, SASS_UNIFORM))                                            \
  X(memory, sass_class_total(c, SASS_MEMORY))                                              \
  X(sync, sass_class_total(c, SASS_SYNC))                                                  \
  X(control, sass_class_total(c, SASS_CONTROL))                                            \
  X(unknown, sass_class_total(c, SASS_UNKNOWN))                                            \
  X(mov, sass_total(c, "MOV") + sass_total(c, "IMAD.MOV"))                                 \
  X(warpgroup, sass_total(c, "WARPGROUP"))                                                 \
  X(local, sass_total(c, "LDL") + sass_total(c, "STL"))
typedef enum Column {
#define X(name, expression) COLUMN_##name,
  COLUMN_TABLE(X)
#undef X
      COLUMNS
} Column;
extern const char *const column_names[COLUMNS];

/* The kernel, or one of its main loops. */
typedef struct Part {
  int all, n[COLUMNS];
} Part;

typedef enum Outcome { PENDING, DONE, ILLEGAL, BROKEN } Outcome;

typedef struct Result {
  Outcome outcome;
  uint64_t text;      /* a hash of the PTX and the target, not 0 once there is PTX */
  char schedule[128]; /* one word */
  char why[240];      /* BROKEN, ILLEGAL: the reason; DONE: the first remark, or "" */
  int regs, spills, stack, lines;
  int least_spills; /* where it spills: and if no more than one block need fit; else 0 */
  int n_parts;      /* parts[0] is the kernel */
  Part parts[PARTS_MAX];
  int head_dim, block_n, num_warps; /* of the schedule */
} Result;

typedef struct GateSpec {
  attnc_spec *fp16; /* of what it is in bf16: for targets without products of that */
  attnc_spec *spec;
  CallAsked problem, large; /* default sizes; 16k tokens, heads x head_dim 2048 */
  const char *name;
  int head_dim;
  bool expressions; /* it has a mask_mod or a score_mod, its own or of a field */
} GateSpec;

/* All of specs/: how many.  A refused one is told and
 * counted in *bad. */
int gate_specs(GateSpec specs[SPECS_MAX], int *bad);
/* Specs of every head_dim, with head_dim_v from 8 to 512, instead. */
int gate_dims(GateSpec specs[SPECS_MAX], int *bad);
/* The same of one query a sequence. */
int gate_decode(GateSpec specs[SPECS_MAX], int *bad);

typedef struct Job {
  const GateSpec *spec;
  const attnc_spec *what; /* of it is compiled */
  const attnc_problem *problem;
  const char *target;
  bool pinned, may_refuse; /* a schedule of our own making need not be legal */
  attnc_schedule schedule;
  char tag[48]; /* "default", "best 2", "intra_wg_overlap flipped", "product 17" */
} Job;

/* Compiles, and assembles if asked to.  `known` (may be NULL) finds the result of a kernel
 * with the same text, of another spec, which is then taken instead; NULL: there is none. */
typedef const Result *GateKnown(const void *user, uint64_t text);
void gate_job(const Job *, bool assemble, GateKnown *known, const void *user, Result *);

/* Every job's result, in the jobs' order, done by `workers` processes; progress (may be
 * NULL) is called about once a second with how many are done.  malloc'd; NULL: no memory.
 */
Result *gate_pool(const Job *, int n, int workers, bool assemble,
                  void (*progress)(int done, int n));

/* The loop of FULL tiles: of the main loops the one with the fewest instructions a tensor
 * instruction; 0 if there is none.  Tiles that one trip of it computes, for a warpgroup. */
int gate_full(const Result *);
int gate_tiles(const Result *, int part);

/* ---- the baselines ---- */

typedef struct Baseline Baseline;
Baseline *baseline_read(void);
Baseline *baseline_new(void); /* without rows */
void baseline_free(Baseline *);
const char *baseline_assembler(const Baseline *);
bool baseline_has(const Baseline *, const Job *);
/* What is worse than it was, as a sentence; false: nothing.  Other figures than ever are a
 * note.  `same`: by the same assembler, else only schedules and lines are compared. */
bool baseline_worse(const Baseline *, const Job *, const Result *, bool same, char *why,
                    size_t n);
bool baseline_note(const Baseline *, const Job *, const Result *, char *why, size_t n);
/* All rows of the jobs' specs are these instead. */
void baseline_put(Baseline *, const char *assembler, const Job *, const Result *, int n);
bool baseline_write(const Baseline *);
/* Whether counts of instructions are kept for a target. */
bool baseline_counts(const char *target);

#endif
