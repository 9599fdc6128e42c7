/* attnc_plan_get, walked: the request is resolved to a key (jit.c), the plan looked for in
 * memory, its kernel got (kernel.h), loaded.
 *
 * Two single flights, one inside the other: a plan is loaded once a device, and its kernel
 * made once for all devices that share it. */
#include "base/call.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "schedule/schedule.h"
#include "base/str.h"
#include "runtime/cubin.h"
#include "runtime/kernel.h"
#include "runtime/ptxas_notes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PTX = 256 << 20 };

/* A request with all that it points to. */
typedef struct Request {
  attnc_context *ctx;
  const attnc_spec *spec;
  ProblemCopy problem;
  Schedule want; /* a call without one asks for nothing */
} Request;

/* ---- the request ---- */

static attnc_status
request_fill(Request *r, attnc_context *ctx, const attnc_spec *spec, const attnc_problem *p,
             const attnc_schedule *want, attnc_error *e)
{
  memset(r, 0, sizeof *r);
  if (!ctx || !spec)
    return err_set(e, ATTNC_ERR_USAGE, "the context or the spec is NULL");
  if ((int)getpid() != ctx->pid)
    return err_set(e, ATTNC_ERR_USAGE,
                   "the context was made before a fork; a child makes "
                   "its own");
  r->ctx = ctx;
  r->spec = spec;
  TRY(jit_problem(spec, p, &r->problem, e));
  return want ? sched_read(&r->want, want, e) : ATTNC_OK;
}

/* The driver, the device and its table. */
static attnc_status
ask_device(const Request *r, JitRequest *a, attnc_error *e)
{
  TRY(context_driver(r->ctx, &a->drv, e));
  TRY(drv_device(a->drv, r->problem.device - 1, &a->device, e));
  a->tune = r->ctx->table;
  return ATTNC_OK;
}

/* What jit.c is asked; points into the request. */
static void
ask_fill(Request *r, JitRequest *a)
{
  attnc_context *c = r->ctx;
  *a = (JitRequest){.spec = r->spec,
                    .problem = &r->problem,
                    .want = &r->want,
                    .target = c->target,
                    .compile = c->compile,
                    .log = c->log,
                    .log_user = c->log_user,
                    .dump_dir = c->dump_dir};
}

/* ---- the plan ---- */

/* ATTNC_LOAD_PTX: the text of that file, which the caller frees; else *text is NULL. */
static attnc_status
edited_ptx(const attnc_context *c, char **text, attnc_error *e)
{
  size_t n;
  *text = NULL;
  return c->load_ptx ? file_read(c->load_ptx, MAX_PTX, text, &n, e) : ATTNC_OK;
}

static attnc_status
load(attnc_context *c, const JitRequest *a, const JitResolved *answer, const Found *found,
     double start, attnc_plan **out, attnc_error *e)
{
  char *edited;
  TRY(edited_ptx(c, &edited, e));
  SpecDefaults defaults = jit_spec_defaults(a->spec);
  PlanText text = {.ptx = edited ? edited : found->entry->ptx,
                   .what = edited ? c->load_ptx : NULL,
                   .json = found->entry->json,
                   .json_n = found->entry->json_n,
                   .defaults = &defaults,
                   .source = answer->source,
                   .layer = found->layer,
                   .note = edited ? "the PTX is that of ATTNC_LOAD_PTX" : NULL,
                   .compile = found->compile,
                   .lookup = clock_seconds() - start - found->compile};
  Cubin cubin;
  cubin_start(&cubin, c, text.ptx);
  text.trace = c->trace;
  text.launches = c->launches;
  if (!edited && c->n_assemblers)
    text.made = &cubin.plan;
  double loading = clock_seconds();
  attnc_status status = plan_load(a->drv, a->device, &text, out, e);
  cubin_end(&cubin);
  trace_span(c->trace, "load", attnc_spec_name(a->spec), answer->target, loading);
  stats_since(&c->stats, load_us, loading);
  if (status == ATTNC_OK)
    stats_add(&c->stats, loads, 1);
  else
    stats_add(&c->stats, load_errors, 1);
  if (status == ATTNC_OK)
    status = ptxas_notes_settle(c, text.ptx, *out, e);
  if (status != ATTNC_OK) {
    attnc_plan_release(*out);
    *out = NULL;
  }
  free(edited);
  return status;
}

static attnc_status
make_plan(attnc_context *c, const JitRequest *a, const JitResolved *answer, double start,
          attnc_plan **out, attnc_error *e)
{
  Found found = {0};
  TRY(kernel_get(c, a, answer, &found, e));
  attnc_status status = load(c, a, answer, &found, start, out, e);
  entry_release(found.entry);
  return status;
}

/* A plan is the kernel on a device with what the spec says beside it; where its schedule
 * came from is told in its JSON, so that it is another plan when that changes. */
static FlightKey
plan_key(const JitRequest *a, const JitResolved *answer)
{
  FlightKey key;
  Sha256 s;
  SpecDefaults defaults = jit_spec_defaults(a->spec);
  sha256_start(&s);
  sha256_field(&s, "key", answer->key, sizeof answer->key);
  sha256_field(&s, "device", &a->device->ordinal, sizeof a->device->ordinal);
  sha256_field(&s, "source", answer->source, strlen(answer->source));
  spec_defaults_hash(&defaults, &s);
  sha256_end(&s, key.bytes);
  return key;
}

static attnc_status
hit(attnc_context *c, void *value, attnc_plan **out)
{
  stats_add(&c->stats, plan_hits, 1);
  *out = value;
  context_log(c, 3, "hit: %s for %s is loaded on device %d", (*out)->recipe->name,
              (*out)->recipe->target, (*out)->device.ordinal);
  return ATTNC_OK;
}

/* Waits for whatever has to be done. */
static attnc_status
get_now(attnc_context *c, const JitRequest *a, const JitResolved *answer, double start,
        attnc_plan **out, attnc_error *e)
{
  FlightKey key = plan_key(a, answer);
  void *value = NULL;
  FlightTurn turn = flight_begin(c->plans, &key, &value, e);
  if (turn == FLIGHT_FAILED)
    return e->status;
  if (turn == FLIGHT_HIT)
    return hit(c, value, out);
  attnc_status status = make_plan(c, a, answer, start, out, e);
  e->status = status;
  flight_end(c->plans, &key, status == ATTNC_OK ? *out : NULL, e);
  return status;
}

/* ---- the memo ---- */

/* Up to the last tensor of which something is given. */
static size_t
given_tensors(const ProblemCopy *p)
{
  static const attnc_tensor none;
  size_t n = CALL_SLOTS;
  while (n > 0 && !memcmp(&p->tensors[n - 1], &none, sizeof none))
    n--;
  return n;
}

/* Everything that jit_resolve looks at. */
static FlightKey
request_key(const JitRequest *a)
{
  FlightKey key;
  Sha256 s;
  const ProblemCopy *p = a->problem;
  const Schedule *w = a->want;
  const char *spec = jit_spec_hash(a->spec); /* a text of kilobytes would be most of it */
  const int numbers[] = {a->device->ordinal, p->op};
  const int64_t means[] = {p->mean_q, p->mean_k};
  int64_t stamp = a->tune ? tune_stamp(a->tune) : 0;
  sha256_start(&s);
  sha256_field(&s, "spec", spec, strlen(spec));
  sha256_field(&s, "want", w, offsetof(Schedule, at) + (size_t)w->n * sizeof w->at[0]);
  sha256_field(&s, "sizes", &p->sizes, sizeof p->sizes);
  sha256_field(&s, "means", means, sizeof means);
  sha256_field(&s, "tensors", p->tensors, given_tensors(p) * sizeof *p->tensors);
  sha256_field(&s, "numbers", numbers, sizeof numbers);
  sha256_field(&s, "tuned", &stamp, sizeof stamp);
  sha256_end(&s, key.bytes);
  return key;
}

/* The plan that this request came to before, if it is still held. */
static bool
recall(attnc_context *c, const FlightKey *request, attnc_plan **out)
{
  FlightKey plan;
  void *value;
  if (!memo_find(c->memo, request, &plan) ||
      flight_peek(c->plans, &plan, &value) != FLIGHT_HIT)
    return false;
  return hit(c, value, out) == ATTNC_OK;
}

/* ---- in the background ---- */

static attnc_status resolve_and_get(Request *, double start, attnc_plan **, attnc_error *);

static attnc_status
behind_run(void *user, attnc_error *e)
{
  attnc_plan *plan = NULL;
  attnc_status status = resolve_and_get(user, clock_seconds(), &plan, e);
  attnc_plan_release(plan); /* the table has its own */
  return status;
}

static void
behind_drop(void *user)
{
  Request *r = user;
  attnc_spec_release((attnc_spec *)r->spec);
  free(r);
}

static attnc_status
start_behind(const Request *r, const JitRequest *a, const FlightKey *key, attnc_error *e)
{
  Request *own = malloc(sizeof *own);
  if (!own)
    return err_set(e, ATTNC_ERR_NOMEM, "attnc_plan_get: out of memory");
  *own = *r;
  own->problem.flags &= ~ATTNC_NOWAIT;
  own->problem.stream = NULL;                   /* the thread is of no stream */
  own->problem.device = a->device->ordinal + 1; /* the thread has no current context */
  jit_spec_retain(own->spec);
  return background_start(
      r->ctx->background, key,
      (BackgroundTask){.run = behind_run, .drop = behind_drop, .user = own}, e);
}

static attnc_status
get_background(const Request *r, const JitRequest *a, const JitResolved *answer,
               attnc_plan **out, attnc_error *e)
{
  FlightKey key = plan_key(a, answer);
  void *value;
  if (flight_peek(r->ctx->plans, &key, &value) == FLIGHT_HIT)
    return hit(r->ctx, value, out);
  switch (background_poll(r->ctx->background, &key, e)) {
  case BACKGROUND_FAILED:
    return e->status;
  case BACKGROUND_IDLE:
    TRY(start_behind(r, a, &key, e));
    break;
  case BACKGROUND_PENDING:
    break;
  }
  return err_set(e, ATTNC_ERR_PENDING, "%s is being compiled", attnc_spec_name(r->spec));
}

/* ---- while a stream is captured ---- */

/* The default stream cannot be. */
static attnc_status
capturing(const Request *r, const Driver *d, bool *out, attnc_error *e)
{
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  CUstream stream = r->problem.stream;
  enum { LEGACY = 1 }; /* CU_STREAM_LEGACY */
  if (stream && (uintptr_t)stream != LEGACY && d->cuStreamIsCapturing)
    TRY(DRV(d, e, cuStreamIsCapturing, stream, &status));
  *out = status != CU_STREAM_CAPTURE_STATUS_NONE;
  return ATTNC_OK;
}

/* Only what is loaded already. */
static attnc_status
get_loaded(const Request *r, const JitRequest *a, const JitResolved *answer,
           attnc_plan **out, attnc_error *e)
{
  FlightKey key = plan_key(a, answer);
  void *value;
  if (flight_peek(r->ctx->plans, &key, &value) == FLIGHT_HIT)
    return hit(r->ctx, value, out);
  stats_add(&r->ctx->stats, not_prepared, 1);
  return err_set(e, ATTNC_ERR_NOT_PREPARED,
                 "%s is not loaded, and the stream is being captured: attnc_prepare, with "
                 "the same problem, before the capture begins",
                 attnc_spec_name(r->spec));
}

/* ---- the public face ---- */

static attnc_status
resolve_and_get(Request *r, double start, attnc_plan **out, attnc_error *e)
{
  JitRequest ask;
  JitResolved answer;
  ask_fill(r, &ask);
  TRY(ask_device(r, &ask, e));
  FlightKey request = request_key(&ask);
  if (recall(r->ctx, &request, out))
    return ATTNC_OK;
  TRY(jit_resolve(&ask, &answer, e));
  bool captured;
  attnc_status status = capturing(r, ask.drv, &captured, e);
  if (status == ATTNC_OK)
    status = captured ? get_loaded(r, &ask, &answer, out, e)
             : r->problem.flags & ATTNC_NOWAIT
                 ? get_background(r, &ask, &answer, out, e)
                 : get_now(r->ctx, &ask, &answer, start, out, e);
  if (status == ATTNC_OK) {
    FlightKey plan = plan_key(&ask, &answer);
    memo_put(r->ctx->memo, &request, &plan);
  }
  jit_resolved_free(&answer);
  return status;
}

attnc_status
attnc_plan_get_with(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
                    const attnc_schedule *want, attnc_plan **out, attnc_error *e)
{
  double start = clock_seconds();
  attnc_error error = {0}; /* flights keep the reason for others, whoever asked */
  Request r;
  if (!out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_plan_get: out is NULL");
  *out = NULL;
  attnc_status status = request_fill(&r, c, spec, problem, want, &error);
  if (status == ATTNC_OK)
    status = resolve_and_get(&r, start, out, &error);
  if (status != ATTNC_OK && e)
    *e = error;
  return status;
}

attnc_status
attnc_plan_get(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
               attnc_plan **out, attnc_error *e)
{
  return attnc_plan_get_with(c, spec, problem, NULL, out, e);
}

attnc_status
attnc_prepare(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
              const attnc_schedule *want, attnc_error *e)
{
  bool kept = false;
  while (!kept) { /* others may have asked for so many since that it was dropped */
    attnc_plan *plan;
    TRY(attnc_plan_get_with(c, spec, problem, want, &plan, e));
    kept = flight_keep(c->plans, plan);
    attnc_plan_release(plan);
  }
  return ATTNC_OK;
}

/* A key needs no device where the context has a target: one that is absent, or of another
 * kind, is left out, and with it what was tuned on it. */
static attnc_status
ask_device_if_any(const Request *r, JitRequest *a, attnc_error *e)
{
  attnc_error error = {0};
  if (r->ctx->elsewhere) {
    a->drv = r->ctx->elsewhere_drv;
    a->device = r->ctx->elsewhere;
    a->tune = r->ctx->table;
    return ATTNC_OK;
  }
  attnc_status status = ask_device(r, a, &error);
  if (r->ctx->target && (status == ATTNC_ERR_NO_DEVICE ||
                         (status == ATTNC_OK && !jit_runs_on(r->ctx->target, a->device)))) {
    a->drv = NULL;
    a->device = NULL;
    a->tune = NULL;
    return ATTNC_OK;
  }
  if (status != ATTNC_OK && e)
    *e = error;
  return status;
}

attnc_status
attnc_key_explain(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
                  const attnc_schedule *want, char **json, attnc_error *e)
{
  Request r;
  JitRequest ask;
  JitResolved answer;
  if (!json)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_key_explain: json is NULL");
  *json = NULL;
  TRY(request_fill(&r, c, spec, problem, want, e));
  ask_fill(&r, &ask);
  TRY(ask_device_if_any(&r, &ask, e));
  TRY(jit_resolve(&ask, &answer, e));
  attnc_status status = key_json(&answer.fields, &answer.schedule, answer.source,
                                 jit_lengths(&ask, &answer), json, e);
  jit_resolved_free(&answer);
  return status;
}

attnc_status
attnc_tune_record(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
                  const attnc_schedule *schedule, double value, const char *unit,
                  attnc_error *e)
{
  Request r;
  JitRequest ask;
  TRY(request_fill(&r, c, spec, problem, schedule, e));
  if (!problem || !schedule || !schedule->template_name || !unit)
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_tune_record: problem, schedule or unit is "
                   "missing");
  TRY(jit_check(&r.want, e));
  ask_fill(&r, &ask);
  TRY(ask_device(&r, &ask, e));
  TuneProblem p = jit_tune_problem(spec, &r.problem, ask.drv, ask.device);
  TuneMeasure measure = {.value = value, .unit = unit, .level = ATTNC_TUNE_MEASURE};
  return tune_record(ask.tune, &p, &r.want, &measure, e);
}
