/* schedule.c: schedules and targets as the command line writes them. */
#include "cli/cli.h"

#include "base/err.h"
#include "schedule/schedule_json.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* For a call; strings in the arena. */
static attnc_schedule
struct_of(const Schedule *s, Arena *arena)
{
  Schedule *own = NEW(arena, Schedule);
  *own = *s;
  return sched_struct(own, arena_alloc(arena, SCHED_TEXT));
}

attnc_status
schedule_parse(const char *text, Arena *arena, attnc_schedule *out, attnc_error *e)
{
  Schedule s;
  TRY(sched_parse(&s, text, e));
  *out = struct_of(&s, arena);
  return attnc_schedule_check(out, e);
}

attnc_status
cli_schedule(const Cli *c, attnc_schedule *out, bool *given, attnc_error *e)
{
  const char *text = c->opt.value[OPT_SCHEDULE];
  *out = (attnc_schedule){.size = sizeof *out};
  *given = text != NULL;
  return text ? schedule_parse(text, c->arena, out, e) : ATTNC_OK;
}

static json_t *fields;
static pthread_once_t fields_once = PTHREAD_ONCE_INIT;

static void
read_fields(void)
{
  fields = json_loads(attnc_schedule_fields(), 0, NULL);
}

const json_t *
schedule_fields(void)
{
  pthread_once(&fields_once, read_fields);
  return fields;
}

static int
number_of(const json_t *j, const char *key)
{
  return (int)json_integer_value(json_object_get(j, key));
}

/* What is on, in few letters: " intra_wg_overlap", " persistent", " poly_exp2=4"; what is
 * off, none or the first of its names is not said. */
static void
put_short(Str *s, const json_t *field, const json_t *value)
{
  const char *name = json_string_value(json_object_get(field, "name"));
  const json_t *first = json_array_get(json_object_get(field, "names"), 0);
  if (json_is_true(value))
    str_printf(s, " %s", str_eq(name, "q_in_regs") ? "qreg" : name);
  else if (json_is_string(value) && !json_equal(value, first))
    str_printf(s, " %s", json_string_value(value));
  else if (json_is_integer(value) && json_integer_value(value) > number_of(field, "min"))
    str_printf(s, " %s=%lld", name, (long long)json_integer_value(value));
}

const char *
schedule_text(const json_t *j, Arena *arena)
{
  const char *name = json_string_value(json_object_get(j, "template"));
  Str s = str_new(arena);
  size_t i;
  const json_t *field;
  str_put(&s, name ? name : "?");
  if (number_of(j, "block_m"))
    str_printf(&s, " %dx%d", number_of(j, "block_m"), number_of(j, "block_n"));
  if (number_of(j, "num_warps"))
    str_printf(&s, " w%d", number_of(j, "num_warps"));
  if (number_of(j, "num_stages"))
    str_printf(&s, " s%d", number_of(j, "num_stages"));
  json_array_foreach((json_t *)(uintptr_t)schedule_fields(), i, field)
  {
    if (i >= SCHED_COMMON)
      put_short(&s, field,
                json_object_get(j, json_string_value(json_object_get(field, "name"))));
  }
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
schedule_read(const json_t *j, Arena *arena, attnc_schedule *out)
{
  Schedule s = {.n = 0};
  sched_read_json(&s, j);
  *out = struct_of(&s, arena);
}

json_t *
schedule_json(const attnc_schedule *from)
{
  Schedule s = {.n = 0};
  json_t *j = json_object();
  if (sched_read(&s, from, NULL) == ATTNC_OK)
    sched_write_json(j, &s);
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

bool
pin_allows(const json_t *pin, const json_t *schedule)
{
  Schedule want = {.n = 0}, have = {.n = 0};
  return (!pin || sched_read_json(&want, pin)) && sched_read_json(&have, schedule) &&
         sched_agrees(&want, &have);
}

/* ---- targets ---- */

attnc_status
cli_targets(const Cli *c, const char *text, const char ***out, attnc_error *e)
{
  const char *const *known = attnc_targets();
  int n = 0, count = 1;
  if (!text || str_eq(text, "all")) {
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
    TRY(attnc_target_check(part, e));
    (*out)[n++] = part;
  }
  return ATTNC_OK;
}

const char *
lengths_text(const json_t *lengths, Arena *arena)
{
  const json_t *of = json_object_get(lengths, "of"), *one;
  double each = json_number_value(json_object_get(lengths, "each"));
  Str s = str_new(arena);
  size_t i;
  str_put(&s, "assumed:");
  if (each > 1)
    str_printf(&s, " %.4g each of", each);
  json_array_foreach(of, i, one)
      str_printf(&s, " %lld/%lld", (long long)json_integer_value(json_array_get(one, 0)),
                 (long long)json_integer_value(json_array_get(one, 1)));
  return of ? s.p : NULL;
}
