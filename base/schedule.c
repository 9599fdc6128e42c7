#include "base/schedule.h"

#include <stdlib.h>
#include <string.h>

const SchedInfo sched_info[SF_COUNT] = {
#define X(name, kind, least, most, names, example, what)                                   \
  {#name, offsetof(attnc_schedule, name), SK_##kind, least, most, names, what},
    ATTNC_SCHEDULE_TABLE(X)
#undef X
};

int
sched_find(const char *name)
{
  for (int i = 0; i < SF_COUNT; i++)
    if (!strcmp(sched_info[i].name, name))
      return i;
  return -1;
}

int *
sched_at(attnc_schedule *s, int field)
{
  return (int *)(void *)((char *)s + sched_info[field].offset);
}

int
sched_get(const attnc_schedule *s, int field)
{
  return *(const int *)(const void *)((const char *)s + sched_info[field].offset);
}

const char *
sched_name(int field, int n, size_t *len)
{
  const char *p = sched_info[field].names;
  while (p && --n > 0)
    p = (p = strchr(p, ' ')) ? p + 1 : NULL;
  *len = p ? strcspn(p, " ") : 0;
  return p;
}

void
sched_put(Str *s, int field, int value, bool json)
{
  const SchedInfo *f = &sched_info[field];
  const char *quote = json ? "\"" : "";
  size_t n;
  if (f->kind == SK_BOOL) {
    str_put(s, value == 2 ? "true" : "false");
  } else if (f->kind == SK_ENUM) {
    const char *name = sched_name(field, value, &n);
    str_printf(s, "%s%.*s%s", quote, (int)n, name ? name : "", quote);
  } else {
    str_printf(s, "%d", f->kind == SK_COUNT ? value - 1 : value);
  }
}

static bool
whole(const char *text, long *v)
{
  char *end;
  *v = strtol(text, &end, 10);
  return end != text && !*end;
}

bool
sched_parse(int field, const char *text, int *value)
{
  const SchedInfo *f = &sched_info[field];
  long v;
  size_t n;
  *value = 0;
  if (f->kind == SK_BOOL)
    *value = !strcmp(text, "true") ? 2 : !strcmp(text, "false") ? 1 : 0;
  for (int i = f->least; f->kind == SK_ENUM && i <= f->most; i++) {
    const char *name = sched_name(field, i, &n);
    if (strlen(text) == n && !strncmp(text, name, n))
      *value = i;
  }
  if ((f->kind == SK_INT || f->kind == SK_COUNT) && whole(text, &v)) {
    v += f->kind == SK_COUNT;
    *value = v >= f->least && v <= f->most ? (int)v : 0;
  }
  return *value != 0;
}

void
sched_allowed(Str *s, int field)
{
  const SchedInfo *f = &sched_info[field];
  int zero = f->kind == SK_COUNT;
  if (f->kind == SK_BOOL)
    str_put(s, "true or false");
  else if (f->kind == SK_ENUM)
    str_printf(s, "one of %s", f->names);
  else
    str_printf(s, "a number from %d to %d", f->least - zero, f->most - zero);
}

void
sched_list(Str *s, const attnc_schedule *x, bool json)
{
  bool any = false;
  for (int i = 0; i < SF_COUNT; i++) {
    int v = sched_get(x, i);
    if (!v)
      continue;
    str_printf(s, json ? "%s\"%s\":" : "%s%s=", any ? json ? "," : " " : "",
               sched_info[i].name);
    sched_put(s, i, v, json);
    any = true;
  }
}

enum {
  NO_FIELD = sizeof(int), /* bytes at the end of every version */
  MAX_VERSION = 4096,
  FIRST_VERSION = offsetof(attnc_schedule, q_in_regs) + sizeof(int) + NO_FIELD,
};

/* Bytes of a newer caller's fields are 0. */
static bool
rest_is_zero(const attnc_schedule *s)
{
  const char *bytes = (const char *)s;
  for (size_t i = offsetof(attnc_schedule, reserved); i + NO_FIELD < s->size; i++)
    if (bytes[i])
      return false;
  return true;
}

static attnc_status
check_values(const attnc_schedule *s, attnc_error *e)
{
  for (int i = 0; i < SF_COUNT; i++) {
    const SchedInfo *f = &sched_info[i];
    int v = sched_get(s, i);
    if (v && (v < f->least || v > f->most))
      return err_set(e, ATTNC_ERR_USAGE, "attnc_schedule.%s is %d, neither 0 nor %d … %d",
                     f->name, v, f->least, f->most);
  }
  return ATTNC_OK;
}

attnc_status
sched_copy(attnc_schedule *to, const attnc_schedule *from, attnc_error *e)
{
  size_t n = from->size;
  if (n < FIRST_VERSION || n > MAX_VERSION)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_schedule.size is not set");
  if (!rest_is_zero(from))
    return err_set(e, ATTNC_ERR_USAGE,
                   "attnc_schedule sets a field that this library does not know");
  *to = (attnc_schedule){.size = sizeof *to};
  memcpy(to, from, (n < sizeof *to ? n : sizeof *to) - NO_FIELD);
  to->size = sizeof *to;
  return check_values(to, e);
}

bool
sched_asks(const attnc_schedule *s)
{
  static const attnc_schedule nothing = {.size = sizeof nothing};
  return s->template_name || !sched_agrees(s, &nothing);
}

void
sched_merge(attnc_schedule *to, const attnc_schedule *from)
{
  if (!to->template_name)
    to->template_name = from->template_name;
  for (int i = 0; i < SF_COUNT; i++)
    if (!sched_get(to, i))
      *sched_at(to, i) = sched_get(from, i);
}

bool
sched_agrees(const attnc_schedule *want, const attnc_schedule *have)
{
  const char *name = want->template_name, *its = have->template_name;
  if (name && (!its || strcmp(name, its)))
    return false;
  for (int i = 0; i < SF_COUNT; i++) {
    int v = sched_get(want, i);
    if (v && v != sched_get(have, i))
      return false;
  }
  return true;
}
