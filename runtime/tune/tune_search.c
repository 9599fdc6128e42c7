/* What is measured how often.
 *
 * On the emulator, whose est_cycles are exact, once each.  On a GPU in rounds: every
 * candidate is timed with few launches; those whose interval lies above that of the best,
 * and the worse half in any case, are timed no further, the others with twice as many.  The
 * last few and the default are then timed in turns, in an order drawn anew for each turn,
 * so that a drifting clock favours none. */
#include "runtime/tune/tune.h"

#include "base/err.h"
#include "harness/random.h"
#include "harness/timing.h"

#include <math.h>
#include <stdlib.h>

enum { FINALISTS = 3, TURNS = 7, LEAST_SAMPLES = 3, CONFIRMATIONS = 4 };

/* A median of n samples is off by about 1.25 sigma / sqrt(n), sigma is 1.48 times the
 * median absolute deviation; this many such errors are an interval. */
#define INTERVAL (2 * 1.2533 * 1.4826)

static bool
is_measured(const Candidate *c)
{
  return c->told.state == ATTNC_TUNED_MEASURED;
}

/* Least value first; of equals the default, then that of fewer registers. */
static int
by_value(const void *a, const void *b)
{
  const Candidate *x = *(Candidate *const *)a, *y = *(Candidate *const *)b;
  const attnc_tuned *s = &x->told, *t = &y->told;
  if (s->value < t->value || s->value > t->value)
    return s->value < t->value ? -1 : 1;
  if (s->is_default != t->is_default)
    return s->is_default ? -1 : 1;
  if (s->registers != t->registers)
    return s->registers < t->registers ? -1 : 1;
  return x->id < y->id ? -1 : x->id > y->id;
}

/* Those that were measured, the best first. */
static int
measured(const attnc_tuning *t, Candidate **v)
{
  int n = 0;
  for (int i = 0; i < t->n; i++)
    if (is_measured(&t->at[i]))
      v[n++] = &t->at[i];
  qsort(v, (size_t)n, sizeof *v, by_value);
  return n;
}

/* ---- rounds ---- */

static Measured
measure_all(Sweep *s, int samples, attnc_error *e)
{
  const int n = s->t->n;
  for (int i = 0; i < n && (i == 0 || !sweep_is_late(s)); i++) {
    Candidate *c = sweep_nth(s->t, i);
    if (!c->ptx || c->told.resumed)
      continue;
    Measured m = worker_measure(&s->worker, c, samples, "measure", i, n, e);
    if (m != MEASURED_OK)
      return m;
    trial_keep(s, c);
  }
  return MEASURED_OK;
}

/* Half the width of the interval that the true median is probably in. */
static double
doubt(const Candidate *c)
{
  return INTERVAL * c->told.spread / sqrt(c->told.samples > 0 ? c->told.samples : 1);
}

/* How many of the sorted candidates may still be the best. */
static int
survivors(Candidate *const *v, int n)
{
  int half = (n + 1) / 2, keep = half > FINALISTS ? half : n < FINALISTS ? n : FINALISTS;
  double limit = v[0]->told.value + doubt(v[0]);
  while (keep > FINALISTS && v[keep - 1]->told.value - doubt(v[keep - 1]) > limit)
    keep--;
  return keep;
}

static Measured
halve(Sweep *s, Candidate **v, int samples, attnc_error *e)
{
  int n = measured(s->t, v);
  while (n > FINALISTS && samples < s->options.repeat && !sweep_is_late(s)) {
    int keep = survivors(v, n), left = 0;
    samples = samples * 2 < s->options.repeat ? samples * 2 : s->options.repeat;
    for (int i = 0; i < keep; i++) {
      Measured m = worker_measure(&s->worker, v[i], samples, "measure", i, keep, e);
      if (m != MEASURED_OK)
        return m;
      if (is_measured(v[i]))
        v[left++] = v[i];
    }
    n = left;
    qsort(v, (size_t)n, sizeof *v, by_value);
  }
  return MEASURED_OK;
}

/* ---- the end ---- */

static void
shuffle(Candidate **v, int n, Random *r)
{
  for (int i = n - 1; i > 0; i--) {
    int k = (int)(random_bits(r) % (uint64_t)(i + 1));
    Candidate *other = v[k];
    v[k] = v[i];
    v[i] = other;
  }
}

/* The best few and the default; -1 if the best few are all confirmed. */
static int
finalists(const attnc_tuning *t, Candidate **all, Candidate *v[FINALISTS + 1])
{
  int n = measured(t, all), k = 0;
  bool open = false;
  for (; k < n && k < FINALISTS; k++) {
    v[k] = all[k];
    open = open || !all[k]->confirmed;
  }
  Candidate *initial = &t->at[t->initial];
  bool there = !is_measured(initial);
  for (int i = 0; i < k; i++)
    there = there || v[i] == initial;
  if (!there)
    v[k++] = initial;
  return open ? k : -1;
}

/* A turn each, TURNS times. */
static Measured
take_turns(Sweep *s, Candidate **v, int n, Random *r, attnc_error *e)
{
  double times[FINALISTS + 1][TURNS];
  Candidate *drawn[FINALISTS + 1];
  for (int i = 0; i < n; i++)
    drawn[i] = v[i];
  for (int turn = 0; turn < TURNS; turn++) {
    shuffle(drawn, n, r);
    for (int i = 0; i < n; i++) {
      Measured m = worker_measure(&s->worker, drawn[i], s->options.repeat, "confirm",
                                  turn * n + i, TURNS * n, e);
      if (m != MEASURED_OK)
        return m;
    }
    for (int i = 0; i < n; i++)
      times[i][turn] = v[i]->told.value;
  }
  for (int i = 0; i < n; i++) {
    Timing timing;
    timing_of(times[i], TURNS, &timing);
    v[i]->told.value = timing.median;
    v[i]->told.spread = timing.spread;
    v[i]->told.samples = TURNS * s->options.repeat;
    v[i]->confirmed = true;
  }
  return MEASURED_OK;
}

/* Until none that was timed with few launches is better than those that were confirmed; a
 * clock that never agrees with itself ends it too. */
static Measured
confirm(Sweep *s, Candidate **all, attnc_error *e)
{
  Random r;
  Measured m = MEASURED_OK;
  random_seed(&r, s->options.seed);
  for (int i = 0; i < CONFIRMATIONS && m == MEASURED_OK; i++) {
    Candidate *v[FINALISTS + 1];
    int n = finalists(s->t, all, v);
    if (n < 2)
      break;
    m = take_turns(s, v, n, &r, e);
  }
  return m;
}

static Measured
search(Sweep *s, Candidate **v, attnc_error *e)
{
  int few = s->options.repeat / 4;
  int samples = few > LEAST_SAMPLES ? few : LEAST_SAMPLES;
  if (samples > s->options.repeat)
    samples = s->options.repeat;
  Measured m = measure_all(s, samples, e);
  if (m != MEASURED_OK || s->drv->emulated || s->options.shards > 1)
    return m;
  m = halve(s, v, samples, e);
  return m == MEASURED_OK ? confirm(s, v, e) : m;
}

/* The least, and on a GPU of those that were confirmed, unless none was. */
static void
pick(attnc_tuning *t, Candidate **v)
{
  int n = measured(t, v);
  for (int i = 0; i < n && t->best < 0; i++)
    if (v[i]->confirmed)
      t->best = v[i]->id;
  if (n && t->best < 0)
    t->best = v[0]->id;
  if (t->best >= 0)
    t->at[t->best].told.state = ATTNC_TUNED_BEST;
}

attnc_status
sweep_search(Sweep *s, attnc_error *e)
{
  Candidate **v = NEW_N(s->t->arena, Candidate *, s->t->n);
  Measured m = search(s, v, e);
  worker_end(&s->worker);
  if (m == MEASURED_FAILED)
    return e->status;
  pick(s->t, v);
  return ATTNC_OK;
}
