#include "emulator/check/shadow_part.h"

#include <stdlib.h>
#include <string.h>

void
shadow_update_least(Shadow *s, int warp)
{
  uint32_t least = SH_TIME_MAX;
  for (int i = 0; i < s->warps; i++)
    if (i != warp && s->known[warp].time[i] < least)
      least = s->known[warp].time[i];
  s->least[warp] = least;
}

void
shadow_sync_reset(Shadow *s)
{
  s->time = 1;
  s->pending = 0;
  s->grid_waited = s->grid_triggered = false;
  memset(s->grid_wait, 0, sizeof s->grid_wait);
  memset(s->known, 0, (size_t)s->warps * sizeof *s->known);
  for (int w = 0; w < s->warps; w++)
    s->known[w].time[w] = SH_TIME_MAX; /* of itself */
  for (int b = 0; b < s->n_barriers; b++)
    memset(&s->barrier[b], 0, sizeof s->barrier[b]);
  s->n_barriers = 0;
  if (s->async)
    memset(s->mbar, 0, sizeof s->mbar);
  s->async = false;
  s->n_times = 0;
  s->free_times = -1;
  for (int w = 0; w < s->warps; w++) {
    CopyLanes *c = &s->copies[w];
    c->last = c->seen = 0;
    c->n = 0;
    memset(c->issued, 0, sizeof c->issued);
    memset(c->done, 0, sizeof c->done);
    memset(c->left, 0, sizeof c->left);
  }
  for (int w = 0; w < s->warps; w++)
    shadow_update_least(s, w);
  if (s->lore)
    shadow_between_reset(s);
  if (s->n_peers)
    shadow_cluster_reset(s);
}

static void
forget(Word *w)
{
  if (!(w->w & W_ASYNC)) { /* a copy keeps its number, which is no time */
    w->w &= W_UNIFORM;
    w->w_insn = 0;
  }
  w->r &= 0x0f000000;
  w->readers = 0;
  w->r_insn = 0;
}

/* Past 2^24 barriers: forget who touched what, as at the start. */
static void
restart_clock(Shadow *s)
{
  for (uint32_t i = 0; i < s->n_chunks; i++) {
    if (!s->init[i])
      continue;
    bool uniform = s->chunks[i].w & W_UNIFORM;
    forget(&s->chunks[i]);
    for (uint32_t k = 0; k < 4 && !uniform; k++)
      forget(&s->words[4 * i + k]);
  }
  s->base += s->time;
  s->time = 1;
  s->n_times = 0;
  s->free_times = -1;
  for (int w = 0; w < SH_WARPS; w++) {
    memset(s->known[w].time, 0, sizeof s->known[w].time);
    memset(s->known[w].fenced, 0, sizeof s->known[w].fenced);
    s->known[w].time[w] = SH_TIME_MAX;
  }
  for (int b = 0; b < SH_BARRIERS; b++)
    memset(s->barrier[b].time, 0, sizeof s->barrier[b].time);
  for (int b = 0; b < SH_MBARS; b++) {
    memset(s->mbar[b].next.time, 0, sizeof s->mbar[b].next.time);
    memset(s->mbar[b].done.time, 0, sizeof s->mbar[b].done.time);
    s->mbar[b].at = 0;
  }
  if (s->n_peers)
    shadow_cluster_restart(s);
  shadow_lanes_restart(s);
  for (int w = 0; w < SH_WARPS; w++)
    s->grid_wait[w] = s->grid_wait[w] != 0;
  for (int w = 0; w < s->warps; w++)
    shadow_update_least(s, w);
}

void
shadow_tick(Shadow *s)
{
  if (++s->time >= SH_TIME_MAX)
    restart_clock(s);
}

static void
raise_all(uint32_t *to, const uint32_t *from, int n)
{
  for (int i = 0; i < n; i++)
    to[i] = from[i] > to[i] ? from[i] : to[i];
}

void
shadow_raise(Known *to, const Known *from)
{
  raise_all(to->time, from->time, SH_WARPS);
  raise_all(to->copy, from->copy, SH_WARPS);
  raise_all(to->fenced, from->fenced, SH_WARPS);
  raise_all(to->fenced_copy, from->fenced_copy, SH_WARPS);
  raise_all(to->group, from->group, SH_WARPS);
  raise_all(to->store, from->store, SH_WARPS);
  raise_all(to->mbar, from->mbar, SH_MBARS);
}

void
shadow_learn(Shadow *s, int warp, const Clock *from)
{
  uint32_t own = s->known[warp].time[warp];
  Clock to = shadow_clock_of_warp(s, warp);
  shadow_clock_raise(s, &to, from);
  s->known[warp].time[warp] = own;
  shadow_update_least(s, warp);
}

void
shadow_after_arrival(Shadow *s, int warp)
{
  s = shadow_home(s, &warp);
  if (s->pending >> warp & 1) {
    s->pending &= ~(1u << warp);
    shadow_tick(s);
  }
}

/* Copies that every lane which issued any has waited for; left: or left to an mbarrier. */
static uint32_t
all_waited(const CopyLanes *c, bool left)
{
  uint32_t least = c->last;
  for (int l = 0; l < 32; l++) {
    uint32_t done = left && c->left[l] > c->done[l] ? c->left[l] : c->done[l];
    if (done < c->issued[l] && done < least)
      least = done;
  }
  return least;
}

uint32_t
shadow_copy_track(Shadow *s, int warp, uint32_t mask)
{
  CopyLanes *c = &s->copies[warp];
  for (uint32_t m = mask; m; m &= m - 1)
    c->left[__builtin_ctz(m)] = c->last;
  return all_waited(c, true);
}

uint32_t
shadow_copies_known(const Shadow *s, int warp, int from)
{
  if (from != warp)
    return s->known[warp].copy[from];
  uint32_t waited = all_waited(&s->copies[warp], false), seen = s->copies[warp].seen;
  return waited > seen ? waited : seen;
}

static void
publish_in_warp(Shadow *s, int warp)
{
  s->copies[warp].seen = shadow_copies_known(s, warp, warp);
  s->known[warp].copy[warp] = s->copies[warp].seen;
}

void
shadow_publish(Shadow *s, int warp, const Clock *to)
{
  s = shadow_home(s, &warp);
  publish_in_warp(s, warp);
  Known mine = s->known[warp];
  mine.time[warp] = s->time;
  Clock from = shadow_clock_of_warp(s, warp);
  from.own = &mine;
  shadow_clock_raise(s, to, &from);
  s->pending |= 1u << warp;
}

void
shadow_arrive(Shadow *s, int warp, int barrier)
{
  if (!s->checks)
    return;
  s->n_barriers = barrier < s->n_barriers ? s->n_barriers : barrier + 1;
  Clock to = shadow_clock_of_barrier(s, barrier);
  shadow_publish(s, warp, &to);
}

/* A warp that waited has done nothing since it arrived: its accesses up to now are ordered.
 */
void
shadow_release(Shadow *s, int barrier, uint32_t released)
{
  if (!s->checks)
    return;
  Clock b = shadow_clock_of_barrier(s, barrier);
  for (uint32_t m = released; m; m &= m - 1)
    b.own->time[__builtin_ctz(m)] = s->time;
  for (uint32_t m = released; m; m &= m - 1) {
    int w = __builtin_ctz(m);
    Clock to = shadow_clock_of_warp(s, w);
    shadow_clock_raise(s, &to, &b);
    shadow_update_least(s, w);
    shadow_lanes_met(s, w, 0, true);
  }
  shadow_clock_clear(s, &b);
  s->pending = 0; /* whoever arrived elsewhere arrived before the new time */
  shadow_tick(s);
}

void
shadow_warp_sync(Shadow *s, int warp, uint32_t mask)
{
  (void)mask; /* lanes outside have issued nothing that the others wait for */
  if (s->checks)
    publish_in_warp(s, warp);
}

uint32_t
shadow_copy_issue(Shadow *s, int warp, uint32_t mask)
{
  CopyLanes *c = &s->copies[warp];
  if (c->last < SH_TIME_MAX)
    c->last++;
  for (uint32_t m = mask; m; m &= m - 1)
    c->issued[__builtin_ctz(m)] = c->last;
  return c->last;
}

bool
shadow_copy_waited(const Shadow *s, int from, int from_lane, uint32_t id)
{
  return id <= s->copies[from].done[from_lane];
}

bool
shadow_copy_visible(const Shadow *s, int warp, int lane, int from, int from_lane,
                    uint32_t id)
{
  if (from != warp)
    return id <= shadow_known_here(s, warp)->copy[from];
  return id <= s->copies[from].seen ||
         (lane == from_lane && shadow_copy_waited(s, from, from_lane, id));
}

/* Groups whose copies every lane has waited for are of no use any more. */
static void
forget_commits(CopyLanes *c)
{
  uint32_t landed = all_waited(c, false);
  int gone = 0;
  while (gone < c->n && c->commits[gone].upto <= landed)
    gone++;
  c->n -= gone;
  if (gone)
    memmove(c->commits, c->commits + gone, (size_t)c->n * sizeof *c->commits);
}

void
shadow_commit(Shadow *s, int warp, uint32_t mask)
{
  if (!s->checks)
    return;
  CopyLanes *c = &s->copies[warp];
  forget_commits(c);
  if (c->n == c->cap) {
    int cap = c->cap ? 2 * c->cap : 16;
    void *p = realloc(c->commits, (size_t)cap * sizeof *c->commits);
    if (!p) {
      shadow_out_of_memory(s);
      return;
    }
    c->commits = p;
    c->cap = cap;
  }
  c->commits[c->n].mask = mask;
  c->commits[c->n++].upto = c->last;
}

void
shadow_wait(Shadow *s, int warp, uint32_t mask, int n)
{
  if (!s->checks)
    return;
  CopyLanes *c = &s->copies[warp];
  for (uint32_t m = mask; m; m &= m - 1) {
    int lane = __builtin_ctz(m), left = n;
    uint32_t upto = n < 0 ? c->last : 0;
    for (int i = c->n - 1; i >= 0 && left >= 0; i--)
      if (c->commits[i].mask >> lane & 1 && left-- == 0)
        upto = c->commits[i].upto;
    if (upto > c->done[lane])
      c->done[lane] = upto;
  }
}
