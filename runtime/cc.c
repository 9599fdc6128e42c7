#include "runtime/cc.h"

#include "base/err.h"
#include "base/str.h"
#include "runtime/cc_failed.h"
#include "runtime/cc_talk.h"
#include "runtime/cc_watch.h"
#include "runtime/settings.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  MAX_WORKERS = 64,
  TRIES = 8,        /* of a request whose workers are killed from outside */
  GROWN = 1u << 30, /* bytes of memory that a worker may keep */
};

struct Cc {
  char program[PATH_MAX];
  CcLimits limits;
  void (*log)(void *user, int level, const char *message);
  void *log_user;
  attnc_stats *stats;

  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t given; /* a place came free */
  CcWorker at[MAX_WORKERS];
  CcFailed *failed;
  CcWatch *watch; /* from the first worker on; NULL: none, or there are no means for it */
};

static void tell(const Cc *, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void
tell(const Cc *cc, int level, const char *fmt, ...)
{
  char text[640];
  va_list args;
  if (!cc->log)
    return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  cc->log(cc->log_user, level, text);
}

/* ---- limits ---- */

static attnc_status
read_limit(const char *word, size_t n, CcLimits *limits, attnc_error *e)
{
  char name[64], *value;
  uint64_t number = 0, least = 0, *at = NULL;
  snprintf(name, sizeof name, "%.*s", (int)n, word);
  if ((value = strchr(name, '=')) != NULL)
    *value++ = 0;
#define X(limit, initial, minimum, what)                                                   \
  if (str_eq(name, #limit)) {                                                              \
    at = &limits->limit;                                                                   \
    least = minimum;                                                                       \
  }
  CC_LIMIT_TABLE(X)
#undef X
  if (!at || !value || !settings_size(value, &number))
    return err_set(e, ATTNC_ERR_USAGE,
                   "limits of attnc-cc: '%.*s' is not like seconds=60, memory=4G, "
                   "compiles=500, workers=2",
                   (int)n, word);
  if (number < least)
    return err_set(e, ATTNC_ERR_USAGE, "limits of attnc-cc: %s is at least %llu", name,
                   (unsigned long long)least);
  *at = number;
  return ATTNC_OK;
}

attnc_status
cc_limits_read(const char *text, CcLimits *limits, attnc_error *e)
{
#define X(name, initial, least, what) limits->name = initial;
  CC_LIMIT_TABLE(X)
#undef X
  for (const char *p = text; p && *p;) {
    size_t n = strcspn(p, ",");
    TRY(read_limit(p, n, limits, e));
    p += n + (p[n] == ',');
  }
  if (limits->workers > MAX_WORKERS)
    limits->workers = MAX_WORKERS;
  return ATTNC_OK;
}

/* ---- the pool ---- */

static bool
runs(const CcWorker *w)
{
  return w->process.pid != 0;
}

/* A worker for the caller alone, which may not run yet: a warm one before an empty place.
 * Waits while all are busy. */
static CcWorker *
take(Cc *cc)
{
  CcWorker *best = NULL;
  pthread_mutex_lock(&cc->lock);
  while (!best) {
    for (uint64_t i = 0; i < cc->limits.workers; i++) {
      CcWorker *w = &cc->at[i];
      if (!w->busy && (!best || (runs(w) && !runs(best))))
        best = w;
    }
    if (!best)
      pthread_cond_wait(&cc->given, &cc->lock);
  }
  best->busy = true;
  pthread_mutex_unlock(&cc->lock);
  return best;
}

/* One warm worker is enough to wait. */
static bool
is_wanted(const Cc *cc, const CcWorker *w)
{
  if (w->compiles >= cc->limits.compiles || w->resident > GROWN)
    return false;
  for (uint64_t i = 0; i < cc->limits.workers; i++)
    if (&cc->at[i] != w && !cc->at[i].busy && runs(&cc->at[i]))
      return false;
  return true;
}

static CcEnd
end_worker(const Cc *cc, CcWorker *w, bool by_force)
{
  CcEnd end = cc_worker_end(w, by_force);
  cc_watch_again(cc->watch); /* it lets go of the socket, whose number is free now */
  if (*end.said)
    tell(cc, 3, "attnc-cc said: %s", end.said);
  return end;
}

static void
give(Cc *cc, CcWorker *w)
{
  pthread_mutex_lock(&cc->lock);
  bool ends = runs(w) && !is_wanted(cc, w);
  pthread_mutex_unlock(&cc->lock);
  if (ends)
    end_worker(cc, w, false);
  pthread_mutex_lock(&cc->lock);
  w->busy = false;
  cc_watch_again(cc->watch);
  pthread_cond_signal(&cc->given);
  pthread_mutex_unlock(&cc->lock);
}

/* ---- workers that end while they wait ---- */

static bool
waits(const CcWorker *w)
{
  return !w->busy && runs(w); /* who has it starts and ends it without the lock */
}

static size_t
list_waiting(void *user, int *fds, size_t room)
{
  Cc *cc = user;
  size_t n = 0;
  pthread_mutex_lock(&cc->lock);
  for (uint64_t i = 0; i < cc->limits.workers && n < room; i++)
    if (waits(&cc->at[i]))
      fds[n++] = cc->at[i].process.fd;
  pthread_mutex_unlock(&cc->lock);
  return n;
}

/* One that waits and has hung up, for the caller alone; NULL: none. */
static CcWorker *
take_ended(Cc *cc)
{
  CcWorker *found = NULL;
  pthread_mutex_lock(&cc->lock);
  for (uint64_t i = 0; i < cc->limits.workers && !found; i++)
    if (waits(&cc->at[i]) && process_hung_up(&cc->at[i].process))
      found = &cc->at[i];
  if (found)
    found->busy = true;
  pthread_mutex_unlock(&cc->lock);
  return found;
}

static void
end_waiting(void *user)
{
  Cc *cc = user;
  for (CcWorker *w; (w = take_ended(cc)) != NULL; give(cc, w)) {
    CcEnd end = end_worker(cc, w, false);
    stats_add(cc->stats, cc_died, 1);
    tell(cc, 3, "attnc-cc %s while it waited", end.how);
  }
}

static void
begin_watch(Cc *cc)
{
  const CcWatched of = {.list = list_waiting, .ended = end_waiting, .user = cc};
  pthread_mutex_lock(&cc->lock);
  if (!cc->watch)
    cc->watch = cc_watch_new(&of);
  pthread_mutex_unlock(&cc->lock);
}

/* It runs, and is new if it has to be. */
static attnc_status
ready(Cc *cc, CcWorker *w, bool new, bool *killed, attnc_error *e)
{
  *killed = false;
  if (new &&runs(w) && w->compiles)
    end_worker(cc, w, false);
  if (runs(w))
    return ATTNC_OK;
  TRY(cc_worker_start(w, cc->program, (double)cc->limits.seconds, killed, e));
  begin_watch(cc);
  stats_add(cc->stats, cc_started, 1);
  tell(cc, 3, "attnc-cc: %s is process %d", cc->program, (int)w->process.pid);
  return ATTNC_OK;
}

/* ---- one compile ---- */

typedef struct Compile {
  Cc *cc;
  const JitRequest *ask;
  const JitResolved *answer;
  json_t *json;
  char *text;
  Entry **entry;
  json_t **notes;
} Compile;

/* What a worker answered is the kernel that was asked for, or why there is none. */
static attnc_status
take_answer(Compile *k, CcAnswer *a, attnc_error *e)
{
  const char *message = json_string_value(json_object_get(a->json, "message"));
  attnc_status status =
      (attnc_status)json_integer_value(json_object_get(a->json, "status"));
  const char *why = a->entry ? entry_check(a->entry, k->answer->key) : "it is missing";
  stats_add(k->cc->stats, cc_compiled, 1);
  if (status != ATTNC_OK) {
    status = err_set(e, status, "%s", message ? message : "attnc-cc did not say why");
  } else if (why) {
    status = err_set(e, ATTNC_ERR_INTERNAL, "the entry that attnc-cc made: %s", why);
  } else {
    *k->entry = a->entry;
    a->entry = NULL;
    *k->notes = json_incref(json_object_get(a->json, "notes"));
  }
  cc_answer_free(a);
  return status;
}

static attnc_status
give_up(Compile *k, CcOutcome outcome, const CcEnd *end, attnc_error *e)
{
  Cc *cc = k->cc;
  const char *name = attnc_spec_name(k->ask->spec), *target = k->answer->target;
  stats_add(cc->stats, cc_failed, 1);
  if (outcome == CC_LATE)
    err_set(e, ATTNC_ERR_TIMEOUT, "compiling %s for %s: no end within %llu s", name, target,
            (unsigned long long)cc->limits.seconds);
  else
    err_set(e, ATTNC_ERR_COMPILE, "compiling %s for %s, attnc-cc %s%s%s", name, target,
            end->how, *end->said ? ": " : "", end->said);
  if (!end->killed || outcome == CC_LATE) { /* else it was not the compile's doing */
    pthread_mutex_lock(&cc->lock);
    cc_failed_add(cc->failed, k->answer->key, k->json, e);
    pthread_mutex_unlock(&cc->lock);
  }
  tell(cc, 1, "%s", e->message);
  return e->status;
}

typedef enum Next { NEXT_RETURN, NEXT_AGAIN, NEXT_ANEW } Next;

/* One try with a worker.  AGAIN: with any other; ANEW: with a new one. */
static Next
try_once(Compile *k, CcWorker *w, bool last, attnc_status *status, attnc_error *e)
{
  Cc *cc = k->cc;
  CcAnswer a;
  bool new = w->compiles == 0;
  CcOutcome outcome = cc_worker_ask(w, k->text, (double)cc->limits.seconds, &a);
  if (outcome == CC_ANSWERED) {
    *status = take_answer(k, &a, e);
    return NEXT_RETURN;
  }
  CcEnd end = end_worker(cc, w, outcome == CC_LATE);
  stats_add(cc->stats, cc_died, 1);
  tell(cc, 3, "attnc-cc %s%s", end.how,
       outcome == CC_UNTAKEN ? " before it took a request"
       : outcome == CC_LATE  ? ", having been too slow"
                             : " while it compiled");
  if (!last && (outcome == CC_UNTAKEN || (outcome == CC_DIED && end.killed)))
    return NEXT_AGAIN;
  if (!last && outcome == CC_DIED && !new)
    return NEXT_ANEW;
  *status = give_up(k, outcome, &end, e);
  return NEXT_RETURN;
}

static attnc_status
compile(Compile *k, attnc_error *e)
{
  attnc_status status = ATTNC_OK;
  Next next = NEXT_AGAIN;
  for (int i = 1; next != NEXT_RETURN; i++) {
    bool killed, last = i >= TRIES;
    CcWorker *w = take(k->cc);
    status = ready(k->cc, w, next == NEXT_ANEW, &killed, e);
    if (status == ATTNC_OK)
      next = try_once(k, w, last, &status, e);
    else if (!killed || last)
      next = NEXT_RETURN;
    give(k->cc, w);
  }
  return status;
}

attnc_status
cc_compile(Cc *cc, const JitRequest *a, const JitResolved *answer, Entry **entry,
           json_t **notes, attnc_error *e)
{
  Compile k = {.cc = cc, .ask = a, .answer = answer, .entry = entry, .notes = notes};
  attnc_error error = {0};
  *entry = NULL;
  *notes = NULL;
  pthread_mutex_lock(&cc->lock);
  bool failed = cc_failed_find(cc->failed, answer->key, &error);
  pthread_mutex_unlock(&cc->lock);
  if (failed) {
    stats_add(cc->stats, cc_remembered, 1);
    return err_set(e, error.status, "%s", error.message);
  }
  TRY(cc_request(a, answer, &cc->limits, &k.json, e));
  k.text = json_dumps(k.json, JSON_COMPACT | JSON_REAL_PRECISION(17));
  attnc_status status = k.text ? compile(&k, &error)
                               : err_set(&error, ATTNC_ERR_NOMEM, "attnc-cc: no memory");
  if (status != ATTNC_OK && e)
    *e = error;
  json_decref(k.json);
  free(k.text);
  return status;
}

const char *
cc_program(const Cc *cc)
{
  return cc->program;
}

/* ---- beginning and ending ---- */

static attnc_status
find_program(Cc *cc, const char *program, attnc_error *e)
{
  static const char *const places[] = {"attnc-cc", CC_INSTALLED, "../bin/attnc-cc",
                                       CC_INSTALLED_FULL};
  int n = (int)sizeof cc->program;
  if (!str_eq(program, "1"))
    return snprintf(cc->program, sizeof cc->program, "%s", program) < n
               ? ATTNC_OK
               : err_set(e, ATTNC_ERR_USAGE, "attnc-cc: its path is too long");
  if (process_beside(places, sizeof places / sizeof *places, cc->program,
                     sizeof cc->program))
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_IO,
                 "there is no attnc-cc where the library is installed: name it in ATTNC_CC "
                 "or attnc_options.cc");
}

attnc_status
cc_new(const CcConfig *config, Cc **out, attnc_error *e)
{
  Cc *cc = calloc(1, sizeof *cc);
  *out = NULL;
  if (!cc)
    return err_set(e, ATTNC_ERR_NOMEM, "attnc-cc: out of memory");
  cc->limits = config->limits;
  cc->log = config->log;
  cc->log_user = config->log_user;
  cc->stats = config->stats;
  cc->failed = cc_failed_new(config->cache, cc->program);
  pthread_mutex_init(&cc->lock, NULL);
  pthread_cond_init(&cc->given, NULL);
  attnc_status status = cc->failed ? find_program(cc, config->program, e)
                                   : err_set(e, ATTNC_ERR_NOMEM, "attnc-cc: no memory");
  if (status == ATTNC_OK)
    *out = cc;
  else
    cc_free(cc);
  return status;
}

void
cc_free(Cc *cc)
{
  if (!cc)
    return;
  cc_watch_free(cc->watch);
  cc->watch = NULL; /* ending a worker would wake it */
  for (int i = 0; i < MAX_WORKERS; i++)
    if (runs(&cc->at[i]))
      end_worker(cc, &cc->at[i], false);
  cc_failed_free(cc->failed);
  pthread_cond_destroy(&cc->given);
  pthread_mutex_destroy(&cc->lock);
  free(cc);
}

/* The workers are the parent's. */
static void
forget(CcWorker *w)
{
  if (runs(w))
    close(w->process.fd);
  if (runs(w) && w->err >= 0)
    close(w->err);
  *w = (CcWorker){.err = -1};
}

void
cc_fork(Cc *cc, ForkStep step)
{
  if (!cc)
    return;
  for (int i = 0; step == FORK_CHILD && i < MAX_WORKERS; i++)
    forget(&cc->at[i]);
  cc_watch_fork(cc->watch, step);
  fork_cond(&cc->given, step);
  fork_mutex(&cc->lock, step);
}
