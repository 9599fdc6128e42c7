/* Which schedule: pins, the cost model over a template's legal space, its default. */
#include "compiler/sched.h"

#include "base/err.h"
#include "compiler/gen.h"

#include <limits.h>
#include <string.h>

Case
sched_case(const Spec *s, const attnc_problem *p, const Target *t)
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

typedef struct Search {
  Case c;
  const attnc_schedule *want;
  Arena *arena;
  Sched best;
  double cycles;
  bool found;
  const char *why; /* the first refusal of a schedule that matched */
} Search;

static void
no_reason(void *user, const char *why)
{
  Search *s = user;
  if (!s->why)
    s->why = why;
}

static void
consider(Search *s, const Sched *x)
{
  const char *why = x->tmpl->refuse(&s->c, x, s->arena);
  if (why) {
    s->why = s->why ? s->why : why;
    return;
  }
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
search_space(Search *s, const Template *t, bool change)
{
  Sched x = t->initial(&s->c), y;
  int most = t->core ? t->core : INT_MAX;
  for (int n = 0; n <= most && (n == 0 || t->space(&s->c, n - 1, &x)); n++)
    if (change) {
      y = changed(&x, s->want);
      consider(s, &y);
    } else if (sched_matches(&x, s->want)) {
      consider(s, &x);
    }
}

static void
search_template(Search *s, const Template *t)
{
  Sched x;
  int other = foreign(t, s->want);
  if (s->want->template_name && !str_eq(s->want->template_name, t->name))
    return;
  if (!t->applicable(&s->c, no_reason, s))
    return;
  if (other >= 0) {
    no_reason(
        s, arena_printf(s->arena, "%s has no field '%s'", t->name, sched_info[other].name));
    return;
  }
  if (complete(t, s->want)) {
    x = as_sched(t, s->want);
    consider(s, &x);
    return;
  }
  search_space(s, t, false);
  if (!s->found)
    search_space(s, t, true);
}

/* The first applicable template's own default: what is asked for when nothing is known of
 * the problem, so that offline kernels do not depend on an assumed one. */
static bool
take_initial(Search *s)
{
  for (int i = 0; i < n_templates; i++) {
    const Template *t = template_table[i];
    if (!t->applicable(&s->c, no_reason, s))
      continue;
    s->best = t->initial(&s->c);
    return t->refuse(&s->c, &s->best, s->arena) == NULL;
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
    search_template(s, template_table[i]);
  if (s->found)
    return ATTNC_OK;
  return err_set(err, ATTNC_ERR_UNSUPPORTED, "no legal schedule on %s: %s",
                 s->c.target->name,
                 s->why ? s->why : "no template offers what is asked for");
}

attnc_status
gen_schedule(const Spec *spec, const attnc_problem *problem, const Target *target,
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
  attnc_status st = choose(&s, source, err);
  if (st == ATTNC_OK)
    *out = sched_public(&s.best);
  arena_free(s.arena);
  return st;
}

attnc_status
sched_exact(const Case *c, const attnc_schedule *w, Sched *out, attnc_error *err)
{
  const Template *t = template_find(w->template_name);
  Arena *a = arena_new(0);
  if (!t || !a) {
    arena_free(a);
    return err_set(err, t ? ATTNC_ERR_NOMEM : ATTNC_ERR_UNSUPPORTED, "template '%s'",
                   w->template_name);
  }
  *out = as_sched(t, w);
  Search s = {.c = *c, .want = w, .arena = a};
  if (t->applicable(c, no_reason, &s))
    s.why = t->refuse(c, out, a);
  attnc_status st = s.why ? err_set(err, ATTNC_ERR_UNSUPPORTED, "%s on %s: %s", t->name,
                                    c->target->name, s.why)
                          : ATTNC_OK;
  arena_free(a);
  return st;
}

attnc_status
gen_values(const Spec *s, const attnc_problem *p, Str *out, attnc_error *err)
{
  for (int i = SPECIALIZE_B; i <= SPECIALIZE_SK; i++) {
    if (!spec_specializes(s, (Specialize)i))
      continue;
    const int64_t v[] = {p ? p->sizes.b : 0, p ? p->sizes.h : 0, p ? p->sizes.hk : 0,
                         p ? p->sizes.sq : 0, p ? p->sizes.sk : 0};
    if (v[i] < 1 || v[i] > SIZE_LIMIT)
      return err_set(err, ATTNC_ERR_USAGE, "'%s' is specialised: the problem must give it",
                     specialize_names[i]);
    str_printf(out, "%s%s=%lld", out->n ? " " : "", specialize_names[i], (long long)v[i]);
  }
  if (!spec_specializes(s, SPECIALIZE_STRIDES))
    return ATTNC_OK;
  for (int t = 0; t < 4; t++) {
    if (!p || p->strides[t][3] != 1)
      return err_set(
          err, ATTNC_ERR_USAGE,
          "'strides' are specialised: the problem must give those of q, k, v, o");
    str_printf(out, "%s%c=", out->n ? " " : "", "qkvo"[t]);
    for (int d = 0; d < 3; d++)
      str_printf(out, "%s%lld", d ? "," : "", (long long)p->strides[t][d]);
  }
  return ATTNC_OK;
}
