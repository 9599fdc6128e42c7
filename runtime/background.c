#include "runtime/background.h"

#include "base/err.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum State { WAITING, RUNNING, FAILED } State;

typedef struct Job {
  FlightKey key;
  State state;
  BackgroundTask work;
  attnc_error error; /* FAILED */
  struct Job *next;
} Job;

struct Background {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  Job *jobs; /* oldest first */
  pthread_t threads[BACKGROUND_THREADS];
  int n_threads, idle;
  bool stop;
};

/* ---- with the lock held ---- */

static Job **
find(Background *b, const FlightKey *key)
{
  Job **p = &b->jobs;
  while (*p && memcmp(&(*p)->key, key, sizeof *key) != 0)
    p = &(*p)->next;
  return p;
}

static Job *
next_waiting(Background *b)
{
  Job *j = b->jobs;
  while (j && j->state != WAITING)
    j = j->next;
  return j;
}

static void
forget(Background *b, const Job *job)
{
  for (Job **p = &b->jobs; *p; p = &(*p)->next)
    if (*p == job) {
      *p = job->next;
      return;
    }
}

/* ---- the threads ---- */

static void
run_one(Background *b, Job *j)
{
  j->state = RUNNING;
  pthread_mutex_unlock(&b->lock);
  attnc_error error = {0};
  attnc_status status = j->work.run(j->work.user, &error);
  j->work.drop(j->work.user);
  pthread_mutex_lock(&b->lock);
  if (status == ATTNC_OK) {
    forget(b, j);
    free(j);
  } else {
    error.status = status;
    j->error = error;
    j->state = FAILED;
  }
}

static void *
work(void *arg)
{
  Background *b = arg;
  pthread_mutex_lock(&b->lock);
  while (!b->stop) {
    Job *j = next_waiting(b);
    if (j) {
      run_one(b, j);
      continue;
    }
    b->idle++;
    pthread_cond_wait(&b->changed, &b->lock);
    b->idle--;
  }
  pthread_mutex_unlock(&b->lock);
  return NULL;
}

/* With the lock held.  One more thread if all are busy; without any there is no progress.
 */
static bool
staff(Background *b)
{
  if (b->idle || b->n_threads == BACKGROUND_THREADS)
    return true;
  if (!pthread_create(&b->threads[b->n_threads], NULL, work, b))
    b->n_threads++;
  return b->n_threads > 0;
}

/* ---- the four verbs ---- */

Background *
background_new(void)
{
  Background *b = calloc(1, sizeof *b);
  if (!b)
    return NULL;
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->changed, NULL);
  return b;
}

void
background_free(Background *b)
{
  if (!b)
    return;
  pthread_mutex_lock(&b->lock);
  b->stop = true;
  pthread_cond_broadcast(&b->changed);
  pthread_mutex_unlock(&b->lock);
  for (int i = 0; i < b->n_threads; i++)
    pthread_join(b->threads[i], NULL);
  for (Job *j = b->jobs, *next; j; j = next) {
    next = j->next;
    if (j->state == WAITING)
      j->work.drop(j->work.user);
    free(j);
  }
  pthread_cond_destroy(&b->changed);
  pthread_mutex_destroy(&b->lock);
  free(b);
}

BackgroundState
background_poll(Background *b, const FlightKey *key, attnc_error *e)
{
  BackgroundState state = BACKGROUND_IDLE;
  pthread_mutex_lock(&b->lock);
  Job **at = find(b, key), *j = *at;
  if (j && j->state == FAILED) {
    state = BACKGROUND_FAILED;
    *e = j->error;
    *at = j->next;
    free(j);
  } else if (j) {
    state = BACKGROUND_PENDING;
  }
  pthread_mutex_unlock(&b->lock);
  return state;
}

attnc_status
background_start(Background *b, const FlightKey *key, BackgroundTask w, attnc_error *e)
{
  Job *j = calloc(1, sizeof *j);
  bool started = false, known = false;
  pthread_mutex_lock(&b->lock);
  Job **end = find(b, key);
  known = *end != NULL;
  if (j && !known && staff(b)) {
    j->key = *key;
    j->work = w;
    *end = j;
    started = true;
    pthread_cond_signal(&b->changed);
  }
  pthread_mutex_unlock(&b->lock);
  if (started)
    return ATTNC_OK;
  free(j);
  w.drop(w.user);
  return known ? ATTNC_OK
               : err_set(e, ATTNC_ERR_NOMEM, "a thread to compile on could not be started");
}

void
background_fork(Background *b, ForkStep step)
{
  if (step == FORK_CHILD) {
    b->n_threads = b->idle = 0;
    for (Job **p = &b->jobs; *p;)
      if ((*p)->state == RUNNING)
        *p = (*p)->next;
      else
        p = &(*p)->next;
  }
  fork_cond(&b->changed, step);
  fork_mutex(&b->lock, step);
}
