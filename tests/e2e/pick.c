#include "tests/e2e/pick.h"
#include "tests/e2e/call.h"

#include "base/schedule_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
same(const Trial *a, const Trial *b)
{
  return a->template_id == b->template_id && sched_agrees(&a->how, &b->how) &&
         sched_agrees(&b->how, &a->how);
}

static int
entry(Pick *p, const Trial *t)
{
  for (int i = 0; i < p->n; i++)
    if (same(&p->used[i], t))
      return i;
  if (p->n == PICK_MAX)
    return -1;
  p->used[p->n] = *t;
  return p->n++;
}

static bool
read_schedule(const json_t *o, Trial *t)
{
  const char *name = json_string_value(json_object_get(o, "template"));
  Trial named;
  char why[64];
  if (!name || !trial_parse(name, &named, why, sizeof why))
    return false;
  t->template_id = named.template_id;
  return sched_read_json(&t->how, o) && t->how.block_m > 0;
}

static json_t *
legal(const Trial *t, char *why, size_t n)
{
  char yaml[512];
  attnc_spec *spec = NULL;
  attnc_error e = {0};
  char *text = NULL;
  Call shape; /* for the strides alone */
  trial_spec(t, yaml, sizeof yaml);
  if (attnc_spec_load(yaml, strlen(yaml), "trial", &spec, NULL) || !call_build(&shape, t)) {
    snprintf(why, n, "the spec of the case is refused");
    attnc_spec_release(spec);
    return NULL;
  }
  CallAsked asked;
  const attnc_problem *p = &asked.problem;
  call_problem(&shape, &asked);
  call_free(&shape, NULL);
  attnc_status s = attnc_schedules(spec, p, trial_target(t), 0, &text, &e);
  json_t *list = s ? NULL : json_loads(text, 0, NULL);
  if (!list)
    snprintf(why, n, "attnc_schedules: %s", s ? e.message : "not JSON");
  attnc_text_free(text);
  attnc_spec_release(spec);
  return list;
}

/* How many of a case's legal schedules are of the template it names. */
static int
of_template(const json_t *list, int template_id)
{
  Trial x = {0};
  int n = 0;
  size_t i;
  json_t *o;
  json_array_foreach(list, i, o) n += read_schedule(o, &x) && x.template_id == template_id;
  return n;
}

/* Of thousands, that which the seed draws; bench/gpu/notation.py draws the same. */
static bool
draw(const json_t *list, Trial *t)
{
  int n = of_template(list, t->template_id);
  uint32_t at = n ? t->seed * 2654435761u % (uint32_t)n : 0;
  Trial x = *t;
  size_t i;
  json_t *o;
  if (!n || t->template_id != TRIAL_FWD_WGMMA)
    return false;
  json_array_foreach(list, i, o)
  {
    if (!read_schedule(o, &x) || x.template_id != t->template_id || at--)
      continue;
    *t = x;
    return true;
  }
  return false;
}

/* Calls back with every schedule that the case may have. */
static bool
each(Pick *p, const json_t *list, const Trial *t,
     void (*visit)(Pick *, int entry, void *user), void *user)
{
  bool only = of_template(list, t->template_id) > 0, any = false;
  size_t i;
  json_t *o;
  json_array_foreach(list, i, o)
  {
    Trial x = *t;
    if (!read_schedule(o, &x) || (only && x.template_id != t->template_id))
      continue;
    int at = entry(p, &x);
    if (at < 0)
      return false;
    visit(p, at, user);
    any = true;
  }
  return any;
}

static void
count(Pick *p, int at, void *user)
{
  (void)user;
  p->legal[at]++;
}

static void
better(Pick *p, int at, void *user)
{
  int *best = user;
  if (*best < 0 || p->times[at] < p->times[*best] ||
      (p->times[at] == p->times[*best] && p->legal[at] < p->legal[*best]))
    *best = at;
}

static bool
take(Pick *p, const json_t *list, Trial *t)
{
  int best = -1;
  if (!each(p, list, t, better, &best))
    return false;
  const Trial *u = &p->used[best];
  p->times[best]++;
  t->template_id = u->template_id;
  t->how = u->how;
  return true;
}

bool
pick_all(Pick *p, Trial *t, int n, int *bad, char *why, size_t size)
{
  json_t **lists = calloc((size_t)n, sizeof *lists);
  bool ok = lists != NULL;
  for (int i = 0; ok && i < n; i++) {
    *bad = i;
    if (trial_pinned(&t[i]))
      continue;
    lists[i] = legal(&t[i], why, size);
    if (lists[i] && draw(lists[i], &t[i])) {
      json_decref(lists[i]);
      lists[i] = NULL;
      continue;
    }
    ok = lists[i] && each(p, lists[i], &t[i], count, NULL);
    if (lists[i] && !ok)
      snprintf(why, size, "no legal schedule");
  }
  for (int i = 0; ok && i < n; i++)
    if (lists[i])
      ok = take(p, lists[i], &t[i]);
  for (int i = 0; lists && i < n; i++)
    json_decref(lists[i]);
  free(lists);
  return ok;
}

bool
pick_schedule(Trial *t, char *why, size_t size)
{
  Pick *p = calloc(1, sizeof *p);
  int bad;
  bool ok = p && pick_all(p, t, 1, &bad, why, size);
  free(p);
  return ok;
}

int
pick_unused(const Pick *p)
{
  int n = 0;
  for (int i = 0; i < p->n; i++)
    n += p->times[i] == 0;
  return n;
}

void
pick_text(const Pick *p, int i, char *text, size_t n)
{
  trial_print_schedule(&p->used[i], text, n);
}
