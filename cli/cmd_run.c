/* cmd_run.c: `attnc run`: from a spec to a result on a device, the whole way. */
#include "cli/interrupt.h"
#include "cli/run_forward.h"
#include "cli/run_print.h"
#include "cli/tensor_file.h"

#include "base/err.h"
#include "harness/append.h"
#include "harness/seqlens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct Run {
  Cli *c;
  Device device; /* opened for the first spec that comes so far */
  attnc_context *ctx;
  attnc_schedule want;
  bool pinned;
  int64_t repeat, seed;
  int width; /* of the names of --brief */
  json_t *list;
} Run;

/* Everything that one spec's run holds, released together. */
typedef struct OneRun {
  LoadedSpec spec;
  StFile input;
  Tensors host;
  DeviceTensors device;
  attnc_plan *plan;
  Execution x;
} OneRun;

static attnc_status
input_sizes(const OneRun *o, const char *path, attnc_sizes *z, attnc_error *e)
{
  attnc_error why;
  attnc_status st = tensors_file_sizes(&o->spec.info, &o->input, z, &why);
  return st == ATTNC_OK ? st : err_set(e, st, "%.300s: %s", path, why.message);
}

/* As JSON has numbers; NaN: it is none. */
static double
number_of(const char *text, size_t n)
{
  json_t *j = json_loadb(text, n, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
  double v = json_is_number(j) ? json_number_value(j) : (double)NAN;
  json_decref(j);
  return v;
}

/* "name=x" of --scalar, n bytes of it. */
static attnc_status
take_number(const CallInfo *call, const char *word, size_t n, double *scalars,
            attnc_error *e)
{
  const char *equals = memchr(word, '=', n);
  size_t name = equals ? (size_t)(equals - word) : 0;
  if (!equals)
    return err_set(e, ATTNC_ERR_USAGE, "--scalar: '%.*s': name=number is expected", (int)n,
                   word);
  for (int i = 0; i < CALL_SCALARS; i++) {
    const char *its = call->numbers[i].name;
    if (!its || strlen(its) != name || strncmp(its, word, name) != 0)
      continue;
    scalars[i] = number_of(equals + 1, n - name - 1);
    return !isnan(scalars[i])
               ? ATTNC_OK
               : err_set(e, ATTNC_ERR_USAGE, "--scalar: %s: '%.*s' is no number", its,
                         (int)(n - name - 1), equals + 1);
  }
  return err_set(e, ATTNC_ERR_USAGE, "--scalar: the call has no number %.*s", (int)name,
                 word);
}

static attnc_status
take_numbers(const Run *k, const CallInfo *call, double *scalars, attnc_error *e)
{
  const char *text = k->c->opt.value[OPT_SCALAR];
  for (const char *p = text; p && *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    TRY(take_number(call, p, n, scalars, e));
    p += n;
  }
  for (int i = 0; i < CALL_SCALARS; i++)
    if (call->numbers[i].name && isnan(call->numbers[i].initial) && isnan(scalars[i]))
      return err_set(e, ATTNC_ERR_USAGE, "%s has no value in the spec: --scalar %s=…",
                     call->numbers[i].name, call->numbers[i].name);
  return ATTNC_OK;
}

/* Rows of outputs that a verdict is of. */
static int64_t
all_rows(const Tensors *t)
{
  const attnc_sizes *z = &t->sizes;
  int64_t n = t->call.op == ATTNC_OP_APPEND ? 0 : z->h * seqlens_queries(t);
  if (append_is_in(&t->call))
    n += z->hk * append_count(t);
  if (t->call.op != ATTNC_OP_BWD)
    return n;
  for (int i = ATTNC_DALIBI_SLOPES; i < t->call.n_slots; i++) /* of tables: each is one */
    n += t->call.at[i].t.access == ACCESS_OUT;
  return n + 2 * z->hk * seqlens_keys(t);
}

/* Has an input an axis that is a size of the call? */
static bool
inputs_have_sizes(const CallInfo *call)
{
  bool has = false;
  for (int i = 0; i < call->n_slots; i++) {
    const CallTensor *t = &call->at[i].t;
    for (int j = 0; t->access & ACCESS_IN && j < t->n_axes; j++)
      has = has || !t->axes[j].n;
  }
  return has;
}

static attnc_status
sizes_of(const Run *k, const OneRun *o, attnc_sizes *z, attnc_error *e)
{
  const char *path = k->c->opt.value[OPT_INPUT];
  if (!path || !inputs_have_sizes(&o->spec.info.call))
    return cli_sizes(k->c, &o->spec, z, e);
  if (k->c->opt.value[OPT_SHAPE])
    return err_set(e, ATTNC_ERR_USAGE, "the sizes come from --input: no --shape beside it");
  return input_sizes(o, path, z, e);
}

static attnc_status
make_tensors(const Run *k, OneRun *o, RunResult *r, attnc_error *e)
{
  attnc_sizes z;
  const char *path = k->c->opt.value[OPT_INPUT];
  if (path)
    TRY(st_read(path, &o->input, e));
  TRY(sizes_of(k, o, &z, e));
  Str shape = str_new(k->c->arena);
  problem_print(&z, &shape);
  r->shape = shape.p;
  TRY(tensors_new(&o->spec.info.call, &z, &o->host,
                  e)); /* refuses what 64 bits do not hold */
  TRY(take_numbers(k, &o->host.call, o->host.scalars, e));
  o->host.seqlens = k->c->opt.value[OPT_SEQLENS];
  if (path)
    TRY(tensors_from_file(&o->input, &o->host, e));
  else
    TRY(tensors_random(&o->host, (uint64_t)k->seed, e));
  r->all_rows = all_rows(&o->host);
  tensors_poison(&o->host);
  return ATTNC_OK;
}

static attnc_status
need_device(Run *k, RunResult *r, attnc_error *e)
{
  attnc_options options;
  const Options *o = &k->c->opt;
  if (!k->ctx) {
    TRY(cli_open(k->c, &k->device, &k->ctx, &options, e));
    if (!k->device.emulated && (options_has(o, OPT_STATS) || options_has(o, OPT_PROFILE)))
      cli_note(k->c, "--stats and --profile are the emulator's: a GPU has none");
  }
  r->device = k->device.name;
  r->emulated = k->device.emulated;
  return ATTNC_OK;
}

static attnc_status
make_plan(Run *k, OneRun *o, RunResult *r, attnc_error *e)
{
  Asked asked;
  const attnc_problem *p = &asked.problem;
  cli_problem(&o->spec, &o->host.sizes, &asked);
  cli_assume(k->c, &asked);
  if (k->pinned)
    TRY(attnc_plan_get_with(k->ctx, o->spec.spec, p, &k->want, &o->plan, e));
  else
    TRY(attnc_plan_get(k->ctx, o->spec.spec, p, &o->plan, e));
  r->plan = json_loads(attnc_plan_json(o->plan), 0, NULL);
  const json_t *s = recipe_schedule(r->plan);
  int bm = (int)json_integer_value(json_object_get(s, "block_m"));
  int bn = (int)json_integer_value(json_object_get(s, "block_n"));
  if (bm < 1 || bn < 1 || o->host.call.op != ATTNC_OP_FWD)
    return ATTNC_OK; /* a schedule without tiles has no tile classes */
  r->tiles.size = sizeof r->tiles;
  r->has_tiles = true;
  return attnc_tiles(o->spec.spec, &o->host.sizes, bm, bn, &r->tiles, NULL, 0, e);
}

static attnc_status
launch(const Run *k, OneRun *o, attnc_error *e)
{
  TRY(device_tensors_new(&k->device, &o->host, &o->device, e));
  TRY(device_tensors_upload(&o->device, &o->host, e));
  attnc_args args = device_tensors_args(&o->device, &o->host);
  TRY(execution_new(&k->device, o->plan, &args, &o->x, e));
  if (k->device.emu_reset_stats)
    k->device.emu_reset_stats();
  return execute(&o->x, e);
}

/* Of what each input of the call has in device memory. */
static json_t *
sectors_read(const Run *k, const OneRun *o)
{
  json_t *all = k->device.emu_sectors_read ? json_object() : NULL;
  for (int i = 0; all && i < o->host.call.n_slots; i++) {
    const ShapedTensor *t = &o->host.call.at[i];
    uint64_t n;
    if (o->device.at[i] && t->t.access == ACCESS_IN &&
        !k->device.emu_sectors_read(o->device.at[i], &n))
      json_object_set_new(all, t->t.name, json_integer((json_int_t)n));
  }
  return all;
}

static void
take_emulator(const Run *k, const OneRun *o, RunResult *r)
{
  r->findings = device_findings(&k->device);
  if (options_has(&k->c->opt, OPT_STATS) && k->device.emu_get_stats) {
    r->stats.size = sizeof r->stats;
    k->device.emu_get_stats(&r->stats);
    r->has_stats = true;
    r->sectors_read = sectors_read(k, o);
  }
  if (options_has(&k->c->opt, OPT_PROFILE))
    r->profile = device_profile(&k->device);
}

static attnc_status
take_results(const Run *k, OneRun *o, RunResult *r, attnc_error *e)
{
  TRY(device_tensors_download(&o->device, &o->host, e));
  if (options_has(&k->c->opt, OPT_VERIFY)) {
    TRY(tensors_verify(&o->host, o->spec.spec, &r->verdict, e));
    r->verified = true;
    r->has_lse = o->host.call.at[ATTNC_LSE].t.access == ACCESS_OUT;
  }
  const char *path = k->c->opt.value[OPT_OUTPUT];
  if (path)
    TRY(tensors_to_file(&o->host, path, e));
  if (k->device.emulated)
    return ATTNC_OK;
  TRY(execute_timed(&o->x, 3, (int)k->repeat, false, &r->timing, e));
  r->timed = true;
  return ATTNC_OK;
}

static attnc_status
run_steps(Run *k, OneRun *o, RunResult *r, attnc_error *e)
{
  TRY(cli_load(k->c, r->path, &o->spec, NULL, e));
  r->name = arena_strdup(k->c->arena, o->spec.info.name);
  TRY(make_tensors(k, o, r, e));
  TRY(need_device(k, r, e));
  o->host.forward = forward_is_due(&o->host.call, o->input.arena ? &o->input : NULL);
  if (o->host.forward)
    TRY(forward_ahead(k->c, &k->device, k->ctx, &o->spec, &o->host, e));
  TRY(make_plan(k, o, r, e));
  attnc_status st = launch(k, o, e);
  take_emulator(k, o, r);
  return st == ATTNC_OK && !r->findings ? take_results(k, o, r, e) : st;
}

static int
run_one(Run *k, const char *path)
{
  OneRun o = {0};
  RunResult r = {.path = path, .name = path};
  r.status = run_steps(k, &o, &r, &r.error);
  execution_free(&o.x);
  attnc_plan_release(o.plan);
  device_tensors_free(&o.device);
  tensors_free(&o.host);
  if (o.input.arena)
    st_free(&o.input);
  cli_unload(&o.spec);
  int code = run_exit_code(&r);
  if (k->c->json)
    json_array_append_new(k->list, run_json(&r));
  else if (options_has(&k->c->opt, OPT_BRIEF))
    run_print_brief(k->c, &r, k->width);
  else
    run_print(k->c, &r);
  run_free(&r);
  return code;
}

/* The longest name that a file may be expected to carry: its own, up to the first dot; at
 * least 24, so that the lines of several commands stand in columns. */
static int
names_width(const Options *o)
{
  int width = 24;
  for (int i = 0; i < o->n_args; i++) {
    const char *slash = strrchr(o->args[i], '/');
    int n = (int)strcspn(slash ? slash + 1 : o->args[i], ".");
    width = n > width ? n : width;
  }
  return width;
}

static attnc_status
prepare(Run *k, attnc_error *e)
{
  const Options *o = &k->c->opt;
  int64_t limit;
  TRY(options_int(o, OPT_REPEAT, 20, 1, 100000, &k->repeat, e));
  TRY(options_int(o, OPT_SEED, 1, 0, INT64_MAX, &k->seed, e));
  TRY(options_int(o, OPT_TIMEOUT, 0, 1, 86400, &limit, e));
  TRY(cli_schedule(k->c, &k->want, &k->pinned, e));
  if (o->n_args > 1 && (o->value[OPT_INPUT] || o->value[OPT_OUTPUT]))
    return err_set(e, ATTNC_ERR_USAGE, "--input and --output take one spec");
  if (o->value[OPT_INPUT] && o->value[OPT_SEQLENS])
    return err_set(e, ATTNC_ERR_USAGE, "lengths come from --input: no --seqlens beside it");
  k->width = names_width(o);
  interrupt_after(limit);
  return o->value[OPT_ARCH] ? attnc_target_check(o->value[OPT_ARCH], e) : ATTNC_OK;
}

int
cmd_run(Cli *c)
{
  Run k = {.c = c};
  attnc_error e;
  if (prepare(&k, &e) != ATTNC_OK)
    return cli_error(c, &e);
  k.list = json_array();
  Tally tally = {0};
  for (int i = 0; i < c->opt.n_args; i++)
    tally_add(&tally, run_one(&k, c->opt.args[i]));
  if (c->json)
    cli_json(json_pack("{s:s, s:o}", "schema", "attnc.run/1", "results", k.list));
  else
    json_decref(k.list);
  attnc_context_release(k.ctx);
  device_close(&k.device);
  return tally_code(&tally);
}
