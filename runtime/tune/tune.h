/* tune.h: the parts of attnc_tune.
 *
 * candidates.c lists what there is to try, compile.c compiles it in threads, process.c
 * speaks with the worker process that runs it, search.c decides what is measured how often,
 * report.c tells what came out; worker.c is the other side, in another process.
 *
 * Everything that the caller sees is in the tuning and lives in its arena; a Sweep is what
 * one call of attnc_tune knows besides.  One thread uses both; those that compile touch the
 * candidate that they took and nothing else. */
#ifndef ATTNC_RUNTIME_TUNE_TUNE_H
#define ATTNC_RUNTIME_TUNE_TUNE_H

#include "runtime/context.h"
#include "runtime/process.h"

/* What can be wrong with a candidate on purpose. */
#define FAULT_TABLE(X)                                                                     \
  X(WRONG, "wrong")         /* its result */                                               \
  X(OVERSIZED, "oversized") /* it needs more shared memory than there is */                \
  X(HANG, "hang")           /* it never ends */                                            \
  X(CRASH, "crash")         /* the worker dies of it */
typedef enum Fault {
  FAULT_NONE,
#define X(id, name) FAULT_##id,
  FAULT_TABLE(X)
#undef X
      FAULT_COUNT
} Fault;
extern const char *const fault_names[FAULT_COUNT];

typedef struct Candidate {
  attnc_tuned told;
  attnc_schedule schedule; /* told.schedule */
  Schedule named;          /* the same, by name */
  int id;                  /* its place in attnc_tuning.at */
  Fault fault;
  Entry *entry;
  const char *ptx; /* NULL: not compiled; of the entry, or with the fault */
  attnc_error error;
  bool confirmed; /* its value is of the last rounds, in turns with the other best */
  int worker;     /* the worker that has it loaded; 0: none */
} Candidate;

struct attnc_tuning {
  Arena *arena;
  Candidate *at;            /* in the order of the cost model, injected ones last */
  int n, n_tried;           /* n_tried: without the injected ones */
  int space;                /* legal schedules that may be tried */
  int refused, pinned_away; /* by the models; by the spec's pins */
  int outside, left_out;    /* not as `within` says; by the level or `top` */
  int elsewhere;            /* in other shards */
  int best, initial;        /* in `at`, -1: none; initial: the default */
  int level;                /* that was reached */
  bool recorded;
  const char *name, *target, *unit, *device, *kept; /* kept: why it is not recorded */
  attnc_sizes sizes;
  const attnc_tuned **order;
  char *json; /* malloc'd */
};

/* The worker process, as its parent sees it. */
typedef struct Worker {
  struct Sweep *sweep;
  Process process;
  int count;    /* of workers so far */
  char *buffer; /* of answers; malloc'd */
  size_t used, room;
} Worker;

/* A legal schedule that may be tried. */
typedef struct Option {
  Schedule named;
  double cost;
} Option;

typedef struct Space {
  Option *at;
  int n, initial; /* the default's place; -1: it is not there */
} Space;

typedef struct Sweep {
  attnc_context *ctx;
  const attnc_spec *spec;
  const attnc_problem *asked; /* the caller's */
  attnc_problem problem;      /* with the sizes and means of the options' lengths */
  attnc_sizes sizes;
  attnc_tune_options options; /* with the defaults filled in */
  ProblemCopy copy;
  Schedule within;
  bool narrowed;      /* there is a `within` */
  Schedule initial;   /* the default */
  Schedule oversized; /* a refused one; no template: none */
  const Driver *drv;
  const Device *device;
  TuneTable *table; /* of the context */
  attnc_tuning *t;
  Space space;
  double start;
  bool stopped; /* by the caller */
  bool mute;    /* the log was told that trials cannot be kept */
  Worker worker;
} Sweep;

/* Tells the caller how far the sweep is; true if it is to stop, then and ever after. */
bool sweep_poll(Sweep *, const char *stage, int done, int total, const Candidate *);
double sweep_seconds(const Sweep *); /* since its start */
bool sweep_is_late(const Sweep *);   /* beyond the budget */

/* How many of the space a level tries. */
int level_count(int level, int space);
/* The candidates in the order in which they are compiled and measured: the default first,
 * so that whatever ends a sweep finds it measured. */
Candidate *sweep_nth(const attnc_tuning *, int i);

/* The schedules to try, in the order of the cost model, and the injected faults.
 * ATTNC_ERR_UNSUPPORTED: there is no legal one. */
attnc_status sweep_candidates(Sweep *, attnc_error *);
/* Compiles those that were not. */
void sweep_compile(Sweep *);

typedef enum Measured {
  MEASURED_OK, /* the candidate has its value, or its reason */
  MEASURED_STOPPED,
  MEASURED_FAILED /* there is no worker to be had */
} Measured;

/* Runs a candidate, in a new worker if none runs; `samples` launches are timed of one that
 * is right.  The caller is told the stage and how much of it is done. */
Measured worker_measure(Worker *, Candidate *, int samples, const char *stage, int done,
                        int total, attnc_error *);
void worker_end(Worker *);

/* What a trial says of a candidate that was measured: members of attnc_tuned. */
#define TRIAL_TABLE(X)                                                                     \
  X(value) X(spread) X(samples) X(max_error) X(bound) X(registers) X(spilled_bytes)
/* Appends what became of a candidate to the file of trials. */
void trial_keep(Sweep *, const Candidate *);
/* Where that was asked for: what earlier sweeps found of the same kernels. */
attnc_status trials_resume(Sweep *, attnc_error *);

/* Measures all that are compiled, and finds the best. */
attnc_status sweep_search(Sweep *, attnc_error *);

attnc_status tuning_report(attnc_tuning *, attnc_error *);

#endif
