#include "emulator/exec/pool.h"

#include <signal.h>
#include <stdbool.h>

typedef struct Job {
  PoolWork *work;
  void *arg;
  int wanted, inside; /* helpers that may still come; that are at it */
  struct Job *next;
} Job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* All that follows is guarded by it. */
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER, left = PTHREAD_COND_INITIALIZER;
static Job *jobs;
static pthread_t helper[POOL_MOST];
static int n_helpers, n_idle;
static bool closed;

static Job *
open_job(void)
{
  Job *j = jobs;
  while (j && !j->wanted)
    j = j->next;
  return j;
}

static void
take_part(Job *j)
{
  j->wanted--;
  j->inside++;
  pthread_mutex_unlock(&lock);
  j->work(j->arg);
  pthread_mutex_lock(&lock);
  if (!--j->inside)
    pthread_cond_broadcast(&left);
}

static void *
help(void *unused)
{
  (void)unused;
  pthread_mutex_lock(&lock);
  while (!closed) {
    Job *j = open_job();
    if (j) {
      take_part(j);
      continue;
    }
    n_idle++;
    pthread_cond_wait(&wanted, &lock);
    n_idle--;
  }
  pthread_mutex_unlock(&lock);
  return NULL;
}

/* As many helpers as all jobs want together. */
static void
make_helpers(void)
{
  int more = -n_idle;
  sigset_t all, before;
  for (const Job *j = jobs; j; j = j->next)
    more += j->wanted;
  if (more <= 0 || closed)
    return;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (more-- > 0 && n_helpers < POOL_MOST &&
         !pthread_create(&helper[n_helpers], NULL, help, NULL))
    n_helpers++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void
post(Job *j)
{
  pthread_mutex_lock(&lock);
  j->next = jobs;
  jobs = j;
  make_helpers();
  for (int i = 0; i < j->wanted && i < n_idle; i++)
    pthread_cond_signal(&wanted);
  pthread_mutex_unlock(&lock);
}

static void
withdraw(Job *j)
{
  Job **p = &jobs;
  pthread_mutex_lock(&lock);
  while (*p != j)
    p = &(*p)->next;
  *p = j->next;
  while (j->inside)
    pthread_cond_wait(&left, &lock);
  pthread_mutex_unlock(&lock);
}

void
pool_run(int helpers, PoolWork *work, void *arg)
{
  Job j = {.work = work, .arg = arg, .wanted = helpers};
  if (helpers > 0)
    post(&j);
  work(arg);
  if (helpers > 0)
    withdraw(&j);
}

/* The library goes, or the process: where that happens in the middle of a launch it is the
 * process, whose end waits for nobody. */
__attribute__((destructor)) static void
close_pool(void)
{
  pthread_mutex_lock(&lock);
  bool busy = jobs != NULL;
  int n = busy ? 0 : n_helpers;
  closed = true;
  pthread_cond_broadcast(&wanted);
  pthread_mutex_unlock(&lock);
  while (n)
    pthread_join(helper[--n], NULL);
}

/* Between launches: helpers are asleep, or on their way there. */
void
pool_fork(ForkStep step)
{
  if (step == FORK_CHILD)
    n_helpers = n_idle = 0;
  fork_cond(&wanted, step);
  fork_cond(&left, step);
  fork_mutex(&lock, step);
}
