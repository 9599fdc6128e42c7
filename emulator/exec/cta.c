#include "emulator/async/bulk.h"
#include "emulator/exec/calls.h"
#include "emulator/exec/lanes.h"
#include "emulator/check/layout.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory of a host thread ---- */

static size_t
aligned(size_t n)
{
  return (n + 63) / 64 * 64;
}

static size_t
warp_bytes(const Exec *x)
{
  const Kernel *k = x->kernel;
  return aligned((size_t)k->rows * LANES * 4) + aligned((size_t)k->rows * 4) +
         2 * aligned((size_t)k->preds * 4) + aligned((size_t)x->shape.local * LANES);
}

static void
place_warp(Warp *w, const Kernel *k, uint8_t *p)
{
  w->file = (uint32_t *)(void *)p;
  p += aligned((size_t)k->rows * LANES * 4);
  w->def = (uint32_t *)(void *)p;
  p += aligned((size_t)k->rows * 4);
  w->pred = (uint32_t *)(void *)p;
  p += aligned((size_t)k->preds * 4);
  w->pdef = (uint32_t *)(void *)p;
  p += aligned((size_t)k->preds * 4);
  w->local = p;
}

static uint32_t
threads_of(const Launch *l)
{
  return l->block[0] * l->block[1] * l->block[2];
}

static void
fill_constants(Warp *w, const Kernel *k)
{
  for (int i = 0; i < k->n_fills; i++) {
    const Fill *f = &k->fills[i];
    if (f->special >= 0)
      continue;
    for (int l = 0; l < LANES; l++)
      if (f->wide)
        row64(w, f->row)[l] = f->value;
      else
        row32(w, f->row)[l] = (uint32_t)f->value;
  }
}

static bool
set_up_warps(Exec *x, Cta *c)
{
  const Kernel *k = x->kernel;
  for (int i = 0; i < c->n_warps; i++) {
    Warp *w = &c->warp[i];
    w->cta = c;
    if (k->wgmma && !(w->wgmma = wgmma_new(k->rows, x->shape.async)))
      return false;
    if (k->calls && !(w->calls = calls_new(k)))
      return false;
    place_warp(w, k, c->memory + warp_bytes(x) * (size_t)i);
    fill_constants(w, k);
  }
  return true;
}

static bool
set_up(Exec *x, Cta *c)
{
  const Kernel *k = x->kernel;
  c->n_warps = (int)((x->shape.threads + LANES - 1) / LANES);
  uint32_t with_dynamic = k->dynamic_at + x->shape.dynamic;
  c->shared_bytes = x->shape.dynamic ? with_dynamic : k->shared_bytes;
  size_t all = warp_bytes(x) * (size_t)c->n_warps;
  size_t lines = layout_lines(c->shared_bytes);
  c->memory = aligned_alloc(64, aligned(all + c->shared_bytes + 64 + lines));
  c->shadow = shadow_new(x->launch->shadow);
  c->async = async_new(c->n_warps, x->shape.async);
  c->bulk = bulk_new(x->shape.async);
  if (!c->memory || !c->shadow || !c->async || !c->bulk)
    return false;
  memset(c->memory, 0, all);
  c->shared = c->memory + all;
  c->layout = c->shared + c->shared_bytes + 64;
  return set_up_warps(x, c);
}

static bool
set_up_all(Exec *x)
{
  x->n_ctas = x->shape.ctas;
  x->ctas = calloc((size_t)x->n_ctas, sizeof *x->ctas);
  for (int i = 0; x->ctas && i < x->n_ctas; i++) {
    x->ctas[i].rank = i;
    x->ctas[i].base = SHARED_BASE + ((uint64_t)i << RANK_SHIFT);
    if (!set_up(x, &x->ctas[i]))
      return false;
  }
  Shadow *shadows[MAX_CLUSTER];
  for (int i = 0; x->ctas && i < x->n_ctas; i++)
    shadows[i] = x->ctas[i].shadow;
  return x->ctas && (x->n_ctas == 1 || shadow_join(shadows, x->n_ctas));
}

static ExecShape
shape_of(const Launch *l)
{
  return (ExecShape){.kernel = l->kernel,
                     .module = l->kernel->ptx->id,
                     .threads = threads_of(l),
                     .dynamic = l->dynamic,
                     .local = l->local_bytes,
                     .ctas = launch_cluster_ctas(l),
                     .async = l->set.async,
                     .checks = l->set.checks};
}

Exec *
exec_new(Launch *l)
{
  Exec *x = calloc(1, sizeof *x);
  if (!x)
    return NULL;
  x->launch = l;
  x->fresh = true;
  x->kernel = l->kernel;
  x->shape = shape_of(l);
  x->code = lanes_code();
  if (set_up_all(x))
    return x;
  exec_free(x);
  return NULL;
}

static void
free_cta(Cta *c)
{
  async_free(c->async);
  for (int i = 0; i < MAX_WARPS; i++) {
    wgmma_free(c->warp[i].wgmma);
    undefined_free(c->warp[i].undefined);
    calls_free(c->warp[i].calls);
  }
  bulk_free(c->bulk);
  shadow_free(c->shadow);
  free(c->memory);
}

void
exec_free(Exec *x)
{
  if (!x)
    return;
  for (int i = 0; x->ctas && i < x->n_ctas; i++)
    free_cta(&x->ctas[i]);
  free(x->ctas);
  free(x);
}

bool
exec_fits(const Exec *x, const Launch *l)
{
  const ExecShape *a = &x->shape, b = shape_of(l);
  return a->kernel == b.kernel && a->module == b.module && a->threads == b.threads &&
         a->dynamic == b.dynamic && a->local == b.local && a->ctas == b.ctas &&
         a->async == b.async && a->checks == b.checks;
}

void
exec_renew(Exec *x, Launch *l)
{
  x->launch = l;
  x->fresh = true;
  x->last = NULL;
  x->barriers = 0;
  for (int i = 0; i < x->n_ctas; i++)
    shadow_renew(x->ctas[i].shadow, l->shadow);
}

size_t
exec_bytes(const Exec *x)
{
  const Kernel *k = x->kernel;
  size_t n = sizeof *x;
  for (int i = 0; i < x->n_ctas; i++) {
    const Cta *c = &x->ctas[i];
    size_t warp = warp_bytes(x) + (k->wgmma ? (size_t)k->rows * LANES * 4 : 0);
    n += sizeof *c + c->shared_bytes + warp * (size_t)c->n_warps + shadow_bytes(c->shadow);
    for (int j = 0; j < c->n_warps; j++)
      n += undefined_bytes(&c->warp[j], k);
  }
  return n;
}

/* ---- the start of a CTA ---- */

/* Of shared memory; 0: %gridid, %pm, no graph of the device.  Clocks are read by an
 * instruction of their own. */
static uint32_t
shared_special(const Exec *x, const Cta *c, Special special)
{
  switch (special) {
  case SR_DYNAMIC_SMEM:
    return x->launch->dynamic;
  case SR_TOTAL_SMEM:
    return c->shared_bytes;
  case SR_AGGR_SMEM:
    return c->shared_bytes + SHARED_BASE;
  case SR_RESERVED_END:
  case SR_RESERVED_CAP:
    return SHARED_BASE;
  default:
    return 0;
  }
}

static uint32_t
special_value(const Exec *x, const Warp *w, int special, uint32_t lane)
{
  const Launch *l = x->launch;
  const Cta *c = w->cta;
  uint32_t t = (uint32_t)w->id * LANES + lane;
  int n;
  switch ((Special)special) {
  case SR_TID_X:
    return t % l->block[0];
  case SR_TID_Y:
    return t / l->block[0] % l->block[1];
  case SR_TID_Z:
    return t / l->block[0] / l->block[1];
  case SR_NTID_X:
  case SR_NTID_Y:
  case SR_NTID_Z:
    return l->block[special - SR_NTID_X];
  case SR_CTAID_X:
  case SR_CTAID_Y:
  case SR_CTAID_Z:
    return c->id[special - SR_CTAID_X];
  case SR_NCTAID_X:
  case SR_NCTAID_Y:
  case SR_NCTAID_Z:
    return l->grid[special - SR_NCTAID_X];
  case SR_LANEID:
    return lane;
  case SR_WARPID:
    return (uint32_t)w->id;
  case SR_NWARPID:
    return (uint32_t)c->n_warps;
  case SR_SMID:
    return (uint32_t)(c->index % l->chip->sms);
  case SR_NSMID:
    return (uint32_t)l->chip->sms;
  case SR_LANEMASK_EQ:
    return 1u << lane;
  case SR_LANEMASK_LE:
    return (2u << lane) - 1;
  case SR_LANEMASK_LT:
    return (1u << lane) - 1;
  case SR_LANEMASK_GE:
    return FULL << lane;
  case SR_LANEMASK_GT:
    return FULL << lane & ~(1u << lane);
  case SR_CLUSTERID_X:
  case SR_CLUSTERID_Y:
  case SR_CLUSTERID_Z:
    n = special - SR_CLUSTERID_X;
    return c->id[n] / l->cluster[n];
  case SR_NCLUSTERID_X:
  case SR_NCLUSTERID_Y:
  case SR_NCLUSTERID_Z:
    n = special - SR_NCLUSTERID_X;
    return l->grid[n] / l->cluster[n];
  case SR_CLUSTER_CTAID_X:
  case SR_CLUSTER_CTAID_Y:
  case SR_CLUSTER_CTAID_Z:
    n = special - SR_CLUSTER_CTAID_X;
    return c->id[n] % l->cluster[n];
  case SR_CLUSTER_NCTAID_X:
  case SR_CLUSTER_NCTAID_Y:
  case SR_CLUSTER_NCTAID_Z:
    return l->cluster[special - SR_CLUSTER_NCTAID_X];
  case SR_CLUSTER_CTARANK:
    return (uint32_t)c->rank;
  case SR_CLUSTER_NCTARANK:
    return (uint32_t)x->n_ctas;
  case SR_ENVREG1:
  case SR_ENVREG2:
    return l->envreg[special - SR_ENVREG0];
  default:
    return shared_special(x, c, (Special)special);
  }
}

/* Differs from lane to lane; else all lanes have the same. */
static bool
of_a_lane(int special)
{
  return special <= SR_TID_Z || special == SR_LANEID ||
         (special >= SR_LANEMASK_EQ && special <= SR_LANEMASK_GT);
}

/* Differs from CTA to CTA; else it stays while a launch runs. */
static bool
of_a_cta(int special)
{
  return (special >= SR_CTAID_X && special <= SR_CTAID_Z) || special == SR_SMID ||
         (special >= SR_CLUSTERID_X && special <= SR_CLUSTERID_Z) ||
         (special >= SR_CLUSTER_CTAID_X && special <= SR_CLUSTER_CTAID_Z);
}

static void
fill_special(const Exec *x, Warp *w, const Fill *f)
{
  bool lanes = f->special != FILL_SHARED && of_a_lane(f->special);
  uint64_t v = f->special == FILL_SHARED ? f->value + ((uint64_t)w->cta->rank << RANK_SHIFT)
                                         : special_value(x, w, f->special, 0);
  for (uint32_t l = 0; l < LANES; l++) {
    if (lanes)
      v = special_value(x, w, f->special, l);
    if (f->wide)
      row64(w, f->row)[l] = v;
    else
      row32(w, f->row)[l] = (uint32_t)v;
  }
}

static void
fill_specials(const Exec *x, Warp *w)
{
  for (int i = 0; i < x->kernel->n_fills; i++) {
    const Fill *f = &x->kernel->fills[i];
    if (f->special >= 0 && (x->fresh || of_a_cta(f->special)))
      fill_special(x, w, f);
  }
}

/* Of what is random in a CTA, whichever host thread runs it. */
static uint64_t
seed_of(const Exec *x, const Cta *c)
{
  return (x->launch->set.seed ^ (uint64_t)c->index) * 0x9e3779b97f4a7c15u + 1;
}

static void
start_warp(Exec *x, Cta *c, int id)
{
  Warp *w = &c->warp[id];
  const Kernel *k = x->kernel;
  bool checks = x->launch->set.checks;
  uint32_t left = threads_of(x->launch) - (uint32_t)id * LANES;
  w->id = id;
  w->pc = 0;
  w->born = w->live = w->active = left >= LANES ? FULL : (1u << left) - 1;
  w->n_parked = w->spins = 0;
  w->failed = 0;
  w->barrier = -1;
  w->done = w->stalled = false;
  w->waits_for = w->met = w->due = 0;
  w->executed = 0;
  w->n_read = 0;
  memset(w->read, 0, sizeof w->read);
  if (checks)
    memcpy(w->def, k->def0, (size_t)k->rows * 4);
  else
    memset(w->def, 0xff, (size_t)k->rows * 4);
  memset(w->pdef, checks ? 0 : 0xff, (size_t)k->preds * 4);
  w->pdef[PRED_TRUE] = w->pdef[PRED_SINK] = w->pdef[PRED_FALSE] = FULL;
  w->pred[PRED_TRUE] = w->pdef[PRED_CLUSTER] = FULL;
  w->pred[PRED_CLUSTER] = x->launch->explicit_cluster ? FULL : 0;
  memset(w->local, 0xff, (size_t)x->shape.local * LANES);
  calls_start(w, k);
  fill_specials(x, w);
  undefined_reset(w, k);
  if (w->wgmma)
    wgmma_reset(w->wgmma, k->rows, seed_of(x, c) + (uint64_t)id);
}

static void
place_cta(const Launch *l, Cta *c, uint64_t cluster)
{
  uint64_t rank = (uint64_t)c->rank;
  for (int k = 0; k < 3; k++) {
    uint32_t n = l->cluster[k], clusters = l->grid[k] / n;
    c->id[k] = (uint32_t)(cluster % clusters * n + rank % n);
    cluster /= clusters;
    rank /= n;
  }
  c->index = (int)(c->id[0] + l->grid[0] * (c->id[1] + l->grid[1] * c->id[2]));
}

static void
start_cta(Exec *x, Cta *c, uint64_t cluster)
{
  place_cta(x->launch, c, cluster);
  c->left = c->n_warps;
  memset(c->barrier, 0, sizeof c->barrier);
  memset(c->shared, 0xff, c->shared_bytes);
  memset(c->layout, 0, layout_lines(c->shared_bytes));
  c->laid_out = false;
  c->n_fenced = 0;
  shadow_cta_begin(c->shadow, c->index);
  shadow_place(c->shadow, x->place);
  async_reset(c->async, c->shared, seed_of(x, c));
  bulk_reset(c->bulk, seed_of(x, c));
  for (int i = 0; i < c->n_warps; i++)
    start_warp(x, c, i);
  registers_start(c, x->launch);
}

void
cta_start(Exec *x, uint64_t cluster)
{
  for (int i = 0; i < x->n_ctas; i++)
    start_cta(x, &x->ctas[i], cluster);
  x->random = seed_of(x, x->ctas);
  x->fresh = x->carries = false;
  x->fuel = x->launch->set.fuel * (uint64_t)x->n_ctas;
  x->asked = 0;
  x->result = CUDA_SUCCESS;
}
