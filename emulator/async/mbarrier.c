/* mbarriers: PTX ISA, "Parallel synchronization and communication: mbarrier".  The row of a
 * step: a and imm the address, b the count, the state, or the parity; d the state or, as
 * predicate, whether the phase is complete. */
#include "emulator/async/bulk_part.h"
#include "emulator/exec/steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MBAR_BYTES = 8 }; /* PTX ISA, "Size and alignment of mbarrier object" */

Stop
mbar_misuse(Exec *x, Warp *w, const Insn *i, int lane, const char *what, uint32_t off)
{
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "mbarrier-misuse", lane,
                      "%s, at byte %u of shared memory", what, off);
}

Mbar *
mbar_at(Exec *x, Warp *w, Cta *c, const Insn *i, int lane, uint32_t off, Stop *stop)
{
  *stop = GO;
  for (int k = 0; k < c->bulk->n_mbars; k++) {
    Mbar *m = &c->bulk->mbar[k];
    if (m->live && m->off == off)
      return m;
  }
  *stop = mbar_misuse(x, w, i, lane, "there is no mbarrier: none was initialised", off);
  return NULL;
}

/* The CTA where one can be at this address, and its offset there. */
Cta *
mbar_place(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint32_t *off,
           Stop *stop)
{
  if (addr % MBAR_BYTES) {
    *stop = report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "mbarrier-misuse", lane,
                         "no mbarrier can be at 0x%" PRIx64, addr);
    return NULL;
  }
  return cluster_find(x, w, i, lane, addr, i->mem.space == SPACE_CLUSTER, MBAR_BYTES, off,
                      stop);
}

Mbar *
mbar_find(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, Stop *stop)
{
  uint32_t off;
  Cta *c = mbar_place(x, w, i, lane, addr, &off, stop);
  return c ? mbar_at(x, w, c, i, lane, off, stop) : NULL;
}

uint64_t
mbar_address(const Warp *w, const Insn *i, int lane)
{
  uint64_t base = i->mem.addr64 ? row64(w, i->a)[lane] : row32(w, i->a)[lane];
  base -= i->mem.space == SPACE_GENERIC ? WINDOW_SHARED : 0;
  return base + (uint64_t)i->imm;
}

/* The list holds the rows of the mbarrier's address, of its offset, and of the CTAs of a
 * multicast. */
uint64_t
bulk_listed_mbar(const Exec *x, const Warp *w, const Insn *i, int lane)
{
  const uint32_t *list = x->kernel->lists + i->list;
  uint64_t base = i->bulk.mbar64 ? row64(w, list[0])[lane] : row32(w, list[0])[lane];
  return base + row64(w, list[1])[lane];
}

/* What lies in shared memory is opaque; nobody should look. */
void
mbar_scribble(const Mbar *m)
{
  uint64_t opaque = (m->live ? 0xb4aaaaaaaaaaaa00u : 0xffffffffffffffffu) | (m->phase & 1);
  memcpy(m->cta->shared + m->off, &opaque, sizeof opaque);
}

int
mbar_number(const Mbar *m)
{
  return (int)(m - m->cta->bulk->mbar);
}

/* A copy that completes on it and is still to land; NULL: there is none. */
static const Pending *
due(const Mbar *m)
{
  const Bulk *b = m->cta->bulk;
  for (int i = 0; i < b->n; i++)
    if (b->at[i].mbar == mbar_number(m) && !b->at[i].landed)
      return &b->at[i];
  return NULL;
}

/* The phase is complete without bytes of copies that were issued in it. */
static void
check_due(Exec *x, const Mbar *m)
{
  const Pending *p = due(m);
  if (p)
    report_error(x, p->by, p->insn, "mbarrier-bytes", p->lane,
                 "phase %" PRIu64
                 " of the mbarrier at byte %u completes without this copy: its "
                 "bytes were not expected",
                 m->phase, m->off);
}

void
mbar_try_complete(Exec *x, Mbar *m)
{
  if (m->pending || m->tx)
    return;
  check_due(x, m);
  m->phase++;
  m->pending = m->expected;
  shadow_mbar_complete(m->cta->shadow, mbar_number(m));
  mbar_scribble(m);
  exec_wake(x, m->cta);
}

void
mbar_complete_tx(Exec *x, Mbar *m, uint32_t bytes)
{
  m->tx -= bytes;
  exec_wake(x, m->cta);
  mbar_try_complete(x, m);
}

/* ---- cp.async.mbarrier.arrive ---- */

void
mbar_check_seen(Exec *x, const Mbar *m)
{
  uint64_t seen = 0;
  for (int w = 0; w < m->cta->n_warps; w++)
    seen = m->seen[w] > seen ? m->seen[w] : seen;
  if (seen >= m->filled)
    return;
  report_error(
      x, m->filler, m->filling, "bulk-load-unfinished", m->lane,
      "its mbarrier's days are over, at byte %u, and nobody has waited for this copy",
      m->off);
}

void
mbar_check_known(Exec *x, Warp *w, const Insn *i, int lane, const Mbar *m)
{
  if (!shadow_mbar_known(m->cta->shadow, mbar_number(m), cta_who(w, m->cta)))
    report_error(x, w, i, "mbarrier-race", lane,
                 "nothing orders the mbarrier.init of line %d (warp %d) before this",
                 m->made->line, m->warp);
}

/* Lands them as late as this, and arrives. */
void
mbar_deliver_one(Exec *x, Cta *c, const PendingArrive *t)
{
  Mbar *m = &c->bulk->mbar[t->mbar];
  async_land(c->async, t->by->id, 1u << t->lane, t->upto);
  if (m->pending) {
    m->pending--;
    shadow_copy_arrive(c->shadow, t->mbar, t->by->id, t->copies);
    mbar_try_complete(x, m);
    return;
  }
  report_error(x, t->by, t->insn, "mbarrier-overrun", t->lane,
               "copies that have landed arrive, and no arrival is pending in phase %" PRIu64
               " of the mbarrier at byte %u",
               m->phase, m->off);
}

bool
mbar_deliver(Exec *x, Cta *c, int mbar)
{
  Bulk *b = c->bulk;
  for (int k = 0; k < b->n_trusts; k++) {
    PendingArrive t = b->arrives[k];
    if (mbar >= 0 && t.mbar != mbar)
      continue;
    memmove(&b->arrives[k], &b->arrives[k + 1], (size_t)(--b->n_trusts - k) * sizeof t);
    mbar_deliver_one(x, c, &t);
    return true;
  }
  return false;
}
