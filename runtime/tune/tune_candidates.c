#include "runtime/tune/tune.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "schedule/schedule_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const fault_names[FAULT_COUNT] = {NULL,
#define X(id, name) name,
                                              FAULT_TABLE(X)
#undef X
};

int
level_count(int level, int space)
{
  static const struct {
    int percent, least;
  } levels[ATTNC_TUNE_LEVEL_COUNT] = {
#define X(id, name, percent, least) [ATTNC_TUNE_##id] = {percent, least},
      ATTNC_TUNE_LEVEL_TABLE(X)
#undef X
  };
  int share = space * levels[level].percent / 100, least = levels[level].least;
  int count = share > least ? share : least;
  return count < space ? count : space;
}

Candidate *
sweep_nth(const attnc_tuning *t, int i)
{
  return &t->at[i == 0 ? t->initial : i <= t->initial ? i - 1 : i];
}

static bool
same_schedule(const Schedule *a, const Schedule *b)
{
  return sched_agrees(a, b) && sched_agrees(b, a);
}

/* Strings in the arena; the Schedule is the candidate's own. */
static Candidate *
add(attnc_tuning *t, const Schedule *named, double cost)
{
  Candidate *c = &t->at[t->n];
  c->id = t->n++;
  c->named = *named;
  c->schedule = sched_struct(&c->named, arena_alloc(t->arena, SCHED_TEXT));
  c->told = (attnc_tuned){.size = sizeof c->told, .schedule = &c->schedule, .cost = cost};
  return c;
}

/* ---- the space ---- */

static void
take_refused(Sweep *s, const json_t *item, const char *reason)
{
  s->t->refused++;
  if (!*s->oversized.template_name && strstr(reason, "shared memory"))
    sched_read_json(&s->oversized, item);
}

/* Of the legal ones those that pins and the caller allow, and the default in any case. */
static void
take_legal(Sweep *s, const json_t *item, Space *space)
{
  attnc_tuning *t = s->t;
  Option *o = &space->at[space->n];
  const json_t *cost = json_object_get(item, "cost");
  *o = (Option){.cost = json_is_number(cost) ? json_number_value(cost) : NAN};
  if (!sched_read_json(&o->named, item))
    return;
  bool initial = same_schedule(&o->named, &s->initial);
  if (!initial && !jit_keeps_pins(s->spec, t->target, &o->named)) {
    t->pinned_away++;
    return;
  }
  if (!initial && s->narrowed && !sched_agrees(&s->within, &o->named)) {
    t->outside++;
    return;
  }
  if (initial)
    space->initial = space->n;
  space->n++;
}

static Space
read_space(Sweep *s, const json_t *list)
{
  size_t i;
  json_t *item;
  Space space = {.initial = -1,
                 .at = NEW_N(s->t->arena, Option, json_array_size(list) + 1)};
  json_array_foreach((json_t *)(uintptr_t)list, i, item)
  {
    const char *reason = json_string_value(json_object_get(item, "reason"));
    if (reason)
      take_refused(s, item, reason);
    else
      take_legal(s, item, &space);
  }
  if (space.initial <
      0) { /* the list leaves it out: what a plan uses is legal all the same */
    space.initial = space.n;
    space.at[space.n++] = (Option){.named = s->initial, .cost = NAN};
  }
  return space;
}

/* By its text, so that shards agree on it whatever their machines try. */
static bool
is_ours(const Sweep *s, const Schedule *named)
{
  char hex[65];
  if (s->options.shards < 2)
    return true;
  Str text = str_new(s->t->arena);
  sched_write(&text, named);
  sha256_hex(text.p, text.n, hex);
  hex[8] = 0;
  return (int)(strtoul(hex, NULL, 16) % (unsigned)s->options.shards) == s->options.shard;
}

/* The first `n` of the space, the last of them the default where it would be missing; of
 * these the default and what is of this shard. */
static void
choose(const Sweep *s, int n)
{
  attnc_tuning *t = s->t;
  const Space *space = &s->space;
  int chosen = n < space->n ? n : space->n;
  t->space = space->n;
  t->left_out = space->n - chosen;
  t->at = NEW_N(t->arena, Candidate, chosen + 2 * FAULT_COUNT);
  for (int i = 0; i < chosen; i++) {
    bool last = i == chosen - 1 && space->initial >= chosen;
    const Option *o = &space->at[last ? space->initial : i];
    bool initial = last || i == space->initial;
    if (!initial && !is_ours(s, &o->named)) {
      t->elsewhere++;
      continue;
    }
    Candidate *c = add(t, &o->named, o->cost);
    if (initial)
      t->initial = c->id;
  }
  t->at[t->initial].told.is_default = 1;
  t->n_tried = t->n;
}

/* ---- injected faults ---- */

static attnc_status
inject(Sweep *s, const char *name, attnc_error *e)
{
  attnc_tuning *t = s->t;
  Fault fault = FAULT_NONE;
  for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++)
    if (str_eq(name, fault_names[i]))
      fault = (Fault)i;
  if (fault == FAULT_NONE)
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_tune: inject: %.40s is not one of wrong, oversized, hang, crash",
                   name);
  if (t->n - t->n_tried == 2 * FAULT_COUNT)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_tune: inject: too many");
  if (fault == FAULT_OVERSIZED && !*s->oversized.template_name)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "attnc_tune: inject: no schedule needs too much memory");
  Candidate *c = add(t, fault == FAULT_OVERSIZED ? &s->oversized : &t->at[0].named, NAN);
  c->fault = fault;
  c->told.injected = fault_names[fault];
  return ATTNC_OK;
}

static attnc_status
inject_all(Sweep *s, attnc_error *e)
{
  const char *text = s->options.inject;
  char *rest = text && *text ? arena_strdup(s->t->arena, text) : NULL, *name;
  while ((name = strsep(&rest, ",")) != NULL)
    TRY(inject(s, name, e));
  return ATTNC_OK;
}

attnc_status
sweep_candidates(Sweep *s, attnc_error *e)
{
  char *text;
  TRY(attnc_schedules(s->spec, &s->problem, s->t->target, 1, &text, e));
  json_t *list = json_loads(text, 0, NULL);
  attnc_text_free(text);
  if (!json_is_array(list)) {
    json_decref(list);
    return err_set(e, ATTNC_ERR_INTERNAL, "attnc_schedules: not a JSON array");
  }
  s->space = read_space(s, list);
  json_decref(list);
  int top = s->options.top;
  choose(s, top ? top : level_count(s->options.level, s->space.n));
  return inject_all(s, e);
}
