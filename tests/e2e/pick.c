#include "tests/e2e/pick.h"
#include "tests/e2e/call.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool
same(const Trial *a, const Trial *b)
{
  return a->template_id == b->template_id && a->bm == b->bm && a->bn == b->bn &&
         a->stages == b->stages && a->warps == b->warps && a->q_regs == b->q_regs;
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

static int
whole(const json_t *o, const char *key)
{
  const json_t *x = json_object_get(o, key);
  return json_is_boolean(x) ? json_is_true(x) : (int)json_integer_value(x);
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
  t->bm = whole(o, "block_m");
  t->bn = whole(o, "block_n");
  t->stages = whole(o, "num_stages");
  t->warps = whole(o, "num_warps");
  t->q_regs = whole(o, "q_in_regs") == 2;
  return t->bm > 0;
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
  const attnc_problem p = call_problem(&shape);
  call_free(&shape, NULL);
  attnc_status s = attnc_schedules(spec, &p, trial_target(t), 0, &text, &e);
  json_t *list = s ? NULL : json_loads(text, 0, NULL);
  if (!list)
    snprintf(why, n, "attnc_schedules: %s", s ? e.message : "not JSON");
  attnc_text_free(text);
  attnc_spec_release(spec);
  return list;
}

/* The least used of the list's schedules of one template (-1: of any). */
static bool
least(Pick *p, const json_t *list, int template_id, Trial *t)
{
  int best = -1;
  size_t n = json_array_size(list);
  for (size_t i = 0; i < n; i++) {
    Trial x = *t;
    if (!read_schedule(json_array_get(list, (i + t->seed) % n), &x))
      return false;
    int at = entry(p, &x);
    if (at < 0)
      return false;
    if (template_id >= 0 && x.template_id != template_id)
      continue;
    if (best < 0 || p->times[at] < p->times[best])
      best = at;
  }
  if (best < 0)
    return false;
  const Trial *u = &p->used[best];
  p->times[best]++;
  t->template_id = u->template_id;
  t->bm = u->bm;
  t->bn = u->bn;
  t->stages = u->stages;
  t->warps = u->warps;
  t->q_regs = u->q_regs;
  return true;
}

bool
pick_schedule(Pick *p, Trial *t, char *why, size_t n)
{
  if (t->bm) {
    int at = entry(p, t);
    if (at >= 0)
      p->times[at]++;
    return true;
  }
  json_t *list = legal(t, why, n);
  if (!list)
    return false;
  bool ok = least(p, list, t->template_id, t) || least(p, list, -1, t);
  json_decref(list);
  if (!ok)
    snprintf(why, n, "no legal schedule");
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
  const Trial *u = &p->used[i];
  snprintf(text, n, "%s:%dx%ds%dw%d%c", trial_template(u), u->bm, u->bn, u->stages,
           u->warps, u->q_regs ? 'q' : 'Q');
}
