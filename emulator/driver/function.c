#include "emulator/driver/work.h"

#include <string.h>

static uint32_t
product(const uint32_t n[3])
{
  return n[0] * n[1] * n[2];
}

int
function_threads(const Kernel *k)
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
    *value = function_threads(k);
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
  case CU_FUNC_ATTRIBUTE_CACHE_MODE_CA:
    *value = 0; /* of an option of the assembler that nobody gave */
    return CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    *value = k->cluster_policy;
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
  if (a == CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE) {
    if (value < 0 || value > 2) /* default, spread, load balancing */
      return CUDA_ERROR_INVALID_VALUE;
    k->cluster_policy = value; /* where CTAs go is nobody's business here */
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
