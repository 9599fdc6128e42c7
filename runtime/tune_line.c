#include "runtime/tune_line.h"

#include "base/call.h"
#include "base/str.h"
#include "schedule/schedule_json.h"

#include <math.h>
#include <string.h>

#define RECORD "attnc.tune/1"
#define FORGET "attnc.forget/1"
#define TRIAL  "attnc.trial/1"

const char *const tune_level_names[ATTNC_TUNE_LEVEL_COUNT] = {[ATTNC_TUNE_DEFAULT] =
                                                                  "measure",
#define X(id, name, percent, least) [ATTNC_TUNE_##id] = name,
                                                              ATTNC_TUNE_LEVEL_TABLE(X)
#undef X
};

void
tune_bucket(const attnc_sizes *s, int bucket[3])
{
  double sizes[3] = {(double)s->b * (double)s->h, (double)s->sq, (double)s->sk};
  for (int i = 0; i < 3; i++)
    bucket[i] = sizes[i] > 0 ? (int)lround(log2(sizes[i])) : TUNE_UNKNOWN;
}

/* ---- reading ---- */

static const char *
text_of(Arena *arena, const json_t *o, const char *key)
{
  const char *s = json_string_value(json_object_get(o, key));
  return s ? arena_strdup(arena, s) : "";
}

/* NULL: it is none. */
static const char *
read_schedule(Arena *arena, const json_t *j)
{
  Schedule s = {.n = 0};
  Str text = str_new(arena);
  const char *name = json_string_value(json_object_get(j, "template"));
  if (!name || !*name || strlen(name) >= SCHED_NAME || !sched_read_json(&s, j))
    return NULL;
  sched_write(&text, &s);
  return text.p;
}

/* Octaves, or TUNE_UNKNOWN. */
static bool
read_bucket(int bucket[3], const json_t *j)
{
  for (size_t i = 0; i < 3; i++) {
    const json_t *v = json_array_get(j, i);
    json_int_t n = json_integer_value(v);
    if (!json_is_integer(v) || n < TUNE_UNKNOWN || n > TUNE_OCTAVES)
      return false;
    bucket[i] = (int)n;
  }
  return json_array_size(j) == 3;
}

static void
read_sizes(attnc_sizes *sizes, const json_t *j)
{
  sizes->size = sizeof *sizes;
  for (int i = 0; i < SIZE_COUNT; i++)
    size_set(sizes, (SizeId)i,
             (int64_t)json_integer_value(json_object_get(j, size_names[i])));
}

/* 1 for each size that was open. */
static double
work_of(const attnc_sizes *s)
{
  const int64_t sizes[] = {s->b, s->h, s->sq, s->sk};
  double work = 1;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    work *= sizes[i] > 0 ? (double)sizes[i] : 1;
  return work;
}

/* A line without one is of attnc_tune_record; -1: no level. */
static int
read_level(const json_t *j)
{
  const char *name = json_string_value(j);
  if (!j)
    return ATTNC_TUNE_MEASURE;
  for (int i = ATTNC_TUNE_ESTIMATE; name && i < ATTNC_TUNE_LEVEL_COUNT; i++)
    if (str_eq(name, tune_level_names[i]))
      return i;
  return -1;
}

static const char *
read_record(Arena *arena, const json_t *line, TuneLine *r)
{
  r->value = json_number_value(json_object_get(line, "value"));
  r->work = work_of(&r->sizes);
  r->level = read_level(json_object_get(line, "level"));
  r->capability = (int)json_integer_value(json_object_get(line, "cc"));
  r->sms = (int)json_integer_value(json_object_get(line, "sms"));
  if (!str_eq(text_of(arena, line, "validity"), "correct"))
    return "not a record of a correct result";
  if (r->any_bucket)
    return "the bucket is not one";
  if (r->level < 0)
    return "the level is not one";
  if (!(r->value > 0 && r->value < INFINITY))
    return "the value is not a number above zero";
  r->schedule = read_schedule(arena, json_object_get(line, "schedule"));
  return r->schedule ? NULL : "the schedule is not understood";
}

const char *
tune_line_read(Arena *arena, const json_t *line, TuneLine *r)
{
  static const char *const schemas[] = {
      [TUNE_RECORD] = RECORD, [TUNE_FORGET] = FORGET, [TUNE_TRIAL] = TRIAL};
  const char *schema = text_of(arena, line, "schema");
  const json_t *bucket = json_object_get(line, "bucket");
  int kind = -1;
  *r = (TuneLine){.any_bucket = true, .device = text_of(arena, line, "device")};
  for (int i = 0; i < (int)(sizeof schemas / sizeof *schemas); i++)
    if (str_eq(schema, schemas[i]))
      kind = i;
  if (kind < 0)
    return "another schema than " RECORD;
  if (!*r->device)
    return "no device";
  r->kind = (TuneKind)kind;
  r->name = text_of(arena, line, "name");
  r->spec_hash = text_of(arena, line, "spec_hash");
  r->op = text_of(arena, line, "op");
  r->unit = text_of(arena, line, "unit");
  read_sizes(&r->sizes, json_object_get(line, "sizes"));
  if (bucket && !read_bucket(r->bucket, bucket))
    return "the bucket is not one";
  r->any_bucket = !bucket;
  r->schedule = "";
  r->ptx = text_of(arena, line, "ptx");
  return r->kind == TUNE_RECORD ? read_record(arena, line, r) : NULL;
}

bool
tune_line_means(const TuneLine *f, const TuneLine *r)
{
  return str_eq(f->device, r->device) &&
         (!*f->spec_hash || str_eq(f->spec_hash, r->spec_hash)) &&
         (!*f->op || str_eq(f->op, r->op)) &&
         (f->any_bucket || !memcmp(f->bucket, r->bucket, sizeof f->bucket));
}

/* ---- writing ---- */

static json_t *
bucket_json(const attnc_sizes *sizes)
{
  int bucket[3];
  tune_bucket(sizes, bucket);
  return json_pack("[iii]", bucket[0], bucket[1], bucket[2]);
}

static json_t *
sizes_json(const attnc_sizes *sizes)
{
  json_t *j = json_object();
  for (int i = 0; i < SIZE_COUNT; i++)
    json_object_set_new(j, size_names[i], json_integer(size_get(sizes, (SizeId)i)));
  return j;
}

json_t *
tune_line_record(const TuneProblem *p, const Schedule *s, const TuneMeasure *m)
{
  json_t *schedule = json_object();
  sched_write_json(schedule, s);
  return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s, s:s, s:o, s:o, s:o, s:f, s:s, s:s, s:s, "
                   "s:i}",
                   "schema", RECORD, "device", p->device.name, "cc", p->device.capability,
                   "sms", p->device.sms, "name", p->name ? p->name : "", "spec_hash",
                   p->spec_hash, "op", p->op, "bucket", bucket_json(&p->sizes), "sizes",
                   sizes_json(&p->sizes), "schedule", schedule, "value", m->value, "unit",
                   m->unit, "level", tune_level_names[m->level], "validity", "correct",
                   "attnc", attnc_version());
}

json_t *
tune_line_forget(const char *device, const char *spec_hash, const attnc_sizes *sizes)
{
  json_t *j = json_pack("{s:s, s:s}", "schema", FORGET, "device", device);
  if (spec_hash)
    json_object_set_new(j, "spec_hash", json_string(spec_hash));
  if (sizes)
    json_object_set_new(j, "bucket", bucket_json(sizes));
  return j;
}
