/* schedule.c: schedules and targets as the command line writes them. */
#include "cli/cli.h"

#include "base/err.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* name, member of attnc_schedule, least, most */
#define SCHEDULE_TABLE(X)                                                                  \
  X("block_m", block_m, 1, 4096)                                                           \
  X("block_n", block_n, 1, 4096)                                                           \
  X("num_stages", num_stages, 1, 64)                                                       \
  X("num_warps", num_warps, 1, 32)

static const struct {
  const char *name;
  size_t offset;
  int least, most;
} fields[] = {
#define X(name, member, least, most) {name, offsetof(attnc_schedule, member), least, most},
    SCHEDULE_TABLE(X)
#undef X
};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static attnc_status
set_number(attnc_schedule *s, const char *name, const char *value, attnc_error *e)
{
  static const char *const names[] = {"template",   "block_m",   "block_n",
                                      "num_stages", "num_warps", "q_in_regs"};
  for (int i = 0; i < N_FIELDS; i++) {
    if (!str_eq(name, fields[i].name))
      continue;
    char *end;
    long v = strtol(value, &end, 10);
    if (end == value || *end || v < fields[i].least || v > fields[i].most)
      return err_set(e, ATTNC_ERR_USAGE, "schedule: %s=%s is not a number from %d to %d",
                     name, value, fields[i].least, fields[i].most);
    *(int *)((char *)s + fields[i].offset) = (int)v;
    return ATTNC_OK;
  }
  const char *near = str_nearest(name, names, sizeof names / sizeof *names);
  return err_set(e, ATTNC_ERR_USAGE, "schedule: unknown field %s; %s%s%s", name,
                 near ? "did you mean " : "there are template, block_m, block_n, ",
                 near ? near : "num_stages, num_warps, q_in_regs", near ? "?" : "");
}

static attnc_status
set_field(attnc_schedule *s, const char *name, char *value, attnc_error *e)
{
  if (str_eq(name, "template")) {
    s->template_name = value;
    return ATTNC_OK;
  }
  if (!str_eq(name, "q_in_regs"))
    return set_number(s, name, value, e);
  bool yes = str_eq(value, "true"), no = str_eq(value, "false");
  if (!yes && !no)
    return err_set(e, ATTNC_ERR_USAGE, "schedule: q_in_regs=%s is not true or false",
                   value);
  s->q_in_regs = yes ? 2 : 1;
  return ATTNC_OK;
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
    TRY(set_field(out, part, value, e));
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
  const json_t *q = json_object_get(j, "q_in_regs");
  if (json_is_true(q) || json_integer_value(q) == 2)
    str_put(&s, " qreg");
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
  const json_t *q = json_object_get(j, "q_in_regs");
  *s = (attnc_schedule){.size = sizeof *s,
                        .template_name = arena_strdup(arena, name ? name : ""),
                        .block_m = number_of(j, "block_m"),
                        .block_n = number_of(j, "block_n"),
                        .num_stages = number_of(j, "num_stages"),
                        .num_warps = number_of(j, "num_warps")};
  if (json_is_boolean(q))
    s->q_in_regs = json_is_true(q) ? 2 : 1;
  else
    s->q_in_regs = (int)json_integer_value(q);
}

json_t *
schedule_json(const attnc_schedule *s)
{
  json_t *j = json_object();
  if (s->template_name)
    json_object_set_new(j, "template", json_string(s->template_name));
  for (int i = 0; i < N_FIELDS; i++) {
    int v = *(const int *)((const char *)s + fields[i].offset);
    if (v)
      json_object_set_new(j, fields[i].name, json_integer(v));
  }
  if (s->q_in_regs)
    json_object_set_new(j, "q_in_regs", json_boolean(s->q_in_regs == 2));
  return j;
}

/* ---- pins ---- */

json_t *
spec_pin_for(const json_t *spec, const char *target)
{
  size_t i;
  json_t *pin;
  json_array_foreach (json_object_get(spec, "schedule"), i, pin) {
    const char *arch = json_string_value(json_object_get(pin, "arch"));
    if (!arch || str_eq(arch, target))
      return pin;
  }
  return NULL;
}

bool
pin_allows(const json_t *pin, const json_t *schedule)
{
  const char *want = json_string_value(json_object_get(pin, "template"));
  const char *have = json_string_value(json_object_get(schedule, "template"));
  if (want && !(have && str_eq(want, have)))
    return false;
  for (int i = 0; i < N_FIELDS; i++) {
    int v = number_of(pin, fields[i].name);
    if (v && v != number_of(schedule, fields[i].name))
      return false;
  }
  const json_t *q = json_object_get(pin, "q_in_regs"),
               *has = json_object_get(schedule, "q_in_regs");
  return !json_is_boolean(q) ||
         json_is_true(q) == (json_is_true(has) || json_integer_value(has) == 2);
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
