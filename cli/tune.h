/* tune.h: the parts of `attnc tune`: candidates, compiled in threads; a worker process that
 * runs them, so that one that hangs or crashes the device is a rejected candidate and
 * nothing worse; the table of what came out.
 *
 * Speech with the worker is one JSON object a line: a greeting (spec, sizes, device), then
 * a request a candidate (schedule, PTX), answered by stages ("launch", "verify", "time") as
 * they begin and a result.  The time limit is per stage. */
#ifndef ATTNC_CLI_TUNE_H
#define ATTNC_CLI_TUNE_H

#include "cli/execute.h"
#include "cli/progress.h"

#include <sys/types.h>

typedef enum CandidateState {
  CANDIDATE_OPEN,
  CANDIDATE_REFUSED,  /* by the models or the compiler, before it ran */
  CANDIDATE_REJECTED, /* wrong, crashed, too slow to answer */
  CANDIDATE_MEASURED
} CandidateState;

typedef struct Candidate {
  int id;
  attnc_schedule schedule;
  const char *text;  /* "fwd_mma 128x64 w4 s2" */
  const char *plant; /* NULL, or what was planted: "wrong" … */
  double cost;       /* of the cost model; NaN: none */
  CandidateState state;
  attnc_error error; /* why it was refused or rejected */
  attnc_kernel *kernel;
  const char *ptx;
  double value, spread; /* est_cycles or milliseconds */
  double max_error, bound;
  int registers, spilled;
} Candidate;

typedef struct Tune {
  Cli *c;
  LoadedSpec spec;
  char *spec_text;
  size_t spec_bytes;
  attnc_sizes sizes;
  Asked asked;
  const char *target, *unit;
  Device device;
  attnc_context *ctx;
  int64_t repeat, seed, jobs, timeout, top;
  Candidate *at;
  int n;
  int refused, pinned_away, left_out; /* by models, pins, --top; not in `at` */
  int best;                           /* -1: none */
  attnc_schedule oversized; /* a refused one, for --plant; template_name NULL: none */
} Tune;

/* The legal schedules, best first by the cost model, and the planted ones of --plant. */
attnc_status tune_candidates(Tune *, attnc_error *);
/* Compiles the open ones, `jobs` at a time. */
void tune_compile(Tune *);
/* Edits PTX so that its result is wrong, or that it never ends; in the arena. */
const char *plant_wrong(const char *ptx, Arena *);
const char *plant_hang(const char *ptx, Arena *);

typedef struct Worker {
  const Tune *tune;
  pid_t pid; /* 0: none runs */
  int in, out;
  char *buffer; /* of answers; malloc'd */
  size_t used, room;
} Worker;

/* Runs one candidate, starting a worker if none runs; fills in what is known of it.  False
 * when interrupted. */
bool worker_measure(Worker *, Candidate *);
/* Times a candidate that this worker measured before; false if it cannot. */
bool worker_again(Worker *, const Candidate *, double *value);
void worker_end(Worker *);

/* Ranks from 1, equal values sharing their mean rank; Spearman's coefficient. */
double spearman(const double *x, const double *y, int n);

#endif
