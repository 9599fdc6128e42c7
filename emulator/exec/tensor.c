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
step_ldmatrix(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], *d[4] = {0};
  Stop s = warp_gather_all(x, i, mask);
  if (s == GO)
    s = mem_shared(x, i, row_lanes(i->x.vec), SHADOW_READ, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->x.vec; j++)
    d[j] = row32(x->warp, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_load(i->x.vec, i->x.cond, x->cta->shared, off, d);
  return GO;
}

Stop
step_stmatrix(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES];
  const uint32_t *a[4] = {0};
  Stop s = warp_gather_all(x, i, mask);
  if (s == GO)
    s = mem_shared(x, i, row_lanes(i->x.vec), SHADOW_WRITE, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->x.vec; j++)
    a[j] = row32(x->warp, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_store(i->x.vec, i->x.cond, x->cta->shared, off, a);
  if (x->carries)
    undefined_stmatrix(x, i, off);
  return GO;
}

/* Elements of 6 and 4 bits leave bytes of the row unread; it is aligned all the same. */
static Stop
reach_rows(Exec *x, const Insn *i, uint32_t lanes, uint32_t *off)
{
  uint32_t tail[LANES];
  if (i->x.sub == 8)
    return mem_shared(x, i, lanes, SHADOW_READ, 16, off);
  Stop s = mem_shared(x, i, lanes, SHADOW_READ, 8, off);
  if (s == GO && i->x.sub == 6)
    s = mem_shared_at(x, i, lanes, SHADOW_READ, 8, 4, tail);
  for (int l = 0; s == GO && l < LANES; l++)
    if ((lanes >> l & 1) && off[l] % 16)
      s = report_fatal(x, i, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned", l,
                       "a row at byte %u of shared memory, no multiple of 16", off[l]);
  return s;
}

Stop
step_ldmatrix_bytes(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], *d[4] = {0};
  Stop s = warp_gather_all(x, i, mask);
  if (s == GO)
    s = reach_rows(x, i, row_lanes(i->x.cond ? 2 * i->x.vec : i->x.vec), off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d; j++)
    d[j] = row32(x->warp, x->kernel->lists[i->list + (uint32_t)j]);
  (i->x.cond ? ldsm_load_bytes_trans : ldsm_load_bytes)(i->x.vec, i->x.sub, x->cta->shared,
                                                        off, d);
  return GO;
}

Stop
step_stmatrix_bytes(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES];
  const uint32_t *a[4] = {0};
  Stop s = warp_gather_all(x, i, mask);
  if (s == GO)
    s = mem_shared(x, i, row_lanes(i->x.vec), SHADOW_WRITE, 16, off);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_s; j++)
    a[j] = row32(x->warp, x->kernel->lists[i->list + (uint32_t)j]);
  ldsm_store_bytes_trans(i->x.vec, x->cta->shared, off, a);
  if (x->carries)
    undefined_stmatrix(x, i, off);
  return GO;
}

Stop
step_movmatrix(Exec *x, const Insn *i, uint32_t mask)
{
  Stop s = warp_gather_all(x, i, mask);
  if (s == GO)
    ldsm_move_trans(row32(x->warp, i->d), row32(x->warp, i->a));
  return s;
}

/* The list holds rows of d, a, b, c. */
Stop
step_mma(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t *row[16];
  const uint32_t *src[16];
  const uint32_t *list = x->kernel->lists + i->list;
  Stop s = warp_gather_all(x, i, mask);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d + i->n_s; j++)
    src[j] = row[j] = row32(x->warp, list[j]);
  const uint32_t *const *a = src + i->n_d, *const *b = a + i->x.vec;
  mma_run(&i->mma, x->launch->chip->cc, x->launch->set.fast_mma, row, a, b, b + i->x.sub);
  return GO;
}

Stop
step_product(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t *row[LANES];
  const uint32_t *src[LANES];
  const uint32_t *list = x->kernel->lists + i->list;
  Stop s = warp_gather_all(x, i, mask);
  if (s != GO)
    return s;
  for (int j = 0; j < i->n_d + i->n_s; j++)
    src[j] = row[j] = row32(x->warp, list[j]);
  const uint32_t *const *a = src + i->n_d, *const *b = a + i->x.vec;
  product_run(&i->mma, x->launch->chip->cc, x->launch->set.fast_mma, row, a, b,
              b + i->x.sub);
  return GO;
}

/* ---- cp.async ---- */

static Stop
source_bytes(Exec *x, const Insn *i, uint32_t mask, uint32_t *bytes)
{
  const uint32_t *given = row32(x->warp, i->c);
  uint32_t ignore = x->warp->pred[i->x.ps] ^ (i->x.ps_not ? FULL : 0);
  for (int l = 0; l < LANES; l++) {
    bytes[l] = i->x.cond == 1 ? given[l] : i->x.bytes;
    if (i->x.cond == 2 && (ignore >> l & 1))
      bytes[l] = 0;
    if ((mask >> l & 1) && bytes[l] > i->x.bytes)
      return report_fatal(x, i, CUDA_ERROR_LAUNCH_FAILED, "copy-size", l,
                          "a source of %u bytes for a copy of %d", bytes[l], i->x.bytes);
  }
  return GO;
}

static Stop
no_memory(Exec *x, const Insn *i)
{
  return report_fatal(x, i, CUDA_ERROR_OUT_OF_MEMORY, "host-memory", -1,
                      "the emulator is out of memory");
}

Stop
step_cp_async(Exec *x, const Insn *i, uint32_t mask)
{
  uint32_t off[LANES], bytes[LANES];
  const uint8_t *host[LANES];
  Stop s = source_bytes(x, i, mask, bytes);
  if (s == GO)
    s = mem_sources(x, i, mask, bytes, host);
  if (s == GO)
    s = mem_shared(x, i, mask, SHADOW_COPY, i->x.bytes, off);
  if (s != GO)
    return s;
  bool ok = async_copy(x->async, x->warp->id, mask, i->x.bytes, off, host, bytes);
  return ok ? GO : no_memory(x, i);
}

Stop
step_cp_commit(Exec *x, const Insn *i, uint32_t mask)
{
  shadow_commit(x->shadow, x->warp->id, mask);
  return async_commit(x->async, x->warp->id, mask) ? GO : no_memory(x, i);
}

Stop
step_cp_wait(Exec *x, const Insn *i, uint32_t mask)
{
  async_wait(x->async, x->warp->id, mask, (int)i->imm);
  shadow_wait(x->shadow, x->warp->id, mask, (int)i->imm);
  return GO;
}
