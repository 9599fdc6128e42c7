#include "runtime/jit.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/ptx.h"
#include "base/rules.h"
#include "compiler/gen.h"
#include "compiler/kernel.h"
#include "compiler/sched.h"
#include "compiler/spec/signature.h"
#include "compiler/spec/spec.h"
#include "compiler/target.h"
#include "compiler/template.h"
#include "templates/lengths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static attnc_status
no_memory(attnc_error *e)
{
  return err_set(e, ATTNC_ERR_NOMEM, "out of memory");
}

void
jit_spec_retain(const attnc_spec *spec)
{
  __atomic_add_fetch(&((attnc_spec *)spec)->refs, 1, __ATOMIC_RELAXED);
}

const char *
jit_code_id(void)
{
  return gen_code_id;
}

const char *
jit_llvm_version(void)
{
  return gen_llvm_version;
}

TuneProblem
jit_tune_problem(const attnc_spec *spec, const ProblemCopy *p, const Driver *drv,
                 const Device *device)
{
  return (TuneProblem){.spec_hash = spec->hash,
                       .op = op_words[p->op],
                       .name = spec->name,
                       .sizes = spec_hints(spec, &p->sizes),
                       .device = {device->name, device->cc, device->sms, drv->emulated}};
}

const char *
jit_spec_hash(const attnc_spec *spec)
{
  return spec_json_hash(spec);
}

SpecDefaults
jit_spec_defaults(const attnc_spec *spec)
{
  SpecDefaults defaults = {.name = spec->name};
  const Signature *call = spec->call[ATTNC_OP_FWD];
  for (int i = 0; i < call->n_scalars; i++)
    if (!call->scalars[i].constant)
      defaults.scalars[defaults.n_scalars++] =
          (ScalarDefault){call->scalars[i].name, call->scalars[i].initial};
  return defaults;
}

attnc_status
jit_problem(const attnc_spec *spec, const attnc_problem *from, ProblemCopy *to,
            attnc_error *e)
{
  return gen_problem(spec, from, to, e);
}

const char *
jit_spec_text(const attnc_spec *spec, size_t *n, const char **file)
{
  *n = spec->text_n;
  *file = spec->file;
  return spec->text;
}

bool
jit_specializes_strides(const attnc_spec *spec)
{
  return spec_specializes(spec, SPECIALIZE_STRIDES);
}

/* ---- the target ---- */

static bool
runs_on(const Target *t, const Device *device)
{
  return rule_runs(t->cc, t->exact, device->cc);
}

attnc_status
jit_check(const Schedule *s, attnc_error *e)
{
  return sched_check(s, e);
}

bool
jit_runs_on(const char *target, const Device *device)
{
  const Target *t = target_find(target);
  return t && runs_on(t, device);
}

/* The exact target of the device, else the highest plain one, of those that its driver has
 * the PTX version for. */
static const Target *
best_target(const Driver *d, const Device *device)
{
  const Target *best = NULL;
  for (int i = 0; i < n_targets; i++) {
    const Target *t = &targets[i];
    if (!runs_on(t, device) || ptx_driver(t->ptx) > d->version)
      continue;
    if (!best || rule_suits(t->cc, t->exact) > rule_suits(best->cc, best->exact))
      best = t;
  }
  return best;
}

static attnc_status
pick_target(const JitRequest *a, const Target **out, attnc_error *e)
{
  if (!a->target) {
    *out = best_target(a->drv, a->device);
    return *out ? ATTNC_OK
                : err_set(e, ATTNC_ERR_UNSUPPORTED,
                          "no target runs on %s (sm_%d, driver for CUDA %d.%d)",
                          a->device->name, a->device->cc, a->drv->version / 1000,
                          a->drv->version % 1000 / 10);
  }
  *out = target_find(a->target);
  if (!*out)
    return attnc_target_check(a->target, e);
  if (a->device && !runs_on(*out, a->device))
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "a kernel for %s does not run on %s, sm_%d",
                   a->target, a->device->name, a->device->cc);
  return ATTNC_OK;
}

/* ---- the schedule ---- */

/* What the spec or the caller pins is not tuned away. */
static bool
keeps_pins(const Schedule *s, const Pin *pin, const Schedule *want)
{
  return (!pin || sched_agrees(&pin->how, s)) && (!want || sched_agrees(want, s));
}

bool
jit_keeps_pins(const attnc_spec *spec, const char *target, const Schedule *s)
{
  return keeps_pins(s, spec_pin(spec, target, s->template_name), NULL);
}

typedef struct Tuning {
  const JitRequest *ask;
  const Target *target;
  JitResolved *out;
  Sched *sched;
} Tuning;

static void tuning_says(const Tuning *, const TuneFound *, const char *what)
    __attribute__((nonnull));
static void
tuning_says(const Tuning *t, const TuneFound *found, const char *what)
{
  char text[640];
  if (!t->ask->log)
    return;
  snprintf(text, sizeof text, "tuning table: %s %s of value %g on %s for %s: %s",
           found->source, found->schedule.template_name, found->value, found->device,
           t->ask->spec->name, what);
  t->ask->log(t->ask->log_user, 3, text);
}

/* Legal here, and as it is pinned. */
static bool
accept_tuned(void *user, const TuneFound *found)
{
  const Tuning *t = user;
  const JitRequest *a = t->ask;
  const char *ignored;
  attnc_error error = {0};
  const Pin *pin = spec_pin(a->spec, t->target->name, found->schedule.template_name);
  if (!keeps_pins(&found->schedule, pin, a->want)) {
    tuning_says(t, found, "is not what is pinned");
    return false;
  }
  if (gen_schedule(a->spec, a->problem, t->target, &found->schedule, t->sched, &ignored,
                   &error) != ATTNC_OK) {
    tuning_says(t, found, error.message);
    return false;
  }
  tuning_says(t, found, "taken");
  t->out->source = found->source;
  return true;
}

/* The best schedule of the table that can be used. */
static bool
tuned_schedule(const JitRequest *a, const Target *target, JitResolved *out, Sched *sched)
{
  TuneFound found;
  if (!a->tune)
    return false;
  TuneProblem p = jit_tune_problem(a->spec, a->problem, a->drv, a->device);
  Tuning t = {.ask = a, .target = target, .out = out, .sched = sched};
  return tune_find(a->tune, &p, accept_tuned, &t, &found);
}

static attnc_status
pick_schedule(const JitRequest *a, const Target *target, JitResolved *out, attnc_error *e)
{
  Sched *sched = NEW(out->arena, Sched);
  if (sched_complete(a->want) || !tuned_schedule(a, target, out, sched))
    TRY(gen_schedule(a->spec, a->problem, target, a->want, sched, &out->source, e));
  out->sched = sched;
  out->schedule = sched_named(sched);
  return ATTNC_OK;
}

/* ---- the key ---- */

static const char *
schedule_text(Arena *arena, const Schedule *s)
{
  const Template *t = template_find(s->template_name);
  Str text = str_new(arena);
  str_printf(&text, "%s revision=%d ", s->template_name, t ? t->revision : 0);
  sched_list(&text, s, false);
  return text.p;
}

/* A text that the caller wants compiled instead of the generated one. */
static const char *
entered_text(Arena *arena, const attnc_compile_options *o)
{
  char hex[65];
  if (!o || !o->from || !o->text)
    return "";
  sha256_hex(o->text, strlen(o->text), hex);
  return arena_printf(arena, "%s %s", o->from, hex);
}

/* What the schedule is at its best with, if the device's driver has it. */
static int
first_version(const JitRequest *a, const Target *target, const Sched *s)
{
  int ptx = gen_ptx_version(target, s);
  return a->drv && ptx_driver(ptx) > a->drv->version ? target->ptx : ptx;
}

static attnc_status
fill_key(const JitRequest *a, const Target *target, JitResolved *out, attnc_error *e)
{
  Arena *arena = out->arena;
  Str values = str_new(arena);
  int ptx = 0;
  TRY(gen_values(a->spec, a->problem, &values, e));
  TRY(ptx_version_read(a->compile ? a->compile->ptx_version : NULL,
                       first_version(a, target, out->sched), &ptx, e));
  out->fields = (KeyFields){
      .schema = KEY_SCHEMA,
      .spec_hash = a->spec->hash,
      .op = op_words[a->problem->op],
      .values = values.p,
      .schedule = schedule_text(arena, &out->schedule),
      .target = target->name,
      .ptx_version = arena_printf(arena, "%d.%d", ptx / 10, ptx % 10),
      .options = gen_options(out->sched),
      .code_id = gen_code_id,
      .llvm = gen_llvm_version,
      .sm_count = "", /* no template's text depends on it: grids read it at launch */
      .entered = entered_text(arena, a->compile),
  };
  key_hash(&out->fields, out->key);
  return ATTNC_OK;
}

static attnc_status
resolve_here(const JitRequest *a, JitResolved *out, attnc_error *e)
{
  const Target *target;
  TRY(pick_target(a, &target, e));
  out->target = target->name;
  TRY(pick_schedule(a, target, out, e));
  return fill_key(a, target, out, e);
}

attnc_status
jit_resolve(const JitRequest *a, JitResolved *out, attnc_error *e)
{
  jmp_buf exhausted;
  memset(out, 0, sizeof *out);
  out->arena = arena_new(0);
  if (!out->arena)
    return no_memory(e);
  attnc_status status = ATTNC_OK;
  if (setjmp(exhausted) == 0) {
    arena_catch(out->arena, &exhausted);
    status = resolve_here(a, out, e);
  } else {
    status = no_memory(e);
  }
  arena_catch(out->arena, NULL);
  if (status != ATTNC_OK)
    jit_resolved_free(out);
  return status;
}

void
jit_resolved_free(JitResolved *a)
{
  arena_free(a->arena);
  a->arena = NULL;
}

json_t *
jit_lengths(const JitRequest *a, const JitResolved *r)
{
  Case c = sched_case(a->spec, a->problem, target_find(r->target));
  if (!spec_has_lengths(a->spec) || !c.b || !c.sq || !c.sk)
    return json_null();
  Lengths l = lengths_assumed(&c);
  json_t *of = json_array();
  for (int i = 0; i < l.n; i++)
    json_array_append_new(
        of, json_pack("[I, I]", (json_int_t)l.of[i].q, (json_int_t)l.of[i].k));
  return json_pack("{s:f, s:o}", "each", l.each, "of", of);
}

/* ---- compiling ---- */

static const char *const time_names[TIME_COUNT] = {
#define X(id, name) name,
    TIME_TABLE(X)
#undef X
};

static json_t *
take_notes(const attnc_kernel *k)
{
  json_t *seconds = json_object(), *dumps = json_object();
  for (int i = 0; i < TIME_COUNT; i++)
    json_object_set_new(seconds, time_names[i], json_real(k->seconds[i]));
  for (int i = 0; i < DUMP_COUNT; i++)
    if (k->dump[i])
      json_object_set_new(dumps, dump_names[i], json_string(k->dump[i]));
  return json_pack("{s:o, s:o}", "seconds", seconds, "dumps", dumps);
}

attnc_status
jit_write_dumps(const JitRequest *a, const JitResolved *answer, const json_t *notes,
                attnc_error *e)
{
  const char *stage;
  json_t *text;
  if (!a->dump_dir)
    return ATTNC_OK;
  TRY(file_mkdirs(a->dump_dir, e));
  json_object_foreach(json_object_get(notes, "dumps"), stage, text)
  {
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s.%s.%s", a->dump_dir, a->spec->name,
                     answer->target, stage);
    if (n < 0 || (size_t)n >= sizeof path)
      return err_set(e, ATTNC_ERR_IO, "%s: the path is too long", a->dump_dir);
    TRY(file_write(path, json_string_value(text), json_string_length(text), e));
  }
  return ATTNC_OK;
}

attnc_status
jit_compile(const JitRequest *a, const JitResolved *answer, Entry **out, json_t **notes,
            attnc_error *e)
{
  attnc_kernel *k = NULL;
  size_t n = 0;
  attnc_compile_options how = {.size = sizeof how};
  *notes = NULL;
  if (a->compile)
    how = *a->compile;
  how.ptx_version = answer->fields.ptx_version;
  TRY(gen_compile(a->spec, a->problem, target_find(answer->target), answer->sched, &how, &k,
                  e));
  const char *ptx = attnc_kernel_ptx(k, &n);
  *out = entry_make(answer->key, a->spec->canonical, attnc_kernel_json(k), ptx, n);
  *notes = *out ? take_notes(k) : NULL;
  attnc_kernel_release(k);
  return *out ? ATTNC_OK : no_memory(e);
}
