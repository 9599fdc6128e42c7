/* CTAs of a cluster: what a warp knows of others, their barrier, and accesses to the shared
 * memory of another CTA.
 *
 * Each CTA keeps its own time.  Beside what a warp knows of its own CTA it has, by rank,
 * what it knows of the others; barriers and mbarriers carry that along.  What warps of
 * other CTAs did to shared memory is kept apart from the Words: the last write of each 16
 * bytes and a few reads.  A CTA must be known to have started before it is reached, and one
 * of its warps must know of the last access to it when it exits. */
#include "emulator/check/shadow_part.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLOCKS = SH_WARPS + SH_BARRIERS + 2 * SH_MBARS };

/* ---- who ---- */

Shadow *
shadow_home(Shadow *s, int *warp)
{
  if (*warp < SH_WARPS)
    return s;
  s = s->peers[*warp / SH_WARPS - 1];
  *warp %= SH_WARPS;
  return s;
}

Name
shadow_name(const Shadow *s, int warp)
{
  Name n;
  const Shadow *home = shadow_home((Shadow *)s, &warp);
  if (home == s)
    snprintf(n.text, sizeof n.text, "warp %d", warp);
  else
    snprintf(n.text, sizeof n.text, "warp %d of CTA %d", warp, home->cta);
  return n;
}

const Known *
shadow_known(const Shadow *s, int warp, int rank)
{
  s = shadow_home((Shadow *)s, &warp);
  return rank == s->rank ? &s->known[warp] : &s->far[warp * s->n_peers + rank];
}

const Shadow *
shadow_peer(const Shadow *s, uint32_t cta)
{
  for (int i = 0; i < s->n_peers; i++)
    if (i != s->rank && ((uint32_t)s->peers[i]->cta & 0xfffff) == cta)
      return s->peers[i];
  return NULL;
}

/* ---- clocks ---- */

static Known *
far_at(const Shadow *s, int clock)
{
  return s->far ? s->far + clock * s->n_peers : NULL;
}

static Lores *
lore_at(const Shadow *s, int clock)
{
  return s->lore ? &s->lore[clock] : NULL;
}

Clock
shadow_clock_of_warp(Shadow *s, int warp)
{
  return (Clock){&s->known[warp], far_at(s, warp), lore_at(s, warp), s->rank};
}

Clock
shadow_clock_of_barrier(Shadow *s, int barrier)
{
  int i = SH_WARPS + barrier;
  return (Clock){&s->barrier[barrier], far_at(s, i), lore_at(s, i), s->rank};
}

Clock
shadow_clock_of_mbar(Shadow *s, int mbar, bool done)
{
  ShadowMbar *m = &s->mbar[mbar];
  int i = SH_WARPS + SH_BARRIERS + 2 * mbar + done;
  return (Clock){done ? &m->done : &m->next, far_at(s, i), lore_at(s, i), s->rank};
}

/* Of the cluster's barrier, which its first CTA keeps. */
static Clock
clock_of(const Shadow *first, bool done)
{
  return (Clock){NULL, done ? first->done : first->next, lore_at(first, CLOCKS + done), -1};
}

static Known *
block(const Clock *c, int rank)
{
  return rank == c->rank ? c->own : &c->far[rank];
}

void
shadow_clock_raise(const Shadow *s, const Clock *to, const Clock *from)
{
  if (!s->n_peers)
    shadow_raise(to->own, from->own);
  for (int i = 0; i < s->n_peers; i++)
    shadow_raise(block(to, i), block(from, i));
  if (to->lore)
    shadow_lore_raise(s, to->lore, from->lore);
}

void
shadow_clock_clear(const Shadow *s, const Clock *c)
{
  if (!s->n_peers)
    memset(c->own, 0, sizeof *c->own);
  for (int i = 0; i < s->n_peers; i++)
    memset(block(c, i), 0, sizeof *c->far);
  if (c->lore)
    shadow_lore_clear(c->lore);
}

/* ---- the start ---- */

static bool
join_one(Shadow *s)
{
  size_t n = (size_t)s->n_peers;
  if (!s->checks)
    return true;
  s->far = calloc(CLOCKS * n, sizeof *s->far);
  s->next = calloc(n, sizeof *s->next);
  s->done = calloc(n, sizeof *s->done);
  s->words_far = malloc(((size_t)s->n_chunks + 1) * sizeof *s->words_far);
  s->uses = calloc(n * SH_WARPS, sizeof *s->uses);
  return s->far && s->next && s->done && s->words_far && s->uses;
}

bool
shadow_join(Shadow *const *s, int n)
{
  for (int i = 0; i < n; i++) {
    memcpy(s[i]->peers, s, (size_t)n * sizeof *s);
    s[i]->rank = i;
    s[i]->n_peers = n;
    if (!join_one(s[i]))
      return false;
  }
  return true;
}

void
shadow_cluster_reset(Shadow *s)
{
  size_t n = (size_t)s->n_peers;
  memset(s->far, 0, (SH_WARPS + SH_BARRIERS) * n * sizeof *s->far); /* mbarriers: at init */
  memset(s->next, 0, n * sizeof *s->next);
  memset(s->done, 0, n * sizeof *s->done);
  memset(s->uses, 0, n * SH_WARPS * sizeof *s->uses);
  memset(s->arrived, 0, sizeof s->arrived);
  memset(s->waited, 0, sizeof s->waited);
  s->cluster_phases = s->fences = 0;
  s->touched_far = s->sends = false;
}

void
shadow_cluster_restart(Shadow *s)
{
  for (int i = 0; i < s->n_peers; i++) {
    Shadow *p = s->peers[i];
    p->touched_far = false;
    memset(p->uses, 0, (size_t)p->n_peers * SH_WARPS * sizeof *p->uses);
    for (int k = 0; k < CLOCKS && i != s->rank; k++) {
      Known *far = &far_at(p, k)[s->rank];
      memset(far->time, 0, sizeof far->time);
      memset(far->fenced, 0, sizeof far->fenced);
    }
  }
}

/* ---- the cluster's barrier ---- */

uint32_t
shadow_meetings(const Shadow *s)
{
  return s->peers[0]->cluster_phases & 3;
}

/* The mbarriers that this CTA has made known. */
static void
tell_mbars(Shadow *s, uint32_t phase)
{
  for (int b = 0; b < SH_MBARS; b++) {
    ShadowMbar *m = &s->mbar[b];
    if (s->async && m->made && m->fenced && !m->told)
      m->told = phase;
  }
}

void
shadow_cluster_arrive(Shadow *s, int warp, bool release)
{
  if (!s->n_peers || !s->checks)
    return;
  Shadow *first = s->peers[0];
  Clock to = clock_of(first, false);
  s->arrived[warp] = first->cluster_phases + 1;
  tell_mbars(s, first->cluster_phases + 1);
  if (release || s->fences >> warp & 1)
    shadow_publish(s, warp, &to);
  s->fences &= ~(1u << warp);
}

void
shadow_cluster_complete(Shadow *s)
{
  if (!s->n_peers || !s->checks)
    return;
  Shadow *first = s->peers[0];
  Clock next = clock_of(first, false), done = clock_of(first, true);
  shadow_clock_raise(first, &done, &next);
  shadow_clock_clear(first, &next);
  first->cluster_phases++;
  for (int i = 0; i < s->n_peers; i++)
    shadow_tick(s->peers[i]);
}

void
shadow_cluster_wait(Shadow *s, int warp)
{
  shadow_lanes_met(s, warp, 0, true);
  if (!s->n_peers || !s->checks)
    return;
  Clock done = clock_of(s->peers[0], true);
  shadow_learn(s, warp, &done);
  s->waited[warp] = s->peers[0]->cluster_phases;
}

/* ---- between start and exit ---- */

static bool
has_started(const Shadow *s, int warp)
{
  const Known *k = shadow_known_here(s, warp);
  const Shadow *home = shadow_home((Shadow *)s, &warp);
  bool heard = home->waited[warp] != 0;
  for (int w = 0; w < s->warps && !heard; w++)
    heard = k->time[w] != 0;
  return heard;
}

void
shadow_remote_use(Shadow *s, int insn, int warp, int lane, bool check_start)
{
  if (!s->checks)
    return;
  shadow_after_arrival(s, warp);
  if (check_start && !has_started(s, warp)) {
    Report r = {SHADOW_START, insn, -1, warp, -1, lane, s->cta, 0};
    shadow_report(
        s, &r,
        "reaches into CTA %d of the grid, of the same cluster: nothing tells that "
        "it has started",
        s->cta);
  }
  int w = warp;
  const Shadow *home = shadow_home(s, &w);
  s->uses[warp - SH_WARPS] = (FarUse){home->time, home->arrived[w], insn};
}

static bool
known_at_exit(const Shadow *s, int who)
{
  const FarUse *u = &s->uses[who];
  for (int w = 0; w < s->warps; w++)
    if (shadow_known(s, w, who / SH_WARPS)->time[who % SH_WARPS] >= u->time ||
        s->waited[w] > u->arrived)
      return true;
  return false;
}

static bool
sent_at_exit(const Shadow *s, const Agent *a)
{
  for (int w = 0; w < s->warps; w++)
    if (shadow_known(s, w, a->send_rank)->mbar[a->send_mbar] >= a->send)
      return true;
  return !a->send;
}

/* Copies out of the CTA that nobody in it knows to be over. */
static void
check_sends(Shadow *s)
{
  for (uint32_t c = 0; c < s->n_chunks; c++) {
    const Agent *a = &s->async_proxy[c];
    if (sent_at_exit(s, a))
      continue;
    Report r = {SHADOW_EXIT, a->send_insn, -1, 0, -1, -1, -1, c * 16};
    shadow_report(
        s, &r,
        "a bulk copy into CTA %d of the cluster reads shared memory at byte %u: its "
        "own CTA may exit before",
        a->send_rank, c * 16);
    return;
  }
}

void
shadow_cta_exit(Shadow *s)
{
  if (s->checks && s->sends)
    check_sends(s);
  for (int who = 0; s->checks && who < s->n_peers * SH_WARPS; who++) {
    if (!s->uses[who].time || known_at_exit(s, who))
      continue;
    int warp = SHADOW_REMOTE(who / SH_WARPS, who % SH_WARPS);
    Report r = {SHADOW_EXIT, s->uses[who].insn, -1, warp, -1, -1, s->cta, 0};
    shadow_report(
        s, &r,
        "reaches into CTA %d of the grid, of the same cluster: nothing keeps that "
        "from exiting before",
        s->cta);
  }
}

/* ---- accesses ---- */

static FarWord *
word_at(Shadow *s, uint32_t off)
{
  if (!s->touched_far)
    memset(s->words_far, 0, ((size_t)s->n_chunks + 1) * sizeof *s->words_far);
  s->touched_far = true;
  return &s->words_far[off / 16];
}

static bool
ordered(const Shadow *s, int warp, const FarTouch *t)
{
  return shadow_known(s, warp, t->who / SH_WARPS)->time[t->who % SH_WARPS] >= t->time;
}

static const char *const verbs[] = {"reads", "writes", "updates", "copies into"};

static void
found(Shadow *s, ShadowKind kind, const ShadowAccess *a, int lane, uint32_t off,
      const FarTouch *t, const char *does, const char *missing)
{
  Report r = {kind,
              a->insn,
              t->insn,
              a->warp,
              t->who % SH_WARPS,
              lane,
              s->peers[t->who / SH_WARPS]->cta,
              off};
  shadow_report(s, &r,
                "%s shared memory at byte %u of CTA %d, which warp %d of CTA %d %s at line "
                "%d: %s",
                verbs[a->op], off, s->cta, t->who % SH_WARPS,
                s->peers[t->who / SH_WARPS]->cta, does, shadow_line(s, t->insn), missing);
}

static const char no_order[] = "nothing orders the two";

static void
check(Shadow *s, const FarWord *f, const ShadowAccess *a, int lane, uint32_t off,
      uint32_t bytes)
{
  bool both = f->write.atomic && a->op == SHADOW_ATOMIC;
  if ((f->write.bytes & bytes) && !both && !ordered(s, a->warp, &f->write))
    found(s, SHADOW_RACE, a, lane, off, &f->write, "writes", no_order);
  for (int i = 0; i < SH_READERS && a->op != SHADOW_READ; i++)
    if ((f->read[i].bytes & bytes) && !ordered(s, a->warp, &f->read[i]))
      found(s, SHADOW_RACE, a, lane, off, &f->read[i], "may still be reading", no_order);
}

static void
forget(FarWord *f, uint32_t bytes)
{
  f->write.bytes &= (uint16_t)~bytes;
  for (int i = 0; i < SH_READERS; i++)
    f->read[i].bytes &= (uint16_t)~bytes;
}

static void
note(FarTouch *to, const FarTouch *now)
{
  uint16_t bytes = to->who == now->who && to->time == now->time ? to->bytes : 0;
  *to = *now;
  to->bytes |= bytes;
}

static void
record(FarWord *f, const FarTouch *now, bool writes)
{
  if (writes) {
    note(&f->write, now);
    return;
  }
  for (uint32_t i = 0; i < SH_READERS; i++)
    if (f->read[i].who == now->who && f->read[i].bytes) {
      note(&f->read[i], now);
      return;
    }
  f->read[f->next++ % SH_READERS] = *now;
}

uint32_t
shadow_far_access(Shadow *s, const ShadowAccess *a, const uint32_t *off)
{
  uint32_t unwritten = 0;
  bool writes = a->op != SHADOW_READ;
  for (uint32_t m = a->mask; m; m &= m - 1) {
    int lane = __builtin_ctz(m), w = a->warp;
    uint32_t at = off[lane], bytes = ((1u << a->bytes) - 1) << at % 16;
    FarWord *f = word_at(s, at);
    shadow_remote_use(s, a->insn, a->warp, lane, true);
    if (s->async)
      shadow_async_touch(s, a, lane, at);
    unwritten |= (uint32_t)shadow_word_far(s, a, lane, at) << lane;
    check(s, f, a, lane, at, bytes);
    if (writes)
      forget(f, bytes);
    FarTouch now = {.time = shadow_home(s, &w)->time,
                    .who = (uint16_t)(a->warp - SH_WARPS),
                    .bytes = (uint16_t)bytes,
                    .insn = a->insn,
                    .atomic = a->op == SHADOW_ATOMIC};
    record(f, &now, writes);
  }
  return unwritten;
}

void
shadow_far_touch(Shadow *s, const ShadowAccess *a, int lane, uint32_t off)
{
  FarWord *f = &s->words_far[off / 16];
  uint32_t bytes = ((1u << a->bytes) - 1) << off % 16;
  check(s, f, a, lane, off, bytes);
  if (a->op != SHADOW_READ)
    forget(f, bytes);
}

/* Ordered, and what was written fenced for the other proxy. */
void
shadow_far_engine(Shadow *s, int insn, int warp, int lane, uint32_t off, bool writes)
{
  FarWord *f = &s->words_far[off / 16];
  const FarTouch *t = &f->write;
  ShadowAccess a = {
      .insn = insn, .warp = warp, .bytes = 16, .op = writes ? SHADOW_COPY : SHADOW_READ};
  check(s, f, &a, lane, off, 0xffff);
  if (t->bytes &&
      shadow_known(s, warp, t->who / SH_WARPS)->fenced[t->who % SH_WARPS] < t->time)
    found(s, SHADOW_PROXY, &a, lane, off, t, "writes",
          "no fence.proxy.async has come since, for the engine");
  if (writes)
    forget(f, 0xffff);
}
