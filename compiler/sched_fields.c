#include "compiler/sched_fields.h"

#include "base/str.h"

#include <stdio.h>

const Template *
template_find(const char *name)
{
  for (int i = 0; i < n_templates; i++)
    if (str_eq(template_table[i]->name, name))
      return template_table[i];
  return NULL;
}

int
sched_n_fields(const Template *t)
{
  return SCHED_COMMON + t->n_options;
}

const SchedField *
sched_field_of(const Template *t, int i)
{
  return i < SCHED_COMMON ? &sched_common[i] : &t->options[i - SCHED_COMMON];
}

int *
sched_at(Sched *s, int i)
{
  int *const common[SCHED_COMMON] = {&s->bm, &s->bn, &s->stages, &s->warps};
  return i < SCHED_COMMON ? common[i] : &s->option[i - SCHED_COMMON];
}

int
sched_find(const Template *t, const char *name)
{
  for (int i = 0; i < sched_n_fields(t); i++)
    if (str_eq(sched_field_of(t, i)->name, name))
      return i;
  return -1;
}

bool
sched_has(const Template *t, const char *name)
{
  return sched_find(t, name) >= 0;
}

const SchedField *
sched_field(const char *name)
{
  for (int i = 0; i < n_templates; i++) {
    int at = sched_find(template_table[i], name);
    if (at >= 0)
      return sched_field_of(template_table[i], at);
  }
  return NULL;
}

int
sched_fields(const SchedField *list[SCHED_MAX])
{
  int n = 0;
  for (int i = 0; i < n_templates; i++)
    for (int k = 0; k < sched_n_fields(template_table[i]) && n < SCHED_MAX; k++) {
      const SchedField *f = sched_field_of(template_table[i], k);
      bool there = false;
      for (int other = 0; other < n; other++)
        there = there || str_eq(list[other]->name, f->name);
      if (!there)
        list[n++] = f;
    }
  return n;
}

Schedule
sched_named(const Sched *s)
{
  Schedule x = {.n = 0};
  Sched own = *s;
  char room[SCHED_VALUE];
  snprintf(x.template_name, sizeof x.template_name, "%s", s->tmpl->name);
  for (int i = 0; i < sched_n_fields(s->tmpl); i++) {
    const SchedField *f = sched_field_of(s->tmpl, i);
    sched_text(f, *sched_at(&own, i), room);
    sched_set(&x, f->name, room);
  }
  return x;
}
