/* cli.h: what the commands share: where their words go, and how they load specs.
 *
 * Data goes to stdout, everything else to stderr; with --json stdout is exactly one JSON
 * object, an error too ({"schema": "attnc.error/1", …}).  A command returns its exit code,
 * releases what it made, and never exits by itself.  Memory of a command is in cli->arena.
 */
#ifndef ATTNC_CLI_CLI_H
#define ATTNC_CLI_CLI_H

#include "cli/device.h"
#include "cli/options.h"
#include "cli/problem.h"

#include "harness/signature.h"

#include <attnc/attnc.h>

#include <jansson.h>

/* The target where neither a device nor --arch says which. */
#define CLI_TARGET "sm_80"

enum { EXIT_CHECK = 1, EXIT_PARTIAL = 9, EXIT_TIMEOUT = 124, EXIT_INTERRUPTED = 130 };

typedef struct Cli {
  Options opt;
  Arena *arena;
  bool json, quiet, color;
  int log; /* of ATTNC_LOG: 1 warnings, 2 info, 3 debug */
} Cli;

typedef int CommandRun(Cli *);
CommandRun cmd_check, cmd_compile, cmd_run, cmd_tune, cmd_explain, cmd_tiles, cmd_key,
    cmd_doctor, cmd_cache, cmd_pack, cmd_device, cmd_targets, cmd_schema, cmd_bench,
    cmd_completion, cmd_help, cmd_version, cmd_tune_worker, cmd_tune_list, cmd_tune_export,
    cmd_tune_import, cmd_tune_merge, cmd_tune_forget;

/* "attnc: error: …" on stderr, the JSON object with --json; the exit code of the status. */
int cli_fail(const Cli *, attnc_status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
int cli_error(const Cli *, const attnc_error *);
/* "attnc: error: …" on stderr alone, for one of several items. */
void cli_warn(const Cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_note(const Cli *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_print(const char *text); /* stdout */
void cli_json(json_t *);          /* stdout; takes the reference */
/* Text that may be no UTF-8, of a path perhaps: then all that is not ASCII as \xHH; NULL is
 * null. */
json_t *cli_text(const char *);
json_t *cli_error_json(const attnc_error *);
/* The exit code of a command over several items: EXIT_PARTIAL where some failed and some
 * did not, else that of the first that failed. */
typedef struct Tally {
  int good, bad, code;
} Tally;
void tally_add(Tally *, int code);
int tally_code(const Tally *);

/* What the command line knows of a spec: its fields by their keys, read from
 * attnc_spec_json.  Words are texts ("bf16", "top_left"), what is given by tensor is by
 * slot, an integer that is left open is 0. */
#define INFO_VERSION(key)
#define INFO_NAME(key)    const char *key;
#define INFO_TEXT(key)    const char *key;
#define INFO_DTYPES(key)  const char *key[ATTNC_SLOT_COUNT];
#define INFO_LAYOUTS(key) const char *key[ATTNC_SLOT_COUNT];
#define INFO_ENUM(key)    const char *key;
#define INFO_INT(key)     int key;
#define INFO_BOOL(key)    bool key;
#define INFO_WINDOW(key)  int64_t key[2];
#define INFO_SCALE(key)   double key;
#define INFO_NAMES(key)
#define INFO_PINS(key)
#define INFO_EXPRS(key)
#define INFO_TABLES(key)
#define INFO_BIAS(key)
#define INFO_SWITCH(key)
#define INFO_BLOCKS(key)
#define INFO_ROPE(key)
#define INFO_SCALARS(key)
#define INFO_TENSORS(key)
#define INFO_GRADS(key)
typedef struct SpecInfo {
#define SPEC_FIELD(key, type, ...) INFO_##type(key)
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
  CallInfo call;
} SpecInfo;

typedef struct LoadedSpec {
  const char *path;
  attnc_spec *spec;
  SpecInfo info;
} LoadedSpec;

/* Loads "-" or a file.  Diagnostics are printed to stderr as they are; what is wrong is in
 * *e.  *diags (may be NULL) receives the JSON array of the diagnostics. */
attnc_status cli_load(const Cli *, const char *path, LoadedSpec *, json_t **diags,
                      attnc_error *);
attnc_status cli_load_text(const Cli *, const char *name, const char *text, size_t n,
                           LoadedSpec *, json_t **diags, attnc_error *);
void cli_unload(LoadedSpec *);
json_t *cli_diags_json(const attnc_diags *);
void cli_diags_print(const Cli *, const attnc_diags *);

/* The sizes to use: --shape over the line of shapes.txt beside the spec over b1 h8 s256.
 * ATTNC_ERR_USAGE where --shape says another dtype, head_dim or mask than the spec. */
attnc_status cli_sizes(const Cli *, const LoadedSpec *, attnc_sizes *, attnc_error *);
/* The same with `shape` in the place of --shape; NULL: none. */
attnc_status cli_sizes_of(const Cli *, const LoadedSpec *, const char *shape, attnc_sizes *,
                          attnc_error *);
/* What a plan is asked for, with what it points to: filled in place, never copied. */
typedef struct Asked {
  attnc_problem problem;
  attnc_sizes sizes;
  attnc_tensor tensors[CALL_SLOTS];
} Asked;
/* What kernels of --op are called: of the forward pass as the spec is, of others NAME.OP.
 */
const char *cli_kernel_name(const Cli *, const LoadedSpec *, char dot);
/* For these sizes, packed strides of the spec's layout. */
void cli_problem(const LoadedSpec *, const attnc_sizes *, Asked *);
/* Of a problem as --seqlens says. */
void cli_assume(const Cli *, Asked *);
/* "template=fwd_mma,block_m=64,…" into *out; strings stay in the arena.  *given: is there a
 * --schedule at all. */
attnc_status cli_schedule(const Cli *, attnc_schedule *out, bool *given, attnc_error *);
attnc_status schedule_parse(const char *text, Arena *, attnc_schedule *, attnc_error *);
/* "fwd_mma 128x64 w4 s2", from JSON of attnc_schedules or a kernel's schedule. */
const char *schedule_text(const json_t *, Arena *);
/* "assumed: 3/20 0/5", queries and keys of each sequence, from JSON of attnc_key_explain;
 * NULL: none are. */
const char *lengths_text(const json_t *, Arena *);
/* The schedule in a kernel's or a plan's JSON, the template's name in it; borrowed. */
json_t *recipe_schedule(json_t *recipe);
json_t *schedule_json(const attnc_schedule *);
/* attnc_schedule_fields, read once. */
const json_t *schedule_fields(void);
void schedule_read(const json_t *, Arena *, attnc_schedule *);

/* In the JSON of a spec: what it pins for a target, NULL if nothing; borrowed.  May a pin
 * (or NULL) be had with a schedule of attnc_schedules? */
json_t *spec_pin_for(const json_t *spec, const char *target);
bool pin_allows(const json_t *pin, const json_t *schedule);

/* The targets of a comma-separated list; NULL text: all.  In the arena, NULL-terminated. */
attnc_status cli_targets(const Cli *, const char *text, const char ***, attnc_error *);

/* attnc_key_explain of what `attnc run` would launch on the device that it would open, with
 * its tuning table; where there is no such device, of --arch (or sm_80) alone. */
attnc_status cli_plan_key(const Cli *, const LoadedSpec *, const attnc_sizes *,
                          const attnc_schedule *, char **json, attnc_error *);

/* Opens --device and a context over it; says on stderr which device it is. */
attnc_status cli_open(const Cli *, Device *, attnc_context **, attnc_options *,
                      attnc_error *);

#endif
