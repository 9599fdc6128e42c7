#include "emulator/dev.h"

#include <string.h>

static uint32_t
product(const uint32_t n[3])
{
  return n[0] * n[1] * n[2];
}

static int
max_threads(const Kernel *k)
{
  uint32_t req = product(k->ast->reqntid), max = product(k->ast->maxntid);
  return req ? (int)req : max ? (int)max : 1024;
}

/* ---- attributes ---- */

CUresult
function_get(const Device *d, CUfunction f, CUfunction_attribute a, int *value)
{
  const Kernel *k = f->kernel;
  switch (a) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = max_threads(k);
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    *value = (int)k->shared_bytes;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES:
    *value = 0;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    *value = (int)k->local_bytes;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NUM_REGS:
    *value = 0; /* nobody assigns registers here */
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    *value = k->ptx->sm;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    *value = d->chip->cc;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = (int)k->max_dynamic;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    *value = k->carveout;
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET:
    *value = k->ast->explicit_cluster && !k->ast->cluster[0];
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
  case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
  case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
    *value = (int)k->ast->cluster[a - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH];
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
    *value = k->large_clusters;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult
function_set(const Device *d, CUfunction f, CUfunction_attribute a, int value)
{
  Kernel *k = f->kernel;
  if (a == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    if (value < 0 || value + (int)k->dynamic_at > d->chip->smem_optin)
      return CUDA_ERROR_INVALID_VALUE;
    k->max_dynamic = (uint32_t)value;
    return CUDA_SUCCESS;
  }
  if (a == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED) {
    if (value < 0 || value > 1)
      return CUDA_ERROR_INVALID_VALUE;
    k->large_clusters = value;
    return CUDA_SUCCESS;
  }
  if (a != CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT || value < -1 || value > 100)
    return CUDA_ERROR_INVALID_VALUE;
  k->carveout = value;
  return CUDA_SUCCESS;
}

/* A handle may be a kernel's as well, which stands for its function in this context. */
Device *
function_enter(CUfunction *f, CUresult *r)
{
  Device *d = dev_enter(r);
  if (!d || module_has_function(d, *f))
    return d;
  *r = library_function(d, context_current(), (CUkernel)*f, f);
  if (!*r)
    return d;
  dev_leave(d);
  return NULL;
}

CUresult
cuFuncGetAttribute(int *value, CUfunction_attribute a, CUfunction f)
{
  CUresult r;
  Device *d = value ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  r = function_get(d, f, a, value);
  dev_leave(d);
  return r;
}

CUresult
cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int value)
{
  CUresult r;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  r = function_set(d, f, a, value);
  dev_leave(d);
  return r;
}

CUresult
cuFuncLoad(CUfunction f)
{
  CUresult r;
  Device *d = function_enter(&f, &r);
  if (d)
    dev_leave(d);
  return r;
}

/* Shared memory and threads; registers are unknown. */
CUresult
cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f, int block,
                                            size_t dynamic)
{
  CUresult r;
  if (!blocks || block <= 0 || block > 1024 || dynamic > INT32_MAX)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  const Chip *c = d->chip;
  int warps = (block + LANES - 1) / LANES;
  int shared = (int)(f->kernel->dynamic_at + dynamic) + chip_reserved(c);
  int n = c->threads_sm / (warps * LANES);
  n = n < c->blocks_sm ? n : c->blocks_sm;
  if (shared)
    n = n < c->smem_sm / shared ? n : c->smem_sm / shared;
  *blocks = n;
  dev_leave(d);
  return CUDA_SUCCESS;
}

/* ---- launch ---- */

static bool
dimensions_ok(const uint32_t g[3], const uint32_t b[3])
{
  uint64_t threads = (uint64_t)b[0] * b[1] * b[2];
  return g[0] && g[1] && g[2] && g[0] <= INT32_MAX && g[1] <= 65535 && g[2] <= 65535 &&
         b[0] <= 1024 && b[1] <= 1024 && b[2] <= 64 && threads && threads <= 1024;
}

/* .maxntid bounds the product, .reqntid each axis (PTX ISA, performance directives). */
static bool
threads_ok(const Kernel *k, const uint32_t b[3])
{
  const uint32_t *req = k->ast->reqntid;
  if (req[0] && (b[0] != req[0] || b[1] != req[1] || b[2] != req[2]))
    return false;
  return (int)product(b) <= max_threads(k);
}

static bool
shared_ok(const Launch *l)
{
  const Kernel *k = l->kernel;
  uint32_t allowed = (uint32_t)l->chip->smem_block;
  allowed = allowed > k->dynamic_at ? allowed - k->dynamic_at : 0;
  allowed = allowed > k->max_dynamic ? allowed : k->max_dynamic;
  return l->dynamic <= allowed && k->shared_bytes <= (uint32_t)l->chip->smem_block;
}

/* The launch's own cluster, or the kernel's (PTX ISA, "Cluster dimension directives"). */
static CUresult
find_cluster(Launch *l)
{
  const Kernel *k = l->kernel;
  const uint32_t *req = k->ast->cluster;
  l->explicit_cluster = l->cluster[0] || req[0];
  for (int i = 0; i < 3; i++) {
    if (l->cluster[i] && req[i] && l->cluster[i] != req[i])
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
    l->cluster[i] = l->cluster[i] ? l->cluster[i] : req[i] ? req[i] : 1;
    if (l->grid[i] % l->cluster[i])
      return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  uint64_t n = (uint64_t)l->cluster[0] * l->cluster[1] * l->cluster[2];
  uint32_t most = k->large_clusters ? MAX_CLUSTER : PORTABLE_CLUSTER;
  most = k->ast->max_rank && k->ast->max_rank < most ? k->ast->max_rank : most;
  if (n > most || (k->ast->explicit_cluster && !l->explicit_cluster))
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  return n > 1 && l->chip->cc < 90 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

static bool
copy_params(Launch *l, void **params)
{
  const Ast *a = l->kernel->ast;
  if (a->params.n && !params)
    return false;
  for (int i = 0; i < a->params.n; i++) {
    if (!params[i])
      return false;
    memcpy(l->params + a->params.at[i]->offset, params[i], a->params.at[i]->bytes);
  }
  return true;
}

static CUresult
launch(Device *d, Launch *l, void **params)
{
  _Alignas(64) uint8_t bytes[32768];
  memset(bytes, 0, l->kernel->param_bytes);
  l->device = d;
  l->chip = d->chip;
  l->set = settings_get();
  l->params = bytes;
  l->allocs = d->allocs;
  l->n_allocs = d->n_allocs;
  if (!dimensions_ok(l->grid, l->block) || !threads_ok(l->kernel, l->block) ||
      !shared_ok(l) || !copy_params(l, params))
    return CUDA_ERROR_INVALID_VALUE;
  CUresult r = find_cluster(l);
  return r ? r : launch_run(l);
}

CUresult
cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
               unsigned by, unsigned bz, unsigned smem, CUstream stream, void **params,
               void **extra)
{
  const CUlaunchConfig c = {.gridDimX = gx,
                            .gridDimY = gy,
                            .gridDimZ = gz,
                            .blockDimX = bx,
                            .blockDimY = by,
                            .blockDimZ = bz,
                            .sharedMemBytes = smem,
                            .hStream = stream};
  return cuLaunchKernelEx(&c, f, params, extra);
}

/* Launches run one after another; of those that might overlap the shadow knows. */
static CUresult
read_attributes(const CUlaunchConfig *c, Launch *l)
{
  for (unsigned i = 0; i < c->numAttrs; i++) {
    const CUlaunchAttributeValue *v = &c->attrs[i].value;
    switch (c->attrs[i].id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
      break;
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
      l->programmatic = v->programmaticStreamSerializationAllowed != 0;
      break;
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
      if (!v->clusterDim.x || !v->clusterDim.y || !v->clusterDim.z)
        return CUDA_ERROR_INVALID_VALUE;
      l->cluster[0] = v->clusterDim.x;
      l->cluster[1] = v->clusterDim.y;
      l->cluster[2] = v->clusterDim.z;
      break;
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
    }
  }
  return CUDA_SUCCESS;
}

CUresult
cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **params, void **extra)
{
  if (!c || (c->numAttrs && !c->attrs))
    return CUDA_ERROR_INVALID_VALUE;
  if (extra)
    return CUDA_ERROR_NOT_SUPPORTED;
  CUresult r;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  Tail *tail = stream_tail(d, c->hStream);
  Launch l = {.kernel = f->kernel,
              .grid = {c->gridDimX, c->gridDimY, c->gridDimZ},
              .block = {c->blockDimX, c->blockDimY, c->blockDimZ},
              .dynamic = c->sharedMemBytes};
  r = tail ? read_attributes(c, &l) : CUDA_ERROR_INVALID_HANDLE;
  if (!r) {
    stream_begin(tail, &l);
    r = launch(d, &l, params);
    stream_end(tail, &l, r);
  }
  dev_leave(d);
  return r;
}
