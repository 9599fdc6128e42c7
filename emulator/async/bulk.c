#include "emulator/async/bulk_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Bulk *
bulk_new(AsyncPolicy policy)
{
  Bulk *b = calloc(1, sizeof *b);
  if (!b)
    return NULL;
  b->policy = policy;
  return b;
}

static void
drop_all(Bulk *b)
{
  for (int i = 0; i < b->n; i++)
    free(b->at[i].data);
  b->n = b->n_read = 0;
}

void
bulk_free(Bulk *b)
{
  if (!b)
    return;
  drop_all(b);
  free(b->at);
  free(b->arrives);
  free(b);
}

void
bulk_reset(Bulk *b, uint64_t seed)
{
  b->random = seed * 2 + 1;
  drop_all(b);
  memset(b->mbar, 0,
         (size_t)b->n_mbars * sizeof *b->mbar); /* none of the CTA before is live */
  b->n_mbars = b->n_trusts = 0;
  memset(b->stores, 0, sizeof b->stores);
  memset(b->groups, 0, sizeof b->groups);
}

/* ---- landing ---- */

bool
bulk_lazy(Bulk *b)
{
  if (b->policy != ASYNC_RANDOM)
    return b->policy == ASYNC_LAZY;
  b->random = b->random * 6364136223846793005u + 1442695040888963407u;
  return b->random >> 63;
}

void
bulk_land(Exec *x, Cta *at, Pending *p)
{
  if (p->landed)
    return;
  p->landed = true;
  p->land(x, at, p->data);
  if (p->mbar >= 0)
    mbar_complete_tx(x, &at->bulk->mbar[p->mbar], p->bytes);
}

/* What has landed and is in no group that may be waited for is of no use any more. */
static void
forget_landed(Bulk *b)
{
  int n = 0;
  for (int i = 0; i < b->n; i++) {
    if (b->at[i].landed && b->at[i].mbar >= 0)
      free(b->at[i].data);
    else
      b->at[n++] = b->at[i];
  }
  b->n = n;
}

void
bulk_force(Exec *x, const Mbar *m)
{
  Bulk *b = m->cta->bulk;
  int number = (int)(m - b->mbar);
  for (int i = 0; i < b->n; i++)
    if (b->at[i].mbar == number)
      bulk_land(x, m->cta, &b->at[i]);
  forget_landed(b);
  while (mbar_deliver(x, m->cta, number)) {
  }
}

bool
bulk_progress(Exec *x, Cta *at)
{
  Bulk *b = at->bulk;
  for (int i = 0; i < b->n; i++)
    if (!b->at[i].landed && b->at[i].mbar >= 0) {
      bulk_land(x, at, &b->at[i]);
      forget_landed(b);
      return true;
    }
  return mbar_deliver(x, at, -1);
}

static Stop
no_memory(Exec *x, Warp *w, const Insn *i)
{
  return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", -1,
                      "the emulator is out of memory");
}

static Pending *
issue(Bulk *b, Warp *by, const BulkCopy *c)
{
  if (b->n == b->cap) {
    int cap = b->cap ? 2 * b->cap : 32;
    Pending *p = realloc(b->at, (size_t)cap * sizeof *p);
    if (!p)
      return NULL;
    b->at = p;
    b->cap = cap;
  }
  void *data = malloc(c->data_bytes + 1);
  if (!data)
    return NULL;
  memcpy(data, c->data, c->data_bytes);
  Pending *p = &b->at[b->n++];
  *p = (Pending){.insn = c->insn,
                 .land = c->land,
                 .data = data,
                 .bytes_of_data = c->data_bytes,
                 .by = by,
                 .warp = by->id,
                 .lane = c->lane,
                 .off = c->off,
                 .bytes = c->bytes,
                 .mbar = -1,
                 .first = c->first,
                 .end = c->end,
                 .writes = c->writes,
                 .reduces = c->reduces};
  return p;
}

static void
land_or_wait(Exec *x, Cta *at, Pending *p)
{
  if (!bulk_lazy(at->bulk))
    bulk_land(x, at, p);
}

static int
insn_number(const Exec *x, const Insn *i)
{
  return (int)(i - x->kernel->code);
}

/* The mbarrier of a copy, in the CTA that it fills. */
static Mbar *
find_mbar(Exec *x, Warp *w, Cta *to, const BulkCopy *c, uint64_t addr, Stop *stop)
{
  uint32_t off;
  const Cta *at = cluster_find(x, w, c->insn, c->lane, addr, true, sizeof addr, &off, stop);
  if (!at)
    return NULL;
  if (at != to)
    *stop =
        report_fatal(x, w, c->insn, CUDA_ERROR_LAUNCH_FAILED, "mbarrier-misuse", c->lane,
                     "the copy fills CTA %d of the cluster, its mbarrier is in CTA %d",
                     to->rank, at->rank);
  else if (addr % sizeof addr)
    *stop = report_fatal(x, w, c->insn, CUDA_ERROR_ILLEGAL_ADDRESS, "mbarrier-misuse",
                         c->lane, "no mbarrier can be at 0x%" PRIx64, addr);
  return *stop == GO ? mbar_at(x, w, to, c->insn, c->lane, off, stop) : NULL;
}

static void
check_fenced(Exec *x, Warp *w, const BulkCopy *c, Mbar *m)
{
  mbar_check_known(x, w, c->insn, c->lane, m);
  if (!m->fenced && !x->launch->set.lax &&
      !shadow_mbar_fenced(m->cta->shadow, (int)(m - m->cta->bulk->mbar)))
    report_error(
        x, w, c->insn, "mbarrier-proxy", c->lane,
        "no fence.mbarrier_init or fence.proxy.async makes the mbarrier of line %d "
        "known to the asynchronous proxy",
        m->made->line);
  m->fenced = true; /* tell once */
}

Stop
bulk_load(Exec *x, Warp *w, Cta *to, const BulkCopy *c, uint64_t addr)
{
  Stop s;
  Mbar *m = find_mbar(x, w, to, c, addr, &s);
  if (!m)
    return s;
  if (c->lanes_own)
    mbar_check_known(x, w, c->insn, c->lane, m);
  else
    check_fenced(x, w, c, m);
  Pending *p = issue(to->bulk, w, c);
  if (!p)
    return no_memory(x, w, c->insn);
  p->mbar = (int)(m - to->bulk->mbar);
  m->filled = m->phase + 1;
  m->filling = c->insn;
  m->filler = w;
  m->lane = c->lane;
  shadow_bulk_write(to->shadow, insn_number(x, c->insn), cta_who(w, to), c->lane, c->off,
                    c->bytes, p->mbar, (uint32_t)m->phase,
                    c->lanes_own ? SHADOW_BULK_OWN
                    : c->reduces ? SHADOW_BULK_SUM
                                 : SHADOW_BULK_COPY);
  if (c->from)
    shadow_bulk_send(c->from->shadow, insn_number(x, c->insn), w->id, c->lane, c->from_off,
                     c->bytes, to->rank, p->mbar, (uint32_t)m->phase);
  if (!c->reduces)
    memset(to->shared + c->off, 0xff, c->bytes);
  land_or_wait(x, to, p);
  forget_landed(to->bulk);
  return GO;
}

Stop
bulk_multicast(Exec *x, Warp *w, const BulkCopy *c, uint64_t mbar, uint32_t ctas)
{
  Stop s = GO;
  uint32_t there = (1u << x->n_ctas) - 1;
  if (!ctas || ctas & ~there)
    return report_fatal(
        x, w, c->insn, CUDA_ERROR_LAUNCH_FAILED, "multicast", c->lane,
        "the mask 0x%x names no CTA, or one that the cluster of %d does not "
        "have",
        ctas, x->n_ctas);
  mbar &= (1u << RANK_SHIFT) - 1;
  for (uint32_t m = ctas, off; m && s == GO; m &= m - 1) {
    uint64_t rank = (uint64_t)__builtin_ctz(m);
    uint64_t to = x->ctas[rank].base + c->off;
    if (!cluster_find(x, w, c->insn, c->lane, to, true, c->bytes, &off, &s))
      break;
    s = bulk_load(x, w, &x->ctas[rank], c, mbar | rank << RANK_SHIFT);
  }
  return s;
}

Stop
bulk_load_at(Exec *x, Warp *w, BulkCopy *c, uint64_t to, bool far, uint64_t mbar)
{
  Stop s;
  Cta *at = cluster_find(x, w, c->insn, c->lane, to, far, c->bytes, &c->off, &s);
  return at ? bulk_load(x, w, at, c, mbar) : s;
}

void
bulk_reads(Exec *x, Warp *w, const BulkCopy *c, uint32_t number, uint32_t off,
           uint32_t bytes)
{
  shadow_bulk_read(w->cta->shadow, insn_number(x, c->insn), w->id, c->lane, off, bytes,
                   number);
}

Stop
bulk_store(Exec *x, Warp *w, const BulkCopy *c)
{
  Cta *own = w->cta;
  Pending *p = issue(own->bulk, w, c);
  if (!p)
    return no_memory(x, w, c->insn);
  p->number = ++own->bulk->stores[w->id];
  if (c->reads)
    c->reads(x, w, c, p->number);
  else
    bulk_reads(x, w, c, p->number, c->off, c->bytes);
  land_or_wait(x, own, p);
  return GO;
}

/* ---- what stores write ---- */

bool
bulk_writing(const Bulk *b)
{
  return b->n > 0;
}

uint32_t
bulk_next_store(const Warp *w)
{
  return w->cta->bulk->stores[w->id] + 1;
}

void
bulk_check_global(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint64_t bytes,
                  ShadowOp op)
{
  static const char *const verbs[] = {"reads", "writes", "updates", "copies from",
                                      "writes"};
  bool reads = op == SHADOW_READ || op == SHADOW_COPY;
  for (int k = 0; k < w->cta->bulk->n; k++) {
    const Pending *p = &w->cta->bulk->at[k];
    bool hit = addr < p->end && p->first < addr + bytes &&
               (!p->writes || p->writes(p->data, addr, bytes));
    if (!hit || (p->reduces && op == SHADOW_ATOMIC))
      continue;
    report_error(x, w, i, reads ? "async-read-before-wait" : "async-overwrite", lane,
                 "%s global memory at 0x%" PRIx64 ", which the bulk store of line %d may "
                 "still be writing: no wait_group without .read has confirmed that it is "
                 "complete",
                 verbs[op], addr, p->insn->line);
    return;
  }
}

/* ---- groups ---- */

static void
end_mbar(Exec *x, const Mbar *m)
{
  mbar_check_seen(x, m);
  if (m->tx)
    report_error(x, &m->cta->warp[m->warp], m->made, "mbarrier-bytes", -1,
                 "the CTA has ended; the mbarrier at byte %u still expects %" PRId64
                 " bytes",
                 m->off, m->tx);
}

void
bulk_end(Exec *x, Cta *c)
{
  Bulk *b = c->bulk;
  for (int k = 0; k < b->n; k++) {
    Pending *p = &b->at[k];
    if (p->mbar < 0 && !p->read)
      report_error(
          x, p->by, p->insn, "bulk-store-unfinished", p->lane,
          "the CTA has ended before a wait_group confirmed that this store has read shared "
          "memory");
    bulk_land(x, c, p);
  }
  drop_all(b);
  for (int k = 0; k < b->n_mbars; k++)
    if (b->mbar[k].live)
      end_mbar(x, &b->mbar[k]);
}

int
bulk_describe(const Warp *w, char *text, size_t n)
{
  const Bulk *b = w->cta->bulk;
  for (int k = 0; k < b->n_mbars; k++) {
    const Mbar *m = &b->mbar[k];
    if (m->live && m->off + 1 == w->waits_for)
      return snprintf(
          text, n,
          "; warp %d waits at line %d for the mbarrier at byte %u, phase %" PRIu64
          ", %u of %u arrivals and %" PRId64 " bytes are pending",
          w->id, w->stalled_line, m->off, m->phase, m->pending, m->expected, m->tx);
  }
  return snprintf(text, n, "; warp %d is at line %d", w->id, w->stalled_line);
}
