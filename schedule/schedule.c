#include "schedule/schedule.h"

#include "base/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const SchedField sched_common[SCHED_COMMON] = {SCHED_COMMON_TABLE(SCHED_ROW)};

/* ---- what a field is ---- */

/* The n-th of the names of an ENUM. */
static const char *
name_at(const SchedField *f, int n, size_t *len)
{
  const char *p = f->names;
  while (p && n-- > 0)
    p = (p = strchr(p, ' ')) ? p + 1 : NULL;
  *len = p ? strcspn(p, " ") : 0;
  return p;
}

/* In one way only: no sign but -, no leading zero. */
static bool
whole_number(const char *text, long *v)
{
  char *end;
  const char *digits = text + (*text == '-');
  *v = strtol(text, &end, 10);
  return *digits >= '0' && *digits <= '9' && !*end && (*digits != '0' || !digits[1]);
}

bool
sched_value(const SchedField *f, const char *text, int *value)
{
  long v;
  size_t n;
  *value = 0;
  if (f->kind == SK_BOOL) {
    *value = !strcmp(text, "true");
    return *value || !strcmp(text, "false");
  }
  for (int i = f->min; f->kind == SK_ENUM && i <= f->max; i++) {
    const char *name = name_at(f, i, &n);
    *value = i;
    if (name && strlen(text) == n && !strncmp(text, name, n))
      return true;
  }
  if (f->kind != SK_INT || !whole_number(text, &v) || v < f->min || v > f->max)
    return false;
  *value = (int)v;
  return true;
}

void
sched_text(const SchedField *f, int value, char text[SCHED_VALUE])
{
  size_t n;
  if (f->kind == SK_BOOL) {
    snprintf(text, SCHED_VALUE, "%s", value ? "true" : "false");
  } else if (f->kind == SK_ENUM) {
    const char *name = name_at(f, value, &n);
    snprintf(text, SCHED_VALUE, "%.*s", (int)n, name ? name : "");
  } else {
    snprintf(text, SCHED_VALUE, "%d", value);
  }
}

void
sched_allowed(const SchedField *f, char *text, size_t n)
{
  if (f->kind == SK_BOOL)
    snprintf(text, n, "true or false");
  else if (f->kind == SK_ENUM)
    snprintf(text, n, "one of %s", f->names);
  else
    snprintf(text, n, "a number from %d to %d", f->min, f->max);
}

/* ---- named values ---- */

/* Where the name is, or would be. */
static int
place(const Schedule *s, const char *name, bool *there)
{
  int i = 0;
  while (i < s->n && strcmp(s->at[i].name, name) < 0)
    i++;
  *there = i < s->n && !strcmp(s->at[i].name, name);
  return i;
}

const char *
sched_get(const Schedule *s, const char *name)
{
  bool there;
  int i = place(s, name, &there);
  return there ? s->at[i].value : NULL;
}

int
sched_int(const Schedule *s, const char *name)
{
  const char *text = sched_get(s, name);
  return text ? (int)strtol(text, NULL, 10) : 0;
}

#define SMALL  "abcdefghijklmnopqrstuvwxyz"
#define LARGE  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool
of_form(const char *text, const char *letters, size_t room)
{
  size_t n = strlen(text);
  return n && n < room && strspn(text, letters) == n;
}

bool
sched_set(Schedule *s, const char *name, const char *value)
{
  bool there;
  if (!of_form(name, SMALL DIGITS "_.", SCHED_NAME) ||
      !of_form(value, SMALL LARGE DIGITS "_.+-", SCHED_VALUE))
    return false;
  int i = place(s, name, &there);
  if (!there) {
    if (s->n == SCHED_MAX)
      return false;
    memmove(&s->at[i + 1], &s->at[i], (size_t)(s->n++ - i) * sizeof s->at[0]);
  }
  s->at[i] = (SchedNamed){"", ""};
  memcpy(s->at[i].name, name, strlen(name));
  memcpy(s->at[i].value, value, strlen(value));
  return true;
}

bool
sched_is_set(const Schedule *s)
{
  return *s->template_name || s->n;
}

void
sched_merge(Schedule *to, const Schedule *from)
{
  if (!*to->template_name)
    memcpy(to->template_name, from->template_name, SCHED_NAME);
  for (int i = 0; i < from->n; i++)
    if (!sched_get(to, from->at[i].name))
      sched_set(to, from->at[i].name, from->at[i].value);
}

bool
sched_agrees(const Schedule *want, const Schedule *have)
{
  if (*want->template_name && strcmp(want->template_name, have->template_name) != 0)
    return false;
  for (int i = 0; i < want->n; i++) {
    const char *value = sched_get(have, want->at[i].name);
    if (!value || strcmp(value, want->at[i].value) != 0)
      return false;
  }
  return true;
}

/* ---- text ---- */

void
sched_list(Str *s, const Schedule *x, bool json)
{
  for (int i = 0; i < x->n; i++) {
    const char *value = x->at[i].value;
    long number;
    bool bare =
        !strcmp(value, "true") || !strcmp(value, "false") || whole_number(value, &number);
    if (json)
      str_printf(s, bare ? "%s\"%s\":%s" : "%s\"%s\":\"%s\"", i ? "," : "", x->at[i].name,
                 value);
    else
      str_printf(s, "%s%s=%s", i ? " " : "", x->at[i].name, value);
  }
}

static attnc_status
not_of_form(const char *part, size_t n, attnc_error *e)
{
  return err_set(e, ATTNC_ERR_USAGE, "schedule: '%.*s' is not name=value",
                 n < 80 ? (int)n : 80, part);
}

/* One name=value of n bytes. */
static attnc_status
read_part(Schedule *s, const char *part, size_t n, attnc_error *e)
{
  char text[SCHED_NAME + SCHED_VALUE];
  if (n >= sizeof text)
    return not_of_form(part, n, e);
  memcpy(text, part, n);
  text[n] = 0;
  char *value = strchr(text, '=');
  if (!value)
    return not_of_form(part, n, e);
  *value++ = 0;
  bool template = !strcmp(text, "template");
  if (template ? *s->template_name != 0 : sched_get(s, text) != NULL)
    return err_set(e, ATTNC_ERR_USAGE, "schedule: '%s' is given twice", text);
  if (template ? !of_form(value, SMALL DIGITS "_", SCHED_NAME) : !sched_set(s, text, value))
    return not_of_form(part, n, e);
  if (template)
    memcpy(s->template_name, value, strlen(value));
  return ATTNC_OK;
}

static attnc_status
read_parts(Schedule *s, const char *text, attnc_error *e)
{
  for (const char *p = text;; p++) {
    size_t n = strcspn(p, ",");
    TRY(read_part(s, p, n, e));
    p += n;
    if (!*p)
      return ATTNC_OK;
  }
}

attnc_status
sched_parse(Schedule *s, const char *text, attnc_error *e)
{
  *s = (Schedule){.n = 0};
  return read_parts(s, text, e);
}

void
sched_write(Str *out, const Schedule *s)
{
  const char *comma = "";
  if (*s->template_name) {
    str_printf(out, "template=%s", s->template_name);
    comma = ",";
  }
  for (int i = 0; i < s->n; i++, comma = ",")
    str_printf(out, "%s%s=%s", comma, s->at[i].name, s->at[i].value);
}

/* ---- the public struct ---- */

#define X(name, ...) +1
_Static_assert(0 SCHED_COMMON_TABLE(X) == SCHED_COMMON, "SCHED_COMMON");
#undef X

static int *
member(attnc_schedule *s, int i)
{
  static const size_t at[SCHED_COMMON] = {
#define X(name, ...) offsetof(attnc_schedule, name),
      SCHED_COMMON_TABLE(X)
#undef X
  };
  return (int *)(void *)((char *)s + at[i]);
}

static attnc_status
read_members(Schedule *to, attnc_schedule *s, attnc_error *e)
{
  for (int i = 0; i < SCHED_COMMON; i++) {
    char text[16];
    const char *name = sched_common[i].name;
    int v = *member(s, i);
    if (v < 0)
      return err_set(e, ATTNC_ERR_USAGE, "attnc_schedule.%s is %d", name, v);
    snprintf(text, sizeof text, "%d", v);
    if (v)
      sched_set(to, name, text);
  }
  return ATTNC_OK;
}

attnc_status
sched_read(Schedule *to, const attnc_schedule *from, attnc_error *e)
{
  attnc_schedule s;
  TRY(struct_take(&s, sizeof s, from, SIZE_UPTO(attnc_schedule, options), "attnc_schedule",
                  e));
  *to = (Schedule){.n = 0};
  TRY(read_members(to, &s, e));
  const char *name = s.template_name;
  if (name && !of_form(name, SMALL DIGITS "_", SCHED_NAME))
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "there is no template '%.60s'", name);
  if (name)
    memcpy(to->template_name, name, strlen(name));
  return s.options && *s.options ? read_parts(to, s.options, e) : ATTNC_OK;
}

attnc_schedule
sched_struct(const Schedule *s, char options[SCHED_TEXT])
{
  attnc_schedule out = {.size = sizeof out, .options = options};
  size_t n = 0;
  options[0] = 0;
  if (*s->template_name)
    out.template_name = s->template_name;
  for (int i = 0; i < s->n; i++) {
    int common = 0, value;
    while (common < SCHED_COMMON && strcmp(sched_common[common].name, s->at[i].name) != 0)
      common++;
    if (common < SCHED_COMMON && sched_value(&sched_common[common], s->at[i].value, &value))
      *member(&out, common) = value;
    else /* a member that is no number of its field as well: whoever reads it says so */
      n += (size_t)snprintf(options + n, SCHED_TEXT - n, "%s%s=%s", n ? "," : "",
                            s->at[i].name, s->at[i].value);
  }
  return out;
}
