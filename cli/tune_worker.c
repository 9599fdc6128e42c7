/* tune_worker.c: the hidden command `tune-worker`: runs what `attnc tune` tells it on
 * stdin, one JSON object a line, and answers on stdout.  It may hang or die: that is what
 * it is for. */
#include "cli/tune.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEPT = 1024 };

typedef struct Work {
  Cli *c;
  attnc_spec *spec;
  LoadedSpec loaded;
  attnc_sizes sizes;
  const char *target; /* NULL: the device's best */
  Device device;
  Tensors host;
  DeviceTensors tensors;
  int repeat;
  attnc_plan *plans[MAX_KEPT];
  json_t *answer; /* being filled in */
} Work;

static void
say(json_t *j)
{
  json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
  putchar('\n');
  fflush(stdout);
  json_decref(j);
}

static void
say_stage(const char *name)
{
  say(json_pack("{s:s}", "stage", name));
}

static json_t *
read_line(void)
{
  char *line = NULL;
  size_t room = 0;
  ssize_t n = getline(&line, &room, stdin);
  json_t *j = n > 0 ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
  free(line);
  return j;
}

/* ---- the greeting ---- */

static attnc_status
read_spec(Work *w, const json_t *hello, attnc_error *e)
{
  const json_t *text = json_object_get(hello, "spec"), *z = json_object_get(hello, "sizes");
  const char *name = json_string_value(json_object_get(hello, "name"));
  int64_t v[5];
  if (!text || !name || json_array_size(z) != 5)
    return err_set(e, ATTNC_ERR_USAGE, "tune-worker is started by attnc tune");
  for (size_t i = 0; i < 5; i++)
    v[i] = json_integer_value(json_array_get(z, i));
  w->sizes = (attnc_sizes){sizeof w->sizes, v[0], v[1], v[2], v[3], v[4]};
  w->repeat = (int)json_integer_value(json_object_get(hello, "repeat"));
  if (json_is_true(json_object_get(hello, "arch")))
    w->target =
        arena_strdup(w->c->arena, json_string_value(json_object_get(hello, "target")));
  return cli_load_text(w->c, name, json_string_value(text), json_string_length(text),
                       &w->loaded, NULL, e);
}

static attnc_status
start(Work *w, const json_t *hello, attnc_error *e)
{
  TRY(read_spec(w, hello, e));
  w->spec = w->loaded.spec;
  /* The driver's cache remembers a compile, not what was said of it. */
  setenv("CUDA_CACHE_DISABLE", "1", 1);
  TRY(device_open(&w->device, json_string_value(json_object_get(hello, "device")),
                  w->target, e));
  TRY(tensors_new(&w->loaded.info, &w->sizes, &w->host, e));
  tensors_random(&w->host, (uint64_t)json_integer_value(json_object_get(hello, "seed")));
  return device_tensors_new(&w->device, &w->host, &w->tensors, e);
}

/* ---- a candidate ---- */

/* A context of its own with the PTX instead of a compile, and no cache. */
static attnc_status
load_plan(Work *w, const json_t *job, attnc_plan **plan, attnc_error *e)
{
  attnc_compile_options text = {
      .size = sizeof text,
      .from = "ptx",
      .text = json_string_value(json_object_get(job, "ptx")),
  };
  attnc_options o = {.size = sizeof o,
                     .libcuda = w->device.path,
                     .cache = 1,
                     .compile = &text,
                     .target = w->target};
  attnc_schedule s;
  attnc_context *ctx;
  schedule_read(json_object_get(job, "schedule"), w->c->arena, &s);
  Asked asked;
  cli_problem(&w->loaded, &w->sizes, &asked);
  TRY(attnc_context_create(&o, &ctx, e));
  attnc_status st = attnc_plan_get_with(ctx, w->spec, &asked.problem, &s, plan, e);
  attnc_context_release(ctx);
  return st;
}

/* A kernel whose asynchronous instructions the driver's compiler serialised is no
 * candidate, however fast it is here: another driver may find another way to be slow. */
static attnc_status
judge_plan(Work *w, const attnc_plan *plan, attnc_error *e)
{
  json_t *j = json_loads(attnc_plan_json(plan), 0, NULL);
  const char *why = json_string_value(json_array_get(json_object_get(j, "diagnostics"), 0));
  attnc_status st = why ? err_set(e, ATTNC_ERR_CHECK, "%s", why) : ATTNC_OK;
  json_object_set(w->answer, "registers", json_object_get(j, "registers"));
  json_object_set(w->answer, "spilled_bytes", json_object_get(j, "spilled_bytes"));
  json_decref(j);
  return st;
}

static attnc_status
launch(Work *w, Execution *x, attnc_error *e)
{
  say_stage("launch");
  tensors_poison(&w->host);
  TRY(device_tensors_upload(&w->tensors, &w->host, e));
  if (w->device.emu_reset_stats)
    w->device.emu_reset_stats();
  attnc_status st = execute(x, e);
  char *findings = device_findings(&w->device);
  if (findings)
    st = err_set(e, ATTNC_ERR_CHECK, "finding: %.*s", (int)strcspn(findings, "\n"),
                 findings);
  free(findings);
  return st;
}

static attnc_status
verify(Work *w, attnc_error *e)
{
  say_stage("verify");
  Verdict v;
  TRY(device_tensors_download(&w->tensors, &w->host, e));
  TRY(tensors_verify(&w->host, w->spec, &v, e));
  json_object_set_new(w->answer, "max_error", json_real(v.of[ATTNC_O].max_error));
  json_object_set_new(w->answer, "bound", json_real(v.of[ATTNC_O].bound));
  return verdict_error(&v, e);
}

static attnc_status
measure(Work *w, Execution *x, attnc_error *e)
{
  say_stage("time");
  if (w->device.emulated) {
    attncEmuStats stats = {.size = sizeof stats};
    w->device.emu_get_stats(&stats);
    json_object_set_new(w->answer, "value", json_real((double)stats.est_cycles));
    return ATTNC_OK;
  }
  Timing t;
  TRY(execute_timed(x, 3, w->repeat, &t, e));
  json_object_set_new(w->answer, "value", json_real(t.median));
  json_object_set_new(w->answer, "spread", json_real(t.spread));
  return ATTNC_OK;
}

static attnc_status
run_steps(Work *w, attnc_plan *plan, attnc_error *e)
{
  Execution x;
  attnc_args args = device_tensors_args(&w->tensors, &w->host);
  TRY(execution_new(&w->device, plan, &args, &x, e));
  attnc_status st = launch(w, &x, e);
  if (st == ATTNC_OK)
    st = verify(w, e);
  if (st == ATTNC_OK)
    st = measure(w, &x, e);
  execution_free(&x);
  return st;
}

/* After an error of the device nothing of its context can be trusted: the worker ends, and
 * says so, after the answer. */
static bool
run_job(Work *w, const json_t *job)
{
  int id = (int)json_integer_value(json_object_get(job, "id"));
  attnc_error e = {0};
  attnc_plan *plan = NULL;
  w->answer = json_pack("{s:i}", "id", id);
  attnc_status st = load_plan(w, job, &plan, &e);
  if (st == ATTNC_OK)
    st = judge_plan(w, plan, &e);
  if (st == ATTNC_OK)
    st = run_steps(w, plan, &e);
  bool ends = st != ATTNC_OK && st != ATTNC_ERR_CHECK && st != ATTNC_ERR_UNSUPPORTED;
  if (st != ATTNC_OK)
    json_object_set_new(w->answer, "reason", json_string(e.message));
  json_object_set_new(w->answer, "ends", json_boolean(ends));
  say(w->answer);
  if (st == ATTNC_OK && id >= 0 && id < MAX_KEPT && !w->plans[id])
    w->plans[id] = plan;
  else
    attnc_plan_release(plan);
  return !ends;
}

static void
run_again(Work *w, const json_t *job)
{
  int id = (int)json_integer_value(json_object_get(job, "id"));
  attnc_plan *plan = id >= 0 && id < MAX_KEPT ? w->plans[id] : NULL;
  attnc_args args = device_tensors_args(&w->tensors, &w->host);
  attnc_error e;
  Execution x = {0};
  Timing t = {0};
  bool ok = plan && execution_new(&w->device, plan, &args, &x, &e) == ATTNC_OK &&
            execute_timed(&x, 1, w->repeat, &t, &e) == ATTNC_OK;
  execution_free(&x);
  say(ok ? json_pack("{s:i, s:f}", "id", id, "value", t.median)
         : json_pack("{s:i}", "id", id));
}

static void
finish(Work *w)
{
  for (int i = 0; i < MAX_KEPT; i++)
    attnc_plan_release(w->plans[i]);
  device_tensors_free(&w->tensors);
  tensors_free(&w->host);
  device_close(&w->device);
  cli_unload(&w->loaded);
}

int
cmd_tune_worker(Cli *c)
{
  Work *w = NEW(c->arena, Work);
  attnc_error e;
  w->c = c;
  c->quiet = true;
  json_t *hello = read_line(), *job;
  attnc_status st = start(w, hello, &e);
  json_decref(hello);
  bool more = st == ATTNC_OK;
  int code = more ? 0 : cli_error(c, &e);
  while (more && (job = read_line()) != NULL) {
    if (json_is_true(json_object_get(job, "again")))
      run_again(w, job);
    else
      more = run_job(w, job);
    json_decref(job);
  }
  finish(w);
  return code;
}
