/* jit.h: what the runtime asks of the compiler; jit.c is the only file that knows it.
 *
 * jit_resolve turns a request into the name of a kernel: target, schedule and where it
 * came from, the fields of the key and their hash.  jit_compile makes the bytes of that
 * kernel's entry.  Both are pure but for the tuning table that resolve consults; what a
 * compile tells besides are its notes, as JSON, so that they come from another process as
 * they come from here: {"seconds": {stage: number}, "dumps": {stage: text}}. */
#ifndef ATTNC_RUNTIME_JIT_H
#define ATTNC_RUNTIME_JIT_H

#include "base/arena.h"
#include "base/call.h"
#include "schedule/schedule.h"
#include "runtime/drv.h"
#include "runtime/entry.h"
#include "runtime/key.h"
#include "runtime/spec_defaults.h"
#include "runtime/tunetab.h"

#include <attnc/attnc.h>
#include <jansson.h>

typedef struct JitRequest {
  const attnc_spec *spec;
  const ProblemCopy *problem;
  const Schedule *want; /* NULL: open */
  const char *target;   /* NULL: the device's best */
  const Driver *drv;    /* both NULL: no device at hand, target is given */
  const Device *device;
  TuneTable *tune;                                         /* NULL: none */
  const attnc_compile_options *compile;                    /* NULL: none */
  void (*log)(void *user, int level, const char *message); /* NULL: silent */
  void *log_user;
  const char *dump_dir; /* where the dumps that `compile` names go; NULL: nowhere */
} JitRequest;

typedef struct JitResolved {
  Arena *arena;
  const char *target, *source; /* exact, near, family, pinned, model, default */
  const struct Sched *sched;   /* the compiler's; in the arena */
  Schedule schedule;           /* the same, by name */
  KeyFields fields;
  unsigned char key[32];
} JitResolved;

/* On failure nothing is to be given back. */
attnc_status jit_resolve(const JitRequest *, JitResolved *, attnc_error *);
void jit_resolved_free(JitResolved *);
/* The lengths that the cost model takes the sequences to have (templates/lengths.h):
 * {"each": how many sequences one stands for, "of": [[queries, keys], …]}; null where they
 * have none of their own, or the problem leaves b, sq or sk open. */
json_t *jit_lengths(const JitRequest *, const JitResolved *);
/* *notes is the caller's to give back, and NULL where the compile fails. */
attnc_status jit_compile(const JitRequest *, const JitResolved *, Entry **, json_t **notes,
                         attnc_error *);
/* DIR/NAME.TARGET.STAGE of every dump in the notes, where the request says to which DIR. */
attnc_status jit_write_dumps(const JitRequest *, const JitResolved *, const json_t *notes,
                             attnc_error *);

/* What the compiler is: two of them of the same make the same of the same request. */
const char *jit_code_id(void);
const char *jit_llvm_version(void);

/* What a spec, an op and a device are called in the tuning table; strings live with them.
 */
TuneProblem jit_tune_problem(const attnc_spec *, const ProblemCopy *, const Driver *,
                             const Device *);
/* A hash over all that the spec says, pins too; lives with it. */
const char *jit_spec_hash(const attnc_spec *);
/* Everything that the key leaves to the spec; lives with it. */
SpecDefaults jit_spec_defaults(const attnc_spec *);
/* The caller's problem, copied and checked. */
attnc_status jit_problem(const attnc_spec *, const attnc_problem *, ProblemCopy *,
                         attnc_error *);
/* One more owner; attnc_spec_release drops one. */
void jit_spec_retain(const attnc_spec *);
/* Is the schedule of names and values that this attnc has? */
attnc_status jit_check(const Schedule *, attnc_error *);
/* The text that the spec was loaded from, and the name of its file. */
const char *jit_spec_text(const attnc_spec *, size_t *n, const char **file);
/* Is the schedule, for this target, what the spec pins? */
bool jit_keeps_pins(const attnc_spec *, const char *target, const Schedule *);
bool jit_specializes_strides(const attnc_spec *);
/* False as well for a target that is not known. */
bool jit_runs_on(const char *target, const Device *);

#endif
