/* attnc_tune_worker: runs what attnc_tune sends, and answers (tune_process.c has the
 * speech).  It may hang or die: that is what the process is for. */
#include "base/err.h"
#include "base/str.h"
#include "harness/execute.h"
#include "harness/seqlens.h"
#include "schedule/schedule_json.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { WARM_UP = 3 };

typedef struct BackgroundTask {
  Arena *arena;
  FILE *in, *out;
  attnc_spec *spec;
  int op;
  attnc_sizes sizes;
  CallInfo call;
  const char *target;
  Device device;
  Tensors host;
  DeviceTensors tensors;
  attnc_plan **plans; /* by id; NULL: not loaded */
  int n_plans;
  bool cold;      /* as execute_timed has it */
  json_t *answer; /* being filled in */
} BackgroundTask;

/* ---- speech ---- */

static void
say(const BackgroundTask *w, json_t *j)
{
  json_dumpf(j, w->out, JSON_COMPACT | JSON_REAL_PRECISION(17));
  fputc('\n', w->out);
  fflush(w->out);
  json_decref(j);
}

static void
say_stage(const BackgroundTask *w, const char *name)
{
  say(w, json_pack("{s:s}", "stage", name));
}

static json_t *
read_line(const BackgroundTask *w)
{
  char *line = NULL;
  size_t room = 0;
  ssize_t n = getline(&line, &room, w->in);
  json_t *j = n > 0 ? json_loadb(line, (size_t)n, 0, NULL) : NULL;
  free(line);
  return j;
}

/* What is printed by anybody else goes where errors go. */
static attnc_status
open_streams(BackgroundTask *w, attnc_error *e)
{
  int in = dup(STDIN_FILENO), out = dup(STDOUT_FILENO);
  w->in = in >= 0 ? fdopen(in, "r") : NULL;
  w->out = out >= 0 ? fdopen(out, "w") : NULL;
  dup2(STDERR_FILENO, STDOUT_FILENO);
  return w->in && w->out ? ATTNC_OK
                         : err_set(e, ATTNC_ERR_IO, "the worker's input and output");
}

/* ---- the greeting ---- */

static const char *
text_of(const BackgroundTask *w, const json_t *j, const char *key)
{
  const char *text = json_string_value(json_object_get(j, key));
  return text ? arena_strdup(w->arena, text) : NULL;
}

static attnc_status
read_spec(BackgroundTask *w, const json_t *hello, attnc_error *e)
{
  const json_t *text = json_object_get(hello, "spec");
  const json_t *sizes = json_object_get(hello, "sizes");
  const char *file = text_of(w, hello, "file");
  if (!json_is_string(text) || !json_is_object(sizes) ||
      json_integer_value(json_object_get(hello, "attnc")) != attnc_version())
    return err_set(e, ATTNC_ERR_USAGE,
                   "a worker is started by attnc tune, of the same version of attnc");
  w->sizes.size = sizeof w->sizes;
  for (int i = 0; i < SIZE_COUNT; i++)
    size_set(&w->sizes, (SizeId)i,
             (int64_t)json_integer_value(json_object_get(sizes, size_names[i])));
  w->op = (int)json_integer_value(json_object_get(hello, "op"));
  w->target = text_of(w, hello, "target");
  attnc_status st = attnc_spec_load(json_string_value(text), json_string_length(text),
                                    file ? file : "spec", &w->spec, NULL);
  if (st != ATTNC_OK)
    return err_set(e, st, "the spec cannot be loaded again");
  return signature_read(w->spec, w->op, w->arena, &w->call, e);
}

static attnc_status
start(BackgroundTask *w, const json_t *hello, attnc_error *e)
{
  TRY(read_spec(w, hello, e));
  const char *lengths = text_of(w, hello, "seqlens");
  const char *path = text_of(w, hello, "libcuda"), *arch = text_of(w, hello, "arch");
  int ordinal = (int)json_integer_value(json_object_get(hello, "ordinal"));
  w->cold = json_is_true(json_object_get(hello, "cold"));
  w->n_plans = (int)json_integer_value(json_object_get(hello, "candidates"));
  w->plans = NEW_N(w->arena, attnc_plan *, w->n_plans);
  /* The driver's cache remembers a compile, not what was said of it. */
  setenv("CUDA_CACHE_DISABLE", "1", 1);
  TRY(device_open_at(&w->device, path ? path : "", arch, ordinal, e));
  if (seqlens_leave_open(&w->call))
    seqlens_sizes(&w->call, lengths, &w->sizes);
  TRY(tensors_new(&w->call, &w->sizes, &w->host, e));
  w->host.seqlens = lengths;
  TRY(tensors_random(&w->host, (uint64_t)json_integer_value(json_object_get(hello, "seed")),
                     e));
  for (int i = 0; i < CALL_SCALARS; i++)
    if (w->call.numbers[i].name && isnan(w->call.numbers[i].initial))
      w->host.scalars[i] = 1; /* any: times do not depend on it */
  return device_tensors_new(&w->device, &w->host, &w->tensors, e);
}

/* ---- a candidate ---- */

/* A context of its own with the PTX instead of a compile, and no cache. */
static attnc_status
load_plan(BackgroundTask *w, const json_t *job, attnc_plan **plan, attnc_error *e)
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
                     .target = w->target,
                     .cc = "0"};
  attnc_problem problem = {.size = sizeof problem,
                           .op = w->op,
                           .device = (int)w->device.ordinal + 1,
                           .sizes = &w->sizes,
                           .tensors = w->host.view,
                           .tensor_size = sizeof *w->host.view,
                           .n_tensors = (uint32_t)w->call.n_slots};
  Schedule named = {.n = 0};
  char options[SCHED_TEXT];
  attnc_context *ctx;
  if (!text.text || !sched_read_json(&named, json_object_get(job, "schedule")))
    return err_set(e, ATTNC_ERR_USAGE, "the request is none");
  attnc_schedule schedule = sched_struct(&named, options);
  TRY(attnc_context_create(&o, &ctx, e));
  attnc_status st = attnc_plan_get_with(ctx, w->spec, &problem, &schedule, plan, e);
  attnc_context_release(ctx);
  return st;
}

/* A kernel whose asynchronous instructions the driver's compiler serialised is no
 * candidate, however fast it is here: another driver may find another way to be slow. */
static attnc_status
judge_plan(const BackgroundTask *w, const attnc_plan *plan, attnc_error *e)
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
launch(BackgroundTask *w, Execution *x, attnc_error *e)
{
  say_stage(w, "launch");
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
verify(BackgroundTask *w, attnc_error *e)
{
  say_stage(w, "verify");
  Verdict v;
  TRY(device_tensors_download(&w->tensors, &w->host, e));
  TRY(tensors_verify(&w->host, w->spec, &v, e));
  json_object_set_new(w->answer, "max_error", json_real(v.of[v.all.slot].max_error));
  json_object_set_new(w->answer, "bound", json_real(v.of[v.all.slot].bound));
  return verdict_error(&v, e);
}

static attnc_status
measure(const BackgroundTask *w, Execution *x, const json_t *job, attnc_error *e)
{
  int samples = (int)json_integer_value(json_object_get(job, "repeat"));
  say_stage(w, "time");
  Timing t = {.n = 1};
  if (w->device.emulated) {
    attncEmuStats stats = {.size = sizeof stats};
    w->device.emu_get_stats(&stats);
    t.median = (double)stats.est_cycles;
  } else {
    TRY(execute_timed(x, WARM_UP, samples > 0 ? samples : 1, w->cold, &t, e));
  }
  json_object_set_new(w->answer, "value", json_real(t.median));
  json_object_set_new(w->answer, "spread", json_real(t.spread));
  json_object_set_new(w->answer, "samples", json_integer(t.n));
  return ATTNC_OK;
}

/* `again`: the result is known to be right. */
static attnc_status
run_steps(BackgroundTask *w, attnc_plan *plan, const json_t *job, bool again,
          attnc_error *e)
{
  Execution x;
  attnc_args args = device_tensors_args(&w->tensors, &w->host);
  if (json_is_true(json_object_get(job, "crash"))) {
    say_stage(w, "launch");
    raise(SIGKILL);
  }
  TRY(execution_new(&w->device, plan, &args, &x, e));
  attnc_status st = ATTNC_OK;
  if (!again || w->device.emulated)
    st = launch(w, &x, e);
  if (st == ATTNC_OK && !again)
    st = verify(w, e);
  if (st == ATTNC_OK)
    st = measure(w, &x, job, e);
  execution_free(&x);
  return st;
}

static attnc_status
run_plan(BackgroundTask *w, const json_t *job, attnc_plan **plan, bool again,
         attnc_error *e)
{
  if (!again) {
    TRY(load_plan(w, job, plan, e));
    TRY(judge_plan(w, *plan, e));
  }
  return run_steps(w, *plan, job, again, e);
}

/* After an error of the device nothing of its context can be trusted: the worker ends, and
 * says so in the answer. */
static bool
run_job(BackgroundTask *w, const json_t *job)
{
  int id = (int)json_integer_value(json_object_get(job, "id"));
  attnc_error e = {0};
  attnc_status st = ATTNC_ERR_USAGE;
  w->answer = json_pack("{s:i}", "id", id);
  if (id >= 0 && id < w->n_plans)
    st = run_plan(w, job, &w->plans[id], w->plans[id] != NULL, &e);
  else
    err_set(&e, st, "the request has no number");
  bool ends = st != ATTNC_OK && st != ATTNC_ERR_CHECK && st != ATTNC_ERR_UNSUPPORTED;
  if (st != ATTNC_OK)
    json_object_set_new(w->answer, "reason", json_string(e.message));
  json_object_set_new(w->answer, "ends", json_boolean(ends));
  say(w, w->answer);
  return !ends;
}

/* ---- the process ---- */

static void
finish(BackgroundTask *w)
{
  for (int i = 0; i < w->n_plans; i++)
    attnc_plan_release(w->plans[i]);
  device_tensors_free(&w->tensors);
  tensors_free(&w->host);
  device_close(&w->device);
  attnc_spec_release(w->spec);
  if (w->in)
    fclose(w->in);
  if (w->out)
    fclose(w->out);
  arena_free(w->arena);
}

static attnc_status
work(BackgroundTask *w, attnc_error *e)
{
  TRY(open_streams(w, e));
  json_t *job, *hello = read_line(w);
  attnc_status st = start(w, hello, e);
  json_decref(hello);
  if (st != ATTNC_OK) {
    say(w, json_pack("{s:s, s:i}", "error", e->message, "status", (int)st));
    return st;
  }
  say(w, json_pack("{s:b}", "ready", 1));
  bool more = true;
  while (more && (job = read_line(w)) != NULL) {
    more = run_job(w, job);
    json_decref(job);
  }
  return ATTNC_OK;
}

attnc_status
attnc_tune_worker(attnc_error *out)
{
  attnc_error e = {0};
  BackgroundTask w = {.arena = arena_new(0)};
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* a hanging kernel does not outlive who waits for it */
  attnc_status st = w.arena ? work(&w, &e) : err_set(&e, ATTNC_ERR_NOMEM, "out of memory");
  finish(&w);
  if (st != ATTNC_OK && out)
    *out = e;
  return st;
}
