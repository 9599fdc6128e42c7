#include "templates/deal.h"

#include <string.h>

enum {
  ONE_BY_ONE = 8, /* blocks a worker, the last ones, that are dealt one by one */
  SAMPLE = 16,    /* sections that are dealt by strides */
};

/* ---- runs ---- */

typedef struct Run {
  double weight;
  int64_t n;
} Run;

static int64_t
least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static int64_t
groups(const Tickets *t)
{
  return (t->blocks + t->step - 1) / t->step;
}

static int64_t
sections(const Tickets *t)
{
  return (t->heads + t->section - 1) / t->section;
}

/* The k-th run of a section. */
static Run
run(const Tickets *t, int64_t section, int64_t k)
{
  int64_t here = least(t->section, t->heads - section * t->section);
  int64_t group = t->last_first ? groups(t) - 1 - k : k;
  int64_t alike = least(t->step, t->blocks - group * t->step);
  return (Run){t->weight[group], here * alike};
}

/* Of sections [from, to). */
static double
total(const Tickets *t, int64_t from, int64_t to)
{
  double head = 0, heads = (double)(least(to * t->section, t->heads) - from * t->section);
  for (int64_t k = 0; k < groups(t); k++) {
    int64_t alike = least(t->step, t->blocks - k * t->step);
    head += t->weight[k] * (double)alike;
  }
  return head * heads;
}

/* ---- to whoever is free first ---- */

typedef struct Hand {
  double load;
  int32_t who;
} Hand;

/* Workers, the least loaded first; at `first`, then round. */
typedef struct Hands {
  Hand at[DEAL_WORKERS];
  int n, first;
} Hands;

static Hand *
hand(Hands *h, int i)
{
  int at = h->first + i;
  return &h->at[at < h->n ? at : at - h->n];
}

static bool
before(Hand a, Hand b)
{
  return a.load < b.load || (a.load <= b.load && a.who < b.who);
}

/* To the least loaded, who thereby moves back, mostly to the end. */
static int32_t
give_one(Hands *h, double weight)
{
  Hand x = *hand(h, 0);
  x.load += weight;
  h->first = h->first + 1 < h->n ? h->first + 1 : 0;
  int at = h->n - 1;
  for (; at > 0 && before(x, *hand(h, at - 1)); at--)
    *hand(h, at) = *hand(h, at - 1);
  *hand(h, at) = x;
  return x.who;
}

/* Of many alike whole rounds in one step, once no worker is a block behind another. */
static void
give(Hands *h, Run r)
{
  while (r.n > 0) {
    bool level = hand(h, h->n - 1)->load - hand(h, 0)->load <= r.weight;
    int64_t rounds = level ? r.n / h->n : 0;
    for (int i = 0; rounds && i < h->n; i++)
      h->at[i].load += r.weight * (double)rounds;
    r.n -= rounds * h->n;
    if (r.n-- > 0)
      give_one(h, r.weight);
  }
}

static void
hands_open(Hands *h, int workers, double total)
{
  h->n = workers < DEAL_WORKERS ? workers : DEAL_WORKERS;
  h->first = 0;
  for (int i = 0; i < h->n; i++)
    h->at[i] = (Hand){total / h->n, i};
}

/* The section from which on blocks are dealt one by one. */
static int64_t
first_dealt(const Tickets *t, int workers)
{
  int64_t each = t->section * t->blocks, want = (int64_t)ONE_BY_ONE * workers;
  int64_t last = sections(t), some = want / each + 2; /* the last one may be short */
  return some < last ? last - some : 0;
}

Dealt
deal_first_free(const Tickets *t, int workers)
{
  Hands h;
  int64_t all = sections(t), from = first_dealt(t, workers);
  hands_open(&h, workers, total(t, 0, from));
  for (int64_t s = from; s < all; s++)
    for (int64_t k = 0; k < groups(t); k++)
      give(&h, run(t, s, k));
  return (Dealt){total(t, 0, all) / h.n, hand(&h, h.n - 1)->load};
}

void
deal_owners(const Tickets *t, int workers, int32_t *owner)
{
  Hands h;
  hands_open(&h, workers, 0);
  for (int64_t s = 0; s < sections(t); s++)
    for (int64_t k = 0; k < groups(t); k++)
      for (int64_t n = run(t, s, k).n; n > 0; n--)
        *owner++ = give_one(&h, run(t, s, k).weight);
}

/* ---- by strides ---- */

Dealt
deal_stride(const Tickets *t, int workers)
{
  double more[DEAL_WORKERS + 1], all = 0, here = 0, most = 0;
  int n = workers < DEAL_WORKERS ? workers : DEAL_WORKERS;
  int64_t at = 0, count = sections(t), some = least(count, SAMPLE);
  memset(more, 0, sizeof *more * (size_t)(n + 1));
  for (int64_t s = 0; s < some; s++)
    for (int64_t k = 0; k < groups(t); k++) {
      Run r = run(t, s, k);
      int64_t rest = r.n % n, end = at + rest;
      all += r.weight * (double)(r.n / n);
      more[at] += r.weight; /* from here on, up to `end`, round if need be */
      more[end < n ? end : end - n] -= r.weight;
      all += end < n ? 0 : r.weight;
      at = end < n ? end : end - n;
    }
  for (int i = 0; i < n; i++) {
    here += more[i];
    most = here > most ? here : most;
  }
  double mean = total(t, 0, count) / n, sampled = total(t, 0, some) / n;
  return (Dealt){mean, (all + most) * mean / sampled};
}
