#include "emulator/check/shadow_part.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint_fast64_t launches = 1;

uint64_t
shadow_number(void)
{
  return atomic_fetch_add(&launches, 1);
}

static const char *const kinds[SHADOW_KIND_COUNT] = {
#define X(id, name, text) name,
    SHADOW_KINDS(X)
#undef X
};

ShadowLaunch *
shadow_launch_new(const ShadowInfo *info)
{
  ShadowLaunch *l = calloc(1, sizeof *l);
  if (!l)
    return NULL;
  size_t n = (size_t)info->insns;
  l->info = *info;
  l->number = info->number ? info->number : shadow_number();
  l->line = malloc((n + 1) * sizeof *l->line);
  l->counts = calloc(n + 1, sizeof *l->counts);
  pthread_mutex_init(&l->lock, NULL);
  if (!l->line || !l->counts || !shadow_order_new(l)) {
    shadow_launch_free(l);
    return NULL;
  }
  memcpy(l->line, info->line, n * sizeof *l->line);
  return l;
}

void
shadow_launch_free(ShadowLaunch *l)
{
  if (!l)
    return;
  pthread_mutex_destroy(&l->lock);
  free(l->line);
  free(l->counts);
  shadow_order_free(l);
  free(l);
}

const ShadowCount *
shadow_launch_counts(const ShadowLaunch *l)
{
  return l->counts;
}

uint64_t
shadow_launch_number(const ShadowLaunch *l)
{
  return l->number;
}

uint64_t
shadow_launch_waits(const ShadowLaunch *l)
{
  return atomic_load(&l->waits);
}

uint64_t
shadow_launch_triggers(const ShadowLaunch *l)
{
  return atomic_load(&l->triggers);
}

uint64_t
shadow_launch_errors(const ShadowLaunch *l)
{
  return atomic_load(&l->errors);
}

int
shadow_line(const Shadow *s, int insn)
{
  const ShadowLaunch *l = s->launch;
  return insn >= 0 && insn < l->info.insns && insn < SH_INSN_MAX ? l->line[insn] : 0;
}

/* Under the lock: was this kind seen at this pair of lines, no later, or is the table full?
 */
static bool
repeated(ShadowLaunch *l, uint64_t key, uint64_t place)
{
  int i = 0;
  while (i < l->n_seen && l->seen[i] != key)
    i++;
  if (i == SH_DEDUP || (i < l->n_seen && l->place[i] <= place))
    return true;
  l->n_seen += i == l->n_seen;
  l->seen[i] = key;
  l->place[i] = place;
  return false;
}

void
shadow_report(Shadow *s, const Report *r, const char *fmt, ...)
{
  ShadowLaunch *l = s->launch;
  int warp = r->warp;
  s = shadow_home(s, &warp);
  ShadowFinding f = {
      .kind = r->kind,
      .name = kinds[r->kind],
      .insn = r->insn,
      .other = r->other,
      .line = shadow_line(s, r->insn),
      .other_line = shadow_line(s, r->other),
      .cta = s->cta,
      .other_cta = r->other_cta,
      .warp = warp,
      .other_warp = r->other_warp,
      .lane = r->lane,
      .addr = r->addr,
      .place = s->place,
  };
  atomic_fetch_add(&l->errors, 1);
  uint64_t key = ((uint64_t)r->kind << 58) ^ ((uint64_t)(uint32_t)f.line << 29) ^
                 (uint64_t)(uint32_t)f.other_line;
  f.key = key;
  pthread_mutex_lock(&l->lock);
  if (!repeated(l, key, s->place) && l->info.sink) {
    char text[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    f.text = text;
    l->info.sink(l->info.user, &f);
  }
  pthread_mutex_unlock(&l->lock);
}

Shadow *
shadow_new(ShadowLaunch *l)
{
  Shadow *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->launch = l;
  s->warps = l->info.warps;
  s->checks = l->info.checks;
  s->n_chunks = l->info.smem_bytes / 16 + (l->info.smem_bytes % 16 != 0);
  s->counts = calloc((size_t)l->info.insns + 1, sizeof *s->counts);
  if (s->checks) {
    s->chunks = malloc(((size_t)s->n_chunks + 1) * sizeof *s->chunks);
    s->words = malloc(((size_t)s->n_chunks * 4 + 1) * sizeof *s->words);
    s->init = malloc(((size_t)s->n_chunks + 1) * sizeof *s->init);
  }
  if (!s->counts || (s->checks && (!s->chunks || !s->words || !s->init)) ||
      !shadow_between_new(s)) {
    shadow_free(s);
    return NULL;
  }
  return s;
}

void
shadow_free(Shadow *s)
{
  if (!s)
    return;
  for (int i = 0; i < SH_WARPS; i++)
    free(s->copies[i].commits);
  free(s->counts);
  free(s->chunks);
  free(s->words);
  free(s->init);
  free(s->carried);
  free(s->times);
  free(s->async_proxy);
  free(s->far);
  free(s->next);
  free(s->done);
  free(s->words_far);
  free(s->uses);
  shadow_between_free(s);
  free(s);
}

void
shadow_renew(Shadow *s, ShadowLaunch *l)
{
  s->launch = l;
  if (s->between)
    shadow_between_renew(s);
}

size_t
shadow_bytes(const Shadow *s)
{
  size_t chunk = s->words ? sizeof *s->chunks + 4 * sizeof *s->words : 0;
  chunk += s->async_proxy ? sizeof *s->async_proxy : 0;
  chunk += s->words_far ? sizeof *s->words_far : 0;
  chunk += s->carried ? sizeof *s->carried : 0;
  return sizeof *s + s->n_chunks * chunk +
         (size_t)s->launch->info.insns * sizeof *s->counts +
         (size_t)s->cap_times * sizeof *s->times;
}

ShadowCount *
shadow_counts(Shadow *s)
{
  return s->counts;
}

void
shadow_cta_begin(Shadow *s, int cta)
{
  s->cta = cta;
  s->checks = s->launch->info.checks;
  if (!s->checks)
    return;
  s->carries = false;
  shadow_lanes_reset(s);
  memset(s->init, 0, (size_t)s->n_chunks * sizeof *s->init); /* chunks: at a touch */
  shadow_sync_reset(s);
}

void
shadow_place(Shadow *s, uint64_t place)
{
  s->place = place;
}

void
shadow_cta_end(Shadow *s)
{
  ShadowLaunch *l = s->launch;
  size_t n = (size_t)l->info.insns;
  pthread_mutex_lock(&l->lock);
  for (size_t i = 0; i < n; i++) {
    l->counts[i].count += s->counts[i].count;
    l->counts[i].threads += s->counts[i].threads;
    l->counts[i].phases += s->counts[i].phases;
    l->counts[i].ideal += s->counts[i].ideal;
  }
  pthread_mutex_unlock(&l->lock);
  memset(s->counts, 0, n * sizeof *s->counts);
  if (s->lore)
    shadow_between_reset(s); /* what it knew is of no use any more */
}

void
shadow_out_of_memory(Shadow *s)
{
  if (!s->checks)
    return;
  s->checks = false;
  Report r = {SHADOW_NO_MEMORY, -1, -1, -1, -1, -1, -1, 0};
  shadow_report(s, &r, "memory is exhausted: the checks of CTA %d are off from here",
                s->cta);
}
