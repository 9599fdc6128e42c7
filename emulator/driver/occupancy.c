#include "emulator/driver/work.h"

/* By shared memory and threads; registers are unknown. */
int
occupancy(const Device *d, const Kernel *k, int threads, uint64_t dynamic)
{
  const Chip *c = d->chip;
  int warps = (threads + LANES - 1) / LANES;
  uint64_t shared = k->dynamic_at + dynamic + (uint64_t)chip_reserved(c);
  int n = c->threads_sm / (warps * LANES);
  n = n < c->blocks_sm ? n : c->blocks_sm;
  uint64_t by_shared = shared ? (uint64_t)c->smem_sm / shared : INT32_MAX;
  return by_shared < (uint64_t)n ? (int)by_shared : n;
}

CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction f, int block,
                                                     size_t dynamic, unsigned flags)
{
  CUresult r;
  if (!blocks || block <= 0 || block > 1024 || dynamic > INT32_MAX ||
      flags > CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  *blocks = occupancy(d, f->kernel, block, dynamic);
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f, int block,
                                            size_t dynamic)
{
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, block, dynamic, 0);
}

/* The largest block of whole warps among those that keep most threads busy. */
static void
find_block(const Device *d, const Kernel *k, CUoccupancyB2DSize of, size_t dynamic,
           int limit, int *grid, int *block)
{
  int best = 0;
  *grid = *block = 0;
  for (int n = limit / LANES * LANES; n > 0; n -= LANES) {
    int fit = occupancy(d, k, n, of ? of(n) : dynamic);
    if (fit * n <= best)
      continue;
    best = fit * n;
    *block = n;
    *grid = fit * d->chip->sms;
  }
}

CUresult
cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, CUfunction f,
                                          CUoccupancyB2DSize of, size_t dynamic, int limit,
                                          unsigned flags)
{
  CUresult r;
  if (!grid || !block || limit < 0 || dynamic > INT32_MAX ||
      flags > CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  int most = function_threads(f->kernel);
  limit = limit && limit < most ? limit : most;
  find_block(d, f->kernel, of, dynamic, limit, grid, block);
  dev_leave(d);
  return *block ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuOccupancyMaxPotentialBlockSize(int *grid, int *block, CUfunction f, CUoccupancyB2DSize of,
                                 size_t dynamic, int limit)
{
  return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, f, of, dynamic, limit, 0);
}

/* What each of that many CTAs may have of a multiprocessor's shared memory. */
CUresult
cuOccupancyAvailableDynamicSMemPerBlock(size_t *dynamic, CUfunction f, int blocks,
                                        int block)
{
  CUresult r;
  if (!dynamic || blocks <= 0 || block <= 0 || block > 1024)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  int64_t each = d->chip->smem_sm / blocks - chip_reserved(d->chip);
  each = each < d->chip->smem_optin ? each : d->chip->smem_optin;
  each -= f->kernel->dynamic_at;
  bool fits = occupancy(d, f->kernel, block, 0) >= blocks && each >= 0;
  *dynamic = fits ? (size_t)each : 0;
  dev_leave(d);
  return fits ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* A cluster is on multiprocessors of one group (GPC): 16 of them, as on H100. */
enum { GPC_SMS = 16 };

/* CTAs of the launch that fit into a group; 0: none, and r says why. */
static int
fit_group(Device *d, CUfunction f, const CUlaunchConfig *c, KernelWork *k, CUresult *r)
{
  *r = kernel_shape(d, f, c, k);
  if (*r)
    return 0;
  int threads = (int)(k->block[0] * k->block[1] * k->block[2]);
  return occupancy(d, f->kernel, threads, k->dynamic) * GPC_SMS;
}

CUresult
cuOccupancyMaxPotentialClusterSize(int *size, CUfunction f, const CUlaunchConfig *c)
{
  CUresult r;
  KernelWork k;
  Device *d = size && c ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  int fit = fit_group(d, f, c, &k, &r);
  int most = f->kernel->large_clusters ? MAX_CLUSTER : PORTABLE_CLUSTER;
  most = d->chip->cc < 90 ? 1 : most;
  while (!r && most > fit)
    most /= 2;
  *size = most;
  dev_leave(d);
  return r;
}

CUresult
cuOccupancyMaxActiveClusters(int *clusters, CUfunction f, const CUlaunchConfig *c)
{
  CUresult r;
  KernelWork k;
  Device *d = clusters && c ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  int fit = fit_group(d, f, c, &k, &r);
  int size = r ? 1 : (int)(k.cluster[0] * k.cluster[1] * k.cluster[2]);
  *clusters = fit / size * (d->chip->sms / GPC_SMS);
  dev_leave(d);
  return r;
}
