/* attnc_tune, walked: the request, the candidates, compiling, measuring, the record. */
#include "runtime/tune/tune.h"

#include "base/call.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "harness/seqlens.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_JOBS = 64, DEFAULT_REPEAT = 20, DEFAULT_TIMEOUT = 60 };

/* ---- how far ---- */

double
sweep_seconds(const Sweep *s)
{
  return clock_seconds() - s->start;
}

bool
sweep_is_late(const Sweep *s)
{
  return s->options.budget > 0 && sweep_seconds(s) > s->options.budget;
}

bool
sweep_poll(Sweep *s, const char *stage, int done, int total, const Candidate *c)
{
  attnc_tune_progress p = {.size = sizeof p,
                           .stage = stage,
                           .done = done,
                           .total = total,
                           .seconds = sweep_seconds(s),
                           .schedule = c ? &c->schedule : NULL};
  if (!s->stopped && s->options.progress && s->options.progress(s->options.user, &p))
    s->stopped = true;
  return s->stopped;
}

/* ---- the request ---- */

static attnc_status
check_numbers(const attnc_tune_options *o, attnc_error *e)
{
  if (o->level < 0 || o->level >= ATTNC_TUNE_LEVEL_COUNT)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune_options.level: %d is none", o->level);
  if (o->top < 0 || o->jobs < 0 || o->repeat < 0)
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_tune_options: top, jobs or repeat is negative");
  if (o->shards < 0 || o->shard < 0 || o->shard >= (o->shards ? o->shards : 1))
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune_options: there is no shard %d of %d",
                   o->shard, o->shards);
  if (o->l2 != ATTNC_TUNE_L2_WARM && o->l2 != ATTNC_TUNE_L2_COLD)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune_options.l2: %d is none", o->l2);
  if (!(o->timeout >= 0) || !(o->budget >= 0))
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_tune_options: timeout or budget is negative or no number");
  return ATTNC_OK;
}

static attnc_status
take_options(Sweep *s, const attnc_tune_options *from, attnc_error *e)
{
  attnc_tune_options *o = &s->options;
  long processors = sysconf(_SC_NPROCESSORS_ONLN);
  *o = (attnc_tune_options){.size = sizeof *o};
  if (from)
    TRY(struct_take(o, sizeof *o, from, SIZE_UPTO(attnc_tune_options, inject),
                    "attnc_tune_options", e));
  TRY(check_numbers(o, e));
  o->level = o->level ? o->level : ATTNC_TUNE_MEASURE;
  o->jobs = o->jobs ? o->jobs : processors > 0 ? (int)processors : 1;
  o->jobs = o->jobs < MAX_JOBS ? o->jobs : MAX_JOBS;
  o->repeat = o->repeat ? o->repeat : DEFAULT_REPEAT;
  o->timeout = o->timeout > 0 ? o->timeout : DEFAULT_TIMEOUT;
  s->narrowed = o->within != NULL;
  if (!s->narrowed)
    return ATTNC_OK;
  TRY(attnc_schedule_check(o->within, e));
  return sched_read(&s->within, o->within, e);
}

/* Along the axes that anything steps along. */
static bool
is_packed(const ShapedTensor *x, const attnc_sizes *sizes, const attnc_tensor *t)
{
  int64_t packed[CALL_STRIDES];
  signature_pack(x, sizes, packed);
  for (int i = 0; i < x->t.n_axes; i++)
    if (axis_length(&x->t.axes[i], sizes) > 1 && t->stride[i] != packed[i])
      return false;
  return true;
}

/* Inputs are made in packed tensors: a kernel for other strides would not run on them. */
static attnc_status
check_strides(const Sweep *s, attnc_error *e)
{
  CallInfo call;
  if (!jit_specializes_strides(s->spec))
    return ATTNC_OK;
  TRY(signature_read(s->spec, s->copy.op, s->t->arena, &call, e));
  for (int i = 0; i < call.n_slots; i++)
    if (call.at[i].t.name && !call.at[i].t.contiguous &&
        !is_packed(&call.at[i], &s->copy.sizes, &s->copy.tensors[i]))
      return err_set(e, ATTNC_ERR_UNSUPPORTED,
                     "attnc_tune: the strides of %s are constants of the kernel and not "
                     "those of a packed tensor",
                     call.at[i].t.name);
  return ATTNC_OK;
}

/* Those that every call has, and those that an axis of this one has. */
static attnc_status
check_sizes(const Sweep *s, attnc_error *e)
{
  CallInfo call;
  for (int i = 0; i <= SIZE_SK; i++)
    if (size_get(&s->copy.sizes, (SizeId)i) <= 0)
      return err_set(e, ATTNC_ERR_USAGE, "attnc_tune: the problem does not say %s",
                     size_names[i]);
  TRY(signature_read(s->spec, s->copy.op, s->t->arena, &call, e));
  for (int i = 0; i < call.n_slots; i++)
    for (int k = 0; call.at[i].t.name && k < call.at[i].t.n_axes; k++)
      if (axis_length(&call.at[i].t.axes[k], &s->copy.sizes) <= 0)
        return err_set(e, ATTNC_ERR_USAGE,
                       "attnc_tune: the problem does not say how long axis %d of %s is", k,
                       call.at[i].t.name);
  return ATTNC_OK;
}

/* The caller's, and what the lengths of the options say that it leaves open. */
static attnc_status
take_problem(Sweep *s, attnc_error *e)
{
  attnc_problem *p = &s->problem;
  CallInfo call;
  TRY(jit_problem(s->spec, s->asked, &s->copy, e));
  if (s->asked)
    TRY(struct_take(p, sizeof *p, s->asked, SIZE_UPTO(attnc_problem, flags),
                    "attnc_problem", e));
  s->sizes = s->copy.sizes;
  p->size = sizeof *p;
  p->sizes = &s->sizes;
  if (!s->options.seqlens)
    return ATTNC_OK;
  TRY(signature_read(s->spec, s->copy.op, s->t->arena, &call, e));
  TRY(seqlens_fit(&call, s->options.seqlens, &s->sizes, e));
  seqlens_means(s->options.seqlens, &p->mean_q, &p->mean_k);
  return jit_problem(s->spec, p, &s->copy, e);
}

static attnc_status
check_problem(const Sweep *s, attnc_error *e)
{
  const attnc_context *c = s->ctx;
  TRY(check_sizes(s, e));
  if (c->load_ptx || (c->compile && c->compile->from))
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_tune: %s stands in the place of every candidate",
                   c->load_ptx ? "ATTNC_LOAD_PTX" : "the text of the compile options");
  return check_strides(s, e);
}

/* The target, and what a plan would use that finds nothing in the tuning table. */
static attnc_status
ask_default(Sweep *s, attnc_error *e)
{
  JitResolved answer;
  JitRequest ask = {.spec = s->spec,
                    .problem = &s->copy,
                    .target = s->ctx->target,
                    .drv = s->drv,
                    .device = s->device,
                    .compile = s->ctx->compile};
  TRY(jit_resolve(&ask, &answer, e));
  s->t->target = arena_strdup(s->t->arena, answer.target);
  s->initial = answer.schedule;
  jit_resolved_free(&answer);
  return ATTNC_OK;
}

static attnc_status
prepare(Sweep *s, attnc_error *e)
{
  attnc_tuning *t = s->t;
  TRY(take_problem(s, e));
  TRY(check_problem(s, e));
  TRY(context_driver(s->ctx, &s->drv, e));
  TRY(drv_device(s->drv, s->copy.device - 1, &s->device, e));
  s->table = s->ctx->table;
  if (!s->options.dry)
    TRY(tune_writable(s->table, e));
  t->sizes = s->copy.sizes;
  t->name = arena_strdup(t->arena, attnc_spec_name(s->spec));
  t->device = arena_strdup(t->arena, s->device->name);
  t->unit = s->drv->emulated                      ? "est_cycles"
            : s->options.l2 == ATTNC_TUNE_L2_COLD ? "ms_cold"
                                                  : "ms";
  TRY(ask_default(s, e));
  return sweep_candidates(s, e);
}

/* ---- the record ---- */

/* The highest level that tries no more than was tried. */
static int
level_reached(const attnc_tuning *t)
{
  int tried = 0, reached = ATTNC_TUNE_ESTIMATE;
  for (int i = 0; i < t->n_tried; i++)
    tried += t->at[i].told.state != ATTNC_TUNED_NOT_REACHED;
  for (int level = ATTNC_TUNE_ESTIMATE; level < ATTNC_TUNE_LEVEL_COUNT; level++)
    if (tried >= level_count(level, t->space + t->outside))
      reached = level;
  return reached;
}

/* A record for which more was tried, of the same bucket, and of a schedule that is still
 * legal. */
static bool
outranks(void *user, const TuneFound *found)
{
  const Sweep *s = user;
  bool legal = false;
  for (int i = 0; i < s->space.n && !legal; i++)
    legal = sched_agrees(&found->schedule, &s->space.at[i].named);
  return legal && found->level > s->t->level && str_eq(found->source, "exact");
}

static attnc_status
record(Sweep *s, attnc_error *e)
{
  attnc_tuning *t = s->t;
  if (s->options.dry) {
    t->kept = "a dry run";
    return ATTNC_OK;
  }
  if (s->options.shards > 1) {
    t->kept = "one shard of several";
    return ATTNC_OK;
  }
  const Candidate *best = &t->at[t->best];
  TuneProblem p = jit_tune_problem(s->spec, &s->copy, s->drv, s->device);
  TuneMeasure m = {.value = best->told.value, .unit = t->unit, .level = t->level};
  TuneFound found;
  if (tune_find(s->table, &p, outranks, s, &found)) {
    t->kept = arena_printf(t->arena, "the tuning table has a record of level %s",
                           tune_level_names[found.level]);
    return ATTNC_OK;
  }
  TRY(tune_record(s->table, &p, &best->named, &m, e));
  t->recorded = true;
  return ATTNC_OK;
}

static attnc_status
finish(Sweep *s, attnc_error *e)
{
  if (s->stopped)
    return err_set(e, ATTNC_ERR_CANCELLED, "attnc_tune: stopped by the caller");
  if (s->t->best < 0)
    return err_set(e, ATTNC_ERR_CHECK, "no schedule passed");
  return record(s, e);
}

/* ---- the call ---- */

static attnc_status
run(Sweep *s, attnc_error *e)
{
  TRY(prepare(s, e));
  sweep_compile(s);
  TRY(trials_resume(s, e));
  attnc_status status = s->stopped ? ATTNC_OK : sweep_search(s, e);
  s->t->level = level_reached(s->t);
  if (status == ATTNC_OK)
    status = finish(s, e);
  attnc_status told = tuning_report(s->t, status == ATTNC_OK ? e : NULL);
  return status == ATTNC_OK ? told : status;
}

/* The arena of the tuning gives out here. */
static attnc_status
run_caught(Sweep *s, attnc_error *e)
{
  jmp_buf exhausted;
  attnc_status status;
  if (setjmp(exhausted) == 0) {
    arena_catch(s->t->arena, &exhausted);
    status = run(s, e);
  } else {
    status = err_set(e, ATTNC_ERR_NOMEM, "attnc_tune: out of memory");
  }
  arena_catch(s->t->arena, NULL);
  return status;
}

static attnc_tuning *
tuning_new(void)
{
  attnc_tuning *t = calloc(1, sizeof *t);
  if (t)
    t->arena = arena_new(0);
  if (!t || !t->arena) {
    free(t);
    return NULL;
  }
  t->best = t->initial = -1;
  return t;
}

void
attnc_tuning_release(attnc_tuning *t)
{
  if (!t)
    return;
  for (int i = 0; i < t->n; i++)
    entry_release(t->at[i].entry);
  free(t->json);
  arena_free(t->arena);
  free(t);
}

static attnc_status
check_call(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
           attnc_error *e)
{
  if (!c || !spec || !problem)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune: context, spec or problem is NULL");
  if ((int)getpid() != c->pid)
    return err_set(e, ATTNC_ERR_USAGE,
                   "the context was made before a fork; a child makes its own");
  return ATTNC_OK;
}

attnc_status
attnc_tune(attnc_context *c, const attnc_spec *spec, const attnc_problem *problem,
           const attnc_tune_options *options, attnc_tuning **out, attnc_error *e)
{
  attnc_error error = {0};
  if (!out)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune: out is NULL");
  *out = NULL;
  TRY(check_call(c, spec, problem, e));
  Sweep *s = calloc(1, sizeof *s);
  attnc_tuning *t = s ? tuning_new() : NULL;
  attnc_status status = ATTNC_ERR_NOMEM;
  if (t) {
    *s = (Sweep){.ctx = c, .spec = spec, .asked = problem, .t = t};
    s->start = clock_seconds();
    s->worker.sweep = s;
    status = take_options(s, options, &error);
    if (status == ATTNC_OK)
      status = run_caught(s, &error);
  } else {
    err_set(&error, status, "attnc_tune: out of memory");
  }
  if (s)
    worker_end(&s->worker);
  free(s);
  if (t && t->json)
    *out = t;
  else
    attnc_tuning_release(t);
  if (status != ATTNC_OK && e)
    *e = error;
  return status;
}
