/* What orders CTAs: fences, and what strong operations leave at the locations that they
 * touch (PTX ISA, "Release and acquire patterns", "Causality order").
 *
 * By the letter a fence speaks for its own thread's strong operations, whose barriers have
 * made other threads' accesses its own (cumulativity).  Code that fences in every thread
 * and then, behind a barrier, updates a counter by one of them, or reads it by one and
 * fences in the others, runs as it is meant on chips: `lax` carries what was fenced, and
 * what was seen, through barriers as well. Fences with .sc order as with .acq_rel, since
 * which of two comes first is no promise.  A strong read that an acquire operation on the
 * same location follows counts no more than that one.  An atomic whose result nobody uses
 * begins no acquire pattern, as red does. */
#include "emulator/check/shadow_between.h"

#include <stdlib.h>
#include <string.h>

/* Clocks that have Lores: those of shadow_cluster.c, and the cluster's barrier. */
enum { LORE_CLOCKS = SH_WARPS + SH_BARRIERS + 2 * SH_MBARS + 2 };

/* ---- of a launch, of a Shadow ---- */

bool
shadow_order_new(ShadowLaunch *l)
{
  if (!l->info.checks || !l->info.orders)
    return true;
  l->order = calloc(1, sizeof *l->order);
  if (!l->order)
    return false;
  l->order->levels = lore_levels(l->info.ctas);
  pthread_mutex_init(&l->order->lock, NULL);
  return true;
}

void
shadow_order_free(ShadowLaunch *l)
{
  if (!l->order)
    return;
  shadow_cells_free(l->order);
  shadow_readers_free(l->order);
  shadow_stores_free(l->order);
  pthread_mutex_destroy(&l->order->lock);
  free(l->order);
}

bool
shadow_between_new(Shadow *s)
{
  if (!s->launch->order)
    return true;
  s->between = calloc(1, sizeof *s->between);
  s->lore = calloc(LORE_CLOCKS, sizeof *s->lore);
  return s->between && s->lore;
}

void
shadow_between_reset(Shadow *s)
{
  s->base = 0;
  for (int i = 0; i < LORE_CLOCKS && s->lore; i++)
    shadow_lore_clear(&s->lore[i]);
  if (s->between) {
    s->between->n_open = 0;
    memset(s->between->clean, 0, sizeof s->between->clean);
  }
}

void
shadow_between_renew(Shadow *s)
{
  Between *b = s->between;
  memset(b->page, 0, sizeof b->page);
  memset(b->reads, 0, sizeof b->reads);
  memset(b->forgets, 0, sizeof b->forgets);
}

void
shadow_between_free(Shadow *s)
{
  shadow_between_reset(s);
  if (s->between)
    free(s->between->open);
  free(s->between);
  free(s->lore);
}

bool
shadow_orders(const Shadow *s)
{
  return s->lore && s->checks;
}

void
shadow_lore_clear(Lores *p)
{
  for (int i = 0; i < LORES; i++)
    lore_drop(p->at[i]);
  *p = (Lores){{NULL}};
}

static void
know(const Shadow *s, Lore **to, Lore *from)
{
  if (!lore_join(to, from))
    shadow_out_of_memory((Shadow *)(uintptr_t)s);
}

void
shadow_lore_raise(const Shadow *s, Lores *to, const Lores *from)
{
  int n = s->launch->info.lax ? LORES : LORE_KNOWN + 1;
  for (int i = 0; i < n; i++)
    know(s, &to->at[i], from->at[i]);
}

/* ---- what a warp knows ---- */

uint32_t
shadow_now(const Shadow *s)
{
  return s->base + s->time;
}

static bool
known_here(const Shadow *s, int warp, const Mark *m, uint32_t time)
{
  return m->warp == warp || s->base + s->known[warp].time[m->warp] >= time;
}

static bool
known_to_cluster(const Shadow *s, int warp, const Mark *m, uint32_t time)
{
  const Shadow *peer = s->n_peers ? shadow_peer(s, m->cta) : NULL;
  return peer && peer->base + shadow_known(s, warp, peer->rank)->time[m->warp] >= time;
}

bool
shadow_came_before(const Shadow *s, int warp, const Mark *m)
{
  uint32_t time =
      m->kind & MARK_ASYNC ? shadow_store_end(s->launch->order, m->time) : m->time;
  if (!time)
    return false;
  if (m->cta == (uint32_t)s->cta)
    return known_here(s, warp, m, time);
  return known_to_cluster(s, warp, m, time) ||
         lore_time(s->lore[warp].at[LORE_KNOWN], s->launch->order->levels, m->cta,
                   m->warp) >= time;
}

static void
tell_cta(Shadow *s, Lore **to, const Shadow *of, const Known *k, int self)
{
  uint32_t time[SH_WARPS], any = 0;
  for (int w = 0; w < of->warps; w++) {
    uint32_t t = w == self ? of->time : k->time[w];
    time[w] = t ? of->base + t : 0;
    any |= t;
  }
  if (any && !lore_tell(to, s->launch->order->levels, (uint32_t)of->cta, time, of->warps))
    shadow_out_of_memory(s);
}

/* All that the warp knows, and what it has done so far.  What it does next is later. */
static Lore *
all_known(Shadow *s, int warp)
{
  Lore *p = lore_keep(s->lore[warp].at[LORE_KNOWN]);
  tell_cta(s, &p, s, &s->known[warp], warp);
  for (int i = 0; i < s->n_peers; i++)
    if (i != s->rank)
      tell_cta(s, &p, s->peers[i], shadow_known(s, warp, i), -1);
  s->pending |= 1u << warp;
  return p;
}

static void
hear_of_cta(const Shadow *s, int warp, const Shadow *of, Known *k)
{
  const Lore *p = s->lore[warp].at[LORE_KNOWN];
  for (int w = 0; w < of->warps; w++) {
    uint32_t t = lore_time(p, s->launch->order->levels, (uint32_t)of->cta, w);
    if (t > of->base && t - of->base > k->time[w] && (of != s || w != warp))
      k->time[w] = t - of->base;
  }
}

/* What a flag has told, beside what was known before, goes for shared memory as well. */
static void
hear(Shadow *s, int warp, const Lore *before)
{
  if (s->lore[warp].at[LORE_KNOWN] == before)
    return;
  hear_of_cta(s, warp, s, &s->known[warp]);
  shadow_update_least(s, warp);
  for (int i = 0; i < s->n_peers; i++)
    if (i != s->rank)
      hear_of_cta(s, warp, s->peers[i], &s->far[warp * s->n_peers + i]);
}

/* ---- fences ---- */

static void
move(const Shadow *s, Lore **to, Lore **from)
{
  know(s, to, *from);
  lore_drop(*from);
  *from = NULL;
}

static void
put(Lore **to, Lore *p)
{
  lore_drop(*to);
  *to = lore_keep(p);
}

void
shadow_fence(Shadow *s, int warp, uint8_t order)
{
  int scope = order & SHADOW_SCOPE;
  if (scope >= SHADOW_CLUSTER && order & SHADOW_RELEASE)
    s->fences |= 1u << warp;
  if (scope < SHADOW_CLUSTER || !shadow_orders(s))
    return;
  Lores *p = &s->lore[warp];
  if (order & SHADOW_ACQUIRE) {
    const Lore *before = p->at[LORE_KNOWN];
    move(s, &p->at[LORE_KNOWN], &p->at[LORE_SEEN_NEAR]);
    if (scope == SHADOW_GPU)
      move(s, &p->at[LORE_KNOWN], &p->at[LORE_SEEN]);
    hear(s, warp, before);
  }
  if (order & SHADOW_RELEASE) {
    Lore *all = all_known(s, warp);
    put(&p->at[LORE_FENCED_NEAR], all);
    if (scope == SHADOW_GPU)
      put(&p->at[LORE_FENCED], all);
    lore_drop(all);
  }
}

/* ---- flags ---- */

static Flag *
flag_at(const Cell *c, uint8_t at, uint8_t bytes)
{
  Flag *f = c->more ? c->more->flags : NULL;
  while (f && (f->at != at || f->bytes != bytes))
    f = f->next;
  return f;
}

static Flag *
new_flag(Shadow *s, Cell *c, uint8_t at, uint8_t bytes)
{
  if (!c->more)
    c->more = calloc(1, sizeof *c->more);
  Flag *f = c->more ? calloc(1, sizeof *f) : NULL;
  if (!f) {
    shadow_out_of_memory(s);
    return NULL;
  }
  f->at = at;
  f->bytes = bytes;
  f->next = c->more->flags;
  return c->more->flags = f;
}

/* What the CTAs of the cluster have left there for each other. */
static Lore **
near_of(const Shadow *s, const Flag *f)
{
  int cluster = s->n_peers ? s->peers[0]->cta : s->cta;
  Near *n = f ? f->near : NULL;
  while (n && n->cluster != cluster)
    n = n->next;
  return n ? &n->lore : NULL;
}

static void
forget_left(Flag *f)
{
  lore_drop(f->wide);
  f->wide = NULL;
  while (f->near) {
    Near *n = f->near;
    f->near = n->next;
    lore_drop(n->lore);
    free(n);
  }
}

static void
forget_own(Flag *f)
{
  lore_drop(f->own_wide);
  lore_drop(f->own_near);
  f->own_wide = f->own_near = NULL;
}

void
shadow_flags_free(Flag *f)
{
  while (f) {
    Flag *next = f->next;
    forget_left(f);
    forget_own(f);
    free(f);
    f = next;
  }
}

static void
clear_others(Cell *c, uint16_t bytes, const Flag *but)
{
  for (Flag *f = c->more ? c->more->flags : NULL; f; f = f->next)
    if (f != but && ((1u << f->bytes) - 1) << f->at & bytes) {
      forget_left(f);
      forget_own(f);
    }
}

void
shadow_flags_clear(Cell *c, uint16_t bytes)
{
  clear_others(c, bytes, NULL);
}

static void
leave_near(Shadow *s, Flag *f, Lore *near)
{
  Lore **to = near_of(s, f);
  if (!near || !s->n_peers)
    return;
  if (!to) {
    Near *n = calloc(1, sizeof *n);
    if (!n) {
      shadow_out_of_memory(s);
      return;
    }
    *n = (Near){s->peers[0]->cta, NULL, f->near};
    f->near = n;
    to = &n->lore;
  }
  know(s, to, near);
}

/* ---- strong operations ---- */

static void
take(Shadow *s, int warp, uint8_t order, const Flag *f)
{
  Lores *p = &s->lore[warp];
  Lore *const *near = near_of(s, f);
  bool wide = (order & SHADOW_SCOPE) == SHADOW_GPU;
  if (order & SHADOW_ACQUIRE) {
    const Lore *before = p->at[LORE_KNOWN];
    if (wide)
      know(s, &p->at[LORE_KNOWN], f->wide);
    if (near)
      know(s, &p->at[LORE_KNOWN], *near);
    hear(s, warp, before);
    return;
  }
  if (wide)
    know(s, &p->at[LORE_SEEN], f->wide);
  if (wide && near)
    know(s, &p->at[LORE_SEEN], *near);
  if (near)
    know(s, &p->at[LORE_SEEN_NEAR], *near);
}

static bool
is_own(const Shadow *s, const Flag *f, const ShadowAccess *a, int lane)
{
  return f && f->own_near && f->own_cta == (uint32_t)s->cta && f->own_warp == a->warp &&
         f->own_lane == lane;
}

/* wide, near: what the write releases; NULL: nothing. */
static void
leave(Shadow *s, const ShadowAccess *a, int lane, Flag *f, Lore *wide, Lore *near)
{
  if (a->op == SHADOW_WRITE)
    forget_left(f);
  know(s, &f->wide, wide);
  leave_near(s, f, near);
  if (a->order & SHADOW_RELEASE) {
    put(&f->own_wide, wide);
    put(&f->own_near, near);
    f->own_cta = (uint32_t)s->cta;
    f->own_warp = (uint8_t)a->warp;
    f->own_lane = (uint8_t)lane;
  } else if (is_own(s, f, a, lane)) {
    know(s, &f->wide, (a->order & SHADOW_SCOPE) == SHADOW_GPU ? f->own_wide : NULL);
    leave_near(s, f, f->own_near);
  }
}

static void
write_flag(Shadow *s, const ShadowAccess *a, int lane, Cell *c, Flag *f, uint8_t at)
{
  const Lores *p = &s->lore[a->warp];
  bool releases = a->order & SHADOW_RELEASE;
  Lore *all = releases ? all_known(s, a->warp) : NULL;
  Lore *near = releases ? all : p->at[LORE_FENCED_NEAR];
  Lore *wide = (a->order & SHADOW_SCOPE) != SHADOW_GPU ? NULL
               : releases                              ? all
                                                       : p->at[LORE_FENCED];
  if (!f && (near || wide))
    f = new_flag(s, c, at, a->unit);
  if (f)
    leave(s, a, lane, f, wide, near);
  clear_others(c, (uint16_t)(((1u << a->unit) - 1) << at), f);
  lore_drop(all);
}

void
shadow_flag_touch(Shadow *s, const ShadowAccess *a, int lane, Cell *c, uint8_t at)
{
  int scope = a->order & SHADOW_SCOPE;
  bool reads =
      a->op != SHADOW_WRITE && (a->order & (SHADOW_BLIND | SHADOW_ACQUIRE)) != SHADOW_BLIND;
  if (scope == SHADOW_CTA || (scope == SHADOW_CLUSTER && !s->n_peers)) {
    if (a->op != SHADOW_READ)
      clear_others(c, (uint16_t)(((1u << a->bytes) - 1) << at), NULL);
    return;
  }
  for (uint8_t end = (uint8_t)(at + a->bytes); at < end; at = (uint8_t)(at + a->unit)) {
    Flag *f = flag_at(c, at, a->unit);
    if (f && reads)
      take(s, a->warp, a->order, f);
    if (a->op != SHADOW_READ)
      write_flag(s, a, lane, c, f, at);
  }
}
