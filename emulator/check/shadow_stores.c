/* Bulk stores and reductions to device memory: they go on when their thread does, and are
 * over, for whom it tells, once it has waited for them (PTX ISA,
 * "cp.async.bulk.wait_group", without .read).  Each has a number in the launch, and the
 * time of its end under it. */
#include "emulator/check/shadow_between.h"

#include <stdlib.h>

static atomic_uint *
end_of(ShadowOrder *o, uint32_t number)
{
  return &atomic_load_explicit(&o->stores[number / STORE_CHUNK],
                               memory_order_acquire)[number % STORE_CHUNK];
}

/* 0: out of memory. */
static uint32_t
new_number(ShadowOrder *o)
{
  uint32_t n = o->n_stores + 1, chunk = n / STORE_CHUNK;
  if (chunk == STORE_CHUNKS)
    return 0;
  if (!atomic_load(&o->stores[chunk])) {
    atomic_uint *fresh = calloc(STORE_CHUNK, sizeof *fresh);
    if (!fresh)
      return 0;
    atomic_store_explicit(&o->stores[chunk], fresh, memory_order_release);
  }
  return o->n_stores = n;
}

static bool
grow(Between *b)
{
  if (b->n_open < b->cap_open)
    return true;
  int cap = b->cap_open ? 2 * b->cap_open : 32;
  OpenStore *p = realloc(b->open, (size_t)cap * sizeof *p);
  if (!p)
    return false;
  b->open = p;
  b->cap_open = cap;
  return true;
}

uint32_t
shadow_store_number(Shadow *s, int warp, uint32_t store)
{
  ShadowOrder *o = s->launch->order;
  Between *b = s->between;
  for (int i = b->n_open; i-- > 0;)
    if (b->open[i].warp == warp && b->open[i].store == store)
      return b->open[i].number;
  uint32_t number = 0;
  if (grow(b)) {
    pthread_mutex_lock(&o->lock);
    number = new_number(o);
    pthread_mutex_unlock(&o->lock);
  }
  if (number)
    b->open[b->n_open++] = (OpenStore){warp, store, number};
  else
    shadow_out_of_memory(s);
  return number;
}

uint32_t
shadow_store_end(const ShadowOrder *o, uint32_t number)
{
  return atomic_load_explicit(end_of((ShadowOrder *)(uintptr_t)o, number),
                              memory_order_relaxed);
}

void
shadow_bulk_written(Shadow *s, int warp, uint32_t first, uint32_t end)
{
  Between *b = s->between;
  int n = 0;
  if (!s->checks || !b || !b->n_open)
    return;
  shadow_after_arrival(s, warp); /* who heard of the warp before has not heard of this */
  for (int i = 0; i < b->n_open; i++) {
    const OpenStore *p = &b->open[i];
    if (p->warp == warp && p->store >= first && p->store < end)
      atomic_store_explicit(end_of(s->launch->order, p->number), shadow_now(s),
                            memory_order_relaxed);
    else
      b->open[n++] = *p;
  }
  b->n_open = n;
}

void
shadow_stores_free(ShadowOrder *o)
{
  for (int i = 0; i < STORE_CHUNKS; i++)
    free((void *)atomic_load(&o->stores[i]));
}
