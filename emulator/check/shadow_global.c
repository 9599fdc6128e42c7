/* Device memory: which bytes were ever written, and which CTA of this launch touched what.
 *
 * A tag is kept for each 16 bytes: launch 10, phases of the cluster's barrier 2, CTA 20,
 * bytes 16, instruction 15, STRONG 1.  Of several CTAs that write different bytes of the
 * same 16 the last is remembered.  What CTAs of one cluster did before and after they met
 * at its barrier is ordered.  Where a kernel orders its CTAs otherwise, the tags are for
 * the launches that follow, and shadow_cells.c judges. */
#include "emulator/check/shadow_part.h"

#include <stdlib.h>
#include <string.h>

enum {
  PAGE_BYTES = 4096,
  PAGE_CHUNKS = PAGE_BYTES / 16,
  CTA_MANY = 0xfffff,
  LAUNCHES = SHADOW_LAUNCHES,
  SPANS = 64 /* of copies and memsets, the last ones */
};

typedef struct Tags {
  atomic_uint_fast64_t w, r; /* last write, last read */
} Tags;

/* Of readers that may still be running when others read: those before the last one. */
typedef Tags Kept;

typedef struct Page {
  Tags at[PAGE_CHUNKS];
} Page;

struct ShadowMem {
  size_t bytes, n_pages;
  atomic_bool all_init;
  atomic_ushort *init; /* [bytes / 16] */
  _Atomic(Page *) *pages;
  _Atomic(_Atomic(Page *) *) kept; /* [n_pages] of Kept; NULL: nothing is */
  atomic_uint_fast64_t epoch;      /* launch number / LAUNCHES of the tags */
  pthread_mutex_t lock;
  ShadowSpan *spans; /* [SPANS] a ring; NULL: there was none */
  uint64_t n_spans;  /* so far */
  atomic_uint_fast64_t sectors_read;
};

ShadowMem *
shadow_mem_new(size_t bytes)
{
  ShadowMem *m = calloc(1, sizeof *m);
  if (!m)
    return NULL;
  m->bytes = bytes;
  m->n_pages = bytes / PAGE_BYTES + 1;
  m->init = calloc(bytes / 16 + 1, sizeof *m->init);
  m->pages = calloc(m->n_pages, sizeof *m->pages);
  pthread_mutex_init(&m->lock, NULL);
  if (m->init && m->pages)
    return m;
  shadow_mem_free(m);
  return NULL;
}

static void
free_pages(_Atomic(Page *) *pages, size_t n)
{
  for (size_t i = 0; pages && i < n; i++)
    free(atomic_load(&pages[i]));
  free((void *)pages);
}

void
shadow_mem_free(ShadowMem *m)
{
  if (!m)
    return;
  free_pages(m->pages, m->n_pages);
  free_pages(atomic_load(&m->kept), m->n_pages);
  pthread_mutex_destroy(&m->lock);
  free(m->init);
  free(m->spans);
  free(m);
}

static void
set_bits(ShadowMem *m, size_t chunk, unsigned bits)
{
  unsigned now = atomic_load_explicit(&m->init[chunk], memory_order_relaxed);
  if ((now & bits) != bits)
    atomic_fetch_or_explicit(&m->init[chunk], (unsigned short)bits, memory_order_relaxed);
}

/* Bits of [at, at + n) that lie in one chunk. */
static unsigned
bits_in(size_t chunk, size_t at, size_t n)
{
  size_t lo = at > chunk * 16 ? at - chunk * 16 : 0;
  size_t hi = at + n < chunk * 16 + 16 ? at + n - chunk * 16 : 16;
  return ((1u << hi) - 1) & ~((1u << lo) - 1);
}

void
shadow_mem_init(ShadowMem *m, size_t at, size_t n)
{
  if (!n || atomic_load(&m->all_init))
    return;
  if (at == 0 && n >= m->bytes) {
    atomic_store(&m->all_init, true);
    return;
  }
  for (size_t c = at / 16; c <= (at + n - 1) / 16; c++)
    set_bits(m, c, bits_in(c, at, n));
}

static bool
byte_is_init(const ShadowMem *m, size_t at)
{
  return atomic_load(&m->all_init) ||
         (atomic_load_explicit(&m->init[at / 16], memory_order_relaxed) >> at % 16 & 1);
}

bool
shadow_mem_is_init(const ShadowMem *m, size_t at, size_t n)
{
  if (!n || atomic_load(&m->all_init))
    return true;
  for (size_t c = at / 16; c <= (at + n - 1) / 16; c++) {
    unsigned need = bits_in(c, at, n);
    if ((atomic_load_explicit(&m->init[c], memory_order_relaxed) & need) != need)
      return false;
  }
  return true;
}

void
shadow_mem_copy(ShadowMem *to, size_t at, const ShadowMem *from, size_t from_at, size_t n)
{
  if (shadow_mem_is_init(from, from_at, n)) {
    shadow_mem_init(to, at, n);
    return;
  }
  for (size_t i = 0; i < n; i++)
    if (byte_is_init(from, from_at + i))
      shadow_mem_init(to, at + i, 1);
    else if (!atomic_load(&to->all_init))
      atomic_fetch_and(&to->init[(at + i) / 16], (unsigned short)~(1u << (at + i) % 16));
}

void
shadow_mem_save(const ShadowMem *m, size_t at, size_t n, uint16_t *written)
{
  for (size_t c = 0; 16 * c < n; c++)
    written[c] = atomic_load_explicit(&m->init[at / 16 + c], memory_order_relaxed);
}

void
shadow_mem_restore(ShadowMem *m, size_t at, size_t n, const uint16_t *written)
{
  for (size_t c = 0; 16 * c < n; c++)
    atomic_store_explicit(&m->init[at / 16 + c], written[c], memory_order_relaxed);
}

/* ---- tags ---- */

static uint64_t
tag_of(uint64_t now, uint32_t cta, unsigned bytes, int insn, bool strong)
{
  uint64_t stored = insn < SH_INSN_MAX ? (uint64_t)insn + 1 : SH_INSN_MAX + 1;
  return now << 52 | (uint64_t)cta << 32 | (uint64_t)bytes << 16 | stored << 1 | strong;
}

static uint32_t
tag_cta(uint64_t tag)
{
  return tag >> 32 & 0xfffff;
}

static void
clear_pages(_Atomic(Page *) *pages, size_t n)
{
  for (size_t i = 0; pages && i < n; i++)
    if (atomic_load(&pages[i]))
      memset(atomic_load(&pages[i]), 0, sizeof(Page));
}

/* Tags of 1024 launches ago must not look like today's. */
static void
enter_epoch(ShadowMem *m, uint64_t epoch)
{
  pthread_mutex_lock(&m->lock);
  if (atomic_load(&m->epoch) != epoch) {
    clear_pages(m->pages, m->n_pages);
    clear_pages(atomic_load(&m->kept), m->n_pages);
    atomic_store(&m->epoch, epoch);
  }
  pthread_mutex_unlock(&m->lock);
}

static Page *
page_at(Shadow *s, _Atomic(Page *) *pages, uint64_t off)
{
  _Atomic(Page *) *slot = &pages[off / PAGE_BYTES];
  Page *p = atomic_load_explicit(slot, memory_order_acquire);
  if (p)
    return p;
  Page *fresh = calloc(1, sizeof *fresh);
  if (!fresh) {
    shadow_out_of_memory(s);
    return NULL;
  }
  if (atomic_compare_exchange_strong(slot, &p, fresh))
    return fresh;
  free(fresh);
  return p;
}

/* The upper 12 bits of a tag. */
static inline uint64_t
now_of(const Shadow *s)
{
  return s->launch->number % LAUNCHES << 2 | (s->n_peers ? shadow_meetings(s) : 0);
}

typedef struct Place {
  const ShadowAccess *a;
  int lane;
  uint64_t addr, at; /* at: in the allocation */
  unsigned bytes;    /* mask of 16 */
} Place;

/* CTAs of a cluster that have met since. */
static bool
arranged(const Shadow *s, uint64_t tag)
{
  return tag >> 52 != now_of(s) && shadow_peer(s, tag_cta(tag));
}

/* Is the tag of this launch, by another CTA, over the same bytes? */
static bool
conflicts(const Shadow *s, uint64_t tag, const Place *p)
{
  return tag >> 54 == s->launch->number % LAUNCHES && (tag >> 16 & 0xffff & p->bytes) &&
         tag_cta(tag) != ((uint32_t)s->cta & 0xfffff) && !arranged(s, tag);
}

static const char *const verbs[] = {"reads", "writes", "updates", "copies from", "writes"};

static void
found_conflict(Shadow *s, uint64_t tag, const Place *p, const char *other_does)
{
  int insn = (int)(tag >> 1 & 0x7fff) - 1;
  uint32_t cta = tag_cta(tag);
  Report r = {.kind = SHADOW_CROSS_CTA,
              .insn = p->a->insn,
              .other = insn,
              .warp = p->a->warp,
              .other_warp = -1,
              .lane = p->lane,
              .other_cta = cta == CTA_MANY ? -1 : (int)cta,
              .addr = p->addr};
  shadow_report(s, &r,
                "%s global memory at 0x%llx, which another CTA of the grid %s at line %d: "
                "nothing orders the two",
                verbs[p->a->op], (unsigned long long)p->addr, other_does,
                shadow_line(s, insn));
}

/* Several CTAs: the bytes that all of them have read. */
static void
touch_read(Shadow *s, Tags *tags, const Place *p)
{
  uint32_t cta = (uint32_t)s->cta & 0xfffff;
  unsigned bytes = p->bytes;
  uint64_t now = now_of(s);
  uint64_t w = atomic_load_explicit(&tags->w, memory_order_relaxed);
  if (tag_cta(w) != CTA_MANY && conflicts(s, w, p))
    found_conflict(s, w, p, w & 1 ? "updates" : "writes");
  uint64_t old = atomic_load_explicit(&tags->r, memory_order_relaxed);
  unsigned old_bytes = old >> 16 & 0xffff;
  if (old >> 54 == now >> 2 && tag_cta(old) == cta) {
    bytes |= old_bytes;
  } else if (old >> 54 == now >> 2 && (bytes & old_bytes)) {
    bytes &= old_bytes;
    cta = CTA_MANY;
  }
  uint64_t mine = tag_of(now, cta, bytes, p->a->insn, false);
  if (mine >> 16 != old >> 16)
    atomic_store_explicit(&tags->r, mine, memory_order_relaxed);
}

/* Among CTAs that the operation's scope has. */
static bool
is_strong(const Shadow *s, const ShadowAccess *a)
{
  int scope = a->order & SHADOW_SCOPE;
  return scope == SHADOW_GPU || (scope == SHADOW_CLUSTER && s->n_peers);
}

/* The values that another CTA has written: those of several from now on. */
static bool
rewrites(const Shadow *s, Tags *tags, const Place *p)
{
  uint64_t old = atomic_load_explicit(&tags->w, memory_order_relaxed);
  if (p->a->op != SHADOW_REWRITE || !conflicts(s, old, p))
    return false;
  atomic_store_explicit(&tags->w, old | (uint64_t)CTA_MANY << 32, memory_order_relaxed);
  return true;
}

static void
touch_write(Shadow *s, Tags *tags, const Place *p)
{
  uint32_t cta = (uint32_t)s->cta & 0xfffff;
  unsigned bytes = p->bytes;
  bool strong = is_strong(s, p->a);
  uint64_t now = now_of(s);
  if (rewrites(s, tags, p))
    return;
  uint64_t old = atomic_load_explicit(&tags->w, memory_order_relaxed);
  if (old >> 54 == now >> 2 && tag_cta(old) == cta && (old & 1) == strong)
    bytes |= old >> 16 & 0xffff;
  old = atomic_exchange_explicit(&tags->w, tag_of(now, cta, bytes, p->a->insn, strong),
                                 memory_order_relaxed);
  if (conflicts(s, old, p) && !(strong && (old & 1)))
    found_conflict(s, old, p, old & 1 ? "updates" : "writes");
  old = atomic_load_explicit(&tags->r, memory_order_relaxed);
  if (p->a->op != SHADOW_REWRITE && conflicts(s, old, p))
    found_conflict(s, old, p, "reads");
}

/* Lanes that write into the same 16 bytes one behind the other are one place, where nobody
 * else has been: with a conflict each is judged by itself.  Returns the lanes that are
 * left, and the first of those taken. */
static uint32_t
take_chunk(Shadow *s, const ShadowMem *m, const uint64_t *off, uint32_t lanes, Place *p)
{
  const Page *page =
      atomic_load_explicit(&m->pages[p->at / PAGE_BYTES], memory_order_acquire);
  uint32_t left = lanes & (lanes - 1), taken = lanes & -lanes;
  Place all = *p;
  for (; left && off[__builtin_ctz(left)] / 16 == p->at / 16; left &= left - 1)
    all.bytes |= ((1u << p->a->bytes) - 1) << off[__builtin_ctz(left)] % 16;
  if (!page || all.bytes == p->bytes)
    return lanes;
  const Tags *tags = &page->at[p->at % PAGE_BYTES / 16];
  if (conflicts(s, atomic_load_explicit(&tags->w, memory_order_relaxed), &all) ||
      conflicts(s, atomic_load_explicit(&tags->r, memory_order_relaxed), &all))
    return lanes;
  *p = all;
  return left | taken;
}

/* For the launches that follow: shadow_cells.c judges among the CTAs of this one. */
static void
note(const Shadow *s, Tags *tags, const Place *p)
{
  bool reads = p->a->op == SHADOW_READ || p->a->op == SHADOW_COPY;
  atomic_uint_fast64_t *tag = reads ? &tags->r : &tags->w;
  uint64_t now = now_of(s), old = atomic_load_explicit(tag, memory_order_relaxed);
  bool first = old >> 54 != now >> 2, strong = is_strong(s, p->a) && (first || old & 1);
  unsigned bytes = p->bytes | (first ? 0 : old >> 16 & 0xffff);
  atomic_store_explicit(tag,
                        tag_of(now, (uint32_t)s->cta & 0xfffff, bytes, p->a->insn, strong),
                        memory_order_relaxed);
}

static void
check_init(Shadow *s, ShadowMem *m, uint64_t off, const Place *p)
{
  if (p->a->op == SHADOW_WRITE || p->a->op == SHADOW_REWRITE) {
    set_bits(m, off / 16, p->bytes);
    return;
  }
  unsigned now = atomic_load_explicit(&m->init[off / 16], memory_order_relaxed);
  if ((now & p->bytes) == p->bytes)
    return;
  Report r = {SHADOW_UNINIT_GLOBAL, p->a->insn, -1, p->a->warp, -1, p->lane, -1, p->addr};
  shadow_report(s, &r, "reads global memory at 0x%llx, which nobody has written",
                (unsigned long long)p->addr);
}

/* Nobody has written here in this launch, and this CTA's read is noted or the first. */
static inline bool
fast_read(const Shadow *s, Tags *tags, unsigned bytes, int insn)
{
  uint64_t now = now_of(s);
  uint64_t w = atomic_load_explicit(&tags->w, memory_order_relaxed);
  uint64_t r = atomic_load_explicit(&tags->r, memory_order_relaxed);
  if (w >> 54 == now >> 2)
    return false;
  uint64_t mine = tag_of(now, (uint32_t)s->cta & 0xfffff, bytes, insn, false);
  if (r >> 32 == mine >> 32 && (r >> 16 & bytes) == bytes)
    return true;
  if (r >> 54 == now >> 2)
    return false;
  atomic_store_explicit(&tags->r, mine, memory_order_relaxed);
  return true;
}

/* ---- who may still be running ---- */

static bool
in_set(const ShadowSet *set, uint64_t launch)
{
  return set->bits[launch / 64] >> launch % 64 & 1;
}

static bool
overlaps(const ShadowSet *late, uint64_t tag, unsigned bytes)
{
  return (tag >> 16 & 0xffff & bytes) && in_set(late, tag >> 54);
}

static int
tag_insn(uint64_t tag)
{
  return (int)(tag >> 1 & 0x7fff) - 1;
}

/* The number of a launch of this epoch. */
static uint64_t
number_of(const ShadowSet *set, uint64_t launch)
{
  return set->epoch * LAUNCHES + launch;
}

/* The copies and memsets. */
static const ShadowSpan *
late_span(const ShadowMem *m, const ShadowSet *late, size_t at, size_t n, bool writes)
{
  uint64_t first = m->n_spans > SPANS ? m->n_spans - SPANS : 0;
  for (uint64_t i = m->n_spans; i-- > first;) {
    const ShadowSpan *p = &m->spans[i % SPANS];
    if (p->number / LAUNCHES == late->epoch && in_set(late, p->number % LAUNCHES) &&
        (writes || p->writes) && at < p->at + p->n && p->at < at + n)
      return p;
  }
  return NULL;
}

/* The tables of what is kept, made when first wanted; NULL: out of memory. */
static _Atomic(Page *) *
kept_pages(Shadow *s, ShadowMem *m)
{
  _Atomic(Page *) *pages = atomic_load(&m->kept);
  if (pages)
    return pages;
  pthread_mutex_lock(&m->lock);
  pages = atomic_load(&m->kept);
  if (!pages) {
    pages = calloc(m->n_pages, sizeof *pages);
    atomic_store(&m->kept, pages);
  }
  pthread_mutex_unlock(&m->lock);
  if (!pages)
    shadow_out_of_memory(s);
  return pages;
}

/* A read is about to take the place of one that may still be running. */
static void
keep_reader(Shadow *s, ShadowMem *m, const Place *p, uint64_t r)
{
  _Atomic(Page *) *pages = kept_pages(s, m);
  Page *page = pages ? page_at(s, pages, p->at) : NULL;
  if (!page)
    return;
  Kept *k = &page->at[p->at % PAGE_BYTES / 16];
  uint64_t newest = atomic_load(&k->r);
  if (newest >> 54 == r >> 54) {
    atomic_fetch_or(&k->r, r & 0xffff0000);
    return;
  }
  atomic_store(&k->w, newest);
  atomic_store(&k->r, r);
}

/* Of the last reader and those that are kept one that may still be running; 0: none. */
static uint64_t
late_reader(const ShadowMem *m, const ShadowSet *late, const Tags *tags, size_t chunk,
            unsigned bytes)
{
  uint64_t r = atomic_load(&tags->r);
  _Atomic(Page *) *pages = atomic_load(&m->kept);
  const Page *page = pages ? atomic_load(&pages[chunk / PAGE_CHUNKS]) : NULL;
  if (overlaps(late, r, bytes))
    return r;
  if (!page)
    return 0;
  r = atomic_load(&page->at[chunk % PAGE_CHUNKS].r);
  if (overlaps(late, r, bytes))
    return r;
  r = atomic_load(&page->at[chunk % PAGE_CHUNKS].w);
  return overlaps(late, r, bytes) ? r : 0;
}

/* Two atomics are no conflict. */
static void
check_grid(Shadow *s, bool waited, ShadowMem *m, const Tags *tags, const Place *p)
{
  const ShadowSet *late = &s->launch->info.late[waited];
  bool reads = p->a->op == SHADOW_READ || p->a->op == SHADOW_COPY;
  uint64_t w = atomic_load(&tags->w), r = atomic_load(&tags->r);
  bool both_atomic = p->a->op == SHADOW_ATOMIC && (w & 1);
  if (reads && overlaps(late, r, 0xffff))
    keep_reader(s, m, p, r);
  if (overlaps(late, w, p->bytes) && !both_atomic)
    shadow_grid_report(s, p->a, p->lane, p->addr, number_of(late, w >> 54), tag_insn(w),
                       w & 1 ? "updates" : "writes");
  else if (!reads && (r = late_reader(m, late, tags, p->at / 16, p->bytes)))
    shadow_grid_report(s, p->a, p->lane, p->addr, number_of(late, r >> 54), tag_insn(r),
                       "reads");
  else if (m->spans) {
    const ShadowSpan *at = late_span(m, late, p->at, p->a->bytes, !reads);
    if (at)
      shadow_grid_report(s, p->a, p->lane, p->addr, at->number, -1,
                         at->writes ? "writes" : "reads");
  }
}

/* The first in order of addresses; a page that nobody has touched is none. */
static uint64_t
late_access(const ShadowMem *m, const ShadowSpan *span, const ShadowSet *late, int *insn)
{
  for (size_t c = span->at / 16; c <= (span->at + span->n - 1) / 16; c++) {
    const Page *page = atomic_load(&m->pages[c / PAGE_CHUNKS]);
    unsigned bytes = bits_in(c, span->at, span->n);
    if (!page) {
      c |= PAGE_CHUNKS - 1;
      continue;
    }
    const Tags *tags = &page->at[c % PAGE_CHUNKS];
    uint64_t tag = atomic_load(&tags->w);
    if (!overlaps(late, tag, bytes))
      tag = span->writes ? late_reader(m, late, tags, c, bytes) : 0;
    if (!tag)
      continue;
    *insn = tag_insn(tag);
    return number_of(late, tag >> 54);
  }
  return 0;
}

static void
remember(ShadowMem *m, const ShadowSpan *span)
{
  if (!m->spans)
    m->spans = malloc(SPANS * sizeof *m->spans);
  if (m->spans)
    m->spans[m->n_spans++ % SPANS] = *span;
}

uint64_t
shadow_mem_span(ShadowMem *m, const ShadowSpan *span, const ShadowSet *late, int *insn)
{
  uint64_t found = 0;
  *insn = -1;
  if (!span->n)
    return 0;
  if (late && atomic_load(&m->epoch) == late->epoch)
    found = late_access(m, span, late, insn);
  if (late && !found) {
    const ShadowSpan *p = late_span(m, late, span->at, span->n, span->writes);
    found = p ? p->number : 0;
  }
  if (span->number)
    remember(m, span);
  return found;
}

uint64_t
shadow_mem_sectors_read(const ShadowMem *m)
{
  return atomic_load_explicit(&m->sectors_read, memory_order_relaxed);
}

/* Strong accesses of threads are told again as they happen: shadow_notify. */
static void
between_ctas(Shadow *s, const ShadowAccess *a, const ShadowMem *m, uint64_t base,
             const uint64_t *off)
{
  shadow_after_arrival(s, a->warp);
  if (!(a->order & SHADOW_SCOPE) || a->store)
    shadow_cells(s, a, m, base, off);
}

void
shadow_global(Shadow *s, const ShadowAccess *a, ShadowMem *m, uint64_t base,
              const uint64_t *off)
{
  int sectors = 0, ideal = 0;
  int half = a->one & SHADOW_HALVES, one = a->one & ~SHADOW_HALVES;
  if (half != SHADOW_SECOND_HALF)
    shadow_sectors(a->mask, half ? 32 : a->bytes, off, &sectors, &ideal);
  s->counts[a->insn].phases += (uint64_t)sectors;
  s->counts[a->insn].ideal += (uint64_t)ideal;
  bool reads = a->op == SHADOW_READ || a->op == SHADOW_COPY;
  if (reads)
    atomic_fetch_add_explicit(&m->sectors_read, (uint64_t)sectors, memory_order_relaxed);
  if (!s->checks)
    return;
  uint64_t epoch = s->launch->number / LAUNCHES, last = ~(uint64_t)0;
  if (atomic_load_explicit(&m->epoch, memory_order_acquire) != epoch)
    enter_epoch(m, epoch);
  bool all = atomic_load_explicit(&m->all_init, memory_order_relaxed);
  bool writes = a->op == SHADOW_WRITE || a->op == SHADOW_REWRITE;
  bool grids = s->launch->info.late, waited = grids && shadow_grid_waited(s, a->warp);
  bool ordered = shadow_orders(s), alike = writes && !grids && !ordered && a->bytes < 16;
  Page *page = NULL;
  for (uint32_t lanes = a->mask; lanes; lanes &= lanes - 1) {
    int l = __builtin_ctz(lanes);
    Place p = {a, one ? one - 1 : l, base + off[l], off[l],
               ((1u << a->bytes) - 1) << off[l] % 16};
    if (alike)
      lanes = take_chunk(s, m, off, lanes, &p);
    if (!all)
      check_init(s, m, off[l], &p);
    if (off[l] / PAGE_BYTES != last)
      page = page_at(s, m->pages, off[l]);
    if (!page)
      return;
    last = off[l] / PAGE_BYTES;
    Tags *tags = &page->at[off[l] % PAGE_BYTES / 16];
    if (grids)
      check_grid(s, waited, m, tags, &p);
    if (ordered)
      note(s, tags, &p);
    else if (!reads)
      touch_write(s, tags, &p);
    else if (!fast_read(s, tags, p.bytes, a->insn))
      touch_read(s, tags, &p);
  }
  if (ordered)
    between_ctas(s, a, m, base, off);
}
