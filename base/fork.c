#include "base/fork.h"

void
fork_mutex(pthread_mutex_t *m, ForkStep step)
{
  if (step == FORK_PREPARE)
    pthread_mutex_lock(m);
  else
    pthread_mutex_unlock(m);
}

void
fork_cond(pthread_cond_t *c, ForkStep step)
{
  if (step == FORK_CHILD)
    pthread_cond_init(c, NULL);
}

/* ---- the gate ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int inside, forking; /* guarded by lock */

void
fork_gate_enter(void)
{
  pthread_mutex_lock(&lock);
  while (forking)
    pthread_cond_wait(&changed, &lock);
  inside++;
  pthread_mutex_unlock(&lock);
}

void
fork_gate_leave(void)
{
  pthread_mutex_lock(&lock);
  inside--;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

/* The lock is held over the fork, so that two forks at once do not meet. */
static void
on_fork(ForkStep step)
{
  if (step == FORK_PREPARE) {
    pthread_mutex_lock(&lock);
    for (forking++; inside;)
      pthread_cond_wait(&changed, &lock);
    return;
  }
  forking = step == FORK_CHILD ? 0 : forking - 1;
  fork_cond(&changed, step);
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}
FORK_HANDLER(on_fork);
