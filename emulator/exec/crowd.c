/* Clusters by turns on one host thread: of kernels whose CTAs meet in device memory, by
 * atomics and strong accesses, and of cooperative launches.  One schedule, from the seed.
 *
 * A turn ends where a warp reads what others may write, so that a ticket, a lock or a flag
 * is seen by more than the first CTA.  A cluster that only reads again what it has read
 * before is idle; where all of them are, they may wait for one that has not started, and
 * another one starts, until the chip holds no more. */
#include "emulator/exec/steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads in vain after which a cluster is idle, and after which it is taken to wait for
 * ever: with nothing between them, with barriers and other warps' work between, when there
 * are no more clusters to start. */
enum { IDLE = 2, STUCK = 1024, STUCK_LONG = 16384, STUCK_ALL = 65536 };
enum { FIRST_ONES = 4, IDLE_ROUNDS = 8, DESCRIBED = 3, TURN = 65536 };

typedef struct Crowd {
  Launch *l;
  Exec **x; /* at work, in the order of their start */
  int n, cap, at, n_idle;
  uint64_t most; /* clusters that the chip holds at once */
  uint64_t turns;
  bool no_memory; /* for one more */
} Crowd;

/* ---- how many ---- */

static bool
sets_registers(const Kernel *k)
{
  for (int i = 0; i < k->n_code; i++)
    if (k->code[i].kind == K_STEP && k->code[i].step == step_setmaxnreg)
      return true;
  return false;
}

/* CTAs on a multiprocessor: by threads, shared memory, and registers where it is known how
 * many a thread has. */
static uint64_t
ctas_of_sm(const Launch *l)
{
  uint32_t threads = l->block[0] * l->block[1] * l->block[2];
  uint32_t warps = (threads + LANES - 1) / LANES;
  uint32_t registers =
      sets_registers(l->kernel) ? registers_at_entry(l) * warps * LANES : 0;
  uint32_t n = l->per_sm;
  if (registers && (uint32_t)l->chip->regs_sm / registers < n)
    n = (uint32_t)l->chip->regs_sm / registers;
  return n ? n : 1;
}

/* Clusters that the chip holds, but what the setting wants at least. */
static uint64_t
most_at_once(const Launch *l)
{
  uint64_t ctas = ctas_of_sm(l) * (uint64_t)l->chip->sms;
  uint64_t n = ctas / (uint64_t)launch_cluster_ctas(l), least = (uint64_t)l->set.resident;
  n = n < least ? least : n;
  n = n ? n : 1;
  return n < l->clusters && !l->cooperative ? n : l->clusters;
}

static uint64_t
first_ones(const Launch *l)
{
  uint64_t n = (uint64_t)l->set.resident;
  if (l->cooperative)
    return l->clusters;
  return l->kernel->meets && n < FIRST_ONES ? FIRST_ONES : n;
}

static bool
room(Crowd *c)
{
  if (c->n < c->cap)
    return true;
  int cap = c->cap ? 2 * c->cap : 16;
  Exec **more = realloc(c->x, (size_t)cap * sizeof *more);
  if (!more)
    return false;
  c->x = more;
  c->cap = cap;
  return true;
}

/* Clusters that have not started; one that is cancelled never does. */
static uint64_t
not_started(const Crowd *c)
{
  return c->l->clusters - atomic_load(&c->l->next);
}

/* The next cluster, on an Exec that has none; false: there is none to start. */
static bool
begin(Crowd *c, Exec *x)
{
  if (!not_started(c) || launch_failed(c->l))
    return false;
  cluster_begin(x, atomic_fetch_add(&c->l->next, 1));
  return true;
}

/* One more cluster; false: there is none, or no room for it. */
static bool
add(Crowd *c)
{
  if ((uint64_t)c->n >= c->most || !not_started(c) || launch_failed(c->l))
    return false;
  Exec *x = room(c) ? spare_take(c->l) : NULL;
  if (!x) {
    c->most = (uint64_t)c->n;
    c->no_memory = true;
    return false;
  }
  c->x[c->n++] = x;
  return begin(c, x);
}

/* ---- nobody can go on ---- */

static bool
is_stuck(const Exec *x, bool all)
{
  return all ? x->stuck >= STUCK_ALL : x->stuck >= STUCK || x->idle >= STUCK_LONG;
}

static bool
all_stuck(const Crowd *c)
{
  for (int i = 0; i < c->n; i++)
    if (!is_stuck(c->x[i], !not_started(c)))
      return false;
  return true;
}

static const Exec *
lowest(const Crowd *c)
{
  const Exec *x = c->x[0];
  for (int i = 1; i < c->n; i++)
    x = c->x[i]->ctas->index < x->ctas->index ? c->x[i] : x;
  return x;
}

static const char *
of_order(CtaOrder order)
{
  return order == CTAS_FORWARD   ? "a lower CTA waits for a higher one"
         : order == CTAS_REVERSE ? "a higher CTA waits for a lower one"
                                 : "a CTA waits for one that comes later";
}

static void
describe(const Crowd *c, const Exec *but, char *text, size_t n)
{
  size_t at = 0;
  int left = DESCRIBED;
  for (int i = 0; i < c->n && left && at < n; i++)
    if (c->x[i] != but) {
      at += (size_t)snprintf(text + at, n - at, "; CTA %d waits at line %d",
                             c->x[i]->ctas->index, c->x[i]->waits_at->line);
      left--;
    }
}

static void
hang(const Crowd *c)
{
  const Launch *l = c->l;
  char others[200] = "", why[300] = "";
  Exec *x = (Exec *)(uintptr_t)lowest(c);
  describe(c, x, others, sizeof others);
  if (not_started(c))
    snprintf(why, sizeof why,
             ", and %" PRIu64 " of its %" PRIu64 " CTAs have not started: the grid cannot "
             "be resident as a whole, and %s (ctas=%s)",
             not_started(c) * (uint64_t)x->n_ctas, l->ctas, of_order(l->ctas_order),
             order_name(l->ctas_order));
  report_fatal(x, x->waiter, x->waits_at,
               c->no_memory ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_LAUNCH_TIMEOUT,
               c->no_memory ? "host-memory" : "deadlock", -1,
               "every CTA of the grid that has started waits for another one%s%s", why,
               others);
}

/* ---- turns ---- */

static bool
is_idle(const Exec *x)
{
  return x->idle >= IDLE;
}

/* In turn, or at random; idle ones come less often. */
static int
choose(Crowd *c)
{
  int from = c->at + 1, n = c->n;
  if (c->l->ctas_order == CTAS_RANDOM)
    from = (int)(launch_random(c->l) % (uint64_t)n);
  if (c->n_idle == n || c->turns++ % IDLE_ROUNDS == 0)
    return from % n;
  for (int k = 0; k < n; k++)
    if (!is_idle(c->x[(from + k) % n]))
      return (from + k) % n;
  return from % n;
}

static void
give(Launch *l, Exec *x)
{
  atomic_fetch_add(&l->barriers, x->barriers);
  spare_give(x);
}

static void
take_turn(Crowd *c)
{
  c->at = choose(c);
  Exec *x = c->x[c->at];
  c->n_idle -= is_idle(x);
  cluster_advance(x, TURN);
  if (x->busy || begin(c, x)) {
    c->n_idle += is_idle(x);
  } else {
    give(c->l, x);
    c->n--;
    memmove(&c->x[c->at], &c->x[c->at + 1], (size_t)(c->n - c->at) * sizeof(Exec *));
    c->at--;
  }
}

void
crowd_run(Launch *l)
{
  Crowd c = {.l = l, .most = most_at_once(l), .at = -1};
  uint64_t first = first_ones(l);
  l->random = (l->order_seed + 1) * 0x9e3779b97f4a7c15u;
  while ((uint64_t)c.n < first && add(&c)) {
  }
  if (!c.n)
    launch_fail(l, 0, CUDA_ERROR_OUT_OF_MEMORY);
  while (c.n) {
    take_turn(&c);
    if (c.n && c.n_idle == c.n && !add(&c) && all_stuck(&c))
      hang(&c);
  }
  free(c.x);
}
