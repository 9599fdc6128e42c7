/* gate_pool.c: many jobs on a few processes.
 *
 * Results lie in memory that all share; each process takes the next job until there is
 * none. A process that dies leaves its job PENDING, and another takes its place. */
#include "tests/e2e/gate.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Slot {
  _Atomic uint64_t text; /* of the result, once it is whole */
  Result result;
} Slot;

typedef struct Shared {
  atomic_int next, done;
  int n;
  Slot slots[];
} Shared;

static const Result *
known(const void *user, uint64_t text)
{
  const Shared *s = user;
  for (int i = 0; i < s->n; i++)
    if (atomic_load_explicit(&s->slots[i].text, memory_order_acquire) == text)
      return &s->slots[i].result;
  return NULL;
}

static void
work(const Job *jobs, int n, bool assemble, Shared *s)
{
  for (int i; (i = atomic_fetch_add(&s->next, 1)) < n;) {
    static Result r;
    gate_job(&jobs[i], assemble, known, s, &r);
    s->slots[i].result = r;
    atomic_store_explicit(&s->slots[i].text, r.text, memory_order_release);
    atomic_fetch_add(&s->done, 1);
  }
}

static bool
start(const Job *jobs, int n, bool assemble, Shared *s)
{
  fflush(NULL);
  pid_t p = fork();
  if (p == 0) {
    work(jobs, n, assemble, s);
    _exit(0);
  }
  return p > 0;
}

static bool
fell(int status)
{
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static Result *
collect(const Shared *s)
{
  Result *all = malloc((size_t)(s->n + 1) * sizeof *all);
  for (int i = 0; all && i < s->n; i++)
    all[i] = s->slots[i].result;
  return all;
}

static void
wait_for(const Job *jobs, int n, int running, bool assemble, Shared *s,
         void (*progress)(int done, int n))
{
  int status;
  while (running > 0) {
    pid_t ended = waitpid(-1, &status, progress ? WNOHANG : 0);
    if (ended > 0) {
      running--;
      if (fell(status) && atomic_load(&s->next) < n)
        running += start(jobs, n, assemble, s);
    } else if (ended < 0 && errno != EINTR) {
      return;
    } else if (progress) {
      progress(atomic_load(&s->done), n);
      sleep(1);
    }
  }
}

Result *
gate_pool(const Job *jobs, int n, int workers, bool assemble,
          void (*progress)(int done, int n))
{
  size_t bytes = sizeof(Shared) + (size_t)n * sizeof(Slot);
  Shared *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int running = 0;
  if (s == MAP_FAILED)
    return NULL;
  s->n = n;
  for (int i = 0; i < workers && i < n; i++)
    running += start(jobs, n, assemble, s);
  wait_for(jobs, n, running, assemble, s, progress);
  Result *all = collect(s);
  munmap(s, bytes);
  return all;
}
