/* gate_pool.c: many jobs on a few processes.
 *
 * Results lie in memory that all share; each process takes the next job until there is
 * none. A process that dies leaves its job PENDING, and another takes its place. */
#include "tests/e2e/gate.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct Shared {
  atomic_int next, done;
  Result results[];
} Shared;

static void
work(const Job *jobs, int n, bool assemble, Shared *s)
{
  for (int i; (i = atomic_fetch_add(&s->next, 1)) < n;) {
    static Result r;
    gate_job(&jobs[i], assemble, &r);
    s->results[i] = r;
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

Result *
gate_pool(const Job *jobs, int n, int workers, bool assemble,
          void (*progress)(int done, int n))
{
  size_t bytes = sizeof(Shared) + (size_t)n * sizeof(Result);
  Shared *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int running = 0, status;
  if (s == MAP_FAILED)
    return NULL;
  for (int i = 0; i < workers && i < n; i++)
    running += start(jobs, n, assemble, s);
  while (running > 0) {
    pid_t ended = waitpid(-1, &status, progress ? WNOHANG : 0);
    if (ended > 0) {
      running--;
      if (fell(status) && atomic_load(&s->next) < n)
        running += start(jobs, n, assemble, s);
    } else if (ended < 0 && errno != EINTR) {
      break;
    } else if (progress) {
      progress(atomic_load(&s->done), n);
      sleep(1);
    }
  }
  return s->results;
}
