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
  const Case *c;
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
  if (!runs(target, s->device.cc)) { /* the context would refuse it: run_case skips */
    snprintf(why, n, "%s is sm_%d, not %s", s->device.name, s->device.cc, target);
    return !s->device.emulator;
  }
  return context(s, NULL, why, n);
}

bool
session_inject(Session *s, const char *ptx, char *why, size_t n)
{
  attnc_context_release(s->context);
  s->context = NULL;
  s->entered =
      (attnc_compile_options){.size = sizeof s->entered, .from = "ptx", .text = ptx};
  return context(s, &s->entered, why, n);
}

char *
case_ptx(const Case *c, char *why, size_t n)
{
  char *text = NULL;
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  Call call;
  CallAsked asked;
  if (call_place(&call, c, &spec, why, n)) {
    call_problem(&call, &asked);
    if (attnc_compile(spec, &asked.problem, c->target, NULL, &k, &e))
      snprintf(why, n, "attnc_compile: %s", e.message);
    else
      text = strdup(attnc_kernel_ptx(k, NULL));
  }
  call_free(&call, NULL);
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
  unsigned seed = r->c->seed;
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
  attnc_error e = {0};
  CallAsked asked;
  if (!call_load(&r->call, r->c, &r->spec, r->why, r->n))
    return false;
  call_problem(&r->call, &asked);
  if (attnc_plan_get(r->s->context, r->spec, &asked.problem, &r->plan, &e))
    return fail(r, "attnc_plan_get: %s", e.message);
  return true;
}

/* As many bytes as the plan asks for, in an allocation of their own. */
static bool
lend_workspace(Run *r)
{
  attnc_args *a = &r->call.device_args;
  size_t bytes = 0;
  CUdeviceptr p = 0;
  if (attnc_plan_workspace(r->plan, a->sizes, &bytes))
    return fail(r, "attnc_plan_workspace");
  size_t zeroed = attnc_plan_zeroed_bytes(r->plan);
  if (bytes && bytes == zeroed && r->c->seed % 3 == 0) /* counters alone: does without */
    return true;
  if (bytes && r->s->device.cuMemAlloc_v2(&p, bytes))
    return fail(r, "no memory for %zu bytes of workspace", bytes);
  if (zeroed && r->s->device.cuMemsetD8_v2(p, 0, zeroed))
    return fail(r, "cuMemsetD8");
  a->workspace = (void *)(uintptr_t)p;
  a->workspace_bytes = bytes;
  return true;
}

static bool
launch(Run *r)
{
  attnc_error e = {0};
  size_t bytes = (attnc_plan_state_bytes(r->plan) + 63) / 64 * 64;
  attnc_launch_state *state = NULL;
  if (r->c->seed % 2 && bytes) { /* with and without kept parameters */
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
  const attnc_output_verdict *worst = &of[v.slot];
  return v.pass ||
         fail(r,
              "wrong: %s is off by %.3g, its bound is %.3g; %lld of %lld rows, "
              "worst b%lld h%lld q%lld",
              slot_names[v.slot], worst->max_error, worst->bound, (long long)v.bad_rows,
              (long long)v.rows, (long long)v.b, (long long)v.h, (long long)v.q);
}

/* ---- the reference against the oracle ---- */

enum { ORACLE_MACS = 2000000 };

/* Dense tensors by slot: inputs as numbers, outputs as the oracle and as the reference have
 * them. */
typedef struct Judge {
  double *x[ATTNC_SLOT_COUNT], *reference[ATTNC_SLOT_COUNT];
  size_t n[ATTNC_SLOT_COUNT];
} Judge;

static uint32_t
bits_of(const void *data, int64_t at, OracleType type)
{
  uint16_t half;
  uint32_t word;
  memcpy(&half, (const char *)data + 2 * at, sizeof half);
  if (type != ORACLE_FP32)
    return half;
  memcpy(&word, (const char *)data + 4 * at, sizeof word);
  return word;
}

/* A strided tensor as dense numbers. */
static void
dense(const Run *r, int slot, double *x)
{
  const attnc_tensor *t = &r->call.host[slot];
  const Shape n = facts_shape(&r->call.facts, &r->c->sizes, slot);
  OracleType type = (OracleType)r->call.facts.tensor[slot].type;
  for (int64_t b = 0; b < n.b; b++)
    for (int64_t h = 0; h < n.h; h++)
      for (int64_t s = 0; s < n.s; s++)
        for (int64_t d = 0; d < n.d; d++)
          *x++ = oracle_decode(
              type,
              bits_of(t->data, b * t->stride[0] + h * t->stride[1] + s * t->stride[2] + d,
                      type));
}

static bool
close_to(Run *r, const Judge *j, int slot)
{
  const double *got = j->reference[slot], *want = j->x[slot];
  for (size_t i = 0; i < j->n[slot]; i++)
    if (!(got[i] == want[i] || fabs(got[i] - want[i]) <= 1e-9 * (1 + fabs(want[i]))))
      return fail(r, "the reference's %s[%zu] is %.12g, the oracle's %.12g",
                  slot_names[slot], i, got[i], want[i]);
  return true;
}

static bool
room(const Run *r, Judge *j)
{
  const attnc_sizes *z = &r->c->sizes;
  size_t rows = (size_t)(z->b * z->h * z->sq);
  bool ok = true;
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++) {
    const Shape x = facts_shape(&r->call.facts, &r->c->sizes, slot);
    j->n[slot] = (size_t)(x.b * x.h * x.s * x.d);
    size_t most = j->n[slot] > rows ? j->n[slot] : rows; /* the oracle has an LSE always */
    j->x[slot] = calloc(most + 1, sizeof(double));
    if (r->call.facts.tensor[slot].output)
      j->reference[slot] = calloc(j->n[slot] + 1, sizeof(double));
    ok = ok && j->x[slot] && (j->reference[slot] || !r->call.facts.tensor[slot].output);
  }
  return ok;
}

static double
scale_of(const Run *r)
{
  double given = r->c->scalars[ATTNC_SOFTMAX_SCALE];
  return isnan(given) ? r->call.facts.scale : given;
}

static void
ask_oracle(const Run *r, Judge *j)
{
  const attnc_sizes *z = &r->c->sizes;
  const Facts *f = &r->call.facts;
  const OracleCase c = {.b = (int)z->b,
                        .h = (int)z->h,
                        .hk = (int)z->hk,
                        .sq = (int)z->sq,
                        .sk = (int)z->sk,
                        .d = f->d,
                        .dv = f->dv,
                        .causal = f->causal,
                        .top_left = f->top_left,
                        .left = f->left,
                        .right = f->right,
                        .scale = scale_of(r)};
  oracle_attention(&c, j->x[ATTNC_Q], j->x[ATTNC_K], j->x[ATTNC_V], j->x[ATTNC_O],
                   j->x[ATTNC_LSE]);
}

static bool
judge(Run *r, Judge *j)
{
  attnc_error e = {0};
  bool ok = true;
  if (!room(r, j))
    return fail(r, "out of memory");
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    if (!r->call.facts.tensor[slot].output && r->call.facts.tensor[slot].present)
      dense(r, slot, j->x[slot]);
  if (attnc_reference(r->spec, ATTNC_OP_FWD, &r->call.host_args, NULL, 0, j->reference,
                      ATTNC_SLOT_COUNT, &e))
    return fail(r, "attnc_reference: %s", e.message);
  ask_oracle(r, j);
  for (int slot = 0; slot < ATTNC_SLOT_COUNT; slot++)
    ok = ok && (!r->call.facts.tensor[slot].output || close_to(r, j, slot));
  return ok;
}

/* The cases that are small enough, and whose masks and scores the oracle knows; the others
 * the reference judges alone, which has its judge in test_ref_mods. */
static bool
oracle(Run *r)
{
  Judge j = {0};
  const Facts *f = &r->call.facts;
  bool ok = !f->plain || facts_macs(f, &r->c->sizes) > ORACLE_MACS || judge(r, &j);
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    free(j.x[i]);
    free(j.reference[i]);
  }
  return ok;
}

/* What a launch has to leave zero. */
static bool
left_zero(Run *r)
{
  unsigned char text[256];
  size_t zeroed = attnc_plan_zeroed_bytes(r->plan);
  CUdeviceptr p = (CUdeviceptr)(uintptr_t)r->call.device_args.workspace;
  if (!p || !zeroed)
    return true;
  if (zeroed > sizeof text || r->s->device.cuMemcpyDtoH_v2(text, p, zeroed))
    return fail(r, "%zu bytes that are to be zero cannot be read", zeroed);
  for (size_t i = 0; i < zeroed; i++)
    if (text[i])
      return fail(r, "byte %zu of the workspace is left at %d, not zero", i, text[i]);
  return true;
}

/* ---- the whole case ---- */

static bool
once(Run *r)
{
  const Device *d = &r->s->device;
  if (!call_upload(&r->call, d, r->why, r->n))
    return false;
  bool ok = lend_workspace(r) && launch(r) && left_zero(r);
  if (r->call.device_args.workspace)
    d->cuMemFree_v2((CUdeviceptr)(uintptr_t)r->call.device_args.workspace);
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
  char name[32];
  case_template(r->c, name, sizeof name);
  if (!r->s->device.emulator || strcmp(name, "fwd_wgmma") != 0)
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
run_case(Session *s, const Case *c, char *why, size_t n)
{
  Run r = {.s = s, .c = c, .why = why, .n = n};
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
