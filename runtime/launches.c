#include "runtime/launches.h"

#include <stdlib.h>
#include <string.h>

enum { LINES = 16, LINE_BYTES = 64 };

struct Launches {
  struct {
    _Alignas(LINE_BYTES) uint64_t n; /* atomic */
  } line[LINES];
  int refs; /* atomic */
};

Launches *
launches_new(void)
{
  Launches *x = aligned_alloc(_Alignof(Launches), sizeof *x);
  if (!x)
    return NULL;
  memset(x, 0, sizeof *x);
  x->refs = 1;
  return x;
}

Launches *
launches_retain(Launches *x)
{
  if (x)
    __atomic_add_fetch(&x->refs, 1, __ATOMIC_RELAXED);
  return x;
}

void
launches_release(Launches *x)
{
  if (x && __atomic_sub_fetch(&x->refs, 1, __ATOMIC_ACQ_REL) == 0)
    free(x);
}

uint64_t *
launches_of(Launches *x, uint64_t serial)
{
  return x ? &x->line[serial % LINES].n : NULL;
}

uint64_t
launches_read(const Launches *x)
{
  uint64_t n = 0;
  for (int i = 0; x && i < LINES; i++)
    n += __atomic_load_n(&x->line[i].n, __ATOMIC_RELAXED);
  return n;
}
