/* Accesses of CTAs to device memory against those of other CTAs, where order can arise. */
#include "emulator/check/shadow_between.h"

#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- pages ---- */

static CellPage *
new_page(Shadow *s, _Atomic(CellPage *) *row, CellPage *first, const ShadowMem *m,
         uint64_t number)
{
  CellPage *p = calloc(1, sizeof *p);
  if (!p) {
    shadow_out_of_memory(s);
    return NULL;
  }
  p->mem = m;
  p->number = number;
  p->next = first;
  if (atomic_compare_exchange_strong(row, &p->next, p))
    return p;
  free(p);
  return NULL;
}

static CellPage *
find_page(Shadow *s, const ShadowMem *m, uint64_t number)
{
  uint64_t key = number ^ (uintptr_t)m >> 4;
  _Atomic(CellPage *) *row = &s->launch->order->page[key % PAGE_ROWS];
  CellPage *p = NULL;
  while (!p && s->checks) {
    CellPage *first = atomic_load_explicit(row, memory_order_acquire);
    for (p = first; p && (p->mem != m || p->number != number); p = p->next)
      ;
    if (!p)
      p = new_page(s, row, first, m, number);
  }
  return p;
}

static CellPage *
page_at(Shadow *s, const ShadowMem *m, uint64_t off)
{
  uint64_t number = off / (CELLS * CELL_BYTES);
  CellPage **near = &s->between->page[number % NEAR_PAGES];
  if (!*near || (*near)->mem != m || (*near)->number != number)
    *near = find_page(s, m, number);
  return *near;
}

static Cell *
cell_at(CellPage *p, uint64_t off)
{
  return &p->at[off / CELL_BYTES % CELLS];
}

static void
lock(CellPage *p)
{
  while (atomic_flag_test_and_set_explicit(&p->lock, memory_order_acquire))
    sched_yield();
}

static void
unlock(CellPage *p)
{
  atomic_flag_clear_explicit(&p->lock, memory_order_release);
}

void
shadow_cells_free(ShadowOrder *o)
{
  for (int i = 0; i < PAGE_ROWS; i++)
    for (CellPage *p = atomic_load(&o->page[i]), *next; p; p = next) {
      next = p->next;
      for (int k = 0; k < CELLS; k++)
        if (p->at[k].more) {
          shadow_flags_free(p->at[k].more->flags);
          free(p->at[k].more->writes);
          free(p->at[k].more);
        }
      free(p);
    }
}

/* ---- one access ---- */

typedef struct Touch {
  Shadow *s;
  const ShadowAccess *a;
  int lane;
  uint64_t addr;
  Mark mark;
} Touch;

static bool
reaches(const Shadow *s, int scope, uint32_t other)
{
  return scope == SHADOW_GPU || (scope == SHADOW_CLUSTER && shadow_peer(s, other));
}

/* Of another CTA.  PTX ISA, "Morally strong operations"; what only overlaps is not, which
 * `lax` does not mind.  Reductions by engines count as those by threads. */
static bool
both_strong(const Touch *t, const Mark *m)
{
  return reaches(t->s, t->mark.scope, m->cta) && reaches(t->s, m->scope, m->cta) &&
         (m->unit == t->mark.unit || t->s->launch->info.lax);
}

static bool
unfinished(const Touch *t, const Mark *m)
{
  return m->kind & MARK_ASYNC && !shadow_store_end(t->s->launch->order, m->time);
}

static int
writes_of(const Cell *c)
{
  return 1 + (c->more ? c->more->n : 0);
}

static Write *
write_at(Cell *c, int i)
{
  return i ? &c->more->writes[i - 1] : &c->last;
}

/* By what was read of it: "Causality order", its second case. */
static bool
observed(const Touch *t, const Write *w)
{
  const ShadowOrder *o = t->s->launch->order;
  for (uint32_t at = w->seen; at; at = shadow_reader(o, at)->next) {
    const Mark *r = &shadow_reader(o, at)->mark;
    if (r->bytes & t->mark.bytes & w->mark.bytes && shadow_came_before(t->s, t->a->warp, r))
      return true;
  }
  return false;
}

static bool
conflicts(const Touch *t, const Mark *m)
{
  return m->bytes & t->mark.bytes && m->cta != t->mark.cta && !both_strong(t, m) &&
         !shadow_came_before(t->s, t->a->warp, m);
}

static void
found(const Touch *t, const Mark *m, const char *does)
{
  static const char *const verbs[] = {"reads", "writes", "updates", "copies from",
                                      "writes"};
  Report r = {.kind = SHADOW_CROSS_CTA,
              .insn = t->a->insn,
              .other = m->insn - 1,
              .warp = t->a->warp,
              .other_warp = m->warp,
              .lane = t->lane,
              .other_cta = (int)m->cta,
              .addr = t->addr};
  const char *why = unfinished(t, m)
                        ? "it is a bulk store, and no wait_group without .read came"
                        : "nothing orders the two";
  shadow_report(t->s, &r,
                "%s global memory at 0x%llx, which another CTA of the grid %s at line %d: "
                "%s",
                verbs[t->a->op], (unsigned long long)t->addr, does,
                shadow_line(t->s, m->insn - 1), why);
}

static void
found_write(const Touch *t, const Mark *m)
{
  found(t, m, m->kind & MARK_ATOMIC ? "updates" : "writes");
}

static void
found_read(const Touch *t, const Mark *m)
{
  found(t, m, "reads");
}

static void
check_list(const Touch *t, uint32_t list, void (*tell)(const Touch *, const Mark *))
{
  const ShadowOrder *o = t->s->launch->order;
  const Clean now = {list, t->mark.bytes, t->mark.warp, t->mark.scope, t->mark.unit};
  Clean *known = &t->s->between->clean[(list * 31 + t->mark.bytes) % CLEANS];
  bool clean = true;
  if (!list || !memcmp(known, &now, offsetof(Clean, unit) + 1))
    return;
  for (uint32_t at = list; at; at = shadow_reader(o, at)->next)
    if (conflicts(t, &shadow_reader(o, at)->mark)) {
      tell(t, &shadow_reader(o, at)->mark);
      clean = false;
    }
  if (clean)
    *known = now;
}

/* Against what others have written. */
static void
check_writes(const Touch *t, Cell *c)
{
  bool reads = t->a->op == SHADOW_READ || t->a->op == SHADOW_COPY;
  check_list(t, c->kept, found_write);
  for (int i = 0; i < writes_of(c); i++) {
    Write *w = write_at(c, i);
    if (!conflicts(t, &w->mark) || (w->seen && observed(t, w)) ||
        (reads && w->mark.kind & MARK_SAME))
      continue;
    if (t->a->op == SHADOW_REWRITE)
      w->mark.kind |= MARK_SAME;
    else
      found_write(t, &w->mark);
  }
}

static void
read_cell(const Touch *t, Cell *c)
{
  check_writes(t, c);
  for (int i = 0; i < writes_of(c) && t->mark.scope; i++) {
    Write *w = write_at(c, i);
    if (w->mark.bytes & t->mark.bytes && both_strong(t, &w->mark))
      w->seen = shadow_read_by(t->s, w->seen, &t->mark);
  }
  c->readers = shadow_read_by(t->s, c->readers, &t->mark);
}

/* ---- what is remembered of writes ---- */

/* A strong write that tells nobody what was there before. */
static bool
is_blind(const Touch *t)
{
  return t->mark.scope && (!(t->mark.kind & MARK_ATOMIC) || t->a->order & SHADOW_BLIND);
}

/* Does the write that comes stand for the last one?  Not for an engine's that is not over,
 * nor, both strong, for one that it does not come after by order, unless it is an atomic
 * that tells what it has read ("Observation order"). */
static bool
stands_for(const Touch *t, const Mark *m)
{
  if (unfinished(t, m))
    return t->mark.kind & MARK_ASYNC && m->time == t->mark.time;
  return !m->scope || !is_blind(t) || shadow_came_before(t->s, t->a->warp, m);
}

static void
forget_writes(const Touch *t, Cell *c)
{
  int n = 0;
  if (!is_blind(t))
    c->kept = shadow_forget_reads(t->s, c->kept, t->mark.bytes, false);
  for (int i = 0; i < writes_of(c); i++) {
    Write *w = write_at(c, i);
    Mark was = w->mark;
    was.bytes &= t->mark.bytes;
    if (was.bytes && !stands_for(t, &was))
      c->kept = shadow_read_by(t->s, c->kept, &was);
    w->mark.bytes &= (uint16_t)~was.bytes;
    if (i && w->mark.bytes)
      c->more->writes[n++] = *w;
  }
  if (c->more)
    c->more->n = n;
}

static bool
one_write(const Mark *a, const Mark *b)
{
  return a->cta == b->cta && a->time == b->time && a->warp == b->warp &&
         a->scope == b->scope && a->unit == b->unit && a->kind == b->kind;
}

static void
keep_more(Shadow *s, Cell *c, const Write *w)
{
  More *m = c->more ? c->more : calloc(1, sizeof *m);
  c->more = m;
  if (m && m->n == m->cap) {
    int cap = m->cap ? 2 * m->cap : 2;
    Write *p = realloc(m->writes, (size_t)cap * sizeof *p);
    m->cap = p ? cap : m->cap;
    m->writes = p ? p : m->writes;
  }
  if (m && m->n < m->cap)
    m->writes[m->n++] = *w;
  else
    shadow_out_of_memory(s);
}

static void
record_write(const Touch *t, Cell *c)
{
  Write now = {t->mark, 0};
  forget_writes(t, c);
  if (c->last.mark.bytes && one_write(&c->last.mark, &now.mark)) {
    now.mark.bytes |= c->last.mark.bytes;
    now.seen = shadow_forget_reads(t->s, c->last.seen, t->mark.bytes, false);
  } else if (c->last.mark.bytes) {
    keep_more(t->s, c, &c->last);
  }
  c->last = now;
  c->readers =
      shadow_forget_reads(t->s, c->readers, t->mark.bytes, t->mark.scope != SHADOW_WEAK);
}

/* What other CTAs have written there stays theirs. */
static void
leave_same(Touch *t, Cell *c)
{
  for (int i = 0; i < writes_of(c); i++)
    if (write_at(c, i)->mark.kind & MARK_SAME)
      t->mark.bytes &= (uint16_t)~write_at(c, i)->mark.bytes;
}

static void
write_cell(Touch *t, Cell *c)
{
  check_writes(t, c);
  if (t->a->op == SHADOW_REWRITE)
    leave_same(t, c);
  else
    check_list(t, c->readers, found_read);
  if (t->mark.bytes)
    record_write(t, c);
}

static void
touch_cell(Touch *t, Cell *c)
{
  if (t->a->op == SHADOW_READ || t->a->op == SHADOW_COPY)
    read_cell(t, c);
  else
    write_cell(t, c);
}

static Touch
touch_of(Shadow *s, const ShadowAccess *a)
{
  uint32_t store = a->store ? shadow_store_number(s, a->warp, a->store) : 0;
  int insn = a->insn < SH_INSN_MAX ? a->insn : SH_INSN_MAX;
  return (Touch){.s = s,
                 .a = a,
                 .mark = {.cta = (uint32_t)s->cta,
                          .time = store ? store : shadow_now(s),
                          .insn = (uint16_t)(insn + 1),
                          .warp = (uint8_t)a->warp,
                          .scope = a->order & SHADOW_SCOPE,
                          .unit = a->order & SHADOW_SCOPE ? a->unit : 0,
                          .kind = (uint8_t)((a->op == SHADOW_ATOMIC ? MARK_ATOMIC : 0) |
                                            (store ? MARK_ASYNC : 0))}};
}

static void
aim(Touch *t, int lane, uint64_t addr, uint64_t off)
{
  t->lane = t->a->one ? t->a->one - 1 : lane;
  t->addr = addr;
  t->mark.bytes = (uint16_t)(((1u << t->a->bytes) - 1) << off % CELL_BYTES);
}

/* ---- weak accesses, and those of engines: at once ---- */

void
shadow_cells(Shadow *s, const ShadowAccess *a, const ShadowMem *m, uint64_t base,
             const uint64_t *off)
{
  bool writes = a->op != SHADOW_READ && a->op != SHADOW_COPY;
  CellPage *page = NULL;
  Touch t = touch_of(s, a);
  for (uint32_t lanes = a->mask; lanes && s->checks; lanes &= lanes - 1) {
    int l = __builtin_ctz(lanes);
    CellPage *at = page_at(s, m, off[l]);
    if (at != page) {
      if (page)
        unlock(page);
      page = at;
      if (page)
        lock(page);
    }
    if (!page)
      return;
    Cell *c = cell_at(page, off[l]);
    aim(&t, l, base + off[l], off[l]);
    uint16_t bytes = t.mark.bytes;
    touch_cell(&t, c);
    if (writes && c->more && c->more->flags)
      shadow_flags_clear(c, bytes);
  }
  if (page)
    unlock(page);
}

/* ---- strong accesses: as they happen ---- */

struct ShadowHeld {
  CellPage page;
};

ShadowHeld *
shadow_hold(Shadow *s, const ShadowMem *m, uint64_t off)
{
  CellPage *p = shadow_orders(s) ? page_at(s, m, off) : NULL;
  if (p)
    lock(p);
  return (ShadowHeld *)(void *)p;
}

void
shadow_notify(Shadow *s, ShadowHeld *held, const ShadowAccess *a, int lane, uint64_t addr,
              uint64_t off)
{
  CellPage *p = &held->page;
  Cell *c = cell_at(p, off);
  Touch t = touch_of(s, a);
  aim(&t, lane, addr, off);
  touch_cell(&t, c);
  shadow_flag_touch(s, a, lane, c, (uint8_t)(off % CELL_BYTES));
  unlock(p);
}
