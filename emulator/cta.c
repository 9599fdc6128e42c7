#include "emulator/bulk.h"
#include "emulator/decode.h"
#include "emulator/lanes.h"
#include "emulator/layout.h"
#include "emulator/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Instructions in one turn.  A long turn is quick; that it ends lets a warp that spins on a
 * flag see it set. */
enum { TURN_BLOCK = 65536, TURN_RR = 16, TURN_RANDOM = 64 };

/* ---- memory of a host thread ---- */

static size_t
aligned(size_t n)
{
  return (n + 63) / 64 * 64;
}

static size_t
warp_bytes(const Kernel *k)
{
  return aligned((size_t)k->rows * LANES * 4) + aligned((size_t)k->rows * 4) +
         2 * aligned((size_t)k->preds * 4) + aligned((size_t)k->local_bytes * LANES);
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
set_up(Exec *x, uint64_t seed)
{
  const Kernel *k = x->kernel;
  Cta *c = &x->cta;
  c->n_warps = (int)((threads_of(x->launch) + LANES - 1) / LANES);
  uint32_t with_dynamic = k->dynamic_at + x->launch->dynamic;
  c->shared_bytes = x->launch->dynamic ? with_dynamic : k->shared_bytes;
  size_t each = warp_bytes(k), all = each * (size_t)c->n_warps;
  size_t lines = layout_lines(c->shared_bytes);
  x->memory = aligned_alloc(64, aligned(all + c->shared_bytes + 64 + lines));
  x->shadow = shadow_new(x->launch->shadow);
  x->async = async_new(c->n_warps, x->launch->set.async, seed);
  x->bulk = bulk_new(x->launch->set.async, seed);
  if (!x->memory || !x->shadow || !x->async || !x->bulk)
    return false;
  memset(x->memory, 0, all);
  c->shared = x->memory + all;
  c->layout = c->shared + c->shared_bytes + 64;
  x->counts = shadow_counts(x->shadow);
  for (int i = 0; i < c->n_warps; i++) {
    if (k->wgmma && !(c->warp[i].wgmma =
                          wgmma_new(k->rows, x->launch->set.async, seed + (uint64_t)i)))
      return false;
    place_warp(&c->warp[i], k, x->memory + each * (size_t)i);
    fill_constants(&c->warp[i], k);
  }
  return true;
}

Exec *
exec_new(Launch *l, uint64_t seed)
{
  Exec *x = calloc(1, sizeof *x);
  if (!x)
    return NULL;
  x->launch = l;
  x->kernel = l->kernel;
  x->code = lanes_code();
  if (set_up(x, seed))
    return x;
  exec_free(x);
  return NULL;
}

void
exec_free(Exec *x)
{
  if (!x)
    return;
  async_free(x->async);
  for (int i = 0; i < MAX_WARPS; i++)
    wgmma_free(x->cta.warp[i].wgmma);
  bulk_free(x->bulk);
  if (x->shadow)
    shadow_free(x->shadow);
  free(x->memory);
  free(x);
}

/* ---- the start of a CTA ---- */

static uint32_t
special_value(const Exec *x, const Warp *w, int special, uint32_t lane)
{
  const Launch *l = x->launch;
  uint32_t t = (uint32_t)w->id * LANES + lane;
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
    return x->cta.id[special - SR_CTAID_X];
  case SR_NCTAID_X:
  case SR_NCTAID_Y:
  case SR_NCTAID_Z:
    return l->grid[special - SR_NCTAID_X];
  case SR_LANEID:
    return lane;
  case SR_WARPID:
    return (uint32_t)w->id;
  case SR_NWARPID:
    return (uint32_t)x->cta.n_warps;
  case SR_SMID:
    return (uint32_t)(x->cta.index % l->chip->sms);
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
  case SR_DYNAMIC_SMEM:
    return l->dynamic;
  case SR_TOTAL_SMEM:
    return x->cta.shared_bytes;
  default:
    return 0; /* %gridid; clocks are read by an instruction of their own */
  }
}

static void
fill_specials(const Exec *x, Warp *w)
{
  for (int i = 0; i < x->kernel->n_fills; i++) {
    const Fill *f = &x->kernel->fills[i];
    if (f->special < 0)
      continue;
    for (uint32_t l = 0; l < LANES; l++) {
      uint32_t v = special_value(x, w, f->special, l);
      if (f->wide)
        row64(w, f->row)[l] = v;
      else
        row32(w, f->row)[l] = v;
    }
  }
}

static void
start_warp(Exec *x, int id)
{
  Warp *w = &x->cta.warp[id];
  const Kernel *k = x->kernel;
  bool checks = x->launch->set.checks;
  uint32_t left = threads_of(x->launch) - (uint32_t)id * LANES;
  w->id = id;
  w->pc = 0;
  w->born = w->live = w->active = left >= LANES ? FULL : (1u << left) - 1;
  w->n_parked = w->spins = 0;
  w->barrier = -1;
  w->done = w->stalled = false;
  w->waits_for = 0;
  w->executed = 0;
  if (checks)
    memcpy(w->def, k->def0, (size_t)k->rows * 4);
  else
    memset(w->def, 0xff, (size_t)k->rows * 4);
  memset(w->pdef, checks ? 0 : 0xff, (size_t)k->preds * 4);
  w->pdef[PRED_TRUE] = w->pdef[PRED_SINK] = w->pdef[PRED_FALSE] = FULL;
  w->pred[PRED_TRUE] = FULL;
  memset(w->local, 0xff, (size_t)k->local_bytes * LANES);
  fill_specials(x, w);
  if (w->wgmma)
    wgmma_reset(w->wgmma, k->rows);
}

static void
start_cta(Exec *x, uint64_t index)
{
  Cta *c = &x->cta;
  const uint32_t *grid = x->launch->grid;
  c->index = (int)index;
  c->id[0] = (uint32_t)(index % grid[0]);
  c->id[1] = (uint32_t)(index / grid[0] % grid[1]);
  c->id[2] = (uint32_t)(index / grid[0] / grid[1]);
  c->fuel = x->launch->set.fuel;
  memset(c->barrier, 0, sizeof c->barrier);
  memset(c->shared, 0xff, c->shared_bytes);
  memset(c->layout, 0, layout_lines(c->shared_bytes));
  c->laid_out = false;
  c->n_fenced = 0;
  x->random = (x->launch->set.seed ^ index) * 0x9e3779b97f4a7c15u + 1;
  x->result = CUDA_SUCCESS;
  shadow_cta_begin(x->shadow, (int)index);
  async_reset(x->async, c->shared);
  bulk_reset(x->bulk);
  for (int i = 0; i < c->n_warps; i++)
    start_warp(x, i);
  registers_start(x);
}

/* ---- whose turn it is ---- */

static uint32_t
next_random(Exec *x)
{
  x->random ^= x->random << 13;
  x->random ^= x->random >> 7;
  x->random ^= x->random << 17;
  return (uint32_t)(x->random >> 32);
}

/* A warp that can run, from `from` on; NULL: there is none. */
static Warp *
runnable(Exec *x, int from)
{
  for (int j = 0; j < x->cta.n_warps; j++) {
    Warp *w = &x->cta.warp[(from + j) % x->cta.n_warps];
    if (!w->done && w->barrier < 0 && !w->stalled)
      return w;
  }
  return NULL;
}

static Warp *
next_warp(Exec *x, int last)
{
  uint64_t turn = TURN_BLOCK;
  int from = last + 1;
  if (x->launch->set.order == ORDER_RR) {
    turn = TURN_RR;
  } else if (x->launch->set.order == ORDER_RANDOM) {
    turn = 1 + next_random(x) % TURN_RANDOM;
    from = (int)(next_random(x) % (uint32_t)x->cta.n_warps);
  }
  x->slice = turn < x->cta.fuel ? turn : x->cta.fuel;
  return runnable(x, from);
}

static void
describe(const Exec *x, char *text, size_t n)
{
  size_t at = 0;
  for (int j = 0; j < x->cta.n_warps && at < n; j++) {
    const Warp *w = &x->cta.warp[j];
    const Insn *i = &x->kernel->code[w->barrier < 0 ? w->pc : w->pc - 1];
    const Barrier *b = w->barrier < 0 ? NULL : &x->cta.barrier[w->barrier];
    int k;
    if (w->stalled && w->waits_for == WAITS_REGISTERS)
      k = registers_describe(x, w, text + at, n - at);
    else if (w->stalled && !b)
      k = bulk_describe(x, w, text + at, n - at);
    else if (w->done)
      k = snprintf(text + at, n - at, "; warp %d has exited", j);
    else if (b)
      k = snprintf(text + at, n - at, "; warp %d waits at line %d for barrier %d, %u of %u",
                   j, i->line, w->barrier, b->arrived, b->expected);
    else
      k = snprintf(text + at, n - at, "; warp %d is at line %d", j, i->line);
    at += (size_t)k;
  }
}

/* Nobody can run, or the fuel is gone. */
static CUresult
hung(Exec *x, const char *name, const char *what)
{
  char text[600] = "";
  Warp *w = &x->cta.warp[0];
  for (int j = 0; j < x->cta.n_warps && w->done; j++)
    w = &x->cta.warp[j];
  describe(x, text, sizeof text);
  x->warp = w;
  report_fatal(x, &x->kernel->code[w->barrier < 0 ? w->pc : w->pc - 1],
               CUDA_ERROR_LAUNCH_TIMEOUT, name, -1, "%s%s", what, text);
  return x->result;
}

static CUresult
run_warps(Exec *x)
{
  int left = x->cta.n_warps, last = -1;
  while (left) {
    Warp *w = next_warp(x, last);
    if (!w && bulk_progress(x)) /* nobody waits for it, but time goes by */
      continue;
    if (!w)
      return hung(x, "deadlock", "no warp can go on");
    if (!x->slice)
      return hung(x, "fuel", "the CTA has executed as many instructions as it may");
    if (atomic_load_explicit(&x->launch->result, memory_order_relaxed))
      return CUDA_SUCCESS; /* another CTA has failed */
    uint64_t before = w->executed;
    Stop stop = exec_warp(x, w);
    uint64_t used = w->executed - before;
    x->cta.fuel -= used < x->cta.fuel ? used : x->cta.fuel;
    x->executed += used;
    last = w->id;
    if (stop == FATAL)
      return x->result;
    if (stop == DONE) {
      w->done = true;
      left--;
    }
  }
  return CUDA_SUCCESS;
}

CUresult
cta_run(Exec *x, uint64_t index)
{
  start_cta(x, index);
  CUresult r = run_warps(x);
  if (r == CUDA_SUCCESS) {
    bulk_end(x);
    wgmma_end(x);
    registers_end(x);
  }
  stats_cta(x, x->launch->cost + index * COSTS);
  shadow_cta_end(x->shadow);
  return r;
}
