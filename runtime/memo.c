#include "runtime/memo.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 256 };

typedef struct Slot {
  bool used;
  FlightKey request, plan;
} Slot;

struct Memo {
  pthread_mutex_t lock;
  Slot slots[SLOTS];
};

Memo *
memo_new(void)
{
  Memo *m = calloc(1, sizeof *m);
  if (m)
    pthread_mutex_init(&m->lock, NULL);
  return m;
}

void
memo_free(Memo *m)
{
  if (!m)
    return;
  pthread_mutex_destroy(&m->lock);
  free(m);
}

/* Keys are hashes: any byte of one is as good as another. */
static Slot *
slot_of(Memo *m, const FlightKey *request)
{
  return &m->slots[request->bytes[0] % SLOTS];
}

bool
memo_find(Memo *m, const FlightKey *request, FlightKey *plan)
{
  pthread_mutex_lock(&m->lock);
  const Slot *s = slot_of(m, request);
  bool found = s->used && !memcmp(&s->request, request, sizeof *request);
  if (found)
    *plan = s->plan;
  pthread_mutex_unlock(&m->lock);
  return found;
}

void
memo_put(Memo *m, const FlightKey *request, const FlightKey *plan)
{
  pthread_mutex_lock(&m->lock);
  *slot_of(m, request) = (Slot){.used = true, .request = *request, .plan = *plan};
  pthread_mutex_unlock(&m->lock);
}

void
memo_fork(Memo *m, ForkStep step)
{
  fork_mutex(&m->lock, step);
}
