#include "runtime/tunetab.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "runtime/jsonl.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PINNED = 64 << 20 };

struct TuneTable {
  Arena *arena; /* of what is constant once the table is open */
  VEC(TuneLayer) layers;
  const char *dir; /* the user's, NULL: none */
  const char *pinned_hash;
  TuneTold told;
  pthread_mutex_t lock;
  TuneSnapshot *now; /* guarded; NULL: nothing read yet.  Of a pinned table: for ever */
};

static void tell(const TuneTable *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void
tell(const TuneTable *t, const char *fmt, ...)
{
  char text[512];
  va_list args;
  if (!t->told.log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  t->told.log(t->told.user, text);
}

/* ---- open and close ---- */

static attnc_status
no_memory(attnc_error *e)
{
  return err_set(e, ATTNC_ERR_NOMEM, "tuning table: out of memory");
}

static attnc_status
add_layer(TuneTable *t, const char *path, size_t n, TuneLayer layer, attnc_error *e)
{
  TuneLayer *to = vec_push(t->arena, &t->layers);
  layer.path = arena_strndup(t->arena, path, n);
  if (!to || !layer.path)
    return no_memory(e);
  *to = layer;
  return ATTNC_OK;
}

static attnc_status
add_directories(TuneTable *t, const TuneConfig *c, attnc_error *e)
{
  for (const char *p = c->readonly ? c->readonly : ""; *p;) {
    size_t n = strcspn(p, ":");
    if (n)
      TRY(add_layer(t, p, n, (TuneLayer){0}, e));
    p += n + (p[n] == ':');
  }
  if (!c->dir)
    return ATTNC_OK;
  TRY(add_layer(t, c->dir, strlen(c->dir), (TuneLayer){.user = true}, e));
  t->dir = t->layers.at[t->layers.n - 1].path;
  return ATTNC_OK;
}

/* Read here, and what it said then holds for as long as the table is open. */
static attnc_status
pin(TuneTable *t, const char *path, attnc_error *e)
{
  char *text, hex[65];
  size_t n;
  TRY(add_layer(t, path, strlen(path), (TuneLayer){.is_file = true}, e));
  TRY(file_read(path, MAX_PINNED, &text, &n, e));
  sha256_hex(text, n, hex);
  t->pinned_hash = arena_strdup(t->arena, hex);
  t->now = tune_snapshot_parse(text, n, path, NULL, t->told);
  free(text);
  return t->now && t->pinned_hash ? ATTNC_OK : no_memory(e);
}

attnc_status
tune_open(const TuneConfig *c, TuneTable **out, attnc_error *e)
{
  TuneTable *t = calloc(1, sizeof *t);
  if (!t)
    return no_memory(e);
  pthread_mutex_init(&t->lock, NULL);
  t->told = c->told;
  t->arena = arena_new(0);
  attnc_status st = !t->arena   ? no_memory(e)
                    : c->pinned ? pin(t, c->pinned, e)
                                : add_directories(t, c, e);
  if (st != ATTNC_OK)
    tune_close(t);
  else
    *out = t;
  return st;
}

void
tune_close(TuneTable *t)
{
  if (!t)
    return;
  tune_snapshot_free(t->now);
  pthread_mutex_destroy(&t->lock);
  arena_free(t->arena);
  free(t);
}

void
tune_fork(TuneTable *t, ForkStep step)
{
  fork_mutex(&t->lock, step);
}

const TuneLayer *
tune_layers(const TuneTable *t, int *n)
{
  *n = t->layers.n;
  return t->layers.at;
}

const char *
tune_pinned_hash(const TuneTable *t)
{
  return t->pinned_hash;
}

attnc_status
tune_writable(const TuneTable *t, attnc_error *e)
{
  if (t->pinned_hash)
    return err_set(e, ATTNC_ERR_USAGE,
                   "the tuning table is pinned to %.300s, which is not written to: unset "
                   "ATTNC_TUNE_TABLE",
                   t->layers.at[0].path);
  return t->dir ? ATTNC_OK
                : err_set(e, ATTNC_ERR_IO,
                          "there is no directory for tuning tables: set ATTNC_TUNE_DIR");
}

const char *
tune_path(const TuneTable *t, const char *device, const char *end, Arena *arena)
{
  char *path = arena_printf(arena, "%s/%s%s", t->dir, device, end);
  for (char *p = path ? path + strlen(t->dir) + 1 : NULL; p && *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
      *p = '_';
  return path;
}

/* ---- snapshots ---- */

int64_t
tune_stamp(const TuneTable *t)
{
  return t->pinned_hash ? 0 : tune_layers_stamp(t->layers.at, t->layers.n);
}

void
tune_drop(TuneTable *t, TuneSnapshot *s)
{
  if (!s)
    return;
  pthread_mutex_lock(&t->lock);
  bool last = --s->refs == 0;
  pthread_mutex_unlock(&t->lock);
  if (last)
    tune_snapshot_free(s);
}

/* The layers as they are now; a reference, given back with snapshot_drop.  NULL: no memory.
 */
static TuneSnapshot *
snapshot_now(TuneTable *t)
{
  int64_t stamp = tune_stamp(t);
  pthread_mutex_lock(&t->lock);
  TuneSnapshot *s = t->now;
  if (s && (t->pinned_hash || s->stamp == stamp))
    s->refs++;
  else
    s = NULL;
  pthread_mutex_unlock(&t->lock);
  if (s)
    return s;
  s = tune_snapshot_read(t->layers.at, t->layers.n, false, t->told);
  if (!s)
    return NULL;
  pthread_mutex_lock(&t->lock);
  TuneSnapshot *old = t->now;
  t->now = s;
  s->refs++;
  pthread_mutex_unlock(&t->lock);
  tune_drop(t, old);
  return s;
}

TuneSnapshot *
tune_texts(TuneTable *t)
{
  if (t->pinned_hash)
    return snapshot_now(t); /* as it was when the table was opened */
  return tune_snapshot_read(t->layers.at, t->layers.n, true, t->told);
}

/* ---- finding ---- */

/* A record of the problem, near enough. */
typedef struct Match {
  const TuneLine *r;
  int distance;        /* in octaves */
  bool open;           /* measured for, or asked for, an open size */
  bool family, cousin; /* of another device; of another compute capability */
  bool foreign;        /* in another unit than the newest, so not to be compared */
} Match;

typedef struct Matches {
  Match *at;
  int n;
} Matches;

static bool
is_family(const TuneDevice *d, const TuneLine *r)
{
  return d->capability / 10 == r->capability / 10 && d->capability > 0 && d->sms > 0 &&
         r->sms > 0 && d->emulated == str_eq(r->unit, "est_cycles");
}

/* The bucket in which each multiprocessor of the other device has as much to do. */
static void
bucket_there(const TuneProblem *p, int sms, int bucket[3])
{
  double heads = (double)p->sizes.b * (double)p->sizes.h;
  tune_bucket(&p->sizes, bucket);
  if (heads > 0)
    bucket[0] = (int)lround(fmax(0, log2(heads * sms / p->device.sms)));
}

/* False where too far. */
static bool
measure_distance(Match *m, const int want[3])
{
  const int *have = m->r->bucket;
  for (int i = 0; i < 3; i++) {
    if (want[i] == TUNE_UNKNOWN || have[i] == TUNE_UNKNOWN)
      m->open = true;
    else
      m->distance += abs(want[i] - have[i]);
  }
  return m->distance <= TUNE_NEAR;
}

static bool
matches(const TuneProblem *p, const TuneLine *r, Match *m)
{
  int want[3];
  *m = (Match){.r = r, .family = !str_eq(r->device, p->device.name)};
  if (r->kind != TUNE_RECORD || r->gone || !str_eq(r->spec_hash, p->spec_hash) ||
      !str_eq(r->op, p->op) || (m->family && !is_family(&p->device, r)))
    return false;
  if (m->family)
    bucket_there(p, r->sms, want);
  else
    tune_bucket(&p->sizes, want);
  m->cousin = m->family && r->capability != p->device.capability;
  return measure_distance(m, want);
}

/* Of this device, and of its family, the newest record says what the unit is. */
static void
mark_foreign(Matches *m)
{
  const TuneLine *newest[2] = {NULL, NULL};
  for (int i = 0; i < m->n; i++)
    newest[m->at[i].family] = m->at[i].r;
  for (int i = 0; i < m->n; i++)
    m->at[i].foreign = !str_eq(m->at[i].r->unit, newest[m->at[i].family]->unit);
}

static Matches
matches_of(const TuneSnapshot *s, const TuneProblem *p)
{
  Matches m = {.at = calloc((size_t)s->lines.n + 1, sizeof *m.at)};
  for (int i = 0; m.at && i < s->lines.n; i++)
    if (matches(p, &s->lines.at[i], &m.at[m.n]))
      m.n++;
  mark_foreign(&m);
  return m;
}

/* What a unit of work takes of one multiprocessor, of a device of a known size. */
static double
cost(const Match *m)
{
  return m->r->value / m->r->work * (m->family ? m->r->sms : 1);
}

/* Of this device first, nearest first, then that for which the most was tried, then least
 * for the work, then the later line. */
static int
by_merit(const void *a, const void *b)
{
  const Match *x = a, *y = b;
  if (x->family != y->family)
    return x->family ? 1 : -1;
  if (x->cousin != y->cousin)
    return x->cousin ? 1 : -1;
  if (x->distance != y->distance)
    return x->distance < y->distance ? -1 : 1;
  if (x->foreign != y->foreign)
    return x->foreign ? 1 : -1;
  if (x->r->level != y->r->level)
    return x->r->level > y->r->level ? -1 : 1;
  if (!x->foreign && (cost(x) < cost(y) || cost(x) > cost(y)))
    return cost(x) < cost(y) ? -1 : 1;
  return x->r > y->r ? -1 : 1;
}

static bool
fill_found(TuneFound *out, const Match *m)
{
  out->source = m->family ? "family" : m->distance == 0 && !m->open ? "exact" : "near";
  out->device = m->r->device;
  out->value = m->r->value;
  out->level = m->r->level;
  return sched_parse(&out->schedule, m->r->schedule, NULL) == ATTNC_OK;
}

bool
tune_find(TuneTable *t, const TuneProblem *p, TuneAccept *accept, void *user,
          TuneFound *out)
{
  bool found = false;
  TuneSnapshot *s = snapshot_now(t);
  Matches m = s ? matches_of(s, p) : (Matches){0};
  if (m.n)
    qsort(m.at, (size_t)m.n, sizeof *m.at, by_merit);
  for (int i = 0; !found && i < m.n; i++)
    found = fill_found(out, &m.at[i]) && (!accept || accept(user, out));
  out->device = NULL; /* it goes with the snapshot */
  free(m.at);
  tune_drop(t, s);
  return found;
}

/* ---- recording ---- */

static attnc_status
check_record(const TuneProblem *p, const TuneMeasure *m, attnc_error *e)
{
  const int64_t sizes[] = {p->sizes.b, p->sizes.h, p->sizes.hk, p->sizes.sq, p->sizes.sk};
  if (!(m->value > 0 && m->value < INFINITY))
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

static attnc_status
append(const TuneTable *t, const char *path, const TuneProblem *p, const Schedule *s,
       const TuneMeasure *m, attnc_error *e)
{
  if (!path)
    return no_memory(e);
  TRY(file_mkdirs(t->dir, e));
  TRY(jsonl_append(path, tune_line_record(p, s, m), e));
  tell(t, "recorded in %s: %s, %g %s", path, s->template_name, m->value, m->unit);
  return ATTNC_OK;
}

attnc_status
tune_record(TuneTable *t, const TuneProblem *p, const Schedule *s, const TuneMeasure *m,
            attnc_error *e)
{
  TRY(tune_writable(t, e));
  TRY(check_record(p, m, e));
  Arena *arena = arena_new(0);
  if (!arena)
    return no_memory(e);
  attnc_status st = append(t, tune_path(t, p->device.name, ".jsonl", arena), p, s, m, e);
  arena_free(arena);
  return st;
}
