/* What the asynchronous proxy does to shared memory: bulk copies into it and out of it, and
 * wgmma's reads.
 *
 * Beside its Word each 16 bytes have, once a CTA works asynchronously, an Agent: the bulk
 * copy that filled them last (visible to a warp that knows its mbarrier's phase as
 * complete), the bulk store that has read them last (over for a warp that knows it as
 * done), and the warps whose wgmma have read them, each with the number of its group.  A
 * generic write counts for the asynchronous proxy only once a fence.proxy.async came after
 * it, in the writer or in a warp that knew of it by then (PTX ISA, "Async proxy"; CUTLASS
 * puts it in the writer). */
#include "emulator/check/shadow_part.h"

#include <stdlib.h>
#include <string.h>

/* ---- the async proxy ---- */

static Agent *
agent_at(Shadow *s, uint32_t chunk)
{
  return &s->async_proxy[chunk];
}

bool
shadow_async_begin(Shadow *s)
{
  if (s->async)
    return true;
  if (!s->checks)
    return false;
  if (!s->async_proxy)
    s->async_proxy = malloc(((size_t)s->n_chunks + 1) * sizeof *s->async_proxy);
  if (!s->async_proxy) {
    shadow_out_of_memory(s);
    return false;
  }
  memset(s->async_proxy, 0, ((size_t)s->n_chunks + 1) * sizeof *s->async_proxy);
  s->async = true;
  return true;
}

static Report
report_of(ShadowKind kind, int insn, int other, int warp, int other_warp, int lane,
          uint32_t addr)
{
  return (Report){.kind = kind,
                  .insn = insn,
                  .other = other,
                  .warp = warp,
                  .other_warp = other_warp,
                  .lane = lane,
                  .other_cta = -1,
                  .addr = addr};
}

static bool
filled(const Shadow *s, const Agent *a, int warp)
{
  return !a->bulk || shadow_known_here(s, warp)->mbar[a->mbar] >= a->bulk;
}

static bool
sent(const Shadow *s, const Agent *a, int warp)
{
  return !a->store || shadow_known_here(s, warp)->store[a->store_warp] >= a->store;
}

/* A warp whose wgmma may still read; -1: none. */
static int
multiplying(const Shadow *s, const Agent *a, int warp)
{
  const Known *k = shadow_known_here(s, warp);
  for (uint32_t m = a->readers; m; m &= m - 1) {
    int w = __builtin_ctz(m);
    if (k->group[w] < a->group[w])
      return w;
  }
  return -1;
}

static const char *const verbs[] = {"reads", "writes", "updates", "copies into"};

/* Against what was filled: a read or an overwrite of bytes that have not come yet. */
static void
check_filled(Shadow *s, const Agent *a, const char *verb, bool writes, int insn, int warp,
             int lane, uint32_t off)
{
  if (filled(s, a, warp))
    return;
  Report r = report_of(writes ? SHADOW_ASYNC_OVERWRITE : SHADOW_ASYNC_READ, insn, a->insn,
                       warp, a->warp, lane, off);
  shadow_report(s, &r,
                "%s shared memory at byte %u, which the bulk copy of line %d fills: %s has "
                "not waited for that phase of its mbarrier",
                verb, off, shadow_line(s, a->insn), shadow_name(s, warp).text);
}

static void
check_free(Shadow *s, const Agent *a, const char *verb, int insn, int warp, int lane,
           uint32_t off)
{
  int reader = multiplying(s, a, warp);
  if (reader >= 0) {
    Report r =
        report_of(SHADOW_ASYNC_OVERWRITE, insn, a->wgmma_insn, warp, reader, lane, off);
    shadow_report(
        s, &r,
        "%s shared memory at byte %u, which wgmma of warp %d at line %d may still be "
        "reading: nothing tells %s that its group is complete",
        verb, off, reader, shadow_line(s, a->wgmma_insn), shadow_name(s, warp).text);
  }
  if (sent(s, a, warp))
    return;
  Report r = report_of(SHADOW_ASYNC_OVERWRITE, insn, a->store_insn, warp, a->store_warp,
                       lane, off);
  shadow_report(s, &r,
                "%s shared memory at byte %u, which the bulk store of line %d may still be "
                "reading: its group has not been waited for",
                verb, off, shadow_line(s, a->store_insn));
}

/* Against a copy into another CTA that reads them. */
static void
check_sent(Shadow *s, const Agent *a, const char *verb, int insn, int warp, int lane,
           uint32_t off)
{
  if (!a->send || shadow_known(s, warp, a->send_rank)->mbar[a->send_mbar] >= a->send)
    return;
  Report r = report_of(SHADOW_ASYNC_OVERWRITE, insn, a->send_insn, warp, -1, lane, off);
  shadow_report(
      s, &r,
      "%s shared memory at byte %u, which the bulk copy of line %d into CTA %d of "
      "the cluster may still be reading: nothing tells %s that its mbarrier is "
      "complete",
      verb, off, shadow_line(s, a->send_insn), a->send_rank, shadow_name(s, warp).text);
}

/* Bytes of an mbarrier are for its instructions alone. */
static void
check_object(Shadow *s, const Agent *a, const char *verb, int insn, int warp, int lane,
             uint32_t off, uint32_t bytes)
{
  uint32_t first = off % 16 / 8, last = (off % 16 + bytes - 1) / 8;
  uint32_t hit = a->object & ((2u << last) - (1u << first));
  if (!hit)
    return;
  uint32_t at = off / 16 * 16 + (hit & 1 ? 0 : 8);
  const ShadowMbar *m = s->mbar;
  while (!m->made || m->off != at)
    m++;
  Report r = report_of(SHADOW_OBJECT, insn, m->insn, warp, m->warp, lane, at);
  shadow_report(s, &r, "%s shared memory at byte %u, where the mbarrier of line %d lives",
                verb, at, shadow_line(s, m->insn));
}

/* A generic access to 16 bytes or a part of them. */
void
shadow_async_touch(Shadow *s, const ShadowAccess *x, int lane, uint32_t off)
{
  Agent *a = agent_at(s, off / 16);
  bool writes = x->op != SHADOW_READ;
  if (a->object)
    check_object(s, a, verbs[x->op], x->insn, x->warp, lane, off, x->bytes);
  check_filled(s, a, verbs[x->op], writes, x->insn, x->warp, lane, off);
  if (!writes)
    return;
  check_free(s, a, verbs[x->op], x->insn, x->warp, lane, off);
  check_sent(s, a, verbs[x->op], x->insn, x->warp, lane, off);
  a->bulk = a->store = a->readers = a->send = 0;
}

/* ---- the asynchronous side ---- */

/* Bytes of [off, off + bytes) that lie in the chunk are for device memory, or for another
 * CTA. */
static void
check_written(Shadow *s, int insn, int warp, int lane, uint32_t chunk, uint32_t off,
              uint32_t bytes)
{
  uint32_t at = chunk * 16 > off ? chunk * 16 : off;
  uint32_t end = chunk * 16 + 16 < off + bytes ? chunk * 16 + 16 : off + bytes;
  uint32_t unwritten = shadow_unwritten(s, at, (int)(end - at));
  if (!unwritten)
    return;
  ShadowOrigin from = shadow_origin(s, insn, at, unwritten);
  shadow_undefined(s, insn, warp, 1u << lane, &from, "copies");
}

/* Reads of a chunk by an engine that `warp` sets to work. */
static void
read_by_engine(Shadow *s, int insn, int warp, int lane, uint32_t chunk)
{
  Agent *a = agent_at(s, chunk);
  uint32_t off = chunk * 16;
  check_object(s, a, "reads", insn, warp, lane, off, 16);
  check_filled(s, a, "reads", false, insn, warp, lane, off);
  if (!a->bulk)
    shadow_word_async(s, insn, warp, lane, off, false, true);
}

void
shadow_bulk_write(Shadow *s, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                  int mbar, uint32_t phase, ShadowBulk kind)
{
  if (!shadow_async_begin(s))
    return;
  shadow_after_arrival(s, warp);
  for (uint32_t c = off / 16; c * 16 < off + bytes; c++) {
    Agent *a = agent_at(s, c);
    if (kind != SHADOW_BULK_COPY && a->bulk == phase + 1 && a->mbar == mbar)
      continue;
    check_object(s, a, "copies into", insn, warp, lane, c * 16, 16);
    check_filled(s, a, "copies into", true, insn, warp, lane, c * 16);
    check_free(s, a, "copies into", insn, warp, lane, c * 16);
    check_sent(s, a, "copies into", insn, warp, lane, c * 16);
    shadow_word_async(s, insn, warp, lane, c * 16, true, kind != SHADOW_BULK_OWN);
    s->init[c] = 0xffff;
    shadow_carried_end(s, c);
    *a = (Agent){.bulk = phase + 1,
                 .mbar = (uint8_t)mbar,
                 .warp = (uint16_t)warp,
                 .insn = insn,
                 .object = a->object};
  }
}

void
shadow_bulk_read(Shadow *s, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                 uint32_t number)
{
  if (!shadow_async_begin(s))
    return;
  for (uint32_t c = off / 16; c * 16 < off + bytes; c++) {
    Agent *a = agent_at(s, c);
    check_written(s, insn, warp, lane, c, off, bytes);
    read_by_engine(s, insn, warp, lane, c);
    a->store = number;
    a->store_warp = (uint8_t)warp;
    a->store_insn = insn;
  }
}

void
shadow_bulk_send(Shadow *s, int insn, int warp, int lane, uint32_t off, uint32_t bytes,
                 int rank, int mbar, uint32_t phase)
{
  if (!shadow_async_begin(s))
    return;
  s->sends = true;
  for (uint32_t c = off / 16; c * 16 < off + bytes; c++) {
    Agent *a = agent_at(s, c);
    check_written(s, insn, warp, lane, c, off, bytes);
    read_by_engine(s, insn, warp, lane, c);
    a->send = phase + 1;
    a->send_rank = (uint8_t)rank;
    a->send_mbar = (uint8_t)mbar;
    a->send_insn = insn;
  }
}

void
shadow_bulk_done(Shadow *s, int warp, uint32_t number)
{
  if (s->checks && s->known[warp].store[warp] < number)
    s->known[warp].store[warp] = number;
}

uint32_t
shadow_wgmma_read(Shadow *s, int insn, int warp, uint32_t off, uint32_t group)
{
  if (!shadow_async_begin(s))
    return 0;
  Agent *a = agent_at(s, off / 16);
  read_by_engine(s, insn, warp, 0, off / 16);
  a->readers |= 1u << warp;
  a->group[warp] = group;
  a->wgmma_insn = insn;
  return shadow_unwritten(s, off, 16);
}

void
shadow_wgmma_done(Shadow *s, int warp, int of, uint32_t group)
{
  if (s->checks && s->known[warp].group[of] < group)
    s->known[warp].group[of] = group;
}

/* ---- fences ---- */

/* mbarriers that the warp made or knows are known to the engines. */
void
shadow_mbar_fence(Shadow *s, int warp)
{
  const Known *k = &s->known[warp];
  for (int b = 0; b < SH_MBARS && s->checks; b++) {
    ShadowMbar *m = &s->mbar[b];
    if (m->made && (m->warp == warp || k->time[m->warp] >= m->at))
      m->fenced = true;
  }
}

/* What the warp has written or knows as written is known to the asynchronous proxy. */
void
shadow_proxy_fence(Shadow *s, int warp)
{
  if (!s->checks)
    return;
  Known *k = &s->known[warp];
  for (int w = 0; w < s->warps; w++) {
    uint32_t t = w == warp ? s->time : k->time[w];
    uint32_t copy = shadow_copies_known(s, warp, w);
    k->fenced[w] = k->fenced[w] > t ? k->fenced[w] : t;
    k->fenced_copy[w] = k->fenced_copy[w] > copy ? k->fenced_copy[w] : copy;
  }
  shadow_mbar_fence(s, warp);
  shadow_tick(s);
}

/* ---- mbarriers ---- */

void
shadow_mbar_init(Shadow *s, int b, int insn, int warp, int lane, uint32_t off)
{
  if (!shadow_async_begin(s))
    return;
  uint32_t offs[32];
  offs[lane] = off;
  ShadowAccess write = {
      .insn = insn, .warp = warp, .mask = 1u << lane, .op = SHADOW_WRITE, .bytes = 8};
  agent_at(s, off / 16)->object &= (uint8_t) ~(1u << off % 16 / 8);
  shadow_shared(s, &write, offs);
  agent_at(s, off / 16)->object |= (uint8_t)(1u << off % 16 / 8);
  s->mbar[b] =
      (ShadowMbar){.made = true, .warp = warp, .insn = insn, .off = off, .at = s->time};
  for (int done = 0; done < 2; done++) {
    Clock c = shadow_clock_of_mbar(s, b, done);
    shadow_clock_clear(s, &c);
  }
}

void
shadow_mbar_inval(Shadow *s, int b)
{
  uint32_t off = s->mbar[b].off;
  if (s->async)
    agent_at(s, off / 16)->object &= (uint8_t) ~(1u << off % 16 / 8);
}

bool
shadow_mbar_known(const Shadow *s, int b, int warp)
{
  const ShadowMbar *m = &s->mbar[b];
  if (!s->checks || !m->made || m->warp == warp ||
      shadow_known_here(s, warp)->time[m->warp] >= m->at)
    return true;
  const Shadow *home = shadow_home((Shadow *)s, &warp);
  return m->told && home->waited[warp] >= m->told;
}

bool
shadow_mbar_fenced(const Shadow *s, int b)
{
  return !s->checks || s->mbar[b].fenced;
}

void
shadow_mbar_arrive(Shadow *s, int b, int warp)
{
  if (!s->checks)
    return;
  Clock to = shadow_clock_of_mbar(s, b, false);
  shadow_publish(s, warp, &to);
}

/* The thread's other writes are not told: PTX ISA, "cp.async.mbarrier.arrive". */
void
shadow_copy_arrive(Shadow *s, int b, int warp, uint32_t copies)
{
  uint32_t *to = &s->mbar[b].next.copy[warp];
  if (s->checks && *to < copies)
    *to = copies;
}

void
shadow_mbar_complete(Shadow *s, int b)
{
  if (!s->checks)
    return;
  ShadowMbar *m = &s->mbar[b];
  m->phases++;
  Clock next = shadow_clock_of_mbar(s, b, false), done = shadow_clock_of_mbar(s, b, true);
  shadow_clock_raise(s, &done, &next);
  shadow_clock_clear(s, &next);
  shadow_tick(s);
}

void
shadow_mbar_wait(Shadow *s, int b, int warp)
{
  if (!s->checks)
    return;
  const ShadowMbar *m = &s->mbar[b];
  Clock done = shadow_clock_of_mbar(s, b, true);
  shadow_learn(s, warp, &done);
  shadow_lanes_met(s, warp, 0, true);
  if (s->copies[warp].seen < s->known[warp].copy[warp])
    s->copies[warp].seen = s->known[warp].copy[warp];
  if (s->known[warp].mbar[b] < m->phases)
    s->known[warp].mbar[b] = m->phases;
}
