#include "runtime/cc_watch.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { MOST = 64, STACK = 256 << 10 };

struct CcWatch {
  CcWatched of;
  int wake;  /* an eventfd */
  bool ends; /* atomic */
  bool runs; /* the thread is in this process */
  pthread_t thread;
};

static void *
watch(void *arg)
{
  CcWatch *w = arg;
  int fds[MOST];
  struct pollfd all[MOST + 1] = {{.fd = w->wake, .events = POLLIN}};
  uint64_t count;
  while (!__atomic_load_n(&w->ends, __ATOMIC_ACQUIRE)) {
    size_t n = w->of.list(w->of.user, fds, MOST);
    for (size_t i = 0; i < n; i++)
      all[i + 1] = (struct pollfd){.fd = fds[i]}; /* nothing but that it is closed */
    if (poll(all, n + 1, -1) <= 0)
      continue;
    if (all[0].revents && read(w->wake, &count, sizeof count) < 0)
      continue;
    for (size_t i = 0; i < n; i++)
      if (all[i + 1].revents) {
        w->of.ended(w->of.user);
        break;
      }
  }
  return NULL;
}

/* Signals are the host's threads' to handle. */
static bool
start(CcWatch *w)
{
  pthread_attr_t how;
  sigset_t all, before;
  if (pthread_attr_init(&how))
    return false;
  pthread_attr_setstacksize(&how, STACK);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  w->runs = pthread_create(&w->thread, &how, watch, w) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&how);
  return w->runs;
}

CcWatch *
cc_watch_new(const CcWatched *of)
{
  CcWatch *w = calloc(1, sizeof *w);
  if (!w)
    return NULL;
  w->of = *of;
  w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (w->wake >= 0 && start(w))
    return w;
  if (w->wake >= 0)
    close(w->wake);
  free(w);
  return NULL;
}

void
cc_watch_again(CcWatch *w)
{
  const uint64_t one = 1;
  if (w && write(w->wake, &one, sizeof one) < 0) { /* it is full: the thread wakes anyway */
  }
}

void
cc_watch_free(CcWatch *w)
{
  if (!w)
    return;
  __atomic_store_n(&w->ends, true, __ATOMIC_RELEASE);
  if (w->runs) {
    cc_watch_again(w);
    pthread_join(w->thread, NULL);
  }
  close(w->wake);
  free(w);
}

void
cc_watch_fork(CcWatch *w, ForkStep step)
{
  if (w && step == FORK_CHILD)
    w->runs = false;
}
