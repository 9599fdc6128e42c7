/* What CTAs of a cluster have in common: each other's shared memory by its address, and a
 * barrier (PTX ISA, "mapa", "barrier.cluster"). */
#include "emulator/exec/steps.h"

#include <stdio.h>

#define OFFSET_MASK ((1u << RANK_SHIFT) - 1)

/* ---- addresses ---- */

static Cta *
outside(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, uint64_t bytes,
        Stop *stop)
{
  const Cta *own = w->cta;
  *stop = report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", lane,
                       "%llu bytes at byte %lld of %u bytes of shared memory",
                       (unsigned long long)bytes, (long long)(addr - own->base),
                       own->shared_bytes);
  return NULL;
}

static Cta *
not_there(Exec *x, Warp *w, const Insn *i, int lane, const char *name, uint64_t addr,
          const char *what, Stop *stop)
{
  *stop =
      report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, name, lane,
                   "the address 0x%llx is in the shared memory of CTA %d of a cluster "
                   "of %d%s",
                   (unsigned long long)addr, (int)(addr >> RANK_SHIFT), x->n_ctas, what);
  return NULL;
}

Cta *
cluster_find(Exec *x, Warp *w, const Insn *i, int lane, uint64_t addr, bool far,
             uint64_t bytes, uint32_t *off, Stop *stop)
{
  Cta *own = w->cta;
  uint64_t rank = addr >> RANK_SHIFT, at = (addr & OFFSET_MASK) - SHARED_BASE;
  *stop = GO;
  *off = (uint32_t)at;
  if (at >= own->shared_bytes || own->shared_bytes - at < bytes)
    return outside(x, w, i, lane, addr, bytes, stop);
  if (rank == (uint64_t)own->rank)
    return own;
  if (rank >= MAX_CLUSTER)
    return outside(x, w, i, lane, addr, bytes, stop);
  if (rank >= (uint64_t)x->n_ctas)
    return not_there(x, w, i, lane, "out-of-bounds", addr, "", stop);
  if (!far)
    return not_there(x, w, i, lane, "other-cta", addr,
                     ", and the instruction reaches its own CTA's alone", stop);
  if (!x->ctas[rank].left)
    return not_there(x, w, i, lane, "exited-cta", addr, ", which has exited", stop);
  return &x->ctas[rank];
}

/* A rank that the cluster does not have makes an address that nothing may use. */
static uint64_t
mapped(uint64_t addr, uint32_t rank)
{
  uint64_t window = addr & ~(WINDOW_SIZE - 1);
  return window | (uint64_t)(rank & 0xff) << RANK_SHIFT | (addr & OFFSET_MASK);
}

static Stop
check_generic(Exec *x, Warp *w, const Insn *i, uint32_t mask, const uint64_t *addr)
{
  for (uint32_t m = i->mem.space == SPACE_GENERIC ? mask : 0; m; m &= m - 1) {
    int l = __builtin_ctz(m);
    if (addr[l] - WINDOW_SHARED >= WINDOW_SIZE)
      return report_fatal(x, w, i, CUDA_ERROR_ILLEGAL_ADDRESS, "out-of-bounds", l,
                          "the generic address 0x%llx is not in shared memory",
                          (unsigned long long)addr[l]);
  }
  return GO;
}

Stop
step_mapa(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint64_t wide[LANES];
  uint32_t narrow[LANES];
  const uint32_t *rank = row32(w, i->b);
  if (!(i->flags & F_WIDE)) {
    for (int l = 0; l < LANES; l++)
      narrow[l] = (uint32_t)mapped(row32(w, i->a)[l], rank[l]);
    exec_put32(x, w, i->d, narrow, mask);
    return GO;
  }
  const uint64_t *addr = row64(w, i->a);
  Stop s = check_generic(x, w, i, mask, addr);
  if (s != GO)
    return s;
  for (int l = 0; l < LANES; l++)
    wide[l] = mapped(addr[l], rank[l]);
  exec_put64(x, w, i->d, wide, mask);
  return GO;
}

Stop
step_ctarank(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t rank[LANES];
  bool wide = i->mem.addr64;
  Stop s = wide ? check_generic(x, w, i, mask, row64(w, i->a)) : GO;
  if (s != GO)
    return s;
  for (int l = 0; l < LANES; l++) {
    uint64_t addr = wide ? row64(w, i->a)[l] : row32(w, i->a)[l];
    rank[l] = (uint32_t)((addr & (WINDOW_SIZE - 1)) >> RANK_SHIFT);
  }
  exec_put32(x, w, i->d, rank, mask);
  return GO;
}

/* ---- the barrier ---- */

static Stop
misuse(Exec *x, Warp *w, const Insn *i, uint32_t lanes, const char *what)
{
  return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "barrier-misuse",
                      __builtin_ctz(lanes), "%s", what);
}

static bool
all_there(const Exec *x)
{
  for (int c = 0; c < x->n_ctas; c++)
    for (int j = 0; j < x->ctas[c].n_warps; j++) {
      const Warp *w = &x->ctas[c].warp[j];
      if (w->live & ~w->met)
        return false;
    }
  return true;
}

static void
release(Warp *w)
{
  w->due |= w->met;
  w->met = 0;
  if (w->waits_for == WAITS_CLUSTER)
    w->stalled = false;
  for (int k = 0; k < w->n_parked; k++)
    w->parked[k].waiting = false;
}

/* PTX ISA: of all threads that have not exited. */
static void
try_complete(Exec *x)
{
  if (!all_there(x))
    return;
  for (int c = 0; c < x->n_ctas; c++)
    for (int j = 0; j < x->ctas[c].n_warps; j++)
      release(&x->ctas[c].warp[j]);
  x->meeting = false;
  shadow_cluster_complete(x->ctas->shadow);
}

void
cluster_exit(Exec *x)
{
  if (x->meeting)
    try_complete(x);
}

int
cluster_describe(const Warp *w, char *text, size_t n)
{
  return snprintf(text, n, "; warp %d waits at line %d for the cluster", w->id,
                  w->stalled_line);
}

Stop
step_cluster_arrive(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = i->cluster.aligned ? warp_gather_all(x, w, i, mask) : GO;
  uint32_t again = mask & (w->met | w->due);
  if (s != GO)
    return s;
  if (again)
    return misuse(x, w, i, again,
                  "a second barrier.cluster.arrive without barrier.cluster.wait between");
  w->met |= mask;
  x->meeting = true;
  x->barriers++;
  shadow_cluster_arrive(w->cta->shadow, w->id, !i->cluster.relaxed);
  try_complete(x);
  return GO;
}

/* The grid that it waits for has run, and the dependent one has not started. */
Stop
step_grid(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)x;
  (void)mask;
  if (i->grid.trigger)
    shadow_grid_trigger(w->cta->shadow);
  else
    shadow_grid_wait(w->cta->shadow, w->id);
  return GO;
}

static bool
others_can_run(const Warp *w)
{
  for (int k = 0; k < w->n_parked; k++)
    if (!w->parked[k].waiting)
      return true;
  return false;
}

Stop
step_cluster_wait(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = i->cluster.aligned ? warp_gather_all(x, w, i, mask) : GO;
  uint32_t never = mask & ~(w->met | w->due);
  if (s != GO)
    return s;
  if (never)
    return misuse(x, w, i, never,
                  "barrier.cluster.wait without barrier.cluster.arrive before");
  if (!(mask & ~w->due)) {
    w->due &= ~mask;
    shadow_cluster_wait(w->cta->shadow, w->id);
    return GO;
  }
  if (others_can_run(w))
    return PARK;
  return exec_block(x, w, i, mask, WAITS_CLUSTER);
}
