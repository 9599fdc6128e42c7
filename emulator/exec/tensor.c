#include "emulator/exec/ldsm.h"
#include "emulator/exec/product.h"
#include "emulator/exec/steps.h"
#include "emulator/check/undefined.h"

#include <string.h>

/* Lanes that give row addresses. */
static uint32_t
row_lanes(int matrices)
{
  return matrices == 4 ? FULL : (1u << 8 * matrices) - 1;
}

Stop
step_ldmatrix(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], *d[4] = {0};
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    s = mem_shared(x, w, i, row_lanes(i->ldsm.n), SHADOW_READ, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->ldsm.n; j++)
    d[j] = row32(w, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_load(i->ldsm.n, i->ldsm.trans, w->cta->shared, off, d);
  return GO;
}

Stop
step_stmatrix(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES];
  const uint32_t *a[4] = {0};
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    s = mem_shared(x, w, i, row_lanes(i->ldsm.n), SHADOW_WRITE, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->ldsm.n; j++)
    a[j] = row32(w, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_store(i->ldsm.n, i->ldsm.trans, w->cta->shared, off, a);
  if (x->carries)
    undefined_stmatrix(x, w, i, off);
  return GO;
}

/* Elements of 6 and 4 bits leave bytes of the row unread; it is aligned all the same. */
static Stop
reach_rows(Exec *x, Warp *w, const Insn *i, uint32_t lanes, uint32_t *off)
{
  uint32_t tail[LANES];
  if (i->ldsm.bits == 8)
    return mem_shared(x, w, i, lanes, SHADOW_READ, 16, off);
  Stop s = mem_shared(x, w, i, lanes, SHADOW_READ, 8, off);
  if (s == GO && i->ldsm.bits == 6)
    s = mem_shared_at(x, w, i, lanes, SHADOW_READ, 8, 4, tail);
  for (int l = 0; s == GO && l < LANES; l++)
    if ((lanes >> l & 1) && off[l] % 16)
      s = report_fatal(x, w, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", l,
                       "a row at byte %u of shared memory, no multiple of 16", off[l]);
  return s;
}

Stop
step_ldmatrix_bytes(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], *d[4] = {0};
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    s = reach_rows(x, w, i, row_lanes(i->ldsm.trans ? 2 * i->ldsm.n : i->ldsm.n), off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d; j++)
    d[j] = row32(w, x->kernel->lists[i->list + (uint32_t)j]);
  (i->ldsm.trans ? ldsm_load_bytes_trans : ldsm_load_bytes)(i->ldsm.n, i->ldsm.bits,
                                                            w->cta->shared, off, d);
  return GO;
}

Stop
step_stmatrix_bytes(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES];
  const uint32_t *a[4] = {0};
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    s = mem_shared(x, w, i, row_lanes(i->ldsm.n), SHADOW_WRITE, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_s; j++)
    a[j] = row32(w, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_store_bytes_trans(i->ldsm.n, w->cta->shared, off, a);
  if (x->carries)
    undefined_stmatrix(x, w, i, off);
  return GO;
}

Stop
step_movmatrix(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  Stop s = warp_gather_all(x, w, i, mask);
  if (s == GO)
    ldsm_move_trans(row32(w, i->d), row32(w, i->a));
  return s;
}

/* The list holds rows of d, a, b, c. */
Stop
step_mma(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t *row[16];
  const uint32_t *src[16];
  const uint32_t *list = x->kernel->lists + i->list;
  Stop s = warp_gather_all(x, w, i, mask);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d + i->n_s; j++)
    src[j] = row[j] = row32(w, list[j]);
  const uint32_t *const *a = src + i->n_d, *const *b = a + i->regs.a;
  mma_run(&i->mma, x->launch->chip->cc, x->launch->set.fast_mma, row, a, b, b + i->regs.b);
  return GO;
}

Stop
step_product(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t *row[LANES];
  const uint32_t *src[LANES];
  const uint32_t *list = x->kernel->lists + i->list;
  Stop s = warp_gather_all(x, w, i, mask);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d + i->n_s; j++)
    src[j] = row[j] = row32(w, list[j]);
  const uint32_t *const *a = src + i->n_d, *const *b = a + i->regs.a;
  product_run(&i->mma, x->launch->chip->cc, x->launch->set.fast_mma, row, a, b,
              b + i->regs.b);
  return GO;
}

/* ---- cp.async ---- */

static Stop
source_bytes(Exec *x, Warp *w, const Insn *i, uint32_t mask, uint32_t *bytes)
{
  const uint32_t *given = row32(w, i->c);
  uint32_t ignore = w->pred[i->ps] ^ (i->ps_not ? FULL : 0);
  for (int l = 0; l < LANES; l++) {
    bytes[l] = i->copy.limit == COPY_BYTES ? given[l] : i->mem.bytes;
    if (i->copy.limit == COPY_UNLESS && (ignore >> l & 1))
      bytes[l] = 0;
    if ((mask >> l & 1) && bytes[l] > i->mem.bytes)
      return report_fatal(x, w, i, CUDA_ERROR_LAUNCH_FAILED, "copy-size", l,
                          "a source of %u bytes for a copy of %d", bytes[l], i->mem.bytes);
  }
  return GO;
}

static Stop
no_memory(Exec *x, Warp *w, const Insn *i)
{
  return report_fatal(x, w, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", -1,
                      "the emulator is out of memory");
}

Stop
step_cp_async(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], bytes[LANES];
  const uint8_t *host[LANES];
  Stop s = source_bytes(x, w, i, mask, bytes);
  if (s == GO)
    s = mem_sources(x, w, i, mask, bytes, host);
  if (s == GO)
    s = mem_shared(x, w, i, mask, SHADOW_COPY, i->mem.bytes, off);
  if (s != GO)
    return s;
  bool ok = async_copy(w->cta->async, w->id, mask, i->mem.bytes, off, host, bytes);
  return ok ? GO : no_memory(x, w, i);
}

Stop
step_cp_commit(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  shadow_commit(w->cta->shadow, w->id, mask);
  return async_commit(w->cta->async, w->id, mask) ? GO : no_memory(x, w, i);
}

Stop
step_cp_wait(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  (void)x;
  async_wait(w->cta->async, w->id, mask, (int)i->imm);
  shadow_wait(w->cta->shadow, w->id, mask, (int)i->imm);
  return GO;
}
