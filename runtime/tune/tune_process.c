/* The parent's side of the worker process.
 *
 * Speech is one JSON object a line over the socket of process.h.  A greeting (version,
 * spec, sizes, device) is answered by {"ready"} or {"error"}; a request (id, schedule, PTX,
 * repeat) by stages ("load", "launch", "verify", "time") as they begin and a result.  The
 * time limit is per stage.  A request without PTX times again what the worker has
 * loaded. */
#include "runtime/tune/tune.h"

#include "base/clock.h"
#include "base/env.h"
#include "base/err.h"
#include "base/str.h"
#include "schedule/schedule_json.h"

#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_SECONDS = 10 };

/* What a wait is for, as the caller is told. */
typedef struct Wait {
  const char *stage;
  int done, total;
  const Candidate *candidate;
} Wait;

/* ---- the program ---- */

/* Of what the caller does not name. */
static const char *const places[] = {"attnc", "../bin/attnc", "../../bin/attnc"};

/* What to spawn: the caller's argv, or the command's in `own`. */
static attnc_status
worker_argv(const Sweep *s, char path[PATH_MAX], const char *own[3],
            const char *const **argv, attnc_error *e)
{
  const char *chosen = env_get(ENV_TUNE_WORKER);
  *argv = s->options.worker;
  if (*argv)
    return (*argv)[0] ? ATTNC_OK
                      : err_set(e, ATTNC_ERR_USAGE, "attnc_tune: worker is empty");
  if (chosen)
    snprintf(path, PATH_MAX, "%s", chosen);
  else if (!process_beside(places, sizeof places / sizeof *places, path, PATH_MAX))
    return err_set(e, ATTNC_ERR_IO,
                   "attnc_tune: no command attnc beside the library: set "
                   "ATTNC_TUNE_WORKER, or attnc_tune_options.worker");
  own[0] = path;
  own[1] = "tune-worker";
  own[2] = NULL;
  *argv = own;
  return ATTNC_OK;
}

/* ---- the process ---- */

static attnc_status
spawn(Worker *w, attnc_error *e)
{
  char path[PATH_MAX];
  const char *own[3], *const *argv;
  TRY(worker_argv(w->sweep, path, own, &argv, e));
  TRY(process_start(&w->process, argv, -1, "attnc_tune", e));
  w->used = 0;
  w->count++;
  return ATTNC_OK;
}

void
worker_end(Worker *w)
{
  process_end(&w->process, 0);
  free(w->buffer);
  w->buffer = NULL;
  w->used = w->room = 0;
}

/* ---- speech ---- */

static Talk
wait_for(const Worker *w, short events, double until, const Wait *wait)
{
  for (;;) {
    double left = until - clock_seconds();
    if (sweep_poll(w->sweep, wait->stage, wait->done, wait->total, wait->candidate))
      return TALK_STOPPED;
    if (left <= 0)
      return TALK_TIMEOUT;
    Talk talk = process_wait(&w->process, events, left > 0.2 ? 0.2 : left);
    if (talk != TALK_TIMEOUT)
      return talk;
  }
}

static Talk
tell(const Worker *w, json_t *message, const Wait *wait)
{
  char *text = json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17));
  size_t n = text ? strlen(text) : 0, at = 0;
  double until = clock_seconds() + w->sweep->options.timeout;
  Talk talk = text ? TALK_OK : TALK_ENDED;
  json_decref(message);
  if (text)
    text[n++] = '\n'; /* in place of the final 0 */
  while (talk == TALK_OK && at < n) {
    if ((talk = wait_for(w, POLLOUT, until, wait)) != TALK_OK)
      break;
    ssize_t put = process_send(&w->process, text + at, n - at);
    if (put < 0)
      talk = TALK_ENDED;
    else
      at += (size_t)put;
  }
  free(text);
  return talk;
}

static bool
make_room(Worker *w)
{
  if (w->used < w->room)
    return true;
  size_t room = w->room ? w->room * 2 : 4096;
  char *more = realloc(w->buffer, room);
  if (!more)
    return false;
  w->buffer = more;
  w->room = room;
  return true;
}

/* The next line of the worker, within the time limit. */
static Talk
hear(Worker *w, json_t **message, const Wait *wait)
{
  double until = clock_seconds() + w->sweep->options.timeout;
  for (;;) {
    char *end = w->used ? memchr(w->buffer, '\n', w->used) : NULL;
    if (end) {
      size_t n = (size_t)(end + 1 - w->buffer);
      *message = json_loadb(w->buffer, n, 0, NULL);
      memmove(w->buffer, end + 1, w->used - n);
      w->used -= n;
      return *message ? TALK_OK : TALK_ENDED;
    }
    Talk talk = wait_for(w, POLLIN, until, wait);
    if (talk != TALK_OK)
      return talk;
    if (!make_room(w))
      return TALK_ENDED;
    ssize_t got = process_receive(&w->process, w->buffer + w->used, w->room - w->used);
    if (got < 0)
      return TALK_ENDED;
    w->used += (size_t)got;
  }
}

/* Why a worker that stopped speaking did; it is gone afterwards. */
static attnc_status
explain(Worker *w, Talk talk, const char *stage, attnc_error *e)
{
  char how[64];
  bool by_force = talk == TALK_TIMEOUT || talk == TALK_STOPPED;
  int status = process_end(&w->process, by_force ? 0 : LAST_SECONDS);
  if (talk == TALK_STOPPED)
    return err_set(e, ATTNC_ERR_CANCELLED, "%s: stopped by the caller", stage);
  if (talk == TALK_TIMEOUT)
    return err_set(e, ATTNC_ERR_TIMEOUT, "%s: no end within %g s, killed", stage,
                   w->sweep->options.timeout);
  process_how(status, how, sizeof how);
  return err_set(e, ATTNC_ERR_DEVICE, "%s: the worker %s", stage, how);
}

/* ---- the greeting ---- */

static json_t *
greeting(const Sweep *s)
{
  const char *file;
  size_t n;
  char arch[16];
  const char *text = jit_spec_text(s->spec, &n, &file);
  json_t *sizes = json_object();
  for (int i = 0; i < SIZE_COUNT; i++)
    if (size_is_there(&s->copy.sizes, (SizeId)i))
      json_object_set_new(sizes, size_names[i],
                          json_integer(size_get(&s->copy.sizes, (SizeId)i)));
  json_t *j = json_pack("{s:i, s:s%, s:i, s:o, s:s, s:i, s:s, s:I}", "attnc",
                        attnc_version(), "spec", text, n, "op", s->copy.op, "sizes", sizes,
                        "libcuda", s->drv->path, "ordinal", s->device->ordinal, "target",
                        s->t->target, "seed", (json_int_t)s->options.seed);
  if (!j)
    return NULL;
  snprintf(arch, sizeof arch, "sm_%d", s->device->cc);
  json_object_set_new(j, "file", json_string(file));
  if (s->options.seqlens)
    json_object_set_new(j, "seqlens", json_string(s->options.seqlens));
  json_object_set_new(j, "cold", json_boolean(s->options.l2 == ATTNC_TUNE_L2_COLD));
  json_object_set_new(j, "arch", s->drv->emulated ? json_string(arch) : json_null());
  json_object_set_new(j, "candidates", json_integer(s->t->n));
  return j;
}

/* A worker that has the device. */
static attnc_status
ready(Worker *w, const Wait *wait, attnc_error *e)
{
  json_t *answer = NULL;
  if (w->process.pid)
    return ATTNC_OK;
  TRY(spawn(w, e));
  json_t *hello = greeting(w->sweep);
  if (!hello) {
    process_end(&w->process, 0);
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune: the driver's path is not UTF-8");
  }
  Talk talk = tell(w, hello, wait);
  if (talk == TALK_OK)
    talk = hear(w, &answer, wait);
  if (talk != TALK_OK)
    return explain(w, talk, "start", e);
  const char *why = json_string_value(json_object_get(answer, "error"));
  attnc_status status = ATTNC_OK;
  if (why || !json_is_true(json_object_get(answer, "ready"))) {
    int code = (int)json_integer_value(json_object_get(answer, "status"));
    status = err_set(e, code ? (attnc_status)code : ATTNC_ERR_USAGE, "the worker: %s",
                     why ? why : "what it answers is none");
    process_end(&w->process, 0);
  }
  json_decref(answer);
  return status;
}

/* ---- one candidate ---- */

static double
real_of(const json_t *j, const char *key)
{
  return json_number_value(json_object_get(j, key));
}

static void
reject(Candidate *c)
{
  c->told.state = ATTNC_TUNED_REJECTED;
  c->told.reason = c->error.message;
  c->worker = 0;
}

static void
take_result(Candidate *c, const json_t *j)
{
  const char *reason = json_string_value(json_object_get(j, "reason"));
  attnc_tuned *t = &c->told;
  if (json_object_get(j, "max_error")) {
    t->max_error = real_of(j, "max_error");
    t->bound = real_of(j, "bound");
  }
  if (json_object_get(j, "registers")) {
    t->registers = (int)json_integer_value(json_object_get(j, "registers"));
    t->spilled_bytes = (int)json_integer_value(json_object_get(j, "spilled_bytes"));
  }
  if (reason) {
    err_set(&c->error, ATTNC_ERR_CHECK, "%s", reason);
    reject(c);
    return;
  }
  t->state = ATTNC_TUNED_MEASURED;
  t->value = real_of(j, "value");
  t->spread = real_of(j, "spread");
  t->samples = (int)json_integer_value(json_object_get(j, "samples"));
}

static json_t *
request(const Worker *w, const Candidate *c, int samples)
{
  json_t *j = json_pack("{s:i, s:i}", "id", c->id, "repeat", samples);
  if (c->worker == w->count)
    return j;
  json_t *schedule = json_object();
  sched_write_json(schedule, &c->named);
  json_object_set_new(j, "schedule", schedule);
  json_object_set_new(j, "ptx", json_string(c->ptx));
  if (c->fault == FAULT_CRASH)
    json_object_set_new(j, "crash", json_true());
  return j;
}

/* Stages as they begin, until the result. */
static Talk
converse(Worker *w, Candidate *c, int samples, Wait *wait, char stage[32])
{
  json_t *answer;
  Talk talk = tell(w, request(w, c, samples), wait);
  while (talk == TALK_OK && (talk = hear(w, &answer, wait)) == TALK_OK) {
    const char *next = json_string_value(json_object_get(answer, "stage"));
    if (next) {
      snprintf(stage, 32, "%s", next);
      json_decref(answer);
      continue;
    }
    bool ends = json_is_true(json_object_get(answer, "ends"));
    take_result(c, answer);
    json_decref(answer);
    c->worker = ends ? 0 : w->count;
    if (ends)
      process_end(&w->process, LAST_SECONDS);
    break;
  }
  return talk;
}

Measured
worker_measure(Worker *w, Candidate *c, int samples, const char *what, int done, int total,
               attnc_error *e)
{
  char stage[32] = "load";
  Wait wait = {.stage = what, .done = done, .total = total, .candidate = c};
  attnc_status status = ready(w, &wait, e);
  if (status != ATTNC_OK)
    return status == ATTNC_ERR_CANCELLED ? MEASURED_STOPPED : MEASURED_FAILED;
  Talk talk = converse(w, c, samples, &wait, stage);
  if (talk == TALK_OK)
    return MEASURED_OK;
  if (explain(w, talk, stage, &c->error) == ATTNC_ERR_CANCELLED)
    return MEASURED_STOPPED;
  reject(c);
  return MEASURED_OK;
}
