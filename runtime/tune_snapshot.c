#include "runtime/tune_snapshot.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "runtime/jsonl.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_TOLD = 20 };

/* ---- the files ---- */

static bool
ends_in(const char *name, const char *end)
{
  size_t n = strlen(name), m = strlen(end);
  return n > m && str_eq(name + n - m, end);
}

static int
is_table(const struct dirent *d)
{
  return ends_in(d->d_name, ".jsonl") && !ends_in(d->d_name, ".trials.jsonl") &&
         d->d_name[0] != '.';
}

/* By bytes, whatever the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
  return strcmp((*a)->d_name, (*b)->d_name);
}

typedef void EachFile(void *user, int layer, const char *path);

static void
each_in(const TuneLayer *l, int layer, EachFile *each, void *user)
{
  struct dirent **names;
  int n = scandir(l->path, &names, is_table, by_name);
  for (int i = 0; i < n; i++) {
    size_t room = strlen(l->path) + strlen(names[i]->d_name) + 2;
    char *path = malloc(room);
    if (path) {
      snprintf(path, room, "%s/%s", l->path, names[i]->d_name);
      each(user, layer, path);
    }
    free(path);
    free(names[i]);
  }
  if (n >= 0)
    free(names);
}

static void
each_file(const TuneLayer *layers, int n, EachFile *each, void *user)
{
  for (int i = 0; i < n; i++)
    if (layers[i].is_file)
      each(user, i, layers[i].path);
    else
      each_in(&layers[i], i, each, user);
}

static void
stamp_file(void *user, int layer, const char *path)
{
  struct stat st;
  Sha256 *s = user;
  (void)layer;
  if (stat(path, &st))
    return;
  sha256_field(s, "path", path, strlen(path));
  sha256_field(s, "inode", &st.st_ino, sizeof st.st_ino);
  sha256_field(s, "bytes", &st.st_size, sizeof st.st_size);
  sha256_field(s, "changed", &st.st_mtim, sizeof st.st_mtim);
}

int64_t
tune_layers_stamp(const TuneLayer *layers, int n)
{
  Sha256 s;
  unsigned char digest[32];
  int64_t stamp;
  sha256_start(&s);
  each_file(layers, n, stamp_file, &s);
  sha256_end(&s, digest);
  memcpy(&stamp, digest, sizeof stamp);
  return stamp;
}

/* ---- lines ---- */

typedef struct Reading {
  TuneSnapshot *to;
  const char *path;
  int layer;
  TuneTold told;
} Reading;

static void tell(const Reading *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
tell(const Reading *r, const char *fmt, ...)
{
  char text[512];
  va_list args;
  if (!r->told.log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  r->told.log(r->told.user, text);
}

static void
forget(TuneSnapshot *s, const TuneLine *f)
{
  for (int i = 0; i < s->lines.n; i++)
    if (s->lines.at[i].kind == TUNE_RECORD && tune_line_means(f, &s->lines.at[i]))
      s->lines.at[i].gone = true;
}

static void
on_line(void *user, const JsonlLine *line)
{
  Reading *r = user;
  TuneSnapshot *s = r->to;
  TuneLine x;
  const char *why = line->why ? line->why : tune_line_read(s->arena, line->json, &x);
  if (why) {
    if (s->skipped++ < MAX_TOLD)
      tell(r, "tuning table %s:%d is skipped: %s", r->path, line->number, why);
    return;
  }
  if (x.kind == TUNE_TRIAL && !s->trials)
    return;
  if (x.kind == TUNE_FORGET)
    forget(s, &x);
  x.layer = r->layer;
  x.number = line->number;
  if (s->texts)
    x.text = arena_strndup(s->arena, line->text, line->n);
  *vec_push(s->arena, &s->lines) = x;
}

static void
read_file(void *user, int layer, const char *path)
{
  attnc_error error;
  Reading *r = user;
  r->layer = layer;
  r->path = path;
  if (jsonl_read(path, on_line, r, &error) != ATTNC_OK)
    tell(r, "tuning table is not used: %s", error.message);
}

/* ---- which lines count ---- */

static int
by_schedule(const void *a, const void *b)
{
  const TuneLine *x = *(TuneLine *const *)a, *y = *(TuneLine *const *)b;
  const char *const texts[][2] = {{x->device, y->device},
                                  {x->spec_hash, y->spec_hash},
                                  {x->op, y->op},
                                  {x->schedule, y->schedule}};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    if (strcmp(texts[i][0], texts[i][1]) != 0)
      return strcmp(texts[i][0], texts[i][1]);
  int c = memcmp(x->bucket, y->bucket, sizeof x->bucket);
  return c ? c : x < y ? -1 : 1;
}

static bool
same_schedule(const TuneLine *x, const TuneLine *y)
{
  return str_eq(x->device, y->device) && str_eq(x->spec_hash, y->spec_hash) &&
         str_eq(x->op, y->op) && str_eq(x->schedule, y->schedule) &&
         !memcmp(x->bucket, y->bucket, sizeof x->bucket);
}

/* Of several lines about one schedule the last, unless less was tried for it. */
static void
settle(TuneSnapshot *s)
{
  int n = 0;
  TuneLine **v = NEW_N(s->arena, TuneLine *, s->lines.n + 1), *kept = NULL;
  for (int i = 0; i < s->lines.n; i++)
    if (s->lines.at[i].kind == TUNE_RECORD && !s->lines.at[i].gone)
      v[n++] = &s->lines.at[i];
  qsort(v, (size_t)n, sizeof *v, by_schedule);
  for (int i = 0; i < n; i++) {
    bool replaces = kept && same_schedule(kept, v[i]);
    if (replaces && v[i]->level < kept->level) {
      v[i]->gone = true;
      continue;
    }
    if (replaces)
      kept->gone = true;
    kept = v[i];
  }
}

/* ---- snapshots ---- */

void
tune_snapshot_free(TuneSnapshot *s)
{
  if (!s)
    return;
  arena_free(s->arena);
  free(s);
}

static TuneSnapshot *
snapshot_new(void)
{
  TuneSnapshot *s = calloc(1, sizeof *s);
  if (s)
    s->arena = arena_new(0);
  if (!s || !s->arena) {
    free(s);
    return NULL;
  }
  s->refs = 1;
  return s;
}

/* What a snapshot is read from. */
typedef struct Source {
  Reading reading;
  const TuneLayer *layers;
  int n_layers;
  const char *text; /* NULL: of the layers */
  size_t n, whole;  /* whole: bytes of the lines that are ended */
} Source;

static void
read_source(Source *from)
{
  Reading *r = &from->reading;
  if (from->text)
    from->whole = jsonl_parse(from->text, from->n, on_line, r);
  else
    each_file(from->layers, from->n_layers, read_file, r);
  settle(r->to);
  if (r->to->skipped > MAX_TOLD)
    tell(r, "tuning tables: %d more lines are skipped", r->to->skipped - MAX_TOLD);
}

static attnc_status
read_caught(Source *from)
{
  jmp_buf exhausted;
  if (setjmp(exhausted))
    return ATTNC_ERR_NOMEM;
  arena_catch(from->reading.to->arena, &exhausted);
  read_source(from);
  arena_catch(from->reading.to->arena, NULL);
  return ATTNC_OK;
}

/* The snapshot, or NULL. */
static TuneSnapshot *
read_whole(TuneSnapshot *s, Source *from)
{
  if (s && read_caught(from) == ATTNC_OK)
    return s;
  tune_snapshot_free(s);
  return NULL;
}

TuneSnapshot *
tune_snapshot_read(const TuneLayer *layers, int n, bool texts, TuneTold told)
{
  TuneSnapshot *s = snapshot_new();
  Source from = {.reading = {.to = s, .told = told}, .layers = layers, .n_layers = n};
  if (s) {
    s->texts = texts;
    s->stamp = tune_layers_stamp(layers, n); /* before: what changes now is read again */
  }
  return read_whole(s, &from);
}

TuneSnapshot *
tune_snapshot_parse(const char *text, size_t n, const char *name, size_t *rest,
                    TuneTold told)
{
  TuneSnapshot *s = snapshot_new();
  Source from = {.reading = {.to = s, .path = name, .told = told}, .text = text, .n = n};
  if (s)
    s->texts = s->trials = true;
  s = read_whole(s, &from);
  if (rest)
    *rest = n - from.whole;
  return s;
}
