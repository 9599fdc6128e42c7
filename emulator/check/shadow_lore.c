#include "emulator/check/shadow_lore.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BRANCHES = 16, BITS = 4 };

struct Lore {
  atomic_uint refs;
  uint32_t n; /* of a leaf: its times, 1: the same for all warps; 0: a fork */
};

typedef struct Fork {
  Lore head;
  Lore *at[BRANCHES];
} Fork;

typedef struct Leaf {
  Lore head;
  uint32_t time[];
} Leaf;

static Fork *
fork_of(const Lore *p)
{
  return (Fork *)(void *)(uintptr_t)p;
}

static Leaf *
leaf_of(const Lore *p)
{
  return (Leaf *)(void *)(uintptr_t)p;
}

int
lore_levels(uint64_t ctas)
{
  int levels = 1;
  while (levels < LORE_LEVELS_MAX && (!ctas || ctas > (uint64_t)1 << BITS * levels))
    levels++;
  return levels;
}

Lore *
lore_keep(Lore *p)
{
  if (p)
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
  return p;
}

void
lore_drop(Lore *p)
{
  if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
    return;
  for (int i = 0; i < BRANCHES && !p->n; i++)
    lore_drop(fork_of(p)->at[i]);
  free(p);
}

uint32_t
lore_time(const Lore *p, int levels, uint32_t cta, int warp)
{
  while (p && levels--)
    p = fork_of(p)->at[cta >> BITS * levels & (BRANCHES - 1)];
  if (!p || (p->n > 1 && (uint32_t)warp >= p->n))
    return 0;
  return leaf_of(p)->time[p->n == 1 ? 0 : warp];
}

/* ---- joins: a fresh reference, of a or b where that has all; NULL: out of memory ---- */

static Lore *
new_leaf(const uint32_t *time, uint32_t n)
{
  uint32_t same = 1;
  while (same < n && time[same] == time[0])
    same++;
  n = same == n ? 1 : n;
  Leaf *l = malloc(sizeof *l + n * sizeof *l->time);
  if (!l)
    return NULL;
  atomic_init(&l->head.refs, 1);
  l->head.n = n;
  memcpy(l->time, time, n * sizeof *l->time);
  return &l->head;
}

static Lore *
join_leaves(Lore *a, Lore *b)
{
  uint32_t time[32], n = a->n > b->n ? a->n : b->n;
  const uint32_t *x = leaf_of(a)->time, *y = leaf_of(b)->time;
  bool is_a = a->n == n, is_b = b->n == n;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t s = x[a->n == 1 ? 0 : i], t = y[b->n == 1 ? 0 : i];
    time[i] = s > t ? s : t;
    is_a &= time[i] == s;
    is_b &= time[i] == t;
  }
  return is_a ? lore_keep(a) : is_b ? lore_keep(b) : new_leaf(time, n);
}

static Lore *
new_fork(Lore *const *at)
{
  Fork *f = malloc(sizeof *f);
  if (!f)
    return NULL;
  atomic_init(&f->head.refs, 1);
  f->head.n = 0;
  memcpy(f->at, at, sizeof f->at);
  return &f->head;
}

static Lore *
join(Lore *a, Lore *b)
{
  if (a == b || !b)
    return lore_keep(a);
  if (!a)
    return lore_keep(b);
  if (a->n)
    return join_leaves(a, b);
  Lore *at[BRANCHES], *r = NULL, *const *x = fork_of(a)->at, *const *y = fork_of(b)->at;
  bool ok = true, is_a = true, is_b = true;
  for (int i = 0; i < BRANCHES; i++) {
    at[i] = join(x[i], y[i]);
    ok &= at[i] || (!x[i] && !y[i]);
    is_a &= at[i] == x[i];
    is_b &= at[i] == y[i];
  }
  if (ok)
    r = is_a ? lore_keep(a) : is_b ? lore_keep(b) : new_fork(at);
  for (int i = 0; i < BRANCHES && (!r || is_a || is_b); i++)
    lore_drop(at[i]);
  return r;
}

bool
lore_join(Lore **to, Lore *from)
{
  if (*to == from || !from)
    return true;
  Lore *r = join(*to, from);
  if (!r)
    return false;
  lore_drop(*to);
  *to = r;
  return true;
}

bool
lore_tell(Lore **to, int levels, uint32_t cta, const uint32_t *time, int n)
{
  Lore *p = new_leaf(time, (uint32_t)n);
  for (int k = 0; p && k < levels; k++) {
    Lore *at[BRANCHES] = {NULL}, *leaf = p;
    at[cta >> BITS * k & (BRANCHES - 1)] = leaf;
    p = new_fork(at);
    if (!p)
      lore_drop(leaf);
  }
  bool ok = p && lore_join(to, p);
  lore_drop(p);
  return ok;
}
