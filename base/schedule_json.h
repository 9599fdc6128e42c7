/* schedule_json.h: the fields of a schedule to and from jansson's values, for who links it.
 */
#ifndef ATTNC_BASE_SCHEDULE_JSON_H
#define ATTNC_BASE_SCHEDULE_JSON_H

#include "base/schedule.h"

#include <jansson.h>

/* 0: absent, null, or no value of this field.  Booleans may be 1 and 2, and what is open 0,
 * as they once were. */
static inline int
sched_from_json(int field, const json_t *j)
{
  const SchedInfo *f = &sched_info[field];
  int value = 0;
  if (json_is_boolean(j) && f->kind == SK_BOOL)
    return json_is_true(j) ? 2 : 1;
  if (json_is_string(j) && f->kind == SK_ENUM)
    sched_parse(field, json_string_value(j), &value);
  if (!json_is_integer(j) || f->kind == SK_ENUM)
    return value;
  json_int_t v = json_integer_value(j);
  v += f->kind == SK_COUNT && v >= 0 && v <= f->most;
  return v >= f->least && v <= f->most ? (int)v : 0;
}

static inline json_t *
sched_to_json(int field, int value)
{
  const SchedInfo *f = &sched_info[field];
  size_t n;
  if (f->kind == SK_BOOL)
    return json_boolean(value == 2);
  if (f->kind != SK_ENUM)
    return json_integer(f->kind == SK_COUNT ? value - 1 : value);
  const char *name = sched_name(field, value, &n);
  return json_stringn(name ? name : "", n);
}

/* False if a field is there and has no value of its kind; it is left open then. */
static inline bool
sched_read_json(attnc_schedule *s, const json_t *j)
{
  bool sound = true;
  for (int i = 0; i < SF_COUNT; i++) {
    const json_t *value = json_object_get(j, sched_info[i].name);
    int v = *sched_at(s, i) = sched_from_json(i, value);
    bool open = !value || json_is_null(value) ||
                (json_is_integer(value) && !json_integer_value(value));
    sound = sound && (v || open);
  }
  return sound;
}

static inline void
sched_write_json(json_t *j, const attnc_schedule *s)
{
  for (int i = 0; i < SF_COUNT; i++)
    if (sched_get(s, i))
      json_object_set_new(j, sched_info[i].name, sched_to_json(i, sched_get(s, i)));
}

#endif
