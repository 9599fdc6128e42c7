/* Lists of readers: who has read some bytes since they were written.  A list is a number;
 * its entries never change, and two lists that are alike are the same one, so that the
 * cells of a tile, which the same warps read in the same order, share one.  What a list
 * becomes by a step is remembered by each Shadow. */
#include "emulator/check/shadow_between.h"

#include <stdlib.h>
#include <string.h>

enum { COMPACT_LEAST = 32 };

static Reader *
entry(const ShadowOrder *o, uint32_t list)
{
  Reader *chunk =
      atomic_load_explicit(&o->readers[list / READER_CHUNK], memory_order_acquire);
  return &chunk[list % READER_CHUNK];
}

const Reader *
shadow_reader(const ShadowOrder *o, uint32_t list)
{
  return entry(o, list);
}

static bool
alike(const Mark *a, const Mark *b)
{
  return !memcmp(a, b, sizeof *a);
}

static uint32_t
mix(uint32_t h, uint32_t v)
{
  h = (h ^ v) * 0x9e3779b1u;
  return h ^ h >> 15;
}

static uint32_t
hash(uint32_t next, const Mark *m)
{
  uint32_t h = mix(mix(next, m->cta), m->time);
  h = mix(h, (uint32_t)m->bytes << 16 | m->insn);
  return mix(h, (uint32_t)m->warp << 24 | (uint32_t)m->scope << 16 |
                    (uint32_t)m->unit << 8 | m->kind);
}

/* ---- the table ---- */

static bool
add_slots(ShadowOrder *o)
{
  uint32_t n = o->n_slots ? 2 * o->n_slots : 1024, *slot = calloc(n, sizeof *slot);
  if (!slot)
    return false;
  for (uint32_t i = 1; i < o->n_readers; i++) {
    const Reader *r = entry(o, i);
    uint32_t at = hash(r->next, &r->mark) & (n - 1);
    while (slot[at])
      at = (at + 1) & (n - 1);
    slot[at] = i;
  }
  free(o->slot);
  o->slot = slot;
  o->n_slots = n;
  return true;
}

/* The place for one more; NULL: out of memory. */
static Reader *
new_entry(ShadowOrder *o)
{
  o->n_readers += !o->n_readers; /* entry 0 is nobody's */
  uint32_t chunk = o->n_readers / READER_CHUNK;
  if (chunk == READER_CHUNKS)
    return NULL;
  if (!atomic_load(&o->readers[chunk])) {
    Reader *fresh = calloc(READER_CHUNK, sizeof *fresh);
    if (!fresh)
      return NULL;
    atomic_store_explicit(&o->readers[chunk], fresh, memory_order_release);
  }
  return entry(o, o->n_readers);
}

static uint32_t
find_or_add(ShadowOrder *o, uint32_t next, const Mark *m)
{
  if (2 * (o->n_readers + 1) > o->n_slots && !add_slots(o))
    return 0;
  uint32_t at = hash(next, m) & (o->n_slots - 1);
  for (; o->slot[at]; at = (at + 1) & (o->n_slots - 1)) {
    const Reader *r = entry(o, o->slot[at]);
    if (r->next == next && alike(&r->mark, m))
      return o->slot[at];
  }
  Reader *r = new_entry(o);
  if (!r)
    return 0;
  *r = (Reader){*m, next, next ? entry(o, next)->length + 1 : 1};
  return o->slot[at] = o->n_readers++;
}

/* The list that starts with m and goes on with next; 0: out of memory. */
static uint32_t
prepend(Shadow *s, uint32_t next, const Mark *m)
{
  ShadowOrder *o = s->launch->order;
  pthread_mutex_lock(&o->lock);
  uint32_t list = find_or_add(o, next, m);
  pthread_mutex_unlock(&o->lock);
  if (!list)
    shadow_out_of_memory(s);
  return list;
}

void
shadow_readers_free(ShadowOrder *o)
{
  for (int i = 0; i < READER_CHUNKS; i++)
    free(atomic_load(&o->readers[i]));
  free(o->slot);
}

/* ---- steps ---- */

static bool
same_reader(const Mark *a, const Mark *b)
{
  return a->cta == b->cta && a->warp == b->warp && a->scope == b->scope &&
         a->unit == b->unit && a->kind == b->kind;
}

/* Who is known to be behind the later read is behind the earlier one. */
static bool
includes(const Mark *later, const Mark *m)
{
  return later->cta == m->cta && later->warp == m->warp && later->kind == m->kind &&
         (!later->scope || (later->scope == m->scope && later->unit == m->unit)) &&
         !(m->bytes & ~later->bytes);
}

/* Without reads that a later one of the same warp, of the same bytes, includes. */
static uint32_t
compact(Shadow *s, uint32_t list)
{
  const ShadowOrder *o = s->launch->order;
  uint32_t n = entry(o, list)->length, n_kept = 0, rows = 2 * n;
  uint32_t *kept = malloc(n * sizeof *kept), *newest = calloc(rows, sizeof *newest);
  for (; kept && newest && list; list = entry(o, list)->next) {
    const Mark *m = &entry(o, list)->mark;
    uint32_t who = mix(mix(m->cta, m->warp), (uint32_t)m->bytes << 8 | m->scope);
    uint32_t *last = &newest[who % rows];
    if (*last && includes(&entry(o, *last)->mark, m))
      continue;
    *last = *last ? *last : list;
    kept[n_kept++] = list;
  }
  for (uint32_t result = 0; kept && newest && n_kept;)
    list = result = prepend(s, result, &entry(o, kept[--n_kept])->mark);
  free(kept);
  free(newest);
  return list;
}

static bool
is_there(const ShadowOrder *o, uint32_t list, const Mark *m)
{
  for (; list; list = entry(o, list)->next) {
    const Mark *r = &entry(o, list)->mark;
    if (r->time == m->time && includes(r, m))
      return true;
  }
  return false;
}

static uint32_t
read_by(Shadow *s, uint32_t list, Mark m)
{
  const ShadowOrder *o = s->launch->order;
  if (is_there(o, list, &m))
    return list;
  const Reader *first = list ? entry(o, list) : NULL;
  if (first && same_reader(&first->mark, &m)) {
    if (first->mark.time == m.time)
      m.bytes |= first->mark.bytes;
    if (!(first->mark.bytes & ~m.bytes))
      list = first->next;
  }
  list = prepend(s, list, &m);
  uint32_t n = list ? entry(o, list)->length : 0;
  return n >= COMPACT_LEAST && !(n & (n - 1)) ? compact(s, list) : list;
}

uint32_t
shadow_read_by(Shadow *s, uint32_t list, const Mark *m)
{
  ReadStep *step = &s->between->reads[hash(list, m) % READ_STEPS];
  if (step->list != list || !alike(&step->mark, m))
    *step = (ReadStep){*m, list, read_by(s, list, *m)};
  return step->result;
}

static bool
is_left(const Mark *r, uint16_t bytes, bool strong)
{
  return !(r->bytes & bytes) || (strong && r->scope);
}

static uint32_t
forget_reads(Shadow *s, uint32_t list, uint16_t bytes, bool strong)
{
  const ShadowOrder *o = s->launch->order;
  uint32_t at = list, n_left = 0, result = 0;
  for (; at && is_left(&entry(o, at)->mark, bytes, strong); at = entry(o, at)->next)
    ;
  if (!at)
    return list;
  uint32_t *left = malloc(entry(o, list)->length * sizeof *left);
  if (!left) {
    shadow_out_of_memory(s);
    return 0;
  }
  for (at = list; at; at = entry(o, at)->next) {
    const Mark *m = &entry(o, at)->mark;
    if (is_left(m, bytes, strong) || (m->bytes & ~bytes))
      left[n_left++] = at;
  }
  while (n_left) {
    Mark m = entry(o, left[--n_left])->mark;
    if (!is_left(&m, bytes, strong))
      m.bytes &= (uint16_t)~bytes;
    result = prepend(s, result, &m);
  }
  free(left);
  return result;
}

uint32_t
shadow_forget_reads(Shadow *s, uint32_t list, uint16_t bytes, bool strong)
{
  if (!list)
    return 0;
  Mark m = {.bytes = bytes, .scope = strong};
  ReadStep *step = &s->between->forgets[hash(list, &m) % READ_STEPS];
  if (step->list != list || !alike(&step->mark, &m))
    *step = (ReadStep){m, list, forget_reads(s, list, bytes, strong)};
  return step->result;
}
