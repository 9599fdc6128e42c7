/* What orders CTAs, on made-up sequences of events: each with what it says of the access
 * that comes last, and of whom.  Then what the judging rests on, Lores and lists of
 * readers, against plain arrays. */
#include "emulator/check/shadow_between.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { INSNS = 64, WARPS = 2, CTAS = 4, BYTES = 1 << 14, EVENTS = 20 };
enum { ACQ = SHADOW_ACQUIRE, REL = SHADOW_RELEASE, GPU = SHADOW_GPU };
enum { CLUSTER = SHADOW_CLUSTER, BLIND = SHADOW_BLIND };

typedef enum What {
  END,
  READ,
  WRITE,
  REWRITE,
  LOAD,
  STORE,
  ATOM,
  CAS_FAILS,
  FENCE,
  BAR, /* all warps of the CTA */
  BULK,
  REDUCE,
  WRITTEN, /* all bulk stores of the warp */
} What;

typedef struct Event {
  What what;
  int cta, warp;
  unsigned at; /* byte; of 4, with at & 1 of 8 */
  int order;
} Event;

enum { FLAG = 0, DATA = 256, NEXT = 4, OTHER = 512 };

typedef struct Case {
  Event e[EVENTS];
  bool lax;
  int cluster; /* CTAs of one; 0: none */
  int finding,
      other; /* number of the event that is told, and of the one it meets; 0: none */
} Case;

/* Numbers in `finding` count from 1. */
static const Case cases[] = {
    /* release and acquire */
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 4,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU},
      {READ, 1, 0, DATA, 0}},
     .finding = 4,
     .other = 1},
    /* what comes after the release is not released */
    {{{STORE, 0, 0, FLAG, GPU | REL},
      {WRITE, 0, 0, DATA, 0},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 4,
     .other = 2},
    /* a read, then a write that has heard of it, or not */
    {{{READ, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {WRITE, 1, 0, DATA, 0}},
     .finding = 0},
    {{{READ, 0, 0, DATA, 0},
      {READ, 2, 0, DATA, 0},
      {STORE, 2, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {WRITE, 1, 0, DATA, 0}},
     .finding = 5,
     .other = 1},
    /* fences: one on each side, on the right side of the flag */
    {{{WRITE, 0, 0, DATA, 0},
      {FENCE, 0, 0, 0, GPU | REL},
      {STORE, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU},
      {FENCE, 1, 0, 0, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU},
      {FENCE, 0, 0, 0, GPU | REL | ACQ},
      {LOAD, 1, 0, FLAG, GPU},
      {FENCE, 1, 0, 0, GPU | REL | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 6,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {FENCE, 0, 0, 0, GPU | REL | ACQ},
      {STORE, 0, 0, FLAG, GPU},
      {FENCE, 1, 0, 0, GPU | REL | ACQ},
      {LOAD, 1, 0, FLAG, GPU},
      {READ, 1, 0, DATA, 0}},
     .finding = 6,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {FENCE, 0, 0, 0, GPU | REL | ACQ},
      {FENCE, 1, 0, 0, GPU | REL | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 4,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {FENCE, 0, 0, 0, CLUSTER | REL | ACQ},
      {STORE, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU},
      {FENCE, 1, 0, 0, GPU | REL | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 6,
     .other = 1},
    /* what is written between the fence and the flag is not released */
    {{{FENCE, 0, 0, 0, GPU | REL},
      {WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 5,
     .other = 2},
    /* atomics carry a release on, stores end it, that of the thread itself does not */
    {{{WRITE, 0, 0, DATA, 0},
      {ATOM, 0, 0, FLAG, GPU | REL | BLIND},
      {ATOM, 1, 0, FLAG, GPU | BLIND},
      {LOAD, 2, 0, FLAG, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {STORE, 1, 0, FLAG, GPU},
      {LOAD, 2, 0, FLAG, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .finding = 5,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {STORE, 1, 0, FLAG, GPU},
      {STORE, 0, 0, FLAG, GPU},
      {LOAD, 2, 0, FLAG, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU},
      {CAS_FAILS, 0, 0, FLAG, GPU | REL | ACQ},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 5,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {CAS_FAILS, 1, 0, FLAG, GPU | REL | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {ATOM, 1, 0, FLAG, GPU | BLIND},
      {FENCE, 1, 0, 0, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 5,
     .other = 1},
    /* the flag's own bytes: a weak access of them is a race unless the flag was read */
    {{{STORE, 0, 0, FLAG, GPU}, {READ, 1, 0, FLAG, 0}}, .finding = 2, .other = 1},
    {{{STORE, 0, 0, FLAG, GPU}, {LOAD, 1, 0, FLAG, GPU}, {WRITE, 1, 0, FLAG, 0}},
     .finding = 0},
    {{{ATOM, 0, 0, FLAG, GPU},
      {ATOM, 1, 0, FLAG, GPU},
      {ATOM, 2, 0, FLAG, GPU},
      {WRITE, 2, 0, FLAG, 0}},
     .finding = 0},
    {{{ATOM, 0, 0, FLAG, GPU}, {ATOM, 1, 0, FLAG, GPU | BLIND}, {WRITE, 1, 0, FLAG, 0}},
     .finding = 3,
     .other = 1},
    {{{ATOM, 0, 0, NEXT, GPU},
      {ATOM, 1, 0, NEXT, GPU},
      {ATOM, 0, 0, FLAG, GPU},
      {WRITE, 1, 0, NEXT, 0}},
     .finding = 0},
    {{{LOAD, 0, 0, FLAG, GPU}, {STORE, 1, 0, FLAG, GPU}, {WRITE, 1, 0, FLAG, 0}},
     .finding = 3,
     .other = 1},
    {{{STORE, 0, 0, FLAG | 1, GPU}, {LOAD, 1, 0, FLAG, GPU}}, .finding = 2, .other = 1},
    {{{STORE, 0, 0, FLAG | 1, GPU}, {LOAD, 1, 0, FLAG, GPU}}, .lax = true, .finding = 0},
    /* a weak write of the flag is nobody's release */
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {WRITE, 0, 0, FLAG, 0},
      {READ, 0, 0, OTHER, 0},
      {LOAD, 1, 0, FLAG, GPU | ACQ}},
     .finding = 5,
     .other = 3},
    /* barriers of the CTA make its threads' accesses those of the one that releases */
    {{{WRITE, 0, 1, DATA, 0},
      {BAR, 0, 0, 0, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {BAR, 1, 0, 0, 0},
      {READ, 1, 1, DATA, 0}},
     .finding = 0},
    {{{WRITE, 0, 1, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 4,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 1, DATA, 0}},
     .finding = 4,
     .other = 1},
    /* fences of other threads: by the letter no, with lax yes */
    {{{WRITE, 0, 1, DATA, 0},
      {FENCE, 0, 1, 0, GPU | REL | ACQ},
      {BAR, 0, 0, 0, 0},
      {ATOM, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 6,
     .other = 1},
    {{{WRITE, 0, 1, DATA, 0},
      {FENCE, 0, 1, 0, GPU | REL | ACQ},
      {BAR, 0, 0, 0, 0},
      {ATOM, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU},
      {BAR, 1, 0, 0, 0},
      {FENCE, 1, 1, 0, GPU | ACQ},
      {READ, 1, 1, DATA, 0}},
     .lax = true,
     .finding = 0},
    {{{WRITE, 0, 1, DATA, 0},
      {FENCE, 0, 1, 0, GPU | REL | ACQ},
      {BAR, 0, 0, 0, 0},
      {ATOM, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU},
      {BAR, 1, 0, 0, 0},
      {READ, 1, 1, DATA, 0}},
     .lax = true,
     .finding = 7,
     .other = 1},
    /* over two flags */
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {STORE, 1, 0, NEXT, GPU | REL},
      {LOAD, 2, 0, NEXT, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .finding = 0},
    /* scopes: clusters of two */
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, CLUSTER | REL},
      {LOAD, 1, 0, FLAG, CLUSTER | ACQ},
      {READ, 1, 0, DATA, 0}},
     .cluster = 2,
     .finding = 0},
    {{{WRITE, 1, 0, DATA, 0},
      {STORE, 1, 0, FLAG, GPU | REL},
      {LOAD, 2, 0, FLAG, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .cluster = 2,
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, CLUSTER | ACQ},
      {READ, 1, 0, DATA, 0}},
     .cluster = 2,
     .finding = 0},
    {{{STORE, 1, 0, FLAG, CLUSTER | REL}, {LOAD, 2, 0, FLAG, GPU | ACQ}},
     .cluster = 2,
     .finding = 2,
     .other = 1},
    {{{WRITE, 0, 0, DATA, 0},
      {FENCE, 0, 0, 0, CLUSTER | REL},
      {ATOM, 0, 0, FLAG, GPU},
      {LOAD, 1, 0, FLAG, GPU},
      {FENCE, 1, 0, 0, CLUSTER | ACQ},
      {READ, 1, 0, DATA, 0}},
     .cluster = 2,
     .finding = 0},
    {{{WRITE, 1, 0, DATA, 0},
      {FENCE, 1, 0, 0, CLUSTER | REL},
      {ATOM, 1, 0, FLAG, GPU},
      {LOAD, 2, 0, FLAG, GPU},
      {FENCE, 2, 0, 0, GPU | ACQ},
      {READ, 2, 0, DATA, 0}},
     .cluster = 2,
     .finding = 6,
     .other = 1},
    /* bulk stores are over when they have been waited for, and never race among themselves
     */
    {{{BULK, 0, 0, DATA, 0},
      {WRITTEN, 0, 0, 0, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 0},
    {{{BULK, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {WRITTEN, 0, 0, 0, 0},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {READ, 1, 0, DATA, 0}},
     .finding = 5,
     .other = 1},
    {{{REDUCE, 0, 0, DATA, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {REDUCE, 1, 0, DATA, 0},
      {WRITTEN, 1, 0, 0, 0},
      {READ, 1, 0, DATA, 0}},
     .finding = 6,
     .other = 1},
    {{{REDUCE, 0, 0, DATA, 0},
      {WRITTEN, 0, 0, 0, 0},
      {STORE, 0, 0, FLAG, GPU | REL},
      {LOAD, 1, 0, FLAG, GPU | ACQ},
      {REDUCE, 1, 0, DATA, 0},
      {WRITTEN, 1, 0, 0, 0},
      {READ, 1, 0, DATA, 0}},
     .finding = 0},
    /* the same values */
    {{{WRITE, 0, 0, DATA, 0}, {REWRITE, 1, 0, DATA, 0}, {READ, 1, 0, DATA, 0}},
     .lax = true,
     .finding = 0},
    {{{WRITE, 0, 0, DATA, 0}, {REWRITE, 1, 0, DATA, 0}, {WRITE, 1, 0, DATA, 0}},
     .lax = true,
     .finding = 3,
     .other = 1},
};

/* ---- a case ---- */

typedef struct Log {
  int n;
  ShadowFinding last;
} Log;

typedef struct Grid {
  ShadowLaunch *launch;
  Shadow *s[CTAS];
  ShadowMem *m;
  Log log;
  uint32_t stores[CTAS];
} Grid;

static void
sink(void *user, const ShadowFinding *f)
{
  Log *log = user;
  if (!log->n++)
    log->last = *f;
}

static void
start(Grid *g, bool lax, int cluster)
{
  int line[INSNS];
  for (int i = 0; i < INSNS; i++)
    line[i] = i;
  memset(g, 0, sizeof *g);
  ShadowInfo info = {.insns = INSNS,
                     .line = line,
                     .warps = WARPS,
                     .checks = true,
                     .lax = lax,
                     .orders = true,
                     .ctas = CTAS,
                     .sink = sink,
                     .user = &g->log};
  g->launch = shadow_launch_new(&info);
  g->m = shadow_mem_new(BYTES);
  assert_true(g->launch && g->m);
  shadow_mem_init(g->m, 0, BYTES);
  for (int c = 0; c < CTAS; c++)
    assert_non_null(g->s[c] = shadow_new(g->launch));
  for (int c = 0; cluster && c < CTAS; c += cluster)
    assert_true(shadow_join(g->s + c, cluster));
  for (int c = 0; c < CTAS; c++)
    shadow_cta_begin(g->s[c], c);
}

static void
finish(Grid *g)
{
  for (int c = 0; c < CTAS; c++) {
    shadow_cta_end(g->s[c]);
    shadow_free(g->s[c]);
  }
  shadow_launch_free(g->launch);
  shadow_mem_free(g->m);
}

static void
barrier(Shadow *s)
{
  for (int w = 0; w < WARPS; w++)
    shadow_arrive(s, w, 0);
  shadow_release(s, 0, (1u << WARPS) - 1);
}

static void
access(Grid *g, const Event *e, int insn)
{
  static const ShadowOp ops[] = {
      [READ] = SHADOW_READ,        [WRITE] = SHADOW_WRITE, [REWRITE] = SHADOW_REWRITE,
      [LOAD] = SHADOW_READ,        [STORE] = SHADOW_WRITE, [ATOM] = SHADOW_ATOMIC,
      [CAS_FAILS] = SHADOW_ATOMIC, [BULK] = SHADOW_WRITE,  [REDUCE] = SHADOW_ATOMIC,
  };
  bool engine = e->what == BULK || e->what == REDUCE;
  Shadow *s = g->s[e->cta];
  uint64_t off[32] = {e->at & ~1u};
  uint8_t bytes = e->at & 1 ? 8 : 4;
  ShadowAccess a = {.insn = insn,
                    .warp = e->warp,
                    .mask = 1,
                    .op = (uint8_t)ops[e->what],
                    .bytes = bytes,
                    .order = (uint8_t)(e->what == REDUCE ? GPU | BLIND : e->order),
                    .unit = bytes,
                    .store = engine ? ++g->stores[e->cta] : 0};
  shadow_global(s, &a, g->m, 0, off);
  if (!e->order)
    return;
  ShadowHeld *held = shadow_hold(s, g->m, off[0]);
  assert_non_null(held);
  a.op = e->what == CAS_FAILS ? SHADOW_READ : a.op;
  shadow_notify(s, held, &a, 0, off[0], off[0]);
}

static void
happen(Grid *g, const Event *e, int insn)
{
  Shadow *s = g->s[e->cta];
  if (e->what == FENCE)
    shadow_fence(s, e->warp, (uint8_t)e->order);
  else if (e->what == BAR)
    barrier(s);
  else if (e->what == WRITTEN)
    shadow_bulk_written(s, e->warp, 0, UINT32_MAX);
  else
    access(g, e, insn);
}

static void
test_cases(void **state)
{
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const Case *c = &cases[i];
    Grid g;
    start(&g, c->lax, c->cluster);
    for (int k = 0; k < EVENTS && c->e[k].what; k++)
      happen(&g, &c->e[k], k + 1);
    int n = g.log.n, line = g.log.last.line, other = g.log.last.other_line;
    finish(&g);
    if (n != (c->finding != 0) || (n && (line != c->finding || other != c->other)))
      fail_msg("case %zu: %d findings, event %d with %d", i, n, line, other);
  }
}

/* The clock of a CTA starts again: what has happened before is not forgotten elsewhere. */
static void
test_clock_restarts(void **state)
{
  (void)state;
  Grid g;
  start(&g, false, 0);
  const Event before[] = {{WRITE, 0, 0, DATA, 0}, {WRITE, 0, 0, OTHER, 0}};
  happen(&g, &before[0], 1);
  while (g.s[0]->base == 0)
    shadow_tick(g.s[0]);
  happen(&g, &before[1], 2);
  const Event rest[] = {{STORE, 0, 0, FLAG, GPU | REL},
                        {LOAD, 1, 0, FLAG, GPU | ACQ},
                        {READ, 1, 0, DATA, 0},
                        {READ, 1, 0, OTHER, 0},
                        {READ, 2, 0, DATA, 0}};
  for (int k = 0; k < 4; k++)
    happen(&g, &rest[k], 3 + k);
  assert_int_equal(g.log.n, 0);
  happen(&g, &rest[4], 7);
  assert_int_equal(g.log.n, 1);
  finish(&g);
}

/* ---- Lores ---- */

enum { MODELS = 6, MODEL_CTAS = 300, STEPS = 3000 };

static uint32_t
next(uint32_t *seed)
{
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

static void
test_lore(void **state)
{
  (void)state;
  static uint32_t model[MODELS][MODEL_CTAS][WARPS];
  Lore *lore[MODELS] = {NULL};
  uint32_t seed = 1;
  int levels = lore_levels(MODEL_CTAS);
  assert_int_equal(lore_levels(16), 1);
  assert_int_equal(lore_levels(17), 2);
  assert_int_equal(lore_levels(0), LORE_LEVELS_MAX);
  for (int i = 0; i < STEPS; i++) {
    uint32_t a = next(&seed) % MODELS, b = next(&seed) % MODELS;
    uint32_t cta = next(&seed) % MODEL_CTAS, time[WARPS];
    for (int w = 0; w < WARPS; w++)
      time[w] = next(&seed) % (i % 3 ? 100 : 2);
    if (i % 2)
      assert_true(lore_tell(&lore[a], levels, cta, time, WARPS));
    else
      assert_true(lore_join(&lore[a], lore[b]));
    for (uint32_t c = 0; c < MODEL_CTAS; c++)
      for (int w = 0; w < WARPS; w++) {
        uint32_t t = i % 2 ? (c == cta ? time[w] : 0) : model[b][c][w];
        model[a][c][w] = t > model[a][c][w] ? t : model[a][c][w];
      }
    for (uint32_t c = i % 50 ? cta : 0; c < (i % 50 ? cta + 1 : MODEL_CTAS); c++)
      for (int w = 0; w < WARPS; w++)
        assert_int_equal(lore_time(lore[a], levels, c, w), model[a][c][w]);
  }
  Lore *same = lore_keep(lore[0]);
  assert_true(lore_join(&lore[0], same)); /* what it knows already makes no new one */
  assert_ptr_equal(lore[0], same);
  lore_drop(same);
  for (int i = 0; i < MODELS; i++)
    lore_drop(lore[i]);
}

/* ---- lists of readers ---- */

/* Is a read at this time, or a later one, by the warp, of these bytes, in the list? */
static bool
holds(const ShadowOrder *o, uint32_t list, const Mark *m)
{
  for (; list; list = shadow_reader(o, list)->next) {
    const Mark *r = &shadow_reader(o, list)->mark;
    if (r->cta == m->cta && r->warp == m->warp && r->time >= m->time &&
        r->scope <= m->scope && !(m->bytes & ~r->bytes))
      return true;
  }
  return false;
}

static void
test_readers(void **state)
{
  (void)state;
  static Mark all[STEPS];
  Grid g;
  start(&g, false, 0);
  Shadow *s = g.s[0];
  const ShadowOrder *o = g.launch->order;
  uint32_t seed = 7, list = 0, twin = 0;
  for (int i = 0; i < STEPS; i++) {
    uint16_t bytes = next(&seed) % 2 ? 0xf : 0xf0;
    all[i] = (Mark){.cta = next(&seed) % 20,
                    .time = 1 + (uint32_t)i / 10,
                    .bytes = bytes,
                    .warp = (uint8_t)(next(&seed) % 2)};
    list = shadow_read_by(s, list, &all[i]);
    twin = shadow_read_by(g.s[1], twin, &all[i]);
    assert_int_equal(list, twin); /* alike: the same */
    assert_true(shadow_reader(o, list)->length <= 512);
  }
  for (int i = 0; i < STEPS; i++)
    assert_true(holds(o, list, &all[i]));
  uint32_t left = shadow_forget_reads(s, list, 0xf, false);
  for (int i = 0; i < STEPS; i++)
    assert_int_equal(holds(o, left, &all[i]), all[i].bytes == 0xf0);
  assert_int_equal(shadow_forget_reads(s, left, 0xff, false), 0);
  finish(&g);
}

int
main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),
      cmocka_unit_test(test_clock_restarts),
      cmocka_unit_test(test_lore),
      cmocka_unit_test(test_readers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
