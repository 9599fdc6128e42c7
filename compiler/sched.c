/* Which schedule: pins, the cost model over a template's legal space, its default. */
#include "compiler/sched.h"

#include "base/err.h"
#include "compiler/gen.h"
#include "compiler/sched_fields.h"
#include "compiler/space.h"
#include "compiler/spec/signature.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int64_t
mean_length(int64_t said, int64_t total, int64_t b)
{
  if (said)
    return said;
  return total > 0 && b > 0 ? (total + b - 1) / b : 0;
}

Case
sched_case(const Spec *s, const ProblemCopy *p, const Target *t)
{
  Case c = {.spec = s, .target = t};
  if (p) {
    attnc_sizes n = spec_hints(s, &p->sizes);
    c.op = p->op;
    c.s_new = n.s_new;
    c.parts = n.parts;
    c.num_splits = n.num_splits;
    c.page_size = n.page_size;
    c.b = n.b;
    c.h = n.h;
    c.hk = n.hk;
    c.sq = n.sq;
    c.sk = n.sk;
    if (!s->batch_invariant) {
      c.mean_q = mean_length(p->mean_q, n.total_q, c.b);
      c.mean_k = mean_length(p->mean_k, n.total_k, c.b);
    }
  }
  c.sms = t->sms;
  return c;
}

/* ---- what is asked for ---- */

static const char *
nearest(const char *name)
{
  const SchedField *list[SCHED_MAX];
  const char *names[SCHED_MAX + 1] = {"template"};
  int n = sched_fields(list);
  for (int i = 0; i < n; i++)
    names[i + 1] = list[i]->name;
  return str_nearest(name, names, n + 1);
}

attnc_status
sched_check(const Schedule *w, attnc_error *err)
{
  for (int i = 0; i < w->n; i++) {
    const char *name = w->at[i].name;
    const SchedField *f = sched_field(name);
    const char *near = f ? NULL : nearest(name);
    char allowed[160];
    int value;
    if (!f)
      return err_set(err, ATTNC_ERR_USAGE, "schedule: there is no field %s%s%s%s", name,
                     near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    if (sched_value(f, w->at[i].value, &value))
      continue;
    sched_allowed(f, allowed, sizeof allowed);
    return err_set(err, ATTNC_ERR_USAGE, "schedule: %s=%s is not %s", name, w->at[i].value,
                   allowed);
  }
  if (*w->template_name && !template_find(w->template_name))
    return err_set(err, ATTNC_ERR_UNSUPPORTED, "there is no template '%s'",
                   w->template_name);
  return ATTNC_OK;
}

/* What is asked of one template: values of its fields. */
typedef struct Asked {
  int n, field[SCHED_MAX], value[SCHED_MAX];
  const char *foreign; /* the first name that the template has not, or NULL */
} Asked;

static Asked
asked_of(const Template *t, const Schedule *w)
{
  Asked a = {.n = 0};
  for (int i = 0; i < w->n; i++) {
    int at = sched_find(t, w->at[i].name);
    if (at < 0 && !a.foreign)
      a.foreign = w->at[i].name;
    if (at < 0)
      continue;
    a.field[a.n] = at;
    sched_value(sched_field_of(t, at), w->at[i].value, &a.value[a.n++]);
  }
  return a;
}

static bool
has_all(const Sched *s, const Asked *a)
{
  Sched own = *s;
  for (int i = 0; i < a->n; i++)
    if (*sched_at(&own, a->field[i]) != a->value[i])
      return false;
  return true;
}

/* The schedule with what is asked for in the place of its own. */
static Sched
changed(const Sched *s, const Asked *a)
{
  Sched x = *s;
  for (int i = 0; i < a->n; i++)
    *sched_at(&x, a->field[i]) = a->value[i];
  return x;
}

bool
sched_complete(const Schedule *w)
{
  const Template *t = w && *w->template_name ? template_find(w->template_name) : NULL;
  if (!t)
    return false;
  Asked a = asked_of(t, w);
  return !a.foreign && a.n == sched_n_fields(t);
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

static void
broken(Why *w, const Rule *r)
{
  refused(w, "%s", r->why);
  if (!w || w->n == WHY_MOST)
    return;
  w->at[w->n].reason = r->reason;
  w->at[w->n++].why = r->why;
}

bool
rules_hold(const Rule *rules, int n, Why *why)
{
  bool all = true;
  for (int i = 0; i < n; i++) {
    if (!rules[i].ok)
      broken(why, &rules[i]);
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
  CaseMemo memo;
  const Schedule *want;
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
  if (least == NEAR_COUNT && *s->want->template_name)
    str_printf(&out, "%s does not compute op %s", s->want->template_name,
               op_words[s->c.op]);
  for (int i = 0; i < n_templates; i++)
    if (s->refusals[i].near == least && least != NEAR_COUNT)
      str_printf(&out, "%s%s: %s", out.n ? "; " : "", template_table[i]->name,
                 s->refusals[i].why.text);
  return out.p;
}

/* ---- the search ---- */

/* Clocks of a schedule, infinite where it is not legal. */
static double
clocks_of(const Search *s, const Sched *x, Why *first)
{
  if (x->tmpl->refuse(&s->c, x, *first->text ? NULL : first))
    return INFINITY;
  return x->tmpl->cost(&s->c, x).cycles;
}

static void
take(Search *s, const Sched *x, double cycles)
{
  s->found = true;
  s->best = *x;
  s->cycles = cycles;
}

/* The n-th schedule of the core, the template's own default before it, as `a` asks for it:
 * changed by it, or one that has it; false where it has not. */
static bool
candidate(const Search *s, const Template *t, const Asked *a, bool change, int n, Sched *x)
{
  if (n == 0)
    *x = t->initial(&s->c);
  else
    space_point(t, &s->c, n - 1, x);
  if (!change)
    return has_all(x, a);
  *x = changed(x, a);
  return true;
}

/* Clocks that differ by no larger share are alike.  Not those of expressions, whose
 * registers a larger tile takes: ptxas then moves them. */
static double
alike(const Search *s, const Template *t)
{
  const Spec *p = s->c.spec;
  bool plain = spec_score_is_plain(p) && !p->mask_mod.n && !spec_has_lists(p);
  return plain ? t->alike : 0;
}

/* Is it to be taken, though the model finds both alike? */
static bool
preferred(const Search *s, const Sched *x, double cycles)
{
  int more = x->bm * x->bn - s->best.bm * s->best.bn;
  if (!s->found || (alike(s, x->tmpl) > 0 && more))
    return !s->found || more > 0;
  return cycles < s->cycles;
}

/* The template's schedules that have what is asked for; where no legal one has it, each is
 * changed by it.  Of the core alone: what is not asked for stays as the default has it. */
static void
search_space(Search *s, const Template *t, const Asked *a, bool change, Why *why)
{
  Sched x;
  int n = 1 + space_core(t, &s->c);
  double *cycles = NEW_N(s->arena, double, n), least = INFINITY;
  for (int i = 0; i < n; i++) {
    bool asked = candidate(s, t, a, change, i, &x);
    cycles[i] = asked ? clocks_of(s, &x, why) : INFINITY;
    least = cycles[i] < least ? cycles[i] : least;
    s->memo.enough = isfinite(least) ? least * (1 + alike(s, t)) : 0;
  }
  s->memo.enough = 0;
  for (int i = 0; i < n; i++)
    if (isfinite(cycles[i]) && cycles[i] <= least * (1 + alike(s, t))) {
      candidate(s, t, a, change, i, &x);
      if (preferred(s, &x, cycles[i]))
        take(s, &x, cycles[i]);
    }
}

static void
search_template(Search *s, const Template *t, Refusal *r)
{
  *r = (Refusal){.near = NEAR_COUNT};
  if (!template_is_asked(t, &s->c))
    return;
  if (*s->want->template_name && !str_eq(s->want->template_name, t->name))
    return;
  bool named = *s->want->template_name;
  if (!named && t->meant && !t->meant(&s->c)) {
    refused(&r->why, "it is not meant for such sizes");
    return;
  }
  Asked a = asked_of(t, s->want);
  if (a.foreign) {
    r->near = NEAR_FIELDS;
    refused(&r->why, "it has no option '%s'", a.foreign);
    return;
  }
  r->near = NEAR_TARGET;
  if (!t->applicable(&s->c, &r->why))
    return;
  r->near = NEAR_REFUSED;
  if (a.n == sched_n_fields(t)) { /* taken as it is, if it is legal */
    Sched x = changed(&(Sched){.tmpl = t}, &a);
    double cycles = clocks_of(s, &x, &r->why);
    if (isfinite(cycles))
      take(s, &x, cycles);
    return;
  }
  search_space(s, t, &a, false, &r->why);
  if (!s->found)
    search_space(s, t, &a, true, &r->why);
}

/* The first applicable template's own default: what is asked for when nothing is known of
 * the problem, so that offline kernels do not depend on an assumed one. */
static bool
take_initial(Search *s)
{
  for (int i = 0; i < n_templates; i++) {
    const Template *t = template_table[i];
    if (!template_is_asked(t, &s->c) || (t->meant && !t->meant(&s->c)) ||
        !t->applicable(&s->c, NULL))
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
  bool asked = sched_is_set(s->want);
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
             const Schedule *want, Sched *out, const char **source, attnc_error *err)
{
  Schedule w = {.n = 0};
  if (want)
    w = *want;
  TRY(sched_check(&w, err));
  const Pin *pin = spec_pin(spec, target->name, *w.template_name ? w.template_name : NULL);
  if (pin)
    sched_merge(&w, &pin->how);
  Search s = {.c = sched_case(spec, problem, target), .want = &w, .arena = arena_new(0)};
  if (!s.arena)
    return err_set(err, ATTNC_ERR_NOMEM, "search of a schedule");
  s.memo.arena = s.arena;
  s.c.memo = &s.memo;
  attnc_status st = choose_caught(&s, source, err);
  if (st == ATTNC_OK)
    *out = s.best;
  arena_free(s.arena);
  return st;
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
  TRY(sizes_check_had(&to->sizes, s->call[to->op]->tensors, s->call[to->op]->n_tensors,
                      err));
  return spec_specializes(s, SPECIALIZE_STRIDES) ? check_strides(s, to, err) : ATTNC_OK;
}

attnc_status
gen_values(const Spec *s, const ProblemCopy *p, Str *out, attnc_error *err)
{
  const Signature *call = s->call[p->op];
  for (int i = 0; i < SIZE_COUNT; i++) {
    int64_t v = size_get(&p->sizes, (SizeId)i);
    if (!spec_specializes(s, (Specialize)i) ||
        !size_is_had(call->tensors, call->n_tensors, (SizeId)i))
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
