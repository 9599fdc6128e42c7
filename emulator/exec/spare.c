/* Execs between launches: a register file, shared memory and their shadows cost more to
 * make than a small launch takes.  The ones used last are kept, as many as the limit
 * allows. */
#include "emulator/exec/machine.h"
#include "emulator/check/report.h"

#include <stdlib.h>

enum { SPARE_BYTES = 128 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Guarded by it: the one given back last comes first. */
static Exec *spare;
static size_t bytes;

static Exec *
unlink_at(Exec **p)
{
  Exec *x = *p;
  *p = x->next;
  x->next = NULL;
  bytes -= x->bytes;
  return x;
}

/* The last ones, as long as there are too many. */
static Exec *
surplus(void)
{
  size_t kept = 0;
  Exec **p = &spare, *gone = NULL;
  while (*p) {
    kept += (*p)->bytes;
    if (kept <= SPARE_BYTES) {
      p = &(*p)->next;
    } else {
      Exec *x = unlink_at(p);
      x->next = gone;
      gone = x;
    }
  }
  return gone;
}

static void
free_all(Exec *x)
{
  while (x) {
    Exec *next = x->next;
    exec_free(x);
    x = next;
  }
}

Exec *
spare_take(Launch *l)
{
  Exec *x = NULL;
  pthread_mutex_lock(&lock);
  for (Exec **p = &spare; *p && !x;)
    if (exec_fits(*p, l))
      x = unlink_at(p);
    else
      p = &(*p)->next;
  pthread_mutex_unlock(&lock);
  if (!x)
    return exec_new(l);
  exec_renew(x, l);
  return x;
}

void
spare_give(Exec *x)
{
  pthread_mutex_lock(&lock);
  x->bytes = exec_bytes(x);
  x->next = spare;
  spare = x;
  bytes += x->bytes;
  Exec *gone = bytes > SPARE_BYTES ? surplus() : NULL;
  pthread_mutex_unlock(&lock);
  free_all(gone);
}

void
spare_forget(uint64_t module)
{
  Exec *gone = NULL;
  pthread_mutex_lock(&lock);
  for (Exec **p = &spare; *p;)
    if (!module || (*p)->shape.module == module) {
      Exec *x = unlink_at(p);
      x->next = gone;
      gone = x;
    } else {
      p = &(*p)->next;
    }
  pthread_mutex_unlock(&lock);
  free_all(gone);
}

/* The library goes. */
__attribute__((destructor)) static void
forget_all(void)
{
  spare_forget(0);
}

void
spare_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}
