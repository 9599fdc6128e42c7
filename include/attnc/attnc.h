/* attnc.h: specs, compilation, tuning, plans: the whole interface of libattnc.
 *
 * A spec (YAML text) says what is computed.  attnc_compile turns a spec into a kernel for
 * one target: a pure function that uses no driver and no disk.  A context owns the caches;
 * attnc_plan_get looks a kernel up in them, compiles it on a miss, loads it on a device and
 * returns a plan, which attnc_launch (attnc_rt.h) launches.
 *
 * Threads.  Specs and kernels are immutable and may be shared between threads.  A context
 * may be used from many threads; concurrent requests for one key share one compile.
 * Ownership.  An object that a function named _load, _create, _get or _compile returns is
 * released by the caller with the _release function of its type, which accepts NULL.  A
 * returned const char * belongs to the object it was asked of and lives as long.
 * Errors.  As in attnc_rt.h; a function that fails sets the pointer to the new object to
 * NULL, unless its comment says otherwise. */
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

/* Parse and check `n` bytes of YAML (UTF-8); `name` is the file name for diagnostics.  On
 * ATTNC_ERR_SPEC diags (which may be NULL) has every error found, and *spec is NULL. */
ATTNC_API attnc_status attnc_spec_load(const char *text, size_t n, const char *name,
                                       attnc_spec **, attnc_diags *);
ATTNC_API void attnc_spec_release(attnc_spec *);
ATTNC_API const char *attnc_spec_name(const attnc_spec *);
ATTNC_API const char *attnc_spec_canonical(const attnc_spec *); /* what is hashed */
ATTNC_API const char *attnc_spec_hash(const attnc_spec *);      /* SHA-256, 64 hex digits */
/* The spec as JSON with its defaults filled in, for the command line and bindings. */
ATTNC_API const char *attnc_spec_json(const attnc_spec *);
/* How loops over keys follow from the spec's mask, and why so: text, each sentence a line.
 */
ATTNC_API const char *attnc_spec_why(const attnc_spec *);
/* The tensors and scalars of a call of `op` (ATTNC_OP_…) as JSON: {op, sizes, tensors:
 * [{name, slot, dtype, access, axes (names of sizes, and lengths that the spec knows),
 * contiguous, align, shape (the axes in the order of the layout)}], scalars: [{name, slot,
 * default, positive, constant}]}.  NULL: there is no such op. */
ATTNC_API const char *attnc_spec_signature(const attnc_spec *, int op);
/* Whether a template can compile the spec for `target` ("sm_80"): ATTNC_OK, or
 * ATTNC_ERR_UNSUPPORTED with every reason in diags (which may be NULL). */
ATTNC_API attnc_status attnc_spec_check(const attnc_spec *, const char *target,
                                        attnc_diags *);
/* What each template says to the spec on `target`, in the order of preference, as a JSON
 * array of {template, takes, chosen (by attnc_compile without a schedule), reasons: [{code
 * ("A0412"), message}]: why it does not take it}.  The caller frees *json with
 * attnc_text_free. */
ATTNC_API attnc_status attnc_spec_templates(const attnc_spec *, const char *target,
                                            char **json, attnc_error *);
/* The JSON Schema (draft-07) of spec version 1. */
ATTNC_API const char *attnc_spec_schema(void);
/* Names of the targets, NULL-terminated. */
ATTNC_API const char *const *attnc_targets(void);
/* The targets as JSON, a list of {"name": "sm_80", "capability": "8.0", "exact": false,
 * "ptx": "7.0", "cuda": "11.0"}; the text lives as long as the process.  A kernel of a
 * target runs on devices of that compute capability and, unless `exact`, of every higher
 * one, with a driver of that CUDA version or later.  The target of a device is the exact
 * one of its capability, else the highest one whose kernels the device runs. */
ATTNC_API const char *attnc_target_table(void);
/* ATTNC_OK: `name` is a target.  Otherwise ATTNC_ERR_UNSUPPORTED, and the message says
 * which target to use instead. */
ATTNC_API attnc_status attnc_target_check(const char *name, attnc_error *);

/* ---- problems and schedules ---- */

/* The call that a plan is requested for.  Sizes that the spec's `specialize` names become
 * constants of the kernel; the other sizes only guide the choice of a schedule, and may be
 * 0 (unknown), or all absent (sizes NULL). */
typedef struct attnc_problem {
  size_t size;
  int op;     /* ATTNC_OP_FWD … */
  int device; /* ordinal + 1; 0: the device of the current context, else device 0 */
  const attnc_sizes *sizes;
  const attnc_tensor
      *tensors;       /* by slot: strides in elements, read if `specialize` has `strides` */
  size_t tensor_size; /* sizeof(attnc_tensor) */
  uint32_t n_tensors, flags;
  /* The stream that the plan is wanted for (a CUstream), or NULL.  While it is being
   * captured nothing is compiled or loaded: a plan that is not there yet is
   * ATTNC_ERR_NOT_PREPARED, and the capture goes on. */
  void *stream;
  /* Where sequences have lengths of their own: rows of one in the mean, which the choice of
   * a schedule assumes.  0: as total_q and total_k say, else a quarter of sq, of sk. */
  int64_t mean_q, mean_k;
} attnc_problem;

#define ATTNC_NOWAIT 1u /* flags: ATTNC_ERR_PENDING instead of waiting for a compile */

/* How a kernel computes its spec.  attnc chooses every member that is 0 or NULL and every
 * option that is not named.  The members are what all templates have; options are named
 * values that templates declare.  attnc_schedule_fields lists both. */
typedef struct attnc_schedule {
  size_t size;
  const char *template_name; /* "ref_fwd", "fwd_mma", "fwd_wgmma" */
  int block_m;               /* queries of a tile */
  int block_n;               /* keys of a tile */
  int num_stages;            /* tiles of k, and of v, that shared memory holds */
  int num_warps;             /* warps of a CTA */
  const char *options;       /* "intra_wg_overlap=true,cluster=2,scheduler=lpt" */
} attnc_schedule;

/* The fields of schedules as JSON: a list, the members first, of {"name", "kind": "int",
 * "bool" or "enum", "min" and "max" of an int, "names" of an enum, "example", "what",
 * "templates": those that have the field}.  The text lives as long as the process. */
ATTNC_API const char *attnc_schedule_fields(void);
/* ATTNC_ERR_USAGE: a name or a value that no template has.  Whether a template accepts the
 * values together is checked when a kernel is compiled. */
ATTNC_API attnc_status attnc_schedule_check(const attnc_schedule *, attnc_error *);

/* ---- compile: pure ---- */

/* Compile a spec for a target.  Only those values of `problem` are read that the spec's
 * `specialize` names; problem may be NULL if there are none.  schedule NULL: the pins of
 * the spec, else the default of the template for the target. */
ATTNC_API attnc_status attnc_compile(const attnc_spec *, const attnc_problem *,
                                     const char *target, const attnc_schedule *,
                                     attnc_kernel **, attnc_error *);
ATTNC_API void attnc_kernel_release(attnc_kernel *);
ATTNC_API const char *attnc_kernel_ptx(const attnc_kernel *, size_t *bytes);
ATTNC_API const char *attnc_kernel_json(const attnc_kernel *);
/* Text of a stage of the compiler: "spec" "spans" "sched" "tile" "ll" "opt" "ptx"; NULL
 * unless attnc_compile_options.dump named the stage. */
ATTNC_API const char *attnc_kernel_dump(const attnc_kernel *, const char *stage);
/* Seconds that the compile spent in a stage: "front" (spec to schedule), "tile" (tile
 * program, its checks, shared memory), "lower" (to LLVM IR), "passes", "codegen", "load"
 * (of libattnc_llvm.so, once a process), "total". */
ATTNC_API double attnc_kernel_seconds(const attnc_kernel *, const char *stage);

typedef struct attnc_compile_options {
  size_t size;
  const char *dump; /* comma-separated stages to keep; NULL: none; "all" */
  const char *from; /* "ll" or "ptx": start from `text`, IR or PTX, instead of generating */
  const char *text;
  const char *ptx_version; /* "7.0"; NULL: the lowest that the kernel's instructions need */
} attnc_compile_options;
/* attnc_compile with options. */
ATTNC_API attnc_status attnc_compile_with(const attnc_spec *, const attnc_problem *,
                                          const char *target, const attnc_schedule *,
                                          const attnc_compile_options *, attnc_kernel **,
                                          attnc_error *);

/* The legal schedules for this problem and target, best first by the cost model, as a JSON
 * array of {template, the fields of that template, shared (bytes), regs (a thread's),
 * blocks_per_sm, cost}, and of decode_mma, decode_wgmma in_flight_kb, in_flight_wanted_kb,
 * key_clocks, product_clocks; all != 0 adds the illegal ones with their "reason".  The
 * caller frees *json with attnc_text_free. */
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

/* How the tiles of a call's mask are counted. */
typedef struct attnc_tile_choice {
  size_t size;
  int block_m, block_n;
  int64_t b, h; /* of one batch and one query head */
  int exact; /* 0: as loops decide, by intervals; 1: by trying every query with every key */
} attnc_tile_choice;
/* attnc_tiles of one batch and head of a call, with what its tables hold: `args` has the
 * sizes and the tensors that the mask reads, on the host.  All tiles begin at multiples of
 * their size.  A table without data is one of which nothing is known; with `exact` that is
 * ATTNC_ERR_USAGE. */
ATTNC_API attnc_status attnc_tiles_of(const attnc_spec *, const attnc_args *,
                                      const attnc_tile_choice *, attnc_tile_counts *,
                                      char *map, size_t map_bytes, attnc_error *);
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
  /* More directories of tuning tables, read before tune_dir and never written, separated by
   * colons.  NULL: $ATTNC_TUNE_READONLY, else share/attnc/tune of the library's prefix. */
  const char *tune_readonly;
  /* A file of records, the only tuning table: read when the context is created, never
   * written, so that every process that is given it chooses alike.  NULL:
   * $ATTNC_TUNE_TABLE, else none.  ATTNC_ERR_IO: it cannot be read. */
  const char *tune_table;
  /* What `attnc device dump` printed where another device is: attnc_key_explain is of that
   * one, its tuning records among them.  NULL: of the device that is here. */
  const char *device;
  /* Where kernels are compiled: "0" in this process, "1" in attnc-cc of the installation,
   * else in the program of this path, which calls attnc_compile_worker.  NULL: $ATTNC_CC,
   * else "0".  Whatever LLVM does there, dying included, is an error of one kernel here.
   * ATTNC_ERR_IO: there is no such program. */
  const char *cc;
  /* Its limits, "seconds=120,memory=4G,compiles=500,workers=2": seconds of a compile, bytes
   * of address space of a process, compiles before it is replaced, processes at once.
   * What is not named has the value shown.  NULL: $ATTNC_CC_LIMITS. */
  const char *cc_limits;
  /* Who makes the cubins that are kept in the cache and loaded instead of PTX: "driver",
   * "nvjitlink", "ptxas" or "none"; of a list, the first that is there.  NULL:
   * $ATTNC_ASSEMBLER, else driver. */
  const char *assembler;
} attnc_options;

ATTNC_API attnc_status attnc_context_create(const attnc_options *, attnc_context **,
                                            attnc_error *);
ATTNC_API void attnc_context_release(attnc_context *);
/* The worker of a context whose kernels are compiled elsewhere (attnc_options.cc): reads
 * requests from standard input and answers on standard output until the input ends; the
 * program attnc-cc does nothing else.  It limits its own memory and time.  ATTNC_ERR_IO: it
 * has no input and output. */
ATTNC_API attnc_status attnc_compile_worker(attnc_error *);
/* Compiles in this process, on whose account it then is, a request that such a worker died
 * of: the n bytes of the file that the error names.  The caller frees *ptx with
 * attnc_text_free. */
ATTNC_API attnc_status attnc_compile_replay(const char *request, size_t n, char **ptx,
                                            attnc_error *);
/* Settings, devices and counters as JSON: where things are, and what is in attnc_stats. */
ATTNC_API const char *attnc_context_json(attnc_context *);

/* What a context counts, from its creation on: name, meaning.  A name that ends in _us is
 * of microseconds.  Rows are appended only. */
#define ATTNC_STATS_TABLE(X)                                                               \
  X(plan_hits, "requests whose plan was loaded already")                                   \
  X(kernel_hits, "kernels that were in memory and not loaded on that device")              \
  X(disk_hits, "kernels found in the directory of the cache")                              \
  X(readonly_hits, "kernels found in a directory that is only read")                       \
  X(misses, "kernels found in no cache")                                                   \
  X(compiles, "kernels compiled")                                                          \
  X(compile_errors, "compiles that failed")                                                \
  X(compile_us, "time spent compiling")                                                    \
  X(loads, "plans loaded on a device")                                                     \
  X(load_errors, "loads that failed")                                                      \
  X(load_us, "time spent loading, in which a driver may compile PTX")                      \
  X(stored, "entries written to the cache")                                                \
  X(store_errors, "entries that could not be written")                                     \
  X(corrupt, "entries that were damaged, and not used")                                    \
  X(read_errors, "entries that could not be read")                                         \
  X(evicted, "entries removed to keep within the size")                                    \
  X(lock_waits, "times that another process had the lock of a kernel")                     \
  X(lock_us, "time spent waiting for one")                                                 \
  X(lock_hits, "kernels that another process had stored by the end of the wait")           \
  X(lock_timeouts, "waits given up, after which the kernel was compiled here too")         \
  X(not_prepared, "requests for a stream under capture whose plan was not loaded")         \
  X(cc_started, "processes attnc-cc that were started")                                    \
  X(cc_compiled, "compiles that one of them answered")                                     \
  X(cc_died, "of them that ended before they answered, or were too late")                  \
  X(cc_failed, "compiles given up, as what compiled them died of it")                      \
  X(cc_remembered, "compiles refused, as they were given up a while ago")                  \
  X(cubin_hits, "cubins found in the cache")                                               \
  X(assembled, "cubins made of PTX")                                                       \
  X(assemble_errors, "cubins that could not be made: PTX was loaded")                      \
  X(assemble_us, "time spent making them")                                                 \
  X(cubins_refused, "cubins that the driver did not load: PTX was")                        \
  X(launches, "calls of attnc_launch that reached the driver")

typedef struct attnc_stats {
  size_t size;
#define X(name, text) uint64_t name;
  ATTNC_STATS_TABLE(X)
#undef X
} attnc_stats;
/* Fills *stats, whose size the caller has set; each counter by itself is exact, and none
 * waits for another. */
ATTNC_API attnc_status attnc_context_stats(attnc_context *, attnc_stats *, attnc_error *);
/* The counters in the text format of Prometheus: attnc_disk_hits_total, and
 * attnc_compile_seconds_total of compile_us.  Returns the bytes that the text needs without
 * its final 0, as snprintf does; of a size that this library cannot read, 0. */
ATTNC_API size_t attnc_stats_prometheus(const attnc_stats *, char *buf, size_t n);

/* A plan for the problem, from memory, from the disk cache or compiled, and loaded on the
 * problem's device, with the schedule of the tuning table, the cost model, the
 * spec's pins or the default.  The caller owns one reference (attnc_plan_release).
 * ATTNC_ERR_PENDING, with ATTNC_NOWAIT: the kernel is being compiled in the background;
 * call again. */
ATTNC_API attnc_status attnc_plan_get(attnc_context *, const attnc_spec *,
                                      const attnc_problem *, attnc_plan **, attnc_error *);
/* attnc_plan_get with the caller's schedule, which must be legal for the target. */
ATTNC_API attnc_status attnc_plan_get_with(attnc_context *, const attnc_spec *,
                                           const attnc_problem *, const attnc_schedule *,
                                           attnc_plan **, attnc_error *);
/* attnc_plan_get_with for later: the plan is loaded, and the context keeps it as long as it
 * lives itself, so that the same request finds it, while a stream is captured too.  Which
 * plan a request comes to may change when a tuning table does; with
 * attnc_options.tune_table it does not.  schedule may be NULL. */
ATTNC_API attnc_status attnc_prepare(attnc_context *, const attnc_spec *,
                                     const attnc_problem *, const attnc_schedule *,
                                     attnc_error *);
/* What attnc_plan_get_with would look up, as JSON, without compiling: the key of the cache
 * entry, the labelled fields that the key is the hash of, the schedule and its source
 * (exact, near, family, model, default, pinned).  If the device is absent or does not run
 * the context's target, neither the device nor its tuning records are considered.  The
 * caller frees *json with attnc_text_free. */
ATTNC_API attnc_status attnc_key_explain(attnc_context *, const attnc_spec *,
                                         const attnc_problem *, const attnc_schedule *,
                                         char **json, attnc_error *);

/* ---- the reference: fp64 on the CPU ---- */

/* The op computed in fp64.  The arguments are those of a launch, with host pointers in the
 * slots of the inputs: tensors of the spec's dtypes, aligned to their elements.  outputs:
 * by slot, the caller's buffer of double for each output of the op, contiguous in the order
 * of its axes (o: [b, h, sq, dv]); an output whose pointer is NULL or whose slot is not
 * below n_outputs is not computed.  rows: NULL for all queries, else n_rows query indices;
 * the axis sq of the buffers then has length n_rows.  With cu_seqlens_q they are rows of
 * the packed q, and the axis is total_q.  What is the row of no sequence is left as it is.
 * ATTNC_ERR_SHAPE names an element of `seqlens` that no call may have.  Of op append the
 * outputs are k and v with the new rows in them, and rows must be NULL. */
ATTNC_API attnc_status attnc_reference(const attnc_spec *, int op, const attnc_args *,
                                       const int64_t *rows, size_t n_rows,
                                       double *const *outputs, uint32_t n_outputs,
                                       attnc_error *);

/* The accuracy contract, evaluated on host copies of a launch's outputs. */
typedef struct attnc_output_verdict {
  double max_error; /* largest absolute difference from fp64 */
  double bound;     /* the largest allowed error of the row with max_error */
  int64_t bad_rows; /* rows whose error is above their bound */
} attnc_output_verdict;
typedef struct attnc_verdict {
  size_t size;
  int pass;
  int slot; /* of the output whose row is the worst, relative to its bound */
  int64_t rows, bad_rows;
  int64_t b, h, q;               /* batch, head and query of that row */
  attnc_output_verdict *outputs; /* array of the caller's, by slot; may be NULL */
  size_t output_size;            /* sizeof(attnc_output_verdict) */
  size_t n_outputs;              /* elements of `outputs` */
  /* By slot, what tensors that are inputs and outputs held before the launch, elements
   * where those of the call are; NULL: not known, and what must not change is not looked
   * at. */
  const void *const *before;
  size_t n_before; /* elements of `before` */
} attnc_verdict;
/* Compares outputs of a launch with the reference.  host: the arguments of the launch, with
 * host copies in the slots of inputs and outputs.  ATTNC_OK whether they pass or not: see
 * attnc_verdict.pass.  Of a large problem a sample of the queries is compared; rows of no
 * sequence are not looked at.  Of op append b, h and q are sequence, key head and new row,
 * and of a row that must not have changed its batch or page, key head and row. */
ATTNC_API attnc_status attnc_verify(const attnc_spec *, int op, const attnc_args *host,
                                    attnc_verdict *, attnc_error *);

/* ---- tuning ---- */

/* How many of the legal schedules are tried, in the order of the cost model: id, name,
 * percent of them, and at least so many. */
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
  int resume; /* 1: results of earlier sweeps for the same kernels, device and sizes are
                 used instead of measuring again.  Each result is stored at once,
                 so that a sweep that was killed can be resumed */
  /* A sweep that is split over `shards` runs or machines (0: not split): this is number
   * `shard`, from 0, measures the default and its part of the candidates, and records no
   * best.  A sweep with resume = 1 on the concatenated files of all has every result. */
  int shard, shards;
  double timeout; /* seconds that each step of a candidate may take; 0: 60 */
  double budget;  /* seconds after which only the default is begun; 0: no limit */
  uint64_t seed;  /* of the random inputs */
  const attnc_schedule *within; /* only schedules with these values are tried; NULL: all */
  /* The program that runs candidates and its arguments, NULL-terminated; the program calls
   * attnc_tune_worker.  NULL: $ATTNC_TUNE_WORKER, else the command `attnc` beside the
   * library, in ../bin or in ../../bin, with the argument tune-worker. */
  const char *const *worker;
  /* Called from the thread that called attnc_tune, at least five times a second; a
   * return value other than 0 stops the sweep.  It must not call back into the same
   * context. */
  int (*progress)(void *user, const attnc_tune_progress *);
  void *user;
  /* For tests of the tuner: candidates with a fault, "wrong,oversized,hang,crash". */
  const char *inject;
  /* Lengths of the sequences that candidates run on, "3,0,17" or, with keys, "3/20,0/5":
   * b of them, at most sq and sk.  Sizes that are 0, total_q and the like, and the
   * problem's means become those of these lengths.  NULL: they are drawn. */
  const char *seqlens;
  int l2; /* ATTNC_TUNE_L2_…: what the L2 cache holds when a timed launch begins */
} attnc_tune_options;

/* Values of the two are not compared: `unit` is "ms" or "ms_cold". */
enum {
  ATTNC_TUNE_L2_WARM, /* what the launch before has left there */
  ATTNC_TUNE_L2_COLD  /* nothing of the call: other memory is written in between, twice as
                         much as it holds */
};

enum {
  ATTNC_TUNED_NOT_REACHED, /* the sweep ended before its turn */
  ATTNC_TUNED_REFUSED,     /* the compiler refused it */
  ATTNC_TUNED_REJECTED,    /* its result was wrong, it crashed, or it timed out */
  ATTNC_TUNED_MEASURED,
  ATTNC_TUNED_BEST
};

/* A candidate of a sweep. */
typedef struct attnc_tuned {
  size_t size;
  int state;                      /* ATTNC_TUNED_… */
  int is_default;                 /* 1: the schedule of plans without tuning */
  int resumed;                    /* 1: measured by an earlier sweep */
  int samples;                    /* launches that `value` is the median of */
  int registers, spilled_bytes;   /* of a thread, from the driver; 0 on the emulator */
  const attnc_schedule *schedule; /* with every field of its template */
  const char *reason;             /* why it was refused or rejected; else NULL */
  const char *injected;           /* name of the injected fault; NULL: none */
  double cost;                    /* of the cost model; NaN: it has none */
  double value;                   /* median ms, or est_cycles */
  double spread;                  /* median absolute deviation, ms */
  double max_error, bound;        /* of the output, against the reference */
} attnc_tuned;

typedef struct attnc_tuning attnc_tuning;

/* Finds the fastest schedule for a problem on its device and records it in the tuning
 * table, which every later plan consults.  All sizes of the problem must be given.
 *
 * The legal schedules are compiled in threads and run in another process (the worker), one
 * at a time, on random inputs in packed tensors.  A candidate that crashes or does not end
 * is rejected, and the next candidates run in a new worker.  Each is verified against the
 * reference before it is timed (by events around each launch, with the L2 cache as options
 * say); those that are clearly slower than the best are timed no further, and the best are
 * timed in turns at the end.  The default schedule is always a candidate, so that the
 * recorded schedule is never slower than the default.
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

/* The worker of attnc_tune: reads requests from standard input and answers on standard
 * output until the input ends.  A program that is its own worker passes
 * {"/proc/self/exe", "--worker", NULL} as attnc_tune_options.worker and calls this function
 * if it was started with --worker.  ATTNC_ERR_USAGE: the input is not what attnc_tune of
 * this version sends. */
ATTNC_API attnc_status attnc_tune_worker(attnc_error *);

/* Records `schedule` as the best known for the context's device, the spec and the shape
 * bucket of the problem: appends one line to the tuning table, which every later plan
 * consults.  schedule must name its template; a field that it leaves open is chosen for
 * each plan, as with a pin of a spec.  value is the measured time in `unit`: "ms" on a GPU,
 * "est_cycles" on the emulator, whose records no GPU uses. */
ATTNC_API attnc_status attnc_tune_record(attnc_context *, const attnc_spec *,
                                         const attnc_problem *, const attnc_schedule *,
                                         double value, const char *unit, attnc_error *);

/* ---- tuning tables ---- */

/* The records that are meant: of a device's name, of a spec, of the bucket of shapes that
 * the sizes are in; NULL: any. */
typedef struct attnc_tune_filter {
  size_t size;
  const char *device, *spec_hash;
  const attnc_sizes *sizes;
} attnc_tune_filter;
/* None of these needs a driver; texts are freed with attnc_text_free, a filter that is NULL
 * means all.  A table's text is lines of JSON, one a record; concatenating two merges them.
 *
 * _list: what the layers of the context have together, {"schema": "attnc.tune_list/1",
 * layers, skipped, sha256, records}: `sha256` is that of _export's text, by which machines
 * that should choose alike can be compared.  _export: the records that count, as a table of
 * their own.  _import appends to the user's tables what they do not have, trials as well;
 * *json says how much ("added", "known", "skipped", "notes"); text that is torn or not
 * understood is left out and told, and lines that forget are not followed.  _merge: what
 * counts of a text, sorted, each line once, so that it does not matter in which order files
 * of different problems were put together; lines that forget stand first, so that merged
 * shards, one behind the other, say what the shards did.  _forget: the records do not count
 * any more, not those of the layers that are only read either ("forgotten" in *json).
 * ATTNC_ERR_USAGE of _import and _forget: the context has a pinned table. */
ATTNC_API attnc_status attnc_tune_list(attnc_context *, const attnc_tune_filter *,
                                       char **json, attnc_error *);
ATTNC_API attnc_status attnc_tune_export(attnc_context *, const attnc_tune_filter *,
                                         char **lines, attnc_error *);
ATTNC_API attnc_status attnc_tune_import(attnc_context *, const char *lines, size_t n,
                                         char **json, attnc_error *);
ATTNC_API attnc_status attnc_tune_merge(const char *lines, size_t n, char **merged,
                                        char **json, attnc_error *);
ATTNC_API attnc_status attnc_tune_forget(attnc_context *, const attnc_tune_filter *,
                                         char **json, attnc_error *);

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
