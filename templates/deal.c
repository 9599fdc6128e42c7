#include "templates/deal.h"

#include <string.h>

enum {
  ONE_BY_ONE = 5, /* blocks a worker, the last ones, that are dealt one by one */
  SAMPLE = 8,     /* sections that are dealt by strides */
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

/* Heads ahead of a section. */
static int64_t
heads_ahead(const Tickets *t, int64_t section)
{
  int64_t whole = section * t->section;
  if (!t->short_first)
    return least(whole, t->heads);
  int64_t missing = sections(t) * t->section - t->heads;
  return section ? whole - missing : 0;
}

/* The k-th run of a section. */
static Run
run(const Tickets *t, int64_t section, int64_t k)
{
  int64_t here = heads_ahead(t, section + 1) - heads_ahead(t, section);
  int64_t group = t->last_first ? groups(t) - 1 - k : k;
  int64_t alike = least(t->step, t->blocks - group * t->step);
  return (Run){t->weight[group], here * alike};
}

/* Of sections [from, to). */
static double
total(const Tickets *t, int64_t from, int64_t to)
{
  double head = 0, heads = (double)(heads_ahead(t, to) - heads_ahead(t, from));
  for (int64_t k = 0; k < groups(t); k++) {
    int64_t alike = least(t->step, t->blocks - k * t->step);
    head += t->weight[k] * (double)alike;
  }
  return head * heads;
}

double
deal_mean(const Tickets *t, int workers)
{
  return total(t, 0, sections(t)) / (double)least(workers, DEAL_WORKERS);
}

/* ---- to whoever is free first ---- */

/* Workers who have the same; `who` is the first of one alone. */
typedef struct Hand {
  double load;
  int32_t who, n;
} Hand;

/* A heap of them: the least loaded first. */
typedef struct Hands {
  Hand at[DEAL_WORKERS];
  int n, workers;
  double most; /* the largest load */
} Hands;

static bool
before(const Hand *a, const Hand *b)
{
  return a->load < b->load || (a->load <= b->load && a->who < b->who);
}

static void
sink(Hands *h, Hand x)
{
  int at = 0;
  for (int next; (next = 2 * at + 1) < h->n; at = next) {
    if (next + 1 < h->n && before(&h->at[next + 1], &h->at[next]))
      next++;
    if (!before(&h->at[next], &x))
      break;
    h->at[at] = h->at[next];
  }
  h->at[at] = x;
}

static void
rise(Hands *h, Hand x)
{
  int at = h->n++;
  for (int up; at > 0 && before(&x, &h->at[up = (at - 1) / 2]); at = up)
    h->at[at] = h->at[up];
  h->at[at] = x;
}

/* A block each to the n first ones of those with the least; their first one. */
static int32_t
give_each(Hands *h, int32_t n, double weight)
{
  Hand x = h->at[0];
  x.load += weight;
  h->most = x.load > h->most ? x.load : h->most;
  if (n == x.n) {
    sink(h, x);
    return x.who;
  }
  h->at[0].n -= n;
  x.n = n;
  rise(h, x);
  return x.who;
}

/* Whole rounds of alike blocks in one step, while no worker is a block behind another. */
static void
give_rounds(Hands *h, Run *r)
{
  if (r->n < h->workers || h->most - h->at[0].load > r->weight)
    return;
  double more = r->weight * (double)(r->n / h->workers);
  for (int i = 0; i < h->n; i++)
    h->at[i].load += more;
  h->most += more;
  r->n %= h->workers;
}

static void
give(Hands *h, Run r)
{
  for (give_rounds(h, &r); r.n > 0; give_rounds(h, &r)) {
    int32_t some = (int32_t)least(r.n, h->at[0].n);
    give_each(h, some, r.weight);
    r.n -= some;
  }
}

static void
hands_open(Hands *h, int workers, double total)
{
  h->workers = workers < DEAL_WORKERS ? workers : DEAL_WORKERS;
  h->n = 1;
  h->most = total / h->workers;
  h->at[0] = (Hand){h->most, 0, h->workers};
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
  int64_t all = sections(t), from = first_dealt(t, workers), n = groups(t);
  hands_open(&h, workers, total(t, 0, from));
  for (int64_t s = from; s < all; s++)
    for (int64_t k = 0; k < n; k++)
      give(&h, run(t, s, k));
  return (Dealt){total(t, 0, all) / h.workers, h.most};
}

void
deal_owners(const Tickets *t, int workers, int32_t *owner)
{
  Hands h;
  hands_open(&h, workers, 0);
  for (h.n = 0; h.n < h.workers; h.n++)
    h.at[h.n] = (Hand){0, h.n, 1};
  for (int64_t s = 0; s < sections(t); s++)
    for (int64_t k = 0; k < groups(t); k++)
      for (int64_t n = run(t, s, k).n; n > 0; n--)
        *owner++ = give_each(&h, 1, run(t, s, k).weight);
}

/* ---- by strides ---- */

/* What the k-th worker has less than the one before is at k. */
typedef struct Strides {
  double step[DEAL_WORKERS + 1], all;
  int64_t n, at; /* workers; who is next */
} Strides;

static void
stride_over(Strides *x, Run r)
{
  int64_t rounds = r.n < x->n ? 0 : r.n / x->n, end = x->at + r.n - rounds * x->n;
  x->all += r.weight * (double)(rounds + (end >= x->n));
  end -= end < x->n ? 0 : x->n;
  x->step[x->at] += r.weight; /* from here on, up to `end`, round if need be */
  x->step[end] -= r.weight;
  x->at = end;
}

Dealt
deal_stride(const Tickets *t, int workers)
{
  Strides x;
  x.n = workers < DEAL_WORKERS ? workers : DEAL_WORKERS;
  x.at = 0;
  x.all = 0;
  memset(x.step, 0, sizeof *x.step * (size_t)(x.n + 1));
  int64_t count = sections(t), some = least(count, SAMPLE), n = groups(t);
  double here = 0, most = 0;
  for (int64_t s = 0; s < some; s++)
    for (int64_t k = 0; k < n; k++)
      stride_over(&x, run(t, s, k));
  for (int64_t i = 0; i < x.n; i++) {
    here += x.step[i];
    most = here > most ? here : most;
  }
  double mean = total(t, 0, count) / (double)x.n, sampled = total(t, 0, some) / (double)x.n;
  return (Dealt){mean, (x.all + most) * mean / sampled};
}
