#include "compiler/space.h"

#include "compiler/sched_fields.h"

#include <string.h>

int
space_core(const Template *t, const Case *c)
{
  int points = 1;
  for (const SpaceAxis *const *axis = t->axes(c); *axis; axis++)
    points *= (*axis)->n;
  return points;
}

/* The point of the axes whose number is n modulo that of all points. */
static void
set_axes(const Template *t, const Case *c, int n, Sched *s)
{
  for (const SpaceAxis *const *axis = t->axes(c); *axis; axis++) {
    const SpaceAxis *a = *axis;
    for (int k = 0; k < AXIS_FIELDS && a->field[k]; k++)
      *sched_at(s, sched_find(t, a->field[k])) = a->value[n % a->n][k];
    n /= a->n;
  }
}

static bool
on_axis(const Template *t, const Case *c, const char *name)
{
  for (const SpaceAxis *const *axis = t->axes(c); *axis; axis++)
    for (int k = 0; k < AXIS_FIELDS && (*axis)->field[k]; k++)
      if (!strcmp((*axis)->field[k], name))
        return true;
  return false;
}

/* Changes the n-th of the options that tuning varies and no axis has; false past the last.
 */
static bool
vary(const Case *c, int n, Sched *s)
{
  const Template *t = s->tmpl;
  for (int i = 0; i < t->n_options; i++) {
    const SchedField *f = &t->options[i];
    if (!f->vary || on_axis(t, c, f->name) || n--)
      continue;
    if (f->kind == SK_BOOL)
      s->option[i] = !s->option[i];
    else
      sched_value(f, f->example, &s->option[i]);
    return true;
  }
  return false;
}

bool
space_point(const Template *t, const Case *c, int n, Sched *s)
{
  int core = space_core(t, c);
  *s = t->plain();
  s->tmpl = t;
  set_axes(t, c, n, s);
  return n < core || vary(c, n / core - 1, s);
}
