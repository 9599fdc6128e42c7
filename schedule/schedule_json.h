/* schedule_json.h: a schedule to and from jansson's values, for who links it. */
#ifndef ATTNC_BASE_SCHEDULE_JSON_H
#define ATTNC_BASE_SCHEDULE_JSON_H

#include "schedule/schedule.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Keys beside the fields in the objects that hold schedules: pins, answers of
 * attnc_schedules.  No option is called so (a test). */
static const char *const sched_beside[] = {
    "template",      "shared",         "regs",
    "blocks_per_sm", "in_flight_kb",   "in_flight_wanted_kb",
    "key_clocks",    "product_clocks", "cost",
    "reason",        "line",           "arch"};

static inline bool
sched_is_beside(const char *key)
{
  for (size_t i = 0; i < sizeof sched_beside / sizeof *sched_beside; i++)
    if (!strcmp(sched_beside[i], key))
      return true;
  return false;
}

/* The value as text; false: no value that a field has. */
static inline bool
sched_text_of(const json_t *j, char text[SCHED_VALUE])
{
  int n = -1;
  if (json_is_boolean(j))
    n = snprintf(text, SCHED_VALUE, "%s", json_is_true(j) ? "true" : "false");
  else if (json_is_integer(j))
    n = snprintf(text, SCHED_VALUE, "%lld", (long long)json_integer_value(j));
  else if (json_is_string(j))
    n = snprintf(text, SCHED_VALUE, "%s", json_string_value(j));
  return n >= 0 && n < SCHED_VALUE;
}

/* False if a value is none, or the template's name is not of the form. */
static inline bool
sched_read_json(Schedule *s, const json_t *j)
{
  const char *key, *name = json_string_value(json_object_get(j, "template"));
  char text[SCHED_VALUE];
  json_t *value;
  attnc_schedule named = {.size = sizeof named, .template_name = name};
  if (sched_read(s, &named, NULL) != ATTNC_OK)
    return false;
  json_object_foreach((json_t *)(uintptr_t)j, key,
                      value) if (!sched_is_beside(key) && !json_is_null(value))
  {
    if (!sched_text_of(value, text) || !sched_set(s, key, text))
      return false;
  }
  return true;
}

static inline void
sched_write_json(json_t *j, const Schedule *s)
{
  if (*s->template_name)
    json_object_set_new(j, "template", json_string(s->template_name));
  for (int i = 0; i < s->n; i++) {
    const char *value = s->at[i].value;
    json_t *made = json_loads(value, JSON_DECODE_ANY, NULL); /* a number or a boolean */
    bool bare = json_is_boolean(made) || json_is_integer(made);
    json_object_set_new(j, s->at[i].name, bare ? json_incref(made) : json_string(value));
    json_decref(made);
  }
}

#endif
