/* Where a CTA reads what others may write: the turn may end (crowd.c), and reads in vain
 * are counted. */
#include "emulator/exec/steps.h"

enum { RECENT = 8 };

static uint32_t
rows_hash(const Warp *w, const Insn *i, uint32_t row, uint32_t mask, uint32_t h)
{
  bool wide = i->flags & F_WIDE;
  for (uint32_t m = mask; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    uint64_t v = wide ? row64(w, row)[l] : row32(w, row)[l];
    h = (h ^ (uint32_t)v ^ (uint32_t)(v >> 32)) * 0x01000193u;
  }
  return h;
}

/* Which instruction, and what it has read. */
static uint32_t
read_hash(const Exec *x, const Warp *w, const Insn *i, uint32_t mask)
{
  const uint32_t *row = x->kernel->lists + i->list;
  uint32_t h = (uint32_t)(i - x->kernel->code) * 0x9e3779b9u;
  h = i->d ? rows_hash(w, i, i->d, mask, h) : h;
  for (int k = 0; k < i->n_d; k++)
    h = row[k] == ROW_SINK ? h : rows_hash(w, i, row[k], mask, h);
  return h;
}

static bool
is_news(Warp *w, uint32_t hash)
{
  for (int k = 0; k < RECENT; k++)
    if (w->read[k] == hash)
      return false;
  w->read[w->n_read++ % RECENT] = hash;
  return true;
}

void
crowd_meet(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Launch *l = x->launch;
  if (!l->by_turns)
    return;
  if (is_news(w, read_hash(x, w, i, mask))) {
    x->idle = x->stuck = 0;
  } else {
    x->idle++;
    x->stuck++;
    x->waits_at = i;
    x->waiter = w;
  }
  x->met = l->ctas_order != CTAS_RANDOM || launch_random(l) % 2;
  x->slice = x->met ? 1 : x->slice;
}
