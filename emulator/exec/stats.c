/* The cost model: never a time, an order among schedules.
 *
 * Clocks that a CTA keeps each unit of its SM busy (the usual model per M×N tile is
 * MMA = M·N·D / 1024, MUFU = M·N / 16, issue ≈ 5 · M·N / 128, from executed instructions
 * instead of formulae):
 *   MMA     multiply-adds / multiply-adds a clock
 *   MUFU    32 · instructions / lanes a clock
 *   ALU     32 · instructions / lanes a clock
 *   issue   instructions / 4
 *   shared  passes, one a clock (conflicts count)
 *   global  32 · sectors / bytes a clock that an SM gets from L2
 * CTAs go to the SM with the least work so far, in order, as a chip hands them out; an SM's
 * units overlap, so it takes as long as its busiest one; est_cycles is the slowest SM.
 * Latencies and occupancy are not in it. */
#include "emulator/export.h"

#include "emulator/exec/steps.h"

#include <attnc/attnc_emu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static attncEmuStats totals;

enum { ISSUE_SLOTS = 4, SECTOR = 32, TEXT_MOST = 100 };

/* Multiply-adds of one warp instruction; 0: it is none of the tensor cores. */
static double
macs_of(const Insn *i)
{
  if (i->kind != K_STEP)
    return 0;
  if (i->step == step_wgmma)
    return 16.0 * i->wgmma.n * i->wgmma.k;
  return i->step == step_mma || i->step == step_product
             ? (double)i->mma.m * i->mma.n * i->mma.k
             : 0;
}

/* In clocks of mma.sync's multiply-adds: wgmma is twice as fast, with 8 bits four times,
 * with tf32 as fast. */
static double
mma_load(const Insn *i)
{
  double macs = macs_of(i);
  return macs > 0 && i->step == step_wgmma ? macs * 8 / i->wgmma.k : macs;
}

void
stats_cta(const Exec *x, const Cta *of, float cost[COSTS])
{
  const ShadowCount *counts = shadow_counts(of->shadow);
  const Chip *c = x->launch->chip;
  double n[COSTS] = {0};
  for (int j = 0; j < x->kernel->n_code; j++) {
    const Insn *i = &x->kernel->code[j];
    const ShadowCount *k = &counts[j];
    n[COST_ISSUE] += (double)k->count;
    n[UNIT_ALU] += i->unit == UNIT_ALU ? (double)k->count : 0;
    n[UNIT_MUFU] += i->unit == UNIT_MUFU ? (double)k->count : 0;
    n[UNIT_MMA] += mma_load(i) * (double)k->count;
    n[UNIT_SHARED] += i->flags & F_SHARED ? (double)k->phases : 0;
    n[UNIT_GLOBAL] += i->flags & F_GLOBAL ? (double)k->phases : 0;
  }
  cost[COST_ISSUE] = (float)(n[COST_ISSUE] / ISSUE_SLOTS);
  cost[UNIT_ALU] = (float)(n[UNIT_ALU] * LANES / c->fp32);
  cost[UNIT_MUFU] = (float)(n[UNIT_MUFU] * LANES / c->mufu);
  cost[UNIT_MMA] = (float)(n[UNIT_MMA] / c->mma_macs);
  cost[UNIT_SHARED] = (float)n[UNIT_SHARED];
  cost[UNIT_GLOBAL] = (float)(n[UNIT_GLOBAL] * SECTOR / c->l2_bytes);
}

static double
busiest(const double load[COSTS])
{
  double most = 0;
  for (int i = 0; i < COSTS; i++)
    most = load[i] > most ? load[i] : most;
  return most;
}

uint64_t
stats_cycles(const Launch *l)
{
  typedef struct Sm {
    double load[COSTS], most;
  } Sm;
  Sm *sm = calloc((size_t)l->chip->sms, sizeof *sm);
  double slowest = 0;
  if (!sm)
    return 0;
  for (uint64_t c = 0; c < l->ctas; c++) {
    int to = 0;
    for (int s = 1; s < l->chip->sms && sm[to].most > 0; s++)
      to = sm[s].most < sm[to].most ? s : to;
    for (int k = 0; k < COSTS; k++)
      sm[to].load[k] += (double)l->cost[c * COSTS + (uint64_t)k];
    sm[to].most = busiest(sm[to].load);
    slowest = sm[to].most > slowest ? sm[to].most : slowest;
  }
  free(sm);
  return (uint64_t)(slowest + 0.5);
}

/* ---- totals ---- */

static void
add_counts(const Launch *l, attncEmuStats *t)
{
  const ShadowCount *counts = shadow_launch_counts(l->shadow);
  for (int j = 0; j < l->kernel->n_code; j++) {
    const Insn *i = &l->kernel->code[j];
    const ShadowCount *k = &counts[j];
    t->warp_instructions += k->count;
    t->thread_instructions += k->threads;
    if (macs_of(i) > 0) {
      t->mma += k->count;
      t->macs += (uint64_t)macs_of(i) * k->count;
    }
    if (i->flags & F_SHARED) {
      t->shared_accesses += k->count;
      t->bank_conflicts += k->phases - k->ideal;
    }
    if (i->flags & F_GLOBAL) {
      t->global_sectors += k->phases;
      t->global_sectors_ideal += k->ideal;
    }
  }
}

/* ---- the profile of the last launch ---- */

typedef struct Row {
  int line;
  ShadowCount count;
  bool shared, global;
} Row;
static Row *rows;
static size_t n_rows;
/* The text that the lines are of, ours, as the module may be gone. */
static Ptx profiled;

static bool
keep_text(const Ptx *p)
{
  if (profiled.text && profiled.id == p->id)
    return true;
  arena_free(profiled.arena);
  profiled = (Ptx){.arena = arena_new(0), .id = p->id};
  if (profiled.arena)
    ptx_index(&profiled, p->text, strlen(p->text));
  return profiled.text != NULL;
}

static void
keep_profile(const Launch *l)
{
  const Kernel *k = l->kernel;
  const ShadowCount *counts = shadow_launch_counts(l->shadow);
  free(rows);
  rows = keep_text(k->ptx) ? calloc((size_t)k->n_code, sizeof *rows) : NULL;
  n_rows = 0;
  for (int j = 0; rows && j < k->n_code; j++) {
    const Insn *i = &k->code[j];
    Row *r =
        n_rows && rows[n_rows - 1].line == i->line ? &rows[n_rows - 1] : &rows[n_rows++];
    r->line = i->line;
    r->count.count = counts[j].count > r->count.count ? counts[j].count : r->count.count;
    r->count.phases += counts[j].phases;
    r->count.ideal += counts[j].ideal;
    r->shared |= (i->flags & F_SHARED) != 0;
    r->global |= (i->flags & F_GLOBAL) != 0;
  }
}

void
stats_launch(const Launch *l, double seconds)
{
  /* of one that failed there is nothing to estimate, however large its grid was */
  uint64_t cycles = atomic_load(&l->result) ? 0 : stats_cycles(l);
  pthread_mutex_lock(&lock);
  totals.launches++;
  totals.ctas += l->ctas;
  totals.est_cycles += cycles;
  totals.barriers += atomic_load(&l->barriers);
  totals.findings += shadow_launch_errors(l->shadow) + atomic_load(&l->errors);
  totals.host_seconds += seconds;
  add_counts(l, &totals);
  keep_profile(l);
  pthread_mutex_unlock(&lock);
}

void
stats_found(uint64_t findings)
{
  pthread_mutex_lock(&lock);
  totals.findings += findings;
  pthread_mutex_unlock(&lock);
}

EXPORT void
attncEmuGetStats(attncEmuStats *out)
{
  size_t n = out && out->size && out->size < sizeof totals ? out->size : sizeof totals;
  if (!out)
    return;
  pthread_mutex_lock(&lock);
  totals.size = n;
  memcpy(out, &totals, n);
  pthread_mutex_unlock(&lock);
}

EXPORT void
attncEmuResetStats(void)
{
  pthread_mutex_lock(&lock);
  memset(&totals, 0, sizeof totals);
  pthread_mutex_unlock(&lock);
}

typedef struct Out {
  char *buf;
  size_t n, at;
} Out;

static void
out_char(Out *o, char c)
{
  if (o->n && o->at < o->n - 1)
    o->buf[o->at] = c;
  o->at++;
}

static void
out_text(Out *o, const char *s)
{
  for (; *s; s++)
    out_char(o, *s);
}

static void
out_row(Out *o, const Row *r)
{
  char text[200];
  int n;
  uint64_t conflicts = r->shared ? r->count.phases - r->count.ideal : 0;
  const char *line = ptx_line(&profiled, r->line, &n);
  snprintf(text, sizeof text, "{\"line\": %d, \"count\": %llu, \"text\": \"", r->line,
           (unsigned long long)r->count.count);
  out_text(o, text);
  for (int i = 0; i < n && i < TEXT_MOST; i++) {
    if (line[i] == '"' || line[i] == '\\')
      out_char(o, '\\');
    out_char(o, (unsigned char)line[i] < ' ' ? ' ' : line[i]);
  }
  snprintf(
      text, sizeof text, "\", \"conflicts\": %llu, \"sectors\": %llu, \"ideal\": %llu}",
      (unsigned long long)conflicts, (unsigned long long)(r->global ? r->count.phases : 0),
      (unsigned long long)(r->global ? r->count.ideal : 0));
  out_text(o, text);
}

EXPORT size_t
attncEmuProfile(char *buf, size_t n)
{
  Out o = {buf, n, 0};
  pthread_mutex_lock(&lock);
  out_char(&o, '[');
  for (size_t i = 0; i < n_rows; i++) {
    out_text(&o, i ? ",\n" : "\n");
    out_row(&o, &rows[i]);
  }
  out_text(&o, "]\n");
  pthread_mutex_unlock(&lock);
  if (n)
    buf[o.at < n ? o.at : n - 1] = 0;
  return o.at;
}

/* The library goes. */
__attribute__((destructor)) static void
forget_profile(void)
{
  pthread_mutex_lock(&lock);
  free(rows);
  arena_free(profiled.arena);
  rows = NULL;
  n_rows = 0;
  profiled = (Ptx){0};
  pthread_mutex_unlock(&lock);
}

void
stats_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}
