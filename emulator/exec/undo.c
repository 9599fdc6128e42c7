#include "emulator/exec/undo.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE = 4096, CHUNK = 16, CHUNKS = PAGE / CHUNK };

typedef struct Kept {
  int alloc;
  uint64_t at; /* of the page, in the allocation */
  size_t bytes;
  uint8_t before[PAGE], image[PAGE];
  uint16_t written[CHUNKS]; /* ShadowMem's bits as they were */
  uint8_t unit[CHUNKS];     /* of the element that was written last */
  int insn[CHUNKS];
} Kept;

typedef _Atomic(Kept *) Slot;

struct Undo {
  pthread_mutex_t lock;
  const Alloc *allocs;
  int n_allocs;
  Slot **slot;  /* [allocation][page] */
  Kept **pages; /* all of them, under the lock */
  size_t n, cap;
};

static size_t
pages_of(const Alloc *a)
{
  return a->bytes / PAGE + 1;
}

Undo *
undo_new(const Alloc *allocs, int n)
{
  Undo *u = calloc(1, sizeof *u);
  if (!u)
    return NULL;
  pthread_mutex_init(&u->lock, NULL);
  u->allocs = allocs;
  u->n_allocs = n;
  u->slot = calloc((size_t)n + 1, sizeof *u->slot);
  bool ok = u->slot != NULL;
  for (int i = 0; ok && i < n; i++) /* zeros, which a large block has without touching it */
    ok = (u->slot[i] = calloc(pages_of(&allocs[i]), sizeof *u->slot[i])) != NULL;
  if (ok)
    return u;
  undo_free(u);
  return NULL;
}

void
undo_free(Undo *u)
{
  if (!u)
    return;
  for (int i = 0; u->slot && i < u->n_allocs; i++)
    free((void *)u->slot[i]);
  for (size_t i = 0; i < u->n; i++)
    free(u->pages[i]);
  free((void *)u->slot);
  free((void *)u->pages);
  pthread_mutex_destroy(&u->lock);
  free(u);
}

/* ---- a page is written first ---- */

static bool
room(Undo *u)
{
  if (u->n < u->cap)
    return true;
  size_t cap = u->cap ? 2 * u->cap : 64;
  Kept **more = realloc((void *)u->pages, cap * sizeof *more);
  if (!more)
    return false;
  u->pages = more;
  u->cap = cap;
  return true;
}

static Kept *
keep(Undo *u, int alloc, uint64_t page)
{
  const Alloc *a = &u->allocs[alloc];
  Kept *k = room(u) ? calloc(1, sizeof *k) : NULL;
  if (!k)
    return NULL;
  k->alloc = alloc;
  k->at = page * PAGE;
  k->bytes = a->bytes - k->at < PAGE ? a->bytes - k->at : PAGE;
  memcpy(k->before, a->host + k->at, k->bytes);
  memcpy(k->image, k->before, k->bytes);
  shadow_mem_save(a->shadow, k->at, k->bytes, k->written);
  u->pages[u->n++] = k;
  return k;
}

static Kept *
page_at(Undo *u, int alloc, uint64_t page)
{
  Slot *slot = &u->slot[alloc][page];
  Kept *k = atomic_load(slot);
  if (k)
    return k;
  pthread_mutex_lock(&u->lock);
  k = atomic_load(slot);
  if (!k && (k = keep(u, alloc, page)))
    atomic_store(slot, k);
  pthread_mutex_unlock(&u->lock);
  return k;
}

bool
undo_write(Undo *u, int alloc, uint64_t at, uint64_t bytes, int insn, int unit)
{
  for (uint64_t end = at + bytes, next; at < end; at = next) {
    next = (at / CHUNK + 1) * CHUNK;
    Kept *k = page_at(u, alloc, at / PAGE);
    if (!k)
      return false;
    __atomic_store_n(&k->unit[at % PAGE / CHUNK], (uint8_t)unit, __ATOMIC_RELAXED);
    __atomic_store_n(&k->insn[at % PAGE / CHUNK], insn, __ATOMIC_RELAXED);
  }
  return true;
}

/* ---- between launches ---- */

static uint8_t *
host_of(const Undo *u, const Kept *k)
{
  return u->allocs[k->alloc].host + k->at;
}

void
undo_keep_image(Undo *u)
{
  for (size_t i = 0; i < u->n; i++)
    memcpy(u->pages[i]->image, host_of(u, u->pages[i]), u->pages[i]->bytes);
}

void
undo_restore(Undo *u)
{
  for (size_t i = 0; i < u->n; i++) {
    const Kept *k = u->pages[i];
    memcpy(host_of(u, k), k->before, k->bytes);
    shadow_mem_restore(u->allocs[k->alloc].shadow, k->at, k->bytes, k->written);
  }
}

static int
by_address(const void *a, const void *b)
{
  const Kept *x = *(Kept *const *)a, *y = *(Kept *const *)b;
  return x->alloc != y->alloc ? x->alloc - y->alloc : (x->at > y->at) - (x->at < y->at);
}

static void
compare_chunk(const Kept *k, const uint8_t *now, size_t chunk, OnDifference *on, void *user)
{
  size_t from = chunk * CHUNK, left = k->bytes - from;
  size_t n = left < CHUNK ? left : CHUNK, unit = k->unit[chunk] ? k->unit[chunk] : 1;
  for (size_t at = from; at < from + n; at += unit) {
    if (from + n - at < unit)
      unit = 1;
    if (memcmp(now + at, k->image + at, unit)) {
      const Difference d = {k->alloc,   k->insn[chunk], (int)unit,
                            k->at + at, k->image + at,  now + at};
      on(user, &d);
    }
  }
}

void
undo_compare(Undo *u, OnDifference *on, void *user)
{
  if (u->n)
    qsort((void *)u->pages, u->n, sizeof(Kept *), by_address);
  for (size_t i = 0; i < u->n; i++) {
    const Kept *k = u->pages[i];
    const uint8_t *now = host_of(u, k);
    if (!memcmp(now, k->image, k->bytes))
      continue;
    for (size_t c = 0; c * CHUNK < k->bytes; c++)
      compare_chunk(k, now, c, on, user);
  }
}
