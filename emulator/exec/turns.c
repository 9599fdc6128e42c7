/* Whose turn it is among the warps of a cluster, until all have exited, or none can go on.
 */
#include "emulator/async/bulk.h"
#include "emulator/exec/machine.h"
#include "emulator/check/report.h"
#include "emulator/exec/steps.h"

#include <stdio.h>

/* Instructions in one turn.  A long turn is quick; that it ends lets a warp that spins on a
 * flag see it set. */
enum {
  TURN_BLOCK = 65536,
  LOOK_UP = 4096, /* whether another CTA has failed */
  TURN_RR = 16,
  TURN_RANDOM = 64,
  REPORT_MOST = 2400,
  ASK_AGAIN = 64
};

static uint32_t
next_random(Exec *x)
{
  x->random ^= x->random << 13;
  x->random ^= x->random >> 7;
  x->random ^= x->random << 17;
  return (uint32_t)(x->random >> 32);
}

static int
warp_count(const Exec *x)
{
  return x->n_ctas * x->ctas->n_warps;
}

static Warp *
warp_at(const Exec *x, int number)
{
  int n = x->ctas->n_warps;
  return n > number ? &x->ctas->warp[number] : &x->ctas[number / n].warp[number % n];
}

static int
number_of(const Warp *w)
{
  return w->cta->rank * w->cta->n_warps + w->id;
}

/* A warp that can run, from `from` on; NULL: there is none. */
static Warp *
runnable(const Exec *x, int from)
{
  int n = warp_count(x);
  for (int j = 0; j < n; j++) {
    Warp *w = warp_at(x, (from + j) % n);
    if (!w->done && w->barrier < 0 && !w->stalled)
      return w;
  }
  return NULL;
}

static Warp *
next_warp(Exec *x, int last)
{
  uint64_t turn = TURN_BLOCK;
  int from = last + 1;
  if (x->launch->set.order == ORDER_RR) {
    turn = TURN_RR;
  } else if (x->launch->set.order == ORDER_RANDOM) {
    turn = 1 + next_random(x) % TURN_RANDOM;
    from = (int)(next_random(x) % (uint32_t)warp_count(x));
  }
  x->slice = turn < x->fuel ? turn : x->fuel;
  return runnable(x, from);
}

/* ---- nobody can go on ---- */

static const Insn *
insn_of(const Exec *x, const Warp *w)
{
  return &x->kernel->code[w->barrier < 0 ? w->pc : w->pc - 1];
}

static int
describe(const Exec *x, const Warp *w, char *text, size_t n)
{
  const Barrier *b = w->barrier < 0 ? NULL : &w->cta->barrier[w->barrier];
  if (w->stalled && w->waits_for == WAITS_REGISTERS)
    return registers_describe(x, w, text, n);
  if (w->stalled && w->waits_for == WAITS_CLUSTER)
    return cluster_describe(w, text, n);
  if (w->stalled && w->waits_for == WAITS_PRODUCTS)
    return snprintf(text, n, "; warp %d waits at line %d for its warpgroup's products",
                    w->id, w->stalled_line);
  if (w->stalled && !b)
    return bulk_describe(w, text, n);
  if (w->done)
    return snprintf(text, n, "; warp %d has exited", w->id);
  if (b)
    return snprintf(text, n, "; warp %d waits at line %d for barrier %d, %u of %u", w->id,
                    insn_of(x, w)->line, w->barrier, b->arrived, b->expected);
  return snprintf(text, n, "; warp %d is at line %d", w->id, insn_of(x, w)->line);
}

static void
describe_all(const Exec *x, char *text, size_t n)
{
  size_t at = 0;
  for (int j = 0; j < warp_count(x) && at < n; j++) {
    const Warp *w = warp_at(x, j);
    if (x->n_ctas > 1 && !w->id)
      at += (size_t)snprintf(text + at, n - at, "; CTA %d of the cluster:", w->cta->rank);
    if (at < n)
      at += (size_t)describe(x, w, text + at, n - at);
  }
}

/* Nobody can run, or the fuel is gone. */
static bool
hung(Exec *x, const char *name, const char *what)
{
  char text[REPORT_MOST] = "";
  int j = 0;
  while (warp_at(x, j)->done)
    j++;
  describe_all(x, text, sizeof text);
  const Warp *w = warp_at(x, j);
  report_fatal(x, w, insn_of(x, w), CUDA_ERROR_LAUNCH_TIMEOUT, name, -1, "%s%s", what,
               text);
  return false;
}

static bool
progress(Exec *x)
{
  for (int i = 0; i < x->n_ctas; i++)
    if (bulk_progress(x, &x->ctas[i]))
      return true;
  return false;
}

/* Who asked an mbarrier in vain may have had something else to do: a few rounds more. */
static bool
ask_again(Exec *x)
{
  bool any = false;
  if (x->asked++ == ASK_AGAIN)
    return false;
  for (int j = 0; j < warp_count(x); j++) {
    Warp *w = warp_at(x, j);
    if (w->done || w->barrier >= 0 || !w->stalled || w->waits_for == WAITS_REGISTERS ||
        w->waits_for == WAITS_PRODUCTS)
      continue;
    w->stalled = false;
    w->failed = 0;
    any = true;
  }
  return any;
}

/* ---- turns ---- */

/* What comes behind a cluster that has failed stops; what comes before it may fail itself.
 */
static bool
is_over(Exec *x)
{
  Launch *l = x->launch;
  uint64_t failed = atomic_load_explicit(&l->failed, memory_order_relaxed);
  return failed < x->place || (l->by_turns && failed != UINT64_MAX);
}

/* An instruction may end the turn early. */
static Stop
take_turn(Exec *x, Warp *w)
{
  uint64_t before = w->executed, end = before + x->slice, look;
  Stop stop;
  x->met = false;
  do {
    look = end - w->executed < LOOK_UP ? end : w->executed + LOOK_UP;
    x->slice = look - w->executed;
    stop = exec_warp(x, w);
  } while (stop == SLICE && w->executed == look && look < end && !is_over(x));
  if (stop == BLOCK || w->executed == end)
    x->stuck = 0; /* other than to read in vain, or to sleep */
  uint64_t used = w->executed - before;
  x->fuel -= used < x->fuel ? used : x->fuel;
  x->executed += used;
  return stop;
}

/* The last warp of the CTA has exited. */
static void
end_cta(Exec *x, Cta *c)
{
  bulk_end(x, c);
  wgmma_end(x, c);
  registers_end(x, c);
  shadow_cta_exit(c->shadow);
}

/* All warps have exited, or the launch has failed. */
static void
end_cluster(Exec *x)
{
  for (int i = 0; i < x->n_ctas; i++) {
    const Cta *c = &x->ctas[i];
    stats_cta(x, c, x->launch->cost + (uint64_t)c->index * COSTS);
    shadow_cta_end(c->shadow);
  }
  x->busy = false;
}

/* One turn; false: none can follow. */
static bool
turn(Exec *x)
{
  Warp *w = next_warp(x, x->latest);
  if (!w && (progress(x) || ask_again(x))) /* nobody waits for it, but time goes by */
    return true;
  if (!w)
    return hung(x, "deadlock", "no warp can go on");
  if (!x->slice)
    return hung(x, "fuel", "the CTA has executed as many instructions as it may");
  if (is_over(x))
    return false;
  Stop stop = take_turn(x, w);
  x->latest = number_of(w);
  if (stop != DONE)
    return stop != FATAL;
  x->idle = 0;
  w->done = true;
  x->left--;
  if (!--w->cta->left)
    end_cta(x, w->cta);
  return x->left != 0;
}

void
cluster_begin(Exec *x, uint64_t place)
{
  x->place = x->launch->by_turns ? 0 : place;
  x->idle = x->stuck = 0;
  cta_start(x, order_cluster(x->launch, place));
  x->left = warp_count(x);
  x->latest = -1;
  x->busy = true;
}

void
cluster_advance(Exec *x, uint64_t most)
{
  uint64_t before = x->executed;
  bool more = true;
  for (x->met = false; more && !x->met && x->executed - before < most;)
    more = turn(x);
  if (!more)
    end_cluster(x);
}
