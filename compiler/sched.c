/* Which schedule: pins, the cost model over a template's legal space, its default. */
#include "compiler/sched.h"

#include "base/err.h"
#include "compiler/gen.h"
#include "compiler/signature.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

Case
sched_case(const Spec *s, const ProblemCopy *p, const Target *t)
{
  Case c = {.spec = s, .target = t};
  if (p) {
    c.b = p->sizes.b;
    c.h = p->sizes.h;
    c.hk = p->sizes.hk;
    c.sq = p->sizes.sq;
    c.sk = p->sizes.sk;
  }
  c.sms = t->sms;
  return c;
}

/* ---- between what the API says and what templates see ---- */

static attnc_schedule
only_used(const Template *t, attnc_schedule x)
{
  for (int i = 0; i < SF_COUNT; i++)
    if (!(t->fields >> i & 1))
      *sched_at(&x, i) = 0;
  return x;
}

#define X(...) +1
_Static_assert(0 SCHED_TABLE(X) == SF_COUNT, "SCHED_TABLE lacks a field, or has one more");
_Static_assert(SF_COUNT <= 8 * sizeof(((Template *)0)->fields), "a bit for each field");
#undef X

static int
stored(SchedField f, int value)
{
  SchedKind kind = sched_info[f].kind;
  return kind == SK_BOOL || kind == SK_COUNT ? value + 1 : value;
}

static int
resolved(SchedField f, int value)
{
  SchedKind kind = sched_info[f].kind;
  return value && (kind == SK_BOOL || kind == SK_COUNT) ? value - 1 : value;
}

attnc_schedule
sched_public(const Sched *s)
{
  attnc_schedule x = {.size = sizeof x, .template_name = s->tmpl->name};
#define X(field, type, name) x.field = stored(SF_##field, s->name);
  SCHED_TABLE(X)
#undef X
  return only_used(s->tmpl, x);
}

static Sched
as_sched(const Template *t, const attnc_schedule *w)
{
  Sched s = {.tmpl = t};
#define X(field, type, name) s.name = (type)resolved(SF_##field, w->field);
  SCHED_TABLE(X)
#undef X
  return s;
}

bool
sched_matches(const Sched *s, const attnc_schedule *w)
{
  attnc_schedule x = sched_public(s);
  return sched_agrees(w, &x);
}

/* The schedule with what is asked for in the place of its own. */
static Sched
changed(const Sched *s, const attnc_schedule *w)
{
  attnc_schedule own = sched_public(s), x = *w;
  sched_merge(&x, &own);
  return as_sched(s->tmpl, &x);
}

/* A request that sets every field of the template is taken as it is, if it is legal. */
static bool
complete(const Template *t, const attnc_schedule *w)
{
  for (int i = 0; i < SF_COUNT; i++)
    if ((t->fields >> i & 1) && !sched_get(w, i))
      return false;
  return true;
}

bool
sched_complete(const attnc_schedule *w)
{
  const Template *t = w && w->template_name ? template_find(w->template_name) : NULL;
  return t && complete(t, w);
}

/* The first field that is asked for and that the template has not, or -1. */
static int
foreign(const Template *t, const attnc_schedule *w)
{
  for (int i = 0; i < SF_COUNT; i++)
    if (!(t->fields >> i & 1) && sched_get(w, i))
      return i;
  return -1;
}

/* ---- reasons ---- */

bool
refused(Why *w, const char *fmt, ...)
{
  va_list args;
  if (!w)
    return true;
  size_t n = strlen(w->text);
  if (n && n + 2 < sizeof w->text) {
    memcpy(w->text + n, "; ", 3);
    n += 2;
  }
  va_start(args, fmt);
  vsnprintf(w->text + n, sizeof w->text - n, fmt, args);
  va_end(args);
  return true;
}

bool
rules_hold(const Rule *rules, int n, Why *why)
{
  bool all = true;
  for (int i = 0; i < n; i++) {
    if (!rules[i].ok)
      refused(why, "%s", rules[i].why);
    all = all && rules[i].ok;
  }
  return all;
}

/* How near a template came to what was asked for. */
typedef enum Nearness {
  NEAR_REFUSED, /* has the fields, takes the spec: no schedule of it is legal */
  NEAR_TARGET,  /* has the fields, does not take the spec or the target */
  NEAR_FIELDS,  /* lacks a field that is asked for */
  NEAR_COUNT    /* is not the template that is asked for */
} Nearness;

typedef struct Refusal {
  Nearness near;
  Why why; /* of NEAR_REFUSED: what refuses the first schedule that was tried */
} Refusal;

typedef struct Search {
  Case c;
  const attnc_schedule *want;
  Arena *arena;
  Sched best;
  double cycles;
  bool found;
  Refusal *refusals; /* of each template */
} Search;

/* The reasons of the templates that came nearest: others were not meant. */
static const char *
reasons(const Search *s)
{
  Nearness least = NEAR_COUNT;
  Str out = str_new(s->arena);
  for (int i = 0; i < n_templates; i++)
    least = s->refusals[i].near < least ? s->refusals[i].near : least;
  for (int i = 0; i < n_templates; i++)
    if (s->refusals[i].near == least && least != NEAR_COUNT)
      str_printf(&out, "%s%s: %s", out.n ? "; " : "", template_table[i]->name,
                 s->refusals[i].why.text);
  return out.p;
}

/* ---- the search ---- */

static void
consider(Search *s, const Sched *x, Why *first)
{
  if (x->tmpl->refuse(&s->c, x, *first->text ? NULL : first))
    return;
  double cycles = x->tmpl->cost(&s->c, x).cycles;
  if (s->found && s->cycles <= cycles)
    return;
  s->found = true;
  s->best = *x;
  s->cycles = cycles;
}

/* The template's schedules that have what is asked for; where no legal one has it, each is
 * changed by it.  Of the core alone: what is not asked for stays as the default has it. */
static void
search_space(Search *s, const Template *t, bool change, Why *why)
{
  Sched x = t->initial(&s->c), y;
  int most = t->core ? t->core : INT_MAX;
  for (int n = 0; n <= most && (n == 0 || t->space(&s->c, n - 1, &x)); n++)
    if (change) {
      y = changed(&x, s->want);
      consider(s, &y, why);
    } else if (sched_matches(&x, s->want)) {
      consider(s, &x, why);
    }
}

static void
search_template(Search *s, const Template *t, Refusal *r)
{
  int other = foreign(t, s->want);
  *r = (Refusal){.near = NEAR_COUNT};
  if (s->want->template_name && !str_eq(s->want->template_name, t->name))
    return;
  if (other >= 0) {
    r->near = NEAR_FIELDS;
    refused(&r->why, "it has no field '%s'", sched_info[other].name);
    return;
  }
  r->near = NEAR_TARGET;
  if (!t->applicable(&s->c, &r->why))
    return;
  r->near = NEAR_REFUSED;
  if (complete(t, s->want)) {
    Sched x = as_sched(t, s->want);
    consider(s, &x, &r->why);
    return;
  }
  search_space(s, t, false, &r->why);
  if (!s->found)
    search_space(s, t, true, &r->why);
}

/* The first applicable template's own default: what is asked for when nothing is known of
 * the problem, so that offline kernels do not depend on an assumed one. */
static bool
take_initial(Search *s)
{
  for (int i = 0; i < n_templates; i++) {
    const Template *t = template_table[i];
    if (!t->applicable(&s->c, NULL))
      continue;
    s->best = t->initial(&s->c);
    return !t->refuse(&s->c, &s->best, NULL);
  }
  return false;
}

static attnc_status
choose(Search *s, const char **source, attnc_error *err)
{
  bool sized = s->c.sq > 0 && s->c.b > 0 && s->c.h > 0;
  bool asked = sched_asks(s->want);
  if (s->want->template_name && !template_find(s->want->template_name))
    return err_set(err, ATTNC_ERR_UNSUPPORTED, "there is no template '%s'",
                   s->want->template_name);
  *source = asked ? "pinned" : sized ? "model" : "default";
  if (!asked && !sized && take_initial(s))
    return ATTNC_OK;
  for (int i = 0; i < n_templates && !s->found; i++)
    search_template(s, template_table[i], &s->refusals[i]);
  if (s->found)
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_UNSUPPORTED, "no legal schedule on %s: %s",
                 s->c.target->name, reasons(s));
}

static attnc_status
choose_caught(Search *s, const char **source, attnc_error *err)
{
  jmp_buf full;
  if (setjmp(full))
    return err_set(err, ATTNC_ERR_NOMEM, "search of a schedule");
  arena_catch(s->arena, &full);
  s->refusals = NEW_N(s->arena, Refusal, n_templates);
  return choose(s, source, err);
}

attnc_status
gen_schedule(const Spec *spec, const ProblemCopy *problem, const Target *target,
             const attnc_schedule *want, attnc_schedule *out, const char **source,
             attnc_error *err)
{
  attnc_schedule w = {.size = sizeof w};
  if (want)
    TRY(sched_copy(&w, want, err));
  const Pin *pin = spec_pin(spec, target->name, w.template_name);
  if (pin)
    sched_merge(&w, &pin->how);
  Search s = {.c = sched_case(spec, problem, target), .want = &w, .arena = arena_new(0)};
  if (!s.arena)
    return err_set(err, ATTNC_ERR_NOMEM, "search of a schedule");
  attnc_status st = choose_caught(&s, source, err);
  if (st == ATTNC_OK)
    *out = sched_public(&s.best);
  arena_free(s.arena);
  return st;
}

attnc_status
sched_exact(const Case *c, const attnc_schedule *w, Sched *out, attnc_error *err)
{
  const Template *t = template_find(w->template_name);
  Why why = {""};
  if (!t)
    return err_set(err, ATTNC_ERR_UNSUPPORTED, "template '%s'", w->template_name);
  *out = as_sched(t, w);
  if (t->applicable(c, &why) && !t->refuse(c, out, &why))
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_UNSUPPORTED, "%s on %s: %s", t->name, c->target->name,
                 why.text);
}

static bool
given(const CallTensor *t, const ProblemCopy *p)
{
  return p->tensors[t->slot].stride[t->n_axes - 1] == 1;
}

/* Strides that become constants.  A size that is open may be anything, and is many here;
 * what nothing steps along becomes 0, as at the launch. */
static attnc_status
check_strides(const Spec *s, ProblemCopy *p, attnc_error *err)
{
  const Signature *call = s->call[p->op];
  attnc_sizes n = p->sizes;
  for (int i = 0; i < SIZE_COUNT; i++)
    if (!size_get(&n, (SizeId)i))
      size_set(&n, (SizeId)i, 2);
  for (int i = 0; i < call->n_tensors; i++) {
    CallTensor t = call->tensors[i];
    t.access = ACCESS_IN; /* what a launch writes twice is known when its sizes are */
    if (!t.contiguous && given(&t, p))
      TRY(tensor_check(&t, &n, &p->tensors[t.slot], err));
  }
  return ATTNC_OK;
}

attnc_status
gen_problem(const Spec *s, const attnc_problem *from, ProblemCopy *to, attnc_error *err)
{
  TRY(problem_take(to, from, s->group_size, err));
  return spec_specializes(s, SPECIALIZE_STRIDES) ? check_strides(s, to, err) : ATTNC_OK;
}

attnc_status
gen_values(const Spec *s, const ProblemCopy *p, Str *out, attnc_error *err)
{
  const Signature *call = s->call[p->op];
  for (int i = 0; i < SIZE_COUNT; i++) {
    int64_t v = size_get(&p->sizes, (SizeId)i);
    if (!spec_specializes(s, (Specialize)i))
      continue;
    if (v < 1)
      return err_set(err, ATTNC_ERR_USAGE, "'%s' is specialised: the problem must give it",
                     size_names[i]);
    str_printf(out, "%s%s=%lld", out->n ? " " : "", size_names[i], (long long)v);
  }
  for (int i = 0; spec_specializes(s, SPECIALIZE_STRIDES) && i < call->n_tensors; i++) {
    const CallTensor *t = &call->tensors[i];
    if (t->contiguous)
      continue;
    if (!given(t, p))
      return err_set(err, ATTNC_ERR_USAGE,
                     "'strides' are specialised: the problem must give those of %s",
                     t->name);
    str_printf(out, "%s%s=", out->n ? " " : "", t->name);
    for (int d = 0; d + 1 < t->n_axes; d++)
      str_printf(out, "%s%lld", d ? "," : "", (long long)p->tensors[t->slot].stride[d]);
  }
  return ATTNC_OK;
}
