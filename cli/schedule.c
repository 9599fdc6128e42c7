/* schedule.c: schedules and targets as the command line writes them. */
#include "cli/cli.h"

#include "base/err.h"
#include "base/schedule_json.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static attnc_status
unknown_field(const char *name, attnc_error *e)
{
  const char *names[SF_COUNT + 1] = {"template"};
  for (int i = 0; i < SF_COUNT; i++)
    names[i + 1] = sched_info[i].name;
  const char *near = str_nearest(name, names, SF_COUNT + 1);
  if (near)
    return err_set(e, ATTNC_ERR_USAGE, "schedule: unknown field %s; did you mean %s?", name,
                   near);
  return err_set(
      e, ATTNC_ERR_USAGE,
      "schedule: unknown field %s; the fields are template, block_m, block_n and "
      "those that docs/cli.md lists",
      name);
}

static attnc_status
set_field(attnc_schedule *s, const char *name, char *value, Arena *arena, attnc_error *e)
{
  int i = sched_find(name);
  if (str_eq(name, "template")) {
    s->template_name = value;
    return ATTNC_OK;
  }
  if (i < 0)
    return unknown_field(name, e);
  if (sched_parse(i, value, sched_at(s, i)))
    return ATTNC_OK;
  Str allowed = str_new(arena);
  sched_allowed(&allowed, i);
  return err_set(e, ATTNC_ERR_USAGE, "schedule: %s=%s is not %s", name, value, allowed.p);
}

attnc_status
schedule_parse(const char *text, Arena *arena, attnc_schedule *out, attnc_error *e)
{
  *out = (attnc_schedule){.size = sizeof *out};
  char *rest = arena_strdup(arena, text), *part;
  while ((part = strsep(&rest, ",")) != NULL) {
    char *value = strchr(part, '=');
    if (!value || value == part || !value[1])
      return err_set(e, ATTNC_ERR_USAGE, "schedule: %.80s is not name=value", part);
    *value++ = 0;
    TRY(set_field(out, part, value, arena, e));
  }
  return ATTNC_OK;
}

attnc_status
cli_schedule(const Cli *c, attnc_schedule *out, bool *given, attnc_error *e)
{
  const char *text = c->opt.value[OPT_SCHEDULE];
  *out = (attnc_schedule){.size = sizeof *out};
  *given = text != NULL;
  return text ? schedule_parse(text, c->arena, out, e) : ATTNC_OK;
}

static int
number_of(const json_t *j, const char *key)
{
  return (int)json_integer_value(json_object_get(j, key));
}

/* What is on, in few letters: " overlap", " persistent", " poly_exp2=4". */
static void
put_short(Str *s, int field, int value)
{
  SchedKind kind = sched_info[field].kind;
  bool plain = kind == SK_BOOL ? value != 2 : value <= 1; /* off, none, the first */
  if (plain)
    return;
  str_put(s, " ");
  if (field == SF_q_in_regs)
    str_put(s, "qreg");
  else if (kind == SK_ENUM)
    sched_put(s, field, value, false);
  else
    str_put(s, sched_info[field].name);
  if (kind == SK_INT || kind == SK_COUNT) {
    str_put(s, "=");
    sched_put(s, field, value, false);
  }
}

const char *
schedule_text(const json_t *j, Arena *arena)
{
  const char *name = json_string_value(json_object_get(j, "template"));
  Str s = str_new(arena);
  str_put(&s, name ? name : "?");
  if (number_of(j, "block_m"))
    str_printf(&s, " %dx%d", number_of(j, "block_m"), number_of(j, "block_n"));
  if (number_of(j, "num_warps"))
    str_printf(&s, " w%d", number_of(j, "num_warps"));
  if (number_of(j, "num_stages"))
    str_printf(&s, " s%d", number_of(j, "num_stages"));
  for (int i = SF_q_in_regs; i < SF_COUNT; i++)
    put_short(&s, i, sched_from_json(i, json_object_get(j, sched_info[i].name)));
  return s.p;
}

json_t *
recipe_schedule(json_t *recipe)
{
  json_t *s = json_object_get(recipe, "schedule");
  if (s && !json_object_get(s, "template"))
    json_object_set(s, "template", json_object_get(recipe, "template"));
  return s;
}

/* The inverse of schedule_json. */
void
schedule_read(const json_t *j, Arena *arena, attnc_schedule *s)
{
  const char *name = json_string_value(json_object_get(j, "template"));
  *s = (attnc_schedule){.size = sizeof *s,
                        .template_name = arena_strdup(arena, name ? name : "")};
  sched_read_json(s, j);
}

json_t *
schedule_json(const attnc_schedule *s)
{
  json_t *j = json_object();
  if (s->template_name)
    json_object_set_new(j, "template", json_string(s->template_name));
  sched_write_json(j, s);
  return j;
}

/* ---- pins ---- */

json_t *
spec_pin_for(const json_t *spec, const char *target)
{
  size_t i;
  json_t *pin;
  json_array_foreach(json_object_get(spec, "schedule"), i, pin)
  {
    const char *arch = json_string_value(json_object_get(pin, "arch"));
    if (!arch || str_eq(arch, target))
      return pin;
  }
  return NULL;
}

static attnc_schedule
from_json(const json_t *j)
{
  attnc_schedule s = {.size = sizeof s,
                      .template_name = json_string_value(json_object_get(j, "template"))};
  sched_read_json(&s, j);
  return s;
}

bool
pin_allows(const json_t *pin, const json_t *schedule)
{
  attnc_schedule want = from_json(pin), have = from_json(schedule);
  return sched_agrees(&want, &have);
}

/* ---- targets ---- */

attnc_status
cli_target(const char *name, attnc_error *e)
{
  const char *const *known = attnc_targets();
  int n = 0;
  for (; known[n]; n++)
    if (str_eq(known[n], name))
      return ATTNC_OK;
  const char *near = str_nearest(name, known, n);
  return err_set(e, ATTNC_ERR_UNSUPPORTED, "unknown target %.40s; %s%s%s", name,
                 near ? "did you mean " : "the first known is ", near ? near : known[0],
                 near ? "?" : "");
}

attnc_status
cli_targets(const Cli *c, const char *text, const char ***out, attnc_error *e)
{
  const char *const *known = attnc_targets();
  int n = 0, count = 1;
  if (!text) {
    while (known[n])
      n++;
    *out = NEW_N(c->arena, const char *, n + 1);
    memcpy(*out, known, (size_t)n * sizeof **out);
    return ATTNC_OK;
  }
  for (const char *p = text; *p; p++)
    count += *p == ',';
  *out = NEW_N(c->arena, const char *, count + 1);
  char *rest = arena_strdup(c->arena, text), *part;
  while ((part = strsep(&rest, ",")) != NULL) {
    TRY(cli_target(part, e));
    (*out)[n++] = part;
  }
  return ATTNC_OK;
}
