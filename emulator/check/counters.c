#include "emulator/check/counters.h"

#include <pthread.h>

enum { MOST = 8192 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Counter all[MOST]; /* guarded by lock; by address */
static int n;

/* Where it is, or belongs. */
static int
place_of(uint64_t address)
{
  int from = 0, to = n;
  while (from < to) {
    int middle = (from + to) / 2;
    if (all[middle].address < address)
      from = middle + 1;
    else
      to = middle;
  }
  return from;
}

void
counters_note(const Counter *c)
{
  pthread_mutex_lock(&lock);
  int at = place_of(c->address);
  if (n < MOST && (at == n || all[at].address != c->address)) {
    for (int i = n++; i > at; i--)
      all[i] = all[i - 1];
    all[at] = *c;
  }
  pthread_mutex_unlock(&lock);
}

bool
counters_take(bool (*wanted)(const Counter *, void *user), void *user, Counter *out)
{
  int at = 0;
  pthread_mutex_lock(&lock);
  while (at < n && !wanted(&all[at], user))
    at++;
  bool found = at < n;
  if (found) {
    *out = all[at];
    for (n--; at < n; at++)
      all[at] = all[at + 1];
  }
  pthread_mutex_unlock(&lock);
  return found;
}

void
counters_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}
