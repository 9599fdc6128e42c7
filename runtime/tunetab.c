#include "runtime/tunetab.h"

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/schedule_json.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA "attnc.tune/1"
enum { MAX_TABLE = 64 << 20, MAX_LINE = 4096, SUM_DIGITS = 16 };

typedef struct Record {
  const char *spec_hash, *op, *template_name;
  int bucket[3];
  attnc_schedule schedule; /* template_name is put in when it is handed out */
  double value;
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
};

void
tune_bucket(const attnc_sizes *s, int bucket[3])
{
  double sizes[3] = {(double)s->b * (double)s->h, (double)s->sq, (double)s->sk};
  for (int i = 0; i < 3; i++)
    bucket[i] = sizes[i] > 0 ? (int)lround(log2(sizes[i])) : TUNE_UNKNOWN;
}

/* ---- lines ---- */

static void
line_sum(const char *text, size_t n, char sum[SUM_DIGITS + 1])
{
  char hex[65];
  sha256_hex(text, n, hex);
  memcpy(sum, hex, SUM_DIGITS);
  sum[SUM_DIGITS] = 0;
}

/* …,"sum":"0123456789abcdef"} : true if the digits are the hash of what is before. */
static bool
line_sound(const char *line, size_t n)
{
  char sum[SUM_DIGITS + 1], tail[40];
  size_t tail_n = strlen(",\"sum\":\"\"}") + SUM_DIGITS;
  if (n <= tail_n)
    return false;
  line_sum(line, n - tail_n, sum);
  snprintf(tail, sizeof tail, ",\"sum\":\"%s\"}", sum);
  return !memcmp(line + n - tail_n, tail, tail_n);
}

static const char *
text_of(const json_t *o, const char *key)
{
  const char *s = json_string_value(json_object_get(o, key));
  return s ? s : "";
}

/* Nothing but what is known here: a later version's schedule is not half taken. */
static bool
read_schedule(attnc_schedule *s, json_t *j)
{
  const char *name;
  json_t *value;
  s->size = sizeof *s;
  json_object_foreach(j, name, value) if (sched_find(name) < 0 &&
                                          !str_eq(name, "template")) return false;
  return sched_read_json(s, j);
}

static bool
read_record(Arena *arena, const json_t *line, const char *device, Record *r)
{
  json_t *schedule = json_object_get(line, "schedule");
  const json_t *bucket = json_object_get(line, "bucket");
  if (!str_eq(text_of(line, "schema"), SCHEMA) ||
      !str_eq(text_of(line, "device"), device) ||
      !str_eq(text_of(line, "validity"), "correct") || json_array_size(bucket) != 3 ||
      strlen(text_of(schedule, "template")) >= TUNE_TEMPLATE ||
      !read_schedule(&r->schedule, schedule))
    return false;
  for (size_t i = 0; i < 3; i++)
    r->bucket[i] = (int)json_integer_value(json_array_get(bucket, i));
  r->spec_hash = arena_strdup(arena, text_of(line, "spec_hash"));
  r->op = arena_strdup(arena, text_of(line, "op"));
  r->template_name = arena_strdup(arena, text_of(schedule, "template"));
  r->value = json_number_value(json_object_get(line, "value"));
  return r->spec_hash && r->op && r->template_name && *r->template_name;
}

static void
read_line(Snapshot *s, const char *line, size_t n, const char *device)
{
  Record r = {0};
  if (!line_sound(line, n))
    return;
  json_t *json = json_loadb(line, n, JSON_REJECT_DUPLICATES, NULL);
  if (json && read_record(s->arena, json, device, &r)) {
    Record *to = vec_push(s->arena, &s->records);
    if (to)
      *to = r;
  }
  json_decref(json);
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

/* A table that is absent or cannot be read is an empty one. */
static Snapshot *
snapshot_read(const TuneTable *t)
{
  char *text = NULL;
  size_t n = 0;
  Snapshot *s = calloc(1, sizeof *s);
  if (s)
    s->arena = arena_new(0);
  if (!s || !s->arena) {
    snapshot_free(s);
    return NULL;
  }
  s->refs = 1;
  if (file_read(t->path, MAX_TABLE, &text, &n, NULL) != ATTNC_OK)
    return s;
  s->bytes = (int64_t)n;
  for (const char *p = text, *end = text + n; p < end;) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop)
      break; /* being written, or torn */
    read_line(s, p, (size_t)(stop - p), t->device);
    p = stop + 1;
  }
  free(text);
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

static const Record *
nearest(const Snapshot *s, const TuneProblem *p, const char **source)
{
  int want[3], best = -1;
  const Record *found = NULL;
  tune_bucket(&p->sizes, want);
  for (int i = 0; i < s->records.n; i++) {
    const Record *r = &s->records.at[i];
    bool open;
    int d = distance(want, r->bucket, &open);
    if (d < 0 || (found && d > best) || !str_eq(r->spec_hash, p->spec_hash) ||
        !str_eq(r->op, p->op))
      continue;
    found = r;
    best = d;
    *source = d == 0 && !open ? "exact" : "near";
  }
  return found;
}

bool
tune_find(TuneTable *t, const TuneProblem *p, TuneFound *out)
{
  const char *source = NULL;
  Snapshot *s = snapshot_now(t);
  const Record *r = s ? nearest(s, p, &source) : NULL;
  if (r) {
    memset(out, 0, sizeof *out);
    out->schedule = r->schedule;
    snprintf(out->name, sizeof out->name, "%s", r->template_name);
    out->schedule.template_name = out->name;
    out->source = source;
    out->value = r->value;
  }
  snapshot_drop(t, s);
  return r != NULL;
}

/* ---- recording ---- */

static json_t *
record_json(const TuneTable *t, const TuneProblem *p, const attnc_schedule *s, double value,
            const char *unit)
{
  int bucket[3];
  tune_bucket(&p->sizes, bucket);
  json_t *schedule = json_object();
  json_object_set_new(schedule, "template", json_string(s->template_name));
  sched_write_json(schedule, s);
  return json_pack("{s:s, s:s, s:s, s:s, s:[iii], s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:f, "
                   "s:s, s:s, s:i}",
                   "schema", SCHEMA, "device", t->device, "spec_hash", p->spec_hash, "op",
                   p->op, "bucket", bucket[0], bucket[1], bucket[2], "sizes", "b",
                   (json_int_t)p->sizes.b, "h", (json_int_t)p->sizes.h, "hk",
                   (json_int_t)p->sizes.hk, "sq", (json_int_t)p->sizes.sq, "sk",
                   (json_int_t)p->sizes.sk, "schedule", schedule, "value", value, "unit",
                   unit, "validity", "correct", "attnc", attnc_version());
}

static bool
ends_torn(int fd)
{
  struct stat st;
  char last = '\n';
  return !fstat(fd, &st) && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
         last != '\n';
}

/* One write, so that lines of two processes do not mix.  Where another is just being
 * written its end may not be seen yet: then an empty line comes between, which nobody
 * minds. */
static attnc_status
append(const TuneTable *t, const char *line, size_t n, attnc_error *e)
{
  char reason[128];
  const char *failed = NULL;
  struct stat st;
  int fd =
      open(t->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  if (fd >= 0 && !fstat(fd, &st) && !S_ISREG(st.st_mode)) {
    close(fd);
    return err_set(e, ATTNC_ERR_IO, "open %s: not a regular file", t->path);
  }
  if (fd < 0)
    return err_set(e, ATTNC_ERR_IO, "open %s: %s", t->path,
                   strerror_r(errno, reason, sizeof reason));
  size_t skip = ends_torn(fd) ? 0 : 1; /* the line is given with a newline before it */
  ssize_t put = write(fd, line + skip, n - skip);
  if (put != (ssize_t)(n - skip))
    failed = "write";
  else if (fsync(fd))
    failed = "fsync";
  int code = errno;
  if (close(fd) && !failed) {
    failed = "close";
    code = errno;
  }
  return failed ? err_set(e, ATTNC_ERR_IO, "%s %s: %s", failed, t->path,
                          strerror_r(code, reason, sizeof reason))
                : ATTNC_OK;
}

attnc_status
tune_record(TuneTable *t, const TuneProblem *p, const attnc_schedule *s, double value,
            const char *unit, attnc_error *e)
{
  char line[MAX_LINE], sum[SUM_DIGITS + 1];
  TRY(file_mkdirs(t->dir, e));
  json_t *json = record_json(t, p, s, value, unit);
  char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
  json_decref(json);
  if (!text)
    return err_set(e, ATTNC_ERR_NOMEM, "tuning table: out of memory");
  size_t open = strlen(text) - 1; /* without the last brace */
  line_sum(text, open, sum);
  int n = snprintf(line, sizeof line, "\n%.*s,\"sum\":\"%s\"}\n", (int)open, text, sum);
  free(text);
  if (n < 0 || (size_t)n >= sizeof line)
    return err_set(e, ATTNC_ERR_USAGE, "tuning table: the line is too long");
  return append(t, line, (size_t)n, e);
}
