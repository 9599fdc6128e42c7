#include "runtime/tunetab.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "runtime/jsonl.h"
#include "schedule/schedule_json.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SCHEMA "attnc.tune/1"
enum { MAX_TOLD = 20 };

typedef struct Record {
  const char *spec_hash, *op, *unit;
  int bucket[3];
  const char *schedule; /* as sched_parse reads it: a Schedule is long, a table too */
  int level;            /* ATTNC_TUNE_… */
  double value, work;   /* work: b * h * sq * sk of the sizes that it was measured at */
} Record;

/* What the file said when it had `bytes`; immutable, counted. */
typedef struct Snapshot {
  int refs; /* guarded by the table's lock */
  int64_t bytes;
  Arena *arena;
  VEC(Record) records;
} Snapshot;

struct TuneTable {
  char *device, *dir, *path;
  pthread_mutex_t lock;
  Snapshot *now; /* guarded; NULL: nothing read yet */
  TuneLog *log;  /* NULL: silent */
  void *log_user;
};

static void tell(const TuneTable *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
tell(const TuneTable *t, const char *fmt, ...)
{
  char text[512];
  va_list args;
  if (!t->log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  t->log(t->log_user, text);
}

void
tune_bucket(const attnc_sizes *s, int bucket[3])
{
  double sizes[3] = {(double)s->b * (double)s->h, (double)s->sq, (double)s->sk};
  for (int i = 0; i < 3; i++)
    bucket[i] = sizes[i] > 0 ? (int)lround(log2(sizes[i])) : TUNE_UNKNOWN;
}

/* ---- lines ---- */

static const char *
text_of(const json_t *o, const char *key)
{
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}

/* NULL: it is none. */
static const char *
read_schedule(Arena *arena, const json_t *j)
{
  Schedule s = {.n = 0};
  Str text = str_new(arena);
  if (!sched_read_json(&s, j))
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

/* 1 for each size that was open. */
static double
read_work(const json_t *sizes)
{
  static const char *const names[] = {"b", "h", "sq", "sk"};
  double work = 1;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    json_int_t n = json_integer_value(json_object_get(sizes, names[i]));
    work *= n > 0 ? (double)n : 1;
  }
  return work;
}

/* What a value can be: more than nothing, and finite. */
static bool
is_value(double v)
{
  return v > 0 && v < INFINITY;
}

const char *const tune_level_names[ATTNC_TUNE_LEVEL_COUNT] = {[ATTNC_TUNE_DEFAULT] =
                                                                  "measure",
#define X(id, name, percent, least) [ATTNC_TUNE_##id] = name,
                                                              ATTNC_TUNE_LEVEL_TABLE(X)
#undef X
};

/* Of a line that says none: ATTNC_TUNE_MEASURE; -1: it is not one of them. */
static int
read_level(const json_t *level)
{
  if (!level)
    return ATTNC_TUNE_MEASURE;
  for (int i = ATTNC_TUNE_ESTIMATE; i < ATTNC_TUNE_LEVEL_COUNT; i++)
    if (json_is_string(level) && str_eq(json_string_value(level), tune_level_names[i]))
      return i;
  return -1;
}

/* NULL, or why the line is not taken; a line of another device is none of ours. */
static const char *
read_record(Arena *arena, const json_t *line, Record *r)
{
  json_t *schedule = json_object_get(line, "schedule");
  r->value = json_number_value(json_object_get(line, "value"));
  r->work = read_work(json_object_get(line, "sizes"));
  r->level = read_level(json_object_get(line, "level"));
  if (!str_eq(text_of(line, "schema"), SCHEMA))
    return "another schema than " SCHEMA;
  if (!str_eq(text_of(line, "validity"), "correct"))
    return "not a record of a correct result";
  if (!read_bucket(r->bucket, json_object_get(line, "bucket")))
    return "the bucket is not one";
  if (r->level < 0)
    return "the level is not one";
  if (!is_value(r->value))
    return "the value is not a number above zero";
  if (!*text_of(schedule, "template") ||
      strlen(text_of(schedule, "template")) >= SCHED_NAME)
    return "the schedule has no template";
  r->schedule = read_schedule(arena, schedule);
  if (!r->schedule)
    return "the schedule is not understood";
  r->spec_hash = arena_strdup(arena, text_of(line, "spec_hash"));
  r->op = arena_strdup(arena, text_of(line, "op"));
  r->unit = arena_strdup(arena, text_of(line, "unit"));
  return r->spec_hash && r->op && r->unit ? NULL : "out of memory";
}

static const char *
read_json(Snapshot *s, const json_t *json, const char *device)
{
  Record r = {0};
  if (!str_eq(text_of(json, "device"), device))
    return NULL; /* of a device whose name makes the same file name */
  const char *why = read_record(s->arena, json, &r);
  Record *to = why ? NULL : vec_push(s->arena, &s->records);
  if (to)
    *to = r;
  return why ? why : to ? NULL : "out of memory";
}

/* ---- snapshots ---- */

static void
snapshot_free(Snapshot *s)
{
  if (!s)
    return;
  arena_free(s->arena);
  free(s);
}

/* A reading of the file. */
typedef struct Reading {
  const TuneTable *table;
  Snapshot *to;
  int skipped;
} Reading;

static void
on_line(void *user, int number, const json_t *json, const char *why)
{
  Reading *r = user;
  const TuneTable *t = r->table;
  if (!why)
    why = read_json(r->to, json, t->device);
  if (why && r->skipped++ < MAX_TOLD)
    tell(t, "tuning table %s:%d is skipped: %s", t->path, number, why);
}

/* A table that is absent or cannot be read is an empty one. */
static Snapshot *
snapshot_read(const TuneTable *t)
{
  Snapshot *s = calloc(1, sizeof *s);
  if (s)
    s->arena = arena_new(0);
  if (!s || !s->arena) {
    snapshot_free(s);
    return NULL;
  }
  s->refs = 1;
  attnc_error error;
  Reading r = {.table = t, .to = s};
  if (jsonl_read(t->path, on_line, &r, &s->bytes, &error) != ATTNC_OK)
    tell(t, "tuning table is not used: %s", error.message);
  if (r.skipped > MAX_TOLD)
    tell(t, "tuning table %s: %d more lines are skipped", t->path, r.skipped - MAX_TOLD);
  return s;
}

static int64_t
file_bytes(const char *path)
{
  struct stat st;
  return stat(path, &st) ? 0 : (int64_t)st.st_size;
}

int64_t
tune_stamp(const TuneTable *t)
{
  return file_bytes(t->path);
}

static void
snapshot_drop(TuneTable *t, Snapshot *s)
{
  if (!s)
    return;
  pthread_mutex_lock(&t->lock);
  bool last = --s->refs == 0;
  pthread_mutex_unlock(&t->lock);
  if (last)
    snapshot_free(s);
}

/* The file as it is now; a reference, given back with snapshot_drop.  NULL: no memory. */
static Snapshot *
snapshot_now(TuneTable *t)
{
  int64_t bytes = file_bytes(t->path);
  pthread_mutex_lock(&t->lock);
  Snapshot *s = t->now;
  if (s && s->bytes == bytes)
    s->refs++;
  else
    s = NULL;
  pthread_mutex_unlock(&t->lock);
  if (s)
    return s;
  s = snapshot_read(t);
  if (!s)
    return NULL;
  pthread_mutex_lock(&t->lock);
  Snapshot *old = t->now;
  t->now = s;
  s->refs++;
  pthread_mutex_unlock(&t->lock);
  snapshot_drop(t, old);
  return s;
}

/* ---- open and close ---- */

static char *
table_path(const char *dir, const char *device)
{
  size_t n = strlen(dir) + strlen(device) + 16;
  char *path = malloc(n);
  if (!path)
    return NULL;
  snprintf(path, n, "%s/%s.jsonl", dir, device);
  for (char *p = path + strlen(dir) + 1; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
      *p = '_';
  return path;
}

attnc_status
tune_open(const char *dir, const char *device, TuneTable **out, attnc_error *e)
{
  TuneTable *t = calloc(1, sizeof *t);
  if (t) {
    pthread_mutex_init(&t->lock, NULL);
    t->device = strdup(device);
    t->dir = strdup(dir);
    t->path = table_path(dir, device);
  }
  if (!t || !t->device || !t->dir || !t->path) {
    tune_close(t);
    return err_set(e, ATTNC_ERR_NOMEM, "tuning table: out of memory");
  }
  *out = t;
  return ATTNC_OK;
}

void
tune_close(TuneTable *t)
{
  if (!t)
    return;
  snapshot_free(t->now);
  pthread_mutex_destroy(&t->lock);
  free(t->device);
  free(t->dir);
  free(t->path);
  free(t);
}

void
tune_listen(TuneTable *t, TuneLog *log, void *user)
{
  t->log = log;
  t->log_user = user;
}

void
tune_fork(TuneTable *t, ForkStep step)
{
  fork_mutex(&t->lock, step);
}

const char *
tune_path(const TuneTable *t)
{
  return t->path;
}

const char *
tune_device(const TuneTable *t)
{
  return t->device;
}

/* ---- finding ---- */

/* In octaves; -1 where too far, or measured for an open size. */
static int
distance(const int want[3], const int have[3], bool *open)
{
  int sum = 0;
  *open = false;
  for (int i = 0; i < 3; i++) {
    if (want[i] == TUNE_UNKNOWN || have[i] == TUNE_UNKNOWN)
      *open = true;
    else
      sum += abs(want[i] - have[i]);
  }
  return sum <= TUNE_NEAR ? sum : -1;
}

/* A record of the problem, near enough; in the order of the file. */
typedef struct Match {
  const Record *r;
  int distance;
  bool open, foreign; /* foreign: in another unit than the newest, so not to be compared */
} Match;

typedef struct Matches {
  Match *at;
  int n;
} Matches;

static bool
same_schedule(const Record *a, const Record *b)
{
  return !memcmp(a->bucket, b->bucket, sizeof a->bucket) &&
         str_eq(a->schedule, b->schedule);
}

/* A later line about the same schedule replaces the earlier, unless less was tried for it.
 */
static void
add_match(Matches *m, const Match *match)
{
  int kept = 0;
  for (int i = 0; i < m->n; i++)
    if (same_schedule(m->at[i].r, match->r) && m->at[i].r->level > match->r->level)
      return;
  for (int i = 0; i < m->n; i++)
    if (!same_schedule(m->at[i].r, match->r))
      m->at[kept++] = m->at[i];
  m->at[kept++] = *match;
  m->n = kept;
}

static Matches
matches_of(const Snapshot *s, const TuneProblem *p)
{
  int want[3];
  Matches m = {.at = calloc((size_t)s->records.n + 1, sizeof *m.at)};
  tune_bucket(&p->sizes, want);
  for (int i = 0; m.at && i < s->records.n; i++) {
    Match match = {.r = &s->records.at[i]};
    match.distance = distance(want, match.r->bucket, &match.open);
    if (match.distance >= 0 && str_eq(match.r->spec_hash, p->spec_hash) &&
        str_eq(match.r->op, p->op))
      add_match(&m, &match);
  }
  for (int i = 0; i < m.n; i++)
    m.at[i].foreign = !str_eq(m.at[i].r->unit, m.at[m.n - 1].r->unit);
  return m;
}

/* Nearest first, then that for which the most was tried, then least for the work, then the
 * later of the file. */
static int
by_merit(const void *a, const void *b)
{
  const Match *x = a, *y = b;
  double cost_x = x->r->value / x->r->work, cost_y = y->r->value / y->r->work;
  if (x->distance != y->distance)
    return x->distance < y->distance ? -1 : 1;
  if (x->foreign != y->foreign)
    return x->foreign ? 1 : -1;
  if (x->r->level != y->r->level)
    return x->r->level > y->r->level ? -1 : 1;
  if (!x->foreign && (cost_x < cost_y || cost_x > cost_y))
    return cost_x < cost_y ? -1 : 1;
  return x->r > y->r ? -1 : 1;
}

static bool
fill_found(TuneFound *out, const Match *m)
{
  out->source = m->distance == 0 && !m->open ? "exact" : "near";
  out->value = m->r->value;
  out->level = m->r->level;
  return sched_parse(&out->schedule, m->r->schedule, NULL) == ATTNC_OK;
}

bool
tune_find(TuneTable *t, const TuneProblem *p, TuneAccept *accept, void *user,
          TuneFound *out)
{
  bool found = false;
  Snapshot *s = snapshot_now(t);
  Matches m = s ? matches_of(s, p) : (Matches){0};
  if (m.n)
    qsort(m.at, (size_t)m.n, sizeof *m.at, by_merit);
  for (int i = 0; !found && i < m.n; i++) {
    found = fill_found(out, &m.at[i]) && (!accept || accept(user, out));
  }
  free(m.at);
  snapshot_drop(t, s);
  return found;
}

/* ---- recording ---- */

static json_t *
record_json(const TuneTable *t, const TuneProblem *p, const Schedule *s,
            const TuneMeasure *m)
{
  int bucket[3];
  tune_bucket(&p->sizes, bucket);
  json_t *schedule = json_object();
  sched_write_json(schedule, s);
  return json_pack("{s:s, s:s, s:s, s:s, s:[iii], s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:f, "
                   "s:s, s:s, s:s, s:i}",
                   "schema", SCHEMA, "device", t->device, "spec_hash", p->spec_hash, "op",
                   p->op, "bucket", bucket[0], bucket[1], bucket[2], "sizes", "b",
                   (json_int_t)p->sizes.b, "h", (json_int_t)p->sizes.h, "hk",
                   (json_int_t)p->sizes.hk, "sq", (json_int_t)p->sizes.sq, "sk",
                   (json_int_t)p->sizes.sk, "schedule", schedule, "value", m->value, "unit",
                   m->unit, "level", tune_level_names[m->level], "validity", "correct",
                   "attnc", attnc_version());
}

static attnc_status
check_record(const TuneProblem *p, const TuneMeasure *m, attnc_error *e)
{
  const int64_t sizes[] = {p->sizes.b, p->sizes.h, p->sizes.hk, p->sizes.sq, p->sizes.sk};
  if (!is_value(m->value))
    return err_set(e, ATTNC_ERR_USAGE,
                   "tuning table: the value is %g; it must be finite and above zero",
                   m->value);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (sizes[i] < 0)
      return err_set(e, ATTNC_ERR_USAGE, "tuning table: a size is negative");
  json_t *text = json_string(m->unit);
  json_decref(text);
  return text ? ATTNC_OK
              : err_set(e, ATTNC_ERR_USAGE, "tuning table: the unit is not UTF-8");
}

attnc_status
tune_record(TuneTable *t, const TuneProblem *p, const Schedule *s, const TuneMeasure *m,
            attnc_error *e)
{
  TRY(check_record(p, m, e));
  TRY(file_mkdirs(t->dir, e));
  TRY(jsonl_append(t->path, record_json(t, p, s, m), e));
  tell(t, "recorded in %s: %s, %g %s", t->path, s->template_name, m->value, m->unit);
  return ATTNC_OK;
}
