/* The instructions of mbarriers.  The row of a step: a and imm the address, b the count,
 * the state, or the parity; d the state or, as predicate, whether the phase is complete. */
#include "emulator/async/bulk_part.h"
#include "emulator/exec/steps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* PTX ISA, "Contents of the mbarrier object". */
enum { MBAR_COUNT_MAX = (1 << 20) - 1, MBAR_TX_MAX = (1 << 20) - 1 };
enum { STATE_COUNT = 40 }; /* a state: the phase, and from this bit on what is due in it */

/* ---- init, inval ---- */

static Mbar *
vacant(Bulk *b, uint32_t off)
{
  for (int k = 0; k < b->n_mbars; k++)
    if (b->mbar[k].off == off)
      return &b->mbar[k];
  for (int k = 0; k < b->n_mbars; k++)
    if (!b->mbar[k].live)
      return &b->mbar[k];
  return b->n_mbars < MBARS ? &b->mbar[b->n_mbars++] : NULL;
}

static Stop
init_one(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint32_t count)
{
  uint32_t off;
  Stop s;
  Cta *c = mbar_place(x, w, i, lane, addr, &off, &s);
  if (!c)
    return s;
  if (!count || count > MBAR_COUNT_MAX)
    return mbar_misuse(x, w, i, lane, "an mbarrier for an impossible number of arrivals",
                       off);
  Mbar *m = vacant(c->bulk, off);
  if (!m)
    return mbar_misuse(x, w, i, lane, "more mbarriers than the emulator keeps", off);
  if (m->live && m->off == off)
    report_error(x, w, i, "mbarrier-reinit", lane,
                 "the mbarrier at byte %u, of line %d, is initialised again without "
                 "mbarrier.inval",
                 m->off, m->made->line);
  *m = (Mbar){.cta = c,
              .off = off,
              .expected = count,
              .pending = count,
              .live = true,
              .warp = w->id,
              .made = i};
  shadow_mbar_init(c->shadow, mbar_number(m), (int)(i - x->kernel->code), w->id, lane, off);
  mbar_scribble(m);
  return GO;
}

Stop
step_mbar_init(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t m = mask; m && s == GO; m &= m - 1) {
    int lane = __builtin_ctz(m);
    s = init_one(x, w, i, lane, mbar_address(w, i, lane), row32(w, i->b)[lane]);
  }
  return s;
}

/* By an instruction: the mbarrier's CTA must outlast it.  The bytes of a copy it waits for
 * itself. */
static void
check_use(Exec *x, Warp *w, const Insn *i, int lane, const Mbar *m)
{
  if (w->cta != m->cta)
    shadow_remote_use(m->cta->shadow, (int)(i - x->kernel->code), cta_who(w, m->cta), lane,
                      false);
  mbar_check_known(x, w, i, lane, m);
}

static void
inval_one(Exec *x, Warp *w, const Insn *i, int lane, Mbar *m)
{
  check_use(x, w, i, lane, m);
  mbar_check_seen(x, m);
  if (m->tx)
    report_error(x, w, i, "mbarrier-bytes", lane,
                 "the mbarrier at byte %u, of line %d, still expects %" PRId64 " bytes",
                 m->off, m->made->line, m->tx);
  m->live = false;
  shadow_mbar_inval(m->cta->shadow, mbar_number(m));
  mbar_scribble(m);
}

Stop
step_mbar_inval(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  for (uint32_t k = mask; k && s == GO; k &= k - 1) {
    int lane = __builtin_ctz(k);
    Mbar *m = mbar_find(x, w, i, lane, mbar_address(w, i, lane), &s);
    if (m)
      inval_one(x, w, i, lane, m);
  }
  return s;
}

/* ---- arrive, expect_tx, complete_tx ---- */

/* arrive_drop: fewer are due from then on.  .relaxed: nobody learns of what the
 * warp has done before. */
static Stop
arrive(Exec *x, Warp *w, const Insn *i, int lane, Mbar *m, uint32_t count)
{
  if (count > m->pending)
    return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "mbarrier-overrun", lane,
                        "%u arrivals, %u of %u are pending in phase %" PRIu64
                        " of the mbarrier at byte %u",
                        count, m->pending, m->expected, m->phase, m->off);
  m->pending -= count;
  m->expected -= i->mbar.drops ? count : 0;
  if (!i->mbar.relaxed)
    shadow_mbar_arrive(m->cta->shadow, mbar_number(m), cta_who(w, m->cta));
  mbar_try_complete(x, m);
  return GO;
}

/* expect_tx and complete_tx, alone or before an arrival. */
static Stop
count_bytes(Exec *x, Warp *w, const Insn *i, int lane, Mbar *m, uint32_t bytes)
{
  m->tx += i->mbar.op == MB_COMPLETE ? -(int64_t)bytes : (int64_t)bytes;
  if (bytes > MBAR_TX_MAX || m->tx > MBAR_TX_MAX || m->tx < -MBAR_TX_MAX)
    return mbar_misuse(x, w, i, lane, "more bytes than an mbarrier counts", m->off);
  if (i->mbar.op != MB_ARRIVE_EXPECT)
    mbar_try_complete(x, m);
  return GO;
}

static Stop
arrive_one(Exec *x, Warp *w, const Insn *i, int lane, uint64_t *state)
{
  Stop s;
  Mbar *m = mbar_find(x, w, i, lane, mbar_address(w, i, lane), &s);
  if (!m)
    return s;
  uint32_t operand = row32(w, i->b)[lane];
  bool counts = i->mbar.op == MB_ARRIVE || i->mbar.op == MB_NO_COMPLETE;
  uint32_t count = counts && i->mbar.counted ? operand : 1;
  check_use(x, w, i, lane, m);
  *state = m->phase | (uint64_t)m->pending << STATE_COUNT;
  if (!counts)
    s = count_bytes(x, w, i, lane, m, operand);
  if (s != GO || i->mbar.op == MB_EXPECT || i->mbar.op == MB_COMPLETE)
    return s;
  if (!count)
    return mbar_misuse(x, w, i, lane, "an arrival of nobody", m->off);
  if (i->mbar.op == MB_NO_COMPLETE && count == m->pending && !m->tx)
    return mbar_misuse(x, w, i, lane, "an arrival with .noComplete completes the phase",
                       m->off);
  return arrive(x, w, i, lane, m, count);
}

Stop
step_mbar_arrive(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t state[LANES] = {0};
  for (uint32_t k = mask; k; k &= k - 1) {
    int lane = __builtin_ctz(k);
    Stop s = arrive_one(x, w, i, lane, &state[lane]);
    if (s != GO)
      return s;
  }
  if (i->d)
    exec_put64(x, w, i->d, state, mask);
  return GO;
}

Stop
step_mbar_count(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t count[LANES];
  for (int l = 0; l < LANES; l++)
    count[l] = (uint32_t)(row64(w, i->a)[l] >> STATE_COUNT);
  exec_put32(x, w, i->d, count, mask);
  return GO;
}

/* ---- cp.async.mbarrier.arrive ---- */

static bool
keep(Bulk *b, const PendingArrive *t)
{
  if (b->n_trusts == b->cap_trusts) {
    int cap = b->cap_trusts ? 2 * b->cap_trusts : LANES;
    PendingArrive *p = realloc(b->arrives, (size_t)cap * sizeof *p);
    if (!p)
      return false;
    b->arrives = p;
    b->cap_trusts = cap;
  }
  b->arrives[b->n_trusts++] = *t;
  return true;
}

static Stop
arrive_on_copies(Exec *x, Warp *w, const Insn *i, int lane, uint32_t copies)
{
  Stop s;
  Mbar *m = mbar_find(x, w, i, lane, mbar_address(w, i, lane), &s);
  if (!m)
    return s;
  check_use(x, w, i, lane, m);
  if (!i->mbar.noinc && m->pending++ == MBAR_COUNT_MAX)
    return mbar_misuse(x, w, i, lane, "more arrivals than an mbarrier counts", m->off);
  PendingArrive t = {.insn = i,
                     .by = w,
                     .lane = lane,
                     .mbar = mbar_number(m),
                     .upto = async_last(m->cta->async, w->id),
                     .copies = copies};
  if (!bulk_lazy(m->cta->bulk))
    mbar_deliver_one(x, m->cta, &t);
  else if (!keep(m->cta->bulk, &t))
    return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", lane,
                        "the emulator is out of memory");
  return GO;
}

Stop
step_copy_arrive(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = GO;
  uint32_t copies = shadow_copy_track(w->cta->shadow, w->id, mask);
  for (uint32_t m = mask; m && s == GO; m &= m - 1)
    s = arrive_on_copies(x, w, i, __builtin_ctz(m), copies);
  return s;
}

/* ---- waiting ---- */

/* Phases that must be complete for the wait to succeed; the one asked for is wanted − 1. */
static bool
complete(const Mbar *m, bool parity, uint64_t operand)
{
  uint64_t phase = operand & ((1ull << STATE_COUNT) - 1);
  return parity ? (m->phase & 1) != (operand & 1) : m->phase > phase;
}

/* A warp that looks at each phase of a ring in turn has lost one if two more have passed.
 */
static void
check_lapped(Exec *x, Warp *w, const Insn *i, int lane, Mbar *m)
{
  uint64_t *seen = &m->seen[w->id];
  if (i->mbar.parity && *seen && m->phase >= *seen + 3)
    report_error(x, w, i, "mbarrier-lapped", lane,
                 "the warp last saw phase %" PRIu64 " of the mbarrier at byte %u complete; "
                 "it is in phase %" PRIu64 " by now, and parity cannot tell",
                 *seen - 1, m->off, m->phase);
  *seen = m->phase;
}

static Stop
wait_one(Exec *x, Warp *w, const Insn *i, int lane, bool *done)
{
  Stop s;
  Mbar *m = mbar_find(x, w, i, lane, mbar_address(w, i, lane), &s);
  if (!m)
    return s;
  bool parity = i->mbar.parity;
  uint64_t operand = parity ? row32(w, i->b)[lane] : row64(w, i->b)[lane];
  if (parity && operand > 1)
    return mbar_misuse(x, w, i, lane, "a parity that is not 0 or 1", m->off);
  check_use(x, w, i, lane, m);
  if (!complete(m, parity, operand))
    bulk_force(x, m);
  *done = complete(m, parity, operand);
  if (*done) {
    check_lapped(x, w, i, lane, m);
    if (!i->mbar.relaxed)
      shadow_mbar_wait(m->cta->shadow, mbar_number(m), w->id);
  } else {
    w->waits_for = m->off + 1;
  }
  return GO;
}

/* Lanes elsewhere in the warp that may bring about what this group waits for: the next
 * regrouping takes turns. */
static bool
others_go_first(Warp *w, uint32_t yes)
{
  uint32_t able = w->active;
  for (int i = 0; i < w->n_parked; i++)
    able |= w->parked[i].waiting ? 0 : w->parked[i].mask;
  w->failed = (w->failed | w->active) & ~yes;
  if (!(able & ~w->failed))
    return false;
  w->spins = TURNS_NOW;
  return true;
}

/* When the waits of all lanes that can run have failed, the warp's turn ends: other warps
 * must go on. */
Stop
step_mbar_wait(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t yes = 0;
  for (uint32_t k = mask; k; k &= k - 1) {
    bool done = false;
    int lane = __builtin_ctz(k);
    Stop s = wait_one(x, w, i, lane, &done);
    if (s != GO)
      return s;
    yes |= (uint32_t)done << lane;
  }
  w->pred[i->pd] = (w->pred[i->pd] & ~mask) | yes;
  if (yes == mask) {
    w->stalled = false;
    w->failed &= ~yes;
    return GO;
  }
  if (others_go_first(w, yes))
    return GO;
  w->stalled = true;
  w->stalled_line = i->line;
  x->slice = 1;
  return GO;
}
