#include "tests/e2e/run.h"
#include "tests/e2e/call.h"

#include "tests/oracle.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Run {
  Session *s;
  const Trial *t;
  Call call;
  attnc_spec *spec;
  attnc_plan *plan;
  char *why;
  size_t n;
} Run;

__attribute__((format(printf, 2, 3))) static bool
fail(Run *r, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->why, r->n, fmt, ap);
  va_end(ap);
  return false;
}

static bool
context(Session *s, const attnc_compile_options *compile, char *why, size_t n)
{
  attnc_error e = {0};
  const attnc_options o = {.size = sizeof o,
                           .libcuda = s->device.path,
                           .cache = 1,
                           .target = s->target,
                           .compile = compile};
  if (attnc_context_create(&o, &s->context, &e)) {
    snprintf(why, n, "attnc_context_create: %s", e.message);
    return false;
  }
  return true;
}

/* sm_80 runs on whatever is newer; sm_90a on sm_90 alone. */
static bool
runs(const char *target, int cc)
{
  char *end;
  long least = strtol(target + 3, &end, 10);
  return *end ? cc == least : cc >= least;
}

bool
session_open(Session *s, const char *lib, const char *target, char *why, size_t n)
{
  char settings[64];
  memset(s, 0, sizeof *s);
  snprintf(settings, sizeof settings, "arch=%.*s", (int)strcspn(target, "a"), target);
  snprintf(s->target, sizeof s->target, "%s", target);
  if (!device_open(&s->device, lib, settings, why, n))
    return false;
  if (!runs(target, s->device.cc)) { /* the context would refuse it: run_trial skips */
    snprintf(why, n, "%s is sm_%d, not %s", s->device.name, s->device.cc, target);
    return !s->device.emulator;
  }
  return context(s, NULL, why, n);
}

bool
session_doctor(Session *s, const char *ptx, char *why, size_t n)
{
  attnc_context_release(s->context);
  s->context = NULL;
  s->entered =
      (attnc_compile_options){.size = sizeof s->entered, .from = "ptx", .text = ptx};
  return context(s, &s->entered, why, n);
}

char *
trial_ptx(const Trial *t, char *why, size_t n)
{
  char yaml[512], *text = NULL;
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  Call shape;
  trial_spec(t, yaml, sizeof yaml);
  if (attnc_spec_load(yaml, strlen(yaml), "trial", &spec, NULL) || !call_build(&shape, t)) {
    snprintf(why, n, "the spec of the case is refused");
    attnc_spec_release(spec);
    return NULL;
  }
  CallAsked asked;
  const attnc_problem *problem = &asked.problem;
  call_problem(&shape, &asked);
  const attnc_schedule schedule = trial_schedule(t);
  call_free(&shape, NULL);
  if (attnc_compile(spec, problem, trial_target(t), &schedule, &k, &e))
    snprintf(why, n, "attnc_compile: %s", e.message);
  else
    text = strdup(attnc_kernel_ptx(k, NULL));
  attnc_kernel_release(k);
  attnc_spec_release(spec);
  return text;
}

void
session_close(Session *s)
{
  attnc_context_release(s->context);
  device_close(&s->device);
}

enum { SETTINGS = 3 }; /* as many as there are policies */

/* How the emulator interleaves warps and when asynchronous copies arrive changes from case
 * to case, and from one launch of it to the next: right kernels do not notice. */
static bool
configure(Run *r, unsigned launch)
{
  static const char *const scheds[] = {"block", "rr", "random"};
  static const char *const asyncs[] = {"lazy", "eager", "random"};
  const Device *d = &r->s->device;
  char text[160], why[200];
  unsigned seed = r->t->seed;
  if (!d->emulator)
    return true;
  snprintf(text, sizeof text, "checks=all,mma=bit,threads=1,sched=%s,async=%s,seed=%u",
           scheds[(seed + launch) % 3], asyncs[(seed / 3 + launch) % 3],
           seed + 1000 * launch);
  return d->configure(text, why, sizeof why) == 0 || fail(r, "%s: %s", text, why);
}

static bool
load(Run *r)
{
  char yaml[512];
  attnc_error e = {0};
  const attnc_schedule schedule = trial_schedule(r->t);
  trial_spec(r->t, yaml, sizeof yaml);
  if (attnc_spec_load(yaml, strlen(yaml), "trial", &r->spec, NULL))
    return fail(r, "the spec of the case is refused");
  if (!call_build(&r->call, r->t))
    return fail(r, "out of memory");
  CallAsked asked;
  const attnc_problem *problem = &asked.problem;
  call_problem(&r->call, &asked);
  if (attnc_plan_get_with(r->s->context, r->spec, problem, &schedule, &r->plan, &e))
    return fail(r, "attnc_plan_get_with: %s", e.message);
  return true;
}

static bool
launch(Run *r)
{
  attnc_error e = {0};
  size_t bytes = (attnc_plan_state_bytes(r->plan) + 63) / 64 * 64;
  attnc_launch_state *state = NULL;
  if (r->t->seed % 2 && bytes) { /* with and without kept parameters */
    state = aligned_alloc(64, bytes);
    if (!state)
      return fail(r, "out of memory");
    memset(state, 0, bytes);
  }
  attnc_status s = attnc_launch(r->plan, &r->call.device_args, NULL, state, &e);
  CUresult c = r->s->device.cuCtxSynchronize();
  free(state);
  if (s)
    return fail(r, "attnc_launch: %s", e.message);
  return c == CUDA_SUCCESS ||
         fail(r, "the launch ends in %s", device_result(&r->s->device, c));
}

static bool
no_findings(Run *r)
{
  char text[2048];
  size_t n = device_findings(&r->s->device, text, sizeof text);
  text[strcspn(text, "\n")] = 0;
  return n == 0 || fail(r, "%zu findings, the first: %s", n, text);
}

static bool
verify(Run *r)
{
  attnc_error e = {0};
  attnc_output_verdict of[ATTNC_SLOT_COUNT];
  attnc_verdict v = {.size = sizeof v,
                     .outputs = of,
                     .output_size = sizeof *of,
                     .n_outputs = ATTNC_SLOT_COUNT};
  if (attnc_verify(r->spec, ATTNC_OP_FWD, &r->call.host_args, &v, &e))
    return fail(r, "attnc_verify: %s", e.message);
  return v.pass || fail(r,
                        "wrong: error %.3g, bound %.3g, lse %.3g, %lld of %lld rows, worst "
                        "b%lld h%lld q%lld",
                        of[ATTNC_O].max_error, of[ATTNC_O].bound, of[ATTNC_LSE].max_error,
                        (long long)v.bad_rows, (long long)v.rows, (long long)v.b,
                        (long long)v.h, (long long)v.q);
}

/* ---- the reference against the oracle ---- */

enum { ORACLE_MACS = 2000000 };

typedef struct Judge {
  double *x[ATTNC_SLOT_COUNT], *o,
      *lse; /* dense; x of q, k, v and the oracle's o and lse */
} Judge;

/* A strided 16-bit tensor as dense numbers. */
static double *
dense(const Run *r, int slot, int heads, int rows, int cols)
{
  const attnc_tensor *t = &r->call.host[slot];
  OracleType type = r->t->dtype == TRIAL_BF16 ? ORACLE_BF16 : ORACLE_FP16;
  size_t n = (size_t)r->t->b * (size_t)heads * (size_t)rows * (size_t)cols, i = 0;
  double *x = malloc(sizeof *x * (n + 1));
  for (int b = 0; x && b < r->t->b; b++)
    for (int h = 0; h < heads; h++)
      for (int s = 0; s < rows; s++)
        for (int d = 0; d < cols; d++)
          x[i++] = oracle_decode(
              type,
              ((const uint16_t *)
                   t->data)[b * t->stride[0] + h * t->stride[1] + s * t->stride[2] + d]);
  return x;
}

static bool
close_to(Run *r, const char *what, const double *got, const double *want, size_t n)
{
  for (size_t i = 0; i < n; i++)
    if (!(got[i] == want[i] || fabs(got[i] - want[i]) <= 1e-9 * (1 + fabs(want[i]))))
      return fail(r, "the reference's %s[%zu] is %.12g, the oracle's %.12g", what, i,
                  got[i], want[i]);
  return true;
}

static bool
judge(Run *r, Judge *j)
{
  const Trial *t = r->t;
  size_t rows = (size_t)t->b * (size_t)t->h * (size_t)t->sq;
  attnc_error e = {0};
  const OracleCase c = {.b = t->b,
                        .h = t->h,
                        .hk = t->hk,
                        .sq = t->sq,
                        .sk = t->sk,
                        .d = t->d,
                        .dv = t->dv,
                        .causal = t->causal,
                        .top_left = t->top_left,
                        .left = t->left,
                        .right = t->right,
                        .scale = t->scale == SCALE_DEFAULT ? 0 : trial_softmax_scale(t)};
  j->x[ATTNC_Q] = dense(r, ATTNC_Q, t->h, t->sq, t->d);
  j->x[ATTNC_K] = dense(r, ATTNC_K, t->hk, t->sk, t->d);
  j->x[ATTNC_V] = dense(r, ATTNC_V, t->hk, t->sk, t->dv);
  j->x[ATTNC_O] = calloc(rows * (size_t)t->dv + 1, sizeof(double));
  j->x[ATTNC_LSE] = calloc(rows + 1, sizeof(double));
  j->o = calloc(rows * (size_t)t->dv + 1, sizeof(double));
  j->lse = calloc(rows + 1, sizeof(double));
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    if (!j->x[i] || !j->o || !j->lse)
      return fail(r, "out of memory");
  double *const outputs[] = {[ATTNC_O] = j->o, [ATTNC_LSE] = j->lse};
  if (attnc_reference(r->spec, ATTNC_OP_FWD, &r->call.host_args, NULL, 0, outputs,
                      ATTNC_LSE + 1, &e))
    return fail(r, "attnc_reference: %s", e.message);
  oracle_attention(&c, j->x[ATTNC_Q], j->x[ATTNC_K], j->x[ATTNC_V], j->x[ATTNC_O],
                   j->x[ATTNC_LSE]);
  return close_to(r, "o", j->o, j->x[ATTNC_O], rows * (size_t)t->dv) &&
         close_to(r, "lse", j->lse, j->x[ATTNC_LSE], rows);
}

/* The cases that are small enough; the others the reference judges alone. */
static bool
oracle(Run *r)
{
  Judge j = {0};
  bool ok = trial_macs(r->t) > ORACLE_MACS || judge(r, &j);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++)
    free(j.x[i]);
  free(j.o);
  free(j.lse);
  return ok;
}

/* ---- the whole case ---- */

static bool
once(Run *r)
{
  const Device *d = &r->s->device;
  if (!call_upload(&r->call, d, r->why, r->n))
    return false;
  bool ok = launch(r);
  if (!no_findings(r)) /* they say more than the launch's result */
    return false;
  return ok && call_download(&r->call, d, r->why, r->n) &&
         call_intact(&r->call, r->why, r->n);
}

/* Every buffer as it is now, one after the other; malloc'd. */
static unsigned char *
results(const Run *r, size_t *n)
{
  const Call *c = &r->call;
  unsigned char *all, *p;
  *n = 0;
  for (int i = 0; i < c->n_buffers; i++)
    *n += c->buffers[i].bytes;
  all = p = malloc(*n + 1);
  for (int i = 0; all && i < c->n_buffers; i++) {
    memcpy(p, c->buffers[i].host, c->buffers[i].bytes);
    p += c->buffers[i].bytes;
  }
  return all;
}

/* Asynchronous templates under the other policies and orders too: the same bits. */
static bool
again(Run *r)
{
  bool ok = true;
  size_t n = 0;
  if (!r->s->device.emulator || r->t->template_id != TRIAL_FWD_WGMMA)
    return true;
  unsigned char *first = results(r, &n);
  for (unsigned i = 1; ok && i < SETTINGS; i++) {
    ok = first && configure(r, i) && once(r);
    unsigned char *now = ok ? results(r, &n) : NULL;
    if (now && memcmp(now, first, n))
      ok = fail(r, "other bits under setting %u", i);
    free(now);
  }
  free(first);
  return ok;
}

static bool
steps(Run *r)
{
  return configure(r, 0) && load(r) && once(r) && verify(r) && oracle(r) && again(r);
}

Outcome
run_trial(Session *s, const Trial *t, char *why, size_t n)
{
  Run r = {.s = s, .t = t, .why = why, .n = n};
  if (!s->context) {
    snprintf(why, n, "%s is sm_%d", s->device.name, s->device.cc);
    return RUN_SKIP;
  }
  bool ok = steps(&r);
  bool broken = !ok && s->device.cuCtxSynchronize() != CUDA_SUCCESS;
  attnc_plan_release(r.plan);
  attnc_spec_release(r.spec);
  call_free(&r.call, &s->device);
  return ok ? RUN_PASS : broken ? RUN_BROKEN : RUN_FAIL;
}
