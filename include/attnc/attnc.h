/* attnc.h: specs, compilation, plans: the whole of attnc.
 *
 * A spec (YAML text) says what is computed.  attnc_compile turns it into a kernel for one
 * target: a pure function, no driver, no disk.  A context owns the caches; attnc_plan_get
 * looks a kernel up there, compiles it on a miss, loads it on a device and hands out a
 * plan, which attnc_rt.h launches.
 *
 * Threads.  Specs and kernels are immutable once made and may be shared; a context may be
 * used from many threads; one compile runs per key however many ask for it.
 * Ownership.  _load, _create, _get and _compile make something that its _release gives
 * back; _release accepts NULL.  Strings returned live as long as their object. */
#ifndef ATTNC_H
#define ATTNC_H

#include <attnc/attnc_rt.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct attnc_spec attnc_spec;
typedef struct attnc_diags attnc_diags;
typedef struct attnc_kernel attnc_kernel;
typedef struct attnc_context attnc_context;

/* ---- diagnostics: everything that is wrong with a spec, as data ---- */

typedef struct attnc_diag {
  int error;           /* 1 error, 0 warning */
  int code;            /* 123 is printed as A0123 */
  const char *file;    /* the name given to attnc_spec_load */
  int line, col;       /* from 1; 0: the whole file */
  const char *message; /* one sentence */
  const char *source;  /* the line of the file, NULL if there is none */
  int width;           /* columns to underline, at least 1 */
  const char *help;    /* what to write instead; may be NULL */
} attnc_diag;

ATTNC_API attnc_status attnc_diags_create(attnc_diags **);
ATTNC_API void attnc_diags_release(attnc_diags *);
ATTNC_API size_t attnc_diags_count(const attnc_diags *);
ATTNC_API const attnc_diag *attnc_diags_get(const attnc_diags *, size_t i);
/* "file:line:col: error[A0123]: message", the source line, a caret, the help.  Returns the
 * bytes that the text needs without its final 0, as snprintf does. */
ATTNC_API size_t attnc_diags_format(const attnc_diags *, int color, char *buf, size_t n);

/* ---- specs ---- */

/* Parse and check `n` bytes of YAML.  On ATTNC_ERR_SPEC every error found is in diags
 * (which may be NULL) and *spec is NULL. */
ATTNC_API attnc_status attnc_spec_load(const char *text, size_t n, const char *name,
                                       attnc_spec **, attnc_diags *);
ATTNC_API void attnc_spec_release(attnc_spec *);
ATTNC_API const char *attnc_spec_name(const attnc_spec *);
ATTNC_API const char *attnc_spec_canonical(const attnc_spec *); /* what spec_hash is over */
ATTNC_API const char *attnc_spec_hash(const attnc_spec *);      /* 64 hex digits */
/* The spec as JSON, defaults filled in: what the command line and bindings read. */
ATTNC_API const char *attnc_spec_json(const attnc_spec *);
/* The call of an op as JSON: {op, sizes, tensors: [{name, slot, dtype, access, axes (names
 * of sizes, and lengths that the spec knows), contiguous, align, shape (the axes in the
 * order of the layout)}], scalars: [{name, slot, default, positive, constant}]}.  NULL: no
 * such op. */
ATTNC_API const char *attnc_spec_signature(const attnc_spec *, int op);
/* Can this run on `target` ("sm_80")?  ATTNC_ERR_UNSUPPORTED, and every reason in diags. */
ATTNC_API attnc_status attnc_spec_check(const attnc_spec *, const char *target,
                                        attnc_diags *);
/* The JSON Schema (draft-07) of spec version 1. */
ATTNC_API const char *attnc_spec_schema(void);
/* Names of the targets, NULL-terminated. */
ATTNC_API const char *const *attnc_targets(void);
/* Their kernels run on devices of the compute capability and, unless `exact`, of all above
 * it, whose driver is of that CUDA version or later; a device takes its exact target, else
 * the highest that it runs.  JSON, a list of {"name": "sm_80", "capability": "8.0",
 * "exact": false, "ptx": "7.0", "cuda": "11.0"}, which lives as long as the process. */
ATTNC_API const char *attnc_target_table(void);
/* ATTNC_ERR_UNSUPPORTED, and which target to take instead, for a name that is none. */
ATTNC_API attnc_status attnc_target_check(const char *name, attnc_error *);

/* ---- problems and schedules ---- */

/* What a plan is asked for.  Sizes are hints for the choice of a schedule (0, or no sizes:
 * open), and the values of names listed in the spec's `specialize`. */
typedef struct attnc_problem {
  size_t size;
  int op;     /* ATTNC_OP_FWD */
  int device; /* ordinal + 1; 0: the device of the current context, else device 0 */
  const attnc_sizes *sizes;
  const attnc_tensor
      *tensors;       /* by slot: their strides, read where `specialize` has them */
  size_t tensor_size; /* sizeof(attnc_tensor) */
  uint32_t n_tensors, flags;
} attnc_problem;

#define ATTNC_NOWAIT 1u /* flags: ATTNC_ERR_PENDING instead of waiting for a compile */

/* How it is computed.  0, NULL, and an option that is not named, leave it to attnc.  What
 * every template has is a member; all else are options, named values that templates
 * declare: attnc_schedule_fields has them all.  The command line and specs name members and
 * options alike. */
typedef struct attnc_schedule {
  size_t size;
  const char *template_name; /* "ref_fwd", "fwd_mma", "fwd_wgmma" */
  int block_m;               /* rows of q of a tile */
  int block_n;               /* keys of a tile */
  int num_stages;            /* depth of the rings that hold tiles of k and v */
  int num_warps;             /* warps of a block of threads */
  const char *options;       /* "intra_wg_overlap=true,cluster=2,scheduler=lpt" */
} attnc_schedule;

/* The fields of schedules as JSON: a list, the members first, of {"name", "kind": "int",
 * "bool" or "enum", "min" and "max" of an int, "names" of an enum, "example", "what",
 * "templates": those that have it}.  Lives as long as the process. */
ATTNC_API const char *attnc_schedule_fields(void);
/* ATTNC_ERR_USAGE: a name or a value that no template has; whether a template takes them
 * together is seen when a kernel is asked for. */
ATTNC_API attnc_status attnc_schedule_check(const attnc_schedule *, attnc_error *);

/* ---- compile: pure ---- */

/* Values in `problem` matter only where `specialize` names them; NULL otherwise.  schedule
 * NULL: the spec's pins, else the template's default for the target. */
ATTNC_API attnc_status attnc_compile(const attnc_spec *, const attnc_problem *,
                                     const char *target, const attnc_schedule *,
                                     attnc_kernel **, attnc_error *);
ATTNC_API void attnc_kernel_release(attnc_kernel *);
ATTNC_API const char *attnc_kernel_ptx(const attnc_kernel *, size_t *bytes);
ATTNC_API const char *attnc_kernel_json(const attnc_kernel *);
/* Text of a stage, kept when asked for by attnc_options.dump or the command line:
 * "spec" "spans" "sched" "tile" "ll" "opt" "ptx"; NULL if it was not. */
ATTNC_API const char *attnc_kernel_dump(const attnc_kernel *, const char *stage);
/* Seconds spent: "front" (spec to schedule), "tile" (words, verify, plan), "lower" (to
 * IR), "passes", "codegen", "load" (of the LLVM module, once a process), "total". */
ATTNC_API double attnc_kernel_seconds(const attnc_kernel *, const char *stage);

typedef struct attnc_compile_options {
  size_t size;
  const char *dump; /* comma-separated stages to keep; NULL: none; "all" */
  const char *from; /* "ll" or "ptx": enter here with `text` instead of generating */
  const char *text;
  const char *ptx_version; /* "7.0"; NULL: the lowest that has what is used */
} attnc_compile_options;
ATTNC_API attnc_status attnc_compile_with(const attnc_spec *, const attnc_problem *,
                                          const char *target, const attnc_schedule *,
                                          const attnc_compile_options *, attnc_kernel **,
                                          attnc_error *);

/* The legal schedules for this problem and target, best first by the cost model, as a JSON
 * array of {template, the fields that it uses, shared, regs, blocks_per_sm, cost}; `all`
 * adds the refused ones with their "reason".  The caller frees it with attnc_text_free. */
ATTNC_API attnc_status attnc_schedules(const attnc_spec *, const attnc_problem *,
                                       const char *target, int all, char **json,
                                       attnc_error *);
ATTNC_API void attnc_text_free(char *);

/* How the mask cuts the scores of one head into tiles of block_m queries x block_n keys:
 * EMPTY tiles are never visited, FULL ones need no mask, PARTIAL ones do.  Computed from
 * the same expressions that decide the kernel's loops. */
typedef struct attnc_tile_counts {
  size_t size;
  int64_t q_tiles, kv_tiles;
  int64_t empty, partial, full; /* of q_tiles * kv_tiles */
  int64_t visited;              /* tiles the kernel walks: partial + full, and one masked
                                   tile for each block of queries that sees no key */
} attnc_tile_counts;
/* map: NULL, or q_tiles * kv_tiles characters, row by row: ' ' empty, '+' partial, '#'
 * full (no final 0); ATTNC_ERR_USAGE if map_bytes is less. */
ATTNC_API attnc_status attnc_tiles(const attnc_spec *, const attnc_sizes *, int block_m,
                                   int block_n, attnc_tile_counts *, char *map,
                                   size_t map_bytes, attnc_error *);

/* ---- contexts and plans ---- */

typedef struct attnc_options {
  size_t size;
  const char *libcuda;   /* path; NULL: $ATTNC_LIBCUDA, else libcuda.so.1 */
  const char *cache_dir; /* NULL: $ATTNC_CACHE_DIR, else $XDG_CACHE_HOME/attnc, ~/.cache */
  int cache;             /* 0: $ATTNC_CACHE, 1: off, 2: read only, 3: on */
  const char *tune_dir;  /* NULL: $ATTNC_TUNE_DIR, else $XDG_DATA_HOME/attnc/tune */
  /* NULL: silent; level 1 a warning, 2 information, 3 debugging; called from any thread */
  void (*log)(void *user, int level, const char *message);
  void *log_user;
  const attnc_compile_options *compile;
  const char *target; /* compile for this supported target, not the device's best */
} attnc_options;

ATTNC_API attnc_status attnc_context_create(const attnc_options *, attnc_context **,
                                            attnc_error *);
ATTNC_API void attnc_context_release(attnc_context *);
/* Counters and settings as JSON (hits, misses, corrupt, bytes, where things are). */
ATTNC_API const char *attnc_context_json(attnc_context *);

ATTNC_API attnc_status attnc_plan_get(attnc_context *, const attnc_spec *,
                                      const attnc_problem *, attnc_plan **, attnc_error *);
/* The same with a schedule of the caller's, which must be legal. */
ATTNC_API attnc_status attnc_plan_get_with(attnc_context *, const attnc_spec *,
                                           const attnc_problem *, const attnc_schedule *,
                                           attnc_plan **, attnc_error *);
/* What attnc_plan_get_with would come to, without compiling: the key of the cache entry,
 * the labelled fields that it is the hash of, the schedule and its source (exact, near,
 * model, default, pinned), as JSON.  A device that is absent or does not run the context's
 * target is left out, and with it what was tuned on it. */
ATTNC_API attnc_status attnc_key_explain(attnc_context *, const attnc_spec *,
                                         const attnc_problem *, const attnc_schedule *,
                                         char **json, attnc_error *);

/* ---- the reference: fp64 on the CPU ---- */

/* Host tensors of the spec's dtypes, aligned to their elements; arguments as for a launch
 * with host pointers in the inputs' slots.  outputs: by slot, where each output of the op
 * goes as double, contiguous in the order of its axes (o: [b, h, sq, d]); NULL, or past
 * n_outputs: not wanted.  rows: NULL for all, else n_rows query indices, and n_rows stands
 * for sq. */
ATTNC_API attnc_status attnc_reference(const attnc_spec *, int op, const attnc_args *,
                                       const int64_t *rows, size_t n_rows,
                                       double *const *outputs, uint32_t n_outputs,
                                       attnc_error *);

/* The accuracy contract, evaluated on host copies of a launch's outputs. */
typedef struct attnc_output_verdict {
  double max_error; /* absolute, against fp64 */
  double bound;     /* of the row with that */
  int64_t bad_rows; /* beyond their bound */
} attnc_output_verdict;
typedef struct attnc_verdict {
  size_t size;
  int pass;
  int slot; /* of the output whose row is the worst, relative to its bound */
  int64_t rows, bad_rows;
  int64_t b, h, q;               /* that row */
  attnc_output_verdict *outputs; /* the caller's, by slot; NULL: not wanted */
  size_t output_size;            /* sizeof(attnc_output_verdict) */
  size_t n_outputs;              /* slots that there is room for */
} attnc_verdict;
ATTNC_API attnc_status attnc_verify(const attnc_spec *, int op, const attnc_args *host,
                                    attnc_verdict *, attnc_error *);

/* ---- tuning ---- */

/* How much is tried: of the legal schedules, in the order of the cost model, a few, a
 * quarter, a half, all. */
#define ATTNC_TUNE_LEVEL_TABLE(X)                                                          \
  X(ESTIMATE, "estimate", 0, 4)                                                            \
  X(MEASURE, "measure", 25, 16)                                                            \
  X(PATIENT, "patient", 50, 32)                                                            \
  X(EXHAUSTIVE, "exhaustive", 100, 0)
enum {
  ATTNC_TUNE_DEFAULT, /* MEASURE */
#define X(id, name, percent, least) ATTNC_TUNE_##id,
  ATTNC_TUNE_LEVEL_TABLE(X)
#undef X
      ATTNC_TUNE_LEVEL_COUNT
};

typedef struct attnc_tune_progress {
  size_t size;
  const char *stage;              /* "compile", "measure", "confirm" */
  int done, total;                /* candidates of the stage */
  double seconds;                 /* since the call */
  const attnc_schedule *schedule; /* what is being measured; may be NULL */
} attnc_tune_progress;

typedef struct attnc_tune_options {
  size_t size;
  int level;  /* ATTNC_TUNE_… */
  int top;    /* try N schedules instead of what the level says; 0: the level decides */
  int jobs;   /* threads that compile, at most 64; 0: as many as there are processors */
  int repeat; /* launches timed of a candidate; 0: 20.  The emulator has no clock: there a
                 candidate is launched once, and its est_cycles are its value */
  int dry;    /* 1: nothing is recorded */
  int resume; /* 1: what earlier sweeps measured of the same kernels on the same device and
                 sizes is taken as it is.  Each result is kept for that at once, so that a
                 sweep may be killed */
  /* Of `shards` machines, or runs, this is `shard`, from 0: it measures the default and its
   * part of the candidates, and records no best.  Once the files of all are concatenated, a
   * sweep that resumes has all that they measured.  0 shards: one. */
  int shard, shards;
  double timeout; /* seconds that each step of a candidate may take; 0: 60 */
  double budget;  /* seconds after which none but the default is begun; 0: none */
  uint64_t seed;  /* of the random inputs */
  const attnc_schedule *within; /* only schedules that have these values; NULL: all */
  /* The program that runs candidates and its arguments, NULL-terminated: one that calls
   * attnc_tune_worker.  NULL: $ATTNC_TUNE_WORKER, else the command `attnc` beside the
   * library, in ../bin or in ../../bin, with the argument tune-worker. */
  const char *const *worker;
  /* Called from the thread that called attnc_tune, at least five times a second; another
   * value than 0 stops the sweep.  It must not call back into the same context. */
  int (*progress)(void *user, const attnc_tune_progress *);
  void *user;
  /* For tests of the tuner: candidates with a fault, "wrong,oversized,hang,crash". */
  const char *inject;
} attnc_tune_options;

enum {
  ATTNC_TUNED_NOT_REACHED, /* the sweep ended before */
  ATTNC_TUNED_REFUSED,     /* by the compiler */
  ATTNC_TUNED_REJECTED,    /* wrong, crashed, or too slow to answer */
  ATTNC_TUNED_MEASURED,
  ATTNC_TUNED_BEST
};

/* A candidate of a sweep. */
typedef struct attnc_tuned {
  size_t size;
  int state;                      /* ATTNC_TUNED_… */
  int is_default;                 /* what a plan uses where nothing is tuned */
  int resumed;                    /* measured by an earlier sweep */
  int samples;                    /* launches that `value` is of */
  int registers, spilled_bytes;   /* a thread's, as the driver says; 0 on the emulator */
  const attnc_schedule *schedule; /* with every field of its template */
  const char *reason;             /* why it was refused or rejected; else NULL */
  const char *injected;           /* its fault; NULL: none */
  double cost;                    /* by the cost model; NaN: none */
  double value;                   /* median ms, or est_cycles */
  double spread;                  /* median absolute deviation, ms */
  double max_error, bound;        /* of the output, against the reference */
} attnc_tuned;

typedef struct attnc_tuning attnc_tuning;

/* Finds the fastest schedule for a problem, all of whose sizes are given, on its device,
 * and records it in the tuning table, which every later plan consults.
 *
 * The legal schedules are compiled in threads and run in another process (the worker), one
 * at a time, on random inputs in packed tensors: a candidate that crashes or does not end
 * is rejected, and the next ones run in a new worker.  Each is verified against the
 * reference before it is timed (by events around each launch, with warm caches); those that
 * are clearly slower than the best are timed no further, and the best are timed in turns at
 * the end.  The default schedule is always one of the candidates, so that what is recorded
 * is never slower than it.
 *
 * *out is what was found out, to be given back with attnc_tuning_release; it is set as well
 * where candidates were tried and the status is ATTNC_ERR_CHECK (none of them passed),
 * ATTNC_ERR_CANCELLED (progress stopped it: nothing is recorded) or an error of the worker.
 * May be called from several threads; those on one device disturb each other's times. */
ATTNC_API attnc_status attnc_tune(attnc_context *, const attnc_spec *,
                                  const attnc_problem *, const attnc_tune_options *,
                                  attnc_tuning **out, attnc_error *);
ATTNC_API void attnc_tuning_release(attnc_tuning *);
/* The candidates: the best, the others that were measured by their values, the rest.  They
 * live as long as the tuning; NULL past the end. */
ATTNC_API size_t attnc_tuning_count(const attnc_tuning *);
ATTNC_API const attnc_tuned *attnc_tuning_get(const attnc_tuning *, size_t i);
/* All of it: {"schema": "attnc.tune/1", name, sizes, target, device, unit, level,
 * recorded, why_not, refused, pinned_away, outside, left_out, elsewhere,
 * candidates}. */
ATTNC_API const char *attnc_tuning_json(const attnc_tuning *);

/* What a worker does: reads what attnc_tune sends on the standard input and answers on the
 * standard output, until its input ends.  A program that is its own worker gives
 * {"/proc/self/exe", "--worker", NULL} to attnc_tune, and calls this where it sees the
 * argument.  ATTNC_ERR_USAGE: nothing that attnc_tune of this version sends. */
ATTNC_API attnc_status attnc_tune_worker(attnc_error *);

/* Keep `schedule` as the best known for the context's device, the spec and the shape bucket
 * of the problem: one line appended to the tuning table, which every later plan consults.
 * It names its template; a field that it leaves open is then chosen for each plan, as in a
 * pin. value and unit are the measure: "ms" on a GPU, "est_cycles" on the emulator, whose
 * device name no real device consults. */
ATTNC_API attnc_status attnc_tune_record(attnc_context *, const attnc_spec *,
                                         const attnc_problem *, const attnc_schedule *,
                                         double value, const char *unit, attnc_error *);

/* ---- the disk cache ---- */

/* The disk cache of a context; none of these needs a driver.  *json (may be NULL) is freed
 * with attnc_text_free: {dir, entries, bytes, max_bytes, corrupt, removed, …}, what does
 * not apply left out.  _verify reads every entry and lists the bad ones in "bad" (path,
 * reason), ATTNC_ERR_CHECK if there are any; _gc removes bad and temporary files, then the
 * least recently used entries until the cache is within its size; _clear removes all. */
ATTNC_API attnc_status attnc_cache_stat(attnc_context *, char **json, attnc_error *);
ATTNC_API attnc_status attnc_cache_verify(attnc_context *, char **json, attnc_error *);
ATTNC_API attnc_status attnc_cache_gc(attnc_context *, char **json, attnc_error *);
ATTNC_API attnc_status attnc_cache_clear(attnc_context *, char **json, attnc_error *);

#ifdef __cplusplus
}
#endif
#endif
