/* cmd_bench.c: `attnc bench compile`: what a miss and a hit of the cache cost.
 *
 * A miss is attnc_compile in this process, after the first one, which loads LLVM and is
 * told apart.  A hit is attnc_plan_get in a new context over a disk cache that has the
 * entry: up to the driver's load call, and the driver's part. */
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/table.h"

#include "base/clock.h"
#include "base/err.h"
#include "harness/execute.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char bench_spec[] = "attnc: 1\n"
                                 "name: bench\n"
                                 "dtype: bf16\n"
                                 "head_dim: 128\n"
                                 "causal: true\n"
                                 "schedule: {block_m: 128, block_n: 64}\n";

#define STAGE_TABLE(X)                                                                     \
  X(FRONT, "front", "spec to schedule")                                                    \
  X(TILE, "tile", "tile program: words, checks, shared memory")                            \
  X(LOWER, "lower", "to LLVM IR")                                                          \
  X(PASSES, "passes", "LLVM's passes and our own")                                         \
  X(CODEGEN, "codegen", "LLVM's code generation, to PTX")                                  \
  X(TOTAL, "total", "all of it")
typedef enum Stage {
#define X(id, name, text) STAGE_##id,
  STAGE_TABLE(X)
#undef X
      STAGE_COUNT
} Stage;
static const struct {
  const char *name, *text;
} stages[STAGE_COUNT] = {
#define X(id, name, text) {name, text},
    STAGE_TABLE(X)
#undef X
};

typedef struct Bench {
  Cli *c;
  LoadedSpec spec;
  attnc_sizes sizes;
  Asked asked;
  const char *target;
  int n;
  double *ms[STAGE_COUNT]; /* n each */
  double *rest;            /* total - (lower + passes + codegen) */
  double first[STAGE_COUNT], first_load;
  double *lookup, *load;
  bool has_hits;
  attnc_error no_hits; /* why there are none */
  const char *device;
} Bench;

/* ---- a miss ---- */

static attnc_status
compile_once(const Bench *b, double ms[STAGE_COUNT], double *load, attnc_error *e)
{
  attnc_kernel *k;
  TRY(attnc_compile(b->spec.spec, &b->asked.problem, b->target, NULL, &k, e));
  for (int s = 0; s < STAGE_COUNT; s++)
    ms[s] = attnc_kernel_seconds(k, stages[s].name) * 1e3;
  *load = attnc_kernel_seconds(k, "load") * 1e3;
  attnc_kernel_release(k);
  return ATTNC_OK;
}

static attnc_status
bench_misses(Bench *b, attnc_error *e)
{
  Progress bar;
  double ms[STAGE_COUNT], load;
  TRY(compile_once(b, b->first, &b->first_load, e));
  progress_start(&bar, "compiling", b->n, b->c->quiet);
  for (int i = 0; i < b->n; i++) {
    progress_step(&bar, i, NULL);
    attnc_status st = compile_once(b, ms, &load, e);
    if (st != ATTNC_OK) {
      progress_end(&bar);
      return st;
    }
    for (int s = 0; s < STAGE_COUNT; s++)
      b->ms[s][i] = ms[s];
    b->rest[i] = ms[STAGE_TOTAL] - ms[STAGE_LOWER] - ms[STAGE_PASSES] - ms[STAGE_CODEGEN];
  }
  progress_end(&bar);
  return ATTNC_OK;
}

/* ---- a hit ---- */

static attnc_status
hit_once(const Bench *b, const attnc_options *o, const char **layer, double *lookup,
         double *load, attnc_error *e)
{
  attnc_context *ctx;
  attnc_plan *plan;
  TRY(attnc_context_create(o, &ctx, e));
  attnc_status st = attnc_plan_get(ctx, b->spec.spec, &b->asked.problem, &plan, e);
  if (st == ATTNC_OK) {
    json_t *j = json_loads(attnc_plan_json(plan), 0, NULL),
           *s = json_object_get(j, "seconds");
    const char *text = json_string_value(json_object_get(j, "layer"));
    *layer = arena_strdup(b->c->arena, text ? text : "?");
    *lookup = json_number_value(json_object_get(s, "lookup")) * 1e3;
    *load = json_number_value(json_object_get(s, "load")) * 1e3;
    json_decref(j);
    attnc_plan_release(plan);
  }
  attnc_context_release(ctx);
  return st;
}

static attnc_status
hits_in(Bench *b, const char *dir, attnc_error *e)
{
  Device d;
  attnc_context *ctx;
  attnc_options o;
  const char *layer;
  double lookup, load;
  TRY(cli_open(b->c, &d, &ctx, &o, e));
  attnc_context_release(ctx);
  b->device = arena_strdup(b->c->arena, d.name);
  o.cache = 3;
  o.cache_dir = dir;
  o.target = b->c->opt.value[OPT_ARCH];
  attnc_status st = hit_once(b, &o, &layer, &lookup, &load, e); /* fills the cache */
  for (int i = 0; i < b->n && st == ATTNC_OK; i++) {
    st = hit_once(b, &o, &layer, &b->lookup[i], &b->load[i], e);
    if (st == ATTNC_OK && !str_eq(layer, "disk"))
      st = err_set(e, ATTNC_ERR_CACHE, "the entry came from %s, not from disk", layer);
  }
  device_close(&d);
  return st;
}

/* A directory of our own making and all in it. */
static bool
remove_tree(const char *path, Arena *arena)
{
  DIR *d = opendir(path);
  if (!d)
    return unlink(path) == 0;
  const struct dirent *entry;
  bool ok = true;
  while ((entry = readdir(d)) != NULL)
    if (!str_eq(entry->d_name, ".") && !str_eq(entry->d_name, ".."))
      ok = remove_tree(arena_printf(arena, "%s/%s", path, entry->d_name), arena) && ok;
  closedir(d);
  return rmdir(path) == 0 && ok;
}

static attnc_status
bench_hits(Bench *b, attnc_error *e)
{
  const char *tmp = getenv("TMPDIR");
  char *dir =
      arena_printf(b->c->arena, "%s/attnc-bench-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(dir))
    return err_set(e, ATTNC_ERR_IO, "mkdtemp %s failed", dir);
  attnc_status st = hits_in(b, dir, e);
  if (!remove_tree(dir, b->c->arena))
    cli_note(b->c, "%s could not be removed", dir);
  return st;
}

/* ---- telling ---- */

static void
put_row(const Bench *b, Table *t, const char *name, const char *text, double *ms)
{
  Timing x;
  timing_of(ms, b->n, &x);
  table_cell(t, "%s", name);
  table_cell(t, "%.3f", x.median);
  table_cell(t, "%.3f", x.least);
  table_cell(t, "%.3f", x.most);
  table_cell(t, "%s", text);
}

static void
print_text(const Bench *b)
{
  Table *t = table_new(b->c->arena, "lrrrl");
  static const char *const head[] = {"stage", "median ms", "least", "most", ""};
  for (int i = 0; i < 5; i++)
    table_cell(t, "%s", head[i]);
  for (int s = 0; s < STAGE_COUNT; s++)
    put_row(b, t, stages[s].name, stages[s].text, b->ms[s]);
  put_row(b, t, "not LLVM", "total without lower, passes and codegen", b->rest);
  if (b->has_hits) {
    put_row(b, t, "hit", "from disk, up to the driver's load call", b->lookup);
    put_row(b, t, "driver", "the driver's load call", b->load);
  }
  Str s = str_new(b->c->arena);
  str_printf(&s, "%s for %s, %d compiles after the first\n", b->spec.info.name, b->target,
             b->n);
  table_print(t, "  ", &s);
  str_printf(&s, "  the first: %.1f ms, of which %.1f ms to load LLVM\n",
             b->first[STAGE_TOTAL], b->first_load);
  if (b->has_hits)
    str_printf(&s, "  hits on %s\n", b->device);
  cli_print(s.p);
}

static void
put_json(const Bench *b, json_t *j, const char *name, double *ms)
{
  Timing x;
  timing_of(ms, b->n, &x);
  json_object_set_new(j, name,
                      json_pack("{s:f, s:f, s:f, s:f}", "median", x.median, "least",
                                x.least, "most", x.most, "spread", x.spread));
}

static void
print_json(const Bench *b)
{
  json_t *ms = json_object(), *first = json_object();
  for (int s = 0; s < STAGE_COUNT; s++) {
    put_json(b, ms, stages[s].name, b->ms[s]);
    json_object_set_new(first, stages[s].name, json_real(b->first[s]));
  }
  put_json(b, ms, "not_llvm", b->rest);
  json_object_set_new(first, "load", json_real(b->first_load));
  json_t *j = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o}", "schema", "attnc.bench/1", "name",
                        b->spec.info.name, "target", b->target, "n", b->n, "ms", ms,
                        "first_ms", first);
  if (b->has_hits) {
    put_json(b, ms, "hit", b->lookup);
    put_json(b, ms, "driver", b->load);
    json_object_set_new(j, "device", json_string(b->device));
  } else {
    json_object_set_new(j, "no_hits", cli_error_json(&b->no_hits));
  }
  cli_json(j);
}

/* ---- the command ---- */

static attnc_status
prepare(Bench *b, attnc_error *e)
{
  const Options *o = &b->c->opt;
  int64_t n;
  b->target = o->value[OPT_ARCH] ? o->value[OPT_ARCH] : CLI_TARGET;
  TRY(attnc_target_check(b->target, e));
  TRY(options_int(o, OPT_REPEAT, 20, 1, 100000, &n, e));
  b->n = (int)n;
  if (o->n_args > 1)
    TRY(cli_load(b->c, o->args[1], &b->spec, NULL, e));
  else
    TRY(cli_load_text(b->c, "bench", bench_spec, strlen(bench_spec), &b->spec, NULL, e));
  TRY(cli_sizes(b->c, &b->spec, &b->sizes, e));
  cli_problem(&b->spec, &b->sizes, &b->asked);
  for (int s = 0; s < STAGE_COUNT; s++)
    b->ms[s] = NEW_N(b->c->arena, double, n);
  b->rest = NEW_N(b->c->arena, double, n);
  b->lookup = NEW_N(b->c->arena, double, n);
  b->load = NEW_N(b->c->arena, double, n);
  return ATTNC_OK;
}

/* Without a device there are no hits to time, and that is said; any other failure counts.
 */
static attnc_status
measure(Bench *b, attnc_error *e)
{
  TRY(prepare(b, e));
  TRY(bench_misses(b, e));
  attnc_status st = bench_hits(b, &b->no_hits);
  b->has_hits = st == ATTNC_OK;
  if (st == ATTNC_ERR_NO_DEVICE)
    cli_note(b->c, "no hits were timed: %s", b->no_hits.message);
  else if (st != ATTNC_OK)
    *e = b->no_hits;
  return st == ATTNC_ERR_NO_DEVICE ? ATTNC_OK : st;
}

int
cmd_bench(Cli *c)
{
  Bench b = {.c = c};
  attnc_error e;
  attnc_status st = measure(&b, &e);
  int code = st == ATTNC_OK ? 0 : cli_error(c, &e);
  if (st == ATTNC_OK && c->json)
    print_json(&b);
  else if (st == ATTNC_OK)
    print_text(&b);
  cli_unload(&b.spec);
  return code;
}
